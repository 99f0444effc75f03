"""Both modules of the ``evaluate`` library: they load from everywhere, document themselves, and combine."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import evaluate
import pytest
from click.testing import CliRunner
from hub_server import Hub, online
from metric_modules import MODULES, PROMPTS, ROOT, ROWS, WEIGHTS, checks, pictures, said, start

from croc.cli import main


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
        "main(['install'], standalone_mode=False)\nmain(['install'], standalone_mode=False)\n"
        "for name in ('croc', 'crocscore'):\n    print(evaluate.load(name).name)\n"
        "main(['install', '--remove'], standalone_mode=False)\n"
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
        install_first = "from croc.cli import main\nmain(['install'], standalone_mode=False)\n"
        names = [*(f"org/{name}" for name in MODULES), *MODULES]
        environment = hub.client_environment(tmp_path / "home")
        told = said(start(tmp_path, install_first + _LOAD, *names, **environment)).splitlines()
    assert told[-4:] == [*MODULES, *MODULES]
    assert any(path.endswith("croc.py") and status == 200 for _, path, status in hub.calls)


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
    assert "Examples" in run.invoke(main, ["install", "--help"]).output
    assert run.invoke(main, ["install", "accuracy"]).exit_code == 2
