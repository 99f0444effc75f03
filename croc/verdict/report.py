"""The Report: all numbers about metrics on one benchmark, with intervals, tests, findings and signatures.

:func:`croc.verdict.evaluation.evaluate` computes a report; everything else only shows it, stores it or reads
it back: ``Report.from_dict(report.to_dict()) == report``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Annotated, ClassVar, Literal, TypeVar

import numpy as np
from pydantic import Field, PlainValidator

from croc.checks.schema import Protocol
from croc.errors import InputError
from croc.storage.limits import PERMUTATIONS, RESAMPLES
from croc.tables.signature import Signature
from croc.verdict import statistics
from croc.verdict.aggregation import nanmean
from croc.verdict.records import (
    Agreement,
    Comparison,
    Count,
    Dependence,
    Finding,
    PositionBias,
    Record,
    Result,
    Score,
    Stored,
    Text,
    check_fields,
    optional,
)
from croc.verdict.statistics import Array, Correction

DEFAULT_SEED = 20250511
_R = TypeVar("_R", bound=Record)
NO_VALUE = "(none)"
"""The group of the checks that have no value in a column."""

Average = Literal["micro", "macro"]

GroupKey = tuple[str | None, str | None]
"""(column, value) of a group; (None, None) is all checks."""


@dataclass(frozen=True)
class Settings(Stored):
    """How a report is computed; all of it is in the signature.

    Attributes:
        paper: the published computation instead of the default one.
        by: columns to break the results down by, besides all checks together.
        resamples: number of bootstrap resamples, for rank agreement and findings; 0 gives neither.
        flips: number of permutations of each test; 0 gives no tests, so no ranks and no findings from tests.
        seed: of the resamples and permutations.
        level: confidence level of the intervals.
        images: number of images per side that the verdicts are of, averaged over all choices of so many; None
            takes all images.
        correction: how p values are adjusted for the number of tests, see
            :func:`croc.verdict.statistics.adjust`.
        average: whether the mean of a metric pools the checks (``micro``) or gives every value of the first
            column of ``by`` the same weight (``macro``). None is ``micro``, and in the published computation
            the paper's ``macro`` over subsets (syn) or categories (hum).
    """

    paper: bool = False
    by: tuple[Text, ...] = ()
    resamples: Annotated[Count, Field(le=RESAMPLES)] = 2_000
    flips: Annotated[Count, Field(le=PERMUTATIONS)] = 10_000
    seed: Count = DEFAULT_SEED
    level: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    images: Annotated[int, Field(ge=1)] | None = None
    average: Average | None = None
    correction: Correction = "holm"

    def __post_init__(self) -> None:
        """Check the values of the settings, and that they go together.

        Raises:
            InputError: a value is out of range, or the published computation is asked for with another number
                of images.
        """
        check_fields(self, flips="permutations")
        if self.paper and self.images is not None:
            raise InputError(
                "the published computation has the chance level of five images per side; it cannot be "
                "combined with a number of images"
            )


Labels = Literal["certain", "pseudo", "human"]


@dataclass(frozen=True)
class Dataset(Stored):
    """The dataset of checks that the metrics were run on, as their score tables name it.

    Attributes:
        name: Hub id (``organisation/name``), or the name of a folder or file.
        revision: commit on the Hub, or a hash of the content; None if unknown.
        config: configuration; None if there is only one, or it is unknown.
        split: split; None if unknown.
        labels: where labels come from: ``certain`` if all images were drawn from their prompts by the exact
            world, ``pseudo`` if image models made them, ``human`` if people verified them; None if unknown.
    """

    name: Text
    revision: Text | None = None
    config: Text | None = None
    split: Text | None = None
    labels: Labels | None = None


def _refuse(value: object) -> object:
    raise ValueError("resamples are computed from score tables and not read from a file")


@dataclass(frozen=True)
class Report(Stored):
    """The results of metrics on one benchmark.

    Attributes:
        signature: the settings that hold for all numbers; ``signatures`` adds those of each metric.
        protocol: ``syn`` or ``hum``.
        settings: how it was computed.
        dataset: the checks.
        checks: number of checks.
        concepts: number of concepts, the unit of resampling.
        signatures: per metric.
        results: per metric, direction, group and text model.
        scores: per metric and group, the mean over directions; first those of all checks, best first.
        comparisons: pairwise tests between metrics.
        findings: what the tests show, in words.
        dependences: where the checks are broken down by who generated them, pairs of generators compared.
        missing_scores: per metric, how many rows have no score, by reason.
        position_biases: of pairwise judges, for prompts and for images.
        samples: per (column, value) of a group: (resamples, M, 4) bootstrapped scaled accuracies of
            ``metrics``. They are neither stored nor compared; a report that was read has none.
    """

    description: ClassVar[str] = "a report"

    not_stored: ClassVar[tuple[str, ...]] = ("samples",)

    signature: Signature
    protocol: Protocol
    settings: Settings
    dataset: Dataset
    checks: Count
    concepts: Count
    signatures: Mapping[str, Signature]
    results: tuple[Result, ...]
    scores: tuple[Score, ...]
    comparisons: tuple[Comparison, ...]
    findings: tuple[Finding, ...]
    dependences: tuple[Dependence, ...]
    missing_scores: Mapping[str, Mapping[str, Count]]
    position_biases: tuple[PositionBias, ...] = ()
    samples: Annotated[Mapping[GroupKey, Array], PlainValidator(_refuse)] = field(
        default_factory=dict, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Give every record its signature.

        Raises:
            ValueError: a record is about a metric that has no signature.
        """
        for name in ("results", "scores", "comparisons", "findings", "position_biases"):
            object.__setattr__(self, name, tuple(self._signed(record) for record in getattr(self, name)))
        pairs = (
            replace(pair, differences=tuple(self._signed(difference) for difference in pair.differences))
            for pair in self.dependences
        )
        object.__setattr__(self, "dependences", tuple(self._signed(pair) for pair in pairs))

    def _signed(self, record: _R) -> _R:
        """The record with the signature of its metrics; with the shared one where there are more than two."""
        if record.signature:
            return record
        if unknown := [name for name in record.about if name not in self.signatures]:
            raise ValueError(f"the metric {unknown[0]!r} has no signature")
        if 0 < len(record.about) <= 2:
            return replace(record, signature=" / ".join(str(self.signatures[name]) for name in record.about))
        return replace(record, signature=str(self.signature))

    # ---- Looking up ----

    @cached_property
    def ranking(self) -> tuple[Score, ...]:
        """The scores on all checks, best first."""
        return tuple(score for score in self.scores if score.group is None)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics, best first."""
        return tuple(score.metric for score in self.ranking)

    @cached_property
    def groupings(self) -> dict[str, tuple[str, ...]]:
        """The columns that the results are broken down by, each with its values in order."""
        values: dict[str, dict[str, None]] = {}
        for score in self.scores:
            if score.group is not None and score.group_value is not None:
                values.setdefault(score.group, {})[score.group_value] = None
        return {column: tuple(names) for column, names in values.items()}

    def score(self, metric: str, group: str | None = None, group_value: str | None = None) -> Score:
        """The mean scaled accuracy of one metric, on all checks or on one group.

        Raises:
            InputError: the report has no such metric or group.
        """
        score = self._scores.get((metric, group, group_value))
        if score is None:
            close = get_close_matches(metric, self.metrics, n=1)
            hint = f"; did you mean {close[0]!r}?" if close and metric not in self.metrics else ""
            where = "all checks" if group is None else f"{group} {group_value}"
            raise InputError(f"the report has no score of {metric!r} on {where}{hint}")
        return score

    def find_score(self, metric: str, group: str | None, group_value: str | None) -> Score | None:
        """As :meth:`score`, with None where there is none."""
        return self._scores.get((metric, group, group_value))

    def result(
        self, metric: str, direction: str, group: str | None = None, group_value: str | None = None
    ) -> Result | None:
        """The accuracy in one direction, averaged over the text models; None if there is none."""
        return self._results.get((metric, direction, group, group_value))

    def scaled(
        self, metric: str, direction: str, group: str | None = None, group_value: str | None = None
    ) -> float | None:
        """The scaled accuracy of :meth:`result`; None if there is none."""
        result = self.result(metric, direction, group, group_value)
        return None if result is None else result.scaled

    @cached_property
    def _scores(self) -> dict[tuple[str, str | None, str | None], Score]:
        return {(score.metric, score.group, score.group_value): score for score in self.scores}

    @cached_property
    def _results(self) -> dict[tuple[str, str, str | None, str | None], Result]:
        return {
            (result.metric, result.direction, result.group, result.group_value): result
            for result in self.results
            if result.text_model is None
        }

    # ---- Rank agreement with another benchmark ----

    def agreement(self, other: Report, group: str | None = None) -> list[Agreement]:
        """Compare the rankings of the metrics that two benchmarks share.

        Args:
            other: report of the other benchmark; its concepts are resampled independently.
            group: a column that both are broken down by, to compare value by value; None compares all checks.

        Raises:
            InputError: fewer than two metrics are shared, a report has no resamples, or the reports are of
                different numbers of images per side.
        """
        if not (self.samples and other.samples):
            raise InputError(
                "the agreement of two rankings needs resamples in both reports: evaluate the score tables "
                "with more than 0 resamples"
            )
        images = [report.signature.get("images") for report in (self, other)]
        if self.protocol == other.protocol and images[0] != images[1]:
            raise InputError(
                f"one benchmark has {images[0]} images per side and the other {images[1]}; scaled accuracy "
                "depends on that number: evaluate both with the same number of images (--images)"
            )
        shared = tuple(name for name in self.metrics if name in other.metrics)
        if len(shared) < 2:
            raise InputError("two rankings can be compared when they share at least two metrics")
        keys = [key for key in self.samples if key[0] == group and key in other.samples]
        return [self._agreement(other, key, shared) for key in keys]

    def _agreement(self, other: Report, key: GroupKey, shared: Sequence[str]) -> Agreement:
        observed, resampled = [], []
        for report in (self, other):
            places = [report.metrics.index(name) for name in shared]
            resampled.append(nanmean(report.samples[key][:, places], -1))
            values = [report.score(name, *key).scaled for name in shared]
            observed.append(np.array([[np.nan if value is None else value for value in values]]))
        # Random streams are named after groups, so both benchmarks may have drawn the same numbers: permute.
        order = np.random.default_rng([self.settings.seed, 3]).permutation(len(resampled[1]))
        resampled[1] = resampled[1][order]
        count = min(map(len, resampled))
        taus = statistics.rank_agreement(resampled[0][:count], resampled[1][:count])
        low, high = statistics.percentile_interval(taus, self.settings.level)
        return Agreement(
            group_value=key[1],
            metrics=tuple(shared),
            tau=optional(statistics.rank_agreement(observed[0], observed[1])[0]),
            ci_low=optional(low),
            ci_high=optional(high),
            signature=f"{self.signature} / {other.signature}",
        )
