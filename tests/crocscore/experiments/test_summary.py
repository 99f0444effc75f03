"""The table of an experiment's results."""

from __future__ import annotations

from typing import Any

from crocscore.experiments.summary import summarised


def mean(scaled: float | None, **more: Any) -> dict[str, Any]:
    ends = (None, None) if scaled is None else (scaled - 0.1, scaled + 0.1)
    return {"scaled": scaled, "low": ends[0], "high": ends[1], "checks": 40, "groups": [], **more}


def of_colour(scaled: float) -> dict[str, Any]:
    return mean(0.5, groups=[{"group": "property", "value": "colour", **mean(scaled)}])


def test_conditions_stand_beside_the_one_that_they_are_compared_with():
    trained = {"train": True, "questions": 1234}
    document = {
        "experiment": "label-noise",
        "conditions": [
            {"name": "start", "train": False, "questions": 0, **mean(0.4)},
            {"name": "no-noise", **trained, **mean(0.62)},
            {"name": "count-0.3", **trained, **mean(0.5), "difference": {"to": "no-noise", **mean(-0.12)}},
        ],
        "runs": [
            {"name": "no-noise", "wrong_images": 0},
            *({"name": "count-0.3", "wrong_images": n} for n in (7, 9)),
        ],
    }
    found = summarised(document)
    assert found.heads == ("condition", "questions", "wrong images", "scaled accuracy", "minus no-noise")
    assert found.rows == (
        ("start", "", "", "0.40 (0.30 … 0.50)", ""),
        ("no-noise", "1,234", "", "0.62 (0.52 … 0.72)", ""),
        ("count-0.3", "1,234", "8", "0.50 (0.40 … 0.60)", "−0.12 (−0.22 … −0.02)"),
    )
    first, second, *_ = found.markdown().splitlines()
    assert first == f"| {' | '.join(found.heads)} |" and second == "|---|---|---|---|---|"


def test_a_left_out_property_stands_beside_the_training_on_everything():
    document = {
        "experiment": "held-out",
        "conditions": [
            {"name": "start", "leave_out": None, **of_colour(0.1)},
            {"name": "all", "leave_out": None, **of_colour(0.7)},
            {
                "name": "without-colour",
                "leave_out": "colour",
                **of_colour(0.2),
                "difference": of_colour(-0.5),
            },
        ],
    }
    cells = ("0.10 (0.00 … 0.20)", "0.70 (0.60 … 0.80)", "0.20 (0.10 … 0.30)", "−0.50 (−0.60 … −0.40)")
    assert summarised(document).rows == (("colour", "40", *cells),)


def test_words_that_were_never_read_have_a_price():
    tests = [{"test": "nouns", "with": mean(0.7), "without": mean(0.3), "price": mean(0.4)}]
    (row,) = summarised({"experiment": "held-out-world", "tests": tests}).rows
    assert row == ("nouns", "40", "0.70 (0.60 … 0.80)", "0.30 (0.20 … 0.40)", "+0.40 (+0.30 … +0.50)")


def test_a_search_shows_its_best_trials_and_the_first_one():
    settings = {"learning_rate": 3e-4, "questions": 2000, "epochs": 1, "negatives": 0.5, "steps": 62}
    trials = [{"number": number, **settings, **mean(number / 10)} for number in range(8)]
    found = summarised({"experiment": "sweep", "trials": trials})
    assert [row[0] for row in found.rows] == ["8", "7", "6", "5", "4", "1"]
    assert found.rows[-1] == ("1", "0.00 (−0.10 … 0.10)", "3.0e-04", "2,000", "1", "0.50", "62")
    assert len(summarised({"experiment": "sweep", "trials": trials[:3]}).rows) == 3


def test_what_has_no_value_or_no_interval_is_written_so():
    tests = [{"test": "x", "with": mean(None), "without": {**mean(0.3), "low": None}, "price": mean(None)}]
    (row,) = summarised({"experiment": "held-out-world", "tests": tests}).rows
    assert row == ("x", "40", "–", "0.30", "–")
