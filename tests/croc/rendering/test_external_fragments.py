"""The page of others' benchmarks: what it shows, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from parsed import Page

from croc.external.results import RECOMPUTED, read_result
from croc.rendering import external_fragments as pages

EVIL = "<script>alert(1)</script>"


def test_a_ranking_shows_every_metric_with_its_numbers_and_where_its_scores_come_from() -> None:
    result = read_result(RECOMPUTED / "ts2.json")
    (table,) = Page(pages.external_ranking(result)).tables
    assert table.head == [
        *("Rank", "Metric", "Accuracy with ties", "Pairs in order", "Kendall tau-b", "Spearman", "Pearson"),
        *("Images", "Scores from"),
    ]
    assert [row[1] for row in table.rows] == list(result.metrics)
    first, row = result.rows()[0], table.rows[0]
    assert row[0] == "1" and f"{first['acc_eq']:.3f}" in row[2] and f"{first['order']:.3f}" in row[3]
    assert f"[{first['kendall_ci_low']:.3f}, {first['kendall_ci_high']:.3f}]" in row[4]
    assert all(row[-1].startswith("ts2") and "metric not run by us" in row[-1] for row in table.rows)
    (found,) = Page(pages.external_ranking(result, "dsg", most=3)).tables
    assert [row[1] for row in found.rows] == [name for name in result.metrics if "dsg" in name][:3]


def test_names_of_a_file_are_text_and_no_markup() -> None:
    result = read_result(RECOMPUTED / "ts2.json")
    shown = replace(result, title=EVIL, licence=EVIL, statement=EVIL, human=EVIL)
    html = pages.external_ranking(shown) + pages.external_about(shown, [EVIL])
    page = Page(html)
    assert "script" not in page.tags and page.text.count(EVIL) >= 4


def test_files_that_cannot_be_used_are_named_and_the_others_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = json.loads((RECOMPUTED / "ts2.json").read_text("utf-8"))
    (tmp_path / "a.json").write_text(json.dumps(content))
    (tmp_path / "b.json").write_text(json.dumps(content))
    (tmp_path / "c.json").write_text("{}")
    monkeypatch.setenv("CROC_EXTERNAL_RESULTS", str(tmp_path))
    results, problems = pages.external_results(pages.external_folder())
    assert [result.benchmark for result in results] == ["ts2"]
    again, other = problems
    assert again == "b.json: there already is a file of ts2"
    assert other.startswith("c.json: not a results file of a benchmark of others")
    assert "2 results files could not be used" in pages.external_about(results[0], problems)
