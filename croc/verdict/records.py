"""The records of a report: one type for each kind of number.

A record is the same thing in memory, in JSON, in a results file, on a leaderboard, on a card and on a page.
Records are frozen dataclasses, not pydantic models, because a report creates tens of thousands of them and
its own computation needs no validation. Their annotations hold the ranges, so that pydantic validates what is
read from outside (``Report.from_dict``, ``croc.results.files.read_result``): unknown keys, values out of
range, NaN and texts in place of numbers are refused.

A field whose annotation holds a :class:`DisplayColumn` is shown in the tables of all renderings. A field with
the default None may be absent from a file that an earlier version wrote.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from croc.checks.schema import DIRECTIONS, Direction
from croc.errors import InputError
from croc.storage.text_files import first_problem
from croc.tables.signature import Signature

DIRECTION_NAMES: Mapping[str, str] = {name: name.replace("_", " ") for name in DIRECTIONS}
"""The directions as people read them: ``forward text``."""

Text = Annotated[str, Field(max_length=2_000)]
Share = Annotated[float, Field(ge=0, le=1)] | None
Scaled = Annotated[float, Field(ge=-1, le=1)] | None
Distance = Annotated[float, Field(ge=-2, le=2)] | None
Count = Annotated[int, Field(ge=0)]
Rank = Annotated[int, Field(ge=1)] | None

FEW_CHECKS = 10
"""A group of fewer checks is shown in grey."""

NumberKind = Literal["scaled", "share", "probability", "count"]
"""How a number is written: ``+0.25``, ``25%``, ``0.250`` or ``25``."""


@dataclass(frozen=True)
class DisplayColumn:
    """How tables show a field of a record.

    Attributes:
        label: the heading.
        kind: how the values are written.
        interval: the two fields with the ends of its interval; None where it has none.
    """

    label: str
    kind: NumberKind
    interval: tuple[str, str] | None = None


@dataclass(frozen=True)
class Stored:
    """A dataclass that is stored as a JSON object; read strictly, and no key may be unknown."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "allow_inf_nan": False, "strict": True}
    not_stored: ClassVar[tuple[str, ...]] = ()
    description: ClassVar[str] = "a record"

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values; what is unknown is null."""
        names = (item.name for item in fields(self))
        return {name: plain(getattr(self, name)) for name in names if name not in self.not_stored}

    def to_json(self) -> str:
        """:meth:`to_dict` as text; NaN never occurs in it."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1, allow_nan=False)

    @classmethod
    def from_dict(cls, content: object) -> Self:
        """Read what :meth:`to_dict` returned.

        Raises:
            InputError: a key is unknown or absent, or a value is not of its kind; the first one is named.
        """
        try:
            adapter: TypeAdapter[Self] = _adapter(cls)  # type: ignore[arg-type]  # classes are hashable
            return adapter.validate_json(json.dumps(content))
        except (ValueError, TypeError) as problem:
            raise InputError(f"not {cls.description}: {first_problem(problem)}") from None


@dataclass(frozen=True)
class Record(Stored):
    """One or more numbers about metrics.

    Attributes:
        signature: the settings under which the numbers hold. A :class:`croc.verdict.report.Report` fills it
            in; JSON holds each signature once, under ``signatures``.
    """

    not_stored: ClassVar[tuple[str, ...]] = ("signature",)

    signature: str = field(default="", repr=False, kw_only=True)

    @property
    def about(self) -> tuple[str, ...]:
        """The metrics that the record is about."""
        raise NotImplementedError


@dataclass(frozen=True)
class Result(Record):
    """Accuracy of one metric in one direction on one group of checks.

    Attributes:
        metric: name of the metric, as in its score table.
        direction: one of ``DIRECTIONS``.
        group: column that the checks are grouped by; None for all checks.
        group_value: value of that column; None for all checks.
        text_model: author of the prompts; None is the average over the text models.
        accuracy: mean over the checks, 0…1.
        scaled: accuracy relative to chance, −1…1.
        chance: accuracy at chance level, 0…1.
        n: number of checks with a value in this direction.
        ties: share of tied comparisons.
        coverage: share of the scores that the direction reads and that are not missing.
        ci_low: lower end of the interval of ``accuracy``; None with fewer than five concepts.
        ci_high: upper end.
        scaled_ci_low: lower end of the interval of ``scaled``.
        scaled_ci_high: upper end.
    """

    metric: Text
    direction: Direction
    group: Text | None
    group_value: Text | None
    text_model: Text | None
    accuracy: Annotated[Share, DisplayColumn("accuracy", "probability", ("ci_low", "ci_high"))]
    scaled: Annotated[Scaled, DisplayColumn("scaled accuracy", "scaled", ("scaled_ci_low", "scaled_ci_high"))]
    chance: Annotated[Share, DisplayColumn("chance", "probability")]
    n: Annotated[Count, DisplayColumn("checks", "count")]
    ties: Annotated[Share, DisplayColumn("ties", "share")]
    coverage: Annotated[Share, DisplayColumn("coverage", "share")]
    ci_low: Share
    ci_high: Share
    scaled_ci_low: Scaled
    scaled_ci_high: Scaled

    @property
    def about(self) -> tuple[str, ...]:
        """The metric."""
        return (self.metric,)


@dataclass(frozen=True)
class Score(Record):
    """Mean scaled accuracy over the directions of one metric on one group: the number that ranks metrics.

    Attributes:
        metric: name of the metric, as in its score table.
        group: column that the checks are grouped by; None for all checks.
        group_value: value of that column; None for all checks.
        scaled: ``micro`` or ``macro``, as the settings say; it ranks the metrics.
        ci_low: lower end of its interval; None with fewer than five concepts.
        ci_high: upper end.
        n: number of checks with a value in at least one direction.
        group_score: share of checks that passed in all directions; None if unknown.
        ties: share of tied comparisons, mean over the directions.
        coverage: share of the scores that are read and not missing, over all directions.
        rank: position in the ranking on all checks, from 1; metrics of one rank are statistically tied.
        baseline: the metric ignores the image, the prompt or both.
        mean_accuracy: mean of ``accuracy`` over the directions that have a value, 0…1.
        micro: mean over the directions that have a value, the checks pooled, −1…1.
        macro: mean over the directions and the values of the first column that results are broken down by;
            None where there is no such column, and for groups.
        text_score: share of checks that passed in both text directions, as in Winoground; None if unknown.
        image_score: share of checks that passed in both image directions.
    """

    metric: Text
    group: Text | None
    group_value: Text | None
    scaled: Annotated[Scaled, DisplayColumn("mean", "scaled", ("ci_low", "ci_high"))]
    ci_low: Scaled
    ci_high: Scaled
    n: Annotated[Count, DisplayColumn("checks", "count")]
    group_score: Annotated[Share, DisplayColumn("group score", "share")]
    ties: Annotated[Share, DisplayColumn("ties", "share")]
    coverage: Annotated[Share, DisplayColumn("coverage", "share")]
    rank: Rank
    baseline: bool
    mean_accuracy: Share = None
    micro: Scaled = None
    macro: Scaled = None
    text_score: Share = None
    image_score: Share = None

    @property
    def about(self) -> tuple[str, ...]:
        """The metric."""
        return (self.metric,)

    @property
    def of_few_checks(self) -> bool:
        """Whether it is of too few checks to be named among the best or worst; tables show it in grey."""
        return self.n < FEW_CHECKS


@dataclass(frozen=True)
class Comparison(Record):
    """Paired test between two metrics on their mean scaled accuracy.

    Attributes:
        better: the metric with the higher score.
        worse: the other one.
        group: column that the checks are grouped by; None for all checks.
        group_value: value of that column; None for all checks.
        difference: of the two scores, not negative.
        p: two-sided, from exchanging the two metrics concept by concept.
        p_adjusted: adjusted over all comparisons of the same grouping, see
            :func:`croc.verdict.statistics.adjust`.
        minimum_detectable_difference: the smallest true difference that the test detects with probability 0.8
            (level 0.05, adjusted over the same comparisons as ``p_adjusted``); None where there are too few
            concepts for any difference.
        ci_low: lower end of the interval of ``difference``; None with fewer than five concepts.
        ci_high: upper end.
    """

    better: Text
    worse: Text
    group: Text | None
    group_value: Text | None
    difference: Annotated[float, Field(ge=0, le=2)]
    p: Annotated[float, Field(ge=0, le=1)]
    p_adjusted: Annotated[float, Field(ge=0, le=1)]
    minimum_detectable_difference: Annotated[float, Field(ge=0)] | None
    ci_low: Distance = None
    ci_high: Distance = None

    @property
    def about(self) -> tuple[str, ...]:
        """Both metrics."""
        return (self.better, self.worse)


Compared = Literal["prompts", "images"]


@dataclass(frozen=True)
class PositionBias(Record):
    """How often the answers of a pairwise judge follow the position of what it compares.

    Attributes:
        metric: name of the judge, as in its table.
        compared: ``prompts`` (text directions) or ``images`` (image directions).
        comparisons: number of them that were answered in both orders.
        bias: share of comparisons that choose the same position in both orders, 0…1; 0 is a judge whose
            choice never depends on the order.
        ci_low: lower end of its interval; None with fewer than five concepts.
        ci_high: upper end.
        first: share of comparisons that choose what stands first in both orders; the rest of ``bias`` chooses
            what stands second.
    """

    metric: Text
    compared: Compared
    comparisons: Annotated[Count, DisplayColumn("comparisons", "count")]
    bias: Annotated[Share, DisplayColumn("position bias", "share", ("ci_low", "ci_high"))]
    ci_low: Share
    ci_high: Share
    first: Annotated[Share, DisplayColumn("always the first", "share")]

    @property
    def about(self) -> tuple[str, ...]:
        """The judge."""
        return (self.metric,)


@dataclass(frozen=True)
class Finding(Record):
    """A sentence that rests on a test, or on a count.

    Attributes:
        kind: machine-readable name of the finding.
        text: one sentence.
        metrics: the metrics it is about.
        p: adjusted p value of the test behind it; None for a count.
    """

    kind: Text
    text: Text
    metrics: tuple[Text, ...]
    p: Share

    @property
    def about(self) -> tuple[str, ...]:
        """The metrics."""
        return self.metrics


@dataclass(frozen=True)
class Agreement(Record):
    """How far two benchmarks rank the same metrics alike.

    Attributes:
        group_value: the category (or other group) that both were compared on; None for all checks.
        metrics: the metrics that both rank.
        tau: Kendall's tau-b of the two rankings, −1…1.
        ci_low: lower end of its interval, the concepts of both benchmarks resampled.
        ci_high: upper end.
    """

    group_value: Text | None
    metrics: tuple[Text, ...]
    tau: Scaled
    ci_low: Scaled
    ci_high: Scaled

    @property
    def about(self) -> tuple[str, ...]:
        """The metrics."""
        return self.metrics


@dataclass(frozen=True)
class Difference(Record):
    """Difference between the scores of one metric on the checks of two generators.

    Attributes:
        metric: name of the metric, as in its score table.
        first: mean scaled accuracy on the first generator's checks.
        second: on the second's.
        difference: ``first − second``.
        ci_low: lower end of its interval; None with fewer than five concepts.
        ci_high: upper end.
        p: two-sided; from exchanging the two generators concept by concept, or from the bootstrap where they
            share no concepts.
        p_adjusted: adjusted over all pairs and metrics of the column.
    """

    metric: Text
    first: Scaled
    second: Scaled
    difference: Distance
    ci_low: Distance
    ci_high: Distance
    p: Share
    p_adjusted: Share

    @property
    def about(self) -> tuple[str, ...]:
        """The metric."""
        return (self.metric,)


@dataclass(frozen=True)
class Dependence(Record):
    """How far the results depend on which of two generators made the checks.

    Attributes:
        column: ``text_model``, ``image_model`` or ``style``.
        first: one generator.
        second: the other one.
        paired: whether only concepts count that both have, resampled together.
        concepts: how many they share; where unpaired, how many the one with fewer has.
        tau: Kendall's tau-b between the two rankings of the metrics, −1…1; None with fewer than two.
        tau_low: lower end of its interval.
        tau_high: upper end.
        differences: per metric.
    """

    column: Text
    first: Text
    second: Text
    paired: bool
    concepts: Count
    tau: Scaled
    tau_low: Scaled
    tau_high: Scaled
    differences: tuple[Difference, ...]

    @property
    def about(self) -> tuple[str, ...]:
        """The metrics."""
        return tuple(difference.metric for difference in self.differences)


def display_columns(record: type[Record]) -> Mapping[str, DisplayColumn]:
    """The fields of a record that tables show, in order."""
    cached: Mapping[str, DisplayColumn] = _display_columns(record)  # type: ignore[arg-type]  # dataclasses are hashable
    return cached


@cache
def _display_columns(record: type[Record]) -> Mapping[str, DisplayColumn]:
    hints = get_type_hints(record, include_extras=True)
    return {
        item.name: column
        for item in fields(record)
        for column in getattr(hints[item.name], "__metadata__", ())
        if isinstance(column, DisplayColumn)
    }


def optional(value: Any) -> float | None:
    """A number as records hold it: None in place of NaN."""
    number = float(value)
    return None if number != number else number


def plain(value: Any) -> Any:
    """A record, or a collection of records, as JSON values."""
    if isinstance(value, Stored):
        return value.to_dict()
    if isinstance(value, Signature):
        return str(value)
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [plain(entry) for entry in value]
    return value


def check_fields(stored: Stored, **labels: str) -> None:
    """Check the values of a record that was made in Python, as ``from_dict`` does for what is read.

    Args:
        stored: the record.
        labels: names of fields in messages, where these differ.

    Raises:
        InputError: a value is not of its kind or out of range; the first one is named.
    """
    for name, adapter in _field_adapters(type(stored)).items():  # type: ignore[arg-type]  # as in _adapter
        value = getattr(stored, name)
        try:
            adapter.validate_python(value, strict=True)
        except ValidationError as problem:
            message = problem.errors(include_url=False, include_input=False)[0]["msg"]
            raise InputError(
                f"{labels.get(name, name)}={value!r:.60}: {message[:1].lower()}{message[1:]}"
            ) from None


@cache
def _field_adapters(stored: type[Stored]) -> dict[str, TypeAdapter[Any]]:
    hints = get_type_hints(stored, include_extras=True)
    return {item.name: TypeAdapter(hints[item.name]) for item in fields(stored)}


@cache
def _adapter(stored: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(stored)
