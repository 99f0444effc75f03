"""Staged parts → a finished folder: sharded Parquet, a README that makes it loadable, a manifest last.

It decides which rows go into which shard, and makes a folder visible only when it is complete. Which rows
stay is decided in :mod:`builders.screening`.
"""

from __future__ import annotations

import inspect
import json
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import lru_cache, wraps
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from builders.licences import licence_of
from builders.screening import SPLITS, ScreenedFile, ScreenedRow, count_repeated_captions, screen, split_of
from croc.checks.manifest import digest_of_manifest, read_dataset_manifest
from croc.checks.schema import stable_hash
from croc.errors import InputError
from croc.jobs.parts import Part
from croc.jobs.runner import Manifest
from croc.storage.checksums import quick_checksum
from croc.storage.files import LOCK, canonical, is_whole, locked, read_json, sha256_of, write_json
from croc.storage.parquet import image_columns, spans, write_parquet

__all__ = ["CANARY", "SPLITS", "WORK", "check_ratios", "finish", "is_finished", "plan_shards", "split_of"]

SHARD_BYTES = 500_000_000
MINI = "mini"
MINI_MOST, MINI_LEAST = 200, 20
"""Number of checks in the configuration ``mini``, at most and at least. It is a copy in a file of its own, so
it has at most a twentieth of the checks of a large split."""

CANARY = "CROC benchmark data must not be in training corpora. canary 3b9d5c1e-8f0a-4d27-9c64-e1a7520f6db8"
"""In every Parquet file and on the card, so that a corpus that contains the benchmark can be recognised."""

WORK = ".build"
"""Folder inside the output for all unfinished work; the leading dot hides it from ``load_dataset``."""


def check_ratios(ratios: Mapping[str, float]) -> dict[str, float]:
    """Check the shares of the splits.

    Raises:
        InputError: an unknown split, a negative share, or a sum other than 1.
    """
    if unknown := sorted(set(ratios) - set(SPLITS)):
        raise InputError(f"splits: unknown {', '.join(unknown)}; known are {', '.join(SPLITS)}")
    if any(share < 0 for share in ratios.values()) or abs(sum(ratios.values()) - 1) > 1e-9:
        raise InputError(f"splits: shares must be 0 or more and add up to 1, not {dict(ratios)}")
    return {name: float(ratios[name]) for name in SPLITS if ratios.get(name)}


class ShardPlan(NamedTuple):
    """The shards of some staged files.

    Attributes:
        parts: the shards to write.
        left_out: how many checks and images are not in them, by reason.
        repeated_captions: number of checks with the captions of another one, but other images.
    """

    parts: list[Part]
    left_out: Counter[str]
    repeated_captions: int


def plan_shards(
    staged: Manifest,
    ratios: Mapping[str, float],
    *,
    shard_bytes: int = SHARD_BYTES,
    mini: int = MINI_MOST,
    both_sides: bool = True,
    near: int | None = None,
) -> ShardPlan:
    """Decide which rows go into which shard; only the staged files decide.

    Over all files of a split, in the order of their names, the rows are sorted by category and property; rows
    without one come first. A file holds one category, property, subset and world (exact or generated), so
    each configuration is a view of whole files.

    Args:
        staged: the manifest of the staged images.
        ratios: share by split name.
        shard_bytes: a shard is closed when it has reached this size.
        mini: number of checks of the sample ``mini``, at most.
        both_sides: drop checks without images or prompt on one side; else only those without any.
        near: number of bits; images whose 64-bit perceptual hashes differ in at most so many count as equal.
            None compares the files only.

    Raises:
        InputError: two rows have the same check id, an image is not an image file, or a staged file cannot be
            read.
    """
    screened, left_out = screen(staged, ratios, both_sides=both_sides, near=near)
    rows = _in_order(screened)
    parts = []
    numbers: Counter[str] = Counter()
    for (split, place), run in groupby(rows, key=lambda placed: (placed.row.split, placed.row.place)):
        name = "-".join((split, f"{numbers[split]:04d}", *place))
        numbers[split] += 1
        files = _fill_files(list(run), shard_bytes)
        parts += [
            Part(f"{name}-{number:05d}-of-{len(files):05d}", {"group": [split, *place], "slices": slices})
            for number, slices in enumerate(files)
        ]
    if sample := _mini(rows, mini):
        split = sample[0].row.split
        slices = [piece for piece, _ in _slices(sample)]
        parts.append(Part(f"{MINI}-{split}-00000-of-00001", {"group": [MINI, split], "slices": slices}))
    return ShardPlan(parts, left_out, count_repeated_captions(screened))


class _Placed(NamedTuple):
    """A row that stays, and where it is staged."""

    row: ScreenedRow
    entry: Mapping[str, Any]
    position: int
    bytes: float


def _in_order(screened: Sequence[ScreenedFile]) -> list[_Placed]:
    """The rows that stay, in the order of the finished files; within a property as they were staged."""
    placed = [
        _Placed(row, file.entry, index, file.entry["bytes"] / len(file.rows))
        for file in screened
        for index, row in enumerate(file.rows)
        if row.reason is None
    ]
    return sorted(placed, key=lambda item: item.row.order())


def _fill_files(rows: Sequence[_Placed], most: int) -> list[list[list[Any]]]:
    """The slices of each file; a file is closed when it has reached the size."""
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
            or (after.entry["file"], after.position) != (last.entry["file"], last.position + 1)
            or after.row.order() != first.row.order()
        ):
            run = rows[start:stop]
            cut = {str(item.position): item.row.cut for item in run if item.row.cut}
            entry = first.entry
            checksum = entry.get("xxh128") or entry["sha256"]
            piece = [entry["file"], checksum, first.position, last.position + 1, cut]
            yield piece, sum(item.bytes for item in run)
            start = stop


def _mini(rows: Sequence[_Placed], most: int) -> list[_Placed]:
    """A stratified sample over subset, category and property; the hashes of the checks decide which.

    It is taken from ``test``, or from the next split of ``SPLITS`` that has rows.
    """
    split = next((name for name in SPLITS if any(item.row.split == name for item in rows)), None)
    mine = [item for item in rows if item.row.split == split]
    strata: dict[tuple[str, ...], list[tuple[str, int]]] = {}
    for number, item in enumerate(mine):
        category, name, subset, _ = item.row.place
        stratum = (subset, category, name)
        strata.setdefault(stratum, []).append((stable_hash("mini", item.row.check_id), number))
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
        payload: from :func:`plan_shards`.
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
        for table in _read_ahead(staged_tables(staged, payload["slices"])):
            images += sum(pc.sum(pc.list_value_length(table[name])).as_py() or 0 for name in sides)
            yield select_columns(fill_licences(table), schema)

    rows = write_parquet(counted(), path, with_canary(schema), sorted_by="property")
    return {"rows": rows, "images": images}


def _read_ahead(tables: Generator[pa.Table, None, None]) -> Iterator[pa.Table]:
    """The tables; each is read while the one before is written."""
    with closing(tables), ThreadPoolExecutor(1) as reader:
        following = reader.submit(next, tables, None)
        while (table := following.result()) is not None:
            following = reader.submit(next, tables, None)
            yield table


def with_canary(schema: pa.Schema) -> pa.Schema:
    """The schema with the canary added to the metadata."""
    return schema.with_metadata({**(schema.metadata or {}), b"canary": CANARY.encode()})


def select_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows with exactly the columns of a schema; missing ones are null."""
    if table.schema.equals(schema):
        return table
    columns = [
        table[field.name] if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, names=schema.names).cast(schema)


def fill_licences(table: pa.Table) -> pa.Table:
    """The rows, each with a licence: its own, or that of its image model."""
    place = table.schema.get_field_index("license")
    if place < 0 or not table["license"].null_count:
        return table
    own = table["license"].to_pylist()
    models = table["image_model"].to_pylist()
    filled = [licence or licence_of(model) for licence, model in zip(own, models, strict=True)]
    return table.set_column(place, table.schema.field(place), pa.array(filled, pa.string()))


def staged_tables(staged: Path, slices: Sequence[Sequence[Any]]) -> Generator[pa.Table, None, None]:
    """The rows of ``[file, checksum, start, stop, cut]`` slices in order; files are verified while read.

    Raises:
        InputError: a file is not the one of the plan. It is raised after the rows were yielded, so what is
        made
            from them must not become visible before the end.
    """
    # The checksum is computed while the file is read; hashing releases the GIL.
    with ThreadPoolExecutor(1) as hasher:
        for (file, checksum), group in groupby(slices, key=lambda piece: (piece[0], piece[1])):
            path = staged / file
            whole = hasher.submit(_is_whole, path, checksum)
            try:
                for chain in _ascending(list(group)):
                    yield from _rows(path, chain)
            except (OSError, pa.ArrowException) as error:
                raise InputError(f"{path}: not a readable staged file ({error})") from None
            if not whole.result():
                raise InputError(f"{path}: its content does not match its recorded checksum; make it again")


def _is_whole(path: Path, checksum: str) -> bool:
    state = path.stat()
    return _is_whole_cached(path, checksum, state.st_size, state.st_mtime_ns)


@lru_cache(4096)
def _is_whole_cached(path: Path, checksum: str, size: int, changed: int) -> bool:
    """Rows of one staged file go into several shards; while it does not change, it is verified once."""
    return is_whole(path, checksum)


def _ascending(slices: Sequence[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    """Slices of one file, cut into chains that one pass through the file can read."""
    chain: list[Sequence[Any]] = []
    for piece in slices:
        if chain and piece[2] < chain[-1][3]:
            yield chain
            chain = []
        chain.append(piece)
    yield chain


def _rows(path: Path, chain: Sequence[Sequence[Any]]) -> Iterator[pa.Table]:
    """The rows of ascending slices, in one pass."""
    for number, first, table in spans(path, [(start, stop) for _, _, start, stop, _ in chain]):
        yield _without(table, first, chain[number][4])


def _without(table: pa.Table, first: int, cut: Mapping[str, Mapping[str, Sequence[int]]]) -> pa.Table:
    """The rows without the images that are cut, and without their seeds, truth and flags."""
    here = {int(row) - first: sides for row, sides in cut.items() if first <= int(row) < first + len(table)}
    if not here:
        return table
    pieces, start = [], 0
    for at in sorted(here):
        row = table.slice(at, 1).to_pylist()[0]
        for side, removed in here[at].items():
            count = len(row[side])
            prefix = side.removesuffix("images")
            for name, value in row.items():
                per_image = name in (side, f"{prefix}seeds") or name.startswith(f"{prefix}images_")
                if per_image and value is not None and len(value) == count:
                    row[name] = [item for index, item in enumerate(value) if index not in removed]
        pieces += [table.slice(start, at - start), pa.Table.from_pylist([row], schema=table.schema)]
        start = at + 1
    return pa.concat_tables([*pieces, table.slice(start)])


# ---- From the work folder to a finished one ----

P = ParamSpec("P")
T = TypeVar("T")


def one_at_a_time(build: Callable[P, T]) -> Callable[P, T]:
    """Let one process alone build into the folder that is the argument ``out`` of ``build``.

    The runner holds the folders of its parts only while it makes them. In between, a second process would
    move or remove files that the first one needs.
    """
    signature = inspect.signature(build)

    @wraps(build)
    def build_alone(*arguments: P.args, **options: P.kwargs) -> T:
        out = Path(signature.bind(*arguments, **options).arguments["out"])
        with locked(out, leave_nothing=True):
            return build(*arguments, **options)

    return build_alone


def is_finished(out: Path, recipe: Mapping[str, Any]) -> bool:
    """Whether the output folder already holds this very build, finished; to be asked before anything is made.

    Raises:
        InputError: it holds something else.
    """
    manifest = out / "manifest.json"
    if not manifest.is_file():
        others = [] if not out.exists() else [p.name for p in out.iterdir() if p.name not in (WORK, LOCK)]
        if others and not (out / WORK).is_dir():
            raise InputError(f"{out} is not empty ({others[0]} …); choose a new folder")
        publish(out)
    if not manifest.is_file():
        return False
    if (out / WORK).is_dir():  # what is left of it, if the process was killed while it removed this folder
        shutil.rmtree(out / WORK)
    stored = read_dataset_manifest(out)["recipe"]
    mine = json.loads(canonical(dict(recipe)))
    # A folder that other versions of libraries made is finished all the same; only resuming would mix them.
    keys = sorted({*stored, *mine} - {"versions"})
    different = [key for key in keys if stored.get(key) != mine.get(key)]
    if different:
        key = different[0]
        raise InputError(
            f"{out} contains another build ({key}: {stored.get(key)} in the folder, {mine.get(key)} "
            "requested); choose another folder or remove it"
        )
    return True


def finish(
    out: Path,
    shards: Manifest,
    recipe: Mapping[str, Any],
    texts: Mapping[str, str],
    describe: Callable[[Path], None] | None = None,
) -> None:
    """Lay out the finished folder inside the work folder, then make it visible.

    Args:
        out: the output folder.
        shards: the finished shards.
        recipe: the settings that define the build.
        texts: further files by name.
        describe: writes the files that describe the finished data, such as the card, into its folder.

    Raises:
        InputError: the folder cannot be written; what was made is kept.
    """
    try:
        _lay_out(out, shards, recipe, texts, describe)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{out}: cannot be finished ({reason}); run again to resume") from error
    publish(out)


def place_of(entry: Mapping[str, Any]) -> str:
    """The path of a finished shard in the output folder: in ``data/`` or ``mini/``."""
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
    describe: Callable[[Path], None] | None,
) -> None:
    ready = out / WORK / "ready"
    shutil.rmtree(ready, ignore_errors=True)
    ready.mkdir(parents=True)
    for name, text in texts.items():
        (ready / name).write_text(text, "utf-8")
    files: dict[str, dict[str, Any]] = {}
    for entry in shards.parts:
        counts = {key: value for key, value in entry["counts"].items() if isinstance(value, int)}
        quick = quick_checksum(shards.folder / entry["file"])
        files[place_of(entry)] = {
            "bytes": entry["bytes"],
            "sha256": entry["sha256"],
            "quick": quick,
            **counts,
        }
    content: dict[str, Any] = {"format": 1, "recipe": json.loads(canonical(dict(recipe))), "canary": CANARY}
    for name in files:
        (ready / name).parent.mkdir(exist_ok=True)
    for entry in shards.parts:
        (shards.folder / entry["file"]).rename(ready / place_of(entry))
    if describe is not None:
        # A draft, for the card to read; the final one also has the checksums of the card.
        write_json(ready / "manifest.json", {**content, "files": files})
        describe(ready)
        (ready / "manifest.json").unlink()
    others = sorted(path for path in ready.iterdir() if path.is_file())
    files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in others} | files
    content["files"] = files
    content["sha256"] = digest_of_manifest(content)
    write_json(ready / "manifest.json", content)


def publish(out: Path) -> None:
    """Move the finished files into the output folder, the manifest last; nothing happens if there are none.

    Until the data is there the README names missing files, so loading fails rather than loads a part.
    """
    ready = out / WORK / "ready"
    content = read_json(ready / "manifest.json")
    if content is None or "sha256" not in content:
        return
    late = {MINI: 1, "data": 1, "manifest.json": 2}
    for path in sorted(ready.iterdir(), key=lambda path: (late.get(path.name, 0), path.name)):
        path.rename(out / path.name)
    shutil.rmtree(out / WORK)
