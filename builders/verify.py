"""Is a finished folder of data what it says it is? Everything is read again; nothing is taken on trust."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from builders.screening import content_hash, fold_caption, place_of
from builders.shards import CANARY, MINI, WORK
from croc.checks.decoding import decode
from croc.checks.manifest import DatasetManifest, ManifestFile, digest_of_manifest, read_dataset_manifest
from croc.errors import InputError
from croc.storage.checksums import changed_files
from croc.storage.files import read_json
from croc.storage.hub_access import download_snapshot
from croc.storage.parquet import CANARY_KEY, batches, image_columns
from croc.storage.text_files import require_regular
from croc.wording import counted
from hub_cards import compare_cards, croissant, read_facts, render_again

MOST = 20
"""Problems of one kind that are listed one by one; the rest are counted."""

_CARD, _CROISSANT = "README.md", "croissant.json"


def verify(folder: Path, *, images: bool = True, digest: str | None = None) -> list[str]:
    """Check a finished folder of data against its manifest, its card and itself.

    Checksums and sizes of all files; columns, canary and number of rows of every shard; that no check is
    there twice, that every row lies in the file of its category and subset, that splits share no concept,
    caption or image; that every image can be decoded; that card and Croissant say what the data gives.

    Args:
        folder: a folder that a builder finished, or that was downloaded whole.
        images: decode every image too; False takes their files on trust.
        digest: the checksum of the manifest, from another place, such as the output of ``croc publish``; its
            first 16 digits, as in a dataset's revision, are enough.

    Returns:
        The problems, a sentence each; none when all is well.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return [f"{folder}: no such folder"]
    if (folder / WORK).is_dir():
        return [f"{folder} is unfinished ({WORK} still exists); run the build again"]
    try:
        manifest = read_dataset_manifest(folder)
    except InputError as error:
        return [str(error)]
    problems = [*_digest(manifest, digest), *_manifest(manifest), *_files(folder, manifest["files"])]
    if any("is missing" in problem for problem in problems):
        return problems
    problems += _shards(folder, manifest, images)
    try:
        problems += _card(folder, manifest)
    except InputError as error:
        problems.append(str(error))
    return problems


def verify_repo(
    repo: str, *, revision: str | None = None, images: bool = True, digest: str | None = None
) -> list[str]:
    """Download a dataset from the Hub, whole, and check it; see :func:`verify`.

    Args:
        repo: ``organisation/name``.
        revision: tag or commit; None takes the newest.
        images: decode every image too.
        digest: see :func:`verify`.

    Raises:
        CrocError: it cannot be downloaded.
    """
    return verify(download_snapshot(repo, revision), images=images, digest=digest)


def _digest(manifest: Mapping[str, Any], digest: str | None) -> Iterator[str]:
    """Compare a manifest with its checksum from another place.

    Raises:
        InputError: that is no such checksum.
    """
    if digest is None:
        return
    wanted = digest.removeprefix("manifest:").lower()
    if not re.fullmatch("[0-9a-f]{16,64}", wanted):
        raise InputError(
            f"--digest {digest}: expected 16 to 64 hexadecimal digits, as croc publish prints them"
        )
    if not digest_of_manifest(manifest).startswith(wanted):
        yield f"manifest.json: its checksum is {digest_of_manifest(manifest)}, not {wanted}"


def _manifest(manifest: Mapping[str, Any]) -> Iterator[str]:
    if manifest.get("sha256") != digest_of_manifest(manifest):
        yield "manifest.json: its checksum does not match its content"
    if manifest.get("canary") != CANARY:
        yield "manifest.json: the canary is missing or different"


def _files(folder: Path, files: Mapping[str, ManifestFile]) -> Iterator[str]:
    for name, entry in files.items():
        path = folder / name
        if not path.is_file():
            yield f"{name} is missing"
        elif name not in (_CARD, _CROISSANT):
            # Those two differ when made again for another repository; they are compared with the data.
            yield from changed_files(folder, {name: entry}, whole=True)
    there = {f"{name}/{path.name}" for name in ("data", MINI) for path in (folder / name).glob("*")}
    yield from (f"{name} is not in the manifest" for name in sorted(there - files.keys()))


def _shards(folder: Path, manifest: DatasetManifest, images: bool) -> list[str]:
    problems: list[str] = []
    first: pa.Schema | None = None
    seen = _Seen(manifest["recipe"].get("kind", "syn"))
    listed = [name for name in manifest["files"] if name.startswith(("data/", f"{MINI}/"))]
    for name in sorted(listed):  # data before mini, and in the order in which it is loaded
        entry, path = manifest["files"][name], folder / name
        try:
            with pq.ParquetFile(path) as stored:
                schema, metadata = stored.schema_arrow, stored.metadata
            first = first or schema
            if schema != first or (schema.metadata or {}).get(b"huggingface") != first.metadata.get(
                b"huggingface"
            ):
                problems.append(f"{name}: its columns differ from those of the other files")
                continue
            if b"huggingface" not in (schema.metadata or {}):
                problems.append(f"{name}: no features in its metadata, so images would load as bytes")
            if (schema.metadata or {}).get(CANARY_KEY) != CANARY.encode():
                problems.append(f"{name}: the canary is missing or different")
            if metadata.num_rows != entry.get("rows"):
                size = counted(metadata.num_rows, "row")
                problems.append(f"{name}: {size}, expected {entry.get('rows')} as in the manifest")
            images_read = 0
            for table in batches(path):
                look = seen.sample if name.startswith(f"{MINI}/") else seen.look
                images_read += look(name, table, images)
            if images_read != entry.get("images"):
                size = counted(images_read, "image")
                problems.append(f"{name}: {size}, expected {entry.get('images')} as in the manifest")
        except (OSError, pa.ArrowException, KeyError) as error:
            problems.append(f"{name}: cannot be read ({str(error).splitlines()[0]})")
    return [*problems, *seen.problems()]


def _mark_of(row: Mapping[str, Any], columns: Sequence[str]) -> int:
    """A number that stands for a row's content."""
    light = {key: value for key, value in row.items() if key not in columns}
    images = [
        content_hash((image or {}).get("bytes") or b"") for name in columns for image in _images_of(row, name)
    ]
    return content_hash(repr((light, images)).encode())


def _images_of(row: Mapping[str, Any], column: str) -> list[Any]:
    return row[column] if isinstance(row[column], list) else [row[column]]


class _Seen:
    """Everything that one row can only be wrong about beside the others."""

    def __init__(self, kind: str) -> None:
        self.key = "pair_id" if kind == "train" else "check_id"
        self.ids: dict[str, str] = {}
        self.marks: dict[str, int] = {}
        self.splits: dict[str, dict[Any, str]] = {"concept": {}, "caption": {}, "image": {}}
        self.last: dict[str, tuple[str, str]] = {}
        self.found: dict[str, list[str]] = {}

    def look(self, name: str, table: pa.Table, decoding: bool) -> int:
        """Look at some rows of a file; gives the number of their images."""
        columns = image_columns(table.schema)
        place = Path(name).stem.rsplit("-", 3)[0].split("-")
        count = 0
        for row in table.to_pylist():
            own = str(row[self.key])
            if own in self.ids:
                self._note("twice", f"{self.key} {own} is in {self.ids[own]} and in {name}")
            self.ids[own] = name
            self.marks[own] = _mark_of(row, columns)
            self._shared("concept", row["concept_id"], place[0], own)
            for column in ("prompt", "contrast_prompt"):
                if row.get(column):
                    self._shared("caption", content_hash(fold_caption(row[column])), place[0], own)
            if len(place) > 1:
                belongs = place_of(row)
                if belongs != tuple(place[2:]):
                    self._note("place", f"{name}: {own} belongs to {', '.join(belongs)}")
                order = (row["category"] or "", row["property"] or "")
                if order < self.last.get(place[0], order):
                    self._note("order", f"{name}: {own} is not in the order of category and property")
                self.last[place[0]] = order
            for column in columns:
                for index, image in enumerate(_images_of(row, column)):
                    count += 1
                    self._image(name, f"{own}, {column}[{index}]", image, place[0], decoding)
        return count

    def sample(self, name: str, table: pa.Table, decoding: bool) -> int:
        """Look at rows that are copies of some that were looked at; gives the number of their images."""
        columns, split = image_columns(table.schema), Path(name).name.split("-")[0]
        count = 0
        for row in table.to_pylist():
            own = str(row[self.key])
            home = Path(self.ids.get(own, "")).name.split("-")[0]
            if home != split or self.marks.get(own) != _mark_of(row, columns):
                self._note("copy", f"{name}: {self.key} {own} is not a copy of a row of {split}")
            count += sum(len(row[column] or ()) for column in columns)
        return count

    def _image(self, name: str, where: str, image: Any, split: str, decoding: bool) -> None:
        data = (image or {}).get("bytes")
        if not data:
            self._note("image", f"{name}: {where}: no image bytes")
            return
        self._shared("image", content_hash(data), split, where)
        if decoding:
            try:
                decode(data)
            except InputError as error:
                self._note("image", f"{name}: {where}: {error}")

    def _shared(self, what: str, value: Any, split: str, where: str) -> None:
        other = self.splits[what].setdefault(value, split)
        if other != split:
            self._note(f"shared {what}", f"{where}: its {what} is in {other} and in {split}")

    def _note(self, kind: str, problem: str) -> None:
        self.found.setdefault(kind, []).append(problem)

    def problems(self) -> list[str]:
        """The problems, of each kind the first ones and how many more."""
        shown = []
        for problems in self.found.values():
            shown += problems[:MOST]
            if len(problems) > MOST:
                shown.append(f"… and {len(problems) - MOST} more of this kind")
        return shown


def _card(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    try:
        require_regular(folder / _CARD)
        stored = (folder / _CARD).read_text("utf-8")
    except (InputError, OSError, UnicodeDecodeError) as error:
        return [f"{_CARD}: cannot be read ({error})"]
    problems = compare_cards(stored, render_again(folder, stored))
    if CANARY not in stored:
        problems.append(f"{_CARD}: the canary is missing or different")
    facts = read_facts(folder)
    rows_read = Counter({split: facts.splits[split] for split in facts.splits})
    stated = facts.report.get("splits")
    if stated is not None and Counter(stated) != rows_read:
        problems.append(f"build.json: states {stated}, but the files contain {dict(rows_read)}")
    described = read_json(folder / _CROISSANT, None, dict[str, Any])
    if described is None:
        problems.append(f"{_CROISSANT} is missing")
    else:
        fresh = croissant(folder, repo=str(described.get("url", "")).partition("/datasets/")[2] or None)
        if described.get("distribution") != fresh["distribution"]:
            problems.append(f"{_CROISSANT}: describes other files than those in the folder")
        elif different := [key for key in fresh if described.get(key) != fresh[key]]:
            problems.append(f"{_CROISSANT}: {', '.join(different)} do not match the data")
    return problems
