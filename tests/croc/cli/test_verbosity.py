"""``--verbose`` and ``--quiet``: what is printed beside the result, and that nothing of them stays."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from score_rows import check_rows, write

from croc.cli import main
from croc.cli.command_group import PROJECT_ONLY, packages
from croc.cli.verbosity import add_options
from croc.jobs.progress import progress_bar


def croc(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        row
        for n in range(6)
        for row in check_rows(f"c{n}", [(2, 1)], [(1, 2)], subset="entity_variation", property=f"p{n % 2}")
    ]
    return Path(write(tmp_path_factory.mktemp("scores"), "mine", rows))


@pytest.mark.parametrize("before", [True, False])
def test_a_signature_is_printed_with_verbose_only(table: Path, before: bool) -> None:
    words = ["evaluate", str(table), "--resamples", "20", "--permutations", "20"]
    plain = croc(*words)
    verbose = croc(*(["-v", *words] if before else [*words, "--verbose"]))
    assert plain.exit_code == verbose.exit_code == 0
    assert "croc:" not in plain.output
    assert verbose.stdout.startswith(plain.stdout)
    assert verbose.stdout.removeprefix(plain.stdout).startswith("croc:")
    assert "finished in" in verbose.stderr and "finished in" not in plain.stderr


@pytest.mark.parametrize("before", [True, False])
def test_quiet_leaves_the_result_alone(table: Path, tmp_path: Path, before: bool) -> None:
    words = ["results", "create", str(table), "--out", str(tmp_path)]
    done = croc(*(["-q", *words] if before else [*words, "--quiet"]))
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"{tmp_path / 'mine.json'}\n", "")
    html = ["evaluate", str(table), "--permutations", "20", "--html", str(tmp_path / "x.html")]
    assert "wrote" in croc(*html).stderr
    assert croc(*html, "-q").stderr == ""


def test_an_error_is_printed_with_quiet() -> None:
    done = croc("-q", "evaluate", "nowhere.parquet")
    assert done.exit_code == 2 and "nowhere.parquet: no such file" in done.stderr


def test_the_last_of_both_options_counts(table: Path) -> None:
    words = ("evaluate", table, "--resamples", "20", "--permutations", "20")
    assert "finished in" in croc("-q", *words, "-v").stderr
    assert croc("-v", *words, "-q").stderr == ""


def test_libraries_and_bars_are_silent_with_quiet_and_afterwards_as_before(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("croc.jobs.progress.LINE_EVERY_S", 0.0)
    monkeypatch.setenv("TQDM_DISABLE", "0")
    seen: list[object] = []

    @click.group()
    def group() -> None:
        pass

    @group.command()
    def work() -> None:
        with progress_bar("work", "parts") as show:
            show(1, 2, "")
        logging.getLogger("croc.somewhere").warning("a remark")
        warnings.warn("a warning", stacklevel=1)
        names = ("HF_HUB_DISABLE_PROGRESS_BARS", "TQDM_DISABLE", "TRANSFORMERS_VERBOSITY")
        seen.extend(os.environ.get(name) for name in names)

    add_options(work, packages)
    filters = list(warnings.filters)
    levels = [logging.getLogger("croc").level, logging.lastResort and logging.lastResort.level]
    group.main(["work", "-q"], standalone_mode=False)
    assert capsys.readouterr().err == ""
    assert seen == ["1", "1", "error"]
    assert [os.environ["TQDM_DISABLE"], "HF_HUB_DISABLE_PROGRESS_BARS" in os.environ] == ["0", False]
    assert list(warnings.filters) == filters
    assert [logging.getLogger("croc").level, logging.lastResort and logging.lastResort.level] == levels
    with pytest.warns(UserWarning, match="a warning"):
        group.main(["work"], standalone_mode=False)
    assert "work: 1 of 2 parts" in capsys.readouterr().err


def _all(group: click.Group) -> list[click.Command]:
    context = click.Context(group)
    context.meta[PROJECT_ONLY] = True
    found: list[click.Command] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found += [command, *(_all(command) if isinstance(command, click.Group) else [])]
    return found


def test_every_command_takes_both_options_once() -> None:
    for command in (main, *_all(main), *_all(main)):
        options = [option for parameter in command.params for option in parameter.opts]
        for name in ("-v", "--verbose", "-q", "--quiet"):
            assert options.count(name) == 1, (command.name, name)


def test_an_option_of_a_command_keeps_its_name() -> None:
    @click.command()
    @click.option("-v", "--version-of-data")
    @click.option("--quiet")
    def other(version_of_data: str, quiet: str) -> None:
        click.echo(f"{version_of_data} {quiet}")

    add_options(other, packages)
    done = CliRunner().invoke(other, ["-v", "2", "--quiet", "3"], catch_exceptions=False)
    assert done.output == "2 3\n"
    assert [option for parameter in other.params for option in parameter.opts].count("--verbose") == 1
