"""The model behind the page: loaded beside the server's start, asked by one visitor at a time."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from croc.errors import CrocError

# On a Space with a shared GPU this package lends it out. It has to come before torch; where it is not
# installed, the name may still be a folder of that name, so what counts is what it holds.
try:
    import spaces
except ImportError:
    spaces = None
SHARED_GPU = hasattr(spaces, "GPU")
gpu = spaces.GPU if SHARED_GPU else lambda function: function

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from crocscore.model import CROCScore, Explanation


SHIPPED = "The small model in the package; it runs on a CPU."


def _load() -> CROCScore:
    from crocscore.model import CROCScore

    scorer = CROCScore.from_pretrained(os.environ.get("CROCSCORE_MODEL") or None)
    _ = scorer.settings  # reads the weights now
    return scorer


class Model:
    """CROCScore, ready when it is first needed."""

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self._loading = threading.Lock()
        self._scorer: CROCScore | None = None
        if SHARED_GPU:  # only what is loaded before the first visit moves to the GPU that is lent
            self._scorer = _load()

    def load(self) -> None:
        """Begin to load it in the background; whoever needs it before waits."""
        threading.Thread(target=self._try, daemon=True).start()

    def _try(self) -> None:
        try:
            _ = self.scorer
        except CrocError as error:
            print(f"croc: {error}", flush=True)  # noqa: T201

    @property
    def scorer(self) -> CROCScore:
        """The scorer; waits until it is loaded.

        Raises:
            CrocError: it cannot be loaded.
        """
        with self._loading:
            if self._scorer is None:
                self._scorer = _load()
            return self._scorer

    @property
    def name(self) -> str:
        """What is asked, for people."""
        try:
            return str(self.scorer.name)
        except CrocError:
            return "no model"

    @property
    def about(self) -> tuple[str, ...]:
        """What it was trained for and what it does not know, as sentences."""
        from crocscore.model import WEIGHTS

        named = os.environ.get("CROCSCORE_MODEL")
        card = Path(named or WEIGHTS) / "card.json"
        limits = json.loads(card.read_text("utf-8")).get("limits", []) if card.is_file() else []
        kind = "Another model than the one in the package." if named else SHIPPED
        scale = (
            "Its percentages are calibrated."
            if self.calibrated
            else "It is not calibrated, so that answers are shown in place of percentages."
        )
        return (kind, *limits[:1], scale)

    def is_outside(self, image: Image) -> bool:
        """Whether an image is unlike all that the model was trained on: no score of it can be trusted.

        False for every image if the model cannot tell.
        """
        scorer = self.scorer
        with self._asking:
            known = scorer.in_world([image])
        return known is not None and not known[0]

    @property
    def calibrated(self) -> bool:
        """Whether its probabilities were fitted to labelled pairs."""
        return self.scorer.is_calibrated

    def explain(self, image: Image, prompts: Sequence[str]) -> list[Explanation]:
        """Margin, probability and clauses of each prompt on one image."""
        scorer = self.scorer
        with self._asking:
            return [scorer.explain(image, prompt) for prompt in prompts]

    def matrix(self, images: Sequence[Image], prompts: Sequence[str]) -> tuple[Any, Any]:
        """Margins and probabilities, ``[prompt][image]``; None for each without a calibration."""
        import numpy as np

        scorer = self.scorer
        with self._asking:
            margins = np.array([scorer.score_prompts(image, list(prompts)) for image in images]).T
        known = scorer.probability_of(margins) if self.calibrated else np.full(margins.shape, None)
        return margins.tolist(), known.tolist()


MODEL = Model()
