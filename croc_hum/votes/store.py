"""The store of a campaign: its items, its annotators and their votes in one SQLite file.

A vote is acknowledged when it is on disk, and is never changed: undoing a vote and answering again append
rows. Only a withdrawal deletes rows. Exported files have the columns of :mod:`croc_hum.schema`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import sqlite3
from base64 import b32encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from croc.errors import InputError
from croc_hum.schema import ANSWERS, VOTE_NAMES, votes_schema
from croc_hum.votes.assignment import Settings, choose_item, find_open_assignment, has_capacity, random_number
from croc_hum.votes.database import ITEM_FIELDS, VOTE_FIELDS, Database
from croc_hum.votes.values import clean_text, milliseconds, moment

__all__ = ["Annotator", "Offer", "Refused", "Settings", "Store"]


class Refused(InputError):
    """A request that the store refuses; the message is written for the annotator."""


@dataclass(frozen=True)
class Annotator:
    """A new annotator: the public pseudonym, and the code that only the annotator knows."""

    name: str
    code: str


@dataclass(frozen=True)
class Offer:
    """An item that is shown to an annotator.

    Attributes:
        offer_id: id of this offer; a vote must name it.
        item: the columns of the item that an annotator may see; none of them tells the image's source.
        image: the image file, unchanged.
        shown_first: preference: which prompt is shown first.
        number: how many items the annotator has been shown, including this one.
        answer: the answer before it was undone, or None.
        reason: the reason before it was undone, or None.
    """

    offer_id: str
    item: dict[str, Any]
    image: bytes
    shown_first: str | None
    number: int
    answer: str | None = None
    reason: str | None = None


_VISIBLE = ("item_id", "task", "category", "prompt", "contrast_prompt")
REASON_CHARACTERS = 1000
_OFFER = re.compile(r"([0-9a-f]{32})\.([0-9]{1,6})")
_CODE = re.compile(r"[a-z2-7]{4}(-[a-z2-7]{4}){5}")


class Store(Database):
    """The items, annotators and votes of one campaign.

    It can be used by several threads. Another process may read, or delete an annotator, at the same time.

    Args:
        path: the SQLite file, created if it does not exist. New votes are in ``PATH-wal`` for a while.
        settings: how items are handed out; they are stored in the file. None takes those of the file.
        version: version of the program and of the instructions; stored with every vote.
        clock: returns the seconds since 1970.

    Raises:
        InputError: the file is not a store.
    """

    # ---- Items ----

    def add_items(self, items: Iterable[Mapping[str, Any]]) -> int:
        """Add items. Items that are already in the store are not changed.

        Args:
            items: rows as :func:`croc_hum.schema.read_items` yields them.

        Returns:
            Number of new items.
        """
        new = 0
        with self._write() as db:
            (total,) = db.execute("SELECT COUNT(*) FROM items WHERE NOT attention").fetchone()
            rows = [dict(item) for item in items]
            # The file may be sorted by model or category: blocks are random.
            rows.sort(key=lambda item: random_number("block", self.settings.seed, item["item_id"]))
            for item in rows:
                image = hashlib.sha256(item["image"]).hexdigest()[:32]
                values = {**item, "image_id": image, "attention": int(item["attention"])}
                values["block"] = total // self.settings.block
                added = db.execute(
                    f"INSERT OR IGNORE INTO items ({', '.join(ITEM_FIELDS)})"
                    f" VALUES ({', '.join('?' * len(ITEM_FIELDS))})",
                    [values[name] for name in ITEM_FIELDS],
                ).rowcount
                if added:
                    db.execute("INSERT OR IGNORE INTO images VALUES (?, ?)", (image, item["image"]))
                    new += 1
                    total += not item["attention"]
        return new

    def items(self) -> Iterator[dict[str, Any]]:
        """All items without their images, in the order of their ids."""
        with self._reading() as db:
            for row in db.execute("SELECT * FROM items ORDER BY item_id"):
                yield dict(row)

    def image(self, item: str) -> bytes:
        """The image file of an item.

        Raises:
            Refused: there is no such item.
        """
        with self._reading() as db:
            row = db.execute(
                "SELECT bytes FROM items JOIN images USING (image_id) WHERE item_id = ?", (item,)
            ).fetchone()
        if row is None:
            raise Refused("there is no such item")
        return bytes(row[0])

    # ---- Annotators ----

    def add_annotator(self, invitation: str | None = None) -> Annotator:
        """Add an annotator who has consented: a random pseudonym and a random code, stored as a hash.

        Args:
            invitation: hash of the invitation code, see :mod:`croc_hum.votes.invitations`.

        Raises:
            Refused: the invitation has been used.
        """
        plain = b32encode(secrets.token_bytes(15)).decode().lower()
        code = "-".join(plain[i : i + 4] for i in range(0, 24, 4))
        with self._write() as db:
            if invitation is not None and self._add_used_invitations(db, [invitation]) == 0:
                raise Refused("this invitation code has been used; if it was you, resume with your own code")
            while True:
                name = f"a{secrets.token_hex(4)}"
                taken = (
                    "SELECT 1 FROM annotators WHERE annotator = :n"
                    " UNION SELECT 1 FROM withdrawals WHERE annotator = :n"
                )
                if not db.execute(taken, {"n": name}).fetchone():
                    break
            db.execute(
                "INSERT INTO annotators VALUES (?, ?, 'annotator', ?, ?)",
                (name, _hash_code(code), self._now(), self.version),
            )
        return Annotator(name, code)

    def find_annotator(self, code: object) -> str:
        """The pseudonym of the annotator who has a code.

        Raises:
            Refused: the code is unknown.
        """
        with self._lock:
            return self._find_annotator(self._db, code)

    @staticmethod
    def _find_annotator(db: sqlite3.Connection, code: object) -> str:
        text = code.strip().lower() if isinstance(code, str) and len(code) < 100 else ""
        row = None
        if _CODE.fullmatch(text):
            row = db.execute("SELECT annotator FROM annotators WHERE key = ?", (_hash_code(text),)).fetchone()
        if row is None:
            raise Refused("this code is unknown; copy it again, or begin without a code")
        return str(row[0])

    # ---- Showing and voting ----

    def offer_item(self, code: object) -> Offer | None:
        """The next item for an annotator: one that they left open, or a new one; None when there is none.

        Raises:
            Refused: the code is unknown.
        """
        now = self._now()
        with self._write() as db:
            annotator = self._find_annotator(db, code)
            assignment = find_open_assignment(db, annotator, self.settings, now)
            if assignment is None:
                item = choose_item(db, annotator, self.settings, now)
                if item is None:
                    return None
                assignment = self._assign(db, annotator, item, now)
            return self._make_offer(db, assignment, now)

    def _assign(
        self, db: sqlite3.Connection, annotator: str, item: str, now: int, state: str = "open"
    ) -> str:
        task, image, attention = db.execute(
            "SELECT task, image_id, attention FROM items WHERE item_id = ?", (item,)
        ).fetchone()
        first = None
        if task == "preference":
            first = ("prompt", "contrast")[random_number("first", self.settings.seed, annotator, item) % 2]
        assignment = secrets.token_hex(16)
        db.execute(
            "INSERT INTO assignments VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?)",
            (
                assignment,
                item,
                image,
                annotator,
                attention,
                first,
                state,
                now,
                self._expiry(db, annotator, now),
            ),
        )
        return assignment

    def _expiry(self, db: sqlite3.Connection, annotator: str, now: int) -> int:
        """Until when an item is held for an annotator; not at all before their first vote."""
        voted = db.execute("SELECT 1 FROM votes WHERE annotator = ? LIMIT 1", (annotator,)).fetchone()
        return now + 1000 * self.settings.hold_s if voted else now

    def _make_offer(self, db: sqlite3.Connection, assignment: str, now: int) -> Offer:
        row = db.execute(
            "SELECT a.*, b.bytes FROM assignments a JOIN images b USING (image_id) WHERE assignment_id = ?",
            (assignment,),
        ).fetchone()
        expires = self._expiry(db, row["annotator"], now)
        if row["expires_at"] <= now:  # the annotator returns to an item that nobody else took
            db.execute("UPDATE assignments SET offered_at = ? WHERE assignment_id = ?", (now, assignment))
        db.execute("UPDATE assignments SET expires_at = ? WHERE assignment_id = ?", (expires, assignment))
        item = db.execute(
            f"SELECT {', '.join(_VISIBLE)} FROM items WHERE item_id = ?", (row["item_id"],)
        ).fetchone()
        last = db.execute(
            "SELECT answer, reason FROM votes WHERE annotator = ? AND item_id = ? AND event = 'vote'"
            " ORDER BY number DESC LIMIT 1",
            (row["annotator"], row["item_id"]),
        ).fetchone()
        (number,) = db.execute(
            "SELECT COUNT(*) FROM assignments WHERE annotator = ? AND rowid <="
            " (SELECT rowid FROM assignments WHERE assignment_id = ?)",
            (row["annotator"], assignment),
        ).fetchone()
        previous = dict(last) if last else {"answer": None, "reason": None}
        return Offer(
            f"{assignment}.{row['round']}",
            dict(item),
            bytes(row["bytes"]),
            row["shown_first"],
            number,
            **previous,
        )

    def vote(self, code: object, offer: object, answer: object, reason: object = None) -> str:
        """Store an answer. When this returns, the vote is on disk.

        A repeated request is acknowledged again and counts once, so a page can send it again when it got no
        response.

        Args:
            code: the code of the annotator.
            offer: the id of the offer that is answered.
            answer: one of the task's ``ANSWERS``; for preference also ``first`` or ``second``.
            reason: free text, or None.

        Returns:
            The id of the vote.

        Raises:
            Refused: the offer is not the annotator's, is not open or has another answer; or the task has no
                such answer.
        """
        now = self._now()
        parts = _OFFER.fullmatch(offer) if isinstance(offer, str) else None
        text = _clean_reason(reason)
        with self._write() as db:
            annotator = self._find_annotator(db, code)
            row = None
            if parts:
                row = db.execute(
                    "SELECT a.*, i.task FROM assignments a JOIN items i USING (item_id)"
                    " WHERE assignment_id = ? AND annotator = ?",
                    (parts[1], annotator),
                ).fetchone()
            if row is None:
                raise Refused("this item was not offered to you")
            if answer in ("first", "second") and row["shown_first"]:
                other = {"prompt": "contrast", "contrast": "prompt"}[row["shown_first"]]
                answer = row["shown_first"] if answer == "first" else other
            if answer not in ANSWERS[row["task"]]:
                raise Refused(f"the answer must be one of {', '.join(ANSWERS[row['task']])}")
            existing = db.execute(
                "SELECT vote_id, answer, reason FROM votes WHERE offer = ?", (offer,)
            ).fetchone()
            if existing is not None:
                if (existing["answer"], existing["reason"]) == (answer, text):
                    return str(existing["vote_id"])
                raise Refused("you have already answered this item; undo the answer to change it")
            if row["state"] != "open" or str(row["round"]) != parts[2]:  # type: ignore[index]
                raise Refused("this page is out of date; reload it")
            if row["expires_at"] <= now and not has_capacity(db, row["item_id"], self.settings, now):
                raise Refused("other annotators have labelled this item in the meantime")
            db.execute(
                "UPDATE assignments SET state = 'voted' WHERE assignment_id = ?", (row["assignment_id"],)
            )
            return self._append(
                db,
                event="vote",
                offer=offer,
                item_id=row["item_id"],
                annotator=annotator,
                role="annotator",
                answer=answer,
                reason=text,
                shown_first=row["shown_first"],
                shown_at=row["offered_at"],
                voted_at=now,
                duration_s=max(0, now - row["offered_at"]) / 1000,
            )

    def undo(self, code: object) -> Offer | None:
        """Undo the last vote and offer its item again; None when there is no vote to undo.

        Raises:
            Refused: the code is unknown.
        """
        now = self._now()
        with self._write() as db:
            annotator = self._find_annotator(db, code)
            last = db.execute(
                "SELECT vote_id, offer, item_id FROM standing WHERE annotator = ? AND offer IS NOT NULL"
                " ORDER BY number DESC LIMIT 1",
                (annotator,),
            ).fetchone()
            if last is None:
                return None
            self._append_undo(db, last["vote_id"], annotator, last["item_id"], "annotator", now)
            assignment = last["offer"].partition(".")[0]
            db.execute(
                "UPDATE assignments SET state = 'open', round = round + 1, offered_at = ?, expires_at = ?"
                " WHERE assignment_id = ?",
                (now, now + 1000 * self.settings.hold_s, assignment),
            )
            return self._make_offer(db, assignment, now)

    def release_items(self, code: object) -> None:
        """Return the annotator's open items for others at once.

        Raises:
            Refused: the code is unknown.
        """
        with self._write() as db:
            annotator = self._find_annotator(db, code)
            db.execute(
                "UPDATE assignments SET expires_at = 0 WHERE annotator = ? AND state = 'open'", (annotator,)
            )

    def adjudicate(self, item: object, answer: object, reason: object = None) -> str:
        """Decide an item on which annotators disagree. A later decision replaces an earlier one.

        Raises:
            Refused: there is no such item, or the task has no such answer.
        """
        now, text = self._now(), _clean_reason(reason)
        with self._write() as db:
            row = db.execute("SELECT task FROM items WHERE item_id = ?", (str(item)[:100],)).fetchone()
            if row is None:
                raise Refused("there is no such item")
            if answer not in ANSWERS[row[0]]:
                raise Refused(f"the answer must be one of {', '.join(ANSWERS[row[0]])}")
            earlier = db.execute(
                "SELECT vote_id FROM standing WHERE item_id = ? AND role = 'adjudicator'", (item,)
            ).fetchall()
            for (vote_id,) in earlier:
                self._append_undo(db, vote_id, "adjudicator", str(item), "adjudicator", now)
            return self._append(
                db, event="vote", item_id=item, annotator="adjudicator", role="adjudicator",
                answer=answer, reason=text, voted_at=now,
            )  # fmt: skip

    def add_votes(self, rows: Iterable[Mapping[str, Any]], role: str = "imported") -> int:
        """Import votes from elsewhere, or restore those of a lost file.

        Args:
            rows: in the order of the votes, with ``vote_id, item_id, annotator, answer`` and any other of
                ``VOTE_COLUMNS``; ``key`` is the hash of the annotator's code, see :meth:`code_hashes`. Votes
                that are already in the store are skipped. A second vote of an annotator on an item replaces
                the first.
            role: the role of rows without one.

        Returns:
            Number of new votes.

        Raises:
            InputError: an item is not in the store, or its task has no such answer.
        """
        new = 0
        with self._write() as db:
            withdrawn = {row[0] for row in db.execute("SELECT annotator FROM withdrawals")}
            for row in rows:
                if row["annotator"] in withdrawn:
                    continue
                if db.execute("SELECT 1 FROM votes WHERE vote_id = ?", (row["vote_id"],)).fetchone():
                    if row.get("undone"):
                        self._undo_matching(db, row, "vote_id = :vote_id")
                    continue
                item = db.execute("SELECT task FROM items WHERE item_id = ?", (row["item_id"],)).fetchone()
                if item is None:
                    raise InputError(
                        f"vote {row['vote_id']}: item {row['item_id']!r} is not in the store; load "
                        "the items first"
                    )
                if row["answer"] not in ANSWERS[item[0]]:
                    raise InputError(
                        f"vote {row['vote_id']}: the answer to {item[0]} must be one of "
                        f"{', '.join(ANSWERS[item[0]])}, not {row['answer']!r}"
                    )
                try:
                    self._undo_matching(db, row, "annotator = :annotator AND item_id = :item_id")
                    self._import_vote(db, row, row.get("role") or role)
                except InputError as problem:
                    raise InputError(f"vote {row['vote_id']}: {problem}") from None
                new += 1
        return new

    def _undo_matching(self, db: sqlite3.Connection, row: Mapping[str, Any], condition: str) -> None:
        """Undo the current votes that an imported row replaces."""
        earlier = db.execute(
            f"SELECT vote_id, annotator, item_id, role FROM standing WHERE {condition}", dict(row)
        )
        now = milliseconds(row.get("voted_at")) or self._now()
        for vote, annotator, item, role in earlier.fetchall():
            self._append_undo(db, vote, annotator, item, role, now)

    def _import_vote(self, db: sqlite3.Connection, row: Mapping[str, Any], role: str) -> None:
        now, annotator, item = self._now(), str(row["annotator"]), str(row["item_id"])
        voted, shown = milliseconds(row.get("voted_at")), milliseconds(row.get("shown_at"))
        if role != "adjudicator":
            db.execute(
                "INSERT OR IGNORE INTO annotators VALUES (?, ?, ?, ?, ?)",
                (annotator, row.get("key"), role, voted or now, row.get("version")),
            )
            assigned = db.execute(
                "SELECT assignment_id FROM assignments WHERE annotator = ? AND item_id = ?", (annotator, item)
            ).fetchone()
            assignment = assigned[0] if assigned else self._assign(db, annotator, item, voted or now, "voted")
            db.execute("UPDATE assignments SET state = 'voted' WHERE assignment_id = ?", (assignment,))
        known = {name: row.get(name) for name in ("answer", "reason", "shown_first", "duration_s", "version")}
        vote = self._append(
            db, event="vote", vote_id=row["vote_id"], item_id=item, annotator=annotator, role=role,
            shown_at=shown, voted_at=voted or now, **known,
        )  # fmt: skip
        if row.get("undone"):
            self._append_undo(db, vote, annotator, item, role, voted or now)

    def _append_undo(
        self, db: sqlite3.Connection, vote: str, annotator: str, item: str, role: str, now: int
    ) -> None:
        self._append(
            db, event="undo", undoes=vote, item_id=item, annotator=annotator, role=role, voted_at=now
        )

    def _append(self, db: sqlite3.Connection, **values: Any) -> str:
        values.setdefault("vote_id", secrets.token_hex(16))
        values.setdefault("version", self.version)
        db.execute(
            f"INSERT INTO votes ({', '.join(VOTE_FIELDS)}) VALUES ({', '.join('?' * len(VOTE_FIELDS))})",
            [values.get(name) for name in VOTE_FIELDS],
        )
        return str(values["vote_id"])

    # ---- Withdrawal ----

    def withdraw(self, code: object) -> str:
        """Delete an annotator with their votes, reasons, times and code.

        Returns:
            The pseudonym. It is kept in a list, so that the votes cannot be restored from a copy.

        Raises:
            Refused: the code is unknown.
        """
        with self._write() as db:
            annotator = self._find_annotator(db, code)
            self._erase(db, annotator)
        self._overwrite_deleted()
        return annotator

    def withdraw_annotator(self, name: str) -> None:
        """Delete an annotator by pseudonym: one who lost the code, or whose votes were imported.

        Raises:
            Refused: there is no such annotator.
        """
        with self._write() as db:
            if not db.execute("SELECT 1 FROM annotators WHERE annotator = ?", (name,)).fetchone():
                raise Refused(f"there is no annotator {name!r}")
            self._erase(db, name)
        self._overwrite_deleted()

    # ---- Reading ----

    def votes(self, *, history: bool = False, annotator: str | None = None) -> Iterator[dict[str, Any]]:
        """The votes with the columns of their items, in the order in which they were stored.

        Args:
            history: also votes that were undone.
            annotator: only the votes of this annotator.
        """
        with self._reading() as db:
            rows = db.execute(
                "SELECT v.*, i.*, u.vote_id IS NOT NULL AS undone FROM votes v JOIN items i USING (item_id)"
                " LEFT JOIN votes u ON u.undoes = v.vote_id WHERE v.event = 'vote'"
                " AND (:history OR u.vote_id IS NULL) AND (:annotator IS NULL OR v.annotator = :annotator)"
                " ORDER BY v.number",
                {"history": history, "annotator": annotator},
            )
            for row in rows:
                vote = {name: row[name] for name in VOTE_NAMES}
                vote["attention"], vote["undone"] = bool(row["attention"]), bool(row["undone"])
                for name in ("shown_at", "voted_at"):
                    vote[name] = moment(vote[name])
                yield vote

    def export(self, path: Path | str, *, history: bool = False) -> int:
        """Write the votes to a Parquet file with the columns of ``VOTE_COLUMNS``, atomically.

        Args:
            path: the file.
            history: also votes that were undone; they are marked in ``undone``.

        Returns:
            Number of rows.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        from croc.storage.files import atomic

        rows = list(self.votes(history=history))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic(Path(path)) as temporary:
            pq.write_table(pa.Table.from_pylist(rows, schema=votes_schema()), temporary)
        return len(rows)

    def count_votes(self, code: object) -> int:
        """Number of items that an annotator has labelled; votes that were undone do not count.

        Raises:
            Refused: the code is unknown.
        """
        with self._lock:
            annotator = self._find_annotator(self._db, code)
            row = self._db.execute(
                "SELECT COUNT(*) FROM assignments WHERE annotator = ? AND state = 'voted'", (annotator,)
            ).fetchone()
        return int(row[0])


def _hash_code(code: str) -> str:
    # The code has 120 random bits, so its hash needs no salt.
    return hashlib.sha256(code.encode()).hexdigest()


def _clean_reason(reason: object) -> str | None:
    if reason is None or reason == "":
        return None
    if not isinstance(reason, str):
        raise Refused("the reason must be text")
    text = clean_text(reason)
    if len(text) > REASON_CHARACTERS:
        raise Refused(f"the reason has {len(text)} characters; at most {REASON_CHARACTERS} are allowed")
    return text or None
