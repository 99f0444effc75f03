"""The sampling rule: which check comes next, and which nodes of a tree are certified as weak.

The nodes are properties, some of them in groups (the folders of the taxonomy's tree). A check is drawn in one
of three ways: from the whole tree (each property with the same probability), from a group (each of its
properties with the same probability), or from a property. It is a random check of every node on its way, and
of no other, so it counts for these.

A node is weak when its mean is below the mean of all checks outside it by more than a margin. The evidence is
an e-process, so one may look after every check and choose the next one by what was seen. Half of the error
probability is shared by the groups, half by the properties.

Next comes the property with the lowest mean in a random draw from the posterior (Thompson sampling), whose
prior is the mean of its group, so that a group that fails is found as a whole. A share of the checks is drawn
from the whole tree: they measure the rest, and find what looked good by chance. What is certified is drawn
from no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from croc.errors import InputError
from croc.probe.confidence_sequences import (
    STEPS,
    VALUES,
    Array,
    interval,
    log_evidence_below,
    means,
)

_TYPICAL, _TYPICAL_WEIGHT = 0.8, 2.0  # of the mean before the first check, and its weight in checks
_GROUP_WEIGHT = 4.0


@dataclass(frozen=True)
class SearchSettings:
    """Settings of a search.

    Attributes:
        margin: how far below the rest a mean must be.
        alpha: probability that any node is certified wrongly.
        everywhere: share of the checks drawn from the whole tree.
        groups: share of the others that are drawn from a whole group.
        weight: of the group's mean in the prior of a property, in checks.
        rule: ``even`` draws each property in turn instead.
    """

    margin: float = 0.05
    alpha: float = 0.05
    everywhere: float = 0.4
    groups: float = 0.3
    weight: float = 2.0
    rule: Literal["adaptive", "even"] = "adaptive"

    def __post_init__(self) -> None:
        if not 0 <= self.margin < 0.5:
            raise InputError(f"the margin must be at least 0 and below 0.5, not {self.margin}")
        if not 0 < self.alpha < 1:
            raise InputError(f"the error probability must be between 0 and 1, not {self.alpha}")


@dataclass(frozen=True)
class Draw:
    """Where a check is drawn from.

    Attributes:
        leaf: the property that the check is about.
        counts: the nodes whose random check it is.
        everywhere: whether it was drawn from the whole tree.
    """

    leaf: str
    counts: tuple[str, ...]
    everywhere: bool


class Search:
    """The state of a search: histograms of the outcomes by node.

    Args:
        groups: the properties in each group, or each property alone under its own name.
        settings: of the rule.
    """

    def __init__(self, groups: Mapping[str, Sequence[str]], settings: SearchSettings | None = None) -> None:
        self.settings = settings or SearchSettings()
        self.leaves: tuple[str, ...] = tuple(leaf for members in groups.values() for leaf in members)
        if len(self.leaves) < 2 or len(set(self.leaves)) < len(self.leaves):
            raise InputError("a search needs at least two properties, each in one group")
        self.groups = {name: tuple(members) for name, members in groups.items() if len(members) > 1}
        if overlap := set(self.groups) & set(self.leaves):
            raise InputError(f"{min(overlap)!r} is the name of a group and of a property")
        self.nodes: tuple[str, ...] = (*self.leaves, *self.groups)
        self._at = {name: position for position, name in enumerate(self.nodes)}
        self._group_of = {leaf: name for name, members in self.groups.items() for leaf in members}
        # Per node: all its random checks, and those of them that were drawn from the whole tree.
        self.own: Array = np.zeros((len(self.nodes), STEPS + 1))
        self._from_all: Array = np.zeros_like(self.own)
        self.whole: Array = np.zeros(STEPS + 1)
        self.certified: dict[str, int] = {}
        self.checks = 0
        shares = [(self.leaves, 0.5 if self.groups else 1.0), (tuple(self.groups), 0.5)]
        self._limits: Array = np.array(
            [np.log(len(names) / (self.settings.alpha * share)) for names, share in shares for _ in names]
        )

    # ---- Drawing ----

    def choose(self, rng: np.random.Generator) -> Draw:
        """Where the next check is drawn from."""
        if self.settings.rule == "even":
            # The order is another one in every turn.
            turn, place = divmod(self.checks, len(self.leaves))
            order = np.random.default_rng((17, turn)).permutation(len(self.leaves))
            return self._from_everywhere(self.leaves[order[place]])
        if rng.random() < self.settings.everywhere:
            return self._from_everywhere(self.leaves[rng.integers(len(self.leaves))])
        leaf = self._most_suspect(rng)
        group = self._group_of.get(leaf)
        if group is not None and group not in self.certified and rng.random() < self.settings.groups:
            members = self.groups[group]
            member = members[rng.integers(len(members))]
            return Draw(member, (member, group), False)
        return Draw(leaf, (leaf,), False)

    def _from_everywhere(self, leaf: str) -> Draw:
        return Draw(leaf, self._path(leaf), True)

    def _path(self, leaf: str) -> tuple[str, ...]:
        return (leaf, self._group_of[leaf]) if leaf in self._group_of else (leaf,)

    def _most_suspect(self, rng: np.random.Generator) -> str:
        count = self.own[: len(self.leaves)].sum(axis=1)
        passed = self.own[: len(self.leaves)] @ VALUES
        typical = (self.whole @ VALUES + _TYPICAL_WEIGHT * _TYPICAL) / (self.whole.sum() + _TYPICAL_WEIGHT)
        prior = np.full(len(self.leaves), typical)
        for members in self.groups.values():
            inside = [self._at[leaf] for leaf in members]
            weight = count[inside].sum() + _GROUP_WEIGHT
            prior[inside] = (passed[inside].sum() + _GROUP_WEIGHT * typical) / weight
        weight = self.settings.weight
        drawn = rng.beta(
            np.maximum(passed + weight * prior, 1e-3), np.maximum(count - passed + weight * (1 - prior), 1e-3)
        )
        drawn += [2.0 * (leaf in self.certified) for leaf in self.leaves]
        return self.leaves[int(drawn.argmin())]

    # ---- Outcomes ----

    def add(self, draw: Draw, outcome: float) -> None:
        """Count the outcome of a check: the mean of its four verdicts, a multiple of 1/8."""
        value = round(outcome * STEPS)
        if not 0 <= value <= STEPS or abs(value - outcome * STEPS) > 1e-6:
            raise ValueError(f"the mean of four verdicts is a multiple of 1/{STEPS}, not {outcome}")
        self.checks += 1
        for name in draw.counts:
            self.own[self._at[name], value] += 1
            self._from_all[self._at[name], value] += draw.everywhere
        self.whole[value] += draw.everywhere

    def certify(self) -> list[str]:
        """Look for nodes that are weaker than the rest.

        Returns:
            The names of those that were not certified before.
        """
        if self.settings.rule == "even" and self.checks % len(self.leaves):
            return []  # in the middle of a turn the mean of the rest is not that of all properties
        known = np.array([name in self.certified for name in self.nodes])
        evidence = log_evidence_below(
            self.own,
            self.whole - self._from_all,
            self.settings.margin,
            enough=np.where(known, np.inf, self._limits),
        )
        new = [
            name
            for name, found, limit in zip(self.nodes, evidence, self._limits, strict=True)
            if found > limit and name not in self.certified
        ]
        self.certified |= dict.fromkeys(new, self.checks)
        return new

    # ---- Results ----

    def means(self) -> Array:
        """(nodes,): mean outcome of each node; NaN without a check."""
        return means(self.own)

    def counts(self) -> NDArray[np.int64]:
        """(nodes,): number of random checks of each node."""
        return np.asarray(self.own.sum(axis=1), dtype=np.int64)

    def intervals(self) -> tuple[Array, Array]:
        """Lower and upper ends, (nodes,) each; each holds at all times with probability 1 − alpha."""
        return interval(self.own, 1 - self.settings.alpha)

    def of_whole(self) -> tuple[float, float, float]:
        """Mean of all properties with its interval."""
        low, high = interval(self.whole, 1 - self.settings.alpha)
        return float(means(self.whole)), float(low), float(high)

    def candidates(self) -> list[str]:
        """The properties that may be the weakest one; it is among them with probability 1 − alpha."""
        leaves = self.own[: len(self.leaves)]
        observed = np.nan_to_num(means(leaves), nan=1.0)
        weakest = int(np.lexsort((-leaves.sum(axis=1), observed))[0])
        limit = np.log((len(self.leaves) - 1) / self.settings.alpha)
        lower = log_evidence_below(leaves[weakest], leaves, enough=limit) > limit
        return [leaf for leaf, excluded in zip(self.leaves, lower, strict=True) if not excluded]
