"""ImageReward: a BLIP that reads prompt and image together, with a head that people's rankings trained.

Xu et al. 2023, arXiv 2304.05977: the first state of BLIP's text encoder, which attends to the image, through
linear layers (without activations in between), normalised with the mean and the standard deviation over the
authors' data. The score is no probability: it is about 0 on average, with a spread of about 1. The image is
encoded once for all its prompts.

Against image-reward 1.5 with the same random weights, scores agree to 3e-6 of their spread. The difference on
purpose: control tokens in a prompt are text. It was never run on the published weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import numpy as np
from PIL.Image import Image, Resampling

from croc.checks.decoding import to_rgb
from croc.errors import CrocError
from croc.scorers.itm import padded
from croc.scorers.open_clip_weights import read_state
from croc.scorers.prompt_tokens import PromptTokenizer
from croc.scorers.shared_images import SharedImageScorer
from croc.scorers.text_checkpoints import TextCheckpoint

# Of the authors' package: normalisation of the reward, CLIP's of pixels, the head of its transformer's width.
REWARD_MEAN, REWARD_STD = 0.16717362830052426, 1.0333394966054072
_PIXEL_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
_PIXEL_STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)
_HEAD = (1024, 128, 64, 16, 1)
# A head of a vision transformer of BLIP has 64 numbers (ViT-B: 12 of 768, ViT-L: 16 of 1024).
_HEAD_WIDTH = 64
_TEXT_SETTINGS = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act"),
    *("max_position_embeddings", "layer_norm_eps", "pad_token_id"),
)

# timm's names of the parts of a vision transformer, and transformers'.
_VISION = (
    (r"^cls_token$", "embeddings.class_embedding"),
    (r"^pos_embed$", "embeddings.position_embedding"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embedding."),
    (r"^norm\.", "post_layernorm."),
    (r"^blocks\.(\d+)\.norm([12])\.", r"encoder.layers.\1.layer_norm\2."),
    (r"^blocks\.(\d+)\.attn\.proj\.", r"encoder.layers.\1.self_attn.projection."),
    (r"^blocks\.(\d+)\.attn\.", r"encoder.layers.\1.self_attn."),
    (r"^blocks\.(\d+)\.", r"encoder.layers.\1."),
)
# Of BLIP's pretraining, not used by the score; and a buffer that the class computes.
_UNUSED = re.compile(
    r"blip\.(vision_proj|text_proj|itm_head|temp)\b|blip\.text_encoder\.embeddings\.position_ids$"
)


class ImageReward(SharedImageScorer):
    """The reward of Xu et al. 2023, higher for what people prefer.

    Args:
        model: Hub id or folder with the weights and the configuration of the text encoder.
        tokenizer: Hub id or folder of BERT's tokenizer.
        tokenizer_revision: commit of ``tokenizer``.
        weights: name of the file of torch with the weights; read as tensors only.
        config: name of the file with the configuration of the text encoder.
        window: tokens of a prompt that are read, special ones included.
        batch_size: largest number of pairs in one forward pass.
        dtype: see :class:`~croc.scorers.loading.Checkpoint`, as are the other arguments.
    """

    def __init__(
        self,
        model: str,
        *,
        tokenizer: str,
        tokenizer_revision: str | None = None,
        name: str | None = None,
        weights: str = "ImageReward.pt",
        config: str = "med_config.json",
        window: int = 35,
        batch_size: int = 16,
        dtype: str | None = "float32",
        **checkpoint: Any,
    ) -> None:
        self.checkpoint = ImageRewardCheckpoint(
            model,
            weights=weights,
            config=config,
            processor=tokenizer,
            processor_revision=tokenizer_revision,
            dtype=dtype,
            **checkpoint,
        )
        self.name = name or self.checkpoint.name
        self.window = window
        self.batch_size = batch_size

    def truncated(self, prompts: Sequence[str]) -> np.ndarray:
        """Which prompts are longer than the window: bool (n,)."""
        return np.array([self._ids(prompt)[1] for prompt in prompts], dtype=bool)

    def fields(self) -> dict[str, str]:
        """Settings for the signature: checkpoint, image preparation, formula and window."""
        return {
            **self.checkpoint.fields(),
            "image_processor": "pil",
            "pillow": version("pillow"),
            "formula": "(MLP(state) - mean)/std",
            "window": str(self.window),
        }

    @cached_property
    def _tokenizer(self) -> PromptTokenizer:
        return PromptTokenizer(self.checkpoint.processor.tokenizer)

    def _ids(self, prompt: str) -> tuple[list[int], bool]:
        # [CLS] stays first, where BLIP's matching head has [ENC].
        before, after = self._tokenizer.special_tokens
        ids = self._tokenizer.ids(prompt)
        room = self.window - len(before) - len(after)
        return [*before, *ids[:room], *after], len(ids) > room

    def _encode(self, images: Sequence[Image]) -> Any:
        import torch

        model = self.checkpoint.model
        pixels = torch.from_numpy(np.stack([prepared(image, model.side) for image in images]))
        return model.vision(**self.checkpoint.to_device({"pixel_values": pixels}))[0]

    def _score_encoded(self, encoded: Any, prompts: Sequence[str]) -> np.ndarray:
        """The rewards of image features (n, tokens, width) with n prompts."""
        import torch

        model = self.checkpoint.model
        ids, mask = padded([self._ids(p)[0] for p in prompts], self._tokenizer.tokenizer.pad_token_id or 0)
        states = model.text(
            input_ids=ids.to(encoded.device),
            attention_mask=mask.to(encoded.device),
            encoder_hidden_states=encoded,
            encoder_attention_mask=torch.ones(encoded.shape[:-1], dtype=torch.long, device=encoded.device),
        ).last_hidden_state
        reward = model.head(states[:, 0, :].to(model.head[0].weight.dtype)).double()[:, 0]
        return np.asarray(((reward - REWARD_MEAN) / REWARD_STD).cpu().numpy())


def prepared(image: Image, side: int) -> np.ndarray:
    """An image as ImageReward reads it: float32 (3, side, side).

    The shorter side resized (bicubic), the middle cut out and normalised. The crop begins where torchvision's
    does: half of the rest, rounded to even.
    """
    image = to_rgb(image)
    width, height = image.size
    scale = side / min(width, height)
    if scale != 1:
        # As torchvision: the longer side is rounded down.
        size = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
        image = image.resize(size, Resampling.BICUBIC)
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    pixels = np.asarray(image.crop((left, top, left + side, top + side)), dtype=np.float32) / 255
    normalised = (pixels - _PIXEL_MEAN) / _PIXEL_STD
    return np.ascontiguousarray(normalised.transpose(2, 0, 1))


class ImageRewardCheckpoint(TextCheckpoint):
    """ImageReward's weights in BLIP's published layout, for transformers' BLIP."""

    def __init__(self, model: str, *, weights: str, config: str, **options: Any) -> None:
        super().__init__(model, **{"auto": "BlipForImageTextRetrieval", **options})
        self._weights_file = weights
        self._config_file = config

    @cached_property
    def model(self) -> Any:
        """A module with ``vision``, ``text`` and ``head``, in evaluation mode, on its device."""
        self._warn_if_unpinned()
        try:
            config = json.loads(self._file(self._config_file).read_text("utf-8"))
            state = read_state(self._file(str(self._weights_file)))
            model = _module(config, state)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CrocError(f"cannot load the model {self.source}: {error}") from error
        try:
            info = model.load_state_dict(_renamed(state), strict=False)
        except RuntimeError as error:
            detail = str(error).strip().splitlines()[-1].strip()
            raise CrocError(f"cannot load the model {self.source}: {detail}") from error
        self._require_weights(info.missing_keys, info.unexpected_keys, "ImageReward")
        return model.to(device=self.device, dtype=self.dtype).eval()


def _module(config: Mapping[str, Any], state: Mapping[str, Any]) -> Any:
    """BLIP's two encoders and the head, with the sizes of the weights."""
    import torch
    from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

    patches = state["blip.visual_encoder.patch_embed.proj.weight"]
    width, patch = patches.shape[0], patches.shape[-1]
    side = patch * round((state["blip.visual_encoder.pos_embed"].shape[1] - 1) ** 0.5)
    blocks = {name.split(".")[3] for name in state if name.startswith("blip.visual_encoder.blocks.")}
    vision = BlipVisionConfig(
        hidden_size=width,
        intermediate_size=state["blip.visual_encoder.blocks.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=len(blocks),
        num_attention_heads=width // _HEAD_WIDTH,
        image_size=side,
        patch_size=patch,
        hidden_act="gelu",
        layer_norm_eps=1e-6,
    )
    words = state["blip.text_encoder.embeddings.word_embeddings.weight"].shape[0]
    text = BlipTextConfig(
        **{name: config[name] for name in _TEXT_SETTINGS},
        vocab_size=words,
        # BERT's vocabulary with [DEC] and [ENC] after it.
        bos_token_id=words - 2,
        sep_token_id=config.get("sep_token_id"),
        encoder_hidden_size=width,
    )
    model = torch.nn.Module()
    model.side = side
    model.vision = BlipVisionModel(vision)
    model.text = BlipTextModel(text, add_pooling_layer=False)
    widths = (text.hidden_size, *_HEAD)
    model.head = torch.nn.Sequential(*(torch.nn.Linear(a, b) for a, b in pairwise(widths)))
    return model


def _renamed(state: Mapping[str, Any]) -> dict[str, Any]:
    """The weights under this program's names; other names stay, so that loading names them."""
    # Between the linear layers of the published head are dropouts: 0, 2, 4, 6, 7.
    layers = sorted({int(name.split(".")[2]) for name in state if re.match(r"mlp\.layers\.\d+\.", name)})
    found: dict[str, Any] = {}
    for name, value in state.items():
        if _UNUSED.match(name):
            continue
        if name.startswith("blip.visual_encoder."):
            name = name.removeprefix("blip.visual_encoder.")
            for theirs, ours in _VISION:
                name, changed = re.subn(theirs, ours, name)
                if changed:
                    break
            name = f"vision.{name}"
        elif name.startswith("blip.text_encoder."):
            name = name.replace("blip.text_encoder.", "text.", 1)
        elif name.startswith("mlp.layers."):
            _, _, number, kind = name.split(".")
            name = f"head.{layers.index(int(number))}.{kind}"
        found[name] = value
    return found
