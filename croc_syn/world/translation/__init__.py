"""The exact world's prompts in other languages: the same meanings, written and read by a grammar.

In: a prompt in controlled English, or one in another language.
Out: the other one; both mean the same, so scenes and the oracle are those of the English prompt.

A file per language (``de.yaml``, …) declares its words and closed forms; :mod:`.grammar` inflects them,
:mod:`.writer` writes meanings and :mod:`.reader` reads them. docs/languages.md is the guide.
"""

from __future__ import annotations

from croc_syn.world.language.parser import parse
from croc_syn.world.language.words import WordReader
from croc_syn.world.translation.languages import BARE, language
from croc_syn.world.translation.reader import parse_translation
from croc_syn.world.translation.writer import write

__all__ = ["frame_of", "parse_translation", "translate"]


def frame_of(prompt: str) -> str:
    """The sentence frame of an English prompt, as far as other languages have it."""
    words = WordReader(prompt)
    place = words.peek("adverbial")
    if place is not None:
        return "place first" if place[0] < len(words.words) else BARE
    if words.peek("opener") is None:
        return BARE
    return "there is" if words.words[0] in ("there", "here", "we", "i", "you", "one") else "picture of"


def translate(prompt: str, code: str, frame: str | None = None) -> str:
    """A prompt in controlled English in another language.

    Args:
        prompt: controlled English.
        code: of the language, one of ``croc_syn.world.LANGUAGES``.
        frame: name of a sentence frame of the language; None takes that of the prompt.

    Returns:
        A prompt with the same meaning.

    Raises:
        PromptError: the prompt is not controlled English.
        InputError: there is no such language, or the prompt has more than one relation.

    >>> translate("a picture of two red dogs in a park", "de")
    'ein Bild mit zwei roten Hunden in einem Park'
    """
    return write(parse(prompt), language(code), frame or frame_of(prompt))
