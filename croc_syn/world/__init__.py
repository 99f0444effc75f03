"""The exact world: controlled English in, images whose content is certain out.

Names are loaded when they are first used. docs/exact_world.md says what the controlled English means.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "VERSION": "scenes.scene",
    "Scene": "scenes.scene",
    "Thing": "scenes.scene",
    "scene_of": "scenes.scene",
    "PromptError": "language.grammar",
    "parse": "language.grammar",
    "vocabulary": "language.grammar",
    "Meaning": "language.meaning",
    "exclusive": "language.meaning",
    "sample": "scenes.sampler",
    "readable": "scenes.sampler",
    "Drawing": "drawing.drawing",
    "draw": "drawing.drawing",
    "render": "drawing.drawing",
    "rasterise": "drawing.drawing",
    "to_svg": "drawing.drawing",
    "holds": "scenes.oracle",
    "margin": "scenes.oracle",
    "describe": "contrasts.captions",
    "CONTRASTS": "contrasts.contrasts",
    "Contrast": "contrasts.contrasts",
    "Pair": "contrasts.contrasts",
    "make_pair": "contrasts.contrasts",
    "KINDS": "declarations.kinds",
    "SETTINGS": "declarations.settings",
    "TOPICS": "declarations.settings",
    "COLOURS": "declarations.lexicon",
    "SIZES": "declarations.lexicon",
    "TEXTURES": "declarations.lexicon",
    "MATERIALS": "declarations.lexicon",
    "SHAPES": "declarations.lexicon",
    "LAYOUTS": "declarations.lexicon",
    "LIGHTINGS": "declarations.lexicon",
    "WEATHERS": "declarations.lexicon",
    "RELATIONS": "declarations.lexicon",
    "NUMBERS": "declarations.lexicon",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"croc_syn.world.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
