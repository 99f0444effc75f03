"""The yes/no margin of a vision-language model; CROCScore is a scorer of this family.

The score is the margin logit("Yes") − logit("No") in fp32. Unlike P("Yes") it does not saturate near 0 and 1.
No published code computes this margin. ``paper=True`` is the published formula of CROCScore; the scorer
``crocscore-paper`` has the authors' checkpoint, after ``croc import-checkpoint``. Against the steps of the
authors' code on random weights of the same class, scores agree to 6e-6 of their spread. It was never run on
the published weights. Differences on purpose: the two probabilities come from logits in float32 (the authors'
from bfloat16), and control tokens in a prompt are text.

A checkpoint may define its question, answers and calibration in its configuration (the key ``croc`` of
``config.json``); otherwise the question is :data:`QUESTION`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cached_property
from typing import Any

import numpy as np

from croc.errors import InputError
from croc.scorers.vision_language import Settings, VisionLanguageScorer

# Used in training and inference.
QUESTION = 'Does this image show "{prompt}"? Answer Yes or No.'

_SETTINGS = frozenset(item.name for item in fields(Settings))


class YesNo(VisionLanguageScorer):
    """The margin between "Yes" and "No" at the first token of the answer.

    Three scales of the same logits l:

    - the margin l(Yes) − l(No), the default;
    - ``probability=True``: σ(a · margin + b) in 0…1 with the checkpoint's calibration (a, b); without one
      a = 1 and b = 0, which is P(Yes) / (P(Yes) + P(No)); ``fields`` has the calibration;
    - ``paper=True``: P(Yes) − P(No) over the whole vocabulary, as CROCScore was published.

    Args:
        model: Hub id, folder or loaded model.
        question: it contains ``{prompt}`` once; None takes the checkpoint's, else :data:`QUESTION`.
        answers: the two answers; None takes the checkpoint's, else Yes and No.
        calibration: (a, b) of the probability; None takes the checkpoint's.
        image_size: (width, height) that images are resized to, or ``"as is"``; None takes the checkpoint's.
        probability: return probabilities.
        paper: return P(Yes) − P(No).
        options: see :class:`~croc.scorers.vision_language.VisionLanguageScorer` and
            :class:`~croc.scorers.loading.Checkpoint`.
    """

    def __init__(
        self,
        model: Any,
        *,
        question: str | None = None,
        answers: tuple[str, str] | None = None,
        calibration: tuple[float, float] | None = None,
        image_size: tuple[int, int] | str | None = None,
        probability: bool = False,
        paper: bool = False,
        **options: Any,
    ) -> None:
        if probability and paper:
            raise InputError("probability and paper are two scales: choose one")
        super().__init__(model, question=question or QUESTION, **options)
        self.probability = probability
        self.paper = paper
        self._given_settings = {
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
        """How the model is asked: the arguments, else the checkpoint's settings, else the defaults."""
        own = getattr(self.checkpoint.model.config, "croc", None) or {}
        if not isinstance(own, Mapping) or (unknown := sorted(set(own) - _SETTINGS)):
            wrong = ", ".join(unknown) if isinstance(own, Mapping) else repr(own)
            raise InputError(
                f"the configuration of {self.checkpoint.name} has unknown croc settings: {wrong}; "
                f"known are {', '.join(sorted(_SETTINGS))}"
            )
        return Settings(**{"question": QUESTION, **own, **self._given_settings})

    def from_logits(self, logits: Any) -> np.ndarray:
        """The score on the chosen scale: fp32 logits (n, vocabulary), of torch or numpy → float64 (n,)."""
        yes, no = self.answer_ids
        values = logits if isinstance(logits, np.ndarray) else logits.cpu().numpy()
        if self.paper:
            exact = values.astype(np.float64)
            shares = np.exp(exact - exact.max(axis=-1, keepdims=True))
            return np.asarray((shares[:, yes] - shares[:, no]) / shares.sum(axis=-1))
        margin = np.asarray(values[:, yes] - values[:, no], dtype=np.float64)
        if not self.probability:
            return margin
        a, b = self.settings.calibration or (1.0, 0.0)
        return np.asarray(1.0 / (1.0 + np.exp(-(a * margin + b))))

    def fields(self) -> dict[str, str]:
        """Settings for the signature; of probabilities also the calibration."""
        fields = super().fields()
        fields["formula"] = "P(Yes)-P(No)" if self.paper else "probability" if self.probability else "margin"
        if self.probability:
            fields["calibration"] = self.calibration_field
        return fields

    @property
    def calibration_field(self) -> str:
        """The calibration as a signature has it."""
        fitted = self.settings.calibration
        return f"{fitted[0]:g}*margin{fitted[1]:+g}" if fitted else "none"
