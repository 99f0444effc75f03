"""Pretraining with and without what is held out, on real scenes and checks of both kinds."""

from __future__ import annotations

import json

import pytest
import tiny_models as tiny
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from builders.scenes import Settings, build_scenes
from builders.syn import build_exact
from croc.cli import main
from crocscore.model import WEIGHTS
from crocscore.pretraining.architectures import build_vlm
from crocscore.pretraining.pretrain import load_data

pytest.importorskip("trl", reason="training needs the extra train")

HELD_OUT = ("values=colour=red,colour=blue",)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    work = tmp_path_factory.mktemp("world")
    splits = {"train": 0.7, "validation": 0.2, "test": 0.1}
    for name, held_out in (("all", ()), ("seen", HELD_OUT)):
        settings = Settings(sizes=(64,), claims=4, held_out=held_out)
        build_scenes(work / name, images=40, splits=splits, settings=settings, progress=False)
    common = {"checks": 8, "images": 1, "size": 48, "properties": ("colour",), "progress": False}
    build_exact(work / "held-out", hold_out=HELD_OUT, held_out_only=True, **common)
    build_exact(work / "other", hold_out=("values=colour=green",), held_out_only=True, **common)
    build_exact(work / "ordinary", hold_out=HELD_OUT, **common)
    vocabulary, _ = load_data([work / "all"], None, None)
    tiny.save(*build_vlm(vocabulary), work / "model")
    return work


def words(world, out, *more: str) -> list[str]:
    command = ["experiment", "held-out-world", str(world / "model"), "--with", str(world / "all")]
    return [*command, "--without", str(world / "seen"), "--scene-steps", "2", "--out", str(out), *more]


@pytest.mark.parametrize("architecture", ["vlm", "dual-encoder"])
def test_both_kinds_are_pretrained_alike_and_tested_on_the_same_checks(world, tmp_path, architecture):
    tests = ["--test", f"colours={world / 'held-out'}", "--test", f"seen={world / 'ordinary'}"]
    command = words(world, tmp_path / "out", *tests, "--seeds", "1", "--architecture", architecture)
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / "held-out-world.json").read_text())
    assert found["held_out"] == {"values": ["colour=blue", "colour=red"]}
    assert found["images"]["with"] > 0 and found["images"]["without"] > 0
    assert [test["test"] for test in found["tests"]] == ["colours", "seen"]
    for test in found["tests"]:
        price = test["price"]
        assert price["scaled"] == pytest.approx(test["with"]["scaled"] - test["without"]["scaled"])
        assert price["checks"] == test["with"]["checks"] == test["without"]["checks"] == 8
    # One tower, that of the given model, and one tokenizer; what reads the text differs.
    models = [tmp_path / "out" / "models" / f"{arm}-seed-0" for arm in ("with", "without")]
    first, second = (load_file(model / "model.safetensors") for model in models)
    given = load_file(world / "model" / "model.safetensors")
    towers = [
        {
            name.partition("vision_model.")[2]: value
            for name, value in weights.items()
            if "vision_model." in name
        }
        for weights in (given, first, second)
    ]
    for name, value in towers[0].items():
        assert all(bool((tower[name] == value.half()).all()) for tower in towers[1:]), name
    reader = "text_model" if architecture == "dual-encoder" else "language_model"
    assert any(not bool((first[name] == second[name]).all()) for name in first if reader in name)
    assert len({(model / "tokenizer.json").read_text() for model in models}) == 1
    with Image.open(tmp_path / "out" / "held-out-world.png") as plot:
        assert plot.width > 500
    again = CliRunner().invoke(main, command, catch_exceptions=False)
    assert again.exit_code == 0 and not list((tmp_path / "out" / "work").iterdir())


def test_the_model_of_the_package_has_a_name(world, tmp_path):
    command = [*words(world, tmp_path / "out", "--test", f"x={world / 'held-out'}", "--seeds", "1")]
    command[2] = "crocscore"  # also the name of a folder, in a checkout
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / "held-out-world.json").read_text())
    assert found["setup"]["model"] == str(WEIGHTS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("--with", "seen"), "these scenes hold something out; they are to contain everything"),
        (("--without", "all"), "these scenes hold nothing out"),
        (("--test", "x=other"), "the test x is about something that the scenes do not hold out"),
    ],
)
def test_scenes_and_tests_that_do_not_belong_together_are_refused(world, tmp_path, changed, message):
    option, value = changed
    name, _, folder = value.rpartition("=")
    value = f"{name}={world / folder}" if name else str(world / folder)
    test = () if option == "--test" else ("--test", f"colours={world / 'held-out'}")
    done = CliRunner().invoke(main, words(world, tmp_path / "out", option, value, *test))
    assert done.exit_code != 0 and message in " ".join(done.output.split()), done.output
    assert not (tmp_path / "out" / "models").exists()
