"""Images with an error: the oracle sees the error, and everything else stays as it was."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace

import pytest
from PIL import Image

from croc.errors import InputError
from croc_syn.world import draw, parse, read_scene, satisfies
from croc_syn.world.contrasts.image_errors import IMAGE_ERRORS, draw_with_error, with_error


def counts(scene) -> Counter:
    return Counter(thing.kind for thing in scene.things)


def edited(prompt: str, kind: str, seed: int = 0):
    """The scene of a prompt, and the one with an error."""
    drawn = draw(prompt, seed, size=64)
    png = draw_with_error(drawn.png, prompt, kind, seed)
    assert png is not None, (prompt, kind)
    with Image.open(io.BytesIO(png)) as image:
        assert image.size == (64, 64)
    scene = read_scene(png)
    assert satisfies(drawn.scene, prompt) and not satisfies(scene, prompt)
    whole = [(one.setting, one.lighting, one.weather, one.variant, one.style) for one in (scene, drawn.scene)]
    assert whole[0] == whole[1]
    return drawn.scene, scene


@pytest.mark.parametrize("prompt", ["three dogs", "one cat", "two cats and a ball"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_wrong_count_is_one_more_or_one_less(prompt, seed):
    before, after = edited(prompt, "count", seed)
    differences = {kind: counts(after)[kind] - number for kind, number in counts(before).items()}
    (changed,) = [kind for kind, number in differences.items() if number]
    assert (
        abs(differences[changed]) == 1 and changed in parse(prompt).mentioned and counts(after)[changed] > 0
    )


def test_a_missing_thing_is_one_that_the_prompt_names():
    for seed in range(3):
        before, after = edited("a red dog left of a cat", "missing", seed)
        gone = counts(before) - counts(after)
        assert set(gone) < {"dog", "cat"} and len(gone) == 1
        assert after.things == tuple(thing for thing in before.things if thing.kind not in gone)


@pytest.mark.parametrize(
    ("prompt", "other"),
    [
        ("a red dog and a blue cat", "a blue dog and a red cat"),
        ("two dogs and three cats", "three dogs and two cats"),
    ],
)
def test_a_wrong_binding_is_the_prompt_with_both_things_exchanged(prompt, other):
    _, after = edited(prompt, "binding", 1)
    assert satisfies(after, other)


def test_a_wrong_relation_is_a_wrong_binding():
    before, after = edited("a dog on the left of a car", "binding", 1)
    assert counts(before) == counts(after)
    centre = {thing.kind: thing.box[0] + thing.box[2] for thing in after.things}
    assert centre["car"] < centre["dog"]


@pytest.mark.parametrize(
    ("prompt", "name"), [("a red dog", "colour"), ("a striped cat", "texture"), ("a dog sleeping", "pose")]
)
def test_a_wrong_attribute_changes_that_property_of_that_thing(prompt, name):
    before, after = edited(prompt, "attribute")
    (changed,) = [(old, new) for old, new in zip(before.things, after.things, strict=True) if old != new]
    old, new = changed
    assert getattr(old, name) != getattr(new, name)
    assert replace(new, **{name: getattr(old, name)}, box=old.box) == old
    assert new.size == pytest.approx(old.size, rel=0.01)


def test_a_wrong_number_of_parts_is_a_wrong_attribute():
    _, after = edited("a dog with three legs", "attribute", 2)
    (dog,) = [thing for thing in after.things if thing.kind == "dog"]
    assert dict(dog.parts)["leg"] != 3


@pytest.mark.parametrize(
    ("prompt", "kind"), [("a dog", "binding"), ("a dog", "attribute"), ("a dog and a cat", "binding")]
)
def test_a_prompt_that_allows_no_such_error_gives_none(prompt, kind):
    assert draw_with_error(draw(prompt, 0, size=64).png, prompt, kind, 0) is None


def test_errors_are_reproducible_and_unknown_ones_are_refused():
    scene = draw("three dogs", 4, size=64).scene
    assert all(
        with_error(scene, "three dogs", kind, 7) == with_error(scene, "three dogs", kind, 7)
        for kind in IMAGE_ERRORS
    )
    found = {with_error(scene, "three dogs", "count", seed) for seed in range(6)}
    assert len(found) > 1
    with pytest.raises(InputError, match="'blur'; expected count, binding, missing, attribute"):
        with_error(scene, "three dogs", "blur", 0)
