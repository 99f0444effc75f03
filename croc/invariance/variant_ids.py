"""How a row of a dataset of variants names its check and what was changed, in ``check_id``."""

from __future__ import annotations

NONE = "none"
"""The change of the check itself."""


def variant_id(check: str, change: str) -> str:
    """The ``check_id`` of a variant: that of its check, a colon, and the name of the change."""
    return f"{check}:{change}"


def split_variant(full: str) -> tuple[str, str]:
    """The check and the change of a ``check_id``; the check is empty where it is not of a variant."""
    check, _, change = full.rpartition(":")
    return check, change
