"""The yes/no margin: how much rather a vision-language model answers "Yes" than "No". CROCScore's family.

The score is the margin logit("Yes") − logit("No") in fp32. Unlike P("Yes") it does not saturate: two images
that both look certain still differ. A checkpoint brings its own question, answers and calibration in its
configuration (the key ``croc`` of ``config.json``); everything else is asked with :data:`QUESTION`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cached_property
from typing import Any

import numpy as np

from croc.errors import InputError
from croc.scorers.vision_language import Settings, VisionLanguageScorer

# The one question of this program; training and inference read it from here.
QUESTION = 'Does this image show "{prompt}"? Answer Yes or No.'

_SETTINGS = frozenset(item.name for item in fields(Settings))


class YesNo(VisionLanguageScorer):
    """The margin between "Yes" and "No" at the first token of the answer.

    Three scales, all of the same logits l:

    - the margin l(Yes) − l(No), the default;
    - ``probability=True``: σ(a · margin + b) in 0…1 with the checkpoint's calibration (a, b), or with a =
    1, b = 0
      where it has none, which is P(Yes) / (P(Yes) + P(No)); ``fields`` says which;
    - ``paper=True``: P(Yes) − P(No) over the whole vocabulary, as CROCScore was published.

    Args:
        model: Hub id, folder or loaded model.
        question: with ``{prompt}`` in it; None takes the checkpoint's, else :data:`QUESTION`.
        answers: the two answers; None takes the checkpoint's, else Yes and No.
        calibration: (a, b) of the probability; None takes the checkpoint's.
        image_size: (width, height) that images are resized to; None takes the checkpoint's.
        probability: give probabilities.
        paper: give P(Yes) − P(No).
        options: see :class:`~croc.scorers.vision_language.VisionLanguageScorer` and
            :class:`~croc.scorers.loading.Checkpoint`.
    """

    formula = "margin"

    def __init__(
        self,
        model: Any,
        *,
        question: str | None = None,
        answers: tuple[str, str] | None = None,
        calibration: tuple[float, float] | None = None,
        image_size: tuple[int, int] | None = None,
        probability: bool = False,
        paper: bool = False,
        **options: Any,
    ) -> None:
        if probability and paper:
            raise InputError("probability and paper are two scales: choose one")
        super().__init__(model, question=question or QUESTION, **options)
        self.probability = probability
        self.paper = paper
        self.formula = "P(Yes)-P(No)" if paper else "probability" if probability else "margin"
        self._asked = {
            key: value
            for key, value in {
                "question": question,
                "answers": answers,
                "calibration": calibration,
                "image_size": image_size,
            }.items()
            if value is not None
        }

    @cached_property
    def settings(self) -> Settings:
        """How the model is asked: what was given, else the checkpoint's, else this program's."""
        own = getattr(self.checkpoint.model.config, "croc", None) or {}
        if not isinstance(own, Mapping) or (unknown := sorted(set(own) - _SETTINGS)):
            named = ", ".join(unknown) if isinstance(own, Mapping) else repr(own)
            raise InputError(
                f"the configuration of {self.checkpoint.name} has croc settings that are not known: {named}; "
                f"known are {', '.join(sorted(_SETTINGS))}"
            )
        return Settings(**{"question": QUESTION, **own, **self._asked})

    def from_logits(self, logits: Any) -> np.ndarray:
        """The score on the chosen scale: fp32 logits (n, vocabulary) → float64 (n,)."""
        yes, no = self.answer_ids
        if self.paper:
            shares = logits.double().softmax(dim=-1)
            return np.asarray((shares[:, yes] - shares[:, no]).cpu().numpy())
        margin = np.asarray((logits[:, yes] - logits[:, no]).double().cpu().numpy())
        if not self.probability:
            return margin
        a, b = self.settings.calibration or (1.0, 0.0)
        return np.asarray(1.0 / (1.0 + np.exp(-(a * margin + b))))

    def fields(self) -> dict[str, str]:
        """What a signature says; for probabilities also their calibration."""
        fields = super().fields()
        if self.probability:
            known = self.settings.calibration
            fields["calibration"] = f"{known[0]:g}*margin{known[1]:+g}" if known else "none"
        return fields
