"""Which named scorer to take on which hardware, for images that the small model does not know."""

from __future__ import annotations

from croc.scorers.needs import memory_of
from croc.scorers.registry import info

HARDWARE = (
    ("vqascore-smolvlm-256m", "CPU"),
    ("siglip2-base", "CPU"),
    ("vqascore-qwen2.5-vl-3b", "GPU with 12 GB"),
    ("vqascore-qwen2.5-vl-7b", "GPU with 24 GB"),
)
"""Scorers of the registry, smallest first; a GPU has to hold activations beside the weights."""

LINE = 'croc score-images images/ --prompt "a red cat on a sofa" --scorer {name} --out scores.csv'


def rows() -> list[dict[str, str]]:
    """The scorers with what ``croc scorers list`` knows of them."""
    found = []
    for name, hardware in HARDWARE:
        entry = info(name)
        millions = entry.parameters or 0
        found.append(
            {
                "name": name,
                "hardware": hardware,
                "parameters": f"{millions / 1000:.2g} billion" if millions >= 1000 else f"{millions} million",
                "memory": memory_of(entry) or "unknown",
                "summary": entry.summary,
                "line": LINE.format(name=name),
            }
        )
    return found
