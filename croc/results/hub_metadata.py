"""The Hub's evaluation metadata of a report: the one place that writes it.

The Hub reads evaluation results in two forms: ``model-index`` in the metadata of a model card, which is the
older one, and files ``.eval_results/*.yaml`` in a model's repository, from which it also fills the
leaderboard of a benchmark dataset. Both are written here from a report, with the dataset that the score
tables name. A dataset becomes a benchmark by an ``eval.yaml`` in its repository, which names its tasks: a
task is a configuration, scored on the test split (https://huggingface.co/docs/hub/eval-results).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from croc.checks.schema import DIRECTIONS
from croc.verdict.records import DIRECTION_NAMES
from croc.verdict.report import Dataset, Report

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData

TASK_TYPE, TASK_NAME = "visual-question-answering", "contrastive robustness checks"
METRIC_TYPE = "scaled_accuracy"
FOLDER = ".eval_results"
"""Where the Hub looks for evaluation results in a model's repository."""

BENCHMARK = "eval.yaml"
"""The file of a dataset's repository that declares its tasks."""

BENCHMARK_SPLIT = "test"
FRAMEWORK = "croc"
"""The evaluation framework that computes the values. The Hub accepts those of its list alone:
https://github.com/huggingface/huggingface.js/blob/main/packages/tasks/src/eval.ts"""

_DIGITS = 4
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def model_index(report: Report, metric: str | None = None) -> list[EvalResult]:
    """The scaled accuracies of a metric on all checks, their mean first, for a card's ``model-index``.

    Args:
        report: of any dataset; one that is not on the Hub is given by its name.
        metric: one of its metrics; None takes the best.
    """
    from huggingface_hub import EvalResult

    metric = metric or report.metrics[0]
    values = {"mean scaled accuracy": report.score(metric).scaled}
    for direction in DIRECTIONS:
        values[f"scaled accuracy, {DIRECTION_NAMES[direction]}"] = report.scaled(metric, direction)
    return [
        EvalResult(
            task_type=TASK_TYPE,
            task_name=TASK_NAME,
            dataset_type=report.dataset.name,
            dataset_name=report.dataset.name,
            dataset_config=report.dataset.config,
            dataset_split=report.dataset.split,
            dataset_revision=_revision(report.dataset),
            metric_type=METRIC_TYPE,
            metric_name=name,
            metric_value=round(value, _DIGITS),
            metric_config=str(report.signatures[metric]),
        )
        for name, value in values.items()
        if value is not None
    ]


def card_metadata(report: Report, metric: str | None = None, **fields: Any) -> ModelCardData:
    """The metadata of a model card with the results of a metric.

    Args:
        report: what the results are taken from.
        metric: one of its metrics; None takes the best.
        fields: of ``huggingface_hub.ModelCardData``; ``model_name`` is the metric's name unless given, and
            ``tags`` are ``croc`` unless given.
    """
    from huggingface_hub import ModelCardData

    metric = metric or report.metrics[0]
    results = model_index(report, metric)
    fields = {"tags": ["croc"], "model_name": metric} | fields
    if not results:
        del fields["model_name"]
    return ModelCardData(eval_results=results or None, **fields)


def task_id(config: str | None) -> str:
    """The id of the task that a configuration of a dataset is; ``default`` where the dataset has none."""
    return config or "default"


def benchmark_file(name: str, description: str, configs: Iterable[str]) -> str:
    """The ``eval.yaml`` of a dataset: each configuration is a task.

    Args:
        name: of the benchmark, for people.
        description: one sentence.
        configs: configurations with a test split.
    """
    import yaml

    tasks = [{"id": task_id(config), "config": config, "split": BENCHMARK_SPLIT} for config in configs]
    content = {"name": name, "description": description, "evaluation_framework": FRAMEWORK, "tasks": tasks}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def eval_result_entries(report: Report, metric: str | None = None) -> list[EvalResultEntry]:
    """The mean scaled accuracy of a metric for ``.eval_results``.

    Empty where the dataset is not on the Hub, or the split is not that of its task. The id of the task is
    that of :func:`benchmark_file`.

    Args:
        report: what the results are taken from.
        metric: one of its metrics; None takes the best.
    """
    from huggingface_hub import EvalResultEntry

    metric = metric or report.metrics[0]
    value = report.score(metric).scaled
    other_split = report.dataset.split not in (None, BENCHMARK_SPLIT)
    if value is None or other_split or not is_on_hub(report.dataset):
        return []
    revision = _revision(report.dataset)
    return [
        EvalResultEntry(
            dataset_id=report.dataset.name,
            task_id=task_id(report.dataset.config),
            value=round(value, _DIGITS),
            dataset_revision=revision if revision and _COMMIT.fullmatch(revision) else None,
            notes=f"mean scaled accuracy, {report.signatures[metric]}",
        )
    ]


def eval_results_files(report: Report, metric: str | None = None) -> dict[str, str]:
    """The files of ``.eval_results`` with the results of a metric: YAML by path in the model's repository.

    Args:
        report: what the results are taken from.
        metric: one of its metrics; None takes the best.

    Returns:
        Empty where the dataset is not on the Hub.
    """
    entries = eval_result_entries(report, metric)
    return dict([entries_file(report.dataset.name, entries)]) if entries else {}


def entries_file(dataset: str, entries: list[EvalResultEntry]) -> tuple[str, str]:
    """The path and the content of the file of ``.eval_results`` for a dataset."""
    import yaml
    from huggingface_hub import eval_result_entries_to_yaml

    content = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)
    return f"{FOLDER}/{dataset.replace('/', '-')}.yaml", content


def is_on_hub(dataset: Dataset) -> bool:
    """Whether the name of a dataset is a Hub id; folders and files are named without their parents."""
    return _HUB_ID.fullmatch(dataset.name) is not None


def _revision(dataset: Dataset) -> str | None:
    """The revision without the note that only some of the checks were used: ``abc[60 of 120]``."""
    return dataset.revision.partition("[")[0] if dataset.revision else None
