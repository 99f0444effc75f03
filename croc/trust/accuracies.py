"""Accuracies of metrics by property and category, from results files, reports and score tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from croc.checks.schema import Direction
from croc.errors import InputError
from croc.results.files import GROUPS, existing_group_columns, read_result
from croc.storage.files import read_json
from croc.tables.readers import read_score_tables
from croc.trust.properties import category_of
from croc.verdict.evaluation import evaluate_tables
from croc.verdict.report import NO_VALUE, Report, Settings
from croc.verdict.statistics import wilson_interval

SAMPLE = Path(__file__).parents[1] / "sample" / "results"
"""Results of four scorers on the sample of the package."""
IMAGE_DIRECTIONS: tuple[Direction, ...] = ("forward_image", "inverse_image")
PSEUDO_CHECKS = 4
"""How many checks the accuracy over all properties counts for, next to those of the property. Four is the
number that Agresti and Coull (1998, The American Statistician 52) add to a proportion."""


@dataclass(frozen=True)
class Accuracy:
    """How often a metric gives the image of its prompt the higher score, for one property.

    Attributes:
        value: mean accuracy over the two image directions, 0…1.
        low, high: its interval.
        checks: number of checks.
        overall: accuracy of the metric on all checks of the same source.
        group: ``property``, or ``category`` where there are no results for the property itself.
        dataset: name of the checks.
    """

    value: float
    low: float
    high: float
    checks: int
    overall: float
    group: str
    dataset: str

    @property
    def chance(self) -> float:
        """The accuracy to expect on other checks: the fewer checks there are, the nearer to ``overall``."""
        return (self.value * self.checks + self.overall * PSEUDO_CHECKS) / (self.checks + PSEUDO_CHECKS)


class Accuracies:
    """Accuracies of metrics by property.

    Args:
        groups: metric → (``property`` or ``category``, its value) → accuracy.
    """

    def __init__(self, groups: Mapping[str, Mapping[tuple[str, str], Accuracy]]) -> None:
        self._groups = groups

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics with results."""
        return tuple(self._groups)

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of the checks that the results are of."""
        return tuple(sorted({one.dataset for groups in self._groups.values() for one in groups.values()}))

    def find(self, metric: str, name: str) -> Accuracy | None:
        """The accuracy of a metric for a property, else for its category; None without results."""
        groups = self._groups[metric]
        category = category_of(name)
        found = groups.get(("property", name))
        return found or (None if category is None else groups.get(("category", category)))

    def only(self, metrics: Sequence[str]) -> Accuracies:
        """Keep some metrics, in this order.

        Raises:
            InputError: one has no results.
        """
        for name in metrics:
            if name not in self._groups:
                raise InputError(
                    f"{name}: no results by property or category; there are results of "
                    f"{', '.join(self._groups) or 'no metric'}; give --results"
                )
        return Accuracies({name: self._groups[name] for name in dict.fromkeys(metrics)})


def read_accuracies(paths: Iterable[Path | str] = (SAMPLE,)) -> Accuracies:
    """Read accuracies by property and category.

    Where two sources have results of a metric for the same property, those of more checks count.

    Args:
        paths: results files, reports of ``croc evaluate --by property --json``, score tables (Parquet), and
            folders of them. A table is left out if the folder has the results file of the same name.

    Raises:
        InputError: a file cannot be read, or none of them has results by property or category.
    """
    groups: dict[str, dict[tuple[str, str], Accuracy]] = {}
    given = [Path(path) for path in paths]
    for file in [file for path in given for file in _files(path)]:
        for metric, key, accuracy in _accuracies(_report(file)):
            known = groups.setdefault(metric, {})
            if key not in known or known[key].checks < accuracy.checks:
                known[key] = accuracy
    if not groups:
        raise InputError(
            f"{', '.join(map(str, given))}: no results by property or category in image directions"
        )
    return Accuracies(groups)


def accuracies_of(report: Report) -> Accuracies:
    """The accuracies in a report that is broken down by property, by category or by both."""
    groups: dict[str, dict[tuple[str, str], Accuracy]] = {}
    for metric, key, accuracy in _accuracies(report):
        groups.setdefault(metric, {})[key] = accuracy
    return Accuracies(groups)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if not path.is_dir():
        return [path]
    found = sorted(path.rglob("*.json"))
    tables = [file for file in sorted(path.rglob("*.parquet")) if file.with_suffix(".json") not in found]
    results = [file for file in found if _is_results(file)]
    if not results and not tables:
        raise InputError(f"{path}: no results files (.json) and no score tables (.parquet) in it")
    return [*results, *tables]


def _is_results(file: Path) -> bool:
    """Whether it can be meant as results: a folder of scores has manifests, too."""
    content: Any = read_json(file)
    return isinstance(content, dict) and ("report" in content or {"results", "scores"} <= set(content))


def _report(file: Path) -> Report:
    if file.suffix == ".parquet":
        by = tuple(name for name in existing_group_columns(file) if name in GROUPS and name != "subset")
        tables = read_score_tables([file], groups=by, judges=True)
        return evaluate_tables(tables, Settings(by=by, resamples=0, flips=0))
    content: Any = read_json(file)
    if isinstance(content, dict) and "report" not in content:
        try:
            return Report.from_dict(content)
        except InputError as problem:
            raise InputError(f"{file}: {problem}") from None
    return read_result(file).report


def _accuracies(report: Report) -> Iterable[tuple[str, tuple[str, str], Accuracy]]:
    for metric in report.metrics:
        overall = _mean(report, metric, None, None)
        for group in ("property", "category"):
            for value in report.groupings.get(group, ()):
                found = None if value == NO_VALUE else _mean(report, metric, group, value)
                if found is not None and overall is not None:
                    yield metric, (group, value), Accuracy(*found, overall[0], group, report.dataset.name)


def _mean(
    report: Report, metric: str, group: str | None, value: str | None
) -> tuple[float, float, float, int] | None:
    """Accuracy, its interval and the number of checks: the mean over the image directions with a value.

    The ends of the interval are the means of theirs: not too narrow, whatever the directions have to do with
    each other.
    """
    known = []
    for direction in IMAGE_DIRECTIONS:
        result = report.result(metric, direction, group, value)
        if result is None or result.accuracy is None or not result.n:
            continue
        low, high = result.ci_low, result.ci_high
        if low is None or high is None:  # too few concepts for an interval over concepts
            low, high = (float(end) for end in wilson_interval(result.accuracy, result.n))
        known.append((result.accuracy, low, high, result.n))
    if not known:
        return None
    share, low, high = (sum(row[i] for row in known) / len(known) for i in range(3))
    return share, low, high, max(row[3] for row in known)
