"""An OpenAI-compatible service as a writer: vLLM, TGI, Inference Providers, OpenAI.

Many requests run at once. The client library retries after passing failures (429, 500, a broken connection, a
hang), waiting as long as the service demands; any other failure becomes the error of that check alone, and an
invalid key stops the run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from croc.errors import MissingExtra
from croc.jobs.interrupts import run_async
from croc.jobs.paid_calls import PaidCalls
from croc.storage.service import RateLimiter, api_key, error_message
from croc_syn.model_runtime import service_failure
from croc_syn.writing import FollowUp, PromptRequest, WriterResponse
from croc_syn.writing.settings import Sampling, TextEndpoint, TextModel

log = logging.getLogger(__name__)

_FORMATS = ("json_schema", "json_object", "none")
# Words in the messages of services that cannot enforce a response format.
_FORMAT_WORDS = ("response_format", "json_schema", "json_object", "guided", "grammar", "structured", "schema")


@dataclass
class EndpointWriter:
    """A service, ready to respond.

    Attributes:
        model: the language model; ``request`` holds further arguments of each request.
        sampling: how the next token is chosen.
        settings: how the service is called.
        response_format: the format that the service is asked to enforce; a weaker one takes its place for
            good when the service does not know it.
    """

    model: TextModel
    sampling: Sampling = field(default_factory=Sampling)
    settings: TextEndpoint = field(default_factory=TextEndpoint)
    response_format: str = ""

    def __post_init__(self) -> None:
        requested = self.settings.structured
        if not self.response_format:
            automatic = "none" if self.model.reasons else "json_schema"
            self.response_format = automatic if requested == "auto" else requested
        self._key = api_key(self.settings.key_variable)
        self._rate_limiter = RateLimiter(self.settings.per_minute)
        self._calls = PaidCalls(
            "chat/completions",
            self.model.model,
            address=self.settings.base_url,
            revision=self.model.revision,
            terms=self.settings,
        )
        self._warned = False

    def write(self, requests: Sequence[PromptRequest], follow_up: FollowUp) -> None:
        """Send all requests, many at a time; see :class:`croc_syn.writing.Writer`.

        Raises:
            Abort: the service rejects every request, because of the key, the model or the address; or the
                budget is used up.
        """
        run_async(lambda: self._write(requests, follow_up))

    async def _write(self, requests: Sequence[PromptRequest], follow_up: FollowUp) -> None:
        try:
            import openai
        except ImportError as error:
            raise MissingExtra("writing prompts through an endpoint", "generate") from error
        gate = asyncio.Semaphore(self.settings.concurrency)

        async def wait(_: Any) -> None:
            await asyncio.sleep(self._rate_limiter.reserve())

        async with openai.AsyncOpenAI(
            api_key=self._key,
            base_url=self.settings.base_url,
            max_retries=self.settings.retries,
            timeout=self.settings.timeout,
            # In this function, so that the client's retries are limited as well.
            http_client=openai.DefaultAsyncHttpxClient(event_hooks={"request": [wait]}),
        ) as client:

            async def finish(number: int, request: PromptRequest | None) -> None:
                while request is not None:
                    async with gate:
                        response = await self._respond(client, request)
                    request = follow_up(number, response)

            try:
                async with asyncio.TaskGroup() as group:
                    for number, request in enumerate(requests):
                        group.create_task(finish(number, request))
            except BaseExceptionGroup as errors:
                # The first one ended all the others.
                raise _first(errors) from None

    async def _respond(self, client: Any, request: PromptRequest) -> WriterResponse:
        import openai

        while True:
            response_format = self.response_format
            try:
                arguments = self._arguments(request, response_format)

                async def send(arguments: dict[str, Any] = arguments) -> dict[str, Any]:
                    async with asyncio.timeout(self.settings.deadline):
                        body = await client.chat.completions.create(**arguments)
                    return body.to_dict() if hasattr(body, "to_dict") else {}

                return self._read(await self._calls.call_async(arguments, send, draw=request.seed))
            except TimeoutError:
                return WriterResponse(error=f"the response is incomplete after {self.settings.deadline:g} s")
            except openai.APITimeoutError:
                return WriterResponse(error=f"no answer in {self.settings.timeout:g} s, after all retries")
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if getattr(error, "code", None) in ("content_filter", "content_policy_violation"):
                    return WriterResponse(finish="content_filter", refusal=error_message(error))
                text = f"{error} {getattr(error, 'param', '')}".lower()
                if response_format != "none" and any(word in text for word in _FORMAT_WORDS):
                    self._weaken(response_format)
                    continue
                return WriterResponse(error=f"the service rejects the request: {error_message(error)}")
            except openai.OpenAIError as error:
                return WriterResponse(
                    error=service_failure(error, self.model, self.settings, client.base_url)
                )

    def _weaken(self, response_format: str) -> None:
        if self.response_format == response_format:
            self.response_format = _FORMATS[_FORMATS.index(response_format) + 1]
            log.warning(
                "%s: the service does not support %s, continuing with %s",
                self.model.name,
                response_format,
                self.response_format,
            )

    def _arguments(self, request: PromptRequest, response_format: str) -> dict[str, Any]:
        sampling = self.sampling
        arguments: dict[str, Any] = {
            "model": self.model.model,
            "messages": list(request.messages),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "presence_penalty": sampling.presence_penalty,
            self.settings.tokens_key: sampling.max_tokens,
        }
        if self.settings.seeds:
            arguments["seed"] = request.seed
        if response_format == "json_object":
            arguments["response_format"] = {"type": "json_object"}
        elif response_format == "json_schema" and request.schema is not None:
            schema = {"name": "pair", "strict": True, "schema": request.schema}
            arguments["response_format"] = {"type": "json_schema", "json_schema": schema}
        # Not part of OpenAI's API; vLLM, TGI and most others know it.
        extra = {} if sampling.top_k is None else {"top_k": sampling.top_k}
        return {**arguments, "extra_body": {**extra, **self.model.request}}

    def _read(self, answer: dict[str, Any]) -> WriterResponse:
        from openai.types.chat import ChatCompletion

        body: Any = ChatCompletion.construct(**answer)
        choices = getattr(body, "choices", None)
        if not choices:
            return WriterResponse(error="the response of the service is empty")
        choice, usage = choices[0], body.usage
        message = choice.message
        if body.model and body.model != self.model.model and not self._warned:
            self._warned = True
            log.warning("%s: the service calls it %s", self.model.model, body.model)
        reasoning = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
        return WriterResponse(
            text=message.content or "",
            reasoning=reasoning if isinstance(reasoning, str) else None,
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
