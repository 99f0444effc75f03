"""What is held out occurs in no prompt and in no scene, and a test of it is about nothing else."""

from __future__ import annotations

import pytest

from croc.errors import InputError
from croc_syn.world import CONTRASTS, KINDS, HeldOut, OutOfScope, Scope, make_pair, sample
from croc_syn.world.language.frames import frames_of
from croc_syn.world.language.wording import FRAMES, reword
from croc_syn.world.scenes.scope import SORTS, entries

HELD_OUT = {
    "nouns": "nouns=dog,car,circle,apple",
    "values": "values=colour=red,texture=striped,count=3,pose=running,setting=kitchen,relation=above",
    "frames": "frames=there is,without,that is",
    "compositions": "compositions=cat:colour=orange,ball:colour=blue,balloon:shape=heart",
}


@pytest.mark.parametrize(
    ("option", "prompt", "expected"),
    [
        (HELD_OUT["nouns"], "a dog", True),
        (HELD_OUT["nouns"], "a puppy", True),
        (HELD_OUT["nouns"], "a cat and no dog", True),
        (HELD_OUT["nouns"], "a cat", False),
        (HELD_OUT["values"], "a scarlet cat", True),
        (HELD_OUT["values"], "a cat that is not red", True),
        (HELD_OUT["values"], "a cat with stripes", True),
        (HELD_OUT["values"], "3 cats", True),
        (HELD_OUT["values"], "a cat with three legs", True),
        (HELD_OUT["values"], "a cat in the kitchen", True),
        (HELD_OUT["values"], "a cat below a ball", True),
        (HELD_OUT["values"], "two green cats to the left of a ball", False),
        (HELD_OUT["frames"], "there is a cat", True),
        (HELD_OUT["frames"], "a cat without a ball", True),
        (HELD_OUT["frames"], "a cat that is red", True),
        (HELD_OUT["frames"], "a cat that is not red", True),
        (HELD_OUT["frames"], "a picture of a cat", False),
        (HELD_OUT["compositions"], "an orange kitten", True),
        (HELD_OUT["compositions"], "a ball that is not blue", True),
        (HELD_OUT["compositions"], "a heart-shaped balloon", True),
        (HELD_OUT["compositions"], "an orange ball and a blue cat", False),
    ],
)
def test_what_a_prompt_contains(option: str, prompt: str, expected: bool):
    assert HeldOut.of([option]).is_in_prompt(prompt) is expected


@pytest.mark.parametrize("sort", SORTS)
def test_no_training_pair_and_no_scene_contains_what_is_held_out(sort: str):
    held_out = HeldOut.of([HELD_OUT[sort]])
    scope = Scope(held_out=held_out)
    seen = 0
    for number, contrast in enumerate(CONTRASTS):
        for seed in range(3):
            try:
                pair = make_pair(contrast, seed=100 * number + seed, scope=scope)
            except InputError:
                continue
            for prompt in (pair.prompt, pair.contrast_prompt):
                assert not held_out.is_in_prompt(prompt)
                scene = sample(prompt, seed, avoided=scope.avoided)
                assert not held_out.is_in_scene(scene)
                assert not held_out.nouns & {thing.kind for thing in scene.things}
                seen += 1
    assert seen > 100


@pytest.mark.parametrize("sort", SORTS)
def test_a_test_is_about_nothing_but_what_is_held_out(sort: str):
    held_out = HeldOut.of([HELD_OUT[sort]])
    scope = Scope(held_out=held_out, only=True)
    assert scope.avoided is None
    seen = 0
    for seed in range(30):
        try:
            pair = make_pair("colour", seed=seed, scope=scope)
        except InputError:
            continue
        assert held_out.is_in_prompt(pair.prompt) or held_out.is_in_prompt(pair.contrast_prompt)
        seen += 1
    assert seen > 20


def test_without_anything_held_out_scenes_show_it():
    """The tests above could not fail if scenes never showed these things."""
    found = dict.fromkeys(("nouns", "values", "compositions"), 0)
    for seed in range(60):
        scene = sample("a cat", seed)
        for sort in found:
            found[sort] += HeldOut.of([HELD_OUT[sort]]).is_in_scene(scene)
    assert all(found.values()), found


def test_a_share_is_always_the_same_and_grows():
    for sort in SORTS:
        small, large = (getattr(HeldOut.of([f"{sort}={share}"]), sort) for share in (0.1, 0.3))
        assert small and small < large < set(entries(sort))
        assert small == getattr(HeldOut.of([f"{sort}=0.1"]), sort)
    values = HeldOut.of(["values=0.3"]).values
    assert len(HeldOut.of(["nouns=0.2"]).nouns) == round(0.2 * len(KINDS))
    assert not any(value.startswith(("size=", "lighting=")) for value in values)
    assert {"colour", "count", "setting"} <= {value.split("=")[0] for value in values}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["verbs=0.2"], "expected one of nouns, values, frames, compositions"),
        (["nouns"], "expected one of"),
        (["nouns=1.5"], "between 0 and 1"),
        (["nouns=dog,dragon"], "no 'dragon' among the nouns"),
        (["values=red"], "no 'red' among the values"),
        (["nouns=dog", "nouns=cat"], "given twice"),
    ],
)
def test_what_cannot_be_held_out_is_an_input_error(options: list[str], message: str):
    with pytest.raises(InputError, match=message):
        HeldOut.of(options)


def test_a_test_needs_something_that_is_held_out():
    with pytest.raises(InputError, match="nothing is held out"):
        Scope(only=True)


def test_a_held_out_entity_or_place_is_refused_at_once():
    scope = Scope(held_out=HeldOut.of(["nouns=dog", "values=setting=farm"]))
    for arguments in ({"entity": "dog"}, {"topic": "farm"}, {"entity": "cat", "contrast_topic": "farm"}):
        with pytest.raises(OutOfScope):
            make_pair(None, seed=1, scope=scope, **arguments)


def test_a_test_does_not_try_a_pair_again_that_can_never_be_about_what_is_held_out():
    scope = Scope(held_out=HeldOut.of(["values=colour=red"]), only=True)
    with pytest.raises(OutOfScope, match="no two prompts about what is held out"):
        make_pair("setting", topic="farm", contrast_topic="kitchen", seed=1, scope=scope)
    pair = make_pair("colour", entity="dog", seed=1, scope=scope)
    assert "red" in pair.prompt + pair.contrast_prompt


@pytest.mark.parametrize(("frame", "example"), FRAMES.items())
def test_every_frame_is_recognised_in_its_example(frame: str, example: str):
    text = {"statement": "a dog. ", "relation statement": "a dog and a cat. "}.get(frame, "") + example
    assert frame in frames_of(text)


@pytest.mark.parametrize("frame", FRAMES)
def test_a_frame_that_is_not_used_is_recognised_in_no_wording(frame: str):
    """The frames that a wording may use and those that are found in it are two readings of one thing."""
    others = [name for name in FRAMES if name not in (frame, "bare")]
    found = 0
    for seed in range(40):
        pair = make_pair(None, topic="farm" if seed % 2 else None, seed=seed)
        text = reword(pair.prompt, str(seed), frames=others)
        found += text != pair.prompt and frame in frames_of(text)
    # A bare relation is what remains of a relation without the others, and "here are" is read as "there are".
    if frame not in ("bare", "relation", "there is"):
        assert found == 0
