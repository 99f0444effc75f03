"""Search for the weak properties of a metric: the steps of ``croc probe``.

In: a scorer.
Out: a folder with every round of checks and its scores, the report, and pictures of the smallest failing
checks.

A round is written when its checks are scored. The next one follows from the rounds before it and from the
seed, so that a resumed search goes on as if it had not been interrupted, and one with a higher limit goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import TypedDict

from croc import __version__
from croc.checks.schema import IMAGE_COLUMNS, stable_hash
from croc.errors import CrocError, InputError
from croc.jobs.paid_calls import PaidTerms
from croc.jobs.progress import Show, progress_bar
from croc.probe.report import (
    GROUP,
    PROPERTY,
    Counterexample,
    Finding,
    Influence,
    ProbeReport,
    StoredCheck,
    ranked,
)
from croc.probe.search import Draw, Search, SearchSettings
from croc.scorers import Scorer
from croc.scorers.registry import load
from croc.scoring.batching import BatchScorer
from croc.storage.files import atomic, differences, locked, read_json, write_json
from croc.tables.signature import Signature, scorer_part
from croc.verdict.directions import directions_of
from croc.verdict.intervals import Estimate
from croc.wording import counted
from croc_syn.probe_checks import CheckSource, ProbeCheck, facets_of, nouns_of
from croc_syn.shortening import shorten
from croc_syn.writing.table import EXACT

logger = logging.getLogger(__name__)

FORMAT = 1
ROUND = 8
"""Checks that are chosen at once, and scored together."""

SETTINGS, ROUNDS, REPORT, PICTURES = "settings.json", "rounds", "probe.json", "counterexamples"


@dataclass(frozen=True)
class ProbeSettings:
    """Settings of a probe.

    Attributes:
        max_checks: limit of the search over properties; a higher one continues the same search.
        find: number of weak properties after which the search ends.
        detail_checks: checks about the parts of each weak property; 0 omits them.
        margin: how far below the rest a weak property is.
        properties: only these; empty takes all.
        size: of the images, in pixels.
        seed: of the checks and of the choices.
        noun_checks: checks about all nouns and sentence frames; 0 omits them.
    """

    max_checks: int = 600
    find: int = 1
    detail_checks: int = 120
    margin: float = 0.05
    properties: tuple[str, ...] = ()
    size: int = 256
    seed: int = 0
    noun_checks: int = 0

    def __post_init__(self) -> None:
        for name in ("max_checks", "find"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")

    def fixed(self) -> dict[str, Any]:
        """The settings on which the rounds depend."""
        return {
            "margin": self.margin,
            "properties": list(self.properties),
            "size": self.size,
            "seed": self.seed,
        }


class _StoredOutcome(TypedDict):
    property: str
    topic: str
    generation: int
    counts: list[str]
    everywhere: bool
    scores: list[list[float]] | None
    prompts: list[str]
    failure: str | None


class _StoredRound(TypedDict):
    checks: list[_StoredOutcome]


class _StoredCounterexample(TypedDict):
    made_from: list[Any]
    prompts: list[str]
    found_prompts: list[str]
    scores: list[list[float]]
    removed: list[str]
    influences: list[dict[str, Any]]


@dataclass(frozen=True)
class _Stage:
    """A search and where its rounds are kept."""

    name: str
    search: Search
    folder: Path
    make: Callable[[Draw, int, np.random.Generator], tuple[ProbeCheck, Draw]]
    enough: Callable[[Search], bool]
    limit: int


def run_probe(
    scorer: Any,
    out: str | Path,
    settings: ProbeSettings = ProbeSettings(),
    *,
    options: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    max_failures: int | None = None,
    paid: PaidTerms | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> ProbeReport:
    """Find the weakest properties of a metric with few checks.

    Args:
        scorer: name or object as :func:`croc.scorers.registry.load` takes it.
        out: the folder; the same call resumes an interrupted search.
        settings: limits and margin.
        options: arguments for the scorer, where it is given by name.
        batch_size: pairs per batch; None takes the scorer's own.
        max_failures: stop when more pairs than this have no score; None never stops.
        paid: prices, budget and cache for a scorer that calls a paid service.
        overwrite: delete earlier rounds instead of resuming.
        progress: show a bar.

    Raises:
        InputError: the scorer cannot be used, or the folder holds another search.
        CrocError: too many pairs have no score.
    """
    folder = Path(out)
    source = CheckSource(settings.seed, settings.size, settings.properties)
    metric = load(scorer, **(options or {}))
    if paid is not None and hasattr(metric, "use_terms"):
        metric.use_terms(paid)
    with locked(folder):
        _prepare(folder, metric, settings, overwrite=overwrite)
        probe = _Probe(source, metric, folder, settings, batch_size, max_failures, progress)
        try:
            report = probe.run()
        finally:
            probe.batches.close()
        with atomic(folder / REPORT) as temporary:
            temporary.write_text(report.to_json() + "\n", encoding="utf-8")
    return report


def _prepare(folder: Path, metric: Scorer, settings: ProbeSettings, *, overwrite: bool) -> None:
    """Write what the folder is about, or check that it holds the same search."""
    import shutil

    mine = {
        "format": FORMAT,
        "scorer": metric.name,
        "fields": dict(metric.fields()),
        "world": EXACT,
        **settings.fixed(),
    }
    if overwrite:
        for name in (ROUNDS, PICTURES):
            shutil.rmtree(folder / name, ignore_errors=True)
        for name in (SETTINGS, REPORT):
            (folder / name).unlink(missing_ok=True)
    stored = read_json(folder / SETTINGS, None)
    if stored is None:
        if (folder / ROUNDS).exists():
            raise InputError(
                f"{folder} contains rounds of unknown origin, without {SETTINGS}; use another folder"
            )
        write_json(folder / SETTINGS, mine)
    elif found := differences(stored, mine):
        raise InputError(
            f"{folder} contains another search ({'; '.join(found[:3])}); choose another folder or overwrite "
            "this one"
        )


class _Probe:
    def __init__(
        self,
        source: CheckSource,
        metric: Scorer,
        folder: Path,
        settings: ProbeSettings,
        batch_size: int | None,
        max_failures: int | None,
        progress: bool,
    ) -> None:
        self.source, self.metric, self.folder, self.settings = source, metric, folder, settings
        self.batches = BatchScorer(metric, batch_size=batch_size)
        self.max_failures, self.progress = max_failures, progress
        self.compared = False
        self.missing: list[str] = []
        # Outcomes of all stages, in order.
        self.scored: dict[str, list[_StoredOutcome]] = {}

    def run(self) -> ProbeReport:
        search = Search(self.source.groups(), SearchSettings(margin=self.settings.margin))
        leaves = set(search.leaves)
        self._search(
            _Stage(
                "properties",
                search,
                self.folder / ROUNDS / "properties",
                lambda draw, generation, rng: (self.source.draw(draw.leaf, generation, rng), draw),
                lambda found: len(leaves & set(found.certified)) >= self.settings.find,
                self.settings.max_checks,
            )
        )
        findings = ranked(_findings(search))
        weak = [one.name for one in findings if one.certified is not None and one.kind == PROPERTY]
        details = {}
        for name in weak if self.settings.detail_checks else ():
            if (found := self._details(name)) is not None:
                details[name] = ranked(_inside(found))
        nouns = ranked(_inside(self._nouns())) if self.settings.noun_checks else ()
        counterexamples = [one for name in weak if (one := self._counterexample(name)) is not None]
        value, low, high = search.of_whole()
        about = self.scored["properties"]
        return ProbeReport(
            signature=Signature.of(
                croc=__version__,
                task="probe",
                dataset=EXACT,
                checks=search.checks,
                level=1 - search.settings.alpha,
                seed=self.settings.seed,
            )
            | scorer_part(self.metric.name, self.metric.fields()),
            metric=self.metric.name,
            checks=search.checks,
            accuracy=Estimate(value, low, high),
            margin=self.settings.margin,
            level=1 - search.settings.alpha,
            findings=findings,
            candidates=tuple(search.candidates()),
            details=details,
            counterexamples=tuple(counterexamples),
            missing=len(self.missing),
            scored=tuple(
                StoredCheck(
                    property=one["property"],
                    topic=one["topic"],
                    generation=one["generation"],
                    passed=_passed(one["scores"]),
                )
                for one in about
                if one["scores"] is not None
            ),
            seed=self.settings.seed,
            size=self.settings.size,
            nouns=nouns,
        )

    # ---- Rounds ----

    def _search(self, stage: _Stage) -> None:
        outcomes = self.scored.setdefault(stage.name, [])
        stage.folder.mkdir(parents=True, exist_ok=True)
        number = 0
        with self._shown(stage) as show:
            while stage.search.checks < stage.limit and not stage.enough(stage.search):
                file = stage.folder / f"{number:06d}.json"
                stored = read_json(file, None, _StoredRound)
                if stored is None:
                    stored = self._score_round(stage, number)
                    write_json(file, stored)
                self._count(stage, stored, outcomes)
                number += 1
                show(min(stage.search.checks, stage.limit), stage.limit, _note(stage.search))
                if number > 4 * stage.limit:
                    raise CrocError(f"{self.metric.name}: hardly any check has scores; {self.missing[-1]}")

    def _shown(self, stage: _Stage) -> Any:
        def silent(done: int, total: int | None, note: str) -> None:
            pass

        show: Show = silent
        return progress_bar(stage.name, "checks") if self.progress else nullcontext(show)

    def _score_round(self, stage: _Stage, number: int) -> _StoredRound:
        rng = np.random.default_rng(_number(self.settings.seed, stage.name, number))
        chosen = [stage.make(stage.search.choose(rng), number * ROUND + place, rng) for place in range(ROUND)]
        scores = self.score([check.row for check, _ in chosen])
        return _StoredRound(
            checks=[
                _StoredOutcome(
                    property=str(check.spec.property),
                    topic=str(check.spec.topic),
                    generation=check.generation,
                    counts=list(draw.counts),
                    everywhere=draw.everywhere,
                    scores=None if isinstance(found, str) else found,
                    prompts=[check.row["prompt"], check.row["contrast_prompt"]],
                    failure=found if isinstance(found, str) else None,
                )
                for (check, draw), found in zip(chosen, scores, strict=True)
            ]
        )

    def _count(self, stage: _Stage, stored: _StoredRound, outcomes: list[_StoredOutcome]) -> None:
        for one in stored["checks"]:
            outcomes.append(one)
            if one["scores"] is None:
                self.missing.append(f"{one['property']}: {one['failure']}")
                if self.max_failures is not None and len(self.missing) > self.max_failures:
                    raise CrocError(
                        f"{counted(len(self.missing), 'check')} without a score, more than "
                        f"{self.max_failures} ({'; '.join(self.missing[:5])})"
                    )
                continue
            draw = Draw(one["property"], tuple(one["counts"]), one["everywhere"])
            stage.search.add(draw, _passed(one["scores"]))
        stage.search.certify()

    def score(self, rows: Sequence[Mapping[str, Any]]) -> list[list[list[float]] | str]:
        """Per check ``scores[prompt][image]``, or the reason why one is missing."""
        files: dict[str, bytes] = {}
        wanted: dict[str, list[str]] = {}
        keys = []
        for number, row in enumerate(rows):
            prompts = [row["prompt"], row["contrast_prompt"]]
            keys.append([f"{number}/{side}" for side in range(2)])
            for key, column in zip(keys[-1], IMAGE_COLUMNS, strict=True):
                files[key], wanted[key] = row[column][0]["bytes"], prompts
        if not self.compared:
            self.batches.self_check(files, wanted)
            self.compared = True
        found = self.batches.score(files, wanted)
        results: list[list[list[float]] | str] = []
        for row, sides in zip(rows, keys, strict=True):
            grid = [[found[key, row[name]] for key in sides] for name in ("prompt", "contrast_prompt")]
            reason = next((cell for line in grid for cell in line if isinstance(cell, str)), None)
            results.append(reason if reason is not None else grid)  # type: ignore[arg-type]
        return results

    # ---- Inside a weak property ----

    def _nouns(self) -> Search:
        """A search over the nouns and frames of checks about all properties."""
        facets = self.source.nouns(np.random.default_rng(_number(self.settings.seed, "nouns")))
        if len(facets) < 2:
            raise InputError("the checks of these properties have one noun and one frame: nothing to compare")
        search = Search({facet: [facet] for facet in facets}, SearchSettings(margin=self.settings.margin))

        def make(draw: Draw, generation: int, rng: np.random.Generator) -> tuple[ProbeCheck, Draw]:
            facet = None if draw.everywhere else draw.leaf
            check = self.source.draw_any(10**5 + generation, rng, facet)
            if draw.everywhere:
                draw = replace(draw, counts=tuple(one for one in nouns_of(check.row) if one in facets))
            return check, draw

        self._search(
            _Stage(
                "nouns and frames",
                search,
                self.folder / ROUNDS / "nouns and frames",
                make,
                lambda found: False,
                self.settings.noun_checks,
            )
        )
        return search

    def _details(self, name: str) -> Search | None:
        """A search over what the checks of one property have."""
        rng = np.random.default_rng(_number(self.settings.seed, "facets", name))
        facets = self.source.facets(name, rng)
        if len(facets) < 2:
            return None
        search = Search({facet: [facet] for facet in facets}, SearchSettings(margin=self.settings.margin))

        def make(draw: Draw, generation: int, rng: np.random.Generator) -> tuple[ProbeCheck, Draw]:
            check = self.source.draw(name, 10**7 + generation, rng, None if draw.everywhere else draw.leaf)
            if draw.everywhere:
                own = tuple(facet for facet in facets_of(check.row) if facet in facets)
                draw = replace(draw, counts=own)
            return check, draw

        self._search(
            _Stage(
                f"parts of {name}",
                search,
                self.folder / ROUNDS / name,
                make,
                lambda found: False,
                self.settings.detail_checks,
            )
        )
        return search

    def _counterexample(self, name: str) -> Counterexample | None:
        """The smallest form of the worst failed check of a property; made once."""
        stages = [self.scored.get(f"parts of {name}", []), self.scored["properties"]]
        failed = [
            one
            for outcomes in stages
            for one in outcomes
            if one["property"] == name and one["scores"] is not None and _passed(one["scores"]) < 1
        ]
        if not failed:
            return None
        # The worst one; of equals that with the shortest prompts.
        worst = min(
            failed, key=lambda one: (_passed(one["scores"]), sum(map(len, one["prompts"])), one["generation"])
        )
        made_from = [worst["topic"], worst["generation"]]
        folder = self.folder / PICTURES
        picture, record = folder / f"{name}.png", folder / f"{name}.json"
        stored = read_json(record, None, _StoredCounterexample)
        if stored is None or stored["made_from"] != made_from or not picture.is_file():
            check = self.source.again(name, worst["topic"], worst["generation"])
            logger.info("shortening a failed check of %s", name)
            smallest = shorten(check.row, self.score, self.settings.size)
            folder.mkdir(parents=True, exist_ok=True)
            with atomic(picture) as temporary:
                temporary.write_bytes(smallest.picture())
            stored = _StoredCounterexample(
                made_from=made_from,
                prompts=list(smallest.prompts),
                found_prompts=worst["prompts"],
                scores=[list(line) for line in smallest.scores],
                removed=list(smallest.removed),
                influences=[asdict(one) for one in smallest.influences],
            )
            write_json(record, stored)
        first, second = stored["scores"]
        return Counterexample(
            property_name=name,
            prompt=stored["prompts"][0],
            contrast_prompt=stored["prompts"][1],
            scores=((first[0], first[1]), (second[0], second[1])),
            passed=_passed(stored["scores"]),
            image=f"{PICTURES}/{picture.name}",
            found_prompt=stored["found_prompts"][0],
            found_contrast_prompt=stored["found_prompts"][1],
            removed=tuple(stored["removed"]),
            influences=tuple(Influence(**one) for one in stored["influences"]),
        )


def _passed(scores: Any) -> float:
    return float(np.mean(list(directions_of(scores).values())))


def _number(*parts: Any) -> int:
    return int(stable_hash("probe", *parts, length=15), 16)


def _note(search: Search) -> str:
    certified = [name for name in search.certified if name in search.leaves]
    return f"weak: {', '.join(certified)}" if certified else ""


def _findings(search: Search) -> list[Finding]:
    low, high = search.intervals()
    return [
        Finding(
            kind=PROPERTY if name in search.leaves else GROUP,
            name=name,
            accuracy=Estimate(float(mean) if count else None, float(low[i]), float(high[i])),
            checks=int(count),
            certified=search.certified.get(name),
        )
        for i, (name, mean, count) in enumerate(
            zip(search.nodes, search.means(), search.counts(), strict=True)
        )
    ]


def _inside(search: Search) -> list[Finding]:
    """The findings of a search over facets, whose names begin with their kind."""
    return [
        replace(one, kind=one.name.partition(" ")[0], name=one.name.partition(" ")[2])
        for one in _findings(search)
    ]
