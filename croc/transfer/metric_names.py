"""Which columns of several benchmarks are scores of one metric: the table ``metric_names.yaml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from typing_extensions import TypedDict

from croc.storage.text_files import parse_yaml, read_text, require_kind

Match = Literal["metric", "method"]
CROC = "croc"
"""The place of names of scorers of this program, in CROC's results and in tables of a user's own."""
_FILE = Path(__file__).with_name("metric_names.yaml")

# ``is`` is a word of Python.
_Entry = TypedDict(
    "_Entry",
    {"id": str, "method": str, "is": str, "names": dict[str, str], "sources": dict[str, str]},
)


@dataclass(frozen=True)
class Metric:
    """A metric that several benchmarks may have.

    Attributes:
        name: the same in all benchmarks.
        method: the same for other weights of the method.
        description: what it is; empty where the table does not have it.
    """

    name: str
    method: str
    description: str = ""


@cache
def known_metrics() -> Mapping[tuple[str, str], Metric]:
    """The metrics of the table by benchmark and the name there."""
    entries = require_kind(parse_yaml(read_text(_FILE), str(_FILE)), list[_Entry], str(_FILE))
    return {
        (benchmark, name): Metric(entry["id"], entry["method"], entry["is"])
        for entry in entries
        for benchmark, name in entry["names"].items()
    }


def identify(benchmark: str, name: str) -> Metric:
    """The metric of a column. Two benchmarks of others may mean different things by one unknown name.

    Args:
        benchmark: whose files have the scores; ``croc`` or empty for CROC's results and a user's own table.
        name: of the column.
    """
    place = benchmark or CROC
    known = known_metrics().get((place, name))
    if known is not None:
        return known
    own = name if place == CROC else f"{place}:{name}"
    return Metric(own, own)


@dataclass(frozen=True)
class Shared:
    """The metrics that two benchmarks share.

    Attributes:
        names: a name for each.
        places: (first, second) where each stands in the two lists.
        ambiguous: methods that are left out, as a benchmark has several metrics of them.
    """

    names: tuple[str, ...]
    places: tuple[tuple[int, int], ...]
    ambiguous: tuple[str, ...] = ()


def shared_metrics(first: Sequence[Metric], second: Sequence[Metric], match: Match) -> Shared:
    """Match the metrics of two benchmarks; those of one method as well if ``match`` says so."""
    place = {metric.name: number for number, metric in enumerate(second)}
    same = [(i, place[metric.name]) for i, metric in enumerate(first) if metric.name in place]
    names = [first[i].name for i, _ in same]
    ambiguous = []
    if match == "method":
        taken = [first[i].method for i, _ in same]
        for method in dict.fromkeys(metric.method for metric in first):
            here, there = (
                [number for number, metric in enumerate(own) if metric.method == method]
                for own in (first, second)
            )
            if not there or method in taken:
                continue
            if len(here) == len(there) == 1:
                same.append((here[0], there[0]))
                names.append(method)
            else:
                ambiguous.append(method)
    return Shared(tuple(names), tuple(same), tuple(ambiguous))
