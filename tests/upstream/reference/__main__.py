"""Compute what the reference packages give: ``python -m reference FOLDER [FAMILY …]``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import torch

FAMILIES = ("clip", "lavis", "siglip", "t2v", "image_reward")

if __name__ == "__main__":
    torch.manual_seed(0)
    folder = Path(sys.argv[1])
    for family in sys.argv[2:] or FAMILIES:
        importlib.import_module(f"reference.{family}").record(folder)
