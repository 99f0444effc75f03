"""Votes of several people: what is kept, what is refused, what a withdrawal and a kill leave."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing

import pyarrow.parquet as pq
import pytest
from hum_items import item, items, vote_on_all

from croc.errors import CrocError, InputError
from croc_hum.page.admin import summarize
from croc_hum.schema import VOTE_NAMES
from croc_hum.votes import label_studio
from croc_hum.votes.invitations import make_invitations, read_invitation
from croc_hum.votes.store import Refused, Store

pytest_plugins = ("hum_store",)


def test_a_vote_holds_what_was_shown_and_when(make, clock):
    store = make(items(1), attention_every=0)
    annotator = store.add_annotator()
    offer = store.offer_item(annotator.code)
    clock.now += 2.5
    store.vote(annotator.code, offer.offer_id, "no", "  there is a dog ")
    (vote,) = store.votes()
    assert set(vote) == set(VOTE_NAMES)
    assert (vote["annotator"], vote["answer"], vote["reason"]) == (annotator.name, "no", "there is a dog")
    assert (vote["duration_s"], vote["image_model"], vote["version"]) == (
        2.5,
        "secret-model@1",
        store.version,
    )
    assert (vote["voted_at"] - vote["shown_at"]).total_seconds() == 2.5


def test_a_preference_is_stored_by_prompt_wherever_it_stood(make):
    store = make([item(number, "preference") for number in range(12)], attention_every=0, overlap=1)
    code = store.add_annotator().code
    firsts = []
    while (offer := store.offer_item(code)) is not None:
        firsts.append(offer.shown_first)
        store.vote(code, offer.offer_id, "first")
    assert [vote["answer"] for vote in store.votes()] == firsts
    assert set(firsts) == {"prompt", "contrast"}


def test_the_same_request_again_is_acknowledged_and_counts_once(make):
    store = make(items(2), attention_every=0)
    code = store.add_annotator().code
    offer = store.offer_item(code).offer_id
    assert store.vote(code, offer, "yes", "so") == store.vote(code, offer, "yes", "so")
    with pytest.raises(Refused, match="already answered this item"):
        store.vote(code, offer, "no", "so")
    assert len(list(store.votes())) == 1


def test_undo_shows_the_item_with_its_answer_and_both_votes_are_kept(make):
    store = make(items(3), attention_every=0)
    code = store.add_annotator().code
    one = [store.offer_item(code)]
    first = store.vote(code, one[0].offer_id, "yes", "why")
    two = store.offer_item(code)
    again = store.undo(code)
    assert (again.item, again.answer, again.reason) == (one[0].item, "yes", "why")
    with pytest.raises(Refused):
        store.vote(code, one[0].offer_id, "no")
    store.vote(code, again.offer_id, "no")
    assert store.offer_item(code).offer_id == two.offer_id
    assert [vote["answer"] for vote in store.votes()] == ["no"]
    history = list(store.votes(history=True))
    assert [(vote["answer"], vote["undone"]) for vote in history] == [("yes", True), ("no", False)]
    assert history[0]["vote_id"] == first


def test_undo_again_and_again_goes_back_to_the_beginning(make, clock):
    store = make(items(6), attention_every=0)
    code = store.add_annotator().code
    seen = vote_on_all(store, code)
    back = []
    while (offer := store.undo(code)) is not None:
        back.append(offer.item["item_id"])
        clock.now += 1
    assert back == seen[::-1]
    assert list(store.votes()) == []
    assert vote_on_all(store, code) == seen


def test_votes_cannot_be_changed_or_deleted_behind_the_stores_back(make):
    store = make(items(1), attention_every=0)
    code = store.add_annotator().code
    store.vote(code, store.offer_item(code).offer_id, "yes")
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
    with pytest.raises(Refused, match="not offered to you"):
        store.vote(store.add_annotator().code, offer, "yes")


@pytest.mark.parametrize(
    "code", [None, 7, "", "x" * 10_000, "aaaa-aaaa-aaaa-aaaa-aaaa-aaaa", "../votes", {}, "é"]
)
def test_wrong_codes_are_refused(make, code):
    store = make(items(1))
    for act in (
        store.offer_item,
        store.undo,
        store.release_items,
        store.withdraw,
        store.count_votes,
    ):
        with pytest.raises(Refused, match="is unknown"):
            act(code)


def test_nobody_votes_on_what_was_given_to_another(make):
    store = make(items(2), attention_every=0)
    offer = store.offer_item(store.add_annotator().code)
    with pytest.raises(Refused, match="not offered to you"):
        store.vote(store.add_annotator().code, offer.offer_id, "yes")


@pytest.mark.parametrize("answer", ["maybe", "", None, "1", ["yes"], "first"])
def test_answers_that_the_task_does_not_have_are_refused(make, answer):
    store = make(items(1), attention_every=0)
    code = store.add_annotator().code
    with pytest.raises(Refused, match="the answer must be one of yes, no, unsure"):
        store.vote(code, store.offer_item(code).offer_id, answer)


def test_long_reasons_and_reasons_that_are_no_text_are_refused(make):
    store = make(items(1), attention_every=0)
    code = store.add_annotator().code
    offer = store.offer_item(code).offer_id
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


@pytest.mark.parametrize("text", NASTY)
def test_texts_are_exported_unchanged(make, tmp_path, text):
    store = make([item(0, prompt=text)], attention_every=0)
    code = store.add_annotator().code
    store.vote(code, store.offer_item(code).offer_id, "yes", text)
    store.export(tmp_path / "votes.parquet")
    (row,) = pq.read_table(tmp_path / "votes.parquet").to_pylist()
    assert (row["prompt"], row["reason"]) == (text, text)
    (task,) = json.loads(json.dumps(label_studio.tasks(store)))
    assert task["data"]["prompt"] == text
    assert task["annotations"][0]["result"][1]["value"]["text"] == [text]


def test_many_at_once_lose_and_double_nothing(make):
    store = make(items(40), overlap=4, attention_every=0)
    codes = [store.add_annotator().code for _ in range(8)]
    acknowledged: list[str] = []
    threads = []

    def work(code: str) -> None:
        while (offer := store.offer_item(code)) is not None:
            for _ in range(2):  # every request is repeated
                acknowledged.append(store.vote(code, offer.offer_id, "yes"))

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


@pytest.mark.parametrize(
    "content", [b"x", b"a note of five words", b"no database, but long enough for one" * 50]
)
def test_a_file_that_is_no_store_is_refused_and_not_changed(tmp_path, content):
    (tmp_path / "v").write_bytes(content)
    with pytest.raises(InputError, match="not a store of votes"):
        Store(tmp_path / "v")
    assert (tmp_path / "v").read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "table", ["CREATE TABLE places (url)", "CREATE TABLE votes (id, poll)", "CREATE TABLE meta (key, value)"]
)
def test_a_database_of_another_program_is_refused_and_not_changed(tmp_path, table):
    file = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(file)) as db:
        db.execute(table)
        db.commit()
    before = file.read_bytes()
    with pytest.raises(InputError, match=r"other\.sqlite: an SQLite file of another program"):
        Store(file)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_an_empty_database_becomes_a_store_and_opens_again(tmp_path):
    (tmp_path / "v").touch()
    for _ in range(2):
        with Store(tmp_path / "v") as store:
            assert list(store.votes()) == []


IMPOSSIBLE = [
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:00:00-14:00",
    "1969-12-31T23:59:59+00:00",
    "noon",
    3,
]


@pytest.mark.parametrize("date", IMPOSSIBLE)
def test_an_imported_vote_with_an_impossible_date_is_refused_with_its_id(make, date):
    store = make(items(2))
    name = next(iter(store.items()))["item_id"]
    vote = {"vote_id": "v1", "item_id": name, "annotator": "i00000001", "answer": "yes"}
    with pytest.raises(InputError, match=r"^vote v2: .* is no date and time from 1970 to 9999"):
        store.add_votes([vote, {**vote, "vote_id": "v2", "voted_at": date}])
    assert list(store.votes()) == []


def test_a_store_with_an_impossible_date_of_an_earlier_version_can_be_exported(make, tmp_path):
    store = make(items(2))
    name = next(iter(store.items()))["item_id"]
    store.add_votes([{"vote_id": "v1", "item_id": name, "annotator": "i00000001", "answer": "yes"}])
    with closing(sqlite3.connect(store.path)) as db:
        db.execute("DROP TRIGGER votes_are_never_changed")
        db.execute("UPDATE votes SET voted_at = -62135647200000")
        db.commit()
    assert store.export(tmp_path / "v.parquet") == 1
    assert label_studio.write_csv(store, tmp_path / "v.csv") == 1
    assert label_studio.tasks(store)[0]["annotations"] or label_studio.tasks(store)[1]["annotations"]
    assert summarize(store).annotators[0][-1] is None


def test_a_full_disk_refuses_a_vote_and_loses_none(make):
    store = make(items(40), attention_every=0)
    code = store.add_annotator().code
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own "database or disk is full"
    acknowledged = []
    with pytest.raises(CrocError, match=r"sqlite: cannot be written \(database or disk is full\)"):
        while (offer := store.offer_item(code)) is not None:
            acknowledged.append(store.vote(code, offer.offer_id, "yes", "x" * 1000))
    assert [vote["vote_id"] for vote in store.votes()] == acknowledged
    store._db.execute(f"PRAGMA max_page_count = {pages + 1000}")
    vote_on_all(store, code)
    assert len(list(store.votes())) == 40


def test_an_invitation_lets_one_person_begin_and_is_not_linked_to_them(make):
    token, other = "token-of-the-tests", "another-token-of-16"
    code, unused = make_invitations(token, 2)
    store = make(items(1))
    hashed = read_invitation(token, f" {code.upper()} ")
    annotator = store.add_annotator(hashed)
    with pytest.raises(Refused, match="has been used"):
        store.add_annotator(hashed)
    store.add_annotator(read_invitation(token, unused))
    assert store.used_invitations() == sorted([hashed, read_invitation(token, unused)])
    for wrong in (code[:-1] + ("a" if code[-1] != "a" else "b"), "join-" + "a" * 4, "", None, {"a": 1}):
        assert read_invitation(token, wrong) is None
    assert read_invitation(other, code) is None
    with closing(sqlite3.connect(store.path)) as db:
        assert [row[1] for row in db.execute("PRAGMA table_info(invitations)")] == ["hash"]
        rows = db.execute("SELECT * FROM annotators").fetchall()
    assert annotator.name in {row[0] for row in rows}
    assert hashed not in {cell for row in rows for cell in row}


# ---- Withdrawal, export, import ----


def test_a_withdrawal_leaves_no_byte_of_the_votes_and_gives_the_items_back(make):
    store = make(items(3), overlap=1, attention_every=0)
    leaver, stayer = store.add_annotator(), store.add_annotator()
    offer = store.offer_item(leaver.code)
    store.vote(leaver.code, offer.offer_id, "yes", "a very recognisable reason")
    store.vote(stayer.code, store.offer_item(stayer.code).offer_id, "no")
    assert store.withdraw(leaver.code) == leaver.name
    files = [path.read_bytes() for path in store.path.parent.glob(f"{store.path.name}*")]
    assert not any(b"recognisable" in content for content in files)
    assert [vote["annotator"] for vote in store.votes(history=True)] == [stayer.name]
    with pytest.raises(Refused):
        store.offer_item(leaver.code)
    assert offer.item["item_id"] in vote_on_all(store, stayer.code)
    assert store.list_withdrawn() == [leaver.name]
    store.mark_erased([leaver.name])
    assert store.list_withdrawn() == []


def test_neither_code_nor_address_is_in_the_file(make):
    store = make(items(1), attention_every=0)
    annotator = store.add_annotator()
    store.vote(annotator.code, store.offer_item(annotator.code).offer_id, "yes")
    store.close()
    content = store.path.read_bytes()
    assert annotator.name.encode() in content and annotator.code.encode() not in content


def test_what_was_exported_comes_back_as_it_was(make, tmp_path):
    rows = items(9, ("shows", "rating", "preference"))
    store = make(rows, attention_every=0)
    code = store.add_annotator().code
    vote_on_all(store, code)
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


# ---- Killed ----

_WORKER = """
import sys
from croc_hum.votes.store import Store
store = Store(sys.argv[1])
code = sys.argv[2]
while (offer := store.offer_item(code)) is not None:
    print(store.vote(code, offer.offer_id, "yes"), flush=True)
"""


@pytest.mark.slow
def test_a_vote_that_was_acknowledged_survives_kill_9(make, tmp_path):
    store = make(items(400), overlap=1, attention_every=0)
    code = store.add_annotator().code
    acknowledged: list[str] = []
    for _ in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(store.path), code], stdout=subprocess.PIPE, text=True
        )
        for _ in range(5):
            acknowledged.append(process.stdout.readline().strip())
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += [
            line.strip() for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")
        ]
        process.wait()
        stored = [vote["vote_id"] for vote in store.votes()]
        assert set(acknowledged) <= set(stored)
        assert len(stored) == len({vote["item_id"] for vote in store.votes()})
    assert len(acknowledged) >= 50


def test_a_damaged_page_of_the_database_is_one_sentence(make, tmp_path):
    store = make(items(30))
    vote_on_all(store, store.add_annotator().code)
    path = store.path
    store.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\x07" * (size - 8192))
    with pytest.raises(CrocError, match=path.name):
        damaged = Store(path)
        list(damaged.votes())


@pytest.mark.parametrize("settings", ["/dev/zero", "[]", "{"])
def test_settings_that_someone_edited_are_named(make, tmp_path, settings):
    store = make(items(2))
    store.close()
    with closing(sqlite3.connect(store.path)) as db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'settings'", (settings,))
        db.commit()
    with pytest.raises(InputError, match="settings"):
        Store(store.path)
