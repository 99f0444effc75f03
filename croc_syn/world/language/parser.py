"""The parser of the controlled English: prompt → meaning.

It reads declared words only (``lexicon``, ``kinds``, ``places``). Where it stops, it knows what would be
allowed, so that an error names the word, its position and what was expected. docs/exact_world.md describes
the grammar for people.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache

from croc.errors import InputError
from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS, Kind
from croc_syn.world.declarations.places import PLACES
from croc_syn.world.language.meaning import Absence, Attribute, Group, Link, Meaning, contradiction
from croc_syn.world.language.vocabulary import Payload, phrase_table, vocabulary

LONGEST_PROMPT = 2000
"""Characters; a longer prompt is refused before it is parsed."""

_TOKEN = re.compile(r"[A-Za-z0-9]+(?:['’-][A-Za-z0-9]+)*|[^\sA-Za-z0-9]")
_END = "end of prompt"
_UNCLEAR = "it is not clear which thing this describes"


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


@dataclass
class _Group:
    kind: str
    count: int
    attributes: list[Attribute] = field(default_factory=list)
    layout: str = ""


@lru_cache(maxsize=8192)
def parse(prompt: str) -> Meaning:
    """Parse a prompt into the requirements that it states.

    Args:
        prompt: controlled English, at most 2,000 characters.

    Returns:
        The meaning; its ``text`` is the prompt as given.

    Raises:
        PromptError: the prompt is not controlled English, or contradicts itself.
    """
    if len(prompt) > LONGEST_PROMPT:
        raise PromptError(
            f"the prompt has {len(prompt):,} characters; at most {LONGEST_PROMPT:,} are allowed"
        )
    return _Parser(prompt).parse_prompt()


class _Parser:
    """A recursive-descent parser; ``index`` is the number of the next word, from 0."""

    def __init__(self, prompt: str) -> None:
        self.text = prompt
        self.raw = _TOKEN.findall(prompt)
        self.words = [token.lower().replace("’", "'") for token in self.raw]
        self.index = 0
        self.groups: list[_Group] = []
        self.absences: list[Absence] = []
        self.links: list[Link] = []
        self.image: list[Attribute] = []
        self.only = False

    # Words

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

    # Items

    def parse_prompt(self) -> Meaning:
        """The whole prompt: items, separated by commas, "and" or the like."""
        self.parse_item(first=True)
        while self.index < len(self.words):
            start = self.index
            separated = self.parse_separator()
            if self.index >= len(self.words):
                if self.words[-1] == ".":
                    break
                raise self.unexpected("a thing", "a place")
            if not separated:
                linked = self.words[start] in ("with", "without")
                if not linked and self.peek("adverbial") is None:
                    raise self.unexpected("a comma", '"and"', "a relation", "a place", _END, at=start)
            self.parse_item(joined=self.words[start] == "and")
        return self.build_meaning()

    def parse_separator(self) -> bool:
        start = self.index
        while self.peek("adverbial") is None and self.accept_word(",", ";", ".", "and", "but", "while"):
            if self.index - start > 2:
                raise self.unexpected("a thing", "a place")
        return self.index > start

    def parse_item(self, first: bool = False, joined: bool = False) -> None:
        """One item: things with what is stated about them, an absence, or a place, time or weather."""
        if not first and self.accept("nothing else") is not None:
            self.only = True
            return
        if self.parse_adverbial():
            return
        opener = self.peek("opener")
        if opener is not None:
            self.index = opener[0]
        if self.accept_word("exactly"):
            self.index -= 1
        elif self.accept("only") is not None:
            self.only = True
        if self.accept("none") is not None:
            self.parse_absence()
            while self.accept_word("or", "nor"):
                self.accept("none")
                self.parse_absence()
            return
        if self.accept_word("neither"):
            self.accept("article")
            self.parse_absence()
            while self.accept_word("nor"):
                self.accept("article")
                self.parse_absence()
            return
        if self.accept_word("with"):
            if self.accept("none") is not None:
                self.parse_absence()
                return
        elif self.peek("relation") is not None and opener is None:
            self.parse_fronted_relation()
            return
        subject = self.parse_thing(("a number", "an article", '"no"'))
        self.parse_statements(subject, joined)

    def parse_adverbial(self) -> bool:
        start = self.index
        phrase = self.accept("adverbial")
        if phrase is None:
            return False
        attribute = Attribute(phrase[0], phrase[1])
        for known in self.image:
            if known.dimension == attribute.dimension and known.value != attribute.value:
                raise self.refusal(f"the image already has another {attribute.dimension}", start)
        self.image.append(attribute)
        return True

    def parse_fronted_relation(self) -> None:
        """A relation that comes first: "to the left of a cat there is a dog"."""
        start = self.index
        relation = self.accept("relation")
        assert relation is not None
        anchor = self.parse_thing(("the thing that the relation refers to",))
        self.accept_word(",")
        if self.accept("there") is None:
            raise self.unexpected('"there is"', '"is"')
        if self.accept("none") is not None:
            raise self.refusal("a relation must refer to a thing that is in the image", start)
        subject = self.parse_thing(("a number", "an article"))
        self.add_link(relation[0], subject, anchor, start)
        self.parse_statements(subject, joined=False)

    def parse_statements(self, subject: int, joined: bool) -> None:
        """What is stated about a subject after its noun phrase: relations and predicates."""
        related = False
        while True:
            start = self.index
            if related and self.accept_word(","):
                pass
            if related and not self.accept_word("and"):
                self.index = start
                return
            verb = self.accept("is") is not None
            negative = verb and self.accept("not") is not None
            if self.peek("adverbial") is not None:
                if related:
                    self.index = start
                    return
                self.parse_adverbial()
                return
            relation_at = self.index
            relation = self.accept("relation")
            if relation is not None:
                if negative:
                    raise self.refusal("a relation cannot be negated", relation_at, "a property")
                if joined and not verb and not related:
                    raise self.refusal(f'{_UNCLEAR}; write "that is …" or start a sentence', relation_at)
                other = self.parse_thing(("the other thing",))
                self.add_link(relation[0], subject, other, relation_at)
                if self.at_relation():
                    raise self.refusal(f'{_UNCLEAR}; put "and" before it', self.index, '"and"', "a comma")
                related = True
                continue
            if verb:
                self.parse_predicate(subject, negative)
                related = True
                continue
            self.index = start
            return

    def add_link(self, relation: str, a: int, b: int, at: int) -> None:
        """Add a relation between two groups, in the direction that meanings use."""
        declared = lexicon.RELATIONS[relation]
        if declared.id in ("right_of", "below", "around", "behind", "smaller", "under"):
            assert declared.inverse is not None
            relation, a, b = declared.inverse, b, a
        if a == b:
            raise self.refusal("a thing cannot have a relation to itself", at)
        target = KINDS[self.groups[b].kind]
        if relation in ("inside", "outside") and target.inner is None:
            possible = sorted(kind.words[0] for kind in KINDS.values() if kind.inner)
            raise self.refusal(
                f"nothing can be inside a {target.words[0]}; things can be inside: {', '.join(possible)}", at
            )
        if relation == "on" and target.top is None:
            possible = sorted(kind.words[0] for kind in KINDS.values() if kind.top)
            raise self.refusal(
                f"nothing can be on a {target.words[0]}; things can be on: {', '.join(possible)}", at
            )
        if relation in ("inside", "on") and self.groups[b].count > 1:
            raise self.refusal("only a single thing can contain or carry others", at)
        if relation == "in_front_of" and self.groups[a].count * self.groups[b].count > 1:
            raise self.refusal("only single things can be in front of or behind each other", at)
        link = Link(relation, a, b)
        if link not in self.links:
            self.links.append(link)

    # Things

    def parse_adjectives(self) -> list[tuple[Attribute, int]]:
        """Adjectives before a noun, each with the index of its first word."""
        adjectives: list[tuple[Attribute, int]] = []
        while True:
            phrase = self.peek("adjective")
            if phrase is None:
                break
            end, payload = phrase
            more = end + 1 if end < len(self.words) and self.words[end] in (",", "and") else end
            follows = self.peek("adjective", more) or self.peek("noun", end) or self.peek("part", end)
            if self.peek("noun") is not None and follows is None:
                break
            adjectives.append((Attribute(payload[0], payload[1]), self.index))
            self.index = more if self.peek("adjective", more) is not None else end
        return adjectives

    def parse_noun(self, count: int | None) -> tuple[Kind, bool]:
        """A noun: its kind, and whether it is a plural; ``count`` None allows both."""
        at = self.index
        noun = self.accept("noun")
        if noun is None:
            examples = ", ".join(kind.words[0] for kind in list(KINDS.values())[:6])
            raise self.unexpected("a property", f"a thing ({examples}, …)")
        kind, many = KINDS[noun[0]], noun[1] == "many"
        spellings = set(kind.words) & set(kind.plurals)
        invariant = " ".join(self.words[at : self.index]) in spellings
        if count is not None and not invariant and many != (count > 1):
            wanted = kind.plurals[0] if count > 1 else kind.words[0]
            self.index = at
            raise self.refusal("number and noun do not agree", at, f'"{wanted}"')
        return kind, many

    def parse_thing(self, expected: tuple[str, ...]) -> int:
        """A noun phrase; returns the number of the group that it is about."""
        self.accept_word("exactly")
        start = self.index
        if self.accept_word("the"):
            return self.parse_reference(start)
        number = self.accept("number") or self.accept("article")
        if number is None:
            raise self.unexpected(*expected)
        count = int(number[0])
        attributes = self.parse_adjectives()
        kind, _ = self.parse_noun(count)
        return self.add_group(kind.id, count, attributes)

    def add_group(self, kind: str, count: int, attributes: list[tuple[Attribute, int]]) -> int:
        """Add a group with the attributes before its noun and those after it; gives its number."""
        group = _Group(kind, count)
        self.groups.append(group)
        number = len(self.groups) - 1
        for attribute, at in attributes:
            self.add_attribute(group, attribute, at)
        self.parse_postmodifiers(number)
        return number

    def parse_reference(self, start: int) -> int:
        """The rest of "the …": a thing that was mentioned before, or a new one."""
        number = self.accept("number")
        attributes = self.parse_adjectives()
        kind, plural = self.parse_noun(int(number[0]) if number else None)
        same_kind = [i for i, group in enumerate(self.groups) if group.kind == kind.id]
        required = {attribute for attribute, _ in attributes}
        matches = [
            i
            for i in same_kind
            if required <= set(self.groups[i].attributes)
            and (number is None or self.groups[i].count == int(number[0]))
            and (not plural or self.groups[i].count > 1 or kind.words[0] == kind.plurals[0])
        ]
        if len(matches) > 1:
            raise self.refusal(
                f"more than one {kind.words[0]} could be meant", start, "a property that distinguishes them"
            )
        if matches:
            self.parse_postmodifiers(matches[0])
            return matches[0]
        if same_kind:
            raise self.refusal(
                f"no {kind.words[0]} with these properties was mentioned before", start, '"a"', '"another"'
            )
        if plural and number is None:
            raise self.refusal("the number of things is missing", start + 1, "a number")
        return self.add_group(kind.id, int(number[0]) if number else 1, attributes)

    def parse_absence(self) -> None:
        """The noun phrase after "no"."""
        start = self.index
        attributes = self.parse_adjectives()
        kind, _ = self.parse_noun(None)
        group = _Group(kind.id, 0)
        for attribute, at in attributes:
            self.add_attribute(group, attribute, at)
        while self.parse_postmodifier(group):
            pass
        absence = Absence(kind.id, tuple(dict.fromkeys(group.attributes)))
        if self.at_relation():
            raise self.refusal("a thing that is absent cannot have a relation", self.index, "a comma", _END)
        if group.layout:
            raise self.refusal("things that are absent cannot be arranged", start)
        self.absences.append(absence)

    def add_attribute(self, group: _Group, attribute: Attribute, at: int) -> None:
        """Add an attribute to a group, if its kind can have it and no other one excludes it."""
        kind = KINDS[group.kind]
        name = kind.words[0]
        if attribute.dimension == "shape" and attribute.value not in kind.shapes:
            possible = sorted(k.words[0] for k in KINDS.values() if attribute.value in k.shapes)
            raise self.refusal(f"a {name} cannot have this shape; these can: {', '.join(possible)}", at)
        if attribute.dimension in ("colour", "texture", "material") and attribute.value not in kind.values(
            attribute.dimension
        ):
            possible = [
                word
                for value in kind.values(attribute.dimension)
                for word in lexicon.THING_DIMENSIONS[attribute.dimension][value].words[:1]
            ]
            problem = f"this {attribute.dimension} cannot be told on a {name}, as it is drawn"
            raise self.refusal(problem + (f"; it can be {', '.join(possible)}" if possible else ""), at)
        if attribute.positive:
            for known in group.attributes:
                if (
                    known.positive
                    and known.dimension == attribute.dimension
                    and known.value != attribute.value
                ):
                    raise self.refusal(
                        f"the {name} already has another {attribute.dimension.split(':')[-1]}", at
                    )
        group.attributes.append(attribute)

    def parse_postmodifiers(self, index: int) -> None:
        while self.parse_postmodifier(self.groups[index]):
            pass

    def parse_postmodifier(self, group: _Group) -> bool:
        """One phrase after a noun, if there is one; gives whether there was."""
        start = self.index
        phrase = self.accept("after")
        if phrase is not None:
            self.add_attribute(group, Attribute(phrase[0], phrase[1]), start)
            return True
        if self.parse_layout(group):
            return True
        if self.accept("that is") is not None:
            if self.peek("relation") is not None or self.peek("adverbial") is not None:
                self.index = start
                return self.parse_relative_clause(group)
            self.parse_value(group, negative=self.accept("not") is not None)
            return True
        if self.parse_pose(group, negative=False):
            return True
        return self.parse_parts(group)

    def parse_layout(self, group: _Group) -> bool:
        """An arrangement of several things; "a square in a circle" is a relation instead."""
        phrase = self.peek("layout")
        if phrase is None or (group.count < 2 and self.peek("noun", phrase[0] - 1) is not None):
            return False
        if group.layout and group.layout != phrase[1][0]:
            raise self.refusal("they already have another arrangement", self.index)
        if group.count == 1:
            raise self.refusal("a single thing cannot be arranged", self.index, "a number of two or more")
        if phrase[1][0] == "ring" and group.count == 2:
            raise self.refusal("a circle needs three things or more", self.index)
        self.index = phrase[0]
        group.layout = phrase[1][0]
        return True

    def parse_relative_clause(self, group: _Group) -> bool:
        """A relation after "that is", which can only be about the noun before it."""
        if group.count == 0:
            raise self.refusal("a thing that is absent cannot have a relation", self.index)
        if self.peek("adverbial", self.index + 2) is not None:
            self.index += 2
            self.parse_adverbial()
            return True
        self.index += 2
        at = self.index
        relation = self.accept("relation")
        assert relation is not None
        subject = next(i for i, known in enumerate(self.groups) if known is group)
        other = self.parse_thing(("the other thing",))
        self.add_link(relation[0], subject, other, at)
        return True

    def parse_pose(self, group: _Group, negative: bool) -> bool:
        start = self.index
        phrase = self.accept("pose")
        if phrase is None:
            return False
        kind = KINDS[group.kind]
        for pose in kind.poses:
            if phrase[0] in pose.words:
                self.add_attribute(group, Attribute("pose", pose.id, not negative), start)
                return True
        possible = ", ".join(pose.words[0] for pose in kind.poses)
        hint = f"it can be: {possible}" if possible else "it has only one pose"
        raise self.refusal(f"a {kind.words[0]} cannot be drawn in this pose; {hint}", start)

    def parse_value(self, group: _Group, negative: bool) -> None:
        """A property after "that is" or "is"."""
        start = self.index
        if self.parse_pose(group, negative):
            return
        phrase = self.accept("adjective") or self.accept("after")
        if phrase is None:
            raise self.unexpected("a property", "an action", "a relation")
        self.add_attribute(group, Attribute(phrase[0], phrase[1], not negative), start)

    def parse_predicate(self, subject: int, negative: bool) -> None:
        """An arrangement or a property after "is"."""
        group = self.groups[subject]
        if negative or not self.parse_layout(group):
            self.parse_value(group, negative)

    def parse_parts(self, group: _Group) -> bool:
        """Parts after "with" or "without"; gives whether there were any."""
        start = self.index
        if self.accept("without") is not None:
            if self.peek("part") is None or not self.names_own_part(group):
                self.index = start
                return False
            self.parse_part(group, 0)
            return True
        if self.accept("with") is None:
            return False
        if not self.parse_counted_part(group):
            self.index = start
            return False
        while True:
            position = self.index
            if not self.accept_word("and", ","):
                return True
            self.accept_word("and")
            self.accept("with")
            if not self.parse_counted_part(group):
                self.index = position
                return True

    def names_own_part(self, group: _Group) -> bool:
        """Whether the next noun is a part of this kind; a part of other kinds is an error."""
        phrase = self.peek("part")
        assert phrase is not None
        kind = KINDS[group.kind]
        if kind.part(phrase[1][0]) is not None:
            return True
        if self.peek("noun") is not None:
            return False
        possible = ", ".join(part.plural_word for part in kind.parts) or "none"
        raise self.refusal(
            f"a {kind.words[0]} does not have this part; its parts are: {possible}", self.index
        )

    def parse_counted_part(self, group: _Group) -> bool:
        """A number and a part of this kind; gives whether there was one."""
        start = self.index
        number = self.accept("number") or self.accept("article")
        count = int(number[0]) if number else 0
        if number is None and self.accept("none") is None:
            return False
        if self.peek("part") is None or not self.names_own_part(group):
            self.index = start
            return False
        self.parse_part(group, count)
        return True

    def parse_part(self, group: _Group, count: int) -> None:
        at = self.index
        phrase = self.accept("part")
        assert phrase is not None
        part = KINDS[group.kind].part(phrase[0])
        assert part is not None
        if count and part.word != part.plural_word and (phrase[1] == "many") != (count > 1):
            raise self.refusal(
                "number and part do not agree", at, f'"{part.plural_word if count > 1 else part.word}"'
            )
        if not part.low <= count <= part.high:
            name = KINDS[group.kind].words[0]
            raise self.refusal(f"a {name} can have {part.low} to {part.high} {part.plural_word}", at)
        self.add_attribute(group, Attribute(f"part:{part.word}", str(count)), at)

    # Result

    def build_meaning(self) -> Meaning:
        """The meaning, if it does not contradict itself."""
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
            clash = meaning.mentioned & PLACES[setting].shows
            if clash:
                word = KINDS[min(clash)].plurals[0]
                raise PromptError(
                    f'"{PLACES[setting].words[0]}" already shows {word}, so that their number cannot be'
                    " stated; choose another place"
                )
        return meaning
