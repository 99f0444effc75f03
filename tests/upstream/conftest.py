"""Every test here is marked ``upstream``; the figures of the session are printed at its end."""

from __future__ import annotations

from pathlib import Path

import parity
import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.upstream)


def pytest_terminal_summary(terminalreporter):
    for name, figure in parity.FIGURES.items():
        terminalreporter.write_line(f"{name}: {figure:.1e} of the spread")
