"""The authors' release of CROChum, with tables and archives made up here, honest ones and hostile ones."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

import pytest
from datasets import load_dataset
from pictures import png
from release_files import HEADER, LINES, PICTURES, tar

from builders import authors_release as release
from builders import hum
from builders.authors_release import Bounds, extract, parse_list, read_table
from builders.hum import build_release, build_staged
from builders.verify import verify
from croc.checks.schema import check_features
from croc.errors import InputError
from croc.jobs.executors import local_executor


def rows_of(out: Path):
    rows = load_dataset(str(out), split="test").with_format("arrow")[:].to_pylist()
    return {row["prompt"]: row for row in rows}


def test_a_release_becomes_checks_with_its_images_untouched(folder, tmp_path):
    report = build_release(folder, tmp_path / "hum", progress=False)
    assert load_dataset(str(report.out), split="test").features == check_features()
    rows = rows_of(report.out)
    assert report.checks == len(rows) == 4
    two = rows["two dogs"]
    assert (two["contrast_prompt"], two["category"], two["subset"]) == ("three dogs", "counting", None)
    assert [image["bytes"] for image in two["images"]] == [PICTURES["a/0.png"], PICTURES["a/1.png"]]
    assert [image["bytes"] for image in two["contrast_images"]] == [PICTURES["b/0.png"]]
    assert rows["a cat"]["contrast_images"] == []
    assert rows["a left of b"]["category"] == "spatial_relation"
    assert verify(report.out) == []


def test_the_contrast_images_of_negation_are_the_alternative_ones(folder, tmp_path):
    report = build_release(folder, tmp_path / "hum", progress=False)
    negation = rows_of(report.out)["a dog"]
    assert [image["bytes"] for image in negation["contrast_images"]] == [PICTURES["e/2.png"]]
    assert any("alt_contrast_paths" in note for note in report.notes)
    card = (report.out / "README.md").read_text()
    assert "alt_contrast_paths" in card


def test_categories_are_configurations_and_the_small_view_holds_all_of_a_small_release(folder, tmp_path):
    out = build_release(folder, tmp_path / "hum", progress=False).out
    assert set(load_dataset(str(out), "counting", split="test")["prompt"]) == {"two dogs", "a cat"}
    assert len(load_dataset(str(out), "mini", split="test", streaming=True).take(9)._head(9)["prompt"]) == 4


def test_the_same_release_gives_the_same_bytes_with_two_processes_and_after_an_interruption(
    folder, tmp_path, monkeypatch
):
    calm = build_release(folder, tmp_path / "calm", progress=False).out
    build_release(folder, tmp_path / "two", executor=local_executor(2), progress=False)
    monkeypatch.setattr(hum, "assemble", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        build_release(folder, tmp_path / "stopped", progress=False)
    monkeypatch.undo()
    build_release(folder, tmp_path / "stopped", progress=False)
    manifest = (calm / "manifest.json").read_bytes()
    assert (tmp_path / "two" / "manifest.json").read_bytes() == manifest
    assert (tmp_path / "stopped" / "manifest.json").read_bytes() == manifest
    assert [path.name for path in calm.iterdir() if path.name.startswith(".")] == []


def _interrupt(*arguments, **options):
    raise KeyboardInterrupt


def test_an_image_that_the_archive_lacks_is_counted_and_the_check_stays(folder, tmp_path):
    tar(folder / "images.tar.gz", [item for item in PICTURES.items() if item[0] != "a/1.png"])
    report = build_release(folder, tmp_path / "hum", progress=False)
    assert report.images_dropped == {release.ABSENT: 1}
    assert len(rows_of(report.out)["two dogs"]["images"]) == 1


def test_an_archive_of_other_images_is_refused(folder, tmp_path):
    tar(folder / "images.tar.gz", [("x/0.png", png(1)), ("a/0.png", png(2))])
    with pytest.raises(InputError, match=r"7 of 8 images .* are not in it .* belong together"):
        build_release(folder, tmp_path / "hum", progress=False)


def test_an_archive_with_a_folder_around_everything_is_understood(folder, tmp_path):
    tar(folder / "images.tar.gz", [(f"croc/{name}", data) for name, data in PICTURES.items()])
    assert build_release(folder, tmp_path / "hum", progress=False).images_dropped == {}


def test_staged_checks_with_images_on_one_side_can_be_built_again(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(hum, "assemble", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        build_release(folder, tmp_path / "hum", progress=False)
    staged = tmp_path / "hum" / ".build" / "checks"
    monkeypatch.undo()
    out = build_staged(staged, tmp_path / "again", progress=False).out
    assert set(load_dataset(str(out), "counting", split="test")["prompt"]) == {"two dogs", "a cat"}


# ---- Tables that cannot be used ----


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            LINES[0].replace("counting_10", "countng_10"),
            r"row 1: the id 'countng_10'.*did you mean 'counting'",
        ),
        (LINES[0].replace("counting_10", "counting"), "not category_number"),
        (
            LINES[0].replace("['images/b/0.png']", "__import__('os').system('true')"),
            "'contrast_paths': not a list",
        ),
        (LINES[0].replace("['images/b/0.png']", "['images/b/0.png'"), "not a list of paths"),
        (LINES[0].replace("['images/b/0.png']", "{'a': 1}"), "not a list of paths"),
        (LINES[0].replace("['images/b/0.png']", "[1, 2]"), "not a list of paths"),
        (LINES[0].replace("images/b/0.png", "images/../../etc/passwd"), "leads out of the archive"),
        (LINES[0].replace("images/b/0.png", "/etc/passwd"), "leads out of the archive"),
        (LINES[0].replace("['images/b/0.png']", "[" * 5000 + "]" * 5000), "not a list of paths"),
        (LINES[0].replace("two dogs", ""), "column 'prompt', row 1: must not be empty"),
        (LINES[0] + "\n" + LINES[0], "row 2: id 'counting_10' occurs in row 1, too"),
        (LINES[0] + "\tmore", "7 cells; expected 6"),
    ],
)
def test_a_table_that_cannot_be_used_is_named_with_row_and_column(tmp_path, changed, message):
    file = tmp_path / "croc_hum.tsv"
    file.write_text(f"{HEADER}\n{changed}\n")
    with pytest.raises(InputError, match=message):
        read_table(file)


def test_a_missing_column_is_named(tmp_path):
    file = tmp_path / "croc_hum.tsv"
    file.write_text(f"{HEADER.replace('alt_contrast_paths', 'alt_contrast_path')}\n{LINES[0]}\n")
    with pytest.raises(
        InputError, match=r"missing column 'alt_contrast_paths'; did you mean 'alt_contrast_path'"
    ):
        read_table(file)


def test_an_empty_cell_is_an_empty_list():
    assert parse_list("", "here") == parse_list("[]", "here") == parse_list(None, "here") == []


@pytest.mark.parametrize("missing", ["croc_hum.tsv", "images.tar.gz"])
def test_a_folder_without_table_or_archive_is_refused(folder, tmp_path, missing):
    (folder / missing).unlink()
    with pytest.raises(InputError, match=r"expected one (TSV|tar\.gz) file of a release, found 0"):
        build_release(folder, tmp_path / "hum", progress=False)


def test_what_is_neither_folder_nor_hub_id_is_refused(tmp_path):
    with pytest.raises(InputError, match="neither an existing folder nor a Hub id"):
        build_release(tmp_path / "nothing", tmp_path / "hum", progress=False)


# ---- Archives that must not be unpacked ----


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("/etc/evil.png", b"x")], "evil"),
        ([("../evil.png", b"x")], "evil"),
        ([("a/../../evil.png", b"x")], "evil"),
        ([(special("link.png", tarfile.SYMTYPE, "/etc/passwd"), None)], "not a regular file"),
        ([("a.png", b"x"), (special("hard.png", tarfile.LNKTYPE, "a.png"), None)], "not a regular file"),
        ([(special("dev.png", tarfile.CHRTYPE), None)], "not a regular file"),
        ([(special("pipe.png", tarfile.FIFOTYPE), None)], "not a regular file"),
        ([(special("../outside", tarfile.DIRTYPE), None)], "leads out"),
        ([("a.png", b"x"), ("a.png", b"y")], "twice"),
        ([("a", b"x"), ("a/b.png", b"y")], "file and folder"),
        ([("big.png", b"\0" * 2_000_000)], "2,000,000 bytes, too many"),
        ([], "contains no file"),
    ],
)
def test_a_hostile_archive_is_refused_and_leaves_nothing_behind(tmp_path, members, message):
    archive = tar(tmp_path / "x.tar.gz", members)
    inside = tmp_path / "in"
    inside.mkdir()
    with pytest.raises(InputError, match=message):
        extract(archive, inside / "out", Bounds(file_bytes=1_000_000))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in", "x.tar.gz"]


def test_a_bomb_stops_before_the_disk_is_full(tmp_path):
    archive = tar(tmp_path / "x.tar.gz", [(f"{number}.png", b"\0" * 1_000_000) for number in range(30)])
    assert archive.stat().st_size < 100_000
    with pytest.raises(InputError, match="far more than images do"):
        extract(archive, tmp_path / "out", Bounds(free=5_000_000))
    with pytest.raises(InputError, match="more than 10 members"):
        extract(archive, tmp_path / "out", Bounds(members=10))
    assert not (tmp_path / "out").exists()


def test_a_header_that_claims_gigabytes_takes_no_memory(tmp_path):
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 8_000_000_000
    archive = tmp_path / "x.tar.gz"
    archive.write_bytes(gzip.compress(long.tobuf(tarfile.GNU_FORMAT) + b"\0" * 10_000))
    with pytest.raises(InputError, match=r"claims 8,000,000,\d+ bytes"):
        extract(archive, tmp_path / "out")


@pytest.mark.parametrize("broken", ["cut", "garbage", "empty"])
def test_a_damaged_archive_is_one_sentence(tmp_path, broken):
    archive = tar(tmp_path / "x.tar.gz", [("a.png", png(1, size=200))])
    data = archive.read_bytes()
    archive.write_bytes(
        {"cut": data[: len(data) // 2], "garbage": b"<html>no</html>" * 99, "empty": b""}[broken]
    )
    with pytest.raises(InputError, match=r"x\.tar\.gz: damaged or truncated"):
        extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()
