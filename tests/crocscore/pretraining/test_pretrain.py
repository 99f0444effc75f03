"""The stages of the pretraining: what they train, save and resume."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from croc.errors import InputError
from croc.scorers.captions import NORMALISED, normalised
from croc.scorers.dual_encoder import DualEncoder
from croc_syn import world
from crocscore.model import CROCScore
from crocscore.pretraining.architectures import QUESTION, build_dual_encoder, build_vlm, train_tokenizer
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


@pytest.mark.parametrize("name", [TOWER, VLM])
def test_a_killed_run_is_resumed_from_a_checkpoint_between_evaluations_to_the_same_weights(
    name: str, folder: Path, tower: Path, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    words, scenes = load_data([folder], None, None)
    plan = PretrainingConfig(
        steps=6, images_per_step=2, evaluate_every=6, warmup_steps=2, claims_per_image=2, grounding_weight=0.5
    )

    class Killed(Exception):
        pass

    def stage() -> Stage:
        return Stage(name, scenes, words, tower, plan)

    def run(out: Path, stops_at: int | None = None) -> dict[str, float]:
        trained = stage()
        real, taken = trained.loss, []

        def loss(*arguments: object) -> object:
            taken.append(1)
            if len(taken) == stops_at:
                raise Killed
            torch.rand(3)  # a model with dropout draws numbers, whose state is in the checkpoint
            return real(*arguments)  # type: ignore[arg-type]

        trained.loss = loss  # type: ignore[method-assign]
        return train(trained, scenes, 8, out, checkpoint_minutes=0)

    whole = run(tmp_path / "whole")
    drawn = torch.get_rng_state()
    with pytest.raises(Killed):
        run(tmp_path / "cut", stops_at=4)
    assert torch.load(tmp_path / "cut" / "state.pt", weights_only=True)["step"] == 3
    assert not (tmp_path / "cut" / "tower.safetensors").exists()
    assert run(tmp_path / "cut") == whole
    assert torch.equal(torch.get_rng_state(), drawn)
    first, second = (load_file(tmp_path / run / "tower.safetensors") for run in ("whole", "cut"))
    assert all(torch.equal(first[key], second[key]) for key in first)
    logged = [
        [{k: v for k, v in line.items() if k != "images/s"} for line in lines(tmp_path / run)]
        for run in ("whole", "cut")
    ]
    assert logged[0] == logged[1]
    # A run that is complete is not trained again.
    assert train(stage(), scenes, 8, tmp_path / "cut") == whole


def test_lines_of_the_log_behind_the_checkpoint_are_written_again(folder: Path, tmp_path: Path) -> None:
    words, scenes = load_data([folder], None, None)
    plan = PretrainingConfig(steps=2, images_per_step=2, evaluate_every=1, warmup_steps=1)
    train(Stage(TOWER, scenes, words, None, plan), scenes, 8, tmp_path)
    log = tmp_path / "log.jsonl"
    log.write_text(log.read_text() + '{"step": 3}\n{"step": 4, "lo')
    train(Stage(TOWER, scenes, words, None, plan), scenes, 8, tmp_path)
    assert [line["step"] for line in lines(tmp_path)] == [1, 2]


def test_prompts_are_read_as_the_scorer_reads_them(folder: Path, tmp_path: Path) -> None:
    words, scenes = load_data([folder], None, None)
    texts = [words.decode(scenes.ids[a:b]) for a, b in pairwise(scenes.ends[:50])]
    assert all(text == f" {normalised(text)}" for text in texts)
    plan = PretrainingConfig(images_per_step=2)
    for name in (VLM, DUAL):
        Stage(name, scenes, words, None, plan).save(tmp_path / name)
    image = Image.open(io.BytesIO(world.draw("a red dog", 0).png)).convert("RGB")
    typed, read = "There\u2019s a red dog,  and 3 Cats!", "there is a red dog, and three cats"
    for scorer in (CROCScore(tmp_path / VLM), DualEncoder(str(tmp_path / DUAL))):
        assert scorer.fields()["caption"] == NORMALISED
        one, other = scorer.score([image] * 2, [typed, read])
        assert one == pytest.approx(other, abs=1e-6)
        assert abs(scorer.score([image], ["there is a blue dog"])[0] - one) > 1e-6
    scorer = CROCScore(tmp_path / VLM)
    assert scorer.turn(typed) == scorer.turn(read)
    assert scorer.explain(image, typed).margin == pytest.approx(one_of(scorer, image, read), abs=1e-5)


def one_of(scorer: CROCScore, image: Image.Image, prompt: str) -> float:
    return float(scorer.score([image], [prompt])[0])


@pytest.mark.parametrize("name", [VLM, DUAL])
def test_a_model_is_continued_with_more_words(name: str, folder: Path, tower: Path, tmp_path: Path) -> None:
    import torch

    few = train_tokenizer(["a red dog", "two cats in a park"], size=300)
    words, scenes = load_data([folder], None, None)
    plan = PretrainingConfig(images_per_step=2)
    model, processor = (build_dual_encoder if name == DUAL else build_vlm)(few)
    model.save_pretrained(tmp_path / "old")
    processor.save_pretrained(tmp_path / "old")
    extended, more = load_data([folder], None, tmp_path / "old")
    assert len(extended) > len(few)
    stage = Stage(name, more, extended, tmp_path / "old", plan)
    before, after = model.state_dict(), stage.model.state_dict()
    grown = {key for key in before if before[key].shape != after[key].shape}
    assert grown and all(
        key.endswith(("embed_tokens.weight", "lm_head.weight", "token_embedding.weight")) for key in grown
    )
    for key in before:
        assert torch.equal(before[key], after[key][: len(before[key])] if before[key].ndim else after[key])
    stage.save(tmp_path / "new")
    image = Image.open(io.BytesIO(world.draw("a red dog", 0).png)).convert("RGB")
    scorer = CROCScore if name == VLM else DualEncoder
    # Words that the old model knows are read as before.
    old = scorer(str(tmp_path / "old")).score([image], ["a red dog"])
    assert scorer(str(tmp_path / "new")).score([image], ["a red dog"]) == pytest.approx(old, abs=2e-2)
    # Scenes that were read with another vocabulary do not fit.
    with pytest.raises(InputError, match="another vocabulary"):
        Stage(name, scenes, words, tmp_path / "old", plan)


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
