"""The private dataset on the Hub that holds a copy of the votes: one file an annotator, sent in intervals.

A file holds an annotator's votes as JSON lines, those taken back marked, and the hash of the annotator's
code, so that they may still withdraw after the machine has lost its disk. A withdrawal deletes the file and
squashes the history, so that no earlier commit holds it either.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, CommitOperationDelete, CommitScheduler, HfApi, hf_hub_download

from croc.errors import InputError
from croc.files import atomic
from croc_hum.store import Store

FOLDER = "votes"
_SEEN_FILE = f"{FOLDER}/{{}}.jsonl"


class Mirror(CommitScheduler):
    """Keeps a private dataset equal to a store; first it brings what the dataset has into the store.

    What was acknowledged is on this machine's disk; a machine that loses its disk loses what was not sent
    yet, so a Space needs persistent storage, or a small ``every``.

    Args:
        store: the votes; its items must be loaded.
        repo: the dataset's id; made, private, when it is not there.
        folder: where the files are made that are sent.
        every: minutes between commits.
        api: of the Hub; its token must be allowed to write.

    Attributes:
        restored: votes of the dataset that the store did not have.

    Raises:
        InputError: the dataset is not private, or holds votes on items that the store does not have.
    """

    def __init__(
        self, store: Store, repo: str, folder: Path, *, every: float = 5, api: HfApi | None = None
    ) -> None:
        api = api or HfApi()
        self._store, self._sent = store, (-1, -1)
        # Before anything is sent: a dataset that everybody can read must never hold a vote.
        api.create_repo(repo, repo_type="dataset", private=True, exist_ok=True)
        if not api.dataset_info(repo).private:
            raise InputError(f"{repo} is public; the votes need a private dataset")
        # The first commit comes at once: a disk that is older than the dataset must not write over it.
        self.restored = _restore(store, repo, api)
        super().__init__(
            repo_id=repo,
            folder_path=folder,
            repo_type="dataset",
            private=True,
            every=every,
            hf_api=api,
            allow_patterns=_SEEN_FILE.format("*"),
        )

    def push_to_hub(self) -> CommitInfo | None:
        """Send what is new; called by the scheduler's one thread."""
        revision = self._store.revision()
        gone = self._store.withdrawn()
        if revision == self._sent and not gone:
            return None
        self._erase_remote(gone)
        self._write_files(set(gone))
        done = super().push_to_hub()
        self._sent = revision
        return done

    def erase(self, timeout: float = 60) -> bool:
        """Rewrite the dataset without who withdrew; False when it cannot be reached now: later again."""
        try:
            self.trigger().result(timeout=timeout)
        except Exception:  # whatever the network does, the withdrawal stands and is carried out later
            return False
        return not self._store.withdrawn()

    def _write_files(self, gone: set[str]) -> None:
        votes: dict[str, list[dict[str, Any]]] = {}
        for vote in self._store.votes(history=True):
            votes.setdefault(vote["annotator"], []).append(vote)
        keys = self._store.keys()
        for name, theirs in votes.items():
            rows = ({**vote, "key": keys.get(name)} for vote in theirs)
            text = "".join(f"{json.dumps(row, ensure_ascii=False, default=_plain)}\n" for row in rows)
            file = self.folder_path / _SEEN_FILE.format(name)
            file.parent.mkdir(parents=True, exist_ok=True)
            if name not in gone and (not file.exists() or file.read_text("utf-8") != text):
                with atomic(file) as temporary:
                    temporary.write_text(text, "utf-8")

    def _erase_remote(self, gone: list[str]) -> None:
        if not gone:
            return
        for name in gone:
            (self.folder_path / _SEEN_FILE.format(name)).unlink(missing_ok=True)
        there = set(self.api.list_repo_files(self.repo_id, repo_type="dataset"))
        paths = [path for name in gone if (path := _SEEN_FILE.format(name)) in there]
        if paths:
            self.api.create_commit(
                self.repo_id,
                [CommitOperationDelete(path) for path in paths],
                commit_message="Withdrawal",
                repo_type="dataset",
            )
        # Also when no file is left: an earlier attempt may have ended between the two.
        self.api.super_squash_history(self.repo_id, repo_type="dataset", branch="main")
        self._store.erased(gone)


def _restore(store: Store, repo: str, api: HfApi) -> int:
    new = 0
    for path in api.list_repo_files(repo, repo_type="dataset"):
        if not path.startswith(f"{FOLDER}/") or not path.endswith(".jsonl"):
            continue
        local = hf_hub_download(repo, path, repo_type="dataset", token=api.token, endpoint=api.endpoint)
        try:
            rows = [json.loads(line) for line in Path(local).read_text("utf-8").split("\n") if line]
        except ValueError as problem:
            raise InputError(f"{repo}/{path}: not JSON lines ({problem})") from None
        new += store.add_votes(rows, "annotator")
    return new


def _plain(value: Any) -> str:
    return str(value.isoformat())
