"""The specs that a taxonomy implies: how many, how stable, and how some of them are chosen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from croc.checks.schema import CATEGORIES, SUBSETS
from croc.errors import InputError
from croc_syn.taxonomy import plan, taxonomy
from croc_syn.taxonomy.plan import Spec
from croc_syn.taxonomy.taxonomy import ROOT, Entity, Property, Taxonomy, Topic


def made(topics: int = 14, properties: int = 3, entities: int = 4) -> Taxonomy:
    """A taxonomy of numbered rows; every entity is at home in the first topic."""
    rows: dict[str, Any] = {
        "version": 1,
        "name": "made",
        "groups": {"g": "All."},
        "branches": {"b": "All."},
        "topics": {f"t{i}": Topic(id=f"t{i}", name="t", group="g", definition="d") for i in range(topics)},
        "properties": {
            f"p{i}": Property(id=f"p{i}", name="p", path="b", definition="d", contrast="negate")
            for i in range(properties)
        },
        "entities": {
            f"e{i}": Entity(id=f"e{i}", name="e", topic="t0", definition="d") for i in range(entities)
        },
    }
    return Taxonomy(**rows)


@pytest.fixture(scope="module")
def ours() -> Taxonomy:
    return taxonomy.load()


@pytest.fixture(scope="module")
def specs(ours: Taxonomy) -> list[Spec]:
    return plan.plan(ours)


def ids(specs: list[Spec]) -> set[str]:
    return {spec.concept_id for spec in specs}


# ---- What is planned ----


def test_the_numbers_of_the_paper(specs: list[Spec]) -> None:
    # 51 topics × 78 properties; 158 entities × (9 topics + root); 158 entities × 10 other topics.
    assert Counter(spec.subset for spec in specs) == {
        "property_variation": 3978,
        "entity_variation": 1580,
        "entity_placement": 1580,
    }
    assert len(ids(specs)) == 7138


def test_each_subset_has_its_columns(ours: Taxonomy, specs: list[Spec]) -> None:
    for spec in specs:
        if spec.subset == "property_variation":
            prop = ours.properties[spec.property or ""]
            assert (spec.property_path, spec.category) == (prop.property_path, prop.hum_category)
            assert spec.topic in ours.topics
            assert spec.entity is spec.contrast_topic is None
        else:
            assert spec.property is spec.property_path is spec.category is None
            assert spec.entity in ours.entities


def test_an_entity_varies_in_nine_topics_and_the_root(ours: Taxonomy, specs: list[Spec]) -> None:
    for entity in ours.entities:
        topics = [s.topic for s in specs if s.subset == "entity_variation" and s.entity == entity]
        assert len(set(topics)) == 10
        assert ROOT in topics


def test_an_entity_is_placed_in_ten_topics_other_than_its_home(ours: Taxonomy, specs: list[Spec]) -> None:
    for entity in ours.entities.values():
        placed = [s for s in specs if s.subset == "entity_placement" and s.entity == entity.id]
        others = {spec.contrast_topic for spec in placed}
        assert len(others) == len(placed) == 10
        assert {spec.topic for spec in placed} == {entity.topic}
        assert entity.topic not in others


def test_where_there_are_fewer_topics_all_are_taken() -> None:
    counts = Counter(spec.subset for spec in plan.plan(made(topics=4, properties=2, entities=3)))
    # 4 × 2; 3 × (4 + root); 3 × (4 - home)
    assert counts == {"property_variation": 8, "entity_variation": 15, "entity_placement": 9}


def test_the_sampled_topics_are_those_with_the_smallest_hash() -> None:
    # The definition of rendezvous hashing, with the hash written out.
    def weight(topic: str) -> str:
        text = json.dumps([7, "entity_placement", "e1", topic], separators=(",", ":"))
        return sha256(text.encode()).hexdigest()

    expected = sorted((f"t{i}" for i in range(1, 14)), key=weight)[:5]
    planned = plan.plan(made(), subsets=["entity_placement"], placements_per_entity=5, seed=7)
    assert {spec.contrast_topic for spec in planned if spec.entity == "e1"} == set(expected)


def test_the_subsets_asked_for_are_the_ones_planned() -> None:
    whole = plan.plan(made())
    for subset in SUBSETS:
        assert plan.plan(made(), subsets=[subset]) == [spec for spec in whole if spec.subset == subset]


def test_sampling_spreads_over_the_topics(ours: Taxonomy, specs: list[Spec]) -> None:
    # 158 × 9 draws over 51 topics: 27.9 each, standard deviation 4.8 if independent; six of them are allowed.
    drawn = Counter(s.topic for s in specs if s.subset == "entity_variation" and s.topic != ROOT)
    assert set(drawn) == set(ours.topics)
    assert max(drawn.values()) < 57
    assert min(drawn.values()) > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subsets": ["property"]}, "subset 'property' is not known; known are property_variation"),
        ({"topics_per_entity": -1}, "topics_per_entity is -1; expected 0 or more"),
        ({"placements_per_entity": -3}, "placements_per_entity is -3"),
    ],
)
def test_wrong_options_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan.plan(made(), **options)


def test_a_taxonomy_that_implies_millions_is_refused() -> None:
    with pytest.raises(InputError, match=r"up to 2,250,000 specs; expected at most 1,000,000"):
        plan.plan(made(topics=1500, properties=1500, entities=0))


# ---- Only what can be drawn ----


def test_exact_only_plans_nothing_that_the_exact_world_cannot_draw(ours: Taxonomy) -> None:
    def drawn(topic: str | None) -> bool:
        return topic in (ROOT, None) or ours.topics[topic].exact is not None

    planned = plan.plan(ours, exact_only=True)
    assert {spec.subset for spec in planned} == set(SUBSETS)
    for spec in planned:
        assert drawn(spec.topic)
        assert drawn(spec.contrast_topic)
        assert spec.property is None or ours.properties[spec.property].exact
        assert spec.entity is None or ours.entities[spec.entity].exact


def test_exact_only_gives_a_concept_the_id_that_it_has_in_the_whole_plan(ours: Taxonomy) -> None:
    everywhere = plan.plan(ours, topics_per_entity=len(ours.topics), placements_per_entity=len(ours.topics))
    known = {replace(spec, concept_id=""): spec.concept_id for spec in everywhere}
    drawn = plan.plan(ours, exact_only=True)
    shared = [spec for spec in drawn if replace(spec, concept_id="") in known]
    assert all(known[replace(spec, concept_id="")] == spec.concept_id for spec in shared)
    # Only an entity whose home cannot be drawn starts from a topic that is not its own.
    moved = [spec for spec in drawn if replace(spec, concept_id="") not in known]
    assert {spec.subset for spec in moved} <= {"entity_placement"}
    assert all(ours.topics[ours.entities[s.entity or ""].topic].exact is None for s in moved)


def test_an_entity_whose_home_cannot_be_drawn_starts_from_one_other_topic() -> None:
    first, second, *_ = taxonomy.drawable()["topics"]
    own = made(topics=5, entities=0)
    topics = dict(own.topics)
    for name, look in (("t1", first), ("t2", second)):
        topics[name] = topics[name].model_copy(update={"exact": look})
    kind = taxonomy.drawable()["entities"][0]
    entities = {
        f"e{i}": Entity(id=f"e{i}", name="e", topic="t0", definition="d", exact=kind) for i in range(20)
    }
    own = own.model_copy(update={"topics": topics, "entities": entities})
    placed = plan.plan(own, subsets=["entity_placement"], exact_only=True)
    assert len(placed) == 20
    assert {(spec.topic, spec.contrast_topic) for spec in placed} == {("t1", "t2"), ("t2", "t1")}


def test_an_entity_is_not_moved_between_topics_that_look_the_same_in_the_exact_world() -> None:
    shown = taxonomy.drawable()["topics"][:2]
    looks = [shown[0], shown[0], shown[1], None]
    topics = {
        f"t{i}": Topic(id=f"t{i}", name="t", group="g", definition="d", exact=look)
        for i, look in enumerate(looks)
    }
    kind = taxonomy.drawable()["entities"][0]
    entities = {"e0": Entity(id="e0", name="e", topic="t0", definition="d", exact=kind)}
    own = made().model_copy(update={"topics": topics, "entities": entities})
    placed = plan.plan(own, subsets=["entity_placement"], exact_only=True)
    assert [spec.contrast_topic for spec in placed] == ["t2"]


# ---- Stability ----


def more(given: Taxonomy, table: str, row: Property | Topic | Entity, *, first: bool) -> Taxonomy:
    rows = getattr(given, table)
    return given.model_copy(update={table: {row.id: row, **rows} if first else {**rows, row.id: row}})


@pytest.mark.parametrize("first", [True, False])
def test_one_more_property_changes_no_other_spec(ours: Taxonomy, specs: list[Spec], first: bool) -> None:
    row = Property(id="aroma", name="a", path="object", definition="d", contrast="negate")
    planned = plan.plan(more(ours, "properties", row, first=first))
    assert [spec for spec in planned if spec.property != "aroma"] == specs
    assert len(planned) - len(specs) == 51


@pytest.mark.parametrize("first", [True, False])
def test_one_more_entity_changes_no_other_spec(ours: Taxonomy, specs: list[Spec], first: bool) -> None:
    row = Entity(id="abacus", name="a", topic="classroom", definition="d")
    planned = plan.plan(more(ours, "entities", row, first=first))
    assert [spec for spec in planned if spec.entity != "abacus"] == specs
    assert len(planned) - len(specs) == 20


@pytest.mark.parametrize("first", [True, False])
def test_one_more_topic_changes_at_most_one_sample_of_an_entity(
    ours: Taxonomy, specs: list[Spec], first: bool
) -> None:
    row = Topic(id="circus", name="c", group="arts", definition="d")
    planned = plan.plan(more(ours, "topics", row, first=first))
    before, after = ids(specs), ids(planned)
    gone = [spec for spec in specs if spec.concept_id not in after]
    new = [spec for spec in planned if spec.concept_id not in before]
    # The new topic is all that is new, and what it displaces is all that is gone.
    assert all("circus" in (spec.topic, spec.contrast_topic) for spec in new)
    assert all(spec.subset != "property_variation" for spec in gone)
    per_entity = Counter((spec.subset, spec.entity) for spec in gone)
    assert max(per_entity.values()) == 1
    # 158 × 9/52 and 158 × 10/51 are expected to be displaced, 58 in all.
    assert 30 < len(gone) < 90


def test_the_order_of_the_file_means_nothing(ours: Taxonomy, specs: list[Spec]) -> None:
    turned = {name: dict(reversed(getattr(ours, name).items())) for name in taxonomy.TABLES}
    assert plan.plan(ours.model_copy(update=turned)) == specs


def test_an_id_does_not_depend_on_wording_or_on_the_place_in_the_tree() -> None:
    first, *_ = plan.plan(made(), subsets=["property_variation"])
    moved = Property(id="p0", name="other", path="c", definition="other", contrast="recount")
    changed = made(properties=1).model_copy(update={"properties": {"p0": moved}})
    again, *_ = plan.plan(changed, subsets=["property_variation"])
    assert again == replace(first, property_path="c/p0")


def test_an_id_is_what_it_was() -> None:
    # sha256 of the JSON of what defines the spec, 16 digits of it; another one breaks published concept ids.
    known = ["concept", "property_variation", "colour", "beach", None, None]
    digest = sha256(json.dumps(known, separators=(",", ":")).encode()).hexdigest()
    assert plan.concept_id("property_variation", property="colour", topic="beach") == digest[:16]
    assert digest[:16] == "3028fc5d4bb8aac3"


def test_ids_tell_apart_which_column_a_word_stands_in() -> None:
    a = plan.concept_id("entity_placement", topic="park", entity="swing", contrast_topic="street")
    b = plan.concept_id("entity_placement", topic="street", entity="swing", contrast_topic="park")
    c = plan.concept_id("entity_variation", topic="park", entity="swing")
    assert len({a, b, c}) == 3


def test_another_seed_samples_other_topics_and_keeps_property_variation(
    ours: Taxonomy, specs: list[Spec]
) -> None:
    other = plan.plan(ours, seed=1)
    assert len(other) == len(specs)
    kept = ids(specs) & ids(other)
    assert {s.concept_id for s in specs if s.subset == "property_variation"} <= kept
    assert len(kept) < 5500


_IN_A_PROCESS = """
import hashlib, json, sys
from dataclasses import asdict
from croc_syn.taxonomy import plan, taxonomy
specs = plan.plan(taxonomy.load())
chosen = [(s.concept_id, g) for s, g in plan.select(specs, 9000, seed=3)]
text = json.dumps([[asdict(s) for s in specs], chosen])
sys.stdout.write(hashlib.sha256(text.encode()).hexdigest())
"""


def test_every_process_and_hash_seed_gives_the_same(specs: list[Spec]) -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", _IN_A_PROCESS],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "4711")
    }
    chosen = [(s.concept_id, g) for s, g in plan.select(specs, 9000, seed=3)]
    text = json.dumps([[asdict(spec) for spec in specs], chosen])
    assert found == {sha256(text.encode()).hexdigest()}


# ---- Choosing ----


def test_a_selection_is_spread_over_subsets_and_properties(specs: list[Spec]) -> None:
    chosen = plan.select(specs, 3 * 156, seed=5)
    assert set(Counter(spec.subset for spec, _ in chosen).values()) == {156}
    # 156 is twice 78 properties.
    assert set(Counter(s.property for s, _ in chosen if s.property).values()) == {2}
    entities = Counter(s.entity for s, _ in chosen if s.subset == "entity_variation")
    assert set(entities.values()) == {1}
    assert {generation for _, generation in chosen} == {0}


def test_categories_get_the_same_number_of_checks(specs: list[Spec]) -> None:
    chosen = plan.select(specs, 11 * 60, seed=5, allocation="categories")
    kinds = Counter(spec.category or spec.subset for spec, _ in chosen)
    assert kinds == dict.fromkeys([*CATEGORIES, *SUBSETS], 60)
    for kind in kinds:
        properties = Counter(s.property for s, _ in chosen if (s.category or s.subset) == kind)
        assert max(properties.values()) - min(properties.values()) <= 1
        own = [spec for spec in specs if (spec.category or spec.subset) == kind]
        # Every concept once before one is repeated.
        assert len({spec for spec, _ in chosen if spec in own}) == min(60, len(own))
    assert len(set(chosen)) == len(chosen)
    generations = {kind: {g for s, g in chosen if (s.category or s.subset) == kind} for kind in kinds}
    assert (generations["negation"], generations["entity_variation"]) == ({0, 1}, {0})


def test_a_category_of_which_nothing_can_be_made_leaves_its_turns_to_the_others(specs: list[Spec]) -> None:
    chosen = plan.select(specs, 100, allocation="categories", accept=lambda s: s.category != "shapes")
    kinds = Counter(spec.category or spec.subset for spec, _ in chosen)
    assert (len(chosen), len(kinds), set(kinds.values())) == (100, 10, {10})
    assert plan.select(specs, 100, allocation="categories", accept=lambda s: False) == []


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(0, 4), st.integers(0, 4)),
    n=st.integers(0, 120),
    seed=st.integers(0, 2**40),
)
def test_a_smaller_selection_is_the_beginning_of_a_larger_one(
    shape: tuple[int, int, int], n: int, seed: int
) -> None:
    planned = plan.plan(made(*shape))
    if not planned:
        return
    by_category = plan.select(planned, n + 1, seed, allocation="categories")
    assert plan.select(planned, n, seed, allocation="categories") == by_category[:n]
    assert len(set(by_category)) == n + 1
    larger = plan.select(planned, n + 1, seed)
    assert plan.select(planned, n, seed) == larger[:n]
    assert len(set(larger)) == n + 1
    assert [generation for _, generation in larger] == [i // len(planned) for i in range(n + 1)]


def test_a_selection_does_not_depend_on_the_order_of_the_specs(specs: list[Spec]) -> None:
    assert plan.select(specs[::-1], 500, seed=2) == plan.select(specs, 500, seed=2)


def test_seed_and_generation_change_the_order() -> None:
    planned = plan.plan(made())
    first = plan.select(planned, 2 * len(planned), seed=1)
    generations = [[spec for spec, generation in first if generation == g] for g in (0, 1)]
    assert ids(generations[0]) == ids(generations[1])
    assert generations[0] != generations[1]
    assert [spec for spec, _ in plan.select(planned, len(planned), seed=2)] != generations[0]


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(0, 4), st.integers(0, 4)),
    n=st.integers(0, 120),
    seed=st.integers(0, 2**40),
    kept=st.integers(0, 4),
)
def test_a_rejected_spec_is_passed_over_as_if_it_were_not_there(
    shape: tuple[int, int, int], n: int, seed: int, kept: int
) -> None:
    planned = plan.plan(made(*shape))
    accepted = [spec for spec in planned if int(spec.concept_id, 16) % 5 < kept]
    tested: list[Spec] = []

    def accept(spec: Spec) -> bool:
        tested.append(spec)
        return spec in accepted

    if not planned:
        return
    selected = plan.select(planned, n, seed, accept=accept)
    assert selected == (plan.select(accepted, n, seed) if accepted else [])
    assert len(tested) == len(set(tested))
    assert {spec for spec, _ in selected} == set(tested) & set(accepted)


def test_a_selection_that_cannot_be_made_is_told() -> None:
    assert plan.select([], 0) == []
    with pytest.raises(InputError, match="no specs to select from"):
        plan.select([], 1)
    with pytest.raises(InputError, match="n is -1; expected 0 or more"):
        plan.select(plan.plan(made()), -1)


# ---- Files ----


@pytest.mark.parametrize("name", ["specs.parquet", "specs.jsonl"])
def test_specs_come_back_from_a_file_as_they_were(tmp_path: Path, specs: list[Spec], name: str) -> None:
    plan.write(specs, tmp_path / name)
    assert plan.read(tmp_path / name) == specs
    assert [file.name for file in tmp_path.iterdir()] == [name]
    plan.write([], tmp_path / name)
    assert plan.read(tmp_path / name) == []


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "specs.jsonl"
    plan.write(plan.plan(made()), file)
    before = file.read_bytes()

    def fail(table: pl.DataFrame, out: Path) -> None:
        out.write_bytes(b"half a row")
        raise OSError("no space left")

    monkeypatch.setattr(pl.DataFrame, "write_ndjson", fail)
    with pytest.raises(OSError, match="no space left"):
        plan.write([], file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_column_that_is_empty_throughout_is_still_text(tmp_path: Path) -> None:
    plan.write(plan.plan(made(entities=0)), tmp_path / "specs.parquet")
    assert set(pl.read_parquet_schema(tmp_path / "specs.parquet").values()) == {pl.String}


def rows_of(changes: dict[str, Any]) -> str:
    row = asdict(plan.plan(made(topics=1, properties=1, entities=0))[0])
    return json.dumps({**row, **changes}) + "\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]\n", r"row 1: expected an object with the columns concept_id, subset, .*; found \[1\]"),
        ("{\n", r"row 1: not a JSON object: '\{"),
        ("[" * 100_000, "row 1: not a JSON object"),
        (rows_of({}) * 2, "row 2: the same spec as row 1"),
        (rows_of({"more": 1}), "row 1, column more: unknown column"),
        ('{"concept_id": "a"}\n', "row 1, column subset: is missing"),
        (rows_of({"topic": 7}), "row 1, column topic: expected text or null, found 7"),
        (rows_of({"topic": None}), "row 1, column topic: property_variation needs a value, found None"),
        (rows_of({"entity": "e"}), "row 1, column entity: property_variation needs null, found 'e'"),
        (rows_of({"subset": "x"}), "row 1, column subset: expected one of property_variation.*, found 'x'"),
        (rows_of({"category": "shape"}), "row 1, column category: expected one of action.*, found 'shape'"),
        (rows_of({"topic": "t1"}), "row 1, column concept_id: the id of this row is '[0-9a-f]{16}'"),
    ],
)
def test_a_wrong_file_of_specs_is_told_its_row(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "specs.jsonl"
    file.write_text(content)
    with pytest.raises(InputError, match=message):
        plan.read(file)


def test_files_that_are_none_are_told(tmp_path: Path) -> None:
    broken = tmp_path / "specs.parquet"
    broken.write_bytes(b"PAR1 not really")
    with pytest.raises(InputError, match=r"specs\.parquet: cannot be read as a Parquet file"):
        plan.read(broken)
    with pytest.raises(InputError, match=r"none\.parquet: cannot be read"):
        plan.read(tmp_path / "none.parquet")
    (tmp_path / "specs.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        plan.read(tmp_path / "specs.jsonl")
    for asked in (lambda: plan.read(tmp_path / "specs.csv"), lambda: plan.write([], tmp_path / "specs.csv")):
        with pytest.raises(InputError, match=r"ends in \.parquet or \.jsonl"):
            asked()
