"""The page for annotators: used in a real browser; attacked, overloaded and killed as a server."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from annotate_server import TOKEN, Client, Page, read_votes, vote_concurrently
from hum_items import item, items, write

from croc.errors import InputError
from croc_hum.page import fragments
from croc_hum.votes.store import Store

pytest.importorskip("gradio", reason="the page needs gradio")
pytest_plugins = ("chromium",)
NASTY = '<img src=x onerror="window.hacked=1"> =1+1 ${1}{{2}} 😀'


def start_page(folder: Path) -> Page:
    tasks = ("shows", "rating", "preference")
    rows = [
        item(number, tasks[number % 3], prompt=NASTY if number == 0 else "two cats") for number in range(9)
    ]
    options = ("--overlap", "2", "--batch", "4", "--attention-every", "0", "--joins-per-hour", "0")
    page = Page(write(rows, folder / "items.parquet"), folder / "votes.sqlite", *options)
    page.store = folder / "votes.sqlite"
    return page


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with start_page(tmp_path_factory.mktemp("page")) as page:
        yield page


@pytest.fixture
def unvoted(tmp_path):
    """A page without votes."""
    with start_page(tmp_path) as page:
        yield page


def read_history(page) -> list[dict]:
    with Store(page.store) as store:
        return list(store.votes(history=True))


# ---- In a browser ----


@pytest.fixture
def tab(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 860}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(90_000)
    yield page
    context.close()


def serious_findings(page) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe")
    violations = axe.Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {violation['nodes'][0]['html'][:150]}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
    ]


def wait_for_next(page, offer: str | None) -> str | None:
    """The offer that follows another; None at a break or at the end."""
    page.wait_for_function(
        "before => (document.querySelector('#card article')?.dataset.offer ?? null) !== before", arg=offer
    )
    card = page.query_selector("#card article")
    return card and card.get_attribute("data-offer")


def begin(page, url: str) -> str:
    page.goto(url)
    page.locator("#consent input").check()
    page.locator("#begin").click()
    return wait_for_next(page, None)


KEY = {"shows": "n", "rating": "4", "preference": "1"}


@pytest.mark.browser
def test_consent_votes_by_keyboard_undo_and_withdrawal(served, tab):
    before = {vote["annotator"] for vote in read_history(served)}
    tab.goto(served.url)
    for width in (390, 1280):
        tab.set_viewport_size({"width": width, "height": 860})
        tab.wait_for_selector(".examples img")
        widths = tab.evaluate(
            "[...document.querySelectorAll('.examples img')].map(image => image.clientWidth)"
        )
        assert min(widths) >= 256, width
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.locator("#begin").click()
    tab.wait_for_selector("#status .error")
    assert "tick the box" in tab.inner_text("#status")
    box = tab.locator("#status .error").bounding_box()
    # The button is at the end of a page that is longer than the window.
    assert tab.evaluate("scrollY") > 0 and 0 <= box["y"] < 860
    assert serious_findings(tab) == []
    offer = begin(tab, served.url)
    assert serious_findings(tab) == []
    tasks = []
    for _ in range(3):
        tasks.append(tab.get_attribute("#card article", "data-task"))
        tab.keyboard.press(KEY[tasks[-1]])
        offer = wait_for_next(tab, offer)
        assert tab.evaluate("document.activeElement.id") == "question"

    tab.keyboard.press("b")
    offer = wait_for_next(tab, offer)
    assert "Your previous answer" in tab.inner_text("#card")
    task = tab.get_attribute("#card article", "data-task")
    assert task == tasks[-1]
    tab.keyboard.press("r")
    tab.keyboard.type("y n u, for 1 reason")
    tab.keyboard.press("Escape")
    tab.keyboard.press({"shows": "u", "rating": "2", "preference": "u"}[task])
    offer = wait_for_next(tab, offer)

    tab.keyboard.press("z")
    tab.wait_for_selector("dialog.zoomed[open]")
    tab.keyboard.press("Escape")
    tab.wait_for_selector("dialog.zoomed", state="detached")
    tab.keyboard.press(KEY[tab.get_attribute("#card article", "data-task")])
    assert wait_for_next(tab, offer) is None
    tab.wait_for_selector("#pause")
    assert "You have labelled 4 images" in tab.inner_text("#pause")
    assert serious_findings(tab) == []
    tab.locator("#pause-stop").click()
    tab.wait_for_selector("#own-code")
    assert serious_findings(tab) == []
    assert tab.evaluate("window.hacked") is None

    own = [vote for vote in read_history(served) if vote["annotator"] not in before]
    assert len({vote["annotator"] for vote in own}) == 1
    assert [vote["undone"] for vote in own] == [False, False, True, False, False]
    assert own[3]["reason"] == "y n u, for 1 reason"
    assert own[3]["item_id"] == own[2]["item_id"]
    assert all(vote["version"] and vote["duration_s"] is not None for vote in own)

    code = tab.inner_text("#own-code")
    tab.reload()
    wait_for_next(tab, None)
    tab.locator("#stop").click()
    tab.wait_for_selector("#own-code")
    assert tab.inner_text("#own-code") == code
    tab.get_by_role("button", name="Withdraw").click()
    tab.locator("#confirm-withdrawal input").check()
    tab.locator("#withdraw").click()
    tab.wait_for_selector("#begin")
    assert {vote["annotator"] for vote in read_history(served)} == before


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_the_question_fits_and_text_is_text(served, browser, scheme):
    context = browser.new_context(
        viewport={"width": 390, "height": 780}, color_scheme=scheme, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.set_default_timeout(90_000)
    offer = begin(page, served.url)
    seen = ""
    for _ in range(3):
        assert serious_findings(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        seen += page.inner_text("#card")
        answers = page.locator(".answers button:visible")
        assert all(answers.nth(at).bounding_box()["height"] >= 44 for at in range(answers.count()))
        answers.first.tap()
        offer = wait_for_next(page, offer)
    assert page.evaluate("window.hacked") is None
    context.close()


@pytest.mark.browser
def test_tab_reaches_all_controls_and_the_shortcuts_can_be_switched_off(served, tab):
    offer = begin(tab, served.url)
    reached, rings = [], []
    for _ in range(25):
        tab.keyboard.press("Tab")
        at = tab.evaluate(
            "(() => { const e = document.activeElement, s = getComputedStyle(e);"
            " return [e.closest('[id]')?.id ?? '', s.outlineStyle + s.boxShadow] })()"
        )
        reached.append(at[0])
        if tab.evaluate("document.activeElement !== document.body"):
            rings.append(at[1])
    assert {"undo", "stop"} <= set(reached)
    assert len(set(reached)) > 5
    assert "nonenone" not in rings
    tab.locator("#shortcuts input").uncheck()
    tab.locator("#question").focus()
    tab.keyboard.press(KEY[tab.get_attribute("#card article", "data-task")])
    tab.wait_for_timeout(500)
    assert tab.get_attribute("#card article", "data-offer") == offer


@pytest.mark.browser
def test_the_administrator_sees_progress_decides_and_exports(unvoted, tab, tmp_path):
    pytest.importorskip("krippendorff", reason="agreement needs the extra hum")
    with Store(unvoted.store) as store:
        rows = [row["item_id"] for row in store.items() if row["task"] == "shows"]
        split = [
            {"vote_id": f"split{at}", "item_id": rows[0], "annotator": f"i0000000{at}", "answer": answer,
             "reason": NASTY} for at, answer in enumerate(("yes", "no"))
        ]  # fmt: skip
        store.add_votes(split)
    tab.goto(f"{unvoted.url}/admin")
    tab.locator("#token input").fill("wrong-token-wrong-token")
    tab.locator("#show").click()
    tab.wait_for_selector("#status .error")
    assert not tab.locator("#panel").is_visible()
    tab.locator("#token input").fill(TOKEN)
    tab.locator("#show").click()
    tab.wait_for_selector("#panel")
    assert "Krippendorff" in tab.inner_text("#summary")
    assert "i00000000" in tab.inner_text("#summary")
    assert "Disputed items (1 to decide)" in tab.inner_text("#disputed")
    assert NASTY in tab.inner_text("#disputed")
    assert "As of" in tab.inner_text("#status")
    assert serious_findings(tab) == []
    tab.locator("#disputed .zoom").click()
    tab.wait_for_selector("dialog.zoomed[open]")
    tab.keyboard.press("Escape")
    tab.wait_for_selector("dialog.zoomed", state="detached")
    assert tab.evaluate("document.activeElement.className") == "zoom"
    if folder := os.environ.get("CROC_SCREENSHOTS"):
        tab.screenshot(path=Path(folder) / "admin.png", full_page=True)
    tab.locator("#decide-shows-no").click()
    tab.wait_for_function("document.querySelector('#disputed').innerText.includes('no item to decide')")
    with Store(unvoted.store) as store:
        decided = [vote for vote in store.votes() if vote["role"] == "adjudicator"]
        assert [(vote["item_id"], vote["answer"]) for vote in decided] == [(rows[0], "no")]
    for place, name in enumerate(("votes.parquet", "votes.csv", "label-studio.json")):
        with tab.expect_download() as coming:
            tab.locator(f"#export-{place}").click()
        coming.value.save_as(tmp_path / name)
        tab.wait_for_function(f"document.querySelector('#status').innerText.includes('{name} was exported')")
    exported = json.loads((tmp_path / "label-studio.json").read_text("utf-8"))
    assert sum(len(task["annotations"]) for task in exported) == len(read_history(unvoted))
    tab.locator("#import-file").set_input_files(tmp_path / "label-studio.json")
    tab.locator("#import").click()
    tab.wait_for_function("document.querySelector('#status').innerText.includes('Imported 0 votes')")
    assert tab.evaluate("window.hacked") is None


# ---- As a server ----


def request_status(url: str, data: bytes | None = None, **headers: str) -> int:
    try:
        request = urllib.request.Request(url, data, {"content-type": "application/json", **headers})
        with urllib.request.urlopen(request, timeout=60) as response:
            return int(response.status)
    except urllib.error.HTTPError as refused:
        return refused.code


def test_wrong_codes_offers_tokens_and_paths_are_refused(served):
    client, other = Client(served), Client(served)
    before = len(read_history(served))
    name = f"vote_{client.task}_{dict(shows='yes', rating='1', preference='first')[client.task]}"
    for code, offer in (
        ("../../votes", client.offer),
        (other.code, client.offer),
        (client.code, "../../../etc/passwd"),
        (client.code, f"{'0' * 32}.0"),
        (client.code, {"path": "/etc/passwd"}),
    ):
        response = served.call(name, code, offer, "")
        assert "data-vote" not in response and "message error" in response
    assert "data-vote" not in served.call(name, client.code, client.offer, "x" * 2000)
    for token in ("", "x" * 18, TOKEN[:-1], None, {"a": 1}):
        assert "Krippendorff" not in (response := served.call("admin_show", token))
        assert "token is wrong" in response or "Too many wrong tokens" in response
    assert len(read_history(served)) == before
    for path in ("/etc/passwd", str(served.store), served.store.name, "../votes.sqlite", "pyproject.toml"):
        assert request_status(f"{served.url}/gradio_api/file={path}") in (403, 404)


def test_oversized_bodies_and_uploads_are_refused(served):
    url = f"{served.url}/gradio_api/run/begin"
    no = json.dumps({"data": [False, ""]}).encode()
    big = json.dumps({"data": ["x" * 3 * 2**20]}).encode()
    assert request_status(url, big) == 413
    assert request_status(f"{served.url}/gradio_api/upload", b"x") == 403
    assert request_status(url, no) == 200


def test_no_address_and_no_request_is_logged(served):
    client = Client(served)
    assert client.vote()
    log = re.sub(rf"http://127\.0\.0\.1:{served.port}\S*", "", served.log.read_text())
    assert "127.0.0.1" not in log and "gradio_api" not in log and client.code not in log
    for file in served.store.parent.glob("votes.sqlite*"):
        assert b"127.0.0.1" not in file.read_bytes()


@pytest.mark.slow
def test_the_address_is_printed_when_the_page_can_be_opened(tmp_path):
    file = write(items(2), tmp_path / "items.parquet")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [
        sys.executable,
        "-m",
        "croc",
        "hum",
        "annotate",
        str(file),
        "--store",
        str(tmp_path / "votes.sqlite"),
    ]
    process = subprocess.Popen([*command, "--port", port], stderr=subprocess.PIPE, text=True)
    try:
        address = next(line for line in process.stderr if line.startswith("http")).split()[0]
        with urllib.request.urlopen(address, timeout=60) as page:
            assert page.status == 200
    finally:
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=60)[1]
    assert "Traceback" not in rest


@pytest.mark.slow
def test_concurrent_votes_are_neither_lost_nor_doubled(tmp_path):
    options = ("--overlap", "8", "--attention-every", "0", "--batch", "1000")
    file = write(items(60), tmp_path / "items.parquet")
    with Page(file, tmp_path / "votes.sqlite", *options) as page:
        acknowledged, seconds, failed = vote_concurrently(page, annotators=8, rate=8, duration=15)
    stored = read_votes(tmp_path / "votes.sqlite")
    assert failed == 0 and len(seconds) > 10
    assert sorted(acknowledged) == sorted(vote["vote_id"] for vote in stored)
    assert max(Counter((vote["annotator"], vote["item_id"]) for vote in stored).values()) == 1
    assert max(Counter(vote["item_id"] for vote in stored).values()) <= 8


@pytest.mark.slow
def test_every_acknowledged_vote_survives_ten_kills_of_the_server(tmp_path):
    options = ("--overlap", "3", "--attention-every", "0", "--batch", "1000")
    file = write(items(90), tmp_path / "items.parquet")
    acknowledged: list[str] = []
    stop = threading.Event()
    with Page(file, tmp_path / "votes.sqlite", *options) as page:
        clients = [Client(page) for _ in range(3)]

        def work(client: Client) -> None:
            while not stop.is_set():
                try:
                    if not client.task:
                        client.reload()
                    elif vote := client.vote():
                        acknowledged.append(vote)
                except OSError:
                    client.task = ""  # reloads the page, as an annotator would

        threads = [threading.Thread(target=work, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for _ in range(10):
            before, deadline = len(acknowledged), time.monotonic() + 30
            while len(acknowledged) < before + 4 and time.monotonic() < deadline:
                time.sleep(0.02)
            page.kill()
            assert set(acknowledged) <= {vote["vote_id"] for vote in read_votes(tmp_path / "votes.sqlite")}
            page.start()
        stop.set()
        for thread in threads:
            thread.join()
    stored = read_votes(tmp_path / "votes.sqlite")
    assert len(acknowledged) >= 30
    assert set(acknowledged) <= {vote["vote_id"] for vote in stored}
    assert max(Counter((vote["annotator"], vote["item_id"]) for vote in stored).values()) == 1


# ---- Texts ----


@pytest.mark.parametrize("raw", ["<script>alert(1)</script>", 'a" onload="x', "${x}", "{{x}}", "`x`"])
def test_texts_become_text_in_html_and_in_templates(raw):
    escaped = fragments.escape(raw)
    assert not set(escaped) & set('<>"${}`')


def test_a_short_token_is_refused(tmp_path):
    from croc_hum.page import Campaign

    with (
        Store(tmp_path / "v") as store,
        pytest.raises(InputError, match="has 5 characters; expected at least 16"),
    ):
        Campaign(store, "short")
