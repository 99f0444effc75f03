"""Ctrl-C at the moments at which asyncio itself cannot take it."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
    import asyncio, signal
    from croc.jobs.interrupts import run_async

    WHEN = {when!r}

    def press():
        signal.raise_signal(signal.SIGINT)

    class Loop(asyncio.SelectorEventLoop):
        def __init__(self):
            if WHEN == "before the loop is made":
                press()
            super().__init__()
            if WHEN == "before the work":
                press()

        def close(self):
            if WHEN == "while the loop is closed":
                press()
            super().close()

    class Policy(asyncio.DefaultEventLoopPolicy):
        def new_event_loop(self):
            return Loop()

    async def work():
        print("begun")
        try:
            if WHEN == "in the work":
                asyncio.get_running_loop().call_later(0.05, press)
                await asyncio.sleep(600)
            if WHEN == "twice":
                asyncio.get_running_loop().call_later(0.05, press)
                try:
                    await asyncio.sleep(600)
                finally:
                    press()
                    print("never")
            if WHEN == "at its last line":
                press()
        finally:
            print("cleaned up")
        return 7

    asyncio.set_event_loop_policy(Policy())
    try:
        print(run_async(work))
    except KeyboardInterrupt:
        print("interrupted")
    print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def run(when: str) -> tuple[list[str], str]:
    """The lines that the program prints, and what goes to stderr."""
    program = textwrap.dedent(PROGRAM.format(when=when))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize(
    ("when", "lines"),
    [
        ("never", ["begun", "cleaned up", "7", "True"]),
        ("before the loop is made", ["interrupted", "True"]),
        ("before the work", ["interrupted", "True"]),
        ("in the work", ["begun", "cleaned up", "interrupted", "True"]),
        ("at its last line", ["begun", "cleaned up", "interrupted", "True"]),
        ("while the loop is closed", ["begun", "cleaned up", "interrupted", "True"]),
        ("twice", ["begun", "cleaned up", "interrupted", "True"]),
    ],
)
def test_an_interrupt_ends_the_work_and_leaves_nothing_behind(when: str, lines: list[str]) -> None:
    printed, complaints = run(when)
    assert printed == lines
    assert complaints == ""


def test_asyncio_alone_would_complain() -> None:
    """What the function is for; it can go when asyncio takes this interrupt well."""
    program = PROGRAM.replace("from croc.jobs.interrupts import run_async", "")
    program = program.replace("run_async(work)", "asyncio.run(work())")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program.format(when="before the loop is made"))],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "AttributeError" in done.stderr or "never awaited" in done.stderr


def test_other_threads_and_handlers_are_left_alone() -> None:
    program = textwrap.dedent(
        """
        import signal, threading
        from croc.jobs.interrupts import run_async

        async def work():
            return signal.getsignal(signal.SIGINT)

        found = []
        thread = threading.Thread(target=lambda: found.append(run_async(work)))
        thread.start()
        thread.join()
        assert found == [signal.default_int_handler], found
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        assert run_async(work) == signal.SIG_IGN
        """
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
