"""What a response must be: two prompts that differ in the property, in the language, not too long."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from croc.errors import MissingExtra
from croc.wording import counted
from croc_syn.writing.responses import Pair, UnusableResponse
from croc_syn.writing.settings import Encoder
from croc_syn.writing.tokens import TokenCounter, token_counter

SAME, LANGUAGE, META, MARKUP = "prompts agree", "language", "meta talk", "markup"
LONG, SHORT, PROPERTY = "too long", "too short", "property"

TEXT_ERRORS = "text/errors"
"""The branch of properties in which a spelling error is the contrast."""

_VALUE_CHARACTERS = 200
# Below this probability, the language of a short text is a guess.
_CERTAIN = 0.8
_JUDGED = 160

# A prompt stands by itself: it cannot refer to another one, and it addresses nobody.
_META = re.compile(
    r"\bthe same\b"
    r"|\bas (?:before|above)\b"
    r"|\b(?:this|the|first|second|original|previous|other|contrast(?:ing|ive)?) prompt\b|\bprompts?:"
    r"|\b(?:in|from|of) the (?:first|second|original|previous|other) (?:image|picture|scene|version)\b"
    r"|\bcontrast(?:ing)? (?:image|version)\b|\b(?:original|contrast) (?:value|property)\b"
    r"|\bunlike the (?:first|original|previous|other)\b"
    r"|\bas an AI\b|\bjson\b|\bnote that\b"
    r"|^(?:sure|certainly|of course|okay|here(?:['’]s| is| are))\b",
    re.IGNORECASE,
)
# Whatever matches the pattern above contains one of these: searching for them first is fifteen times as fast.
_META_WORDS = (
    "same", "as before", "as above", "prompt", "the first", "the second", "the previous", "the other",
    "original", "contrast", "unlike", "as an ai", "json", "note that",
)  # fmt: skip
_META_STARTS = ("sure", "certainly", "of course", "okay", "here")
# What image tools or web pages interpret: weights, flags, tags, placeholders.
_MARKUP = re.compile(
    r"</?[a-z!][^<>]*>|[{}]|```|\*\*|\[[^\]]*\]|\([^()]*:\s*\d(?:\.\d+)?\)"
    r"|(?:^|\s)--[a-z]|https?://|\\[nt\"]|\.\.\.|…$",
    re.IGNORECASE,
)
# Whatever matches the pattern above contains one of these.
_MARKS = ("<", "{", "}", "```", "**", "[", "(", "--", "://", "\\", "...", "…")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_NOT_LATIN = re.compile(
    r"[\u0370-\u1cff\u1f00-\u1fff\u2c00-\u2c5f\u2d00-\u2dff\u2e80-\ua6ff\ua800-\uab2f\uab70-\ufaff\ufb1d-\ufdff"
    r"\ufe70-\ufeff\uff66-\uffdc]"
)
_OTHER_SCRIPTS = frozenset(
    "am ar be bg bn el fa gu he hi hy ja ka kk km ko lo mk mr ne pa ru si sr ta te th uk ur zh".split()  # noqa: SIM905
)
# No other language has two of these in a sentence.
_ENGLISH = frozenset(
    "the with and from its their which while behind beside between against through".split()  # noqa: SIM905
)
# Scripts without spaces between words (Thai, Lao, Khmer, Chinese, Japanese) count by character.
_WORD = re.compile(
    r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]|[^\W_]+(?:['’-][^\W_]+)*"
)
# The same for folded text in ASCII, in half the time.
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:['-][a-z0-9]+)*")


@dataclass(frozen=True)
class TokenCount:
    """Tokens of both prompts for one encoder."""

    encoder: str
    prompt: int
    contrast_prompt: int
    limit: int | None


@dataclass(frozen=True)
class CheckedPair:
    """A pair that keeps the rules, and its measurements.

    Attributes:
        pair: the two prompts.
        edits: words to change, add or remove to turn one prompt into the other.
        tokens: per encoder.
    """

    pair: Pair
    edits: int
    tokens: tuple[TokenCount, ...] = ()


@dataclass(frozen=True)
class PairChecker:
    """Checks pairs against the rules.

    Attributes:
        language: ISO code of the prompts' language.
        encoders: the text encoders that read the prompts, how many tokens they read (None: all), and whether
            longer prompts are refused.
        min_words, max_characters: of a prompt.
    """

    language: str = "en"
    encoders: Sequence[tuple[Encoder, int | None, bool]] = ()
    min_words: int = 2
    max_characters: int = 2000
    _readers: list[tuple[str, TokenCounter, int | None, bool]] = field(
        default_factory=list, init=False, compare=False
    )

    def __post_init__(self) -> None:
        for encoder, limit, strict in self.encoders:
            self._readers.append((encoder.name, token_counter(encoder), limit, strict))

    def check(self, pair: Pair, about: Mapping[str, Any]) -> CheckedPair:
        """Check one pair.

        Args:
            pair: what the model wrote.
            about: what was requested: ``subset``, and of the property ``name``, ``id`` and ``path``.

        Raises:
            UnusableResponse: a rule is broken; the sentence says which.
        """
        words = [self._check_words(name, getattr(pair, name)) for name in ("prompt", "contrast_prompt")]
        _check_difference(pair, words, about)
        _check_property(pair, about)
        self._check_language(pair)
        return CheckedPair(pair, _edits(*words), self._count_tokens(pair))

    def _check_words(self, name: str, text: str) -> list[str]:
        if len(text) > self.max_characters:
            raise UnusableResponse(
                LONG, f"{name} has {len(text):,} characters, more than {self.max_characters:,}"
            )
        if _CONTROL.search(text):
            raise UnusableResponse(MARKUP, f"{name} contains control characters")
        low = text.casefold()
        suspect = low.startswith(_META_STARTS) or any(word in low for word in _META_WORDS)
        if suspect and (meta := _META.search(text)):
            raise UnusableResponse(
                META, f"{name} contains {meta.group()!r}; a prompt must be complete without other text"
            )
        if any(mark in text for mark in _MARKS) and (markup := _MARKUP.search(text)):
            raise UnusableResponse(
                MARKUP, f"{name} contains {markup.group().strip()[:40]!r}; a prompt must be plain text"
            )
        words = (_ASCII_WORD if text.isascii() else _WORD).findall(low)
        if len(words) < self.min_words:
            raise UnusableResponse(
                SHORT, f"{name} has {counted(len(words), 'word')}, fewer than {self.min_words}"
            )
        return words

    def _check_language(self, pair: Pair) -> None:
        both = (pair.prompt, pair.contrast_prompt)
        for name, text in zip(("prompt", "contrast_prompt"), both, strict=True):
            if self.language not in _OTHER_SCRIPTS and (other := _NOT_LATIN.search(text)):
                raise UnusableResponse(
                    LANGUAGE, f"{name} contains {other.group()!r}; expected {language_name(self.language)}"
                )
            if self.language == "en" and len(_ENGLISH.intersection(text.casefold().split())) > 1:
                continue
            language, certainty = _identifier().classify(text[:_JUDGED])
            if language != self.language and certainty > _CERTAIN:
                raise UnusableResponse(
                    LANGUAGE,
                    f"{name} is in {language_name(language)}; expected {language_name(self.language)}",
                )

    def _count_tokens(self, pair: Pair) -> tuple[TokenCount, ...]:
        counts = []
        for name, count, limit, strict in self._readers:
            first, second = count(pair.prompt), count(pair.contrast_prompt)
            if strict and limit is not None and max(first, second) > limit:
                longer = "prompt" if first >= second else "contrast_prompt"
                raise UnusableResponse(
                    LONG, f"{longer} has {max(first, second)} tokens for {name}, which reads at most {limit}"
                )
            counts.append(TokenCount(name, first, second, limit))
        return tuple(counts)


def _check_difference(pair: Pair, words: Sequence[list[str]], about: Mapping[str, Any]) -> None:
    by_letter = (about.get("path") or "").startswith(TEXT_ERRORS)
    same = pair.prompt == pair.contrast_prompt if by_letter else words[0] == words[1]
    if same:
        raise UnusableResponse(SAME, "the two prompts have the same words")
    if not pair.value or not pair.contrast_value:
        raise UnusableResponse(PROPERTY, "value or contrast_value is empty; give the value in each prompt")
    if max(len(pair.value), len(pair.contrast_value)) > _VALUE_CHARACTERS:
        raise UnusableResponse(
            PROPERTY, f"value or contrast_value is longer than {_VALUE_CHARACTERS} characters"
        )
    if pair.value == pair.contrast_value or (
        not by_letter and pair.value.casefold() == pair.contrast_value.casefold()
    ):
        raise UnusableResponse(PROPERTY, f"value and contrast_value must differ; both are {pair.value!r}")
    for name in ("value", "contrast_value", "property"):
        if _CONTROL.search(getattr(pair, name)):
            raise UnusableResponse(MARKUP, f"{name} contains control characters")


def _check_property(pair: Pair, about: Mapping[str, Any]) -> None:
    property_name = _words_of(pair.property)
    if not property_name:
        raise UnusableResponse(PROPERTY, "the answer does not name the property that differs")
    if len(pair.property) > _VALUE_CHARACTERS:
        raise UnusableResponse(PROPERTY, f"the property's name is longer than {_VALUE_CHARACTERS} characters")
    if about.get("name") is None:  # the model chose what differs
        return
    if property_name not in (_words_of(about["name"]), _words_of(about["id"])):
        raise UnusableResponse(
            PROPERTY, f"the answer contrasts {pair.property!r}; expected {about['name']!r}"
        )


def _words_of(name: str) -> str:
    return " ".join(_WORD.findall(name.casefold().replace("_", " ").replace("-", " ")))


def _edits(first: list[str], second: list[str]) -> int:
    return int(_levenshtein()(first, second))


@cache
def _levenshtein() -> Any:
    try:
        from rapidfuzz.distance import Levenshtein
    except ImportError as error:
        raise MissingExtra("checking prompts", "generate") from error
    return Levenshtein.distance


@cache
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise MissingExtra("checking prompts", "generate") from error
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


_LANGUAGES = {
    "ar": "Arabic", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English",
    "es": "Spanish", "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian",
    "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "nl": "Dutch", "no": "Norwegian",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sv": "Swedish", "tr": "Turkish",
    "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


def language_name(code: str) -> str:
    """A language's English name for instructions; the code itself for a rare language."""
    return _LANGUAGES.get(code, f"the language {code!r}")
