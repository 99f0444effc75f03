"""The written meaning of the controlled English names what the program knows, and its examples run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from croc_syn.world import CONTRASTS, KINDS, PLACES, RELATIONS, parse
from croc_syn.world.declarations.lexicon import IMAGE_DIMENSIONS, LAYOUTS, NUMBERS, THING_DIMENSIONS
from croc_syn.world.language import synonyms

GUIDE = (Path(__file__).parents[3] / "docs" / "exact_world.md").read_text("utf-8")


def test_every_word_is_in_the_guide():
    words = [
        word
        for table in (*THING_DIMENSIONS.values(), *IMAGE_DIMENSIONS.values())
        for v in table.values()
        for word in (*v.words, *v.after)
    ]
    words += [word for value in LAYOUTS.values() for word in value.after]
    words += [word for entry in (*RELATIONS.values(), *PLACES.values()) for word in entry.words]
    words += list(NUMBERS)
    assert [word for word in words if f"`{word}`" not in GUIDE] == []


def test_every_kind_and_its_parts_are_in_the_guide():
    for kind in KINDS.values():
        row = next(line for line in GUIDE.splitlines() if line.startswith(f"| {', '.join(kind.words)} |"))
        for part in kind.parts:
            assert f"{part.plural_word} {part.low}–{part.high}" in row
        for pose in kind.poses:
            assert pose.words[0] in row


def test_every_contrast_is_in_the_guide():
    for contrast in CONTRASTS.values():
        assert f"| {contrast.key} | {contrast.category or '–'} | {contrast.how} |" in GUIDE


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL))
def test_the_examples_run(code: str):
    exec(compile(code, "docs/exact_world.md", "exec"), {})


def test_the_prompts_of_the_guide_are_controlled_english():
    prompts = ["a red dog and two blue dogs", "a dog, and a cat that is to the left of a table"]
    prompts += [
        "a red dog and a cat. the dog is larger than the cat",
        "a dog to the left of a cat and above a ball",
    ]
    prompts += [
        "to the left of a cat there is a dog",
        "neither a cat nor a bird",
        "three small striped balls",
    ]
    for prompt in prompts:
        # The guide wraps lines.
        assert prompt in " ".join(GUIDE.split()), prompt
        parse(prompt)


def test_every_synonym_is_in_the_guide():
    tables = (synonyms.BEFORE, synonyms.AFTER, synonyms.LAYOUTS, synonyms.WHOLE_IMAGE, synonyms.RELATIONS)
    words = [word for table in (*tables, synonyms.SIDES) for phrases in table.values() for word in phrases]
    words += [
        word for kind in KINDS.values() for pair in synonyms.nouns(kind)[len(kind.words) :] for word in pair
    ]
    for phrases in (synonyms.OPENERS, synonyms.NONE, synonyms.ABSENT, synonyms.PRESENT, synonyms.ONLY):
        words += phrases
    words += [*synonyms.WITH, *synonyms.WITHOUT, *synonyms.AND, *synonyms.GROUP_OF, *synonyms.THERE]
    assert [word for word in words if f"`{word}`" not in GUIDE] == []
