"""Tiny diffusers pipelines of the real classes, randomly initialised: 16 × 16 pixels, a layer or two."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
import transformers as tf
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SanaPipeline,
    SanaSprintPipeline,
    SanaTransformer2DModel,
    SCMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from tiny_models import chat_tokenizer, clip_tokenizer, language, qwen2_5_vl

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


def _strengthen(transformer) -> None:
    """Larger weights, so that prompt and guidance change pixels by more than rounding does."""
    for name, weights in transformer.named_parameters():
        if weights.ndim > 1 and "norm" not in name:
            weights.data.mul_(3)


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
        guidance_embeds=True,
    ).eval()
    _strengthen(transformer)
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


_TEMPLATE = (
    "{% for message in messages %}"
    "{{ message.content if message.content is string else message.content[0].text }}|"
    "{% endfor %}"
)


def _qwen3(seed: int):
    tokenizer = chat_tokenizer(())
    tokenizer.chat_template = _TEMPLATE
    tokenizer.padding_side = "right"
    torch.manual_seed(seed)
    return tokenizer, tf.Qwen3ForCausalLM(tf.Qwen3Config(**language(tokenizer), head_dim=8)).eval()


def _flux2_vae_and_transformer(seed: int, *, guidance: bool):
    torch.manual_seed(seed)
    vae = AutoencoderKLFlux2(
        sample_size=16,
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
        block_out_channels=(4,),
        layers_per_block=1,
        latent_channels=1,
        norm_num_groups=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    transformer = Flux2Transformer2DModel(
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=96,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance,
    )
    _strengthen(transformer)
    return {
        "vae": vae.eval(),
        "transformer": transformer.eval(),
        "scheduler": FlowMatchEulerDiscreteScheduler(),
    }


def flux2(seed: int = 0) -> Flux2Pipeline:
    """A Flux2Pipeline; its prompts are read by a Mistral model, from three of its layers."""
    tokenizer = chat_tokenizer(("[IMG]",))
    tokenizer.chat_template = _TEMPLATE
    torch.manual_seed(seed)
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = tf.Mistral3Config(
        vision_config=tf.PixtralVisionConfig(**vision, image_size=16, patch_size=8, head_dim=8),
        text_config=tf.MistralConfig(**language(tokenizer), head_dim=8),
        image_token_id=tokenizer.convert_tokens_to_ids("[IMG]"),
    )
    encoder = tf.Mistral3ForConditionalGeneration(config).eval()
    parts = _flux2_vae_and_transformer(seed, guidance=True)
    pipe = Flux2Pipeline(text_encoder=encoder, tokenizer=tokenizer, **parts)
    pipe.system_message = "draw"  # its own would be most of the tokens, of a letter each
    return pipe


def klein(seed: int = 0, *, distilled: bool = False) -> Flux2KleinPipeline:
    """A Flux2KleinPipeline; the distilled ones have no guidance."""
    tokenizer, encoder = _qwen3(seed)
    parts = _flux2_vae_and_transformer(seed, guidance=False)
    return Flux2KleinPipeline(text_encoder=encoder, tokenizer=tokenizer, is_distilled=distilled, **parts)


def qwen_image(seed: int = 0) -> QwenImagePipeline:
    """A QwenImagePipeline."""
    encoder, processor = qwen2_5_vl(seed)
    torch.manual_seed(seed)
    vae = AutoencoderKLQwenImage(
        base_dim=24,
        z_dim=4,
        dim_mult=[1, 2, 4],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    transformer = QwenImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(8, 4, 4),
    )
    _strengthen(transformer)
    return QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=vae.eval(),
        text_encoder=encoder,
        tokenizer=processor.tokenizer,
        transformer=transformer.eval(),
    )


def z_image(seed: int = 0) -> ZImagePipeline:
    """A ZImagePipeline."""
    tokenizer, encoder = _qwen3(seed)
    torch.manual_seed(seed)
    transformer = ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=32,
        axes_dims=[8, 4, 4],
        axes_lens=[512, 32, 32],
    )
    # They are made without values, and loading a checkpoint fills them.
    for padding in (transformer.x_pad_token, transformer.cap_pad_token):
        torch.nn.init.normal_(padding)
    return ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(seed),
        text_encoder=encoder,
        tokenizer=tokenizer,
        transformer=transformer.eval(),
    )


def _sana_parts(seed: int, **transformer):
    tokenizer = chat_tokenizer((), bos="<bos>")
    torch.manual_seed(seed)
    blocks = ("ResBlock", "EfficientViTBlock")
    vae = AutoencoderDC(
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=blocks,
        decoder_block_types=blocks,
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        scaling_factor=0.41407,
    )
    denoiser = SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=8,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=32,
        sample_size=32,
        **transformer,
    )
    encoder = tf.Gemma2Model(tf.Gemma2Config(**language(tokenizer), head_dim=8))
    return {
        "tokenizer": tokenizer,
        "text_encoder": encoder.eval(),
        "vae": vae.eval(),
        "transformer": denoiser.eval(),
    }


def sana(seed: int = 0) -> SanaPipeline:
    """A SanaPipeline; sizes are multiples of 32."""
    scheduler = DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    return SanaPipeline(scheduler=scheduler, **_sana_parts(seed))


def sana_sprint(seed: int = 0) -> SanaSprintPipeline:
    """A SanaSprintPipeline; sizes are multiples of 32."""
    parts = _sana_parts(seed, guidance_embeds=True, qk_norm="rms_norm_across_heads")
    return SanaSprintPipeline(scheduler=SCMScheduler(), **parts)


def save(pipe, folder: Path) -> Path:
    """Write a pipeline as the Hub holds it."""
    pipe.save_pretrained(folder)
    return folder
