"""Evaluate score tables of pools: how often the best of n candidates is right.

Selection from n candidates is what a reward does in its simplest form; the same errors are learned by a
generator that is trained on it. Gao et al. 2022, "Scaling Laws for Reward Model Overoptimization", arXiv
2210.10760, compare best-of-n with reinforcement learning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from croc import __version__
from croc.checks.schema import split_errors
from croc.errors import InputError
from croc.graded.formulas import best_of
from croc.reward_audit.records import PixelResult, RewardAudit, RewardReport, SearchResult
from croc.reward_audit.sorts import RIGHT, SORTS
from croc.tables.readers import read_score_tables
from croc.tables.score_tables import ScoreTable
from croc.tables.signature import Signature
from croc.verdict.intervals import Estimate, mean_share
from croc.verdict.statistics import Array

__all__ = ["CHOSEN_OF", "NUMBERS", "PixelResult", "RewardAudit", "RewardReport", "SearchResult", "evaluate"]

NUMBERS = (1, 2, 4, 8, 16, 32, 64)
"""Of how many candidates the best one is looked at, as far as every pool has so many."""
CHOSEN_OF = 16
"""Of how many candidates the sort of the best one is shown."""

_COLUMNS = ("property_path", "property")


@dataclass(frozen=True)
class _Pool:
    """The scores of one prompt: its property, (candidates,) scores and their sorts."""

    about: str
    scores: Array
    sorts: NDArray[np.str_]

    @property
    def right(self) -> NDArray[np.bool_]:
        return np.asarray(self.sorts == RIGHT)

    def curve(self, numbers: Sequence[int]) -> list[float]:
        return [float(best_of(self.scores[None], self.right, number)[0]) for number in numbers]

    def oracle(self, numbers: Sequence[int]) -> list[float]:
        return [float(best_of(self.right[None].astype(float), self.right, n)[0]) for n in numbers]

    def chosen(self, number: int) -> dict[str, float]:
        return {
            str(sort): float(best_of(self.scores[None], np.asarray(self.sorts == sort), number)[0])
            for sort in np.unique(self.sorts)
        }


def evaluate(
    paths: Iterable[Path | str],
    *,
    searches: Mapping[str, SearchResult] | None = None,
    pixels: Mapping[str, PixelResult] | None = None,
    dataset: str | None = None,
    level: float = 0.95,
) -> RewardReport:
    """Evaluate score tables of pools.

    Args:
        paths: files, or folders of them.
        searches: by metric, what a search found.
        pixels: by metric, what attacks on pixels found.
        dataset: name of the pools; None takes that of the tables.
        level: of confidence.

    Raises:
        InputError: a file cannot be read, or its checks are no pools.
    """
    tables = read_score_tables(paths, groups=_COLUMNS)
    for table in tables:
        if table.protocol != "graded":
            raise InputError(f"{table.source}: no pools of candidates (protocol {table.protocol})")
    results, first = [], _pools(tables[0], next(iter(tables[0].metrics)))
    smallest = min(len(pool.scores) for pool in first.values())
    numbers = [number for number in NUMBERS if number <= smallest]
    for table in tables:
        for metric in table.metrics:
            found = _pools(table, metric)
            if found.keys() != first.keys():
                raise InputError(f"{table.source}: other pools than in {tables[0].source}")
            audit = _audit(
                metric,
                bool(table.metadata[metric].baseline),
                list(found.values()),
                numbers,
                level,
                (searches or {}).get(metric),
                (pixels or {}).get(metric),
            )
            results.append(audit)
    oracle = np.mean([pool.oracle(numbers) for pool in first.values()], axis=0)
    metadata = tables[0].metadata[next(iter(tables[0].metrics))]
    name = dataset or metadata.dataset or "unnamed"
    last = str(numbers[-1])
    return RewardReport(
        Signature.of(
            croc=__version__,
            task="reward audit",
            dataset=name,
            dataset_revision=metadata.dataset_revision,
            prompts=len(first),
            level=level,
        ),
        name,
        len(first),
        smallest,
        level,
        float(np.mean([pool.right.mean() for pool in first.values()])),
        {str(n): float(value) for n, value in zip(numbers, oracle, strict=True)},
        tuple(sorted(results, key=lambda one: (-(one.best_of[last].value or 0.0), one.metric))),
    )


def _pools(table: ScoreTable, metric: str) -> dict[str, _Pool]:
    """By prompt its scores, in the order of their ids."""
    column, _ = table.metrics[metric]
    keys = ["concept_id", "check_id", "image_index"]
    rows = table.frame.select(*keys, *_COLUMNS, column).sort(keys)
    found: dict[str, tuple[str, list[float], list[str]]] = {}
    for concept, _, _, errors, about, score in rows.iter_rows():
        if concept is None or errors is None:
            raise InputError(
                f"{table.source}: a row without concept_id or property_path, which name its pool"
            )
        _, scores, sorts = found.setdefault(concept, (about or "", [], []))
        scores.append(np.nan if score is None else float(score))
        sorts.append(" + ".join(split_errors(errors)) or RIGHT)
    pools = {
        concept: _Pool(about, np.array(scores), np.array(sorts))
        for concept, (about, scores, sorts) in found.items()
    }
    for concept, pool in pools.items():
        if not pool.right.any() or pool.right.all():
            raise InputError(f"{table.source}: the pool {concept!r} needs right and wrong candidates")
    return pools


def _audit(
    metric: str,
    baseline: bool,
    pools: Sequence[_Pool],
    numbers: Sequence[int],
    level: float,
    search: SearchResult | None,
    pixels: PixelResult | None,
) -> RewardAudit:
    curves = np.array([pool.curve(numbers) for pool in pools])  # (prompts, numbers)
    means = curves.mean(axis=0)
    peak = int(np.argmax(means))
    properties = sorted({pool.about for pool in pools})
    by_property = {
        name: dict(
            zip(
                map(str, numbers),
                curves[[pool.about == name for pool in pools]].mean(axis=0).tolist(),
                strict=True,
            )
        )
        for name in properties
    }
    tests = max(1, len(numbers) - 1)
    drop = difference(curves[:, peak] - curves[:, -1], 1 - (1 - level) / tests)
    chosen = [pool.chosen(min(CHOSEN_OF, numbers[-1])) for pool in pools]
    found = {sort for one in chosen for sort in one}
    sorts = [sort for sort in (RIGHT, *SORTS) if sort in found] + sorted(found - {RIGHT, *SORTS})
    scored = sum(int((~np.isnan(pool.scores)).sum()) for pool in pools)
    return RewardAudit(
        metric,
        baseline,
        {
            str(number): mean_share(curves[:, i], level, chance=float(means[0]))
            for i, number in enumerate(numbers)
        },
        by_property,
        numbers[peak],
        drop,
        bool(drop.low is not None and drop.low > 0),
        {sort: float(np.mean([one.get(sort, 0.0) for one in chosen])) for sort in sorts},
        scored,
        sum(len(pool.scores) for pool in pools) - scored,
        search,
        pixels,
    )


def difference(values: Array, level: float) -> Estimate:
    """The mean of differences of prompts (-1 to 1), with an interval."""
    found = mean_share((values + 1) / 2, level)
    if found.low is None or found.high is None:
        return Estimate(float(values.mean()), None, None)
    return Estimate(float(values.mean()), 2 * found.low - 1, 2 * found.high - 1)
