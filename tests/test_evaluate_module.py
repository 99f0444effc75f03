"""``evaluate.load("croc")`` in a checkout: judge score rows, or run a metric on a dataset."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import pytest
from PIL import Image

from croc.schema import DIRECTIONS, ContrastCheck, check_features

ROWS: dict[str, Any] = {
    "check_id": ["a", "a", "b", "b"],
    "image_side": ["original", "contrast"] * 2,
    "image_index": [0, 0, 0, 0],
    "prompt_score": [0.9, 0.2, 0.5, 0.6],
    "contrast_score": [0.3, 0.8, 0.4, 0.7],
}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(Path(__file__).parents[1])  # the short name means the file croc/croc.py of a checkout
    return evaluate.load("croc")


def test_score_rows_give_the_verdict_computed_by_hand(module: Any) -> None:
    verdict = module.compute(**ROWS, protocol="syn", resamples=0, flips=0)
    # Check a passes all four. Check b: .5>.4 yes, .7>.6 yes, .5>.6 no, .7>.4 yes.
    accuracy = {name: cell["accuracy"] for name, cell in verdict["directions"].items()}
    assert accuracy == {
        "forward_text": 1.0,
        "inverse_text": 1.0,
        "forward_image": 0.5,
        "inverse_image": 1.0,
    }
    assert verdict["score"] == pytest.approx((1 + 1 + 0 + 1) / 4)
    assert "protocol:syn" in verdict["signature"]


def test_batches_give_what_one_call_gives(module: Any) -> None:
    whole = module.compute(**ROWS, protocol="hum")
    for part in (slice(0, 2), slice(2, 4)):
        module.add_batch(**{name: column[part] for name, column in ROWS.items()})
    assert module.compute(protocol="hum") == whole


def test_other_columns_group_the_verdict(module: Any) -> None:
    verdict = module.compute(**ROWS, category=["x", "x", "y", "y"], protocol="hum", by="category")
    groups = {(row["group"], row["group_value"]) for row in verdict["results"]}
    assert groups == {(None, None), ("category", "x"), ("category", "y")}


def test_a_configuration_names_the_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[1])
    assert evaluate.load("croc", "hum").compute(**ROWS)["protocol"] == "hum"


def test_missing_scores_lower_the_coverage(module: Any) -> None:
    rows = ROWS | {"contrast_score": [0.3, None, 0.4, 0.7]}
    verdict = module.compute(**rows, protocol="hum")
    assert verdict["directions"]["inverse_text"]["coverage"] == 0.75
    assert verdict["directions"]["inverse_text"]["n"] == 1


def test_a_missing_column_is_named(module: Any) -> None:
    with pytest.raises(ValueError, match="contrast_score"):
        module.compute(**{name: ROWS[name] for name in ROWS if name != "contrast_score"})


def coloured(colour: str) -> Image.Image:
    return Image.new("RGB", (16, 16), colour)


def test_a_function_is_run_on_a_dataset(module: Any) -> None:
    import datasets

    def redness(images: list[Image.Image], prompts: list[str]) -> np.ndarray:
        red = [np.asarray(image, float)[0, 0] @ (1, 0, -1) for image in images]
        return np.array(
            [value if "red" in prompt else -value for value, prompt in zip(red, prompts, strict=True)]
        )

    checks = [
        ContrastCheck(
            f"check {n}",
            f"concept {n}",
            "a red square",
            "a blue square",
            [coloured("red")],
            [coloured("blue")],
            subset="property_variation",
        ).row()
        for n in range(4)
    ]
    dataset = datasets.Dataset.from_list(checks, features=check_features())
    verdict = module.compute(metric=redness, dataset=dataset)
    assert verdict["score"] == 1.0
    assert all(verdict["directions"][name]["n"] == 4 for name in DIRECTIONS)


def test_a_metric_without_a_dataset_is_refused(module: Any) -> None:
    with pytest.raises(ValueError, match="together"):
        module.compute(metric="random")


def test_the_example_of_the_description_runs(module: Any) -> None:
    example = doctest.DocTestParser().get_doctest(
        module.inputs_description, {"evaluate": evaluate}, "croc", None, 0
    )
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0
