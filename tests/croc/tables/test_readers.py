"""What readers make of files: a table, or one clear sentence; never half a table."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from memory import at_most
from score_rows import write
from table_files import BAD, GOOD, LONG, ROWS, SYN, SYN_SCORES, TSV, long_text, parquet, syn_text

from croc.errors import InputError
from croc.storage.limits import COMMAND_LINE
from croc.tables.delimited import read_delimited
from croc.tables.readers import read_pair_table, read_score_tables
from croc.verdict.evaluation import evaluate, evaluate_tables
from croc.verdict.report import Settings


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_that_says_where(tmp_path, case):
    name, content, fragments = BAD[case]
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        evaluate([file], settings=Settings(resamples=0, flips=0))
    message = str(caught.value)
    assert str(file) in message
    assert "\n" not in message
    assert len(message) < 600
    for fragment in fragments:
        assert fragment in message, message


def read(folder, **options):
    return read_score_tables([folder], **options)


@pytest.mark.parametrize(
    ("paths", "options", "fragments"),
    [
        (["absent.tsv"], {}, ["absent.tsv", "no such file"]),
        (["empty"], {}, ["empty", "no score table in this folder"]),
        (["notes.txt"], {}, ["notes.txt", ".parquet, .tsv"]),
        ([], {}, ["no score table"]),
        (["good.parquet"], {"protocol": "sim"}, ["'sim'", "syn, hum"]),
        (["good.parquet"], {"metrics": ["goood"]}, ["'goood'", "did you mean 'good'?"]),
        (["good.parquet"], {"metrics": ["zzz"]}, ["'zzz'", "known are good"]),
        (["good.parquet"], {"groups": ["colour"]}, ["good.parquet", "'colour'"]),
        (["good.parquet"], {"groups": ["prompt_score"]}, ["'prompt_score'", "group"]),
        (["good.parquet"], {"groups": ["image_index"]}, ["'image_index'", "group"]),
        (["good.parquet", "good.parquet"], {}, ["duplicate"]),
        (["x" * 5000 + ".tsv"], {}, ["cannot be read"]),
    ],
)
def test_what_is_asked_of_good_files_can_be_wrong(tmp_path, paths, options, fragments):
    (tmp_path / "good.parquet").write_bytes(GOOD)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as caught:
        tables = read_score_tables([tmp_path / path for path in paths], **options)
        evaluate_tables(tables, Settings(resamples=0, flips=0))
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_tables_of_different_dataset_revisions_do_not_mix(tmp_path):
    write(tmp_path, "one", ROWS, dataset="croc/syn", dataset_revision="v1")
    write(tmp_path, "two", ROWS, dataset="croc/syn", dataset_revision="v2")
    with pytest.raises(
        InputError, match=r"two\.parquet.*revision v2.*one\.parquet.*v1.*evaluate them separately"
    ):
        read(tmp_path)


def test_tables_of_different_datasets_do_not_mix(tmp_path):
    write(tmp_path, "one", ROWS, dataset="croc/syn")
    write(tmp_path, "two", ROWS, dataset="mine/syn")
    with pytest.raises(InputError, match=r"two\.parquet.*dataset mine/syn.*one\.parquet.*dataset croc/syn"):
        read(tmp_path)


def test_tables_of_different_protocols_do_not_mix(tmp_path):
    write(tmp_path, "one", ROWS, "syn")
    write(tmp_path, "two", ROWS, "hum")
    with pytest.raises(InputError, match=r"two\.parquet.*hum.*one\.parquet.*syn.*--protocol"):
        read(tmp_path)
    assert {table.protocol for table in read(tmp_path, protocol="hum")} == {"hum"}


def test_one_metric_with_different_settings_is_not_put_together(tmp_path):
    (tmp_path / "x").mkdir()
    first = write(tmp_path, "m", ROWS[:3], template="a")
    second = write(tmp_path / "x", "m", ROWS[3:], template="b")
    with pytest.raises(InputError, match=r"'m'.*different settings \(template: b and a\)"):
        read_score_tables([first, second])


def test_tables_that_describe_a_check_differently_do_not_mix(tmp_path):
    write(tmp_path, "one", ROWS)
    write(tmp_path, "two", [{**one, "category": "counting"} for one in ROWS])
    with pytest.raises(InputError, match=r"two.*category of check 'a' is 'counting'.*'action'.*one"):
        evaluate([tmp_path], settings=Settings(by=("category",), resamples=0, flips=0))


def judged(paths, **options):
    report = evaluate(paths, settings=Settings(resamples=0, flips=0, **options))
    return {
        (one.metric, one.direction, one.group_value, one.text_model): (one.accuracy, one.n, one.coverage)
        for one in report.results
    }


@pytest.mark.parametrize("cell", ["nan", "NaN", "inf", "-inf", "", "null", "NA", "1e999"])
def test_a_score_that_is_no_finite_number_lowers_coverage_and_is_counted(tmp_path, cell):
    file = tmp_path / "m.tsv"
    file.write_text(long_text(change={(1, "prompt_score"): cell}))
    report = evaluate([file], settings=Settings(resamples=0, flips=0))
    (result,) = [r for r in report.results if r.direction == "forward_text" and r.group is None]
    assert result.coverage == pytest.approx(5 / 6)
    assert sum(report.missing_scores["m"].values()) == 1
    assert [finding.kind for finding in report.findings] == ["incomplete"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), None])
def test_a_score_in_parquet_that_is_no_finite_number_lowers_coverage_and_is_counted(tmp_path, value):
    file = tmp_path / "m.parquet"
    file.write_bytes(parquet({"prompt_score": [value, 2.0, 0.0, 1.0, 0.25]}))
    report = evaluate([file], settings=Settings(resamples=0, flips=0))
    (result,) = [r for r in report.results if r.direction == "forward_text" and r.group is None]
    assert result.coverage == pytest.approx(5 / 6)
    assert sum(report.missing_scores["m"].values()) == 1


VARIANTS = {
    "CSV": ("m.csv", long_text(separator=",")),
    "gz": ("m.tsv.gz", gzip.compress(TSV.encode(), mtime=0)),
    "byte order mark": ("m.tsv", b"\xef\xbb\xbf" + TSV.encode()),
    "CRLF": ("m.tsv", TSV.replace("\n", "\r\n")),
    "CR": ("m.tsv", TSV.replace("\n", "\r")),
    "no last line end": ("m.tsv", TSV.rstrip("\n")),
    "blank lines": ("m.tsv", TSV.replace("\n", "\n\n")),
    "other columns": ("m.tsv", long_text(columns=(*LONG, "category", "topic", "error"))),
    "quoted cells with tabs and line ends": (
        "m.tsv",
        long_text(
            columns=(*LONG, "topic"),
            change={(1, "topic"): '"a\tb\nc ""d"""', (3, "topic"): '"a\tb\nc ""d"""'},
        ),
    ),
    "a quoted header": ("m.tsv", TSV.replace("check_id", '"check_id"', 1)),
    "a huge cell": (
        "m.tsv",
        long_text(columns=(*LONG, "topic"), change={(n, "topic"): "x" * 400_000 for n in (1, 2, 3)}),
    ),
    "scores with spaces": ("m.tsv", TSV.replace("4.0", " 4.0 ")),
    "Parquet": ("m.parquet", GOOD),
    "Parquet of categoricals": (
        "m.parquet",
        parquet(
            {
                name: pa.array([one[name] for one in ROWS]).dictionary_encode()
                for name in ("check_id", "subset", "image_side")
            }
        ),
    ),
    "Parquet of large and small numbers": (
        "m.parquet",
        parquet({"image_index": pa.array([one["image_index"] for one in ROWS], pa.uint8())}),
    ),
    "Parquet with a column of nothing": (
        "m.parquet",
        parquet({"category": pa.nulls(5), "text_model": pa.nulls(5)}),
    ),
    "Parquet with numbers as text": (
        "m.parquet",
        parquet({"prompt_score": [str(one["prompt_score"]) for one in ROWS]}),
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_table_reads_alike_in_every_form(tmp_path, variant):
    name, content = VARIANTS[variant]
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    plain = tmp_path / "plain" / "m.tsv"
    plain.parent.mkdir()
    plain.write_text(TSV)
    assert judged([file]) == judged([plain])


def test_empty_cells_of_text_columns_are_unknown_and_not_a_group(tmp_path):
    file = tmp_path / "m.tsv"
    file.write_text(
        long_text(
            columns=(*LONG, "category", "text_model", "concept_id", "error"),
            change={
                **{(n, "text_model"): "" for n in range(1, 6)},
                **{(n, "concept_id"): "" for n in range(1, 6)},
                (4, "category"): "",
                (5, "category"): "",
            },
        )
    )
    report = evaluate([file], settings=Settings(by=("category",), resamples=0, flips=0))
    assert {one.text_model for one in report.results} == {None}
    assert {one.group_value for one in report.results} == {None, "action", "(none)"}
    assert report.concepts == 2  # without a concept each check is its own


def test_rows_may_stand_in_any_order(tmp_path):
    file, shuffled = tmp_path / "m.tsv", tmp_path / "x" / "m.tsv"
    shuffled.parent.mkdir()
    file.write_text(TSV)
    shuffled.write_text(long_text([ROWS[4], ROWS[1], ROWS[2], ROWS[3], ROWS[0]]))
    assert judged([file]) == judged([shuffled])


def test_parts_of_one_metric_in_several_files_are_put_together_whatever_their_form(tmp_path):
    whole, text, binary = tmp_path / "w" / "m.tsv", tmp_path / "t" / "m.tsv", tmp_path / "b"
    for folder in ("w", "t", "b"):
        (tmp_path / folder).mkdir()
    whole.write_text(TSV)
    text.write_text(long_text(ROWS[:3]))
    part = write(binary, "m", ROWS[3:], protocol=None)
    assert judged([text, part]) == judged([whole])


def test_a_published_table_and_one_of_ours_of_the_same_metric_are_both_read(tmp_path):
    (tmp_path / "release.tsv").write_text(syn_text("e|||t|||p_____1 p c flux ds entity_variation 1 0 0 1"))
    write(tmp_path, "M", [{**one, "text_model": "ds"} for one in ROWS], "syn")
    with_both = judged([tmp_path])
    assert with_both["M", "forward_text", None, None][1:] == (3, 1.0)


def test_a_table_without_descriptions_takes_them_from_another(tmp_path):
    write(tmp_path, "one", [{**row, "text_model": "p", "concept_id": "k"} for row in ROWS])
    (tmp_path / "two.tsv").write_text(long_text())
    report = evaluate([tmp_path], settings=Settings(resamples=0, flips=0))
    assert report.concepts == 1
    assert report.checks == 2
    assert {one.coverage for one in report.results} == {1.0}
    assert {one.text_model for one in report.results if one.metric == "two"} == {None, "p"}


def test_a_metric_may_have_underscores_in_its_name(tmp_path):
    head = "\t".join([SYN, *(name.replace("M___", "My___M___") for name in SYN_SCORES)])
    (tmp_path / "m.tsv").write_text(
        syn_text("e|||t|||p_____1 p c flux ds entity_variation 1 0 0 1", head=head)
    )
    (table,) = read(tmp_path)
    assert list(table.metrics) == ["My___M"]


def test_a_table_that_unpacks_to_too_much_is_refused_before_it_fills_the_memory(tmp_path):
    file = tmp_path / "m.tsv.gz"
    file.write_bytes(gzip.compress(bytes(10**8), mtime=0))
    with (
        at_most(150 * 10**6),
        pytest.raises(InputError, match=r"m\.tsv\.gz: unpacks to more than 64,000,000 bytes"),
    ):
        read_delimited(file)
    tight = replace(COMMAND_LINE, unpacked=10**6)
    with pytest.raises(InputError, match=r"m\.tsv\.gz: unpacks to more than 1,000,000 bytes"):
        read_delimited(file, limits=tight)
    file.write_bytes(gzip.compress(TSV.encode(), mtime=0))
    just = replace(COMMAND_LINE, unpacked=len(TSV), rows=TSV.count("\n") - 1)
    assert read_delimited(file, limits=just).height == TSV.count("\n") - 1
    with pytest.raises(InputError, match="rows; at most 1 are allowed"):
        read_delimited(file, limits=replace(just, rows=1))


def test_nothing_from_a_file_is_executed(tmp_path):
    target = tmp_path / "owned"
    attack = f"__import__('pathlib').Path({str(target)!r}).touch()"
    file = tmp_path / "m.tsv"
    file.write_text(long_text(change={(1, "prompt_score"): attack}))
    with pytest.raises(InputError, match="is not a number"):
        read(file)
    assert not target.exists()


def test_a_file_name_with_pattern_characters_is_a_file_name(tmp_path):
    (tmp_path / "m[1]*.parquet").write_bytes(GOOD)
    (table,) = read(tmp_path)
    assert len(table.frame) == 5


# ---- Names of metrics ----


@pytest.mark.parametrize(
    ("file", "metric"),
    [
        ("qwen2.5-vl-7b.csv", "qwen2.5-vl-7b"),
        ("qwen2.5-vl-7b.tsv", "qwen2.5-vl-7b"),
        ("qwen2.5-vl-7b.tsv.gz", "qwen2.5-vl-7b"),
        ("qwen2.5-vl-7b.parquet", "qwen2.5-vl-7b"),
    ],
)
def test_a_metric_is_called_like_its_file_with_all_dots(tmp_path, file, metric):
    text = long_text(separator="," if ".csv" in file else "\t").encode()
    content = gzip.compress(text) if file.endswith("gz") else text
    (tmp_path / file).write_bytes(GOOD if file.endswith("parquet") else content)
    (table,) = read(tmp_path)
    assert list(table.metrics) == [metric]


def test_names_that_differ_behind_a_dot_are_two_metrics(tmp_path):
    for size in ("3b", "7b"):
        (tmp_path / f"qwen2.5-vl-{size}.tsv").write_text(long_text())
    assert [list(table.metrics) for table in read(tmp_path)] == [["qwen2.5-vl-3b"], ["qwen2.5-vl-7b"]]


@pytest.mark.parametrize(
    "name", ["part-00000-7c1e-c000.snappy.parquet", "part.0.parquet", "part-0.parquet", "part-00000.csv"]
)
@pytest.mark.parametrize("above", [False, True])
def test_a_folder_of_parts_is_one_metric(tmp_path, name, above):
    suffix = Path(name).suffix
    folder = tmp_path / f"mine{suffix}"
    folder.mkdir()
    (folder / "_SUCCESS").touch()
    (folder / f".{name}.crc").write_bytes(b"crc")
    table = pl.read_csv(long_text().encode(), separator="\t")
    for number, rows in enumerate((table[:2], table[2:])):
        file = folder / name.replace("0", str(number), 1)
        rows.write_csv(file) if suffix == ".csv" else rows.write_parquet(file)
    (read_table,) = read(tmp_path if above else folder)
    assert list(read_table.metrics) == ["mine"]
    assert len(read_table.frame) == len(table)


def test_hidden_files_are_not_read(tmp_path):
    (tmp_path / "m.parquet").write_bytes(GOOD)
    # As macOS writes them on disks of other systems.
    (tmp_path / "._m.parquet").write_bytes(b"\0\5\26\7")
    (tmp_path / ".m.tsv").write_text("x")
    assert len(read(tmp_path)) == 1


@pytest.mark.parametrize("name", ["m.parquet", "m.tsv", "m.csv.gz"])
@pytest.mark.parametrize("reader", [lambda path: read_score_tables([path]), read_pair_table])
def test_a_pipe_is_not_read(tmp_path, name, reader):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=f"{name}: not a regular file"):
        reader(tmp_path / name)
    (tmp_path / "zero.parquet").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"zero\.parquet: not a regular file"):
        reader(tmp_path / "zero.parquet")


# ---- Pair tables ----

PAIRS = "item_id\tsystem\tprompt\tmetric\thuman\n1\ts\tp\t0.5\t3\n2\ts\tq\t0.25\t\n"


def test_a_pair_table_holds_numbers_and_marks_what_is_missing(tmp_path):
    file = tmp_path / "p.tsv"
    file.write_text(PAIRS)
    frame = read_pair_table(file)
    assert frame["metric"].to_list() == [0.5, 0.25]
    assert frame["human"].to_list() == [3.0, None]
    assert frame["item_id"].to_list() == ["1", "2"]


@pytest.mark.parametrize(
    ("name", "content", "fragments"),
    [
        ("p.tsv", PAIRS.replace("item_id", "item"), ["'item_id'"]),
        ("p.tsv", PAIRS.replace("\n2\t", "\n1\t"), ["row 1", "'1'", "twice"]),
        ("p.parquet", b"PAR1", ["cannot be read as a Parquet file"]),
        ("p.parquet", b"", ["empty"]),
        ("p.tsv", PAIRS + "3\ts\n", ["line 4", "2 cells", "5"]),
        ("p.csv", "item_id,human\n", ["no rows"]),
        ("p.csv", "item_id;human\n1;0,5\n", ["separated by semicolons", "has commas"]),
        ("p.csv", "item_id\thuman\n1\t0,5\n", ["separated by tabs", "has commas"]),
        ("p.tsv", "item_id,human\n1,0.5\n", ["separated by commas", "has tabs"]),
    ],
)
def test_bad_pair_tables(tmp_path, name, content, fragments):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        read_pair_table(file)
    for fragment in [str(file), *fragments]:
        assert fragment in str(caught.value)


# ---- Any bytes at all ----

ANY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", ["m.tsv", "m.csv", "m.parquet", "m.tsv.gz"])
@given(data=st.binary(max_size=300))
@example(b"\x00")
@example(b'"')
@example(b'a\tb\n"\t1\n2\t"\n')
@example(b"PAR1" + b"\x00" * 20 + b"PAR1")
@ANY
def test_any_bytes_are_a_table_or_a_sentence(tmp_path_factory, name, data):
    file = tmp_path_factory.mktemp("any") / name
    file.write_bytes(data)
    with pytest.raises(InputError):
        evaluate([file], settings=Settings(resamples=0, flips=0))


@pytest.mark.parametrize("compressed", [False, True])
@given(text=st.text(st.sampled_from('ab"\t\n\r,1.') | st.characters(codec="utf-8"), max_size=60))
@ANY
def test_any_text_is_a_table_of_whole_lines_or_a_sentence(tmp_path_factory, compressed, text):
    file = tmp_path_factory.mktemp("any") / ("m.tsv.gz" if compressed else "m.tsv")
    data = ("check_id\tx\n" + text).encode()
    file.write_bytes(gzip.compress(data) if compressed else data)
    try:
        frame = read_delimited(file)
    except InputError:
        return
    assert frame.columns == ["check_id", "x"]
    assert all(kind == pl.String for kind in frame.dtypes)


@given(position=st.integers(0, len(GOOD) - 1), byte=st.integers(0, 255), cut=st.integers(0, 40))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_damaged_parquet_is_a_table_or_a_sentence(tmp_path_factory, position, byte, cut):
    data = bytearray(GOOD)
    data[position] = byte
    file = tmp_path_factory.mktemp("any") / "m.parquet"
    file.write_bytes(bytes(data[: len(data) - cut] if cut > 35 else data))
    try:
        evaluate([Path(file)], settings=Settings(resamples=0, flips=0))
    except InputError as problem:
        assert "\n" not in str(problem)


def test_parts_of_a_metric_may_be_of_different_splits_and_versions(tmp_path):
    (tmp_path / "x").mkdir()
    shared = {"dataset": "croc/syn", "dataset_revision": "v1"}
    first = write(tmp_path, "m", ROWS[:3], dataset_split="test", **shared, run={"method": "pairs"})
    second = write(tmp_path / "x", "m", ROWS[3:], dataset_split="train", **shared)
    (table,) = read_score_tables([first, second])
    assert len(table.frame) == len(ROWS)
