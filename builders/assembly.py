"""Staged rows → a finished folder of checks and a report; what all builders of checks share."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from builders import shards
from builders.screening import IMAGE_REASONS
from croc.errors import InputError
from croc.jobs.executors import on_this_machine
from croc.jobs.parts import Executor
from croc.jobs.runner import Manifest, run
from croc.storage.files import read_json
from croc.storage.text_files import first_problem
from croc.wording import counted

if TYPE_CHECKING:
    import datasets

TEST_ONLY = {"test": 1.0}
_UNSTORED = ("out", "audit", "seconds")
_SHARDS = "shards"
PICTURE = "examples.png"

Audit = Callable[[Manifest, Path], dict[str, Any]]
"""Audits finished shards in a work folder; returns the result with its ``lines``."""


@dataclass(frozen=True)
class BuildReport:
    """The result of a build.

    Attributes:
        out: the finished folder.
        checks, images: numbers of rows and of images.
        splits: number of checks by split.
        groups: number of checks by ``split/category/subset``.
        redraws: images that were not kept, because they do not show their prompt or also show the other one.
        noisy: images that show the other prompt because noise was requested.
        passed_over: specs that were left out because the exact world cannot draw them.
        dropped: number of planned checks that were dropped, by reason.
        duplicates: number of checks with the captions of another check.
        audit: result of the audit by oracle and baselines; None without an audit.
        images_dropped: number of images dropped from checks that stay, by reason.
        what: word for the rows.
        notes: further sentences for the card.
        seconds: duration, 0 if the folder was finished already.
    """

    out: Path
    checks: int
    images: int
    splits: dict[str, int]
    groups: dict[str, int]
    redraws: int
    noisy: int
    passed_over: int
    dropped: dict[str, int]
    duplicates: int
    audit: dict[str, Any] | None
    images_dropped: dict[str, int] = field(default_factory=dict)
    what: str = "checks"
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def lines(self, *, audit: bool = True) -> list[str]:
        """The report as sentences.

        Args:
            audit: include the results of the audit.
        """
        splits = ", ".join(f"{name} {count}" for name, count in self.splits.items())
        drawn = self.images + self.redraws
        what = self.what.removesuffix("s")
        text = [f"{counted(self.checks, what)} with {counted(self.images, 'image')} ({splits})"]
        if self.redraws:
            text.append(
                f"{self.redraws:,} of {drawn:,} drawings ({self.redraws / drawn:.1%}) were discarded: "
                "they do not show their prompt, or also show the other one"
            )
        if self.noisy:
            text.append(
                f"label noise, as requested: {counted(self.noisy, 'image')} of the other prompt, marked in "
                "the columns images_valid and contrast_images_valid"
            )
        if self.duplicates:
            text.append(f"{counted(self.duplicates, 'check')} with the captions of another check")
        if self.passed_over:
            text.append(f"{counted(self.passed_over, 'spec')} left out: the exact world cannot draw them")
        reasons = sorted(self.dropped.items(), key=lambda item: -item[1])
        text += [f"{counted(count, what)} dropped: {reason}" for reason, count in reasons[:5]]
        if others := sum(count for _, count in reasons[5:]):
            more = counted(len(reasons) - 5, "other reason")
            text.append(f"{counted(others, what)} dropped for {more} (see build.json)")
        text += [
            f"{counted(count, 'image')} dropped: {reason}" for reason, count in self.images_dropped.items()
        ]
        text += self.notes
        if audit and self.audit is not None:
            text += self.audit["lines"]
        return text


def assemble_staged(
    kind: str,
    staged: Manifest,
    out: str | Path,
    features: datasets.Features,
    *,
    both_sides: bool = True,
    splits: Mapping[str, float] | None = None,
    near: int | None = None,
    executor: Executor | None = None,
    progress: bool = True,
) -> BuildReport:
    """Put a folder of staged rows into shards, without an audit.

    Args:
        kind: ``syn`` or ``hum``.
        staged: the manifest of the staged rows.
        out: the folder to make.
        features: of the finished rows.
        both_sides: whether a check needs images on both sides.
        splits: share by split name; None puts everything into ``test``.
        near: number of bits; images whose 64-bit perceptual hashes differ in at most so many count as equal.
            None compares the files only.
        executor: what makes the parts, see :mod:`croc.jobs.executors`; None is this process.
        progress: show bars.

    Raises:
        InputError: the staged folder does not hold what its manifest lists.
    """
    started = time.monotonic()
    ratios = shards.check_ratios(splits or TEST_ONLY)
    recipe = {"kind": kind, "staged": staged.sha256, "splits": ratios, "near": near}
    if shards.is_finished(Path(out), recipe):
        return read_report(Path(out))
    return assemble(
        staged,
        Path(out),
        recipe,
        features=features,
        both_sides=both_sides,
        started=started,
        executor=executor,
        progress=progress,
    )


def assemble(
    staged: Manifest,
    out: Path,
    recipe: Mapping[str, Any],
    *,
    features: datasets.Features,
    both_sides: bool = True,
    audit: Audit | None = None,
    dropped: Mapping[str, int] | None = None,
    notes: Sequence[str] = (),
    describe: Callable[[Path], None] | None = None,
    started: float,
    executor: Executor | None,
    progress: bool,
) -> BuildReport:
    """Put staged rows into shards, audit them, and make the folder visible.

    Args:
        staged: the manifest of the staged rows.
        out: the output folder.
        recipe: the settings that define the build: ``kind``, ``splits`` and ``near`` are read from it.
        features: columns of the finished rows.
        both_sides: drop checks without images or prompt on one side; else only those without any.
        audit: audits the finished shards.
        dropped: what an earlier step dropped, by reason, in addition to the counts of the staged parts.
        notes: further sentences for the card.
        describe: writes picture and card; None is :func:`write_card`.
        started: ``time.monotonic()`` when the build began.
        executor: what makes the parts, see :mod:`croc.jobs.executors`; None is this process.
        progress: show bars.

    Raises:
        InputError: there is no check, or two parts have the same one.
    """
    work = out / shards.WORK
    near = recipe.get("near")
    plan = shards.plan_shards(staged, recipe["splits"], both_sides=both_sides, near=near)
    earlier = Counter(_dropped(staged)) + Counter(dropped or {})
    if not plan.parts:
        reasons = "; ".join(sorted({**earlier, **plan.left_out})) or "the plan is empty"
        raise InputError(f"{staged.folder}: no check could be built ({reasons})")
    size = sum(entry["bytes"] for entry in staged.parts)
    made = run(
        plan.parts,
        partial(shards.write_shard, staged=staged.folder, schema=features.arrow_schema),
        work / _SHARDS,
        suffix=".parquet",
        fingerprint={**recipe, "staged": staged.sha256},
        # Copying is fast: below a gigabyte starting a process takes longer.
        executor=on_this_machine(executor) if size > 1_000_000_000 else None,
        progress=progress,
        what="shards",
    )
    splits: Counter[str] = Counter()
    groups: Counter[str] = Counter()
    for part, entry in zip(plan.parts, shards.data_of(made), strict=False):  # mini comes last
        split, category, _, subset, _ = part.payload["group"]
        splits[split] += entry["counts"]["rows"]
        groups[f"{split}/{category}/{subset}"] += entry["counts"]["rows"]
    causes = {**earlier, **plan.left_out}
    report = BuildReport(
        out=out,
        checks=sum(splits.values()),
        images=sum(entry["counts"]["images"] for entry in shards.data_of(made)),
        splits={name: splits[name] for name in shards.SPLITS if splits[name]},
        groups=dict(sorted(groups.items())),
        redraws=int(staged.counts.get("redraws", 0)),
        noisy=int(staged.counts.get("noisy", 0)),
        passed_over=recipe.get("passed_over", 0),
        dropped={name: count for name, count in causes.items() if name not in IMAGE_REASONS},
        duplicates=0 if recipe["kind"] == "graded" else plan.repeated_captions,  # a graph has one prompt
        audit=audit(made, work) if audit is not None else None,
        images_dropped={name: count for name, count in causes.items() if name in IMAGE_REASONS},
        notes=[*notes, *_category_lines([made.folder / entry["file"] for entry in shards.data_of(made)])],
    )
    shards.finish(out, made, recipe, report_files(report), describe or write_card)
    return replace(report, seconds=time.monotonic() - started)


def _category_lines(files: Sequence[Path]) -> list[str]:
    """The numbers of checks and concepts of each category, as a sentence; none without categories."""
    import pyarrow.parquet as pq

    checks: Counter[str] = Counter()
    concepts: dict[str, set[str]] = {}
    for file in files:
        table = pq.read_table(file, columns=["category", "concept_id"])
        for category, concept in zip(*(column.to_pylist() for column in table.columns), strict=True):
            name = category or "none"
            checks[name] += 1
            concepts.setdefault(name, set()).add(concept)
    if set(checks) <= {"none"}:
        return []
    order = sorted(checks, key=lambda name: (name == "none", name))
    shown = ", ".join(f"{name} {checks[name]:,} ({len(concepts[name]):,})" for name in order)
    return [f"checks (concepts) by category: {shown}"]


def report_files(report: BuildReport) -> dict[str, str]:
    """Content by file name: ``build.json`` and, if there was an audit, ``audit.json``."""
    stored = {name: value for name, value in asdict(report).items() if name not in _UNSTORED}
    texts = {"build.json": _json({**stored, "lines": report.lines(audit=False)})}
    if report.audit is not None:
        texts["audit.json"] = _json(report.audit)
    return texts


def write_card(folder: Path, *, draw: Callable[[Path], None] | None = None) -> None:
    """Write the files that describe the data: a picture of examples, Croissant metadata, the card.

    Args:
        folder: with the data, the report and their manifest.
        draw: makes the picture; None draws a contact sheet of checks.

    Raises:
        InputError: an image among the examples cannot be read.
    """
    from hub_cards import croissant, dataset_card, read_facts

    (draw or draw_examples)(folder)
    facts = read_facts(folder)
    (folder / "croissant.json").write_text(_json(croissant(facts)), "utf-8")
    (folder / "README.md").write_text(dataset_card(facts), "utf-8")


def draw_examples(folder: Path) -> None:
    """Write a contact sheet of some checks of a folder, ``examples.png``."""
    from croc_syn.contact_sheet import sheet

    try:
        sheet(folder, folder / PICTURE, checks=4, columns=2, width=160)
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{folder}: an image of the examples cannot be read ({error})") from None


def read_report(out: Path) -> BuildReport:
    """The report of a finished folder."""
    stored = read_json(out / "build.json", "no build.json: not a finished build", dict[str, Any])
    content = {**stored, "out": out, "audit": read_json(out / "audit.json", None, dict[str, Any])}
    try:
        report: BuildReport = TypeAdapter(BuildReport).validate_python(content)
    except ValidationError as problem:
        raise InputError(f"{out / 'build.json'}: {first_problem(problem)}") from None
    return report


def _dropped(staged: Manifest) -> dict[str, int]:
    total: Counter[str] = Counter()
    for entry in staged.parts:
        total.update(entry["counts"].get("dropped", {}))
    return dict(sorted(total.items()))


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
