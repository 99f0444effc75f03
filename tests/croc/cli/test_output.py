"""Text from data reaches the terminal as it is: brackets are no markup, colons no emoji."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.progress import Progress, TextColumn
from rich.table import Table
from score_rows import check_rows, write

from croc.cli import main
from croc.cli.output import show

NAME = "mine[score][red]:smile:"


def croc(*words: str | Path) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_brackets_and_colons_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(title=f"title {NAME}", caption=f"caption {NAME}")
    table.add_column(f"head {NAME}")
    table.add_row(f"cell {NAME}")
    show([table, f"line {NAME} [/]"])
    printed = capsys.readouterr().out
    for place in ("title", "caption", "head", "cell", "line"):
        assert f"{place} {NAME}" in printed


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        row
        for n in range(6)
        for row in check_rows(
            f"c{n}", [(2, 1)], [(1, 2)], subset="entity_variation", property=f"{NAME} {n % 2}"
        )
    ]
    return Path(write(tmp_path_factory.mktemp("scores"), NAME, rows, dataset=f"data {NAME}"))


def test_names_of_metrics_and_values_of_columns_are_printed(table: Path) -> None:
    printed = croc("evaluate", table, "--by", "property", "--resamples", "20", "--permutations", "20")
    assert f"{NAME} 0" in printed and f"{NAME} 1" in printed
    assert printed.count(NAME) > printed.count(f"{NAME} 0") + printed.count(f"{NAME} 1")


def test_the_name_of_a_dataset_is_printed_on_the_leaderboard(table: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.parquet"
    plain.write_bytes(table.read_bytes())
    croc("results", "create", plain, "--out", tmp_path / "results")
    printed = croc("leaderboard", tmp_path / "results")
    assert f"data {NAME}" in printed


def test_names_of_columns_of_ratings_are_printed(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.csv"
    rows = [f"{n},s,p{n},{n * n % 7},{n}" for n in range(12)]
    pairs.write_text("\n".join([f"item_id,system,prompt,{NAME},human {NAME}", *rows]) + "\n")
    printed = croc("correlate", pairs, "--human", f"human {NAME}", "--resamples", "20")
    assert f"human {NAME}" in printed and printed.count(NAME) > printed.count(f"human {NAME}")


def test_names_of_annotators_are_printed(tmp_path: Path) -> None:
    pytest.importorskip("krippendorff", reason="needs croc-t2i[hum]")
    votes = ["item_id,concept_id,annotator,task,answer,category"]
    for n in range(6):
        for annotator in ("one", NAME):
            votes.append(f"i{n},c{n},{annotator},shows,{'yes' if n % 2 else 'no'},counting")
    (tmp_path / "votes.csv").write_text("\n".join(votes) + "\n")
    assert NAME in croc("hum", "agreement", tmp_path / "votes.csv", "--resamples", "0")


def test_a_progress_bar_shows_text_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from croc.jobs import progress

    columns: list[TextColumn] = []
    start = Progress.__init__

    def remember(self: Progress, *given: TextColumn, **options: object) -> None:
        columns.extend(column for column in given if isinstance(column, TextColumn))
        start(self, *given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Progress, "__init__", remember)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.progress_bar("work", "pairs") as move:
        move(1, 2, NAME)
    texts = [column for column in columns if "{task" in column.text_format]
    assert texts and not any(column.markup for column in texts)


def test_json_on_standard_output_leaves_the_tables_to_standard_error(table: Path) -> None:
    done = CliRunner().invoke(main, ["evaluate", str(table), "--json", "-"], catch_exceptions=False)
    assert done.exit_code == 0
    assert json.loads(done.stdout)["protocol"] == "syn"
    assert "Ranking" in done.stderr or NAME in done.stderr
    html = CliRunner().invoke(main, ["evaluate", str(table), "--html", "-"], catch_exceptions=False)
    assert html.stdout.startswith("<!doctype html>") and html.stdout.rstrip().endswith("</html>")
