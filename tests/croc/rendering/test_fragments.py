"""Pages: what people type and upload is read with words that help, and everything shown is escaped."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from parsed import Page
from PIL import Image

from croc.checks.schema import DIRECTIONS
from croc.errors import InputError
from croc.rendering import fragments as pages
from croc.rendering import weaknesses
from croc.results.files import read_result
from croc.results.leaderboard import leaderboard
from croc.results.verification import verify_result
from croc.verdict.directions import directions_of

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def board():
    return leaderboard([pages.RESULTS], resamples=200, flips=200)


@pytest.fixture(scope="module")
def report():
    return pages.evaluate_upload(str(pages.EXAMPLE_TABLE), None, False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "Enter a prompt first"),
        (" \n \n", "Enter a prompt first"),
        ("\n".join("abcdefghi"), r"9 prompts \(one per line\); at most 8 are allowed at once"),
        ("x" * 100_000, "the prompt has 100,000 characters; at most 2,000 are allowed"),
        ("a cat\n" + "x" * 3_000, "prompt 2 has 3,000 characters"),
    ],
)
def test_prompts_that_cannot_be_read_are_named(text, message):
    with pytest.raises(InputError, match=message):
        pages.read_prompts(text)


def test_prompts_are_lines():
    assert pages.read_prompts("  a cat \n\n two cats\n") == ["a cat", "two cats"]


def test_a_picture_is_named_as_the_page_names_it(tmp_path):
    broken = tmp_path / "secret-folder.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    for path, message in (
        (None, "Add image A first"),
        (str(broken), "image A"),
        (str(tmp_path / "gone.png"), "image A is gone"),
    ):
        with pytest.raises(InputError, match=message) as problem:
            pages.read_picture(path, "image A")
        assert str(tmp_path) not in str(problem.value)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    buffer = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(buffer, "PNG")
    (tmp_path / "bomb.png").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="pixels"):
        pages.read_picture(str(tmp_path / "bomb.png"))


# The four comparisons of DESIGN.md by hand: rows are prompts O and C, columns images O and C.
@pytest.mark.parametrize(
    ("scores", "passed"),
    [
        ([[2, 1], [1, 2]], (1, 1, 1, 1)),
        ([[1, 2], [2, 1]], (0, 0, 0, 0)),
        ([[3, 3], [1, 1]], (1, 0, 0.5, 0.5)),  # always prefers prompt O
        ([[3, 1], [3, 1]], (0.5, 0.5, 1, 0)),  # always prefers image O
    ],
)
def test_directions_of_one_check(scores, passed):
    found = directions_of(scores)
    order = ("forward_text", "inverse_text", "forward_image", "inverse_image")
    assert tuple(found[name] for name in order) == passed


def clause(text, start, probability):
    margin = float(np.log(probability / (1 - probability)))
    return SimpleNamespace(
        text=text, start=start, end=start + len(text), margin=margin, probability=probability
    )


def test_a_prompt_is_shown_clause_by_clause_and_escaped():
    prompt = f"a dog, {EVIL}"
    parts = (clause("a dog", 0, 0.97), clause(EVIL, 7, 0.02))
    found = [SimpleNamespace(prompt=prompt, margin=1.0, probability=0.73, clauses=parts)]
    shown = pages.explanations(found, calibrated=True)
    assert "<script>" not in shown
    assert '<mark class="m4"' in shown
    assert '<mark class="m0"' in shown
    assert "clearly not shown" in shown  # in words too, not in colour alone
    assert "73%" in shown


def test_no_probability_is_shown_for_an_image_unlike_the_models_world():
    parts = (clause("a dog", 0, 0.97), clause("a cat", 7, 0.02))
    found = [SimpleNamespace(prompt="a dog, a cat", margin=1.0, probability=0.73, clauses=parts)]
    shown = pages.explanations(found, calibrated=True, outside=True)
    assert pages.NOT_TRUSTED in shown
    assert "%" not in shown
    assert "<mark" not in shown
    margins = [[2.0, 1.0], [3.0, 1.5]]
    values = [[None, 0.72], [None, 0.83]]
    both = pages.contrast(("a", "b"), margins, values, directions_of(margins), "", (True, False))
    assert both.count(pages.NOT_TRUSTED) == 2  # image A with both prompts
    assert "72%" in both and "83%" in both


def test_several_prompts_are_ranked():
    found = [
        SimpleNamespace(prompt=p, margin=m, probability=0.5, clauses=(clause(p, 0, 0.5),))
        for p, m in (("worst", -1.0), ("best", 2.0), ("middle", 0.5))
    ]
    shown = pages.explanations(found, calibrated=False)
    assert shown.index("best</mark>" if "best</mark>" in shown else "best") < shown.index("middle")
    assert shown.index("middle") < shown.index("worst")
    assert "not calibrated" in shown
    assert "0%" not in shown and "<mark" not in shown
    assert shown.count("<strong>Yes</strong>") == 2 and shown.count("<strong>No</strong>") == 1


def test_a_contrast_says_which_directions_pass_and_why_it_matters():
    margins = [[2.0, 1.0], [3.0, 1.5]]
    shown = pages.contrast(("a <b>", "a c"), margins, [[0.9, 0.7], [0.95, 0.8]], directions_of(margins), "")
    assert "Passes 2 of 4 directions" in shown
    assert shown.count("Pass</strong>") == 2
    assert shown.count("Fail</strong>") == 2
    assert "a <b>" not in shown
    assert pages.DIRECTION_WHY["forward_image"] in shown


def test_a_table_without_a_wish_is_broken_down_by_what_it_has(report):
    assert {score.group for score in report.scores} == {None, "category", "property"}


def test_the_report_has_a_text_table_beside_the_picture_and_all_downloads(report):
    made = pages.downloads(report)
    shown = pages.report(report, made)
    scores = [score for score in report.scores if score.group == "property"]
    assert scores
    assert ("Worst properties" in shown) is any(not score.of_few_checks for score in scores)
    assert shown.count("<table") >= 4
    data = {name: base64.b64decode(address.partition("base64,")[2]) for _, name, address in made}
    assert data["croc-heatmap.png"].startswith(b"\x89PNG")
    assert rb"\begin{tabular}" in data["croc-table.tex"]
    assert json.loads(data["croc-report.json"])["signature"] == str(report.signature)
    assert b"model-index" in data["croc-card.md"]
    assert str(report.signatures["colour-words"]).encode() in data["croc-card.md"]


def test_a_file_is_named_without_the_servers_folders(tmp_path):
    (tmp_path / "mine.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"mine\.csv") as problem:
        pages.evaluate_upload(str(tmp_path / "mine.csv"), None, False)
    assert str(tmp_path) not in str(problem.value)
    with pytest.raises(InputError, match="Add a score table first"):
        pages.evaluate_upload(None, None, False)


def test_cells_with_formulas_and_markup_are_text(tmp_path):
    rows = pl.read_parquet(pages.EXAMPLE_TABLE).with_columns(property=pl.lit(f"=HYPERLINK(1){EVIL}"))
    rows.write_csv(tmp_path / "table.csv")
    found = pages.evaluate_upload(str(tmp_path / "table.csv"), ["property"], False)
    shown = pages.report(found, pages.downloads(found))
    assert "<script>" not in shown
    assert "=HYPERLINK(1)&lt;script&gt;" in shown


def test_problems_are_short_escaped_and_read_out():
    shown = pages.problem(EVIL + "x" * 10_000)
    assert 'role="alert"' in shown
    assert "<script>" not in shown
    assert len(shown) < 1_000


# ---- The leaderboard ----


def rows_of(shown):
    """The rows of the first table of a fragment, a dictionary each."""
    table = Page(shown).tables[0]
    return [dict(zip(table.head, row, strict=True)) for row in table.rows]


def names_of(shown):
    """The scorers of the first table of a fragment, without their tags."""
    return [row["Scorer"].split()[0] for row in rows_of(shown)]


def test_the_ranking_has_intervals_and_can_be_filtered(board):
    benchmark = board.benchmarks[0]
    rows = rows_of(pages.ranking(benchmark))
    assert [row["Scorer"].split()[0] for row in rows] == list(benchmark.report.metrics)
    best = benchmark.report.ranking[0]
    assert rows[0]["Mean"] == f"+{best.scaled:.2f}[+{best.ci_low:.2f}, +{best.ci_high:.2f}]"
    assert set(names_of(pages.ranking(benchmark, pages.Shown(baselines=False)))) == {
        score.metric for score in benchmark.report.ranking if not score.baseline
    }
    shown = pages.ranking(benchmark, pages.Shown(name="nothing of the kind"))
    assert "No scorer is left" in Page(shown).text


def with_means(benchmark, means):
    """A benchmark whose metrics have these means on all checks, in the order of its report."""
    scores = [
        score
        if score.group is not None
        else replace(score, scaled=means[score.metric], ci_low=None, ci_high=None)
        for score in benchmark.report.scores
    ]
    return replace(benchmark, report=replace(benchmark.report, scores=tuple(scores)))


@pytest.mark.parametrize(
    ("order", "names"),
    [
        # As numbers: as texts, "+0.10" is below "+0.9" and "−0.2" above both. A missing number is last.
        (pages.Order("scaled"), ["colour-words", "random", "crocscore-tiny", "crocscore-dual"]),
        (pages.Order("scaled", reverse=True), ["crocscore-tiny", "random", "colour-words", "crocscore-dual"]),
        (pages.Order("metric"), ["colour-words", "crocscore-dual", "crocscore-tiny", "random"]),
        (pages.Order("metric", reverse=True), ["random", "crocscore-tiny", "crocscore-dual", "colour-words"]),
    ],
)
def test_the_order_is_that_of_numbers_and_the_missing_one_is_last(board, order, names):
    means = {"crocscore-dual": None, "crocscore-tiny": -0.2, "random": 0.1, "colour-words": 0.9}
    benchmark = with_means(board.benchmarks[0], means)
    assert names_of(pages.ranking(benchmark, order=order)) == names
    assert names_of(pages.categories(benchmark, order=order)) == names


def test_equal_numbers_are_ordered_by_name(board):
    names = sorted(board.benchmarks[0].report.metrics)
    benchmark = with_means(board.benchmarks[0], dict.fromkeys(names, 0.5))
    for reverse in (False, True):
        assert names_of(pages.ranking(benchmark, order=pages.Order(reverse=reverse))) == names


@pytest.mark.parametrize("column", pages.ORDERS)
def test_every_column_of_the_ranking_orders_it_and_its_header_says_so(board, column):
    benchmark = board.benchmarks[0]
    for reverse in (False, True):
        order = pages.Order(column, reverse)
        shown = pages.ranking(benchmark, order=order)
        assert re.findall(r'aria-sort="(\w+)">([^<]*)</th>', shown) == [
            (order.direction, pages.ORDERS[column].capitalize())
        ]
        if column != "metric":
            of_metric = {row["metric"]: row for row in benchmark.rows()}
            values = [
                benchmark.report.scaled(name, column)
                if column in DIRECTIONS
                else of_metric[name][column]
                if column in weaknesses.LABELS
                else getattr(benchmark.report.score(name), column)
                for name in names_of(shown)
            ]
            known = sorted((value for value in values if value is not None), reverse=not reverse)
            assert values == known + [None] * (len(values) - len(known))


def test_a_category_is_ordered_by_its_own_numbers(board):
    benchmark = board.benchmarks[0]
    category = benchmark.groups("category")[0]
    names = names_of(pages.ranking(benchmark, group=category))
    values = [benchmark.report.score(name, "category", category).scaled for name in names]
    assert values == sorted(values, reverse=True)


def test_the_rows_of_all_tables_are_in_one_order(board):
    names = pages.ordered_metrics(board.benchmarks[0], pages.Order("metric", reverse=True))
    assert names_of(pages.side_by_side(board, metrics=names))[: len(names)] == names


@pytest.mark.parametrize("name", [EVIL, "[x](javascript:alert(1)) `code` **bold**", "{{7*7}}${7*7}"])
def test_a_name_is_text_and_its_address_a_link(tmp_path, name):
    address = "https://example.org/metric?a=1&b=2"
    content = (pages.RESULTS / "syn" / "colour-words.json").read_text()
    content = json.loads(content.replace('"colour-words"', json.dumps(name)))
    (tmp_path / "result.json").write_text(json.dumps(content | {"url": address}))
    board = leaderboard([tmp_path], resamples=50, flips=50)
    assert board.problems == ()
    for shown in (
        pages.ranking(board.benchmarks[0]),
        pages.categories(board.benchmarks[0]),
        pages.side_by_side(board),
    ):
        page = Page(shown)
        assert "script" not in page.tags
        assert page.tables[0].rows[0][page.tables[0].head.index("Scorer")].startswith(name)
        assert set(page.addresses) <= {address}
    assert address in Page(pages.ranking(board.benchmarks[0])).addresses


def test_a_scorer_trained_on_such_checks_is_marked():
    files = [read_result(path) for path in sorted((pages.RESULTS / "syn").glob("*.json"))]
    files[0] = replace(files[0], trained_on_croc=True)
    marked = leaderboard(files, resamples=50, flips=50).benchmarks[0]
    assert "trained on CROC" in pages.ranking(marked)
    assert "trained on CROC" not in pages.ranking(marked, pages.Shown(trained=False))


def test_benchmarks_stand_side_by_side_with_their_rank_agreement(board):
    shown = pages.side_by_side(board)
    assert "Kendall tau-b" in shown
    assert all(benchmark.name in shown for benchmark in board.benchmarks)


def test_failed_checks_are_shown_with_images(board):
    from croc.checks.sources import open_checks

    found = open_checks(pages.checks_source())
    known = {row["check_id"]: row for row in found.read(0, len(found.texts))}
    shown = pages.failures(board.benchmarks[0], "random", known)
    assert "data:image/webp;base64," in shown
    assert "Fails" in shown
    elsewhere = pages.failures(board.benchmarks[1], "random", known)
    assert "not available" in elsewhere


def test_the_shipped_results_follow_from_the_shipped_tables():
    files = sorted(path for path in pages.RESULTS.rglob("*.json") if path.name != pages.VERIFIED)
    assert files
    assert [problem for file in files for problem in verify_result(file)] == []


def test_every_result_of_the_sample_is_shown_as_verified(monkeypatch):
    monkeypatch.delenv("CROC_RESULTS", raising=False)
    board = pages.results_board()
    levels = {row["verified"] for benchmark in board.benchmarks for row in benchmark.rows()}
    assert {"table", "scores"} <= levels <= {"table", "dataset", "scores"}
    for benchmark in board.benchmarks:
        shown = pages.ranking(benchmark)
        assert "not verified" not in shown and "verified</span>" in shown


def test_the_results_of_the_sample_are_small():
    size = sum(path.stat().st_size for path in pages.RESULTS.rglob("*") if path.is_file())
    assert size < 1_300_000


def test_results_come_from_a_folder_or_a_hub_id(monkeypatch, tmp_path):
    monkeypatch.setenv("CROC_RESULTS", str(tmp_path))
    assert pages.results_folder() == tmp_path
    monkeypatch.setenv("CROC_RESULTS", str(tmp_path / "no" / "such"))
    with pytest.raises(InputError, match="CROC_RESULTS"):
        pages.results_folder()


def test_numbers_of_few_checks_are_grey_in_the_categories(board):
    whole = board.benchmarks[0]
    scores = [replace(s, n=3) if s.group_value == "negation" else s for s in whole.report.scores]
    benchmark = replace(whole, report=replace(whole.report, scores=scores))
    shown = pages.categories(benchmark)
    few = [s for s in scores if s.group == "category" and s.of_few_checks]
    assert len(few) == len(whole.report.metrics)
    assert shown.count('<span class="few">') == len(few)
