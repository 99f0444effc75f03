"""How counts are written in messages, tables and pages."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun in the singular or plural.

    Args:
        number: how many.
        noun: the singular.
        plural: the plural; by default the singular with an ``s``.

    >>> counted(1, "check"), counted(1_200, "check"), counted(0, "category", "categories")
    ('1 check', '1,200 checks', '0 categories')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
