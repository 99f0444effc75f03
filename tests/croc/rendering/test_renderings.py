"""A report on a terminal, as LaTeX, heatmap, page and card: what is shown are its numbers and no others."""

from __future__ import annotations

import io
import re
import shutil
import subprocess

import pytest
from huggingface_hub import ModelCard
from parsed import Page, markdown_headings, markdown_items, markdown_tables
from PIL import Image
from reports import noisy, report_of
from rich.console import Console

from croc.checks.schema import DIRECTIONS
from croc.rendering import formats
from croc.rendering.card import card
from croc.rendering.heatmap import heatmap_png
from croc.rendering.latex import latex
from croc.rendering.page import page, write_all
from croc.rendering.terminal import terminal
from croc.verdict.records import DIRECTION_NAMES, Result, Score, display_columns
from croc.verdict.report import Settings
from croc.wording import counted

NAMES = [
    "<script>alert(1)</script>",
    r"CLIP_Score & 100% $x$ #1 ~ ^ {a} \b",
    "[baseline] VQA",
    "*starred",
    "[/red] markup",
    r"$\frac{broken$",
    "line\nend",
    "ünïcode → 猫",
    "a|b `c` | d",
    "# - 1. [link](http://x) <b>",
    "1) first",
    "- item",
]
GROUP = "<b>&_%$"


@pytest.fixture(scope="module")
def odd():
    tables = {name: noisy(seed, 6, 0.5, category=["action", GROUP]) for seed, name in enumerate(NAMES)}
    return report_of(tables, settings=Settings(resamples=50, flips=50), dataset="org/checks_of|mine")


@pytest.fixture(scope="module")
def plain():
    """Two metrics and a baseline, with findings."""
    tables = {"m": noisy(0, 60, -1.0), "n": noisy(1, 60, 2.0), "chance": noisy(2, 60, 0.0)}
    return report_of(tables, baselines=["chance"], dataset="org/checks")


def shown(text):
    """A name as a reader of HTML or Markdown sees it: white space is one space."""
    return " ".join(text.split())


def ranking_cells(report):
    """The cells of the ranking that every rendering has: mean, directions, further columns."""
    for score in report.ranking:
        directions = [formats.number(report.result(score.metric, d).scaled) for d in DIRECTIONS]
        further = [formats.cell(score, name) for name in display_columns(Score)][1:]
        yield formats.number(score.scaled), directions, further


def cells_of(record, name):
    """A number, and its interval where it has one."""
    interval = [formats.cell_interval(record, name)] if display_columns(type(record))[name].interval else []
    return [formats.cell(record, name), *interval]


# ---- Page ----


def test_a_page_shows_names_and_runs_nothing(odd):
    parsed = Page(page(odd))
    assert "script" not in parsed.tags
    for name in [*NAMES, GROUP]:
        assert name in parsed.text


def test_a_page_needs_no_network(odd):
    parsed = Page(page(odd))
    assert parsed.addresses
    assert all(address.startswith(("data:", "#")) for address in parsed.addresses)
    assert str(odd.signature) in parsed.text


@pytest.mark.parametrize("report", ["odd", "plain"])
def test_the_tables_of_a_page_hold_the_numbers_of_the_report(report, request):
    report = request.getfixturevalue(report)
    ranking, *rest = Page(page(report)).tables
    labels = [column.label for column in display_columns(Score).values()][1:]
    heads = ["Rank", "Metric", "Mean", "Interval", "−1 … 0 … 1", *DIRECTION_NAMES.values(), *labels]
    assert [head.lower() for head in ranking.head] == [head.lower() for head in heads]
    for row, (mean, directions, further) in zip(ranking.rows, ranking_cells(report), strict=True):
        assert (row[2], row[5:9], row[9:]) == (mean, directions, further)
    (accuracies,) = [table for table in rest if table.head[1:2] == ["Direction"]]
    expected = [
        [text for name in display_columns(Result) for text in cells_of(report.result(metric, d), name)]
        for metric in report.metrics
        for d in DIRECTIONS
    ]
    assert [row[2:] for row in accuracies.rows] == expected
    assert all(len(row) == len(table.head) for table in [ranking, *rest] for row in table.rows)


def test_baselines_are_marked_and_findings_are_listed(plain):
    text = Page(page(plain)).text
    assert "chance (baseline)" in text
    assert plain.findings
    for finding in plain.findings:
        assert finding.text in text


def test_reports_on_other_benchmarks_are_on_the_same_page(odd, plain):
    parsed = Page(page(plain, others=[odd], extra=[("More", "<p>of it</p>")]))
    assert parsed.tags.count("h1") == 1
    assert {"More", "of it"} <= set(parsed.texts)
    assert str(odd.signature) in parsed.text and str(plain.signature) in parsed.text


# ---- Card ----


@pytest.mark.parametrize("report", ["odd", "plain"])
def test_the_table_of_a_card_is_a_table_with_the_numbers_of_the_report(report, request):
    report = request.getfixturevalue(report)
    (table,) = markdown_tables(card(report))
    labels = [column.label for column in display_columns(Score).values()][1:]
    assert table.head == ["metric", "mean", "95% interval", *DIRECTION_NAMES.values(), *labels]
    for row, score, (mean, directions, further) in zip(
        table.rows, report.ranking, ranking_cells(report), strict=True
    ):
        assert row[0] == shown(formats.metric_label(report, score.metric))
        assert (row[1], row[3:7], row[7:]) == (mean, directions, further)


@pytest.mark.parametrize("report", ["odd", "plain"])
def test_findings_and_signatures_of_a_card_are_texts(report, request):
    report = request.getfixturevalue(report)
    text = card(report)
    items = [shown(finding.text) for finding in report.findings]
    assert markdown_items(text) == [*items, *(shown(str(one)) for one in report.signatures.values())]
    headings = ["Findings"] if report.findings else []
    assert markdown_headings(text) == ["Contrastive robustness checks (CROC)", *headings, "Signatures"]


def test_the_metadata_of_a_card_names_the_dataset_of_the_report(plain):
    results = ModelCard(card(plain)).data.eval_results
    assert {result.dataset_type for result in results} == {"org/checks"}
    assert (results[0].metric_name, results[0].metric_value) == (
        "mean scaled accuracy",
        round(plain.ranking[0].scaled, 4),
    )


# ---- LaTeX ----


def test_latex_is_balanced_and_escaped(odd):
    source = latex(odd)
    bare = source.replace(r"\\", "").replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")
    assert len(re.findall(r"(?<!\\)\$", bare)) % 2 == 0
    body = source[source.index(r"\midrule") : source.index(r"\bottomrule")]
    rows = body.replace(r"\midrule", "").strip().split("\\\\\n")
    columns = len(re.findall(r"(?<!\\)&", source[source.index(r"\toprule") : source.index(r"\midrule")])) + 1
    for row in rows:
        row = row.removesuffix(r" \\")
        assert len(re.findall(r"(?<!\\)&", row)) + 1 == columns
        assert not row.lstrip().startswith(("[", "*"))  # \\[ and \\* mean something else to LaTeX
    assert r"CLIP\_Score \& 100\% \$x\$ \#1" in source


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles(odd, tmp_path):
    head = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs}\begin{document}"
    source = "".join(letter for letter in latex(odd) if ord(letter) < 256)
    (tmp_path / "t.tex").write_text(head + source + r"\end{document}", "utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_latex_shows_the_numbers_of_the_report(plain):
    source = latex(plain)
    for metric in plain.metrics:
        for direction in DIRECTIONS:
            assert f"${plain.result(metric, direction).scaled:+.2f}$" in source
    assert all(name.capitalize() in source for name in DIRECTION_NAMES.values())
    caption = source[source.index(r"\caption") :].replace(r"\textbar{}", "|").replace(r"\_", "_")
    assert plain.signature.short() in caption and plain.signature.short().startswith("v:")


# ---- Heatmap, terminal, all together ----


def test_the_heatmap_is_a_png_that_is_the_same_each_time(odd):
    data = heatmap_png(odd, dpi=50)
    image = Image.open(io.BytesIO(data))
    image.load()
    assert (image.format, image.width > 200, image.height > 100) == ("PNG", True, True)
    assert heatmap_png(odd, dpi=50) == data


@pytest.mark.parametrize("report", ["odd", "plain"])
def test_the_terminal_shows_names_as_they_are(report, request):
    report = request.getfixturevalue(report)
    console = Console(file=io.StringIO(), width=400)
    for part in terminal(report):
        console.print(part)
    text = console.file.getvalue()
    for name in report.metrics:
        assert name.split("\n")[0] in text
    for name in DIRECTION_NAMES.values():
        assert name in text
    for mean, directions, further in ranking_cells(report):
        assert all(cell in text for cell in (mean, *directions, *further))
    assert str(report.signature) in text


def test_all_renderings_are_written_together(odd, tmp_path):
    paths = write_all(odd, tmp_path / "new" / "folder")
    assert [path.suffix for path in paths] == [".json", ".tex", ".png", ".html"]
    assert all(path.stat().st_size for path in paths)
    assert sorted(path.name for path in paths[0].parent.iterdir()) == sorted(path.name for path in paths)


@pytest.mark.parametrize(("number", "text"), [(1, "1 check"), (0, "0 checks"), (1200, "1,200 checks")])
def test_counts_have_their_noun_in_the_singular_or_plural(number, text):
    assert counted(number, "check") == text


def test_a_count_without_a_value_is_a_dash():
    assert (formats.count(1200), formats.count(None)) == ("1,200", "–")
