"""Licences of images, by image model.

The terms of a model also cover its images, and they differ: the non-commercial licence of FLUX.1-dev, for
example, forbids training a competing model on them. A licence is named as ``license`` on the model's card on
the Hub, or as ``license_name`` if ``license`` is ``other``.
"""

from __future__ import annotations

from croc_syn.painting.settings import known_models

UNKNOWN = "unknown"

# Models behind an API have no card. By OpenAI's terms of use the images belong to the user, subject to those
# terms; the name is ours.
_OTHERS = {"exact": "apache-2.0", **dict.fromkeys(("gpt-image-1", "gpt-image-1-mini"), "openai-terms-of-use")}


def licence_of(image_model: str | None) -> str:
    """The licence of a model's images; ``unknown`` for a model that is not listed.

    Args:
        image_model: ``repo@revision``, as in the rows.
    """
    name = (image_model or "").partition("@")[0].removeprefix("openai/").removeprefix("openai:")
    listed = {model.model: model.licence for model in known_models().values()}
    return {**listed, **_OTHERS}.get(name) or UNKNOWN
