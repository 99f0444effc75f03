"""The commands of others' benchmarks."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from croc.cli import main

AGIQA = """name,prompt,adj1,adj2,style,mos_quality,std_quality,mos_align,std_align
AttnGAN_normal_000.jpg,a man,,,,0.9,0.2,0.4,0.6
sd1.5_normal_000.jpg,a man,,,,0.7,0.2,0.2,0.6
"""
GENAI = {"00001": {"prompt": "A cat.", "models": {"A": [5, 4, 4], "B": [1, 2, 1]}}}


def croc(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


def test_the_list_says_where_a_benchmark_comes_from() -> None:
    shown = croc("external", "list").output
    assert "github.com/michaelsaxon/T2IScoreScore @ 93ebf895b73d" in shown
    assert "stanfordnlp/colorswap (gated: accept its conditions and log in), not read from there" in shown
    one = croc("external", "list", "tifa160")
    assert one.exit_code == 0 and "T2IScoreScore" not in one.output
    assert "20 figures, from human_annotations/compute_correlation.ipynb" in one.output
    assert croc("external", "list", "tifa").exit_code == 2


def test_a_figure_that_is_not_equal_without_a_reason_is_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "agiqa3k").mkdir()
    (tmp_path / "agiqa3k" / "data.csv").write_text(AGIQA)
    done = croc("external", "reproduce", "agiqa3k", "--data", str(tmp_path))
    assert done.exit_code == 1
    row = next(line for line in done.output.splitlines() if line.lstrip().startswith("images "))
    assert row.split() == ["images", "2982", "2.0", "none", "2.0", "arXiv", "2306.04717;", "not", "equal"]


def test_figures_that_are_not_equal_for_a_known_reason_are_exit_code_0(tmp_path: Path) -> None:
    (tmp_path / "genai_bench_527").mkdir()
    (tmp_path / "genai_bench_527" / "genai_image.json").write_text(json.dumps(GENAI))
    out = tmp_path / "out.json"
    done = croc("external", "reproduce", "--all", "--data", str(tmp_path), "--json", str(out))
    assert done.exit_code == 0, done.output
    assert "not in" in done.stderr and "tifa160" in done.stderr
    (content,) = json.loads(out.read_text())
    assert content["benchmark"] == "genai_bench_527"
    statuses = {row["figure"]: row["status"] for row in content["figures"]}
    assert statuses["alpha"] == "explained" and statuses["SDXL_Base mean rating"] == "not computed"


def test_what_cannot_be_reproduced_is_one_sentence(tmp_path: Path) -> None:
    for words, message in (
        (("--data", str(tmp_path)), "name the benchmarks, or give --all"),
        (("ts2", "--all"), "name the benchmarks, or give --all"),
        (("ts2", "--data", str(tmp_path)), "no folder ts2 with data/metadata.csv or metadata.csv"),
        (("--all", "--data", str(tmp_path)), "no benchmark in this folder"),
        (("ts2", "--data", str(tmp_path / "absent")), "absent: no such folder"),
    ):
        done = croc("external", "reproduce", *words)
        assert done.exit_code == 2 and message in done.output, done.output


def test_a_metric_of_a_user_is_evaluated(tmp_path: Path) -> None:
    (tmp_path / "genai_bench_527").mkdir()
    (tmp_path / "genai_bench_527" / "genai_image.json").write_text(json.dumps(GENAI))
    scores, out = tmp_path / "scores.csv", tmp_path / "out.json"
    scores.write_text("item_id,mine\n00001_A,0.9\n00001_B,0.1\n")
    words = ("genai_bench_527", str(scores), "--data", str(tmp_path), "--json", str(out))
    done = croc("external", "evaluate", *words)
    assert done.exit_code == 0, done.output
    row = next(line for line in done.output.splitlines() if "mine pairwise accuracy" in line)
    assert row.split()[-2:] == ["1.0000", "1.0000"]
    assert json.loads(out.read_text())["correlations"]["results"][0]["metric"] == "mine"
