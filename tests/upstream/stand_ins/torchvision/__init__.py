"""Stands in for torchvision, which depends on another build of torch than the one that is installed.

Written for these tests after torchvision's documentation. Only what the reference packages compute with is
here; whatever else they import exists by name and raises when it is used.
"""

from . import transforms
from .placeholders import register

datasets, io, models, ops, utils = (
    register(f"{__name__}.{name}") for name in ("datasets", "io", "models", "ops", "utils")
)
for _name in ("ops.misc", "datasets.utils", "datasets.folder", "models.feature_extraction"):
    register(f"{__name__}.{_name}")

__all__ = ["datasets", "io", "models", "ops", "transforms", "utils"]
__version__ = "0.0.0+stand.in"
