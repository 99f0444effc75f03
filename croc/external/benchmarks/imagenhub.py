"""ImagenHub's ratings and the judges of VIEScore: images of seven tasks, three raters, scores of ten judges.

Ku et al. 2024, "ImagenHub", ICLR, arXiv 2310.01596; Ku et al. 2024, "VIEScore: Towards Explainable Metrics
for Conditional Image Synthesis Evaluation", ACL, arXiv 2312.14867. SC is semantic consistency, PQ perceptual
quality and O = √(SC · PQ) of one image.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from croc.errors import InputError
from croc.external.benchmark import Benchmark, Figure, Mode, Source, figures
from croc.external.items import Rated
from croc.ratings.coefficients import correlation
from croc.ratings.groups import mean_coefficient
from croc.storage.text_files import parse_json, read_text, require_kind
from croc.tables.delimited import read_delimited, require_columns
from croc.verdict.statistics import Array
from croc.wording import counted

T = TypeVar("T")

TASKS = {
    "Control-Guided_IG": "Control-Guided_IG",
    "Mask-Guided_IE": "Mask-Guided_IE",
    "Multi-Subject_IG": "Multi-Concept_IC",
    "Subject-Driven_IE": "Subject-Driven_IE",
    "Subject-Driven_IG": "Subject-Driven_IG",
    "Text-Guided_IE": "Text-Guided_IE",
    "Text-To-Image": "Text-Guided_IG",
}
"""Names of the tasks in files of ratings, and in folders of scores."""

RATERS = (1, 2, 3)
ASPECTS = ("SC", "PQ", "O")
JUDGES = ("gpt4o_0shot", "gpt4o_1shot", "gemini_1shot", "llava_0shot", "blip2_0shot")
"""Judges, besides Gemini without examples, that have scores of every task."""
# The notebook adds the ratings in the order in which its file system listed the files: with this rater last.
_LAST_RATER = {"Subject-Driven_IG": 1, "Text-Guided_IE": 2}
_DECIMALS = 9
_HUMAN = "_human_annotations/ImagenHub_human_eval_results"
_KEYS = ("item_id", "task", "system", "uid")


def read(folder: Path) -> Rated:
    """Read the raters' files, and the judges' answers or a table of their scores.

    The folder is ``paper_implementation`` of the repository, or holds ``human/TASK_raterN.tsv`` and
    ``viescore_imagenhub.csv`` with ``item_id`` (``TASK/SYSTEM/UID``) and a column per judge and aspect
    (``gpt4o_0shot_sc``: the lowest of its scores, 0 to 10).

    Raises:
        InputError: a file is missing or cannot be used.
    """
    if (folder / "paper_implementation").is_dir():
        folder = folder / "paper_implementation"
    ratings = pl.DataFrame(list(_ratings(folder)))
    answers = folder / "_answers"
    notes: list[str] = []
    if answers.is_dir():
        scores, unparsed = _answers(answers)
        if unparsed:
            notes.append(f"{counted(unparsed, 'answer')} without a score left out.")
    else:
        file = folder / "viescore_imagenhub.csv"
        scores = read_delimited(file)
        require_columns(scores, ("item_id",), str(file))
        kept = [name for name in scores.columns if name not in _KEYS and not name.startswith("human_")]
        scores = scores.select("item_id", *kept)
    unrated = len(scores.join(ratings, on="item_id", how="anti"))
    if unrated:
        notes.append(f"{counted(unrated, 'image')} with scores and without ratings left out.")
    table = ratings.join(scores, on="item_id", how="left")
    metrics = tuple(name for name in scores.columns if name != "item_id")
    raters = tuple(f"human_{aspect}_{n}" for n in RATERS for aspect in ("sc", "pq"))
    table = table.with_columns(
        *(
            pl.mean_horizontal(f"human_{aspect}_{n}" for n in RATERS).alias(f"human_{aspect}")
            for aspect in ("sc", "pq")
        ),
        pl.Series("human_o", _overall(table, "default")),
    )
    return Rated.of(
        table,
        str(folder),
        humans=("human_sc", "human_pq", "human_o"),
        raters=raters,
        metrics=metrics,
        left_out=tuple(notes),
    )


def _ratings(folder: Path) -> Iterator[dict[str, Any]]:
    """A row per image: the ratings of the three raters."""
    files = {}
    for path in (*folder.glob("human/*.tsv"), *folder.glob(f"{_HUMAN}/*/*.tsv")):
        named = re.fullmatch(r"(.+)_rater([123])", path.stem)
        if named is None or named[1] not in TASKS:
            raise InputError(f"{path}: not a file of ratings; expected the name TASK_raterN.tsv")
        files[named[1], int(named[2])] = path
    if not files:
        raise InputError(f"{folder}: no ratings in human/ or {_HUMAN}/")
    for task in sorted({task for task, _ in files}):
        if missing := [n for n in RATERS if (task, n) not in files]:
            raise InputError(f"{folder}: no ratings of {task} by rater {missing[0]}")
        tables = [read_delimited(files[task, n]) for n in RATERS]
        for n, table in zip(RATERS, tables, strict=True):
            require_columns(table, ("uid", *tables[0].columns), str(files[task, n]))
            if table["uid"].to_list() != tables[0]["uid"].to_list():
                raise InputError(f"{files[task, n]}: the uids are not those of {files[task, 1]}")
        for row, uid in enumerate(tables[0]["uid"]):
            for system in tables[0].columns:
                if system == "uid":
                    continue
                item: dict[str, Any] = {
                    "item_id": f"{TASKS[task]}/{system}/{uid}",
                    "task": TASKS[task],
                    "system": system,
                    "prompt": f"{TASKS[task]}/{uid}",
                    "image": uid,
                }
                for n, table in zip(RATERS, tables, strict=True):
                    where = f"{files[task, n]}, column {system!r}, row {row + 1}"
                    item[f"human_sc_{n}"], item[f"human_pq_{n}"] = _pair(table[system][row], where)
                yield item


def _pair(cell: str, where: str) -> tuple[float, float]:
    try:
        first, second = ast.literal_eval(cell)
        return float(first), float(second)
    except (ValueError, SyntaxError, TypeError):
        raise InputError(f"{where}: {cell!r} is not a pair [SC, PQ]") from None


def _published(path: Path, kind: type[T]) -> T:
    """A file of answers; the published ones have Python's Infinity."""
    return require_kind(parse_json(read_text(path), str(path)), kind, str(path))


def _answers(folder: Path) -> tuple[pl.DataFrame, int]:
    """The lowest score of each answer, by image and judge, and the number of answers without a score."""
    columns: dict[str, dict[str, float]] = {}
    unparsed = 0
    for path in sorted(folder.glob("results_*/ImagenHub_*/*/*.json")):
        judge, task, system, aspect = *path.parts[-4:-1], path.stem.lower()
        name = f"{judge.removeprefix('results_')}_{aspect}"
        for uid, answer in _published(path, dict[str, Any]).items():
            score = _lowest(answer)
            if score is None:
                unparsed += 1
                continue
            columns.setdefault(name, {})[f"{task.removeprefix('ImagenHub_')}/{system}/{uid}"] = score
    for path in sorted(folder.glob("results_autometrics/ImagenHub_*/*.json")):
        task, system = path.parent.name.removeprefix("ImagenHub_"), path.stem
        for uid, scores in _published(path, dict[str, dict[str, float]]).items():
            for name, score in scores.items():
                columns.setdefault(name, {})[f"{task}/{system}/{uid}"] = score
    if not columns:
        raise InputError(f"{folder}: no answers results_JUDGE/ImagenHub_TASK/SYSTEM/SC.json")
    items = sorted({item for column in columns.values() for item in column})
    values = {name: [column.get(item) for item in items] for name, column in columns.items()}
    return pl.DataFrame({"item_id": items, **values}), unparsed


def _lowest(answer: Any) -> float | None:
    """The lowest score of an answer, as the authors' notebook takes it; None where there is none."""
    scores = answer.get("score") if isinstance(answer, dict) else None
    if isinstance(scores, int | float):
        return float(scores)
    try:
        return float(min(int(score) for score in scores or ()))
    except (ValueError, TypeError, OverflowError):
        return None


def compute(items: Rated, mode: Mode) -> Mapping[str, float]:
    """Spearman's correlation within systems; averages over the systems of a task, and over the tasks."""
    found: dict[str, float] = {}
    for judge in ("gemini_0shot", *JUDGES):
        columns = [f"{judge}_sc", f"{judge}_pq"]
        if not set(columns) <= set(items.metrics):
            continue
        scored = items.table.drop_nulls(columns)
        prefix = "" if judge == "gemini_0shot" else f"{judge} "
        for task in TASKS.values():
            label = f"{prefix}{task}"
            values = {}
            rows = scored.filter(pl.col("task") == task)
            for (system,), group in rows.group_by("system", maintain_order=True):
                values[str(system)] = _aspects(group, columns, mode)
                if judge == "gemini_0shot":
                    own = pl.col("task").eq(task) & pl.col("system").eq(system)
                    between = _between_raters(items.table.filter(own), mode)
                    for aspect, rho, human in zip(ASPECTS, values[str(system)], between, strict=True):
                        found[f"{label}/{system} {aspect}"] = rho
                        found[f"{label}/{system} {aspect} between raters"] = human
            if not values:
                continue
            for aspect, rho in zip(ASPECTS, np.array(list(values.values())).T, strict=True):
                found[f"{label}/mean {aspect}"] = average(rho, mode)
                if prefix == "":
                    names = [f"{task}/{system} {aspect} between raters" for system in values]
                    mean = average(np.array([found[name] for name in names]), mode)
                    found[f"{task}/mean {aspect} between raters"] = mean
        for name in (*ASPECTS, *(f"{aspect} between raters" for aspect in ASPECTS if prefix == "")):
            means = [found.get(f"{prefix}{task}/mean {name}", np.nan) for task in TASKS.values()]
            if not np.isnan(means).any():
                found[f"{prefix}all {name}"] = average(np.array(means), mode)
    return found


def score(items: Rated, mode: Mode) -> Mapping[str, float]:
    """Spearman of each metric with SC within systems; averages over systems, and over tasks."""
    found: dict[str, float] = {}
    for metric in items.metrics:
        scored = items.table.drop_nulls(metric)
        means = []
        for (task,), rows in scored.group_by("task", maintain_order=True):
            systems = rows.group_by("system", maintain_order=True)
            rho = [_spearman(group[metric], group["human_sc"]) for _, group in systems]
            means.append(average(np.array(rho), mode))
            found[f"{metric} {task} SC"] = means[-1]
        found[f"{metric} all SC"] = average(np.array(means), mode)
    return found


def _spearman(scores: pl.Series, human: pl.Series) -> float:
    return correlation(scores.cast(pl.Float64).to_numpy(), human.to_numpy(), "spearman")


def _aspects(group: pl.DataFrame, columns: list[str], mode: Mode) -> tuple[float, ...]:
    sc, pq = (np.clip(group[name].to_numpy() / 10, 0, 1) for name in columns)
    overall = np.sqrt(sc * pq)
    if mode == "default":
        overall = overall.round(_DECIMALS)
    humans = (group["human_sc"].to_numpy(), group["human_pq"].to_numpy(), _overall(group, mode))
    return tuple(
        correlation(score, human, "spearman") for score, human in zip((sc, pq, overall), humans, strict=True)
    )


def _overall(table: pl.DataFrame, mode: Mode) -> Array:
    """O of the raters: the mean of their √(SC · PQ).

    Roots are rounded, so that equal means differ in the last bit by the order of the sum, and are then no tie
    for the ranks. By default such means are made equal; in parity mode the order is that of the published
    numbers.
    """
    columns = [[table[f"human_{aspect}_{n}"].to_numpy() for aspect in ("sc", "pq")] for n in RATERS]
    roots = np.sqrt([sc * pq for sc, pq in columns])
    if mode == "default":
        mean: Array = roots.mean(axis=0).round(_DECIMALS)
        return mean
    last = np.array([_LAST_RATER.get(task, 3) for task in table["task"]])
    found = np.empty(len(table))
    for rater in RATERS:
        order = [n for n in RATERS if n != rater] + [rater]
        own = last == rater
        found[own] = np.mean(roots[[n - 1 for n in order]][:, own], axis=0)
    return found


def _between_raters(group: pl.DataFrame, mode: Mode) -> tuple[float, ...]:
    """The average correlation of each rater with the mean of the other two."""
    sc, pq = (np.stack([group[f"human_{aspect}_{n}"] for n in RATERS]) for aspect in ("sc", "pq"))
    found = []
    for ratings in (sc, pq, np.sqrt(sc * pq)):
        others = [np.delete(ratings, rater, axis=0).mean(axis=0) for rater in range(len(RATERS))]
        pairs = zip(ratings, others, strict=True)
        found.append(average(np.array([correlation(*pair, "spearman") for pair in pairs]), mode))
    return tuple(found)


def average(rho: Array, mode: Mode) -> float:
    """Fisher's average of correlations; in parity mode tanh of their mean.

    The function ``average_correlation`` of the notebook takes Fisher's z and is given the correlations.
    """
    return (
        float(np.tanh(rho.mean())) if mode == "parity" else float(mean_coefficient(rho, "fisher", "spearman"))
    )


_CELL_19 = """
Control-Guided_IG/ControlNet .2695 .3846 .2819
Control-Guided_IG/UniControl .4059 .3143 .3277
Control-Guided_IG/mean .3254 .3359 .2957
Mask-Guided_IE/BlendedDiffusion .2487 .224 .1154
Mask-Guided_IE/Glide .4417 .3575 .3965
Mask-Guided_IE/SDInpaint .5325 .3008 .4443
Mask-Guided_IE/SDXLInpaint .6185 .2853 .5481
Mask-Guided_IE/mean .4304 .2839 .3593
Multi-Concept_IC/CustomDiffusion .5476 .3046 .5491
Multi-Concept_IC/DreamBooth .2145 .2928 .1707
Multi-Concept_IC/TextualInversion .3538 -.0053 .3134
Multi-Concept_IC/mean .3557 .1948 .3314
Subject-Driven_IE/BLIPDiffusion_Edit .1841 .3174 .2293
Subject-Driven_IE/DreamEdit .3079 .3328 .2327
Subject-Driven_IE/PhotoSwap .175 .3274 .2198
Subject-Driven_IE/mean .2187 .3148 .2234
Subject-Driven_IG/BLIPDiffusion_Gen .121 -.0779 .1214
Subject-Driven_IG/DreamBooth .3185 .3132 .3062
Subject-Driven_IG/DreamBoothLora .2051 .245 .2093
Subject-Driven_IG/TextualInversion .5521 .2332 .5356
Subject-Driven_IG/mean .2906 .1765 .285
Text-Guided_IE/CycleDiffusion .4387 .5941 .4009
Text-Guided_IE/DiffEdit .1719 .5632 .0947
Text-Guided_IE/InstructPix2Pix .4856 .3684 .4822
Text-Guided_IE/MagicBrush .4689 .4927 .4727
Text-Guided_IE/Pix2PixZero .197 .4698 .2188
Text-Guided_IE/Prompt2prompt .3249 .3611 .3268
Text-Guided_IE/SDEdit .1091 .4078 .1077
Text-Guided_IE/Text2Live .1368 .4136 .1356
Text-Guided_IE/mean .2836 .4291 .2728
Text-Guided_IG/DALLE2 .4783 .1336 .3412
Text-Guided_IG/DeepFloydIF .5528 .0659 .4361
Text-Guided_IG/OpenJourney .5904 .2523 .5538
Text-Guided_IG/SD .6104 .1879 .4544
Text-Guided_IG/SDXL .5974 .292 .5505
Text-Guided_IG/mean .5123 .1842 .4359
all .3322 .2675 .3048
"""
_CELL_23 = """
Control-Guided_IG/ControlNet .6144 .5682 .5868
Control-Guided_IG/UniControl .606 .6062 .5954
Mask-Guided_IE/BlendedDiffusion .5051 .5511 .4224
Mask-Guided_IE/Glide .5894 .553 .5695
Mask-Guided_IE/SDInpaint .659 .5166 .5394
Mask-Guided_IE/SDXLInpaint .6574 .5928 .6556
Multi-Concept_IC/CustomDiffusion .7256 .4838 .7217
Multi-Concept_IC/DreamBooth .6209 .6423 .6222
Multi-Concept_IC/TextualInversion .699 .5803 .698
Subject-Driven_IE/BLIPDiffusion_Edit .5359 .4033 .5051
Subject-Driven_IE/DreamEdit .5867 .2245 .546
Subject-Driven_IE/PhotoSwap .4805 .2961 .4973
Subject-Driven_IG/BLIPDiffusion_Gen .4458 .3263 .439
Subject-Driven_IG/DreamBooth .6452 .3871 .6208
Subject-Driven_IG/DreamBoothLora .3903 .443 .3878
Subject-Driven_IG/TextualInversion .6 .3351 .5686
Text-Guided_IE/CycleDiffusion .5482 .5887 .5891
Text-Guided_IE/DiffEdit .3286 .6214 .4265
Text-Guided_IE/InstructPix2Pix .66 .5955 .6561
Text-Guided_IE/MagicBrush .6219 .519 .6289
Text-Guided_IE/Pix2PixZero .3311 .577 .3327
Text-Guided_IE/Prompt2prompt .588 .5028 .5811
Text-Guided_IE/SDEdit .2657 .4705 .1991
Text-Guided_IE/Text2Live .2675 .5757 .1524
Text-Guided_IG/DALLE2 .5019 .468 .4348
Text-Guided_IG/DeepFloydIF .5635 .3029 .5131
Text-Guided_IG/OpenJourney .5321 .36 .4861
Text-Guided_IG/SD .5979 .2772 .4962
Text-Guided_IG/SDXL .5807 .4992 .5896
"""
_NOTEBOOK = "paper_implementation/analyze_json.ipynb, output of cell"

BENCHMARK = Benchmark(
    name="imagenhub",
    title="ImagenHub's ratings with the judges of VIEScore (Ku et al. 2024, ICLR, arXiv 2310.01596, and ACL, "
    "arXiv 2312.14867)",
    kind="rated",
    holds="generated and edited images with three ratings each, and the scores of ten judges",
    size="5,130 images of 31 systems of seven tasks",
    licence="MIT",
    source=Source(
        "TIGER-AI-Lab/VIEScore",
        "2cbea4e8ce5721425a8772590ecdbe7d2edd1721",
        (f"paper_implementation/{_HUMAN}", "paper_implementation/_answers"),
    ),
    scores=("Spearman within systems of SC, PQ and O", "averages over systems and over tasks"),
    folders=("VIEScore", "viescore_imagenhub"),
    files=(f"paper_implementation/{_HUMAN}", _HUMAN, "viescore_imagenhub.csv"),
    met="annotations",
    read=read,
    compute=compute,
    score=score,
    figures=(
        *figures(_CELL_19, ASPECTS, f"{_NOTEBOOK} 19 (Gemini 1.5 Pro, no examples)", decimals=4),
        *figures(_CELL_23, [f"{aspect} between raters" for aspect in ASPECTS], f"{_NOTEBOOK} 23", decimals=4),
        Figure(
            "all O between raters",
            "0.45",
            "abstract of arXiv 2312.14867",
            reason="the abstract does not say of what; this is O, averaged as in cell 19 of the notebook",
        ),
        *(
            Figure(f"{judge} all {aspect}", None, "not in an output of the repository")
            for judge in JUDGES
            for aspect in ASPECTS
        ),
    ),
    parity="Averages are tanh of the mean of Spearman's correlations, as the notebook takes the correlations "
    "for Fisher's z, over systems and again over tasks; by default they are Fisher's averages. Means of "
    "√(SC · PQ) that are equal but for rounding have different ranks, by the order in which the files of the "
    "raters were listed; by default they are ties.",
)
