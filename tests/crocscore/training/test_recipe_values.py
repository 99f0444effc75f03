"""Values of a recipe that have the wrong kind are named, instead of failing somewhere in the library."""

from __future__ import annotations

from pathlib import Path

import pytest

from croc.errors import InputError
from crocscore.training.recipe import read_recipe

RECIPE = "model: x\nquestions: q\noutput_dir: out\nuse_cpu: true\nbf16: false\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "per_device_train_batch_size: [32]",
            "per_device_train_batch_size must be a single value, not a list",
        ),
        ("learning_rate: {a: 1}", "learning_rate must be a single value, not a mapping"),
        ("metric_for_best_model: [loss]", "metric_for_best_model must be a single value"),
        ("seed:", "seed has no value"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "recipe.yaml"
    for _ in range(2):  # reading a recipe leaves the types of the library's settings changed
        file.write_text(RECIPE + "report_to: [none]\nlr_scheduler_kwargs: {}\n")
        read_recipe(["--config", str(file)])
        file.write_text(f"{RECIPE}{line}\n")
        with pytest.raises(InputError, match=message):
            read_recipe(["--config", str(file)])
