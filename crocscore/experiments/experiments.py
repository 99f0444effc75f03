"""What a yes/no metric learns from contrast, and what it does not: four experiments, each one command.

    croc experiment held-out stage1 --questions questions --checks syn --out held-out
    croc experiment learning-curve …
    croc experiment label-noise …
    croc experiment zero-shot runs/crocscore --checks runs/nlvr --tifa tifa160 --out runs/zero-shot

The first three train the same start under one changed condition at a time, a few hundred steps each,
and judge every result on the same held-out checks; with scenes, the start itself is trained anew without what
is left out. A run is a part of :mod:`croc.jobs.runner`: what was measured is
kept, and an interrupted experiment goes on.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from croc.checks.schema import stable_hash
from croc.errors import InputError
from croc.jobs import runner
from croc.jobs.parts import Part
from croc.storage.files import atomic, read_json, sha256_of, write_json
from crocscore.experiments.held_out_pretraining import read_anew

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from croc.verdict.report import Report

HELD_OUT = ("negation", "counting", "colour", "spatial_relation")
NOISE = (0.0, 0.1, 0.3, 0.5)
SHARES = (0.05, 0.15, 0.4, 1.0)
ALL = "all"
"""Name of the run that leaves nothing out."""


@dataclass(frozen=True)
class Setup:
    """What the runs of an experiment share.

    Attributes:
        model: folder of the checkpoint that every run starts from.
        questions: folder of questions that ``croc build train`` finished.
        checks: held-out checks; a folder or Hub id.
        split: of the checks.
        max_checks: so many of them at most.
        steps: of training, the same in every run.
        batch: questions a step.
        learning_rate: the highest one; it rises over a tenth of the steps and falls to 0.
        seed: of the training, of which checks are taken and of which labels are flipped.
        settings: further keys of a recipe (``use_cpu``, ``bf16``, …).
        scenes: folders of ``builders/scenes.py``; with them the start is a language model from nothing
            that learns to read behind the tower of ``model``, without all that some run leaves out.
        reading: steps of that; a third of them more teach it, before the questions of a run, all but
            what this run leaves out.
    """

    model: str
    questions: str
    checks: str
    split: str | None = "test"
    max_checks: int = 400
    steps: int = 200
    batch: int = 32
    learning_rate: float = 3e-4
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    scenes: tuple[str, ...] = ()
    reading: int = 1_200


@dataclass(frozen=True)
class Condition:
    """What one run changes in its training questions; nothing by default.

    Attributes:
        name: of the run.
        leave_out: a category or property whose questions are left out.
        share: of the checks of the training questions that is kept.
        noise: share of the training questions whose answer is flipped.
        train: False judges the start as it is.
    """

    name: str
    leave_out: str | None = None
    share: float = 1.0
    noise: float = 0.0
    train: bool = True


def held_out(names: Sequence[str] = HELD_OUT) -> list[Condition]:
    """The start, everything, and each property left out of training in turn."""
    left = [Condition(f"without-{name}", leave_out=name) for name in names]
    return [Condition("start", train=False), Condition(ALL), *left]


def learning_curve(shares: Sequence[float] = SHARES) -> list[Condition]:
    """The start, and training on growing shares of the checks; the smaller ones are part of the larger."""
    return [
        Condition("start", train=False),
        *(Condition(f"share-{share:g}", share=share) for share in shares),
    ]


def label_noise(levels: Sequence[float] = NOISE) -> list[Condition]:
    """Training with a share of the answers flipped, as a generator that draws the wrong thing would."""
    return [Condition(f"noise-{level:g}", noise=level) for level in levels]


NAMES: dict[str, Callable[[], list[Condition]]] = {
    "held-out": held_out,
    "learning-curve": learning_curve,
    "label-noise": label_noise,
}


def run(name: str, setup: Setup, out: str | Path, conditions: Sequence[Condition] | None = None) -> Path:
    """Run an experiment and write its numbers and plot.

    Args:
        name: one of :data:`NAMES`.
        setup: what its runs share.
        out: folder; ``NAME.json`` and ``NAME.png`` are what is to be looked at, ``runs`` what makes it
            resumable.
        conditions: its runs; None is the experiment as it is.

    Returns:
        The JSON file.

    Raises:
        InputError: there is no such experiment, or a condition leaves nothing to train on.
        PartsFailed: a run failed; the others are kept.
    """
    if name not in NAMES:
        raise InputError(f"there is no experiment {name!r}; there are {', '.join(NAMES)} and zero-shot")
    out = Path(out)
    manifest = Path(setup.questions) / "manifest.json"
    conditions = NAMES[name]() if conditions is None else conditions
    left = [each.leave_out for each in conditions if each.leave_out is not None]
    work = [Part(each.name, asdict(each)) for each in conditions]
    weights = sorted(Path(setup.model).glob("*.safetensors"))
    scenes = [Path(folder) / "manifest.json" for folder in setup.scenes]
    start = setup
    if setup.scenes:
        _train_files(setup)  # what is missing is said before the long reading
        read = partial(read_anew, leave_out=left, steps=setup.reading, seed=setup.seed)
        start = replace(setup, model=str(read(setup.model, setup.scenes, out / "start")))
    made = runner.run(
        work,
        partial(_measure, setup=start, judged=left),
        out / "runs",
        suffix=".json",
        fingerprint={
            "experiment": name,
            "setup": {**asdict(setup), "settings": dict(setup.settings), "scenes": list(setup.scenes)},
            "weights": [sha256_of(file) for file in weights],
            "questions": sha256_of(manifest) if manifest.is_file() else None,
            "scenes": [sha256_of(file) for file in scenes if file.is_file()],
        },
        what="runs",
    )
    runs = [json.loads(file.read_text("utf-8")) for file in made.files()]
    write_json(out / f"{name}.json", {"experiment": name, "setup": asdict(setup), "runs": runs})
    with atomic(out / f"{name}.png") as temporary:
        temporary.write_bytes(plot(name, runs))
    return out / f"{name}.json"


def changed(rows: pa.Table, condition: Condition, seed: int) -> pa.Table:
    """Training questions under a condition.

    Args:
        rows: with ``check_id``, ``category``, ``property``, ``label`` and ``pair_id``.
        condition: what to change.
        seed: of the choice.

    Raises:
        InputError: nothing is left, or the property to leave out is in no question.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if condition.leave_out is not None:
        places = [rows[column].to_pylist() for column in ("category", "property")]
        mine = [condition.leave_out in where for where in zip(*places, strict=True)]
        if not any(mine):
            known = sorted({name for where in places for name in where if name})
            raise InputError(
                f"no question is about {condition.leave_out!r}; the questions are about {', '.join(known)}"
            )
        rows = rows.filter(pa.array([not each for each in mine]))
    if condition.share < 1:
        checks = sorted(set(rows["check_id"].to_pylist()), key=lambda name: stable_hash("share", seed, name))
        kept = checks[: round(condition.share * len(checks))]
        rows = rows.filter(pc.is_in(rows["check_id"], value_set=pa.array(kept, pa.string())))
    if not len(rows):
        raise InputError(f"{condition.name}: no question is left to train on")
    if condition.noise:
        order = sorted(
            range(len(rows)), key=lambda row: stable_hash("noise", seed, rows["pair_id"][row].as_py())
        )
        flipped = set(order[: round(condition.noise * len(rows))])
        labels = [label != (row in flipped) for row, label in enumerate(rows["label"].to_pylist())]
        rows = rows.set_column(rows.schema.get_field_index("label"), "label", pa.array(labels))
    return rows


def _measure(
    payload: Mapping[str, Any], path: Path, *, setup: Setup, judged: Sequence[str]
) -> dict[str, Any]:
    """One run: train under a condition, judge on the held-out checks, write the verdict."""
    from crocscore.model import CROCScore
    from crocscore.training import held_out as watch

    condition = Condition(**payload)
    work = path.with_name(f"{path.name}.work")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        model, questions = setup.model, 0
        if condition.train and setup.scenes:
            taught = work / "reader"
            left = [condition.leave_out] if condition.leave_out else []
            read_on = partial(read_anew, anew=False, leave_out=left, steps=max(1, setup.reading // 3))
            model = str(read_on(model, setup.scenes, taught, seed=setup.seed))
        if condition.train:
            questions = _questions(setup, condition, work / "questions")
            model = str(_train(replace(setup, model=model), work))
        # What no run leaves out would only make the checks of what they do fewer.
        checks = watch.held_out(setup.checks, split=setup.split, at_most=setup.max_checks, about=judged)
        scorer = CROCScore.from_pretrained(model, name="crocscore", batch_size=32)
        report = watch.verdict(scorer, checks, work / "scores", by=("category", "property"), resamples=1_000)
        verdict = {**asdict(condition), "questions": questions, **summary(report)}
        path.write_text(json.dumps(verdict, indent=1, ensure_ascii=False) + "\n", "utf-8")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return {"questions": questions}


def summary(report: Report) -> dict[str, Any]:
    """The verdict on one metric as JSON: the directions, and the mean of each group with its interval."""
    directions = {
        each.direction: {"scaled": each.scaled, "low": each.scaled_ci_low, "high": each.scaled_ci_high}
        for each in report.results
        if each.group is None and each.text_model is None
    }
    groups = [
        {
            "group": each.group,
            "value": each.group_value,
            "scaled": each.scaled,
            "low": each.ci_low,
            "high": each.ci_high,
            "checks": each.n,
        }
        for each in report.scores
    ]
    whole = next(each for each in groups if each["group"] is None)
    return {
        "scaled": whole["scaled"],
        "low": whole["low"],
        "high": whole["high"],
        "checks": report.checks,
        "directions": directions,
        "groups": [each for each in groups if each["group"] is not None],
        "signature": str(report.signatures[report.metrics[0]]),
    }


def _train_files(setup: Setup) -> list[Path]:
    files = sorted(Path(setup.questions).glob("data/train-*.parquet"))
    if not files:
        raise InputError(f"{setup.questions}: no data/train-*.parquet; make questions with croc build train")
    return files


def _questions(setup: Setup, condition: Condition, folder: Path) -> int:
    """Write the training questions under a condition; gives their number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = _train_files(setup)
    rows = changed(pa.concat_tables([pq.read_table(file) for file in files]), condition, setup.seed)
    (folder / "data").mkdir(parents=True)
    pq.write_table(rows, folder / "data" / "train-00000-of-00001.parquet", row_group_size=256)
    return len(rows)


def _train(setup: Setup, work: Path) -> Path:
    import yaml

    from crocscore.training.sft import train

    recipe = {
        "model": setup.model,
        "questions": str(work / "questions"),
        "output_dir": str(work / "model"),
        "max_steps": setup.steps,
        "per_device_train_batch_size": setup.batch,
        "learning_rate": setup.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": max(1, setup.steps // 10),
        "gradient_checkpointing": False,
        "bf16": False,
        "logging_steps": max(1, setup.steps // 10),
        "save_strategy": "no",
        "report_to": "none",
        "seed": setup.seed,
        **setup.settings,
    }
    file = work / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe), "utf-8")
    return train(["--config", str(file)])


# ---- Out of its world ----


def zero_shot(
    scorer: Any,
    out: str | Path,
    *,
    checks: Any = None,
    split: str | None = None,
    ratings: str | Path | None = None,
    max_checks: int | None = None,
) -> Path:
    """Judge a scorer on what people said about images that it was not trained for.

    Args:
        scorer: any scorer.
        out: folder of ``zero-shot.json`` and ``zero-shot.png``.
        checks: folder, Hub id or dataset of checks with human labels, such as ``croc build nlvr`` makes.
            Directions that they have no data for, such as NLVR's text directions, are null.
        split: split of the checks, where there are several.
        ratings: folder of TIFA160: ``images/`` and ``human_annotations_with_scores.json``.
        max_checks: so many checks at most.

    Returns:
        The JSON file.

    Raises:
        InputError: neither checks nor ratings are given, or they cannot be read.
    """
    from crocscore.training import held_out as watch

    if checks is None and ratings is None:
        raise InputError("zero-shot: name checks (--checks) or ratings (--tifa)")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"experiment": "zero-shot", "scorer": scorer.name, "fields": scorer.fields()}
    if checks is not None:
        rows = watch.held_out(checks, split=split, at_most=max_checks)
        found["checks"] = summary(watch.verdict(scorer, rows, out / "scores", resamples=2_000))
        watch.clear(out / "scores")
    if ratings is not None:
        found["ratings"] = _correlations(scorer, Path(ratings))
    write_json(out / "zero-shot.json", found)
    with atomic(out / "zero-shot.png") as temporary:
        temporary.write_bytes(_zero_shot_plot(found))
    return out / "zero-shot.json"


def tifa160(folder: Path, scorer: Any) -> pl.DataFrame:
    """The pair table of TIFA160 with a scorer's column beside those of the release.

    Raises:
        InputError: the folder does not hold the release.
    """
    import numpy as np
    import polars as pl

    from croc.checks.decoding import decode, to_bytes

    items = read_json(folder / "human_annotations_with_scores.json", "no human_annotations_with_scores.json")
    names = sorted(items)
    scores = np.full(len(names), np.nan)
    for start in range(0, len(names), 64):
        some = names[start : start + 64]
        images = [decode(to_bytes(folder / "images" / f"{name}.jpg")) for name in some]
        scores[start : start + 64] = scorer.score(images, [items[name]["text"] for name in some])
    rows = [
        {
            "item_id": name,
            "system": name.removeprefix(items[name]["text_id"] + "_"),
            "prompt": items[name]["text_id"],
            **{key: value for key, value in items[name].items() if isinstance(value, float)},
            scorer.name: float(score),
        }
        for name, score in zip(names, scores, strict=True)
    ]
    return pl.DataFrame(rows)


_BESIDE = ("clipscore_vitb32", "tifa_mplug-large")


def _correlations(scorer: Any, folder: Path) -> list[dict[str, Any]]:
    from croc.ratings.correlation import correlate

    table = tifa160(folder, scorer)
    beside = [name for name in _BESIDE if name in table.columns]
    told = correlate(table, ["human_avg"], cluster="prompt", metrics=[scorer.name, *beside], resamples=1_000)
    return [
        {key: value for key, value in asdict(each).items() if key != "signature"} for each in told.results
    ]


# ---- Plots ----


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _group(entry: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """The mean on a category, or on a property where no category is called so."""
    for column in ("category", "property"):
        for each in entry["groups"]:
            if each["group"] == column and each["value"] == name:
                return dict(each)
    return None


def _spread(cells: Sequence[Any]) -> list[list[float]]:
    """How far the intervals of cells reach below and above; 0 where there is none."""
    keys = ("scaled", "low", "high")
    known = [cell if cell and None not in [cell[key] for key in keys] else None for cell in cells]
    return [
        [max(0.0, cell["scaled"] - cell["low"]) if cell else 0.0 for cell in known],
        [max(0.0, cell["high"] - cell["scaled"]) if cell else 0.0 for cell in known],
    ]


def _bars(axes: Any, places: Iterable[float], cells: Sequence[Any], label: str, width: float) -> None:
    """Bars with intervals; what was not measured has none."""
    values = [cell["scaled"] if cell and cell["scaled"] is not None else 0.0 for cell in cells]
    axes.bar(list(places), values, width, yerr=_spread(cells), capsize=2, label=label)


def plot(name: str, runs: Sequence[Mapping[str, Any]]) -> bytes:
    """The plot of an experiment; a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="grey", linewidth=0.8, linestyle=":")
    axes.set_ylabel("scaled accuracy")
    if name == "held-out":
        _held_out_plot(axes, runs)
    else:
        key, label = ("questions", "questions") if name == "learning-curve" else ("noise", "answers flipped")
        _lines_plot(axes, runs, key)
        axes.set_xlabel(label)
        if name == "learning-curve":
            axes.set_xscale("log")
    axes.legend(frameon=False, fontsize="small", ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return _png(figure)


def _lines_plot(axes: Any, runs: Sequence[Mapping[str, Any]], key: str) -> None:
    from croc.verdict.report import NO_VALUE

    shown = [each for each in runs if each["train"]]
    # The start has no place on a logarithm's axis: it is a line across.
    for each in runs:
        if not each["train"]:
            axes.axhline(each["scaled"], color="black", linestyle="--", linewidth=1, label="before training")
    at = [each[key] for each in shown]
    named = {cell["value"] for run in shown for cell in run["groups"] if cell["group"] == "category"}
    for name in sorted(named):
        cells = [_group(run, name) for run in shown]
        values = [cell["scaled"] if cell else None for cell in cells]
        label = "others" if name == NO_VALUE else name.replace("_", " ")
        axes.plot(at, values, linewidth=1, marker=".", label=label)
    means = [each["scaled"] for each in shown]
    axes.errorbar(at, means, _spread(shown), color="black", linewidth=2, capsize=3, label="all")


def _held_out_plot(axes: Any, runs: Sequence[Mapping[str, Any]]) -> None:
    left = [each for each in runs if each["leave_out"]]
    names = [each["leave_out"] for each in left]
    series = [
        *(
            (label, [_group(each, name) for name in names])
            for label, wanted in (("before training", "start"), ("trained on everything", ALL))
            for each in runs
            if each["name"] == wanted
        ),
        ("trained without it", [_group(each, each["leave_out"]) for each in left]),
    ]
    width = 0.8 / len(series)
    for number, (label, cells) in enumerate(series):
        _bars(axes, [place + (number - 1) * width for place in range(len(names))], cells, label, width)
    axes.set_xticks(range(len(names)), [name.replace("_", " ") for name in names])


def _zero_shot_plot(found: Mapping[str, Any]) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    directions = {
        name.replace("_", "\n"): cell
        for name, cell in found.get("checks", {}).get("directions", {}).items()
        if cell["scaled"] is not None
    }
    left.set_title("human-labelled checks")
    left.set_ylabel("scaled accuracy")
    _bars(left, range(len(directions)), list(directions.values()), "", 0.5)
    left.set_xticks(range(len(directions)), list(directions))
    left.set_xlim(-1, max(1, len(directions)))
    taus = [each for each in found.get("ratings", []) if each["kind"] == "kendall"]
    cells = [{"scaled": each["value"], "low": each["ci_low"], "high": each["ci_high"]} for each in taus]
    right.set_title("human ratings")
    right.set_ylabel("Kendall's tau-b")
    _bars(right, range(len(cells)), cells, "", 0.5)
    right.set_xticks(
        range(len(cells)), [each["metric"].replace("_", "\n") for each in taus], fontsize="small"
    )
    for axes in (left, right):
        axes.axhline(0, color="grey", linewidth=0.8, linestyle=":")
    return _png(figure)
