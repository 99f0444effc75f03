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
# Room → rooms that it may import.
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


def imported(file: Path, *, top_level_only: bool = False) -> Iterator[ast.Import | ast.ImportFrom]:
    """The import statements of a file, those under TYPE_CHECKING left out."""
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
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node


def imports(file: Path, *, top_level_only: bool = False) -> Iterator[tuple[str, int]]:
    """Names of the modules that a file imports, with the lines."""
    for node in imported(file, top_level_only=top_level_only):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif node.module and not node.level:
            yield node.module, node.lineno


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_the_rooms_they_may(room: str) -> None:
    wrong = []
    for file in modules(room):
        for name, line in imports(file):
            target = name.split(".")[0]
            if target in ROOMS and target != room and target not in ALLOWED[room]:
                wrong.append(f"{file.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph() -> dict[str, set[str]]:
    """Module → modules of this project that it imports, also inside functions.

    ``from package import name`` is an import of ``package.name`` where that is a module. That the import of a
    module also runs the ``__init__`` of its packages is not an arrow: those hold docstrings and lazy names.
    """
    files = {module_name(file): file for room in ROOMS for file in modules(room)}
    graph: dict[str, set[str]] = {}
    for name, file in files.items():
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        graph[name] = set()
        for node in imported(file):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            else:
                base = node.module or ""
                if node.level:
                    above = package.split(".")[: len(package.split(".")) - node.level + 1]
                    base = ".".join([*above, *([node.module] if node.module else [])])
                inner = [f"{base}.{alias.name}" for alias in node.names]
                targets = [target if target in files else base for target in inner]
            graph[name] |= {target for target in targets if target in files and target != name}
    return graph


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The strongly connected components with more than one module."""
    reach = {name: reachable(name, graph) for name in graph}
    found: list[set[str]] = []
    for name in sorted(graph):
        circle = {other for other in reach[name] if name in reach[other]}
        if circle and circle not in found:
            found.append(circle)
    return found


def reachable(start: str, graph: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        new = graph[todo.pop()] - seen
        seen |= new
        todo += new
    return seen


def test_modules_do_not_import_each_other_in_circles() -> None:
    """Imports inside functions count; those under TYPE_CHECKING do not."""
    found = [sorted(circle) for circle in circles(import_graph())]
    assert not found, f"circles: {found}"


def test_a_circle_of_imports_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"e"}, "e": {"f"}, "f": {"d"}, "g": {"a", "d"}}
    assert circles(graph) == [{"b", "c"}, {"d", "e", "f"}]


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
        for room in (*ROOMS, "tests")
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
