"""Annotated scenes for training an image encoder: images, the things in them, true and false statements.

Yes/no answers about whole prompts carry little information about an image; a model trained from scratch
learns faster from everything that the exact world knows. Each row has an image of a prompt, the things in it
with their boxes and properties, and pairs of a true and a false prompt. Only concepts of the split ``train``
are drawn.

``croc build scenes`` makes them. It is also::

    python -m builders.scenes --images 60000 --train 0.7 --without runs/test --out runs/scenes
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from builders.screening import fold_caption, split_of
from croc.checks.schema import stable_hash
from croc.errors import CrocError, InputError
from croc.jobs.parts import Executor, Part
from croc.jobs.runner import Manifest, run
from croc.storage.parquet import write_parquet
from croc_syn.painting.exact import sample_scene
from croc_syn.world import (
    STYLES,
    TOPICS,
    USUAL,
    Meaning,
    all_supported,
    all_visible,
    parse,
    rasterise,
    satisfies,
    to_svg,
)
from croc_syn.world.contrasts.claims import MIXTURE, make_claims
from croc_syn.world.contrasts.prompt_pairs import stateable
from croc_syn.world.declarations import lexicon
from croc_syn.world.declarations.kinds import KINDS, Kind
from croc_syn.world.declarations.styles import find_style
from croc_syn.world.language import synonyms
from croc_syn.world.language.meaning import Attribute
from croc_syn.world.language.wording import FRAMES, reword
from croc_syn.world.scenes.layout import extent
from croc_syn.world.scenes.oracle import RELATION_TESTS, Box, is_arranged
from croc_syn.world.scenes.scope import HeldOut, Scope
from croc_syn.world.scenes.seeded_random import SeededRandom
from croc_syn.writing.exact import exact_keys, exact_row
from croc_syn.writing.table import EXACT, columns_of

if TYPE_CHECKING:
    from croc_syn.world.scenes.scene import Scene, Thing

PART_SIZE = 256
"""Images per part."""


@dataclass(frozen=True)
class Settings:
    """Settings on which the images depend.

    Attributes:
        sizes: widths in pixels; each image has one of them, so that a model does not learn one resampling.
        claims: pairs of a true and a false prompt per image in addition to its own two, at most.
        about: what these pairs may differ in; empty means anything.
        frames: sentence frames in which the prompts are worded, names of
            :data:`~croc_syn.world.language.wording.FRAMES`; empty keeps the few forms of CROCsyn's prompts.
        unusual: share of the things whose parts, texture and material are sampled uniformly. Otherwise a
            thing has what its kind usually has unless a prompt says otherwise, and a model learns that dogs
            have four legs instead of counting them.
        plain: share of the images with a plain background instead of the place that their prompt names.
            Where a prompt names none, as people's often do, ``croc draw`` takes it for three of ten images.
        seed: decides prompts, images and claims.
        styles: drawing styles; each image has one of them. What a style does not draw is drawn in another.
        held_out: what no prompt, no claim and no scene contains, as for :meth:`croc_syn.world.HeldOut.of`.
    """

    sizes: tuple[int, ...] = (160, 160, 160, 112, 256)
    claims: int = 12
    about: tuple[str, ...] = ()
    frames: tuple[str, ...] = tuple(FRAMES)
    unusual: float = 0.7
    plain: float = 0.2
    seed: int = 0
    styles: tuple[str, ...] = (USUAL,)
    held_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.styles:
            raise InputError(f"at least one drawing style is needed; expected {', '.join(STYLES)}")
        for style in self.styles:
            find_style(style)


def scene_schema() -> pa.Schema:
    """Columns of a row.

    ``true[i]`` and ``false[i]`` differ in one property, ``about[i]``. A thing has its ``kind``, its ``box``
    (left, top, right, bottom as shares of the image) and its ``words``: one ``property=value`` per property.
    ``whole`` is the same for the whole image. Things are listed from back to front. The metadata ``names``
    hold the spellings of kinds, parts (``part:leg``) and values (``value:red``), as JSON; those of kinds are
    first singulars, then as many plurals.
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
            "style": text,
            "true": datasets.List(text),
            "false": datasets.List(text),
            "about": datasets.List(text),
            "things": datasets.List(thing),
            "whole": datasets.List(text),
        }
    ).arrow_schema
    names = {kind.id: spellings(kind) for kind in KINDS.values()}
    for part in (part for kind in KINDS.values() for part in kind.parts):
        names[f"part:{part.word}"] = [part.word, part.plural_word]
    for value in (value for values in lexicon.THING_DIMENSIONS.values() for value in values.values()):
        names[f"value:{value.id}"] = [*value.words, *synonyms.BEFORE.get(value.id, ())]
    return schema.with_metadata({**(schema.metadata or {}), b"names": json.dumps(names).encode()})


def spellings(kind: Kind) -> list[str]:
    """The nouns for a kind: singulars, then plurals in the same order."""
    pairs = synonyms.nouns(kind)
    return [one for one, _ in pairs] + [many for _, many in pairs]


def build_scenes(
    out: str | Path,
    *,
    images: int,
    splits: Mapping[str, float],
    without: Sequence[str | Path] = (),
    properties: Sequence[str] = (),
    taxonomy: str | Path | None = None,
    settings: Settings = Settings(),
    executor: Executor | None = None,
    progress: bool = True,
) -> Manifest:
    """Draw annotated scenes of the concepts of the split ``train``.

    Args:
        out: the folder; an interrupted build is resumed.
        images: number of images.
        splits: share of the concepts by split name, as in the build of the checks.
        without: folders of checks whose prompts must not occur.
        properties: draw only checks of these properties; empty takes all, and a third of other checks.
        taxonomy: a taxonomy file; None takes the one that comes with the package.
        settings: how to draw.
        executor: what makes the parts, see :mod:`croc.jobs.executors`; None is this process.
        progress: show a bar.

    Returns:
        The manifest, with the numbers of images and claims, and of those left out.
    """
    from croc_syn.taxonomy.plan import plan, select
    from croc_syn.taxonomy.taxonomy import load

    tree = load(taxonomy)
    specs = [s for s in plan(tree, exact_only=True) if split_of(s.concept_id, splits) == "train"]
    if not specs:
        raise InputError("no concept goes into the split train: give it a share")
    if properties:
        known = {spec.property for spec in specs if spec.property is not None}
        if unknown := sorted(set(properties) - known):
            raise InputError(f"no check varies {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        specs = [spec for spec in specs if spec.property in properties]
    scopes = [Scope(style, HeldOut.of(settings.held_out)) for style in settings.styles]
    specs = [spec for spec in specs if any(_is_covered(exact_keys(spec, tree), scope) for scope in scopes)]
    if not specs:
        raise InputError("everything that could be drawn is held out")
    # Two of three images vary a property; the contrasts of the others are random ones of these.
    varied = [spec for spec in specs if spec.property is not None]
    others = [spec for spec in specs if spec.property is None]
    share = images if not others else images - images // 3
    selected = select(varied, share, settings.seed) + (select(others, images - share, settings.seed))
    selected.sort(key=lambda item: stable_hash(settings.seed, item[0].concept_id, item[1]))
    positions = {spec: position for position, spec in enumerate(specs)}
    rows = [[positions[spec], generation] for spec, generation in selected]
    parts = [
        Part(f"{start // PART_SIZE:06d}", {"rows": rows[start : start + PART_SIZE]})
        for start in range(0, len(rows), PART_SIZE)
    ]
    held_out = HeldOut.of(settings.held_out)
    banned = frozenset(text for folder in without for text in captions_of(folder))
    fingerprint = {
        "kind": "scenes",
        "world": EXACT,
        "sizes": settings.sizes,
        "claims": settings.claims,
        "about": settings.about,
        "frames": settings.frames,
        "mixture": stable_hash(*(f"{name} {weight}" for name, weight in MIXTURE.items())),
        "unusual": settings.unusual,
        "plain": settings.plain,
        "seed": settings.seed,
        "splits": dict(splits),
        "banned": stable_hash(sorted(text.hex() for text in banned)),
        "specs": stable_hash([spec.concept_id for spec in specs]),
        "styles": settings.styles,
        "held_out": held_out.as_dict(),
    }
    make = partial(
        write_scenes,
        specs=[(columns_of(spec), exact_keys(spec, tree)) for spec in specs],
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
        executor=executor,
        progress=progress,
        what="parts of scenes",
    )


def _is_covered(keys: Mapping[str, str | None], scope: Scope) -> bool:
    topics = (keys["topic"], keys["contrast_topic"])
    return scope.covers(keys["entity"], *(TOPICS[topic].place for topic in topics if topic is not None))


def captions_of(folder: str | Path) -> set[bytes]:
    """Every prompt of a folder of checks, in the form in which captions are compared."""
    files = sorted(Path(folder).glob("data/*.parquet"))
    if not files:
        raise InputError(f"{folder}: no data/*.parquet in it; make checks with croc build syn")
    captions: set[bytes] = set()
    for file in files:
        table = pq.read_table(file, columns=["prompt", "contrast_prompt"])
        captions |= {fold_caption(text) for column in table.columns for text in column.to_pylist() if text}
    return captions


def write_scenes(
    payload: Mapping[str, Any],
    path: Path,
    *,
    specs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    banned: frozenset[bytes],
    settings: Settings,
    schema: pa.Schema,
) -> dict[str, Any]:
    """Make one part; the counts are ``images``, ``claims``, ``banned``, ``held_out`` and ``dropped``."""
    held_out = HeldOut.of(settings.held_out)
    frames = tuple(frame for frame in settings.frames if frame not in held_out.frames)
    rows: list[dict[str, Any]] = []
    counts = {"images": 0, "claims": 0, "banned": 0, "held_out": 0, "dropped": 0}
    for index, generation in payload["rows"]:
        columns, keys = specs[index]
        place = ("scene", settings.seed, columns["concept_id"], generation)
        rng = SeededRandom(*place)
        for style in rng.shuffled(settings.styles):
            scope = Scope(style, held_out)
            made = exact_row(columns, keys, generation, settings.seed, scope)
            if made["error"] is None:
                break
        both = (made["prompt"], made["contrast_prompt"])
        own, other = both if rng.random() < 0.5 else both[::-1]
        try:
            if made["error"] is not None:
                raise CrocError(made["error"])
            elsewhere = not scope.drawn_as.places and scope.covers(None, "plain")
            plain = elsewhere and rng.random() < settings.plain
            drawn = plain_background(own) if plain else own
            scene, _, _ = sample_scene(drawn, other, place, style, scope.avoided)
        except CrocError:
            counts["dropped"] += 1
            continue
        # On the bare shapes of some styles, a texture or a material would be out of place.
        share = 0.0 if scope.drawn_as.bare else settings.unusual
        scene = mix_unusual(scene, drawn, other, share, rng, scope.avoided)
        pairs = [(own, other, keys["contrast"] or "entity")] if not plain or satisfies(scene, own) else []
        extra = make_claims(scene, settings.claims, rng, settings.about)
        pairs += [(claim.true, claim.false, claim.about) for claim in extra]
        allowed = [pair for pair in pairs if not is_banned(pair, banned)]
        if frames:
            varied = [(*vary_wording(*pair[:2], frames, rng), pair[2]) for pair in allowed]
            allowed = [pair for pair in varied if not is_banned(pair, banned)]
        counts["banned"] += len(pairs) - len(allowed)
        in_scope = [pair for pair in allowed if scope.allows(pair[0], pair[1])]
        counts["held_out"] += len(allowed) - len(in_scope)
        allowed = in_scope
        counts["claims"] += len(allowed)
        counts["images"] += 1
        size = rng.choice(settings.sizes)
        rows.append(
            {
                "image": {"bytes": rasterise(to_svg(scene, size)), "path": None},
                "concept_id": columns["concept_id"],
                "style": style,
                "true": [pair[0] for pair in allowed],
                "false": [pair[1] for pair in allowed],
                "about": [pair[2] for pair in allowed],
                **annotate(scene),
            }
        )
    write_parquet([pa.Table.from_pylist(rows, schema=schema)], path, schema)
    return counts


def plain_background(prompt: str) -> Meaning:
    """What a prompt requires, on a plain background instead of its place, time of day and weather."""
    return replace(parse(prompt), image=(Attribute("setting", "plain"),))


def is_banned(pair: tuple[str, str, str], banned: frozenset[bytes]) -> bool:
    """Whether one of the two prompts must not occur."""
    return bool({fold_caption(pair[0]), fold_caption(pair[1])} & banned)


def vary_wording(true: str, false: str, frames: Sequence[str], rng: SeededRandom) -> tuple[str, str]:
    """Word a true and a false prompt anew, three of four times both in the same way."""
    first = second = f"{rng.random()}"
    if rng.random() < 0.25:
        second = f"{rng.random()}"
    return reword(true, first, frames=frames), reword(false, second, frames=frames)


def mix_unusual(
    scene: Scene,
    own: str | Meaning,
    other: str,
    share: float,
    rng: SeededRandom,
    avoided: HeldOut | None = None,
) -> Scene:
    """Give some things of a scene unusual parts, textures and materials.

    Args:
        scene: shows ``own`` and does not show ``other``; so does the result.
        own: a prompt, or what it requires.
        other: its contrast.
        share: of the things that are changed; equal things of one kind remain equal half the time.
        rng: the source of randomness.
        avoided: what no thing may be or have.
    """
    looks: dict[str, Thing] = {}
    for number, thing in enumerate(scene.things):
        if rng.random() >= share:
            continue
        like = looks.get(thing.kind) if rng.random() < 0.5 else None
        # With other parts a figure is wider or taller; it keeps its size and its position on the ground.
        drawn = make_unusual(thing, rng)
        if like is not None:
            drawn = replace(drawn, texture=like.texture, material=like.material)
        width, height = extent(drawn, thing.size)
        middle, bottom = (thing.box[0] + thing.box[2]) / 2, thing.box[3]
        drawn = replace(drawn, box=(middle - width / 2, bottom - height, middle + width / 2, bottom))
        if avoided is not None and avoided.is_on(drawn):
            continue
        things = (*scene.things[:number], drawn, *scene.things[number + 1 :])
        changed = replace(scene, things=things)
        if (
            all_visible(changed)
            and all_supported(changed)
            and satisfies(changed, own)
            and not satisfies(changed, other)
        ):
            scene = changed
            looks[thing.kind] = drawn
    return scene


def make_unusual(thing: Thing, rng: SeededRandom) -> Thing:
    """A thing of the same kind, colour and shape with random numbers of parts and a random surface."""
    kind = KINDS[thing.kind]
    parts = tuple((part.word, part.low + rng.integer(part.high - part.low + 1)) for part in kind.parts)
    # Legs under a sleeping dog cannot be counted: the usual pose shows them.
    pose = kind.poses[0].id if kind.parts and kind.poses else thing.pose
    drawn = replace(thing, parts=parts, pose=pose)
    if kind.surface:
        texture, material = rng.choice(("plain", *stateable("texture", kind))), "paint"
        if rng.random() < 0.2:
            texture, material = "plain", rng.choice(("paint", *stateable("material", kind)))
        drawn = replace(drawn, texture=texture, material=material)
    return drawn


def annotate(scene: Scene) -> dict[str, Any]:
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
    """The layout of things of one kind, in the words of the lexicon; empty for fewer than three."""
    if len(boxes) < 3:
        return ""
    return next((name for name in lexicon.LAYOUTS if is_arranged(name, boxes)), "scattered")


def depth_of(scene: Scene, number: int) -> str:
    """Whether a thing is in front of another, behind one, both, or neither."""
    others = [other for other in range(len(scene.things)) if other != number]
    before = RELATION_TESTS["in_front_of"]
    front = any(before(scene, (number,), (other,)) for other in others)
    behind = any(before(scene, (other,), (number,)) for other in others)
    return {(True, False): "front", (False, True): "behind", (True, True): "between"}.get(
        (front, behind), "apart"
    )


if __name__ == "__main__":
    import sys

    from croc.cli import main

    main(["build", "scenes", *sys.argv[1:]], prog_name="croc")
