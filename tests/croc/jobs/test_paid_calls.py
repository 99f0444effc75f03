"""Estimates, budgets and kept answers of paid services, against real HTTP servers on loopback."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import llm_server as llm
import openai
import pytest

from croc.errors import InputError
from croc.jobs.paid_calls import Expected, PaidCalls, PaidTerms, Prices, cache_folder, usage_of
from croc.jobs.parts import Abort

SUPPORT = Path(__file__).parents[2] / "support"
DEAR = Prices(input=0.0, output=1e6)  # a dollar for each output token


@pytest.fixture
def server() -> Iterator[llm.Server]:
    found = llm.Server(lambda body, nth: llm.completion(llm.question(body).upper(), tokens=(10, 1)))
    yield found
    found.close()


def body(text: str, **others: Any) -> dict[str, Any]:
    return {
        "model": "judge",
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 2,
        **others,
    }


def calls(server: llm.Server, **terms: Any) -> PaidCalls:
    return PaidCalls("chat/completions", "judge", address=server.url, terms=PaidTerms(**terms))


def ask(service: PaidCalls, server: llm.Server, text: str, *, draw: int | None = None, **others: Any) -> str:
    """The answer to a text, over the client that all callers use."""
    request = body(text, **others)
    client = openai.OpenAI(api_key="x", base_url=server.url, max_retries=0)

    def send() -> dict[str, Any]:
        return client.chat.completions.create(**request).to_dict()

    answer = service.call(request, send, draw=draw)
    return str(answer["choices"][0]["message"]["content"])


# ---- The cache ----


def test_an_equal_request_pays_once_whoever_sends_it(server: llm.Server) -> None:
    first, second = calls(server), calls(server)
    assert [ask(first, server, text) for text in ("a", "b", "a")] == ["A", "B", "A"]
    assert [ask(second, server, text) for text in ("b", "a", "c")] == ["B", "A", "C"]
    assert (first.usage.calls, first.usage.cached) == (2, 1)
    assert (second.usage.calls, second.usage.cached) == (1, 2)
    assert len(server.requests) == 3
    assert cache_folder().is_dir()


def test_another_body_sample_model_revision_or_address_is_another_request(server: llm.Server) -> None:
    service = calls(server)
    for options in ({}, {"temperature": 1}, {"draw": 1}, {"draw": 2}, {"model": "other"}, {"draw": 1}):
        ask(service, server, "a", **options)
    revised = PaidCalls("chat/completions", "judge", address=server.url, revision="2")
    elsewhere = PaidCalls("chat/completions", "judge", address=server.url.replace("127.0.0.1", "localhost"))
    slash = PaidCalls("chat/completions", "judge", address=server.url + "/")
    for one in (revised, elsewhere, slash):
        ask(one, server, "a")
    assert (service.usage.calls, service.usage.cached) == (5, 1)
    assert [one.usage.calls for one in (revised, elsewhere, slash)] == [1, 1, 0]


def test_images_count_by_their_content_and_are_not_kept(server: llm.Server) -> None:
    service = calls(server)

    def pictured(data: str) -> str:
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
        messages = [{"role": "user", "content": [image, {"type": "text", "text": "seen"}]}]
        return ask(service, server, "", messages=messages)

    assert [pictured(data) for data in ("AAAA", "BBBB", "AAAA")] == ["SEEN"] * 3
    assert (service.usage.calls, service.usage.cached) == (2, 1)
    kept = [path.read_text() for path in cache_folder().rglob("*.json")]
    assert len(kept) == 2
    assert all("sha256:" in text and "base64" not in text for text in kept)


@pytest.mark.parametrize("damage", ["cut", "answer", "request", "list", "empty"])
def test_a_damaged_answer_is_noticed_and_asked_again(
    server: llm.Server, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    ask(calls(server), server, "a")
    (path,) = cache_folder().rglob("*.json")
    stored = json.loads(path.read_text())
    if damage == "answer":
        stored["answer"]["choices"][0]["message"]["content"] = "forged"
    if damage == "request":
        stored["request"]["body"]["model"] = "other"
    text = json.dumps([stored] if damage == "list" else stored)
    path.write_text({"cut": text[:-20], "empty": ""}.get(damage, text))
    service = calls(server)
    assert ask(service, server, "a") == "A"
    assert (service.usage.calls, service.usage.cached, service.usage.damaged) == (1, 0, 1)
    assert f"{path} is damaged" in caplog.text
    assert "1 damaged answer asked again" in str(service.usage)
    assert ask(service, server, "a") == "A"
    assert (service.usage.calls, service.usage.cached) == (1, 1)


def test_without_the_cache_every_request_is_sent_and_nothing_is_kept(server: llm.Server) -> None:
    ask(calls(server), server, "a")
    service = calls(server, cache=False)
    assert ask(service, server, "a") == ask(service, server, "a") == "A"
    assert (service.usage.calls, len(server.requests)) == (2, 3)
    assert len(list(cache_folder().rglob("*.json"))) == 1


def test_an_answer_without_content_is_not_kept(server: llm.Server) -> None:
    def script(body: dict[str, Any], nth: int) -> llm.Reply:
        return llm.completion("late") if nth else llm.Reply(200, {"choices": [], "object": "chat.completion"})

    server.script = script
    service, request = calls(server), body("a")
    client = openai.OpenAI(api_key="x", base_url=server.url)
    sent = lambda: client.chat.completions.create(**request).to_dict()  # noqa: E731
    assert not service.call(request, sent)["choices"]
    assert service.call(request, sent)["choices"][0]["message"]["content"] == "late"


_PROCESS = f"""
import sys
sys.path[:0] = [{str(SUPPORT)!r}]
import openai
from croc.jobs.paid_calls import PaidCalls
client = openai.OpenAI(api_key="x", base_url=sys.argv[1])
service = PaidCalls("chat/completions", "judge", address=sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for number in range(40):
    request = {{"model": "judge", "messages": [{{"role": "user", "content": f"q{{number}}"}}]}}
    answer = service.call(request, lambda: client.chat.completions.create(**request).to_dict())
    assert answer["choices"][0]["message"]["content"] == f"Q{{number}}"
print(service.usage.calls, service.usage.cached, service.usage.damaged)
"""


def test_two_processes_share_the_folder_and_the_next_one_pays_nothing(server: llm.Server) -> None:
    def start() -> subprocess.Popen[str]:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, "-c", _PROCESS, server.url], **pipes)

    both = [start(), start()]
    for process in both:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in both:  # at the same moment
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    counts = [tuple(map(int, process.communicate(timeout=60)[0].split())) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert all(paid + cached == 40 and damaged == 0 for paid, cached, damaged in counts)
    assert 40 <= len(server.requests) == sum(paid for paid, _, _ in counts) <= 80
    assert len(list(cache_folder().rglob("*.json"))) == 40
    assert not list(cache_folder().rglob("*.tmp"))
    before = len(server.requests)
    third = calls(server)
    for number in range(40):
        request = {"model": "judge", "messages": [{"role": "user", "content": f"q{number}"}]}
        assert third.call(request, dict)["choices"][0]["message"]["content"] == f"Q{number}"
    assert (third.usage.calls, third.usage.cached, len(server.requests)) == (0, 40, before)


# ---- The budget ----


def test_a_budget_is_not_exceeded_and_what_was_paid_for_is_kept(server: llm.Server) -> None:
    # Answers cost one or two dollars; two are reserved for each, because max_tokens is 2.
    server.script = lambda body, nth: llm.completion(
        llm.question(body).upper(), tokens=(10, 1 + int(llm.question(body)[1:]) % 2)
    )
    server.takes = 0.01
    texts = [f"q{number}" for number in range(40)]

    def run(budget: float) -> tuple[PaidCalls, int, str]:
        service, answered, reason = calls(server, prices=DEAR, budget=budget), 0, ""
        with ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(ask, service, server, text) for text in texts]
            for future in futures:
                try:
                    future.result()
                    answered += 1
                except Abort as stop:
                    reason = str(stop)
        return service, answered, reason

    service, answered, reason = run(20.0)
    assert service.usage.cost is not None and 18.0 < service.usage.cost <= 20.0
    assert answered == service.usage.calls == len(server.requests) < 40
    assert f"for {answered} paid calls, and the next call of judge may cost $2.0000" in reason
    assert str(cache_folder()) in reason and "run the same command again" in reason
    # Each run may spend as much again, and none pays twice for an answer.
    second, answered_then, _ = run(20.0)
    assert answered_then == answered + second.usage.calls and second.usage.cached == answered
    third, everything, reason = run(40.0)
    assert (everything, reason) == (40, "")
    assert len(server.requests) == 40
    assert service.usage.calls + second.usage.calls + third.usage.calls == 40


def test_coroutines_keep_to_a_budget_and_finish_what_is_under_way(server: llm.Server) -> None:
    server.takes = 0.05
    service = calls(server, prices=DEAR, budget=9.0)

    async def everything() -> list[Any]:
        async with openai.AsyncOpenAI(api_key="x", base_url=server.url, max_retries=0) as client:

            async def one(number: int) -> str:
                request = body(f"q{number}")

                async def send() -> dict[str, Any]:
                    return (await client.chat.completions.create(**request)).to_dict()

                answer = await service.call_async(request, send)
                return str(answer["choices"][0]["message"]["content"])

            return await asyncio.gather(*[one(number) for number in range(12)], return_exceptions=True)

    found = asyncio.run(everything())
    answered = [text for text in found if isinstance(text, str)]
    # Two dollars are reserved while a call is under way and one is spent; after eight no call fits.
    assert len(answered) == len(server.requests) == 8
    assert all(isinstance(one, Abort) for one in found if not isinstance(one, str))
    assert len(list(cache_folder().rglob("*.json"))) == 8


def test_an_error_of_the_service_costs_nothing_and_a_timeout_may(server: llm.Server) -> None:
    service = calls(server, prices=DEAR, budget=6.0)
    server.script = lambda body, nth: llm.failed(500)
    for text in "abcdefgh":
        with pytest.raises(openai.InternalServerError):
            ask(service, server, text)
    server.script = lambda body, nth: llm.completion("yes", tokens=(1, 2))
    assert ask(service, server, "fine") == "yes"

    def late() -> dict[str, Any]:
        raise openai.APITimeoutError(request=None)  # type: ignore[arg-type]

    with pytest.raises(openai.APITimeoutError):
        service.call(body("slow"), late)
    assert ask(service, server, "more") == "yes"
    with pytest.raises(Abort, match=r"\$6 is used up: \$6\.0000 for 2 paid calls"):
        ask(service, server, "too much")


def test_a_service_that_does_not_count_is_booked_with_the_most(server: llm.Server) -> None:
    def script(body: dict[str, Any], nth: int) -> llm.Reply:
        reply = llm.completion("yes")
        del reply.body["usage"]
        return reply

    server.script = script
    service = calls(server, prices=DEAR, budget=5.0)
    assert [ask(service, server, text) for text in "ab"] == ["yes", "yes"]
    with pytest.raises(Abort):
        ask(service, server, "c")
    assert service.usage.cost == 4.0


def test_the_models_of_a_run_share_its_budget_and_its_usage(server: llm.Server) -> None:
    terms = PaidTerms(prices=DEAR, budget=4.0).in_one_run()
    one, other = (PaidCalls("chat/completions", name, address=server.url, terms=terms) for name in "ab")
    for service, text in ((one, "1"), (other, "2"), (one, "3")):
        ask(service, server, text)
    with pytest.raises(Abort, match=r"\$3\.0000 for 3 paid calls, and the next call of b"):
        ask(other, server, "4")
    total = usage_of(terms.run)
    assert total is not None and (total.calls, total.cost) == (3, 3.0)
    assert usage_of("another") is None
    assert terms.divided_by(4).budget == 1.0
    assert terms.in_one_run() == terms


def test_images_of_a_service_are_paid_by_the_piece(server: llm.Server) -> None:
    server.script = lambda body, nth: llm.Reply(200, {"created": 0, "data": [{"b64_json": "AAAA"}]})
    terms = PaidTerms(prices=Prices(image=0.04), budget=0.1)
    service = PaidCalls("images/generations", "painter", address=server.url, terms=terms)
    client = openai.OpenAI(api_key="x", base_url=server.url)
    for seed in range(2):
        request = {"model": "painter", "prompt": "a dog", "n": 1}
        service.call(request, lambda sent=request: client.images.generate(**sent).to_dict(), draw=seed)
    with pytest.raises(Abort, match=r"the next call of painter may cost \$0\.0400"):
        service.call({"prompt": "a dog", "n": 1}, dict, draw=2)
    assert str(service.usage) == "2 paid calls, 0 from the cache, 2 images, $0.0800"


# ---- Prices and estimates ----


def test_a_budget_needs_prices_and_wrong_prices_are_named() -> None:
    with pytest.raises(InputError, match=r"a budget for judge needs its prices: --price output=DOLLARS"):
        PaidCalls("chat/completions", "judge", terms=PaidTerms(prices=Prices(input=1), budget=1.0))
    with pytest.raises(InputError, match="needs its prices: --price image=DOLLARS"):
        PaidCalls("images/generations", "painter", terms=PaidTerms(prices=DEAR, budget=1.0))
    with pytest.raises(InputError, match="the price 'outputs' is unknown: use input, output or image"):
        Prices.of({"outputs": 1})
    for wrong in (-1, "2", True, float("inf")):
        with pytest.raises(InputError, match="must be a number of dollars from 0"):
            Prices.of({"input": wrong})
    terms = PaidTerms(prices=Prices(input=1, output=2)).changed({"prices": {"output": 3}, "budget": 5.0})
    assert (terms.prices, terms.budget) == (Prices(input=1, output=3), 5.0)


def test_an_estimate_says_what_it_costs_or_that_the_price_is_unknown() -> None:
    expected = Expected("judge", 1_000, 2_000_000, 100_000)
    assert expected.text(PaidTerms()) == (
        "estimate for judge: 1,000 paid calls, about 2,000,000 input and 100,000 output tokens, the cost is "
        "unknown without prices: --price input=DOLLARS --price output=DOLLARS (per million tokens) (answers "
        "in the cache cost nothing)"
    )
    # 2 × 2.5 + 0.1 × 10
    priced = expected.text(PaidTerms(prices=Prices(input=2.5, output=10), budget=3, cache=False))
    assert "about $6, the run stops before it has cost more than $3 (without a cache)" in priced
    painted = Expected("painter", 30, images=30).text(PaidTerms(prices=Prices(image=0.04)))
    assert painted.startswith("estimate for painter: 30 paid calls, 30 images, about $1.2 ")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CROC_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"cannot be made .*; set CROC_CACHE to another one, or use --no-c"):
        PaidCalls("chat/completions", "judge")
