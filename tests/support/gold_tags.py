"""Properties of published prompts, tagged by hand, and how far the word lists agree with them."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from croc.trust.properties import find_properties

GOLD = Path(__file__).parents[1] / "croc" / "trust" / "gold_tags.csv"
PARTS = ("tuning", "held_out", "unseen")


@dataclass
class Agreement:
    """Counts per property of a part of the prompts."""

    prompts: int = 0
    right: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)

    def totals(self) -> tuple[int, int, int]:
        return sum(self.right.values()), sum(self.wrong.values()), sum(self.missed.values())


def gold_rows() -> list[dict[str, str]]:
    with GOLD.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def texts(shared_data: Path) -> dict[tuple[str, str], str]:
    """(source, prompt id) → prompt."""
    rated = json.loads((shared_data / "tifa160" / "human_annotations_with_scores.json").read_text("utf-8"))
    found = {("tifa160", row["text_id"]): row["text"] for row in rated.values()}
    table = shared_data / "ratings" / "genai_bench_527" / "genai_bench_527.csv"
    with table.open(encoding="utf-8", newline="") as file:
        found |= {("genai_bench_527", row["prompt_id"]): row["prompt"] for row in csv.DictReader(file)}
    return found


def agreement(shared_data: Path) -> dict[str, Agreement]:
    """Part → counts."""
    prompts, parts = texts(shared_data), {part: Agreement() for part in PARTS}
    for row in gold_rows():
        gold = set(row["properties"].split())
        found = set(find_properties(prompts[row["source"], row["prompt_id"]]))
        part = parts[row["part"]]
        part.prompts += 1
        part.right.update(gold & found)
        part.wrong.update(found - gold)
        part.missed.update(gold - found)
    return parts
