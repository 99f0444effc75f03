"""The private dataset on the Hub that holds a copy of the votes: one file an annotator, sent in intervals.

A file holds an annotator's votes as JSON lines, those taken back marked, and the hash of the annotator's
code, so that they may still withdraw after the machine has lost its disk. A withdrawal deletes the file and
squashes the history, so that no earlier commit holds it either; the pseudonym stays in a list, so that no
older disk and no other machine brings the votes back.
"""

from __future__ import annotations

import json
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

from croc.errors import CrocError, InputError
from croc_hum.votes.store import Store

FOLDER = "votes"
WITHDRAWN = "withdrawn.txt"
"""Pseudonyms of those who withdrew, one a line."""


class Mirror(CommitScheduler):
    """Keeps a private dataset equal to a store; first it brings what the dataset has into the store.

    What was acknowledged is on this machine's disk. A machine that loses its disk loses what was not sent
    yet: nothing when it is told to end (leave the context then), at most ``every`` minutes when it is not.

    Args:
        store: the votes; its items must be loaded.
        repo: the dataset's id; made, private, when it is not there.
        every: minutes between commits.
        api: of the Hub; its token must be allowed to write.

    Attributes:
        restored: votes of the dataset that the store did not have.

    Raises:
        InputError: the dataset is not private, or holds votes on items that the store does not have.
    """

    def __init__(self, store: Store, repo: str, *, every: float = 5, api: HfApi | None = None) -> None:
        api = api or HfApi()
        self._store, self._repo, self._api = store, repo, api
        self._sent: tuple[int, int] | None = None
        self._head: str | None = None
        self._there: dict[str, str] = {}
        # Before anything is sent: a dataset that everybody can read must never hold a vote.
        api.create_repo(repo, repo_type="dataset", private=True, exist_ok=True)
        if not api.dataset_info(repo).private:
            raise InputError(f"{repo} is public; the votes need a private dataset")
        self.restored = self._take_in()
        # The first commit comes at once.
        super().__init__(
            repo_id=repo,
            folder_path=store.path.parent,  # nothing is read from it: what is sent comes from the store
            repo_type="dataset",
            private=True,
            every=every,
            hf_api=api,
        )

    def push_to_hub(self) -> CommitInfo | None:
        """Send what is new; called by the scheduler's one thread, and when the program ends."""
        if self._store.revision() == self._sent and not self._store.withdrawn():
            return None
        # A disk older than the dataset, or another machine: what they have not seen must not be written over.
        self._take_in()
        revision, gone = self._store.revision(), self._store.withdrawn()
        done = self._commit(gone)
        if gone:
            # Also when no file was left: an earlier attempt may have ended between the two.
            self._api.super_squash_history(self._repo, repo_type="dataset", branch="main")
            self._head = None
            self._store.erased(gone)
        self._sent = revision
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *more: object) -> None:
        """Send what was not sent yet, and stop."""
        try:
            self.trigger().result()
        except Exception as problem:
            if kind is None:
                why = next(iter(str(problem).splitlines()), type(problem).__name__)
                raise CrocError(
                    f"{self._repo}: the last votes could not be sent ({why}); they are in {self._store.path}"
                ) from problem
        finally:
            self.stop()

    def erase(self, timeout: float = 60) -> bool:
        """Rewrite the dataset without who withdrew; False when it cannot be reached now: later again."""
        try:
            self.trigger().result(timeout=timeout)
        except Exception:  # whatever the network does, the withdrawal stands and is carried out later
            return False
        return not self._store.withdrawn()

    def _commit(self, gone: list[str]) -> CommitInfo | None:
        """One commit on top of what was read: the Hub refuses it when another machine came between."""
        files = {f"{FOLDER}/{name}.jsonl": text for name, text in _lines(self._store)}
        out = self._store.withdrawn(ever=True)
        if out:
            files[WITHDRAWN] = "".join(f"{name}\n" for name in out)
        contents = {path: text.encode() for path, text in files.items()}
        digests = {path: sha256(content).hexdigest() for path, content in contents.items()}
        changed = [path for path in contents if self._there.get(path) != digests[path]]
        dead = [path for name in gone if (path := f"{FOLDER}/{name}.jsonl") in self._there]
        if not changed and not dead:
            return None
        made = self._api.create_commit(
            self._repo,
            [
                *(CommitOperationAdd(path, contents[path]) for path in changed),
                *(CommitOperationDelete(path) for path in dead),
            ],
            commit_message="Withdrawal" if gone else "Votes",
            repo_type="dataset",
            parent_commit=self._head,
        )
        self._head = made.oid
        self._there = {path: digest for path, digest in self._there.items() if path not in dead}
        self._there |= {path: digests[path] for path in changed}
        return made

    def _take_in(self) -> int:
        """Bring into the store what the dataset has and it has not; the number of new votes."""
        info = self._api.dataset_info(self._repo)
        if info.sha == self._head:
            return 0
        new, there = 0, dict[str, str]()
        paths = [file.rfilename for file in info.siblings or ()]
        wanted = [path for path in paths if path == WITHDRAWN or fnmatch(path, f"{FOLDER}/*.jsonl")]
        # Not in the cache of the Hub's client: a withdrawal would leave the votes in it.
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
                there[WITHDRAWN] = sha256(listed.read_bytes()).hexdigest()
                self._store.withdrawn_elsewhere(listed.read_text("utf-8").split())
            for file in sorted((root / FOLDER).glob("*.jsonl")):
                content = file.read_bytes()
                path = f"{FOLDER}/{file.name}"
                there[path] = sha256(content).hexdigest()
                if there[path] == self._there.get(path):
                    continue
                try:
                    rows = [json.loads(line) for line in content.decode().split("\n") if line]
                except ValueError as problem:
                    raise InputError(f"{self._repo}/{path}: not JSON lines ({problem})") from None
                new += self._store.add_votes(rows, "annotator")
        self._head, self._there = info.sha, there
        return new


def _lines(store: Store) -> Iterator[tuple[str, str]]:
    """By pseudonym, the votes as JSON lines."""
    votes: dict[str, list[dict[str, Any]]] = {}
    for vote in store.votes(history=True):
        votes.setdefault(vote["annotator"], []).append(vote)
    keys = store.keys()
    for name, theirs in votes.items():
        rows = ({**vote, "key": keys.get(name)} for vote in theirs)
        yield name, "".join(f"{json.dumps(row, ensure_ascii=False, default=_plain)}\n" for row in rows)


def _plain(value: Any) -> str:
    return str(value.isoformat())
