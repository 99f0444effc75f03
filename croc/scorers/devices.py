"""PyTorch and the devices that it has here."""

from __future__ import annotations

from typing import Any

from croc.errors import InputError, MissingExtra


def require_torch() -> Any:
    """The module torch.

    Raises:
        MissingExtra: it or transformers is not installed.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtra("running a model", "score") from error
    assert transformers is not None
    return torch


def find_device(name: str) -> Any:
    """A torch device that this machine has.

    Raises:
        InputError: PyTorch does not know it, or this machine has none.
    """
    torch = require_torch()
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise InputError(f"device {name!r} is unknown: use cpu, cuda, cuda:1, mps or auto") from None
    if device.type == "cuda" and not (device.index or 0) < torch.cuda.device_count():
        raise InputError(f"device {name!r}: PyTorch finds {torch.cuda.device_count()} CUDA GPUs here")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device {name!r}: PyTorch cannot use Apple's GPU here")
    return device
