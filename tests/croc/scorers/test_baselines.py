"""Baselines ignore what they should ignore, and the colour scorer detects colours."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from croc.scorers.baselines import Constant, ImageOnly, PromptLength, Random, TextOnly
from croc.scorers.colour_words import TERMS, ColourWords

RED, BLUE = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
GRID = ([RED, RED, BLUE, BLUE], ["a", "b", "a", "b"])


def test_random_depends_on_image_prompt_and_seed_alone() -> None:
    scores = Random().score(*GRID)
    assert len(set(scores)) == 4
    assert np.array_equal(Random().score(GRID[0][::-1], GRID[1][::-1]), scores[::-1])
    assert Random().score([RED], ["b"])[0] == scores[1]
    assert Random().score([RED.copy()], ["b"])[0] == scores[1]
    assert not set(Random(seed=1).score(*GRID)) & set(scores)
    assert Random().score([RED.resize((2, 8))], ["b"])[0] != scores[1]


def test_random_is_the_same_in_another_process() -> None:
    code = (
        "from PIL import Image; from croc.scorers.baselines import Random; "
        "print(repr(float(Random().score([Image.new('RGB', (4, 4), 'red')], ['a'])[0])))"
    )
    got = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert float(got) == Random().score([RED], ["a"])[0]


def test_random_follows_its_definition() -> None:
    pixels = hashlib.sha256(b"RGB (4, 4)\n" + bytes([255, 0, 0]) * 16).digest()
    text = hashlib.sha256(b"a").digest()
    number = hashlib.sha256(b"croc 0\n" + pixels + b"|" + text).digest()
    assert Random().score([RED], ["a"])[0] == (int.from_bytes(number[:8], "big") >> 11) / 2**53


def test_random_is_uniform() -> None:
    scores = Random().score([RED] * 4000, [str(i) for i in range(4000)])
    # Kolmogorov's distance: 1.95 / sqrt(4000) is exceeded once in a thousand.
    ranks = np.sort(scores) - (np.arange(4000) + 0.5) / 4000
    assert np.abs(ranks).max() < 1.95 / np.sqrt(4000)


def test_text_only_is_blind_to_the_image_and_image_only_to_the_text() -> None:
    a, b, a2, b2 = TextOnly().score(*GRID)
    assert (a, b) == (a2, b2)
    assert a != b
    red, red2, blue, blue2 = ImageOnly().score(*GRID)
    assert (red, blue) == (red2, blue2)
    assert red != blue


def test_constant_and_prompt_length() -> None:
    assert Constant(0.5).score(*GRID).tolist() == [0.5] * 4
    assert PromptLength().score([RED] * 3, ["", "ab", "über"]).tolist() == [0, 2, 4]


@pytest.mark.parametrize("make", [Random, TextOnly, ImageOnly, Constant, PromptLength])
def test_baselines_say_that_they_are_blind(make: type) -> None:
    assert make().baseline


@pytest.mark.parametrize("scorer", [Random(), TextOnly(), ImageOnly(), ColourWords()])
def test_encoding_apart_gives_the_same_scores(scorer: Random) -> None:
    apart = scorer.similarity(scorer.encode_images(GRID[0]), scorer.encode_texts(GRID[1]))
    assert np.array_equal(apart, scorer.score(*GRID))
    assert scorer.score([], []).shape == (0,)


@pytest.mark.parametrize("term", TERMS)
def test_the_colour_of_an_image_scores_highest_with_its_own_word(term: str) -> None:
    paint = {"grey": "#808080", "green": "#008000", "brown": "#8b4513"}.get(term, term)
    image = Image.new("RGB", (16, 16), "white" if term != "white" else "black")
    image.paste(Image.new("RGB", (8, 8), paint), (4, 4))
    background = "white" if term != "white" else "black"
    others = [other for other in TERMS if other not in (term, background)]
    scores = ColourWords().score(
        [image] * len(TERMS), [f"a {word} ball" for word in [term, *others, background]]
    )
    assert all(scores[0] > scores[1:-1])


def test_colour_words_know_both_spellings_and_shades() -> None:
    score = ColourWords().score
    grey = Image.new("RGB", (8, 8), "#888888")
    assert score([grey], ["a gray cat"])[0] == score([grey], ["a grey cat"])[0] > 0
    assert score([RED], ["A crimson, round thing"])[0] == score([RED], ["red"])[0]
    assert score([RED], ["a reddish-blueish redo"])[0] == 0
    assert score([RED], ["three cats"])[0] == 0


def test_colour_words_average_over_the_colours_named() -> None:
    score = ColourWords().score
    one, other, both = score([RED] * 3, ["red", "blue", "red and blue"])
    # log(1 + 1/0.002) = log(501) for an image that is red all over.
    assert one == pytest.approx(np.log(501))
    assert other == 0
    assert both == pytest.approx(one / 2)
