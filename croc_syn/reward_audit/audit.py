"""The steps of ``croc audit-reward``: pools, scores, search, pixels, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from croc.errors import InputError
from croc.jobs.parts import Executor
from croc.jobs.runner import Manifest
from croc.reward_audit.evaluation import evaluate
from croc.reward_audit.folder import PIXELS, POOLS, REPORT, SCORES, SEARCH
from croc.reward_audit.records import PixelResult, RewardReport, SearchResult
from croc.scorers.registry import load, takes
from croc.scoring.run import ScoringSettings, score_dataset
from croc.storage.files import atomic, file_stem
from croc_syn.reward_audit.pixels import PixelSettings, read_pixels, run_pixels
from croc_syn.reward_audit.pools import PoolSettings, make_pools, pools
from croc_syn.reward_audit.search import SearchSettings, read_search, run_search

if TYPE_CHECKING:
    from croc_syn.reward_audit.pools import Pool

NAME = "reward pools"


@dataclass(frozen=True)
class AuditSettings:
    """What is audited.

    Attributes:
        pools: the prompts and their candidates.
        search: how long is searched for wrong images that the metric likes.
        pixels: how pixels are attacked.
        level: of confidence.
    """

    pools: PoolSettings = field(default_factory=PoolSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    pixels: PixelSettings = field(default_factory=PixelSettings)
    level: float = 0.95


def run_audit(
    scorers: Sequence[Any],
    out: str | Path,
    settings: AuditSettings = AuditSettings(),
    *,
    scoring: ScoringSettings | None = None,
    options: Mapping[str, Any] | None = None,
    executor: Executor | None = None,
    progress: bool = True,
) -> RewardReport:
    """Audit metrics as rewards.

    Args:
        scorers: names or objects as :func:`croc.scorers.registry.load` takes them.
        out: the folder; the same call resumes an interrupted run.
        settings: what is audited.
        scoring: batch size and the like; None takes the defaults.
        options: arguments for the scorers that take them.
        executor: what draws the pools; None is this process.
        progress: show bars.

    Raises:
        InputError: a scorer, an option or the folder cannot be used.
    """
    if not scorers:
        raise InputError("at least one scorer is needed")
    folder, scoring = Path(out), scoring or ScoringSettings(progress=progress)
    made = make_pools(folder / POOLS, settings.pools, executor=executor, progress=progress)
    every = pools(settings.pools)
    files = {int(entry["name"]): made.folder / entry["file"] for entry in made.parts}
    tables: dict[str, Path] = {}
    searches: dict[str, SearchResult] = {}
    pixels: dict[str, PixelResult] = {}
    for spec in scorers:
        given = {key: value for key, value in (options or {}).items() if takes(spec, key)}
        scorer = load(spec, **given)
        stem = file_stem(scorer.name)
        if stem in map(file_stem, tables):
            raise InputError(f"two scorers are called {scorer.name!r}; give one of them another name")
        (tables[scorer.name],) = score_dataset(str(folder / POOLS), [scorer], folder / SCORES, scoring)
        scores = read_scores(tables[scorer.name])
        work = _Work(scorer, spec, given, every, files, made, scores, scoring.existing, progress)
        if settings.search.prompts:
            searches[scorer.name] = work.search(folder / SEARCH / stem, settings)
        if settings.pixels.checks:
            pixels[scorer.name] = work.attack(folder / PIXELS / stem, settings)
        del scorer, work  # Its memory is free before the next one is loaded.
    report = evaluate(
        list(tables.values()), searches=searches, pixels=pixels, dataset=NAME, level=settings.level
    )
    with atomic(folder / REPORT) as temporary:
        temporary.write_text(report.to_json() + "\n", encoding="utf-8")
    return report


@dataclass(frozen=True)
class _Work:
    scorer: Any
    spec: Any
    options: Mapping[str, Any]
    pools: Sequence[Pool]
    files: Mapping[int, Path]
    made: Manifest
    scores: Mapping[tuple[str, int], float]
    existing: str
    progress: bool

    @property
    def _fingerprint(self) -> dict[str, Any]:
        return {"pools": self.made.sha256, "scorer": self.scorer.name, "fields": self.scorer.fields()}

    def search(self, out: Path, settings: AuditSettings) -> SearchResult:
        made = run_search(
            self.scorer,
            self.pools,
            self.files,
            self.scores,
            out,
            settings.search,
            fingerprint=self._fingerprint,
            existing=self.existing,
            progress=self.progress,
        )
        return read_search(made, settings.level, settings.search.seed)

    def attack(self, out: Path, settings: AuditSettings) -> PixelResult:
        made = run_pixels(
            self.scorer,
            self.spec,
            self.options,
            self.pools,
            self.files,
            self.scores,
            out,
            settings.pixels,
            fingerprint=self._fingerprint | asdict(settings.pixels),
            existing=self.existing,
            progress=self.progress,
        )
        return read_pixels(made)


def read_scores(table: Path) -> dict[tuple[str, int], float]:
    """The scores of candidates by ``check_id`` and ``image_index``; without those that have none."""
    import polars as pl

    rows = pl.read_parquet(table, columns=["check_id", "image_index", "prompt_score"], glob=False)
    return {(check, index): score for check, index, score in rows.iter_rows() if score is not None}
