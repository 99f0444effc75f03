"""The manifest of a finished dataset folder: what made it, and the size and checksum of each file."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator
from typing_extensions import TypedDict

from croc.storage.files import read_json

MANIFEST = "manifest.json"


def _relative(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError("not a path inside the folder")
    return name


class ManifestFile(TypedDict):
    """A file: its size, checksum, and the numbers of rows and images in it."""

    bytes: int
    sha256: str
    rows: NotRequired[int]
    images: NotRequired[int]


class DatasetManifest(TypedDict):
    """The content of ``manifest.json``; ``sha256`` is the checksum of all else, absent in a draft."""

    recipe: dict[str, Any]
    files: dict[Annotated[str, AfterValidator(_relative)], ManifestFile]
    canary: NotRequired[str]
    sha256: NotRequired[str]


def read_dataset_manifest(
    folder: Path, missing: str = f"no {MANIFEST}: not a finished folder of data"
) -> DatasetManifest:
    """Read the manifest of a dataset folder.

    Args:
        folder: the dataset.
        missing: what to say if it has none.

    Raises:
        InputError: there is none, or a key is absent or has a value of another kind.
    """
    return read_json(folder / MANIFEST, missing, DatasetManifest)
