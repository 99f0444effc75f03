"""The module ``croc`` of the ``evaluate`` library: its numbers, options and ways to run a metric."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from metric_modules import ROOT, ROWS, checks, redness, said, start
from reports import noisy
from score_rows import write

from croc.cli import main
from croc.errors import InputError
from croc.tables.signature import Signature


def test_score_rows_give_the_verdict_computed_by_hand(load: Any) -> None:
    verdict = load("croc").compute(**ROWS, protocol="syn", resamples=0, permutations=0)
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


def test_columns_may_be_arrays(load: Any) -> None:
    arrays = {name: np.array(column) for name, column in ROWS.items()}
    options = {"protocol": "syn", "resamples": 0, "permutations": 0}
    assert (
        load("croc").compute(**arrays, **options)["score"] == load("croc").compute(**ROWS, **options)["score"]
    )


@pytest.mark.parametrize("kind", [int, np.int64])
def test_ids_may_be_integers(load: Any, kind: Any) -> None:
    module = load("croc", "hum")
    columns = dict(
        image_side=["original", "contrast"] * 2,
        image_index=[0] * 4,
        prompt_score=[0.9, 0.2, 0.8, 0.7],
        contrast_score=[0.3, 0.8, 0.9, 0.1],
        resamples=0,
        permutations=0,
    )
    expected = module.compute(check_id=["7", "7", "8", "8"], concept_id=["1"] * 4, **columns)
    given = {"check_id": [kind(7)] * 2 + [kind(8)] * 2, "concept_id": [kind(1)] * 4}
    assert module.compute(**given, **columns) == expected


def test_batches_give_what_one_call_gives(load: Any) -> None:
    croc = load("croc")
    whole = croc.compute(**ROWS, protocol="hum")
    for part in (slice(0, 2), slice(2, 4)):
        croc.add_batch(**{name: column[part] for name, column in ROWS.items()})
    assert croc.compute(protocol="hum") == whole


def test_other_columns_group_the_verdict(load: Any) -> None:
    verdict = load("croc").compute(**ROWS, category=["x", "x", "y", "y"], protocol="hum", by="category")
    groups = {(row["group"], row["group_value"]) for row in verdict["results"]}
    assert groups == {(None, None), ("category", "x"), ("category", "y")}


def test_a_configuration_names_the_protocol(load: Any) -> None:
    assert load("croc", "hum").compute(**ROWS)["protocol"] == "hum"


def test_missing_scores_lower_the_coverage(load: Any) -> None:
    rows = ROWS | {"contrast_score": [0.3, None, 0.4, 0.7]}
    verdict = load("croc").compute(**rows, protocol="hum")
    assert verdict["directions"]["inverse_text"]["coverage"] == 0.75
    assert verdict["directions"]["inverse_text"]["n"] == 1


def test_a_verdict_is_a_plain_dictionary(load: Any) -> None:
    verdict = load("croc").compute(**ROWS, category=["x", "x", "y", "y"], protocol="syn", by="category")
    assert json.loads(json.dumps(verdict, allow_nan=False)) == verdict
    assert set(verdict) >= {"score", "accuracy", "coverage", "ties", "groups", "findings", "signature"}
    assert verdict["accuracy"] == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert set(verdict["groups"]["category"]) == {"x", "y"}
    # Check y passes all but forward_image: its prompt likes the contrast image better.
    assert verdict["groups"]["category"]["y"]["directions"]["forward_image"]["accuracy"] == 0
    assert verdict["groups"]["category"]["x"]["score"] == 1


def test_rows_can_be_added_one_by_one(load: Any) -> None:
    croc = load("croc")
    for i in range(4):
        croc.add(**{name: column[i] for name, column in ROWS.items()})
    assert croc.compute(protocol="hum") == croc.compute(**ROWS, protocol="hum")


def generated_rows() -> list[dict[str, Any]]:
    """A score table of 24 checks with three images per side, in categories of unequal size."""
    return noisy(4, 24, 0.4, category=list("abbccc"), k=3)


def as_columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def command_numbers(file: Path, *options: str) -> dict[str, Any]:
    """What ``croc evaluate --json`` writes about a score table."""
    target = file.with_suffix(".json")
    done = CliRunner().invoke(main, ["evaluate", str(file), *options, "--json", str(target)])
    assert done.exit_code == 0, done.output
    numbers: dict[str, Any] = json.loads(target.read_text("utf-8"))
    return numbers


@pytest.mark.parametrize(
    ("options", "arguments", "fields"),
    [
        ({"images": 1}, ["--images", "1"], {"images": "1", "average": "micro"}),
        (
            {"average": "macro", "by": ["category"]},
            ["--average", "macro", "--by", "category"],
            {"images": "3", "average": "macro(category)"},
        ),
        ({"level": 0.8, "seed": 7}, ["--level", "0.8", "--seed", "7"], {"ci": "wilson@0.8", "seed": "7"}),
        (
            {"correction": "bh", "by": "category"},
            ["--correction", "bh", "--by", "category"],
            {"correction": "bh"},
        ),
        ({"paper": True, "average": "micro"}, ["--paper", "--average", "micro"], {"average": "micro"}),
        (
            {"resamples": np.int64(0), "permutations": np.int64(40)},
            ["--resamples", "0", "--permutations", "40"],
            {"resamples": "0", "test": "signflip40"},
        ),
    ],
)
def test_options_give_the_numbers_of_the_command(
    load: Any, tmp_path: Path, options: Any, arguments: list[str], fields: dict[str, str]
) -> None:
    rows = generated_rows()
    command = command_numbers(write(tmp_path, "metric", rows), *arguments)
    result = load("croc", "syn").compute(**as_columns(rows), **options)
    same = {"croc", "protocol", "mode", "images", "average", "resamples", "test", "seed", "ci", "correction"}
    signatures = [Signature.parse(text) for text in (result["signature"], command["signature"])]
    assert signatures[0].only(*same) == signatures[1].only(*same)
    assert dict(signatures[0]).items() >= fields.items()
    assert result["score"] == pytest.approx(command["scores"][0]["scaled"], abs=1e-12)
    ends = [result["ci_low"], result["ci_high"]]
    assert ends == pytest.approx([command["scores"][0][end] for end in ("ci_low", "ci_high")], abs=1e-6)


def test_the_module_has_the_options_of_the_command_with_their_defaults(load: Any) -> None:
    settings = inspect.signature(load("croc")._settings).parameters
    command = main.get_command(click.Context(main), "evaluate")
    assert command is not None
    output = {"ceilings_file", "json_file", "html_file", "latex_file", "heatmap_file", "checks"}
    output |= {"audits", "probes", "invariances"}
    options = {
        option.name: option.to_info_dict()
        for option in command.params
        if option.name not in {"tables", "metrics", "verbose", "quiet", *output}
    }
    assert set(settings) == set(options)
    for name, option in options.items():
        assert (settings[name].default or None) == (option["default"] or None), name
        assert f"    {name} (" in load("croc").inputs_description


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": 0}, "images=0: input should be greater"),
        ({"images": 1.5}, "images=1.5: input should be a valid integer"),
        ({"average": "mean"}, "average='mean': input should be 'micro' or 'macro'"),
        ({"average": "macro"}, "name one with 'by'"),
        ({"level": 95}, "level=95: input should be less"),
        ({"permutations": -1}, "permutations=-1: input should be greater"),
        ({"images": 1, "paper": True}, "cannot be combined with a number of images"),
    ],
)
def test_options_out_of_range_are_refused(load: Any, options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load("croc", "syn").compute(**ROWS, **options)


@pytest.mark.parametrize("given", [ROWS, {"metric": "random", "dataset": []}])
def test_an_unknown_argument_is_refused_with_the_closest_name(load: Any, given: Any) -> None:
    with pytest.raises(ValueError, match="unknown argument 'image'; did you mean 'images'"):
        load("croc", "syn").compute(**given, image=1)


_OFFLINE = """
import json
import sys
import evaluate
from croc.cli import main

main(["install"], standalone_mode=False)
rows = json.loads(sys.argv[1])
result = evaluate.load("croc", "syn").compute(**rows, images=1, average="macro", by="category", level=0.9)
print(json.dumps(result))
"""


@pytest.mark.slow
def test_an_installed_module_has_the_options_offline(load: Any, tmp_path: Path) -> None:
    rows = as_columns(generated_rows())
    result = json.loads(said(start(tmp_path, _OFFLINE, json.dumps(rows))).splitlines()[-1])
    options = {"images": 1, "average": "macro", "by": "category", "level": 0.9}
    assert result == load("croc", "syn").compute(**rows, **options)


@pytest.mark.parametrize("kind", ["function", "name", "module", "list"])
def test_the_name_of_the_benchmark_is_enough(
    load: Any, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = {"function": redness, "name": "colour-words", "list": [redness, "random"]}
    metric = metrics[kind] if kind in metrics else load("crocscore")
    module = load("croc")
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="embedded sample"):
        result = module.compute(
            metric=metric, dataset="croc/syn", max_checks=11, by="category", resamples=0, permutations=0
        )
    assert (result["n"], result["coverage"], result["protocol"]) == (11, 1, "syn")
    assert "dataset:croc/syn" in result["signature"]
    assert {"negation", "counting"} <= set(result["groups"]["category"])


def test_other_configurations_are_refused(load: Any) -> None:
    with pytest.raises(ValueError, match="configurations default, syn, hum"):
        load("croc", "papr")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give metric and dataset, or the columns"),
        ({"metric": "random"}, "together"),
        ({"metric": "random", "dataset": [], **ROWS}, "not both"),
        ({name: ROWS[name] for name in ROWS if name != "contrast_score"}, "contrast_score"),
        ({**ROWS, "protocol": "hum", "by": "categry"}, "categry"),
        ({**ROWS, "protocol": "hum", "max_checks": 2}, "max_checks"),
    ],
)
def test_what_is_nothing_to_judge_is_refused(load: Any, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load("croc").compute(**given)


class Redness:
    name = "redness"

    def score(self, images: Any, prompts: Any) -> np.ndarray:
        return np.array(redness(images, prompts))

    def fields(self) -> dict[str, str]:
        return {"revision": "1"}


@pytest.mark.parametrize("metric", [redness, Redness(), [redness, "random"]])
def test_a_metric_of_any_kind_runs_on_checks(load: Any, metric: Any, tmp_path: Path) -> None:
    verdict = load("croc", "hum").compute(
        metric=metric, dataset=checks(), by="category", resamples=50, permutations=50
    )
    assert verdict["score"] == 1 and verdict["metrics"][0] == "redness"
    assert verdict["protocol"] == "hum" and verdict["groups"]["category"]["counting"]["n"] == 6


@pytest.mark.parametrize("kind", ["dataset", "stream", "folder"])
def test_some_checks_are_enough_for_a_look(load: Any, kind: str, tmp_path: Path) -> None:
    whole = checks()
    if kind == "folder":
        whole.to_parquet(tmp_path / "test.parquet")
    source = {"dataset": whole, "stream": whole.to_iterable_dataset(), "folder": str(tmp_path)}[kind]
    more = {"streaming": True} if kind == "folder" else {}
    verdict = load("croc").compute(
        metric=redness, dataset=source, max_checks=2, protocol="hum", resamples=0, permutations=0, **more
    )
    assert verdict["n"] == 2 and verdict["score"] == 1


def test_kept_scores_are_not_made_again(load: Any, tmp_path: Path) -> None:
    called = []

    def counting(images: list[Any], prompts: list[str]) -> list[float]:
        called.append(len(images))
        return redness(images, prompts)

    options = {
        "dataset": checks(),
        "protocol": "hum",
        "out": str(tmp_path),
        "resamples": 0,
        "permutations": 0,
    }
    first = load("croc").compute(metric=counting, **options)
    made = sum(called)
    assert load("croc").compute(metric=counting, **options) == first
    assert sum(called) - made < made  # the self-check of a run looks at the first pairs again
    assert (tmp_path / "counting.parquet").exists()


_ONE_OF_TWO = """
import json
import sys
import evaluate

root, number, rows = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
croc = evaluate.load(root, process_id=number, num_process=2, experiment_id="both", timeout=600)
croc.add_batch(**{name: column[2 * number : 2 * number + 2] for name, column in rows.items()})
print(json.dumps(croc.compute(protocol="hum")))
"""


@pytest.mark.slow
def test_several_processes_judge_together(load: Any, tmp_path: Path) -> None:
    place, rows = str(ROOT / "croc" / "croc.py"), json.dumps(ROWS)
    both = [start(tmp_path, _ONE_OF_TWO, place, str(number), rows) for number in range(2)]
    first, second = (json.loads(said(process)) for process in both)
    assert second is None
    assert first == load("croc").compute(**ROWS, protocol="hum")
