"""``eval.yaml`` declares the tasks under which ``.eval_results`` are filed."""

from __future__ import annotations

import pytest
import yaml
from reports import noisy, report_of
from staged_checks import HALVES, row, stage

from builders.syn import build_staged
from builders.upload_files import collect
from croc.checks.sources import open_checks
from croc.errors import InputError
from croc.results.hub_metadata import eval_result_entries
from hub_cards import benchmark, read_facts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    base = tmp_path_factory.mktemp("benchmark")
    rows = [row(number, category="action" if number % 3 else None) for number in range(16)]
    return build_staged(stage(base / "staged", rows).folder, base / "out", splits=HALVES, progress=False).out


def test_every_configuration_with_a_test_split_is_a_task(folder):
    content = yaml.safe_load(benchmark(folder))
    # The required keys of https://huggingface.co/docs/hub/eval-results.
    assert list(content) == ["name", "description", "evaluation_framework", "tasks"]
    assert content["name"] == "CROCsyn"
    assert content["description"] == "Contrastive robustness checks of text-to-image metrics."
    assert content["evaluation_framework"] == "croc"
    views = [view.name for view in read_facts(folder).views if "test" in view.files]
    assert content["tasks"] == [{"id": name, "config": name, "split": "test"} for name in views]
    assert {"all", "mini", "action"} <= set(views)


def test_results_on_every_configuration_are_filed_under_a_task_of_the_benchmark(folder):
    tasks = {task["config"]: task["id"] for task in yaml.safe_load(benchmark(folder))["tasks"]}
    for config in (None, *tasks):
        checks = open_checks(folder, config=config, split="test")
        report = report_of(
            {"m": noisy(0, 6)}, dataset="org/set", dataset_config=checks.config, dataset_split=checks.split
        )
        (entry,) = eval_result_entries(report)
        assert entry.task_id == tasks[config or "all"]


def test_results_on_another_split_are_not_filed():
    assert eval_result_entries(report_of({"m": noisy(0, 6)}, dataset="org/set", dataset_split="train")) == []


def test_the_file_goes_up_where_it_is_asked_for(folder):
    def paths(**options):
        files, _, _ = collect("syn", folder, "org/set", **options)
        return {file.path: file for file in files}

    assert "eval.yaml" not in paths()
    assert paths(benchmark=True)["eval.yaml"].read().decode() == benchmark(folder)


@pytest.mark.parametrize("kind", ["train", "model", "space"])
def test_only_checks_are_a_benchmark(tmp_path, kind):
    with pytest.raises(InputError, match="syn or hum"):
        collect(kind, tmp_path, "org/set", benchmark=True)
