"""Where imported checkpoints are, and what is said about one that has not been imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from croc.errors import CrocError, InputError
from croc.scorers.phi4_multimodal.layout import MODEL_TYPE

BASE = "microsoft/Phi-4-multimodal-instruct"
BASE_REVISION = "607bf62a754018e31fb4b55abbc7d72cce4ffee5"
PAPER = "nllg/crocscore"
"""The checkpoint of the paper's authors."""

RECORD = "import.json"
"""File of an imported folder that says what it was made from; it is written last."""

ADAPTER = "vision-lora"
"""Folder of the adapter, inside an imported folder whose weights are without it."""


def default_folder(name: str, revision: str | None, *, separate: bool) -> Path:
    """The folder of the import of a repository's commit, beside the cache of the Hub.

    Args:
        name: Hub id.
        revision: commit.
        separate: whether the adapter stays separate from the weights.

    Raises:
        InputError: the checkpoint is a folder of this machine.
    """
    if revision is None:
        raise InputError(f"{name} is a folder of this machine: say where to write with out= (--out)")
    return _imports(name, separate) / revision


def find_imported(name: str, revision: str | None, *, separate: bool = False) -> Path | None:
    """The folder that a repository was imported to; None if it was not.

    Args:
        name: Hub id.
        revision: commit; None takes the only one that was imported.
        separate: see :func:`default_folder`.

    Raises:
        InputError: several commits were imported, and ``revision`` does not say which is meant.
    """
    folders = sorted(path.parent for path in _imports(name, separate).glob(f"{revision or '*'}/{RECORD}"))
    if len(folders) > 1:
        commits = ", ".join(folder.name for folder in folders)
        raise InputError(f"several commits of {name} were imported: choose one with revision= ({commits})")
    return folders[0] if folders else None


def is_separate(folder: Path) -> bool:
    """Whether the weights in a folder are without the adapter that lies beside them."""
    return read_record(folder).get("adapter") == "separate"


def read_record(folder: Path) -> dict[str, Any]:
    """What an imported folder was made from; empty for other folders."""
    try:
        content = json.loads((folder / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def needs_import(source: str | Path, revision: str | None) -> bool:
    """Whether a folder or repository holds a checkpoint in Microsoft's layout; asks nothing of the Hub.

    A repository is known by its name, or by its configuration where that is in the cache.
    """
    if Path(source).is_dir():
        return bool(_model_type(Path(source) / "config.json") == MODEL_TYPE)
    if source in (BASE, PAPER):
        return True
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(str(source), "config.json", revision=revision)
    return isinstance(found, str) and bool(_model_type(Path(found)) == MODEL_TYPE)


def not_imported(source: str | Path, revision: str | None, *, separate: bool = False) -> CrocError:
    """The error for a checkpoint in Microsoft's layout: which command makes it usable."""
    words = ["croc import-checkpoint", str(source)]
    words += ["--revision", revision] if revision else []
    words += ["--keep-adapter"] if separate else []
    words += ["--out", "FOLDER"] if Path(source).is_dir() else []
    result = "use model=FOLDER" if Path(source).is_dir() else "use the same name again"
    return CrocError(
        f"{source} has Microsoft's layout of Phi-4-multimodal, which needs code from the Hub: run "
        f"`{' '.join(words)}` once, then {result}"
    )


def _imports(name: str, separate: bool) -> Path:
    from huggingface_hub import constants

    kind = "imported-for-training" if separate else "imported"
    return Path(constants.HF_HOME) / "croc" / kind / name.replace("/", "--")


def _model_type(config: Path) -> Any:
    try:
        content = json.loads(config.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return content.get("model_type") if isinstance(content, dict) else None
