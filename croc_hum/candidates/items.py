"""Candidate images → items that people judge: rows of checks in, one Parquet file of items out.

The rows come from any image backend (a folder of staged images), or from a finished build of CROCsyn of which
a stratified sample is judged, so that its label noise is known. Beside the items lies ``sample.json``, which
says how many checks of each property they stand for.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from croc.checks.decoding import decode, to_bytes
from croc.checks.schema import SIDES
from croc.errors import InputError
from croc.storage.files import atomic, sha256_of, write_json
from croc.storage.parquet import batches, write_parquet
from croc_hum.schema import ANSWERS, ITEMS, TASKS, item_id, items_schema

SAMPLE = "sample.json"
_EXPECTED = {"shows": ("yes", "no"), "preference": ("prompt", "contrast")}


@dataclass(frozen=True)
class Candidates:
    """What was made.

    Attributes:
        file: the items.
        items, checks: numbers of them.
        categories: items by category; the key ``""`` stands for none.
        attention: attention checks among the items.
        repeated: images that were left out, because their side of the check has the same image already.
    """

    file: Path
    items: int
    checks: int
    categories: dict[str, int]
    attention: int
    repeated: int

    def lines(self) -> list[str]:
        """The numbers in words."""
        shares = ", ".join(f"{name or 'no category'} {count}" for name, count in self.categories.items())
        text = [f"{self.items} items of {self.checks} checks ({shares})"]
        if self.attention:
            text.append(f"{self.attention} more items are attention checks")
        if self.repeated:
            text.append(
                f"{self.repeated} images were left out: their side of the check has the same image already"
            )
        return text


def staged_rows(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """The rows of staged images, a few in memory at once.

    Raises:
        InputError: a file cannot be read.
    """
    import pyarrow as pa

    for file in files:
        try:
            for table in batches(file):
                yield from table.to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{file}: not a readable file of checks ({error})") from None


def write_items(
    checks: Iterable[Mapping[str, Any]],
    out: str | Path,
    *,
    task: str = "shows",
    images: int | None = None,
    attention: Sequence[Mapping[str, Any]] = (),
    population: Mapping[str, int] | None = None,
    source: Mapping[str, Any] | None = None,
) -> Candidates:
    """Make a folder of items that people judge.

    Args:
        checks: rows with the columns of a check; ``images_valid`` and ``contrast_images_valid`` say per image
            whether it shows its prompt, where the image model knows.
        out: the folder; ``items.parquet`` and ``sample.json`` in it are replaced.
        task: one of ``TASKS``.
        images: images a side, the first ones; None takes all.
        attention: finished items of :func:`attention_item`, shown to everyone.
        population: how many checks of each property the items stand for; None counts those given.
        source: where the checks come from, for ``sample.json``.

    Returns:
        What was made.

    Raises:
        InputError: there is no image, an image cannot be decoded, or the task lacks a contrast prompt.
    """
    import pyarrow as pa

    if task not in TASKS:
        raise InputError(f"task {task!r} is not known; known are {', '.join(TASKS)}")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    schema = items_schema()
    ids: set[str] = set()
    made = 0
    counts: Counter[str] = Counter()
    properties: Counter[str] = Counter()
    repeated = 0

    def tables() -> Iterator[pa.Table]:
        nonlocal made, repeated
        for check in checks:
            if check["check_id"] in ids:
                raise InputError(
                    f"check {check['check_id']} is there twice; one of them would hide the other"
                )
            ids.add(check["check_id"])
            properties[property_of(check)] += 1
            found, seen = [], set()
            for item in items_of(check, task, images=images):
                shown = (item["side"], hashlib.sha256(item["image"]["bytes"]).digest())
                if shown in seen:
                    repeated += 1
                    continue
                seen.add(shown)
                counts[item["category"] or ""] += 1
                found.append(item)
            made += len(found)
            if found:
                yield pa.Table.from_pylist(found, schema=schema)
        if attention:
            yield pa.Table.from_pylist([dict(each) for each in attention], schema=schema)

    with atomic(folder / ITEMS) as temporary:
        write_parquet(tables(), temporary, schema)
        if not made:
            raise InputError(f"{folder}: there is no candidate image to judge")
    described = {
        "task": task,
        "source": dict(source or {}),
        "sha256": sha256_of(folder / ITEMS),
        "items": made,
        "checks": len(ids),
        "sampled": dict(sorted(properties.items())),
        "population": dict(sorted((population or properties).items())),
    }
    write_json(folder / SAMPLE, described)
    return Candidates(folder / ITEMS, made, len(ids), dict(sorted(counts.items())), len(attention), repeated)


def property_of(check: Mapping[str, Any]) -> str:
    """What a check contrasts: its property; where it has none, as in variations of entities, its subset."""
    return str(check.get("property") or check.get("subset") or "")


def items_of(check: Mapping[str, Any], task: str, *, images: int | None = None) -> Iterator[dict[str, Any]]:
    """The items of one check: each image held against the prompt that it was made for.

    Raises:
        InputError: an image cannot be decoded, or the task needs a contrast prompt that is not there.
    """
    if task == "preference" and not (check["prompt"] and check["contrast_prompt"]):
        raise InputError(f"check {check['check_id']}: which of two prompts fits needs two prompts")
    texts = (check["prompt"], check["contrast_prompt"])
    for side, prefix in zip(SIDES, ("", "contrast_"), strict=True):
        own, other = texts if side == SIDES[0] else texts[::-1]
        valid = check.get(f"{prefix}images_valid")
        seeds = check.get(f"{prefix}seeds") or ()
        for index, image in enumerate((check[f"{prefix}images"] or ())[:images]):
            if not own:
                continue
            where = f"check {check['check_id']}, {side} image {index}"
            try:
                data = to_bytes(image)
                decode(data)
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
            claimed = _EXPECTED.get(task)
            yield {
                "item_id": item_id(
                    task, own, other, data, check_id=check["check_id"], side=side, image_index=index
                ),
                "task": task,
                "check_id": check["check_id"],
                "concept_id": check["concept_id"],
                "category": check.get("category"),
                "property": property_of(check) or None,
                "prompt": own,
                "contrast_prompt": other,
                "side": side,
                "image_index": index,
                "image": {"bytes": data, "path": None},
                "expected": claimed[0 if valid[index] else 1] if claimed and valid else None,
                "attention": False,
                "text_model": check.get("text_model"),
                "image_model": check.get("image_model"),
                "seed": seeds[index] if index < len(seeds) else None,
            }


def attention_item(
    task: str, prompt: str, contrast_prompt: str, image: bytes, expected: str, image_model: str | None = None
) -> dict[str, Any]:
    """An obvious item with a certain answer: whoever misses it does not look.

    Raises:
        InputError: the answer is none of the task's.
    """
    if expected not in ANSWERS.get(task, ()):
        raise InputError(f"task {task!r} has no answer {expected!r}")
    own = item_id(task, prompt, contrast_prompt, image, check_id="attention")
    return {
        **dict.fromkeys(items_schema().names),
        "item_id": own,
        "task": task,
        "check_id": f"attention-{own}",
        "concept_id": f"attention-{own}",
        "prompt": prompt,
        "contrast_prompt": contrast_prompt,
        "side": SIDES[0],
        "image_index": 0,
        "image": {"bytes": image, "path": None},
        "expected": expected,
        "attention": True,
        "image_model": image_model,
    }
