"""Prompt pairs of the human benchmark: ours hold what they claim, and a wrong file is one clear sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from builders.candidates import check_pairs
from croc.checks.schema import CATEGORIES
from croc.cli import main
from croc.errors import InputError
from croc_hum.candidates.prompts import load, make_rows, stage
from croc_syn.taxonomy.taxonomy import load as taxonomy

PAIR = {
    "id": "park_cat",
    "property": "negation",
    "exact": True,
    "prompt": "a dog and no cat in a park",
    "contrast_prompt": "a dog and a cat in a park",
}


def pairs_file(
    folder: Path, *pairs: dict[str, object], name: str = "negation.yaml", **changes: object
) -> Path:
    content = {
        "version": 1,
        "category": "negation",
        "definition": "Whether something is message to be there.",
        "look_for": "What is denied: is it anywhere?",
        "shows": ["nowhere to be seen"],
        "fails": ["there"],
        "pairs": list(pairs) or [PAIR],
        **changes,
    }
    (folder / name).write_text(yaml.safe_dump(content), "utf-8")
    return folder / name


def test_every_category_has_at_least_twelve_pairs_and_the_exact_ones_are_confirmed() -> None:
    sets = load()
    assert tuple(sets) == CATEGORIES
    check_pairs(sets, least=12)


def test_each_pair_differs_in_a_property_of_its_category() -> None:
    known = taxonomy().properties
    for category, prompt_set in load().items():
        assert {known[pair.property].hum_category for pair in prompt_set.pairs} == {category}


def test_a_hash_decides_which_prompt_is_the_original() -> None:
    written = {pair.prompt for prompt_set in load().values() for pair in prompt_set.pairs}
    kept = [row["prompt"] in written for row in make_rows(load())]
    # 144 fair coins lie between 50 and 94 but for one case in 3,000.
    assert 50 < sum(kept) < 94


def test_a_better_wording_keeps_the_concept_and_changes_the_check(tmp_path: Path) -> None:
    before = make_rows(load(pairs_file(tmp_path)))[0]
    after = make_rows(load(pairs_file(tmp_path, {**PAIR, "prompt": "in a park, there is a dog and no cat"})))[
        0
    ]
    assert before["concept_id"] == after["concept_id"]
    assert before["check_id"] != after["check_id"]


def test_staged_pairs_have_one_part_per_category(tmp_path: Path) -> None:
    manifest = stage(make_rows(load(), exact_only=True), tmp_path / "prompts")
    assert [entry["name"][3:] for entry in manifest.parts] == list(CATEGORIES)
    assert manifest.counts["checks"] == sum(
        pair.exact for prompt_set in load().values() for pair in prompt_set.pairs
    )


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (
            {"contrast_prompt": "a dog in a park"},
            r"negation\.park_cat: the exact world cannot rule out that an image shows both prompts",
        ),
        (
            {"prompt": "a dog by Rembrandt"},
            r"negation\.park_cat: not in the exact world's controlled English",
        ),
    ],
)
def test_an_exact_pair_that_is_not_is_named(tmp_path: Path, pair: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_pairs(load(pairs_file(tmp_path, {**PAIR, **pair})))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"category": "colours"}, "category must be one of action"),
        ({"pairs": [PAIR, {**PAIR, "prompt": "x" * 501}]}, "pairs.park_cat.prompt: "),
        ({"pairs": [PAIR, {**PAIR}]}, "pair 'park_cat' repeats the id or the prompts of 'park_cat'"),
        ({"pairs": [{**PAIR, "contrast_prompt": PAIR["prompt"]}]}, "the two prompts are equal"),
        ({"colour": "red"}, "colour: unknown key"),
        ({"version": 2}, "version: "),
    ],
)
def test_a_wrong_file_is_one_clear_sentence(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        load(pairs_file(tmp_path, **changes))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_two_files_of_one_category_are_refused(tmp_path: Path) -> None:
    pairs_file(tmp_path)
    pairs_file(tmp_path, name="more.yaml")
    with pytest.raises(InputError, match=r"negation\.yaml: another file already has the category 'negation'"):
        load(tmp_path)


def test_the_command_counts_lists_and_refuses(tmp_path: Path) -> None:
    run = CliRunner().invoke
    assert run(main, ["hum", "prompts"]).output.endswith("144 pairs in 8 categories\n")
    listed = run(main, ["hum", "prompts", str(pairs_file(tmp_path)), "--list", "--min-pairs", "1"]).output
    assert "park_cat [exact] negation: a dog and no cat in a park / a dog and a cat in a park" in listed
    few = run(main, ["hum", "prompts", str(tmp_path / "negation.yaml")])
    assert few.exit_code == 2 and "negation has 1 pair; expected at least 12" in few.output
    schema = json.loads(run(main, ["hum", "prompts", "--schema"]).output)
    assert schema["properties"]["pairs"]["minItems"] == 1
