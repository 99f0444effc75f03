"""Tokenizers that make texts explode are refused before a library reads them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from croc.errors import InputError
from croc.scorers.tokenizer_files import check_tokenizer, check_tokenizers
from croc.storage import limits
from crocscore.model import WEIGHTS, CROCScore


def replace(text: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": text}, "content": content}


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(steps)}


GOOD: dict[str, dict[str, Any]] = {
    "none": {"normalizer": None, "padding": None},
    "spaces": {"normalizer": sequence({"type": "Prepend", "prepend": "▁"}, replace(" ", "▁"))},
    "longest": {"padding": {"strategy": "BatchLongest", "pad_to_multiple_of": 8}},
    "fixed": {"padding": {"strategy": {"Fixed": 64}}},
}
BAD: dict[str, tuple[Any, str]] = {
    "twenty that double": ({"normalizer": sequence(*[replace("a", "aa")] * 20)}, "more than 64 times longer"),
    "nested": ({"normalizer": sequence(sequence(replace("a", "b" * 9)), replace("b", "c" * 9))}, "longer"),
    "one long": ({"normalizer": replace("a", "b" * 1000)}, "longer"),
    "a pattern": (
        {"normalizer": {"type": "Replace", "pattern": {"Regex": ""}, "content": "b" * 100}},
        "longer",
    ),
    "before splitting": (
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [replace("a", "b" * 100)]}},
        "longer",
    ),
    "fixed padding": (
        {"padding": {"strategy": {"Fixed": 10**10}}},
        "pads every text to 10,000,000,000 tokens",
    ),
    "multiple": ({"padding": {"strategy": "BatchLongest", "pad_to_multiple_of": 10**9}}, "pads every text"),
    "a list": ([], "expected an object"),
}


@pytest.mark.parametrize("case", GOOD)
def test_usual_tokenizers_are_fine(tmp_path: Path, case: str) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(GOOD[case]))
    check_tokenizers(tmp_path)


def test_those_of_the_package_are_fine() -> None:
    files = list(WEIGHTS.rglob("tokenizer.json"))
    assert files
    for file in files:
        check_tokenizer(file)


@pytest.mark.parametrize("case", BAD)
def test_a_tokenizer_that_lengthens_texts_is_refused(tmp_path: Path, case: str) -> None:
    content, message = BAD[case]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        check_tokenizers(tmp_path)


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON"), ("[" * 100_000, "nested too deeply")])
def test_what_is_no_json_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(InputError, match=message):
        check_tokenizers(tmp_path)


def test_a_model_with_such_a_tokenizer_is_not_loaded(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    folder = shutil.copytree(WEIGHTS, tmp_path / "model")
    content = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**content, "normalizer": replace("a", "b" * 1000)}))
    with pytest.raises(InputError, match="times longer"):
        CROCScore.from_pretrained(folder).score([Image.new("RGB", (8, 8))], ["a"])


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(limits.TOKENIZER_FILE + 1)
    with pytest.raises(InputError, match="100,000,001 bytes; at most 100,000,000"):
        check_tokenizers(tmp_path)
