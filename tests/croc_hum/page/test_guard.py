"""Limits of the page's server, tested over a real connection on loopback."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from croc_hum.page import guard
from croc_hum.page.guard import Guard

LIMIT = 1000
arrived: list[int] = []
"""Number of bytes of each body that reached the program behind the guard."""


async def count(request: Request) -> PlainTextResponse:
    arrived.append(len(await request.body()))
    return PlainTextResponse(f"{arrived[-1]} bytes")


async def answers_early(request: Request) -> StreamingResponse:
    """Starts its response before it has read the request."""

    async def parts():
        yield b"begun "
        async for part in request.stream():
            yield str(len(part)).encode()

    return StreamingResponse(parts())


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    routes = [Route(path, count, methods=["GET", "POST"]) for path in ("/", "/gradio_api/upload")]
    app = Starlette(
        routes=[*routes, Route("/early", answers_early, methods=["POST"])],
        middleware=[Middleware(Guard, limit=LIMIT)],
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="critical", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.005)
        yield listening.getsockname()[1]
        server.should_exit = server.force_exit = True
        thread.join()


@contextmanager
def connection(port: int) -> Iterator[socket.socket]:
    arrived.clear()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as made:
        yield made


def post(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def chunk(size: int) -> bytes:
    return b"%x\r\n" % size + b"x" * size + b"\r\n"


CHUNKED = "Transfer-Encoding: chunked"
END = b"0\r\n\r\n"


def answer(made: socket.socket) -> tuple[int, bytes]:
    """Status and body of one answer, the connection kept."""
    got = b""
    while b"\r\n\r\n" not in got:
        part = made.recv(65536)
        assert part, "the connection was closed without an answer"
        got += part
    head, _, body = got.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(body) < int(length[1]):
        body += made.recv(65536)
    return int(head.split()[1]), body


def refused(made: socket.socket, status: int, why: str) -> None:
    assert answer(made) == (status, json.dumps({"detail": why}).encode())
    assert made.recv(1) == b"", "the connection is closed behind a refusal"
    assert arrived == []


def test_small_bodies_pass_whether_or_not_they_say_their_size(port):
    with connection(port) as made:
        made.sendall(post("/", f"Content-Length: {LIMIT}") + b"x" * LIMIT)
        assert answer(made) == (200, b"1000 bytes")
        made.sendall(post("/", CHUNKED) + chunk(LIMIT - 1) + chunk(1) + END)
        assert answer(made) == (200, b"1000 bytes")
        made.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer(made) == (200, b"0 bytes")


def test_a_chunked_body_is_refused_as_soon_as_it_is_too_large(port):
    with connection(port) as made:
        made.sendall(post("/", CHUNKED) + chunk(LIMIT) + chunk(1) + END)
        refused(made, 413, "the request is too large")


def test_a_chunked_body_in_many_small_pieces_is_refused_too(port):
    with connection(port) as made:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.sendall(post("/", CHUNKED))
        for _ in range(LIMIT // 100 + 1):
            made.sendall(chunk(100))
        made.sendall(END)
        refused(made, 413, "the request is too large")


@pytest.mark.parametrize("header", [f"Content-Length: {LIMIT + 1}", f"Content-Length: {10**9}"])
def test_a_body_with_a_too_large_content_length_is_refused_before_it_is_read(port, header, monkeypatch):
    monkeypatch.setattr(guard, "_DRAINED_S", 0.2)
    with connection(port) as made:
        made.sendall(post("/", header) + b"x" * 10)
        refused(made, 413, "the request is too large")


def test_uploads_are_refused_whatever_their_size(port):
    for headers, body in ((["Content-Length: 1"], b"x"), ([CHUNKED], chunk(1) + END)):
        with connection(port) as made:
            made.sendall(post("/gradio_api/upload", *headers) + body)
            refused(made, 403, "this server does not accept files")


def test_who_sends_a_refused_body_slowly_is_waited_for_no_longer_than_the_limit(port, monkeypatch):
    """The rest of a body is read on so that the sender sees the answer, but not without end."""
    monkeypatch.setattr(guard, "_DRAINED_S", 0.3)
    with connection(port) as made:
        begun = time.monotonic()
        made.sendall(post("/", CHUNKED) + chunk(LIMIT + 1))  # and then nothing, not even an end
        refused(made, 413, "the request is too large")
        assert 0.3 <= time.monotonic() - begun < 30


def test_who_sends_a_refused_body_without_end_is_cut_off_by_its_size(port, monkeypatch):
    monkeypatch.setattr(guard, "_DRAINED_BYTES", 100_000)
    monkeypatch.setattr(guard, "_DRAINED_S", 600.0)
    with connection(port) as made:
        made.sendall(post("/", CHUNKED))
        sent = 0
        with pytest.raises(ConnectionError):
            while sent < 500_000_000:
                made.sendall(chunk(50_000))
                sent += 50_000
        assert 100_000 < sent < 500_000_000
    assert arrived == []


def test_an_answer_that_has_begun_ends_when_the_body_turns_out_too_large(port):
    with connection(port) as made:
        made.sendall(post("/early", CHUNKED) + chunk(10))
        assert answer(made)[0] == 200
        made.sendall(chunk(LIMIT) + END)
        got = b""
        while part := made.recv(65536):
            got += part
        assert b"413" not in got and str(LIMIT).encode() not in got
