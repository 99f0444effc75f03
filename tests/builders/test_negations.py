"""Questions get clauses with a negation, and the answer of the oracle."""

from __future__ import annotations

from builders.negations import with_negations
from croc_syn.world import draw, parse, read_scene, satisfies


def questions(number):
    for seed in range(number):
        prompt = ("a red dog", "two cats", "a dog and no cat")[seed % 3]
        image = {"bytes": draw(prompt, seed=seed, size=64).png, "path": None}
        yield {"image": image, "prompt": prompt, "label": True, "answer": "Yes", "check_id": str(seed)}


def test_answers_to_longer_prompts_are_those_of_the_oracle():
    old = list(questions(60))
    new = list(with_negations(old, seed=1))
    changed = [row for row, before in zip(new, old, strict=True) if row["prompt"] != before["prompt"]]
    assert 12 <= len(changed) <= 34
    assert {row["label"] for row in changed} == {True, False}
    for row in changed:
        assert row["label"] == satisfies(read_scene(row["image"]["bytes"]), parse(row["prompt"]))
        assert row["answer"] == ("Yes" if row["label"] else "No")


def test_prompts_with_a_negation_and_all_other_columns_stay():
    old = list(questions(60))
    for row, before in zip(with_negations(old, seed=1), old, strict=True):
        assert {**row, "prompt": 0, "label": 0, "answer": 0} == {
            **before,
            "prompt": 0,
            "label": 0,
            "answer": 0,
        }
        if " no " in before["prompt"]:
            assert row == before


def test_the_same_seed_gives_the_same_questions():
    assert list(with_negations(questions(12), seed=3)) == list(with_negations(questions(12), seed=3))
