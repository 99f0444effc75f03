"""A preset: one YAML file that says what is contrasted, who writes the prompts and who paints the images.

``paper`` is the published benchmark at its scale, ``small`` fits one GPU of 24 GB, ``exact`` needs no model.
A file of one's own has the same keys and may begin from one of these (``extends: paper``).
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from croc.checks.schema import SUBSETS
from croc.errors import InputError
from croc_syn.painting.settings import Images, problems
from croc_syn.writing.settings import Text

FOLDER = Path(__file__).parent

_STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
_MAX_BYTES = 100_000


def _subset(name: str) -> str:
    if name not in SUBSETS:
        raise ValueError(f"{name!r} is not one of {', '.join(SUBSETS)}")
    return name


class Specs(BaseModel):
    """What is contrasted.

    Attributes:
        taxonomy: file; None takes the one that comes with the package.
        subsets: which of the three.
        properties: only variations of these; None takes all.
        checks: (spec, generation) pairs, spread evenly; None takes all specs × generations.
        topics_per_entity, placements_per_entity: as in :func:`croc_syn.taxonomy.plan.plan`.
    """

    model_config = _STRICT
    taxonomy: Path | None = None
    subsets: tuple[Annotated[str, AfterValidator(_subset)], ...] = Field(SUBSETS, min_length=1)
    properties: tuple[str, ...] | None = None
    checks: int | None = Field(None, ge=1, le=10_000_000)
    topics_per_entity: int = Field(9, ge=0)
    placements_per_entity: int = Field(10, ge=0)


class Preset(BaseModel):
    """All settings of a generation.

    Attributes:
        name: for people.
        description: one line.
        seed: of the choice of specs and of all sampling; the images' seeds are in their section.
        specs: what is contrasted.
        text: who writes the prompts, and how.
        images: who paints the images, and how.
    """

    model_config = _STRICT
    name: str = Field(min_length=1, max_length=80)
    description: str = ""
    seed: int = Field(0, ge=0, lt=2**62)
    specs: Specs = Specs()
    text: Text = Text()
    images: Images = Images()


def names() -> list[str]:
    """The presets that come with the package."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def load(preset: str | Path, changes: Mapping[str, Any] | None = None) -> Preset:
    """Read a preset and check it.

    Args:
        preset: a name of :func:`names`, or a YAML file.
        changes: other values by their place, such as ``{"text.sampling.temperature": 0.8}``.

    Raises:
        InputError: there is no such preset, or a key is unknown or its value unusable; the sentence names it.
    """
    tree, where = _tree(preset, depth=0)
    for place, value in (changes or {}).items():
        _put(tree, place, value)
    try:
        return Preset.model_validate(tree)
    except ValidationError as error:
        raise InputError(f"{where}: {problems(error)}") from None
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _tree(preset: str | Path, depth: int) -> tuple[dict[str, Any], str]:
    if depth > 3:
        raise InputError(f"preset {str(preset)!r}: presets extend each other without an end")
    file = FOLDER / f"{preset}.yaml" if str(preset) in names() else Path(preset)
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise InputError(f"{file}: a preset has at most {_MAX_BYTES:,} bytes")
        tree = yaml.safe_load(file.read_text("utf-8"))
    except FileNotFoundError:
        close = get_close_matches(str(preset), names(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"presets are {', '.join(names())}"
        raise InputError(f"preset {str(preset)!r} is neither a name nor a file; {hint}") from None
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{file}: not valid YAML ({said})") from None
    if not isinstance(tree, dict):
        raise InputError(f"{file}: expected the keys {', '.join(Preset.model_fields)}")
    base = tree.pop("extends", None)
    if base is not None:
        if str(base) not in names():
            base = file.parent / str(base)
        below, _ = _tree(base, depth + 1)
        tree = _merged(below, tree)
    tree.setdefault("name", file.stem)
    return tree, str(file) if str(preset) not in names() else f"preset {preset}"


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(old, value) if both else value  # type: ignore[arg-type]
    return merged


def _put(tree: dict[str, Any], place: str, value: Any) -> None:
    *above, last = place.split(".")
    for key in above:
        below = tree.get(key)
        if below is None:
            below = tree[key] = {}
        if not isinstance(below, dict):
            raise InputError(f"{place}: {key} holds no keys")
        tree = below
    tree[last] = value
