"""A tiny CLIP-FlanT5 as it is published: files of torch, CLIP and the tokenizer in other repositories."""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch
import transformers as tf
from tiny_models import clip
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WIDTH, DEPTH = 32, 2
# More rows than the tokenizer has tokens; FlanT5 has 28 more.
SPARE = 3
OTHER = 5
"""Seed of the vision transformer in a checkpoint that has one."""


def t5_tokenizer() -> tf.PreTrainedTokenizerFast:
    """A Unigram model over characters with ▁Yes and ▁No, and the end token that T5 appends."""
    characters = [*string.ascii_letters, *string.digits, *string.punctuation, "▁"]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), *((c, -5.0) for c in characters)]
    pieces += [("▁Yes", -2.0), ("▁No", -2.0), ("▁a", -3.0)]
    made = Tokenizer(models.Unigram(pieces, unk_id=2))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def t5_config() -> dict:
    return dict(
        vocab_size=len(t5_tokenizer()) + SPARE,
        d_model=WIDTH,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        decoder_start_token_id=0,
    )


def t5(seed: int = 0) -> tf.T5ForConditionalGeneration:
    """FlanT5's architecture: an output that is not the embedding."""
    torch.manual_seed(seed)
    model = tf.T5ForConditionalGeneration(tf.T5Config(**t5_config()))
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) * 0.5)
    return model.eval()


def projector(seed: int = 1) -> torch.nn.Sequential:
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(WIDTH, WIDTH), torch.nn.GELU(), torch.nn.Linear(WIDTH, WIDTH)
    ).eval()


def save(folder: Path, *, with_tower: bool = False) -> dict[str, str]:
    """Write three folders as the Hub has them; the arguments of the scorer.

    Args:
        folder: where they are written.
        with_tower: whether the checkpoint has weights of its vision transformer: CLIP's with another seed.
    """
    places = {name: folder / name for name in ("model", "tower", "tokenizer")}
    for place in places.values():
        place.mkdir(parents=True)
    tower, processor = clip()
    tower.config.save_pretrained(places["tower"])
    processor.save_pretrained(places["tower"])
    # openai's files of that age have the position ids as well.
    positions = {"vision_model.embeddings.position_ids": torch.arange(17)[None]}
    torch.save({**tower.state_dict(), **positions}, places["tower"] / "pytorch_model.bin")
    state = {name: value for name, value in t5().state_dict().items() if "embed_tokens" not in name}
    state |= {f"mm_projector.{name}": value for name, value in projector().state_dict().items()}
    state["embed_tokens.weight"] = state["shared.weight"]
    if with_tower:
        own = clip(seed=OTHER)[0].vision_model.state_dict()
        state |= {f"vision_tower.vision_tower.vision_model.{name}": value for name, value in own.items()}
    torch.save(state, places["model"] / "pytorch_model.bin")
    config = {
        **t5_config(),
        "architectures": ["CLIPT5ForConditionalGeneration"],
        "model_type": "clip_t5",
        "mm_vision_tower": "openai/clip-vit-large-patch14-336",
        "mm_projector_type": "mlp2x_gelu",
        "mm_hidden_size": WIDTH,
        "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch",
    }
    (places["model"] / "config.json").write_text(json.dumps(config))
    t5_tokenizer().save_pretrained(places["tokenizer"])
    return {name: str(place) for name, place in places.items()}
