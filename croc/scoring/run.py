"""Checks × scorers → score tables: one complete Parquet file per scorer, resumable at any moment.

The scores of a slice of checks are one part of :mod:`croc.jobs`: an interrupted run resumes, and scores of a
changed scorer, template, revision or text are never mixed with old ones.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from croc.checks.decoding import decode, to_bytes
from croc.checks.schema import IMAGE_COLUMNS, PROTOCOLS
from croc.checks.sources import Checks, open_checks
from croc.errors import CrocError, InputError
from croc.jobs import runner
from croc.jobs.paid_calls import PaidTerms
from croc.jobs.parts import Executor, MakePart
from croc.jobs.progress import progress_bar
from croc.scorers import Judge, Scorer
from croc.scorers.registry import load_any, takes
from croc.scoring.slices import SliceScorer
from croc.scoring.workers import WorkerSlices, name_for_workers
from croc.storage.files import file_stem
from croc.storage.limits import require_metric_name
from croc.tables.metadata import ScoreMetadata, library_versions
from croc.tables.writers import write_scores
from croc.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

FORMAT = 2
CHECKS_PER_PART = {"embeddings": 128, "prefix": 32, "pairs": 32, "comparisons": 8}
"""By method. An interruption loses at most one part: about a thousand images of a fast scorer, a few hundred
of a slow one."""


@dataclass(frozen=True)
class ScoringSettings:
    """How scorers are run, whichever dataset and scorers are given.

    Attributes:
        protocol: ``syn`` or ``hum``; None takes the protocol that the checks show.
        batch_size: largest number of pairs, images or texts per call; None takes each scorer's own.
        checks_per_part: checks that are scored between two saves; None chooses by the scorer's method.
        max_failures: stop when more pairs than this have no score; None never stops.
        threads: threads that decode images; None takes one per CPU core, at most 8.
        existing: ``resume`` continues the same work and refuses other work; ``overwrite`` starts again.
        progress: show a bar, or a line now and then when there is no terminal.
        paid: prices, budget and cache for scorers that call a paid service; None leaves them theirs. All
            scorers share the budget. Worker processes do not: give them a share each.
    """

    protocol: str | None = None
    batch_size: int | None = None
    checks_per_part: int | None = None
    max_failures: int | None = None
    threads: int | None = None
    existing: Literal["resume", "overwrite"] = "resume"
    progress: bool = True
    paid: PaidTerms | None = None


def score_dataset(
    dataset: Any,
    scorers: Sequence[Any],
    out: str | Path,
    settings: ScoringSettings | None = None,
    *,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    streaming: bool = False,
    max_checks: int | None = None,
    verify: bool = False,
    options: Mapping[str, Any] | None = None,
    executor: Executor | None = None,
    log: Callable[[str], None] = logger.info,
) -> list[Path]:
    """Run scorers on a dataset of checks.

    Args:
        dataset: what :func:`croc.checks.sources.open_checks` takes.
        scorers: names or objects as :func:`croc.scorers.registry.load_any` takes them, pairwise judges among
            them; loaded one after another.
        out: folder of the tables, ``NAME.parquet``; what is needed to resume lies in ``NAME.parts``.
        settings: batch size, resume, progress; None takes the defaults.
        config: configuration of the dataset, where it has several.
        split: split of the dataset, where it has several.
        revision: tag or commit of a Hub dataset; for objects, a name for their content.
        streaming: read a Hub dataset over the network instead of downloading it first.
        max_checks: largest number of checks; see :func:`croc.checks.sources.open_checks`.
        verify: first compare all bytes of a folder with its manifest, not only sizes and quick checksums.
        options: arguments for those scorers given by name that take them, such as ``{"device": "cpu"}``.
        executor: what makes the parts, see :mod:`croc.jobs.executors`; None is this process. Worker processes
            open the dataset and load the scorer by name; this process loads it too, for its signature.
        log: called with remarks and with one summary line per scorer.

    Returns:
        One Parquet file per scorer, in the given order, with the columns of ``SCORE_COLUMNS``; scorers with a
        text window add ``truncated``, pairwise judges have ``ANSWERS`` in place of scores.

    Raises:
        InputError: the dataset, a scorer or an option cannot be used, or ``out`` holds other work.
        CrocError: a scorer breaks its contract, or too many pairs failed.
    """
    settings = settings or ScoringSettings()
    if settings.protocol not in (None, *PROTOCOLS):
        raise InputError(f"unknown protocol {settings.protocol!r}; known are {', '.join(PROTOCOLS)}")
    if not scorers:
        raise InputError("at least one scorer is needed")
    for option in options or {}:
        if not any([takes(spec, option) for spec in scorers]):
            raise InputError(f"no scorer has the option {option!r}")
    # Before any scorer is loaded: accelerate says which device is this process's own.
    processes = _processes()
    if executor is not None:
        if processes[1] > 1:
            raise InputError("--executor and `accelerate launch` both distribute the work: use one of them")
        dataset = name_for_workers(dataset, scorers)
    source = {
        "dataset": dataset,
        "config": config,
        "split": split,
        "revision": revision,
        "streaming": streaming,
        "max_checks": max_checks,
    }
    checks = open_checks(**source, verify=verify)
    if not checks.texts:
        raise InputError(f"{checks.name} contains no checks")
    _require_folder(Path(out))
    run = _Run(checks, source, Path(out), settings, processes, executor, log)
    written: dict[str, Path] = {}
    terms = settings.paid and settings.paid.in_one_run()
    for spec in scorers:
        given = {key: value for key, value in (options or {}).items() if takes(spec, key)}
        scorer = load_any(spec, **given)
        if terms is not None and hasattr(scorer, "use_terms"):
            scorer.use_terms(terms)
        if scorer.name in written:
            raise InputError(f"two scorers are called {scorer.name!r}; give one of them another name")
        require_metric_name(scorer.name)
        if isinstance(scorer, Judge) and (settings.protocol or checks.protocol) == "graded":
            raise InputError(
                f"{scorer.name} is a pairwise judge, which gives no scores, and graded checks compare "
                "scores; run it on checks with four directions"
            )
        stem = file_stem(scorer.name)
        if other := next((name for name in written if file_stem(name) == stem), None):
            raise InputError(
                f"the scorers {other!r} and {scorer.name!r} would both write {stem}.parquet; give one of "
                "them another name"
            )
        written[scorer.name] = run.score(scorer, spec, given)
        del scorer  # Its memory is free before the next one is loaded.
    return list(written.values())


@dataclass(frozen=True)
class _Run:
    checks: Checks
    source: Mapping[str, Any]
    out: Path
    settings: ScoringSettings
    processes: tuple[int, int, Callable[[], None]]
    executor: Executor | None
    log: Callable[[str], None]

    def score(self, scorer: Scorer | Judge, spec: Any, options: Mapping[str, Any]) -> Path:
        """Run one scorer on all checks, with as many processes as ``accelerate`` or an executor has."""
        rank, ranks, wait = self.processes
        stem = file_stem(scorer.name)
        target = self.out / f"{stem}.parquet"
        folders = [self.out / f"{stem}.parts"]
        if ranks > 1:
            folders = [folders[0] / f"{i}-of-{ranks}" for i in range(ranks)]
        start = time.monotonic()
        settings = self.settings
        slices = SliceScorer(
            self.checks,
            scorer,
            batch_size=settings.batch_size,
            threads=settings.threads,
            max_failures=settings.max_failures,
            stop_on_update=self.executor is not None,
            log=self.log,
        )
        try:
            plan = self.checks.plan(settings.checks_per_part or CHECKS_PER_PART[slices.method])[rank::ranks]
            slices.expect(plan)
            logger.info(
                "%s: method %s, %s in %s",
                scorer.name,
                slices.method,
                counted(slices.total, "check"),
                counted(len(plan), "slice"),
            )
            before = _counts(folders[rank])
            if rank == 0 and (estimate := _estimate(self.checks, slices, int(before.get("pairs", 0)))):
                self.log(estimate)
            make: MakePart = slices
            if self.executor is not None:
                make = WorkerSlices(
                    source=dict(self.source),
                    revision=self.checks.revision,
                    scorer=spec,
                    options=dict(options),
                    fields=slices.fields,
                    method=slices.method,
                    batch_size=settings.batch_size,
                    threads=settings.threads,
                    paid=settings.paid.model_dump() if settings.paid else None,
                )
            with self._progress(scorer.name, rank) as show:
                slices.show = show
                manifest = runner.run(
                    plan,
                    make,
                    folders[rank],
                    suffix=".parquet",
                    fingerprint=self._fingerprint(slices),
                    progress=slices.update,
                    what="slices of checks",
                    existing=settings.existing,
                    executor=self.executor,
                )
            seconds = time.monotonic() - start
        finally:
            slices.close()
        wait()
        if rank == 0:
            manifests = [manifest, *(runner.read_manifest(folder) for folder in folders[1:])]
            metadata = self._metadata(slices)
            write_scores(_joined([file for one in manifests for file in one.files()]), metadata, target)
            counts = Counter[str]()
            for one in manifests:
                counts.update({key: int(value) for key, value in one.counts.items()})
            new = counts["pairs"] - before.get("pairs", 0)
            self.log(_summary(counts, new, seconds, target, _usage(scorer), slices.unit))
            logger.info("%s: %s", scorer.name, metadata.signature)
        wait()
        return target

    def _progress(self, name: str, rank: int) -> Any:
        wanted = self.settings.progress and rank == 0
        return progress_bar(name, "checks") if wanted else nullcontext(lambda *state: None)

    def _fingerprint(self, slices: SliceScorer) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "scorer": slices.scorer.name,
            "fields": slices.fields,
            "method": slices.method,
            "dataset": self.checks.revision,
            "versions": _versions(slices.fields),
        }

    def _metadata(self, slices: SliceScorer) -> ScoreMetadata:
        remarks = {"method": slices.method}
        fields = dict(slices.fields)
        if isinstance(slices.scorer, Judge):
            fields["comparisons"] = "single images, both orders, chance 1/2"
        if slices.remark:
            remarks["remark"] = slices.remark
        if not self.checks.pinned:
            remarks["dataset_pin"] = "texts only"
        return ScoreMetadata.of_scorer(
            slices.scorer.name,
            fields,
            protocol=self.settings.protocol or self.checks.protocol,
            dataset=self.checks.name,
            dataset_revision=self.checks.revision,
            dataset_config=self.checks.config,
            dataset_split=self.checks.split,
            baseline=bool(getattr(slices.scorer, "baseline", False)),
            library_versions=_versions(slices.fields),
            run=remarks,
        )


def _joined(files: Sequence[Path]) -> pa.Table:
    """The parts' rows in the order of the dataset, which the parts' names keep."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [pq.read_table(file) for file in sorted(files, key=lambda file: file.name)]
    filled = [table for table in tables if len(table)] or tables[:1]
    # Parts in English alone have no column for the language.
    return pa.concat_tables(filled, promote_options="default")


def _require_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: this folder cannot be made ({error.strerror})") from None
    if not os.access(out, os.W_OK):
        raise InputError(f"{out}: no permission to write in this folder")


# ---- The summary of a run ----


def _versions(fields: Mapping[str, str]) -> dict[str, str]:
    names = ["croc-t2i", "numpy", "pillow"]
    # Only a model has a number format; what else the process has imported says nothing about the scores.
    return library_versions(*names, *(("torch", "transformers") if "dtype" in fields else ()))


def _counts(folder: Path) -> Mapping[str, int | float]:
    try:
        return runner.status(folder).counts
    except CrocError:
        return {}


def _estimate(checks: Checks, slices: SliceScorer, done: int) -> str:
    """What a scorer says that its service will be asked for what has no score or answer yet; often empty."""
    scorer: Any = slices.scorer
    if not callable(getattr(scorer, "estimate", None)):
        return ""
    rows = slices.head
    prompts = [row[name] for row in rows for name in ("prompt", "contrast_prompt") if row[name]]
    images = [image for row in rows for column in IMAGE_COLUMNS for image in row[column] or ()]
    if checks.outline is None:  # the other rows have to be read with their images
        known = sum(
            slices.count_of(
                [len(row[name] or ()) for name in IMAGE_COLUMNS], row["contrast_prompt"] is not None
            )
            for row in rows
        )
        pairs = round(known / max(1, len(rows)) * len(checks.texts))
    else:
        pairs = sum(
            slices.count_of([int(row[name]) for name in IMAGE_COLUMNS], texts.contrast_prompt is not None)
            for row, texts in zip(checks.outlines(), checks.texts, strict=True)
        )
    decoded = []
    for image in images[:4]:
        with suppress(CrocError):  # it is a pair without a score later
            decoded.append(decode(to_bytes(image)))
    return str(scorer.estimate(pairs - done, decoded, prompts)) if pairs > done else ""


def _usage(scorer: Any) -> str:
    """What the scorer reports of its use of a paid service; empty for a scorer without one."""
    usage = getattr(scorer, "usage", None)
    return "" if usage is None or callable(usage) else str(usage)


def _summary(
    counts: Counter[str], new: float, seconds: float, target: Path, usage: str, unit: str = "pair"
) -> str:
    speed = f"{new} new, {new / max(seconds, 1e-9):.3g} {unit}s/s" if new else "all from an earlier run"
    remarks = [
        f"{counted(counts[key], noun)} {what}"
        for key, noun, what in (
            ("failed", unit, "without a score" if unit == "pair" else "missing"),
            ("truncated", "image", "with a truncated text"),
            ("checks_without_images", "check", "without images"),
        )
        if counts[key]
    ]
    suffix = "".join(f", {remark}" for remark in remarks) + (f"; {usage}" if usage else "")
    return f"{target}: {counted(counts['pairs'], unit)}, {speed}{suffix}"


def _processes() -> tuple[int, int, Callable[[], None]]:
    """Rank, number of processes and barrier of ``accelerate launch``; without it (0, 1, no barrier)."""
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        return 0, 1, lambda: None
    import torch
    from accelerate import PartialState

    # Without a GPU it would take each process for the only one.
    state = PartialState(cpu=not torch.cuda.is_available())
    return state.process_index, state.num_processes, state.wait_for_everyone
