"""Training questions for a yes/no metric: an image, a prompt, and whether the image shows the prompt.

Both prompts of a check are asked about an image of either side. So each check gives two questions with the
answer Yes and two with No, and neither the prompt nor the image alone determines the answer. The selection is
that of the paper (arXiv 2505.11314): all checks of property variation, at most 3,000 of entity variation,
each caption once.

``croc build train`` runs this on a folder that was built with ``--train`` and ``--validation``. It is
also::

    python -m builders.train runs/syn --out runs/train
"""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from builders import shards
from builders.assembly import PICTURE, BuildReport, read_report, report_files, write_card
from builders.screening import ELSEWHERE, SPLITS, content_hash, fold_caption, split_of
from croc.checks.columns import features
from croc.checks.manifest import read_dataset_manifest, require_files
from croc.checks.schema import IMAGE_COLUMNS, PAIR_COLUMNS, SHARED_COLUMNS, SIDES, SUBSETS, stable_hash
from croc.errors import InputError
from croc.jobs.executors import on_this_machine
from croc.jobs.parts import Executor, Part
from croc.jobs.runner import run
from croc.storage.files import sha256_of
from croc.storage.parquet import batches, write_parquet
from croc_syn.world import HeldOut, read_scene
from croc_syn.world.language.wording import reword
from croc_syn.writing.table import EXACT

if TYPE_CHECKING:
    import datasets

ANSWERS = ("Yes", "No")
PAPER_CAPS: dict[str, int | None] = {
    "property_variation": None,
    "entity_variation": 3000,
    "entity_placement": 0,
}
"""Maximum number of checks per subset; None is all."""

REPEATED_CAPTION = "caption of a check that was selected before"
SUBSET_FULL = "more checks of the subset than requested"
PROPERTY_FULL = "more checks of the property than requested"
SPLIT_FULL = "more questions than requested"
ONE_SIDED = "no image or no prompt on one side"
HELD_OUT = "prompt or image that contains what is held out"

_COPIED = (*SHARED_COLUMNS, "language", "license")
_COLUMNS = [*_COPIED, "prompt", "contrast_prompt", *IMAGE_COLUMNS]


@dataclass(frozen=True)
class Selection:
    """Which checks become questions, and how many.

    Attributes:
        caps: maximum number of checks per subset over all splits; None is all. A subset that is not named is
            left out; checks without a subset are always included.
        per_property: maximum number of checks per property and split, so that no property dominates.
        images: images per side of each check; each gives two questions.
        samples: maximum number of questions in ``train``; whole checks are left out, so Yes and No stay
            balanced.
        seed: decides which checks and images are selected, and the wording.
        frames: sentence frames in which prompts of the exact world are worded anew, names of
            :data:`~croc_syn.world.language.wording.FRAMES`; empty keeps the prompts of the checks.
        held_out: what no question of ``train`` and ``validation`` contains, in its prompt or in its scene, as
            for :meth:`croc_syn.world.HeldOut.of`; the checks must then be of the exact world.
    """

    caps: Mapping[str, int | None] = field(default_factory=lambda: dict(PAPER_CAPS))
    per_property: int | None = None
    images: int = 1
    samples: int | None = None
    seed: int = 0
    frames: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()

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


@dataclass
class _Check:
    """What the selection needs of a check."""

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
    held_out: bool = False


@shards.one_at_a_time
def build_train(
    checks: str | Path,
    out: str | Path,
    *,
    selection: Selection | None = None,
    splits: Mapping[str, float] | None = None,
    executor: Executor | None = None,
    progress: bool = True,
) -> BuildReport:
    """Build training questions from a finished folder of checks.

    Args:
        checks: a folder that ``croc build`` finished.
        out: the folder to make.
        selection: which checks; None is the paper's selection.
        splits: share by split name; None keeps the splits of the checks, which must have a ``train``.
        executor: what makes the parts, see :mod:`croc.jobs.executors`; None is this process.
        progress: show bars.

    Returns:
        The report; ``checks`` is the number of questions.

    Raises:
        InputError: the folder is not finished or has no ``train``, or no question is left.
    """
    started = time.monotonic()
    folder, out = Path(checks), Path(out)
    selection = selection or Selection()
    manifest = read_dataset_manifest(folder)
    files = {name: entry["sha256"] for name, entry in manifest["files"].items() if name.startswith("data/")}
    require_files(folder, manifest, [folder / name for name in files])
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
            **({"frames": list(selection.frames)} if selection.frames else {}),
        },
    }
    held_out = HeldOut.of(selection.held_out)
    if held_out:
        recipe["held_out"] = held_out.as_dict()
    if shards.is_finished(out, recipe):
        return read_report(out)
    candidates = _read(folder, files, ratios, selection.seed, held_out)
    if not any(check.split == "train" for check in candidates):
        raise InputError(
            f"{folder} has no split train; build it with --train, or give the shares of the splits"
        )
    selected, left_out = select(candidates, selection)
    if not any(check.split == "train" for check in selected):
        raise InputError(f"{folder}: no questions remain for training ({'; '.join(sorted(left_out))})")
    parts = _plan(selected, files, folder)
    schema = pair_features().arrow_schema
    made = run(
        parts,
        partial(write_pairs, folder=folder, selection=selection, schema=schema),
        out / shards.WORK / "shards",
        suffix=".parquet",
        fingerprint=recipe,
        executor=on_this_machine(executor),
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
        notes=[f"the answer is Yes for half of the {sum(counted.values()):,} questions"],
        seconds=time.monotonic() - started,
    )
    shards.finish(out, made, recipe, report_files(report), partial(write_card, draw=_draw_examples))
    return report


def select(checks: Sequence[_Check], selection: Selection) -> tuple[list[_Check], Counter[str]]:
    """Select checks: no caption twice, within the caps, nothing of one split in another.

    The hash of a check decides its rank, so the selection does not depend on the order or number of the
    files.

    Returns:
        The selected checks in their order, and how many were left out, by reason.
    """
    left_out: Counter[str] = Counter()
    split_of_hash: dict[int, str] = {}
    captions: set[int] = set()
    by_subset: Counter[str | None] = Counter()
    by_property: Counter[tuple[str, str]] = Counter()
    questions = 0
    kept: set[tuple[str, int]] = set()
    # Earlier splits select first: what two could have stays in the one used for evaluation.
    for check in sorted(checks, key=lambda check: (SPLITS.index(check.split), check.rank)):
        hashes = check.captions | check.images
        cap = selection.caps.get(check.subset, 0) if check.subset is not None else None
        number = min(selection.images, *check.counts)
        if cap == 0:
            continue  # not requested, so not reported
        reason = None
        if number == 0 or len(check.captions) < 2:
            reason = ONE_SIDED
        elif check.held_out:
            reason = HELD_OUT
        elif any(split_of_hash.get(value, check.split) != check.split for value in hashes):
            reason = ELSEWHERE
        elif check.captions & captions:
            reason = REPEATED_CAPTION
        elif cap is not None and by_subset[check.subset] >= cap:
            reason = SUBSET_FULL
        elif selection.per_property and by_property[check.split, check.property] >= selection.per_property:
            reason = PROPERTY_FULL
        elif selection.samples and check.split == "train" and questions + 4 * number > selection.samples:
            reason = SPLIT_FULL
        if reason is not None:
            left_out[reason] += 1
            continue
        split_of_hash |= dict.fromkeys(hashes, check.split)
        captions |= check.captions
        by_subset[check.subset] += 1
        by_property[check.split, check.property] += 1
        questions += 4 * number if check.split == "train" else 0
        kept.add((check.file, check.row))
    return [check for check in checks if (check.file, check.row) in kept], left_out


def _read(
    folder: Path,
    files: Mapping[str, str],
    ratios: Mapping[str, float] | None,
    seed: int,
    held_out: HeldOut,
) -> list[_Check]:
    checks = []
    columns = ["check_id", "concept_id", "subset", "property", "prompt", "contrast_prompt"]
    for name in sorted(files):
        row, own = 0, Path(name).name.split("-")[0]
        try:
            for table in batches(folder / name, [*columns, *IMAGE_COLUMNS]):
                for values in table.to_pylist():
                    prompts = [values[key] for key in ("prompt", "contrast_prompt") if values[key]]
                    captions = {content_hash(fold_caption(prompt)) for prompt in prompts}
                    sides = [values[side] or [] for side in IMAGE_COLUMNS]
                    split = split_of(values["concept_id"], ratios) if ratios else own
                    checks.append(
                        _Check(
                            file=name,
                            row=row,
                            split=split,
                            check_id=values["check_id"],
                            subset=values["subset"],
                            property=values["property"] or "",
                            rank=stable_hash("train", seed, values["check_id"]),
                            captions=frozenset(captions),
                            counts=(len(sides[0]), len(sides[1])),
                            images=frozenset(
                                content_hash(image["bytes"]) for side in sides for image in side
                            ),
                            held_out=bool(held_out)
                            and split != "test"
                            and _contains(held_out, prompts, [*sides[0], *sides[1]], name),
                        )
                    )
                    row += 1
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{folder / name}: cannot be read ({error})") from None
    return checks


def _contains(
    held_out: HeldOut, prompts: Sequence[str], images: Sequence[Mapping[str, Any]], name: str
) -> bool:
    """Whether a check says or shows something that is held out."""
    try:
        if any(held_out.is_in_prompt(prompt) for prompt in prompts):
            return True
        return any(held_out.is_in_scene(read_scene(image["bytes"])) for image in images)
    except InputError as error:
        raise InputError(
            f"{name}: something can be held out of checks of the exact world only ({error})"
        ) from None


def _plan(selected: Sequence[_Check], files: Mapping[str, str], folder: Path) -> list[Part]:
    """Shards of one split each; a shard takes from as many files as it needs to be full."""
    parts = []
    for split in SPLITS:
        mine = [check for check in selected if check.split == split]
        groups: list[list[list[Any]]] = []
        filled = float("inf")
        for name in dict.fromkeys(check.file for check in mine):
            rows = [check.row for check in mine if check.file == name]
            with pq.ParquetFile(folder / name) as stored:
                row_bytes = (folder / name).stat().st_size / max(1, stored.metadata.num_rows)
            if filled >= shards.SHARD_BYTES:
                groups.append([])
                filled = 0.0
            groups[-1].append([name, files[name], rows])
            filled += row_bytes * len(rows)
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
        payload: ``rows``: per file of checks its name, its checksum and the selected rows.
        path: the Parquet file.
        folder: the folder of checks.
        selection: how many images per side.
        schema: Arrow schema of :func:`pair_features`.

    Returns:
        Counts: ``rows``, ``images``, ``noisy`` (questions about an image that shows the other prompt).

    Raises:
        InputError: a file of checks is not the one of the plan.
    """
    noisy = 0

    def tables() -> Iterator[pa.Table]:
        nonlocal noisy
        for name, sha256, rows in payload["rows"]:
            if sha256_of(folder / name) != sha256:
                raise InputError(f"{folder / name}: its content does not match the manifest")
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
    """The questions of a check: both prompts about the selected images of both sides."""
    keys = {name: row.get(name) for name in _COPIED}
    prompts = [row["prompt"], row["contrast_prompt"]]
    if selection.frames and row["text_model"] == EXACT:
        # One wording for both prompts and all images, so that questions differ in one property still.
        wording = stable_hash("wording", selection.seed, row["check_id"])
        held_out = HeldOut.of(selection.held_out).frames
        frames = [frame for frame in selection.frames if frame not in held_out]
        prompts = [reword(prompt, wording, frames=frames) for prompt in prompts]
    number = min(selection.images, len(row["images"]), len(row["contrast_images"]))
    questions = []
    for side, prefix in zip(SIDES, ("", "contrast_"), strict=True):
        images = row[f"{prefix}images"]
        order = sorted(
            range(len(images)), key=lambda i: stable_hash("image", selection.seed, row["check_id"], side, i)
        )
        truth = row.get(f"{prefix}images_valid")
        for index in sorted(order[:number]):
            for prompt_side, prompt in zip(SIDES, prompts, strict=True):
                label = prompt_side == side
                questions.append(
                    {
                        **keys,
                        "pair_id": stable_hash("pair", row["check_id"], side, index, prompt_side, length=20),
                        "image": {"bytes": images[index]["bytes"], "path": None},
                        "prompt": prompt,
                        "answer": ANSWERS[0 if label else 1],
                        "label": label,
                        "image_side": side,
                        "image_index": index,
                        "valid": truth[index] if truth else None,
                    }
                )
    return questions


def _draw_examples(folder: Path) -> None:
    """Write a picture of the first images of the training questions."""
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


if __name__ == "__main__":
    import sys

    from croc.cli import main

    main(["build", "train", *sys.argv[1:]], prog_name="croc")
