"""The exact world: controlled English in, images whose content is certain out.

Names are loaded when they are first used. docs/exact_world.md says what the controlled English means.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "VERSION": "scene",
    "Scene": "scene",
    "Thing": "scene",
    "scene_of": "scene",
    "PromptError": "grammar",
    "parse": "grammar",
    "vocabulary": "grammar",
    "Meaning": "meaning",
    "exclusive": "meaning",
    "sample": "sampler",
    "readable": "sampler",
    "Drawing": "drawing",
    "draw": "drawing",
    "render": "drawing",
    "rasterise": "drawing",
    "to_svg": "drawing",
    "holds": "oracle",
    "margin": "oracle",
    "describe": "captions",
    "CONTRASTS": "contrasts",
    "Contrast": "contrasts",
    "Pair": "contrasts",
    "make_pair": "contrasts",
    "KINDS": "kinds",
    "SETTINGS": "settings",
    "TOPICS": "settings",
    "COLOURS": "lexicon",
    "SIZES": "lexicon",
    "TEXTURES": "lexicon",
    "MATERIALS": "lexicon",
    "SHAPES": "lexicon",
    "LAYOUTS": "lexicon",
    "LIGHTINGS": "lexicon",
    "WEATHERS": "lexicon",
    "RELATIONS": "lexicon",
    "NUMBERS": "lexicon",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"croc_syn.world.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
