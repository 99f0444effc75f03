"""Results by group on a page of the guide: none rests on fewer checks than a group needs to be read."""

from __future__ import annotations

import re

from croc.verdict.records import FEW_CHECKS
from croc.verdict.report import Report


def check_printed(output: str, page: str) -> None:
    """Tables with the columns GROUP and checks."""
    by = None
    for line in output.splitlines():
        cells = [cell.strip() for cell in re.split("[│┃]", line)[1:-1]]
        if "┃" in line and len(cells) > 2:
            by = cells[0] if cells[1] == "checks" else None
        elif by and len(cells) > 2 and cells[1].isdigit():
            assert int(cells[1]) >= FEW_CHECKS, f"{page}: {by} {cells[0]} has {cells[1]} checks"


def check_values(names: dict[str, object], page: str) -> None:
    """Reports, and results of ``evaluate.load("croc")``, among the variables of a page."""
    for name, value in names.items():
        if isinstance(value, Report):
            few = [f"{s.group} {s.group_value}" for s in value.scores if s.group and s.of_few_checks]
        elif isinstance(value, dict) and "groups" in value:
            few = [
                f"{by} {key}"
                for by, groups in value["groups"].items()
                for key, group in groups.items()
                if group["n"] < FEW_CHECKS
            ]
        else:
            continue
        assert not few, f"{page}: {name} has groups of fewer than {FEW_CHECKS} checks: {', '.join(few)}"
