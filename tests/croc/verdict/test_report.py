"""What a report says: numbers with their signature, intervals, tests, findings, in every form shown."""

from __future__ import annotations

import io
import itertools
import json
import re
from dataclasses import fields

import numpy as np
import pytest
from parsed import Page
from reports import FAST, PERFECT, WRONG, noisy, report_of
from rich.console import Console
from score_rows import check_rows

from croc.checks.schema import DIRECTIONS
from croc.errors import InputError
from croc.rendering import formats
from croc.rendering.latex import latex
from croc.rendering.page import page as html_page
from croc.rendering.terminal import terminal
from croc.verdict.report import Settings
from croc.verdict.statistics import adjust


def kinds(report):
    return {finding.kind for finding in report.findings}


# ---- The JSON contract ----

RESULT_KEYS = {
    "metric", "direction", "group", "group_value", "text_model", "accuracy", "scaled", "chance", "n", "ties",
    "coverage", "ci_low", "ci_high", "scaled_ci_low", "scaled_ci_high",
}  # fmt: skip


def two_text_models():
    rows = []
    for number in range(8):
        scores = PERFECT if number % 3 else WRONG
        rows += check_rows(
            f"c{number}",
            *scores,
            text_model="pq"[number % 2],
            subset=("entity_variation", "property_variation")[number % 4 // 2],
        )
    return rows


def test_json_is_flat_with_a_row_per_metric_direction_group_and_text_model():
    report = report_of({"one": two_text_models(), "two": two_text_models()}, "syn")
    content = json.loads(report.to_json())
    assert {"signature", "protocol", "results"} <= content.keys()
    assert content["protocol"] == "syn"
    rows = content["results"]
    assert all(set(row) == RESULT_KEYS for row in rows)
    found = {
        tuple(row[k] for k in ("metric", "direction", "group", "group_value", "text_model")) for row in rows
    }
    groups = [(None, None), ("subset", "entity_variation"), ("subset", "property_variation")]
    assert found == {
        (metric, direction, *group, model)
        for metric in ("one", "two")
        for direction in DIRECTIONS
        for group in groups
        for model in (None, "p", "q")
    }
    assert len(rows) == len(found)


def test_all_numbers_stay_inside_what_they_mean():
    report = report_of({"m": noisy(0), "holes": noisy(1)[5:]})
    for one in report.results:
        for share in (one.accuracy, one.chance, one.ties, one.coverage):
            assert 0 <= share <= 1
        assert one.ci_low <= one.accuracy <= one.ci_high
        assert -1 <= one.scaled_ci_low <= one.scaled <= one.scaled_ci_high <= 1
        assert isinstance(one.n, int)


def test_n_counts_checks_and_coverage_counts_absent_rows():
    # 10 concepts of one check each; the second metric lacks all rows of the first check.
    report = report_of({"full": noisy(0, 10), "part": noisy(1, 10)[4:]})
    of = {(r.metric, r.direction): r for r in report.results if r.group is None}
    for direction in DIRECTIONS:
        assert (of["full", direction].n, of["full", direction].coverage) == (10, 1)
        assert (of["part", direction].n, of["part", direction].coverage) == (9, 0.9)
    assert "incomplete" in kinds(report)


def test_nothing_in_json_is_nan_even_where_nothing_is_known():
    rows = check_rows("a", [(None, None)], [(None, None)], category="action")
    rows += check_rows("b", [(None, 1.0)], [], category="negation")
    others = [*noisy(0, 3), *check_rows("a", *PERFECT, category="action")]
    report = report_of({"m": rows, "n": others})
    text = report.to_json()
    assert "NaN" not in text
    assert "Infinity" not in text
    empty = [one for one in report.results if one.metric == "m" and one.group is None]
    assert [one.n for one in empty] == [0, 0, 0, 0]
    assert {one.accuracy for one in empty} == {None}
    for part in terminal(report):
        Console(file=io.StringIO(), width=200).print(part)
    assert html_page(report)
    assert latex(report)


def test_one_concept_gives_a_verdict_without_an_interval():
    report = report_of({"m": check_rows("a", *PERFECT, category="action")})
    result = report.results[0]
    assert (result.accuracy, result.ci_low, result.ci_high) == (1, None, None)
    assert report.scores[0].ci_low is None


def test_every_record_carries_a_signature_that_says_how_it_came_to_be():
    report = report_of({"m": noisy(0), "n": noisy(1)})
    records = [*report.results, *report.scores, *report.comparisons, *report.findings]
    records += report.agreement(report)
    assert records
    for record in records:
        assert "signature" in {item.name for item in fields(record)}
        for part in (
            "croc:",
            "protocol:hum",
            "seed:",
            "ci:wilson@0.95",
            "resamples:400",
            "checks:60",
            "concepts:60",
        ):
            assert part in record.signature


def test_signatures_tell_settings_apart():
    rows = noisy(0, 5)
    said = [
        report_of({"m": rows}, settings=settings).signature
        for settings in (FAST, Settings(True, (), 400, 999), Settings(resamples=400, flips=999, seed=1))
    ]
    assert len(set(said)) == 3
    assert said[1].get("mode") == "paper"


def test_the_same_seed_gives_the_same_report_and_another_one_other_tests():
    tables = {"m": noisy(0), "n": noisy(1)}
    assert report_of(tables).to_json() == report_of(tables).to_json()
    other = report_of(tables, settings=Settings(resamples=400, flips=999, seed=2))
    assert other.results[0].accuracy == report_of(tables).results[0].accuracy
    assert other.comparisons[0].p != report_of(tables).comparisons[0].p
    assert other.results[0].ci_low == report_of(tables).results[0].ci_low  # nothing is drawn for it


def test_a_groups_numbers_do_not_depend_on_the_other_groups_shown():
    rows = noisy(0, 40, category=["action", "counting"])
    rows = [{**one, "topic": "sea" if int(one["check_id"].split()[1]) < 20 else "wood"} for one in rows]
    alone = report_of({"m": rows, "n": rows}, settings=Settings(by=("category",), resamples=400, flips=999))
    both = report_of(
        {"m": rows, "n": rows}, settings=Settings(by=("topic", "category"), resamples=400, flips=999)
    )
    few = [one for one in rows if one["category"] == "action"]
    only = report_of({"m": few, "n": few}, settings=Settings(by=("category",), resamples=400, flips=999))

    def of(report, group, value):
        found = [one for one in report.results if (one.group, one.group_value) == (group, value)]
        return [(one.accuracy, one.ci_low, one.ci_high, one.scaled_ci_low, one.n) for one in found]

    assert of(alone, None, None) == of(both, None, None)
    assert of(alone, "category", "action") == of(both, "category", "action")
    assert of(alone, "category", "action") == of(only, "category", "action")


def test_a_column_given_twice_is_one_grouping():
    report = report_of(
        {"m": two_text_models()}, "syn", Settings(by=("subset", "subset"), resamples=0, flips=0)
    )
    assert [(s.group, s.group_value) for s in report.scores] == [
        (None, None),
        ("subset", "entity_variation"),
        ("subset", "property_variation"),
    ]


def test_checks_without_a_value_are_a_group_and_no_check_is_lost():
    rows = noisy(0, 9)
    rows = [{**one, "topic": "sea" if int(one["check_id"].split()[1]) < 5 else None} for one in rows]
    report = report_of({"m": rows}, settings=Settings(by=("topic",), resamples=0, flips=0))
    assert {s.group_value: s.n for s in report.scores} == {None: 9, "sea": 5, "(none)": 4}


# ---- Intervals and tests ----


def test_group_score_is_the_share_of_checks_passed_in_every_direction():
    rows = check_rows("a", *PERFECT, category="action") + check_rows("b", *WRONG, category="action")
    # Text directions passed (2 > 1, 5 > 4), image forward not (2 < 4).
    rows += check_rows("c", [(2, 1)], [(4, 5)], category="action")
    score = report_of({"m": rows}).scores[0]
    assert score.group_score == pytest.approx(1 / 3)
    assert (score.text_score, score.image_score) == (pytest.approx(2 / 3), pytest.approx(1 / 3))


def exact_exchange_p(first, second):
    """All exchanges of two metrics concept by concept; rows are the accuracies of a concept."""
    first, second = np.array(first), np.array(second)

    def score(values):
        mean = values.mean(axis=0)
        return np.mean((mean - 0.5) / 0.5)

    observed = abs(score(first) - score(second))
    extreme = 0
    every = list(itertools.product((False, True), repeat=len(first)))
    for swaps in every:
        swap = np.array(swaps)[:, None]
        a, b = np.where(swap, second, first), np.where(swap, first, second)
        extreme += abs(score(a) - score(b)) >= observed - 1e-9
    return extreme / len(every)


def test_the_exchange_test_is_that_of_exhaustive_enumeration_on_few_concepts():
    rng = np.random.default_rng(8)
    tables, accuracy = {}, {}
    for metric, signal in (("m", 1.2), ("n", 0.3)):
        rows, shares = [], []
        for concept in range(6):
            noise = rng.normal(0, 1, (2, 3, 2))
            noise[0, :, 0] += signal
            noise[1, :, 1] += signal
            rows += check_rows(
                f"c{concept}",
                noise[0].tolist(),
                noise[1].tolist(),
                category="action",
                concept_id=f"k{concept}",
            )
            o, c = noise
            shares.append(
                [
                    (o[:, 0] > o[:, 1]).mean(),
                    (c[:, 1] > c[:, 0]).mean(),
                    (o[:, 0][:, None] > c[:, 0][None]).mean(),
                    (c[:, 1][:, None] > o[:, 1][None]).mean(),
                ]
            )
        tables[metric], accuracy[metric] = rows, shares
    report = report_of(tables, settings=Settings(resamples=50, flips=20_000))
    (overall,) = [one for one in report.comparisons if one.group is None]
    assert overall.p == pytest.approx(exact_exchange_p(accuracy["m"], accuracy["n"]), abs=0.012)


def test_no_p_value_of_few_concepts_is_smaller_than_their_number_allows():
    """With three concepts no exchange test can go below 1/4, however many checks they have."""
    rng = np.random.default_rng(1)
    tables = {}
    for metric, gain in (("m", 0.02), ("n", 0.0)):
        rows = []
        for concept in range(3):
            for check in range(70):
                scores = rng.integers(0, 1000, (2, 3, 2)) / 1000
                scores[0, :, 0] += 0.3 + gain
                rows += check_rows(
                    f"{concept} {check}",
                    scores[0].tolist(),
                    scores[1].tolist(),
                    concept_id=f"k{concept}",
                    category="action",
                )
        tables[metric] = rows
    for protocol in ("hum", "syn"):
        report = report_of(tables, protocol, Settings(by=("category",), resamples=50, flips=4_000))
        (overall,) = [one for one in report.comparisons if one.group is None]
        assert overall.p >= 0.22


def test_the_exchange_test_rejects_a_true_null_at_its_level():
    """Two metrics of the same quality differ significantly at 5% in about 5% of the benchmarks."""
    rejected = 0
    trials = 120
    for trial in range(trials):
        tables = {"m": noisy(2 * trial, 25, 0.7), "n": noisy(2 * trial + 1, 25, 0.7)}
        report = report_of(tables, settings=Settings(resamples=0, flips=199))
        (overall,) = [one for one in report.comparisons if one.group is None]
        rejected += overall.p <= 0.05
    assert rejected <= 14  # binomial(120, 0.05): 14 or more has probability 0.004


def test_a_better_metric_is_found_and_ranked_and_like_ones_share_a_rank():
    report = report_of({"weak": noisy(0, 80, 0.1), "good": noisy(1, 80, 2.0), "like": noisy(2, 80, 2.0)})
    ranks = {score.metric: score.rank for score in report.scores if score.group is None}
    assert ranks["good"] == ranks["like"] == 1
    assert ranks["weak"] == 3
    assert report.metrics[-1] == "weak"
    assert all(one.difference >= 0 and one.p <= one.p_adjusted for one in report.comparisons)


@pytest.mark.parametrize("correction", ["holm", "bh", "by"])
def test_every_family_of_p_values_has_the_correction_of_the_settings(correction):
    categories = ["action", "counting", "shapes", "negation"]
    rows = {
        name: [
            row | {"image_model": "pq"[number // 4 % 2]}
            for number, row in enumerate(noisy(seed, 60, -0.4 + 0.5 * seed, category=categories))
        ]
        for seed, name in enumerate("abc")
    }
    settings = Settings(by=("category", "image_model"), resamples=200, flips=999, correction=correction)
    report = report_of(rows, settings=settings)
    for column in (None, "category", "image_model"):
        family = [one for one in report.comparisons if one.group == column]
        assert [one.p_adjusted for one in family] == pytest.approx(
            adjust([one.p for one in family], correction)
        )
    differences = [one for pair in report.dependences for one in pair.differences]
    expected = adjust([one.p for one in differences], correction)
    assert [one.p_adjusted for one in differences] == pytest.approx(expected)
    assert report.signature.get("correction") == (None if correction == "holm" else correction)
    sentence = formats.describe_correction(correction)
    heads = {head for table in Page(html_page(report)).tables for head in table.head}
    if correction == "holm":
        assert "p (Holm)" in heads and "p (FDR)" not in heads
    else:
        assert "p (FDR)" in heads and "p (Holm)" not in heads and "false discovery rate" in sentence
    assert sentence in Page(html_page(report)).text


def test_the_false_discovery_rate_finds_at_least_what_holm_finds():
    rows = {"m": noisy(1, 90, -0.25, category=["action", "counting", "shapes"])}
    found = {}
    for correction in ("holm", "bh"):
        settings = Settings(by=("category",), resamples=0, flips=9_999, correction=correction)
        (finding,) = [f for f in report_of(rows, settings=settings).findings if f.kind == "below_chance"]
        found[correction] = finding.text.count("(")
    assert found["bh"] > found["holm"]


def test_equal_metrics_have_one_rank_and_are_ordered_by_name():
    rows = {"weak": noisy(0, 80, 0.1), "b": noisy(1, 80, 2.0), "a": noisy(1, 80, 2.0), "c": noisy(1, 80, 2.0)}
    for names in (list(rows), list(reversed(rows))):
        report = report_of({name: rows[name] for name in names})
        assert [(score.metric, score.rank) for score in report.ranking] == [
            ("a", 1), ("b", 1), ("c", 1), ("weak", 4),
        ]  # fmt: skip
        rows_shown = Page(html_page(report)).tables[0].rows
        assert [row[:2] for row in rows_shown] == [["1", "a"], ["1", "b"], ["1", "c"], ["4", "weak"]]
        assert re.findall(r"(?m)^(\w+) & ", latex(report))[1:] == ["a", "b", "c", "weak"]


@pytest.mark.parametrize("group", [None, "category"])
def test_the_mean_accuracy_is_that_of_the_directions_with_a_value(group):
    report = report_of({"m": [*noisy(0, 20), *noisy(1, 20, category="shapes")]})
    for score in report.scores:
        accuracies = [
            result.accuracy
            for result in report.results
            if (result.group, result.group_value) == (score.group, score.group_value)
        ]
        assert len(accuracies) == 4
        assert score.mean_accuracy == pytest.approx(sum(accuracies) / 4)


def test_a_metric_without_any_score_has_no_rank():
    rows = noisy(0, 30)
    none = [{**one, "prompt_score": None, "contrast_score": None, "error": "crashed"} for one in rows]
    report = report_of({"good": rows, "none": none, "like": noisy(1, 30)})
    ranks = {score.metric: score.rank for score in report.scores if score.group is None}
    assert ranks == {"good": 1, "like": 1, "none": None}
    assert report.metrics[-1] == "none"


def test_the_minimum_detectable_difference_shrinks_with_the_data():
    few = (
        report_of({"m": noisy(0, 15, 0.7), "n": noisy(1, 15, 0.7)})
        .comparisons[0]
        .minimum_detectable_difference
    )
    many = (
        report_of({"m": noisy(0, 240, 0.7), "n": noisy(1, 240, 0.7)})
        .comparisons[0]
        .minimum_detectable_difference
    )
    assert many == pytest.approx(few / 4, rel=0.5)


# ---- Findings ----

MANY = ["action", "counting", "negation", "shapes"]


def test_a_metric_below_chance_is_found():
    report = report_of({"m": noisy(0, 60, -1.0), "n": noisy(1, 60)})
    (finding,) = [one for one in report.findings if one.kind == "below_chance"]
    assert finding.metrics == ("m",)
    assert finding.p < 0.05


def test_text_far_from_image_directions_is_found():
    report = report_of({"m": noisy(0, 80, 1.5, per_image=6.0)})
    (finding,) = [one for one in report.findings if one.kind == "text_image_gap"]
    assert "prompts" in finding.text
    assert "text_image_gap" not in kinds(report_of({"m": noisy(0, 80, 1.5)}))


def test_inverse_below_forward_is_found_when_it_is_so_for_all_scorers():
    low = {name: noisy(seed, 80, 2.0, contrast_match=0.2) for seed, name in enumerate("mn")}
    assert "inverse_below_forward" in kinds(report_of(low))
    mixed = {**low, "fair": noisy(7, 80, 2.0)}
    assert "inverse_below_forward" not in kinds(report_of(mixed))
    blind = {**low, "blind": noisy(8, 80, 0.0)}
    assert "inverse_below_forward" in kinds(report_of(blind, baselines=["blind"]))


def test_a_category_in_which_every_scorer_is_weak_is_found():
    weak = {n: noisy(seed, 160, 2.0, category=MANY, weak="negation") for seed, n in enumerate("mn")}
    (finding,) = [one for one in report_of(weak).findings if one.kind == "weak_for_all"]
    assert "negation" in finding.text
    mixed = {"m": weak["m"], "n": noisy(5, 160, 2.0, category=MANY)}
    assert "weak_for_all" not in kinds(report_of(mixed))


@pytest.mark.parametrize("concepts", [1, 2, 3])
def test_a_category_of_few_concepts_is_no_finding(concepts):
    rows = [one for n in range(30) for one in check_rows(f"c{n}", *PERFECT, category="action")]
    rows += [one for n in range(concepts) for one in check_rows(f"d{n}", *WRONG, category="negation")]
    assert "weak_for_all" not in kinds(report_of({"m": rows, "n": rows}))


def test_a_benchmark_of_few_concepts_gives_no_findings():
    tables = {}
    for seed, name in enumerate("mn"):
        rows = noisy(seed, 60, 2.0, contrast_match=-1.0, per_image=5.0)
        tables[name] = [{**one, "concept_id": str(int(one["check_id"].split()[1]) % 3)} for one in rows]
    assert kinds(report_of(tables)) <= {"incomplete"}


def test_a_scorer_no_better_than_the_best_baseline_is_found():
    tables = {"noise": noisy(0, 60, 0.0), "good": noisy(1, 60, 1.5), "blind": noisy(2, 60, 0.0)}
    found = [
        o for o in report_of(tables, baselines=["blind"]).findings if o.kind == "no_better_than_baseline"
    ]
    assert [one.metrics[0] for one in found] == ["noise"]
    assert "no_better_than_baseline" not in kinds(report_of(tables))


def test_groups_in_which_a_metric_is_weak_and_another_is_not_are_found():
    tables = {
        "blind": noisy(0, 200, 0.0, category=MANY),
        "good": noisy(1, 200, 2.0, category=MANY),
        "deaf": noisy(2, 200, 2.0, category=MANY, weak="negation"),
    }
    kind = "weak_where_another_is_not"
    (finding,) = [one for one in report_of(tables, baselines=["blind"]).findings if one.kind == kind]
    assert finding.metrics == ("deaf",) and "category" in finding.text
    assert re.findall(r"(\w+) \([+−-]\d", finding.text) == ["negation"] and finding.p < 0.05
    alone = {name: tables[name] for name in ("blind", "deaf")}
    assert kind not in kinds(report_of(alone, baselines=["blind"]))


def test_missing_scores_are_said_with_their_reason():
    rows = noisy(0, 10)
    rows[0] = {**rows[0], "prompt_score": None, "error": "out of memory"}
    report = report_of({"m": rows})
    (finding,) = report.findings
    assert finding.kind == "incomplete"
    assert "out of memory: 1 row)" in finding.text
    assert json.loads(report.to_json())["missing_scores"] == {"m": {"out of memory": 1}}


def test_a_report_without_tests_has_no_findings_from_tests():
    assert kinds(report_of({"m": noisy(0, 60, -1.0)}, settings=Settings(resamples=0, flips=0))) == set()


def test_honest_random_scorers_give_findings_no_more_often_than_the_level():
    """Scorers without any skill on balanced data: whatever a finding says of them is false."""
    found = []
    trials = 40
    for trial in range(trials):
        tables = {n: noisy(100 * trial + s, 48, 0.0, category=MANY) for s, n in enumerate("mno")}
        found.append(kinds(report_of(tables, settings=Settings(resamples=400, flips=400))))
    for kind in ("below_chance", "text_image_gap", "inverse_below_forward", "weak_for_all"):
        assert sum(kind in one for one in found) <= 6  # binomial(40, 0.05): 7 or more has probability 0.003


# ---- Agreement ----


def test_equal_rankings_agree_and_turned_ones_disagree():
    good = {
        name: noisy(seed, 100, signal)
        for seed, (name, signal) in enumerate(zip("abcd", (0.1, 0.7, 1.5, 3), strict=True))
    }
    turned = {
        name: noisy(9 + seed, 100, signal)
        for seed, (name, signal) in enumerate(zip("dcba", (0.1, 0.7, 1.5, 3), strict=True))
    }
    first, second = report_of(good), report_of(turned)
    (same,) = first.agreement(first)
    (other,) = first.agreement(second)
    assert same.tau == 1
    assert other.tau == -1
    assert other.ci_low <= other.tau <= other.ci_high < 0


def test_the_two_benchmarks_of_an_agreement_are_resampled_independently():
    """Two close metrics: their order flips in a resample of one benchmark without flipping in the other's."""
    tables = {"a": noisy(0, 30, 0.5), "b": noisy(1, 30, 0.5)}
    (one,) = report_of(tables).agreement(report_of(tables))
    assert (one.tau, one.ci_low, one.ci_high) == (1, -1, 1)


def test_agreement_needs_two_shared_metrics_and_intervals():
    one, two = report_of({"a": noisy(0, 9)}), report_of({"a": noisy(0, 9), "b": noisy(1, 9)})
    with pytest.raises(InputError, match="two metrics"):
        one.agreement(two)
    bare = report_of({"a": noisy(0, 9), "b": noisy(1, 9)}, settings=Settings(resamples=0, flips=0))
    with pytest.raises(InputError, match="resamples"):
        bare.agreement(bare)


def test_agreement_value_by_value():
    tables = {n: noisy(s, 80, 0.5 + s, category=["action", "counting"]) for s, n in enumerate("abc")}
    found = report_of(tables).agreement(report_of(tables), "category")
    assert [one.group_value for one in found] == ["action", "counting"]


def test_an_unknown_metric_is_answered_with_a_like_one():
    report = report_of({"VQAScore": noisy(0, 5)})
    with pytest.raises(InputError, match="did you mean 'VQAScore'"):
        report.score("VQAscore")


def test_metrics_without_a_common_check_are_not_ranked_together():
    first, second = noisy(0), [{**row, "check_id": "0" + row["check_id"]} for row in noisy(1)]
    with pytest.raises(InputError, match="have no check in common"):
        report_of({"a": first, "b": second})


@pytest.mark.parametrize(
    ("spelling", "names"), [("{:03}", "'000' of .* is '0'"), ("{}.0", "'0.0' of .* is '0'")]
)
def test_ids_that_differ_as_text_and_as_number_are_refused(spelling, names):
    numbers = sorted({row["check_id"] for row in noisy(0)})
    numbered = [{**row, "check_id": str(numbers.index(row["check_id"]))} for row in noisy(0)]
    text = [{**row, "check_id": spelling.format(int(row["check_id"]))} for row in numbered]
    # Some ids are the same in both: only the others are lost.
    mixed = [*text[:8], *({**row, "check_id": f"x{row['check_id']}"} for row in numbered[8:])]
    shared = [{**row, "check_id": "shared"} for row in numbered[:2]]
    with pytest.raises(InputError, match=names):
        report_of({"a": [*numbered, *shared], "b": [*mixed, *shared]})


def test_a_metric_without_all_directions_takes_no_rank():
    whole, part = noisy(0), noisy(1)
    part = [{**row, "contrast_score": None, "error": "no contrast prompt"} for row in part]
    report = report_of({"whole": whole, "part": part, "other": noisy(2)})
    assert report.score("part").rank is None
    assert {report.score(name).rank for name in ("whole", "other")} <= {1, 2}
    alone = report_of({"part": part, "like it": part})  # where nobody has more, nothing is missing
    assert {score.rank for score in alone.ranking} == {1}


def test_groups_of_few_checks_are_marked_and_have_no_place_among_the_worst():
    rows = noisy(0, 40, category=["action"])
    rows = [
        {**row, "property": "colour" if int(row["check_id"].split()[1]) < 9 else "number"} for row in rows
    ]
    report = report_of({"m": rows}, settings=Settings(by=("property",), resamples=0, flips=0))
    assert report.score("m", "property", "colour").of_few_checks
    assert not report.score("m", "property", "number").of_few_checks
    assert html_page(report).count('<td class="few">') == 1
    assert terminal(report)[-1].plain.endswith("not shown by property: colour.")


@pytest.mark.parametrize(
    ("protocol", "models", "labels", "title"),
    [
        ("syn", ("exact@3", "exact@3+style=flat"), "certain", "Synthetic checks with certain labels (syn)"),
        ("syn", ("exact@3", "org/painter@1"), "pseudo", "Pseudo-labelled checks (syn)"),
        ("syn", ("exact@3+noise=0.2",), "pseudo", "Pseudo-labelled checks (syn)"),
        ("syn", (None,), None, "Checks (syn)"),
        ("hum", ("exact@3",), "human", "Human-labelled checks (hum)"),
    ],
)
def test_the_title_of_checks_is_where_their_labels_come_from(protocol, models, labels, title):
    rows = [
        row
        for n in range(6)
        for row in check_rows(
            f"c{n}", *PERFECT, subset="entity_variation", image_model=models[n % len(models)]
        )
    ]
    report = report_of({"m": rows}, protocol)
    assert report.dataset.labels == labels
    assert title in Page(html_page(report)).texts
    stored = report.to_dict()
    assert type(report).from_dict(stored).dataset == report.dataset
    del stored["dataset"]["labels"]  # as earlier versions wrote it
    assert formats.checks_title(type(report).from_dict(stored)) == f"Checks ({protocol})"
