"""What may be done with an image, by the model that drew it.

The terms of a model say what may be done with its images, and they differ: the non-commercial licence of
FLUX.1-dev, for one, forbids to train a competing model on them. A name tells which terms to look up.
"""

from __future__ import annotations

UNKNOWN = "unknown"

LICENCES: dict[str, str] = {
    "exact": "apache-2.0",
    "black-forest-labs/FLUX.1-schnell": "apache-2.0",
    "black-forest-labs/FLUX.1-dev": "flux-1-dev-non-commercial-license",
    "stabilityai/stable-diffusion-3.5-large": "stabilityai-ai-community",
    "stabilityai/stable-diffusion-3.5-large-turbo": "stabilityai-ai-community",
    "stabilityai/stable-diffusion-3.5-medium": "stabilityai-ai-community",
    "gpt-image-1": "openai-terms-of-use",
    "gpt-image-1-mini": "openai-terms-of-use",
}
"""Licence by image model, without its revision; the words are those of the models' own cards."""


def licence_of(image_model: str | None) -> str:
    """The licence of images that a model drew; ``unknown`` for a model that is not listed.

    Args:
        image_model: ``repo@revision``, as in the rows.
    """
    name = (image_model or "").partition("@")[0].removeprefix("openai/").removeprefix("openai:")
    return LICENCES.get(name, UNKNOWN)
