"""The sentence frames that a prompt is in; :data:`croc_syn.world.language.wording.FRAMES` names them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from croc_syn.world.language.parser import parse
from croc_syn.world.language.vocabulary import OPENERS, phrase_table

_RELATION = "|".join(
    re.escape(" ".join(words))
    for phrases in phrase_table()["relation"].values()
    for words, _ in sorted(phrases, key=lambda phrase: -len(phrase[0]))
)
_NAMED_RELATIVE = r"\b(?:that|which|who) (?:is|are) "
_NUMBER = r"(?:one|two|three|four|1|2|3|4)"
_VERB = r"(?<!there )(?<!here )(?<!this )(?<!that )(?<!which )(?<!who )\b(?:is|are) "
_PICTURE = r"picture|image|drawing|illustration|scene|photo"

_PATTERNS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        name: re.compile(pattern)
        for name, pattern in {
            "statement": _VERB + rf"(?!(?:{_RELATION})\b|missing\b|absent\b)",
            "that is": _NAMED_RELATIVE + rf"(?!(?:{_RELATION})\b)",
            "relation that is": _NAMED_RELATIVE + rf"(?:{_RELATION})\b",
            "relation statement": _VERB + rf"(?:{_RELATION})\b",
            "sides": r"\bon the (?:left|right)\b(?! of\b)|\bat the (?:top|bottom)\b",
            "distribution": rf", {_NUMBER} [a-z-]+ and {_NUMBER} ",
            "no": r"(?:\band|\bbut|,) no\b|^no\b",
            "without": r"\bwithout\b(?! a pattern)|\bwith no\b",
            "there is no": r"\bthere (?:is|are) (?:no|not)\b",
            "not a single": r"\bnot (?:a single|any)\b",
            "is missing": r"\b(?:missing|absent)\b",
            "neither": r"\bneither\b",
            "only": r"\b(?:only|just|nothing but)\b",
            "nothing else": r"\bnothing else\b",
        }.items()
    }
)


@lru_cache(maxsize=8192)
def frames_of(prompt: str) -> frozenset[str]:
    """Names of the frames of a prompt; it is in at least one."""
    text = " ".join(prompt.lower().split())
    found = {name for name, pattern in _PATTERNS.items() if pattern.search(text)}
    found.add(_beginning(text))
    about_relations = {"relation that is", "relation statement", "relation first", "sides"}
    if parse(prompt).links and not found & about_relations:
        found.add("relation")
    return frozenset(found)


def _beginning(text: str) -> str:
    """The frame that the first words of a prompt decide."""
    opener = next((opener for opener in OPENERS if text.startswith(f"{opener} ")), None)
    if opener is not None:
        return "picture of" if re.search(_PICTURE, opener) else "there is"
    words = text.replace(",", " ").split()
    for category, frame in (("adverbial", "place first"), ("relation", "relation first")):
        for phrase, _ in phrase_table()[category].get(words[0], ()):
            if tuple(words[: len(phrase)]) == phrase:
                return frame
    return "bare"
