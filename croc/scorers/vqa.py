"""VQAScore: how probable a vision-language model finds the answer "Yes" for an image and its prompt.

Lin et al. 2024, section 3: P("Yes" | image, question). The question and the answer of each model are data in
``models.yaml``, as the authors' package t2v_metrics has them. Two readings of the answer:

- the first token: P("Yes") over the whole vocabulary (Qwen-VL, Gemma 3 and others with a chat template);
- the whole answer, ``with_end=True``: exp of the mean log-probability of the tokens "Yes" and end of text
  (InstructBLIP with FlanT5, LLaVA 1.5).

Against t2v_metrics 3.0 with the same random weights (Qwen2.5-VL, LLaVA 1.5, InstructBLIP with FlanT5), scores
agree to 2e-6 of their spread. Differences on purpose: probabilities are summed in float64, where the package
rounds by up to 5e-4; control tokens in a prompt are text; a long prompt is cut at its end.

VQAScore's own model is in :mod:`croc.scorers.clip_flant5`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from croc.errors import InputError
from croc.scorers.vision_language import VisionLanguageScorer

QUESTION = 'Does this figure show "{prompt}"? Please answer yes or no.'


class VqaScore(VisionLanguageScorer):
    """P("Yes") over an image-text-to-text model of transformers.

    For models with a chat template, such as Qwen-VL, LLaVA, InstructBLIP, SmolVLM, Gemma 3 and
    Phi-4-multimodal.

    Args:
        model: Hub id, folder or loaded model.
        question: it contains ``{prompt}`` once; the paper's by default.
        with_end: the score is exp of the mean log-probability of the answer and the end of the text, instead
            of the probability of the answer.
        repetition_penalty: divides positive and multiplies negative logits of tokens that the model has read,
            as ``generate`` does. The authors read the probability behind it: 1.05 in the generation settings
            of Qwen2.5-VL.
        options: see :class:`~croc.scorers.vision_language.VisionLanguageScorer` and
            :class:`~croc.scorers.loading.Checkpoint`.
    """

    def __init__(
        self,
        model: Any,
        *,
        question: str = QUESTION,
        with_end: bool = False,
        repetition_penalty: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(model, question=question, **options)
        if repetition_penalty <= 0:
            raise InputError(f"repetition_penalty must be positive, not {repetition_penalty}")
        if with_end and repetition_penalty != 1.0:
            raise InputError("repetition_penalty is for the first token of an answer, not for with_end")
        self.with_end = with_end
        self.repetition_penalty = repetition_penalty
        answer = self.settings.answers[0]
        self.formula = f"exp(mean log P({answer}, end))" if with_end else f"P({answer})"

    def from_logits(self, logits: Any) -> np.ndarray:
        """The score in 0…1: fp32 logits (n, vocabulary) → float64 (n,).

        With ``with_end`` the logits are those of the answer and of the end: (n, 2, vocabulary).
        """
        shares = logits.double().log_softmax(dim=-1)
        if self.with_end:
            shares = (shares[:, 0, self.answer_ids[0]] + shares[:, 1, self._end]) / 2
        else:
            shares = shares[:, self.answer_ids[0]]
        return np.asarray(shares.exp().cpu().numpy())

    def fields(self) -> dict[str, str]:
        """Settings for the signature; the penalty where there is one."""
        fields = super().fields()
        if self.repetition_penalty != 1.0:
            fields["repetition_penalty"] = f"{self.repetition_penalty:g}"
        return fields

    @property
    def _answered(self) -> list[int]:
        return [self.answer_ids[0]] if self.with_end else []

    @cached_property
    def _end(self) -> int:
        end = self.checkpoint.processor.tokenizer.eos_token_id
        if end is None:
            raise InputError(f"{self.checkpoint.name}: with_end needs a tokenizer with an end-of-text token")
        return int(end)

    def _adjusted(self, logits: Any, rows: Sequence[Sequence[int]]) -> Any:
        if self.repetition_penalty == 1.0:
            return logits
        for row, ids in zip(logits, rows, strict=True):
            read = row[list(set(ids))]
            penalty = self.repetition_penalty
            row[list(set(ids))] = read.where(read >= 0, read * penalty).where(read < 0, read / penalty)
        return logits
