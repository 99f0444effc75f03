"""Engines: the same files out, whoever makes the parts, and whatever dies meanwhile."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from croc.errors import CrocError, InputError
from croc.jobs import runner
from croc.jobs.executors import executor_for, local_executor, on_this_machine, ray_executor, visible_gpus
from croc.jobs.parts import Abort, MakePart, Part
from croc.jobs.runner import PartsFailed


def square(payload: dict[str, Any], path: Path) -> dict[str, Any]:
    path.write_text(f"{payload['n']} {payload['n'] ** 2}\n" * 1000)
    return {"rows": 1000}


def picky(payload: dict[str, Any], path: Path) -> dict[str, Any]:
    if payload["n"] == 2:
        raise ValueError("not to my taste")
    return square(payload, path)


def stops_the_run(payload: dict[str, Any], path: Path) -> dict[str, Any]:
    if payload["n"] >= 1:
        raise Abort("the key has expired")
    return square(payload, path)


def where(payload: dict[str, Any], path: Path) -> dict[str, Any]:
    """Which GPU this process may see; a barrier of files lets both workers be seen at work at once."""
    mine = Path(payload["meet"]) / str(os.getpid())
    mine.touch()
    deadline = time.monotonic() + 60
    while len(list(mine.parent.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    path.write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
    return {}


class Carrying:
    """A function that makes parts of a file that only the driver can read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def carried(self, payload: dict[str, Any]) -> dict[str, Any]:
        return {**payload, "text": (self.folder / payload["file"]).read_text()}

    def __call__(self, payload: dict[str, Any], path: Path) -> dict[str, Any]:
        path.write_text(payload.get("text", "read by the worker"))
        return {}


def plan(n: int = 6) -> list[Part]:
    return [Part(f"part-{i:03}", {"n": i}) for i in range(n)]


def run(out: Path, make: MakePart = square, todo: list[Part] | None = None, **options: Any) -> Any:
    given = {"suffix": ".txt", "fingerprint": {"version": 1}, "progress": False}
    return runner.run(plan() if todo is None else todo, make, out, **{**given, **options})


def content(out: Path) -> dict[str, bytes]:
    """All that must not depend on how the work went: the parts and the manifest."""
    files = [*sorted((out / "parts").iterdir()), out / "manifest.json"]
    return {file.name: file.read_bytes() for file in files}


# ---- This machine ----


def test_an_engine_has_a_name_and_its_own_options(tmp_path: Path) -> None:
    run(tmp_path, executor=executor_for("local"))
    assert len(content(tmp_path)) == 7
    with pytest.raises(InputError, match=r"'spark' is not known; known are local, ray"):
        executor_for("spark")
    with pytest.raises(InputError, match="--address needs --executor ray"):
        executor_for("local", address="auto")


def test_each_local_worker_sees_a_gpu_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "meet").mkdir()
    todo = [Part(f"p{n}", {"meet": str(tmp_path / "meet"), "n": n}) for n in range(2)]
    run(tmp_path / "out", where, todo, executor=local_executor(2, gpus=["4", "6"]))
    seen = {file.read_text() for file in (tmp_path / "out" / "parts").iterdir()}
    assert seen <= {"4", "6"}
    assert len(list((tmp_path / "meet").iterdir())) == len(seen) == 2


def test_the_gpus_are_those_that_cuda_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0, 3")
    assert visible_gpus() == ["0", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert visible_gpus() == []


# ---- A cluster ----


@pytest.fixture(scope="module")
def ray_here() -> Any:
    """A connection to a one-node cluster, so that several tests need not start one each."""
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        "local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100_000_000,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parents[2] / "support")}},
    )
    yield ray
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.cluster
def test_a_cluster_makes_the_same_files_as_one_process(tmp_path: Path, ray_here: Any) -> None:
    run(tmp_path / "local")
    run(tmp_path / "ray", executor=ray_executor(workers=2))
    assert content(tmp_path / "ray") == content(tmp_path / "local")
    assert runner.verify(tmp_path / "ray") == []


@pytest.mark.slow
@pytest.mark.cluster
def test_a_cluster_keeps_what_went_well_and_another_engine_goes_on(tmp_path: Path, ray_here: Any) -> None:
    with pytest.raises(PartsFailed, match="not to my taste"):
        run(tmp_path / "out", picky, executor=ray_executor())
    assert runner.status(tmp_path / "out").done == 5
    run(tmp_path / "out")
    run(tmp_path / "local")
    assert content(tmp_path / "out") == content(tmp_path / "local")


@pytest.mark.slow
@pytest.mark.cluster
def test_a_reason_that_holds_for_all_parts_stops_a_cluster(tmp_path: Path, ray_here: Any) -> None:
    with pytest.raises(CrocError, match=r"stopped at part part-00\d: the key has expired"):
        run(tmp_path / "out", stops_the_run, executor=ray_executor(workers=1))


@pytest.mark.slow
@pytest.mark.cluster
def test_what_a_part_is_made_from_travels_with_it(tmp_path: Path, ray_here: Any) -> None:
    (tmp_path / "in.txt").write_text("from the driver")
    run(tmp_path / "out", Carrying(tmp_path), [Part("a", {"file": "in.txt"})], executor=ray_executor())
    assert (tmp_path / "out" / "parts" / "a.txt").read_text() == "from the driver"


@pytest.mark.slow
@pytest.mark.cluster
def test_more_gpus_than_there_are_is_said(tmp_path: Path, ray_here: Any) -> None:
    with pytest.raises(CrocError, match=r"a worker needs more GPUs \(1\) than the cluster has \(0\)"):
        run(tmp_path / "out", executor=ray_executor(gpus_per_worker=1))


def test_parts_that_read_files_of_this_machine_are_not_sent_to_a_cluster():
    assert on_this_machine(None) is None
    assert on_this_machine(ray_executor("ray://elsewhere:10001")) is None
    local = local_executor(2)
    assert on_this_machine(local) is local
