"""The signature of a number: the settings under which it holds, as in sacreBLEU.

>>> signature = Signature.of(protocol="syn", mode="default", dataset="croc/syn") | scorer_part("mine", {})
>>> str(signature)
'protocol:syn|mode:default|dataset:croc/syn|scorer:mine|revision:unknown'
>>> signature.short()
'p:syn|m:default|d:croc/syn|s:mine'
>>> Signature.parse(str(signature)) == signature
True
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from croc.errors import InputError

Part = Literal["program", "computation", "data", "scorer"]


@dataclass(frozen=True)
class Key:
    """A known key of a signature.

    Attributes:
        name: in the long form.
        short: in the short form.
        part: what the key describes; two numbers are comparable when only their ``scorer`` parts differ.
        meaning: for the documentation.
    """

    name: str
    short: str
    part: Part
    meaning: str


KEYS: tuple[Key, ...] = (
    Key("croc", "v", "program", "version of this program"),
    Key("task", "task", "computation", "what was computed, where it is not the evaluation of a metric"),
    Key("protocol", "p", "computation", "`syn` (labels by construction) or `hum` (verified images)"),
    Key("mode", "m", "computation", "`default`, or `paper` for the published computation"),
    Key("chance", "ch", "computation", "how the chance level of an accuracy is computed"),
    Key("ties", "t", "computation", "what a tie counts: `half`, or `lose`"),
    Key("images", "k", "computation", "number of images per side that the verdicts of `syn` are of"),
    Key("average", "avg", "computation", "`micro`: checks are pooled; `macro(COLUMN)`: mean over its values"),
    Key("dataset", "d", "data", "Hub id or folder name of the checks"),
    Key("dataset_config", "dc", "data", "configuration of the dataset, where it has several"),
    Key("dataset_split", "ds", "data", "split of the dataset"),
    Key("dataset_revision", "dr", "data", "commit, or a hash of the content"),
    Key("dataset_pin", "dp", "data", "`texts only` when the revision does not cover the images"),
    Key("checks", "n", "data", "number of checks"),
    Key("concepts", "c", "data", "number of concepts, the unit of resampling"),
    Key("votes", "votes", "data", "number of votes by people"),
    Key("prompts", "pr", "data", "number of prompts"),
    Key("items", "i", "data", "number of rated items"),
    Key("annotators", "a", "data", "number of annotators"),
    Key("rule", "rule", "computation", "when votes decide about an image"),
    Key("group", "g", "computation", "which items are compared with each other: `item`, `system` or `none`"),
    Key("group_mean", "gm", "computation", "average over these groups: `mean` or `fisher`"),
    Key("missing", "mi", "computation", "what a missing score counts: `drop`, `zero` or `worst`"),
    Key("by", "by", "data", "column and value that the items are restricted to"),
    Key("cluster", "cl", "computation", "column whose values are resampled together"),
    Key("clusters", "cn", "data", "number of its values"),
    Key("unit", "unit", "computation", "what is resampled"),
    Key("level", "l", "computation", "confidence level of the intervals"),
    Key("ci", "ci", "computation", "intervals: method and level"),
    Key("resamples", "b", "computation", "number of bootstrap resamples, for rank agreement and findings"),
    Key("test", "test", "computation", "paired tests: method, number of permutations"),
    Key(
        "correction",
        "corr",
        "computation",
        "adjustment of p values by the false discovery rate: `bh` or `by`; without it, Holm's",
    ),
    Key("seed", "seed", "computation", "seed of the resamples and permutations"),
    Key("scorer", "s", "scorer", "name of the scorer"),
    Key("revision", "r", "scorer", "commit of the model, or a hash of its weights; `unknown` if not stated"),
    Key("template", "te", "scorer", "the text put around a prompt"),
    Key("dtype", "dt", "scorer", "number format inside the model"),
    Key("image_processor", "ip", "scorer", "`pil`, `torchvision` or `torch`: they give different pixels"),
)
"""The known keys. Others are settings of the scorer."""

_BY_NAME = {key.name: key for key in KEYS}
_UNKNOWN = "unknown"
_ESCAPES = {"\\": "\\\\", "|": "\\|", "\n": "\\n", "\r": "\\r"}
_UNESCAPES = {written[1]: character for character, written in _ESCAPES.items()} | {":": ":"}
_HASHED_FROM = 60
_SHORT_VALUE = 16


@dataclass(frozen=True)
class Signature:
    """Ordered settings under which a number holds.

    The long form (``str``) is ``key:value|key:value``; :meth:`parse` reads it. In a value ``|``, a backslash
    and line ends are written with a backslash before them; a key ends at its first ``:``.

    Attributes:
        fields: (key, value) pairs; each key once.
    """

    fields: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        names = [name for name, _ in self.fields]
        for name in names:
            if not name:
                raise InputError("a key of a signature is empty; give it a name")
            if names.count(name) > 1:
                raise InputError(f"duplicate key {name!r} in a signature")

    @classmethod
    def of(cls, fields: Mapping[str, object] | None = None, /, **more: object) -> Signature:
        """A signature of these settings; those that are None are left out."""
        both = {**(fields or {}), **more}
        return cls(tuple((name, str(value)) for name, value in both.items() if value is not None))

    @classmethod
    def parse(cls, text: str) -> Signature:
        """Read the long form.

        Raises:
            InputError: the text is not of the form ``key:value|key:value``, or has a duplicate key.
        """
        return cls(tuple(_pairs(text))) if text else cls()

    def __str__(self) -> str:
        """The long form."""
        return "|".join(
            f"{_escaped(name).replace(':', chr(92) + ':')}:{_escaped(value)}" for name, value in self.fields
        )

    def short(self) -> str:
        """The short form, for captions: abbreviated keys and hashes, without what is unknown.

        It cannot be parsed back.
        """
        return "|".join(
            f"{_escaped(_BY_NAME[name].short if name in _BY_NAME else name)}:{_escaped(_cut(name, value))}"
            for name, value in self.fields
            if value != _UNKNOWN
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """In pydantic models: read from the long form and written as such."""

        def read(value: object) -> Signature:
            if isinstance(value, Signature):
                return value
            if not isinstance(value, str):
                raise ValueError("a signature must be a string")
            try:
                return cls.parse(value)
            except InputError as problem:
                raise ValueError(str(problem)) from None

        return core_schema.no_info_plain_validator_function(
            read, serialization=core_schema.to_string_ser_schema(when_used="always")
        )

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.fields)

    def __or__(self, other: Signature) -> Signature:
        """Both signatures' settings; those of ``self`` first.

        Raises:
            InputError: a key is in both.
        """
        return Signature(self.fields + other.fields)

    def get(self, key: str) -> str | None:
        """The value of a key, or None."""
        return dict(self.fields).get(key)

    def only(self, *keys: str) -> Signature:
        """The signature with only these keys, in the order of the signature."""
        return Signature(tuple((name, value) for name, value in self.fields if name in keys))

    def without(self, *keys: str) -> Signature:
        """The signature without some keys."""
        return Signature(tuple((name, value) for name, value in self.fields if name not in keys))

    @property
    def shared(self) -> Signature:
        """The signature without the scorer's part: what must be equal for two scorers to be comparable."""
        return Signature(tuple((name, value) for name, value in self.fields if _part(name) != "scorer"))

    @property
    def scorer(self) -> Signature:
        """The scorer's part of the signature."""
        return self.without(*dict(self.shared.fields))

    def differences(self, other: Signature, *keys: str) -> dict[str, tuple[str | None, str | None]]:
        """Where two signatures differ.

        Args:
            other: the other signature.
            keys: compare only these; none compares all.

        Returns:
            Per key, the value of this and of the other signature; None where the key is absent.
        """
        values, other_values = dict(self.fields), dict(other.fields)
        names = keys or tuple(dict.fromkeys((*values, *other_values)))
        return {
            name: (values.get(name), other_values.get(name))
            for name in names
            if values.get(name) != other_values.get(name)
        }

    def is_comparable(self, other: Signature) -> bool:
        """Whether two numbers compare scorers: nothing but the scorer's part differs."""
        return not any(_part(name) != "scorer" for name in self.differences(other))


def scorer_part(name: str, fields: Mapping[str, str | None]) -> Signature:
    """The scorer's part of a signature.

    Args:
        name: of the scorer.
        fields: what its ``fields()`` return. A value of more than 60 characters is replaced by its hash. A
            name that has another meaning in a signature, such as ``seed``, becomes ``scorer_seed``.
    """
    settings = {"scorer": name, "revision": fields.get("revision") or _UNKNOWN}
    first = ("template", "dtype", "image_processor")
    for key in (*first, *sorted(fields.keys() - {*first, "revision"})):
        value = fields.get(key)
        if value is None:
            continue
        while key in settings or _part(key) != "scorer":
            key = f"scorer_{key}"
        settings[key] = value if len(value) <= _HASHED_FROM else _hashed(value)
    return Signature.of(settings)


def _part(name: str) -> Part:
    return _BY_NAME[name].part if name in _BY_NAME else "scorer"


def _hashed(value: str) -> str:
    return f"sha256:{hashlib.sha256(value.encode()).hexdigest()[:12]}"


def _cut(name: str, value: str) -> str:
    return value[:_SHORT_VALUE] if name in ("revision", "dataset_revision") else value


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """The pairs of a long form, in one pass over its characters."""
    name: str | None = None
    token: list[str] = []
    characters = iter(text)
    for character in characters:
        if character == "\\":
            escaped = next(characters, "")
            if escaped not in _UNESCAPES:
                raise InputError(
                    f"signature {text!r:.200}: {escaped!r} after a backslash; expected one of "
                    f"{' '.join(_UNESCAPES)}"
                )
            token.append(_UNESCAPES[escaped])
        elif character == ":" and name is None:
            name, token = "".join(token), []
        elif character == "|":
            yield _pair(name, token, text)
            name, token = None, []
        else:
            token.append(character)
    yield _pair(name, token, text)


def _pair(name: str | None, value: list[str], text: str) -> tuple[str, str]:
    if name is None:
        raise InputError(f"signature {text!r:.200}: {''.join(value)!r:.80} is not of the form key:value")
    return name, "".join(value)
