"""Limits of the page's server: it accepts small requests and no uploads."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_BYTES = 2 * 2**20
"""Largest request: votes that an administrator imports. A single vote has a few hundred bytes."""

_DRAINED_BYTES, _DRAINED_S = 16 * 2**20, 5.0
"""How many bytes of a refused body are still read, and for how many seconds: a client that is still sending
when the connection is closed gets a broken connection instead of the response."""

_CLOSED = ("/gradio_api/upload", "/gradio_api/proxy=", "/gradio_api/stream", "/gradio_api/component_server")


class _TooLarge(Exception):
    pass


class Guard:
    """ASGI middleware that refuses uploads and bodies above a size, also without a ``content-length``."""

    def __init__(self, app: Any, limit: int = BODY_BYTES) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if any(scope["path"].startswith(path) for path in _CLOSED):
            await _refuse(receive, send, 403, "this server does not accept files")
            return
        lengths = [value for name, value in scope["headers"] if name == b"content-length"]
        if any(not value.isdigit() or int(value) > self.limit for value in lengths):
            await _refuse(receive, send, 413, "the request is too large")
            return
        received, started = 0, False

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.limit:
                raise _TooLarge
            return message

        async def send_response(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive_limited, send_response)
        except _TooLarge:
            if not started:
                await _refuse(receive, send, 413, "the request is too large")


async def _refuse(receive: Receive, send: Send, status: int, reason: str) -> None:
    await _drain(receive)
    body = json.dumps({"detail": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send(
        {"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]}
    )
    await send({"type": "http.response.body", "body": body})


async def _drain(receive: Receive) -> None:
    drained = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAINED_S):
            while drained <= _DRAINED_BYTES:
                message = await receive()
                if not message.get("more_body"):
                    return
                drained += len(message.get("body", b""))
