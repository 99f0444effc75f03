"""The page for annotators as its own process, and a client that speaks as a browser does."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
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
        self.log, self._folder, self._more = store.with_suffix(".log"), None, {}
        self._take_port()
        self._line = [sys.executable, "-m", "croc", "hum", "annotate", str(items), "--store", str(store)]
        self._line += ["--port", str(self.port), *options]
        self.start()

    @classmethod
    def space(cls, folder: Path, log: Path, **variables: str) -> Page:
        """The page as a Space starts it: ``python app.py`` in its folder, with variables and secrets."""
        made = cls.__new__(cls)
        made.log, made._folder, made._line = log, folder, [sys.executable, "app.py"]
        made._take_port()
        made._more = {**variables, "GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(made.port)}
        made.start()
        return made

    @classmethod
    def typed(cls, words: list[str], log: Path, **variables: str) -> Page:
        """Any page, as the words of a command line start it here, but on a free port."""
        made = cls.__new__(cls)
        made.log, made._folder, made._more = log, None, variables
        made._take_port()
        made._line = [sys.executable, "-m", *words, "--port", str(made.port)]
        made.start()
        return made

    def _take_port(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self, patience: float = 300) -> None:
        """Start the process and wait until it answers."""
        environment = {**os.environ, "CROC_ADMIN_TOKEN": TOKEN, "GRADIO_ANALYTICS_ENABLED": "False"}
        environment |= self._more
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._line, stdout=log, stderr=log, env=environment, cwd=self._folder
            )
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

    def end(self) -> None:
        """As a machine ends a service that it wants to end well."""
        self.process.terminate()
        self.process.wait()

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

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
        self.page, self.offer, self.task, self.seen = page, "", "", ""
        self.code = _CODE.search(self._take(page.call("begin", True)))[1]  # type: ignore[index]

    def _take(self, answer: str) -> str:
        self.seen = unescape(answer.replace('\\"', '"').replace("\\n", ""))
        found = _OFFER.search(self.seen)
        self.offer, self.task = found.groups() if found else ("", "")
        return answer

    def look(self) -> None:
        """Load the page again."""
        self._take(self.page.call("load", self.code))

    def vote(self, answer: str | None = None) -> str | None:
        """Answer what is open; the id of the acknowledged vote, or None when the page says no."""
        name = f"vote_{self.task}_{answer or ANSWERS[self.task]}"
        said = self._take(self.page.call(name, self.code, self.offer, ""))
        found = _VOTE.search(said.replace('\\"', '"'))
        return found[1] if found else None
