"""Scoring by an engine's workers: the same tables, and workers that see something else stop."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import png

from croc.checks.schema import check_features
from croc.errors import CrocError, InputError
from croc.jobs.executors import local_executor, ray_executor
from croc.jobs.parts import Abort
from croc.scoring.run import ScoringSettings, score_dataset
from croc.scoring.workers import WorkerSlices


@pytest.fixture(scope="module")
def checks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine checks in a Parquet file, two images a side; one image is none."""
    schema = check_features().arrow_schema
    rows = []
    for n in range(9):
        row: dict[str, Any] = dict.fromkeys(schema.names)
        row |= {"check_id": f"c{n}", "concept_id": f"c{n}", "subset": "property_variation"}
        row |= {"prompt": f"a red dog {n}", "contrast_prompt": f"a blue dog {n}"}
        for side, first in (("images", 4 * n), ("contrast_images", 4 * n + 2)):
            row[side] = [{"bytes": png(first + i), "path": None} for i in range(2)]
        rows.append(row)
    rows[4]["images"][1]["bytes"] = b"no image"
    file = tmp_path_factory.mktemp("checks") / "checks.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), file)
    return file


def score(checks: Any, out: Path, scorers: Any = ("random", "prompt-length"), **options: Any) -> list[Path]:
    settings = ScoringSettings(
        checks_per_part=2, progress=False, max_failures=options.pop("max_failures", None)
    )
    return score_dataset(checks, list(scorers), out, settings, **options)


def content(files: list[Path]) -> list[Any]:
    """Rows and metadata; and the slices, byte for byte."""
    slices = [sorted(file.with_suffix(".parts").glob("parts/*")) for file in files]
    tables = [pq.read_table(file) for file in files]
    return [
        [table.to_pylist() for table in tables],
        [table.schema.metadata for table in tables],
        [[part.read_bytes() for part in each] for each in slices],
    ]


def test_two_workers_write_the_same_tables_as_one_process(checks: Path, tmp_path: Path) -> None:
    alone = score(checks, tmp_path / "alone")
    shared = score(checks, tmp_path / "shared", executor=local_executor(2))
    assert content(shared) == content(alone)
    assert sum(row["error"] is not None for row in content(alone)[0][0]) == 1


def test_objects_are_not_for_workers(checks: Path, tmp_path: Path) -> None:
    def mine(images: Any, prompts: Any) -> list[float]:
        return [0.0] * len(prompts)

    with pytest.raises(
        InputError, match="load the scorers themselves: give names or module:Class, not <func"
    ):
        score(checks, tmp_path, [mine], executor=local_executor(2))
    with pytest.raises(InputError, match="open the dataset themselves: give a folder, a file or a Hub id"):
        score(pq.read_table(checks).to_pylist(), tmp_path, executor=local_executor(2))


def test_too_many_failures_stop_workers_too(checks: Path, tmp_path: Path) -> None:
    with pytest.raises(CrocError, match="2 pairs without a score, more than 1"):
        score(checks, tmp_path, ["random"], executor=local_executor(1), max_failures=1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"revision": "sha256:0"}, 'the checks: a worker has .*, the plan is for "sha256:0"'),
        ({"fields": {"revision": "1"}}, r'the scorer: a worker has .*, the plan is for \{"revision":"1"\}'),
        ({"method": "nothing"}, r'the method of scoring: a worker has "\w+", the plan is for "nothing"'),
        ({"scorer": "randon"}, "a worker cannot start: .*randon"),
        ({"source": {"dataset": "/nowhere/x.parquet"}}, "a worker cannot start: .*/nowhere/x.parquet"),
    ],
)
def test_a_worker_that_sees_something_else_stops(
    checks: Path, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    from croc.checks.sources import open_checks
    from croc.scorers.registry import load

    source = {"dataset": str(checks)}
    known = {"revision": open_checks(**source).revision, "fields": dict(load("random").fields())}
    given = {"source": source, "scorer": "random", "options": {}, "method": "pairs", **known, **changes}
    with pytest.raises(Abort, match=sentence):
        WorkerSlices(**given, batch_size=None, threads=1)({"start": 0, "stop": 2}, tmp_path / "x")


@pytest.mark.slow
@pytest.mark.cluster
def test_a_cluster_writes_the_same_tables(checks: Path, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    options = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init("local", num_cpus=2, object_store_memory=100_000_000, **options)
    try:
        shared = score(checks, tmp_path / "ray", executor=ray_executor(workers=2))
    finally:
        ray.shutdown()
    assert content(shared) == content(score(checks, tmp_path / "alone"))
