"""Claims about what is in an image and what is not."""

from __future__ import annotations

from croc_syn.world.contrasts.prompt_pairs import stateable
from croc_syn.world.contrasts.scene_facts import (
    LARGEST_NUMBER,
    MAKERS,
    Phrases,
    SceneFacts,
    claim,
    common_value,
)
from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS, Kind
from croc_syn.world.language.meaning import Attribute
from croc_syn.world.language.realisation import (
    adjective_phrase,
    counted_phrase,
    denial_phrases,
    exclusion_phrases,
    negation_phrases,
    noun_phrase,
)
from croc_syn.world.scenes.oracle import has_attribute


@claim("negation")
def _negation(facts: SceneFacts) -> Phrases | None:
    form = facts.rng.random()
    if form < 0.2:
        return _denial(facts)
    if form < 0.4:
        return _without_any(facts)
    if form < 0.55:
        return _two_absences(facts)
    thing = facts.choose_single()
    if thing is None:
        return None
    kind = KINDS[thing.kind]
    others = [other for other in facts.single if other is not thing]
    first_is_true = bool(others) and facts.rng.random() < 0.5
    other = KINDS[facts.rng.choice(others).kind] if first_is_true else facts.choose_absent(thing.kind)
    first, second = facts.rng.choice(negation_phrases(kind, other))
    return facts.frame(kind.id, (first, second) if first_is_true else (second, first))


def _denial(facts: SceneFacts) -> Phrases | None:
    """A property that a thing has, and that it does not have."""
    thing = facts.choose_single()
    if thing is None:
        return None
    kind = KINDS[thing.kind]
    if len(kind.poses) > 1 and facts.rng.random() < 0.4:
        same = facts.rng.random() < 0.5
        pose = thing.pose if same else facts.choose_other([pose.id for pose in kind.poses], thing.pose)
        word = next(p.words[0] for p in kind.poses if p.id == pose)
        first, second = (f"{noun_phrase(kind)} that is {negation}{word}" for negation in ("", "not "))
        return facts.frame(kind.id, (first, second) if pose == thing.pose else (second, first))
    same = facts.rng.random() < 0.5
    colours = stateable("colour", kind)
    colour = thing.colour if same and thing.colour in colours else facts.choose_other(colours, thing.colour)
    first, second = denial_phrases(kind, colour)
    return facts.frame(kind.id, (first, second) if colour == thing.colour else (second, first))


def _without_any(facts: SceneFacts) -> Phrases | None:
    """An absence alone: "no cat", "no red dog"."""
    if not facts.counts:
        return None
    kind = facts.rng.choice(list(facts.counts))
    present = KINDS[kind].words[0]
    if facts.rng.random() < 0.5:
        return f"no {facts.choose_absent(kind).words[0]}", f"no {present}"
    shown = {thing.colour for thing in facts.things[kind]}
    wrong = facts.rng.choice(sorted(shown))
    possible = [colour for colour in stateable("colour", KINDS[kind]) if colour not in shown]
    if not possible:
        return None
    right = facts.rng.choice(possible)
    return f"no {right} {present}", f"no {wrong} {present}"


def _two_absences(facts: SceneFacts) -> Phrases | None:
    """Two kinds that are absent, of which the false prompt names a present one."""
    if not facts.counts:
        return None
    kind = facts.rng.choice(list(facts.counts))
    first, second = facts.choose_absent(kind), facts.choose_absent(kind)
    if first is second:
        return None
    wrong = (first, KINDS[kind]) if facts.rng.random() < 0.5 else (KINDS[kind], second)
    (a, b), (c, d) = ((one.words[0], two.words[0]) for one, two in ((first, second), wrong))
    return f"no {a} and no {b}", f"no {c} and no {d}"


_BESIDE = ("wrong_noun", "colour", "count", "presence", "size", "action", "colour_binding", "body_part")


@claim("beside_absence")
def _beside_absence(facts: SceneFacts) -> Phrases | None:
    """A true absence in both prompts, which differ in something else: "a red dog and no horse".

    Where "no" is always what two prompts differ in, a model can take it for a change of the whole prompt.
    """
    phrases = MAKERS[facts.rng.choice(_BESIDE)](facts)
    if phrases is None or not facts.counts:
        return None
    absent = facts.choose_absent(facts.rng.choice(list(facts.counts)))
    forms = (" and no {0}", ", and no {0}", ", no {0}", " but no {0}", " without {1}")
    clause = facts.rng.choice(forms).format(absent.words[0], noun_phrase(absent))
    return phrases[0] + clause, phrases[1] + clause


_BESIDE_A_THING = ("left_right", "above_below", "colour", "action", "texture", "body_part")


@claim("beside_presence")
def _beside_presence(facts: SceneFacts) -> Phrases | None:
    """A thing that is there in both prompts, which differ in something else: "a red dog, and a ball"."""
    phrases = MAKERS[facts.rng.choice(_BESIDE_A_THING)](facts)
    if phrases is None or not facts.single:
        return None
    clause = facts.rng.choice((", and {}", ", {}"))
    shown = clause.format(noun_phrase(KINDS[facts.rng.choice(facts.single).kind]))
    return phrases[0] + shown, phrases[1] + shown


@claim("presence")
def _presence(facts: SceneFacts) -> Phrases | None:
    options = [kind for kind, count in facts.counts.items() if count <= LARGEST_NUMBER]
    if not options:
        return None
    kind = facts.rng.choice(options)
    count, other = facts.counts[kind], facts.choose_absent(kind)
    phrases = counted_phrase(KINDS[kind], count), counted_phrase(other, count)
    if count == 1:
        phrases = noun_phrase(KINDS[kind]), noun_phrase(other)
    return facts.frame(kind, phrases, count == 1)


@claim("entity")
def _entity(facts: SceneFacts) -> Phrases | None:
    thing = facts.choose_single()
    if thing is None:
        return None
    kind, other = KINDS[thing.kind], facts.choose_absent(thing.kind)
    return facts.frame(kind.id, exclusion_phrases(kind, other, nothing_else=facts.rng.random() >= 0.5))


@claim("only")
def _only(facts: SceneFacts) -> Phrases | None:
    """Nothing else is in the image; the false prompt leaves something out or has another kind or number."""
    kinds = facts.rng.shuffled(list(facts.counts))
    if not kinds or any(facts.counts[kind] > LARGEST_NUMBER for kind in kinds):
        return None

    coloured = facts.rng.random() < 0.5
    colours = {
        kind: common_value(facts.things[kind], "colour", stateable("colour", KINDS[kind])) for kind in kinds
    }

    def phrase(kind: Kind, count: int) -> str:
        colour = colours.get(kind.id) if coloured else None
        if count > 1:
            return counted_phrase(kind, count, colour or "")
        return adjective_phrase(kind, lexicon.COLOURS[colour], 0) if colour else noun_phrase(kind)

    def listed(counts: list[tuple[Kind, int]]) -> str:
        phrases = [phrase(kind, n) for kind, n in counts]
        return ", ".join(phrases[:-1]) + " and " + phrases[-1] if len(phrases) > 1 else phrases[0]

    every = [(KINDS[kind], facts.counts[kind]) for kind in kinds]
    if len(every) > 3 or (len(every) > 1 and facts.rng.random() < 0.35):
        some = listed(every[: 1 + facts.rng.integer(min(2, len(every) - 1))])
        return some, f"only {some}"
    kind, count = every[-1]
    change = facts.rng.random()
    if len(every) > 1 and change < 0.5:
        wrong = every[:-1]
    elif change < 0.75:
        wrong = [*every[:-1], (facts.choose_absent(kind.id), count)]
    else:
        other = (
            count + 1 if count == 1 or (count < LARGEST_NUMBER and facts.rng.random() < 0.5) else count - 1
        )
        wrong = [*every[:-1], (kind, other)]
    return f"only {listed(every)}", f"only {listed(wrong)}"


@claim("wrong_noun")
def _wrong_noun(facts: SceneFacts) -> Phrases | None:
    """Everything is right but the noun: "a red cat" for a red dog, "three cats" for three dogs."""
    if not facts.counts:
        return None
    kind = facts.rng.choice(list(facts.counts))
    things, other = facts.things[kind], facts.choose_absent(kind)
    count = len(things)
    if count > LARGEST_NUMBER:
        return None
    poses = {thing.pose for thing in things}
    shared = poses & {pose.id for pose in other.poses}
    if len(poses) == 1 and shared and len(KINDS[kind].poses) > 1 and facts.rng.random() < 0.5:
        pose = shared.pop()
        word = next(declared.words[0] for declared in other.poses if declared.id == pose)
        phrases = tuple(f"{counted_phrase(noun, count)} {word}" for noun in (KINDS[kind], other))
        return facts.frame(kind, (phrases[0], phrases[1]), count == 1)
    options = [
        (values[value], position)
        for dimension, values in lexicon.THING_DIMENSIONS.items()
        for value in values
        if value in stateable(dimension, KINDS[kind]) and value in stateable(dimension, other)
        for position in range(3)
        if all(has_attribute(thing, Attribute(dimension, value)) for thing in things)
    ]
    if not options:
        return None
    value, position = facts.rng.choice(options)
    if count == 1:
        return facts.frame(
            kind, (adjective_phrase(KINDS[kind], value, position), adjective_phrase(other, value, position))
        )
    return facts.frame(
        kind,
        (counted_phrase(KINDS[kind], count, value.words[0]), counted_phrase(other, count, value.words[0])),
        False,
    )
