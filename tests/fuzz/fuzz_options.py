"""Command lines with a value that no option or argument expects, from the commands' own declarations."""

from __future__ import annotations

import random
from collections.abc import Iterator

import click

from croc.cli import main

NUMBERS = ("nan", "-1", "1e400", "", "three")
PATHS = ("", "nowhere/at/all", "/dev/null", "votes.sqlite", "checks", "a\nb", "\x1b[2J", "x" * 5000, "[v2]*?")
TEXTS = ("", " ", "\x1b[2J", "é漢字", "a=b=c", "../..", "--help-me", "x" * 5000, "org/name/too/long")
_WITHOUT = {
    "annotate",  # serve until they are stopped
    "space",
    "demo",  # minutes of good work with most odd values
    "install",  # writes to the caches of the user
}

_SMALL = {
    "build syn": {"checks": "4", "images": "1", "size": "48"},
    "build scenes": {"images": "4"},
    "prompts": {"checks": "4"},
    "images": {"changes": "images.count=1"},
    "audit-reward": {
        "prompts": "1",
        "candidates": "16",
        "searched": "1",
        "search_images": "4",
        "attacks": "1",
    }
    | {"properties": "colour", "size": "64"},
    "probe": {"max_checks": "8", "detail_checks": "0", "size": "64"},
    "invariance": {"max_checks": "4"},
    "experiment probes": {"layouts": "1", "probes": "probes.yaml"},
    "hum candidates": {"images": "1", "size": "48", "category": "negation"},
    "hum agreement": {"resamples": "20"},
    "evaluate": {"resamples": "20", "permutations": "20"},
    "agree": {"resamples": "20", "permutations": "20"},
    "correlate": {"resamples": "20", "permutations": "20"},
    "diff": {"permutations": "20"},
}
"""Values that keep a command short which takes the odd value."""


def command_lines(count: int | None = None, seed: int = 0) -> list[list[str]]:
    """A sample of the command lines with one odd value for an option or argument of a command.

    Args:
        count: how many; None returns all.
        seed: of the sample.
    """
    lines = list(_all_command_lines())
    return lines if count is None else random.Random(seed).sample(lines, min(count, len(lines)))


def _all_command_lines() -> Iterator[list[str]]:
    for path, command in _commands(main, click.Context(main), []):
        small = _SMALL.get(" ".join(path), {})
        for odd in command.params:
            if isinstance(odd, click.Option) and (odd.is_flag or "--help" in odd.opts):
                continue
            for value in _odd_values(odd):
                words = [*path]
                for parameter in command.params:
                    if parameter is odd:
                        words += _words(parameter, value)
                    elif parameter.name in small:
                        words += _words(parameter, small[parameter.name])
                    elif parameter.required:
                        words += _words(parameter, _usual(parameter))
                yield words


def _commands(
    command: click.Command, context: click.Context, path: list[str]
) -> Iterator[tuple[list[str], click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        if inner is not None and name not in _WITHOUT:
            yield from _commands(inner, click.Context(inner, parent=context), [*path, name])


def _odd_values(parameter: click.Parameter) -> tuple[str, ...]:
    kind = parameter.type
    if isinstance(kind, click.Choice):
        return ("", "other", "\x1b[2J")
    if isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        return NUMBERS
    if isinstance(kind, click.Path):
        return PATHS
    return TEXTS


def _words(parameter: click.Parameter, value: str) -> list[str]:
    if isinstance(parameter, click.Option):
        return [f"{parameter.opts[-1]}={value}"]
    return [value]


def _usual(parameter: click.Parameter) -> str:
    if isinstance(parameter.type, click.Choice):
        return str(parameter.type.choices[0])
    name = (parameter.name or "").rstrip("s")
    return {
        "out": "made",
        "table": "table.csv",
        "dataset": "checks",
        "scorer": "random",
        "checks": "checks",
        "preset": "preset.yaml",
        "vote": "votes.csv",
        "store": "votes.sqlite",
        "result": "results",
        "human": "human",
        "pair": "pairs",
        "score": "outside.csv",
    }.get(name, "checks")
