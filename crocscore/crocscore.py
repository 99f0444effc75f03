"""CROCScore as a module of the ``evaluate`` library: does an image show what a prompt says?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

import croc  # From: croc-t2i[score]

_CITATION = """\
@article{croc,
  title = {{CROC}: Contrastive Robustness Checks of Text-to-Image Metrics},
  journal = {arXiv preprint arXiv:2505.11314},
  year = {2025}
}
"""

_DESCRIPTION = """\
CROCScore asks a vision-language model whether an image shows what a prompt says, and scores the pair by the
margin logit("Yes") - logit("No"). It was trained on contrastive checks: pairs that differ in one property.
"""

_KWARGS_DESCRIPTION = """
Scores images with their prompts, pair by pair.

Args:
    images (list): n images: PIL images, uint8 arrays (height, width, 3) or (height, width), paths, bytes of a
        file, or a column of a dataset with the feature datasets.Image().
    prompts (list of str): n prompts; prompt i belongs to image i.
    model: Hub id or folder of a yes/no vision-language model, or a loaded scorer. Default: the small model
        that comes with the package, which needs no network. A model is loaded once.
    revision (str): commit of a model on the Hub.
    device (str): "cpu", "cuda" or "mps". Default: the best one available.
    probability (bool): return calibrated probabilities of a match, 0...1, instead of margins.
    paper (bool): return P(Yes) - P(No), as CROCScore was published, instead of margins.

Returns:
    scores (list of float): per pair, higher is the better match; None where a pair cannot be scored.
    mean_score (float): mean over the pairs with a score; None without any.
    errors (dict): for pairs without a score, the reason, by the number of the pair.
    model (str): name of the model.
    signature (str): model, revision, template, number format and image processor; scores are comparable if
        these are equal.

Limitations:
    The small model was trained only on drawings of the exact world. Its scores mean little for photographs
    and for the output of diffusion models: use another model= there. Margins of different models are not
    comparable. A mean over images measures how well the prompts are followed, not how good the images look.

Examples:

    >>> from PIL import Image
    >>> crocscore = evaluate.load("crocscore")
    >>> images = [Image.new("RGB", (64, 64), "white")] * 2
    >>> result = crocscore.compute(images=images, prompts=["a red dog", "two red dogs"], probability=True)
    >>> len(result["scores"]), 0 <= result["mean_score"] <= 1
    (2, True)
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class Crocscore(evaluate.Metric):  # type: ignore[misc]
    """How well images match their prompts."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            # Undecoded: the package has one rule for how a file becomes pixels.
            features=datasets.Features(
                {"images": datasets.Image(decode=False), "prompts": datasets.Value("string")}
            ),
            license="Apache-2.0",
            codebase_urls=[f"https://pypi.org/project/croc-t2i/{croc.__version__}/"],
            reference_urls=["https://arxiv.org/abs/2505.11314"],
        )

    def add(self, *, prediction: None = None, reference: None = None, **pair: Any) -> None:
        """Add one pair: ``images`` an image, ``prompts`` its prompt."""
        batch: dict[str, Any] = {name: [value] for name, value in pair.items()}
        self.add_batch(**batch)

    def add_batch(
        self,
        *,
        predictions: None = None,
        references: None = None,
        images: Sequence[Any] | None = None,
        prompts: Sequence[str] | None = None,
    ) -> None:
        """Add pairs of images and prompts."""
        images, prompts = _pairs(images, prompts)
        super().add_batch(
            images=[{"bytes": _bytes(image), "path": None} for image in images], prompts=prompts
        )

    def compute(
        self,
        *,
        predictions: None = None,
        references: None = None,
        images: Sequence[Any] | None = None,
        prompts: Sequence[str] | None = None,
        **options: Any,
    ) -> dict[str, Any] | None:
        """Score pairs: the given ones, or those that were added before; see the module's description."""
        given = images is not None or prompts is not None
        if given and self.writer is None and self.num_process == 1:
            images, prompts = _pairs(images, prompts)
            return self._compute(images, prompts, **options)  # without the copy on disk that evaluate makes
        if not given and self.writer is None:
            raise ValueError("give images and prompts together, one prompt per image")
        columns = {"images": images, "prompts": prompts} if given else {}
        result: dict[str, Any] | None = super().compute(**columns, **options)
        return result

    def _compute(
        self,
        images: Sequence[Any],
        prompts: Sequence[str],
        model: Any = None,
        revision: str | None = None,
        device: str | None = None,
        probability: bool = False,
        paper: bool = False,
    ) -> dict[str, Any]:
        from croc.checks.decoding import decode
        from croc.errors import InputError
        from croc.scorers.pairs import UnscoredPairs
        from croc.tables.signature import scorer_part

        scorer = self._scorer(model, revision, device, paper)
        if probability and getattr(scorer, "paper", False):
            raise ValueError("probability and paper are two scales: choose one")
        errors: dict[int, str] = {}
        decoded: dict[int, Any] = {}
        for i, image in enumerate(images):
            try:
                decoded[i] = decode(_bytes(image))
            except InputError as problem:
                errors[i] = str(problem)
        numbers = list(decoded)
        scores: list[float | None] = [None] * len(images)
        try:
            values = scorer.score(list(decoded.values()), [prompts[i] for i in numbers]) if decoded else []
        except UnscoredPairs as error:
            if error.scores is None:
                raise
            values = error.scores
            errors |= {numbers[i]: reason for i, reason in error.reasons.items()}
        for i, score in zip(numbers, values, strict=True):
            if i not in errors and not math.isfinite(score):
                errors[i] = f"the model gave {score}"
            scores[i] = None if i in errors else float(score)
        if probability:
            if not hasattr(scorer, "probability_of"):
                raise ValueError(f"{scorer.name} has no calibration: probability=True needs a CROCScore")
            known = [i for i in numbers if scores[i] is not None]
            for i, value in zip(known, scorer.probability_of([scores[i] for i in known]), strict=True):
                scores[i] = float(value)
        present = [score for score in scores if score is not None]
        return {
            "scores": scores,
            "mean_score": sum(present) / len(present) if present else None,
            "errors": dict(sorted(errors.items())),
            "model": scorer.name,
            "signature": str(scorer_part(scorer.name, _fields(scorer, probability))),
        }

    def fields(
        self,
        model: Any = None,
        revision: str | None = None,
        device: str | None = None,
        probability: bool = False,
        paper: bool = False,
    ) -> dict[str, str]:
        """The signature's fields for scores that :meth:`compute` returns with these arguments."""
        return _fields(self._scorer(model, revision, device, paper), probability)

    def _scorer(self, model: Any, revision: str | None, device: str | None, paper: bool) -> Any:
        """The scorer; each model is loaded once."""
        if callable(getattr(model, "score", None)):
            if paper and not hasattr(model, "with_paper"):
                raise ValueError(f"{model.name} has no such scale: paper=True needs a CROCScore")
            return model.with_paper(True) if paper else model
        from crocscore.model import CROCScore

        key = (str(model) if model is not None else None, revision, device)
        loaded: dict[Any, Any] = self.__dict__.setdefault("_loaded", {})
        if key not in loaded:
            options = {name: value for name, value in (("revision", revision), ("device", device)) if value}
            loaded[key] = CROCScore.from_pretrained(key[0], **options)
        return loaded[key].with_paper(paper)


def _pairs(images: Any, prompts: Any) -> tuple[Sequence[Any], list[str]]:
    """Check that both inputs belong together."""
    if images is None or prompts is None:
        raise ValueError("give images and prompts together, one prompt per image")
    if isinstance(prompts, str) or isinstance(images, str | bytes):
        raise ValueError("images and prompts are lists; put a single one in a list")
    prompts = list(prompts)
    if len(images) != len(prompts):
        raise ValueError(f"{len(images)} images and {len(prompts)} prompts: give one prompt per image")
    wrong = [i for i, prompt in enumerate(prompts) if not isinstance(prompt, str)]
    if wrong:
        raise ValueError(f"prompt {wrong[0]} is {type(prompts[wrong[0]]).__name__}, not a string")
    return images, prompts


def _bytes(image: Any) -> bytes:
    """The file bytes of an image of any type that this module accepts."""
    import numpy as np
    from PIL import Image

    from croc.checks.decoding import to_bytes
    from croc.errors import InputError

    if hasattr(image, "__array__") and not isinstance(image, Image.Image):
        pixels = np.asarray(image)
        if pixels.dtype != np.uint8 or pixels.shape[2:] not in ((), (3,), (4,)) or pixels.ndim < 2:
            raise InputError(
                f"an array of an image must be uint8 (height, width, 3), not {pixels.dtype} {pixels.shape}"
            )
        image = Image.fromarray(pixels)
    return to_bytes(image)


def _fields(scorer: Any, probability: bool) -> dict[str, str]:
    scale = "P(Yes)-P(No)" if getattr(scorer, "paper", False) else "margin"
    fields = {**scorer.fields(), "scale": "probability" if probability else scale}
    if probability and hasattr(scorer, "calibration_field"):
        fields["calibration"] = scorer.calibration_field
    return fields
