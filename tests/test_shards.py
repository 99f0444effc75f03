"""Staged parts into shards, with rows made up here, so that every case can be written down."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from builders import shards
from builders.parquet import write_parquet
from builders.syn import Syn, build_staged
from croc.errors import CrocError, InputError
from croc.parts import Part, run
from croc.schema import stable_hash
from croc_syn.images import staged_features, write_rows

SCHEMA = staged_features().arrow_schema
HALVES = {"test": 0.5, "train": 0.5}


def png(number: int, size: int = 12) -> bytes:
    """A small picture of noise; another number, another picture."""
    pixels = np.random.default_rng(number + 10**6).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def row(number: int, **changes):
    base = {
        "check_id": stable_hash("row", number, length=20),
        "concept_id": f"concept {number}",
        "subset": "property_variation",
        "category": "counting",
        "property": "count",
        "property_path": "object/count",
        "prompt": f"{number} dogs",
        "contrast_prompt": f"{number + 1000} dogs",
        "images": [{"bytes": png(number), "path": None}],
        "contrast_images": [{"bytes": png(-number - 1), "path": None}],
    }
    return {name: {**base, **changes}.get(name) for name in staged_features()}


def write(payload, path):
    table = pa.Table.from_pylist(payload, schema=SCHEMA)
    return {"checks": write_rows(iter([table]), path, SCHEMA)}


def write_from(rows):
    """Image bytes are no JSON, so the payload is a range and the rows come along."""
    return lambda payload, path: write(rows[payload[0] : payload[1]], path)


def stage(folder: Path, rows, size: int = 4):
    parts = [Part(f"{at:04d}", [at, at + size]) for at in range(0, len(rows), size)]
    return run(parts, write_from(rows), folder, suffix=".parquet", fingerprint={}, progress=False)


def licensed(rows):
    """What a build adds to a row: the licence that follows from its image model."""
    return [{**each, "license": each["license"] or "unknown"} for each in rows]


def made(folder: Path) -> dict[str, list[dict]]:
    return {path.name: pq.read_table(path).to_pylist() for path in sorted((folder / "data").iterdir())}


def test_every_row_arrives_once_with_its_image_bytes_untouched(tmp_path):
    rows = [row(number) for number in range(30)]
    report = build_staged(stage(tmp_path / "staged", rows).folder, tmp_path / "out", progress=False)
    (found,) = made(report.out).values()
    assert found == licensed(rows)
    assert (report.checks, report.images) == (30, 60)


def test_a_shard_is_closed_when_it_is_full_and_the_order_goes_on(tmp_path):
    rows = [row(number) for number in range(30)]
    staged = stage(tmp_path / "staged", rows)
    each = staged.parts[0]["bytes"]
    parts = shards.plan_shards(staged, {"test": 1.0}, shard_bytes=2 * each).parts
    assert [part.name for part in parts] == [
        f"test-counting-property_variation-generated-mini-0000{number}-of-00004" for number in range(4)
    ]
    found = []
    for part in parts:
        shards.write_shard(part.payload, tmp_path / part.name, staged=staged.folder, schema=SCHEMA)
        found += pq.read_table(tmp_path / part.name).to_pylist()
    assert found == licensed(rows)


def test_rows_come_out_by_category_subset_and_property_whatever_their_order_was(tmp_path):
    rows = [
        row(number, category=category, subset=subset, property_path=path)
        for number, (category, subset, path) in enumerate(
            (category, subset, path)
            for path in ("b", "a")
            for subset in ("property_variation", "entity_placement")
            for category in (None, "counting", "action")
            for _ in range(3)
        )
    ]
    report = build_staged(stage(tmp_path / "staged", rows).folder, tmp_path / "out", progress=False)
    files = made(report.out)
    assert [name.rsplit("-", 3)[0] for name in files] == [
        f"test-{category}-{subset}-generated-mini"
        for category in ("action", "counting", "other")
        for subset in ("entity_placement", "property_variation")
    ]
    for found in files.values():
        assert [each["property_path"] for each in found] == ["a"] * 3 + ["b"] * 3
    assert sum(map(len, files.values())) == len(rows)


def test_a_split_depends_on_the_concept_alone_and_has_its_share():
    ratios = {"test": 0.2, "validation": 0.1, "train": 0.7}
    splits = [shards.split_of(f"concept {number}", ratios) for number in range(5000)]
    # Binomial with n = 5000: five standard deviations are 0.028 at most.
    for name, share in ratios.items():
        assert abs(splits.count(name) / 5000 - share) < 0.033
    # With a larger test split, what was in it stays.
    wider = [shards.split_of(f"concept {number}", {"test": 0.3, "train": 0.7}) for number in range(5000)]
    assert all(after == "test" for before, after in zip(splits, wider, strict=True) if before == "test")


def test_splits_share_no_concept_and_train_no_caption_or_image_with_the_others(tmp_path):
    concepts = {
        name: [c for c in map(str, range(80)) if shards.split_of(c, HALVES) == name] for name in HALVES
    }
    picture = [{"bytes": png(999), "path": None}]
    rows = [
        row(0, concept_id=concepts["test"][0], prompt="A  red Dog", images=picture),
        row(1, concept_id=concepts["train"][0], contrast_prompt="a red dog"),
        row(2, concept_id=concepts["train"][1], contrast_images=picture),
        row(3, concept_id=concepts["train"][2]),
        row(4, concept_id=concepts["test"][1]),
    ]
    staged = stage(tmp_path / "staged", rows, size=2)
    report = build_staged(staged.folder, tmp_path / "out", splits=HALVES, progress=False)
    found = {row["check_id"]: name.split("-")[0] for name, part in made(report.out).items() for row in part}
    assert found == {rows[0]["check_id"]: "test", rows[4]["check_id"]: "test", rows[3]["check_id"]: "train"}
    assert report.dropped == {"caption or image also in another split": 2}
    assert report.splits == {"test": 2, "train": 1}


def test_two_rows_that_claim_one_check_are_refused(tmp_path):
    rows = [row(number) for number in range(8)]
    rows[6]["check_id"] = rows[1]["check_id"]
    staged = stage(tmp_path / "staged", rows)
    with pytest.raises(InputError, match=r"is there twice, in parts/0000\.parquet and parts/0004\.parquet"):
        build_staged(staged.folder, tmp_path / "out", progress=False)


def test_a_staged_file_that_changed_is_refused_and_nothing_becomes_visible(tmp_path):
    staged = stage(tmp_path / "staged", [row(number) for number in range(8)])
    write([row(number) for number in range(50, 54)], staged.files()[1])
    with pytest.raises(CrocError, match="its content is not what its record says"):
        build_staged(staged.folder, tmp_path / "out", progress=False)
    assert not (tmp_path / "out" / "data").exists()
    assert not (tmp_path / "out" / "README.md").exists()


def test_a_cut_off_staged_file_is_named(tmp_path):
    staged = stage(tmp_path / "staged", [row(number) for number in range(8)])
    file = staged.files()[1]
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"0004\.parquet: not a readable staged file"):
        build_staged(staged.folder, tmp_path / "out", progress=False)


def test_a_half_staged_folder_is_refused(tmp_path):
    staged = stage(tmp_path / "staged", [row(number) for number in range(8)])
    (staged.folder / "manifest.json").unlink()
    with pytest.raises(InputError, match="half-built"):
        build_staged(staged.folder, tmp_path / "out", progress=False)


def test_captions_that_occur_twice_are_counted_whichever_is_the_original(tmp_path):
    rows = [row(0), row(1), row(2, prompt="1000  DOGS", contrast_prompt="0 dogs")]
    report = build_staged(stage(tmp_path / "staged", rows).folder, tmp_path / "out", progress=False)
    assert report.duplicates == 1


def test_row_groups_are_small_and_have_statistics_and_a_page_index(tmp_path):
    tables = (
        pa.Table.from_pylist([row(at + i) for i in range(30)], schema=SCHEMA) for at in range(0, 240, 30)
    )
    assert write_parquet(tables, tmp_path / "x.parquet", SCHEMA) == 240
    metadata = pq.ParquetFile(tmp_path / "x.parquet").metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [100, 100, 40]
    columns = {metadata.row_group(0).column(i).path_in_schema: i for i in range(metadata.num_columns)}
    chunk = metadata.row_group(0).column(columns["property"])
    assert chunk.has_column_index and chunk.has_offset_index
    assert (chunk.statistics.min, chunk.statistics.max) == ("count", "count")
    assert metadata.row_group(0).column(columns["images.list.element.bytes"]).compression == "UNCOMPRESSED"


def test_the_builder_gives_the_rows_of_the_finished_folder(tmp_path):
    rows = [row(number, category="action" if number % 3 else "counting") for number in range(12)]
    staged = stage(tmp_path / "staged", rows)
    report = build_staged(staged.folder, tmp_path / "out", progress=False)
    expected = [each["check_id"] for part in made(report.out).values() for each in part]
    for config, wanted in (("all", expected), ("action", [i for i in expected if i in _ids(rows, "action")])):
        builder = Syn(config_name=config, data_dir=str(staged.folder), cache_dir=str(tmp_path / "cache"))
        builder.download_and_prepare()
        assert builder.as_dataset(split="test").with_format("arrow")[:]["check_id"].to_pylist() == wanted


def _ids(rows, category):
    return {each["check_id"] for each in rows if each["category"] == category}
