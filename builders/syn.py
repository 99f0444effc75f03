"""CROCsyn as a dataset: staged parts in, a folder out that ``datasets.load_dataset`` reads.

Build the exact world's checks from nothing, or put a folder of staged parts into shards::

    python builders/syn.py --checks 300 --images 5 --seed 0 --out runs/syn
    python builders/syn.py --staged runs/stage --out runs/syn --train 0.8 --validation 0.1

``croc build syn`` does the same.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __package__ in (None, ""):
    # Run by path, its own folder comes first on the path; the checkout's root is what it needs.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import datasets
import yaml

from builders import shards
from croc.errors import CrocError, InputError
from croc.files import read_json
from croc.parts import Manifest, read_manifest, run
from croc.schema import CATEGORIES, SUBSETS, library_versions, stable_hash
from croc_syn.images import Drawn, image_parts, staged_features, write_images
from croc_syn.prompts import EXACT, OTHER, columns_of, exact_keys, exact_row, plan_parts, write_prompts

if TYPE_CHECKING:
    from croc_syn.plan import Spec
    from croc_syn.taxonomy import Taxonomy

TEST_ONLY = {"test": 1.0}
DESCRIPTION = "Contrastive robustness checks of text-to-image metrics, synthetic."
_UNSTORED = ("out", "audit", "seconds")
_IMAGES, _PROMPTS, _SHARDS, _AUDIT = "images", "prompts", "shards", "audit"


@dataclass
class SynConfig(datasets.BuilderConfig):
    """A view of the staged checks.

    Attributes:
        subset: only this subset; all when None.
        category: only this category; all when None.
        ratios: share of each split; a concept's hash decides where it falls.
    """

    subset: str | None = None
    category: str | None = None
    ratios: dict[str, float] = field(default_factory=lambda: dict(TEST_ONLY))


class Syn(datasets.ArrowBasedBuilder):
    """Reads a folder of staged images (``data_dir``); the image bytes pass through untouched."""

    BUILDER_CONFIG_CLASS = SynConfig
    BUILDER_CONFIGS = (
        SynConfig(name="all"),
        *(SynConfig(name=name, subset=name) for name in SUBSETS),
        *(SynConfig(name=name, category=name) for name in (*CATEGORIES, OTHER)),
    )
    DEFAULT_CONFIG_NAME = "all"

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(description=DESCRIPTION, features=staged_features())

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        if not self.config.data_dir:
            raise InputError("data_dir: name the folder of staged images")
        staged = read_manifest(self.config.data_dir)
        chosen: dict[str, list[Any]] = {}
        for part in shards.plan_shards(staged, self.config.ratios)[0]:
            split, category, subset = part.payload["group"]
            if self.config.subset in (None, subset) and self.config.category in (None, category):
                chosen.setdefault(split, []).append(part.payload["slices"])
        return [
            datasets.SplitGenerator(
                name=split, gen_kwargs={"folder": str(staged.folder), "slices": chosen[split]}
            )
            for split in shards.SPLITS
            if split in chosen
        ]

    def _generate_shards(self, folder: str, slices: Sequence[Any]) -> Any:
        for each in slices:
            yield from dict.fromkeys(str(Path(folder) / file) for file, *_ in each)

    def _generate_tables(self, folder: str, slices: Sequence[Any]) -> Any:
        for shard, each in enumerate(slices):
            for number, table in enumerate(shards.staged_tables(Path(folder), each)):
                yield (shard, number), table.cast(self.info.features.arrow_schema)


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
    seconds: float = 0.0

    def lines(self, *, audit: bool = True) -> list[str]:
        """The report in words.

        Args:
            audit: with what the audit found.
        """
        splits = ", ".join(f"{name} {count}" for name, count in self.splits.items())
        drawn = self.images + self.redraws
        text = [f"{self.checks} checks with {self.images} images ({splits})"]
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
        if audit and self.audit is not None:
            text += self.audit["lines"]
        return text


def build_exact(
    out: str | Path,
    *,
    checks: int,
    images: int = 5,
    size: int = 256,
    seed: int = 0,
    taxonomy: str | Path | None = None,
    workers: int = 1,
    noise: float = 0.0,
    subsets: Sequence[str] | None = None,
    properties: Sequence[str] | None = None,
    splits: Mapping[str, float] | None = None,
    audit_checks: int = 2000,
    progress: bool = True,
) -> BuildReport:
    """Make a dataset of checks with the exact world: no model, no network, labels that are certain.

    The same arguments give the same bytes on any number of workers. An interrupted build goes on where it was
    when it is called again; until it is finished the folder does not load.

    Args:
        out: the folder; new, or holding this very build, half-done or finished.
        checks: number of checks; specs that the exact world cannot draw are passed over and counted.
        images: images a side.
        size: width and height in pixels.
        seed: decides which checks, prompts and images are made.
        taxonomy: a taxonomy file; None takes the one that comes with the package.
        workers: processes. With more than one, the calling script needs a ``__main__`` guard.
        noise: probability that an image shows the other prompt; ``images_valid`` holds the truth.
        subsets: only these subsets; None takes all.
        properties: only variations of these properties of the taxonomy; None takes all.
        splits: share by split name; None puts everything into ``test``, as a benchmark is for evaluation. A
            concept's hash decides its split, so that more checks never move one.
        audit_checks: how many checks the audit looks at, at most; 0 leaves the audit out.
        progress: show bars.

    Returns:
        What was built.

    Raises:
        InputError: an argument cannot be used, or the folder holds something else.
    """
    from croc_syn.plan import plan
    from croc_syn.taxonomy import load

    started = time.monotonic()
    folder = Path(out)
    if checks < 1:
        raise InputError(f"checks must be at least 1, not {checks}")
    if subsets and (unknown := sorted(set(subsets) - set(SUBSETS))):
        raise InputError(f"subsets: unknown {', '.join(unknown)}; known are {', '.join(SUBSETS)}")
    ratios = shards.check_ratios(splits or TEST_ONLY)
    drawn = Drawn(images=images, size=size, seed=seed, noise=noise)
    known = load(taxonomy)
    for name in properties or ():
        if name not in known.properties or known.properties[name].exact is None:
            drawable = [item.id for item in known.properties.values() if item.exact]
            close = get_close_matches(name, drawable, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it can draw {', '.join(drawable)}"
            raise InputError(f"the exact world cannot draw the property {name!r}; {hint}")
    specs = plan(known, subsets=tuple(subsets or SUBSETS), exact_only=True)
    if properties:
        specs = [spec for spec in specs if spec.property in properties]
    if not specs:
        raise InputError(
            "the exact world can draw nothing of this taxonomy (no property has an `exact` name)"
        )
    chosen, passed_over = _possible(specs, checks, seed, known)
    parts = plan_parts(chosen, known)
    recipe = {
        "kind": "syn",
        "text_model": EXACT,
        "image_model": drawn.model,
        "checks": checks,
        **asdict(drawn),
        "splits": ratios,
        "audit_checks": audit_checks,
        "passed_over": passed_over,
        "plan": stable_hash([(part.name, part.payload) for part in parts]),
        "versions": library_versions("pyarrow", "datasets", "resvg_py"),
    }
    if shards.settle(folder, recipe):
        return read_report(folder)
    work = folder / shards.WORK
    prompts = run(
        parts,
        partial(write_prompts, seed=seed),
        work / _PROMPTS,
        suffix=".parquet",
        fingerprint=recipe,
        # A second process takes longer to start than a few thousand pairs take to write.
        workers=workers if checks > 20_000 else 1,
        progress=progress,
        what="parts of prompts",
    )
    schema = staged_features().arrow_schema
    staged = run(
        image_parts(prompts),
        partial(write_images, prompts=prompts.folder, settings=drawn, schema=schema),
        work / _IMAGES,
        suffix=".parquet",
        fingerprint=recipe,
        workers=workers,
        progress=progress,
        what="parts of images",
    )
    return assemble(staged, folder, recipe, started=started, workers=workers, progress=progress)


def _possible(
    specs: Sequence[Spec], checks: int, seed: int, taxonomy: Taxonomy
) -> tuple[list[tuple[Spec, int]], int]:
    """The checks to make, and how many specs were passed over because no pair can be made of them.

    A taxonomy knows what can be drawn property by property, topic by topic; some combinations make no sense
    (weather in a kitchen), and only the exact world knows.
    """
    from croc_syn.plan import select

    left, tried, passed_over = list(specs), {}, 0
    while left:
        chosen = select(left, checks, seed)
        for spec in {spec for spec, _ in chosen} - tried.keys():
            tried[spec] = exact_row(columns_of(spec), exact_keys(spec, taxonomy), 0, seed)["error"] is None
        if all(tried[spec] for spec, _ in chosen):
            return chosen, passed_over
        passed_over += sum(not tried.get(spec, True) for spec in left)
        left = [spec for spec in left if tried.get(spec, True)]
    raise InputError("the exact world can draw nothing of this taxonomy in these subsets")


def build_staged(
    staged: str | Path,
    out: str | Path,
    *,
    splits: Mapping[str, float] | None = None,
    workers: int = 1,
    progress: bool = True,
) -> BuildReport:
    """Put a folder of staged images, finished by :func:`croc.parts.run`, into shards.

    Args:
        staged: the folder of staged images.
        out: the folder to make.
        splits: share by split name; None puts everything into ``test``.
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
    recipe = {"kind": "syn", "staged": manifest.sha256, "splits": ratios, "audit_checks": 0, "noise": 0.0}
    if shards.settle(Path(out), recipe):
        return read_report(Path(out))
    return assemble(manifest, Path(out), recipe, started=started, workers=workers, progress=progress)


def assemble(
    staged: Manifest,
    out: Path,
    recipe: Mapping[str, Any],
    *,
    started: float,
    workers: int,
    progress: bool,
) -> BuildReport:
    """Put staged images into shards, audit them, and make the folder visible.

    Args:
        staged: the manifest of the staged images.
        out: the output folder.
        recipe: what defines the build: ``splits`` and ``audit_checks`` are read from it.
        started: ``time.monotonic()`` when the build began.
        workers: processes.
        progress: show bars.

    Returns:
        What was built.

    Raises:
        InputError: there is no check, or two parts claim the same one.
    """
    work = out / shards.WORK
    plan, left_out = shards.plan_shards(staged, recipe["splits"])
    if not plan:
        reasons = "; ".join(_dropped(staged)) or "nothing was planned"
        raise InputError(f"{staged.folder}: no check was made ({reasons})")
    size = sum(entry["bytes"] for entry in staged.parts)
    made = run(
        plan,
        partial(shards.write_shard, staged=staged.folder, schema=staged_features().arrow_schema),
        work / _SHARDS,
        suffix=".parquet",
        fingerprint={**recipe, "staged": staged.sha256},
        # Copying is fast: below a gigabyte the start of a process takes longer.
        workers=workers if size > 1_000_000_000 else 1,
        progress=progress,
        what="shards",
    )
    verdict = None
    if recipe["audit_checks"] and not recipe["noise"]:
        from croc_syn.audit import audit

        found = audit(
            made.files(),
            work / _AUDIT,
            checks=recipe["audit_checks"],
            revision=made.sha256[:12],
            workers=workers,
            progress=progress,
        )
        verdict = {**asdict(found), "lines": found.lines()}
    splits: Counter[str] = Counter()
    groups: Counter[str] = Counter()
    for part, entry in zip(plan, made.parts, strict=True):
        splits[part.payload["group"][0]] += entry["counts"]["rows"]
        groups["/".join(part.payload["group"])] += entry["counts"]["rows"]
    report = BuildReport(
        out=out,
        checks=sum(splits.values()),
        images=int(made.counts["images"]),
        splits={name: splits[name] for name in shards.SPLITS if splits[name]},
        groups=dict(sorted(groups.items())),
        redraws=int(staged.counts.get("redraws", 0)),
        noisy=int(staged.counts.get("noisy", 0)),
        passed_over=recipe.get("passed_over", 0),
        dropped={**_dropped(staged), **left_out},
        duplicates=shards.count_twins(staged),
        audit=verdict,
    )
    stored = {name: value for name, value in asdict(report).items() if name not in _UNSTORED}
    texts = {"README.md": card(report, recipe), "build.json": _json(stored)}
    if report.audit is not None:
        texts["audit.json"] = _json(report.audit)
    shards.finish(out, made, recipe, texts)
    return replace(report, seconds=time.monotonic() - started)


def read_report(out: Path) -> BuildReport:
    """The report of a finished folder."""
    stored = read_json(out / "build.json", "no build.json: this is not a finished build")
    return BuildReport(out=out, audit=read_json(out / "audit.json"), **stored)


def card(report: BuildReport, recipe: Mapping[str, Any]) -> str:
    """The README of a build: how to load it, how it was made, what the audit found.

    Args:
        report: what was built.
        recipe: what defines it.
    """
    head = {
        "pretty_name": "CROCsyn",
        "language": ["en"],
        "license": "apache-2.0",
        "task_categories": ["text-to-image"],
        "size_categories": [_size(report.checks)],
        "configs": configs(report),
    }
    made = ", ".join(
        f"`{name}` {recipe[name]}" for name in ("images", "size", "seed", "noise") if name in recipe
    )
    text = [
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---",
        "# CROCsyn: contrastive robustness checks of text-to-image metrics",
        "Each row is one check: two prompts that differ in one property, and images for each of them.",
        "```python\nfrom datasets import load_dataset\n\n"
        'checks = load_dataset("path/to/this/folder", split="test")\n```',
        f"## How it was made\n\nPrompts by `{recipe.get('text_model', 'see the column')}`, images by "
        f"`{recipe.get('image_model', 'see the column')}`{f' ({made})' if made else ''}.",
        "\n".join(f"- {line}" for line in report.lines(audit=False)),
        _table(report),
    ]
    if report.audit is not None:
        text.append("## Audit\n\n" + "\n".join(f"- {line}" for line in report.audit["lines"]))
    return "\n\n".join(text) + "\n"


def configs(report: BuildReport) -> list[dict[str, Any]]:
    """The README's ``configs``: ``all``, then the subsets and the categories as views over the same files."""
    present = [group.split("/") for group in report.groups]
    views: dict[str, tuple[str, str | None, str | None]] = {"all": ("*", None, None)}
    views |= {name: (f"*-{name}-*", None, name) for name in SUBSETS}
    views |= {category: (f"{category}-*", category, None) for _, category, _ in present}
    listed = []
    for name, (pattern, category, subset) in views.items():
        splits = {s for s, c, b in present if category in (None, c) and subset in (None, b)}
        if splits:
            files = [
                {"split": split, "path": f"data/{split}-{pattern}.parquet"}
                for split in shards.SPLITS
                if split in splits
            ]
            default = {"default": True} if name == "all" else {}
            listed.append({"config_name": name, **default, "data_files": files})
    return listed


def _table(report: BuildReport) -> str:
    counts: dict[str, Counter[str]] = {}
    for group, count in report.groups.items():
        _, category, subset = group.split("/")
        counts.setdefault(category, Counter())[subset] += count
    columns = [name for name in (*SUBSETS, OTHER) if any(name in row for row in counts.values())]
    lines = ["| category | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [
        f"| {category} | " + " | ".join(str(row[name]) for name in columns) + " |"
        for category, row in counts.items()
    ]
    return "\n".join(lines)


def _size(rows: int) -> str:
    bounds = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
    return next((word for bound, word in bounds.items() if rows < bound), "1M<n<10M")


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _dropped(staged: Manifest) -> dict[str, int]:
    total: Counter[str] = Counter()
    for entry in staged.parts:
        total.update(entry["counts"].get("dropped", {}))
    return dict(sorted(total.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; see the module's docstring."""
    import argparse

    parser = argparse.ArgumentParser(description="Build CROCsyn: from nothing, or from staged parts.")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument("--staged", type=Path, help="a folder of staged images; without it they are made")
    parser.add_argument("--checks", type=int, default=300)
    parser.add_argument("--images", type=int, default=5, help="images a side")
    parser.add_argument("--size", type=int, default=256, help="pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--noise", type=float, default=0.0, help="probability of a wrong image")
    parser.add_argument("--taxonomy", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--train", type=float, default=0.0, help="share of the concepts in the split")
    parser.add_argument("--validation", type=float, default=0.0, help="share of the concepts in the split")
    options = parser.parse_args(arguments)
    shares = {"train": options.train, "validation": options.validation}
    splits = {**shares, "test": 1.0 - sum(shares.values())}
    try:
        if options.staged is not None:
            report = build_staged(options.staged, options.out, splits=splits, workers=options.workers)
        else:
            report = build_exact(
                options.out,
                checks=options.checks,
                images=options.images,
                size=options.size,
                seed=options.seed,
                noise=options.noise,
                taxonomy=options.taxonomy,
                workers=options.workers,
                splits=splits,
            )
    except CrocError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write("\n".join([str(report.out), *report.lines()]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
