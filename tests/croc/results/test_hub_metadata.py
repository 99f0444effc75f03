"""Evaluation metadata: both forms of the Hub, read back by its library, about the dataset that was scored."""

from __future__ import annotations

import pytest
import yaml
from huggingface_hub import EvalResultEntry, ModelCardData, parse_eval_result_entries
from reports import noisy, report_of
from score_rows import check_rows, table

from croc.results.hub_metadata import (
    card_metadata,
    eval_result_entries,
    eval_results_files,
    is_on_hub,
    model_index,
)
from croc.verdict.evaluation import evaluate_tables
from croc.verdict.report import Dataset, Settings

COMMIT = "0123456789abcdef0123456789abcdef01234567"
QUICK = Settings(resamples=0, flips=0)


def report(metrics=("good", "poor"), **metadata):
    tables = {name: noisy(seed, 12, 2.0 - seed) for seed, name in enumerate(metrics)}
    return report_of(tables, settings=QUICK, **metadata)


HUB = {
    "dataset": "org/my-checks",
    "dataset_revision": COMMIT,
    "dataset_config": "counting",
    "dataset_split": "test",
}


def test_the_model_index_is_read_back_by_the_library():
    made = report(**HUB)
    data = card_metadata(made, license="mit")
    again = ModelCardData(**yaml.safe_load(data.to_yaml()))
    assert again.model_name == "good"
    assert again.license == "mit" and again.tags == ["croc"]
    assert again.eval_results == data.eval_results == model_index(made)
    for result in again.eval_results:
        assert (result.dataset_type, result.dataset_name) == ("org/my-checks", "org/my-checks")
        assert (result.dataset_config, result.dataset_split) == ("counting", "test")
        assert result.dataset_revision == COMMIT
        assert result.metric_config == str(made.signatures["good"])
    values = {result.metric_name: result.metric_value for result in again.eval_results}
    assert values == {
        "mean scaled accuracy": round(made.score("good").scaled, 4),
        **{
            f"scaled accuracy, {direction.replace('_', ' ')}": round(made.result("good", direction).scaled, 4)
            for direction in ("forward_text", "inverse_text", "forward_image", "inverse_image")
        },
    }


def test_eval_results_are_read_back_by_the_library():
    made = report(**HUB)
    (path, content), *others = eval_results_files(made, "poor").items()
    assert not others and path == ".eval_results/org-my-checks.yaml"
    assert parse_eval_result_entries(yaml.safe_load(content)) == [
        EvalResultEntry(
            dataset_id="org/my-checks",
            task_id="counting",
            value=round(made.score("poor").scaled, 4),
            dataset_revision=COMMIT,
            notes=f"mean scaled accuracy, {made.signatures['poor']}",
        )
    ]


@pytest.mark.parametrize(
    ("revision", "written"),
    [(COMMIT, COMMIT), (f"{COMMIT}[60 of 120]", COMMIT), ("builder:0f1e", None), (None, None)],
)
def test_a_revision_is_a_commit_or_left_out(revision, written):
    (entry,) = eval_result_entries(report(dataset="org/checks", dataset_revision=revision))
    assert (entry.dataset_revision, entry.task_id) == (written, "default")


@pytest.mark.parametrize("name", ["my-checks", "test.parquet", None])
def test_a_dataset_that_is_not_on_the_hub_is_named_in_the_card_alone(name):
    made = report(dataset=name)
    assert not eval_results_files(made)
    assert {result.dataset_type for result in model_index(made)} == {name or "unnamed"}


def test_no_dataset_is_claimed_that_the_scores_are_not_from():
    made = report(dataset="somebody/else")
    text = card_metadata(made).to_yaml() + "".join(eval_results_files(made).values())
    assert "croc/syn" not in text and "croc/hum" not in text


def test_tables_of_several_configurations_name_none():
    tables = [
        table(metric, noisy(0, 6), "hum", **{**HUB, "dataset_config": config})
        for metric, config in (("m", "counting"), ("n", "action"))
    ]
    assert evaluate_tables(tables, QUICK).dataset == Dataset("org/my-checks", COMMIT, None, "test", "human")
    one = Dataset("org/my-checks", COMMIT, "counting", "test", "human")
    assert evaluate_tables(tables[:1], QUICK).dataset == one


def test_a_metric_without_a_number_has_no_metadata():
    rows = check_rows("a", [(None, None)], [(None, None)], category="action")
    made = report_of({"m": rows}, settings=QUICK, dataset="org/checks")
    assert model_index(made) == [] and eval_result_entries(made) == []
    assert card_metadata(made).eval_results is None


def test_hub_ids_have_an_organisation():
    assert is_on_hub(Dataset("org/checks"))
    assert not is_on_hub(Dataset("checks")) and not is_on_hub(Dataset("a/b/c"))
