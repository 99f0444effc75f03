"""Which samples a model learns most from, at the same number of steps and samples.

    croc experiment samples MODEL --questions questions --checks syn --share 0.25 --out samples

The pool is made once, with label noise if that is asked for; a choice by scorers is only worth its time where
some answers are wrong or some samples teach nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from croc.errors import InputError
from croc.storage.files import read_json, sha256_of, write_json
from crocscore.experiments.conditions import FLIPS, Condition, samples
from crocscore.experiments.one_run import Setup, pool_scores, training_files, write_questions
from crocscore.experiments.sample_choice import AGREEMENT, HARD, STRATEGIES, score_pool
from crocscore.experiments.training_runs import run

SCORERS = ("crocscore", "crocscore-dual")


def run_samples(
    setup: Setup,
    out: str | Path,
    *,
    strategies: Sequence[str] = STRATEGIES,
    share: float = 0.25,
    scorers: Sequence[str] = SCORERS,
    noise: float = 0.0,
    noise_kind: str = FLIPS,
) -> Path:
    """Train on the same number of samples that were chosen in different ways.

    Args:
        setup: of the runs; ``hard`` samples are those with the lowest margins of its model.
        out: output folder; an interrupted experiment is resumed.
        strategies: names of :data:`crocscore.experiments.sample_choice.STRATEGIES`.
        share: of the images of the pool.
        scorers: names of scorers that have to agree with the answers.
        noise: share of label noise in the pool.
        noise_kind: its kind, as for the experiment ``label-noise``.

    Returns:
        The JSON file.

    Raises:
        InputError: an unknown choice, or an agreement of fewer than two scorers.
    """
    out = Path(out)
    if unknown := [name for name in strategies if name not in STRATEGIES]:
        raise InputError(f"no choice of samples is called {unknown[0]!r}; expected {', '.join(STRATEGIES)}")
    if AGREEMENT in strategies and len(set(scorers)) < 2:
        raise InputError("an agreement needs two different scorers")
    pool = out / "pool"
    needed = [*([""] if HARD in strategies else []), *(scorers if AGREEMENT in strategies else [])]
    key = {
        "questions": [sha256_of(file) for file in training_files(setup.questions)],
        "weights": [sha256_of(file) for file in sorted(Path(setup.model).glob("*.safetensors"))],
        "noise": [noise, noise_kind if noise else FLIPS, setup.seed],
        "scorers": list(needed),
    }
    if read_json(pool / "manifest.json", None) != key:  # the runs take its checksum for that of the pool
        shutil.rmtree(pool, ignore_errors=True)
        pool.mkdir(parents=True)
        write_json(pool / "manifest.json", key)
    write_questions(setup, Condition("pool", noise=noise, noise_kind=noise_kind), pool)
    _score(setup, pool, needed)
    setup = replace(setup, questions=str(pool), scorers=tuple(scorers))
    return run("samples", setup, out, samples(strategies, share))


def _score(setup: Setup, pool: Path, scorers: Sequence[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from croc.scorers.registry import load
    from crocscore.model import CROCScore

    rows = pa.concat_tables([pq.read_table(file) for file in training_files(pool)])
    device = {"device": "cpu"} if setup.settings.get("use_cpu") else {}
    for name in scorers:
        file = pool_scores(pool, name)
        file.parent.mkdir(exist_ok=True)
        if not file.is_file():
            scorer: Any = (
                load(name) if name else CROCScore.from_pretrained(setup.model, name="model", **device)
            )
            score_pool(scorer, rows, file)
