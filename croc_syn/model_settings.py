"""What the settings of language models and of image models have in common.

Entries of a ``models.yaml`` and how a name becomes one, and the settings of a service with the OpenAI API.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from croc.errors import InputError
from croc.jobs.paid_calls import PaidTerms
from croc.storage.files import folder_digest


class Settings(BaseModel):
    """A section of a preset: unknown keys are refused, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Model(Settings):
    """A model that generates; the fields that every entry of a ``models.yaml`` has.

    Attributes:
        name: what people type.
        model: Hub id, folder, or what a service calls it.
        revision: commit of the Hub repository.
        licence: of the model, or of what it makes.
    """

    name: str = Field(min_length=1, max_length=80)
    model: str = Field(min_length=1, max_length=200)
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    licence: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether the model is a folder on this machine."""
        return Path(self.model).is_dir()

    def pinned_name(self) -> str:
        """The model in the rows: ``repo@revision``, or the digest of the files for a folder."""
        if self.is_local:
            return f"{Path(self.model).name}@local:{folder_digest(Path(self.model))}"
        return f"{self.model}@{self.revision or 'unpinned'}"


AnyModel = TypeVar("AnyModel", bound=Model)


def find_model(name: str, known: Mapping[str, AnyModel], entry: type[AnyModel], kind: str) -> AnyModel:
    """The model of a name; a Hub id or a folder is a model with default settings, unpinned.

    Args:
        name: a key of ``known``, a Hub id with or without ``@REVISION``, or a folder.
        known: entries by name.
        entry: the class of the entries.
        kind: ``text model`` or ``image model``, for messages.

    Raises:
        InputError: there is no such model.
    """
    if name in known:
        return known[name]
    for model in known.values():
        if model.model == name:
            return model
    local = Path(name).is_dir()
    repository, _, revision = (name, "", "") if local else name.partition("@")
    if "/" in name or local:
        try:
            return entry(name=Path(repository).name[:80], model=repository, revision=revision or None)
        except ValidationError:
            raise InputError(
                f"{kind} {name!r}: after the @ comes a commit of 40 hexadecimal digits"
            ) from None
    close = get_close_matches(name, list(known), n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
    raise InputError(f"{kind} {name!r} is not known; {hint}; a Hub id has the form ORGANISATION/NAME")


def with_defaults(value: Any, known: Mapping[str, BaseModel]) -> Any:
    """A mapping whose ``name`` is known, completed with the other settings of that entry; else the value."""
    if isinstance(value, Mapping) and value.get("name") in known:
        return {**known[value["name"]].model_dump(), **value}
    return value


class Endpoint(PaidTerms, Settings):
    """How a service with the OpenAI API is called, and on which terms.

    Attributes:
        base_url: of an OpenAI-compatible service; None takes ``OPENAI_BASE_URL``, else OpenAI's.
        key_variable: environment variable with the key.
        concurrency: simultaneous requests.
        per_minute: requests per minute, at most.
        retries: of a request that fails for a passing reason (429, 500, a hang).
        timeout: seconds to wait for a response.
        seeds: send the seed; not every service knows it.
        prices, budget, cache, run: see :class:`croc.jobs.paid_calls.PaidTerms`.
    """

    base_url: str | None = None
    key_variable: str = "OPENAI_API_KEY"
    concurrency: int = Field(default=4, ge=1, le=256)
    per_minute: float | None = Field(default=None, gt=0)
    retries: int = Field(default=5, ge=0, le=20)
    timeout: float = Field(default=180.0, gt=0)
    seeds: bool = False

    def shared_by(self, workers: int) -> Self:
        """The settings of one of several workers, so that together they keep to the limits and the budget."""
        return self.divided_by(workers).model_copy(
            update={
                "concurrency": max(1, self.concurrency // workers),
                "per_minute": None if self.per_minute is None else self.per_minute / workers,
            }
        )


def explain(error: ValidationError) -> str:
    """What pydantic found wrong, in one line: the first few keys and the reason for each."""
    problems = []
    for detail in error.errors()[:5]:
        place = ".".join(str(step) for step in detail["loc"])
        reason = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            reason = "unknown key"
        problems.append(f"{place}: {reason}" if place else reason)
    return "; ".join(problems)
