"""Experiments that train one model under several conditions and evaluate all results on the same checks.

    croc experiment held-out MODEL --questions questions --checks syn --out held-out
    croc experiment learning-curve MODEL --questions questions --checks syn --out curve
    croc experiment label-noise MODEL --questions questions --checks syn --out noise

Each run is a few hundred steps from the same initial model, with one condition changed; every condition is
run with several seeds. With scenes, the initial model itself is pretrained without the properties in
question, once for all runs. A run is a part of :mod:`croc.jobs.runner`: its score table is kept, and an
interrupted experiment is resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from croc.errors import InputError
from croc.jobs import runner
from croc.jobs.parts import Part
from croc.storage.files import atomic, read_json, sha256_of, write_json
from croc.tables.readers import read_score_tables
from croc.verdict.evaluation import evaluate_tables
from croc.verdict.report import Settings
from crocscore.experiments.conditions import (
    NO_NOISE,
    Condition,
    held_out,
    label_noise,
    learning_curve,
    objective,
    samples,
)
from crocscore.experiments.held_out_pretraining import pretrain_without
from crocscore.experiments.one_run import Setup, seconds_per_step, train_and_score, training_files
from crocscore.experiments.plots import ALL, INITIAL, plot_runs
from crocscore.experiments.sample_choice import RANDOM
from crocscore.experiments.seed_means import BY, Runs
from crocscore.training.paired import ANSWER

EXPERIMENTS: dict[str, Callable[[], list[Condition]]] = {
    "held-out": held_out,
    "learning-curve": learning_curve,
    "label-noise": label_noise,
    "objective": objective,
    "samples": samples,
}
BASELINES = {
    "held-out": ALL,
    "learning-curve": "share-1",
    "label-noise": NO_NOISE,
    "objective": ANSWER,
    "samples": RANDOM,
}
"""The condition that the others of an experiment are compared with."""

SPEED = "speed.json"


def run(name: str, setup: Setup, out: str | Path, conditions: Sequence[Condition] | None = None) -> Path:
    """Run an experiment; write its numbers and its plot.

    Args:
        name: a key of :data:`EXPERIMENTS`.
        setup: what its runs have in common.
        out: output folder: ``NAME.json`` and ``NAME.png`` are the results, ``runs`` has the score tables.
        conditions: its conditions; None takes those of the experiment.

    Returns:
        The JSON file.

    Raises:
        InputError: there is no such experiment, a condition leaves nothing to train on, or the runs have
            scenes and the initial model has none.
        PartsFailed: a run failed; the others are kept.
    """
    if name not in EXPERIMENTS:
        *others, last = EXPERIMENTS
        raise InputError(f"unknown experiment {name!r}; expected {', '.join(others)} or {last}")
    if (setup.run_scenes or setup.run_scene_steps) and not setup.scenes:
        raise InputError("scenes for the runs need scenes for the initial model: add --scenes")
    out = Path(out)
    conditions = EXPERIMENTS[name]() if conditions is None else conditions
    left_out = [condition.leave_out for condition in conditions if condition.leave_out is not None]
    training_files(setup.questions)  # an error now rather than after a pretraining
    setup = with_measured_steps(setup, conditions, out)
    initial = Path(setup.model)
    if setup.scenes:
        initial = pretrain_without(
            initial, setup.scenes, out / INITIAL, leave_out=left_out, steps=setup.scene_steps, seed=setup.seed
        )
    planned = _plan(conditions, setup)
    made = runner.run(
        [
            Part(part, {"condition": asdict(condition), "seed": seed})
            for part, (condition, seed) in planned.items()
        ],
        partial(_make_run, setup=setup, initial=initial, about=left_out, work=out / "work"),
        out / "runs",
        suffix=".parquet",
        fingerprint={
            "experiment": name,
            "setup": setup.as_json(),
            "weights": [sha256_of(file) for file in sorted(Path(setup.model).glob("*.safetensors"))],
            "questions": _checksum(setup.questions),
            "scenes": [_checksum(folder) for folder in (*setup.scenes, *setup.run_scenes)],
        },
        what="runs",
    )
    return write_results(name, setup, out, planned, made)


def _seeds(setup: Setup) -> range:
    return range(setup.seed, setup.seed + setup.seeds)


def _plan(conditions: Sequence[Condition], setup: Setup) -> dict[str, tuple[Condition, int]]:
    """The runs by name; what is not trained at all has only one."""
    return {
        f"{condition.name}-seed-{seed}": (condition, seed)
        for condition in conditions
        for seed in (_seeds(setup) if condition.train else [setup.seed])
    }


def _checksum(folder: str) -> str | None:
    manifest = Path(folder) / "manifest.json"
    return sha256_of(manifest) if manifest.is_file() else None


def with_measured_steps(setup: Setup, conditions: Sequence[Condition], out: Path) -> Setup:
    """The setup with as many steps as fit into its minutes; all runs have the same number.

    The speed is measured once and kept, so that a resumed experiment has the same steps.
    """
    trained = [condition for condition in conditions if condition.train]
    if setup.minutes is None or not trained:
        return setup
    measured = read_json(out / SPEED, None)
    if measured is None:
        seconds = seconds_per_step(setup, trained[0], out / "work" / "speed")
        steps = max(1, int(60 * setup.minutes / seconds))
        measured = {"minutes": setup.minutes, "seconds_per_step": seconds, "steps": steps}
        write_json(out / SPEED, measured)
    if measured["minutes"] != setup.minutes:
        raise InputError(
            f"{out} has an experiment with {measured['minutes']:g} minutes per run; choose another folder"
        )
    return replace(setup, steps=measured["steps"])


def _make_run(
    payload: Mapping[str, Any],
    path: Path,
    *,
    setup: Setup,
    initial: Path,
    about: Sequence[str],
    work: Path,
) -> dict[str, Any]:
    """One run: train under a condition, and write the score table on the held-out checks."""
    condition, seed = Condition(**payload["condition"]), payload["seed"]
    name = f"{condition.name}-seed-{seed}"
    own = replace(setup, model=str(initial), seed=seed, minutes=None)
    return train_and_score(condition, own, work / name, path, name=name, about=about)


def write_results(
    name: str,
    setup: Setup,
    out: Path,
    planned: Mapping[str, tuple[Condition, int]],
    made: runner.Manifest,
) -> Path:
    """Write the JSON file and the plot of an experiment.

    Args:
        name: of the experiment.
        setup: of its runs.
        out: the folder.
        planned: condition and seed of each run.
        made: the score tables of the runs, with the measures of their training.
    """
    from crocscore.training.evaluation import summarise

    tables = {
        part["name"]: read_score_tables([made.folder / part["file"]], groups=BY)[0] for part in made.parts
    }
    counts = {part["name"]: part["counts"] for part in made.parts}
    together = Runs(tables)
    runs, conditions = [], []
    of_condition: dict[str, list[str]] = {}
    for part, (condition, seed) in planned.items():
        of_condition.setdefault(condition.name, []).append(part)
        report = evaluate_tables([tables[part]], Settings(by=BY, resamples=0, flips=0))
        runs.append({**asdict(condition), "seed": seed, **counts[part], **summarise(report)})
    for condition in {condition.name: condition for condition, _ in planned.values()}.values():
        mine = of_condition[condition.name]
        found = {**asdict(condition), "seeds": len(mine), "questions": counts[mine[0]]["questions"]}
        found |= together.mean(mine)
        baseline = BASELINES[name]
        if baseline in of_condition and condition.name != baseline:
            found["difference"] = {"to": baseline, **together.difference(mine, of_condition[baseline])}
        conditions.append(found)
    results = {"experiment": name, "setup": setup.as_json(), "conditions": conditions, "runs": runs}
    write_json(out / f"{name}.json", results)
    with atomic(out / f"{name}.png") as temporary:
        temporary.write_bytes(plot_runs(name, conditions))
    return out / f"{name}.json"
