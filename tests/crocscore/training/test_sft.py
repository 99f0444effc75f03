"""TRL's trainer on tiny models: it reads what the scorer asks, and saves what the scorer loads."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny_models as tiny
import torch
import yaml
from click.testing import CliRunner
from hub_server import Hub, online
from huggingface_hub import HfApi
from PIL import ExifTags, Image
from safetensors import safe_open
from tiny_training import written

from croc.checks.decoding import decode, to_bytes
from croc.checks.schema import DIRECTIONS
from croc.cli import main
from croc.errors import CrocError, InputError
from croc.scoring.run import ScoringSettings, score_dataset
from croc.verdict.evaluation import evaluate
from croc.verdict.report import Settings
from crocscore.model import CROCScore
from crocscore.training import evaluation
from crocscore.training.recipe import recipe_text
from crocscore.training.sft import Arguments, load_saved, make_trainer, read_questions, read_recipe, train
from hub_cards import model_card

pytest.importorskip("trl", reason="training needs the extra train")

QUIET = ScoringSettings(progress=False)

OWN = "Is this {prompt}? Yes or No:"


def losses(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_training_reads_the_ids_that_the_scorer_asks_with(base, questions):
    scorer = CROCScore(base, device="cpu")
    rows = read_questions(questions, scorer)["train"]
    row = rows[0]
    processor = scorer.checkpoint.processor
    images = [decode(to_bytes(image)) for image in row["images"]]
    read = processor(images=images, text=row["prompt"], add_special_tokens=False, return_tensors="pt")
    stored = next(iter(questions.glob("data/train-*.parquet")))
    prompt = pq.read_table(stored, columns=["prompt"])["prompt"][0].as_py()
    encoded, heads = scorer._read_images(images)
    assert read["input_ids"][0].tolist() == [*heads[0], *scorer._suffix(prompt)]
    assert torch.equal(read["pixel_values"], encoded["pixel_values"])


def test_the_loss_is_on_the_answer_alone(recipe):
    trainer = make_trainer(*read_recipe(recipe()))
    batch = next(iter(trainer.get_train_dataloader()))
    answers = CROCScore(trainer.model, processor=trainer.processing_class).answer_ids
    labelled = batch["labels"][batch["labels"] != -100].tolist()
    assert len(labelled) == 4
    assert set(labelled) <= set(answers)


def test_the_settings_of_the_caller_are_not_changed(recipe):
    arguments, settings = read_recipe(recipe())
    before = settings.to_dict()
    trainer = make_trainer(arguments, settings)
    trainer.train()
    assert settings.to_dict() == before
    assert settings.max_length is not None and trainer.args.max_length is None


def test_training_moves_what_is_free_and_keeps_what_is_frozen(recipe, base):
    arguments, settings = read_recipe(recipe(freeze=["model.vision_tower"]))
    trainer = make_trainer(arguments, settings)
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


LORA = {"lora_r": 2, "lora_targets": r".*language_model\.layers\.\d+\.self_attn\.(q|v)_proj"}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"saved_dtype": "float16"},
        {**LORA, "dtype": "bfloat16"},
        {**LORA, "dtype": "bfloat16", "train_only": ["lm_head"], "saved_dtype": "float16"},
    ],
    ids=["all weights", "all weights in float16", "adapter in bfloat16", "adapter and head"],
)
def test_the_results_are_those_of_the_folder_that_is_published(recipe, data, tmp_path, more):
    out = train(recipe(checks=data[0], checks_split="train", **more))
    if "saved_dtype" in more:
        with safe_open(out / "model.safetensors", framework="pt") as held:
            assert {held.get_tensor(name).dtype for name in held.keys()} == {torch.float16}  # noqa: SIM118
    scorer = CROCScore.from_pretrained(out, device="cpu", name="crocscore")
    assert scorer.checkpoint.model.dtype == torch.float32
    again = evaluation.evaluate_scorer(
        scorer,
        evaluation.select_checks(data[0], split="train"),
        tmp_path / "again",
        resamples=2_000,
        by=("property",),
    )
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(again.to_dict()))
    assert scorer.fields()["revision"] in model_card(out)


def test_the_results_of_a_separate_adapter_are_those_of_what_was_saved(recipe, data, base, tmp_path):
    words = recipe(
        **LORA,
        merge=False,
        train_only=["lm_head"],
        question=OWN,
        checks=data[0],
        checks_split="train",
    )
    out = train(words)
    scorer = load_saved(read_recipe(words)[0], out, device="cpu")
    untrained = CROCScore(base, device="cpu", question=OWN)
    images, prompts = [tiny.picture(seed) for seed in range(3)], ["a dog", "a cat", "two dogs"]
    assert np.abs(scorer.score(images, prompts) - untrained.score(images, prompts)).max() > 1e-3
    head = scorer.checkpoint.model.lm_head.weight
    assert not torch.equal(head, untrained.checkpoint.model.lm_head.weight)
    again = evaluation.evaluate_scorer(
        scorer,
        evaluation.select_checks(data[0], split="train"),
        tmp_path / "again",
        resamples=2_000,
        by=("property",),
    )
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(again.to_dict()))


def test_a_calibration_keeps_the_signature_of_the_results(recipe, data):
    out = train(recipe(checks=data[0], checks_split="test"))
    before = CROCScore(out, device="cpu")
    revision = before.fields()["revision"]
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps({**config, "croc": {"calibration": [2.0, 0.5]}}))
    after = CROCScore(out, device="cpu")
    assert after.settings.calibration == (2.0, 0.5)
    assert after.fields()["revision"] == revision
    (out / "config.json").write_text(json.dumps({**config, "croc": {"question": OWN}}))
    assert CROCScore(out, device="cpu").fields()["revision"] != revision


def test_nothing_of_an_earlier_training_stays_in_the_folder(recipe, data, tmp_path):
    out = train(recipe(checks=data[0], checks_split="test", **LORA, merge=False, max_steps=1))
    assert (out / "adapter_config.json").is_file() and (out / "results.json").is_file()
    for name in ("calibration.json", "calibration.png", "model-00002-of-00002.safetensors"):
        (out / name).write_text("{}")
    assert train(recipe(max_steps=1)) == out
    assert sorted(path.name for path in out.glob("*.safetensors")) == ["model.safetensors"]
    names = ("adapter_config.json", "results.json", "calibration.json", "calibration.png")
    assert not [name for name in names if (out / name).exists()]
    assert np.isfinite(CROCScore(out, device="cpu").score([tiny.picture()], ["a dog"])).all()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"resume_from_checkpoint": "nowhere"}, "resume_from_checkpoint: nowhere is not a folder"),
        ({"resume_from_checkpoint": True}, "resume_from_checkpoint: .*out has no complete checkpoint; leave"),
        ({"report_to": "wandb"}, "the recipe cannot be used: .*wandb"),
    ],
)
def test_what_is_missing_for_a_recipe_is_named(recipe, more, message, monkeypatch):
    monkeypatch.setattr("transformers.integrations.integration_utils.is_wandb_available", lambda: False)
    with pytest.raises(InputError, match=message):
        train(recipe(**more))


def test_the_initial_model_is_not_overwritten(recipe, base):
    before = (base / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match=r"output_dir: .* is the folder of the initial model"):
        train(recipe(output_dir=base / "."))
    assert (base / "model.safetensors").read_bytes() == before


def test_resuming_gives_the_same_losses(recipe, tmp_path):
    whole = make_trainer(*read_recipe(recipe()))
    whole.train()
    resumed = make_trainer(*read_recipe(recipe()))
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    np.testing.assert_allclose(losses(resumed)[-2:], losses(whole)[-2:], rtol=1e-5)
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_a_loss_that_is_not_a_number_names_the_questions(recipe):
    trainer = make_trainer(*read_recipe(recipe()))
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
        make_trainer(*read_recipe(recipe(model=folder)))


def test_a_prefix_that_freezes_nothing_is_refused(recipe):
    with pytest.raises(InputError, match="vision_towr"):
        make_trainer(*read_recipe(recipe(freeze=["vision_towr"])))


def test_a_folder_without_questions_is_refused(base, tmp_path):
    with pytest.raises(InputError, match="croc build train"):
        read_questions(tmp_path, CROCScore(base, device="cpu"))


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


def test_held_out_checks_are_scored_on_the_way(recipe, data, tmp_path):
    out = train(
        recipe(checks=data[0], checks_split="test", eval_strategy="steps", eval_steps=2, question=OWN)
    )
    log = json.loads((out / "training.json").read_text())
    evaluated = [entry for entry in log if "eval_forward_text" in entry]
    assert [entry["step"] for entry in evaluated] == [2, 4]
    for entry in evaluated:
        directions = [entry[f"eval_{name}"] for name in DIRECTIONS]
        assert entry["eval_scaled_accuracy"] == pytest.approx(sum(directions) / 4)
    assert {entry["step"] for entry in log if "eval_loss" in entry} == {2, 4}
    with Image.open(out / "training.png") as plot:
        assert plot.width > 400 and len(set(plot.convert("L").tobytes())) > 20
    # The last entry is what the trained checkpoint, loaded again, gets on those checks by itself.
    (table,) = score_dataset(
        str(data[0]), [CROCScore(out, device="cpu")], tmp_path / "again", QUIET, split="test"
    )
    again = evaluate([table], settings=Settings(flips=0, resamples=0))
    assert again.score("out").scaled == pytest.approx(evaluated[-1]["eval_scaled_accuracy"], abs=1e-9)
    results = json.loads((out / "results.json").read_text())
    assert {cell["direction"] for cell in results["results"]} == set(DIRECTIONS)
    assert not (out / "evaluation_scores").exists()


def test_the_best_model_can_be_told_by_its_scaled_accuracy(recipe, data):
    more = {
        "checks": data[0],
        "checks_split": "test",
        "eval_strategy": "steps",
        "eval_steps": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": "scaled_accuracy",
    }
    trainer = make_trainer(*read_recipe(recipe(**more)))
    trainer.train()
    measured = {
        entry["step"]: entry["eval_scaled_accuracy"]
        for entry in trainer.state.log_history
        if "eval_scaled_accuracy" in entry
    }
    best = trainer.state.best_global_step
    assert measured[best] == max(measured.values())
    stored = type(trainer.model).from_pretrained(trainer.state.best_model_checkpoint)
    for name, value in stored.state_dict().items():
        torch.testing.assert_close(trainer.model.state_dict()[name], value)


@pytest.mark.parametrize(
    ("name", "with_checks", "message"),
    [
        ("scaled_acuracy", True, "no evaluation reports 'scaled_acuracy'; did you mean scaled_accuracy?"),
        ("eval_bleu", True, "no evaluation reports 'eval_bleu'; known are loss, "),
        ("scaled_accuracy", False, r"scaled_accuracy needs held-out checks \(checks\)"),
    ],
)
def test_a_measure_that_no_evaluation_reports_is_refused_before_the_training(
    recipe, data, name, with_checks, message
):
    more = {"checks": data[0], "checks_split": "test"} if with_checks else {}
    words = recipe(**more, eval_strategy="steps", eval_steps=2, metric_for_best_model=name)
    with pytest.raises(InputError, match=f"metric_for_best_model: {message}"):
        make_trainer(*read_recipe(words))


@pytest.mark.slow
@pytest.mark.parametrize("limit", [240_000, 400_000], ids=["the model", "the optimizer"])
def test_a_checkpoint_that_does_not_fit_is_said_in_one_sentence(recipe, tmp_path, limit):
    words = recipe(save_steps=1, max_steps=1)
    done = subprocess.run(
        [sys.executable, "-m", "croc", "train", *words],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"croc: {tmp_path / 'out'}: a checkpoint cannot be written ("), last


def test_the_folder_tells_how_it_was_made(recipe):
    words = recipe(licence="mit", question=OWN)
    out = train(words)
    assert (out / "recipe.yaml").read_text() == Path(words[1]).read_text()
    card = model_card(out, repo="org/name")
    assert "license: mit" in card and "learning_rate: 0.01" in card and "Seed: 0" in card
    assert CROCScore(out, device="cpu").settings.question == OWN


def test_options_after_the_recipe_are_kept_with_it(recipe):
    words = [*recipe(), "--learning_rate", "0.002", "--max_steps=1", "--lr_scheduler_type", "cosine"]
    stored = yaml.safe_load(recipe_text(words))
    again, settings = read_recipe(written(Path(words[1]).with_name("again.yaml"), **stored))
    assert (settings.learning_rate, settings.max_steps) == (0.002, 1)
    assert settings.lr_scheduler_type == "cosine"
    assert again == read_recipe(words)[0]


def test_a_calibration_from_before_the_training_is_dropped(recipe, tmp_path):
    model, processor = tiny.llava()
    model.config.croc = {"calibration": [2.0, 1.0], "answers": ["yes", "no"]}
    out = train(recipe(model=tiny.save(model, processor, tmp_path / "calibrated"), max_steps=1))
    assert json.loads((out / "config.json").read_text())["croc"] == {"answers": ["yes", "no"]}


def test_a_rotated_photo_is_upright_in_training_as_in_scoring(recipe):
    trainer = make_trainer(*read_recipe(recipe()))
    row = trainer.train_dataset[0]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    buffer = io.BytesIO()
    decode(to_bytes(row["images"][0])).save(buffer, "PNG", exif=exif)
    rotated = decode(buffer.getvalue())
    read = trainer.data_collator([{**row, "images": [{"bytes": buffer.getvalue(), "path": None}]}])
    scorer = CROCScore(trainer.model, processor=trainer.processing_class)
    assert torch.equal(read["pixel_values"], scorer._read_images([rotated])[0]["pixel_values"])
    upright = scorer._read_images([decode(to_bytes(row["images"][0]))])[0]["pixel_values"]
    assert not torch.equal(read["pixel_values"], upright)


def test_an_image_that_cannot_be_decoded_names_its_question(recipe):
    trainer = make_trainer(*read_recipe(recipe()))
    row = trainer.train_dataset[0]
    with pytest.raises(InputError, match=f"the question {row['pair_id']}: the image has an unknown format"):
        trainer.data_collator([{**row, "images": [{"bytes": b"no image", "path": None}]}])


def test_images_are_resized_for_training_as_for_scoring(recipe):
    arguments, settings = read_recipe(recipe(image_size=[16, 16]))
    trainer = make_trainer(arguments, settings)
    row = trainer.train_dataset[0]
    scorer = CROCScore(trainer.model, processor=trainer.processing_class, image_size=(16, 16))
    read = trainer.data_collator([row])["pixel_values"]
    images = [decode(to_bytes(image)) for image in row["images"]]
    encoded, _ = scorer._read_images(images)
    assert torch.equal(read, encoded["pixel_values"])
    plain, _ = CROCScore(trainer.model, processor=trainer.processing_class)._read_images(images)
    assert not torch.equal(read, plain["pixel_values"])


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Hub(tmp_path_factory.mktemp("hub")) as running:
        yield running


def test_the_command_publishes_what_it_trained(recipe, server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.endpoint)
    words = ["train", *recipe(max_steps=2), "--push", "org/trained", "--private"]
    with online(monkeypatch):
        done = CliRunner().invoke(main, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        repo = server.repos["model", "org/trained"]
        files = set(HfApi(endpoint=server.endpoint, token="hf_writer").list_repo_files("org/trained"))
    assert repo.private
    assert {"model.safetensors", "config.json", "recipe.yaml", "README.md", "training.json"} <= files
    assert not [name for name in files if name.startswith("checkpoint-") or name.endswith((".bin", ".pt"))]


@pytest.mark.parametrize(("repo", "message"), [("name", "organisation/name"), ("org/name", "access token")])
def test_what_cannot_be_published_is_refused_before_the_training(recipe, monkeypatch, repo, message):
    monkeypatch.setattr("crocscore.training.sft.train", lambda words: pytest.fail("it was trained"))
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    done = CliRunner().invoke(main, ["train", *recipe(), "--push", repo])
    assert done.exit_code == 2 and message in done.output


@pytest.mark.slow
def test_two_processes_train_together(recipe, data, tmp_path):
    """The same file on two processes, gloo between them, as ``accelerate launch`` starts them on two GPUs."""
    words = recipe(checks=data[0], checks_split="test", eval_strategy="steps", eval_steps=2)
    alone = train([*words, "--per_device_train_batch_size", "4", "--output_dir", str(tmp_path / "alone")])
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    launch += ["-m", "croc", "train", *words, "--per_device_train_batch_size", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(launch, env=environment, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("wrote ") == 1
    log = json.loads((tmp_path / "out" / "training.json").read_text())
    one = json.loads((alone / "training.json").read_text())
    # Two of two questions each are a step of four: the losses are those of one process.
    both = [[entry["loss"] for entry in each if "loss" in entry] for each in (log, one)]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-3)
    assert [entry["step"] for entry in log if "eval_forward_text" in entry] == [2, 4]
