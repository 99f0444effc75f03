"""The functions behind the transforms: PIL images by Pillow, tensors by torch."""

from __future__ import annotations

from enum import Enum

import numpy as np
import torch
from PIL import Image

from ..placeholders import placeholder


class InterpolationMode(Enum):
    """How pixels are resampled."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


_PIL = {
    InterpolationMode.NEAREST: Image.Resampling.NEAREST,
    InterpolationMode.BILINEAR: Image.Resampling.BILINEAR,
    InterpolationMode.BICUBIC: Image.Resampling.BICUBIC,
    InterpolationMode.BOX: Image.Resampling.BOX,
    InterpolationMode.HAMMING: Image.Resampling.HAMMING,
    InterpolationMode.LANCZOS: Image.Resampling.LANCZOS,
}


def _size(image):
    """(height, width)"""
    if isinstance(image, torch.Tensor):
        return image.shape[-2], image.shape[-1]
    return image.height, image.width


def resize(image, size, interpolation=InterpolationMode.BILINEAR, max_size=None, antialias=True):
    """Resize to (height, width), or the shorter side to an integer."""
    height, width = _size(image)
    if isinstance(size, int):
        short, long = min(height, width), max(height, width)
        other = int(size * long / short)
        size = (size, other) if height <= width else (other, size)
    if isinstance(interpolation, int):
        interpolation = next(mode for mode, pil in _PIL.items() if pil == interpolation)
    if (height, width) == tuple(size):
        return image
    if isinstance(image, torch.Tensor):
        return torch.nn.functional.interpolate(
            image[None], size=tuple(size), mode=interpolation.value, align_corners=False, antialias=antialias
        )[0]
    return image.resize((size[1], size[0]), _PIL[interpolation])


def pad(image, padding, fill=0, padding_mode="constant"):
    """Pad a tensor by (left, top, right, bottom)."""
    assert isinstance(image, torch.Tensor) and padding_mode == "constant", "not part of the stand-in"
    left, top, right, bottom = padding
    return torch.nn.functional.pad(image, (left, right, top, bottom), value=float(fill))


def center_crop(image, size):
    """Cut (height, width), or a square, out of the middle of an image that is at least as large."""
    height, width = (size, size) if isinstance(size, int) else size
    full_height, full_width = _size(image)
    assert height <= full_height and width <= full_width, "not part of the stand-in"
    top, left = round((full_height - height) / 2.0), round((full_width - width) / 2.0)
    if isinstance(image, torch.Tensor):
        return image[..., top : top + height, left : left + width]
    return image.crop((left, top, left + width, top + height))


def to_tensor(image):
    """A PIL image as float32 (channels, height, width) in 0…1."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().to(torch.float32).div(255)


def normalize(image, mean, std, inplace=False):
    """(x − mean) / std by channel."""
    mean, std = (torch.as_tensor(value, dtype=image.dtype)[:, None, None] for value in (mean, std))
    return (image - mean) / std


def __getattr__(name):
    return placeholder(__name__, name)
