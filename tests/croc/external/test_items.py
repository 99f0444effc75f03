"""The schema of others' benchmarks."""

from __future__ import annotations

import polars as pl
import pytest

from croc.errors import InputError
from croc.external.items import Contrastive, Rated, table_of


def rated(**columns: list[object]) -> pl.DataFrame:
    return pl.DataFrame({"item_id": ["a", "b"], "system": ["s", "s"], "prompt": ["p", "p"], **columns})


def test_ratings_and_scores_become_numbers() -> None:
    items = Rated.of(rated(human=["1", "2"], m=["0.5", ""]), "f.csv", humans=("human",), metrics=("m",))
    assert items.table["human"].to_list() == [1.0, 2.0]
    assert items.table["m"].to_list() == [0.5, None]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (rated(human=["1", "x"]), r"f\.csv, column 'human', row 2: 'x' is not a number"),
        (
            rated(human=["1", "2"]).with_columns(item_id=pl.lit("a")),
            r"f\.csv, row 1: item_id 'a' occurs twice",
        ),
        (rated(human=["1", "2"]).with_columns(item_id=pl.lit("")), r"f\.csv, column 'item_id', row 1"),
        (rated(human=["1", "2"]).drop("item_id"), r"f\.csv: missing column 'item_id'"),
    ],
)
def test_a_table_that_is_not_of_the_schema_is_refused(table: pl.DataFrame, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Rated.of(table, "f.csv", humans=("human",))


def answers(*rows: tuple[str, object, object]) -> Contrastive:
    return Contrastive.of(
        pl.DataFrame(
            [
                {
                    "item_id": name,
                    "metric": "m",
                    "category": "colour",
                    "prompt": "p",
                    "contrast_prompt": "q",
                    "order": None,
                    "forward_text": first,
                    "inverse_text": second,
                }
                for name, first, second in rows
            ],
            infer_schema_length=None,
        ),
        "f.json",
    )


def test_an_item_passes_if_it_is_right_in_all_directions_named() -> None:
    items = answers(("a", 1, 1), ("b", 1, 0), ("c", 0, None))
    assert items.passed("m", "forward_text", "inverse_text").to_list() == [1.0, 0.0, None]
    assert items.passed("m", "forward_text").to_list() == [1.0, 1.0, 0.0]
    assert items.passed("m", "forward_image").to_list() == [None, None, None]
    assert items.passed("m", "forward_text", category="shape").to_list() == []


def test_an_item_answered_twice_is_refused() -> None:
    with pytest.raises(InputError, match=r"f\.json, row 1: item_id 'a', metric 'm', order None occurs twice"):
        answers(("a", 1, 1), ("a", 1, 0))


def test_half_of_a_surrogate_pair_is_named_with_its_item() -> None:
    rows = [{"item_id": "a", "prompt": "fine"}, {"item_id": "b", "prompt": "cut \ud83d"}]
    with pytest.raises(InputError, match=r"f\.json, item 'b': 'prompt' contains half of a surrogate pair"):
        table_of(rows, "f.json")
