"""How often the answers of a pairwise judge follow the position of what is compared, not its content.

The answers of both orders follow the position if both choose what stands first, or both what stands second:
one of them must be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from croc.tables.columns import ANSWERS
from croc.tables.score_tables import ScoreTable
from croc.verdict.comparisons import Answers
from croc.verdict.intervals import mean_share
from croc.verdict.records import Compared, PositionBias, optional


def position_biases(tables: Sequence[ScoreTable], level: float) -> tuple[PositionBias, ...]:
    """How often the answers of each pairwise judge follow the position, for prompts and for images."""
    biases = []
    for table in (table for table in tables if table.pairwise):
        concept = table.frame.select("check_id", "concept_id")
        names = concept["concept_id"].fill_null(concept["check_id"])
        code = names.rank("dense").to_numpy().astype(np.int64) - 1
        for metric in table.metrics:
            biases += [
                _position_bias(metric, "prompts", Answers.of(table, ANSWERS[0]), code, level),
                _position_bias(metric, "images", Answers.of(table, ANSWERS[1]), code, level),
            ]
    return tuple(biases)


def _position_bias(
    metric: str, compared: Compared, found: Answers, concept: NDArray[np.int64], level: float
) -> PositionBias:
    known = found.known
    a, b = found.match_first[known], found.other_first[known]
    first, second = (a > 0.5) & (b > 0.5), (a < 0.5) & (b < 0.5)
    n = int(known.sum())
    # Answers at random follow the position in half of the comparisons.
    _, clusters = np.unique(concept[found.row[known]], return_inverse=True)
    share = mean_share((first | second).astype(np.float64), level, clusters=clusters) if n else None
    return PositionBias(
        metric=metric,
        compared=compared,
        comparisons=n,
        bias=share.value if share else None,
        ci_low=share.low if share else None,
        ci_high=share.high if share else None,
        first=optional(np.mean(first)) if n else None,
    )
