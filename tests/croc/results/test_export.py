"""Results in the formats of others: read by the Hub's library, and valid by Every Eval Ever's schema."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from huggingface_hub import parse_eval_result_entries
from reports import noisy
from score_rows import write

from croc.cli import main
from croc.errors import InputError
from croc.results.every_eval_ever import SCHEMA, Provenance, make_record
from croc.results.files import make_result, read_result, write_result
from croc.verdict.report import Settings

SCHEMA_FILE = Path(__file__).parent / "schemas" / f"every_eval_ever-{SCHEMA}.schema.json"
VALIDATOR = "EVERY_EVAL_EVER"
"""Path of the command ``every_eval_ever``, which needs an environment of its own."""
LAB = Provenance("org/mine", "Lab", "third_party", 1_760_000_000)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of one metric on two configurations of a dataset of the Hub."""
    folder = tmp_path_factory.mktemp("results")
    for seed, config in enumerate(("all", "counting")):
        (folder / config).mkdir()
        rows = noisy(seed, 12, 2.0)
        table = write(
            folder / config,
            "mine",
            rows,
            "hum",
            dataset="croc/hum",
            dataset_revision="0123456789abcdef0123456789abcdef01234567",
            dataset_config=config,
            dataset_split="test",
        )
        made = make_result(table, settings=Settings(resamples=0, flips=0), url="https://example.org/mine")
        write_result(made, table.with_suffix(".json"))
    return folder


def croc(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["results", "export", *map(str, words)])


def eee(results: Path, out: Path) -> list[Path]:
    words = ("--format", "every-eval-ever", "--model", "org/mine", "--organization", "Lab", "--out", out)
    done = croc(results, *words)
    assert done.exit_code == 0, done.output
    return [Path(line) for line in done.stdout.splitlines()]


def test_the_hub_reads_the_entries_of_all_configurations(results: Path, tmp_path: Path) -> None:
    done = croc(results, "--format", "hub", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    file = tmp_path / ".eval_results" / "croc-hum.yaml"
    assert done.stdout == f"{file}\n"
    entries = parse_eval_result_entries(yaml.safe_load(file.read_text("utf-8")))
    expected = {config: read_result(results / config / "mine.json").report for config in ("all", "counting")}
    assert {entry.task_id: entry.value for entry in entries} == {
        config: pytest.approx(report.ranking[0].scaled, abs=1e-4) for config, report in expected.items()
    }
    assert {entry.dataset_id for entry in entries} == {"croc/hum"}


def test_a_record_is_valid_and_has_every_number(results: Path, tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(SCHEMA_FILE.read_text("utf-8"))
    for file, config in zip(eee(results, tmp_path), ("all", "counting"), strict=True):
        assert file.relative_to(tmp_path).parts[:4] == ("data", "croc", "org", "mine")
        record = json.loads(file.read_text("utf-8"))
        jsonschema.validate(record, schema, format_checker=jsonschema.FormatChecker())
        report = read_result(results / config / "mine.json").report
        found = {one["evaluation_result_id"]: one for one in record["evaluation_results"]}
        assert len(found) == len(record["evaluation_results"])
        mean = found["mean"]["score_details"]
        score = report.ranking[0]
        interval = mean["uncertainty"]["confidence_interval"]
        assert (mean["score"], interval["lower"], interval["upper"]) == (
            score.scaled,
            score.ci_low,
            score.ci_high,
        )
        assert mean["uncertainty"]["num_samples"] == score.n
        assert (
            found["category=action"]["score_details"]["score"]
            == report.score("mine", "category", "action").scaled
        )
        direction = found["inverse_image"]["score_details"]["score"]
        assert direction == report.scaled("mine", "inverse_image")
        assert found["mean"]["source_data"]["hf_repo"] == "croc/hum"
        assert record["evaluation_id"].startswith("croc/hum/hum/org/mine/")


def test_the_schema_refuses_what_the_format_forbids(results: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    _, content = make_record(read_result(results / "all" / "mine.json"), LAB)
    record = json.loads(content)
    schema = json.loads(SCHEMA_FILE.read_text("utf-8"))
    jsonschema.validate(record, schema)
    del record["evaluation_results"][0]["metric_config"]["lower_is_better"]
    with pytest.raises(jsonschema.ValidationError, match="lower_is_better"):
        jsonschema.validate(record, schema)


def test_the_validator_of_the_format_accepts_the_records(results: Path, tmp_path: Path) -> None:
    command = os.environ.get(VALIDATOR)
    if not command:
        pytest.skip(f"needs {VALIDATOR}, the command of every-eval-ever in an environment of Python 3.12")
    files = eee(results, tmp_path)
    done = subprocess.run([command, "validate", *map(str, files)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_same_results_have_the_same_file_at_any_time(results: Path) -> None:
    made = read_result(results / "all" / "mine.json")
    path, content = make_record(made, LAB)
    later, other = make_record(made, replace(LAB, retrieved=LAB.retrieved + 60))
    assert path == later and content != other
    assert make_record(made, replace(LAB, organization="Other"))[0] != path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--format", "every-eval-ever"), "needs --model and --organization"),
        (("--format", "every-eval-ever", "--model", "mine", "--organization", "x"), "give DEVELOPER/NAME"),
        (("--format", "every-eval-ever", "--model", "a/b", "--organization", " "), "organization"),
        (("--format", "hub", "--model", "a/b"), "go with --format every-eval-ever"),
    ],
)
def test_what_is_missing_is_one_sentence(
    results: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = croc(results, *words, "--out", tmp_path / "out")
    assert done.exit_code == 2 and said in done.stderr and not (tmp_path / "out").exists()


def test_results_of_no_benchmark_on_the_hub_are_refused(tmp_path: Path) -> None:
    for name in ("mine", "other"):
        table = write(tmp_path, name, noisy(1, 12, 2.0), "hum", dataset="my folder", dataset_split="test")
        write_result(make_result(table, settings=Settings(resamples=0, flips=0)), table.with_suffix(".json"))
    refused = croc(tmp_path / "mine.json", "--format", "hub", "--out", tmp_path / "out")
    assert refused.exit_code == 2 and "my folder, split test" in refused.stderr
    both = croc(tmp_path, "--format", "hub", "--out", tmp_path / "out")
    assert both.exit_code == 2 and "of 2 metrics (mine, other)" in both.stderr


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(InputError, match="organization"):
        Provenance("a/b", " ", "other", 0)
