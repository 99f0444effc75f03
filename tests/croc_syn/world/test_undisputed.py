"""What a drawing shows is what people see: nothing that is stated can be disputed."""

from __future__ import annotations

import io
import itertools
import os
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from drawing_reader import decide, lab, nearest_colours, read
from PIL import Image

from croc_syn.painting.exact import sample_scene
from croc_syn.world import (
    CONTRASTS,
    KINDS,
    PLACES,
    TOPICS,
    PromptError,
    Scene,
    Thing,
    make_pair,
    parse,
    render,
    sample,
    satisfies,
    to_svg,
)
from croc_syn.world.contrasts.prompt_pairs import stateable
from croc_syn.world.declarations.kinds import Kind
from croc_syn.world.declarations.lexicon import COLOURS, FEWEST_PIXELS, MATERIALS, TEXTURES
from croc_syn.world.declarations.places import FALLING
from croc_syn.world.scenes.layout import extent


def pixels(scene: Scene, size: int) -> np.ndarray:
    with Image.open(io.BytesIO(render(scene, size))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def alone(kind: Kind, size: float, colour: str, parts: dict[str, int] | None = None, **look: str) -> Scene:
    counts = {part.word: part.usual for part in kind.parts} | (parts or {})
    thing = Thing(
        kind.id,
        (0.0, 0.0, 1.0, 1.0),
        colour,
        shape=kind.shapes[0] if kind.shapes else "",
        pose=kind.poses[0].id if kind.poses else "",
        parts=tuple(counts.items()),
    )
    thing = replace(thing, **look)
    w, h = extent(thing, size)
    w, h = w * min(1, 0.96 / max(w, h)), h * min(1, 0.96 / max(w, h))
    return Scene((replace(thing, box=(0.5 - w / 2, 0.5 - h / 2, 0.5 + w / 2, 0.5 + h / 2)),))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_a_colour_that_a_kind_always_shows_cannot_be_stated(kind: Kind):
    bare = pixels(Scene(()), 160)
    one, other = (pixels(alone(kind, 0.8, colour), 160) for colour in ("turquoise", "pink"))
    drawn = (np.abs(one - bare).sum(-1) > 12) | (np.abs(other - bare).sum(-1) > 12)
    fixed = drawn & (np.abs(one - other).sum(-1) < 6)
    shares = {name: share * fixed.sum() / drawn.sum() for name, share in nearest_colours(one[fixed]).items()}
    always = {name for name, share in shares.items() if share >= 0.12}
    # Grey are the outlines. Tyres, windows and sails do not give a vehicle its colour.
    assert always <= kind.unclear | {"grey"} | ({"black", "white"} if kind.group == "vehicles" else set()), (
        shares
    )


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.parts], ids=lambda kind: kind.id)
def test_parts_can_be_counted_at_their_smallest_size_in_the_smallest_image(kind: Kind):
    for part in kind.parts:
        for number in range(part.low, part.high):
            fewer, more = (
                pixels(alone(kind, part.least, kind.colours[0], {part.word: n}), FEWEST_PIXELS)
                for n in (number, number + 1)
            )
            changed = int((np.abs(fewer - more).max(-1) > 40).sum())
            assert changed >= 6, (part.word, number)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_textures_and_materials_differ_at_their_smallest_size_in_the_smallest_image(kind: Kind):
    for name in ("texture", "material"):
        looks = [
            pixels(alone(kind, kind.least_size(name), kind.colours[0], None, **{name: value}), FEWEST_PIXELS)
            for value in stateable(name, kind)
        ]
        for i, one in enumerate(looks):
            for other in looks[i + 1 :]:
                changed = int((np.abs(one - other).max(-1) > 24).sum())
                assert changed >= 6


@pytest.mark.parametrize(
    "prompt",
    [
        "a dotted mushroom",
        "a checked cookie",
        "a pizza with dots",
        "a pizza that is not dotted",
        "no striped mushroom",
        "a wooden person",
        "a person made of glass",
        "a spotted cow",
        "a woollen sheep",
        "a brown tree",
        "a white clock",
        "a fish with no fins",
        "a rectangle in the museum",
        "two triangles in the mountains",
        "a square in a kitchen",
        "a house in a street",
    ],
)
def test_what_could_be_disputed_is_refused(prompt: str):
    with pytest.raises(PromptError):
        parse(prompt)


def test_every_place_and_weather_names_kinds_that_exist():
    for shown in [place.shows for place in PLACES.values()] + list(FALLING.values()):
        assert shown <= set(KINDS)
    for kind in KINDS.values():
        assert kind.resembles <= set(KINDS)
        assert kind.unclear <= {*COLOURS, *TEXTURES, *MATERIALS}


def test_falling_snow_shows_circles_and_no_weather_is_drawn_over_them():
    with pytest.raises(PromptError, match="circles"):
        sample("two circles in falling snow", 1)
    assert {sample("two circles in a desert", seed).weather for seed in range(60)} <= {"dry", "rain", "fog"}


def test_a_size_is_drawn_beside_something_to_compare_with():
    for seed in range(12):
        for word in ("small", "medium-sized", "large"):
            assert len(sample(f"a {word} dog", seed).things) > 1
    with pytest.raises(PromptError, match="nothing else"):
        sample("only a small dog", 1)
    assert satisfies(sample("only a small dog and a large cat", 1), "a small dog")


@pytest.mark.parametrize(
    "pose", ["a dog lying down", "a person sleeping", "a cat sitting", "a duck swimming"]
)
def test_what_lies_sits_or_swims_is_on_the_ground_or_in_the_water(pose: str):
    for seed in range(40):
        scene = sample(pose, seed)
        thing = next(t for t in scene.things if t.kind == parse(pose).groups[0].kind)
        place = PLACES[scene.setting]
        levels = place.water if thing.pose == "swimming" else place.horizon and (place.horizon, 1.0)
        if scene.setting != "plain":
            assert levels is not None
            assert levels[0] <= thing.box[3] <= levels[1]


@pytest.mark.parametrize("prompt", ["a duck swimming in the kitchen", "a dog lying down in the sky"])
def test_nothing_swims_without_water_or_lies_without_ground(prompt: str):
    with pytest.raises(PromptError, match="another place"):
        sample(prompt, 1)


def test_no_distractor_could_be_counted_as_what_the_prompt_names():
    for seed in range(80):
        kinds = {thing.kind for thing in sample("three circles on a plain background", seed).things}
        assert not kinds & {"ball", "pizza", "clock", "mirror", "balloon", "sign"}


def test_a_star_and_a_balloon_is_not_two_stars():
    assert {
        t.shape for s in range(40) for t in sample("a star and a balloon", s).things if t.kind == "balloon"
    }.isdisjoint({"star"})


def test_the_number_of_eyes_is_that_of_the_whole_person():
    def dark(heads: int, eyes: int) -> int:
        look = pixels(alone(KINDS["person"], 0.9, "red", {"head": heads, "eye": eyes}), 400)
        return int((lab(look)[..., 0] < 20).sum())

    # The pupils of two eyes are the same whether they are in one head or in two; hair has another colour.
    assert abs(dark(2, 2) - dark(1, 2)) < 0.2 * (dark(1, 2) - dark(1, 1))


def test_no_two_hands_of_a_clock_are_in_line():
    looks = [
        pixels(alone(KINDS["clock"], 0.9, "red", {"hand": n}, shape="circle"), 200) for n in (1, 2, 3, 4)
    ]
    directions = []
    for fewer, more in itertools.pairwise(looks):
        ys, xs = np.nonzero(np.abs(fewer - more).max(-1) > 60)
        directions.append(
            np.array([xs.mean() - 100, ys.mean() - 100]) / np.hypot(xs.mean() - 100, ys.mean() - 100)
        )
    for first, second in itertools.combinations(directions, 2):
        assert -0.9 < first @ second < 0.9


@pytest.mark.parametrize("time", ["day", "night"])
def test_fog_leaves_the_place_to_be_seen(time: str):
    places = [place.id for place in PLACES.values() if place.open_air and place.lit]
    clear, foggy = (
        {name: pixels(Scene((), name, time, weather), 64) for name in places} for weather in ("dry", "fog")
    )
    for i, one in enumerate(places):
        for other in places[i + 1 :]:
            before, after = (np.abs(look[one] - look[other]).mean() for look in (clear, foggy))
            assert after > 0.3 * before, (one, other)


def read_pairs(number: int, start: int, size: int = 160) -> tuple[Counter[str], list[str]]:
    """Ask the second reader about both images of pairs; how often it agrees, and where it does not."""
    keys, topics = list(CONTRASTS), [None, *TOPICS]
    answers: Counter[str] = Counter()
    disputed = []
    for seed in range(start, start + number):
        pair = make_pair(keys[seed % len(keys)], topic=topics[(seed * 7) % len(topics)], seed=seed)
        for own, other in ((pair.prompt, pair.contrast_prompt), (pair.contrast_prompt, pair.prompt)):
            scene, _, _ = sample_scene(own, other, (seed, own))
            things = read(to_svg(scene, size))
            first, second = decide(things, own), decide(things, other)
            if second is False and first is not False:
                answers["agree"] += 1
            elif first is None:
                answers["undecided"] += 1
            else:
                answers["disagree"] += 1
                disputed.append(f"{own!r}: {first}; {other!r}: {second}")
    return answers, disputed


def test_a_second_reader_agrees_about_a_hundred_pairs():
    answers, disputed = read_pairs(104, 0)
    assert answers["agree"] > 100
    assert len(disputed) <= 1, disputed


PAIRS = int(os.environ.get("CROC_PAIRS", "1000"))
"""Pairs that the second reader is shown; 5,000 take a quarter of an hour."""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_second_reader_agrees_about_pairs():
    answers, disputed = read_pairs(PAIRS, 10_000)
    assert answers["agree"] > 1.2 * PAIRS
    # What is left is thin or small: a bicycle's frame, the shading of metal.
    assert len(disputed) <= 0.005 * (answers["agree"] + len(disputed)), disputed
