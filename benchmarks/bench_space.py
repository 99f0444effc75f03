"""How does the demo Space stand many users at once? Answers, waiting, memory.

    python benchmarks/bench_space.py --users 16 --seconds 60 --rate 4

Each user has an image and prompts of their own, whose answer is asked for alone first; then all of them send
at random times (Poisson, ``--rate`` requests a second together), whether the answer before has come or not.
Measured: the start, the time from sending to answer, refusals of the full queue, answers that are not the
user's own, and the server's memory before, in the middle and after. Without ``--model`` the shipped one is
used.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from gradio_client import Client, handle_file
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from page_server import serve


@dataclass
class Seen:
    """What the users saw; filled by their threads."""

    seconds: list[float] = field(default_factory=list)
    refused: int = 0
    crossed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def megabytes(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1000


def ask(client: Client, image: str, prompts: str) -> list[float]:
    found = client.predict(handle_file(image), prompts, api_name="/score")
    return [each["margin"] for each in found["prompts"]]


def send(client: Client, question: tuple[str, str], alone: list[float], seen: Seen) -> None:
    sent = time.monotonic()
    try:
        found = ask(client, *question)
    except Exception as problem:
        with seen.lock:
            seen.refused += 1
        print(f"refused: {str(problem)[:100]}")
        return
    with seen.lock:
        seen.seconds.append(time.monotonic() - sent)
        seen.crossed += not np.allclose(found, alone, rtol=0, atol=1e-4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--users", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=4, help="requests a second, all users together")
    parser.add_argument("--model", help="a checkpoint; default: the shipped one")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name, serve("crocscore", Path(name), model=options.model) as page:
        print(f"start: {page.seconds:.1f} s")
        questions = []
        for user in range(options.users):
            file = Path(name) / f"{user}.png"
            Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file)
            questions.append((str(file), f"{user} red dogs, and no cat\n{user} blue dogs"))
        clients = [
            Client(page.url, verbose=False, httpx_kwargs={"timeout": 300}) for _ in range(options.users)
        ]
        alone = [ask(client, *question) for client, question in zip(clients, questions, strict=True)]
        memory, seen = [megabytes(page.pid)], Seen()
        begin, sent, due = time.monotonic(), 0, 0.0
        with ThreadPoolExecutor(max_workers=256) as pool:
            while (due := due + rng.exponential(1 / options.rate)) < options.seconds:
                time.sleep(max(0.0, begin + due - time.monotonic()))
                user = int(rng.integers(options.users))
                pool.submit(send, clients[user], questions[user], alone[user], seen)
                sent += 1
                if len(memory) == 1 and due > options.seconds / 2:
                    memory.append(megabytes(page.pid))
        took = time.monotonic() - begin
        memory.append(megabytes(page.pid))
        p50, p95 = np.percentile(seen.seconds, [50, 95]) if seen.seconds else (np.nan, np.nan)
        print(f"{sent} requests of {options.users} users, {options.rate:g}/s; done after {took:.0f} s")
        print(f"answered {len(seen.seconds)}, refused {seen.refused}, of another user {seen.crossed}")
        print(f"waiting: median {p50:.2f} s, 95% below {p95:.2f} s")
        print("memory before, in the middle, after: " + ", ".join(f"{each:.0f} MB" for each in memory))


if __name__ == "__main__":
    main()
