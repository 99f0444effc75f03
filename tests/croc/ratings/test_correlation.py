"""Correlation with ratings: published numbers, intervals, clusters, and what cannot be correlated."""

from __future__ import annotations

import json
import runpy
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from croc.errors import InputError
from croc.ratings.correlation import correlate
from croc.ratings.layout import interval_level
from croc.ratings.records import Correlations
from croc.tables.readers import read_pair_table
from croc.verdict.statistics import adjust

GUIDE = Path(__file__).parents[3] / "docs" / "ratings.md"


pooled = partial(correlate, group="none")


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
    found = pooled(frame, ["human"], resamples=50)
    for metric in ("good", "poor"):
        expected = of(frame[metric].to_numpy(), frame["human"].to_numpy()).statistic
        result = found.get(metric, "human", kind)
        assert result.value == pytest.approx(expected, abs=1e-12)
        assert result.ci_low < result.value < result.ci_high
        assert result.n == 40


def test_a_better_metric_is_told_from_a_poor_one_and_a_copy_is_not():
    frame = table()
    found = pooled(frame.with_columns(copy=pl.col("good")), ["human"], resamples=400)
    ranks = {one.metric: one.rank for one in found.results if one.kind == "kendall"}
    assert ranks == {"good": 1, "copy": 1, "poor": 3}
    assert found.test("good", "poor", "human").p_adjusted < 0.05
    assert found.test("good", "copy", "human").p == 1


def test_prompts_are_resampled_together():
    """Two copies of every item say no more than one: clustered, the interval is that of single items."""
    frame = table(60).with_columns(prompt=pl.col("item_id"))
    twice = pl.concat([frame, frame.with_columns(item_id=pl.col("item_id") + "'")])
    width = {}
    for name, data, cluster in (
        ("single", frame, None),
        ("clustered", twice, None),
        ("ignored", twice, "item_id"),
    ):
        one = pooled(data, ["human"], cluster=cluster, resamples=1_500).get("poor", "human", "pearson")
        width[name] = one.ci_high - one.ci_low
    assert width["clustered"] == pytest.approx(width["single"], rel=0.1)
    assert width["ignored"] < 0.8 * width["clustered"]


def test_an_item_without_a_value_is_left_out_and_counted():
    holes = table().with_columns(good=pl.when(pl.col("item_id") < "2").then(None).otherwise("good"))
    found = pooled(holes, ["human"], resamples=50)
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
    found = pooled(table(constant=[1.0] * 40), ["human"], resamples=20)
    assert found.get("constant", "human").value is None
    assert found.get("constant", "human").rank is None
    assert "NaN" not in found.to_json()


def test_every_record_has_a_signature_and_the_seed_decides():
    one, same, other = (pooled(table(), ["human"], resamples=50, seed=seed) for seed in (1, 1, 2))
    assert one.to_json() == same.to_json() != other.to_json()
    for record in (*one.results, *one.tests):
        assert "seed:1" in record.signature
        assert "group:none|missing:drop|cluster:prompt|clusters:20" in record.signature


@pytest.mark.parametrize(
    ("more", "options", "fragments"),
    [
        ({}, {"humans": ["humane"]}, ["'humane'", "did you mean 'human'"]),
        ({}, {"cluster": "promt"}, ["'promt'", "did you mean 'prompt'"]),
        ({}, {"metrics": ["prompt"]}, ["'prompt'", "expected numbers"]),
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


# ---- Groups ----


def easy_and_hard(prompts=60, seed=1, decimals=0):
    """One metric knows which prompts are easy, the other which image of a prompt is better."""
    rng = np.random.default_rng(seed)
    easy = np.repeat(rng.normal(0, 2, prompts), 4)
    image = rng.normal(0, 1, 4 * prompts)
    return pl.DataFrame(
        {
            "item_id": [f"i{i}" for i in range(4 * prompts)],
            "system": ["a", "b", "c", "d"] * prompts,
            "prompt": [f"p{i // 4}" for i in range(4 * prompts)],
            "category": [("x", "y")[i // 8 % 2] for i in range(4 * prompts)],
            "human": np.round(easy + image, decimals),
            "knows_prompts": easy + rng.normal(0, 0.5, 4 * prompts),
            "knows_images": image + rng.normal(0, 0.5, 4 * prompts),
        }
    )


def test_images_of_one_prompt_are_compared_by_default():
    frame = easy_and_hard()
    within = correlate(frame, ["human"], resamples=200, permutations=200)
    assert within.group == "item"
    assert "group:item|group_mean:mean|missing:drop|cluster:prompt|clusters:60" in str(within.signature)
    for kind in ("acc_eq", "kendall", "spearman", "pearson"):
        ranks = {one.metric: one.rank for one in within.results if one.kind == kind}
        assert ranks == {"knows_images": 1, "knows_prompts": 2}
    whole = pooled(frame, ["human"], resamples=0, permutations=0)
    assert whole.get("knows_prompts", "human").value > whole.get("knows_images", "human").value


def test_averages_within_prompts_and_systems_are_scipys():
    frame = easy_and_hard()
    for group, column in (("item", "prompt"), ("system", "system")):
        found = correlate(frame, ["human"], group=group, resamples=200, permutations=50)
        for kind, of in (("kendall", stats.kendalltau), ("pearson", stats.pearsonr)):
            values = [
                of(part["knows_images"], part["human"]).statistic
                for part in frame.partition_by(column)
                if part["human"].n_unique() > 1
            ]
            result = found.get("knows_images", "human", kind)
            assert result.value == pytest.approx(np.mean(values), abs=1e-9)
            assert result.groups == len(values)
            assert result.ci_low < result.value < result.ci_high


def test_prompts_with_one_image_each_are_compared_with_each_other_and_that_is_said():
    frame = table(10).with_columns(prompt=pl.col("item_id"))
    found = correlate(frame, ["human"], resamples=20, permutations=20)
    assert found.group == "none"
    assert any("no prompt has two images" in note for note in found.notes)
    with pytest.raises(InputError, match="each prompt has one row"):
        correlate(frame, ["human"], group="item")


@pytest.mark.parametrize(("group", "column"), [("item", "prompt"), ("system", "system")])
def test_a_grouping_needs_its_column(group, column):
    with pytest.raises(InputError, match=f"no column '{column}'"):
        correlate(table().drop(column), ["human"], group=group)
    with pytest.raises(InputError, match=f"'{column}', row 1: must not be empty"):
        holes = table().with_columns(pl.when(pl.col("item_id") > "0").then(column).alias(column))
        correlate(holes, ["human"], group=group)


def test_a_table_without_prompts_resamples_its_items():
    for frame in (table().drop("prompt"), table(prompt=[""] * 40), table(prompt=[None] * 40)):
        found = correlate(frame, ["human"], resamples=20, permutations=20)
        assert "group:none|missing:drop|cluster:item|clusters:40" in str(found.signature)


def test_groups_with_equal_values_are_counted_and_named():
    frame = easy_and_hard(6, decimals=6).with_columns(
        human=pl.when(pl.col("prompt") == "p1").then(2.0).otherwise("human"),
        knows_images=pl.when(pl.col("prompt").is_in(["p1", "p3"])).then(0.5).otherwise("knows_images"),
    )
    found = correlate(frame, ["human"], resamples=20, permutations=20)
    named = {(group.metric, group.names, group.total) for group in found.constant_groups}
    assert named == {(None, ("p1",), 6), ("knows_images", ("p3",), 6)}
    assert found.get("knows_images", "human").groups == 4
    assert found.get("knows_prompts", "human").groups == 5
    # An accuracy with ties is defined in every group.
    assert found.get("knows_images", "human", "acc_eq").groups == 6


def test_fishers_average_says_which_coefficients_have_no_z():
    frame = easy_and_hard(12, decimals=6)
    found = correlate(frame, ["human"], average="fisher", resamples=0, permutations=0)
    spearman = found.get("knows_images", "human", "spearman")
    assert spearman.value is None
    assert any(
        "Spearman of" in note and "'knows_images'" in note and "no Fisher z" in note for note in found.notes
    )
    by_system = correlate(frame, ["human"], average="fisher", group="system", resamples=50, permutations=0)
    values = [
        stats.spearmanr(part["knows_images"], part["human"]).statistic
        for part in frame.partition_by("system")
    ]
    assert by_system.get("knows_images", "human", "spearman").value == pytest.approx(
        np.tanh(np.mean(np.arctanh(values))), abs=1e-9
    )
    assert "group_mean:fisher" in str(by_system.signature)


def test_few_prompts_have_no_interval_and_that_is_said():
    found = correlate(easy_and_hard(4), ["human"], resamples=50, permutations=50)
    assert {one.ci_low for one in found.results} == {None}
    assert {one.ci_low for one in found.tests} == {None}
    assert any("'prompt' has 4 values, and at least 5 are needed" in note for note in found.notes)
    assert "ci:" not in str(found.signature)


def test_a_metric_with_scores_on_few_prompts_has_no_interval():
    few = pl.col("prompt").is_in(["p0", "p1", "p2", "p3"])
    frame = easy_and_hard().with_columns(knows_images=pl.when(few).then("knows_images"))
    found = correlate(frame, ["human"], resamples=50, permutations=50)
    assert found.get("knows_images", "human").ci_low is None
    assert found.get("knows_prompts", "human").ci_low is not None
    test = found.test("knows_images", "knows_prompts", "human")
    assert (test.ci_low, test.ci_high) == (None, None)


def test_intervals_are_wider_with_few_prompts():
    # t quantile 2.2622 with 9 degrees of freedom, times sqrt(10/9) = 2.3845; normal probability by hand.
    assert interval_level(0.95, 10) == pytest.approx(0.98290, abs=2e-5)
    assert interval_level(0.95, 100_000) == pytest.approx(0.95, abs=1e-5)


@pytest.mark.slow
def test_tests_and_intervals_have_their_level_within_and_across_prompts():
    simulate = runpy.run_path(str(GUIDE.parents[1] / "benchmarks" / "simulate_correlation.py"))
    for group in ("item", "none"):
        truth = simulate["value_on_many_prompts"](0.7, group, "kendall")
        found = simulate["simulate"](30, 0.7, group, "kendall", 200, 200, 99, truth)
        assert found["perm-inputs"] <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
        # The guide has 93 % for some tens of prompts.
        assert found["plain"] <= found["interval"] >= 0.93 - 3 * np.sqrt(0.07 * 0.93 / 200)
    # Scores of single images cannot be exchanged across prompts when the errors belong to the prompts.
    assert found["perm-both"] > 0.1


# ---- Tests of two metrics ----


def test_both_permutation_tests_tell_a_good_metric_from_a_poor_one():
    for test in ("perm-inputs", "perm-both"):
        found = correlate(easy_and_hard(), ["human"], test=test, resamples=0, permutations=200)
        for kind in ("acc_eq", "kendall", "spearman", "pearson"):
            assert found.test("knows_images", "knows_prompts", "human", kind).p_adjusted < 0.05
        assert f"test:{test}200" in str(found.signature)


def test_without_permutations_there_are_no_tests_and_no_ranks():
    found = correlate(easy_and_hard(), ["human"], resamples=0, permutations=0)
    assert not found.tests and {one.rank for one in found.results} == {None}
    assert {one.kind for one in found.results} == {"acc_eq", "kendall", "spearman", "pearson"}
    assert {one.ci_low for one in found.results} == {None}


def test_systems_are_ranked_with_the_confidence_of_people():
    frame = easy_and_hard().with_columns(
        human=pl.col("human") + pl.col("system").replace_strict({"a": 0.0, "b": 1.0, "c": 2.0, "d": 3.0}),
        knows_systems=pl.col("system").replace_strict({"a": 0.0, "b": 1.0, "c": 2.0, "d": 3.0}) + 0.01,
    )
    found = correlate(frame, ["human"], resamples=0, permutations=400)
    soft = {one.metric: one for one in found.results if one.kind == "spa"}
    assert soft["knows_systems"].value > 0.9 > soft["knows_prompts"].value
    assert soft["knows_systems"].rank == 1
    no_systems = correlate(frame.drop("system"), ["human"], resamples=0, permutations=20)
    assert "spa" not in {one.kind for one in no_systems.results}


# ---- Missing values, parts, columns that are no metrics ----


@pytest.mark.parametrize(("missing", "filled"), [("drop", None), ("zero", 0.0), ("worst", -7.0)])
def test_a_missing_score_counts_what_was_asked_for(missing, filled):
    hole = pl.col("item_id").is_in(["4", "9"])
    frame = table().with_columns(good=pl.when(pl.col("item_id") == "1").then(-7.0).otherwise("good"))
    frame = frame.with_columns(good=pl.when(hole).then(None).otherwise("good"))
    found = pooled(frame, ["human"], missing=missing, resamples=10, permutations=10)
    expected = (
        frame.drop_nulls("good") if filled is None else frame.with_columns(pl.col("good").fill_null(filled))
    )
    result = found.get("good", "human")
    assert result.value == pytest.approx(stats.kendalltau(expected["good"], expected["human"]).statistic)
    assert (result.n, result.missing) == (len(expected), 2)
    assert any(note.startswith("Missing scores") and "good 2" in note for note in found.notes)
    assert f"missing:{missing}" in str(found.signature)


def test_a_missing_rating_is_left_out_and_counted():
    frame = table().with_columns(human=pl.when(pl.col("item_id") == "3").then(None).otherwise("human"))
    found = pooled(frame, ["human"], missing="zero", resamples=10, permutations=10)
    assert found.get("good", "human").n == 39
    assert "1 item without a rating in 'human' left out." in found.notes


def test_results_are_broken_down_by_a_column():
    frame = easy_and_hard()
    found = correlate(frame, ["human"], by=("category",), resamples=50, permutations=100)
    assert found.parts == ((None, None), ("category", "x"), ("category", "y"))
    for value in ("x", "y"):
        alone = correlate(frame.filter(category=value), ["human"], resamples=0, permutations=0)
        part = found.get("knows_images", "human", "acc_eq", "category", value)
        assert part.value == pytest.approx(alone.get("knows_images", "human", "acc_eq").value)
        assert part.signature == f"{found.signature}|by:category={value}"
    raw = sorted(one.p for one in found.tests if one.kind == "kendall")
    adjusted = sorted(one.p_adjusted for one in found.tests if one.kind == "kendall")
    assert adjusted[0] == pytest.approx(3 * raw[0])  # one family: all items and both categories
    rate = correlate(frame, ["human"], by=("category",), resamples=0, permutations=100, correction="bh")
    family = [one for one in rate.tests if one.kind == "kendall"]
    assert [one.p_adjusted for one in family] == pytest.approx(adjust([one.p for one in family], "bh"))
    assert (rate.signature.get("correction"), found.signature.get("correction")) == ("bh", None)
    with pytest.raises(InputError, match="did you mean 'category'"):
        correlate(frame, ["human"], by=("categroy",))


def test_a_part_without_two_images_of_a_prompt_has_no_coefficient():
    found = correlate(easy_and_hard(8), ["human"], by=("system",), resamples=20, permutations=20)
    assert found.get("knows_images", "human", "kendall", "system", "a").value is None
    assert found.get("knows_images", "human", "acc_eq", "system", "a").value is None


@pytest.mark.parametrize("name", ["__index_level_0__", "Unnamed: 0", "Unnamed: 0.1", "", "index", "level_0"])
def test_an_index_of_pandas_is_no_metric(name):
    found = correlate(table(**{name: range(40)}), ["human"], resamples=10, permutations=10)
    assert {one.metric for one in found.results} == {"good", "poor"}
    assert found.ignored == (name,)


def test_a_metric_may_be_called_index():
    scores = np.random.default_rng(0).integers(0, 9, 40)
    found = correlate(table(index=scores), ["human"], resamples=10, permutations=10)
    assert "index" in {one.metric for one in found.results}


@pytest.mark.parametrize("cell", ["3,25", "-0,5", "1.234,5", "85%", "85,5 %", "\N{MINUS SIGN}0.5", "1,5e-3"])
def test_a_column_that_a_person_reads_as_numbers_is_refused_by_name(cell):
    with pytest.raises(InputError) as caught:
        correlate(table(theirs=[cell, ""] * 20), ["human"])
    message = str(caught.value)
    assert "'theirs', row 1" in message and cell in message and "name the metrics" in message
    assert ("write decimals with a point" in message) == ("," in cell and "%" not in cell)
    found = correlate(table(theirs=[cell, ""] * 20), ["human"], metrics=["good"], resamples=5, permutations=5)
    assert {one.metric for one in found.results} == {"good"}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("prompt", {}),
        ("system", {}),
        ("item_id", {}),
        ("own", {"by": ("own",)}),
        ("own", {"cluster": "own"}),
    ],
)
@pytest.mark.parametrize("kind", ["list", "struct", "bytes"])
def test_a_column_of_lists_is_refused_as_a_group(name, options, kind):
    frame = table().with_columns(pl.col("prompt").alias("own"))
    values = {"list": pl.concat_list(name), "struct": pl.struct(name), "bytes": pl.col(name).cast(pl.Binary)}
    frame = frame.with_columns(values[kind].alias(name))
    with pytest.raises(InputError, match=f"column '{name}' has the type .*; expected text or numbers"):
        correlate(frame, ["human"], resamples=0, permutations=0, **options)


def test_a_rating_with_decimal_commas_is_refused_by_name():
    with pytest.raises(InputError, match=r"'stars', row 1: '4,5' is not a number \(write decimals"):
        correlate(table(stars=["4,5"] * 40), ["stars"])


def test_columns_of_text_are_no_metrics_and_named():
    found = correlate(table(caption=["a cat, 3 dogs"] * 40), ["human"], resamples=5, permutations=5)
    assert found.ignored == ("caption",)


@pytest.mark.parametrize("values", [[None] * 40, [float("nan")] * 40, [float("inf")] * 40])
def test_a_metric_without_a_finite_value_is_named(values):
    frame = table().with_columns(empty=pl.Series(values, dtype=pl.Float64))
    for missing in ("drop", "zero", "worst"):
        found = correlate(frame, ["human"], missing=missing, resamples=10, permutations=10)
        for kind in ("acc_eq", "kendall", "spearman", "pearson", "spa"):
            result = found.get("empty", "human", kind)
            assert (result.value, result.rank, result.n) == (None, None, 0)
        assert "Metrics without a finite score have no result: 'empty'." in found.notes
    with pytest.raises(InputError, match="'empty': there is no rating"):
        correlate(frame, ["empty"])


def test_two_metrics_without_a_common_item_are_not_tested():
    half = pl.col("item_id").cast(pl.Int64) < 20
    frame = table().with_columns(good=pl.when(half).then("good"), poor=pl.when(~half).then("poor"))
    found = correlate(frame, ["human"], resamples=10, permutations=10)
    assert not found.tests
    assert {one.n for one in found.results} == {20}


def test_truth_values_are_a_metric(tmp_path):
    frame = table(passed=[True, False] * 20)
    frame.write_parquet(tmp_path / "pairs.parquet")
    found = correlate(read_pair_table(tmp_path / "pairs.parquet"), ["human"], resamples=10, permutations=10)
    assert found.get("passed", "human").n == 40


# ---- JSON ----


def test_correlations_read_back_are_the_same():
    frame = easy_and_hard(9).with_columns(empty=pl.lit(None, pl.Float64), caption=pl.lit("text"))
    found = correlate(frame, ["human"], by=("category",), resamples=20, permutations=20)
    assert found.constant_groups or found.notes
    again = Correlations.from_dict(json.loads(found.to_json()))
    assert again == found
    assert [one.signature for one in again.results] == [one.signature for one in found.results]
    assert again.to_json() == found.to_json()


def test_json_of_before_groups_is_read():
    old = {
        "signature": "task:correlate",
        "results": [
            {
                "metric": "m",
                "human": "h",
                "kind": "kendall",
                "value": 0.5,
                "ci_low": 0.25,
                "ci_high": 0.75,
                "rank": 1,
                "n": 9,
            }
        ],
        "tests": [],
    }
    assert Correlations.from_dict(old).get("m", "h").n == 9
    old["results"][0]["value"] = 1.5
    with pytest.raises(InputError, match=r"not correlations: results\.0\.value"):
        Correlations.from_dict(old)


# ---- TIFA160: 800 generated images with ratings ----


def test_too_few_permutations_for_so_many_metrics_are_said():
    rng = np.random.default_rng(0)
    rating = np.tile(np.arange(5.0), 30)
    frame = pl.DataFrame(
        {
            "item_id": [str(number) for number in range(150)],
            "prompt": np.repeat(np.arange(30), 5),
            "human": rating,
            "good": rating + rng.normal(size=150) / 10,
            **{f"bad {number}": rng.normal(size=150) for number in range(4)},
        }
    )
    few, enough = (correlate(frame, ["human"], resamples=0, permutations=k) for k in (198, 200))
    (note,) = few.notes
    assert note == (
        "No difference can be significant: 10 pairs of metrics and 198 permutations; take at least 200."
    )
    assert {result.rank for result in few.results} == {1}
    assert enough.notes == () and {result.rank for result in enough.results} == {1, 2}
