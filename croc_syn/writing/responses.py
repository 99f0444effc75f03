"""A language model's response → the two prompts in it.

Models reason aloud, wrap JSON in code fences and add text after it. What counts is the last JSON object after
any reasoning, read by a JSON parser and by nothing else.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from croc.errors import CrocError
from croc.wording import counted
from croc_syn.writing import WriterResponse

KEYS = ("property", "value", "contrast_value", "prompt", "contrast_prompt")

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {key: {"type": "string"} for key in KEYS},
    "required": list(KEYS),
    "additionalProperties": False,
}
"""JSON schema of a response, for services that can enforce it."""

NO_JSON, CUT_OFF, DECLINED, WRONG_KEYS = "no JSON", "cut off", "declined", "wrong keys"

# Of longer responses only the end is read; no two prompts begin before that.
_MOST = 60_000
# Braces that open no object; a text with more of them is no response.
_TRIES = 200

_CLOSED = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_OPENED = re.compile(r"<(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_DECLINES = re.compile(
    r"\b(?:I(?: am|['’]m) (?:sorry|unable|not able)|I (?:can(?:not|['’]t)|won['’]t) (?:help|assist|write|"
    r"create|provide|do|comply|fulfil)|as an AI\b)",
    re.IGNORECASE,
)


class UnusableResponse(CrocError):
    """A response that cannot be used.

    Attributes:
        kind: one of a few constants, by which such responses are counted.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class Pair:
    """What a response holds, spaces collapsed.

    Attributes:
        property: the property in which the prompts differ, as the model names it.
        value, contrast_value: its value in each of them.
        prompt, contrast_prompt: the prompts.
    """

    property: str
    value: str
    contrast_value: str
    prompt: str
    contrast_prompt: str


def read_pair(response: WriterResponse, *, reasons: bool = False) -> Pair:
    """The pair of prompts in a response.

    Raises:
        UnusableResponse: there is no pair in it; the sentence says why.
    """
    return _pair(read_object(response, reasons=reasons))


def read_object(response: WriterResponse, *, reasons: bool = False) -> dict[str, Any]:
    """The last JSON object in a response.

    Args:
        response: the response.
        reasons: whether the model reasons aloud first; then a text that was cut off before its reasoning
            ended holds drafts, not an answer.

    Raises:
        UnusableResponse: there is no object in it; the sentence says why.
    """
    if response.refusal or response.finish == "content_filter":
        refusal = response.refusal or "content filter"
        raise UnusableResponse(DECLINED, f"the model declined: {_shorten(refusal)}")
    cut = response.finish == "length"
    text = response.text[-_MOST:]
    answer = _after_reasoning(text)
    thinking = answer is None or (cut and reasons and response.reasoning is None and answer == text)
    content = None if thinking or answer is None else last_object(answer)
    if content is None:
        if cut:
            where = (
                "during its reasoning" if thinking or not (answer or "").strip() else "before its JSON ended"
            )
            raise UnusableResponse(
                CUT_OFF, f"the answer was cut off after {counted(response.output_tokens, 'token')}, {where}"
            )
        if answer is None:
            raise UnusableResponse(NO_JSON, "the reasoning of the model did not end")
        if _DECLINES.search(answer):
            raise UnusableResponse(DECLINED, f"the model declined: {_shorten(answer)}")
        raise UnusableResponse(NO_JSON, f"no JSON object in the answer: {_shorten(answer)}")
    return content


def last_object(text: str) -> dict[str, Any] | None:
    """The last JSON object of a text that is not inside another; None if there is none."""
    last: dict[str, Any] | None = None
    at, tries = text.find("{"), 0
    while at != -1 and tries < _TRIES:
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            tries += 1
            end = at + 1
        else:
            last = value
        at = text.find("{", end)
    return last


def _after_reasoning(text: str) -> str | None:
    """What follows the last end of reasoning; None where reasoning begins and does not end."""
    if "<" not in text:
        return text
    start = 0
    for closed in _CLOSED.finditer(text):
        start = closed.end()
    rest = text[start:]
    return None if _OPENED.search(rest) else rest


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key occurs twice")
    return content


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


# Line breaks inside strings are invalid JSON, and common.
_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)


def _pair(content: dict[str, Any]) -> Pair:
    missing = [key for key in KEYS if key not in content]
    if missing:
        keys = f"the keys {', '.join(list(content)[:8])}" if content else "no keys"
        raise UnusableResponse(
            WRONG_KEYS, _shorten(f"the JSON has no {' and no '.join(missing)}; it has {keys}", 200)
        )
    texts = []
    for key in KEYS:
        value = content[key]
        if isinstance(value, bool | int | float):  # a count is a value, and models write it as a number
            value = str(value).lower() if isinstance(value, bool) else str(value)
        if not isinstance(value, str):
            raise UnusableResponse(WRONG_KEYS, f"{key} is {type(value).__name__}, not text")
        texts.append(" ".join(value.split()))
    return Pair(*texts)


def _shorten(text: str, most: int = 120) -> str:
    """The beginning of a text in one line, without what UTF-8 cannot encode."""
    line = " ".join(text.split()).encode("utf-8", "replace").decode()
    return line if len(line) <= most else line[: most - 1] + "…"
