"""Metrics of users on benchmarks of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import kendalltau, pearsonr, spearmanr
from score_rows import check_rows, write

from croc.checks.schema import DIRECTIONS
from croc.errors import InputError
from croc.external.benchmark import find_benchmark
from croc.external.benchmarks import colorswap, tifa160
from croc.external.evaluation import Evaluation, evaluate_on

HUMAN = {"coco_1_a": [1, 2], "coco_1_b": [3, 3], "coco_2_a": [5, 4], "coco_2_b": [5, 5]}
SCORES = {"coco_1_a": 0.2, "coco_1_b": 0.9, "coco_2_a": 0.3, "coco_2_b": 0.8}


@pytest.fixture
def tifa(tmp_path: Path) -> Path:
    items: dict[str, dict[str, Any]] = {
        name: {
            "text_id": name[:6],
            "image_path": f"{name}.jpg",
            "text": name[:6],
            "human_scores": ratings,
            "human_avg": sum(ratings) / 2,
            **dict.fromkeys(tifa160.METRICS, 0.5),
        }
        for name, ratings in HUMAN.items()
    }
    folder = tmp_path / "tifa160"
    folder.mkdir()
    (folder / "human_annotations_with_scores.json").write_text(json.dumps(items))
    return tmp_path


def table(folder: Path, name: str, scores: dict[str, float], metric: str = "mine") -> Path:
    path = folder / f"{name}.csv"
    path.write_text(
        "\n".join([f"item_id,{metric}", *(f"{item},{score}" for item, score in scores.items())]) + "\n"
    )
    return path


def test_a_metric_has_the_standard_scores_in_both_modes(tifa: Path) -> None:
    other = table(tifa, "other", {name: -score for name, score in SCORES.items()}, "other")
    found = evaluate_on(tifa160.BENCHMARK, tifa, [table(tifa, "mine", SCORES), other], log=print)
    scores, human = list(SCORES.values()), [sum(pair) / 2 for pair in HUMAN.values()]
    values = {score.name: (score.parity, score.default) for score in found.scores}
    assert values["mine Spearman"] == (
        pytest.approx(pearsonr(scores, human)[0]),
        pytest.approx(spearmanr(scores, human)[0]),
    )
    assert values["other Kendall"][0] == pytest.approx(-kendalltau(scores, human)[0])
    assert not any("spice" in name for name in values)  # a metric of the benchmark itself
    assert found.correlations is not None
    assert found.correlations.get("mine", "human_avg", "kendall").value == 1  # within prompts
    assert Evaluation.from_dict(json.loads(found.to_json())) == found


def test_items_that_do_not_match_are_counted(tifa: Path) -> None:
    scores = {name: score for name, score in SCORES.items() if name != "coco_1_a"} | {"coco_9_a": 1.0}
    found = evaluate_on(tifa160.BENCHMARK, tifa, [table(tifa, "mine", scores)], log=print)
    assert found.notes == (
        "mine.csv: 1 item not in the benchmark left out.",
        "Items without a score: mine 1.",
    )


def test_tables_that_do_not_belong_are_refused(tifa: Path) -> None:
    with pytest.raises(InputError, match=r"x\.csv: no item_id is one of the benchmark; expected 'coco_1_a'"):
        evaluate_on(tifa160.BENCHMARK, tifa, [table(tifa, "x", {"a": 1, "b": 2})], log=print)
    with pytest.raises(InputError, match=r"y\.csv: the metric 'mine' is also in another table"):
        evaluate_on(tifa160.BENCHMARK, tifa, [table(tifa, "x", SCORES), table(tifa, "y", SCORES)], log=print)
    with pytest.raises(InputError, match="no folder ts2"):
        evaluate_on(find_benchmark("ts2"), tifa, [table(tifa, "x", SCORES)], log=print)


@pytest.fixture
def swaps(tmp_path: Path) -> Path:
    folder = tmp_path / "colorswap"
    folder.mkdir()
    for model in colorswap.MODELS:
        for side, name in (("text", "image"), ("image", "caption")):
            examples = [
                {
                    "id": item,
                    **{f"response_{name}_{n}": "first A" for n in (1, 2)},
                    **{
                        f"log_{n}": {
                            "caption_1": "a",
                            "caption_2": "b",
                            "caption": "a",
                            "correct_answer": "A",
                        }
                        for n in (1, 2)
                    },
                }
                for item in (1, 2, 3)
            ]
            (folder / f"{side}-{model}-colorswap.json").write_text(json.dumps(examples))
    return tmp_path


def test_score_tables_of_a_contrastive_benchmark_have_winogrounds_scores(swaps: Path) -> None:
    rows = [
        *check_rows("1", [(0.9, 0.1)], [(0.2, 0.8)], category="colour"),
        *check_rows("2", [(0.9, 0.1)], [(0.2, 0.1)], category="colour"),  # wrong for the contrast image
        *check_rows("3", [(0.5, 0.5)], [(0.2, 0.8)], category="colour"),  # a tie
    ]
    path = write(swaps, "mine", rows, protocol="hum")
    found = evaluate_on(colorswap.BENCHMARK, swaps, [path], log=print)
    values = {score.name: (score.parity, score.default) for score in found.scores}
    third = pytest.approx(1 / 3)
    assert values["mine group score"][0] == third and values["mine text score"][0] == third
    assert values["mine image score"][0] == pytest.approx(2 / 3)
    assert values["mine forward text"] == (pytest.approx(2 / 3), pytest.approx(2.5 / 3))
    assert set(values) == {
        f"mine {name}"
        for name in (
            "text score",
            "image score",
            "group score",
            *(direction.replace("_", " ") for direction in DIRECTIONS),
        )
    }
    assert found.correlations is None and not found.notes


def test_checks_of_another_benchmark_are_refused(swaps: Path) -> None:
    rows = check_rows("9", [(0.9, 0.1)], [(0.2, 0.8)], category="colour")
    with pytest.raises(InputError, match="no check_id of the tables is an item of colorswap; expected '1'"):
        evaluate_on(colorswap.BENCHMARK, swaps, [write(swaps, "mine", rows, protocol="hum")], log=print)
    rows += check_rows("1", [(0.9, 0.1)], [(0.2, 0.8)], category="colour")
    with pytest.raises(InputError, match="check_id '9' is not an item of colorswap"):
        evaluate_on(colorswap.BENCHMARK, swaps, [write(swaps, "mine", rows, protocol="hum")], log=print)
