"""Items for annotators, from rows of checks with candidate images.

The rows come from any image backend (a folder of staged images), or from a finished build of CROCsyn, of
which a stratified sample is labelled to measure its label noise. ``sample.json`` beside the items records how
many checks of each property they represent.
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
from croc.wording import counted
from croc_hum.schema import ANSWERS, ITEMS, TASKS, item_id, items_schema

SAMPLE = "sample.json"
_EXPECTED = {"shows": ("yes", "no"), "preference": ("prompt", "contrast")}


@dataclass(frozen=True)
class Candidates:
    """The written items.

    Attributes:
        file: the file of items.
        items, checks: numbers of items and checks.
        categories: number of items by category; the key ``""`` is for items without one.
        attention: number of attention checks.
        repeated: number of images left out because their side of the check already has the same image.
    """

    file: Path
    items: int
    checks: int
    categories: dict[str, int]
    attention: int
    repeated: int

    def lines(self) -> list[str]:
        """The numbers in sentences."""
        categories = ", ".join(f"{name or 'no category'}: {n}" for name, n in self.categories.items())
        lines = [f"{counted(self.items, 'item')} of {counted(self.checks, 'check')} ({categories})"]
        if self.attention:
            lines.append(f"{counted(self.attention, 'attention check')} added")
        if self.repeated:
            lines.append(
                f"{counted(self.repeated, 'image')} left out as duplicates on the same side of a check"
            )
        return lines


def read_staged_rows(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Read the rows of staged images, in batches.

    Raises:
        InputError: a file cannot be read.
    """
    import pyarrow as pa

    for file in files:
        try:
            for table in batches(file):
                yield from table.to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{file}: cannot be read as a file of checks ({error})") from None


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
    """Write a folder of items for annotators.

    Args:
        checks: rows with the columns of a check; ``images_valid`` and ``contrast_images_valid`` contain for
            each image whether it shows its prompt, where that is known.
        out: the folder; its ``items.parquet`` and ``sample.json`` are replaced.
        task: one of ``TASKS``.
        images: number of images per side, the first ones; None takes all.
        attention: items of :func:`make_attention_item`, shown to all annotators.
        population: number of checks of each property that the items represent; None counts ``checks``.
        source: where the checks come from, for ``sample.json``.

    Raises:
        InputError: there is no image, an image cannot be decoded, or the task lacks a contrast prompt.
    """
    import pyarrow as pa

    if task not in TASKS:
        raise InputError(f"the task must be one of {', '.join(TASKS)}, not {task!r}")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    schema = items_schema()
    ids: set[str] = set()
    written = 0
    counts: Counter[str] = Counter()
    properties: Counter[str] = Counter()
    repeated = 0

    def tables() -> Iterator[pa.Table]:
        nonlocal written, repeated
        for check in checks:
            if check["check_id"] in ids:
                raise InputError(f"check {check['check_id']} occurs twice; expected each check once")
            ids.add(check["check_id"])
            properties[contrasted_property(check)] += 1
            items, seen = [], set()
            for item in make_items(check, task, images=images):
                key = (item["side"], hashlib.sha256(item["image"]["bytes"]).digest())
                if key in seen:
                    repeated += 1
                    continue
                seen.add(key)
                counts[item["category"] or ""] += 1
                items.append(item)
            written += len(items)
            if items:
                yield pa.Table.from_pylist(items, schema=schema)
        if attention:
            yield pa.Table.from_pylist([dict(item) for item in attention], schema=schema)

    with atomic(folder / ITEMS) as temporary:
        write_parquet(tables(), temporary, schema)
        if not written:
            raise InputError(f"{folder}: there is no candidate image")
    sample = {
        "task": task,
        "source": dict(source or {}),
        "sha256": sha256_of(folder / ITEMS),
        "items": written,
        "checks": len(ids),
        "sampled": dict(sorted(properties.items())),
        "population": dict(sorted((population or properties).items())),
    }
    write_json(folder / SAMPLE, sample)
    return Candidates(
        folder / ITEMS, written, len(ids), dict(sorted(counts.items())), len(attention), repeated
    )


def contrasted_property(check: Mapping[str, Any]) -> str:
    """The property of a check; for checks without one, as in variations of entities, their subset."""
    return str(check.get("property") or check.get("subset") or "")


def make_items(check: Mapping[str, Any], task: str, *, images: int | None = None) -> Iterator[dict[str, Any]]:
    """The items of one check: each image with the prompt that it was made for.

    Raises:
        InputError: an image cannot be decoded, or the task needs a contrast prompt and there is none.
    """
    if task == "preference" and not (check["prompt"] and check["contrast_prompt"]):
        raise InputError(
            f"check {check['check_id']}: the task 'preference' needs a prompt and a contrast prompt"
        )
    texts = (check["prompt"], check["contrast_prompt"])
    for side, prefix in zip(SIDES, ("", "contrast_"), strict=True):
        prompt, other_prompt = texts if side == SIDES[0] else texts[::-1]
        valid = check.get(f"{prefix}images_valid")
        seeds = check.get(f"{prefix}seeds") or ()
        for index, image in enumerate((check[f"{prefix}images"] or ())[:images]):
            if not prompt:
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
                    task, prompt, other_prompt, data, check_id=check["check_id"], side=side, image_index=index
                ),
                "task": task,
                "check_id": check["check_id"],
                "concept_id": check["concept_id"],
                "category": check.get("category"),
                "property": contrasted_property(check) or None,
                "prompt": prompt,
                "contrast_prompt": other_prompt,
                "side": side,
                "image_index": index,
                "image": {"bytes": data, "path": None},
                "expected": claimed[0 if valid[index] else 1] if claimed and valid else None,
                "attention": False,
                "text_model": check.get("text_model"),
                "image_model": check.get("image_model"),
                "seed": seeds[index] if index < len(seeds) else None,
            }


def make_attention_item(
    task: str, prompt: str, contrast_prompt: str, image: bytes, expected: str, image_model: str | None = None
) -> dict[str, Any]:
    """Make an attention check: an item with an obvious answer.

    Raises:
        InputError: the task has no such answer.
    """
    if expected not in ANSWERS.get(task, ()):
        raise InputError(f"the task {task!r} has no answer {expected!r}")
    own_id = item_id(task, prompt, contrast_prompt, image, check_id="attention")
    return {
        **dict.fromkeys(items_schema().names),
        "item_id": own_id,
        "task": task,
        "check_id": f"attention-{own_id}",
        "concept_id": f"attention-{own_id}",
        "prompt": prompt,
        "contrast_prompt": contrast_prompt,
        "side": SIDES[0],
        "image_index": 0,
        "image": {"bytes": image, "path": None},
        "expected": expected,
        "attention": True,
        "image_model": image_model,
    }
