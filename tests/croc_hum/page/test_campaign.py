"""A campaign on a real server against people who abuse it: exports, places, invitations, tokens, memory."""

from __future__ import annotations

import asyncio
import io
import json
import re
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotate_server import TOKEN, Client, Page
from hum_items import item, items, vote_on_all, write
from PIL import Image

from croc_hum.page.campaign import Campaign
from croc_hum.page.exports import NAMES, ExportRoute, Withdrawn
from croc_hum.votes.store import Store

pytest.importorskip("gradio", reason="the page needs gradio")
pytest_plugins = ("hum_store",)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Any]:
    pages: list[Page] = []

    def start(*options: str, rows: list[dict[str, Any]] | None = None) -> Page:
        file = write(rows or items(6), tmp_path / "items.parquet")
        page = Page(file, tmp_path / "votes.sqlite", "--attention-every", "0", *options)
        pages.append(page)
        return page

    yield start
    for page in pages:
        page.end()


def export(page: Page, name: str, body: Any, address: str | None = None) -> tuple[int, bytes]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"x-forwarded-for": address} if address else {}
    try:
        request = urllib.request.Request(f"{page.url}/export/{name}", data, headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            return int(response.status), response.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


def exported_files() -> list[Path]:
    return [
        file for folder in Path(tempfile.gettempdir()).glob("croc-exports-*") for file in folder.iterdir()
    ]


def test_exports_need_the_token_and_never_hold_votes_that_were_withdrawn(serve: Any) -> None:
    page = serve()
    leaver, stayer = Client(page), Client(page)
    votes = [client.vote() for client in (leaver, stayer)]
    before = set(exported_files())
    for name in NAMES:
        status, content = export(page, name, {"token": TOKEN})
        assert status == 200 and (name == "votes.parquet" or votes[0].encode() in content)
    for body in ({"token": "wrong"}, {}, [], b"", b"{", b"[" * 4000, {"token": {"a": 1}}):
        status, content = export(page, "votes.csv", body, f"203.0.113.{len(str(body))}")
        assert status == 403 and b"wrong" in content
    for path in ("export/votes.csv", "export/../votes.sqlite", "export/votes.sqlite"):
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{page.url}/{path}", timeout=60)
    assert "deleted" in page.call("withdraw", True, leaver.code)
    status, content = export(page, "votes.csv", {"token": TOKEN})
    assert status == 200 and votes[1].encode() in content and votes[0].encode() not in content
    deadline = time.monotonic() + 30  # a file is deleted after its last byte was sent
    while not set(exported_files()) <= before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert set(exported_files()) <= before, "nothing is kept of what was sent"


def test_a_withdrawal_breaks_off_an_export_that_is_being_sent(make: Any) -> None:
    store = make(items(40), overlap=3, attention_every=0)
    code = store.add_annotator().code
    while (offer := store.offer_item(code)) is not None:
        store.vote(code, offer.offer_id, "yes", "x" * 1000)  # so that the file has several chunks
    for _ in range(2):
        vote_on_all(store, store.add_annotator().code)
    campaign = Campaign(store, TOKEN)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps({"token": TOKEN}).encode()}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if len(sent) == 2:  # the head and the first chunk
            campaign.exports.discard()

    scope = {"type": "http", "method": "POST", "path": "/export/label-studio.json"}
    with pytest.raises(Withdrawn):
        asyncio.run(ExportRoute(None, campaign)(scope, receive, send))
    length = int(dict(sent[0]["headers"])[b"content-length"])
    assert 0 < sum(len(message.get("body", b"")) for message in sent) < length
    assert list(campaign.exports.folder.iterdir()) == []


def test_requests_that_only_begin_do_not_empty_a_campaign(serve: Any) -> None:
    page = serve("--overlap", "1", "--joins-per-hour", "0", rows=items(4))
    for number in range(200):
        page.call("begin", True, "", address=f"198.51.100.{number}")
    client, done = Client(page), 0
    while client.task and client.vote():
        done += 1
    assert done == 4


def test_one_address_joins_up_to_the_limit_and_none_is_stored(serve: Any) -> None:
    page = serve("--joins-per-hour", "3", "--behind-proxy")
    code = re.compile(r'"[a-z2-7]{4}(-[a-z2-7]{4}){5}"')
    answers = [page.call("begin", True, "", address="8.8.4.4") for _ in range(4)]
    assert [bool(code.search(answer)) for answer in answers] == [True, True, True, False]
    assert "many people have begun from your network" in answers[3].lower()
    # Who writes addresses into the header stays behind the one that the proxy appends.
    assert not code.search(page.call("begin", True, "", address="1.1.1.1, 8.8.4.4"))
    assert code.search(page.call("begin", True, "", address="9.9.9.9"))
    page.end()
    assert b"8.8.4.4" not in page.log.read_bytes()
    for file in page.log.parent.glob("votes.sqlite*"):
        assert b"8.8.4.4" not in file.read_bytes()


def test_wrong_tokens_are_slowed_for_their_address_alone(serve: Any) -> None:
    page = serve("--behind-proxy")
    for _ in range(12):
        last = page.call("admin_show", "wrong-token-wrong-token", address="8.8.4.4")
    assert "Too many wrong tokens: try again in" in last
    assert "Too many wrong tokens" in page.call("admin_show", TOKEN, address="8.8.4.4")
    assert export(page, "votes.csv", {"token": TOKEN}, "8.8.4.4")[0] == 403
    assert "Too many" not in page.call("admin_show", TOKEN, address="9.9.9.9")


def test_invitations_let_one_person_in_each(serve: Any, tmp_path: Path) -> None:
    page = serve("--invitations", "--behind-proxy")
    for wrong in ("", "join-aaaa-aaaa-aaaa-aaaa-aaaa-aaaa"):
        assert "invitation code is not valid" in page.call("begin", True, wrong)
    assert "token is wrong" in page.call("admin_invite", "no", "2", address="9.9.9.9")
    for number in ("0", "1001", "²", "x", ""):
        assert "from 1 to 1000" in page.call("admin_invite", TOKEN, number, address="9.9.9.9")
    made = re.findall(r"join(?:-[a-z2-7]{4}){6}", page.call("admin_invite", TOKEN, "2", address="9.9.9.9"))
    assert len(set(made)) == 2
    assert Client(page, made[0]).vote()
    assert "has been used" in page.call("begin", True, made[0])
    page.end()
    page.start()  # the codes outlive the process
    assert Client(page, made[1]).vote()
    with Store(tmp_path / "votes.sqlite") as store:
        assert len(store.used_invitations()) == 2 and len(list(store.votes())) == 2


def noise(seed: int) -> bytes:
    """An image of a megabyte, as image models make them."""
    pixels = np.random.default_rng(seed).integers(0, 255, (512, 512, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.slow
def test_what_a_session_was_shown_is_not_kept_for_every_session(serve: Any) -> None:
    from croc_hum.page import app

    page = serve("--joins-per-hour", "0", rows=[item(n, image=noise(n)) for n in range(60)])

    def memory() -> int:
        status = Path(f"/proc/{page.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])  # type: ignore[index]

    def begin(number: int) -> None:
        body = {"data": [True, ""], "session_hash": f"session{number}", "event_data": None}
        request = urllib.request.Request(
            f"{page.url}/gradio_api/run/begin",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=60).close()

    for number in range(3 * app._SESSIONS):
        begin(number)
    before = memory()
    for number in range(100):
        begin(1000 + number)
    assert memory() - before < 50_000, "kB: without the limit, 100 sessions take a megabyte each"
