"""Calibration: what is fitted against scikit-learn, figures by hand, and what the checkpoint keeps of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny_models as tiny
from click.testing import CliRunner
from PIL import Image
from tiny_training import checks_and_questions

from croc.cli import main
from croc.errors import InputError
from crocscore import calibration as home
from crocscore.model import CROCScore
from hub_cards import model_card

sklearn = pytest.importorskip("sklearn", reason="calibrating needs the extra train")


def sample(n=4_000, a=0.4, b=-0.3, seed=0):
    """Margins whose answers follow σ(a · margin + b)."""
    rng = np.random.default_rng(seed)
    margins = rng.normal(0, 5, n)
    return margins, rng.random(n) < home.probabilities(margins, a, b)


def test_the_fit_is_that_of_an_unpenalised_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    margins, labels = sample()
    a, b = home.fit(margins, labels)
    other = LogisticRegression(C=1e9, tol=1e-10).fit(margins[:, None], labels)
    assert (a, b) == pytest.approx((other.coef_[0, 0], other.intercept_[0]), rel=1e-3)
    assert a == pytest.approx(0.4, abs=0.03) and b == pytest.approx(-0.3, abs=0.1)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_scale_of_the_margins_does_not_matter(scale):
    margins, labels = sample()
    a, b = home.fit(margins, labels)
    assert home.fit(scale * margins, labels) == pytest.approx((a / scale, b), rel=1e-4)


def test_answers_that_are_told_apart_without_an_error_give_a_finite_temperature():
    a, b = home.fit([-2.0, -1.0, 1.0, 2.0], [False, False, True, True])
    assert 1 < a < 100 and abs(b) < 1


@pytest.mark.parametrize(
    ("margins", "labels", "message"),
    [
        ([1.0, 2.0], [True, True], "both answers"),
        ([1.0, -1.0, 2.0, -2.0], [0, 1, 0, 1], "cannot be calibrated"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(margins, labels, message):
    with pytest.raises(InputError, match=message):
        home.fit(margins, labels)


def test_the_expected_error_is_the_one_by_hand():
    # Two bins of 10: |0.5 − 0.15| for two questions, |1 − 0.95| for one: (2 · 0.35 + 0.05) / 3.
    assert home.expected_error([0.12, 0.18, 0.95], [0, 1, 1], bins=10) == pytest.approx(0.25)
    assert home.expected_error([1.0, 0.0], [1, 0]) == 0


def test_reliability_is_that_of_scikit_learn():
    from sklearn.calibration import calibration_curve

    margins, labels = sample()
    chances = home.probabilities(margins)
    mean, share, count = home.reliability(chances, labels)
    other_share, other_mean = calibration_curve(labels, chances, n_bins=home.BINS)
    np.testing.assert_allclose(mean, other_mean)
    np.testing.assert_allclose(share, other_share)
    assert count.sum() == len(margins)


def test_ties_are_counted_where_bf16_cannot_tell_probabilities_apart():
    # Below 1 bf16 moves in steps of 1/256: σ(7) and σ(8) both round to 1, σ(0) and σ(1) do not.
    margins = [7.0, 8.0, 0.0, 1.0, 2.0, 2.0]
    assert home.ties(margins, [(0, 1), (2, 3), (4, 5)]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def question(check, side, asked):
    return {"check_id": check, "image_side": side, "image_index": 0, "prompt": asked, "label": side == asked}


def test_contrasts_differ_in_the_prompt_or_in_the_image_alone():
    rows = [question("c", side, asked) for side in ("a", "b") for asked in ("a", "b")]
    rows.append(question("d", "a", "a"))
    assert sorted(home.contrasts_of(rows)) == [(0, 1), (0, 2), (1, 3), (2, 3)]


def test_no_concept_is_judged_with_what_it_taught():
    margins, labels = sample(400)
    concepts = [str(number % 40) for number in range(400)]
    found = home.cross_fitted(margins, labels, concepts)
    one = np.array([name == "7" for name in concepts])
    changed = labels.copy()
    changed[one] = ~changed[one]
    assert np.array_equal(home.cross_fitted(margins, changed, concepts)[one], found[one])
    assert not np.array_equal(home.cross_fitted(margins, changed, concepts), found)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return checks_and_questions(tmp_path_factory.mktemp("data"), checks=24)[1]


def test_a_checkpoint_keeps_its_calibration_and_the_card_shows_it(data, tmp_path, monkeypatch):
    model, processor = tiny.llava()
    model.config.croc = {"answers": ["Yes", "No"]}
    folder = tiny.save(model, processor, tmp_path / "model")
    rows = home.read_questions(data, "train")
    labels = np.array([row["label"] for row in rows])
    told = np.where(labels, 1.0, -0.5) + np.random.default_rng(0).normal(0, 1, len(rows))
    monkeypatch.setattr(home, "_margins", lambda scorer, rows: told)
    words = ["calibrate", str(folder), "--questions", str(data), "--split", "train"]
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code == 0 and "temperature" in done.output and "AUROC" in done.output
    figures = json.loads((folder / "calibration.json").read_text())
    scorer = CROCScore.from_pretrained(folder, device="cpu")
    assert scorer.settings.calibration == (figures["a"], figures["b"])
    assert scorer.settings.answers == ("Yes", "No")
    np.testing.assert_allclose(
        scorer.probability_of([0.3]), home.probabilities([0.3], figures["a"], figures["b"])
    )
    assert figures["contrasts"] == 4 * len(rows) / 4 and figures["auroc"] > 0.6
    assert 0 <= figures["ece"] < 0.4 and figures["ties_fp32"] == 0
    with Image.open(folder / "calibration.png") as plot:
        assert plot.width > 300
    card = model_card(folder)
    assert f"| auroc | {figures['auroc']:.4f} |" in card and "(calibration.png)" in card


def test_the_margins_are_those_of_the_model(data, tmp_path):
    scorer = CROCScore.from_pretrained(tiny.save(*tiny.llava(), tmp_path / "model"), device="cpu")
    rows = home.read_questions(data, "validation")
    from croc.checks.decoding import decode

    alone = scorer.score([decode(row["image"]["bytes"]) for row in rows[:3]], [r["prompt"] for r in rows[:3]])
    np.testing.assert_allclose(home._margins(scorer, rows[:3]), alone)


def test_whole_checks_are_taken_and_always_the_same(data):
    some = home.read_questions(data, "train", at_most=10)
    assert len(some) == 8
    assert some == home.read_questions(data, "train", at_most=10)


def test_a_split_or_folder_that_is_not_there_is_refused(data, tmp_path):
    with pytest.raises(InputError, match=r"there is no data/nothing-\*"):
        home.read_questions(data, "nothing")
    with pytest.raises(InputError, match="not the folder of a model"):
        home.calibrate(tmp_path, data)
