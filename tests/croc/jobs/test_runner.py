"""The resumable runner: what is there after a run, a failure, a refusal and a kill."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from croc.errors import CrocError, InputError, MissingExtra
from croc.jobs import executors as engines
from croc.jobs import runner
from croc.jobs.executors import local_executor
from croc.jobs.parts import MakePart, Part, WorkerDied
from croc.jobs.runner import PartsFailed, Status
from croc.storage.files import checksums_of, is_whole


def square(payload: dict[str, Any], path: Path) -> dict[str, Any]:
    path.write_text(f"{payload['n']} {payload['n'] ** 2}\n" * 100)
    return {"rows": 100, "label": "text is kept but not added"}


def picky(payload: dict[str, Any], path: Path, bad: tuple[int, ...] = (2,)) -> dict[str, Any]:
    path.write_text("half")
    if payload["n"] in bad:
        raise ValueError(f"{payload['n']} is not to my taste")
    return square(payload, path)


def suicidal(payload: dict[str, Any], path: Path) -> dict[str, Any]:
    if payload["n"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return square(payload, path)


def plan(n: int = 5) -> list[Part]:
    return [Part(f"part-{i:03}", {"n": i}) for i in range(n)]


def run(out: Path, make: MakePart = square, n: int = 5, **options: Any) -> runner.Manifest:
    given = {"suffix": ".txt", "fingerprint": {"version": 1, "model": {"revision": "abc"}}, "progress": False}
    return runner.run(plan(n), make, out, **{**given, **options})


def content(out: Path) -> dict[str, bytes]:
    """All that must not depend on how the work went: the parts and the manifest."""
    files = [*sorted((out / "parts").iterdir()), out / "manifest.json"]
    return {file.name: file.read_bytes() for file in files}


def test_a_run_writes_every_part_with_its_checksum_and_the_manifest(tmp_path: Path) -> None:
    manifest = run(tmp_path / "out")
    assert [file.read_text().split()[1] for file in manifest.files()] == ["0", "1", "4", "9", "16"]
    assert manifest.parts[4]["sha256"] == hashlib.sha256(b"4 16\n" * 100).hexdigest()
    assert manifest.counts == {"rows": 500}
    assert runner.read_manifest(tmp_path / "out") == manifest
    assert runner.verify(tmp_path / "out") == []
    assert not (tmp_path / "out" / "tmp").exists()


def test_a_second_run_makes_nothing_again(tmp_path: Path) -> None:
    first = run(tmp_path)
    stamps = {file: file.stat().st_mtime_ns for file in first.files()}

    def never(payload: Any, path: Path) -> dict[str, Any]:
        raise AssertionError("made twice")

    assert run(tmp_path, never) == first
    assert stamps == {file: file.stat().st_mtime_ns for file in first.files()}


def test_a_part_that_vanished_or_was_cut_is_made_again(tmp_path: Path) -> None:
    first = run(tmp_path)
    before = content(tmp_path)
    first.files()[1].unlink()
    first.files()[3].write_text("cut")
    # What a power cut may leave of a record that was not waited for.
    (tmp_path / "records" / "part-002.json").write_text("")
    assert [problem.split(":")[0] for problem in runner.verify(tmp_path)] == [
        "part-001",
        "part-002",
        "part-003",
    ]
    made = []

    def noting(payload: dict[str, Any], path: Path) -> dict[str, Any]:
        made.append(payload["n"])
        return square(payload, path)

    run(tmp_path, noting)
    assert made == [1, 2, 3]
    assert content(tmp_path) == before


@pytest.mark.parametrize("finished", [True, False])
def test_a_part_that_was_changed_is_made_again(
    tmp_path: Path, finished: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the same size, so that only its checksum tells; also with a manifest, which names the old one."""
    whole = run(tmp_path)
    before = content(tmp_path)
    part = tmp_path / "parts" / "part-002.txt"
    part.write_bytes(part.read_bytes().replace(b"4", b"5"))
    with pytest.raises(InputError, match=r"part-002\.txt: its content differs from the checksum"):
        runner.require_parts(whole)
    if not finished:
        (tmp_path / "manifest.json").unlink()
    made = []
    run(tmp_path, lambda payload, path: made.append(payload["n"]) or square(payload, path))
    assert made == [2] and content(tmp_path) == before
    assert "part-002.txt was changed after it was finished; it is made again" in caplog.text
    runner.require_parts(whole, whole=True)


def test_verify_finds_a_changed_byte_and_a_stray_file(tmp_path: Path) -> None:
    file = run(tmp_path).files()[0]
    file.write_bytes(b"X" + file.read_bytes()[1:])
    (tmp_path / "parts" / "stray.txt").write_text("")
    problems = runner.verify(tmp_path)
    assert len(problems) == 2
    assert "part-000" in problems[0]
    assert "checksum" in problems[0]
    assert "stray.txt" in problems[1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"fingerprint": {"version": 2, "model": {"revision": "abc"}}},
            "version: 1 in the folder, 2 requested",
        ),
        (
            {"fingerprint": {"version": 1, "model": {"revision": "xyz"}}},
            'model.revision: "abc" in the folder, "xyz" requested',
        ),
        ({"fingerprint": {"model": {"revision": "abc"}}}, "version: 1 in the folder, nothing requested"),
        ({"n": 6}, "number of parts: 5 in the folder, 6 requested"),
        ({"suffix": ".csv"}, 'suffix: ".txt" in the folder, ".csv" requested'),
    ],
)
def test_other_work_in_the_folder_is_refused_by_naming_the_difference(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    run(tmp_path)
    before = content(tmp_path)
    with pytest.raises(InputError, match="other work") as caught:
        run(tmp_path, **options)
    assert says in str(caught.value)
    assert content(tmp_path) == before


def test_a_part_made_from_something_else_is_other_work(tmp_path: Path) -> None:
    run(tmp_path)
    changed = [*plan(4), Part("part-004", {"n": 40})]
    with pytest.raises(InputError, match="part part-004: made from other input"):
        runner.run(
            changed,
            square,
            tmp_path,
            suffix=".txt",
            fingerprint={"version": 1, "model": {"revision": "abc"}},
            progress=False,
        )


def test_overwrite_replaces_the_work_and_leaves_other_files_alone(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "notes.md").write_text("mine")
    manifest = run(tmp_path, n=2, existing="overwrite")
    assert len(list((tmp_path / "parts").iterdir())) == len(manifest.files()) == 2
    assert (tmp_path / "notes.md").read_text() == "mine"


@pytest.mark.parametrize("existing", ["resume", "overwrite"])
def test_a_folder_of_unknown_origin_is_not_touched(tmp_path: Path, existing: str) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "thesis.tex").write_text("three years")
    with pytest.raises(InputError, match="unknown origin"):
        run(tmp_path, existing=existing)
    assert (tmp_path / "parts" / "thesis.tex").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failed_part_is_recorded_the_others_are_made_and_a_rerun_tries_it_again(
    tmp_path: Path, workers: int
) -> None:
    with pytest.raises(
        PartsFailed, match=r"1 of 5 parts failed \(part-002: ValueError: 2 is not to my taste\)"
    ):
        run(tmp_path, picky, executor=local_executor(workers))
    now = runner.status(tmp_path)
    assert (now.total, now.done, now.left, now.complete, now.running) == (5, 4, 1, False, False)
    assert now.failed == {"part-002": "ValueError: 2 is not to my taste"}
    with pytest.raises(InputError, match=r"unfinished: 4 of 5 parts done, 1 failed"):
        runner.read_manifest(tmp_path)
    run(tmp_path, partial(picky, bad=()), executor=local_executor(workers))
    assert runner.status(tmp_path).failed == {}
    run(tmp_path / "undisturbed", n=5)
    assert content(tmp_path)["manifest.json"] == content(tmp_path / "undisturbed")["manifest.json"]


def test_more_failures_than_allowed_stop_the_run(tmp_path: Path) -> None:
    with pytest.raises(PartsFailed, match="the run was stopped") as caught:
        run(tmp_path, partial(picky, bad=(0, 1, 2, 3)), max_failures=1)
    assert list(caught.value.failed) == ["part-000", "part-001"]
    assert runner.status(tmp_path).done == 0


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), MissingExtra("scoring", "score")]
)
def test_what_would_fail_every_part_stops_at_the_first(tmp_path: Path, error: Exception) -> None:
    def always_fails(payload: dict[str, Any], path: Path) -> dict[str, Any]:
        if payload["n"] == 1:
            raise error
        return square(payload, path)

    with pytest.raises(CrocError, match=r"part-001.*(No space left|croc-t2i\[score\])"):
        run(tmp_path, always_fails)
    assert runner.status(tmp_path).done == 1


def test_a_function_that_writes_nothing_or_odd_counts_fails_its_part(tmp_path: Path) -> None:
    with pytest.raises(PartsFailed, match="wrote no file"):
        run(tmp_path / "a", lambda payload, path: {})

    def odd(payload: dict[str, Any], path: Path) -> dict[str, Any]:
        path.write_text("x")
        return {"share": float("nan")}

    with pytest.raises(PartsFailed, match="JSON"):
        run(tmp_path / "b", odd, n=1)


def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    one, three = run(tmp_path / "1", n=12), run(tmp_path / "3", n=12, executor=local_executor(3))
    assert one.sha256 == three.sha256
    assert content(tmp_path / "1") == content(tmp_path / "3")


def test_equal_work_has_an_equal_revision_and_other_bytes_another(tmp_path: Path) -> None:
    def other(payload: dict[str, Any], path: Path) -> dict[str, Any]:
        path.write_text("other")
        return {}

    assert run(tmp_path / "a").sha256 == run(tmp_path / "b").sha256 != run(tmp_path / "c", other).sha256


def test_a_killed_worker_is_reported_and_the_run_can_go_on(tmp_path: Path) -> None:
    with pytest.raises(WorkerDied, match="run the command again"):
        run(tmp_path, suicidal, n=8, executor=local_executor(2))
    assert not (tmp_path / "manifest.json").exists()
    run(tmp_path, n=8)
    assert runner.verify(tmp_path) == []


def test_leftovers_of_a_crash_are_cleared(tmp_path: Path) -> None:
    with pytest.raises(PartsFailed):
        run(tmp_path, picky)
    (tmp_path / "tmp").mkdir(exist_ok=True)
    (tmp_path / "tmp" / "part-002").write_text("half")
    # A crash between the two renames leaves a part without its record; it does not count.
    (tmp_path / "parts" / "part-002.txt").write_text("unrecorded")
    assert runner.status(tmp_path).done == 4
    run(tmp_path)
    assert not (tmp_path / "tmp").exists()
    assert runner.verify(tmp_path) == []


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    def nested(payload: dict[str, Any], path: Path) -> dict[str, Any]:
        assert runner.status(tmp_path).running
        with pytest.raises(InputError, match="another process is at work"):
            run(tmp_path)
        return square(payload, path)

    run(tmp_path, nested, n=1)
    assert not runner.status(tmp_path).running


def test_progress_counts_up_and_knows_the_time_left(tmp_path: Path) -> None:
    seen: list[Status] = []
    run(tmp_path, progress=seen.append)
    assert [now.done for now in seen] == [0, 1, 2, 3, 4, 5]
    assert seen[0].rate is None
    assert seen[3].rate is not None
    assert seen[3].eta == pytest.approx(2 / seen[3].rate)
    assert seen[-1].counts == {"rows": 500}


@pytest.mark.parametrize("names", [["a/b"], ["../a"], [""], ["a", "A"], [".hidden"], ["x" * 121]])
def test_unsafe_and_repeated_names_are_refused(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(InputError, match="part"):
        runner.run(
            [Part(name) for name in names], square, tmp_path, suffix=".txt", fingerprint={}, progress=False
        )


def test_a_payload_that_is_not_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="payload of part 'a' is not plain JSON"):
        runner.run([Part("a", object())], square, tmp_path, suffix=".txt", fingerprint={}, progress=False)


def test_an_empty_plan_is_complete(tmp_path: Path) -> None:
    assert run(tmp_path, n=0).files() == []
    assert runner.status(tmp_path).complete


@pytest.mark.parametrize("ask", [runner.status, runner.read_manifest, runner.verify])
def test_a_folder_of_something_else_is_one_clear_error(tmp_path: Path, ask: Any) -> None:
    with pytest.raises(InputError, match="not a folder of resumable work"):
        ask(tmp_path / "nothing")
    (tmp_path / "plan.json").write_text('{"parts": [')
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        ask(tmp_path)


SCRIPT = """
import sys, time, random
from pathlib import Path
from croc.jobs import runner
from croc.jobs.executors import local_executor
from croc.jobs.parts import Part

def slow(payload, path):
    with path.open("wb") as file:
        for i in range(20):
            file.write(bytes([payload["n"] % 251]) * 5000)
            file.flush()
            time.sleep(0.002)
    return {"bytes": 100000}

if __name__ == "__main__":
    plan = [Part(f"p{i:03}", {"n": i}) for i in range(40)]
    options = {"suffix": ".bin", "fingerprint": {"a": 1}, "executor": local_executor(int(sys.argv[2]))}
    runner.run(plan, slow, Path(sys.argv[1]), **options)
"""


def children_of(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "stat").read_text()
        except OSError:
            continue
        if int(text.rsplit(")", 1)[1].split()[1]) == pid:
            found.append(int(folder.name))
    return found


def until(condition: Any, seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_random_moments_the_folder_ends_up_as_if_nothing_had_happened(
    tmp_path: Path, workers: int
) -> None:
    script = tmp_path / "work.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script)]
    subprocess.run([*command, str(tmp_path / "calm"), "1"], check=True)
    chance, kills, out = random.Random(workers), 0, tmp_path / "killed"
    while kills < 8:
        process = subprocess.Popen([*command, str(out), str(workers)], stderr=subprocess.DEVNULL)
        records = out / "records"
        start = len(list(records.glob("*.json"))) if records.exists() else 0
        # Wait for work to be under way, so that the kill does not fall into Python's own start every time.
        until(
            lambda records=records, start=start, process=process: (
                process.poll() is not None or (records.exists() and len(list(records.glob("*.json"))) > start)
            )
        )
        time.sleep(chance.uniform(0, 0.12))
        if process.poll() is not None:
            break
        children = children_of(process.pid)
        process.kill()
        process.wait()
        kills += 1
        assert not (out / "manifest.json").exists() or runner.verify(out) == []
        assert until(lambda children=children: not any(Path(f"/proc/{pid}").exists() for pid in children))
    assert kills >= 5
    subprocess.run([*command, str(out), str(workers)], check=True)
    assert content(out) == content(tmp_path / "calm")
    assert runner.verify(out) == []


@pytest.mark.slow
def test_an_interrupt_stops_the_workers_and_keeps_what_is_done(tmp_path: Path) -> None:
    script = tmp_path / "work.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "out"), "2"], stderr=subprocess.PIPE, text=True
    )
    records = tmp_path / "out" / "records"
    assert until(lambda: records.exists() and any(records.glob("*.json")))
    children = children_of(process.pid)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in stderr
    assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
    done = runner.status(tmp_path / "out").done
    assert 0 < done < 40
    assert json.loads((tmp_path / "out" / "plan.json").read_text())["suffix"] == ".bin"


# ---- Checksums ----


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_a_file_is_known_by_two_checksums(tmp_path, size):
    (tmp_path / "x").write_bytes(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    sums = checksums_of(tmp_path / "x")
    assert sums["sha256"] == hashlib.sha256((tmp_path / "x").read_bytes()).hexdigest()
    assert all(is_whole(tmp_path / "x", value) for value in sums.values())
    assert not is_whole(tmp_path / "x", "0" * 32) and not is_whole(tmp_path / "x", "0" * 64)


def test_a_quick_part_is_settled_beside_the_next_and_a_slow_one_before_it(tmp_path, monkeypatch):
    def known(slow):
        monkeypatch.setattr(engines, "_SLOW", slow)
        folder, seen = tmp_path / str(slow), []

        def make(payload, path):
            seen.append(sum(1 for _ in (folder / "records").iterdir()))
            return square(payload, path)

        runner.run(plan(4), make, folder, suffix=".txt", fingerprint={}, progress=False)
        assert runner.verify(folder) == []
        return seen

    assert known(slow=60.0) == [0, 0, 1, 2]
    assert known(slow=0.0) == [0, 1, 2, 3]


def test_a_manifest_that_was_edited_is_refused(tmp_path):
    run = partial(runner.run, [Part("a", {"n": 1})], square, tmp_path, suffix=".txt", fingerprint={})
    made = run(progress=False)
    assert runner.read_manifest(tmp_path) == made
    file = tmp_path / "manifest.json"
    file.write_text(file.read_text().replace(made.parts[0]["sha256"], "0" * 64))
    with pytest.raises(InputError, match="its checksum does not match"):
        runner.read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("plan.json", lambda c: c["parts"].__setitem__(2, [None]), "plan.json: parts.2"),
        ("plan.json", lambda c: c.pop("suffix"), "plan.json: suffix"),
        ("session.json", lambda c: c.update(started="now"), "session.json: started"),
        ("records/part-001.json", lambda c: c.pop("payload"), "part-001.json: payload"),
        ("records/part-001.json", lambda c: c.update(bytes="many"), "part-001.json: bytes"),
        ("manifest.json", lambda c: c.update(counts=[]), "manifest.json: counts"),
        ("manifest.json", lambda c: c["parts"][0].pop("file"), "manifest.json: parts.0.file"),
    ],
)
def test_a_file_of_the_folder_that_someone_edited_is_named_with_its_key(
    tmp_path: Path, file: str, change: Any, says: str
) -> None:
    run(tmp_path)
    content = json.loads((tmp_path / file).read_text())
    change(content)
    (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(InputError, match=says):
        runner.read_manifest(tmp_path)
        run(tmp_path)
        runner.status(tmp_path)
