"""The architectures of the two small models that come with the package.

Both are standard transformers classes with random weights, and share vocabulary and image tower. They differ
in how image and text meet: in :func:`build_vlm` every word attends to every patch, while
:func:`build_dual_encoder` compares one vector of the image with one of the text.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from croc.scorers.captions import NORMALISED

if TYPE_CHECKING:
    import torch

SIDE, PATCH = 160, 16
"""Side of an image, and of a patch (one image token), in pixels."""

QUESTION = "Does this image show {prompt}?"
"""The question to the small models; it is short because every token costs time."""

ANSWERS = ("Yes", "No")
_SPECIAL = ("<pad>", "</s>", "<image>", "<answer>")
_CHAT = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}<answer>{% endif %}"
)


def train_tokenizer(texts: Iterable[str], size: int = 960, window: int = 256) -> Any:
    """Train a byte-level BPE: words of the exact world become one token, other words several.

    Args:
        texts: what the merges are learned from.
        size: entries of the vocabulary.
        window: maximum number of tokens of a text.

    Returns:
        A fast tokenizer in which Yes and No are one token each.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(_SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    answers = [*ANSWERS] * 1_000
    backend.train_from_iterator([*answers, *(QUESTION.format(prompt=text) for text in texts)], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="</s>",
        extra_special_tokens={"image_token": "<image>", "answer_token": "<answer>"},
        model_max_length=window,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


def extend_tokenizer(tokenizer: Any, texts: Iterable[str], *, least: int = 20) -> Any:
    """Add the words of texts that a tokenizer writes in several tokens; every other text keeps its tokens.

    A word that is a known word with a plural ending is not added: the model reads such words already.

    Args:
        tokenizer: the tokenizer of a trained model; it is not changed.
        texts: prompts, as the model reads them.
        least: how often a word has to occur.

    Returns:
        A tokenizer; it equals the given one if there are no such words.
    """
    from tokenizers import Tokenizer

    backend = tokenizer.backend_tokenizer
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text.split())
    pieces: Counter[str] = Counter()
    for word, count in counts.items():
        for piece, _ in backend.pre_tokenizer.pre_tokenize_str(f" {word}"):
            pieces[piece] += count
    state = json.loads(backend.to_str())
    vocabulary = state["model"]["vocab"]
    for piece, count in sorted(pieces.items(), key=lambda item: (-item[1], item[0])):
        tokens = [token.value for token in backend.model.tokenize(piece)]
        is_plural = len(tokens) == 2 and tokens[0][0] == "Ġ" and tokens[1] in ("s", "es")
        if count >= least and len(tokens) > 1 and not is_plural:
            vocabulary[piece] = len(vocabulary)
            state["model"]["ignore_merges"] = True  # a word of the vocabulary needs no merges that lead to it
    extended = copy.deepcopy(tokenizer)
    extended._tokenizer = Tokenizer.from_str(json.dumps(state))
    return extended


def initial_rows(
    old: torch.Tensor, tokenizer: Any, extended: Any, spellings: Mapping[str, Sequence[str]]
) -> torch.Tensor:
    """The rows of an embedding for a tokenizer that was extended: the old ones, then one for each new token.

    Args:
        old: (old tokens, width).
        tokenizer: that the old rows belong to.
        extended: what :func:`extend_tokenizer` made of it.
        spellings: words that mean the same; a new one among them begins with the row of the first old one in
            its half of the list (singulars, then plurals). Other words begin with the mean of their pieces.

    Returns:
        (all tokens, width).
    """
    import torch

    known: dict[str, str] = {}
    for words in spellings.values():
        half = len(words) // 2
        for side in (words, words[:half], words[half:]):
            own = [w for w in side if len(tokenizer(f" {w}", add_special_tokens=False)["input_ids"]) == 1]
            known |= dict.fromkeys(side, own[0]) if own else {}
    rows = [old]
    for number in range(len(tokenizer), len(extended)):
        text = extended.backend_tokenizer.decode([number], skip_special_tokens=False)
        like = known.get(text.strip())
        pieces = tokenizer(f" {like}" if like else text, add_special_tokens=False)["input_ids"]
        rows.append(old[pieces].mean(0, keepdim=True))
    return torch.cat(rows)


def tower_config() -> Any:
    """The image tower of both: a ConvNeXt with 1.5 million parameters, 10 × 10 tokens and their mean.

    A convolutional network learns the appearance of things from several times fewer images than a vision
    transformer of this size. The DINOv3 class is used because it returns tokens, where others return maps.
    """
    from transformers import DINOv3ConvNextConfig

    return DINOv3ConvNextConfig(
        hidden_sizes=[48, 96, 192], depths=[1, 2, 4], layer_scale_init_value=0.5, image_size=SIDE
    )


def image_processor() -> Any:
    """The image processor of both: 160 × 160 pixels for images of any shape, bicubic, values from −1 to 1."""
    from transformers import CLIPImageProcessorPil

    return CLIPImageProcessorPil(
        size={"height": SIDE, "width": SIDE},
        do_center_crop=False,
        do_convert_rgb=True,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )


def build_vlm(tokenizer: Any, *, text_layers: int = 3) -> tuple[Any, Any]:
    """A vision-language model, with random weights: DeepSeek-VL of the image tower and a Llama.

    Args:
        tokenizer: the tokenizer.
        text_layers: depth of the language model.

    Returns:
        ``DeepseekVLForConditionalGeneration`` with 3.1 million parameters, and ``LlavaProcessor``.
    """
    from transformers import DeepseekVLConfig, DeepseekVLForConditionalGeneration, LlamaConfig, LlavaProcessor

    tower = tower_config()
    width = tower.hidden_sizes[-1]
    tower.hidden_size = width  # needed by the aligner; a ConvNeXt has one size for each stage
    config = DeepseekVLConfig(
        vision_config=tower,
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=8 * width // 3,
            num_hidden_layers=text_layers,
            num_attention_heads=width // 32,
            num_key_value_heads=width // 32,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=True,
    )
    config.croc = {"question": QUESTION, "answers": list(ANSWERS), "caption": NORMALISED}
    # DeepSeek-VL's own processor pads an image to a square; for these models it is resized to one.
    processor = LlavaProcessor(
        image_processor=image_processor(),
        tokenizer=tokenizer,
        patch_size=PATCH,
        num_additional_image_tokens=1,
        vision_feature_select_strategy="full",
        chat_template=_CHAT,
    )
    return DeepseekVLForConditionalGeneration(config), processor


def build_dual_encoder(tokenizer: Any, *, text_layers: int = 2) -> tuple[Any, Any]:
    """A dual encoder of the same tower and CLIP's text encoder, with random weights, and its processor."""
    from tokenizers import pre_tokenizers, processors
    from transformers import (
        CLIPTextConfig,
        VisionTextDualEncoderConfig,
        VisionTextDualEncoderModel,
        VisionTextDualEncoderProcessor,
    )

    tower = tower_config()
    width = tower.hidden_sizes[-1]
    tower.hidden_size = width
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=2 * width // 3,
        intermediate_size=8 * width // 3,
        num_hidden_layers=text_layers,
        num_attention_heads=width // 48,
        max_position_embeddings=64,
        hidden_act="gelu",
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    config = VisionTextDualEncoderConfig.from_vision_text_configs(tower, text, projection_dim=width)
    config.croc = {"caption": NORMALISED}
    # CLIP reads its text vector at the end token, so its tokenizer has to append one.
    ended = copy.deepcopy(tokenizer)
    ended.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.eos_token_id)]
    )
    # In the question every word has a space before it; here prompts come alone and need one added.
    ended.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)
    return VisionTextDualEncoderModel(config), VisionTextDualEncoderProcessor(image_processor(), ended)
