"""RichHF-18K, test part: scores by people of alignment, artefacts, aesthetics and overall quality of images.

Liang et al. 2024, "Rich Human Feedback for Text-to-Image Generation", CVPR, arXiv 2312.10240. The records are
those of README.md of google-research-datasets/richhf-18k@65290d3c, read as
google-research/google-research@19638399:richhf_18k/parse_tfrecord_file.py does. The file has neither prompts
nor images, which are in Pick-a-Pic v1 under the same file names: only ratings are read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from croc.errors import InputError
from croc.external.benchmark import Benchmark, Figure, Mode, Source
from croc.external.files import first_existing
from croc.external.items import Rated, table_of
from croc.external.standard import pooled_scores

HUMANS = ("misalignment_score", "overall_score", "artifact_score", "aesthetics_score")
_POINTER = b"version https://git-lfs"


def read(folder: Path) -> Rated:
    """Read ``test.tfrecord``. Each of the four scores is higher for the better image.

    Raises:
        InputError: the file is missing or damaged, or a record lacks a score.
    """
    file = first_existing(folder, "test.tfrecord")
    content = file.read_bytes()
    if content.startswith(_POINTER):
        raise InputError(f"{file}: a pointer of Git LFS, not the file; run 'git lfs pull' in the clone")
    rows = []
    for number, record in enumerate(_records(content, str(file)), 1):
        where = f"{file}, record {number}"
        features = _features(record, where)
        if missing := [name for name in ("filename", *HUMANS) if not features.get(name)]:
            raise InputError(f"{where}: no value of {missing[0]!r}")
        name = features["filename"][0]
        scores = {score: features[score][0] for score in HUMANS}
        if not isinstance(name, bytes) or not all(isinstance(value, float) for value in scores.values()):
            raise InputError(f"{where}: 'filename' must be text, and the scores numbers")
        rows.append({"item_id": name.decode("utf-8", "replace"), "system": None, "image": None, **scores})
    if not rows:
        raise InputError(f"{file}: no records")
    table = table_of(rows, str(file), dict.fromkeys(("system", "image"), pl.String))
    return Rated.of(table, str(file), humans=HUMANS)


def _records(content: bytes, where: str) -> Iterator[bytes]:
    """The records of a TFRecord file: length, a checksum, content, a checksum. Checksums are not compared."""
    at = 0
    while at < len(content):
        if at + 12 > len(content):
            raise InputError(f"{where}: ends inside a record; not a whole TFRecord file")
        (length,) = struct.unpack_from("<Q", content, at)
        end = at + 12 + length
        if end + 4 > len(content):
            raise InputError(f"{where}: ends inside a record; not a whole TFRecord file")
        yield content[at + 12 : end]
        at = end + 4


def _features(record: bytes, where: str) -> dict[str, list[bytes | float]]:
    """The features of a ``tf.train.Example``: lists of bytes or numbers, by name; integers are left out."""
    found: dict[str, list[bytes | float]] = {}
    for features in _messages(record, 1, where):
        for entry in _messages(features, 1, where):
            name = b"".join(_messages(entry, 1, where)).decode("utf-8", "replace")
            values: list[bytes | float] = []
            for feature in _messages(entry, 2, where):
                for texts in _messages(feature, 1, where):
                    values += _messages(texts, 1, where)
                for numbers in _messages(feature, 2, where):
                    for packed in _messages(numbers, 1, where):
                        if len(packed) % 4:
                            raise InputError(f"{where}: {name!r} is not a list of numbers")
                        values += struct.unpack(f"<{len(packed) // 4}f", packed)
            found[name] = values
    return found


def _messages(message: bytes, field: int, where: str) -> Iterator[bytes]:
    """The values of a field of a protocol buffer that have a length, or four bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at, where)
        kind = key & 7
        if kind == 0:
            _, at = _varint(message, at, where)
            continue
        if kind == 2:
            size, at = _varint(message, at, where)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise InputError(f"{where}: not a tf.train.Example (wire type {kind})")
        if at + size > len(message):
            raise InputError(f"{where}: not a tf.train.Example (a value ends behind it)")
        if key >> 3 == field:
            yield message[at : at + size]
        at += size


def _varint(message: bytes, at: int, where: str) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise InputError(f"{where}: not a tf.train.Example (a number has no end)")


def compute(items: Rated, mode: Mode) -> Mapping[str, float]:
    """The number of images."""
    return {"test images": float(len(items.table))}


def score(items: Rated, mode: Mode) -> Mapping[str, float]:
    """Pearson and Spearman with the score of alignment over all images."""
    return pooled_scores(items, HUMANS[0], ("Pearson", "Spearman"))


BENCHMARK = Benchmark(
    name="richhf18k",
    title="RichHF-18K, test part (Liang et al. 2024, CVPR, arXiv 2312.10240)",
    kind="rated",
    holds="scores by people of alignment, artefacts, aesthetics and overall quality; no prompts or images",
    size="955 images",
    licence="not stated in its repository",
    source=Source(
        "google-research-datasets/richhf-18k",
        "65290d3ce0e8c9cd407e25e54574cad8589353b6",
        ("README.md", "test.tfrecord"),
    ),
    scores=("Pearson", "Spearman"),
    folders=("richhf-18k",),
    files=("test.tfrecord",),
    read=read,
    compute=compute,
    score=score,
    figures=(Figure("test images", "955", "README.md"),),
)
