"""What a person sees of long work: a bar, or lines where nobody watches."""

from __future__ import annotations

import logging
import re
import sys
from types import SimpleNamespace

import pytest

from croc.jobs.progress import format_duration, progress_bar


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Time that a test moves, in seconds."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr("croc.jobs.progress.time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_a_job_without_a_terminal_says_every_half_minute_how_far_it_is(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = []
    with progress_bar("images", "images") as show:
        # An earlier run made the first 50; so many seconds after the beginning so many are there.
        for seconds, done, note in (
            (0, 50, ""),
            (20, 70, ""),
            (31, 81, ""),
            (45, 95, ""),
            (62, 112, "1 failed"),
        ):
            clock.now = 100.0 + seconds
            show(done, 1000, note)
            lines.append(capsys.readouterr().err)
    assert lines == [
        "",
        "",
        "images: 81 of 1000 images, 1/s, about 15.3 min left\n",
        "",
        "images: 112 of 1000 images, 1/s, about 14.8 min left, 1 failed\n",
    ]


def test_work_of_unknown_length_says_no_end(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar("scores", "pairs") as show:
        show(0, None, "")
        clock.now += 40
        show(10, None, "")
    assert capsys.readouterr().err == "scores: 10 pairs, 0.25/s\n"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(5, "5 s"), (119, "119 s"), (120, "2.0 min"), (9000, "2.5 h"), (259_200, "3.0 days")],
)
def test_a_stretch_of_time_is_said_in_the_unit_that_people_would_take(seconds: float, said: str) -> None:
    assert format_duration(seconds) == said


def test_a_bar_estimates_the_time_left_by_what_this_run_made(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    with progress_bar("images", "images") as show:
        clock.now += 60  # the model is loaded
        show(900, 1000, "")  # reused from an earlier run
        clock.now += 10
        show(905, 1000, "1 failed")
    # 5 images in 10 s: 95 are left, 190 s. The 900 of the earlier run would give a second.
    shown = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", capsys.readouterr().err)
    assert "905/1000 images 0.5/s, about 3.2 min left, 1 failed" in shown


def test_a_run_in_which_nothing_is_made_has_no_time_left(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar("images", "images") as show:
        show(40, 100, "")
        clock.now += 31
        show(40, 100, "all failed")
    assert capsys.readouterr().err == "images: 40 of 100 images, 0/s, all failed\n"


def test_nothing_is_shown_where_warnings_are_disabled(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "croc")
    with progress_bar("images", "images") as show:
        clock.now += 31
        show(40, 100, "")
    assert capsys.readouterr().err == ""
