"""From a scene to controlled English that states it."""

from __future__ import annotations

from croc_syn.world.scene import Scene


def describe(scene: Scene, seed: int = 0) -> str:
    """A prompt that the scene satisfies."""
    raise NotImplementedError
