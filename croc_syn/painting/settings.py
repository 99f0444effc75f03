"""The section ``images:`` of a preset: which models paint, how, and what is flagged; every key checked."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from croc.errors import InputError

MODELS_FILE = Path(__file__).with_name("models.yaml")

_STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Cost(BaseModel):
    """What an image costs, in the terms of arithmetic; see ``models.yaml``."""

    model_config = _STRICT
    billions: float = Field(gt=0)
    pixels_per_token: int = Field(256, gt=0)
    layers: int = Field(gt=0)
    width: int = Field(gt=0)
    text_billions: float = Field(0, ge=0)
    guided: bool = False


class ImageModel(BaseModel):
    """An image model; the fields are those of an entry of ``models.yaml``."""

    model_config = _STRICT
    name: str = Field(min_length=1, max_length=80)
    model: str = Field(min_length=1, max_length=200)
    revision: str | None = Field(None, pattern=r"^[0-9a-f]{40}$")
    backend: Literal["diffusers", "endpoint"] = "diffusers"
    licence: str | None = None
    style: str | None = None
    steps: int | None = Field(None, ge=1, le=1000)
    guidance: float | None = Field(None, ge=0, le=100)
    text_tokens: int | None = Field(None, ge=1, le=4096)
    width: int = Field(1024, ge=16, le=4096)
    height: int = Field(1024, ge=16, le=4096)
    call: dict[str, Any] = Field(default_factory=dict)
    cost: Cost | None = None


class Contradiction(BaseModel):
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

    model_config = _STRICT
    scorer: str
    measure: Literal["own", "difference"] = "own"
    threshold: float
    thresholds: dict[str, float] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    batch_size: int = Field(16, ge=1)


class Nsfw(BaseModel):
    """A classifier of images whose label ``label`` flags them, from ``threshold`` on."""

    model_config = _STRICT
    model: str
    revision: str | None = Field(None, pattern=r"^[0-9a-f]{40}$")
    label: str = "nsfw"
    threshold: float = Field(0.5, ge=0, le=1)
    batch_size: int = Field(16, ge=1)


class Flags(BaseModel):
    """Filters: what they find becomes a flag; no image goes.

    Attributes:
        near_duplicates: of two images of one prompt whose perceptual hashes differ in at most so many of 64
            bits the later one is flagged.
        nsfw: a classifier, beside what a pipeline's own safety checker says.
        contradiction: a scorer.
    """

    model_config = _STRICT
    near_duplicates: int | None = Field(None, ge=0, le=64)
    nsfw: Nsfw | None = None
    contradiction: Contradiction | None = None


class Endpoint(BaseModel):
    """How a service is asked.

    Attributes:
        base_url: of an OpenAI-compatible service; None takes ``OPENAI_BASE_URL``, else OpenAI's.
        key_variable: environment variable with the key.
        concurrency: requests at a time.
        per_minute: requests a minute, at most.
        retries: of a request that fails in a way that passes (429, 500, a hang).
        timeout: seconds to wait for an answer.
        seeds: send the seed along; not every service knows it.
    """

    model_config = _STRICT
    base_url: str | None = None
    key_variable: str = "OPENAI_API_KEY"
    concurrency: int = Field(4, ge=1, le=256)
    per_minute: float | None = Field(None, gt=0)
    retries: int = Field(5, ge=0, le=20)
    timeout: float = Field(180.0, gt=0)
    seeds: bool = False

    def shared_out(self, workers: int) -> Self:
        """The settings of one of several workers, so that together they ask as fast as one may."""
        pace = self.per_minute
        return self.model_copy(
            update={
                "concurrency": max(1, self.concurrency // workers),
                "per_minute": None if pace is None else pace / workers,
            }
        )


class Pipeline(BaseModel):
    """How a diffusers pipeline is run; ``quantise`` and ``cache`` change the images and so the model's name.

    Attributes:
        dtype: number format.
        device: where; None takes the best there is.
        compile: ``blocks`` compiles the repeated blocks (short), ``full`` the whole denoiser (long).
        quantise: the denoiser's weights by torchao; ``…-dynamic`` quantises activations too.
        cache: diffusers' acceleration that reuses what changes little between steps: ``kind`` is one of
            ``first-block``, ``taylorseer``, ``faster``, ``pyramid``; the other keys are its own.
        offload: to the CPU's memory what is not at work: ``model`` by model, ``sequential`` by layer.
    """

    model_config = _STRICT
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
            raise ValueError(f"cache needs a kind: {', '.join(kinds)}")
        return self


def _named(value: Any) -> Any:
    """A name as the model of that name; a mapping with a known name, as that model with other settings."""
    if isinstance(value, str):
        return image_model(value)
    known = known_models()
    if isinstance(value, Mapping) and value.get("name") in known:
        return {**known[value["name"]].model_dump(), **value}
    return value


class Images(BaseModel):
    """How images are made.

    Attributes:
        models: names of ``models.yaml``, or entries of that form; empty stands for the exact world.
        count: images a side, with the seeds ``first_seed``, ``first_seed + 1``, …
        first_seed: the first seed.
        size: width and height in pixels, in place of the models' own.
        format: of the files.
        quality: of WebP and JPEG, 1…100; 100 is lossless WebP.
        batch_size: images at once; halved when memory runs out.
        checks_per_part: what a kill may cost; None takes 16, and 1 where images are paid for one by one.
        pipeline: for diffusers.
        endpoint: for a service.
        flags: filters.
        noise: of the exact world: probability that an image shows the other prompt.
    """

    model_config = _STRICT
    models: tuple[Annotated[ImageModel, BeforeValidator(_named)], ...] = ()
    count: int = Field(5, ge=1, le=1000)
    first_seed: int = Field(0, ge=0, lt=2**62)
    size: int | None = Field(None, ge=16, le=4096)
    format: Literal["webp", "png", "jpeg"] = "webp"
    quality: int = Field(90, ge=1, le=100)
    batch_size: int = Field(4, ge=1, le=1024)
    checks_per_part: int | None = Field(None, ge=1, le=10_000)
    pipeline: Pipeline = Pipeline()
    endpoint: Endpoint = Endpoint()
    flags: Flags = Flags()
    noise: float = Field(0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _models_differ(self) -> Images:
        names = [model.name for model in self.models]
        if len(set(names)) < len(names):
            raise ValueError(f"models: {', '.join(names)} are not all different")
        if self.noise and self.models:
            raise ValueError("noise is for the exact world, whose images have no model")
        return self


@cache
def known_models() -> dict[str, ImageModel]:
    """The entries of ``models.yaml`` by name."""
    entries = yaml.safe_load(MODELS_FILE.read_text("utf-8"))
    return {entry["name"]: ImageModel(**entry) for entry in entries}


def image_model(name: str) -> ImageModel:
    """The image model of a name; a Hub id or a folder is one with a pipeline's own settings, unpinned.

    Raises:
        InputError: nothing has that name.
    """
    known = known_models()
    if name in known:
        return known[name]
    for each in known.values():
        if each.model == name:
            return each
    repository, _, revision = name.partition("@")
    if "/" in name or Path(name).is_dir():
        short = Path(repository).name[:80]
        try:
            return ImageModel(name=short, model=repository, revision=revision or None)
        except ValidationError:
            raise InputError(
                f"image model {name!r}: after the @ comes a commit of 40 hexadecimal digits"
            ) from None
    close = get_close_matches(name, list(known), n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
    raise InputError(f"image model {name!r} is not known; {hint}; a Hub id has the form ORGANISATION/NAME")


def read_images(section: Mapping[str, Any] | None, where: str = "images") -> Images:
    """The section ``images:`` of a preset, checked.

    Raises:
        InputError: a key is unknown or a value cannot be used; the sentence names it.
    """
    try:
        return Images.model_validate(dict(section or {}))
    except ValidationError as error:
        raise InputError(f"{where}: {problems(error)}") from None


def problems(error: ValidationError) -> str:
    """What is wrong, in one line: the first few keys and why."""
    said = []
    for each in error.errors()[:5]:
        place = ".".join(str(step) for step in each["loc"])
        reason = each["msg"].removeprefix("Value error, ")
        if each["type"] == "extra_forbidden":
            reason = "there is no such key"
        said.append(f"{place}: {reason}" if place else reason)
    return "; ".join(said)
