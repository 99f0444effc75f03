"""The price of not having seen something: nouns, values, sentence frames or compositions that are held out.

    croc experiment held-out-world MODEL --with all --without seen --test nouns=test-nouns --out world

From the tower of MODEL, language models are pretrained on scenes that contain none of what is held out, and
others on scenes that contain everything, with the same tokenizer and number of steps. Both are evaluated on
the same checks, such as those of ``croc build syn --hold-out … --held-out-only``. The difference is what not
having seen it costs; on checks of what both have seen it should be small. Dual encoders can be trained in
place of language models: with the same tower, scenes and steps, only the way differs in which image and text
meet.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from croc.checks.manifest import read_dataset_manifest
from croc.errors import InputError
from croc.jobs import runner
from croc.jobs.parts import Part
from croc.storage.files import atomic, sha256_of, write_json
from croc.tables.readers import read_score_tables
from crocscore.experiments.held_out_pretraining import pretrain_without
from crocscore.experiments.plots import plot_held_out_world
from crocscore.experiments.seed_means import BY, Runs
from crocscore.pretraining.stages import DUAL, VLM

WITH, WITHOUT = "with", "without"


@dataclass(frozen=True)
class WorldSetup:
    """What the runs have in common.

    Attributes:
        model: folder of a small vision-language model, whose tower and tokenizer all runs have.
        scenes_with: folders of scenes of everything.
        scenes_without: folders of scenes that were built with ``--hold-out``.
        tests: folder or Hub id of checks, by name.
        split: split of the checks.
        max_checks: maximum number of checks of each test.
        steps: steps of each pretraining.
        seed: of the first run.
        seeds: runs of each kind, with consecutive seeds.
        architecture: what is pretrained, ``vlm`` or ``dual-encoder``.
    """

    model: str
    scenes_with: tuple[str, ...]
    scenes_without: tuple[str, ...]
    tests: Mapping[str, str]
    split: str | None = "test"
    max_checks: int = 400
    steps: int = 1_200
    seed: int = 0
    seeds: int = 3
    architecture: str = VLM


def run_held_out_world(setup: WorldSetup, out: str | Path) -> Path:
    """Pretrain models with and without what is held out, and compare them.

    Args:
        setup: of the experiment.
        out: output folder; ``models`` has the pretrained models. An interrupted experiment is resumed.

    Returns:
        The JSON file.

    Raises:
        InputError: the scenes without hold nothing out, those with do, or a test is about something else.
    """
    out = Path(out)
    held_out = _held_out_of(setup)
    manifests = [Path(folder) / "manifest.json" for folder in (*setup.scenes_with, *setup.scenes_without)]
    seeds = range(setup.seed, setup.seed + setup.seeds)
    planned = {
        f"{test}-{arm}-seed-{seed}": {"test": test, "arm": arm, "seed": seed}
        for arm in (WITH, WITHOUT)
        for seed in seeds
        for test in setup.tests
    }
    made = runner.run(
        [Part(name, payload) for name, payload in planned.items()],
        partial(_make_run, setup=setup, out=out),
        out / "runs",
        suffix=".parquet",
        fingerprint={
            "experiment": "held-out-world",
            "setup": asdict(setup),
            "weights": [sha256_of(file) for file in sorted(Path(setup.model).glob("*.safetensors"))],
            "scenes": [sha256_of(file) for file in manifests],
        },
        what="runs",
    )
    tables = {
        part["name"]: read_score_tables([made.folder / part["file"]], groups=BY)[0] for part in made.parts
    }
    tests = []
    for test in setup.tests:
        names = {arm: [f"{test}-{arm}-seed-{seed}" for seed in seeds] for arm in (WITH, WITHOUT)}
        runs = Runs({name: tables[name] for side in names.values() for name in side})
        tests.append(
            {
                "test": test,
                **{arm: runs.mean(side) for arm, side in names.items()},
                "price": runs.difference(names[WITH], names[WITHOUT]),
            }
        )
    document = {
        "experiment": "held-out-world",
        "setup": asdict(setup),
        "held_out": held_out,
        "images": {
            arm: sum(int(runner.read_manifest(folder).counts["images"]) for folder in folders)
            for arm, folders in ((WITH, setup.scenes_with), (WITHOUT, setup.scenes_without))
        },
        "tests": tests,
    }
    write_json(out / "held-out-world.json", document)
    with atomic(out / "held-out-world.png") as temporary:
        temporary.write_bytes(plot_held_out_world(tests))
    return out / "held-out-world.json"


def _held_out_of(setup: WorldSetup) -> dict[str, list[str]]:
    """What the scenes hold out; the experiment would compare nothing if it were not as named."""
    if not setup.tests:
        raise InputError("there is no test: give checks that contain what is held out")
    for folder in setup.scenes_with:
        if _scenes_hold_out(folder):
            raise InputError(f"{folder}: these scenes hold something out; they are to contain everything")
    held_out = [_scenes_hold_out(folder) for folder in setup.scenes_without]
    for folder, mine in zip(setup.scenes_without, held_out, strict=True):
        if not mine or mine != held_out[0]:
            raise InputError(
                f"{folder}: these scenes hold {'something else' if mine else 'nothing'} out; build all of "
                "them with the same --hold-out"
            )
    for name, checks in setup.tests.items():
        about = _checks_only_about(checks)
        if not {entry for entries in about.values() for entry in entries} <= {
            entry for entries in held_out[0].values() for entry in entries
        }:
            raise InputError(
                f"{checks}: the test {name} is about something that the scenes do not hold out; build both "
                "with the same --hold-out"
            )
    return held_out[0]


def _scenes_hold_out(folder: str) -> dict[str, list[str]]:
    stored: dict[str, list[str]] = runner.read_manifest(folder).fingerprint.get("held_out", {})
    return stored


def _checks_only_about(folder: str) -> dict[str, list[str]]:
    """What every check of a folder is about; nothing for other checks, and for those of the Hub."""
    if not Path(folder).is_dir():
        return {}
    recipe = read_dataset_manifest(Path(folder))["recipe"]
    return dict(recipe.get("held_out") or {}) if recipe.get("only_held_out") else {}


def _make_run(payload: Mapping[str, Any], path: Path, *, setup: WorldSetup, out: Path) -> dict[str, Any]:
    """Pretrain one model, unless it is there, and score one test."""
    from croc.scoring.run import ScoringSettings, score_dataset
    from crocscore.scorers import crocscore, crocscore_dual
    from crocscore.training.evaluation import select_checks

    test, arm, seed = payload["test"], payload["arm"], payload["seed"]
    scenes: Sequence[str] = setup.scenes_with if arm == WITH else setup.scenes_without
    model = pretrain_without(
        setup.model,
        scenes,
        out / "models" / f"{arm}-seed-{seed}",
        leave_out=[],
        steps=setup.steps,
        seed=seed,
        architecture=setup.architecture,
    )
    checks = select_checks(setup.tests[test], split=setup.split, at_most=setup.max_checks)
    name = f"{test}-{arm}-seed-{seed}"
    load = crocscore_dual if setup.architecture == DUAL else crocscore
    scorer = load(model=str(model), name=name, batch_size=32)
    work = out / "work" / name
    (table,) = score_dataset(checks, [scorer], work, ScoringSettings(progress=False))
    shutil.copyfile(table, path)
    shutil.rmtree(work, ignore_errors=True)
    return {}
