"""The columns of a leaderboard that are about the metrics and not about the checks of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from croc.rendering.formats import group_label, interval, percent
from croc.wording import DASH, signed

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from croc.results.leaderboard import Benchmark

LABELS: Mapping[str, str] = {
    "best_of_16": "best-of-16 yield",
    "flips": "flips at 4/255",
    "weakest_scaled": "weakest property",
}
"""By key of :meth:`croc.results.leaderboard.Benchmark.rows`; a ranking of one category lacks them."""

HELP: Mapping[str, str] = {
    "best_of_16": "how often the image with the highest score among 16 candidates of a prompt is right; one "
    "candidate in eight is (croc audit-reward)",
    "flips": "share of the passed checks that turn when pixels of the wrong image change by at most 4 of "
    "255; low is good (croc audit-reward)",
    "weakest_scaled": "the one whose interval has the lowest upper end, with its scaled accuracy (croc "
    "probe, or else the checks of the benchmark)",
}
"""What they mean."""

NOTE = (
    " ".join(f"{LABELS[name][:1].upper()}{LABELS[name][1:]}: {text}." for name, text in HELP.items())
    + " – is a scorer without such a run, or without gradients. * follows from evidence of the author, which "
    "nobody has run again."
)


def terminal(benchmark: Benchmark) -> list[Table | Text]:
    """The columns that are about the metrics, and what they mean; empty where no metric has any.

    Args:
        benchmark: of a leaderboard.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1), title="Weaknesses", title_justify="left", title_style="bold")
    for name in ("metric", "best-of-16 yield", "", "flips at 4/255", "weakest property", "", "from"):
        table.add_column(name, justify="left" if name in ("metric", "from") else "right", no_wrap=True)
    anything = marked = False
    for metric in benchmark.report.metrics:
        audit, weakest = benchmark.audit(metric), benchmark.weakest(metric)
        anything = anything or audit is not None or weakest is not None
        mark = "" if benchmark.ran_again(metric, "audit") else "*"
        marked = marked or (audit is not None and bool(mark))
        cells = [DASH, "", DASH]
        if audit is not None:
            ends = "" if audit.low is None else f"[{percent(audit.low)}, {percent(audit.high)}]"
            flips = DASH if audit.flips is None else f"{percent(audit.flips)}{mark}"
            cells = [f"{percent(audit.best_of_16)}{mark}", ends, flips]
        if weakest is None:
            cells += [DASH, "", ""]
        else:
            checked = weakest.source == "checks" or benchmark.ran_again(metric, "probe")
            marked = marked or not checked
            name = f"{group_label(weakest.property)} {signed(weakest.scaled)}{'' if checked else '*'}"
            cells += [name, interval(weakest.ci_low, weakest.ci_high), weakest.source]
        table.add_row(metric, *cells)
    if not anything:
        return []
    lines = [f"{LABELS[name]}: {text}." for name, text in HELP.items()]
    if marked:
        lines.append("*: follows from the author's evidence; the keeper of the results has not run it again.")
    return [table, *map(Text, lines)]
