"""A report on a terminal, as LaTeX, heatmap, page and card: what is shown are its numbers and no others."""

from __future__ import annotations

import io
import re
import shutil
import subprocess

import numpy as np
import pytest
from huggingface_hub import ModelCard
from parsed import Page, latex_tables, markdown_headings, markdown_items, markdown_tables
from PIL import Image
from reports import PERFECT, WRONG, noisy, report_of
from rich.console import Console
from score_rows import check_rows

from croc.checks.schema import CATEGORIES, DIRECTIONS, SUBSETS
from croc.rendering import formats
from croc.rendering.card import card
from croc.rendering.heatmap import _panels, heatmap_png
from croc.rendering.latex import latex
from croc.rendering.page import page, write_all
from croc.rendering.terminal import terminal
from croc.verdict.records import DIRECTION_NAMES, Result, Score, display_columns
from croc.verdict.report import Settings
from croc.wording import counted, signed

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
        directions = [signed(report.result(score.metric, d).scaled) for d in DIRECTIONS]
        further = [formats.cell(score, name) for name in display_columns(Score)][1:]
        yield signed(score.scaled), directions, further


def cells_of(record, name):
    """A number, and its interval where it has one."""
    interval = [formats.cell_interval(record, name)] if display_columns(type(record))[name].interval else []
    return [formats.cell(record, name), *interval]


# ---- Page ----


def test_a_page_shows_names_and_runs_nothing(odd):
    parsed = Page(page(odd))
    assert "script" not in parsed.tags
    for name in [*NAMES, formats.group_label(GROUP)]:
        assert name in parsed.text


def test_a_page_needs_no_network(odd):
    picture = '<img src="data:image/webp;base64,AAAA">'
    shown = page(odd, extra=[("Failed checks", picture)])
    parsed = Page(shown)
    assert parsed.addresses == ["data:image/webp;base64,AAAA"]
    assert "url(" not in shown and "@import" not in shown
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


def test_groups_are_rows_with_the_colours_of_the_heatmap_and_those_without_a_value_are_last(plain):
    assert [formats.heat(value) for value in (-1, -0.5, 0.1, 0.5, 1, None)] == [
        "h0",
        "h2",
        "h4",
        "h6",
        "h8",
        "",
    ]
    assert formats.values_last(["(none)", "colour", "zoo"]) == ["colour", "zoo", "(none)"]
    assert formats.group_label("(none)", "text_model") == "no text model"
    parsed = Page(page(plain))
    for column, values in plain.groupings.items():
        (table,) = [table for table in parsed.tables if table.head[0].lower() == column.replace("_", " ")]
        assert table.head[1:] == [*plain.metrics, "Checks"]
        assert [row[0] for row in table.rows] == [
            formats.group_label(value, column) for value in formats.values_last(values)
        ]
        for row, value in zip(table.rows, formats.values_last(values), strict=True):
            numbers = [signed(plain.score(metric, column, value).scaled) for metric in plain.metrics]
            assert [cell.split("[")[0].strip() for cell in row[1:-1]] == numbers


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


@pytest.fixture(scope="module")
def published():
    """Reports in paper mode on syn and hum: metrics with odd names, two text models, a further grouping."""

    def rows(seed, column, values):
        generated = noisy(seed, 24, 0.5, category=values)
        for number, row in enumerate(generated):
            row |= {column: row["category"], "text_model": "ab"[number // 4 % 2], "topic": GROUP}
        return generated

    settings = Settings(paper=True, by=("topic",), resamples=0, flips=0)
    made = {}
    for protocol, column, values in (("syn", "subset", SUBSETS), ("hum", "category", CATEGORIES)):
        tables = {name: rows(seed, column, values) for seed, name in enumerate(NAMES)}
        made[protocol] = report_of(tables, protocol=protocol, settings=settings, dataset="org/checks_of|mine")
    return made


@pytest.fixture
def report(request, odd, published):
    return odd if request.param == "default" else published[request.param]


@pytest.mark.parametrize("report", ["default", "syn", "hum"], indirect=True)
def test_latex_is_balanced_and_escaped(report):
    source = latex(report)
    assert latex_tables(source)
    assert r"CLIP\_Score \& 100\% \$x\$ \#1" in source
    labels = re.findall(r"\\label{(.*?)}", source)
    assert len(set(labels)) == source.count(r"\begin{table}")


def test_latex_of_syn_in_paper_mode_has_the_layout_of_the_paper(published):
    report = published["syn"]
    table, by_topic = latex_tables(latex(report))
    assert len(table.head) == 2 + len(report.metrics) and table.head[:2] == ["Direction", "Subset"]
    cells = [(direction, subset) for direction in DIRECTIONS for subset in SUBSETS]
    assert len(table.rows) == len(cells) + 1
    for number, (row, (direction, subset)) in enumerate(zip(table.rows, cells, strict=False)):
        name = DIRECTION_NAMES[direction].capitalize() if number % len(SUBSETS) == 0 else ""
        assert row[:2] == [name, subset.replace("_", " ")]
        for text, metric in zip(row[2:], report.metrics, strict=True):
            assert float(text) == pytest.approx(
                report.scaled(metric, direction, "subset", subset), abs=5.1e-4
            )
    assert table.rows[-1][:2] == ["Average", ""]
    average = [report.score(metric).macro for metric in report.metrics]
    assert list(map(float, table.rows[-1][2:])) == pytest.approx(average, abs=5.1e-4)
    assert by_topic.head[:2] == ["Metric", "Mean"] and len(by_topic.rows) == len(NAMES)
    assert "Kendall tau-b between a and b over 144 cells" in latex(report)


def test_the_best_metric_of_a_row_is_bold_in_the_table_of_syn(published):
    report = published["syn"]
    bold = re.findall(r"\\mathbf{(.*?)}", latex(report))
    for direction in DIRECTIONS:
        for subset in SUBSETS:
            values = [report.scaled(metric, direction, "subset", subset) for metric in report.metrics]
            best = [f"{value:+.3f}" for value in values if value > max(values) - 1e-9]
            assert bold[: len(best)] == best
            del bold[: len(best)]
    assert not bold


def test_latex_of_hum_in_paper_mode_has_the_panels_of_the_paper(published):
    report = published["hum"]
    table, _ = latex_tables(latex(report))
    assert table.head == ["Metric", *(name.replace("_", " ") for name in CATEGORIES), "AVG"]
    height = len(report.metrics) + 2
    panels = [table.rows[:height], table.rows[height:]]
    for kind, (heading, *rows, average) in zip(("text", "image"), panels, strict=True):
        assert heading == [f"{kind.capitalize()} directions"]
        values = np.array(
            [
                [
                    np.mean(
                        [report.scaled(m, f"{way}_{kind}", "category", c) for way in ("forward", "inverse")]
                    )
                    for c in CATEGORIES
                ]
                for m in report.metrics
            ]
        )
        full = np.column_stack([values, values.mean(axis=1)])
        assert np.array([row[1:] for row in rows], float) == pytest.approx(full, abs=5.1e-3)
        assert average[0] == "AVG"
        assert np.array(average[1:], float) == pytest.approx(full.mean(axis=0), abs=5.1e-3)


def test_a_negative_correlation_of_text_models_has_a_minus_that_latex_knows():
    rows = []
    for model, scores in (
        ("a", {"action": PERFECT, "counting": WRONG}),
        ("b", {"action": WRONG, "counting": PERFECT}),
    ):
        for category, sides in scores.items():
            rows += check_rows(f"{model} {category}", *sides, category=category, text_model=model)
    report = report_of({"m": rows}, settings=Settings(paper=True, resamples=0, flips=0))
    (sentence,) = formats.text_model_sentences(report)
    assert sentence.endswith(" over 8 cells (metrics × directions × groups): −1.000.")
    assert "over 8 cells (metrics $\\times$ directions $\\times$ groups): $-$1.000." in latex(report)


def test_the_agreement_of_text_models_is_on_terminal_and_page(published):
    report = published["syn"]
    (sentence,) = formats.text_model_sentences(report)
    console = Console(file=io.StringIO(), width=400)
    for part in terminal(report):
        console.print(part)
    assert sentence in console.file.getvalue()
    assert sentence in Page(page(report)).text


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.parametrize("report", ["default", "syn", "hum"], indirect=True)
def test_latex_compiles(report, tmp_path):
    head = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs}\begin{document}"
    source = "".join(letter for letter in latex(report) if ord(letter) < 256)
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


def test_the_heatmap_of_hum_in_paper_mode_has_two_panels_with_averages(published):
    panels = _panels(published["hum"])
    assert [panel.title for panel in panels] == ["text directions", "image directions", "by topic"]
    for panel in panels[:2]:
        assert panel.rows[-1] == panel.names[-1] == "AVG"
        assert (len(panel.values), len(panel.values[0])) == (len(NAMES) + 1, len(CATEGORIES) + 1)


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
