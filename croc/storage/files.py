"""Files that are whole or absent: atomic writes, JSON with one spelling, checksums."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import threading
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, overload

import xxhash

from croc.errors import InputError
from croc.storage.limits import JSON_FILE
from croc.storage.text_files import parse_json, require_kind, require_regular

T = TypeVar("T")

LOCK = ".lock"
"""File in a folder that a process holds for itself."""

_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)

_LONGEST_STEM = 120  # bytes; 255 are possible, and temporary names add some


@contextmanager
def atomic(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary name beside ``path``; what was written there replaces ``path``, whole.

    Args:
        path: the file.
        durable: wait until it is on disk. Without, a power cut may leave it empty or absent, a killed
            process may not.
    """
    if not path.name:
        raise InputError(f"'{path}' is not the name of a file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        yield temporary
        if durable:
            fsync(temporary)
        temporary.replace(path)
        if durable:
            fsync(path.parent)
    except OSError as error:
        if error.filename == str(temporary) or (error.filename is None and error.errno in _OF_THE_DISK):
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def fsync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """The checksum of a file, in hexadecimal.

    Raises:
        InputError: it is a named pipe or a device, which may have no end.
    """
    require_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(folder: Path, *, leave_nothing: bool = False) -> Iterator[None]:
    """Hold a folder, which is made, for this process alone.

    Args:
        folder: the folder.
        leave_nothing: remove the lock file at the end, and the folder if it was made here and is still empty.

    Raises:
        InputError: another process holds it.
    """
    from filelock import FileLock, Timeout

    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    # A second lets a concurrent status() finish its look at the lock.
    lock = FileLock(folder / LOCK, timeout=1)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(
            f"{folder}: another process is at work in this folder; wait for it or stop it"
        ) from None
    try:
        if leave_nothing and not (folder / LOCK).exists():  # its holder has just removed it
            raise InputError(f"{folder}: another process has just finished in this folder; run again")
        yield
    finally:
        if leave_nothing:
            with suppress(OSError):
                (folder / LOCK).unlink()
            with suppress(OSError):
                if is_new:
                    folder.rmdir()
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether some process holds a folder."""
    from filelock import FileLock, Timeout

    if not (folder / LOCK).exists() or not os.access(folder, os.W_OK):
        return False
    probe = FileLock(folder / LOCK, timeout=0)
    try:
        probe.acquire()
    except Timeout:
        return True
    probe.release()
    return False


def checksums_of(path: Path) -> dict[str, str]:
    """The checksums that a finished part is known by.

    ``sha256`` is its identity, there and on the Hub. ``xxh128`` finds damage at the speed of memory, so that
    who reads the file once more need not wait for the slow one.
    """
    sha256, xxh128 = hashlib.sha256(), xxhash.xxh3_128()
    with path.open("rb") as file:
        for block in _blocks(file):
            sha256.update(block)
            xxh128.update(block)
    return {"sha256": sha256.hexdigest(), "xxh128": xxh128.hexdigest()}


def is_whole(path: Path, checksum: str) -> bool:
    """Whether a file's content has a checksum: 64 digits are a sha256, 32 an xxh128."""
    if len(checksum) != 32:
        return sha256_of(path) == checksum
    xxh128 = xxhash.xxh3_128()
    with path.open("rb") as file:
        for block in _blocks(file):
            xxh128.update(block)
    return xxh128.hexdigest() == checksum


def _blocks(file: BinaryIO, size: int = 1 << 20) -> Iterator[memoryview]:
    """A file's content, a block at a time in one piece of memory."""
    memory = memoryview(bytearray(size))
    while count := file.readinto(memory):  # type: ignore[attr-defined]
        yield memory[:count]


def canonical(value: Any) -> str:
    """JSON with one spelling per value: what checksums and comparisons of settings are taken from.

    Raises:
        TypeError: the value is not JSON-able.
        ValueError: it holds NaN or an infinity.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def checksum_of(value: Any) -> str:
    """The SHA-256 of a value's :func:`canonical` spelling, in hexadecimal. Errors are those of that function.

    Text from JSON that was cut or damaged can contain half of a surrogate pair, which UTF-8 does not have.
    """
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()


def digest_of(value: Any, name: str) -> str:
    """The checksum of a JSON-able value.

    Raises:
        InputError: it is not JSON-able; the message calls it ``name``.
    """
    try:
        return checksum_of(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is not plain JSON: {error}") from None


def differences(stored: Mapping[str, Any], requested: Mapping[str, Any]) -> list[str]:
    """The differences between two mappings of settings: ``revision: "a" in the folder, "b" requested``."""
    old, new = _flat(stored), _flat(requested)
    return [
        f"{key}: {_short(old.get(key))} in the folder, {_short(new.get(key))} requested"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Write a JSON file for people to read, as :func:`atomic` does."""
    with atomic(path, durable=durable) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")


def json_lines(content: Mapping[str, Any], nested: Collection[str] = ()) -> str:
    """A JSON object as text in which a difference can be read: a line per key, and per record of a list.

    Args:
        content: JSON values.
        nested: keys of objects that are written in the same way.
    """
    return "\n".join(_lines(content, nested)) + "\n"


def _lines(content: Mapping[str, Any], nested: Collection[str], indent: str = "") -> Iterator[str]:
    yield "{"
    for number, (key, value) in enumerate(content.items(), 1):
        comma = "," if number < len(content) else ""
        start = f"{indent} {json.dumps(key)}: "
        if key in nested:
            first, *rest = _lines(value, nested, indent + " ")
            yield start + first
            yield from rest[:-1]
            yield rest[-1] + comma
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            rows = [_in_one_line(row) for row in value]
            yield start + "["
            yield from (f"{indent}  {row}," for row in rows[:-1])
            yield f"{indent}  {rows[-1]}"
            yield f"{indent} ]{comma}"
        else:
            yield start + _in_one_line(value) + comma
    yield f"{indent}}}"


def _in_one_line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@overload
def read_json(path: Path, missing: str | None = None) -> Any: ...


@overload
def read_json(path: Path, missing: str, kind: type[T]) -> T: ...


@overload
def read_json(path: Path, missing: None, kind: type[T]) -> T | None: ...


def read_json(path: Path, missing: str | None = None, kind: type[T] | None = None) -> Any:
    """Read a JSON file.

    Args:
        path: the file.
        missing: what to say when it is not there; None returns None then.
        kind: what the content must be, such as a ``typing_extensions.TypedDict``. Keys that it does not name
            are kept. None takes any content.

    Raises:
        InputError: it cannot be read, is not of that kind, or is absent and ``missing`` was given.
    """
    try:
        require_regular(path)
        if path.stat().st_size > JSON_FILE:
            raise InputError(f"{path}: larger than {JSON_FILE:,} bytes, too large for a JSON file")
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if missing is None:
            return None
        raise InputError(f"{path.parent}: {missing}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); use another folder") from None
    try:
        value = parse_json(content, str(path), finite=True)
        return value if kind is None else require_kind(value, kind, str(path))
    except InputError as error:
        raise InputError(f"{error}; remove the file or use another folder") from None


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping) and (value or prefix == ""):
        return {k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}{key}.").items()}
    return {prefix.rstrip("."): value}


def _short(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def file_stem(name: str) -> str:
    """A name, such as that of a scorer, as the stem of a file; letters of every script stay.

    A name without any letter or digit, or one too long for a file, has a part of its hash.
    """
    stem = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFC", name)).strip("-.")
    if len(stem.encode()) <= _LONGEST_STEM and re.search(r"\w", stem):
        return stem
    kept = stem.encode()[: _LONGEST_STEM - 9].decode(errors="ignore") if stem else "scorer"
    return f"{kept}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def folder_digest(folder: Path) -> str:
    """Identity of a model's folder, 12 hex digits: content of settings, names and sizes of weights."""
    total = hashlib.sha256()
    for path in sorted([*folder.rglob("*.json"), *folder.rglob("*.safetensors")]):
        total.update(str(path.relative_to(folder)).encode())
        total.update(path.read_bytes() if path.suffix == ".json" else str(path.stat().st_size).encode())
    return total.hexdigest()[:12]
