"""Votes to Label Studio and a spreadsheet, and back."""

from __future__ import annotations

import csv
import json

import pytest
from click.testing import CliRunner
from hum_items import item, items, vote_on_all

from croc.cli import main
from croc.errors import InputError
from croc_hum.votes import label_studio
from croc_hum.votes.votes import read_votes

pytest_plugins = ("hum_store",)


def test_label_studio_out_and_in_gives_the_same_votes(make):
    rows = items(9, ("shows", "rating", "preference"))
    store = make(rows, attention_every=0)
    vote_on_all(store, store.add_annotator().code)
    imported = label_studio.read(json.dumps(label_studio.tasks(store, images=True)))
    other = make(rows, attention_every=0)
    assert other.add_votes(imported.votes) == 9
    kept = ("vote_id", "item_id", "annotator", "answer", "task", "duration_s", "voted_at")
    assert sorted([vote[name] for name in kept] for vote in other.votes()) == sorted(
        [vote[name] for name in kept] for vote in store.votes()
    )
    assert {vote["role"] for vote in other.votes()} == {"imported"}


def test_label_studio_names_people_by_pseudonyms_alone(make):
    name = items(1)[0]["item_id"]
    message = [{"from_name": "shows", "type": "choices", "value": {"choices": ["no"]}}]
    people = [{"id": 5, "email": "jane@example.org"}, "jane@example.org", 17, "alicejane"]
    task = {
        "data": {"item_id": name, "task": "shows"},
        "annotations": [{"id": n, "completed_by": user, "result": message} for n, user in enumerate(people)]
        + [{"id": 9, "was_cancelled": True, "completed_by": 1, "result": []}],
    }
    imported = label_studio.read(json.dumps([task]))
    assert imported.skipped == 1
    assert "jane" not in repr(imported.votes)
    names = {vote["annotator"] for vote in imported.votes}
    assert len(names) == 4
    assert names.isdisjoint(vote["annotator"] for vote in label_studio.read(json.dumps([task]), "salt").votes)


def test_the_second_vote_of_somebody_on_an_item_takes_the_place_of_the_first(make):
    name = items(1)[0]["item_id"]
    message = [
        {"result": [{"from_name": "shows", "value": {"choices": [answer]}}], "id": number, "completed_by": 5}
        for number, answer in enumerate(("yes", "no"))
    ]
    task = {"data": {"item_id": name}, "annotations": message}
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


def test_a_spreadsheet_computes_nothing_of_a_csv(make, tmp_path):
    store = make([item(0, prompt="=1+1")], attention_every=0)
    code = store.add_annotator().code
    store.vote(code, store.offer_item(code).offer_id, "yes", "@SUM(A1)")
    label_studio.write_csv(store, tmp_path / "votes.csv")
    with (tmp_path / "votes.csv").open(encoding="utf-8-sig", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["prompt"], row["reason"]) == ("'=1+1", "'@SUM(A1)")


def test_the_command_takes_votes_out_and_brings_those_of_label_studio_in(make, tmp_path):
    store = make(items(6, ("shows", "rating", "preference")), attention_every=0)
    vote_on_all(store, store.add_annotator().code)
    run = lambda *arguments: CliRunner().invoke(main, ["hum", "votes", *map(str, arguments)])  # noqa: E731
    for name in ("votes.parquet", "votes.csv"):
        assert run(store.path, "--out", tmp_path / name).exit_code == 0
        assert len(read_votes(tmp_path / name)) == 6
    assert "6 votes" in run(store.path, "--out", tmp_path / "tasks.json").output
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert all(task["data"]["image"].startswith("data:image/png;base64,") for task in tasks)
    assert (tmp_path / "tasks.xml").read_text() == label_studio.CONFIG
    other = make(items(6, ("shows", "rating", "preference")), attention_every=0)
    done = run(other.path, "--import", tmp_path / "tasks.json")
    assert done.exit_code == 0 and "6 of 6 votes are new" in done.output
    assert "0 of 6 votes are new" in run(other.path, "--import", tmp_path / "tasks.json").output
    assert len(list(other.votes())) == 6
    for arguments, message in (
        ((tmp_path / "no.sqlite", "--out", tmp_path / "v.csv"), "no.sqlite: no such file"),
        ((store.path, "--out", tmp_path / "v.txt"), "must end in .parquet, .csv or .json"),
        ((store.path, "--import", tmp_path / "none.json"), "cannot be read"),
    ):
        refused = run(*arguments)
        assert refused.exit_code == 2 and message in refused.output
