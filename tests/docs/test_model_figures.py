"""The figures of the small models: the commands that measure them, and their tables."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import click
import pytest

from croc.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def measurement() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "benchmarks" / "measure_small_models.py"))


def test_every_command_of_the_measurement_can_be_called(measurement, tmp_path):
    for name in ("nlvr/dev", "tifa160"):
        (tmp_path / name).mkdir(parents=True)
    steps = measurement["steps"](tmp_path / "models", tmp_path)
    assert len({step.output for step in steps}) == len(steps)
    commands = [step.command[3:] for step in steps if step.command[1:3] == ("-m", "croc")]
    assert len(commands) == len(steps) - 2  # the others are benchmarks
    for arguments in commands:
        inputs = [Path(one) for one in arguments if "models" in Path(one).parts]
        for path in inputs:  # as the steps before leave them
            place = path.parent if path.suffix else path
            place.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".parquet":
                path.touch()
        command: click.Command = main
        words = [str(one) for one in arguments]
        while isinstance(command, click.Group):
            inner = command.get_command(click.Context(command), words.pop(0))
            assert inner is not None, arguments
            command = inner
        command.make_context("croc", words)


def test_the_plots_of_the_pages_are_outputs_of_the_measurement(measurement, tmp_path):
    steps = measurement["steps"](tmp_path, tmp_path)
    options = {str(part) for step in steps for part in step.command}
    folders = {str(step.output.parent) for step in steps}
    for name, place in measurement["PLOTS"].items():
        assert (ROOT / "docs" / "images" / name).is_file()
        assert str(place(tmp_path)) in options or str(place(tmp_path).parent) in folders


def test_a_row_that_does_not_fit_its_table_is_an_error():
    table = runpy.run_path(str(ROOT / "docs" / "model_figures.py"))["_table"]
    with pytest.raises(ValueError, match="a row has 1 cells, the table 2 columns"):
        table(("a", "b"), [("c",)])
