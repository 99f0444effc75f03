"""What goes up to the Hub from a folder: the files of a dataset, model or Space, checked."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path

from croc.checks.manifest import read_dataset_manifest
from croc.errors import InputError
from croc.results.hub_metadata import BENCHMARK
from croc.storage.files import sha256_of
from hub_cards.facts import LABEL_NOISE

REPO_TYPES = {
    **dict.fromkeys(("syn", "hum", "graded", "train"), "dataset"),
    "model": "model",
    "space": "space",
}
"""The kinds of things that can be published, and what the Hub calls them."""

CARD, CROISSANT = "README.md", "croissant.json"

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
    """A file that goes up: its path in the repository, where its content is, size and checksum."""

    path: str
    source: Path | bytes
    size: int
    sha256: str

    @classmethod
    def of(cls, path: str, source: Path | bytes) -> File:
        """A file whose size and checksum are taken from its content."""
        if isinstance(source, Path):
            return cls(path, source, source.stat().st_size, sha256_of(source))
        return cls(path, source, len(source), hashlib.sha256(source).hexdigest())

    def read(self) -> bytes:
        """The content."""
        return self.source.read_bytes() if isinstance(self.source, Path) else self.source


def collect(
    kind: str, folder: Path, repo: str, *, benchmark: bool = False
) -> tuple[tuple[File, ...], list[str], str]:
    """The files of a folder that make up a version, what is left out, and the card's text.

    The card is made from the folder's data for this repository; one that lies there is not taken.

    Args:
        kind: one of ``REPO_TYPES``.
        folder: the folder; it is checked, but for what is in its images: their checksums are.
        repo: ``organisation/name``, which the card's examples load.
        benchmark: with an ``eval.yaml``, which declares a dataset of checks as a benchmark.

    Raises:
        InputError: it is not a finished folder of that kind, or it does not hold what it says.
    """
    if benchmark and kind not in ("syn", "hum"):
        raise InputError(f"--benchmark is for a dataset of checks (syn or hum), not for {kind}")
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    files, left_out = _of_dataset(kind, folder) if REPO_TYPES[kind] == "dataset" else _of_folder(kind, folder)
    if kind == "space":
        files += _module(folder, repo)
    card = _card(kind, folder, repo)
    made = {CARD: card}
    if benchmark:
        made[BENCHMARK] = _benchmark(folder)
    if kind == "model":
        made |= _results_for_the_hub(folder)
    if REPO_TYPES[kind] == "dataset":
        if any(file.path == CROISSANT for file in files):
            made[CROISSANT] = _croissant(folder, repo)
    else:
        names = sorted({*made, *(file.path for file in files)})
        made[CARD] = card = f"{card.rstrip()}\n\n<!-- published: {json.dumps(names)} -->\n"
    files = [file for file in files if file.path not in made]
    files += [File.of(path, text.encode()) for path, text in made.items()]
    return tuple(sorted(files, key=lambda file: file.path)), sorted(left_out), card


def published_before(card: str) -> frozenset[str]:
    """The files that the card of a model or Space says were published with it."""
    found = re.search(r"^<!-- published: (\[.*\]) -->$", card, re.MULTILINE)
    try:
        return frozenset(map(str, json.loads(found[1]))) if found else frozenset()
    except ValueError:
        return frozenset()


def _results_for_the_hub(folder: Path) -> dict[str, str]:
    """The files of ``.eval_results`` of a model; none without results on a dataset of the Hub."""
    from croc.results.hub_metadata import eval_results_files
    from hub_cards import model_report

    report = model_report(folder)
    return {} if report is None else eval_results_files(report)


def _benchmark(folder: Path) -> str:
    from hub_cards import benchmark

    return benchmark(folder)


def _croissant(folder: Path, repo: str) -> str:
    from hub_cards import croissant

    return json.dumps(croissant(folder, repo=repo), indent=1, ensure_ascii=False) + "\n"


def _card(kind: str, folder: Path, repo: str) -> str:
    from hub_cards import dataset_card, model_card, space_card

    make = {"dataset": dataset_card, "model": model_card, "space": space_card}[REPO_TYPES[kind]]
    return make(folder, repo=repo)


def _of_dataset(kind: str, folder: Path) -> tuple[list[File], list[str]]:
    """What the manifest of a built dataset names, and the manifest."""
    stored = read_dataset_manifest(folder, "no manifest.json: the build is not finished; run it again")
    listed, made = stored["files"], stored["recipe"].get("kind", kind)
    if made != kind:
        raise InputError(f"{folder} holds a {made} dataset; publish it with: croc publish {made}")
    if problems := _problems(folder):
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        raise InputError(f"{folder} is not fit to publish: {'; '.join(problems[:5])}{more}")
    files = [File(path, folder / path, facts["bytes"], facts["sha256"]) for path, facts in listed.items()]
    files.append(File.of("manifest.json", folder / "manifest.json"))
    if (folder / LABEL_NOISE).is_file() and LABEL_NOISE not in listed:  # measured after the build
        files.append(File.of(LABEL_NOISE, folder / LABEL_NOISE))
    known = {file.path for file in files}
    return files, [path for path in _walk(folder) if path not in known]


def _problems(folder: Path) -> list[str]:
    from builders.verify import verify

    return verify(folder, images=False)


def _of_folder(kind: str, folder: Path) -> tuple[list[File], list[str]]:
    """Every file of a model or Space, but for hidden ones, caches and the state of a training run."""
    skip = _TRAINING if kind == "model" else ()
    paths = _walk(folder)
    out = [
        path for path in paths if any(fnmatch(step, pattern) for step in path.split("/") for pattern in skip)
    ]
    kept = [path for path in paths if path not in out]
    for path in kept:
        target = (folder / path).resolve()
        if not target.is_relative_to(folder.resolve()):
            raise InputError(
                f"{folder} has a symbolic link to {target}, which is outside of the folder and would be "
                "published: replace the link by the file itself, or remove it"
            )
    if kind == "model":
        if "config.json" not in kept or not any(path.endswith(".safetensors") for path in kept):
            raise InputError(
                f"{folder} is not a checkpoint: it needs config.json and weights in .safetensors"
            )
        if pickles := [path for path in kept if path.endswith((".bin", ".pt", ".pth", ".pkl", ".pickle"))]:
            raise InputError(
                f"{folder / pickles[0]}: pickled weights are not published; save them as safetensors"
            )
    return [File.of(path, folder / path) for path in kept], out


def _module(folder: Path, repo: str) -> list[File]:
    """The evaluate module that a Space carries: ``evaluate.load("ORG/NAME")`` reads ``NAME.py`` in it."""
    from hub_cards import space_module

    if (name := space_module(folder)) is None:
        return []
    try:
        found = find_spec(name)
    except ImportError:
        found = None
    if found is None or found.origin is None:
        raise InputError(f"{folder / 'space.yaml'}: the module {name!r} is not installed")
    return [File.of(f"{repo.partition('/')[2]}.py", Path(found.origin))]


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
        if Path(file.path).suffix.lower() in _TEXTS and file.size < 50_000_000:
            content = file.read()
            if _TOKEN.search(content) or (secret and secret.strip().encode() in content):
                raise InputError(f"{file.path} holds an access token; take it out (and revoke it)")


def without_secrets(text: str, secret: str | None) -> str:
    """A message in which no access token is left."""
    for known in filter(None, {secret, (secret or "").strip()}):
        text = text.replace(known, "<token>")
    return _TOKEN.sub(b"<token>", text.encode()).decode()
