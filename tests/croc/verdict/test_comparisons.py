"""Results of pairwise judges against those of metrics that prefer the same, and position bias by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from planted_judges import Planted, is_match, rows

from croc.checks.schema import DIRECTIONS
from croc.results.files import make_result, read_result, write_result
from croc.results.leaderboard import leaderboard
from croc.scoring.run import ScoringSettings, score_dataset
from croc.tables.metadata import ScoreMetadata
from croc.tables.score_tables import ScoreTable, score_table
from croc.verdict.evaluation import evaluate, evaluate_tables
from croc.verdict.report import Report, Settings

QUICK = Settings(resamples=200, flips=500)


def tables(seed: int, protocol: str) -> tuple[ScoreTable, ScoreTable]:
    """Scores of a metric with ties and gaps, and the answers of a judge that follows the same scores."""
    rng = np.random.default_rng(seed)
    metric, judge = [], []
    for check in range(30):
        counts = rng.integers(1, 4, 2)
        scores = [rng.integers(0, 4, (count, 2)).astype(float) for count in counts]
        for of_side in scores:
            of_side[rng.random(of_side.shape) < 0.08] = np.nan
        for side, of_side in enumerate(scores):
            for index, own in enumerate(of_side):
                row = {
                    "check_id": f"c{check}",
                    "concept_id": f"k{check // 2}",
                    "subset": "property_variation",
                    "category": f"g{check % 3}",
                    "image_side": ("original", "contrast")[side],
                    "image_index": index,
                }

                def answers(match, other):
                    gap = match - other  # NaN where a score is missing
                    found = [1 / (1 + np.exp(-gap)), 1 / (1 + np.exp(gap))]
                    return [None if np.isnan(value) else float(value) for value in found]

                metric.append(row | {"prompt_score": own[0], "contrast_score": own[1]})
                judge.append(
                    row
                    | {
                        "prompt_score": None,
                        "contrast_score": None,
                        "text_answers": answers(own[side], own[1 - side]),
                        "image_answers": [
                            value
                            for opposing in scores[1 - side]
                            for value in answers(own[side], opposing[side])
                        ],
                    }
                )
    return tuple(
        score_table(pl.DataFrame(found), ScoreMetadata(name), name, protocol)
        for name, found in (("metric", metric), ("judge", judge))
    )


@pytest.mark.parametrize(
    ("protocol", "settings"),
    [
        ("hum", {}),
        ("syn", {"images": 1, "by": ("category",)}),
    ],
)
def test_a_judge_that_prefers_as_a_metric_has_its_results(protocol, settings):
    """In hum, and in syn with one image per side: there a metric compares single images, too."""
    settings = Settings(resamples=200, flips=500, **settings)
    report = evaluate_tables(tables(3, protocol), settings)
    of = {name: [r for r in report.results if r.metric == name] for name in ("metric", "judge")}
    assert len(of["judge"]) == 4 * (1 + 3)
    for judged, scored in zip(of["judge"], of["metric"], strict=True):
        assert (judged.direction, judged.n) == (scored.direction, scored.n)
        for field in ("accuracy", "scaled", "ties", "ci_low", "ci_high", "scaled_ci_low", "scaled_ci_high"):
            assert getattr(judged, field) == pytest.approx(getattr(scored, field), abs=1e-12), field
    (pair,) = (c for c in report.comparisons if c.group is None)
    assert (pair.difference, pair.p) == (pytest.approx(0, abs=1e-12), 1)


def test_in_paper_mode_ties_and_missing_answers_lose_as_for_metrics_of_hum():
    report = evaluate_tables(tables(4, "hum"), Settings(paper=True, resamples=0, flips=100))
    for direction in DIRECTIONS:
        judged, scored = (report.result(name, direction) for name in ("judge", "metric"))
        assert judged.accuracy == pytest.approx(scored.accuracy)
        assert judged.ties == pytest.approx(scored.ties)


def test_in_syn_with_several_images_it_is_said_that_judges_have_no_best_one():
    report = evaluate_tables(tables(5, "syn"), QUICK)
    (note,) = (f for f in report.findings if f.kind == "single_images")
    assert note.metrics == ("judge",) and "--images 1" in note.text
    assert {r.chance for r in report.results if r.metric == "judge"} == {0.5}
    one = evaluate_tables(tables(5, "syn"), Settings(images=1, resamples=0, flips=0))
    assert not [f for f in one.findings if f.kind == "single_images"]
    # The judge's numbers are those of single images either way.
    assert [r.accuracy for r in report.results if r.metric == "judge"] == [
        r.accuracy for r in one.results if r.metric == "judge"
    ]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Tables of a perfect judge, one that always says "first", one with a partial bias, and a metric."""
    folder = tmp_path_factory.mktemp("planted")

    class Partial(Planted):
        """Follows the position in the checks whose number can be divided by three, and the content else."""

        def _biased(self, prompt: str) -> bool:
            return int(prompt.split()[-1]) % 3 == 0

        def choose_prompts(self, images, first, second):
            found = super().choose_prompts(images, first, second)
            return np.where([self._biased(prompt) for prompt in first], 0.1, found)

        def choose_images(self, prompts, first, second):
            found = super().choose_images(prompts, first, second)
            return np.where([self._biased(prompt) for prompt in prompts], 0.7, found)

    def metric(images, prompts):
        return [float(is_match(image, prompt)) for image, prompt in zip(images, prompts, strict=True)]

    judges = [Planted(3, 1, "perfect"), Planted(0, 3, "first"), Partial(3, 0, "partial"), metric]
    return score_dataset(rows(12, k=2), judges, folder, ScoringSettings(progress=False))


def test_planted_judges_have_their_accuracy_and_bias_beside_a_metric(planted):
    report = evaluate(planted, settings=Settings(by=("category",), resamples=200, flips=500))
    accuracy = {
        name: {round(report.result(name, d).accuracy, 9) for d in DIRECTIONS} for name in report.metrics
    }
    assert accuracy == {"perfect": {1.0}, "metric": {1.0}, "first": {0.5}, "partial": {round(5 / 6, 9)}}
    assert report.score("first").ties == 1 and report.score("first").scaled == 0
    assert report.score("partial").scaled == pytest.approx(2 / 3)
    biases = {(b.metric, b.compared): b for b in report.position_biases}
    assert len(biases) == 6
    assert {(b.bias, b.first) for (name, _), b in biases.items() if name == "perfect"} == {(0.0, 0.0)}
    assert {(b.bias, b.first) for (name, _), b in biases.items() if name == "first"} == {(1.0, 1.0)}
    # Four of the twelve checks: always the second of two prompts, always the first of two images.
    prompts, images = biases["partial", "prompts"], biases["partial", "images"]
    assert (prompts.bias, prompts.first) == (pytest.approx(1 / 3), 0.0)
    assert (images.bias, images.first) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert (prompts.comparisons, images.comparisons) == (12 * 5, 12 * 12)
    for bias in biases.values():
        assert bias.ci_low <= bias.bias <= bias.ci_high
    assert 0.1 < prompts.ci_low < prompts.ci_high < 0.7
    assert biases["first", "prompts"].ci_low > 0.7 and biases["perfect", "prompts"].ci_high < 0.3
    named = {(c.better, c.worse) for c in report.comparisons if c.group is None and c.p_adjusted < 0.05}
    assert ("perfect", "first") in named and ("metric", "first") in named
    assert "perfect" in biases["perfect", "images"].signature
    assert Report.from_dict(report.to_dict()) == report


def test_a_judge_has_a_results_file_and_a_place_on_the_leaderboard(planted, tmp_path):
    for file in planted:
        result = make_result(file, settings=QUICK)
        write_result(result, tmp_path / f"{file.stem}.json")
        assert read_result(tmp_path / f"{file.stem}.json") == result
    (board,) = leaderboard([tmp_path]).benchmarks
    assert set(board.report.metrics) == {"perfect", "first", "partial", "metric"}
    assert board.report.score("partial").scaled == pytest.approx(2 / 3)
    assert len(board.report.position_biases) == 6


def test_random_answers_follow_the_position_in_half_of_the_comparisons(tmp_path):
    class Random(Planted):
        def __init__(self):
            super().__init__(0, 0, "random")
            self.rng = np.random.default_rng(7)

        def _probability(self, first_matches):
            return self.rng.random(len(first_matches))

    files = score_dataset(rows(20, k=3), [Random()], tmp_path, ScoringSettings(progress=False))
    for bias in evaluate(files, settings=Settings(resamples=0, flips=0)).position_biases:
        assert bias.bias == pytest.approx(0.5, abs=0.12) and bias.ci_low < 0.5 < bias.ci_high
        assert bias.first == pytest.approx(bias.bias / 2, abs=0.1)
