"""Do the results depend on the generator: paired where concepts are shared, with intervals and tests."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console
from score_rows import check_rows, table

from croc.rendering.page import page as html_page
from croc.rendering.terminal import terminal
from croc.verdict.evaluation import evaluate_tables
from croc.verdict.generator_effects import GENERATORS
from croc.verdict.report import Report, Settings

FAST = Settings(by=("image_model",), resamples=400, flips=999)
RIGHT = [(2.0, 1.0)], [(1.0, 2.0)]
WRONG = [(1.0, 2.0)], [(2.0, 1.0)]


def rows_of(passed, *, column="image_model", concept="c", **more):
    """A check a spec and generator: ``{generator: [passed in spec 0, 1, …]}``."""
    return [
        line
        for name, verdicts in passed.items()
        for number, right in enumerate(verdicts)
        for line in check_rows(
            f"{name} {concept}{number}",
            *(RIGHT if right else WRONG),
            **{"concept_id": f"{concept}{number}", column: name, "subset": "property_variation", **more},
        )
    ]


def dependence(rows, settings=FAST, metric="m"):
    report = evaluate_tables([table(metric, rows, "syn")], settings)
    return report, report.dependences


def test_the_difference_is_that_of_the_mean_scaled_accuracies() -> None:
    # K = 1 a side: every direction passes or fails with the check, chance is one half, so the mean scaled
    # accuracy is 2·share − 1: 1 − 0 and 2·0.5 − 1.
    _, (pair,) = dependence(rows_of({"flux": [1] * 20, "sd": [1, 0] * 10}))
    (one,) = pair.differences
    assert (pair.column, pair.first, pair.second, pair.paired, pair.concepts) == (
        "image_model",
        "flux",
        "sd",
        True,
        20,
    )
    assert (one.first, one.second, one.difference) == (1.0, 0.0, 1.0)
    assert one.ci_low < 1.0 < one.ci_high or one.ci_low < 1.0 == one.ci_high
    assert one.p_adjusted < 0.05


def test_pairing_narrows_the_interval_when_specs_are_hard_for_both() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(60) < 0.5
    both = {"a": (~hard).tolist(), "b": [ok and n % 10 != 0 for n, ok in enumerate(~hard)]}
    apart = rows_of({"a": both["a"]}) + rows_of({"b": both["b"]}, concept="other")
    _, (paired,) = dependence(rows_of(both))
    _, (unpaired,) = dependence(apart)
    assert paired.paired and not unpaired.paired
    assert paired.differences[0].difference == pytest.approx(unpaired.differences[0].difference)
    width = lambda pair: pair.differences[0].ci_high - pair.differences[0].ci_low  # noqa: E731
    assert width(paired) < width(unpaired) / 2


def test_only_the_specs_that_both_have_are_compared() -> None:
    rows = rows_of({"a": [1] * 10 + [0] * 10, "b": [1] * 10})
    _, (pair,) = dependence(rows)
    assert (pair.paired, pair.concepts) == (True, 10)
    assert pair.differences[0].difference == 0.0
    assert pair.differences[0].p == 1.0


def test_the_test_is_exact_about_signs() -> None:
    # Six specs, all of them won by "a": of 2**6 sign vectors two are as extreme, p = 2/64 = 0.03125.
    settings = Settings(by=("image_model",), resamples=200, flips=20_000)
    _, (pair,) = dependence(rows_of({"a": [1] * 6, "b": [0] * 6}), settings)
    assert pair.differences[0].p == pytest.approx(2 / 64, abs=0.004)


@pytest.mark.parametrize("column", GENERATORS)
def test_each_kind_of_generator_is_compared(column: str) -> None:
    rows = rows_of({"p": [1] * 12, "q": [1, 0, 0] * 4}, column=column)
    report, (pair,) = dependence(rows, Settings(by=(column,), resamples=200, flips=499))
    assert pair.column == column and pair.paired
    assert pair.differences[0].difference == pytest.approx(1 - (2 / 3 - 1))
    kinds = [finding.kind for finding in report.findings]
    assert "depends_on_generator" in kinds


def test_image_models_are_compared_on_prompts_of_the_same_text_model() -> None:
    rows = rows_of({"a": [1] * 8, "b": [1] * 8}, text_model="x")
    rows += rows_of({"a": [0] * 8}, text_model="y", concept="d")
    _, (pair,) = dependence(rows)
    assert (pair.concepts, pair.differences[0].difference) == (8, 0.0)


def test_three_generators_give_three_pairs_adjusted_together() -> None:
    rows = rows_of({"a": [1] * 9, "b": [1, 0, 1] * 3, "c": [0] * 9})
    _, pairs = dependence(rows)
    assert [(pair.first, pair.second) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    for pair in pairs:
        assert pair.differences[0].p_adjusted >= pair.differences[0].p


def test_two_metrics_that_change_places_have_a_rank_agreement_of_minus_one() -> None:
    tables = [
        table("one", rows_of({"a": [1] * 10, "b": [0] * 10}), "syn"),
        table("two", rows_of({"a": [0] * 10, "b": [1] * 10}), "syn"),
    ]
    report = evaluate_tables(tables, FAST)
    assert report.dependences[0].tau == -1.0
    assert {d.metric: d.difference for d in report.dependences[0].differences} == {"one": 2.0, "two": -2.0}


def test_two_specs_give_no_interval_and_no_test() -> None:
    _, (pair,) = dependence(rows_of({"a": [1, 1], "b": [0, 0]}))
    (one,) = pair.differences
    assert (one.difference, one.ci_low, one.p) == (2.0, None, None)


def test_nothing_is_said_without_a_breakdown_by_generator() -> None:
    report, pairs = dependence(
        rows_of({"a": [1] * 5, "b": [0] * 5}), Settings(by=("subset",), resamples=100, flips=99)
    )
    assert pairs == ()
    assert json.loads(report.to_json())["dependences"] == []


def test_terminal_page_and_json_show_the_same_comparison() -> None:
    report, (pair,) = dependence(rows_of({"<flux>": [1] * 12, "sd[3.5]": [1, 0] * 6}))
    console = Console(width=300, file=io.StringIO(), record=True)
    for part in terminal(report):
        console.print(part)
    shown = console.export_text()
    assert (
        "Do the results depend on the image_model? <flux> against sd[3.5], on the same 12 concepts" in shown
    )
    page = html_page(report)
    assert "&lt;flux&gt; against sd[3.5], on the same 12 concepts, paired" in page
    (stored,) = Report.from_dict(json.loads(report.to_json())).dependences
    assert stored == pair and stored.differences[0].difference == 1.0
    assert stored.differences[0].signature == str(report.signatures["m"])
