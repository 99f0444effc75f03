"""A report read back from its JSON is the same report; what is no report is refused with its place."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reports import FAST, noisy, report_of
from score_rows import check_rows

from croc.errors import InputError
from croc.verdict.records import Result, Score, display_columns
from croc.verdict.report import Report, Settings

SCORES = st.one_of(st.none(), st.floats(-3, 3), st.sampled_from([0.0, 1.0]))


@st.composite
def tables(draw):
    """Score tables of one to three metrics: missing scores, ties, one-sided checks, ungrouped checks."""
    concepts = draw(st.integers(1, 7))
    made = {}
    names = st.lists(st.sampled_from(["a", "b|c", "d e"]), min_size=1, max_size=3, unique=True)
    for metric in draw(names):
        rows = []
        for number in range(concepts):
            k, kc = (1 + number % 2, number % 3)
            sides = [[(draw(SCORES), draw(SCORES)) for _ in range(images)] for images in (k, kc)]
            rows += check_rows(
                f"c{number}",
                *sides,
                concept_id=f"k{number // 2}",
                category=("action", None, "counting")[number % 3],
                subset="property_variation",
                text_model=("x", "y")[number % 2],
                image_model=("p", "q")[number % 2],
            )
        made[metric] = rows
    return made


def there_and_back(report):
    return Report.from_dict(json.loads(report.to_json()))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    made=tables(),
    protocol=st.sampled_from(["syn", "hum"]),
    paper=st.booleans(),
    by=st.sampled_from([(), ("category",), ("category", "text_model", "image_model")]),
    resamples=st.sampled_from([0, 30]),
    flips=st.sampled_from([0, 30]),
)
def test_a_report_read_back_is_the_same_report(made, protocol, paper, by, resamples, flips):
    report = report_of(made, protocol, Settings(paper, by, resamples, flips))
    again = there_and_back(report)
    assert again == report
    assert again.to_json() == report.to_json()
    records = [*report.results, *report.scores, *report.comparisons, *report.findings, *report.dependences]
    others = [*again.results, *again.scores, *again.comparisons, *again.findings, *again.dependences]
    assert [one.signature for one in records] == [one.signature for one in others]
    assert all(one.signature for one in records)


def test_a_report_with_findings_comparisons_and_dependences_is_the_same():
    rows = {name: noisy(seed, 60, -1.0) for seed, name in enumerate("mn")}
    rows = {
        name: [one | {"image_model": "pq"[int(one["check_id"].split()[1]) % 2]} for one in of]
        for name, of in rows.items()
    }
    report = report_of(
        rows, settings=Settings(by=("category", "image_model"), resamples=100, flips=999), dataset="org/x"
    )
    assert report.findings and report.comparisons and report.dependences
    assert there_and_back(report) == report


def test_a_signature_names_the_metrics_that_a_record_is_about():
    report = report_of({name: noisy(seed, 60, -1.0) for seed, name in enumerate("mno")})
    assert report.results[0].signature == str(report.signatures[report.results[0].metric])
    comparison = report.comparisons[0]
    both = (str(report.signatures[name]) for name in (comparison.better, comparison.worse))
    assert comparison.signature == " / ".join(both)


def test_a_report_read_back_has_no_resamples_to_compare_rankings_by():
    report = report_of({"m": noisy(0, 9), "n": noisy(1, 9)})
    with pytest.raises(InputError, match="resamples"):
        there_and_back(report).agreement(report)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda c: c.update(verdict=1), "verdict"),
        (lambda c: c.pop("scores"), "scores"),
        (lambda c: c["results"][0].update(accuracy="0.5"), "results.0.accuracy"),
        (lambda c: c["results"][0].update(accuracy=1.5), "results.0.accuracy"),
        (lambda c: c["results"][0].update(accuracy=float("nan")), "results.0.accuracy"),
        (lambda c: c["results"][0].update(direction="sideways"), "results.0.direction"),
        (lambda c: c["results"][0].update(metric="other"), "'other' has no signature"),
        (lambda c: c["scores"][0].update(rank=0), "scores.0.rank"),
        (lambda c: c["settings"].update(level=2), "settings.level"),
        (lambda c: c.update(signature="no signature"), "signature"),
        (lambda c: c.update(samples={}), "samples"),
    ],
)
def test_what_is_no_report_is_refused_with_its_place(change, place):
    content = report_of({"m": noisy(0, 9)}).to_dict()
    change(content)
    with pytest.raises(InputError, match=f"not a report: .*{place}"):
        Report.from_dict(content)


@pytest.mark.parametrize("content", [None, [], "x", 1, {1, 2}])
def test_what_is_no_object_is_refused(content):
    with pytest.raises(InputError, match="not a report"):
        Report.from_dict(content)


@pytest.mark.parametrize("record", [Result, Score])
def test_every_number_of_a_table_says_how_it_is_written(record):
    shown = display_columns(record)
    assert shown
    for column in shown.values():
        assert column.label and column.kind in ("scaled", "share", "probability", "count")


def test_numbers_are_looked_up_by_metric_direction_and_group():
    report = report_of({"m": noisy(0, 9), "n": noisy(1, 9)}, settings=FAST)
    assert report.result("m", "forward_text", "category", "action").group_value == "action"
    assert report.result("m", "forward_text", "category", "none") is None
    assert report.find_score("m", "category", "none") is None
    assert report.groupings == {"category": ("action",)}
    assert {score.metric for score in report.ranking} == set(report.metrics) == {"m", "n"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"images": 0}, "images=0: input should be greater than or equal to 1"),
        ({"average": "mean"}, "average='mean': input should be 'micro' or 'macro'"),
        ({"level": 1.0}, "level=1.0: input should be less than 1"),
        ({"flips": -1}, "permutations=-1: input should be greater than or equal to 0"),
        ({"by": "category"}, "by='category': input should be a valid tuple"),
    ],
)
def test_settings_out_of_range_are_refused(values, message):
    with pytest.raises(InputError, match=re.escape(message)):
        Settings(**values)
