"""Audit of a build: the oracle must pass every check, and baselines must be at chance level.

The oracle reads the scene in the image file, so it knows the truth; the baselines ignore the image, the text,
or both. Each writes a score table like any other metric, and :func:`croc.verdict.evaluation.evaluate` reads
them. A baseline that is not at chance level shows that the data leaks the answer.
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
from croc.jobs.executors import on_this_machine
from croc.jobs.parts import Executor, Part
from croc.jobs.runner import Manifest, run
from croc.tables.columns import SCORE_COLUMNS
from croc.tables.metadata import ScoreMetadata
from croc.tables.writers import write_scores
from croc.wording import counted
from croc_syn import world
from croc_syn.stratified_rows import RowPlace, read_rows, sample_rows
from croc_syn.world.declarations.languages import ENGLISH
from croc_syn.writing.table import EXACT

if TYPE_CHECKING:
    import pyarrow as pa

PART_SIZE = 100
ORACLE = "oracle"
LEVEL = 0.99
"""Confidence of all intervals of the baselines together, so that many tests find no false leak."""

_NEGATION = re.compile(
    r"\b(?:no|not|none|never|nothing|without|neither|nor|nowhere|absent|free of"
    # German, Spanish and French, in words that mean nothing else in the other languages.
    r"|nicht|nichts|kein\w*|ohne|ningún|ninguna|nada|sin|ne|n'|pas|aucune?|sans|rien)\b"
)
_NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
FEWEST_CONCEPTS = 50
"""With fewer, a bootstrap over concepts is too imprecise in the tails of an interval to find a leak."""


@dataclass(frozen=True)
class Audit:
    """Results of an audit.

    Attributes:
        passed: the oracle was right everywhere and every baseline is at chance level.
        checks: number of audited checks.
        groups: number of subsets and properties for which the oracle was evaluated.
        oracle_errors: where the oracle is not at 1.0: ``group value direction``.
        leaks: where the interval of a baseline does not contain chance: ``scorer direction (subset)``.
        too_few_concepts: parts of the data with too few concepts to find leaks: ``all`` or a subset.
        baselines: per baseline and direction, over all checks: accuracy, chance, scaled with its interval.
        level: confidence of each of those intervals.
        signature: of the report on the baselines.
    """

    passed: bool
    checks: int
    groups: int
    oracle_errors: list[str]
    leaks: list[str]
    too_few_concepts: list[str]
    baselines: dict[str, dict[str, dict[str, float | None]]]
    level: float
    signature: str

    def lines(self) -> list[str]:
        """The results as sentences."""
        extent = f"{counted(self.checks, 'check')}, {self.groups} subsets and properties"
        if self.oracle_errors:
            places = "; ".join(self.oracle_errors[:5])
            text = [
                f"The oracle is wrong for {counted(len(self.oracle_errors), 'group')} ({extent}): {places}."
            ]
        else:
            text = [f"The oracle reaches scaled accuracy 1.0 in all four directions ({extent})."]
        if self.leaks:
            leaks = "; ".join(self.leaks[:5])
            text.append(f"Baselines are not at chance level: {leaks}. The data reveals the answer.")
        elif "all" in self.too_few_concepts:
            text.append(f"Baselines were not evaluated: there are fewer than {FEWEST_CONCEPTS} concepts.")
        else:
            cells = [cell for row in self.baselines.values() for cell in row.values()]
            largest = max(abs(cell["scaled"] or 0.0) for cell in cells)
            text.append(
                f"{len(self.baselines)} baselines are at chance level in each direction: all intervals of "
                f"scaled accuracy contain 0 ({LEVEL:.0%} for all together); the largest absolute value is "
                f"{largest:.3f}."
            )
        return text


def audit(
    files: Sequence[Path],
    work: Path,
    *,
    checks: int = 2000,
    seed: int = 0,
    dataset: str | None = None,
    revision: str | None = None,
    executor: Executor | None = None,
    progress: bool = True,
) -> Audit:
    """Audit the checks in some Parquet files.

    Args:
        files: files of one folder with the columns of a check, their images drawn by the exact world.
        work: folder for the parts and the score tables, ``work/tables``; an interrupted audit is resumed
            there.
        checks: number of checks, at most; of more, a stratified sample over subsets and properties is
            audited.
        seed: of the sample.
        dataset: name of the dataset in the score tables; None leaves it out.
        revision: its revision.
        executor: what makes the parts, see :mod:`croc.jobs.executors`; None is this process.
        progress: show a bar.

    Raises:
        InputError: a file cannot be read, or an image carries no scene.
    """
    columns = ("subset", "concept_id", "prompt", "contrast_prompt")
    places = sample_rows(files, checks, seed=seed, columns=columns).places
    rows = [[place.file.name, place.row] for place in places]
    starts = range(0, len(rows), PART_SIZE)
    parts = [Part(f"{start // PART_SIZE:05d}", {"rows": rows[start : start + PART_SIZE]}) for start in starts]
    scored = run(
        parts,
        partial(score_part, folder=files[0].parent, weights=_learn_weights(places)),
        work / "scores",
        suffix=".parquet",
        fingerprint={"dataset": dataset, "revision": revision, "seed": seed, "world": EXACT},
        executor=on_this_machine(executor),
        progress=progress,
        what="parts of the audit",
    )
    tables = score_tables(scored, work / "tables", dataset=dataset, revision=revision)
    concepts: dict[str, set[str]] = {"all": set()}
    for place in places:
        subset, concept, *_ = place.values
        concepts["all"].add(concept)
        concepts.setdefault(subset or "none", set()).add(concept)
    return evaluate_tables(tables, {name: len(ids) for name, ids in concepts.items()})


def evaluate_tables(tables: Mapping[str, Path], concepts: Mapping[str, int]) -> Audit:
    """Evaluate the score tables of the oracle and the baselines.

    Args:
        tables: file by scorer: ``oracle`` and any of ``BASELINES``.
        concepts: number of concepts in the tables: of ``all``, and of each subset.
    """
    from croc.verdict.evaluation import evaluate
    from croc.verdict.report import Settings

    by = ("subset", "property")
    truth = evaluate([tables[ORACLE]], settings=Settings(by=by, resamples=0, flips=0))
    oracle_errors = [
        f"{result.group or 'all'} {result.group_value or ''} {result.direction}: {result.scaled}"
        for result in truth.results
        if result.text_model is None and result.n and (result.scaled != 1.0 or result.coverage != 1.0)
    ]
    groups = {(result.group, result.group_value) for result in truth.results if result.group is not None}
    baselines = [tables[name] for name in tables if name != ORACLE]
    too_few = sorted(name for name, count in concepts.items() if count < FEWEST_CONCEPTS)
    subsets = {value for group, value in groups if group == "subset"} - set(too_few)
    level = 1 - (1 - LEVEL) / (len(baselines) * len(DIRECTIONS) * (1 + len(subsets)))
    report = evaluate(baselines, settings=Settings(by=("subset",), resamples=20_000, flips=0, level=level))
    leaks = []
    overall: dict[str, dict[str, dict[str, float | None]]] = {}
    for result in report.results:
        if result.text_model is not None or not result.n:
            continue
        low, high, chance = result.scaled_ci_low, result.scaled_ci_high, 0.0
        part = result.group_value or "all"
        at_chance = low is None or high is None or low <= chance <= high
        if not at_chance and part not in too_few:
            leaks.append(f"{result.metric} {result.direction} ({part}): {result.scaled:+.3f}")
        if result.group is None:
            overall.setdefault(result.metric, {})[result.direction] = {
                "accuracy": result.accuracy,
                "chance": result.chance,
                "scaled": result.scaled,
                "scaled_ci_low": low,
                "scaled_ci_high": high,
            }
    order = {name: position for position, name in enumerate(tables)}
    return Audit(
        passed=not oracle_errors and not leaks,
        checks=truth.checks,
        groups=len(groups),
        oracle_errors=oracle_errors,
        leaks=leaks,
        too_few_concepts=too_few,
        baselines=dict(sorted(overall.items(), key=lambda item: order[item[0]])),
        level=level,
        signature=str(report.signature),
    )


# ---- Baselines ----

Pixels = np.ndarray
"""uint8 (height, width, 3)."""


def hashed(*content: Any) -> float:
    """A number in [0, 1) that depends on nothing but the content."""
    return int(stable_hash("audit", *content, length=13), 16) / 16**13


def _brightness(pixels: Pixels, png: bytes) -> float:
    return float(pixels.mean())


def _covered(pixels: Pixels, png: bytes) -> float:
    """Share of pixels that differ from the most frequent colour, usually the background."""
    flat = pixels.astype(np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)
    _, counts = np.unique(flat, return_counts=True)
    return 1.0 - float(counts.max()) / flat.size


def _colourful(pixels: Pixels, png: bytes) -> float:
    wide = pixels.astype(np.int16)
    return float((wide.max(axis=2) - wide.min(axis=2)).mean())


def _edges(pixels: Pixels, png: bytes) -> float:
    grey = pixels.mean(axis=2)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())


TEXT_BASELINES: Mapping[str, Callable[[str], float]] = {
    "prompt-length": lambda prompt: float(len(prompt)),
    "negation-words": lambda prompt: float(len(_NEGATION.findall(prompt.lower()))),
    "number-words": lambda prompt: float(
        sum(_NUMBERS.index(word) for word in re.findall(r"[a-z]+", prompt.lower()) if word in _NUMBERS)
    ),
    "text-hash": lambda prompt: hashed(prompt),
}
"""Text-only baselines; the learned one is :func:`word_weights`."""

IMAGE_BASELINES: Mapping[str, Callable[[Pixels, bytes], float]] = {
    "brightness": _brightness,
    "covered-area": _covered,
    "colourfulness": _colourful,
    "edges": _edges,
    "file-size": lambda pixels, png: float(len(png)),
}
"""Image-only baselines."""

LEARNED = "learned-words"
BASELINES = (*TEXT_BASELINES, LEARNED, *IMAGE_BASELINES, "pair-hash", "constant")


def word_weights(prompts: Sequence[str], contrasts: Sequence[str]) -> dict[str, float]:
    """Evidence of each word for the original prompt: naive Bayes log odds with add-one smoothing.

    If the original prompts were worded differently from the contrast prompts, a text-only metric could learn
    it.
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
    """Make one part: the scores of the oracle and all baselines on some checks, one row per image.

    Args:
        payload: ``rows``: places of the rows, as (file, row).
        path: the Parquet file; beside the keys of a score table, two columns per scorer.
        folder: with the files of the checks.
        weights: word weights learned on the other half of the concepts, by half.

    Returns:
        Counts: ``checks``, ``images``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    places = [RowPlace(folder / file, row) for file, row in payload["rows"]]
    rows = [
        row for check in read_rows(places) for row in _score_rows(check, weights[_half(check["concept_id"])])
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return {"checks": len(places), "images": len(rows)}


def _score_rows(check: Mapping[str, Any], weights: Mapping[str, float]) -> list[dict[str, Any]]:
    texts = {"prompt_score": check["prompt"], "contrast_score": check["contrast_prompt"]}
    # Old files have no language.
    language = check.get("language") or ENGLISH
    meanings = {value: world.parse_translation(text, language) for value, text in texts.items()}
    keys = {name: check.get(name) for name in SCORE_COLUMNS if name in check}
    by_text = {
        value: {name: score(text) for name, score in TEXT_BASELINES.items()}
        | {LEARNED: sum(weights.get(word, 0.0) for word in text.lower().split())}
        for value, text in texts.items()
    }
    rows = []
    for side, column in zip(SIDES, IMAGE_COLUMNS, strict=True):
        for index, image in enumerate(check[column]):
            png = image["bytes"]
            with Image.open(io.BytesIO(png)) as opened:
                # 64 pixels suffice for these baselines and cost a tenth.
                pixels = np.asarray(opened.convert("RGB").reduce(max(1, min(opened.size) // 64)))
            scene = world.read_scene(png)
            by_image = {name: score(pixels, png) for name, score in IMAGE_BASELINES.items()}
            content = hashlib.sha256(png).hexdigest()
            row: dict[str, Any] = {**keys, "image_side": side, "image_index": index}
            for value, text in texts.items():
                scores = {
                    ORACLE: float(world.satisfies(scene, meanings[value])),
                    **by_text[value],
                    **by_image,
                    "pair-hash": hashed(content, text),
                    "constant": 0.0,
                }
                row |= {f"{name}/{value}": score for name, score in scores.items()}
            rows.append(row)
    return rows


def score_tables(
    scored: Manifest, out: Path, *, dataset: str | None, revision: str | None
) -> dict[str, Path]:
    """One score table per scorer, from the parts that hold all of them.

    Returns:
        The file by the scorer's name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wide: pa.Table = pa.concat_tables(
        [pq.read_table(file) for file in scored.files()], promote_options="permissive"
    )
    files = {}
    for name in (ORACLE, *BASELINES):
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


def _learn_weights(places: Sequence[RowPlace]) -> list[dict[str, float]]:
    """Word weights for each half of the concepts, learned on the other half."""
    halves: list[tuple[list[str], list[str]]] = [([], []), ([], [])]
    for place in places:
        _, concept, prompt, contrast_prompt = place.values
        prompts, contrasts = halves[1 - _half(concept)]
        prompts.append(prompt)
        contrasts.append(contrast_prompt)
    return [word_weights(*half) for half in halves]


def _half(concept_id: str) -> int:
    return int(stable_hash("half", concept_id, length=1), 16) % 2
