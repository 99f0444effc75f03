"""Reading: a prompt in one of the languages → its meaning.

Every form of every phrase is known from the writer. What is read leniently is then written again: a prompt
whose words do not agree, or are in another order, differs from that, and the error shows what would be right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import SequenceMatcher, get_close_matches
from functools import lru_cache
from typing import Any

from croc.errors import InputError
from croc_syn.world.declarations.kinds import KINDS
from croc_syn.world.declarations.languages import ENGLISH
from croc_syn.world.declarations.lexicon import RELATIONS
from croc_syn.world.language.meaning import Absence, Attribute, Group, Link, Meaning
from croc_syn.world.language.parser import LONGEST_PROMPT, parse
from croc_syn.world.language.things import INVERTED
from croc_syn.world.language.wording import canonical
from croc_syn.world.language.words import PromptError
from croc_syn.world.translation import grammar
from croc_syn.world.translation.languages import DIMENSIONS, Language, language
from croc_syn.world.translation.writer import Writer, write

_CASES = ("nominative", "accusative", "dative")
_ELIDED = re.compile(r"\b(d|n|qu)'")
_WORD = re.compile(r"[\w'-]+|[^\s\w,.]")
_IMAGE = ("setting", "lighting", "weather")

Phrases = dict[str, dict[str, list[tuple[tuple[str, ...], list[Any]]]]]
"""Category → first word → phrases with what they can mean, the longest first."""


def tokens(text: str) -> list[str]:
    """The words of a text, without commas and full stops; elided words written out."""
    return _WORD.findall(_ELIDED.sub(r"\1e ", text.replace("’", "'")))


def _words(text: str) -> tuple[str, ...]:
    return tuple(token.lower() for token in tokens(text))


@lru_cache(maxsize=4)
def phrase_table(code: str) -> Phrases:
    """Every phrase of a language, in all its forms."""
    spoken = language(code)
    meanings: dict[str, dict[tuple[str, ...], list[Any]]] = {}
    for category, text, meaning in _phrases(spoken):
        options = meanings.setdefault(category, {}).setdefault(_words(text), [])
        if meaning not in options:
            options.append(meaning)
    table: Phrases = {}
    for category, phrases in meanings.items():
        for words, options in sorted(phrases.items(), key=lambda item: -len(item[0])):
            table.setdefault(category, {}).setdefault(words[0], []).append((words, options))
    return table


def _phrases(spoken: Language) -> Iterator[tuple[str, str, Any]]:
    """Category, phrase and meaning of all phrases."""
    writer = Writer(spoken)
    cases = _CASES if spoken.code == "de" else _CASES[:1]
    for kind, noun in spoken.nouns.items():
        for case in cases:
            for plural in (False, True):
                yield "noun", grammar.noun_form(spoken, noun, plural, case), (kind, plural)
    # A noun of each gender shows all forms of what agrees.
    models = {noun.gender: noun for noun in spoken.nouns.values()}.values()
    for noun in models:
        for plural in (False, True):
            for dimension in DIMENSIONS:
                for value, words in spoken.values[dimension].items():
                    forms = words.removeprefix("<")
                    denial = writer.denial(Attribute(dimension, value, False), noun, plural)
                    yield "after", denial, Attribute(dimension, value, False)
                    if " " in forms:
                        yield "after", forms, Attribute(dimension, value)
                        continue
                    for case in cases:
                        text = grammar.adjective(spoken, forms, noun, plural, case)
                        yield "adjective", text, Attribute(dimension, value)
            for relation in spoken.values["relation"]:
                before, _, after = writer.relation(relation, noun, plural).partition("{")
                yield "relation", before, (relation, _words(after.partition("}")[2]))
        for case in cases:
            yield "number", grammar.article(spoken, spoken.one[case], noun), 1
            yield "none", grammar.article(spoken, spoken.none[case], noun), 0
    for number, word in enumerate(spoken.numbers, 2):
        yield "number", word, number
    for declared in KINDS.values():
        for part in declared.parts:
            for count in range(part.low, part.high + 1):
                attribute = Attribute(f"part:{part.word}", str(count))
                yield "part", writer.part(declared.id, attribute), attribute
    for layout, words in spoken.values["layout"].items():
        yield "layout", words, layout
    for dimension in _IMAGE:
        for value in spoken.values[dimension]:
            attribute = Attribute(dimension, value)
            yield "place", writer.finished(writer.place(attribute)), attribute
    yield "only", spoken.only, True
    yield "and", spoken.conjunction, True
    for frame in spoken.frames.values():
        for template in (frame.opener, frame.absence, frame.alone):
            text = template.replace("{places}", "").strip(" ,")
            bare = text.endswith("{bare}")
            text = re.sub(r"\{\w+\}", "", text)
            if text.strip() and text.strip() != spoken.conjunction:
                yield "frame", text, bare


@dataclass
class _Found:
    """What was read so far."""

    groups: list[Group] = field(default_factory=list)
    absences: list[Absence] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    image: list[Attribute] = field(default_factory=list)
    only: bool = False


class Reader:
    """Reads one prompt, leniently: words in any form are understood."""

    def __init__(self, text: str, spoken: Language) -> None:
        self.raw = tokens(text)
        self.words = [token.lower() for token in self.raw]
        self.spoken, self.table = spoken, phrase_table(spoken.code)
        self.index = 0
        self.found = _Found()

    def peek(self, category: str, at: int | None = None) -> tuple[int, list[Any]] | None:
        """The longest phrase of a category: the index behind it, and what it can mean."""
        at = self.index if at is None else at
        if at < len(self.words):
            for words, meanings in self.table.get(category, {}).get(self.words[at], ()):
                if tuple(self.words[at : at + len(words)]) == words:
                    return at + len(words), meanings
        return None

    def accept(self, category: str) -> list[Any] | None:
        """Read the longest phrase of a category, if one is next; gives what it can mean."""
        phrase = self.peek(category)
        if phrase is None:
            return None
        self.index = phrase[0]
        return phrase[1]

    def read(self) -> Meaning:
        """The meaning of the whole prompt, which no grammar has checked yet."""
        found = self.found
        bare = False
        while self.index < len(self.words):
            if not bare and (frame := self.accept("frame")) is not None:
                bare = frame[0]
            elif bare or self.accept("none") is not None:
                kind, attributes, _ = self.thing()
                found.absences.append(Absence(kind, attributes))
                bare = False
            elif self.accept("only"):
                found.only = True
            elif (place := self.accept("place")) is not None:
                found.image.append(place[0])
            elif (number := self.accept("number")) is not None:
                self.group(number[0])
            elif not self.accept("and"):
                raise self.unexpected("a thing", "a place")
        if bare:
            raise self.unexpected("a thing")
        return Meaning(
            tuple(found.groups),
            tuple(found.absences),
            tuple(found.links),
            tuple(found.image),
            found.only,
        )

    def group(self, count: int) -> int:
        """A noun phrase after its number, and what it has a relation to; gives the number of its group."""
        kind, attributes, layout = self.thing()
        number = len(self.found.groups)
        self.found.groups.append(Group(kind, count, attributes, layout))
        if self.peek("place") is None and (phrase := self.accept("relation")) is not None:
            relation = phrase[0][0]
            other = self.accept("number")
            if other is None:
                raise self.unexpected("a thing that the relation refers to")
            target = self.group(other[0])
            # Words behind the other thing belong to some relations: "die größer als eine Katze ist".
            rest = tuple(self.words[self.index :])
            self.index += max((len(c) for _, c in phrase if rest[: len(c)] == c), default=0)
            inverse = RELATIONS[relation].inverse
            if relation in INVERTED and inverse is not None:
                self.found.links.append(Link(inverse, target, number))
            else:
                self.found.links.append(Link(relation, number, target))
        return number

    def thing(self) -> tuple[str, tuple[Attribute, ...], str]:
        """A noun phrase without its number: kind, attributes and layout."""
        attributes: list[Attribute] = []
        kind = layout = ""
        while True:
            noun, adjective = self.peek("noun"), self.peek("adjective")
            if not kind and noun is not None and not (adjective and self.leads_to_noun(adjective[0])):
                self.index, kind = noun[0], noun[1][0][0]
            elif adjective is not None and not (kind and self.is_longer("relation", adjective[0])):
                self.index = adjective[0]
                attributes.append(adjective[1][0])
            elif (after := self.accept("after")) is not None:
                attributes.append(after[0])
            elif kind and (arranged := self.accept("layout")) is not None:
                layout = arranged[0]
            elif kind and (part := self.part_of(kind)) is not None:
                attributes.append(part)
            elif kind:
                return kind, tuple(self.of_kind(a, kind) for a in attributes), layout
            else:
                raise self.unexpected("a property", "a thing")

    def is_longer(self, category: str, end: int) -> bool:
        """Whether a phrase of a category is next that goes on behind ``end``."""
        phrase = self.peek(category)
        return phrase is not None and phrase[0] > end

    def leads_to_noun(self, at: int) -> bool:
        """Whether adjectives alone come before the next noun: "ein ovaler Keks", not "ein Oval"."""
        while self.peek("noun", at) is None:
            phrase = self.peek("adjective", at)
            if phrase is None:
                return False
            at = phrase[0]
        return True

    def part_of(self, kind: str) -> Attribute | None:
        """A number of parts of a kind, if they are next."""
        joined = self.peek("and")
        for at in (self.index, *([joined[0]] if joined else [])):
            phrase = self.peek("part", at)
            if phrase is None:
                continue
            attributes: list[Attribute] = phrase[1]
            for attribute in attributes:
                if KINDS[kind].part(attribute.dimension.removeprefix("part:")) is not None:
                    self.index = phrase[0]
                    return attribute
        return None

    def of_kind(self, attribute: Attribute, kind: str) -> Attribute:
        """The attribute with the id that its kind has for an action: two ids can have the same words."""
        poses = self.spoken.values["pose"]
        if attribute.dimension != "pose":
            return attribute
        words = poses[attribute.value]
        own = next((p.id for p in KINDS[kind].poses if poses[p.id] == words), attribute.value)
        return Attribute("pose", own, attribute.positive)

    def unexpected(self, *expected: str) -> PromptError:
        """The error for a word that does not fit."""
        if self.index >= len(self.words):
            return PromptError("the prompt ends too early", "", len(self.words) + 1, expected)
        word = self.raw[self.index]
        known = _vocabulary(self.spoken.code)
        problem = f'word {self.index + 1}, "{word[:30]}", does not fit here'
        if word.lower() not in known:
            problem = f'word {self.index + 1}, "{word[:30]}", is not in the {self.spoken.name} vocabulary'
            close = get_close_matches(word.lower()[:40], known, n=1, cutoff=0.75)
            problem += f' (did you mean "{known[close[0]]}"?)' if close else ""
        return PromptError(problem, word, self.index + 1, expected)


@lru_cache(maxsize=4)
def _vocabulary(code: str) -> dict[str, str]:
    """Every word of a language in lower case, with its spelling."""
    return {word.lower(): word for _, text, _ in _phrases(language(code)) for word in tokens(text)}


def parse_translation(text: str, code: str) -> Meaning:
    """The meaning of a prompt in a language.

    Args:
        text: the prompt, at most 2,000 characters; capitals, commas and a full stop do not matter.
        code: of the language.

    Returns:
        The meaning; its ``text`` is an English prompt with this meaning, so that scenes drawn from it are
        those of the English prompt.

    Raises:
        PromptError: the prompt is not in the controlled language, or contradicts itself.
        InputError: the exact world does not have this language.
    """
    spoken = language(code)
    if code == ENGLISH:
        return parse(text)
    if len(text) > LONGEST_PROMPT:
        raise PromptError(f"the prompt has {len(text):,} characters; at most {LONGEST_PROMPT:,} are allowed")
    raw = Reader(text, spoken).read()
    try:
        english = write(raw, language(ENGLISH))
        meaning = parse(english)
    except InputError as error:
        raise PromptError(f"{error} (in English)") from None
    if canonical(meaning) != canonical(raw):
        raise PromptError(f'it is not clear what is meant; in English, it is read as "{english}"')
    frames = [name for name in spoken.frames if raw.image or "{places}" not in spoken.frames[name].alone]
    texts = [write(raw, spoken, frame) for frame in frames]
    words = _words(text)
    if words not in [_words(option) for option in texts]:
        closest = max(texts, key=lambda option: SequenceMatcher(None, text, option).ratio())
        raise PromptError(f'the words do not agree, or are in another order; expected "{closest}"')
    return meaning
