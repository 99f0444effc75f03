"""A service with OpenAI's interface as a writer: what passes is tried again, what does not is a reason."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import llm_server as llm
import pytest

from croc.errors import InputError
from croc.jobs.parts import Abort
from croc_syn.writing import PromptRequest, WriterResponse
from croc_syn.writing.endpoint import EndpointWriter
from croc_syn.writing.responses import SCHEMA
from croc_syn.writing.settings import Sampling, TextEndpoint, TextModel

MODEL = TextModel(name="talker", model="org/talker")
THINKER = TextModel(name="thinker", model="org/thinker", reasons=True)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[llm.Server]:
    monkeypatch.setenv("OPENAI_API_KEY", llm.KEY)
    found = llm.Server(lambda body, nth: llm.completion(llm.question(body)))
    yield found
    found.close()


def requests(count: int = 1) -> list[PromptRequest]:
    return [PromptRequest(({"role": "user", "content": f"question {n}"},), n, SCHEMA) for n in range(count)]


def respond(
    server: llm.Server, asked: list[PromptRequest], model: TextModel = MODEL, **options: Any
) -> list[WriterResponse]:
    """The response to each request, without follow-ups."""
    found: dict[int, WriterResponse] = {}
    settings = TextEndpoint(**{"base_url": server.url, "retries": 4, **options})
    EndpointWriter(model, Sampling(), settings).write(
        asked, lambda number, response: found.setdefault(number, response) and None
    )
    return [found[number] for number in range(len(asked))]


def test_every_question_gets_its_own_answer_many_at_a_time(server: llm.Server) -> None:
    server.takes = 0.1
    found = respond(server, requests(12), concurrency=4)
    assert [response.text for response in found] == [f"question {n}" for n in range(12)]
    assert 2 <= server.most_under_way <= 4
    assert {response.served_as for response in found} == {"served"}
    assert (found[0].input_tokens, found[0].output_tokens) == (100, 20)


def test_a_request_says_the_sampling_of_the_paper_a_seed_and_the_form(server: llm.Server) -> None:
    respond(server, requests(1))
    (body,) = server.requests
    assert body["model"] == "org/talker" and body["seed"] == 0
    assert [body[key] for key in ("temperature", "top_p", "top_k", "presence_penalty")] == [0.6, 0.9, 50, 0.5]
    assert body["max_tokens"] == 8192
    assert body["response_format"]["json_schema"] == {"name": "pair", "strict": True, "schema": SCHEMA}
    assert server.headers[0]["authorization"] == f"Bearer {llm.KEY}"


def test_a_model_that_reasons_is_held_to_no_form(server: llm.Server) -> None:
    respond(server, requests(1), THINKER)
    assert "response_format" not in server.requests[0]


@pytest.mark.parametrize("last", ["json_object", "none"])
def test_a_service_that_knows_no_such_form_is_asked_for_less_from_then_on(
    server: llm.Server, last: str
) -> None:
    def script(body: dict[str, Any], nth: int) -> llm.Reply:
        form = body.get("response_format", {"type": "none"})["type"]
        if form in ("json_schema", "json_object") and form != last:
            return llm.failed(400, f"response_format of type {form} is not supported")
        return llm.completion(form)

    server.script = script
    found = respond(server, requests(6), concurrency=1)
    assert [response.text for response in found] == [last] * 6
    assert len(server.requests) == 6 + (1 if last == "json_object" else 2)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
def test_what_passes_is_tried_again(server: llm.Server, status: int) -> None:
    server.script = lambda body, nth: llm.failed(status) if nth < 3 else llm.completion("there")
    assert respond(server, requests(1))[0].text == "there"
    assert len(server.requests) == 4


def test_the_service_says_how_long_to_wait(server: llm.Server) -> None:
    wait = llm.failed(429, **{"retry-after": "1"})
    wait.headers.pop("retry-after-ms")
    server.script = lambda body, nth: wait if nth == 0 else llm.completion("there")
    begun = time.monotonic()
    assert respond(server, requests(1))[0].text == "there"
    # Without the header the client would wait half a second at most.
    assert time.monotonic() - begun >= 1


def test_what_keeps_failing_is_the_reason_of_that_question_alone(server: llm.Server) -> None:
    server.script = lambda body, nth: (
        llm.failed(500, "out of paper") if llm.question(body) == "question 1" else llm.completion("there")
    )
    found = respond(server, requests(3), retries=1)
    assert [response.text for response in found] == ["there", "", "there"]
    assert found[1].error == "the service failed, after all retries: out of paper"


def test_a_service_that_hangs_is_given_up(server: llm.Server) -> None:
    server.script = lambda body, nth: (
        llm.hang() if llm.question(body) == "question 0" else llm.completion("there")
    )
    found = respond(server, requests(2), timeout=0.5, retries=1)
    assert found[1].text == "there"
    assert found[0].error == "no answer in 0.5 s, after all retries"
    assert respond(server, requests(1), deadline=0.3)[0].error == "the response is incomplete after 0.3 s"


def test_retries_wait_for_their_turn_too(server: llm.Server) -> None:
    server.script = lambda body, nth: llm.failed(500) if nth == 0 else llm.completion("there")
    begun = time.monotonic()
    respond(server, requests(2), per_minute=600)
    # Four requests, a tenth of a second between each.
    assert len(server.requests) == 4
    assert time.monotonic() - begun >= 0.3


def test_what_a_content_filter_stops_is_a_refusal(server: llm.Server) -> None:
    server.script = lambda body, nth: llm.failed(400, "not this", "content_filter")
    (response,) = respond(server, requests(1))
    assert (response.finish, response.refusal, response.error) == ("content_filter", "not this", None)


def test_reasoning_that_is_told_apart_is_kept_apart(server: llm.Server) -> None:
    server.script = lambda body, nth: llm.completion("{}", reasoning="well …")
    (response,) = respond(server, requests(1), THINKER)
    assert (response.text, response.reasoning) == ("{}", "well …")


def test_answers_without_content_or_choices_are_no_crash(server: llm.Server) -> None:
    empty = llm.completion("")
    empty.body = {**empty.body, "choices": []}
    server.script = lambda body, nth: empty if llm.question(body) == "question 0" else llm.completion(None)
    found = respond(server, requests(2))
    assert found[0].error == "the response of the service is empty"
    assert found[1] == WriterResponse(finish="stop", served_as="served", input_tokens=100, output_tokens=20)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            llm.failed(401, "key expired"),
            r"/v1/ does not accept the key in OPENAI_API_KEY \(expired.*key expired",
        ),
        (llm.failed(403, "not yours"), "does not accept the key in OPENAI_API_KEY"),
        (llm.failed(404, "no such model"), "has no model org/talker: no such model"),
        (llm.failed(402, "pay first"), "quota of the key in OPENAI_API_KEY is exhausted: pay first"),
        (
            llm.failed(429, "no money", "insufficient_quota"),
            "quota of the key in OPENAI_API_KEY is exhausted",
        ),
    ],
)
def test_what_holds_for_every_request_stops_at_once(server: llm.Server, reply: llm.Reply, words: str) -> None:
    server.script = lambda body, nth: reply
    with pytest.raises(Abort, match=f"talker: .*{words}") as error:
        respond(server, requests(20), concurrency=2, retries=0)
    assert len(server.requests) <= 4
    assert llm.KEY not in str(error.value)


def test_a_service_that_is_not_there_is_named(server: llm.Server) -> None:
    with pytest.raises(Abort, match=r"there is no service at http://127\.0\.0\.1:9/v1"):
        respond(server, requests(1), base_url="http://127.0.0.1:9/v1", retries=0)


def test_without_a_key_nothing_is_asked(server: llm.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="MY_KEY is not set; it must contain the API key"):
        respond(server, requests(1), key_variable="MY_KEY")
    monkeypatch.setenv("MY_KEY", "another")
    respond(server, requests(1), key_variable="MY_KEY")
    assert server.headers[-1]["authorization"] == "Bearer another"


def test_what_is_asked_again_is_asked_until_it_is_settled(server: llm.Server) -> None:
    received: list[tuple[int, str]] = []

    def follow_up(number: int, response: WriterResponse) -> PromptRequest | None:
        received.append((number, response.text))
        if response.text.startswith("again"):
            return None
        return PromptRequest(({"role": "user", "content": f"again {number}"},), 7, SCHEMA)

    EndpointWriter(MODEL, settings=TextEndpoint(base_url=server.url)).write(requests(3), follow_up)
    assert sorted(received) == sorted((n, text) for n in range(3) for text in (f"question {n}", f"again {n}"))


def test_further_arguments_of_a_model_go_along(server: llm.Server) -> None:
    model = MODEL.model_copy(update={"request": {"chat_template_kwargs": {"enable_thinking": False}}})
    respond(server, requests(1), model, tokens_key="max_completion_tokens", seeds=False, structured="none")
    (body,) = server.requests
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert "max_tokens" not in body and body["max_completion_tokens"] == 8192
    assert "seed" not in body and "response_format" not in body
    assert json.dumps(body)
