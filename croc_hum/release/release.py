"""Votes → checks: what is released of each check, by a stated rule, with every vote beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from croc.checks.schema import SIDES, ContrastCheck, Vote
from croc.errors import InputError
from croc.storage.parquet import batches, spans
from croc_hum.schema import item_files
from croc_hum.votes.votes import (
    FEW,
    UNJUDGED,
    YES,
    LeftOut,
    Rule,
    attentive,
    decide,
    known_items,
    left_out_words,
    saying,
)

_LIGHT = ["item_id", "task", "check_id", "attention"]


@dataclass(frozen=True)
class Candidate:
    """The rows of a file of items that belong to one check."""

    file: Path
    check_id: str
    start: int
    stop: int


@dataclass(frozen=True)
class Judged:
    """Candidates with what was said about them.

    Attributes:
        candidates: the checks, in the order of their files.
        task: what was asked.
        verdicts: ``verdict`` and ``why`` by item, as :func:`croc_hum.votes.votes.decide` gives them.
        votes: the votes on each item.
        rule: how they were counted.
        left_out: annotators whose votes are kept and decide nothing.
    """

    candidates: tuple[Candidate, ...]
    task: str
    verdicts: Mapping[str, tuple[str | None, str | None]]
    votes: Mapping[str, Sequence[Mapping[str, Any]]]
    rule: Rule
    left_out: tuple[LeftOut, ...] = ()

    @classmethod
    def of(cls, items: str | Path, votes: pl.DataFrame, rule: Rule, *, task: str | None = None) -> Judged:
        """Bring votes and the items that they are about together.

        Args:
            items: the candidates, as :func:`croc_hum.schema.item_files` takes them.
            votes: as :func:`croc_hum.votes.votes.read_votes` gives them.
            rule: when votes decide about an image.
            task: which task decides; None takes the one that there is.

        Raises:
            InputError: a vote is on another item, there are several tasks, or the items cannot be read.
        """
        light = _light(items)
        known_items(votes, set(light["item_id"]))
        tasks = votes.filter(~pl.col("attention"))["task"].unique().sort().to_list()
        if task is None and len(tasks) > 1:
            raise InputError(f"the votes are of several tasks ({', '.join(tasks)}); say which one decides")
        chosen = task or next(iter(tasks), "")
        if chosen not in tasks:
            there = ", ".join(tasks) or "none but attention checks"
            raise InputError(f"no vote is of the task {chosen!r}; there are votes of {there}")
        mine = saying(votes.filter((pl.col("task") == chosen) & ~pl.col("attention")))
        _, left_out = attentive(votes, rule)
        out = [each.annotator for each in left_out]
        decided = decide(mine.filter(~pl.col("annotator").is_in(out)).drop("says"), rule)
        by_item: dict[str, list[Mapping[str, Any]]] = {}
        for row in mine.iter_rows(named=True):
            by_item.setdefault(row["item_id"], []).append(row)
        verdicts = {row[0]: row[1:] for row in decided.select("item_id", "verdict", "why").iter_rows()}
        candidates = tuple(_runs(light.filter((light["task"] == chosen) & ~light["attention"])))
        return cls(candidates, chosen, verdicts, by_item, rule, left_out)

    def row(self, candidate: Candidate) -> tuple[dict[str, Any], Counter[str]]:
        """A check as it is released, and how many of its images are not, by reason.

        ``votes`` holds every vote on every candidate image, those that are not released among them; ``item``
        names the image by its side and seed. ``agreement`` is the share of people's votes that say what was
        decided about their image; who is left out by the rule takes no part in it.
        """
        images: dict[str, list[Any]] = {side: [] for side in SIDES}
        seeds: dict[str, list[int]] = {side: [] for side in SIDES}
        said, agreeing = [], []
        discarded: Counter[str] = Counter()
        texts: dict[str, str | None] = {}
        unheard = {each.annotator for each in self.left_out}
        first: Mapping[str, Any] | None = None
        for item in _items(candidate):
            first = first or item
            own = SIDES.index(item["side"])
            texts[SIDES[own]], texts[SIDES[1 - own]] = item["prompt"], item["contrast_prompt"]
            given = self.votes.get(item["item_id"], ())
            verdict, why = self.verdicts.get(item["item_id"], (None, FEW if given else UNJUDGED))
            place = item["seed"] if item["seed"] is not None else f"#{item['image_index']}"
            name = f"{item['side']}/{place}"
            for vote in given:
                said.append(
                    Vote(
                        annotator=vote["annotator"],
                        item=name,
                        value=vote["answer"],
                        reason=vote["reason"],
                        seconds=vote["duration_s"],
                    )
                )
                counts = vote["role"] != "adjudicator" and vote["annotator"] not in unheard
                if verdict is not None and counts:
                    agreeing.append(vote["says"] == verdict)
            if verdict != YES:
                discarded[str(why)] += 1
                continue
            images[item["side"]].append(item["image"])
            if item["seed"] is not None:
                seeds[item["side"]].append(item["seed"])
        assert first is not None
        check = ContrastCheck(
            check_id=first["check_id"],
            concept_id=first["concept_id"] or first["check_id"],
            prompt=texts[SIDES[0]] or "",
            contrast_prompt=texts[SIDES[1]],
            images=images[SIDES[0]],
            contrast_images=images[SIDES[1]],
            category=first["category"],
            property=first["property"],
            seeds=seeds[SIDES[0]],
            contrast_seeds=seeds[SIDES[1]],
            text_model=first["text_model"],
            image_model=first["image_model"],
            votes=said,
            agreement=sum(agreeing) / len(agreeing) if agreeing else None,
        )
        return check.row(), discarded

    def lines(self) -> list[str]:
        """The rule and what it was applied to, in words."""
        votes = [vote for of in self.votes.values() for vote in of]
        people = {vote["annotator"] for vote in votes if vote["role"] != "adjudicator"}
        total, ruled = len(votes), sum(vote["role"] == "adjudicator" for vote in votes)
        counted = f"{total - ruled} votes of {len(people)} annotators"
        if ruled:
            counted += f" and {ruled} of an adjudicator"
        said = [f"The rule: {self.rule.words()}", f"{counted}, the task {self.task!r}"]
        return said + left_out_words(self.left_out)


def item_ids(items: str | Path) -> set[str]:
    """The ids of all items of a folder of candidates.

    Raises:
        InputError: the items cannot be read.
    """
    return set(_light(items)["item_id"])


def _light(items: str | Path) -> pl.DataFrame:
    """Which rows of which file belong to which check, without the images."""
    import pyarrow as pa

    found = []
    for number, file in enumerate(item_files(items)):
        try:
            rows = [row for table in batches(file, _LIGHT) for row in table.to_pylist()]
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{file}: cannot be read as a file of items ({error})") from None
        found += [
            {**row, "attention": bool(row["attention"]), "file": str(file), "number": number, "row": at}
            for at, row in enumerate(rows)
        ]
    if not found:
        raise InputError(f"{items}: there are no items in it")
    return pl.DataFrame(found, infer_schema_length=None)


def _runs(light: pl.DataFrame) -> Iterator[Candidate]:
    seen: set[str] = set()
    open_run: Candidate | None = None
    for row in light.sort("number", "row").iter_rows(named=True):
        file, at = Path(row["file"]), row["row"]
        if open_run and (open_run.file, open_run.check_id, open_run.stop) == (file, row["check_id"], at):
            open_run = Candidate(file, open_run.check_id, open_run.start, at + 1)
            continue
        if open_run:
            yield open_run
        if row["check_id"] in seen:
            raise InputError(f"{file}: the items of check {row['check_id']!r} do not stand together")
        seen.add(row["check_id"])
        open_run = Candidate(file, row["check_id"], at, at + 1)
    if open_run:
        yield open_run


def _items(candidate: Candidate) -> Iterator[dict[str, Any]]:
    for _, _, table in spans(candidate.file, [(candidate.start, candidate.stop)]):
        yield from table.to_pylist()
