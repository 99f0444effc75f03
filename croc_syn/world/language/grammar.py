"""The controlled English: a prompt becomes the requirements that it states, or an error that says why not.

The parser reads declared words only (``lexicon``, ``kinds``, ``places``). Where it stops, it knows what could
have stood there, so that an error names the word, its position and what would be right. docs/exact_world.md
is the same grammar for people.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache

from croc.errors import InputError
from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS, Kind
from croc_syn.world.declarations.settings import SETTINGS
from croc_syn.world.language.meaning import Absence, Attribute, Group, Link, Meaning, contradiction
from croc_syn.world.language.phrasebook import Payload, phrases, vocabulary

LONGEST_PROMPT = 2000
"""Characters; a longer prompt is refused before it is read."""

_TOKEN = re.compile(r"[A-Za-z0-9]+(?:['’-][A-Za-z0-9]+)*|[^\sA-Za-z0-9]")
_END = "end of prompt"


class PromptError(InputError):
    """A prompt that the controlled English does not allow.

    Attributes:
        word: the word at which reading stopped; empty at the end of the prompt.
        position: its number in the prompt, from 1.
        expected: what could stand there.
    """

    def __init__(
        self, problem: str, word: str = "", position: int = 0, expected: tuple[str, ...] = ()
    ) -> None:
        hint = f"; here could stand {_listing(expected)}" if expected else ""
        super().__init__(problem + hint)
        self.word, self.position, self.expected = word, position, expected


def _listing(options: tuple[str, ...]) -> str:
    return options[0] if len(options) == 1 else ", ".join(options[:-1]) + " or " + options[-1]


@dataclass
class _Group:
    kind: str
    count: int
    attributes: list[Attribute] = field(default_factory=list)
    layout: str = ""


@lru_cache(maxsize=8192)
def parse(prompt: str) -> Meaning:
    """The requirements that a prompt states.

    Args:
        prompt: controlled English, at most 2,000 characters.

    Returns:
        The meaning; its ``text`` is the prompt as given.

    Raises:
        PromptError: the prompt is not controlled English, or contradicts itself.
    """
    if len(prompt) > LONGEST_PROMPT:
        raise PromptError(f"the prompt is {len(prompt)} characters long; at most {LONGEST_PROMPT} are read")
    return _Parser(prompt).prompt()


class _Parser:
    def __init__(self, prompt: str) -> None:
        self.text = prompt
        self.raw = _TOKEN.findall(prompt)
        self.words = [token.lower().replace("’", "'") for token in self.raw]
        self.at = 0
        self.groups: list[_Group] = []
        self.absences: list[Absence] = []
        self.links: list[Link] = []
        self.image: list[Attribute] = []
        self.only = False

    # Reading words

    def look(self, category: str, start: int | None = None) -> tuple[int, Payload] | None:
        """The longest phrase of a category at a place: where it ends, and what it means."""
        at = self.at if start is None else start
        if at >= len(self.words):
            return None
        for words, payload in phrases()[category].get(self.words[at], ()):
            if tuple(self.words[at : at + len(words)]) == words:
                return at + len(words), payload
        return None

    def take(self, category: str) -> Payload | None:
        found = self.look(category)
        if found is None:
            return None
        self.at = found[0]
        return found[1]

    def relation_here(self) -> bool:
        """Whether a relation begins here; places win ("in a park")."""
        return self.look("adverbial") is None and self.look("relation") is not None

    def word(self, *options: str) -> bool:
        if self.at < len(self.words) and self.words[self.at] in options:
            self.at += 1
            return True
        return False

    def fail(self, *expected: str, at: int | None = None) -> PromptError:
        place = self.at if at is None else at
        if place >= len(self.words):
            return PromptError("the prompt ends too early", "", len(self.words) + 1, expected)
        raw = self.raw[place]
        shown = raw if len(raw) <= 30 else raw[:30] + "…"
        close = get_close_matches(self.words[place][:40], vocabulary(), n=1, cutoff=0.8)
        if self.words[place] in vocabulary():
            problem = f'word {place + 1}, "{shown}", cannot stand there'
        else:
            problem = f'word {place + 1}, "{shown}", is not known'
            if close:
                problem += f' (did you mean "{close[0]}"?)'
        return PromptError(problem, raw, place + 1, expected)

    def refuse(self, problem: str, at: int, *expected: str) -> PromptError:
        raw = self.raw[at] if at < len(self.raw) else ""
        return PromptError(f'word {at + 1}, "{raw}": {problem}', raw, at + 1, expected)

    # The prompt

    def prompt(self) -> Meaning:
        self.item(first=True)
        while self.at < len(self.words):
            start = self.at
            separated = self.separator()
            if self.at >= len(self.words):
                if self.words[-1] == ".":
                    break
                raise self.fail("a thing", "a place")
            if not separated:
                linked = self.words[start] in ("with", "without")
                if not linked and self.look("adverbial") is None:
                    raise self.fail("a comma", '"and"', "a relation", "a place", _END, at=start)
            self.item(joined=self.words[start] == "and")
        return self.result()

    def separator(self) -> bool:
        start = self.at
        while self.look("adverbial") is None and self.word(",", ";", ".", "and", "but", "while"):
            if self.at - start > 2:
                raise self.fail("a thing", "a place")
        return self.at > start

    def item(self, first: bool = False, joined: bool = False) -> None:
        if not first and self.take("nothing else") is not None:
            self.only = True
            return
        if self.adverbial():
            return
        opener = self.look("opener")
        if opener is not None:
            self.at = opener[0]
        if self.word("exactly"):
            self.at -= 1
        elif self.take("only") is not None:
            self.only = True
        if self.take("none") is not None:
            self.absence()
            while self.word("or", "nor"):
                self.take("none")
                self.absence()
            return
        if self.word("neither"):
            self.take("article")
            self.absence()
            while self.word("nor"):
                self.take("article")
                self.absence()
            return
        if self.word("with"):
            if self.take("none") is not None:
                self.absence()
                return
        elif self.look("relation") is not None and opener is None:
            self.fronted()
            return
        subject = self.thing(("a number", "an article", '"no"'))
        self.tail(subject, joined)

    def adverbial(self) -> bool:
        start = self.at
        found = self.take("adverbial")
        if found is None:
            return False
        attribute = Attribute(found[0], found[1])
        for known in self.image:
            if known.dimension == attribute.dimension and known.value != attribute.value:
                raise self.refuse(f"the image has another {attribute.dimension} already", start)
        self.image.append(attribute)
        return True

    def fronted(self) -> None:
        start = self.at
        relation = self.take("relation")
        assert relation is not None
        anchor = self.thing(("a thing to relate to",))
        self.word(",")
        if self.take("there") is None:
            raise self.fail('"there is"', '"is"')
        if self.take("none") is not None:
            raise self.refuse("a relation to something that is not there says nothing", start)
        subject = self.thing(("a number", "an article"))
        self.relate(relation[0], subject, anchor, start)
        self.tail(subject, joined=False)

    def tail(self, subject: int, joined: bool) -> None:
        """What is said of a subject after its noun: relations and predicates."""
        related = False
        while True:
            start = self.at
            if related and self.word(","):
                pass
            if related and not self.word("and"):
                self.at = start
                return
            verb = self.take("is") is not None
            negative = verb and self.take("not") is not None
            if self.look("adverbial") is not None:
                if related:
                    self.at = start
                    return
                self.adverbial()
                return
            relation_at = self.at
            relation = self.take("relation")
            if relation is not None:
                if negative:
                    raise self.refuse("a relation can be stated, not denied", relation_at, "a property")
                if joined and not verb and not related:
                    raise self.refuse(
                        'it is not clear of what this is said; say "that is …" or begin a new sentence',
                        relation_at,
                    )
                other = self.thing(("the other thing",))
                self.relate(relation[0], subject, other, relation_at)
                if self.relation_here():
                    raise self.refuse(
                        'it is not clear of what this is said; put "and" before it',
                        self.at,
                        '"and"',
                        "a comma",
                    )
                related = True
                continue
            if verb:
                self.predicate(subject, negative)
                related = True
                continue
            self.at = start
            return

    def relate(self, relation: str, a: int, b: int, at: int) -> None:
        declared = lexicon.RELATIONS[relation]
        if declared.id in ("right_of", "below", "around", "behind", "smaller", "under"):
            assert declared.inverse is not None
            relation, a, b = declared.inverse, b, a
        if a == b:
            raise self.refuse("a thing cannot stand in a relation to itself", at)
        target = KINDS[self.groups[b].kind]
        if relation in ("inside", "outside") and target.inner is None:
            able = sorted(kind.words[0] for kind in KINDS.values() if kind.inner)
            raise self.refuse(
                f"nothing fits inside a {target.words[0]}; it does inside: {', '.join(able)}", at
            )
        if relation == "on" and target.top is None:
            able = sorted(kind.words[0] for kind in KINDS.values() if kind.top)
            raise self.refuse(f"nothing is put on a {target.words[0]}; it is on: {', '.join(able)}", at)
        if relation in ("inside", "on") and self.groups[b].count > 1:
            raise self.refuse("it takes a single thing to hold others", at)
        if relation == "in_front_of" and self.groups[a].count * self.groups[b].count > 1:
            raise self.refuse("before and behind are said of single things", at)
        link = Link(relation, a, b)
        if link not in self.links:
            self.links.append(link)

    # Things

    def adjectives(self) -> tuple[list[tuple[Attribute, int]], int]:
        found: list[tuple[Attribute, int]] = []
        while True:
            here = self.look("adjective")
            if here is None:
                break
            end, payload = here
            more = end + 1 if end < len(self.words) and self.words[end] in (",", "and") else end
            follows = self.look("adjective", more) or self.look("noun", end) or self.look("part", end)
            if self.look("noun") is not None and follows is None:
                break
            found.append((Attribute(payload[0], payload[1]), self.at))
            self.at = more if self.look("adjective", more) is not None else end
        return found, self.at

    def noun(self, count: int | None) -> tuple[Kind, bool]:
        at = self.at
        found = self.take("noun")
        if found is None:
            raise self.fail("a property", f"a thing ({_sample_nouns()}, …)")
        kind, many = KINDS[found[0]], found[1] == "many"
        spellings = set(kind.words) & set(kind.plurals)
        invariant = " ".join(self.words[at : self.at]) in spellings
        if count is not None and not invariant and many != (count > 1):
            wanted = kind.plurals[0] if count > 1 else kind.words[0]
            self.at = at
            raise self.refuse("number and noun do not agree", at, f'"{wanted}"')
        return kind, many

    def thing(self, expected: tuple[str, ...]) -> int:
        """A noun phrase; returns the index of the group it speaks of."""
        self.word("exactly")
        start = self.at
        if self.word("the"):
            return self.reference(start)
        number = self.take("number") or self.take("article")
        if number is None:
            raise self.fail(*expected)
        count = int(number[0])
        attributes, _ = self.adjectives()
        kind, _ = self.noun(count)
        self.groups.append(_Group(kind.id, count))
        index = len(self.groups) - 1
        for attribute, at in attributes:
            self.attribute(self.groups[index], attribute, at)
        self.after(index)
        return index

    def reference(self, start: int) -> int:
        number = self.take("number")
        attributes, _ = self.adjectives()
        kind, many = self.noun(int(number[0]) if number else None)
        same = [i for i, group in enumerate(self.groups) if group.kind == kind.id]
        wanted = {attribute for attribute, _ in attributes}
        fitting = [
            i
            for i in same
            if wanted <= set(self.groups[i].attributes)
            and (number is None or self.groups[i].count == int(number[0]))
            and (not many or self.groups[i].count > 1 or kind.words[0] == kind.plurals[0])
        ]
        if len(fitting) > 1:
            raise self.refuse(
                f"more than one {kind.words[0]} could be meant", start, "a property that tells them apart"
            )
        if fitting:
            self.after(fitting[0])
            return fitting[0]
        if same:
            raise self.refuse(f"no such {kind.words[0]} was named before", start, '"a"', '"another"')
        if many and number is None:
            raise self.refuse("how many there are was not said", start + 1, "a number")
        self.groups.append(_Group(kind.id, int(number[0]) if number else 1))
        for attribute, at in attributes:
            self.attribute(self.groups[-1], attribute, at)
        index = len(self.groups) - 1
        self.after(index)
        return index

    def absence(self) -> None:
        start = self.at
        attributes, _ = self.adjectives()
        kind, _ = self.noun(None)
        group = _Group(kind.id, 0)
        for attribute, at in attributes:
            self.attribute(group, attribute, at)
        while self.post(group):
            pass
        absence = Absence(kind.id, tuple(dict.fromkeys(group.attributes)))
        if self.relation_here():
            raise self.refuse("what is not there stands in no relation", self.at, "a comma", _END)
        if group.layout:
            raise self.refuse("what is not there has no arrangement", start)
        self.absences.append(absence)

    def attribute(self, group: _Group, attribute: Attribute, at: int) -> None:
        kind = KINDS[group.kind]
        name = kind.words[0]
        if attribute.dimension == "shape" and attribute.value not in kind.shapes:
            able = sorted(k.words[0] for k in KINDS.values() if attribute.value in k.shapes)
            raise self.refuse(f"a {name} has no such shape; these have: {', '.join(able)}", at)
        if attribute.positive:
            for known in group.attributes:
                if (
                    known.positive
                    and known.dimension == attribute.dimension
                    and known.value != attribute.value
                ):
                    raise self.refuse(
                        f"the {name} has another {attribute.dimension.split(':')[-1]} already", at
                    )
        group.attributes.append(attribute)

    def after(self, index: int) -> None:
        while self.post(self.groups[index]):
            pass

    def post(self, group: _Group) -> bool:
        """One phrase behind a noun; whether there was one."""
        start = self.at
        found = self.take("after")
        if found is not None:
            self.attribute(group, Attribute(found[0], found[1]), start)
            return True
        if self.layout(group):
            return True
        if self.take("that is") is not None:
            if self.look("relation") is not None or self.look("adverbial") is not None:
                self.at = start
                return self.relative(group)
            self.value(group, negative=self.take("not") is not None)
            return True
        if self.pose(group, negative=False):
            return True
        return self.parts(group)

    def layout(self, group: _Group) -> bool:
        """How several things are arranged; "a square in a circle" is a relation instead."""
        here = self.look("layout")
        if here is None or (group.count < 2 and self.look("noun", here[0] - 1) is not None):
            return False
        if group.layout and group.layout != here[1][0]:
            raise self.refuse("they have another arrangement already", self.at)
        if group.count == 1:
            raise self.refuse(
                "one thing alone cannot be arranged", self.at, "a number of two or more before the thing"
            )
        if here[1][0] == "ring" and group.count == 2:
            raise self.refuse("it takes three things to stand in a circle", self.at)
        self.at = here[0]
        group.layout = here[1][0]
        return True

    def relative(self, group: _Group) -> bool:
        """A relation after "that is": it surely belongs to the noun before it."""
        if group.count == 0:
            raise self.refuse("what is not there stands in no relation", self.at)
        if self.look("adverbial", self.at + 2) is not None:
            self.at += 2
            self.adverbial()
            return True
        self.at += 2
        at = self.at
        relation = self.take("relation")
        assert relation is not None
        subject = next(i for i, known in enumerate(self.groups) if known is group)
        other = self.thing(("the other thing",))
        self.relate(relation[0], subject, other, at)
        return True

    def pose(self, group: _Group, negative: bool) -> bool:
        start = self.at
        found = self.take("pose")
        if found is None:
            return False
        kind = KINDS[group.kind]
        for pose in kind.poses:
            if found[0] in pose.words:
                self.attribute(group, Attribute("pose", pose.id, not negative), start)
                return True
        able = ", ".join(pose.words[0] for pose in kind.poses) or "nothing: it has one pose only"
        raise self.refuse(f"a {kind.words[0]} cannot be drawn so; it can be: {able}", start)

    def value(self, group: _Group, negative: bool) -> None:
        """A property after "that is" or "is"."""
        start = self.at
        if self.pose(group, negative):
            return
        found = self.take("adjective") or self.take("after")
        if found is None:
            raise self.fail("a property", "an action", "a relation")
        self.attribute(group, Attribute(found[0], found[1], not negative), start)

    def predicate(self, subject: int, negative: bool) -> None:
        group = self.groups[subject]
        if negative or not self.layout(group):
            self.value(group, negative)

    def parts(self, group: _Group) -> bool:
        start = self.at
        if self.take("without") is not None:
            if self.look("part") is None or not self.own_part(group):
                self.at = start
                return False
            self.part(group, 0)
            return True
        if self.take("with") is None:
            return False
        if not self.counted_part(group):
            self.at = start
            return False
        while True:
            here = self.at
            if not self.word("and", ","):
                return True
            self.word("and")
            self.take("with")
            if not self.counted_part(group):
                self.at = here
                return True

    def own_part(self, group: _Group) -> bool:
        """Whether the noun here is a part of this kind; another's part is an error."""
        found = self.look("part")
        assert found is not None
        kind = KINDS[group.kind]
        if kind.part(found[1][0]) is not None:
            return True
        if self.look("noun") is not None:
            return False
        able = ", ".join(part.plural_word for part in kind.parts) or "none that can be counted"
        raise self.refuse(f"a {kind.words[0]} has no such part; its parts: {able}", self.at)

    def counted_part(self, group: _Group) -> bool:
        start = self.at
        number = self.take("number") or self.take("article")
        count = int(number[0]) if number else 0
        if number is None and self.take("none") is None:
            return False
        if self.look("part") is None or not self.own_part(group):
            self.at = start
            return False
        self.part(group, count)
        return True

    def part(self, group: _Group, count: int) -> None:
        at = self.at
        found = self.take("part")
        assert found is not None
        part = KINDS[group.kind].part(found[0])
        assert part is not None
        if count and part.word != part.plural_word and (found[1] == "many") != (count > 1):
            raise self.refuse(
                "number and part do not agree", at, f'"{part.plural_word if count > 1 else part.word}"'
            )
        if not part.low <= count <= part.high:
            name = KINDS[group.kind].words[0]
            raise self.refuse(f"a {name} is drawn with {part.low} to {part.high} {part.plural_word}", at)
        self.attribute(group, Attribute(f"part:{part.word}", str(count)), at)

    # The result

    def result(self) -> Meaning:
        meaning = Meaning(
            groups=tuple(
                Group(g.kind, g.count, tuple(dict.fromkeys(g.attributes)), g.layout) for g in self.groups
            ),
            absences=tuple(dict.fromkeys(self.absences)),
            links=tuple(self.links),
            image=tuple(dict.fromkeys(self.image)),
            only=self.only,
            text=self.text,
        )
        problem = contradiction(meaning)
        if problem is not None:
            raise PromptError(f"the prompt contradicts itself: {problem}")
        setting = next((a.value for a in meaning.image if a.dimension == "setting"), None)
        if setting is not None:
            clash = meaning.named & SETTINGS[setting].shows
            if clash:
                word = KINDS[min(clash)].plurals[0]
                raise PromptError(
                    f'"{SETTINGS[setting].words[0]}" itself shows {word}, so that their number cannot be'
                    " said with it; choose another place"
                )
        return meaning


@lru_cache(maxsize=1)
def _sample_nouns() -> str:
    return ", ".join(kind.words[0] for kind in list(KINDS.values())[:6])
