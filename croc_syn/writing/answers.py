"""What a language model said → the two prompts in it.

Models think aloud, wrap JSON in fences and talk after it. What counts is the last JSON object after any
reasoning, read by a JSON parser and by nothing else.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from croc.errors import CrocError
from croc_syn.writing import Said

KEYS = ("property", "value", "contrast_value", "prompt", "contrast_prompt")

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {key: {"type": "string"} for key in KEYS},
    "required": list(KEYS),
    "additionalProperties": False,
}
"""JSON schema of an answer, for a service that can hold a model to it."""

NO_JSON, CUT_OFF, DECLINED, WRONG_KEYS = "no JSON", "cut off", "declined", "wrong keys"

# Longer answers are looked at from their end; nobody's two prompts begin before that.
_MOST = 60_000
# Braces that open no object; a text with more of them is no answer.
_TRIES = 200

_CLOSED = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_OPENED = re.compile(r"<(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_DECLINES = re.compile(
    r"\b(?:I(?: am|['’]m) (?:sorry|unable|not able)|I (?:can(?:not|['’]t)|won['’]t) (?:help|assist|write|"
    r"create|provide|do|comply|fulfil)|as an AI\b)",
    re.IGNORECASE,
)


class Refused(CrocError):
    """An answer that cannot be used.

    Attributes:
        kind: one of a few words, by which such answers are counted.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class Pair:
    """What an answer holds, spaces collapsed.

    Attributes:
        property: what the model says the prompts differ in.
        value, contrast_value: what each of them shows of it.
        prompt, contrast_prompt: the prompts.
    """

    property: str
    value: str
    contrast_value: str
    prompt: str
    contrast_prompt: str


def pair_of(said: Said, *, reasons: bool = False) -> Pair:
    """The pair of prompts in an answer.

    Args:
        said: the answer.
        reasons: whether the model thinks aloud before it answers; then a text that was cut off and never
            came to an end of its thoughts holds drafts, not an answer.

    Raises:
        Refused: there is none in it; the sentence says why.
    """
    if said.refusal or said.finish == "content_filter":
        raise Refused(DECLINED, f"the model declined: {_shown(said.refusal or 'content filter')}")
    cut = said.finish == "length"
    text = said.text[-_MOST:]
    answer = _after_reasoning(text)
    thinking = answer is None or (cut and reasons and said.reasoning is None and answer == text)
    found = None if thinking or answer is None else last_object(answer)
    if found is None:
        if cut:
            where = (
                "while it was thinking" if thinking or not (answer or "").strip() else "before its JSON ended"
            )
            raise Refused(CUT_OFF, f"the answer was cut off after {said.output_tokens} tokens, {where}")
        if answer is None:
            raise Refused(NO_JSON, "the model never came to the end of its thoughts")
        if _DECLINES.search(answer):
            raise Refused(DECLINED, f"the model declined: {_shown(answer)}")
        raise Refused(NO_JSON, f"there is no JSON object in the answer: {_shown(answer)}")
    return _pair(found)


def last_object(text: str) -> dict[str, Any] | None:
    """The last JSON object that stands by itself in a text; None without one."""
    found: dict[str, Any] | None = None
    at, tries = text.find("{"), 0
    while at != -1 and tries < _TRIES:
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            tries += 1
            end = at + 1
        else:
            found = value
        at = text.find("{", end)
    return found


def _after_reasoning(text: str) -> str | None:
    """What follows the last end of reasoning; None where reasoning begins and does not end."""
    if "<" not in text:
        return text
    start = 0
    for closed in _CLOSED.finditer(text):
        start = closed.end()
    rest = text[start:]
    return None if _OPENED.search(rest) else rest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


# Line breaks inside strings are against the letter of JSON and common.
_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=_unique, parse_constant=_no_number)


def _pair(found: dict[str, Any]) -> Pair:
    missing = [key for key in KEYS if key not in found]
    if missing:
        there = ", ".join(list(found)[:8]) or "nothing"
        raise Refused(WRONG_KEYS, _shown(f"the JSON has no {' and no '.join(missing)}; it has {there}", 200))
    texts = []
    for key in KEYS:
        value = found[key]
        if isinstance(value, bool | int | float):  # a count is a value, and models write it as a number
            value = str(value).lower() if isinstance(value, bool) else str(value)
        if not isinstance(value, str):
            raise Refused(WRONG_KEYS, f"{key} is {type(value).__name__}, not text")
        texts.append(" ".join(value.split()))
    return Pair(*texts)


def _shown(text: str, most: int = 120) -> str:
    """The beginning of a text, in a line, without what a file of UTF-8 cannot hold."""
    line = " ".join(text.split()).encode("utf-8", "replace").decode()
    return line if len(line) <= most else line[: most - 1] + "…"
