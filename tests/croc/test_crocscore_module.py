"""The module ``crocscore`` of the ``evaluate`` library: images of every kind, scales, failed pairs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from metric_modules import PROMPTS, pictures
from PIL import Image

from croc.errors import InputError


def as_bytes(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def expected(checkpoint: Path) -> list[float]:
    from crocscore.model import CROCScore

    return CROCScore.from_pretrained(str(checkpoint), device="cpu").score(pictures(), PROMPTS).tolist()


@pytest.mark.parametrize("kind", ["pil", "arrays", "one array", "paths", "bytes", "column", "undecoded"])
def test_images_of_every_kind_get_the_same_scores(
    load: Any, checkpoint: Path, expected: list[float], tmp_path: Path, kind: str
) -> None:
    images = pictures()
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    table = datasets.Dataset.from_dict({"image": list(map(str, paths))}).cast_column(
        "image", datasets.Image()
    )
    given = {
        "pil": images,
        "arrays": [np.asarray(image) for image in images],
        "one array": np.stack([np.asarray(image) for image in images]),
        "paths": [str(paths[0]), *paths[1:]],
        "bytes": [as_bytes(image) for image in images],
        "column": table["image"],
        "undecoded": table.cast_column("image", datasets.Image(decode=False))["image"],
    }[kind]
    result = load("crocscore").compute(images=given, prompts=PROMPTS, model=str(checkpoint), device="cpu")
    assert result["scores"] == pytest.approx(expected, abs=1e-5)
    assert result["mean_score"] == pytest.approx(np.mean(expected), abs=1e-5)
    assert result["errors"] == {} and "scale:margin" in result["signature"]


def test_batches_are_scored_as_one_call_and_jpegs_are_not_written_anew(
    load: Any, checkpoint: Path, tmp_path: Path
) -> None:
    image = pictures(1)[0]
    image.save(tmp_path / "a.jpg", quality=40)
    module = load("crocscore")
    options = {"model": str(checkpoint), "device": "cpu"}
    sources = [str(tmp_path / "a.jpg"), Image.open(tmp_path / "a.jpg"), image]
    whole = module.compute(images=sources, prompts=PROMPTS, **options)
    module.add_batch(images=sources[:2], prompts=PROMPTS[:2])
    module.add(images=sources[2], prompts=PROMPTS[2])
    assert module.compute(**options) == whole
    module.add_batch(images=sources[:1], prompts=PROMPTS[:1])
    again = module.compute(images=sources[1:], prompts=PROMPTS[1:], **options)
    assert again == whole


def test_probabilities_are_between_0_and_1_and_keep_the_order(
    load: Any, checkpoint: Path, expected: list[float]
) -> None:
    module = load("crocscore")
    result = module.compute(
        images=pictures(), prompts=PROMPTS, model=str(checkpoint), device="cpu", probability=True
    )
    assert all(0 < score < 1 for score in result["scores"])
    assert np.argsort(result["scores"]).tolist() == np.argsort(expected).tolist()
    assert "scale:probability" in result["signature"]


def test_the_published_scale_is_that_of_the_scorer(load: Any, checkpoint: Path) -> None:
    from crocscore.model import CROCScore

    module, options = load("crocscore"), {"images": pictures(), "prompts": PROMPTS, "paper": True}
    result = module.compute(model=str(checkpoint), device="cpu", **options)
    scorer = CROCScore.from_pretrained(checkpoint, device="cpu")
    assert result["scores"] == pytest.approx(scorer.score(pictures(), PROMPTS, paper=True), abs=1e-9)
    assert "formula:P(Yes)-P(No)" in result["signature"] and "scale:P(Yes)-P(No)" in result["signature"]
    assert module.compute(model=scorer, **options)["scores"] == pytest.approx(result["scores"], abs=1e-9)
    plain = module.compute(images=pictures(), prompts=PROMPTS, model=str(checkpoint), device="cpu")
    assert "scale:margin" in plain["signature"]
    with pytest.raises(ValueError, match="two scales: choose one"):
        module.compute(model=scorer, probability=True, **options)


def test_a_pair_without_a_score_says_why_and_leaves_the_mean(
    load: Any, checkpoint: Path, expected: list[float]
) -> None:
    images = [*pictures(), b"no image", pictures(1)[0]]
    result = load("crocscore").compute(
        images=images, prompts=[*PROMPTS, "a cat", " "], model=str(checkpoint), device="cpu"
    )
    assert result["scores"][3:] == [None, None]
    assert set(result["errors"]) == {3, 4} and "empty" in result["errors"][4]
    assert result["mean_score"] == pytest.approx(np.mean(expected), abs=1e-5)


@pytest.mark.parametrize(
    ("images", "prompts", "message"),
    [
        (None, ["a"], "together"),
        ([b""], "a", "lists"),
        ([b"", b""], ["a"], "2 images and 1 prompts"),
        ([b""], [7], "prompt 0 is int"),
    ],
)
def test_inputs_that_do_not_pair_up_are_refused(load: Any, images: Any, prompts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load("crocscore").compute(images=images, prompts=prompts)
    with pytest.raises(ValueError, match=message):
        load("crocscore").add_batch(images=images, prompts=prompts)


def test_an_array_of_fractions_is_refused(load: Any, checkpoint: Path) -> None:
    with pytest.raises(InputError, match="uint8"):
        load("crocscore").add_batch(images=[np.zeros((4, 4, 3))], prompts=["a"])


def test_the_model_is_loaded_once(load: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from crocscore.model import CROCScore

    loaded = []
    original = CROCScore.from_pretrained
    monkeypatch.setattr(
        CROCScore, "from_pretrained", lambda *a, **k: loaded.append(a) or original(*a, **k), raising=True
    )
    module = load("crocscore")
    for _ in range(2):
        module.compute(images=pictures(), prompts=PROMPTS, model=str(checkpoint), device="cpu")
    assert len(loaded) == 1
