"""Parquet tables: whole within limits, or one sentence; damage never ends the process."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from memory import at_most
from polars.testing import assert_frame_equal

from croc.errors import InputError
from croc.storage.frames import read_frame
from croc.storage.limits import COMMAND_LINE, PAGE

REPEATED = "a text that is repeated"


def test_a_table_is_read_as_polars_reads_it(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "text": ["x", None, "a text of more than twelve bytes"],
            "number": [1, 2, 3],
            "score": [1.5, None, float("nan")],
            "list": [["a"], [], None],
            "null": [None] * 3,
            "time": pl.Series([1, 2, 3]).cast(pl.Datetime("us", "UTC")),
            "truth": [True, None, False],
        }
    )
    frame.write_parquet(tmp_path / "t.parquet", metadata={"scorer": "mine"})
    found, metadata = read_frame(tmp_path / "t.parquet")
    assert_frame_equal(found, frame)
    assert metadata["scorer"] == "mine"
    some, _ = read_frame(tmp_path / "t.parquet", ["score", "absent", "text"])
    assert_frame_equal(some, frame.select("score", "text"))


def test_categories_of_pandas_and_polars_are_text(tmp_path: Path) -> None:
    frame = pl.DataFrame({"c": pl.Series(["u", None, "u"], dtype=pl.Categorical)})
    frame.write_parquet(tmp_path / "t.parquet")
    assert read_frame(tmp_path / "t.parquet")[0]["c"].to_list() == ["u", None, "u"]
    assert read_frame(tmp_path / "t.parquet")[0].schema == {"c": pl.String}


def repeated(file: Path, rows: int, text: str = REPEATED) -> Path:
    """A table of one text, repeated: a few kilobytes for any number of rows."""
    indices = pa.array(np.zeros(min(rows, 1_000_000), np.int32))
    table = pa.table({"text": pa.DictionaryArray.from_arrays(indices, [text])})
    with pq.ParquetWriter(file, table.schema, compression="zstd") as writer:
        for start in range(0, rows, 1_000_000):
            writer.write_table(table.slice(0, min(1_000_000, rows - start)))
    return file


@pytest.mark.parametrize(
    ("rows", "text", "limits", "message"),
    [
        (10_000_001, "a", COMMAND_LINE, "10,000,001 rows; at most 10,000,000 are allowed"),
        (2_000_001, "a", PAGE, "2,000,001 rows; at most 2,000,000 are allowed"),
        (1_000_000, "a" * 9_999, COMMAND_LINE, "more than 8,000,000,000 bytes in memory"),
        (60_000, "a" * 9_999, PAGE, "more than 500,000,000 bytes in memory"),
        (1, "a" * 40_001, COMMAND_LINE, "column 'text': a text of 40,001 bytes; at most 10,000 characters"),
        (1, "a" * 30_000_000, replace(COMMAND_LINE, memory=10**6), "more than 1,000,000 bytes in memory"),
    ],
)
def test_a_table_that_grows_is_refused_before_it_fills_the_memory(tmp_path, rows, text, limits, message):
    file = repeated(tmp_path / "t.parquet", rows, text)
    assert file.stat().st_size < 100_000
    with at_most(300 * 10**6), pytest.raises(InputError) as caught:
        read_frame(file, limits=limits)
    assert message in str(caught.value) and str(file) in str(caught.value)


def test_a_column_that_occurs_twice_is_named(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(twice, tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"t\.parquet: the column 'a' occurs twice"):
        read_frame(tmp_path / "t.parquet")


def test_a_table_of_too_many_columns_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({f"c{i}": [1.0] for i in range(501)}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="501 columns; at most 500 are allowed"):
        read_frame(tmp_path / "t.parquet", limits=PAGE)
    assert read_frame(tmp_path / "t.parquet")[0].width == 501


CHANGE_BYTES = """
import pathlib, resource, sys
from croc.errors import InputError
from croc.storage.frames import read_frame
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
file, start = pathlib.Path(sys.argv[1]), int(sys.argv[2])
whole = file.read_bytes()
for place in range(start + 1, start + 26):
    changed = bytearray(whole)
    changed[place] = 255
    file.write_bytes(changed)
    try:
        print(place - start, len(read_frame(file, ["text"])[0]), flush=True)
    except InputError as problem:
        print(place - start, problem, flush=True)
"""


@pytest.mark.parametrize("compression", ["zstd", "none", "snappy"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_a_changed_byte_of_a_large_table_is_an_exception(tmp_path, compression, dictionary):
    """Above 16 MB, where polars ended the process on some of these (SIGABRT)."""
    rng = np.random.default_rng(0)
    rows = 400_000
    table = pa.table(
        {"text": [f"{i:024d}" for i in range(rows)], **{f"n{k}": rng.random(rows) for k in range(6)}}
    )
    file = tmp_path / "t.parquet"
    pq.write_table(table, file, compression=compression, use_dictionary=dictionary)
    column = pq.ParquetFile(file).metadata.row_group(0).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    assert file.stat().st_size > 16 << 20
    done = subprocess.run(
        [sys.executable, "-c", CHANGE_BYTES, file, str(start)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr[-2000:])
    assert done.stdout.count("\n") == 25


CHANGE_THE_END = """
import pathlib, sys
from croc.errors import InputError
from croc.storage.frames import read_frame
file = pathlib.Path(sys.argv[1])
whole = file.read_bytes()
length = int.from_bytes(whole[-8:-4], "little")
for place in range(len(whole) - 8 - length, len(whole)):
    for value in (0, 2, 0x15, 0x7F, 0x8C, 255):
        changed = bytearray(whole)
        changed[place] = value
        file.write_bytes(changed)
        try:
            read_frame(file)
        except InputError:
            pass
print("end")
"""


def test_a_changed_byte_in_the_description_of_a_table_is_an_exception(tmp_path: Path) -> None:
    """pyarrow 26 aborts when it is asked for a column whose description is damaged."""
    file = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": ["x", "y"] * 5, "score": [1.5] * 10}), file)
    command = [sys.executable, "-c", CHANGE_THE_END, file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr[-2000:]
