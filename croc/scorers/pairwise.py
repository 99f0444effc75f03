"""Pairwise judges: a model says which of two images, or of two prompts, is the better match.

A judge answers in one order: the probability that it chooses the first candidate. Every comparison is asked
in both orders. With p₁ the probability of "A" when the first candidate is A, and p₂ when the second one is:

- preference for the first candidate: 1/2 + (p₁ − p₂) / 2, in 0…1;
- position: (p₁ + p₂) / 2 − 1/2, in −1/2…1/2; 0 for a judge that does not care about the order, above 0 for
  one that prefers what it sees first.

A judge answers the directions of a check by itself. Its preferences can be cyclic (this prompt over that one
on an image, that image over this one for a prompt …), which no score per image and prompt can express: its
table has the answers in place of scores (:data:`croc.tables.columns.ANSWERS`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from croc.checks.schema import DIRECTIONS
from croc.errors import InputError
from croc.scorers.pairs import UnscoredPairs, require_prompts
from croc.scorers.rating import RatingJudge
from croc.scorers.rubrics import Rubric

PROMPTS_QUESTION = (
    'Which text describes the image better?\nA: "{first}"\nB: "{second}"\nAnswer with one letter, A or B.'
)
IMAGES_QUESTION = (
    'Which of the two images matches the text "{prompt}" better, the first one (A) or the second one (B)? '
    "Answer with one letter, A or B."
)
FORMULA = "P(A)/(P(A)+P(B)), mean of both orders"
_ANSWERS = {"A": 1.0, "B": 0.0}


@dataclass(frozen=True)
class Comparison:
    """What a judge prefers in each of n comparisons; every field has shape (n,).

    Attributes:
        first: preference for the first candidate, 0…1.
        position: how much what is seen first is preferred, −1/2…1/2.
        consistent: whether both orders prefer the same candidate.
    """

    first: NDArray[np.float64]
    position: NDArray[np.float64]
    consistent: NDArray[np.bool_]

    @classmethod
    def of(cls, forward: Any, backward: Any) -> Comparison:
        """From the probability of "A" with the first candidate as A, and with the second one as A.

        >>> found = Comparison.of([0.9, 0.8], [0.3, 0.8])
        >>> found.first.round(2).tolist(), found.position.round(2).tolist(), found.consistent.tolist()
        ([0.8, 0.5], [0.1, 0.3], [True, False])
        """
        a, b = np.asarray(forward, dtype=np.float64), np.asarray(backward, dtype=np.float64)
        return cls(0.5 + (a - b) / 2, (a + b) / 2 - 0.5, (a > 0.5) == (b < 0.5))


@dataclass(frozen=True)
class Directions:
    """How a judge answers a check.

    Attributes:
        verdict: per direction, the share of comparisons in which the match is preferred; a tie is one half.
        preference: per direction, the mean preference for the match, 0…1.
        position: mean position bias over all comparisons of prompts, and over those of images.
        consistent: share of all comparisons in which both orders prefer the same.
    """

    verdict: Mapping[str, float]
    preference: Mapping[str, float]
    position: Mapping[str, float]
    consistent: float


class BothOrders(ABC):
    """What judges derive from their answers in one order."""

    opposing: int | None = None
    """With how many images of the other side each image of a check is compared; None is all of them."""

    @abstractmethod
    def choose_prompts(self, images: Sequence[Image], first: Sequence[str], second: Sequence[str]) -> Any:
        """The probability of choosing ``first[i]`` over ``second[i]`` for ``images[i]``, in this order.

        Returns:
            float64 (n,) in 0…1.

        Raises:
            UnscoredPairs: a comparison has no answer; the error may have the answers of the others.
        """

    @abstractmethod
    def choose_images(self, prompts: Sequence[str], first: Sequence[Image], second: Sequence[Image]) -> Any:
        """The probability of choosing ``first[i]`` over ``second[i]`` for ``prompts[i]``, in this order.

        Returns:
            float64 (n,) in 0…1.

        Raises:
            UnscoredPairs: a comparison has no answer; the error may have the answers of the others.
        """

    def compare_prompts(
        self, images: Sequence[Image], first: Sequence[str], second: Sequence[str]
    ) -> Comparison:
        """Which of ``first[i]`` and ``second[i]`` describes ``images[i]`` better, in both orders.

        Raises:
            UnscoredPairs: a comparison has no answer in one of its orders.
        """
        require_lengths(images=images, first=first, second=second)
        return _in_both_orders(self.choose_prompts, images, first, second)

    def compare_images(
        self, prompts: Sequence[str], first: Sequence[Image], second: Sequence[Image]
    ) -> Comparison:
        """Which of ``first[i]`` and ``second[i]`` matches ``prompts[i]`` better, in both orders.

        Raises:
            UnscoredPairs: a comparison has no answer in one of its orders.
            InputError: the model does not read two images in a turn.
        """
        require_lengths(prompts=prompts, first=first, second=second)
        return _in_both_orders(self.choose_images, prompts, first, second)

    def directions(
        self,
        prompt: str,
        contrast_prompt: str,
        images: Sequence[Image],
        contrast_images: Sequence[Image],
    ) -> Directions:
        """Answer a check: text directions are means over images, image directions over all pairs of images.

        Args:
            prompt: the original prompt.
            contrast_prompt: the contrast prompt.
            images: of the original prompt, at least one.
            contrast_images: of the contrast prompt, at least one.

        Raises:
            InputError: a side has no images.
        """
        if not images or not contrast_images:
            raise InputError("a pairwise judge needs images of both prompts")
        pairs = [(a, b) for a in images for b in contrast_images]
        own, other = [a for a, _ in pairs], [b for _, b in pairs]
        n, m = len(images), len(contrast_images)
        found = {
            "forward_text": self.compare_prompts(images, [prompt] * n, [contrast_prompt] * n),
            "inverse_text": self.compare_prompts(contrast_images, [contrast_prompt] * m, [prompt] * m),
            "forward_image": self.compare_images([prompt] * n * m, own, other),
            "inverse_image": self.compare_images([contrast_prompt] * n * m, other, own),
        }
        return Directions(
            verdict={
                d: float(np.mean((found[d].first > 0.5) + (found[d].first == 0.5) / 2)) for d in DIRECTIONS
            },
            preference={d: float(found[d].first.mean()) for d in DIRECTIONS},
            position={
                kind: float(
                    np.concatenate([found[d].position for d in DIRECTIONS if d.endswith(kind)]).mean()
                )
                for kind in ("text", "image")
            },
            consistent=float(np.concatenate([one.consistent for one in found.values()]).mean()),
        )


def _in_both_orders(
    choose: Callable[..., Any], about: Sequence[Any], first: Sequence[Any], second: Sequence[Any]
) -> Comparison:
    """Ask ``choose(about, first, second)`` and with the candidates exchanged, both orders side by side."""
    orders = [
        (what, *pair) for what, a, b in zip(about, first, second, strict=True) for pair in ((a, b), (b, a))
    ]
    columns = [list(column) for column in zip(*orders, strict=True)] if orders else [[], [], []]
    try:
        answers = choose(*columns)
    except UnscoredPairs as refused:
        raise UnscoredPairs({i // 2: why for i, why in refused.reasons.items()}) from None
    return Comparison.of(*np.reshape(answers, (-1, 2)).T)


class PairwiseJudge(BothOrders):
    """Compares two prompts on an image, or two images for a prompt.

    Args:
        model: Hub id, folder or loaded model; to compare images, one that reads two images in a turn.
        name: of the judge; None takes the checkpoint's.
        prompts_question: asked about two prompts; it contains ``{first}`` and ``{second}`` once.
        images_question: asked about two images; it contains ``{prompt}`` once.
        opposing: with how many images of the other side each image of a check is compared; None is all.
        options: see :class:`~croc.scorers.vision_language.VisionLanguageScorer` and
            :class:`~croc.scorers.loading.Checkpoint`.

    Raises:
        InputError: a question has not its places.
    """

    def __init__(
        self,
        model: Any,
        *,
        name: str | None = None,
        prompts_question: str = PROMPTS_QUESTION,
        images_question: str = IMAGES_QUESTION,
        opposing: int | None = None,
        **options: Any,
    ) -> None:
        require_questions(prompts_question, images_question)
        self.opposing = require_opposing(opposing)
        self._prompts_question = prompts_question
        # The two texts and the question around them are one text to the model.
        of_prompts = Rubric("pairwise", "{prompt}", _ANSWERS)
        self._of_prompts = RatingJudge(model, name=name, rubric=of_prompts, **options)
        of_images = Rubric("pairwise", images_question, _ANSWERS)
        self._of_images = _TwoImages(model, name=name, rubric=of_images, **options)
        self._of_images.checkpoint = self._of_prompts.checkpoint
        self.name = self._of_prompts.name
        self.batch_size = self._of_prompts.batch_size

    def fields(self) -> dict[str, str]:
        """Settings for a signature: the checkpoint, both questions, and that both orders are asked."""
        fields = self._of_prompts.fields()
        del fields["rubric"]
        return {
            **fields,
            "formula": FORMULA,
            "template": self._prompts_question,
            "images_template": self._of_images.rubric.question,
            **opposing_field(self.opposing),
        }

    def choose_prompts(
        self, images: Sequence[Image], first: Sequence[str], second: Sequence[str]
    ) -> NDArray[np.float64]:
        """See :meth:`BothOrders.choose_prompts`; neighbours with the same image share its prefix.

        Raises:
            UnscoredPairs: a prompt is empty, or two prompts together are longer than the model reads.
        """
        require_lengths(images=images, first=first, second=second)
        require_prompts(first)
        require_prompts(second)
        texts = [ask_about(self._prompts_question, a, b) for a, b in zip(first, second, strict=True)]
        long = np.flatnonzero(self._of_prompts.truncated(texts))
        if len(long):
            reason = f"the two prompts together exceed {self._of_prompts.window} tokens"
            raise UnscoredPairs({int(i): reason for i in long})
        starts = [i for i, image in enumerate(images) if i == 0 or image is not images[i - 1]]
        of_image = [texts[a:b] for a, b in pairwise([*starts, len(texts)])]
        rows = self._of_prompts.score_images_prompts([images[i] for i in starts], of_image)
        return np.concatenate([np.zeros(0), *rows])

    def choose_images(
        self, prompts: Sequence[str], first: Sequence[Image], second: Sequence[Image]
    ) -> NDArray[np.float64]:
        """See :meth:`BothOrders.choose_images`.

        Raises:
            UnscoredPairs: a prompt is empty.
            InputError: the model does not read two images in a turn.
        """
        require_lengths(prompts=prompts, first=first, second=second)
        require_prompts(prompts)
        pairs: list[Any] = list(zip(first, second, strict=True))
        return self._of_images.score(pairs, prompts)


class _TwoImages(RatingJudge):
    """A rating judge whose turn has two images before the question; an "image" is a pair of them."""

    images_per_turn = 2

    def _read_images(self, images: Any) -> tuple[dict[str, Any], list[list[int]]]:
        flat: list[Image] = [image for pair in images for image in pair]
        return super()._read_images(flat)

    @cached_property
    def _reads_prompt_with_image(self) -> bool:
        if hasattr(self.checkpoint.processor, "qformer_tokenizer"):
            raise InputError(f"{self.checkpoint.name} reads one image only, so it cannot compare two")
        return False


def require_lengths(**lists: Sequence[Any]) -> None:
    """Require lists of one length.

    Raises:
        InputError: two lengths differ.
    """
    if len({len(values) for values in lists.values()}) > 1:
        counts = ", ".join(f"{len(values)} {name}" for name, values in lists.items())
        raise InputError(f"a comparison needs one of each, not {counts}")


def require_questions(prompts_question: str, images_question: str) -> None:
    """Require that both questions have their places.

    Raises:
        InputError: a place is missing, or occurs twice.
    """
    for name, question, places in (
        ("prompts_question", prompts_question, ("{first}", "{second}")),
        ("images_question", images_question, ("{prompt}",)),
    ):
        for place in places:
            if question.count(place) != 1:
                raise InputError(f"{name} {question!r} must contain {place} once")


def require_opposing(opposing: int | None) -> int | None:
    """The number of opposing images as it was given.

    Raises:
        InputError: it is no whole number from 1.
    """
    if opposing is not None and (not isinstance(opposing, int) or opposing < 1):
        raise InputError(f"opposing must be a whole number from 1, not {opposing!r}")
    return opposing


def opposing_field(opposing: int | None) -> dict[str, str]:
    """How a signature says with how many images each one is compared; empty for all of them."""
    return {} if opposing is None else {"opposing": str(opposing)}


def ask_about(prompts_question: str, first: str, second: str) -> str:
    """The question about two prompts; braces in a prompt are text.

    >>> ask_about("A {first} B {second}", "{second}", "dog")
    'A {second} B dog'
    """
    before, after = prompts_question.split("{first}")
    if "{second}" in before:
        left, right = before.split("{second}")
        return left + second + right + first + after
    left, right = after.split("{second}")
    return before + first + left + second + right
