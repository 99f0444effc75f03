"""The section ``text:`` of a preset: which models write prompts, how they are asked, what an answer is."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from croc.errors import InputError
from croc_syn.painting.settings import Endpoint as ImageEndpoint

MODELS_FILE = Path(__file__).with_name("models.yaml")

_STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

Structured = Literal["auto", "json_schema", "json_object", "none"]
Backend = Literal["endpoint", "transformers", "vllm"]


class TextModel(BaseModel):
    """A language model; the fields are those of an entry of ``models.yaml``."""

    model_config = _STRICT
    name: str = Field(min_length=1, max_length=80)
    model: str = Field(min_length=1, max_length=200)
    revision: str | None = Field(None, pattern=r"^[0-9a-f]{40}$")
    backend: Backend | None = None
    licence: str | None = None
    reasons: bool = False
    request: dict[str, Any] = Field(default_factory=dict)


class Encoder(BaseModel):
    """A text encoder that reads prompts, known by its tokenizer; an entry of ``models.yaml``.

    Attributes:
        name: as in the guides.
        tokenizer: Hub id or folder.
        revision: commit of the Hub repository.
        subfolder: of the tokenizer in it.
        limit: tokens it reads, start and end included; None takes what the image model reads.
    """

    model_config = _STRICT
    name: str = Field(min_length=1, max_length=40)
    tokenizer: str = Field(min_length=1, max_length=200)
    revision: str | None = Field(None, pattern=r"^[0-9a-f]{40}$")
    subfolder: str = ""
    limit: int | None = Field(None, ge=4, le=4096)


class Sampling(BaseModel):
    """How the next word is chosen; the defaults are the paper's, but for ``max_tokens``."""

    model_config = _STRICT
    temperature: float = Field(0.6, ge=0, le=5)
    top_p: float = Field(0.9, gt=0, le=1)
    top_k: int | None = Field(50, ge=1)
    presence_penalty: float = Field(0.5, ge=-2, le=2)
    # The paper allowed 1,024, too few for models that reason before they answer.
    max_tokens: int = Field(8192, ge=16, le=131_072)


class Endpoint(ImageEndpoint):
    """How an endpoint is asked; the keys of the images' endpoint, and a few more.

    Attributes:
        deadline: seconds after which an answer that still has not come whole is given up.
        structured: ask for JSON by its schema, as an object, or not at all. ``auto`` asks for as much as the
            endpoint can, and for nothing where the model reasons first: a grammar would forbid that.
        tokens_key: what the endpoint calls the limit of tokens.
    """

    concurrency: int = Field(32, ge=1, le=1024)
    timeout: float = Field(600.0, gt=0)
    deadline: float = Field(1800.0, gt=0)
    seeds: bool = True
    structured: Structured = "auto"
    tokens_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"


class Local(BaseModel):
    """How transformers runs a model here.

    Attributes:
        dtype: number format.
        device: where; None takes the best there is, over all GPUs where one is too small.
        batch_size: prompts at a time; halved when memory runs out.
    """

    model_config = _STRICT
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    device: str | None = None
    batch_size: int = Field(16, ge=1, le=4096)


class Vllm(BaseModel):
    """How vLLM runs a model here; ``engine`` goes to ``vllm.LLM`` as it is."""

    model_config = _STRICT
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    gpus: int = Field(1, ge=1, le=64)
    memory: float = Field(0.9, gt=0, le=1)
    structured: Literal["auto", "json_schema", "none"] = "auto"
    engine: dict[str, Any] = Field(default_factory=dict)


class Rules(BaseModel):
    """What an answer must be, beside two prompts that differ.

    Attributes:
        clip: refuse what is longer than CLIP reads (77 tokens). Where a larger encoder reads the whole
            prompt, as in FLUX and Stable Diffusion 3.5, CLIP may see its beginning only.
        encoders: names of ``models.yaml`` or entries of that form; None takes those of the image model's
            guide, an empty list counts no tokens.
        min_words: words of a prompt, at least.
        max_characters: of a prompt, at most.
    """

    model_config = _STRICT
    clip: bool = False
    encoders: tuple[Annotated[Encoder, BeforeValidator(lambda value: _encoder(value))], ...] | None = None
    min_words: int = Field(2, ge=1)
    max_characters: int = Field(2000, ge=10, le=20_000)

    @model_validator(mode="after")
    def _clip_is_counted(self) -> Rules:
        if self.clip and self.encoders is not None and all(each.name != "clip" for each in self.encoders):
            raise ValueError("clip needs the encoder clip among the encoders")
        return self


class Text(BaseModel):
    """How prompts are written.

    Attributes:
        models: names of ``models.yaml``, or entries of that form; empty stands for the controlled grammar.
        generations: how many checks of each spec.
        language: ISO code of the prompts' language.
        backend: of the models that name none.
        sampling: how the next word is chosen.
        attempts: answers asked for before a check is given up.
        styles: guides to write by; ``own`` is the guide of the image model. More than one writes each check
            in each style.
        templates: folder with own templates in place of those with the same names here.
        checks_per_part: what a kill may cost, at most.
        rules: what an answer must be.
        endpoint: for the backend ``endpoint``.
        transformers: for the backend ``transformers``.
        vllm: for the backend ``vllm``.
    """

    model_config = _STRICT
    models: tuple[Annotated[TextModel, BeforeValidator(lambda value: _named(value))], ...] = ()
    generations: int = Field(1, ge=1, le=10_000)
    language: str = Field("en", pattern=r"^[a-z]{2}$")
    backend: Backend = "endpoint"
    sampling: Sampling = Sampling()
    attempts: int = Field(3, ge=1, le=50)
    styles: tuple[str, ...] = Field(("own",), min_length=1)
    templates: Path | None = None
    checks_per_part: int = Field(128, ge=1, le=10_000)
    rules: Rules = Rules()
    endpoint: Endpoint = Endpoint()
    transformers: Local = Local()
    vllm: Vllm = Vllm()

    @model_validator(mode="after")
    def _models_differ(self) -> Text:
        for what, names in (("models", [model.name for model in self.models]), ("styles", self.styles)):
            if len(set(names)) < len(names):
                raise ValueError(f"{what}: {', '.join(names)} are not all different")
        return self


@cache
def _file() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(MODELS_FILE.read_text("utf-8"))
    return found


@cache
def known_models() -> dict[str, TextModel]:
    """The language models of ``models.yaml`` by name."""
    return {entry["name"]: TextModel(**entry) for entry in _file()["models"]}


@cache
def known_encoders() -> dict[str, Encoder]:
    """The text encoders of ``models.yaml`` by name."""
    return {entry["name"]: Encoder(**entry) for entry in _file()["encoders"]}


def text_model(name: str) -> TextModel:
    """The language model of a name; a Hub id or a folder is one without further settings, unpinned.

    Raises:
        InputError: nothing has that name.
    """
    known = known_models()
    if name in known:
        return known[name]
    for each in known.values():
        if each.model == name:
            return each
    local = Path(name).is_dir()
    repository, _, revision = (name, "", "") if local else name.partition("@")
    if "/" in name or local:
        short = Path(repository).name[:80]
        try:
            return TextModel(name=short, model=repository, revision=revision or None)
        except ValidationError:
            raise InputError(
                f"text model {name!r}: after the @ comes a commit of 40 hexadecimal digits"
            ) from None
    close = get_close_matches(name, list(known), n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
    raise InputError(f"text model {name!r} is not known; {hint}; a Hub id has the form ORGANISATION/NAME")


def _named(value: Any) -> Any:
    """A name as the model of that name; a mapping with a known name, as that model with other settings."""
    if isinstance(value, str):
        return text_model(value)
    known = known_models()
    if isinstance(value, Mapping) and value.get("name") in known:
        return {**known[value["name"]].model_dump(), **value}
    return value


def _encoder(value: Any) -> Any:
    known = known_encoders()
    if isinstance(value, str):
        if value not in known:
            raise ValueError(f"encoder {value!r} is not known; known are {', '.join(known)}")
        return known[value]
    if isinstance(value, Mapping) and value.get("name") in known:
        return {**known[value["name"]].model_dump(), **value}
    return value
