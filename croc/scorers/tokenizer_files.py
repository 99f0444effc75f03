"""Checks of a ``tokenizer.json`` before a library reads it: a small file can ask for any amount of memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from croc.errors import InputError
from croc.storage import limits
from croc.storage.text_files import parse_json, require_regular

NAME = "tokenizer.json"


def check_tokenizers(folder: Path) -> None:
    """Check every ``tokenizer.json`` in a folder of a model; see :func:`check_tokenizer`."""
    for file in sorted(folder.rglob(NAME)):
        check_tokenizer(file)


def check_tokenizer(file: Path) -> None:
    """Refuse a tokenizer that makes texts much longer than they are.

    Replacements that follow each other multiply: twenty that double a character make a text a million times
    longer. A fixed padding gives every text its length.

    Raises:
        InputError: the file is too large or is not JSON, or the tokenizer lengthens texts beyond the limits.
    """
    try:
        require_regular(file)
        size = file.stat().st_size
        if size > limits.TOKENIZER_FILE:
            raise InputError(f"{file}: {size:,} bytes; at most {limits.TOKENIZER_FILE:,} are allowed")
        content = parse_json(file.read_bytes(), str(file))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from None
    if not isinstance(content, dict):
        raise InputError(f"{file}: expected an object of JSON")
    growth = 1.0
    for step in (*_steps(content.get("normalizer")), *_steps(content.get("pre_tokenizer"))):
        growth *= _growth(step)
        if growth > limits.TOKENIZER_GROWTH:
            raise InputError(
                f"{file}: its replacements make a text more than {limits.TOKENIZER_GROWTH} times longer"
            )
    padding = content.get("padding")
    strategy = padding.get("strategy") if isinstance(padding, dict) else None
    length = strategy.get("Fixed") if isinstance(strategy, dict) else None
    multiple = padding.get("pad_to_multiple_of") if isinstance(padding, dict) else None
    for value in (length, multiple):
        if isinstance(value, int) and value > limits.TOKENIZER_PADDING:
            raise InputError(
                f"{file}: pads every text to {value:,} tokens; at most {limits.TOKENIZER_PADDING:,} are "
                "allowed"
            )


def _steps(step: Any) -> Iterator[dict[str, Any]]:
    """The steps of a sequence of sequences, in order."""
    waiting = [step]
    while waiting:
        first = waiting.pop(0)
        if isinstance(first, dict):
            inside = first.get("normalizers") or first.get("pretokenizers")
            if isinstance(inside, list):
                waiting[:0] = inside
            else:
                yield first


def _growth(step: dict[str, Any]) -> float:
    """How many times longer a step can make a text."""
    content = step.get("content")
    if step.get("type") != "Replace" or not isinstance(content, str):
        return 1.0
    pattern = step.get("pattern")
    literal = pattern.get("String") if isinstance(pattern, dict) else None
    # A regular expression can match a single character, or none at all.
    shortest = len(literal) if isinstance(literal, str) and literal else 1
    return max(1.0, len(content) / shortest)
