"""Every stage of the program under every fault: nothing is lost, and the end is that of a calm run.

Each test takes one row of ``fault_stages.STAGES``. The faults are real ones: SIGKILL, file systems of a few
kilobytes or without write access, two processes at once, a clock that jumps, a killed worker of Ray.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from fault_stages import STAGES, Stage, content, croc, make_inputs

pytestmark = pytest.mark.slow

KILLS = 3
DEADLINE = 240
EVERY = os.environ.get("CROC_FAULTS") == "all"
"""All faults in all stages, which takes half an hour; else the rarer ones in a third of the stages."""
every_stage = pytest.mark.parametrize("stage", STAGES, ids=[stage.name for stage in STAGES])


def some_stages(turn: int) -> pytest.MarkDecorator:
    """A third of the stages; each ``turn`` has another third."""
    chosen = STAGES if EVERY else STAGES[turn % 3 :: 3]
    return pytest.mark.parametrize("stage", chosen, ids=[stage.name for stage in chosen])


@dataclass(frozen=True)
class Calm:
    """An undisturbed run: what it wrote, and seconds until its first file and its end."""

    content: dict[str, bytes]
    first: float
    end: float


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("inputs") / "inputs")


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, inputs: Path) -> Callable[[Stage], Calm]:
    """The undisturbed run of a stage, which is made once."""
    runs: dict[str, Calm] = {}

    def run(stage: Stage) -> Calm:
        if stage.name not in runs:
            out = prepared(stage, tmp_path_factory.mktemp("calm") / "out", inputs)
            before, started, first = names(out), time.monotonic(), None
            process = croc(stage.words(out), inputs)
            while process.poll() is None:
                if first is None and names(out) != before:
                    first = time.monotonic() - started
                time.sleep(0.005)
            assert process.returncode == 0, process.communicate()[1]
            process.communicate()
            end = time.monotonic() - started
            runs[stage.name] = Calm(content(out), first or end, end)
            assert runs[stage.name].content
        return runs[stage.name]

    return run


def prepared(stage: Stage, out: Path, inputs: Path) -> Path:
    """The folder that a stage writes to, with what it changes there."""
    out.mkdir(exist_ok=True)
    if stage.copies:
        shutil.copytree(inputs / stage.copies, out / stage.copies)
    return out


def names(folder: Path) -> set[Path]:
    """All that is in a folder, in which another process works."""
    return {Path(place, name) for place, below, files in os.walk(folder) for name in below + files}


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and errors of a command."""
    errors = process.communicate(timeout=DEADLINE)[1]
    return process.returncode, errors


def sentence(code: int, errors: str) -> str:
    """The one sentence of a command that failed as expected."""
    assert code == 2, errors
    assert "Traceback" not in errors and "please report" not in errors, errors
    last = errors.strip().splitlines()[-1]
    assert last.startswith("croc: "), errors
    return last


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A file system of its own; the test is skipped where none can be mounted."""
    folder.mkdir(exist_ok=True)
    try:
        done = subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"needs the permission to mount ({done.stderr.decode().strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def tmpfs(folder: Path, options: str) -> tuple[Path, str, str, str, str, str]:
    return folder, "-t", "tmpfs", "-o", options, "tmpfs"


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@every_stage
def test_killed_at_random_moments(stage, calm, inputs, tmp_path):
    """No worker survives, and the next run ends up as if nothing had happened."""
    expected, draw, kills = calm(stage), random.Random(stage.name), 0
    out, longest = prepared(stage, tmp_path / "out", inputs), expected.end
    for attempt in range(3 * KILLS):
        started = time.monotonic()
        process = croc(stage.words(out), inputs)
        with suppress(subprocess.TimeoutExpired):
            process.wait(draw.uniform(0.8 * min(expected.first, longest), longest))
            # The calm run was slower than this one: kill earlier.
            longest = min(longest, time.monotonic() - started)
        process.kill()
        code, errors = end(process)
        assert code in (0, -signal.SIGKILL), errors
        kills += code < 0
        if not kills:  # finished work is not begun again
            out = prepared(stage, tmp_path / f"out{attempt}", inputs)
        elif attempt >= KILLS - 1:
            break
        deadline = time.monotonic() + 20
        while survivors(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not survivors(process.pid)
    assert kills
    code, errors = end(croc(stage.words(out), inputs))
    assert code == 0, errors
    assert content(out) == expected.content


def survivors(group: int) -> list[int]:
    """The processes of a group that still run."""
    alive = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return alive


@every_stage
def test_a_disk_that_fills_up(stage, calm, inputs, tmp_path):
    """One sentence that names the place; with more room, the next run ends as a calm one."""
    expected = calm(stage).content
    pages = sum(-(-len(data) // 4096) for data in expected.values())
    with mounted(*tmpfs(tmp_path / "disk", "size=1g")) as disk:
        prepared(stage, disk, inputs)
        needed = max(0, pages - shutil.disk_usage(disk).used // 4096)
        (disk / ".ballast").write_bytes(bytes(4096))  # a tmpfs has at least one page, enough for a small file
        used = shutil.disk_usage(disk).used // 4096
        remount(disk, f"size={(used + needed // 2) * 4}k")
        full = sentence(*end(croc(stage.words(disk), inputs)))
        assert "no space left" in full.lower() or "free" in full, full
        assert str(disk) in full, full
        remount(disk, "size=1g")
        code, errors = end(croc(stage.words(disk), inputs))
        assert code == 0, errors
        assert content(disk) == expected


@some_stages(0)
def test_a_limit_on_the_size_of_a_file(stage, calm, inputs, tmp_path):
    """The same without a file system of its own."""
    expected = calm(stage).content
    out = prepared(stage, tmp_path / "out", inputs)
    there = content(out)
    largest = max(len(data) for name, data in expected.items() if there.get(name) != data)
    limit = max(largest // 2, 1)
    words = ["prlimit", f"--fsize={limit}:{limit}"]
    if shutil.which("prlimit") is None:
        pytest.skip("there is no prlimit here")
    full = sentence(*end(croc(stage.words(out), inputs, before=words)))
    assert "File too large" in full or "votes.sqlite: the store of votes cannot be opened" in full, full
    code, errors = end(croc(stage.words(out), inputs))
    assert code == 0, errors
    assert content(out) == expected


@some_stages(1)
def test_a_read_only_place(stage, calm, inputs, tmp_path):
    """One sentence that names the place, before and after the work; nothing in it changes."""
    expected = calm(stage).content
    with mounted(*tmpfs(tmp_path / "disk", "size=1g")) as disk:
        prepared(stage, disk, inputs)
        before = names(disk)
        remount(disk, "ro")
        refused = sentence(*end(croc(stage.words(disk), inputs)))
        assert str(disk) in refused and "read-only" in refused.lower(), refused
        assert names(disk) == before
        remount(disk, "rw")
        assert end(croc(stage.words(disk), inputs))[0] == 0
        remount(disk, "ro")
        code, errors = end(croc(stage.words(disk), inputs))
        if code:
            assert str(disk) in sentence(code, errors)
        assert content(disk) == expected


@some_stages(2)
def test_input_from_a_read_only_disk(stage, calm, inputs, tmp_path):
    """What is read need not be writable."""
    expected = calm(stage).content
    out = prepared(stage, tmp_path / "out", inputs)
    with mounted(tmp_path / "inputs", "--bind", str(inputs)) as folder:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        code, errors = end(croc(stage.words(out), folder))
    if stage.name == "hum votes":  # SQLite writes beside the store
        assert "its folder must be writable" in sentence(code, errors)
        return
    assert code == 0, errors
    assert content(out) == expected


@every_stage
def test_two_writers(stage, calm, inputs, tmp_path):
    """Two processes with the same output: one at least ends well, and the files are those of one alone."""
    expected = calm(stage).content
    out = prepared(stage, tmp_path / "out", inputs)
    both = [croc(stage.words(out), inputs) for _ in range(2)]
    ends = [end(process) for process in both]
    for code, errors in ends:
        if code:
            assert "another process is at work" in sentence(code, errors)
    assert 0 in [code for code, _ in ends], ends
    assert content(out) == expected


CLOCK = """
import itertools, time
_real, _calls = time.time, itertools.count()
_JUMPS = (0, 10 * 365 * 86_400, -10 * 365 * 86_400, 3_600)
time.time = lambda: _real() + _JUMPS[next(_calls) // 7 % 4]
"""
"""Years forwards and backwards at every seventh question."""


@some_stages(1)
@pytest.mark.parametrize("year", [1980, 2100])
def test_a_clock_that_jumps(stage, calm, inputs, tmp_path, year):
    """The clock jumps while the command works, and what an earlier run left is from another century."""
    expected = calm(stage)
    out = prepared(stage, tmp_path / "out", inputs)
    (tmp_path / "sitecustomize.py").write_text(CLOCK)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    process = croc(stage.words(out), inputs, PYTHONPATH=path)
    time.sleep((expected.first + expected.end) / 2)
    process.kill()
    assert end(process)[0] in (0, -signal.SIGKILL)
    then = (year - 1970) * 365 * 86_400
    for name in names(out):
        os.utime(name, (then, then))
    code, errors = end(croc(stage.words(out), inputs, PYTHONPATH=path))
    assert code == 0, errors
    assert content(out) == expected.content


@pytest.mark.cluster
@pytest.mark.parametrize(
    "stage", [stage for stage in STAGES if stage.on_cluster], ids=lambda stage: stage.name
)
def test_a_worker_of_ray_is_killed(stage, calm, inputs, tmp_path):
    """Ray starts another worker; the files are those of a run in one process."""
    pytest.importorskip("ray")
    expected = calm(stage).content
    out = prepared(stage, tmp_path / "out", inputs)
    process = croc(
        [*stage.words(out), "--executor", "ray", "--workers", "2"],
        inputs,
        RAY_worker_register_timeout_seconds="300",
        RAY_raylet_start_wait_time_s="300",
        RAY_worker_niceness="0",
    )
    killed = 0
    while process.poll() is None:
        if not killed and (worker := worker_at_work(process.pid)):
            worker.kill()
            killed += 1
        time.sleep(0.02)
    code, errors = end(process)
    assert killed, "no worker was seen at work"
    if code:  # more of them died than Ray accepts
        assert "run the command again" in sentence(code, errors)
        code, errors = end(croc(stage.words(out), inputs))
    assert code == 0, errors
    assert content(out) == expected


def worker_at_work(command: int) -> psutil.Process | None:
    """A worker of the command's cluster, which makes parts from its start on."""
    for process in psutil.Process(command).children(recursive=True):
        try:
            words = " ".join(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if words.startswith("ray::") and "Map" in words:
            return process
    return None


def test_every_command_that_resumes_is_in_the_table():
    """A new command must be added, or named here with the reason."""
    import click

    from croc.cli import main

    left_out = {
        "build nlvr": "assembled as by build hum",
        "build graded": "drawn and assembled as by build syn",
        "audit-reward": "its pools and scores are made by the runners of build and score",
        "external score": "scores with the runner of score",
        "probe": "each round depends on those before it; its own test interrupts and resumes it",
        "invariance": "its variants and scores are made by the runners of build and score",
    }
    trainings = "experiment "  # take minutes; their parts are trainings in the runner of build
    found = set()

    def visit(group: click.Group, prefix: str) -> None:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                visit(command, f"{prefix}{name} ")
            elif any("to resume" in (getattr(option, "help", None) or "") for option in command.params):
                found.add(f"{prefix}{name}")

    visit(main, "")
    in_runner = {name for name in found if name.startswith(trainings)}
    assert found - in_runner - {stage.name for stage in STAGES} == set(left_out)
