"""What ``croc audit-reward`` and ``croc probe`` found about a metric, as a part of its results file.

The figures come with their evidence, a file beside the results: the scores of all candidates, the outcome of
each attack, and the checks of the probe. They are computed again from it as the accuracies are from the score
table. A run of the keeper of a leaderboard shows that the evidence is that of the metric.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
from pydantic import Field

from croc.errors import InputError
from croc.jobs.runner import read_manifest
from croc.probe.confidence_sequences import STEPS, interval, means
from croc.probe.report import read_report
from croc.reward_audit.evaluation import CHOSEN_OF, evaluate
from croc.reward_audit.folder import PIXELS, SCORES
from croc.storage.files import atomic, file_stem, sha256_of
from croc.storage.frames import read_frame
from croc.storage.limits import COMMAND_LINE
from croc.storage.text_files import require_regular
from croc.tables.metadata import ScoreMetadata
from croc.tables.signature import Signature
from croc.verdict.records import Count, Scaled, Share, Stored, Text

SUFFIX = ".evidence.zip"
CANDIDATES, ATTACKS, PROBE = "pools.parquet", "pixels.parquet", "probe.json"
"""Files of the evidence."""

FLIPPED_BY = "4"
"""The largest change of a pixel, of 255, whose flips are shown."""

_MOST_BYTES = COMMAND_LINE.memory // 40
_CONTRADICTED = 0.05
"""Share of verdicts that may differ between two runs: gradients and near ties differ between machines."""


@dataclass(frozen=True)
class AuditFigures(Stored):
    """How well images are selected by the metric, and how easily pixels deceive it.

    Attributes:
        pools: revision of the pools of candidates.
        prompts: number of pools.
        best_of_16: how often the best of 16 candidates is right; its interval follows.
        possible: how often at least one of 16 is right: the best possible value.
        attacked: number of passed checks whose pixels were attacked; None without attacks.
        flips: share of them that turn when pixels change by at most 4 of 255; None without gradients.
    """

    pools: Text | None
    prompts: Count
    best_of_16: Share
    low: Share
    high: Share
    possible: Share
    attacked: Count | None = None
    flips: Share = None


@dataclass(frozen=True)
class ProbeFigures(Stored):
    """The weakest property of a search: the one whose interval has the lowest upper end.

    Attributes:
        property: its name.
        scaled: scaled accuracy, 0 at chance level; its confidence sequence follows.
        checks: number of checks about it.
        all_checks: number of checks about all properties.
        properties: number of properties with a check.
    """

    property: Text
    scaled: Scaled
    low: Scaled
    high: Scaled
    checks: Count
    all_checks: Count
    properties: Count


@dataclass(frozen=True)
class Weaknesses(Stored):
    """What the searches for weaknesses found, and the file that it follows from."""

    file: Annotated[str, Field(max_length=200, pattern=r"^[\w][\w.-]*\.evidence\.zip$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    audit: AuditFigures | None = None
    probe: ProbeFigures | None = None


# ---- Making and reading evidence ----


def write_evidence(metric: str, path: Path, *, audit: Path | None, probe: Path | None) -> None:
    """Write the evidence of a metric.

    Args:
        metric: its name.
        path: the file.
        audit: folder of ``croc audit-reward``; None leaves its part out.
        probe: folder of ``croc probe``.

    Raises:
        InputError: a folder has no complete run of this metric.
    """
    contents: dict[str, bytes] = {}
    if audit is not None:
        stem = file_stem(metric)
        scores = audit / SCORES / f"{stem}.parquet"
        if not scores.is_file():
            raise InputError(f"{audit}: no audit of {metric!r} ({SCORES}/{scores.name} does not exist)")
        contents[CANDIDATES] = scores.read_bytes()
        if (audit / PIXELS / stem).is_dir():
            files = read_manifest(audit / PIXELS / stem).files()
            contents[ATTACKS] = _parquet(pl.concat([pl.read_parquet(file, glob=False) for file in files]))
    if probe is not None:
        report = read_report(probe)
        if report["metric"] != metric:
            raise InputError(f"{probe}: the probe of {report['metric']!r}, not of {metric!r}")
        file = probe / PROBE if probe.is_dir() else probe
        contents[PROBE] = file.read_bytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        atomic(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out,
    ):
        for name, content in contents.items():
            out.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 9)  # the same bytes each time


def _parquet(frame: pl.DataFrame) -> bytes:
    import io

    out = io.BytesIO()
    frame.write_parquet(out, compression="zstd")
    return out.getvalue()


@contextmanager
def _opened(path: Path) -> Iterator[Path]:
    """A folder with the files of an evidence."""
    with tempfile.TemporaryDirectory() as name:
        try:
            require_regular(path)
            with zipfile.ZipFile(path) as packed:
                entries = [
                    entry for entry in packed.infolist() if entry.filename in (CANDIDATES, ATTACKS, PROBE)
                ]
                if sum(entry.file_size for entry in entries) > _MOST_BYTES:
                    raise InputError(f"{path}: more than {_MOST_BYTES / 1e6:.0f} MB when unpacked")
                for entry in entries:
                    packed.extract(entry, name)
        except (OSError, zipfile.BadZipFile) as problem:
            raise InputError(f"{path}: cannot be read as evidence ({problem})") from None
        yield Path(name)


def read_weaknesses(path: Path, metric: str, scorer: Signature) -> Weaknesses:
    """Compute the figures from their evidence.

    Args:
        path: the evidence.
        metric: name of the metric.
        scorer: the signature of the results; the evidence must be of the same scorer.

    Raises:
        InputError: it cannot be read, or is of another scorer.
    """
    with _opened(path) as folder:
        audit = _audit(folder, metric, scorer, path) if (folder / CANDIDATES).is_file() else None
        probe = _probe(folder / PROBE, scorer, path) if (folder / PROBE).is_file() else None
    return Weaknesses(path.name, sha256_of(path), audit, probe)


def _same_scorer(theirs: Signature, scorer: Signature, what: str, path: Path) -> None:
    if found := theirs.scorer.differences(scorer.scorer):
        name, (here, there) = next(iter(found.items()))
        raise InputError(
            f"{path}: {what} is of another scorer than the results: its {name} is {here!r}, not {there!r}"
        )


def _audit(folder: Path, metric: str, scorer: Signature, path: Path) -> AuditFigures:
    _, flat = read_frame(folder / CANDIDATES, ())
    metadata = ScoreMetadata.from_parquet(flat, default_name=metric, source=str(path))
    _same_scorer(metadata.signature, scorer, "the audit", path)
    report = evaluate([folder / CANDIDATES])
    number = str(CHOSEN_OF)
    if len(report.metrics) != 1 or number not in report.oracle:
        raise InputError(f"{path}: {CANDIDATES} needs one metric, and {number} candidates per prompt or more")
    best = report.metrics[0].best_of[number]
    attacked = flips = None
    if (folder / ATTACKS).is_file():
        rows = _attacks(folder)
        attacked = int(rows.filter(pl.col("change") == "none")["passed"].sum())
        verdicts = rows.filter(pl.col("change") == FLIPPED_BY)["passed"]
        flips = float(np.mean(~verdicts.to_numpy())) if len(verdicts) else None
    return AuditFigures(
        metadata.dataset_revision,
        report.prompts,
        best.value,
        best.low,
        best.high,
        report.oracle[number],
        attacked,
        flips,
    )


def _attacks(folder: Path) -> pl.DataFrame:
    return _columns(folder / ATTACKS, ("concept_id", "change", "passed"))


def _columns(file: Path, names: tuple[str, ...]) -> pl.DataFrame:
    frame, _ = read_frame(file, names)
    if absent := [name for name in names if name not in frame.columns]:
        raise InputError(f"evidence: {file.name} has no column {absent[0]!r}")
    return frame


def _probe(file: Path, scorer: Signature, path: Path) -> ProbeFigures:
    report = read_report(file)
    _same_scorer(Signature.parse(report["signature"]), scorer, "the probe", path)
    passed: dict[str, list[float]] = {}
    for check in report["scored"]:
        passed.setdefault(check["property"], []).append(check["passed"])
    if not passed:
        raise InputError(f"{path}: the probe has no check with scores")
    counts = np.zeros((len(passed), STEPS + 1))
    for row, values in zip(counts, passed.values(), strict=True):
        np.add.at(row, np.clip(np.rint(np.array(values) * STEPS), 0, STEPS).astype(int), 1)
    low, high = interval(counts)
    at = min(range(len(passed)), key=lambda i: (high[i], means(counts)[i], list(passed)[i]))
    value, lowest, highest = (float(2 * end[at] - 1) for end in (means(counts), low, high))
    return ProbeFigures(
        list(passed)[at], value, lowest, highest, int(counts[at].sum()), int(counts.sum()), len(passed)
    )


# ---- Comparing two runs ----


def compare_runs(path: Path, again: Path, tolerance: float) -> tuple[list[str], tuple[str, ...]]:
    """Compare evidence with that of one's own run of the same metric.

    Args:
        path: the evidence of a submission.
        again: one's own.
        tolerance: largest difference of the scores of candidates, in standard deviations.

    Returns:
        What differs, a sentence each; and which parts were compared: ``audit``, ``probe``.
    """
    problems: list[str] = []
    parts = []
    with _opened(path) as theirs, _opened(again) as ours:
        if (ours / CANDIDATES).is_file():
            parts.append("audit")
            problems += _missing(theirs, CANDIDATES) or _score_problems(theirs, ours, tolerance)
        if (ours / ATTACKS).is_file() and (theirs / ATTACKS).is_file():
            keys = ("concept_id", "change")
            problems += _contradictions(_by(_attacks(theirs), keys), _by(_attacks(ours), keys), "attacks")
        elif (theirs / ATTACKS).is_file() and (ours / CANDIDATES).is_file():
            problems.append("evidence: it has attacks on pixels, and the new run has none")
        if (ours / PROBE).is_file():
            parts.append("probe")
            problems += _missing(theirs, PROBE) or _probe_problems(_checks(theirs), _checks(ours))
    return problems, tuple(parts)


def _missing(folder: Path, name: str) -> list[str]:
    return [] if (folder / name).is_file() else [f"evidence: it has no {name}"]


def _score_problems(theirs: Path, ours: Path, tolerance: float) -> list[str]:
    keys = ("check_id", "image_index")
    first, second = (
        _by(_columns(folder / CANDIDATES, (*keys, "prompt_score")), keys) for folder in (theirs, ours)
    )
    if first.keys() != second.keys():
        return ["evidence: the candidates are not those of the new run: other pools"]
    values = np.array([value for value in second.values() if value is not None], dtype=float)
    most = tolerance * float(values.std()) + 1e-9 if len(values) else 0.0
    wrong = [
        key
        for key, value in first.items()
        if (value is None) != (second[key] is None)
        or (value is not None and not abs(value - second[key]) <= most)
    ]
    if not wrong:
        return []
    return [
        f"evidence: {len(wrong)} of {len(first)} scores of candidates differ by more than {tolerance:g} "
        f"standard deviations from those of the new run, such as candidate {wrong[0][1]} of {wrong[0][0]}"
    ]


def _by(frame: pl.DataFrame, keys: tuple[str, ...]) -> dict[tuple[Any, ...], Any]:
    value = next(name for name in ("prompt_score", "passed") if name in frame.columns)
    return {tuple(row[:-1]): row[-1] for row in frame.select(*keys, value).iter_rows()}


def _checks(folder: Path) -> dict[tuple[Any, ...], Any]:
    scored = read_report(folder / PROBE)["scored"]
    return {(one["property"], one["topic"], one["generation"]): one["passed"] for one in scored}


def _probe_problems(theirs: Mapping[tuple[Any, ...], Any], ours: Mapping[tuple[Any, ...], Any]) -> list[str]:
    """A longer search begins with the checks of a shorter one: only their common length is compared."""
    length = min(len(theirs), len(ours))
    first, second = (dict(islice(run.items(), length)) for run in (theirs, ours))
    return _contradictions(first, second, "checks of the probe")


def _contradictions(
    theirs: Mapping[tuple[Any, ...], Any], ours: Mapping[tuple[Any, ...], Any], what: str
) -> list[str]:
    """Outcomes that only one of two runs has, or that differ; what was left out counts as well."""
    keys = dict.fromkeys((*theirs, *ours))
    wrong = [key for key in keys if theirs.get(key) != ours.get(key)]
    if len(wrong) <= _CONTRADICTED * len(keys):
        return []
    return [
        f"evidence: {len(wrong)} of {len(keys)} {what} are only here or only in the new run, or have another "
        f"result there, such as {' '.join(map(str, wrong[0]))}"
    ]
