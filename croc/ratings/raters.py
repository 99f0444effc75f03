"""Raters who agree with each other much more than with the others, from which agreement is overestimated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from croc.ratings.coefficients import correlation
from croc.verdict.records import Count, Stored, Text
from croc.verdict.statistics import Array

MIN_SHARED_ITEMS = 30
"""Minimum number of items that two raters must share to be compared."""

MIN_GAP = 0.3
"""Minimum difference of the two correlations, as Fisher's z: 0.78 against 0.62, or 0.92 against 0.86."""

Correlated = Annotated[float, Field(ge=-1, le=1)]


@dataclass(frozen=True)
class DependentRaters(Stored):
    """Raters who agree with each other much more than with the others.

    Attributes:
        raters: their names.
        within: the lowest Spearman correlation of two of them.
        across: the highest Spearman correlation of one of them with another rater.
        others: number of other raters.
        items: number of items shared by the two raters of ``within``.
    """

    raters: tuple[Text, ...]
    within: Correlated
    across: Correlated
    others: Count
    items: Count

    def describe(self) -> str:
        """The finding as a sentence, with what it means for a coefficient of agreement."""
        names = f"{', '.join(self.raters[:-1])} and {self.raters[-1]}"
        other = "the other rater" if self.others == 1 else f"any of the {self.others} other raters"
        return (
            f"{names} correlate at {self.within:.2f} with each other but at most at {self.across:.2f} with "
            f"{other} (Spearman): their ratings may not be independent, and then alpha and the noise ceiling "
            "are too high; or the others rate with more errors or by another standard"
        )


def find_dependent_raters(ratings: Array, names: Sequence[str]) -> tuple[DependentRaters, ...]:
    """Find groups of raters who agree with each other much more than with the others.

    Pairs of raters are merged into groups by decreasing correlation. A group is reported if the lowest
    correlation within it is above the highest one with a rater outside, by ``MIN_GAP`` and three standard
    errors (Fisher's z). This is a reason to ask how the ratings were made, and no proof: two raters may also
    be more reliable than the others.

    Args:
        ratings: (raters, items); NaN where a rater did not rate an item.
        names: of the raters.

    Returns:
        The groups, without those that contain another one; none for two raters, who cannot be compared with
        others.
    """
    values = np.asarray(ratings, float)
    pairs = []
    for a in range(len(names)):
        for b in range(a + 1, len(names)):
            both = ~(np.isnan(values[a]) | np.isnan(values[b]))
            if (shared := int(both.sum())) >= MIN_SHARED_ITEMS:
                value = correlation(values[a, both], values[b, both], "spearman")
                if np.isfinite(value):
                    pairs.append((value, a, b, shared))
    pairs.sort(key=lambda pair: -pair[0])
    groups = [{number} for number in range(len(names))]
    found: list[set[int]] = []
    result = []
    for _, a, b, _ in pairs:
        if groups[a] is groups[b]:
            continue
        group = groups[a] | groups[b]
        for member in group:
            groups[member] = group
        inside = [pair for pair in pairs if pair[1] in group and pair[2] in group]
        outside = [pair for pair in pairs if (pair[1] in group) != (pair[2] in group)]
        if not outside or any(smaller <= group for smaller in found):
            continue
        within, across = inside[-1], outside[0]
        gap = float(np.diff(np.arctanh(np.clip([across[0], within[0]], -1 + 1e-9, 1 - 1e-9)))[0])
        if gap > MIN_GAP + 3 * np.sqrt(1 / (within[3] - 3) + 1 / (across[3] - 3)):
            found.append(group)
            members = tuple(names[number] for number in sorted(group))
            others = {pair[1] for pair in outside} | {pair[2] for pair in outside}
            result.append(DependentRaters(members, within[0], across[0], len(others - group), within[3]))
    return tuple(result)
