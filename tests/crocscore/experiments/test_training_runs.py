"""The experiments end to end on a small random model, and what each condition changes in the questions."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
import tiny_models as tiny
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file
from tiny_training import checks_and_questions

from builders.scenes import Settings, build_scenes
from croc.checks.schema import DIRECTIONS
from croc.cli import main
from croc.errors import InputError
from crocscore.experiments import training_runs
from crocscore.experiments.held_out_pretraining import pretrain_without
from crocscore.experiments.training_runs import Condition, Setup, change_questions
from crocscore.experiments.zero_shot import zero_shot
from crocscore.pretraining.architectures import build_vlm
from crocscore.pretraining.pretrain import load_data

pytest.importorskip("trl", reason="training needs the extra train")


def rows(n: int = 40) -> pa.Table:
    return pa.table(
        {
            "pair_id": [f"p{i}" for i in range(n)],
            "check_id": [f"c{i // 4}" for i in range(n)],
            "category": ["counting" if i < n // 2 else None for i in range(n)],
            "property": ["count" if i < n // 2 else "colour" for i in range(n)],
            "label": [i % 2 == 0 for i in range(n)],
        }
    )


@pytest.mark.parametrize(("name", "column"), [("counting", "category"), ("colour", "property")])
def test_a_property_is_left_out_by_its_category_or_by_its_own_name(name, column):
    left = change_questions(rows(), Condition("x", leave_out=name), seed=0)
    assert len(left) == 20 and name not in left[column].to_pylist()


def test_smaller_shares_are_part_of_larger_ones_and_keep_checks_whole():
    some, more = (change_questions(rows(), Condition("x", share=share), 0) for share in (0.3, 0.6))
    assert (len(some), len(more)) == (12, 24)
    assert set(some["pair_id"].to_pylist()) < set(more["pair_id"].to_pylist())
    assert set(change_questions(rows(), Condition("x", share=0.3), 1)["check_id"].to_pylist()) != set(
        some["check_id"].to_pylist()
    )


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_noise_flips_as_many_answers_as_it_says(noise):
    before, after = rows()["label"].to_pylist(), change_questions(rows(), Condition("x", noise=noise), 0)
    flipped = [a != b for a, b in zip(before, after["label"].to_pylist(), strict=True)]
    assert sum(flipped) == noise * 40
    assert after.drop(["label"]).equals(rows().drop(["label"]))


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (Condition("x", leave_out="shape"), "'shape'; the questions are about colour, count, counting"),
        (Condition("x", share=0.01), "no question is left"),
    ],
)
def test_a_condition_that_leaves_nothing_is_refused(condition, message):
    with pytest.raises(InputError, match=message):
        change_questions(rows(), condition, 0)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return tiny.save(*tiny.llava(), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return checks_and_questions(tmp_path_factory.mktemp("data"), checks=24, properties=("colour", "count"))


def words(name: str, start, data, out, *more: str) -> list[str]:
    # Judged on what it was trained on: three concepts at least have an interval.
    shared = ["--questions", str(data[1]), "--checks", str(data[0]), "--split", "train"]
    quick = ["--steps", "2", "--batch", "4", "--set", "use_cpu=true", "--set", "disable_tqdm=true"]
    return ["experiment", name, str(start), *shared, *quick, "--out", str(out), *more]


@pytest.mark.parametrize(
    ("name", "more", "runs"),
    [
        ("held-out", ["--leave-out", "colour"], ["start", "all", "without-colour"]),
        ("learning-curve", ["--share", "0.5", "--share", "1"], ["start", "share-0.5", "share-1"]),
        ("label-noise", ["--level", "0", "--level", "0.5"], ["noise-0", "noise-0.5"]),
    ],
)
def test_an_experiment_is_one_command(name, more, runs, start, data, tmp_path):
    done = CliRunner().invoke(main, words(name, start, data, tmp_path / "out", *more), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / f"{name}.json").read_text())
    assert [each["name"] for each in found["runs"]] == runs
    for each in found["runs"]:
        assert set(each["directions"]) == set(DIRECTIONS)
        assert each["low"] <= each["scaled"] <= each["high"]
        judged = {g["value"] for g in each["groups"] if g["group"] == "property"}
        # What no run leaves out is not judged either: it would make the others' checks fewer.
        assert judged == ({"colour"} if name == "held-out" else {"colour", "count"})
    if name == "held-out":
        questions = {each["name"]: each["questions"] for each in found["runs"]}
        assert questions["start"] == 0 < questions["without-colour"] < questions["all"]
    with Image.open(tmp_path / "out" / f"{name}.png") as plot:
        assert plot.width > 500
    assert not list((tmp_path / "out").rglob("*.work"))


def test_a_property_can_be_left_out_of_reading_too(data, tmp_path):
    scenes = tmp_path / "scenes"
    splits = {"train": 0.7, "validation": 0.2, "test": 0.1}
    build_scenes(scenes, images=60, splits=splits, settings=Settings(sizes=(64,), claims=6), progress=False)
    vocabulary, _ = load_data([scenes], None, None)
    tower = tiny.save(*build_vlm(vocabulary), tmp_path / "trained")
    command = words("held-out", tower, data, tmp_path / "out", "--leave-out", "colour")
    more = ["--scenes", str(scenes), "--scene-steps", "4"]
    done = CliRunner().invoke(main, [*command, *more], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / "held-out.json").read_text())
    assert [each["name"] for each in found["runs"]] == ["start", "all", "without-colour"]
    # Three models, judged on the same checks.
    signed = [each["signature"].partition("|scorer:") for each in found["runs"]]
    assert len({before for before, _, _ in signed}) == 1 and len({mine for _, _, mine in signed}) == 3
    # The start has the tower of the trained model, and no word of its language model.
    before, start = (load_file(path / "model.safetensors") for path in (tower, tmp_path / "out" / "start"))
    same = {name for name, value in start.items() if bool((value == before[name].half()).all())}
    assert {name for name in start if "vision_model" in name} <= same
    assert not any("q_proj" in name for name in same)
    with pytest.raises(InputError, match="no pair of prompts differs in 'taste'"):
        pretrain_without(tower, [scenes], tmp_path / "no", leave_out=["taste"], steps=1)
    other = tmp_path / "other"
    vocabulary.save_pretrained(other)
    (other / "config.json").write_text('{"model_type": "llava"}')
    with pytest.raises(
        InputError, match=r"expected a small vision-language model \(deepseek_vl\), not a llava"
    ):
        pretrain_without(other, [scenes], tmp_path / "no", leave_out=[], steps=1)
    command[command.index("--questions") + 1] = str(tmp_path / "nowhere")
    done = CliRunner().invoke(main, [*command[:-4], *command[-2:], *more, "--out", str(tmp_path / "else")])
    assert done.exit_code != 0 and "make questions with croc build train" in done.output
    assert not (tmp_path / "else").exists()


def test_what_was_measured_is_not_measured_again(start, data, tmp_path, monkeypatch):
    setup = Setup(str(start), str(data[1]), str(data[0]), steps=1, batch=4, settings={"use_cpu": True})
    plan = [Condition("start", train=False), Condition("all")]
    first = training_runs.run("held-out", setup, tmp_path / "out", plan).read_text()
    monkeypatch.setattr(training_runs, "_run_condition", lambda *given, **more: pytest.fail("it ran again"))
    assert training_runs.run("held-out", setup, tmp_path / "out", plan).read_text() == first


def test_an_experiment_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="held-out, learning-curve, label-noise or zero-shot"):
        training_runs.run("nothing", Setup("m", "q", "c"), tmp_path)
    with pytest.raises(InputError, match="--checks"):
        zero_shot(None, tmp_path)


@pytest.fixture(scope="module")
def nlvr(shared_data, tmp_path_factory):
    """Checks with labels by people, as ``croc build nlvr`` makes them."""
    out = tmp_path_factory.mktemp("nlvr") / "nlvr"
    done = CliRunner().invoke(main, ["build", "nlvr", str(shared_data / "nlvr" / "dev"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    return out


def test_zero_shot_takes_what_people_said(start, nlvr, tmp_path):
    command = ["experiment", "zero-shot", str(start), "--out", str(tmp_path), "--max-checks", "4"]
    places = ["--checks", str(nlvr)]
    done = CliRunner().invoke(main, [*command, *places], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "zero-shot.json").read_text())
    measured = {name for name, cell in found["checks"]["directions"].items() if cell["scaled"] is not None}
    assert measured == {"forward_image", "inverse_image"} or measured == {"forward_image"}
    assert found["checks"]["checks"] == 4
    assert (tmp_path / "zero-shot.png").stat().st_size > 5_000


def test_a_folder_does_not_hide_the_scorer_whose_name_it_has(nlvr, tmp_path, monkeypatch):
    (tmp_path / "random").mkdir()
    monkeypatch.chdir(tmp_path)
    places = ["--checks", str(nlvr), "--max-checks", "4", "--out", "out"]
    done = CliRunner().invoke(main, ["experiment", "zero-shot", "random", *places], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert json.loads(Path("out", "zero-shot.json").read_text())["scorer"] == "random"


def test_ratings_are_correlated_with_a_scorer_beside_those_of_the_release(shared_data, tmp_path):
    import numpy as np

    class Length:
        name = "length"

        def score(self, images, prompts):
            return np.array([float(len(prompt)) for prompt in prompts])

        def fields(self):
            return {}

    zero_shot(Length(), tmp_path, ratings=shared_data / "tifa160")
    found = json.loads((tmp_path / "zero-shot.json").read_text())["ratings"]
    tau = {each["metric"]: each["value"] for each in found if each["kind"] == "kendall"}
    # TIFA's own table (Hu et al. 2023) has 0.472 and 0.231.
    assert tau["tifa_mplug-large"] == pytest.approx(0.472, abs=5e-4)
    assert tau["clipscore_vitb32"] == pytest.approx(0.231, abs=5e-4)
    assert abs(tau["length"]) < 0.3
