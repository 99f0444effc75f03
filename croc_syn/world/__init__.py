"""The exact world: synthetic scenes drawn from controlled English, with labels that are certain.

In: a prompt and a seed.
Out: an image whose scene is known, and an oracle that decides whether a scene satisfies a prompt.

Names are loaded on first use. docs/exact_world.md defines the controlled English.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = {
    "declarations.kinds": ("KINDS",),
    "declarations.places": ("PLACES", "TOPICS"),
    "declarations.lexicon": (
        "COLOURS",
        "LAYOUTS",
        "LIGHTINGS",
        "MATERIALS",
        "NUMBERS",
        "RELATIONS",
        "SHAPES",
        "SIZES",
        "TEXTURES",
        "WEATHERS",
    ),
    "declarations.languages": ("LANGUAGES",),
    "declarations.styles": ("STYLES", "USUAL"),
    "language.parser": ("PromptError", "parse"),
    "language.vocabulary": ("vocabulary",),
    "language.meaning": ("Meaning", "exclusive"),
    "translation": ("parse_translation", "translate"),
    "scenes.scene": ("VERSION", "Scene", "Thing", "read_scene"),
    "scenes.sampler": ("sample",),
    "scenes.oracle": ("all_supported", "all_visible", "satisfaction_score", "satisfies"),
    "scenes.scope": ("HeldOut", "OutOfScope", "Scope"),
    "drawing.renderer": ("Drawing", "draw", "rasterise", "render", "to_svg"),
    "contrasts.prompt_pairs": ("CONTRASTS", "Contrast", "Pair", "make_pair"),
    "contrasts.captions": ("describe",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f"croc_syn.world.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
