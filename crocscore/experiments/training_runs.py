"""Experiments that train one model under several conditions and evaluate all results on the same checks.

    croc experiment held-out MODEL --questions questions --checks syn --out held-out
    croc experiment learning-curve MODEL --questions questions --checks syn --out curve
    croc experiment label-noise MODEL --questions questions --checks syn --out noise

Each run is a few hundred steps from the same initial model, with one condition changed. With scenes, the
initial model itself is pretrained without the properties in question. A run is a part of
:mod:`croc.jobs.runner`: results are kept, and an interrupted experiment is resumed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from croc.checks.schema import stable_hash
from croc.errors import InputError
from croc.jobs import runner
from croc.jobs.parts import Part
from croc.storage.files import atomic, sha256_of, write_json
from crocscore.experiments.held_out_pretraining import pretrain_without
from crocscore.experiments.plots import ALL, INITIAL, plot_runs

if TYPE_CHECKING:
    import pyarrow as pa

HELD_OUT = ("negation", "counting", "colour", "spatial_relation")
NOISE = (0.0, 0.1, 0.3, 0.5)
SHARES = (0.05, 0.15, 0.4, 1.0)


@dataclass(frozen=True)
class Setup:
    """What the runs of an experiment have in common.

    Attributes:
        model: folder of the initial model.
        questions: folder of questions that ``croc build train`` finished.
        checks: held-out checks; a folder or Hub id.
        split: split of the checks.
        max_checks: maximum number of checks.
        steps: training steps of each run.
        batch: questions per training step.
        learning_rate: highest learning rate; it rises over a tenth of the steps and falls to 0.
        seed: of the training, of the choice of checks and of the flipped labels.
        settings: further keys of a recipe (``use_cpu``, ``bf16``, …).
        scenes: folders of ``croc build scenes``. With them the initial model is a new language model behind
            the tower of ``model``, pretrained without everything that some run leaves out.
        scene_steps: steps of that pretraining. Before its questions, each run is pretrained for a third of
            these steps, without only what it leaves out itself.
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
    scene_steps: int = 1_200


@dataclass(frozen=True)
class Condition:
    """What one run changes in its training questions; by default nothing.

    Attributes:
        name: of the run.
        leave_out: a category or property whose questions are left out.
        share: share of the checks whose questions are kept.
        noise: share of the questions whose answer is flipped.
        train: whether to train; False evaluates the initial model.
    """

    name: str
    leave_out: str | None = None
    share: float = 1.0
    noise: float = 0.0
    train: bool = True


def held_out(names: Sequence[str] = HELD_OUT) -> list[Condition]:
    """The initial model, training on everything, and on everything but one property in turn."""
    without = [Condition(f"without-{name}", leave_out=name) for name in names]
    return [Condition(INITIAL, train=False), Condition(ALL), *without]


def learning_curve(shares: Sequence[float] = SHARES) -> list[Condition]:
    """The initial model, and training on growing shares of the checks; larger shares contain smaller ones."""
    return [
        Condition(INITIAL, train=False),
        *(Condition(f"share-{share:g}", share=share) for share in shares),
    ]


def label_noise(levels: Sequence[float] = NOISE) -> list[Condition]:
    """Training with a share of the answers flipped, as if a generator had drawn the wrong thing."""
    return [Condition(f"noise-{level:g}", noise=level) for level in levels]


EXPERIMENTS: dict[str, Callable[[], list[Condition]]] = {
    "held-out": held_out,
    "learning-curve": learning_curve,
    "label-noise": label_noise,
}


def run(name: str, setup: Setup, out: str | Path, conditions: Sequence[Condition] | None = None) -> Path:
    """Run an experiment; write its numbers and its plot.

    Args:
        name: a key of :data:`EXPERIMENTS`.
        setup: what its runs have in common.
        out: output folder: ``NAME.json`` and ``NAME.png`` are the results, ``runs`` is kept for resuming.
        conditions: its runs; None takes those of the experiment.

    Returns:
        The JSON file.

    Raises:
        InputError: there is no such experiment, or a condition leaves nothing to train on.
        PartsFailed: a run failed; the others are kept.
    """
    if name not in EXPERIMENTS:
        raise InputError(f"unknown experiment {name!r}; expected {', '.join(EXPERIMENTS)} or zero-shot")
    out = Path(out)
    manifest = Path(setup.questions) / "manifest.json"
    conditions = EXPERIMENTS[name]() if conditions is None else conditions
    left_out = [condition.leave_out for condition in conditions if condition.leave_out is not None]
    weights = sorted(Path(setup.model).glob("*.safetensors"))
    scenes = [Path(folder) / "manifest.json" for folder in setup.scenes]
    initial = setup
    if setup.scenes:
        _training_files(setup)  # an error now rather than after the pretraining
        model = pretrain_without(
            setup.model,
            setup.scenes,
            out / INITIAL,
            leave_out=left_out,
            steps=setup.scene_steps,
            seed=setup.seed,
        )
        initial = replace(setup, model=str(model))
    manifest_of_runs = runner.run(
        [Part(condition.name, asdict(condition)) for condition in conditions],
        partial(_run_condition, setup=initial, about=left_out),
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
    runs = [json.loads(file.read_text("utf-8")) for file in manifest_of_runs.files()]
    write_json(out / f"{name}.json", {"experiment": name, "setup": asdict(setup), "runs": runs})
    with atomic(out / f"{name}.png") as temporary:
        temporary.write_bytes(plot_runs(name, runs))
    return out / f"{name}.json"


def change_questions(rows: pa.Table, condition: Condition, seed: int) -> pa.Table:
    """Apply a condition to training questions.

    Args:
        rows: with ``check_id``, ``category``, ``property``, ``label`` and ``pair_id``.
        condition: what to change.
        seed: of the random choice.

    Raises:
        InputError: nothing is left, or no question is about the property to leave out.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if condition.leave_out is not None:
        about = [rows[column].to_pylist() for column in ("category", "property")]
        excluded = [condition.leave_out in names for names in zip(*about, strict=True)]
        if not any(excluded):
            known = sorted({name for names in about for name in names if name})
            raise InputError(
                f"no question is about {condition.leave_out!r}; the questions are about {', '.join(known)}"
            )
        rows = rows.filter(pa.array([not flag for flag in excluded]))
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


def _run_condition(
    payload: Mapping[str, Any], path: Path, *, setup: Setup, about: Sequence[str]
) -> dict[str, Any]:
    """One run: train under a condition, evaluate on the held-out checks, write the results."""
    from crocscore.model import CROCScore
    from crocscore.training.evaluation import evaluate_scorer, select_checks, summarise

    condition = Condition(**payload)
    work = path.with_name(f"{path.name}.work")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        model, questions = setup.model, 0
        if condition.train and setup.scenes:
            pretrained = pretrain_without(
                model,
                setup.scenes,
                work / "pretrained",
                leave_out=[condition.leave_out] if condition.leave_out else [],
                steps=max(1, setup.scene_steps // 3),
                from_scratch=False,
                seed=setup.seed,
            )
            model = str(pretrained)
        if condition.train:
            questions = _write_questions(setup, condition, work / "questions")
            model = str(_train(replace(setup, model=model), work))
        # Only checks about what some run leaves out: max_checks would otherwise leave too few of them.
        checks = select_checks(setup.checks, split=setup.split, at_most=setup.max_checks, about=about)
        scorer = CROCScore.from_pretrained(model, name="crocscore", batch_size=32)
        report = evaluate_scorer(
            scorer, checks, work / "scores", by=("category", "property"), resamples=1_000
        )
        results = {**asdict(condition), "questions": questions, **summarise(report)}
        path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return {"questions": questions}


def _training_files(setup: Setup) -> list[Path]:
    files = sorted(Path(setup.questions).glob("data/train-*.parquet"))
    if not files:
        raise InputError(
            f"{setup.questions} has no data/train-*.parquet; make questions with croc build train"
        )
    return files


def _write_questions(setup: Setup, condition: Condition, folder: Path) -> int:
    """Write the training questions under a condition; gives their number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [pq.read_table(file) for file in _training_files(setup)]
    rows = change_questions(pa.concat_tables(tables), condition, setup.seed)
    (folder / "data").mkdir(parents=True)
    pq.write_table(rows, folder / "data" / "train-00000-of-00001.parquet", row_group_size=256)
    return len(rows)


def _train(setup: Setup, work: Path) -> Path:
    from croc.storage.plain_yaml import dump_yaml
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
    file.write_text(dump_yaml(recipe), "utf-8")
    return train(["--config", str(file)])
