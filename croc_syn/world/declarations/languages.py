"""The languages of the prompts; ``croc_syn/world/translation`` has their words."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from croc.checks.schema import ENGLISH

LANGUAGES: Mapping[str, str] = MappingProxyType(
    {ENGLISH: "English", "de": "German", "es": "Spanish", "fr": "French"}
)
"""The English name of each language by its ISO 639 code."""

__all__ = ["ENGLISH", "LANGUAGES"]
