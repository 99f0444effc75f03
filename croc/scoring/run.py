"""Checks × scorers → score tables: one Parquet file a scorer, complete in itself, resumable at any moment.

The scores of a slice of checks are a part of ``croc.jobs.runner``: a killed run goes on where it stopped, and
a changed scorer, template, revision or text never meets old scores.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import xxhash

from croc.checks.decoding import to_bytes
from croc.checks.schema import IMAGE_COLUMNS, PROTOCOLS, SIDES, STYLE
from croc.checks.sources import Checks, Row, open_checks
from croc.errors import CrocError, InputError
from croc.jobs import runner as parts
from croc.jobs.progress import Show, shown
from croc.scorers import Scorer
from croc.scorers.registry import load, takes
from croc.scoring.batching import Engine, Outcome
from croc.scoring.workers import Slices, named
from croc.tables.columns import NO_CONTRAST_PROMPT, score_schema, shared_cells
from croc.tables.metadata import ScoreMetadata, library_versions
from croc.tables.writers import write_scores

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

FORMAT = 1
CHECKS_PER_PART = {"embeddings": 128, "prefix": 32, "pairs": 32}
"""How much a kill may cost: about a thousand images of a quick scorer, a few hundred of a slow one."""

TRUNCATED = "truncated"
"""Column of tables whose scorer has a window: whether one of the row's two texts was cut."""

# Number of a row's scores that should be there and are not; counted, and not a column of the table.
_MISSING = "missing"


def score_dataset(
    dataset: Any,
    scorers: Sequence[Any],
    out: str | Path,
    *,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    streaming: bool = False,
    max_checks: int | None = None,
    protocol: str | None = None,
    batch_size: int | None = None,
    checks_per_part: int | None = None,
    max_failures: int | None = None,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    engine: parts.Engine | None = None,
    existing: Literal["resume", "overwrite"] = "resume",
    progress: bool = True,
    tell: Callable[[str], None] = log.info,
) -> list[Path]:
    """Run scorers on a dataset of checks.

    Args:
        dataset: what :func:`croc.checks.sources.open_checks` takes.
        scorers: names or objects as :func:`croc.scorers.registry.load` takes them; loaded one after another.
        out: folder of the tables, ``NAME.parquet``; what a run needs to go on lies in ``NAME.parts``.
        config: configuration of the dataset, where it has several.
        split: split of the dataset, where it has several.
        revision: tag or commit of a Hub dataset; for objects, what to call their content.
        streaming: read a Hub dataset over the network instead of downloading it first.
        max_checks: run on at most so many; see :func:`croc.checks.sources.open_checks`.
        protocol: ``syn`` or ``hum``; None takes what the checks show.
        batch_size: at most so many pairs, images or texts at once; None takes each scorer's own.
        checks_per_part: checks that are scored between two saves.
        max_failures: stop when more pairs than this could not be scored; None never stops.
        threads: threads that decode images.
        options: arguments for those scorers given by name that take them, such as ``{"device": "cpu"}``.
        engine: who scores the slices, see :mod:`croc.jobs.executors`; None takes this process. Its workers
            open the dataset and load the scorer by name; this process loads it too, for its signature.
        existing: ``resume`` goes on with the same work and refuses other work; ``overwrite`` starts anew.
        progress: show a bar, or a line now and then when there is no terminal.
        tell: where remarks and the summary line of each scorer go.

    Returns:
        One Parquet file a scorer, in the given order, with the columns of ``SCORE_COLUMNS`` and, for scorers
        with a text window, ``truncated``.

    Raises:
        InputError: the dataset, a scorer or an option cannot be used, or ``out`` holds other work.
        CrocError: a scorer breaks its contract, or too many pairs failed.
    """
    if protocol not in (None, *PROTOCOLS):
        raise InputError(f"unknown protocol {protocol!r}; known are {', '.join(PROTOCOLS)}")
    if not scorers:
        raise InputError("no scorer was given")
    for option in options or {}:
        if not any([takes(spec, option) for spec in scorers]):
            raise InputError(f"none of the scorers has an option {option!r}")
    if engine is not None:
        dataset = named(dataset, scorers)
    source = {
        "dataset": dataset,
        "config": config,
        "split": split,
        "revision": revision,
        "streaming": streaming,
        "max_checks": max_checks,
    }
    checks = open_checks(**source)
    if not checks.texts:
        raise InputError(f"{checks.name}: there are no checks in it")
    run = _Run(
        checks=checks,
        protocol=protocol or checks.protocol,
        out=Path(out),
        batch_size=batch_size,
        checks_per_part=checks_per_part,
        max_failures=max_failures,
        threads=threads,
        existing=existing,
        progress=progress,
        tell=tell,
        # Before any scorer is loaded: accelerate says which device is this process's own.
        processes=_processes(),
        source=source,
        workers=engine,
    )
    if engine is not None and run.processes[1] > 1:
        raise InputError("an engine and `accelerate launch` are two ways to share the work: take one of them")
    written: dict[str, Path] = {}
    for spec in scorers:
        given = {key: value for key, value in (options or {}).items() if takes(spec, key)}
        scorer = load(spec, **given)
        if scorer.name in written:
            raise InputError(f"two scorers are called {scorer.name!r}; give one of them another name")
        written[scorer.name] = run.score(scorer, spec, given)
        del scorer  # Its memory is free before the next one is loaded.
    return list(written.values())


@dataclass
class _Run:
    checks: Checks
    protocol: str
    out: Path
    batch_size: int | None
    checks_per_part: int | None
    max_failures: int | None
    threads: int | None
    existing: Literal["resume", "overwrite"]
    progress: bool
    tell: Callable[[str], None]
    processes: tuple[int, int, Callable[[], None]] = (0, 1, lambda: None)
    source: Mapping[str, Any] = field(default_factory=dict)
    workers: parts.Engine | None = None

    def score(self, scorer: Scorer, spec: Any, options: Mapping[str, Any]) -> Path:
        """One scorer over all checks, on as many processes as ``accelerate`` or an engine have."""
        rank, ranks, wait = self.processes
        stem = file_stem(scorer.name)
        target = self.out / f"{stem}.parquet"
        folders = [self.out / f"{stem}.parts"]
        if ranks > 1:
            folders = [folders[0] / f"{i}-of-{ranks}" for i in range(ranks)]
        engine = Engine(scorer, batch_size=self.batch_size, threads=self.threads, tell=self.tell)
        reader = ThreadPoolExecutor(1, thread_name_prefix="read")
        try:
            start = time.monotonic()
            head = _checked_head(self.checks, engine)
            plan = self.checks.plan(self.checks_per_part or CHECKS_PER_PART[engine.way])
            fields = _fields(scorer)
            work = _Work(self, scorer, engine, reader, plan[rank::ranks], head)
            before = _counts(folders[rank])
            make: parts.Make = work.make
            if self.workers is not None:
                make = Slices(
                    dict(self.source),
                    self.checks.revision,
                    spec,
                    dict(options),
                    fields,
                    engine.way,
                    self.batch_size,
                    self.threads,
                )
            with self._shown(scorer.name, rank) as show:
                work.show = show
                manifest = parts.run(
                    plan[rank::ranks],
                    make,
                    folders[rank],
                    suffix=".parquet",
                    fingerprint=self._fingerprint(scorer, fields, engine),
                    progress=work.saved,
                    what="slices of checks",
                    existing=self.existing,
                    engine=self.workers,
                )
            spent = time.monotonic() - start
        finally:
            engine.close()
            reader.shutdown(wait=True, cancel_futures=True)
        wait()
        metadata = self._metadata(scorer, fields, engine)
        if rank == 0:
            manifests = [manifest, *(parts.read_manifest(folder) for folder in folders[1:])]
            table = _joined([file for each in manifests for file in each.files()])
            write_scores(table, metadata, target)
            counts = Counter[str]()
            for each in manifests:
                counts.update({key: int(value) for key, value in each.counts.items()})
            new = counts["pairs"] - before.get("pairs", 0)
            self.tell(_summary(metadata, counts, new, spent, target, _usage(scorer)))
        wait()
        return target

    def _shown(self, name: str, rank: int) -> Any:
        return shown(name, "checks") if self.progress and rank == 0 else nullcontext(lambda *state: None)

    def _fingerprint(self, scorer: Scorer, fields: Mapping[str, str], engine: Engine) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "scorer": scorer.name,
            "fields": dict(fields),
            "way": engine.way,
            "dataset": self.checks.revision,
            "versions": _versions(fields),
        }

    def _metadata(self, scorer: Scorer, fields: Mapping[str, str], engine: Engine) -> ScoreMetadata:
        extra = {"way": engine.way}
        if engine.remark:
            extra["remark"] = engine.remark
        if not self.checks.pinned:
            extra["dataset_pin"] = "texts only"
        return ScoreMetadata.of_scorer(
            scorer.name,
            fields,
            protocol=self.protocol,
            dataset=self.checks.name,
            dataset_revision=self.checks.revision,
            dataset_config=self.checks.config,
            dataset_split=self.checks.split,
            blind=bool(getattr(scorer, "blind", False)),
            library_versions=_versions(fields),
            extra=extra,
        )


def maker(
    source: Mapping[str, Any],
    scorer: str,
    options: Mapping[str, Any],
    batch_size: int | None,
    threads: int | None,
) -> tuple[parts.Make, dict[str, str], str, str]:
    """For a worker: what makes slices, and by what it is known that they are those of the plan.

    Args:
        source: arguments of :func:`croc.checks.sources.open_checks`.
        scorer: what :func:`croc.scorers.registry.load` takes.
        options: arguments for its class.
        batch_size: of the engine.
        threads: of the engine.

    Returns:
        The function, the scorer's fields, the way of scoring, the revision of the checks.
    """
    checks = open_checks(**source)
    loaded = load(scorer, **options)
    engine = Engine(loaded, batch_size=batch_size, threads=threads)
    head = _checked_head(checks, engine)
    run = _Run(checks, "syn", Path(), batch_size, None, None, threads, "resume", False, log.info)
    work = _Work(run, loaded, engine, ThreadPoolExecutor(1, thread_name_prefix="read"), [], head)
    return work.make, _fields(loaded), engine.way, checks.revision


def _checked_head(checks: Checks, engine: Engine) -> Sequence[Row]:
    """The first checks; the engine has seen on them which way it can go."""
    head = checks.read(0, min(2, len(checks.texts)))
    first = _Slice(head)
    engine.self_check(first.files, first.wanted)
    return head


class _Slice:
    """Some checks: their distinct image files, and which prompts go with each."""

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
            key = xxhash.xxh3_128_hexdigest(data)
            self.files[key] = data
            wanted = self.wanted.setdefault(key, [])
            wanted += [prompt for prompt in dict.fromkeys(prompts) if prompt not in wanted]
            keys.append(key)
        return keys

    @property
    def pairs(self) -> int:
        return sum(len(prompts) for prompts in self.wanted.values())


class _Work:
    """Makes the parts of one scorer, reading the next slice while one is scored."""

    def __init__(
        self,
        run: _Run,
        scorer: Scorer,
        engine: Engine,
        reader: ThreadPoolExecutor,
        plan: Sequence[parts.Part],
        head: Sequence[Row],
    ) -> None:
        self.run, self.scorer, self.engine, self.reader = run, scorer, engine, reader
        self.head = head
        self.total = sum(part.payload["stop"] - part.payload["start"] for part in plan)
        self.following = {a.payload["start"]: b.payload for a, b in pairwise(plan)}
        self.ahead: tuple[int, Future[_Slice]] | None = None
        self.show: Show = lambda done, total, note: None
        self.failed = self.done = self.pairs = 0
        self.failures: list[str] = []
        self.began = time.monotonic()

    def make(self, payload: Mapping[str, Any], path: Path) -> dict[str, int]:
        """Score one slice and write its rows."""
        import pyarrow.parquet as pq

        checks = self._slice(payload)
        finished, total = 0, max(checks.pairs, 1)

        def tick(pairs: int) -> None:
            nonlocal finished
            finished += pairs
            self.pairs += pairs
            self._show(self.done + int(len(checks.rows) * min(1.0, finished / total)))

        scores = self.engine.score(checks.files, checks.wanted, tick)
        rows = _rows(checks, scores, _truncated(self.scorer, checks.rows))
        failures = [row for row in rows if row[_MISSING]]
        failed = sum(row[_MISSING] for row in failures)
        self.failed += failed
        self.failures += [
            f"check {row['check_id']}, {row['image_side']} image {row['image_index']}: {row['error']}"
            for row in failures[: 20 - len(self.failures)]
        ]
        limit = self.run.max_failures
        if limit is not None and self.failed > limit:
            listed = "; ".join(self.failures[:20])
            raise parts.Abort(f"{self.failed} pairs have no score, and {limit} may fail ({listed})")
        pq.write_table(_table(rows), path)
        self.done += len(checks.rows)
        return {
            "checks": len(checks.rows),
            "images": len(rows),
            "pairs": sum(1 + (row["error"] != NO_CONTRAST_PROMPT) for row in rows),
            "failed": failed,
            "truncated": sum(bool(row.get(TRUNCATED)) for row in rows),
            "checks_without_images": sum(not (a or b) for a, b in checks.keys),
        }

    def saved(self, status: parts.Status) -> None:
        """Called by the runner before the first part and after each."""
        # What this process counted itself is ahead of the records by a part.
        self.failed = max(self.failed, int(status.counts.get("failed", 0)))
        self.done = max(self.done, int(status.counts.get("checks", 0)))
        limit = self.run.max_failures
        if self.run.workers is not None and limit is not None and self.failed > limit:
            raise parts.Abort(f"{self.failed} pairs have no score, and {limit} may fail")
        self._show(self.done)

    def _show(self, done: int) -> None:
        spent = time.monotonic() - self.began
        note = f"{self.pairs / spent:.3g} pairs/s" if self.pairs else ""
        if self.failed:
            note += f", {self.failed} failed"
        self.show(done, self.total, note)

    def _slice(self, payload: Mapping[str, Any]) -> _Slice:
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

    def _read(self, payload: Mapping[str, Any]) -> _Slice:
        start, stop = payload["start"], payload["stop"]
        # The first checks are there already: going back for them would read their row group twice.
        rows = list(self.head[start:stop])
        at = start + len(rows)
        return _Slice([*rows, *self.run.checks.read(at, stop)] if at < stop else rows)


# ---- Rows and tables ----


def _rows(
    checks: _Slice, scores: Mapping[tuple[str, str], Outcome], truncated: Mapping[str, bool] | None
) -> list[dict[str, Any]]:
    rows = []
    for check, sides in zip(checks.rows, checks.keys, strict=True):
        same = shared_cells(check)
        if STYLE in check:
            same[STYLE] = check[STYLE]
        prompts = (check["prompt"], check["contrast_prompt"])
        for side, keys in zip(SIDES, sides, strict=True):
            for index, key in enumerate(keys):
                told = [
                    _outcome(key, prompt, checks.broken, scores) if prompt is not None or i == 0 else None
                    for i, prompt in enumerate(prompts)
                ]
                row = {**same, "image_side": side, "image_index": index, **cells(told)}
                row[_MISSING] = sum(isinstance(value, str) for value in told)
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


def cells(told: Sequence[Outcome | None]) -> dict[str, Any]:
    """The two scores of an image, and one sentence about what is not there."""
    values = [value if isinstance(value, float) else None for value in told]
    reasons = [value if isinstance(value, str) else None for value in told]
    first, second = reasons
    error: str | None
    if first is not None and second is not None:
        error = first if first == second else f"prompt: {first}; contrast prompt: {second}"
    elif second is not None:
        error = f"contrast prompt: {second}"
    elif first is not None:
        error = first if told[1] is None else f"prompt: {first}"
    else:
        error = NO_CONTRAST_PROMPT if told[1] is None else None
    return {"prompt_score": values[0], "contrast_score": values[1], "error": error}


def _truncated(scorer: Any, rows: Sequence[Row]) -> dict[str, bool] | None:
    """Which texts do not fit the scorer's window; None for a scorer that does not say."""
    if not callable(getattr(scorer, "truncated", None)):
        return None
    both = {row[name] for row in rows for name in ("prompt", "contrast_prompt")}
    texts = sorted(text for text in both if text is not None)
    return dict(zip(texts, map(bool, scorer.truncated(texts)), strict=True))


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    import pyarrow as pa

    schema = score_schema()
    if rows and STYLE in rows[0]:
        schema = schema.append(pa.field(STYLE, pa.string()))
    if rows and TRUNCATED in rows[0]:
        schema = schema.append(pa.field(TRUNCATED, pa.bool_()))
    return pa.table({name: [row[name] for row in rows] for name in schema.names}, schema=schema)


def _joined(files: Sequence[Path]) -> pa.Table:
    """The parts' rows in the order of the dataset, which the parts' names keep."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [pq.read_table(file) for file in sorted(files, key=lambda file: file.name)]
    filled = [table for table in tables if len(table)] or tables[:1]
    return pa.concat_tables(filled)


# ---- What is said about a run ----


def _fields(scorer: Scorer) -> dict[str, str]:
    fields = scorer.fields()
    if not isinstance(fields, Mapping) or not all(isinstance(value, str) for value in fields.values()):
        raise InputError(f"scorer {scorer.name}: fields() must give texts by name, not {fields!r:.100}")
    return dict(fields)


def _versions(fields: Mapping[str, str]) -> dict[str, str]:
    names = ["croc-t2i", "numpy", "pillow"]
    # Only a model has a number format; what else the process has imported says nothing about the scores.
    return library_versions(*names, *(("torch", "transformers") if "dtype" in fields else ()))


def _counts(folder: Path) -> Mapping[str, int | float]:
    try:
        return parts.status(folder).counts
    except CrocError:
        return {}


def _usage(scorer: Any) -> str:
    """What the scorer says that it has used of a service; empty for one that says nothing."""
    usage = getattr(scorer, "usage", None)
    return "" if usage is None or callable(usage) else str(usage)


def _summary(
    metadata: ScoreMetadata, counts: Counter[str], new: float, spent: float, target: Path, usage: str
) -> str:
    speed = f"{new} of them now, {new / max(spent, 1e-9):.3g} pairs/s" if new else "all there before"
    remarks = [
        f"{counts[key]} {words}"
        for key, words in (
            ("failed", "pairs without a score"),
            ("truncated", "images with a truncated text"),
            ("checks_without_images", "checks without images"),
        )
        if counts[key]
    ]
    said = "".join(f", {remark}" for remark in remarks) + (f"; {usage}" if usage else "")
    return f"{target}: {counts['pairs']} pairs, {speed}{said} | {metadata.signature}"


def file_stem(name: str) -> str:
    """A scorer's name as the stem of its file."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "scorer"


def _processes() -> tuple[int, int, Callable[[], None]]:
    """Rank, number of processes and a barrier, as ``accelerate launch`` set them up; (0, 1, nothing) else."""
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        return 0, 1, lambda: None
    import torch
    from accelerate import PartialState

    # Without a GPU it would take each process for the only one.
    state = PartialState(cpu=not torch.cuda.is_available())
    return state.process_index, state.num_processes, state.wait_for_everyone
