"""Pairwise judges on a slice of checks: both orders of every comparison, as rows of a table.

Each image is asked about with both prompts, and each pair of an image and one of the other side with the
prompt of either. The two orders of a comparison are two questions: one without an answer does not lose the
other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL.Image import Image

from croc.checks.rows import Row, prompt_problem
from croc.checks.schema import SIDES
from croc.jobs.parts import Abort
from croc.scorers import Judge
from croc.scoring.batching import BatchScorer, Outcome
from croc.tables.columns import ANSWERS, NO_CONTRAST_PROMPT, repeated_cells

METHOD = "comparisons"

Question = tuple[tuple[str, ...], tuple[str | None, ...]]
"""Images by key, and prompts: two prompts about an image, or two images for a prompt, in the order asked."""

Sides = tuple[Sequence[str], Sequence[str]]
"""The keys of a check's images, by side."""


class Comparer(BatchScorer):
    """Asks one judge, with the batches, the threads and the care for failures of a :class:`BatchScorer`."""

    scorer: Any

    def __init__(self, judge: Judge, **options: Any) -> None:
        super().__init__(judge, **options)  # type: ignore[arg-type]  # it has a name and fields
        self.method = METHOD

    def self_check(self, files: Mapping[str, bytes], wanted: Mapping[str, Sequence[str]]) -> None:
        """There is no faster way to compare with."""

    def answer(
        self,
        files: Mapping[str, bytes],
        broken: Mapping[str, str],
        questions: Sequence[Question],
        tick: Callable[[int], None],
    ) -> dict[Question, Outcome]:
        """The probability of choosing what stands first in each question, or why there is none.

        Args:
            files: image files by key.
            broken: why an image has no file, by key.
            questions: in an order in which those about one image stand together.
            tick: called with the number of questions that were just finished.

        Raises:
            Abort: the judge breaks its contract, or fails whatever it is asked.
        """
        keys = dict.fromkeys(key for images, _ in questions for key in images)
        images: dict[str, Image | str] = dict(broken)
        images |= dict(self._decoded({key: files[key] for key in keys if key not in broken}))
        found: dict[Question, Outcome] = {}
        ask: tuple[list[Question], list[Question]] = ([], [])
        for question in dict.fromkeys(questions):
            if (why := _problem(question, images)) is not None:
                found[question] = why
            else:
                ask[len(question[0]) - 1].append(question)
        for number, (some, what) in enumerate(zip(ask, ("choose_prompts", "choose_images"), strict=True)):
            # Images of equal size stand together for models that batch them.
            some.sort(key=lambda question: [images[key].size for key in question[0]])  # type: ignore[union-attr]
            for start in range(0, len(some), self.batch_size):
                batch = some[start : start + self.batch_size]
                outcomes = self._scores(
                    len(batch),
                    lambda at, batch=batch, number=number: self._choose(  # type: ignore[misc]
                        [batch[i] for i in at], images, pairs=bool(number)
                    ),
                    what,
                )
                found.update(zip(batch, outcomes, strict=True))
                tick(len(batch))
        tick(len(set(questions)) - sum(map(len, ask)))
        return found

    def _choose(self, questions: Sequence[Question], images: Mapping[str, Any], *, pairs: bool) -> Any:
        # Copies, as for scorers: one that draws on its image must not change another comparison.
        copies = {key: images[key].copy() for key in {key for keys, _ in questions for key in keys}}
        asked = [([copies[key] for key in keys], prompts) for keys, prompts in questions]
        if pairs:
            columns = [[p[0] for _, p in asked], [i[0] for i, _ in asked], [i[1] for i, _ in asked]]
            answers = self.scorer.choose_images(*columns)
        else:
            columns = [[i[0] for i, _ in asked], [p[0] for _, p in asked], [p[1] for _, p in asked]]
            answers = self.scorer.choose_prompts(*columns)
        values = np.asarray(self._array(answers, "a comparison"), dtype=np.float64)
        if ((values < 0) | (values > 1)).any():
            wrong = values[(values < 0) | (values > 1)][0]
            raise Abort(f"judge {self.scorer.name} answered {wrong:g}; expected probabilities in 0…1")
        return answers


def _problem(question: Question, images: Mapping[str, Any]) -> str | None:
    """Why a question cannot be asked; None if it can."""
    keys, prompts = question
    for key in keys:
        if isinstance(images[key], str):
            return str(images[key])
    return next(
        (
            "the prompt is missing" if prompt is None else problem
            for prompt in prompts
            if prompt is None or (problem := prompt_problem(prompt))
        ),
        None,
    )


def questions_of(check: Row, sides: Sides, opposing: int | None) -> list[list[Question]]:
    """The questions of each image of a check, original side first: those about prompts, then about images."""
    return [
        [*about_prompts, *about_images]
        for side in range(len(SIDES))
        for about_prompts, about_images in _of_side(check, sides, side, opposing)
    ]


def count_questions(images: int, contrast_images: int, has_contrast: bool, opposing: int | None) -> int:
    """The number of questions about a check.

    >>> count_questions(2, 3, True, None), count_questions(2, 3, True, 1), count_questions(2, 3, False, None)
    (34, 20, 12)
    """
    forward, inverse = (
        own * min(other, opposing or other)
        for own, other in ((images, contrast_images), (contrast_images, images))
    )
    return 2 * (images + contrast_images + forward + inverse) if has_contrast else 2 * forward


def comparison_rows(
    comparer: Comparer,
    checks: Sequence[Row],
    keys: Sequence[Sides],
    files: Mapping[str, bytes],
    broken: Mapping[str, str],
    tick: Callable[[int], None],
) -> Iterator[tuple[dict[str, Any], int]]:
    """Ask a judge about checks.

    Args:
        comparer: asks the judge.
        checks: the checks.
        keys: of their images.
        files: see :meth:`Comparer.answer`.
        broken: see there.
        tick: see there.

    Yields:
        A row per image, without scores and with the columns ``ANSWERS``; and how many answers it lacks.
    """
    opposing = getattr(comparer.scorer, "opposing", None)
    for window in _windows(list(zip(checks, keys, repeated_cells(checks), strict=True)), comparer.batch_size):
        questions = [
            question
            for check, sides, _ in window
            for of_image in questions_of(check, sides, opposing)
            for question in of_image
        ]
        answers = comparer.answer(files, broken, questions, tick)
        for check, sides, same in window:
            for side, name in enumerate(SIDES):
                asked = _of_side(check, sides, side, opposing)
                for index, (about_prompts, about_images) in enumerate(asked):
                    outcomes = [[answers[q] for q in some] for some in (about_prompts, about_images)]
                    reasons = [value for some in outcomes for value in some if isinstance(value, str)]
                    absent = NO_CONTRAST_PROMPT if check["contrast_prompt"] is None else None
                    row = {
                        **same,
                        "image_side": name,
                        "image_index": index,
                        "prompt_score": None,
                        "contrast_score": None,
                        "error": "; ".join(dict.fromkeys(reasons)) or absent,
                    }
                    for column, some in zip(ANSWERS, outcomes, strict=True):
                        row[column] = [None if isinstance(value, str) else value for value in some]
                    yield row, len(reasons)


def _of_side(
    check: Row, sides: Sides, side: int, opposing: int | None
) -> list[tuple[list[Question], list[Question]]]:
    """Per image of a side the questions about the two prompts, and about it and images of the other side."""
    prompts = (check["prompt"], check["contrast_prompt"])
    own, other = prompts[side], prompts[1 - side]
    found = []
    for i, key in enumerate(sides[side]):
        about_prompts: list[Question] = []
        about_images: list[Question] = []
        if prompts[1] is not None:
            about_prompts = [((key,), (own, other)), ((key,), (other, own))]
        if side == 0 or prompts[1] is not None:
            for j in _opponents(i, len(sides[1 - side]), opposing):
                pair = key, sides[1 - side][j]
                about_images += [(pair, (own,)), (pair[::-1], (own,))]
        found.append((about_prompts, about_images))
    return found


def _opponents(i: int, count: int, opposing: int | None) -> list[int]:
    """With which of so many opposing images image i is compared: the next ones from its own number."""
    return sorted((i + step) % count for step in range(min(count, opposing or count)))


def _windows(
    checks: Sequence[tuple[Row, Sides, dict[str, Any]]], images: int
) -> Iterator[Sequence[tuple[Row, Sides, dict[str, Any]]]]:
    """Checks with so many images together, or one with more."""
    window: list[tuple[Row, Sides, dict[str, Any]]] = []
    count = 0
    for one in checks:
        window.append(one)
        count += len(one[1][0]) + len(one[1][1])
        if count >= images:
            yield window
            window, count = [], 0
    if window:
        yield window
