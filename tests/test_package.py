"""The shape of the package: who imports whom, what is light, what the wheel holds."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("croc", "croc_syn", "croc_hum", "crocscore", "builders", "hub_cards")
# Room → rooms that it may import (the command line reaches all of them, inside its commands).
ALLOWED = {
    "croc": set(),
    "croc_syn": {"croc"},
    "croc_hum": {"croc"},
    "crocscore": {"croc"},
    "hub_cards": {"croc"},
    "builders": {"croc", "croc_syn", "croc_hum", "hub_cards"},
}
HEAVY = {"torch", "transformers", "diffusers", "trl", "peft", "accelerate", "ray", "gradio", "openai"}


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imports(file: Path, *, top_level_only: bool = False) -> Iterator[tuple[str, int]]:
    """Names of the modules that a file imports, those under TYPE_CHECKING left out."""
    tree = ast.parse(file.read_text("utf-8"))
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped |= {id(inner) for inner in ast.walk(node)}
        if top_level_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            skipped |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node.lineno


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_the_rooms_they_may(room: str) -> None:
    wrong = []
    for file in modules(room):
        if file.parent == ROOT / "croc" / "cli":
            continue
        for name, line in imports(file):
            target = name.split(".")[0]
            if target in ROOMS and target != room and target not in ALLOWED[room]:
                wrong.append(f"{file.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong


def test_the_command_line_reaches_other_rooms_only_inside_commands() -> None:
    for file in modules("croc/cli"):
        reached = {name.split(".")[0] for name, _ in imports(file, top_level_only=True)}
        assert not reached & (set(ROOMS) - {"croc"})


@pytest.mark.parametrize("room", ROOMS)
def test_heavy_libraries_are_imported_inside_what_needs_them(room: str) -> None:
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for file in modules(room)
        for name, line in imports(file, top_level_only=True)
        if name.split(".")[0] in HEAVY
    ]
    assert not wrong


def test_no_module_shadows_a_library_that_the_project_uses() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        wanted += extra
    libraries = {re.split(r"[\[<>=~! ]", line)[0].lower().replace("-", "_") for line in wanted}
    libraries |= {"pil", "yaml"}
    stems = {file.stem for room in ROOMS for file in modules(room)}
    assert not stems & libraries


def test_no_file_is_too_long_to_read_in_a_sitting() -> None:
    long = [
        f"{file.relative_to(ROOT)}: {lines}"
        for room in ROOMS
        for file in modules(room)
        if (lines := len(file.read_text("utf-8").splitlines())) > 600
    ]
    assert not long


def test_nothing_is_evaluated_unpickled_or_run_through_a_shell() -> None:
    wrong = []
    for room in ROOMS:
        for file in modules(room):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                called = ast.unparse(node.func)
                shell = any(k.arg == "shell" and ast.unparse(k.value) == "True" for k in node.keywords)
                if called in ("eval", "exec", "pickle.load", "pickle.loads", "os.system") or shell:
                    wrong.append(f"{file.relative_to(ROOT)}:{node.lineno} {called}")
    assert not wrong


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in run.stdout.split()}


def test_importing_croc_loads_nothing_heavy() -> None:
    assert not loaded_by("import croc") & {*HEAVY, "datasets", "evaluate", "polars", "numpy", "matplotlib"}


def test_the_help_of_the_command_line_loads_nothing_heavy() -> None:
    statement = (
        "from click.testing import CliRunner; from croc.cli import main; CliRunner().invoke(main, ['-h'])"
    )
    assert not loaded_by(statement) & {*HEAVY, "datasets", "evaluate", "polars", "matplotlib", "rich"}


def test_public_names_are_there() -> None:
    import croc

    for name in croc.__all__:
        assert getattr(croc, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = croc.nothing
    assert importlib.metadata.version("croc-t2i") == croc.__version__


@pytest.mark.slow
def test_the_wheel_works_in_a_clean_environment(tmp_path: Path) -> None:
    """Built, installed without the checkout, and the whole road walked with it."""
    python = sys.executable
    wheels = tmp_path / "wheels"
    subprocess.run([python, "-m", "build", "--wheel", "-o", wheels, ROOT], check=True, capture_output=True)
    (wheel,) = wheels.glob("croc_t2i-*.whl")
    subprocess.run([python, "-m", "venv", tmp_path / "env"], check=True)
    inside = tmp_path / "env" / "bin"
    constraints = ROOT / "constraints.txt"
    install = [inside / "python", "-m", "pip", "install", "-q", "-c", constraints, wheel]
    subprocess.run(install, check=True, capture_output=True)
    demo = subprocess.run(
        [inside / "croc", "demo", "--out", tmp_path / "demo", "--checks", "60", "--images", "2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert demo.returncode == 0, demo.stderr
    assert "colour-words" in demo.stdout
    assert (tmp_path / "demo" / "report.html").stat().st_size > 50_000
    missing = subprocess.run(
        [inside / "croc", "score", tmp_path / "demo" / "syn", "--scorer", "clipscore-b32", "--out", "s"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert missing.returncode == 2
    assert 'pip install "croc-t2i[score]"' in missing.stderr
    page = subprocess.run([inside / "croc", "space"], cwd=tmp_path, capture_output=True, text=True)
    assert page.returncode == 2
    assert 'pip install "croc-t2i[space]"' in page.stderr
