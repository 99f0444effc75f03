"""A service with OpenAI's images interface as a painter, against a server on loopback with a script."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from image_service import good, image_file, sent
from llm_server import KEY, Reply, Server, failed, hang

from croc.jobs.parts import Abort
from croc_syn.model_settings import Endpoint
from croc_syn.painting import ImageRequest
from croc_syn.painting.endpoint import REFUSED, EndpointPainter
from croc_syn.painting.settings import ImageModel

JOBS = [ImageRequest("two red dogs", seed) for seed in (3, 4)]


def many(count: int) -> list[ImageRequest]:
    """Requests with different seeds; equal ones would be answered from the cache."""
    return [ImageRequest("two red dogs", seed) for seed in range(count)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    started = Server(good)
    yield started
    started.close()


def painter_of(server: Server, call: dict[str, Any] | None = None, **settings: Any) -> EndpointPainter:
    model = ImageModel(name="gpt", model="gpt-image", backend="endpoint", call=call or {})
    given = {"base_url": server.url, "retries": 2, "timeout": 20.0, **settings}
    return EndpointPainter(model, Endpoint(**given), 16, 16)


def test_an_image_is_kept_as_the_service_sent_it(server: Server) -> None:
    painted = list(painter_of(server, {"quality": "low"}).paint(JOBS))
    assert [one.data for one in painted] == [image_file()] * 2
    assert np.asarray(painted[0].pixels).shape == (16, 16, 3)
    assert [one.flags for one in painted] == [[], []]
    assert server.requests[0] == {
        "model": "gpt-image",
        "prompt": "two red dogs",
        "n": 1,
        "size": "16x16",
        "output_format": "webp",
        "quality": "low",
    }
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_a_seed_is_sent_where_the_service_knows_seeds(server: Server) -> None:
    list(painter_of(server, {"output_format": None}, seeds=True, concurrency=1).paint(JOBS))
    assert [body["seed"] for body in server.requests] == [3, 4]
    assert "output_format" not in server.requests[0]


def test_several_requests_are_under_way_and_results_keep_their_order(server: Server) -> None:
    meet = threading.Barrier(4)

    def script(body: dict[str, Any], nth: int) -> Reply:
        meet.wait(20)  # answers nobody before four are there
        return sent(image_file((int(body["prompt"]), 0, 0), "PNG"))

    server.script = script
    painted = list(painter_of(server, concurrency=4).paint([ImageRequest(str(10 * i), 0) for i in range(8)]))
    assert server.most_under_way == 4
    assert [int(np.asarray(one.pixels)[0, 0, 0]) for one in painted] == [10 * i for i in range(8)]


def test_requests_keep_to_the_rate_limit(server: Server) -> None:
    painter = painter_of(server, per_minute=1200)
    begun = time.monotonic()
    list(painter.paint(many(6)))
    # Six requests at 50 ms each: the last one starts 250 ms after the first.
    assert time.monotonic() - begun >= 0.25


def test_workers_share_what_the_service_allows() -> None:
    mine = Endpoint(concurrency=8, per_minute=60).shared_by(4)
    assert (mine.concurrency, mine.per_minute) == (2, 15)
    assert Endpoint(concurrency=2).shared_by(4).concurrency == 1


@pytest.mark.parametrize("bad", [failed(429), failed(500, "oops"), failed(503), failed(408)])
def test_what_passes_is_tried_again(server: Server, bad: Reply) -> None:
    server.script = lambda body, nth: bad if nth < 2 else good(body, nth)
    painted = list(painter_of(server, concurrency=1).paint(JOBS[:1]))
    assert [one.error for one in painted] == [None]
    assert len(server.requests) == 3


LOST = [
    (failed(429), "the service failed, after all retries: slow down"),
    (failed(500, "the model fell over"), "the service failed, after all retries: the model fell over"),
    (hang(), "no answer in 0.2 s, after all retries"),
    (failed(400, "Your request was rejected by the safety system.", "moderation_blocked"), REFUSED),
    (failed(400, "not allowed", "content_policy_violation"), REFUSED),
    (Reply(200, {"created": 0, "data": []}), "the response has no image data"),
    (Reply(200, {"created": 0, "data": [{"url": "https://x/y.png"}]}), "the response has no image data"),
    (Reply(200, {"created": 0, "data": [{"b64_json": "@@@"}]}), "the response has no readable image"),
    (sent(b"<html>not an image</html>"), "the response has no readable image: .* unknown format"),
    (sent(image_file()[:60]), "the response has no readable image"),
]


@pytest.mark.parametrize(("bad", "reason"), LOST)
def test_what_does_not_pass_is_the_reason_of_that_image_alone(
    server: Server, bad: Reply, reason: str
) -> None:
    server.script = lambda body, nth: bad if body["prompt"] == "bad" else good(body, nth)
    timeout = 0.2 if bad.hangs else 20.0
    painter = painter_of(server, timeout=timeout, retries=1)
    first, second, third = painter.paint(
        [ImageRequest("good", 0), ImageRequest("bad", 0), ImageRequest("good", 1)]
    )
    assert second.data is None
    assert second.error is not None
    assert re.match(reason, second.error)
    assert (first.error, third.error) == (None, None)


def about_the_prompt(body: dict[str, Any], nth: int) -> Reply:
    reply = failed(400, "string too long", "string_above_max_length")
    reply.body["error"]["param"] = "prompt"
    return reply


def test_a_prompt_that_the_service_cannot_use_loses_its_own_images(server: Server) -> None:
    server.script = about_the_prompt
    assert [one.error for one in painter_of(server).paint(JOBS)] == [
        "the service rejects the prompt: string too long"
    ] * 2


STOPS = [
    (
        failed(401, "Incorrect API key provided.", "invalid_api_key"),
        r"gpt: http://.*/v1/ does not accept the key in OPENAI_API_KEY \(expired .*: Incorrect API key",
    ),
    (failed(403, "Your organization must be verified."), "does not accept the key .* must be verified"),
    (failed(404, "no such model"), "gpt: http://.* has no model gpt-image: no such model"),
    (
        failed(429, "You exceeded your quota", "insufficient_quota"),
        "the quota of the key in OPENAI_API_KEY is exhausted",
    ),
    (failed(400, "Unknown parameter: 'output_format'."), "gpt: the service rejects the request: Unknown"),
]


@pytest.mark.parametrize(("bad", "sentence"), STOPS)
def test_what_holds_for_every_request_stops_at_once(server: Server, bad: Reply, sentence: str) -> None:
    server.script = lambda body, nth: bad
    with pytest.raises(Abort, match=sentence) as stopped:
        list(painter_of(server, concurrency=1, retries=0).paint(many(100)))
    assert KEY not in str(stopped.value)
    assert len(server.requests) < 5


def test_a_key_that_expires_midway_stops_and_what_was_painted_is_there(server: Server) -> None:
    server.script = lambda body, nth: (
        good(body, nth) if len(server.requests) < 4 else failed(401, "The key has expired.", "expired")
    )
    painted = []
    with pytest.raises(Abort, match=r"OPENAI_API_KEY \(expired"):
        for one in painter_of(server, concurrency=1).paint(many(100)):
            painted.append(one.data)
    assert painted == [image_file()] * 3
    assert len(server.requests) < 8


def test_without_a_key_nothing_is_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTHER_KEY", raising=False)
    with pytest.raises(
        Abort, match=r"gpt: the environment variable OTHER_KEY is not set; it must contain the API key"
    ):
        list(painter_of(server, key_variable="OTHER_KEY").paint(JOBS))
    assert server.requests == []


def test_a_service_that_is_not_there_is_one_sentence(server: Server) -> None:
    painter = painter_of(server, retries=0)
    server.close()
    with pytest.raises(Abort, match=r"gpt: there is no service at http://127.0.0.1:\d+/v1/"):
        list(painter.paint(JOBS))


def test_a_black_image_is_flagged(server: Server) -> None:
    server.script = lambda body, nth: sent(image_file((1, 0, 2), "PNG"))
    assert [one.flags for one in painter_of(server).paint(JOBS)] == [["black"]] * 2
