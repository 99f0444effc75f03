"""The list of models: every entry names a real class and makes a scorer without loading anything."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
import yaml

import croc.scorers.registry as registry
from croc.scorers import Judge, Scorer
from croc.scorers.needs import memory_of

ENTRIES = yaml.safe_load((Path(registry.__file__).parent / "models.yaml").read_text("utf-8"))
NAMES = [entry["name"] for entry in ENTRIES]


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_makes_a_scorer_without_loading_its_model(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scorer = registry.load_any(name)
    assert isinstance(scorer, Judge if name.startswith("pairwise-") else Scorer)
    assert scorer.name == name
    checkpoint = getattr(scorer, "checkpoint", None)
    if checkpoint is not None:
        assert not {"model", "processor"} & set(vars(checkpoint)), "loading is for the first score"
        assert checkpoint.pinned == (registry.info(name).revision or "unpinned")


@pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)
def test_every_entry_says_where_it_comes_from(entry):
    assert {"name", "family", "licence", "source", "summary", "extra"} <= set(entry)
    assert re.search(r"arXiv \d{4}\.\d{5}", entry["source"])


def test_one_model_has_one_revision():
    found: dict[str, set[str]] = {}
    for entry in ENTRIES:
        options = entry.get("options", {})
        for model, revision in (
            (entry.get("model"), entry.get("revision")),
            (options.get("processor"), options.get("processor_revision")),
        ):
            if model:
                found.setdefault(model, set()).add(revision)
    assert {model: pins for model, pins in found.items() if len(pins) > 1} == {}


def test_the_table_in_the_guide_lists_every_model():
    guide = (Path(registry.__file__).parents[2] / "docs" / "scorers.md").read_text("utf-8")
    rows = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in guide.splitlines()
        if line.startswith("| `")
    ]
    listed = {row[0]: row for row in rows}
    for entry in ENTRIES:
        name, model, _, licence, source = listed[entry["name"]]
        assert (model, licence) == (entry.get("model") or entry["options"]["model"], entry["licence"]), name
        assert source == entry["source"], name


def test_the_page_that_helps_to_choose_has_the_memory_and_licence_of_the_registry():
    guide = (Path(registry.__file__).parents[2] / "docs" / "choose_a_metric.md").read_text("utf-8")
    rows = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in guide.splitlines()
        if line.startswith("| `") and line.count("|") == 4
    ]
    rows = [row for row in rows if row[0] in NAMES]
    assert len(rows) > 30
    for name, memory, licence in rows:
        entry = registry.info(name)
        expected = "none" if entry.family.endswith("ApiVqaScore") else memory_of(entry)
        assert (memory, licence) == (expected, entry.licence), name
    # What the page recommends can be run by that name.
    table = guide.split("## Hardware")[0]
    for name in re.findall(r"`((?:vqascore|clipscore|siglip|hps)[a-z0-9.-]*)`", table):
        assert name in NAMES


def test_what_people_prefer_is_a_task_of_its_own():
    preferences = {name for name in NAMES if registry.info(name).task == "preference"}
    assert preferences == {"pickscore", "hpsv2.0", "hpsv2.1", "imagereward"}
