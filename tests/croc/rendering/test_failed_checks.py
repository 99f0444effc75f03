"""The report's page shows the checks that a metric failed, by property and with their images."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from parsed import Page

from croc.checks.sources import open_checks
from croc.cli import main
from croc.rendering import fragments as pages
from croc.rendering.failed_checks import MOST, PER_PROPERTY, failed_checks
from croc.results.files import read_result
from croc.tables.readers import read_score_tables
from croc.verdict.evaluation import evaluate_tables
from croc.verdict.report import Settings

SYN = pages.RESULTS / "syn"
FAST = ["--resamples", "0", "--permutations", "0"]


@pytest.fixture(scope="module")
def shown():
    tables = read_score_tables([SYN], groups=["property", "category"])
    report = evaluate_tables(tables, Settings(resamples=0, flips=0))
    return failed_checks(report, tables, open_checks(str(pages.CHECKS)))


def test_the_failed_checks_of_a_metric_are_those_of_its_results_file(shown):
    failures = read_result(SYN / "crocscore-tiny.json").failures
    prompts = {row.check_id: row.prompt for row in open_checks(str(pages.CHECKS)).texts}
    assert 0 < len(failures) < MOST  # all of them are in the file and on the page
    section = next(part for part in shown.split("<details") if "<summary>crocscore-tiny<" in part)
    section = f"<details{section}"
    per_property = {}
    for failure in failures:
        per_property.setdefault(failure.property, []).append(failure)
    # The file has a few of each category, the page of each property: it may have more of them.
    least = sum(min(len(found), PER_PROPERTY) for found in per_property.values())
    assert least <= section.count('<li class="panel">') <= PER_PROPERTY * len(per_property)
    text = Page(section).text
    for name, found in per_property.items():
        assert f"<h3>{(name or 'other').replace('_', ' ')}</h3>" in section
        assert any(prompts[failure.check_id].split()[-1] in text for failure in found)
        assert any(pages.failed_directions(failure) in text for failure in found)
    assert section.count('<img src="data:image/webp') == 2 * section.count('<li class="panel">')


def test_baselines_have_no_section(shown):
    assert "<summary>colour-words" in shown
    assert "<summary>random" not in shown


def evaluate(*arguments):
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments), *FAST])


def test_the_page_has_the_images_where_the_dataset_is_known(tmp_path):
    assert evaluate(SYN, "--html", tmp_path / "sample.html").exit_code == 0
    assert "Failed checks" in Page((tmp_path / "sample.html").read_text()).texts
    assert evaluate(pages.RESULTS / "hum", "--html", tmp_path / "hum.html").exit_code == 0
    assert "Failed checks" not in Page((tmp_path / "hum.html").read_text()).texts


def test_another_dataset_is_refused_in_a_sentence(tmp_path):
    done = evaluate(pages.RESULTS / "hum", "--html", tmp_path / "hum.html", "--checks", pages.CHECKS)
    assert done.exit_code == 2
    assert "has none of the" in done.stderr
    assert not (tmp_path / "hum.html").exists()
