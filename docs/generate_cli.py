"""Write ``docs/cli.md`` from the command line's own help: ``python docs/generate_cli.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from croc.cli import main

PAGE = Path(__file__).with_name("cli.md")
_WIDTH = 100


def page() -> str:
    """The whole page."""
    lines = ["# The command line", "", "Written from the commands' own help by `docs/generate_cli.py`.", ""]
    for path, command in _commands(main, ["croc"]):
        context = click.Context(
            command,
            info_name=" ".join(path),
            terminal_width=_WIDTH,
            max_content_width=_WIDTH,
            help_option_names=main.context_settings["help_option_names"],
        )
        lines += ["#" * min(len(path) + 1, 4) + f" {' '.join(path)}", "", "```text"]
        lines += [line.rstrip() for line in command.get_help(context).splitlines()]
        lines += ["```", ""]
    return "\n".join(lines)


def _commands(command: click.Command, path: list[str]) -> Iterator[tuple[list[str], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in sorted(command.commands.items()):
            yield from _commands(inner, [*path, name])


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
