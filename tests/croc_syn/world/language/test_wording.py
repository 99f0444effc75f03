"""Wording: one meaning in many forms, each of which is read as that meaning."""

from __future__ import annotations

import re

import pytest

from croc_syn.world import CONTRASTS, KINDS, describe, make_pair, parse, sample, satisfies
from croc_syn.world.declarations import lexicon
from croc_syn.world.language import synonyms
from croc_syn.world.language.wording import FRAMES, canonical, reword

PROMPTS = [
    (key, side)
    for key in sorted(CONTRASTS)
    for seed in range(6)
    for pair in [make_pair(key, seed=seed)]
    for side in (pair.prompt, pair.contrast_prompt)
]


@pytest.mark.world_tables
@pytest.mark.parametrize("key", sorted(CONTRASTS))
def test_another_wording_has_the_same_meaning(key: str) -> None:
    texts = set()
    for prompt in [prompt for own, prompt in PROMPTS if own == key]:
        for seed in range(20):
            text = reword(prompt, str(seed))
            assert canonical(parse(text)) == canonical(parse(prompt)), text
            assert text == reword(prompt, str(seed))
            texts.add(text)
    assert len(texts) > 60


@pytest.mark.parametrize("frame", FRAMES)
def test_the_example_of_a_frame_is_controlled_english(frame: str) -> None:
    parse(FRAMES[frame])


_MARKS = {
    "there is": "^there is a red dog",
    "picture of": "a photo of",
    "place first": "^in the park",
    "statement": "dog is red",
    "that is": "that is red",
    "relation that is": "that is to the left of",
    "relation statement": "dog is to the left of",
    "relation first": "to the left of a cat there is a dog",
    "sides": "at the left",
    "distribution": "two dogs, one red and one blue",
    "no": "a dog and no cat",
    "without": "a dog without a cat",
    "there is no": "a dog, and there is no cat",
    "not a single": "not a single cat",
    "is missing": "a cat is missing",
    "neither": "neither a cat nor a bird",
    "only": "only a dog",
    "nothing else": "a dog and nothing else",
}
"""By frame, an expression for words that its example has in no other frame."""


@pytest.mark.parametrize("frame", sorted(_MARKS))
def test_a_frame_is_used_unless_it_is_left_out(frame: str) -> None:
    every = {reword(FRAMES[frame], str(seed)) for seed in range(600)}
    others = {reword(FRAMES[frame], str(seed), frames=FRAMES.keys() - {frame}) for seed in range(600)}
    original = FRAMES[frame]
    assert any(re.search(_MARKS[frame], text) for text in every)
    assert not any(re.search(_MARKS[frame], text) and text != original for text in others)


def test_every_synonym_is_written() -> None:
    written = " | ".join(
        reword(f"a {word} dog", str(n)) for word in ("red", "large", "dotted") for n in range(200)
    )
    assert all(word in written for word in (*lexicon.COLOURS["red"].words, *lexicon.SIZES["large"].words))
    assert all(word in written for word in (*synonyms.BEFORE["large"], *synonyms.AFTER["dotted"], "puppy"))
    nouns = {reword(f"two {kind.plurals[0]}", str(n)) for kind in KINDS.values() for n in range(60)}
    spellings = [word for kind in KINDS.values() for word in kind.plurals]
    assert [word for word in spellings if not any(text.endswith(word) for text in nouns)] == []


def test_prompts_that_differ_in_one_value_get_the_same_wording() -> None:
    pairs = [(reword("a red dog", str(n)), reword("a blue dog", str(n))) for n in range(100)]
    same = [a for a, b in pairs if any(a.replace(word, "blue") == b for word in lexicon.COLOURS["red"].words)]
    assert len(same) > 90


@pytest.mark.parametrize("seed", range(12))
def test_a_scene_is_described_in_another_wording_and_satisfies_it(seed: int) -> None:
    pair = make_pair(sorted(CONTRASTS)[seed % len(CONTRASTS)], seed=seed)
    scene = sample(pair.prompt, seed)
    for prompt in (pair.prompt, describe(scene, seed, detail=0.5, relations=1)):
        for number in range(10):
            assert satisfies(scene, reword(prompt, f"{seed}/{number}"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("two dogs, one red and one blue", "a red dog and a blue dog"),
        ("three dogs: two of them are red and the other is blue", "two red dogs and a blue dog"),
        ("two dogs, one running and one sitting", "a dog running and a dog sitting"),
        ("a dog on the left and a cat on the right", "a dog to the left of a cat"),
        ("at the top there is a dog, at the bottom a cat", "a dog above a cat"),
        ("a running dog", "a dog running"),
        ("a cat is missing", "no cat"),
        ("no cat can be seen", "no cat"),
        ("a dog, not a cat", "a dog and no cat"),
        ("in the park there is a dog", "a dog in a park"),
        ("you can see both a dog and a cat", "a dog and a cat"),
        ("to the left of a cat you can see a dog", "a dog to the left of a cat"),
        ("a dog that does not have a tail", "a dog with no tail"),
        ("a photo of a dog that has exactly three legs", "a dog with three legs"),
    ],
)
def test_frames_that_people_use(one: str, other: str) -> None:
    assert canonical(parse(one)) == canonical(parse(other))


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("a dog on the left", "a side needs another thing on the opposite side"),
        ("a dog in a row is missing", "a single thing cannot be arranged"),
        ("a running apple", "it has only one pose"),
    ],
)
def test_what_has_no_meaning_is_refused(prompt: str, message: str) -> None:
    from croc_syn.world import PromptError

    with pytest.raises(PromptError, match=message):
        parse(prompt)
