"""A report of agreement on the terminal and as a web page. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from croc.rendering.formats import interval, percent
from croc.wording import counted, signed
from croc_hum.agreement.agreement import AgreementReport
from croc_hum.agreement.vote_matrix import Estimate
from croc_hum.votes.votes import describe_excluded

if TYPE_CHECKING:
    from rich.console import RenderableType

ALL = "all"
_MAX_PAIRS = 28
"""Maximum number of pairs of annotators that are shown; the JSON has all of them."""

_DASH = "–"


@dataclass(frozen=True)
class ReportTable:
    """A table of the report.

    Attributes:
        title: its heading.
        caption: how to read it.
        header: names of the columns.
        rows: cells as text.
        names: number of columns, from the left, that contain names rather than numbers.
    """

    title: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int = 1


def make_tables(report: AgreementReport) -> list[ReportTable]:
    """The tables of a report, without empty ones."""
    level = f"{100 * report.settings.level:g} %"
    tables = [
        ReportTable(
            "Krippendorff's alpha",
            f"1 is perfect agreement, 0 is chance level. {level} intervals; {report.settings.unit}s are "
            "resampled.",
            ("task", "category", "level", "items", "votes", "alpha", "interval"),
            _format_rows(
                (a.task, a.category or ALL, a.level, a.items, a.votes, *_estimate(a.alpha))
                for a in report.alphas
            ),
            3,
        ),
        ReportTable(
            "Noise ceiling",
            "Bounds of the mean agreement of the best possible metric with single annotators (Nili et al. "
            "2014): each annotator compared with the others (lower) and with all annotators (upper). They do "
            "not apply to accuracies on majority labels. Unsure votes are left out.",
            ("task", "category", "measure", "annotators", "votes", "lower", "interval", "upper", "interval"),
            _format_rows(
                (
                    *(c.task, c.category or ALL, c.measure, c.annotators, c.votes),
                    *_estimate(c.lower),
                    *_estimate(c.upper),
                )
                for c in report.ceilings
            ),
            3,
        ),
        ReportTable(
            "Error of majority labels",
            "Estimated from the share of equal answers, for annotators who err independently and equally "
            "often on all images. Perfect metric, one like an annotator: expected accuracy on these labels.",
            (
                *("task", "category", "items", "one annotator", "interval", "majority", "interval"),
                *("perfect metric", "one like an annotator"),
            ),
            _format_rows(
                (
                    *(e.task, e.category or ALL, e.items),
                    *_estimate(e.annotator, percent),
                    *_estimate(e.majority, percent),
                    *(percent(e.perfect), percent(e.like_annotator)),
                )
                for e in report.label_errors
            ),
            2,
        ),
        ReportTable(
            "Working time and discarded images",
            f"Discarded: the image does not show its prompt. {_capitalize(report.rule.describe())}.",
            (
                "task",
                "category",
                "images",
                "votes",
                "hours",
                "seconds per vote",
                "kept",
                "discarded",
                "undecided",
                "discard rate",
                f"{level} interval",
            ),
            _format_rows(
                (
                    *(g.task, g.category or ALL, g.items, g.votes, _decimal(g.hours), _decimal(g.seconds, 1)),
                    *(g.kept, g.discarded, g.undecided, percent(g.discard.value), _ends(g.discard)),
                )
                for g in report.groups
            ),
            2,
        ),
        ReportTable(
            "Annotators",
            "Agreement with the majority of the others. False no, false yes: estimated probability "
            "(Dawid–Skene) of “no” for an image that shows its prompt, and of “yes” for one that does not.",
            (
                "annotator",
                "task",
                "votes",
                "hours",
                "median seconds",
                "agreement",
                "false no",
                "false yes",
                "attention checks",
            ),
            _format_rows(
                (
                    *(
                        a.annotator,
                        a.task,
                        a.votes,
                        _decimal(a.hours),
                        _decimal(a.median_s, 1),
                        percent(a.others),
                    ),
                    *map(percent, a.errors),
                    f"{a.attention[0]} of {a.attention[1]}" if a.attention[1] else _DASH,
                )
                for a in report.annotators
            ),
            2,
        ),
        ReportTable(
            "Agreement with the others, by category",
            "Share of an annotator's votes that are equal to the majority of the others.",
            ("annotator", "task", *_list_categories(report)),
            _format_rows(
                (
                    a.annotator,
                    a.task,
                    *(percent(a.by_category.get(name, (None, 0))[0]) for name in _list_categories(report)),
                )
                for a in report.annotators
                if a.by_category
            ),
            2,
        ),
        ReportTable(
            "Pairs of annotators",
            "Kappa: Cohen's kappa. Weighted: with quadratic weights."
            + (
                f" The first {_MAX_PAIRS} of {len(report.pairs)} pairs."
                if len(report.pairs) > _MAX_PAIRS
                else ""
            ),
            ("first", "second", "task", "items", "equal answers", "kappa", "weighted", "tau-b"),
            _format_rows(
                (
                    p.first,
                    p.second,
                    p.task,
                    p.items,
                    percent(p.agreement),
                    *map(_coefficient, (p.kappa, p.weighted, p.tau)),
                )
                for p in report.pairs[:_MAX_PAIRS]
            ),
            3,
        ),
        *_make_noise_table(report),
        *_make_ranking_tables(report),
    ]
    return [table for table in tables if table.rows]


def _make_noise_table(report: AgreementReport) -> Iterable[ReportTable]:
    if report.noise is None:
        return
    yield ReportTable(
        "Label noise by property",
        "Share of the decided images that do not show their prompt, with its Wilson interval.",
        ("property", "checks in the build", "images", "wrong", "undecided", "share", "interval"),
        _format_rows(
            (
                *(noise.property or "none", noise.checks, noise.images, noise.wrong, noise.undecided),
                *_estimate(Estimate(noise.share, noise.low, noise.high), percent),
            )
            for noise in report.noise.properties
        ),
    )


def _make_ranking_tables(report: AgreementReport) -> Iterable[ReportTable]:
    rankings = report.rankings
    if rankings is None:
        return
    names = [ranked.metric for ranked in rankings.by_rule.places]
    rows = (rankings.by_rule, *rankings.by_annotator)
    cells = [{ranked.metric: ranked for ranked in ranking.places} for ranking in rows]
    yield ReportTable(
        "Ranking of metrics by annotator",
        "Mean scaled accuracy on the images that show their prompt, by the votes of one annotator or of all. "
        "Kendall's tau-b with the ranking by all votes.",
        ("votes of", "checks", "images", *names, "first", "tau-b", "interval"),
        _format_rows(
            (
                ranking.annotator or "all, by the rule",
                *(ranking.checks, ranking.images),
                *(signed(places[name].scaled) if name in places else _DASH for name in names),
                *(ranking.places[0].metric, _coefficient(ranking.tau), interval(ranking.low, ranking.high)),
            )
            for ranking, places in zip(rows, cells, strict=True)
        ),
    )
    yield ReportTable(
        "Effect of wrong labels",
        f"Accuracy in the text directions. {rankings.wrong:.1%} of the decided images do not show their "
        "prompt. Corrected: the accuracy with unverified labels, corrected for this; and that with labels by "
        f"votes, if {percent(rankings.remaining)} of the kept images do not show their prompt (Dawid–Skene).",
        ("metric", "unverified labels", "corrected", "labels by votes", "corrected"),
        _format_rows(
            (
                row.metric,
                *(_decimal(row.claimed, 3), f"{_decimal(row.low, 3)} … {_decimal(row.high, 3)}"),
                *(
                    _decimal(row.verified, 3),
                    f"{_decimal(row.verified_low, 3)} … {_decimal(row.verified_high, 3)}",
                ),
            )
            for row in rankings.corrected
        ),
    )


def summarize(report: AgreementReport) -> list[str]:
    """The main results in sentences."""
    lines = describe_excluded(report.left_out) + [found.describe() for found in report.dependent]
    lines += [] if report.noise is None else report.noise.lines()
    return lines + ([] if report.rankings is None else report.rankings.lines())


def terminal(report: AgreementReport) -> list[RenderableType]:
    """The report as rich renderables."""
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = []
    for part in make_tables(report):
        table = Table(
            title=Text(part.title), title_justify="left", caption=Text(part.caption), caption_justify="left"
        )
        for index, name in enumerate(part.header):
            table.add_column(Text(name), justify="left" if index < part.names else "right", overflow="fold")
        for row in part.rows:
            table.add_row(*map(Text, row))
        parts.append(table)
    parts += [Text(f"• {line}") for line in summarize(report)]
    return parts


def html(report: AgreementReport) -> str:
    """The report as one self-contained web page for light and dark themes; all text is escaped."""
    from jinja2 import Environment, PackageLoader, select_autoescape
    from jinja2.loaders import ChoiceLoader

    loader = ChoiceLoader(
        [PackageLoader("croc_hum.agreement", "templates"), PackageLoader("croc.rendering", "templates")]
    )
    environment = Environment(loader=loader, autoescape=select_autoescape(["html"]), trim_blocks=True)
    votes = sum(group.votes for group in report.groups if group.category is None)
    annotators = len({annotator.annotator for annotator in report.annotators})
    return environment.get_template("agreement.html").render(
        tables=make_tables(report),
        lines=summarize(report),
        lead=f"{counted(votes, 'vote')} of {counted(annotators, 'annotator')}. "
        f"{_capitalize(report.rule.describe())}.",
        signature=str(report.signature),
    )


def _format_rows(rows: Iterable[Sequence[object]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(map(str, row)) for row in rows)


def _list_categories(report: AgreementReport) -> list[str]:
    return sorted({name for annotator in report.annotators for name in annotator.by_category})


def _estimate(estimate: Estimate, show: Callable[[float | None], str] | None = None) -> tuple[str, str]:
    show = show or _coefficient
    ends = "" if estimate.low is None else f"[{show(estimate.low)}, {show(estimate.high)}]"
    return show(estimate.value), ends


def _ends(estimate: Estimate) -> str:
    return _estimate(estimate, percent)[1]


def _coefficient(value: float | None) -> str:
    return _DASH if value is None else f"{value:.3f}".replace("-", "−")


def _decimal(value: float | None, digits: int = 2) -> str:
    return _DASH if value is None else f"{value:.{digits}f}"


def _capitalize(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
