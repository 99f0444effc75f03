"""Words for what a scene or a pair says: noun phrases, numbers, relations."""

from __future__ import annotations

from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import Kind
from croc_syn.world.declarations.lexicon import NUMBER_WORDS, Value


def article(words: str) -> str:
    """The words with "a" or "an" before them."""
    # No word of the lexicon begins with a vowel letter that sounds like a consonant ("a unicorn").
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def be(singular: bool) -> str:
    """The verb: "is" or "are"."""
    return "is" if singular else "are"


def noun_phrase(kind: Kind) -> str:
    """A single thing: "a dog"."""
    return article(kind.words[0])


def counted(kind: Kind, count: int, before: str = "") -> str:
    """A number of things: "three red dogs", "one dog"."""
    noun = kind.words[0] if count == 1 else kind.plurals[0]
    return " ".join(word for word in (NUMBER_WORDS[count], before, noun) if word)


def adjective_phrase(kind: Kind, value: Value, place: int) -> str:
    """A thing with a value: "a red dog"; ``place`` 1: "a dog that is red"; 2: behind the noun."""
    if place == 1:
        return f"{noun_phrase(kind)} that is {value.words[0]}"
    if place == 2 and value.after:
        return f"{noun_phrase(kind)} {value.after[0]}"
    return article(f"{value.words[0]} {kind.words[0]}")


def relation_words(relation: str, which: int) -> str:
    """Words of a relation; ``which`` chooses among them."""
    words = lexicon.RELATIONS[relation].words
    return words[which % len(words)]
