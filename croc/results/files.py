"""Results files: the report of one metric on one benchmark, for others to verify and for the leaderboard.

A results file embeds the metric's :class:`croc.verdict.report.Report` as it is, and adds what others need to
trust it: the checksum of the score table, and sums of verdicts per concept, from which a leaderboard tests
metrics against each other. :mod:`croc.results.verification` computes all of it again from the table.

    result = make_result("scores/clipscore-b32.parquet")
    write_result(result, "results/syn/clipscore-b32.json")
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from pydantic import Field, TypeAdapter

from croc.checks.schema import DIRECTIONS, Direction, stable_hash
from croc.errors import InputError
from croc.results.concept_sums import ConceptSums, concept_sums
from croc.results.weaknesses import SUFFIX, Weaknesses, read_weaknesses, write_evidence
from croc.storage.files import atomic, json_lines, sha256_of
from croc.storage.limits import METRIC_NAME, RESULTS_FILE
from croc.storage.text_files import first_problem, require_regular
from croc.tables.metadata import ScoreMetadata
from croc.tables.readers import read_score_tables
from croc.tables.signature import Signature
from croc.verdict.aggregation import CheckVerdicts
from croc.verdict.evaluation import evaluate_tables
from croc.verdict.records import Stored, Text
from croc.verdict.report import Report, Settings

FORMAT: Literal[2] = 2
GROUPS = ("subset", "category", "property")
"""The columns that a result is broken down by, where the table has them."""

_FAILURES, _FAILURES_PER_KIND = 48, 4


@dataclass(frozen=True)
class Table(Stored):
    """The score table behind a result."""

    file: Annotated[str, Field(max_length=200, pattern=r"^[\w][\w.-]*\.parquet$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Failure(Stored):
    """A check that the metric failed: one of a sample for people to look at."""

    check_id: Text
    category: Text | None
    property: Text | None
    failed: tuple[Direction, ...]


@dataclass(frozen=True)
class ResultsFile(Stored):
    """The content of a results file.

    Attributes:
        report: the report on one metric.
        table: the score table that it was computed from.
        trained_on_croc: the metric has seen checks of this kind in training: its numbers say how well it
            learned the task, not how well it would do without.
        url: https address of the metric.
        failures: a sample of the checks that the metric failed.
        sums: sums of verdicts per concept.
        weaknesses: what ``croc audit-reward`` and ``croc probe`` found; None without such runs.
        format: version of this schema.
    """

    report: Report
    table: Table
    trained_on_croc: bool
    failures: tuple[Failure, ...]
    sums: tuple[ConceptSums, ...]
    url: Annotated[str, Field(max_length=300, pattern=r"^https://[^\s\"'<>]+$")] | None = None
    weaknesses: Weaknesses | None = None
    format: Literal[2] = FORMAT

    def __post_init__(self) -> None:
        """Check that the report is on one metric."""
        if len(self.report.metrics) != 1:
            raise ValueError(f"a results file contains one metric, not {len(self.report.metrics)}")
        if not 0 < len(self.metric) <= METRIC_NAME:
            raise ValueError(
                f"the metric's name has {len(self.metric)} characters; at most {METRIC_NAME} are allowed"
            )

    def to_dict(self) -> dict[str, Any]:
        """The content as JSON values, the format first."""
        content = {"format": self.format, **super().to_dict()}
        if self.weaknesses is None:
            del content["weaknesses"]
        return content

    @property
    def metric(self) -> str:
        """The name of the metric."""
        return self.report.metrics[0]

    @property
    def signature(self) -> Signature:
        """The signature of its numbers."""
        return self.report.signatures[self.metric]

    @property
    def benchmark(self) -> Signature:
        """What two results must share to be compared: protocol, mode, images per side and dataset."""
        return self.report.signature.only("protocol", "mode", "images", "dataset", "dataset_revision")


# ---- Making, writing, reading ----


def make_result(
    table: str | Path,
    *,
    protocol: str | None = None,
    metric: str | None = None,
    settings: Settings | None = None,
    trained_on_croc: bool = False,
    url: str | None = None,
) -> ResultsFile:
    """Make the result of one metric from its score table.

    Args:
        table: Parquet file of one scorer.
        protocol: ``syn`` or ``hum``; None takes what the table says.
        metric: which one, where a table holds several.
        settings: ``by`` and ``average`` are ignored: results are broken down by ``GROUPS`` and pool the
            checks.
        trained_on_croc: the metric has seen checks of this kind in training. A scorer whose ``fields()``
            have a ``trained_on`` that begins with ``croc`` is marked anyway.
        url: https address of the metric.

    Raises:
        InputError: the table cannot be used, or holds several metrics.
    """
    file = Path(table)
    if file.suffix != ".parquet" or file.is_dir():
        raise InputError(f"{file}: a result needs a Parquet table, whose metadata names scorer and dataset")
    wanted = None if metric is None else [metric]
    groups = existing_group_columns(file)
    tables = read_score_tables([file], protocol=protocol, groups=groups, metrics=wanted, judges=True)
    names = [name for part in tables for name in part.metrics]
    if len(names) != 1:
        raise InputError(f"{file} contains {len(names)} metrics ({', '.join(names[:5])}); name one of them")
    scores = tables[0]
    by = tuple(column for column in GROUPS if has_values(scores.frame, column))
    settings = replace(settings or Settings(), by=by)
    settings = replace(settings, average="micro" if settings.paper else None)
    verdicts = CheckVerdicts.of(
        tables,
        [column for column in by if column != "subset"],
        paper=settings.paper,
        images=settings.images,
    )
    try:
        return ResultsFile(
            report=evaluate_tables(tables, settings),
            table=Table(file=file.name, sha256=sha256_of(file)),
            trained_on_croc=trained_on_croc or _says_trained(scores.metadata[names[0]]),
            failures=sample_failures(verdicts),
            sums=concept_sums(verdicts),
            url=url,
        )
    except ValueError as problem:
        raise InputError(f"{file}: {problem}") from None


def add_weaknesses(
    result: ResultsFile, folder: Path, *, audit: Path | None = None, probe: Path | None = None
) -> ResultsFile:
    """Add what ``croc audit-reward`` and ``croc probe`` found to a result, and write the evidence.

    Args:
        result: of the same metric.
        folder: where the result will be.
        audit: folder of ``croc audit-reward``.
        probe: folder of ``croc probe``.

    Raises:
        InputError: a folder has no complete run of this metric, or one with another revision or settings.
    """
    file = folder / f"{Path(result.table.file).stem}{SUFFIX}"
    write_evidence(result.metric, file, audit=audit, probe=probe)
    return replace(result, weaknesses=read_weaknesses(file, result.metric, result.signature))


def write_result(result: ResultsFile, path: str | Path) -> Path:
    """Write a results file, atomically; one record per line, so that a difference can be read."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_text(json_lines(result.to_dict(), nested=("report",)), "utf-8")
    return path


@cache
def _adapter() -> TypeAdapter[ResultsFile]:
    return TypeAdapter(ResultsFile)


def read_result(path: str | Path) -> ResultsFile:
    """Read a results file.

    Raises:
        InputError: it is not there, too large, or not of this format; the first problem is named.
    """
    path = Path(path)
    try:
        require_regular(path)
        if path.stat().st_size > RESULTS_FILE:
            raise InputError(f"{path}: larger than {RESULTS_FILE / 1e6:.0f} MB, too large for a results file")
        return _adapter().validate_json(path.read_bytes())
    except OSError as problem:
        raise InputError(f"{path}: cannot be read ({problem.strerror})") from None
    except ValueError as problem:
        raise InputError(f"{path}: not a results file: {first_problem(problem)}") from None


# ---- Reading tables ----


def existing_group_columns(file: Path) -> list[str]:
    """The columns of ``GROUPS`` that a table has; none where it cannot be read, which its reader reports."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        require_regular(file)
        return [name for name in pq.read_schema(file).names if name in GROUPS]
    except (InputError, OSError, pa.ArrowException):
        return []


def has_values(frame: pl.DataFrame, column: str) -> bool:
    """Whether a table has a column with at least one value."""
    return column in frame.columns and frame[column].null_count() < len(frame)


def _says_trained(metadata: ScoreMetadata) -> bool:
    return metadata.extra.get("trained_on", "").lower().startswith("croc")


def sample_failures(
    verdicts: CheckVerdicts,
    metric: int = 0,
    *,
    kinds: tuple[str, ...] = ("category", "property"),
    per_kind: int = _FAILURES_PER_KIND,
    most: int = _FAILURES,
) -> tuple[Failure, ...]:
    """Checks that a metric failed in the most directions, a few of each kind; chosen by hash.

    Args:
        verdicts: with the columns category and property, where the tables have them.
        metric: number of the metric.
        kinds: columns; the first one in which a check has a value is its kind.
        per_kind: how many of a kind at most.
        most: how many at most.
    """
    failed = verdicts.known[metric] & (verdicts.value[metric] < 0.5)
    count = failed.sum(axis=0)
    ids = verdicts.checks["check_id"].to_list()
    none = [None] * len(ids)
    values = {
        name: verdicts.checks[name].to_list() if name in verdicts.checks.columns else none
        for name in ("category", "property")
    }
    chosen: list[Failure] = []
    taken: dict[str | None, int] = {}
    for i in sorted(np.flatnonzero(count), key=lambda i: (-count[i], stable_hash(ids[i]))):
        kind = next((values[name][i] for name in kinds if values[name][i]), None)
        if taken.get(kind, 0) < per_kind and len(chosen) < most:
            taken[kind] = taken.get(kind, 0) + 1
            directions = tuple(name for d, name in enumerate(DIRECTIONS) if failed[d, i])
            chosen.append(Failure(ids[i], values["category"][i], values["property"][i], directions))
    return tuple(chosen)
