"""CROC: contrastive robustness checks of text-to-image metrics.

Names are loaded when they are first used, so that ``import croc`` stays light and loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from croc.checks.loading import load_checks
    from croc.errors import CrocError, InputError, MissingExtra
    from croc.images.scoring import score
    from croc.scorers import Scorer
    from croc.verdict.evaluation import evaluate
    from croc.verdict.report import Report

__version__ = "0.1.0"

_HOME = {
    "CrocError": "croc.errors",
    "InputError": "croc.errors",
    "MissingExtra": "croc.errors",
    "Report": "croc.verdict.report",
    "Scorer": "croc.scorers",
    "evaluate": "croc.verdict.evaluation",
    "load_checks": "croc.checks.loading",
    "score": "croc.images.scoring",
}

__all__ = [
    "CrocError",
    "InputError",
    "MissingExtra",
    "Report",
    "Scorer",
    "__version__",
    "evaluate",
    "load_checks",
    "score",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
