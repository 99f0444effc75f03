"""A results file is verified against its table, the dataset, and scores computed again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from pictures import png
from staged_checks import row, stage

from builders.syn import build_staged
from croc.checks.sources import Checks, open_checks
from croc.cli import main
from croc.errors import InputError
from croc.rendering import fragments
from croc.results.files import make_result, read_result, write_result
from croc.results.leaderboard import leaderboard
from croc.results.verification import Rescoring, rescore_checks, verify_checks, verify_result
from croc.results.verified import read_verified
from croc.scoring.run import ScoringSettings, score_dataset
from croc.verdict.report import Settings

QUICK = Settings(resamples=100, flips=100)


def pictures(number: int, count: int) -> list[dict[str, Any]]:
    return [{"bytes": png(10 * number + index), "path": None} for index in range(count)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 checks with two original and three contrast images."""
    folder = tmp_path_factory.mktemp("checks")
    rows = [
        row(
            number,
            concept_id=f"concept {number // 2}",
            property=("count", "size")[number % 2],
            images=pictures(number, 2),
            contrast_images=pictures(-number - 1, 3),
            text_model="writer@1",
        )
        for number in range(30)
    ]
    staged = stage(folder / "staged", rows)
    return build_staged(staged.folder, folder / "syn", splits={"test": 1.0}, progress=False).out


@pytest.fixture(scope="module")
def checks(dataset: Path) -> Checks:
    return open_checks(str(dataset))


@pytest.fixture(scope="module")
def scored(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of the random scorer."""
    folder = tmp_path_factory.mktemp("scores")
    (table,) = score_dataset(str(dataset), ["random"], folder, ScoringSettings(progress=False))
    return table


def submit(table: Path, folder: Path, change: Callable[[pl.DataFrame], pl.DataFrame] | None = None) -> Path:
    """The result of a table whose rows an author changed, beside that table."""
    stored = pq.read_table(table)
    frame = pl.from_arrow(stored)
    assert isinstance(frame, pl.DataFrame)
    changed = (change(frame) if change else frame).to_arrow()
    types = {field.name: field.type for field in stored.schema}
    schema = [field.with_type(types[field.name]) for field in changed.schema]
    target = folder / "random.parquet"
    pq.write_table(changed.cast(pa.schema(schema)).replace_schema_metadata(stored.schema.metadata), target)
    return write_result(make_result(target, settings=QUICK), folder / "random.json")


def test_an_honest_result_is_verified(scored: Path, checks: Checks, tmp_path: Path) -> None:
    result = submit(scored, tmp_path)
    assert verify_result(result) == []
    assert verify_checks(result, None, checks) == ([], f"30 of 30 checks of {checks.name}")
    summary = "7 checks scored again by random"
    assert rescore_checks(result, None, checks, Rescoring(7, 0)) == ([], summary)


def drop_failing(frame: pl.DataFrame) -> pl.DataFrame:
    """Without the images whose text direction fails; every check keeps an image on each side."""
    good = (pl.col("prompt_score") > pl.col("contrast_score")) == (pl.col("image_side") == "original")
    frame = frame.with_columns(good=good)
    best = pl.col("good").rank("ordinal", descending=True).over("check_id", "image_side") == 1
    return frame.filter(pl.col("good") | best).drop("good")


def exchange_sides(frame: pl.DataFrame) -> pl.DataFrame:
    """The two sides exchanged; numbers of images differ here, so that the rows show it."""
    other = pl.when(pl.col("image_side") == "original").then(pl.lit("contrast")).otherwise(pl.lit("original"))
    return frame.with_columns(image_side=other)


CHANGES = {
    "failing images dropped": (drop_failing, "images of its checks are missing, such as"),
    "other concept": (
        lambda frame: frame.with_columns(concept_id=pl.col("check_id")),
        "column 'concept_id': 30 checks with another value",
    ),
    "other property": (
        lambda frame: frame.with_columns(property=pl.lit("count")),
        "column 'property': 15 checks with another value",
    ),
    "no category": (lambda frame: frame.drop("category"), "no column 'category', which"),
    "empty category": (
        lambda frame: frame.with_columns(category=pl.lit(None, pl.String)),
        "column 'category': 30 checks with another value",
    ),
    "other subset": (
        lambda frame: frame.with_columns(subset=pl.lit("entity_variation")),
        "column 'subset'",
    ),
    "other model": (
        lambda frame: frame.with_columns(text_model=pl.lit("writer@2")),
        "column 'text_model': 30 checks with another value than in out",
    ),
    "exchanged sides": (exchange_sides, "of images that out has not, such as original image 2 of check"),
    "shifted indices": (
        lambda frame: frame.with_columns(image_index=pl.col("image_index") + 1),
        "of images that out has not, such as",
    ),
    "5 of 30 checks": (
        lambda frame: frame.filter(pl.col("check_id").is_in(frame["check_id"].unique().sort()[:5].to_list())),
        "25 of 30 checks of out are missing",
    ),
    "other checks": (
        lambda frame: frame.with_columns(check_id="x" + pl.col("check_id")),
        "30 of 30 checks not in out",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_changed_table_does_not_match_the_dataset(
    scored: Path, checks: Checks, tmp_path: Path, case: str
) -> None:
    """Each of these gives a result that follows from its table."""
    change, message = CHANGES[case]
    result = submit(scored, tmp_path, change)
    assert verify_result(result) == []
    problems, _ = verify_checks(result, None, checks)
    assert any(message.replace("out", checks.name) in problem for problem in problems), problems


def test_what_dropping_failing_images_gains_is_what_makes_it_matter(scored: Path, tmp_path: Path) -> None:
    honest, picked = (tmp_path / name for name in ("honest", "picked"))
    honest.mkdir()
    picked.mkdir()
    before = read_result(submit(scored, honest)).report.ranking[0]
    after = read_result(submit(scored, picked, drop_failing)).report.ranking[0]
    assert (after.scaled or 0) > (before.scaled or 0) + 0.2
    assert after.coverage == 1.0  # the table itself does not show what is missing


def test_a_declared_part_is_accepted_if_it_is_the_one_that_is_declared(
    dataset: Path, checks: Checks, tmp_path: Path
) -> None:
    (table,) = score_dataset(
        str(dataset), ["random"], tmp_path / "scores", ScoringSettings(progress=False), max_checks=20
    )
    result = submit(table, tmp_path)
    assert verify_checks(result, None, checks) == ([], f"20 of 30 checks of {checks.name}")
    (whole,) = score_dataset(str(dataset), ["random"], tmp_path / "all", ScoringSettings(progress=False))
    picked = pq.read_table(whole)
    ids = picked["check_id"].unique()[:20]
    chosen = picked.filter(pc.is_in(picked["check_id"], ids))
    pq.write_table(chosen.replace_schema_metadata(pq.read_schema(table).metadata), table)
    problems, _ = verify_checks(submit(table, tmp_path), None, checks)
    assert any("not in the part [20 of 30]" in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (b"dataset_revision", None, "report.dataset.revision: is None, but"),
        (b"dataset_revision", b"manifest:0000000000000000", "report.dataset.revision: is 'manifest:0000"),
        (b"dataset", b"croc/hum", "report.dataset.name: is 'croc/hum', but"),
        (b"dataset_split", b"train", "report.dataset.split: is 'train', but"),
        (b"protocol", b"hum", "report.protocol: is 'hum', but"),
    ],
)
def test_a_table_of_another_dataset_does_not_match(
    scored: Path, checks: Checks, tmp_path: Path, key: bytes, value: bytes | None, message: str
) -> None:
    stored = pq.read_table(scored)
    metadata = {name: text for name, text in stored.schema.metadata.items() if name != key}
    metadata |= {} if value is None else {key: value}
    pq.write_table(stored.replace_schema_metadata(metadata), tmp_path / "random.parquet")
    result = write_result(make_result(tmp_path / "random.parquet", settings=QUICK), tmp_path / "random.json")
    problems, _ = verify_checks(result, None, checks)
    assert any(problem.startswith(message) for problem in problems), problems


def better(frame: pl.DataFrame) -> pl.DataFrame:
    """Scores of a perfect metric."""
    original = (pl.col("image_side") == "original").cast(pl.Float64)
    return frame.with_columns(prompt_score=original, contrast_score=1 - original)


def hide_failing(frame: pl.DataFrame) -> pl.DataFrame:
    """Failing images as ones without a score."""
    good = (pl.col("prompt_score") > pl.col("contrast_score")) == (pl.col("image_side") == "original")
    return frame.with_columns(
        prompt_score=pl.when(good).then("prompt_score"),
        error=pl.when(~good).then(pl.lit("refused")).otherwise("error"),
    )


def one_huge(frame: pl.DataFrame) -> pl.DataFrame:
    """A perfect metric, with one score that makes its standard deviation huge."""
    first = pl.int_range(pl.len()) == 0
    return better(frame).with_columns(prompt_score=pl.when(first).then(1e12).otherwise("prompt_score"))


@pytest.mark.parametrize("change", [better, hide_failing, one_huge])
def test_other_scores_are_found_by_scoring_again_alone(
    scored: Path, checks: Checks, tmp_path: Path, change: Any
) -> None:
    result = submit(scored, tmp_path, change)
    assert verify_result(result) == [] and verify_checks(result, None, checks)[0] == []
    (problem,), _ = rescore_checks(result, None, checks, Rescoring(5, 0))
    assert problem.startswith("scores: ") and "when scored again, such as" in problem


def test_another_scorer_is_named_by_its_fields(scored: Path, checks: Checks, tmp_path: Path) -> None:
    result = submit(scored, tmp_path)
    other = Rescoring(3, 0, scorer="random", options={"seed": 1})
    problems, _ = rescore_checks(result, None, checks, other)
    assert problems[0] == "table: scorer_seed of its scorer is '0', and '1' when scoring again"


@pytest.mark.parametrize("name", ["attack.py:Class", "os:getcwd", "evaluate:attack", "unknown"])
def test_a_table_cannot_choose_code_to_run(scored: Path, checks: Checks, tmp_path: Path, name: str) -> None:
    (tmp_path / "attack.py").write_text("raise SystemExit('it ran')")
    stored = pq.read_table(scored)
    metadata = {**stored.schema.metadata, b"scorer": name.encode()}
    pq.write_table(stored.replace_schema_metadata(metadata), tmp_path / "random.parquet")
    result = write_result(make_result(tmp_path / "random.parquet", settings=QUICK), tmp_path / "random.json")
    with pytest.raises(InputError, match="is not in 'croc scorers list'; name it with --scorer"):
        rescore_checks(result, None, checks, Rescoring(3, 0))


# ---- The command and the leaderboard ----


def run(*words: str | Path) -> Any:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_the_command_verifies_records_and_says_what_is_only_stated(
    scored: Path, dataset: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    result, listed = submit(scored, folder), folder / "verified.json"
    done = run("results", "verify", folder, "--dataset", dataset, "--rescore", 4, "--record", listed)
    assert done.exit_code == 0, done.output
    assert "scores verified; 30 of 30 checks of" in done.output and "scoring again with --seed" in done.output
    assert "stated by its author, not verified: not trained on CROC checks; web page: none" in done.output
    (entry,) = read_verified(listed).values()
    assert entry.level == "scores"
    board = run("leaderboard", folder, "--verified", listed)
    assert board.exit_code == 0 and "Not verified" not in board.output
    # A file that changed after it was verified is not verified any more.
    content = json.loads(result.read_text())
    content["url"] = "https://example.org/other"
    result.write_text(json.dumps(content))
    assert "Not verified: random" in run("leaderboard", folder, "--verified", listed).output
    left_out = run("leaderboard", folder, "--verified", listed, "--only-verified")
    assert left_out.exit_code == 2 and "not verified: croc results verify" in left_out.output


def test_a_result_that_fails_leaves_the_list(scored: Path, dataset: Path, tmp_path: Path) -> None:
    result, listed = submit(scored, tmp_path, drop_failing), tmp_path / "verified.json"
    assert run("results", "verify", result, "--record", listed).exit_code == 0
    assert [entry.level for entry in read_verified(listed).values()] == ["table"]
    done = run("results", "verify", result, "--dataset", dataset, "--record", listed)
    assert done.exit_code == 2 and "are missing, such as" in done.output
    assert read_verified(listed) == {}


def test_the_page_marks_what_was_not_verified(scored: Path, tmp_path: Path) -> None:
    result, listed = submit(scored, tmp_path), tmp_path / "verified.json"
    (benchmark,) = leaderboard([tmp_path]).benchmarks
    assert benchmark.rows()[0]["verified"] is None
    assert "not verified" in fragments.ranking(benchmark)
    assert run("results", "verify", result, "--record", listed).exit_code == 0
    (benchmark,) = leaderboard([tmp_path], verified=read_verified(listed)).benchmarks
    assert benchmark.rows()[0]["verified"] == "table"
    shown = fragments.ranking(benchmark)
    assert "numbers verified" in shown and "not verified" not in shown


def test_a_list_of_another_form_is_refused(tmp_path: Path) -> None:
    assert read_verified(tmp_path / "absent.json") == {}
    for content in ('{"x": {"level": "scores"}}', f'{{"{"0" * 64}": {{"level": "all"}}}}', "[]"):
        (tmp_path / "verified.json").write_text(content)
        with pytest.raises(InputError, match=r"verified\.json: |not an entry of a list"):
            read_verified(tmp_path / "verified.json")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rescore", "3"], "--rescore needs --dataset"),
        (["--dataset", "x", "--scorer", "random"], "--scorer needs --rescore"),
        (["--split", "test"], "--split needs --dataset"),
    ],
)
def test_options_that_need_others_say_so(
    scored: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    done = run("results", "verify", submit(scored, tmp_path), *words)
    assert done.exit_code == 2 and message in done.output
