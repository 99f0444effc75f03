"""Verdicts against a slow reference, against published ones, and against what must hold for any table."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import reference
from click.testing import CliRunner
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from score_rows import check_rows, table

from croc.checks.schema import DIRECTIONS
from croc.cli import main
from croc.verdict.directions import scaled_accuracy
from croc.verdict.evaluation import evaluate, evaluate_tables
from croc.verdict.report import Settings

NUMBERS_ONLY = Settings(resamples=0, flips=0)
NUMBERS_ONLY_PAPER = Settings(resamples=0, flips=0, paper=True)
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def results_of(report, group=None, value=None):
    return {
        (one.metric, one.direction, one.text_model): one
        for one in report.results
        if (one.group, one.group_value) == (group, value)
    }


def judged(tables, protocol, *, paper=False, by=()):
    """The report of ``{metric: rows}``, without intervals and tests."""
    made = [table(metric, rows, protocol) for metric, rows in tables.items()]
    return evaluate_tables(made, Settings(paper, by, 0, 0))


def close(value, expected):
    if expected is None:
        return value is None
    return value is not None and math.isclose(value, expected, abs_tol=1e-9)


# ---- Small examples by hand ----

# K_O = 2, K_C = 3. Best original image: the first (5 > 4); it beats its contrast score (5 > 3).
# Best contrast image with the contrast prompt: the third (6); its prompt score is 7, so inverse_text is lost.
# Image directions: max 5 against max 7 on the contrast side is lost; 6 against 3 is won.
HAND = check_rows("a", [(5, 3), (4, 1)], [(2, 5), (3, 4), (7, 6)], subset="property_variation")


def test_a_syn_check_by_hand():
    found = results_of(judged({"m": HAND}, "syn"))
    values = [found["m", direction, None].accuracy for direction in DIRECTIONS]
    assert values == [1, 0, 0, 1]
    chances = [found["m", direction, None].chance for direction in DIRECTIONS]
    # Text forward: exchanged, the best image is the one with contrast score 3 (5 loses): 0, so (1 + 0)/2.
    # Inverse: exchanged, the best is 7 against 6: won, so (0 + 1)/2. Image: 2/(2+3) and 3/(2+3).
    assert chances == pytest.approx([0.5, 0.5, 0.4, 0.6])
    scaled = [found["m", direction, None].scaled for direction in DIRECTIONS]
    assert scaled == pytest.approx([1, -1, -1, 1])


def test_a_syn_check_in_paper_mode_by_hand():
    found = results_of(judged({"m": HAND}, "syn", paper=True))
    assert [found["m", direction, None].accuracy for direction in DIRECTIONS] == [1, 0, 0, 1]
    chances = [found["m", direction, None].chance for direction in DIRECTIONS]
    assert chances == pytest.approx([5 / 6, 5 / 6, 0.5, 0.5])


def test_a_hum_check_by_hand():
    # Text forward: both of two images. Inverse: 5>2, 4>3, 6<7: 2 of 3. Image forward, 5 and 4
    # against 2, 3, 7: 4 of 6. Inverse, 5, 4, 6 against 3, 1: 6 of 6.
    found = results_of(judged({"m": [{**one, "category": "action"} for one in HAND]}, "hum"))
    values = [found["m", direction, None].accuracy for direction in DIRECTIONS]
    assert values == pytest.approx([1, 2 / 3, 4 / 6, 1])


def test_chance_of_a_text_direction_is_k_over_k_plus_one_for_noise_and_a_half_for_a_blind_metric():
    import random

    draw = random.Random(5)
    noise = [
        one
        for number in range(6_000)
        for one in check_rows(
            f"c{number}", [(draw.random(), draw.random()) for _ in range(5)], [(0, 1)], concept_id="x"
        )
    ]
    blind = [{**one, "contrast_score": one["prompt_score"]} for one in noise]
    found = results_of(judged({"noise": noise, "blind": blind}, "syn"))
    assert found["noise", "forward_text", None].chance == pytest.approx(5 / 6, abs=0.01)
    assert found["noise", "forward_text", None].scaled == pytest.approx(0, abs=0.06)
    assert found["blind", "forward_text", None].chance == 0.5
    assert found["blind", "forward_text", None].scaled == 0
    assert found["blind", "forward_text", None].ties == 1


def test_tied_best_images_are_averaged_over_and_paper_mode_takes_the_lowest_index():
    # Both images have 1 with the prompt; the first loses against 2, the second wins against 0.
    rows = check_rows("a", [(1, 2), (1, 0)], [(0, 1)])
    shuffled = [rows[1], rows[2], rows[0]]
    assert results_of(judged({"m": shuffled}, "syn"))["m", "forward_text", None].accuracy == 0.5
    paper = results_of(judged({"m": shuffled}, "syn", paper=True))
    assert paper["m", "forward_text", None].accuracy == 0


def test_a_missing_score_of_the_chosen_image_loses_in_paper_mode_and_leaves_the_image_out_else():
    rows = check_rows("a", [(9, None), (1, 0)], [(0, 1)])
    default = results_of(judged({"m": rows}, "syn"))["m", "forward_text", None]
    assert (default.accuracy, default.coverage) == (1, 0.75)
    assert results_of(judged({"m": rows}, "syn", paper=True))["m", "forward_text", None].accuracy == 0


def test_a_missing_score_is_no_wrong_answer_in_hum_and_a_lost_comparison_in_paper_mode():
    rows = check_rows("a", [(9, None), (1, 0)], [(None, 1), (0, 1)], category="action")
    default = results_of(judged({"m": rows}, "hum"))
    # Image forward: 9 and 1 against 0 (the other is missing), both won; two of four in paper mode.
    assert default["m", "forward_image", None].accuracy == 1
    assert default["m", "forward_text", None].accuracy == 1
    paper = results_of(judged({"m": rows}, "hum", paper=True))
    assert paper["m", "forward_image", None].accuracy == 0.5
    assert paper["m", "forward_text", None].accuracy == 0.5


@pytest.mark.parametrize(
    ("accuracy", "chance", "expected"),
    [
        (0.75, 0.5, 0.5),
        (0.25, 0.5, -0.5),
        (0.5, 0.5, 0),
        (1, 5 / 6, 1),
        (0, 5 / 6, -1),
        (11 / 12, 5 / 6, 0.5),
        (1, 1, 0),
        (0, 0, 0),
        (0.4, 1, -0.6),
        (0.4, 0, 0.4),
    ],
)
def test_scaled_accuracy(accuracy, chance, expected):
    assert scaled_accuracy(accuracy, chance) == pytest.approx(expected, abs=1e-12)


def test_accuracies_are_averaged_over_the_text_models_before_scaling():
    # One model passes its check, the other fails both of its: mean of means (1 + 0)/2, not 1/3; scaled
    # against chance 5/6 it is below chance, while scaling first would give (1 − 1)/2 = 0.
    rows = check_rows("a", [(1, 0)], [(0, 1)], text_model="p")
    rows += check_rows("b", [(0, 1)], [(1, 0)], text_model="q")
    rows += check_rows("c", [(0, 1)], [(1, 0)], text_model="q")
    found = results_of(judged({"m": rows}, "syn", paper=True))
    joint = found["m", "forward_text", None]
    assert (joint.accuracy, joint.n) == (0.5, 3)
    assert joint.scaled == pytest.approx((0.5 - 5 / 6) / (5 / 6))
    assert found["m", "forward_text", "p"].scaled == pytest.approx(1)
    assert found["m", "forward_text", "q"].scaled == pytest.approx(-1)


def test_a_benchmark_without_contrast_prompts_has_no_text_directions_and_nothing_to_cover():
    rows = check_rows("a", [(3, None)], [(1, None)], category="counting")
    rows = [{**one, "error": "no contrast prompt"} for one in rows]
    found = results_of(judged({"m": rows}, "hum"))
    assert [found["m", direction, None].n for direction in DIRECTIONS] == [0, 0, 1, 0]
    assert found["m", "forward_image", None].accuracy == 1
    assert found["m", "forward_image", None].coverage == 1
    for direction in ("forward_text", "inverse_text", "inverse_image"):
        assert found["m", direction, None].accuracy is None
        assert found["m", direction, None].coverage is None


# ---- Random tables against the reference ----


def scores(holes=True):
    value = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.integers(-200, 200).map(lambda n: n / 64)
    return st.none() | value if holes else value


@st.composite
def benchmarks(draw, holes=True, drops=True, both_sides=False):
    """``{metric: rows}``: checks of varying K, several text models, holes, ties, absent rows, shuffled."""
    metrics = draw(st.sampled_from([("one",), ("one", "two")]))
    models = draw(st.sampled_from([(None,), ("p",), ("p", "q"), ("p", "q", None)]))
    images = []
    for number in range(draw(st.integers(1, 6))):
        k = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)).filter(sum))
        if both_sides:
            k = (max(k[0], 1), max(k[1], 1))
        about = {
            "concept_id": f"concept {draw(st.integers(0, 2))}",
            "text_model": draw(st.sampled_from(models)),
            "topic": draw(st.sampled_from(["sea", "wood"])),
            "subset": "entity_variation",
        }
        indices = [draw(st.permutations(range(9)))[:count] for count in k]
        images.append((f"check {number}", indices, about))
    tables = {}
    for metric in metrics:
        rows = []
        for check, indices, about in images:
            for side, numbers in zip(("original", "contrast"), indices, strict=True):
                for index in numbers:
                    pair = (draw(scores(holes)), draw(scores(holes)))
                    rows.append(
                        {
                            **about,
                            "check_id": check,
                            "image_side": side,
                            "image_index": index,
                            "prompt_score": pair[0],
                            "contrast_score": pair[1],
                            "error": "no score" if None in pair else None,
                        }
                    )
        rows = draw(st.permutations(rows))
        if drops and len(rows) > 1:
            rows = rows[draw(st.integers(0, min(2, len(rows) - 1))) :]
        tables[metric] = rows
    # Tables without a common check are refused.
    assume(set.intersection(*({one["check_id"] for one in rows} for rows in tables.values())))
    return tables


@pytest.mark.parametrize("paper", [False, True], ids=["default", "paper"])
@pytest.mark.parametrize("protocol", ["syn", "hum"])
@given(tables=benchmarks())
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_tables_are_judged_as_the_definition_reads(protocol, paper, tables):
    report = judged(tables, protocol, paper=paper, by=("topic",))
    images = {}
    for rows in tables.values():
        for one in rows:
            images.setdefault(one["check_id"], set()).add((one["image_side"], one["image_index"]))
    topics = {one["topic"] for rows in tables.values() for one in rows}
    groups = [(None, None), *(("topic", topic) for topic in topics)]
    for group in groups:
        found = results_of(report, *group)
        for metric, rows in tables.items():
            mine = [one for one in rows if group[0] is None or one["topic"] == group[1]]
            expected = reference.judge(mine, protocol, paper)
            for (direction, model), numbers in expected.items():
                result = found[metric, direction, model]
                where = (group, metric, direction, model)
                assert result.n == numbers["n"], where
                for name in ("accuracy", "chance", "scaled", "ties"):
                    assert close(getattr(result, name), numbers[name]), (where, name)
            topic_of = {one["check_id"]: one["topic"] for each in tables.values() for one in each}
            inside = {c: i for c, i in images.items() if group[0] is None or topic_of[c] == group[1]}
            for direction, share in reference.coverage(mine, inside).items():
                assert close(found[metric, direction, None].coverage, share), (group, metric, direction)


# ---- What must hold for any metric ----


def stretched(score):
    """A strictly increasing, injective map whose values stay apart in double precision."""
    return None if score is None else math.atan(score) * 7 - 100


def transformed(rows, function):
    return [
        {**one, **{name: function(one[name]) for name in ("prompt_score", "contrast_score")}} for one in rows
    ]


def numbers(report):
    return {
        key: (one.accuracy, one.chance, one.scaled, one.n, one.ties, one.coverage)
        for key, one in results_of(report).items()
    }


MODES = pytest.mark.parametrize(
    ("protocol", "paper"), [("syn", False), ("syn", True), ("hum", False), ("hum", True)]
)


@MODES
@given(tables=benchmarks())
@QUICK
def test_a_strictly_increasing_transform_changes_nothing(protocol, paper, tables):
    before = numbers(judged(tables, protocol, paper=paper))
    changed = {metric: transformed(rows, stretched) for metric, rows in tables.items()}
    assert numbers(judged(changed, protocol, paper=paper)) == before


@MODES
@given(tables=benchmarks())
@QUICK
def test_swapping_original_and_contrast_swaps_forward_and_inverse(protocol, paper, tables):
    other = {"original": "contrast", "contrast": "original"}
    swapped = {
        metric: [
            {
                **one,
                "image_side": other[one["image_side"]],
                "prompt_score": one["contrast_score"],
                "contrast_score": one["prompt_score"],
            }
            for one in rows
        ]
        for metric, rows in tables.items()
    }
    before = numbers(judged(tables, protocol, paper=paper))
    after = numbers(judged(swapped, protocol, paper=paper))
    for (metric, direction, model), values in before.items():
        way, what = direction.split("_")
        mirrored = f"{'inverse' if way == 'forward' else 'forward'}_{what}"
        assert after[metric, mirrored, model] == pytest.approx(values, nan_ok=True)


@MODES
@given(tables=benchmarks(holes=False, drops=False), direction=st.sampled_from(DIRECTIONS), data=st.data())
@QUICK
def test_a_losing_score_raised_to_the_winning_one_never_raises_strict_accuracy(
    protocol, paper, tables, direction, data
):
    """Strict accuracy counts a tie as lost; in the default mode it is accuracy less half of the ties."""
    rows = tables["one"]
    forward, text = direction.startswith("forward"), direction.endswith("text")
    own, other = ("prompt_score", "contrast_score") if forward else ("contrast_score", "prompt_score")
    side = "original" if forward else "contrast"
    if text:
        number = data.draw(st.integers(0, len(rows) - 1))
        changed = [dict(one) for one in rows]
        if rows[number]["image_side"] == side:
            changed[number][other] = max(rows[number][own], rows[number][other])
    else:
        check = data.draw(st.sampled_from([one["check_id"] for one in rows]))
        winning = [r[own] for r in rows if r["check_id"] == check and r["image_side"] == side]
        changed = [dict(one) for one in rows]
        for one in changed:
            if one["check_id"] == check and one["image_side"] != side and winning:
                one[own] = max(max(winning), one[own])

    def strict(some):
        result = results_of(judged({"one": some}, protocol, paper=paper))["one", direction, None]
        if result.accuracy is None:
            return None
        return result.accuracy - (0 if paper else result.ties / 2)

    before, after = strict(rows), strict(changed)
    assert (before is None and after is None) or after <= before + 1e-12


@pytest.mark.parametrize("protocol", ["syn", "hum"])
@given(tables=benchmarks(drops=False, both_sides=True), data=st.data())
@QUICK
def test_a_scorer_blind_to_the_text_comes_to_zero_in_the_text_directions(protocol, tables, data):
    rows = [
        {
            **one,
            "contrast_score": one["prompt_score"],
            "error": None if one["prompt_score"] is not None else "x",
        }
        for one in tables["one"]
    ]
    found = results_of(judged({"one": rows}, protocol))
    for direction in ("forward_text", "inverse_text"):
        for key, result in found.items():
            if key[1] == direction and result.n:
                assert (result.scaled, result.ties) == (0, 1)


@pytest.mark.parametrize("protocol", ["syn", "hum"])
@given(tables=benchmarks(holes=False, drops=False, both_sides=True), data=st.data())
@QUICK
def test_a_scorer_blind_to_the_image_comes_to_zero_over_checks_and_their_mirrors(protocol, tables, data):
    """Which prompt is the original is a coin: each check stands beside its mirror."""
    other = {"original": "contrast", "contrast": "original"}
    rows = []
    for check in sorted({one["check_id"] for one in tables["one"]}):
        prompt, contrast = (data.draw(scores(holes=False)) for _ in range(2))
        for one in tables["one"]:
            if one["check_id"] == check:
                mirrored = {"check_id": check + " mirrored", "image_side": other[one["image_side"]]}
                rows.append({**one, "prompt_score": prompt, "contrast_score": contrast})
                rows.append({**one, **mirrored, "prompt_score": contrast, "contrast_score": prompt})
    for (_, direction, _), result in results_of(judged({"one": rows}, protocol)).items():
        if result.n:
            assert result.scaled == pytest.approx(0, abs=1e-12)
            assert direction.endswith("text") or result.ties == 1


@pytest.mark.parametrize("protocol", ["syn", "hum"])
@given(k=st.integers(1, 4), checks=st.integers(1, 4))
@settings(max_examples=10, deadline=None)
def test_a_constant_scorer_comes_to_zero_in_every_direction(protocol, k, checks):
    rows = [
        one
        for n in range(checks)
        for one in check_rows(f"c{n}", [(2, 2)] * k, [(2, 2)] * k, category="action")
    ]
    for result in results_of(judged({"m": rows}, protocol)).values():
        assert (result.accuracy, result.scaled, result.ties) == (0.5, 0, 1)


def test_a_breakdown_that_splits_checks_leaves_the_numbers_of_all_checks_alone():
    # Two image models; over all pairs 5>4, 5>1, 2<4, 2>1: 3 of 4; within the models 5>4 and 2>1.
    rows = check_rows("a", [(5, 0), (2, 0)], [(4, 9), (1, 9)], category="action")
    rows = [{**one, "image_model": "fg"[one["image_index"]]} for one in rows]
    plain = judged({"m": rows}, "hum")
    split = judged({"m": rows}, "hum", by=("image_model",))
    assert results_of(plain)["m", "forward_image", None].accuracy == 0.75
    assert numbers(split) == numbers(plain)
    for model in "fg":
        assert results_of(split, "image_model", model)["m", "forward_image", None].accuracy == 1


# ---- The published computation ----

SYN_NAMES = {"property_variation": "subject_property"}
HUM_NAMES = {"spatial_relation": "spacial_relation"}


def rows_by_command(paths, folder):
    target = folder / "out.json"
    arguments = [
        "evaluate",
        *map(str, paths),
        "--paper",
        "--json",
        str(target),
        "--resamples",
        "0",
        "--permutations",
        "0",
    ]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return json.loads(target.read_text())["results"]


def rows_in_process(paths, folder):
    return evaluate(paths, settings=NUMBERS_ONLY_PAPER).to_dict()["results"]


@pytest.mark.parametrize("through", [rows_in_process, rows_by_command], ids=["Report", "croc evaluate"])
@pytest.mark.parametrize("name", ["a", "ties", "missing"])
def test_syn_verdicts_equal_the_published_ones(shared_data, tmp_path, name, through):
    golden = json.loads((shared_data / "golden" / f"syn_scores_{name}.json").read_text())
    rows = through([shared_data / "golden" / f"syn_scores_{name}.tsv.gz"], tmp_path)
    seen = scaled_seen = 0
    for one in rows:
        if one["group"] != "subset":
            continue
        subset = SYN_NAMES.get(one["group_value"], one["group_value"])
        stored = golden[one["direction"]]
        if one["text_model"] is None:
            expected = stored["scaled"][subset][one["metric"]]
            assert round(one["scaled"], 3) == pytest.approx(expected, abs=1e-9), one
            scaled_seen += 1
        else:
            expected = stored["accuracy"][one["text_model"]][subset][one["metric"]]
            assert one["accuracy"] == pytest.approx(expected, abs=1e-9), one
            seen += 1
    assert (seen, scaled_seen) == (4 * 2 * 3 * 6, 4 * 3 * 6)


@pytest.mark.parametrize("name", ["a", "ties", "missing"])
def test_the_published_average_is_the_mean_over_directions_and_subsets(shared_data, name):
    golden = json.loads((shared_data / "golden" / f"syn_scores_{name}.json").read_text())
    table = shared_data / "golden" / f"syn_scores_{name}.tsv.gz"
    report = evaluate([table], settings=NUMBERS_ONLY_PAPER)
    assert report.signature.get("average") == "macro(subset)"
    for score in report.ranking:
        subsets = [SYN_NAMES.get(subset, subset) for subset in report.groupings["subset"]]
        cells = [golden[d]["scaled"][subset][score.metric] for d in DIRECTIONS for subset in subsets]
        assert (
            score.scaled == score.macro == pytest.approx(np.mean(cells), abs=5e-4)
        )  # stored with three digits
        assert score.micro != score.macro
    assert list(report.metrics) == sorted(report.metrics, key=lambda m: -report.score(m).macro)
    pooled = evaluate([table], settings=replace(NUMBERS_ONLY_PAPER, average="micro"))
    assert pooled.score(report.metrics[0]).scaled == report.ranking[0].micro


@pytest.mark.parametrize("through", [rows_in_process, rows_by_command], ids=["Report", "croc evaluate"])
@pytest.mark.parametrize("name", ["a", "ties", "missing"])
def test_hum_verdicts_equal_the_published_ones(shared_data, tmp_path, name, through):
    golden = json.loads((shared_data / "golden" / f"hum_scores_{name}.json").read_text())
    rows = through([shared_data / "golden" / f"hum_scores_{name}"], tmp_path)
    seen = 0
    for one in rows:
        if one["group"] != "category" or one["text_model"] is not None:
            continue
        category = HUM_NAMES.get(one["group_value"], one["group_value"])
        assert one["accuracy"] == pytest.approx(
            golden[category][one["metric"]][one["direction"]], abs=1e-9
        ), one
        seen += 1
    assert seen == sum(len(metrics) for metrics in golden.values()) * 4


def test_rounding_does_not_take_a_scaled_accuracy_beyond_its_ends() -> None:
    """Three checks with accuracy 2/3 and the swap null 5/6: the floats give −1.0000000000000007."""
    assert scaled_accuracy(0.6666666666666666, 0.8333333333333334, True) == -1.0
