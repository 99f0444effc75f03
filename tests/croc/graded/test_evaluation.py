"""Graded checks from build to result: planted metrics, intervals, refusals, the command line."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from click.testing import CliRunner

from croc.cli import main
from croc.errors import InputError
from croc.graded import evaluate
from croc.graded.evaluation import paths_of
from croc.tables.columns import NO_CONTRAST_PROMPT
from croc.tables.metadata import ScoreMetadata
from croc.tables.writers import write_scores
from croc.verdict.evaluation import evaluate as evaluate_checks

KINDS = ("colour", "count", "object")
NODES = [node for number in range(4) for node in combinations(KINDS, number)]


def table(file: Path, score, graphs: int = 12, images: int = 2, protocol: str = "graded") -> Path:  # type: ignore[no-untyped-def]
    """A score table: ``score(graph, node, image)`` on graphs with all sets of three errors."""
    rows = []
    for graph in range(graphs):
        for number, node in enumerate(NODES):
            for image in range(images):
                rows.append(
                    {
                        "check_id": f"{graph}-{number}",
                        "concept_id": f"graph {graph}",
                        "subset": "error_graph",
                        "category": None,
                        "property": None,
                        "property_path": " + ".join(node) or "none",
                        "topic": None,
                        "entity": "dog",
                        "text_model": "a",
                        "image_model": "b",
                        "image_side": "original",
                        "image_index": image,
                        "prompt_score": score(graph, node, image),
                        "contrast_score": None,
                        "error": NO_CONTRAST_PROMPT,
                    }
                )
    text = ("category", "property", "topic")
    schema = pa.Table.from_pylist(rows).schema
    for name in text:
        schema = schema.set(schema.get_field_index(name), pa.field(name, pa.string()))
    schema = schema.set(schema.get_field_index("contrast_score"), pa.field("contrast_score", pa.float64()))
    write_scores(pa.Table.from_pylist(rows, schema=schema), ScoreMetadata(file.stem, protocol), file)
    return file


def test_planted_metrics_get_the_results_that_they_must_have(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table(tmp_path / "perfect.parquet", lambda graph, node, image: -float(len(node)))
    table(tmp_path / "reversed.parquet", lambda graph, node, image: float(len(node)))
    table(tmp_path / "blind.parquet", lambda graph, node, image: 0.0)
    table(tmp_path / "noise.parquet", lambda graph, node, image: float(rng.normal()))
    table(tmp_path / "colour.parquet", lambda graph, node, image: -float("colour" in node))
    report = evaluate([tmp_path])
    found = {score.metric: score for score in report.scores}
    assert report.scores[0].metric == "perfect" and report.graphs == 12
    assert found["perfect"].ordering.value == found["perfect"].separation.value == 1.0
    assert found["perfect"].step.value == 1.0 and found["reversed"].step.value == 0.0
    assert found["reversed"].ordering.value == -1.0
    assert found["blind"].ordering.value == found["blind"].separation.value == 0.0
    assert found["blind"].step.value == 0.5
    oracle = report.best_of_oracle
    assert list(oracle) == ["1", "2", "4", "8", "16"]  # of 16 images
    assert oracle["1"] == pytest.approx(2 / 16) and oracle["16"] == 1.0
    best = {
        name: {number: one.value for number, one in score.best_of.items()} for name, score in found.items()
    }
    assert best["perfect"] == pytest.approx(oracle)
    assert best["blind"] == pytest.approx(dict.fromkeys(oracle, 2 / 16))
    assert best["reversed"]["16"] == 0.0 and best["reversed"]["4"] < best["reversed"]["2"] < 2 / 16
    assert best["colour"]["16"] == pytest.approx(2 / 8)  # half of the images have no wrong colour
    noise = found["noise"].ordering
    assert noise.low is not None and noise.high is not None and noise.low < 0 < noise.high
    steps = {kind: estimate.value for kind, estimate in found["colour"].by_error.items()}
    assert steps == {"colour": 1.0, "count": 0.5, "object": 0.5}
    # An error of colour is one of three at each number of errors.
    for estimate in found["colour"].by_number.values():
        assert estimate.value == pytest.approx(0.5 + 0.5 / 3)
    assert found["perfect"].rank == 1 and found["reversed"].rank == len(found)
    assert report.p_values["perfect > noise"] < 0.05
    low, high = found["perfect"].ordering.low, found["perfect"].ordering.high
    assert low is not None and high is not None and 0.6 < low < 1.0 and high == pytest.approx(1)


def test_intervals_hold_the_true_value_as_often_as_they_say(tmp_path: Path) -> None:
    """A metric that notices half of the errors: its true ordering from many graphs, then of few."""
    rng = np.random.default_rng(1)

    def score(graph: int, node: tuple[str, ...], image: int) -> float:
        return -0.5 * len(node) + float(rng.normal())

    truth = evaluate([table(tmp_path / "many.parquet", score, graphs=1500)], permutations=0).scores[0]
    inside = 0
    for number in range(60):
        file = table(tmp_path / f"few{number}.parquet", score, graphs=10)
        found = evaluate([file], permutations=0).scores[0].ordering
        assert found.low is not None and found.high is not None and truth.ordering.value is not None
        inside += found.low <= truth.ordering.value <= found.high
    assert inside >= 52  # 57 of 60 expected; fewer than 52 has a probability of 1 in 100


def test_fewer_than_five_graphs_have_no_interval(tmp_path: Path) -> None:
    found = evaluate([table(tmp_path / "m.parquet", lambda g, node, i: -float(len(node)), graphs=4)])
    assert found.scores[0].ordering.value == 1.0 and found.scores[0].ordering.low is None


def test_missing_scores_are_counted_and_left_out(tmp_path: Path) -> None:
    file = table(
        tmp_path / "m.parquet", lambda g, node, i: None if (g, i) == (0, 0) else -float(len(node)), graphs=6
    )
    (score,) = evaluate([file]).scores
    assert (score.images, score.missing) == (6 * 8 * 2 - 8, 8)
    assert score.ordering.value == 1.0


def test_a_path_adds_one_error_at_a_time() -> None:
    paths = paths_of(NODES)
    assert len(paths) == 6 and all([len(node) for node in path] == [0, 1, 2, 3] for path in paths)
    assert paths_of([(), ("a",), ("a", "b"), ("c", "d")]) == [((), ("a",), ("a", "b"))]
    assert paths_of([("a",), ("a", "b")]) == []


def test_other_protocols_and_incomplete_graphs_are_refused(tmp_path: Path) -> None:
    graded = table(tmp_path / "graded.parquet", lambda g, node, i: 0.0)
    with pytest.raises(InputError, match="graded checks have no directions"):
        evaluate_checks([graded])
    hum = table(tmp_path / "hum.parquet", lambda g, node, i: 0.0, protocol="hum")
    with pytest.raises(InputError, match=r"not graded checks \(protocol hum\)"):
        evaluate([hum])
    with pytest.raises(InputError, match="has the protocol"):
        evaluate([graded, hum])
    frame = pa.parquet.read_table(graded)
    without = frame.filter(pa.compute.not_equal(frame["property_path"], "none"))
    pa.parquet.write_table(without, tmp_path / "without.parquet")
    with pytest.raises(InputError, match="needs images without errors"):
        evaluate([tmp_path / "without.parquet"])


def test_the_command_line_builds_scores_and_evaluates(tmp_path: Path) -> None:
    def run(*words: object) -> str:
        outcome = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
        assert outcome.exit_code == 0, outcome.output
        return outcome.output

    folder, scores = tmp_path / "graded", tmp_path / "scores"
    built = run(
        "build", "graded", "--graphs", 5, "--statements", 3, "--images", 1, "--size", 48, "--out", folder
    )
    assert "40 checks with 40 images" in built and "ordering 1.000, separation 1.000" in built
    assert "CROCgraded" in (folder / "README.md").read_text() and (folder / "examples.png").is_file()
    run("score", folder, "--scorer", "random", "colour-words", "--out", scores)
    shown = run("evaluate", scores, "--json", tmp_path / "r.json", "--heatmap", tmp_path / "r.png")
    assert "5 error graphs" in shown and "colour-words" in shown
    stored = json.loads((tmp_path / "r.json").read_text())
    assert {score["metric"] for score in stored["scores"]} == {"random", "colour-words"}
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    for option in (["--paper"], ["--correction", "bh"]):
        refused = CliRunner().invoke(main, ["evaluate", str(scores), *option])
        assert refused.exit_code == 2 and f"{option[0]} does not apply to graded checks" in refused.output
    refused = CliRunner().invoke(main, ["agree", str(scores), "--with", str(scores)])
    assert refused.exit_code == 2 and "graded checks have no directions" in refused.output
    text = tmp_path / "colour-words.csv"
    pl.read_parquet(scores / "colour-words.parquet").write_csv(text)
    assert "5 error graphs" in run("evaluate", text)
    refused = CliRunner().invoke(main, ["evaluate", str(scores), "--paper"])
    assert refused.exit_code == 2 and "--paper does not apply to graded checks" in refused.output
    assert "CROCgraded" in run("publish", "graded", folder, "--repo", "org/graded", "--dry-run")
    assert "no problems" in run("verify", folder)
    # An interrupted or repeated build does the same.
    again = run(
        "build", "graded", "--graphs", 5, "--statements", 3, "--images", 1, "--size", 48, "--out", folder
    )
    assert again == built
