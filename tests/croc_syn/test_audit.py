"""The audit passes on sound data and finds the leaks that are put into it."""

from __future__ import annotations

import json
import random

import polars as pl
import pytest

from builders.syn import build_exact
from croc.tables.columns import SCORE_COLUMNS
from croc.tables.metadata import ScoreMetadata
from croc.tables.writers import write_scores
from croc_syn.audit import BASELINES, IMAGE_BASELINES, ORACLE, TEXT_BASELINES, evaluate_tables, word_weights


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("audited") / "syn"
    return build_exact(out, checks=90, images=2, size=64, seed=2, progress=False)


def tables(folder, oracle, probe, checks=400, images=2, name="probe"):
    """Score tables of two scorers given as functions of (check, side of the image, side of the prompt)."""
    files = {}
    for scorer, function in ((ORACLE, oracle), (name, probe)):
        rows = [
            {
                **dict.fromkeys(SCORE_COLUMNS),
                "check_id": f"check {check}",
                "concept_id": f"concept {check // 2}",
                "subset": "property_variation",
                "property": "colour" if check % 2 else "count",
                "image_side": side,
                "image_index": index,
                "prompt_score": function(check, side, "original"),
                "contrast_score": function(check, side, "contrast"),
            }
            for check in range(checks)
            for side in ("original", "contrast")
            for index in range(images)
        ]
        files[scorer] = folder / f"{scorer}.parquet"
        table = pl.DataFrame(rows, infer_schema_length=None).to_arrow()
        write_scores(table, ScoreMetadata(scorer, protocol="syn", baseline=scorer != ORACLE), files[scorer])
    return files


# Two checks per concept.
CONCEPTS = {"all": 200, "property_variation": 200}


def sees(check, image, prompt):
    return float(image == prompt)


def coin(check, image, prompt):
    """A text-only scorer whose preference has nothing to do with which prompt is the original."""
    return random.Random(f"{check} {prompt}").random()


def test_the_oracle_passes_every_check_of_a_build_and_baselines_are_at_chance_level(built):
    audit = built.audit
    assert audit["passed"], audit["lines"]
    assert audit["checks"] == built.checks
    assert set(audit["baselines"]) == set(BASELINES)
    assert audit["groups"] > 5
    assert json.loads((built.out / "audit.json").read_text()) == audit
    readme = (built.out / "README.md").read_text()
    assert all(line in readme for line in audit["lines"])


def test_sound_scores_pass(tmp_path):
    audit = evaluate_tables(tables(tmp_path, sees, coin), CONCEPTS)
    assert audit.passed
    assert audit.groups == 3
    assert audit.checks == 400


def test_an_oracle_that_is_wrong_in_one_property_is_named(tmp_path):
    def mistaken(check, image, prompt):
        return 1.0 if check == 7 and prompt == "contrast" else sees(check, image, prompt)

    audit = evaluate_tables(tables(tmp_path, mistaken, coin), CONCEPTS)
    assert not audit.passed
    assert any(place.startswith("property colour forward_text") for place in audit.oracle_errors)
    assert not any("count" in place for place in audit.oracle_errors)
    assert audit.lines()[0].startswith("The oracle is wrong")


@pytest.mark.parametrize("lean", [0.65, 0.35])
def test_a_text_that_tells_which_prompt_is_the_original_is_a_leak(tmp_path, lean):
    def leaky(check, image, prompt):
        original_wins = random.Random(check).random() < lean
        return float((prompt == "original") == original_wins)

    audit = evaluate_tables(tables(tmp_path, sees, leaky), CONCEPTS)
    assert not audit.passed
    assert not audit.oracle_errors
    # 400 checks in 200 concepts: 0.15 is about six standard errors.
    assert any(leak.startswith("probe forward_text") for leak in audit.leaks)
    assert audit.lines()[1].startswith("Baselines are not at chance level: probe")


def test_an_image_that_tells_its_side_is_a_leak_of_the_image_directions_alone(tmp_path):
    def leaky(check, image, prompt):
        noise = random.Random(f"{check} {image}").random()
        return noise + 0.4 * (image == "original")

    audit = evaluate_tables(tables(tmp_path, sees, leaky), CONCEPTS)
    assert {leak.split()[1].rstrip(":") for leak in audit.leaks} == {"forward_image", "inverse_image"}


def test_word_weights_are_log_odds_with_one_added():
    weights = word_weights(["a red dog", "a Red cat"], ["a blue dog", "no cat"])
    # red stands in two originals and no contrast: log(3/1); no in one contrast: log(1/2); dog in both: 0.
    assert weights["red"] == pytest.approx(1.0986122886681098)
    assert weights["no"] == pytest.approx(-0.6931471805599453)
    assert weights["dog"] == weights["cat"] == 0.0


def test_text_baselines_count_what_they_say():
    prompt = "no dog, three cats and not two birds without nine nests"
    assert TEXT_BASELINES["negation-words"](prompt) == 3
    assert TEXT_BASELINES["number-words"](prompt) == 3 + 2 + 9
    assert TEXT_BASELINES["prompt-length"]("abc") == 3
    assert TEXT_BASELINES["text-hash"]("a") != TEXT_BASELINES["text-hash"]("b")


def test_image_baselines_measure_what_they_say():
    import numpy as np

    # Half black, one quarter white, one quarter red.
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[2:, :2] = 255
    pixels[2:, 2:, 0] = 255
    assert IMAGE_BASELINES["brightness"](pixels, b"") == pytest.approx(255 * (0.25 + 0.25 / 3))
    assert IMAGE_BASELINES["covered-area"](pixels, b"") == pytest.approx(0.5)
    assert IMAGE_BASELINES["colourfulness"](pixels, b"") == pytest.approx(255 * 0.25)
    # One of three steps down, of 255 and 85; one of three steps across, in half of the rows, of 170.
    assert IMAGE_BASELINES["edges"](pixels, b"") == pytest.approx((255 + 85) / 2 / 3 + 170 / 2 / 3)
    assert IMAGE_BASELINES["file-size"](pixels, b"12345") == 5
