"""Filters mark images and leave them there; pixels become files that say what is wrong with them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from croc.checks.decoding import decode
from croc.jobs.parts import Abort
from croc.scorers.pairs import UnscoredPairs
from croc_syn.painting import PaintedImage
from croc_syn.painting.encode import encode, format_of, to_pixels
from croc_syn.painting.flags import FilteredImage, near_duplicates, run_filters
from croc_syn.painting.settings import Contradiction, Flags, Nsfw


class Redness:
    """The mean of the red channel of images; refuses prompts with "refuse", fails at "fail"."""

    name = "redness"

    def score(self, images: Any, prompts: Any) -> np.ndarray:
        refused = {i: "not that" for i, prompt in enumerate(prompts) if "refuse" in prompt}
        if refused:
            raise UnscoredPairs(refused)
        if any("fail" in prompt for prompt in prompts):
            raise ValueError("cannot")
        return np.array(
            [
                (1 if "red" in prompt else -1) * np.asarray(image)[..., 0].mean() / 255
                for image, prompt in zip(images, prompts, strict=True)
            ]
        )

    def fields(self) -> dict[str, str]:
        return {}


def shown(level: int, prompt: str = "red", other: str = "green", name: str | None = None) -> FilteredImage:
    pixels = np.full((8, 8, 3), level, dtype=np.uint8)
    return FilteredImage(PaintedImage(data=encode(pixels, "png", 100)), prompt, other, name)


def judged(images: list[FilteredImage], **settings: Any) -> list[tuple[float | None, list[str]]]:
    contradiction = Contradiction(scorer=f"{__name__}:Redness", **settings)
    run_filters(images, Flags(contradiction=contradiction))
    return [(None if one.match is None else round(one.match, 2), one.image.flags) for one in images]


def test_an_image_below_its_propertys_threshold_contradicts_its_prompt() -> None:
    # Levels of 51 and 204 are 0.2 and 0.8.
    images = [shown(51), shown(204), shown(204, name="colour"), shown(204, name="count")]
    assert judged(images, threshold=0.5, thresholds={"colour": 0.9}) == [
        (0.2, ["contradicts"]),
        (0.8, []),
        (0.8, ["contradicts"]),
        (0.8, []),
    ]


def test_the_measure_may_be_the_difference_to_the_other_prompt() -> None:
    # 0.2 − (−0.2), and for the prompt that is not red −0.2 − 0.2.
    images = [shown(51), shown(51, prompt="green", other="red")]
    assert judged(images, threshold=0.0, measure="difference") == [(0.4, []), (-0.4, ["contradicts"])]


@pytest.mark.parametrize("prompt", ["refuse", "fail"])
def test_an_image_that_the_scorer_cannot_judge_says_so(prompt: str) -> None:
    images = [shown(204), shown(204, prompt=prompt), shown(51)]
    assert judged(images, threshold=0.5) == [(0.8, []), (None, ["unjudged"]), (0.2, ["contradicts"])]


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        ("clipscor", "flags.contradiction: .*did you mean"),
        ("nowhere:Thing", "flags.contradiction: .*nowhere"),
    ],
)
def test_a_scorer_that_is_not_there_stops_the_run(scorer: str, message: str) -> None:
    with pytest.raises(Abort, match=message):
        run_filters([shown(9)], Flags(contradiction=Contradiction(scorer=scorer, threshold=0)))


@pytest.mark.parametrize(
    ("hashes", "bits", "expected"),
    [
        ([], 4, []),
        ([5, 5, 5], 0, [False, True, True]),
        ([0b0, 0b1, 0b11, 0b111], 1, [False, True, False, True]),  # 0b1 is gone, so 0b11 is 2 bits from 0b0
        ([None, 7, None, 7], 0, [False, False, False, True]),
        ([0, 2**64 - 1], 63, [False, False]),
    ],
)
def test_of_nearly_equal_images_the_later_one_is_flagged(
    hashes: list[int | None], bits: int, expected: list[bool]
) -> None:
    assert near_duplicates(hashes, bits) == expected


# ---- A classifier ----


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A ViT that calls bright images unsafe: one weight looks at brightness, the others at nothing."""
    torch = pytest.importorskip("torch")
    tf = pytest.importorskip("transformers")
    config = tf.ViTConfig(
        hidden_size=8,
        num_hidden_layers=0,
        num_attention_heads=2,
        intermediate_size=8,
        image_size=8,
        patch_size=8,
        id2label={0: "normal", 1: "NSFW"},
        label2id={"normal": 0, "NSFW": 1},
    )
    model = tf.ViTForImageClassification(config)
    for weights in model.parameters():
        torch.nn.init.zeros_(weights)
    folder = tmp_path_factory.mktemp("models") / "classifier"
    model.save_pretrained(folder)
    tf.ViTImageProcessorPil(size={"height": 8, "width": 8}).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(("threshold", "flags"), [(0.5, ["nsfw"]), (0.51, [])])
def test_a_classifier_flags_from_its_threshold_on(
    classifier: str, threshold: float, flags: list[str]
) -> None:
    # All weights are 0: both labels have a probability of one half.
    images = [shown(9), shown(200)]
    run_filters(images, Flags(nsfw=Nsfw(model=classifier, threshold=threshold, batch_size=1)))
    assert [one.image.flags for one in images] == [flags, flags]


def test_what_a_pipelines_own_checker_said_is_not_said_twice(classifier: str) -> None:
    image = shown(9)
    image.image.flags.append("nsfw")
    run_filters([image], Flags(nsfw=Nsfw(model=classifier)))
    assert image.image.flags == ["nsfw"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "org/nowhere"}, "flags.nsfw: org/nowhere cannot be loaded"),
        ({"label": "porn"}, "flags.nsfw: .* has no label 'porn'; it has normal, nsfw"),
    ],
)
def test_a_classifier_that_cannot_be_used_stops_the_run(
    classifier: str, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(Abort, match=message):
        run_filters([shown(9)], Flags(nsfw=Nsfw(**{"model": classifier, **changes})))


# ---- Pixels and files ----

NOISE = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("format", "quality", "lossless"),
    [("png", 1, True), ("webp", 100, True), ("webp", 80, False), ("jpeg", 95, False), ("jpeg", 60, False)],
)
def test_a_file_has_its_format_and_what_it_holds(format: str, quality: int, lossless: bool) -> None:
    data = encode(NOISE, format, quality)
    assert data == encode(NOISE, format, quality)
    assert format_of(data) == format
    apart = np.abs(np.asarray(decode(data)).astype(int) - NOISE)
    assert (apart.max() == 0) == lossless
    assert apart.mean() < 60


def test_a_higher_quality_is_a_larger_file() -> None:
    for format in ("webp", "jpeg"):
        sizes = [len(encode(NOISE, format, quality)) for quality in (30, 60, 95)]
        assert sizes == sorted(set(sizes))


def test_another_format_has_no_name_here() -> None:
    buffer = io.BytesIO()
    Image.fromarray(NOISE).save(buffer, "GIF")
    assert format_of(buffer.getvalue()) is None


@pytest.mark.parametrize(
    ("values", "level", "flags"),
    [
        (np.full((2, 2, 3), 0.5), 128, []),
        (np.full((2, 2, 3), 7.0), 255, []),
        (np.full((2, 2, 3), -1.0), 0, ["black"]),
        (np.full((2, 2, 3), 0.02), 5, ["black"]),
        (np.full((2, 2, 3), 0.04), 10, []),
        (np.full((2, 2, 3), np.nan), 0, ["nan", "black"]),
        (np.full((2, 2, 3), np.inf), 0, ["nan", "black"]),
    ],
)
def test_black_and_numbers_that_are_none_are_flagged(
    values: np.ndarray, level: int, flags: list[str]
) -> None:
    pixels, found = to_pixels(values)
    assert pixels.dtype == np.uint8
    assert set(pixels.ravel().tolist()) == {level}
    assert found == flags


def test_a_single_number_that_is_none_is_enough() -> None:
    values = np.full((4, 4, 3), 0.5)
    values[1, 2, 0] = np.nan
    assert to_pixels(values)[1] == ["nan"]


def test_what_is_transparent_lies_over_white() -> None:
    # Qwen-Image 2.1 paints four channels.
    values = np.zeros((1, 3, 4))
    values[0, :, 3] = (1.0, 0.0, 0.6)
    values[0, 2, 0] = 1.0
    pixels, found = to_pixels(values)
    assert pixels.tolist() == [[[0, 0, 0], [255, 255, 255], [255, 102, 102]]]
    assert found == []
