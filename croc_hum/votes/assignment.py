"""Who judges what next: a designed overlap, an order of one's own, nothing twice, nothing lost.

An item is *taken* by everyone who voted on it and by everyone who has it open. It is offered while fewer
than ``overlap`` people have taken it. Who leaves an item open for ``hold_s`` loses it to the pool; who comes
back first finds it again. Items are worked through in blocks, so that a campaign that ends early has complete
items rather than many with one vote; inside a block everyone has an order of their own.
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
        overlap: people who judge each item (r).
        hold_s: seconds after which an open item goes back to the pool.
        block: items that are worked through before the next ones are begun.
        batch: items after which the page proposes a pause.
        limit: items one annotator judges at most; None for no limit.
        attention_every: one attention check among so many items; 0 for none.
        repeat_images: whether an annotator may meet the same image again with another question.
        seed: decides the blocks and everybody's order.
    """

    overlap: int = 3
    hold_s: int = 900
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
            raise InputError(f"attention_every is 0 or at least 2, not {self.attention_every}")
        if self.limit is not None and self.limit < 1:
            raise InputError(f"limit must be at least 1, not {self.limit}")

    def row(self) -> dict[str, Any]:
        """The settings as plain JSON."""
        return asdict(self)

    @classmethod
    def of(cls, row: dict[str, Any]) -> Settings:
        """Settings from plain JSON; keys of another version are passed over."""
        known = {item.name for item in fields(cls)}
        return cls(**{key: value for key, value in row.items() if key in known})


def number(*parts: object) -> int:
    """A number that is random in the parts and the same for the same parts."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


# An assignment that counts against the overlap; `:now` in milliseconds.
TAKEN = "(a.state = 'voted' OR (a.state = 'open' AND a.expires_at > :now))"

_UNSEEN = {
    False: "NOT EXISTS (SELECT 1 FROM assignments a WHERE a.annotator = :who AND a.image_id = i.image_id)",
    True: "NOT EXISTS (SELECT 1 FROM assignments a WHERE a.annotator = :who AND a.item_id = i.item_id)",
}


def room(db: sqlite3.Connection, item: str, settings: Settings, now: int) -> bool:
    """Whether an item can take one more annotator; an attention check always can."""
    (free,) = db.execute(
        "SELECT i.attention OR (SELECT COUNT(*) FROM assignments a WHERE a.item_id = i.item_id"
        f" AND {TAKEN}) < :overlap FROM items i WHERE i.item_id = :item",
        {"item": item, "now": now, "overlap": settings.overlap},
    ).fetchone()
    return bool(free)


def waiting(db: sqlite3.Connection, who: str, settings: Settings, now: int) -> str | None:
    """The assignment that an annotator left open last and that nobody else has filled meanwhile."""
    mine = db.execute(
        "SELECT assignment_id, item_id, expires_at FROM assignments WHERE annotator = ? AND state = 'open'"
        " ORDER BY offered_at DESC, rowid DESC",
        (who,),
    )
    for assignment, item, expires_at in mine.fetchall():
        if expires_at > now or room(db, item, settings, now):
            return str(assignment)
    return None


def choose(db: sqlite3.Connection, who: str, settings: Settings, now: int) -> str | None:
    """The next new item for an annotator, or None when there is none (for now)."""
    count, checks = db.execute(
        "SELECT COUNT(*) FILTER (WHERE NOT attention), COUNT(*) FILTER (WHERE attention)"
        " FROM assignments WHERE annotator = ?",
        (who,),
    ).fetchone()
    if settings.limit is not None and count >= settings.limit:
        return None
    values = {"who": who, "now": now, "overlap": settings.overlap, "block": settings.block}
    unseen = _UNSEEN[settings.repeat_images]
    new = db.execute(
        "SELECT i.item_id, i.block FROM items i WHERE i.attention = 0"
        f" AND {unseen} AND (SELECT COUNT(*) FROM assignments a WHERE a.item_id = i.item_id"
        f" AND {TAKEN}) < :overlap ORDER BY i.block LIMIT :block",
        values,
    ).fetchall()
    if not new:
        return None
    if _attention_due(who, count, checks, settings):
        obvious = db.execute(
            f"SELECT i.item_id FROM items i WHERE i.attention = 1 AND {unseen}", values
        ).fetchall()
        if obvious:
            return str(min((row[0] for row in obvious), key=lambda item: number(settings.seed, who, item)))
    first = new[0][1]
    return str(
        min(
            (item for item, block in new if block == first), key=lambda item: number(settings.seed, who, item)
        )
    )


def _attention_due(who: str, count: int, checks: int, settings: Settings) -> bool:
    """One place in every run of ``attention_every`` items, a place that nobody can foresee."""
    every = settings.attention_every
    if not every:
        return False
    run = count // every
    return checks <= run and count % every >= number("attention", settings.seed, who, run) % every
