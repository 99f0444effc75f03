"""The checks that the page shows, read once."""

from __future__ import annotations

from functools import cache
from typing import Any

from croc.checks.sources import open_checks
from croc.rendering import fragments as pages

MOST = 2_000
"""Checks held in memory; of a larger dataset the first ones."""


@cache
def checks() -> list[dict[str, Any]]:
    """Rows of the checks, images undecoded."""
    found = open_checks(pages.checks_source())
    return found.read(0, min(len(found.texts), MOST))


def known_checks() -> dict[str, dict[str, Any]]:
    """The same by ``check_id``."""
    return {row["check_id"]: row for row in checks()}
