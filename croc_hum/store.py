"""Votes of several people on one set of items, in one SQLite file: every vote appended, none lost.

Two tables leave and enter as Parquet, and every other program reads these alone:

* **items** (:func:`items_schema`): what is shown. ``croc hum candidates`` writes the file, the page loads it.
* **votes** (:func:`votes_schema`): what was answered. :meth:`Store.export` writes it; a row a vote that
  stands, with the item's columns beside it, so that a reader needs no join (images stay in the items file).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from croc.schema import stable_hash

if TYPE_CHECKING:
    import pyarrow as pa

TASKS: tuple[str, ...] = ("shows", "rating", "preference")
"""Does the image show the prompt? How well? Which of two prompts fits?"""

ANSWERS: dict[str, tuple[str, ...]] = {
    "shows": ("yes", "no", "unsure"),
    "rating": ("1", "2", "3", "4", "5"),
    "preference": ("prompt", "contrast", "unsure"),
}
"""Every answer a task has, as text. ``preference``: the item's ``prompt`` or its ``contrast_prompt``,
wherever they stood on the screen."""

ROLES: tuple[str, ...] = ("annotator", "adjudicator", "imported")

ITEM_COLUMNS: dict[str, str] = {
    "item_id": "hash of all that is shown; see item_id()",
    "task": "one of TASKS",
    "check_id": "the check it belongs to",
    "concept_id": "the concept of the check",
    "category": "hum category, or null",
    "property": "contrasted property, or null",
    "prompt": "the prompt that the image is held against",
    "contrast_prompt": "the other prompt of the check; needed for preference, else may be null",
    "side": "original or contrast: the side of the check that the image was made for",
    "image_index": "number of the image on its side",
    "image": "struct {bytes, path}, as datasets.Image()",
    "expected": "the answer that the maker of the image claims (exact world: is certain of), or null",
    "attention": "an obvious item with a certain answer, shown to everyone to see whether they look",
    "text_model": "provenance, never shown",
    "image_model": "provenance, never shown",
    "seed": "provenance, never shown",
}

VOTE_COLUMNS: dict[str, str] = {
    "vote_id": "random, unique",
    "item_id": "what was judged",
    "annotator": "pseudonym, random",
    "role": "one of ROLES",
    "task": "one of TASKS",
    "answer": "one of ANSWERS[task]",
    "reason": "free text of the annotator, or null",
    "shown_first": "preference: which stood first, prompt or contrast; else null",
    "shown_at": "when the item was shown (UTC)",
    "voted_at": "when the vote was stored (UTC)",
    "duration_s": "seconds between the two, by the server's clock; null when imported without",
    "version": "version of program and instructions that the annotator saw",
    "attention": "the item is an attention check: leave it out of agreement and releases",
    "expected": "from the item",
    "undone": "taken back by the annotator; false in every row unless history was asked for",
    "check_id": "from the item",
    "concept_id": "from the item",
    "category": "from the item",
    "property": "from the item",
    "prompt": "from the item",
    "contrast_prompt": "from the item",
    "side": "from the item",
    "image_index": "from the item",
    "text_model": "from the item",
    "image_model": "from the item",
}


def _types() -> dict[str, pa.DataType]:
    import pyarrow as pa

    return {
        "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        "image_index": pa.int64(),
        "seed": pa.int64(),
        "attention": pa.bool_(),
        "undone": pa.bool_(),
        "duration_s": pa.float64(),
        "shown_at": pa.timestamp("ms", tz="UTC"),
        "voted_at": pa.timestamp("ms", tz="UTC"),
    }


def items_schema() -> pa.Schema:
    """Arrow schema of a file of items: the columns of ``ITEM_COLUMNS``."""
    import pyarrow as pa

    types = _types()
    return pa.schema([(name, types.get(name, pa.string())) for name in ITEM_COLUMNS])


def votes_schema() -> pa.Schema:
    """Arrow schema of exported votes: the columns of ``VOTE_COLUMNS``."""
    import pyarrow as pa

    types = _types()
    return pa.schema([(name, types.get(name, pa.string())) for name in VOTE_COLUMNS])


def item_id(
    task: str,
    prompt: str,
    contrast_prompt: str | None,
    image: bytes,
    *,
    check_id: str | None = None,
    side: str | None = None,
    image_index: int | None = None,
) -> str:
    """The id of an item: a hash of its task, prompts, image and place in its check."""
    digest = hashlib.sha256(image).hexdigest()
    return stable_hash("item", task, prompt, contrast_prompt, check_id, side, image_index, digest, length=20)
