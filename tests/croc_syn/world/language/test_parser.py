"""The controlled English: what prompts mean, and what is said of those that mean nothing."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from croc.errors import InputError
from croc_syn.world import PromptError, draw, parse, sample, to_svg, vocabulary
from croc_syn.world.language.meaning import Absence, Attribute, Group, Link


def colour(value: str, positive: bool = True) -> Attribute:
    return Attribute("colour", value, positive)


SMALL = Attribute("size", "small")


def test_the_example_of_the_documentation_means_what_it_says():
    meaning = parse("a small red dog to the left of two blue umbrellas, no cat")
    assert meaning.groups == (
        Group("dog", 1, (SMALL, colour("red"))),
        Group("umbrella", 2, (colour("blue"),)),
    )
    assert meaning.links == (Link("left_of", 0, 1),)
    assert meaning.absences == (Absence("cat"),)
    assert meaning.totals() == {"dog": 1, "umbrella": 2, "cat": 0}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a red dog", "a dog that is red"),
        ("a red dog", "there is a scarlet dog"),
        ("a grey cat", "a gray kitten"),
        ("two dogs", "2 puppies"),
        ("two dogs", "a pair of dogs"),
        ("a dog and no cat", "a dog, no cat"),
        ("a dog and no cat", "a dog without a cat"),
        ("a dog and no cat", "a dog but there is no cat"),
        ("a dog and no cat", "there is a dog and there are no cats"),
        ("a dog, no cat", "a dog and not a single cat"),
        ("no cat, no dog", "neither a cat nor a dog"),
        ("no cat, no dog", "no cat or dog"),
        ("a dog to the left of a cat", "a dog is left of a cat"),
        ("a dog to the left of a cat", "a dog that is to the left of a cat"),
        (
            "a dog and a cat. the dog is to the left of the cat",
            "a dog, a cat, and the dog is left of the cat",
        ),
        ("a dog in a park", "in the park, there is a dog"),
        ("only a dog", "a dog and nothing else"),
        ("a dog lying down", "a dog that is sleeping"),
        ("a wooden chair", "a chair made of wood"),
        ("a star-shaped balloon", "a balloon in the shape of a star"),
        ("a person with three arms and one leg", "a person with three arms and with one leg"),
        ("A DOG.", "a dog"),
        ("a red, striped ball", "a red and striped ball"),
        ("a car without wheels", "a car with no wheels"),
        ("a dog is red", "a red dog"),
    ],
)
def test_different_frames_say_the_same(one: str, other: str):
    assert parse(one) == parse(other)


def test_a_relation_and_its_converse_are_one_link():
    right, left = parse("a cat to the right of a dog"), parse("a dog to the left of a cat")
    assert [
        (right.groups[link.a].kind, link.relation, right.groups[link.b].kind) for link in right.links
    ] == [("dog", "left_of", "cat")]
    assert [(left.groups[link.a].kind, link.relation, left.groups[link.b].kind) for link in left.links] == [
        ("dog", "left_of", "cat")
    ]


def test_a_fronted_relation_speaks_of_the_thing_that_follows():
    meaning = parse("to the left of a cat there is a dog")
    (link,) = meaning.links
    assert (meaning.groups[link.a].kind, meaning.groups[link.b].kind) == ("dog", "cat")


def test_with_means_a_part_where_the_thing_has_one_and_a_companion_otherwise():
    meaning = parse("a dog with three legs and a cat")
    assert [group.kind for group in meaning.groups] == ["dog", "cat"]
    assert meaning.groups[0].attributes == (Attribute("part:leg", "3"),)
    assert [group.kind for group in parse("a dog with a cat").groups] == ["dog", "cat"]


def test_an_adjective_that_is_also_a_noun_is_read_by_what_follows():
    assert parse("a square sign").groups == (Group("sign", 1, (Attribute("shape", "square"),)),)
    assert parse("a red square").groups == (Group("square", 1, (colour("red"),)),)
    assert parse("three stars in a circle").groups == (Group("star", 3, (), "ring"),)
    assert parse("a star in a circle").links == (Link("inside", 0, 1),)


def test_a_denied_property_and_a_denied_kind_with_a_property_differ():
    assert parse("a dog that is not red").groups[0].attributes == (colour("red", False),)
    assert parse("a cat and no red dog").absences == (Absence("dog", (colour("red"),)),)


def test_two_phrases_of_one_kind_add_up():
    assert parse("a red dog and two blue dogs").totals() == {"dog": 3}


@pytest.mark.parametrize(
    ("prompt", "word", "position", "said"),
    [
        ("a drog", "drog", 2, 'did you mean "dog"'),
        ("a red", "", 3, "ends too early"),
        ("two dog", "dog", 2, '"dogs"'),
        ("a dogs", "dogs", 2, '"dog"'),
        ("dog", "dog", 1, "an article"),
        ("a dog quickly", "quickly", 3, "a comma"),
        ("a dog with three wheels", "wheels", 5, "its parts are: legs, tails"),
        ("a dog with seven legs", "legs", 5, "1 to 6"),
        ("a dog left of", "", 5, "the other thing"),
        ("a star-shaped dog", "star-shaped", 2, "balloon"),
        ("a dog flying", "flying", 3, "it can be: standing"),
        ("a cat inside a dog", "inside", 3, "box"),
        ("a cat on a dog", "on", 3, "table"),
        ("a red blue dog", "blue", 3, "another colour"),
        ("a dog in a row", "in", 3, "a single thing"),
        ("a dog and a cat to the left of a bird", "to", 6, "not clear"),
        ("a dog left of a cat above a bird", "above", 7, "not clear"),
        ("a dog, the dogs", "the", 4, "no dog with these properties"),
        ("a red dog, a blue dog, the dog is small", "the", 9, "more than one dog"),
        ("a dog at night and a cat by day", "by", 8, "another lighting"),
        ("no dog to the left of a cat", "to", 3, "cannot have a relation"),
        ("", "", 1, "a number"),
    ],
)
def test_an_error_names_the_word_its_place_and_what_could_stand_there(prompt, word, position, said):
    with pytest.raises(PromptError) as caught:
        parse(prompt)
    assert (caught.value.word, caught.value.position) == (word, position)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "prompt",
    [
        "a dog and no dog",
        "a red dog and no red dog",
        "a dog left of a cat and the cat is left of the dog",
        "a dog left of a cat, and the cat is left of a bird, and the bird is left of the dog",
        "a box, a dog inside the box, and the dog is larger than the box",
        "a tree in a forest",
        "no tree in the forest",
    ],
)
def test_a_prompt_that_nothing_can_show_is_refused(prompt: str):
    with pytest.raises(PromptError):
        parse(prompt)


@pytest.mark.parametrize(
    "prompt", ["nine large dogs and nine large cats", "a small box, and a large dog in the box"]
)
def test_what_does_not_fit_is_an_error_and_no_wrong_image(prompt: str):
    with pytest.raises(PromptError, match="does not fit"):
        sample(prompt, 0)


def test_what_cannot_be_seen_in_a_place_is_an_error():
    with pytest.raises(PromptError, match="cannot be seen"):
        sample("a dog in a kitchen in the rain", 0)


def test_a_million_characters_are_refused_at_once():
    start = time.perf_counter()
    for prompt in ("a dog " * 170_000, "x" * 1_000_000, "😀" * 1_000_000, "<" * 1_000_000):
        with pytest.raises(PromptError):
            parse(prompt)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    "prompt",
    [
        "\0\1\2",
        "a dog\n\tand a cat",
        "🐶",
        "a <script>alert(1)</script> dog",
        '"/><image href="file:///etc/passwd"/>',
        "a dog &amp; a cat",
        "\ud800",
        "{body} {0} %s",
        "مرحبا a dog",
    ],
)
def test_strange_prompts_are_errors_or_images(prompt: str):
    try:
        drawing = draw(prompt, 0, size=16)
    except InputError:
        return
    assert drawing.png.startswith(b"\x89PNG")


WORDS = st.sampled_from(sorted(vocabulary() | {"the", ",", ".", "<svg>", "&", '"', "{ink}", "]]>"}))


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=80), st.lists(WORDS, max_size=14).map(" ".join)))
def test_any_text_is_a_meaning_or_an_input_error(text: str):
    try:
        parse(text)
    except InputError as error:
        assert str(error)


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=6).map(lambda words: "a dog " + " ".join(words)))
def test_nothing_of_a_prompt_becomes_markup(text: str):
    try:
        svg = to_svg(sample(text, 0))
    except InputError:
        return
    # Prompts here can only differ from this one in the text itself.
    assert text not in svg
    for foreign in ("<svg>", "{ink}", "]]>", "<script", "<image", "href", "<text"):
        assert foreign not in svg.removeprefix("<svg")
