"""How scores become verdicts: the four directions, for pseudo-labelled (syn) and verified (hum) images.

A check is a row of dense matrices with one column per image, NaN where a score is missing; the functions on
those matrices hold the definitions.

Throughout, ``match`` are the scores that should be higher (an image with its own prompt) and ``other`` those
they are compared with. A verdict lies in 0…1: 1 passed, 0 failed, fractions from ties or from averages over
images, NaN where the direction is not defined for the check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from croc.checks.schema import DIRECTIONS, SIDES
from croc.errors import InputError
from croc.tables.columns import NO_CONTRAST_PROMPT
from croc.wording import counted

Array = NDArray[np.float64]

# Chance in the published computation (CROC paper, scaled accuracy of CROCsyn and CROChum).
PAPER_CHANCE: Mapping[str, Mapping[str, float]] = {
    "syn": {"forward_text": 5 / 6, "inverse_text": 5 / 6, "forward_image": 0.5, "inverse_image": 0.5},
    "hum": dict.fromkeys(DIRECTIONS, 0.5),
}
# Images of one check are held as a dense row up to about this many cells at a time.
_CELLS = 4_000_000


class DirectionVerdicts(NamedTuple):
    """One direction's verdict on each of n checks; every field has shape (n,)."""

    value: Array
    chance: Array
    tie: Array


def symmetric_chance(protocol: str, *, paper: bool) -> NDArray[np.bool_]:
    """(4,): the directions whose chance is the swap null, see :func:`scaled_accuracy`."""
    swapped = protocol == "syn" and not paper
    return np.array([swapped and direction.endswith("_text") for direction in DIRECTIONS])


def scaled_accuracy(accuracy: Any, chance: Any, symmetric: Any = False) -> Any:
    """Accuracy against chance: (a−c)/(1−c) above chance, (a−c)/c below; −1…1, and 0 is chance.

    Args:
        accuracy: value or array in 0…1.
        chance: value or array in 0…1, broadcast against ``accuracy``.
        symmetric: whether the chance is a swap null: the mean of the accuracy and of the accuracy with the
            two prompts exchanged. Then the result is (a−c)/(1−c) below chance, too. Exchanging the prompts
            only changes its sign, so that a metric at chance level has 0 on average, however few the checks.

    Returns:
        Same shape; NaN where either is NaN, 0 where both are 1 or both are 0.
    """
    a, c = np.asarray(accuracy, dtype=float), np.asarray(chance, dtype=float)
    difference = a - c
    room = np.where((difference >= 0) | symmetric, 1 - c, c)
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = np.where(difference == 0, 0.0, difference / room)
    scaled = np.clip(np.where(np.isnan(difference), np.nan, scaled), -1, 1)  # rounding may pass the ends
    return scaled if scaled.ndim else float(scaled)


def _beats(first: Array, second: Array) -> Array:
    """1 where first is greater, one half where equal, else 0 (also beside NaN)."""
    return np.where(first > second, 1.0, np.where(first == second, 0.5, 0.0))


def _mean(values: Array, mask: NDArray[np.bool_]) -> Array:
    count = mask.sum(axis=1)
    total: Array = np.where(mask, values, 0.0).sum(axis=1)
    return total / np.where(count == 0, np.nan, count)


def syn_text(
    match: Array, other: Array, *, paper: bool = False, images: int | None = None
) -> DirectionVerdicts:
    """Does the image that fits its own prompt best score higher with it than with the other prompt?

    Args:
        match: (n, K), score of each image with its own prompt.
        other: (n, K), score of the same image with the opposing prompt.
        paper: the published computation: an image counts when its matching score is there, the first of tied
            images is taken, a tie and a missing opposing score lose, chance is 5/6.
        images: the verdict expected with so many images drawn from those of the check; None takes all.

    Returns:
        The verdicts. In the default mode an image counts when both scores are there, tied images are averaged
        over, a tie is one half, and chance is the mean of the verdict and of the verdict with the prompts'
        scores exchanged.
    """
    if paper:
        known = ~np.isnan(match)
        rows = np.arange(len(match))
        best = np.where(known, match, -np.inf).argmax(axis=1)
        own, opposing = match[rows, best], other[rows, best]
        some = known.any(axis=1)
        value = np.where(some, own > opposing, np.nan)
        chance = np.where(some, PAPER_CHANCE["syn"]["forward_text"], np.nan)
        return DirectionVerdicts(value, chance, np.where(some, own == opposing, np.nan))
    both = ~(np.isnan(match) | np.isnan(other))
    match, other = np.where(both, match, np.nan), np.where(both, other, np.nan)
    chosen = _chance_of_being_best(match, images)
    value = _weighted(chosen, _beats(match, other))
    exchanged = _weighted(_chance_of_being_best(other, images), _beats(other, match))
    return DirectionVerdicts(value, (value + exchanged) / 2, _weighted(chosen, 1.0 * (match == other)))


def syn_image(
    match: Array, other: Array, *, paper: bool = False, images: int | None = None
) -> DirectionVerdicts:
    """Does the best of the prompt's own images score higher with it than the best of the opposing images?

    Args:
        match: (n, K), score of the prompt with its own images.
        other: (n, L), score of the same prompt with the opposing images.
        paper: the published computation: a tie loses, chance is 1/2, and a check without any opposing score
            loses.
        images: the verdict expected with so many images drawn from each side; None takes all.

    Returns:
        The verdicts. In the default mode chance is K/(K+L), counted over scored images, a tie is one half,
        and a check needs a score on either side.
    """
    count, other_count = (~np.isnan(match)).sum(axis=1), (~np.isnan(other)).sum(axis=1)
    some = (count > 0) & (other_count > 0)
    if images is None or paper:
        own = np.where(np.isnan(match), -np.inf, match).max(axis=1)
        opposing = np.where(np.isnan(other), -np.inf, other).max(axis=1)
        value, tie = _beats(own, opposing), 1.0 * (own == opposing)
    else:
        count, other_count = np.minimum(count, images), np.minimum(other_count, images)
        best, other_best = _chance_of_being_best(match, images), _chance_of_being_best(other, images)
        value, tie = np.zeros(len(match)), np.zeros(len(match))
        for score, weight in zip(other.T, other_best.T, strict=True):
            value += weight * (best * _beats(match, score[:, None])).sum(axis=1)
            tie += weight * (best * (match == score[:, None])).sum(axis=1)
    chance = count / np.maximum(count + other_count, 1)
    if paper:
        some = count > 0
        value = (own > opposing) & (other_count > 0)
        chance = np.full(len(own), PAPER_CHANCE["syn"]["forward_image"])
    return DirectionVerdicts(*(np.where(some, array, np.nan) for array in (value, chance, tie)))


def _chance_of_being_best(scores: Array, images: int | None) -> Array:
    """(n, K): the probability that each image is the best of ``images`` drawn without replacement.

    The r-th lowest of c scores is the best of k drawn ones in C(r−1, k−1) of C(c, k) draws. Equal scores
    share their probability.

    Args:
        scores: (n, K), NaN where there is none.
        images: k; None, or more than there are, takes all.
    """
    from scipy.special import comb

    known = ~np.isnan(scores)
    filled = np.where(known, scores, -np.inf)
    if images is None:
        highest = known & (filled == filled.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(highest / np.maximum(highest.sum(axis=1, keepdims=True), 1))
    count = known.sum(axis=1, keepdims=True)
    drawn = np.minimum(images, count)
    order = np.argsort(filled, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(scores.shape[1])[None], axis=1)
    rank -= scores.shape[1] - count  # what is missing was sorted below all others
    weight = np.where(known, comb(np.maximum(rank, 0), drawn - 1) / np.maximum(comb(count, drawn), 1), 0.0)
    shared, equals = np.zeros_like(weight), np.zeros_like(weight)
    for score, of_score, there in zip(filled.T, weight.T, known.T, strict=True):
        equal = there[:, None] & known & (filled == score[:, None])
        shared += equal * of_score[:, None]
        equals += equal
    return np.asarray(shared / np.maximum(equals, 1))


def _weighted(weights: Array, values: Array) -> Array:
    """(n,): weighted sums of rows; NaN where no image counts."""
    some = weights.sum(axis=1) > 0
    return np.where(some, (weights * values).sum(axis=1), np.nan)


def hum_text(
    match: Array, other: Array, count: NDArray[np.int64], *, paper: bool = False
) -> DirectionVerdicts:
    """Which share of the images scores higher with its own prompt than with the other one?

    Args:
        match: (n, K), score of each image with its own prompt.
        other: (n, K), score of the same image with the opposing prompt.
        count: (n,), number of images of the check, at most K; the paper mode divides by it.
        paper: the published computation: a tie and a missing score lose.
    """
    both = ~(np.isnan(match) | np.isnan(other))
    tied = 1.0 * (match == other)
    if paper:
        total = np.where(count == 0, np.nan, count)
        value = (match > other).sum(axis=1) / total
        tie = tied.sum(axis=1) / total
    else:
        value, tie = _mean(_beats(match, other), both), _mean(tied, both)
    return DirectionVerdicts(value, np.where(np.isnan(value), np.nan, 0.5), tie)


def hum_image(
    match: Array,
    other: Array,
    count: NDArray[np.int64],
    other_count: NDArray[np.int64],
    *,
    paper: bool = False,
) -> DirectionVerdicts:
    """In which share of image pairs does the prompt score higher with its own than with the opposing image?

    Args:
        match: (n, K), score of the prompt with its own images.
        other: (n, L), score of the same prompt with the opposing images.
        count: (n,), number of own images.
        other_count: (n,), number of opposing images.
        paper: the published computation: a tie and a missing score lose.
    """
    wins, ties, pairs = (np.zeros(len(match)) for _ in range(3))
    # Column by column of the opposing images: memory stays that of one matrix.
    for column in other.T:
        opposing = column[:, None]
        wins += (match > opposing).sum(axis=1)
        ties += (match == opposing).sum(axis=1)
        pairs += (~np.isnan(match) & ~np.isnan(opposing)).sum(axis=1)
    if paper:
        pairs = (count * other_count).astype(float)
    else:
        wins += 0.5 * ties
    pairs[pairs == 0] = np.nan
    value = wins / pairs
    return DirectionVerdicts(value, np.where(np.isnan(value), np.nan, 0.5), ties / pairs)


def directions_of(scores: Any) -> dict[str, float]:
    """Which of the four directions does one check with one image a side pass?

    Args:
        scores: (2, 2), ``scores[prompt][image]``, the original first.

    Returns:
        Per direction 1 for passed, 0 for failed, 1/2 for a tie.
    """
    grid = np.asarray(scores, dtype=np.float64)
    (p_o, p_c), (c_o, c_c) = grid[..., None, None]
    one = np.ones(1, dtype=np.int64)
    verdicts = (
        hum_text(p_o, c_o, one),
        hum_text(c_c, p_c, one),
        hum_image(p_o, p_c, one, one),
        hum_image(c_c, c_o, one, one),
    )
    return {name: float(verdict.value[0]) for name, verdict in zip(DIRECTIONS, verdicts, strict=True)}


@dataclass(frozen=True)
class MetricVerdicts:
    """Verdicts of one metric, a row per check: all that aggregation and resampling need.

    Attributes:
        checks: n rows: ``check_id``, ``concept_id`` and the columns that reports group by.
        value: (4, n) verdict per direction, in the order of ``DIRECTIONS``; NaN where there is none.
        chance: (4, n) chance of that verdict.
        tie: (4, n) share of tied comparisons behind it.
        present: (4, n) number of scores that the direction reads and that are not missing.
        expected: (4, n) number of scores that it reads.
    """

    checks: pl.DataFrame
    value: Array
    chance: Array
    tie: Array
    present: Array
    expected: Array


@dataclass(frozen=True)
class Layout:
    """Where each row of a score table goes in the dense matrices; shared by metrics with the same rows."""

    checks: pl.DataFrame
    check: NDArray[np.int64]  # per row: number of its check
    side: NDArray[np.int64]  # per row: 0 original, 1 contrast
    position: NDArray[np.int64]  # per row: its column in the dense matrix
    count: NDArray[np.int64]  # (n, 2): images of each check and side
    split: tuple[str, ...] = ()  # columns that vary inside a check and split it

    @classmethod
    def of(cls, frame: pl.DataFrame, groups: Sequence[str], source: str) -> Layout:
        """Work out the layout of a score table.

        Args:
            frame: columns ``check_id, concept_id, image_side, image_index`` and ``groups``.
            groups: columns to group by; where one varies inside a check, the check is split along it.
            source: the file, for messages.

        Raises:
            InputError: two rows are of the same image.
        """
        groups = [name for name in groups if name in frame.columns]
        side = (frame["image_side"] == SIDES[1]).to_numpy().astype(np.int64)
        index = frame["image_index"].to_numpy().astype(np.int64)
        code, heads = _codes(frame["check_id"])
        varying = [name for name in groups if _varies(frame[name], code, heads)]
        if varying:
            code, heads = _codes(frame.select(pl.struct("check_id", *varying)).to_series())
        cell = code * 2 + side
        in_order = bool(np.all((np.diff(cell) > 0) | ((np.diff(cell) == 0) & (np.diff(index) > 0))))
        order = np.arange(len(cell)) if in_order else np.lexsort((index, cell))
        ordered = cell[order]
        first = np.r_[True, ordered[1:] != ordered[:-1]] if len(ordered) else np.zeros(0, bool)
        if not in_order:
            again = np.flatnonzero(~first & (np.diff(index[order], prepend=-1) == 0))
            if len(again):
                row = frame.row(int(order[again[0]]), named=True)
                raise InputError(
                    f"{source}: {counted(len(again), 'duplicate row')}; the first is check "
                    f"{row['check_id']!r}, {row['image_side']} image {row['image_index']}"
                )
        starts = np.flatnonzero(first)
        position = np.empty(len(cell), np.int64)
        position[order] = np.arange(len(cell)) - np.repeat(starts, np.diff(np.r_[starts, len(cell)]))
        count = np.bincount(cell, minlength=2 * len(heads)).reshape(-1, 2)
        checks = frame.select("check_id", pl.coalesce("concept_id", "check_id"), *groups)[heads]
        return cls(checks, code, side, position, count, tuple(varying))

    @cached_property
    def blocks(self) -> list[Block]:
        """Checks of similar size together, so that a check with many images widens few matrices."""
        width = np.maximum(self.count.max(axis=1), 1)
        size = np.ceil(np.log2(width)).astype(np.int64)
        members = []
        for level in np.unique(size):
            of_level = np.flatnonzero(size == level)
            step = max(1, _CELLS >> int(level))
            members += [of_level[begin : begin + step] for begin in range(0, len(of_level), step)]
        number, place = np.zeros(len(width), np.int64), np.zeros(len(width), np.int64)
        for i, checks in enumerate(members):
            number[checks], place[checks] = i, np.arange(len(checks))
        of_row = number[self.check]
        return [self._block(i, checks, of_row, place) for i, checks in enumerate(members)]

    def _block(
        self, number: int, checks: NDArray[np.int64], of_row: NDArray[np.int64], place: NDArray[np.int64]
    ) -> Block:
        widths = np.maximum(self.count[checks].max(axis=0), 1)
        rows, cells = [], []
        for side, width in enumerate(widths):
            members = np.flatnonzero((of_row == number) & (self.side == side))
            rows.append(members)
            cells.append(place[self.check[members]] * width + self.position[members])
        return Block(checks, (int(widths[0]), int(widths[1])), (rows[0], rows[1]), (cells[0], cells[1]))


class Block(NamedTuple):
    """Some checks as dense matrices: which rows of the table go into which cells, for each side."""

    checks: NDArray[np.int64]
    widths: tuple[int, int]
    rows: tuple[NDArray[np.int64], NDArray[np.int64]]
    cells: tuple[NDArray[np.int64], NDArray[np.int64]]

    def grid(self, values: Array, side: int) -> Array:
        """The values of one side's rows as a matrix (checks, images), NaN where there is no image."""
        flat = np.full(len(self.checks) * self.widths[side], np.nan)
        flat[self.cells[side]] = values[self.rows[side]]
        return flat.reshape(len(self.checks), self.widths[side])


def _codes(keys: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number the distinct values in order of appearance: (number per row, first row of each value)."""
    if len(keys) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    changed = keys.ne_missing(keys.shift(1)).to_numpy().copy()
    changed[0] = True
    heads = np.flatnonzero(changed)
    run = np.cumsum(changed) - 1
    distinct = keys[heads]
    if distinct.n_unique() == len(heads):  # rows of a check stand together, as our writer puts them
        return run, heads
    numbered = (
        pl.DataFrame({"key": distinct, "run": np.arange(len(heads))})
        .group_by("key", maintain_order=True)
        .agg("run")
        .with_row_index("code")
        .explode("run")
    )
    code = np.empty(len(heads), np.int64)
    code[numbered["run"].to_numpy()] = numbered["code"].to_numpy()
    _, firsts = np.unique(code, return_index=True)
    return code[run], heads[firsts]


def _varies(values: pl.Series, code: NDArray[np.int64], heads: NDArray[np.int64]) -> bool:
    return bool(values.ne_missing(values[heads[code]]).any()) if len(values) else False


def metric_verdicts(
    frame: pl.DataFrame,
    protocol: str,
    *,
    layout: Layout,
    scores: tuple[str, str] = ("prompt_score", "contrast_score"),
    paper: bool = False,
    images: int | None = None,
) -> MetricVerdicts:
    """Verdict of one metric on each check of a score table.

    Args:
        frame: the rows that ``layout`` was made of, with the two score columns and optionally ``error``.
        protocol: ``syn`` or ``hum``.
        layout: see :meth:`Layout.of`.
        scores: names of the columns with the score under the original and under the contrast prompt.
        paper: the published computation instead of the default one.
        images: the verdicts expected with so many images per side, averaged over all choices of them; None
            takes all images. Verdicts of ``hum`` are averages over images and do not depend on it.
    """
    n = len(layout.checks)
    value, chance, tie, present, expected = (np.full((4, n), np.nan) for _ in range(5))
    prompt, contrast = (frame[name].to_numpy().astype(np.float64) for name in scores)
    has_contrast = _has_contrast_prompt(frame, contrast, layout)
    for block in layout.blocks:
        chosen = block.checks
        p_o, c_o, p_c, c_c = grids = [
            block.grid(values, side) for side in (0, 1) for values in (prompt, contrast)
        ]
        original, contrasted = layout.count[chosen].T
        if protocol == "syn" and images != 1:
            verdicts = (
                syn_text(p_o, c_o, paper=paper, images=images),
                syn_text(c_c, p_c, paper=paper, images=images),
                syn_image(p_o, p_c, paper=paper, images=images),
                syn_image(c_c, c_o, paper=paper, images=images),
            )
        else:  # with one image per side, drawn in every way, the two protocols are the same
            verdicts = (
                hum_text(p_o, c_o, original, paper=paper),
                hum_text(c_c, p_c, contrasted, paper=paper),
                hum_image(p_o, p_c, original, contrasted, paper=paper),
                hum_image(c_c, c_o, contrasted, original, paper=paper),
            )
        known = [(~np.isnan(grid)).sum(axis=1) for grid in grids]
        read = (known[0] + known[1], known[2] + known[3], known[0] + known[2], known[1] + known[3])
        needed = (2 * original, 2 * contrasted, original + contrasted, original + contrasted)
        one_sided = (original == 0) | (contrasted == 0)
        for d, verdict in enumerate(verdicts):
            value[d, chosen], chance[d, chosen], tie[d, chosen] = verdict
            # The image directions compare two sides: with images on one side alone they read no scores.
            void = one_sided if d >= 2 else needed[d] == 0
            present[d, chosen] = read[d]
            expected[d, chosen] = np.where(void, 0, needed[d])
    for d in (0, 1, 3):  # these read the contrast prompt
        value[d, ~has_contrast] = chance[d, ~has_contrast] = tie[d, ~has_contrast] = np.nan
        present[d, ~has_contrast] = expected[d, ~has_contrast] = 0
    return MetricVerdicts(layout.checks, value, chance, tie, present, expected)


def _has_contrast_prompt(frame: pl.DataFrame, contrast: Array, layout: Layout) -> NDArray[np.bool_]:
    """(n,): whether a check has a contrast prompt; benchmarks of others may give none."""
    present = np.ones(len(layout.checks), bool)
    if "error" in frame.columns and frame["error"].null_count() < len(frame):
        absent = (frame["error"] == NO_CONTRAST_PROMPT).fill_null(False).to_numpy()
        present[layout.check[absent]] = False
    elif len(contrast) and np.isnan(contrast).all():
        present[:] = False
    return present
