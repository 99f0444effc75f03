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
from croc.errors import CrocError
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
    (has_no_labels, "the split train has no column label"),
    (has_empty_labels, "training needs both answers"),
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
