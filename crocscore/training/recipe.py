"""A recipe: one YAML file with what is trained on what, and with settings of TRL's ``SFTConfig``.

A recipe of this package is given by its name (``tiny``), any other by its path. Keys are checked before a
model is loaded.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from croc.errors import InputError, MissingExtra
from croc.storage.plain_yaml import dump_yaml
from croc.storage.text_files import read_text, read_yaml
from crocscore.training.paired import ANSWER, OBJECTIVES

RECIPES = Path(__file__).parents[1] / "recipes"
"""Folder of the recipes that come with the package."""

_DTYPES = ("float32", "bfloat16", "float16")


@dataclass
class Arguments:
    """What is trained on what: the keys of a recipe that are not TRL's.

    Attributes:
        model: folder or Hub id of the initial model.
        questions: a folder that ``croc build train`` finished.
        revision: commit of the model on the Hub.
        question: template with ``{prompt}``; None takes that of the checkpoint, or the default.
        image_size: (width, height) to which images are resized; empty takes that of the checkpoint, or none.
        resize: false leaves images as they are, even if the checkpoint has an image size.
        auto: transformers class that loads the model; a few families have no class for images and text.
        dtype: of the weights: ``float32``, ``bfloat16`` or ``float16``.
        saved_dtype: of the saved weights, which are rounded before the final evaluation; None is ``dtype``.
        key_mapping: regular expressions that rename the checkpoint's weights to those of the class.
        attention: transformers' name of an attention implementation; None is the library's choice.
        image_processor: ``pil`` or ``torchvision``; None takes what the library prefers here.
        train_only: prefixes of the names of parameters to train; empty trains all.
        last_blocks: number of the language model's last blocks to train, in addition to ``train_only``.
        freeze: prefixes of the names of parameters that are not trained.
        lora_r: rank of a new LoRA adapter; None adds none.
        lora_alpha: its scale; None is twice the rank.
        lora_dropout: its dropout.
        lora_targets: regular expression that the whole names of its layers match.
        adapter: LoRA adapter to continue with: a folder, or one inside the model's folder or repository.
        merge: write the trained adapter into the weights, so that the result is a plain checkpoint.
        paired: batches of pairs, which are both prompts of a check about one image; the batch size is then
            the number of images.
        objective: ``answer`` is the likelihood of the right answer; ``pairs`` is a logistic loss on the
            difference of the margins of the two prompts about an image, ``both`` their sum, both with
            ``paired``.
        checkpoint_minutes: time between checkpoints, in addition to those of ``save_strategy``; None adds
            none.
        checks: held-out checks on which the model is evaluated during training; a folder or Hub id.
        checks_config, checks_split: their configuration and split, where there are several.
        max_checks: maximum number of checks.
        licence: of the trained weights, for the card.
        summary: a sentence about the model, for the card.
    """

    model: str = ""
    questions: str = ""
    revision: str | None = None
    question: str | None = None
    image_size: list[int] = field(default_factory=list)
    resize: bool = True
    auto: str = "AutoModelForImageTextToText"
    dtype: str = "float32"
    saved_dtype: str | None = None
    key_mapping: dict[str, str] | None = None
    attention: str | None = None
    image_processor: str | None = None
    train_only: list[str] = field(default_factory=list)
    last_blocks: int | None = None
    freeze: list[str] = field(default_factory=list)
    lora_r: int | None = None
    lora_alpha: int | None = None
    lora_dropout: float = 0.0
    lora_targets: str | None = None
    adapter: str | None = None
    merge: bool = True
    paired: bool = False
    objective: str = ANSWER
    checkpoint_minutes: float | None = None
    checks: str | None = None
    checks_config: str | None = None
    checks_split: str | None = None
    max_checks: int = 200
    licence: str | None = None
    summary: str | None = None

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            value = getattr(self, name)
            if kind in (str, str | None) and not isinstance(value, str | None):
                raise InputError(f"{name} must be text, not {value!r:.80}")
        for name in ("model", "questions", "auto"):
            if not getattr(self, name):
                raise InputError(f"the recipe has no key {name}, which is required")
        for name in ("dtype", "saved_dtype"):
            value = getattr(self, name)
            if value is not None and value not in _DTYPES:
                raise InputError(f"{name} {value!r} is unknown; expected {', '.join(_DTYPES)}")
        if len(self.image_size) not in (0, 2) or any(side < 1 for side in self.image_size):
            raise InputError(f"image_size must be a width and a height, not {self.image_size}")
        for name in ("train_only", "freeze"):
            if not isinstance(getattr(self, name), list):
                raise InputError(f"{name} must be a list of prefixes, not {getattr(self, name)!r}")
        if not 0 <= self.lora_dropout < 1:
            raise InputError(f"lora_dropout must be from 0 to below 1, not {self.lora_dropout}")
        self._require_key_mapping()
        if self.image_size and not self.resize:
            raise InputError("image_size is the size to resize to, and resize is false: set only one of them")
        if self.objective not in OBJECTIVES:
            raise InputError(f"objective {self.objective!r} is unknown; expected {', '.join(OBJECTIVES)}")
        if self.objective != ANSWER and not self.paired:
            raise InputError(f"objective {self.objective} compares the prompts of a pair: set paired to true")
        if self.checkpoint_minutes is not None and not self.checkpoint_minutes > 0:
            raise InputError(f"checkpoint_minutes must be above 0, not {self.checkpoint_minutes}")
        if self.lora_r is not None and self.adapter is not None:
            raise InputError("lora_r adds a new adapter, and adapter loads one: set only one of them")
        if self.lora_r is not None and not self.lora_targets:
            raise InputError("lora_r needs lora_targets, a regular expression for the layers of the adapter")
        if self.lora_targets and self.lora_r is None:
            raise InputError("lora_targets needs lora_r, the rank of the adapter")
        for name in ("lora_r", "lora_alpha", "last_blocks", "max_checks"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise InputError(f"{name} must be at least 1, not {value}")

    def _require_key_mapping(self) -> None:
        """Require regular expressions that map to names."""
        mapping: Any = {} if self.key_mapping is None else self.key_mapping
        if not isinstance(mapping, dict) or not all(isinstance(name, str) for name in mapping.values()):
            raise InputError(f"key_mapping must map regular expressions to names, not {mapping!r:.80}")
        for pattern in mapping:
            try:
                re.compile(str(pattern))
            except re.error as error:
                raise InputError(f"key_mapping: {pattern!r} is not a regular expression ({error})") from None


def read_recipe(arguments: Sequence[str]) -> tuple[Arguments, Any]:
    """Read a recipe and the options after it, as :class:`Arguments` and TRL's ``SFTConfig``.

    Args:
        arguments: ``["--config", "recipe.yaml", "--learning_rate", "1e-4", …]``.

    Raises:
        InputError: an unknown key, or a value that does not fit.
        MissingExtra: TRL is not installed.
    """
    words = [str(word) for word in arguments]
    if "--config" in words[:-1]:
        at = words.index("--config") + 1
        path = recipe_path(words[at])
        words[at] = str(path)
        _refuse_unknown(path, _mapping(path))
    try:
        from trl import SFTConfig, TrlParser
    except ImportError as error:
        raise MissingExtra("training", "train") from error
    parser: Any = TrlParser([Arguments, SFTConfig])
    # argparse would print hundreds of lines of usage and end the program.
    parser.error = _raise_input_error
    try:
        arguments_, config = parser.parse_args_and_config(words)
    except (ValueError, OSError, TypeError, ImportError) as error:
        raise InputError(f"the recipe cannot be used: {str(error).splitlines()[0]}") from None
    if not (math.isfinite(config.learning_rate) and config.learning_rate >= 0):
        raise InputError(f"learning_rate must be a number from 0, not {config.learning_rate}")
    for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
        if getattr(config, name) < 1:
            raise InputError(f"{name} must be at least 1, not {getattr(config, name)}")
    return arguments_, config


def recipe_path(name: str | Path) -> Path:
    """The file of a recipe, given its path or the name of a recipe of this package.

    Raises:
        InputError: the recipe is unknown.
    """
    path = Path(name)
    names = {file.stem: file for file in sorted(RECIPES.glob("*.yaml"))}
    if path.is_file():
        return path
    if str(name) in names:
        return names[str(name)]
    raise InputError(f"{name}: unknown recipe; expected a YAML file, or one of {', '.join(names)}")


def recipe_text(arguments: Sequence[str]) -> str | None:
    """The recipe with the options after it written into it; None without a file.

    Without options it is the unchanged file, with its comments.
    """
    words = [str(word) for word in arguments]
    if "--config" not in words[:-1]:
        return None
    at = words.index("--config")
    path, options = recipe_path(words[at + 1]), words[:at] + words[at + 2 :]
    if not options:
        return read_text(path)
    own, settings = read_recipe(words)
    merged = _mapping(path)
    for word in options:
        key = word.removeprefix("--").partition("=")[0].replace("-", "_")
        if word.startswith("--"):
            value = getattr(own if hasattr(own, key) else settings, key)
            # The enumerations of transformers have a string as their value.
            merged[key] = getattr(value, "value", value)
    return f"# {path.name} with {' '.join(options)}\n" + dump_yaml(merged)


def _raise_input_error(message: str) -> NoReturn:
    raise InputError(f"the recipe cannot be used: {message}")


def _mapping(path: Path) -> dict[str, Any]:
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: a recipe must be a mapping of keys to values")
    return content


def _refuse_kind(path: Path, key: str, value: Any, declared: str) -> None:
    """Refuse a list, a mapping or nothing where the declared type has none; the library checks only texts."""
    declared = declared.lower()
    single = not any(word in declared for word in ("list", "dict", "tuple", "sequence", "any"))
    if single and isinstance(value, list | dict):
        kind = "list" if isinstance(value, list) else "mapping"
        raise InputError(f"{path}: {key} must be a single value, not a {kind}")
    if value is None and not any(word in declared for word in ("none", "optional", "any")):
        raise InputError(f"{path}: {key} has no value")


def _refuse_unknown(path: Path, recipe: dict[str, Any]) -> None:
    try:
        from trl import SFTConfig
    except ImportError as error:
        raise MissingExtra("training", "train") from error
    known = {item.name for kind in (Arguments, SFTConfig) for item in fields(kind)} | {"env"}
    # Not of the fields: transformers' parser overwrites their types. Arguments check their own values.
    declared = {
        name: str(kind)
        for parent in reversed(SFTConfig.__mro__)
        for name, kind in vars(parent).get("__annotations__", {}).items()
    }
    for key, value in recipe.items():
        _refuse_kind(path, key, value, declared.get(key, "any"))
        if key not in known:
            near = difflib.get_close_matches(str(key), sorted(known), 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"{path}: unknown key {key!r}{hint}")
