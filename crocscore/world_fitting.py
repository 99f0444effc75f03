"""Fit the world of a model, see :mod:`crocscore.out_of_world`, to images of its training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from croc.checks.schema import stable_hash
from croc.errors import InputError, MissingExtra
from croc.scorers.fingerprints import WORLD_ARRAYS as ARRAYS
from croc.scorers.fingerprints import WORLD_FIGURES as FIGURES
from croc.scorers.fingerprints import folder_fingerprint
from croc.storage.files import atomic, write_json
from crocscore.out_of_world import Array, World, WorldFigures, pooled
from crocscore.questions import question_files

if TYPE_CHECKING:
    from crocscore.model import CROCScore

AT_MOST = 2_400
"""Images that are read, over all folders."""
HELD_OUT = 3
"""One concept of so many is held out for the threshold."""
QUANTILE = 0.98


def fit(features: Array) -> tuple[World, float]:
    """The normal distribution of features (n, d), with threshold 1, and the shrinkage of its covariance.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn.covariance import ledoit_wolf
    except ImportError as error:
        raise MissingExtra("fitting the world of a model", "train") from error
    covariance, shrinkage = ledoit_wolf(features)
    values, vectors = np.linalg.eigh(covariance)
    # Rounded as they are stored: the threshold is that of the stored numbers.
    whitening = (vectors / np.sqrt(values)).T.astype(np.float16).astype(np.float64)
    mean = features.mean(axis=0).astype(np.float32).astype(np.float64)
    return World(mean, whitening, 1.0), float(shrinkage)


def fit_world(model: str | Path, folders: Sequence[str | Path], **options: Any) -> WorldFigures:
    """Find out what images of the training look like to a model, and store it in its folder.

    Args:
        model: folder of the model; two files are added, weights and settings stay as they are.
        folders: images of the training: folders of ``croc build scenes`` or ``croc build train``.
        options: of :class:`~crocscore.model.CROCScore` (``device``, ``batch_size``, …).

    Raises:
        InputError: a folder has no such images, or too few of them; the model has no grid of features.
        MissingExtra: scikit-learn is not installed.
    """
    from crocscore.model import CROCScore

    model = Path(model)
    chosen = [image for folder in folders for image in _images(Path(folder), AT_MOST // len(folders))]
    is_held_out = np.array([int(stable_hash("world", concept), 16) % HELD_OUT == 0 for concept, _ in chosen])
    features = _features(CROCScore.from_pretrained(model, **options), [content for _, content in chosen])
    width = features.shape[1]
    if (~is_held_out).sum() <= width or is_held_out.sum() < 1 / (1 - QUANTILE):
        raise InputError(
            f"{len(chosen)} images are too few for the world of a model with {width} features: give more "
            "than that, and 100 of other concepts"
        )
    found, shrinkage = fit(features[~is_held_out])
    threshold = float(np.quantile(found.distance(features[is_held_out]), QUANTILE))
    figures = WorldFigures(
        model=folder_fingerprint(model),
        folders=[Path(folder).name for folder in folders],
        images=int((~is_held_out).sum()),
        held_out=int(is_held_out.sum()),
        shrinkage=shrinkage,
        quantile=QUANTILE,
        threshold=threshold,
    )
    with atomic(model / ARRAYS) as temporary, temporary.open("wb") as file:
        mean, whitening = found.mean.astype(np.float32), found.whitening.astype(np.float16)
        np.savez_compressed(file, mean=mean, whitening=whitening)
    write_json(model / FIGURES, figures.to_dict())
    return figures


def _images(folder: Path, at_most: int) -> list[tuple[str, bytes]]:
    """Concept and file of images of a folder, evenly spaced.

    Raises:
        InputError: it has no images.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = question_files(folder, "train") or sorted(folder.glob("parts/*.parquet"))
    if not files:
        raise InputError(
            f"{folder} has neither parts/*.parquet nor data/train-*.parquet: make images with croc build "
            "scenes or croc build train"
        )
    found: list[tuple[str, bytes]] = []
    try:
        rows = [pq.read_metadata(file).num_rows for file in files]
        wanted = np.unique(np.linspace(0, sum(rows) - 1, at_most).astype(int)) if sum(rows) else np.zeros(0)
        for file, first, number in zip(files, np.cumsum([0, *rows]), rows, strict=False):
            inside = wanted[(wanted >= first) & (wanted < first + number)] - first
            table = pq.read_table(file, columns=["image", "concept_id"]).take(pa.array(inside, pa.int64()))
            images = table["image"].to_pylist()
            found += zip(table["concept_id"].to_pylist(), (i["bytes"] for i in images), strict=True)
    except (OSError, pa.ArrowException, KeyError, TypeError) as error:
        raise InputError(f"{file}: cannot be read as images with their concepts ({error})") from None
    return found


def _features(scorer: CROCScore, files: Sequence[bytes]) -> Array:
    from croc.checks.decoding import decode
    from croc.scorers.loading import in_batches

    batches = in_batches(len(files), 64)
    return np.concatenate(
        [pooled(scorer.image_features([decode(file) for file in files[span]])) for span in batches]
    )
