"""A tiny ImageReward as it is published: a file of torch with BLIP's names, and BERT's tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import tiny_models as tiny
import torch
import transformers as tf

TEXT = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
# Names of transformers' vision transformer and those of the published file.
VISION = (
    ("embeddings.class_embedding", "cls_token"),
    ("embeddings.position_embedding", "pos_embed"),
    ("embeddings.patch_embedding.", "patch_embed.proj."),
    ("encoder.layers.", "blocks."),
    ("self_attn.projection.", "attn.proj."),
    ("self_attn.", "attn."),
    ("layer_norm1.", "norm1."),
    ("layer_norm2.", "norm2."),
    ("post_layernorm.", "norm."),
)


def parts():
    """BLIP's two encoders and the head, whose linear layers have dropouts between them."""
    torch.manual_seed(0)
    config = tf.BlipConfig(
        text_config=dict(
            TEXT,
            encoder_hidden_size=64,
            vocab_size=300,
            bos_token_id=298,
            sep_token_id=3,
            max_position_embeddings=64,
        ),
        vision_config=dict(
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=1,
            image_size=32,
            patch_size=8,
            layer_norm_eps=1e-6,
            initializer_range=0.3,
        ),
        initializer_range=0.3,
    )
    head = torch.nn.Sequential(
        torch.nn.Linear(32, 1024),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(1024, 128),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(128, 64),
        torch.nn.Dropout(0.1),
        torch.nn.Linear(64, 16),
        torch.nn.Linear(16, 1),
    )
    for layer in head:
        if isinstance(layer, torch.nn.Linear):
            layer.weight.data *= 3
    return tf.BlipForImageTextRetrieval(config).eval(), head.eval()


def published(folder: Path) -> dict[str, str]:
    """Write the two folders as the Hub has them; the arguments of the scorer."""
    blip, head = parts()
    state = {"blip.vision_proj.weight": torch.ones(2, 2), "blip.text_proj.weight": torch.ones(2, 2)}
    for name, value in blip.state_dict().items():
        if name.startswith("vision_model."):
            name = name.removeprefix("vision_model.")
            for ours, theirs in VISION:
                name = name.replace(ours, theirs)
            state[f"blip.visual_encoder.{name}"] = value
        elif name.startswith("text_encoder."):
            state[f"blip.{name}"] = value
    state |= {f"mlp.layers.{name}": value for name, value in head.state_dict().items()}
    places = {"model": folder / "model", "tokenizer": folder / "tokenizer"}
    places["model"].mkdir(parents=True)
    torch.save(state, places["model"] / "ImageReward.pt")
    text = blip.config.text_config.to_dict()
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act")
    names += ("max_position_embeddings", "layer_norm_eps", "pad_token_id")
    settings = {name: text[name] for name in names}
    # As published: the vocabulary and the width of the image are those of the weights.
    (places["model"] / "med_config.json").write_text(json.dumps({**settings, "encoder_width": 768}))
    tiny.bert_tokenizer().save_pretrained(places["tokenizer"])
    return {name: str(place) for name, place in places.items()}
