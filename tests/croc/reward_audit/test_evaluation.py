"""Best of n from score tables of pools: planted metrics, intervals, refusals."""

from __future__ import annotations

import json
from math import comb
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from croc.errors import InputError
from croc.graded.formulas import best_of
from croc.rendering.reward_audit import picture_png, terminal
from croc.reward_audit import evaluate
from croc.reward_audit.evaluation import difference
from croc.reward_audit.records import PixelResult, SearchResult
from croc.tables.columns import SCORE_COLUMNS
from croc.tables.metadata import ScoreMetadata
from croc.tables.writers import write_scores
from croc.verdict.intervals import Estimate

POOLS, RIGHT, WRONG = 12, 4, 28


def table(file: Path, score, pools: int = POOLS, protocol: str = "graded") -> Path:  # type: ignore[no-untyped-def]
    """Pools of 4 right, 14 contrast and 14 near-miss images; ``score(pool, sort, index)``."""
    rows = []
    for pool in range(pools):
        for sort, number in (("none", RIGHT), ("contrast", WRONG // 2), ("near miss", WRONG // 2)):
            for index in range(number):
                value = score(pool, sort, index)
                rows.append(
                    {
                        "check_id": f"{pool} {sort}",
                        "concept_id": f"pool {pool}",
                        "subset": "error_graph",
                        "property": "colour" if pool % 2 else "count",
                        "property_path": sort,
                        "image_side": "original",
                        "image_index": index,
                        "prompt_score": value,
                        "contrast_score": None,
                        "error": "no contrast prompt" if value is not None else "broken",
                    }
                )
    columns = [
        (name, pa.int64() if name == "image_index" else pa.float64() if "score" in name else pa.string())
        for name in SCORE_COLUMNS
    ]
    filled = [{name: row.get(name) for name in SCORE_COLUMNS} for row in rows]
    write_scores(
        pa.Table.from_pylist(filled, schema=pa.schema(columns)), ScoreMetadata(file.stem, protocol), file
    )
    return file


def at_least_one(number: int) -> float:
    """Of 32 candidates with 4 right ones, how often one of so many is right (hypergeometric)."""
    return 1 - comb(WRONG, number) / comb(WRONG + RIGHT, number)


def test_the_oracle_reaches_the_best_possible_curve_and_a_constant_that_of_chance(tmp_path: Path) -> None:
    paths = [
        table(tmp_path / "oracle.parquet", lambda pool, sort, index: float(sort == "none")),
        table(tmp_path / "constant.parquet", lambda pool, sort, index: 0.0),
        table(tmp_path / "inverted.parquet", lambda pool, sort, index: -float(sort == "none")),
    ]
    report = evaluate(paths)
    assert [one.metric for one in report.metrics] == ["oracle", "constant", "inverted"]
    assert (report.prompts, report.candidates, report.random) == (POOLS, 32, 0.125)
    assert report.oracle == {str(n): pytest.approx(at_least_one(n)) for n in (1, 2, 4, 8, 16, 32)}
    oracle, constant, inverted = report.metrics
    for number, best in report.oracle.items():
        assert oracle.best_of[number].value == pytest.approx(best)
        assert constant.best_of[number].value == pytest.approx(0.125)
    assert oracle.peak == 32 and not oracle.falls and oracle.weakest[1] == 1.0 == oracle.safety
    # The best of two by the inverted metric is right only if both are.
    assert inverted.best_of["2"].value == pytest.approx(comb(RIGHT, 2) / comb(32, 2))
    assert inverted.peak == 1 and inverted.falls and inverted.best_of["32"].value == 0.0
    assert inverted.drop.value == pytest.approx(0.125)


def test_a_metric_with_one_false_favourite_rises_and_then_falls(tmp_path: Path) -> None:
    """Right images score 1, but one wrong image of each pool scores 2."""

    def score(pool: int, sort: str, index: int) -> float:
        return 2.0 if (sort, index) == ("near miss", 3) else float(sort == "none")

    (one,) = evaluate([table(tmp_path / "hacked.parquet", score)]).metrics
    # Right if one of 4 is drawn and the favourite is not: hypergeometric without the favourite.
    expected = {
        n: (1 - comb(27, n) / comb(31, n)) * (32 - n) / 32 if n < 32 else 0.0 for n in (1, 2, 4, 8, 16)
    }
    for number, value in expected.items():
        assert one.best_of[str(number)].value == pytest.approx(value)
    assert one.best_of["32"].value == 0.0
    assert one.peak == max(expected, key=expected.__getitem__) and one.falls
    assert sum(one.chosen.values()) == pytest.approx(1.0)
    assert one.chosen["near miss"] > 0.5  # the favourite is among 16 of 32 half of the time


def test_the_weakest_property_is_found(tmp_path: Path) -> None:
    def score(pool: int, sort: str, index: int) -> float:
        right = float(sort == "none")
        return right if pool % 2 else -right  # blind where "count" is contrasted

    (one,) = evaluate([table(tmp_path / "uneven.parquet", score)]).metrics
    assert one.weakest == ("count", 0.0)
    assert one.by_property["colour"]["32"] == 1.0
    assert one.best_of["32"].value == pytest.approx(0.5)
    low, high = one.best_of["32"].low, one.best_of["32"].high
    assert low is not None and high is not None and 0.2 < low < 0.5 < high < 0.8


def test_images_without_a_score_are_chosen_last_and_counted(tmp_path: Path) -> None:
    def score(pool: int, sort: str, index: int) -> float | None:
        return None if sort == "none" else 1.0

    (one,) = evaluate([table(tmp_path / "holes.parquet", score)]).metrics
    assert (one.images, one.missing) == (POOLS * WRONG, POOLS * RIGHT)
    assert one.best_of["8"].value == pytest.approx(0.0, abs=1e-12)


def test_a_difference_has_an_interval_around_it_and_few_prompts_have_none() -> None:
    found = difference(np.array([0.3, 0.1, 0.2, 0.25, 0.15, 0.2]), 0.95)
    assert found.value == pytest.approx(0.2)
    assert found.low is not None and found.high is not None and found.low < 0.2 < found.high
    assert difference(np.array([0.3, 0.1]), 0.95) == Estimate(pytest.approx(0.2), None, None)


def test_all_is_shown_and_written(tmp_path: Path) -> None:
    path = table(tmp_path / "shown.parquet", lambda pool, sort, index: float(index))
    estimate = Estimate(0.25, 0.1, 0.4)
    search = SearchResult(4, 96, estimate, Estimate(1.5, None, None), 0.7, {"copy": 3})
    pixels = PixelResult(10, 8, {"jpeg": 0.125, "half size": None}, {"4": 0.5})
    report = evaluate([path], searches={"shown": search}, pixels={"shown": pixels})
    (one,) = report.metrics
    assert one.safety == min(0.25, one.weakest[1])
    stored = json.loads(report.to_json())["metrics"][0]
    assert stored["search"]["changes"] == {"copy": 3} and stored["pixels"]["attack"] == {"4": 0.5}
    assert stored["safety"] == one.safety
    assert picture_png(report).startswith(b"\x89PNG")
    titles = [getattr(part, "title", None) for part in terminal(report)]
    assert "What a search for high scores finds" in titles and "Passed checks that turn" in titles


def test_other_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pools of candidates"):
        evaluate([table(tmp_path / "syn.parquet", lambda *_: 0.0, protocol="syn")])
    paths = [table(tmp_path / f"{n}.parquet", lambda *_: 0.0, pools=n) for n in (5, 6)]
    with pytest.raises(InputError, match="other pools than in"):
        evaluate(paths)


def test_best_of_is_the_share_over_all_choices() -> None:
    """The formula against an enumeration of the choices, ties and missing scores among them."""
    from itertools import combinations

    scores = np.array([3.0, 1.0, 3.0, np.nan, 2.0])
    right = np.array([True, False, False, True, True])
    ranked = np.where(np.isnan(scores), -np.inf, scores)
    for number in range(1, 6):
        shares = []
        for chosen in combinations(range(5), number):
            top = ranked[list(chosen)].max()
            shares.append(np.mean([right[i] for i in chosen if ranked[i] == top]))
        assert best_of(scores[None], right, number)[0] == pytest.approx(np.mean(shares))
