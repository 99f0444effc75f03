"""Error graphs: a prompt with several statements, and images in which any of them are false.

Every node of a graph is a set of false statements. Its images are drawn from the prompt with the values of
these statements exchanged, and the oracle confirms that such an image satisfies this text and none of the
other texts of the graph. So the number of errors and their kinds are certain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from croc.checks.schema import stable_hash
from croc.errors import InputError
from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS, Kind
from croc_syn.world.declarations.places import PLACES
from croc_syn.world.language.meaning import exclusive
from croc_syn.world.language.parser import PromptError, parse
from croc_syn.world.language.realisation import (
    counted_phrase,
    form_of_be,
    noun_phrase,
    relation_words,
    with_article,
)
from croc_syn.world.scenes.oracle import RELATION_TESTS, satisfies
from croc_syn.world.scenes.sampler import sample
from croc_syn.world.scenes.scene import VERSION, Scene
from croc_syn.world.scenes.seeded_random import SeededRandom

ERRORS: tuple[str, ...] = ("colour", "count", "lighting", "object", "relation", "setting", "texture")
"""The kinds of error, in the order in which a node lists them."""
FEWEST, MOST = 2, 5
"""Number of statements of a graph, at least and at most."""
TRIES = 60

Node = tuple[str, ...]
"""The kinds of error of a node, in the order of ``ERRORS``."""


@dataclass(frozen=True)
class ErrorGraph:
    """A prompt and the texts that its images satisfy.

    Attributes:
        texts: what the images of each node satisfy; the node without errors has the prompt itself.
        kinds: the kinds of error.
        entity: id of the kind of thing that the statements are about.
    """

    texts: Mapping[Node, str]
    kinds: Node
    entity: str

    @property
    def prompt(self) -> str:
        """The prompt, which is true of the images without errors only."""
        return self.texts[()]


def nodes_of(kinds: Sequence[str]) -> list[Node]:
    """All sets of these kinds of error, those with few errors first."""
    ordered = [kind for kind in ERRORS if kind in kinds]
    return [node for number in range(len(ordered) + 1) for node in combinations(ordered, number)]


def make_graph(seed: int, number: int, *, statements: int = 4) -> ErrorGraph:
    """Make the texts of one graph.

    Args:
        seed: of the random choices.
        number: of the graph.
        statements: how many statements can be false; their kinds are all different.

    Raises:
        InputError: ``statements`` is out of range, or no graph was found.
    """
    if not FEWEST <= statements <= MOST:
        raise InputError(f"an error graph has {FEWEST} to {MOST} statements, not {statements}")
    rng = SeededRandom("graph", VERSION, seed, number, statements)
    for _ in range(TRIES):
        # Of a thing that is not there no relation is true or false.
        without = rng.choice(("object", "relation"))
        kinds = sorted(rng.shuffled([kind for kind in ERRORS if kind != without])[:statements])
        graph = _graph(kinds, rng)
        if graph is not None:
            return graph
    raise InputError(f"no error graph with {statements} statements was found for seed {seed}")


def _graph(kinds: Sequence[str], rng: SeededRandom) -> ErrorGraph | None:
    thing = rng.choice([kind for kind in KINDS.values() if kind.surface or "texture" not in kinds])
    other, instead = rng.shuffled([kind for kind in KINDS.values() if kind.id != thing.id])[:2]
    values = {kind: _two_values(kind, rng, (thing, other, instead), "lighting" in kinds) for kind in kinds}
    wording = rng.integer(3)
    texts: dict[Node, str] = {}
    try:
        for node in nodes_of(kinds):
            chosen = {kind: pair[kind in node] for kind, pair in values.items()}
            texts[node] = _write(thing, other, chosen, wording)
            parse(texts[node])
    except PromptError:
        return None
    # Neighbours differ in one statement, and it is proved that no image satisfies both. Of objects an image
    # may show both, so that the oracle decides for every image.
    for node, text in texts.items():
        for kind in set(kinds) - {*node, "object"}:
            worse = tuple(name for name in ERRORS if name in node or name == kind)
            if not exclusive(parse(text), parse(texts[worse])):
                return None
    return ErrorGraph(texts, tuple(kinds), thing.id)


def _two_values(kind: str, rng: SeededRandom, things: tuple[Kind, Kind, Kind], lit: bool) -> tuple[str, str]:
    """A right value of a statement and a wrong one; ``lit`` leaves only places that show the time of day."""
    _, other, instead = things
    if kind == "object":
        return other.id, instead.id
    if kind == "relation":
        return rng.choice((("left_of", "right_of"), ("right_of", "left_of")))
    options = {
        "colour": list(lexicon.COLOURS),
        "count": ["1", "2", "3", "4"],
        "lighting": list(lexicon.LIGHTINGS),
        "setting": [
            place.id
            for place in PLACES.values()
            if not place.shows & {one.id for one in things} and (place.lit or not lit)
        ],
        "texture": [name for name in lexicon.TEXTURES if name not in lexicon.UNMARKED],
    }[kind]
    first, second = rng.shuffled(options)[:2]
    return first, second


def _write(thing: Kind, other: Kind, values: Mapping[str, str], wording: int) -> str:
    """The prompt with these values."""
    count = int(values.get("count", "1"))
    adjectives = " ".join(
        table[values[name]].words[0]
        for name, table in (("texture", lexicon.TEXTURES), ("colour", lexicon.COLOURS))
        if name in values
    )
    second = KINDS[values.get("object", other.id)]
    first = counted_phrase(thing, count, adjectives)
    if "count" not in values:
        first = with_article(f"{adjectives} {thing.words[0]}".strip())
    text = f"{first} and {noun_phrase(second)}"
    if "setting" in values:
        text += f" {PLACES[values['setting']].words[0]}"
    if "lighting" in values:
        text += f", {lexicon.LIGHTINGS[values['lighting']].words[0]}"
    if "relation" in values:
        subject = thing.words[0] if count == 1 else thing.plurals[0]
        verb, words = form_of_be(count == 1), relation_words(values["relation"], wording)
        text += f". The {subject} {verb} {words} the {second.words[0]}"
    return text


def sample_node(graph: ErrorGraph, node: Node, seed: int) -> tuple[Scene, int]:
    """Sample a scene of a node: it satisfies the text of this node and of no other one.

    Returns:
        The scene, and the number of scenes that were rejected.

    Raises:
        PromptError: no such scene was found.
    """
    for attempt in range(TRIES):
        scene = sample(graph.texts[node], seed, attempt=attempt)
        if [other for other, text in graph.texts.items() if satisfies(scene, text)] == [node]:
            return scene, attempt
    raise PromptError("no image was found that satisfies the text of its node and of no other node")


def count_errors(scene: Scene, prompt: str) -> int:
    """How many statements of a prompt are false of a scene; for prompts of error graphs.

    The number of a kind and whether it is there at all are one statement. A property is a statement about all
    things of the kind, a relation about all things of both kinds; of kinds that are not there neither is
    counted.
    """
    meaning = parse(prompt)
    members = {
        kind: [i for i, thing in enumerate(scene.things) if thing.kind == kind] for kind in meaning.mentioned
    }
    false = sum(len(members[kind]) != count for kind, count in meaning.totals().items())
    for attribute in meaning.image:
        false += (getattr(scene, attribute.dimension) == attribute.value) != attribute.positive
    for group in meaning.groups:
        things = [scene.things[i] for i in members[group.kind]]
        for attribute in group.attributes:
            false += any(
                (getattr(thing, attribute.dimension) == attribute.value) != attribute.positive
                for thing in things
            )
    for link in meaning.links:
        first, second = members[meaning.groups[link.a].kind], members[meaning.groups[link.b].kind]
        false += bool(first and second) and not RELATION_TESTS[link.relation](scene, first, second)
    return false


def graph_id(graph: ErrorGraph) -> str:
    """Id of a graph: a hash of its texts."""
    return stable_hash("error graph", VERSION, *graph.texts.values())
