"""What a language declares: its nouns, the words of every value, its sentence frames and closed words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from croc.errors import InputError
from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS
from croc_syn.world.declarations.languages import ENGLISH, LANGUAGES
from croc_syn.world.declarations.places import PLACES

BARE = "bare"
"""The frame without an opener."""

NOMINATIVE = "nominative"
"""The case of languages without cases, and of the frame without an opener."""

DIMENSIONS = ("size", "texture", "colour", "material", "shape", "pose")
"""Properties of a thing that have words, in the order of English adjectives."""

_NOUN = re.compile(r"(?P<gender>[mfn]) (?P<one>[^/]+)/(?P<many>[^/(]+?)(?: \((?P<flags>[^)]+)\))?")


@dataclass(frozen=True)
class Noun:
    """A noun.

    Attributes:
        gender: m, f or n.
        one, many: its singular and its plural.
        flags: ``weak`` or ``dative FORM`` (German), ``el`` (Spanish).
    """

    gender: str
    one: str
    many: str
    flags: str = ""

    @classmethod
    def of(cls, text: str) -> Noun:
        """The noun in a declaration such as ``m Hund/Hunde``."""
        found = _NOUN.fullmatch(text)
        if found is None:
            raise InputError(f"{text!r} is no noun; expected gender singular/plural, such as m Hund/Hunde")
        return cls(found["gender"], found["one"], found["many"], found["flags"] or "")


@dataclass(frozen=True)
class Frame:
    """A sentence frame.

    Attributes:
        opener: what comes before the first thing; ``{places}`` stands for places, time and weather.
        absence: what is added for something absent: ``{none}`` is its noun phrase, ``{bare}`` that without an
            article.
        alone: the whole sentence where nothing is present.
        case: case of the things.
    """

    absence: str
    alone: str
    opener: str = ""
    case: str = NOMINATIVE


@dataclass(frozen=True)
class Language:
    """The declarations of a language; words of :class:`Language` are templates and forms, see the files.

    Attributes:
        code: ISO 639 code.
        conjunction: "and".
        numbers: from two to nine.
        one, none, the: forms of the articles by case, then gender.
        be: the verb, singular/plural; ``be_doing``: that before actions, where another one.
        relative: pronouns of relative clauses: m/f/n/plural.
        not_value, not_doing: relative clauses that deny a property, and an action.
        only: "and nothing else".
        with_part, without_part: phrases for parts, with the case of the noun.
        frames: the sentence frames by name.
        nouns: by kind.
        parts: by part, or "kind part" where a kind needs another word.
        values: by dimension and value: adjectives and phrases; ``verb`` has the verbs of poses, ``layout``,
            ``relation``, ``setting``, ``lighting`` and ``weather`` phrases.
        aspirated: words that begin with a vowel or an h and do not count as such.
    """

    code: str
    conjunction: str
    numbers: tuple[str, ...]
    one: Mapping[str, str]
    none: Mapping[str, str]
    the: Mapping[str, str]
    be: str
    be_doing: str
    relative: str
    not_value: str
    not_doing: str
    only: str
    with_part: str
    without_part: str
    frames: Mapping[str, Frame]
    nouns: Mapping[str, Noun]
    parts: Mapping[str, Noun]
    values: Mapping[str, Mapping[str, str]] = field(repr=False)
    aspirated: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """Its English name."""
        return LANGUAGES[self.code]

    def part(self, kind: str, part: str) -> Noun:
        """The noun for a part of a kind."""
        return self.parts.get(f"{kind} {part}") or self.parts[part]


@lru_cache(maxsize=len(LANGUAGES))
def language(code: str) -> Language:
    """The declarations of a language.

    Raises:
        InputError: the exact world does not have this language.
    """
    if code not in LANGUAGES:
        raise InputError(f"the exact world has no language {code!r}; expected one of {', '.join(LANGUAGES)}")
    if code == ENGLISH:
        return _english()
    return _declared(code, yaml.safe_load((Path(__file__).parent / f"{code}.yaml").read_text("utf-8")))


def _by_case(forms: Any) -> Mapping[str, str]:
    return forms if isinstance(forms, dict) else {NOMINATIVE: forms}


_TABLES = (*DIMENSIONS, "verb", "layout", "relation", "lighting", "weather", "setting")


def _declared(code: str, data: Mapping[str, Any]) -> Language:
    return Language(
        code=code,
        conjunction=data["conjunction"],
        numbers=tuple(data["numbers"]),
        one=_by_case(data["one"]),
        none=_by_case(data["none"]),
        the=_by_case(data["the"]),
        be=data["be"],
        be_doing=data.get("be_doing", data["be"]),
        relative=data.get("relative", ""),
        not_value=data["not"],
        not_doing=data["not_doing"],
        only=data["only"],
        with_part=data["with"],
        without_part=data["without"],
        frames={name: Frame(**frame) for name, frame in data["frames"].items()},
        nouns={name: Noun.of(text) for name, text in data["nouns"].items()},
        parts={name: Noun.of(text) for name, text in data["parts"].items()},
        values={table: data.get(table, {}) for table in _TABLES},
        aspirated=frozenset(data.get("aspirated", ())),
    )


def _english() -> Language:
    """English, from the declarations that its own grammar reads; in the frame without an opener only."""
    tables = {**lexicon.THING_DIMENSIONS, **lexicon.IMAGE_DIMENSIONS}
    return Language(
        code=ENGLISH,
        conjunction="and",
        numbers=lexicon.NUMBER_WORDS[2:],
        one={NOMINATIVE: "a"},
        none={NOMINATIVE: "no"},
        the={NOMINATIVE: "the"},
        be="is/are",
        be_doing="is/are",
        relative="",
        not_value="that {be} not {value}",
        not_doing="that {be} not {value}",
        only="and nothing else",
        with_part="with {}",
        without_part="with no {}",
        frames={BARE: Frame("and {none}", "{none}")},
        nouns={kind.id: Noun("n", kind.words[0], kind.plurals[0]) for kind in KINDS.values()},
        parts={
            f"{kind.id} {part.word}": Noun("n", part.word, part.plural_word)
            for kind in KINDS.values()
            for part in kind.parts
        },
        values={
            **{
                name: {value.id: value.words[0] for value in table.values()} for name, table in tables.items()
            },
            "pose": {pose.id: pose.words[0] for kind in KINDS.values() for pose in kind.poses},
            "verb": {},
            "layout": {value.id: value.after[0] for value in lexicon.LAYOUTS.values()},
            "relation": {r.id: f"{r.words[0]} {{}}" for r in lexicon.RELATIONS.values()},
            "setting": {place.id: place.words[0] for place in PLACES.values()},
        },
    )
