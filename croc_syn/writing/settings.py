"""The section ``text:`` of a preset: the language models, their sampling, and what a response must be."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, model_validator

from croc_syn.model_settings import Endpoint, Model, Settings, find_model, with_defaults

MODELS_FILE = Path(__file__).with_name("models.yaml")

Structured = Literal["auto", "json_schema", "json_object", "none"]
Backend = Literal["endpoint", "transformers", "vllm"]


class TextModel(Model):
    """A language model; the fields are those of an entry of ``models.yaml``."""

    backend: Backend | None = None
    reasons: bool = False
    request: dict[str, Any] = Field(default_factory=dict)


class Encoder(Settings):
    """A text encoder that reads prompts, given by its tokenizer; an entry of ``models.yaml``.

    Attributes:
        name: as in the guides.
        tokenizer: Hub id or folder.
        revision: commit of the Hub repository.
        subfolder: of the tokenizer in it.
        limit: tokens it reads, start and end included; None takes the limit of the image model.
    """

    name: str = Field(min_length=1, max_length=40)
    tokenizer: str = Field(min_length=1, max_length=200)
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    subfolder: str = ""
    limit: int | None = Field(default=None, ge=4, le=4096)


class Sampling(Settings):
    """How the next token is chosen; the defaults are the paper's, except ``max_tokens``."""

    temperature: float = Field(default=0.6, ge=0, le=5)
    top_p: float = Field(default=0.9, gt=0, le=1)
    top_k: int | None = Field(default=50, ge=1)
    presence_penalty: float = Field(default=0.5, ge=-2, le=2)
    # The paper allowed 1,024, too few for models that reason first.
    max_tokens: int = Field(default=8192, ge=16, le=131_072)


class TextEndpoint(Endpoint):
    """How a service that runs language models is called.

    Attributes:
        deadline: seconds after which a response that is still incomplete is given up.
        structured: request JSON by its schema, as an object, or no format. ``auto`` requests the strictest
            format that the endpoint knows, and none if the model reasons first: a grammar would forbid that.
        tokens_key: the endpoint's name for the limit of tokens.
    """

    concurrency: int = Field(default=32, ge=1, le=1024)
    timeout: float = Field(default=600.0, gt=0)
    deadline: float = Field(default=1800.0, gt=0)
    seeds: bool = True
    structured: Structured = "auto"
    tokens_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"


class Local(Settings):
    """How transformers runs a model on this machine.

    Attributes:
        dtype: number format.
        device: None takes the best one, or all GPUs if one is too small.
        batch_size: prompts per batch; halved when memory runs out.
    """

    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    device: str | None = None
    batch_size: int = Field(default=16, ge=1, le=4096)


class Vllm(Settings):
    """How vLLM runs a model on this machine; ``engine`` is passed to ``vllm.LLM``."""

    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    gpus: int = Field(default=1, ge=1, le=64)
    memory: float = Field(default=0.9, gt=0, le=1)
    structured: Literal["auto", "json_schema", "none"] = "auto"
    engine: dict[str, Any] = Field(default_factory=dict)


class Rules(Settings):
    """What a response must be, beyond two prompts that differ.

    Attributes:
        clip: refuse prompts longer than CLIP reads (77 tokens). Where a larger encoder reads the whole
            prompt, as in FLUX and Stable Diffusion 3.5, it is enough that CLIP sees the beginning.
        encoders: names of ``models.yaml`` or entries of that form; None takes those of the image model's
            guide, an empty list counts no tokens.
        min_words: minimum number of words in a prompt.
        max_characters: maximum number of characters in a prompt.
    """

    clip: bool = False
    encoders: (
        tuple[Annotated[Encoder, BeforeValidator(lambda value: _resolve_encoder(value))], ...] | None
    ) = None
    min_words: int = Field(default=2, ge=1)
    max_characters: int = Field(default=2000, ge=10, le=20_000)

    @model_validator(mode="after")
    def _clip_is_counted(self) -> Rules:
        if (
            self.clip
            and self.encoders is not None
            and all(encoder.name != "clip" for encoder in self.encoders)
        ):
            raise ValueError("clip: true needs the encoder clip in encoders")
        return self


class Text(Settings):
    """How prompts are written.

    Attributes:
        models: names of ``models.yaml``, or entries of that form; empty for the controlled English of the
            exact world.
        generations: checks per spec.
        language: ISO code of the prompts' language; the exact world has ``croc_syn.world.LANGUAGES``.
        backend: of models without one.
        sampling: how the next token is chosen.
        attempts: responses requested before a check is given up.
        styles: guides; ``own`` is the guide of the image model. With several, each check is written in each
            style.
        templates: folder with templates that replace those with the same names here.
        checks_per_part: the work that an interruption may cost, at most.
        rules: what a response must be.
        endpoint: for the backend ``endpoint``.
        transformers: for the backend ``transformers``.
        vllm: for the backend ``vllm``.
    """

    models: tuple[Annotated[TextModel, BeforeValidator(lambda value: _resolve_model(value))], ...] = ()
    generations: int = Field(default=1, ge=1, le=10_000)
    language: str = Field(default="en", pattern=r"^[a-z]{2}$")
    backend: Backend = "endpoint"
    sampling: Sampling = Sampling()
    attempts: int = Field(default=3, ge=1, le=50)
    styles: tuple[str, ...] = Field(default=("own",), min_length=1)
    templates: Path | None = None
    checks_per_part: int = Field(default=128, ge=1, le=10_000)
    rules: Rules = Rules()
    endpoint: TextEndpoint = TextEndpoint()
    transformers: Local = Local()
    vllm: Vllm = Vllm()

    @model_validator(mode="after")
    def _models_differ(self) -> Text:
        for what, names in (("models", [model.name for model in self.models]), ("styles", self.styles)):
            if len(set(names)) < len(names):
                raise ValueError(f"{what}: {', '.join(names)} must be different from each other")
        return self

    def shared_by(self, workers: int) -> Text:
        """The settings of one of several workers, so that together they keep to the limits."""
        return self.model_copy(update={"endpoint": self.endpoint.shared_by(workers)})


@cache
def _file() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(MODELS_FILE.read_text("utf-8"))
    return content


@cache
def known_models() -> dict[str, TextModel]:
    """The language models of ``models.yaml`` by name."""
    return {entry["name"]: TextModel(**entry) for entry in _file()["models"]}


@cache
def known_encoders() -> dict[str, Encoder]:
    """The text encoders of ``models.yaml`` by name."""
    return {entry["name"]: Encoder(**entry) for entry in _file()["encoders"]}


def text_model(name: str) -> TextModel:
    """The language model of a name; see :func:`croc_syn.model_settings.find_model`."""
    return find_model(name, known_models(), TextModel, "text model")


def _resolve_model(value: Any) -> Any:
    return text_model(value) if isinstance(value, str) else with_defaults(value, known_models())


def _resolve_encoder(value: Any) -> Any:
    known = known_encoders()
    if not isinstance(value, str):
        return with_defaults(value, known)
    if value not in known:
        raise ValueError(f"encoder {value!r} is not known; known are {', '.join(known)}")
    return known[value]
