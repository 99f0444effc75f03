<<<<<<< HEAD
"""A page as ``croc space`` starts it: its own process, a free port, a tiny model that knows nothing."""

from __future__ import annotations

import contextlib
import os
=======
"""The page for annotators as its own process, and a client that speaks as a browser does."""

from __future__ import annotations

import json
import os
import re
>>>>>>> 478da83 (The page for annotators: consent, keys, undo, an administrator's view, and the command that serves it)
import signal
import socket
import subprocess
import sys
import time
<<<<<<< HEAD
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Page:
    """A running page.

    Attributes:
        url: its address, without a slash at the end.
        seconds: from the start of the process to the first answer.
        log: what it prints.
        pid: its process.
    """

    url: str
    seconds: float
    log: Path
    pid: int

    def answers(self) -> bool:
        """Whether the server is still there."""
        with urllib.request.urlopen(self.url, timeout=120) as reply:
            return reply.status == 200


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serve(
    page: str,
    folder: Path,
    *,
    model: Path | str | None = None,
    package: Path | None = None,
    seconds: float = 300,
) -> Iterator[Page]:
    """Start a page and end it.

    Args:
        page: its name.
        folder: for its log and what is uploaded.
        model: a checkpoint for it; None takes what is shipped.
        package: where to take croc from, instead of the checkout.
        seconds: how long to wait for its first answer.
    """
    port, log = free_port(), folder / f"{page}.log"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GRADIO_TEMP_DIR": str(folder / "uploads")}
    environment.pop("CROCSCORE_MODEL", None)
    if model is not None:
        environment["CROCSCORE_MODEL"] = str(model)
    if package is not None:
        environment["PYTHONPATH"] = str(package)
    command = [sys.executable, "-m", "croc", "space", page, "--port", str(port)]
    started = time.monotonic()
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        while True:
            try:
                with urllib.request.urlopen(url, timeout=10):
                    break
            except OSError:
                late = time.monotonic() - started > seconds
                if process.poll() is not None or late:
                    raise AssertionError(f"the page did not start: {log.read_text()[-2000:]}") from None
                time.sleep(0.1)
        yield Page(url, time.monotonic() - started, log, process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)
=======
import urllib.error
import urllib.request
from html import unescape
from pathlib import Path
from typing import Any

TOKEN = "token-of-the-tests"


class Page:
    """The served page.

    Args:
        items: file of items.
        store: the SQLite file.
        options: more of the command line.
    """

    def __init__(self, items: Path, store: Path, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url, self.log = f"http://127.0.0.1:{self.port}", store.with_suffix(".log")
        self._line = [sys.executable, "-m", "croc", "hum", "annotate", str(items), "--store", str(store)]
        self._line += ["--port", str(self.port), *options]
        self.start()

    def start(self, patience: float = 300) -> None:
        """Start the process and wait until it answers."""
        environment = {**os.environ, "CROC_ADMIN_TOKEN": TOKEN, "GRADIO_ANALYTICS_ENABLED": "False"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._line, stdout=log, stderr=log, env=environment)
        end = time.monotonic() + patience
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/config", timeout=10).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"the page did not start: {self.log.read_text()}") from None
                time.sleep(0.1)

    def kill(self) -> None:
        """As the machine would end it: without a chance to write anything."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()

    def call(self, name: str, *values: Any, timeout: float = 60) -> str:
        """One request of the page; the answer is the JSON text of what the page would show.

        Raises:
            OSError: it was not answered.
        """
        request = urllib.request.Request(
            f"{self.url}/gradio_api/run/{name}",
            json.dumps({"data": values}).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return str(answer.read().decode())


_OFFER = re.compile(r'data-offer="([0-9a-f]{32}\.\d+)" data-task="(\w+)"')
_VOTE = re.compile(r'data-vote="([0-9a-f]{32})"')
_CODE = re.compile(r'"([a-z2-7]{4}(?:-[a-z2-7]{4}){5})"')
ANSWERS = {"shows": "yes", "rating": "4", "preference": "first"}


class Client:
    """One annotator at the page."""

    def __init__(self, page: Page) -> None:
        self.page, self.offer, self.task = page, "", ""
        self.code = _CODE.search(self._take(page.call("begin", True)))[1]  # type: ignore[index]

    def _take(self, answer: str) -> str:
        found = _OFFER.search(unescape(answer.replace('\\"', '"').replace("\\n", "")))
        self.offer, self.task = found.groups() if found else ("", "")
        return answer

    def look(self) -> None:
        """Load the page again."""
        self._take(self.page.call("load", self.code))

    def vote(self) -> str | None:
        """Answer what is open; the id of the acknowledged vote, or None when the page says no."""
        name = f"vote_{self.task}_{ANSWERS[self.task]}"
        answer = self._take(self.page.call(name, self.code, self.offer, ""))
        found = _VOTE.search(answer.replace('\\"', '"'))
        return found[1] if found else None
>>>>>>> 478da83 (The page for annotators: consent, keys, undo, an administrator's view, and the command that serves it)
