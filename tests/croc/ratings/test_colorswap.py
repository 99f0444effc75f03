"""Group score on the answers of two models to ColorSwap, as published."""

from __future__ import annotations

import csv

import pytest
from score_rows import check_rows, write

from croc.verdict.evaluation import evaluate
from croc.verdict.report import Settings

ANSWERS = ("text_1_ok", "text_2_ok", "image_1_ok", "image_2_ok")


def scores(text_1, text_2, image_1, image_2):
    """Scores of the two images with both prompts, in the order of the answers where there is one.

    The answers are comparisons of four numbers in a circle. Where all four go round the circle, no scores
    have this order; one of the two wrong answers is then taken as right, and the example still fails.
    """
    if text_1 == text_2 != image_1 == image_2:
        text_1, image_1 = True, True
    own, other = {"original": 0, "contrast": 0}, {"original": 0, "contrast": 0}
    for _ in range(4):  # raise the winners until every answer holds
        for right, winner, loser in (
            (text_1, (own, "original"), (other, "original")),
            (text_2, (own, "contrast"), (other, "contrast")),
            (image_1, (own, "original"), (other, "contrast")),
            (image_2, (own, "contrast"), (other, "original")),
        ):
            high, low = (winner, loser) if right else (loser, winner)
            if high[0][high[1]] <= low[0][low[1]]:
                high[0][high[1]] = low[0][low[1]] + 1
    return own["original"], other["original"], other["contrast"], own["contrast"]


@pytest.mark.parametrize(("model", "group"), [("gpt4v", 72.00), ("llava", 42.00), ("llavar", 8.33)])
def test_group_scores_are_the_published_ones(shared_data, tmp_path, model, group):
    """Burapacheep et al. (2024, "ColorSwap"), abstract: GPT-4V 72 %, LLaVA 42 % of 300 examples."""
    file = shared_data / "ratings" / "colorswap" / f"colorswap_{model}.csv"
    if not file.is_file():
        pytest.skip(f"needs {file}")
    rows = []
    with file.open(newline="") as lines:
        for line in csv.DictReader(lines):
            answers = [line[name] not in ("", "0", "0.0", "False") for name in ANSWERS]  # no answer is wrong
            oo, oc, co, cc = scores(*answers)
            original, contrast = [(oo, oc)], [(co, cc)]
            rows += check_rows(line["id"], original, contrast, category="action")
    assert len({row["check_id"] for row in rows}) == 300
    table = write(tmp_path, model, rows, protocol="hum")
    report = evaluate([table], settings=Settings(paper=True, resamples=0, flips=0))
    assert round(100 * report.score(model).group_score, 2) == group
