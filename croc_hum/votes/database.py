"""The SQLite file of a campaign: its tables, one connection that writes, transactions that last."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Self

from croc import __version__
from croc.errors import InputError
from croc_hum.votes.assignment import Settings

TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS items (
  item_id TEXT PRIMARY KEY, task TEXT NOT NULL, check_id TEXT, concept_id TEXT, category TEXT, property TEXT,
  prompt TEXT NOT NULL, contrast_prompt TEXT, side TEXT, image_index INTEGER, expected TEXT,
  attention INTEGER NOT NULL, text_model TEXT, image_model TEXT, seed INTEGER,
  image_id TEXT NOT NULL, block INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS items_by_block ON items (attention, block);
CREATE TABLE IF NOT EXISTS images (image_id TEXT PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS annotators (
  annotator TEXT PRIMARY KEY, key TEXT UNIQUE, role TEXT NOT NULL, joined_at INTEGER NOT NULL, version TEXT);
CREATE TABLE IF NOT EXISTS assignments (
  assignment_id TEXT PRIMARY KEY, item_id TEXT NOT NULL, image_id TEXT NOT NULL, annotator TEXT NOT NULL,
  attention INTEGER NOT NULL, shown_first TEXT, state TEXT NOT NULL,
  round INTEGER NOT NULL, offered_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,
  UNIQUE (annotator, item_id));
CREATE INDEX IF NOT EXISTS assignments_by_item ON assignments (item_id, state);
CREATE INDEX IF NOT EXISTS assignments_by_image ON assignments (annotator, image_id);
CREATE INDEX IF NOT EXISTS assignments_open ON assignments (annotator, state, offered_at);
CREATE TABLE IF NOT EXISTS votes (
  number INTEGER PRIMARY KEY AUTOINCREMENT, vote_id TEXT UNIQUE NOT NULL, event TEXT NOT NULL,
  offer TEXT UNIQUE, undoes TEXT UNIQUE, item_id TEXT NOT NULL, annotator TEXT NOT NULL, role TEXT NOT NULL,
  answer TEXT, reason TEXT, shown_first TEXT, shown_at INTEGER, voted_at INTEGER NOT NULL,
  duration_s REAL, version TEXT);
CREATE INDEX IF NOT EXISTS votes_by_annotator ON votes (annotator, number);
CREATE INDEX IF NOT EXISTS votes_by_item ON votes (item_id);
CREATE TABLE IF NOT EXISTS withdrawals (
  annotator TEXT PRIMARY KEY, withdrawn_at INTEGER NOT NULL, erased_at INTEGER);
CREATE VIEW IF NOT EXISTS standing AS SELECT v.* FROM votes v
  WHERE v.event = 'vote' AND NOT EXISTS (SELECT 1 FROM votes u WHERE u.undoes = v.vote_id);
CREATE TRIGGER IF NOT EXISTS votes_are_never_changed BEFORE UPDATE ON votes
  BEGIN SELECT RAISE(ABORT, 'votes are appended, never changed'); END;
CREATE TRIGGER IF NOT EXISTS votes_go_with_their_annotator_alone BEFORE DELETE ON votes
  WHEN NOT EXISTS (SELECT 1 FROM withdrawals w WHERE w.annotator = OLD.annotator)
  BEGIN SELECT RAISE(ABORT, 'votes are deleted by a withdrawal alone'); END;
"""

ITEM_FIELDS = (
    "item_id", "task", "check_id", "concept_id", "category", "property", "prompt", "contrast_prompt", "side",
    "image_index", "expected", "attention", "text_model", "image_model", "seed", "image_id", "block",
)  # fmt: skip
VOTE_FIELDS = (
    "vote_id", "event", "offer", "undoes", "item_id", "annotator", "role", "answer", "reason", "shown_first",
    "shown_at", "voted_at", "duration_s", "version",
)  # fmt: skip


class Database:
    """The file below :class:`croc_hum.votes.store.Store`; see there."""

    def __init__(
        self,
        path: Path | str,
        settings: Settings | None = None,
        *,
        version: str = __version__,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path, self.version, self._clock = Path(path), version, clock
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        try:
            self._db = self._connect()
            # FULL: a vote that was acknowledged outlives the machine's power, too.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.executescript(TABLES)
            with self._write() as db:
                kept = db.execute("SELECT value FROM meta WHERE key = 'settings'").fetchone()
                before = Settings.of(json.loads(kept[0])) if kept else Settings()
                self.settings = settings or before
                if not kept or settings is not None:
                    db.execute(
                        "INSERT OR REPLACE INTO meta VALUES ('settings', ?)",
                        (json.dumps(self.settings.row()),),
                    )
                db.execute("INSERT OR IGNORE INTO meta VALUES ('secret', ?)", (secrets.token_hex(16),))
        except sqlite3.DatabaseError as problem:
            raise InputError(f"{self.path}: cannot be used as a store of votes ({problem})") from None

    def close(self) -> None:
        """Write what lies in the WAL file back and let go of the file."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def configure(self, settings: Settings) -> None:
        """Hand out items by other settings from now on; they are kept in the file."""
        with self._write() as db:
            row = json.dumps(settings.row())
            db.execute("INSERT OR REPLACE INTO meta VALUES ('settings', ?)", (row,))
            self.settings = settings

    @property
    def secret(self) -> str:
        """Random, the same for the life of the file."""
        with self._lock:
            return str(self._db.execute("SELECT value FROM meta WHERE key = 'secret'").fetchone()[0])

    # ---- What a copy elsewhere has to know ----

    def withdrawn(self, *, ever: bool = False) -> list[str]:
        """Pseudonyms of those who withdrew and whose votes may still lie in a copy elsewhere.

        Args:
            ever: also of those whose votes no copy holds any more.
        """
        with self._reading() as db:
            rows = db.execute(
                "SELECT annotator FROM withdrawals WHERE erased_at IS NULL OR ? ORDER BY annotator", (ever,)
            )
            return [row[0] for row in rows]

    def keys(self) -> dict[str, str]:
        """By pseudonym, the hash of the code: a copy of the votes then knows who may withdraw them."""
        with self._reading() as db:
            found = db.execute("SELECT annotator, key FROM annotators WHERE key IS NOT NULL")
            return {row[0]: row[1] for row in found}

    def erased(self, names: Iterable[str]) -> None:
        """Note that no copy holds the votes of these any more."""
        with self._write() as db:
            db.executemany(
                "UPDATE withdrawals SET erased_at = ? WHERE annotator = ?",
                [(self._now(), name) for name in names],
            )

    def withdrawn_elsewhere(self, names: Iterable[str]) -> None:
        """Delete what is here of those who withdrew on another machine, or before this disk's time."""
        with self._write() as db:
            known = {row[0] for row in db.execute("SELECT annotator FROM withdrawals")}
            new = [name for name in names if name not in known]
            for name in new:
                self._erase(db, name)
        if new:
            self._forget_pages()

    def _erase(self, db: sqlite3.Connection, who: str) -> None:
        db.execute("INSERT OR REPLACE INTO withdrawals VALUES (?, ?, NULL)", (who, self._now()))
        for table in ("votes", "assignments", "annotators"):
            db.execute(f"DELETE FROM {table} WHERE annotator = ?", (who,))

    def _forget_pages(self) -> None:
        """Pages of the file that held what was deleted are overwritten; the WAL file holds copies of them."""
        with self._lock:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def revision(self) -> tuple[int, int]:
        """Changes when a vote is appended or somebody withdraws."""
        with self._reading() as db:
            row = db.execute(
                "SELECT (SELECT MAX(number) FROM votes), (SELECT COUNT(*) FROM withdrawals)"
            ).fetchone()
        return int(row[0] or 0), int(row[1])

    # ---- SQLite ----

    def _now(self) -> int:
        return round(self._clock() * 1000)

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
        db.row_factory = sqlite3.Row
        return db

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """One transaction; when it ends without an exception, it is on disk."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own: who reads much keeps nobody from voting."""
        with closing(self._connect()) as db:
            yield db
