"""The page for annotators in a process of its own, and clients that send requests as a browser does."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from html import unescape
from pathlib import Path
from typing import Any

from croc_hum.votes.store import Store

TOKEN = "token-of-the-tests"


class Page:
    """The served page.

    Args:
        items: file of items.
        store: the SQLite file.
        options: further options of the command line.
    """

    def __init__(self, items: Path, store: Path, *options: str) -> None:
        self.log, self._folder, self._variables = store.with_suffix(".log"), None, {}
        self._take_port()
        self._line = [sys.executable, "-m", "croc", "hum", "annotate", str(items), "--store", str(store)]
        self._line += ["--port", str(self.port), *options]
        self.start()

    @classmethod
    def space(cls, folder: Path, log: Path, **variables: str) -> Page:
        """The page as a Space starts it: ``python app.py`` in its folder, with variables and secrets."""
        page = cls.__new__(cls)
        page.log, page._folder, page._line = log, folder, [sys.executable, "app.py"]
        page._take_port()
        page._variables = {
            **variables,
            "GRADIO_SERVER_NAME": "127.0.0.1",
            "GRADIO_SERVER_PORT": str(page.port),
        }
        page.start()
        return page

    @classmethod
    def from_command(cls, arguments: list[str], log: Path, **variables: str) -> Page:
        """Any page that a command line starts, on a free port."""
        page = cls.__new__(cls)
        page.log, page._folder, page._variables = log, None, variables
        page._take_port()
        page._line = [sys.executable, "-m", *arguments, "--port", str(page.port)]
        page.start()
        return page

    def _take_port(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self, timeout: float = 300) -> None:
        """Start the process and wait until it responds."""
        environment = {**os.environ, "CROC_ADMIN_TOKEN": TOKEN, "GRADIO_ANALYTICS_ENABLED": "False"}
        environment |= self._variables
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._line, stdout=log, stderr=log, env=environment, cwd=self._folder
            )
        end = time.monotonic() + timeout
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/config", timeout=10).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"the page did not start: {self.log.read_text()}") from None
                time.sleep(0.1)

    def kill(self) -> None:
        """Kill the process, which cannot write anything before."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """Stop the process regularly, as a machine stops a service."""
        self.process.terminate()
        self.process.wait()

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def call(self, name: str, *values: Any, timeout: float = 60, address: str | None = None) -> str:
        """Send one request; the response is the JSON of what the page would show.

        Args:
            name: of the event.
            values: of its inputs.
            timeout: in seconds.
            address: what a proxy would add as the address of the browser.

        Raises:
            OSError: there was no response.
        """
        request = urllib.request.Request(
            f"{self.url}/gradio_api/run/{name}",
            json.dumps({"data": values}).encode(),
            {"content-type": "application/json", **({"x-forwarded-for": address} if address else {})},
        )
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return str(response.read().decode())


_OFFER = re.compile(r'data-offer="([0-9a-f]{32}\.\d+)" data-task="(\w+)"')
_VOTE = re.compile(r'data-vote="([0-9a-f]{32})"')
_CODE = re.compile(r'"([a-z2-7]{4}(?:-[a-z2-7]{4}){5})"')
ANSWERS = {"shows": "yes", "rating": "4", "preference": "first"}


class Client:
    """One annotator."""

    def __init__(self, page: Page, invitation: str = "") -> None:
        self.page, self.offer, self.task, self.content = page, "", "", ""
        self.code = _CODE.search(self._read(page.call("begin", True, invitation)))[1]  # type: ignore[index]

    def _read(self, response: str) -> str:
        self.content = unescape(response.replace('\\"', '"').replace("\\n", ""))
        match = _OFFER.search(self.content)
        self.offer, self.task = match.groups() if match else ("", "")
        return response

    def reload(self) -> None:
        """Load the page again."""
        self._read(self.page.call("load", self.code))

    def vote(self, answer: str | None = None) -> str | None:
        """Answer the open item; returns the id of the acknowledged vote, or None if the page refused it."""
        name = f"vote_{self.task}_{answer or ANSWERS[self.task]}"
        response = self._read(self.page.call(name, self.code, self.offer, ""))
        match = _VOTE.search(response.replace('\\"', '"'))
        return match[1] if match else None


def vote_concurrently(
    page: Page, annotators: int, rate: float, duration: float
) -> tuple[list[str], list[float], int]:
    """Let annotators vote at once.

    Args:
        page: the served page.
        annotators: number of threads, each of which waits for the response to its last vote.
        rate: votes per second of all annotators together; waiting times are exponential.
        duration: seconds.

    Returns:
        Ids of acknowledged votes, seconds per request, number of failed requests.
    """
    acknowledged: list[str] = []
    seconds: list[float] = []
    failed = 0
    end = time.monotonic() + duration

    def work(seed: int) -> None:
        nonlocal failed
        rng = random.Random(seed)
        client = Client(page)
        due = time.monotonic()
        while (due := due + rng.expovariate(rate / annotators)) < end and client.task:
            time.sleep(max(0.0, due - time.monotonic()))
            started = time.monotonic()
            try:
                vote = client.vote()
            except OSError:
                failed += 1
                continue
            seconds.append(time.monotonic() - started)
            if vote:
                acknowledged.append(vote)
            if not client.task:
                client.reload()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(annotators)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return acknowledged, seconds, failed


def read_votes(store: Path) -> list[dict[str, Any]]:
    """The current votes of a store."""
    with Store(store) as opened:
        return list(opened.votes())
