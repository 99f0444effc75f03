"""A row of a check: the same values whatever kind of source it was read from.

Sources differ in how they write a value: pandas has NaN for an empty cell and integers for ids, ``datasets``
has one image where there is no list. Every row passes :func:`check_row` once; other code relies on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from croc.checks.schema import GROUP_COLUMNS, IMAGE_COLUMNS, LANGUAGE, STYLE
from croc.errors import InputError

REQUIRED = ("check_id", "concept_id", "prompt", "contrast_prompt", *IMAGE_COLUMNS)
COLUMNS = (*REQUIRED, *GROUP_COLUMNS, LANGUAGE, STYLE)
IDS = ("check_id", "concept_id")
"""Columns of text that may hold integers, as tables of pandas and databases often do."""
PROMPTS = ("prompt", "contrast_prompt")

Row = dict[str, Any]
Folders = tuple[Path, ...] | None


def check_row(raw: Mapping[str, Any], where: str, folders: Folders = None) -> Row:
    """The columns of a check that a row has, in the form that the rest of the program expects.

    Integer ids become text, NaN and other signs of an empty cell become None, and one image becomes a list.

    Args:
        raw: a row of any source; other columns are left out.
        where: name of the row in messages.
        folders: the only folders whose files the paths of images may name, relative to the first one; None
            for rows of the caller's own program, whose paths are followed as Python does.

    Raises:
        InputError: a value has a type that its column cannot have.
    """
    row: Row = {}
    for name in COLUMNS:
        if name in raw:
            value = raw[name]
            read = (
                _images(value, where, name, folders)
                if name in IMAGE_COLUMNS
                else text_cell(value, where, name)
            )
            row[name] = read
    return row


def require_names(names: Iterable[str], where: str) -> None:
    """Require the columns that every check has.

    Raises:
        InputError: one is missing.
    """
    present = set(names)
    if missing := [name for name in REQUIRED if name not in present]:
        raise InputError(f"{where}: missing column {', '.join(missing)}; checks need {', '.join(REQUIRED)}")


def prompt_problem(prompt: str) -> str | None:
    """Why a prompt cannot be scored; None if it can."""
    if not prompt.strip():
        return "the prompt is empty"
    if half := _unpaired_surrogate(prompt):
        return f"the prompt contains half of a surrogate pair ({half})"
    return None


def _unpaired_surrogate(text: str) -> str | None:
    """Half of a surrogate pair as an escape, which text from JSON that was cut can contain."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"\\u{ord(text[error.start]):04x}"
    return None


def _is_empty(value: Any) -> bool:
    # The names are those of pandas, which is not imported for this.
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and math.isnan(value)


def text_cell(value: Any, where: str, name: str) -> str | None:
    """A cell of a column of text; an integer id becomes text, and what marks an empty cell None.

    Raises:
        InputError: it is something else, or not valid Unicode.
    """
    if _is_empty(value):
        return None
    if name in IDS and isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return str(int(value))
    if not isinstance(value, str):
        kind = "a string or an integer" if name in IDS else "a string"
        raise InputError(f"{where}, column {name!r}: must be {kind}, not {value!r:.80}")
    # A prompt is scored, and its pairs can fail alone; other text would stand in the score table.
    if name not in PROMPTS and (half := _unpaired_surrogate(value)):
        raise InputError(f"{where}, column {name!r}: contains half of a surrogate pair ({half})")
    return str(value)


def _images(value: Any, where: str, name: str, folders: Folders) -> list[Any] | None:
    if _is_empty(value):
        return None
    if isinstance(value, (Mapping, Image, bytes, bytearray, memoryview, str, Path)):
        value = [value]
    is_list = isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 1
    if not is_list and not isinstance(value, Sequence):
        raise InputError(f"{where}, column {name!r}: must be a list of images, not {value!r:.80}")
    return [None if _is_empty(image) else _in_folders(image, folders) for image in value]


def _in_folders(image: Any, folders: Folders) -> Any:
    """The image, with an absolute path if it is a file in the folders, or why it is not read."""
    if folders is None:
        return image
    path = image.get("path") if isinstance(image, Mapping) and image.get("bytes") is None else image
    if not isinstance(path, (str, Path)):
        return image
    if not folders:
        return {"refused": f"the image file {path} is not read: its dataset is not in a folder here"}
    try:
        full = (folders[0] / path).resolve()
    except (OSError, ValueError) as error:
        return {"refused": f"the image file {str(path)!r} cannot be read: {error}"}
    if not any(full.is_relative_to(folder.resolve()) for folder in folders):
        return {"refused": f"the image file {path} is not read: it lies outside of the dataset's own folder"}
    return {"bytes": None, "path": str(full)}
