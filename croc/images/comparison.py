"""Which image model is better: systems compared by metrics, paired over prompts, and corrected by labels.

Every prompt counts once: the scores of a system's images of one prompt are averaged. Tests exchange the two
systems prompt by prompt.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import polars as pl

from croc import __version__
from croc.errors import InputError
from croc.images.prediction_powered import FEWEST_LABELS, PoweredMean, powered_mean
from croc.images.scoring import mean_interval
from croc.tables.delimited import to_numbers
from croc.tables.signature import Signature
from croc.trust.prediction import PropertyTrust
from croc.verdict.report import DEFAULT_SEED
from croc.verdict.statistics import Array, best_first, exchange_test, significance_ranks
from croc.wording import counted


@dataclass(frozen=True)
class SystemScore:
    """A system by one metric.

    Attributes:
        system: its name.
        rank: 1 for the best; systems that are statistically tied share a rank.
        mean: of the prompts.
        low, high: its confidence interval; None with fewer than two prompts.
        powered: the mean of all labels, estimated from some labels and the metric; None without labels.
    """

    system: str
    rank: int | None
    mean: float
    low: float | None
    high: float | None
    powered: PoweredMean | None


@dataclass(frozen=True)
class Difference:
    """Two systems by one metric.

    Attributes:
        first, second: the systems, the one with the higher mean first.
        difference: of the means.
        low, high: its confidence interval.
        wins: share of the prompts on which the first is higher; a tie counts half.
        p: adjusted p value (Holm) of the exchange test; None without permutations.
        powered: the difference of the mean labels, estimated from some labels and the metric.
        most, least: the prompts at which the first system is ahead and behind the most.
    """

    first: str
    second: str
    difference: float
    low: float | None
    high: float | None
    wins: float
    p: float | None
    powered: PoweredMean | None
    most: str
    least: str


@dataclass(frozen=True)
class MetricComparison:
    """The systems by one metric.

    Attributes:
        metric: its name, or that of the labels.
        systems: best first.
        differences: of all pairs of systems.
    """

    metric: str
    systems: tuple[SystemScore, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class ModelComparison:
    """The systems by several metrics.

    Attributes:
        signature: what the numbers depend on.
        prompts: number of prompts that every system has.
        left_out: number of prompts that some system lacks or has no score for, by metric.
        level: of confidence.
        metrics: a comparison per metric.
        labels: the comparison by the known labels alone; None without labels.
        agreements: Kendall's tau-b of the systems' means, by ``METRIC ~ METRIC``; None if all are equal.
        trust: how often the metrics are right about the properties that the prompts depend on.
    """

    signature: Signature
    prompts: int
    left_out: Mapping[str, int]
    level: float
    metrics: tuple[MetricComparison, ...]
    labels: MetricComparison | None
    agreements: Mapping[str, float | None]
    trust: tuple[PropertyTrust, ...] = ()

    def to_json(self) -> str:
        """All numbers as JSON."""
        return json.dumps({**asdict(self), "signature": str(self.signature)}, indent=1, ensure_ascii=False)


def compare_models(
    table: pl.DataFrame,
    metrics: Sequence[str],
    *,
    label: str | None = None,
    level: float = 0.95,
    permutations: int = 10_000,
    seed: int = DEFAULT_SEED,
) -> ModelComparison:
    """Compare the systems of a table.

    Args:
        table: ``system``, ``prompt``, a column per metric, and perhaps a column of labels, empty where there
            is none. Prompts with labels must be a random sample of all; a prompt is labelled if every system
            has a label.
        metrics: columns of scores, higher is better.
        label: the column of labels, higher is better.
        level: of confidence.
        permutations: number of permutations in tests; 0 makes no tests.
        seed: of the permutations.

    Raises:
        InputError: there are fewer than two systems, no prompt that all have, a column is missing, or too few
            prompts have labels.
    """
    for name in ("system", "prompt", *metrics, *([label] if label else [])):
        if name not in table.columns:
            raise InputError(f"no column {name!r}; the table has {', '.join(table.columns)}")
    if not metrics:
        raise InputError("name at least one metric")
    systems = table["system"].drop_nulls().unique().sort().to_list()
    if len(systems) < 2:
        raise InputError(f"{counted(len(systems), 'system')}; a comparison needs images of two or more")
    labels = None
    if label is not None:
        labels, prompts_with = _by_prompt(table, label, systems)
        if len(prompts_with) < FEWEST_LABELS:
            raise InputError(
                f"{counted(len(prompts_with), 'prompt')} with labels of every system; at least "
                f"{FEWEST_LABELS} are needed"
            )
    found, left_out, prompts = [], {}, 0
    total = table["prompt"].n_unique()
    for metric in metrics:
        scores, names = _by_prompt(table, metric, systems)
        if len(names) < 2:
            raise InputError(f"{metric}: fewer than two prompts have a score of every system")
        prompts = max(prompts, len(names))
        left_out[metric] = total - len(names)
        known = None
        if labels is not None:
            place = {name: row for row, name in enumerate(prompts_with)}
            known = np.full_like(scores, np.nan)
            for row, name in enumerate(names):
                if name in place:
                    known[row] = labels[place[name]]
        found.append(_compare(metric, scores, names, systems, known, level, permutations, seed))
    of_labels = None
    if labels is not None and label is not None:
        of_labels = _compare(label, labels, prompts_with, systems, None, level, permutations, seed)
    return ModelComparison(
        Signature.of(
            croc=__version__,
            task="compare-models",
            systems=len(systems),
            prompts=prompts,
            labels=None if labels is None else len(labels),
            method=None if labels is None else "ppi++",
            level=level,
            permutations=permutations,
            seed=seed,
        ),
        prompts,
        {metric: number for metric, number in left_out.items() if number},
        level,
        tuple(found),
        of_labels,
        _agreements([*found, *([of_labels] if of_labels else [])]),
    )


def _by_prompt(table: pl.DataFrame, column: str, systems: Sequence[str]) -> tuple[Array, list[str]]:
    """(prompts, systems) mean values of the prompts that every system has, and these prompts."""
    values = pl.col(column).cast(pl.Float64, strict=False)
    rows = table.select("system", "prompt", values.alias("value")).filter(pl.col("value").is_finite())
    wide = rows.pivot("system", index="prompt", values="value", aggregate_function="mean")
    if missing := [name for name in systems if name not in wide.columns]:
        raise InputError(f"{column}: the system {missing[0]!r} has no value")
    wide = wide.select("prompt", *systems).drop_nulls().sort("prompt")
    return wide.select(systems).to_numpy(), wide["prompt"].to_list()


def _compare(
    metric: str,
    scores: Array,
    prompts: Sequence[str],
    systems: Sequence[str],
    labels: Array | None,
    level: float,
    permutations: int,
    seed: int,
) -> MetricComparison:
    means = scores.mean(axis=0)
    order = best_first(systems, means)
    pairs = list(itertools.combinations(range(len(order)), 2))
    ordered = scores[:, order]
    p = exchange_test(ordered, permutations, seed) if permutations else None
    ranks = [None] * len(order) if p is None else significance_ranks(means[order], p)

    def powered(values: Array, known: Array | None) -> PoweredMean | None:
        return None if known is None else powered_mean(known, values, level)

    of_systems = [
        SystemScore(
            systems[s],
            rank,
            float(means[s]),
            *mean_interval(scores[:, s], prompts, level),
            powered(scores[:, s], None if labels is None else labels[:, s]),
        )
        for s, rank in zip(order, ranks, strict=True)
    ]
    differences = []
    for a, b in pairs:
        gap = ordered[:, a] - ordered[:, b]
        known = None if labels is None else labels[:, order[a]] - labels[:, order[b]]
        differences.append(
            Difference(
                systems[order[a]],
                systems[order[b]],
                float(gap.mean()),
                *mean_interval(gap, prompts, level),
                float(((np.sign(gap) + 1) / 2).mean()),
                None if p is None else float(p[a, b]),
                powered(gap, known),
                prompts[int(gap.argmax())],
                prompts[int(gap.argmin())],
            )
        )
    return MetricComparison(metric, tuple(of_systems), tuple(differences))


def _agreements(comparisons: Sequence[MetricComparison]) -> dict[str, float | None]:
    from croc.ratings.coefficients import correlation

    found: dict[str, float | None] = {}
    for first, second in itertools.combinations(comparisons, 2):
        means: list[dict[str, Any]] = [{s.system: s.mean for s in one.systems} for one in (first, second)]
        names = sorted(means[0])
        values = [np.array([of[name] for name in names]) for of in means]
        tau = correlation(values[0], values[1], "kendall")
        found[f"{first.metric} ~ {second.metric}"] = None if np.isnan(tau) else tau
    return found


LABELS = ("label", "rating", "vote", "score", "human")
"""Names of a column of labels, tried in this order."""
ADDED = "human labels"
"""Name of the column that :func:`add_labels` adds."""
_KEYS = (("item_id",), ("image",), ("system", "prompt"))


def add_labels(
    table: pl.DataFrame,
    labels: pl.DataFrame,
    source: str,
    column: str | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> pl.DataFrame:
    """Add the mean label of each image, or of each prompt and system, as the column ``ADDED``.

    Args:
        table: the pairs.
        labels: a row per label: the image (``image`` or ``item_id``, as in the table, or its file name), or
            ``system`` and ``prompt``; and a number.
        source: its name in messages.
        column: of the labels; None takes one of ``LABELS``.
        log: called with the number of labels that belong to no image.

    Raises:
        InputError: a column is missing, a label is not a number, a file name is that of several images, or no
            label belongs to an image.
    """
    name = column or next((known for known in LABELS if known in labels.columns), None)
    if name is None or name not in labels.columns:
        wanted = column or " or ".join(LABELS)
        raise InputError(f"{source}: no column {wanted} with labels; it has {', '.join(labels.columns)}")
    if ADDED in table.columns:
        raise InputError(f"the table has a column {ADDED!r}; rename it, or give it by --label")
    values = to_numbers(labels[name], source).alias(ADDED)
    if values.null_count():
        raise InputError(f"{source}, column {name!r}, row {int(values.is_null().arg_max() or 0) + 1}: empty")
    both = set(labels.columns) & set(table.columns)
    keys = next((list(keys) for keys in _KEYS if set(keys) <= both), None)
    if keys is None:
        raise InputError(f"{source}: no column item_id or image, and not both of system and prompt")
    rows = labels.select(keys).with_columns(values)
    if keys == ["image"]:
        rows = _by_path(rows, table["image"], source)
    means = rows.group_by(keys).agg(pl.col(ADDED).mean())
    lost = len(rows.join(table, on=keys, how="anti"))
    if lost == len(rows):
        raise InputError(f"{source}: no label belongs to one of the images, by {' and '.join(keys)}")
    if lost:
        named = " and ".join(keys)
        log(f"{source}: {counted(lost, 'label')} of {len(rows):,} left out: no image with this {named}")
    return table.join(means, on=keys, how="left", maintain_order="left")


def _by_path(labels: pl.DataFrame, images: pl.Series, source: str) -> pl.DataFrame:
    """The labels with file names of images replaced by their paths.

    Raises:
        InputError: several images have a name.
    """
    paths: dict[str, set[str]] = {}
    for image in images.drop_nulls().unique():
        paths.setdefault(PurePath(image).name, set()).add(image)
    known = set(images)
    replaced: dict[str, str] = {}
    for name in labels["image"].drop_nulls().unique():
        found = {name} if name in known else paths.get(name, set())
        if len(found) > 1:
            one, other, *_ = sorted(found)
            raise InputError(
                f"{source}: {name!r} is the name of {one} and {other}; give paths as in the table"
            )
        replaced[name] = next(iter(found), name)
    return labels.with_columns(pl.col("image").replace(replaced))
