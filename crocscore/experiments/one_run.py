"""One run of an experiment: change the questions, train, score the held-out checks. It can be resumed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from croc.checks.schema import stable_hash
from croc.errors import InputError
from croc.storage.files import read_json, write_json
from crocscore.experiments.conditions import Condition, change_questions
from crocscore.experiments.held_out_pretraining import pretrain_without
from crocscore.experiments.image_noise import image_of
from crocscore.experiments.sample_choice import AGREEMENT, HARD, choose, score_pool

CHECKPOINT_MINUTES = 10.0
_KEY = "run.json"


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
        seed: of the first run of each condition: of its training and of its flipped labels.
        seeds: runs of each condition, with consecutive seeds.
        minutes: choose ``steps`` so that a training takes about so long here; None takes ``steps``.
        settings: further keys of a recipe (``use_cpu``, ``bf16``, …).
        scenes: folders of ``croc build scenes``. With them the initial model of all runs is a new language
            model behind the tower of ``model``, pretrained without everything that some run leaves out.
        scene_steps: steps of that pretraining.
        run_scenes: scenes on which each run is pretrained before its questions, without only what it leaves
            out itself; empty takes ``scenes``.
        run_scene_steps: steps of this second pretraining; None takes a third of ``scene_steps``.
        scorers: whose scores of the questions choose samples by agreement, see
            :mod:`crocscore.experiments.samples`.
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
    seeds: int = 3
    minutes: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    scenes: tuple[str, ...] = ()
    scene_steps: int = 1_200
    run_scenes: tuple[str, ...] = ()
    run_scene_steps: int | None = None
    scorers: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The settings as JSON."""
        lists = {name: list(getattr(self, name)) for name in ("scenes", "run_scenes", "scorers")}
        return {**asdict(self), "settings": dict(self.settings), **lists}


def train_and_score(
    condition: Condition, setup: Setup, work: Path, path: Path, *, name: str, about: Sequence[str] = ()
) -> dict[str, Any]:
    """Train under a condition and score the held-out checks; an interrupted run is resumed.

    Args:
        condition: what the run changes.
        setup: with the model to start from, and the seed of this run.
        work: folder for what resuming needs; it is removed at the end.
        path: file of the score table.
        name: of the run, and so of its metric.
        about: categories and properties of the checks to score; empty takes all.

    Returns:
        ``questions``, the number it was trained on, and measures of its training.
    """
    from croc.scoring.run import ScoringSettings, score_dataset
    from crocscore.model import CROCScore
    from crocscore.training.evaluation import select_checks

    key = {"run": stable_hash(asdict(condition), setup.as_json(), list(about))}
    if read_json(work / _KEY, None) != key:  # of another experiment
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    write_json(work / _KEY, key)
    model = setup.model
    counts: dict[str, float] = {"questions": 0}
    if condition.train and setup.scenes:
        pretrained = pretrain_without(
            model,
            setup.run_scenes or setup.scenes,
            work / "pretrained",
            leave_out=[condition.leave_out] if condition.leave_out else [],
            steps=setup.run_scene_steps or max(1, setup.scene_steps // 3),
            from_scratch=False,
            seed=setup.seed,
        )
        model = str(pretrained)
    if condition.train:
        counts |= write_questions(setup, condition, work / "questions")
        trained = train(replace(setup, model=model), condition, work)
        model, counts = str(trained), {**counts, **_last_losses(trained)}
    checks = select_checks(setup.checks, split=setup.split, at_most=setup.max_checks, about=about)
    scorer = CROCScore.from_pretrained(model, name=name, batch_size=32)
    (table,) = score_dataset(checks, [scorer], work / "scores", ScoringSettings(progress=False))
    shutil.copyfile(table, path)
    shutil.rmtree(work, ignore_errors=True)
    return counts


def training_files(folder: str | Path) -> list[Path]:
    """The files of the training questions.

    Raises:
        InputError: there are none.
    """
    files = sorted(Path(folder).glob("data/train-*.parquet"))
    if not files:
        raise InputError(f"{folder} has no data/train-*.parquet; make questions with croc build train")
    return files


def write_questions(setup: Setup, condition: Condition, folder: Path) -> dict[str, int]:
    """Write the training questions under a condition, unless they are there; gives their number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    stored: dict[str, int] | None = read_json(folder / "counts.json", None)
    if stored is not None:
        return stored
    tables = [pq.read_table(file) for file in training_files(setup.questions)]
    rows = pa.concat_tables(tables)
    if condition.samples is None:
        rows = change_questions(rows, condition, setup.seed)
    else:
        names = {HARD: [""], AGREEMENT: setup.scorers}.get(condition.samples, [])
        files = [pool_scores(Path(setup.questions), name) for name in names]
        scores = [score_pool(None, rows, file) for file in files]
        rows = choose(rows, condition.samples, condition.share, setup.seed, scores)
    valid = rows["valid"].to_pylist()
    wrong = {image for image, shown in zip(image_of(rows), valid, strict=True) if shown is False}
    counts = {"questions": len(rows), "wrong_images": len(wrong)}
    (folder / "data").mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, folder / "data" / "train-00000-of-00001.parquet", row_group_size=256)
    write_json(folder / "counts.json", counts)
    return counts


def count_questions(setup: Setup, condition: Condition) -> int:
    """How many training questions a condition leaves; it must not be one about images."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = ["pair_id", "check_id", "category", "property", "label"]
    tables = [pq.read_table(file, columns=columns) for file in training_files(setup.questions)]
    return len(change_questions(pa.concat_tables(tables), condition, setup.seed))


def pool_scores(pool: Path, scorer: str) -> Path:
    """The file of a scorer's scores of a pool; the name "" is that of the initial model."""
    return pool / "scores" / f"{stable_hash(scorer)}.parquet"


def train(setup: Setup, condition: Condition, work: Path) -> Path:
    """Train on the questions in a folder, from the last checkpoint if there is one; gives the model."""
    from croc.storage.plain_yaml import dump_yaml
    from crocscore.training.checkpoints import last_checkpoint
    from crocscore.training.evaluation import CARD
    from crocscore.training.sft import train

    out = work / "model"
    if (out / CARD).is_file():  # written last
        return out
    # A batch of pairs has two questions about each image.
    batch = max(1, setup.batch // 2) if condition.settings.get("paired") else setup.batch
    recipe = {
        "model": setup.model,
        "questions": str(work / "questions"),
        "output_dir": str(out),
        "max_steps": setup.steps,
        "per_device_train_batch_size": batch,
        "learning_rate": setup.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": max(1, setup.steps // 10),
        "gradient_checkpointing": False,
        "bf16": False,
        "logging_steps": max(1, setup.steps // 10),
        "save_strategy": "no",
        "save_total_limit": 1,
        "checkpoint_minutes": CHECKPOINT_MINUTES,
        "report_to": "none",
        "seed": setup.seed,
        **setup.settings,
        **condition.settings,
    }
    if (checkpoint := last_checkpoint(out)) is not None:
        recipe["resume_from_checkpoint"] = str(checkpoint)
    file = work / "recipe.yaml"
    file.write_text(dump_yaml(recipe), "utf-8")
    return train(["--config", str(file)])


def seconds_per_step(setup: Setup, condition: Condition, work: Path, *, steps: int = 10) -> float:
    """How long a training step takes here, from a few steps that are then thrown away."""
    short = replace(setup, steps=steps, settings={**setup.settings, "save_strategy": "no"})
    try:
        write_questions(short, condition, work / "questions")
        history = read_json(train(short, condition, work) / "training.json", "no log of the training")
        (runtime,) = (entry["train_runtime"] for entry in history if "train_runtime" in entry)
        return float(runtime) / steps
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _last_losses(model: Path) -> dict[str, float]:
    """The last losses in the log of a training, by name."""
    from crocscore.training.evaluation import LOG

    history = read_json(model / LOG, "no log of the training")
    names = ("loss", "answer_loss", "pairs_loss")
    return {name: entry[name] for entry in history for name in names if name in entry}
