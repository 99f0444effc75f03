"""Which samples: random ones, balanced ones, hard ones, or those on whose answers two scorers agree.

The unit is an image with all questions about it, so that Yes and No stay as frequent as they are. Scorers
score the whole pool; only differences between the questions about one image are used, because many scorers
have no threshold between Yes and No.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from croc.checks.schema import stable_hash
from croc.errors import InputError
from croc.storage.files import atomic
from crocscore.experiments.image_noise import image_of

if TYPE_CHECKING:
    import pyarrow as pa

RANDOM, BALANCED, HARD, AGREEMENT = "random", "balanced", "hard", "agreement"
STRATEGIES = (RANDOM, BALANCED, HARD, AGREEMENT)
BATCH = 64

Image = tuple[Any, ...]
Scores = Mapping[str, float]
"""Score by ``pair_id``."""


def choose(rows: pa.Table, strategy: str, share: float, seed: int, scores: Sequence[Scores] = ()) -> pa.Table:
    """Choose a share of the images of a pool of questions.

    Args:
        rows: the pool.
        strategy: ``random``; ``balanced``, the same number of images of every property as far as there are;
            ``hard``, those whose true prompts the first scorer puts least above the false ones;
            ``agreement``, random ones of those where every scorer agrees with all answers.
        share: of the images. ``agreement`` may find fewer.
        seed: of the random choices.
        scores: of the pool by each scorer, for ``hard`` and ``agreement``.

    Raises:
        InputError: an unknown strategy, no scores for it, or nothing is left.
    """
    import pyarrow as pa

    if strategy not in STRATEGIES:
        raise InputError(f"no choice of samples is called {strategy!r}; expected {', '.join(STRATEGIES)}")
    if strategy in (HARD, AGREEMENT) and not scores:
        raise InputError(f"the choice {strategy} needs the scores of the pool")
    images = image_of(rows)
    ordered = sorted(set(images), key=lambda image: stable_hash("sample", seed, *image))
    number = round(share * len(ordered))
    if strategy == BALANCED:
        ordered = _by_turns(ordered, dict(zip(images, rows["property"].to_pylist(), strict=True)))
    elif strategy == HARD:
        margin = {image: sum(signed) for image, signed in _agreements(rows, scores[0]).items()}
        ordered = sorted(ordered, key=lambda image: margin[image])
    elif strategy == AGREEMENT:
        agreeing = [_agreements(rows, one) for one in scores]
        ordered = [image for image in ordered if all(min(one[image]) > 0 for one in agreeing)]
    chosen = set(ordered[:number])
    if not chosen:
        raise InputError(f"the choice {strategy} leaves no question to train on")
    return rows.filter(pa.array([image in chosen for image in images]))


def _by_turns(images: Sequence[Image], property_of: Mapping[Image, str]) -> list[Image]:
    """The images in an order in which the properties take turns; within one, the order stays."""
    turn: dict[str, int] = defaultdict(int)
    turns = []
    for image in images:
        turns.append(turn[property_of[image]])
        turn[property_of[image]] += 1
    order = sorted(range(len(images)), key=lambda i: (turns[i], i))
    return [images[i] for i in order]


def _agreements(rows: pa.Table, scores: Scores) -> dict[Image, list[float]]:
    """How far a scorer agrees with each answer: its score above the mean of the image, or below it for No."""
    names, labels = rows["pair_id"].to_pylist(), rows["label"].to_pylist()
    of_image: dict[Image, list[tuple[float, bool]]] = defaultdict(list)
    for image, name, label in zip(image_of(rows), names, labels, strict=True):
        of_image[image].append((scores[name], label))
    found = {}
    for image, asked in of_image.items():
        middle = float(np.mean([score for score, _ in asked]))
        found[image] = [score - middle if label else middle - score for score, label in asked]
    return found


def score_pool(scorer: Any, rows: pa.Table, file: Path) -> dict[str, float]:
    """Score a pool of questions, or read the scores if they are there.

    Raises:
        InputError: a score is not a finite number.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from croc.checks.decoding import decode, to_bytes

    if not file.is_file():
        scores: list[float] = []
        for start in range(0, len(rows), BATCH):
            batch = rows.slice(start, BATCH).to_pylist()
            images = [decode(to_bytes(row["image"])) for row in batch]
            scores += np.asarray(scorer.score(images, [row["prompt"] for row in batch])).tolist()
        with atomic(file) as temporary:
            pq.write_table(pa.table({"pair_id": rows["pair_id"], "score": scores}), temporary)
    stored = pq.read_table(file)
    found = dict(zip(stored["pair_id"].to_pylist(), stored["score"].to_pylist(), strict=True))
    if missing := [name for name in rows["pair_id"].to_pylist() if not np.isfinite(found.get(name, np.nan))]:
        raise InputError(f"{file.stem}: no finite score for the question {missing[0]}")
    return found
