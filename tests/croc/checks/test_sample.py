"""The embedded sample of CROCsyn: what is in it, and every way by which a reader gets it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import datasets
import pytest
from hub_server import Hub, online
from hub_state import User
from metric_modules import ROOT, said, start

import croc
from croc.checks.installation import install_sample, remove_sample
from croc.checks.names import NO_HUM, SYN_SAMPLE, name_of
from croc.checks.sources import open_checks
from croc.errors import InputError

MOST_BYTES = 6_000_000


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_sample_is_a_finished_build_that_was_audited() -> None:
    from builders.assembly import read_report
    from builders.verify import verify

    assert verify(SYN_SAMPLE) == []
    report = read_report(SYN_SAMPLE)
    assert report.audit is not None and report.audit["passed"] and report.audit["checks"] == report.checks
    assert sum(path.stat().st_size for path in SYN_SAMPLE.rglob("*") if path.is_file()) < MOST_BYTES


def test_the_oracle_sees_in_every_image_its_own_prompt_and_not_the_other() -> None:
    from croc_syn import world

    for row in open_checks(str(SYN_SAMPLE)).read(0, 352):
        sides = (("images", "prompt", "contrast_prompt"), ("contrast_images", "contrast_prompt", "prompt"))
        for side, own, other in sides:
            for image in row[side]:
                scene = world.read_scene(image["bytes"])
                assert world.satisfies(scene, row[own]) and not world.satisfies(scene, row[other])


def test_the_categories_are_even() -> None:
    rows = list(open_checks(str(SYN_SAMPLE)).outlines())
    counts = Counter((row["subset"], row["category"]) for row in rows)
    assert len(rows) == 352 and set(counts.values()) == {32} and len(counts) == 11
    assert {row["images"] for row in rows} == {row["contrast_images"] for row in rows} == {2}
    assert sum("binding" in (row["property"] or "") for row in rows) >= 20


def test_in_a_checkout_the_name_is_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    rows = datasets.load_dataset("croc/syn", split="test")
    assert len(rows) == 352 and rows[0]["images"][0].size == (192, 192)
    assert open_checks("croc/syn").name == open_checks(str(SYN_SAMPLE)).name == "croc/syn"
    assert name_of(ROOT / "croc") == "croc"


_LOADED = """
from datasets import get_dataset_config_names, load_dataset
from croc.cli import main

try:
    load_dataset("croc/syn")
except Exception as problem:
    print(type(problem).__name__)
main(["install", "syn"], standalone_mode=False)
main(["install", "syn"], standalone_mode=False)
every = load_dataset("croc/syn")
assert list(every) == ["test"] and len(every["test"]) == 352, every
assert every["test"][0]["images"][0].size == (192, 192)
some = load_dataset("croc/syn", "negation", split="test")
assert set(some["category"]) == {"negation"} and len(some) == 32
assert len(load_dataset("croc/syn", "mini", split="test")) == 20
assert set(load_dataset("croc/syn", "property-colour", split="test")["property"]) == {"colour"}
stream = load_dataset("croc/syn", split="test", streaming=True)
assert next(iter(stream))["contrast_images"][1].size == (192, 192)
assert [row["check_id"] for row in stream] == every["test"]["check_id"]
stream = load_dataset("croc/syn", "counting", split="test", streaming=True)
assert next(iter(stream))["category"] == "counting"
try:
    load_dataset("croc/syn", "no-such")
except ValueError as problem:
    print("negation" in str(problem))
from croc.checks.sources import open_checks
print(open_checks("croc/syn").revision)
main(["install", "syn", "--remove"], standalone_mode=False)
try:
    load_dataset("croc/syn")
except Exception as problem:
    print(type(problem).__name__)
"""


@pytest.mark.slow
def test_after_croc_install_the_name_loads_in_any_folder_offline(tmp_path: Path) -> None:
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    lines = said(start(tmp_path, _LOADED, **offline)).splitlines()
    revision = open_checks(str(SYN_SAMPLE)).revision
    assert lines[0] == "ConnectionError" and lines[-4:] == [
        "True",
        revision,
        "syn: removed",
        "ConnectionError",
    ]
    assert not list((tmp_path / "home" / "datasets").glob("croc___syn/*"))


_ON_A_HUB = """
import warnings
from datasets import load_dataset
from croc.cli import main
from croc import load_checks

main(["install", "syn"], standalone_mode=False)
print(len(load_dataset("croc/syn", split="test")), len(load_checks("syn")))
"""


@pytest.mark.slow
def test_a_repository_of_that_name_wins_and_one_that_is_absent_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from builders.publish import publish
    from builders.syn import build_exact

    build_exact(tmp_path / "own", checks=24, images=1, size=32, audit_checks=0, progress=False)
    with Hub(tmp_path / "hub") as hub, online(monkeypatch):
        environment = hub.client_environment(tmp_path / "home")
        without = said(start(tmp_path, _ON_A_HUB, **environment)).splitlines()[-1]
        hub.users["hf_writer"] = User("tester", ("croc",))
        publish("syn", tmp_path / "own", "croc/syn", endpoint=hub.endpoint, token="hf_writer")
        published = said(start(tmp_path, _ON_A_HUB, **environment)).splitlines()[-1]
    assert (without, published) == ("352 352", "24 24")


def test_what_is_prepared_of_a_real_dataset_stays_newer_than_the_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    real = tmp_path / "croc___syn" / "all" / "0.0.0" / "a real one"
    real.mkdir(parents=True)
    some = ["all", "exact", "mini", "negation"]  # enough here, and faster than every one
    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda folder: some)
    names = install_sample()
    found = [place for place in tmp_path.glob("croc___syn/*/0.0.0/embedded-*") if place.is_dir()]
    installed = {place.parts[-3]: place for place in found}
    assert names[-1] == "all" and set(names) == set(installed) == set(some)
    times = {name: place.stat().st_mtime for name, place in installed.items()}
    assert max(times, key=lambda name: times[name]) == "all" and times["all"] < real.stat().st_mtime
    remove_sample()
    assert [place.name for place in tmp_path.glob("croc___syn/*/*/*")] == ["a real one"]


def test_without_a_hub_copy_the_sample_is_used_with_a_warning(elsewhere: Path) -> None:
    with pytest.warns(UserWarning, match="the embedded sample of CROCsyn is used"):
        checks = croc.load_checks("syn", "negation")
    assert len(checks) == 32 and checks[0]["images"][0].size == (192, 192)
    with pytest.warns(UserWarning, match="embedded sample"):
        opened = open_checks("croc/syn")
    assert (opened.name, len(opened.texts)) == ("croc/syn", 352)
    assert opened.revision == open_checks(str(SYN_SAMPLE)).revision


def test_the_sample_is_no_revision_and_has_no_other_configuration(elsewhere: Path) -> None:
    with pytest.raises(InputError):
        open_checks("croc/syn", revision="v1.0.0")
    with pytest.warns(UserWarning), pytest.raises(InputError, match="no-such"):
        croc.load_checks("syn", "no-such")
    with pytest.warns(UserWarning), pytest.raises(InputError, match="no split 'train'"):
        croc.load_checks("syn", split="train")


@pytest.mark.parametrize("load", [croc.load_checks, open_checks])
def test_there_are_no_invented_human_labels(load: object, elsewhere: Path) -> None:
    assert callable(load)
    with pytest.raises(InputError, match=r"nllg/croc_hum.*'croc hum'.*croc build nlvr") as problem:
        load("croc/hum")
    assert NO_HUM in str(problem.value)


def test_checks_are_loaded_from_folders_and_other_names_are_refused(elsewhere: Path) -> None:
    assert len(croc.load_checks(str(SYN_SAMPLE), "mini")) == 20
    with pytest.raises(InputError, match="neither an existing folder nor a Hub id"):
        croc.load_checks("no such folder")
