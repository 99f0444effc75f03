"""Texts and times of votes, in the form in which a store and its files hold them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from croc.errors import InputError

_LAST = datetime(9999, 12, 31, tzinfo=UTC)


def moment(stored: int | None) -> datetime | None:
    """A stored time; None if it is unknown, or impossible: earlier versions imported such times."""
    if stored is None or not 0 <= stored < 1000 * _LAST.timestamp():
        return None
    return datetime.fromtimestamp(stored / 1000, UTC)


def clean_text(text: str) -> str:
    """A text without control characters and without what UTF-8 cannot hold."""
    kept = (c for c in text if c in "\n\t" or c.isprintable() or ord(c) > 159)
    return "".join(kept).encode("utf-8", "replace").decode().strip()


def milliseconds(when: Any) -> int | None:
    """A date and time, or its text, as milliseconds since 1970; UTC if it has no time zone.

    Raises:
        InputError: it is before 1970 or after the year 9999, so that no vote can have it.
    """
    if when is None:
        return None
    try:
        read: datetime = datetime.fromisoformat(when) if isinstance(when, str) else when
        read = read if read.tzinfo is not None else read.replace(tzinfo=UTC)
        if not 0 <= (seconds := read.timestamp()) < _LAST.timestamp():
            raise ValueError
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise InputError(f"{str(when)[:80]!r} is no date and time from 1970 to 9999") from None
    return round(seconds * 1000)
