"""How numbers, directions and sentences are written in every rendering."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from croc.checks.schema import DIRECTIONS
from croc.verdict.published import text_model_agreements
from croc.verdict.records import (
    DIRECTION_NAMES,
    Agreement,
    Dependence,
    DisplayColumn,
    NumberKind,
    Record,
    display_columns,
)
from croc.verdict.report import NO_VALUE, Report
from croc.verdict.statistics import Correction
from croc.wording import DASH, counted, signed

if TYPE_CHECKING:
    from croc.ratings.records import Correlations
    from croc.verdict.ceilings import Ceiling, Ceilings
    from croc.verdict.intervals import Estimate


def interval(low: float | None, high: float | None, digits: int = 2) -> str:
    """An interval as text; empty where there is none."""
    return "" if low is None or high is None else f"[{signed(low, digits)}, {signed(high, digits)}]"


def data_uri(content: bytes, kind: str) -> str:
    """A file as a URI that holds its content.

    Args:
        content: of the file.
        kind: its media type, such as ``image/png``.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def share_cells(estimate: Estimate) -> tuple[str, str]:
    """A share and its interval as text; the interval is empty where there is none."""
    known = estimate.low is not None
    ends = f"[{probability(estimate.low)}, {probability(estimate.high)}]" if known else ""
    return probability(estimate.value), ends


def percent(share: float | None) -> str:
    """A share as text; a dash where there is none. Only a share of 1 is written as 100%."""
    if share is None:
        return DASH
    return f"{share:.0%}" if share == 1 or share < 0.995 else f"{share:.2%}"


def probability(value: float | None) -> str:
    """An accuracy or its chance as text; a dash where there is none."""
    return DASH if value is None else f"{value:.3f}"


def count(value: int | None) -> str:
    """A count as text; a dash where there is none."""
    return DASH if value is None else f"{value:,}"


def p_value(p: float | None) -> str:
    """A p value as text; a dash where there is none."""
    return DASH if p is None else f"{p:.2g}"


_WRITERS: Mapping[NumberKind, Callable[..., str]] = {
    "scaled": signed,
    "share": percent,
    "probability": probability,
    "count": count,
}


def cell(record: Record, name: str) -> str:
    """A field of a record as text, in the format of its column."""
    return _WRITERS[display_columns(type(record))[name].kind](getattr(record, name))


def cell_interval(record: Record, name: str) -> str:
    """The interval of a field of a record as text; empty where there is none."""
    column = display_columns(type(record))[name]
    if column.interval is None:
        return ""
    low, high = (getattr(record, end) for end in column.interval)
    if low is None or high is None:
        return ""
    write = _WRITERS[column.kind]
    return f"[{write(low)}, {write(high)}]"


def further_columns(record: type[Record]) -> dict[str, DisplayColumn]:
    """The columns of a record that tables show after its first one."""
    return dict(list(display_columns(record).items())[1:])


def tone(value: float | None, high: float | None = None) -> str:
    """``bad`` below chance level, with ``high`` only if the interval ends below it; ``good`` from 0.5 on."""
    if value is None:
        return ""
    return "bad" if round(value if high is None else high, 2) < 0 else "good" if value >= 0.5 else ""


def heat(value: float | None) -> str:
    """The step of a scaled accuracy on the colours of tables: ``h0`` (−1) to ``h8`` (1), or nothing."""
    return "" if value is None else f"h{round(4 * (1 + min(1.0, max(-1.0, value))))}"


def group_label(value: Any, column: str = "value") -> str:
    """The name of a group of checks for people; checks without a value of the column are named as such."""
    return f"no {column.replace('_', ' ')}" if value == NO_VALUE else str(value).replace("_", " ")


def values_last(values: Iterable[str]) -> list[str]:
    """The values of a grouping in their order; the group of checks without one is last."""
    return sorted(values, key=lambda value: value == NO_VALUE)


def metric_label(report: Report, metric: str) -> str:
    """The name of a metric; a baseline is marked."""
    return f"{metric} (baseline)" if report.score(metric).baseline else metric


def mode(report: Report) -> str:
    """The mode of a report in words."""
    return "paper mode" if report.settings.paper else "default mode"


def confidence(report: Report) -> str:
    """The confidence level of a report's intervals: ``95%``."""
    return f"{100 * report.settings.level:g}%"


def adjusted_p(correction: Correction) -> str:
    """The heading of adjusted p values: ``p (Holm)``, ``p (FDR)``."""
    return "p (Holm)" if correction == "holm" else "p (FDR)"


def checks_title(report: Report) -> str:
    """What kind of checks a report is about, by where their labels come from."""
    kinds = {
        "certain": "Synthetic checks with certain labels",
        "pseudo": "Pseudo-labelled checks",
        "human": "Human-labelled checks",
    }
    return f"{kinds.get(report.dataset.labels or '', 'Checks')} ({report.protocol})"


def describe_correction(correction: Correction) -> str:
    """How p values were adjusted, as a sentence."""
    method = {"holm": "Holm", "bh": "Benjamini–Hochberg", "by": "Benjamini–Yekutieli"}[correction]
    if correction == "holm":
        return f"P values are adjusted for the number of tests ({method})."
    return f"P values are adjusted by the false discovery rate ({method})."


def describe_comparison(pair: Dependence) -> str:
    """Which two generators are compared, and on which concepts, as text."""
    concepts = (
        f"the same {counted(pair.concepts, 'concept')}, paired"
        if pair.paired
        else "different concepts, not paired"
    )
    return f"{pair.first} against {pair.second}, on {concepts}"


def describe_rank_agreement(pair: Dependence) -> str:
    """Whether two generators rank the metrics alike, as text; empty with a single metric."""
    if pair.tau is None:
        return ""
    tau = signed(pair.tau)
    if pair.tau_low is not None:
        tau += f" {interval(pair.tau_low, pair.tau_high)}"
    return f"Rankings of {counted(len(pair.differences), 'metric')}: Kendall tau-b {tau}"


def text_model_sentences(report: Report) -> list[str]:
    """Whether the text models of a report in paper mode give the same accuracies, as sentences."""
    return [
        f"Kendall tau-b between {pair.first} and {pair.second} over {counted(pair.cells, 'cell')} (metrics × "
        f"directions × groups): {'undefined' if pair.tau is None else signed(pair.tau, 3)}."
        for pair in text_model_agreements(report)
    ]


def agreement_lines(agreements: Sequence[Agreement]) -> list[str]:
    """Rank agreement as sentences."""
    lines = []
    for agreement in agreements:
        group = f" on {agreement.group_value}" if agreement.group_value else ""
        tau_interval = interval(agreement.ci_low, agreement.ci_high)
        tau = (
            "undefined" if agreement.tau is None else f"{agreement.tau:.2f} {tau_interval}".replace("-", "−")
        )
        lines.append(f"Rankings of {counted(len(agreement.metrics), 'metric')}{group}: Kendall tau-b {tau}")
    return lines


POSITION_BIAS = "share of comparisons that choose the same position in both orders"
"""What the tables of position bias show."""

CEILING_COLUMNS = ("same prompts", *DIRECTION_NAMES.values(), "mean", "mean accuracy", "group score")
"""The columns of a table of ceilings after the scorer."""


def ceiling_mean(ceiling: Ceiling) -> str:
    """The mean of a ceiling; ``≤`` before it where it is unknown whether a scorer attains it."""
    return ("" if ceiling.attained else "≤ ") + signed(ceiling.mean)


def ceiling_cells(ceiling: Ceiling) -> list[str]:
    """The cells of ``CEILING_COLUMNS``."""
    return [
        count(ceiling.same_prompts),
        *(signed(ceiling.scaled[direction]) for direction in DIRECTIONS),
        ceiling_mean(ceiling),
        probability(ceiling.mean_accuracy),
        percent(ceiling.group_score),
    ]


def ceiling_lines(found: Ceilings) -> list[str]:
    """What the numbers of a table of ceilings mean, as sentences."""
    lines = [
        f"Words: {found.tokenisation}. Same prompts: checks whose two prompts are the same to the scorer.",
        "A direction is the highest scaled accuracy in that direction alone, the mean the highest one over "
        "the directions together.",
    ]
    if not all(ceiling.attained for ceiling in found.ceilings):
        lines.append("≤: no scorer exceeds this; it is unknown whether one attains it.")
    return lines


_NAMED_GROUPS = 3


def correlation_lines(report: Correlations) -> list[str]:
    """How correlations with ratings were computed, and what was left out, as sentences."""
    compared = {
        "item": "Coefficients compare only images of one prompt; the values are averages over the prompts.",
        "system": "Coefficients compare only images of one system; the values are averages over the systems.",
        "none": "Coefficients compare all images with each other.",
    }
    lines = [compared[report.group], *report.notes]
    for group in report.constant_groups:
        values = f"ratings in {group.human!r}" if group.metric is None else f"scores of {group.metric!r}"
        part = "" if group.by is None else f" ({group.by} {group.by_value})"
        names = ", ".join(group.names[:_NAMED_GROUPS])
        more = ", …" if len(group.names) > _NAMED_GROUPS else ""
        share = f"{len(group.names):,} of {counted(group.total, 'group')}{part}"
        lines.append(
            f"All {values} are equal in {share}, which have only an accuracy with ties: {names}{more}."
        )
    return lines
