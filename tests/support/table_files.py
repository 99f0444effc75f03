"""Score tables as files: good ones, and bad ones with what the error has to name."""

from __future__ import annotations

import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
from score_rows import check_rows

from croc.tables.columns import score_schema

ROWS = check_rows("a", [(3.0, 1.0), (2.0, 2.5)], [(0.0, 4.0)], subset="entity_variation", category="action")
ROWS += check_rows("b", [(1.0, 0.5)], [(0.25, 0.75)], subset="entity_variation", category="action")
LONG = ("check_id", "subset", "image_side", "image_index", "prompt_score", "contrast_score")
SYN = "prompt_id\tprompt\tcontrast_prompt\timg_gen_model\ttext_gen_model\tmode"
SYN_SCORES = [
    f"M___{text}_text___{image}_img" for text in ("orig", "contrast") for image in ("orig", "contrast")
]
HUM_HEAD = "id\tprompt\tcontrast\tprompt_paths\tM___orig_text___orig_img\tM___contrast_text___orig_img"


def long_text(rows=ROWS, columns=LONG, separator="\t", change=None):
    """The rows as text; ``change`` maps (row from 1, column) to another cell."""
    lines = [separator.join(columns)]
    for number, one in enumerate(rows, 1):
        cells = ["" if one[name] is None else str(one[name]) for name in columns]
        for (row, column), cell in (change or {}).items():
            if row == number:
                cells[columns.index(column)] = cell
        lines.append(separator.join(cells))
    return "\n".join(lines) + "\n"


def syn_text(*lines, head=None):
    head = head or "\t".join([SYN, *SYN_SCORES])
    return "\n".join([head, *(line.replace(" ", "\t").replace("~", " ") for line in lines)]) + "\n"


def parquet(change=None, metadata=None, columns=None):
    """The rows as Parquet; ``change`` maps a column to other values, or to None to leave it out."""
    names = columns or [field.name for field in score_schema()]
    data = {}
    for name in names:
        data[name] = pa.array([one.get(name) for one in ROWS], score_schema().field(name).type)
    for name, values in (change or {}).items():
        if values is None:
            del data[name]
        else:
            data[name] = values
    buffer = io.BytesIO()
    pq.write_table(pa.table(data).replace_schema_metadata(metadata or {"protocol": "syn"}), buffer)
    return buffer.getvalue()


GOOD = parquet()
TSV = long_text()
# Name of the file, its content, and what the sentence must say beside the file.
BAD = {
    "a missing column": ("m.parquet", parquet({"contrast_score": None}), ["'contrast_score'"]),
    "a column of a like name": (
        "m.tsv",
        TSV.replace("contrast_score", "contrast_scores"),
        ["'contrast_score'", "did you mean 'contrast_scores'"],
    ),
    "an unknown protocol in the file": (
        "m.parquet",
        parquet(metadata={"protocol": "sym"}),
        ["'sym'", "syn, hum"],
    ),
    "a file that does not say its protocol": (
        "m.tsv",
        long_text(columns=[name for name in LONG if name != "subset"]),
        ["--protocol syn, hum or graded"],
    ),
    "a score that is text": (
        "m.tsv",
        long_text(change={(2, "prompt_score"): "high"}),
        ["'prompt_score'", "row 2", "'high'"],
    ),
    "a score that is text in Parquet": (
        "m.parquet",
        parquet({"prompt_score": ["1", "2", "x", "1", "1"]}),
        ["'prompt_score'", "row 3", "'x'"],
    ),
    "scores of a wrong type": (
        "m.parquet",
        parquet({"prompt_score": [True] * 5}),
        ["'prompt_score'", "numbers"],
    ),
    "nested scores": ("m.parquet", parquet({"prompt_score": [[1.0]] * 5}), ["'prompt_score'", "numbers"]),
    "an index that is no number": (
        "m.tsv",
        long_text(change={(1, "image_index"): "first"}),
        ["'image_index'", "row 1", "'first'"],
    ),
    "a broken index": ("m.parquet", parquet({"image_index": [0.5] * 5}), ["'image_index'", "integers"]),
    "an unknown side": (
        "m.tsv",
        long_text(change={(3, "image_side"): "left"}),
        ["'image_side'", "row 3", "'left'", "'original'"],
    ),
    "sides of a wrong type": ("m.parquet", parquet({"image_side": [0] * 5}), ["'image_side'"]),
    "nested ids": ("m.parquet", parquet({"check_id": [["a"]] * 5}), ["'check_id'"]),
    "an empty id": ("m.tsv", long_text(change={(4, "check_id"): ""}), ["'check_id'", "row 4", "empty"]),
    "a null id": ("m.parquet", parquet({"check_id": ["a", None, "b", "b", "b"]}), ["'check_id'", "row 2"]),
    "a duplicate row": ("m.tsv", long_text([*ROWS, ROWS[1]]), ["duplicate", "'a'", "original image 1"]),
    "an empty Parquet": ("m.parquet", b"", ["empty"]),
    "a Parquet without rows": (
        "m.parquet",
        (lambda b: (pq.write_table(score_schema().empty_table(), b), b.getvalue())[1])(io.BytesIO()),
        ["no rows"],
    ),
    "a truncated Parquet": ("m.parquet", GOOD[:-200], ["cannot be read as a Parquet file"]),
    "half a Parquet": ("m.parquet", GOOD[: len(GOOD) // 2], ["cannot be read as a Parquet file"]),
    "a check of two concepts": (
        "m.parquet",
        parquet({"concept_id": ["x", "y", "x", "z", "z"]}),
        ["column 'concept_id'", "'a'", "'x' and 'y'"],
    ),
    "text named Parquet": ("m.parquet", b"check_id,score\n", ["cannot be read as a Parquet file"]),
    "metadata that is no JSON": (
        "m.parquet",
        parquet(metadata={"protocol": "syn", "extra": "{half"}),
        ["'extra'", "JSON"],
    ),
    "metadata of a wrong kind": (
        "m.parquet",
        parquet(metadata={"protocol": "syn", "baseline": '"no"'}),
        ["'baseline'", "true or false"],
    ),
    "a line with too few cells": (
        "m.tsv",
        TSV + "c\tentity_variation\toriginal\n",
        ["line 7", "3 cells", "6"],
    ),
    "a line with too many cells": ("m.tsv", TSV.replace("2.5\n", "2.5\t9\n"), ["line 3", "7 cells", "6"]),
    "a line with too many cells in CSV": (
        "m.csv",
        long_text(separator=",").replace("2.5\n", "2.5,9\n"),
        ["line 3", "7 cells", "6"],
    ),
    "a quote that is never closed": (
        "m.tsv",
        long_text(change={(2, "subset"): '"entity_variation'}),
        ["quote"],
    ),
    "bytes that are not UTF-8": (
        "m.tsv",
        TSV.encode().replace(b"original\t1", b"origin\xe9\t1"),
        ["line 3", "UTF-8", "e9"],
    ),
    "UTF-16": ("m.tsv", TSV.encode("utf-16"), ["UTF-8"]),
    "an empty TSV": ("m.tsv", b"", ["empty"]),
    "a TSV of blank lines": ("m.tsv", b"\n\n\n", ["empty"]),
    "a header and no rows": ("m.tsv", TSV.splitlines()[0] + "\n", ["no rows"]),
    "a header with a column twice": (
        "m.tsv",
        TSV.replace("subset", "check_id", 1),
        ["'check_id'", "duplicate column"],
    ),
    "a truncated gz": ("m.tsv.gz", gzip.compress(TSV.encode() * 50)[:-40], ["cannot be read"]),
    "a corrupt gz": ("m.tsv.gz", gzip.compress(TSV.encode() * 50)[:20] + b"\xff" * 60, ["cannot be read"]),
    "text named gz": ("m.tsv.gz", TSV.encode(), ["cannot be read"]),
    "a huge header": ("m.tsv", "x" * 300_000 + TSV, ["header"]),
    "a syn row of no concept": (
        "m.tsv",
        syn_text("entity_1 p c flux ds entity_variation 1 1 1 1"),
        ["'prompt_id'", "row 1", "CONCEPT_____INDEX"],
    ),
    "a syn row of an unknown subset": (
        "m.tsv",
        syn_text("e|||t|||p_____1 p c flux ds entities 1 1 1 1"),
        ["'mode'", "row 1", "'entities'"],
    ),
    "a syn score that is text": (
        "m.tsv",
        syn_text(
            "e|||t|||p_____1 p c flux ds entity_variation 1 1 1 1",
            "e|||t|||p_____2 p c flux ds entity_variation 1 ? 1 1",
        ),
        ["'M___orig_text___contrast_img'", "row 2", "'?'"],
    ),
    "a syn row that stands twice": (
        "m.tsv",
        syn_text(*["e|||t|||p_____1 p c flux ds entity_variation 1 1 1 1"] * 2),
        ["duplicate"],
    ),
    "a syn metric with a column missing": (
        "m.tsv",
        syn_text(
            "e|||t|||p_____1 p c flux ds entity_variation 1 1 1", head="\t".join([SYN, *SYN_SCORES[:3]])
        ),
        ["'M___contrast_text___contrast_img'"],
    ),
    "a syn table without metrics": (
        "m.tsv",
        syn_text("e|||t|||p_____1 p c flux ds entity_variation", head=SYN),
        ["no score column"],
    ),
    "a hum row that stands twice": (
        "m.tsv",
        "\n".join([HUM_HEAD, *["action_0\tp\tc\tx/y.png\t1\t0"] * 2]) + "\n",
        ["row 1", "duplicate", "'action_0'"],
    ),
    "a hum table without paths": (
        "m.tsv",
        "id\tprompt\tcontrast\tM___orig_text___orig_img\naction_0\tp\tc\t1\n",
        ["'prompt_paths'", "'contrast_paths'"],
    ),
    "a hum row without an id": (
        "m.tsv",
        HUM_HEAD + "\naction_0\tp\tc\tx.png\t1\t0\n\tp\tc\ty.png\t1\t0\n",
        ["'id'", "row 2", "empty"],
    ),
}
