"""Changes that keep the truth: the oracle's verdicts on every variant, and metrics with planted faults."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from croc.checks.decoding import decode
from croc.checks.names import SYN_SAMPLE
from croc.checks.sources import open_checks
from croc.cli import main
from croc.errors import InputError
from croc.invariance.variant_ids import NONE, split_variant
from croc_syn.invariance import SCORES, VARIANTS, InvarianceSettings, make_variants, run_invariance
from croc_syn.nuisances import nuisances, variants
from croc_syn.world import parse, read_scene, satisfies
from croc_syn.world.language.frames import frames_of
from croc_syn.world.language.wording import canonical

CHECKS = 14


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    checks = open_checks(str(SYN_SAMPLE), max_checks=CHECKS)
    return [dict(row) for row in checks.read(0, CHECKS)]


@pytest.fixture(scope="module")
def made(rows: list[dict[str, Any]]) -> dict[str, list[tuple[dict[str, Any], dict[str, Any]]]]:
    """By change, checks and their variants."""
    found = defaultdict(list)
    for row in rows:
        for variant in variants(row, list(nuisances()), 0):
            found[split_variant(variant["check_id"])[1]].append((row, variant))
    return found


def images(row: dict[str, Any]) -> list[bytes]:
    return [row[name][0]["bytes"] for name in ("images", "contrast_images")]


def test_every_change_is_possible_somewhere_and_changes_both_sides(made: Any, rows: Any) -> None:
    assert set(made) == {NONE, *nuisances()}
    assert len(made[NONE]) == CHECKS
    for name, change in nuisances().items():
        for row, variant in made[name]:
            prompts = [row[key] != variant[key] for key in ("prompt", "contrast_prompt")]
            pictures = [a != b for a, b in zip(images(row), images(variant), strict=True)]
            assert prompts == [change.of in ("letters", "words")] * 2
            assert pictures == [change.of in ("file", "drawing")] * 2


def test_of_every_variant_each_image_shows_its_own_prompt_alone(made: Any) -> None:
    for pairs in made.values():
        for _, variant in pairs:
            meanings = [parse(variant["prompt"]), parse(variant["contrast_prompt"])]
            for side, data in enumerate(images(variant)):
                scene = read_scene(data)
                truth = [satisfies(scene, meaning) for meaning in meanings]
                assert truth == [side == 0, side == 1], variant["check_id"]


def test_words_keep_their_meaning_and_their_frame_or_not(made: Any) -> None:
    for name in ("synonyms", "sentence", "order"):
        for row, variant in made[name]:
            assert canonical(parse(variant["prompt"])) == canonical(parse(row["prompt"]))
            if name != "order":
                alike = frames_of(variant["prompt"]) == frames_of(row["prompt"])
                assert alike is (name == "synonyms")


def test_files_and_drawings_are_what_they_say(made: Any) -> None:
    sizes = {name: decode(images(made[name][0][1])[0]).size for name in (NONE, "half size", "margin", "jpeg")}
    width, height = sizes[NONE]
    assert sizes["half size"] == (width // 2, height // 2)
    assert sizes["margin"] == (round(1.2 * width), round(1.2 * height)) and sizes["jpeg"] == (width, height)
    (row, variant) = made["distractor"][0]
    before, after = read_scene(images(row)[0]), read_scene(images(variant)[0])
    assert {thing.kind for thing in after.things} - {thing.kind for thing in before.things}
    assert all(read_scene(image).style == "sketch" for _, one in made["sketch"] for image in images(one))


def test_the_same_seed_makes_the_same_bytes(rows: Any) -> None:
    names = ["noise", "redrawn", "sentence"]
    assert list(variants(rows[0], names, 1)) == list(variants(rows[0], names, 1))
    assert list(variants(rows[0], names, 1)) != list(variants(rows[0], names, 2))


def test_other_images_and_prompts_get_the_changes_that_are_possible(rows: Any) -> None:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), "green").save(out, format="JPEG")
    row = {
        **rows[0],
        "prompt": "un chien rouge",
        "contrast_prompt": "un chat rouge",
        "images": [{"bytes": out.getvalue(), "path": None}],
        "contrast_images": [{"bytes": out.getvalue(), "path": None}],
    }
    found = {split_variant(one["check_id"])[1] for one in variants(row, list(nuisances()), 0)}
    of = {name for name, change in nuisances().items() if change.of in ("letters", "file")}
    assert found == {NONE, *of}


class Planted:
    """Reads the scenes of images by their pixels, and errs in one way.

    Args:
        folder: of the variants.
        fault: "" for none, or what changes the score.
    """

    def __init__(self, folder: Path, fault: str = "") -> None:
        self.name, self.fault = f"planted{fault.replace(' ', '')}", fault
        self.scenes = {
            _pixels(decode(image["bytes"])): read_scene(image["bytes"])
            for file in folder.rglob("*.parquet")
            for row in pq.read_table(file, columns=["images", "contrast_images"]).to_pylist()
            for image in (*row["images"], *row["contrast_images"])
        }

    def score(self, images: Any, prompts: Any) -> Any:
        return np.array([self._one(image, prompt) for image, prompt in zip(images, prompts, strict=True)])

    def _one(self, image: Any, prompt: str) -> float:
        scene = self.scenes[_pixels(image)]
        true = satisfies(scene, parse(prompt))
        if self.fault == "capitals" and prompt.isupper():
            return 0.5  # reads nothing
        if self.fault == "sketch" and scene.style == "sketch":
            return float(not true)
        return float(true)

    def fields(self) -> dict[str, str]:
        return {"fault": self.fault}


def _pixels(image: Any) -> bytes:
    return image.size[0].to_bytes(4, "big") + image.tobytes()


def test_the_oracle_changes_no_verdict_and_planted_faults_are_found(tmp_path: Path) -> None:
    settings = InvarianceSettings(CHECKS)
    make_variants(str(SYN_SAMPLE), tmp_path / VARIANTS, settings, progress=False)
    scorers = [Planted(tmp_path / VARIANTS, fault) for fault in ("", "capitals", "sketch")]
    report = run_invariance(scorers, tmp_path, settings)
    found = {
        (metric.metric, score.change): score.flips.value
        for metric in report.metrics
        for score in metric.changes
    }
    assert report.metrics[0].metric == "planted" and report.metrics[0].accuracy == 1.0
    expected = {("plantedcapitals", "capitals"): 0.5, ("plantedsketch", "sketch"): 1.0}
    assert found == {key: expected.get(key, 0.0) for key in found}


def test_the_command_prints_writes_and_resumes(tmp_path: Path) -> None:
    words = ["invariance", "colour-words", "random", "--max-checks", "4", "--change", "capitals"]
    words += ["--change", "half size", "--out", str(tmp_path / "out"), "--json", str(tmp_path / "o.json")]
    files = ["--plot", str(tmp_path / "o.png"), "--html", str(tmp_path / "o.html")]
    done = CliRunner().invoke(main, [*words, *files], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "<h2>colour-words</h2>" in (tmp_path / "o.html").read_text()
    assert (tmp_path / "out" / "invariance.json").read_bytes() == (tmp_path / "o.json").read_bytes()
    assert "changed verdicts" in done.output and "half size" in done.output
    stored = json.loads((tmp_path / "o.json").read_text())
    assert {metric["metric"] for metric in stored["metrics"]} == {"colour-words", "random"}
    assert (tmp_path / "o.png").read_bytes().startswith(b"\x89PNG")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / VARIANTS).rglob("*.parquet")}
    again = CliRunner().invoke(main, words, catch_exceptions=False)
    assert again.exit_code == 0 and before
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert sorted(path.stem for path in (tmp_path / "out" / SCORES).glob("*.parquet")) == [
        "colour-words",
        "random",
    ]
    listed = CliRunner().invoke(main, ["invariance", "--list-changes"])
    assert listed.exit_code == 0 and "capital letters" in listed.output


def test_what_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no change 'colour'; expected capitals, full stop"):
        InvarianceSettings(changes=("colour",))
    with pytest.raises(InputError, match="number of checks must be at least 1"):
        InvarianceSettings(0)
