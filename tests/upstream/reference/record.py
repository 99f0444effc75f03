"""Writing what a reference computed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file


def save(folder: Path, model: torch.nn.Module | None, arrays: Mapping[str, Any]) -> None:
    """Write ``weights.safetensors`` (without a model: nothing) and ``reference.npz``."""
    folder.mkdir(parents=True, exist_ok=True)
    if model is not None:
        # Copies: weights that share memory would not be saved.
        state = {name: value.detach().clone().contiguous() for name, value in model.state_dict().items()}
        save_file(state, folder / "weights.safetensors")
    as_numpy = {
        name: value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        for name, value in arrays.items()
    }
    np.savez(folder / "reference.npz", **as_numpy)
