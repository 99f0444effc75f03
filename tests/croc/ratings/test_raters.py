"""Raters who agree with each other much more than with the others."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from croc.ratings.correlation import correlate
from croc.ratings.raters import DependentRaters, find_dependent_raters


def rate(truth: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    return np.clip(np.round(3 + truth + rng.normal(0, noise, len(truth))), 1, 5)


def test_a_group_of_three_who_copy_is_found_once_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=400)
    source = rate(truth, 0.8, rng)
    copies = [np.where(rng.random(400) < 0.03, rate(truth, 0.8, rng), source) for _ in range(3)]
    ratings = np.stack([rate(truth, 0.8, rng), *copies, rate(truth, 0.8, rng)])
    (found,) = find_dependent_raters(ratings, ["a", "b", "c", "d", "e"])
    assert found.raters == ("b", "c", "d") and found.others == 2 and found.items == 400
    assert found.within > 0.9 > found.across
    assert "b, c and d correlate at" in found.describe()


def test_independent_raters_are_reported_in_less_than_one_of_a_hundred_cases() -> None:
    found = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        truth = rng.normal(size=100)
        noises = rng.uniform(0.6, 1.0, size=5)
        ratings = np.stack([rate(truth, noise, rng) for noise in noises])
        found += bool(find_dependent_raters(ratings, list("abcde")))
    assert found <= 3


@pytest.mark.parametrize(
    "ratings",
    [
        np.tile(np.arange(40.0) % 5, (2, 1)),  # two raters cannot be compared with others
        np.stack([np.arange(20.0) % 5, np.arange(20.0) % 5, np.arange(20.0) % 3]),  # too few items
        np.stack([np.ones(40), np.ones(40), np.arange(40.0) % 3]),  # constant ratings
        np.full((3, 40), np.nan),
    ],
)
def test_nothing_is_reported_where_nothing_can_be_compared(ratings: np.ndarray) -> None:
    assert find_dependent_raters(ratings, [f"r{n}" for n in range(len(ratings))]) == ()


def test_missing_ratings_are_compared_on_shared_items() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=900)
    source = rate(truth, 0.9, rng)
    ratings = np.stack([source, source.copy(), rate(truth, 0.9, rng), rate(truth, 0.9, rng)])
    ratings[rng.random(ratings.shape) < 0.5] = np.nan
    (found,) = find_dependent_raters(ratings, list("abcd"))
    both = ~np.isnan(ratings[0]) & ~np.isnan(ratings[1])
    assert found == DependentRaters(("a", "b"), 1.0, found.across, 2, int(both.sum()))


def test_correlating_with_ratings_of_dependent_raters_names_them() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=200)
    first = rate(truth, 0.8, rng)
    columns = {"a": first, "b": first, "c": rate(truth, 0.8, rng), "metric": truth}
    table = pl.DataFrame({"item_id": [str(n) for n in range(200)], **columns})
    report = correlate(table, ["a", "b", "c"], resamples=0, permutations=0)
    assert any(note.startswith("a and b correlate at 1.00") for note in report.notes)
    assert not correlate(table, ["a", "c"], resamples=0, permutations=0).notes
