"""An OpenAI-compatible service as a writer: vLLM, TGI, Inference Providers, OpenAI.

Many requests are under way at once. The client library retries what passes (429, 500, a broken connection, a
hang), waiting as long as the service says; what does not pass becomes the reason of that check alone, and a
key that is not valid stops the run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from croc.errors import MissingExtra
from croc.jobs.parts import Abort
from croc.storage.service import Pace, hopeless, key_of, said
from croc_syn.writing import Again, Ask, Said
from croc_syn.writing.settings import Endpoint, Sampling, TextModel

log = logging.getLogger(__name__)

_LEVELS = ("json_schema", "json_object", "none")
# What services complain about when they cannot hold a model to a form.
_FORM = ("response_format", "json_schema", "json_object", "guided", "grammar", "structured", "schema")


@dataclass
class EndpointWriter:
    """A service, ready to be asked.

    Attributes:
        model: which one; ``request`` holds further arguments of each request.
        sampling: how the next word is chosen.
        settings: how it is asked.
        form: how much of the form of an answer it is held to; lowered for good where it cannot.
    """

    model: TextModel
    sampling: Sampling = field(default_factory=Sampling)
    settings: Endpoint = field(default_factory=Endpoint)
    form: str = ""

    def __post_init__(self) -> None:
        wanted = self.settings.structured
        if not self.form:
            self.form = ("none" if self.model.reasons else "json_schema") if wanted == "auto" else wanted
        self._key = key_of(self.settings.key_variable)
        self._pace = Pace(self.settings.per_minute)
        self._warned = False

    def answer(self, asks: Sequence[Ask], again: Again) -> None:
        """Ask everything, many at a time; see :class:`croc_syn.writing.Writer`.

        Raises:
            Abort: the service takes neither this request nor another: the key, the model, the address.
        """
        asyncio.run(self._answer(asks, again))

    async def _answer(self, asks: Sequence[Ask], again: Again) -> None:
        try:
            import openai
        except ImportError as error:
            raise MissingExtra("writing prompts through an endpoint", "generate") from error
        gate = asyncio.Semaphore(self.settings.concurrency)

        async def wait(_: Any) -> None:
            await asyncio.sleep(self._pace.turn())

        async with openai.AsyncOpenAI(
            api_key=self._key,
            base_url=self.settings.base_url,
            max_retries=self.settings.retries,
            timeout=self.settings.timeout,
            # Here, so that what the client tries again waits for a turn as well.
            http_client=openai.DefaultAsyncHttpxClient(event_hooks={"request": [wait]}),
        ) as client:

            async def settle(number: int, ask: Ask | None) -> None:
                while ask is not None:
                    async with gate:
                        found = await self._ask(client, ask)
                    ask = again(number, found)

            try:
                async with asyncio.TaskGroup() as group:
                    for number, ask in enumerate(asks):
                        group.create_task(settle(number, ask))
            except BaseExceptionGroup as errors:
                # The first one ended all the others.
                raise _first(errors) from None

    async def _ask(self, client: Any, ask: Ask) -> Said:
        import openai

        while True:
            form = self.form
            try:
                async with asyncio.timeout(self.settings.deadline):
                    body = await client.chat.completions.create(**self._request(ask, form))
                return self._said(body)
            except TimeoutError:
                return Said(error=f"no whole answer in {self.settings.deadline:g} s")
            except openai.APITimeoutError:
                return Said(error=f"no answer in {self.settings.timeout:g} s, after all retries")
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if getattr(error, "code", None) in ("content_filter", "content_policy_violation"):
                    return Said(finish="content_filter", refusal=said(error))
                text = f"{error} {getattr(error, 'param', '')}".lower()
                if form != "none" and any(word in text for word in _FORM):
                    self._lower(form)
                    continue
                return Said(error=f"the service cannot use the request: {said(error)}")
            except openai.OpenAIError as error:
                reason = hopeless(
                    error,
                    model=self.model.model,
                    key_variable=self.settings.key_variable,
                    address=str(client.base_url),
                )
                if reason is not None:
                    raise Abort(f"text model {self.model.name}: {reason}") from error
                return Said(error=f"the service failed, after all retries: {said(error)}")

    def _lower(self, form: str) -> None:
        if self.form == form:
            self.form = _LEVELS[_LEVELS.index(form) + 1]
            log.warning("%s: the service knows no %s, going on with %s", self.model.name, form, self.form)

    def _request(self, ask: Ask, form: str) -> dict[str, Any]:
        sampling = self.sampling
        request: dict[str, Any] = {
            "model": self.model.model,
            "messages": list(ask.messages),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "presence_penalty": sampling.presence_penalty,
            self.settings.tokens_key: sampling.max_tokens,
        }
        if self.settings.seeds:
            request["seed"] = ask.seed
        if form == "json_object":
            request["response_format"] = {"type": "json_object"}
        elif form == "json_schema" and ask.schema is not None:
            schema = {"name": "pair", "strict": True, "schema": ask.schema}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        # Not of OpenAI's interface; vLLM, TGI and most others know it.
        extra = {} if sampling.top_k is None else {"top_k": sampling.top_k}
        further: Mapping[str, Any] = self.model.request
        return request | {"extra_body": extra | further}

    def _said(self, body: Any) -> Said:
        choices = getattr(body, "choices", None)
        if not choices:
            return Said(error="the service sent no answer")
        choice, usage = choices[0], body.usage
        message = choice.message
        if body.model and body.model != self.model.model and not self._warned:
            self._warned = True
            log.warning("%s: the service calls it %s", self.model.model, body.model)
        thought = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
        return Said(
            text=message.content or "",
            reasoning=thought if isinstance(thought, str) else None,
            finish=choice.finish_reason,
            refusal=message.refusal,
            served_as=body.model,
            input_tokens=getattr(usage, "prompt_tokens", 0) or 0,
            output_tokens=getattr(usage, "completion_tokens", 0) or 0,
        )


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
