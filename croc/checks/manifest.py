"""The manifest of a finished dataset folder: what made it, and the size and checksum of each file.

A manifest lists the files with their sizes and checksums, and has a checksum of itself, which is the revision
of the data. That finds damage, mistakes and edits of single files. It does not find a forger who writes a new
manifest: for that, compare the revision with one from another place (``croc verify --digest``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from croc.errors import InputError
from croc.storage.checksums import changed_files
from croc.storage.files import checksum_of, read_json

MANIFEST = "manifest.json"
_LONGEST_NAME = 250  # characters of a path; file systems allow 255 bytes for a name
_Count = Annotated[int, Field(ge=0)]


def _relative(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError("not a path inside the folder")
    if len(name) > _LONGEST_NAME:
        raise ValueError(f"a path has at most {_LONGEST_NAME} characters")
    return name


class ManifestFile(TypedDict):
    """A file: its size, checksums, and the numbers of rows and images in it.

    ``quick`` is :func:`croc.storage.checksums.quick_checksum`, which manifests of earlier versions lack.
    """

    bytes: _Count
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    quick: NotRequired[Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]]
    rows: NotRequired[_Count]
    images: NotRequired[_Count]


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


def digest_of_manifest(content: Mapping[str, Any]) -> str:
    """The checksum that a manifest of this content states of itself."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return checksum_of(rest)


def require_files(
    folder: Path, manifest: DatasetManifest, files: Iterable[Path], *, whole: bool = False
) -> None:
    """Require that files of a folder are those of its manifest, and the manifest the one that was written.

    Args:
        folder: the folder.
        manifest: from :func:`read_dataset_manifest`.
        files: the files that will be read.
        whole: compare all bytes; see :func:`croc.storage.checksums.changed_files`.

    Raises:
        InputError: a file was changed, is missing or is not in the manifest, or the manifest was edited.
    """
    if manifest.get("sha256") != digest_of_manifest(manifest):
        raise InputError(f"{folder / MANIFEST}: its checksum does not match its content, so it was edited")
    names = [_name_in(folder, file) for file in files]
    if strays := [name for name in names if name not in manifest["files"]]:
        raise InputError(f"{folder}: {strays[0]} is not in the manifest; move it away")
    problems = list(changed_files(folder, {name: manifest["files"][name] for name in names}, whole=whole))
    if problems:
        more = f", and {len(problems) - 1} more files" if len(problems) > 1 else ""
        raise InputError(
            f"{folder}: {problems[0]}{more}; the data are not those of the manifest: build or download them "
            "again"
        )


def _name_in(folder: Path, file: Path) -> str:
    """The path of a file in the folder; its links are not followed, as a download of the Hub has them."""
    for base in (folder, folder.absolute(), folder.resolve()):
        if file.is_relative_to(base):
            return file.relative_to(base).as_posix()
    return str(file)
