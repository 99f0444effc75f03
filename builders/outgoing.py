"""What goes up to the Hub from a folder: the files of a dataset, model or Space, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from croc.errors import InputError
from croc.files import read_json, sha256_of

REPO_TYPES = {"syn": "dataset", "hum": "dataset", "model": "model", "space": "space"}
"""The kinds of things that can be published, and what the Hub calls them."""

# State of a training run, of no use to a reader; pickles among it.
_TRAINING = ("checkpoint-*", "optimizer.*", "scheduler.pt", "rng_state*.pth", "training_args.bin", "runs")
_TOKEN = re.compile(rb"\bhf_[A-Za-z0-9]{30,}")
_TEXTS = {
    ".md",
    ".json",
    ".jsonl",
    ".yaml",
    ".yml",
    ".txt",
    ".py",
    ".toml",
    ".cfg",
    ".html",
    ".css",
    ".js",
    "",
}


@dataclass(frozen=True)
class File:
    """A file that goes up: its path in the repository, where it lies, size and checksum."""

    path: str
    local: Path
    bytes: int
    sha256: str


def collect(kind: str, folder: Path) -> tuple[tuple[File, ...], list[str], str]:
    """The files of a folder that make up a version, what is left out, and the card's text.

    Args:
        kind: see :func:`publish`.
        folder: the folder; it is checked.

    Raises:
        InputError: it is not a finished folder of that kind, or it does not hold what it says.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    files, left_out = _of_dataset(kind, folder) if REPO_TYPES[kind] == "dataset" else _of_folder(kind, folder)
    if not any(file.path == "README.md" for file in files):
        raise InputError(
            f"{folder} has no README.md: the card is made with it, and nothing goes up without one"
        )
    card = (folder / "README.md").read_text("utf-8")
    head = card_head(card, folder / "README.md")
    if kind == "space" and not head.get("sdk"):
        raise InputError(f"{folder / 'README.md'}: a Space's card says which `sdk` runs it, such as gradio")
    return tuple(sorted(files, key=lambda file: file.path)), sorted(left_out), card


def card_head(card: str, where: Path) -> dict[str, Any]:
    """The metadata at the head of a card.

    Raises:
        InputError: there is none, or it is not YAML.
    """
    found = re.match(r"---\r?\n(.*?)\r?\n---(?:\r?\n|$)", card, re.DOTALL)
    try:
        head = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError as error:
        raise InputError(f"{where}: the metadata between the --- lines is not YAML ({error})") from None
    if not isinstance(head, dict):
        raise InputError(f"{where}: a card begins with metadata between two --- lines")
    return head


def _of_dataset(kind: str, folder: Path) -> tuple[list[File], list[str]]:
    """What the manifest of a built dataset names, and the manifest."""
    stored = read_json(folder / "manifest.json", "no manifest.json: the build is not finished; run it again")
    if not isinstance(stored, dict) or not isinstance(listed := stored.get("files"), dict):
        raise InputError(f"{folder / 'manifest.json'} is not the manifest of a built dataset")
    made = stored.get("recipe", {}).get("kind", kind)
    if made != kind:
        raise InputError(f"{folder} holds a {made} dataset; publish it with: croc publish {made}")
    if problems := _problems(folder, listed):
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        raise InputError(f"{folder} is not fit to publish: {'; '.join(problems[:5])}{more}")
    files = [File(path, folder / path, facts["bytes"], facts["sha256"]) for path, facts in listed.items()]
    manifest = folder / "manifest.json"
    files.append(File("manifest.json", manifest, manifest.stat().st_size, sha256_of(manifest)))
    known = {file.path for file in files}
    return files, [path for path in _walk(folder) if path not in known]


def _problems(folder: Path, listed: Mapping[str, Any]) -> list[str]:
    try:
        from builders.verify import verify
    except ModuleNotFoundError as error:
        if error.name != "builders.verify":
            raise
        return [
            f"{path} is not the file of the manifest"
            for path, facts in listed.items()
            if not (folder / path).is_file() or sha256_of(folder / path) != facts["sha256"]
        ]
    return list(verify(folder))


def _of_folder(kind: str, folder: Path) -> tuple[list[File], list[str]]:
    """Every file of a model or Space, but for hidden ones, caches and the state of a training run."""
    skip = _TRAINING if kind == "model" else ()
    paths = _walk(folder)
    out = [path for path in paths if any(fnmatch(step, each) for step in path.split("/") for each in skip)]
    kept = [path for path in paths if path not in out]
    if kind == "model":
        if "config.json" not in kept or not any(path.endswith(".safetensors") for path in kept):
            raise InputError(
                f"{folder} is not a checkpoint: it needs config.json and weights in .safetensors"
            )
        if pickles := [path for path in kept if path.endswith((".bin", ".pt", ".pth", ".pkl", ".pickle"))]:
            raise InputError(
                f"{folder / pickles[0]}: pickled weights are not published; save them as safetensors"
            )
    files = [File(p, folder / p, (folder / p).stat().st_size, sha256_of(folder / p)) for p in kept]
    return files, out


def _walk(folder: Path) -> list[str]:
    found = []
    for path in sorted(folder.rglob("*")):
        steps = path.relative_to(folder).parts
        if path.is_file() and not any(step.startswith(".") or step == "__pycache__" for step in steps):
            found.append("/".join(steps))
    return found


# ---- Secrets ----


def refuse_secrets(files: Sequence[File], secret: str | None) -> None:
    """Refuse to publish a text file that holds an access token.

    Args:
        files: what would go up.
        secret: the token in use; others are known by their form.

    Raises:
        InputError: a file holds one; the message names the file, not the token.
    """
    for file in files:
        if file.local.suffix.lower() in _TEXTS and file.bytes < 50_000_000:
            content = file.local.read_bytes()
            if _TOKEN.search(content) or (secret and secret.strip().encode() in content):
                raise InputError(f"{file.local} holds an access token; take it out (and revoke it)")


def without_secrets(text: str, secret: str | None) -> str:
    """A message in which no access token is left."""
    for each in {secret, (secret or "").strip()} - {None, ""}:
        text = text.replace(str(each), "<token>")
    return _TOKEN.sub(b"<token>", text.encode()).decode()
