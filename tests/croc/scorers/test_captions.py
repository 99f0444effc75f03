"""What happens to a text before the tokenizer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from croc.errors import InputError
from croc.scorers.captions import CAPTIONS, NORMALISED, normalised, require_caption


@pytest.mark.parametrize(
    "typed",
    [
        "a red dog and three cats",
        "A red dog and three cats.",
        "A RED DOG AND 3 CATS!",
        "  a  red dog\nand three\u00a0cats ",
        "\u201cA red dog and 3 cats.\u201d",
        "'a red dog and three cats'",
        "a red dog and \uff13 cats",
        "a red dog and three cats \u2026",
    ],
)
def test_what_means_the_same_is_read_as_the_same(typed: str) -> None:
    assert normalised(typed) == "a red dog and three cats"


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("There\u2019s a dog", "there is a dog"),
        ("there're 2 dogs", "there are two dogs"),
        ("a dog that isn't red", "a dog that is not red"),
        ("a dog , and a cat .", "a dog, and a cat"),
        ("0 dogs, 20 cats", "zero dogs, twenty cats"),
        ("A dog. A cat.", "a dog. a cat"),
        ('"a" and "b"', '"a" and "b"'),
    ],
)
def test_contractions_numbers_and_punctuation(typed: str, read: str) -> None:
    assert normalised(typed) == read


@pytest.mark.parametrize(
    "text", ["21 dogs", "2.5 dogs", "a 3d dog", "1,000 dogs", "007", "-3 degrees", "10:30"]
)
def test_other_numbers_stay_as_they_are(text: str) -> None:
    assert normalised(text) == text


@pytest.mark.parametrize("text", ["...", "!?", "' '", '"'])
def test_punctuation_alone_stays(text: str) -> None:
    assert normalised(f" {text} ") == text


@given(st.text(alphabet=st.sampled_from("aB1 20.,!'\"\u2019\u201c\u201d\n-isn't thre"), max_size=40))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once
    assert bool(once) == bool(text.strip())


def test_the_name_is_one_of_the_captions() -> None:
    assert CAPTIONS[require_caption(NORMALISED)] is normalised
    with pytest.raises(InputError, match=r"caption \['lower'\] is unknown: use one of as is"):
        require_caption(["lower"])  # type: ignore[arg-type]
