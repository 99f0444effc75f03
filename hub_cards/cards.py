"""Cards from data: a template says how, the files of a folder say what; nothing is written by hand."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import metadata as installed
from pathlib import Path
from typing import Any

import yaml

from croc import __version__
from croc.errors import InputError
from croc.rendering.formats import interval
from croc.results import hub_metadata
from croc.storage.files import read_json
from croc.storage.plain_yaml import dump_yaml
from croc.storage.text_files import parse_yaml, require_regular
from croc.verdict.records import DIRECTION_NAMES
from croc.verdict.report import Report
from croc.wording import counted, signed
from hub_cards.facts import DEFAULT_VIEW, PROPERTY_VIEW, Facts, read_facts

CARD = "README.md"
TITLES = {
    "syn": "CROCsyn: contrastive robustness checks of text-to-image metrics",
    "hum": "CROChum: human-supervised contrastive robustness checks of text-to-image metrics",
    "graded": "CROCgraded: images of one prompt with more and more errors",
    "train": "CROC training pairs: does this image show this prompt?",
}
REPOS = {"syn": "croc/syn", "hum": "croc/hum", "graded": "croc/graded", "train": "croc/train"}
FIGURE = "calibration.png"
PAPER = "https://arxiv.org/abs/2505.11314"
BIBTEX = """@article{croc2025,
  title  = {{CROC}: Evaluating and Training {T2I} Metrics with Pseudo- and Human-Labeled Contrastive
            Robustness Checks},
  year   = {2025},
  eprint = {2505.11314},
  archivePrefix = {arXiv},
}"""

# Identifiers that the Hub knows; what else decides about images is "other", with its name beside it.
_HUB_LICENCES = {
    "apache-2.0",
    "mit",
    "cc-by-4.0",
    "cc-by-sa-4.0",
    "cc-by-nc-4.0",
    "cc0-1.0",
    "unknown",
    "openrail",
}
LICENCE_URLS = {
    "apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "cc-by-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "flux-1-dev-non-commercial-license": (
        "https://huggingface.co/black-forest-labs/FLUX.1-dev/blob/main/LICENSE.md"
    ),
    "stabilityai-ai-community": (
        "https://huggingface.co/stabilityai/stable-diffusion-3.5-large/blob/main/LICENSE.md"
    ),
    "nvidia-open-model-license": (
        "https://www.nvidia.com/en-us/agreements/enterprise-software/nvidia-open-model-license/"
    ),
    "openai-terms-of-use": "https://openai.com/policies/terms-of-use/",
}
"""Where the terms of a licence are."""

_SIZES = {
    1_000: "n<1K",
    10_000: "1K<n<10K",
    100_000: "10K<n<100K",
    1_000_000: "100K<n<1M",
    10_000_000: "1M<n<10M",
}
_MARK = re.compile(r"<!-- card of (?P<repo>\S+), template (?P<mark>[0-9a-f]{12}) -->")


def dataset_card(folder: str | Path | Facts, *, repo: str | None = None) -> str:
    """The card of a finished folder of data.

    Args:
        folder: a folder with a ``manifest.json``, as the builders make it, or its facts.
        repo: Hub id that the card's examples name; None takes the usual one of its kind.

    Returns:
        The text of ``README.md``: metadata, then Markdown.

    Raises:
        InputError: the folder is not finished.
    """
    facts = folder if isinstance(folder, Facts) else read_facts(folder)
    picture = (facts.folder / "examples.png").is_file()
    return _fill(
        "dataset.md.j2",
        _dataset_head(facts),
        repo or repo_of(facts),
        facts=facts,
        columns=facts.columns,
        title=title_of(facts),
        picture=picture,
        urls=LICENCE_URLS,
    )


def title_of(facts: Facts) -> str:
    """The title of a dataset: its recipe's, or that of its kind."""
    return str(facts.recipe.get("title") or TITLES.get(facts.kind, facts.kind))


def repo_of(facts: Facts) -> str:
    """Where a dataset is published when nobody says otherwise."""
    return str(facts.recipe.get("repo") or REPOS.get(facts.kind, f"croc/{facts.kind}"))


def _dataset_head(facts: Facts) -> dict[str, Any]:
    from datasets import DatasetInfo
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCardData

    licences = facts.values("license")
    named = sorted({name if name in _HUB_LICENCES else "other" for name in licences}) or ["unknown"]
    human = facts.kind == "hum"
    data = DatasetCardData(
        pretty_name=title_of(facts).partition(":")[0],
        language=list(facts.values("language")) or ["en"],
        license=named if len(named) > 1 else named[0],
        annotations_creators=["crowdsourced" if human else "machine-generated"],
        size_categories=[next((word for bound, word in _SIZES.items() if facts.rows < bound), "n>10M")],
        task_categories=["visual-question-answering" if facts.kind == "train" else "text-to-image"],
        tags=["croc", "text-to-image", "evaluation", "contrastive", "robustness", "image"],
    )
    if "other" in named:
        data["license_name"] = "per-image-model" if len(licences) > 1 else next(iter(licences))
        data["license_details"] = "; ".join(f"{name}: {counted(n, 'row')}" for name, n in licences.items())
    # Without the splits: with them, loading with `filters=` fails, because it finds fewer rows.
    infos = {
        view.name: DatasetInfo(
            config_name=view.name,
            features=facts.features,
            download_size=sum(view.bytes.values()),
            dataset_size=sum(view.bytes.values()),
        )
        for view in facts.views
        if not view.name.startswith(PROPERTY_VIEW)  # there are many, and their features are those of the rest
    }
    DatasetInfosDict(infos).to_dataset_card_data(data)
    head = dict(yaml.safe_load(data.to_yaml()))
    head["configs"] = [
        {
            "config_name": view.name,
            **({"default": True} if view.name == DEFAULT_VIEW else {}),
            "data_files": [{"split": split, "path": path} for split, path in view.files.items()],
        }
        for view in facts.views
    ]
    head["rows"] = {view.name: view.rows for view in facts.views}
    return head


def model_card(folder: str | Path, *, repo: str | None = None) -> str:
    """The card of a folder with a model.

    What it says comes from the files beside the weights; each may be absent, and then the card says so:
    ``card.json`` (name, licence, base model, limits and the like), ``results.json`` (as
    ``croc evaluate --json`` writes it), ``calibration.json`` and ``calibration.png``, ``recipe.yaml``
    and ``training.png``.

    Args:
        folder: the model's folder, with a ``config.json``.
        repo: Hub id of the model.

    Raises:
        InputError: there is no ``config.json``, one of the files cannot be read, or the calibration is of
            other weights.
    """
    from huggingface_hub import ModelCardData

    folder = Path(folder)
    missing = "no config.json: not the folder of a model"
    config = read_json(folder / "config.json", missing, dict[str, Any])
    details = read_json(folder / "card.json", None, dict[str, Any]) or {}
    report = model_report(folder)
    calibration = _calibration(folder, config)
    recipe = _text(folder / "recipe.yaml")
    name = str(details.get("name") or folder.resolve().name)
    repo = repo or str(details.get("repo") or f"croc/{name}")
    fields = {
        "language": "en",
        "license": details.get("license", "apache-2.0"),
        "library_name": details.get("library_name", "transformers"),
        "pipeline_tag": details.get("pipeline_tag", "image-text-to-text"),
        "base_model": details.get("base_model"),
        "datasets": details.get("datasets"),
        "tags": ["croc", "text-to-image", "metric", "evaluation"],
    }
    if report is None:
        data = ModelCardData(**fields)
    else:
        data = hub_metadata.card_metadata(report, model_name=name, **fields)
    head = dict(yaml.safe_load(data.to_yaml()))
    weights = sorted(path for path in folder.glob("*.safetensors"))
    return _fill(
        "model.md.j2",
        head,
        repo,
        name=name,
        config=config,
        details=details,
        report=report,
        calibration=calibration,
        figure=FIGURE if (folder / FIGURE).is_file() else None,
        recipe=recipe,
        watched="training.png" if (folder / "training.png").is_file() else None,
        weights=[(path.name, path.stat().st_size) for path in weights],
        architecture=", ".join(config.get("architectures") or ["unknown"]),
        dual="text_config" in config and "projection_dim" in config,
    )


def _calibration(folder: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The figures in ``calibration.json``, which must be those of the parameters in ``config.json``."""
    figures = read_json(folder / "calibration.json", None, dict[str, Any])
    own = config.get("croc") or {}
    used = own.get("calibration") if isinstance(own, Mapping) else None
    if figures is None:
        return None
    fitted = [figures.get("a"), figures.get("b")]
    # One that does not improve is not stored in the configuration; earlier versions stored the identity.
    if used != fitted and not (used is None and figures.get("improves") is False):
        raise InputError(
            f"{folder / 'calibration.json'} is not of the calibration in config.json: run croc calibrate "
            "again, or remove the file"
        )
    return figures


def model_report(folder: str | Path) -> Report | None:
    """The report in a model's folder, ``results.json``; None without one.

    Raises:
        InputError: it is not a report, as ``croc evaluate --json`` writes it.
    """
    path = Path(folder) / "results.json"
    content = read_json(path)
    try:
        return None if content is None else Report.from_dict(content)
    except InputError as problem:
        raise InputError(f"{path}: {problem}") from None


def space_card(folder: str | Path, *, repo: str | None = None) -> str:
    """The card of a folder that becomes a Space; ``space.yaml`` in it says what it is.

    Args:
        folder: the Space's folder, with an ``app.py`` or an ``index.html``.
        repo: Hub id of the Space.

    Raises:
        InputError: there is no page to show, ``space.yaml`` has a key that is not known, or there is none and
            a card that was written by hand would be lost.
    """
    folder = Path(folder)
    details = _space(folder)
    stored = _text(folder / CARD) or ""
    if not details and stored.startswith("---") and not _MARK.search(stored):
        raise InputError(f"{folder / CARD} was not generated from space.yaml; move its text there")
    kinds = {"app.py": "gradio", "Dockerfile": "docker", "index.html": "static"}
    page = next((name for name in kinds if (folder / name).is_file()), None)
    if page is None:
        raise InputError(f"{folder}: not a Space: it has none of {', '.join(kinds)}")
    sdk = details.get("sdk", kinds[page])
    title = str(details.get("title") or folder.resolve().name)
    head: dict[str, Any] = {
        "title": title,
        "emoji": details.get("emoji", "🐊"),
        "colorFrom": details.get("colorFrom", "green"),
        "colorTo": details.get("colorTo", "blue"),
        "sdk": sdk,
    }
    if sdk == "gradio":
        head |= {"sdk_version": str(details.get("sdk_version") or _gradio(folder)), "app_file": page}
        if details.get("python_version"):
            head["python_version"] = str(details["python_version"])
    head |= {
        "pinned": False,
        "license": details.get("license", "apache-2.0"),
        "tags": details.get("tags", ["croc"]),
    }
    for key in ("short_description", "models", "datasets"):
        if details.get(key):
            head[key] = details[key]
    repo = repo or f"croc/{folder.resolve().name}"
    details |= {"usage": str(details.get("usage", "")).replace("{repo}", repo)}
    return _fill("space.md.j2", head, repo, title=title, details=details)


def space_module(folder: str | Path) -> str | None:
    """The evaluate module that a Space carries, by its import name (``croc.croc``); None without one.

    Raises:
        InputError: see :func:`space_card`.
    """
    named = _space(Path(folder)).get("module")
    return None if named is None else str(named)


_SPACE_KEYS = {
    "title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "license", "tags",
    "short_description", "models", "datasets", "description", "usage", "limits", "module",
}  # fmt: skip


def _space(folder: Path) -> dict[str, Any]:
    text = _text(folder / "space.yaml")
    details = parse_yaml(text, str(folder / "space.yaml")) if text else {}
    if not isinstance(details, dict) or (unknown := sorted(set(details) - _SPACE_KEYS)):
        wrong = "no mapping" if not isinstance(details, dict) else f"unknown key {unknown[0]!r}"
        raise InputError(f"{folder / 'space.yaml'}: {wrong}; known keys are {', '.join(sorted(_SPACE_KEYS))}")
    return details


def _gradio(folder: Path) -> str:
    """The version that the requirements pin, or the one that is installed here."""
    pinned = re.search(
        r"^gradio(?:\[.*\])?==([\w.]+)", _text(folder / "requirements.txt") or "", re.MULTILINE
    )
    if pinned:
        return pinned[1]
    try:
        return installed.version("gradio")
    except installed.PackageNotFoundError:
        return "6.20.0"


# ---- Filling and comparing ----


def render_again(folder: str | Path, text: str) -> str:
    """The card that a dataset's folder gives now, for the repository that a stored card names."""
    found = _MARK.search(text)
    return dataset_card(folder, repo=found["repo"] if found else None)


def compare_cards(stored: str, fresh: str) -> list[str]:
    """What a stored card says otherwise than a fresh one; an empty list when it is up to date.

    The words are compared only where both come from one template: a newer program writes other words about
    the same data.
    """
    problems = []
    try:
        old, new = front_matter(stored), front_matter(fresh)
    except InputError as error:
        return [f"README.md: {error}"]
    for key in dict.fromkeys([*new, *old]):
        if old.get(key) != new.get(key):
            problems.append(
                f"README.md: {key} is {_short(old.get(key))}, but the data gives {_short(new.get(key))}"
            )
    marks = [_MARK.search(text) for text in (stored, fresh)]
    if marks[0] is None:
        problems.append("README.md: not generated from the data (the mark of its template is missing)")
    elif not problems and marks[1] and marks[0]["mark"] == marks[1]["mark"] and stored != fresh:
        pairs = zip(stored.splitlines(), fresh.splitlines(), strict=False)
        line = next((number for number, (a, b) in enumerate(pairs, 1) if a != b), "the last")
        problems.append(f"README.md: the text does not match the data, first in line {line}")
    return problems


def front_matter(text: str) -> dict[str, Any]:
    """The metadata at the head of a card.

    Raises:
        InputError: there is none, or it is not YAML.
    """
    found = re.match(r"---\r?\n(.*?)\r?\n---\r?\n", text, re.DOTALL)
    head = parse_yaml(found[1], "its metadata") if found else None
    if not isinstance(head, dict):
        raise InputError("it does not begin with metadata between two lines of ---")
    return head


@cache
def template_mark(name: str) -> str:
    """A short hash of a template: cards with the same mark and the same data are the same text."""
    content = (Path(__file__).parent / "templates" / name).read_bytes()
    return hashlib.sha256(content + __version__.encode()).hexdigest()[:12]


def _fill(template: str, head: Mapping[str, Any], repo: str, **values: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.globals |= {
        "directions": DIRECTION_NAMES,
        "number": signed,
        "interval": interval,
        "counted": counted,
    }
    environment.filters |= {"cell": _cell, "megabytes": lambda size: f"{size / 1e6:,.1f} MB"}
    body = environment.get_template(template).render(
        repo=repo, paper=PAPER, bibtex=BIBTEX, version=__version__, **values
    )
    body = re.sub(r"\n{3,}", "\n\n", body).strip()
    dumped = dump_yaml(dict(head), allow_unicode=True, width=100)
    mark = f"<!-- card of {repo}, template {template_mark(template)} -->"
    return f"---\n{dumped}---\n\n{mark}\n\n{body}\n"


def _cell(value: Any) -> str:
    """A value inside a Markdown table."""
    return str(value).replace("|", "\\|").replace("\n", " ")


def _text(path: Path) -> str | None:
    try:
        require_regular(path)
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None


def _short(value: Any) -> str:
    text = "absent" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 120 else text[:117] + "..."
