"""The folder of ``croc audit-reward``: its parts, and how others read its results."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from croc.errors import InputError
from croc.jobs.runner import read_manifest
from croc.reward_audit.records import FORMAT, RewardReport
from croc.storage.files import file_stem, read_json
from croc.storage.text_files import first_problem

POOLS, SCORES, SEARCH, PIXELS = "pools", "scores", "search", "pixels"
"""Folders: candidates, their scores by metric, what searches found, and attacks on pixels."""
REPORT = "audit.json"
"""All numbers of the last run."""


@cache
def _adapter() -> TypeAdapter[RewardReport]:
    return TypeAdapter(RewardReport)


def read_audit(path: str | Path) -> tuple[RewardReport, dict[str, list[dict[str, Any]]]]:
    """Read the results of an audit.

    Args:
        path: the folder, or the file of ``--json``.

    Returns:
        The report, and per metric the rows of its search with images; none where only a file is given.

    Raises:
        InputError: it is not the result of an audit.
    """
    place = Path(path)
    file = place / REPORT if place.is_dir() else place
    content = read_json(file, f"{file} does not exist; croc audit-reward writes it")
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise InputError(f"{file}: not the JSON of an audit; 'croc audit-reward' writes it")
    try:
        report = _adapter().validate_python(content)
    except ValueError as problem:
        raise InputError(f"{file}: not the JSON of an audit: {first_problem(problem)}") from None
    return report, images_of_searches(place, report) if place.is_dir() else {}


def images_of_searches(folder: Path, report: RewardReport) -> dict[str, list[dict[str, Any]]]:
    """Per metric the rows of its search, with images; without those that had none."""
    import pyarrow.parquet as pq

    return {
        one.metric: [
            row
            for file in read_manifest(folder / SEARCH / file_stem(one.metric)).files()
            for row in pq.read_table(file).to_pylist()
        ]
        for one in report.metrics
        if one.search is not None and (folder / SEARCH / file_stem(one.metric)).is_dir()
    }
