"""What happens to a text before the tokenizer, where a model was trained on texts of another form.

- ``as is``: nothing.
- ``lowercase``: lower case (SigLIP 2).
- ``blip``: LAVIS's caption processor: lower case, ``.!"()*#:;~`` to a space, spaces merged, 50 words.
- ``blip question``: BLIP's processing of questions: lower case, the same characters removed, 50 words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from croc.errors import InputError

_PUNCTUATION = re.compile(r'[.!"()*#:;~]')
_MAX_WORDS = 50


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


CAPTIONS: Mapping[str, Callable[[str], str]] = {
    "as is": lambda text: text,
    "lowercase": str.lower,
    "blip": blip_caption,
    "blip question": blip_question,
}


def require_caption(name: str) -> str:
    """The name of a processing.

    Raises:
        InputError: there is none of that name.
    """
    if name not in CAPTIONS:
        raise InputError(f"caption {name!r} is unknown: use one of {', '.join(CAPTIONS)}")
    return name
