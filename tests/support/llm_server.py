"""A server on loopback with OpenAI's chat interface that answers by a script, as real models and services do.

Shared by the tests of everything that asks a language model. A script is a function from the request's body
and how often this question came before to a :class:`Reply`.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-not-a-real-key"


@dataclass
class Reply:
    """What is sent back: a status with a body, or nothing at all until the server closes."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    hangs: bool = False


Script = Callable[[dict[str, Any], int], Reply]


def failed(status: int, message: str = "slow down", code: str | None = None, **headers: str) -> Reply:
    """An error in the form that OpenAI's service gives it; the client is told to wait 5 ms."""
    error = {"message": message, "type": "error", "code": code, "param": None}
    return Reply(status, {"error": error}, {"retry-after-ms": "5", **headers})


def hang() -> Reply:
    """No answer at all."""
    return Reply(hangs=True)


def completion(
    text: str | None,
    *,
    finish: str = "stop",
    refusal: str | None = None,
    reasoning: str | None = None,
    model: str = "served",
    tokens: tuple[int, int] = (100, 20),
    logprobs: Any = None,
) -> Reply:
    """A chat completion."""
    message = {"role": "assistant", "content": text, "refusal": refusal}
    if reasoning is not None:
        message["reasoning_content"] = reasoning
    choice = {"index": 0, "finish_reason": finish, "message": message, "logprobs": logprobs}
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    return Reply(
        200,
        {
            "id": "c",
            "object": "chat.completion",
            "created": 0,
            "model": model,
            "choices": [choice],
            "usage": usage,
        },
    )


def question(body: dict[str, Any]) -> str:
    """The text of the last message of a request."""
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def asked_property(body: dict[str, Any]) -> str:
    """The property that an instruction asks for, as a model would read it in the form of the answer."""
    found = re.search(r'\{"property": ("(?:[^"\\]|\\.)*")', question(body))
    assert found is not None
    return json.loads(found.group(1))


def pair(body: dict[str, Any], number: int = 0, **changes: Any) -> dict[str, Any]:
    """A good answer to an instruction; equal instructions get equal answers."""
    sizes, colours = ("small", "large", "tall", "wide"), ("red", "blue", "green", "grey")
    place = sum(question(body).encode()) + number
    thing = f"{sizes[place % 4]} {colours[place // 4 % 4]} fox"
    first = f"A {thing} sits beside the old gate of a park, with soft light."
    second = first.replace("fox", "cat").replace("sits", "stands")
    said = {"property": asked_property(body), "value": "fox", "contrast_value": "cat"}
    return said | {"prompt": first, "contrast_prompt": second} | changes


def good(body: dict[str, Any], nth: int) -> Reply:
    """Always a good answer, as plain JSON."""
    return completion(json.dumps(pair(body)))


class Server:
    """The server; ``requests`` has every body that came, ``headers`` what came with it."""

    def __init__(self, script: Script = good) -> None:
        self.script = script
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.under_way = self.most_under_way = 0
        self.takes = 0.0
        self._times: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with server._lock:
                    same = json.dumps(body, sort_keys=True)
                    nth, server._times[same] = server._times[same], server._times[same] + 1
                    server.requests.append(body)
                    server.headers.append({name.lower(): value for name, value in self.headers.items()})
                    server.under_way += 1
                    server.most_under_way = max(server.most_under_way, server.under_way)
                reply = server.script(body, nth)
                server._closing.wait(3600 if reply.hangs else server.takes)
                with server._lock:
                    server.under_way -= 1
                if reply.hangs:
                    self.close_connection = True
                    return
                data = json.dumps(reply.body).encode()
                self.send_response(reply.status)
                for name, value in {"content-type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Let others go on for a moment."""
        self._closing.wait(seconds)

    def close(self) -> None:
        """Let go of whoever waits, and of the port."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
