"""An experiment without training: a scorer on images that are not from the exact world.

croc experiment zero-shot runs/crocscore --checks runs/nlvr --tifa tifa160 --out runs/zero-shot
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from croc.errors import InputError
from croc.storage.files import atomic, read_json, write_json
from crocscore.experiments.plots import plot_zero_shot

if TYPE_CHECKING:
    import polars as pl

_ANNOTATIONS = "human_annotations_with_scores.json"
_COMPARED = ("clipscore_vitb32", "tifa_mplug-large")
"""Metrics of the TIFA160 release that the scorer is compared with."""


def zero_shot(
    scorer: Any,
    out: str | Path,
    *,
    checks: Any = None,
    split: str | None = None,
    ratings: str | Path | None = None,
    max_checks: int | None = None,
) -> Path:
    """Evaluate a scorer on checks with human labels and on human ratings.

    Args:
        scorer: any scorer.
        out: folder of ``zero-shot.json`` and ``zero-shot.png``.
        checks: folder, Hub id or dataset of checks with human labels, such as ``croc build nlvr`` makes.
            Directions that they have no data for, such as NLVR's text directions, are null.
        split: split of the checks, where there are several.
        ratings: folder of TIFA160: ``images/`` and ``human_annotations_with_scores.json``.
        max_checks: maximum number of checks.

    Returns:
        The JSON file.

    Raises:
        InputError: neither checks nor ratings are given, or they cannot be read.
    """
    from crocscore.training.evaluation import evaluate_scorer, remove_scores, select_checks, summarise

    if checks is None and ratings is None:
        raise InputError("zero-shot: name checks (--checks) or ratings (--tifa)")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"experiment": "zero-shot", "scorer": scorer.name, "fields": scorer.fields()}
    if checks is not None:
        rows = select_checks(checks, split=split, at_most=max_checks)
        results["checks"] = summarise(evaluate_scorer(scorer, rows, out / "scores", resamples=2_000))
        remove_scores(out / "scores")
    if ratings is not None:
        results["ratings"] = _correlations(scorer, Path(ratings))
    write_json(out / "zero-shot.json", results)
    with atomic(out / "zero-shot.png") as temporary:
        temporary.write_bytes(plot_zero_shot(results))
    return out / "zero-shot.json"


class _Item(TypedDict):
    """An image; every other key is a metric or a human rating."""

    text: str
    text_id: str


def tifa160(folder: Path, scorer: Any) -> pl.DataFrame:
    """The pair table of TIFA160: the columns of the release, and one with the scores of a scorer.

    Raises:
        InputError: the folder does not contain the release.
    """
    import numpy as np
    import polars as pl

    from croc.checks.decoding import decode, to_bytes

    items = read_json(folder / _ANNOTATIONS, f"no {_ANNOTATIONS}", dict[str, _Item])
    names = sorted(items)
    scores = np.full(len(names), np.nan)
    for start in range(0, len(names), 64):
        batch = names[start : start + 64]
        images = [decode(to_bytes(folder / "images" / f"{name}.jpg")) for name in batch]
        scores[start : start + 64] = scorer.score(images, [items[name]["text"] for name in batch])
    rows = [
        {
            "item_id": name,
            "system": name.removeprefix(items[name]["text_id"] + "_"),
            "prompt": items[name]["text_id"],
            **{key: value for key, value in items[name].items() if isinstance(value, float)},
            scorer.name: float(score),
        }
        for name, score in zip(names, scores, strict=True)
    ]
    return pl.DataFrame(rows)


def _correlations(scorer: Any, folder: Path) -> list[dict[str, Any]]:
    from croc.ratings.correlation import correlate

    table = tifa160(folder, scorer)
    compared = [name for name in _COMPARED if name in table.columns]
    report = correlate(  # pooled, as in the published table
        table, ["human_avg"], group="none", metrics=[scorer.name, *compared], resamples=1_000
    )
    return [
        {key: value for key, value in asdict(result).items() if key != "signature"}
        for result in report.results
    ]
