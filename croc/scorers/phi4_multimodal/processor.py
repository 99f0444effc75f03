"""The processor of Phi-4-multimodal: tokenizer, chat template, and crops of images without torchvision.

The image processor of transformers needs torchvision. Microsoft's own, which the authors of CROCScore used,
resizes with Pillow, and :func:`image_processor_class` gives its pixels. The two differ by rounding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from croc.errors import CrocError, InputError
from croc.scorers.phi4_multimodal.layout import AUDIO_TOKEN_ID, IMAGE_TOKEN_ID

PROCESSOR = "Phi4MultimodalProcessor"
"""Name of the class in transformers."""

SIDE = 448
"""Width and height of a crop in pixels."""

_PATCH = 14
_MOST_CROPS = 36
_LEAST_PIXELS = 10
_MARKUP = ("<|user|>", "<|assistant|>", "<|end|>")

# Microsoft's template takes the content of a turn as one text; this one takes lists of parts as well.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ 'IMAGE' }}"
    "{% elif part['type'] == 'audio' %}{{ 'AUDIO' }}"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"
)


def build_processor(tokenizer: Path, settings: Mapping[str, Any]) -> Any:
    """The ``Phi4MultimodalProcessor`` of a checkpoint in Microsoft's layout.

    Args:
        tokenizer: its ``tokenizer.json``.
        settings: its ``tokenizer_config.json``.

    Raises:
        InputError: the tokenizer cannot be read, or lacks a token of this model.
    """
    from tokenizers import Tokenizer
    from transformers import Phi4MultimodalFeatureExtractor, Phi4MultimodalProcessor, PreTrainedTokenizerFast

    try:
        backend = Tokenizer.from_str(tokenizer.read_text("utf-8"))
    except Exception as error:  # the library raises Exception itself
        raise InputError(f"{tokenizer} cannot be read as a tokenizer: {error}") from None
    image, audio = (backend.id_to_token(number) for number in (IMAGE_TOKEN_ID, AUDIO_TOKEN_ID))
    if missing := [name for name in _MARKUP if backend.token_to_id(name) is None]:
        raise InputError(f"{tokenizer} has no token {missing[0]}, which turns of Phi-4-multimodal begin with")
    if image is None or audio is None:
        raise InputError(
            f"{tokenizer} has no tokens with the ids {IMAGE_TOKEN_ID} and {AUDIO_TOKEN_ID}, which stand for "
            "images and audio"
        )
    special = {
        key: _content(settings.get(key)) for key in ("bos_token", "eos_token", "pad_token", "unk_token")
    }
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        extra_special_tokens={"image_token": image, "audio_token": audio},
        model_max_length=settings.get("model_max_length", 131072),
        padding_side="left",
        **{key: value for key, value in special.items() if value is not None},
    )
    template = CHAT_TEMPLATE.replace("'IMAGE'", repr(image)).replace("'AUDIO'", repr(audio))
    return Phi4MultimodalProcessor(
        image_processor_class()(), Phi4MultimodalFeatureExtractor(), made, chat_template=template
    )


def load_processor(source: str, backend: str | None, place: Mapping[str, Any]) -> Any:
    """The processor of an imported checkpoint.

    Args:
        source: folder or Hub id.
        backend: ``torchvision`` for the image processor of transformers; ``pil`` or None for that with
            Microsoft's pixels.
        place: ``revision`` and ``local_files_only``.

    Raises:
        CrocError: torchvision is asked for and not installed.
    """
    import importlib.util

    from transformers import AutoFeatureExtractor, AutoProcessor, AutoTokenizer, Phi4MultimodalProcessor
    from transformers.image_processing_base import ImageProcessingMixin

    if backend == "torchvision":
        if importlib.util.find_spec("torchvision") is None:
            raise CrocError(
                "image_processor=torchvision needs the package torchvision, which is not installed: install "
                "it, or use image_processor=pil, which needs nothing and has the published pixels"
            )
        made = AutoProcessor.from_pretrained(source, **place)
        # The class of transformers does not take the template that is stored with it.
        made.chat_template = made.chat_template or made.tokenizer.chat_template
        return made
    settings, _ = ImageProcessingMixin.get_image_processor_dict(source, **place)
    images = image_processor_class().from_dict(
        {key: value for key, value in settings.items() if key == "dynamic_hd"}
    )
    tokenizer = AutoTokenizer.from_pretrained(source, **place)
    audio = AutoFeatureExtractor.from_pretrained(source, **place)
    return Phi4MultimodalProcessor(images, audio, tokenizer, chat_template=tokenizer.chat_template)


@cache
def image_processor_class() -> Any:
    """The image processor without torchvision, a class of transformers' PIL backend.

    An image is resized to a grid of crops of 448 pixels (bilinear, by Pillow), padded with white at the right
    and below, and seen as a whole in one more crop (bicubic). 1024×1024 pixels give 3×3 crops and 2,625
    tokens.
    """
    from transformers import BatchFeature
    from transformers.image_processing_backends import PilBackend
    from transformers.processing_utils import ImagesKwargs

    class Phi4MultimodalImageProcessorKwargs(ImagesKwargs, total=False):  # type: ignore[misc,call-arg]
        patch_size: int
        dynamic_hd: int

    class Phi4MultimodalImageProcessorPil(PilBackend):  # type: ignore[misc]
        size = {"height": SIDE, "width": SIDE}  # noqa: RUF012  so that the library finds it
        patch_size = _PATCH
        dynamic_hd = _MOST_CROPS
        image_mean = [0.5, 0.5, 0.5]  # noqa: RUF012
        image_std = [0.5, 0.5, 0.5]  # noqa: RUF012
        resample = Image.Resampling.BICUBIC
        do_rescale = True
        do_normalize = True
        do_convert_rgb = True
        valid_kwargs = Phi4MultimodalImageProcessorKwargs
        model_input_names = ["image_pixel_values", "image_sizes", "image_attention_mask"]  # noqa: RUF012

        def _preprocess(
            self, images: list[np.ndarray], dynamic_hd: int, return_tensors: str | None = None, **_: Any
        ) -> Any:
            import torch

            made = [crops(Image.fromarray(np.moveaxis(image, 0, -1)), dynamic_hd) for image in images]
            most = max(len(image.pixels) for image in made)
            data = {
                "image_pixel_values": torch.stack([_padded(image.pixels, most, 0) for image in made]),
                "image_sizes": torch.tensor([image.size for image in made]),
                "image_attention_mask": torch.stack([_padded(image.mask, most, 1) for image in made]),
                "num_img_tokens": [image.tokens for image in made],
            }
            return BatchFeature(data=data, tensor_type=return_tensors)

    return Phi4MultimodalImageProcessorPil


class Crops(NamedTuple):
    """The crops of an image.

    Attributes:
        pixels: from −1 to 1, float32 (1 + n, 3, 448, 448); the first one is the whole image.
        mask: 1 for patches of the image, 0 for those of the padding, float32 (1 + n, 32, 32).
        size: height and width of all n crops together, in pixels.
        tokens: how many tokens the model makes of them.
    """

    pixels: Any
    mask: Any
    size: tuple[int, int]
    tokens: int


def crops(image: Image.Image, most: int = _MOST_CROPS) -> Crops:
    """The crops of an RGB image, at most ``most`` of them besides that of the whole image.

    Raises:
        ValueError: the image is too long and thin.
    """
    import torch

    columns, rows = grid(*image.size, most)
    width, height = columns * SIDE, rows * SIDE
    across, down = width / image.width, height / image.height
    size = (width, int(image.height * across)) if across < down else (int(image.width * down), height)
    if min(size) < _LEAST_PIXELS:
        raise ValueError(f"the aspect ratio is too extreme: the image would have {size[0]}×{size[1]} pixels")
    padded = Image.new("RGB", (width, height), "white")
    padded.paste(image.resize(size, Image.Resampling.BILINEAR))
    pixels = torch.from_numpy(np.array(padded)).permute(2, 0, 1).to(torch.float32).div(255)
    pixels = pixels.sub(0.5).div(0.5)
    whole = torch.nn.functional.interpolate(pixels[None], size=(SIDE, SIDE), mode="bicubic")
    patches = SIDE // _PATCH
    mask = torch.ones(rows * patches, columns * patches)
    mask[:, mask.shape[1] - (width - size[0]) // _PATCH :] = 0
    mask[mask.shape[0] - (height - size[1]) // _PATCH :, :] = 0
    # Two by two patches become one token. A token ends each row, and one is between the crops and the whole.
    seen, side = mask[0::2, 0::2], patches // 2
    tokens = int(seen.sum()) + int(seen[:, 0].sum()) + 1 + side * (side + 1)
    parts = pixels.reshape(3, rows, SIDE, columns, SIDE).permute(1, 3, 0, 2, 4).reshape(-1, 3, SIDE, SIDE)
    masks = mask.reshape(rows, patches, columns, patches).permute(0, 2, 1, 3).reshape(-1, patches, patches)
    return Crops(
        torch.cat([whole, parts]),
        torch.cat([torch.ones(1, patches, patches), masks]),
        (height, width),
        tokens,
    )


def grid(width: int, height: int, most: int) -> tuple[int, int]:
    """Columns and rows of crops: enough for the image, or of the most similar shape if those are too many."""
    columns, rows = math.ceil(width / SIDE), math.ceil(height / SIDE)
    if columns * rows <= most:
        return columns, rows
    best, smallest = (1, 1), math.inf
    for shape in _shapes(most):
        difference = abs(width / height - shape[0] / shape[1])
        is_large = width * height > 0.5 * SIDE * SIDE * shape[0] * shape[1]
        if difference < smallest or (difference == smallest and is_large):
            best, smallest = shape, difference
    return best


@cache
def _shapes(most: int) -> list[tuple[int, int]]:
    """All grids of at most ``most`` crops, small ones first; equal ones in the order of Microsoft's code."""
    shapes = {
        (i, j) for n in range(1, most + 1) for i in range(1, n + 1) for j in range(1, n + 1) if i * j <= most
    }
    return sorted(shapes, key=lambda shape: shape[0] * shape[1])


def _padded(tensor: Any, length: int, value: float) -> Any:
    """A tensor with its first dimension extended to ``length``."""
    import torch

    return torch.cat([tensor, tensor.new_full((length - len(tensor), *tensor.shape[1:]), value)])


def _content(token: Any) -> str | None:
    """A token as ``tokenizer_config.json`` writes it: its text, or a mapping with it."""
    return token.get("content") if isinstance(token, Mapping) else token
