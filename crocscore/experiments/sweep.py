"""A search over learning rate, number of samples, epochs and share of negatives, with Optuna.

    croc experiment sweep MODEL --questions questions --checks syn --split validation --trials 30 --out sweep

A trial is one training; its value is the scaled accuracy on the checks, which should not be those of the
final test. The tree-structured Parzen estimator (TPE; Bergstra et al. 2011) suggests the next trial. Trials
are kept in a journal in the output folder: after an interruption the search continues, with the unfinished
trial first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from croc.errors import CrocError, InputError, MissingExtra
from croc.storage.files import atomic, sha256_of, write_json
from croc.tables.readers import read_score_tables
from croc.verdict.evaluation import evaluate_tables
from croc.verdict.report import Settings
from crocscore.experiments.conditions import Condition
from crocscore.experiments.one_run import Setup, count_questions, train_and_score, training_files
from crocscore.experiments.plots import plot_sweep

JOURNAL = "trials.journal"
_ERROR = "error"
RATES, SHARES, EPOCHS, NEGATIVES = (1e-5, 3e-3), (0.1, 1.0), (1, 4), (0.2, 0.8)


class _TrialFailed(Exception):
    """A trial ended with an error that others may not have."""


def run_sweep(setup: Setup, out: str | Path, *, trials: int = 30) -> Path:
    """Search for the settings with the highest scaled accuracy.

    Args:
        setup: of all trials. Its ``steps`` are the most that a trial may have; a trial has as many steps as
            its samples and epochs need. Its learning rate is that of the first trial.
        out: output folder; an interrupted search is resumed.
        trials: number of finished trials, with those of earlier runs of the command.

    Returns:
        The JSON file.

    Raises:
        InputError: the folder contains a search with another setup.
        MissingExtra: Optuna is not installed.
    """
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise MissingExtra("a search over settings", "sweep") from error
    out = Path(out)
    key = {
        "setup": setup.as_json(),
        "questions": [sha256_of(file) for file in training_files(setup.questions)],
        "weights": [sha256_of(file) for file in sorted(Path(setup.model).glob("*.safetensors"))],
    }
    out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(JournalFileBackend(str(out / JOURNAL))),
        study_name="sweep",
        direction="maximize",
        load_if_exists=True,
    )
    stored = study.user_attrs.get("setup")
    known = json.loads(json.dumps(key))
    if stored is None:
        study.set_user_attr("setup", known)
        study.enqueue_trial(
            {"learning_rate": setup.learning_rate, "share": 1.0, "epochs": 1, "negatives": 0.5}
        )
    elif stored != known:
        raise InputError(f"{out} contains a search with another setup; choose another folder")
    state = optuna.trial.TrialState
    for trial in study.get_trials(deepcopy=False, states=[state.RUNNING]):
        study.tell(trial.number, state=state.FAIL)  # killed: nobody works on it any more
    ended = study.get_trials(deepcopy=False, states=[state.FAIL, state.COMPLETE])
    if ended and ended[-1].state == state.FAIL and _ERROR not in ended[-1].user_attrs:
        study.enqueue_trial(ended[-1].params)  # interrupted: its training is resumed
    finished = sum(trial.state == state.COMPLETE or _ERROR in trial.user_attrs for trial in ended)
    study.sampler = optuna.samplers.TPESampler(seed=setup.seed + finished)
    study.optimize(
        partial(_objective, setup=setup, out=out), n_trials=max(0, trials - finished), catch=(_TrialFailed,)
    )
    done = study.get_trials(deepcopy=False, states=[state.COMPLETE])
    failed = [
        {"number": trial.number, **trial.user_attrs, **trial.params}
        for trial in study.get_trials(deepcopy=False, states=[state.FAIL])
        if _ERROR in trial.user_attrs
    ]
    if not done:
        raise CrocError(f"{out}: no trial succeeded; the last error was: {failed[-1][_ERROR]}")
    results = [{"number": trial.number, **trial.user_attrs, **trial.params} for trial in done]
    best = study.best_trial.number
    document = {
        "experiment": "sweep",
        "setup": setup.as_json(),
        "best": next(result for result in results if result["number"] == best),
        "importance": _importance(study) if len(done) > 3 else {},
        "trials": results,
        "failed": failed,
    }
    write_json(out / "sweep.json", document)
    with atomic(out / "sweep.png") as temporary:
        temporary.write_bytes(plot_sweep(results))
    return out / "sweep.json"


def _importance(study: Any) -> Mapping[str, float]:
    """How much of the variation of the results each setting explains (fANOVA; Hutter et al. 2014)."""
    import optuna

    try:
        return dict(optuna.importance.get_param_importances(study))
    except (RuntimeError, ValueError):  # all trials have the same value
        return {}


def _objective(trial: Any, *, setup: Setup, out: Path) -> float:
    """One trial: its value, and its results as attributes."""
    from crocscore.training.evaluation import summarise

    rate = trial.suggest_float("learning_rate", *RATES, log=True)
    condition = Condition(
        "trial",
        share=trial.suggest_float("share", *SHARES),
        negatives=trial.suggest_float("negatives", *NEGATIVES),
    )
    epochs = trial.suggest_int("epochs", *EPOCHS)
    questions = count_questions(setup, condition)
    needed = math.ceil(epochs * questions / setup.batch)
    own = replace(setup, learning_rate=rate, steps=min(setup.steps, needed), minutes=None)
    file = out / "scores" / f"trial-{trial.number:04d}.parquet"
    file.parent.mkdir(exist_ok=True)
    # One folder for all: a trial that is started again has the same settings, and continues the training.
    try:
        train_and_score(condition, own, out / "work", file, name="trial")
    except InputError:  # of every other trial, too
        raise
    except CrocError as error:  # such as a loss that is not a number, at a high learning rate
        trial.set_user_attr(_ERROR, str(error))
        raise _TrialFailed(str(error)) from error
    report = evaluate_tables(read_score_tables([file]), Settings(by=("category",), resamples=0, flips=0))
    found = summarise(report)
    trial.set_user_attr("steps", own.steps)
    trial.set_user_attr("questions", questions)
    trial.set_user_attr("condition", asdict(condition))
    for key in ("scaled", "low", "high"):
        trial.set_user_attr(key, found[key])
    return float(found["scaled"])
