"""Which terms hold for an image, by the name of the model in its row."""

from __future__ import annotations

import pytest

from builders.licences import licence_of
from hub_cards.cards import LICENCE_URLS


@pytest.mark.parametrize(
    ("image_model", "licence"),
    [
        # `license`, or `license_name` where that is `other`, of the models' cards on the Hub.
        ("black-forest-labs/FLUX.1-schnell@741f7c3", "apache-2.0"),
        ("black-forest-labs/FLUX.1-dev@3de623f", "flux-1-dev-non-commercial-license"),
        ("stabilityai/stable-diffusion-3.5-large@ceddf0a", "stabilityai-ai-community"),
        ("stabilityai/stable-diffusion-3.5-large-turbo", "stabilityai-ai-community"),
        ("Qwen/Qwen-Image@75e0b4b", "apache-2.0"),
        ("Efficient-Large-Model/Sana_Sprint_1.6B_1024px_diffusers", "nvidia-open-model-license"),
        ("openai:gpt-image-1", "openai-terms-of-use"),
        ("gpt-image-1", "openai-terms-of-use"),
        ("exact@1.0", "apache-2.0"),
        ("exact@1.0+noise=0.1", "apache-2.0"),
        ("someone/a-model@1", "unknown"),
        (None, "unknown"),
    ],
)
def test_the_licence_follows_from_the_image_model(image_model, licence):
    assert licence_of(image_model) == licence
    assert licence == "unknown" or licence in LICENCE_URLS
