"""Scorers from outside: a function, any object with ``score``, a module of the ``evaluate`` library."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL.Image import Image

from croc.errors import InputError


class CallableScorer:
    """A function ``(images, prompts) → n scores`` as a scorer.

    Its revision is a hash of its source text, so an edited function does not reuse old scores.
    """

    def __init__(self, function: Callable[[Sequence[Image], Sequence[str]], Any], name: str) -> None:
        self.name = name
        self._function = function

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> np.ndarray:
        """The function's return value."""
        return self._function(images, prompts)  # type: ignore[no-any-return]

    def fields(self) -> dict[str, str]:
        """The function's name and the hash of its source text."""
        owner = getattr(self._function, "__self__", None)
        source = inspect.unwrap(self._function) if owner is None else type(owner)
        if not hasattr(source, "__qualname__"):
            source = type(source)
        return {"callable": f"{source.__module__}:{source.__qualname__}", "revision": _source_hash(source)}


class EvaluateScorer:
    """A module of the ``evaluate`` library that compares images with texts, pair by pair.

    The types of the module's features determine which input is the image and which is the text; its result
    must contain a list with one score per pair (under ``scores``, if it has several lists).

    Args:
        module: a loaded module, or an argument of ``evaluate.load``.
        name: of the scorer; None takes the module's.
        compute: further arguments of the module's ``compute``.
    """

    def __init__(self, module: Any, name: str | None = None, **compute: Any) -> None:
        if isinstance(module, str):
            import evaluate

            try:
                module = evaluate.load(module)
            except (Exception, SystemExit) as error:  # whatever the module of somebody else does
                reason = next(iter(str(error).splitlines()), type(error).__name__)
                raise InputError(f"evaluate:{module} cannot be loaded: {reason}") from error
        self._module = module
        self._compute = compute
        self.name = name or str(module.name).replace("/", "--")
        self._image_input, self._text_input = self._inputs()

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> np.ndarray:
        """The module's score of each pair: float64 (n,)."""
        given = {self._image_input: list(images), self._text_input: list(prompts)}
        result = self._module.compute(**given, **self._compute)
        if not isinstance(result, Mapping):
            raise InputError(
                f"evaluate module {self.name}: compute returned {type(result).__name__}, not a mapping"
            )
        lists = {
            key: value
            for key, value in result.items()
            if isinstance(value, (list, tuple, np.ndarray)) and len(value) == len(prompts)
        }
        if "scores" in lists:
            return np.asarray(lists["scores"], dtype=np.float64)
        if len(lists) != 1:
            raise InputError(
                f"evaluate module {self.name}: a scorer returns one score per pair, "
                f"but there is no single list of {len(prompts)} among {', '.join(result)}"
            )
        return np.asarray(next(iter(lists.values())), dtype=np.float64)

    def fields(self) -> dict[str, str]:
        """The module's name, its source hash and the arguments of ``compute``.

        A module with a method ``fields`` describes its model itself.
        """
        fields = {"evaluate": self.name, "revision": _source_hash(type(self._module))}
        if callable(getattr(self._module, "fields", None)):
            own: dict[str, str] = self._module.fields(**self._compute)
            return fields | own
        return fields | {f"compute.{key}": str(value) for key, value in sorted(self._compute.items())}

    def _inputs(self) -> tuple[str, str]:
        features = self._module.features
        features = features[0] if isinstance(features, list) else features
        image = [name for name, kind in features.items() if type(kind).__name__ == "Image"]
        text = [name for name, kind in features.items() if getattr(kind, "dtype", None) == "string"]
        text = [name for name in text if name not in image]
        if len(image) != 1 or len(text) != 1:
            raise InputError(
                f"evaluate module {self.name} takes {', '.join(features)}: a text-to-image metric has one "
                "input of type Image and one of type string"
            )
        return image[0], text[0]


def is_evaluate_module(candidate: Any) -> bool:
    """Whether an object is a loaded ``evaluate`` module; does not import the library."""
    evaluate = sys.modules.get("evaluate")
    return evaluate is not None and isinstance(candidate, evaluate.EvaluationModule)


def _source_hash(source: Any) -> str:
    try:
        return f"source:{hashlib.sha256(inspect.getsource(source).encode()).hexdigest()[:12]}"
    except (OSError, TypeError):
        return "unpinned"
