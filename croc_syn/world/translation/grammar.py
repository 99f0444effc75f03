"""Inflection: forms of articles, adjectives and nouns, agreement, elision and contraction."""

from __future__ import annotations

import re

from croc_syn.world.translation.languages import NOMINATIVE, Language, Noun

_GENDERS = "mfn"

# Endings of German adjectives after "ein" and "kein", by case and gender ("ein roter Hund").
_MIXED = {
    "nominative": ("er", "e", "es"),
    "accusative": ("en", "e", "es"),
    "dative": ("en", "en", "en"),
}
# After a number, where no article shows the case ("zwei rote Hunde").
_STRONG_PLURAL = {"nominative": "e", "accusative": "e", "dative": "en"}

_GERMAN = {"in dem": "im", "an dem": "am", "bei dem": "beim", "von dem": "vom", "zu dem": "zum"}
_SPANISH = {"de el": "del", "a el": "al"}
_FRENCH = {"de le": "du", "à le": "au"}
_CONTRACTIONS = {
    code: (re.compile(rf"\b({'|'.join(forms)})\b"), forms)
    for code, forms in (("de", _GERMAN), ("es", _SPANISH), ("fr", _FRENCH))
}
_ELISION = re.compile(r"\b(d|n|l|qu)(?:e|a) (?=([aeiouyhâàéèêëîïôœ][\w'-]*))")


def form(forms: str, gender: str, plural: bool) -> str:
    """The form that agrees, of one for all, singular/plural, or m/f/m plural/f plural.

    >>> form("rojo/roja/rojos/rojas", "f", True), form("verde/verdes", "f", True), form("rosa", "m", True)
    ('rojas', 'verdes', 'rosa')
    """
    options = forms.split("/")
    if len(options) == 4:
        return options[2 * plural + (gender == "f")]
    return options[plural] if len(options) == 2 else options[0]


def article(language: Language, forms: str, noun: Noun) -> str:
    """The form of an article that agrees with a singular noun: m/f, or m/f/n."""
    options = forms.split("/")
    if len(options) == 1:
        return options[0]
    gender = "m" if language.code == "es" and noun.flags == "el" else noun.gender
    return options[_GENDERS.index(gender)]


def adjective(language: Language, forms: str, noun: Noun, plural: bool, case: str) -> str:
    """An adjective beside its noun."""
    if language.code != "de":
        return form(forms, noun.gender, plural)
    ending = _STRONG_PLURAL[case] if plural else _MIXED[case][_GENDERS.index(noun.gender)]
    return forms + ending


def predicate(language: Language, forms: str, noun: Noun, plural: bool) -> str:
    """An adjective after the verb."""
    return forms if language.code == "de" else form(forms, noun.gender, plural)


def noun_form(language: Language, noun: Noun, plural: bool, case: str) -> str:
    """A noun in its number and case."""
    if language.code != "de" or case == NOMINATIVE:
        return noun.many if plural else noun.one
    if plural:
        return noun.many if case != "dative" or noun.many[-1] in "ns" else f"{noun.many}n"
    if noun.flags == "weak":
        return noun.many
    return noun.flags.removeprefix("dative ") if noun.flags and case == "dative" else noun.one


def contracted(language: Language, text: str) -> str:
    """The text with contracted and elided words: "im Park", "del mar", "d'un chat", "an apple".

    >>> from croc_syn.world.translation.languages import language
    >>> contracted(language("fr"), "à le bord de un lac"), contracted(language("es"), "a el lado")
    ("au bord d'un lac", 'al lado')
    """
    if language.code == "en":
        return re.sub(r"\ba (?=[aeiou])", "an ", text)
    if language.code == "fr":

        def elided(found: re.Match[str]) -> str:
            return found[0] if found[2] in language.aspirated else f"{found[1]}'"

        text = _ELISION.sub(elided, text)
    pattern, forms = _CONTRACTIONS[language.code]
    return pattern.sub(lambda found: forms[found[0]], text)
