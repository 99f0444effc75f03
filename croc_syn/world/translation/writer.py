"""Writing: meaning → a prompt in one of the languages."""

from __future__ import annotations

import re
from collections.abc import Sequence

from croc.errors import InputError
from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS
from croc_syn.world.language.meaning import Absence, Attribute, Group, Meaning
from croc_syn.world.translation import grammar
from croc_syn.world.translation.languages import BARE, DIMENSIONS, NOMINATIVE, Language, Noun

_SLOT = re.compile(r"\{([^}]*)\}")


def write(meaning: Meaning, language: Language, frame: str = BARE) -> str:
    """Write a meaning.

    Args:
        meaning: what the prompt states.
        language: the language.
        frame: name of the sentence frame, one of ``language.frames``; frames with a place first need a place.

    Returns:
        The prompt, in lower case except for German nouns.

    Raises:
        InputError: the meaning has more than one relation, which only English can state.
    """
    return Writer(language, frame).write(meaning)


class Writer:
    """Writes meanings in one frame of a language."""

    def __init__(self, language: Language, frame: str = BARE) -> None:
        self.language = language
        self.frame = language.frames[frame]
        self.places_first = "{places}" in self.frame.alone

    # The prompt

    def write(self, meaning: Meaning) -> str:
        """A prompt with this meaning."""
        if len(meaning.links) > 1:
            raise InputError(
                f"a prompt in {self.language.name} states one relation at most, this one has "
                f"{len(meaning.links)}"
            )
        places = " ".join(self.place(attribute) for attribute in meaning.image)
        things = self.things(meaning)
        texts = []
        if things:
            texts.append(f"{self.frame.opener.replace('{places}', places)} {things}")
        absences = list(meaning.absences)
        if absences and not things:
            texts.append(self.absent(self.frame.alone.replace("{places}", places), absences.pop(0)))
        if not self.places_first or not texts:
            texts.append(places)
        texts += [self.absent(self.frame.absence, absence) for absence in absences]
        texts.append(self.language.only if meaning.only else "")
        return self.finished(" ".join(texts))

    def finished(self, text: str) -> str:
        """The text with contractions, and with commas where they belong."""
        text = grammar.contracted(self.language, " ".join(text.split()))
        text = re.sub(r",( ,)+", ",", text.replace(" ,", ",").replace(",,", ","))
        return text.strip(" ,")

    def place(self, attribute: Attribute) -> str:
        """A place, a time of day or the weather."""
        template = self.language.values[attribute.dimension][attribute.value]
        case = "dative" if self.language.code == "de" else NOMINATIVE

        def filled(slot: re.Match[str]) -> str:
            kind, declared = slot[1].split(" ", 1)
            # The plural is not used here.
            noun = Noun.of(re.sub(r"^(. [^(]+?)( \(|$)", r"\1/-\2", declared))
            forms = self.language.one if kind == "a" else self.language.the
            article = grammar.article(self.language, forms[case], noun)
            return f"{article} {noun.one}"

        return _SLOT.sub(filled, template)

    # Things

    def things(self, meaning: Meaning) -> str:
        """The phrase for all things."""
        phrases = [self.group(group, self.frame.case) for group in meaning.groups]
        if not meaning.links:
            return self.joined(phrases)
        link, relation = meaning.links[0], meaning.links[0].relation
        a, b = link.a, link.b
        inverse = lexicon.RELATIONS[relation].inverse
        if a > b and inverse is not None:
            a, b, relation = b, a, inverse
        text = f"{phrases[a]} {self.related(relation, meaning.groups[a], meaning.groups[b])}"
        rest = [phrase for i, phrase in enumerate(phrases) if i not in (a, b)]
        return "".join([text, *(f", {self.language.conjunction} {phrase}" for phrase in rest)])

    def joined(self, phrases: Sequence[str]) -> str:
        """A list: "ein Hund, eine Katze und ein Vogel"."""
        if len(phrases) < 2:
            return "".join(phrases)
        return f"{', '.join(phrases[:-1])} {self.language.conjunction} {phrases[-1]}"

    def related(self, relation: str, group: Group, other: Group) -> str:
        """The words of a relation and the thing that they refer to."""
        template = self.relation(relation, self.language.nouns[group.kind], group.count > 1)
        return _SLOT.sub(lambda slot: self.group(other, slot[1] or NOMINATIVE), template)

    def relation(self, relation: str, noun: Noun, plural: bool) -> str:
        """The words of a relation about things of this noun, with a slot for the other thing."""
        template = grammar.form(self.language.values["relation"][relation], noun.gender, plural)
        agreeing = self.agreeing(noun, plural)
        return _SLOT.sub(lambda slot: agreeing.get(slot[1], slot[0]), template)

    def agreeing(self, noun: Noun, plural: bool) -> dict[str, str]:
        """The closed words of clauses about things of this noun."""
        pronouns = self.language.relative.split("/")
        return {
            "be": grammar.form(self.language.be, noun.gender, plural),
            "be_doing": grammar.form(self.language.be_doing, noun.gender, plural),
            "relative": pronouns[-1] if plural or len(pronouns) == 1 else pronouns["mfn".index(noun.gender)],
        }

    def group(self, group: Group, case: str) -> str:
        """A noun phrase with its number."""
        noun = self.language.nouns[group.kind]
        number = self.number(group.count, noun, case)
        return f"{number} {self.noun_phrase(group, case)}"

    def number(self, count: int, noun: Noun, case: str) -> str:
        """The article, or a number from two on."""
        if count > 1:
            return self.language.numbers[count - 2]
        return grammar.article(self.language, self.language.one[case], noun)

    def absent(self, template: str, absence: Absence) -> str:
        """A clause about something that is absent."""
        noun = self.language.nouns[absence.kind]
        phrase = self.noun_phrase(Group(absence.kind, 1, absence.attributes), self.frame.case)

        def filled(slot: re.Match[str]) -> str:
            if slot[1] == "bare":
                return phrase
            return f"{grammar.article(self.language, self.language.none[self.frame.case], noun)} {phrase}"

        return _SLOT.sub(filled, template)

    def noun_phrase(self, group: Group, case: str) -> str:
        """A noun with its properties, without a number."""
        language, plural = self.language, group.count != 1
        noun = language.nouns[group.kind]
        before: list[str] = []
        adjectives: list[str] = []
        after: list[str] = []
        clauses: list[str] = []
        parts = [a for a in group.attributes if a.dimension.startswith("part:")]
        others = [a for a in group.attributes if a.dimension in DIMENSIONS]
        for attribute in sorted(others, key=lambda a: DIMENSIONS.index(a.dimension)):
            words = language.values[attribute.dimension][attribute.value]
            if not attribute.positive:
                clauses.append(self.denial(attribute, noun, plural))
            elif self.is_prefixed(attribute.dimension, words):
                before.append(grammar.adjective(language, words.removeprefix("<"), noun, plural, case))
            elif " " in words or attribute.dimension == "pose":
                after.append(grammar.form(words, noun.gender, plural))
            else:
                adjectives.append(grammar.adjective(language, words, noun, plural, case))
        if group.layout:
            after.append(language.values["layout"][group.layout])
        for number, attribute in enumerate(parts):
            and_ = f"{language.conjunction} " if number else ""
            after.append(and_ + self.part(group.kind, attribute))
        words = grammar.noun_form(language, noun, plural, case)
        return " ".join([*before, words, *adjectives[::-1], *after, *clauses])

    def is_prefixed(self, dimension: str, words: str) -> bool:
        """Whether the words come before the noun."""
        if self.language.code == "en":
            return dimension != "pose"
        return words.startswith("<") or (self.language.code == "de" and " " not in words)

    def denial(self, attribute: Attribute, noun: Noun, plural: bool) -> str:
        """A clause for a property that a thing does not have."""
        language = self.language
        forms = language.values[attribute.dimension][attribute.value].removeprefix("<")
        verb = language.values["verb"].get(attribute.value, "") if attribute.dimension == "pose" else ""
        words = {
            "value": grammar.predicate(language, forms, noun, plural),
            "verb": grammar.form(verb, noun.gender, plural),
            **self.agreeing(noun, plural),
        }
        doing = attribute.dimension == "pose"
        return (language.not_doing if doing else language.not_value).format(**words)

    def part(self, kind: str, attribute: Attribute) -> str:
        """A number of parts: "mit drei Beinen", "ohne Schwanz"."""
        word, count = attribute.dimension.removeprefix("part:"), int(attribute.value)
        part = KINDS[kind].part(word)
        assert part is not None
        noun = self.language.part(kind, word)
        template = self.language.with_part if count else self.language.without_part
        plural = count > 1 or (not count and part.usual > 1)

        def filled(slot: re.Match[str]) -> str:
            case = slot[1] or NOMINATIVE
            words = grammar.noun_form(self.language, noun, plural, case)
            return f"{self.number(count, noun, case)} {words}" if count else words

        return _SLOT.sub(filled, template)
