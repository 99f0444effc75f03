"""Comparing this program's numbers with a reference's."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "build" / "upstream" / "out"
TOLERANCE = 1e-5
"""Of the spread (largest minus smallest) of the reference's scores."""
FIGURES: dict[str, float] = {}
"""Largest difference of each comparison of this session, as a share of the spread."""


@functools.cache
def reference(name: str) -> dict[str, np.ndarray]:
    """The arrays that a reference wrote; skips the test where it has not run."""
    file = FOLDER / name / "reference.npz"
    if not file.is_file():
        pytest.skip("the references have not been computed: run `make test-upstream`")
    with np.load(file) as arrays:
        return {key: arrays[key] for key in arrays.files}


def difference(found, expected) -> float:
    """The largest difference as a share of the spread of the expected values."""
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert found.shape == expected.shape
    assert np.isfinite(found).all()
    return float(np.abs(found - expected).max() / np.ptp(expected))


def assert_same(name: str, found, expected) -> None:
    """Scores agree with the reference; ``name`` stands in the summary of the session."""
    assert np.ptp(expected) > 1e-3, "scores this close to each other would hide a difference"
    FIGURES[name] = difference(found, expected)
    assert FIGURES[name] <= TOLERANCE


def assert_moved(found, expected) -> None:
    """A wrong setting is seen: it moves the scores by at least 100 times the tolerance."""
    assert difference(found, expected) >= 100 * TOLERANCE
