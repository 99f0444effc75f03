"""Weights in open_clip's layout for transformers' ``CLIPModel``.

HPS v2 is published in this form only, as a file of ``torch.save``. It is read with torch's restricted reader
(``weights_only=True``), which builds tensors and refuses everything else.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from croc.errors import CrocError

_LAYERS = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_SINGLE = {
    "logit_scale": "logit_scale",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    # The misspelling is transformers'.
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
}
_TRANSPOSED = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
_BLOCK = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+)\.(weight|bias)")
_IN_PROJECTION = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)")
# Buffers and sizes, which the configuration gives.
_NOT_WEIGHTS = ("attn_mask", "input_resolution", "context_length", "vocab_size")


def read_state(path: Path) -> dict[str, Any]:
    """The tensors of a file of ``torch.save``, by name.

    Raises:
        CrocError: it is damaged, or holds anything but tensors and plain values.
    """
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CrocError(f"{path.name} cannot be read as weights: {reason}") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    tensors = {str(name).removeprefix("module."): value for name, value in state.items()}
    if not tensors or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise CrocError(f"{path.name} holds no weights by name")
    return tensors


def clip_weights(state: Mapping[str, Any]) -> dict[str, Any]:
    """Names and tensors of a ``CLIPModel`` from those of open_clip's CLIP with a vision transformer.

    Names that are not open_clip's stay as they are, so that loading them names them.
    """
    found: dict[str, Any] = {}
    for name, value in state.items():
        if name in _NOT_WEIGHTS:
            continue
        if name in _SINGLE:
            found[_SINGLE[name]] = value
        elif name in _TRANSPOSED:
            found[_TRANSPOSED[name]] = value.T.contiguous()
        elif match := _IN_PROJECTION.fullmatch(name):
            prefix, kind = _layer(match[1], match[2]), match[3]
            for part, rows in zip("qkv", value.chunk(3), strict=True):
                found[f"{prefix}.self_attn.{part}_proj.{kind}"] = rows.contiguous()
        elif (match := _BLOCK.fullmatch(name)) and match[3] in _LAYERS:
            found[f"{_layer(match[1], match[2])}.{_LAYERS[match[3]]}.{match[4]}"] = value
        else:
            found[name] = value
    return found


def _layer(visual: str | None, number: str) -> str:
    return f"{'vision' if visual else 'text'}_model.encoder.layers.{number}"
