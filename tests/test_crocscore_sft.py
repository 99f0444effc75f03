"""TRL's trainer on tiny models: it reads what the scorer asks, and saves what the scorer loads."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny_models as tiny
import torch
from click.testing import CliRunner

from builders.syn import build_exact
from builders.train import build_train
from croc.cli import main
from croc.errors import CrocError, InputError
from crocscore.model import CROCScore
from crocscore.sft import Arguments, questions_of, read_recipe, train, trainer_of

pytest.importorskip("trl", reason="training needs the extra train")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.save(*tiny.llava(), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    work = tmp_path_factory.mktemp("data")
    splits = {"train": 0.7, "validation": 0.2, "test": 0.1}
    syn = build_exact(work / "syn", checks=16, images=1, size=48, splits=splits, progress=False)
    return build_train(syn.out, work / "questions", progress=False).out


@pytest.fixture
def recipe(base, questions, tmp_path):
    def write(**more):
        settings = {
            "model": base,
            "questions": questions,
            "output_dir": tmp_path / "out",
            "max_steps": 4,
            "per_device_train_batch_size": 4,
            "learning_rate": 0.01,
            "gradient_checkpointing": "false",
            "report_to": "none",
            "logging_steps": 1,
            "save_steps": 2,
            "bf16": "false",
            "use_cpu": "true",
            "disable_tqdm": "true",
            "seed": 0,
        } | more
        path = tmp_path / "recipe.yaml"
        path.write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
        return ["--config", str(path)]

    return write


def losses(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_training_reads_the_ids_that_the_scorer_asks_with(base, questions):
    scorer = CROCScore(base, device="cpu")
    rows = questions_of(questions, scorer)["train"]
    row = rows[0]
    processor = scorer.checkpoint.processor
    read = processor(images=row["images"], text=row["prompt"], add_special_tokens=False, return_tensors="pt")
    stored = next(iter(questions.glob("data/train-*.parquet")))
    prompt = pq.read_table(stored, columns=["prompt"])["prompt"][0].as_py()
    encoded, heads = scorer._read_images(row["images"])
    assert read["input_ids"][0].tolist() == [*heads[0], *scorer._suffix(prompt)]
    assert torch.equal(read["pixel_values"], encoded["pixel_values"])


def test_the_loss_is_on_the_answer_alone(recipe):
    trainer = trainer_of(*read_recipe(recipe()))
    batch = next(iter(trainer.get_train_dataloader()))
    answers = CROCScore(trainer.model, processor=trainer.processing_class).answer_ids
    labelled = batch["labels"][batch["labels"] != -100].tolist()
    assert len(labelled) == 4
    assert set(labelled) <= set(answers)


def test_training_moves_what_is_free_and_keeps_what_is_frozen(recipe, base):
    arguments, settings = read_recipe(recipe(freeze="[model.vision_tower]"))
    trainer = trainer_of(arguments, settings)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    after = trainer.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert not [name for name in moved if "vision_tower" in name]
    assert [name for name in moved if "language_model" in name]
    assert len(losses(trainer)) == 4


def test_what_was_trained_scores_the_same_after_loading(recipe):
    out = train(recipe())
    images, prompts = [tiny.picture(seed) for seed in range(3)], ["a dog", "a cat", "two dogs"]
    first = CROCScore.from_pretrained(out, device="cpu").score(images, prompts)
    again = CROCScore.from_pretrained(out, device="cpu").score(images, prompts)
    untrained = CROCScore.from_pretrained(read_recipe(recipe())[0].model, device="cpu").score(images, prompts)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - untrained).max() > 1e-3


def test_resuming_gives_the_same_losses(recipe, tmp_path):
    whole = trainer_of(*read_recipe(recipe()))
    whole.train()
    resumed = trainer_of(*read_recipe(recipe()))
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    np.testing.assert_allclose(losses(resumed)[-2:], losses(whole)[-2:], rtol=1e-5)
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_a_loss_that_is_not_a_number_names_the_questions(recipe):
    trainer = trainer_of(*read_recipe(recipe()))
    with torch.no_grad():
        trainer.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(CrocError, match="loss is nan at step 0, on the questions"):
        trainer.train()


def test_an_unknown_key_is_named(recipe):
    with pytest.raises(InputError, match="lerning_rate"):
        read_recipe(recipe(lerning_rate=1))


def test_answers_of_several_tokens_are_refused(recipe, tmp_path):
    folder = tiny.save(*tiny.llava(yes_no=False), tmp_path / "model")
    with pytest.raises(InputError, match="tokens"):
        trainer_of(*read_recipe(recipe(model=folder)))


def test_a_prefix_that_freezes_nothing_is_refused(recipe):
    with pytest.raises(InputError, match="vision_towr"):
        trainer_of(*read_recipe(recipe(freeze="[vision_towr]")))


def test_a_folder_without_questions_is_refused(base, tmp_path):
    with pytest.raises(InputError, match="croc build train"):
        questions_of(tmp_path, CROCScore(base, device="cpu"))


def test_arguments_name_the_model_and_the_questions():
    assert Arguments(model="a", questions="b").revision is None


def test_the_command_trains_and_says_where_the_model_is(recipe, tmp_path):
    done = CliRunner().invoke(main, ["train", *recipe(), "--max_steps", "1"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert str(tmp_path / "out") in done.output


def test_the_command_says_in_one_sentence_what_is_wrong(recipe):
    done = CliRunner().invoke(main, ["train", *recipe(lerning_rate=1)])
    assert done.exit_code == 2
    assert "lerning_rate" in done.output
