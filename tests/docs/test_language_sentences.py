"""The page of sentences for reviewers: generated, complete, and true."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from croc.scorers.captions import normalised
from croc_syn import world
from croc_syn.world.declarations import lexicon
from croc_syn.world.language.wording import canonical

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> dict[str, object]:
    return runpy.run_path(str(ROOT / "docs" / "generate_sentences.py"))


@pytest.fixture(scope="module")
def rows() -> list[list[str]]:
    """English, German, Spanish, French."""
    lines = (ROOT / "docs" / "language_sentences.md").read_text("utf-8").splitlines()
    return [line.strip("| ").split(" | ")[1:] for line in lines if re.match(r"\| \d+ \| ", line)]


def test_the_page_is_what_the_grammar_writes(script) -> None:
    page = (ROOT / "docs" / "language_sentences.md").read_text("utf-8")
    assert page == script["page"](), "run python docs/generate_sentences.py"


def test_two_hundred_sentences_mean_what_the_english_ones_mean(rows) -> None:
    assert len(rows) == 200
    for english, *others in rows:
        for code, text in zip(("de", "es", "fr"), others, strict=True):
            assert canonical(world.parse_translation(text, code)) == canonical(world.parse(english)), text


def test_every_word_is_in_a_sentence(rows) -> None:
    meanings = [world.parse(english) for english, *_ in rows]
    groups = [group for meaning in meanings for group in meaning.groups]
    assert {group.kind for group in groups} == set(world.KINDS)
    stated = {(a.dimension, a.value) for group in groups for a in group.attributes}
    stated |= {(a.dimension, a.value) for meaning in meanings for a in meaning.image}
    stated |= {(a.dimension, "") for group in groups for a in group.attributes}
    values = {
        (name, value)
        for name in lexicon.THING_DIMENSIONS
        for k in world.KINDS.values()
        for value in k.values(name)
    }
    values |= {("pose", pose.id) for kind in world.KINDS.values() for pose in kind.poses}
    values |= {(f"part:{part.word}", "") for kind in world.KINDS.values() for part in kind.parts}
    values |= {("setting", place) for place in world.PLACES}
    values |= {(name, value) for name, table in lexicon.IMAGE_DIMENSIONS.items() for value in table}
    assert values <= stated
    assert {group.layout for group in groups} == {"", *world.LAYOUTS}


def test_the_normalisation_of_english_captions_leaves_other_languages_alone(rows) -> None:
    # The small models read captions in one English spelling; it must not change words of other languages.
    for _, *others in rows:
        for text in others:
            assert normalised(text) == text.lower()
            assert normalised(text.replace("'", "’") + ".") == text.lower()
