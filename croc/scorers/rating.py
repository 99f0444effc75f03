"""Rating judges: a vision-language model grades the match of image and prompt, and its expected grade counts.

A rubric (:mod:`croc.scorers.rubrics`) has a question and answers with values v, such as 1 … 5, or words
from bad to excellent. The score is Σ v · p(answer), p being the softmax over the logits of the answers alone,
as in Q-Align (Wu et al. 2023, arXiv 2312.17090, section 3.3). Unlike the grade that a model would write, it
has no steps: ties need equal logits. It lies between the lowest and the highest value of the rubric, higher
is better.

The logit of an answer is that of its first token that differs from the other answers; the published code of
Q-Align also reads one token a word. Tokens that all answers have in common, such as a space before digits,
are given to the model before.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from croc.errors import InputError
from croc.scorers.rubrics import Rubric, read_rubric
from croc.scorers.vision_language import VisionLanguageScorer

DEFAULT = "alignment-1-5"


class RatingJudge(VisionLanguageScorer):
    """The expected grade of an image-text-to-text model of transformers.

    Args:
        model: Hub id, folder or loaded model.
        rubric: name or path of a rubric, or the rubric itself.
        options: see :class:`~croc.scorers.vision_language.VisionLanguageScorer` and
            :class:`~croc.scorers.loading.Checkpoint`.

    Raises:
        InputError: the rubric cannot be read.
    """

    formula = "expected grade"

    def __init__(self, model: Any, *, rubric: str | Path | Rubric = DEFAULT, **options: Any) -> None:
        self.rubric = rubric if isinstance(rubric, Rubric) else read_rubric(rubric)
        super().__init__(model, question=self.rubric.question, **options)

    def from_logits(self, logits: Any) -> np.ndarray:
        """Σ value · softmax over the answers: fp32 logits (n, vocabulary) → float64 (n,)."""
        shares = logits[:, list(self.answer_ids)].double().softmax(dim=-1).cpu().numpy()
        return np.asarray(shares @ np.array(list(self.rubric.answers.values())))

    def answer_mass(self, images: Sequence[Image], prompts: Sequence[str]) -> np.ndarray:
        """The probability that the model begins with any of the answers: float64 (n,) in 0…1.

        Near 0 the model would write something else, and its grades mean little: use another rubric.
        """
        shares = self.logits(images, prompts).double().softmax(dim=-1)
        return np.asarray(shares[:, list(self.answer_ids)].sum(dim=-1).cpu().numpy())

    def fields(self) -> dict[str, str]:
        """Settings for the signature; the rubric with its answers and their values."""
        answers = "/".join(f"{answer}={value:g}" for answer, value in self.rubric.answers.items())
        start = {"answer_start": self.rubric.answer_start} if self.rubric.answer_start else {}
        return {**super().fields(), "rubric": self.rubric.name, "answers": answers, **start}

    @cached_property
    def answer_ids(self) -> tuple[int, ...]:
        """Per answer of the rubric, the id of its first token that differs.

        Raises:
            InputError: two answers have the same token there, or one answer is the beginning of the others.
        """
        shared = len(self._shared)
        if shared and self._reads_prompt_with_image:
            raise InputError(
                f"the tokenizer of {self.checkpoint.name} begins all answers of the rubric "
                f"{self.rubric.name} with the same token, and no answer can be begun for it: use others"
            )
        ids = {answer: tokens[shared:][:1] for answer, tokens in self._tokens.items()}
        for answer, found in ids.items():
            others = [other for other in ids if other != answer and ids[other] == found]
            if not found or others:
                wrong = f"as {others[0]!r}" if others else "as the beginning of the others"
                raise InputError(
                    f"the tokenizer of {self.checkpoint.name} begins the answer {answer!r} of the rubric "
                    f"{self.rubric.name} {wrong}: choose answers with different first tokens"
                )
        return tuple(found[0] for found in ids.values())

    @cached_property
    def _tokens(self) -> dict[str, list[int]]:
        return {answer: self._answer_ids(answer) for answer in self.rubric.answers}

    @cached_property
    def _shared(self) -> list[int]:
        """The tokens with which all answers begin."""
        columns = zip(*self._tokens.values(), strict=False)
        return [column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns)]

    @cached_property
    def _tail(self) -> list[int]:
        return [*super()._tail, *self._shared]

    def _rendered(self) -> str:
        return super()._rendered() + self.rubric.answer_start

    @cached_property
    def _reads_prompt_with_image(self) -> bool:
        if not super()._reads_prompt_with_image:
            return False
        if self.rubric.answer_start:
            raise InputError(
                f"{self.checkpoint.name} is asked without a chat template, so no answer can be begun for it: "
                f"use a rubric without answer_start instead of {self.rubric.name}"
            )
        return True
