"""CROCScore as a scorer: one interface over yes/no models, probabilities, clauses, checks."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models as tiny

from builders.syn import build_exact
from croc.errors import CrocError, InputError
from croc.scorers.clauses import clauses
from croc.scorers.pairs import UnscoredPairs
from croc.scorers.registry import load
from croc.scorers.yes_no import YesNo
from croc.scoring.run import ScoringSettings
from crocscore import model as home
from crocscore.model import CROCScore

PROMPT = "a red dog and no cat, on the table"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save(*tiny.llava(), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def scorer(folder):
    return CROCScore.from_pretrained(folder, device="cpu", name="small")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red dog", ["a red dog"]),
        (PROMPT, ["a red dog", "no cat", "on the table"]),
        ("A dog. The cat is left of it.", ["A dog", "The cat is left of it"]),
        ("a dog between a cat and a box and a ball", ["a dog between a cat and a box and a ball"]),
        ("a dog between a cat and a box, and a ball", ["a dog between a cat and a box", "a ball"]),
        ("a sandcastle and android dog", ["a sandcastle", "android dog"]),
        ("  , and .  ", []),
        ("", []),
    ],
)
def test_clauses_are_spans_without_the_joining_words(prompt, expected):
    assert [prompt[a:b] for a, b in clauses(prompt)] == expected


def test_scores_are_the_margins_of_the_yes_no_scorer(scorer, folder):
    images, prompts = [tiny.picture(seed) for seed in range(3)], ["a dog", "a cat", "two dogs"]
    plain = YesNo(folder, device="cpu")
    np.testing.assert_allclose(scorer.score(images, prompts), plain.score(images, prompts), atol=1e-9)


def test_probabilities_rise_with_the_margin_and_follow_the_calibration(folder):
    scorer = CROCScore.from_pretrained(folder, device="cpu", calibration=(0.5, -1.0))
    images, prompts = [tiny.picture(seed) for seed in range(3)], ["a dog", "a cat", "two dogs"]
    margins = scorer.score(images, prompts)
    shown = scorer.score(images, prompts, probability=True)
    np.testing.assert_allclose(shown, 1 / (1 + np.exp(-(0.5 * margins - 1.0))), rtol=1e-9)
    extreme = scorer.probability_of([-1e9, 1e9])
    assert extreme.tolist() == [0.0, 1.0]


def test_an_explanation_scores_each_clause_as_if_asked_alone(scorer):
    image = tiny.picture(1)
    told = scorer.explain(image, PROMPT)
    assert [PROMPT[c.start : c.end] for c in told.clauses] == [c.text for c in told.clauses]
    alone = scorer.score([image] * 4, [PROMPT, "a red dog", "no cat", "on the table"])
    np.testing.assert_allclose([told.margin, *(c.margin for c in told.clauses)], alone, atol=1e-4)
    assert told.worst.margin == min(c.margin for c in told.clauses)


def test_a_prompt_of_one_clause_explains_itself(scorer):
    told = scorer.explain(tiny.picture(1), "a red dog")
    assert [c.text for c in told.clauses] == ["a red dog"]
    assert told.clauses[0].margin == told.margin


def test_an_empty_prompt_is_refused(scorer):
    with pytest.raises(UnscoredPairs):
        scorer.explain(tiny.picture(1), " ")


def test_checks_give_a_score_table(scorer, tmp_path):
    built = build_exact(tmp_path / "syn", checks=4, images=2, size=48, progress=False)
    table = scorer.score_checks(
        str(built.out), settings=ScoringSettings(protocol="syn", progress=False), split="test"
    )
    assert table.height == 4 * 2 * 2
    assert table["error"].null_count() == table.height
    assert table["prompt_score"].is_finite().all()


def test_scales_are_chosen_per_call(folder):
    with pytest.raises(InputError, match="score"):
        CROCScore(folder, probability=True)


def test_the_published_scale_is_an_argument_of_scores_or_of_the_scorer(folder, scorer):
    images, prompts = [tiny.picture(seed) for seed in range(3)], ["a dog", "a cat", "two dogs"]
    expected = YesNo(folder, device="cpu", paper=True).score(images, prompts)
    margins = scorer.score(images, prompts)
    np.testing.assert_allclose(scorer.score(images, prompts, paper=True), expected, atol=1e-9)
    np.testing.assert_allclose(scorer.score(images, prompts), margins, atol=1e-9)
    named = load("crocscore", model=str(folder), device="cpu", paper=True)
    np.testing.assert_allclose(named.score(images, prompts), expected, atol=1e-9)
    np.testing.assert_allclose(named.score_prompts(images[0], prompts[:1]), expected[:1], atol=1e-6)
    assert named.fields()["formula"] == "P(Yes)-P(No)"
    assert named.explain(images[0], prompts[0]).margin == pytest.approx(margins[0], abs=1e-4)
    for ask in (
        lambda: scorer.score(images, prompts, probability=True, paper=True),
        lambda: named.score(images, prompts, probability=True),
    ):
        with pytest.raises(InputError, match="probability and paper are two scales: choose one"):
            ask()


def test_without_weights_the_default_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(home, "WEIGHTS", tmp_path)
    with pytest.raises(CrocError, match="model="):
        CROCScore.from_pretrained()


def test_a_signature_of_probabilities_has_the_calibration(folder):
    from crocscore.crocscore import Crocscore

    metric = Crocscore()
    calibrated = CROCScore.from_pretrained(folder, device="cpu", calibration=(0.5, -1.0))
    assert metric.fields(calibrated, probability=True)["calibration"] == "0.5*margin-1"
    assert "calibration" not in metric.fields(calibrated)
    plain = CROCScore.from_pretrained(folder, device="cpu")
    assert metric.fields(plain, probability=True)["calibration"] == "none"
