"""The search over settings: it resumes with the unfinished trial, and finds a planted best setting."""

from __future__ import annotations

import json
import shutil

import polars as pl
import pyarrow as pa
import pytest
import tiny_models as tiny
from PIL import Image
from score_rows import check_rows, write
from tiny_training import checks_and_questions

from croc.errors import CrocError, InputError
from crocscore.experiments import sweep
from crocscore.experiments.conditions import Condition, change_questions
from crocscore.experiments.one_run import Setup

pytest.importorskip("optuna", reason="a search needs the extra sweep")
pytest.importorskip("trl", reason="training needs the extra train")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_the_share_of_negatives_is_the_requested_one(share):
    rows = pa.table(
        {
            "pair_id": [f"p{i}" for i in range(100)],
            "check_id": [f"c{i // 4}" for i in range(100)],
            "label": [i % 2 == 0 for i in range(100)],
        }
    )
    kept = change_questions(rows, Condition("x", negatives=share), 0)
    labels = kept["label"].to_pylist()
    assert labels.count(False) / len(labels) == pytest.approx(share, abs=0.01)
    assert max(labels.count(True), labels.count(False)) == 50  # nothing is left out without need


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return checks_and_questions(tmp_path_factory.mktemp("data"), checks=24, properties=("colour", "count"))


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return tiny.save(*tiny.llava(), tmp_path_factory.mktemp("model"))


def setup_of(start, data, **more) -> Setup:
    settings = {"use_cpu": True, "disable_tqdm": True}
    given = {"split": "train", "max_checks": 8, "batch": 4, "seeds": 1, "steps": 3, "settings": settings}
    return Setup(str(start), str(data[1]), str(data[0]), **{**given, **more})


def planted(calls, stop_at=None):
    """In place of a training: the nearer a trial to a share of negatives, the more checks it passes."""

    def train_and_score(condition, setup, work, path, *, name):
        calls.append((condition, setup))
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        if len(calls) == 8:
            raise CrocError("the loss is nan")
        passed = round(40 * (1 - abs(condition.negatives - 0.3)))
        rows = []
        for number in range(40):
            right = 1.0 if number < passed else -1.0
            rows += check_rows(f"c{number}", [(right, -right)], [(-right, right)], category="counting")
        shutil.copyfile(write(work.parent, name, rows), path)
        return {}

    return train_and_score


def test_the_search_finds_the_planted_setting_and_continues_after_an_interruption(
    start, data, tmp_path, monkeypatch
):
    setup, calls = setup_of(start, data, steps=1_000), []
    monkeypatch.setattr(sweep, "train_and_score", planted(calls, stop_at=5))
    with pytest.raises(KeyboardInterrupt):
        sweep.run_sweep(setup, tmp_path / "out", trials=25)
    assert calls[0][0].negatives == 0.5 and calls[0][1].learning_rate == setup.learning_rate
    interrupted = calls[4]
    monkeypatch.setattr(sweep, "train_and_score", planted(calls))
    found = json.loads(sweep.run_sweep(setup, tmp_path / "out", trials=25).read_text())
    assert calls[5] == interrupted
    assert len(found["trials"]) == 24 and len(calls) == 26
    (failed,) = found["failed"]  # it is not tried again
    assert failed["error"] == "the loss is nan" and failed["negatives"] == calls[7][0].negatives
    assert found["best"]["scaled"] == max(trial["scaled"] for trial in found["trials"])
    assert found["best"]["negatives"] == pytest.approx(0.3, abs=0.1)
    later = [trial["negatives"] for trial in found["trials"][15:]]
    assert sum(abs(one - 0.3) < 0.2 for one in later) > 5  # it searches where it was good
    for trial in found["trials"]:
        needed = -(-trial["epochs"] * trial["questions"] // setup.batch)
        assert trial["steps"] == min(needed, 1_000)
    assert max(found["importance"], key=found["importance"].get) == "negatives"
    with Image.open(tmp_path / "out" / "sweep.png") as plot:
        assert plot.width > 500
    # A finished search is not repeated; more trials add to it.
    before = len(calls)
    sweep.run_sweep(setup, tmp_path / "out", trials=25)
    assert len(calls) == before
    with pytest.raises(InputError, match="a search with another setup"):
        sweep.run_sweep(setup_of(start, data, batch=8), tmp_path / "out", trials=25)


def test_a_trial_is_a_training(start, data, tmp_path):
    found = json.loads(sweep.run_sweep(setup_of(start, data), tmp_path / "out", trials=2).read_text())
    assert [trial["steps"] for trial in found["trials"]] == [3, 3]
    for trial in found["trials"]:
        table = pl.read_parquet(tmp_path / "out" / "scores" / f"trial-{trial['number']:04d}.parquet")
        assert table["check_id"].n_unique() == 8
        assert trial["low"] <= trial["scaled"] <= trial["high"]
