"""Damaged files of benchmarks: every one is read, or is an error of its own kind; nothing else is raised."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from benchmark_layouts import LAYOUTS

from croc.errors import CrocError
from croc.external.benchmark import Benchmark, find_benchmark
from croc.external.location import Located
from croc.external.scoring import open_pairs

VALUES = (None, 7, -1.5, "x", "", [], {}, True, "../a", [1], {"a": 1}, float("nan"), 10**30, "cut \ud83d")
TRIES = 25


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield place
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield from places(one, (*place, key))


def changed_json(text: str, rng: random.Random) -> str:
    """A JSON value with another value in one place, or without a key."""
    value = json.loads(text)
    place = rng.choice(list(places(value)))
    if not place:
        return json.dumps(rng.choice(VALUES))
    inside = value
    for key in place[:-1]:
        inside = inside[key]
    if isinstance(inside, dict) and rng.random() < 0.3:
        del inside[place[-1]]
    else:
        inside[place[-1]] = rng.choice(VALUES)
    return json.dumps(value)


def changed_bytes(content: bytes, rng: random.Random) -> bytes:
    """A file that is cut, or has some other bytes."""
    if rng.random() < 0.4:
        return content[: rng.randrange(len(content))]
    damaged = bytearray(content)
    for _ in range(rng.randrange(1, 6)):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    return bytes(damaged)


def use(benchmark: Benchmark, folder: Path) -> None:
    """Everything that scoring and evaluating reads."""
    if benchmark.pairs:
        with suppress(CrocError):
            pairs = benchmark.pairs(folder)
            checks = open_pairs(benchmark, pairs, Located(folder, benchmark.name))
            checks.read(0, len(checks.texts))
    if benchmark.read:
        with suppress(CrocError):
            items = benchmark.read(folder)
            if benchmark.kind == "rated" and benchmark.score:
                table = items.table.with_columns(pl.lit(0.5).alias("m"))
                benchmark.score(type(items)(table, items.humans, metrics=("m",)), "default")


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_damaged_file_is_read_or_is_a_clear_error(name: str, tmp_path: Path) -> None:
    LAYOUTS[name](tmp_path)
    benchmark, rng = find_benchmark(name), random.Random(name)
    files = [
        file
        for file in sorted(tmp_path.rglob("*"))
        if file.suffix in (".json", ".jsonl", ".csv", ".zip", ".npy")
    ]
    for _ in range(TRIES):
        file = rng.choice(files)
        whole = file.read_bytes()
        if file.suffix == ".json" and rng.random() < 0.7:
            with suppress(ValueError):  # NLVR has an object a line
                file.write_text(changed_json(whole.decode(), rng), "utf-8")
        else:
            file.write_bytes(changed_bytes(whole, rng))
        use(benchmark, tmp_path)
        file.write_bytes(whole)
