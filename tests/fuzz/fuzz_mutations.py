"""Damage to a file: its bytes, its kind, and values that no reader expects, by format."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 3, 10**25, 1e308, float("nan"), float("inf"), float("-inf"), -0.0,
    "", " ", "0", "-5", "1,5", "1e400", "nan", "None", "null", "../../etc/passwd", "/dev/zero", "a" * 5000,
    "\x1b[2J\x1b]0;x\x07", "\u202egnp", "\ud800", "é漢字🙂", "\x00", "a\nb\tc", "<script>alert(1)</script>",
    "{}[]*?", "2026-13-45T99:99:99Z", [], {}, [[]], [None], {"a": None}, [1, "a", None], list(range(50)),
)  # fmt: skip


def damage(path: Path, draw: random.Random) -> str:
    """Change the file at ``path`` in one way; returns which, to be printed with a fault."""
    by_format = {
        ".json": (_json_value, 6),
        ".jsonl": (_jsonl_line, 6),
        ".yaml": (_yaml_value, 5),
        ".csv": (_table_cell, 6),
        ".tsv": (_table_cell, 6),
        ".parquet": (_parquet_column, 6),
        ".sqlite": (_database, 6),
        ".md": (_front_matter, 5),
    }
    ways: list[Callable[[Path, random.Random], str]] = [_bytes] * 3 + [_kind]
    special, weight = by_format.get(path.suffix, (_bytes, 1))
    ways += [special] * weight
    return draw.choice(ways)(path, draw)


def _bytes(path: Path, draw: random.Random) -> str:
    data = bytearray(path.read_bytes())
    way = draw.choice(("flip", "cut", "insert", "zero", "repeat", "empty", "prefix", "append", "utf16"))
    place = draw.randrange(len(data) + 1)
    if way == "flip":
        for _ in range(draw.choice((1, 1, 3, 40))):
            if data:
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif way == "cut":
        del data[place:]
    elif way == "insert":
        data[place:place] = draw.randbytes(draw.choice((1, 4, 300)))
    elif way == "zero":
        data[place : place + 64] = bytes(len(data[place : place + 64]))
    elif way == "repeat":
        data[place:place] = data[max(0, place - 200) : place]
    elif way == "empty":
        data.clear()
    elif way == "prefix":
        data[:0] = draw.choice((b"\xef\xbb\xbf", b"\x00", b"PAR1", b"\x1f\x8b\x08", b"#", b"\n\n"))
    elif way == "append":
        data += draw.choice((b"\x00", b"\n", b"garbage", b"\xff\xfe", b"]", b"}"))
    else:
        data = bytearray(bytes(data).decode("latin-1").encode("utf-16"))
    path.write_bytes(data)
    return f"bytes: {way} at {place}"


def _kind(path: Path, draw: random.Random) -> str:
    way = draw.choice(("folder", "dangling", "loop", "zero device", "null device", "pipe", "missing"))
    path.unlink()
    if way == "folder":
        path.mkdir()
    elif way == "pipe":
        os.mkfifo(path)
    elif way != "missing":
        targets = {
            "dangling": "nowhere",
            "loop": path.name,
            "zero device": "/dev/zero",
            "null device": "/dev/null",
        }
        path.symlink_to(targets[way])
    return f"kind: {way}"


def _places(value: Any, so_far: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a nested value, the whole of it first."""
    found = [so_far]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += _places(inner, (*so_far, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value[:30]):
            found += _places(inner, (*so_far, number))
    return found


def _changed(value: Any, draw: random.Random) -> tuple[Any, str]:
    """The value with one place replaced, removed or added; and which."""
    places = _places(value)
    shallow = [place for place in places if len(place) <= draw.choice((1, 2, 3, 9))]
    place = draw.choice(shallow or places)
    odd = draw.choice(ODD)
    if not place:
        return odd, f"all = {odd!r:.40}"
    holder = value
    for key in place[:-1]:
        holder = holder[key]
    way = draw.choice(("replace", "replace", "replace", "remove", "add", "wrap"))
    if way == "replace":
        holder[place[-1]] = odd
    elif way == "remove":
        del holder[place[-1]]
    elif way == "add" and isinstance(holder, dict):
        holder[draw.choice(("unknown", "", "__class__", "1"))] = odd
    elif way == "add":
        holder.insert(0, odd)
    else:
        holder[place[-1]] = [holder[place[-1]]]
    return value, f"{way} {'.'.join(map(str, place))} with {odd!r:.40}"


def _json_value(path: Path, draw: random.Random) -> str:
    way = draw.choice(("value",) * 8 + ("deep", "twice", "number"))
    text = path.read_text()
    if way == "value":
        value, way = _changed(json.loads(text), draw)
        text = json.dumps(value)
    elif way == "deep":
        text = "[" * 200_000
    elif way == "twice":
        text = text + text
    else:
        text = text.replace("1", "1" * 5000, 1)
    path.write_text(text)
    return f"json: {way}"


def _jsonl_line(path: Path, draw: random.Random) -> str:
    lines = path.read_text().splitlines()
    number = draw.randrange(len(lines))
    way = draw.choice(("value", "value", "value", "repeat", "remove", "swap", "blank"))
    if way == "value":
        value, way = _changed(json.loads(lines[number]), draw)
        lines[number] = json.dumps(value)
    elif way == "repeat":
        lines.append(lines[number])
    elif way == "remove":
        del lines[number]
    elif way == "swap":
        lines.reverse()
    else:
        lines[number] = "{"
    path.write_text("\n".join(lines) + "\n")
    return f"jsonl line {number}: {way}"


_YAML_TEXTS = (
    "a: &a [x, x]\n"
    + "".join(f"b{n}: &b{n} [{', '.join([f'*b{n - 1}' if n else '*a'] * 9)}]\n" for n in range(12)),
    "!!python/object/apply:os.system ['true']\n",
    "- [" * 3000,
    "a: 1\na: 2\n",
    "key: [unclosed\n",
    "\tkey: value\n",
    "<<: *nowhere\n",
    "? [1, 2]\n: 3\n",
    "2026-11-29: 08\n",
    "- &loop [*loop]\n",
)


def _yaml_value(path: Path, draw: random.Random) -> str:
    if draw.random() < 0.25:
        number = draw.randrange(len(_YAML_TEXTS))
        before = path.read_text() if draw.random() < 0.5 else ""
        path.write_text(before + "\n" + _YAML_TEXTS[number])
        return f"yaml text {number}{' appended' if before else ''}"
    value, way = _changed(yaml.safe_load(path.read_text()), draw)
    path.write_text(yaml.safe_dump(value, allow_unicode=False))
    return f"yaml: {way}"


def _front_matter(path: Path, draw: random.Random) -> str:
    _, head, body = path.read_text().split("---\n", 2)
    if draw.random() < 0.2:
        number = draw.randrange(len(_YAML_TEXTS))
        path.write_text(f"---\n{_YAML_TEXTS[number]}---\n{body}")
        return f"front matter: yaml text {number}"
    value, way = _changed(yaml.safe_load(head), draw)
    path.write_text(f"---\n{yaml.safe_dump(value)}---\n{body}")
    return f"front matter: {way}"


def _table_cell(path: Path, draw: random.Random) -> str:
    separator = "\t" if path.suffix == ".tsv" else ","
    rows = list(csv.reader(io.StringIO(path.read_text()), delimiter=separator))
    way = draw.choice(
        (
            "cell",
            "cell",
            "cell",
            "cell",
            "name",
            "drop",
            "double",
            "ragged",
            "repeat",
            "head only",
            "quote",
            "sort",
        )
    )
    row, column = draw.randrange(1, len(rows)), draw.randrange(len(rows[0]))
    odd = str(draw.choice(ODD))
    said = f"{rows[0][column]} of row {row} = {odd!r:.40}"
    if way == "cell":
        rows[row][column] = odd
    elif way == "name":
        rows[0][column] = odd
    elif way == "drop":
        rows = [one[:column] + one[column + 1 :] for one in rows]
    elif way == "double":
        rows = [[*one, one[column]] for one in rows]
    elif way == "ragged":
        rows[row] = rows[row][: column + 1]
    elif way == "repeat":
        rows.append(rows[row])
    elif way == "head only":
        rows = rows[:1]
    elif way == "sort":
        rows[1:] = sorted(rows[1:], key=lambda one: one[column])
    out = io.StringIO()
    csv.writer(out, delimiter=separator).writerows(rows)
    text = out.getvalue()
    if way == "quote":
        place = draw.randrange(len(text))
        text = text[:place] + '"' + text[place:]
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return f"table: {way}: {said}"


def _parquet_column(path: Path, draw: random.Random) -> str:
    table = pq.read_table(path)
    number = draw.randrange(table.num_columns)
    name, column = table.column_names[number], table.column(number)
    way = draw.choice(
        ("drop", "name", "null", "cell", "text", "wrap", "repeat", "empty", "meta", "double", "reverse")
    )
    if way == "drop":
        table = table.drop_columns([name])
    elif way == "name":
        table = table.rename_columns([f"{one}_" if one == name else one for one in table.column_names])
    elif way == "null":
        table = table.set_column(number, name, pa.nulls(len(column), draw.choice((column.type, pa.null()))))
    elif way == "cell":
        way += f" {_set_cell(values := column.to_pylist(), column.type, draw)}"
        table = table.set_column(number, name, pa.array(values, column.type))
    elif way == "text":
        table = table.set_column(number, name, pa.array([str(one)[:40] for one in column.to_pylist()]))
    elif way == "wrap":
        table = table.set_column(
            number, name, pa.array([[one] for one in column.to_pylist()], pa.list_(column.type))
        )
    elif way == "repeat":
        table = pa.concat_tables([table, table.slice(0, 1)])
    elif way == "empty":
        table = table.slice(0, 0)
    elif way == "meta":
        meta = {
            key: draw.choice((b"", b"{", b"null", b'"x"', b"[1]", b"{}"))
            for key in table.schema.metadata or {}
        }
        table = table.replace_schema_metadata(meta)
    elif way == "double":
        table = table.append_column(draw.choice((name, f"{name}.x", "extra")), column)
    else:
        table = table.take(list(range(len(table)))[::-1])
    pq.write_table(table, path)
    return f"parquet: {way} {name}"


def _set_cell(values: list[Any], kind: pa.DataType, draw: random.Random) -> str:
    """Put an odd value of the type into one cell; returns which."""
    row = draw.randrange(len(values))
    fitting = []
    for odd in ODD:
        try:
            pa.array([odd], kind)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            continue
        fitting.append(odd)
    if pa.types.is_list(kind) and values[row]:
        fitting += [values[row][:-1], [*values[row], values[row][0]], [None, *values[row][1:]]]
        if isinstance(values[row][0], dict) and "bytes" in values[row][0]:
            data = values[row][0]["bytes"] or b""
            for bad in (b"", b"GIF89a", data[:40], data[:-30], b"\x89PNG" + bytes(60)):
                fitting.append([{"bytes": bad, "path": None}, *values[row][1:]])
            for way in ("/dev/zero", "../../../../etc/passwd", "nowhere.png"):
                fitting.append([{"bytes": None, "path": way}, *values[row][1:]])
    values[row] = draw.choice(fitting)
    return f"row {row} = {values[row]!r:.40}"


_FOR_SQLITE = [
    odd
    for odd in ODD
    if odd is None or (isinstance(odd, float | str | int) and odd not in ("\ud800", 10**25))
]


def _database(path: Path, draw: random.Random) -> str:
    db = sqlite3.connect(path)
    tables = [
        one[0]
        for one in db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
    ]
    table = draw.choice(tables)
    columns = [one[1] for one in db.execute(f'PRAGMA table_info("{table}")')]
    column, odd = draw.choice(columns), draw.choice(_FOR_SQLITE)
    way = draw.choice(("value", "value", "value", "drop table", "rename column", "version", "delete"))
    try:
        if way == "value":
            db.execute(
                f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = (SELECT min(rowid) FROM "{table}")',
                (odd,),
            )
        elif way == "drop table":
            db.execute(f'DROP TABLE "{table}"')
        elif way == "rename column":
            db.execute(f'ALTER TABLE "{table}" RENAME COLUMN "{column}" TO "other"')
        elif way == "version":
            db.execute(f"PRAGMA user_version = {draw.choice((0, 99, -3))}")
        else:
            db.execute(f'DELETE FROM "{table}"')
        db.commit()
    except sqlite3.Error as error:
        way += f" (refused by the database: {error})"
    db.close()
    return f"database: {way} {table}.{column} = {odd!r:.40}"
