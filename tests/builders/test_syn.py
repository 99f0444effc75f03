"""From specs to a folder that ``load_dataset`` reads, with the real exact world at a small size."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from datasets import load_dataset
from datasets.exceptions import DatasetNotFoundError

from builders import shards, syn
from builders.syn import build_exact
from croc.checks.schema import CATEGORIES, SUBSETS
from croc.errors import CrocError, InputError
from croc.jobs.executors import local_executor
from croc_syn import presets, world
from croc_syn.painting import exact as painter
from croc_syn.painting.exact import ExactSettings, plan_check
from croc_syn.painting.images import make_images
from croc_syn.painting.table import exact_features
from croc_syn.taxonomy.plan import plan, select
from croc_syn.taxonomy.taxonomy import load
from croc_syn.writing import exact as writer
from croc_syn.writing.prompts import make_prompts
from croc_syn.writing.table import columns_of

SMALL = {"checks": 24, "images": 2, "size": 64, "seed": 5, "audit_checks": 0, "progress": False}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "syn"
    return build_exact(out, **SMALL)


@pytest.fixture(scope="module")
def rows(built):
    return load_dataset(str(built.out), split="test")


@pytest.fixture(scope="module")
def one_row():
    """A row of the prompts' stage, for the colour of a thing."""
    taxonomy = load()
    spec = next(spec for spec in plan(taxonomy, exact_only=True) if spec.property == "colour")
    return writer.exact_row(columns_of(spec), writer.exact_keys(spec, taxonomy), 0, seed=0)


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_the_folder_loads_as_typed_with_the_columns_of_a_check(built, rows):
    assert rows.features == exact_features()
    assert len(rows) == built.checks == built.splits["test"]
    assert built.images == sum(len(row["images"]) + len(row["contrast_images"]) for row in rows)
    assert built.checks + sum(built.dropped.values()) == SMALL["checks"]
    assert rows[0]["images"][0].size == (64, 64)


def test_as_many_checks_come_out_as_were_asked_for_though_some_specs_cannot_be_drawn(tmp_path, monkeypatch):
    real = world.make_pair

    def picky(contrast, **options):
        if contrast == "colour" or options["entity"] == "dog":
            raise InputError("not this one")
        return real(contrast, **options)

    monkeypatch.setattr(world, "make_pair", picky)
    options = {**SMALL, "checks": 60, "images": 1, "size": 16}
    report = build_exact(tmp_path / "syn", **options, allocation="subsets")
    assert report.checks == 60
    assert report.passed_over > 0
    assert not report.dropped
    rows = load_dataset(str(report.out), split="test")
    assert "colour" not in rows["property"]
    assert "dog" not in rows["entity"]


def test_each_category_has_the_same_number_of_checks_and_the_card_shows_them(built, rows):
    checks = Counter(row["category"] or row["subset"] for row in rows)
    assert len(checks) == len(CATEGORIES) + len(SUBSETS)
    assert max(checks.values()) - min(checks.values()) <= 1 + sum(built.dropped.values())
    in_category = Counter(row["category"] or "none" for row in rows)
    concepts = {(row["category"] or "none", row["concept_id"]) for row in rows}
    shown = ", ".join(
        f"{name} {in_category[name]} ({sum(category == name for category, _ in concepts)})"
        for name in [*sorted(CATEGORIES), "none"]
    )
    line = f"checks (concepts) by category: {shown}"
    assert line in built.lines()
    assert f"- {line}" in (built.out / "README.md").read_text("utf-8").splitlines()


def test_the_allocation_of_the_paper_gives_each_subset_the_same_number_of_checks(tmp_path):
    report = build_exact(tmp_path / "syn", **{**SMALL, "images": 1, "size": 32}, allocation="subsets")
    rows = load_dataset(str(report.out), split="test")
    assert Counter(rows["subset"]) == dict.fromkeys(SUBSETS, 8)
    with pytest.raises(InputError, match=r"specs\.allocation"):
        build_exact(tmp_path / "other", **SMALL, allocation="properties")


def test_a_build_is_what_the_commands_for_prompts_images_and_shards_make(built, tmp_path):
    changes = {"specs.checks": 24, "seed": 5, "images.count": 2, "images.size": 64, "images.first_seed": 5}
    preset = presets.load("exact", changes)
    make_prompts(preset, tmp_path / "prompts", progress=False)
    make_images(tmp_path / "prompts", tmp_path / "images", preset.images, progress=False)
    staged = syn.build_staged(tmp_path / "images", tmp_path / "syn", progress=False)
    data = [
        {name: sha for name, sha in digests(out).items() if "parquet" in name}
        for out in (built.out, staged.out)
    ]
    assert data[0] == data[1]
    assert staged.checks == built.checks


def test_a_view_holds_what_its_name_says_and_the_views_add_up(built, rows):
    streamed = load_dataset(str(built.out), "property_variation", split="test", streaming=True)
    assert {row["subset"] for row in streamed} == {"property_variation"}
    categories = {category or "other" for category in rows["category"]}
    seen = []
    for name in categories:
        view = load_dataset(str(built.out), name, split="test")
        assert {category or "other" for category in view["category"]} == {name}
        seen += view["check_id"]
    assert sorted(seen) == sorted(rows["check_id"])


def test_rows_are_sorted_so_that_filters_prune(rows):
    keys = [
        (row["category"] or "", row["property"] or "")
        for row in rows.select_columns(["category", "property"])
    ]
    assert keys == sorted(keys)


def test_a_filter_reads_one_property_alone(built, rows):
    wanted = next(name for name in rows["property"] if name)
    filtered = load_dataset(
        str(built.out), split="test", streaming=True, filters=[("property", "==", wanted)]
    )
    assert [row["check_id"] for row in filtered] == [
        row["check_id"] for row in rows.select_columns(["check_id", "property"]) if row["property"] == wanted
    ]


def test_the_oracle_sees_in_every_stored_image_its_own_prompt_and_not_the_other(rows):
    for row in _raw(rows):
        for side, own, other in (
            ("images", "prompt", "contrast_prompt"),
            ("contrast_images", "contrast_prompt", "prompt"),
        ):
            for image in row[side]:
                scene = world.read_scene(image["bytes"])
                assert world.satisfies(scene, row[own])
                assert not world.satisfies(scene, row[other])


def _raw(rows):
    return rows.with_format("arrow")[:].to_pylist()


def test_an_image_can_be_drawn_again_from_its_row(rows):
    row = _raw(rows)[0]
    for prompt, pictures, seeds in (
        ("prompt", "images", "seeds"),
        ("contrast_prompt", "contrast_images", "contrast_seeds"),
    ):
        for image, seed in zip(row[pictures], row[seeds], strict=True):
            assert world.draw(row[prompt], seed, size=64).png == image["bytes"]


def test_no_two_images_of_a_check_are_the_same(rows):
    for row in _raw(rows):
        content = [image["bytes"] for side in ("images", "contrast_images") for image in row[side]]
        assert len(set(content)) == len(content)


def test_two_processes_write_the_same_bytes_as_one(built, tmp_path):
    build_exact(tmp_path / "again", **SMALL, executor=local_executor(2))
    assert digests(tmp_path / "again") == digests(built.out)


def test_an_interrupted_build_does_not_load_and_goes_on_to_the_same_bytes(built, tmp_path, monkeypatch):
    out = tmp_path / "syn"
    real, calls = world.rasterise, []

    def interrupted(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 60:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(world, "rasterise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_exact(out, **SMALL)
    with pytest.raises((FileNotFoundError, DatasetNotFoundError, ValueError)):
        load_dataset(str(out))
    build_exact(out, **SMALL)
    assert digests(out) == digests(built.out)
    assert len(calls) < 2 * SMALL["checks"] * 2 * SMALL["images"]


def test_a_build_killed_while_it_becomes_visible_ends_up_whole(built, tmp_path, monkeypatch):
    out = tmp_path / "syn"
    real = Path.rename

    def killed(self, target):
        if Path(target).name == "data" and "ready" not in Path(target).parts:
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        build_exact(out, **SMALL)
    monkeypatch.undo()
    assert (out / "README.md").is_file()
    with pytest.raises((FileNotFoundError, DatasetNotFoundError, ValueError)):
        load_dataset(str(out))
    build_exact(out, **SMALL)
    assert digests(out) == digests(built.out)


def test_a_finished_folder_is_read_and_another_build_in_it_refused(built):
    before = digests(built.out)
    again = build_exact(built.out, **SMALL)
    assert again == replace(built, seconds=0.0)
    with pytest.raises(
        InputError, match=r"contains another build \(checks: 24 in the folder, 25 requested\)"
    ):
        build_exact(built.out, **{**SMALL, "checks": 25})
    assert digests(built.out) == before


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"not empty \(thesis\.txt"):
        build_exact(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_manifest_has_the_checksum_of_every_file(built):
    manifest = json.loads((built.out / "manifest.json").read_text())
    found = digests(built.out)
    del found["manifest.json"]
    assert {name: entry["sha256"] for name, entry in manifest["files"].items()} == found


def test_with_noise_the_truth_stands_in_a_column(tmp_path):
    report = build_exact(tmp_path / "syn", **{**SMALL, "noise": 0.5, "checks": 12})
    told = []
    for row in _raw(load_dataset(str(report.out), split="test")):
        for side, truth, own, other in (
            ("images", "images_valid", "prompt", "contrast_prompt"),
            ("contrast_images", "contrast_images_valid", "contrast_prompt", "prompt"),
        ):
            for image, valid in zip(row[side], row[truth], strict=True):
                scene = world.read_scene(image["bytes"])
                assert world.satisfies(scene, row[own]) == valid
                assert world.satisfies(scene, row[other]) != valid
                told.append(valid)
        assert row["image_model"].endswith("+noise=0.5")
    assert told.count(False) == report.noisy
    # 48 fair coins: outside 10…38 with a probability of 5e-5.
    assert 10 <= told.count(False) <= 38


def test_noise_changes_the_noisy_images_and_no_others(one_row):
    clean = plan_check(one_row, ExactSettings(images=8, size=32)).rasterise()
    noisy = plan_check(one_row, ExactSettings(images=8, size=32, noise=0.4)).rasterise()
    assert not all(noisy["images_valid"])
    for index, valid in enumerate(noisy["images_valid"]):
        assert (noisy["images"][index] == clean["images"][index]) == valid
    assert clean["check_id"] != noisy["check_id"]


def test_a_pair_that_one_image_could_satisfy_is_never_admitted(one_row, monkeypatch):
    taxonomy = load()
    spec = next(spec for spec in plan(taxonomy, exact_only=True) if spec.property == "colour")
    keys = writer.exact_keys(spec, taxonomy)
    refused = []

    def mostly_not(first, second):
        refused.append((first, second))
        return len(refused) > 3

    monkeypatch.setattr(world, "exclusive", mostly_not)
    row = writer.exact_row(columns_of(spec), keys, 0, seed=0)
    assert row["error"] is None
    assert row["tries"] == 4
    assert (world.parse(row["prompt"]), world.parse(row["contrast_prompt"])) == refused[3]
    monkeypatch.setattr(world, "exclusive", lambda first, second: False)
    row = writer.exact_row(columns_of(spec), keys, 0, seed=0)
    assert row["prompt"] is None
    assert row["error"] == "one image could satisfy both prompts"


def test_an_image_that_the_oracle_refuses_is_drawn_again_with_another_seed(one_row, monkeypatch):
    real, asked = world.satisfies, []

    def distracted(scene, prompt):
        asked.append(prompt)
        # What a distractor would do to the first image: the other prompt is true of it as well.
        return True if len(asked) == 2 else real(scene, prompt)

    first = painter.sample_scene(one_row["prompt"], one_row["contrast_prompt"], ("here",))
    monkeypatch.setattr(world, "satisfies", distracted)
    _, seed, vain = painter.sample_scene(one_row["prompt"], one_row["contrast_prompt"], ("here",))
    assert vain == first[2] + 1
    assert seed != first[1]
    monkeypatch.setattr(world, "satisfies", lambda scene, prompt: True)
    with pytest.raises(CrocError, match="shows its own prompt and not the other"):
        painter.sample_scene(one_row["prompt"], one_row["contrast_prompt"], ("here",))


def test_parts_follow_the_order_of_the_files_and_hold_one_category_and_subset():
    taxonomy = load()
    chosen = select(plan(taxonomy, exact_only=True), 200, 0)
    parts = writer.plan_parts(chosen, taxonomy, part_size=7)
    seen = []
    for part in parts:
        columns = [part.payload["specs"][index]["columns"] for index, _ in part.payload["checks"]]
        assert len({(row["category"], row["subset"]) for row in columns}) == 1
        assert len(columns) <= 7
        seen += [
            (row["concept_id"], turn) for row, (_, turn) in zip(columns, part.payload["checks"], strict=True)
        ]
    assert sorted(seen) == sorted((spec.concept_id, generation) for spec, generation in chosen)
    assert parts == writer.plan_parts(list(reversed(chosen)), taxonomy, part_size=7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checks": 0}, r"specs\.checks: .*greater than or equal to 1"),
        ({"images": 0}, r"images\.count: .*greater than or equal to 1"),
        ({"size": 0}, r"images\.size: .*greater than or equal to 16"),
        ({"noise": 1.5}, r"images\.noise: .*less than or equal to 1"),
        ({"subsets": ["colours"]}, r"specs\.subsets\.0: 'colours' is not one of"),
        ({"splits": {"test": 0.5}}, "add up to 1"),
        ({"splits": {"dev": 1.0}}, "unknown dev"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        build_exact(tmp_path / "syn", **{**SMALL, **options})
    assert not (tmp_path / "syn").exists()


def test_the_script_runs_by_path_from_anywhere(tmp_path):
    script = Path(syn.__file__)
    command = [sys.executable, str(script), "--out", "syn", "--checks", "2", "--images", "1", "--size", "32"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "checks with" in done.stdout
    assert (tmp_path / "syn" / "manifest.json").is_file()
    again = subprocess.run(
        [*command, "--seed", "9"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert again.returncode == 2
    assert again.stderr.startswith("croc: syn contains another build")


def test_a_build_stopped_while_it_removes_its_work_folder_removes_the_rest_when_called_again(
    tmp_path, monkeypatch
):
    """The order in which a folder is removed is the file system's: ``ready`` may go first, or last."""

    def stop_after_the_first(folder, ignore_errors=False):
        if folder.name == ".build":
            shutil.rmtree(first)
            raise KeyboardInterrupt

    few = {**SMALL, "checks": 4}
    build_exact(tmp_path / "calm", **few)
    for name in ("ready", "prompts"):
        out = tmp_path / name
        first = out / ".build" / name
        monkeypatch.setattr(shards, "shutil", SimpleNamespace(rmtree=stop_after_the_first))
        with pytest.raises(KeyboardInterrupt):
            build_exact(out, **few)
        monkeypatch.undo()
        assert (out / "manifest.json").is_file()
        assert (out / ".build").is_dir()
        build_exact(out, **few)
        assert digests(out) == digests(tmp_path / "calm")


@pytest.mark.slow
def test_a_build_killed_at_twenty_random_moments_ends_up_as_if_nothing_had_happened(tmp_path):
    """A killed build resumes; when one is complete in spite of it, the next begins in a new folder."""
    options = ["--checks", "8", "--images", "2", "--size", "64"]

    def start(out):
        command = [sys.executable, syn.__file__, "--out", str(out), *options]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    assert start(tmp_path / "calm").wait(timeout=300) == 0
    began = time.monotonic()
    assert start(tmp_path / "warm").wait(timeout=300) == 0
    needed = time.monotonic() - began
    calm = digests(tmp_path / "calm")
    moments = random.Random(7)
    out, kills = tmp_path / "build 0", 0
    for attempt in range(100):
        process = start(out)
        time.sleep(moments.uniform(0.2, 0.9) * needed)
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        if (out / "manifest.json").is_file():
            assert start(out).wait(timeout=300) == 0
            assert digests(out) == calm
            out = tmp_path / f"build {attempt + 1}"
        elif out.is_dir():
            with pytest.raises((FileNotFoundError, DatasetNotFoundError, ValueError)):
                load_dataset(str(out))
        if kills == 20:
            break
    assert kills == 20
    assert start(out).wait(timeout=300) == 0
    assert digests(out) == calm
