"""Image models compared: planted differences, labels with a metric, refusals, the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from parsed import Page
from PIL import Image
from scipy.stats import t

from croc.cli import main
from croc.errors import InputError
from croc.images.comparison import ADDED, add_labels, compare_models
from croc.images.prediction_powered import powered_mean


def planted(prompts: int = 60, images: int = 2, seed: int = 0) -> pl.DataFrame:
    """Three systems: "good" is better than "same" and "also", which are equal."""
    rng = np.random.default_rng(seed)
    rows = []
    for prompt in range(prompts):
        level = rng.normal()
        for system, gain in (("good", 0.8), ("same", 0.0), ("also", 0.0)):
            for _ in range(images):
                truth = level + gain + rng.normal()
                rows.append(
                    {
                        "system": system,
                        "prompt": f"prompt {prompt}",
                        "truth": truth,
                        "metric": 3 * truth + rng.normal(),
                        "noise": rng.normal(),
                    }
                )
    return pl.DataFrame(rows)


def test_planted_differences_are_found_and_equal_systems_are_tied() -> None:
    report = compare_models(planted(), ["metric", "noise"])
    metric, noise = report.metrics
    assert metric.systems[0].system == "good"
    assert [system.rank for system in metric.systems] == [1, 2, 2]
    assert [system.rank for system in noise.systems] == [1, 1, 1]
    first = metric.differences[0]
    assert first.first == "good" and first.low is not None and first.low > 0 and first.wins > 0.5
    assert first.p is not None and first.p < 0.05
    assert report.prompts == 60 and report.labels is None and set(report.agreements) == {"metric ~ noise"}


def test_differences_are_paired_means_with_the_interval_of_t() -> None:
    table = planted(prompts=12)
    first = compare_models(table, ["metric"], permutations=0).metrics[0].differences[0]
    wide = (
        table.group_by("prompt", "system")
        .agg(pl.col("metric").mean())
        .pivot("system", index="prompt", values="metric")
    )
    gap = (wide[first.first] - wide[first.second]).to_numpy()
    half = t.ppf(0.975, 11) * gap.std(ddof=1) / np.sqrt(12)
    assert first.difference == pytest.approx(gap.mean()) and first.p is None
    assert (first.low, first.high) == (pytest.approx(gap.mean() - half), pytest.approx(gap.mean() + half))
    assert wide["prompt"][int(gap.argmax())] == first.most


def test_images_of_one_prompt_count_as_one() -> None:
    table = planted(prompts=20, images=1)
    once = compare_models(table, ["metric"]).metrics[0]
    twice = compare_models(pl.concat([table, table]), ["metric"]).metrics[0]
    assert once == twice


def test_labels_of_some_prompts_estimate_the_mean_of_all() -> None:
    table = planted(prompts=200).with_columns(
        pl.when(pl.col("prompt").str.extract(r"(\d+)").cast(int) < 40).then("truth").alias("label")
    )
    report = compare_models(table, ["metric", "noise"], label="label")
    good, useless = (comparison.differences[0].powered for comparison in report.metrics)
    assert good is not None and useless is not None and report.labels is not None
    assert good.labels == 40 and good.low < 0.8 < good.high
    assert good.saved > 0.3 and abs(useless.saved) < 0.15
    assert good.high - good.low < good.labels_high - good.labels_low
    assert report.labels.metric == "label" and report.signature.get("method") == "ppi++"


def test_intervals_with_labels_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(800):
        scores = rng.normal(size=150)
        labels = 2 + scores + rng.normal(size=150)
        labels[30:] = np.nan
        found = powered_mean(labels, scores)
        inside += found.low <= 2 <= found.high
    assert 0.93 <= inside / 800 <= 0.97


def test_the_estimate_is_that_of_the_authors_package() -> None:
    """Expected values: ppi_mean_pointestimate and ppi_mean_ci of ppi-python with ``lam=0.7``."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=100)
    labels = scores + rng.normal(size=100)
    scores, labels = scores.round(6), labels.round(6)
    labels[20:] = np.nan
    found = powered_mean(labels, scores, weight=0.7)
    assert found.value == pytest.approx(0.12986675, abs=1e-8)
    # Theirs is the normal quantile and divides by n, ours the t quantile and n - 1.
    theirs = (0.57732986 + 0.31759635) / 2
    assert (found.high - found.low) / 2 == pytest.approx(theirs * t.ppf(0.975, 19) / 1.959964, rel=0.03)


def test_a_useless_or_constant_metric_changes_nothing() -> None:
    labels = np.r_[np.arange(10.0), np.full(30, np.nan)]
    found = powered_mean(labels, np.ones(40))
    assert (found.weight, found.saved, found.value) == (0.0, 0.0, 4.5)
    with pytest.raises(InputError, match="3 units with a label; at least 5"):
        powered_mean(np.r_[np.arange(3.0), np.full(5, np.nan)], np.ones(8))
    with pytest.raises(InputError, match="finite"):
        powered_mean(labels, np.r_[np.nan, np.ones(39)])


def with_images(table: pl.DataFrame) -> pl.DataFrame:
    number = pl.int_range(pl.len()).cast(pl.String)
    return table.with_columns(image=pl.concat_str(pl.lit("out/"), number, pl.lit(".png")))


def test_labels_are_matched_by_image_or_by_prompt_and_system() -> None:
    table, said = with_images(planted(prompts=2, images=1)), []
    by_name = pl.DataFrame(
        {"image": ["0.png", "out/0.png", "3.png", "9.png"], "rating": ["1", "2", "5", "4"]}
    )
    joined = add_labels(table, by_name, "votes.csv", log=said.append)
    assert joined[ADDED].to_list() == [1.5, None, None, 5.0, None, None]
    assert said == ["votes.csv: 1 label of 4 left out: no image with this image"]
    by_system = pl.DataFrame({"system": ["good"], "prompt": ["prompt 1"], "label": [4]})
    assert add_labels(table, by_system, "votes.csv")[ADDED].to_list() == [None, None, None, 4.0, None, None]


def test_labels_that_could_go_wrong_without_a_word_are_refused() -> None:
    table = with_images(planted(prompts=2, images=1))
    votes = pl.DataFrame({"image": ["0.png"], "rating": ["1"]})
    two_folders = table.with_columns(image=pl.concat_str("system", pl.lit("/0.png")))
    for given, labels, message in (
        (table, votes.rename({"rating": "stars"}), r"votes\.csv: no column label or rating"),
        (table, votes.with_columns(image=pl.lit("other.png")), "no label belongs to one of the images"),
        (table, votes.with_columns(rating=pl.lit("bad")), "column 'rating', row 1: 'bad' is not a number"),
        (two_folders, votes, r"'0\.png' is the name of also/0\.png and good/0\.png; give paths"),
        (table.with_columns(pl.lit(1.0).alias(ADDED)), votes, "the table has a column 'human labels'"),
    ):
        with pytest.raises(InputError, match=message):
            add_labels(given, labels, "votes.csv")


def test_metrics_without_a_ranking_have_no_agreement() -> None:
    table = planted(prompts=6).with_columns(pl.lit(1.0).alias("constant"))
    report = compare_models(table, ["metric", "constant"])
    assert report.agreements == {"metric ~ constant": None}
    assert "NaN" not in report.to_json()


def test_tables_that_cannot_be_compared_are_refused() -> None:
    table = planted(prompts=10)
    one = table.filter(pl.col("system") == "good")
    apart = table.with_columns(prompt=pl.concat_str("system", "prompt"))
    for given, metrics, message in (
        (one, ["metric"], "1 system; a comparison needs"),
        (table, ["missing"], "no column 'missing'"),
        (table, [], "at least one metric"),
        (apart, ["metric"], "metric: fewer than two prompts"),
    ):
        with pytest.raises(InputError, match=message):
            compare_models(given, metrics)
    few = table.with_columns(pl.when(pl.col("prompt") == "prompt 1").then("truth").alias("label"))
    with pytest.raises(InputError, match="1 prompt with labels of every system"):
        compare_models(few, ["metric"], label="label")


def test_the_command_line_scores_folders_and_compares_them(tmp_path: Path) -> None:
    prompts = ["red", "blue", "green", "yellow", "black", "white", "purple"]
    colours = {"right": prompts, "wrong": [*prompts[1:], prompts[0]]}
    for system, names in colours.items():
        (tmp_path / system).mkdir()
        for number, name in enumerate(names):
            Image.new("RGB", (16, 16), name).save(tmp_path / system / f"{number}.png")
    (tmp_path / "p.txt").write_text("".join(f"a {name} wall\n" for name in prompts))
    labels = "system,prompt,vote\n" + "".join(
        f"{system},a {name} wall,{int(system == 'right')}\n" for system in colours for name in prompts[:5]
    )
    (tmp_path / "votes.csv").write_text(labels)
    words = ["compare-models", tmp_path / "right", tmp_path / "wrong", "--prompts", tmp_path / "p.txt"]
    words += ["--scorer", "colour-words", "--out", tmp_path / "s.csv", "--json", tmp_path / "c.json"]
    words += ["--html", tmp_path / "c.html", "--labels", tmp_path / "votes.csv"]
    done = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "colour-words: right is better than every other system." in done.output
    stored = json.loads((tmp_path / "c.json").read_text())
    assert stored["metrics"][0]["systems"][0]["system"] == "right"
    page = (tmp_path / "c.html").read_text()
    # The systems differ equally on all prompts, so there is one example.
    assert page.count("<img") == 2 and "Labels, with the metric" in page
    table = ["compare-models", str(tmp_path / "s.csv"), "--metric", "colour-words"]
    # The sample in the package has results of colour-words, and none of a metric of this name.
    (trust,) = stored["trust"]
    assert (trust["property"], trust["prompts"]) == ("colour", 7)
    assert (
        0 < trust["low"]["colour-words"] <= trust["chance"]["colour-words"] <= trust["high"]["colour-words"]
    )
    renamed = pl.read_csv(tmp_path / "s.csv").rename({"colour-words": "new"})
    renamed.write_csv(tmp_path / "n.csv")
    words = ["compare-models", str(tmp_path / "n.csv"), "--metric", "new", "--json", str(tmp_path / "n.json")]
    words += ["--html", str(tmp_path / "n.html")]
    unknown = CliRunner().invoke(main, words, catch_exceptions=False)
    assert re.search(r"^ *colour +7 +unknown *$", unknown.stdout, re.MULTILINE), unknown.stdout
    assert json.loads((tmp_path / "n.json").read_text())["trust"][0]["chance"] == {"new": None}
    (row,) = [
        row
        for table in Page((tmp_path / "n.html").read_text()).tables
        for row in table.rows
        if "unknown" in row
    ]
    assert row == ["colour", "7", "unknown", "", ""]
    again = CliRunner().invoke(main, table, catch_exceptions=False)
    assert again.exit_code == 0 and "not about people's judgement" in again.output.replace("\n", " ")
    refused = CliRunner().invoke(main, table[:2])
    assert refused.exit_code == 2 and "--metric" in refused.output
