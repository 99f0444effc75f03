"""Pairs of an image and a prompt, from files, folders, tables and datasets.

Every source gives the same table: ``image`` (its path, or where it is), ``prompt``, ``system`` (the folder it
came from, where there are several), and the further columns of a table.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from croc.checks.decoding import to_bytes
from croc.checks.rows import Row
from croc.checks.schema import IMAGE_COLUMNS, stable_hash
from croc.checks.sources import Checks, CheckTexts
from croc.errors import InputError
from croc.storage.checksums import quick_checksum
from croc.storage.text_files import require_regular
from croc.tables.delimited import read_delimited
from croc.wording import counted

IMAGE_NAMES = ("image", "path", "file", "file_name", "image_path", "filename")
PROMPT_NAMES = ("prompt", "text", "caption")
_KEYS = ("id", "prompt_id", "index")
_TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
_IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff")
_SEED = re.compile(r"[-_.]?(?:seed|sample|s)?[-_]?\d+$", re.IGNORECASE)
STANDARD_INPUT = "-"
_OWN = ("item_id", "image", "prompt", "system")


@dataclass(frozen=True)
class ImagePairs:
    """Images with a prompt each.

    Attributes:
        table: ``item_id`` (unique), ``image``, ``prompt``, ``system``, and further columns of the source.
        name: of the source.
        read: returns the content of the image of a row.
        content: what identifies the images where they are no files, such as a dataset's fingerprint.
    """

    table: pl.DataFrame
    name: str
    read: Callable[[int], bytes]
    content: str = ""

    def checks(self) -> Checks:
        """The pairs as checks of one image without a contrast prompt, as the engine scores them."""
        rows = self.table.select("item_id", "prompt", "system").rows()
        texts = [CheckTexts(item_id, None, prompt, None) for item_id, prompt, _ in rows]

        def read(start: int, stop: int) -> list[Row]:
            numbered = enumerate(rows[start:stop], start)
            return [_row(item, text, name, ([self._image(row)], [])) for row, (item, text, name) in numbered]

        def outline() -> Iterator[Row]:
            for item, prompt, system in rows:
                yield _row(item, prompt, system, (1, 0))

        return Checks(self.name, self._revision(), texts, read, outline=outline)

    def _image(self, number: int) -> dict[str, Any]:
        try:
            return {"bytes": self.read(number), "path": None}
        except (OSError, InputError) as problem:  # this pair has no score, for this reason
            return {"refused": str(problem)}

    def _revision(self) -> str:
        """A hash of prompts and images; of image files with their quick checksums."""
        images = []
        for image in self.table["image"]:
            file = Path(image)
            images.append(quick_checksum(file) if file.is_file() else image)
        return f"pairs:{stable_hash(self.content, *images, *self.table['prompt'])}"


def _row(item: str, prompt: str, system: str | None, sides: tuple[Any, Any]) -> Row:
    texts = {"check_id": item, "concept_id": prompt, "prompt": prompt, "contrast_prompt": None}
    return {**texts, "image_model": system, **dict(zip(IMAGE_COLUMNS, sides, strict=True))}


def read_pairs(
    sources: Sequence[Path | str],
    *,
    prompts: Path | None = None,
    prompt: str | None = None,
    image_column: str | None = None,
    prompt_column: str | None = None,
    split: str | None = None,
    stdin: Callable[[], str] | None = None,
) -> ImagePairs:
    """Read pairs of an image and a prompt.

    Args:
        sources: image files and folders of them; or one table with a column of image paths, relative to its
            folder, and one of prompts; or ``-`` for such a table (CSV) on standard input; or one dataset: a
            folder saved by ``datasets``, or a Hub id.
        prompts: a table with a prompt per row and the name of its image, or an ``id``: images called
            ``ID.png``, ``ID_0.png`` or ``ID/0.png`` belong to it. A ``.txt`` file has a prompt per line; the
            ids are 0, 1, ….
        prompt: the prompt of all images.
        image_column: the column of images; None takes one of ``IMAGE_NAMES``.
        prompt_column: the column of prompts; None takes one of ``PROMPT_NAMES``.
        split: of a dataset.
        stdin: reads standard input.

    Raises:
        InputError: a source cannot be read, an image has no prompt, or there is none.
    """
    if not sources:
        raise InputError("name images, a folder of them, or a table of images and prompts")
    if prompts is not None and prompt is not None:
        raise InputError("give --prompts or --prompt, not both")
    columns = (image_column, prompt_column)
    first = str(sources[0])
    if len(sources) == 1 and prompts is None and prompt is None:
        if first == STANDARD_INPUT:
            text = (stdin or _no_input)()
            return _of_table(_csv(text, "standard input"), Path(), "standard input", columns)
        if first.lower().endswith(_TABLES) and Path(first).is_file():
            return _of_table(read_table(Path(first)), Path(first).parent, first, columns)
        if _is_saved(Path(first)) or not Path(first).exists():
            return _of_dataset(first, columns, split)
    files = [found for source in sources for found in _files_of(Path(source))]
    if not files:
        raise InputError(f"{first}: no image in it ({', '.join(_IMAGES)})")
    several = len({folder for folder, _ in files}) > 1
    if prompt is not None:
        rows = [{"image": str(file), "prompt": prompt, "folder": folder} for folder, file in files]
    elif prompts is not None:
        rows = _matched(files, prompts, columns)
    else:
        rows = _beside(files)
    table = pl.DataFrame(rows, infer_schema_length=None).rename({"folder": "system"})
    if not several:
        table = table.with_columns(pl.lit(None, pl.String).alias("system"))
    return _of_files(table, first if len(sources) == 1 else f"{first} and {len(sources) - 1} more")


def _no_input() -> str:
    raise InputError("standard input is not available here")


def _is_saved(path: Path) -> bool:
    return path.is_dir() and any((path / name).exists() for name in ("state.json", "dataset_dict.json"))


# ---- Files ----


def _files_of(source: Path) -> list[tuple[str, Path]]:
    """The images of a folder, or one image, each with the folder that it was named by."""
    if source.is_dir():
        inside = sorted(file for file in source.rglob("*") if _is_image(file) and file.is_file())
        return [(source.name or str(source.resolve().name), file) for file in inside]
    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    require_regular(source)
    return [(str(source.parent), source)]


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in _IMAGES and not file.name.startswith(".")


def _beside(files: Sequence[tuple[str, Path]]) -> list[dict[str, Any]]:
    """Prompts in text files of the same name, or in the metadata file of an image folder."""
    rows: list[dict[str, Any]] = []
    known: dict[Path, Mapping[str, str]] = {}
    for folder, file in files:
        beside = file.with_suffix(".txt")
        if beside.is_file():
            text = beside.read_text("utf-8", "replace").strip()
        else:
            named = known.setdefault(file.parent, _metadata(file.parent))
            text = named.get(file.name, "")
        if not text:
            raise InputError(
                f"{file}: nothing says what it should show; give --prompt TEXT or --prompts FILE, a "
                f"metadata.csv with file_name and prompt in its folder, or {beside.name} beside it"
            )
        rows.append({"image": str(file), "prompt": text, "folder": folder})
    return rows


def _metadata(folder: Path) -> dict[str, str]:
    file = folder / "metadata.csv"
    if not file.is_file():
        return {}
    table = read_table(file)
    image, prompt = _columns(table, str(file), (None, None))
    return dict(table.select(image, prompt).drop_nulls().rows())


def _matched(
    files: Sequence[tuple[str, Path]], prompts: Path, columns: tuple[str | None, str | None]
) -> list[dict[str, Any]]:
    """Images with the prompts of a file, by the names of the images or by ids in them."""
    keys, texts, further = read_prompts(prompts, columns)
    place = {key: number for number, key in reversed(list(enumerate(keys)))}
    rows, unmatched, used = [], [], set()
    for folder, file in files:
        number = next((place[key] for key in _keys_of(file) if key in place), None)
        if number is None:
            unmatched.append(file)
            continue
        used.add(number)
        rows.append({"image": str(file), "prompt": texts[number], "folder": folder, **further[number]})
    if not rows:
        raise InputError(
            f"{prompts}: no image has one of its names or ids, such as {keys[0]!r}; the first image is "
            f"{files[0][1]}"
        )
    if unmatched:
        raise InputError(
            f"{unmatched[0]}: no prompt in {prompts}, like {counted(len(unmatched) - 1, 'other image')}"
            if len(unmatched) > 1
            else f"{unmatched[0]}: no prompt in {prompts}"
        )
    return rows


def read_prompts(
    file: Path, columns: tuple[str | None, str | None]
) -> tuple[list[str], list[str], list[dict[str, Any]]]:
    """Read keys, prompts and further columns of a file of prompts: a table, or text with a prompt per line.

    Raises:
        InputError: it cannot be read, a prompt is empty, or a key occurs twice.
    """
    if not file.exists():
        raise InputError(f"{file}: no such file")
    if file.suffix.lower() == ".txt":
        require_regular(file)
        lines = [line.strip() for line in file.read_text("utf-8", "replace").splitlines()]
        lines = [line for line in lines if line]
        return [str(number) for number in range(len(lines))], lines, [{}] * len(lines)
    table = read_table(file)
    prompt = _chosen(table, str(file), columns[1], PROMPT_NAMES, "prompts")
    named = [columns[0]] if columns[0] else [name for name in (*IMAGE_NAMES, *_KEYS) if name in table.columns]
    if named and named[0] not in table.columns:
        raise InputError(f"{file}: no column {named[0]!r}; it has {', '.join(table.columns)}")
    keys = [str(value) for value in table[named[0]]] if named else [str(n) for n in range(len(table))]
    if twice := next((key for number, key in enumerate(keys) if key in keys[:number]), None):
        raise InputError(f"{file}, column {named[0]!r}: {twice!r} occurs twice")
    texts = [str(value or "") for value in table[prompt]]
    if "" in texts:
        raise InputError(f"{file}, column {prompt!r}, row {texts.index('') + 1}: the prompt is empty")
    others = [name for name in table.columns if name not in (prompt, *named[:1], *_OWN)]
    return keys, texts, table.select(others).to_dicts() if others else [{}] * len(table)


def _keys_of(file: Path) -> Iterator[str]:
    """What may name an image in a file of prompts: its path, name, stem, stem without a seed, its folder."""
    parts = file.parts
    for start in range(len(parts) - 1):
        yield "/".join(parts[start:])
    yield file.name
    names: tuple[str, ...] = (file.stem, _SEED.sub("", file.stem), file.parent.name)
    if file.parent.name == "samples":  # 00012/samples/0000.png
        names = (file.parent.parent.name,)
    for name in names:
        yield name
        if name.isdigit():
            yield str(int(name))


# ---- Tables ----


def _csv(text: str, name: str) -> pl.DataFrame:
    try:
        return pl.read_csv(io.StringIO(text), infer_schema=False)
    except pl.exceptions.PolarsError as problem:
        reason = (str(problem).splitlines() or [""])[0]
        raise InputError(f"{name}: cannot be read as CSV ({reason})") from None


def read_table(file: Path) -> pl.DataFrame:
    """Read a table: Parquet, CSV or TSV; cells of the latter are text.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    if not file.exists():
        raise InputError(f"{file}: no such file")
    if file.suffix == ".parquet":
        from croc.storage.frames import read_frame

        return read_frame(file)[0]
    return read_delimited(file)


def _chosen(table: pl.DataFrame, source: str, name: str | None, usual: Sequence[str], what: str) -> str:
    if name is not None and name not in table.columns:
        raise InputError(f"{source}: no column {name!r}; it has {', '.join(table.columns)}")
    found = name or next((known for known in usual if known in table.columns), None)
    if found is None:
        raise InputError(
            f"{source}: no column of {what} ({', '.join(usual)}); it has {', '.join(table.columns)}; name it"
        )
    return found


def _columns(table: pl.DataFrame, source: str, columns: tuple[str | None, str | None]) -> tuple[str, str]:
    return (
        _chosen(table, source, columns[0], IMAGE_NAMES, "images"),
        _chosen(table, source, columns[1], PROMPT_NAMES, "prompts"),
    )


def _of_table(
    table: pl.DataFrame, folder: Path, source: str, columns: tuple[str | None, str | None]
) -> ImagePairs:
    image, prompt = _columns(table, source, columns)
    for name in (image, prompt):
        empty = table[name].is_null() | (table[name].cast(pl.String) == "")
        if empty.any():
            raise InputError(f"{source}, column {name!r}, row {int(empty.arg_max() or 0) + 1}: empty")
    paths = [str(folder / value) for value in table[image].cast(pl.String)]
    kept = table.drop(
        [name for name in (image, prompt, "item_id", "image", "prompt") if name in table.columns]
    )
    kept = kept.with_columns(pl.Series("image", paths), table[prompt].cast(pl.String).alias("prompt"))
    if "system" not in kept.columns:
        kept = kept.with_columns(pl.lit(None, pl.String).alias("system"))
    if not any(Path(path).is_file() for path in paths):
        raise InputError(f"{source}, column {image!r}: no such file: {paths[0]}")
    return _of_files(kept, source)


def _of_files(table: pl.DataFrame, name: str) -> ImagePairs:
    table = _numbered(table)
    files = [Path(path) for path in table["image"]]

    return ImagePairs(table, name, lambda number: to_bytes(files[number]))


def _numbered(table: pl.DataFrame) -> pl.DataFrame:
    """With the column ``item_id``: the image, and a number where an image has several prompts."""
    seen: dict[str, int] = {}
    names = []
    for image in table["image"]:
        seen[image] = seen.get(image, 0) + 1
        names.append(image if seen[image] == 1 else f"{image} #{seen[image]}")
    first = [name for name in _OWN if name in table.columns]
    others = [name for name in table.columns if name not in _OWN]
    return table.select(pl.Series("item_id", names), *first, *others)


# ---- Datasets ----


def _of_dataset(name: str, columns: tuple[str | None, str | None], split: str | None) -> ImagePairs:
    if not Path(name).exists() and not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise InputError(f"{name}: no such file or folder")
    import datasets

    from croc.checks.local_datasets import local_cache

    try:
        if Path(name).exists():
            rows = datasets.load_from_disk(name)
        else:
            rows = datasets.load_dataset(name, cache_dir=local_cache())
    except Exception as error:  # of datasets, of the libraries behind it, of the network
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"{name}: the dataset cannot be loaded: {reason}") from error
    if isinstance(rows, datasets.DatasetDict):
        known = list(rows)
        chosen = split or (known[0] if len(known) == 1 else None)
        if chosen not in known:
            raise InputError(f"{name} has the splits {', '.join(known)}; choose one")
        rows = rows[chosen]
    images = [key for key, feature in rows.features.items() if isinstance(feature, datasets.Image)]
    image = columns[0] or next((key for key in (*IMAGE_NAMES, *images) if key in images), None)
    if image not in rows.column_names:
        raise InputError(f"{name}: no column of images; it has {', '.join(rows.column_names)}")
    if image in images:
        rows = rows.cast_column(image, datasets.Image(decode=False))
    others = [key for key in rows.column_names if key not in images and key != image]
    table = pl.from_arrow(rows.select_columns(others).with_format("arrow")[:]) if others else pl.DataFrame()
    assert isinstance(table, pl.DataFrame)
    prompt = _chosen(table, name, columns[1], PROMPT_NAMES, "prompts")
    own = ("item_id", "image", "prompt", prompt)
    plain = [key for key in table.columns if not table[key].dtype.is_nested() and key not in own]
    images_named = pl.Series("image", [f"{name} row {number + 1}" for number in range(len(rows))])
    kept = table.select(pl.col(prompt).cast(pl.String).alias("prompt"), images_named, *plain)
    if "system" not in kept.columns:
        kept = kept.with_columns(pl.lit(None, pl.String).alias("system"))

    def read(number: int) -> bytes:
        return to_bytes(rows[number][image])

    return ImagePairs(_numbered(kept), name, read, str(rows._fingerprint))
