"""Write ``docs/cli.md`` from the command line's own help: ``python docs/generate_cli.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from croc.cli import main
from croc.cli.command_group import PROJECT_ONLY

PAGE = Path(__file__).with_name("cli.md")
_WIDTH = 100
_EXIT_CODES = (
    "Exit codes: 0 is success. 2 means that the command cannot do what was asked, for example because of an\n"
    "option, a file, a full disk or the network; one sentence says why. 1 is a fault of the program, or an\n"
    "output whose reader has gone. 130 is Ctrl-C; finished work is kept, and the same command resumes it.\n"
    "`croc --debug COMMAND` shows the traceback of an error.\n\n"
    "`--verbose` (`-v`) and `--quiet` (`-q`) stand before or after the name of a command, as in\n"
    "`croc evaluate -v scores/`. Results go to standard output, everything else to standard error.\n"
    "`-q` prints only results and errors: no progress, no remarks, no messages of other libraries.\n"
    "`-v` adds the signatures of numbers and messages about the work.\n\n"
    "The Tab key completes commands, options and file names after this line in the shell's start file:\n\n"
    "```text\n"
    'bash  (~/.bashrc)                      eval "$(_CROC_COMPLETE=bash_source croc)"\n'
    'zsh   (~/.zshrc)                       eval "$(_CROC_COMPLETE=zsh_source croc)"\n'
    "fish  (~/.config/fish/config.fish)     _CROC_COMPLETE=fish_source croc | source\n"
    "```"
)


def page() -> str:
    """The whole page."""
    lines = ["# The command line", "", "Written from the commands' own help by `docs/generate_cli.py`.", ""]
    lines += [_EXIT_CODES, ""]
    for path, context in _contexts(main, ["croc"]):
        lines += ["#" * min(len(path) + 1, 4) + f" {' '.join(path)}", "", "```text"]
        lines += [line.rstrip() for line in context.get_help().splitlines()]
        lines += ["```", ""]
    return "\n".join(lines)


def _contexts(command: click.Command, path: list[str]) -> Iterator[tuple[list[str], click.Context]]:
    """The words of each command with its context, in which only this project's commands exist."""
    context = click.Context(
        command,
        info_name=" ".join(path),
        terminal_width=_WIDTH,
        max_content_width=_WIDTH,
        help_option_names=main.context_settings["help_option_names"],
    )
    context.meta[PROJECT_ONLY] = True
    yield path, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _contexts(inner, [*path, name])


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
