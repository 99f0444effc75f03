"""Tiny diffusers pipelines of the real classes, randomly initialised: 16 × 16 pixels, a layer or two."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
import transformers as tf
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from tiny_models import clip_tokenizer

torch.set_num_threads(1)
for _name in ("diffusers", "transformers"):
    logging.getLogger(_name).setLevel(logging.ERROR)


def _clip(tokenizer, *, projection: bool, seed: int):
    torch.manual_seed(seed)
    config = tf.CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=32,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    made = tf.CLIPTextModelWithProjection if projection else tf.CLIPTextModel
    return made(config).eval()


def _t5(seed: int):
    torch.manual_seed(seed)
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(letter, -2.0) for letter in "▁abcdefghijklmnopqrstuvwxyz0123456789,.-'"]
    tokenizer = tf.T5Tokenizer(vocab=pieces, extra_ids=0)
    config = tf.T5Config(vocab_size=len(pieces) + 2, d_model=32, d_kv=8, d_ff=37, num_layers=1, num_heads=4)
    return tokenizer, tf.T5EncoderModel(config).eval()


def _vae(seed: int, latents: int = 4):
    torch.manual_seed(seed)
    return AutoencoderKL(
        sample_size=16,
        in_channels=3,
        out_channels=3,
        block_out_channels=(4,),
        layers_per_block=1,
        latent_channels=latents,
        norm_num_groups=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.06,
        scaling_factor=1.5,
    ).eval()


def flux(seed: int = 0, *, layers: int = 1) -> FluxPipeline:
    """A FluxPipeline."""
    tokenizer = clip_tokenizer()
    tokenizer.model_max_length = 77
    tokenizer_2, text_encoder_2 = _t5(seed)
    torch.manual_seed(seed)
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=layers,
        num_single_layers=layers,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=[4, 4, 8],
    ).eval()
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(seed, latents=1),
        text_encoder=_clip(tokenizer, projection=False, seed=seed),
        tokenizer=tokenizer,
        text_encoder_2=text_encoder_2,
        tokenizer_2=tokenizer_2,
        transformer=transformer,
    )


def sd3(seed: int = 0) -> StableDiffusion3Pipeline:
    """A StableDiffusion3Pipeline."""
    tokenizers = [clip_tokenizer(), clip_tokenizer()]
    for tokenizer in tokenizers:
        tokenizer.model_max_length = 77
    tokenizer_3, text_encoder_3 = _t5(seed)
    torch.manual_seed(seed)
    transformer = SD3Transformer2DModel(
        sample_size=16,
        patch_size=1,
        in_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pooled_projection_dim=64,
        out_channels=4,
    ).eval()
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(seed),
        text_encoder=_clip(tokenizers[0], projection=True, seed=seed),
        tokenizer=tokenizers[0],
        text_encoder_2=_clip(tokenizers[1], projection=True, seed=seed + 1),
        tokenizer_2=tokenizers[1],
        text_encoder_3=text_encoder_3,
        tokenizer_3=tokenizer_3,
    )


def checked(seed: int = 0, *, alarmed: bool = True) -> StableDiffusionPipeline:
    """A StableDiffusionPipeline with its real safety checker, one that finds everything or nothing."""
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker

    tokenizer = clip_tokenizer()
    tokenizer.model_max_length = 77
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        block_out_channels=(4, 8),
        layers_per_block=1,
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        norm_num_groups=2,
        attention_head_dim=2,
    ).eval()
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 16, "patch_size": 8}
    config = tf.CLIPConfig(
        vision_config=vision, text_config={"hidden_size": 16, "num_hidden_layers": 1}, projection_dim=16
    )
    checker = StableDiffusionSafetyChecker(config).eval()
    # Cosines lie between −1 and 1: a threshold outside makes it find everything, or nothing.
    for name in ("concept_embeds_weights", "special_care_embeds_weights"):
        getattr(checker, name).data.fill_(-2.0 if alarmed else 2.0)
    return StableDiffusionPipeline(
        vae=_vae(seed),
        text_encoder=_clip(tokenizer, projection=False, seed=seed),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=checker,
        feature_extractor=tf.CLIPImageProcessorPil(size=16, crop_size=16),
    )


def save(pipe, folder: Path) -> Path:
    """Write a pipeline as the Hub holds it."""
    pipe.save_pretrained(folder)
    return folder
