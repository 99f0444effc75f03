"""The properties that an English prompt depends on, by word lists.

    find_properties("two red cups to the left of a blue plate")
    # count: two; left_right: left; colour: red, blue; colour_binding: red, blue

The names and categories are those of the taxonomy of checks, so that results by property can be joined. There
is no grammar behind it; docs/trust.md shows precision and recall for each property.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import yaml
from pydantic import TypeAdapter

from croc.storage.plain_yaml import LOADER

_DETERMINER = r"a|an|the|his|her|its|their|this|that|each|every|one|some"
_GAP = rf"(?:(?:{_DETERMINER}) )?(?:(?!(?:{{preposition}}|{_DETERMINER})\b)[\w'-]+,? ){{0,4}}?"
_QUOTED = re.compile(r"""(?<!\w)(['"])[^'"]{1,80}\1(?!\w)""")
_PLAIN = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"'})
_ONE_GROUP = re.compile(r"[\s,]*(?:and|or|&)?[\s,]*")
_REMOVED = "¦"
"""Stands for removed words: no pattern matches it, and none matches across it."""


@dataclass(frozen=True)
class _Words:
    """A list of words: as written, nouns with their plural, verbs with -s and -ing."""

    words: str = ""
    nouns: str = ""
    verbs: str = ""

    def forms(self) -> Iterable[str]:
        yield from self.words.split()
        for noun in self.nouns.split():
            yield from (noun, _with_s(noun))
        for verb in self.verbs.split():
            yield from (verb, _with_s(verb), _with_ing(verb))


@dataclass(frozen=True)
class _Property:
    """What is searched for: patterns, or several places at which other properties are found."""

    category: str | None
    patterns: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    groups_of: tuple[str, ...] = ()
    at_least: int = 1
    quoted: bool = False


@dataclass(frozen=True)
class _File:
    lists: dict[str, _Words]
    properties: dict[str, _Property]


@dataclass(frozen=True)
class _Rules:
    categories: Mapping[str, str | None]
    patterns: Mapping[str, re.Pattern[str]]
    unless: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    bindings: Mapping[str, _Property] = field(default_factory=dict)
    quoted: frozenset[str] = frozenset()


def find_properties(prompt: str) -> dict[str, tuple[str, ...]]:
    """Find the properties that a prompt depends on.

    Args:
        prompt: in English; other languages give few properties or none.

    Returns:
        For each property, in the order of the taxonomy's file, the words that show it. What kind of thing is
        shown matters for every prompt and is left out.

    >>> sorted(find_properties("a red cup next to a blue plate"))
    ['colour', 'colour_binding', 'distance']
    """
    rules = _rules()
    text = " ".join(prompt.translate(_PLAIN).casefold().split())
    without_quotes = _QUOTED.sub(_REMOVED, text)
    spans = {
        name: _search(text if name in rules.quoted else without_quotes, pattern, rules.unless.get(name))
        for name, pattern in rules.patterns.items()
    }
    for name, binding in rules.bindings.items():
        found = sorted(span for of in binding.groups_of for span in spans[of])
        groups = _groups(without_quotes, found)
        distinct = {without_quotes[start:end] for start, end in groups}
        spans[name] = groups if len(distinct) >= binding.at_least else []
    return {
        name: tuple((text if name in rules.quoted else without_quotes)[a:b] for a, b in spans[name])
        for name in rules.categories
        if spans.get(name)
    }


def category_of(name: str) -> str | None:
    """The category of the human benchmark that a property found in prompts belongs to, or None."""
    return _rules().categories.get(name)


def property_names() -> tuple[str, ...]:
    """The properties that :func:`find_properties` looks for."""
    return tuple(_rules().categories)


def _search(text: str, pattern: re.Pattern[str], unless: re.Pattern[str] | None) -> list[tuple[int, int]]:
    if unless is not None:  # of the same length, so that places stay
        text = unless.sub(lambda match: _REMOVED * len(match[0]), text)
    return [match.span() for match in pattern.finditer(text)]


def _groups(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join neighbours such as ``red and white``, which describe one thing."""
    groups: list[tuple[int, int]] = []
    for start, end in spans:
        if groups and _ONE_GROUP.fullmatch(text[groups[-1][1] : start]):
            groups[-1] = (groups[-1][0], end)
        elif not groups or start >= groups[-1][1]:
            groups.append((start, end))
    return groups


@cache
def _rules() -> _Rules:
    text = files("croc.trust").joinpath("properties.yaml").read_text("utf-8")
    content = TypeAdapter(_File).validate_python(yaml.load(text, Loader=LOADER))
    lists = {name: "|".join(map(re.escape, words.forms())) for name, words in content.lists.items()}
    names = {name: f"(?:{words})" for name, words in lists.items()}
    names["gap"] = _GAP.replace("{preposition}", lists["preposition"])
    properties = content.properties
    return _Rules(
        categories={name: rule.category for name, rule in properties.items()},
        patterns={name: _compile(rule.patterns, names) for name, rule in properties.items() if rule.patterns},
        unless={name: _compile(rule.unless, names) for name, rule in properties.items() if rule.unless},
        bindings={name: rule for name, rule in properties.items() if rule.groups_of},
        quoted=frozenset(name for name, rule in properties.items() if rule.quoted),
    )


def _compile(patterns: Iterable[str], names: Mapping[str, str]) -> re.Pattern[str]:
    filled = [re.sub(r"\{([a-z_]+)\}", lambda match: names[match[1]], pattern) for pattern in patterns]
    return re.compile("|".join(rf"(?<!\w)(?:{pattern.strip()})(?!\w)" for pattern in filled))


def _with_s(word: str) -> str:
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    return word[:-1] + "ies" if word.endswith("y") and word[-2] not in "aeiou" else word + "s"


def _with_ing(verb: str) -> str:
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        return verb[:-1] + "ing"
    doubled = re.fullmatch(r"[^aeiou]*[aeiou][bdgklmnprt]", verb) is not None
    return verb + verb[-1] + "ing" if doubled else verb + "ing"
