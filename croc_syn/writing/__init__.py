"""Writing: check specs → pairs of prompts, in controlled English or by language models.

In: a preset and the specs that it selects.
Out: a folder of Parquet parts, one row per check, with the columns of :mod:`croc_syn.writing.table`.

The modules, in the order in which they use each other:

- ``table``: the columns of the staged table of prompts;
- ``exact``: the exact world as a writer;
- ``settings``: the section ``text:`` of a preset; language models by name, from ``models.yaml``;
- ``instructions``: the instructions for a model, from the templates in ``templates/``;
- ``responses``, ``rules``, ``tokens``: a model's response → the two prompts in it, and whether they can be
  used;
- ``endpoint``, ``local``, ``offline``: writers for an OpenAI-compatible service, transformers, vLLM;
- ``stage``: the parts that language models make;
- ``prompts``: plans and makes the prompts of a preset;
- ``yields``: how many responses could be used, and why the others could not.

A writer sees messages, seeds and sampling settings only. A part of the plan, the settings and the model's
revision decide what is made, as far as the service honours seeds; responses are stored, so that an
interrupted run requests nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class PromptRequest:
    """One request to a language model.

    Attributes:
        messages: of the conversation, as ``{"role", "content"}``.
        seed: of the sampling, 31 bits.
        schema: JSON schema of the response, for services that can enforce one.
    """

    messages: tuple[dict[str, str], ...]
    seed: int
    schema: dict[str, Any] | None = None


@dataclass(frozen=True)
class WriterResponse:
    """The response to a request.

    Attributes:
        text: the response, including the reasoning where the service does not separate the two.
        reasoning: the reasoning, where the service separates it.
        finish: why the response ended: ``stop``, ``length``, ``content_filter``.
        refusal: the service's own message that the model declines.
        served_as: what the service calls the model.
        input_tokens, output_tokens: as counted by whoever ran the model.
        error: why there is no response; the request itself was not at fault.
    """

    text: str = ""
    reasoning: str | None = None
    finish: str | None = None
    refusal: str | None = None
    served_as: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    error: str | None = None


FollowUp = Callable[[int, WriterResponse], "PromptRequest | None"]
"""Takes the response to request i and returns the request that replaces it, or None when i is finished."""


class Writer(Protocol):
    """A language model, ready to respond."""

    def write(self, requests: Sequence[PromptRequest], follow_up: FollowUp) -> None:
        """Send all requests, and those that ``follow_up`` returns in their place, until all are finished.

        Raises:
            croc.jobs.runner.Abort: no request can be answered, for example because the key has expired.
        """
