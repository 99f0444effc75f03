"""Images of benchmarks: found by name in folders, archives and Parquet files, read when they are scored."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import datasets
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import png

from croc.checks.decoding import decode
from croc.errors import InputError
from croc.external import images as module
from croc.external.images import ImageStore, StoredImage, cell_image, parquet_rows, rated_pairs
from croc.external.items import Rated


def zipped(file: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file


def test_a_file_is_found_in_the_first_place_that_has_it(tmp_path: Path) -> None:
    for place in ("b", "c"):
        (tmp_path / place / "x").mkdir(parents=True)
        (tmp_path / place / "x" / "1.png").write_bytes(png(1))
    store = ImageStore(tmp_path, ("a", "b", "c"))
    assert store.find("x/1.png") == tmp_path / "b" / "x" / "1.png"
    assert store.find("x/2.png") == tmp_path / "a" / "x" / "2.png"  # where it is missing


def test_an_image_in_an_archive_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    zipped(tmp_path / "images.zip", **{"images/x/1.png": png(1), "images/y/1.png": png(2)})
    found = ImageStore(tmp_path, (".",), ("*.zip",)).find("y/1.png")
    assert isinstance(found, StoredImage) and found.read() == png(2)
    assert found.name.endswith("images.zip/images/y/1.png")
    missing = ImageStore(tmp_path, (".",), ("*.zip",)).find("z/1.png")
    assert missing == tmp_path / "z" / "1.png"


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../b.png", ""])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="leads out of the folder"):
        ImageStore(tmp_path).find(name)


def test_a_damaged_archive_and_a_damaged_member_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK no")
    with pytest.raises(InputError, match=r"a\.zip: cannot be read as a ZIP archive"):
        ImageStore(tmp_path, (".",), ("*.zip",)).find("1.png")
    file = zipped(tmp_path / "a.zip", **{"1.png": png(1)})
    content = bytearray(file.read_bytes())
    at = content.index(b"\x89PNG")
    content[at : at + 4] = b"\0\0\0\0"
    file.write_bytes(content)
    found = ImageStore(tmp_path, (".",), ("*.zip",)).find("1.png")
    assert isinstance(found, StoredImage)
    with pytest.raises(InputError, match=r"a\.zip, 1\.png: cannot be unpacked \(Bad CRC-32"):
        found.read()


def test_a_member_that_is_too_large_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zipped(tmp_path / "a.zip", **{"1.png": bytes(1000)})
    monkeypatch.setattr(module, "MEMBER_BYTES", 999)
    found = ImageStore(tmp_path, (".",), ("*.zip",)).find("1.png")
    assert isinstance(found, StoredImage)
    with pytest.raises(InputError, match="1,000 bytes; an image has at most 999"):
        found.read()


def table(folder: Path, **columns: object) -> None:
    datasets.Dataset.from_dict(columns).to_parquet(folder / "test-00000-of-00001.parquet")


def test_cells_of_parquet_files_are_images_in_their_own_bytes(tmp_path: Path) -> None:
    features = datasets.Features({"one": datasets.Image(), "many": datasets.List(datasets.Image())})
    cell = [{"bytes": png(n), "path": None} for n in range(4)]
    datasets.Dataset.from_dict(
        {"one": [cell[0], None], "many": [[cell[1], cell[2]], [cell[3]]]}, features=features
    ).to_parquet(tmp_path / "a.parquet")
    rows = parquet_rows(tmp_path, ("*.parquet",), ("one", "many"), ("one", "many"))
    assert cell_image(rows, 0, "one").read() == png(0)
    assert cell_image(rows, 0, "many", 1).read() == png(2)
    assert decode(cell_image(rows, 1, "many", 0).read()).size == (12, 12)
    with pytest.raises(InputError, match="the image is missing"):
        cell_image(rows, 1, "one").read()


def test_parquet_files_without_the_columns_are_refused(tmp_path: Path) -> None:
    assert parquet_rows(tmp_path, ("*.parquet",), ("a",), ()) is None
    table(tmp_path, a=["x"])
    with pytest.raises(InputError, match=r"parquet: missing column 'b'; it has a"):
        parquet_rows(tmp_path, ("*.parquet",), ("a", "b"), ())
    with pytest.raises(InputError, match="column 'a': must be an image, not Value"):
        table(tmp_path, a=[1.5])
        parquet_rows(tmp_path, ("*.parquet",), ("a",), ("a",))
    (tmp_path / "test-00000-of-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="cannot be read as a Parquet file"):
        parquet_rows(tmp_path, ("*.parquet",), ("a",), ())


def test_text_in_parquet_files_that_is_not_unicode_is_refused(tmp_path: Path) -> None:
    texts = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff")]
    )
    pq.write_table(pa.table({"a": texts}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="cannot be read as a Parquet file"):
        parquet_rows(tmp_path, ("*.parquet",), ("a",), ())


def test_rated_items_without_an_image_are_counted(tmp_path: Path) -> None:
    content = pl.read_csv(io.StringIO("item_id,system,prompt,image,human\na,s,p,a.png,1\nb,t,p,,2\n"))
    pairs = rated_pairs(Rated.of(content, "x", humans=("human",)), ImageStore(tmp_path))
    (check,) = pairs.checks
    assert (check.check_id, check.concept_id, check.image_model) == ("a", "p", "s")
    assert (check.contrast_prompt, list(check.contrast_images)) == (None, [])
    assert pairs.left_out == ("1 of 2 items have no image or no prompt.",)
