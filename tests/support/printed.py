"""Output that a page of the guide shows, compared with what its commands print.

A block below ``<!-- printed -->`` shows lines of the output of the block before it, in their order. Lines may
be left out, spaces and the lines of tables do not count, and ``…`` stands for any text. This command updates
the numbers of the pages that ``-k`` names and leaves the words as they are:

    CROC_WRITE_DOCS=1 python -m pytest tests/docs/test_docs.py -m slow -k "README or quickstart"
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

NUMBER = r"[+−]?\d+(?:\.\d+)?"
_LINES = re.compile(r"[\s│┃|]+")


def check_shown(page: Path, shown: str, output: str) -> None:
    """Every line that a page shows was printed; with ``CROC_WRITE_DOCS`` the page gets the new numbers."""
    rewrite = bool(os.environ.get("CROC_WRITE_DOCS"))
    rest = iter([_plain(line) for line in output.splitlines()])
    lines = []
    for line in shown.splitlines():
        if line.strip() not in ("", "…"):
            form = _form(line, rewrite)
            match = next(filter(None, map(form.fullmatch, rest)), None)
            assert match, f"{page.name} shows {line!r}, which is not printed (here) by\n{output}"
            if rewrite:
                line = _with_numbers(line, match.groups())
        lines.append(line)
    if rewrite:
        page.write_text(page.read_text("utf-8").replace(shown, "\n".join(lines) + "\n"), "utf-8")


def _with_numbers(line: str, numbers: Sequence[str]) -> str:
    new = iter(numbers)
    return re.sub(NUMBER, lambda old: next(new).rjust(len(old[0])), line)


def _plain(line: str) -> str:
    return _LINES.sub(" ", line).strip()


def _form(line: str, any_number: bool) -> re.Pattern[str]:
    parts = re.split(rf"({NUMBER}|…)", _plain(line))
    for position, part in enumerate(parts):
        if part == "…":
            parts[position] = ".*"
        else:
            number = any_number and re.fullmatch(NUMBER, part)
            parts[position] = f"({NUMBER})" if number else re.escape(part)
    return re.compile("".join(parts))
