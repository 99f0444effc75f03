"""Fingerprints of models that have no commit: folders and loaded models."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from croc.storage.files import sha256_of
from croc.storage.text_files import require_regular

# The files of a folder that change scores, and those that this program writes beside them about the model.
SCORING_FILES = ("*.safetensors", "pytorch_model*.bin", "*.json", "*.jinja", "*.txt", "*.model")
WORLD_FIGURES, WORLD_ARRAYS = "world.json", "world.npz"
_DESCRIPTIONS = {
    *("card.json", "results.json", "training.json", "calibration.json", "pretraining.json"),
    "graphs.json",  # the same model in another form
    WORLD_FIGURES,  # which images it can be trusted on
}


def folder_fingerprint(folder: Path, other: str | None = None) -> str:
    """A hash of weights and settings, and of another file; it does not depend on the folder's path.

    Files that only describe the model are left out, and so is the calibration, which a signature names by
    itself: a card's results keep the signature of the folder that they are stored in.
    """
    total = hashlib.sha256()
    names = {path.name for pattern in SCORING_FILES for path in folder.glob(pattern)} - _DESCRIPTIONS
    for path in sorted(folder / name for name in {*names, *([other] if other else [])}):
        if path.name == "config.json":
            require_regular(path)
            digest = hashlib.sha256(_without_calibration(path.read_bytes())).digest()
        else:
            digest = bytes.fromhex(sha256_of(path))
        total.update(path.name.encode() + digest)
    return total.hexdigest()[:12]


def _without_calibration(config: bytes) -> bytes:
    """A configuration in one order and spacing, without the calibration of its probabilities."""
    try:
        content = json.loads(config)
        own = content.pop("croc", None) or {}
        kept = {key: value for key, value in own.items() if key != "calibration"}
    except (ValueError, AttributeError, TypeError):
        return config  # whoever loads the model gets the error
    return json.dumps({**content, "croc": kept}, sort_keys=True).encode()


def model_fingerprint(model: Any) -> str:
    """A hash of the names, shapes and sums of a loaded model's weights; cheap even on a GPU."""
    total = hashlib.sha256(type(model).__name__.encode())
    for name, weight in sorted(model.state_dict().items()):
        value = weight.detach().double()
        total.update(f"{name}{tuple(weight.shape)}{value.sum():.9e}{value.abs().sum():.9e}".encode())
    return total.hexdigest()[:12]
