"""JSON and YAML of others: whatever they hold, what is wrong is one sentence with the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from croc.cli import main
from croc.errors import InputError
from croc.scoring.exchange import import_scores
from croc.storage.files import read_json, sha256_of
from croc.storage.text_files import parse_json, read_text, read_yaml

YAML = {
    "a date that does not exist": "name: x\nwhen: 2025-02-30\n",
    "a number of 5,000 digits": f"a: {'9' * 5000}\n",
    "deep nesting": f"a: {'[' * 3000}\n",
    "a wrong boolean": "a: !!bool maybe\n",
    "a wrong integer": "a: !!int ''\n",
    "a wrong time": "a: !!timestamp noon\n",
    "an object": "a: !!python/object/apply:os.getcwd []\n",
    "a list as a key": "? [a]\n: b\n",
    "an open list": "a: [\n",
    "a control character": "a: \x07\n",
}


@pytest.mark.parametrize("text", YAML.values(), ids=YAML.keys())
def test_yaml_that_cannot_be_a_value_is_refused_with_its_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    refused = r"not valid YAML \(.+\)|nested more than 16 levels deep|\S+: tags are not allowed; .+"
    with pytest.raises(InputError, match=rf"own\.yaml(, line \d+)?: ({refused})$"):
        read_yaml(tmp_path / "own.yaml")


@pytest.mark.parametrize("text", [YAML["a date that does not exist"], YAML["deep nesting"], "a: \xff"])
@pytest.mark.parametrize("words", ["taxonomy check", "cost", "hum prompts", "train --config"])
def test_a_command_says_what_is_wrong_with_its_yaml(tmp_path: Path, words: str, text: str) -> None:
    if "train" in words:
        pytest.importorskip("trl")
    (tmp_path / "own.yaml").write_bytes(text.encode("latin-1"))
    done = CliRunner().invoke(main, [*words.split(), str(tmp_path / "own.yaml")])
    assert done.exit_code == 2, done.output
    assert "own.yaml" in done.output.splitlines()[-1]


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "9" * 5000, b"\xff", ""])
def test_json_that_is_none_is_refused_with_its_file(tmp_path: Path, text: str | bytes) -> None:
    file = tmp_path / "own.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=r"^own: (not JSON|not UTF-8|nested too deeply)"):
        parse_json(file.read_bytes(), "own")
    with pytest.raises(InputError, match=r"own\.json: .*; remove the file or use another folder$"):
        read_json(file)


def test_text_that_cannot_be_read_is_refused_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"abc\xff")
    with pytest.raises(InputError, match=r"t: not UTF-8 text \(byte 3 cannot be read\)"):
        read_text(tmp_path / "t")
    with pytest.raises(InputError, match="Is a directory"):
        read_text(tmp_path)
    assert read_json(tmp_path / "t" / "x.json") is None  # below a file there is no file


_CHECK = '{"prompts": [true, true], "images": [%s]}\n'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("export.json", "[]", "export.json: the content: Input should be a valid dictionary"),
        ("export.json", '{"protocol": 1}', "export.json: protocol: Input should be a valid string"),
        ("pairs.jsonl", "{}\n", "pairs.jsonl, line 1: pair_id: Field required"),
        ("pairs.jsonl", "[" * 100_000, "pairs.jsonl, line 1: nested too deeply"),
        ("checks.jsonl", "3\n", "checks.jsonl, line 1: the content: Input should be a valid dictionary"),
        ("checks.jsonl", "{}\n", "checks.jsonl, line 1: images: Field required"),
        ("checks.jsonl", _CHECK % "5", "checks.jsonl, line 1: images.0: Input should be a valid dictionary"),
        (
            "checks.jsonl",
            _CHECK % '{"side": "original", "index": 0, "pairs": ["a"]}',
            "images.0.pairs: expected 2 ids",
        ),
        (
            "checks.jsonl",
            '{"prompts": [], "images": [], "check_id": ["c"]}\n',
            "checks.jsonl, line 1: check_id: Input should be a valid string",
        ),
    ],
)
def test_a_damaged_export_of_pairs_is_named_with_its_line(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    files = {
        "export.json": '{"protocol": "syn", "dataset": "d"}',
        "pairs.jsonl": '{"pair_id": "a"}\n',
        "checks.jsonl": "",
    }
    for file, text in (files | {name: content}).items():
        (tmp_path / file).write_text(text)
    (tmp_path / "scores.jsonl").write_text('{"pair_id": "a", "score": 1}\n')
    with pytest.raises(InputError) as refused:
        import_scores(tmp_path, tmp_path / "scores.jsonl", tmp_path / "out", name="m")
    assert message in str(refused.value)


def _read_frame(path: Path) -> Any:
    from croc.storage.frames import read_frame

    return read_frame(path)


def _read_table(path: Path) -> Any:
    from croc.tables.delimited import read_delimited

    return read_delimited(path)


def _read_result(path: Path) -> Any:
    from croc.results.files import read_result

    return read_result(path)


def _open_votes(path: Path) -> Any:
    from croc_hum.votes.store import Store

    return Store(path)


def _batches(path: Path) -> Any:
    from croc.storage.parquet import batches

    return list(batches(path))


@pytest.mark.parametrize(
    "read",
    [
        read_text,
        read_yaml,
        read_json,
        sha256_of,
        _read_frame,
        _read_table,
        _read_result,
        _open_votes,
        _batches,
    ],
)
def test_a_pipe_or_a_device_is_refused_and_not_waited_for(tmp_path: Path, read: Any) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(InputError, match=f"{name}: not a regular file"):
            read(tmp_path / name)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_json_with_a_number_that_is_not_finite_is_refused(number: str) -> None:
    with pytest.raises(InputError, match=rf"file\.json: not JSON \(the number {number} is not finite\)"):
        parse_json(f'{{"a": [1, {number}]}}', "file.json", finite=True)
    assert parse_json('{"a": 1e99}', "file.json", finite=True) == {"a": 1e99}
