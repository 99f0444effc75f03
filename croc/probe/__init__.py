"""Probe: where is a metric weak? Finds its weakest properties with few checks.

In: a tree of what checks can be about, and the outcome of each check, one after another.
Out: what the next check should be about; which parts of the tree are weaker than the rest, with certainty.

Not to be confused with the fixed texts of ``croc experiment probes``: a probe here chooses its checks itself.

Names are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = {
    "search": ("Draw", "Search", "SearchSettings"),
    "report": ("Counterexample", "Finding", "ProbeReport", "read_report"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f"croc.probe.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
