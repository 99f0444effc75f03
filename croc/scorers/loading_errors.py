"""What the library raises for damaged files, and how an error becomes one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def damaged(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """Errors, and what the library raises for settings of a wrong type or shape."""
    from huggingface_hub.errors import StrictDataclassError  # slow to import

    return (*others, TypeError, KeyError, AttributeError, ZeroDivisionError, StrictDataclassError)


def and_others(names: Sequence[Any]) -> str:
    """The number of further names, for a sentence that shows the first."""
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def first_line(error: Exception) -> str:
    """The first line of an error, or what is damaged."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, damaged()):
        return f"a file of its settings is damaged ({type(error).__name__}: {' '.join(lines)[:200]})"
    return lines[0] if lines else type(error).__name__
