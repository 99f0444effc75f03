"""Pairwise judges on checks: what is asked, what the table has, and what a failure or a stop loses."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl
import pytest
from planted_judges import Planted, rows

from croc.errors import CrocError, InputError
from croc.scorers.pairs import UnscoredPairs
from croc.scorers.registry import load, load_any
from croc.scoring.comparisons import count_questions
from croc.scoring.run import ScoringSettings, score_dataset
from croc.tables.columns import ANSWERS, NO_CONTRAST_PROMPT
from croc.tables.metadata import ScoreMetadata
from croc.tables.readers import read_score_tables
from croc.verdict.evaluation import evaluate
from croc.verdict.report import Settings


def score(checks: Any, judge: Any, out: Any, log: Any = None, **settings: Any) -> pl.DataFrame:
    settings = {"progress": False, "checks_per_part": 3, **settings}
    more = {} if log is None else {"log": log}
    (file,) = score_dataset(checks, [judge], out, ScoringSettings(**settings), **more)
    return pl.read_parquet(file)


def test_every_comparison_is_asked_once_in_each_order(tmp_path):
    judge = Planted(match=1, first=0.5)
    found = score(rows(2, k=2), judge, tmp_path, batch_size=3)
    # Check 1: prompts for 2 + 3 images, and 2 × 3 pairs of images for either prompt, in both orders.
    of_one = [question for question in judge.asked if any(str(part).endswith("thing 1") for part in question)]
    assert len(of_one) == len(set(of_one)) == 2 * 5 + 4 * 6 == count_questions(2, 3, True, None)
    assert ("red 10", "red thing 1", "blue thing 1") in of_one
    assert ("red 10", "blue thing 1", "red thing 1") in of_one
    assert found.columns[-2:] == list(ANSWERS)
    assert found["prompt_score"].null_count() == found["contrast_score"].null_count() == len(found) == 10
    # An own match that stands first: logit 1.5; another one that stands first: logit −0.5.
    pair = [pytest.approx(0.8175745), pytest.approx(0.3775407)]
    original, contrast = (
        found.filter(check_id="c01", image_index=0).sort("image_side", descending=True).rows(named=True)
    )
    assert original["text_answers"] == contrast["text_answers"] == pair
    assert original["image_answers"] == pair * 3 and contrast["image_answers"] == pair * 2
    metadata = ScoreMetadata.from_parquet(
        pl.read_parquet_metadata(tmp_path / "planted.parquet"), default_name="", source=""
    )
    assert metadata.extra["comparisons"] == "single images, both orders, chance 1/2"


def test_the_number_of_opposing_images_can_be_limited(tmp_path):
    judge = Planted(match=1, first=0)
    judge.opposing = 1
    found = score(rows(2, k=2), judge, tmp_path)
    assert len(judge.asked) == 2 * count_questions(2, 3, True, 1) == 2 * 20
    assert found["image_answers"].list.len().to_list() == [2] * 10
    of_one = {question[1:] for question in judge.asked if question[0] == "red thing 0"}
    both = {("red 0", "blue 0"), ("red 1", "blue 1")}
    assert of_one == both | {pair[::-1] for pair in both}, "each with the image of its own number"


def test_a_stopped_run_asks_only_for_what_it_lacks(tmp_path):
    class Stopped(Planted):
        def choose_images(self, prompts, first, second):
            if any(prompt.endswith("thing 5") for prompt in prompts):
                raise KeyboardInterrupt
            return super().choose_images(prompts, first, second)

    whole = score(rows(), Planted(2, 1), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        score(rows(), Stopped(2, 1), tmp_path / "stopped")
    judge = Planted(2, 1)
    log: list[str] = []
    assert score(rows(), judge, tmp_path / "stopped", log=log.append).equals(whole)
    asked = {
        int(str(part).split()[-1]) for question in judge.asked for part in question if "thing" in str(part)
    }
    assert asked == set(range(3, 12)), "the first part of three checks was there"
    assert "168 answers, 126 new" in log[-1]
    score(rows(), judge, tmp_path / "stopped", log=log.append)
    assert "all from an earlier run" in log[-1]
    with pytest.raises(InputError):  # another judge under the same name
        score(rows(), Planted(2, 0), tmp_path / "stopped")


def test_an_answer_that_is_missing_is_counted_and_loses_no_other(tmp_path):
    class Silent(Planted):
        def choose_prompts(self, images, first, second):
            reasons = {i: "no answer" for i, prompt in enumerate(first) if prompt == "blue thing 3"}
            if reasons:
                raise UnscoredPairs(reasons)
            return super().choose_prompts(images, first, second)

    checks = rows(6)
    checks[4]["images"] = [{"bytes": b"no image", "path": None}]
    log: list[str] = []
    found = score(checks, Silent(2, 0), tmp_path, log=log.append)
    of_3 = found.filter(check_id="c03").rows(named=True)
    assert [row["error"] for row in of_3] == ["no answer"] * 3
    # Its own prompt first is answered; the other first is not, and the reverse for the contrast images.
    assert [[value is None for value in row["text_answers"]] for row in of_3] == [
        [False, True],
        [True, False],
        [True, False],
    ]
    broken = found.filter(check_id="c04", image_side="original").row(0, named=True)
    assert broken["text_answers"] == [None, None] and "unknown format" in broken["error"]
    # Three orders of check 3; of check 4 the two orders about its image and eight about pairs with it.
    lost = 3 + 2 + 8
    assert f"{lost} answers missing" in log[-1]
    report = evaluate([tmp_path / "planted.parquet"], settings=Settings(resamples=0, flips=0))
    assert report.result("planted", "forward_text").n == 4
    assert report.result("planted", "inverse_text").n == 5
    assert report.result("planted", "forward_image").n == 5
    assert report.ranking[0].scaled == 1 and report.ranking[0].coverage < 1
    assert report.missing_scores["planted"]["no answer"] == 3
    assert "no answer" in report.findings[0].text
    with pytest.raises(CrocError, match="13 answers missing, more than 12"):
        score(checks, Silent(2, 0), tmp_path / "strict", max_failures=12)


def test_without_a_contrast_prompt_one_direction_is_left(tmp_path):
    checks = rows(5, contrast_prompt=None)
    judge = Planted(2, 0)
    found = score(checks, judge, tmp_path)
    assert len(judge.asked) == 5 * count_questions(1, 2, False, None) == 20
    assert set(found["error"]) == {NO_CONTRAST_PROMPT}
    report = evaluate([tmp_path / "planted.parquet"], settings=Settings(resamples=0, flips=0))
    assert [report.result("planted", d).n for d in ("forward_text", "forward_image", "inverse_image")] == [
        0,
        5,
        0,
    ]
    assert report.ranking[0].coverage == 1


def test_what_is_no_probability_stops_the_run(tmp_path):
    class Wrong(Planted):
        def choose_prompts(self, images, first, second):
            return [3.0] * len(images)

    with pytest.raises(CrocError, match=r"judge planted answered 3; expected probabilities in 0…1"):
        score(rows(2), Wrong(1, 0), tmp_path)


def test_a_judge_is_loaded_only_where_comparisons_are_asked(tmp_path):
    judge = Planted(1, 0)
    assert load_any(judge) is judge
    with pytest.raises(InputError, match="planted is a pairwise judge, which compares and gives no scores"):
        load(judge)
    score(rows(5), judge, tmp_path)
    with pytest.raises(InputError, match="planted is a pairwise judge, whose table has comparisons"):
        read_score_tables([tmp_path])


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ([[0.5]], "expected two probabilities for each comparison"),
        ([[0.5, 1.5]], "expected two probabilities for each comparison"),
        ([["a", "b"]], "expected lists of numbers"),
        ([0.5], "expected lists of numbers"),
    ],
)
def test_a_table_of_others_is_checked(cells, problem, tmp_path):
    found = score(rows(1), Planted(1, 0), tmp_path).head(1)
    file = tmp_path / "other.parquet"
    found.with_columns(pl.Series("image_answers", cells)).write_parquet(file)
    with pytest.raises(InputError, match=rf"column 'image_answers'.*{problem}"):
        read_score_tables([file], protocol="hum", judges=True)
    found.drop("image_answers").write_parquet(file)
    with pytest.raises(InputError, match="image_answers"):
        read_score_tables([file], protocol="hum", judges=True)


def test_the_same_prompts_and_image_are_asked_once_in_a_part(tmp_path):
    judge = Planted(1, 0)
    twice = [rows(1)[0] | {"check_id": name} for name in ("a", "b")]
    assert len(score(twice, judge, tmp_path)) == 6
    assert max(Counter(judge.asked).values()) == 1
