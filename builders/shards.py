"""Staged parts → a finished folder: sharded Parquet, a README that makes it loadable, a manifest last.

What the builders share: which split a concept falls into, which rows go into which shard, and how a folder
becomes visible, so that a half-built one never loads as if it were whole.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from croc.errors import InputError
from croc.files import canonical, read_json, write_json
from croc.parts import Manifest, Part
from croc.schema import stable_hash
from croc_syn.images import write_rows
from croc_syn.prompts import OTHER

SHARD_BYTES = 500_000_000
SPLITS = ("test", "validation", "train")
WORK = ".build"
"""Folder inside the output that holds all unfinished work; a leading dot hides it from ``load_dataset``."""

_SIDES = ("images", "contrast_images")
_KEYS = ["check_id", "concept_id", "category", "subset", "property_path", "property"]


def split_of(concept_id: str, ratios: Mapping[str, float]) -> str:
    """The split of a concept: decided by its hash alone, so that more data never moves it.

    Args:
        concept_id: the concept.
        ratios: share by split name; they add up to 1.
    """
    place = int(stable_hash("split", concept_id, length=13), 16) / 16**13
    for name in SPLITS:
        share = ratios.get(name, 0.0)
        if place < share:
            return name
        place -= share
    return next(name for name in reversed(SPLITS) if ratios.get(name))


def check_ratios(ratios: Mapping[str, float]) -> dict[str, float]:
    """The shares of the splits, checked.

    Raises:
        InputError: an unknown split, a negative share, or a sum other than 1.
    """
    if unknown := sorted(set(ratios) - set(SPLITS)):
        raise InputError(f"splits: unknown {', '.join(unknown)}; known are {', '.join(SPLITS)}")
    if any(share < 0 for share in ratios.values()) or abs(sum(ratios.values()) - 1) > 1e-9:
        raise InputError(f"splits: shares must be 0 or more and add up to 1, not {dict(ratios)}")
    return {name: float(ratios[name]) for name in SPLITS if ratios.get(name)}


def plan_shards(
    staged: Manifest, ratios: Mapping[str, float], *, shard_bytes: int = SHARD_BYTES
) -> tuple[list[Part], Counter[str]]:
    """Decide which rows go into which shard, from the staged files alone.

    A shard holds one split, category and subset, so that each configuration is a view over whole files; its
    rows are sorted by property. Rows of ``train`` whose caption or image also stands in another split are
    left out.

    Args:
        staged: the manifest of the staged images.
        ratios: share by split name.
        shard_bytes: a shard is closed when it has reached this size.

    Returns:
        The parts, and how many rows were left out, by reason.

    Raises:
        InputError: two rows claim the same check, or a staged file cannot be read.
    """
    guard = _Guard(staged, ratios) if "train" in ratios and len(ratios) > 1 else None
    slices: dict[tuple[str, ...], list[tuple[str, str, int, int, float]]] = {}
    ids = []
    left_out: Counter[str] = Counter()
    for entry in staged.parts:
        rows = _read(staged.folder / entry["file"], _KEYS).to_pylist()
        ids.append(np.array([int(row["check_id"][:16], 16) for row in rows], dtype=np.uint64))
        keys = [
            (
                split_of(row["concept_id"], ratios),
                row["category"] or OTHER,
                row["subset"] or OTHER,
                row["property_path"] or "",
                row["property"] or "",
            )
            for row in rows
        ]
        lost = guard.lost(entry, keys) if guard is not None else set()
        left_out["caption or image also in another split"] += len(lost)
        marks = [(key, index not in lost) for index, key in enumerate(keys)]
        start = 0
        for (key, kept), run in groupby(marks):
            stop = start + len(list(run))
            if kept:
                size = entry["bytes"] * (stop - start) / len(rows)
                slices.setdefault(key, []).append((entry["file"], entry["sha256"], start, stop, size))
            start = stop
    _no_twins(ids, staged)
    parts = []
    for group, keys in groupby(sorted(slices), key=lambda key: key[:3]):
        shards: list[list[list[Any]]] = []
        filled = float("inf")
        for key in keys:
            for file, sha256, start, stop, size in slices[key]:
                if filled >= shard_bytes:
                    shards.append([])
                    filled = 0.0
                shards[-1].append([file, sha256, start, stop])
                filled += size
        for number, chosen in enumerate(shards):
            name = f"{'-'.join(group)}-{number:05d}-of-{len(shards):05d}"
            parts.append(Part(name, {"group": list(group), "slices": chosen}))
    return parts, +left_out


def write_shard(payload: Mapping[str, Any], path: Path, *, staged: Path, schema: pa.Schema) -> dict[str, Any]:
    """Make one shard: the planned rows, the image bytes untouched.

    Args:
        payload: what :func:`plan_shards` wrote.
        path: the Parquet file.
        staged: folder of the staged images.
        schema: Arrow schema of the finished rows.

    Returns:
        Counts: ``rows``, ``images``.

    Raises:
        InputError: a staged file is not the one that was planned with.
    """
    images = 0

    def counted() -> Iterator[pa.Table]:
        nonlocal images
        for table in staged_tables(staged, payload["slices"]):
            images += sum(pc.sum(pc.list_value_length(table[name])).as_py() or 0 for name in _SIDES)
            yield table

    return {"rows": write_rows(counted(), path, schema), "images": images}


def staged_tables(staged: Path, slices: Sequence[Sequence[Any]]) -> Iterator[pa.Table]:
    """The rows of ``[file, sha256, start, stop]`` slices in order; each file is read once and checked."""
    last, table = None, None
    for file, sha256, start, stop in slices:
        if file != last:
            data = (staged / file).read_bytes()
            if hashlib.sha256(data).hexdigest() != sha256:
                raise InputError(f"{staged / file}: its content is not what its record says; make it again")
            table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
            last = file
        yield table.slice(start, stop - start)


# ---- From the work folder to a finished one ----


def settle(out: Path, recipe: Mapping[str, Any]) -> bool:
    """Look at the output folder before anything is made.

    Returns:
        True when it already holds this very build, finished.

    Raises:
        InputError: it holds something else.
    """
    manifest = out / "manifest.json"
    if not manifest.is_file():
        strangers = [] if not out.exists() else [p.name for p in out.iterdir() if p.name != WORK]
        if strangers and not (out / WORK).is_dir():
            raise InputError(f"{out} is not empty ({strangers[0]} …); choose a new folder")
        publish(out)
    if not manifest.is_file():
        return False
    if (out / WORK / "ready").is_dir():
        shutil.rmtree(out / WORK)
    stored = read_json(manifest).get("recipe", {})
    mine = json.loads(canonical(dict(recipe)))
    # What other versions of libraries made is finished all the same; only going on with it would mix.
    keys = sorted({*stored, *mine} - {"versions"})
    different = [key for key in keys if stored.get(key) != mine.get(key)]
    if different:
        key = different[0]
        raise InputError(
            f"{out} holds another build ({key}: {stored.get(key)} there, {mine.get(key)} here); "
            "choose another folder or remove it"
        )
    return True


def finish(out: Path, shards: Manifest, recipe: Mapping[str, Any], texts: Mapping[str, str]) -> None:
    """Lay out the finished folder beside the work, then make it visible.

    Args:
        out: the output folder.
        shards: the finished shards.
        recipe: what defines the build.
        texts: further files by name, ``README.md`` among them.
    """
    ready = out / WORK / "ready"
    shutil.rmtree(ready, ignore_errors=True)
    ready.mkdir(parents=True)
    files = {}
    for name, text in texts.items():
        (ready / name).write_text(text, "utf-8")
        files[name] = {
            "bytes": len(text.encode()),
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
        }
    for entry in shards.parts:
        counted = {"bytes": entry["bytes"], "sha256": entry["sha256"], "rows": entry["counts"]["rows"]}
        files[f"data/{Path(entry['file']).name}"] = counted
    (shards.folder / "parts").rename(ready / "data")
    content = {"format": 1, "recipe": json.loads(canonical(dict(recipe))), "files": files}
    content["sha256"] = hashlib.sha256(canonical(content).encode()).hexdigest()
    write_json(ready / "manifest.json", content)
    publish(out)


def publish(out: Path) -> None:
    """Move what is ready into the output folder, the manifest last; does nothing when nothing is ready.

    Until the data is there the README names files that are not, so loading fails rather than loads a part.
    """
    ready = out / WORK / "ready"
    if not (ready / "manifest.json").is_file():
        return
    late = {"data": 1, "manifest.json": 2}
    for path in sorted(ready.iterdir(), key=lambda each: (late.get(each.name, 0), each.name)):
        path.rename(out / path.name)
    shutil.rmtree(out / WORK)


def count_twins(staged: Manifest) -> int:
    """Number of checks whose pair of captions an earlier check has too, whichever is the original."""
    marks = []
    for entry in staged.parts:
        table = _read(staged.folder / entry["file"], ["prompt", "contrast_prompt"])
        pairs = zip(*(table.column(name).to_pylist() for name in table.column_names), strict=True)
        marks += [_mark(b"\n".join(sorted(map(_folded, pair)))) for pair in pairs]
    return len(marks) - len(np.unique(np.array(marks, dtype=np.uint64)))


def _read(path: Path, columns: Sequence[str]) -> pa.Table:
    try:
        with pq.ParquetFile(path) as stored:
            return stored.read(columns=list(columns), use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: not a readable staged file ({error})") from None


def _no_twins(ids: Sequence[np.ndarray], staged: Manifest) -> None:
    """Refuse rows that claim the same check, naming the parts."""
    flat = np.concatenate(ids) if ids else np.zeros(0, dtype=np.uint64)
    values, counts = np.unique(flat, return_counts=True)
    if not (counts > 1).any():
        return
    twin = values[counts > 1][0]
    places = [entry["file"] for entry, part in zip(staged.parts, ids, strict=True) if twin in part]
    raise InputError(f"{staged.folder}: check {int(twin):016x}… is there twice, in {' and '.join(places)}")


class _Guard:
    """Knows the captions and images of the splits that are not ``train``."""

    def __init__(self, staged: Manifest, ratios: Mapping[str, float]) -> None:
        self.folder = staged.folder
        self.held: set[int] = set()
        for entry in staged.parts:
            table = self._columns(entry)
            concepts = table.column("concept_id").to_pylist()
            for concept, marks in zip(concepts, self._marks(table), strict=True):
                if split_of(concept, ratios) != "train":
                    self.held |= marks

    def lost(self, entry: Mapping[str, Any], keys: Sequence[tuple[str, ...]]) -> set[int]:
        """Indices of the part's train rows that share a caption or an image with another split."""
        marks = self._marks(self._columns(entry))
        return {
            index
            for index, (key, mine) in enumerate(zip(keys, marks, strict=True))
            if key[0] == "train" and mine & self.held
        }

    def _columns(self, entry: Mapping[str, Any]) -> pa.Table:
        names = ["concept_id", "prompt", "contrast_prompt", "images", "contrast_images"]
        return _read(self.folder / entry["file"], names)

    def _marks(self, table: pa.Table) -> list[set[int]]:
        return [
            {
                *(
                    _mark(" ".join((row[name] or "").lower().split()).encode())
                    for name in ("prompt", "contrast_prompt")
                ),
                *(_mark(image["bytes"]) for name in _SIDES for image in row[name]),
            }
            for row in table.to_pylist()
        ]


def _folded(caption: str | None) -> bytes:
    """A caption without what makes no difference to a reader: case and spacing."""
    return " ".join((caption or "").lower().split()).encode()


def _mark(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
