"""The experiments end to end on a small random model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tiny_models as tiny
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file
from tiny_training import checks_and_questions
from transformers import TrainerCallback

from builders.scenes import Settings, build_scenes
from croc.checks.schema import DIRECTIONS
from croc.cli import main
from croc.errors import InputError
from crocscore.experiments import one_run, training_runs
from crocscore.experiments.conditions import Condition
from crocscore.experiments.held_out_pretraining import pretrain_without
from crocscore.experiments.one_run import Setup
from crocscore.experiments.summary import summarised
from crocscore.experiments.zero_shot import zero_shot
from crocscore.pretraining.architectures import build_vlm
from crocscore.pretraining.pretrain import load_data
from crocscore.training import sft

pytest.importorskip("trl", reason="training needs the extra train")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return tiny.save(*tiny.llava(), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return checks_and_questions(tmp_path_factory.mktemp("data"), checks=24, properties=("colour", "count"))


def setup_of(start, data, **more) -> Setup:
    settings = {"use_cpu": True, "disable_tqdm": True}
    return Setup(str(start), str(data[1]), str(data[0]), split="train", batch=4, settings=settings, **more)


def words(name: str, start, data, out, *more: str) -> list[str]:
    # Judged on what it was trained on: three concepts at least have an interval.
    shared = ["--questions", str(data[1]), "--checks", str(data[0]), "--split", "train"]
    quick = ["--steps", "2", "--batch", "4", "--set", "use_cpu=true", "--set", "disable_tqdm=true"]
    return ["experiment", name, str(start), *shared, *quick, "--out", str(out), *more]


@pytest.mark.parametrize(
    ("name", "more", "runs"),
    [
        ("held-out", ["--leave-out", "colour", "--seeds", "1"], ["start", "all", "without-colour"]),
        (
            "learning-curve",
            ["--share", "0.5", "--share", "1", "--seeds", "1"],
            ["start", "share-0.5", "share-1"],
        ),
        (
            "label-noise",
            ["--level", "0", "--level", "0.5", "--noise", "count", "--seeds", "2"],
            ["start", "no-noise", "count-0.5"],
        ),
    ],
)
def test_an_experiment_is_one_command(name, more, runs, start, data, tmp_path):
    done = CliRunner().invoke(main, words(name, start, data, tmp_path / "out", *more), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    results = tmp_path / "out" / f"{name}.json"
    found = json.loads(results.read_text())
    assert [each["name"] for each in found["conditions"]] == runs
    *table, last = done.stdout.splitlines()
    assert last == str(results) and len(table) > 1
    for name_of_row, *_ in summarised(found).rows:
        assert any(line.split()[:1] == name_of_row.split()[:1] for line in table)
    of = {
        each["name"]: [run for run in found["runs"] if run["name"] == each["name"]]
        for each in found["conditions"]
    }
    for each in found["conditions"]:
        seeds = [run["seed"] for run in of[each["name"]]]
        several = name == "label-noise" and each["train"]  # the initial model has no seed
        assert seeds == ([0, 1] if several else [0]) and each["seeds"] == len(seeds)
        assert each["scaled"] == pytest.approx(np.mean([run["scaled"] for run in of[each["name"]]]))
        assert each["low"] <= each["scaled"] <= each["high"]
        judged = {g["value"] for g in each["groups"] if g["group"] == "property"}
        # What no run leaves out is not judged either: it would make the others' checks fewer.
        assert judged == ({"colour"} if name == "held-out" else {"colour", "count"})
    for run in found["runs"]:
        assert set(run["directions"]) == set(DIRECTIONS)
    baseline = {"held-out": "all", "learning-curve": "share-1", "label-noise": "no-noise"}[name]
    assert {each["difference"]["to"] for each in found["conditions"] if each["name"] != baseline} == {
        baseline
    }
    questions = {each["name"]: each["questions"] for each in found["conditions"]}
    if name == "held-out":
        assert questions["start"] == 0 < questions["without-colour"] < questions["all"]
    if name == "label-noise":
        wrong = {run["name"]: run["wrong_images"] for run in found["runs"] if run["train"]}
        assert wrong["no-noise"] == 0 < wrong["count-0.5"] <= questions["count-0.5"] / 4
    with Image.open(tmp_path / "out" / f"{name}.png") as plot:
        assert plot.width > 500
    assert not list((tmp_path / "out" / "work").iterdir())
    assert sorted(file.stem for file in (tmp_path / "out" / "runs" / "parts").iterdir()) == sorted(
        f"{run['name']}-seed-{run['seed']}" for run in found["runs"]
    )


def test_scenes_of_the_runs_alone_are_refused(start, data, tmp_path):
    command = words("held-out", start, data, tmp_path / "out", "--run-scene-steps", "2")
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2 and "add --scenes" in done.output
    assert not (tmp_path / "out").exists()


def test_a_property_can_be_left_out_of_reading_too(data, tmp_path):
    scenes = tmp_path / "scenes"
    splits = {"train": 0.7, "validation": 0.2, "test": 0.1}
    build_scenes(scenes, images=60, splits=splits, settings=Settings(sizes=(64,), claims=6), progress=False)
    vocabulary, _ = load_data([scenes], None, None)
    tower = tiny.save(*build_vlm(vocabulary), tmp_path / "trained")
    command = words("held-out", tower, data, tmp_path / "out", "--leave-out", "colour")
    more = ["--scenes", str(scenes), "--scene-steps", "4", "--seeds", "1"]
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
    # Runs may have scenes and steps of their own; all start from the same new language model.
    others = tmp_path / "others"
    build_scenes(others, images=40, splits=splits, settings=Settings(sizes=(64,), claims=6), progress=False)
    runs = ["--run-scenes", str(others), "--run-scene-steps", "2", "--seeds", "2"]
    command[command.index("--out") + 1] = str(tmp_path / "own")
    done = CliRunner().invoke(main, [*command, *more, *runs], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "own" / "held-out.json").read_text())
    assert [f"{run['name']} {run['seed']}" for run in found["runs"]] == [
        *("start 0", "all 0", "all 1", "without-colour 0", "without-colour 1")
    ]
    assert load_file(tmp_path / "own" / "start" / "model.safetensors").keys() == start.keys()
    assert len({run["signature"] for run in found["runs"]}) == 5
    # A finished one reads no scenes; one with other settings or scenes is not taken for it.
    finished, away = tmp_path / "out" / "start", tmp_path / "away"
    asked = {"leave_out": ["colour"], "steps": 4}
    scenes.rename(away)
    assert pretrain_without(tower, [scenes], finished, **asked) == finished
    for folder, changed in ((scenes, {"seed": 1}), (scenes, {"from_scratch": False}), (tmp_path / "x", {})):
        with pytest.raises(InputError, match="make scenes with croc build scenes"):
            pretrain_without(tower, [folder], finished, **asked, **changed)
    away.rename(scenes)
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
    setup = setup_of(start, data, steps=1)
    plan = [Condition("start", train=False), Condition("all")]
    first = training_runs.run("held-out", setup, tmp_path / "out", plan).read_text()
    monkeypatch.setattr(training_runs, "_make_run", lambda *given, **more: pytest.fail("it ran again"))
    assert training_runs.run("held-out", setup, tmp_path / "out", plan).read_text() == first


def test_a_killed_training_is_resumed_from_its_checkpoint(start, data, tmp_path, monkeypatch):
    setup, condition = setup_of(start, data, steps=6), Condition("all")
    monkeypatch.setattr(one_run, "CHECKPOINT_MINUTES", 1e-9)  # a checkpoint at each step
    losses = {}

    def run(name):
        work, table = tmp_path / name, tmp_path / f"{name}.parquet"
        losses[name] = one_run.train_and_score(condition, setup, work, table, name="all")
        return table

    whole = pl.read_parquet(run("whole"))
    assert not (tmp_path / "whole").exists()

    class Killed(BaseException):
        pass

    steps = []

    class Kill(TrainerCallback):
        def on_step_begin(self, args, state, control, **rest):
            steps.append(state.global_step)
            if len(steps) == 4:
                raise Killed

    make = sft.make_trainer

    def with_kill(*given):
        trainer = make(*given)
        trainer.add_callback(Kill())
        return trainer

    monkeypatch.setattr(sft, "make_trainer", with_kill)
    with pytest.raises(Killed):
        run("killed")
    resumed = pl.read_parquet(run("killed"))
    assert steps == [0, 1, 2, 3, 3, 4, 5]  # steps 0 to 2 were not made again
    scores = ["prompt_score", "contrast_score"]
    np.testing.assert_allclose(resumed[scores].to_numpy(), whole[scores].to_numpy(), atol=1e-4)
    assert losses["killed"] == pytest.approx(losses["whole"], rel=1e-4)
    # What another setup left behind is not continued.
    (tmp_path / "killed" / "model" / "checkpoint-5").mkdir(parents=True)
    (tmp_path / "killed" / "run.json").write_text('{"run": "another"}')
    steps.clear()
    with pytest.raises(Killed):
        run("killed")
    assert steps == [0, 1, 2, 3]


def test_minutes_choose_the_same_number_of_steps_for_all_runs(start, data, tmp_path, monkeypatch):
    setup = setup_of(start, data, steps=1, seeds=1, minutes=0.05)
    measured = training_runs.with_measured_steps(setup, [Condition("all")], tmp_path)
    stored = json.loads((tmp_path / "speed.json").read_text())
    assert 0.0001 < stored["seconds_per_step"] < 30
    assert measured.steps == stored["steps"] == max(1, int(3 / stored["seconds_per_step"]))
    assert not list((tmp_path / "work").iterdir())
    # A resumed experiment keeps them, however fast the machine is then.
    monkeypatch.setattr(training_runs, "seconds_per_step", lambda *given: pytest.fail("measured again"))
    assert training_runs.with_measured_steps(setup, [Condition("all")], tmp_path) == measured
    with pytest.raises(InputError, match=r"0.05 minutes per run"):
        training_runs.with_measured_steps(replace(setup, minutes=1), [Condition("all")], tmp_path)


def test_an_experiment_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="held-out, learning-curve, label-noise, objective or samples"):
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
