"""Out of the world: is an image unlike all that a model was trained on?

    croc calibrate runs/crocscore --questions runs/questions --world runs/scenes

The features of an image are what the language model reads of it, averaged over its tokens. A normal
distribution is fitted to the features of images of the training; the distance of an image is that of
Mahalanobis (Lee et al. 2018), divided by the threshold, a high quantile of the distances of images of other
concepts. Above 1 an image is out of the model's world, and no score of it can be trusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from croc.errors import InputError
from croc.scorers.fingerprints import SCORING_FILES, folder_fingerprint
from croc.scorers.fingerprints import WORLD_ARRAYS as ARRAYS
from croc.scorers.fingerprints import WORLD_FIGURES as FIGURES
from croc.storage.files import read_json
from croc.storage.hub_access import download_snapshot
from croc.verdict.records import Stored

Array = NDArray[np.float64]

DRAWINGS_ONLY = "drawings only: not to be trusted on this image"
"""What stands in place of a probability on an image that is out of the model's world."""


@dataclass(frozen=True)
class WorldFigures(Stored):
    """How the world of a model was found.

    Attributes:
        model: fingerprint of the folder, to notice files of other weights.
        folders: names of the folders of images.
        images, held_out: numbers of the images that the distribution and the threshold were fitted to.
        shrinkage: of the covariance (Ledoit and Wolf 2004), 0…1.
        quantile: of the distances of the images held out, which is the threshold.
        threshold: the Mahalanobis distance that counts as 1.
    """

    description: ClassVar[str] = "a description of a model's world"

    model: str
    folders: list[str]
    images: int
    held_out: int
    shrinkage: float
    quantile: float
    threshold: float


@dataclass(frozen=True)
class World:
    """What images of the training look like to a model.

    Attributes:
        mean: (d,) of the features.
        whitening: (d, d); features minus ``mean`` have unit covariance after it.
        threshold: the Mahalanobis distance that counts as 1.
    """

    mean: Array
    whitening: Array
    threshold: float

    def distance(self, features: Any) -> Array:
        """How far images are from those of the training: features (n, d) → (n,); above 1 is outside.

        Raises:
            InputError: the features have another width.
        """
        values = np.asarray(features, dtype=np.float64)
        if values.shape[1:] != self.mean.shape:
            raise InputError(
                f"the features of images have {values.shape[1:]} numbers, those in {ARRAYS} "
                f"{len(self.mean)}: run croc calibrate with --world again"
            )
        return np.asarray(np.linalg.norm((values - self.mean) @ self.whitening.T, axis=1) / self.threshold)


def pooled(features: Any) -> Array:
    """The mean over tokens: features (n, tokens, d) → (n, d).

    Raises:
        InputError: they have another shape, as those of models that cut an image into tiles.
    """
    values = np.asarray(features, dtype=np.float64)
    if values.ndim != 3:
        raise InputError("a distance to the training images needs a model that reads one grid per image")
    return np.asarray(values.mean(axis=1))


def read_world(folder: str | Path) -> World | None:
    """The world of the model in a folder; None if none is stored.

    Raises:
        InputError: it cannot be read, or belongs to other weights.
    """
    folder = Path(folder)
    content = read_json(folder / FIGURES, None, dict[str, Any])
    if content is None:
        return None
    figures = WorldFigures.from_dict(content)
    if figures.model != folder_fingerprint(folder):
        raise InputError(
            f"{folder / FIGURES} is of other weights or settings: run croc calibrate {folder} with --world "
            "again, or delete it"
        )
    try:
        with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
            mean, whitening = (arrays[name].astype(np.float64) for name in ("mean", "whitening"))
        if mean.ndim != 1 or whitening.shape != (len(mean), len(mean)):
            raise ValueError(f"the shapes are {mean.shape} and {whitening.shape}")
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise InputError(
            f"{folder / ARRAYS}: cannot be read ({error}): run croc calibrate {folder} with --world again"
        ) from None
    return World(mean, whitening, figures.threshold)


def read_hub_world(repository: str, revision: str | None) -> World | None:
    """The world of a model on the Hub; None if its repository has none.

    Args:
        repository: name of the model.
        revision: the commit whose weights are loaded.

    Raises:
        CrocError: it cannot be downloaded.
        InputError: it cannot be read, or belongs to other weights.
    """
    folder = download_snapshot(repository, revision, [FIGURES], kind="model")
    if (folder / FIGURES).is_file():
        # The files of the model are in the cache; those that the fingerprint needs besides are small.
        folder = download_snapshot(repository, revision, [*SCORING_FILES, ARRAYS], kind="model")
    return read_world(folder)
