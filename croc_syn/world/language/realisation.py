"""Surface realisation: English phrases for kinds, numbers, values and relations."""

from __future__ import annotations

from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import Kind, Part
from croc_syn.world.declarations.lexicon import NUMBER_WORDS, Value


def with_article(words: str) -> str:
    """The words with "a" or "an" before them."""
    # No word of the lexicon begins with a vowel letter that sounds like a consonant ("a unicorn").
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def form_of_be(singular: bool) -> str:
    """The verb: "is" or "are"."""
    return "is" if singular else "are"


def noun_phrase(kind: Kind) -> str:
    """A single thing: "a dog"."""
    return with_article(kind.words[0])


def counted_phrase(kind: Kind, count: int, adjective: str = "") -> str:
    """A number of things: "three red dogs", "one dog"."""
    noun = kind.words[0] if count == 1 else kind.plurals[0]
    return " ".join(word for word in (NUMBER_WORDS[count], adjective, noun) if word)


def adjective_phrase(kind: Kind, value: Value, position: int) -> str:
    """A thing with a value.

    Args:
        kind: of the thing.
        value: for example a colour.
        position: 0 "a red dog"; 1 "a dog that is red"; 2 after the noun, where the value has such words.
    """
    if position == 1:
        return f"{noun_phrase(kind)} that is {value.words[0]}"
    if position == 2 and value.after:
        return f"{noun_phrase(kind)} {value.after[0]}"
    return with_article(f"{value.words[0]} {kind.words[0]}")


def relation_words(relation: str, variant: int) -> str:
    """Words of a relation; ``variant`` selects among them."""
    words = lexicon.RELATIONS[relation].words
    return words[variant % len(words)]


def pose_phrase(kind: Kind, pose: str, variant: int) -> str:
    """A thing in a pose: "a dog running"; ``variant`` selects among the pose's words."""
    words = next(declared.words for declared in kind.poses if declared.id == pose)
    return f"{noun_phrase(kind)} {words[variant % len(words)]}"


def part_phrase(kind: Kind, part: Part, count: int) -> str:
    """A thing with a number of parts: "a dog with three legs"."""
    singular = count == 1 or (count == 0 and part.usual <= 1)
    return f"{noun_phrase(kind)} with {NUMBER_WORDS[count]} {part.word if singular else part.plural_word}"


def layout_phrase(kind: Kind, count: int, layout: str, variant: int) -> str:
    """An arrangement: "three dogs in a row"; ``variant`` selects among the arrangement's words."""
    words = lexicon.LAYOUTS[layout].after
    return f"{counted_phrase(kind, count)} {words[variant % len(words)]}"


def negation_phrases(kind: Kind, other: Kind) -> tuple[tuple[str, str], ...]:
    """Pairs in different forms: a thing with another one, and without it."""
    thing, name, companion = noun_phrase(kind), other.words[0], noun_phrase(other)
    return (
        (f"{thing} and {companion}", f"{thing} and no {name}"),
        (f"{thing} with {companion}", f"{thing} without {companion}"),
        (f"{thing}, and there is {companion}", f"{thing}, and there is no {name}"),
    )


def denial_phrases(kind: Kind, colour: str) -> tuple[str, str]:
    """A thing that has a colour, and one that does not have it."""
    return f"{noun_phrase(kind)} that is {colour}", f"{noun_phrase(kind)} that is not {colour}"


def exclusion_phrases(kind: Kind, other: Kind, *, nothing_else: bool) -> tuple[str, str]:
    """A kind without the other, and the other without the first: "a dog and no cat", "a cat and no dog"."""
    if nothing_else:
        return f"{noun_phrase(kind)} and nothing else", f"{noun_phrase(other)} and nothing else"
    return f"{noun_phrase(kind)} and no {other.words[0]}", f"{noun_phrase(other)} and no {kind.words[0]}"
