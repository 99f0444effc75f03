"""Make variants of checks and score them: the steps of ``croc invariance``.

In: a dataset of checks, names of changes and of scorers.
Out: a folder with the variants (a dataset of checks), a score table per scorer, and the report on them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from croc.checks.names import SYN_SAMPLE
from croc.checks.schema import CHECK_COLUMNS
from croc.checks.sources import Checks, open_checks
from croc.errors import InputError
from croc.invariance.variant_ids import NONE, split_variant
from croc.jobs.parts import Executor, Part
from croc.jobs.runner import Manifest, run
from croc.storage.files import atomic
from croc.storage.parquet import write_parquet
from croc.tables.metadata import library_versions
from croc_syn.nuisances import nuisances, variants
from croc_syn.writing.table import EXACT

if TYPE_CHECKING:
    import pyarrow as pa

    from croc.invariance import InvarianceReport
    from croc.scoring.run import ScoringSettings

PART_SIZE = 8
"""Checks per part."""

CHECKS = 120
"""Default of the number of checks."""

VARIANTS, SCORES = "variants", "scores"
"""Folders of the output."""


@dataclass(frozen=True)
class InvarianceSettings:
    """Settings on which the variants depend.

    Attributes:
        checks: maximum number of checks, evenly spaced over the dataset.
        changes: names, see :func:`croc_syn.nuisances.nuisances`; empty takes all.
        seed: decides what a change leaves open.
    """

    checks: int = CHECKS
    changes: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.checks < 1:
            raise InputError(f"the number of checks must be at least 1, not {self.checks}")
        for name in self.changes:
            if name not in nuisances():
                raise InputError(f"no change {name!r}; expected {', '.join(nuisances())}")

    @property
    def names(self) -> tuple[str, ...]:
        """The changes in the order of :func:`~croc_syn.nuisances.nuisances`."""
        return tuple(name for name in nuisances() if name in self.changes or not self.changes)


def make_variants(
    dataset: str,
    out: Path,
    settings: InvarianceSettings,
    *,
    split: str | None = None,
    executor: Executor | None = None,
    progress: bool = True,
) -> Manifest:
    """Make the variants of some checks; an interrupted run is resumed.

    Args:
        dataset: folder or Hub id.
        out: the folder of the variants.
        settings: which checks and which changes.
        split: split of the dataset, where it has several.
        executor: what makes the parts, see :mod:`croc.jobs.executors`; None is this process.
        progress: show a bar.

    Returns:
        The manifest; its counts are the numbers of variants by change.
    """
    from croc.checks.columns import features

    checks = open_checks(dataset, split=split, max_checks=settings.checks)
    parts = [
        Part(f"{start:06d}", {"start": start, "stop": min(start + PART_SIZE, len(checks.texts))})
        for start in range(0, len(checks.texts), PART_SIZE)
    ]
    return run(
        parts,
        partial(
            write_variants,
            source=(dataset, split, checks.revision),
            settings=settings,
            schema=features(CHECK_COLUMNS).arrow_schema,
        ),
        out,
        suffix=".parquet",
        fingerprint={
            "kind": "variants",
            "dataset": checks.name,
            "revision": checks.revision,
            "world": EXACT,
            "versions": library_versions("pyarrow", "pillow", "numpy", "resvg_py"),
            **asdict(settings),
            "changes": settings.names,
        },
        executor=executor,
        progress=progress,
        what="parts of variants",
    )


@lru_cache(maxsize=1)
def _open(dataset: str, split: str | None, revision: str, number: int) -> Checks:
    """The checks for the parts that one process makes; the revision keeps others of the same name apart."""
    return open_checks(dataset, split=split, max_checks=number)


def write_variants(
    payload: Mapping[str, Any],
    path: Path,
    *,
    source: tuple[str, str | None, str],
    settings: InvarianceSettings,
    schema: pa.Schema,
) -> dict[str, Any]:
    """Make one part; the counts are ``variants``, ``without images``, and the variants by change."""
    import pyarrow as pa

    counts: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    for row in _open(*source, settings.checks).read(payload["start"], payload["stop"]):
        if not (row["images"] and row["contrast_images"] and row["contrast_prompt"]):
            counts["without images"] += 1
            continue
        for made in variants(row, settings.names, settings.seed):
            counts[split_variant(made["check_id"])[1]] += 1
            rows.append({name: made.get(name) for name in schema.names})
    counts["variants"] = len(rows)
    write_parquet([pa.Table.from_pylist(rows, schema=schema)], path, schema)
    return dict(counts)


def run_invariance(
    scorers: Sequence[Any],
    out: str | Path,
    settings: InvarianceSettings = InvarianceSettings(),
    *,
    dataset: str = str(SYN_SAMPLE),
    split: str | None = None,
    scoring: ScoringSettings | None = None,
    options: Mapping[str, Any] | None = None,
    executor: Executor | None = None,
) -> InvarianceReport:
    """Make variants, score them, and evaluate the scores.

    Args:
        scorers: names or objects as :func:`croc.scorers.registry.load` takes them.
        out: the folder, which gets ``invariance.json`` at the end; the same call resumes an interrupted run.
        settings: which checks and which changes.
        dataset: folder or Hub id of checks with images of both prompts.
        split: split of the dataset, where it has several.
        scoring: batch size and the like; None takes the defaults.
        options: arguments for the scorers that take them.
        executor: what makes the parts of the variants; None is this process.

    Raises:
        InputError: no check has images of both prompts, or a scorer or the folder cannot be used.
    """
    from croc.invariance import evaluate
    from croc.invariance.evaluation import REPORT
    from croc.scoring.run import score_dataset

    folder = Path(out)
    made = make_variants(dataset, folder / VARIANTS, settings, split=split, executor=executor)
    if not made.counts.get(NONE):
        raise InputError(f"{dataset}: no check has images of both prompts")
    tables = score_dataset(str(folder / VARIANTS), scorers, folder / SCORES, scoring, options=options)
    report = evaluate(tables, order=settings.names, dataset=made.fingerprint["dataset"])
    with atomic(folder / REPORT) as temporary:
        temporary.write_text(report.to_json(), "utf-8")
    return report
