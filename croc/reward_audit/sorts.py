"""The sorts of candidates in a pool, which ``property_path`` names."""

from __future__ import annotations

RIGHT = "right"
"""Shows the prompt; written as the node without an error."""

SORTS: tuple[str, ...] = ("contrast", "near miss", "other value", "distractors", "unrelated")
"""The wrong ones: the contrast prompt; the prompt with one error; another value of the same property; the
contrast prompt with more, larger or more colourful things; another prompt."""
