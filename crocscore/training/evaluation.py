"""Scaled accuracy of a model on held-out checks, during and after training."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from croc.checks.schema import DIRECTIONS, stable_hash
from croc.errors import InputError
from croc.scorers.fingerprints import WORLD_ARRAYS, WORLD_FIGURES
from croc.storage.files import atomic, write_json
from crocscore import calibration

if TYPE_CHECKING:
    from croc.checks.sources import Checks
    from croc.verdict.report import Report

LOG, PLOT, RESULTS, CARD = "training.json", "training.png", "results.json", "card.json"
MEAN = "scaled_accuracy"
"""Name of the mean over the directions, in a trainer's log."""

_SELECTION = "watch"
"""Part of the hash that selects checks; another word would select other checks."""


def select_checks(
    checks: Any,
    *,
    config: str | None = None,
    split: str | None = None,
    at_most: int | None = None,
    about: Collection[str] = (),
) -> Checks:
    """Select checks for evaluation: always the same ones of a dataset, whatever their order.

    Args:
        checks: a folder, Hub id or dataset of checks.
        config: configuration, where there are several.
        split: split, where there are several.
        at_most: maximum number of checks; None is all.
        about: categories and properties that they may belong to; empty allows all.

    Raises:
        InputError: there are no checks, or none of these categories and properties.
    """
    from croc.checks.sources import open_checks

    opened = open_checks(checks, config=config, split=split)
    if not opened.texts:
        raise InputError(f"{opened.name}: the dataset has no checks")
    ids = [text[0] for text in opened.texts]
    rows: Sequence[int] = range(len(ids))
    if about:
        read = (opened.read(row, row + 1)[0] for row in rows)
        names = [{check["category"], check["property"]} for check in read]
        rows = [row for row in rows if not names[row].isdisjoint(about)]
        if not rows:
            raise InputError(f"{opened.name}: no check has the category or property {', '.join(about)}")
    chosen = sorted(rows, key=lambda row: stable_hash(_SELECTION, ids[row]))[:at_most]
    return opened.select(sorted(chosen))


def evaluate_scorer(
    scorer: Any,
    checks: Checks,
    folder: Path,
    *,
    by: Sequence[str] = (),
    resamples: int = 0,
) -> Report:
    """The report on a scorer.

    Args:
        scorer: what is evaluated.
        checks: see :func:`select_checks`.
        folder: where the score table is written; all processes of a distributed training use the same one.
        by: columns to break down by.
        resamples: bootstrap resamples for the intervals; 0 gives no intervals.
    """
    from croc.scoring.run import ScoringSettings, score_dataset
    from croc.verdict.evaluation import evaluate
    from croc.verdict.report import Settings

    settings = ScoringSettings(existing="overwrite", progress=False)
    (table,) = score_dataset(checks, [scorer], folder, settings)
    return evaluate([table], settings=Settings(by=tuple(by), resamples=resamples, flips=0))


def remove_results(folder: Path) -> None:
    """Remove what an earlier training, evaluation or calibration wrote about other weights."""
    for name in (RESULTS, CARD, calibration.FIGURES, calibration.PLOT, WORLD_FIGURES, WORLD_ARRAYS):
        (folder / name).unlink(missing_ok=True)


def remove_scores(folder: Path) -> None:
    """Remove the folder of :func:`evaluate_scorer`."""
    shutil.rmtree(folder, ignore_errors=True)


def scaled_accuracies(report: Report, prefix: str = "") -> dict[str, float]:
    """Scaled accuracy by direction, and their mean; a direction without data is left out."""
    accuracies = {
        f"{prefix}{result.direction}": result.scaled
        for result in report.results
        if result.group is None and result.text_model is None and result.scaled is not None
    }
    mean = report.score(report.metrics[0]).scaled
    return accuracies if mean is None else {**accuracies, f"{prefix}{MEAN}": mean}


def summarise(report: Report) -> dict[str, Any]:
    """A report on one metric as JSON: the directions, and the mean of each group with its interval."""
    directions = {
        result.direction: {
            "scaled": result.scaled,
            "low": result.scaled_ci_low,
            "high": result.scaled_ci_high,
        }
        for result in report.results
        if result.group is None and result.text_model is None
    }
    groups = [
        {
            "group": score.group,
            "value": score.group_value,
            "scaled": score.scaled,
            "low": score.ci_low,
            "high": score.ci_high,
            "checks": score.n,
        }
        for score in report.scores
    ]
    overall = next(group for group in groups if group["group"] is None)
    return {
        "scaled": overall["scaled"],
        "low": overall["low"],
        "high": overall["high"],
        "checks": report.checks,
        "directions": directions,
        "groups": [group for group in groups if group["group"] is not None],
        "signature": str(report.signatures[report.metrics[0]]),
    }


def write_history(history: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write a trainer's log as JSON, and plot loss and scaled accuracy over the steps."""
    write_json(folder / LOG, list(history))
    with atomic(folder / PLOT) as temporary:
        temporary.write_bytes(_plot(history))


def _plot(history: Sequence[Mapping[str, Any]]) -> bytes:
    import io

    from matplotlib.figure import Figure

    def series(key: str) -> tuple[list[int], list[float]]:
        points = [(entry["step"], entry[key]) for entry in history if key in entry]
        return [step for step, _ in points], [value for _, value in points]

    figure = Figure(figsize=(7.5, 5.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for key, label in (("loss", "training"), ("eval_loss", "validation")):
        steps, values = series(key)
        if steps:
            above.plot(steps, values, label=label, linewidth=1.2, marker="." if len(steps) < 40 else None)
    above.set_ylabel("loss of the answer")
    drawn = False
    for direction in DIRECTIONS:
        steps, values = series(f"eval_{direction}")
        if steps:
            below.plot(steps, values, label=direction.replace("_", " "), linewidth=1.2, marker=".")
            drawn = True
    steps, values = series(f"eval_{MEAN}")
    if steps:
        below.plot(steps, values, label="mean", color="black", linewidth=2)
    below.axhline(0, color="grey", linewidth=0.8, linestyle=":")
    below.set_ylim(-1.05, 1.05)
    below.set_ylabel("scaled accuracy")
    below.set_xlabel("step")
    if above.lines:
        above.legend(frameon=False)
    if drawn:
        below.legend(frameon=False, ncols=3)
    else:
        below.text(0.5, 0.5, "no checks were scored", transform=below.transAxes, ha="center", va="bottom")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
