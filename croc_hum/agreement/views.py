"""A report of agreement for people: on the terminal and as a page. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from croc.rendering.formats import interval, number, percent
from croc_hum.agreement.agreement import AgreementReport, Estimate
from croc_hum.votes.votes import left_out_words

if TYPE_CHECKING:
    from rich.console import RenderableType

ALL = "all"
_PAIRS = 28
"""Pairs of annotators that are shown one by one; the JSON has them all."""

_DASH = "–"


@dataclass(frozen=True)
class Sheet:
    """A table to show.

    Attributes:
        title: what it answers.
        caption: how to read it.
        header: names of the columns.
        rows: cells as text.
        names: how many columns from the left hold names rather than numbers.
    """

    title: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int = 1


def sheets(report: AgreementReport) -> list[Sheet]:
    """The tables of a report, those that hold nothing left out."""
    level = f"{100 * report.settings.level:g} %"
    found = [
        Sheet(
            "Krippendorff's alpha",
            f"1 is perfect, 0 what chance gives; {level} interval, {report.settings.unit}s resampled.",
            ("task", "category", "level", "items", "votes", "alpha", "interval"),
            _rows(
                (a.task, a.category or ALL, a.level, a.items, a.votes, *_estimate(a.alpha))
                for a in report.alphas
            ),
            3,
        ),
        Sheet(
            "What one person reaches against the others",
            "Read a metric's number against this: people agree with each other no better.",
            ("task", "category", "measure", "people", "votes", "ceiling", "interval"),
            _rows(
                (c.task, c.category or ALL, c.measure, c.annotators, c.votes, *_estimate(c.ceiling))
                for c in report.ceilings
            ),
            3,
        ),
        Sheet(
            "Hours and discards",
            f"Discarded: judged not to show its prompt. {_upper(report.rule.words())}.",
            (
                "task",
                "category",
                "images",
                "votes",
                "hours",
                "s a vote",
                "kept",
                "discarded",
                "undecided",
                "rate",
                level,
            ),
            _rows(
                (
                    *(g.task, g.category or ALL, g.items, g.votes, _decimal(g.hours), _decimal(g.seconds, 1)),
                    *(g.kept, g.discarded, g.undecided, percent(g.discard.value), _ends(g.discard)),
                )
                for g in report.groups
            ),
            2,
        ),
        Sheet(
            "Annotators",
            "Agreement is with the majority of the others. Misses, inventions: probability (Dawid–Skene) of "
            "“no” where the image shows its prompt, and of “yes” where it does not.",
            (
                "annotator",
                "task",
                "votes",
                "hours",
                "median s",
                "agreement",
                "misses",
                "inventions",
                "attention",
            ),
            _rows(
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
        Sheet(
            "Agreement with the others, by category",
            "Share of an annotator's votes that are those of the majority of the others.",
            ("annotator", "task", *_categories(report)),
            _rows(
                (
                    a.annotator,
                    a.task,
                    *(percent(a.by_category.get(name, (None, 0))[0]) for name in _categories(report)),
                )
                for a in report.annotators
                if a.by_category
            ),
            2,
        ),
        Sheet(
            "Pairs of annotators",
            "Kappa is Cohen's; weighted has quadratic weights."
            + (f" The first {_PAIRS} of {len(report.pairs)}." if len(report.pairs) > _PAIRS else ""),
            ("first", "second", "task", "items", "equal", "kappa", "weighted", "tau-b"),
            _rows(
                (
                    p.first,
                    p.second,
                    p.task,
                    p.items,
                    percent(p.agreement),
                    *map(_coefficient, (p.kappa, p.weighted, p.tau)),
                )
                for p in report.pairs[:_PAIRS]
            ),
            3,
        ),
        *_noise(report),
        *_rankings(report),
    ]
    return [sheet for sheet in found if sheet.rows]


def _noise(report: AgreementReport) -> Iterable[Sheet]:
    if report.noise is None:
        return
    yield Sheet(
        "Label noise by property",
        "Share of the decided images that do not show their prompt, with Wilson's interval.",
        ("property", "checks there", "images", "wrong", "undecided", "share", "interval"),
        _rows(
            (
                *(each.property or "none", each.checks, each.images, each.wrong, each.undecided),
                *_estimate(Estimate(each.share, each.low, each.high), percent),
            )
            for each in report.noise.properties
        ),
    )


def _rankings(report: AgreementReport) -> Iterable[Sheet]:
    found = report.rankings
    if found is None:
        return
    names = [place.metric for place in found.by_rule.places]
    every = (found.by_rule, *found.by_annotator)
    cells = [{place.metric: place for place in each.places} for each in every]
    yield Sheet(
        "The verdict by annotator",
        "Mean scaled accuracy on the images that one says are right; tau-b to the ranking by the rule.",
        ("images of", "checks", "images", *names, "first", "tau-b", "interval"),
        _rows(
            (
                each.annotator or "the rule",
                *(each.checks, each.images),
                *(number(places[name].scaled) if name in places else _DASH for name in names),
                *(each.places[0].metric, _coefficient(each.tau), interval(each.low, each.high)),
            )
            for each, places in zip(every, cells, strict=True)
        ),
    )
    yield Sheet(
        "What wrong labels do to a metric",
        f"Accuracy in the text directions. {found.wrong:.1%} of the judged images do not show their prompt; "
        "corrected is what the claimed accuracy is worth then.",
        ("metric", "labels as claimed", "corrected", "labels by people"),
        _rows(
            (
                each.metric,
                *(_decimal(each.claimed, 3), f"{_decimal(each.low, 3)} … {_decimal(each.high, 3)}"),
                _decimal(each.verified, 3),
            )
            for each in found.corrected
        ),
    )


def lines(report: AgreementReport) -> list[str]:
    """What the parts of a report say in words."""
    said = left_out_words(report.left_out) + ([] if report.noise is None else report.noise.lines())
    return said + ([] if report.rankings is None else report.rankings.lines())


def terminal(report: AgreementReport) -> list[RenderableType]:
    """The report as rich renderables."""
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = []
    for sheet in sheets(report):
        table = Table(
            title=Text(sheet.title), title_justify="left", caption=Text(sheet.caption), caption_justify="left"
        )
        for place, name in enumerate(sheet.header):
            table.add_column(Text(name), justify="left" if place < sheet.names else "right", overflow="fold")
        for row in sheet.rows:
            table.add_row(*map(Text, row))
        parts.append(table)
    parts += [Text(f"• {line}") for line in lines(report)]
    return [*parts, Text(str(report.signature), style="dim")]


def html(report: AgreementReport) -> str:
    """The report as one self-contained page, light and dark; all text is escaped."""
    from jinja2 import Environment, PackageLoader, select_autoescape
    from jinja2.loaders import ChoiceLoader

    loader = ChoiceLoader(
        [PackageLoader("croc_hum.agreement", "templates"), PackageLoader("croc.rendering", "templates")]
    )
    environment = Environment(loader=loader, autoescape=select_autoescape(["html"]), trim_blocks=True)
    votes = sum(each.votes for each in report.groups if each.category is None)
    people = len({each.annotator for each in report.annotators})
    return environment.get_template("agreement.html").render(
        sheets=sheets(report),
        lines=lines(report),
        lead=f"{votes} votes of {people} annotators. {_upper(report.rule.words())}.",
        signature=str(report.signature),
    )


def _rows(rows: Iterable[Sequence[object]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(map(str, row)) for row in rows)


def _categories(report: AgreementReport) -> list[str]:
    return sorted({name for each in report.annotators for name in each.by_category})


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


def _upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
