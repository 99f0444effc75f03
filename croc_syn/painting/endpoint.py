"""A service with OpenAI's images API as a painter: GPT image models, or an open model behind a server.

The client library retries after passing failures (429, 500, a hang); any other failure becomes the error of
that image alone, and an invalid key stops the run.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from croc.checks.decoding import decode
from croc.errors import InputError, MissingExtra
from croc.jobs.paid_calls import PaidCalls
from croc.jobs.parts import Abort
from croc.storage.service import RateLimiter, api_key, error_message
from croc_syn.model_runtime import service_failure
from croc_syn.model_settings import Endpoint
from croc_syn.painting import ImageRequest, PaintedImage
from croc_syn.painting.encode import BLACK, is_nearly_black
from croc_syn.painting.settings import ImageModel

REFUSED = "the service declined"
_CONTENT = ("moderation_blocked", "content_policy_violation", "content_filter")


@dataclass
class EndpointPainter:
    """A service, ready to paint.

    Attributes:
        model: the image model; ``call`` holds further arguments of each request, such as ``quality``.
        settings: how the service is called.
        width, height: of the images.
        format: of the files that are requested.
    """

    model: ImageModel
    settings: Endpoint = field(default_factory=Endpoint)
    width: int = 1024
    height: int = 1024
    format: str = "webp"

    def __post_init__(self) -> None:
        self._rate_limiter = RateLimiter(self.settings.per_minute)
        self._calls = PaidCalls(
            "images/generations",
            self.model.model,
            address=self.settings.base_url,
            revision=self.model.revision,
            terms=self.settings,
        )

    def paint(self, requests: Sequence[ImageRequest]) -> Iterator[PaintedImage]:
        """Request all images, several at a time.

        Raises:
            Abort: the service rejects every request, because of the key, the model's name or the address; or
                the budget is used up.
        """
        client = self._client
        with ThreadPoolExecutor(self.settings.concurrency, thread_name_prefix="request") as pool:
            results = [pool.submit(self._paint, client, request) for request in requests]
            try:
                for result in results:
                    yield result.result()
            finally:
                for result in results:
                    result.cancel()

    @cached_property
    def _client(self) -> Any:
        try:
            import openai
        except ImportError as error:
            raise MissingExtra("painting through an endpoint", "generate") from error
        try:
            key = api_key(self.settings.key_variable)
        except InputError as error:
            raise Abort(f"{self.model.name}: {error}") from None
        return openai.OpenAI(
            api_key=key,
            base_url=self.settings.base_url,
            max_retries=self.settings.retries,
            timeout=self.settings.timeout,
        )

    def _paint(self, client: Any, request: ImageRequest) -> PaintedImage:
        import openai

        options = {"output_format": self.format, **self.model.call}
        arguments = {
            "model": self.model.model,
            "prompt": request.prompt,
            "n": 1,
            "size": f"{self.width}x{self.height}",
            **{name: value for name, value in options.items() if value is not None},
        }
        if self.settings.seeds:
            arguments["extra_body"] = {"seed": request.seed}

        def send() -> dict[str, Any]:
            time.sleep(self._rate_limiter.reserve())
            body = client.images.generate(**arguments)
            return body.to_dict() if hasattr(body, "to_dict") else {}

        try:
            answer = self._calls.call(arguments, send, draw=request.seed)
        except openai.APITimeoutError:
            return PaintedImage(error=f"no answer in {self.settings.timeout:g} s, after all retries")
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if error.code in _CONTENT:
                return PaintedImage(error=REFUSED)
            if error.param == "prompt":
                return PaintedImage(error=f"the service rejects the prompt: {error_message(error)}")
            # The cause is the request and not its prompt, so every other request would fail, too.
            raise Abort(
                f"{self.model.name}: the service rejects the request: {error_message(error)}"
            ) from error
        except openai.OpenAIError as error:
            return PaintedImage(error=service_failure(error, self.model, self.settings, client.base_url))
        return _read(answer)


def _read(answer: dict[str, Any]) -> PaintedImage:
    first = (answer.get("data") or [None])[0] or {}
    if not first.get("b64_json"):
        return PaintedImage(error="the response has no image data; expected base64 data")
    try:
        data = base64.b64decode(first["b64_json"], validate=True)
        pixels = np.asarray(decode(data))
    except (InputError, binascii.Error) as error:
        return PaintedImage(error=f"the response has no readable image: {error}")
    return PaintedImage(pixels=pixels, data=data, flags=[BLACK] if is_nearly_black(pixels) else [])
