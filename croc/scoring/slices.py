"""Slices of checks: one is read, scored and written as a part of the score table.

A slice holds some checks with their distinct image files. :class:`SliceScorer` is the function that
:mod:`croc.jobs` calls for each of them, here or in a worker process.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

from croc.checks.decoding import to_bytes
from croc.checks.rows import Row, prompt_problem
from croc.checks.schema import IMAGE_COLUMNS, SIDES
from croc.checks.sources import Checks
from croc.errors import CrocError, InputError
from croc.jobs.parts import Abort, Part
from croc.jobs.progress import Show
from croc.jobs.runner import Status
from croc.scorers import Judge, Scorer
from croc.scoring.batching import BatchScorer, Outcome
from croc.scoring.comparisons import Comparer, comparison_rows, count_questions
from croc.tables.columns import NO_CONTRAST_PROMPT, TRUNCATED, repeated_cells, score_schema
from croc.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

# Number of a row's scores that should be there and are not; counted, and not a column of the table.
_MISSING = "missing"


class Slice:
    """Some checks: their distinct image files, and the prompts that each is scored with."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.files: dict[str, bytes] = {}
        self.wanted: dict[str, list[str]] = {}
        self.broken: dict[str, str] = {}
        self.keys: list[tuple[list[str], list[str]]] = []
        for row in rows:
            sides = [self._add(row, column) for column in IMAGE_COLUMNS]
            self.keys.append((sides[0], sides[1]))

    def _add(self, row: Row, column: str) -> list[str]:
        keys = []
        prompts = [prompt for prompt in (row["prompt"], row["contrast_prompt"]) if prompt is not None]
        for image in row[column] or ():
            try:
                data = to_bytes(image)
            except InputError as error:
                # Kept apart: there is no content that could be its key.
                keys.append(f"!{len(self.broken)}")
                self.broken[keys[-1]] = str(error)
                continue
            # A fast hash is enough: keys are compared within this slice and stored nowhere.
            key = xxhash.xxh3_128_hexdigest(data)
            self.files[key] = data
            wanted = self.wanted.setdefault(key, [])
            wanted += [prompt for prompt in dict.fromkeys(prompts) if prompt not in wanted]
            keys.append(key)
        return keys

    @property
    def pairs(self) -> int:
        """Number of pairs to score."""
        return sum(len(prompts) for prompts in self.wanted.values())


class SliceScorer:
    """Scores slices of checks with one scorer, reading the next slice while one is scored.

    Args:
        checks: all checks.
        scorer: as :class:`croc.scorers.Scorer` describes it, or a pairwise judge.
        batch_size, threads, log: as :class:`croc.scoring.batching.BatchScorer` takes them.
        max_failures: stop when more pairs than this have no score; None never stops.
        stop_on_update: check ``max_failures`` in :meth:`update` too, for slices scored by other processes.
    """

    def __init__(
        self,
        checks: Checks,
        scorer: Scorer | Judge,
        *,
        batch_size: int | None = None,
        threads: int | None = None,
        max_failures: int | None = None,
        stop_on_update: bool = False,
        log: Callable[[str], None] = logger.warning,
    ) -> None:
        self.checks, self.scorer, self.max_failures = checks, scorer, max_failures
        self.stop_on_update = stop_on_update
        self.batches = (
            Comparer(scorer, batch_size=batch_size, threads=threads, log=log)
            if isinstance(scorer, Judge)
            else BatchScorer(scorer, batch_size=batch_size, threads=threads, log=log)
        )
        # What the counts and the speed of a run are of.
        self.unit = "answer" if isinstance(scorer, Judge) else "pair"
        with _no_exit(scorer):
            self.fields = _fields(scorer)
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="read")
        self.head = checks.read(0, min(2, len(checks.texts)))
        first = Slice(self.head)
        # On the first checks the faster ways of scoring are compared with the plain one.
        with _no_exit(scorer):
            self.batches.self_check(first.files, first.wanted)
        self.following: dict[int, Any] = {}
        self.total = 0
        self.ahead: tuple[int, Future[Slice]] | None = None
        self.show: Show = lambda done, total, note: None
        self.failed = self.done = self.pairs = 0
        self.failures: list[str] = []
        self.started = time.monotonic()

    def expect(self, plan: Sequence[Part]) -> None:
        """Say which slices will come, in order: the next one is then read while one is scored."""
        self.total = sum(part.payload["stop"] - part.payload["start"] for part in plan)
        self.following = {a.payload["start"]: b.payload for a, b in pairwise(plan)}

    @property
    def method(self) -> str:
        """How scores are computed: ``embeddings``, ``prefix`` or ``pairs``; ``comparisons`` of a judge."""
        return self.batches.method

    @property
    def remark(self) -> str:
        """Why a faster method was not used; usually empty."""
        return self.batches.remark

    def close(self) -> None:
        """Stop the threads that read and decode."""
        self.batches.close()
        self.reader.shutdown(wait=True, cancel_futures=True)

    def __call__(self, payload: Mapping[str, Any], path: Path) -> dict[str, int]:
        """Score one slice and write its rows."""
        import pyarrow.parquet as pq

        checks = self._slice(payload)
        finished, total = 0, max(self.count(checks), 1)

        def tick(pairs: int) -> None:
            nonlocal finished
            finished += pairs
            self.pairs += pairs
            self._show(self.done + int(len(checks.rows) * min(1.0, finished / total)))

        with _no_exit(self.scorer):
            if isinstance(self.batches, Comparer):
                given = checks.rows, checks.keys, checks.files, checks.broken
                rows = [row | {_MISSING: n} for row, n in comparison_rows(self.batches, *given, tick)]
            else:
                scores = self.batches.score(checks.files, checks.wanted, tick)
                rows = _rows(checks, scores, _truncated(self.scorer, checks.rows))
        failures = [row for row in rows if row[_MISSING]]
        failed = sum(row[_MISSING] for row in failures)
        self.failed += failed
        self.failures += [
            f"check {row['check_id']}, {row['image_side']} image {row['image_index']}: {row['error']}"
            for row in failures[: 20 - len(self.failures)]
        ]
        limit = self.max_failures
        if limit is not None and self.failed > limit:
            listed = "; ".join(self.failures[:20])
            raise Abort(f"{self._missing(self.failed)}, more than {limit} ({listed})")
        pq.write_table(_table(rows), path)
        self.done += len(checks.rows)
        return {
            "checks": len(checks.rows),
            "images": len(rows),
            "pairs": self.count(checks)
            if isinstance(self.batches, Comparer)
            else sum(1 + (row["error"] != NO_CONTRAST_PROMPT) for row in rows),
            "failed": failed,
            "truncated": sum(bool(row.get(TRUNCATED)) for row in rows),
            "checks_without_images": sum(not (a or b) for a, b in checks.keys),
        }

    def update(self, status: Status) -> None:
        """Called by the runner before the first part and after each."""
        # The counts of this process are ahead of the records by a part.
        self.failed = max(self.failed, int(status.counts.get("failed", 0)))
        self.done = max(self.done, int(status.counts.get("checks", 0)))
        limit = self.max_failures
        if self.stop_on_update and limit is not None and self.failed > limit:
            raise Abort(f"{self._missing(self.failed)}, more than {limit}")
        self._show(self.done)

    def count(self, checks: Slice) -> int:
        """The number of pairs to score, or of answers to get."""
        if not isinstance(self.batches, Comparer):
            return checks.pairs
        sides = zip(checks.rows, checks.keys, strict=True)
        return sum(
            self.count_of([len(a), len(b)], row["contrast_prompt"] is not None) for row, (a, b) in sides
        )

    def count_of(self, images: Sequence[int], has_contrast: bool) -> int:
        """The same of one check, by the number of images of both sides."""
        if not isinstance(self.batches, Comparer):
            return sum(images) * (1 + has_contrast)
        return count_questions(images[0], images[1], has_contrast, getattr(self.scorer, "opposing", None))

    def _missing(self, number: int) -> str:
        without = "missing" if self.unit == "answer" else "without a score"
        return f"{counted(number, self.unit)} {without}"

    def _show(self, done: int) -> None:
        spent = time.monotonic() - self.started
        note = f"{self.pairs / spent:.3g} {self.unit}s/s" if self.pairs else ""
        if self.failed:
            note += f", {self.failed} failed"
        self.show(done, self.total, note)

    def _slice(self, payload: Mapping[str, Any]) -> Slice:
        start = payload["start"]
        if self.ahead is not None and self.ahead[0] == start:
            future = self.ahead[1]
        else:
            future = self.reader.submit(self._read, payload)
        found = future.result()
        self.ahead = None
        if (coming := self.following.get(start)) is not None:
            self.ahead = (coming["start"], self.reader.submit(self._read, coming))
        return found

    def _read(self, payload: Mapping[str, Any]) -> Slice:
        start, stop = payload["start"], payload["stop"]
        # The first checks are there already: going back for them would read their row group twice.
        rows = list(self.head[start:stop])
        at = start + len(rows)
        return Slice([*rows, *self.checks.read(at, stop)] if at < stop else rows)


# ---- Rows and tables ----


def _rows(
    checks: Slice, scores: Mapping[tuple[str, str], Outcome], truncated: Mapping[str, bool] | None
) -> list[dict[str, Any]]:
    rows = []
    cells_of = repeated_cells(checks.rows)
    for check, sides, same in zip(checks.rows, checks.keys, cells_of, strict=True):
        prompts = (check["prompt"], check["contrast_prompt"])
        for side, keys in zip(SIDES, sides, strict=True):
            for index, key in enumerate(keys):
                outcomes = [
                    _outcome(key, prompt, checks.broken, scores) if prompt is not None or i == 0 else None
                    for i, prompt in enumerate(prompts)
                ]
                row = {**same, "image_side": side, "image_index": index, **cells(outcomes)}
                row[_MISSING] = sum(isinstance(value, str) for value in outcomes)
                if truncated is not None:
                    row[TRUNCATED] = any(truncated[prompt] for prompt in prompts if prompt is not None)
                rows.append(row)
    return rows


def _outcome(
    key: str, prompt: str | None, broken: Mapping[str, str], scores: Mapping[tuple[str, str], Outcome]
) -> Outcome:
    if key in broken:
        return broken[key]
    return "the prompt is missing" if prompt is None else scores[key, prompt]


def cells(outcomes: Sequence[Outcome | None]) -> dict[str, Any]:
    """The two scores of an image, and one sentence about a missing one."""
    values = [value if isinstance(value, float) else None for value in outcomes]
    reasons = [value if isinstance(value, str) else None for value in outcomes]
    first, second = reasons
    error: str | None
    if first is not None and second is not None:
        error = first if first == second else f"prompt: {first}; contrast prompt: {second}"
    elif second is not None:
        error = f"contrast prompt: {second}"
    elif first is not None:
        error = first if outcomes[1] is None else f"prompt: {first}"
    else:
        error = NO_CONTRAST_PROMPT if outcomes[1] is None else None
    return {"prompt_score": values[0], "contrast_score": values[1], "error": error}


def _truncated(scorer: Any, rows: Sequence[Row]) -> dict[str, bool] | None:
    """Which texts are longer than the scorer's text window; None for a scorer without one.

    A prompt that cannot be scored is not truncated either.
    """
    if not callable(getattr(scorer, "truncated", None)):
        return None
    both = {row[name] for row in rows for name in ("prompt", "contrast_prompt")}
    texts = sorted(text for text in both if text is not None and not prompt_problem(text))
    found = dict(zip(texts, map(bool, scorer.truncated(texts)), strict=True))
    return {text: found.get(text, False) for text in both if text is not None}


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    import pyarrow as pa

    schema = score_schema(optional=rows[0] if rows else ())
    return pa.table({name: [row[name] for row in rows] for name in schema.names}, schema=schema)


# ---- The scorer's own code ----


@contextmanager
def _no_exit(scorer: Scorer | Judge) -> Iterator[None]:
    """Turn ``sys.exit()`` in the code of a scorer into an error: the run would end without a word."""
    try:
        yield
    except SystemExit as error:
        status = "" if error.code is None else error.code
        raise Abort(
            f"scorer {scorer.name} called sys.exit({status}); for a pair without a score, raise an error"
        ) from error


def _fields(scorer: Scorer | Judge) -> dict[str, str]:
    try:
        fields = scorer.fields()
    except CrocError:
        raise
    except Exception as error:
        raise InputError(
            f"scorer {scorer.name}: fields() failed with {type(error).__name__}: {error}"
        ) from error
    if not isinstance(fields, Mapping) or not all(isinstance(value, str) for value in fields.values()):
        raise InputError(f"scorer {scorer.name}: fields() must give texts by name, not {fields!r:.100}")
    return dict(fields)
