"""Files with questions in the published forms, written by hand after the published ones."""

from __future__ import annotations

import json
import logging

import pytest

from croc.errors import InputError
from croc.scorers.question_files import Question, read_questions

DSG = """\
item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,question_natural_language
x_1,a bench near trees,bench,1,0,entity,whole,entity - whole (bench),Is there a bench?
x_1,a bench near trees,trees,2,0,entity,whole,entity - whole (trees),Are there trees?
x_1,a bench near trees,"bench, trees, near",3,"1,2",relation,spatial,"relation - spatial (near)",\
Is the bench near the trees?
x_2,a red cup,cup,1,0,entity,whole,entity - whole (cup),Is there a cup?
x_2,a red cup,"cup, red",2,"1, red",attribute,color,"attribute - color (cup, red)",Is the cup red?
x_2,a red cup,"cup, one",3,"1,3",other,count,"other - count (cup, ==1)",Is there one cup?
x_3,a red cup,cup,1,0,entity,whole,entity - whole (cup),Is there a cup?
"""
TIFA = [
    {
        "id": "x_1",
        "caption": "a gray day",
        "question": "is the day gray?",
        "choices": ["yes", "no"],
        "answer": "yes",
    },
    {
        "id": "x_1",
        "caption": "a gray day",
        "question": "what color is the sky?",
        "choices": ["gray", "blue"],
        "answer": "gray",
        "element_type": "color",
    },
]


def test_dsg_is_read_with_its_dependencies(tmp_path, caplog):
    path = tmp_path / "dsg.csv"
    path.write_text(DSG)
    with caplog.at_level(logging.WARNING):
        found = read_questions(path)
    assert found["a bench near trees"] == (
        Question("1", "Is there a bench?"),
        Question("2", "Are there trees?"),
        Question("3", "Is the bench near the trees?", parents=("1", "2")),
    )
    # The published file has dependencies on words and on the question itself, and a prompt with two ids.
    assert [q.parents for q in found["a red cup"]] == [(), ("1",), ("1",)]
    assert "2 dependencies" in caplog.text and "several ids: 1" in caplog.text


def test_tifa_is_read_with_its_choices(tmp_path):
    path = tmp_path / "tifa.json"
    path.write_text(json.dumps(TIFA))
    assert read_questions(path) == {
        "a gray day": (
            Question("1", "is the day gray?"),
            Question("2", "what color is the sky?", "gray", ("gray", "blue")),
        )
    }


def test_geneval_2_is_read_with_its_atoms(tmp_path):
    path = tmp_path / "geneval2.jsonl"
    lines = [
        {
            "prompt": "four  white cows",
            "atom_count": 3,
            "vqa_list": [["How many cows?", "four"], ["White?", "Yes"]],
        }
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    assert read_questions(path) == {
        "four white cows": (Question("1", "How many cows?", "four"), Question("2", "White?"))
    }


def test_our_own_form_is_the_same_in_json_and_csv(tmp_path):
    rows = [
        {"prompt": "a dog", "id": "a", "question": "A dog?"},
        {"prompt": "a dog", "id": "b", "question": "A cat?", "answer": "No", "parents": ["a"]},
    ]
    (tmp_path / "own.json").write_text(json.dumps(rows))
    (tmp_path / "own.csv").write_text(
        "prompt,id,question,answer,parents\na dog,a,A dog?,,\na dog,b,A cat?,No,a\n"
    )
    found = read_questions(tmp_path / "own.json")
    assert found == {"a dog": (Question("a", "A dog?"), Question("b", "A cat?", "no", (), ("a",)))}
    assert read_questions(tmp_path / "own.csv") == found


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("q.json", "[", "not JSON"),
        ("q.json", "{}", "must contain a list"),
        ("q.json", "[]", "has no questions"),
        ("q.json", "[5]", "question 1: a row with a prompt and a question is expected"),
        ("q.json", '[{"prompt": "a"}]', "question 1: question must be a text"),
        ("q.json", '[{"prompt": " ", "question": "b"}]', "question 1: prompt must be a text"),
        (
            "q.json",
            '[{"prompt": "a", "question": "b", "answer": "c", "choices": ["d", "e"]}]',
            "not one of the choices",
        ),
        (
            "q.json",
            '[{"prompt": "a", "question": "b", "answer": "d", "choices": ["d", "d"]}]',
            "occurs twice",
        ),
        (
            "q.json",
            '[{"prompt": "a", "question": "b", "id": 1}, {"prompt": "a", "question": "c", "id": 1}]',
            "the id '1'",
        ),
        ("q.json", '[{"prompt": "a", "question": "b", "parents": {"x": 1}}]', "parents must be a list"),
        ("q.jsonl", '{"prompt": "a", "vqa_list": ["b"]}', "line 1: vqa_list must be a list"),
        ("q.csv", "prompt,question\na,\n", "line 2: question must be a text"),
        ("q.txt", "a", "is .json, .jsonl or .csv"),
    ],
)
def test_a_wrong_file_is_one_sentence_with_its_place(tmp_path, name, text, reason):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=reason):
        read_questions(path)


def test_a_file_that_is_no_text_is_one_sentence(tmp_path):
    path = tmp_path / "q.json"
    path.write_bytes(b"\xff\xfe[]")
    with pytest.raises(InputError, match="not UTF-8 text"):
        read_questions(path)
