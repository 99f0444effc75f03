"""What may be done with an image, by the model that drew it.

The terms of a model say what may be done with its images, and they differ: the non-commercial licence of
FLUX.1-dev, for one, forbids to train a competing model on them. A name tells which terms to look up: it is
the ``license`` of the model's card on the Hub, or its ``license_name`` where that says ``other``.
"""

from __future__ import annotations

from croc_syn.painting.settings import known_models

UNKNOWN = "unknown"

# What an API draws has no card that names a licence. By OpenAI's terms of use the images belong to who asked
# for them, within the rest of those terms; the name is ours.
_OTHERS = {"exact": "apache-2.0", **dict.fromkeys(("gpt-image-1", "gpt-image-1-mini"), "openai-terms-of-use")}


def licence_of(image_model: str | None) -> str:
    """The licence of images that a model drew; ``unknown`` for a model that is not listed.

    Args:
        image_model: ``repo@revision``, as in the rows.
    """
    name = (image_model or "").partition("@")[0].removeprefix("openai/").removeprefix("openai:")
    listed = {model.model: model.licence for model in known_models().values()}
    return {**listed, **_OTHERS}.get(name) or UNKNOWN
