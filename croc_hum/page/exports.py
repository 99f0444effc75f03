"""Files of votes for the administrator: made for one request, sent to who has the token, and deleted.

The server keeps no exported file: votes of an annotator who withdraws are in no file that it hands out.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from croc.errors import CrocError
from croc_hum.votes import label_studio
from croc_hum.votes.store import Store

if TYPE_CHECKING:
    from croc_hum.page.campaign import Campaign

NAMES = ("votes.parquet", "votes.csv", "label-studio.json")
PATH = "/export/"
"""The route: ``POST /export/NAME`` with the token in a JSON body."""

_BODY_BYTES = 4096
_CHUNK_BYTES = 2**16


class Withdrawn(CrocError):
    """An annotator withdrew while a file with their votes was being sent."""


class Exports:
    """The files that are being sent, in a folder that other users of the machine cannot read."""

    def __init__(self, store: Store) -> None:
        self._store, self._lock, self._withdrawals = store, threading.Lock(), 0
        self.folder = Path(tempfile.mkdtemp(prefix="croc-exports-"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)

    def make(self, name: str) -> tuple[Path, int]:
        """Write a file; returns it and the number of withdrawals before it, for :meth:`is_current`."""
        with self._lock:
            before = self._withdrawals
        handle, path = tempfile.mkstemp(suffix=f"-{name}", dir=self.folder)
        os.close(handle)
        file = Path(path)
        if name == "votes.parquet":
            self._store.export(file)
        elif name == "votes.csv":
            label_studio.write_csv(self._store, file)
        else:
            file.write_text(json.dumps(label_studio.tasks(self._store), ensure_ascii=False), "utf-8")
        return file, before

    def is_current(self, withdrawals: int) -> bool:
        """Whether nobody has withdrawn since a file was begun."""
        with self._lock:
            return self._withdrawals == withdrawals

    def discard(self) -> None:
        """Delete the files that are being sent; what is not sent yet of them is not sent."""
        with self._lock:
            self._withdrawals += 1
        for file in self.folder.glob("*"):
            file.unlink(missing_ok=True)


class ExportRoute:
    """ASGI middleware that answers the route of exports."""

    def __init__(self, app: Any, campaign: Campaign) -> None:
        self.app, self.campaign = app, campaign

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Send a file, refuse it, or pass another request on."""
        place, route, name = scope.get("path", "").rpartition(PATH)
        if scope["type"] != "http" or not route or place or name not in NAMES:
            await self.app(scope, receive, send)
            return
        if scope["method"] != "POST":
            await _refuse(send, 405, "send the token with POST")
            return
        refusal = self.campaign.refuse_token(await _read_token(receive))
        if refusal is not None:
            await _refuse(send, 403, refusal)
            return
        exports = self.campaign.exports
        try:
            file, withdrawals = await asyncio.to_thread(exports.make, name)
        except (CrocError, OSError) as problem:
            await _refuse(send, 500, f"The file could not be written: {problem}.")
            return
        try:
            await _send_file(send, file, name, lambda: exports.is_current(withdrawals))
        finally:
            file.unlink(missing_ok=True)


async def _read_token(receive: Callable[[], Awaitable[Any]]) -> object:
    body = b""
    while len(body) <= _BODY_BYTES:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    with suppress(ValueError, RecursionError):
        content = json.loads(body[: _BODY_BYTES + 1])
        if isinstance(content, dict):
            return content.get("token")
    return None


async def _send_file(
    send: Callable[[Any], Awaitable[None]], file: Path, name: str, is_current: Callable[[], bool]
) -> None:
    with file.open("rb") as opened:
        headers = [
            (b"content-type", b"application/octet-stream"),
            (b"content-length", str(os.fstat(opened.fileno()).st_size).encode()),
            (b"content-disposition", f'attachment; filename="{name}"'.encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while chunk := opened.read(_CHUNK_BYTES):
            if not is_current():  # the connection breaks, and the browser keeps no file
                raise Withdrawn("an annotator withdrew during an export; export again")
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _refuse(send: Callable[[Any], Awaitable[None]], status: int, reason: str) -> None:
    body = json.dumps({"detail": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
