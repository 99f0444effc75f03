"""How commands fail: one sentence and an exit code for what is expected, a report for what is not."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import httpx
import pytest
from click.testing import CliRunner, Result
from rich.console import Console
from rich.table import Table
from rich.text import Text
from score_rows import check_rows, write

from croc.cli import main
from croc.cli.failures import EXPECTED, INTERRUPTED, UNEXPECTED, describe
from croc.cli.output import _Printable
from croc.errors import InputError
from croc.wording import PLAIN_CHARACTERS, printable

ROOT = Path(__file__).parents[3]
QUICK = ("--resamples", "0", "--permutations", "0")


def croc(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def sentence(done: Result, code: int = EXPECTED) -> str:
    """The one sentence of a failed command."""
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    return done.stderr.strip().splitlines()[-1]


def process(*words: str | Path, **options: object) -> subprocess.Popen[str]:
    """The command as a process, which has streams of the operating system."""
    command = [sys.executable, "-m", "croc", *map(str, words)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload, no-any-return]


@pytest.fixture(scope="module")
def checks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checks") / "syn"
    words = ("--checks", "12", "--images", "1", "--size", "48")
    assert croc("build", "syn", *words, "--out", folder).exit_code == 0
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [row for n in range(6) for row in check_rows(f"c{n}", [(2, 1)], [(1, 2)], property=f"p{n % 2}")]
    return Path(write(tmp_path_factory.mktemp("table"), "mine", rows, dataset="data"))


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("ratings") / "ratings.csv"
    rows = [f"i{n},s,p{n},{n * n % 7},{n}" for n in range(12)]
    name = "\x1b]0;title\x07\x1b[31mevil\u202e"
    file.write_text("\n".join([f"item_id,system,prompt,{name},human", *rows]) + "\n")
    return file


# ---- What an error becomes ----


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("x.csv: no such file"), EXPECTED, "x.csv: no such file"),
        (OSError(28, "full", "a/b.png"), EXPECTED, "a/b.png: No space left on device; free some space"),
        (OSError(30, "read-only"), EXPECTED, "Read-only file system; choose a place that can be written"),
        (PermissionError(13, "no", "f"), EXPECTED, "f: Permission denied; choose a place that you may use"),
        (OSError("cannot load the model\nsecond line"), EXPECTED, "cannot load the model"),
        (httpx.ConnectError("no route"), EXPECTED, "the network cannot be reached: no route"),
        (MemoryError(), EXPECTED, "there is not enough memory"),
        (SystemExit("enough"), EXPECTED, "ended the program (sys.exit('enough'))"),
        (KeyboardInterrupt(), INTERRUPTED, "interrupted: finished files are kept; run the same command"),
        (KeyboardInterrupt("nothing is kept"), INTERRUPTED, "interrupted: nothing is kept"),
        (
            KeyError("x"),
            UNEXPECTED,
            "unexpected KeyError: 'x'; this is a fault of the program",
        ),
        (RecursionError(), UNEXPECTED, "unexpected RecursionError"),
    ],
)
def test_an_error_becomes_a_sentence_and_an_exit_code(error: BaseException, code: int, said: str) -> None:
    failure = describe(error)
    assert failure.code == code
    assert said in failure.sentence and "\n" not in failure.sentence


def test_an_error_that_comes_from_the_operating_system_is_described_as_that() -> None:
    error = RuntimeError("the library failed")
    error.__cause__ = OSError(28, "full", "cache")
    assert describe(error).sentence.startswith("cache: No space left on device")
    error.__cause__ = None
    error.__context__ = OSError(28, "full", "cache")  # another error, which was handled
    assert describe(error).code == UNEXPECTED


@pytest.fixture
def failing() -> Iterator[list[BaseException]]:
    """A command ``croc fail`` that raises what the test appends."""
    errors: list[BaseException] = []

    @click.command("fail")
    def fail() -> None:
        raise errors[0]

    main.add_command(fail)
    yield errors
    del main.commands["fail"]


def test_an_unexpected_error_says_where_to_report_it_and_debug_shows_the_traceback(
    failing: list[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing.append(KeyError("inside"))
    assert "report it as a bug in the repository of croc-t2i" in sentence(croc("fail"), UNEXPECTED)
    shown = croc("--debug", "fail")
    assert shown.exit_code == UNEXPECTED
    assert "Traceback (most recent call last)" in shown.stderr and "raise errors[0]" in shown.stderr
    monkeypatch.setenv("CROC_DEBUG", "1")
    assert "Traceback" in croc("fail").stderr


def test_debug_also_shows_where_an_expected_error_comes_from(failing: list[BaseException]) -> None:
    failing.append(InputError("x.csv: no such file"))
    assert sentence(croc("fail")) == "croc: x.csv: no such file"
    shown = croc("--debug", "fail")
    assert shown.exit_code == EXPECTED and "Traceback" in shown.stderr


@pytest.mark.parametrize("error", [SystemExit(0), SystemExit(3), SystemExit("enough")])
def test_code_that_ends_the_program_is_an_error(failing: list[BaseException], error: SystemExit) -> None:
    failing.append(error)
    assert "ended the program" in sentence(croc("fail"))


# ---- Code of others ----


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nothing_of_this_name", "no module named 'nothing_of_this_name'"),
        ("from math import nothing", "ImportError: cannot import name 'nothing'"),
        ("def broken(:", "cannot be imported: SyntaxError, line 1"),
        ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
        ("raise SystemExit(4)", "cannot be imported: it ended the program (sys.exit(4))"),
        (
            "class M:\n    def __init__(self):\n        raise RuntimeError('no\\nlicence')",
            "cannot be created: RuntimeError: no licence",
        ),
        ("class M:\n    def __init__(self):\n        exit(5)", "cannot be created: it ended the program"),
        (
            "class M:\n    def __init__(self):\n        open('/nowhere/at/all')",
            "cannot be created: FileNotFound",
        ),
        ("class M:\n    def __init__(self, key):\n        pass", "its options are key"),
        ("def M(images, prompts):\n    exit(6)", "it ended the program (sys.exit(6))"),
        ("def M(images, prompts):\n    raise ValueError", "ValueError"),
    ],
)
def test_a_scorer_of_somebody_else_fails_with_its_name_and_reason(
    checks: Path, tmp_path: Path, source: str, said: str
) -> None:
    (tmp_path / "own.py").write_text(source)
    message = sentence(croc("score", checks, "--scorer", f"{tmp_path / 'own.py'}:M", "--out", tmp_path / "s"))
    assert said in message and ("own.py" in message or "scorer M" in message)


# ---- Disks ----


def commands_that_write(checks: Path, table: Path, ratings: Path, out: Path) -> dict[str, list[str | Path]]:
    """Commands with an output in a folder."""
    return {
        "score": ["score", checks, "--scorer", "random", "--out", out / "s"],
        "scores export": ["scores", "export", checks, "--out", out / "e"],
        "sheet": ["sheet", checks, "-o", out / "s.png"],
        "draw": ["draw", "a dog", "--size", "512", "-o", out / "d.png"],
        "build syn": ["build", "syn", "--checks", "3", "--images", "1", "--size", "96", "--out", out / "b"],
        "build scenes": ["build", "scenes", "--images", "3", "--out", out / "sc"],
        "results create": ["results", "create", table, "--out", out / "r"],
        "evaluate": ["evaluate", table, *QUICK, "--html", out / "x.html"],
        "correlate": ["correlate", ratings, "--human", "human", "--resamples", "0", "--json", out / "x.json"],
        "hum candidates": ["hum", "candidates", "--category", "counting", "--images", "1", "--size", "48",
                           "--out", out / "c"],
    }  # fmt: skip


WRITING = list(commands_that_write(Path(), Path(), Path(), Path()))


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system of its own; skips where this needs permissions that the tests do not have."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"needs the permission to mount ({done.stderr.decode().strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("name", WRITING)
def test_a_full_and_a_read_only_disk_are_one_sentence_with_a_place(
    checks: Path, table: Path, ratings: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "disk"
    words = commands_that_write(checks, table, ratings, out)[name]
    with mounted(out, "size=4k"):
        (out / "ballast").write_bytes(b"x" * 4096)
        full = sentence(croc(*words))
    assert str(out) in full and "no space left" in full.lower(), full
    out.rmdir()
    with mounted(out, "ro"):
        locked = sentence(croc(*words))
    assert str(out) in locked and ("read-only" in locked.lower()), locked


@pytest.mark.parametrize("name", WRITING)
def test_an_output_below_a_file_is_one_sentence_with_its_place(
    checks: Path, table: Path, ratings: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").touch()
    words = commands_that_write(checks, table, ratings, tmp_path / "file" / "below")[name]
    assert str(tmp_path / "file") in sentence(croc(*words))


def test_a_limit_on_the_size_of_files_is_one_sentence_with_the_file(table: Path, tmp_path: Path) -> None:
    run = process(
        "evaluate", table, *QUICK, "--html", tmp_path / "x.html", stdout=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)),
    )  # fmt: skip
    message = run.communicate()[1]
    assert run.returncode == EXPECTED
    assert f"{tmp_path / 'x.html'}: cannot be written (File too large)" in message
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_full_is_one_sentence(table: Path) -> None:
    with Path("/dev/full").open("w") as full:
        run = process("evaluate", table, *QUICK, stdout=full)
        message = run.communicate()[1]
    assert run.returncode == EXPECTED
    assert message.splitlines()[-1].startswith("croc: No space left on device; free some space")
    assert "Exception ignored" not in message


# ---- Pipes, terminals, interrupts ----


def test_files_are_written_before_anything_goes_to_a_pipe_that_is_closed(
    table: Path, ratings: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x"
    for words in (
        ["evaluate", table, *QUICK, "--json", out],
        ["correlate", ratings, "--human", "human", "--resamples", "0", "--json", out],
        ["diff", table, table, "--json", out],
    ):
        reading, writing = os.pipe()
        os.close(reading)
        run = process(*words, stdout=writing)
        os.close(writing)
        message = run.communicate()[1]
        assert out.stat().st_size > 100, words
        assert run.returncode == 1 and "Traceback" not in message and "Exception" not in message
        out.unlink()


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_an_output_of_another_encoding_gets_plainer_characters(table: Path, encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-m", "croc", "evaluate", str(table), *QUICK],
        env=environment, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Scaled accuracy" in done.stdout.decode(encoding)


def test_plainer_characters_are_the_nearest_ones() -> None:
    assert "→ é ≥ “a” 漢 \ud800".encode("ascii", PLAIN_CHARACTERS) == b'-> e >= "a" ? ?'
    assert "→ é".encode("latin-1", PLAIN_CHARACTERS) == b"-> \xe9"
    assert "a\ud800".encode("utf-8", PLAIN_CHARACTERS) == b"a?"


def test_control_characters_of_names_do_not_reach_the_terminal(ratings: Path, tmp_path: Path) -> None:
    done = croc("correlate", ratings, "--human", "human", "--resamples", "20", "--permutations", "0")
    assert done.exit_code == 0
    assert "evil" in done.stdout and "title" in done.stdout
    missing = tmp_path / "\x1b[31mred.csv"
    for refused in (
        croc("correlate", missing, "--human", "human"),
        croc("evaluate", missing),
        croc("status", missing),
        croc("evaluate", "--\x1b[31m"),
        croc("scorers", "show", "\x1b[31mred"),
    ):
        assert refused.exit_code == EXPECTED and "[31m" in refused.stderr
        done.stdout_bytes += refused.output_bytes
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(done.stdout)


def test_styles_reach_a_terminal_and_control_characters_of_cells_do_not() -> None:
    file = io.StringIO()
    table = Table("name", title="t\x1b[5m")
    table.add_row("evil\x1b[31m\x9b32m")
    Console(file=file, force_terminal=True, width=40, color_system="standard").print(
        _Printable(table), _Printable(Text("plain\x1b]0;x\x07", style="red"))
    )
    written = file.getvalue()
    assert "\x1b[31mplain]0;x" in written and "evil[31m32m" in written
    assert "\x1b[5m" not in written and "\x9b" not in written and "\x07" not in written


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), 0x202E, 0x2066])
def test_no_character_that_a_terminal_obeys_is_printable(code: int) -> None:
    assert printable(f"a{chr(code)}b") == (f"a{chr(code)}b" if chr(code) in "\n\t" else "ab")


def test_commands_print_through_one_module() -> None:
    """Elsewhere a name from a file could reach the terminal as it is."""
    wrong = []
    for package in ("croc", "croc_syn", "croc_hum", "crocscore", "builders", "hub_cards"):
        for file in (ROOT / package).rglob("*.py"):
            if file == ROOT / "croc" / "cli" / "output.py":
                continue
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Attribute) and node.attr in ("echo", "secho", "echo_via_pager"):
                    wrong.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert not wrong


def test_every_command_writes_its_files_before_it_prints() -> None:
    wrong = []
    for package in ("croc", "croc_syn", "croc_hum", "crocscore", "builders"):
        for file in (ROOT / package).rglob("*.py"):
            for function in ast.walk(ast.parse(file.read_text("utf-8"))):
                if not isinstance(function, ast.FunctionDef):
                    continue
                calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
                named = [(call.lineno, call.func.id) for call in calls if isinstance(call.func, ast.Name)]
                printed = [line for line, name in named if name == "show"]
                written = [line for line, name in named if name in ("write", "write_all")]
                if printed and written and min(printed) < max(written):
                    wrong.append(f"{file.relative_to(ROOT)}: {function.name}")
    assert not wrong


# ---- Places ----


def test_brackets_and_stars_in_paths_are_characters(table: Path, tmp_path: Path) -> None:
    pytest.importorskip("krippendorff", reason="needs croc-t2i[hum]")
    folder = tmp_path / "runs [v2] *?"
    folder.mkdir()
    (tmp_path / "runs v2").mkdir()  # what the name would match as a pattern
    words = ("--checks", "6", "--images", "1", "--size", "48")
    votes = ["item_id,concept_id,annotator,task,answer"]
    votes += [f"i{n},c{n},{name},shows,{'yes' if n % 2 else 'no'}" for n in range(6) for name in "ab"]
    (folder / "votes.csv").write_text("\n".join(votes) + "\n")
    import polars as pl

    pl.read_csv(folder / "votes.csv", glob=False).write_parquet(folder / "votes.parquet")
    scores = folder / "scores"
    for line in (
        ["build", "syn", *words, "--out", folder / "syn"],
        ["verify", folder / "syn"],
        ["score", folder / "syn", "--scorer", "random", "--out", scores],
        ["score", folder / "syn" / "data", "--scorer", "random", "--out", folder / "again"],
        ["scores", "export", folder / "syn", "--out", folder / "pairs"],
        ["evaluate", scores, *QUICK, "--html", folder / "x.html"],
        ["results", "create", scores / "random.parquet", "--out", folder / "results"],
        ["results", "verify", folder / "results", "--table", scores / "random.parquet", "--dataset",
         folder / "syn"],
        ["sheet", folder / "syn", "-o", folder / "s.png"],
        ["hum", "agreement", folder / "votes.csv", "--resamples", "0"],
        ["hum", "agreement", folder / "votes.parquet", "--resamples", "0"],
    ):  # fmt: skip
        done = croc(*line)
        assert done.exit_code == 0, (line, done.output)


def test_a_cache_that_cannot_be_made_does_not_stop_work_on_local_files(checks: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environment = {**os.environ, "HF_HOME": str(tmp_path / "file" / "home")}
    run = process(
        "score", checks, "--scorer", "random", "--out", tmp_path / "s", env=environment,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    message = run.communicate()[1]
    assert run.returncode == 0, message
    assert (tmp_path / "s" / "random.parquet").is_file()
