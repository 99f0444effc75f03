"""The SQLite file of a campaign: its tables, one connection that writes, durable transactions."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

from croc import __version__
from croc.errors import CrocError, InputError
from croc.storage.text_files import parse_json, require_kind, require_regular
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
CREATE TABLE IF NOT EXISTS invitations (hash TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE VIEW IF NOT EXISTS standing AS SELECT v.* FROM votes v
  WHERE v.event = 'vote' AND NOT EXISTS (SELECT 1 FROM votes u WHERE u.undoes = v.vote_id);
CREATE TRIGGER IF NOT EXISTS votes_are_never_changed BEFORE UPDATE ON votes
  BEGIN SELECT RAISE(ABORT, 'votes are appended, never changed'); END;
CREATE TRIGGER IF NOT EXISTS votes_go_with_their_annotator_alone BEFORE DELETE ON votes
  WHEN NOT EXISTS (SELECT 1 FROM withdrawals w WHERE w.annotator = OLD.annotator)
  BEGIN SELECT RAISE(ABORT, 'votes are deleted by a withdrawal alone'); END;
"""

_MAGIC = b"SQLite format 3\0"
ITEM_FIELDS = (
    "item_id", "task", "check_id", "concept_id", "category", "property", "prompt", "contrast_prompt", "side",
    "image_index", "expected", "attention", "text_model", "image_model", "seed", "image_id", "block",
)  # fmt: skip
VOTE_FIELDS = (
    "vote_id", "event", "offer", "undoes", "item_id", "annotator", "role", "answer", "reason", "shown_first",
    "shown_at", "voted_at", "duration_s", "version",
)  # fmt: skip


class Database:
    """The database of a :class:`croc_hum.votes.store.Store`; see there for the arguments."""

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
        self._refuse_other_files()
        try:
            self._db = self._connect()
            self._refuse_other_programs()
            # FULL: an acknowledged vote survives a power failure, too.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.executescript(TABLES)
            with self._write() as db:
                kept = db.execute("SELECT value FROM meta WHERE key = 'settings'").fetchone()
                stored = Settings()
                if kept:
                    row = parse_json(str(kept[0]), f"{self.path}: settings", finite=True)
                    stored = Settings.of(require_kind(row, dict[str, Any], f"{self.path}: settings"))
                self.settings = settings or stored
                if not kept or settings is not None:
                    db.execute(
                        "INSERT OR REPLACE INTO meta VALUES ('settings', ?)",
                        (json.dumps(self.settings.row()),),
                    )
                db.execute("INSERT OR IGNORE INTO meta VALUES ('secret', ?)", (secrets.token_hex(16),))
        except sqlite3.OperationalError as problem:
            hint = "" if os.access(self.path.parent, os.W_OK) else "; its folder must be writable: copy it"
            raise InputError(f"{self.path}: the store of votes cannot be opened ({problem}){hint}") from None
        except sqlite3.DatabaseError as problem:
            raise InputError(f"{self.path}: not a store of votes ({problem})") from None
        except CrocError:
            self._db.close()
            raise

    def _refuse_other_files(self) -> None:
        """Check the first bytes of a file: SQLite would write over a short file that is none of its own."""
        if self.path.exists():
            require_regular(self.path)
        if self.path.is_file():
            with self.path.open("rb") as file:
                start = file.read(len(_MAGIC))
            if start not in (b"", _MAGIC):
                raise InputError(f"{self.path}: not a store of votes (file is not a database)")

    def _refuse_other_programs(self) -> None:
        """Check that a file that has tables has ours, before anything is written to it."""
        present = {
            table: {
                row["name"] for row in self._db.execute("SELECT name FROM pragma_table_info(?)", (table,))
            }
            for (table,) in self._db.execute("SELECT name FROM sqlite_master").fetchall()
        }
        required = {"meta": {"key", "value"}, "items": set(ITEM_FIELDS), "votes": set(VOTE_FIELDS)}
        if present and any(not columns <= present.get(table, set()) for table, columns in required.items()):
            raise InputError(
                f"{self.path}: an SQLite file of another program, which is not changed; expected a store of "
                "votes, or a name that does not exist"
            )

    def close(self) -> None:
        """Write the WAL file back into the database and close it."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def configure(self, settings: Settings) -> None:
        """Change how items are handed out; the settings are stored in the file."""
        with self._write() as db:
            row = json.dumps(settings.row())
            db.execute("INSERT OR REPLACE INTO meta VALUES ('settings', ?)", (row,))
            self.settings = settings

    @property
    def secret(self) -> str:
        """A random text that stays the same for this file."""
        with self._lock:
            return str(self._db.execute("SELECT value FROM meta WHERE key = 'secret'").fetchone()[0])

    # ---- For a copy elsewhere ----

    def list_withdrawn(self, *, ever: bool = False) -> list[str]:
        """Pseudonyms of annotators who withdrew and whose votes may still be in a copy.

        Args:
            ever: also those whose votes are no longer in any copy.
        """
        with self._reading() as db:
            rows = db.execute(
                "SELECT annotator FROM withdrawals WHERE erased_at IS NULL OR ? ORDER BY annotator", (ever,)
            )
            return [row[0] for row in rows]

    def code_hashes(self) -> dict[str, str]:
        """The hash of each annotator's code, by pseudonym; with it the code also works with a copy."""
        with self._reading() as db:
            rows = db.execute("SELECT annotator, key FROM annotators WHERE key IS NOT NULL")
            return {row[0]: row[1] for row in rows}

    def mark_erased(self, names: Iterable[str]) -> None:
        """Record that the votes of these annotators are no longer in any copy."""
        with self._write() as db:
            db.executemany(
                "UPDATE withdrawals SET erased_at = ? WHERE annotator = ?",
                [(self._now(), name) for name in names],
            )

    def used_invitations(self) -> list[str]:
        """Hashes of the invitation codes that have been used, sorted."""
        with self._reading() as db:
            return [row[0] for row in db.execute("SELECT hash FROM invitations ORDER BY hash")]

    def import_used_invitations(self, hashes: Iterable[str]) -> None:
        """Add invitation codes that have been used elsewhere, on another machine or an earlier disk."""
        with self._write() as db:
            self._add_used_invitations(db, hashes)

    @staticmethod
    def _add_used_invitations(db: sqlite3.Connection, hashes: Iterable[str]) -> int:
        """Returns how many of them are new."""
        return sum(
            db.execute("INSERT OR IGNORE INTO invitations VALUES (?)", (text,)).rowcount for text in hashes
        )

    def import_withdrawals(self, names: Iterable[str]) -> None:
        """Delete the votes of annotators who withdrew elsewhere, on another machine or an earlier disk."""
        with self._write() as db:
            known = {row[0] for row in db.execute("SELECT annotator FROM withdrawals")}
            new = [name for name in names if name not in known]
            for name in new:
                self._erase(db, name)
        if new:
            self._overwrite_deleted()

    def _erase(self, db: sqlite3.Connection, annotator: str) -> None:
        db.execute("INSERT OR REPLACE INTO withdrawals VALUES (?, ?, NULL)", (annotator, self._now()))
        for table in ("votes", "assignments", "annotators"):
            db.execute(f"DELETE FROM {table} WHERE annotator = ?", (annotator,))

    def _overwrite_deleted(self) -> None:
        """Overwrite the deleted rows in the file and in the WAL file."""
        with self._lock:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def revision(self) -> tuple[int, int, int]:
        """Numbers that change when a vote is appended, an annotator withdraws or an invitation is used."""
        with self._reading() as db:
            row = db.execute(
                "SELECT (SELECT MAX(number) FROM votes), (SELECT COUNT(*) FROM withdrawals),"
                " (SELECT COUNT(*) FROM invitations)"
            ).fetchone()
        return int(row[0] or 0), int(row[1]), int(row[2])

    # ---- SQLite ----

    def _now(self) -> int:
        return round(self._clock() * 1000)

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
        db.row_factory = sqlite3.Row
        return db

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """One transaction. When it ends without an exception, it is on disk."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:  # SQLite itself ends it when the disk is full
                        self._db.execute("ROLLBACK")
                    raise
            except sqlite3.DatabaseError as problem:
                raise CrocError(f"{self.path}: cannot be written ({problem})") from problem

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A separate connection, so that a long read does not delay votes.

        Raises:
            CrocError: the file is damaged.
        """
        try:
            with closing(self._connect()) as db:
                yield db
        except sqlite3.DatabaseError as problem:
            raise CrocError(f"{self.path}: cannot be read ({problem})") from problem
