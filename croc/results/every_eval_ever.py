"""A results file as a record of Every Eval Ever, the shared format of evaluation results.

Format: https://github.com/evaleval/every_eval_ever, version ``SCHEMA``. A record is about one model, which is
the metric here, and has a result per direction and group, with its interval and signature.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any, Literal

from croc import __version__
from croc.checks.schema import DIRECTIONS
from croc.errors import InputError
from croc.results.files import ResultsFile
from croc.results.hub_metadata import is_on_hub
from croc.verdict.records import DIRECTION_NAMES

SCHEMA = "0.3.0"
COLLECTION = "croc"
Relationship = Literal["first_party", "third_party", "collaborative", "other"]

_DESCRIPTION = (
    "Accuracy of a text-to-image metric on contrastive checks, relative to chance: 0 is chance level, 1 is "
    "perfect."
)
_MODEL = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Provenance:
    """What a results file does not say.

    Attributes:
        model: id of the metric, ``developer/name``; for a model on the Hub its repository.
        organization: who evaluated it.
        relationship: of the organization to the metric's developer.
        retrieved: when the record is made, in seconds since 1970.
    """

    model: str
    organization: str
    relationship: Relationship
    retrieved: int

    def __post_init__(self) -> None:
        """Require an id and a name that the format accepts.

        Raises:
            InputError: one of them cannot be used.
        """
        if _MODEL.fullmatch(self.model) is None:
            raise InputError(
                f"model {self.model!r}: give DEVELOPER/NAME, such as openai/clip-vit-base-patch32"
            )
        if not self.organization.strip():
            raise InputError("the name of the organization that evaluated the metric is empty")


def make_record(result: ResultsFile, provenance: Provenance) -> tuple[PurePosixPath, str]:
    """The record of a results file, and its path in the datastore.

    The name of the file follows from the content, so that the same results give the same file.

    Args:
        result: the results of one metric.
        provenance: what it does not say.
    """
    developer, _, name = provenance.model.partition("/")
    content = _record(result, provenance)
    known = {
        key: value for key, value in content.items() if key not in ("evaluation_id", "retrieved_timestamp")
    }
    digest = sha256(json.dumps(known, sort_keys=True).encode()).digest()
    identity = uuid.UUID(bytes=digest[:16], version=4)
    path = PurePosixPath("data", COLLECTION, developer, name, f"{identity}.json")
    return path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _record(result: ResultsFile, provenance: Provenance) -> dict[str, Any]:
    report = result.report
    time = str(provenance.retrieved)
    name = f"{report.dataset.name}/{report.protocol}"
    source: dict[str, Any] = {
        "source_name": f"CROC results file of {result.metric}",
        "source_type": "documentation",  # the numbers, not the scores of the images
        "source_organization_name": provenance.organization,
        "evaluator_relationship": provenance.relationship,
        "additional_details": {
            "score_table": result.table.file,
            "score_table_sha256": result.table.sha256,
            "trained_on_croc": str(result.trained_on_croc).lower(),
        },
    }
    if result.url is not None:
        source["additional_details"]["metric_url"] = result.url
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"{name}/{provenance.model}/{time}",
        "retrieved_timestamp": time,
        "source_metadata": source,
        "eval_library": {"name": "croc-t2i", "version": report.signature.get("croc") or __version__},
        "model_info": {
            "name": result.metric,
            "id": provenance.model,
            "developer": provenance.model.partition("/")[0],
            "additional_details": {
                "deployment_type": "unknown",
                "model_availability": "unknown",
                "signature": str(result.signature),
            },
        },
        "evaluation_results": [
            {
                "evaluation_result_id": one["id"],
                "evaluation_name": f"{name}: {one['title']}",
                "source_data": _dataset(result),
                "metric_config": {
                    "evaluation_description": _DESCRIPTION,
                    "metric_id": "croc.scaled_accuracy",
                    "metric_name": "scaled accuracy",
                    "metric_kind": "accuracy",
                    "metric_unit": "proportion",
                    "lower_is_better": False,
                    "score_type": "continuous",
                    "min_score": -1.0,
                    "max_score": 1.0,
                },
                "score_details": {
                    "score": one["record"].scaled,
                    "uncertainty": _uncertainty(result, one["record"]),
                    "details": {"signature": str(result.signature), **one["details"]},
                },
            }
            for one in _numbers(result)
        ],
    }


def _numbers(result: ResultsFile) -> Iterator[dict[str, Any]]:
    """The mean, the directions, and the mean of each group; what has no value is left out."""
    report, metric = result.report, result.metric
    for score in report.scores:
        if score.scaled is None:
            continue
        details = {"checks": str(score.n)}
        if score.group is None:
            yield {"id": "mean", "title": "mean over the directions", "record": score, "details": details}
            for direction in DIRECTIONS:
                found = report.result(metric, direction)
                if found is not None and found.scaled is not None:
                    more = {"checks": str(found.n), "direction": direction}
                    title = DIRECTION_NAMES[direction]
                    yield {"id": direction, "title": title, "record": found, "details": more}
        else:
            identity, title = f"{score.group}={score.group_value}", f"{score.group} {score.group_value}"
            more = details | {score.group: str(score.group_value)}
            yield {"id": identity, "title": title, "record": score, "details": more}


def _uncertainty(result: ResultsFile, record: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"num_samples": record.n}
    if record.ci_low is not None and record.ci_high is not None:
        found["confidence_interval"] = {
            "lower": record.ci_low,
            "upper": record.ci_high,
            "confidence_level": result.report.settings.level,
            "method": result.report.signature.get("ci") or "over concepts",
        }
    return found


def _dataset(result: ResultsFile) -> dict[str, Any]:
    dataset = result.report.dataset
    known = {"config": dataset.config, "split": dataset.split, "revision": dataset.revision}
    details = {key: value for key, value in known.items() if value is not None}
    found: dict[str, Any] = {"dataset_name": dataset.name, "source_type": "other"}
    if is_on_hub(dataset):
        found |= {
            "source_type": "hf_dataset",
            "hf_repo": dataset.name,
            "samples_number": result.report.checks,
        }
        if dataset.split is not None:
            found["hf_split"] = {"validation": "val"}.get(dataset.split, dataset.split)
    return found | ({"additional_details": details} if details else {})
