"""The list of check specs that a taxonomy implies: what is to be contrasted, before any prompt is written.

The same taxonomy and seed give the same list on every machine. A spec's id is made from the ids that
define it and from nothing else, so that a topic, a property or an entity added later changes no id that was
there before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from itertools import count, islice
from pathlib import Path
from typing import Any

import polars as pl

from croc.checks.schema import CATEGORIES, SUBSETS, stable_hash
from croc.errors import InputError
from croc_syn.taxonomy.taxonomy import ROOT, Entity, Property, Taxonomy, Topic

MAX_SPECS = 1_000_000
"""A taxonomy that implies more is refused: the paper's implies about seven thousand."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One concept: what a check contrasts, and where.

    Attributes:
        concept_id: 16 hex digits made from the subset and the ids that define the spec.
        subset: ``property_variation``, ``entity_variation`` or ``entity_placement``.
        property: id of the contrasted property; None outside property variation.
        property_path: its place in the tree of properties.
        category: the hum category to which the property maps, or None.
        topic: id of the topic, ``root`` where none is prescribed. In entity placement the entity's
            home, or the topic that stands for a home that cannot be drawn.
        entity: id of the entity; None in property variation.
        contrast_topic: in entity placement, the topic into which the contrast prompt puts the entity.
    """

    concept_id: str
    subset: str
    property: str | None = None
    property_path: str | None = None
    category: str | None = None
    topic: str | None = None
    entity: str | None = None
    contrast_topic: str | None = None


def concept_id(
    subset: str,
    *,
    property: str | None = None,
    topic: str | None = None,
    entity: str | None = None,
    contrast_topic: str | None = None,
) -> str:
    """The id of a spec: a hash of what defines it, never of an index or of the order in a file."""
    return stable_hash("concept", subset, property, topic, entity, contrast_topic)


def plan(
    taxonomy: Taxonomy,
    *,
    subsets: Collection[str] = SUBSETS,
    exact_only: bool = False,
    topics_per_entity: int = 9,
    placements_per_entity: int = 10,
    seed: int = 0,
) -> list[Spec]:
    """All specs that a taxonomy implies, as in the paper.

    Property variation takes every topic × property, entity variation every entity × sampled topics and the
    root, entity placement every entity at home × other sampled topics. An entity's topics are those with the
    smallest hash of (seed, entity, topic) (rendezvous hashing, Thaler and Ravishankar 1998): one more topic
    changes at most one sample of an entity in each subset, and one more entity or property none.

    Args:
        taxonomy: what can be contrasted.
        subsets: which of the three to plan.
        exact_only: plan only what the exact world can draw; topics are then sampled among those it shows.
        topics_per_entity: topics of an entity in entity variation, beside the root; all if there are fewer.
        placements_per_entity: other topics of an entity in entity placement; all if there are fewer.
        seed: of the sampling of topics.

    Returns:
        Specs sorted by subset, property, entity, topic and contrast topic.

    Raises:
        InputError: an unknown subset, a negative number, or more than ``MAX_SPECS`` specs.
    """
    for name in subsets:
        if name not in SUBSETS:
            raise InputError(f"subset {name!r} is not known; known are {', '.join(SUBSETS)}")
    for what, value in (
        ("topics_per_entity", topics_per_entity),
        ("placements_per_entity", placements_per_entity),
    ):
        if value < 0:
            raise InputError(f"{what} is {value}; expected 0 or more")

    topics = [topic for topic in taxonomy.topics.values() if topic.exact or not exact_only]
    entities = [entity for entity in taxonomy.entities.values() if entity.exact or not exact_only]
    properties = [prop for prop in taxonomy.properties.values() if prop.exact or not exact_only]
    topic_pairs = min(topics_per_entity, len(topics)) + 1 + min(placements_per_entity, len(topics))
    if (implied := len(topics) * len(properties) + len(entities) * topic_pairs) > MAX_SPECS:
        raise InputError(f"the taxonomy implies up to {implied:,} specs; expected at most {MAX_SPECS:,}")

    specs: list[Spec] = []
    if "property_variation" in subsets:
        specs += (_property_variation(topic, prop) for topic in topics for prop in properties)
    for entity in entities:
        if "entity_variation" in subsets:
            sampled = _sample(topics, topics_per_entity, seed, "entity_variation", entity.id)
            specs += (_entity_variation(entity, topic) for topic in (ROOT, *sampled))
        if "entity_placement" in subsets and topics:
            home = _home(taxonomy.topics[entity.topic], topics, seed, entity.id)
            # Two topics that the exact world shows by one place would give two prompts of one meaning.
            others = [
                topic
                for topic in topics
                if topic.id != home.id and not (exact_only and topic.exact == home.exact)
            ]
            sampled = _sample(others, placements_per_entity, seed, "entity_placement", entity.id)
            specs += (_entity_placement(entity, home.id, other) for other in sampled)
    return sorted(specs, key=_order)


def _property_variation(topic: Topic, prop: Property) -> Spec:
    return Spec(
        concept_id("property_variation", property=prop.id, topic=topic.id),
        "property_variation",
        property=prop.id,
        property_path=prop.property_path,
        category=prop.hum_category,
        topic=topic.id,
    )


def _entity_variation(entity: Entity, topic: str) -> Spec:
    name = "entity_variation"
    return Spec(concept_id(name, topic=topic, entity=entity.id), name, topic=topic, entity=entity.id)


def _entity_placement(entity: Entity, home: str, other: str) -> Spec:
    name = "entity_placement"
    ids = {"topic": home, "entity": entity.id, "contrast_topic": other}
    return Spec(concept_id(name, **ids), name, **ids)


def _home(home: Topic, topics: Sequence[Topic], seed: int, entity: str) -> Topic:
    """Where an entity is before it is moved: its own topic, or a sampled one where that cannot be drawn."""
    if home in topics:
        return home
    return min(topics, key=lambda topic: _draw(seed, "home", entity, topic.id))


def _sample(topics: Iterable[Topic], k: int, seed: int, subset: str, entity: str) -> list[str]:
    ids = (topic.id for topic in topics)
    return sorted(ids, key=lambda topic: _draw(seed, subset, entity, topic))[:k]


def _draw(*what: Any) -> bytes:
    """Bytes that look random and depend on nothing but ``what``; they sort as numbers do."""
    return sha256(json.dumps(what, separators=(",", ":")).encode()).digest()


def _order(spec: Spec) -> tuple[Any, ...]:
    return (
        SUBSETS.index(spec.subset),
        spec.property or "",
        spec.entity or "",
        spec.topic or "",
        spec.contrast_topic or "",
    )


# ---- Choosing some of them ----


def select(specs: Sequence[Spec], n: int, seed: int = 0) -> list[tuple[Spec, int]]:
    """The first ``n`` checks to make, spread evenly over subsets, properties and entities.

    The subsets take turns until one has no more to give. Inside a subset its properties (or entities) take
    turns, and inside a property its topics come in random order. When every spec had its turn the next
    generation begins.

    Args:
        specs: what :func:`plan` gave, in any order.
        n: how many checks.
        seed: of the random order.

    Returns:
        Pairs of spec and generation index (0, 1, …), all different. ``select(specs, n)`` is the beginning of
        ``select(specs, n + 1)``.

    Raises:
        InputError: n is negative, or there is nothing to select from.
    """
    if n < 0:
        raise InputError(f"n is {n}; expected 0 or more checks")
    if n and not specs:
        raise InputError("there is no spec to select from; the taxonomy implies none for what was asked")
    endless = ((spec, turn) for turn in count() for spec in _turns(specs, seed, turn))
    return list(islice(endless, n))


def _turns(specs: Iterable[Spec], seed: int, generation: int) -> Iterator[Spec]:
    by_subset: dict[str, dict[str, list[Spec]]] = {}
    for spec in specs:
        group = spec.property or spec.entity or ""
        by_subset.setdefault(spec.subset, {}).setdefault(group, []).append(spec)

    placed: list[tuple[int, str, Spec]] = []
    for subset, groups in by_subset.items():
        turns: list[tuple[int, bytes, Spec]] = []
        for group, members in groups.items():
            members.sort(key=lambda spec: _draw(seed, generation, spec.concept_id))
            turn = _draw(seed, generation, subset, group)
            turns += ((round_, turn, spec) for round_, spec in enumerate(members))
        turns.sort(key=lambda item: item[:2])
        placed += ((position, subset, spec) for position, (_, _, spec) in enumerate(turns))
    placed.sort(key=lambda item: (item[0], SUBSETS.index(item[1])))
    return (spec for _, _, spec in placed)


# ---- Files ----

_COLUMNS = tuple(field.name for field in fields(Spec))
_DEFINED_BY: Mapping[str, tuple[str, ...]] = {
    "property_variation": ("property", "property_path", "topic"),
    "entity_variation": ("topic", "entity"),
    "entity_placement": ("topic", "entity", "contrast_topic"),
}


def write(specs: Sequence[Spec], path: str | Path) -> None:
    """Write specs as a table, atomically: Parquet, or JSON lines where the name ends in ``.jsonl``.

    Raises:
        InputError: the name ends in neither ``.parquet`` nor ``.jsonl``.
    """
    file = Path(path)
    _format(file)
    table = pl.DataFrame([asdict(spec) for spec in specs], schema=dict.fromkeys(_COLUMNS, pl.String))
    temporary = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as out:
            if _format(file) == ".parquet":
                table.write_parquet(out)
            else:
                table.write_ndjson(out)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def read(path: str | Path) -> list[Spec]:
    """Read specs back, in the order of the file.

    Raises:
        InputError: the file cannot be read, a column is missing or unknown, a row lacks what its subset
            needs, its id is not the one that its other columns give, or two rows are the same.
    """
    file = Path(path)
    specs: list[Spec] = []
    seen: dict[str, int] = {}
    for number, row in enumerate(_rows(file), 1):
        spec = _checked(row, f"{file}, row {number}")
        if spec.concept_id in seen:
            raise InputError(f"{file}, row {number}: the same spec as row {seen[spec.concept_id]}")
        seen[spec.concept_id] = number
        specs.append(spec)
    return specs


def _format(file: Path) -> str:
    if file.suffix not in (".parquet", ".jsonl"):
        raise InputError(f"{file}: expected a name that ends in .parquet or .jsonl")
    return file.suffix


def _rows(file: Path) -> Iterator[Any]:
    try:
        if _format(file) == ".parquet":
            yield from pl.read_parquet(file, glob=False).iter_rows(named=True)
            return
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError):
                    raise InputError(f"{file}, row {number}: not a JSON object: {line[:60]!r}") from None
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise InputError(f"{file}: not UTF-8; expected JSON lines") from None
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{file}: cannot be read as Parquet ({str(error).splitlines()[0]})") from None


def _checked(row: Any, where: str) -> Spec:
    if not isinstance(row, dict) or set(row) != set(_COLUMNS):
        found = ", ".join(map(str, row)) if isinstance(row, dict) else repr(row)[:60]
        raise InputError(f"{where}: expected the columns {', '.join(_COLUMNS)}; found {found}")
    for column, value in row.items():
        if not isinstance(value, str | None):
            raise InputError(f"{where}, column {column}: expected text or null, found {value!r}")
    spec = Spec(**row)
    if spec.subset not in SUBSETS:
        raise InputError(f"{where}, column subset: {spec.subset!r} is not one of {', '.join(SUBSETS)}")
    if spec.category is not None and spec.category not in CATEGORIES:
        raise InputError(f"{where}, column category: {spec.category!r} is not one of {', '.join(CATEGORIES)}")
    needed = _DEFINED_BY[spec.subset]
    for column in ("property", "property_path", "topic", "entity", "contrast_topic"):
        if (row[column] is None) == (column in needed):
            expected = "a value" if column in needed else "null"
            raise InputError(
                f"{where}, column {column}: {spec.subset} needs {expected}, found {row[column]!r}"
            )
    expected_id = concept_id(
        spec.subset,
        property=spec.property,
        topic=spec.topic,
        entity=spec.entity,
        contrast_topic=spec.contrast_topic,
    )
    if spec.concept_id != expected_id:
        raise InputError(
            f"{where}, column concept_id: {spec.concept_id!r} is not the id of this row, {expected_id!r}"
        )
    return spec
