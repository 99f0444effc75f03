"""What cannot be trained or loaded: one clear sentence each."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import tiny_models as tiny
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from tiny_training import checks_and_questions, written

from croc.cli import main
from croc.errors import CrocError, InputError
from croc.scorers.pairs import UnscoredPairs
from crocscore.model import CROCScore

pytest.importorskip("trl", reason="training needs the extra train")

WEIGHT = "language_model.model.layers.1.mlp.down_proj.weight"


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    return checks_and_questions(tmp_path_factory.mktemp("data"))[1]


@pytest.fixture
def model(tmp_path):
    return tiny.save(*tiny.llava(), tmp_path / "model")


def weights(folder: Path, change) -> None:
    file = folder / "model.safetensors"
    held = load_file(file)
    change(held)
    save_file(held, file, metadata={"format": "pt"})


def loses_a_weight(model, questions):
    weights(model, lambda held: held.pop(WEIGHT))


def has_another_shape(model, questions):
    weights(model, lambda held: held.update({WEIGHT: torch.zeros(3, 5)}))


def is_cut_off(model, questions):
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def is_a_pickle(model, questions):
    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()


def has_no_image_processor(model, questions):
    for name in ("processor_config.json", "preprocessor_config.json"):
        (model / name).unlink(missing_ok=True)


def is_a_language_model(model, questions):
    import transformers as tf

    for file in model.iterdir():
        file.unlink()
    tokenizer = tiny.chat_tokenizer(())
    shape = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    tf.LlamaForCausalLM(tf.LlamaConfig(**shape, vocab_size=len(tokenizer))).save_pretrained(model)
    tokenizer.save_pretrained(model)


def writes_answers_in_pieces(model, questions):
    tiny.save(*tiny.llava(yes_no=False), model)


def has_strange_settings(model, questions):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "croc": {"temperature": 2}}))


def has_one_label(model, questions):
    file = next(questions.glob("data/train-*"))
    table = pq.read_table(file)
    pq.write_table(table.filter(pc.field("label")), file)


def has_no_labels(model, questions):
    file = next(questions.glob("data/train-*"))
    pq.write_table(pq.read_table(file).drop(["label"]), file)


def has_empty_labels(model, questions):
    file = next(questions.glob("data/train-*"))
    table = pq.read_table(file)
    place = table.schema.get_field_index("label")
    pq.write_table(table.set_column(place, "label", pa.nulls(len(table), pa.bool_())), file)


def has_no_validation(model, questions):
    for file in questions.glob("data/validation-*"):
        file.unlink()


CASES = [
    (loses_a_weight, "no weights for .*layers.1.mlp.down_proj.weight"),
    (has_another_shape, r"down_proj.weight has the shape \(3, 5\) where its configuration says \(32, 64\)"),
    (is_cut_off, "cannot load the model .*"),
    (is_a_pickle, "pytorch_model.bin is a pickle, which could run code; save the weights as safetensors"),
    (has_no_image_processor, "it has no image processor"),
    (is_a_language_model, "it has no image processor"),
    (writes_answers_in_pieces, "writes the answer 'Yes' in 4 tokens"),
    (has_strange_settings, "unknown croc settings: temperature"),
    (has_one_label, "the split train has only the label True; training needs both answers"),
    (has_no_labels, r"train-00000-of-00001.parquet: missing column label"),
    (has_empty_labels, r"parquet: column label has no value in row 1"),
    (has_no_validation, "eval_strategy needs the split validation"),
]


@pytest.mark.parametrize(("spoil", "message"), CASES, ids=[case[0].__name__ for case in CASES])
def test_what_cannot_be_trained_is_refused_in_one_sentence(spoil, message, model, questions, tmp_path):
    mine = tmp_path / "questions"
    shutil.copytree(questions, mine)
    spoil(model, mine)
    words = written(
        tmp_path / "recipe.yaml", model=model, questions=mine, eval_strategy="steps", eval_steps=2
    )
    done = CliRunner().invoke(main, ["train", *words])
    assert done.exit_code == 2, (done.output, done.exception)
    said = [line for line in done.output.splitlines() if line.startswith("croc: ")]
    assert len(said) == 1 and re.search(message, said[0]), done.output
    assert not (tmp_path / "out" / "config.json").exists()


@pytest.mark.parametrize("spoil", [loses_a_weight, has_another_shape, is_cut_off, is_a_pickle])
def test_a_broken_checkpoint_is_not_scored_with(spoil, model):
    spoil(model, None)
    with pytest.raises(CrocError, match="cannot load the model"):
        CROCScore.from_pretrained(model, device="cpu").score([tiny.picture()], ["a dog"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"calibration": ["a", "b"]}, "calibration must be two finite numbers, a above 0 and b"),
        ({"calibration": [float("nan"), 0]}, "calibration must be two finite numbers"),
        ({"calibration": [-1, 0]}, "calibration must be two finite numbers"),
        ({"calibration": 3}, "calibration must be two values, not 3"),
        ({"image_size": ["a", "b"]}, "image_size must be a width and a height in pixels"),
        ({"image_size": [0, 8]}, "image_size must be a width and a height in pixels"),
        ({"image_size": [8.5, 8]}, "image_size must be a width and a height in pixels"),
        ({"answers": [1, 2]}, "answers must be two texts"),
        ({"answers": "YN"}, "answers must be two values"),
        ({"question": 3}, "the question 3 must contain {prompt} once"),
    ],
)
def test_settings_of_a_checkpoint_that_cannot_be_used_are_named(settings, message, model):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "croc": settings}))
    with pytest.raises(InputError, match=message):
        CROCScore.from_pretrained(model, device="cpu").score([tiny.picture()], ["a dog"])


DAMAGED = [
    ("config.json", "[]"),
    ("config.json", "{"),
    ("config.json", lambda config: config | {"text_config": "x"}),
    ("config.json", lambda config: config | {"architectures": [3]}),
    ("config.json", lambda config: config | {"text_config": {**config["text_config"], "hidden_size": "x"}}),
    (
        "config.json",
        lambda config: config | {"text_config": {**config["text_config"], "num_attention_heads": 0}},
    ),
    ("config.json", lambda config: config | {"image_token_id": None}),
    ("processor_config.json", lambda config: config | {"patch_size": None}),
    ("tokenizer.json", "[1]"),
    ("tokenizer_config.json", "[1]"),
    ("processor_config.json", "[1]"),
    ("model.safetensors.index.json", "{}"),
]


@pytest.mark.parametrize(("name", "content"), DAMAGED)
def test_a_damaged_file_of_a_checkpoint_is_one_sentence(name, content, model):
    if name.endswith("index.json"):
        (model / "model.safetensors").unlink()
    if not isinstance(content, str):
        content = json.dumps(content(json.loads((model / name).read_text())))
    (model / name).write_text(content)
    named = f"cannot (load|use) the (model|processor of) .*{model.name}|{name}: expected an object"
    with pytest.raises(CrocError, match=named):
        CROCScore.from_pretrained(model, device="cpu").score([tiny.picture()], ["a dog"])


@pytest.mark.parametrize(
    ("device", "message"),
    [("quantum", "device 'quantum' is unknown"), ("cuda:99", "PyTorch finds [0-9]+ CUDA GPUs here")],
)
def test_a_device_that_is_not_there_is_named(device, message, model):
    with pytest.raises(InputError, match=message):
        CROCScore.from_pretrained(model, device=device).score([tiny.picture()], ["a dog"])


@pytest.mark.parametrize("options", [{"model": "model"}, {}])
def test_an_option_that_does_not_exist_is_named_with_one_that_does(options, model):
    given = {key: model for key in options}
    with pytest.raises(InputError, match=r"there is no option 'devcie': did you mean device\?"):
        CROCScore.from_pretrained(**given, devcie="cpu")
    with pytest.raises(InputError, match=r"there is no option 'zzz': a checkpoint has processor, revision"):
        CROCScore.from_pretrained(**given, zzz=1)
    with pytest.raises(InputError, match="batch_size must be a whole number from 1, not 'many'"):
        CROCScore.from_pretrained(model, device="cpu", batch_size="many").score([tiny.picture()], ["a dog"])


@pytest.mark.parametrize("prompt", [None, 5, "", "\ud800"])
def test_an_explanation_of_what_is_no_prompt_is_refused(prompt, model):
    with pytest.raises(UnscoredPairs, match="pair 0 of the batch has no score: the prompt"):
        CROCScore.from_pretrained(model, device="cpu").explain(tiny.picture(), prompt)


@pytest.mark.parametrize("image", [None, "dog.png"])
def test_an_explanation_of_what_is_no_image_is_refused(image, model):
    with pytest.raises(InputError, match=f"an image must be a PIL image, not {type(image).__name__}"):
        CROCScore.from_pretrained(model, device="cpu").explain(image, "a dog")


def test_prompts_that_are_no_texts_are_named(model):
    scorer = CROCScore.from_pretrained(model, device="cpu")
    with pytest.raises(InputError, match="prompts must be a list, not str"):
        scorer.score([tiny.picture()], "a")
    with pytest.raises(InputError, match="images must be a list, not NoneType"):
        scorer.score(None, ["a dog"])
    with pytest.raises(
        UnscoredPairs, match="pair 1 of the batch has no score: the prompt is int, not a text"
    ):
        scorer.score([tiny.picture()] * 2, ["a dog", 3])
