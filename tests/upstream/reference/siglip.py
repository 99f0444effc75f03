"""SigLIP 2 by open_clip's text tower and timm's vision tower; the tokenizer is a stand-in for Gemma's."""

from __future__ import annotations

import json
import string
from pathlib import Path

import numpy as np
import open_clip
import torch
import upstream_inputs as inputs
from open_clip.tokenizer import get_clean_fn
from open_clip.transform import PreprocessCfg, image_transform_v2
from timm.models.vision_transformer import VisionTransformer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from reference.record import save

SIDE, WINDOW = 64, 64
SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>")
# What the published repositories say of their tokenizer.
TOKENIZER_CONFIG = dict(
    tokenizer_class="GemmaTokenizer",
    do_lower_case=True,
    add_bos_token=False,
    add_eos_token=True,
    bos_token="<bos>",
    eos_token="<eos>",
    pad_token="<pad>",
    unk_token="<unk>",
    padding_side="right",
    model_max_length=WINDOW,
    processor_class="SiglipProcessor",
)


def record(out: Path) -> None:
    """Write the folder ``siglip2``."""
    folder = out / "siglip2"
    tokenizer = _tokenizer(folder)
    text = open_clip.CLIPTextCfg(
        context_length=WINDOW,
        vocab_size=tokenizer.get_vocab_size(),
        width=64,
        heads=4,
        layers=2,
        no_causal_mask=True,
        proj_bias=True,
        pool_type="last",
        norm_kwargs={"eps": 1e-6},
        act_kwargs={"approximate": "tanh"},
    )
    vision = open_clip.CLIPVisionCfg(image_size=SIDE, patch_size=16, layers=1, width=64, head_width=16)
    model = open_clip.CustomTextCLIP(64, vision, text, init_logit_bias=-10.0)
    model.visual = VisionTransformer(
        img_size=SIDE,
        patch_size=16,
        embed_dim=64,
        depth=2,
        num_heads=4,
        class_token=False,
        global_pool="map",
        num_classes=0,
        act_layer="gelu_tanh",
    )
    inputs.randomise(model, seed=21)
    with torch.no_grad():
        model.logit_scale.fill_(3.0)
        model.logit_bias.fill_(-10.0)
    # Google's processors resize bilinearly; open_clip's configuration of the same weights says bicubic.
    settings = PreprocessCfg(
        size=SIDE, mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bilinear", resize_mode="squash"
    )
    prepare = image_transform_v2(settings, is_train=False)
    lower = get_clean_fn("lower")
    rows = [tokenizer.encode(lower(prompt)).ids for prompt in inputs.PROMPTS]
    tokens = torch.tensor([[*row, *[0] * (WINDOW - len(row))] for row in rows])
    pixels = torch.stack([prepare(image) for image in inputs.images()])
    with torch.no_grad():
        images = torch.nn.functional.normalize(model.visual(pixels), dim=-1)
        texts = model.encode_text(tokens, normalize=True)
    logits = model.logit_scale.exp() * images @ texts.T + model.logit_bias
    save(folder, model, {"logit": logits, "pixels": pixels, "tokens": np.array(tokens)})


def _tokenizer(folder: Path) -> Tokenizer:
    """Characters, spaces as ▁, and the end token: the form of Gemma's tokenizer, which keeps capitals."""
    characters = [*string.ascii_letters, *string.digits, *string.punctuation, "▁"]
    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *characters]
    made = Tokenizer(
        models.BPE({token: i for i, token in enumerate(tokens)}, [], unk_token="<unk>", byte_fallback=True)
    )
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.add_special_tokens(list(SPECIAL))
    made.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG), "utf-8")
    return made
