"""Objects that a process keeps between parts, such as a loaded model: one object per purpose."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_KEPT: dict[str, tuple[str, Any]] = {}


def keep_one(purpose: str, key: str, load: Callable[[], T]) -> T:
    """Return the object of this key; a previous object of the same purpose is closed and dropped first.

    Args:
        purpose: what the object is for, such as ``croc.scoring``; each purpose keeps one object.
        key: everything that defines the object.
        load: makes the object, once per key.

    Returns:
        The object. If it has a method ``close()``, that is called before another one replaces it.
    """
    if purpose not in _KEPT or _KEPT[purpose][0] != key:
        drop(purpose)  # before the new one is loaded: both may not fit into memory
        _KEPT[purpose] = (key, load())
    return _KEPT[purpose][1]  # type: ignore[no-any-return]


def drop(purpose: str) -> None:
    """Close and drop the object of a purpose."""
    _, kept = _KEPT.pop(purpose, (None, None))
    if callable(close := getattr(kept, "close", None)):
        close()
    del kept
    gc.collect()  # models hold cycles; the memory of a GPU is freed with them
