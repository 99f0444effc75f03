"""The page "Others' benchmarks": metrics by their agreement with ratings, as fragments of HTML."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from croc.errors import InputError
from croc.external.results import RECOMPUTED, ExternalResults, read_result
from croc.ratings.records import KINDS
from croc.rendering.fragments import fragment, source_folder


def external_folder() -> Path:
    """Where results come from: ``CROC_EXTERNAL_RESULTS`` (a folder or a Hub dataset), else the package."""
    return source_folder("CROC_EXTERNAL_RESULTS", RECOMPUTED)


@cache
def external_results(folder: Path) -> tuple[tuple[ExternalResults, ...], tuple[str, ...]]:
    """The results files of a folder by the benchmark's name, and a sentence for each that cannot be used."""
    found: dict[str, ExternalResults] = {}
    problems = []
    for path in sorted(folder.rglob("*.json")):
        try:
            result = read_result(path)
        except InputError as problem:
            problems.append(str(problem).replace(f"{folder}/", ""))
            continue
        if result.benchmark in found:
            problems.append(f"{path.name}: there already is a file of {result.benchmark}")
        found.setdefault(result.benchmark, result)
    return tuple(found.values()), tuple(problems)


def external_ranking(result: ExternalResults, find: str = "", most: int | None = None) -> str:
    """The metrics of one benchmark, best first, with links to where their scores come from.

    Args:
        result: of a results file.
        find: only metrics whose name has this in it.
        most: only so many, from the top.
    """
    rows = [row for row in result.rows() if find.strip().lower() in row["metric"].lower()][:most]
    headings: dict[str, str] = {"acc_eq": KINDS["acc_eq"], "order": "pairs in order"}
    headings |= {kind: name for kind, name in KINDS.items() if kind not in headings}
    kinds = {kind: name for kind, name in headings.items() if any(row[kind] is not None for row in rows)}
    return fragment("external_ranking", result, rows, kinds)


def external_about(result: ExternalResults, problems: Sequence[str] = ()) -> str:
    """What a benchmark is, what was computed, what was left out, and the signature."""
    sources = {origin.url: origin.benchmark for origin in result.origins if origin.url}
    return fragment("external_about", result, sources, problems)
