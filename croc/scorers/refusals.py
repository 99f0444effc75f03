"""How a scorer says that single pairs of a batch have no score, without losing the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from croc.errors import InputError


class RefusedPairs(InputError):
    """Some pairs of a batch cannot be scored; the scores of the others travel with the error.

    Attributes:
        reasons: position in the batch → why that pair has no score.
        scores: float64 array of shape (n,), NaN where refused; None when nothing was computed.
    """

    def __init__(self, reasons: Mapping[int, str], scores: np.ndarray | None = None) -> None:
        first = min(reasons)
        more = f" ({len(reasons) - 1} more like it)" if len(reasons) > 1 else ""
        super().__init__(f"pair {first} of the batch has no score: {reasons[first]}{more}")
        self.reasons = dict(reasons)
        self.scores = scores


def refuse_empty(prompts: Sequence[str]) -> None:
    """Refuse prompts that say nothing.

    Raises:
        RefusedPairs: a prompt is empty.
    """
    if reasons := {i: "the prompt is empty" for i, prompt in enumerate(prompts) if not prompt.strip()}:
        raise RefusedPairs(reasons)


def score_batches(total: int, size: int, compute: Callable[[list[int]], np.ndarray]) -> np.ndarray:
    """Score ``total`` pairs, ``size`` at a time, and go on past refused ones.

    Args:
        total: number of pairs.
        size: pairs in one call at most.
        compute: from positions to their scores; it may raise :class:`RefusedPairs` for some of them.

    Returns:
        float64 array of shape (total,).

    Raises:
        InputError: ``size`` is no batch size.
        RefusedPairs: pairs were refused; all the other scores come with it.
    """
    if size < 1:
        raise InputError(f"batch_size must be at least 1, not {size}")
    scores = np.full(total, np.nan)
    reasons: dict[int, str] = {}
    for start in range(0, total, size):
        rows = list(range(start, min(start + size, total)))
        while rows:
            try:
                scores[rows] = compute(rows)
                break
            except RefusedPairs as refused:
                reasons |= {rows[i]: why for i, why in refused.reasons.items()}
                if refused.scores is not None:
                    scores[rows] = refused.scores
                    break
                rows = [row for i, row in enumerate(rows) if i not in refused.reasons]
    if reasons:
        raise RefusedPairs(reasons, scores)
    return scores


def check_pairs(images: Sequence[object], prompts: Sequence[str]) -> None:
    """Refuse a batch whose images and prompts do not pair up.

    Raises:
        InputError: the two lists differ in length.
    """
    if len(images) != len(prompts):
        raise InputError(
            f"{len(images)} images but {len(prompts)} prompts: pair i is (images[i], prompts[i])"
        )
