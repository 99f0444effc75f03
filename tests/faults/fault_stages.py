"""The stages of the program as commands, and the good input of all of them, made by commands.

A stage is a row of the table ``STAGES``. The faults in ``test_faults.py`` are applied to every row.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from hum_items import vote_on_all
from release_files import HEADER, LINES, PICTURES, tar

from croc_hum.schema import read_items
from croc_hum.votes.store import Settings, Store
from crocscore.model import WEIGHTS

OUT = "OUT"
"""Stands in a command line for the folder that the command writes to."""


@dataclass(frozen=True)
class Stage:
    """A command that writes files.

    Attributes:
        name: of the command.
        command: words, with paths relative to the folder of inputs, and ``OUT``.
        on_cluster: ``--executor ray`` makes its parts on Ray; prompts without a language model are made here.
        copies: a folder among the inputs that the command changes, and that is copied to ``OUT`` first.
    """

    name: str
    command: str
    on_cluster: bool = False
    copies: str | None = None

    def words(self, out: Path) -> list[str]:
        return [word.replace(OUT, str(out)) for word in self.command.split()]


_FEW = "--resamples 20 --permutations 20"

STAGES = (
    Stage("prompts", f"prompts exact --checks 60 --set text.checks_per_part=1 --out {OUT}/x"),
    Stage("images", f"images prompts --set images.count=2 --set images.size=64 --out {OUT}/x", True),
    Stage("build syn", f"build syn --checks 16 --images 2 --size 64 --out {OUT}/x", on_cluster=True),
    Stage("build staged", f"build staged syn images --out {OUT}/x"),
    Stage("build hum", f"build hum --from-release release --out {OUT}/x"),
    Stage("build train", f"build train split --out {OUT}/x"),
    Stage("build scenes", f"build scenes --images 30 --out {OUT}/x"),
    Stage("score", f"score checks --scorer random --scorer colour-words --out {OUT}/x", True),
    Stage("score-images", f"score-images pictures --prompt a --scorer random --out {OUT}/x.csv"),
    Stage("scores export", f"scores export checks --out {OUT}/x"),
    Stage("scores import", f"scores import pairs outside.jsonl --name outside --out {OUT}/x"),
    Stage("evaluate", f"evaluate scores {_FEW} --json {OUT}/x.json --html {OUT}/x.html --latex {OUT}/x.tex"),
    Stage("correlate", f"correlate ratings.csv --human human {_FEW} --json {OUT}/x.json"),
    Stage("results create", f"results create scores/random.parquet --out {OUT}/x"),
    Stage(
        "results verify",
        "results verify results/random.json --table scores/random.parquet --dataset checks "
        f"--rescore 2 --seed 1 --record {OUT}/verified.json",
    ),
    Stage("leaderboard", f"leaderboard results --html {OUT}/x.html"),
    Stage("sheet", f"sheet checks --checks 4 -o {OUT}/x.png"),
    Stage(
        "hum candidates",
        f"hum candidates --from-build checks --checks 6 --images 1 --attention 2 --out {OUT}/x",
    ),
    Stage("hum votes", f"hum votes votes.sqlite --out {OUT}/x.parquet"),
    Stage("hum agreement", f"hum agreement votes.parquet --items sample --resamples 20 --json {OUT}/x.json"),
    Stage("hum release", f"hum release votes.parquet --items sample --min-votes 1 --out {OUT}/x"),
    Stage("import-checkpoint", f"import-checkpoint phi4 --out {OUT}/x"),
    Stage(
        "calibrate",
        f"calibrate {OUT}/model --questions questions --max-questions 60 --device cpu",
        copies="model",
    ),
)  # fmt: skip


def croc(words: list[str], cwd: Path, before: Sequence[str] = (), **more: str) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, behind the words of another program."""
    return subprocess.Popen(
        [*before, sys.executable, "-m", "croc", *words],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "1000", **more},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def make_inputs(folder: Path) -> Path:
    """Make what the stages read."""
    folder.mkdir(parents=True)
    for command in (
        "build syn --checks 10 --images 2 --size 48 --out checks",
        "build syn --checks 12 --images 1 --size 48 --train 0.7 --validation 0.15 --out split",
        "prompts exact --checks 12 --set text.checks_per_part=2 --out prompts",
        "images prompts --set images.count=2 --set images.size=64 --out images",
        "build train split --out questions",
        "score checks --scorer random --out scores",
        "results create scores/random.parquet --out results",
        "scores export checks --out pairs",
        "hum candidates --from-build checks --checks 6 --images 1 --attention 2 --out sample",
    ):
        _run(command, folder)
    _write_tables(folder)
    _write_votes(folder)
    _run("hum votes votes.sqlite --out votes.parquet", folder)
    _write_models(folder)
    return folder


def _run(command: str, folder: Path) -> None:
    process = croc(command.split(), folder)
    errors = process.communicate()[1]
    assert process.returncode == 0, (command, errors)


def _write_tables(folder: Path) -> None:
    lines = (folder / "pairs" / "pairs.jsonl").read_text().splitlines()
    scores = [{"pair_id": json.loads(line)["pair_id"], "score": n % 5 / 5} for n, line in enumerate(lines)]
    (folder / "outside.jsonl").write_text("".join(json.dumps(score) + "\n" for score in scores))
    pl.DataFrame(
        {
            "item_id": [f"i{n}" for n in range(24)],
            "prompt": [f"prompt {n // 4}" for n in range(24)],
            "system": [f"s{n % 4}" for n in range(24)],
            "human": [float(n * 5 % 7) for n in range(24)],
            "metric": [n * 3 % 11 / 10 for n in range(24)],
        }
    ).write_csv(folder / "ratings.csv")
    (folder / "release").mkdir()
    (folder / "release" / "croc_hum.tsv").write_text("\n".join([HEADER, *LINES]) + "\n")
    tar(folder / "release" / "images.tar.gz", PICTURES.items())
    (folder / "pictures").mkdir()
    for number, content in enumerate(PICTURES.values()):
        (folder / "pictures" / f"{number}.png").write_bytes(content)


def _write_votes(folder: Path) -> None:
    store = Store(folder / "votes.sqlite", Settings())
    store.add_items(read_items(folder / "sample"))
    for _ in range(3):
        vote_on_all(store, store.add_annotator().code)
    store.close()


def _write_models(folder: Path) -> None:
    import microsoft_phi4

    microsoft_phi4.write(folder / "phi4")
    shutil.copytree(WEIGHTS, folder / "model")


_OF_ONE_RUN = ("records", "failed", "session.json")


def content(out: Path) -> dict[str, bytes]:
    """What a command wrote, by path: all but hidden files and what describes the run itself."""
    found: dict[str, bytes] = {}
    for path in sorted(out.rglob("*")):
        parts = path.relative_to(out).parts
        if path.is_file() and not any(part.startswith(".") or part in _OF_ONE_RUN for part in parts):
            found["/".join(parts)] = path.read_bytes()
    return found
