"""Pairwise judges: a vision-language model says which of two images, or of two prompts, is the better match.

Every comparison is asked in both orders. With p(A) the probability of the answer "A" against "B", and A being
the first candidate in one order and the second in the other:

- preference for the first candidate: (p₁(A) + 1 − p₂(A)) / 2, in 0…1;
- position bias: (p₁(A) + p₂(A)) / 2 − 1/2, in −1/2…1/2; 0 for a judge that does not care about the order,
  above 0 for one that prefers what it sees first.

A judge answers the directions of a check by itself. Its preferences can be cyclic (this prompt over that one
on an image, that image over this one for a prompt …), which no score per image and prompt can express: so
there is no score table of it, and ``croc evaluate`` does not read its answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
_ANSWERS = {"A": 1.0, "B": 0.0}


@dataclass(frozen=True)
class Comparison:
    """What a judge prefers in each of n comparisons; every field has shape (n,).

    Attributes:
        first: preference for the first candidate, 0…1.
        position: position bias, −1/2…1/2.
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
        return cls((a + 1 - b) / 2, (a + b) / 2 - 0.5, (a > 0.5) == (b < 0.5))


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


class PairwiseJudge:
    """Compares two prompts on an image, or two images for a prompt.

    Args:
        model: Hub id, folder or loaded model; to compare images, one that reads two images in a turn.
        name: of the judge; None takes the checkpoint's.
        prompts_question: asked about two prompts; it contains ``{first}`` and ``{second}`` once.
        images_question: asked about two images; it contains ``{prompt}`` once.
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
        **options: Any,
    ) -> None:
        for place in ("{first}", "{second}"):
            if prompts_question.count(place) != 1:
                raise InputError(f"prompts_question {prompts_question!r} must contain {place} once")
        self._prompts_question = prompts_question
        # The two texts and the question around them are one text to the model.
        of_prompts = Rubric("pairwise", "{prompt}", _ANSWERS)
        self._of_prompts = RatingJudge(model, name=name, rubric=of_prompts, **options)
        of_images = Rubric("pairwise", images_question, _ANSWERS)
        self._of_images = _TwoImages(model, name=name, rubric=of_images, **options)
        self._of_images.checkpoint = self._of_prompts.checkpoint
        self.name = self._of_prompts.name

    def fields(self) -> dict[str, str]:
        """Settings for a signature: the checkpoint, both questions, and that both orders are asked."""
        fields = self._of_prompts.fields()
        del fields["rubric"]
        return {
            **fields,
            "formula": "P(A)/(P(A)+P(B)), mean of both orders",
            "template": self._prompts_question,
            "images_template": self._of_images.rubric.question,
        }

    def compare_prompts(
        self, images: Sequence[Image], first: Sequence[str], second: Sequence[str]
    ) -> Comparison:
        """Which of ``first[i]`` and ``second[i]`` describes ``images[i]`` better; one prefix per image.

        Raises:
            UnscoredPairs: a prompt is empty, or two prompts together are longer than the model reads.
        """
        _require_lengths(images=images, first=first, second=second)
        require_prompts(first)
        require_prompts(second)
        texts = [[self._both(a, b), self._both(b, a)] for a, b in zip(first, second, strict=True)]
        long = np.flatnonzero(self._of_prompts.truncated([text for pair in texts for text in pair]))
        if len(long):
            reason = f"the two prompts together exceed {self._of_prompts.window} tokens"
            raise UnscoredPairs({int(i) // 2: reason for i in long})
        orders = self._of_prompts.score_images_prompts(images, texts)
        return Comparison.of(*np.reshape(orders, (-1, 2)).T)

    def compare_images(
        self, prompts: Sequence[str], first: Sequence[Image], second: Sequence[Image]
    ) -> Comparison:
        """Which of ``first[i]`` and ``second[i]`` matches ``prompts[i]`` better.

        Raises:
            UnscoredPairs: a prompt is empty.
            InputError: the model does not read two images in a turn.
        """
        _require_lengths(prompts=prompts, first=first, second=second)
        require_prompts(prompts)
        pairs: list[Any] = list(zip(first, second, strict=True))
        turned: list[Any] = list(zip(second, first, strict=True))
        forward = self._of_images.score(pairs, prompts)
        return Comparison.of(forward, self._of_images.score(turned, prompts))

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

    def _both(self, first: str, second: str) -> str:
        before, after = self._prompts_question.split("{first}")
        if "{second}" in before:
            left, right = before.split("{second}")
            return left + second + right + first + after
        left, right = after.split("{second}")
        return before + first + left + second + right


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


def _require_lengths(**lists: Sequence[Any]) -> None:
    if len({len(values) for values in lists.values()}) > 1:
        counts = ", ".join(f"{len(values)} {name}" for name, values in lists.items())
        raise InputError(f"a comparison needs one of each, not {counts}")
