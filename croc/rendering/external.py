"""Others' benchmarks and their published figures, as terminal tables and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from croc.external.benchmark import MET, Benchmark
from croc.external.evaluation import Evaluation
from croc.external.reproduction import STATUSES, Reproduced, Reproduction, totals
from croc.rendering.terminal import correlations
from croc.wording import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

_STYLES = {"equal": "green", "unequal": "bold red", "explained": "yellow"}


def describe(benchmark: Benchmark) -> list[tuple[str, str]]:
    """What is known about a benchmark: pairs of a heading and a text."""
    known = sum(figure.published is not None for figure in benchmark.figures)
    source = benchmark.source
    rows = [
        ("benchmark", benchmark.title),
        ("kind", benchmark.kind),
        ("holds", benchmark.holds),
        ("size", benchmark.size),
        ("licence", benchmark.licence),
        ("files", source.describe()),
    ]
    if source.hub:
        gated = {True: " (gated: accept its conditions and log in)", False: " (not gated)", None: ""}
        commit = f" @ {source.hub_revision}" if source.hub_revision else ""
        read = "" if source.hub_files else ", not read from there"
        rows.append(("on the Hub", f"{source.hub}{commit}{gated[source.gated]}{read}"))
    if benchmark.pairs is None:
        rows.append(("images", "not read: 'croc external score' has nothing to score"))
    elif source.images:
        rows.append(("images", source.images))
    rows += [
        ("tested on published", MET[benchmark.met]),
        ("standard scores", ", ".join(benchmark.scores)),
        ("published figures", f"{counted(known, 'figure')}, from {'; '.join(_sources(benchmark))}"),
    ]
    return rows if known else [*rows[:-1], ("published figures", "none known")]


def _sources(benchmark: Benchmark) -> list[str]:
    return list(dict.fromkeys(figure.source for figure in benchmark.figures if figure.published is not None))


def listing(benchmarks: Sequence[Benchmark]) -> list[RenderableType]:
    """Benchmarks for the terminal: a heading and a table of two columns each."""
    shown: list[RenderableType] = []
    for benchmark in benchmarks:
        table = Table(box=None, show_header=False, padding=(0, 1, 0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column()
        for row in describe(benchmark):
            table.add_row(*row)
        shown += [Text(f"\n{benchmark.name}", "bold"), table]
    return shown


def reproductions(found: Sequence[Reproduction]) -> list[RenderableType]:
    """Recomputed figures for the terminal: a table per benchmark and the counts."""
    shown: list[RenderableType] = []
    for one in found:
        table = Table(box=None, padding=(0, 1))
        for heading in ("figure", "published", "recomputed", "equal decimals", "by default"):
            table.add_column(heading, justify="left" if heading == "figure" else "right", no_wrap=True)
        table.add_column("source; why not")
        for figure in one.figures:
            table.add_row(*cells(figure), style=_STYLES.get(figure.status, ""))
        shown += [Text(f"\n{one.benchmark}: {one.source}", "bold"), table]
        shown += [Text(f"  {note}") for note in one.left_out]
        if one.parity:
            shown.append(Text(f"  Recomputed as the authors do. {one.parity}"))
    shown += [Text(""), summary(found)]
    return shown


def evaluation(found: Evaluation) -> list[RenderableType]:
    """The standard scores in both modes, what they differ in, and this program's correlations."""
    table = Table(
        title=f"Standard scores of {found.benchmark}", title_justify="left", box=None, padding=(0, 1)
    )
    table.add_column("score", no_wrap=True)
    for heading in ("as the authors", "by default"):
        table.add_column(heading, justify="right", no_wrap=True)
    for score in found.scores:
        values = ("—" if value is None else f"{value:.4f}" for value in (score.parity, score.default))
        table.add_row(score.name, *values)
    shown: list[RenderableType] = [table]
    if found.parity and any(score.parity != score.default for score in found.scores):
        shown.append(Text(f"  The two differ: {found.parity}"))
    shown += [Text(f"  {note}") for note in found.notes]
    if found.correlations is not None:
        shown += [Text(""), *correlations(found.correlations)]
    return shown


def cells(figure: Reproduced) -> tuple[str, ...]:
    """The cells of a figure: name, published, recomputed, equal decimals, default, source and reason."""
    equal = "none" if figure.equal_digits is None else f"{figure.equal_digits} of {figure.decimals}"
    if figure.decimals == 0 and figure.equal_digits == 0:
        equal = "equal"
    elif figure.published is None or figure.recomputed is None:
        equal = ""
    status = "" if figure.status in ("equal", "unpublished") else f"; {STATUSES[figure.status]}"
    reason = f": {figure.reason}" if figure.reason else ""
    return (
        figure.figure,
        figure.published or "—",
        _number(figure.recomputed, figure),
        equal,
        _number(figure.default, figure),
        f"{figure.source}{status}{reason}",
    )


def _number(value: float | None, figure: Reproduced) -> str:
    if value is None:
        return "—"
    decimals = figure.decimals if figure.published is not None else 0 if value.is_integer() else 4
    # One more where the two are not equal, so that the difference is seen.
    return f"{value:.{decimals if figure.status in ('equal', 'unpublished') else decimals + 1}f}"


def summary(found: Sequence[Reproduction]) -> RenderableType:
    """The number of figures of each benchmark by what became of them, as a table."""
    table = Table(box=None, padding=(0, 1))
    table.add_column("benchmark")
    shown = [status for status, number in totals(found).items() if number]
    for status in shown:
        table.add_column(STATUSES[status], justify="right")
    for one in found:
        table.add_row(one.benchmark, *(str(one.count(status)) for status in shown))
    if len(found) > 1:
        table.add_row("all", *(str(totals(found)[status]) for status in shown), style="bold")
    return table


def markdown_summary(found: Sequence[Reproduction]) -> str:
    """:func:`summary` for the guide."""
    shown = [status for status, number in totals(found).items() if number]
    lines = [
        f"| benchmark | {' | '.join(STATUSES[status] for status in shown)} |",
        f"|---|{'---:|' * len(shown)}",
    ]
    for one in found:
        lines.append(f"| `{one.benchmark}` | {' | '.join(str(one.count(status)) for status in shown)} |")
    lines.append(f"| all | {' | '.join(str(totals(found)[status]) for status in shown)} |")
    return "\n".join(lines) + "\n"


def markdown_figures(found: Sequence[Reproduction]) -> str:
    """All figures for the guide, folded by benchmark."""
    parts = []
    for one in found:
        rows = ["| figure | published | recomputed | equal decimals | by default | source; why not |"]
        rows.append("|---|---:|---:|---:|---:|---|")
        rows += [
            f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells(f))} |" for f in one.figures
        ]
        notes = [*one.left_out, *([f"Recomputed as the authors do. {one.parity}"] if one.parity else [])]
        heading = f"{one.benchmark}: {counted(len(one.figures), 'figure')}"
        parts.append(
            f"<details><summary>{heading}</summary>\n\n"
            + f"`{one.source}`\n\n"
            + "".join(f"- {note}\n" for note in notes)
            + ("\n" if notes else "")
            + "\n".join(rows)
            + "\n\n</details>\n"
        )
    return "\n".join(parts)


def markdown_defaults(found: Sequence[Reproduction], chosen: Sequence[tuple[str, str, str]]) -> str:
    """Chosen figures in both modes for the guide: benchmark, figure and what the default does."""
    figures = {
        (one.benchmark, figure.figure): figure for one in reversed(found) for figure in one.figures[::-1]
    }
    lines = [
        "| benchmark | figure | published | recomputed | by default | what the default does |",
        "|---|---|---:|---:|---:|---|",
    ]
    for benchmark, name, why in chosen:
        published, recomputed, _, default, _ = cells(figures[benchmark, name])[1:]
        lines.append(f"| `{benchmark}` | {name} | {published} | {recomputed} | {default} | {why} |")
    return "\n".join(lines) + "\n"


def markdown_benchmarks(benchmarks: Sequence[Benchmark]) -> str:
    """The benchmarks for the guide: a row each."""
    lines = [
        "| name | holds | size | licence | source of the format | images scored from | tested on published | "
        "published figures |",
        "|---|---|---|---|---|---|---|---:|",
    ]
    for one in benchmarks:
        known = sum(figure.published is not None for figure in one.figures)
        source = one.source
        link = f"[{source.repository}](https://github.com/{source.repository}/tree/{source.commit})"
        hub = f"[{source.hub}](https://huggingface.co/datasets/{source.hub})"
        gated = " (gated)" if source.gated else ""
        places = [f"{hub}{gated}"] if source.hub_files else []
        scored = " or ".join([*places, "a folder"]) if one.pairs else "—"
        lines.append(
            f"| `{one.name}` | {one.holds} | {one.size} | {one.licence} | {link} | {scored} "
            f"| {MET[one.met]} | {known} |"
        )
    return "\n".join(lines) + "\n"
