"""Reading a prompt word by word: phrases of the vocabulary, and errors that name the word."""

from __future__ import annotations

import re
from difflib import get_close_matches

from croc.errors import InputError
from croc_syn.world.language.vocabulary import Payload, phrase_table, vocabulary

_TOKEN = re.compile(r"[A-Za-z0-9]+(?:['’-][A-Za-z0-9]+)*|[^\sA-Za-z0-9]")


class PromptError(InputError):
    """A prompt that is not controlled English.

    Attributes:
        word: the word at which parsing stopped; empty at the end of the prompt.
        position: its number in the prompt, from 1.
        expected: what would be allowed there.
    """

    def __init__(
        self, problem: str, word: str = "", position: int = 0, expected: tuple[str, ...] = ()
    ) -> None:
        hint = f"; expected {_alternatives(expected)}" if expected else ""
        super().__init__(problem + hint)
        self.word, self.position, self.expected = word, position, expected


def _alternatives(options: tuple[str, ...]) -> str:
    return options[0] if len(options) == 1 else ", ".join(options[:-1]) + " or " + options[-1]


class WordReader:
    """The words of a prompt; ``index`` is the number of the next word, from 0."""

    def __init__(self, prompt: str) -> None:
        self.text = prompt
        self.raw = _TOKEN.findall(prompt)
        self.words = [token.lower().replace("’", "'") for token in self.raw]
        self.index = 0

    def peek(self, category: str, start: int | None = None) -> tuple[int, Payload] | None:
        """The longest phrase of a category from ``start`` on: the index behind it, and what it means."""
        at = self.index if start is None else start
        if at >= len(self.words):
            return None
        for words, payload in phrase_table()[category].get(self.words[at], ()):
            if tuple(self.words[at : at + len(words)]) == words:
                return at + len(words), payload
        return None

    def accept(self, category: str) -> Payload | None:
        """Read the longest phrase of a category, if one is next; gives what it means."""
        phrase = self.peek(category)
        if phrase is None:
            return None
        self.index = phrase[0]
        return phrase[1]

    def at_relation(self) -> bool:
        """Whether a relation is next; places take precedence ("in a park")."""
        return self.peek("adverbial") is None and self.peek("relation") is not None

    def accept_word(self, *options: str) -> bool:
        """Read one of the words, if one is next; gives whether it was."""
        if self.index < len(self.words) and self.words[self.index] in options:
            self.index += 1
            return True
        return False

    def unexpected(self, *expected: str, at: int | None = None) -> PromptError:
        """The error for a word that does not fit."""
        index = self.index if at is None else at
        if index >= len(self.words):
            return PromptError("the prompt ends too early", "", len(self.words) + 1, expected)
        raw = self.raw[index]
        shown = raw if len(raw) <= 30 else raw[:30] + "…"
        if self.words[index] in vocabulary():
            problem = f'word {index + 1}, "{shown}", does not fit here'
        else:
            problem = f'word {index + 1}, "{shown}", is not in the vocabulary'
            close = get_close_matches(self.words[index][:40], vocabulary(), n=1, cutoff=0.8)
            if close:
                problem += f' (did you mean "{close[0]}"?)'
        return PromptError(problem, raw, index + 1, expected)

    def refusal(self, problem: str, at: int, *expected: str) -> PromptError:
        """The error for known words whose combination has no meaning."""
        raw = self.raw[at] if at < len(self.raw) else ""
        return PromptError(f'word {at + 1}, "{raw}": {problem}', raw, at + 1, expected)
