"""Properties found in prompts: planted ones, the taxonomy's names, agreement with tags by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from gold_tags import agreement, gold_rows

from croc.checks.schema import CATEGORIES
from croc.trust.properties import category_of, find_properties, property_names
from croc_syn.taxonomy.taxonomy import load


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("three cats", {"count"}),
        ("two cats and three dogs", {"count", "count_binding"}),
        ("two cats and two dogs", {"count"}),
        ("a tall cat, a short one", {"size", "size_binding"}),
        ("many cats", {"approximate_quantity"}),
        ("more cats than dogs", {"approximate_quantity"}),
        ("a dog without a collar", {"negation"}),
        ("the dog isn't there", {"negation"}),
        ("a cat to the left of a dog", {"left_right"}),
        ("a cat below a dog", {"above_below"}),
        ("a cat behind a dog", {"front_behind"}),
        ("a cat in a box", {"inside"}),
        ("a cat next to a dog", {"distance"}),
        ("a cat on a table", {"contact"}),
        ("a cat on the beach", {"setting"}),
        ("a dog taller than a cat", {"size_relation"}),
        ("a large dog", {"size"}),
        ("a large dog and a small cat", {"size", "size_binding"}),
        ("a little girl", set()),
        ("a red cup", {"colour"}),
        ("a red and white cup", {"colour"}),
        ("a red cup and a blue plate", {"colour", "colour_binding"}),
        ("a red cup and a red plate", {"colour"}),
        ("orange juice", set()),
        ("a square plate", {"shape"}),
        ("a striped cup", {"texture"}),
        ("a striped cup and a dotted ball", {"texture", "texture_binding"}),
        ("a wooden chair", {"material"}),
        ("a glass of milk", set()),
        ("a dog with long ears", {"body_parts", "size"}),
        ("a bicycle with one wheel", {"count", "thing_parts"}),
        ("a dog sleeping", {"action"}),
        ("a dog carrying a cat", {"interaction", "agent_and_patient"}),
        ("children playing tennis", {"interaction"}),
        ("a sad clown", {"facial_expression"}),
        ("a sign that says 'two red cats'", {"written_text"}),
        ("a sign that says “no dogs”", {"written_text"}),
        ("a clock that reads 12:43", {"written_text"}),
        ("a man wearing a hat", {"clothing"}),
        ("a cat in the style of Monet", {"style"}),
        ("a photo of a cat", {"medium"}),
        ("a cat at night", {"time_of_day"}),
        ("a rainy day", {"weather_condition"}),
        ("chairs in a row", {"layout"}),
        ("an open book", {"openness"}),
        ("an empty cup", {"fullness"}),
        ("a broken cup", {"condition"}),
        ("the dog's bowl", set()),
        ("", set()),
    ],
)
def test_planted_properties_are_found_and_no_others(prompt: str, expected: set[str]) -> None:
    assert set(find_properties(prompt)) == expected


def test_case_and_line_breaks_make_no_difference() -> None:
    assert find_properties("TWO\nRED   cups") == {"count": ("two",), "colour": ("red",)}


def test_the_words_that_show_a_property_are_those_of_the_prompt() -> None:
    found = find_properties("a red cup left of a blue plate, no fork")
    assert found["colour_binding"] == ("red", "blue")
    assert found["left_right"] == ("left",)
    assert found["negation"] == ("no",)


def test_names_and_categories_are_those_of_the_taxonomy() -> None:
    taxonomy = load()
    for name in property_names():
        assert name in taxonomy.properties
        assert category_of(name) == taxonomy.properties[name].hum_category
    assert {category_of(name) for name in property_names()} == {*CATEGORIES, None}


def test_gold_tags_are_split_by_a_hash_of_the_id() -> None:
    rows = gold_rows()
    assert len({(row["source"], row["prompt_id"]) for row in rows}) == len(rows) == 425
    for row in rows:
        assert set(row["properties"].split()) <= set(property_names())
        digest = hashlib.sha256(f"{row['source']}/{row['prompt_id']}".encode()).hexdigest()
        half = ("tuning", "held_out")[int(digest, 16) % 2]
        assert row["part"] in (half, "unseen")


def test_the_word_lists_agree_with_tags_by_hand(shared_data: Path) -> None:
    """The limits are below the figures in docs/trust.md."""
    parts = agreement(shared_data)
    assert [part.prompts for part in parts.values()] == [163, 162, 100]
    for part, least_precision, least_recall in (("held_out", 0.93, 0.93), ("unseen", 0.82, 0.78)):
        right, wrong, missed = parts[part].totals()
        assert right / (right + wrong) >= least_precision
        assert right / (right + missed) >= least_recall
