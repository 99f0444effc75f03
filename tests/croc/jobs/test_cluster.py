"""Real Ray clusters on this machine: one that a command starts, and one of which a node is killed at work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cheap_painter
import llm_server as llm
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from staged_prompts import row, stage

from croc.cli import main
from croc.jobs import runner
from croc.jobs.executors import ray_executor
from croc.jobs.runner import Status
from croc_syn.painting.images import make_images
from croc_syn.painting.settings import Images

# Read when ray is imported: a busy machine takes longer than a minute to start a node or worker, and workers
# that are nicer than all others never get to work on it.
for _name, _value in {
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_worker_niceness": "0",
}.items():
    os.environ.setdefault(_name, _value)

HERE = Path(__file__).parents[2] / "support"
CHECKS = 30


@pytest.fixture
def two_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The cluster, its second node, and a folder in which the nodes that work leave their names."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    notes = tmp_path / "notes"
    notes.mkdir()
    small = {"num_cpus": 1, "object_store_memory": 150_000_000}
    nodes = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    second = nodes.add_node(**small)
    paths = os.pathsep.join([str(HERE), str(HERE.parent)])
    variables = {"PYTHONPATH": paths, "CROC_TEST_NOTES": str(notes)}
    options = {"log_to_driver": False, "logging_level": "ERROR", "runtime_env": {"env_vars": variables}}
    ray.init(nodes.address, **options)
    yield nodes, second, notes
    ray.shutdown()
    nodes.shutdown()


@pytest.mark.slow
@pytest.mark.cluster
def test_without_an_address_a_command_starts_a_cluster_and_ends_it(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    server = llm.Server()
    talks = ["--set", f"text.endpoint.base_url={server.url}", "--text-model", "org/talker"]
    talks += ["--set", "text.rules.encoders=[]", "--set", "images.models=[]", "--checks", "4"]
    words = {
        "prompts": ["prompts", "paper", *talks, "--set", "text.checks_per_part=2"],
        "syn": ["build", "syn", "--checks", "4", "--images", "1", "--size", "32"],
    }
    try:
        for name, command in words.items():
            for engine in ("ray", "local"):
                more = ["--executor", engine, "--workers", "1", "--out", str(tmp_path / engine / name)]
                done = CliRunner(env={"OPENAI_API_KEY": llm.KEY}).invoke(main, [*command, *more])
                assert done.exit_code == 0, done.output
                assert not ray.is_initialized()
    finally:
        server.close()
    for made in (tmp_path / "local").rglob("*.parquet"):
        assert (tmp_path / "ray" / made.relative_to(tmp_path / "local")).read_bytes() == made.read_bytes()
    files = {engine: len(list((tmp_path / engine).rglob("*.parquet"))) for engine in ("ray", "local")}
    assert files["ray"] == files["local"] > 2


@pytest.mark.slow
@pytest.mark.cluster
def test_a_node_that_dies_at_work_loses_nothing_and_doubles_nothing(tmp_path: Path, two_nodes: Any) -> None:
    nodes, second, notes = two_nodes
    prompts = stage(tmp_path / "p", [row(n) for n in range(CHECKS)], size=20).folder
    chosen = Images.model_validate(
        {"models": [{"name": "flux.1-schnell"}], "count": 2, "format": "png", "checks_per_part": 1}
    )
    killed_at: list[int] = []

    def kill(now: Status) -> None:
        if not killed_at and (notes / second.node_id).exists() and now.done < CHECKS - 8:
            killed_at.append(now.done)
            nodes.remove_node(second, allow_graceful=False)

    make_images(
        prompts,
        tmp_path / "ray",
        chosen,
        executor=ray_executor(workers=2),
        painter=cheap_painter.noting,
        progress=kill,
    )
    assert killed_at, "the second node had nothing to do"
    assert len(list(notes.iterdir())) == 2
    make_images(prompts, tmp_path / "local", chosen, painter=cheap_painter.quick, progress=False)

    def content(out: Path) -> dict[str, bytes]:
        files = [*sorted((out / "parts").iterdir()), out / "manifest.json"]
        return {file.name: file.read_bytes() for file in files}

    assert content(tmp_path / "ray") == content(tmp_path / "local")
    assert runner.verify(tmp_path / "ray") == []
    files = sorted((tmp_path / "ray" / "parts").iterdir())
    ids = [each["check_id"] for file in files for each in pq.read_table(file).to_pylist()]
    assert len(ids) == len(set(ids)) == CHECKS
