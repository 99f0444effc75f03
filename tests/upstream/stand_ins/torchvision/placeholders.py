"""Names that are imported and never used."""

from __future__ import annotations

import importlib.util
import sys
import types


def placeholder(module: str, name: str) -> type:
    """A class of that name that raises when it is instantiated."""
    if name.startswith("__"):
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    def refuse(self, *_, **__):
        raise NotImplementedError(f"{module}.{name} is not part of the stand-in for torchvision")

    return type(name, (), {"__init__": refuse})


def register(name: str) -> types.ModuleType:
    """A module whose every attribute is a placeholder."""
    module = types.ModuleType(name)
    module.__path__ = []
    module.__spec__ = importlib.util.spec_from_loader(name, None, is_package=True)
    module.__getattr__ = lambda attribute: placeholder(name, attribute)
    sys.modules[name] = module
    return module
