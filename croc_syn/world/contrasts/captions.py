"""Captions: scene → controlled English that is true of it."""

from __future__ import annotations

from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS
from croc_syn.world.declarations.lexicon import NUMBER_WORDS, SIZE_RANGES
from croc_syn.world.declarations.places import PLACES
from croc_syn.world.language.meaning import Attribute
from croc_syn.world.language.realisation import relation_words, with_article
from croc_syn.world.scenes.oracle import RELATION_TESTS, is_true_of
from croc_syn.world.scenes.scene import Scene
from croc_syn.world.scenes.seeded_random import SeededRandom

_ADJECTIVES = ("size", "texture", "colour", "material")
_STATED_RELATIONS = ("left_of", "above", "larger", "inside", "in_front_of", "on", "near", "far")
_INVERSES = {"left_of": "right_of", "above": "below", "larger": "smaller", "in_front_of": "behind"}

Key = tuple[str, tuple[tuple[str, str], ...]]
"""What one phrase is about: a kind, and pairs of a dimension and a value."""


def describe(scene: Scene, seed: int = 0, *, detail: float = 1.0, relations: int = 2) -> str:
    """Write a prompt that is true of a scene.

    Args:
        scene: what to describe.
        seed: of the random choice of words and, with ``detail`` below 1, of content.
        detail: the probability with which each property is stated. 1 states everything that the controlled
            English can say about each thing and the place; less than 1 also leaves out some kinds.
        relations: how many relations between things are stated at most.

    Returns:
        Controlled English; ``satisfies(scene, describe(scene))`` is always True.
    """
    rng = SeededRandom("describe", scene.to_json(), seed, detail)
    kinds = dict.fromkeys(thing.kind for thing in scene.things if thing.kind not in scene.shows)
    described = [kind for kind in rng.shuffled(list(kinds)) if rng.random() < max(detail, 0.55)] or list(
        kinds
    )[:1]
    groups: dict[Key, list[int]] = {}
    for kind in described:
        chosen = {name for name in (*_ADJECTIVES, "shape", "pose", "part") if rng.random() < detail}
        for i, thing in enumerate(scene.things):
            if thing.kind == kind:
                groups.setdefault((kind, _facts(scene, i, chosen)), []).append(i)
    phrases = [_noun_phrase(key, len(members), rng) for key, members in groups.items()]
    text = _joined(phrases)
    where = _place_phrases(scene, rng, detail)
    if phrases and rng.random() < 0.25:
        text = f"a picture of {text}"
    if where and (not phrases or rng.random() < 0.3):
        text = ", ".join([*where, text]) if phrases else ", ".join(where)
    elif where:
        text = ", ".join([text, *where])
    for sentence in _relations(scene, groups, rng, relations):
        text += f". {sentence}"
    if detail >= 1.0 and set(described) == {thing.kind for thing in scene.things} and rng.random() < 0.5:
        text += ", and nothing else"
    elif detail < 1.0 and rng.random() < 0.3:
        absent = [
            kind for kind in KINDS if kind not in scene.shows and all(t.kind != kind for t in scene.things)
        ]
        text += f", and there is no {KINDS[rng.choice(absent)].words[0]}"
    return text or "nothing else"


def _facts(scene: Scene, i: int, chosen: set[str]) -> tuple[tuple[str, str], ...]:
    """What the phrase for thing ``i`` states: pairs of a dimension and a value."""
    thing = scene.things[i]
    kind = KINDS[thing.kind]
    facts: list[tuple[str, str]] = []
    for name in (*_ADJECTIVES, "shape", "pose"):
        if name not in chosen:
            continue
        if name == "size":
            value = next((v for v, (low, high) in SIZE_RANGES.items() if low <= thing.size <= high), "")
        else:
            value = getattr(thing, name)
        if name in ("colour", "texture", "material") and value not in kind.values(name):
            continue
        if value and value not in lexicon.UNMARKED:
            facts.append((name, value))
    if "part" in chosen:
        usual = {part.word: part.usual for part in kind.parts}
        facts += [(f"part:{word}", str(count)) for word, count in thing.parts if usual.get(word) != count]
    visible = [fact for fact in facts if fact[0] == "colour" or is_true_of(scene, i, Attribute(*fact))]
    stated = {name for name, _ in visible}
    return tuple(fact for fact in visible if is_true_of(scene, i, Attribute(*fact), stated))


def _adjectives(facts: dict[str, str]) -> str:
    tables = lexicon.THING_DIMENSIONS
    return " ".join(tables[name][facts[name]].words[0] for name in _ADJECTIVES if name in facts)


def _noun_phrase(key: Key, count: int, rng: SeededRandom) -> str:
    kind, facts = KINDS[key[0]], dict(key[1])
    spelling = rng.integer(len(kind.words))
    noun = kind.words[spelling] if count == 1 else kind.plurals[spelling]
    words = f"{_adjectives(facts)} {noun}".strip()
    text = with_article(words) if count == 1 and rng.random() < 0.8 else f"{NUMBER_WORDS[count]} {words}"
    if "shape" in facts:
        text += f" {lexicon.SHAPES[facts['shape']].after[0]}"
    if "pose" in facts:
        pose = next(pose for pose in kind.poses if pose.id == facts["pose"])
        text += f" {rng.choice(pose.words)}"
    parts = []
    for name, value in facts.items():
        part = kind.part(name[5:]) if name.startswith("part:") else None
        if part is not None:
            parts.append(f"{NUMBER_WORDS[int(value)]} {part.word if value == '1' else part.plural_word}")
    if parts:
        text += f" with {_joined(parts)}"
    return text


def _joined(parts: list[str]) -> str:
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else "".join(parts)


def _place_phrases(scene: Scene, rng: SeededRandom, detail: float) -> list[str]:
    phrases = []
    if rng.random() < detail:
        phrases.append(rng.choice(PLACES[scene.setting].words))
    for name in ("lighting", "weather"):
        value = getattr(scene, name)
        if value and rng.random() < detail:
            phrases.append(rng.choice(lexicon.IMAGE_DIMENSIONS[name][value].words))
    return phrases


def _relations(scene: Scene, groups: dict[Key, list[int]], rng: SeededRandom, most: int) -> list[str]:
    """Sentences about pairs of groups that their adjectives distinguish."""
    names: dict[Key, str] = {}
    for key, members in groups.items():
        noun = KINDS[key[0]].words[0] if len(members) == 1 else KINDS[key[0]].plurals[0]
        alike = [other for other in groups if other != key and other[0] == key[0]]
        facts = {name: value for name, value in key[1] if name in _ADJECTIVES}
        if not any(set(facts.items()) <= set(other[1]) for other in alike):
            words = _adjectives(facts) if alike else ""
            names[key] = f"the {words} {noun}" if words else f"the {noun}"
    sentences: list[str] = []
    done: list[set[Key]] = []
    pairs = [(a, b) for a in names for b in names if a != b]
    for a, b in rng.shuffled(pairs):
        if len(sentences) >= most:
            break
        if {a, b} in done:
            continue
        single = len(groups[a]) == len(groups[b]) == 1
        target = KINDS[b[0]]
        for relation in rng.shuffled(_STATED_RELATIONS):
            if relation in ("inside", "on", "in_front_of") and not single:
                continue
            if (relation == "inside" and target.inner is None) or (relation == "on" and target.top is None):
                continue
            if not RELATION_TESTS[relation](scene, groups[a], groups[b]):
                continue
            first, second, word = names[a], names[b], relation
            many = len(groups[a]) > 1
            if relation in _INVERSES and rng.random() < 0.5:
                first, second, word = second, first, _INVERSES[relation]
                many = len(groups[b]) > 1
            verb = "are" if many else "is"
            done.append({a, b})
            sentences.append(f"{first} {verb} {relation_words(word, rng.integer(3))} {second}")
            break
    return sentences
