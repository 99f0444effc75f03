"""What the written guide says is what the program does."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import click
import pytest

from croc.cli import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_page_of_the_command_line_is_the_help_of_its_commands() -> None:
    generated = runpy.run_path(str(ROOT / "docs" / "generate_cli.py"))["page"]()
    assert (ROOT / "docs" / "cli.md").read_text("utf-8") == generated, "run python docs/generate_cli.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8"))
    assert not [target for target in targets if not (page.parent / target).exists()]


def shown_commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        if page.name == "cli.md":
            continue
        for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                line = line.lstrip("$ ")
                if line.startswith("croc "):
                    found.append((page.name, line))
    return found


@pytest.mark.parametrize(("page", "line"), shown_commands())
def test_commands_that_the_guide_shows_exist_with_their_options(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command: click.Command = main
    while isinstance(command, click.Group):
        if words and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        elif getattr(command, "default", None):
            command = command.commands[command.default]
        else:
            break
    known = {name for parameter in command.params for name in parameter.opts} | {"-h", "--help"}
    used = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert used <= known, f"{page}: {line}"
    assert not isinstance(command, click.Group) or not words


def test_the_python_of_the_readme_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)  # evaluate.load("croc") means this checkout
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert "protocol:syn" in capsys.readouterr().out
