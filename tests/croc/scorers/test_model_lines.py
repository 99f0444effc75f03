"""Entries of models.yaml: a small checkpoint of the architecture loads with the options of the entry."""

from __future__ import annotations

import tempfile
import warnings

import numpy as np
import pytest
import sentencepiece
import tiny_models as tiny
import tiny_vision_language as larger
import torch
import transformers as tf

from croc.scorers.registry import family_of, info, load

PROMPTS = ["a red dog on the table", "A Blue cat.", "two green vase and a book"]
IMAGES = [tiny.picture(seed, size) for seed, size in enumerate([(40, 32), (32, 48), (40, 40)])]


def siglip():
    """SigLIP with the class of its own tokenizer, which lowercases and removes punctuation."""
    model, processor = tiny.siglip(window=64)
    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([prompt.lower() for prompt in PROMPTS] * 20),
            model_prefix=f"{folder}/spiece",
            vocab_size=40,
            hard_vocab_limit=False,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            minloglevel=2,
        )
        tokenizer = tf.SiglipTokenizer(f"{folder}/spiece.model", model_input_names=["input_ids"])
        return model, tf.SiglipProcessor(processor.image_processor, tokenizer)


LINES = {
    "clipscore-l14-336": tiny.clip,
    "clipscore-bigg14": tiny.clip,
    "siglip-so400m": siglip,
    "blip2-itm-coco": tiny.blip2_itm,
    "vqascore-qwen2.5-vl-72b": tiny.qwen2_5_vl,
    "vqascore-qwen2.5-vl-32b": tiny.qwen2_5_vl,
    "vqascore-qwen3-vl-32b": tiny.qwen3_vl,
    "vqascore-qwen3-vl-2b": tiny.qwen3_vl,
    "vqascore-gemma-3-27b": tiny.gemma3,
    "vqascore-gemma-3-12b": tiny.gemma3,
    "vqascore-smolvlm2-2.2b": tiny.smolvlm,
    "vqascore-internvl3-8b": larger.internvl,
    "vqascore-internvl3-1b": larger.internvl,
    "vqascore-llava-onevision-7b": larger.llava_onevision,
    "vqascore-llava-onevision-0.5b": larger.llava_onevision,
}


@pytest.mark.parametrize("name", LINES)
def test_a_checkpoint_of_the_architecture_loads_with_the_options_of_its_line(name, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, processor = LINES[name]()
    tiny.save(model, processor, tmp_path)
    entry = info(name)
    options = dict(entry.options)
    if options.pop("torch_weights", False):
        # As the published repository: a file of torch.
        (tmp_path / "model.safetensors").unlink()
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    scorer = load(name, model=str(tmp_path), device="cpu")
    assert type(scorer.checkpoint.model) is type(model)
    assert scorer.checkpoint.pinned.startswith("local:")
    scores = scorer.score(IMAGES, PROMPTS)
    expected = family_of(entry)(model, processor=processor, **options).score(IMAGES, PROMPTS)
    assert scores == pytest.approx(expected, abs=1e-6)
    assert np.isfinite(scores).all()
    # Capitals and punctuation are removed by SigLIP's own tokenizer.
    if name == "siglip-so400m":
        assert scorer.score(IMAGES, [prompt.lower().strip(".") for prompt in PROMPTS]) == pytest.approx(
            scores
        )


def test_the_weights_of_a_file_of_torch_are_part_of_the_signature(tmp_path):
    model, processor = tiny.clip()
    tiny.save(model, processor, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    signed = []
    for shift in (0.0, 1.0):
        model.logit_scale.data += shift
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
        signed.append(load("clipscore-l14-336", model=str(tmp_path), device="cpu").fields()["revision"])
    assert signed[0] != signed[1]
