"""Calibration: what is fitted against scikit-learn, figures by hand, and what the checkpoint keeps of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
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


def questions_on(concepts, labels):
    """Questions without images, one per label; concept i % concepts."""
    return [
        {
            "label": bool(label),
            "concept_id": f"c{number % concepts}",
            "check_id": f"k{number}",
            "prompt": f"p{number}",
            "image_side": "original",
            "image_index": 0,
        }
        for number, label in enumerate(labels)
    ]


def test_the_expected_measures_are_those_of_simulated_answers():
    from sklearn.metrics import brier_score_loss, log_loss

    rng = np.random.default_rng(1)
    chances = home.probabilities(rng.normal(0, 2, 300))
    simulated = []
    for _ in range(2_000):
        labels = rng.random(300) < chances
        measures = home.expected_error(chances, labels), brier_score_loss(labels, chances)
        simulated.append((*measures, log_loss(labels, chances)))
    error, brier, loss = home.expected_measures(chances, seed=2)
    assert (error, brier, loss) == pytest.approx(np.mean(simulated, axis=0), rel=0.02)
    assert error > 0.03
    assert home.expected_measures(chances, seed=2) == (error, brier, loss)
    assert home.expected_measures(np.tile(chances, 16))[0] < error / 3


def test_parameters_are_used_where_they_improve_the_cross_fitted_log_loss():
    margins, labels = sample()
    found, after = home.evaluate_margins(margins, questions_on(50, labels))
    assert found.improves and (found.a, found.b) == (found.fitted_a, found.fitted_b) == home.fit(
        margins, labels
    )
    assert found.temperature == pytest.approx(1 / found.a)
    assert found.log_loss < found.log_loss_before and found.brier < found.brier_before
    # The answers follow the fitted probabilities, and not σ(margin).
    assert found.log_loss == pytest.approx(found.log_loss_expected, abs=0.02)
    assert found.log_loss_before > found.log_loss_before_expected + 0.2
    assert found.ece < 2 * found.ece_expected and found.ece_before > 5 * found.ece_before_expected
    assert len(after) == len(margins)


def test_the_identity_is_kept_where_fitting_does_not_improve_the_log_loss():
    margins, labels = sample(200, a=1.0, b=0.0)
    found, _ = home.evaluate_margins(margins, questions_on(20, labels))
    assert found.log_loss >= found.log_loss_before
    assert not found.improves and (found.a, found.b, found.temperature) == (1.0, 0.0, 1.0)
    assert (found.fitted_a, found.fitted_b) == home.fit(margins, labels)


def test_sources_have_the_same_weight_however_many_questions_they_have():
    from sklearn.linear_model import LogisticRegression

    first, second = sample(3_000, a=0.8, b=0.0), sample(300, a=0.1, b=-1.0, seed=1)
    margins, labels = (np.concatenate(parts) for parts in zip(first, second, strict=True))
    rows = [
        row | {"source": source, "concept_id": f"{source} {row['concept_id']}"}
        for source, answers in (("questions", first[1]), ("probes", second[1]))
        for row in questions_on(20, answers)
    ]
    weights = home.source_weights([row["source"] for row in rows])
    assert weights[0] == pytest.approx(0.55) and weights[-1] == pytest.approx(5.5)
    found, _ = home.evaluate_margins(margins, rows)
    other = LogisticRegression(C=1e9, tol=1e-10).fit(margins[:, None], labels, sample_weight=weights)
    assert (found.fitted_a, found.fitted_b) == pytest.approx(
        (other.coef_[0, 0], other.intercept_[0]), rel=1e-2
    )
    assert [(one.source, one.questions) for one in found.sources] == [("questions", 3_000), ("probes", 300)]
    assert found.log_loss == pytest.approx(np.mean([one.log_loss for one in found.sources]))
    assert found.brier_before == pytest.approx(np.mean([one.brier_before for one in found.sources]))
    assert home.Calibration.from_dict(found.to_dict()) == found


def test_questions_on_one_concept_are_refused_by_its_name():
    margins = np.tile([1.0, -1.0], 10) + 0.5 * np.sin(np.arange(20))
    with pytest.raises(InputError, match=r"at least 2 concepts.*all 20 questions are on 'c0'"):
        home.evaluate_margins(margins, questions_on(1, margins > 0))


def test_a_concept_that_has_all_the_answers_of_one_kind_is_named():
    labels = [True, False, True, True, True, True]
    rows = questions_on(3, labels)
    rows[1]["concept_id"] = "the only No"
    with pytest.raises(InputError, match="without the questions on 'the only No' there is only one answer"):
        home.evaluate_margins(np.array([1.0, -1.0, 1.5, 0.5, 2.0, 1.0]), rows)


def test_margins_that_are_not_finite_are_counted_and_the_first_is_named():
    margins, labels = sample(20)
    rows = questions_on(20, labels)
    margins[[3, 7]] = np.nan, np.inf
    with pytest.raises(
        InputError, match=r"2 of 20 margins are not finite numbers.*nan, of check 'k3' and prompt 'p3'"
    ):
        home.evaluate_margins(margins, rows)
    with pytest.raises(InputError, match="the margin of question 4 is nan, not a finite number"):
        home.fit(margins, labels)


def test_the_shipped_calibration_and_one_with_an_unknown_key():
    figures = json.loads((Path(home.__file__).parent / "weights/tiny/calibration.json").read_text())
    assert home.Calibration.from_dict(figures).questions == figures["questions"]
    with pytest.raises(InputError, match="not a calibration: sharpness"):
        home.Calibration.from_dict(figures | {"sharpness": 1.0})
    del figures["a"]
    with pytest.raises(InputError, match="not a calibration: a"):
        home.Calibration.from_dict(figures)


def test_the_guide_quotes_the_measures_on_the_sample():
    from sklearn.metrics import log_loss

    root = Path(home.__file__).parents[1]
    file = root / "croc" / "sample" / "results" / "syn" / "crocscore-tiny.parquet"
    table = pl.read_parquet(file, glob=False)
    matches = table["image_side"].to_numpy() == "original"
    margins = np.concatenate([table["prompt_score"].to_numpy(), table["contrast_score"].to_numpy()])
    labels = np.concatenate([matches, ~matches])
    figures = json.loads((root / "crocscore" / "weights" / "tiny" / "calibration.json").read_text())
    stored = home.probabilities(margins, figures["a"], figures["b"])
    numbers = log_loss(labels, stored), home.expected_measures(stored)[2]
    page = " ".join((root / "docs" / "crocscore.md").read_text("utf-8").split())
    quoted = re.search(
        r"On the ([\d,]+) images of the sample .* the log loss is ([\d.]+) for the stored probability; "
        r"a perfectly calibrated model has ([\d.]+)\. ",
        page,
    )
    assert quoted is not None
    assert quoted.groups() == (f"{len(table):,}", *(f"{number:.3f}" for number in numbers))


def test_the_guide_quotes_the_stored_measures():
    root = Path(home.__file__).parents[1]
    figures = json.loads((root / "crocscore" / "weights" / "tiny" / "calibration.json").read_text())
    page = (root / "docs" / "crocscore.md").read_text("utf-8")
    for label, name in (("Brier score", "brier"), ("log loss", "log_loss"), ("ECE", "ece")):
        cells = [
            f"{figures[name + kind]:.4f} ({figures[f'{name}{kind}_expected']:.4f})"
            for kind in ("_before", "")
        ]
        assert f"| {label} | {' | '.join(cells)} |" in page


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


@pytest.mark.parametrize(("scale", "improves"), [(1.5, False), (9.0, True)])
def test_a_checkpoint_keeps_its_calibration_and_the_card_shows_it(
    data, tmp_path, monkeypatch, scale, improves
):
    model, processor = tiny.llava()
    model.config.croc = {"answers": ["Yes", "No"]}
    folder = tiny.save(model, processor, tmp_path / "model")
    rows = home.read_questions(data, "train")
    labels = np.array([row["label"] for row in rows])
    # With means ±0.75 and variance 1, the logit of Yes is 1.5 times the value.
    told = scale * (np.where(labels, 0.75, -0.75) + np.random.default_rng(0).normal(0, 1, len(rows)))
    monkeypatch.setattr(home, "_margins", lambda scorer, rows: told)
    words = ["calibrate", str(folder), "--questions", str(data), "--split", "train"]
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code == 0 and "AUROC" in done.output
    assert ("temperature" in done.output) is improves
    assert ("does not improve the cross-fitted log loss" in done.output) is not improves
    figures = json.loads((folder / "calibration.json").read_text())
    assert figures["improves"] is improves and ((figures["a"], figures["b"]) == (1, 0)) is not improves
    scorer = CROCScore.from_pretrained(folder, device="cpu")
    assert scorer.settings.calibration == ((figures["a"], figures["b"]) if improves else None)
    assert (scorer.explain(tiny.picture(1), "a red dog").probability is not None) is improves
    assert scorer.settings.answers == ("Yes", "No")
    np.testing.assert_allclose(
        scorer.probability_of([0.3]), home.probabilities([0.3], figures["a"], figures["b"])
    )
    assert figures["contrasts"] == 4 * len(rows) / 4 and figures["auroc"] > 0.6
    assert 0 <= figures["ece"] < 0.4 and figures["ties_fp32"] == 0
    assert home.Calibration.from_dict(figures).to_dict() == figures
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
    with pytest.raises(InputError, match=r"has no data/nothing-\*"):
        home.read_questions(data, "nothing")
    with pytest.raises(InputError, match="not the folder of a model"):
        home.calibrate(tmp_path, data)
