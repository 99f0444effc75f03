"""Wording: meaning → controlled English in one of many forms.

CROCsyn's own prompts have few forms, so that a check differs in one property alone. A model that reads what
people type needs them all: every declared word and synonym, and every sentence frame in :data:`FRAMES`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS
from croc_syn.world.declarations.places import PLACES
from croc_syn.world.language import synonyms
from croc_syn.world.language.meaning import Absence, Attribute, Group, Link, Meaning
from croc_syn.world.language.parser import parse
from croc_syn.world.language.realisation import with_article
from croc_syn.world.language.vocabulary import OPENERS
from croc_syn.world.language.words import PromptError

T = TypeVar("T")

FRAMES: Mapping[str, str] = MappingProxyType(
    {
        "bare": "a red dog in a park",
        "there is": "there is a red dog in a park",
        "picture of": "a picture of a red dog in a park",
        "place first": "in a park, there is a red dog",
        "statement": "the dog is red",
        "that is": "a dog that is red",
        "relation": "a dog to the left of a cat",
        "relation that is": "a dog that is to the left of a cat",
        "relation statement": "the dog is to the left of the cat",
        "relation first": "to the left of a cat there is a dog",
        "sides": "a dog on the left and a cat on the right",
        "distribution": "two dogs, one red and one blue",
        "no": "a dog and no cat",
        "without": "a dog without a cat",
        "there is no": "a dog, and there is no cat",
        "not a single": "a dog, not a single cat",
        "is missing": "a dog, a cat is missing",
        "neither": "neither a cat nor a bird",
        "only": "only a dog",
        "nothing else": "a dog and nothing else",
    }
)
"""The sentence frames by name, each with an example; a frame that is left out can be held out for a test."""

TRIES = 6
"""Attempts at a text with the same meaning."""

_OPPOSITE = {"left_of": ("left", "right"), "above": ("top", "bottom")}
_SYMMETRIC = frozenset({"near", "far", "outside"})
_BEFORE = ("size", "texture", "colour", "material", "shape")


def reword(meaning: Meaning | str, seed: str, *, frames: Collection[str] = FRAMES) -> str:
    """Word a meaning anew.

    Args:
        meaning: a prompt, or its meaning.
        seed: decides the words and frames. Two meanings of the same form get the same wording from the same
            seed, so that prompts which differ in one property still do.
        frames: the frames that may be used, names of :data:`FRAMES`.

    Returns:
        A prompt with the same meaning, in lower case; the given one where none was found.
    """
    if isinstance(meaning, str):
        meaning = parse(meaning)
    wanted = canonical(meaning)
    for attempt in range(TRIES):
        text = _Writer(meaning, f"{seed}/{attempt}", frozenset(frames)).write()
        try:
            if canonical(parse(text)) == wanted:
                return text
        except PromptError:
            continue
    return meaning.text


def canonical(meaning: Meaning) -> tuple[object, ...]:
    """A form in which meanings are equal if they differ only in the order of what they require."""
    keys = [(g.kind, g.count, frozenset(g.attributes), g.layout) for g in meaning.groups]

    def ends(link: Link) -> tuple[object, ...]:
        pair = (keys[link.a], keys[link.b])
        return (link.relation, frozenset(pair)) if link.relation in _SYMMETRIC else (link.relation, *pair)

    return (
        frozenset(Counter(keys).items()),
        frozenset(Counter(ends(link) for link in meaning.links).items()),
        frozenset((absence.kind, frozenset(absence.attributes)) for absence in meaning.absences),
        frozenset(meaning.image),
        meaning.only,
    )


class _Choices:
    """Random choices that depend on a seed and on what is chosen, and not on each other."""

    def __init__(self, seed: str) -> None:
        self.seed = seed

    def number(self, role: str) -> float:
        """A number in [0, 1)."""
        digest = hashlib.blake2b(f"{self.seed}/{role}".encode(), digest_size=6).digest()
        return int.from_bytes(digest, "big") / 2**48

    def choose(self, role: str, options: Sequence[T], first: float = 0.0) -> T:
        """One of the options; the first one at least with the probability ``first``."""
        number = self.number(role)
        if number < first:
            return options[0]
        return options[int((number - first) / (1 - first) * len(options))]

    def happens(self, role: str, probability: float) -> bool:
        """True with a probability."""
        return self.number(role) < probability


class _Writer:
    def __init__(self, meaning: Meaning, seed: str, frames: frozenset[str]) -> None:
        self.meaning, self.frames = meaning, frames
        self.choices = _Choices(seed)
        self.that_is_used = False

    def may(self, frame: str, probability: float) -> bool:
        """Whether a frame is used."""
        return frame in self.frames and self.choices.happens(frame, probability)

    # The prompt

    def write(self) -> str:
        """One wording; whether it has the same meaning is for the caller to check."""
        meaning, choices = self.meaning, self.choices
        main, verb = self.things()
        place = [self.adverbial(attribute) for attribute in meaning.image]
        front = ""
        if place and main and self.may("place first", 0.3):
            front = f"{place.pop(0)}{choices.choose('front comma', (', ', ' '))}"
        opener = ""
        if main and verb:
            if front and choices.happens("front verb", 0.85):
                opener = choices.choose("front opener", (verb, verb, "you can see", "one can see"))
            elif not front:
                opener = self.opener(verb)
        only = ""
        if meaning.only and main and self.may("only", 0.5 if "nothing else" in self.frames else 1.0):
            only = choices.choose("only words", ("only", "just", "nothing but", "nothing except"), 0.4)
        text = front + " ".join(part for part in (opener, only, main) if part)
        text += "".join(f" {phrase}" for phrase in place)
        text = self.with_absences(text.strip(), bool(verb))
        if meaning.only and not only:
            comma = choices.choose("else", (" and nothing else", ", and nothing else", ", nothing else"), 0.5)
            text += comma
        return text

    def opener(self, verb: str) -> str:
        """What comes before the first thing, or nothing."""
        if self.may("there is", 0.25):
            return verb
        if "picture of" in self.frames and self.choices.happens("picture", 0.4):
            # Openers end in "there is" or in a verb or preposition that takes any thing.
            plural = verb == "there are"
            words = [
                w
                for w in OPENERS
                if w.endswith(" are" if plural else " is") or not w.endswith((" is", " are"))
            ]
            return self.choices.choose("opener", [w for w in words if w not in ("there is", "there are")])
        return ""

    def adverbial(self, attribute: Attribute) -> str:
        """A place, a time of day or the weather."""
        if attribute.dimension == "setting":
            return self.choices.choose("place", PLACES[attribute.value].words)
        words = lexicon.IMAGE_DIMENSIONS[attribute.dimension][attribute.value].words
        return self.choices.choose(
            attribute.dimension, (*words, *synonyms.WHOLE_IMAGE.get(attribute.value, ()))
        )

    # Things and their relations

    def things(self) -> tuple[str, str]:
        """The phrase for all things, and "there is" or "there are"; "" where no such verb fits."""
        meaning = self.meaning
        if not meaning.groups:
            return "", ""
        verb = "there is" if meaning.groups[0].count == 1 else "there are"
        if len(meaning.links) == 1:
            text, fits = self.related(meaning.links[0])
            rest = [
                g for i, g in enumerate(meaning.groups) if i not in (meaning.links[0].a, meaning.links[0].b)
            ]
            text += "".join(f", and {self.noun_phrase(group, f'rest{i}')}" for i, group in enumerate(rest))
            return text, fits
        if meaning.links:
            return self.in_sentences(verb), verb
        if len(meaning.groups) == 1 and self.may("statement", 0.12):
            text = self.statement(meaning.groups[0])
            if text:
                return text, ""
        distributed = self.distribution() if self.may("distribution", 0.75) else ""
        if distributed:
            return distributed, "there are"
        phrases = [self.noun_phrase(group, str(i)) for i, group in enumerate(meaning.groups)]
        return self.joined(phrases), verb

    def joined(self, phrases: Sequence[str]) -> str:
        """A list: "a dog, a cat and a bird"."""
        if len(phrases) == 1:
            return phrases[0]
        word = self.choices.choose("and", ("and", "as well as", "together with", "along with", "plus"), 0.75)
        if len(phrases) == 2 and word == "and" and self.choices.happens("both", 0.06):
            return f"both {phrases[0]} and {phrases[1]}"
        if len(phrases) > 2 and self.choices.happens("commas", 0.15):
            return f" {word} ".join(phrases)
        comma = "," if len(phrases) > 2 and self.choices.happens("oxford comma", 0.4) else ""
        return f"{', '.join(phrases[:-1])}{comma} {word} {phrases[-1]}"

    def related(self, link: Link) -> tuple[str, str]:
        """Two things and their relation, and the verb that fits before them."""
        groups, choices = self.meaning.groups, self.choices
        a, b, relation = link.a, link.b, link.relation
        if relation in _OPPOSITE and self.may("sides", 0.15):
            return self.on_sides(a, b, *_OPPOSITE[relation]), ""
        inverse = lexicon.RELATIONS[relation].inverse
        swapped = relation in _SYMMETRIC or inverse is not None
        if swapped and choices.happens("inverse", 0.4):
            a, b, relation = b, a, inverse or relation
        words = (*lexicon.RELATIONS[relation].words, *synonyms.RELATIONS.get(relation, ()))
        word = choices.choose("relation word", words, 0.35)
        be = "is" if groups[a].count == 1 else "are"
        subject, other = self.noun_phrase(groups[a], "a"), self.noun_phrase(groups[b], "b")
        if self.may("relation first", 0.25):
            verb = choices.choose("verb", (f"there {be}", f"there {be}", f", there {be}", be, "you can see"))
            return f"{word} {other}{'' if verb[0] == ',' else ' '}{verb} {subject}", ""
        if self.may("relation statement", 0.25):
            if choices.happens("the", 0.5):
                subject, other = (self.with_the(text) for text in (subject, other))
            return f"{subject} {be} {word} {other}", ""
        verb = f"there {be}"
        if self.may("relation that is", 0.25):
            which = choices.choose("which", ("that", "which"))
            return f"{subject} {which} {be} {word} {other}", verb
        return f"{subject} {word} {other}", verb

    def on_sides(self, a: int, b: int, low: str, high: str) -> str:
        """Two things by their sides of the image."""
        phrases = {
            side: (self.noun_phrase(self.meaning.groups[group], side), self.meaning.groups[group].count)
            for group, side in ((a, low), (b, high))
        }
        index = self.choices.number("side words")
        order = (low, high) if self.choices.happens("side order", 0.6) else (high, low)
        fronted = self.choices.happens("side first", 0.4)
        texts = []
        for side in order:
            words = synonyms.SIDES[side]
            where = words[int(index * len(words))]
            phrase, count = phrases[side]
            verb = f" there {'is' if count == 1 else 'are'}" if self.choices.happens("side verb", 0.6) else ""
            texts.append(f"{where}{verb} {phrase}" if fronted else f"{phrase} {where}")
        return " and ".join(texts)

    def in_sentences(self, verb: str) -> str:
        """All things, and then a sentence for each relation."""
        groups = self.meaning.groups
        text = self.joined([self.noun_phrase(group, str(i)) for i, group in enumerate(groups)])
        for number, link in enumerate(self.meaning.links):
            names = [self.name(groups[i]) for i in (link.a, link.b)]
            words = lexicon.RELATIONS[link.relation].words
            word = self.choices.choose(f"relation word {number}", words, 0.5)
            text += f". {names[0]} {'is' if groups[link.a].count == 1 else 'are'} {word} {names[1]}"
        return text

    def name(self, group: Group) -> str:
        """A thing that was mentioned: "the dog"."""
        kind = KINDS[group.kind]
        return f"the {kind.words[0] if group.count == 1 else kind.plurals[0]}"

    @staticmethod
    def with_the(text: str) -> str:
        """The phrase with "the" in place of its article."""
        for article in ("a single ", "a ", "an "):
            if text.startswith(article) and not text.startswith(("a pair", "a couple", "a group", "a total")):
                return f"the {text.removeprefix(article)}"
        return text

    def distribution(self) -> str:
        """Things of one kind that differ in one property: "two dogs, one red and one blue"; else nothing."""
        groups = self.meaning.groups
        if len(groups) < 2 or len({group.kind for group in groups}) > 1 or any(g.layout for g in groups):
            return ""
        shared = frozenset.intersection(*(frozenset(group.attributes) for group in groups))
        rest = [[a for a in group.attributes if a not in shared] for group in groups]
        if any(len(own) != 1 or not own[0].positive or own[0].dimension.startswith("part:") for own in rest):
            return ""
        if len({own[0].dimension for own in rest}) > 1:
            return ""
        total = sum(group.count for group in groups)
        if total > len(lexicon.NUMBER_WORDS) - 1:
            return ""
        together = Group(groups[0].kind, total, tuple(a for a in groups[0].attributes if a in shared))
        style = self.choices.choose("distribution style", ("plain", "plain", "is", "of them", "the other"))
        parts = []
        for i, (group, own) in enumerate(zip(groups, rest, strict=True)):
            number = lexicon.NUMBER_WORDS[group.count]
            if style == "the other" and len(groups) == 2 and i and group.count == 1:
                number = "the other"
            if style == "of them" and not i:
                number += " of them"
            be = {"is": " is" if group.count == 1 else " are"}.get(style, "")
            parts.append(f"{number}{be} {self.adjective(own[0], f'part{i}')}")
        text = ", ".join(parts[:-1]) + " and " + parts[-1]
        colon = self.choices.choose("distribution colon", (", ", ": "), 0.6)
        return f"{self.noun_phrase(together, '0')}{colon}{text}"

    # Noun phrases

    def noun_phrase(self, group: Group, role: str, leave: Attribute | None = None) -> str:
        """A noun phrase with everything that is stated about a group."""
        choices = self.choices
        attributes = [attribute for attribute in group.attributes if attribute != leave]
        before: list[tuple[int, str]] = []
        after: list[str] = []
        parts: list[Attribute] = []
        last = ""
        for attribute in attributes:
            which = f"{role}/{attribute.dimension}"
            if attribute.dimension.startswith("part:"):
                parts.append(attribute)
            elif not attribute.positive:
                last += f" {choices.choose(f'{role}/which', ('that', 'which'), 0.8)} {self.be(group)} not "
                last += self.adjective(attribute, which)
            elif not last and len(attributes) == 1 and self.may("that is", 0.2):
                last = f" {choices.choose(f'{role}/which', ('that', 'which'), 0.7)} {self.be(group)} "
                last += self.adjective(attribute, which)
            else:
                word, is_after = self.place_word(attribute, which)
                if is_after:
                    after.append(word)
                else:
                    order = _BEFORE.index(attribute.dimension) if attribute.dimension in _BEFORE else 5
                    before.append((order, word))
        noun = self.noun(group, role)
        words = " ".join([*(word for _, word in sorted(before)), noun])
        text = self.counted(group.count, words, role)
        text += "".join(f" {word}" for word in after)
        if group.layout:
            layouts = (*lexicon.LAYOUTS[group.layout].after, *synonyms.LAYOUTS[group.layout])
            text += f" {choices.choose(f'{role}/layout', layouts)}"
        return text + self.with_parts(group, parts, role) + last

    def be(self, group: Group) -> str:
        """The verb: "is" or "are"."""
        return "is" if group.count == 1 else "are"

    def noun(self, group: Group, role: str) -> str:
        """A noun for the kind, singular or plural."""
        one, many = self.choices.choose(f"{role}/noun", synonyms.nouns(KINDS[group.kind]), 0.45)
        return one if group.count == 1 else many

    def counted(self, count: int, words: str, role: str) -> str:
        """The words with an article or a number before them."""
        number = self.choices.number(f"{role}/number")
        if count == 1:
            if number < 0.8:
                return with_article(words)
            return f"{'one' if number < 0.92 else 'a single' if number < 0.97 else 'exactly one'} {words}"
        spellings = [w for w, n in lexicon.NUMBERS.items() if n == count and not w.isdigit()]
        if number < 0.8:
            return f"{spellings[0]} {words}"
        if number < 0.88:
            return f"exactly {spellings[0]} {words}"
        if number < 0.94:
            return f"{self.choices.choose(f'{role}/group', synonyms.GROUP_OF)} {spellings[0]} {words}"
        return f"{spellings[-1]} {words}"

    def place_word(self, attribute: Attribute, role: str) -> tuple[str, bool]:
        """Words for a property, and whether they come after the noun."""
        if attribute.dimension == "pose":
            word = self.pose_word(attribute, role)
            return word, " " in word or not self.choices.happens(f"{role}/before", 0.3)
        value = lexicon.THING_DIMENSIONS[attribute.dimension][attribute.value]
        behind = (*value.after, *synonyms.AFTER.get(value.id, ()))
        if behind and self.choices.happens(f"{role}/after", 0.3):
            return self.choices.choose(f"{role}/behind", behind), True
        return self.adjective(attribute, role), False

    def adjective(self, attribute: Attribute, role: str) -> str:
        """An adjective, or an action."""
        if attribute.dimension == "pose":
            return self.pose_word(attribute, role)
        value = lexicon.THING_DIMENSIONS[attribute.dimension][attribute.value]
        return self.choices.choose(f"{role}/word", (*value.words, *synonyms.BEFORE.get(value.id, ())), 0.45)

    def pose_word(self, attribute: Attribute, role: str) -> str:
        """Words for an action; the kinds agree on those of an action."""
        words = next(p.words for k in KINDS.values() for p in k.poses if p.id == attribute.value)
        return self.choices.choose(f"{role}/pose", words)

    def with_parts(self, group: Group, parts: Sequence[Attribute], role: str) -> str:
        """The parts: " with three legs and no tail"."""
        if not parts:
            return ""
        kind = KINDS[group.kind]
        texts = []
        for attribute in parts:
            part = kind.part(attribute.dimension.removeprefix("part:"))
            assert part is not None
            count = int(attribute.value)
            one = count == 1 or (count == 0 and part.usual <= 1)
            noun = part.word if one else part.plural_word
            number = lexicon.NUMBER_WORDS[count]
            if count == 1 and self.choices.happens(f"{role}/{part.word}/a", 0.4):
                number = with_article(noun).partition(" ")[0]
            if count > 1 and self.choices.happens(f"{role}/{part.word}/exactly", 0.08):
                number = f"exactly {number}"
            texts.append(f"{number} {noun}")
        only = parts[0]
        if len(parts) == 1 and only.value == "0" and self.choices.happens(f"{role}/without", 0.5):
            noun = texts[0].removeprefix("no ")
            single = noun == only.dimension.removeprefix("part:")
            does = "that does not have" if group.count == 1 else "that do not have"
            words = ("without a", f"{does} a") if single else ("without", "without any", f"{does} any")
            return f" {self.choices.choose(f'{role}/lacks', words, 0.4)} {noun}"
        has = "that has" if group.count == 1 else "that have"
        return (
            f" {self.choices.choose(f'{role}/with', ('with', 'having', has, has), 0.6)} {' and '.join(texts)}"
        )

    def statement(self, group: Group) -> str:
        """A sentence: "the dog is red"; nothing where no property can be stated so."""
        options = [a for a in group.attributes if not a.dimension.startswith("part:")]
        if not options or group.layout:
            return ""
        told = self.choices.choose("predicate", options)
        subject = self.noun_phrase(group, "0", leave=told)
        if self.choices.happens("the", 0.6):
            subject = self.with_the(subject)
        negation = "" if told.positive else "not "
        return f"{subject} {self.be(group)} {negation}{self.adjective(told, '0/predicate')}"

    # Absences

    def with_absences(self, text: str, plain: bool) -> str:
        """The text with what is absent."""
        absences = list(self.meaning.absences)
        if len(absences) == 2 and not any(a.attributes for a in absences) and self.may("neither", 0.5):
            nouns = [self.absent_noun(absence, False, str(i)) for i, absence in enumerate(absences)]
            style = self.choices.choose("neither style", ("neither", "no or"))
            if style == "neither":
                phrase = f"neither {with_article(nouns[0])} nor {with_article(nouns[1])}"
            else:
                phrase = f"no {nouns[0]} or {nouns[1]}"
            return f"{text}, {phrase}" if text else self.before_absence(phrase, True)
        for i, absence in enumerate(absences):
            text = self.with_absence(text, absence, str(i), plain)
        return text

    def absent_noun(self, absence: Absence, plural: bool, role: str) -> str:
        """The noun after "no", with its adjectives."""
        words = [self.adjective(a, f"no{role}/{a.dimension}") for a in absence.attributes if a.positive]
        group = Group(absence.kind, 2 if plural else 1)
        return " ".join([*words, self.noun(group, f"no{role}")])

    def before_absence(self, phrase: str, single: bool) -> str:
        """A prompt that begins with an absence."""
        verb = "there is" if single else "there are"
        options = ("", "", verb, verb, "a picture with", "the image shows", "an image with", "a picture of")
        return f"{self.choices.choose('no opener', options)} {phrase}".strip()

    def with_absence(self, text: str, absence: Absence, role: str, plain: bool) -> str:
        single = not self.choices.happens(f"plural{role}", 0.35)
        noun = self.absent_noun(absence, not single, role)
        number = self.choices.number(f"absence{role}")
        verb = "there is" if single else "there are"
        bare = absence.attributes == ()
        if "is missing" in self.frames and number < 0.06 and bare and single:
            be = self.choices.choose("missing", ("is missing", "is absent", "is not in the picture"))
            phrase = f"{with_article(noun)} {be}"
            return f"{text}, {phrase}" if text else phrase
        if "not a single" in self.frames and number < 0.2:
            words = ("not a single", "not a", "not a") if single else ("not any", "not any", "zero")
            phrase = f"{self.choices.choose(f'not{role}', words)} {noun}"
            phrase = (
                phrase.replace("not a ", "not an ")
                if noun[0] in "aeiou" and "single" not in phrase
                else phrase
            )
        elif "no" in self.frames or not text:
            phrase = f"no {noun}"
        else:
            phrase = ""
        if not text:
            return self.before_absence(phrase, single)
        if "without" in self.frames and plain and self.choices.happens(f"without{role}", 0.3):
            word = ("without a", "without any") if single else ("without", "without any")
            chosen = self.choices.choose(f"without word{role}", word, 0.6)
            chosen = "without an" if chosen == "without a" and noun[0] in "aeiou" else chosen
            return f"{text} {chosen} {noun}"
        if "there is no" in self.frames and (not phrase or self.choices.happens(f"there{role}", 0.35)):
            join = self.choices.choose(f"join{role}", (", and ", " but ", ". "))
            present = " " if self.choices.happens(f"present{role}", 0.8) else " in the picture"
            return f"{text}{join}{verb} no {noun}{present}".rstrip()
        join = self.choices.choose(f"no join{role}", (" and ", ", ", " but ", " with ", ", but "), 0.3)
        if join == " with " and not phrase.startswith("no "):
            join = " and "
        return f"{text}{join}{phrase or f'no {noun}'}"
