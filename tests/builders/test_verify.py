"""What `croc verify` finds: one thing at a time is broken in a folder that was fine."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import png
from staged_checks import HALVES, row, stage

from builders import shards
from builders.shards import split_of
from builders.syn import build_staged
from builders.verify import verify, verify_repo
from croc.errors import CrocError
from croc.storage.files import canonical
from croc.storage.parquet import write_parquet
from croc_syn.painting.table import exact_features

SCHEMA = exact_features().arrow_schema


@pytest.fixture(scope="module")
def fine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    rows = [row(number, category="action" if number % 2 else "counting") for number in range(12)]
    return build_staged(
        stage(folder / "staged", rows).folder, folder / "out", splits=HALVES, progress=False
    ).out


@pytest.fixture
def folder(fine, tmp_path):
    return Path(shutil.copytree(fine, tmp_path / "out"))


def sealed(folder: Path) -> None:
    """Write the manifest anew, as somebody would who changes files and covers it up."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, entry in manifest["files"].items():
        data = (folder / name).read_bytes()
        entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        if name.endswith(".parquet"):
            table = pq.read_table(folder / name)
            entry["rows"] = len(table)
    reseal(folder, manifest)


def reseal(folder: Path, manifest: dict) -> None:
    manifest.pop("sha256", None)
    manifest["sha256"] = hashlib.sha256(canonical(manifest).encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def change(folder: Path, pattern: str, edit, schema=None) -> Path:
    """Edit the rows of the first file that fits, and make the manifest fit it."""
    file = sorted((folder / "data").glob(pattern))[0]
    rows = pq.read_table(file).to_pylist()
    edit(rows)
    schema = schema or shards.with_canary(SCHEMA)
    write_parquet(([pa.Table.from_pylist(rows, schema=schema)]), file, schema)
    sealed(folder)
    return file


def test_a_finished_folder_is_fine(fine):
    assert verify(fine) == []


def test_a_folder_is_also_fine_after_its_card_was_made_for_another_repository(folder):
    from hub_cards import dataset_card

    (folder / "README.md").write_text(dataset_card(folder, repo="someone/checks"))
    assert verify(folder) == []


def only(problems: list[str], *parts: str) -> None:
    assert problems, "nothing was found"
    for part in parts:
        assert any(part in problem for problem in problems), problems


def test_a_flipped_bit_is_found(folder):
    file = next((folder / "data").iterdir())
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    only(verify(folder), f"{file.name}: its content differs from the checksum")


def test_a_cut_file_is_found(folder):
    file = next((folder / "data").iterdir())
    file.write_bytes(file.read_bytes()[:-10])
    only(verify(folder), "as in the manifest", "cannot be read")


def test_a_missing_and_a_stray_file_are_found(folder):
    file = next((folder / "data").iterdir())
    file.rename(file.with_name("test-extra-00000-of-00001.parquet"))
    only(verify(folder), f"{file.name} is missing", "extra-00000-of-00001.parquet is not in the manifest")


def test_a_manifest_that_was_edited_is_found(folder):
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"kind": "syn"', '"kind": "hum"'))
    only(verify(folder), "its checksum does not match")


def test_an_image_that_cannot_be_decoded_is_found_with_its_place(folder):
    broken = bytearray(png(5, size=40))
    broken[60:400] = b"\0" * 340
    names = []

    def spoil(rows):
        rows[0]["contrast_images"][0]["bytes"] = bytes(broken)
        names.append(rows[0]["check_id"])

    change(folder, "test-*", spoil)
    only(verify(folder), f"{names[0]}, contrast_images[0]: the image cannot be decoded")
    assert not any("decoded" in problem for problem in verify(folder, images=False))


def test_a_check_that_is_there_twice_is_found(folder):
    change(folder, "train-*", lambda rows: rows.append(dict(rows[0])))
    only(verify(folder), "check_id", "is in data/", "the files contain")


def test_what_crosses_a_split_is_found(folder):
    other = pq.read_table(sorted((folder / "data").glob("test-*"))[0]).to_pylist()[0]

    def cross(rows):
        rows[0] |= {"concept_id": other["concept_id"], "prompt": other["prompt"].upper()}
        rows[0]["images"] = other["images"]

    change(folder, "train-*", cross)
    problems = verify(folder)
    for what in ("concept", "caption", "image"):
        only(problems, f"its {what} is in test and in train")


def test_a_row_in_the_file_of_another_category_is_found(folder):
    change(folder, "test-*-action-*", lambda rows: rows[0].update(category="negation"))
    only(verify(folder), "belongs to negation, count, property_variation, generated")


def test_rows_out_of_order_are_found(folder):
    change(folder, "test-*-action-*", lambda rows: rows[0].update(property="zebra"))
    only(verify(folder), "is not in the order of category and property")


def test_a_sample_that_is_no_copy_is_found(folder):
    (file,) = (folder / "mini").iterdir()
    rows = pq.read_table(file).to_pylist()
    rows[0]["prompt"] = "something else"
    rows[1]["check_id"] = "unknown"
    write_parquet(
        [pa.Table.from_pylist(rows, schema=shards.with_canary(SCHEMA))], file, shards.with_canary(SCHEMA)
    )
    sealed(folder)
    only(verify(folder), f"{rows[0]['check_id']} is not a copy of a row of test", "unknown is not a copy")


def test_other_columns_and_a_missing_canary_are_found(folder):
    change(folder, "test-*-action-*", lambda rows: None, schema=SCHEMA)
    only(verify(folder), "-action-", "the canary is missing")
    without = shards.with_canary(SCHEMA.remove(SCHEMA.get_field_index("seeds")))
    change(folder, "train-*-action-*", lambda rows: [each.pop("seeds") for each in rows], schema=without)
    only(verify(folder), "its columns differ from those of the other files")


def test_a_card_that_says_what_was_true_before_is_found(folder):
    change(folder, "train-*", lambda rows: rows.pop())
    problems = verify(folder)
    only(problems, "README.md: rows is", "build.json: states", "croissant.json: describes other files")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("pretty_name: CROCsyn", "pretty_name: Mine", "README.md: pretty_name is"),
        ("two prompts that differ", "two prompts which differ", "README.md: the text does not match"),
        ("<!-- card of", "<!-- no card of", "not generated from the data"),
        ("---\n", "", "does not begin with metadata"),
        (shards.CANARY, "", "README.md: the canary is missing"),
    ],
)
def test_a_card_that_was_edited_by_hand_is_found(folder, old, new, problem):
    text = (folder / "README.md").read_text()
    assert old in text
    (folder / "README.md").write_text(text.replace(old, new))
    sealed(folder)
    only(verify(folder), problem)


def test_a_half_built_folder_is_no_finished_one(folder, tmp_path):
    (folder / ".build").mkdir()
    only(verify(folder), "unfinished")
    only(verify(tmp_path), "no manifest.json")
    only(verify(tmp_path / "nowhere"), "no such folder")


def test_a_manifest_with_a_way_out_of_the_folder_reads_nothing_there(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["../secret"] = {"bytes": 0, "sha256": ""}
    reseal(folder, manifest)
    only(verify(folder), "../secret: not a path inside the folder")


def test_many_problems_of_one_kind_are_counted(folder):
    change(folder, "train-*", lambda rows: rows.extend([dict(rows[0])] * 30))
    problems = [problem for problem in verify(folder) if "more of this kind" in problem]
    assert problems[0] == "… and 10 more of this kind"


def test_a_repository_that_is_not_there_is_one_sentence():
    with pytest.raises(CrocError, match="HF_HUB_OFFLINE forbids"):
        verify_repo("someone/nothing")


def test_the_splits_of_the_fixture_are_two(fine):
    assert {split_of(f"concept {number}", HALVES) for number in range(12)} == {"test", "train"}
