"""The results of an experiment as one table: for the terminal, and for the pages of the guide."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any

from croc.wording import DASH, signed
from crocscore.experiments.plots import ALL, INITIAL
from crocscore.experiments.seed_means import of_group

BEST = 5
"""Number of trials of a search in its table, beside the first one."""


@dataclass(frozen=True)
class Summary:
    """A table of results.

    Attributes:
        heads: of the columns; the first one names the rows.
        rows: cells as text.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table in Markdown.

        Raises:
            ValueError: a row has more or fewer cells than the table has columns.
        """
        for row in self.rows:
            if len(row) != len(self.heads):
                raise ValueError(f"a row has {len(row)} cells, the table {len(self.heads)} columns: {row}")
        first, *others = (f"| {' | '.join(line)} |\n" for line in (self.heads, *self.rows))
        return "".join([first, "|" + "---|" * len(self.heads) + "\n", *others])


def summarised(document: Mapping[str, Any]) -> Summary:
    """The table of an experiment.

    Args:
        document: what the experiment wrote into NAME.json: one with training, ``sweep`` or
            ``held-out-world``.
    """
    write = {"sweep": _sweep, "held-out-world": _held_out_world, "held-out": _held_out}
    return write.get(document["experiment"], _conditions)(document)


def _conditions(document: Mapping[str, Any]) -> Summary:
    conditions = document["conditions"]
    compared = [one["difference"]["to"] for one in conditions if "difference" in one]
    drawn: dict[str, list[int]] = defaultdict(list)
    for run in document["runs"]:
        if run.get("wrong_images"):
            drawn[run["name"]].append(run["wrong_images"])
    images = {name: round(mean(numbers)) for name, numbers in drawn.items()}
    return Summary(
        (
            *("condition", "questions"),
            *(["wrong images"] if images else []),
            "scaled accuracy",
            *(f"minus {to}" for to in compared[:1]),
        ),
        tuple(
            (
                one["name"],
                f"{one['questions']:,}" if one["train"] else "",
                *([f"{images[one['name']]:,}" if one["name"] in images else ""] if images else []),
                _cell(one),
                *([_cell(one["difference"], sign=True) if "difference" in one else ""] if compared else []),
            )
            for one in conditions
        ),
    )


def _held_out(document: Mapping[str, Any]) -> Summary:
    """By property that is left out: before training, trained on everything, and trained without it."""
    conditions = {one["name"]: one for one in document["conditions"]}
    rows = []
    for one in conditions.values():
        if (name := one["leave_out"]) is None:
            continue
        others = [conditions.get(other, {"groups": []}) for other in (INITIAL, ALL, one["name"])]
        cells = [of_group(other, name) for other in others]
        found = [cell for cell in cells if cell is not None]
        price = of_group(one.get("difference", {"groups": []}), name)
        rows.append(
            (
                name.replace("_", " "),
                str(found[0]["checks"]) if found else DASH,
                *(_cell(cell) for cell in cells),
                _cell(price, sign=True),
            )
        )
    heads = ("scaled accuracy", "checks", "before training", "trained on everything", "trained without it")
    return Summary((*heads, "without minus everything"), tuple(rows))


def _held_out_world(document: Mapping[str, Any]) -> Summary:
    return Summary(
        ("scaled accuracy", "checks", "trained on everything", "trained without it", "price"),
        tuple(
            (
                test["test"],
                str(test["with"]["checks"]),
                _cell(test["with"]),
                _cell(test["without"]),
                _cell(test["price"], sign=True),
            )
            for test in document["tests"]
        ),
    )


def _sweep(document: Mapping[str, Any]) -> Summary:
    first, *others = sorted(document["trials"], key=lambda trial: trial["number"])
    best = sorted([first, *others], key=lambda trial: -trial["scaled"])[:BEST]
    shown = [*best, *([first] if first not in best else [])]
    return Summary(
        ("trial", "scaled accuracy", "learning rate", "questions", "epochs", "share of No", "steps"),
        tuple(
            (
                str(trial["number"] + 1),
                _cell(trial),
                f"{trial['learning_rate']:.1e}",
                f"{trial['questions']:,}",
                str(trial["epochs"]),
                f"{trial['negatives']:.2f}",
                str(trial["steps"]),
            )
            for trial in shown
        ),
    )


def _cell(found: Mapping[str, Any] | None, sign: bool = False) -> str:
    """A value with its interval."""
    if found is None or found["scaled"] is None:
        return DASH

    def text(value: float) -> str:
        return signed(value) if sign else signed(value).removeprefix("+")

    if found["low"] is None or found["high"] is None:
        return text(found["scaled"])
    return f"{text(found['scaled'])} ({text(found['low'])} … {text(found['high'])})"
