"""The parser of the controlled English: prompt → meaning.

It reads declared words only (``lexicon``, ``kinds``, ``places``). Where it stops, it knows what would be
allowed, so that an error names the word, its position and what was expected. docs/exact_world.md describes
the grammar for people.
"""

from __future__ import annotations

from functools import lru_cache

from croc_syn.world.declarations.kinds import KINDS
from croc_syn.world.declarations.places import PLACES
from croc_syn.world.language.meaning import Absence, Attribute, Group, Meaning, contradiction
from croc_syn.world.language.things import END, UNCLEAR, ThingGroup, ThingReader
from croc_syn.world.language.words import PromptError

__all__ = ["LONGEST_PROMPT", "PromptError", "parse"]

LONGEST_PROMPT = 2000
"""Characters; a longer prompt is refused before it is parsed."""


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


class _Parser(ThingReader):
    """A recursive-descent parser."""

    def __init__(self, prompt: str) -> None:
        super().__init__(prompt)
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
                    raise self.unexpected("a comma", '"and"', "a relation", "a place", END, at=start)
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
            part = ThingGroup(group.kind, count, list(group.attributes))
            self.add_attribute(part, attribute, at)
            self.groups.append(part)
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
                    raise self.refusal(f'{UNCLEAR}; write "that is …" or start a sentence', relation_at)
                other = self.parse_thing(("the other thing",))
                self.add_link(relation[0], subject, other, relation_at)
                if self.at_relation():
                    raise self.refusal(f'{UNCLEAR}; put "and" before it', self.index, '"and"', "a comma")
                related = True
                continue
            if verb:
                self.parse_predicate(subject, negative)
                related = True
                continue
            self.index = start
            return

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
