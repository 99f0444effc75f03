"""The copy of the votes on a Hub on loopback: no vote is lost, and withdrawn votes are deleted."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest
from hub_server import Hub, online
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from hum_items import items, vote_on_all

from croc.errors import CrocError, InputError
from croc_hum.votes import hub_copy
from croc_hum.votes.hub_copy import Mirror
from croc_hum.votes.store import Refused, Settings, Store

pytest_plugins = ("hum_store",)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with Hub(tmp_path / "hub") as server, online(monkeypatch):
        yield server


@pytest.fixture
def mirrored(hub):
    made = []

    def build(store: Store, *, send: bool = True, every: float = 600) -> Mirror:
        mirror = Mirror(store, "org/votes", every=every, api=HfApi(endpoint=hub.endpoint, token="hf_writer"))
        made.append(mirror)
        while not hasattr(mirror, "last_future"):
            time.sleep(0.001)
        mirror.last_future.result()  # the scheduler's own first one
        if send:
            mirror.trigger().result()
        return mirror

    yield build
    for mirror in made:
        mirror.stop()


def ids(store: Store) -> list[str]:
    return sorted(vote["vote_id"] for vote in store.votes())


def test_the_hub_holds_every_vote_and_a_machine_without_its_disk_gets_them_back(mirrored, make):
    rows = items(6)
    store = make(rows, overlap=3, attention_every=0)
    leaver, stayer = store.add_annotator(), store.add_annotator()
    for annotator in (leaver, stayer):
        vote_on_all(store, annotator.code)
    store.undo(stayer.code)
    mirror = mirrored(store)
    assert mirror.api.dataset_info("org/votes").private
    restored = make(rows, overlap=3, attention_every=0)
    assert mirrored(restored).restored == 12
    assert ids(restored) == ids(store)
    assert len(ids(restored)) == 11
    assert restored.withdraw(leaver.code) == leaver.name


def test_a_disk_that_is_older_than_the_dataset_does_not_write_over_it(mirrored, make, tmp_path):
    rows = items(6)
    store = make(rows, overlap=3, attention_every=0)
    code = store.add_annotator().code
    store.vote(code, store.offer_item(code).offer_id, "yes")
    with Store(tmp_path / "old.sqlite", Settings(attention_every=0)) as old:
        old.add_items(rows)
        old.add_votes([{**vote, "key": store.code_hashes()[vote["annotator"]]} for vote in store.votes()])
        again = store.undo(code)
        store.vote(code, again.offer_id, "no")
        vote_on_all(store, code)
        mirrored(store)
        mirrored(old)
        assert ids(old) == ids(store)
    assert mirrored(make(rows)).restored == 7


def test_the_hub_forgets_who_withdraws_in_its_history_too(mirrored, make, hub):
    store = make(items(6), overlap=3, attention_every=0)
    leaver, stayer = store.add_annotator(), store.add_annotator()
    mirror = mirrored(store)
    for annotator in (leaver, stayer):
        vote_on_all(store, annotator.code)
        mirror.trigger().result()
    store.withdraw(leaver.code)
    hub.fail("POST", "/super-squash/", status=403)
    assert not mirror.erase()
    assert store.list_withdrawn() == [leaver.name]
    assert mirror.erase()
    assert f"votes/{stayer.name}.jsonl" in stored_files(hub)
    assert f"votes/{leaver.name}.jsonl" not in stored_files(hub)
    assert store.list_withdrawn() == []


def stored_files(hub: Hub) -> set[str]:
    """Paths of the dataset, in any commit."""
    return {path for commit in hub.repos["dataset", "org/votes"].commits.values() for path in commit.tree}


def test_a_disk_from_before_a_withdrawal_does_not_bring_the_votes_back(mirrored, make, hub, tmp_path):
    rows = items(4)
    store = make(rows, overlap=3, attention_every=0)
    leaver, stayer = store.add_annotator(), store.add_annotator()
    for annotator in (leaver, stayer):
        vote_on_all(store, annotator.code)
    mirror = mirrored(store)
    with sqlite3.connect(store.path) as now, sqlite3.connect(tmp_path / "before.sqlite") as copy:
        now.backup(copy)
    store.withdraw(leaver.code)
    assert mirror.erase()
    with Store(tmp_path / "before.sqlite") as old:
        assert len(ids(old)) == 8
        mirrored(old)
        assert ids(old) == ids(store) and len(ids(old)) == 4
        with pytest.raises(Refused):
            old.offer_item(leaver.code)
    assert f"votes/{leaver.name}.jsonl" not in stored_files(hub)
    fresh = make(rows)
    mirrored(fresh)
    assert ids(fresh) == ids(store)


def test_two_machines_at_once_lose_nothing_of_each_other(mirrored, make):
    """As when a Space is built anew: the old machine sends its last votes after the new one has begun."""
    rows = items(6)
    first = make(rows, overlap=3, attention_every=0)
    code = first.add_annotator().code
    first.vote(code, first.offer_item(code).offer_id, "yes")
    ending = mirrored(first)
    second = make(rows, overlap=3, attention_every=0)
    beginning = mirrored(second)
    assert ids(second) == ids(first)
    for store, annotator_code in ((first, code), (second, second.add_annotator().code)):
        store.vote(annotator_code, store.offer_item(annotator_code).offer_id, "no")
    with ending:
        pass
    beginning.trigger().result()
    assert len(ids(second)) == 3 and set(ids(first)) < set(ids(second))
    last = make(rows)
    mirrored(last)
    assert ids(last) == ids(second)


def test_a_commit_that_came_between_is_read_before_the_next_try(mirrored, make, monkeypatch):
    rows = items(3)
    one, two = (make(rows, overlap=3, attention_every=0) for _ in range(2))
    mirrors = [mirrored(store, send=False) for store in (one, two)]
    for store in (one, two):
        vote_on_all(store, store.add_annotator().code)
    pull = mirrors[1]._pull
    # The other machine sends after this one has read.
    with monkeypatch.context() as patch, pytest.raises(HfHubHTTPError, match="412"):
        patch.setattr(mirrors[1], "_pull", lambda: (pull(), mirrors[0].trigger().result()))
        mirrors[1].trigger().result()
    mirrors[1].trigger().result()
    last = make(rows)
    mirrored(last)
    assert ids(last) == ids(two) and set(ids(one)) < set(ids(two)) and len(ids(last)) == 6


def test_what_is_left_goes_out_at_the_end_and_a_failure_says_where_it_is(mirrored, make, hub):
    store = make(items(2), overlap=3, attention_every=0)
    with mirrored(store):
        code = store.add_annotator().code
        vote_on_all(store, code)
    again = make(items(2))
    assert mirrored(again).restored == 2
    with (
        pytest.raises(CrocError, match=r"the last votes could not be sent .*; they are stored in .*sqlite"),
        mirrored(store, send=False) as late,
    ):
        store.undo(code)
        hub.fail("POST", "/commit/", status=403)
    assert late.trigger().result() is None  # stopped


def test_every_vote_is_on_the_hub_when_it_is_acknowledged_if_that_is_asked_for(mirrored, make, hub):
    rows = items(3)
    store = make(rows, overlap=3, attention_every=0)
    mirror = mirrored(store, every=0)
    assert mirror.every_vote
    code = store.add_annotator().code
    for count in (1, 2, 3):
        vote = store.vote(code, store.offer_item(code).offer_id, "yes")
        if count == 2:
            hub.fail("POST", "/commit/", status=503)
            assert not mirror.send()
        assert mirror.send()
        # The disk is lost now.
        lost = make(rows, overlap=3, attention_every=0)
        assert mirrored(lost).restored == count and vote in ids(lost)


def test_a_withdrawal_that_did_not_reach_the_hub_is_repeated_by_itself(mirrored, make, hub, monkeypatch):
    monkeypatch.setattr(hub_copy, "_FIRST_REPETITION_S", 0.01)
    store = make(items(3), overlap=3, attention_every=0)
    leaver = store.add_annotator()
    vote_on_all(store, leaver.code)
    mirror = mirrored(store)
    store.withdraw(leaver.code)
    for _ in range(3):
        hub.fail("POST", "/super-squash/", status=403)
    assert not mirror.erase()
    assert store.list_withdrawn() == [leaver.name]
    end = time.monotonic() + 60
    while store.list_withdrawn() and time.monotonic() < end:
        time.sleep(0.01)
    assert store.list_withdrawn() == []
    assert f"votes/{leaver.name}.jsonl" not in stored_files(hub)


def test_a_withdrawal_that_did_not_reach_the_hub_is_sent_after_a_restart(mirrored, make, hub):
    store = make(items(3), overlap=3, attention_every=0)
    leaver = store.add_annotator()
    vote_on_all(store, leaver.code)
    with (
        pytest.raises(CrocError, match=f"votes of {leaver.name} must still be deleted there"),
        mirrored(store) as mirror,
    ):
        store.withdraw(leaver.code)
        hub.fail("POST", "/commit/", status=403)
        assert not mirror.erase()
        hub.fail("POST", "/commit/", status=403)
    mirrored(store)
    assert store.list_withdrawn() == []
    assert f"votes/{leaver.name}.jsonl" not in stored_files(hub)


def test_a_used_invitation_stays_used_on_a_new_disk(mirrored, make):
    store = make(items(1))
    mirror = mirrored(store)
    store.add_annotator("hash-of-an-invitation")
    mirror.trigger().result()
    fresh = make(items(1))
    mirrored(fresh)
    with pytest.raises(Refused, match="has been used"):
        fresh.add_annotator("hash-of-an-invitation")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "line 1: not JSON"),
        (b"[]", "line 1: the content: Input should be a valid dictionary"),
        (b'{"vote_id": "v"}', "line 1: item_id: Field required"),
        (b"\xff", "line 1: not UTF-8"),
        (
            b'{"vote_id": "v", "item_id": 5, "annotator": "a", "answer": "yes"}',
            "item_id: Input should be a valid string",
        ),
    ],
)
def test_a_file_of_votes_that_is_damaged_is_named_with_its_line_and_key(hub, make, content, message):
    api = HfApi(endpoint=hub.endpoint, token="hf_writer")
    api.create_repo("org/votes", repo_type="dataset", private=True)
    api.upload_file(
        path_or_fileobj=content, path_in_repo="votes/a.jsonl", repo_id="org/votes", repo_type="dataset"
    )
    with pytest.raises(InputError) as refused:
        Mirror(make(items(1)), "org/votes", api=api)
    assert "org/votes/votes/a.jsonl" in str(refused.value) and message in str(refused.value)


def test_nothing_of_the_votes_lies_in_the_cache_of_the_hubs_client(mirrored, make, tmp_path):
    from huggingface_hub import constants

    store = make(items(1), overlap=3, attention_every=0)
    vote_on_all(store, store.add_annotator().code)
    mirrored(store)
    assert mirrored(make(items(1))).restored == 1
    assert not [path for path in Path(constants.HF_HUB_CACHE).rglob("*") if "votes" in path.name]


@pytest.mark.parametrize("every", [-1, float("nan"), float("inf")])
def test_an_impossible_interval_is_refused(hub, make, every):
    with pytest.raises(InputError, match="must be a number from 0 on"):
        Mirror(make(items(1)), "org/votes", every=every)


def test_a_public_dataset_is_refused_before_anything_is_sent(hub, make):
    api = HfApi(endpoint=hub.endpoint, token="hf_writer")
    api.create_repo("org/open", repo_type="dataset", private=False)
    with pytest.raises(InputError, match="is public"):
        Mirror(make(items(1)), "org/open", api=api)
    assert [
        path for path in api.list_repo_files("org/open", repo_type="dataset") if path.startswith("votes")
    ] == []
