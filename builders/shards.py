"""Staged parts → a finished folder: sharded Parquet, a README that makes it loadable, a manifest last.

What the builders share: which split a concept falls into, which rows go into which shard, and how a folder
becomes visible, so that a half-built one never loads as if it were whole. Which rows stay is decided in
:mod:`builders.screening`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from builders.licences import licence_of
from builders.screening import SPLITS, Looked, Row, count_twins, look, split_of
from croc.checks.schema import stable_hash
from croc.errors import InputError
from croc.jobs.parts import Part
from croc.jobs.runner import Manifest
from croc.storage.files import canonical, is_whole, read_json, sha256_of, write_json
from croc.storage.parquet import image_columns, spans, write_parquet

__all__ = ["CANARY", "SPLITS", "WORK", "check_ratios", "finish", "plan_shards", "settle", "split_of"]

SHARD_BYTES = 500_000_000
MINI = "mini"
MINI_MOST, MINI_LEAST = 200, 20
"""Checks of the configuration ``mini``: enough for a first look, small enough to wait for. It is a copy in a
file of its own, so it is never more than a twentieth of a split that has many."""

CANARY = "CROC benchmark data must not be in training corpora. canary 3b9d5c1e-8f0a-4d27-9c64-e1a7520f6db8"
"""Stands in every Parquet file and on the card, so that a corpus that swallowed the benchmark shows it."""

WORK = ".build"
"""Folder inside the output that holds all unfinished work; a leading dot hides it from ``load_dataset``."""


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


class Planned(NamedTuple):
    """What the staged files come to.

    Attributes:
        parts: the shards to write.
        left_out: how many checks and images are not in them, by reason.
        twins: checks that stay though another has the same captions, with other images.
    """

    parts: list[Part]
    left_out: Counter[str]
    twins: int


def plan_shards(
    staged: Manifest,
    ratios: Mapping[str, float],
    *,
    shard_bytes: int = SHARD_BYTES,
    mini: int = MINI_MOST,
    both_sides: bool = True,
    near: int | None = None,
) -> Planned:
    """Decide which rows go into which shard, from the staged files alone.

    Over all files of a split, in the order of their names, the rows are sorted by category and property; rows
    without one come first. A file holds one category, property, subset and world (exact or generated), so
    that each configuration is a view over whole files.

    Args:
        staged: the manifest of the staged images.
        ratios: share by split name.
        shard_bytes: a shard is closed when it has reached this size.
        mini: number of checks of the sample ``mini``, at most.
        both_sides: drop checks that lack images or the prompt of a side; else only those without any.
        near: images whose perceptual hashes differ in at most so many of 64 bits count as the same; None
            compares the files alone.

    Returns:
        The shards, and what is not in them.

    Raises:
        InputError: two rows claim the same check, something that is no image stands where one should, or a
            staged file cannot be read.
    """
    looked, left_out = look(staged, ratios, both_sides=both_sides, near=near)
    rows = _in_order(looked)
    parts = []
    numbers: Counter[str] = Counter()
    for (split, place), run in groupby(rows, key=lambda each: (each.row.split, each.row.place)):
        name = "-".join((split, f"{numbers[split]:04d}", *place))
        numbers[split] += 1
        files = _filled(list(run), shard_bytes)
        parts += [
            Part(f"{name}-{number:05d}-of-{len(files):05d}", {"group": [split, *place], "slices": slices})
            for number, slices in enumerate(files)
        ]
    if sample := _mini(rows, mini):
        split = sample[0].row.split
        slices = [piece for piece, _ in _slices(sample)]
        parts.append(Part(f"{MINI}-{split}-00000-of-00001", {"group": [MINI, split], "slices": slices}))
    return Planned(parts, left_out, count_twins(looked))


class _Placed(NamedTuple):
    """A row that stays, and where it is staged."""

    row: Row
    entry: Mapping[str, Any]
    index: int
    bytes: float


def _in_order(looked: Sequence[Looked]) -> list[_Placed]:
    """The rows that stay in the order of the finished files; within a property as they were staged."""
    placed = [
        _Placed(row, part.entry, index, part.entry["bytes"] / len(part.rows))
        for part in looked
        for index, row in enumerate(part.rows)
        if row.lost is None
    ]
    return sorted(placed, key=lambda each: each.row.order())


def _filled(rows: Sequence[_Placed], most: int) -> list[list[list[Any]]]:
    """The slices of each file: one is closed when it has reached the size."""
    files: list[list[list[Any]]] = []
    filled = float("inf")
    for piece, size in _slices(rows):
        if filled >= most:
            files.append([])
            filled = 0.0
        files[-1].append(piece)
        filled += size
    return files


def _slices(rows: Sequence[_Placed]) -> Iterator[tuple[list[Any], float]]:
    """Rows as ``[file, checksum, start, stop, cut]``, neighbours of a property together, and their size."""
    start = 0
    for stop in range(1, len(rows) + 1):
        first, last = rows[start], rows[stop - 1]
        after = rows[stop] if stop < len(rows) else None
        if (
            after is None
            or (after.entry["file"], after.index) != (last.entry["file"], last.index + 1)
            or after.row.order() != first.row.order()
        ):
            run = rows[start:stop]
            cut = {str(each.index): each.row.cut for each in run if each.row.cut}
            entry = first.entry
            checksum = entry.get("xxh128") or entry["sha256"]
            piece = [entry["file"], checksum, first.index, last.index + 1, cut]
            yield piece, sum(each.bytes for each in run)
            start = stop


def _mini(rows: Sequence[_Placed], most: int) -> list[_Placed]:
    """A sample: as many of each subset, category and property; their hashes decide which.

    It is of the split that benchmarks are run on, ``test``, or the nearest to it that there is.
    """
    split = next((name for name in SPLITS if any(each.row.split == name for each in rows)), None)
    mine = [each for each in rows if each.row.split == split]
    strata: dict[tuple[str, ...], list[tuple[str, int]]] = {}
    for number, each in enumerate(mine):
        category, name, subset, _ = each.row.place
        stratum = (subset, category, name)
        strata.setdefault(stratum, []).append((stable_hash("mini", each.row.check_id), number))
    ranked = sorted(
        (place, rank, number)
        for members in strata.values()
        for place, (rank, number) in enumerate(sorted(members))
    )
    count = min(most, max(MINI_LEAST, len(mine) // 20))
    return [mine[number] for number in sorted(number for *_, number in ranked[:count])]


# ---- One shard ----


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
    sides = image_columns(schema)

    def counted() -> Iterator[pa.Table]:
        nonlocal images
        for table in _ahead(staged_tables(staged, payload["slices"])):
            images += sum(pc.sum(pc.list_value_length(table[name])).as_py() or 0 for name in sides)
            yield fitted(licensed(table), schema)

    rows = write_parquet(counted(), path, with_canary(schema), sorted_by="property")
    return {"rows": rows, "images": images}


def _ahead(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The tables, each read while the one before is written."""
    with closing(tables), ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, tables, None)
        while (table := coming.result()) is not None:
            coming = reader.submit(next, tables, None)
            yield table


def with_canary(schema: pa.Schema) -> pa.Schema:
    """The schema with the canary beside the features in the file's metadata."""
    return schema.with_metadata({**(schema.metadata or {}), b"canary": CANARY.encode()})


def fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows with the columns of a schema and no others; what a stage does not know is null."""
    if table.schema.equals(schema):
        return table
    columns = [
        table[field.name] if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, names=schema.names).cast(schema)


def licensed(table: pa.Table) -> pa.Table:
    """The rows, each with a licence: its own, or that of its image model."""
    place = table.schema.get_field_index("license")
    if place < 0 or not table["license"].null_count:
        return table
    own = table["license"].to_pylist()
    models = table["image_model"].to_pylist()
    filled = [licence or licence_of(model) for licence, model in zip(own, models, strict=True)]
    return table.set_column(place, table.schema.field(place), pa.array(filled, pa.string()))


def staged_tables(staged: Path, slices: Sequence[Sequence[Any]]) -> Iterator[pa.Table]:
    """The rows of ``[file, checksum, start, stop, cut]`` slices in order, each file checked while it is read.

    Raises:
        InputError: a file is not the one that was planned with; only raised after its rows were given, so
            what is made of them must not become visible before the end.
    """
    # The checksum is taken beside the reading: the libraries of hashes let go of the interpreter.
    with ThreadPoolExecutor(1) as beside:
        for (file, checksum), group in groupby(slices, key=lambda each: (each[0], each[1])):
            path = staged / file
            found = beside.submit(_is_whole, path, checksum)
            try:
                for chain in _ascending(list(group)):
                    yield from _rows(path, chain)
            except (OSError, pa.ArrowException) as error:
                raise InputError(f"{path}: not a readable staged file ({error})") from None
            if not found.result():
                raise InputError(f"{path}: its content is not what its record says; make it again")


def _is_whole(path: Path, checksum: str) -> bool:
    state = path.stat()
    return _found_whole(path, checksum, state.st_size, state.st_mtime_ns)


@lru_cache(4096)
def _found_whole(path: Path, checksum: str, size: int, changed: int) -> bool:
    """Rows of one staged file go into several shards; while it does not change, once is enough."""
    return is_whole(path, checksum)


def _ascending(slices: Sequence[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    """Slices of one file, cut into runs that one pass through the file gives."""
    chain: list[Sequence[Any]] = []
    for each in slices:
        if chain and each[2] < chain[-1][3]:
            yield chain
            chain = []
        chain.append(each)
    yield chain


def _rows(path: Path, chain: Sequence[Sequence[Any]]) -> Iterator[pa.Table]:
    """The rows of ascending slices, in one pass."""
    for number, first, table in spans(path, [(start, stop) for _, _, start, stop, _ in chain]):
        yield _without(table, first, chain[number][4])


def _without(table: pa.Table, first: int, cut: Mapping[str, Mapping[str, Sequence[int]]]) -> pa.Table:
    """The rows without the images that are cut, nor what stands beside them (seeds, truth, flags)."""
    here = {int(row) - first: sides for row, sides in cut.items() if first <= int(row) < first + len(table)}
    if not here:
        return table
    pieces, start = [], 0
    for at in sorted(here):
        row = table.slice(at, 1).to_pylist()[0]
        for side, gone in here[at].items():
            count = len(row[side])
            prefix = side.removesuffix("images")
            for name, value in row.items():
                beside = name in (side, f"{prefix}seeds") or name.startswith(f"{prefix}images_")
                if beside and value is not None and len(value) == count:
                    row[name] = [each for index, each in enumerate(value) if index not in gone]
        pieces += [table.slice(start, at - start), pa.Table.from_pylist([row], schema=table.schema)]
        start = at + 1
    return pa.concat_tables([*pieces, table.slice(start)])


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


def finish(
    out: Path,
    shards: Manifest,
    recipe: Mapping[str, Any],
    texts: Mapping[str, str],
    dress: Callable[[Path], None] | None = None,
) -> None:
    """Lay out the finished folder beside the work, then make it visible.

    Args:
        out: the output folder.
        shards: the finished shards.
        recipe: what defines the build.
        texts: further files by name.
        dress: writes what is made from the finished data into the folder that it is given: card, pictures.

    Raises:
        InputError: the disk does not take it; what was made is kept.
    """
    try:
        _lay_out(out, shards, recipe, texts, dress)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{out}: cannot be finished ({reason}); run again to go on") from error
    publish(out)


def place_of(entry: Mapping[str, Any]) -> str:
    """Where a finished shard lies in the output folder: ``data/`` or ``mini/``."""
    name = Path(entry["file"]).name
    if name.startswith(f"{MINI}-"):
        return f"{MINI}/{name.removeprefix(f'{MINI}-')}"
    return f"data/{name}"


def data_of(made: Manifest) -> list[dict[str, Any]]:
    """The shards of ``data/``: every row once, without the copies of ``mini``."""
    return [entry for entry in made.parts if place_of(entry).startswith("data/")]


def _lay_out(
    out: Path,
    shards: Manifest,
    recipe: Mapping[str, Any],
    texts: Mapping[str, str],
    dress: Callable[[Path], None] | None,
) -> None:
    ready = out / WORK / "ready"
    shutil.rmtree(ready, ignore_errors=True)
    ready.mkdir(parents=True)
    for name, text in texts.items():
        (ready / name).write_text(text, "utf-8")
    files: dict[str, dict[str, Any]] = {}
    for entry in shards.parts:
        counts = {key: value for key, value in entry["counts"].items() if isinstance(value, int)}
        counted = {"bytes": entry["bytes"], "sha256": entry["sha256"], **counts}
        files[place_of(entry)] = counted
    content: dict[str, Any] = {"format": 1, "recipe": json.loads(canonical(dict(recipe))), "canary": CANARY}
    for name in files:
        (ready / name).parent.mkdir(exist_ok=True)
    for entry in shards.parts:
        (shards.folder / entry["file"]).rename(ready / place_of(entry))
    if dress is not None:
        # A draft, for the card to read; the true one has the checksums of what the card writes too.
        write_json(ready / "manifest.json", {**content, "files": files})
        dress(ready)
        (ready / "manifest.json").unlink()
    others = sorted(path for path in ready.iterdir() if path.is_file())
    files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in others} | files
    content["files"] = files
    content["sha256"] = hashlib.sha256(canonical(content).encode()).hexdigest()
    write_json(ready / "manifest.json", content)


def publish(out: Path) -> None:
    """Move what is ready into the output folder, the manifest last; does nothing when nothing is ready.

    Until the data is there the README names files that are not, so loading fails rather than loads a part.
    """
    ready = out / WORK / "ready"
    content = read_json(ready / "manifest.json")
    if content is None or "sha256" not in content:
        return
    late = {MINI: 1, "data": 1, "manifest.json": 2}
    for path in sorted(ready.iterdir(), key=lambda each: (late.get(each.name, 0), each.name)):
        path.rename(out / path.name)
    shutil.rmtree(out / WORK)
