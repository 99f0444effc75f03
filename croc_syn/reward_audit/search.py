"""A search for images that a metric likes: evolution over scenes, under the oracle's watch.

It starts from the images of a pool that the metric scores highest and changes their scenes: copies, more and
larger things, other colours, styles and backgrounds, and the prompt written into a corner. No gradient is
used, so that it works for every scorer. Libraries for such searches (nevergrad, cmaes, differential evolution
of scipy) work on vectors of fixed length; a scene is a list of things with properties that depend on their
kinds.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from croc.checks.columns import Column, features
from croc.checks.decoding import decode, to_bytes
from croc.checks.schema import join_errors
from croc.errors import InputError
from croc.jobs.parts import Part
from croc.jobs.runner import Manifest, run
from croc.reward_audit.records import SearchResult
from croc.rewards import score_pairs
from croc.storage.parquet import write_parquet
from croc.verdict.intervals import FEWEST_CONCEPTS, Estimate, mean_share
from croc.verdict.statistics import percentile_interval, resample_counts
from croc_syn.reward_audit.pools import Pool
from croc_syn.world import Scene, rasterise, read_scene, to_svg
from croc_syn.world.contrasts.scene_changes import SCENE_CHANGES, change_scene, judge
from croc_syn.world.scenes.scene import embed
from croc_syn.world.scenes.seeded_random import SeededRandom
from croc_syn.writing.table import EXACT

PARENTS, CHILDREN = 8, 12
"""Size of a generation, and how many new images it has."""
MARK = "text mark"
_CORNERS = {
    "top left": (0.02, 0.02, 0.46, 0.17),
    "top right": (0.54, 0.02, 0.98, 0.17),
    "bottom left": (0.02, 0.83, 0.46, 0.98),
    "bottom right": (0.54, 0.83, 0.98, 0.98),
}
_TRIES = 8
_RESAMPLES = 2_000

COLUMNS = (
    Column("concept_id", "string", "the prompt's pool"),
    Column("property", "string", "the property of the pool"),
    Column("prompt", "string", "the prompt"),
    Column("right", "float64", "share of right images among those with the highest score"),
    Column("best_right", "float64", "highest score of a right image"),
    Column("best_wrong", "float64", "highest score of a wrong image"),
    Column("best_wrong_in_pool", "float64", "the same before the search"),
    Column("deviation", "float64", "standard deviation of the scores of the pool"),
    Column("scored", "int64", "number of images that were scored"),
    Column("changes", "string", "the changes that made the wrong image", many=True),
    Column("wrong_image", "image", "the wrong image with the highest score"),
    Column("right_image", "image", "the right image with the highest score"),
)
"""The columns of the files of a search, one row per prompt."""


@dataclass(frozen=True)
class SearchSettings:
    """How long is searched.

    Attributes:
        prompts: number of prompts, evenly spaced over those of the audit; 0 searches nothing.
        images: number of new images per prompt.
        seed: of the changes.
    """

    prompts: int = 13
    images: int = 144
    seed: int = 0

    def __post_init__(self) -> None:
        if self.prompts < 0:
            raise InputError(f"the number of prompts to search must be 0 or more, not {self.prompts}")
        if self.images < 1:
            raise InputError(f"the number of images per prompt must be at least 1, not {self.images}")


@dataclass(frozen=True)
class Picture:
    """An image of the search.

    Attributes:
        scene: what it shows.
        right: whether it shows the prompt.
        mark: the corner with the prompt in letters; "" without.
        changes: what was done to an image of the pool.
        score: of the metric; -inf without one.
        image: bytes of the file; empty before it is drawn.
    """

    scene: Scene
    right: bool
    mark: str = ""
    changes: tuple[str, ...] = ()
    score: float = -np.inf
    image: bytes = b""


def search_prompts(number: int, wanted: int) -> list[int]:
    """Which of so many pools are searched: evenly spaced."""
    wanted = min(wanted, number)
    return [int((i + 0.5) * number / wanted) for i in range(wanted)]


def run_search(
    scorer: Any,
    pools: Sequence[Pool],
    pool_files: Mapping[int, Path],
    scores: Mapping[tuple[str, int], float],
    out: Path,
    settings: SearchSettings,
    *,
    fingerprint: Mapping[str, Any],
    existing: str = "resume",
    progress: bool = True,
) -> Manifest:
    """Search with some prompts; an interrupted search is resumed.

    Args:
        scorer: the metric.
        pools: all pools of the audit.
        pool_files: the file of each pool.
        scores: of the candidates, by ``check_id`` and ``image_index``.
        out: the folder.
        settings: how long is searched.
        fingerprint: what the scores depend on.
        existing: ``resume`` or ``overwrite``.
        progress: show a bar.
    """
    chosen = search_prompts(len(pools), settings.prompts)
    return run(
        [Part(f"{number:06d}", {"pool": number}) for number in chosen],
        partial(write_search, scorer=scorer, pools=pools, files=pool_files, scores=scores, settings=settings),
        out,
        suffix=".parquet",
        fingerprint={"kind": "reward search", "world": EXACT, **asdict(settings), **fingerprint},
        existing=existing,  # type: ignore[arg-type]
        progress=progress,
        what="searches",
    )


def write_search(
    payload: Mapping[str, Any],
    path: Path,
    *,
    scorer: Any,
    pools: Sequence[Pool],
    files: Mapping[int, Path],
    scores: Mapping[tuple[str, int], float],
    settings: SearchSettings,
) -> dict[str, Any]:
    """Make one part: the search for one prompt."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pool = pools[payload["pool"]]
    start = [
        Picture(
            read_scene(image["bytes"]),
            row["property_path"] == join_errors(()),
            score=_number(scores.get((row["check_id"], index))),
            image=image["bytes"],
        )
        for row in pq.read_table(
            files[payload["pool"]], columns=["check_id", "property_path", "images"]
        ).to_pylist()
        for index, image in enumerate(row["images"])
    ]
    found = search(scorer, pool, start, settings)
    row = _row(pool, start, found)
    schema = features(COLUMNS).arrow_schema
    write_parquet([pa.Table.from_pylist([row], schema=schema)], path, schema)
    return {"images": len(found) - len(start)}


def _number(score: float | None) -> float:
    return -np.inf if score is None or not np.isfinite(score) else float(score)


def search(scorer: Any, pool: Pool, start: Sequence[Picture], settings: SearchSettings) -> list[Picture]:
    """Maximise the score of a prompt.

    Args:
        scorer: the metric.
        pool: the prompt.
        start: the candidates of the pool, with their scores.
        settings: how long is searched.

    Returns:
        All images, those of the pool first.
    """
    size = decode(start[0].image).width
    rng = SeededRandom("reward search", EXACT, pool.concept, settings.seed)
    every = list(start)
    seen = {(picture.scene.to_json(), picture.mark) for picture in start}
    parents = _best(every)
    made = 0
    while made < settings.images:
        children: list[Picture] = []
        for _ in range(min(CHILDREN, settings.images - made)):
            child = _child(pool, parents, rng, seen)
            if child is not None:
                children.append(child)
        if not children:
            break
        made += len(children)
        images = [drawn(child, pool.pair.prompt, size) for child in children]
        found, _ = score_pairs(scorer, images, [pool.pair.prompt] * len(images))
        every += [replace(child, score=_number(score)) for child, score in zip(children, found, strict=True)]
        parents = _best(every)
    return every


def _best(pictures: Sequence[Picture]) -> list[Picture]:
    return sorted(pictures, key=lambda picture: -picture.score)[:PARENTS]


def _child(
    pool: Pool, parents: Sequence[Picture], rng: SeededRandom, seen: set[tuple[str, str]]
) -> Picture | None:
    """A changed image of which the oracle says clearly whether it is right; None after some attempts."""
    pair = pool.pair
    for _ in range(_TRIES):
        # The better of two, as parents are in the order of their scores.
        parent = parents[min(rng.integer(len(parents)), rng.integer(len(parents)))]
        scene, mark, changes = parent.scene, parent.mark, list(parent.changes)
        for _ in range(1 + rng.integer(3)):
            name = rng.choice((*SCENE_CHANGES, MARK))
            if name == MARK:
                mark = rng.choice(("", *_CORNERS))
                changes = [*(one for one in changes if one != MARK), *([MARK] if mark else [])]
                continue
            changed = change_scene(scene, name, pair.prompt, rng)
            if changed is not None:
                scene = changed
                changes.append(name)
        if (scene.to_json(), mark) in seen or (mark and not _is_free(scene, mark)):
            continue
        right = judge(scene, pair.prompt, pair.contrast_prompt)
        if right is None:
            continue
        seen.add((scene.to_json(), mark))
        return Picture(scene, right, mark, tuple(changes))
    return None


def _is_free(scene: Scene, corner: str) -> bool:
    """Whether a mark hides nothing of any thing."""
    left, top, right, bottom = _CORNERS[corner]
    return all(
        thing.box[2] <= left or thing.box[0] >= right or thing.box[3] <= top or thing.box[1] >= bottom
        for thing in scene.things
    )


def drawn(picture: Picture, prompt: str, size: int) -> Image.Image:
    """The image of a picture."""
    image = decode(rasterise(to_svg(picture.scene, size)))
    if picture.mark:
        left, top, right, bottom = (round(end * size) for end in _CORNERS[picture.mark])
        brush = ImageDraw.Draw(image)
        brush.rectangle((left, top, right, bottom), fill="white", outline="black")
        font = ImageFont.load_default(max(6, size // 22))
        letters = max(8, round((right - left) / brush.textlength("n", font=font)))
        text = "\n".join(textwrap.wrap(prompt, letters)[:3])
        brush.multiline_text((left + 3, top + 2), text, fill="black", font=font, spacing=1)
    return image


def _file(picture: Picture, prompt: str, size: int) -> bytes:
    """The file of a picture, with its scene."""
    if picture.image:
        return picture.image
    return embed(to_bytes(drawn(picture, prompt, size)), picture.scene)


def _row(pool: Pool, start: Sequence[Picture], every: Sequence[Picture]) -> dict[str, Any]:
    top = max(picture.score for picture in every)
    tied = [picture.right for picture in every if picture.score == top]
    right, wrong = (
        max((one for one in every if one.right is side), key=lambda one: one.score) for side in (True, False)
    )
    scores = np.array([one.score for one in start])
    known = scores[np.isfinite(scores)]
    before = max(one.score for one in start if not one.right)
    size = decode(start[0].image).width
    return {
        "concept_id": pool.concept,
        "property": pool.pair.contrast,
        "prompt": pool.pair.prompt,
        "right": float(np.mean(tied)),
        "best_right": right.score,
        "best_wrong": wrong.score,
        "best_wrong_in_pool": before,
        "deviation": float(known.std()) if len(known) else 0.0,
        "scored": len(every) - len(start),
        "changes": list(wrong.changes),
        "wrong_image": {"bytes": _file(wrong, pool.pair.prompt, size), "path": None},
        "right_image": {"bytes": _file(right, pool.pair.prompt, size), "path": None},
    }


def read_search(made: Manifest, level: float, seed: int) -> SearchResult:
    """The result of a search.

    Args:
        made: its folder.
        level: of confidence.
        seed: of the resamples of the prompts.
    """
    rows = search_rows(made, [column.name for column in COLUMNS if column.kind != "image"])
    unit = np.array([row["deviation"] or 1.0 for row in rows])
    best_right, best_wrong, before = (
        np.array([row[name] for row in rows], dtype=float)
        for name in ("best_right", "best_wrong", "best_wrong_in_pool")
    )
    with np.errstate(invalid="ignore"):
        gaps = np.nan_to_num((best_wrong - best_right) / unit, nan=0.0, posinf=0.0, neginf=0.0)
        gained = np.nan_to_num((best_wrong - before) / unit, nan=0.0, posinf=0.0, neginf=0.0)
    right = np.array([row["right"] for row in rows])
    changes = Counter(
        change for row in rows if row["best_wrong"] > row["best_right"] for change in row["changes"]
    )
    return SearchResult(
        len(rows),
        sum(row["scored"] for row in rows),
        mean_share(right, level),
        _mean(gaps, level, seed),
        float(gained.mean()),
        dict(changes.most_common()),
    )


def search_rows(made: Manifest, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a finished search, one per prompt."""
    import pyarrow.parquet as pq

    return [row for file in made.files() for row in pq.read_table(file, columns=list(columns)).to_pylist()]


def _mean(values: np.ndarray, level: float, seed: int) -> Estimate:
    """A mean with the percentile interval over prompts."""
    if len(values) < FEWEST_CONCEPTS:
        return Estimate(float(values.mean()), None, None)
    counts = resample_counts(len(values), _RESAMPLES, np.random.default_rng(seed)).astype(float)
    low, high = percentile_interval(counts @ values / counts.sum(axis=1), level)
    return Estimate(float(values.mean()), float(low), float(high))
