"""The section ``images:`` of a preset: which models paint, how, and which images are flagged."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, model_validator

from croc_syn.model_settings import Endpoint, Model, Settings, find_model, with_defaults
from croc_syn.world.declarations.styles import USUAL, find_style

MODELS_FILE = Path(__file__).with_name("models.yaml")


class Cost(Settings):
    """The size of a model, from which :mod:`croc_syn.cost` estimates; see ``models.yaml``."""

    billions: float = Field(gt=0)
    pixels_per_token: int = Field(default=256, gt=0)
    layers: int = Field(gt=0)
    width: int = Field(gt=0)
    text_billions: float = Field(default=0, ge=0)
    guided: bool = False


class ImageModel(Model):
    """An image model; the fields are those of an entry of ``models.yaml``."""

    backend: Literal["diffusers", "endpoint"] = "diffusers"
    style: str | None = None
    steps: int | None = Field(default=None, ge=1, le=1000)
    guidance: float | None = Field(default=None, ge=0, le=100)
    text_tokens: int | None = Field(default=None, ge=1, le=4096)
    width: int = Field(default=1024, ge=16, le=4096)
    height: int = Field(default=1024, ge=16, le=4096)
    call: dict[str, Any] = Field(default_factory=dict)
    cost: Cost | None = None


class Contradiction(Settings):
    """A scorer that flags images which do not show their own prompt.

    Attributes:
        scorer: a name of ``croc scorers list``.
        measure: ``own``: the score with the image's own prompt; ``difference``: that minus the score with the
            other prompt of its check.
        threshold: an image below it is flagged.
        thresholds: other thresholds by property.
        options: for the scorer.
        batch_size: images in one call.
    """

    scorer: str
    measure: Literal["own", "difference"] = "own"
    threshold: float
    thresholds: dict[str, float] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    batch_size: int = Field(default=16, ge=1)


class Nsfw(Settings):
    """A classifier of images whose label ``label`` flags them, from ``threshold`` on."""

    model: str
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    label: str = "nsfw"
    threshold: float = Field(default=0.5, ge=0, le=1)
    batch_size: int = Field(default=16, ge=1)


class Flags(Settings):
    """Filters: they flag images and remove none.

    Attributes:
        near_duplicates: number of bits; of two images of one prompt whose 64-bit perceptual hashes differ in
            at most so many, the later one is flagged.
        nsfw: a classifier, in addition to a pipeline's own safety checker.
        contradiction: a scorer.
    """

    near_duplicates: int | None = Field(default=None, ge=0, le=64)
    nsfw: Nsfw | None = None
    contradiction: Contradiction | None = None


class Pipeline(Settings):
    """How a diffusers pipeline is run; ``quantise`` and ``cache`` change the images, hence the model's name.

    Attributes:
        dtype: number format.
        device: None takes the best one.
        compile: ``blocks`` compiles the repeated blocks (short), ``full`` the whole denoiser (long).
        quantise: the denoiser's weights by torchao; ``…-dynamic`` quantises activations too.
        cache: diffusers' acceleration that reuses results between steps: ``kind`` is one of
            ``first-block``, ``taylorseer``, ``faster``, ``pyramid``; the other keys are its arguments.
        offload: keep what is not in use in the CPU's memory: by ``model``, or by layer (``sequential``).
    """

    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    device: str | None = None
    compile: Literal["none", "blocks", "full"] = "none"
    quantise: Literal["none", "int8", "int8-dynamic", "float8", "float8-dynamic"] = "none"
    cache: dict[str, Any] | None = None
    offload: Literal["none", "model", "sequential"] = "none"

    @model_validator(mode="after")
    def _cache_has_a_kind(self) -> Pipeline:
        kinds = ("first-block", "taylorseer", "faster", "pyramid")
        if self.cache is not None and self.cache.get("kind") not in kinds:
            raise ValueError(f"cache needs the key kind, one of {', '.join(kinds)}")
        return self


@cache
def known_models() -> dict[str, ImageModel]:
    """The entries of ``models.yaml`` by name."""
    entries = yaml.safe_load(MODELS_FILE.read_text("utf-8"))
    return {entry["name"]: ImageModel(**entry) for entry in entries}


def image_model(name: str) -> ImageModel:
    """The image model of a name; see :func:`croc_syn.model_settings.find_model`."""
    return find_model(name, known_models(), ImageModel, "image model")


def _resolve(value: Any) -> Any:
    return image_model(value) if isinstance(value, str) else with_defaults(value, known_models())


class Images(Settings):
    """How images are made.

    Attributes:
        models: names of ``models.yaml``, or entries of that form; empty for the exact world.
        count: images per side, with the seeds ``first_seed``, ``first_seed + 1``, …
        first_seed: the first seed.
        size: width and height in pixels, in place of the models' own.
        format: of the files.
        quality: of WebP and JPEG, 1…100; 100 is lossless WebP.
        batch_size: images per batch; halved when memory runs out.
        checks_per_part: the work that an interruption may cost; None takes 16, and 1 for services.
        pipeline: for diffusers.
        endpoint: for a service.
        flags: filters.
        noise: of the exact world: probability that an image shows the other prompt.
        style: of the exact world: drawing style.
        held_out: of the exact world: what no image may show, as for ``specs``.
    """

    models: tuple[Annotated[ImageModel, BeforeValidator(_resolve)], ...] = ()
    count: int = Field(default=5, ge=1, le=1000)
    first_seed: int = Field(default=0, ge=0, lt=2**62)
    size: int | None = Field(default=None, ge=16, le=4096)
    format: Literal["webp", "png", "jpeg"] = "webp"
    quality: int = Field(default=90, ge=1, le=100)
    batch_size: int = Field(default=4, ge=1, le=1024)
    checks_per_part: int | None = Field(default=None, ge=1, le=10_000)
    pipeline: Pipeline = Pipeline()
    endpoint: Endpoint = Endpoint()
    flags: Flags = Flags()
    noise: float = Field(default=0.0, ge=0, le=1)
    style: str = USUAL
    held_out: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _models_differ(self) -> Images:
        names = [model.name for model in self.models]
        if len(set(names)) < len(names):
            raise ValueError(f"models: {', '.join(names)} must be different from each other")
        if self.noise and self.models:
            raise ValueError("noise applies to the exact world only; remove noise or models")
        find_style(self.style)
        if self.style != USUAL and self.models:
            raise ValueError("style applies to the exact world only; remove style or models")
        return self

    def size_of(self, model: ImageModel) -> tuple[int, int]:
        """Width and height of a model's images."""
        return (self.size, self.size) if self.size else (model.width, model.height)
