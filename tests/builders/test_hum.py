"""The human benchmark from staged checks, and its script; the release is in test_authors_release.py."""

from __future__ import annotations

import subprocess
import sys

import pytest
from datasets import load_dataset
from pictures import png
from release_files import PICTURES
from staged_checks import row, stage

from builders import hum
from builders.hum import build_staged
from builders.verify import verify
from croc.errors import InputError


def human(number: int, **changes):
    vote = {"annotator": "a", "item": "0", "value": "yes", "reason": None, "seconds": 2.0}
    return row(number, subset=None, image_model=None, votes=[vote], agreement=0.75, **changes)


def test_votes_and_agreement_arrive_and_the_card_says_how_far_people_agreed(tmp_path):
    rows = [human(0), human(1, contrast_images=[]), human(2, contrast_prompt=None)]
    report = build_staged(stage(tmp_path / "staged", rows).folder, tmp_path / "out", progress=False)
    found = load_dataset(str(report.out), split="test")
    assert report.checks == len(found) == 3
    assert found[0]["votes"][0]["value"] == "yes"
    assert "mean agreement with the label is 0.750" in (report.out / "README.md").read_text()
    assert verify(report.out) == []


def test_a_check_without_any_image_or_prompt_is_dropped_and_counted(tmp_path):
    nothing = human(1, images=[], contrast_images=[{"bytes": b"", "path": None}])
    rows = [human(0), nothing, human(2, prompt="")]
    report = build_staged(stage(tmp_path / "staged", rows).folder, tmp_path / "out", progress=False)
    assert report.checks == 1
    assert report.dropped == {"no image left on a side": 1, "no prompt, or no contrast prompt": 1}


def test_staged_checks_that_are_half_there_are_refused(tmp_path):
    staged = stage(tmp_path / "staged", [human(number) for number in range(8)])
    staged.files()[0].unlink()
    with pytest.raises(InputError, match=r"0000\.parquet: not a readable staged file"):
        build_staged(staged.folder, tmp_path / "out", progress=False)
    assert not (tmp_path / "out" / "README.md").exists()


def test_the_script_makes_checks_of_a_release(folder, tmp_path):
    command = [sys.executable, hum.__file__, "--out", str(tmp_path / "out"), "--from-release"]
    done = subprocess.run(
        [*command, str(folder), "--license", "cc-by-4.0"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"4 checks with {len(PICTURES) - 1} images" in done.stdout
    assert set(load_dataset(str(tmp_path / "out"), split="test")["license"]) == {"cc-by-4.0"}
    refused = subprocess.run([*command, str(tmp_path / "no")], capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and refused.stderr.startswith("croc: ")
    assert png(0) == PICTURES["a/0.png"]
