"""Evaluation with fewer images per side: exact averages over all choices of images."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports import report_of
from score_rows import check_rows

from croc.errors import InputError
from croc.verdict.directions import syn_image, syn_text
from croc.verdict.report import Settings

scores = st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, np.nan]), min_size=1, max_size=5)


def subsets(known, images):
    return list(itertools.combinations(known, min(images, len(known))))


@given(st.lists(st.tuples(*[st.sampled_from([0.0, 1.0, 2.0, np.nan])] * 2), min_size=1, max_size=5))
@settings(deadline=None)
@pytest.mark.parametrize("images", [1, 2, 3, 9])
def test_text_directions_are_the_average_over_all_choices(images, pairs):
    match, other = (np.array([values], float) for values in zip(*pairs, strict=True))
    found = syn_text(match, other, images=images)
    known = [i for i, pair in enumerate(pairs) if not np.isnan(pair).any()]
    each = [syn_text(match[:, list(some)], other[:, list(some)]) for some in subsets(known, images)]
    for number, name in enumerate(("value", "chance", "tie")):
        expected = np.mean([one[number][0] for one in each]) if known else np.nan
        assert found[number][0] == pytest.approx(expected, nan_ok=True), name


@given(scores, scores)
@settings(deadline=None)
@pytest.mark.parametrize("images", [1, 2, 3, 9])
def test_image_directions_are_the_average_over_all_choices(images, own, opposing):
    match, other = (np.array([values], float) for values in (own, opposing))
    found = syn_image(match, other, images=images)
    sides = [
        subsets([i for i, v in enumerate(values) if not np.isnan(v)], images) for values in (own, opposing)
    ]
    each = [
        syn_image(match[:, list(first)], other[:, list(second)])
        for first, second in itertools.product(*sides)
        if first and second
    ]
    for number, name in enumerate(("value", "chance", "tie")):
        expected = np.mean([one[number][0] for one in each]) if each else np.nan
        assert found[number][0] == pytest.approx(expected, nan_ok=True), name


def simulated(original, contrast, *, skill=0.6, spread=1.0, checks=150, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(checks):
        sides = []
        for images, sign in ((original, 1), (contrast, -1)):
            quality = spread * rng.normal(size=(images, 1))
            matching = quality + sign * np.array([skill, -skill]) / 2 + 0.7 * rng.normal(size=(images, 2))
            sides.append([tuple(image) for image in matching])
        rows += check_rows(f"c{n}", *sides, topic="sea")
    return rows


def test_with_the_same_number_of_images_datasets_of_different_size_agree():
    wide, narrow = simulated(6, 6, seed=1, checks=400), simulated(2, 2, seed=2, checks=400)
    plain = [report_of({"m": rows}, "syn").score("m").scaled for rows in (wide, narrow)]
    assert plain[0] - plain[1] > 0.1  # the same metric
    same = [report_of({"m": rows}, "syn", settings=Settings(images=2)).score("m") for rows in (wide, narrow)]
    assert same[0].scaled == pytest.approx(same[1].scaled, abs=0.06)
    assert "|images:2|" in same[0].signature
    assert same[1].scaled == pytest.approx(plain[1], abs=1e-12)


def test_the_number_of_images_is_in_the_signature():
    assert report_of({"m": simulated(5, 5, checks=6)}, "syn").signature.get("images") == "5"
    assert report_of({"m": simulated(5, 2, checks=6)}, "syn").signature.get("images") == "2-5"
    assert report_of({"m": simulated(5, 2, checks=6)}, "hum").signature.get("images") is None


def test_rankings_on_different_numbers_of_images_are_not_compared():
    reports = [
        report_of({"a": simulated(k, k, checks=8), "b": simulated(k, k, checks=8, seed=3)}, "syn")
        for k in (2, 3)
    ]
    with pytest.raises(InputError, match="2 images per side and the other 3"):
        reports[0].agreement(reports[1])


def test_the_published_computation_has_its_own_number_of_images():
    with pytest.raises(InputError, match="five images"):
        Settings(paper=True, images=2)


@pytest.mark.parametrize(("original", "contrast"), [(5, 5), (5, 2), (2, 5)])
def test_no_finding_comes_from_the_number_of_images_alone(original, contrast):
    # Images of one quality: prompts and images are as easy to tell apart.
    tables = {
        name: simulated(original, contrast, skill=0.6, spread=0, seed=seed) for seed, name in enumerate("abc")
    }
    report = report_of(tables, "syn", settings=Settings(resamples=500, flips=999))
    kinds = {finding.kind for finding in report.findings}
    assert not kinds & {"inverse_below_forward", "text_image_gap"}
