"""Batches of (image, prompt) pairs: their checks, and pairs without a score among others that have one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from croc.checks.rows import prompt_problem
from croc.errors import InputError


class UnscoredPairs(InputError):
    """Some pairs of a batch cannot be scored; the error holds the scores of the others.

    Attributes:
        reasons: per position in the batch, why that pair has no score.
        scores: float64 array of shape (n,), NaN where there is no score; None when nothing was computed.
    """

    def __init__(self, reasons: Mapping[int, str], scores: np.ndarray | None = None) -> None:
        first = min(reasons)
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        super().__init__(f"pair {first} of the batch has no score: {reasons[first]}{more}")
        self.reasons = dict(reasons)
        self.scores = scores


def require_prompts(prompts: Sequence[Any]) -> None:
    """Require that every prompt can be scored.

    Raises:
        UnscoredPairs: a prompt is no text, empty, or not valid Unicode.
    """
    reasons = {}
    for i, prompt in enumerate(prompts):
        if not isinstance(prompt, str):
            reasons[i] = f"the prompt is {type(prompt).__name__}, not a text"
        elif why := prompt_problem(prompt):
            reasons[i] = why
    if reasons:
        raise UnscoredPairs(reasons)


def score_batches(
    total: int,
    size: int,
    compute: Callable[[list[int]], np.ndarray],
    order: Sequence[int] | None = None,
) -> np.ndarray:
    """Score ``total`` pairs, ``size`` at a time; a pair without a score does not stop the others.

    Args:
        total: number of pairs.
        size: largest number of pairs in one call.
        compute: from positions to their scores; it may raise :class:`UnscoredPairs` for some of them.
        order: all positions, in the order in which they are scored; None is that of the pairs.

    Returns:
        float64 array of shape (total,).

    Raises:
        InputError: ``size`` is below 1.
        UnscoredPairs: some pairs have no score; the error holds the scores of the others.
    """
    if not isinstance(size, int) or size < 1:
        raise InputError(f"batch_size must be a whole number from 1, not {size!r}")
    scores = np.full(total, np.nan)
    reasons: dict[int, str] = {}
    positions = range(total) if order is None else order
    for start in range(0, total, size):
        rows = list(positions[start : start + size])
        while rows:
            try:
                scores[rows] = compute(rows)
                break
            except UnscoredPairs as error:
                reasons |= {rows[i]: why for i, why in error.reasons.items()}
                if error.scores is not None:
                    scores[rows] = error.scores
                    break
                rows = [row for i, row in enumerate(rows) if i not in error.reasons]
    if reasons:
        raise UnscoredPairs(reasons, scores)
    return scores


def require_pairs(images: Sequence[object], prompts: Sequence[str]) -> None:
    """Require one prompt per image.

    Raises:
        InputError: one is no list, or the two differ in length.
    """
    for name, values in (("images", images), ("prompts", prompts)):
        if isinstance(values, str) or not hasattr(values, "__len__"):
            raise InputError(f"{name} must be a list, not {type(values).__name__}")
    if len(images) != len(prompts):
        raise InputError(
            f"{len(images)} images but {len(prompts)} prompts: pair i is (images[i], prompts[i])"
        )
