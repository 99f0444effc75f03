"""Command lines in a child process under a memory limit, and what counts as a fault.

A clean end is exit code 0, 1 or 2 within the time and memory, with a sentence on standard error where the
code is not 0, and without control characters in what is printed.
"""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 90
LARGEST = 2 * 1024**3
_RENEWED_ABOVE = 1 * 1024**3
_HARD_LIMIT = 6 * 1024**3
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f\u202a-\u202e\u2066-\u2069]")
_UNEXPECTED = re.compile(r"Traceback \(most recent|please report|unexpected error", re.IGNORECASE)


@dataclass(frozen=True)
class Outcome:
    """How one command line ended.

    Attributes:
        code: exit code; None if the process ended or took too long.
        out: what it printed.
        err: its errors.
        fault: why this is not a clean end; empty if it is one.
    """

    code: int | None
    out: str
    err: str
    fault: str


class Runner:
    """Keeps a child process that runs command lines, and starts another one after an abort.

    Args:
        folder: for the output of commands.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._child: subprocess.Popen[bytes] | None = None

    def run(self, argv: list[str], cwd: Path) -> Outcome:
        """Run one command line in ``cwd``."""
        out, err = self.folder / "out.txt", self.folder / "err.txt"
        child = self._started()
        assert child.stdin is not None and child.stdout is not None
        request = {"argv": argv, "cwd": str(cwd), "out": str(out), "err": str(err)}
        child.stdin.write(json.dumps(request).encode() + b"\n")
        child.stdin.flush()
        ready, _, _ = select.select([child.stdout], [], [], SECONDS)
        reply = child.stdout.readline() if ready else b""
        printed = out.read_bytes().decode(errors="replace"), err.read_bytes().decode(errors="replace")
        if not reply:
            self.close()
            fault = f"the process ended with {child.returncode}" if ready else f"took more than {SECONDS} s"
            return Outcome(None, *printed, fault)
        answer = json.loads(reply)
        if answer["peak"] > _RENEWED_ABOVE:
            self.close()
        return Outcome(answer["code"], *printed, _fault(answer, *printed))

    def close(self) -> None:
        """End the child process."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("fuzz_worker.py")), str(_HARD_LIMIT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
            )
        return self._child


def _fault(answer: dict[str, Any], out: str, err: str) -> str:
    code = answer["code"]
    if answer["error"]:
        return str(answer["error"]).strip().splitlines()[-1][:300] + _place(answer["error"])
    if found := [line for line in (out + err).splitlines() if _UNEXPECTED.search(line)]:
        return f"unexpected error: {found[0][:300]} … {_last_line(err)}"
    if answer["peak"] > LARGEST:
        return f"{answer['peak'] / 1024**3:.1f} GB of memory"
    if code not in (0, 1, 2):
        return f"exit code {code}"
    if code and not (out + err).strip():
        return f"exit code {code} without a word"
    if found := _CONTROL.search(out + err):
        return f"prints the control character {found.group()!r}"
    return ""


def _place(trace: str) -> str:
    places = re.findall(r'File "([^"]+)", line (\d+), in (\w+)', trace)
    ours = [one for one in places if "site-packages" not in one[0] and "/tests/" not in one[0]]
    return f" (at {Path(ours[-1][0]).name}:{ours[-1][1]}, {ours[-1][2]})" if ours else ""


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1][:300]
