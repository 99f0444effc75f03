"""Correlation with ratings: published numbers, intervals, clusters, and what cannot be correlated."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from croc.errors import InputError
from croc.ratings.correlation import correlate
from croc.tables.readers import read_pair_table

GUIDE = Path(__file__).parents[3] / "docs" / "ratings.md"


def table(n=40, seed=0, **more):
    """Items in pairs of one prompt, with a good metric, a poor one and a rating."""
    rng = np.random.default_rng(seed)
    rating = np.round(rng.normal(3, 1, n) * 2) / 2
    return pl.DataFrame(
        {
            "item_id": [str(i) for i in range(n)],
            "system": ["s", "t"] * (n // 2),
            "prompt": [f"p{i // 2}" for i in range(n)],
            "good": rating + rng.normal(0, 0.4, n),
            "poor": rating + rng.normal(0, 6, n),
            "human": rating,
            **more,
        }
    )


@pytest.mark.parametrize(
    ("kind", "of"),
    [("kendall", stats.kendalltau), ("spearman", stats.spearmanr), ("pearson", stats.pearsonr)],
)
def test_coefficients_are_scipys(kind, of):
    frame = table()
    found = correlate(frame, ["human"], resamples=50)
    for metric in ("good", "poor"):
        expected = of(frame[metric].to_numpy(), frame["human"].to_numpy()).statistic
        result = found.get(metric, "human", kind)
        assert result.value == pytest.approx(expected, abs=1e-12)
        assert result.ci_low < result.value < result.ci_high
        assert result.n == 40


def test_a_better_metric_is_told_from_a_poor_one_and_a_copy_is_not():
    frame = table()
    found = correlate(frame.with_columns(copy=pl.col("good")), ["human"], cluster="prompt", resamples=400)
    ranks = {one.metric: one.rank for one in found.results if one.kind == "kendall"}
    assert ranks == {"good": 1, "copy": 1, "poor": 3}
    assert found.test("good", "poor", "human").p_holm < 0.05
    assert found.test("good", "copy", "human").p == 1


def test_prompts_are_resampled_together():
    """Two copies of every item say no more than one: clustered, the interval is that of single items."""
    frame = table(60).with_columns(prompt=pl.col("item_id"))
    twice = pl.concat([frame, frame.with_columns(item_id=pl.col("item_id") + "'")])
    width = {}
    for name, data, cluster in (
        ("single", frame, None),
        ("clustered", twice, "prompt"),
        ("ignored", twice, None),
    ):
        one = correlate(data, ["human"], cluster=cluster, resamples=1_500).get("poor", "human", "pearson")
        width[name] = one.ci_high - one.ci_low
    assert width["clustered"] == pytest.approx(width["single"], rel=0.1)
    assert width["ignored"] < 0.8 * width["clustered"]


def test_an_item_without_a_value_is_left_out_and_counted():
    holes = table().with_columns(good=pl.when(pl.col("item_id") < "2").then(None).otherwise("good"))
    found = correlate(holes, ["human"], resamples=50)
    kept = holes.drop_nulls("good")
    assert found.get("good", "human").n == len(kept) < 40
    assert found.get("good", "human").value == pytest.approx(
        stats.kendalltau(kept["good"], kept["human"]).statistic
    )
    assert found.get("poor", "human").n == 40
    # A paired test compares the metrics on the items that both have.
    test = found.test("good", "poor", "human")
    both = [stats.kendalltau(kept[name], kept["human"]).statistic for name in ("good", "poor")]
    assert abs(test.difference) == pytest.approx(abs(both[0] - both[1]))


def test_a_constant_column_has_no_coefficient_and_json_no_nan():
    found = correlate(table(constant=[1.0] * 40), ["human"], resamples=20)
    assert found.get("constant", "human").value is None
    assert found.get("constant", "human").rank is None
    assert "NaN" not in found.to_json()


def test_every_record_has_a_signature_and_the_seed_decides():
    one, same, other = (correlate(table(), ["human"], resamples=50, seed=seed) for seed in (1, 1, 2))
    assert one.to_json() == same.to_json() != other.to_json()
    for record in (*one.results, *one.tests):
        assert "seed:1" in record.signature
        assert "cluster:item|clusters:40" in record.signature


@pytest.mark.parametrize(
    ("more", "options", "fragments"),
    [
        ({}, {"humans": ["humane"]}, ["'humane'", "did you mean 'human'"]),
        ({}, {"cluster": "promt"}, ["'promt'", "did you mean 'prompt'"]),
        ({}, {"metrics": ["prompt"]}, ["'prompt'", "instead of numbers"]),
        ({"text": ["1", "?"] * 20}, {"metrics": ["text"]}, ["'text'", "row 2", "'?'"]),
        ({"text": ["1", "?"] * 20}, {}, ["'text'", "row 2", "'?'"]),
        ({"group": ["a", None] * 20}, {"cluster": "group"}, ["'group'", "row 2", "empty"]),
        ({}, {"humans": ["good", "poor", "human"]}, ["no column of numbers"]),
    ],
)
def test_what_cannot_be_correlated_is_said(more, options, fragments):
    with pytest.raises(InputError) as caught:
        correlate(table(**more), **({"humans": ["human"], "resamples": 10} | options))
    for fragment in fragments:
        assert fragment in str(caught.value)


# ---- TIFA160: 800 generated images with ratings ----


@pytest.fixture(scope="module")
def tifa(shared_data, tmp_path_factory):
    """The pair table, made by the very lines that the guide shows."""
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    folder = tmp_path_factory.mktemp("tifa")
    code = code.replace('Path("tifa160")', f"Path({str(shared_data / 'tifa160')!r})")
    code = code.replace('"tifa160.csv"', repr(str(folder / "tifa160.csv")))
    exec(compile(code, str(GUIDE), "exec"), {})
    return read_pair_table(folder / "tifa160.csv")


@pytest.fixture(scope="module")
def tifa_found(tifa):
    names = ["clipscore_vitb32", "meteor", "spice", "bleu", "tifa_mplug-large"]
    return correlate(tifa, ["human_avg"], cluster="prompt", metrics=names, resamples=1_000)


# Hu et al. (2023), correlations with human judgements: the column that is called Spearman is Pearson's r.
PUBLISHED = {
    "clipscore_vitb32": (0.231, 0.332),
    "meteor": (0.274, 0.340),
    "spice": (0.232, 0.328),
    "bleu": (0.188, 0.183),
    "tifa_mplug-large": (0.472, 0.597),
}


@pytest.mark.parametrize("metric", PUBLISHED)
def test_tifa160_has_the_published_correlations(tifa_found, metric):
    for kind, expected in zip(("kendall", "pearson"), PUBLISHED[metric], strict=True):
        result = tifa_found.get(metric, "human_avg", kind)
        assert result.n == 800
        assert round(result.value, 3) == expected


def test_the_published_spearman_column_is_no_spearman_correlation(tifa_found):
    different = [
        round(tifa_found.get(metric, "human_avg", "spearman").value, 3) != pearson
        for metric, (_, pearson) in PUBLISHED.items()
    ]
    assert all(different)


def test_two_groups_of_raters_agree_as_published(tifa):
    found = correlate(tifa, ["human_avg"], cluster="prompt", metrics=["dsg_votes"], resamples=20)
    assert round(found.get("dsg_votes", "human_avg").value, 3) == 0.693


def test_meteor_is_not_significantly_above_clipscore_when_prompts_are_resampled(tifa_found):
    test = tifa_found.test("meteor", "clipscore_vitb32", "human_avg")
    assert test.ci_low < 0 < test.ci_high
    assert test.p > 0.05
    ranks = {one.metric: one.rank for one in tifa_found.results if one.kind == "kendall"}
    assert ranks["meteor"] == ranks["clipscore_vitb32"]
    assert ranks["tifa_mplug-large"] == 1 < ranks["meteor"]


def test_the_guide_shows_the_numbers_that_come_out(tifa_found):
    shown = defaultdict(list)
    for line in GUIDE.read_text("utf-8").splitlines():
        cells = [cell.strip(" `") for cell in line.strip("|").split("|")]
        if cells[0] in PUBLISHED:
            shown[cells[0]] = [float(number) for number in cells[1:4]]
    assert shown.keys() == PUBLISHED.keys()
    for metric, values in shown.items():
        found = [
            tifa_found.get(metric, "human_avg", kind).value for kind in ("kendall", "spearman", "pearson")
        ]
        assert values == [round(value, 3) for value in found]


def test_the_votes_stand_beside_the_right_image(shared_data, tifa):
    """One image by hand, from the two files themselves."""
    with (shared_data / "tifa160" / "dsg_tifa160_likert_anns.csv").open(newline="") as file:
        votes = [
            int(one["answer"])
            for one in csv.DictReader(file)
            if (one["source_id"], one["t2i_model"]) == ("coco_669925", "mini-dalle")
        ]
    rated = json.loads((shared_data / "tifa160" / "human_annotations_with_scores.json").read_text())
    row = tifa.row(by_predicate=pl.col("item_id") == "coco_669925_mini_dalle", named=True)
    assert row["dsg_votes"] == pytest.approx(np.mean(votes))
    assert row["human_avg"] == rated["coco_669925_mini_dalle"]["human_avg"]
