"""The recipes of the package on the classes, tokenizers and processor settings of the published models."""

from __future__ import annotations

import json
import re

import microsoft_phi4
import numpy as np
import published_models
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_models as tiny
from click.testing import CliRunner
from safetensors.torch import load_file
from tiny_training import checks_and_questions

from croc.cli import main
from croc.errors import CrocError, InputError
from croc.scorers.phi4_multimodal.importing import import_checkpoint
from crocscore.model import CROCScore
from crocscore.questions import question_files
from crocscore.training import evaluation
from crocscore.training.recipe import read_recipe
from crocscore.training.sft import make_trainer

pytest.importorskip("trl", reason="training needs the extra train")

CHECKS = 2
"""Number of checks on which a trained model is evaluated: images of the published sizes take seconds each."""

FLOAT32 = ("--dtype", "float32", "--bf16", False)
"""On a CPU, the product with 200,000 rows of embeddings in bfloat16 takes ten times as long."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return checks_and_questions(tmp_path_factory.mktemp("data"), checks=8)


@pytest.fixture(scope="module")
def qwen3_vl(tmp_path_factory, shared_data):
    return published_models.qwen3_vl(tmp_path_factory.mktemp("qwen3-vl"), shared_data)


def run(recipe, model, data, out, *options) -> list[float]:
    """``croc train`` with a recipe of the package, few steps and no warm-up; the losses."""
    words = ["train", "--config", recipe, "--model", model, "--checks", data[0], "--questions", data[1]]
    words += ["--output_dir", out, "--checks_split", "test", "--warmup_steps", 0, "--logging_steps", 1]
    words += ["--eval_strategy", "no", "--save_strategy", "no", "--use_cpu", True, "--disable_tqdm", True]
    words += ["--per_device_train_batch_size", 2, "--gradient_accumulation_steps", 1, "--max_checks", CHECKS]
    done = CliRunner().invoke(main, [str(word) for word in [*words, *options]], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return [entry["loss"] for entry in json.loads((out / "training.json").read_text()) if "loss" in entry]


def one_question_of_each_answer(questions, folder):
    """A folder of two questions, which make up every batch."""
    table = pa.concat_tables([pq.read_table(file) for file in question_files(questions, "train")])
    labels = table["label"].to_pylist()
    (folder / "data").mkdir(parents=True)
    pq.write_table(table.take([labels.index(True), labels.index(False)]), folder / "data" / "train-0.parquet")
    return folder


def margins(folder, question) -> np.ndarray:
    scorer = CROCScore(folder, device="cpu", question=question, image_size="as is")
    return scorer.score_prompts(tiny.picture(), ["a dog", "two cats"])


def assert_trained(out, model, data, losses, tmp_path) -> None:
    """The loss fell, what was trained moved, and the saved folder scores as its results say."""
    assert np.mean(losses[-2:]) < losses[0] - 0.5, losses
    scorer = CROCScore(out, device="cpu", name="crocscore")
    question = scorer.settings.question
    assert np.abs(margins(out, question) - margins(model, question)).max() > 1e-3
    report = evaluation.evaluate_scorer(
        scorer,
        evaluation.select_checks(data[0], split="test", at_most=CHECKS),
        tmp_path / "again",
        resamples=2_000,
        by=("property",),
    )
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(report.to_dict()))


@pytest.mark.slow
def test_qwen3_vl(qwen3_vl, data, tmp_path):
    out = tmp_path / "out"
    losses = run("qwen3-vl", qwen3_vl, data, out, "--max_steps", 6, "--learning_rate", 0.02)
    assert_trained(out, qwen3_vl, data, losses, tmp_path)
    before, after = (load_file(folder / "model.safetensors") for folder in (qwen3_vl, out))
    moved = {
        name for name in after if not np.array_equal(after[name].float(), before[name].bfloat16().float())
    }
    parts = {name.rpartition(".layers.")[2].partition(".")[2] for name in moved}
    projections = ("q_proj", "k_proj", "v_proj", "o_proj")
    expected = {f"self_attn.{name}.weight" for name in projections}
    assert parts == expected | {f"mlp.{name}.weight" for name in ("gate_proj", "up_proj", "down_proj")}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["Idefics3", "SmolVLM"])
def test_smolvlm(family, data, tmp_path):
    model = published_models.smolvlm(tmp_path / "model", family=family)
    out = tmp_path / "out"
    losses = run("smolvlm", model, data, out, "--max_steps", 4, "--learning_rate", 0.003, *FLOAT32)
    assert_trained(out, model, data, losses, tmp_path)
    before, after = (load_file(folder / "model.safetensors") for folder in (model, out))
    moved = {name for name in after if not np.array_equal(after[name], before[name])}
    assert moved == {name for name in after if not name.startswith("model.vision_model.")}


@pytest.fixture(scope="module")
def phi4(tmp_path_factory):
    """Microsoft's checkpoint with random weights, imported for training, and for scoring."""
    work = tmp_path_factory.mktemp("phi4")
    microsoft_phi4.write(work / "microsoft", layers=4)
    return (
        import_checkpoint(work / "microsoft", work / "imported", keep_adapter=True, progress=False),
        import_checkpoint(work / "microsoft", work / "merged", progress=False),
    )


@pytest.mark.slow
def test_phi4(phi4, data, tmp_path):
    model, merged = phi4
    out = tmp_path / "out"
    # The loss of a random model differs between questions by more than a few steps change it.
    data = data[0], one_question_of_each_answer(data[1], tmp_path / "questions")
    options = ["--max_steps", 8, "--learning_rate", 0.001, "--attention", "sdpa", *FLOAT32]
    losses = run("phi4", model, data, out, *options)
    settings = CROCScore(out, device="cpu").settings
    assert settings.question == " Does this image show {prompt}? Answer with Yes or No."
    assert settings.image_size is None and CROCScore(merged, device="cpu").settings.image_size == (1024, 1024)
    assert not list(out.glob("adapter*"))
    assert_trained(out, merged, data, losses, tmp_path)


def phi4_trainer(data, tmp_path, *options):
    words = ["--config", "phi4", "--questions", data[1], "--checks", data[0], "--checks_split", "test"]
    words += ["--output_dir", tmp_path / "out", "--use_cpu", True, "--eval_strategy", "no", *options]
    return make_trainer(*read_recipe(words))


def test_phi4_starts_with_its_adapter(phi4, data, tmp_path):
    model, merged = phi4
    trainer = phi4_trainer(data, tmp_path, "--model", model, "--attention", "sdpa", "--dtype", "float32")
    question = "Is it {prompt}?"
    live = CROCScore(
        trainer.model.get_base_model(),
        processor=trainer.processing_class,
        question=question,
        image_size="as is",
        device="cpu",
    )
    expected = margins(merged, question)
    np.testing.assert_allclose(live.score_prompts(tiny.picture(), ["a dog", "two cats"]), expected, atol=1e-3)


def test_phi4_trains_what_the_authors_train(phi4, data, tmp_path):
    model, _ = phi4
    trainer = phi4_trainer(data, tmp_path, "--model", model, "--attention", "sdpa")
    stored = load_file(model / "vision-lora" / "adapter_model.safetensors")
    trained = {key for key, value in trainer.model.named_parameters() if value.requires_grad}
    adapter = {key.replace(".default", "") for key in trained if "lora_" in key}
    assert adapter == {key if key.startswith("base_model") else f"base_model.model.{key}" for key in stored}
    plain = {
        key.removeprefix("base_model.model.").replace(".base_layer", "")
        for key in trained
        if "lora_" not in key
    }
    every = {key for key, _ in trainer.model.get_base_model().named_parameters()}
    every = {key.replace(".base_layer", "") for key in every if "lora_" not in key}
    image = {key for key in every if key.startswith("model.embed_tokens_extend.image_embed.")}
    blocks = {key for key in every if re.match(r"model\.layers\.[23]\.", key)}
    # The output layer is tied to the embeddings of the tokens.
    assert plain == image | blocks | {"model.embed_tokens.weight"}
    names = {key.split(".")[3] for key in image}
    assert {"img_processor", "img_projection_up", "img_projection_down", "sub_img_feature_extensor"} <= names
    assert "global_img_feature_extensor" in names
    row = trainer.train_dataset[0]
    read = trainer.data_collator([row])
    # 48 pixels a side: one crop and the image as a whole, not the nine crops of 1024.
    assert read["image_pixel_values"].shape[1] == 2


def test_phi4_without_the_import_says_which_command_makes_it(data, tmp_path):
    options = ["--questions", data[1], "--output_dir", tmp_path / "out", "--use_cpu", "true"]
    with pytest.raises(
        CrocError, match=r"croc import-checkpoint microsoft/\S+ --revision \w+ --keep-adapter"
    ):
        make_trainer(*read_recipe(["--config", "phi4", *map(str, options)]))


def test_an_attention_that_is_not_installed_is_named(phi4, data, tmp_path):
    with pytest.raises(InputError, match="attention: 'flash_attention_2' cannot be used here"):
        phi4_trainer(data, tmp_path, "--model", phi4[0])
