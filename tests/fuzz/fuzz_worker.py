"""Runs ``croc`` command lines one after the other in one process, and says how each ended.

In: one JSON object per line on standard input, with ``argv``, ``cwd`` and the names of two files for what the
command prints. Out: one JSON object per line with ``code``, ``error`` (the traceback of what no one caught)
and ``peak``.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
import traceback
from pathlib import Path
from typing import Any


def peak_bytes() -> int:
    """The largest memory that this process or one of its children had so far.

    The kernel counts the peak of this program from its start; ``ru_maxrss`` of a process would begin with the
    peak of the process that started it.
    """
    own = int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0])
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * 1024


def run(argv: list[str]) -> dict[str, Any]:
    """Run one command line as the shell would, in this process."""
    from croc.cli import main

    code, error = 0, None
    try:
        main.main(args=argv, prog_name="croc")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        code, error = 1, traceback.format_exc()
    return {"code": code, "error": error}


def serve(memory: int) -> None:
    """Answer requests until standard input ends; more than ``memory`` bytes become a MemoryError."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    _redirect(os.devnull, os.devnull)
    for line in requests:
        request = json.loads(line)
        os.chdir(request["cwd"])
        _redirect(request["out"], request["err"])
        outcome = run(request["argv"])
        _redirect(os.devnull, os.devnull)
        answers.write(json.dumps({**outcome, "peak": peak_bytes()}) + "\n")
        answers.flush()


def _redirect(out: str, err: str) -> None:
    """Let the process print to two files; libraries keep the stream objects that they found first."""
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    for path, flags, target in (
        (os.devnull, os.O_RDONLY, 0),
        (out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 1),
        (err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 2),
    ):
        opened = os.open(path, flags)
        os.dup2(opened, target)
        os.close(opened)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name).closed:
            setattr(sys, name, os.fdopen(os.dup(number), "w", encoding="utf-8", errors="backslashreplace"))


if __name__ == "__main__":
    serve(int(sys.argv[1]))
