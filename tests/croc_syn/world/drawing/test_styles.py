"""Styles change how things are drawn, never what is true of them."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from drawing_reader import decide, read
from PIL import Image

from croc.errors import InputError
from croc_syn.painting.exact import ExactSettings, sample_scene
from croc_syn.world import (
    CONTRASTS,
    KINDS,
    PLACES,
    STYLES,
    USUAL,
    PromptError,
    Scene,
    Scope,
    draw,
    make_pair,
    read_scene,
    render,
    sample,
    satisfies,
    to_svg,
)

OTHERS = [style for style in STYLES if style != USUAL]


def pixels(scene: Scene, size: int = 96) -> np.ndarray:
    with Image.open(io.BytesIO(render(scene, size))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_there_are_at_least_four_styles_and_the_usual_one_is_the_default():
    assert len(STYLES) >= 4
    assert draw("a dog", 3).png == draw("a dog", 3, style=USUAL).png
    assert '"style"' not in draw("a dog", 3).scene.to_json()


@pytest.mark.parametrize("style", ["flat", "sketch"])
def test_a_style_shows_the_same_scene_in_another_way(style: str):
    for seed in range(6):
        usual = sample("two red dogs and a striped ball in a park", seed)
        other = sample("two red dogs and a striped ball in a park", seed, style=style)
        assert replace(other, style=USUAL) == usual
        assert np.abs(pixels(usual) - pixels(other)).mean() > 3


@pytest.mark.parametrize("style", OTHERS)
def test_the_style_travels_with_the_scene(style: str):
    drawing = draw("two red squares and a blue circle", 1, style=style, size=64)
    assert read_scene(drawing.png) == drawing.scene
    assert drawing.scene.style == style
    assert satisfies(drawing.scene, "two red squares and a blue circle")


def test_a_scene_of_an_unknown_style_is_an_input_error():
    text = draw("a circle", 1, style="flat").scene.to_json()
    with pytest.raises(InputError, match="style"):
        Scene.from_json(text.replace('"flat"', '"baroque"'))
    with pytest.raises(InputError, match="no drawing style 'baroque'; expected outlined, flat"):
        sample("a circle", 1, style="baroque")


def test_blocks_are_shapes_without_patterns_on_grey():
    for seed in range(20):
        scene = sample("two squares and a star", seed, style="blocks")
        assert all(KINDS[thing.kind].group == "shapes" for thing in scene.things)
        assert all((thing.texture, thing.material) == ("plain", "paint") for thing in scene.things)
        corner = pixels(scene)[2, 2]
        assert np.ptp(corner) < 12 and 180 < corner.mean() < 240
    for prompt in ("a dog", "a circle in a park", "two rectangles", "a circle at night"):
        with pytest.raises(PromptError, match="style blocks"):
            sample(prompt, 1, style="blocks")


def test_flat_has_no_dark_outlines():
    def darkest(style: str) -> float:
        star = sample("a yellow star on a plain background", 2, distractors=False)
        return float(pixels(replace(star, style=style)).sum(-1).min())

    assert darkest("flat") > darkest(USUAL) + 150


def test_the_place_and_the_time_are_seen_in_every_style():
    for style in ("flat", "sketch"):
        for place in PLACES.values():
            if place.lit:
                day, night = (pixels(Scene((), place.id, time, style=style)) for time in ("day", "night"))
                assert night.mean() < 0.7 * day.mean(), (style, place.id)
        looks = [pixels(Scene((), place, style=style), 48) for place in PLACES]
        for i, one in enumerate(looks):
            for other in looks[i + 1 :]:
                assert np.abs(one - other).mean() > 3


@pytest.mark.parametrize("style", OTHERS)
def test_the_second_reader_agrees_in_every_style(style: str):
    disputed, agreed = [], 0
    for number, key in enumerate(CONTRASTS):
        for seed in range(2):
            try:
                pair = make_pair(key, seed=50 * number + seed, scope=Scope(style))
            except InputError:
                continue
            for own, other in ((pair.prompt, pair.contrast_prompt), (pair.contrast_prompt, pair.prompt)):
                scene, _, _ = sample_scene(own, other, (seed, own), style)
                things = read(to_svg(scene, 160))
                first, second = decide(things, own), decide(things, other)
                if first is False or second is True:
                    disputed.append((own, other, first, second))
                agreed += second is False and first is not False
    assert agreed > (25 if style == "blocks" else 50)
    assert len(disputed) <= 1, disputed


def test_the_image_model_names_the_style():
    assert ExactSettings().model == ExactSettings(style=USUAL).model
    assert ExactSettings(style="flat").model == f"{ExactSettings().model}+style=flat"
    assert "+style=flat+noise=0.2" in ExactSettings(style="flat", noise=0.2).model
    with pytest.raises(InputError, match="no drawing style"):
        ExactSettings(style="baroque")
