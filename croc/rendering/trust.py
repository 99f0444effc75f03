"""What to expect of metrics on prompts, as terminal tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from croc.trust.prediction import Prediction, TrustReport
from croc.wording import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

UNKNOWN = "unknown"
_SHOWN = 10


def terminal(report: TrustReport) -> list[RenderableType]:
    """A row per prompt and metric, which metric to take, and the prompts to show to people."""
    table = Table(box=None, padding=(0, 1))
    for heading in ("", "prompt", "depends on", "metric", "weakest property", "chance", "interval", UNKNOWN):
        right = heading in ("", "chance")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for prompt in report.prompts:
        first = (str(prompt.number), prompt.prompt, ", ".join(prompt.properties) or "no known property")
        for prediction in prompt.predictions:
            table.add_row(*first, prediction.metric, *_cells(prediction))
            first = ("", "", "")
    return [table, *(Text(line) for line in summary(report))]


def _cells(prediction: Prediction) -> tuple[str, ...]:
    missing = ", ".join(prediction.unknown)
    if prediction.chance is None or prediction.low is None or prediction.high is None:
        return UNKNOWN, UNKNOWN, "", missing
    ends = f"{prediction.low:.2f} … {prediction.high:.2f}"
    return prediction.weakest or "", f"{prediction.chance:.2f}", ends, missing


def summary(report: TrustReport) -> list[str]:
    """Which metric to take for which prompts, and which prompts to show to people."""
    lines = [f"the chances hold for images like those of the checks: {', '.join(report.datasets)}"]
    for metric in report.metrics:
        taken = report.taken(metric)
        if taken:
            lines.append(f"take {metric}: {counted(len(taken), 'prompt')} ({_numbers(taken)})")
    asked = report.for_people
    if asked:
        numbers = _numbers([prompt.number for prompt in asked])
        lines.append(
            f"show to people: {counted(len(asked), 'prompt')} without a metric whose chance is at least "
            f"{report.least:.2f}, the least certain first ({numbers})"
        )
    return lines


def _numbers(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:_SHOWN]))
    return shown if len(numbers) <= _SHOWN else f"{shown}, … and {len(numbers) - _SHOWN:,} more"
