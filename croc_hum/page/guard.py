"""What the page's server takes from outside: small requests, no files."""

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
"""The largest request: annotations that an administrator brings in. A vote has a few hundred bytes."""

_DRAINED_BYTES, _DRAINED_S = 16 * 2**20, 5.0
"""How much of a refused body, and how long, is read on: who still sends when the connection closes sees it
break, and never reads why."""

_CLOSED = ("/gradio_api/upload", "/gradio_api/proxy=", "/gradio_api/stream", "/gradio_api/component_server")


class _TooLarge(Exception):
    pass


class Guard:
    """ASGI middleware: refuses uploads and bodies above a size, also those that do not say their size."""

    def __init__(self, app: Any, limit: int = BODY_BYTES) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if any(scope["path"].startswith(path) for path in _CLOSED):
            await _refuse(receive, send, 403, "this server takes no files")
            return
        lengths = [value for name, value in scope["headers"] if name == b"content-length"]
        if any(not value.isdigit() or int(value) > self.limit for value in lengths):
            await _refuse(receive, send, 413, "the request is too large")
            return
        passed, begun = 0, False

        async def taking() -> Message:
            nonlocal passed
            message = await receive()
            passed += len(message.get("body", b""))
            if passed > self.limit:
                raise _TooLarge
            return message

        async def giving(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, taking, giving)
        except _TooLarge:
            if not begun:
                await _refuse(receive, send, 413, "the request is too large")


async def _refuse(receive: Receive, send: Send, status: int, why: str) -> None:
    await _drain(receive)
    body = json.dumps({"detail": why}).encode()
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
