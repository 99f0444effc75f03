"""Scene → text → scene."""

from __future__ import annotations

import pytest

from croc_syn.world import CONTRASTS, PromptError, Scene, describe, make_pair, parse, sample, satisfies

KEYS = sorted(CONTRASTS)


def scenes(count: int, start: int = 0) -> list[Scene]:
    """Random scenes from prompts of all contrasts."""
    return [
        sample(make_pair(KEYS[seed % len(KEYS)], seed=seed).prompt, seed)
        for seed in range(start, start + count)
    ]


def round_trip(count: int, start: int) -> tuple[int, int]:
    """Scene → text → scene; how many were tried, and how many texts were too crowded to be drawn again."""
    crowded = tried = 0
    for seed, scene in enumerate(scenes(count, start)):
        for detail in (1.0, 0.5):
            meaning = parse(describe(scene, seed, detail=detail))
            assert satisfies(scene, meaning), meaning.text
            tried += 1
            try:
                again = sample(meaning, seed)
            except PromptError:
                crowded += 1
                continue
            assert satisfies(again, meaning), meaning.text
            if detail == 1.0:
                # A full statement fixes what can be said of each thing.
                assert satisfies(
                    again, parse(describe(scene, seed + 1, relations=0).replace(", and nothing else", ""))
                )
    return tried, crowded


def test_what_is_said_of_a_scene_is_true_and_can_be_drawn_again():
    tried, crowded = round_trip(1000, 0)
    assert tried == 2000
    assert crowded < tried / 50


@pytest.mark.slow
def test_round_trip_on_many_thousands():
    tried, crowded = round_trip(6000, 10_000)
    assert crowded < tried / 50


def test_descriptions_vary_with_the_seed():
    scene = sample("a red dog left of a blue cat in a park", 2)
    assert len({describe(scene, seed, detail=0.5) for seed in range(20)}) > 12


def test_a_full_description_tells_scenes_apart():
    one, other = sample("a red dog", 1), sample("a red dog", 2)
    assert not (satisfies(one, describe(other)) and satisfies(other, describe(one)))


def test_a_description_names_what_is_unusual():
    scene = sample("a person with three arms", 1)
    assert "three arms" in describe(scene)
