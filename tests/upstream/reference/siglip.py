"""SigLIP and SigLIP 2 by open_clip's text tower and timm's vision tower.

The tokenizers are stand-ins: for Gemma's (SigLIP 2), and a small SentencePiece model for that of C4 (SigLIP).
"""

from __future__ import annotations

import json
import string
from pathlib import Path

import numpy as np
import open_clip
import sentencepiece
import torch
import upstream_inputs as inputs
from open_clip.tokenizer import HFTokenizer, canonicalize_text, get_clean_fn
from open_clip.transform import PreprocessCfg, image_transform_v2
from timm.models.vision_transformer import VisionTransformer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

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
    """Write the folders ``siglip2`` and ``siglip``."""
    _siglip2(out / "siglip2")
    _siglip(out / "siglip")


def _siglip2(folder: Path) -> None:
    tokenizer = _tokenizer(folder)
    model = inputs.randomise(_model(tokenizer.get_vocab_size(), tanh=True), seed=21)
    _scale(model)
    # Google's processors resize bilinearly; open_clip's configuration of the same weights says bicubic.
    pixels = _pixels("bilinear")
    lower = get_clean_fn("lower")
    rows = [tokenizer.encode(lower(prompt)).ids for prompt in inputs.PROMPTS]
    tokens = torch.tensor([[*row, *[0] * (WINDOW - len(row))] for row in rows])
    arrays = {"logit": _logits(model, pixels, tokens), "pixels": pixels, "tokens": np.array(tokens)}
    save(folder, model, arrays)


def _siglip(folder: Path) -> None:
    """``logit`` as open_clip configures SigLIP, and ``logit_tanh`` with the activation of Google's code."""
    _sentencepiece(folder)
    # The way of open_clip's configurations of SigLIP, from a folder in place of the Hub.
    tokenizer = HFTokenizer(str(folder), context_length=WINDOW, clean="canonicalize")
    words = len(tokenizer.tokenizer)
    tokens = tokenizer(list(inputs.PROMPTS))
    pixels = _pixels("bicubic")
    model = inputs.randomise(_model(words, tanh=False), seed=22)
    _scale(model)
    approximated = _model(words, tanh=True).eval()
    approximated.load_state_dict(model.state_dict())
    arrays = {
        "logit": _logits(model, pixels, tokens),
        "logit_tanh": _logits(approximated, pixels, tokens),
        "pixels": pixels,
        "tokens": np.array(tokens),
    }
    save(folder, model, arrays)


def _model(words: int, *, tanh: bool) -> open_clip.CustomTextCLIP:
    """Both towers; GELU by its definition, or approximated with tanh."""
    text = open_clip.CLIPTextCfg(
        context_length=WINDOW,
        vocab_size=words,
        width=64,
        heads=4,
        layers=2,
        no_causal_mask=True,
        proj_bias=True,
        pool_type="last",
        norm_kwargs={"eps": 1e-6},
        act_kwargs={"approximate": "tanh"} if tanh else None,
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
        act_layer="gelu_tanh" if tanh else "gelu",
    )
    return model


def _scale(model: open_clip.CustomTextCLIP) -> None:
    with torch.no_grad():
        model.logit_scale.fill_(3.0)
        model.logit_bias.fill_(-10.0)


def _pixels(interpolation: str) -> torch.Tensor:
    settings = PreprocessCfg(
        size=SIDE, mean=(0.5,) * 3, std=(0.5,) * 3, interpolation=interpolation, resize_mode="squash"
    )
    prepare = image_transform_v2(settings, is_train=False)
    return torch.stack([prepare(image) for image in inputs.images()])


def _logits(model: open_clip.CustomTextCLIP, pixels: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        images = torch.nn.functional.normalize(model.visual(pixels), dim=-1)
        texts = model.encode_text(tokens, normalize=True)
        return model.logit_scale.exp() * images @ texts.T + model.logit_bias


def _sentencepiece(folder: Path) -> None:
    """A Unigram model of lower-case texts with T5's special tokens: SentencePiece's file, and tokenizers'."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = [canonicalize_text(prompt) for prompt in inputs.PROMPTS]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts * 20),
        model_prefix=str(folder / "spiece"),
        vocab_size=60,
        hard_vocab_limit=False,
        normalization_rule_name="identity",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    trained = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    pieces = [(trained.id_to_piece(i), trained.get_score(i)) for i in range(trained.get_piece_size())]
    made = Tokenizer(models.Unigram(pieces, unk_id=2))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    # The published repository pads with the end token.
    named = {"eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=WINDOW, **named).save_pretrained(folder)


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
