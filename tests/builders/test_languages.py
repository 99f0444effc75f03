"""Builds in other languages: the images of the English build, and results that are paired with it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from click.testing import CliRunner
from datasets import concatenate_datasets, load_dataset
from PIL import Image

from builders.syn import build_exact
from croc.checks.schema import translated_id, untranslated_id
from croc.cli import main
from croc.errors import InputError
from croc.scoring.run import score_dataset
from croc.tables.readers import read_score_tables
from croc.verdict.changes import compare_versions
from croc.verdict.report import Settings
from croc_syn import presets, world
from croc_syn.audit import TEXT_BASELINES
from croc_syn.world.translation.languages import language
from croc_syn.writing.prompts import plan_prompts

SMALL = {
    "checks": 24,
    "images": 2,
    "size": 64,
    "seed": 5,
    "progress": False,
    "properties": ["colour", "count"],
}
IMAGES = ("images", "contrast_images")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("languages")
    return {code: build_exact(folder / code, language=code, **SMALL).out for code in ("en", "de")}


@pytest.fixture(scope="module")
def rows(built: dict[str, Path]) -> dict[str, list[dict[str, object]]]:
    found = {}
    for code, folder in built.items():
        files = sorted((folder / "data").rglob("*.parquet"))
        found[code] = pl.concat([pl.read_parquet(file) for file in files]).to_dicts()
    return found


def test_the_images_of_a_translated_build_are_those_of_the_english_one(rows) -> None:
    english = {row["check_id"]: row for row in rows["en"]}
    for code in ("de",):
        assert len(rows[code]) == len(english) == 24
        for row in rows[code]:
            source = english[untranslated_id(row["check_id"], code)]
            assert (
                row["check_id"] == translated_id(source["check_id"], code) == f"{source['check_id']}-{code}"
            )
            same = [name for name in row if name not in ("check_id", "prompt", "contrast_prompt", "language")]
            assert {name: row[name] for name in same} == {name: source[name] for name in same}
            assert row["language"] == code
            for name in ("prompt", "contrast_prompt"):
                assert row[name] == world.translate(source[name], code) != source[name]


def test_the_oracle_passed_every_translated_check(built) -> None:
    assert "The oracle reaches scaled accuracy 1.0" in (built["de"] / "audit.json").read_text("utf-8")
    assert TEXT_BASELINES["negation-words"]("ein Hund und keine Katze") == 1
    assert TEXT_BASELINES["negation-words"]("un chien qui n'est pas rouge") == 2


def test_a_card_names_the_language_and_who_has_not_reviewed_it(built) -> None:
    for code, folder in built.items():
        head, text = (folder / "README.md").read_text("utf-8").split("---\n", 2)[1:]
        assert yaml.safe_load(head)["language"] == [code]
        assert ("no native speaker has reviewed them" in " ".join(text.split())) == (code != "en")


def test_a_filter_selects_a_language(built) -> None:
    assert len(load_dataset(str(built["de"]), split="test", filters=[("language", "==", "de")])) == 24
    both = concatenate_datasets([load_dataset(str(built[code]), split="test") for code in ("en", "de")])
    assert len(both.filter(lambda code: code == "en", input_columns="language")) == 24


def colours(images: list[Image.Image], prompts: list[str], languages: tuple[str, ...]) -> np.ndarray:
    """A metric with a planted truth: it knows colour words of some languages, and looks for the colour."""
    scores = []
    for image, prompt in zip(images, prompts, strict=True):
        pixels = np.asarray(image, float)
        named = [
            colour.data
            for colour in world.COLOURS.values()
            for code in languages
            if re.search(rf"\b{language(code).values['colour'][colour.id]}(e[mnrs]?)?\b", prompt)
        ]
        wanted = [[int(data[i : i + 2], 16) for i in (1, 3, 5)] for data in named]
        scores.append(sum(float((np.abs(pixels - rgb).max(axis=2) < 12).mean()) for rgb in wanted))
    return np.array(scores)


def english_alone(images: list[Image.Image], prompts: list[str]) -> np.ndarray:
    """Knows English."""
    return colours(images, prompts, ("en",))


def both(images: list[Image.Image], prompts: list[str]) -> np.ndarray:
    """Knows English and German."""
    return colours(images, prompts, ("en", "de"))


@pytest.fixture(scope="module")
def scores(built, tmp_path_factory) -> dict[str, dict[str, Path]]:
    folder = tmp_path_factory.mktemp("scores")
    return {
        code: {
            path.stem: path for path in score_dataset(str(built[code]), [english_alone, both], folder / code)
        }
        for code in ("en", "de")
    }


def test_the_loss_by_language_is_paired_on_the_same_images(scores) -> None:
    settings = Settings(by=("property",), flips=499)
    changes = {}
    for name in ("english_alone", "both"):
        found = compare_versions(scores["en"][name], scores["de"][name], settings)
        changes[name] = {change.group_value: change for change in found.changes}
        assert changes[name][None].checks == 24
    # A metric that knows both languages gives the same scores, one that does not knows nothing.
    assert all(change.difference == 0 for change in changes["both"].values())
    assert changes["both"]["colour"].old == changes["english_alone"]["colour"].old > 0
    assert changes["english_alone"]["colour"].new == 0
    assert changes["english_alone"]["colour"].difference < 0
    back = compare_versions(scores["de"]["english_alone"], scores["en"]["english_alone"], settings)
    assert back.changes[0].difference == -changes["english_alone"][None].difference > 0


def test_the_command_compares_languages(scores) -> None:
    tables = [str(scores[code]["english_alone"]) for code in ("en", "de")]
    done = CliRunner().invoke(main, ["diff", *tables, "--by", "property", "--permutations", "99"])
    assert done.exit_code == 0, done.output
    assert "property colour" in done.stdout


def test_english_tables_have_no_column_for_the_language_and_others_do(scores) -> None:
    english, german = (pl.read_parquet(scores[code]["both"]) for code in ("en", "de"))
    assert "language" not in english.columns
    assert set(german["language"]) == {"de"}
    assert german.columns == [*english.columns, "language"]
    [table] = read_score_tables([scores["en"]["both"]], groups=["language"])
    assert set(table.frame["language"]) == {"en"}


def test_a_dataset_of_several_languages_is_evaluated_by_language(rows, tmp_path) -> None:
    # The first part of a run can be English alone; its rows then name no language.
    mixed = [*rows["en"], *rows["de"]]
    [path] = score_dataset(mixed, [both], tmp_path)
    [table] = read_score_tables([path], groups=["language"])
    assert table.frame.group_by("language").len().sort("language").rows() == [("de", 96), ("en", 96)]
    done = CliRunner().invoke(main, ["evaluate", str(path), "--by", "language", "--resamples", "0"])
    assert done.exit_code == 0, done.output
    assert "Mean over the directions by language" in done.stdout
    with pytest.raises(InputError, match="checks in several languages; compare tables of one language"):
        compare_versions(path, _only(path, "en", tmp_path / "en.parquet"), Settings(flips=9))


def _only(path: Path, code: str, out: Path) -> Path:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    pq.write_table(table.filter(pc.equal(table["language"], code)), out)
    return out


def test_an_unknown_language_is_refused() -> None:
    preset = presets.load("exact", {"text.language": "it", "specs.checks": 2})
    with pytest.raises(InputError, match="no language 'it'; expected en, de, es, fr"):
        plan_prompts(preset)


def test_the_english_prompts_are_what_they_were() -> None:
    texts = []
    for number, contrast in enumerate(world.CONTRASTS):
        for topic in (None, list(world.TOPICS)[number]):
            try:
                pair = world.make_pair(contrast, topic=topic, seed=number)
            except InputError:
                continue
            texts += [pair.prompt, pair.contrast_prompt]
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    assert (len(texts), digest[:16]) == (104, "8bf80481cb6cec52")
