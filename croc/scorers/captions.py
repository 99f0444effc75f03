"""What happens to a text before the tokenizer, where a model was trained on texts of another form.

- ``as is``: nothing.
- ``lowercase``: lower case (SigLIP 2).
- ``blip``: LAVIS's caption processor: lower case, ``.!"()*#:;~`` to a space, spaces merged, 50 words.
- ``blip question``: BLIP's processing of questions: lower case, the same characters removed, 50 words.
- ``normalised 1``: :func:`normalised`, one spelling of what people type in several (the small models).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping

from croc.errors import InputError

_PUNCTUATION = re.compile(r'[.!"()*#:;~]')
_MAX_WORDS = 50

NORMALISED = "normalised 1"
"""Name of :func:`normalised` in a checkpoint's configuration; another behaviour needs another number."""

_NUMBER_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"),
    *("twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
# A number from 0 to 20 that is a word of its own: not part of "3d", "1990", "2.5", "1,000" or "-3".
_NUMBER = re.compile(r"(?<![\w.,'/\u2044:-])(?:[0-9]|1[0-9]|20)(?![\w'/\u2044:%-]|[.,][0-9])")
_QUOTES = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u00b4`", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"')
)
_CONTRACTIONS = (
    (re.compile(r"\b(is|are|does|do|was|were|has|have)n't\b"), r"\1 not"),
    (re.compile(r"\b(there|here|it|that|this|what|who|which)'s\b"), r"\1 is"),
    (re.compile(r"\b(there|they|we|you|these|those)'re\b"), r"\1 are"),
)
_SPACE_BEFORE = re.compile(r"\s+([,.;:!?])")
_ENDS = " .,;:!?\u2026"


def blip_caption(text: str) -> str:
    """A caption as LAVIS's ``BlipCaptionProcessor`` prepares it.

    >>> blip_caption('Two dogs (brown), running; FAST!')
    'two dogs brown , running fast'
    """
    text = re.sub(r"\s{2,}", " ", _PUNCTUATION.sub(" ", text.lower())).rstrip("\n").strip(" ")
    return _first_words(text)


def blip_question(text: str) -> str:
    """A question as BLIP's ``pre_question`` prepares it.

    >>> blip_question('The "red" book?')
    'the red book?'
    """
    return _first_words(_PUNCTUATION.sub("", text.lower()).rstrip(" "))


def _first_words(text: str) -> str:
    words = text.split(" ")
    return text if len(words) <= _MAX_WORDS else " ".join(words[:_MAX_WORDS])


def normalised(text: str) -> str:
    """A prompt in one spelling: what people type differently and mean equally becomes equal.

    In this order: Unicode in compatibility form (NFKC), typographic quotes and apostrophes to the plain ones,
    lower case, white space merged and none before punctuation, quotes around the whole text removed, full
    stops and other punctuation removed at both ends, contractions written out ("there's" to "there is",
    "isn't" to "is not"), whole numbers from 0 to 20 as words. Punctuation inside the text stays, and so do
    other numbers ("21", "2.5", "3d"). A text of punctuation alone stays as it is, without white space around
    it. Normalising twice changes nothing more.

    >>> normalised("There\u2019s a red dog,  and 3 cats.")
    'there is a red dog, and three cats'
    >>> normalised('"A sign that ISN\u2019T red!"')
    'a sign that is not red'
    """
    text = unicodedata.normalize("NFKC", text).translate(_QUOTES).lower()
    text = _SPACE_BEFORE.sub(r"\1", " ".join(text.split()))
    stripped = text
    while True:
        shorter = stripped.strip(_ENDS)
        if len(shorter) > 2 and shorter[0] in "\"'" and shorter.find(shorter[0], 1) == len(shorter) - 1:
            shorter = shorter[1:-1]
        if shorter == stripped:
            break
        stripped = shorter
    text = stripped or text
    for pattern, full in _CONTRACTIONS:
        text = pattern.sub(full, text)
    return _NUMBER.sub(lambda found: _NUMBER_WORDS[int(found.group())], text)


CAPTIONS: Mapping[str, Callable[[str], str]] = {
    "as is": lambda text: text,
    "lowercase": str.lower,
    "blip": blip_caption,
    "blip question": blip_question,
    NORMALISED: normalised,
}


def require_caption(name: str) -> str:
    """The name of a processing.

    Raises:
        InputError: there is none of that name.
    """
    if not isinstance(name, str) or name not in CAPTIONS:
        raise InputError(f"caption {name!r} is unknown: use one of {', '.join(CAPTIONS)}")
    return name
