"""A private dataset on the Hub with a copy of the votes: one file per annotator, committed at intervals.

A file holds an annotator's votes as JSON lines, including those that were undone, and the hash of the
annotator's code, so that the annotator can withdraw even after the machine has lost its disk. A withdrawal
deletes the file and squashes the history, so that no earlier commit holds it. The pseudonym is kept in a
list, so that the votes are not restored from an older disk or another machine.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from huggingface_hub import (
    CommitInfo,
    CommitOperationAdd,
    CommitOperationDelete,
    CommitScheduler,
    HfApi,
    snapshot_download,
)
from typing_extensions import TypedDict

from croc.errors import CrocError, InputError
from croc.storage.text_files import parse_json, require_kind
from croc_hum.votes.store import Store

FOLDER = "votes"
_EVERY_WITHOUT_VOTES = 5.0
"""Minutes between two commits that no vote asked for, when every vote asks for one."""

_FIRST_REPETITION_S, _LAST_REPETITION_S = 5.0, 300.0
INVITATIONS = "invitations.txt"
"""File with the hashes of the invitation codes that have been used, one per line."""

WITHDRAWN = "withdrawn.txt"
"""File with the pseudonyms of annotators who withdrew, one per line."""


class _Row(TypedDict):
    """What a line of a file of votes has at least."""

    vote_id: str
    item_id: str
    annotator: str
    answer: str


class Mirror(CommitScheduler):
    """Keeps a private dataset equal to a store. At the start the votes of the dataset are added to the store.

    Acknowledged votes are on the disk of this machine. When the disk is lost, votes that were not sent are
    lost: none after a regular exit of the context, otherwise those of the last ``every`` minutes. With 0, a
    vote is acknowledged when it has been sent; votes that arrive during a commit share the next one.

    A withdrawal that cannot be sent stays in the store and is tried again, every few seconds at first.

    Args:
        store: the votes; its items must be loaded.
        repo: id of the dataset; it is created as private if it does not exist.
        every: minutes between two commits; 0 sends every vote at once, see :meth:`send`.
        api: client of the Hub; its token needs write access.

    Attributes:
        every_vote: whether each vote is sent before it is acknowledged.
        restored: number of votes that the dataset had and the store did not.

    Raises:
        InputError: the dataset is not private, or has votes on items that are not in the store.
    """

    def __init__(self, store: Store, repo: str, *, every: float = 5, api: HfApi | None = None) -> None:
        if not 0 <= every < math.inf:
            raise InputError(f"the minutes between two commits must be a number from 0 on, not {every}")
        api = api or HfApi()
        self._store, self._repo, self._api = store, repo, api
        self.every_vote = every == 0
        self._repeating, self._ended = threading.Lock(), threading.Event()
        self._sent: tuple[int, int, int] | None = None
        self._head: str | None = None
        self._digests: dict[str, str] = {}
        # Checked before anything is sent: a public dataset must never contain a vote.
        api.create_repo(repo, repo_type="dataset", private=True, exist_ok=True)
        if not api.dataset_info(repo).private:
            raise InputError(f"the dataset {repo} is public; votes need a private one")
        self.restored = self._pull()
        # The first commit is made at once.
        super().__init__(
            repo_id=repo,
            folder_path=store.path.parent,  # required, but not read: the files are made from the store
            repo_type="dataset",
            private=True,
            every=every or _EVERY_WITHOUT_VOTES,
            hf_api=api,
        )

    def push_to_hub(self) -> CommitInfo | None:
        """Commit what is new; called by the scheduler's thread and at the end of the program."""
        if self._store.revision() == self._sent and not self._store.list_withdrawn():
            return None
        # The dataset may have votes that this store has not: of another machine, or newer than this disk.
        self._pull()
        revision, withdrawn = self._store.revision(), self._store.list_withdrawn()
        commit = self._commit(withdrawn)
        if withdrawn:
            # Also when there is no file: an earlier attempt may have stopped between the two steps.
            self._api.super_squash_history(self._repo, repo_type="dataset", branch="main")
            self._head = None
            self._store.mark_erased(withdrawn)
        self._sent = revision
        return commit

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *more: object) -> None:
        """Commit what is new, and stop the scheduler."""
        self._ended.set()
        try:
            self.trigger().result()
        except Exception as problem:
            if kind is None:
                reason = next(iter(str(problem).splitlines()), type(problem).__name__)
                left = self._store.list_withdrawn()
                also = f"; votes of {', '.join(left)} must still be deleted there" if left else ""
                raise CrocError(
                    f"{self._repo}: the last votes could not be sent ({reason}); they are stored in "
                    f"{self._store.path}; run the command again to send them{also}"
                ) from problem
        finally:
            self.stop()

    def erase(self, timeout: float = 60) -> bool:
        """Delete withdrawn votes from the dataset; False if this failed and is tried again later."""
        if self.send(timeout) and not self._store.list_withdrawn():
            return True
        threading.Thread(target=self._repeat_withdrawal, daemon=True).start()
        return False

    def send(self, timeout: float = 60) -> bool:
        """Commit what is new; False if this failed or takes longer, and is tried again later."""
        try:
            self.trigger().result(timeout=timeout)
        except Exception:  # whatever the reason: the scheduler tries again
            return False
        return True

    def _repeat_withdrawal(self) -> None:
        """Try again until no withdrawn vote is left in the dataset, with growing waits."""
        if not self._repeating.acquire(blocking=False):
            return  # another withdrawal is being repeated, which includes this one
        try:
            wait = _FIRST_REPETITION_S
            while not self._ended.wait(wait):
                if self.send() and not self._store.list_withdrawn():
                    return
                wait = min(2 * wait, _LAST_REPETITION_S)
        finally:
            self._repeating.release()

    def _commit(self, withdrawn: list[str]) -> CommitInfo | None:
        """Commit on the revision that was read; the Hub refuses it after a commit of another machine."""
        files = {f"{FOLDER}/{name}.jsonl": text for name, text in _make_files(self._store)}
        listed = self._store.list_withdrawn(ever=True)
        if listed:
            files[WITHDRAWN] = "".join(f"{name}\n" for name in listed)
        if used := self._store.used_invitations():
            files[INVITATIONS] = "".join(f"{text}\n" for text in used)
        contents = {path: text.encode() for path, text in files.items()}
        digests = {path: sha256(content).hexdigest() for path, content in contents.items()}
        changed = [path for path in contents if self._digests.get(path) != digests[path]]
        deleted = [path for name in withdrawn if (path := f"{FOLDER}/{name}.jsonl") in self._digests]
        if not changed and not deleted:
            return None
        commit = self._api.create_commit(
            self._repo,
            [
                *(CommitOperationAdd(path, contents[path]) for path in changed),
                *(CommitOperationDelete(path) for path in deleted),
            ],
            commit_message="Withdrawal" if withdrawn else "Votes",
            repo_type="dataset",
            parent_commit=self._head,
        )
        self._head = commit.oid
        self._digests = {path: digest for path, digest in self._digests.items() if path not in deleted}
        self._digests |= {path: digests[path] for path in changed}
        return commit

    def _pull(self) -> int:
        """Add votes and withdrawals of the dataset to the store; returns the number of new votes."""
        info = self._api.dataset_info(self._repo)
        if info.sha == self._head:
            return 0
        new, digests = 0, dict[str, str]()
        paths = [file.rfilename for file in info.siblings or ()]
        lists = (WITHDRAWN, INVITATIONS)
        wanted = [path for path in paths if path in lists or fnmatch(path, f"{FOLDER}/*.jsonl")]
        # Not in the cache of the Hub's client, where withdrawn votes would remain.
        with TemporaryDirectory(prefix="croc-votes-") as folder:
            if wanted:
                snapshot_download(
                    self._repo,
                    repo_type="dataset",
                    revision=info.sha,
                    local_dir=folder,
                    allow_patterns=wanted,
                    token=self._api.token,
                    endpoint=self._api.endpoint,
                )
            root = Path(folder)
            if (listed := root / WITHDRAWN).is_file():
                digests[WITHDRAWN] = sha256(listed.read_bytes()).hexdigest()
                self._store.import_withdrawals(listed.read_text("utf-8").split())
            if (listed := root / INVITATIONS).is_file():
                digests[INVITATIONS] = sha256(listed.read_bytes()).hexdigest()
                self._store.import_used_invitations(listed.read_text("utf-8").split())
            for file in sorted((root / FOLDER).glob("*.jsonl")):
                content = file.read_bytes()
                path = f"{FOLDER}/{file.name}"
                digests[path] = sha256(content).hexdigest()
                if digests[path] == self._digests.get(path):
                    continue
                rows = list(_read_rows(content, f"{self._repo}/{path}"))
                new += self._store.add_votes(rows, "annotator")
        self._head, self._digests = info.sha, digests
        return new


def _make_files(store: Store) -> Iterator[tuple[str, str]]:
    """The pseudonym of each annotator and their votes as JSON lines."""
    votes: dict[str, list[dict[str, Any]]] = {}
    for vote in store.votes(history=True):
        votes.setdefault(vote["annotator"], []).append(vote)
    hashes = store.code_hashes()
    for name, own_votes in votes.items():
        rows = ({**vote, "key": hashes.get(name)} for vote in own_votes)
        yield name, "".join(f"{json.dumps(row, ensure_ascii=False, default=_format_time)}\n" for row in rows)


def _read_rows(content: bytes, where: str) -> Iterator[dict[str, Any]]:
    """The votes of a file of the dataset."""
    for number, line in enumerate(content.split(b"\n"), 1):
        if line:
            place = f"{where}, line {number}"
            yield dict(require_kind(parse_json(line, place, finite=True), _Row, place))


def _format_time(value: Any) -> str:
    return str(value.isoformat())
