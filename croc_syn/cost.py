"""An estimate of what a preset takes: calls, images, GPU hours, disk space.

A denoiser's step costs two operations per parameter and token, and its attention four per layer, width and
pair of tokens; a language model two per parameter and token. A GPU reaches the share ``UTILISATION`` of its
peak. The hours show the order of magnitude; they are not measured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from croc.errors import InputError
from croc.jobs.paid_calls import Expected
from croc.wording import counted
from croc_syn.painting.settings import ImageModel, Images
from croc_syn.writing.settings import Text, TextModel

if TYPE_CHECKING:
    from croc_syn.presets import Preset

PEAKS = {"h200": 989.0, "h100": 989.0, "a100": 312.0, "l40s": 362.0, "rtx4090": 165.0}
"""Dense bf16 operations per second, in 10¹², from the makers' data sheets."""

UTILISATION = 0.4
"""Share of the peak that large matrices reach in practice."""

_WRITING = 0.3  # the same for a language model that processes many requests at once

# Bits per pixel, measured on the 256-pixel images of TIFA160 (JPEG, so a little low); WebP's by quality.
_BITS = {"png": 13.0, "jpeg": 3.3, "webp": 2.3, "webp lossless": 8.7, "exact": 0.6}

_ASKED = 900  # tokens of a template with its examples
ANSWERED = {True: 2500, False: 160}
"""Tokens of a response, with and without reasoning."""


@dataclass(frozen=True)
class Line:
    """One model's share.

    Attributes:
        model: its name.
        what: ``prompts`` or ``images``.
        calls: responses or images.
        gpu_hours: None if the model's size is not known; 0 if a service runs it.
        disk: bytes.
        paid: what a paid service takes; empty if none runs the model.
    """

    model: str
    what: str
    calls: int
    gpu_hours: float | None
    disk: int
    paid: str = ""


@dataclass(frozen=True)
class Estimate:
    """The estimate of a preset.

    Attributes:
        specs: (spec, generation) pairs.
        checks: pairs of prompts × image models that paint them.
        images: of both sides.
        lines: per model.
        gpu: the GPU for which the hours hold.
    """

    specs: int
    checks: int
    images: int
    lines: tuple[Line, ...]
    gpu: str

    @property
    def disk(self) -> int:
        """Bytes of the finished files."""
        return sum(line.disk for line in self.lines)

    def text(self) -> list[str]:
        """The estimate as sentences."""
        lines = [
            f"{counted(self.specs, 'spec')}, {counted(self.checks, 'check')}, "
            f"{counted(self.images, 'image')}, "
            f"about {self.disk / 1e9:,.3g} GB"
        ]
        for line in self.lines:
            hours = "unknown GPU hours" if line.gpu_hours is None else _hours(line.gpu_hours, self.gpu)
            lines.append(
                f"{line.model}: {line.calls:,} {line.what}, {hours}, about {line.disk / 1e9:,.3g} GB"
            )
            lines += [line.paid] if line.paid else []
        if total := sum(line.gpu_hours or 0 for line in self.lines):
            lines.append(
                f"about {_hours(total, self.gpu)} in total, estimated from the sizes of the models at "
                f"{UTILISATION:.0%} of the peak performance, without retries and loading"
            )
        return lines


def _hours(hours: float, gpu: str) -> str:
    return f"{hours:,.3g} GPU hours ({gpu})" if hours else "no GPU"


def estimate(preset: Preset, gpu: str = "h100") -> Estimate:
    """Estimate what a preset takes.

    Args:
        preset: the preset.
        gpu: a key of ``PEAKS``.

    Raises:
        InputError: the GPU is not known, or the preset's specs cannot be planned.
    """
    if gpu not in PEAKS:
        raise InputError(f"GPU {gpu!r} is not known; known are {', '.join(PEAKS)}")
    specs = preset.specs.checks or len(preset.plan_specs()[1]) * preset.text.generations
    painters = max(1, len(preset.images.models))
    writers = max(1, len(preset.text.models))
    styles = len(preset.text.styles) if preset.text.models else 1
    pairs = specs * writers * styles  # for each image model
    lines = [_writing(model, specs * styles * painters, preset.text, gpu) for model in preset.text.models]
    lines += [_painting(model, pairs, preset.images, gpu) for model in preset.images.models]
    if not preset.images.models:
        side = preset.images.size or 256
        count = 2 * preset.images.count * pairs
        lines.append(Line("exact world", "images", count, 0.0, int(count * side * side * _BITS["exact"] / 8)))
    checks = pairs * painters
    return Estimate(specs, checks, 2 * preset.images.count * checks, tuple(lines), gpu)


def seconds_per_image(model: ImageModel, width: int, height: int, gpu: str) -> float | None:
    """Estimated GPU seconds per image; None if the model's size is not known.

    Example:
        >>> from croc_syn.painting.settings import image_model
        >>> round(seconds_per_image(image_model("flux.1-schnell"), 1024, 1024, "h100"), 1)
        1.3
    """
    if model.cost is None or model.steps is None:
        return None
    cost = model.cost
    tokens = width * height / cost.pixels_per_token + (model.text_tokens or 256)
    linear = 2 * cost.billions * 1e9 * tokens
    attention = 4 * cost.layers * tokens**2 * cost.width
    predictions = 2 if cost.guided and (model.guidance or 0) > 1 else 1
    return model.steps * predictions * (linear + attention) / (PEAKS[gpu] * 1e12 * UTILISATION)


def _painting(model: ImageModel, pairs: int, settings: Images, gpu: str) -> Line:
    width, height = settings.size_of(model)
    count = 2 * settings.count * pairs
    seconds = seconds_per_image(model, width, height, gpu)
    hours = None
    if model.backend == "endpoint":
        hours = 0.0
    elif seconds is not None and model.cost is not None:
        texts = 2 * pairs * 2 * model.cost.text_billions * 1e9 * (model.text_tokens or 256)
        hours = (count * seconds + texts / (PEAKS[gpu] * 1e12 * UTILISATION)) / 3600
    bits = _BITS[
        "webp lossless" if settings.format == "webp" and settings.quality == 100 else settings.format
    ]
    paid = Expected(model.name, count, images=count).text(settings.endpoint) if hours == 0.0 else ""
    return Line(model.name, "images", count, hours, int(count * width * height * bits / 8), paid)


def _writing(model: TextModel, calls: int, text: Text, gpu: str) -> Line:
    hours, paid = None, ""
    answered = ANSWERED[model.reasons]
    if (model.backend or text.backend) == "endpoint":
        paid = Expected(model.name, calls, calls * _ASKED, calls * answered).text(text.endpoint)
    # The name of a model contains its size: QwQ-32B, DeepSeek-R1-Distill-Qwen-14B.
    if size := re.search(r"(\d+(?:\.\d+)?)b\b", model.model.lower()):
        tokens = calls * (_ASKED + answered)
        hours = 2 * float(size[1]) * 1e9 * tokens / (PEAKS[gpu] * 1e12 * _WRITING) / 3600
    return Line(model.name, "prompt pairs", calls, hours, calls * 400, paid)
