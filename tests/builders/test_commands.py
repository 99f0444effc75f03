"""croc demo, croc build scenes, croc publish --check-access: what people type, and the sentences they get."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from croc.cli import main


def croc(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The demo, run once as a person runs it, in a process of its own."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    command = [sys.executable, "-m", "croc", "demo", "--out", folder, "--checks", "60", "--images", "2"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=folder.parent)
    assert run.returncode == 0, run.stderr
    return folder, run.stdout


def test_the_demo_writes_every_kind_of_report_and_says_where(demo: tuple[Path, str]) -> None:
    folder, printed = demo
    assert "colour-words" in printed and "signflip" not in printed  # signatures: with --verbose
    for name in ("report.html", "report.png", "report.tex", "report.json", "sheet.png", "syn/README.md"):
        assert (folder / name).stat().st_size > 100, name
    assert Image.open(folder / "report.png").size[0] > 500


def test_the_demo_shows_what_the_scorer_of_colours_can_and_cannot(demo: tuple[Path, str]) -> None:
    report = json.loads((demo[0] / "report.json").read_text())
    by_property = {
        row["group_value"]: row["scaled"]
        for row in report["scores"]
        if row["metric"] == "colour-words" and row["group"] == "property"
    }
    assert by_property["colour"] > 0.3
    others = [value for name, value in by_property.items() if name != "colour"]
    assert len(others) == 4 and max(others) < by_property["colour"] - 0.2


def test_the_demo_shows_what_a_learned_metric_can(demo: tuple[Path, str]) -> None:
    report = json.loads((demo[0] / "report.json").read_text())
    scaled = {row["metric"]: row["scaled"] for row in report["scores"] if row["group"] is None}
    assert scaled["crocscore-tiny"] > 0.7 and scaled["crocscore-dual"] < 0.5


@pytest.mark.slow
def test_the_demo_evaluates_the_sample_and_shows_where_a_dual_encoder_fails(tmp_path: Path) -> None:
    run = croc("demo", "--out", tmp_path / "new" / "demo")
    assert run.exit_code == 0, run.output
    report = json.loads((tmp_path / "new" / "demo" / "report.json").read_text())
    assert report["dataset"]["name"] == "croc/syn" and report["checks"] == 352
    assert not (tmp_path / "new" / "demo" / "syn").exists()
    scores = {(row["metric"], row["group_value"]): row for row in report["scores"]}
    for value in ("negation", "count_binding"):
        dual, tiny = scores["crocscore-dual", value], scores["crocscore-tiny", value]
        assert dual["ci_high"] < tiny["ci_low"]


def test_the_demo_can_be_run_again_and_gives_the_same(demo: tuple[Path, str]) -> None:
    before = (demo[0] / "report.json").read_bytes()
    command = [sys.executable, "-m", "croc", "demo", "--out", demo[0], "--checks", "60", "--images", "2"]
    subprocess.run(command, capture_output=True, check=True, cwd=demo[0].parent)
    assert (demo[0] / "report.json").read_bytes() == before


def test_annotated_scenes_are_built_and_counted(tmp_path: Path) -> None:
    out = tmp_path / "scenes"
    words = ("build", "scenes", "--images", "6", "--property", "colour", "--about", "colour", "--out", out)
    done = croc(*words)
    assert done.exit_code == 0, done.output
    rows = [row for file in (out / "parts").glob("*.parquet") for row in pq.read_table(file).to_pylist()]
    assert len(rows) == 6
    pairs = sum(len(row["true"]) for row in rows)
    assert done.stdout.splitlines()[0] == f"{out}: 6 images, {pairs} prompt pairs"
    assert {name for row in rows for name in row["about"]} == {"colour"}
    refused = croc("build", "scenes", "--images", "2", "--train", "0", "--out", tmp_path / "none")
    assert refused.exit_code == 2 and "no concept goes into the split train" in refused.output


@pytest.mark.parametrize(
    ("repo", "token", "message"),
    [
        ("no-organisation", "hf_x", "a repository is named organisation/name"),
        ("org/name", "", "publishing needs an access token"),
        ("org/name", "hf_x", ""),
    ],
)
def test_access_is_checked_before_there_is_anything_to_publish(
    repo: str, token: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    done = croc("publish", "model", tmp_path / "not-there", "--repo", repo, "--check-access")
    assert (done.exit_code == 0) == (not message) and message in done.output
