"""Releases checks: keeps the images that show their prompt by a rule, together with all votes."""

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
from croc.wording import counted
from croc_hum.schema import find_item_files, require_item_columns
from croc_hum.votes.votes import (
    NO_VOTES,
    TOO_FEW_VOTES,
    YES,
    ExcludedAnnotator,
    Rule,
    add_vote_verdicts,
    decide,
    describe_excluded,
    exclude_inattentive,
    require_known_items,
)

_INDEX = ["item_id", "task", "check_id", "attention"]


@dataclass(frozen=True)
class Candidate:
    """The rows of one check in a file of items: from ``start`` to ``stop``, without ``stop``."""

    file: Path
    check_id: str
    start: int
    stop: int


@dataclass(frozen=True)
class VotedCandidates:
    """Candidates with their votes.

    Attributes:
        candidates: the checks, in the order of their files.
        task: the task whose votes decide.
        verdicts: ``verdict`` and ``why`` by item, as :func:`croc_hum.votes.votes.decide` returns them.
        votes: votes by item.
        rule: when votes decide.
        left_out: excluded annotators: their votes are released, but do not count.
    """

    candidates: tuple[Candidate, ...]
    task: str
    verdicts: Mapping[str, tuple[str | None, str | None]]
    votes: Mapping[str, Sequence[Mapping[str, Any]]]
    rule: Rule
    left_out: tuple[ExcludedAnnotator, ...] = ()

    @classmethod
    def of(
        cls, items: str | Path, votes: pl.DataFrame, rule: Rule, *, task: str | None = None
    ) -> VotedCandidates:
        """Join votes with their items.

        Args:
            items: path of the candidates, see :func:`croc_hum.schema.find_item_files`.
            votes: as :func:`croc_hum.votes.votes.read_votes` returns them.
            rule: when votes decide about an image.
            task: the task whose votes decide; None takes the only one.

        Raises:
            InputError: a vote is on another item, there are several tasks, or the items cannot be read.
        """
        index = _read_index(items)
        require_known_items(votes, set(index["item_id"]))
        tasks = votes.filter(~pl.col("attention"))["task"].unique().sort().to_list()
        if task is None and len(tasks) > 1:
            raise InputError(f"there are votes on several tasks ({', '.join(tasks)}); choose one with --task")
        chosen = task or next(iter(tasks), "")
        if chosen not in tasks:
            present = ", ".join(tasks) or "attention checks only"
            raise InputError(f"there is no vote on the task {chosen!r}; there are votes on {present}")
        task_votes = add_vote_verdicts(votes.filter((pl.col("task") == chosen) & ~pl.col("attention")))
        _, left_out = exclude_inattentive(votes, rule)
        excluded = [annotator.annotator for annotator in left_out]
        decided = decide(task_votes.filter(~pl.col("annotator").is_in(excluded)).drop("vote_verdict"), rule)
        by_item: dict[str, list[Mapping[str, Any]]] = {}
        for row in task_votes.iter_rows(named=True):
            by_item.setdefault(row["item_id"], []).append(row)
        verdicts = {row[0]: row[1:] for row in decided.select("item_id", "verdict", "why").iter_rows()}
        candidates = tuple(_group_rows(index.filter((index["task"] == chosen) & ~index["attention"])))
        return cls(candidates, chosen, verdicts, by_item, rule, left_out)

    def row(self, candidate: Candidate) -> tuple[dict[str, Any], Counter[str]]:
        """The released row of a check, and the number of its images that are not released, by reason.

        ``votes`` has all votes on all candidate images, including those that are not released; ``item`` names
        the image by its side and seed. ``agreement`` is the share of the annotators' votes that are equal to
        the decision about their image; votes of excluded annotators do not count.
        """
        images: dict[str, list[Any]] = {side: [] for side in SIDES}
        seeds: dict[str, list[int]] = {side: [] for side in SIDES}
        votes, agreeing = [], []
        discarded: Counter[str] = Counter()
        texts: dict[str, str | None] = {}
        excluded = {annotator.annotator for annotator in self.left_out}
        first: Mapping[str, Any] | None = None
        for item in _read_items(candidate):
            first = first or item
            side = SIDES.index(item["side"])
            texts[SIDES[side]], texts[SIDES[1 - side]] = item["prompt"], item["contrast_prompt"]
            item_votes = self.votes.get(item["item_id"], ())
            verdict, why = self.verdicts.get(
                item["item_id"], (None, TOO_FEW_VOTES if item_votes else NO_VOTES)
            )
            number = item["seed"] if item["seed"] is not None else f"#{item['image_index']}"
            name = f"{item['side']}/{number}"
            for vote in item_votes:
                votes.append(
                    Vote(
                        annotator=vote["annotator"],
                        item=name,
                        value=vote["answer"],
                        reason=vote["reason"],
                        seconds=vote["duration_s"],
                    )
                )
                counts = vote["role"] != "adjudicator" and vote["annotator"] not in excluded
                if verdict is not None and counts:
                    agreeing.append(vote["vote_verdict"] == verdict)
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
            votes=votes,
            agreement=sum(agreeing) / len(agreeing) if agreeing else None,
        )
        return check.row(), discarded

    def lines(self) -> list[str]:
        """The rule and the number of votes, in sentences."""
        votes = [vote for item_votes in self.votes.values() for vote in item_votes]
        annotators = {vote["annotator"] for vote in votes if vote["role"] != "adjudicator"}
        decisions = sum(vote["role"] == "adjudicator" for vote in votes)
        total = f"{counted(len(votes) - decisions, 'vote')} of {counted(len(annotators), 'annotator')}"
        if decisions:
            total += f" and {counted(decisions, 'decision')} of an adjudicator"
        lines = [f"Rule: {self.rule.describe()}", f"{total} on the task {self.task!r}"]
        return lines + describe_excluded(self.left_out)


def read_item_ids(items: str | Path) -> set[str]:
    """The ids of all items of a folder of candidates.

    Raises:
        InputError: the items cannot be read.
    """
    return set(_read_index(items)["item_id"])


def _read_index(items: str | Path) -> pl.DataFrame:
    """File, row and check of each item, without the images."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    index = []
    for number, file in enumerate(find_item_files(items)):
        try:
            require_item_columns(pq.read_schema(file).names, file)
            rows = [row for table in batches(file, _INDEX) for row in table.to_pylist()]
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{file}: cannot be read as a file of items ({error})") from None
        index += [
            {**dict.fromkeys(_INDEX), **row, "attention": bool(row.get("attention"))}
            | {"file": str(file), "number": number, "row": position}
            for position, row in enumerate(rows)
        ]
    if not index:
        raise InputError(f"{items}: there are no items")
    return pl.DataFrame(index, infer_schema_length=None)


def _group_rows(index: pl.DataFrame) -> Iterator[Candidate]:
    seen: set[str] = set()
    current: Candidate | None = None
    for row in index.sort("number", "row").iter_rows(named=True):
        file, position = Path(row["file"]), row["row"]
        if current and (current.file, current.check_id, current.stop) == (file, row["check_id"], position):
            current = Candidate(file, current.check_id, current.start, position + 1)
            continue
        if current:
            yield current
        if row["check_id"] in seen:
            raise InputError(f"{file}: the items of check {row['check_id']!r} are not in consecutive rows")
        seen.add(row["check_id"])
        current = Candidate(file, row["check_id"], position, position + 1)
    if current:
        yield current


def _read_items(candidate: Candidate) -> Iterator[dict[str, Any]]:
    for _, _, table in spans(candidate.file, [(candidate.start, candidate.stop)]):
        yield from table.to_pylist()
