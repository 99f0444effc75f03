"""The tokens of a prompt: never a control token, and truncation is detected."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

# Added tokens that carry no ``special`` flag but steer a model all the same: <|fim_prefix|>, [INST] …
_MARKUP = re.compile(r"<[^\s<>]+>|\[[^\s\[\]]+\]")


class PromptTokenizer:
    """A tokenizer that reads prompts as plain text.

    ``<image>`` or ``<|endoftext|>`` in a prompt is text that somebody typed: it never becomes a control
    token. Text without such strings gets exactly the ids that the tokenizer gives it.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    @cached_property
    def control_tokens(self) -> dict[str, int]:
        """Every string that the tokenizer would read as a control token, with its id."""
        found = dict(
            zip(self.tokenizer.all_special_tokens, self.tokenizer.all_special_ids, strict=True),
        )
        for token_id, token in self.tokenizer.added_tokens_decoder.items():
            if token.special or _MARKUP.fullmatch(token.content.strip()):
                found[token.content] = token_id
        return {text: token_id for text, token_id in found.items() if text}

    @cached_property
    def _control(self) -> re.Pattern[str] | None:
        longest_first = sorted(self.control_tokens, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    @cached_property
    def _control_ids(self) -> frozenset[int]:
        ids = frozenset(self.control_tokens.values())
        unknown = self.tokenizer.unk_token_id
        # The unknown token is no control token, unless one token has both uses, as in CLIP.
        shared = unknown in (self.tokenizer.eos_token_id, self.tokenizer.bos_token_id)
        return ids if shared else ids - {unknown}

    def ids(self, text: str, after: str = "") -> list[int]:
        """The token ids of ``text``, without special tokens around it and with none inside.

        Args:
            text: the text.
            after: the control token before it; some tokenizers begin a text with a space, but not after a
                control token.
        """
        ids: list[int] = []
        for piece in self._pieces(text):
            new = self._raw(piece) if ids or not after else self._raw_after(after, piece)
            # A normaliser may still turn similar characters (full-width brackets) into a control string.
            if self._control_ids.intersection(new):
                new = [i for character in piece for i in self._raw(character) if i not in self._control_ids]
            ids += new
        return ids

    def split_at_control(self, text: str) -> list[str]:
        """Control tokens and the plain text between them, in order."""
        if self._control is None:
            return [text] if text else []
        return [part for part in re.split(f"({self._control.pattern})", text) if part]

    def truncate(self, text: str, window: int) -> tuple[str, bool]:
        """The longest beginning of at most ``window`` tokens, and whether anything was cut off."""
        if len(self.ids(text)) <= window:
            return text, False
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            if len(self.ids(text[:middle])) <= window:
                low = middle
            else:
                high = middle - 1
        return text[:low], True

    @cached_property
    def special_tokens(self) -> tuple[list[int], list[int]]:
        """The special tokens that the tokenizer puts before and after a text."""
        bare = self._raw("a")
        full = list(self.tokenizer("a", add_special_tokens=True).input_ids)
        for start in range(len(full) - len(bare) + 1):
            if full[start : start + len(bare)] == bare:
                return full[:start], full[start + len(bare) :]
        return [], []

    def _raw(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def _raw_after(self, control: str, text: str) -> list[int]:
        ids = self._raw(control + text)
        return ids[1:] if ids[:1] == [self.control_tokens[control]] else self._raw(text)

    def _pieces(self, text: str) -> list[str]:
        """Split every control string after its first character, so that no piece contains one."""
        if self._control is None:
            return [text] if text else []
        pieces = []
        while text:
            found = self._control.search(text)
            if found is None:
                pieces.append(text)
                break
            pieces.append(text[: found.start() + 1])
            text = text[found.start() + 1 :]
        return pieces
