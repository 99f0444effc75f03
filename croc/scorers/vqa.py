"""VQAScore: the probability that a vision-language model answers "Yes" for an image and its prompt.

Lin et al. 2024, section 3: P("Yes" | image, question) with the question below. The probability is the
softmax over the whole vocabulary at the first token of the answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from croc.scorers.vision_language import VisionLanguageScorer

QUESTION = 'Does this figure show "{prompt}"? Please answer yes or no.'


class VqaScore(VisionLanguageScorer):
    """P("Yes") over an image-text-to-text model of transformers.

    For models with a chat template, such as Qwen-VL, LLaVA, InstructBLIP, SmolVLM, Gemma 3 and
    Phi-4-multimodal.

    Args:
        model: Hub id, folder or loaded model.
        question: it contains ``{prompt}`` once; the paper's by default.
        options: see :class:`~croc.scorers.vision_language.VisionLanguageScorer` and
            :class:`~croc.scorers.loading.Checkpoint`.
    """

    formula = "P(Yes)"

    def __init__(self, model: Any, *, question: str = QUESTION, **options: Any) -> None:
        super().__init__(model, question=question, **options)

    def from_logits(self, logits: Any) -> np.ndarray:
        """P("Yes"): fp32 logits (n, vocabulary) → float64 (n,) in 0…1."""
        return np.asarray(logits.double().softmax(dim=-1)[:, self.answer_ids[0]].cpu().numpy())
