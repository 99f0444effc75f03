"""Pools of candidates of a prompt: a few right images, many nearly right ones, and the oracle's word on each.

A pool is what a generator offers to best-of-n selection. The pools are a dataset of graded checks: a row is a
sort of candidate (``property_path``) of a prompt (``concept_id``), so that ``croc score`` scores them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from croc.checks.columns import features
from croc.checks.schema import CHECK_COLUMNS, ERROR_GRAPH, check_id, join_errors, stable_hash
from croc.errors import CrocError, InputError
from croc.jobs.parts import Executor, Part
from croc.jobs.runner import Manifest, run
from croc.reward_audit.sorts import RIGHT, SORTS
from croc.storage.parquet import write_parquet
from croc.tables.metadata import library_versions
from croc_syn.painting.exact import LICENSE
from croc_syn.world import CONTRASTS, STYLES, USUAL, Pair, Scene, make_pair, rasterise, sample, to_svg
from croc_syn.world.contrasts.image_errors import IMAGE_ERRORS, with_error
from croc_syn.world.contrasts.scene_changes import SCENE_CHANGES, change_scene, judge
from croc_syn.world.scenes.scene import embed
from croc_syn.world.scenes.seeded_random import SeededRandom
from croc_syn.writing.table import EXACT

if TYPE_CHECKING:
    import pyarrow as pa

FEWEST_CANDIDATES = 16
_SHARES = {
    "contrast": 0.28,
    "near miss": 0.22,
    "other value": 0.18,
    "distractors": 0.22,
}
"""Of the wrong candidates; the rest show something else altogether."""
_TRIES = 12
_OTHER_STYLES = 0.25
"""Share of the candidates that are drawn in a style other than the usual one."""
_FREE_STYLES = tuple(style.id for style in STYLES.values() if not style.group and style.id != USUAL)


@dataclass(frozen=True)
class PoolSettings:
    """Settings on which the pools depend.

    Attributes:
        prompts: per property.
        candidates: per prompt; one in eight is right.
        properties: keys of ``CONTRASTS``; empty takes all.
        size: width and height of the images in pixels.
        seed: decides prompts and candidates.
    """

    prompts: int = 2
    candidates: int = 80
    properties: tuple[str, ...] = ()
    size: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if self.prompts < 1:
            raise InputError(f"the number of prompts per property must be at least 1, not {self.prompts}")
        if self.candidates < FEWEST_CANDIDATES:
            raise InputError(f"a pool needs at least {FEWEST_CANDIDATES} candidates, not {self.candidates}")
        if not 16 <= self.size <= 4096:
            raise InputError(f"size must be 16 to 4096 pixels, not {self.size}")
        for name in self.properties:
            if name not in CONTRASTS:
                raise InputError(f"no property {name!r}; expected {', '.join(CONTRASTS)}")

    @property
    def names(self) -> tuple[str, ...]:
        """The properties in the order of ``CONTRASTS``."""
        return tuple(name for name in CONTRASTS if name in self.properties or not self.properties)


@dataclass(frozen=True)
class Pool:
    """What a pool is about.

    Attributes:
        pair: the prompt, the contrast prompt and the property.
        seed: of the candidates.
    """

    pair: Pair
    seed: int

    @property
    def concept(self) -> str:
        """The id of the prompt among the pools."""
        return stable_hash("pool", EXACT, self.pair.prompt, self.pair.contrast_prompt, self.seed)

    def rng(self, *names: object) -> SeededRandom:
        """Random numbers for one purpose."""
        return SeededRandom("pool", EXACT, self.concept, *names)


@dataclass(frozen=True)
class Candidate:
    """A scene of a pool, and its sort: :data:`~croc.reward_audit.sorts.RIGHT` or one of the wrong ones."""

    scene: Scene
    sort: str


@lru_cache(maxsize=4)
def pools(settings: PoolSettings) -> tuple[Pool, ...]:
    """The prompts of an audit: a round over the properties, then the next one.

    Of the prompts of a property every second one states the shorter value of its pair, so that half of those
    on negation have one.
    """
    found = []
    for number in range(settings.prompts):
        for name in settings.names:
            seed = int(stable_hash("pool", settings.seed, name, number, length=8), 16)
            pair = make_pair(name, seed=seed)
            is_shorter = (len(pair.value), pair.value) < (len(pair.contrast_value), pair.contrast_value)
            found.append(Pool(_turned(pair) if is_shorter == (number % 2 == 0) else pair, settings.seed))
    return tuple(found)


def _turned(pair: Pair) -> Pair:
    return Pair(pair.contrast_prompt, pair.prompt, pair.contrast, pair.contrast_value, pair.value)


def numbers(candidates: int) -> dict[str, int]:
    """How many candidates of each sort a pool has."""
    right = max(1, candidates // 8)
    wrong = candidates - right
    found = {RIGHT: right} | {sort: round(share * wrong) for sort, share in _SHARES.items()}
    return found | {"unrelated": candidates - sum(found.values())}


def candidates(pool: Pool, number: int, others: list[str]) -> list[Candidate]:
    """The candidates of a pool.

    A sort of which a prompt has too few is filled up with images of the contrast prompt.

    Args:
        pool: the prompt.
        number: of candidates.
        others: prompts of other pools.
    """
    found: list[Candidate] = []
    wanted = numbers(number)
    right = list(_drawn(pool, RIGHT, wanted[RIGHT]))
    found += right
    makers: Mapping[str, Callable[[str, int], Iterator[Candidate]]] = {
        "near miss": partial(_near_misses, pool, [one.scene for one in right]),
        "other value": partial(_other_values, pool),
        "distractors": partial(_crowded, pool),
        "unrelated": partial(_unrelated, pool, others),
    }
    short = 0
    for sort, make in makers.items():
        made = list(make(sort, wanted[sort]))
        short += wanted[sort] - len(made)
        found += made
    return found + list(_drawn(pool, "contrast", wanted["contrast"] + short))


def _styled(rng: SeededRandom) -> str:
    style: str = rng.choice(_FREE_STYLES) if rng.random() < _OTHER_STYLES else USUAL
    return style


def _drawn(pool: Pool, sort: str, number: int) -> Iterator[Candidate]:
    """Images of the prompt or of the contrast prompt."""
    pair, rng = pool.pair, pool.rng(sort)
    text = pair.prompt if sort == RIGHT else pair.contrast_prompt
    made = 0
    for _ in range(number * _TRIES):
        if made == number:
            return
        scene = sample(text, rng.integer(2**31), style=_styled(rng))
        if judge(scene, pair.prompt, pair.contrast_prompt) is (sort == RIGHT):
            made += 1
            yield Candidate(scene, sort)
    raise CrocError(f"too few images of {text!r} could be drawn")


def _wrong(
    pool: Pool, sort: str, number: int, make: Callable[[SeededRandom], Scene | None]
) -> Iterator[Candidate]:
    """Different wrong scenes, as many as are found."""
    rng, seen = pool.rng(sort), set[str]()
    for _ in range(number * _TRIES):
        if len(seen) == number:
            return
        try:
            scene = make(rng)
        except CrocError:  # the prompt does not fit into one image, or not into this style
            continue
        if scene is None or scene.to_json() in seen:
            continue
        if judge(scene, pool.pair.prompt, pool.pair.contrast_prompt) is False:
            seen.add(scene.to_json())
            yield Candidate(scene, sort)


def _near_misses(pool: Pool, right: list[Scene], sort: str, number: int) -> Iterator[Candidate]:
    """Right images with one error: one thing more or less, two kinds exchanged, a wrong colour."""
    kinds = tuple(IMAGE_ERRORS)

    def make(rng: SeededRandom) -> Scene | None:
        scene = rng.choice(right)
        return with_error(scene, pool.pair.prompt, rng.choice(kinds), rng.integer(2**31))

    return _wrong(pool, sort, number, make)


def _other_values(pool: Pool, sort: str, number: int) -> Iterator[Candidate]:
    """Images of prompts about the same kind and property with other values."""
    kinds = [kind for kind in _kinds_of(pool) if CONTRASTS[pool.pair.contrast].applies(kind)]

    def make(rng: SeededRandom) -> Scene | None:
        if not kinds:
            return None
        entity = None if pool.pair.contrast == "setting" else rng.choice(kinds).id
        other = make_pair(pool.pair.contrast, entity=entity, seed=rng.integer(2**31))
        return sample(other.prompt, rng.integer(2**31), style=_styled(rng))

    return _wrong(pool, sort, number, make)


def _kinds_of(pool: Pool) -> list[Any]:
    from croc_syn.world import KINDS, parse

    return [KINDS[group.kind] for group in parse(pool.pair.prompt).groups]


def _crowded(pool: Pool, sort: str, number: int) -> Iterator[Candidate]:
    """Images of the contrast prompt with copies, more things, larger things and other colours."""

    def make(rng: SeededRandom) -> Scene | None:
        scene = sample(pool.pair.contrast_prompt, rng.integer(2**31), style=_styled(rng))
        for _ in range(1 + rng.integer(4)):
            name = rng.choice(("copy", "add", "add", "resize", "repaint", *SCENE_CHANGES))
            scene = change_scene(scene, name, pool.pair.prompt, rng) or scene
        return scene

    return _wrong(pool, sort, number, make)


def _unrelated(pool: Pool, others: list[str], sort: str, number: int) -> Iterator[Candidate]:
    """Images of other prompts."""

    def make(rng: SeededRandom) -> Scene | None:
        return sample(rng.choice(others), rng.integer(2**31), style=_styled(rng)) if others else None

    return _wrong(pool, sort, number, make)


def make_pools(
    out: Path, settings: PoolSettings, *, executor: Executor | None = None, progress: bool = True
) -> Manifest:
    """Draw the pools; an interrupted run is resumed.

    Args:
        out: the folder, a dataset of graded checks.
        settings: what is drawn.
        executor: what makes the parts, see :mod:`croc.jobs.executors`; None is this process.
        progress: show a bar.
    """
    parts = [Part(f"{number:06d}", {"pool": number}) for number in range(len(pools(settings)))]
    return run(
        parts,
        partial(write_pool, settings=settings, schema=features(CHECK_COLUMNS).arrow_schema),
        out,
        suffix=".parquet",
        fingerprint={
            "kind": "reward pools",
            "world": EXACT,
            "versions": library_versions("pyarrow", "numpy", "resvg_py"),
            **asdict(settings),
            "properties": settings.names,
        },
        executor=executor,
        progress=progress,
        what="pools",
    )


def write_pool(
    payload: Mapping[str, Any], path: Path, *, settings: PoolSettings, schema: pa.Schema
) -> dict[str, Any]:
    """Make one part: a pool, one row per sort of candidate.

    Returns:
        Counts: ``images``, and how many of each sort.
    """
    import pyarrow as pa

    every = pools(settings)
    pool = every[payload["pool"]]
    others = [other.pair.prompt for other in every if other is not pool]
    by_sort: dict[str, list[Scene]] = {sort: [] for sort in (RIGHT, *SORTS)}
    for candidate in candidates(pool, settings.candidates, others):
        by_sort[candidate.sort].append(candidate.scene)
    rows: list[dict[str, Any]] = []
    for sort, scenes in by_sort.items():
        if not scenes:
            continue
        errors = join_errors(() if sort == RIGHT else (sort,))
        row = {
            "check_id": check_id(pool.concept, pool.pair.prompt, sort, EXACT, EXACT, settings.size),
            "concept_id": pool.concept,
            "prompt": pool.pair.prompt,
            "images": [
                {"bytes": embed(rasterise(to_svg(scene, settings.size)), scene), "path": None}
                for scene in scenes
            ],
            "contrast_images": [],
            "subset": ERROR_GRAPH,
            "category": CONTRASTS[pool.pair.contrast].category,
            "property": pool.pair.contrast,
            "property_path": errors,
            "text_model": EXACT,
            "image_model": EXACT,
            "language": "en",
            "license": LICENSE,
        }
        rows.append({name: row.get(name) for name in schema.names})
    write_parquet([pa.Table.from_pylist(rows, schema=schema)], path, schema)
    return dict(Counter({sort: len(scenes) for sort, scenes in by_sort.items()})) | {
        "images": sum(map(len, by_sort.values()))
    }
