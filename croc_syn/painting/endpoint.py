"""A service with OpenAI's images interface as a painter: GPT image models, or an open model behind a server.

The client library retries what passes (429, 500, a hang); what does not pass is the reason of that image
alone, and a key that is not valid stops the run.
"""

from __future__ import annotations

import base64
import binascii
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from croc.checks.decoding import decode
from croc.errors import InputError, MissingExtra
from croc.jobs.parts import Abort
from croc.storage.service import hopeless, key_of, said
from croc_syn.painting import Job, Painted
from croc_syn.painting.encode import BLACK, is_black
from croc_syn.painting.settings import Endpoint, ImageModel

log = logging.getLogger(__name__)

REFUSED = "the service declined"
_CONTENT = ("moderation_blocked", "content_policy_violation", "content_filter")


@dataclass
class EndpointPainter:
    """A service, ready to be asked.

    Attributes:
        model: what is painted with; ``call`` holds further arguments of each request, such as ``quality``.
        settings: how it is asked.
        width, height: of the images.
        format: of the files that are asked for.
    """

    model: ImageModel
    settings: Endpoint = field(default_factory=Endpoint)
    width: int = 1024
    height: int = 1024
    format: str = "webp"

    def __post_init__(self) -> None:
        self._turn = threading.Lock()
        self._next = 0.0

    def paint(self, jobs: Sequence[Job]) -> Iterator[Painted]:
        """Ask for all images, several at a time.

        Raises:
            Abort: the service takes neither this request nor another: the key, the model's name, the address.
        """
        client = self._client
        with ThreadPoolExecutor(self.settings.concurrency, thread_name_prefix="ask") as pool:
            waiting = [pool.submit(self._ask, client, job) for job in jobs]
            try:
                for each in waiting:
                    yield each.result()
            finally:
                for each in waiting:
                    each.cancel()

    @cached_property
    def _client(self) -> Any:
        try:
            import openai
        except ImportError as error:
            raise MissingExtra("painting through an endpoint", "generate") from error
        try:
            key = key_of(self.settings.key_variable)
        except InputError as error:
            raise Abort(f"{self.model.name}: {error}") from None
        return openai.OpenAI(
            api_key=key,
            base_url=self.settings.base_url,
            max_retries=self.settings.retries,
            timeout=self.settings.timeout,
        )

    def _ask(self, client: Any, job: Job) -> Painted:
        import openai

        self._wait()
        request = {"output_format": self.format, **self.model.call}
        try:
            answer = client.images.generate(
                model=self.model.model,
                prompt=job.prompt,
                n=1,
                size=f"{self.width}x{self.height}",
                extra_body={"seed": job.seed} if self.settings.seeds else None,
                **{name: value for name, value in request.items() if value is not None},
            )
        except openai.APITimeoutError:
            return Painted(error=f"no answer in {self.settings.timeout:g} s, after all retries")
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if error.code in _CONTENT:
                return Painted(error=REFUSED)
            if error.param == "prompt":
                return Painted(error=f"the service cannot use the prompt: {said(error)}")
            # Not about this prompt: so it is the request that is wrong, and so is every other one.
            raise Abort(f"{self.model.name}: the service cannot use the request: {said(error)}") from error
        except openai.OpenAIError as error:
            reason = hopeless(
                error,
                model=self.model.model,
                key_variable=self.settings.key_variable,
                address=str(client.base_url),
            )
            if reason is not None:
                raise Abort(f"{self.model.name}: {reason}") from error
            return Painted(error=f"the service failed, after all retries: {said(error)}")
        return _painted(answer)

    def _wait(self) -> None:
        """Until it is this request's turn."""
        if self.settings.per_minute is None:
            return
        with self._turn:
            now = time.monotonic()
            mine = max(now, self._next)
            self._next = mine + 60.0 / self.settings.per_minute
        time.sleep(mine - now)


def _painted(answer: Any) -> Painted:
    first = answer.data[0] if answer.data else None
    if first is None or not first.b64_json:
        return Painted(error="the service sent no image data (an address, or nothing)")
    try:
        data = base64.b64decode(first.b64_json, validate=True)
        pixels = np.asarray(decode(data))
    except (InputError, binascii.Error) as error:
        return Painted(error=f"the service sent no whole image: {error}")
    return Painted(pixels=pixels, data=data, flags=[BLACK] if is_black(pixels) else [])
