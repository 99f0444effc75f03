"""A small Hub on loopback for tests: what unmodified Hub clients call, and no more; it can fail on purpose.

    with Hub(folder) as hub:                      # in a thread of this process
        hub.endpoint                              # for HF_ENDPOINT
        hub.fail("PUT", "/storage/", status=503)  # the next such request fails

    python tests/support/hub_server.py FOLDER             # on its own; prints its address and tokens

Files live in the folder; repositories, commits and faults live in memory. Large files go the way of the real
Hub: a batch request, an upload to a storage host with a signed address (in one piece, or in parts above
``part_bytes``), a commit that names their checksum; a download is a redirect to the storage host, which
refuses requests that carry the Hub's token. The storage host is this server under its other name,
``localhost``.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import secrets
import shutil
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

import uvicorn
import yaml
from hub_state import Entry, Fault, Refused, Repo, User, content, folder, git_oid, last, listed
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from uvicorn.protocols.http.h11_impl import H11Protocol

LARGE = re.compile(r"\.(parquet|arrow|safetensors|bin|png|jpe?g|webp|gz|zip|onnx|npz)$")
LARGE_BYTES = 10 * 2**20
_REPO = r"(?P<ns>[\w.-]+)/(?P<name>[\w.-]+)"
_API = rf"/api/(?P<kind>model|dataset|space)s/{_REPO}"
_PLAIN = rf"/(?:(?P<kind>dataset|space)s/)?{_REPO}"


class _Cut(Exception):
    """The connection was cut on purpose."""


class Hub:
    """The server and its state.

    Attributes:
        users: who each token belongs to.
        repos: by ``(kind, id)``.
        calls: ``(method, path, status)`` of every request so far; 0 is a cut connection.
        stored: how often each large file arrived whole, by sha256.
        received: bytes of large files that arrived, those of broken uploads included.
        sent: bytes of large files that went out.
        page: entries a page when a tree is listed.
        part_bytes: large files above this size go up in parts of this size; None never.
    """

    def __init__(self, folder: Path, *, page: int = 1000, part_bytes: int | None = None) -> None:
        self.folder = Path(folder)
        self._key = secrets.token_hex(16)
        self._routes = [(method, re.compile(path), handle) for method, path, handle in self._table()]
        self.forget(page=page, part_bytes=part_bytes)

    def forget(self, *, page: int = 1000, part_bytes: int | None = None) -> None:
        """Begin anew: no repository, no file, no fault."""
        self.page, self.part_bytes = page, part_bytes
        self.users = {
            "hf_writer": User("tester", ("org", "evaluate-metric")),
            "hf_reader": User("reader", ("org",), writes=False),
            "hf_stranger": User("stranger"),
        }
        self.repos: dict[tuple[str, str], Repo] = {}
        self.moved: dict[tuple[str, str], str] = {}
        self.calls: list[tuple[str, str, int]] = []
        self.stored: Counter[str] = Counter()
        self.received = self.sent = 0
        self.faults: list[Fault] = []
        for name in ("large", "small", "parts"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).mkdir(parents=True)

    # ---- Running ----

    def __enter__(self) -> Hub:
        self._socket = socket.create_server(("127.0.0.1", 0))
        port = self._socket.getsockname()[1]
        self.endpoint, self.storage = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
        config = uvicorn.Config(self, http=_Protocol, lifespan="off", log_level="error", access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()
        self._socket.close()

    def client_environment(self, home: Path, token: str | None = None) -> dict[str, str]:
        """Environment variables that make a Hub client of another process use this server alone."""
        names = {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
        online = dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE"), "0")
        quiet = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        return {**names, **online, **quiet, **({"HF_TOKEN": token} if token else {})}

    # ---- Going wrong ----

    def fail(
        self, method: str, pattern: str, status: int, *, times: int = 1, skip: int = 0, **headers: str
    ) -> None:
        """Answer the next such requests with a status; ``Retry_After="1"`` sets the header of that name."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        self.faults.append(Fault(method, pattern, times, skip, status=status, headers=named))

    def cut(self, method: str, pattern: str, *, after: int, times: int = 1, skip: int = 0) -> None:
        """Drop the connection once so many bytes of the request's body (GET: of the answer's) have passed."""
        self.faults.append(Fault(method, pattern, times, skip, after=after))

    def lose(self, method: str, pattern: str, *, times: int = 1) -> None:
        """Do what is asked, and drop the connection instead of answering."""
        self.faults.append(Fault(method, pattern, times, lost=True))

    def _fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times and fault.method == method and re.search(fault.pattern, path):
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        method, path = scope["method"], scope["raw_path"].decode()
        fault = self._fault(method, path)
        number, passed = len(self.calls), 0
        self.calls.append((method, path, 0))

        def cut() -> None:
            _Protocol.open[tuple(scope["client"])].abort()
            raise _Cut

        async def taking() -> Any:
            nonlocal passed
            message = await receive()
            passed += len(message.get("body", b""))
            if method == "PUT":
                self.received += len(message.get("body", b""))
            if fault and fault.after is not None and method != "GET" and passed > fault.after:
                cut()
            return message

        async def giving(message: Any) -> None:
            nonlocal passed
            if fault and fault.lost:
                cut()
            if message["type"] == "http.response.start":
                self.calls[number] = (method, path, message["status"])
            elif fault and fault.after is not None and method == "GET":
                passed += len(message.get("body", b""))
                if passed > fault.after:
                    await send({**message, "body": message["body"][: fault.after], "more_body": True})
                    cut()
            elif method == "GET" and path.startswith("/storage/"):
                self.sent += len(message.get("body", b""))
            await send(message)

        try:
            if fault and fault.status:
                answer: Response = JSONResponse({"error": "on purpose"}, fault.status, dict(fault.headers))
            else:
                answer = await self._answer(Request(scope, taking), method, path)
            await answer(scope, taking, giving)
        except _Cut:
            self.calls[number] = (method, path, 0)
            await asyncio.sleep(0)  # the server shall see the connection gone before it misses the answer

    async def _answer(self, request: Request, method: str, path: str) -> Response:
        try:
            for wanted, pattern, handle in self._routes:
                if (found := pattern.fullmatch(path)) and method in wanted:
                    parts = {
                        key: unquote(value) for key, value in found.groupdict().items() if value is not None
                    }
                    return await handle(request, **parts)
            raise Refused(404, None, f"this Hub does not know {method} {path}")
        except Refused as refused:
            return refused.answer

    def _table(self) -> list[tuple[tuple[str, ...], str, Callable[..., Any]]]:
        rev = r"(?P<rev>[^/]+)"
        return [
            (("GET",), "/api/whoami-v2", self._whoami),
            (("POST",), "/api/repos/create", self._create),
            (("DELETE",), "/api/repos/delete", self._delete),
            (("POST",), "/api/repos/move", self._move),
            (("POST",), "/api/validate-yaml", self._validate),
            (("GET",), rf"{_API}(?:/revision/{rev})?", self._info),
            (("GET",), rf"{_API}/tree/{rev}(?:/(?P<under>.+))?", self._tree),
            (("POST",), rf"{_API}/paths-info/{rev}", self._paths),
            (("GET",), rf"{_API}/refs", self._refs),
            (("POST",), rf"{_API}/tag/{rev}", self._tag),
            (("DELETE",), rf"{_API}/tag/{rev}", self._untag),
            (("POST",), rf"{_API}/super-squash/{rev}", self._squash),
            (("POST",), rf"{_API}/preupload/{rev}", self._preupload),
            (("POST",), rf"{_API}/commit/{rev}", self._commit),
            (("POST",), rf"{_PLAIN}\.git/info/lfs/objects/batch", self._batch),
            (("GET", "HEAD"), rf"{_PLAIN}/resolve/{rev}/(?P<path>.+)", self._resolve),
            (("PUT",), r"/storage/(?P<oid>[0-9a-f]{64})", self._put),
            (("PUT",), r"/storage/(?P<oid>[0-9a-f]{64})/(?P<number>\d+)", self._put_part),
            (("POST",), r"/complete/(?P<oid>[0-9a-f]{64})/(?P<size>\d+)", self._complete),
            (("POST",), "/verify", self._verified),
            (("GET", "HEAD"), r"/storage/(?P<oid>[0-9a-f]{64})", self._get),
        ]

    # ---- Who may do what ----

    def _user(self, request: Request) -> User | None:
        header = request.headers.get("authorization", "")
        if not header:
            return None
        if (user := self.users.get(header.removeprefix("Bearer "))) is None:
            raise Refused(401, None, "Invalid credentials in Authorization header")
        return user

    def _repo(self, request: Request, kind: str | None, ns: str, name: str, *, write: bool = False) -> Repo:
        kind, user = kind or "model", self._user(request)
        wanted = self.moved.get((kind, f"{ns}/{name}"), f"{ns}/{name}")
        repo = self.repos.get((kind, wanted))
        if repo is None or (repo.private and (user is None or ns not in user.spaces)):
            raise Refused(404 if user else 401, "RepoNotFound", "Repository not found")
        if write:
            self._may_write(user, ns)
        return repo

    @staticmethod
    def _may_write(user: User | None, namespace: str) -> None:
        if user is None:
            raise Refused(401, None, "Invalid username or password.")
        if not user.writes or namespace not in user.spaces:
            raise Refused(403, None, f"You don't have the rights to write under the namespace {namespace!r}")

    async def _whoami(self, request: Request) -> Response:
        user = self._user(request)
        if user is None:
            raise Refused(401, None, "Invalid username or password.")
        role = "write" if user.writes else "read"
        token = {"type": "access_token", "accessToken": {"displayName": "tests", "role": role}}
        orgs = [{"type": "org", "name": name} for name in user.orgs]
        return JSONResponse({"type": "user", "name": user.name, "orgs": orgs, "auth": token})

    # ---- Repositories ----

    async def _create(self, request: Request) -> Response:
        wanted, user = await request.json(), self._user(request)
        kind = wanted.get("type") or "model"
        namespace = wanted.get("organization") or (user.name if user else "")
        self._may_write(user, namespace)
        name = f"{namespace}/{wanted['name']}"
        url = f"{self.endpoint}/{'' if kind == 'model' else kind + 's/'}{name}"
        if (kind, name) in self.repos:
            answer = {"error": "You already created this repo", "url": url}
            return JSONResponse(answer, 409, {"X-Error-Message": answer["error"]})
        private = bool(wanted.get("private")) or wanted.get("visibility") == "private"
        repo = self.repos[kind, name] = Repo(kind, name, private, wanted.get("sdk"))
        attributes = self._keep(".gitattributes", b"*.parquet filter=lfs diff=lfs merge=lfs -text\n")
        repo.commit("initial commit", {attributes.path: attributes})
        return JSONResponse({"url": url, "name": name})

    async def _delete(self, request: Request) -> Response:
        wanted = await request.json()
        kind, namespace = wanted.get("type") or "model", wanted.get("organization") or ""
        repo = self._repo(request, kind, namespace, wanted["name"], write=True)
        del self.repos[repo.kind, repo.id]
        return Response()

    async def _move(self, request: Request) -> Response:
        wanted = await request.json()
        kind, old, new = wanted["type"], wanted["fromRepo"], wanted["toRepo"]
        repo = self._repo(request, kind, *old.split("/"), write=True)
        self._may_write(self._user(request), new.split("/")[0])
        if (kind, new) in self.repos:
            raise Refused(409, None, "There is already a repository of that name")
        self.repos[kind, new] = replace(self.repos.pop((kind, repo.id)), id=new)
        self.moved[kind, old] = new
        return JSONResponse({"url": f"{self.endpoint}/{new}"})

    async def _validate(self, request: Request) -> Response:
        content = (await request.json())["content"]
        head = re.match(r"---\n(.*?)\n?---", content, re.DOTALL)
        try:
            if not head or not isinstance(yaml.safe_load(head[1]), dict):
                return JSONResponse(
                    {"errors": [], "warnings": [{"message": "empty or missing yaml metadata"}]}
                )
        except yaml.YAMLError as error:
            return JSONResponse({"errors": [{"message": str(error)}], "warnings": []}, 400)
        return JSONResponse({"errors": [], "warnings": []})

    async def _info(self, request: Request, ns: str, name: str, kind: str, rev: str = "main") -> Response:
        repo = self._repo(request, kind, ns, name)
        commit = repo.at(rev)
        return JSONResponse(
            {
                "id": repo.id,
                "author": ns,
                "sha": commit.oid,
                "private": repo.private,
                "gated": False,
                "disabled": False,
                "tags": [],
                "siblings": [{"rfilename": path} for path in sorted(commit.tree)],
                **({"sdk": repo.sdk} if repo.sdk else {}),
            }
        )

    async def _tree(
        self, request: Request, ns: str, name: str, kind: str, rev: str, under: str = ""
    ) -> Response:
        commit = self._repo(request, kind, ns, name).at(rev)
        recursive = request.query_params.get("recursive", "").lower() == "true"
        entries = listed(commit, under.rstrip("/"), recursive)
        if under and not entries:
            raise Refused(404, "EntryNotFound", f"{under} does not exist on {rev}")
        start = int(request.query_params.get("cursor", 0))
        more = {}
        if start + self.page < len(entries):
            query = urlencode({**request.query_params, "cursor": start + self.page})
            more["Link"] = f'<{self.endpoint}{request.scope["raw_path"].decode()}?{query}>; rel="next"'
        page = entries[start : start + self.page]
        if request.query_params.get("expand", "").lower() == "true":
            page = [{**facts, **last(commit)} for facts in page]
        return JSONResponse(page, headers=more)

    async def _paths(self, request: Request, ns: str, name: str, kind: str, rev: str) -> Response:
        commit = self._repo(request, kind, ns, name).at(rev)
        form = parse_qs((await request.body()).decode())
        found = []
        for path in form.get("paths", []):
            plain = path.strip("/")
            if plain in commit.tree:
                found.append(commit.tree[plain].facts())
            elif any(each.startswith(plain + "/") for each in commit.tree):
                found.append(folder(plain))
        if form.get("expand", [""])[0].lower() == "true":
            found = [{**facts, **last(commit)} for facts in found]
        return JSONResponse(found)

    async def _refs(self, request: Request, ns: str, name: str, kind: str) -> Response:
        repo = self._repo(request, kind, ns, name)

        def named(prefix: str, refs: Mapping[str, str]) -> list[dict[str, str]]:
            return [{"name": k, "ref": f"{prefix}{k}", "targetCommit": v} for k, v in refs.items()]

        tags, branches = named("refs/tags/", repo.tags), named("refs/heads/", repo.branches)
        return JSONResponse({"branches": branches, "tags": tags, "converts": []})

    async def _tag(self, request: Request, ns: str, name: str, kind: str, rev: str) -> Response:
        repo = self._repo(request, kind, ns, name, write=True)
        tag = (await request.json())["tag"]
        if tag in repo.tags:
            raise Refused(409, None, "Tag already exists")
        repo.tags[tag] = repo.at(rev).oid
        return Response(status_code=201)

    async def _untag(self, request: Request, ns: str, name: str, kind: str, rev: str) -> Response:
        repo = self._repo(request, kind, ns, name, write=True)
        if repo.tags.pop(rev, None) is None:
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {rev}")
        return Response(status_code=204)

    async def _squash(self, request: Request, ns: str, name: str, kind: str, rev: str) -> Response:
        repo = self._repo(request, kind, ns, name, write=True)
        tree = repo.at(rev).tree
        repo.commits.clear()
        repo.branches.clear()
        repo.commit((await request.json())["message"], tree)
        return Response(status_code=204)

    # ---- Uploading ----

    async def _preupload(self, request: Request, ns: str, name: str, kind: str, rev: str) -> Response:
        tree = self._repo(request, kind, ns, name, write=True).at(rev).tree
        answers = []
        for file in (await request.json())["files"]:
            large = bool(LARGE.search(file["path"])) or file["size"] > LARGE_BYTES
            known = tree.get(file["path"])
            oid = {"oid": known.sha256 or known.oid} if known else {}
            mode = "lfs" if large else "regular"
            answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, **oid})
        return JSONResponse({"files": answers})

    async def _batch(self, request: Request, ns: str, name: str, kind: str | None = None) -> Response:
        self._repo(request, kind, ns, name, write=True)
        objects = []
        for wanted in (await request.json())["objects"]:
            oid, size = wanted["oid"], wanted["size"]
            fact: dict[str, Any] = {"oid": oid, "size": size}
            if not self._large(oid).exists():
                upload: dict[str, Any] = {"href": self._signed(f"/storage/{oid}"), "header": {}}
                if self.part_bytes and size > self.part_bytes:
                    count = -(-size // self.part_bytes)
                    parts = {str(n): self._signed(f"/storage/{oid}/{n}") for n in range(1, count + 1)}
                    upload["href"] = f"{self.endpoint}/complete/{oid}/{size}"
                    upload["header"] = {"chunk_size": str(self.part_bytes), **parts}
                fact["actions"] = {"upload": upload, "verify": {"href": f"{self.endpoint}/verify"}}
            objects.append(fact)
        return JSONResponse({"transfer": "multipart" if self.part_bytes else "basic", "objects": objects})

    def _signed(self, path: str) -> str:
        signature = hashlib.sha256(f"{self._key}{path}".encode()).hexdigest()[:16]
        return f"{self.storage}{path}?signature={signature}"

    def _check(self, request: Request) -> None:
        """A storage host knows signatures, not tokens; one that came here has left the Hub."""
        if "authorization" in request.headers:
            raise Refused(400, None, "Only one auth mechanism allowed")
        wanted = self._signed(request.scope["raw_path"].decode()).partition("signature=")[2]
        if request.query_params.get("signature") != wanted:
            raise Refused(403, None, "The signature does not match")

    def _large(self, oid: str) -> Path:
        return self.folder / "large" / oid

    async def _put(self, request: Request, oid: str) -> Response:
        self._check(request)
        digest = await self._receive(request, part := self.folder / "parts" / secrets.token_hex(8))
        if digest != oid:
            part.unlink()
            raise Refused(400, None, "the content does not have that checksum")
        part.replace(self._large(oid))
        self.stored[oid] += 1
        return Response(headers={"ETag": f'"{digest}"'})

    async def _put_part(self, request: Request, oid: str, number: str) -> Response:
        self._check(request)
        digest = await self._receive(request, self.folder / "parts" / f"{oid}.{number}")
        return Response(headers={"ETag": f'"{digest}"'})

    @staticmethod
    async def _receive(request: Request, path: Path) -> str:
        digest = hashlib.sha256()
        with path.open("wb") as file:
            async for chunk in request.stream():
                digest.update(chunk)
                file.write(chunk)
        return digest.hexdigest()

    async def _complete(self, request: Request, oid: str, size: str) -> Response:
        whole, digest = self.folder / "parts" / oid, hashlib.sha256()
        with whole.open("wb") as file:
            for part in (await request.json())["parts"]:
                data = (self.folder / "parts" / f"{oid}.{part['partNumber']}").read_bytes()
                if part["etag"].strip('"') != hashlib.sha256(data).hexdigest():
                    raise Refused(400, None, f"part {part['partNumber']} is not the one that was sent")
                digest.update(data)
                file.write(data)
        if digest.hexdigest() != oid or whole.stat().st_size != int(size):
            raise Refused(400, None, "the parts do not add up to that checksum")
        whole.replace(self._large(oid))
        for part in self.folder.glob(f"parts/{oid}.*"):
            part.unlink()
        self.stored[oid] += 1
        return Response()

    async def _verified(self, request: Request) -> Response:
        wanted = await request.json()
        path = self._large(wanted["oid"])
        if not path.exists() or path.stat().st_size != wanted["size"]:
            raise Refused(404, None, "no such object")
        return Response()

    async def _commit(self, request: Request, ns: str, name: str, kind: str, rev: str) -> Response:
        repo = self._repo(request, kind, ns, name, write=True)
        if rev not in repo.branches:
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {rev}")
        lines = [json.loads(line) for line in (await request.body()).splitlines() if line.strip()]
        header = lines[0]["value"]
        if header.get("parentCommit") not in (None, repo.branches[rev]):
            raise Refused(412, None, "A commit has happened since. Please refresh and try again.")
        tree = dict(repo.at(rev).tree)
        for line in lines[1:]:
            self._apply(tree, line["key"], line["value"])
        made = repo.commit(header["summary"], tree)
        url = f"{self.endpoint}/{repo.kind}s/{repo.id}/commit/{made.oid}"
        return JSONResponse({"commitUrl": url, "commitOid": made.oid, "success": True})

    def _apply(self, tree: dict[str, Entry], key: str, value: Mapping[str, Any]) -> None:
        path = value["path"]
        if key == "file":
            tree[path] = self._keep(path, base64.b64decode(value["content"]))
        elif key == "lfsFile":
            if not self._large(value["oid"]).exists():
                raise Refused(400, None, f"{path}: no file with that checksum was uploaded")
            size = self._large(value["oid"]).stat().st_size
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{value['oid']}\nsize {size}\n"
            tree[path] = Entry(path, size, git_oid(pointer.encode()), value["oid"])
        else:
            gone = [each for each in tree if each == path or each.startswith(path.rstrip("/") + "/")]
            if not gone:
                raise Refused(404, "EntryNotFound", "A file with this name doesn't exist")
            for each in gone:
                del tree[each]

    def _keep(self, path: str, data: bytes) -> Entry:
        oid = git_oid(data)
        (self.folder / "small" / oid).write_bytes(data)
        return Entry(path, len(data), oid)

    # ---- Downloading ----

    async def _resolve(
        self, request: Request, ns: str, name: str, rev: str, path: str, kind: str | None = None
    ) -> Response:
        commit = self._repo(request, kind, ns, name).at(rev)
        stamp = {"X-Repo-Commit": commit.oid}
        entry = commit.tree.get(path)
        if entry is None:
            raise Refused(404, "EntryNotFound", "Entry not found", **stamp)
        if entry.sha256 is None:
            return content(request, self.folder / "small" / entry.oid, entry.oid, stamp)
        linked = {"X-Linked-Size": str(entry.size), "X-Linked-ETag": f'"{entry.sha256}"'}
        return Response(
            status_code=302,
            headers={**stamp, **linked, "Location": self._signed(f"/storage/{entry.sha256}")},
        )

    async def _get(self, request: Request, oid: str) -> Response:
        self._check(request)
        return content(request, self._large(oid), oid, {})


class _Protocol(H11Protocol):
    """Keeps the open connections by their client, so that one can be cut."""

    open: dict[tuple[str, int], Any] = {}  # noqa: RUF012

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # asyncio leaves it out for sockets that were made elsewhere; small answers would wait 40 ms.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.open[tuple(self.client)] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.open.pop(tuple(self.client), None)
        super().connection_lost(exc)


def use_hub(patch: Any, hub: Hub, home: Path) -> None:
    """Let calls of ``huggingface_hub`` that name no endpoint ask this Hub, with a cache in ``home``."""
    from huggingface_hub import constants

    patch.setattr(constants, "ENDPOINT", hub.endpoint)
    template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr(constants, "HF_HUB_CACHE", str(home / "cache"))
    patch.setattr(constants, "HF_HOME", str(home / "home"))


@contextmanager
def online(patch: Any) -> Iterator[None]:
    """Let ``huggingface_hub`` of this process, offline in the tests, go out; calls name the endpoint.

    It retries as it always does, without the seconds between.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session, disable_progress_bars

    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    patch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda seconds: None))
    disable_progress_bars()
    close_session()
    yield
    close_session()


if __name__ == "__main__":
    with Hub(Path(sys.argv[1])) as running:
        sys.stdout.write(json.dumps({"endpoint": running.endpoint, "token": "hf_writer"}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
