"""The stages of the pretraining: what they train, save and resume."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from croc.errors import InputError
from croc_syn import world
from crocscore.model import CROCScore
from crocscore.pretraining.architectures import QUESTION
from crocscore.pretraining.config import PretrainingConfig
from crocscore.pretraining.pretrain import evaluate, load_data, main, train
from crocscore.pretraining.stages import DUAL, TOWER, VLM, Stage


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_the_tower_improves(tower: Path) -> None:
    measured = {
        line["step"]: line["held_out/annotation_loss"]
        for line in lines(tower)
        if "held_out/annotation_loss" in line
    }
    assert list(measured) == [40, 80, 100]
    assert measured[100] < measured[40]
    assert (tower / "tower.safetensors").is_file()


@pytest.mark.parametrize("name", [VLM, DUAL])
def test_a_stage_gives_a_model_that_scores(name: str, folder: Path, tower: Path, tmp_path: Path) -> None:
    given = [
        "--scenes",
        str(folder),
        "--start",
        str(tower),
        "--steps",
        "2",
        "--images-per-step",
        "2",
        "--evaluate-every",
        "2",
    ]
    assert main([name, *given, "--grounding-weight", "0.5", "--out", str(tmp_path / "out")]) == 0
    last = lines(tmp_path / "out")[-1]
    assert 0.0 <= last["held_out/accuracy"] <= 1.0
    assert ("grounding" in last) == (name == VLM)
    image = Image.open(io.BytesIO(world.draw("a red dog", 0).png)).convert("RGB")
    prompts = ["a red dog", "three blue cats and no umbrella"]
    if name == VLM:
        scorer = CROCScore.from_pretrained(tmp_path / "out")
        assert np.isfinite(scorer.score([image, image], prompts)).all()
        assert scorer.settings.question == QUESTION
    else:
        from croc.scorers.dual_encoder import DualEncoder

        assert np.isfinite(DualEncoder(str(tmp_path / "out")).score([image, image], prompts)).all()


def test_a_tower_with_a_rate_share_of_0_does_not_change(folder: Path, tower: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    given = [
        "--scenes",
        str(folder),
        "--start",
        str(tower),
        "--steps",
        "2",
        "--images-per-step",
        "2",
        "--evaluate-every",
        "2",
    ]
    for share in ("0", "0.3"):
        assert main([VLM, *given, "--tower-rate-share", share, "--out", str(tmp_path / share)]) == 0
    before, still, moved = (
        load_file(path / "tower.safetensors") for path in (tower, tmp_path / "0", tmp_path / "0.3")
    )
    assert all(bool((before[name] == still[name]).all()) for name in before)
    assert not all(bool((before[name] == moved[name]).all()) for name in before)


def test_training_continues_with_a_model(folder: Path, tower: Path, tmp_path: Path) -> None:
    given = ["--scenes", str(folder), "--steps", "2", "--images-per-step", "2", "--evaluate-every", "2"]
    assert main([VLM, *given, "--start", str(tower), "--out", str(tmp_path / "one")]) == 0
    words, scenes = load_data([folder], None, None)
    rows = np.arange(len(scenes))
    plan = PretrainingConfig(images_per_step=2)
    continued = Stage(VLM, scenes, words, tmp_path / "one", plan)
    new = Stage(VLM, scenes, words, tower, plan)
    measured = [evaluate(stage, stage.sampler(scenes, rows), rows) for stage in (continued, new)]
    assert measured[0] != measured[1]
    # A model that was published has no heads beside it; its tower and its language model are continued.
    (tmp_path / "one" / "tower.safetensors").unlink()
    published = Stage(TOWER, scenes, words, tmp_path / "one", plan)
    kept = published.tower.state_dict()  # rounded to fp16 when it was saved
    assert all(value.half().equal(kept[name].half()) for name, value in continued.tower.state_dict().items())
    with pytest.raises(InputError, match=r"neither tower\.safetensors nor a model"):
        Stage(VLM, scenes, words, tmp_path, plan)
    saved, mine = CROCScore(tmp_path / "one").checkpoint.model.state_dict(), continued.model.state_dict()
    assert saved.keys() == mine.keys()
    language = [name for name in mine if "language_model" in name]
    assert language and all(bool((mine[name] == saved[name]).all()) for name in language)


def test_packed_claims_score_as_the_scorer_scores_them_one_by_one(
    folder: Path, tower: Path, tmp_path: Path
) -> None:
    import torch

    given = [
        "--scenes",
        str(folder),
        "--start",
        str(tower),
        "--steps",
        "1",
        "--images-per-step",
        "2",
        "--evaluate-every",
        "1",
    ]
    assert main([VLM, *given, "--out", str(tmp_path / "out")]) == 0
    words, scenes = load_data([folder], None, None)
    plan = PretrainingConfig(images_per_step=3, claims_per_image=3)
    stage = Stage(VLM, scenes, words, None, plan)
    stage.model.load_state_dict(CROCScore(tmp_path / "out").checkpoint.model.state_dict())
    stage.model.eval()
    sampler = stage.sampler(scenes, np.arange(len(scenes)))
    rows = np.flatnonzero(np.diff(scenes.pairs) >= 3)[:3]
    batch = sampler.batch(rows, np.random.default_rng(0))
    with torch.inference_mode():
        margins = stage.read_claims(stage.encode_images(batch["pixels"]), batch, sampler).margins.numpy()
    scorer = CROCScore(tmp_path / "out")
    images = [Image.fromarray(scenes.pixels[i]) for i in rows]
    texts = [[words.decode(ids).strip() for pair in pairs for ids in pair] for pairs in batch["claims"]]
    alone = [scorer.score([image] * len(asked), asked) for image, asked in zip(images, texts, strict=True)]
    np.testing.assert_allclose(margins, np.concatenate(alone), atol=1e-4)


def test_an_interrupted_run_is_resumed_with_the_same_result(folder: Path, tmp_path: Path) -> None:
    words, scenes = load_data([folder], None, None)
    plan = PretrainingConfig(steps=4, images_per_step=2, evaluate_every=2, warmup_steps=2)

    class Stopped(Exception):
        pass

    whole = train(Stage(TOWER, scenes, words, None, plan), scenes, 8, tmp_path / "whole")
    stage = Stage(TOWER, scenes, words, None, plan)
    losses, real = [], stage.loss

    def stopping(*arguments: object) -> object:
        if len(losses) == 3:
            raise Stopped
        losses.append(1)
        return real(*arguments)

    stage.loss = stopping  # type: ignore[method-assign]
    with pytest.raises(Stopped):
        train(stage, scenes, 8, tmp_path / "cut")
    again = train(Stage(TOWER, scenes, words, None, plan), scenes, 8, tmp_path / "cut")
    assert again == pytest.approx(whole, abs=1e-6)


def test_a_run_with_another_configuration_is_not_resumed(folder: Path, tmp_path: Path) -> None:
    tokenizer, scenes = load_data([folder], None, None)
    for steps in (1, 2):
        config = PretrainingConfig(steps=steps, images_per_step=2, warmup_steps=1)
        stage = Stage(TOWER, scenes, tokenizer, None, config)
        if steps == 1:
            train(stage, scenes, 8, tmp_path / "run")
        else:
            with pytest.raises(InputError, match="contains a run with another configuration"):
                train(stage, scenes, 8, tmp_path / "run")


def test_a_folder_without_scenes_is_an_error_of_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([TOWER, "--scenes", str(tmp_path), "--out", str(tmp_path / "o")]) == 2
    assert "make scenes with croc build scenes" in capsys.readouterr().err
