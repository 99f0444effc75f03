"""Rating judges over an OpenAI-compatible endpoint that returns log-probabilities.

The expected grade of a rubric, as in :mod:`croc.scorers.rating`, with the softmax over those answers that are
among the most likely tokens: an endpoint returns at most 20. Capitals and spaces of a token do not count. An
answer of several tokens counts with the token that begins it, where no other answer begins so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from croc.errors import InputError
from croc.scorers.api import ApiVqaScore
from croc.scorers.rating import DEFAULT
from croc.scorers.rubrics import Rubric, read_rubric


class ApiRatingJudge(ApiVqaScore):
    """The expected grade from an OpenAI-compatible chat endpoint.

    A pair has no score where no answer of the rubric is among the returned tokens. Answers that are not among
    them count as improbable: where only one is, the score is exactly its value, which can make ties.

    Args:
        model: the endpoint's name of the model.
        rubric: name or path of a rubric, or the rubric itself; one without ``answer_start``, because an
            endpoint begins its answer itself.
        options: see :class:`~croc.scorers.api.ApiVqaScore`; ``question``, ``answers`` and ``reading`` are the
            rubric's.

    Raises:
        InputError: the rubric cannot be read, has an ``answer_start``, or one of its answers is the beginning
            of another (1 and 10), so that the first token does not tell them apart.
    """

    def __init__(self, model: str, *, rubric: str | Path | Rubric = DEFAULT, **options: Any) -> None:
        self.rubric = rubric if isinstance(rubric, Rubric) else read_rubric(rubric)
        if self.rubric.answer_start:
            raise InputError(
                f"an endpoint begins its answer itself: use a rubric without answer_start instead of "
                f"{self.rubric.name}"
            )
        if given := sorted({"question", "answers", "reading"} & set(options)):
            raise InputError(f"{given[0]} comes from the rubric: write one and pass rubric=FILE")
        words = [answer.strip().lower() for answer in self.rubric.answers]
        for word in words:
            if longer := [other for other in words if other != word and other.startswith(word)]:
                raise InputError(
                    f"the answer {word!r} of the rubric {self.rubric.name} is the beginning of "
                    f"{longer[0]!r}: the first token of an endpoint does not tell them apart"
                )
        first, second, *_ = self.rubric.answers
        super().__init__(model, question=self.rubric.question, answers=(first, second), **options)
        self.answers = tuple(self.rubric.answers)

    def fields(self) -> dict[str, str]:
        """Settings for the signature; the rubric with its answers and their values; never the key."""
        fields = super().fields()
        del fields["reading"]
        answers = "/".join(f"{answer}={value:g}" for answer, value in self.rubric.answers.items())
        formula = f"expected grade among the top {self.top}"
        return {**fields, "formula": formula, "rubric": self.rubric.name, "answers": answers}

    def _read_tokens(self, tokens: Sequence[tuple[str, float]]) -> float | None:
        """The expected grade of (token, log-probability) pairs; None where no answer is among them."""
        shares: dict[str, float] = {}
        for token, logprob in tokens:
            answer = self._answer_of(token.strip().lower())
            if answer is not None:
                shares[answer] = shares.get(answer, 0.0) + math.exp(logprob)
        total = math.fsum(shares.values())
        if total <= 0.0:
            return None
        return math.fsum(self.rubric.answers[answer] * share for answer, share in shares.items()) / total

    def _answer_of(self, token: str) -> str | None:
        """The answer that a token is, or the only one that it begins."""
        if not token:
            return None
        words = {answer.strip().lower(): answer for answer in self.rubric.answers}
        if token in words:
            return words[token]
        begun = [answer for word, answer in words.items() if word.startswith(token)]
        return begun[0] if len(begun) == 1 else None
