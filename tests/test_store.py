"""Votes of several people: who gets what, what is kept, what a withdrawal leaves."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter

import pyarrow.parquet as pq
import pytest
from hub_server import Hub, online
from huggingface_hub import HfApi
from hum_items import item, items, write
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from croc.errors import InputError
from croc_hum import label_studio
from croc_hum.ballot import VOTE_COLUMNS, plain_image, read_items
from croc_hum.store import Refused, Settings, Store


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(tmp_path, clock):
    made = []

    def build(rows, **options) -> Store:
        store = Store(tmp_path / f"{len(made)}.sqlite", Settings(**options), clock=clock)
        store.add_items(rows)
        made.append(store)
        return store

    yield build
    for store in made:
        store.close()


def judge_all(store: Store, code: str, answer=None) -> list[str]:
    """The ids of the items that an annotator gets, each answered."""
    seen = []
    while (offer := store.next(code)) is not None:
        seen.append(offer.item["item_id"])
        store.vote(
            code,
            offer.offer,
            answer or {"shows": "yes", "rating": "4", "preference": "first"}[offer.item["task"]],
        )
    return seen


# ---- Who gets what ----


def test_every_item_gets_the_overlap_and_nobody_sees_one_twice(make):
    store = make(items(30), overlap=3, attention_every=0)
    codes = [store.join().code for _ in range(5)]
    turns = [store.next(code) for code in codes]
    while any(turns):
        for place, offer in enumerate(turns):
            if offer is not None:
                store.vote(codes[place], offer.offer, "yes")
                turns[place] = store.next(codes[place])
    votes = list(store.votes())
    assert Counter(Counter(vote["item_id"] for vote in votes).values()) == {3: 30}
    assert len({(vote["annotator"], vote["item_id"]) for vote in votes}) == len(votes) == 90


def test_everyone_has_an_order_of_their_own_that_a_restart_does_not_change(tmp_path):
    rows = items(20)
    orders = []
    for place in range(2):
        with Store(tmp_path / f"{place}", Settings(overlap=9, attention_every=0)) as store:
            store.add_items(rows)
            orders.append(judge_all(store, store.join().code))
            orders.append(judge_all(store, store.join().code))
    assert all(sorted(order) == sorted(orders[0]) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_blocks_are_finished_before_the_next_is_begun(make):
    store = make(items(40), overlap=2, block=10, attention_every=0)
    blocks = {row["item_id"]: row["block"] for row in store.items()}
    assert Counter(blocks.values()) == {0: 10, 1: 10, 2: 10, 3: 10}
    for code in (store.join().code, store.join().code):
        seen = [blocks[name] for name in judge_all(store, code)]
        assert seen == sorted(seen)


def test_an_abandoned_item_goes_back_to_the_pool_and_is_refused_to_who_comes_too_late(make, clock):
    store = make(items(1), overlap=1, hold_s=60, attention_every=0)
    first, second = store.join().code, store.join().code
    left = store.next(first)
    assert store.next(second) is None
    clock.now += 61
    taken = store.next(second)
    assert taken.item == left.item
    store.vote(second, taken.offer, "yes")
    with pytest.raises(Refused, match="others have judged it"):
        store.vote(first, left.offer, "yes")
    assert store.next(first) is None
    assert len(list(store.votes())) == 1


def test_who_comes_back_before_others_finds_the_item_and_the_pause_is_not_counted(make, clock):
    store = make(items(5), overlap=1, hold_s=60, attention_every=0)
    code = store.join().code
    left = store.next(code)
    clock.now += 10
    assert store.next(code).offer == left.offer
    clock.now += 3600
    assert store.next(code).offer == left.offer
    clock.now += 4
    store.vote(code, left.offer, "no")
    assert next(store.votes())["duration_s"] == 4


def test_leaving_gives_the_open_item_to_others_at_once(make):
    store = make(items(1), overlap=1, attention_every=0)
    first, second = store.join().code, store.join().code
    store.next(first)
    store.leave(first)
    assert store.next(second) is not None


def test_attention_checks_come_to_everyone_once_in_every_run_and_stand_outside_the_overlap(make):
    store = make(items(30, attention=3), overlap=4, attention_every=10, block=60)
    obvious = {row["item_id"] for row in store.items() if row["attention"]}
    for _ in range(4):
        seen = judge_all(store, store.join().code)
        assert len(seen) == 33
        places = [place for place, name in enumerate(seen) if name in obvious]
        assert len(places) == 3
        ordinary = [place - number for number, place in enumerate(places)]
        assert [place // 10 for place in ordinary] == [0, 1, 2]


def test_a_limit_ends_the_work_of_one_and_not_of_others(make):
    store = make(items(10), overlap=2, limit=4, attention_every=0)
    assert len(judge_all(store, store.join().code)) == 4
    assert len(judge_all(store, store.join().code)) == 4


def test_the_same_image_is_not_shown_twice_unless_asked_for(make):
    image = item(0)["image"]
    rows = [item(0, task, image=image) for task in ("shows", "rating", "preference")]
    store = make(rows, attention_every=0)
    assert len(judge_all(store, store.join().code)) == 1
    store = make(rows, attention_every=0, repeat_images=True)
    assert len(judge_all(store, store.join().code)) == 3


def test_an_offer_tells_nothing_about_where_the_image_is_from(make):
    store = make(items(3), attention_every=0)
    offer = store.next(store.join().code)
    assert set(offer.item) == {"item_id", "task", "category", "prompt", "contrast_prompt"}
    assert "secret-model" not in repr(offer.item)
    assert b"croc:scene" in offer.image
    shown, size = plain_image(offer.image)
    assert b"croc:scene" not in shown and size == (64, 64)


# ---- Votes ----


def test_a_vote_holds_what_was_shown_and_when(make, clock):
    store = make(items(1), attention_every=0)
    who = store.join()
    offer = store.next(who.code)
    clock.now += 2.5
    store.vote(who.code, offer.offer, "no", "  there is a dog ")
    (vote,) = store.votes()
    assert set(vote) == set(VOTE_COLUMNS)
    assert (vote["annotator"], vote["answer"], vote["reason"]) == (who.name, "no", "there is a dog")
    assert (vote["duration_s"], vote["image_model"], vote["version"]) == (
        2.5,
        "secret-model@1",
        store.version,
    )
    assert (vote["voted_at"] - vote["shown_at"]).total_seconds() == 2.5


def test_a_preference_is_stored_by_prompt_wherever_it_stood(make):
    store = make([item(number, "preference") for number in range(12)], attention_every=0, overlap=1)
    code = store.join().code
    firsts = []
    while (offer := store.next(code)) is not None:
        firsts.append(offer.shown_first)
        store.vote(code, offer.offer, "first")
    assert [vote["answer"] for vote in store.votes()] == firsts
    assert set(firsts) == {"prompt", "contrast"}


def test_the_same_request_again_is_acknowledged_and_counts_once(make):
    store = make(items(2), attention_every=0)
    code = store.join().code
    offer = store.next(code).offer
    assert store.vote(code, offer, "yes", "so") == store.vote(code, offer, "yes", "so")
    with pytest.raises(Refused, match="answered this already"):
        store.vote(code, offer, "no", "so")
    assert len(list(store.votes())) == 1


def test_undo_shows_the_item_with_its_answer_and_both_votes_are_kept(make):
    store = make(items(3), attention_every=0)
    code = store.join().code
    one = [store.next(code)]
    first = store.vote(code, one[0].offer, "yes", "why")
    two = store.next(code)
    again = store.undo(code)
    assert (again.item, again.answer, again.reason) == (one[0].item, "yes", "why")
    with pytest.raises(Refused):
        store.vote(code, one[0].offer, "no")
    store.vote(code, again.offer, "no")
    assert store.next(code).offer == two.offer
    assert [vote["answer"] for vote in store.votes()] == ["no"]
    history = list(store.votes(history=True))
    assert [(vote["answer"], vote["undone"]) for vote in history] == [("yes", True), ("no", False)]
    assert history[0]["vote_id"] == first


def test_undo_again_and_again_goes_back_to_the_beginning(make, clock):
    store = make(items(6), attention_every=0)
    code = store.join().code
    seen = judge_all(store, code)
    back = []
    while (offer := store.undo(code)) is not None:
        back.append(offer.item["item_id"])
        clock.now += 1
    assert back == seen[::-1]
    assert list(store.votes()) == []
    assert judge_all(store, code) == seen


def test_votes_cannot_be_changed_or_deleted_behind_the_stores_back(make):
    store = make(items(1), attention_every=0)
    code = store.join().code
    store.vote(code, store.next(code).offer, "yes")
    with sqlite3.connect(store.path) as db:
        with pytest.raises(sqlite3.IntegrityError, match="never changed"):
            db.execute("UPDATE votes SET answer = 'no'")
        with pytest.raises(sqlite3.IntegrityError, match="withdrawal alone"):
            db.execute("DELETE FROM votes")


BAD_OFFERS = [
    None,
    1,
    "",
    "x",
    "../../votes",
    "a" * 32 + ".0",
    "0" * 32 + ".0",
    "0" * 32,
    "' OR 1=1 --",
    ["x"],
]


@pytest.mark.parametrize("offer", BAD_OFFERS)
def test_guessed_offers_are_refused(make, offer):
    store = make(items(1), attention_every=0)
    with pytest.raises(Refused, match="not given to you"):
        store.vote(store.join().code, offer, "yes")


@pytest.mark.parametrize(
    "code", [None, 7, "", "x" * 10_000, "aaaa-aaaa-aaaa-aaaa-aaaa-aaaa", "../votes", {}, "é"]
)
def test_wrong_codes_are_refused(make, code):
    store = make(items(1))
    for act in (store.next, store.undo, store.leave, store.withdraw, store.done):
        with pytest.raises(Refused, match="not known"):
            act(code)


def test_nobody_votes_on_what_was_given_to_another(make):
    store = make(items(2), attention_every=0)
    mine = store.next(store.join().code)
    with pytest.raises(Refused, match="not given to you"):
        store.vote(store.join().code, mine.offer, "yes")


@pytest.mark.parametrize("answer", ["maybe", "", None, "1", ["yes"], "first"])
def test_answers_that_the_task_does_not_have_are_refused(make, answer):
    store = make(items(1), attention_every=0)
    code = store.join().code
    with pytest.raises(Refused, match="the answer is one of yes, no, unsure"):
        store.vote(code, store.next(code).offer, answer)


def test_long_reasons_and_reasons_that_are_no_text_are_refused(make):
    store = make(items(1), attention_every=0)
    code = store.join().code
    offer = store.next(code).offer
    for reason in ("x" * 1001, {"a": 1}, ["x"]):
        with pytest.raises(Refused):
            store.vote(code, offer, "yes", reason)
    store.vote(code, offer, "yes", "bro\ud800ken\x00\x1b[0m")
    assert next(store.votes())["reason"] == "bro?ken[0m"


NASTY = [
    "<script>alert(1)</script>",
    '=HYPERLINK("http://x","y")',
    "+1",
    "@SUM(A1)",
    "😀 “ünï”",
    'a,b\n"c"',
    "${1}{{2}}",
]


@pytest.mark.parametrize("words", NASTY)
def test_any_text_leaves_as_it_came(make, tmp_path, words):
    store = make([item(0, prompt=words)], attention_every=0)
    code = store.join().code
    store.vote(code, store.next(code).offer, "yes", words)
    store.export(tmp_path / "votes.parquet")
    (row,) = pq.read_table(tmp_path / "votes.parquet").to_pylist()
    assert (row["prompt"], row["reason"]) == (words, words)
    (task,) = json.loads(json.dumps(label_studio.tasks(store)))
    assert task["data"]["prompt"] == words
    assert task["annotations"][0]["result"][1]["value"]["text"] == [words]


def test_a_spreadsheet_computes_nothing_of_a_csv(make, tmp_path):
    import csv

    store = make([item(0, prompt="=1+1")], attention_every=0)
    code = store.join().code
    store.vote(code, store.next(code).offer, "yes", "@SUM(A1)")
    label_studio.write_csv(store, tmp_path / "votes.csv")
    with (tmp_path / "votes.csv").open(encoding="utf-8-sig", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["prompt"], row["reason"]) == ("'=1+1", "'@SUM(A1)")


def test_many_at_once_lose_and_double_nothing(make):
    store = make(items(40), overlap=4, attention_every=0)
    codes = [store.join().code for _ in range(8)]
    acknowledged: list[str] = []
    threads = []

    def work(code: str) -> None:
        while (offer := store.next(code)) is not None:
            for _ in range(2):  # every request is repeated
                acknowledged.append(store.vote(code, offer.offer, "yes"))

    for code in codes:
        threads.append(threading.Thread(target=work, args=(code,)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    votes = list(store.votes())
    assert {vote["vote_id"] for vote in votes} == set(acknowledged)
    assert len(votes) == len(set(acknowledged)) == 160
    assert set(Counter(vote["item_id"] for vote in votes).values()) == {4}


@hypothesis_settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("nvubl")), max_size=40))
def test_whatever_people_do_the_overlap_holds_and_nothing_is_lost(tmp_path_factory, steps):
    clock = Clock()
    with Store(
        tmp_path_factory.mktemp("s") / "v", Settings(overlap=2, attention_every=0, hold_s=30), clock=clock
    ) as store:
        store.add_items(items(4))
        codes = [store.join().code for _ in range(3)]
        open_offers: dict[str, str] = {}
        standing: dict[str, list[str]] = {code: [] for code in codes}
        for place, step in steps:
            code = codes[place]
            clock.now += 7
            if step in "nb":
                offer = store.next(code)
                open_offers[code] = offer.offer if offer else ""
            elif step == "v" and open_offers.get(code):
                try:
                    vote = store.vote(code, open_offers[code], "yes")
                except Refused:
                    continue
                if vote not in standing[code]:
                    standing[code].append(vote)
            elif step == "u" and standing[code]:
                offer = store.undo(code)
                standing[code].pop()
                open_offers[code] = offer.offer
            elif step == "l":
                store.leave(code)
        votes = list(store.votes())
        assert {vote["vote_id"] for vote in votes} == {vote for mine in standing.values() for vote in mine}
        assert all(count <= 2 for count in Counter(vote["item_id"] for vote in votes).values())


# ---- Withdrawal, export, import ----


def test_a_withdrawal_leaves_no_byte_of_the_votes_and_gives_the_items_back(make):
    store = make(items(3), overlap=1, attention_every=0)
    leaver, stayer = store.join(), store.join()
    offer = store.next(leaver.code)
    store.vote(leaver.code, offer.offer, "yes", "a very recognisable reason")
    store.vote(stayer.code, store.next(stayer.code).offer, "no")
    assert store.withdraw(leaver.code) == leaver.name
    files = [path.read_bytes() for path in store.path.parent.glob(f"{store.path.name}*")]
    assert not any(b"recognisable" in content for content in files)
    assert [vote["annotator"] for vote in store.votes(history=True)] == [stayer.name]
    with pytest.raises(Refused):
        store.next(leaver.code)
    assert offer.item["item_id"] in judge_all(store, stayer.code)
    assert store.withdrawn() == [leaver.name]
    store.erased([leaver.name])
    assert store.withdrawn() == []


def test_neither_code_nor_address_is_in_the_file(make):
    store = make(items(1), attention_every=0)
    who = store.join()
    store.vote(who.code, store.next(who.code).offer, "yes")
    store.close()
    content = store.path.read_bytes()
    assert who.name.encode() in content and who.code.encode() not in content


def test_what_was_exported_comes_back_as_it_was(make, tmp_path):
    rows = items(9, ("shows", "rating", "preference"))
    store = make(rows, attention_every=0)
    code = store.join().code
    judge_all(store, code)
    store.undo(code)
    store.adjudicate(rows[0]["item_id"], "unsure", "split")
    history = list(store.votes(history=True))
    other = make(rows, attention_every=0)
    assert other.add_votes(history) == len(history)
    assert other.add_votes(history) == 0
    assert list(other.votes(history=True)) == history
    assert other.export(tmp_path / "a") == store.export(tmp_path / "b") == 9


def test_a_later_adjudication_takes_the_place_of_an_earlier_one(make):
    store = make(items(1))
    name = items(1)[0]["item_id"]
    for answer in ("yes", "no"):
        store.adjudicate(name, answer)
    assert [(vote["role"], vote["answer"]) for vote in store.votes()] == [("adjudicator", "no")]
    for wrong in ("../x", "0" * 20, None):
        with pytest.raises(Refused, match="no such item"):
            store.adjudicate(wrong, "yes")


def test_label_studio_out_and_in_gives_the_same_votes(make):
    rows = items(9, ("shows", "rating", "preference"))
    store = make(rows, attention_every=0)
    judge_all(store, store.join().code)
    found = label_studio.read(json.dumps(label_studio.tasks(store, images=True)))
    other = make(rows, attention_every=0)
    assert other.add_votes(found.votes) == 9
    kept = ("vote_id", "item_id", "annotator", "answer", "task", "duration_s", "voted_at")
    assert sorted([vote[name] for name in kept] for vote in other.votes()) == sorted(
        [vote[name] for name in kept] for vote in store.votes()
    )
    assert {vote["role"] for vote in other.votes()} == {"imported"}


def test_label_studio_names_people_by_pseudonyms_alone(make):
    name = items(1)[0]["item_id"]
    said = [{"from_name": "shows", "type": "choices", "value": {"choices": ["no"]}}]
    people = [{"id": 5, "email": "jane@example.org"}, "jane@example.org", 17, "alicejane"]
    task = {
        "data": {"item_id": name, "task": "shows"},
        "annotations": [{"id": n, "completed_by": who, "result": said} for n, who in enumerate(people)]
        + [{"id": 9, "was_cancelled": True, "completed_by": 1, "result": []}],
    }
    found = label_studio.read(json.dumps([task]))
    assert found.skipped == 1
    assert "jane" not in repr(found.votes)
    names = {vote["annotator"] for vote in found.votes}
    assert len(names) == 4
    assert names.isdisjoint(vote["annotator"] for vote in label_studio.read(json.dumps([task]), "salt").votes)


def test_the_second_vote_of_somebody_on_an_item_takes_the_place_of_the_first(make):
    name = items(1)[0]["item_id"]
    said = [
        {"result": [{"from_name": "shows", "value": {"choices": [answer]}}], "id": number, "completed_by": 5}
        for number, answer in enumerate(("yes", "no"))
    ]
    task = {"data": {"item_id": name}, "annotations": said}
    store = make(items(1))
    assert store.add_votes(label_studio.read(json.dumps([task])).votes) == 2
    assert [vote["answer"] for vote in store.votes()] == ["no"]
    assert [vote["undone"] for vote in store.votes(history=True)] == [True, False]


_TASK = '[{"data": {"item_id": "x"%s}, "annotations": [%s]}]'
NO_FILES = ["", "{", "{}", "[1]", '[{"data": {}}]', _TASK % (', "task": "poem"', "")]
NO_FILES += [_TASK % ("", one) for one in ("3", '{"created_at": "noon"}', '{"lead_time": "long"}')]


@pytest.mark.parametrize("content", NO_FILES)
def test_label_studio_files_that_are_none_are_refused(content):
    with pytest.raises(InputError):
        label_studio.read(content)


# ---- Items ----


def test_items_come_from_a_file_or_a_folder_and_twice_is_once(make, tmp_path):
    write(items(5), tmp_path / "a.parquet")
    store = make([])
    assert store.add_items(read_items(tmp_path / "a.parquet")) == 5
    assert store.add_items(read_items(tmp_path)) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "poem"}, "task is one of"),
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": "x" * 2001}, "2001 letters"),
        ({"image": b"no image"}, "cannot be decoded"),
        ({"expected": "perhaps"}, "expected is one of"),
        ({"attention": True, "expected": None}, "needs an expected answer"),
        ({"category": "<b>"}, "is not one of"),
        ({"task": "preference", "expected": None, "contrast_prompt": None}, "needs a contrast_prompt"),
    ],
)
def test_items_that_cannot_be_shown_are_refused_with_their_row(tmp_path, change, message):
    write([item(0), {**item(1), **change}], tmp_path / "items.parquet")
    with pytest.raises(InputError, match=f"row 1: .*{message}"):
        list(read_items(tmp_path / "items.parquet"))


def test_a_file_that_is_no_store_is_refused(tmp_path):
    (tmp_path / "v").write_bytes(b"not a database at all, but long enough to be read as one" * 20)
    with pytest.raises(InputError, match="cannot be used as a store"):
        Store(tmp_path / "v")


# ---- On the Hub ----


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with Hub(tmp_path / "hub") as server, online(monkeypatch):
        yield server


@pytest.fixture
def mirrored(hub, tmp_path):
    from croc_hum.mirror import Mirror

    api = HfApi(endpoint=hub.endpoint, token="hf_writer")
    made = []

    def build(store: Store) -> Mirror:
        mirror = Mirror(store, "org/votes", tmp_path / f"files{len(made)}", every=600, api=api)
        made.append(mirror)
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
    leaver, stayer = store.join(), store.join()
    for who in (leaver, stayer):
        judge_all(store, who.code)
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
    code = store.join().code
    store.vote(code, store.next(code).offer, "yes")
    with Store(tmp_path / "old.sqlite", Settings(attention_every=0)) as old:
        old.add_items(rows)
        old.add_votes([{**vote, "key": store.keys()[vote["annotator"]]} for vote in store.votes()])
        again = store.undo(code)
        store.vote(code, again.offer, "no")
        judge_all(store, code)
        mirrored(store)
        mirrored(old)
        assert ids(old) == ids(store)
    assert mirrored(make(rows)).restored == 7


def test_the_hub_forgets_who_withdraws_in_its_history_too(mirrored, make, hub):
    store = make(items(6), overlap=3, attention_every=0)
    leaver, stayer = store.join(), store.join()
    mirror = mirrored(store)
    for who in (leaver, stayer):
        judge_all(store, who.code)
        mirror.trigger().result()
    store.withdraw(leaver.code)
    hub.fail("POST", "/super-squash/", status=403)
    assert not mirror.erase()
    assert store.withdrawn() == [leaver.name]
    assert mirror.erase()
    repo = hub.repos["dataset", "org/votes"]
    held = {path for commit in repo.commits.values() for path in commit.tree}
    assert f"votes/{stayer.name}.jsonl" in held
    assert f"votes/{leaver.name}.jsonl" not in held
    assert len(list(mirror.folder_path.rglob("*.jsonl"))) == 1
    assert store.withdrawn() == []


def test_a_public_dataset_is_refused_before_anything_is_sent(hub, make, tmp_path):
    from croc_hum.mirror import Mirror

    api = HfApi(endpoint=hub.endpoint, token="hf_writer")
    api.create_repo("org/open", repo_type="dataset", private=False)
    with pytest.raises(InputError, match="is public"):
        Mirror(make(items(1)), "org/open", tmp_path / "files", api=api)
    assert [
        path for path in api.list_repo_files("org/open", repo_type="dataset") if path.startswith("votes")
    ] == []


# ---- Killed ----

_WORKER = """
import sys
from croc_hum.store import Store
store = Store(sys.argv[1])
code = sys.argv[2]
while (offer := store.next(code)) is not None:
    print(store.vote(code, offer.offer, "yes"), flush=True)
"""


@pytest.mark.slow
def test_a_vote_that_was_acknowledged_survives_kill_9(make, tmp_path):
    store = make(items(400), overlap=1, attention_every=0)
    code = store.join().code
    said: list[str] = []
    for _ in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(store.path), code], stdout=subprocess.PIPE, text=True
        )
        for _ in range(5):
            said.append(process.stdout.readline().strip())
        os.kill(process.pid, signal.SIGKILL)
        said += [
            line.strip() for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")
        ]
        process.wait()
        held = [vote["vote_id"] for vote in store.votes()]
        assert set(said) <= set(held)
        assert len(held) == len({vote["item_id"] for vote in store.votes()})
    assert len(said) >= 50
