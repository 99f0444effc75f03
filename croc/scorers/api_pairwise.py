"""Pairwise judges over an OpenAI-compatible endpoint.

The answer in an order is P(A) / (P(A) + P(B)) among the most likely first tokens. An endpoint that returns no
log-probabilities answers by its text: the probability of "A" is then 1 or 0. Each order of a comparison is a
call.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from croc.checks.rows import prompt_problem
from croc.scorers.api import ChatEndpoint, NoScore
from croc.scorers.pairs import UnscoredPairs
from croc.scorers.pairwise import (
    FORMULA,
    IMAGES_QUESTION,
    PROMPTS_QUESTION,
    BothOrders,
    ask_about,
    opposing_field,
    require_lengths,
    require_opposing,
    require_questions,
)


class ApiPairwiseJudge(BothOrders, ChatEndpoint):
    """Compares two prompts on an image, or two images for a prompt, by a chat endpoint.

    Args:
        model: the endpoint's name of the model.
        prompts_question: asked about two prompts; it contains ``{first}`` and ``{second}`` once.
        images_question: asked about two images; it contains ``{prompt}`` once.
        opposing: with how many images of the other side each image of a check is compared; None is all.
        options: see :class:`~croc.scorers.api.ChatEndpoint`.

    Raises:
        InputError: a question has not its places.
    """

    answers = ("A", "B")

    def __init__(
        self,
        model: str,
        *,
        prompts_question: str = PROMPTS_QUESTION,
        images_question: str = IMAGES_QUESTION,
        opposing: int | None = None,
        **options: Any,
    ) -> None:
        require_questions(prompts_question, images_question)
        super().__init__(model, **options)
        self.opposing = require_opposing(opposing)
        self._prompts_question = prompts_question
        self._images_question = images_question

    def fields(self) -> dict[str, str]:
        """Settings for the signature: endpoint, model, both questions, and that both orders are asked."""
        return {
            **super().fields(),
            "formula": f"{FORMULA} among the top {self.top}",
            "template": self._prompts_question,
            "images_template": self._images_question,
            **opposing_field(self.opposing),
        }

    def choose_prompts(
        self, images: Sequence[Image], first: Sequence[str], second: Sequence[str]
    ) -> NDArray[np.float64]:
        """See :meth:`~croc.scorers.pairwise.BothOrders.choose_prompts`.

        Raises:
            UnscoredPairs: a prompt is empty, or the endpoint gave no answer; the error has the others.
        """
        require_lengths(images=images, first=first, second=second)
        rows = zip(images, first, second, strict=True)
        return self._choose(
            [((a, b), [image], ask_about(self._prompts_question, a, b)) for image, a, b in rows]
        )

    def choose_images(
        self, prompts: Sequence[str], first: Sequence[Image], second: Sequence[Image]
    ) -> NDArray[np.float64]:
        """See :meth:`~croc.scorers.pairwise.BothOrders.choose_images`.

        Raises:
            UnscoredPairs: a prompt is empty, or the endpoint gave no answer; the error has the others.
        """
        require_lengths(prompts=prompts, first=first, second=second)
        rows = zip(prompts, first, second, strict=True)
        return self._choose(
            [((prompt,), [a, b], self._images_question.replace("{prompt}", prompt)) for prompt, a, b in rows]
        )

    def estimate(self, pairs: int, images: Sequence[Image], prompts: Sequence[str]) -> str:
        """What so many questions take, estimated from some images and prompts; half are about two images."""
        texts = [ask_about(self._prompts_question, prompt, prompt) for prompt in prompts]
        return self.expected(pairs, texts, images, images_each=1.5)

    def _choose(self, rows: Sequence[tuple[tuple[str, ...], list[Image], str]]) -> NDArray[np.float64]:
        """The answers to questions, given as prompts, images and text."""
        answers = np.full(len(rows), np.nan)
        reasons: dict[int, str] = {}

        def answer(i: int) -> None:
            prompts, images, text = rows[i]
            try:
                if why := next(filter(None, map(prompt_problem, prompts)), None):
                    raise NoScore(why)
                answers[i] = self.ask(images, text)
            except NoScore as reason:
                reasons[i] = str(reason)

        self.run_all([partial(answer, i) for i in range(len(rows))])
        if reasons:
            raise UnscoredPairs(dict(sorted(reasons.items())), answers)
        return answers

    def _score_response(self, response: Mapping[str, Any]) -> float:
        """P(A) / (P(A) + P(B)), by the text of an answer without log-probabilities."""
        if response["top"] or response["refusal"] or response["finish_reason"] == "content_filter":
            return super()._score_response(response)
        letter = re.sub(r"\W", "", str(response["text"] or "")).upper()
        if letter not in self.answers:
            raise NoScore(f"the answer is neither A nor B: {response['text']!r}")
        return float(letter == "A")

    def _read_tokens(self, tokens: Sequence[tuple[str, float]]) -> float | None:
        a, b = (
            math.fsum(math.exp(p) for token, p in tokens if token.strip().upper() == letter)
            for letter in self.answers
        )
        return a / (a + b) if a + b > 0 else None
