"""Questions for training a yes/no metric: an image, a prompt, and whether the image shows it.

Both prompts of a check stand against an image of either side, so that each check gives two questions whose
answer is Yes and two whose answer is No, and neither a prompt nor an image alone betrays the answer. The
selection is that of the paper (arXiv 2505.11314): all checks of property variation, at most 3,000 of entity
variation, each caption once. Run::

    python builders/train.py --checks runs/syn --out runs/train

on a folder that was built with ``--train`` and ``--validation``; ``croc build train`` does the same.
"""

from __future__ import annotations

import io
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    # Run by path, its own folder comes first on the path; the checkout's root is what it needs.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from builders import shards
from builders.assembly import PICTURE, BuildReport, dress, read_report, report_texts
from builders.screening import ELSEWHERE, SPLITS, folded, mark, split_of
from croc.checks.columns import features
from croc.checks.schema import IMAGE_COLUMNS, PAIR_COLUMNS, SHARED_COLUMNS, SIDES, SUBSETS, stable_hash
from croc.errors import CrocError, InputError
from croc.jobs.executors import local_executor
from croc.jobs.parts import Part
from croc.jobs.runner import run
from croc.storage.files import read_json, sha256_of
from croc.storage.parquet import batches, write_parquet

DESCRIPTION = "Yes/no questions about images, from contrastive robustness checks."
ANSWERS = ("Yes", "No")
PAPER_CAPS: dict[str, int | None] = {
    "property_variation": None,
    "entity_variation": 3000,
    "entity_placement": 0,
}
"""Checks of each subset, at most; None is all of them."""

SPOKEN = "caption that a chosen check has too"
CAPPED = "more checks of the subset than asked for"
PROPERTY_CAPPED = "more checks of the property than asked for"
SAMPLED = "more questions than asked for"
ONE_SIDED = "no image or no prompt of a side"

_COPIED = (*SHARED_COLUMNS, "language", "license")
_COLUMNS = [*_COPIED, "prompt", "contrast_prompt", *IMAGE_COLUMNS]


@dataclass(frozen=True)
class Selection:
    """Which checks become questions, and how many.

    Attributes:
        caps: checks of each subset over all splits, at most; None is all; a subset that is not named is left
            out, but checks without a subset are always taken.
        per_property: checks of each property and split, at most, so that no property drowns the others.
        images: images a side of each check; each gives two questions.
        samples: questions in ``train``, at most; whole checks are left out, so that Yes and No stay balanced.
        seed: decides which checks and images are chosen.
    """

    caps: Mapping[str, int | None] = field(default_factory=lambda: dict(PAPER_CAPS))
    per_property: int | None = None
    images: int = 1
    samples: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.caps) - set(SUBSETS)):
            raise InputError(f"caps: unknown subset {unknown[0]!r}; known are {', '.join(SUBSETS)}")
        low = {"images": self.images, "per_property": self.per_property, "samples": self.samples}
        for name, value in low.items():
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, not {value}")


def pair_features() -> datasets.Features:
    """The columns of a question."""
    return features(PAIR_COLUMNS)


class Train(datasets.ArrowBasedBuilder):
    """Reads a folder that :func:`build_train` finished (``data_dir``)."""

    BUILDER_CONFIGS = (datasets.BuilderConfig(name="all"),)

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(description=DESCRIPTION, features=pair_features())

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        if not self.config.data_dir:
            raise InputError("data_dir: name the folder of questions")
        files = {
            split: sorted(Path(self.config.data_dir).glob(f"data/{split}-*.parquet")) for split in SPLITS
        }
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"files": [str(file) for file in found]})
            for split, found in files.items()
            if found
        ]

    def _generate_shards(self, files: Sequence[str]) -> Iterator[str]:
        yield from files

    def _generate_tables(self, files: Sequence[str]) -> Iterator[Any]:
        for shard, file in enumerate(files):
            for number, table in enumerate(batches(Path(file))):
                yield (shard, number), table.cast(self.info.features.arrow_schema)


@dataclass
class _Check:
    """What the choice is made from."""

    file: str
    row: int
    split: str
    check_id: str
    subset: str | None
    property: str
    rank: str
    captions: frozenset[int]
    counts: tuple[int, int]
    images: frozenset[int] = frozenset()


def build_train(
    checks: str | Path,
    out: str | Path,
    *,
    selection: Selection | None = None,
    splits: Mapping[str, float] | None = None,
    workers: int = 1,
    progress: bool = True,
) -> BuildReport:
    """Make questions for training from a finished folder of checks.

    Args:
        checks: a folder that ``croc build`` finished.
        out: the folder to make.
        selection: which checks; None is the paper's choice.
        splits: share by split name; None keeps the splits of the checks, which then have a ``train``.
        workers: processes.
        progress: show bars.

    Returns:
        What was built; ``checks`` counts questions.

    Raises:
        InputError: the folder is not finished or has no ``train``, or nothing is left to ask about.
    """
    started = time.monotonic()
    folder, out = Path(checks), Path(out)
    selection = selection or Selection()
    manifest = read_json(folder / "manifest.json", "no manifest.json: not a finished folder of checks")
    files = {name: entry["sha256"] for name, entry in manifest["files"].items() if name.startswith("data/")}
    ratios = shards.check_ratios(splits) if splits else None
    source = {
        key: manifest["recipe"].get(key) for key in ("kind", "noise", "seed") if key in manifest["recipe"]
    }
    recipe = {
        "kind": "train",
        "checks": manifest["sha256"],
        "source": source,
        "splits": ratios,
        "selection": {
            "caps": dict(selection.caps),
            "per_property": selection.per_property,
            "images": selection.images,
            "samples": selection.samples,
            "seed": selection.seed,
        },
    }
    if shards.settle(out, recipe):
        return read_report(out)
    found = _read(folder, files, ratios, selection.seed)
    if not any(check.split == "train" for check in found):
        raise InputError(
            f"{folder}: it has no split train; build it with --train, or say which share is for training"
        )
    chosen, left_out = choose(found, selection)
    if not any(check.split == "train" for check in chosen):
        raise InputError(f"{folder}: no question is left for train ({'; '.join(sorted(left_out))})")
    parts = _plan(chosen, files, folder)
    features = pair_features()
    made = run(
        parts,
        partial(write_pairs, folder=folder, selection=selection, schema=features.arrow_schema),
        out / shards.WORK / "shards",
        suffix=".parquet",
        fingerprint=recipe,
        executor=local_executor(workers),
        progress=progress,
        what="shards of questions",
    )
    counted: Counter[str] = Counter()
    for entry in made.parts:
        counted[entry["name"].split("-")[0]] += entry["counts"]["rows"]
    report = BuildReport(
        out=out,
        checks=sum(counted.values()),
        images=int(made.counts["images"]),
        splits={name: counted[name] for name in SPLITS if counted[name]},
        groups={f"{name}/-/-": counted[name] for name in SPLITS if counted[name]},
        redraws=0,
        noisy=int(made.counts["noisy"]),
        passed_over=0,
        dropped=dict(left_out),
        duplicates=0,
        audit=None,
        what="questions",
        notes=[f"Half of the {sum(counted.values())} questions are answered Yes."],
        seconds=time.monotonic() - started,
    )
    shards.finish(out, made, recipe, report_texts(report), partial(dress, draw=_picture))
    return report


def choose(checks: Sequence[_Check], selection: Selection) -> tuple[list[_Check], Counter[str]]:
    """Choose checks: no caption twice, within the caps, nothing of one split in another.

    Each check's hash decides its rank, so the choice does not depend on order or number of the files.

    Returns:
        The chosen checks in their order, and how many were left out, by reason.
    """
    left_out: Counter[str] = Counter()
    held: dict[int, str] = {}
    taken: set[int] = set()
    by_subset: Counter[str | None] = Counter()
    by_property: Counter[tuple[str, str]] = Counter()
    questions = 0
    kept: set[tuple[str, int]] = set()
    # Earlier splits choose first: what both could have stays with the one that is evaluated on.
    for check in sorted(checks, key=lambda each: (SPLITS.index(each.split), each.rank)):
        marks = check.captions | check.images
        cap = selection.caps.get(check.subset, 0) if check.subset is not None else None
        number = min(selection.images, *check.counts)
        if cap == 0:
            continue  # not asked for, so not worth a line in the report
        reason = None
        if number == 0 or len(check.captions) < 2:
            reason = ONE_SIDED
        elif any(held.get(value, check.split) != check.split for value in marks):
            reason = ELSEWHERE
        elif check.captions & taken:
            reason = SPOKEN
        elif cap is not None and by_subset[check.subset] >= cap:
            reason = CAPPED
        elif selection.per_property and by_property[check.split, check.property] >= selection.per_property:
            reason = PROPERTY_CAPPED
        elif selection.samples and check.split == "train" and questions + 4 * number > selection.samples:
            reason = SAMPLED
        if reason is not None:
            left_out[reason] += 1
            continue
        held |= dict.fromkeys(marks, check.split)
        taken |= check.captions
        by_subset[check.subset] += 1
        by_property[check.split, check.property] += 1
        questions += 4 * number if check.split == "train" else 0
        kept.add((check.file, check.row))
    return [check for check in checks if (check.file, check.row) in kept], left_out


def _read(
    folder: Path, files: Mapping[str, str], ratios: Mapping[str, float] | None, seed: int
) -> list[_Check]:
    found = []
    columns = ["check_id", "concept_id", "subset", "property", "prompt", "contrast_prompt"]
    for name in sorted(files):
        row, own = 0, Path(name).name.split("-")[0]
        try:
            for table in batches(folder / name, [*columns, *IMAGE_COLUMNS]):
                for each in table.to_pylist():
                    captions = {mark(folded(each[key])) for key in ("prompt", "contrast_prompt") if each[key]}
                    sides = [each[side] or [] for side in IMAGE_COLUMNS]
                    found.append(
                        _Check(
                            file=name,
                            row=row,
                            split=split_of(each["concept_id"], ratios) if ratios else own,
                            check_id=each["check_id"],
                            subset=each["subset"],
                            property=each["property"] or "",
                            rank=stable_hash("train", seed, each["check_id"]),
                            captions=frozenset(captions),
                            counts=(len(sides[0]), len(sides[1])),
                            images=frozenset(mark(image["bytes"]) for side in sides for image in side),
                        )
                    )
                    row += 1
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{folder / name}: cannot be read ({error})") from None
    return found


def _plan(chosen: Sequence[_Check], files: Mapping[str, str], folder: Path) -> list[Part]:
    """Shards of one split each; a shard takes from as many files as fill it."""
    parts = []
    for split in SPLITS:
        mine = [check for check in chosen if check.split == split]
        groups: list[list[list[Any]]] = []
        filled = float("inf")
        for name in dict.fromkeys(check.file for check in mine):
            rows = [check.row for check in mine if check.file == name]
            with pq.ParquetFile(folder / name) as stored:
                each = (folder / name).stat().st_size / max(1, stored.metadata.num_rows)
            if filled >= shards.SHARD_BYTES:
                groups.append([])
                filled = 0.0
            groups[-1].append([name, files[name], rows])
            filled += each * len(rows)
        parts += [
            Part(f"{split}-{number:05d}-of-{len(groups):05d}", {"rows": rows})
            for number, rows in enumerate(groups)
        ]
    return parts


def write_pairs(
    payload: Mapping[str, Any], path: Path, *, folder: Path, selection: Selection, schema: pa.Schema
) -> dict[str, Any]:
    """Make one shard of questions.

    Args:
        payload: ``rows``: per file of checks its name, its checksum and the chosen rows.
        path: the Parquet file.
        folder: the folder of checks.
        selection: how many images of a side.
        schema: Arrow schema of :func:`pair_features`.

    Returns:
        Counts: ``rows``, ``images``, ``noisy`` (questions about an image that shows the other prompt).

    Raises:
        InputError: a file of checks is not the one that was planned with.
    """
    noisy = 0

    def tables() -> Iterator[pa.Table]:
        nonlocal noisy
        for name, sha256, rows in payload["rows"]:
            if sha256_of(folder / name) != sha256:
                raise InputError(f"{folder / name}: its content is not what the manifest says")
            wanted, at = set(rows), 0
            for table in batches(folder / name):
                here = [index for index in range(len(table)) if at + index in wanted]
                at += len(table)
                for row in table.take(here).to_pylist() if here else ():
                    pairs = [
                        {key: pair.get(key) for key in schema.names} for pair in questions_of(row, selection)
                    ]
                    noisy += sum(pair["valid"] is False for pair in pairs)
                    yield pa.Table.from_pylist(pairs, schema=schema)

    rows = write_parquet(tables(), path, shards.with_canary(schema))
    return {"rows": rows, "images": rows, "noisy": noisy}


def questions_of(row: Mapping[str, Any], selection: Selection) -> list[dict[str, Any]]:
    """The questions of a check: both prompts against the chosen images of both sides."""
    keys = {name: row.get(name) for name in _COPIED}
    prompts = (row["prompt"], row["contrast_prompt"])
    number = min(selection.images, len(row["images"]), len(row["contrast_images"]))
    found = []
    for side, prefix in zip(SIDES, ("", "contrast_"), strict=True):
        images = row[f"{prefix}images"]
        order = sorted(
            range(len(images)), key=lambda i: stable_hash("image", selection.seed, row["check_id"], side, i)
        )
        truth = row.get(f"{prefix}images_valid")
        for index in sorted(order[:number]):
            for asked, prompt in zip(SIDES, prompts, strict=True):
                label = asked == side
                found.append(
                    {
                        **keys,
                        "pair_id": stable_hash("pair", row["check_id"], side, index, asked, length=20),
                        "image": {"bytes": images[index]["bytes"], "path": None},
                        "prompt": prompt,
                        "answer": ANSWERS[0 if label else 1],
                        "label": label,
                        "image_side": side,
                        "image_index": index,
                        "valid": truth[index] if truth else None,
                    }
                )
    return found


def _picture(folder: Path) -> None:
    """Draw the first images of the training questions beside each other."""
    from PIL import Image

    file = next(iter(sorted(folder.glob("data/train-*.parquet"))))
    table = next(batches(file, ["image", "prompt", "label"]))
    rows = table.slice(0, 32).to_pylist()
    sheet = Image.new("RGB", (4 * 164 - 4, 2 * 164 - 4), "white")
    for place, row in enumerate(rows[:16:2]):
        with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
            small = image.convert("RGB").resize((160, 160), Image.Resampling.LANCZOS)
        sheet.paste(small, (place % 4 * 164, place // 4 * 164))
    sheet.save(folder / PICTURE, "PNG", optimize=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; see the module's docstring."""
    import argparse

    parser = argparse.ArgumentParser(description="Make yes/no questions for training from checks.")
    parser.add_argument("--checks", type=Path, required=True, help="a finished folder of checks")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument("--entity-variation", type=int, default=3000, help="its checks, at most")
    parser.add_argument("--entity-placement", type=int, default=0, help="its checks, at most")
    parser.add_argument("--per-property", type=int, help="checks of each property and split, at most")
    parser.add_argument("--images", type=int, default=1, help="images a side of each check")
    parser.add_argument("--samples", type=int, help="questions for training, at most; the paper has 16,000")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args(arguments)
    caps = {
        "property_variation": None,
        "entity_variation": options.entity_variation,
        "entity_placement": options.entity_placement,
    }
    try:
        selection = Selection(caps, options.per_property, options.images, options.samples, options.seed)
        report = build_train(options.checks, options.out, selection=selection, workers=options.workers)
    except CrocError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write("\n".join([str(report.out), *report.lines()]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
