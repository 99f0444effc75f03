"""Coefficients of agreement, held against published examples and hand computations."""

from __future__ import annotations

import numpy as np
import pytest

from croc.ratings.agreement import LEVELS, alpha_of, coincidences
from croc_hum.agreement.coefficients import (
    cohen_kappa,
    flip_rate,
    krippendorff_alpha,
    true_accuracy,
)

# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", example C: four observers, twelve units.
OBSERVERS = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)
PUBLISHED = {"nominal": 0.743, "ordinal": 0.815, "interval": 0.849}


def counted(observers: tuple[str, ...], values: int) -> np.ndarray:
    cells = [line.split() for line in observers]
    return np.array(
        [
            [sum(row[unit] == str(v + 1) for row in cells) for v in range(values)]
            for unit in range(len(cells[0]))
        ]
    )


@pytest.mark.parametrize("level", LEVELS)
def test_alpha_is_that_of_krippendorffs_own_example(level) -> None:
    counts = counted(OBSERVERS, 5)
    assert krippendorff_alpha(counts, level) == pytest.approx(PUBLISHED[level], abs=5e-4)
    assert alpha_of(coincidences(counts).sum(axis=0)[None], level)[0] == pytest.approx(
        PUBLISHED[level], abs=5e-4
    )


@pytest.mark.parametrize("level", LEVELS)
def test_alpha_of_stored_sums_is_that_of_the_library(level) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        counts = rng.integers(0, 3, (30, 4))
        sums = coincidences(counts).sum(axis=0)[None]
        assert alpha_of(sums, level)[0] == pytest.approx(krippendorff_alpha(counts, level), abs=1e-9)


def test_alpha_is_unknown_where_nothing_can_differ() -> None:
    assert np.isnan(krippendorff_alpha(np.array([[3, 0], [2, 0]]), "nominal"))  # one value throughout
    assert np.isnan(krippendorff_alpha(np.array([[1, 0], [0, 1]]), "nominal"))  # no item has two votes
    assert np.isnan(alpha_of(coincidences(np.array([[3, 0], [2, 0]])).sum(axis=0)[None], "nominal")).all()


def test_kappa_of_a_table_computed_by_hand() -> None:
    # 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: observed 0.7, by chance 0.5·0.6 + 0.5·0.4 = 0.5.
    first = np.repeat([0, 0, 1, 1], [20, 5, 10, 15])
    second = np.repeat([0, 1, 0, 1], [20, 5, 10, 15])
    assert cohen_kappa(first, second) == pytest.approx(0.4)
    assert np.isnan(cohen_kappa(np.zeros(5), np.zeros(5)))


def test_accuracy_with_wrong_labels_is_turned_back() -> None:
    # A metric that is right in 80 % is called right in 0.8·0.9 + 0.2·0.1 = 74 % with a tenth turned round.
    assert true_accuracy(0.74, 0.1) == pytest.approx(0.8)
    assert flip_rate(0.2, 0.0) == pytest.approx(0.1)  # shows neither prompt: a coin
    assert flip_rate(0.2, 1.0) == pytest.approx(0.2)  # shows the other prompt
    assert true_accuracy(0.5, 0.3) == pytest.approx(0.5)  # chance stays chance
    assert true_accuracy(0.99, 0.1) == 1.0
    assert np.isnan(true_accuracy(0.7, 0.5))
