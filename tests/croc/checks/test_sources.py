"""Checks are the same, in the same order, wherever they come from; what is no dataset is refused."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from croc.checks.decoding import to_bytes
from croc.checks.schema import ContrastCheck, check_features
from croc.checks.sources import open_checks
from croc.errors import InputError
from croc.jobs import runner
from croc.jobs.parts import Part


def png(*colour: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 3), colour).save(buffer, "PNG")
    return buffer.getvalue()


def some_checks(n: int = 7, subset: str | None = "property_variation") -> list[ContrastCheck]:
    return [
        ContrastCheck(
            check_id=f"c{i}",
            concept_id=f"concept {i // 2}",
            prompt=f"a red ball {i}",
            contrast_prompt=f"a blue ball {i}",
            images=[{"bytes": png(255, i, k), "path": None} for k in range(2)],
            contrast_images=[{"bytes": png(i, k, 255), "path": None} for k in range(3)],
            subset=subset,
            category=None if subset else "counting",
            property="colour",
        )
        for i in range(n)
    ]


def as_dataset(n: int = 7) -> datasets.Dataset:
    return datasets.Dataset.from_list([check.row() for check in some_checks(n)], features=check_features())


def everything(checks: Any) -> list[tuple[Any, ...]]:
    rows = [
        row for part in checks.plan(3) for row in checks.read(part.payload["start"], part.payload["stop"])
    ]
    return [
        (
            row["check_id"],
            row["concept_id"],
            row["prompt"],
            row["contrast_prompt"],
            row.get("property"),
            [to_bytes(image) for image in row["images"]],
            [to_bytes(image) for image in row["contrast_images"]],
        )
        for row in rows
    ]


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("sources")
    whole = as_dataset()
    (folder / "parquet").mkdir()
    whole.select(range(4)).to_parquet(folder / "parquet" / "test-00000-of-00002.parquet")
    # Small row groups: a slice begins inside one and ends in another.
    pq.write_table(
        whole.select(range(4, 7)).with_format("arrow")[:].replace_schema_metadata(None),
        folder / "parquet" / "test-00001-of-00002.parquet",
        row_group_size=2,
    )
    whole.to_parquet(folder / "single.parquet")
    whole.save_to_disk(str(folder / "saved"))

    def shard(payload: Any, path: Path) -> dict[str, int]:
        whole.select(range(*payload)).to_parquet(path)
        return {"rows": payload[1] - payload[0]}

    planned = [Part("a", [0, 5]), Part("b", [5, 7])]
    runner.run(planned, shard, folder / "built", suffix=".parquet", fingerprint={}, progress=False)
    return {
        "folder": folder / "parquet",
        "file": str(folder / "single.parquet"),
        "saved": folder / "saved",
        "built": folder / "built",
        "dataset": whole,
        "splits": datasets.DatasetDict({"test": whole}),
        "selected": as_dataset(12).select(range(7)),
        "stream": whole.to_iterable_dataset(num_shards=2),
        "generated": datasets.IterableDataset.from_generator(
            lambda: (check.row() for check in some_checks()), features=check_features()
        ),
        "rows": [check.row() for check in some_checks()],
        "checks": some_checks(),
    }


KINDS = (
    "folder",
    "file",
    "saved",
    "built",
    "dataset",
    "splits",
    "selected",
    "stream",
    "generated",
    "rows",
    "checks",
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_gives_the_same_checks(kinds: dict[str, Any], kind: str) -> None:
    opened = open_checks(kinds[kind])
    assert len(opened.texts) == 7
    assert opened.protocol == "syn"
    assert everything(opened) == everything(open_checks(some_checks()))


@pytest.mark.parametrize("kind", KINDS)
def test_slices_can_be_read_in_any_order(kinds: dict[str, Any], kind: str) -> None:
    opened = open_checks(kinds[kind])
    last = opened.plan(3)[-1].payload
    ids = [row["check_id"] for row in opened.read(last["start"], last["stop"])]
    assert ids[-1] == "c6"
    assert [row["check_id"] for row in opened.read(1, 3)] == ["c1", "c2"]
    assert [row["check_id"] for row in opened.read(3, 4)] == ["c3"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_revision_is_stable(kinds: dict[str, Any], kind: str) -> None:
    assert open_checks(kinds[kind]).revision == open_checks(kinds[kind]).revision


def test_a_slice_may_reach_over_short_files(tmp_path: Path) -> None:
    whole = as_dataset(5)
    (tmp_path / "data").mkdir()
    for number, rows in enumerate(([0], [1, 2], [3], [4])):
        whole.select(rows).to_parquet(tmp_path / "data" / f"test-{number}.parquet")
    checks = open_checks(tmp_path)
    assert [row["check_id"] for row in checks.read(0, 4)] == ["c0", "c1", "c2", "c3"]
    assert [row["check_id"] for row in checks.read(2, 5)] == ["c2", "c3", "c4"]


def test_the_revision_follows_the_image_bytes_and_texts(tmp_path: Path) -> None:
    def revision(change: Any) -> set[str]:
        rows = [check.row() for check in some_checks(2)]
        change(rows)
        datasets.Dataset.from_list(rows, features=check_features()).to_parquet(tmp_path / "x.parquet")
        return {open_checks(rows).revision, open_checks(tmp_path / "x.parquet").revision}

    same = revision(lambda rows: None)
    assert revision(lambda rows: None) == same
    assert not same & revision(lambda rows: rows[1].update(prompt="a red ball!"))
    assert not same & revision(lambda rows: rows[0]["images"].__setitem__(0, {"bytes": png(1), "path": None}))


def test_a_changed_text_changes_its_part_alone() -> None:
    checks = some_checks()
    before = open_checks(checks).plan(2)
    rows = [check.row() for check in checks]
    rows[3]["contrast_prompt"] = "a green ball"
    after = open_checks(rows).plan(2)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True, True]


def test_a_stream_is_pinned_by_its_texts_and_says_so(kinds: dict[str, Any]) -> None:
    opened = open_checks(kinds["stream"])
    assert opened.revision.startswith("texts:")
    assert not opened.pinned
    assert open_checks(kinds["stream"], revision="v1").pinned


def test_a_folder_that_was_built_here_is_pinned_by_its_manifest(kinds: dict[str, Any]) -> None:
    assert (
        open_checks(kinds["built"]).revision == f"manifest:{runner.read_manifest(kinds['built']).sha256[:16]}"
    )


def test_a_half_built_folder_is_refused(tmp_path: Path) -> None:
    def shard(payload: Any, path: Path) -> dict[str, int]:
        if payload == 1:
            raise ValueError("no")
        as_dataset().to_parquet(path)
        return {}

    planned = [Part("a", 0), Part("b", 1)]
    with pytest.raises(runner.PartsFailed):
        runner.run(planned, shard, tmp_path, suffix=".parquet", fingerprint={}, progress=False)
    with pytest.raises(InputError, match="unfinished"):
        open_checks(tmp_path)


def test_a_folder_with_configurations_and_splits(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for split, n in (("train", 2), ("validation", 3)):
            as_dataset(n).to_parquet(tmp_path / name / f"{split}.parquet")
    configs = "\n".join(
        f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/train.parquet\n"
        f"  - split: validation\n    path: {name}/validation.parquet"
        for name in ("a", "b")
    )
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{configs}\n---\n")
    opened = open_checks(tmp_path, config="b", split="validation")
    assert (len(opened.texts), opened.config, opened.split) == (3, "b", "validation")
    some = open_checks(tmp_path, config="b", split="validation", max_checks=2)
    assert (some.revision, some.config) == (f"{opened.revision}[2 of 3]", "b")
    with pytest.raises(InputError, match="train, validation; choose one"):
        open_checks(tmp_path, config="b")
    with pytest.raises(InputError, match="no split 'tset'; it has train, validation"):
        open_checks(tmp_path, config="b", split="tset")
    with pytest.raises(InputError, match="Config name is missing"):
        open_checks(tmp_path)


def test_protocols_are_told_apart_and_a_mixture_is_not_guessed() -> None:
    assert open_checks(some_checks(2, subset=None)).protocol == "hum"
    mixed = [*(check.row() for check in some_checks(1)), *(check.row() for check in some_checks(2, None))][
        ::2
    ]
    with pytest.raises(InputError, match="1 of 2 checks have a subset"):
        _ = open_checks([dict(row, check_id=str(i)) for i, row in enumerate(mixed)]).protocol


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"check_id": "a", "prompt": "x"}], "row 1: missing column concept_id, contrast_prompt, images"),
        ([check.row() for check in some_checks(1)] * 2, "check_id 'c0' is in row 1 and in row 2"),
        ([{**some_checks(1)[0].row(), "check_id": None}], "row 1 has no check_id"),
        ([{**some_checks(1)[0].row(), "prompt": 7}], "row 1, column 'prompt': .*string, not 7"),
        ([{**some_checks(1)[0].row(), "images": 7}], "row 1, column 'images': .*list of images, not 7"),
        ([{**some_checks(1)[0].row(), "check_id": True}], "'check_id': .*string or an integer, not True"),
        ([{**some_checks(1)[0].row(), "check_id": 1.0}], "'check_id': .*string or an integer, not 1.0"),
        (
            [{**some_checks(1)[0].row(), "check_id": number} for number in (1, "1")],
            "check_id '1' is in row 1 and in row 2",
        ),
        ([{**some_checks(1)[0].row(), "topic": "a\ud83d"}], r"'topic': .*surrogate pair \(\\ud83d\)"),
        ([{**some_checks(1)[0].row(), "topic": b"x"}], "row 1, column 'topic': "),
        ({"check_id": ["a"]}, "not dict"),
        (7, "not int"),
    ],
)
def test_rows_that_are_no_checks_are_refused(rows: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        open_checks(rows)


def test_files_that_are_no_checks_are_refused(tmp_path: Path) -> None:
    table = as_dataset(2).with_format("arrow")[:].replace_schema_metadata(None)
    cases = {
        "lacks.parquet": (table.drop_columns(["images", "prompt"]), "missing column prompt, images"),
        "kind.parquet": (
            table.set_column(table.column_names.index("images"), "images", pa.array(["a", "b"])),
            "column 'images' must be a list of images",
        ),
        "number.parquet": (
            table.set_column(table.column_names.index("prompt"), "prompt", pa.array([1, 2])),
            "column 'prompt' must be string, not int64",
        ),
    }
    for name, (changed, says) in cases.items():
        pq.write_table(changed, tmp_path / name)
        with pytest.raises(InputError, match=says):
            open_checks(tmp_path / name)
    (tmp_path / "empty.parquet").write_bytes(b"")
    whole = io.BytesIO()
    pq.write_table(table, whole)
    (tmp_path / "cut.parquet").write_bytes(whole.getvalue()[:-50])
    (tmp_path / "list.csv").write_text("check_id\na\n")
    for name in ("empty.parquet", "cut.parquet"):
        with pytest.raises(InputError, match=f"{name}: cannot be read as a Parquet file"):
            open_checks(tmp_path / name)
    with pytest.raises(InputError, match="expected a Parquet file"):
        open_checks(tmp_path / "list.csv")
    with pytest.raises(InputError, match="neither an existing folder nor a Hub id"):
        open_checks(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="the dataset cannot be loaded"):
        open_checks("croc/there-is-no-such-dataset")
    (tmp_path / "hollow").mkdir()
    with pytest.raises(InputError, match="the dataset cannot be loaded"):
        open_checks(tmp_path / "hollow")


def test_opened_checks_are_taken_as_they_are_and_rows_of_them_can_be_selected() -> None:
    opened = open_checks(some_checks(5))
    assert open_checks(opened) is opened
    picked = opened.select([3, 1])
    assert [row["check_id"] for row in picked.read(0, 2)] == [opened.texts[3][0], opened.texts[1][0]]
    assert picked.revision == f"{opened.revision}[2 of 5]"
    assert opened.select(range(5)) is opened


def test_some_checks_are_spread_over_all_of_them_and_named_so() -> None:
    whole, some = open_checks(as_dataset(7)), open_checks(as_dataset(7), max_checks=3)
    assert [row[0] for row in everything(some)] == ["c0", "c2", "c4"]
    assert everything(some) == [everything(whole)[i] for i in (0, 2, 4)]
    assert some.revision.startswith(whole.revision) and some.revision != whole.revision
    assert open_checks(as_dataset(7), max_checks=9).revision == whole.revision
    with pytest.raises(InputError, match="max_checks"):
        open_checks(as_dataset(7), max_checks=0)


def test_some_checks_of_a_stream_are_its_first_and_the_rest_is_not_read() -> None:
    def endless() -> Any:
        i = 0
        while True:
            assert i < 50, "the stream was read on"
            yield some_checks(i + 1)[i].row()
            i += 1

    stream = datasets.IterableDataset.from_generator(endless, features=check_features())
    assert [row[0] for row in everything(open_checks(stream, max_checks=3))] == ["c0", "c1", "c2"]


def test_a_dataset_whose_columns_are_of_other_types_is_refused() -> None:
    numbers = as_dataset(2).remove_columns("images").add_column("images", [1, 2])
    with pytest.raises(InputError, match="column 'images' must be a list of images, not"):
        open_checks(numbers)
    with pytest.raises(InputError, match="column 'property' must be string, not int64"):
        open_checks(as_dataset(2).remove_columns("property").add_column("property", [1, 2]))
    with pytest.raises(InputError, match="column 'check_id' must be string or integer, not double"):
        open_checks(as_dataset(2).remove_columns("check_id").add_column("check_id", [1.0, 2.0]))


def test_rows_of_a_stream_without_features_are_validated() -> None:
    rows = [check.row() for check in some_checks(2)]
    rows[1]["prompt"] = ["a", "list"]  # type: ignore[assignment]
    stream = datasets.IterableDataset.from_generator(lambda: iter(rows))
    assert stream.features is None
    with pytest.raises(InputError, match=r"row 2, column 'prompt': .*string"):
        open_checks(stream)


def test_images_may_be_absent_or_paths(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(1, 2, 3))
    row = some_checks(1)[0].row() | {"images": None, "contrast_images": [str(tmp_path / "a.png")]}
    assert [len(read["images"] or ()) for read in open_checks([row]).read(0, 1)] == [0]
    paths = as_dataset(1).remove_columns("images").add_column("images", [[str(tmp_path / "a.png")]])
    assert [to_bytes(image) for image in open_checks(paths).read(0, 1)[0]["images"]] == [png(1, 2, 3)]


def forms(rows: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """The same rows as every kind of source."""
    whole = datasets.Dataset.from_list(rows)
    whole.to_parquet(folder / "rows.parquet")
    return {
        "rows": rows,
        "dataset": whole,
        "stream": whole.to_iterable_dataset(),
        "stream without features": datasets.IterableDataset.from_generator(lambda: iter(rows)),
        "file": folder / "rows.parquet",
    }


def test_integer_ids_are_the_same_checks_in_every_source(tmp_path: Path) -> None:
    texts = [{**check.row(), "check_id": str(i), "concept_id": "7"} for i, check in enumerate(some_checks(3))]
    numbers = [{**row, "check_id": int(row["check_id"]), "concept_id": 7} for row in texts]
    expected = everything(open_checks(texts))
    for kind, source in forms(numbers, tmp_path).items():
        assert everything(open_checks(source)) == expected, kind


def test_one_image_instead_of_a_list_is_a_list_of_one_in_every_source(tmp_path: Path) -> None:
    lists = [
        {**row, "images": row["images"][:1], "contrast_images": row["contrast_images"][:1]}
        for row in (check.row() for check in some_checks(2))
    ]
    single = [
        {**row, "images": row["images"][0], "contrast_images": row["contrast_images"][0]} for row in lists
    ]
    expected = everything(open_checks(lists))
    sources = forms(single, tmp_path)
    image = datasets.Image()
    cast = sources["dataset"].cast_column("images", image).cast_column("contrast_images", image)
    sources |= {"images": cast, "stream of images": cast.to_iterable_dataset()}
    for kind, source in sources.items():
        assert everything(open_checks(source)) == expected, kind
    opened = Image.open(io.BytesIO(lists[0]["images"][0]["bytes"]))
    assert open_checks([{**lists[0], "images": opened}]).read(0, 1)[0]["images"] == [opened]


@pytest.mark.parametrize("empty", [float("nan"), np.float32("nan"), pd.NA, pd.NaT, None])
def test_what_pandas_writes_into_an_empty_cell_is_an_empty_cell(empty: Any) -> None:
    row = {**some_checks(1)[0].row(), "category": empty, "contrast_prompt": empty, "contrast_images": empty}
    checks = open_checks([row])
    assert checks.texts[0].contrast_prompt is None
    read = checks.read(0, 1)[0]
    assert read["category"] is None and read["contrast_images"] is None


def test_rows_of_a_pandas_table_are_read() -> None:
    rows = [check.row() for check in some_checks(3)]
    rows[1]["text_model"] = "a"
    table = pd.DataFrame(rows)
    table["images"] = [np.array(images, dtype=object) for images in table["images"]]
    assert everything(open_checks(table.to_dict("records"))) == everything(open_checks(rows))


@pytest.mark.parametrize("kind", ["numpy", "torch", "pandas", "polars", "arrow"])
def test_the_format_of_a_dataset_changes_nothing(kind: str) -> None:
    expected = everything(open_checks(as_dataset(3)))
    formatted = as_dataset(3).with_format(kind)
    for source in (
        formatted,
        datasets.DatasetDict(test=formatted),
        as_dataset(3).to_iterable_dataset().with_format(kind),
    ):
        assert everything(open_checks(source)) == expected


def test_a_function_that_the_caller_set_as_the_format_stays() -> None:
    def shouted(batch: dict[str, Any]) -> dict[str, Any]:
        return {**batch, **({"prompt": [p.upper() for p in batch["prompt"]]} if "prompt" in batch else {})}

    checks = open_checks(as_dataset(2).with_transform(shouted))
    assert [row["prompt"] for row in checks.read(0, 2)] == ["A RED BALL 0", "A RED BALL 1"]


def test_tables_of_polars_and_classes_of_datasets_are_read() -> None:
    rows = [{**check.row(), "category": "counting"} for check in some_checks(3)]
    expected = everything(open_checks(rows))
    views = pl.DataFrame(rows).to_arrow(compat_level=pl.CompatLevel.newest())
    assert pa.types.is_large_list(views.schema.field("images").type)
    assert pa.types.is_string_view(views.schema.field("prompt").type)
    assert everything(open_checks(datasets.Dataset(views))) == expected
    classes = datasets.Dataset.from_list(rows).class_encode_column("category")
    assert isinstance(classes.features["category"], datasets.ClassLabel)
    for source in (classes, classes.to_iterable_dataset()):
        opened = open_checks(source)
        assert everything(opened) == expected
        assert opened.read(0, 1)[0]["category"] == "counting"


@pytest.mark.parametrize("kind", ["rows", "stream without features"])
def test_half_of_a_surrogate_pair_in_a_prompt_is_read(kind: str, tmp_path: Path) -> None:
    rows = [check.row() for check in some_checks(2)]
    valid = open_checks(forms(rows, tmp_path)[kind])
    changed = [rows[0], {**rows[1], "prompt": "a red ball \ud83d"}]
    source = changed if kind == "rows" else datasets.IterableDataset.from_generator(lambda: iter(changed))
    checks = open_checks(source)
    assert checks.texts[1].prompt == "a red ball \ud83d"
    assert checks.revision != valid.revision


# ---- Paths of images ----


def dataset_with_paths(folder: Path, kind: str, paths: list[str]) -> Any:
    """A dataset whose images are paths; the folder has the file images/a.png."""
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.png").write_bytes(png(1, 2, 3))
    images = [{"bytes": None, "path": path} for path in paths]
    row = {**some_checks(1)[0].row(), "images": images, "contrast_images": []}
    features = check_features()
    # Not Image(): datasets would store the files' bytes.
    file = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features["images"] = features["contrast_images"] = datasets.List(file)
    whole = datasets.Dataset.from_list([row], features=features)
    if kind == "saved":
        whole.save_to_disk(str(folder))
    else:
        pq.write_table(whole.data.table, folder / "test.parquet")
    return folder / "test.parquet" if kind == "file" else folder


@pytest.mark.parametrize("kind", ["file", "folder", "saved"])
def test_a_path_is_followed_inside_of_the_datasets_folder_only(kind: str, tmp_path: Path) -> None:
    folder, other = tmp_path / "mine", tmp_path / "other.png"
    other.write_bytes(png(9, 9, 9))
    inside = ["images/a.png", str(folder / "images" / "a.png")]
    outside = [str(other), "../other.png", "images/link.png", "/dev/zero"]
    checks = open_checks(dataset_with_paths(folder, kind, [*inside, *outside]))
    (folder / "images" / "link.png").symlink_to(other)
    images = checks.read(0, 1)[0]["images"]
    assert [to_bytes(image) for image in images[:2]] == [png(1, 2, 3)] * 2
    for image, path in zip(images[2:], outside, strict=True):
        with pytest.raises(InputError, match=f"{path} is not read: it lies outside of the dataset's own"):
            to_bytes(image)


def test_a_pipe_inside_of_the_folder_is_not_read(tmp_path: Path) -> None:
    source = dataset_with_paths(tmp_path / "mine", "file", ["images/pipe.png"])
    os.mkfifo(tmp_path / "mine" / "images" / "pipe.png")
    with pytest.raises(InputError, match=r"pipe\.png is not a regular file"):
        to_bytes(open_checks(source).read(0, 1)[0]["images"][0])


@pytest.mark.parametrize("name", ["/dev/zero", "pipe.parquet"])
def test_a_dataset_that_is_a_pipe_or_a_device_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if not path.exists():
        os.mkfifo(path)
    with pytest.raises(InputError, match="not a regular file"):
        open_checks(path)


# ---- Names of files ----


@pytest.mark.parametrize("name", ["runs [v2]", "all*", "what?"])
def test_a_folder_whose_name_looks_like_a_pattern_is_read(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name / "data"
    folder.mkdir(parents=True)
    as_dataset(3).to_parquet(folder / "test.parquet")
    checks = open_checks(folder)
    assert [texts.check_id for texts in checks.texts] == ["c0", "c1", "c2"]
    with pytest.raises(InputError, match="no split 'x'"):
        open_checks(folder, split="x")


def test_hidden_files_beside_the_parts_are_left_out(tmp_path: Path) -> None:
    for folder in ("data", "parts"):
        (tmp_path / folder).mkdir()
    as_dataset(3).to_parquet(tmp_path / "data" / "test-00000-of-00001.parquet")
    # As macOS writes them on disks of other systems.
    (tmp_path / "data" / "._test-00000-of-00001.parquet").write_bytes(b"\0\5\26\7")
    assert len(open_checks(tmp_path).texts) == 3
