"""Images: what the scene says is what the pixels show."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from croc.errors import InputError
from croc_syn.world import (
    COLOURS,
    KINDS,
    PLACES,
    TOPICS,
    Scene,
    Thing,
    all_visible,
    describe,
    draw,
    read_scene,
    render,
    sample,
    to_svg,
)
from croc_syn.world.scenes.layout import extent
from croc_syn.world.scenes.scene import webp_with_scene

PROMPT = "a small red dog to the left of two blue umbrellas, no cat"


def pixels(png: bytes) -> np.ndarray:
    """(height, width, 3), int."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def looks(kind_id: str) -> list[Thing]:
    """Every pose, every shape and every number of every part of a kind, one thing each."""
    kind = KINDS[kind_id]
    usual = {part.word: part.usual for part in kind.parts}
    pose, shape = (kind.poses[0].id if kind.poses else ""), (kind.shapes[0] if kind.shapes else "")
    found = [(other.id, shape, usual) for other in kind.poses] or [("", shape, usual)]
    found += [(pose, other, usual) for other in kind.shapes[1:]]
    for part in kind.parts:
        for n in range(part.low, part.high + 1):
            if n != part.usual:
                found.append((pose, shape, usual | {part.word: n}))
    return [
        Thing(kind_id, (0, 0, 1, 1), "purple", shape=s, pose=p, parts=tuple(parts.items()))
        for p, s, parts in found
    ]


def centred(thing: Thing, size: float = 0.5) -> Thing:
    w, h = extent(thing, size)
    return replace(thing, box=(0.5 - w / 2, 0.5 - h / 2, 0.5 + w / 2, 0.5 + h / 2))


def drawn_box(scene: Scene, i: int, size: int = 256) -> tuple[float, float, float, float]:
    """Box of the pixels that change when a thing is taken away, in image sides."""
    without = replace(scene, things=scene.things[:i] + scene.things[i + 1 :])
    changed = np.abs(pixels(render(scene, size)) - pixels(render(without, size))).sum(axis=2) > 24
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    return columns[0] / size, rows[0] / size, (columns[-1] + 1) / size, (rows[-1] + 1) / size


def nearest_colour(scene: Scene, thing: Thing, size: int = 256) -> str:
    """Name of the declared colour that most pixels of a thing come near to (its body, not its outline)."""
    # On a ground of night, which is near none of the colours.
    image = pixels(render(Scene((thing,), "plain", "night"), size))
    body = image[np.abs(image - image[0, 0]).sum(axis=2) > 30]
    names = list(COLOURS)
    table = np.array([[int(COLOURS[n].data[i : i + 2], 16) for i in (1, 3, 5)] for n in names])
    distance = np.abs(body[:, None, :] - table[None]).sum(axis=2)
    near = distance.min(axis=1) < 50
    return names[int(np.bincount(distance.argmin(axis=1)[near], minlength=len(names)).argmax())]


@pytest.mark.world_tables
@pytest.mark.parametrize("kind_id", sorted(KINDS))
def test_every_look_fills_its_box(kind_id: str):
    for look in looks(kind_id)[:: 3 if len(looks(kind_id)) > 12 else 2]:
        thing = centred(look, 0.4)
        left, top, right, bottom = drawn_box(Scene((thing,), "plain"), 0, 128)
        # Two pixels of tolerance: antialiased edges, and outlines that end in a mitre.
        assert np.allclose((left, top, right, bottom), thing.box, atol=2.6 / 128), (look.pose, look.parts)


@pytest.mark.world_tables
@pytest.mark.parametrize("kind_id", sorted(KINDS))
def test_looks_differ_from_each_other(kind_id: str):
    found = [to_svg(Scene((centred(look),), "plain")) for look in looks(kind_id)]
    assert len(set(found)) == len(found)


@pytest.mark.world_tables
@pytest.mark.parametrize("colour", list(COLOURS))
def test_the_colour_of_a_thing_is_the_colour_that_is_seen(colour: str):
    for kind_id in ("dog", "car", "cup", "heart", "person", "tree", "flower", "umbrella", "elephant", "sofa"):
        look = looks(kind_id)[0]
        for tint in (0, 15):
            thing = centred(replace(look, colour=colour, tint=tint))
            assert nearest_colour(Scene((thing,)), thing) == colour, kind_id


def test_boxes_of_sampled_scenes_are_where_the_pixels_are():
    for prompt in (
        PROMPT,
        "a bus above a cat in a park",
        "three kites in a row at the beach",
        "two birds at night",
    ):
        scene = sample(prompt, 3)
        for i, thing in enumerate(scene.things):
            # A pale thing on a pale ground may lose an antialiased pixel more.
            assert np.allclose(drawn_box(scene, i), thing.box, atol=5 / 256), (prompt, thing)


@pytest.mark.parametrize("count", range(1, 10))
def test_counts_can_be_counted_in_the_pixels(count: int):
    word = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")[count]
    scene = sample(
        f"{word} purple hearts on a plain background"
        if count > 1
        else "a purple heart on a plain background",
        1,
    )
    assert scene.setting == "plain"
    image = pixels(render(replace(scene, things=tuple(t for t in scene.things if t.kind == "heart")), 256))
    apart_from_ground = np.abs(image - image[0, 0]).sum(axis=2) > 30
    assert ndimage.label(apart_from_ground, np.ones((3, 3)))[1] == count


@pytest.mark.parametrize("count", range(6))
def test_wheels_can_be_counted_in_the_pixels(count: int):
    thing = next(look for look in looks("car") if dict(look.parts)["wheel"] == count)
    image = pixels(render(Scene((centred(thing, 0.6),), "plain"), 512))
    # A hub is the only thing on a car in this grey.
    hubs = np.abs(image - np.array([0xD5, 0xD8, 0xDC])).sum(axis=2) < 12
    labels, found = ndimage.label(hubs)
    assert sum(ndimage.sum_labels(hubs, labels, range(1, found + 1)) > 12) == count


def test_textures_have_their_direction():
    def profile(texture: str) -> tuple[float, float, float]:
        thing = Thing("square", (0.2, 0.2, 0.8, 0.8), "blue", texture)
        inside = pixels(render(Scene((thing,), "plain"), 256))[64:192, 64:192, 0].astype(float)
        return inside.mean(axis=1).std(), inside.mean(axis=0).std(), inside.std(axis=1).mean()

    def along_rows(texture: str) -> float:
        return profile(texture)[2]

    down, across, _ = profile("striped")
    assert down > 30 and across < 3
    assert max(profile("plain")) < 1
    for other in ("dotted", "checked", "zigzag"):
        assert along_rows(other) > 20 > along_rows("striped"), other


def test_materials_look_different_and_glass_lets_the_ground_through():
    def inside(material: str, setting: str = "plain") -> np.ndarray:
        thing = Thing("square", (0.2, 0.2, 0.8, 0.8), "grey", material=material)
        return pixels(render(Scene((thing,), setting), 128))[32:96, 32:96]

    images = {m: inside(m) for m in ("paint", "wood", "metal", "glass", "stone", "wool")}
    names = list(images)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            assert np.abs(images[one] - images[other]).mean() > 8, (one, other)
    assert np.abs(inside("glass", "forest") - images["glass"]).mean() > 8
    assert np.abs(inside("wood", "forest") - images["wood"]).mean() < 1


def test_night_is_dark_and_sunset_is_warm():
    for name, place in PLACES.items():
        if not place.lit:
            continue
        day, night, sunset = (
            pixels(render(Scene((), name, time), 64)) for time in ("day", "night", "sunset")
        )
        assert night.mean() < 0.55 * day.mean(), name
        assert (sunset[..., 0] - sunset[..., 2]).mean() > (day[..., 0] - day[..., 2]).mean() + 15, name


def test_weather_changes_the_air():
    for place in (name for name, setting in PLACES.items() if setting.open_air):
        dry, *others = (
            pixels(render(Scene((), place, "day", w), 64)) for w in ("dry", "rain", "snow", "fog")
        )
        for other in others:
            assert np.abs(dry - other).mean() > 10, place


def test_every_place_looks_different():
    images = [pixels(render(Scene((), name), 48)) for name in PLACES]
    for i, one in enumerate(images):
        for other in images[i + 1 :]:
            assert np.abs(one - other).mean() > 4
    assert len(TOPICS) >= 20


def test_a_png_carries_its_scene():
    drawing = draw(PROMPT, 7)
    assert read_scene(drawing.png) == drawing.scene
    with Image.open(io.BytesIO(drawing.png)) as image:
        assert image.size == (256, 256)
        assert Scene.from_json(image.text["croc:scene"]) == drawing.scene


def test_a_webp_carries_its_scene_and_without_loss_every_pixel():
    drawing = draw(PROMPT, 7)
    for quality in (80, 100):
        webp = webp_with_scene(drawing.png, drawing.scene, quality)
        assert read_scene(webp) == drawing.scene
        with Image.open(io.BytesIO(webp)) as image, Image.open(io.BytesIO(drawing.png)) as original:
            assert image.format == "WEBP"
            same = np.array_equal(np.asarray(image.convert("RGB")), np.asarray(original.convert("RGB")))
            assert same == (quality == 100)
        with pytest.raises(InputError, match="no scene"):
            read_scene(webp[:-40])
        plain = io.BytesIO()
        Image.open(io.BytesIO(webp)).save(plain, "WEBP")
        with pytest.raises(InputError, match="no scene"):
            read_scene(plain.getvalue())


@pytest.mark.parametrize(
    "bad",
    [b"", b"GIF89a", b"RIFF\0\0\0\0WEBPVP8 \xff", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n" + b"\0" * 40],
)
def test_bytes_without_a_scene_are_an_input_error(bad: bytes):
    with pytest.raises(InputError):
        read_scene(bad)


def test_a_cut_or_rewritten_png_is_an_input_error():
    png = draw(PROMPT, 7, size=64).png
    with pytest.raises(InputError):
        read_scene(png[:80])
    plain = io.BytesIO()
    Image.open(io.BytesIO(png)).save(plain, "PNG")
    with pytest.raises(InputError, match="croc:scene"):
        read_scene(plain.getvalue())


@pytest.mark.parametrize(
    "change",
    [
        ('"dog"', '"dragon"'),
        ('"red"', '"<svg/>"'),
        ('"things"', '"thing"'),
        ('"plain","paint"', '"plain","/><image"'),
        ("[[", "[[["),
        ('"leg":4', '"leg":400'),
    ],
)
def test_a_scene_with_foreign_values_is_an_input_error(change: tuple[str, str]):
    text = sample("a red dog with four legs on a plain background", 1, distractors=False).to_json()
    assert change[0] in text
    with pytest.raises(InputError):
        Scene.from_json(text.replace(*change))


def test_a_size_out_of_reach_is_an_input_error():
    for size in (0, 15, 5000):
        with pytest.raises(InputError):
            render(Scene(()), size)


def test_seed_and_attempt_change_the_image_and_nothing_else_does():
    images = {
        (seed, attempt): draw(PROMPT, seed, attempt=attempt).png for seed in (0, 1) for attempt in (0, 1)
    }
    assert len(set(images.values())) == 4
    assert draw(PROMPT, 1, attempt=1).png == images[1, 1]


def test_images_of_one_prompt_differ_in_what_it_leaves_open():
    scenes = [sample(PROMPT, seed) for seed in range(40)]
    assert len({scene.setting for scene in scenes}) > 8
    assert len({scene.things[0].box for scene in scenes}) == 40
    assert len({len(scene.things) for scene in scenes}) > 2
    dogs = [thing for scene in scenes for thing in scene.things if thing.kind == "dog"]
    assert len({dog.pose for dog in dogs}) > 3
    assert {dog.colour for dog in dogs} == {"red"}


def test_stated_parts_are_shown_in_a_pose_that_lets_them_be_counted():
    poses = {
        t.pose for seed in range(30) for t in sample("a dog with three legs", seed).things if t.kind == "dog"
    }
    assert poses == {"standing"}


def test_another_process_draws_the_same_bytes():
    code = (
        "import hashlib; from croc_syn.world import draw, make_pair;"
        "p = make_pair('inside', seed=4); print(p.prompt, '|', p.contrast_prompt,"
        f" hashlib.sha256(draw({PROMPT!r}, 5).png + draw(p.prompt, 1).png).hexdigest())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
        ).stdout
        for seed in ("1", "77")
    }
    assert len(runs) == 1
    assert len(next(iter(runs)).split()[-1]) == len(hashlib.sha256().hexdigest())


def test_everything_in_a_scene_is_visible_and_can_be_described():
    for seed in range(60):
        scene = sample(PROMPT, seed)
        assert all_visible(scene)
        assert any(word in describe(scene) for word in KINDS["dog"].words)


def test_importing_the_world_loads_no_torch():
    code = (
        "import sys, croc_syn.world as w; w.draw; w.CONTRASTS; w.describe; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
