"""What the written guide says is what the program does."""

from __future__ import annotations

import ast
import os
import re
import runpy
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import click
import guide_readers
import pytest
from checkout import copy_checkout
from hub_server import Hub
from walk import blocks, run_page

from croc.cli import main
from croc.cli.install import install, remove

ROOT = Path(__file__).parents[2]
WALKED = (
    *("README", "quickstart", "evaluate", "report", "statistics", "first_experiments", "own_benchmark"),
    *(
        "taxonomy",
        "exact_world",
        "scorers",
        "judges",
        "train_your_own",
        "ask_people",
        "external_benchmarks",
        "transfer",
        "graded",
        "invariance",
        "languages",
        "reward_audit",
        "probe",
        "own_images",
        "trust",
    ),
    *("ratings", "generation", "foreign_metrics", "hub", "datasets", "spaces", "annotation", "crocscore"),
    "security",
    pytest.param("cluster", marks=pytest.mark.cluster),
)
"""Pages that are run as they stand, each in a folder of its own."""
REFERENCE_DATA = {
    "ratings": ("tifa160",),
    "external_benchmarks": ("ratings", "tifa160", "nlvr"),
    "transfer": ("ratings",),
    "datasets": ("nlvr",),
    "crocscore": ("nlvr", "tifa160"),
}
"""Published data that a page reads."""
EXTRAS = {
    "cluster": [("ray", "ray")],
    "generation": [("imagehash", "dedup")],
    "spaces": [("gradio", "space")],
    **{key: [("gradio", "space"), ("krippendorff", "hum")] for key in ("annotation", "ask_people")},
    **{key: [("trl", "train")] for key in ("crocscore", "train_your_own")},
}
"""Modules that a page takes from an extra of the package."""
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_page_of_the_command_line_is_the_help_of_its_commands() -> None:
    generated = runpy.run_path(str(ROOT / "docs" / "generate_cli.py"))["page"]()
    assert (ROOT / "docs" / "cli.md").read_text("utf-8") == generated, "run python docs/generate_cli.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_of_columns_are_those_of_their_declaration(page: Path) -> None:
    filled = runpy.run_path(str(ROOT / "docs" / "generate_tables.py"))["filled"]
    text = page.read_text("utf-8")
    assert text == filled(text), "run python docs/generate_tables.py"


def test_every_generated_table_stands_in_the_guide_once() -> None:
    names = runpy.run_path(str(ROOT / "docs" / "generate_tables.py"))["tables"]()
    places = [
        name for page in PAGES for name in re.findall(r"<!-- table: (\w+) -->", page.read_text("utf-8"))
    ]
    assert sorted(places) == sorted(names)


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


@pytest.mark.docs_commands
@pytest.mark.parametrize(("page", "line"), shown_commands())
def test_commands_that_the_guide_shows_exist_with_their_options(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command: click.Command = main
    while isinstance(command, click.Group) and words:
        inner = command.get_command(click.Context(command), words[0])
        if inner is None:
            break
        command = inner
        words.pop(0)
    known = {name for parameter in command.params for name in parameter.opts} | {"-h", "--help"}
    used = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    if command.name == "train" and used - known:  # further options are keys of the recipe
        trl = pytest.importorskip("trl", reason="needs trl, whose settings are keys of a recipe")
        from crocscore.training.recipe import Arguments

        known |= {f"--{item.name}" for kind in (Arguments, trl.SFTConfig) for item in fields(kind)}
    assert used <= known, f"{page}: {line}"
    assert not isinstance(command, click.Group) or not words


def shown_modules() -> list[tuple[str, str]]:
    """Module and options of each ``python -m`` of this project that the guide shows."""
    found = set()
    for page in PAGES:
        for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if shown := re.search(
                    r"python -m ((?:croc|crocscore|builders|hub_cards)[\w.]*\.\w+)(.*)", line
                ):
                    options = re.findall(r"(?<= )--[a-z][a-z-]*", shown[2])
                    found.add((shown[1], " ".join(sorted(set(options)))))
    return sorted(found)


@pytest.mark.docs_commands
@pytest.mark.parametrize(("module", "options"), shown_modules())
def test_modules_that_the_guide_runs_exist_with_their_options(module: str, options: str) -> None:
    shown = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert not [option for option in options.split() if option not in shown.stdout]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_scripts_that_the_guide_names_exist(page: Path) -> None:
    scripts = re.findall(r"python ((?:benchmarks|docs|tests)/[\w/]+\.py)", page.read_text("utf-8"))
    assert not [script for script in scripts if not (ROOT / script).is_file()]


def walk_beside(hub: Hub, page: Path, home: Path) -> None:
    """Walk a page in a process of its own, whose Hub is the one on loopback from its first import on."""
    environment = {**os.environ, **hub.client_environment(home / "cache", "hf_writer")}
    environment["OMP_NUM_THREADS"] = "1"  # of tensors this small, threads only wait for each other
    port = hub.endpoint.rpartition(":")[2]
    command = [sys.executable, str(ROOT / "tests" / "support" / "walk.py"), str(page), f"PORT={port}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.slow
@pytest.mark.spread
@pytest.mark.parametrize("name", WALKED)
def test_a_page_of_the_guide_runs_from_top_to_bottom(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    for module, extra in EXTRAS.get(name, ()):
        pytest.importorskip(module, reason=f"needs croc-t2i[{extra}]")
    folder = tmp_path / "reader"
    folder.mkdir()
    for data in REFERENCE_DATA.get(name, ()):
        (folder / data).symlink_to(request.getfixturevalue("shared_data") / data)
    monkeypatch.chdir(folder)
    metrics = ("croc", "crocscore")
    for metric in metrics:
        install(metric)
    page = next(page for page in PAGES if page.stem == name)
    with getattr(guide_readers, name, guide_readers.anybody)(folder) as hub:
        if hub:
            walk_beside(hub, page, tmp_path)
        else:
            run_page(page)
    for metric in metrics:
        remove(metric)


@pytest.mark.slow
def test_the_quickstart_runs_in_a_checkout_offline_and_without_an_installation(tmp_path: Path) -> None:
    tree = tmp_path / "checkout"
    copy_checkout(tree)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        **{"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"},
        **{"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"},
    }
    command = [sys.executable, "tests/support/walk.py", "docs/quickstart.md"]
    with guide_readers.quickstart(tree):
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def test_every_page_with_something_to_run_is_walked() -> None:
    walked = {name if isinstance(name, str) else name.values[0] for name in WALKED}
    pages = [page for page in PAGES if page.name != "CONTRIBUTING.md"]  # what it shows needs a clone
    runs = [page.stem for page in pages if {language for language, _ in blocks(page)} & {"sh", "python"}]
    assert walked == set(runs)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("```sh\ncroc no-such-command\n```", "no-such-command"),
        ("```sh\nLEFT=1 python -c 'import sys; sys.exit(3)'\n```", "exit"),
        ("```sh\nanother-program\n```", "another-program"),
        ("```python\nassert 1 == 2, 'not equal'\n```", "not equal"),
        ("```python\n# there/script.py\nimport sys\nsys.exit(len(sys.argv))\n```\n"
         "```sh\npython there/script.py PLACE\n```", "script.py here"),
        ("```sh\ncroc space no-such-page\n```", "did not start"),
        ("```python\nprint('mean 0.5')\n```\n<!-- printed -->\n```text\nmean 0.7\n```", "not printed"),
        ("```python\nprint('┃ property ┃ checks ┃ m ┃\\n│ colour │ 9 │ +1.00 │')\n```", "colour has 9"),
        ("```python\nresult = {'groups': {'property': {'colour': {'n': 9}}}}\n```", "property colour"),
    ],
)  # fmt: skip
def test_a_walk_ends_where_a_page_is_wrong(
    text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text(f"<!-- not run: has no such thing -->\n```sh\ncroc nothing\n```\n\n{text}\n", "utf-8")
    with pytest.raises((AssertionError, RuntimeError), match=says):
        run_page(page, PLACE="here")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_that_the_guide_shows_is_python(page: Path) -> None:
    for text in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        ast.parse(text, page.name)


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = re.findall(
        r"```\{toctree\}\n(?::[^\n]*\n)*\n(.*?)```",
        (ROOT / "docs" / "index.md").read_text("utf-8"),
        re.DOTALL,
    )
    names = {line for block in listed for line in block.split()}
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")}
    assert pages - names == {"index"}, "list the page in a toctree of docs/index.md"


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="needs croc-t2i[docs]")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(ROOT / "docs"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "croc.verdict.evaluation.evaluate_tables" in (tmp_path / "api.html").read_text("utf-8")
