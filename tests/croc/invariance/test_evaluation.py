"""Invariance from score tables: planted changes, intervals, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from croc.errors import InputError
from croc.invariance import evaluate, read_invariance
from croc.rendering.invariance import page, picture_png, section, terminal
from croc.tables.columns import SCORE_COLUMNS
from croc.tables.metadata import ScoreMetadata
from croc.tables.writers import write_scores

CHECKS = 20


def table(file: Path, move, changes=("none", "small", "large"), checks: int = CHECKS) -> Path:  # type: ignore[no-untyped-def]
    """A metric that sees every error: 1 with the own prompt, 0 with the other.

    ``move(change, check)`` is added to the score of the original image with its own prompt.
    """
    rows = []
    for check in range(checks):
        for change in changes:
            for side in ("original", "contrast"):
                own = side == "original"
                rows.append(
                    {
                        "check_id": f"c{check}:{change}" if change else f"c{check}",
                        "concept_id": f"concept {check // 2}",
                        "subset": "property_variation",
                        "image_side": side,
                        "image_index": 0,
                        "prompt_score": (1.0 + move(change, check)) if own else 0.0,
                        "contrast_score": 0.0 if own else 1.0,
                        "error": None,
                    }
                )
    write_scores(_table(rows), ScoreMetadata(file.stem, "syn"), file)
    return file


def _table(rows):  # type: ignore[no-untyped-def]
    rows = [{name: row.get(name) for name in SCORE_COLUMNS} for row in rows]
    schema = pa.schema(
        [
            (name, pa.int64() if name == "image_index" else pa.float64() if "score" in name else pa.string())
            for name in SCORE_COLUMNS
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def test_verdicts_that_change_are_counted_and_moves_are_compared_with_errors(tmp_path: Path) -> None:
    # "large" takes away 2 from the original image in half of the checks: 2 of 4 verdicts change there.
    def move(change: str, check: int) -> float:
        return {"none": 0.0, "small": 0.5, "large": -2.0 * (check % 2)}[change]

    report = evaluate([table(tmp_path / "planted.parquet", move)], order=("small", "large"))
    (metric,) = report.metrics
    assert (report.checks, report.concepts) == (CHECKS, CHECKS // 2)
    assert metric.accuracy == 1.0 and metric.error == 1.0
    small, large = metric.changes
    assert (small.change, small.flips.value, small.accuracy) == ("small", 0.0, 1.0)
    # An error costs 1; the own scores move by 0.5 and by 0, root mean square 0.5/√2.
    assert small.ratio.value == pytest.approx(2 * 2**0.5)
    assert small.ratio.low == pytest.approx(small.ratio.high) == pytest.approx(2 * 2**0.5)
    assert large.flips.value == pytest.approx(0.25) and large.accuracy == pytest.approx(0.75)
    assert large.flips.low is not None and large.flips.high is not None
    assert 0.05 < large.flips.low < 0.25 < large.flips.high < 0.6
    # Half of the original images move by 2, no contrast image does.
    assert large.ratio.value == pytest.approx(1.0)


def test_a_metric_that_never_moves_has_no_ratio_and_an_interval_from_zero(tmp_path: Path) -> None:
    (metric,) = evaluate([table(tmp_path / "still.parquet", lambda change, check: 0.0)]).metrics
    for score in metric.changes:
        assert score.flips.value == 0.0 == score.flips.low
        assert score.flips.high is not None and 0 < score.flips.high < 0.2
        assert score.ratio.value is None


def test_a_tie_counts_one_half(tmp_path: Path) -> None:
    path = table(tmp_path / "tie.parquet", lambda change, check: -1.0 if change == "small" else 0.0)
    (metric,) = evaluate([path]).metrics
    flips = {score.change: score.flips.value for score in metric.changes}
    assert flips == {"small": pytest.approx(0.25), "large": 0.0}  # two of four verdicts become ties


def test_what_has_no_score_is_left_out_and_counted(tmp_path: Path) -> None:
    path = table(tmp_path / "holes.parquet", lambda change, check: 0.0)
    rows = pl.read_parquet(path).with_columns(
        prompt_score=pl.when(pl.col("check_id") == "c3:small").then(None).otherwise(pl.col("prompt_score")),
        error=pl.when(pl.col("check_id") == "c3:small").then(pl.lit("broken")).otherwise(None),
    )
    write_scores(_table(rows.to_dicts()), ScoreMetadata("holes", "syn"), path)
    (metric,) = evaluate([path]).metrics
    assert metric.missing == 1
    assert {score.change: score.checks for score in metric.changes} == {"small": CHECKS - 1, "large": CHECKS}


def test_the_most_invariant_metric_is_first_and_all_is_shown(tmp_path: Path) -> None:
    paths = [
        table(tmp_path / "bad.parquet", lambda change, check: -2.0 if change == "large" else 0.0),
        table(tmp_path / "good.parquet", lambda change, check: 0.0),
    ]
    report = evaluate(paths)
    assert [metric.metric for metric in report.metrics] == ["good", "bad"]
    assert json.loads(report.to_json())["metrics"][1]["changes"][0]["flips"]["value"] == 0.5
    assert picture_png(report).startswith(b"\x89PNG")
    assert len(terminal(report)) >= 6
    shown = page(report)
    assert shown.startswith("<!doctype html>") and shown.index("<h2>good</h2>") < shown.index("<h2>bad</h2>")
    assert '<th scope="row" class="name">large</th><td>0.500</td>' in shown
    assert "<h3>good</h3>" in section(report)


def test_a_report_is_read_from_its_json_and_nothing_else(tmp_path: Path) -> None:
    report = evaluate([table(tmp_path / "some.parquet", lambda change, check: -2.0 * (change == "large"))])
    file = tmp_path / "invariance.json"
    file.write_text(report.to_json(), "utf-8")
    assert read_invariance(file) == read_invariance(tmp_path) == report
    file.write_text('{"format": "croc audit-reward"}')
    with pytest.raises(InputError, match="not the JSON of an invariance test; 'croc invariance' writes it"):
        read_invariance(file)
    file.write_text('{"format": "croc invariance", "checks": "many"}')
    with pytest.raises(InputError, match="not the JSON of an invariance test: "):
        read_invariance(file)
    with pytest.raises(InputError, match="does not exist; croc invariance writes it"):
        read_invariance(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [(("",), "is no variant of a check"), (("small",), "no unchanged check has a score of")],
)
def test_other_tables_are_refused(tmp_path: Path, changes: tuple[str, ...], message: str) -> None:
    path = table(tmp_path / "other.parquet", lambda change, check: 0.0, changes)
    with pytest.raises(InputError, match=message):
        evaluate([path])
