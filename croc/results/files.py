"""Results files: what one metric reached on one benchmark, for others to check and for the leaderboard.

A result holds every number of the verdict with its interval and signature, the checksum of the score table
that it was computed from, and per concept the sums that paired tests between metrics need. So
``croc.results.leaderboard`` tells metrics apart from their results alone, and ``verify_result`` computes all
of it again from the table.

    result = make_result("scores/clipscore-b32.parquet")
    write_result(result, "results/syn/clipscore-b32.json")
    verify_result("results/syn/clipscore-b32.json", "scores/clipscore-b32.parquet")   # what differs: []
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from croc.checks.schema import DIRECTIONS, stable_hash
from croc.checks.sources import Checks
from croc.errors import InputError
from croc.storage.files import atomic, sha256_of
from croc.tables.metadata import ScoreMetadata
from croc.tables.readers import read_score_tables
from croc.verdict.aggregation import Evidence
from croc.verdict.report import Report, Settings

FORMAT: Literal[1] = 1
GROUPS = ("subset", "category", "property")
"""What a result is broken down by, where the table has it."""

MAX_BYTES = 64_000_000
_FAILURES, _FAILURES_EACH = 48, 4
# Intervals come from sums in single precision, whose last digits differ between machines.
_EXACT, _RESAMPLED = 1e-9, 1e-4
_RESAMPLED_NAMES = ("ci_low", "ci_high", "scaled_ci_low", "scaled_ci_high", "p")

Text = Annotated[str, Field(max_length=2_000)]
Share = Annotated[float, Field(ge=0, le=1)] | None
Scaled = Annotated[float, Field(ge=-1, le=1)] | None
Count = Annotated[int, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Table(_Strict):
    """The score table behind a result."""

    file: Annotated[str, Field(max_length=200, pattern=r"^[\w][\w.-]*\.parquet$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Dataset(_Strict):
    """The checks that the metric was run on."""

    name: Text
    revision: Text | None
    checks: Count
    concepts: Count


class DirectionNumbers(_Strict):
    """One direction on one group; the fields are those of :class:`croc.verdict.records.Result`."""

    direction: Literal["forward_text", "inverse_text", "forward_image", "inverse_image"]
    group: Text | None
    group_value: Text | None
    text_model: Text | None
    accuracy: Share
    scaled: Scaled
    chance: Share
    n: Count
    ties: Share
    coverage: Share
    ci_low: Share
    ci_high: Share
    scaled_ci_low: Scaled
    scaled_ci_high: Scaled


class MeanNumbers(_Strict):
    """The mean over the directions on one group, with the fields of :class:`croc.verdict.records.Score`."""

    group: Text | None
    group_value: Text | None
    scaled: Scaled
    ci_low: Scaled
    ci_high: Scaled
    n: Count
    all_passed: Share
    ties: Share
    coverage: Share


class FindingText(_Strict):
    """A finding about this metric alone."""

    kind: Text
    text: Text
    p: Share


class Failure(_Strict):
    """A check that the metric failed: a sample for people to look at."""

    check_id: Text
    category: Text | None
    property: Text | None
    failed: tuple[Literal["forward_text", "inverse_text", "forward_image", "inverse_image"], ...]


class ConceptSums(_Strict):
    """Sums over the checks of one concept, category and text model.

    ``sums`` holds, per direction in the order of ``DIRECTIONS``, the sum of the verdicts, the sum of their
    chances and the number of verdicts: twelve numbers.
    """

    concept: Text
    category: Text | None
    text_model: Text | None
    sums: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=12, max_length=12)]


class Computation(_Strict):
    """How the numbers were computed; see :class:`croc.verdict.report.Settings`."""

    paper: bool
    resamples: Count
    flips: Count
    seed: Count
    level: Annotated[float, Field(ge=0.5, le=0.999)]


class ResultFile(_Strict):
    """What one metric reached on one benchmark; the content of a results file.

    ``trained_on_croc`` marks a metric that has seen checks of this kind in training: its numbers say how well
    it learned the task, not how well it would do without. ``url`` says where the metric comes from.
    """

    format: Literal[1] = FORMAT
    metric: Annotated[str, Field(min_length=1, max_length=100)]
    protocol: Literal["syn", "hum"]
    blind: bool
    trained_on_croc: bool
    url: Annotated[str, Field(max_length=300, pattern=r"^https://[^\s\"'<>]+$")] | None = None
    signature: Text
    dataset: Dataset
    table: Table
    computation: Computation
    scores: tuple[MeanNumbers, ...]
    results: tuple[DirectionNumbers, ...]
    findings: tuple[FindingText, ...]
    missing_scores: Mapping[str, Count]
    failures: tuple[Failure, ...]
    evidence: tuple[ConceptSums, ...]

    @property
    def benchmark(self) -> str:
        """What results must share to be compared: protocol, dataset, revision, way of computing."""
        mode = "paper" if self.computation.paper else "default"
        return f"{self.protocol}|{self.dataset.name}@{self.dataset.revision or 'none'}|{mode}"


# ---- Making, reading, checking ----


def make_result(
    table: str | Path,
    *,
    protocol: str | None = None,
    metric: str | None = None,
    settings: Settings | None = None,
    trained_on_croc: bool = False,
    url: str | None = None,
) -> ResultFile:
    """The result of one metric from its score table.

    Args:
        table: Parquet file of one scorer.
        protocol: ``syn`` or ``hum``; None takes what the table says.
        metric: which one, where a table holds several.
        settings: ``by`` is ignored: a result is broken down by ``GROUPS``.
        trained_on_croc: the metric has seen checks of this kind in training. A scorer whose ``fields()``
            have a ``trained_on`` that begins with ``croc`` is marked anyway.
        url: https address of the metric.

    Raises:
        InputError: the table cannot be used, or holds several metrics.
    """
    settings = replace(settings or Settings(), by=())
    file = Path(table)
    if file.suffix != ".parquet" or file.is_dir():
        raise InputError(f"{file}: a result is made from a Parquet table, whose metadata say what it holds")
    wanted = None if metric is None else [metric]
    tables = read_score_tables([file], protocol=protocol, groups=columns_there(file), metrics=wanted)
    names = [name for each in tables for name in each.metrics]
    if len(names) != 1:
        raise InputError(f"{file} holds {len(names)} metrics ({', '.join(names[:5])}); say which one")
    name, scores = names[0], tables[0]
    by = tuple(column for column in GROUPS if has_values(scores.frame, column))
    report = Report.judge(tables, replace(settings, by=by))
    said = scores.metadata[name]
    evidence = Evidence.of(tables, [column for column in by if column != "subset"], paper=settings.paper)
    return ResultFile(
        metric=name,
        protocol=scores.protocol,  # type: ignore[arg-type]
        blind=said.blind,
        trained_on_croc=trained_on_croc or _says_trained(said),
        url=url,
        signature=report.signatures[name],
        dataset=Dataset(
            name=said.dataset or "unnamed",
            revision=said.dataset_revision,
            checks=report.n_checks,
            concepts=report.n_concepts,
        ),
        table=Table(file=file.name, sha256=sha256_of(file)),
        computation=Computation(
            paper=settings.paper,
            resamples=settings.resamples,
            flips=settings.flips,
            seed=settings.seed,
            level=settings.level,
        ),
        scores=tuple(MeanNumbers(**_fields(score, MeanNumbers)) for score in report.scores),
        results=tuple(DirectionNumbers(**_fields(result, DirectionNumbers)) for result in report.results),
        findings=tuple(FindingText(**_fields(finding, FindingText)) for finding in report.findings),
        missing_scores=dict(report.gaps[name]),
        failures=_failures(evidence),
        evidence=_sums(evidence),
    )


def write_result(result: ResultFile, path: str | Path) -> Path:
    """Write a results file, atomically; a record a line, so that a change can be read."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for key, value in result.model_dump(mode="json").items():
        text = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list) and value:
            rows = (json.dumps(row, ensure_ascii=False) for row in value)
            text = "[\n  " + ",\n  ".join(rows) + "\n ]"
        lines.append(f" {json.dumps(key)}: {text}")
    with atomic(path) as temporary:
        temporary.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    return path


def read_result(path: str | Path) -> ResultFile:
    """Read a results file.

    Raises:
        InputError: it is not there, too large, or not of the form; the first problem is named.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: larger than {MAX_BYTES / 1e6:.0f} MB, too large for a results file")
        return ResultFile.model_validate_json(path.read_bytes())
    except OSError as problem:
        raise InputError(f"{path}: cannot be read ({problem.strerror})") from None
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: not a results file: {where or 'the file'}: {first['msg']}") from None


def verify_result(path: str | Path, table: str | Path | None = None) -> list[str]:
    """Compute a result again from its score table: every number, finding and sum.

    Args:
        path: the results file.
        table: its score table; None takes the file of that name beside the result.

    Returns:
        What differs, a sentence each; empty when the result is what the table says.

    Raises:
        InputError: one of the two files cannot be read.
    """
    told = read_result(path)
    file = _table_of(path, told, table)
    found = []
    if sha256_of(file) != told.table.sha256:
        found.append(f"table: {file.name} is not the file that the result names (its checksum differs)")
    again = make_result(
        file,
        protocol=told.protocol,
        metric=told.metric,
        settings=Settings(by=(), **told.computation.model_dump()),
        trained_on_croc=told.trained_on_croc,
    )
    ours, theirs = again.model_dump(mode="json"), told.model_dump(mode="json")
    for side in (ours, theirs):
        # The checksum was compared; a file may have another name; a version need not be the one of today.
        for key in ("table", "url"):
            side.pop(key)
        side["signature"] = "|".join(side["signature"].split("|")[1:])
    return found + _differences(theirs, ours)


def verify_checks(path: str | Path, table: str | Path | None, checks: Checks) -> tuple[list[str], str]:
    """Compare the checks of a result's score table with those of the dataset that it names.

    Args:
        path: the results file.
        table: its score table; None takes the file of that name beside the result.
        checks: the dataset, opened by :func:`croc.checks.sources.open_checks`.

    Returns:
        What differs, a sentence each; and how many of the dataset's checks the table has.

    Raises:
        InputError: a file cannot be read.
    """
    told = read_result(path)
    file = _table_of(path, told, table)
    there = {check_id for check_id, *_ in checks.texts}
    mine = set(pl.read_parquet(file, columns=["check_id"])["check_id"].unique())
    found = []
    if told.dataset.revision and told.dataset.revision.partition("[")[0] != checks.revision:
        found.append(
            f"dataset.revision: says {told.dataset.revision!r}, and {checks.name} is at {checks.revision!r}"
        )
    if strange := sorted(mine - there):
        found.append(
            f"table: {len(strange)} of its {len(mine)} checks are none of {checks.name} ({strange[0]} …)"
        )
    return found, f"{len(mine & there)} of {len(there)} checks of {checks.name}"


def _table_of(path: str | Path, told: ResultFile, table: str | Path | None) -> Path:
    file = Path(path).parent / told.table.file if table is None else Path(table)
    if not file.is_file():
        raise InputError(f"{path}: its score table {file} is not there; give it with --table")
    return file


def columns_there(file: Path) -> list[str]:
    """The columns of ``GROUPS`` that a table has; none where it cannot be read, which its reader will say."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return [name for name in pq.read_schema(file).names if name in GROUPS]
    except (OSError, pa.ArrowException):
        return []


def has_values(frame: pl.DataFrame, column: str) -> bool:
    """Whether a table has a column with anything in it."""
    return column in frame.columns and frame[column].null_count() < len(frame)


def _says_trained(said: ScoreMetadata) -> bool:
    return said.extra.get("trained_on", "").lower().startswith("croc")


def _fields(record: Any, model: type[BaseModel]) -> dict[str, Any]:
    return {name: getattr(record, name) for name in model.model_fields}


def _sums(evidence: Evidence) -> tuple[ConceptSums, ...]:
    """The evidence of one metric, added up per concept, category and text model."""
    names = ("concept_id", "category", "text_model")
    checks = evidence.checks
    keys = checks.select(
        checks[name] if name in checks.columns else pl.lit(None, pl.String).alias(name) for name in names
    )
    values = {
        f"{what}{d}": getattr(evidence, what)[0, d].astype(float)
        for d in range(len(DIRECTIONS))
        for what in ("value", "chance", "known")
    }
    added = keys.with_columns(**{name: pl.Series(array) for name, array in values.items()})
    added = added.group_by(names).agg(pl.col(list(values)).sum()).sort(names, nulls_last=True)
    return tuple(
        ConceptSums(concept=row[0], category=row[1], text_model=row[2], sums=row[3:])
        for row in added.iter_rows()
    )


def _failures(evidence: Evidence) -> tuple[Failure, ...]:
    """Checks failed in the most directions, a few of each category or property; by hash, not by hand."""
    failed = evidence.known[0] & (evidence.value[0] < 0.5)
    count = failed.sum(axis=0)
    ids = evidence.checks["check_id"].to_list()
    none = [None] * len(ids)
    columns = {
        name: evidence.checks[name].to_list() if name in evidence.checks.columns else none
        for name in ("category", "property")
    }
    order = sorted(np.flatnonzero(count), key=lambda i: (-count[i], stable_hash(ids[i])))
    taken: dict[Any, int] = {}
    found: list[Any] = []
    for i in order:
        kind = columns["category"][i] or columns["property"][i]
        if taken.get(kind, 0) < _FAILURES_EACH and len(found) < _FAILURES:
            taken[kind] = taken.get(kind, 0) + 1
            directions = tuple(name for d, name in enumerate(DIRECTIONS) if failed[d, i])
            found.append(
                Failure(
                    check_id=ids[i],
                    category=columns["category"][i],
                    property=columns["property"][i],
                    failed=directions,  # type: ignore[arg-type]
                )
            )
    return tuple(found)


def _differences(told: Any, found: Any, where: str = "", resampled: bool = False) -> list[str]:
    """What stands in a result and does not follow from its table; at most a sentence per record."""
    if isinstance(told, dict) and isinstance(found, dict):
        out = []
        for key in [*told, *(key for key in found if key not in told)]:
            place = f"{where}.{key}" if where else key
            out += _differences(told.get(key), found.get(key), place, key in _RESAMPLED_NAMES)
        return out
    if isinstance(told, list) and isinstance(found, list):
        if len(told) != len(found):
            return [f"{where}: {len(told)} entries, and the table gives {len(found)}"]
        pairs = enumerate(zip(told, found, strict=True))
        return [one for i, (a, b) in pairs for one in _differences(a, b, f"{where}[{i}]", resampled)[:1]]
    if isinstance(told, float | int) and isinstance(found, float | int):
        close = _RESAMPLED if resampled else _EXACT
        if math.isclose(told, found, rel_tol=close, abs_tol=close):
            return []
    return [] if told == found else [f"{where}: says {told!r:.60}, and the table gives {found!r:.60}"]
