"""Means over seeds: the interval is that of the concepts where seeds agree, and wider where they do not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from score_rows import check_rows, table

from croc.verdict.evaluation import evaluate_tables
from croc.verdict.report import Settings
from crocscore.experiments.seed_means import Runs

CONCEPTS = 30


def scores(name: str, passed: set[int]):
    """A run that passes some checks in all directions, and fails the others."""
    rows = []
    for number in range(CONCEPTS):
        right = 1.0 if number in passed else -1.0
        group = {"category": "counting" if number < 10 else "shapes", "property": "count"}
        rows += check_rows(f"c{number}", [(right, -right)], [(-right, right)], **group)
    return table(name, rows)


def test_without_variation_between_seeds_the_interval_is_that_of_the_concepts():
    tables = {f"seed {n}": scores(f"seed {n}", set(range(20))) for n in range(3)}
    found = Runs(tables).mean(list(tables))
    report = evaluate_tables([tables["seed 0"]], Settings(by=("category",), resamples=0, flips=0))
    score = report.score("seed 0")
    assert found["scaled"] == pytest.approx(score.scaled) and found["seed_sd"] == pytest.approx(0)
    assert (found["low"], found["high"]) == pytest.approx((score.ci_low, score.ci_high))
    counting = next(group for group in found["groups"] if group["value"] == "counting")
    assert counting["checks"] == 10 and counting["scaled"] == pytest.approx(1.0)


def test_seeds_add_students_interval_in_quadrature():
    passed = [set(range(18)), set(range(20)), set(range(25))]
    tables = {f"seed {n}": scores(f"seed {n}", one) for n, one in enumerate(passed)}
    found = Runs(tables).mean(list(tables))
    results = np.array([2 * len(one) / CONCEPTS - 1 for one in passed])
    assert found["scaled"] == pytest.approx(results.mean())
    assert found["seed_sd"] == pytest.approx(results.std(ddof=1))
    # Student's t with two degrees of freedom, 0.975: 4.3027 (tables of the distribution).
    of_seeds = 4.3027 * results.std(ddof=1) / math.sqrt(3)
    for end in ("low", "high"):
        assert abs(found[end] - found["scaled"]) > of_seeds or abs(found[end]) == 1
    single = Runs({"seed 1": tables["seed 1"]}).mean(["seed 1"])
    assert single["seed_sd"] is None
    assert single["high"] - single["low"] < found["high"] - found["low"]


def test_what_seeds_have_in_common_cancels_in_a_difference():
    """Two conditions that differ by the same two checks with each seed, however far the seeds are apart."""
    passed = [set(range(12)), set(range(18)), set(range(24))]
    worse = {f"worse {n}": scores(f"worse {n}", one) for n, one in enumerate(passed)}
    better = {f"better {n}": scores(f"better {n}", one | {28, 29}) for n, one in enumerate(passed)}
    runs = Runs({**worse, **better})
    found = runs.difference(list(better), list(worse))
    assert found["scaled"] == pytest.approx(4 / CONCEPTS) and found["seed_sd"] == pytest.approx(0, abs=1e-9)
    assert -0.1 < found["low"] < found["scaled"] < found["high"] < 0.4
    assert found["high"] - found["low"] < runs.mean(list(better))["high"] - runs.mean(list(better))["low"]
    opposite = runs.difference(list(worse), list(better))
    assert opposite["low"] == pytest.approx(-found["high"]) and opposite["scaled"] == -found["scaled"]
    # The initial model is evaluated once, and compared with every seed.
    start = Runs({"start": scores("start", set()), **better})
    assert start.difference(["start"], list(better))["scaled"] < -0.9
