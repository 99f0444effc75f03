"""Invariance: does a metric change its verdicts when something changes that must not matter?

In: score tables of variants of checks, which ``croc invariance`` makes and scores.
Out: by metric and change, the share of verdicts that change, and how large an error is beside the change.

Names are loaded on first use.
"""

from __future__ import annotations

from typing import Any

__all__ = ["InvarianceReport", "evaluate", "read_invariance"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from croc.invariance import evaluation

        return getattr(evaluation, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
