"""What a scorer needs to run here: packages, weights, memory, a key. Nothing is downloaded to find out."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from croc.errors import InputError
from croc.scorers.phi4_multimodal.imported import find_imported
from croc.scorers.registry import ScorerEntry, family_of

_DISTRIBUTION = "croc-t2i"
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def needs_of(entry: ScorerEntry) -> list[str]:
    """What is absent for a scorer, with the command that gets it, and what its weights take.

    Args:
        entry: of the registry, or of a plug-in.

    Returns:
        Phrases without a full stop; none for a scorer that runs here and has no weights.
    """
    try:
        family = family_of(entry)
    except InputError as error:
        return [str(error)]
    return [*_packages(entry, family), *_key(entry, family), *_weights(entry, family)]


def memory_of(entry: ScorerEntry) -> str | None:
    """The GPU memory that the weights of a registered model take, such as ``7.51 GB``; None if unknown."""
    if entry.parameters is None:
        return None
    return _size(entry.parameters * 10**6 * _BYTES[_dtype(family_of(entry), entry)])


def missing_packages(extra: str) -> list[str]:
    """The packages of an extra of this distribution that are absent here, or of another version."""
    from packaging.requirements import Requirement

    missing = []
    for text in requires(_DISTRIBUTION) or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or marker.evaluate({"extra": ""}) or not marker.evaluate({"extra": extra}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            missing.append(requirement.name)
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            missing.append(f"{requirement.name}{requirement.specifier} ({found} is installed)")
    return missing


def _packages(entry: ScorerEntry, family: Any) -> Iterator[str]:
    if entry.extra is not None and (missing := missing_packages(entry.extra)):
        yield f'missing {", ".join(missing)}: pip install "{_DISTRIBUTION}[{entry.extra}]"'
    # Packages of some options alone, such as spaCy's pipelines, which no index of packages has.
    packages: Mapping[str, str] = getattr(family, "packages", dict)(**_options_of(entry, family, "packages"))
    for module, command in packages.items():
        if find_spec(module) is None:
            yield f"missing {module}: {command}"


def _options_of(entry: ScorerEntry, family: Any, method: str) -> dict[str, Any]:
    function = getattr(family, method, None)
    names = inspect.signature(function).parameters if function is not None else {}
    return {name: value for name, value in entry.options.items() if name in names}


def _key(entry: ScorerEntry, family: Any) -> Iterator[str]:
    default = getattr(family, "KEY_VARIABLE", None)
    if default is None:
        return
    variable = str(entry.options.get("key_variable", default))
    if not os.environ.get(variable):
        yield f"missing a key of the service: set the environment variable {variable}"


def _weights(entry: ScorerEntry, family: Any) -> Iterator[str]:
    if entry.model is None:
        return
    folder = Path(entry.model) if Path(entry.model).is_dir() else None
    # What `croc import-checkpoint` made of a repository stands for it.
    folder = (
        folder or find_imported(entry.model, entry.revision) or _cached_folder(entry.model, entry.revision)
    )
    one = entry.options.get("open_clip_weights") or entry.options.get("weights")
    files = [] if folder is None else [folder / one] if one else sorted(folder.glob("*.safetensors"))
    files = [file for file in files if file.is_file()]
    if files:
        yield f"{_size(sum(file.stat().st_size for file in files))} of weights are here already"
    else:
        if entry.gated and not _has_token():
            from huggingface_hub import constants

            yield (
                f"accept the licence at {constants.ENDPOINT}/{entry.model} and log in with `hf auth login`"
            )
        yield "downloads its weights"
    if count := _count(files) or (entry.parameters or 0) * 10**6:
        dtype = _dtype(family, entry)
        yield f"{_size(count * _BYTES[dtype])} of GPU memory for the weights in {dtype}"


def _cached_folder(repository: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for file in ("config.json", "tokenizer_config.json"):
        found = try_to_load_from_cache(repository, file, revision=revision)
        if isinstance(found, str):
            return Path(found).parent
    return None


def _has_token() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def _count(files: list[Path]) -> int:
    """Number of weights in safetensors files, from their headers; 0 for other files."""
    total = 0
    for path in files:
        if path.suffix != ".safetensors":
            return 0
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        for name, tensor in header.items():
            if name != "__metadata__":
                size = 1
                for side in tensor["shape"]:
                    size *= side
                total += size
    return total


def _dtype(family: Any, entry: ScorerEntry) -> str:
    """The type of the weights on a GPU; :class:`~croc.scorers.loading.Checkpoint` has the default."""
    parameter = inspect.signature(family).parameters.get("dtype")
    return str(entry.options.get("dtype") or (parameter and parameter.default) or "bfloat16")


def _size(count: float) -> str:
    unit = "GB" if count >= 1e9 else "MB" if count >= 1e6 else "kB"
    return f"{count / {'GB': 1e9, 'MB': 1e6, 'kB': 1e3}[unit]:.3g} {unit}"
