"""Verification of results files: against their score tables, the dataset, and scores computed again.

Each step verifies more. A score table is its author's statement; only scoring again shows that the scores are
those of the metric. Whether a metric was trained on CROC checks, and its address, cannot be verified.

    verify_result("results/syn/mine.json")                       # numbers follow from the table
    verify_checks("results/syn/mine.json", None, checks)         # its rows are those of the dataset
    rescore_checks("results/syn/mine.json", None, checks, ...)   # a sample has the metric's scores
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from croc.checks.schema import IMAGE_COLUMNS, SHARED_COLUMNS, SIDES
from croc.checks.sources import Checks
from croc.errors import CrocError, InputError
from croc.results.files import ResultsFile, make_result, read_result
from croc.results.verified import Level, Verification
from croc.results.weaknesses import SUFFIX, compare_runs, read_weaknesses, write_evidence
from croc.storage.files import sha256_of
from croc.storage.frames import read_frame
from croc.tables.columns import SCORE_KEYS, SCORE_VALUES
from croc.tables.metadata import ScoreMetadata
from croc.verdict.records import Comparison, Result, Score
from croc.verdict.report import Dataset
from croc.wording import counted

# Intervals come from sums in single precision, whose last digits differ between machines.
_EXACT, _RESAMPLED = 1e-9, 1e-4
_LONG = 60  # characters of a value that a message shows
_RESAMPLED_NAMES = ("ci_low", "ci_high", "scaled_ci_low", "scaled_ci_high", "p")
# Fields of records that files of an earlier version do not have: their absence claims nothing.
_ADDED_LATER = {
    item.name
    for record in (Result, Score, Comparison, Dataset)
    for item in fields(record)
    if item.default is None
}
# Not compared with the table again: the checksum is, and the file may have another name.
_NOT_COMPUTED = ("table", "url", "weaknesses")


# ---- Against the score table ----


def verify_result(path: str | Path, table: str | Path | None = None) -> list[str]:
    """Compute a result again from its score table: every number, finding and sum.

    Args:
        path: the results file.
        table: its score table; None takes the file of that name beside the result.

    Returns:
        What differs, a sentence each; empty when the result is what the table gives.

    Raises:
        InputError: one of the two files cannot be read.
    """
    stored = read_result(path)
    file = _table_of(path, stored, table)
    differences = []
    if sha256_of(file) != stored.table.sha256:
        differences.append(f"table: the checksum of {file.name} differs from the one in the result")
    computed = make_result(
        file,
        protocol=stored.report.protocol,
        metric=stored.metric,
        settings=stored.report.settings,
        trained_on_croc=stored.trained_on_croc,
    )
    return differences + _differences(_comparable(stored), _comparable(computed)) + _evidence(path, stored)


def _evidence(path: str | Path, stored: ResultsFile) -> list[str]:
    """Where the weaknesses of a result are not what their evidence gives."""
    if stored.weaknesses is None:
        return []
    file = _evidence_of(path, stored)
    differences = []
    if sha256_of(file) != stored.weaknesses.sha256:
        differences.append(f"weaknesses: the checksum of {file.name} differs from the one in the result")
    computed = read_weaknesses(file, stored.metric, stored.signature).to_dict()
    theirs = {**stored.weaknesses.to_dict(), "sha256": computed["sha256"]}
    return differences + [
        sentence.replace("but the table gives", "but the evidence gives")
        for sentence in _differences(theirs, computed, "weaknesses")
    ]


def _evidence_of(path: str | Path, stored: ResultsFile) -> Path:
    if stored.weaknesses is None:
        raise InputError(f"{path}: the result has no figures of 'croc audit-reward' or 'croc probe'")
    file = Path(path).parent / stored.weaknesses.file
    if not file.is_file():
        raise InputError(f"{path}: its evidence {file} does not exist")
    return file


def verify_runs(
    path: str | Path, audit: Path | None, probe: Path | None, tolerance: float
) -> tuple[list[str], tuple[str, ...]]:
    """Compare the evidence of a result with one's own runs of ``croc audit-reward`` and ``croc probe``.

    Args:
        path: the results file.
        audit: folder of the audit; None compares nothing of it.
        probe: folder of the probe.
        tolerance: largest difference of the scores of candidates, in standard deviations.

    Returns:
        What differs, a sentence each; and which parts were compared: ``audit``, ``probe``.

    Raises:
        InputError: a file cannot be read, or a folder has no run of this metric.
    """
    stored = read_result(path)
    file = _evidence_of(path, stored)
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / f"own{SUFFIX}"
        write_evidence(stored.metric, own, audit=audit, probe=probe)
        read_weaknesses(own, stored.metric, stored.signature)  # of the same scorer
        return compare_runs(file, own, tolerance)


def _comparable(result: ResultsFile) -> dict[str, Any]:
    """What must be equal; the version of the program in a signature need not be that of today."""
    report = result.report
    report = replace(
        report,
        signature=report.signature.without("croc"),
        signatures={name: signature.without("croc") for name, signature in report.signatures.items()},
    )
    content = replace(result, report=report).to_dict()
    return {key: value for key, value in content.items() if key not in _NOT_COMPUTED}


def _table_of(path: str | Path, stored: ResultsFile, table: str | Path | None) -> Path:
    file = Path(path).parent / stored.table.file if table is None else Path(table)
    if not file.is_file():
        raise InputError(f"{path}: its score table {file} does not exist; name it with --table")
    return file


def _differences(theirs: Any, ours: Any, where: str = "", *, resampled: bool = False) -> list[str]:
    """Where a stored result is not what its table gives; at most one sentence per record."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        out = []
        for key in dict.fromkeys((*theirs, *ours)):
            if theirs.get(key) is None and key in _ADDED_LATER:
                continue
            place = f"{where}.{key}" if where else key
            out += _differences(theirs.get(key), ours.get(key), place, resampled=key in _RESAMPLED_NAMES)
        return out
    if isinstance(theirs, list) and isinstance(ours, list):
        if len(theirs) != len(ours):
            return [f"{where}: {counted(len(theirs), 'entry', 'entries')}, but the table gives {len(ours)}"]
        pairs = enumerate(zip(theirs, ours, strict=True))
        return [
            difference
            for i, (a, b) in pairs
            for difference in _differences(a, b, f"{where}[{i}]", resampled=resampled)[:1]
        ]
    if isinstance(theirs, float | int) and isinstance(ours, float | int):
        tolerance = _RESAMPLED if resampled else _EXACT
        if math.isclose(theirs, ours, rel_tol=tolerance, abs_tol=tolerance):
            return []
    return (
        []
        if theirs == ours
        else [f"{where}: is {_cut(theirs, ours)}, but the table gives {_cut(ours, theirs)}"]
    )


def _cut(value: Any, other: Any) -> str:
    """A value for a message; of long texts the part where they begin to differ."""
    if not isinstance(value, str) or not isinstance(other, str) or max(len(value), len(other)) <= _LONG:
        return f"{value!r:.{_LONG}}"
    pairs = enumerate(zip(value, other, strict=False))
    common = next((i for i, (a, b) in pairs if a != b), min(len(value), len(other)))
    start = max(0, common - _LONG // 3)
    return f"{'…' if start else ''}{value[start : start + _LONG]!r}"


# ---- Against the dataset ----


def verify_checks(path: str | Path, table: str | Path | None, checks: Checks) -> tuple[list[str], str]:
    """Compare the score table of a result with the dataset that it names, check by check.

    The table must have a row for every image of every check, and for nothing else; its cells must repeat
    those of the dataset: concept, subset, category, property, topic, entity and models. A table of some
    checks is accepted when its revision says so (``[5 of 30]``) and they are those that ``--max-checks``
    takes. Which side or index a score belongs to cannot be seen in a table: see :func:`rescore_checks`.

    Args:
        path: the results file.
        table: its score table; None takes the file of that name beside the result.
        checks: the dataset, opened by :func:`croc.checks.sources.open_checks`.

    Returns:
        What differs, a sentence each; and how many of the dataset's checks the table has.

    Raises:
        InputError: a file cannot be read.
    """
    stored = read_result(path)
    frame, _ = read_frame(_table_of(path, stored, table), (*SHARED_COLUMNS, *SCORE_KEYS))
    every = pl.DataFrame(list(checks.outlines()), schema=_OUTLINE)
    every = every.filter(pl.sum_horizontal(IMAGE_COLUMNS) > 0)  # a check without images has no row
    differences = list(_dataset_differences(stored, checks))
    expected, part = _part(stored, checks, every)
    scored = frame.select("check_id").unique()
    known = scored.join(every, on="check_id", how="semi")
    for place, ids in (
        (checks.name, scored.join(every, on="check_id", how="anti")),
        (f"the part {part} of {checks.name}", known.join(expected, on="check_id", how="anti")),
    ):
        if len(ids):
            differences.append(
                f"table: {len(ids)} of {counted(len(scored), 'check')} not in {place}, such as "
                f"{ids.sort('check_id')['check_id'][0]}"
            )
    absent = expected.join(scored, on="check_id", how="anti")
    if len(absent):
        differences.append(
            f"table: {len(absent)} of {counted(len(expected), 'check')} of {checks.name} are missing, such "
            f"as {absent['check_id'][0]}; score a part with --max-checks, which its revision then names"
        )
    differences += _cell_differences(frame, every, checks.name)
    differences += _image_differences(frame, every, checks.name)
    return differences, f"{len(known)} of {counted(len(every), 'check')} of {checks.name}"


_OUTLINE = dict.fromkeys(SHARED_COLUMNS, pl.String) | dict.fromkeys(IMAGE_COLUMNS, pl.Int64)


def _dataset_differences(stored: ResultsFile, checks: Checks) -> Iterator[str]:
    """Where a result names another dataset, configuration, split, revision or protocol."""
    dataset = stored.report.dataset
    pairs = {
        "dataset.name": (dataset.name, checks.name),
        "dataset.config": (dataset.config, checks.config),
        "dataset.split": (dataset.split, checks.split),
        "dataset.revision": ((dataset.revision or "").partition("[")[0] or None, checks.revision),
        "protocol": (stored.report.protocol, checks.protocol),
    }
    for place, (theirs, ours) in pairs.items():
        optional = place in ("dataset.config", "dataset.split")
        if theirs != ours and not (optional and (theirs is None or ours is None)):
            named = dataset.revision if place == "dataset.revision" else theirs
            yield f"report.{place}: is {named!r}, but {checks.name} has {ours!r}"


def _part(stored: ResultsFile, checks: Checks, every: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """The checks that the table must have, and the mark of its revision where these are not all."""
    found = re.fullmatch(r"[^\[]*(\[(\d+) of (\d+)\])", stored.report.dataset.revision or "")
    if found is None or int(found[3]) != len(checks.texts) or not 0 < int(found[2]) < int(found[3]):
        return every, ""
    ids = [texts.check_id for texts in checks.spaced(int(found[2])).texts]
    return every.filter(pl.col("check_id").is_in(ids)), found[1]


def _cell_differences(frame: pl.DataFrame, every: pl.DataFrame, name: str) -> Iterator[str]:
    """Cells that repeat a check of the dataset wrongly."""
    for column in SHARED_COLUMNS[1:]:
        if column not in frame.columns:
            if every[column].null_count() < len(every):
                yield f"table: no column {column!r}, which {name} has"
            continue
        both = (
            frame.select("check_id", pl.col(column).cast(pl.String).alias("theirs"))
            .unique(maintain_order=True)
            .join(
                every.select("check_id", pl.col(column).alias("ours")), on="check_id", maintain_order="left"
            )
        )
        wrong = both.filter(pl.col("theirs").ne_missing(pl.col("ours")))
        if len(wrong):
            check, theirs, ours = wrong.row(0)
            number = counted(wrong["check_id"].n_unique(), "check")
            yield (
                f"table, column {column!r}: {number} with another value than in {name}, such as {check}: "
                f"{theirs!r:.{_LONG}}, expected {ours!r:.{_LONG}}"
            )


def _image_differences(frame: pl.DataFrame, every: pl.DataFrame, name: str) -> Iterator[str]:
    """Rows of images that the dataset has and the table does not, and the other way round."""
    sides = [
        every.select("check_id", image_side=pl.lit(side), image_index=pl.int_ranges(pl.col(column)))
        for side, column in zip(SIDES, IMAGE_COLUMNS, strict=True)
    ]
    images = pl.concat(sides).explode("image_index").drop_nulls("image_index")
    rows = frame.select("check_id", "image_side", pl.col("image_index").cast(pl.Int64))
    scored = images.join(rows, on="check_id", how="semi")
    keys = list(SCORE_KEYS)
    absent = scored.join(rows, on=keys, how="anti")
    if len(absent):
        yield (
            f"table: {len(absent)} of {counted(len(scored), 'image')} of its checks are missing, such as "
            f"{_image(absent)}; an image without a score needs a row that says why"
        )
    strange = rows.join(every, on="check_id", how="semi").join(images, on=keys, how="anti")
    if len(strange):
        number = counted(len(strange), "row")
        yield f"table: {number} of images that {name} has not, such as {_image(strange)}"
    if rows.is_duplicated().any():
        yield f"table: more than one row of {_image(rows.filter(rows.is_duplicated()))}"


def _image(rows: pl.DataFrame) -> str:
    check, side, index = rows.row(0)
    return f"{side} image {index} of check {check}"


# ---- Scoring again ----


@dataclass(frozen=True)
class Rescoring:
    """How a sample of checks is scored again.

    Attributes:
        number: how many checks.
        seed: which ones. It must not be known to the result's author in advance.
        scorer: what to run; None takes the scorer that the table names, which must be one of this program.
        options: arguments of a scorer that is given by name.
        tolerance: largest difference, as a share of the standard deviation of the new scores. Models in
            float32 stay far below 0.01 on other hardware; bfloat16 may need more.
    """

    number: int
    seed: int
    scorer: Any = None
    options: Mapping[str, Any] | None = None
    tolerance: float = 0.01


def rescore_checks(
    path: str | Path, table: str | Path | None, checks: Checks, rescoring: Rescoring
) -> tuple[list[str], str]:
    """Score a random sample of the checks again, and compare the scores with those of the table.

    Args:
        path: the results file.
        table: its score table; None takes the file of that name beside the result.
        checks: the dataset.
        rescoring: which checks, by what.

    Returns:
        What differs, a sentence each; and how much was compared.

    Raises:
        InputError: a file cannot be read, or the scorer cannot be loaded.
        CrocError: the scorer fails.
    """
    from croc.scoring.run import ScoringSettings, score_dataset

    stored = read_result(path)
    file = _table_of(path, stored, table)
    frame, flat = read_frame(file, (*SCORE_KEYS, *SCORE_VALUES))
    metadata = ScoreMetadata.from_parquet(flat, default_name=file.stem, source=str(file))
    scored = set(frame["check_id"].unique())
    rows = [number for number, texts in enumerate(checks.texts) if texts.check_id in scored]
    drawn = np.random.default_rng(rescoring.seed).choice(
        rows, min(rescoring.number, len(rows)), replace=False
    )
    scorer = _scorer_of(metadata, rescoring, str(file))
    with tempfile.TemporaryDirectory() as folder:
        (again,) = score_dataset(
            checks.select(sorted(map(int, drawn))), [scorer], folder, ScoringSettings(progress=False)
        )
        ours, ours_flat = read_frame(again, (*SCORE_KEYS, *SCORE_VALUES))
    here = ScoreMetadata.from_parquet(ours_flat, default_name=scorer.name, source=str(file))
    differing = metadata.scorer_part.differences(here.scorer_part)
    differences = [
        f"table: {key} of its scorer is {theirs!r:.{_LONG}}, and {mine!r:.{_LONG}} when scoring again"
        for key, (theirs, mine) in differing.items()
        if key != "scorer"
    ]
    differences += _score_differences(frame, ours, rescoring.tolerance)
    return differences, f"{counted(len(drawn), 'check')} scored again by {scorer.name}"


def _scorer_of(metadata: ScoreMetadata, rescoring: Rescoring, source: str) -> Any:
    """The scorer to run. A table must not choose code to run, so that it may name only registered ones."""
    from croc.scorers.registry import available, load

    spec = rescoring.scorer
    if spec is None:
        if metadata.scorer not in {entry.name for entry in available()}:
            raise InputError(
                f"{source}: its scorer {metadata.scorer!r:.{_LONG}} is not in 'croc scorers list'; name it "
                "with --scorer, which runs its code"
            )
        spec = metadata.scorer
    return load(spec, **(rescoring.options or {}))


def _score_differences(frame: pl.DataFrame, ours: pl.DataFrame, tolerance: float) -> Iterator[str]:
    """Where scores of the same images differ by more than the tolerance, or only one is missing."""
    theirs, mine = (
        rows.with_columns(pl.col("image_index").cast(pl.Int64))
        .unpivot(SCORE_VALUES, index=list(SCORE_KEYS), variable_name="name", value_name="score")
        .with_columns(pl.col("score").cast(pl.Float64).fill_nan(None))
        for rows in (frame, ours)
    )
    # Of our own scores: one huge score in the table would make every difference small.
    values = mine["score"].drop_nulls().to_numpy()
    spread = float(values.std()) if len(values) else 0.0
    both = mine.join(theirs, on=[*SCORE_KEYS, "name"], how="left", suffix="_theirs", maintain_order="left")
    far = (pl.col("score") - pl.col("score_theirs")).abs() > tolerance * spread + 1e-9
    only_one = pl.col("score").is_null() != pl.col("score_theirs").is_null()
    wrong = both.filter(only_one | far)
    if len(wrong):
        check, side, index, name, mine_score, their_score = wrong.row(0)
        yield (
            f"scores: {len(wrong)} of {len(both)} differ by more than {tolerance:g} standard deviations when "
            f"scored again, such as {name} of {side} image {index} of check {check}: {their_score}, and "
            f"{mine_score} again"
        )


# ---- All steps ----


def verify_all(
    path: Path,
    table: Path | None,
    checks: Checks | None,
    rescoring: Rescoring | None,
    *,
    audit: Path | None = None,
    probe: Path | None = None,
) -> tuple[list[str], Verification | None, str]:
    """Verify a results file as far as is asked for.

    Args:
        path: the results file.
        table: its score table; None takes the file of that name beside the result.
        checks: the dataset; None compares with the table only.
        rescoring: how to score a sample again; None does not.
        audit: folder of one's own ``croc audit-reward`` of the metric, which the evidence is compared with.
        probe: folder of one's own ``croc probe``.

    Returns:
        The problems, a sentence each; how the file was verified, None if there are problems; and what the
        author states that cannot be verified.
    """
    statements = ""
    try:
        stored = read_result(path)
        trained = "trained on CROC checks" if stored.trained_on_croc else "not trained on CROC checks"
        statements = f"{trained}; web page: {stored.url or 'none'}"
        problems = verify_result(path, table)
        level: Level = "table"
        summaries = []
        if checks is not None:
            found, summary = verify_checks(path, table, checks)
            problems += found
            summaries.append(summary)
            level = "dataset"
        runs: tuple[str, ...] = ()
        if audit is not None or probe is not None:
            tolerance = Rescoring.tolerance if rescoring is None else rescoring.tolerance
            found, runs = verify_runs(path, audit, probe, tolerance)
            problems += found
            summaries += [f"{name} run again" for name in runs]
        if checks is not None and rescoring is not None and not problems:
            found, summary = rescore_checks(path, table, checks, rescoring)
            problems += found
            summaries.append(summary)
            level = "scores"
    except CrocError as problem:
        return [str(problem)], None, statements
    verified = None if problems else Verification(level, "; ".join(summaries), ", ".join(runs))
    return problems, verified, statements
