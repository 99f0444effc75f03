"""Staged parts into shards, with rows made up here, so that every case can be written down."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from datasets.exceptions import DatasetNotFoundError
from pictures import claiming_png, png
from PIL import Image
from staged_checks import HALVES, SCHEMA, row, stage, write

from builders import shards
from builders.shards import split_of
from builders.syn import build_staged
from builders.verify import verify
from croc.errors import CrocError, InputError
from croc.storage.parquet import batches, write_parquet
from hub_cards import read_facts


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
    *parts, mini = shards.plan_shards(staged, {"test": 1.0}, shard_bytes=2 * each).parts
    assert [part.name for part in parts] == [
        f"test-0000-counting-count-property_variation-generated-0000{number}-of-00004" for number in range(4)
    ]
    assert mini.name == "mini-test-00000-of-00001"
    found = []
    for part in parts:
        shards.write_shard(part.payload, tmp_path / part.name, staged=staged.folder, schema=SCHEMA)
        found += pq.read_table(tmp_path / part.name).to_pylist()
    assert found == licensed(rows)


def test_a_whole_split_is_sorted_by_category_and_property_whatever_the_order_was(tmp_path):
    rows = [
        row(number, category=category, subset=subset, property=name, image_model=model)
        for number, (category, subset, name, model) in enumerate(
            (category, subset, name, model)
            for model in ("exact@1", "black-forest-labs/FLUX.1-dev@a")
            for name in ("b", None, "a")
            for subset in ("property_variation", "entity_placement")
            for category in (None, "counting", "action")
            for _ in range(2)
        )
    ]
    report = build_staged(stage(tmp_path / "staged", rows).folder, tmp_path / "out", progress=False)
    files = made(report.out)
    for name, found in files.items():
        _, _, category, word, subset, world, *_ = name.split("-")
        for each in found:
            assert (each["category"] or "other", each["property"] or "_") == (category, word)
            assert each["subset"] == subset
            assert each["image_model"].startswith("exact@") == (world == "exact")
    read = load_dataset(str(report.out), split="test").select_columns(["check_id", "category", "property"])
    keys = [(each["category"] or "", each["property"] or "") for each in read]
    assert keys == sorted(keys)
    assert sorted(read["check_id"]) == sorted(each["check_id"] for each in rows)
    # Each configuration is a view over whole files: it has its rows and no others, the two kinds of
    # "other" among them.
    for config, column, value in (
        ("other", "category", None),
        ("action", "category", "action"),
        ("entity_placement", "subset", "entity_placement"),
    ):
        view = load_dataset(str(report.out), config, split="test").select_columns(["check_id"])
        wanted = {each["check_id"] for each in rows if each[column] == value}
        assert set(view["check_id"]) == wanted and len(view) == len(wanted)


def test_a_configuration_has_its_rows_and_no_others_whatever_the_properties_are_called(tmp_path):
    names = [None, "counting", "property_variation", "exact", "other", "Two words", "a-b_c", "count"]
    rows = [
        row(number, property=name, category=category, image_model=model)
        for number, (name, category, model) in enumerate(
            (name, category, model)
            for name in names
            for category in ("counting", None)
            for model in ("exact@1", "black-forest-labs/FLUX.1-dev@a")
        )
    ]
    out = build_staged(stage(tmp_path / "staged", rows).folder, tmp_path / "out", progress=False).out
    assert verify(out) == []
    views = {view.name: view for view in read_facts(out).views}
    expected = {
        "exact": [each for each in rows if each["image_model"] == "exact@1"],
        "property_variation": rows,
        "counting": [each for each in rows if each["category"] == "counting"],
        "other": [each for each in rows if each["category"] is None],
        "property-two_words": [each for each in rows if each["property"] == "Two words"],
        "property-a_b_c": [each for each in rows if each["property"] == "a-b_c"],
        **{f"property-{name}": [each for each in rows if each["property"] == name] for name in names[1:5]},
    }
    for name, wanted in expected.items():
        found = [path for path in (out / "data").iterdir() if path.match(views[name].files["test"])]
        ids = [each for path in found for each in pq.read_table(path)["check_id"].to_pylist()]
        assert sorted(ids) == sorted(each["check_id"] for each in wanted), name
        assert views[name].rows == {"test": len(wanted)}
    some = load_dataset(str(out), "property-counting", split="test")
    assert set(some["property"]) == {"counting"} and len(some) == 4


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
    with pytest.raises(
        InputError, match=r"duplicate check \w+, in parts/0000\.parquet and parts/0004\.parquet"
    ):
        build_staged(staged.folder, tmp_path / "out", progress=False)


def test_a_staged_file_that_changed_is_refused_and_nothing_becomes_visible(tmp_path):
    staged = stage(tmp_path / "staged", [row(number) for number in range(8)])
    write([row(number) for number in range(50, 54)], staged.files()[1])
    with pytest.raises(CrocError, match="its content does not match its recorded checksum"):
        build_staged(staged.folder, tmp_path / "out", progress=False)
    assert not (tmp_path / "out" / "data").exists()
    assert not (tmp_path / "out" / "README.md").exists()


def test_a_cut_off_staged_file_is_named(tmp_path):
    staged = stage(tmp_path / "staged", [row(number) for number in range(8)])
    file = staged.files()[1]
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"0004\.parquet: not a readable staged file"):
        build_staged(staged.folder, tmp_path / "out", progress=False)


@pytest.mark.parametrize("column", ["images", "category"])
def test_a_staged_column_of_another_type_is_named(tmp_path, column):
    staged = stage(tmp_path / "staged", [row(number) for number in range(8)])
    file = staged.files()[1]
    table = pq.read_table(file)
    numbers = pa.array(range(len(table)))
    pq.write_table(table.set_column(table.column_names.index(column), column, numbers), file)
    with pytest.raises(InputError, match=rf"0004\.parquet: the column '{column}' holds int64, not "):
        build_staged(staged.folder, tmp_path / "out", progress=False)


def test_a_staged_manifest_with_another_checksum_is_refused(tmp_path):
    staged = stage(tmp_path / "staged", [row(number) for number in range(8)])
    manifest = staged.folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace(staged.parts[1]["sha256"], "0" * 64))
    with pytest.raises(InputError, match="its checksum does not match its content"):
        build_staged(staged.folder, tmp_path / "out", progress=False)


def test_staged_parts_without_the_fast_checksum_are_held_to_the_slow_one(tmp_path):
    staged = stage(tmp_path / "staged", [row(number) for number in range(8)])
    older = [{key: value for key, value in part.items() if key != "xxh128"} for part in staged.parts]
    payload = shards.plan_shards(replace(staged, parts=older), {"test": 1.0}).parts[0].payload
    assert payload["slices"][0][1] == staged.parts[0]["sha256"]
    counts = shards.write_shard(payload, tmp_path / "x", staged=staged.folder, schema=SCHEMA)
    assert counts["rows"] == 8
    other = [row(number + 50) for number in range(4)]
    write(other, staged.files()[0])
    with pytest.raises(InputError, match="its content does not match its recorded checksum"):
        shards.write_shard(payload, tmp_path / "x", staged=staged.folder, schema=SCHEMA)


def test_a_row_group_ends_where_the_property_changes_so_that_a_filter_reads_little_else(tmp_path):
    table = pa.Table.from_pylist([row(number, property="ab"[number // 10]) for number in range(20)], SCHEMA)
    tables = [table.slice(0, 10), table.slice(10)]
    for size, groups in ((int(table.nbytes), 2), (100 * table.nbytes, 1)):
        write_parquet(tables, tmp_path / "x", SCHEMA, group_bytes=size, sorted_by="property")
        assert pq.ParquetFile(tmp_path / "x").num_row_groups == groups


def test_a_half_staged_folder_is_refused(tmp_path):
    staged = stage(tmp_path / "staged", [row(number) for number in range(8)])
    (staged.folder / "manifest.json").unlink()
    with pytest.raises(InputError, match="unfinished"):
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


def test_a_configuration_gives_the_rows_of_the_files_in_their_order(tmp_path):
    rows = [row(number, category="action" if number % 3 else "counting") for number in range(12)]
    staged = stage(tmp_path / "staged", rows)
    report = build_staged(staged.folder, tmp_path / "out", progress=False)
    expected = [each["check_id"] for part in made(report.out).values() for each in part]
    for config, wanted in (("all", expected), ("action", [i for i in expected if i in _ids(rows, "action")])):
        assert load_dataset(str(report.out), config, split="test")["check_id"] == wanted


def _ids(rows, category):
    return {each["check_id"] for each in rows if each["category"] == category}


# ---- What is left out ----


def build(tmp_path, rows, **options):
    return build_staged(stage(tmp_path / "staged", rows).folder, tmp_path / "out", progress=False, **options)


def pictures(*numbers):
    return [{"bytes": png(number) if number is not None else b"", "path": None} for number in numbers]


def test_empty_repeated_and_contradicting_images_are_cut_with_what_stands_beside_them(tmp_path):
    changes = {"images": pictures(1, None, 2, 1), "seeds": [10, 11, 12, 13], "images_valid": [True] * 4}
    rows = [
        row(0),
        row(100, **changes, contrast_images=pictures(3, 2, 4), contrast_seeds=[20, 21, 22]),
        row(7),
    ]
    report = build(tmp_path, rows)
    (found,) = made(report.out).values()
    assert [each["check_id"] for each in found] == [each["check_id"] for each in rows]
    assert found[1]["images"] == pictures(1)
    assert (found[1]["seeds"], found[1]["images_valid"]) == ([10], [True])
    assert found[1]["contrast_images"] == pictures(3, 4)
    assert found[1]["contrast_seeds"] == [20, 22]
    assert report.images_dropped == {
        "empty image": 1,
        "image on both sides": 2,
        "image that its side has already": 1,
    }
    assert report.images == 2 + 3 + 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"images": []}, "no image left on a side"),
        ({"contrast_images": None}, "no image left on a side"),
        ({"contrast_images": pictures(None, None)}, "no image left on a side"),
        ({"prompt": "  "}, "no prompt, or no contrast prompt"),
        ({"contrast_prompt": None}, "no prompt, or no contrast prompt"),
    ],
)
def test_a_failed_generation_is_dropped_with_its_reason_and_the_card_says_so(tmp_path, changes, reason):
    report = build(tmp_path, [row(0), row(1, **changes), row(2)])
    assert report.checks == 2
    assert report.dropped == {reason: 1}
    assert f"1 check dropped: {reason}" in (report.out / "README.md").read_text()


def test_a_build_of_nothing_but_failures_says_why(tmp_path):
    with pytest.raises(InputError, match="no check could be built \\(no image left on a side\\)"):
        build(tmp_path, [row(0, images=[]), row(1, images=[])])


def test_of_checks_with_the_same_captions_and_images_one_stays(tmp_path):
    first, other = row(0), row(1)
    swapped = {
        "prompt": first["contrast_prompt"],
        "contrast_prompt": first["prompt"].upper(),
        "images": first["contrast_images"],
        "contrast_images": first["images"],
    }
    report = build(tmp_path, [first, other, row(2, **swapped)])
    assert report.checks == 2
    assert report.dropped == {"check with the captions and images of another": 1}


@pytest.mark.parametrize(
    "broken",
    [b"<html>404</html>", png(1)[:-20], b"\xff\xd8\xff\xe0" + b"0" * 90, b"RIFF\xff\xff\0\0WEBPVP8 "],
    ids=["a page", "a cut PNG", "a cut JPEG", "a cut WebP"],
)
def test_an_image_that_is_none_is_named_with_file_check_and_place(tmp_path, broken):
    rows = [row(number) for number in range(6)]
    rows[5]["contrast_images"] = [*pictures(77), {"bytes": broken, "path": None}]
    message = rf"0004\.parquet: check {rows[5]['check_id']}, contrast_images\[1\] is not a whole image"
    with pytest.raises(InputError, match=message):
        build(tmp_path, rows)
    assert not (tmp_path / "out" / "data").exists()


def test_an_image_above_the_limit_is_refused_before_it_is_released(tmp_path):
    rows = [row(number) for number in range(6)]
    rows[5]["images"] = [{"bytes": claiming_png(8_001, 8_000), "path": None}]
    message = rf"check {rows[5]['check_id']}, images\[0\] has more than 64,000,000 pixels"
    with pytest.raises(InputError, match=message):
        build(tmp_path, rows)
    assert not (tmp_path / "out" / "data").exists()


def test_nearly_equal_images_are_found_when_asked_for(tmp_path):
    pytest.importorskip("imagehash")
    concepts = {name: [c for c in map(str, range(80)) if split_of(c, HALVES) == name] for name in HALVES}
    larger = {"bytes": resized(png(500)), "path": None}
    rows = [
        row(0, concept_id=concepts["test"][0], images=pictures(500)),
        row(1, concept_id=concepts["train"][0], images=[larger]),
        row(2, concept_id=concepts["train"][1]),
        row(
            3,
            concept_id=concepts["train"][2],
            images=[*pictures(600, 601), {"bytes": resized(png(600)), "path": None}],
        ),
    ]
    plain = build_staged(
        stage(tmp_path / "staged", rows).folder, tmp_path / "plain", splits=HALVES, progress=False
    )
    assert plain.checks == 4
    report = build_staged(tmp_path / "staged", tmp_path / "near", splits=HALVES, near=6, progress=False)
    assert report.dropped == {"image nearly the same as one in another split": 1}
    assert report.images_dropped == {"image nearly the same as another of its side": 1}
    assert report.splits == {"test": 1, "train": 2}


def resized(data: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).resize((48, 48), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


# ---- Views ----


def test_the_sample_is_a_copy_with_as_many_checks_of_each_property(tmp_path):
    rows = [row(number, property="many" if number >= 4 else "few") for number in range(60)]
    staged = stage(tmp_path / "staged", rows)
    *parts, mini = shards.plan_shards(staged, {"test": 1.0}, mini=10).parts
    shards.write_shard(mini.payload, tmp_path / mini.name, staged=staged.folder, schema=SCHEMA)
    sample = pq.read_table(tmp_path / mini.name).to_pylist()
    assert sorted(each["property"] for each in sample) == ["few"] * 4 + ["many"] * 6
    assert all(each in licensed(rows) for each in sample)
    assert sum(stop - start for part in parts for _, _, start, stop, _ in part.payload["slices"]) == 60
    report = build_staged(staged.folder, tmp_path / "out", progress=False)
    assert report.checks == 60 and report.images == 120, "copies are not counted"
    assert len(load_dataset(str(report.out), "mini", split="test")) == shards.MINI_LEAST
    assert len(load_dataset(str(report.out), split="test")) == 60


def test_what_the_exact_world_drew_is_a_view_of_its_own(tmp_path):
    models = ["exact@1.0", "exact@1.0+noise=0.1", "black-forest-labs/FLUX.1-dev@abc", None]
    rows = [row(number, image_model=models[number % 4]) for number in range(8)]
    out = build(tmp_path, rows).out
    exact = load_dataset(str(out), "exact", split="test")
    assert set(exact["image_model"]) == {"exact@1.0"}
    every = load_dataset(str(out), split="test")
    licences = dict(zip(every["image_model"], every["license"], strict=True))
    assert licences == {
        "exact@1.0": "apache-2.0",
        "exact@1.0+noise=0.1": "apache-2.0",
        "black-forest-labs/FLUX.1-dev@abc": "flux-1-dev-non-commercial-license",
        None: "unknown",
    }


def test_a_filter_works_without_streaming_too(tmp_path):
    rows = [row(number, property=f"p{number % 3}") for number in range(9)]
    out = build(tmp_path, rows).out
    assert len(load_dataset(str(out), split="test", filters=[("property", "==", "p1")])) == 3


# ---- Files ----


def test_a_row_group_ends_when_it_is_large_so_that_a_viewer_can_show_one_row(tmp_path):
    rows = [row(number, images=pictures(number, number + 500)) for number in range(40)]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    each = table.nbytes / len(rows)
    tables = [table.slice(at, 7) for at in range(0, 40, 7)]
    write_parquet(tables, tmp_path / "x.parquet", SCHEMA, group_bytes=int(each * 10))
    stored = pq.ParquetFile(tmp_path / "x.parquet")
    sizes = [stored.metadata.row_group(i).num_rows for i in range(stored.num_row_groups)]
    assert max(sizes) <= 12 and sum(sizes) == 40 and len(sizes) <= 6
    assert stored.read().to_pylist() == rows


@pytest.mark.parametrize(("start", "stop"), [(0, None), (0, 250), (95, 105), (130, 131), (249, 250), (3, 3)])
def test_a_slice_of_a_file_is_read_as_it_is(tmp_path, start, stop):
    rows = [row(number) for number in range(250)]
    write_parquet([pa.Table.from_pylist(rows, schema=SCHEMA)], tmp_path / "x.parquet", SCHEMA)
    read = [
        each for table in batches(tmp_path / "x.parquet", None, start, stop) for each in table.to_pylist()
    ]
    assert read == rows[start:stop]


def test_slices_of_a_staged_file_come_in_their_order_and_the_file_is_checked(tmp_path, monkeypatch):
    rows = [row(number) for number in range(230)]
    staged = stage(tmp_path / "staged", rows, size=230)
    (entry,) = staged.parts
    spans = [(20, 30), (99, 101), (150, 151), (210, 230), (0, 5), (5, 130)]
    slices = [[entry["file"], entry["sha256"], *span, {}] for span in spans]
    read = [each for table in shards.staged_tables(staged.folder, slices) for each in table.to_pylist()]
    assert read == [each for start, stop in spans for each in rows[start:stop]]
    for each in slices:
        each[1] = "0" * 64
    with pytest.raises(InputError, match="does not match its recorded checksum"):
        list(shards.staged_tables(staged.folder, slices))


def test_every_file_and_the_card_carry_the_canary(tmp_path):
    out = build(tmp_path, [row(0), row(1, category="action")]).out
    for file in (out / "data").iterdir():
        assert pq.ParquetFile(file).schema_arrow.metadata[b"canary"] == shards.CANARY.encode()
    assert shards.CANARY in (out / "README.md").read_text()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of one megabyte, and a function that makes it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here (it takes root)")
    enlarge = ["mount", "-o", "remount,size=64m", str(folder)]
    try:
        yield folder, lambda: subprocess.run(enlarge, check=True)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _croc_build(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "croc", "build", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["staged", "exact"])
def test_a_disk_that_fills_up_is_one_sentence_and_the_build_goes_on_to_the_same_bytes(
    tmp_path, small_disk, source
):
    disk, enlarge = small_disk
    if source == "staged":
        # 2.4 MB: the disk is full in the middle of the first shard.
        rows = [
            row(
                number,
                images=[{"bytes": png(9000 + number, 100), "path": None}],
                contrast_images=[{"bytes": png(8000 + number, 100), "path": None}],
            )
            for number in range(40)
        ]
        arguments = ["staged", "syn", stage(tmp_path / "staged", rows).folder]
    else:
        # Full while images are drawn: there are more bytes in them than the disk has.
        arguments = ["syn", "--checks", "30", "--images", "4", "--size", "256"]
    calm = _croc_build(*arguments, "--out", tmp_path / "calm")
    assert calm.returncode == 0, calm.stderr
    full = _croc_build(*arguments, "--out", disk / "out")
    assert full.returncode == 2, full.stderr
    assert full.stderr.startswith("croc: ") and full.stderr.count("\n") == 1
    assert "No space left" in full.stderr
    with pytest.raises((FileNotFoundError, DatasetNotFoundError, ValueError)):
        load_dataset(str(disk / "out"), cache_dir=str(tmp_path / "cache"))
    enlarge()
    again = _croc_build(*arguments, "--out", disk / "out")
    assert again.returncode == 0, again.stderr
    assert (disk / "out" / "manifest.json").read_bytes() == (tmp_path / "calm" / "manifest.json").read_bytes()
    assert verify(disk / "out") == []
