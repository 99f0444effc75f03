"""Metrics that live in an environment of their own: pairs go out as files, scores come back as a table.

``export_pairs`` writes every distinct (image, prompt) pair of a dataset once; a short script in the metric's
own environment reads ``pairs.jsonl`` and writes one score a line; ``import_scores`` makes the table.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NotRequired

from PIL import Image
from typing_extensions import TypedDict

from croc.checks.decoding import decode, is_upright_rgb, to_bytes
from croc.checks.rows import prompt_problem
from croc.checks.schema import IMAGE_COLUMNS, SIDES
from croc.checks.sources import open_checks
from croc.errors import InputError
from croc.scoring.slices import cells
from croc.storage.files import atomic, file_stem, read_json, write_json
from croc.storage.limits import require_metric_name
from croc.storage.text_files import parse_json, require_kind, require_regular
from croc.tables.columns import score_schema, shared_cells
from croc.tables.metadata import ScoreMetadata, library_versions
from croc.tables.writers import write_scores
from croc.wording import counted

logger = logging.getLogger(__name__)

FORMAT = 1
_PLAIN_SUFFIX = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}


class _StoredExport(TypedDict):
    """``export.json``, written last."""

    protocol: str
    dataset: str
    dataset_revision: NotRequired[str | None]
    dataset_config: NotRequired[str | None]
    dataset_split: NotRequired[str | None]


class _StoredPair(TypedDict):
    """A line of ``pairs.jsonl``."""

    pair_id: str


class _StoredImage(TypedDict):
    """An image of a check; ``pairs`` has the id of its pair with each prompt."""

    side: str
    index: int
    pairs: list[str | None]
    error: NotRequired[str]


class _StoredCheck(TypedDict):
    """A line of ``checks.jsonl``, which also has the cells of ``SHARED_COLUMNS``."""

    images: list[_StoredImage]
    prompts: list[bool | str | None]


class _ScoreOfPair(TypedDict):
    """A line of the scores that another program wrote; numbers may be text, as in CSV."""

    pair_id: str
    score: NotRequired[Any]
    error: NotRequired[Any]


def export_pairs(
    dataset: Any,
    out: str | Path,
    *,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    streaming: bool = False,
    protocol: str | None = None,
) -> Path:
    """Write the pairs of a dataset for a metric that runs elsewhere.

    The folder holds ``pairs.jsonl`` (a line a pair: ``pair_id``, ``image``, ``prompt``), ``images/``, and
    ``checks.jsonl`` with what :func:`import_scores` needs; ``export.json`` comes last. A file that is a plain
    upright RGB image is exported as it is, any other as the PNG that scorers here would see.

    Args:
        dataset: what :func:`croc.checks.sources.open_checks` takes, as are the other arguments.
        out: the folder; created.
        config: configuration of the dataset.
        split: split of the dataset.
        revision: tag or commit of the dataset.
        streaming: read a Hub dataset over the network.
        protocol: ``syn`` or ``hum``; None takes what the checks show.

    Returns:
        The path of ``pairs.jsonl``.

    Raises:
        InputError: the dataset cannot be used, or the folder holds another export.
    """
    checks = open_checks(dataset, config=config, split=split, revision=revision, streaming=streaming)
    folder = Path(out)
    about = {
        "format": FORMAT,
        "dataset": checks.name,
        "dataset_revision": checks.revision,
        "dataset_config": checks.config,
        "dataset_split": checks.split,
        "protocol": protocol or checks.protocol,
    }
    stored = read_json(folder / "export.json", None, dict[str, Any])
    if stored is not None and {key: stored.get(key) for key in about} != about:
        raise InputError(f"{folder} holds an export of {stored.get('dataset')}; choose another folder")
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "export.json").unlink(missing_ok=True)
    pairs = _Pairs(folder)
    with (
        atomic(folder / "pairs.jsonl") as pair_file,
        atomic(folder / "checks.jsonl") as check_file,
        pair_file.open("w", encoding="utf-8") as pair_lines,
        check_file.open("w", encoding="utf-8") as check_lines,
    ):
        for part in checks.plan(16):
            for row in checks.read(part.payload["start"], part.payload["stop"]):
                for line in pairs.of(row):
                    pair_lines.write(json.dumps(line, ensure_ascii=False) + "\n")
                check_lines.write(json.dumps(pairs.last, ensure_ascii=False) + "\n")
    write_json(folder / "export.json", {**about, "pairs": len(pairs.seen)})
    return folder / "pairs.jsonl"


class _Pairs:
    """Turns checks into pairs, each distinct one once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: set[str] = set()
        self.last: dict[str, Any] = {}

    def of(self, row: Mapping[str, Any]) -> Iterator[dict[str, str]]:
        """The new pairs of a check; ``last`` then says which pair belongs to which image and prompt."""
        prompts = (row["prompt"], row["contrast_prompt"])
        images = []
        new = []
        for side, column in zip(SIDES, IMAGE_COLUMNS, strict=True):
            for index, source in enumerate(row[column] or ()):
                entry: dict[str, Any] = {"side": side, "index": index, "pairs": [None, None]}
                try:
                    name = self._image(to_bytes(source))
                except InputError as error:
                    entry["error"] = str(error)
                    name = None
                for place, prompt in enumerate(prompts):
                    if name is None or prompt is None or prompt_problem(prompt):
                        continue
                    pair_id = hashlib.sha256(f"{name}\n{prompt}".encode()).hexdigest()[:20]
                    entry["pairs"][place] = pair_id
                    if pair_id not in self.seen:
                        self.seen.add(pair_id)
                        new.append({"pair_id": pair_id, "image": f"images/{name}", "prompt": prompt})
                images.append(entry)
        self.last = {
            **shared_cells(row),
            "prompts": [None if prompt is None else prompt_problem(prompt) or True for prompt in prompts],
            "images": images,
        }
        yield from new

    def _image(self, data: bytes) -> str:
        """Store an image under a name made from its content; the same image is stored once."""
        seen = decode(data)
        opened = Image.open(io.BytesIO(data))
        plain = opened.format in _PLAIN_SUFFIX and is_upright_rgb(opened)
        suffix = _PLAIN_SUFFIX[opened.format or ""] if plain else ".png"
        name = hashlib.sha256(data).hexdigest()[:32] + suffix
        path = self.folder / "images" / name
        if not path.exists():
            with atomic(path) as temporary:
                if plain:
                    temporary.write_bytes(data)
                else:
                    seen.save(temporary, "PNG")
        return name


def import_scores(
    folder: str | Path,
    scores: str | Path,
    out: str | Path,
    *,
    name: str,
    fields: Mapping[str, str] | None = None,
    log: Callable[[str], None] = logger.info,
) -> Path:
    """Make a score table from the scores that a metric gave to exported pairs elsewhere.

    Args:
        folder: what :func:`export_pairs` wrote.
        scores: ``.jsonl`` (a line a pair: ``pair_id`` and ``score``), or ``.tsv`` or ``.csv`` with these
            columns. A pair without a line, or with an empty score, lowers coverage; a third value ``error``
            may say why.
        out: folder of the table, ``NAME.parquet``.
        name: name of the scorer.
        fields: what its signature says; ``revision``, ``template`` and ``dtype`` have their own places.
        log: where the summary goes.

    Returns:
        The path of the table.

    Raises:
        InputError: a file is not what it should be; the sentence names file and line.
    """
    folder, scores = Path(folder), Path(scores)
    require_metric_name(name)
    about = read_json(folder / "export.json", "no export.json: not a finished export of pairs", _StoredExport)
    known = _known_pairs(folder)
    found = _read_scores(scores, known)
    rows = list(_rows(folder, found, scores.name))
    metadata = ScoreMetadata.of_scorer(
        name,
        fields or {},
        protocol=about["protocol"],
        dataset=about["dataset"],
        dataset_revision=about.get("dataset_revision"),
        dataset_config=about.get("dataset_config"),
        dataset_split=about.get("dataset_split"),
        library_versions=library_versions("croc-t2i"),
        run={"imported": scores.name},
    )
    import pyarrow as pa

    schema = score_schema()
    table = pa.table({column: [row[column] for row in rows] for column in schema.names}, schema=schema)
    target = Path(out) / f"{file_stem(name)}.parquet"
    write_scores(table, metadata, target)
    missing = len(known - {pair for pair, score in found.items() if isinstance(score, float)})
    log(f"{target}: {counted(len(known), 'pair')}, {missing} without a score")
    return target


def _known_pairs(folder: Path) -> set[str]:
    path = folder / "pairs.jsonl"
    known = set()
    for number, line in _lines(path):
        known.add(require_kind(line, _StoredPair, f"{path}, line {number}")["pair_id"])
    return known


def _read_scores(path: Path, known: set[str]) -> dict[str, float | str]:
    found: dict[str, float | str] = {}
    for number, line in _lines(path):
        where = f"{path}, line {number}"
        pair = require_kind(line, _ScoreOfPair, where)["pair_id"]
        if pair not in known:
            raise InputError(f"{where}: pair_id {pair!r} is not in the exported pairs")
        if pair in found:
            raise InputError(f"{where}: pair_id {pair!r} occurs twice")
        value, error = line.get("score"), line.get("error")
        if value is None or value == "":
            found[pair] = str(error or "no score")
            continue
        try:
            score = float(value) if not isinstance(value, bool) else math.nan
        except (TypeError, ValueError):
            raise InputError(f"{where}: score {value!r} is not a number") from None
        found[pair] = score if math.isfinite(score) else f"score {value}"
    return found


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and content of each line; a table's header is line 1."""
    delimiters = {".tsv": "\t", ".csv": ","}
    if path.suffix not in (*delimiters, ".jsonl"):
        raise InputError(f"{path}: scores are a .jsonl, .tsv or .csv file")
    try:
        require_regular(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".jsonl":
                for number, text in enumerate(file, 1):
                    place = f"{path}, line {number}"
                    if text.strip():
                        yield number, require_kind(parse_json(text, place), dict[str, Any], place)
                return
            reader = csv.DictReader(file, delimiter=delimiters[path.suffix])
            missing = {"pair_id", "score"} - set(reader.fieldnames or ())
            if missing:
                raise InputError(f"{path}: no column {', '.join(sorted(missing))}")
            for row in reader:
                if None in row or None in row.values():
                    raise InputError(f"{path}, line {reader.line_num}: the number of columns differs")
                yield reader.line_num, row
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: byte {error.start} cannot be read") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except csv.Error as error:
        raise InputError(f"{path} is not a table: {error}") from None


def _rows(folder: Path, found: Mapping[str, float | str], source: str) -> Iterator[dict[str, Any]]:
    path = folder / "checks.jsonl"
    for number, line in _lines(path):
        where = f"{path}, line {number}"
        check = require_kind(line, _StoredCheck, where)
        same = require_kind(shared_cells(line), dict[str, str | None], where)
        for place, entry in enumerate(check["images"]):
            if len(entry["pairs"]) != len(check["prompts"]):
                expected = f"expected {counted(len(check['prompts']), 'id')}"
                raise InputError(f"{where}: images.{place}.pairs: {expected}")
            outcomes: list[float | str | None] = []
            for usable, pair in zip(check["prompts"], entry["pairs"], strict=True):
                if usable is None:
                    outcomes.append("the prompt is missing" if not outcomes else None)
                elif "error" in entry:
                    outcomes.append(entry["error"])
                elif usable is not True:  # false in older exports
                    outcomes.append(usable or "the prompt is empty")
                else:
                    outcomes.append(found.get(pair or "", f"no score in {source}"))
            yield {**same, "image_side": entry["side"], "image_index": entry["index"], **cells(outcomes)}
