"""What the noise ceiling and the error of majority labels promise, by simulation; dependent annotators."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from croc.ratings.coefficients import correlation
from croc_hum.agreement import views
from croc_hum.agreement.agreement import AgreementReport
from croc_hum.agreement.coefficients import error_rate_of_agreement, majority_error_rate
from croc_hum.agreement.vote_matrix import Settings
from croc_hum.votes.votes import check_votes

FAST = Settings(resamples=0)


def votes_of(answers: Mapping[str, np.ndarray], task: str, values: tuple[str, ...]) -> pl.DataFrame:
    """A table of votes: for each annotator the numbers of the answers; −1 is no vote."""
    rows = [
        {"item_id": f"i{item:05}", "annotator": name, "task": task, "answer": values[number]}
        for name, numbers in answers.items()
        for item, number in enumerate(numbers)
        if number >= 0
    ]
    return check_votes(pl.DataFrame(rows))


def simulate_annotators(
    rates: tuple[float, ...], items: int, seed: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """True answers (1 is no, in 30 %), and the answers of annotators who err independently."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(items) < 0.3).astype(int)
    return truth, {f"a{n}": truth ^ (rng.random(items) < rate) for n, rate in enumerate(rates)}


def test_the_bounds_hold_for_annotators_who_are_right_in_90_percent() -> None:
    truth, answers = simulate_annotators((0.1, 0.1, 0.1), 20_000, seed=0)
    report = AgreementReport.of(votes_of(answers, "shows", ("yes", "no")), settings=Settings(resamples=200))
    (ceiling,) = report.ceilings
    votes = np.stack(list(answers.values()))
    majority = (votes.sum(axis=0) > 1).astype(int)
    like_annotator = truth ^ (np.random.default_rng(1).random(len(truth)) < 0.1)

    def mean_agreement(metric: np.ndarray) -> float:
        return float((metric == votes).mean())

    # By hand: two other votes are both right, both wrong or tied, 0.81·0.9 + 0.01·0.1 + 0.18/2 = 0.82. All
    # three are equal in 0.73, and else two of three are: 0.73 + 0.27·2/3 = 0.91.
    assert ceiling.lower.value == pytest.approx(0.82, abs=0.006)
    assert ceiling.upper.value == pytest.approx(0.91, abs=0.004)
    assert ceiling.lower.low < ceiling.lower.value < ceiling.lower.high  # type: ignore[operator]
    # The perfect metric is between the bounds; one as good as an annotator reaches the lower bound only.
    assert mean_agreement(truth) == pytest.approx(0.9, abs=0.004)
    assert ceiling.lower.value < mean_agreement(truth) < ceiling.upper.value  # type: ignore[operator]
    assert mean_agreement(like_annotator) == pytest.approx(ceiling.lower.value, abs=0.008)
    # No metric is above the upper bound, which the majority of these votes reaches.
    assert mean_agreement(majority) == pytest.approx(ceiling.upper.value, abs=1e-9)


def test_accuracies_on_majority_labels_are_predicted_and_corrected() -> None:
    truth, answers = simulate_annotators((0.1, 0.1, 0.1), 20_000, seed=2)
    report = AgreementReport.of(votes_of(answers, "shows", ("yes", "no")), settings=Settings(resamples=200))
    (error,) = report.label_errors
    majority = (sum(answers.values()) > 1).astype(int)
    assert error.annotator.low < 0.1 < error.annotator.high  # type: ignore[operator]
    assert error.majority.value == pytest.approx(float((majority != truth).mean()), abs=0.003)
    # By hand: 3·0.01·0.9 + 0.001 = 0.028; a perfect metric has 0.972 and one like an annotator
    # 0.9·0.972 + 0.1·0.028 = 0.878: both are above the lower bound of the noise ceiling, 0.82.
    rng = np.random.default_rng(3)
    assert error.perfect == pytest.approx(0.972, abs=0.003)
    assert error.like_annotator == pytest.approx(0.878, abs=0.004)
    for accuracy in (1.0, 0.95, 0.9, 0.7, 0.5):
        metric = truth ^ (rng.random(len(truth)) >= accuracy)
        assert error.correct(float((metric == majority).mean())) == pytest.approx(accuracy, abs=0.012)


def test_the_error_of_majority_labels_holds_for_unequal_annotators_and_missing_votes() -> None:
    truth, answers = simulate_annotators((0.05, 0.1, 0.15, 0.2, 0.1), 20_000, seed=4)
    rng = np.random.default_rng(5)
    table = np.where(rng.random((5, len(truth))) < 0.7, np.stack(list(answers.values())), -1)
    votes = votes_of(dict(zip(answers, table, strict=True)), "preference", ("prompt", "contrast"))
    (error,) = AgreementReport.of(votes, settings=FAST).label_errors
    yes, no = (table == 0).sum(axis=0), (table == 1).sum(axis=0)
    several = yes + no > 1
    wrong = np.where(yes == no, 0.5, (no > yes) != truth)[several]
    assert error.items == several.sum()
    assert error.majority.value == pytest.approx(float(wrong.mean()), abs=0.006)


@pytest.mark.parametrize(("votes", "expected"), [(1, 0.1), (2, 0.1), (3, 0.028), (4, 0.028), (5, 0.00856)])
def test_the_error_of_a_majority_by_hand(votes: int, expected: float) -> None:
    # 2: 0.01 + 0.18/2. 4: 4·0.001·0.9 + 0.0001 + 6·0.01·0.81/2. 5: 10·0.001·0.81 + 5·0.0001·0.9 + 0.00001.
    assert majority_error_rate(0.1, votes) == pytest.approx(expected)


def test_an_error_rate_is_unknown_where_annotators_agree_less_than_by_chance() -> None:
    assert error_rate_of_agreement(0.82) == pytest.approx(0.1)
    assert np.isnan(error_rate_of_agreement(0.4))
    answers = {"a": np.array([0, 1, 0, 1]), "b": np.array([1, 0, 1, 1])}
    (error,) = AgreementReport.of(votes_of(answers, "shows", ("yes", "no")), settings=FAST).label_errors
    assert error.annotator.value is None and error.majority.value is None
    assert error.perfect is None and error.correct(0.8) is None


def test_annotators_who_are_always_unsure_give_no_ceiling() -> None:
    answers = {name: np.full(20, 2) for name in ("a", "b", "c")}
    report = AgreementReport.of(votes_of(answers, "shows", ("yes", "no", "unsure")), settings=FAST)
    assert report.ceilings == () and report.label_errors == ()
    # Unsure about the second half only: it does not count as agreement.
    half = np.repeat([0, 2], 10)
    answers = {"a": half, "b": half, "c": np.where(np.arange(20) == 0, 1, half)}
    report = AgreementReport.of(votes_of(answers, "shows", ("yes", "no", "unsure")), settings=FAST)
    (ceiling,) = report.ceilings
    assert (ceiling.votes, ceiling.unsure) == (30, 30)
    assert ceiling.upper.value == pytest.approx((9 + 2 / 3) / 10)


def test_the_bounds_of_correlations_hold_for_noisy_ratings() -> None:
    rng = np.random.default_rng(6)
    truth = rng.normal(size=4_000)
    rate = lambda: np.clip(np.round(2 + truth + rng.normal(0, 0.7, len(truth))), 0, 4).astype(int)  # noqa: E731
    answers = {name: rate() for name in ("a", "b", "c", "d")}
    report = AgreementReport.of(votes_of(answers, "rating", tuple("12345")), settings=FAST)
    mean = sum(answers.values()) / 4
    for ceiling in report.ceilings[1:]:
        kind = ceiling.measure
        means = {
            name: np.mean([correlation(metric, own, kind) for own in answers.values()])  # type: ignore[arg-type]
            for name, metric in {"truth": truth, "annotator": rate().astype(float), "mean": mean}.items()
        }
        lower, upper = ceiling.lower.value, ceiling.upper.value
        assert lower is not None and upper is not None and lower + 0.03 < upper
        assert lower < means["truth"] < upper
        assert means["annotator"] < lower
        # The mean ratings are nearly the best that any metric could say.
        assert upper - 0.02 < means["mean"] <= upper + 0.001


def test_dependent_annotators_are_named_with_the_figures() -> None:
    _, answers = simulate_annotators((0.15, 0.15, 0.15), 600, seed=7)
    report = AgreementReport.of(votes_of(answers, "shows", ("yes", "no")), settings=FAST)
    assert report.dependent == ()
    copied = answers["a1"] ^ (np.random.default_rng(8).random(600) < 0.01)
    answers = {**answers, "copy of a1": copied}
    report = AgreementReport.of(votes_of(answers, "shows", ("yes", "no")), settings=FAST)
    (found,) = report.dependent
    assert found.task == "shows" and found.raters.raters == ("a1", "copy of a1")
    (line,) = views.summarize(report)
    within, across = found.raters.within, found.raters.across
    assert f"at {within:.2f} with each other but at most at {across:.2f} with any of the 2 other" in line
    assert AgreementReport.from_dict(report.to_dict()) == report


def test_the_raters_of_genai_bench(shared_data: Path) -> None:
    table = pl.read_csv(shared_data / "ratings" / "genai_bench_527" / "genai_bench_527.csv")
    columns = ("rater_1", "rater_2", "rater_3")
    # One rating is 33, a typing error.
    ratings = table.select(pl.when(pl.col(name) <= 5).then(pl.col(name)).alias(name) for name in columns)
    answers = {name: ratings[name].fill_null(0).to_numpy() - 1 for name in columns}
    report = AgreementReport.of(votes_of(answers, "rating", tuple("12345")), settings=FAST)
    assert {alpha.level: alpha.alpha.value for alpha in report.alphas}["ordinal"] == pytest.approx(
        0.7145, abs=5e-4
    )
    (found,) = report.dependent
    assert found.raters.raters == ("rater_2", "rater_3")
    # As computed with scipy when the data were collected: .917, and .674 and .683 with the first rater.
    assert (found.raters.within, found.raters.across) == pytest.approx((0.917, 0.683), abs=1e-3)
