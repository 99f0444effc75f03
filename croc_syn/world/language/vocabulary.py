"""Every phrase that the parser knows, by category; built from the declarations."""

from __future__ import annotations

from functools import lru_cache

from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS
from croc_syn.world.declarations.places import PLACES
from croc_syn.world.language import synonyms

OPENERS = (
    *("a picture of", "a picture that shows", "a picture with", "an image of", "an image that shows"),
    *("an image with", "a drawing of", "an illustration of", "a scene with", "the picture shows"),
    *(
        "the image shows",
        "the drawing shows",
        "there is",
        "there are",
        "we see",
        "one can see",
        "you can see",
    ),
    *("here is", "here are", *synonyms.OPENERS),
)
"""What may come before the first thing."""

_ONLY = ("only", "just", "nothing but")
_NONE = ("no", "not a single", "not any", "zero", "0", "without a", "without an", "without any", "without")

Payload = tuple[str, ...]
"""What a phrase means; its fields depend on the category."""


@lru_cache(maxsize=1)
def phrase_table() -> dict[str, dict[str, tuple[tuple[tuple[str, ...], Payload], ...]]]:
    """Category → first word → phrases with their payloads, the longest first."""
    table: dict[str, dict[str, list[tuple[tuple[str, ...], Payload]]]] = {}

    def add(category: str, phrase: str, *payload: str) -> None:
        words = tuple(phrase.split())
        table.setdefault(category, {}).setdefault(words[0], []).append((words, payload))

    for kind in KINDS.values():
        for one, many in synonyms.nouns(kind):
            add("noun", one, kind.id, "one")
            add("noun", many, kind.id, "many")
        for pose in kind.poses:
            for word in pose.words:
                add("pose", word, word)
        for part in kind.parts:
            add("part", part.word, part.word, "one")
            add("part", part.plural_word, part.word, "many")
    for dimension, values in lexicon.THING_DIMENSIONS.items():
        for value in values.values():
            for word in (*value.words, *synonyms.BEFORE.get(value.id, ())):
                add("adjective", word, dimension, value.id)
            for word in (*value.after, *synonyms.AFTER.get(value.id, ())):
                add("after", word, dimension, value.id)
    for value in lexicon.LAYOUTS.values():
        for word in (*value.after, *synonyms.LAYOUTS[value.id]):
            add("layout", word, value.id)
    for dimension, values in lexicon.IMAGE_DIMENSIONS.items():
        for value in values.values():
            for word in (*value.words, *synonyms.WHOLE_IMAGE.get(value.id, ())):
                add("adverbial", word, dimension, value.id)
    for place in PLACES.values():
        for word in place.words:
            add("adverbial", word, "setting", place.id)
    for relation in lexicon.RELATIONS.values():
        for word in (*relation.words, *synonyms.RELATIONS.get(relation.id, ())):
            add("relation", word, relation.id)
    for word, number in lexicon.NUMBERS.items():
        if number:
            add("number", word, str(number))
        if number > 1 and " " not in word:
            for phrase in synonyms.GROUP_OF:
                add("number", f"{phrase} {word}", str(number))
    for side, phrases in synonyms.SIDES.items():
        for phrase in phrases:
            add("side", phrase, side)
    for word in ("a", "an", "another"):
        add("article", word, "1")
    for category, words in (
        ("opener", OPENERS),
        ("only", (*_ONLY, *synonyms.ONLY)),
        ("none", (*_NONE, *synonyms.NONE)),
        ("there", ("there is", "there are", "is", "are", "one sees", "we see", *synonyms.THERE)),
        ("and", synonyms.AND),
        ("present", synonyms.PRESENT),
        ("absent", synonyms.ABSENT),
        ("is", ("is", "are")),
        ("that is", ("that is", "that are", "which is", "which are", "who is", "who are")),
        ("not", ("not",)),
        ("nothing else", ("nothing else",)),
        ("with", synonyms.WITH),
        ("without", ("without", "without a", "without an", "without any", "with no", *synonyms.WITHOUT)),
    ):
        for word in words:
            add(category, word)
    return {
        category: {first: tuple(sorted(group, key=lambda p: -len(p[0]))) for first, group in heads.items()}
        for category, heads in table.items()
    }


@lru_cache(maxsize=1)
def vocabulary() -> frozenset[str]:
    """Every word of the controlled English."""
    phrases = (phrase for heads in phrase_table().values() for group in heads.values() for phrase in group)
    words = {word for phrase, _ in phrases for word in phrase}
    return frozenset(words | {"the", "and", "but", "or", "while", "exactly", "neither", "nor"})
