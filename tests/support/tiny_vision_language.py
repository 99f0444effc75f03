"""Further tiny vision-language models, as those of ``tiny_models``: their images become tiles."""

from __future__ import annotations

import torch
import transformers as tf
from tiny_models import chat_tokenizer, language

from croc.scorers.processors import without_video

_QWEN2 = dict(model_type="qwen2")


def internvl(seed: int = 0):
    """InternVL3 in transformers' layout: an image is cut into tiles, each of them a few tokens."""
    special = ("<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>")
    tokenizer = chat_tokenizer(
        special,
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    torch.manual_seed(seed)
    model = tf.InternVLForConditionalGeneration(
        tf.InternVLConfig(
            vision_config=dict(
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                image_size=[32, 32],
                patch_size=[8, 8],
                initializer_range=0.3,
            ),
            text_config=dict(_QWEN2, **language(tokenizer)),
            image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
            image_seq_length=4,
            downsample_ratio=0.5,
        )
    )
    images = tf.GotOcr2ImageProcessorPil(
        size={"height": 32, "width": 32}, crop_to_patches=True, min_patches=1, max_patches=4
    )
    processor = without_video(tf.InternVLProcessor)(
        images,
        tokenizer,
        None,
        image_seq_length=4,
        chat_template=(
            "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
            "{% if c['type'] == 'image' %}<IMG_CONTEXT>\n{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
            "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
        ),
    )
    return model.eval(), processor


def llava_onevision(seed: int = 0):
    """LLaVA-OneVision: tiles of the best of several resolutions, with a token at the end of each row."""
    special = ("<|im_start|>", "<|im_end|>", "<image>", "<video>")
    tokenizer = chat_tokenizer(special, image_token="<image>", video_token="<video>")
    torch.manual_seed(seed)
    resolutions = [[32, 32], [32, 64], [64, 32], [64, 64]]
    model = tf.LlavaOnevisionForConditionalGeneration(
        tf.LlavaOnevisionConfig(
            vision_config=dict(
                model_type="siglip_vision_model",
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                image_size=32,
                patch_size=8,
                vision_use_head=False,
            ),
            text_config=dict(_QWEN2, **language(tokenizer)),
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
            video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
            image_grid_pinpoints=resolutions,
        )
    )
    processor = without_video(tf.LlavaOnevisionProcessor)(
        tf.LlavaOnevisionImageProcessorPil(
            size={"height": 32, "width": 32}, image_grid_pinpoints=resolutions
        ),
        tokenizer,
        None,
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=(
            "{% for m in messages %}<|im_start|>{{ m['role'] }} {% for c in m['content'] %}"
            "{% if c['type'] == 'image' %}<image>{% endif %}{% endfor %}{% for c in m['content'] %}"
            "{% if c['type'] == 'text' %}\n{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>"
            "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
        ),
    )
    return model.eval(), processor


MODELS = {"internvl": internvl, "llava_onevision": llava_onevision}
