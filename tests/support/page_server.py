"""A page as ``croc space`` starts it: its own process, a free port, a tiny model that knows nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
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
