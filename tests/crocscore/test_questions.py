"""The reader of questions: what it refuses, for training and calibration alike."""

from __future__ import annotations

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_models as tiny
from tiny_training import checks_and_questions

from croc.errors import InputError
from crocscore import calibration
from crocscore.model import CROCScore
from crocscore.questions import question_tables
from crocscore.training.sft import read_questions

COLUMNS = ("pair_id", "image", "prompt", "label")


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    return checks_and_questions(tmp_path_factory.mktemp("data"), checks=8)[1]


@pytest.fixture
def copied(questions, tmp_path):
    """A copy of the questions, and the file of its training split."""
    folder = shutil.copytree(questions, tmp_path / "questions")
    return folder, next(folder.glob("data/train-*"))


def test_the_columns_that_are_asked_for_come_in_this_order(questions):
    tables = list(question_tables(questions, "train", COLUMNS))
    assert all(table.schema.names == list(COLUMNS) for table in tables)
    stored = pq.read_table(next(questions.glob("data/train-*")))
    assert pa.concat_tables(tables)["prompt"].to_pylist() == stored["prompt"].to_pylist()


def replaced(name, values):
    def change(table):
        return table.set_column(table.schema.get_field_index(name), name, values(table))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replaced("prompt", lambda table: pa.array([3] * len(table))), "column prompt has the type int64"),
        (replaced("label", lambda table: table["label"].cast("int8")), "column label has the type int8"),
        (
            replaced("image", lambda table: pa.array(["a.png"] * len(table))),
            "column image has the type string",
        ),
        (replaced("prompt", lambda table: pa.array(["a"] + [None] * (len(table) - 1))), "value in row 2"),
        (replaced("prompt", lambda table: pa.array(["a", "b", " "] + ["c"] * (len(table) - 3))), "in row 3"),
        (replaced("image", lambda table: pa.nulls(len(table), table["image"].type)), "image has no value in"),
        (lambda table: table.drop(["label"]), "missing column label"),
    ],
)
def test_a_column_that_cannot_be_used_is_named(copied, change, message):
    folder, file = copied
    pq.write_table(change(pq.read_table(file)), file)
    with pytest.raises(InputError, match=message):
        list(question_tables(folder, "train", COLUMNS))


def test_a_damaged_file_is_named_by_training_and_calibration(copied, tmp_path):
    folder, file = copied
    content = file.read_bytes()
    scorer = CROCScore(tiny.save(*tiny.llava(), tmp_path / "model"), device="cpu")
    for damaged in (b"xx", content[: len(content) // 2] + content[len(content) // 2 + 50 :]):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=r"train-00000-of-00001\.parquet: cannot be read as Parquet"):
            calibration.read_questions(folder, "train")
        with pytest.raises(InputError, match="cannot be read"):
            read_questions(folder, scorer)


def test_a_split_without_rows_has_no_questions(copied, tmp_path):
    folder, file = copied
    pq.write_table(pq.read_table(file).slice(0, 0), file)
    scorer = CROCScore(tiny.save(*tiny.llava(), tmp_path / "model"), device="cpu")
    with pytest.raises(InputError, match="the split train has no questions; training needs both answers"):
        read_questions(folder, scorer)
