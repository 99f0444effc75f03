"""YAML is plain data within limits; everything else is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from memory import at_most

from croc.cli.options import key_values
from croc.errors import InputError
from croc.storage import limits
from croc.storage.plain_yaml import dump_yaml
from croc.storage.text_files import parse_yaml, read_yaml
from croc_hum.candidates.prompts import load as load_prompts
from croc_syn import presets
from hub_cards.cards import front_matter

LEVELS = ["&b0 [x,x,x,x,x,x,x,x,x,x]"] + [f"&b{i} [{','.join([f'*b{i - 1}'] * 10)}]" for i in range(1, 9)]
ALIASES = f"[{','.join(LEVELS)}]"
"""500 bytes that stand for a list of 10⁹ entries."""


def test_plain_data_is_what_the_safe_loader_reads() -> None:
    text = "a: [1, 2.5, true, null, text]\nb: {c: 2025-02-28, d: '7'}\n"
    import yaml

    assert parse_yaml(text, "x") == yaml.safe_load(text)
    assert parse_yaml("", "x") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"a: {ALIASES}", "x, line 1: &b0: anchors and aliases are not allowed"),
        ("a: !!python/object:os.system x", "x, line 1: tag:yaml.org,2002:python/object:os.system: tags are"),
        ("a: " + "[" * 3000, "x, line 1: nested more than 16 levels deep"),
        ("a: b: c", "x: not valid YAML"),
    ],
)
def test_other_yaml_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_yaml(text, "x")
    assert str(caught.value).startswith(message)


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    with file.open("wb") as opened:
        opened.truncate(limits.YAML_FILE + 1)
    with pytest.raises(InputError, match=r"has 1,000,001 bytes; at most 1,000,000"):
        read_yaml(file)


def _preset(folder: Path, text: str) -> None:
    file = folder / "own.yaml"
    file.write_text(f"text:\n  models:\n    - name: m\n      model: m/m\n      request: {{a: {text}}}\n")
    presets.load(file)


def _prompt_pairs(folder: Path, text: str) -> None:
    file = folder / "own.yaml"
    file.write_text(f"category: action\npairs: {text}\n")
    load_prompts(file)


def _recipe(folder: Path, text: str) -> None:
    from crocscore.training.recipe import _mapping

    file = folder / "own.yaml"
    file.write_text(f"model: m\nenv: {text}\n")
    _mapping(file)


def _card(folder: Path, text: str) -> None:
    front_matter(f"---\na: {text}\n---\n")


def _option(folder: Path, text: str) -> None:
    key_values((f"key={text}",), "--option")


@pytest.mark.parametrize("reader", [_preset, _prompt_pairs, _recipe, _card, _option])
@pytest.mark.parametrize(("text", "word"), [(ALIASES, "aliases"), ("[" * 3000, "levels deep")])
def test_every_reader_of_yaml_has_these_limits(tmp_path: Path, reader, text: str, word: str) -> None:  # type: ignore[no-untyped-def]
    with at_most(200 * 10**6), pytest.raises(InputError, match=word):
        reader(tmp_path, text)


def test_what_is_written_can_be_read() -> None:
    shared = [1, 2]
    assert parse_yaml(dump_yaml({"b": shared, "a": shared}), "x") == {"b": [1, 2], "a": [1, 2]}
    assert list(parse_yaml(dump_yaml({"b": shared, "a": shared}), "x")) == ["b", "a"]
