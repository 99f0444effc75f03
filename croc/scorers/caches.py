"""Caches of keys and values of transformers."""

from __future__ import annotations

import copy
from typing import Any


def copy_cache(cache: Any) -> Any:
    """A copy of a cache; selecting rows of it does not change the original."""
    from transformers.cache_utils import DynamicLayer

    layers = getattr(cache, "layers", ())
    if not layers or not all(isinstance(layer, DynamicLayer) for layer in layers):
        return copy.deepcopy(cache)
    # Selecting rows creates new tensors, so there is no need to copy them here.
    other = copy.copy(cache)
    other.layers = [copy.copy(layer) for layer in layers]
    return other
