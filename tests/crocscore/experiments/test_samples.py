"""The choice of samples: planted low margins are hard, planted wrong answers are left out."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_models as tiny
from click.testing import CliRunner
from tiny_training import checks_and_questions

from croc.cli import main
from croc.errors import InputError
from crocscore.experiments.conditions import Condition, change_questions
from crocscore.experiments.image_noise import image_of
from crocscore.experiments.sample_choice import choose, score_pool

IMAGES = 40


def pool(flipped: frozenset[int] = frozenset()) -> pa.Table:
    """Two questions about each image, one in four about shapes; some images have both answers exchanged."""
    rows = range(2 * IMAGES)
    return pa.table(
        {
            "pair_id": [f"p{row}" for row in rows],
            "check_id": [f"c{row // 4}" for row in rows],
            "image_side": [("original", "contrast")[row // 2 % 2] for row in rows],
            "image_index": [0 for _ in rows],
            "property": ["shape" if row // 2 % 4 == 0 else "count" for row in rows],
            "label": [(row % 2 == 0) != (row // 2 in flipped) for row in rows],
        }
    )


def right_scores(margins: dict[int, float], noise: float = 0.0, seed: int = 0) -> dict[str, float]:
    """Scores of a scorer that is right by 1, or by another margin, whatever the level of an image."""
    rng = np.random.default_rng(seed)
    found = {}
    for image in range(IMAGES):
        level = rng.normal(0, 10)
        found[f"p{2 * image}"] = level + margins.get(image, 1.0) + rng.normal(0, noise)
        found[f"p{2 * image + 1}"] = level
    return found


def chosen(rows: pa.Table) -> set[int]:
    return {int(name[1:]) // 2 for name in rows["pair_id"].to_pylist()}


def test_hard_samples_are_those_with_the_lowest_margins():
    planted = {3: 0.1, 7: -2.0, 20: 0.3, 31: 0.0}
    hard = choose(pool(), "hard", 0.1, 0, [right_scores(planted)])
    assert chosen(hard) == set(planted)
    assert Counter(hard["label"].to_pylist()) == {True: 4, False: 4}


def test_an_agreement_drops_planted_wrong_answers():
    flipped = frozenset(range(0, IMAGES, 3))
    scores = [right_scores({}, 0.05, seed) for seed in (1, 2)]
    kept = choose(pool(flipped), "agreement", 1.0, 0, scores)
    assert chosen(kept) == set(range(IMAGES)) - flipped
    # One scorer that is wrong about image 1 is enough to drop it.
    kept = choose(pool(flipped), "agreement", 1.0, 0, [scores[0], right_scores({1: -1.0})])
    assert chosen(kept) == set(range(IMAGES)) - flipped - {1}
    # A single flipped answer is found, too: then both answers are Yes.
    rows = change_questions(pool(), Condition("x", noise=1 / (2 * IMAGES)), 0)
    (wrong,) = [image for image, labels in _labels(rows).items() if len(set(labels)) == 1]
    assert wrong not in set(image_of(choose(rows, "agreement", 1.0, 0, scores)))


def _labels(rows):
    found: dict = {}
    for image, label in zip(image_of(rows), rows["label"].to_pylist(), strict=True):
        found.setdefault(image, []).append(label)
    return found


def test_balanced_samples_have_the_same_number_of_images_of_each_property():
    half = choose(pool(), "balanced", 0.5, 0)
    assert Counter(half["property"].to_pylist()) == {"shape": 20, "count": 20}
    most = choose(pool(), "balanced", 0.75, 0)  # there are only 10 images about shapes
    assert Counter(most["property"].to_pylist()) == {"shape": 20, "count": 40}


def test_random_samples_have_the_shares_of_the_pool_and_depend_on_the_seed():
    first, again, other = (choose(pool(), "random", 0.5, seed) for seed in (0, 0, 1))
    assert len(first) == IMAGES and first.equals(again) and chosen(first) != chosen(other)
    assert {len(labels) for labels in _labels(first).values()} == {2}


@pytest.mark.parametrize(
    ("strategy", "scores", "message"),
    [
        ("easy", [], "'easy'; expected random, balanced, hard, agreement"),
        ("hard", [], "the choice hard needs the scores"),
        ("agreement", [right_scores(dict.fromkeys(range(IMAGES), -1.0))], "agreement leaves no question"),
    ],
)
def test_a_choice_that_is_not_possible_is_refused(strategy, scores, message):
    with pytest.raises(InputError, match=message):
        choose(pool(), strategy, 0.5, 0, scores)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return checks_and_questions(tmp_path_factory.mktemp("data"), checks=24, properties=("colour", "count"))


def test_scores_of_a_pool_are_kept_and_have_to_be_numbers(data, tmp_path):
    rows = pq.read_table(sorted(data[1].glob("data/train-*.parquet"))[0])

    class Length:
        calls = 0

        def score(self, images, prompts):
            self.calls += 1
            return np.array([float(len(prompt)) for prompt in prompts])

    scorer = Length()
    found = score_pool(scorer, rows, tmp_path / "scores.parquet")
    assert found == {row["pair_id"]: float(len(row["prompt"])) for row in rows.to_pylist()}
    calls = scorer.calls
    assert score_pool(scorer, rows, tmp_path / "scores.parquet") == found and scorer.calls == calls
    scorer.score = lambda images, prompts: np.full(len(prompts), np.nan)
    with pytest.raises(InputError, match="no finite score for the question"):
        score_pool(scorer, rows, tmp_path / "none.parquet")


def test_the_experiment_is_one_command_and_objectives_have_the_same_batches(data, tmp_path):
    start = tiny.save(*tiny.llava(), tmp_path / "model")
    shared = ["--questions", str(data[1]), "--checks", str(data[0]), "--split", "train", "--max-checks", "8"]
    quick = ["--steps", "2", "--batch", "4", "--seeds", "1", "--set", "use_cpu=true"]
    out = tmp_path / "samples"
    more = ["--choice", "random", "--choice", "hard", "--share", "0.5", "--label-noise", "0.25"]
    command = ["experiment", "samples", str(start), *shared, *quick, "--out", str(out), *more]
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads((out / "samples.json").read_text())["conditions"]
    assert [each["name"] for each in found] == ["start", "random", "hard"]
    assert found[1]["questions"] == found[2]["questions"] > 0 and found[2]["difference"]["to"] == "random"
    # Both choose from the same pool, of which the answers were flipped before.
    before, after = (
        pa.concat_tables([pq.read_table(file) for file in sorted(folder.glob("data/train-*.parquet"))])
        for folder in (data[1], out / "pool")
    )
    flips = sum(a != b for a, b in zip(before["label"].to_pylist(), after["label"].to_pylist(), strict=True))
    assert flips == round(0.25 * len(before))
    done = CliRunner().invoke(main, [*command, "--choice", "agreement", "--scorer", "random"])
    assert done.exit_code != 0 and "two different scorers" in done.output

    out = tmp_path / "objective"
    done = CliRunner().invoke(
        main,
        ["experiment", "objective", str(start), *shared, *quick, "--out", str(out)],
        catch_exceptions=False,
    )
    assert done.exit_code == 0, done.output
    runs = json.loads((out / "objective.json").read_text())["runs"]
    assert [run["name"] for run in runs] == ["start", "answer", "pairs", "both"]
    assert len({run["signature"].partition("|scorer:")[2] for run in runs}) == 4
    runs = runs[1:]
    assert all(run["answer_loss"] > 0 and run["pairs_loss"] > 0 for run in runs)
    assert runs[2]["loss"] == pytest.approx(runs[2]["answer_loss"] + runs[2]["pairs_loss"], rel=1e-3)
