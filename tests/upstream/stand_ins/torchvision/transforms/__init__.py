"""The transforms of images that the reference packages evaluate with."""

from __future__ import annotations

import torch

from ..placeholders import placeholder
from . import functional
from .functional import InterpolationMode

__all__ = ["CenterCrop", "Compose", "InterpolationMode", "Normalize", "Resize", "ToTensor", "functional"]


class Compose:
    """Apply transforms one after another."""

    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, image):
        for transform in self.transforms:
            image = transform(image)
        return image


class Resize(torch.nn.Module):
    """Resize to (height, width), or the shorter side to an integer."""

    def __init__(self, size, interpolation=InterpolationMode.BILINEAR, max_size=None, antialias=True):
        super().__init__()
        assert max_size is None, "not part of the stand-in"
        self.size, self.interpolation, self.antialias = size, interpolation, antialias

    def forward(self, image):
        return functional.resize(image, self.size, self.interpolation, antialias=self.antialias)


class CenterCrop(torch.nn.Module):
    """Cut out the middle."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, image):
        return functional.center_crop(image, self.size)


class ToTensor:
    """A PIL image as float32 (channels, height, width) in 0…1."""

    def __call__(self, image):
        return functional.to_tensor(image)


class Normalize(torch.nn.Module):
    """(x − mean) / std by channel."""

    def __init__(self, mean, std, inplace=False):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, image):
        return functional.normalize(image, self.mean, self.std)


def __getattr__(name):
    return placeholder(__name__, name)
