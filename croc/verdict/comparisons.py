"""How the answers of a pairwise judge become verdicts.

With a = P(the match is chosen, standing first) and b = P(the other one is chosen, standing first), the match
is preferred if a > b, which is a preference above one half in the mean of both orders; a = b is a tie.

A judge has no score, so it has no best image among several: its verdicts are those of single images and pairs
of images, and chance is one half.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from croc.checks.schema import SIDES
from croc.tables.columns import ANSWERS, NO_CONTRAST_PROMPT
from croc.tables.score_tables import ScoreTable
from croc.verdict.directions import Array, Layout, MetricVerdicts


class Answers(NamedTuple):
    """n comparisons: the row of each in its table, and its two answers; NaN where there is none."""

    row: NDArray[np.int64]
    match_first: Array
    other_first: Array

    @classmethod
    def of(cls, table: ScoreTable, column: str) -> Answers:
        """The comparisons in a column of a table."""
        lists = table.frame[column]
        counts = lists.list.len().to_numpy().astype(np.int64)
        flat = lists.filter(lists.list.len() > 0).explode().to_numpy().astype(np.float64)
        return cls(np.repeat(np.arange(len(lists)), counts // 2), flat[0::2], flat[1::2])

    @property
    def known(self) -> NDArray[np.bool_]:
        """(n,): whether both orders have an answer."""
        return ~np.isnan(self.match_first + self.other_first)


def pairwise_verdicts(table: ScoreTable, layout: Layout, *, paper: bool = False) -> MetricVerdicts:
    """Verdict of a pairwise judge on each check.

    Args:
        table: with the columns of ``ANSWERS``.
        layout: of the rows of the table.
        paper: as in the published computation a tie and a missing answer lose.
    """
    n = len(layout.checks)
    value, tie = np.full((4, n), np.nan), np.full((4, n), np.nan)
    present, expected = np.zeros((4, n)), np.zeros((4, n))
    both = layout.count.sum(axis=1) * (layout.count > 0).all(axis=1)
    for kind, column in enumerate(ANSWERS):
        found = Answers.of(table, column)
        check, side = layout.check[found.row], layout.side[found.row]
        tied = 1.0 * (found.match_first == found.other_first)
        won = (found.match_first > found.other_first) + (0 if paper else 0.5 * tied)
        for s in range(len(SIDES)):
            d, chosen = 2 * kind + s, side == s
            asked, known, wins, ties = (
                np.bincount(check[chosen], weights[chosen], minlength=n)
                for weights in (np.ones(len(check)), 1.0 * found.known, won, tied)
            )
            total = asked if paper else known
            with np.errstate(invalid="ignore", divide="ignore"):
                value[d], tie[d] = wins / total, ties / total
                # In units of scores, so that coverage compares with that of metrics.
                needed = 2 * layout.count[:, s] if kind == 0 else both
                expected[d], present[d] = needed, np.nan_to_num(needed * known / asked)
    absent = np.zeros(n, bool)
    absent[layout.check[(table.frame["error"] == NO_CONTRAST_PROMPT).fill_null(False).to_numpy()]] = True
    for d in (0, 1, 3):  # these read the contrast prompt
        expected[d, absent] = present[d, absent] = 0
    return MetricVerdicts(
        layout.checks, value, np.where(np.isnan(value), np.nan, 0.5), tie, present, expected
    )
