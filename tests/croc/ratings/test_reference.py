"""Coefficients, calibrated ties, permutations and soft pairwise accuracy against mt-metrics-eval.

Expected values come from ``record_reference.py``, which names the commit. Agreement is to 1e-9.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from croc.ratings import soft_pairwise_accuracy as spa
from croc.ratings.correlation import correlate
from croc.ratings.groups import Grouped, mean_coefficient, stack_groups
from croc.ratings.permutation import exchange
from croc.ratings.ties import calibrate_ties
from croc.tables.readers import read_pair_table

REFERENCE = json.loads(Path(__file__).with_name("reference.json").read_text("utf-8"))
GUIDE = Path(__file__).parents[3] / "docs" / "ratings.md"
TABLES = range(len(REFERENCE["tables"]))
GROUPS = ("item", "system", "none")
COEFFICIENTS = ("kendall", "spearman", "pearson")
SWAP_SEED = 7


def matrix(values):
    return np.array([[np.nan if value is None else value for value in row] for row in values], float)


def vectors(table, group, *names):
    """The rated cells in the order in which the reference walks through them, and the group of each."""
    rating = matrix(table["rating"])
    systems, items = rating.shape
    place = np.arange(systems * items).reshape(systems, items)
    if group == "item":
        place = place.T
    order = place.ravel()
    order = order[~np.isnan(rating.ravel()[order])]
    code = {"item": order % items, "system": order // items, "none": np.zeros(len(order), int)}[group]
    return code, rating.ravel()[order], *(matrix(table[name]).ravel()[order] for name in names)


def test_the_reference_names_its_commit():
    assert len(REFERENCE["commit"]) == 40
    assert REFERENCE["repository"].endswith("google-research/mt-metrics-eval")


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("number", TABLES)
def test_averages_over_groups_are_those_of_the_reference(number, group):
    table = REFERENCE["tables"][number]
    for name in ("first", "second"):
        code, rating, scores = vectors(table, group, name)
        stacks = stack_groups(code)
        for kind in COEFFICIENTS:
            expected = table[f"{name}_expected"][group][kind]
            found = Grouped.of(scores, rating, stacks, kind).coefficients
            known = found[~np.isnan(found)]
            assert len(known) == expected["groups"]
            value = float(mean_coefficient(found, "mean", kind)) if len(known) else 0.0
            assert value == pytest.approx(expected["value"], abs=1e-9)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("number", TABLES)
def test_calibrated_ties_are_those_of_the_reference(number, group):
    table = REFERENCE["tables"][number]
    for name in ("first", "second"):
        code, rating, scores = vectors(table, group, name)
        stacks = stack_groups(code)
        expected = table[f"{name}_expected"][group]["acc_eq"]
        found = calibrate_ties(scores, rating, stacks)
        assert found.accuracy == pytest.approx(expected["value"], abs=1e-9)
        again = Grouped.of(scores, rating, stacks, "acc_eq", expected["threshold"]).coefficients
        assert again.mean() == pytest.approx(expected["value"], abs=1e-9)
        # Of equally good thresholds the reference keeps the one that its rounding makes the largest.
        assert found.threshold <= expected["threshold"]


@pytest.mark.parametrize("kind", COEFFICIENTS)
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("number", TABLES)
def test_exchanged_scores_have_the_coefficients_of_the_reference(number, group, kind):
    table = REFERENCE["tables"][number]
    expected = table["exchanged"][group][kind]
    code, rating, *scores = vectors(table, group, "first", "second")
    stacks = stack_groups(code)
    first, second = (Grouped.of(own, rating, stacks, kind) for own in scores)
    generator = np.random.RandomState(SWAP_SEED)
    keep = np.array([generator.binomial(1, 0.5, len(code)) for _ in expected["first"]], bool)
    found = exchange(first, second, keep, np.arange(len(code)), "mean")
    for own, name in zip(found, ("first", "second"), strict=True):
        assert np.nan_to_num(own) == pytest.approx(expected[name], abs=1e-9)
    delta = [
        float(np.nan_to_num(mean_coefficient(one.coefficients, "mean", kind))) for one in (first, second)
    ]
    assert delta[1] - delta[0] == pytest.approx(expected["delta"], abs=1e-9)


def reference_signs(prompts):
    """The signs that the reference draws: its generator and its seed."""
    return 2.0 * np.rint(np.random.default_rng(4).random((1000, prompts), np.float32)) - 1


@pytest.mark.parametrize("number", [i for i in TABLES if "spa" in REFERENCE["tables"][i]])
def test_soft_pairwise_accuracy_is_that_of_the_reference(number):
    table = REFERENCE["tables"][number]
    rating, scores = matrix(table["rating"]), matrix(table["second"])
    check_soft_accuracy(table["spa"], rating, scores)


def check_soft_accuracy(expected, rating, scores):
    signs = reference_signs(rating.shape[1])
    assert spa.better_p(spa.differences(rating), signs) == pytest.approx(expected["p_rating"], abs=1e-9)
    assert spa.better_p(spa.differences(scores), signs) == pytest.approx(expected["p_metric"], abs=1e-9)
    found = spa.soft_pairwise_accuracy(scores, rating, signs)
    assert found == pytest.approx(expected["value"], abs=1e-9)


# ---- ImagenHub: 985 images of 5 systems with ratings and judges ----


@pytest.fixture(scope="module")
def imagenhub(shared_data):
    file = shared_data / "ratings" / "viescore_imagenhub" / "text_to_image.csv"
    if not file.is_file():
        pytest.skip(f"needs {file}")
    return read_pair_table(file)


@pytest.mark.parametrize("group", GROUPS)
def test_ratings_of_imagenhub_have_the_values_of_the_reference(imagenhub, group):
    metrics = list(REFERENCE["imagenhub"])
    found = correlate(imagenhub, ["human_sc"], metrics=metrics, group=group, resamples=0, permutations=0)
    for metric, expected in REFERENCE["imagenhub"].items():
        for kind, reference in expected[group].items():
            result = found.get(metric, "human_sc", kind)
            assert result.value == pytest.approx(reference["value"], abs=1e-9)
            if group != "none" and kind != "acc_eq":
                assert result.groups == reference["groups"]


@pytest.mark.parametrize("metric", REFERENCE["imagenhub_spa"])
def test_systems_of_imagenhub_have_the_soft_pairwise_accuracy_of_the_reference(imagenhub, metric):
    wide = [
        imagenhub.pivot("prompt", index="system", values=name, sort_columns=True)
        .sort("system")
        .drop("system")
        for name in ("human_sc_1", metric)
    ]
    check_soft_accuracy(REFERENCE["imagenhub_spa"][metric], *(frame.to_numpy() for frame in wide))


def test_within_prompts_gemini_ranks_images_better_than_gpt4v_and_pooled_it_does_not(imagenhub):
    """Pooled tau-b also measures which prompts are easy; within prompts the order of the two judges turns."""
    metrics = ["gemini_0shot_sc", "gpt4v_0shot_sc", "gpt4o_0shot_sc", "llava_0shot_sc", "CLIP_Score"]
    options = {"metrics": metrics, "resamples": 0, "permutations": 0}
    pooled = correlate(imagenhub, ["human_sc"], group="none", **options)
    tau = {name: pooled.get(name, "human_sc").value for name in metrics}
    assert round(tau["gpt4v_0shot_sc"], 3) == 0.476 > round(tau["gemini_0shot_sc"], 3) == 0.466
    within = correlate(imagenhub, ["human_sc"], **options)
    assert within.group == "item"
    accuracy = {result.metric: round(result.value, 3) for result in within.results if result.kind == "acc_eq"}
    assert accuracy == {
        "gemini_0shot_sc": 0.509,
        "gpt4o_0shot_sc": 0.475,
        "gpt4v_0shot_sc": 0.445,  # 0.447 where every pair counts the same, below
        "llava_0shot_sc": 0.393,
        "CLIP_Score": 0.370,
    }
    assert list(accuracy) == sorted(accuracy, key=lambda name: -accuracy[name])
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in GUIDE.read_text("utf-8").splitlines()
    ]
    shown = {row[0]: row[1:] for row in rows if row[0] in metrics}
    assert shown == {
        name: [f"{tau[name]:.3f}".replace("-", "−"), f"{accuracy[name]:.3f}"] for name in metrics
    }


@pytest.mark.parametrize(("metric", "expected"), [("gemini_0shot_sc", 0.509), ("gpt4v_0shot_sc", 0.447)])
def test_pairs_of_one_prompt_counted_alike_have_the_accuracy_of_a_count_of_all_pairs(
    imagenhub, metric, expected
):
    rated = imagenhub.filter(pl.col(metric).is_not_null())
    code = rated["prompt"].rank("dense").to_numpy().astype(int)
    found = calibrate_ties(
        rated[metric].to_numpy(), rated["human_sc"].to_numpy(), stack_groups(code), pooled=True
    )
    assert round(found.accuracy, 3) == expected


def test_fishers_average_of_imagenhub_is_taken_once(imagenhub):
    """The released notebook transforms twice and prints .5123; Fisher's average of its values is .5677."""
    complete = imagenhub.filter(
        pl.col("gemini_0shot_sc").is_not_null() & pl.col("gemini_0shot_pq").is_not_null()
    )
    options = {"metrics": ["gemini_0shot_sc"], "group": "system", "resamples": 0, "permutations": 0}
    fisher = correlate(complete, ["human_sc"], average="fisher", **options)
    assert fisher.get("gemini_0shot_sc", "human_sc", "spearman").value == pytest.approx(0.5677, abs=5e-5)
    mean = correlate(complete, ["human_sc"], **options).get("gemini_0shot_sc", "human_sc", "spearman").value
    assert np.tanh(mean) == pytest.approx(0.5123, abs=5e-5)
