"""Safetensors files of a checkpoint, in a folder or on the Hub: what is in them, and one weight at a time."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from croc.errors import CrocError, InputError
from croc.storage.hub_access import cached, is_offline, require_readable, require_source

_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Weight:
    """One weight: its file, and what the file's header says of it."""

    file: str
    shape: tuple[int, ...]
    dtype: str


@dataclass
class Source:
    """A folder, or a commit of a repository on the Hub, of which only the files that are asked for are read.

    Attributes:
        name: path or Hub id.
        revision: commit; for a folder None. A branch or tag becomes the commit that it points to.
    """

    name: str
    revision: str | None = None
    _files: dict[str, Path] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        require_source(self.name)
        if self.is_folder:
            if self.revision is not None:
                raise InputError(f"{self.name} is a folder: a revision is for a repository of the Hub")
            return
        # The folder of a file in the cache has the name of the commit.
        self.revision = self.file("config.json").parent.name

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of this machine."""
        return Path(self.name).is_dir()

    @property
    def pinned(self) -> str:
        """``NAME@COMMIT``, or the name of the folder without its path."""
        return Path(self.name).resolve().name if self.is_folder else f"{self.name}@{self.revision}"

    def file(self, name: str) -> Path:
        """The path of a file, which is downloaded if necessary.

        Raises:
            CrocError: there is none, or it cannot be downloaded.
        """
        if name not in self._files:
            self._files[name] = self._in_folder(name) if self.is_folder else self._downloaded(name)
        return self._files[name]

    def has(self, name: str) -> bool:
        """Whether a file exists.

        Raises:
            CrocError: the Hub does not answer.
        """
        if name in self._files:
            return True
        if self.is_folder:
            return (Path(self.name) / name).is_file()
        from huggingface_hub import HfApi, constants
        from huggingface_hub.errors import HfHubHTTPError

        if cached(self.name, self.revision, name) or is_offline():
            return cached(self.name, self.revision, name)
        try:
            return HfApi(endpoint=constants.ENDPOINT).file_exists(self.name, name, revision=self.revision)
        except (HfHubHTTPError, OSError):
            require_readable(self.name, self.revision, name)  # says why
            raise

    def json(self, name: str) -> dict[str, Any]:
        """The content of a JSON file.

        Raises:
            CrocError: there is none, or it cannot be read.
        """
        try:
            content = json.loads(self.file(name).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{self.pinned}: {name} cannot be read ({error})") from None
        if not isinstance(content, dict):
            raise InputError(f"{self.pinned}: {name} must be a mapping of keys to values")
        return content

    def weights(self, prefix: str = "") -> dict[str, Weight]:
        """The weights whose names begin with ``prefix``; only the files that hold them are read.

        Raises:
            CrocError: there are no safetensors files, or one is missing or damaged.
        """
        if self.has(_INDEX):
            listed = self.json(_INDEX).get("weight_map")
            if not isinstance(listed, dict):
                raise InputError(f"{self.pinned}: {_INDEX} has no weight_map")
            files = sorted({file for name, file in listed.items() if name.startswith(prefix)})
        else:
            files = self._single_files()
        found: dict[str, Weight] = {}
        for file in files:
            found |= {name: w for name, w in self._header(file).items() if name.startswith(prefix)}
        return found

    def _single_files(self) -> list[str]:
        if not self.is_folder:
            return ["model.safetensors"]
        files = sorted(path.name for path in Path(self.name).glob("*.safetensors"))
        if not files:
            pickles = sorted(path.name for path in Path(self.name).glob("*.bin"))
            hint = f"; {pickles[0]} is a pickle, which could run code" if pickles else ""
            raise InputError(f"{self.name} has no safetensors files{hint}")
        return files

    def _header(self, file: str) -> dict[str, Weight]:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.file(file), framework="pt") as opened:
                slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118  no mapping
                return {
                    name: Weight(file, tuple(part.get_shape()), part.get_dtype())
                    for name, part in slices.items()
                }
        except SafetensorError as error:
            raise InputError(f"{self.pinned}: {file} is damaged or incomplete ({error})") from None

    def _in_folder(self, name: str) -> Path:
        path = Path(self.name) / name
        if not path.is_file():
            raise InputError(f"{self.name} has no {name}")
        return path

    def _downloaded(self, name: str) -> Path:
        from huggingface_hub import hf_hub_download

        if not cached(self.name, self.revision, name):
            require_readable(self.name, self.revision, name)
        try:
            return Path(hf_hub_download(self.name, name, revision=self.revision))
        except OSError as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise CrocError(f"{self.pinned}: {name} cannot be downloaded ({reason})") from error


def read_weight(files: Mapping[str, str], file: str, name: str) -> Any:
    """One weight as a torch tensor; nothing else of the file is read into memory."""
    from safetensors import safe_open

    with safe_open(files[file], framework="pt") as opened:
        return opened.get_tensor(name)


def size_of(weights: Collection[Weight]) -> int:
    """Number of bytes of weights as they are stored."""
    from math import prod

    widths = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4}
    return sum(prod(weight.shape) * widths.get(weight.dtype, 1) for weight in weights)
