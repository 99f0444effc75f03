"""Data that are no longer those of their manifest are not opened under its revision."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from staged_checks import row, stage

from builders.syn import build_staged
from builders.train import build_train
from croc.checks.manifest import digest_of_manifest, read_dataset_manifest
from croc.checks.sources import open_checks
from croc.cli import main
from croc.errors import InputError
from croc.storage.checksums import changed_files, quick_checksum
from croc.storage.files import sha256_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [row(number) for number in range(12)]
    staged = stage(tmp_path / "staged", rows)
    return build_staged(staged.folder, tmp_path / "out", splits={"test": 1.0}, progress=False).out


def shard(folder: Path) -> Path:
    (file,) = (folder / "data").glob("*.parquet")
    return file


def exchange_images(file: Path) -> None:
    """Write the shard again with its two columns of images exchanged."""
    table = pq.read_table(file)
    one, other = (table.schema.get_field_index(name) for name in ("images", "contrast_images"))
    changed = table.set_column(one, table.schema.field(one), table.column(other))
    pq.write_table(changed.set_column(other, table.schema.field(other), table.column(one)), file)


def flip(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


def test_a_built_folder_is_opened_under_the_hash_of_its_manifest(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["files"][f"data/{shard(folder).name}"]["quick"] == quick_checksum(shard(folder))
    opened = open_checks(str(folder), verify=True)
    assert opened.revision == open_checks(str(folder)).revision == f"manifest:{manifest['sha256'][:16]}"


def test_a_shard_that_was_written_again_is_not_scored_under_the_old_revision(folder: Path) -> None:
    exchange_images(shard(folder))
    arguments = ["score", str(folder), "--scorer", "image-only", "--out", str(folder / "scores")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2 and f"data/{shard(folder).name}" in done.output
    assert not (folder / "scores" / "image-only.parquet").exists()


@pytest.mark.parametrize("place", [5, -5, 2_000])
def test_one_changed_byte_of_a_small_shard_is_found(folder: Path, place: int) -> None:
    flip(shard(folder), place)
    with pytest.raises(InputError, match="its content differs from the checksum in the manifest"):
        open_checks(str(folder))
    with pytest.raises(InputError, match="its content differs"):
        build_train(folder, folder.parent / "train")


def test_a_file_that_the_manifest_does_not_list_is_not_read(folder: Path) -> None:
    name = shard(folder).name.replace("00000-of", "00001-of")
    (folder / "data" / name).write_bytes(shard(folder).read_bytes())
    with pytest.raises(InputError, match="is not in the manifest"):
        open_checks(str(folder), config="all")


def test_a_missing_shard_and_an_edited_manifest_are_found(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][f"data/{shard(folder).name}"]["rows"] = 11
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="its checksum does not match its content, so it was edited"):
        open_checks(str(folder))


def test_a_manifest_without_quick_checksums_is_compared_by_sha256(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    for entry in manifest["files"].values():
        entry.pop("quick", None)
    manifest["sha256"] = digest_of_manifest(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert open_checks(str(folder)).texts
    flip(shard(folder), 2_000)
    with pytest.raises(InputError, match="its content differs"):
        open_checks(str(folder))


def test_a_large_file_is_compared_by_its_size_its_ends_and_samples(tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(os.urandom(5_000_000))
    entry = {"bytes": 5_000_000, "sha256": sha256_of(file), "quick": quick_checksum(file)}
    assert not list(changed_files(tmp_path, {"large": entry}))
    for place in (0, 4_999_999, 5_000_000 // 15 + 100):  # a block begins at each fifteenth
        flip(file, place)
        assert list(changed_files(tmp_path, {"large": entry}))
        flip(file, place)
    flip(file, 200_000)  # between two blocks: only the full comparison sees it
    assert not list(changed_files(tmp_path, {"large": entry}))
    assert list(changed_files(tmp_path, {"large": entry}, whole=True))
    file.write_bytes(b"")
    assert "0 bytes, expected 5,000,000" in next(changed_files(tmp_path, {"large": entry}))


def test_a_full_comparison_needs_a_manifest(folder: Path) -> None:
    with pytest.raises(InputError, match="has no manifest to verify it with"):
        open_checks(str(shard(folder)), verify=True)
    with pytest.raises(InputError, match="has no manifest"):
        open_checks([], verify=True)


def _without(key: str) -> Any:
    return lambda manifest, entry: manifest.pop(key)


BROKEN = {
    "no recipe": _without("recipe"),
    "recipe is a list": lambda manifest, entry: manifest.update(recipe=[1]),
    "no files": _without("files"),
    "files is a list": lambda manifest, entry: manifest.update(files=[1]),
    "an entry is null": lambda manifest, entry: manifest["files"].update(x=None),
    "an entry is text": lambda manifest, entry: manifest["files"].update(x="x"),
    "no bytes": lambda manifest, entry: entry.pop("bytes"),
    "no sha256": lambda manifest, entry: entry.pop("sha256"),
    "negative bytes": lambda manifest, entry: entry.update(bytes=-1),
    "rows is text": lambda manifest, entry: entry.update(rows="12"),
    "a long name": lambda manifest, entry: manifest["files"].update({"x" * 5000: entry}),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_manifest_of_another_form_is_one_sentence(folder: Path, case: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    BROKEN[case](manifest, manifest["files"][f"data/{shard(folder).name}"])
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"manifest\.json: \S+: "):
        read_dataset_manifest(folder)
    for command in (["verify"], ["publish", "syn", "--repo", "a/b", "--dry-run"]):
        done = CliRunner().invoke(main, [*command, str(folder)])
        assert done.exit_code == 2 and "manifest.json: " in done.output, done.output
        assert not done.exception or isinstance(done.exception, SystemExit)


@pytest.mark.parametrize("name", ["croissant.json", "build.json", "audit.json"])
@pytest.mark.parametrize("content", ["[]", "[" * 100_000, "1"])
def test_files_beside_the_data_of_another_form_are_one_sentence(
    folder: Path, name: str, content: str
) -> None:
    (folder / name).write_text(content)
    done = CliRunner().invoke(main, ["verify", str(folder)])
    assert done.exit_code == 2 and name in done.output, done.output
    assert isinstance(done.exception, SystemExit)


def test_a_copy_is_compared_with_a_digest_from_another_place(folder: Path) -> None:
    digest = json.loads((folder / "manifest.json").read_text())["sha256"]
    for good in (digest, digest[:16], open_checks(str(folder)).revision):
        assert CliRunner().invoke(main, ["verify", str(folder), "--digest", good]).exit_code == 0
    done = CliRunner().invoke(main, ["verify", str(folder), "--digest", "0" * 64])
    assert done.exit_code == 2 and f"its checksum is {digest}, not {'0' * 64}" in done.output
    done = CliRunner().invoke(main, ["verify", str(folder), "--digest", "latest"])
    assert done.exit_code == 2 and "expected 16 to 64 hexadecimal digits" in done.output


def test_half_of_a_surrogate_pair_has_a_checksum_like_other_text() -> None:
    assert digest_of_manifest({"format": "\ud800"}) != digest_of_manifest({"format": "\ud801"})
