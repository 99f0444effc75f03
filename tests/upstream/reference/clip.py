"""CLIP by open_clip, CLIPScore by torchmetrics, HPS v2 by hpsv2, PickScore by t2v_metrics."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import upstream_inputs as inputs

from reference.imports import unused, without_init
from reference.record import save

VISION = dict(image_size=224, patch_size=32, layers=2, width=64, head_width=16)
TEXT = dict(context_length=77, vocab_size=49408, width=64, heads=4, layers=2)
SPECIAL = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}


def record(out: Path) -> None:
    """Write a folder for each package, and for open_clip one for each activation."""
    _write_tokenizer(out / "clip_tokenizer")
    for activation in ("gelu", "quickgelu"):
        _open_clip(out / f"open_clip-{activation}", quick_gelu=activation == "quickgelu")
    _torchmetrics(out / "torchmetrics", out)
    _hpsv2(out / "hpsv2")
    _pickscore(out / "pickscore", out)


def _write_tokenizer(folder: Path) -> None:
    """CLIP's vocabulary and merges as open_clip ships them, in the files that transformers reads."""
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {SPECIAL.get(token, token): number for token, number in tokenizer.encoder.items()}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
    merges = [" ".join(pair) for pair in tokenizer.bpe_ranks]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), "utf-8")


def _open_clip(folder: Path, *, quick_gelu: bool) -> None:
    import open_clip
    from open_clip.transform import image_transform

    model = open_clip.CLIP(
        64, open_clip.CLIPVisionCfg(**VISION), open_clip.CLIPTextCfg(**TEXT), quick_gelu=quick_gelu
    )
    # A seed under which cosines of both signs occur.
    inputs.randomise(model, seed=52)
    preprocess = image_transform(224, is_train=False)
    tokens = open_clip.get_tokenizer("ViT-B-32")(list(inputs.PROMPTS))
    pixels = torch.stack([preprocess(image) for image in inputs.images()])
    with torch.no_grad():
        images = model.encode_image(pixels, normalize=True)
        texts = model.encode_text(tokens, normalize=True)
    cosine = images @ texts.T
    logit = model.logit_scale.exp() * cosine
    save(folder, model, {"cosine": cosine, "logit": logit, "pixels": pixels, "tokens": tokens})


def _hpsv2(folder: Path) -> None:
    import hpsv2.img_score as package
    from hpsv2.src.open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
    from hpsv2.src.open_clip.transform import image_transform

    model = CLIP(64, CLIPVisionCfg(**VISION), CLIPTextCfg(**TEXT), output_dict=True)
    inputs.randomise(model, seed=6)
    preprocess = image_transform(224, is_train=False, resize_longest_max=True)
    folder.mkdir(parents=True, exist_ok=True)
    # The published file is a pickle of this form.
    torch.save({"epoch": 0, "state_dict": model.state_dict()}, folder / "HPS_v2_compressed.pt")
    # What initialize_model() leaves behind, with the reduced model.
    package.model_dict.update(model=model, preprocess_val=preprocess)
    package.device = "cpu"
    scores = [
        [
            package.score(image, prompt, cp=str(folder / "HPS_v2_compressed.pt"))[0]
            for prompt in inputs.PROMPTS
        ]
        for image in inputs.images()
    ]
    pixels = torch.stack([preprocess(image) for image in inputs.images()])
    save(folder, None, {"score": np.array(scores), "pixels": pixels})


def _clip_of_transformers(out: Path, seed: int):
    """A CLIPModel of the installed transformers with its processor."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizerFast

    shape = dict(hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4)
    config = CLIPConfig(
        text_config=dict(
            **shape, vocab_size=49408, hidden_act="gelu", bos_token_id=49406, eos_token_id=49407
        ),
        vision_config=dict(**shape, image_size=224, patch_size=32, hidden_act="gelu"),
        projection_dim=64,
    )
    model = inputs.randomise(CLIPModel(config), seed=seed)
    tokenizer = CLIPTokenizerFast(
        str(out / "clip_tokenizer" / "vocab.json"),
        str(out / "clip_tokenizer" / "merges.txt"),
        model_max_length=77,
    )
    images = CLIPImageProcessor(size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224})
    return model, CLIPProcessor(images, tokenizer)


def _torchmetrics(folder: Path, out: Path) -> None:
    from torchmetrics.functional.multimodal.clip_score import _clip_score_update

    model, processor = _clip_of_transformers(out, seed=7)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    with torch.no_grad():
        scores = [
            _clip_score_update(
                [_as_tensor(image)] * len(inputs.PROMPTS), list(inputs.PROMPTS), model, processor
            )[0]
            for image in inputs.images()
        ]
    # The library scales by 100.
    save(folder, None, {"cosine": torch.stack(scores).double() / 100})


def _as_tensor(image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _pickscore(folder: Path, out: Path) -> None:
    without_init("t2v_metrics", "t2v_metrics.models", "t2v_metrics.models.clipscore_models")
    unused("cv2")
    from t2v_metrics.models.clipscore_models.pickscore_model import PickScoreModel

    model, processor = _clip_of_transformers(out, seed=8)
    model.logit_scale.data.fill_(np.log(100.0))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    images, prompts = inputs.pairs()
    metric = SimpleNamespace(
        model=model,
        processor=processor,
        device="cpu",
        image_loader=lambda image: image,
    )
    metric.load_images = lambda given: PickScoreModel.load_images(metric, given)
    cosine = PickScoreModel.forward(metric, images, prompts).reshape(len(inputs.SIZES), -1)
    # t2v_metrics leaves the scale out; PickScore's own README multiplies by it.
    save(folder, None, {"cosine": cosine, "score": model.logit_scale.exp() * cosine})
