"""Which annotator gets which item: every item gets the planned number of votes, and nobody sees one twice.

An item is *taken* by each annotator who has voted on it, and by each who has it open and has voted before. An
annotator without a vote takes nothing from others. An item is offered while fewer than ``overlap`` annotators
have taken it. One that stays open for ``hold_s`` seconds is returned for others; the annotator gets it again
if it still has capacity. Items are handed out in blocks, so that a
campaign that ends early has complete items rather than many items with one vote. Within a block each
annotator has their own random order.
"""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import asdict, dataclass, fields
from typing import Any

from croc.errors import InputError


@dataclass(frozen=True)
class Settings:
    """How a campaign hands out its items.

    Attributes:
        overlap: number of annotators per item.
        hold_s: seconds after which an open item is returned for others.
        block: number of items that are completed before the next ones are handed out.
        batch: number of items after which the page suggests a break.
        limit: maximum number of items per annotator; None for no limit.
        attention_every: one attention check per this number of items; 0 for none.
        repeat_images: whether an annotator may see the same image again with another question.
        seed: random seed of the blocks and of the annotators' orders.
    """

    overlap: int = 3
    hold_s: int = 300
    block: int = 60
    batch: int = 50
    limit: int | None = None
    attention_every: int = 20
    repeat_images: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("overlap", "hold_s", "block", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.attention_every < 0 or self.attention_every == 1:
            raise InputError(f"attention_every must be 0 or at least 2, not {self.attention_every}")
        if self.limit is not None and self.limit < 1:
            raise InputError(f"limit must be at least 1, not {self.limit}")

    def row(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, row: dict[str, Any]) -> Settings:
        """Settings from JSON values; unknown keys, of another version, are ignored."""
        known = {item.name for item in fields(cls)}
        return cls(**{key: value for key, value in row.items() if key in known})


def random_number(*parts: object) -> int:
    """A pseudo-random number that depends on the parts only."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


# An assignment that counts against the overlap; `:now` in milliseconds.
TAKEN = "(a.state = 'voted' OR (a.state = 'open' AND a.expires_at > :now))"

_UNSEEN = {
    repeat: "NOT EXISTS (SELECT 1 FROM assignments a"
    f" WHERE a.annotator = :annotator AND a.{column} = i.{column})"
    for repeat, column in ((False, "image_id"), (True, "item_id"))
}


def has_capacity(db: sqlite3.Connection, item: str, settings: Settings, now: int) -> bool:
    """Whether one more annotator can take an item; an attention check always has capacity."""
    (free,) = db.execute(
        "SELECT i.attention OR (SELECT COUNT(*) FROM assignments a WHERE a.item_id = i.item_id"
        f" AND {TAKEN}) < :overlap FROM items i WHERE i.item_id = :item",
        {"item": item, "now": now, "overlap": settings.overlap},
    ).fetchone()
    return bool(free)


def find_open_assignment(db: sqlite3.Connection, annotator: str, settings: Settings, now: int) -> str | None:
    """The annotator's last open assignment that has not expired, or whose item still has capacity."""
    own = db.execute(
        "SELECT assignment_id, item_id, expires_at FROM assignments WHERE annotator = ? AND state = 'open'"
        " ORDER BY offered_at DESC, rowid DESC",
        (annotator,),
    )
    for assignment, item, expires_at in own.fetchall():
        if expires_at > now or has_capacity(db, item, settings, now):
            return str(assignment)
    return None


def choose_item(db: sqlite3.Connection, annotator: str, settings: Settings, now: int) -> str | None:
    """The next new item for an annotator, or None when there is none at the moment."""
    count, checks = db.execute(
        "SELECT COUNT(*) FILTER (WHERE NOT attention), COUNT(*) FILTER (WHERE attention)"
        " FROM assignments WHERE annotator = ?",
        (annotator,),
    ).fetchone()
    if settings.limit is not None and count >= settings.limit:
        return None
    values = {"annotator": annotator, "now": now, "overlap": settings.overlap, "block": settings.block}
    unseen = _UNSEEN[settings.repeat_images]
    available = db.execute(
        "SELECT i.item_id, i.block FROM items i WHERE i.attention = 0"
        f" AND {unseen} AND (SELECT COUNT(*) FROM assignments a WHERE a.item_id = i.item_id"
        f" AND {TAKEN}) < :overlap ORDER BY i.block LIMIT :block",
        values,
    ).fetchall()
    if not available:
        return None
    first_block = available[0][1]
    candidates = [item for item, block in available if block == first_block]
    if _is_attention_due(annotator, count, checks, settings):
        obvious = db.execute(
            f"SELECT i.item_id FROM items i WHERE i.attention = 1 AND {unseen}", values
        ).fetchall()
        candidates = [row[0] for row in obvious] or candidates
    return str(min(candidates, key=lambda item: random_number(settings.seed, annotator, item)))


def _is_attention_due(annotator: str, count: int, checks: int, settings: Settings) -> bool:
    """Whether an attention check is next: one per ``attention_every`` items, at a random place among them."""
    every = settings.attention_every
    if not every:
        return False
    run = count // every
    return (
        checks <= run and count % every >= random_number("attention", settings.seed, annotator, run) % every
    )
