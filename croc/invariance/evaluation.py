"""Evaluate score tables of variants: which verdicts change, and how much scores move.

:mod:`croc.invariance.variant_ids` says how a row names its check and its change. Every variant has one image
per side.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from croc import __version__
from croc.errors import InputError
from croc.invariance.variant_ids import NONE, split_variant
from croc.storage.files import read_json
from croc.storage.text_files import first_problem
from croc.tables.readers import read_score_tables
from croc.tables.score_tables import ScoreTable
from croc.tables.signature import Signature
from croc.verdict.intervals import FEWEST_CONCEPTS, Estimate, mean_share
from croc.verdict.report import DEFAULT_SEED
from croc.verdict.statistics import Array, percentile_interval, resample_counts

FORMAT = "croc invariance"
REPORT = "invariance.json"
"""All numbers of the last run, in the output folder."""


@dataclass(frozen=True)
class ChangeScore:
    """What one change does to one metric.

    Attributes:
        change: its name.
        checks: number of checks with scores before and after it.
        flips: share of the verdicts in the four directions that change, 0 to 1; a verdict that becomes a tie
            or was one counts one half. Random verdicts have 0.5.
        ratio: what a real error costs (mean difference between the scores of an image with its own and with
            the other prompt) over what the change does (root mean square of the changes of an image's score
            with its own prompt). None if no score changes at all, or if the metric sees no errors.
        accuracy: share of the verdicts that are right after the change, a tie counting one half.
    """

    change: str
    checks: int
    flips: Estimate
    ratio: Estimate
    accuracy: float


@dataclass(frozen=True)
class MetricInvariance:
    """The results of one metric.

    Attributes:
        metric: its name.
        accuracy: share of the verdicts on the unchanged checks that are right, a tie counting one half.
        error: mean difference between the scores of an image with its own and with the other prompt.
        changes: in the order of the table.
        missing: number of variants without a score.
    """

    metric: str
    accuracy: float
    error: float
    changes: tuple[ChangeScore, ...]
    missing: int


@dataclass(frozen=True)
class InvarianceReport:
    """The results of some metrics.

    Attributes:
        signature: what the numbers depend on.
        dataset: its name.
        checks: number of checks.
        concepts: number of concepts of these checks.
        level: of confidence.
        metrics: fewest changed verdicts first.
    """

    signature: Signature
    dataset: str
    checks: int
    concepts: int
    level: float
    metrics: tuple[MetricInvariance, ...]

    @property
    def changes(self) -> tuple[str, ...]:
        """Names of the changes, in the order of the tables."""
        return tuple(dict.fromkeys(score.change for metric in self.metrics for score in metric.changes))

    def to_json(self) -> str:
        """All numbers as JSON."""
        whole = {"format": FORMAT, **asdict(self), "signature": str(self.signature)}
        return json.dumps(whole, indent=1, ensure_ascii=False)


@cache
def _adapter() -> TypeAdapter[InvarianceReport]:
    return TypeAdapter(InvarianceReport)


def read_invariance(path: str | Path) -> InvarianceReport:
    """Read the results of ``croc invariance``.

    Args:
        path: the folder, or the file of ``--json``.

    Raises:
        InputError: it is not such a result.
    """
    file = Path(path) / REPORT if Path(path).is_dir() else Path(path)
    content = read_json(file, f"{file} does not exist; croc invariance writes it")
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise InputError(f"{file}: not the JSON of an invariance test; 'croc invariance' writes it")
    try:
        return _adapter().validate_python(content)
    except ValueError as problem:
        raise InputError(f"{file}: not the JSON of an invariance test: {first_problem(problem)}") from None


def evaluate(
    paths: Iterable[Path | str],
    *,
    order: Sequence[str] = (),
    dataset: str | None = None,
    level: float = 0.95,
    resamples: int = 2_000,
    seed: int = DEFAULT_SEED,
) -> InvarianceReport:
    """Evaluate score tables of variants.

    Args:
        paths: files, or folders of them.
        order: names of the changes in the order in which they are shown; others follow.
        dataset: name of the checks; None takes that of the tables.
        level: of confidence.
        resamples: of the concepts, for the intervals of the ratio.
        seed: of the resamples.

    Raises:
        InputError: a file cannot be read, or its checks are no variants.
    """
    tables = read_score_tables(paths)
    metrics = [
        _evaluate(table, name, order, level, resamples, seed) for table in tables for name in table.metrics
    ]
    first = next(iter(tables[0].metadata.values()))
    base = {split_variant(full)[0] for table in tables for full in table.frame["check_id"].unique()}
    concepts = len({concept for table in tables for concept in table.frame["concept_id"].unique()})
    return InvarianceReport(
        Signature.of(
            croc=__version__,
            task="invariance",
            dataset=dataset or first.dataset,
            dataset_revision=first.dataset_revision,
            checks=len(base),
            level=level,
            resamples=resamples,
            seed=seed,
        ),
        dataset or first.dataset or "unnamed",
        len(base),
        concepts,
        level,
        tuple(sorted(metrics, key=lambda one: (_mean_flips(one), one.metric))),
    )


def _mean_flips(metric: MetricInvariance) -> float:
    values = [score.flips.value for score in metric.changes if score.flips.value is not None]
    return float(np.mean(values)) if values else np.inf


def _evaluate(
    table: ScoreTable, metric: str, order: Sequence[str], level: float, resamples: int, seed: int
) -> MetricInvariance:
    scores, concepts = _scores(table, metric)
    names = sorted({name for _, name in scores}, key=lambda name: (_place(order, name), name))
    known = {key: value for key, value in scores.items() if not np.isnan(value).any()}
    before = {check: value for (check, name), value in known.items() if name == NONE}
    if not before:
        raise InputError(f"{table.source}: no unchanged check has a score of {metric}")
    found = []
    for name in names:
        checks = sorted(check for check, other in known if other == name and check in before)
        if name == NONE or not checks:
            continue
        old = np.stack([before[check] for check in checks])
        new = np.stack([known[check, name] for check in checks])
        numbers = np.unique([concepts[check] for check in checks], return_inverse=True)[1].astype(np.int64)
        flips = np.abs(_verdicts(new) - _verdicts(old)).mean(axis=1)
        ratio = _ratio(_error(old), _moved(old, new), numbers, level, resamples, seed)
        accuracy = float(_verdicts(new).mean())
        found.append(
            ChangeScore(name, len(checks), mean_share(flips, level, clusters=numbers), ratio, accuracy)
        )
    every = np.stack(list(before.values()))
    return MetricInvariance(
        metric,
        float(_verdicts(every).mean()),
        float(_error(every).mean()),
        tuple(found),
        len(scores) - len(known),
    )


def _place(order: Sequence[str], name: str) -> int:
    return list(order).index(name) if name in order else len(order)


def _scores(table: ScoreTable, metric: str) -> tuple[dict[tuple[str, str], Array], dict[str, str]]:
    """By check and change, its scores (image, prompt), the original first; and the concept of each check."""
    scores: dict[tuple[str, str], Array] = {}
    concepts: dict[str, str] = {}
    columns = ("check_id", "concept_id", "image_side", *table.metrics[metric])
    for full, concept, side, own, other in table.frame.select(columns).iter_rows():
        check, name = split_variant(full)
        if not check:
            raise InputError(f"{table.source}: {full!r} is no variant of a check; croc invariance makes them")
        concepts[check] = concept or check
        grid = scores.setdefault((check, name), np.full((2, 2), np.nan))
        grid[int(side != "original")] = [np.nan if value is None else value for value in (own, other)]
    return scores, concepts


def _verdicts(scores: Array) -> Array:
    """1 for right, 0 for wrong, 1/2 for a tie in the four directions: (checks, 4)."""
    image, contrast = scores[:, 0], scores[:, 1]
    gaps = [
        image[:, 0] - image[:, 1],
        contrast[:, 1] - contrast[:, 0],
        image[:, 0] - contrast[:, 0],
        contrast[:, 1] - image[:, 1],
    ]
    verdicts: Array = (1 + np.sign(np.stack(gaps, axis=1))) / 2
    return verdicts


def _error(scores: Array) -> Array:
    """(checks,): how much lower the scores with the wrong prompts are."""
    gap: Array = (scores[:, 0, 0] - scores[:, 0, 1] + scores[:, 1, 1] - scores[:, 1, 0]) / 2
    return gap


def _moved(old: Array, new: Array) -> Array:
    """(checks,): mean squared change of the scores with the own prompts."""
    change: Array = ((new - old)[:, (0, 1), (0, 1)] ** 2).mean(axis=1)
    return change


def _ratio(
    error: Array, moved: Array, concepts: NDArray[np.int64], level: float, resamples: int, seed: int
) -> Estimate:
    """What an error costs over what the change does, with the percentile interval over concepts."""
    if moved.max() <= 0 or error.mean() <= 0:
        return Estimate(None, None, None)
    value = float(error.mean() / np.sqrt(moved.mean()))
    sums = np.stack([np.bincount(concepts, each) for each in (error, moved, np.ones(len(error)))])
    if sums.shape[1] < FEWEST_CONCEPTS or not resamples:
        return Estimate(value, None, None)
    counts = resample_counts(sums.shape[1], resamples, np.random.default_rng(seed)).astype(float)
    total_error, total_moved, number = (counts @ row for row in sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = (total_error / number) / np.sqrt(total_moved / number)
    low, high = percentile_interval(drawn[np.isfinite(drawn)], level)
    return Estimate(value, float(low), float(high))
