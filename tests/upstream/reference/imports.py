"""Importing single modules of packages whose ``__init__`` needs what is not installed."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
import types
from pathlib import Path

SITE = Path(sysconfig.get_paths()["purelib"])


def without_init(*packages: str) -> None:
    """Register packages, parents first, without running their ``__init__``."""
    for name in packages:
        module = types.ModuleType(name)
        module.__path__ = [str(SITE.joinpath(*name.split(".")))]
        module.__spec__ = importlib.util.spec_from_loader(name, None, is_package=True)
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)


def unused(*modules: str) -> None:
    """Register modules that are imported and never used: their attributes are empty classes."""
    for name in modules:
        module = types.ModuleType(name)
        module.__path__ = []
        module.__spec__ = importlib.util.spec_from_loader(name, None, is_package=True)

        def attribute(wanted: str, module: str = name) -> type:
            if wanted.startswith("__"):
                raise AttributeError(wanted)
            return type(wanted, (), {"__module__": module})

        module.__getattr__ = attribute
        sys.modules[name] = module
