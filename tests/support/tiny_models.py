"""Tiny models of the real transformers classes, randomly initialised, with processors that are built here.

Nothing is downloaded and nothing in them means anything; they have the shapes, the token layouts and the code
paths of the real ones. Every function returns ``(model, processor)`` on the CPU, in fp32, in evaluation mode;
``save(*pair, folder)`` makes a checkpoint of one.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import transformers as tf
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from croc.scorers.processors import without_video

# Of tensors this small, threads only wait for each other.
torch.set_num_threads(1)

_WORDS = (
    "yes no a an the red blue green dog cat book vase table on under two three is left of and photo does "
    "this image show figure please answer or"
)


def picture(seed: int = 0, size: tuple[int, int] = (40, 32)) -> Image.Image:
    """An RGB image of random blocks."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST)


def save(model, processor, folder: Path) -> Path:
    """Write a checkpoint as the Hub holds it."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def bert_tokenizer(extra: tuple[str, ...] = ()) -> tf.BertTokenizer:
    """WordPiece over a few words and all letters and digits; ``extra`` tokens take the last ids."""
    characters = string.ascii_lowercase + string.digits
    pieces = dict.fromkeys(
        [*_WORDS.split(), *characters, *string.punctuation, *(f"##{c}" for c in characters)]
    )
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]
    return tf.BertTokenizer(vocab={token: i for i, token in enumerate([*tokens, *extra])})


def clip_tokenizer() -> tf.CLIPTokenizer:
    """CLIP's byte-level BPE without merges: a token a letter, the end of a word marked."""
    tokens = [*LETTERS, *(f"{c}</w>" for c in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    return tf.CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[])


LETTERS = tuple(sorted(pre_tokenizers.ByteLevel.alphabet()))
"""The tokens of byte-level BPE without merges."""


def byte_level_bpe(
    ids: Mapping[str, int], merges: Sequence[tuple[str, str]], special: Iterable[str]
) -> Tokenizer:
    """Byte-level BPE with these ids, merges and control tokens."""
    tokenizer = Tokenizer(models.BPE(vocab=dict(ids), merges=list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


def chat_tokenizer(
    special: tuple[str, ...], *, yes_no: bool = True, bos: str | None = None, **named: str
) -> tf.PreTrainedTokenizerFast:
    """Byte-level BPE in which Yes, No, yes, no are one token each, with and without a space before them.

    Args:
        special: control tokens.
        yes_no: False leaves the merges out, so that the answers are several tokens.
        bos: a token that is put before every text.
        named: token attributes (``image_token="<image>"``).
    """
    merges = [("Y", "e"), ("Ye", "s"), ("N", "o"), ("y", "e"), ("ye", "s"), ("n", "o")] if yes_no else []
    merges += [("Ġ", f"{a}{b}") for a, b in merges if f"{a}{b}" in ("Yes", "No", "yes", "no")]
    vocab = dict.fromkeys(["<pad>", "</s>", *([bos] if bos else []), *special, *LETTERS])
    vocab |= dict.fromkeys(f"{a}{b}" for a, b in merges)
    ids = {token: i for i, token in enumerate(vocab)}
    backend = byte_level_bpe(ids, merges, special)
    if bos:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, ids[bos])]
        )
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="</s>",
        bos_token=bos,
        extra_special_tokens=named,
        padding_side="left",
    )


def clip(seed: int = 0, window: int = 40):
    tokenizer = clip_tokenizer()
    torch.manual_seed(seed)
    shape = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
    model = tf.CLIPModel(
        tf.CLIPConfig(
            text_config=dict(
                **shape,
                vocab_size=len(tokenizer),
                max_position_embeddings=window,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            ),
            vision_config=dict(**shape, image_size=32, patch_size=8),
            projection_dim=16,
            initializer_factor=20.0,
        )
    )
    images = tf.CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, do_convert_rgb=True
    )
    return model.eval(), tf.CLIPProcessor(images, tokenizer)


def siglip(seed: int = 0, window: int = 40):
    tokenizer = chat_tokenizer(("<image>",))
    torch.manual_seed(seed)
    shape = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
    model = tf.SiglipModel(
        tf.SiglipConfig(
            text_config=dict(**shape, vocab_size=len(tokenizer), max_position_embeddings=window),
            vision_config=dict(**shape, image_size=32, patch_size=8),
        )
    )
    model.logit_scale.data.fill_(2.0)
    model.logit_bias.data.fill_(-3.0)
    images = tf.SiglipImageProcessorPil(size={"height": 32, "width": 32})
    return model.eval(), tf.SiglipProcessor(images, tokenizer)


def align(seed: int = 0):
    tokenizer = bert_tokenizer()
    torch.manual_seed(seed)
    model = tf.AlignModel(
        tf.AlignConfig(
            text_config=dict(
                vocab_size=len(tokenizer),
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
            ),
            vision_config=dict(
                image_size=32,
                width_coefficient=1.0,
                depth_coefficient=1.0,
                depth_divisor=4,
                kernel_sizes=[3, 3],
                in_channels=[32, 8],
                out_channels=[8, 16],
                strides=[2, 2],
                num_block_repeats=[1, 1],
                expand_ratios=[1, 2],
                hidden_dim=16,
            ),
            projection_dim=16,
        )
    )
    images = tf.EfficientNetImageProcessorPil(size={"height": 32, "width": 32})
    return model.eval(), tf.AlignProcessor(images, tokenizer)


def _blip_config(tokenizer) -> tf.BlipConfig:
    shape = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
    return tf.BlipConfig(
        text_config=dict(
            **shape,
            encoder_hidden_size=32,
            vocab_size=len(tokenizer),
            bos_token_id=tokenizer.convert_tokens_to_ids("[DEC]"),
            sep_token_id=tokenizer.sep_token_id,
            max_position_embeddings=64,
        ),
        vision_config=dict(**shape, image_size=32, patch_size=8, initializer_range=0.3),
        image_text_hidden_size=16,
        initializer_range=0.3,
    )


def _blip_processor(tokenizer) -> tf.BlipProcessor:
    return tf.BlipProcessor(tf.BlipImageProcessorPil(size={"height": 32, "width": 32}), tokenizer)


def blip_vqa(seed: int = 0):
    tokenizer = bert_tokenizer(("[DEC]", "[ENC]"))
    torch.manual_seed(seed)
    return tf.BlipForQuestionAnswering(_blip_config(tokenizer)).eval(), _blip_processor(tokenizer)


def blip_itm(seed: int = 0):
    tokenizer = bert_tokenizer(("[DEC]", "[ENC]"))
    torch.manual_seed(seed)
    return tf.BlipForImageTextRetrieval(_blip_config(tokenizer)).eval(), _blip_processor(tokenizer)


def blip2_itm(seed: int = 0):
    tokenizer = bert_tokenizer()
    torch.manual_seed(seed)
    shape = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
    model = tf.Blip2ForImageTextRetrieval(
        tf.Blip2Config(
            vision_config=dict(**shape, image_size=32, patch_size=8, initializer_range=0.3),
            qformer_config=dict(
                **shape,
                vocab_size=len(tokenizer) + 1,
                encoder_hidden_size=32,
                max_position_embeddings=64,
                use_qformer_text_input=True,
                initializer_range=0.3,
            ),
            text_config=dict(model_type="opt", vocab_size=8, hidden_size=8, num_hidden_layers=1),
            num_query_tokens=4,
            image_text_hidden_size=16,
        )
    )
    torch.nn.init.normal_(model.query_tokens)
    images = tf.BlipImageProcessorPil(size={"height": 32, "width": 32})
    return model.eval(), tf.Blip2Processor(images, tokenizer)


def instructblip(seed: int = 0, *, encoder_decoder: bool = False):
    tokenizer = chat_tokenizer(("<image>",), bos=None if encoder_decoder else "<s>")
    readers = bert_tokenizer()
    torch.manual_seed(seed)
    shape = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
    if encoder_decoder:
        text = dict(
            model_type="t5", d_model=32, d_ff=48, d_kv=8, num_layers=2, num_heads=4, decoder_start_token_id=0
        )
    else:
        text = dict(model_type="llama", **shape, num_key_value_heads=2)
    model = tf.InstructBlipForConditionalGeneration(
        tf.InstructBlipConfig(
            vision_config=dict(**shape, image_size=32, patch_size=8, initializer_range=0.3),
            qformer_config=dict(
                **shape, vocab_size=len(readers), encoder_hidden_size=32, initializer_range=0.3
            ),
            text_config=dict(**text, vocab_size=len(tokenizer)),
            num_query_tokens=4,
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        )
    )
    torch.nn.init.normal_(model.query_tokens)
    images = tf.BlipImageProcessorPil(size={"height": 32, "width": 32})
    processor = tf.InstructBlipProcessor(images, tokenizer, readers, num_query_tokens=4)
    return model.eval(), processor


def language(tokenizer, **more):
    return (
        dict(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=1024,
            initializer_range=0.3,
        )
        | more
    )


def llava(seed: int = 0, *, yes_no: bool = True):
    """LLaVA with a SigLIP tower and a Llama: a fixed number of image tokens, BOS from the tokenizer."""
    tokenizer = chat_tokenizer(("<image>",), yes_no=yes_no, bos="<s>", image_token="<image>")
    torch.manual_seed(seed)
    vision = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
    model = tf.LlavaForConditionalGeneration(
        tf.LlavaConfig(
            vision_config=dict(
                model_type="siglip_vision_model", **vision, image_size=32, patch_size=8, vision_use_head=False
            ),
            text_config=dict(model_type="llama", **language(tokenizer)),
            image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
            vision_feature_select_strategy="full",
            vision_feature_layer=-1,
        )
    )
    processor = tf.LlavaProcessor(
        image_processor=tf.SiglipImageProcessorPil(size={"height": 32, "width": 32}),
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="full",
        chat_template=(
            "{% for m in messages %}{{ m['role'].upper() }}: {% for c in m['content'] %}"
            "{% if c['type'] == 'image' %}<image>\n{% else %}{{ c['text'] }}{% endif %}{% endfor %} "
            "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
        ),
    )
    return model.eval(), processor


def smolvlm(seed: int = 0):
    """SmolVLM: images are split into tiles, so that their number of tokens depends on their size."""
    special = ("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", "<|im_start|>")
    rows = tuple(f"<row_{i}_col_{j}>" for i in range(1, 4) for j in range(1, 4))
    tokenizer = chat_tokenizer((*special, *rows), image_token="<image>")
    torch.manual_seed(seed)
    model = tf.SmolVLMForConditionalGeneration(
        tf.SmolVLMConfig(
            vision_config=dict(
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                image_size=32,
                patch_size=8,
            ),
            text_config=dict(model_type="llama", **language(tokenizer), pad_token_id=0),
            image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
            scale_factor=2,
        )
    )
    processor = without_video(tf.SmolVLMProcessor)(
        tf.SmolVLMImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32}),
        tokenizer,
        None,
        image_seq_len=4,
        chat_template=(
            "<|im_start|>{% for m in messages %}{{ m['role'] | capitalize }}:{% for c in m['content'] %}"
            "{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
            "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
        ),
    )
    return model.eval(), processor


_QWEN_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_QWEN_TOKENS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)


def _qwen_ids(tokenizer) -> dict[str, int]:
    names = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"}
    names |= {"vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>"}
    return {key: tokenizer.convert_tokens_to_ids(token) for key, token in names.items()}


def qwen2_5_vl(seed: int = 0):
    """Qwen2.5-VL: dynamic resolution and three-dimensional rotary positions."""
    tokenizer = chat_tokenizer(_QWEN_TOKENS, image_token="<|image_pad|>", video_token="<|video_pad|>")
    torch.manual_seed(seed)
    model = tf.Qwen2_5_VLForConditionalGeneration(
        tf.Qwen2_5_VLConfig(
            vision_config=dict(
                depth=2,
                hidden_size=32,
                intermediate_size=48,
                num_heads=4,
                out_hidden_size=32,
                patch_size=8,
                window_size=32,
                fullatt_block_indexes=[1],
            ),
            text_config=language(
                tokenizer,
                rope_parameters={"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]},
            ),
            **_qwen_ids(tokenizer),
        )
    )
    images = tf.Qwen2VLImageProcessorPil(patch_size=8, size={"shortest_edge": 256, "longest_edge": 4096})
    processor = without_video(tf.Qwen2_5_VLProcessor)(images, tokenizer, None, chat_template=_QWEN_TEMPLATE)
    return model.eval(), processor


def qwen3_vl(seed: int = 0):
    """Qwen3-VL: like Qwen2.5-VL, with image features added inside the language model."""
    tokenizer = chat_tokenizer(_QWEN_TOKENS, image_token="<|image_pad|>", video_token="<|video_pad|>")
    torch.manual_seed(seed)
    model = tf.Qwen3VLForConditionalGeneration(
        tf.Qwen3VLConfig(
            vision_config=dict(
                depth=2,
                hidden_size=32,
                intermediate_size=48,
                num_heads=4,
                out_hidden_size=32,
                patch_size=8,
                num_position_embeddings=64,
                deepstack_visual_indexes=[0],
            ),
            text_config=language(
                tokenizer,
                head_dim=8,
                rope_parameters={"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]},
            ),
            **_qwen_ids(tokenizer),
        )
    )
    images = tf.Qwen2VLImageProcessorPil(patch_size=8, size={"shortest_edge": 256, "longest_edge": 4096})
    processor = without_video(tf.Qwen3VLProcessor)(images, tokenizer, None, chat_template=_QWEN_TEMPLATE)
    return model.eval(), processor


def gemma3(seed: int = 0):
    """Gemma 3: attention in both directions within an image, sliding windows between full layers."""
    special = ("<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>")
    tokenizer = chat_tokenizer(
        special,
        bos="<bos>",
        boi_token="<start_of_image>",
        eoi_token="<end_of_image>",
        image_token="<image_soft_token>",
    )
    torch.manual_seed(seed)
    model = tf.Gemma3ForConditionalGeneration(
        tf.Gemma3Config(
            vision_config=dict(
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                image_size=32,
                patch_size=8,
                vision_use_head=False,
            ),
            text_config=language(tokenizer, head_dim=8, sliding_window=512, query_pre_attn_scalar=8),
            mm_tokens_per_image=4,
            boi_token_index=tokenizer.convert_tokens_to_ids("<start_of_image>"),
            eoi_token_index=tokenizer.convert_tokens_to_ids("<end_of_image>"),
            image_token_index=tokenizer.convert_tokens_to_ids("<image_soft_token>"),
        )
    )
    processor = tf.Gemma3Processor(
        tf.Gemma3ImageProcessorPil(size={"height": 32, "width": 32}),
        tokenizer,
        image_seq_length=4,
        chat_template=(
            "<bos>{% for m in messages %}<start_of_turn>{{ m['role'] }}\n{% for c in m['content'] %}"
            "{% if c['type'] == 'image' %}<start_of_image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
            "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
        ),
    )
    return model.eval(), processor


class _Phi4Processor:
    """Stands in for Phi-4-multimodal's processor, which needs torchvision: one global and one local crop.

    The tensors and the count of 545 image tokens are those of the real one for an image of 448 pixels a side.
    """

    def __init__(self, tokenizer) -> None:
        self.tokenizer = tokenizer

    def image_processor(self, images, **_):
        crops = [
            np.asarray(image.convert("RGB").resize((448, 448)), dtype=np.float32) / 127.5 - 1
            for image in images
        ]
        pixels = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
        return {
            "image_pixel_values": torch.stack([pixels, pixels], dim=1),
            "image_sizes": torch.tensor([[448, 448]] * len(images)),
            "image_attention_mask": torch.ones(len(images), 2, 32, 32),
        }

    def apply_chat_template(self, turn, **options):
        return self.tokenizer.apply_chat_template(turn, **options)

    def __call__(self, text, images, **options):
        text = [part.replace("<|image|>", "<|image|>" * 545) for part in text]
        seen = self.image_processor([image for row in images for image in row])
        return {**self.tokenizer(text, **options), **seen}


def phi4_multimodal(seed: int = 0, *, layers: int = 2):
    """Phi-4-multimodal: its vision tower always sees 448 pixels; the audio part is as small as it can be."""
    special = ("<|user|>", "<|assistant|>", "<|end|>", "<|image|>", "<|audio|>")
    tokenizer = chat_tokenizer(special)
    tokenizer.chat_template = (
        "{% for m in messages %}<|{{ m['role'] }}|>{% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}<|image|>{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|end|>"
        "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    torch.manual_seed(seed)
    model = tf.Phi4MultimodalForCausalLM(
        tf.Phi4MultimodalConfig(
            **language(
                tokenizer,
                num_hidden_layers=layers,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=1,
                max_position_embeddings=2048,
            ),
            vision_config=dict(
                hidden_size=16,
                intermediate_size=24,
                num_hidden_layers=2,
                num_attention_heads=2,
                image_token_id=tokenizer.convert_tokens_to_ids("<|image|>"),
            ),
            audio_config=dict(
                hidden_size=16,
                intermediate_size=16,
                num_blocks=1,
                num_attention_heads=2,
                ext_pw_out_channel=16,
                depthwise_separable_out_channel=16,
                nemo_conv_channels=16,
                audio_token_id=tokenizer.convert_tokens_to_ids("<|audio|>"),
            ),
        )
    )
    return model.eval(), _Phi4Processor(tokenizer)


VISION_LANGUAGE = {
    "llava": llava,
    "smolvlm": smolvlm,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "gemma3": gemma3,
}
