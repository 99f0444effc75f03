"""The page for annotators as a Space: published, and started on a disk that is not persistent."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from annotate_server import Client, Page
from hub_server import Hub, online
from huggingface_hub import HfApi, SpaceCard
from hum_items import items, write

from croc_hum.votes.store import Store

pytest.importorskip("gradio", reason="the page needs gradio")
pytest_plugins = ("chromium",)
pytestmark = pytest.mark.slow
SPACE = Path(__file__).parents[2] / "spaces" / "annotate"
VOTES = ("dataset", "org/votes")


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Iterator[Hub]:
    with Hub(tmp_path_factory.mktemp("hub")) as server:
        yield server


@pytest.fixture(scope="module")
def published(hub, tmp_path_factory) -> Path:
    """The folder as downloaded from the Hub; the items are in a private dataset."""
    folder = tmp_path_factory.mktemp("published")
    sent = subprocess.run(
        [sys.executable, "-m", "croc", "publish", "space", str(SPACE), "--repo", "org/annotate"],
        env={**os.environ, **hub.client_environment(folder / "home", "hf_writer")},
        capture_output=True,
        text=True,
    )
    assert sent.returncode == 0, sent.stderr
    api = HfApi(endpoint=hub.endpoint, token="hf_writer")
    file = write(items(9, ("shows", "rating", "preference")), folder / "items.parquet")
    with pytest.MonkeyPatch.context() as patch, online(patch):
        api.create_repo("org/items", repo_type="dataset", private=True)
        api.upload_file(
            path_or_fileobj=file, path_in_repo=file.name, repo_id="org/items", repo_type="dataset"
        )
        got = api.snapshot_download("org/annotate", repo_type="space", local_dir=folder / "app")
    return Path(got)


@pytest.fixture
def space(hub, published, tmp_path) -> Path:
    """A new machine, without votes on the Hub."""
    hub.repos.pop(VOTES, None)
    return Path(shutil.copytree(published, tmp_path / "app"))


def variables(hub: Hub, home: Path) -> dict[str, str]:
    """The variables of the Space and of the Hub."""
    ours = {"CROC_ITEMS": "org/items", "CROC_VOTES": "org/votes", "CROC_OVERLAP": "2", "CROC_LIMIT": "6"}
    ours |= {"CROC_BATCH": "3", "CROC_ATTENTION_EVERY": "0", "CROC_CONTACT": "lab@example.org"}
    # Long enough that votes are sent only when the machine stops.
    ours |= {"CROC_EVERY": "60", "SPACE_ID": "org/annotate"}
    return {**os.environ, **hub.client_environment(home, "hf_writer"), **ours}


def new_disk(space: Path) -> None:
    """Delete what a restart deletes on the disk of a Space."""
    shutil.rmtree(space / "data")


def test_the_card_is_valid_and_lists_the_variables(hub, space):
    card = SpaceCard.load(space / "README.md")
    assert card.data.sdk == "gradio" and card.data.app_file == "app.py"
    assert f"gradio=={card.data.sdk_version}" in (space / "requirements.txt").read_text().split()
    read = set(re.findall(r'"((?:CROC|HF)_[A-Z_]+)"', (space / "app.py").read_text()))
    assert {"CROC_ITEMS", "CROC_VOTES", "CROC_EVERY", "CROC_INVITATIONS"} <= read
    for name in read:
        assert f"`{name}`" in card.text
    assert hub.repos["space", "org/annotate"].sdk == "gradio"
    assert {path.name for path in space.iterdir() if path.is_file()} >= {"app.py", "requirements.txt"}


def test_votes_are_restored_after_the_disk_is_lost_and_withdrawn_ones_are_not(hub, space, tmp_path):
    environment = variables(hub, tmp_path / "home")
    page = Page.space(space, tmp_path / "log", **environment)
    with page:
        clients = [Client(page), Client(page)]
        votes = [[client.vote() for _ in range(2)] for client in clients]
        assert not hub.repos[VOTES].head.tree.keys() - {".gitattributes"}
    assert page.process.returncode == 0, page.log.read_text()
    assert hub.repos[VOTES].private
    new_disk(space)

    page.start()
    with page:
        # A page that was open before the restart gets the item that is open now.
        assert clients[0].vote() is None and clients[0].task
        with Store(space / "data" / "votes.sqlite") as store:
            assert sorted(vote["vote_id"] for vote in store.votes()) == sorted(votes[0] + votes[1])
        for client in clients:
            client.reload()
            assert client.task
        seen = 2
        while clients[0].task and clients[0].vote():
            seen += 1
            clients[0].reload()
        assert seen == 6  # the limit includes earlier votes
        assert "deleted here" in page.call("withdraw", True, clients[1].code)
        files = [path for commit in hub.repos[VOTES].commits.values() for path in commit.tree]
        assert sum(path.startswith("votes/") for path in set(files)) == 1
    new_disk(space)

    page.start()
    with page, Store(space / "data" / "votes.sqlite") as store:
        assert len(list(store.votes())) == 6 and len({vote["annotator"] for vote in store.votes()}) == 1
        assert "unknown" in page.call("use_code", clients[1].code)


def test_a_killed_space_loses_only_votes_since_the_last_commit(hub, space, tmp_path):
    page = Page.space(space, tmp_path / "log", **{**variables(hub, tmp_path / "home"), "CROC_EVERY": "0.02"})
    with page:
        client = Client(page)
        vote = client.vote()
        stored = lambda: any(path.startswith("votes/") for path in hub.repos[VOTES].head.tree)  # noqa: E731
        for _ in range(3000):
            if stored():
                break
            client.reload()
        page.kill()
    new_disk(space)
    page.start()
    with page, Store(space / "data" / "votes.sqlite") as store:
        assert [row["vote_id"] for row in store.votes()] == [vote]


def test_a_killed_space_loses_no_vote_if_every_vote_is_committed(hub, space, tmp_path):
    page = Page.space(space, tmp_path / "log", **{**variables(hub, tmp_path / "home"), "CROC_EVERY": "0"})
    with page:
        client = Client(page)
        votes = [client.vote() for _ in range(2)]
        page.kill()
    new_disk(space)
    page.start()
    with page, Store(space / "data" / "votes.sqlite") as store:
        assert [row["vote_id"] for row in store.votes()] == votes


@pytest.mark.browser
def test_consent_and_votes_in_a_browser_that_still_knows_its_code_on_a_new_disk(
    hub, space, tmp_path, browser
):
    page = Page.space(space, tmp_path / "log", **variables(hub, tmp_path / "home"))
    context = browser.new_context(viewport={"width": 390, "height": 780}, reduced_motion="reduce")
    tab = context.new_page()
    tab.set_default_timeout(90_000)
    with page:
        tab.goto(page.url)
        tab.wait_for_selector("#consent-title")
        consent = tab.inner_text("#welcome")
        assert "lab@example.org" in consent and "private dataset" in consent
        tab.locator("#consent input").check()
        tab.locator("#begin").click()
        for done in range(3):
            tab.wait_for_selector(f"#card article[data-number='{done + 1}']")
            task = tab.get_attribute("#card article", "data-task")
            tab.keyboard.press({"shows": "y", "rating": "4", "preference": "1"}[task])
        tab.wait_for_selector("#pause-resume")
    new_disk(space)
    page.start()
    with page:
        tab.goto(page.url)
        tab.wait_for_selector("#card article")
        assert "3 of 6 done" in tab.inner_text("#voting")
        if folder := os.environ.get("CROC_SCREENSHOTS"):
            tab.screenshot(path=Path(folder) / "space-phone.png", full_page=True)
    with Store(space / "data" / "votes.sqlite") as store:
        assert len(list(store.votes())) == 3
    context.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"CROC_VOTES": ""}, "set CROC_VOTES to a private dataset"),
        ({"CROC_ITEMS": "nowhere"}, "CROC_ITEMS=nowhere: expected a file"),
        ({"CROC_OVERLAP": "three"}, "CROC_OVERLAP=three: expected a number"),
        ({"CROC_ADMIN_TOKEN": "short"}, "CROC_ADMIN_TOKEN"),
        ({"CROC_EVERY": "-1"}, "must be a number from 0 on, not -1.0"),
        ({"CROC_JOINS_PER_HOUR": "-1"}, "must not be -1"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, ""),
        ({"CROC_DATA": "/proc/nothing"}, "/proc/nothing"),
    ],
)
def test_a_missing_or_wrong_variable_gives_one_sentence(hub, space, tmp_path, change, message):
    done = subprocess.run(
        [sys.executable, "app.py"], cwd=space, capture_output=True, text=True, timeout=300,
        env={**variables(hub, tmp_path / "home"), "CROC_ADMIN_TOKEN": "x" * 16, **change},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ") and message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
