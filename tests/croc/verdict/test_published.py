"""The tables of the paper: golden accuracies give the published table, heatmaps and correlation."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from reports import noisy, report_of
from score_rows import check_rows

from croc.checks.schema import DIRECTIONS
from croc.verdict.evaluation import evaluate
from croc.verdict.published import AVERAGE, category_panels, subset_table, text_model_agreements
from croc.verdict.report import Settings

PAPER = Settings(paper=True, resamples=0, flips=0)
SUBSET_NAMES = {"property_variation": "subject_property"}
CATEGORY_NAMES = {"spatial_relation": "spacial_relation"}


@pytest.mark.parametrize("name", ["a", "ties", "missing"])
def test_the_table_of_syn_has_the_published_numbers(shared_data, name):
    golden = json.loads((shared_data / "golden" / f"syn_scores_{name}.json").read_text("utf-8"))
    report = evaluate([shared_data / "golden" / f"syn_scores_{name}.tsv.gz"], settings=PAPER)
    table = subset_table(report)
    assert len(table.cells) == 12
    expected = np.array(
        [
            [golden[direction]["scaled"][SUBSET_NAMES.get(subset, subset)][m] for m in table.metrics]
            for direction, subset in table.cells
        ]
    )
    assert np.round(table.values, 3) == pytest.approx(expected, abs=1e-9)
    assert np.array(table.average) == pytest.approx(expected.mean(axis=0), abs=5e-4)
    assert table.average == pytest.approx([report.score(metric).macro for metric in table.metrics])


@pytest.mark.parametrize("name", ["a", "ties", "missing"])
def test_the_correlation_of_text_models_is_the_published_one(shared_data, name):
    golden = json.loads((shared_data / "golden" / f"syn_scores_{name}.json").read_text("utf-8"))
    report = evaluate([shared_data / "golden" / f"syn_scores_{name}.tsv.gz"], settings=PAPER)
    (found,) = text_model_agreements(report)
    cells = [
        [
            accuracy
            for direction in DIRECTIONS
            for of_subset in golden[direction]["accuracy"][model].values()
            for accuracy in of_subset.values()
        ]
        for model in (found.first, found.second)
    ]
    assert found.cells == len(cells[0]) == 72
    assert found.tau == pytest.approx(scipy.stats.kendalltau(*cells).statistic, abs=1e-12)


@pytest.mark.parametrize("name", ["a", "ties", "missing"])
def test_the_panels_of_hum_have_the_published_numbers(shared_data, name):
    golden = json.loads((shared_data / "golden" / f"hum_scores_{name}.json").read_text("utf-8"))
    report = evaluate([shared_data / "golden" / f"hum_scores_{name}"], settings=PAPER)
    for kind, panel in zip(("text", "image"), category_panels(report), strict=True):
        assert panel.metrics[-1] == panel.categories[-1] == AVERAGE
        expected = np.array(
            [
                [
                    np.mean(
                        [
                            2 * golden[CATEGORY_NAMES.get(c, c)][metric][f"{way}_{kind}"] - 1
                            for way in ("forward", "inverse")
                        ]
                    )
                    for c in panel.categories[:-1]
                ]
                for metric in panel.metrics[:-1]
            ]
        )
        expected = np.vstack([expected, expected.mean(axis=0)])
        expected = np.column_stack([expected, expected.mean(axis=1)])
        assert np.array(panel.values) == pytest.approx(expected, abs=1e-9)


def test_a_category_without_one_direction_is_left_out_of_the_averages():
    whole = check_rows("a", [(0.9, 0.1)], [(0.2, 0.8)], category="action")
    one_side = check_rows("b", [(0.1, 0.9)], [], category="counting")  # no inverse text, no image directions
    report = report_of({"m": whole + one_side}, settings=PAPER)
    text, image = category_panels(report)
    assert text.categories == ("action", "counting", AVERAGE)
    assert text.values == image.values == ((1.0, None, 1.0), (1.0, None, 1.0))


@pytest.mark.parametrize("settings", [replace(PAPER, paper=False), PAPER])
@pytest.mark.parametrize("protocol", ["syn", "hum"])
def test_there_are_no_tables_of_the_paper_without_its_mode_and_columns(settings, protocol):
    rows = [row | ({"category": None} if settings.paper else {}) for row in noisy(0, 6)]
    report = report_of({"m": rows}, protocol=protocol, settings=settings)
    assert subset_table(report) is None
    assert category_panels(report) == text_model_agreements(report) == ()


def test_paper_mode_has_the_published_grouping_beside_others():
    rows = [row | {"topic": "x"} for row in noisy(0, 12, category=["action", "counting"])]
    report = report_of({"m": rows}, settings=replace(PAPER, by=("topic",)))
    assert set(report.groupings) == {"category", "topic"}
    assert report.signature.get("average") == "macro(category)"
