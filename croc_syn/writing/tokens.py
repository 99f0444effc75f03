"""How many tokens a prompt has for a text encoder.

Prompts repeat the same few thousand words. Where no token of a tokenizer crosses a space, as with CLIP and
T5, the tokens of a text are those of its words: each word is tokenized once, and the sum is exact.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from croc.errors import MissingExtra
from croc.jobs.parts import Abort
from croc.scorers.tokenizer_files import check_tokenizer
from croc_syn.model_runtime import first_line, require_download
from croc_syn.writing.settings import Encoder

# Words cached with their counts, some 20 MB; then the cache is cleared.
_MOST_WORDS = 200_000

# Steps before the splitting that change a text without accents as they change each of its words.
_LETTER_BY_LETTER = {"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Precompiled"}
_ONE_SPACE = {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}
# CLIP's words and punctuation, in older files with its two special tokens; what is between them is dropped.
_CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_CLIPS = (_CLIP, r"<\|startoftext\|>|<\|endoftext\|>|" + _CLIP)


class TokenCounter:
    """Counts the tokens of texts for one tokenizer, start and end tokens included.

    Args:
        tokenizer: of the library tokenizers, without truncation and padding.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ends: int = tokenizer.num_special_tokens_to_add(False)
        self._words: dict[str, int] | None = {} if word_by_word(json.loads(tokenizer.to_str())) else None

    def __call__(self, text: str) -> int:
        """The number of tokens, even if an encoder reads fewer."""
        words = self._words
        if (
            words is None
            or not (text.isascii() and text.isprintable())
            or "  " in text
            or text != text.strip()
        ):
            return len(self._tokenizer.encode(text).ids)
        total = self._ends
        # A word keeps the space before it, on which its tokens may depend.
        for word in text.replace(" ", "\n ").split("\n"):
            count = words.get(word)
            if count is None:
                if len(words) >= _MOST_WORDS:
                    words.clear()
                count = words[word] = len(self._tokenizer.encode(word, add_special_tokens=False).ids)
            total += count
        return total


def word_by_word(settings: Mapping[str, Any]) -> bool:
    """Whether the tokens of a text are those of its words, for printable ASCII with single spaces.

    Args:
        settings: of a tokenizer, as in ``tokenizer.json``. False for steps that are not known here.
    """
    first = next(_steps(settings["pre_tokenizer"], "pretokenizers"), None)
    return (
        first is not None
        and _splits_at_spaces(first)
        and all(
            step["type"] in _LETTER_BY_LETTER or step == _ONE_SPACE
            for step in _steps(settings["normalizer"], "normalizers")
        )
        and not settings["model"].get("dropout")
        and not any(token["rstrip"] or " " in token["content"] for token in settings["added_tokens"])
    )


def _splits_at_spaces(step: Mapping[str, Any]) -> bool:
    match step:
        case {"type": "WhitespaceSplit" | "Whitespace" | "BertPreTokenizer"}:
            return True
        case {"type": "ByteLevel", "use_regex": True} | {"type": "Metaspace", "split": True}:
            return True
        case {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": True}:
            return pattern in _CLIPS
    return False


def _steps(step: Mapping[str, Any] | None, inside: str) -> Iterator[Mapping[str, Any]]:
    """The steps of a sequence of sequences, in order."""
    if step is None:
        return
    if step["type"] == "Sequence":
        for below in step[inside]:
            yield from _steps(below, inside)
    else:
        yield step


@cache
def token_counter(encoder: Encoder) -> TokenCounter:
    """The counter of an encoder's tokens.

    Raises:
        Abort: its tokenizer cannot be loaded.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtra("counting tokens", "generate") from error
    try:
        folder = Path(encoder.tokenizer)
        if folder.is_dir():
            file = folder / encoder.subfolder / "tokenizer.json"
        else:
            from huggingface_hub import hf_hub_download

            inside = f"{encoder.subfolder}/tokenizer.json" if encoder.subfolder else "tokenizer.json"
            require_download(encoder.tokenizer, encoder.revision, inside, f"encoder {encoder.name}")
            file = Path(
                hf_hub_download(
                    encoder.tokenizer,
                    "tokenizer.json",
                    subfolder=encoder.subfolder or None,
                    revision=encoder.revision,
                )
            )
        check_tokenizer(file)
        tokenizer = Tokenizer.from_file(str(file))
    except Abort:
        raise
    except Exception as error:  # tokenizers raises bare exceptions
        raise Abort(
            f"encoder {encoder.name}: {encoder.tokenizer} has no tokenizer to count with "
            f"({first_line(error, 200)}); name a folder in text.rules.encoders, or give [] to count no tokens"
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return TokenCounter(tokenizer)
