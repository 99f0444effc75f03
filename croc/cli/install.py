"""The command install: ``load_dataset("croc/syn")`` and ``evaluate.load("croc")`` work in any folder."""

from __future__ import annotations

from pathlib import Path

import click

from croc.cli.command_group import section
from croc.cli.output import echo
from croc.errors import InputError
from croc.wording import counted

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


SAMPLE = "syn"
"""The name that installs the embedded sample of CROCsyn."""


@section("run")
@click.command(
    "install",
    epilog="""\b
Examples:
  croc install
  HF_HUB_OFFLINE=1 python -c 'from datasets import load_dataset; print(load_dataset("croc/syn"))'
  HF_EVALUATE_OFFLINE=1 python -c 'import evaluate; print(evaluate.load("croc").citation)'""",
)
@click.argument("names", nargs=-1, type=click.Choice([SAMPLE, *MODULES]), metavar="[NAMES]...")
@click.option("--remove", "removing", is_flag=True, help="Remove what was installed.")
def install_command(names: tuple[str, ...], removing: bool) -> None:
    """Install the sample and the evaluate modules.

    load_dataset("croc/syn"), evaluate.load("croc") and evaluate.load("crocscore") then work offline, too.

    NAMES are what to install: syn, the sample of CROCsyn in this package; the modules croc and crocscore; or
    all (the default). They are used where the Hub does not answer or has none of that name. Set
    HF_EVALUATE_OFFLINE=1 for the modules; otherwise evaluate asks the Hub first, where "croc" is a module of
    Hugging Face.
    """
    for name in names or (SAMPLE, *MODULES):
        try:
            echo(_remove(name) if removing else _install(name))
        except OSError as problem:
            raise InputError(f"{problem.filename}: cannot be written ({problem.strerror})") from None


def _install(name: str) -> str:
    if name != SAMPLE:
        return f'evaluate.load("{name}"): {install(name)}'
    from croc.checks.installation import install_sample

    installed = counted(len(install_sample()), "configuration")
    return f'load_dataset("croc/syn"): {installed} in the cache of datasets'


def _remove(name: str) -> str:
    if name == SAMPLE:
        from croc.checks.installation import remove_sample

        remove_sample()
    else:
        remove(name)
    return f"{name}: removed"
