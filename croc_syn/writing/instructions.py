"""Instructions for language models: Jinja templates, filled from a spec and for an image model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from croc.errors import InputError
from croc_syn.taxonomy.taxonomy import CONTRASTS, ROOT
from croc_syn.writing.rules import language_name

if TYPE_CHECKING:
    import jinja2

    from croc_syn.taxonomy.plan import Spec
    from croc_syn.taxonomy.taxonomy import Taxonomy

FOLDER = Path(__file__).with_name("templates")

GENERAL = "general"
"""The guide for image models that have none of their own."""

OWN = "own"
"""In place of a guide's name: the guide of the image model."""

CLIP_WORDS = 50
"""Words that fit into CLIP's 77 tokens with some margin, as rare words take several tokens."""

_ENCODERS = re.compile(r"\{#-?\s*encoders:(.*?)-?#\}")


def spec_facts(spec: Spec, taxonomy: Taxonomy) -> dict[str, Any]:
    """The values for a template from a spec, as JSON: names and definitions instead of ids."""

    def topic(name: str | None) -> dict[str, str] | None:
        if name is None or name == ROOT:
            return None
        row = taxonomy.topics[name]
        return {"name": row.name, "definition": row.definition}

    facts: dict[str, Any] = {"topic": topic(spec.topic), "contrast_topic": topic(spec.contrast_topic)}
    if spec.property is not None:
        prop = taxonomy.properties[spec.property]
        facts["property"] = {
            "id": prop.id,
            "name": prop.name,
            "path": prop.property_path,
            "definition": prop.definition,
            "how": CONTRASTS[prop.contrast],
            "examples": list(prop.values),
        }
    if spec.entity is not None:
        entity = taxonomy.entities[spec.entity]
        facts["entity"] = {"name": entity.name, "definition": entity.definition, "parts": list(entity.parts)}
    return facts


def render_instruction(
    subset: str,
    facts: Mapping[str, Any],
    *,
    guide: str,
    image_model: str | None = None,
    language: str = "en",
    generation: int = 0,
    clip: bool = False,
    refused: str | None = None,
    folder: Path | None = None,
) -> str:
    """The instruction for one check.

    Args:
        subset: which template.
        facts: from :func:`spec_facts`.
        guide: how to write, a name of :func:`guide_names`.
        image_model: the model for which the prompts are written; None is any.
        language: ISO code of the prompts' language.
        generation: which of the spec's checks this is.
        clip: keep the prompts within what CLIP reads.
        refused: why the response before this one could not be used.
        folder: templates that take the place of those with the same names here.

    Raises:
        InputError: a template is missing or cannot be filled.
    """
    import jinja2

    prop = facts.get("property")
    example = prop["name"] if prop else {"entity_placement": "place"}.get(subset, "the property you chose")
    try:
        text: str = (
            _environment(folder)
            .get_template(f"{subset}.j2")
            .render(
                facts,
                guide=guide,
                image_model=image_model,
                language=language_name(language),
                generation=generation,
                most_words=CLIP_WORDS if clip else None,
                property_example=example,
                refused=refused,
            )
        )
    except jinja2.TemplateNotFound as error:
        raise InputError(f"template {error.name} is missing; {_known(folder)}") from None
    except Exception as error:  # a user's template can fail in any way
        raise InputError(f"template {subset}.j2: {error}") from None
    return text.strip()


def guide_names(folder: Path | None = None) -> list[str]:
    """Names of the available guides."""
    return sorted({file.stem for place in _folders(folder) for file in (place / "guides").glob("*.j2")})


def guide_of(style: str, model_style: str | None, folder: Path | None = None) -> str:
    """The guide for a style.

    Args:
        style: a name of :func:`guide_names`, or ``own``.
        model_style: the guide that an image model names.
        folder: the user's templates.

    Raises:
        InputError: the guide is unknown.
    """
    name = (model_style or GENERAL) if style == OWN else style
    if name not in guide_names(folder):
        raise InputError(f"unknown guide {name!r}; {_known(folder)}")
    return name


def encoders_of(guide: str, folder: Path | None = None) -> list[str]:
    """Names of the encoders that read the prompts of a guide, from its first line."""
    match = _ENCODERS.search(_source(f"guides/{guide}.j2", folder))
    return match.group(1).split() if match else []


def templates_digest(folder: Path | None = None) -> str:
    """A checksum of all templates, on which the prompts depend."""
    total = hashlib.sha256()
    names = {str(file.relative_to(place)) for place in _folders(folder) for file in place.rglob("*.j2")}
    for name in sorted(names):
        total.update(name.encode() + b"\0" + _source(name, folder).encode() + b"\0")
    return total.hexdigest()[:16]


def _folders(folder: Path | None) -> list[Path]:
    if folder is not None and not folder.is_dir():
        raise InputError(f"{folder}: not a folder; expected a folder of templates")
    return [FOLDER] if folder is None else [folder, FOLDER]


def _known(folder: Path | None) -> str:
    return f"known guides are {', '.join(guide_names(folder))}"


def _source(name: str, folder: Path | None) -> str:
    for place in _folders(folder):
        if (place / name).is_file():
            return (place / name).read_text("utf-8")
    raise InputError(f"template {name} is missing")


@cache
def _environment(folder: Path | None) -> jinja2.Environment:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # The text is for a language model, so nothing is escaped; a template may come from somebody else, so it
    # runs in a sandbox.
    return ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader(_folders(folder)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=False,
        keep_trailing_newline=False,
        autoescape=False,
    )
