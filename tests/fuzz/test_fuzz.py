"""Damaged and unexpected input of every kind to every command: it ends in a sentence.

``CROC_FUZZ`` sets the number of damaged files, and ``CROC_FUZZ_SEED`` is added to their numbers.
A fault names the number of its input; the same number gives the same input again.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from fuzz_mutations import damage
from fuzz_options import command_lines
from fuzz_runner import Outcome, Runner
from fuzz_seeds import TARGETS, Target, make_seeds

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("CROC_FUZZ", "1200"))
OFFSET = int(os.environ.get("CROC_FUZZ_SEED", "0"))
STEP = 100
OPTIONS = COUNT // 2


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    started = Runner(tmp_path_factory.mktemp("runner"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def seeds(tmp_path_factory, runner):
    return make_seeds(tmp_path_factory.mktemp("fuzz") / "seeds", runner)


@pytest.fixture(scope="module")
def tally():
    counts = Counter()
    yield counts
    tried, faulty = counts["tried"], counts["faulty"]
    print(f"\ntried {tried}, clean {tried - faulty}, faulty {faulty}")  # noqa: T201


def _input(seeds: Path, folder: Path, target: Target, draw: random.Random) -> str:
    """Copy what the command reads, and damage one file; returns the file and how."""
    for root in target.roots:
        if (seeds / root).is_dir():
            shutil.copytree(seeds / root, folder / root)
        elif (seeds / root).exists():
            shutil.copy(seeds / root, folder / root)
    found = sorted(folder.glob(target.file))
    assert found, f"no good file {target.file}"
    path = draw.choice(found)
    return f"{path.relative_to(folder)}: {damage(path, draw)}"


def _report(number: int, argv: list[str], how: str, outcome: Outcome) -> str:
    return f"{number}: croc {' '.join(argv)!r}\n    {how}\n    {outcome.fault}"


def test_every_target_reads_its_good_file(seeds, runner, tmp_path):
    bad = []
    for number, target in enumerate(TARGETS):
        folder = tmp_path / str(number)
        shutil.copytree(seeds, folder)
        assert list(folder.glob(target.file)), target
        outcome = runner.run([*target.argv], folder)
        wanted = 2 if target.argv[0] == "train" else 0  # no model to train from
        if outcome.fault or outcome.code != wanted:
            bad.append((" ".join(target.argv), outcome.code, outcome.fault or outcome.err[-400:]))
        shutil.rmtree(folder)
    assert not bad, "\n".join(map(str, bad))


@pytest.mark.parametrize("first", range(0, COUNT, STEP))
def test_a_damaged_file_ends_in_a_sentence(seeds, runner, tally, tmp_path, first):
    faults = []
    drawn = [target for target in TARGETS for _ in range(target.weight)]
    for number in range(first, min(first + STEP, COUNT)):
        draw, folder = random.Random(number + OFFSET), tmp_path / "input"
        target = drawn[number % len(drawn)]
        folder.mkdir()
        how = _input(seeds, folder, target, draw)
        outcome = runner.run([*target.argv], folder)
        tally["tried"] += 1
        if outcome.fault:
            tally["faulty"] += 1
            faults.append(_report(number, [*target.argv], how, outcome))
        shutil.rmtree(folder)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("first", range(0, OPTIONS, STEP))
def test_an_odd_option_ends_in_a_sentence(seeds, runner, tally, tmp_path, first):
    faults = []
    for number, argv in list(enumerate(command_lines(OPTIONS)))[first : first + STEP]:
        folder = tmp_path / "input"
        shutil.copytree(seeds, folder)
        outcome = runner.run(argv, folder)
        tally["tried"] += 1
        if outcome.fault:
            tally["faulty"] += 1
            faults.append(_report(number, argv, "", outcome))
        shutil.rmtree(folder)
    assert not faults, "\n".join(faults)
