"""Files of text, JSON and YAML that a user names or that were downloaded; errors name the file."""

from __future__ import annotations

import json
import math
import stat
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from croc.errors import InputError
from croc.storage.limits import YAML_DEPTH, YAML_FILE

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

# PyYAML raises these for a scalar that its type cannot hold: a date that does not exist, a number of 5,000
# digits, `!!bool maybe`, `!!timestamp noon`.
_YAML_VALUE_ERRORS = (ValueError, KeyError, IndexError, AttributeError, TypeError, OverflowError)


def require_regular(path: Path) -> None:
    """Refuse a named pipe, which would be waited for, and a device, which may have no end.

    Raises:
        InputError: the path is neither a regular file nor a folder.
        OSError: there is nothing at the path, or it cannot be looked at.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(f"{path}: not a regular file")


def read_text(path: Path) -> str:
    """The content of a file of UTF-8 text.

    Raises:
        InputError: it cannot be read.
    """
    try:
        require_regular(path)
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start} cannot be read)") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def parse_json(text: str | bytes, where: str, *, finite: bool = False) -> Any:
    """The value of a JSON text; unless ``finite``, also with Python's NaN and Infinity.

    Raises:
        InputError: it is not JSON, is nested too deeply, or must be finite and has a number that is not; the
            message begins with ``where``.
    """
    try:
        number = _finite if finite else float
        return json.loads(text, parse_constant=number, parse_float=number)
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 text (byte {error.start} cannot be read)") from None
    except ValueError as error:
        raise InputError(f"{where}: not JSON ({_describe(error)})") from None
    except RecursionError:
        raise InputError(f"{where}: nested too deeply") from None


def _finite(number: str) -> float:
    """A number of a JSON text; the module also reads NaN, Infinity and 1e999, which JSON does not have."""
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"the number {number} is not finite")
    return value


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text of plain data, by the safe loader.

    Raises:
        InputError: it is not YAML, has an anchor, an alias, a tag or more levels than ``limits.YAML_DEPTH``,
            or has a value that cannot exist, such as the date 2025-02-30; the message begins with ``where``.
    """
    import yaml

    from croc.storage.plain_yaml import LOADER, refuse_unsafe_yaml

    try:
        refuse_unsafe_yaml(text, where, depth=YAML_DEPTH)
        return yaml.load(text, Loader=LOADER)  # a safe loader
    except (yaml.YAMLError, *_YAML_VALUE_ERRORS) as error:
        raise InputError(f"{where}: not valid YAML ({_describe(error)})") from None


def read_yaml(path: Path) -> Any:
    """The value of a YAML file.

    Raises:
        InputError: it is larger than ``limits.YAML_FILE``; see :func:`read_text` and :func:`parse_yaml`.
    """
    return parse_yaml(read_yaml_text(path), str(path))


def read_yaml_text(path: Path) -> str:
    """The text of a YAML file.

    Raises:
        InputError: it cannot be read, or is larger than ``limits.YAML_FILE``.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    if size > YAML_FILE:
        raise InputError(f"{path} has {size:,} bytes; at most {YAML_FILE:,} are allowed")
    return read_text(path)


def require_kind(value: Any, kind: type[T], where: str) -> T:
    """Return a value that was read from outside, if it is of a kind.

    Args:
        value: what ``json.loads`` returned.
        kind: a type that pydantic understands; nothing is converted.
        where: the file, for the message.

    Raises:
        InputError: it is not; the first place that differs is named.
    """
    from pydantic import ValidationError

    try:
        _adapter(kind).validate_python(value, strict=True)  # type: ignore[arg-type]  # a class is hashable
    except ValidationError as problem:
        raise InputError(f"{where}: {first_problem(problem)}") from None
    return value  # type: ignore[no-any-return]


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def first_problem(problem: Exception) -> str:
    """The first problem of content that was read, with its place: ``results.0.scaled: …``."""
    from pydantic import ValidationError

    if not isinstance(problem, ValidationError):
        return str(problem)
    first = problem.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"] if part != "[key]")
    return f"{where or 'the content'}: {first['msg'].removeprefix('Value error, ')}"


def _describe(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
