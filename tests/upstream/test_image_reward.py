"""ImageReward against its own package, from the files of its repository; the tokenizer is a stand-in."""

from __future__ import annotations

import numpy as np
import pytest
import transformers as tf
from parity import FOLDER, assert_moved, assert_same, reference
from PIL import Image
from upstream_inputs import PROMPTS, images, pairs

from croc.scorers import image_reward
from croc.scorers.image_reward import ImageReward


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> str:
    reference("image-reward")
    tokens = (FOLDER / "image-reward" / "tokenizer" / "vocab.txt").read_text("utf-8").split("\n")
    folder = tmp_path_factory.mktemp("bert")
    made = tf.BertTokenizer(vocab={token: i for i, token in enumerate(tokens)}, do_lower_case=True)
    made.save_pretrained(folder)
    return str(folder)


def scorer(tokenizer: str, **options) -> ImageReward:
    return ImageReward(str(FOLDER / "image-reward"), tokenizer=tokenizer, device="cpu", **options)


def scores(subject: ImageReward) -> np.ndarray:
    return subject.score(*pairs()).reshape(-1, len(PROMPTS))


def test_image_reward_is_that_of_its_package(tokenizer):
    expected = reference("image-reward")
    subject = scorer(tokenizer)
    odd = images()[0].resize((299, 224), Image.Resampling.BICUBIC)
    pixels = np.stack([image_reward.prepared(image, 224) for image in [*images(), odd]])
    assert np.abs(pixels - expected["pixels"]).max() < 1e-5
    assert_same("image-reward", scores(subject), expected["score"])
    reused = np.stack(subject.score_images_prompts(images(), [list(PROMPTS)] * len(images())))
    assert_same("image-reward, image computed once", reused, expected["score"])


@pytest.mark.parametrize("options", [{"window": 9}, {"dtype": "bfloat16"}], ids=str)
def test_image_reward_controls_are_seen(tokenizer, options):
    assert_moved(scores(scorer(tokenizer, **options)), reference("image-reward")["score"])


def test_a_wrong_frame_and_another_first_token_are_seen(tokenizer, monkeypatch):
    expected = reference("image-reward")["score"]

    def squashed(image, side):
        return real(image.resize((side, side), Image.Resampling.BICUBIC), side)

    real = image_reward.prepared
    monkeypatch.setattr(image_reward, "prepared", squashed)
    assert_moved(scores(scorer(tokenizer)), expected)
    monkeypatch.setattr(image_reward, "prepared", real)
    subject = scorer(tokenizer)
    words = len(subject.checkpoint.processor.tokenizer)
    ids = subject._ids
    # BLIP's [ENC] instead of BERT's [CLS].
    monkeypatch.setattr(subject, "_ids", lambda prompt: ([words + 1, *ids(prompt)[0][1:]], False))
    assert_moved(scores(subject), expected)
