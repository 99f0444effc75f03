"""The checks of a probe: random checks about a property, or about a part of one, of the exact world.

A check is what ``croc build syn`` makes of the same property, topic and generation with the same seed, so
that a build can hold exactly the checks of a probe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from croc.errors import CrocError, InputError
from croc.probe.report import PROPERTY, StoredReport
from croc_syn import world
from croc_syn.painting.exact import ExactSettings, plan_check
from croc_syn.taxonomy import taxonomy as taxonomies
from croc_syn.taxonomy.plan import Spec, plan
from croc_syn.writing.exact import exact_keys, exact_row
from croc_syn.writing.table import columns_of

TRIES = 60
"""Topics tried for one check of a property."""

FACET_TRIES = 400
"""Pairs tried for one check about a part of a property."""

_ANY_TRIES = 2_000
_PROMPTS = ("prompt", "contrast_prompt")


@dataclass(frozen=True)
class ProbeCheck:
    """A check.

    Attributes:
        spec: its place in the taxonomy.
        generation: which of the spec's checks it is.
        row: the finished row with one image per side.
    """

    spec: Spec
    generation: int
    row: dict[str, Any]


class CheckSource:
    """Random checks by property.

    Args:
        seed: of the prompts and the images.
        size: of the images, in pixels.
        properties: only these; empty takes all that the exact world draws.

    Raises:
        InputError: a property is unknown.
    """

    def __init__(self, seed: int, size: int, properties: Sequence[str] = ()) -> None:
        self.taxonomy = taxonomies.load(None)
        self.seed = seed
        self.drawing = ExactSettings(images=1, size=size, seed=seed)
        self.specs: dict[str, list[Spec]] = {}
        for spec in plan(self.taxonomy, subsets=("property_variation",), exact_only=True):
            self.specs.setdefault(spec.property or "", []).append(spec)
        for name in properties:
            if name not in self.specs:
                raise InputError(f"no property {name!r} that the exact world draws; {', '.join(self.specs)}")
        if properties:
            self.specs = {name: self.specs[name] for name in self.specs if name in properties}

    def groups(self) -> dict[str, list[str]]:
        """The properties by the folder of the taxonomy that they are in."""
        groups: dict[str, list[str]] = {}
        for name, specs in self.specs.items():
            groups.setdefault((specs[0].property_path or name).rpartition("/")[0], []).append(name)
        return groups

    def draw(
        self, property: str, generation: int, rng: np.random.Generator, facet: str | None = None
    ) -> ProbeCheck:
        """A random check: each topic with the same probability.

        Args:
            property: what its prompts differ in.
            generation: of the check; another one gives other prompts.
            rng: chooses the topic, and with a facet among many pairs.
            facet: what the pair has to have, see :func:`facets_of`.

        Raises:
            InputError: no such check was found.
        """
        specs = self.specs[property]
        for number in range(TRIES if facet is None else FACET_TRIES):
            spec = specs[rng.integers(len(specs))]
            # Numbers of a facet's pairs lie far from each other, so that no check is drawn twice.
            pair = generation if facet is None else generation * FACET_TRIES + number
            row = self._row(spec, pair)
            if row["error"] is not None or (facet is not None and facet not in facets_of(row)):
                continue
            try:
                return ProbeCheck(spec, pair, plan_check(row, self.drawing).rasterise())
            except CrocError:  # no scene was found for these prompts
                continue
        raise InputError(f"the exact world makes no check of {property}{f' with {facet}' if facet else ''}")

    def draw_any(self, generation: int, rng: np.random.Generator, facet: str | None = None) -> ProbeCheck:
        """A random check about any property: each property, then each topic with the same probability.

        Args:
            generation: of the check; another one gives other prompts.
            rng: chooses property and topic.
            facet: a noun or a frame that the pair has to have, see :func:`nouns_of`.

        Raises:
            InputError: no such check was found.
        """
        names = list(self.specs)
        for number in range(_ANY_TRIES):
            specs = self.specs[names[rng.integers(len(names))]]
            spec = specs[rng.integers(len(specs))]
            pair = generation * _ANY_TRIES + number
            row = self._row(spec, pair)
            if row["error"] is not None or (facet is not None and facet not in nouns_of(row)):
                continue
            try:
                return ProbeCheck(spec, pair, plan_check(row, self.drawing).rasterise())
            except CrocError:  # no scene was found for these prompts
                continue
        raise InputError(f"the exact world makes no check{f' with {facet}' if facet else ''}")

    def nouns(self, rng: np.random.Generator, pairs: int = 600, least: float = 0.004) -> list[str]:
        """The nouns and frames that occur in at least a share of all pairs, and are missing in as many."""
        counts: dict[str, int] = {}
        names, found = list(self.specs), 0
        for number in range(pairs):
            specs = self.specs[names[rng.integers(len(names))]]
            row = self._row(specs[rng.integers(len(specs))], 10**6 + number)
            if row["error"] is None:
                found += 1
                for name in nouns_of(row):
                    counts[name] = counts.get(name, 0) + 1
        return sorted(name for name, count in counts.items() if least * found <= count <= (1 - least) * found)

    def again(self, property: str, topic: str, generation: int) -> ProbeCheck:
        """A check that was drawn before."""
        spec = next(spec for spec in self.specs[property] if spec.topic == topic)
        return ProbeCheck(spec, generation, plan_check(self._row(spec, generation), self.drawing).rasterise())

    def _row(self, spec: Spec, generation: int) -> dict[str, Any]:
        return exact_row(columns_of(spec), exact_keys(spec, self.taxonomy), generation, self.seed)

    def facets(
        self, property: str, rng: np.random.Generator, pairs: int = 300, least: float = 0.03
    ) -> list[str]:
        """The facets that occur in at least a share of the pairs of a property and are missing in as many."""
        counts: dict[str, int] = {}
        specs, found = self.specs[property], 0
        for number in range(pairs):
            row = self._row(specs[rng.integers(len(specs))], 10**6 + number)
            if row["error"] is not None:
                continue
            found += 1
            for name in facets_of(row):
                counts[name] = counts.get(name, 0) + 1
        return sorted(name for name, count in counts.items() if least * found <= count <= (1 - least) * found)


def nouns_of(row: Mapping[str, Any]) -> list[str]:
    """The nouns and frames of a pair: ``noun dog``, ``frame bare``."""
    from croc_syn.world.language.frames import frames_of

    kinds = {group.kind for name in _PROMPTS for group in world.parse(row[name]).groups}
    return [
        *sorted(f"noun {kind}" for kind in kinds),
        *sorted(f"frame {frame}" for frame in frames_of(row["prompt"])),
    ]


def facets_of(row: Mapping[str, Any]) -> list[str]:
    """What a pair has: ``value red``, ``thing animals``, ``frame bare``, ``place named``, ``things 2``."""
    from croc_syn.world.declarations.kinds import KINDS
    from croc_syn.world.language.frames import frames_of

    first, second = (world.parse(row[name]) for name in _PROMPTS)
    values = {row["value"], row["contrast_value"]}
    things = {KINDS[group.kind].group for group in (*first.groups, *second.groups)}
    number = max(sum(group.count for group in meaning.groups) for meaning in (first, second))
    place = any(attribute.dimension == "setting" for attribute in first.image)
    return [
        *sorted(f"value {value}" for value in values),
        *sorted(f"thing {thing}" for thing in things),
        *sorted(f"frame {frame}" for frame in frames_of(row["prompt"])),
        f"place {'named' if place else 'not named'}",
        f"things {number if number < 4 else '4 or more'}",
    ]


def checks_of(report: StoredReport) -> list[tuple[Spec, int]]:
    """The checks about the weak properties of a probe, each once, to build them again.

    Raises:
        InputError: the probe found no weak property, or the taxonomy lacks what its checks are about.
    """
    weak = {
        one["name"] for one in report["findings"] if one["certified"] is not None and one["kind"] == PROPERTY
    }
    if not weak:
        raise InputError(
            f"the probe of {report['metric']} certified no weak property: there is nothing to build"
        )
    known = {
        (spec.property, spec.topic): spec
        for spec in plan(taxonomies.load(None), subsets=("property_variation",), exact_only=True)
    }
    found: dict[tuple[str, int], tuple[Spec, int]] = {}
    for check in report["scored"]:
        if check["property"] in weak:
            spec = known.get((check["property"], check["topic"]))
            if spec is None:
                raise InputError(
                    f"the taxonomy has no property {check['property']!r} with topic {check['topic']!r}, of "
                    "which the probe has a check"
                )
            found[spec.concept_id, check["generation"]] = (spec, check["generation"])
    return list(found.values())
