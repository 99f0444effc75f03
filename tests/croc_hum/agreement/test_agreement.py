"""Agreement of annotators: computed by hand for a few votes, and on published votes."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from croc.errors import InputError
from croc.tables.signature import Signature
from croc_hum.agreement import views as agreement_views
from croc_hum.agreement.agreement import AgreementReport
from croc_hum.agreement.label_noise import weighted_share
from croc_hum.agreement.vote_matrix import Settings
from croc_hum.votes.votes import check_votes


def frame(answers: dict[str, str], task: str = "shows", **more: Any) -> pl.DataFrame:
    """Votes by annotator: one letter per item (y, n, u, or a number); a dot is no vote."""
    answers_by_letter = {"y": "yes", "n": "no", "u": "unsure"}
    rows = [
        {
            "item_id": f"i{at:02}",
            "annotator": name,
            "task": task,
            "answer": answers_by_letter.get(letter, letter),
            **more,
        }
        for name, letters in answers.items()
        for at, letter in enumerate(letters)
        if letter != "."
    ]
    return check_votes(pl.DataFrame(rows, infer_schema_length=None))


FAST = Settings(resamples=0)


def test_three_annotators_by_hand() -> None:
    report = AgreementReport.of(frame({"a": "yynny", "b": "yynnn", "c": "ynnn."}), settings=FAST)
    by = {(p.first, p.second): p for p in report.pairs}
    assert by["a", "b"].agreement == pytest.approx(4 / 5)
    # a says yes 3 of 5, b 2 of 5: by chance 3/5·2/5 + 2/5·3/5 = 12/25; (20/25 − 12/25) / (13/25).
    assert by["a", "b"].kappa == pytest.approx(8 / 13)
    assert by["a", "c"].items == 4
    agreement = {row.annotator: (row.others, row.others_items) for row in report.annotators}
    # a on item 2: the others say y and n, a tie that counts a half; on item 5 b alone, who differs.
    assert agreement["a"] == (pytest.approx((1 + 0.5 + 1 + 1 + 0) / 5), 5)
    # c on item 2: both others say yes.
    assert agreement["c"] == (pytest.approx(3 / 4), 4)
    (ceiling,) = report.ceilings
    assert ceiling.lower.value == pytest.approx((3.5 + 3.5 + 3) / 14)
    # The votes that are equal to the majority of all: 3, 2, 3, 3 and 1 (a tie of two votes).
    assert ceiling.upper.value == pytest.approx(12 / 14)
    assert (ceiling.votes, ceiling.unsure) == (14, 0)
    (error,) = report.label_errors
    # 10 of 13 pairs of votes are equal: items 1, 3 and 4 have 3 of 3, item 2 1 of 3, item 5 0 of 1.
    e = (1 - (2 * 10 / 13 - 1) ** 0.5) / 2
    assert error.annotator.value == pytest.approx(e)
    wrong = (4 * (3 * e**2 * (1 - e) + e**3) + (e**2 + e * (1 - e))) / 5
    assert error.majority.value == pytest.approx(wrong) and error.perfect == pytest.approx(1 - wrong)
    assert error.correct(0.8) == pytest.approx((0.8 - wrong) / (1 - 2 * wrong))


def test_hours_are_cut_where_somebody_left_an_item_open() -> None:
    votes = frame({"a": "yn", "b": "yn"}, duration_s=9000.0)
    (group,) = AgreementReport.of(votes, settings=FAST).groups
    assert group.hours == pytest.approx(4 * 300 / 3600)
    assert AgreementReport.of(frame({"a": "yn", "b": "yn"}), settings=FAST).groups[0].hours is None


def test_categories_stand_apart() -> None:
    right = frame({"a": "yy", "b": "yy", "c": "yy"}, category="negation")
    wrong = frame({"a": "nn", "b": "nn", "c": "ny"}, category="counting")
    votes = pl.concat([right, wrong.with_columns(pl.format("{}x", "item_id").alias("item_id"))])
    report = AgreementReport.of(votes, settings=FAST)
    rates = {group.category: group.discard.value for group in report.groups}
    assert rates == {None: 0.5, "negation": 0.0, "counting": 1.0}
    assert next(a.by_category for a in report.annotators if a.annotator == "c")["counting"] == (0.5, 2)


def test_attention_checks_alone_are_refused() -> None:
    with pytest.raises(InputError, match="no vote on which agreement can be measured"):
        AgreementReport.of(frame({"a": "yn"}, attention=True))


def test_the_same_seed_gives_the_same_report_and_unknown_is_null() -> None:
    votes = frame({"a": "yynnyyuy", "b": "ynnnyyny"})
    first, second = (AgreementReport.of(votes, settings=Settings(resamples=50)).to_json() for _ in range(2))
    assert first == second and "NaN" not in first
    lonely = AgreementReport.of(frame({"a": "yyy"}), settings=Settings(resamples=50))
    assert lonely.alphas[0].alpha.value is None and lonely.pairs == () and lonely.ceilings == ()


def test_names_and_reasons_are_shown_as_text() -> None:
    votes = frame({"<script>alert(1)</script>": "yn", "b🐊": "yy"})
    page = agreement_views.html(AgreementReport.of(votes, settings=FAST))
    assert "<script" not in page and "&lt;script&gt;" in page and "b🐊" in page


def test_a_weighted_share_of_one_stratum_is_its_wilson_interval() -> None:
    # 3 of 20: Wilson's interval is 0.052 to 0.360 (statsmodels' proportion_confint).
    assert weighted_share([0.15], [20], [7]) == pytest.approx((0.15, 0.0524, 0.3604), abs=1e-3)
    mean, low, high = weighted_share([0.0, 0.4], [10, 10], [3, 1])
    assert mean == pytest.approx(0.1) and 0 < low < 0.1 < high < 0.4


# ---- Real votes ----


def nlvr_votes(folder: Path) -> pl.DataFrame:
    """Five raters an image, of ten; the sentence is the concept."""
    answers = {"true": "yes", "false": "no", "nonsense": "unsure"}
    rows = [
        {
            "item_id": example["identifier"],
            "concept_id": example["identifier"].split("-")[0],
            "annotator": rater,
            "task": "shows",
            "answer": answers[answer],
        }
        for example in map(json.loads, (folder / "nlvr" / "dev" / "dev.json").open())
        for rater, answer in example["evals"].items()
    ]
    return check_votes(pl.DataFrame(rows))


def tifa_votes(folder: Path) -> pl.DataFrame:
    """Two raters an image."""
    items = json.loads((folder / "tifa160" / "human_annotations_with_scores.json").read_text("utf-8"))
    rows = [
        {
            "item_id": name,
            "concept_id": item["text_id"],
            "annotator": f"rater{n}",
            "task": "rating",
            "answer": str(score),
        }
        for name, item in items.items()
        for n, score in enumerate(item["human_scores"], 1)
    ]
    return check_votes(pl.DataFrame(rows))


def dsg_votes(folder: Path) -> pl.DataFrame:
    """Five workers an image; five votes are missing."""
    with (folder / "tifa160" / "dsg_tifa160_likert_anns.csv").open(newline="") as file:
        rows = [
            {
                "item_id": f"{vote['source_id']}_{vote['t2i_model']}",
                "concept_id": vote["source_id"],
                "annotator": vote["worker_id"],
                "task": "rating",
                "answer": vote["answer"],
            }
            for vote in csv.DictReader(file)
        ]
    return check_votes(pl.DataFrame(rows))


def test_the_five_raters_of_nlvr(shared_data: Path) -> None:
    report = AgreementReport.of(nlvr_votes(shared_data))
    (alpha,) = report.alphas
    assert (alpha.items, alpha.votes) == (989, 4945)
    # Computed before this program was written, with krippendorff alone, sentences resampled.
    assert alpha.alpha.value == pytest.approx(0.799, abs=5e-4)
    assert (alpha.alpha.low, alpha.alpha.high) == pytest.approx((0.773, 0.826), abs=3e-3)
    (ceiling,) = report.ceilings
    assert 0.95 < ceiling.lower.low < ceiling.lower.value < 0.97  # type: ignore[operator]
    # At most one of the five answers differs (Suhr et al. kept no others), so both bounds are equal.
    assert ceiling.upper == ceiling.lower
    assert ceiling.unsure == 63
    assert report.dependent == ()


def test_the_two_raters_of_tifa(shared_data: Path) -> None:
    from scipy import stats

    votes = tifa_votes(shared_data)
    (pair,) = AgreementReport.of(votes, settings=FAST).pairs
    assert pair.items == 800
    assert pair.tau == pytest.approx(0.639, abs=5e-4)
    assert pair.agreement == pytest.approx(0.55, abs=5e-3)
    first, second = (votes.filter(pl.col("annotator") == f"rater{n}")["answer"].cast(int) for n in (1, 2))
    assert pair.tau == pytest.approx(stats.kendalltau(first, second).statistic)
    # One against one, the lower bound is the correlation itself.
    ceilings = {c.measure: c.lower.value for c in AgreementReport.of(votes, settings=FAST).ceilings}
    assert ceilings["kendall"] == pytest.approx(pair.tau)
    assert ceilings["accuracy"] == pytest.approx(pair.agreement)


def test_the_workers_of_dsg(shared_data: Path) -> None:
    import krippendorff

    votes = dsg_votes(shared_data)
    report = AgreementReport.of(votes, settings=Settings(resamples=100))
    wide = (
        votes.pivot("item_id", index="annotator", values="answer")
        .drop("annotator")
        .cast(pl.Float64)
        .to_numpy()
    )
    for alpha in report.alphas:
        # The library's other way in: the matrix of raters by items.
        expected = krippendorff.alpha(reliability_data=wide, level_of_measurement=alpha.level)
        assert alpha.alpha.value == pytest.approx(expected, abs=1e-9)
        assert alpha.alpha.low < alpha.alpha.value < alpha.alpha.high  # type: ignore[operator]
    by = {alpha.level: alpha.alpha.value for alpha in report.alphas}
    assert by["nominal"] < by["ordinal"]  # type: ignore[operator]
    for rating in report.ceilings:
        assert rating.annotators == 5
        for bound in (rating.lower, rating.upper):
            assert bound.low < bound.value < bound.high  # type: ignore[operator]
        assert rating.lower.value < rating.upper.value  # type: ignore[operator]
    (found,) = report.dependent
    assert found.raters.within == pytest.approx(0.893, abs=1e-3)
    assert found.raters.across == pytest.approx(0.711, abs=1e-3)
    lines = agreement_views.summarize(report)
    assert any("correlate at 0.89 with each other but at most at 0.71" in line for line in lines)


def test_the_guide_quotes_computed_numbers(shared_data: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "annotation.md").read_text("utf-8")
    quoted = dict(re.findall(r"^\| (NLVR|TIFA160|DSG)[^|]*\|[^|]*\| (\w+ [−.\d]+)", page, re.MULTILINE))
    for name, votes in (("NLVR", nlvr_votes), ("TIFA160", tifa_votes), ("DSG", dsg_votes)):
        level, value = quoted[name].split()
        report = AgreementReport.of(votes(shared_data), settings=FAST)
        computed = next(alpha.alpha.value for alpha in report.alphas if alpha.level == level)
        assert f"{computed:.3f}" == value


def test_a_report_is_read_back_from_its_json_with_its_signature() -> None:
    votes = frame({"a": "124.", "b": "12.5", "c": "2245"}, "rating", category="counting", duration_s=3.0)
    report = AgreementReport.of(votes, settings=Settings(resamples=20))
    content = json.loads(report.to_json())
    assert content == report.to_dict()
    assert AgreementReport.from_dict(content) == report
    assert content["signature"] == str(report.signature)
    assert Signature.parse(content["signature"]).get("annotators") == "3"


@pytest.mark.parametrize(
    ("change", "place"), [({"signature": "no signature"}, "signature"), ({"alphas": [{"task": 1}]}, "alphas")]
)
def test_json_that_is_no_report_is_refused_with_its_place(change: dict[str, Any], place: str) -> None:
    content = AgreementReport.of(frame({"a": "yn", "b": "yn"}), settings=FAST).to_dict()
    with pytest.raises(InputError, match=place):
        AgreementReport.from_dict(content | change)
