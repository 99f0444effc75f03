"""Results files in the formats of others: files by name, for a folder or a repository."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from croc.errors import InputError
from croc.results.every_eval_ever import Provenance, make_record
from croc.results.files import ResultsFile
from croc.results.hub_metadata import BENCHMARK_SPLIT, entries_file, eval_result_entries

if TYPE_CHECKING:
    from huggingface_hub import EvalResultEntry


def hub_files(results: Mapping[Path, ResultsFile]) -> dict[str, str]:
    """The ``.eval_results/*.yaml`` of the repository of a metric's model: a file per dataset.

    Args:
        results: of one metric, by their file.

    Raises:
        InputError: they are of several metrics, or one is of no benchmark on the Hub.
    """
    _require_one_metric(results)
    entries: dict[str, list[EvalResultEntry]] = {}
    for file, result in results.items():
        found = eval_result_entries(result.report)
        if not found:
            dataset = result.report.dataset
            raise InputError(
                f"{file}: these are results on {dataset.name}, split {dataset.split}; the Hub takes those "
                f"on the split {BENCHMARK_SPLIT} of its datasets (ORG/NAME)"
            )
        entries.setdefault(result.report.dataset.name, []).extend(found)
    return dict(entries_file(name, found) for name, found in entries.items())


def every_eval_ever_files(results: Mapping[Path, ResultsFile], provenance: Provenance) -> dict[str, str]:
    """Records of Every Eval Ever: a file per results file, by its path in the datastore.

    Args:
        results: of one metric, by their file.
        provenance: what they do not say.

    Raises:
        InputError: they are of several metrics.
    """
    _require_one_metric(results)
    records = (make_record(result, provenance) for result in results.values())
    return {str(path): content for path, content in records}


def _require_one_metric(results: Mapping[Path, ResultsFile]) -> None:
    metrics = sorted({result.metric for result in results.values()})
    if len(metrics) > 1:
        raise InputError(
            f"the results are of {len(metrics)} metrics ({', '.join(metrics[:5])}); give those of one"
        )
