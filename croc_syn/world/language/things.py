"""Reading the phrases for things: number, properties, noun, and what follows the noun."""

from __future__ import annotations

from dataclasses import dataclass, field

from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS, Kind
from croc_syn.world.language.meaning import Absence, Attribute, Link
from croc_syn.world.language.words import WordReader

END = "end of prompt"
"""What is expected where a prompt may end."""

INVERTED = frozenset({"right_of", "below", "around", "behind", "smaller", "under"})
"""Relations that meanings state by their inverse."""

UNCLEAR = "it is not clear which thing this describes"
"""The problem of a phrase that could be about several things."""


@dataclass
class ThingGroup:
    """Things of one kind, while a prompt is read."""

    kind: str
    count: int
    attributes: list[Attribute] = field(default_factory=list)
    layout: str = ""


class ThingReader(WordReader):
    """Reads phrases for things, and collects what is stated about them."""

    def __init__(self, prompt: str) -> None:
        super().__init__(prompt)
        self.groups: list[ThingGroup] = []
        self.absences: list[Absence] = []
        self.links: list[Link] = []
        self.image: list[Attribute] = []

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
        group = ThingGroup(kind, count)
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
        group = ThingGroup(kind.id, 0)
        for attribute, at in attributes:
            self.add_attribute(group, attribute, at)
        while self.parse_postmodifier(group):
            pass
        absence = Absence(kind.id, tuple(dict.fromkeys(group.attributes)))
        self.accept("present")
        if self.at_relation():
            raise self.refusal("a thing that is absent cannot have a relation", self.index, "a comma", END)
        if group.layout:
            raise self.refusal("things that are absent cannot be arranged", start)
        self.absences.append(absence)

    def add_attribute(self, group: ThingGroup, attribute: Attribute, at: int) -> None:
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
        """Every phrase after a noun."""
        while self.parse_postmodifier(self.groups[index]):
            pass

    def parse_postmodifier(self, group: ThingGroup) -> bool:
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

    def parse_layout(self, group: ThingGroup) -> bool:
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

    def parse_relative_clause(self, group: ThingGroup) -> bool:
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

    def parse_pose(self, group: ThingGroup, negative: bool) -> bool:
        """An action after a noun; gives whether there was one."""
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

    def parse_value(self, group: ThingGroup, negative: bool) -> None:
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

    def parse_parts(self, group: ThingGroup) -> bool:
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

    def names_own_part(self, group: ThingGroup) -> bool:
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

    def parse_counted_part(self, group: ThingGroup) -> bool:
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

    def parse_part(self, group: ThingGroup, count: int) -> None:
        """The noun of a part, whose number was read."""
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

    def parse_adverbial(self) -> bool:
        """A place, a time of day or the weather; gives whether there was one."""
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

    def add_link(self, relation: str, a: int, b: int, at: int) -> None:
        """Add a relation between two groups, in the direction that meanings use."""
        declared = lexicon.RELATIONS[relation]
        if declared.id in INVERTED:
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
