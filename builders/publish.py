"""A finished folder → a repository on the Hub: everything or nothing, and nothing is sent twice.

    from builders.publish import publish

    publish("syn", "runs/syn", "org/name", private=True, tag="v1.0.0")

``croc publish syn runs/syn --repo org/name`` does the same. ``huggingface_hub.upload_folder`` uploads the
content first, where nobody sees it yet. Then one commit adds all files, together with the card and the
manifest, and deletes the shards that the new version lacks: a reader of a branch sees the old version or the
new one, never a mixture, and a reader of a commit or a tag keeps the old files. A second run after an
interruption sends only what the Hub does not have.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.upload_files import (
    CARD,
    REPO_TYPES,
    File,
    collect,
    published_before,
    refuse_secrets,
    without_secrets,
)
from croc.checks.manifest import MANIFEST, DatasetManifest, digest_of_manifest
from croc.errors import CrocError, InputError
from croc.storage.hub_access import is_connection_error
from croc.storage.text_files import parse_json, require_kind
from croc.wording import counted

if TYPE_CHECKING:
    from huggingface_hub import HfApi

logger = logging.getLogger(__name__)

ATTEMPTS = 5

# What the Hub or a person may have put beside a dataset of ours before its first version.
_HARMLESS = (".gitattributes", "README.md", "LICENSE")
_BACKOFF_SECONDS = (1.0, 4.0, 15.0, 60.0)


@dataclass(frozen=True)
class Publication:
    """What was published, or would be.

    Attributes:
        repo, repo_type: where.
        files: everything that the new version holds from the folder, in order.
        added, changed, same, removed: paths, compared with what is on the Hub now.
        left_out: files of the folder that do not go up.
        card: the README's text.
        commit: the commit that holds it; None in a dry run.
        tag: the version's name.
        notes: what else a person should know.
        dry_run: nothing was sent.
    """

    repo: str
    repo_type: str
    files: tuple[File, ...]
    added: tuple[str, ...]
    changed: tuple[str, ...]
    same: tuple[str, ...]
    removed: tuple[str, ...]
    left_out: tuple[str, ...]
    card: str
    commit: str | None = None
    tag: str | None = None
    notes: tuple[str, ...] = ()
    dry_run: bool = False
    url: str = ""

    @property
    def upload_bytes(self) -> int:
        """Size of what is new or changed."""
        moving = {*self.added, *self.changed}
        return sum(file.size for file in self.files if file.path in moving)

    @property
    def digest(self) -> str | None:
        """The checksum of a dataset's manifest, which identifies its content; None for models and Spaces."""
        if self.repo_type != "dataset":
            return None
        stored = next(file for file in self.files if file.path == MANIFEST)
        return digest_of_manifest(json.loads(stored.read()))

    def lines(self) -> list[str]:
        """The publication in words; a dry run lists every file and the card."""
        text = list(self.notes)
        if self.dry_run:
            marks = {**dict.fromkeys(self.added, "new"), **dict.fromkeys(self.changed, "changed")}
            text += [
                f"{marks.get(file.path, 'same'):8} {_size(file.size):>9}  {file.path}" for file in self.files
            ]
            text += [f"{'removed':8} {'':>9}  {path}" for path in self.removed]
            text += [f"{'left out':8} {'':>9}  {path}" for path in self.left_out]
            text += ["", "README.md:", self.card.rstrip(), ""]
        counts = {"new": self.added, "changed": self.changed, "same": self.same, "removed": self.removed}
        files = ", ".join(f"{len(paths)} {name}" for name, paths in counts.items() if paths)
        size = f"{'to upload' if self.dry_run else 'uploaded'}: {_size(self.upload_bytes)}"
        if self.digest is not None:
            text.append(f"manifest: {self.digest} (croc verify --digest compares a copy with it)")
        text.append(f"{self.repo} ({self.repo_type}): {f'files: {files}' if files else 'no files'}; {size}")
        if self.dry_run:
            text.append("dry run: nothing was uploaded" + (f"; tag: {self.tag}" if self.tag else ""))
        else:
            text.append(f"{self.url} at {self.commit}" + (f", tagged {self.tag}" if self.tag else ""))
        return text


def publish(
    kind: str,
    folder: str | Path,
    repo: str,
    *,
    private: bool = False,
    tag: str | None = None,
    benchmark: bool = False,
    dry_run: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
    log: Callable[[str], None] = logger.info,
    sleep: Callable[[float], None] = time.sleep,
) -> Publication:
    """Put a finished folder on the Hub.

    Args:
        kind: ``syn``, ``hum``, ``graded`` or ``train`` (a built dataset), ``model`` (a checkpoint), or
            ``space``.
        folder: what to publish; checked before anything is sent.
        repo: ``organisation/name``; made when it is not there.
        private: only members of the organisation may see it. An existing public repository is refused then;
            an existing private one stays private in any case.
        tag: name of this version; a tag that is already on another version is refused, versions do not move.
        benchmark: declare a dataset of checks as a benchmark of the Hub, by an ``eval.yaml``.
        dry_run: say what would go up, and send nothing; without a network it compares with nothing.
        token: of a user who may write there; None takes ``HF_TOKEN`` or the one of ``hf auth login``.
        endpoint: of another Hub; None takes ``HF_ENDPOINT``.
        log: called with lines about the progress.
        sleep: waits between attempts.

    Returns:
        What was published, or would be.

    Raises:
        InputError: the folder, the repository's name, or what is in the repository cannot be used.
        CrocError: the Hub refused, or could not be reached in several attempts.
    """
    if kind not in REPO_TYPES:
        raise InputError(f"{kind!r} cannot be published; choose one of {', '.join(REPO_TYPES)}")
    _refuse_name(repo)
    if tag is not None and not re.fullmatch(r"[\w-][\w.+-]*", tag):
        raise InputError(f"--tag {tag}: a tag consists of letters, digits, dots and dashes, such as v1.0.0")
    files, left_out, card = collect(kind, Path(folder), repo, benchmark=benchmark)
    from huggingface_hub import HfApi, get_token

    # The base of all network errors of the HTTP library that huggingface_hub uses.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    secret = (token or get_token() or "").strip()
    if not re.fullmatch(r"[!-~]*", secret):
        # The HTTP library would quote it when it refuses it.
        raise InputError("the access token contains invalid characters; copy it again")
    refuse_secrets(files, secret)
    api = HfApi(endpoint=endpoint, token=secret or None, library_name="croc")
    job = _Job(api, kind, repo, files, tuple(left_out), card, private, tag, log)
    with _bars():
        for attempt in range(ATTEMPTS):
            try:
                return job.preview() if dry_run else job.perform()
            except (HTTPError, OSError, RuntimeError, ValueError) as error:
                reason = without_secrets(_cause(error), secret)
                if not job.reached and _status(error) is None and is_connection_error(error) and attempt:
                    message = f"{repo}: {api.endpoint} cannot be reached ({reason}); check the network"
                    raise CrocError(message) from None
                wait = None if _lacks_xet(reason) else _wait_seconds(error, attempt)
                if wait is None or attempt + 1 == ATTEMPTS:
                    raise CrocError(_message(error, repo, reason, wait is not None)) from None
                log(f"interrupted ({reason}); retrying in {wait:.0f} s")
                sleep(wait)
    raise AssertionError("unreachable")


def may_publish(repo: str) -> None:
    """Refuse what :func:`publish` would refuse for its name or for want of a token, before any work is done.

    Raises:
        InputError: the name is none of a repository, or no access token is set.
    """
    from huggingface_hub import get_token

    _refuse_name(repo)
    if not get_token():
        raise InputError(f"{repo}: publishing needs an access token; set HF_TOKEN or run 'hf auth login'")


def _refuse_name(repo: str) -> None:
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", repo):
        raise InputError(f"{repo}: a repository is named organisation/name")


# ---- The Hub ----


@dataclass(frozen=True)
class _Remote:
    """What the repository holds now.

    Attributes:
        head: its newest commit.
        files: by path the scheme and value of the checksum that the Hub knows.
        tags: commit by name.
        private: whether only members see it; None when the server does not say.
        listed: what the manifest, or card, of the version that is there names.
    """

    head: str
    files: dict[str, tuple[str, str]]
    tags: dict[str, str]
    private: bool | None
    listed: frozenset[str] = frozenset()


@dataclass
class _Job:
    api: HfApi
    kind: str
    repo: str
    files: tuple[File, ...]
    left_out: tuple[str, ...]
    card: str
    private: bool
    tag: str | None
    log: Callable[[str], None]
    sent: Publication | None = None
    reached: bool = False

    @property
    def type(self) -> str:
        return REPO_TYPES[self.kind]

    @property
    def address(self) -> dict[str, Any]:
        return {"repo_id": self.repo, "repo_type": self.type}

    def preview(self) -> Publication:
        """Compare with what is there, or with nothing when it cannot be seen."""
        from huggingface_hub.errors import HTTPError, RepositoryNotFoundError  # type: ignore[attr-defined]

        notes: tuple[str, ...] = ()
        try:
            there = self._read_remote()
        except RepositoryNotFoundError:
            there, notes = None, (f"{self.repo} does not exist yet, or this token has no access to it",)
        except (HTTPError, OSError):
            there, notes = None, ("the Hub cannot be reached, so every file counts as new",)
        return self._compare(there, notes, dry_run=True)

    def perform(self) -> Publication:
        from hub_cards.cards import front_matter

        sdk = {"space_sdk": front_matter(self.card)["sdk"]} if self.kind == "space" else {}
        # None, not False: an organisation may make repositories private by default.
        self.api.create_repo(**self.address, private=self.private or None, exist_ok=True, **sdk)
        self.reached = True
        there = self._read_remote()
        plan = self._compare(there, ())
        moving = {*plan.added, *plan.changed}
        head = there.head
        if moving or plan.removed:
            # When the answer to the commit is lost, the next attempt finds nothing left to do.
            self.sent = plan
            head = self._send([file for file in self.files if file.path in moving], plan.removed, there.head)
        if self.tag is not None and there.tags.get(self.tag) != head:
            self.api.create_tag(**self.address, tag=self.tag, revision=head)
        url = f"{self.api.endpoint}/{'' if self.type == 'model' else self.type + 's/'}{self.repo}"
        return replace(self.sent or plan, commit=head, url=url)

    def _read_remote(self) -> _Remote:
        info = self.api.repo_info(**self.address)
        head = str(info.sha)
        files = {}
        for entry in self.api.list_repo_tree(**self.address, recursive=True, revision=head):
            if (blob := getattr(entry, "blob_id", None)) is not None:
                lfs = getattr(entry, "lfs", None)
                files[entry.path] = ("sha256", lfs.sha256) if lfs else ("git", blob)
        tags = {ref.name: ref.target_commit for ref in self.api.list_repo_refs(**self.address).tags}
        there = _Remote(head, files, tags, info.private)
        return replace(there, listed=self._listed(there))

    def _listed(self, there: _Remote) -> frozenset[str]:
        """The files that an earlier publication named; refuses a dataset of another origin."""
        if self.type != "dataset":
            return published_before(self._text(there, CARD))
        if "manifest.json" not in there.files:
            if strange := [path for path in there.files if path not in _HARMLESS]:
                raise InputError(
                    f"{self.repo} contains files of unknown origin ({strange[0]} …); "
                    "choose another name or remove them"
                )
            return frozenset()
        try:
            text = self._text(there, "manifest.json")
            stored = require_kind(parse_json(text, MANIFEST, finite=True), DatasetManifest, MANIFEST)
        except InputError:
            return frozenset()
        made = stored["recipe"].get("kind", self.kind)
        if made != self.kind:
            raise InputError(f"{self.repo} contains a {made} dataset; choose another name for this one")
        return frozenset(stored["files"])

    def _text(self, there: _Remote, path: str) -> str:
        """A text file of the version that is there; empty when it has none."""
        if path not in there.files:
            return ""
        with tempfile.TemporaryDirectory() as folder:
            found = self.api.hf_hub_download(
                **self.address, filename=path, revision=there.head, local_dir=folder
            )
            return Path(found).read_text("utf-8")

    def _compare(
        self, there: _Remote | None, notes: tuple[str, ...], *, dry_run: bool = False
    ) -> Publication:
        from huggingface_hub.utils.sha import git_hash

        if self.private and there is not None and there.private is False:
            raise InputError(f"{self.repo} is public; make it private on the Hub first, or omit --private")
        held = there.files if there else {}
        added: list[str] = []
        changed: list[str] = []
        same: list[str] = []
        for file in self.files:
            scheme, digest = held.get(file.path, ("", ""))
            mine = git_hash(file.read()) if scheme == "git" else file.sha256
            (added if not scheme else same if mine == digest else changed).append(file.path)
        ours = {file.path for file in self.files}
        gone = [path for path in held if path not in ours and self._owns(path, there)]
        moved = there is not None and self.tag in there.tags
        if moved and there and (there.tags[str(self.tag)] != there.head or added or changed or gone):
            raise InputError(
                f"{self.repo} already has a tag {self.tag} with other content; choose another --tag"
            )
        kept = [p for p in held if p not in ours and p not in gone and p not in _HARMLESS]
        if kept:
            notes += (f"{counted(len(kept), 'other file')} on the Hub not changed ({kept[0]} …)",)
        return Publication(
            self.repo,
            self.type,
            self.files,
            tuple(added),
            tuple(changed),
            tuple(same),
            tuple(sorted(gone)),
            self.left_out,
            self.card,
            tag=self.tag,
            notes=notes,
            dry_run=dry_run,
        )

    def _owns(self, path: str, there: _Remote | None) -> bool:
        """Whether a file that the folder no longer has would mix with the new version if it stayed."""
        if there is not None and path in there.listed:
            return True
        if self.type == "model":
            return path.endswith((".safetensors", ".safetensors.index.json"))
        return self.type == "dataset" and path.startswith("data/")

    def _send(self, files: Sequence[File], removed: Sequence[str], head: str) -> str:
        """Upload and commit; returns the new head."""
        with tempfile.TemporaryDirectory(prefix="croc-publish-") as name:
            staged = Path(name)
            for file in files:
                place = staged / file.path
                place.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(file.source, Path):
                    place.symlink_to(file.source.resolve())
                else:
                    place.write_bytes(file.source)
            size = _size(sum(file.size for file in files))
            self.log(f"{self.repo}: uploading {counted(len(files), 'file')}, {size}")
            made = self.api.upload_folder(
                **self.address,
                folder_path=staged,
                delete_patterns=[escape(path) for path in removed] or None,
                parent_commit=head,
                commit_message=f"Publish {self.tag}" if self.tag else f"Publish {self.kind}",
            )
        return str(made.oid)


# ---- When it goes wrong ----


def _cause(error: BaseException) -> str:
    """The first line of what lies at the bottom of an error."""
    while error.__cause__ is not None and not getattr(error, "response", None):
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    message = getattr(error, "server_message", None)
    return " ".join(filter(None, (lines[0] if lines else type(error).__name__, message)))


def _status(error: BaseException | None) -> int | None:
    while error is not None:
        if (response := getattr(error, "response", None)) is not None:
            return int(response.status_code)
        error = error.__cause__
    return None


def _lacks_xet(reason: str) -> bool:
    return "xet-write-token" in reason and "404" in reason


def _wait_seconds(error: BaseException, attempt: int) -> float | None:
    """Seconds to wait before another attempt; None when one would end the same way."""
    status = _status(error)
    if type(error).__name__ == "OfflineModeIsEnabled" or (
        status and status not in (408, 429) and status < 500
    ):
        return None
    if status is None and isinstance(error, (ValueError, FileNotFoundError, PermissionError)):
        return None
    backoff = _BACKOFF_SECONDS[min(attempt, len(_BACKOFF_SECONDS) - 1)]
    retry_after = getattr(getattr(error, "response", None), "headers", {}).get("Retry-After", "")
    return max(backoff, float(retry_after)) if retry_after.isdigit() else backoff


def _message(error: BaseException, repo: str, reason: str, tried: bool) -> str:
    status = _status(error)
    if _lacks_xet(reason):
        return f"{repo}: this Hub has no Xet storage; set HF_HUB_DISABLE_XET=1 to upload over HTTP"
    if tried:
        return f"{repo}: stopped after {ATTEMPTS} attempts ({reason}); run the command again to resume"
    if status == 401 or "NotFound" in type(error).__name__:
        return f"{repo}: the Hub does not accept this access token ({reason}); set HF_TOKEN to a valid one"
    if status == 403:
        return f"{repo}: this access token has no write access ({reason})"
    if status in (409, 412):
        return (
            f"{repo}: the repository changed during the upload ({reason}); check it and run the command again"
        )
    return f"{repo}: the Hub refused the request ({reason})"


@contextlib.contextmanager
def _bars() -> Iterator[None]:
    """huggingface_hub's own bars on a terminal, none in a log."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    hide = not sys.stderr.isatty() and not are_progress_bars_disabled()
    if hide and os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS") is None:
        disable_progress_bars()
        try:
            yield
        finally:
            enable_progress_bars()
    else:
        yield


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
