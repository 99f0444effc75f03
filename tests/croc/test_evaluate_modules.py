"""Both modules of the ``evaluate`` library: they load from everywhere, document themselves, and combine."""

from __future__ import annotations

import doctest
import inspect
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import datasets
import evaluate
import numpy as np
import pytest
import tiny_models
from click.testing import CliRunner
from hub_server import Hub, online
from PIL import Image
from reports import noisy
from score_rows import write

from croc.cli import main
from croc.errors import InputError
from croc.tables.signature import Signature

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "crocscore" / "weights" / "tiny" / "model.safetensors"
MODULES = ("croc", "crocscore")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A yes/no model with random weights."""
    return tiny_models.save(*tiny_models.llava(), tmp_path_factory.mktemp("llava"))


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(ROOT)
    return evaluate.load


def pictures(n: int = 3) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)) for _ in range(n)]


PROMPTS = ["a red dog", "two cats", "no cat"]

ROWS: dict[str, Any] = {
    "check_id": ["a", "a", "b", "b"],
    "image_side": ["original", "contrast"] * 2,
    "image_index": [0, 0, 0, 0],
    "prompt_score": [0.9, 0.2, 0.5, 0.6],
    "contrast_score": [0.3, 0.8, 0.4, 0.7],
}


# ---- Both ----


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_it_is(load: Any, name: str) -> None:
    module = load(name)
    assert module.name == name and module.module_type == "metric"
    assert "2505.11314" in module.citation and module.license == "Apache-2.0"
    for word in ("Args:", "Returns:", "Limitations:", "Examples:"):
        assert word in module.inputs_description
    assert module.description in type(module).__doc__ or module.description.strip() in type(module).__doc__


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(load: Any, name: str) -> None:
    if name == "crocscore" and not WEIGHTS.exists():
        pytest.skip("needs the model that comes with the package")
    module = load(name)
    test = doctest.DocTestParser().get_doctest(
        module.inputs_description, {"evaluate": evaluate}, name, None, 0
    )
    assert test.examples
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test).failed == 0


def start(folder: Path, script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start a script as somebody with an empty cache, in a folder of their own."""
    (folder / "home").mkdir(exist_ok=True)
    variables = {**os.environ, "HF_HOME": str(folder / "home"), "HF_EVALUATE_OFFLINE": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return out.strip()


_LOAD = """
import sys
import evaluate

for name in sys.argv[1:]:
    print(evaluate.load(name).name)
"""


@pytest.mark.slow
def test_both_load_in_any_folder_after_install_metric_and_not_before(tmp_path: Path) -> None:
    script = (
        "import evaluate\ntry:\n    evaluate.load('croc')\nexcept FileNotFoundError:\n    print('none')\n"
        "from croc.cli import main\n"
        "main(['install-metric'], standalone_mode=False)\nmain(['install-metric'], standalone_mode=False)\n"
        "for name in ('croc', 'crocscore'):\n    print(evaluate.load(name).name)\n"
        "main(['install-metric', '--remove'], standalone_mode=False)\n"
        "try:\n    evaluate.load('croc')\nexcept FileNotFoundError:\n    print('gone')\n"
    )
    told = said(start(tmp_path, script)).splitlines()
    assert [line for line in told if " " not in line] == ["none", "croc", "crocscore", "gone"]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_loads_by_the_path_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert evaluate.load(str(ROOT / name / f"{name}.py")).name == name


@pytest.mark.slow
def test_both_load_from_the_hub_as_space_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import HfApi

    with Hub(tmp_path / "hub") as hub, online(monkeypatch):
        api = HfApi(endpoint=hub.endpoint, token="hf_writer")
        for name in MODULES:
            api.create_repo(f"org/{name}", repo_type="space", space_sdk="gradio")
            api.upload_file(
                path_or_fileobj=ROOT / name / f"{name}.py",
                path_in_repo=f"{name}.py",
                repo_id=f"org/{name}",
                repo_type="space",
            )
        # The short names are not on this Hub: behind its 404 the installed ones are found.
        install_first = "from croc.cli import main\nmain(['install-metric'], standalone_mode=False)\n"
        names = [*(f"org/{name}" for name in MODULES), *MODULES]
        environment = hub.client_environment(tmp_path / "home")
        told = said(start(tmp_path, install_first + _LOAD, *names, **environment)).splitlines()
    assert told[-4:] == [*MODULES, *MODULES]
    assert any(path.endswith("croc.py") and status == 200 for _, path, status in hub.calls)


# ---- croc ----


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
    output = {"ceilings_file", "json_file", "html_file", "latex_file", "heatmap_file"}
    options = {
        option.name: option.to_info_dict()
        for option in command.params
        if option.name not in {"tables", "metrics", *output}
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

main(["install-metric"], standalone_mode=False)
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


def redness(images: list[Image.Image], prompts: list[str]) -> list[float]:
    return [
        float(np.asarray(image)[..., 0].mean() - np.asarray(image)[..., 2].mean()) * (1 if "red" in p else -1)
        for image, p in zip(images, prompts, strict=True)
    ]


def checks(n: int = 6) -> datasets.Dataset:
    from croc.checks.schema import ContrastCheck, check_features

    sides = [[Image.new("RGB", (8, 8), colour)] for colour in ("red", "blue")]
    rows = [
        ContrastCheck(f"c{i}", f"k{i}", f"red {i}", f"blue {i}", *sides, category="counting").row()
        for i in range(n)
    ]
    return datasets.Dataset.from_list(rows, features=check_features())


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


# ---- crocscore ----


def as_bytes(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def expected(checkpoint: Path) -> list[float]:
    from crocscore.model import CROCScore

    return CROCScore.from_pretrained(str(checkpoint), device="cpu").score(pictures(), PROMPTS).tolist()


@pytest.mark.parametrize("kind", ["pil", "arrays", "one array", "paths", "bytes", "column", "undecoded"])
def test_images_of_every_kind_get_the_same_scores(
    load: Any, checkpoint: Path, expected: list[float], tmp_path: Path, kind: str
) -> None:
    images = pictures()
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    table = datasets.Dataset.from_dict({"image": list(map(str, paths))}).cast_column(
        "image", datasets.Image()
    )
    given = {
        "pil": images,
        "arrays": [np.asarray(image) for image in images],
        "one array": np.stack([np.asarray(image) for image in images]),
        "paths": [str(paths[0]), *paths[1:]],
        "bytes": [as_bytes(image) for image in images],
        "column": table["image"],
        "undecoded": table.cast_column("image", datasets.Image(decode=False))["image"],
    }[kind]
    result = load("crocscore").compute(images=given, prompts=PROMPTS, model=str(checkpoint), device="cpu")
    assert result["scores"] == pytest.approx(expected, abs=1e-5)
    assert result["mean_score"] == pytest.approx(np.mean(expected), abs=1e-5)
    assert result["errors"] == {} and "scale:margin" in result["signature"]


def test_batches_are_scored_as_one_call_and_jpegs_are_not_written_anew(
    load: Any, checkpoint: Path, tmp_path: Path
) -> None:
    image = pictures(1)[0]
    image.save(tmp_path / "a.jpg", quality=40)
    module = load("crocscore")
    options = {"model": str(checkpoint), "device": "cpu"}
    sources = [str(tmp_path / "a.jpg"), Image.open(tmp_path / "a.jpg"), image]
    whole = module.compute(images=sources, prompts=PROMPTS, **options)
    module.add_batch(images=sources[:2], prompts=PROMPTS[:2])
    module.add(images=sources[2], prompts=PROMPTS[2])
    assert module.compute(**options) == whole
    module.add_batch(images=sources[:1], prompts=PROMPTS[:1])
    again = module.compute(images=sources[1:], prompts=PROMPTS[1:], **options)
    assert again == whole


def test_probabilities_are_between_0_and_1_and_keep_the_order(
    load: Any, checkpoint: Path, expected: list[float]
) -> None:
    module = load("crocscore")
    result = module.compute(
        images=pictures(), prompts=PROMPTS, model=str(checkpoint), device="cpu", probability=True
    )
    assert all(0 < score < 1 for score in result["scores"])
    assert np.argsort(result["scores"]).tolist() == np.argsort(expected).tolist()
    assert "scale:probability" in result["signature"]


def test_the_published_scale_is_that_of_the_scorer(load: Any, checkpoint: Path) -> None:
    from crocscore.model import CROCScore

    module, options = load("crocscore"), {"images": pictures(), "prompts": PROMPTS, "paper": True}
    result = module.compute(model=str(checkpoint), device="cpu", **options)
    scorer = CROCScore.from_pretrained(checkpoint, device="cpu")
    assert result["scores"] == pytest.approx(scorer.score(pictures(), PROMPTS, paper=True), abs=1e-9)
    assert "formula:P(Yes)-P(No)" in result["signature"] and "scale:P(Yes)-P(No)" in result["signature"]
    assert module.compute(model=scorer, **options)["scores"] == pytest.approx(result["scores"], abs=1e-9)
    plain = module.compute(images=pictures(), prompts=PROMPTS, model=str(checkpoint), device="cpu")
    assert "scale:margin" in plain["signature"]
    with pytest.raises(ValueError, match="two scales: choose one"):
        module.compute(model=scorer, probability=True, **options)


def test_a_pair_without_a_score_says_why_and_leaves_the_mean(
    load: Any, checkpoint: Path, expected: list[float]
) -> None:
    images = [*pictures(), b"no image", pictures(1)[0]]
    result = load("crocscore").compute(
        images=images, prompts=[*PROMPTS, "a cat", " "], model=str(checkpoint), device="cpu"
    )
    assert result["scores"][3:] == [None, None]
    assert set(result["errors"]) == {3, 4} and "empty" in result["errors"][4]
    assert result["mean_score"] == pytest.approx(np.mean(expected), abs=1e-5)


@pytest.mark.parametrize(
    ("images", "prompts", "message"),
    [
        (None, ["a"], "together"),
        ([b""], "a", "lists"),
        ([b"", b""], ["a"], "2 images and 1 prompts"),
        ([b""], [7], "prompt 0 is int"),
    ],
)
def test_inputs_that_do_not_pair_up_are_refused(load: Any, images: Any, prompts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load("crocscore").compute(images=images, prompts=prompts)
    with pytest.raises(ValueError, match=message):
        load("crocscore").add_batch(images=images, prompts=prompts)


def test_an_array_of_fractions_is_refused(load: Any, checkpoint: Path) -> None:
    with pytest.raises(InputError, match="uint8"):
        load("crocscore").add_batch(images=[np.zeros((4, 4, 3))], prompts=["a"])


def test_the_model_is_loaded_once(load: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from crocscore.model import CROCScore

    loaded = []
    original = CROCScore.from_pretrained
    monkeypatch.setattr(
        CROCScore, "from_pretrained", lambda *a, **k: loaded.append(a) or original(*a, **k), raising=True
    )
    module = load("crocscore")
    for _ in range(2):
        module.compute(images=pictures(), prompts=PROMPTS, model=str(checkpoint), device="cpu")
    assert len(loaded) == 1


# ---- Together ----


def test_one_module_judges_the_other(load: Any, checkpoint: Path) -> None:
    from croc.scorers.custom import EvaluateScorer

    scorer = EvaluateScorer(load("crocscore"), model=str(checkpoint), device="cpu")
    verdict = load("croc", "hum").compute(metric=scorer, dataset=checks(4), resamples=50, permutations=50)
    assert verdict["metrics"] == ["crocscore"] and verdict["coverage"] == 1
    assert "hum" in verdict["signature"]


@pytest.mark.skipif(not WEIGHTS.exists(), reason="needs the model that comes with the package")
def test_the_module_as_it_is_can_be_judged(load: Any) -> None:
    verdict = load("croc", "hum").compute(
        metric=load("crocscore"), dataset=checks(4), resamples=0, permutations=0
    )
    assert verdict["coverage"] == 1


def test_modules_combine(load: Any, checkpoint: Path) -> None:
    from crocscore.model import CROCScore

    both = evaluate.combine({"first": load("crocscore"), "second": load("crocscore")})
    both.add_batch(images=pictures(), prompts=PROMPTS)
    model = CROCScore.from_pretrained(str(checkpoint), device="cpu")
    result = both.compute(model=model)
    assert result["first_scores"] == result["second_scores"] and len(result["first_scores"]) == 3
    protocols = evaluate.combine({"syn": load("croc", "syn"), "hum": load("croc", "hum")})
    verdict = protocols.compute(**ROWS, resamples=0, permutations=0)
    assert (verdict["syn_protocol"], verdict["hum_protocol"]) == ("syn", "hum")


def test_install_metric_has_a_help_and_refuses_other_names() -> None:
    run = CliRunner()
    assert "Examples" in run.invoke(main, ["install-metric", "--help"]).output
    assert run.invoke(main, ["install-metric", "accuracy"]).exit_code == 2
