"""The command that makes ``evaluate.load("croc")`` work anywhere: install-metric."""

from __future__ import annotations

from pathlib import Path

import click

from croc.cli.command_group import section
from croc.cli.output import echo
from croc.errors import InputError

MODULES = {"croc": ("croc.croc", "Croc"), "crocscore": ("crocscore.crocscore", "Crocscore")}
"""Short name → module and class. Only a file that imports the class is installed."""

_STUB = '''"""Finds {name} in the installed package, so that an update of the package updates it."""

from {module} import {cls}

__all__ = ["{cls}"]
'''


def place_of(name: str) -> Path:
    """The folder in which ``evaluate`` looks for a short name that it cannot fetch from the Hub."""
    from evaluate.loading import init_dynamic_modules

    return Path(init_dynamic_modules()) / "metrics" / f"evaluate-metric--{name}"


def install(name: str) -> Path:
    """Write the file that ``evaluate.load(name)`` finds offline, and return its path."""
    import hashlib

    from croc.storage.files import atomic

    module, cls = MODULES[name]
    content = _STUB.format(name=name, module=module, cls=cls).encode()
    file = place_of(name) / hashlib.sha256(content).hexdigest() / f"{name}.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    for folder in (file.parent, file.parent.parent, file.parent.parent.parent):
        (folder / "__init__.py").touch()
    with atomic(file) as temporary:  # of several versions ``evaluate`` takes the newest file: write it again
        temporary.write_bytes(content)
    return file


def remove(name: str) -> None:
    """Remove what :func:`install` wrote, if it is there."""
    import shutil

    shutil.rmtree(place_of(name), ignore_errors=True)


@section("run")
@click.command(
    "install-metric",
    epilog="""\b
Examples:
  croc install-metric
  HF_EVALUATE_OFFLINE=1 python -c 'import evaluate; print(evaluate.load("croc").citation)'""",
)
@click.argument("names", nargs=-1, type=click.Choice(list(MODULES)), metavar="[NAMES]...")
@click.option("--remove", "removing", is_flag=True, help="Remove the installed modules.")
def install_metric(names: tuple[str, ...], removing: bool) -> None:
    """Make evaluate.load("croc") work in any folder, offline.

    NAMES are the modules to install: croc, crocscore, or both (the default). Set HF_EVALUATE_OFFLINE=1 when
    you load them; otherwise the library asks the Hub first, where "croc" is a module of Hugging Face.
    """
    for name in names or MODULES:
        try:
            if removing:
                remove(name)
                echo(f"{name}: removed")
            else:
                echo(f'evaluate.load("{name}"): {install(name)}')
        except OSError as problem:
            raise InputError(f"{problem.filename}: cannot be written ({problem.strerror})") from None
