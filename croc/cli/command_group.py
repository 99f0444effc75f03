"""A group of commands that loads a command when it is typed, and that other distributions can extend.

A distribution adds commands with entry points of the group ``croc.commands``. A dotted name adds a subcommand
to a group::

    [project.entry-points."croc.commands"]
    audit = "my_package.commands:audit"                # croc audit
    "scorers.compare" = "my_package.commands:compare"  # croc scorers compare
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import click

from croc.cli.output import log
from croc.cli.verbosity import add_options
from croc.errors import CrocError

ENTRY_POINTS = "croc.commands"
DISTRIBUTION = "croc-t2i"
SECTIONS = {
    "make": "Make checks",
    "run": "Run metrics",
    "evaluate": "Evaluate metrics",
    "share": "Share",
    "train": "Train a metric",
    "people": "Collect human labels",
    "more": "More",
}
"""Sections of ``croc --help`` and their headings, in order."""
PROJECT_ONLY = "croc.project_only"
"""Key of ``click.Context.meta``: if it is set, groups have no commands of other distributions."""

_Command = TypeVar("_Command", bound=click.Command)


def section(name: str) -> Callable[[_Command], _Command]:
    """Decorate a command with the section of ``croc --help`` in which it is listed.

    It sets the attribute ``section``, which a command of another distribution may also set itself.
    """

    def decorate(command: _Command) -> _Command:
        command.section = name  # type: ignore[attr-defined]
        return command

    return decorate


@dataclass(frozen=True)
class Source:
    """Where the code of a command is.

    Attributes:
        name: what is typed after ``croc``, words joined by dots.
        value: ``module:command``.
        distribution: name of the installed distribution that declares it.
    """

    name: str
    value: str
    distribution: str

    def load(self) -> click.Command:
        """Import the command; if that fails, a command that says why."""
        try:
            command = pkgutil.resolve_name(self.value.partition("[")[0].strip())
        except (Exception, SystemExit) as error:  # whatever the module of somebody else does
            return BrokenCommand(self, f"{type(error).__name__}: {error}")
        if not isinstance(command, click.Command):
            return BrokenCommand(self, f"{self.value} is not a click command")
        return command


class BrokenCommand(click.Command):
    """Stands in the place of a command that cannot be loaded, and fails when it is used."""

    def __init__(self, source: Source, reason: str) -> None:
        name = source.name.rpartition(".")[2]
        super().__init__(name, short_help=f"Cannot be loaded (from {source.distribution}).")
        self.message = (
            f"the command '{source.name.replace('.', ' ')}' of the distribution {source.distribution} cannot "
            f"be loaded: {' '.join(reason.split())}"
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Raise the error, also for ``--help``; completion of a command line goes on."""
        if ctx.resilient_parsing:
            return super().parse_args(ctx, [])
        raise CrocError(self.message)


class CommandGroup(click.Group):
    """A group whose commands are imported when they are typed or when their short help is shown.

    Args:
        own: ``module:command`` by name: commands of this group that need no entry point.
        path: what stands before the names of its commands in entry points: nothing for ``croc`` itself, the
            name and a dot for a group. A group sets it for the groups in it when it loads them.
    """

    def __init__(
        self, *args: Any, own: Mapping[str, str] | None = None, path: str | None = None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.path = path
        self._own = {name: Source(name, value, DISTRIBUTION) for name, value in (own or {}).items()}
        self._warned: set[Source] = set()

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, sorted."""
        return sorted({*self.commands, *self._sources(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now if necessary; None if there is none."""
        command, used = self.commands.get(cmd_name), DISTRIBUTION
        sources = self._sources(ctx).get(cmd_name, [])
        if command is None:
            if not sources:
                return None
            command, used, sources = sources[0].load(), sources[0].distribution, sources[1:]
        if isinstance(command, CommandGroup) and self.path is not None:
            command.path = f"{self.path}{cmd_name}."
        for source in sources:
            self._warn(source, f"{used} has one of that name")
        add_options(command, packages)
        return command

    def distribution_of(self, ctx: click.Context, name: str | None) -> str:
        """The installed distribution that has a command of this group."""
        sources = self._sources(ctx).get(name or "", [])
        return sources[0].distribution if sources and name not in self.commands else DISTRIBUTION

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands; with sections if one of them names its section."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        for source in self._below(ctx):
            parent, dot, _ = source.name.removeprefix(self.path or "").partition(".")
            if dot and not isinstance(commands.get(parent), CommandGroup | BrokenCommand):
                self._warn(source, "there is no such group, or it cannot be extended")
        shown = {name: command for name, command in commands.items() if command and not command.hidden}
        if not any(hasattr(command, "section") for command in shown.values()):
            super().format_commands(ctx, formatter)
            return
        longest = max(map(len, shown))
        rows: dict[str, list[tuple[str, str]]] = {name: [] for name in SECTIONS}
        for name, command in shown.items():
            text = command.get_short_help_str(formatter.width - 6 - longest)
            place = getattr(command, "section", "more")
            rows[place if place in SECTIONS else "more"].append((name.ljust(longest), text))
        for name, heading in SECTIONS.items():
            if rows[name]:
                with formatter.section(heading):
                    formatter.write_dl(rows[name])

    def _below(self, ctx: click.Context) -> list[Source]:
        """Sources of the commands in this group and in the groups in it."""
        project_only = ctx.meta.get(PROJECT_ONLY, False)
        return [
            source
            for source in installed()
            if self.path is not None
            and source.name.startswith(self.path)
            and (source.distribution == DISTRIBUTION or not project_only)
        ]

    def _sources(self, ctx: click.Context) -> dict[str, list[Source]]:
        """Sources of each command of this group, the first of which is used."""
        sources = {name: [source] for name, source in self._own.items()}
        for source in self._below(ctx):
            name = source.name.removeprefix(self.path or "")
            if "." not in name:
                sources.setdefault(name, []).append(source)
        return sources

    def _warn(self, source: Source, reason: str) -> None:
        if source not in self._warned:
            self._warned.add(source)
            command = f"the command '{source.name.replace('.', ' ')}' of the distribution"
            log(f"warning: {command} {source.distribution} is not used: {reason}")


def packages() -> set[str]:
    """Names of the packages that have commands."""
    return {"croc", *(re.split("[.:]", source.value, maxsplit=1)[0] for source in installed())}


@cache
def installed() -> tuple[Source, ...]:
    """The commands that installed distributions declare: the project's own first, then by distribution."""
    from importlib.metadata import entry_points

    names: dict[Any, str] = {None: "unknown"}  # a distribution reads its metadata each time its name is asked
    sources = []
    for point in entry_points(group=ENTRY_POINTS):
        if point.dist is not None and point.dist not in names:
            names[point.dist] = re.sub(r"[-_.]+", "-", point.dist.name).lower()
        sources.append(Source(point.name, point.value, names[point.dist]))
    return tuple(sorted(sources, key=lambda s: (s.distribution != DISTRIBUTION, s.distribution, s.name)))
