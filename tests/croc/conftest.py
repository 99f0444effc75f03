"""The modules of the ``evaluate`` library, loaded as in a checkout, and a model for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import evaluate
import pytest
import tiny_models
from metric_modules import ROOT


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A yes/no model with random weights."""
    return tiny_models.save(*tiny_models.llava(), tmp_path_factory.mktemp("llava"))


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(ROOT)
    return evaluate.load
