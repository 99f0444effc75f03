"""What GitHub, pre-commit and make read of this repository fits together: workflows, issue forms, hooks."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import croc

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = [file for file in sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")) if file.name != "config.yml"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PREFIX = "Programming Language :: Python :: "
PYTHONS = [line.removeprefix(PREFIX) for line in PROJECT["project"]["classifiers"] if line.startswith(PREFIX)]
PLANTED = "bbfcc353b927164f2d043721806eba658153977b59aa9095e0ae32d8a6c6a5fa"
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def read(file: Path) -> dict[str, Any]:
    """A YAML file whose keys are text; YAML 1.1 reads a bare ``on`` as a boolean, GitHub does not."""
    content = yaml.safe_load(file.read_text("utf-8"))
    return {"on" if key is True else key: value for key, value in content.items()}


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in WORKFLOWS:
        for name, job in read(file)["jobs"].items():
            yield f"{file.name}:{name}", job


def runs(job: dict[str, Any], key: str, template: str) -> set[str]:
    """The values that a template such as ``${{ matrix.python }}`` takes in a job, or the text itself."""
    if not (found := re.search(r"\$\{\{ matrix\.(\w+) }}", template)):
        return {template}
    assert found[1] == key
    return {template.replace(found[0], row[key]) for row in job["strategy"]["matrix"]["include"]}


def test_jobs_and_hooks_run_targets_of_the_makefile() -> None:
    commands = {
        (place, command)
        for place, job in jobs()
        for step in job.get("steps", [])
        if "run" in step
        for command in runs(job, "make", step["run"])
        if command.startswith("make ")
    }
    for repository in read(ROOT / ".pre-commit-config.yaml")["repos"]:
        assert repository["repo"] == "local"
        commands |= {(hook["id"], hook["entry"]) for hook in repository["hooks"]}
    assert {"make test", "make lint types", "make wheel", "make test-slow"} <= {text for _, text in commands}
    for place, command in commands:
        first, *targets = command.split()
        assert first == "make", place
        assert targets, place
        assert set(targets) <= TARGETS, place


def test_the_tested_pythons_are_those_that_the_package_promises() -> None:
    lowest = min(PYTHONS, key=lambda version: [int(part) for part in version.split(".")])
    assert PROJECT["project"]["requires-python"] == f">={lowest}"
    assert PROJECT["tool"]["mypy"]["python_version"] == lowest
    assert PROJECT["tool"]["ruff"]["target-version"] == "py" + lowest.replace(".", "")
    rows = read(GITHUB / "workflows" / "ci.yml")["jobs"]["check"]["strategy"]["matrix"]["include"]
    assert [row["python"] for row in rows if row["make"] == "test"] == PYTHONS
    assert [row["python"] for row in rows if row["make"] == "test-lowest"] == [lowest]
    for place, job in jobs():
        for step in job.get("steps", []):
            if version := step.get("with", {}).get("python-version"):
                assert runs(job, "python", version) <= set(PYTHONS), place


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_actions_are_pinned_by_commit_with_the_version_beside_it(file: Path) -> None:
    used = re.findall(r"uses: (\S+)(.*)", file.read_text("utf-8"))
    assert used
    for action, comment in used:
        if not action.startswith("./"):
            assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action)
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment)


def test_jobs_end_and_have_few_permissions() -> None:
    for file in WORKFLOWS:
        workflow = read(file)
        assert workflow["permissions"] in ({}, {"contents": "read"})
        assert workflow["concurrency"]["group"]
        assert "secrets." not in file.read_text("utf-8")
    writers = {}
    for place, job in jobs():
        assert "uses" in job or job["timeout-minutes"], place
        given = {name for name, level in job.get("permissions", {}).items() if level == "write"}
        writers |= {place: given} if given else {}
    assert writers == {"release.yml:publish": {"id-token"}}


def test_a_release_is_checked_and_built_by_jobs_that_cannot_publish() -> None:
    release = read(GITHUB / "workflows" / "release.yml")
    assert release["on"] == {"push": {"tags": ["v*"]}}
    assert release["jobs"]["publish"]["needs"] == "build"
    assert release["jobs"]["build"]["needs"] == "check"
    assert not [step for step in release["jobs"]["publish"]["steps"] if "run" in step]


def test_every_place_says_the_same_version() -> None:
    assert read(ROOT / "CITATION.cff")["version"] == croc.__version__
    assert re.search(rf"^## {re.escape(croc.__version__)}", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)


FIELDS = {
    "input": "label",
    "textarea": "label",
    "dropdown": "label",
    "checkboxes": "label",
    "markdown": "value",
}


def form_problems(form: dict[str, Any]) -> list[str]:
    """What GitHub refuses about an issue form (its documented syntax for forms and their body)."""
    found = [f"{key} is missing" for key in ("name", "description", "body") if not form.get(key)]
    found += [
        f"unknown key {key}" for key in form.keys() - {"name", "description", "body", "labels", "title"}
    ]
    body = form.get("body") or []
    if not [field for field in body if field.get("type") != "markdown"]:
        found.append("the body asks for nothing")
    for field in body:
        kind, attributes = field.get("type"), field.get("attributes", {})
        if kind not in FIELDS:
            found.append(f"unknown type {kind}")
            continue
        if not attributes.get(FIELDS[kind]):
            found.append(f"{field.get('id', kind)} has no {FIELDS[kind]}")
        if not re.fullmatch(r"[\w-]+", field.get("id", "none")):
            found.append(f"{field['id']} is no id")
        if not isinstance(field.get("validations", {}).get("required", False), bool):
            found.append(f"{field['id']}: required is true or false")
        if kind in ("dropdown", "checkboxes"):
            options = attributes.get("options") or []
            texts = [option["label"] if kind == "checkboxes" else option for option in options]
            if not texts or len(set(texts)) < len(texts) or not all(isinstance(text, str) for text in texts):
                found.append(f"{field.get('id', kind)} needs options, each once, as text")
    for key in ("id", "label"):
        values = Counter(field.get(key) or field.get("attributes", {}).get(key) for field in body)
        found += [f"{key} {value} stands twice" for value, times in values.items() if value and times > 1]
    return found


@pytest.mark.parametrize("file", FORMS, ids=lambda file: file.name)
def test_issue_forms_are_what_github_accepts(file: Path) -> None:
    assert form_problems(read(file)) == []


QUESTION = {"type": "input", "id": "a", "attributes": {"label": "A"}}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": ""}, "name is missing"),
        ({"colour": "red"}, "unknown key colour"),
        ({"body": [{"type": "markdown", "attributes": {"value": "Hello"}}]}, "the body asks for nothing"),
        ({"body": [QUESTION, {"type": "text"}]}, "unknown type text"),
        ({"body": [{**QUESTION, "attributes": {}}]}, "a has no label"),
        ({"body": [{**QUESTION, "id": "a b"}]}, "a b is no id"),
        ({"body": [QUESTION, QUESTION]}, "id a stands twice"),
        ({"body": [{**QUESTION, "validations": {"required": "yes"}}]}, "a: required is true or false"),
        (
            {"body": [{**QUESTION, "type": "dropdown", "attributes": {"label": "A", "options": [True]}}]},
            "a needs options, each once, as text",
        ),
    ],
)
def test_a_form_that_github_refuses_is_a_problem(change: dict[str, Any], problem: str) -> None:
    form = {"name": "A form", "description": "For a test.", "body": [QUESTION]}
    assert form_problems(form) == []
    assert problem in form_problems({**form, **change})


def test_the_chooser_of_forms_has_links_that_say_what_for() -> None:
    for link in read(GITHUB / "ISSUE_TEMPLATE" / "config.yml")["contact_links"]:
        assert link.keys() == {"name", "url", "about"}
        assert link["url"].startswith("https://")


def test_make_targets_that_are_no_files_are_phony() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)
    assert set(phony.split()) == TARGETS


def test_the_planted_metrics_are_those_that_were_written_before_the_audit() -> None:
    """What tells flawed metrics from sound ones must not be fitted to the list that it is measured on."""
    content = (ROOT / "benchmarks" / "planted_metrics.yaml").read_bytes()
    assert hashlib.sha256(content).hexdigest() == PLANTED
    entries = yaml.safe_load(content)["metrics"]
    assert Counter(entry["sound"] for entry in entries) == {True: 20, False: 20}
