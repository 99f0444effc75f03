"""How counts are written in messages, tables and pages, and which characters of a text reach a terminal."""

from __future__ import annotations

import codecs
import unicodedata

# A terminal would obey control characters (colours, titles, links, the cursor), and show text in an order
# that is not its order after bidirectional overrides.
_HIDDEN = {
    code: None
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(code) not in "\n\t"
}

DASH = "–"
"""What is written where there is no number."""

PLAIN_CHARACTERS = "croc-plain"
"""Name of the error handler for streams that cannot hold a character: it is written in plainer ones."""

_PLAIN = str.maketrans(
    {"…": "...", "→": "->", "←": "<-", "≥": ">=", "≤": "<=", "×": "x", "±": "+/-", "−": "-", "–": "-"}
    | {"—": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "•": "*", "·": "*", "Δ": "difference"}
    | {"α": "alpha", "σ": "sigma", "τ": "tau", "ρ": "rho", "─": "-", "│": "|", "┃": "|", "━": "-"}
)


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


def signed(value: float | None, digits: int = 2) -> str:
    """A scaled accuracy as text, with its sign; a dash where there is none.

    >>> signed(0.5), signed(-0.001), signed(-0.25, 1), signed(None)
    ('+0.50', '+0.00', '−0.2', '–')
    """
    if value is None:
        return DASH
    rounded = round(value, digits) + 0.0  # no −0.00
    return f"{rounded:+.{digits}f}".replace("-", "−")


def printable(text: str) -> str:
    r"""A text without the characters that a terminal would obey; line breaks and tabs stay.

    >>> printable("a\x1b[31mb")
    'a[31mb'
    """
    return text.translate(_HIDDEN)


def _write_plainly(error: UnicodeError) -> tuple[str, int]:
    """The error handler ``PLAIN_CHARACTERS``: ``→`` becomes ``->``, ``é`` becomes ``e``, others ``?``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    plain = unicodedata.normalize("NFKD", error.object[error.start : error.end].translate(_PLAIN))
    kept = (c for c in plain if not unicodedata.combining(c))
    return "".join(c if c.isascii() else "?" for c in kept), error.end


codecs.register_error(PLAIN_CHARACTERS, _write_plainly)
