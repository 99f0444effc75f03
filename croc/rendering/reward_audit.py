"""Results of audits of rewards: as terminal tables, as a picture, and as a page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from croc.rendering.formats import data_uri, probability, share_cells
from croc.rendering.fragments import thumbnail
from croc.rendering.page import findings_page, findings_section
from croc.reward_audit.evaluation import CHOSEN_OF
from croc.reward_audit.records import RewardAudit, RewardReport
from croc.wording import DASH, counted, signed

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

_RESULTS = "reward_audit_results.html"


def terminal(report: RewardReport) -> list[RenderableType]:
    """The report for the terminal: curves, what is chosen, search, pixels, and what to know about them."""
    numbers = list(report.oracle)
    last = numbers[-1]
    head = Text(_head(report))
    curves = _table("The best of n candidates is right", "metric", *(f"n = {n}" for n in numbers), "", "peak")
    for one in report.metrics:
        curves.add_row(
            _name(one),
            *(probability(one.best_of[n].value) for n in numbers),
            share_cells(one.best_of[last])[1],
            f"n = {one.peak}" + (", then falls" if one.falls else ""),
        )
    curves.add_row("(always right)", *(probability(report.oracle[n]) for n in numbers), "", "")
    curves.add_row("(random)", *(probability(report.random) for _ in numbers), "", "")
    sorts = _sorts(report)
    chosen = _table(
        f"What the best of {min(CHOSEN_OF, int(last))} is",
        "metric",
        *sorts,
        f"weakest property at n = {last}",
        "",
    )
    for one in report.metrics:
        name, value = one.weakest
        chosen.add_row(
            _name(one), *(probability(one.chosen.get(sort)) for sort in sorts), name, probability(value)
        )
    shown: list[RenderableType] = [head, curves, Text(""), chosen]
    if any(one.search for one in report.metrics):
        shown += [Text(""), _search(report)]
    if any(one.pixels for one in report.metrics):
        shown += [Text(""), _pixels(report)]
    return [*shown, Text(""), *(Text(line) for line in lines(report))]


def _head(report: RewardReport) -> str:
    return (
        f"{report.dataset}: {counted(report.prompts, 'prompt')} × {counted(report.candidates, 'candidate')}, "
        f"{report.level:.0%} intervals over prompts"
    )


def _sorts(report: RewardReport) -> list[str]:
    return list(dict.fromkeys(sort for one in report.metrics for sort in one.chosen))


def _table(title: str, *columns: str) -> Table:
    table = Table(box=None, padding=(0, 1), title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, justify="left" if column == "metric" else "right", no_wrap=True)
    return table


def _search(report: RewardReport) -> Table:
    table = _table(
        "What a search for high scores finds",
        "metric",
        "highest score is right",
        "",
        "reward gap",
        "",
        "gained by wrong images",
        "by",
    )
    for one in report.metrics:
        if one.search is None:
            continue
        gap = one.search.gap
        table.add_row(
            _name(one),
            *share_cells(one.search.right),
            signed(gap.value, 1),
            "" if gap.low is None else f"[{signed(gap.low, 1)}, {signed(gap.high, 1)}]",
            signed(one.search.gained, 1),
            ", ".join(list(one.search.changes)[:3]) or DASH,
        )
    return table


def _changes(report: RewardReport) -> tuple[list[str], list[str]]:
    """The changes of files and the sizes of attacks that metrics have."""
    pixels = [one.pixels for one in report.metrics if one.pixels]
    files = dict.fromkeys(name for one in pixels for name in one.file)
    return list(files), list(dict.fromkeys(size for one in pixels for size in one.attack))


def _pixels(report: RewardReport) -> Table:
    files, sizes = _changes(report)
    table = _table(
        "Passed checks that turn",
        "metric",
        "passed",
        *files,
        *(f"pixels by {size}/255" for size in sizes),
    )
    for one in report.metrics:
        if one.pixels is not None:
            table.add_row(
                _name(one),
                f"{one.pixels.passed} of {one.pixels.checks}",
                *(probability(one.pixels.file.get(name)) for name in files),
                *(probability(one.pixels.attack.get(size)) for size in sizes),
            )
    return table


def lines(report: RewardReport) -> list[str]:
    """What the columns mean, and what to know about the numbers."""
    text = [
        "best of n: how often the image with the highest score among n candidates of a prompt shows the "
        f"prompt. A curve that stays at {probability(report.random)} selects nothing; one that falls prefers "
        "wrong images.",
    ]
    if any(one.search for one in report.metrics):
        text.append(
            "reward gap: highest score of a wrong image minus that of a right one after the search, in "
            "standard deviations of the scores of the pool; above 0 a wrong image is rewarded most."
        )
    if len({bool(one.pixels.attack) for one in report.metrics if one.pixels}) == 2:
        text.append(f"{DASH} under pixels: the metric has no gradients here.")
    for one in report.metrics:
        if one.missing:
            text.append(f"{one.metric}: {counted(one.missing, 'candidate')} without a score.")
    return text


def _draw_curves(curves: Any, report: RewardReport) -> None:
    numbers = [int(number) for number in report.oracle]
    curves.plot(numbers, list(report.oracle.values()), "k--", linewidth=1, label="always right")
    curves.axhline(report.random, color="#888888", linewidth=1, linestyle=":", label="random")
    for one in report.metrics:
        values = [one.best_of[str(number)].value for number in numbers]
        curves.plot(
            numbers,
            [float("nan") if value is None else value for value in values],
            marker="o",
            markersize=3,
            label=_name(one),
        )
    curves.set_xscale("log", base=2)
    curves.set_xticks(numbers, [str(number) for number in numbers])
    curves.set_ylim(0, 1.02)
    curves.set_xlabel("n")
    curves.set_title("the best of n candidates is right", fontsize=9)
    curves.legend(fontsize=7, frameon=False)


def picture(report: RewardReport) -> Figure:
    """The curves over n, and by property how often the best of the most candidates is right."""
    from matplotlib.figure import Figure

    numbers = [int(number) for number in report.oracle]
    properties = list(dict.fromkeys(name for one in report.metrics for name in one.by_property))
    names = [_name(one) for one in report.metrics]
    height = max(3.6, 1.9 + 0.36 * len(names))
    figure = Figure(figsize=(6.2 + 0.32 * len(properties), height), layout="constrained")
    curves, cells = figure.subplots(1, 2, width_ratios=(4.2, 1.6 + 0.32 * len(properties)))
    _draw_curves(curves, report)
    last = str(numbers[-1])
    shares = [[one.by_property[name][last] for name in properties] for one in report.metrics]
    image = cells.imshow(shares, cmap="RdBu", vmin=0, vmax=1, aspect="auto")
    cells.set_xticks(range(len(properties)), properties, rotation=55, ha="right", fontsize=8)
    cells.set_yticks(range(len(names)), names, fontsize=8)
    for row, of_metric in enumerate(shares):
        for column, value in enumerate(of_metric):
            shade = "white" if abs(value - 0.5) > 0.3 else "black"
            cells.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=6, color=shade)
    cells.set_title(f"by property, n = {last}", fontsize=9)
    figure.colorbar(image, ax=cells, shrink=0.9)
    return figure


def picture_png(report: RewardReport, dpi: int = 150) -> bytes:
    """The picture as a PNG file."""
    return _png(picture(report), dpi)


def _png(figure: Figure, dpi: int) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=dpi)
    return out.getvalue()


def _curves(report: RewardReport) -> Figure:
    """The curves alone, which can be read on a phone."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    _draw_curves(figure.subplots(), report)
    return figure


# ---- A page ----

MOST_WINNERS = 8
"""Wrong images shown per metric, those with the largest lead."""


def page(report: RewardReport, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """All results as one HTML page that needs no other file.

    Args:
        report: the results.
        found: per metric the rows of its search, with images; a metric without a search may be absent.
    """
    one = len(report.metrics) == 1
    return findings_page(
        f"Audit of rewards: {', '.join(map(_name, report.metrics))}",
        "Is this metric safe to optimise?" if one else "Are these metrics safe to optimise?",
        [_head(report)],
        _RESULTS,
        _shown(report, found),
    )


def section(report: RewardReport, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The results as a section of another page: safe HTML. Arguments as of :func:`page`."""
    return findings_section([_head(report)], _RESULTS, _shown(report, found))


def _shown(report: RewardReport, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    attacked = [one for one in report.metrics if one.pixels is not None]
    files, sizes = _changes(report)
    last = list(report.oracle)[-1]
    properties = list(dict.fromkeys(name for one in report.metrics for name in one.by_property))
    means = {name: sum(one.by_property[name][last] for one in report.metrics) for name in properties}
    winners = {one.metric: cards for one in report.metrics if (cards := _winners(found.get(one.metric, ())))}
    return {
        "report": report,
        "numbers": list(report.oracle),
        "number_heads": [f"n = {number}" for number in report.oracle],
        "last": last,
        "names": [_name(one) for one in report.metrics],
        "name_of": _name,
        "sorts": _sorts(report),
        "chosen_of": min(CHOSEN_OF, int(last)),
        "properties": sorted(properties, key=lambda name: (means[name], name)),
        "searched": [one for one in report.metrics if one.search is not None],
        "winners": winners,
        "attacked": attacked,
        "changes": files,
        "sizes": sizes,
        "size_heads": [f"pixels by {size}" for size in sizes],
        "lines": lines(report),
        "picture": data_uri(_png(_curves(report), dpi=110), "image/png"),
        "share_cells": share_cells,
    }


def _winners(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Wrong images that scored higher than every right one, the largest lead first."""

    def lead(row: Mapping[str, Any]) -> float:
        return float((row["best_wrong"] - row["best_right"]) / (row["deviation"] or 1.0))

    won = sorted((row for row in rows if row["best_wrong"] > row["best_right"]), key=lead, reverse=True)
    return [
        {
            "property": row["property"],
            "prompt": row["prompt"],
            "changes": list(dict.fromkeys(row["changes"])),
            "wrong": thumbnail([row["wrong_image"]]),
            "right": thumbnail([row["right_image"]]),
            "wrong_score": row["best_wrong"],
            "right_score": row["best_right"],
        }
        for row in won[:MOST_WINNERS]
    ]


def _name(one: RewardAudit) -> str:
    return f"{one.metric} (baseline)" if one.baseline else one.metric
