"""Scores of pairs of an image and a prompt, by the engine of ``croc score``: batches, reuse, resume."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from croc.checks.decoding import decode
from croc.errors import InputError
from croc.images.pairs import ImagePairs
from croc.scorers.registry import load, takes
from croc.scoring.run import ScoringSettings, score_dataset
from croc.storage.files import atomic
from croc.tables.readers import read_score_tables
from croc.tables.score_tables import ScoreTable
from croc.verdict.statistics import Array

_IMAGES_AT_ONCE = 32

FAILURE = "failure"
"""Column of the reasons why a pair has no score, by metric."""

IN_WORLD = "_in_world"
"""End of the name of a column: whether an image is like those that a metric was trained on."""


@dataclass(frozen=True)
class Mean:
    """The mean score of a metric.

    Attributes:
        metric: its name.
        system: the system whose images are meant; None for all.
        images: number of images with a score.
        failed: number of images without one.
        mean: of the images.
        low, high: ends of its confidence interval; None with fewer than two clusters.
        clusters: number of prompts, or of images if all have one prompt.
    """

    metric: str
    system: str | None
    images: int
    failed: int
    mean: float | None
    low: float | None
    high: float | None
    clusters: int


@dataclass(frozen=True)
class ImageScores:
    """The scores of some metrics on pairs of an image and a prompt.

    Attributes:
        table: the pairs with a column per metric, and ``failure`` where a pair has no score; after
            :func:`add_worlds` also whether an image is like those that a metric was trained on.
        metrics: names of the metrics.
        signatures: of each metric, how its scores were computed.
        failures: by metric, number of pairs by reason.
    """

    table: pl.DataFrame
    metrics: tuple[str, ...]
    signatures: Mapping[str, str]
    failures: Mapping[str, Mapping[str, int]]

    def outside(self) -> dict[str, int]:
        """By metric that can tell, the number of images unlike those that it was trained on."""
        columns = {metric: f"{metric}{IN_WORLD}" for metric in self.metrics}
        return {
            metric: int((~self.table[column].drop_nulls()).sum())
            for metric, column in columns.items()
            if column in self.table.columns
        }

    def means(self, level: float = 0.95) -> list[Mean]:
        """The mean of each metric, and of each system where there are several."""
        systems: list[str | None] = [None]
        if (named := self.table["system"].drop_nulls().unique().sort().to_list()) and len(named) > 1:
            systems += named
        return [
            self._mean(
                metric,
                self.table if system is None else self.table.filter(pl.col("system") == system),
                system,
                level,
            )
            for metric in self.metrics
            for system in systems
        ]

    def _mean(self, metric: str, rows: pl.DataFrame, system: str | None, level: float) -> Mean:
        known = rows.drop_nulls(metric)
        cluster = "prompt" if known["prompt"].n_unique() > 1 else "item_id"
        low, high = mean_interval(known[metric].to_numpy(), known[cluster].to_list(), level)
        return Mean(
            metric,
            system,
            len(known),
            len(rows) - len(known),
            float(known[metric].mean()) if len(known) else None,  # type: ignore[arg-type]
            low,
            high,
            known[cluster].n_unique(),
        )

    def write(self, file: Path) -> None:
        """Write the table as CSV or Parquet; Parquet also holds the signatures.

        Without a failure the column of failures is left out: a column without values reads as numbers.

        Raises:
            InputError: the name has another ending.
        """
        require_format(file)
        table = self.table if self.table[FAILURE].count() else self.table.drop(FAILURE)
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic(file) as temporary:
            if file.suffix == ".csv":
                table.write_csv(temporary)
                return
            import pyarrow.parquet as pq

            arrow = table.to_arrow()
            signatures = {"signatures": json.dumps(dict(self.signatures))}
            pq.write_table(arrow.replace_schema_metadata(signatures), temporary)


def require_format(file: Path) -> None:
    """Require a name of a CSV or Parquet file.

    Raises:
        InputError: the name has another ending.
    """
    if file.suffix not in (".csv", ".parquet"):
        raise InputError(f"{file}: the name of a table of scores ends in .csv or .parquet")


def score_images(
    pairs: ImagePairs,
    scorers: Sequence[Any],
    work: Path | None = None,
    settings: ScoringSettings | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> ImageScores:
    """Score pairs of an image and a prompt.

    Args:
        pairs: see :func:`croc.images.pairs.read_pairs`.
        scorers: names or objects as :func:`croc.scorers.registry.load` takes them.
        work: folder of the score tables, in which an interrupted run is resumed; None keeps nothing.
        settings: batch size, resume, progress; None takes the defaults.
        options: arguments for those scorers that take them.
        log: called with remarks and with one summary line per scorer.

    Raises:
        InputError: a scorer or an option cannot be used, or ``work`` holds other work.
        CrocError: a scorer breaks its contract, or too many pairs failed.
    """
    if work is None:
        with TemporaryDirectory() as folder:
            return score_images(pairs, scorers, Path(folder), settings, options=options, log=log)
    settings = replace(settings or ScoringSettings(), protocol="hum")  # pairs have no subset
    files = score_dataset(pairs.checks(), scorers, work, settings, options=options, log=log)
    return join_scores(pairs.table, read_score_tables(files))


def add_worlds(
    found: ImageScores, pairs: ImagePairs, scorers: Sequence[Any], options: Mapping[str, Any] | None = None
) -> ImageScores:
    """Add ``METRIC_in_world`` for each scorer that knows which images are like those of its training.

    Args:
        found: the scores of the pairs by these scorers; images without a score are not asked about.
        pairs: the images with their prompts.
        scorers: names or objects as :func:`croc.scorers.registry.load` takes them.
        options: arguments for those scorers that take them.
    """
    table = found.table
    for spec in scorers:
        scorer = load(spec, **{key: value for key, value in (options or {}).items() if takes(spec, key)})
        # Without an image, a scorer that cannot tell does not load its model.
        if not hasattr(scorer, "in_world") or scorer.in_world([]) is None:
            continue
        known: list[bool | None] = [None] * len(table)
        numbers = table[scorer.name].is_not_null().arg_true().to_list()
        for start in range(0, len(numbers), _IMAGES_AT_ONCE):
            some = numbers[start : start + _IMAGES_AT_ONCE]
            judged = scorer.in_world([decode(pairs.read(number)) for number in some])
            for number, value in zip(some, judged, strict=True):
                known[number] = bool(value)
        table = table.with_columns(pl.Series(f"{scorer.name}{IN_WORLD}", known, dtype=pl.Boolean))
    return replace(found, table=table)


def join_scores(table: pl.DataFrame, tables: Sequence[ScoreTable]) -> ImageScores:
    """Add the scores of score tables, whose ``check_id`` is the ``item_id``, to a pair table.

    Raises:
        InputError: a metric has the name of a column.
    """
    reasons: list[pl.Expr] = []
    metrics: list[str] = []
    signatures, failures = {}, {}
    for scores in tables:
        for metric, (column, _) in scores.metrics.items():
            if metric in table.columns:
                raise InputError(f"the metric {metric!r} has the name of a column; rename the column")
            found = scores.frame.select(
                pl.col("check_id").alias("item_id"),
                pl.col(column).alias(metric),
                pl.col("error").alias(f"error {metric}"),
            )
            table = table.join(found, on="item_id", how="left", maintain_order="left")
            missing = pl.col(metric).is_null()
            reason = pl.lit(f"{metric}: ") + pl.col(f"error {metric}").fill_null("no score")
            reasons.append(pl.when(missing).then(reason))
            errors = table.filter(missing)[f"error {metric}"].fill_null("no score")
            failures[metric] = dict(Counter(errors.to_list()))
            metrics.append(metric)
            signatures[metric] = str(scores.metadata[metric].signature)
    failure = pl.concat_str(reasons, separator="; ", ignore_nulls=True).replace("", None).alias(FAILURE)
    table = table.with_columns(failure).drop([f"error {metric}" for metric in metrics])
    return ImageScores(table, tuple(metrics), signatures, failures)


def mean_interval(
    values: Array, clusters: Sequence[Any], level: float = 0.95
) -> tuple[float | None, float | None]:
    """Interval of a mean of values that are dependent inside a cluster, by the t distribution.

    The variance is that of a ratio of sums over clusters (linearised).

    Args:
        values: (n,).
        clusters: (n,), the cluster of each value.
        level: of confidence.
    """
    from scipy.special import stdtrit

    _, code = np.unique(np.asarray(clusters, dtype=object).astype(str), return_inverse=True)
    number = int(code.max()) + 1 if len(code) else 0
    if number < 2:
        return None, None
    mean = float(values.mean())
    sums = np.bincount(code, values - mean, number)
    error = float(np.sqrt(number / (number - 1) * (sums**2).sum())) / len(values)
    half = float(stdtrit(number - 1, (1 + level) / 2)) * error
    return mean - half, mean + half


def score(
    images: Sequence[Any] | Any,
    prompts: Sequence[str] | str,
    metric: str | Sequence[str] = "clipscore-b32",
    **options: Any,
) -> Any:
    """Score images with their prompts.

    Args:
        images: an image or several: PIL images, paths or bytes.
        prompts: a prompt of each image, or one of all.
        metric: name of a scorer (``croc scorers list``), ``module:Class``, a scorer object, or several.
        options: arguments for scorers that take them, such as ``device="cuda"``.

    Returns:
        A list with a score per image; for several metrics a dictionary of lists by name. A single image gives
        single scores.

    Raises:
        InputError: an image cannot be read, a prompt is empty, or there are not as many prompts as images.
    """
    single = not isinstance(images, (list, tuple))
    given = [images] if single else list(images)
    texts = [prompts] * len(given) if isinstance(prompts, str) else list(prompts)
    if len(texts) != len(given) or not given:
        raise InputError(f"{len(texts)} prompts for {len(given)} images; give one for each, or one for all")
    from croc.checks.decoding import to_bytes

    contents = [to_bytes(image) for image in given]
    names = [f"image {number + 1}" for number in range(len(given))]
    table = pl.DataFrame(
        {"item_id": names, "image": names, "prompt": texts, "system": [None] * len(given)},
        schema_overrides={"system": pl.String},
    )
    several = isinstance(metric, (list, tuple))
    scorers = list(metric) if several else [metric]
    pairs = ImagePairs(table, "images", lambda number: contents[number])
    found = score_images(pairs, scorers, settings=ScoringSettings(progress=False), options=options)
    if failed := found.table[FAILURE].drop_nulls().to_list():
        raise InputError(failed[0])
    columns = {name: found.table[name].to_list() for name in found.metrics}
    values = {name: column[0] if single else column for name, column in columns.items()}
    return values if several else next(iter(values.values()))
