"""CROCScore: does an image show what a prompt says? One interface to all yes/no vision-language models.

    from crocscore.model import CROCScore

    scorer = CROCScore.from_pretrained("folder-or-hub-id")
    scorer.score(images, prompts)        # margins, higher is the better match
    scorer.explain(image, prompt)        # margins of the clauses of the prompt
    scorer.in_world(images)              # whether the images are like those of the training
    scorer.score(images, prompts, paper=True)   # P(Yes) − P(No), as CROCScore was published

The score is the fp32 margin logit("Yes") − logit("No") of :class:`croc.scorers.yes_no.YesNo`. CROCScore adds
calibrated probabilities, and scores for the clauses of a prompt.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.Image import Image

from croc.errors import CrocError, InputError
from croc.scorers.clauses import clauses
from croc.scorers.loading import in_batches
from croc.scorers.pairs import require_prompts
from croc.scorers.yes_no import YesNo
from crocscore.graphs import RUNTIME, GraphAnswers, choose_runtime

if TYPE_CHECKING:
    import polars as pl

    from crocscore.out_of_world import World

WEIGHTS = Path(__file__).parent / "weights" / "tiny"
"""Folder of the model that comes with the package."""


@dataclass(frozen=True)
class Clause:
    """One clause of a prompt, scored by itself.

    Attributes:
        text: the clause, which is ``prompt[start:end]``.
        start, end: its position in the prompt, in characters.
        margin: logit("Yes") − logit("No"); above 0 the answer is Yes.
        probability: the calibrated margin, 0 to 1; None without a calibration, or where it cannot be trusted.
    """

    text: str
    start: int
    end: int
    margin: float
    probability: float | None


@dataclass(frozen=True)
class Explanation:
    """How well an image matches a prompt as a whole, and each of its clauses.

    Attributes:
        prompt: the prompt.
        margin, probability: of the whole prompt.
        clauses: its clauses in order; a prompt of one clause has itself as the only one.
        world_distance: how far the image is from those of the training, see :meth:`CROCScore.world_distance`;
            None where the model cannot tell.
        warning: for an image that is unlike those of the training, what to show in place of the probability.
    """

    prompt: str
    margin: float
    probability: float | None
    clauses: tuple[Clause, ...]
    world_distance: float | None = None
    warning: str | None = None

    @property
    def worst(self) -> Clause:
        """The clause with the lowest margin."""
        return min(self.clauses, key=lambda clause: clause.margin)


class CROCScore(YesNo):
    """The yes/no scorer that is trained on contrastive checks.

    Args:
        model: Hub id or folder of an image-text-to-text model, or a loaded one with ``processor=``.
        options: those of :class:`~croc.scorers.yes_no.YesNo` (``revision``, ``device``, ``dtype``,
            ``batch_size``, ``question``, …) except ``probability``, an argument of :meth:`score`. With
            ``paper=True`` scores are P(Yes) − P(No) instead of margins.
    """

    def __init__(self, model: Any, **options: Any) -> None:
        if "probability" in options:
            raise InputError(
                "probability is not an option of CROCScore: use score(…, probability=True), or YesNo"
            )
        super().__init__(model, **options)

    @classmethod
    def from_pretrained(cls, model: Any = None, *, runtime: str | None = None, **options: Any) -> CROCScore:
        """Load a model for scoring.

        Args:
            model: Hub id or folder; None takes the model that comes with the package.
            runtime: ``onnx`` or ``torch``; None takes ``onnx`` for a folder with graphs, such as that of the
                package, unless an option needs torch (``device="cuda"``). The signature names it.
            options: see the class.

        Raises:
            CrocError: the model cannot be loaded, or this installation contains none.
        """
        if model is None:
            if not (WEIGHTS / "model.safetensors").is_file():
                raise CrocError(
                    "this installation contains no CROCScore weights: give a Hub id or a folder as model="
                )
            model, options = WEIGHTS, {"name": "crocscore-tiny", "batch_size": 16, **options}
        if choose_runtime(model, runtime, options) == RUNTIME:
            return GraphCROCScore(model, **options)
        return cls(model, **options)

    def score(
        self,
        images: Sequence[Image],
        prompts: Sequence[str],
        *,
        probability: bool = False,
        paper: bool = False,
    ) -> np.ndarray:
        """Score pair i = (``images[i]``, ``prompts[i]``).

        Args:
            images: PIL images, n of them.
            prompts: n prompts.
            probability: return calibrated probabilities from 0 to 1 instead of margins.
            paper: return P(Yes) − P(No) over the whole vocabulary, as published, instead of margins.

        Returns:
            float64 (n,), higher is the better match.

        Raises:
            InputError: two scales are asked for.
        """
        if probability and (paper or self.paper):
            raise InputError("probability and paper are two scales: choose one")
        scores = super(CROCScore, self.with_paper(paper or self.paper)).score(images, prompts)
        return self.probability_of(scores) if probability else scores

    def with_paper(self, paper: bool) -> CROCScore:
        """The same scorer with P(Yes) − P(No) as its scale, or margins; the model is loaded once."""
        if paper == self.paper:
            return self
        other = copy.copy(self)
        other.paper = paper
        return other

    @property
    def is_calibrated(self) -> bool:
        """Whether there is a calibration; ``croc calibrate`` adds one if it improves the log loss."""
        return self.settings.calibration is not None

    def probability_of(self, margins: Any) -> np.ndarray:
        """σ(a · margin + b) with the calibration of the checkpoint; without one, a = 1 and b = 0."""
        a, b = self.settings.calibration or (1.0, 0.0)
        # tanh does not overflow where exp would.
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * (a * np.asarray(margins, dtype=np.float64) + b))))

    @cached_property
    def world(self) -> World | None:
        """What images of the training look like to the model; None where its folder does not say.

        Raises:
            CrocError: it is on the Hub and cannot be downloaded.
            InputError: the folder says it for other weights.
        """
        from crocscore.out_of_world import read_hub_world, read_world

        source = self.checkpoint.source
        if self.checkpoint.is_local:
            return read_world(source)
        return read_hub_world(source, self.checkpoint.commit) if isinstance(source, str) else None

    def image_features(self, images: Sequence[Image]) -> np.ndarray:
        """What the language model reads of images: float32 (n, tokens, width)."""
        import torch

        model = self.checkpoint.model
        # Of some classes only the part without the head has it.
        read = (model if hasattr(model, "get_image_features") else model.model).get_image_features
        rows = []
        with torch.inference_mode():
            for batch in in_batches(len(images), self.batch_size):
                pixels = self.checkpoint.pixels(self.resized(images[batch]))
                found = read(**pixels, return_dict=True).pooler_output
                rows += [row.float().cpu().numpy() for row in found]
        return np.stack(rows)

    def world_distance(self, images: Sequence[Image]) -> np.ndarray | None:
        """How far images are from those of the training: float64 (n,), above 1 unlike all of them.

        None if the model cannot tell, see :mod:`crocscore.out_of_world`.
        """
        from crocscore.out_of_world import pooled

        if self.world is None:
            return None
        if not len(images):
            return np.zeros(0)
        return self.world.distance(pooled(self.image_features(images)))

    def in_world(self, images: Sequence[Image]) -> np.ndarray | None:
        """Whether images are like those of the training: bool (n,). The scores of others mean nothing.

        None if the model cannot tell.
        """
        distance = self.world_distance(images)
        return None if distance is None else np.asarray(distance <= 1)

    def explain(self, image: Image, prompt: str) -> Explanation:
        """Score a prompt and each of its clauses; the image is encoded once for all of them.

        Args:
            image: one image.
            prompt: the prompt, of one clause or several.

        Returns:
            Margins and probabilities of the whole prompt and of each clause. There are no probabilities if
            the model is not calibrated, or if the image is unlike those of the training, with a warning.

        Raises:
            UnscoredPairs: the prompt is empty or no text.
            InputError: the image cannot be read.
        """
        from crocscore.out_of_world import DRAWINGS_ONLY, pooled

        require_prompts([prompt])
        spans = clauses(prompt) or [(0, len(prompt))]
        texts = [prompt[start:end] for start, end in spans]
        prompts = [prompt] if texts == [prompt] else [prompt, *texts]
        margins, features = self.with_paper(False)._read_once(image, prompts)
        distance = None if features is None or self.world is None else self.world.distance(pooled(features))
        is_outside = distance is not None and bool(distance[0] > 1)
        is_known = self.is_calibrated and not is_outside
        probabilities = [float(value) if is_known else None for value in self.probability_of(margins)]
        parts = slice(0, 1) if len(prompts) == 1 else slice(1, None)
        return Explanation(
            prompt=prompt,
            margin=float(margins[0]),
            probability=probabilities[0],
            clauses=tuple(
                Clause(text, start, end, float(margin), chance)
                for text, (start, end), margin, chance in zip(
                    texts, spans, margins[parts], probabilities[parts], strict=True
                )
            ),
            world_distance=None if distance is None else float(distance[0]),
            warning=DRAWINGS_ONLY if is_outside else None,
        )

    def _read_once(self, image: Image, prompts: Sequence[str]) -> tuple[np.ndarray, np.ndarray | None]:
        """Margins of prompts, and the features of their image; None where no world is known."""
        margins = self.score_prompts(image, prompts)
        return margins, None if self.world is None else self.image_features([image])

    def score_checks(self, dataset: Any, out: str | Path | None = None, **options: Any) -> pl.DataFrame:
        """Score a dataset of contrastive checks.

        Args:
            dataset: Hub id, folder or dataset of checks.
            out: folder for the score table, where an interrupted run is resumed; None writes no files.
            options: those of :func:`croc.scoring.run.score_dataset` (``config``, ``split``, …).

        Returns:
            The score table: one row per image, as ``croc evaluate`` reads it.
        """
        import polars as pl

        from croc.scoring.run import score_dataset

        if out is not None:
            return pl.read_parquet(score_dataset(dataset, [self], out, **options)[0], glob=False)
        with tempfile.TemporaryDirectory() as folder:
            return pl.read_parquet(score_dataset(dataset, [self], folder, **options)[0], glob=False)


class GraphCROCScore(GraphAnswers, CROCScore):
    """A CROCScore that runs without torch; see :mod:`crocscore.graphs`.

    Args:
        model: folder of a model with graphs.
        options: those of :class:`CROCScore`, without those that need torch.
    """

    def _read_once(self, image: Image, prompts: Sequence[str]) -> tuple[np.ndarray, np.ndarray | None]:
        return self.answer_prompts(image, prompts)
