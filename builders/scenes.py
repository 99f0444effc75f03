"""Annotated scenes for training an image reader: images, where things are, what is true and false of them.

Yes and No about whole prompts say very little about an image; a model that begins from nothing learns faster
from everything that the exact world knows. Each row has an image of a prompt, the things in it with their
boxes and properties, and pairs of a true and a false prompt. Run::

    python builders/scenes.py --images 60000 --train 0.7 --without runs/test --out runs/scenes

Only concepts of the split ``train`` are drawn; with ``--without`` no prompt of the named checks is said.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __package__ in (None, ""):
    # Run by path, its own folder comes first on the path; the checkout's root is what it needs.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import pyarrow as pa
import pyarrow.parquet as pq

from builders.screening import folded, split_of
from croc.checks.schema import stable_hash
from croc.errors import CrocError, InputError
from croc.jobs.executors import local_executor
from croc.jobs.parts import Part
from croc.jobs.runner import Manifest, run
from croc.storage.parquet import write_parquet
from croc_syn.painting.images import fitting_scene
from croc_syn.world import all_visible, rasterise, satisfies, to_svg
from croc_syn.world.contrasts.claims import make_claims
from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS
from croc_syn.world.scenes.layout import extent
from croc_syn.world.scenes.oracle import RELATION_TESTS, Box, is_arranged
from croc_syn.world.scenes.seeded_random import SeededRandom
from croc_syn.writing.prompts import EXACT, columns_of, exact_keys, exact_row

if TYPE_CHECKING:
    from croc_syn.world.scenes.scene import Scene, Thing

PART_SIZE = 256
"""Images a part."""


@dataclass(frozen=True)
class Settings:
    """What the images depend on.

    Attributes:
        sizes: pixels a side; each image takes one of them, so that a reader does not learn one resampling.
        claims: pairs of a true and a false prompt for each image beside its own two, at most.
        about: what these pairs may differ in; nothing named is everything.
        unusual: share of the things whose parts, texture and material are drawn anew, each value alike. The
            world gives a thing what its kind usually has unless a prompt says otherwise, so that a reader
            of usual scenes learns that dogs have four legs, not to count them.
        seed: decides prompts, images and claims.
    """

    sizes: tuple[int, ...] = (160, 160, 160, 112, 256)
    claims: int = 12
    about: tuple[str, ...] = ()
    unusual: float = 0.7
    seed: int = 0


def scene_schema() -> pa.Schema:
    """Columns of a row.

    ``true[i]`` and ``false[i]`` differ in one property, ``about[i]`` says in which. A thing has its ``kind``,
    its ``box`` (left, top, right, bottom in image sides) and its ``words``: property=value, one a property.
    ``whole`` says the same of the whole image. Things are listed from the back to the front. The metadata
    ``names`` say how kinds and parts are spelled, as JSON.
    """
    import datasets

    text = datasets.Value("string")
    thing = {
        "kind": text,
        "box": datasets.List(datasets.Value("float32")),
        "words": datasets.List(text),
    }
    schema = datasets.Features(
        {
            "image": datasets.Image(),
            "concept_id": text,
            "true": datasets.List(text),
            "false": datasets.List(text),
            "about": datasets.List(text),
            "things": datasets.List(thing),
            "whole": datasets.List(text),
        }
    ).arrow_schema
    names = {kind.id: [*kind.words, *kind.plurals] for kind in KINDS.values()}
    for part in (part for kind in KINDS.values() for part in kind.parts):
        names[f"part:{part.word}"] = [part.word, part.plural_word]
    return schema.with_metadata({**(schema.metadata or {}), b"names": json.dumps(names).encode()})


def build_scenes(
    out: str | Path,
    *,
    images: int,
    splits: Mapping[str, float],
    without: Sequence[str | Path] = (),
    properties: Sequence[str] = (),
    taxonomy: str | Path | None = None,
    settings: Settings = Settings(),
    workers: int = 1,
    progress: bool = True,
) -> Manifest:
    """Draw annotated scenes of the concepts of the split ``train``.

    Args:
        out: the folder; an interrupted build goes on.
        images: how many.
        splits: share of the concepts by split name, as the checks were built with.
        without: folders of checks whose prompts must not be said here.
        properties: draw checks of these properties alone; none takes all, and a third of other checks.
        taxonomy: a taxonomy file; None takes the one that comes with the package.
        settings: how to draw.
        workers: processes.
        progress: show a bar.

    Returns:
        The manifest; its counts say how many images and claims were made, and what was left out.
    """
    from croc_syn.taxonomy.plan import plan, select
    from croc_syn.taxonomy.taxonomy import load

    known = load(taxonomy)
    specs = [s for s in plan(known, exact_only=True) if split_of(s.concept_id, splits) == "train"]
    if not specs:
        raise InputError("no concept goes into the split train: give it a share")
    if properties:
        there = {spec.property for spec in specs if spec.property is not None}
        if unknown := sorted(set(properties) - there):
            raise InputError(f"no check varies {', '.join(unknown)}; there are {', '.join(sorted(there))}")
        specs = [spec for spec in specs if spec.property in properties]
    # Two of three images vary a property, as the contrasts of the others are a random choice of these.
    varied = [spec for spec in specs if spec.property is not None]
    others = [spec for spec in specs if spec.property is None]
    share = images if not others else images - images // 3
    chosen = select(varied, share, settings.seed) + (select(others, images - share, settings.seed))
    chosen.sort(key=lambda item: stable_hash(settings.seed, item[0].concept_id, item[1]))
    table = {spec: number for number, spec in enumerate(specs)}
    rows = [[table[spec], generation] for spec, generation in chosen]
    parts = [
        Part(f"{start // PART_SIZE:06d}", {"rows": rows[start : start + PART_SIZE]})
        for start in range(0, len(rows), PART_SIZE)
    ]
    banned = frozenset(text for folder in without for text in captions_of(folder))
    fingerprint = {
        "kind": "scenes",
        "world": EXACT,
        "sizes": settings.sizes,
        "claims": settings.claims,
        "about": settings.about,
        "unusual": settings.unusual,
        "seed": settings.seed,
        "splits": dict(splits),
        "banned": stable_hash(sorted(text.hex() for text in banned)),
        "specs": stable_hash([spec.concept_id for spec in specs]),
    }
    make = partial(
        write_scenes,
        specs=[(columns_of(spec), exact_keys(spec, known)) for spec in specs],
        banned=banned,
        settings=settings,
        schema=scene_schema(),
    )
    return run(
        parts,
        make,
        out,
        suffix=".parquet",
        fingerprint=fingerprint,
        executor=local_executor(workers),
        progress=progress,
        what="parts of scenes",
    )


def captions_of(folder: str | Path) -> set[bytes]:
    """Every prompt of a folder of checks, as the splits compare them (case and spaces folded)."""
    files = sorted(Path(folder).glob("data/*.parquet"))
    if not files:
        raise InputError(f"{folder}: no data/*.parquet in it; make checks with croc build syn")
    found: set[bytes] = set()
    for file in files:
        table = pq.read_table(file, columns=["prompt", "contrast_prompt"])
        found |= {folded(text) for column in table.columns for text in column.to_pylist() if text}
    return found


def write_scenes(
    payload: Mapping[str, Any],
    path: Path,
    *,
    specs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    banned: frozenset[bytes],
    settings: Settings,
    schema: pa.Schema,
) -> dict[str, Any]:
    """Make one part; the counts are ``images``, ``claims``, ``banned`` and ``dropped``."""
    rows: list[dict[str, Any]] = []
    counts = {"images": 0, "claims": 0, "banned": 0, "dropped": 0}
    for index, generation in payload["rows"]:
        columns, keys = specs[index]
        made = exact_row(columns, keys, generation, settings.seed)
        place = ("scene", settings.seed, columns["concept_id"], generation)
        rng = SeededRandom(*place)
        both = (made["prompt"], made["contrast_prompt"])
        own, other = both if rng.random() < 0.5 else both[::-1]
        try:
            if made["error"] is not None:
                raise CrocError(made["error"])
            scene, _, _ = fitting_scene(own, other, place)
        except CrocError:
            counts["dropped"] += 1
            continue
        scene = mixed(scene, own, other, settings.unusual, rng)
        pairs = [(own, other, keys["contrast"] or "entity")]
        told = make_claims(scene, settings.claims, rng, settings.about)
        pairs += [(claim.true, claim.false, claim.about) for claim in told]
        said = [pair for pair in pairs if not ({folded(pair[0]), folded(pair[1])} & banned)]
        counts["banned"] += len(pairs) - len(said)
        counts["claims"] += len(said)
        counts["images"] += 1
        size = rng.choice(settings.sizes)
        rows.append(
            {
                "image": {"bytes": rasterise(to_svg(scene, size)), "path": None},
                "concept_id": columns["concept_id"],
                "true": [pair[0] for pair in said],
                "false": [pair[1] for pair in said],
                "about": [pair[2] for pair in said],
                **annotated(scene),
            }
        )
    write_parquet([pa.Table.from_pylist(rows, schema=schema)], path, schema)
    return counts


def mixed(scene: Scene, own: str, other: str, share: float, rng: SeededRandom) -> Scene:
    """A scene with parts, textures and materials that are not the usual ones.

    Args:
        scene: shows ``own`` and does not show ``other``; so does the result.
        own: a prompt.
        other: its contrast.
        share: of the things that are drawn anew; what is alike in things of one kind remains alike half the
            time.
        rng: draws.
    """
    looks: dict[str, Thing] = {}
    for number, thing in enumerate(scene.things):
        if rng.random() >= share:
            continue
        like = looks.get(thing.kind) if rng.random() < 0.5 else None
        # With other parts a figure is wider or taller; it keeps its size and where it stands.
        drawn = replace(unusual(thing, rng), **(_surface(like) if like else {}))
        width, height = extent(drawn, thing.size)
        middle, bottom = (thing.box[0] + thing.box[2]) / 2, thing.box[3]
        drawn = replace(drawn, box=(middle - width / 2, bottom - height, middle + width / 2, bottom))
        things = (*scene.things[:number], drawn, *scene.things[number + 1 :])
        changed = replace(scene, things=things)
        if all_visible(changed) and satisfies(changed, own) and not satisfies(changed, other):
            scene = changed
            looks[thing.kind] = drawn
    return scene


def unusual(thing: Thing, rng: SeededRandom) -> Thing:
    """A thing of the same kind, colour and shape with any number of each part and any surface."""
    kind = KINDS[thing.kind]
    parts = tuple((part.word, part.low + rng.integer(part.high - part.low + 1)) for part in kind.parts)
    # Legs under a sleeping dog cannot be counted: the usual pose shows them.
    pose = kind.poses[0].id if kind.parts and kind.poses else thing.pose
    drawn = replace(thing, parts=parts, pose=pose)
    if kind.surface:
        texture, material = rng.choice(tuple(lexicon.TEXTURES)), "paint"
        if rng.random() < 0.2:
            texture, material = "plain", rng.choice(tuple(lexicon.MATERIALS))
        drawn = replace(drawn, texture=texture, material=material)
    return drawn


def _surface(thing: Thing) -> dict[str, str]:
    return {"texture": thing.texture, "material": thing.material}


def annotated(scene: Scene) -> dict[str, Any]:
    """The columns ``things`` and ``whole`` of a scene."""
    alike: dict[str, list[int]] = {}
    for number, thing in enumerate(scene.things):
        alike.setdefault(thing.kind, []).append(number)
    layouts = {kind: layout_of([scene.things[i].box for i in group]) for kind, group in alike.items()}
    things = []
    for number, thing in enumerate(scene.things):
        values = {name: getattr(thing, name) for name in ("colour", "texture", "material", "shape", "pose")}
        values |= {f"part:{word}": str(count) for word, count in thing.parts}
        values |= {"count": str(len(alike[thing.kind])), "layout": layouts[thing.kind]}
        values["depth"] = depth_of(scene, number)
        words = [f"{name}={value}" for name, value in values.items() if value]
        things.append({"kind": thing.kind, "box": list(thing.box), "words": words})
    whole = {name: getattr(scene, name) for name in ("setting", "lighting", "weather")}
    return {"things": things, "whole": [f"{name}={value}" for name, value in whole.items() if value]}


def layout_of(boxes: Sequence[Box]) -> str:
    """How things of one kind stand, in the words of the lexicon; empty for fewer than three."""
    if len(boxes) < 3:
        return ""
    return next((name for name in lexicon.LAYOUTS if is_arranged(name, boxes)), "scattered")


def depth_of(scene: Scene, number: int) -> str:
    """Whether a thing stands in front of another, behind one, both, or apart."""
    others = [other for other in range(len(scene.things)) if other != number]
    before = RELATION_TESTS["in_front_of"]
    front = any(before(scene, (number,), (other,)) for other in others)
    behind = any(before(scene, (other,), (number,)) for other in others)
    return {(True, False): "front", (False, True): "behind", (True, True): "between"}.get(
        (front, behind), "apart"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; see the module's docstring."""
    import argparse

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--train", type=float, default=0.7, help="share of the concepts")
    parser.add_argument("--validation", type=float, default=0.05, help="share of the concepts")
    parser.add_argument("--without", action="append", default=[], help="folder of checks; repeatable")
    parser.add_argument("--property", action="append", default=[], help="draw these alone; repeatable")
    parser.add_argument(
        "--about", action="append", default=[], help="say pairs that differ in this alone; repeatable"
    )
    parser.add_argument("--unusual", type=float, default=0.7, help="share of things drawn as they never are")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", required=True)
    given = parser.parse_args(arguments)
    test = 1.0 - given.train - given.validation
    try:
        made = build_scenes(
            given.out,
            images=given.images,
            splits={"train": given.train, "validation": given.validation, "test": round(test, 9)},
            without=given.without,
            properties=given.property,
            settings=Settings(about=tuple(given.about), unusual=given.unusual, seed=given.seed),
            workers=given.workers,
        )
    except CrocError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    totals = {
        name: sum(part["counts"][name] for part in made.parts) for name in ("images", "claims", "banned")
    }
    sys.stdout.write(f"{given.out}: {totals}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
