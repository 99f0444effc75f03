"""The page for annotators: walked in a real browser, and attacked, overrun and killed as a server."""

from __future__ import annotations

import json
import os
import random
import re
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from annotate_server import TOKEN, Client, Page
from hum_items import item, items, write

from croc.errors import InputError
from croc_hum.page import words
from croc_hum.votes.store import Store

pytest.importorskip("gradio", reason="the page needs gradio")
pytest_plugins = ("chromium",)
NASTY = '<img src=x onerror="window.hacked=1"> =1+1 ${1}{{2}} 😀'


def serve(folder: Path) -> Page:
    tasks = ("shows", "rating", "preference")
    rows = [
        item(number, tasks[number % 3], prompt=NASTY if number == 0 else "two cats") for number in range(9)
    ]
    options = ("--overlap", "2", "--batch", "4", "--attention-every", "0")
    page = Page(write(rows, folder / "items.parquet"), folder / "votes.sqlite", *options)
    page.store = folder / "votes.sqlite"
    return page


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("page")) as page:
        yield page


@pytest.fixture
def unvoted(tmp_path):
    """A page of which the test knows every vote."""
    with serve(tmp_path) as page:
        yield page


def votes_of(page) -> list[dict]:
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


def serious(page) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe")
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:150]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def another(page, offer: str | None) -> str | None:
    """The showing that comes after one; None where a pause or the end comes."""
    page.wait_for_function(
        "before => (document.querySelector('#card article')?.dataset.offer ?? null) !== before", arg=offer
    )
    card = page.query_selector("#card article")
    return card and card.get_attribute("data-offer")


def begin(page, url: str) -> str:
    page.goto(url)
    page.locator("#agreed input").check()
    page.locator("#begin").click()
    return another(page, None)


KEY = {"shows": "n", "rating": "4", "preference": "1"}


@pytest.mark.browser
def test_consent_votes_by_keyboard_undo_and_finish(served, tab):
    before = {vote["annotator"] for vote in votes_of(served)}
    tab.goto(served.url)
    tab.locator("#begin").click()
    tab.wait_for_selector("#status .wrong")
    assert "tick the box" in tab.inner_text("#status")
    assert serious(tab) == []
    offer = begin(tab, served.url)
    assert serious(tab) == []
    tasks = []
    for _ in range(3):
        tasks.append(tab.get_attribute("#card article", "data-task"))
        tab.keyboard.press(KEY[tasks[-1]])
        offer = another(tab, offer)
        assert tab.evaluate("document.activeElement.id") == "question"

    tab.keyboard.press("b")
    offer = another(tab, offer)
    assert "You had answered" in tab.inner_text("#card")
    task = tab.get_attribute("#card article", "data-task")
    assert task == tasks[-1]
    tab.keyboard.press("r")
    tab.keyboard.type("y n u, for 1 reason")
    tab.keyboard.press("Escape")
    tab.keyboard.press({"shows": "u", "rating": "2", "preference": "u"}[task])
    offer = another(tab, offer)

    tab.keyboard.press("z")
    tab.wait_for_selector("dialog.zoomed[open]")
    tab.keyboard.press("Escape")
    tab.wait_for_selector("dialog.zoomed", state="detached")
    tab.keyboard.press(KEY[tab.get_attribute("#card article", "data-task")])
    assert another(tab, offer) is None
    tab.wait_for_selector("#pause")
    assert "4 done" in tab.inner_text("#pause")
    assert serious(tab) == []
    tab.locator("#stop").click()
    tab.wait_for_selector("#own-code")
    assert serious(tab) == []
    assert tab.evaluate("window.hacked") is None

    mine = [vote for vote in votes_of(served) if vote["annotator"] not in before]
    assert len({vote["annotator"] for vote in mine}) == 1
    assert [vote["undone"] for vote in mine] == [False, False, True, False, False]
    assert mine[3]["reason"] == "y n u, for 1 reason"
    assert mine[3]["item_id"] == mine[2]["item_id"]
    assert all(vote["version"] and vote["duration_s"] is not None for vote in mine)

    code = tab.inner_text("#own-code")
    tab.reload()
    another(tab, None)
    tab.locator("#finish").click()
    tab.wait_for_selector("#own-code")
    assert tab.inner_text("#own-code") == code
    tab.get_by_role("button", name="Withdraw").click()
    tab.locator("#sure input").check()
    tab.locator("#withdraw").click()
    tab.wait_for_selector("#begin")
    assert {vote["annotator"] for vote in votes_of(served)} == before


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
        assert serious(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        seen += page.inner_text("#card")
        answers = page.locator(".answers button:visible")
        assert all(answers.nth(at).bounding_box()["height"] >= 44 for at in range(answers.count()))
        answers.first.tap()
        offer = another(page, offer)
    assert page.evaluate("window.hacked") is None
    context.close()


@pytest.mark.browser
def test_tab_goes_through_the_page_and_the_keys_can_be_switched_off(served, tab):
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
    assert {"back", "finish"} <= set(reached)
    assert len(set(reached)) > 5
    assert "nonenone" not in rings
    tab.locator("#keys-on input").uncheck()
    tab.locator("#question").focus()
    tab.keyboard.press(KEY[tab.get_attribute("#card article", "data-task")])
    tab.wait_for_timeout(500)
    assert tab.get_attribute("#card article", "data-offer") == offer


@pytest.mark.browser
def test_the_administrator_sees_progress_decides_and_exports(unvoted, tab, tmp_path):
    pytest.importorskip("krippendorff", reason="agreement needs the extra hum")
    with Store(unvoted.store) as store:
        rows = [row["item_id"] for row in store.items() if row["task"] == "shows"]
        given = [
            {"vote_id": f"split{at}", "item_id": rows[0], "annotator": f"i0000000{at}", "answer": answer,
             "reason": NASTY} for at, answer in enumerate(("yes", "no"))
        ]  # fmt: skip
        store.add_votes(given)
    tab.goto(f"{unvoted.url}/admin")
    tab.locator("#token input").fill("wrong-token-wrong-token")
    tab.locator("#enter").click()
    tab.wait_for_selector("#status .wrong")
    assert not tab.locator("#panel").is_visible()
    tab.locator("#token input").fill(TOKEN)
    tab.locator("#enter").click()
    tab.wait_for_selector("#panel")
    assert "Krippendorff" in tab.inner_text("#numbers")
    assert "i00000000" in tab.inner_text("#numbers")
    assert "To decide (1 left)" in tab.inner_text("#divided")
    assert NASTY in tab.inner_text("#divided")
    assert "As of" in tab.inner_text("#status")
    assert serious(tab) == []
    tab.locator("#divided .zoom").click()
    tab.wait_for_selector("dialog.zoomed[open]")
    tab.keyboard.press("Escape")
    tab.wait_for_selector("dialog.zoomed", state="detached")
    assert tab.evaluate("document.activeElement.className") == "zoom"
    if folder := os.environ.get("CROC_SCREENSHOTS"):
        tab.screenshot(path=Path(folder) / "admin.png", full_page=True)
    tab.locator("#decide-shows-no").click()
    tab.wait_for_function("document.querySelector('#divided').innerText.includes('no item is divided')")
    with Store(unvoted.store) as store:
        decided = [vote for vote in store.votes() if vote["role"] == "adjudicator"]
        assert [(vote["item_id"], vote["answer"]) for vote in decided] == [(rows[0], "no")]
    tab.locator("#export").click()
    for place, name in enumerate(("votes.parquet", "votes.csv", "label-studio.json")):
        with tab.expect_download() as coming:
            tab.locator(f"#file-{place}").click()
        coming.value.save_as(tmp_path / name)
    exported = json.loads((tmp_path / "label-studio.json").read_text("utf-8"))
    assert sum(len(task["annotations"]) for task in exported) == len(votes_of(unvoted))
    tab.locator("#brought").set_input_files(tmp_path / "label-studio.json")
    tab.locator("#bring").click()
    tab.wait_for_function("document.querySelector('#status').innerText.includes('0 of')")
    assert tab.evaluate("window.hacked") is None


# ---- As a server ----


def status(url: str, data: bytes | None = None, **headers: str) -> int:
    try:
        request = urllib.request.Request(url, data, {"content-type": "application/json", **headers})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


def test_wrong_codes_offers_tokens_and_paths_are_refused(served):
    client, other = Client(served), Client(served)
    before = len(votes_of(served))
    name = f"vote_{client.task}_{dict(shows='yes', rating='1', preference='first')[client.task]}"
    for code, offer in (
        ("../../votes", client.offer),
        (other.code, client.offer),
        (client.code, "../../../etc/passwd"),
        (client.code, f"{'0' * 32}.0"),
        (client.code, {"path": "/etc/passwd"}),
    ):
        said = served.call(name, code, offer, "")
        assert "data-vote" not in said and "wrong" in said
    assert "data-vote" not in served.call(name, client.code, client.offer, "x" * 2000)
    for token in ("", "x" * 18, TOKEN[:-1], None, {"a": 1}):
        assert "Krippendorff" not in (said := served.call("admin_show", token))
        assert "not right" in said
    assert len(votes_of(served)) == before
    for path in ("/etc/passwd", str(served.store), served.store.name, "../votes.sqlite", "pyproject.toml"):
        assert status(f"{served.url}/gradio_api/file={path}") in (403, 404)


def test_oversized_bodies_and_uploads_are_refused(served):
    url = f"{served.url}/gradio_api/run/begin"
    big = json.dumps({"data": ["x" * 3 * 2**20]}).encode()
    assert status(url, big) == 413
    assert status(f"{served.url}/gradio_api/upload", b"x") == 403
    assert status(url, json.dumps({"data": [False]}).encode()) == 200


def test_no_address_and_no_request_is_logged(served):
    client = Client(served)
    assert client.vote()
    log = re.sub(rf"http://127\.0\.0\.1:{served.port}\S*", "", served.log.read_text())
    assert "127.0.0.1" not in log and "gradio_api" not in log and client.code not in log
    for file in served.store.parent.glob("votes.sqlite*"):
        assert b"127.0.0.1" not in file.read_bytes()


def load(page: Page, people: int, rate: float, seconds: float) -> tuple[list[str], list[float], int]:
    """People who vote at once, each after waits drawn so that ``rate`` votes a second arrive in all.

    Returns:
        Ids of acknowledged votes, seconds that each took, requests that failed.
    """
    acknowledged: list[str] = []
    took: list[float] = []
    failed = 0
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        nonlocal failed
        chance = random.Random(number)
        client = Client(page)
        due = time.monotonic()
        while (due := due + chance.expovariate(rate / people)) < end and client.task:
            time.sleep(max(0.0, due - time.monotonic()))
            begun = time.monotonic()
            try:
                vote = client.vote()
            except OSError:
                failed += 1
                continue
            took.append(time.monotonic() - begun)
            if vote:
                acknowledged.append(vote)
            if not client.task:
                client.look()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(people)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return acknowledged, took, failed


def held_by(store: Path) -> list[dict]:
    with Store(store) as opened:
        return list(opened.votes())


@pytest.mark.slow
def test_many_at_once_lose_and_double_nothing(tmp_path):
    options = ("--overlap", "8", "--attention-every", "0", "--batch", "1000")
    file = write(items(60), tmp_path / "items.parquet")
    with Page(file, tmp_path / "votes.sqlite", *options) as page:
        acknowledged, took, failed = load(page, people=8, rate=8, seconds=15)
    held = held_by(tmp_path / "votes.sqlite")
    assert failed == 0 and len(took) > 10
    assert sorted(acknowledged) == sorted(vote["vote_id"] for vote in held)
    assert max(Counter((vote["annotator"], vote["item_id"]) for vote in held).values()) == 1
    assert max(Counter(vote["item_id"] for vote in held).values()) <= 8


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
                        client.look()
                    elif vote := client.vote():
                        acknowledged.append(vote)
                except OSError:
                    client.task = ""  # the page is loaded again, as a person would

        threads = [threading.Thread(target=work, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for _ in range(10):
            so_far, patience = len(acknowledged), time.monotonic() + 30
            while len(acknowledged) < so_far + 4 and time.monotonic() < patience:
                time.sleep(0.02)
            page.kill()
            assert set(acknowledged) <= {vote["vote_id"] for vote in held_by(tmp_path / "votes.sqlite")}
            page.start()
        stop.set()
        for thread in threads:
            thread.join()
    held = held_by(tmp_path / "votes.sqlite")
    assert len(acknowledged) >= 30
    assert set(acknowledged) <= {vote["vote_id"] for vote in held}
    assert max(Counter((vote["annotator"], vote["item_id"]) for vote in held).values()) == 1


# ---- What it says ----


@pytest.mark.parametrize("raw", ["<script>alert(1)</script>", 'a" onload="x', "${x}", "{{x}}", "`x`"])
def test_texts_become_text_in_html_and_in_templates(raw):
    shown = words.text(raw)
    assert not set(shown) & set('<>"${}`')


def test_a_short_token_is_refused(tmp_path):
    from croc_hum.page import Campaign

    with Store(tmp_path / "v") as store, pytest.raises(InputError, match="at least 16 letters"):
        Campaign(store, "short")
