"""The parser of the controlled English: prompt → meaning.

It reads declared words only (``lexicon``, ``kinds``, ``places``). Where it stops, it knows what would be
allowed, so that an error names the word, its position and what was expected. docs/exact_world.md describes
the grammar for people.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS, Kind
from croc_syn.world.declarations.places import PLACES
from croc_syn.world.language.meaning import Absence, Attribute, Group, Link, Meaning, contradiction
from croc_syn.world.language.words import PromptError, WordReader

__all__ = ["LONGEST_PROMPT", "PromptError", "parse"]

LONGEST_PROMPT = 2000
"""Characters; a longer prompt is refused before it is parsed."""

_END = "end of prompt"
_UNCLEAR = "it is not clear which thing this describes"


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


class _Parser(WordReader):
    """A recursive-descent parser."""

    def __init__(self, prompt: str) -> None:
        super().__init__(prompt)
        self.groups: list[_Group] = []
        self.absences: list[Absence] = []
        self.links: list[Link] = []
        self.image: list[Attribute] = []
        self.only = False
        self.sides: list[tuple[int, str, int]] = []

    # Items

    def parse_prompt(self) -> Meaning:
        """The whole prompt: items, separated by commas, "and" or the like."""
        place_alone = self.parse_item(first=True)
        while self.index < len(self.words):
            start = self.index
            separated = self.parse_separator()
            if self.index >= len(self.words):
                if self.words[-1] == ".":
                    break
                raise self.unexpected("a thing", "a place")
            if not separated:
                linked = self.words[start] in ("with", "without")
                if not linked and not place_alone and self.peek("adverbial") is None:
                    raise self.unexpected("a comma", '"and"', "a relation", "a place", _END, at=start)
            place_alone = self.parse_item(joined=self.words[start] == "and")
        return self.build_meaning()

    def parse_separator(self) -> bool:
        start = number = self.index
        while self.peek("adverbial") is None and (
            self.accept("and") is not None or self.accept_word(",", ";", ".", ":", "and", "but", "while")
        ):
            number += 1
            if number - start > 2:
                raise self.unexpected("a thing", "a place")
        return self.index > start

    def parse_item(self, first: bool = False, joined: bool = False) -> bool:
        """One item: things with what is stated about them, an absence, or a place, time or weather.

        Returns:
            Whether it was a place, time or weather, which needs no separator after it.
        """
        if not first and self.accept("nothing else") is not None:
            self.only = True
            return False
        if self.parse_adverbial():
            return True
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
            return False
        if self.accept_word("neither"):
            self.accept("article")
            self.parse_absence()
            while self.accept_word("nor"):
                self.accept("article")
                self.parse_absence()
            return False
        if self.accept_word("with"):
            if self.accept("none") is not None:
                self.parse_absence()
                return False
        elif opener is None and self.at_side():
            at, side = self.index, self.accept("side")
            assert side is not None
            self.accept_word(",")
            self.accept("there")
            self.sides.append((self.parse_thing(("a number", "an article")), side[0], at))
            return False
        elif opener is None and self.peek("relation") is not None:
            self.parse_fronted_relation()
            return False
        self.accept_word("both")
        subject = self.parse_thing(("a number", "an article", '"no"'))
        if self.parse_presence(subject) or self.parse_distribution(subject) or self.parse_side(subject):
            return False
        self.parse_statements(subject, joined)
        return False

    def parse_presence(self, subject: int) -> bool:
        """Presence ("is in the picture"), or absence ("is missing"), which makes an absence of the things."""
        start = self.index
        if self.accept("absent") is not None:
            group = self.groups[subject]
            if (
                subject != len(self.groups) - 1
                or group.layout
                or any(subject in (k.a, k.b) for k in self.links)
            ):
                raise self.refusal("more is stated about a thing that is absent", start)
            self.groups.pop()
            self.absences.append(Absence(group.kind, tuple(dict.fromkeys(group.attributes))))
            return True
        return self.accept("present") is not None

    def parse_side(self, subject: int) -> bool:
        """Where a thing is in the image; together with another thing on the other side, a relation."""
        at = self.index
        side = self.accept("side") if self.at_side() else None
        if side is not None:
            self.sides.append((subject, side[0], at))
        return side is not None

    def at_side(self) -> bool:
        """Whether a side is next, and not a relation or a place that begins with the same words."""
        side = self.peek("side")
        others = (self.peek("relation"), self.peek("adverbial"))
        return side is not None and all(other is None or other[0] < side[0] for other in others)

    def parse_distribution(self, subject: int) -> bool:
        """What distinguishes several things of a kind: "two dogs, one red and one blue"."""
        start, group = self.index, self.groups[subject]
        parts: list[tuple[int, Attribute, int]] = []
        self.accept_word(",", ":")
        while sum(count for count, _, _ in parts) < group.count and group.count > 1:
            separated = not parts or self.accept_word(",", "and")
            separated = self.accept_word("and") or separated
            number = self.accept("number") or (("1",) if parts and self.accept_word("the") else None)
            if number is None or not separated:
                break
            self.accept_word("other", "another")
            if self.accept_word("of"):
                self.accept_word("them", "these")
            self.accept("that is")
            self.accept("is")
            at = self.index
            phrase = self.accept("adjective") or self.accept("after")
            pose = None if phrase else self.accept("pose")
            if phrase is not None:
                parts.append((int(number[0]), Attribute(phrase[0], phrase[1]), at))
            elif pose is not None:
                known = next((p.id for p in KINDS[group.kind].poses if pose[0] in p.words), None)
                if known is None:
                    break
                parts.append((int(number[0]), Attribute("pose", known), at))
            else:
                break
        total = sum(count for count, _, _ in parts)
        noun_follows = self.peek("noun") is not None or self.peek("adjective") is not None
        if len(parts) < 2 or total != group.count or noun_follows:
            self.index = start
            return False
        if group.layout or subject != len(self.groups) - 1:
            raise self.refusal("things that are distinguished cannot be arranged or mentioned before", start)
        self.groups.pop()
        for count, attribute, at in parts:
            part = _Group(group.kind, count, list(group.attributes))
            self.add_attribute(part, attribute, at)
            self.groups.append(part)
        return True

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
            phrase = self.peek_property()
            if phrase is None:
                break
            end, attribute = phrase
            more = end + 1 if end < len(self.words) and self.words[end] in (",", "and") else end
            follows = self.peek_property(more) or self.peek("noun", end) or self.peek("part", end)
            if self.peek("noun") is not None and follows is None:
                break
            adjectives.append((attribute, self.index))
            self.index = more if self.peek_property(more) is not None else end
        return adjectives

    def peek_property(self, start: int | None = None) -> tuple[int, Attribute] | None:
        """An adjective, or an action before its noun ("a running dog"), whose id depends on the kind."""
        phrase = self.peek("adjective", start)
        if phrase is not None:
            return phrase[0], Attribute(phrase[1][0], phrase[1][1])
        action = self.peek("pose", start)
        return None if action is None else (action[0], Attribute("pose", action[1][0]))

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
        required = {self.pose_of(kind, a, at) if a.dimension == "pose" else a for a, at in attributes}
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
        self.accept("present")
        if self.at_relation():
            raise self.refusal("a thing that is absent cannot have a relation", self.index, "a comma", _END)
        if group.layout:
            raise self.refusal("things that are absent cannot be arranged", start)
        self.absences.append(absence)

    def add_attribute(self, group: _Group, attribute: Attribute, at: int) -> None:
        """Add an attribute to a group, if its kind can have it and no other one excludes it."""
        kind = KINDS[group.kind]
        name = kind.words[0]
        if attribute.dimension == "pose":
            attribute = self.pose_of(kind, attribute, at)
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
        self.add_attribute(group, Attribute("pose", phrase[0], not negative), start)
        return True

    def pose_of(self, kind: Kind, attribute: Attribute, at: int) -> Attribute:
        """The attribute with the id of the pose in place of its words."""
        for pose in kind.poses:
            if attribute.value in (pose.id, *pose.words):
                return Attribute("pose", pose.id, attribute.positive)
        possible = ", ".join(pose.words[0] for pose in kind.poses)
        hint = f"it can be: {possible}" if possible else "it has only one pose"
        raise self.refusal(f"a {kind.words[0]} cannot be drawn in this pose; {hint}", at)

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
        self.accept_word("exactly")
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

    def link_sides(self) -> None:
        """Relations of the things whose sides of the image are stated."""
        for low, high, relation in (("left", "right", "left_of"), ("top", "bottom", "above")):
            first = [number for number, side, _ in self.sides if side == low]
            second = [number for number, side, _ in self.sides if side == high]
            for a in first:
                for b in second:
                    self.add_link(relation, a, b, 0)
            if bool(first) != bool(second):
                at = next(at for _, side, at in self.sides if side in (low, high))
                raise self.refusal("a side needs another thing on the opposite side", at)

    def build_meaning(self) -> Meaning:
        """The meaning, if it does not contradict itself."""
        self.link_sides()
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
