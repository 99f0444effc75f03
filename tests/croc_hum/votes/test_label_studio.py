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
_YES = '"result": [{"from_name": "shows", "value": {"choices": ["yes"]}}]'


def _annotated(*fields: str) -> str:
    return _TASK % ("", f"{{{', '.join((*fields, _YES))}}}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file: not JSON"),
        ("{", "the file: not JSON"),
        ("[" * 100_000, "the file: nested too deeply"),
        ("9" * 5000, "the file: not JSON"),
        ("{}", "expected a list of tasks"),
        ("[1]", "task 1: the content: Input should be a valid dictionary"),
        ('[{"data": 3}]', "task 1: data: Input should be a valid dictionary"),
        ('[{"data": {}}]', "task 1: data.item_id: expected text"),
        ('[{"data": {"item_id": ["x"]}}]', "task 1: data.item_id: expected text"),
        (_TASK % (', "task": "poem"', ""), "task 1: data.task: expected one of shows"),
        (_TASK % (', "task": ["shows"]', ""), "task 1: data.task: expected one of shows"),
        ('[{"data": {"item_id": "x"}, "annotations": 5}]', "task 1: annotations: expected a list"),
        (_TASK % ("", "3"), "task 1, annotation 1: expected an object"),
        (_TASK % ("", '{"result": 5}'), "task 1, annotation 1: result: not readable"),
        (_TASK % ("", '{"result": [{"from_name": "shows"}]}'), "task 1, annotation 1: result: not readable"),
        (_annotated('"created_at": "noon"'), "task 1, annotation 1: created_at: 'noon' is not possible"),
        (_annotated('"created_at": "0001-01-01T00:00:00+14:00"'), "annotation 1: created_at: '0001"),
        (_annotated('"created_at": {}'), "annotation 1: created_at: {} is not possible"),
        (_annotated('"lead_time": "long"'), "annotation 1: lead_time: 'long' is not a number"),
        (_annotated('"lead_time": NaN'), "annotation 1: lead_time: nan is not a number"),
        (_annotated('"lead_time": 1e999'), "annotation 1: lead_time: inf is not a number"),
        (_annotated().replace("yes", "maybe"), "the answer to shows must be one of yes, no, unsure"),
    ],
)
def test_a_file_that_is_not_of_label_studio_is_refused_with_the_place(content, message):
    with pytest.raises(InputError) as refused:
        label_studio.read(content)
    assert message in str(refused.value)


def test_text_that_no_file_can_hold_is_imported_without_it(make):
    name = items(1)[0]["item_id"]
    reason = {"from_name": "reason", "value": {"text": ["a\x1b[31mb\ud800"]}}
    answer = {"from_name": "shows", "value": {"choices": ["yes"]}}
    annotation = {"unique_id": "\udfff1", "completed_by": "\ud800", "result": [answer, reason]}
    text = json.dumps([{"data": {"item_id": name}, "annotations": [annotation]}])
    store = make(items(1))
    assert store.add_votes(label_studio.read(text).votes) == 1
    assert next(iter(store.votes()))["reason"] == "a[31mb?"


def test_a_date_that_is_impossible_keeps_a_file_out_and_the_exports_working(make, tmp_path):
    store = make(items(1))
    name = items(1)[0]["item_id"]
    content = _annotated('"created_at": "0001-01-01T00:00:00+14:00"').replace('"x"', f'"{name}"')
    (tmp_path / "b.json").write_text(content)
    run = lambda *arguments: CliRunner().invoke(main, ["hum", "votes", *map(str, arguments)])  # noqa: E731
    refused = run(store.path, "--import", tmp_path / "b.json")
    assert refused.exit_code == 2
    assert "b.json: task 1, annotation 1: created_at" in refused.output
    for kind in ("csv", "parquet", "json"):
        assert run(store.path, "--out", tmp_path / f"x.{kind}").exit_code == 0


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
