"""Writing: specs → prompt pairs by language models, in any number, on one machine or a cluster.

What the modules are for:

- ``settings``: the section ``text:`` of a preset, checked; language models by name, from ``models.yaml``;
- ``instructions``: what a model is told, from the templates in ``templates/``;
- ``answers``: what a model said → the two prompts in it;
- ``rules``: what an answer must be;
- ``endpoint``, ``local``, ``offline``: an OpenAI-compatible service, transformers, vLLM;
- ``stage``: the parts of :mod:`croc.jobs.runner` that come of all this;
- ``yields``: how many answers were of use, and why the others were not.

A writer sees messages, seeds and sampling alone. What is made of one part of the plan is a pure function of
that part, the settings and the model's revision, as far as whoever runs the model honours seeds; what it said
is kept, so that an interrupted run asks for nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Ask:
    """One question to a language model.

    Attributes:
        messages: of the conversation, as ``{"role", "content"}``.
        seed: of the sampling, 31 bits.
        schema: JSON schema of the answer, for whoever can hold a model to one.
    """

    messages: tuple[dict[str, str], ...]
    seed: int
    schema: dict[str, Any] | None = None


@dataclass(frozen=True)
class Said:
    """What came back.

    Attributes:
        text: the answer, with what was thought before it where the service does not tell them apart.
        reasoning: what was thought, where the service tells it apart.
        finish: why it ended: ``stop``, ``length``, ``content_filter``.
        refusal: the service's own word that the model declines.
        served_as: what the service calls the model that answered.
        input_tokens, output_tokens: as counted by whoever ran the model.
        error: why there is no answer; the question itself was not at fault.
    """

    text: str = ""
    reasoning: str | None = None
    finish: str | None = None
    refusal: str | None = None
    served_as: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    error: str | None = None


Again = Callable[[int, Said], "Ask | None"]
"""Takes the answer to question i and gives the next question in its place, or None when i is settled."""


class Writer(Protocol):
    """A language model, ready to answer."""

    def answer(self, asks: Sequence[Ask], again: Again) -> None:
        """Ask everything, and whatever ``again`` asks in place of it, until all is settled.

        Raises:
            croc.jobs.runner.Abort: nothing can be answered, this or anything else (a key that has expired).
        """
