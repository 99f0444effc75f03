"""A Report as Markdown: a section for the card of a model on the Hub."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from croc.checks.schema import DIRECTIONS
from croc.rendering import formats
from croc.rendering.page import environment
from croc.results.hub_metadata import card_metadata
from croc.verdict.records import DIRECTION_NAMES, Score
from croc.verdict.report import Report
from croc.wording import signed

_ACTIVE = re.compile(r"[\\`*_\[\]<>|&~#$]")
_START = re.compile(r"^(\d*)([-+.)])")


def card(report: Report) -> str:
    """The report as Markdown for a model card: evaluation metadata, a table, findings and signatures.

    The metadata is that of the best metric; see :func:`croc.results.hub_metadata.card_metadata`.
    """
    template = environment().get_template("card.md.j2")
    metadata = card_metadata(report).to_yaml()
    return template.render(
        report=report,
        metadata=metadata,
        table=_ranking(report),
        text=text,
        code=code,
        mode=formats.mode,
    )


def _ranking(report: Report) -> str:
    further = formats.further_columns(Score)
    head = ["metric", "mean", f"{formats.confidence(report)} interval"]
    head += [*DIRECTION_NAMES.values(), *(column.label for column in further.values())]
    rows = []
    for score in report.ranking:
        row = [formats.metric_label(report, score.metric), signed(score.scaled)]
        row.append(formats.interval(score.ci_low, score.ci_high))
        row += [signed(report.scaled(score.metric, direction)) for direction in DIRECTIONS]
        rows.append([*row, *(formats.cell(score, name) for name in further)])
    return table(head, rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of plain texts: the first column to the left, the others to the right."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    lines = [map(text, head), rule, *(map(text, row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def text(plain: str) -> str:
    """Escape a plain text for Markdown, so that it has no markup."""
    escaped = _ACTIVE.sub(lambda match: "\\" + match[0], " ".join(plain.split()))
    return _START.sub(r"\1\\\2", escaped)


def code(plain: str) -> str:
    """A plain text as a code span."""
    plain = " ".join(plain.split())
    fence = "`" * (max(map(len, re.findall("`+", plain)), default=0) + 1)
    space = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{fence}{space}{plain}{space}{fence}"
