"""Question answering metrics on TIFA160, with five votes per image: Davidsonian Scene Graph (DSG).

Cho et al. 2024, "Davidsonian Scene Graph: Improving Reliability in Fine-grained Evaluation for Text-to-Image
Generation", ICLR, arXiv 2310.18235. A question counts as answered "no" if a question that it depends on is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl

from croc.errors import InputError
from croc.external.benchmark import Benchmark, Mode, Source, figures
from croc.external.files import first_existing, whole_numbers
from croc.external.items import Rated
from croc.external.standard import pooled_scores
from croc.tables.delimited import read_delimited, require_cells, require_columns, to_numbers

ANSWERERS = {"mplug-large": "mplug", "instruct-blip": "instructblip", "pali-17b": "pali17b"}
"""Models that answer the questions, and what files call them."""
QUESTIONS = ("vq2a", "dsg-nodep", "dsg")
"""Questions of VQ2A, and those of DSG without and with dependencies."""
METRICS = tuple(f"{questions}_{model}" for model in ANSWERERS for questions in QUESTIONS)
DEFAULT = "_default"
"""End of the names of columns with scores whose dependencies were all read."""


def read(folder: Path) -> Rated:
    """Read the votes, and the answers to the questions or a table of scores.

    The folder is a clone of the repository, or holds ``tifa160-likert-anns.csv`` and
    ``dsg_tifa160_scores.csv``: ``item_id`` (``SOURCE-ID_MODEL``) and a column per metric, such as
    ``dsg_pali-17b``, computed as the authors do but for images without answers, whose scores are empty.

    Raises:
        InputError: a file or column is missing, or a cell cannot be used.
    """
    table = _votes(first_existing(folder, "dsg/data/tifa160-likert-anns.csv", "tifa160-likert-anns.csv"))
    notes: list[str] = []
    metrics: tuple[str, ...] = METRICS
    if (folder / "vqa_answers_release").is_dir():
        scores, notes = _score_answers(folder)
        metrics = tuple(name for name in scores.columns if name not in ("dsg_item", "t2i_model"))
        table = table.join(scores, on=("dsg_item", "t2i_model"), how="left")
    else:
        file = first_existing(folder, "dsg_tifa160_scores.csv")
        scores = read_delimited(file)
        require_columns(scores, ("item_id", *METRICS), str(file))
        scores = scores.select("item_id", *(to_numbers(scores[name], str(file)) for name in METRICS))
        table = table.join(scores, on="item_id", how="left")
    missing = {metric: table[metric].null_count() for metric in METRICS}
    if some := [f"{metric} {number}" for metric, number in missing.items() if number]:
        notes.append(f"Images without answers: {', '.join(some)}.")
    return Rated.of(table, str(folder), humans=("dsg_likert",), metrics=metrics, left_out=tuple(notes))


def _votes(file: Path) -> pl.DataFrame:
    """The mean vote of each image."""
    votes = read_delimited(file)
    columns = ("item_id", "source_id", "t2i_model", "worker_id", "answer")
    require_columns(votes, columns, str(file))
    require_cells(votes, columns, str(file))
    votes = votes.with_columns(to_numbers(votes["answer"], str(file)))
    return votes.group_by("item_id", "source_id", "t2i_model", maintain_order=True).agg(
        pl.col("answer").mean().alias("dsg_likert"), pl.len().alias("votes")
    ).select(
        pl.concat_str("source_id", pl.lit("_"), "t2i_model").alias("item_id"),
        pl.col("t2i_model").alias("system"),
        pl.col("source_id").alias("prompt"),
        pl.lit(None, pl.String).alias("image"),
        "dsg_likert",
        "votes",
        pl.col("item_id").alias("dsg_item"),
        "t2i_model",
    )  # fmt: skip


def _score_answers(folder: Path) -> tuple[pl.DataFrame, list[str]]:
    """Scores of each image, in the authors' way and with every dependency that can be read."""
    file = first_existing(folder, "dsg/data/dsg-1k-anns.csv")
    graphs, notes = _dependencies(file)
    found: dict[tuple[str, str], dict[str, float]] = {}
    for model, short in ANSWERERS.items():
        for questions in ("vq2a", "dsg"):
            path = first_existing(folder, f"vqa_answers_release/{short}_{questions}.csv")
            answers = read_delimited(path)
            require_columns(answers, ("item_id", "t2i_model", "answer"), str(path))
            if questions == "dsg":
                require_columns(answers, ("question_id",), str(path))
                answers = answers.with_columns(whole_numbers(answers["question_id"], str(path)))
            answers = answers.filter(pl.col("item_id").str.starts_with("tifa160_"))
            for (item, system), group in answers.group_by("item_id", "t2i_model", maintain_order=True):
                right = [answer == "yes" for answer in group["answer"]]
                row = found.setdefault((str(item), str(system)), {})
                share = sum(right) / len(right)
                if questions == "vq2a":
                    row[f"vq2a_{model}"] = share
                    continue
                by_id = dict(zip(group["question_id"], right, strict=True))
                row[f"dsg-nodep_{model}"] = share
                for name, graph in zip((f"dsg_{model}", f"dsg_{model}{DEFAULT}"), graphs, strict=True):
                    row[name] = share_with_parents(by_id, graph.get(str(item), {}))
    if not found:
        raise InputError(f"{folder}/vqa_answers_release: no answers about TIFA160")
    rows = [{"dsg_item": item, "t2i_model": system, **row} for (item, system), row in found.items()]
    return pl.DataFrame(rows, infer_schema_length=None), notes


Graphs = dict[str, dict[int, list[int]]]


def _dependencies(file: Path) -> tuple[tuple[Graphs, Graphs], list[str]]:
    """The questions that each question depends on, in parity mode and by default, by item and question."""
    table = read_delimited(file)
    columns = ("item_id", "proposition_id", "dependency")
    require_columns(table, columns, str(file))
    parity: Graphs = {}
    default: Graphs = {}
    malformed: dict[str, str] = {}
    require_cells(table, columns, str(file))
    table = table.with_columns(whole_numbers(table["proposition_id"], str(file)))
    for item, number, cell in table.select(columns).iter_rows():
        words = [word.strip() for word in cell.split(",")]
        default.setdefault(item, {})[number] = [int(word) for word in words if word.isdigit()]
        if not all(word.isdigit() for word in words) and item.startswith("tifa160_"):
            malformed[item] = f"{item}, question {number}: {cell!r}"
    for item, graph in default.items():
        parity[item] = {} if item in malformed else graph
    notes = (
        [f"Dependencies that are no number left out: {', '.join(malformed.values())}."] if malformed else []
    )
    return (parity, default), notes


def share_with_parents(right: Mapping[int, bool], parents: Mapping[int, list[int]]) -> float:
    """The share of questions that are right and whose parents are right; 0 stands for no parent."""
    passed = [own and all(right.get(p, False) for p in parents.get(q, ()) if p) for q, own in right.items()]
    return sum(passed) / len(passed)


def compute(items: Rated, mode: Mode) -> Mapping[str, float]:
    """The standard scores of the authors' metrics; by default of those that use every dependency."""
    table = items.table
    if mode == "default":
        better = [name for name in METRICS if f"{name}{DEFAULT}" in table.columns]
        table = table.with_columns(pl.col(f"{name}{DEFAULT}").alias(name) for name in better)
    return score(replace(items, table=table, metrics=METRICS), mode)


def score(items: Rated, mode: Mode) -> Mapping[str, float]:
    """Spearman and Kendall tau-b of each metric with the mean vote over all images."""
    if mode == "parity":
        items = replace(items, table=items.table.with_columns(pl.col(items.metrics).fill_null(0.0)))
    return pooled_scores(items, "dsg_likert", ("Spearman", "Kendall"))


_README = """
vq2a_mplug-large .212 .164
dsg-nodep_mplug-large .464 .378
dsg_mplug-large .463 .380
vq2a_instruct-blip .426 .352
dsg-nodep_instruct-blip .436 .355
dsg_instruct-blip .442 .364
vq2a_pali-17b .207 .157
dsg-nodep_pali-17b .570 .457
dsg_pali-17b .571 .458
"""
_TIFA = """
tifa_mplug-large .352 .259
tifa_instruct-blip .460 .360
tifa_pali-17b .431 .323
"""
_SOURCE = "README.md, output of scripts/tifa160_correlation.py"

BENCHMARK = Benchmark(
    name="dsg_tifa160",
    title="Question answering metrics on TIFA160 (Cho et al. 2024, ICLR, arXiv 2310.18235)",
    kind="rated",
    holds="the images of TIFA160 with five votes each, and scores of nine question answering metrics",
    size="800 images of 160 prompts, 3,995 votes",
    licence="Apache-2.0",
    source=Source(
        "j-min/DSG",
        "7330119a39f76ff90e619a8bd3ff321e71aa986b",
        ("dsg/data/tifa160-likert-anns.csv", "dsg/data/dsg-1k-anns.csv", "vqa_answers_release"),
    ),
    scores=("Spearman", "Kendall tau-b"),
    folders=("DSG", "dsg_tifa160_metrics"),
    files=("dsg/data/tifa160-likert-anns.csv", "dsg_tifa160_scores.csv"),
    met="annotations",
    read=read,
    compute=compute,
    score=score,
    figures=(
        *figures(_README, ("Spearman", "Kendall"), _SOURCE, decimals=3),
        *figures(
            _TIFA,
            ("Spearman", "Kendall"),
            _SOURCE,
            decimals=3,
            reason="needs tifa_v1.0_question_answers.json, the answers to TIFA's questions, of Yushi-Hu/tifa",
        ),
    ),
    parity="Images without answers count 0, and a dependency that is no number makes the dependencies of its "
    "whole prompt void; by default such images are left out, and that dependency alone if answers are read.",
)
