"""What the builders of checks share: from staged rows to a finished folder, and what it came to."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import datasets

from builders import shards
from builders.screening import IMAGE_REASONS
from croc.errors import InputError
from croc.jobs.executors import local_executor
from croc.jobs.runner import Manifest, read_manifest, run
from croc.storage.files import read_json

TEST_ONLY = {"test": 1.0}
_UNSTORED = ("out", "audit", "seconds")
_SHARDS = "shards"
PICTURE = "examples.png"

Audit = Callable[[Manifest, Path], dict[str, Any]]
"""Looks at finished shards, with a folder to work in; gives a verdict that has its ``lines``."""


@dataclass
class ChecksConfig(datasets.BuilderConfig):
    """A view of the staged checks.

    Attributes:
        subset: only this subset; all when None.
        category: only this category; all when None.
        property: only this property; all when None.
        world: only ``exact`` or ``generated`` images; all when None.
        mini: the small stratified sample.
        ratios: share of each split; a concept's hash decides where it falls.
    """

    subset: str | None = None
    category: str | None = None
    property: str | None = None
    world: str | None = None
    mini: bool = False
    ratios: dict[str, float] = field(default_factory=lambda: dict(TEST_ONLY))


class ChecksBuilder(datasets.ArrowBasedBuilder):
    """Reads a folder of staged images (``data_dir``); the image bytes pass through untouched."""

    BUILDER_CONFIG_CLASS = ChecksConfig
    DEFAULT_CONFIG_NAME = "all"
    BOTH_SIDES = True

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        if not self.config.data_dir:
            raise InputError("data_dir: name the folder of staged images")
        staged = read_manifest(self.config.data_dir)
        planned = shards.plan_shards(staged, self.config.ratios, both_sides=self.BOTH_SIDES)
        config = self.config
        wanted = (config.category, config.property, config.subset, config.world)
        chosen: dict[str, list[Any]] = {}
        for part in planned.parts:
            split, *place = part.payload["group"]
            if split == shards.MINI:
                if config.mini:
                    chosen[place[0]] = [part.payload["slices"]]
            elif not config.mini and all(
                want in (None, have) for want, have in zip(wanted, place, strict=True)
            ):
                chosen.setdefault(split, []).append(part.payload["slices"])
        return [
            datasets.SplitGenerator(
                name=split, gen_kwargs={"folder": str(staged.folder), "slices": chosen[split]}
            )
            for split in shards.SPLITS
            if split in chosen
        ]

    def _generate_shards(self, folder: str, slices: Sequence[Any]) -> Iterator[str]:
        for each in slices:
            yield from dict.fromkeys(str(Path(folder) / file) for file, *_ in each)

    def _generate_tables(self, folder: str, slices: Sequence[Any]) -> Iterator[Any]:
        for shard, each in enumerate(slices):
            for number, table in enumerate(shards.staged_tables(Path(folder), each)):
                schema = self.info.features.arrow_schema
                yield (shard, number), shards.fitted(shards.licensed(table), schema)


@dataclass(frozen=True)
class BuildReport:
    """What a build came to.

    Attributes:
        out: the finished folder.
        checks, images: what it holds.
        splits: number of checks by split.
        groups: number of checks by ``split/category/subset``.
        redraws: images drawn in vain, because the oracle did not see the prompt or saw the other one.
        noisy: images that show the other prompt because noise was asked for.
        passed_over: specs that were not taken because the exact world cannot draw them.
        dropped: checks that were planned and are not there, by reason.
        duplicates: checks whose pair of captions another check has too.
        audit: the verdict about oracle and blind scorers; None when it was not asked for.
        images_dropped: images of checks that stayed, by the reason why they did not.
        what: word for the rows.
        notes: what else a reader of the card should know.
        seconds: how long it took, 0 when the folder was finished already.
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
        """The report in words.

        Args:
            audit: with what the audit found.
        """
        splits = ", ".join(f"{name} {count}" for name, count in self.splits.items())
        drawn = self.images + self.redraws
        text = [f"{self.checks} {self.what} with {self.images} images ({splits})"]
        if self.redraws:
            text.append(
                f"{self.redraws} of {drawn} drawings ({self.redraws / drawn:.1%}) were not kept: "
                "the oracle did not see the prompt, or saw the other one too"
            )
        if self.noisy:
            text.append(f"{self.noisy} images show the other prompt, as asked for; the truth is in a column")
        if self.duplicates:
            text.append(f"{self.duplicates} checks share their captions with another check")
        if self.passed_over:
            text.append(f"{self.passed_over} specs were passed over: the exact world cannot draw them")
        reasons = sorted(self.dropped.items(), key=lambda item: -item[1])
        text += [f"{count} checks were dropped: {reason}" for reason, count in reasons[:5]]
        if others := sum(count for _, count in reasons[5:]):
            text.append(f"{others} checks were dropped for {len(reasons) - 5} other reasons (build.json)")
        text += [f"{count} images were dropped: {reason}" for reason, count in self.images_dropped.items()]
        text += self.notes
        if audit and self.audit is not None:
            text += self.audit["lines"]
        return text


def assemble_staged(
    kind: str,
    staged: str | Path,
    out: str | Path,
    features: datasets.Features,
    *,
    both_sides: bool = True,
    splits: Mapping[str, float] | None = None,
    near: int | None = None,
    workers: int = 1,
    progress: bool = True,
) -> BuildReport:
    """Put a folder of staged rows, finished by :func:`croc.jobs.runner.run`, into shards.

    Args:
        kind: ``syn`` or ``hum``.
        staged: the folder of staged rows.
        out: the folder to make.
        features: of the finished rows.
        both_sides: whether a check needs images on both sides.
        splits: share by split name; None puts everything into ``test``.
        near: images whose perceptual hashes differ in at most so many of 64 bits count as the same; None
            compares the files alone.
        workers: processes.
        progress: show bars.

    Returns:
        What was built.

    Raises:
        InputError: the staged folder is unfinished or does not hold what its manifest says.
    """
    started = time.monotonic()
    manifest = read_manifest(staged)
    ratios = shards.check_ratios(splits or TEST_ONLY)
    recipe = {"kind": kind, "staged": manifest.sha256, "splits": ratios, "near": near}
    if shards.settle(Path(out), recipe):
        return read_report(Path(out))
    return assemble(
        manifest,
        Path(out),
        recipe,
        features=features,
        both_sides=both_sides,
        started=started,
        workers=workers,
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
    started: float,
    workers: int,
    progress: bool,
) -> BuildReport:
    """Put staged images into shards, audit them, and make the folder visible.

    Args:
        staged: the manifest of the staged images.
        out: the output folder.
        recipe: what defines the build: ``kind``, ``splits`` and ``near`` are read from it.
        features: columns of the finished rows.
        both_sides: drop checks that lack images or the prompt of a side; else only those without any.
        audit: looks at the finished shards.
        dropped: what an earlier step left out, by reason, beside what the staged parts count.
        what: word for the rows.
        notes: what else the card should say.
        started: ``time.monotonic()`` when the build began.
        workers: processes.
        progress: show bars.

    Returns:
        What was built.

    Raises:
        InputError: there is no check, or two parts claim the same one.
    """
    work = out / shards.WORK
    near = recipe.get("near")
    planned = shards.plan_shards(staged, recipe["splits"], both_sides=both_sides, near=near)
    earlier = Counter(_dropped(staged)) + Counter(dropped or {})
    if not planned.parts:
        reasons = "; ".join(sorted({**earlier, **planned.left_out})) or "nothing was planned"
        raise InputError(f"{staged.folder}: no check was made ({reasons})")
    size = sum(entry["bytes"] for entry in staged.parts)
    made = run(
        planned.parts,
        partial(shards.write_shard, staged=staged.folder, schema=features.arrow_schema),
        work / _SHARDS,
        suffix=".parquet",
        fingerprint={**recipe, "staged": staged.sha256},
        # Copying is fast: below a gigabyte the start of a process takes longer.
        executor=local_executor(workers if size > 1000000000 else 1),
        progress=progress,
        what="shards",
    )
    splits: Counter[str] = Counter()
    groups: Counter[str] = Counter()
    for part, entry in zip(planned.parts, shards.data_of(made), strict=False):  # mini comes last
        split, category, _, subset, _ = part.payload["group"]
        splits[split] += entry["counts"]["rows"]
        groups[f"{split}/{category}/{subset}"] += entry["counts"]["rows"]
    causes = {**earlier, **planned.left_out}
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
        duplicates=planned.twins,
        audit=audit(made, work) if audit is not None else None,
        images_dropped={name: count for name, count in causes.items() if name in IMAGE_REASONS},
        notes=list(notes),
    )
    shards.finish(out, made, recipe, report_texts(report), dress)
    return replace(report, seconds=time.monotonic() - started)


def report_texts(report: BuildReport) -> dict[str, str]:
    """The report as files of a finished folder: ``build.json`` and, where there was one, ``audit.json``."""
    stored = {name: value for name, value in asdict(report).items() if name not in _UNSTORED}
    texts = {"build.json": _json({**stored, "lines": report.lines(audit=False)})}
    if report.audit is not None:
        texts["audit.json"] = _json(report.audit)
    return texts


def dress(folder: Path, *, draw: Callable[[Path], None] | None = None) -> None:
    """Write what is made from the finished data into its folder: examples as a picture, Croissant, the card.

    Args:
        folder: holds the data, the report and a manifest of them.
        draw: makes the picture; None draws some checks.

    Raises:
        InputError: an image among the examples cannot be read.
    """
    from hub_cards import croissant, dataset_card

    (draw or picture)(folder)
    (folder / "croissant.json").write_text(_json(croissant(folder)), "utf-8")
    (folder / "README.md").write_text(dataset_card(folder), "utf-8")


def picture(folder: Path) -> None:
    """Draw some checks of a folder as ``examples.png``."""
    from croc_syn.contact_sheet import sheet

    try:
        sheet(folder, folder / PICTURE, checks=4, columns=2, width=160)
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{folder}: an image of the examples cannot be read ({error})") from None


def read_report(out: Path) -> BuildReport:
    """The report of a finished folder."""
    stored = read_json(out / "build.json", "no build.json: this is not a finished build")
    stored.pop("lines", None)
    return BuildReport(out=out, audit=read_json(out / "audit.json"), **stored)


def _dropped(staged: Manifest) -> dict[str, int]:
    total: Counter[str] = Counter()
    for entry in staged.parts:
        total.update(entry["counts"].get("dropped", {}))
    return dict(sorted(total.items()))


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
