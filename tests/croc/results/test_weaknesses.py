"""What audits and probes found follows from the evidence of a result, and stands on the leaderboard."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from parsed import Page

from croc.checks.sources import Checks, open_checks
from croc.cli import main
from croc.errors import InputError
from croc.probe.report import PROPERTY
from croc.rendering import fragments as pages
from croc.results.files import add_weaknesses, make_result, read_result, write_result
from croc.results.leaderboard import Benchmark, leaderboard
from croc.results.verification import verify_result
from croc.results.verified import read_verified
from croc.results.weaknesses import ATTACKS, CANDIDATES, PROBE, SUFFIX
from croc.reward_audit.records import RewardReport
from croc.scoring.run import ScoringSettings, score_dataset
from croc.verdict.report import Settings
from croc_syn.probe import ProbeSettings, run_probe
from croc_syn.reward_audit.audit import AuditSettings, run_audit
from croc_syn.reward_audit.pixels import PixelSettings
from croc_syn.reward_audit.pools import PoolSettings
from croc_syn.reward_audit.search import SearchSettings

QUIET = ScoringSettings(progress=False)


def some_checks() -> Checks:
    return open_checks(str(pages.CHECKS)).spaced(70)


class Red:
    """Likes red, more so if the prompt says it; with gradients, and easily deceived."""

    def __init__(self, version: str = "1") -> None:
        self.name, self.version = "red", version

    def _weights(self, prompts: Sequence[str]) -> np.ndarray:
        return np.array([3.0 if " red" in f" {prompt}" else 1.0 for prompt in prompts])

    def score(self, images: Sequence[Any], prompts: Sequence[str]) -> np.ndarray:
        means = [np.asarray(image, dtype=float).mean(axis=(0, 1)) @ (1, -0.5, -0.5) for image in images]
        return self._weights(prompts) * np.array(means)

    def pixel_gradients(self, images: Sequence[Any], prompts: Sequence[str]) -> np.ndarray:
        return np.stack(
            [
                np.broadcast_to(weight * np.array([1, -0.5, -0.5]), (image.height, image.width, 3))
                for image, weight in zip(images, self._weights(prompts), strict=True)
            ]
        )

    def fields(self) -> dict[str, str]:
        return {"revision": self.version}


@dataclass(frozen=True)
class Runs:
    """The table of a metric, its audit and its probe."""

    folder: Path
    audit: RewardReport
    probe: Any


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("runs")
    audit = run_audit(
        [Red()],
        folder / "audit",
        AuditSettings(
            PoolSettings(prompts=1, candidates=32, properties=("colour", "count", "negation"), size=64),
            SearchSettings(prompts=0),
            PixelSettings(checks=3),
        ),
        scoring=QUIET,
        progress=False,
    )
    settings = ProbeSettings(max_checks=16, detail_checks=0, properties=("colour", "count"), size=64)
    probe = run_probe(Red(), folder / "probe", settings, progress=False)
    score_dataset(some_checks(), [Red()], folder / "scores", QUIET)
    return Runs(folder, audit, probe)


def submit(runs: Runs, out: Path) -> Path:
    """A submission: table, result and evidence."""
    out.mkdir(exist_ok=True)
    shutil.copy(runs.folder / "scores" / "red.parquet", out)
    made = make_result(out / "red.parquet", settings=Settings(resamples=100, flips=100))
    made = add_weaknesses(made, out, audit=runs.folder / "audit", probe=runs.folder / "probe")
    return write_result(made, out / "red.json")


def run(*words: str | Path) -> Any:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_the_figures_are_those_of_the_reports(runs: Runs, tmp_path: Path) -> None:
    found = read_result(submit(runs, tmp_path)).weaknesses
    assert found is not None and found.audit is not None and found.probe is not None
    (audited,) = runs.audit.metrics
    best = audited.best_of["16"]
    assert (found.audit.best_of_16, found.audit.possible) == (best.value, runs.audit.oracle["16"])
    assert audited.pixels is not None
    assert found.audit.attacked == audited.pixels.passed > 0
    assert found.audit.flips == pytest.approx(audited.pixels.attack["4"]) and found.audit.flips is not None
    weakest = min(
        (one for one in runs.probe.findings if one.kind == PROPERTY), key=lambda one: one.accuracy.high
    )
    assert (found.probe.property, found.probe.checks) == (weakest.name, weakest.checks)
    assert found.probe.scaled == pytest.approx(2 * weakest.accuracy.value - 1)
    assert found.probe.high == pytest.approx(2 * weakest.accuracy.high - 1)


def test_the_evidence_has_the_same_bytes_each_time(runs: Runs, tmp_path: Path) -> None:
    first, second = (submit(runs, tmp_path / name) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert verify_result(first) == []


def forged(result: Path, name: str, change: Callable[[bytes], bytes], *, consistent: bool) -> None:
    """Change a file of the evidence, and with ``consistent`` the figures of the result accordingly."""
    from dataclasses import replace

    from croc.results.weaknesses import read_weaknesses

    path = result.with_name(f"red{SUFFIX}")
    with zipfile.ZipFile(path) as packed:
        contents = {entry: packed.read(entry) for entry in packed.namelist()}
    contents[name] = change(contents[name])
    with zipfile.ZipFile(path, "w") as packed:
        for entry, content in contents.items():
            packed.writestr(entry, content)
    if consistent:
        stored = read_result(result)
        write_result(replace(stored, weaknesses=read_weaknesses(path, "red", stored.signature)), result)


def all_passed(content: bytes) -> bytes:
    report = json.loads(content)
    for one in report["scored"]:
        one["passed"] = 1.0
    return json.dumps(report).encode()


def no_flips(content: bytes) -> bytes:
    import io

    out = io.BytesIO()
    pl.read_parquet(content).with_columns(passed=pl.lit(True)).write_parquet(out)
    return out.getvalue()


def without_the_worst(content: bytes) -> bytes:
    report = json.loads(content)
    worst = min(one["passed"] for one in report["scored"])
    report["scored"] = [one for one in report["scored"] if one["passed"] > worst]
    return json.dumps(report).encode()


def every_second_attack(content: bytes) -> bytes:
    import io

    out = io.BytesIO()
    pl.read_parquet(content).gather_every(2).write_parquet(out)
    return out.getvalue()


def other_scores(content: bytes) -> bytes:
    """The scores of the pools with another sign, in a table with the same metadata."""
    import io

    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(content))
    at = table.schema.get_field_index("prompt_score")
    table = table.set_column(at, table.schema.field(at), pc.negate(table["prompt_score"]).cast(pa.float64()))
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "change", "word"),
    [
        (CANDIDATES, other_scores, "scores of candidates differ"),
        (ATTACKS, no_flips, "attacks"),
        (ATTACKS, every_second_attack, "attacks"),
        (PROBE, all_passed, "checks of the probe"),
        (PROBE, without_the_worst, "checks of the probe"),
    ],
)
def test_a_forgery_is_found(
    runs: Runs, tmp_path: Path, name: str, change: Callable[[bytes], bytes], word: str
) -> None:
    result = submit(runs, tmp_path / "honest")
    own = ("--audit", runs.folder / "audit", "--probe", runs.folder / "probe")
    assert run("results", "verify", result, *own).exit_code == 0
    # Evidence that does not give the figures is found by everyone,
    result = submit(runs, tmp_path / "crude")
    forged(result, name, change, consistent=False)
    done = run("results", "verify", result)
    assert done.exit_code == 2 and "checksum of red.evidence.zip differs" in done.output
    assert "but the evidence gives" in done.output
    # and forged evidence by a run of one's own.
    result = submit(runs, tmp_path / "careful")
    forged(result, name, change, consistent=True)
    assert run("results", "verify", result).exit_code == 0
    done = run("results", "verify", result, *own)
    assert done.exit_code == 2 and word in done.output and "the new run" in done.output


def edited(result: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(result.read_text("utf-8"))
    change(content["weaknesses"])
    result.write_text(json.dumps(content), "utf-8")


def test_a_figure_that_was_edited_is_found(runs: Runs, tmp_path: Path) -> None:
    result = submit(runs, tmp_path)
    edited(result, lambda found: found["audit"].update(best_of_16=0.99))
    (problem,) = verify_result(result)
    assert problem.startswith("weaknesses.audit.best_of_16: is 0.99, but the evidence gives ")
    result.with_name(f"red{SUFFIX}").unlink()
    with pytest.raises(InputError, match=r"its evidence .*red\.evidence\.zip does not exist"):
        verify_result(result)


def test_runs_of_another_version_or_metric_are_refused(runs: Runs, tmp_path: Path) -> None:
    (table,) = score_dataset(some_checks(), [Red("2")], tmp_path, QUIET)
    made = make_result(table, settings=Settings(resamples=100, flips=100))
    for what in ("audit", "probe"):
        with pytest.raises(
            InputError, match=f"the {what} is of another scorer .*its revision is '1', not '2'"
        ):
            add_weaknesses(made, tmp_path, **{what: runs.folder / what})
    (table,) = score_dataset(some_checks(), ["random"], tmp_path, QUIET)
    made = make_result(table, settings=Settings(resamples=100, flips=100))
    for what in ("audit", "probe"):
        with pytest.raises(InputError, match="'random'"):
            add_weaknesses(made, tmp_path, **{what: runs.folder / what})


def shown(benchmark: Benchmark, **more: Any) -> dict[str, dict[str, str]]:
    (table,) = Page(pages.ranking(benchmark, **more)).tables
    rows = [dict(zip(table.head, row, strict=True)) for row in table.rows]
    return {row["Scorer"].split()[0]: row for row in rows}


def test_the_leaderboard_shows_sorts_and_marks_them(runs: Runs, tmp_path: Path) -> None:
    result = submit(runs, tmp_path / "results")
    (table,) = score_dataset(some_checks(), ["random"], tmp_path / "scores", QUIET)
    without = make_result(table, settings=Settings(resamples=100, flips=100))
    write_result(without, result.with_name("random.json"))
    (benchmark,) = leaderboard([tmp_path / "results"], resamples=100, flips=100).benchmarks
    rows = shown(benchmark)
    (audited,) = runs.audit.metrics
    assert rows["red"]["Best-of-16 yield"].startswith(f"{audited.best_of['16'].value:.0%}*")
    assert rows["random"]["Best-of-16 yield"] == rows["random"]["Flips at 4/255"] == "–"
    # Without a probe the weakest property is that of the results.
    weakest = benchmark.weakest("random")
    assert weakest is not None and weakest.source == "checks"
    assert weakest.property.replace("_", " ") in rows["random"]["Weakest property"]
    assert "probe" in rows["red"]["Weakest property"]
    assert rows["red"]["Weakest property"].startswith(runs.probe.findings[0].name.replace("_", " "))
    # The one without a number is last in both orders.
    for reverse in (False, True):
        assert list(shown(benchmark, order=pages.Order("best_of_16", reverse))) == ["red", "random"]
    (row,) = [row for row in benchmark.rows() if row["metric"] == "red"]
    assert row["run_again"] == [] and row["best_of_16"] == audited.best_of["16"].value
    # After a run of the keeper there is no mark.
    own = ("--audit", runs.folder / "audit", "--probe", runs.folder / "probe")
    listed = tmp_path / "results" / "verified.json"
    assert run("results", "verify", result, *own, "--record", listed).exit_code == 0
    (benchmark,) = leaderboard(
        [tmp_path / "results"], resamples=100, flips=100, verified=read_verified(listed)
    ).benchmarks
    assert "*" not in shown(benchmark)["red"]["Best-of-16 yield"]
    (row,) = [row for row in benchmark.rows() if row["metric"] == "red"]
    assert row["run_again"] == ["audit", "probe"]
    done = run("leaderboard", tmp_path / "results", "--verified", listed)
    assert done.exit_code == 0 and "best-of-16 yield" in done.output
    assert "has not run it again" not in done.output
    assert "has not run it again" in run("leaderboard", tmp_path / "results").output


def test_the_commands_create_and_name_what_is_missing(runs: Runs, tmp_path: Path) -> None:
    table = runs.folder / "scores" / "red.parquet"
    done = run("results", "create", table, "--audit", runs.folder / "audit", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    found = read_result(tmp_path / "red.json").weaknesses
    assert found is not None and found.audit is not None and found.probe is None
    done = run("results", "create", table, "--probe", tmp_path / "none", "--out", tmp_path)
    assert done.exit_code == 2 and "croc probe writes it" in done.output
    result = submit(runs, tmp_path / "two")
    shutil.copy(tmp_path / "red.json", result.parent / "other.json")
    done = run("results", "verify", result.parent, "--audit", runs.folder / "audit")
    assert done.exit_code == 2 and "give one results file with it, not 2" in done.output
