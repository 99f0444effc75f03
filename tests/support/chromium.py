"""A fixture: a real browser, driven by Playwright; taken with ``pytest_plugins``."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if (found := shutil.which("chromium")) is None:
        pytest.skip("needs a chromium")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield running
        running.close()
