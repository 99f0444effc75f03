"""For tests of labelling: items of the exact world with known answers, an annotator, and a clock."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from croc_hum.schema import item_id, items_schema
from croc_hum.votes.store import Store
from croc_syn.world import draw

PAIRS = (
    ("two cats and a red ball", "three cats and a red ball", "counting", "count"),
    (
        "a small dog to the left of a big tree",
        "a small dog to the right of a big tree",
        "spatial_relation",
        "left_right",
    ),
    ("a blue umbrella, no cat", "a blue umbrella and a cat", "negation", "negation"),
)


@cache
def picture(prompt: str, seed: int) -> bytes:
    return draw(prompt, seed, size=64).png


def item(
    number: int, task: str = "shows", *, attention: bool = False, image: bytes | None = None, **more: Any
) -> dict[str, Any]:
    """Item ``number``: even ones show the prompt, odd ones the contrast prompt."""
    prompt, contrast, category, contrasted = PAIRS[number % len(PAIRS)]
    true = number % 2 == 0
    data = picture(prompt if true else contrast, number) if image is None else image
    expected = {"shows": "yes" if true else "no", "preference": "prompt" if true else "contrast"}.get(task)
    row = {
        "task": task,
        "check_id": f"check{number // 2}",
        "concept_id": f"concept{number // 2}",
        "category": category,
        "property": contrasted,
        "prompt": prompt,
        "contrast_prompt": contrast,
        "side": "original",
        "image_index": number,
        "image": data,
        "expected": expected,
        "attention": attention,
        "text_model": "grammar@1",
        "image_model": "secret-model@1",
        "seed": number,
        **more,
    }
    row["item_id"] = item_id(
        row["task"], row["prompt"], row["contrast_prompt"], data, check_id=row["check_id"],
        side=row["side"], image_index=number,
    )  # fmt: skip
    return row


def items(count: int, tasks: Sequence[str] = ("shows",), *, attention: int = 0) -> list[dict[str, Any]]:
    """``count`` items with alternating tasks, followed by attention checks."""
    rows = [item(number, tasks[number % len(tasks)]) for number in range(count)]
    return rows + [item(1000 + number, attention=True) for number in range(attention)]


def write(rows: list[dict[str, Any]], path: Path) -> Path:
    """Write the rows to a Parquet file for the page."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    stored = [{**row, "image": {"bytes": row["image"], "path": None}} for row in rows]
    pq.write_table(pa.Table.from_pylist(stored, schema=items_schema()), path)
    return path


def vote_on_all(store: Store, code: str, answer=None) -> list[str]:
    """Vote on all items that an annotator gets; returns their ids."""
    seen = []
    while (offer := store.offer_item(code)) is not None:
        seen.append(offer.item["item_id"])
        store.vote(
            code,
            offer.offer_id,
            answer or {"shows": "yes", "rating": "4", "preference": "first"}[offer.item["task"]],
        )
    return seen


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now
