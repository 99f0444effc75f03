"""The list of check specs that a taxonomy implies, and which checks are made from them.

The same taxonomy and seed give the same list on every machine. The id of a spec is made from the ids that
define it and from nothing else, so a topic, a property or an entity added later changes no existing id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from hashlib import sha256
from itertools import count, islice
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import polars as pl
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails

from croc.checks.schema import CATEGORIES, SUBSETS, stable_hash
from croc.errors import InputError
from croc.storage.files import atomic
from croc.storage.frames import read_frame
from croc.storage.text_files import require_regular
from croc_syn.taxonomy.taxonomy import ROOT, Entity, Property, Taxonomy, Topic

Allocation = Literal["subsets", "categories"]
"""What gets the same number of checks: the subsets, as in the paper, or the categories."""

_Item = TypeVar("_Item")

MAX_SPECS = 1_000_000
"""A taxonomy that implies more specs is refused; the paper's implies about seven thousand."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One concept: what a check contrasts, and where.

    Attributes:
        concept_id: 16 hex digits made from the subset and the ids that define the spec.
        subset: ``property_variation``, ``entity_variation`` or ``entity_placement``.
        property: id of the contrasted property; None outside property variation.
        property_path: its place in the tree of properties.
        category: the hum category to which the property maps, or None.
        topic: id of the topic, ``root`` if none is prescribed. In entity placement the entity's home, or
            the topic that replaces a home that cannot be drawn.
        entity: id of the entity; None in property variation.
        contrast_topic: in entity placement, the topic of the contrast prompt.
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
        exact_only: plan only what the exact world can draw; topics are then sampled from those it can draw.
        topics_per_entity: topics of an entity in entity variation, besides the root; all if there are fewer.
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
    for name, value in (
        ("topics_per_entity", topics_per_entity),
        ("placements_per_entity", placements_per_entity),
    ):
        if value < 0:
            raise InputError(f"{name} is {value}; expected 0 or more")

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
            # Two topics that the exact world shows by one place would give two prompts with one meaning.
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
    """The first topic in entity placement: the entity's own, or a sampled one if that cannot be drawn."""
    if home in topics:
        return home
    return min(topics, key=lambda topic: _random_key(seed, "home", entity, topic.id))


def _sample(topics: Iterable[Topic], k: int, seed: int, subset: str, entity: str) -> list[str]:
    ids = (topic.id for topic in topics)
    return sorted(ids, key=lambda topic: _random_key(seed, subset, entity, topic))[:k]


def _random_key(*content: Any) -> bytes:
    """A pseudo-random sort key that depends on nothing but ``content``."""
    return sha256(json.dumps(content, separators=(",", ":")).encode()).digest()


def _order(spec: Spec) -> tuple[Any, ...]:
    return (
        SUBSETS.index(spec.subset),
        spec.property or "",
        spec.entity or "",
        spec.topic or "",
        spec.contrast_topic or "",
    )


# ---- Selecting checks ----


def select(
    specs: Sequence[Spec],
    n: int,
    seed: int = 0,
    *,
    accept: Callable[[Spec], bool] | None = None,
    allocation: Allocation = "subsets",
) -> list[tuple[Spec, int]]:
    """The first ``n`` checks to make, spread over subsets or categories, and over properties and entities.

    With ``subsets``, as in the paper, the subsets take turns until one is exhausted; after every spec was
    selected once, the next generation begins. With ``categories`` the hum categories take turns with the
    variations of properties without a category, and with the other subsets; each begins its own next
    generation when it is exhausted, so that all keep the same number of checks. In both, the properties (or
    entities) take turns, and inside a property its topics come in random order.

    Args:
        specs: what :func:`plan` gave, in any order.
        n: how many checks.
        seed: of the random order.
        accept: whether a check can be made from a spec; called once per spec, when its first turn comes. A
            spec that is rejected is passed over, as if it were not among ``specs``.
        allocation: what gets the same number of checks.

    Returns:
        Pairs of spec and generation index (0, 1, …), all different; none if every spec is rejected.
        ``select(specs, n)`` is the beginning of ``select(specs, n + 1)``.

    Raises:
        InputError: n is negative, or ``specs`` is empty.
    """
    if n < 0:
        raise InputError(f"n is {n}; expected 0 or more checks")
    if n and not specs:
        raise InputError("no specs to select from: the taxonomy implies none for these settings")
    accepted = (lambda spec: True) if accept is None else cache(accept)
    if allocation == "subsets":
        return list(islice(_generations(specs, seed, accepted), n))
    by_kind: dict[str, list[Spec]] = {}
    for spec in specs:
        by_kind.setdefault(spec.category or spec.subset, []).append(spec)
    kinds = [kind for kind in (*CATEGORIES, *SUBSETS) if kind in by_kind]
    return list(islice(_round_robin([_generations(by_kind[kind], seed, accepted) for kind in kinds]), n))


def _generations(
    specs: Sequence[Spec], seed: int, accept: Callable[[Spec], bool]
) -> Iterator[tuple[Spec, int]]:
    """The accepted specs with their generation, one generation after the other, without end."""
    for generation in count():
        empty = True
        for spec in _turns(specs, seed, generation, accept):
            empty = False
            yield spec, generation
        if empty:
            return


def _turns(
    specs: Iterable[Spec], seed: int, generation: int, accept: Callable[[Spec], bool]
) -> Iterator[Spec]:
    """The accepted specs in the order of one generation; a spec is tested when its turn comes."""
    by_subset: dict[str, dict[str, list[Spec]]] = {}
    for spec in specs:
        group = spec.property or spec.entity or ""
        by_subset.setdefault(spec.subset, {}).setdefault(group, []).append(spec)

    subsets: list[Iterator[Spec]] = []
    for subset in sorted(by_subset, key=SUBSETS.index):
        groups = by_subset[subset]
        for members in groups.values():
            members.sort(key=lambda spec: _random_key(seed, generation, spec.concept_id))
        order = sorted(groups, key=lambda group: _random_key(seed, generation, subset, group))
        subsets.append(_round_robin([filter(accept, groups[group]) for group in order]))
    return _round_robin(subsets)


def _round_robin(sources: Sequence[Iterator[_Item]]) -> Iterator[_Item]:
    """One item of each source in turn, until all are exhausted."""
    while sources:
        left = []
        for source in sources:
            for item in islice(source, 1):
                yield item
                left.append(source)
        sources = left


# ---- Files ----

_DEFINED_BY: Mapping[str, tuple[str, ...]] = {
    "property_variation": ("property", "property_path", "topic"),
    "entity_variation": ("topic", "entity"),
    "entity_placement": ("topic", "entity", "contrast_topic"),
}


def _one_of(known: Sequence[str]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"expected one of {', '.join(known)}")
        return name

    return AfterValidator(check)


class _SpecRow(BaseModel):
    """A row of a file of specs; the fields are those of :class:`Spec`."""

    model_config = ConfigDict(extra="forbid", strict=True)
    concept_id: str
    subset: Annotated[str, _one_of(SUBSETS)]
    property: str | None
    property_path: str | None
    category: Annotated[str, _one_of(CATEGORIES)] | None
    topic: str | None
    entity: str | None
    contrast_topic: str | None

    @model_validator(mode="after")
    def _is_consistent(self) -> _SpecRow:
        ids = {name: getattr(self, name) for name in ("property", "topic", "entity", "contrast_topic")}
        for name, value in {**ids, "property_path": self.property_path}.items():
            if (value is None) == (name in _DEFINED_BY[self.subset]):
                expected = "null" if value is not None else "a value"
                raise ValueError(f"column {name}: {self.subset} needs {expected}, found {value!r}")
        if self.concept_id != (expected_id := concept_id(self.subset, **ids)):
            raise ValueError(f"column concept_id: the id of this row is {expected_id!r}")
        return self


def write(specs: Sequence[Spec], path: str | Path) -> None:
    """Write specs as a table, atomically: Parquet, or JSON lines where the name ends in ``.jsonl``.

    Raises:
        InputError: the name ends in neither ``.parquet`` nor ``.jsonl``.
    """
    file = Path(path)
    is_parquet = _format(file) == ".parquet"
    schema = dict.fromkeys((field.name for field in fields(Spec)), pl.String)
    table = pl.DataFrame([asdict(spec) for spec in specs], schema=schema)
    with atomic(file) as temporary:
        if is_parquet:
            table.write_parquet(temporary)
        else:
            table.write_ndjson(temporary)


def read(path: str | Path) -> list[Spec]:
    """Read specs back, in the order of the file.

    Raises:
        InputError: the file cannot be read, a column is missing or unknown, a row lacks what its subset
            needs, its id is not the one that its other columns give, or two rows are the same.
    """
    file = Path(path)
    specs: list[Spec] = []
    first: dict[str, int] = {}
    for number, row in enumerate(_rows(file), 1):
        where = f"{file}, row {number}"
        try:
            spec = Spec(**_SpecRow.model_validate(row).model_dump())
        except ValidationError as error:
            raise InputError(f"{where}{_explain(error.errors()[0])}") from None
        if spec.concept_id in first:
            raise InputError(f"{where}: the same spec as row {first[spec.concept_id]}")
        first[spec.concept_id] = number
        specs.append(spec)
    return specs


def _explain(detail: ErrorDetails) -> str:
    """What pydantic found wrong in a row, with the column."""
    column = f", column {detail['loc'][0]}" if detail["loc"] else ""
    value = repr(detail["input"])[:60]
    match detail["type"]:
        case "model_type" | "model_attributes_type":
            return f": expected an object with the columns {', '.join(_SpecRow.model_fields)}; found {value}"
        case "missing":
            return f"{column}: is missing"
        case "extra_forbidden":
            return f"{column}: unknown column"
        case "string_type":
            return f"{column}: expected text or null, found {value}"
    reason = detail["msg"].removeprefix("Value error, ")
    return f"{column}: {reason}, found {value}" if column else f", {reason}"


def _format(file: Path) -> str:
    if file.suffix not in (".parquet", ".jsonl"):
        raise InputError(f"{file}: expected a name that ends in .parquet or .jsonl")
    return file.suffix


def _rows(file: Path) -> Iterator[Any]:
    try:
        if _format(file) == ".parquet":
            yield from read_frame(file)[0].iter_rows(named=True)
            return
        require_regular(file)
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
