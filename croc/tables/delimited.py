"""Reading of CSV and TSV files as text, conversion of text to numbers, and checks of columns and cells."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import polars as pl

from croc.errors import InputError
from croc.storage.limits import COMMAND_LINE, TableLimits
from croc.storage.text_files import require_regular
from croc.wording import counted

# Spellings of a missing score; other text that is not a number is an error.
_NO_NUMBER = ("", "nan", "null", "none", "na", "n/a", "inf", "+inf", "-inf", "infinity", "-infinity")
LIKE_A_NUMBER = r"^[+\-−]?(?:[\d.'’ ]*,\d+(?:[eE][+-]?\d+)?|\d+(?:[.,]\d+)?\s*%|\d+(?:\.\d+)?)$"
"""Text that a person reads as a number: with a decimal comma, a percent sign or a typographic minus."""
_DECIMAL_COMMA = re.compile(r"[+\-−]?[\d.'’ ]*,\d+(?:[eE][+-]?\d+)?")
_LARGEST_BLOCK = 2**31 - 1  # of pyarrow's reader


def read_delimited(
    file: Path, *, limits: TableLimits = COMMAND_LINE, carriage_returns: bool = False
) -> pl.DataFrame:
    """Read a CSV or TSV file (``.gz`` too), every cell as text; the delimiter follows from the name.

    Args:
        file: the file.
        limits: how large it may be.
        carriage_returns: a carriage return without a line feed does not end a line; it is read as a blank.

    Raises:
        InputError: the file is empty, not UTF-8, larger than the limits, or a line has too many or too few
            cells.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    invalid: list[Any] = []

    def skip(row: Any) -> str:
        invalid.append(row)
        return "skip"

    try:
        require_regular(file)
        data = _unpack(file, limits) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as problem:
        raise InputError(f"{file}: cannot be read ({problem})") from None
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data.strip():
        raise InputError(f"{file}: the file is empty")
    if carriage_returns:
        data = re.sub(rb"\r(?!\n)", b" ", data)
    try:
        text = data.decode()
    except UnicodeDecodeError as problem:
        line = data[: problem.start].count(b"\n") + 1
        raise InputError(f"{file}, line {line}: not UTF-8 (byte 0x{data[problem.start]:02x})") from None
    delimiter = "," if file.name.endswith((".csv", ".csv.gz")) else "\t"
    _check_quotes(data, delimiter, file)
    names = _header(text, delimiter, file)
    _check_delimiter(names, delimiter, file)
    del text
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(data),
            arrow_csv.ReadOptions(
                use_threads=False, block_size=min(max(len(data) + 1, 1 << 20), _LARGEST_BLOCK)
            ),
            arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=True
            ),
        )
    except pa.ArrowInvalid as problem:
        raise InputError(f"{file}: cannot be read as a table ({str(problem).splitlines()[0]})") from None
    if invalid:
        row = invalid[0]
        where = f"line {row.number}" if row.number is not None else f"the line {row.text[:60]!r}"
        raise InputError(
            f"{file}, {where}: {counted(row.actual_columns, 'cell')}; expected {row.expected_columns}, "
            "as in the header"
        )
    if table.column_names != names:
        raise InputError(f"{file}: the header does not contain the names of the columns")
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    frame.columns = names  # polars calls a column without a name column_0
    if not len(frame):
        raise InputError(f"{file}: the table has no rows")
    if len(frame) > limits.rows:
        raise InputError(f"{file}: {len(frame):,} rows; at most {limits.rows:,} are allowed")
    return frame


def _unpack(file: Path, limits: TableLimits) -> bytes:
    most = min(limits.unpacked, max(limits.free, limits.ratio * file.stat().st_size))
    data = bytearray()
    with gzip.open(file) as unpacked:
        while chunk := unpacked.read(1 << 24):
            data += chunk
            if len(data) > most:
                raise InputError(f"{file}: unpacks to more than {most:,} bytes; write it as Parquet")
    return bytes(data)


def _check_quotes(data: bytes, delimiter: str, file: Path) -> None:
    """Find quotes that are never closed, which would join the following lines to one cell."""
    if b'"' not in data:
        return
    border = rb"[^%b\r\n]" % delimiter.encode()
    quoted = re.compile(rb'(?<!%b)"(?:([^"]*+(?:""[^"]*+)*+"(?!%b))|)' % (border, border))
    for match in quoted.finditer(data):
        if match[1] is None:
            line = data[: match.start()].count(b"\n") + 1
            raise InputError(
                f"{file}, line {line}: the quoted cell has no closing quote; inside a quoted cell, write "
                "quotes twice"
            )


def _header(text: str, delimiter: str, file: Path) -> list[str]:
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        names = next((row for row in rows if row), [])
    except csv.Error as problem:
        raise InputError(f"{file}: the header cannot be read ({problem})") from None
    duplicates = [name for name, number in Counter(names).items() if number > 1]
    if duplicates:
        raise InputError(f"{file}: duplicate column {duplicates[0]!r} in the header")
    return names


_DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons"}


def _check_delimiter(names: Sequence[str], delimiter: str, file: Path) -> None:
    """Find a header that another delimiter would split: no table has a single column."""
    if len(names) > 1:
        return
    for other, word in _DELIMITERS.items():
        if other != delimiter and other in "".join(names):
            expected = _DELIMITERS[delimiter]
            raise InputError(f"{file}: the cells are separated by {word}; this kind of file has {expected}")


def to_numbers(values: pl.Series, source: str) -> pl.Series:
    """Convert text to numbers; empty, NaN and infinite cells become null.

    Raises:
        InputError: a cell is not a number; the message has its column and row.
    """
    if values.dtype != pl.String:
        return values.cast(pl.Float64)
    text = values.str.strip_chars().str.to_lowercase()
    absent = text.is_in(list(_NO_NUMBER)) | text.is_null()
    numbers = text.cast(pl.Float64, strict=False)
    wrong = numbers.is_null() & ~absent
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        cell = str(values[row])[:80]
        hint = " (write decimals with a point)" if _DECIMAL_COMMA.fullmatch(cell.strip()) else ""
        raise InputError(f"{source}, column {values.name!r}, row {row + 1}: {cell!r} is not a number{hint}")
    return numbers.set(absent | ~numbers.is_finite().fill_null(False), None).alias(values.name)


def require_columns(frame: pl.DataFrame, names: Sequence[str], source: str) -> None:
    """Raise an InputError if columns are missing; the message names them, and one with a similar name."""
    missing = [name for name in names if name not in frame.columns]
    if missing:
        close = get_close_matches(missing[0], frame.columns, n=1, cutoff=0.8)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        plural = "s" if len(missing) > 1 else ""
        raise InputError(f"{source}: missing column{plural} {', '.join(map(repr, missing))}{hint}")


def require_cells(frame: pl.DataFrame, names: Sequence[str], source: str) -> None:
    """Raise an InputError if a cell of these columns is empty; the message names the first one."""
    for name in names:
        empty = frame[name].is_null()
        if frame[name].dtype == pl.String:
            empty |= frame[name] == ""
        if empty.any():
            row = int(empty.arg_max() or 0)
            raise InputError(f"{source}, column {name!r}, row {row + 1}: must not be empty")
