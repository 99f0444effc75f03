"""What the Hub of the tests keeps: users, repositories, commits, and how an error of the Hub looks."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

CHUNK = 2**20


@dataclass(frozen=True)
class User:
    """Who a token belongs to: the names they may write under, and whether the token may write at all."""

    name: str
    orgs: tuple[str, ...] = ()
    writes: bool = True

    @property
    def spaces(self) -> tuple[str, ...]:
        return (self.name, *self.orgs)


@dataclass(frozen=True)
class Entry:
    """A file of a commit: git's name of it, and its sha256 when it is a large one."""

    path: str
    size: int
    oid: str
    sha256: str | None = None

    def facts(self) -> dict[str, Any]:
        large = {"lfs": {"oid": self.sha256, "size": self.size, "pointerSize": 134}} if self.sha256 else {}
        return {"type": "file", "path": self.path, "size": self.size, "oid": self.oid, **large}


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str | None
    title: str
    tree: dict[str, Entry]


@dataclass
class Repo:
    kind: str
    id: str
    private: bool
    sdk: str | None = None
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def head(self) -> Commit:
        return self.commits[self.branches["main"]]

    def at(self, revision: str) -> Commit:
        oid = self.branches.get(revision) or self.tags.get(revision) or revision
        if oid not in self.commits:
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return self.commits[oid]

    def commit(self, title: str, tree: dict[str, Entry]) -> Commit:
        parent = self.branches.get("main")
        named = sorted((entry.path, entry.oid) for entry in tree.values())
        seed = json.dumps([parent, title, named, len(self.commits), self.kind, self.id])
        made = Commit(hashlib.sha1(seed.encode()).hexdigest(), parent, title, tree)
        self.commits[made.oid] = made
        self.branches["main"] = made.oid
        return made


@dataclass
class Fault:
    """What goes wrong with requests whose method is ``method`` and whose path holds ``pattern``."""

    method: str
    pattern: str
    times: int = 1
    skip: int = 0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    after: int | None = None
    lost: bool = False


class Refused(Exception):
    """An answer that is an error of the Hub."""

    def __init__(self, status: int, code: str | None, message: str, **headers: str) -> None:
        super().__init__(message)
        named = {"X-Error-Code": code} if code else {}
        self.answer = JSONResponse(
            {"error": message}, status, {"X-Error-Message": message, **named, **headers}
        )


def listed(commit: Commit, under: str, recursive: bool) -> list[dict[str, Any]]:
    """Files and folders below a folder, as git orders them."""
    prefix = f"{under}/" if under else ""
    found: dict[str, dict[str, Any]] = {}
    for path, entry in commit.tree.items():
        if not path.startswith(prefix):
            continue
        steps = path[len(prefix) :].split("/")
        for depth in range(1, len(steps)):
            if recursive or depth == 1:
                above = prefix + "/".join(steps[:depth])
                found[above] = folder(above)
        if recursive or len(steps) == 1:
            found[path] = entry.facts()
    return [found[path] for path in sorted(found)]


def folder(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "size": 0, "oid": git_oid(path.encode())}


def last(commit: Commit) -> dict[str, Any]:
    return {"lastCommit": {"id": commit.oid, "title": commit.title, "date": "2025-01-01T00:00:00.000Z"}}


def git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


async def stretch(path: Path, start: int, stop: int) -> AsyncIterator[bytes]:
    """The bytes of a file from one place to another, in pieces."""
    with path.open("rb") as file:
        file.seek(start)
        while start < stop and (chunk := file.read(min(CHUNK, stop - start))):
            start += len(chunk)
            yield chunk


def content(request: Request, path: Path, etag: str, headers: Mapping[str, str]) -> Response:
    """A file, or the stretch of it that the request asks for."""
    size = path.stat().st_size
    start, stop, status = 0, size, 200
    headers = {**headers, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
    if wanted := re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", "")):
        if wanted[1]:
            start, stop = int(wanted[1]), min(int(wanted[2] or size - 1) + 1, size)
        else:
            start = max(size - int(wanted[2]), 0)
        if start >= stop:
            return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
        status, headers["Content-Range"] = 206, f"bytes {start}-{stop - 1}/{size}"
    headers["Content-Length"] = str(stop - start)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    return StreamingResponse(stretch(path, start, stop), status, headers)
