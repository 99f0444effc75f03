"""Presets: the settings of a generation, from the choice of specs to the images, in one YAML file.

In: the name of a preset or a file, and changes to single keys.
Out: a validated :class:`Preset`. ``paper`` is the published benchmark at its scale, ``small`` fits one GPU of
24 GB, ``open`` has image models under Apache-2.0, ``exact`` needs no model. A user's file has the same keys
and may extend one of these (``extends: paper``).
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from croc.checks.schema import SUBSETS
from croc.errors import InputError
from croc.storage.text_files import read_yaml
from croc_syn.model_settings import Settings, explain
from croc_syn.painting.settings import Images
from croc_syn.taxonomy.plan import Allocation, Spec, plan
from croc_syn.taxonomy.taxonomy import Taxonomy
from croc_syn.taxonomy.taxonomy import load as load_taxonomy
from croc_syn.world.scenes.scope import HeldOut, Scope
from croc_syn.writing.settings import Text

FOLDER = Path(__file__).parent


def _subset(name: str) -> str:
    if name not in SUBSETS:
        raise ValueError(f"{name!r} is not one of {', '.join(SUBSETS)}")
    return name


class Specs(Settings):
    """What is contrasted.

    Attributes:
        taxonomy: file; None takes the one that comes with the package.
        subsets: which of the three.
        properties: only variations of these; None takes all.
        checks: number of (spec, generation) pairs; None takes all specs × generations.
        allocation: how they are spread, see :func:`croc_syn.taxonomy.plan.select`.
        topics_per_entity, placements_per_entity: as in :func:`croc_syn.taxonomy.plan.plan`.
        seed: of the sampling of topics; None takes the seed of the preset.
        held_out: of the exact world: what no check may contain, such as ``nouns=0.2``.
        only_held_out: make nothing but checks that contain it.
    """

    taxonomy: Path | None = None
    subsets: tuple[Annotated[str, AfterValidator(_subset)], ...] = Field(default=SUBSETS, min_length=1)
    properties: tuple[str, ...] | None = None
    checks: int | None = Field(default=None, ge=1, le=10_000_000)
    allocation: Allocation = "subsets"
    topics_per_entity: int = Field(default=9, ge=0)
    placements_per_entity: int = Field(default=10, ge=0)
    seed: int | None = Field(default=None, ge=0, lt=2**62)
    held_out: tuple[str, ...] = ()
    only_held_out: bool = False


class Preset(Settings):
    """All settings of a generation.

    Attributes:
        name: for people.
        description: one line.
        seed: of the selection of specs and of all sampling; the seeds of images are in their section.
        specs: what is contrasted.
        text: which models write the prompts, and how.
        images: which models paint the images, and how.
    """

    name: str = Field(min_length=1, max_length=80)
    description: str = ""
    seed: int = Field(default=0, ge=0, lt=2**62)
    specs: Specs = Specs()
    text: Text = Text()
    images: Images = Images()

    @property
    def scope(self) -> Scope:
        """What prompts of the exact world may be about."""
        held_out = HeldOut.of(self.specs.held_out)
        return Scope(self.images.style, held_out, self.specs.only_held_out)

    def plan_specs(self) -> tuple[Taxonomy, list[Spec]]:
        """The taxonomy and the specs to select from; for the exact world only what it can draw.

        Raises:
            InputError: the taxonomy cannot be used, or a property is not in it.
        """
        wanted, exact = self.specs, not self.text.models
        taxonomy = load_taxonomy(wanted.taxonomy)
        for name in wanted.properties or ():
            known = [item.id for item in taxonomy.properties.values() if item.exact or not exact]
            if name not in known:
                close = get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
                what = "the exact world cannot draw the" if exact else "there is no"
                raise InputError(f"{what} property {name!r}; {hint}")
        specs = plan(
            taxonomy,
            subsets=wanted.subsets,
            exact_only=exact,
            topics_per_entity=wanted.topics_per_entity,
            placements_per_entity=wanted.placements_per_entity,
            seed=self.seed if wanted.seed is None else wanted.seed,
        )
        if wanted.properties is not None:
            specs = [spec for spec in specs if spec.property in wanted.properties]
        return taxonomy, specs


def names() -> list[str]:
    """Names of the presets that come with the package."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def load(preset: str | Path, changes: Mapping[str, Any] | None = None) -> Preset:
    """Read and validate a preset.

    Args:
        preset: a name of :func:`names`, or a YAML file.
        changes: other values by key, such as ``{"text.sampling.temperature": 0.8}``.

    Raises:
        InputError: there is no such preset, or a key is unknown or its value unusable; the sentence names it.
    """
    tree, where = _tree(preset, depth=0)
    for key, value in (changes or {}).items():
        _set_key(tree, key, value)
    try:
        return Preset.model_validate(tree)
    except ValidationError as error:
        raise InputError(f"{where}: {explain(error)}") from None
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _tree(preset: str | Path, depth: int) -> tuple[dict[str, Any], str]:
    if depth > 3:
        raise InputError(f"preset {str(preset)!r}: presets extend each other in a circle")
    file = FOLDER / f"{preset}.yaml" if str(preset) in names() else Path(preset)
    try:
        file.stat()
    except FileNotFoundError:
        close = get_close_matches(str(preset), names(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"presets are {', '.join(names())}"
        raise InputError(f"preset {str(preset)!r} is neither a name nor a file; {hint}") from None
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from None
    tree = read_yaml(file)
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


def _set_key(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        below = tree.get(section)
        if below is None:
            below = tree[section] = {}
        if not isinstance(below, dict):
            raise InputError(f"{key}: {section} has no keys")
        tree = below
    tree[last] = value
