"""The metadata in the file of a score table, which describe how its scores were made, and its signature."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from importlib import metadata as installed
from typing import Any

from croc.checks.schema import PROTOCOLS
from croc.errors import InputError
from croc.tables.signature import Signature, scorer_part

# Fields of a scorer that are attributes of the metadata.
_ATTRIBUTES = {
    "revision": "scorer_revision",
    "template": "template",
    "dtype": "dtype",
    "image_processor": "image_processor",
}
_OBJECTS = ("library_versions", "extra", "run")


@dataclass(frozen=True)
class ScoreMetadata:
    """How the scores of a table were made; stored as text in the metadata of the Parquet file.

    Attributes:
        scorer: name of the metric, shown in every report.
        protocol: ``syn`` or ``hum``: how the checks were labelled, and so how they are evaluated.
        scorer_revision: commit of the model, or a hash of its weights; None if unknown.
        template: the text around a prompt, if there is one.
        dtype: number format inside the model.
        image_processor: ``pil``, ``torchvision`` or ``torch``: they give different pixels.
        dataset: Hub id or folder name of the checks.
        dataset_revision: commit, or a hash of the content.
        dataset_config: configuration of the dataset, where it has several.
        dataset_split: split of the dataset, where it has splits.
        baseline: True for a baseline, which ignores the image, the prompt or both.
        library_versions: version by distribution name.
        extra: the other ``fields()`` of the scorer; part of the signature.
        run: remarks about the run; not part of the signature, except ``dataset_pin``.
    """

    scorer: str
    protocol: str | None = None
    scorer_revision: str | None = None
    template: str | None = None
    dtype: str | None = None
    image_processor: str | None = None
    dataset: str | None = None
    dataset_revision: str | None = None
    dataset_config: str | None = None
    dataset_split: str | None = None
    baseline: bool = False
    library_versions: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)
    run: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_scorer(cls, scorer: str, fields: Mapping[str, str], **about: Any) -> ScoreMetadata:
        """The metadata of a scorer's table.

        Args:
            scorer: its name.
            fields: what its ``fields()`` return.
            about: the attributes that do not follow from the fields.
        """
        attributes: dict[str, Any] = {
            attribute: fields[key] for key, attribute in _ATTRIBUTES.items() if key in fields
        }
        extra = {key: value for key, value in fields.items() if key not in _ATTRIBUTES}
        return cls(scorer, **attributes, extra=extra, **about)

    @property
    def fields(self) -> dict[str, str]:
        """What the scorer's ``fields()`` returned."""
        attributes = {key: getattr(self, attribute) for key, attribute in _ATTRIBUTES.items()}
        return {key: value for key, value in {**attributes, **self.extra}.items() if value is not None}

    @property
    def dataset_part(self) -> Signature:
        """The dataset's part of a signature; empty when nothing is known of it."""
        return Signature.of(
            dataset=self.dataset,
            dataset_config=self.dataset_config,
            dataset_split=self.dataset_split,
            dataset_revision=self.dataset_revision,
            dataset_pin=self.run.get("dataset_pin"),
        )

    @property
    def scorer_part(self) -> Signature:
        """The scorer's part of a signature."""
        return scorer_part(self.scorer, self.fields)

    @property
    def signature(self) -> Signature:
        """The signature of the scores: program version, protocol, dataset and scorer."""
        program = Signature.of(croc=self.library_versions.get("croc-t2i"), protocol=self.protocol)
        return program | self.dataset_part | self.scorer_part

    def to_parquet(self) -> dict[str, str]:
        """Text pairs for ``pyarrow.Schema.with_metadata``; what is unknown is left out."""
        flat: dict[str, str] = {}
        for item in dataclass_fields(self):
            value = getattr(self, item.name)
            if value is None or value == {} or value is False:
                continue
            flat[item.name] = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        return flat

    @classmethod
    def from_parquet(cls, flat: Mapping[str, str], *, default_name: str, source: str) -> ScoreMetadata:
        """Read the pairs back; a table that another tool wrote may have none of them.

        Args:
            flat: the text pairs.
            default_name: the scorer's name where the pairs do not give one.
            source: name of the file, for messages.

        Raises:
            InputError: a pair that should be JSON is not, or the protocol is unknown.
        """
        known: dict[str, Any] = {}
        for item in dataclass_fields(cls):
            if item.name not in flat:
                continue
            value: Any = flat[item.name]
            if item.name in ("baseline", *_OBJECTS):
                try:
                    value = json.loads(value)
                except ValueError:
                    raise InputError(
                        f"{source}: file metadata {item.name!r} is not JSON: {value[:80]!r}"
                    ) from None
                if not isinstance(value, bool if item.name == "baseline" else dict):
                    needed = "true or false" if item.name == "baseline" else "an object"
                    raise InputError(
                        f"{source}: file metadata {item.name!r} is not {needed}: {flat[item.name]!r}"
                    )
            if item.name in _OBJECTS:
                value = {
                    key: text if isinstance(text, str) else json.dumps(text) for key, text in value.items()
                }
            known[item.name] = value
        if known.get("protocol") not in (None, *PROTOCOLS):
            raise InputError(
                f"{source}: unknown protocol {known['protocol']!r} in the file metadata; "
                f"known are {', '.join(PROTOCOLS)}"
            )
        known.setdefault("scorer", default_name)
        return cls(**known)


def library_versions(*names: str) -> dict[str, str]:
    """The version of each of these distributions that is installed."""
    versions = {}
    for name in names:
        try:
            versions[name] = installed.version(name)
        except installed.PackageNotFoundError:
            continue
    return versions
