"""The table of what reuse saves: which scorers are in it, and how a row is measured."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import bench_reuse

    return bench_reuse


def test_every_family_of_an_entry_is_in_the_table_or_has_a_reason(bench: Any) -> None:
    from croc.scorers.registry import available

    rows = json.loads(bench.STORED.read_text("utf-8"))
    measured = {row["family"] for row in rows}
    assert measured.isdisjoint(bench.NOT_MEASURED)
    entries = {entry.family for entry in available() if entry.family.startswith("croc.scorers.")}
    assert entries <= measured | set(bench.NOT_MEASURED)
    assert [row["name"] for row in rows] == list(bench.families())


class Slow:
    """Takes 5 ms of CPU time for each image it encodes, and counts what is asked of it."""

    name = "slow"

    def __init__(self) -> None:
        self.calls: list[int] = []

    def encode_images(self, images: Any) -> np.ndarray:
        end = time.process_time() + 0.005 * len(images)
        while time.process_time() < end:
            pass
        return np.array([[np.asarray(image).mean()] for image in images])

    def encode_texts(self, prompts: Any) -> np.ndarray:
        return np.array([[len(prompt)] for prompt in prompts], dtype=float)

    def similarity(self, images: np.ndarray, texts: np.ndarray) -> np.ndarray:
        return (images * texts)[:, 0]

    def score(self, images: Any, prompts: Any) -> np.ndarray:
        self.calls.append(len(images))
        return self.similarity(self.encode_images(images), self.encode_texts(prompts))

    def fields(self) -> dict[str, str]:
        return {}


def test_a_scorer_whose_time_is_that_of_the_images_saves_half_of_it(bench: Any) -> None:
    scorer = Slow()
    row = bench.measure(scorer, count=1, repeats=2)
    assert row["method"] == "embeddings" and row["difference"] == 0
    for name in ("saved_batches", "saved_alone"):
        assert row[name] == pytest.approx([0.5, 0.5], abs=0.12)
    # Ten images with two prompts: twenty pairs alone in each round.
    assert scorer.calls.count(1) >= 40 and max(scorer.calls) == 20
