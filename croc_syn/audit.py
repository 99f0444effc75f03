"""Does the data leak the answer? The oracle must pass every check, and blind scorers must come to chance.

A finished build is put to the oracle, which reads the scene in the image's file and so knows the truth, and
to probes that cannot see the image, the text, or either. Each becomes a score table as of any other metric,
and :class:`croc.verdict.report.Report` judges them.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from croc.checks.schema import DIRECTIONS, IMAGE_COLUMNS, SIDES, stable_hash
from croc.jobs.executors import local_executor
from croc.jobs.parts import Part
from croc.jobs.runner import Manifest, run
from croc.tables.columns import SCORE_COLUMNS
from croc.tables.metadata import ScoreMetadata
from croc.tables.writers import write_scores
from croc_syn import world
from croc_syn.folder import Chosen, choose, read_chosen
from croc_syn.writing.prompts import EXACT

if TYPE_CHECKING:
    import pyarrow as pa

PART_SIZE = 100
ORACLE = "oracle"
LEVEL = 0.99
"""Confidence that holds for all intervals of the blind scorers together: many looks find no false leak."""

_NEGATION = re.compile(r"\b(?:no|not|none|never|nothing|without|neither|nor|nowhere|absent|free of)\b")
_NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


FEWEST_CONCEPTS = 50
"""With fewer, a bootstrap over concepts says too little about the far ends of an interval to accuse."""


@dataclass(frozen=True)
class Audit:
    """What the audit found.

    Attributes:
        passed: the oracle was right everywhere and no blind scorer was off chance.
        checks: how many were looked at.
        groups: how many subsets and properties the oracle was judged on.
        wrong: where the oracle was not at 1.0: ``group value direction``.
        leaks: where a blind scorer's interval does not hold chance: ``scorer direction (subset)``.
        unjudged: parts of the data with too few concepts to look for leaks: ``all`` or a subset.
        blind: per blind scorer and direction, over all checks: accuracy, chance, scaled with its interval.
        level: confidence of each of those intervals.
        signature: of the report that says so.
    """

    passed: bool
    checks: int
    groups: int
    wrong: list[str]
    leaks: list[str]
    unjudged: list[str]
    blind: dict[str, dict[str, dict[str, float | None]]]
    level: float
    signature: str

    def lines(self) -> list[str]:
        """The findings in words."""
        looked = f"{self.checks} checks, {self.groups} subsets and properties"
        if self.wrong:
            text = [
                f"The oracle is wrong in {len(self.wrong)} places of {looked}: {'; '.join(self.wrong[:5])}."
            ]
        else:
            text = [f"The oracle reaches scaled accuracy 1.0 in all four directions ({looked})."]
        if self.leaks:
            text.append(
                f"Blind scorers are off chance: {'; '.join(self.leaks[:5])}. The data leaks the answer."
            )
        elif "all" in self.unjudged:
            text.append(f"Blind scorers were not judged: fewer than {FEWEST_CONCEPTS} concepts.")
        else:
            far = [abs(cell["scaled"] or 0.0) for row in self.blind.values() for cell in row.values()]
            text.append(
                f"{len(self.blind)} blind scorers come to chance in each direction: all intervals of scaled "
                f"accuracy hold 0 ({LEVEL:.0%} for all together), the farthest value is {max(far):.3f}."
            )
        return text


def audit(
    files: Sequence[Path],
    work: Path,
    *,
    checks: int = 2000,
    seed: int = 0,
    dataset: str = "croc/syn",
    revision: str | None = None,
    workers: int = 1,
    progress: bool = True,
) -> Audit:
    """Audit the checks in some Parquet files.

    Args:
        files: files of one folder with the columns of a check, their images drawn by the exact world.
        work: folder for the parts and the score tables, ``work/tables``; an interrupted audit goes on there.
        checks: how many to look at; of more, as many of each subset and property are chosen by hash.
        seed: of the choice.
        dataset: name of the data in the tables.
        revision: its revision.
        workers: processes.
        progress: show a bar.

    Returns:
        What was found.

    Raises:
        InputError: a file cannot be read, or an image carries no scene.
    """
    chosen = choose(files, checks, seed=seed)
    rows = [[each.file.name, each.row, each.check_id] for each in chosen]
    starts = range(0, len(rows), PART_SIZE)
    parts = [Part(f"{at // PART_SIZE:05d}", {"rows": rows[at : at + PART_SIZE]}) for at in starts]
    scored = run(
        parts,
        partial(score_part, folder=files[0].parent, weights=_learned(files, chosen)),
        work / "scores",
        suffix=".parquet",
        fingerprint={"dataset": dataset, "revision": revision, "seed": seed, "world": EXACT},
        executor=local_executor(workers),
        progress=progress,
        what="parts of the audit",
    )
    tables = score_tables(scored, work / "tables", dataset=dataset, revision=revision)
    return judge(tables)


def judge(tables: Mapping[str, Path]) -> Audit:
    """The verdict on the score tables of the oracle and the blind scorers.

    Args:
        tables: file by scorer: ``oracle`` and any of ``BLIND``.
    """
    from croc.verdict.evaluation import evaluate
    from croc.verdict.report import Settings

    by = ("subset", "property")
    truth = evaluate([tables[ORACLE]], settings=Settings(by=by, resamples=0, flips=0))
    wrong = [
        f"{result.group or 'all'} {result.group_value or ''} {result.direction}: {result.scaled}"
        for result in truth.results
        if result.text_model is None and result.n and (result.scaled != 1.0 or result.coverage != 1.0)
    ]
    groups = {(result.group, result.group_value) for result in truth.results if result.group is not None}
    blind = [tables[name] for name in tables if name != ORACLE]
    unjudged = _too_few(tables[ORACLE])
    subsets = {value for group, value in groups if group == "subset"} - set(unjudged)
    level = 1 - (1 - LEVEL) / (len(blind) * len(DIRECTIONS) * (1 + len(subsets)))
    report = evaluate(blind, settings=Settings(by=("subset",), resamples=20_000, flips=0, level=level))
    leaks = []
    shown: dict[str, dict[str, dict[str, float | None]]] = {}
    for result in report.results:
        if result.text_model is not None or not result.n:
            continue
        low, high, chance = result.scaled_ci_low, result.scaled_ci_high, 0.0
        where = result.group_value or "all"
        held = low is None or high is None or low <= chance <= high
        if not held and where not in unjudged:
            leaks.append(f"{result.metric} {result.direction} ({where}): {result.scaled:+.3f}")
        if result.group is None:
            shown.setdefault(result.metric, {})[result.direction] = {
                "accuracy": result.accuracy,
                "chance": result.chance,
                "scaled": result.scaled,
                "scaled_ci_low": low,
                "scaled_ci_high": high,
            }
    order = {name: place for place, name in enumerate(tables)}
    return Audit(
        passed=not wrong and not leaks,
        checks=truth.checks,
        groups=len(groups),
        wrong=wrong,
        leaks=leaks,
        unjudged=unjudged,
        blind=dict(sorted(shown.items(), key=lambda item: order[item[0]])),
        level=level,
        signature=str(report.signature),
    )


def _too_few(table: Path) -> list[str]:
    """``all`` and subsets with fewer than ``FEWEST_CONCEPTS`` concepts."""
    import pyarrow.parquet as pq

    rows = pq.read_table(table, columns=["subset", "concept_id"])
    concepts: dict[str, set[str]] = {"all": set()}
    for subset, concept in zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True):
        concepts["all"].add(concept)
        concepts.setdefault(subset or "none", set()).add(concept)
    return sorted(name for name, found in concepts.items() if len(found) < FEWEST_CONCEPTS)


# ---- Probes ----

Pixels = np.ndarray
"""uint8 (height, width, 3)."""


def _hashed(*content: Any) -> float:
    return int(stable_hash("audit", *content, length=13), 16) / 16**13


def _brightness(pixels: Pixels, png: bytes) -> float:
    return float(pixels.mean())


def _covered(pixels: Pixels, png: bytes) -> float:
    """Share of pixels that differ from the commonest colour, which is mostly the background."""
    flat = pixels.astype(np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)
    _, counts = np.unique(flat, return_counts=True)
    return 1.0 - float(counts.max()) / flat.size


def _colourful(pixels: Pixels, png: bytes) -> float:
    wide = pixels.astype(np.int16)
    return float((wide.max(axis=2) - wide.min(axis=2)).mean())


def _edges(pixels: Pixels, png: bytes) -> float:
    grey = pixels.mean(axis=2)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())


TEXT_PROBES: Mapping[str, Callable[[str], float]] = {
    "prompt-length": lambda prompt: float(len(prompt)),
    "negation-words": lambda prompt: float(len(_NEGATION.findall(prompt.lower()))),
    "number-words": lambda prompt: float(
        sum(_NUMBERS.index(word) for word in re.findall(r"[a-z]+", prompt.lower()) if word in _NUMBERS)
    ),
    "text-hash": lambda prompt: _hashed(prompt),
}
"""Scorers that see the prompt alone; the learned one is :func:`word_weights`."""

IMAGE_PROBES: Mapping[str, Callable[[Pixels, bytes], float]] = {
    "brightness": _brightness,
    "covered-area": _covered,
    "colourfulness": _colourful,
    "edges": _edges,
    "file-size": lambda pixels, png: float(len(png)),
}
"""Scorers that see the image alone."""

LEARNED = "learned-words"
BLIND = (*TEXT_PROBES, LEARNED, *IMAGE_PROBES, "pair-hash", "constant")


def word_weights(prompts: Sequence[str], contrasts: Sequence[str]) -> dict[str, float]:
    """How much each word speaks for the original prompt: naive Bayes log odds with add-one smoothing.

    Were the originals worded otherwise than the contrasts, a text-only metric could learn this and win.
    """
    counts: dict[str, list[int]] = {}
    for side, texts in enumerate((prompts, contrasts)):
        for text in texts:
            for word in set(text.lower().split()):
                counts.setdefault(word, [0, 0])[side] += 1
    return {word: math.log((first + 1) / (second + 1)) for word, (first, second) in counts.items()}


# ---- Score tables ----


def score_part(
    payload: Mapping[str, Any], path: Path, *, folder: Path, weights: Sequence[Mapping[str, float]]
) -> dict[str, Any]:
    """Make one part: the scores of the oracle and all probes on some checks, a row an image.

    Args:
        payload: ``rows``: the chosen rows as (file, row, check_id).
        path: the Parquet file; beside the keys of a score table, two columns a scorer.
        folder: where the files of the checks lie.
        weights: word weights learned on the other half of the concepts, by half.

    Returns:
        Counts: ``checks``, ``images``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    chosen = [Chosen(folder / file, row, check) for file, row, check in payload["rows"]]
    rows = [
        each
        for check in read_chosen(chosen)
        for each in _score_rows(check, weights[_half(check["concept_id"])])
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return {"checks": len(chosen), "images": len(rows)}


def _score_rows(check: Mapping[str, Any], weights: Mapping[str, float]) -> list[dict[str, Any]]:
    texts = {"prompt_score": check["prompt"], "contrast_score": check["contrast_prompt"]}
    keys = {name: check.get(name) for name in SCORE_COLUMNS if name in check}
    by_text = {
        value: {name: probe(text) for name, probe in TEXT_PROBES.items()}
        | {LEARNED: sum(weights.get(word, 0.0) for word in text.lower().split())}
        for value, text in texts.items()
    }
    rows = []
    for side, column in zip(SIDES, IMAGE_COLUMNS, strict=True):
        for index, image in enumerate(check[column]):
            png = image["bytes"]
            with Image.open(io.BytesIO(png)) as opened:
                # What these probes measure survives at 64 pixels, where it costs a tenth.
                pixels = np.asarray(opened.convert("RGB").reduce(max(1, min(opened.size) // 64)))
            scene = world.read_scene(png)
            seen = {name: probe(pixels, png) for name, probe in IMAGE_PROBES.items()}
            content = hashlib.sha256(png).hexdigest()
            row: dict[str, Any] = {**keys, "image_side": side, "image_index": index}
            for value, text in texts.items():
                scores = {
                    ORACLE: float(world.satisfies(scene, text)),
                    **by_text[value],
                    **seen,
                    "pair-hash": _hashed(content, text),
                    "constant": 0.0,
                }
                row |= {f"{name}/{value}": score for name, score in scores.items()}
            rows.append(row)
    return rows


def score_tables(scored: Manifest, out: Path, *, dataset: str, revision: str | None) -> dict[str, Path]:
    """One score table a scorer, from the parts that hold all of them.

    Returns:
        The file by the scorer's name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wide: pa.Table = pa.concat_tables(
        [pq.read_table(file) for file in scored.files()], promote_options="permissive"
    )
    files = {}
    for name in (ORACLE, *BLIND):
        columns = {column: wide[column] for column in SCORE_COLUMNS if column in wide.column_names}
        columns |= {value: wide[f"{name}/{value}"] for value in ("prompt_score", "contrast_score")}
        columns["error"] = pa.nulls(len(wide), pa.string())
        metadata = ScoreMetadata(
            scorer=name,
            protocol="syn",
            scorer_revision=EXACT,
            dataset=dataset,
            dataset_revision=revision,
            baseline=name != ORACLE,
        )
        files[name] = out / f"{name}.parquet"
        write_scores(pa.table(columns), metadata, files[name])
    return files


def _learned(files: Sequence[Path], chosen: Sequence[Chosen]) -> list[dict[str, float]]:
    """Word weights for each half of the concepts, learned on the other half."""
    import pyarrow.parquet as pq

    wanted = {each.check_id for each in chosen}
    halves: list[tuple[list[str], list[str]]] = [([], []), ([], [])]
    columns = ["check_id", "concept_id", "prompt", "contrast_prompt"]
    for file in files:
        for row in pq.read_table(file, columns=columns).to_pylist():
            if row["check_id"] in wanted:
                prompts, contrasts = halves[1 - _half(row["concept_id"])]
                prompts.append(row["prompt"])
                contrasts.append(row["contrast_prompt"])
    return [word_weights(*half) for half in halves]


def _half(concept_id: str) -> int:
    return int(stable_hash("half", concept_id, length=1), 16) % 2
