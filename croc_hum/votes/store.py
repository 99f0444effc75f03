"""Votes of several people on one set of items, in one SQLite file: every vote appended, none lost.

A vote is acknowledged after it is on disk. It is never changed: who takes one back appends that, who answers
again appends a new vote. Only a withdrawal deletes. The tables that leave are those of
:mod:`croc_hum.schema`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import sqlite3
from base64 import b32encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from croc.errors import InputError
from croc_hum.schema import ANSWERS, VOTE_NAMES, votes_schema
from croc_hum.votes.assignment import Settings, choose, number, room, waiting
from croc_hum.votes.database import ITEM_FIELDS, VOTE_FIELDS, Database

__all__ = ["Annotator", "Offer", "Refused", "Settings", "Store"]


class Refused(InputError):
    """A request that the store does not follow; the sentence is fit for the person who made it."""


@dataclass(frozen=True)
class Annotator:
    """Somebody who votes: a pseudonym for everyone to see, a code that only they hold."""

    name: str
    code: str


@dataclass(frozen=True)
class Offer:
    """An item in front of an annotator.

    Attributes:
        offer: names this showing; a vote needs it.
        item: the columns of ``items_schema`` that may be seen; nothing says where the image is from.
        image: the image file as it was given.
        shown_first: for preference, which prompt stands first.
        number: how many items the annotator has been shown, this one included.
        answer: what they had answered before they took it back, or None.
        reason: likewise.
    """

    offer: str
    item: dict[str, Any]
    image: bytes
    shown_first: str | None
    number: int
    answer: str | None = None
    reason: str | None = None


_SEEN = ("item_id", "task", "category", "prompt", "contrast_prompt")
REASON_LETTERS = 1000
_OFFER = re.compile(r"([0-9a-f]{32})\.([0-9]{1,6})")
_CODE = re.compile(r"[a-z2-7]{4}(-[a-z2-7]{4}){5}")


class Store(Database):
    """One campaign of labelling: its items, its annotators, their votes.

    Safe for the threads of a server; another process may read, or withdraw somebody, at the same time.

    Args:
        path: the SQLite file; made when it is not there. Votes lie beside it in ``PATH-wal`` for a while.
        settings: how items are handed out; None takes what the file says. They are kept in the file.
        version: of the program and the instructions that annotators see; stored with every vote.
        clock: seconds since 1970.

    Raises:
        InputError: the file is no store.
    """

    # ---- Items ----

    def add_items(self, items: Iterable[Mapping[str, Any]]) -> int:
        """Put items in the pool; those that are there already stay as they are.

        Args:
            items: rows as :func:`croc_hum.schema.read_items` yields them.

        Returns:
            How many are new.
        """
        new = 0
        with self._write() as db:
            (total,) = db.execute("SELECT COUNT(*) FROM items WHERE NOT attention").fetchone()
            rows = [dict(item) for item in items]
            # The order in the file may go by model or category: blocks are drawn.
            rows.sort(key=lambda item: number("block", self.settings.seed, item["item_id"]))
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

    def join(self) -> Annotator:
        """A new annotator, who has consented: a random pseudonym and a random code, kept as a hash."""
        plain = b32encode(secrets.token_bytes(15)).decode().lower()
        code = "-".join(plain[i : i + 4] for i in range(0, 24, 4))
        with self._write() as db:
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
                (name, _hash(code), self._now(), self.version),
            )
        return Annotator(name, code)

    def who(self, code: object) -> str:
        """The pseudonym that a code belongs to.

        Raises:
            Refused: nobody's.
        """
        with self._lock:
            return self._who(self._db, code)

    @staticmethod
    def _who(db: sqlite3.Connection, code: object) -> str:
        text = code.strip().lower() if isinstance(code, str) and len(code) < 100 else ""
        row = None
        if _CODE.fullmatch(text):
            row = db.execute("SELECT annotator FROM annotators WHERE key = ?", (_hash(text),)).fetchone()
        if row is None:
            raise Refused("this code is not known; copy it again, or begin anew")
        return str(row[0])

    # ---- Showing and voting ----

    def next(self, code: object) -> Offer | None:
        """What an annotator judges next: what they left open, else something new; None when nothing is left.

        Raises:
            Refused: the code is nobody's.
        """
        now = self._now()
        with self._write() as db:
            who = self._who(db, code)
            mine = waiting(db, who, self.settings, now)
            if mine is None:
                item = choose(db, who, self.settings, now)
                if item is None:
                    return None
                mine = self._assign(db, who, item, now)
            return self._offer(db, mine, now)

    def _assign(self, db: sqlite3.Connection, who: str, item: str, now: int, state: str = "open") -> str:
        task, image, attention = db.execute(
            "SELECT task, image_id, attention FROM items WHERE item_id = ?", (item,)
        ).fetchone()
        first = None
        if task == "preference":
            first = ("prompt", "contrast")[number("first", self.settings.seed, who, item) % 2]
        made = secrets.token_hex(16)
        db.execute(
            "INSERT INTO assignments VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?)",
            (made, item, image, who, attention, first, state, now, now + 1000 * self.settings.hold_s),
        )
        return made

    def _offer(self, db: sqlite3.Connection, assignment: str, now: int) -> Offer:
        row = db.execute(
            "SELECT a.*, b.bytes FROM assignments a JOIN images b USING (image_id) WHERE assignment_id = ?",
            (assignment,),
        ).fetchone()
        expires = now + 1000 * self.settings.hold_s
        if row["expires_at"] <= now:  # they come back to an item that nobody else took: it is shown anew
            db.execute("UPDATE assignments SET offered_at = ? WHERE assignment_id = ?", (now, assignment))
        db.execute("UPDATE assignments SET expires_at = ? WHERE assignment_id = ?", (expires, assignment))
        item = db.execute(
            f"SELECT {', '.join(_SEEN)} FROM items WHERE item_id = ?", (row["item_id"],)
        ).fetchone()
        last = db.execute(
            "SELECT answer, reason FROM votes WHERE annotator = ? AND item_id = ? AND event = 'vote'"
            " ORDER BY number DESC LIMIT 1",
            (row["annotator"], row["item_id"]),
        ).fetchone()
        (place,) = db.execute(
            "SELECT COUNT(*) FROM assignments WHERE annotator = ? AND rowid <="
            " (SELECT rowid FROM assignments WHERE assignment_id = ?)",
            (row["annotator"], assignment),
        ).fetchone()
        before = dict(last) if last else {"answer": None, "reason": None}
        return Offer(
            f"{assignment}.{row['round']}",
            dict(item),
            bytes(row["bytes"]),
            row["shown_first"],
            place,
            **before,
        )

    def vote(self, code: object, offer: object, answer: object, reason: object = None) -> str:
        """Store an answer; when this returns, the vote is on disk.

        The same request again is acknowledged again and counts once: a page may repeat what it is unsure of.

        Args:
            code: the annotator's.
            offer: the showing that is answered, from :class:`Offer`.
            answer: one of ``ANSWERS`` of the item's task; for preference also ``first`` or ``second``.
            reason: free text, or None.

        Returns:
            The id of the vote.

        Raises:
            Refused: not theirs, not open, answered otherwise already, or no such answer.
        """
        now = self._now()
        parts = _OFFER.fullmatch(offer) if isinstance(offer, str) else None
        words = _reason(reason)
        with self._write() as db:
            who = self._who(db, code)
            row = None
            if parts:
                row = db.execute(
                    "SELECT a.*, i.task FROM assignments a JOIN items i USING (item_id)"
                    " WHERE assignment_id = ? AND annotator = ?",
                    (parts[1], who),
                ).fetchone()
            if row is None:
                raise Refused("this item was not given to you")
            if answer in ("first", "second") and row["shown_first"]:
                other = {"prompt": "contrast", "contrast": "prompt"}[row["shown_first"]]
                answer = row["shown_first"] if answer == "first" else other
            if answer not in ANSWERS[row["task"]]:
                raise Refused(f"the answer is one of {', '.join(ANSWERS[row['task']])}")
            given = db.execute(
                "SELECT vote_id, answer, reason FROM votes WHERE offer = ?", (offer,)
            ).fetchone()
            if given is not None:
                if (given["answer"], given["reason"]) == (answer, words):
                    return str(given["vote_id"])
                raise Refused("you have answered this already; go back to change it")
            if row["state"] != "open" or str(row["round"]) != parts[2]:  # type: ignore[index]
                raise Refused("this page is out of date; load it again")
            if row["expires_at"] <= now and not room(db, row["item_id"], self.settings, now):
                raise Refused("this item was open for long and others have judged it meanwhile")
            db.execute(
                "UPDATE assignments SET state = 'voted' WHERE assignment_id = ?", (row["assignment_id"],)
            )
            return self._append(
                db,
                event="vote",
                offer=offer,
                item_id=row["item_id"],
                annotator=who,
                role="annotator",
                answer=answer,
                reason=words,
                shown_first=row["shown_first"],
                shown_at=row["offered_at"],
                voted_at=now,
                duration_s=max(0, now - row["offered_at"]) / 1000,
            )

    def undo(self, code: object) -> Offer | None:
        """Take the last vote back and show its item again; None when there is none to take back.

        Raises:
            Refused: the code is nobody's.
        """
        now = self._now()
        with self._write() as db:
            who = self._who(db, code)
            last = db.execute(
                "SELECT vote_id, offer, item_id FROM standing WHERE annotator = ? AND offer IS NOT NULL"
                " ORDER BY number DESC LIMIT 1",
                (who,),
            ).fetchone()
            if last is None:
                return None
            self._undo(db, last["vote_id"], who, last["item_id"], "annotator", now)
            assignment = last["offer"].partition(".")[0]
            db.execute(
                "UPDATE assignments SET state = 'open', round = round + 1, offered_at = ?, expires_at = ?"
                " WHERE assignment_id = ?",
                (now, now + 1000 * self.settings.hold_s, assignment),
            )
            return self._offer(db, assignment, now)

    def leave(self, code: object) -> None:
        """Give what is open back to the pool at once.

        Raises:
            Refused: the code is nobody's.
        """
        with self._write() as db:
            who = self._who(db, code)
            db.execute("UPDATE assignments SET expires_at = 0 WHERE annotator = ? AND state = 'open'", (who,))

    def adjudicate(self, item: object, answer: object, reason: object = None) -> str:
        """Decide an item that annotators disagree on; a later decision takes the place of an earlier one.

        Raises:
            Refused: no such item or answer.
        """
        now, words = self._now(), _reason(reason)
        with self._write() as db:
            row = db.execute("SELECT task FROM items WHERE item_id = ?", (str(item)[:100],)).fetchone()
            if row is None:
                raise Refused("there is no such item")
            if answer not in ANSWERS[row[0]]:
                raise Refused(f"the answer is one of {', '.join(ANSWERS[row[0]])}")
            earlier = db.execute(
                "SELECT vote_id FROM standing WHERE item_id = ? AND role = 'adjudicator'", (item,)
            ).fetchall()
            for (vote_id,) in earlier:
                self._undo(db, vote_id, "adjudicator", str(item), "adjudicator", now)
            return self._append(
                db, event="vote", item_id=item, annotator="adjudicator", role="adjudicator",
                answer=answer, reason=words, voted_at=now,
            )  # fmt: skip

    def add_votes(self, rows: Iterable[Mapping[str, Any]], role: str = "imported") -> int:
        """Append votes that were given elsewhere, or bring those of a lost file back.

        Args:
            rows: with ``vote_id, item_id, annotator, answer`` and what else of ``VOTE_COLUMNS`` is known, in
                the order in which they were given; ``key`` as :meth:`keys` has it. Those whose ``vote_id``
                is here already are passed over. A second vote of somebody on an item takes the place of
                the first.
            role: for rows that give none.

        Returns:
            How many are new.

        Raises:
            InputError: an item is not in the store, or an answer is none of its task.
        """
        new = 0
        with self._write() as db:
            gone = {row[0] for row in db.execute("SELECT annotator FROM withdrawals")}
            for row in rows:
                if row["annotator"] in gone:
                    continue
                if db.execute("SELECT 1 FROM votes WHERE vote_id = ?", (row["vote_id"],)).fetchone():
                    if row.get("undone"):
                        self._replace(db, row, "vote_id = :vote_id")
                    continue
                found = db.execute("SELECT task FROM items WHERE item_id = ?", (row["item_id"],)).fetchone()
                if found is None:
                    raise InputError(
                        f"vote {row['vote_id']}: no item {row['item_id']!r} here; load the items first"
                    )
                if row["answer"] not in ANSWERS[found[0]]:
                    raise InputError(f"vote {row['vote_id']}: {row['answer']!r} is no answer of {found[0]}")
                self._replace(db, row, "annotator = :annotator AND item_id = :item_id")
                self._take_in(db, row, row.get("role") or role)
                new += 1
        return new

    def _replace(self, db: sqlite3.Connection, row: Mapping[str, Any], which: str) -> None:
        """Take back what stands in the place of a vote that comes in."""
        earlier = db.execute(
            f"SELECT vote_id, annotator, item_id, role FROM standing WHERE {which}", dict(row)
        )
        now = _milliseconds(row.get("voted_at")) or self._now()
        for vote, who, item, role in earlier.fetchall():
            self._undo(db, vote, who, item, role, now)

    def _take_in(self, db: sqlite3.Connection, row: Mapping[str, Any], role: str) -> None:
        now, who, item = self._now(), str(row["annotator"]), str(row["item_id"])
        voted, shown = _milliseconds(row.get("voted_at")), _milliseconds(row.get("shown_at"))
        if role != "adjudicator":
            db.execute(
                "INSERT OR IGNORE INTO annotators VALUES (?, ?, ?, ?, ?)",
                (who, row.get("key"), role, voted or now, row.get("version")),
            )
            held = db.execute(
                "SELECT assignment_id FROM assignments WHERE annotator = ? AND item_id = ?", (who, item)
            ).fetchone()
            held = held[0] if held else self._assign(db, who, item, voted or now, "voted")
            db.execute("UPDATE assignments SET state = 'voted' WHERE assignment_id = ?", (held,))
        known = {name: row.get(name) for name in ("answer", "reason", "shown_first", "duration_s", "version")}
        vote = self._append(
            db, event="vote", vote_id=row["vote_id"], item_id=item, annotator=who, role=role,
            shown_at=shown, voted_at=voted or now, **known,
        )  # fmt: skip
        if row.get("undone"):
            self._undo(db, vote, who, item, role, voted or now)

    def _undo(self, db: sqlite3.Connection, vote: str, who: str, item: str, role: str, now: int) -> None:
        self._append(db, event="undo", undoes=vote, item_id=item, annotator=who, role=role, voted_at=now)

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
        """Delete an annotator with all they left here: votes, reasons, times, code.

        Returns:
            The pseudonym; it stays in a list, so that no copy elsewhere brings the votes back.

        Raises:
            Refused: the code is nobody's.
        """
        with self._write() as db:
            who = self._who(db, code)
            self._erase(db, who)
        self._forget_pages()
        return who

    def withdraw_name(self, name: str) -> None:
        """The same for somebody who lost their code, or was imported: for who runs the campaign.

        Raises:
            Refused: there is no such annotator.
        """
        with self._write() as db:
            if not db.execute("SELECT 1 FROM annotators WHERE annotator = ?", (name,)).fetchone():
                raise Refused(f"there is no annotator {name!r}")
            self._erase(db, name)
        self._forget_pages()

    # ---- Reading ----

    def votes(self, *, history: bool = False, annotator: str | None = None) -> Iterator[dict[str, Any]]:
        """Votes with their items' columns, in the order in which they came.

        Args:
            history: also those that were taken back.
            annotator: of this one only.
        """
        with self._reading() as db:
            rows = db.execute(
                "SELECT v.*, i.*, u.vote_id IS NOT NULL AS undone FROM votes v JOIN items i USING (item_id)"
                " LEFT JOIN votes u ON u.undoes = v.vote_id WHERE v.event = 'vote'"
                " AND (:history OR u.vote_id IS NULL) AND (:who IS NULL OR v.annotator = :who)"
                " ORDER BY v.number",
                {"history": history, "who": annotator},
            )
            for row in rows:
                vote = {name: row[name] for name in VOTE_NAMES}
                vote["attention"], vote["undone"] = bool(row["attention"]), bool(row["undone"])
                for name in ("shown_at", "voted_at"):
                    if vote[name] is not None:
                        vote[name] = datetime.fromtimestamp(vote[name] / 1000, UTC)
                yield vote

    def export(self, path: Path | str, *, history: bool = False) -> int:
        """Write the votes as Parquet with the columns of ``VOTE_COLUMNS``, atomically.

        Args:
            path: the file.
            history: also votes that were taken back, marked in ``undone``.

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

    def done(self, code: object) -> int:
        """How many items an annotator has judged, by the votes that stand.

        Raises:
            Refused: the code is nobody's.
        """
        with self._lock:
            who = self._who(self._db, code)
            row = self._db.execute(
                "SELECT COUNT(*) FROM assignments WHERE annotator = ? AND state = 'voted'", (who,)
            ).fetchone()
        return int(row[0])


def _hash(code: str) -> str:
    # The code is 120 random bits: a plain hash cannot be turned round.
    return hashlib.sha256(code.encode()).hexdigest()


def _reason(reason: object) -> str | None:
    if reason is None or reason == "":
        return None
    if not isinstance(reason, str):
        raise Refused("a reason is text")
    text = "".join(
        letter for letter in reason if letter in "\n\t" or letter.isprintable() or ord(letter) > 159
    )
    text = text.encode("utf-8", "replace").decode().strip()
    if len(text) > REASON_LETTERS:
        raise Refused(f"a reason has at most {REASON_LETTERS} letters, not {len(text)}")
    return text or None


def _milliseconds(when: Any) -> int | None:
    if when is None:
        return None
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    moment: datetime = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)
