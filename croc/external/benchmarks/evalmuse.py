"""EvalMuse-40K: images with scores of alignment by several people, of the whole prompt and of its elements.

Han et al. 2024, "EvalMuse-40K", arXiv 2412.18150. The training part is read as
DYEvaLab/EvalMuse@0fa141b5:process/process_train.py does; the scores are those of its utils.py. The scores of
the test part are not published there.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import polars as pl
from numpy.typing import NDArray
from typing_extensions import TypedDict

from croc.errors import InputError
from croc.external.benchmark import Benchmark, Mode, Source
from croc.external.files import first_existing
from croc.external.images import ImageStore, Pairs, rated_pairs
from croc.external.items import Rated, table_of
from croc.external.standard import pooled_scores
from croc.ratings.coefficients import correlation
from croc.storage.files import read_json
from croc.wording import counted

Array = NDArray[np.float64]


class _Item(TypedDict):
    prompt: str
    img_path: str
    total_score: list[int | float]
    element_score: dict[str, list[int | float]]


def read(folder: Path) -> Rated:
    """Read ``train_list.json``; ``human`` is the mean score, ``elements`` that of the elements' mean scores.

    Raises:
        InputError: the file is missing, or an image lacks a key.
    """
    file = first_existing(folder, "train_list.json", "dataset/train_list.json")
    rows, empty = [], 0
    for item in read_json(file, "no scores", list[_Item]):
        if not item["total_score"]:
            empty += 1
            continue
        elements = [sum(scores) / len(scores) for scores in item["element_score"].values() if scores]
        parts = PurePosixPath(item["img_path"]).parts
        rows.append(
            {
                "item_id": item["img_path"],
                "system": parts[0] if len(parts) > 1 else None,
                "prompt": item["prompt"],
                "image": item["img_path"],
                "human": float(np.mean(item["total_score"])),
                "elements": float(np.mean(elements)) if elements else None,
            }
        )
    if not rows:
        raise InputError(f"{file}: no scores")
    table = table_of(rows, str(file), {"system": pl.String})
    notes = (f"{counted(empty, 'image')} without a score left out.",) if empty else ()
    return Rated.of(table, str(file), humans=("human", "elements"), left_out=notes)


def pairs(folder: Path) -> Pairs:
    """The images with their prompts: ``images/``, or ``images.zip``."""
    return rated_pairs(read(folder), ImageStore(folder, ("images", "dataset/images"), ("images.zip",)))


def score(items: Rated, mode: Mode) -> Mapping[str, float]:
    """Spearman, Kendall tau-b and Pearson over all images; in parity mode Pearson's is of a fitted curve."""
    found = dict(pooled_scores(items, "human", ("Spearman", "Kendall", "Pearson")))
    if mode == "parity":
        for metric in items.metrics:
            table = items.table.drop_nulls([metric, "human"])
            scores, human = (table[name].cast(float).to_numpy() for name in (metric, "human"))
            found[f"{metric} Pearson"] = correlation(_fitted(scores, human), human, "pearson")
    return found


def _fitted(scores: Array, human: Array) -> Array:
    """The scores mapped to ratings by a logistic curve of four parameters; NaN if it cannot be fitted."""
    from scipy.optimize import OptimizeWarning, curve_fit

    def curve(x: Array, high: float, low: float, middle: float, width: float) -> Array:
        return np.asarray(low + (high - low) / (1 + np.exp(-(x - middle) / abs(width))), float)

    start = [human.max(), human.min(), scores.mean(), scores.std()]
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)  # of the covariance, which is not used
            fitted, _ = curve_fit(curve, scores, human, p0=start, maxfev=100_000)
            return curve(scores, *fitted)
    except (RuntimeError, ValueError, TypeError):
        return np.full(len(scores), np.nan)


BENCHMARK = Benchmark(
    name="evalmuse",
    title="EvalMuse-40K, training part (Han et al. 2024, arXiv 2412.18150)",
    kind="rated",
    holds="images with scores of alignment by several people, of the prompt and of its elements",
    size="about 30,000 images",
    licence="Apache-2.0",
    source=Source(
        "DYEvaLab/EvalMuse",
        "0fa141b508af5bdd78161977bbde0224d05d4e8d",
        ("process/process_train.py", "utils.py"),
        hub="DY-Evalab/EvalMuse",
        images="join and unpack the parts of images.zip as scripts/download.sh does, 'images/' beside "
        "train_list.json",
    ),
    scores=("Spearman", "Kendall tau-b", "Pearson"),
    folders=("EvalMuse",),
    files=("train_list.json", "dataset/train_list.json"),
    met="none",
    read=read,
    pairs=pairs,
    score=score,
    parity="Pearson's correlation is that of a fitted logistic curve; by default that of the scores.",
)
