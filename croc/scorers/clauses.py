"""Splitting a prompt into clauses that can be scored one by one."""

from __future__ import annotations

import re

# "between a and b" is one clause: the "and" after "between" is not a cut.
_CUTS = re.compile(r"[.;!?]+(?:\s+|$)|,\s+(?:and\s+|but\s+)?|\s+(?:and|but|while|whereas)\s+", re.IGNORECASE)
_BETWEEN = re.compile(r"\bbetween\b[^.;,]*$", re.IGNORECASE)


def clauses(prompt: str) -> list[tuple[int, int]]:
    """Spans of the clauses of a prompt: ``prompt[start:end]``, in order, without the conjunctions.

    A prompt is cut at ends of sentences, commas, and *and*, *but*, *while*, *whereas*, except at the *and* of
    *between*. A prompt without a cut is one clause.

    >>> [text[a:b] for text in ["a cat and no dog, at night"] for a, b in clauses(text)]
    ['a cat', 'no dog', 'at night']
    >>> [text[a:b] for text in ["a cat between a box and a tree"] for a, b in clauses(text)]
    ['a cat between a box and a tree']
    """
    pieces, start = [], 0
    for cut in _CUTS.finditer(prompt):
        if cut.group().strip().lower() == "and" and _BETWEEN.search(prompt[start : cut.start()]):
            continue
        pieces.append((start, cut.start()))
        start = cut.end()
    pieces.append((start, len(prompt)))
    spans = []
    for begin, end in pieces:
        text = prompt[begin:end]
        if text.strip():
            spans.append((begin + len(text) - len(text.lstrip()), begin + len(text.rstrip())))
    return spans
