"""Commands of other distributions: found, loaded when needed, and no harm when they are broken."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import click
import polars as pl
import pytest
from click.testing import CliRunner

from croc.cli import main
from croc.cli.command_group import SECTIONS, BrokenCommand, CommandGroup

ROOT = Path(__file__).parents[3]
GOOD = """
import click
from croc.cli.command_group import section

@click.command()
@click.option("--times", default=1)
def hello(times):
    "Say hello."
    click.echo("hello " * times)

@section("people")
@click.command()
def survey():
    "Ask everybody."
"""


def distribution(folder: Path, name: str, commands: Mapping[str, str], **modules: str) -> None:
    """Install a distribution: its metadata and modules, as pip leaves them."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{command} = {value}" for command, value in commands.items()]
    (info / "entry_points.txt").write_text("\n".join(["[croc.commands]", *lines, ""]))
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)


def croc(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``croc`` in a process whose path begins with a folder of installed distributions."""
    paths = [str(folder), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), str(ROOT)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, "-m", "croc", *words], capture_output=True, text=True, env=environment, cwd=folder
    )


def section_of(help_text: str, heading: str) -> str:
    return help_text.split(f"\n{heading}:\n")[1].split("\n\n")[0]


def test_another_distribution_adds_a_command_and_a_subcommand(tmp_path: Path) -> None:
    points = {"hello": "greet:hello", "survey": "greet:survey", "scorers.hello": "greet:hello"}
    distribution(tmp_path, "greetings", points, greet=GOOD)
    listed = croc(tmp_path, "--help")
    assert listed.returncode == 0 and listed.stderr == ""
    assert "hello" in section_of(listed.stdout, "More") and "Say hello." in listed.stdout
    assert "survey" in section_of(listed.stdout, "Collect human labels")
    assert croc(tmp_path, "hello", "--times", "2").stdout == "hello hello \n"
    assert "Say hello." in croc(tmp_path, "scorers", "--help").stdout
    assert croc(tmp_path, "scorers", "hello").stdout == "hello \n"


def test_the_recipe_of_the_guide_adds_a_command(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "contributing" / "plugin_command.md").read_text("utf-8")
    blocks = {
        language: dedent(block)
        for language, block in re.findall(r"^ *```(\w+)\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    }
    points = tomllib.loads(blocks["toml"])["project"]["entry-points"]["croc.commands"]
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "commands.py").write_text(blocks["python"])
    distribution(tmp_path, "my-package", points)
    listed = croc(tmp_path, "--help").stdout
    assert "Count the scores in a score table." in section_of(listed, "Run metrics")
    pl.DataFrame({"score": [1.0, 2.0]}).write_parquet(tmp_path / "t.parquet")
    for words in (("count-scores",), ("scorers", "count-scores")):
        assert croc(tmp_path, *words, "t.parquet").stdout == "2 rows\n"
    missing = croc(tmp_path, "count-scores", "none.parquet")
    assert (missing.returncode, missing.stderr) == (2, "croc: none.parquet: no such file\n")


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("def broken(:", "SyntaxError: "),
        ("raise RuntimeError('first line\\nsecond line')", "RuntimeError: first line second line"),
        ("import sys; sys.exit('bye')", "SystemExit: bye"),
        ("broken = 3", "wrong:broken is not a click command"),
        ("", "AttributeError: "),
    ],
)
def test_a_broken_distribution_breaks_only_its_own_command(tmp_path: Path, module: str, reason: str) -> None:
    distribution(tmp_path, "broken-thing", {"broken": "wrong:broken"}, wrong=module)
    listed = croc(tmp_path, "--help")
    assert listed.returncode == 0 and listed.stderr == ""
    assert "Cannot be loaded (from broken-thing)." in section_of(listed.stdout, "More")
    for words in (("broken",), ("broken", "--help"), ("broken", "x", "--option")):
        done = croc(tmp_path, *words)
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.startswith(
            f"croc: the command 'broken' of the distribution broken-thing cannot be loaded: {reason}"
        )
        assert done.stderr.count("\n") == 1
    assert "random" in croc(tmp_path, "scorers", "list").stdout


def test_the_commands_of_the_project_win_over_others_of_the_same_name(tmp_path: Path) -> None:
    points = {"status": "greet:hello", "publish": "greet:hello", "scorers.list": "greet:hello"}
    distribution(tmp_path, "AA.greetings", points, greet=GOOD)
    listed = croc(tmp_path, "--help")
    assert "Say hello." not in listed.stdout and "\nMore:\n" not in listed.stdout
    unused = (
        "warning: the command '{}' of the distribution aa-greetings is not used: croc-t2i has one of that"
    )
    for name in ("status", "publish"):
        assert listed.stderr.count(unused.format(name)) == 1
    typed = croc(tmp_path, "publish", "--help")
    assert "ORG/NAME" in typed.stdout and unused.format("publish") in typed.stderr
    assert unused.format("scorers list") in croc(tmp_path, "scorers", "list").stderr


def test_a_fault_of_another_distribution_is_reported_there(tmp_path: Path) -> None:
    source = "import click\n\n@click.command()\ndef hello():\n    raise ValueError('inside')\n"
    distribution(tmp_path, "greetings", {"hello": "greet:hello"}, greet=source)
    done = croc(tmp_path, "hello")
    assert done.returncode == 1
    assert "unexpected ValueError: inside" in done.stderr
    assert "report it as a bug in the repository of greetings" in done.stderr


def test_of_two_other_distributions_the_first_by_name_wins(tmp_path: Path) -> None:
    distribution(tmp_path, "beta", {"hello": "other:hello"}, other=GOOD.replace("hello ", "beta "))
    distribution(tmp_path, "alpha", {"hello": "greet:hello"}, greet=GOOD)
    done = croc(tmp_path, "hello")
    assert done.stdout == "hello \n"
    assert "'hello' of the distribution beta is not used: alpha has one of that name" in done.stderr


def test_a_subcommand_of_what_is_no_group_is_named_in_a_warning(tmp_path: Path) -> None:
    points = {"nothing.hello": "greet:hello", "evaluate.hello": "greet:hello"}
    distribution(tmp_path, "greetings", points, greet=GOOD)
    listed = croc(tmp_path, "--help")
    assert listed.returncode == 0
    for name in ("nothing hello", "evaluate hello"):
        assert f"'{name}' of the distribution greetings is not used: there is no such group" in listed.stderr
    assert croc(tmp_path, "status", "--help").stderr == ""


def test_a_module_is_imported_only_when_its_command_is_typed(tmp_path: Path) -> None:
    distribution(tmp_path, "loud", {"loud": "loud:hello"}, loud="print('loud is imported')" + GOOD)
    assert "loud is imported" not in croc(tmp_path, "scorers", "--help").stdout
    assert "loud is imported" in croc(tmp_path, "loud").stdout


def test_the_page_of_the_command_line_has_no_commands_of_other_distributions(tmp_path: Path) -> None:
    distribution(tmp_path, "greetings", {"hello": "greet:hello", "scorers.hello": "greet:hello"}, greet=GOOD)
    paths = [str(tmp_path), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), str(ROOT)]
    code = (
        f"import runpy; print(runpy.run_path({str(ROOT / 'docs' / 'generate_cli.py')!r})['page'](), end='')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "60"},
    )
    assert done.stdout == (ROOT / "docs" / "cli.md").read_text("utf-8"), done.stderr


def test_completion_passes_over_a_broken_command() -> None:
    from click.shell_completion import ShellComplete

    group = CommandGroup("croc", own={"broken": "no_such_module:x", "status": "croc.cli.status:status"})
    complete = ShellComplete(group, {}, "croc", "_CROC_COMPLETE")
    assert {item.value for item in complete.get_completions([], "")} == {"broken", "status"}
    complete.get_completions(["broken"], "")


@pytest.mark.parametrize(
    ("shell", "start"), [("bash", "_croc_completion()"), ("zsh", "#compdef croc"), ("fish", "function _croc")]
)
def test_the_completion_script_of_a_shell_is_printed(shell: str, start: str, tmp_path: Path) -> None:
    (tmp_path / "croc").write_text(
        f"#!{sys.executable}\nimport sys\nsys.argv[0] = 'croc'\nfrom croc.cli import main\nmain()\n"
    )
    (tmp_path / "croc").chmod(0o755)
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    environment["PATH"] = f"{tmp_path}{os.pathsep}{environment['PATH']}"

    def run(**variables: str) -> str:
        done = subprocess.run(
            ["croc"], capture_output=True, text=True, env=environment | variables, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert start in run(_CROC_COMPLETE=f"{shell}_source")
    if shell == "bash":  # what the script calls at the Tab key
        found = run(_CROC_COMPLETE="bash_complete", COMP_WORDS="croc results cre", COMP_CWORD="2")
        assert found == "plain,create\n"
        options = run(_CROC_COMPLETE="bash_complete", COMP_WORDS="croc evaluate --he", COMP_CWORD="2")
        assert options.splitlines() == ["plain,--heatmap", "plain,--help"]


def test_a_group_that_is_not_part_of_croc_has_no_commands_of_entry_points() -> None:
    assert CommandGroup("mine").list_commands(click.Context(click.Command("x"))) == []


def test_every_command_of_the_project_loads_and_has_a_section() -> None:
    context = click.Context(main)
    context.meta["croc.project_only"] = True
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert not isinstance(command, BrokenCommand), name
        assert getattr(command, "section", "") in SECTIONS, name


def test_a_command_that_does_not_exist_is_refused() -> None:
    done = CliRunner().invoke(main, ["evalute"])
    assert done.exit_code == 2 and "No such command 'evalute'" in done.output
