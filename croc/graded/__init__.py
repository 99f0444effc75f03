"""Graded checks: images of one prompt with more and more errors, and whether a metric orders them.

In: score tables of the protocol ``graded``, from ``croc score`` on a dataset of ``croc build graded``.
Out: how well each metric orders and separates them, for each kind of error.

Names are loaded on first use.
"""

from __future__ import annotations

from typing import Any

__all__ = ["GradedReport", "evaluate"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from croc.graded import evaluation

        return getattr(evaluation, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
