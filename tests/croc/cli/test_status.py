"""croc status: how far resumable work is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from croc.cli import main
from croc.cli.status import _speed
from croc.jobs.parts import Part
from croc.jobs.runner import Status, run


def failing(payload: int, path: Path) -> dict[str, int]:
    if payload == 1:
        raise ValueError("not this one")
    path.write_text("x")
    return {"images": 4}


def test_status_says_what_is_done_failed_and_left(tmp_path: Path) -> None:
    parts = [Part(f"p{n}", n) for n in range(3)]
    with pytest.raises(Exception, match="not this one"):
        run(parts, failing, tmp_path, suffix=".txt", fingerprint={}, progress=False)
    first, second = CliRunner().invoke(main, ["status", str(tmp_path)]).stdout.splitlines()
    assert re.fullmatch(
        r".*: 2 of 3 parts, 1 failed, 1 left, 0\.0 MB, stopped, \S+ images/s, about .* left", first
    )
    assert second == "  failed: p1: ValueError: not this one"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (Status(10, 5, rate=0.5, eta=10.0, counts={"images": 50}), ", 5 images/s, about 10 s left"),
        (Status(10, 5, rate=0.5, eta=7260.0), ", 0.5 parts/s, about 2.0 h left"),
        (Status(10, 5, rate=0.5, eta=300_000.0), ", 0.5 parts/s, about 3.5 days left"),
        (Status(10, 5, rate=0.5, eta=130.0), ", 0.5 parts/s, about 2.2 min left"),
        (Status(10, 0), ""),
        (Status(10, 10, rate=0.5, eta=0.0, complete=True), ""),
    ],
)
def test_speed_is_in_images_and_the_time_left_in_a_readable_unit(status: Status, words: str) -> None:
    assert _speed(status) == words
