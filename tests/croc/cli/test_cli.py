"""The ``croc`` command: what a person types, what they see, and how it fails."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import polars as pl
import pytest
from click.testing import CliRunner, Result

from croc.cli import main
from croc.cli.command_group import PROJECT_ONLY, SECTIONS
from croc.cli.options import Number


def croc(*words: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def checks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset of checks."""
    folder = tmp_path_factory.mktemp("checks") / "syn"
    words = ("--checks", "20", "--images", "1", "--size", "48")
    assert croc("build", "syn", *words, "--out", folder).exit_code == 0
    return folder


def test_finished_work_has_a_status(checks: Path, tmp_path: Path) -> None:
    assert "no resumable work, but a finished dataset" in croc("status", checks).output
    assert croc("score", checks, "--scorer", "random", "--out", tmp_path / "scores").exit_code == 0
    assert "complete" in croc("status", tmp_path).output


def test_one_of_several_metrics_is_evaluated(checks: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "report.json"
    assert (
        croc("score", checks, "--scorer", "random", "constant", "--out", tmp_path / "scores").exit_code == 0
    )
    result = croc("evaluate", tmp_path / "scores", "--metric", "random", "--json", out, "--resamples", "50")
    assert result.exit_code == 0
    content = json.loads(out.read_text())
    assert {row["metric"] for row in content["results"]} == {"random"}
    assert content["signature"].startswith("croc:") and content["protocol"] == "syn"


def test_scorers_are_listed_and_shown() -> None:
    assert {"random", "colour-words", "clipscore-b32"} <= set(croc("scorers", "list").output.split())
    shown = croc("scorers", "show", "clipscore-b32").output
    assert "openai/clip-vit-base-patch32" in shown and "arXiv" in shown


def test_scorers_are_listed_by_task_and_size() -> None:
    def names(*options: str) -> set[str]:
        from croc.scorers.registry import available

        printed = croc("scorers", "list", *options).output.split()
        return {entry.name for entry in available()} & set(printed)

    assert {"pickscore", "hpsv2.1", "imagereward"} <= names("--task", "preference")
    assert not {"clipscore-b32", "random"} & names("--task", "preference")
    assert {"rating-gpt-4o", "vqascore-gpt-4o"} <= names("--size", "service")
    assert names("--task", "judge", "--size", "small") == {
        "rating-smolvlm-256m",
        "pairwise-smolvlm-256m",
    }
    assert names("--task", "judge", "--size", "service", "--size", "large") >= {"rating-gpt-4o"}
    assert "dsg-qwen2.5-vl-7b" in names("--task", "questions")
    assert {"random", "crocscore", "clipscore-b32"} <= names("--size", "small")
    nothing = croc("scorers", "list", "--task", "preference", "--size", "service")
    assert nothing.exit_code == 2 and "leave out an option" in nothing.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("draw", "a dgo", "-o", "x.png"), "dgo"),
        (("evaluate", "nowhere.parquet"), "nowhere.parquet: no such file"),
        (("score", "nowhere/", "--scorer", "random", "--out", "s"), "nowhere"),
        (("scorers", "show", "clipscore-b23"), "clipscore-b32"),
        (("scorers", "show", "rndom"), "random"),
        (("taxonomy", "check", "nowhere.yaml"), "nowhere.yaml"),
        (("sheet", ".", "-o", "x.gif"), "x.gif"),
        (("build", "nlvr", "nowhere", "--out", "x"), "nowhere"),
        (("build", "syn", "--property", "colr", "--out", "x"), "colour"),
        (("correlate", "nowhere.csv", "--human", "x"), "nowhere.csv"),
    ],
)
def test_an_error_is_one_sentence_and_exit_code_2(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = croc(*words)
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output
    assert not list(tmp_path.glob("x*")), "nothing is left behind"


def test_output_may_be_cut_off_by_its_reader() -> None:
    run = f"{sys.executable} -m croc taxonomy show | head -n 1"
    done = subprocess.run(["bash", "-c", run], capture_output=True, text=True)
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """The words of every command and group of this project, with the command."""
    context = click.Context(group)
    context.meta[PROJECT_ONLY] = True
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize(("words", "command"), [pytest.param(*item, id=item[0]) for item in commands()])
def test_the_help_of_a_command_is_made_of_whole_sentences(
    words: str, command: click.Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = croc(*words.split(), "--help").output
    if isinstance(command, click.Group):
        listed = shown.split("Commands:\n")[1].split("\n\n")[0].splitlines()
        assert all(re.fullmatch(r"  \S+ +[A-Z].*\.", line) for line in listed), listed
    else:
        assert "Example" in shown
    first = (command.help or "").splitlines()[0]
    assert re.fullmatch(r"[A-Z].*\.", first), first
    for option in command.params:
        if isinstance(option, click.Option) and option.name != "help":
            assert re.fullmatch(r"[A-Z].*\.", option.help or "", re.DOTALL), option.opts


ROOT = Path(__file__).parents[3]
FILES = sorted(
    file
    for room in ("croc", "croc_syn", "croc_hum", "crocscore", "builders", "hub_cards", "spaces", "benchmarks")
    for file in (ROOT / room).rglob("*")
    if file.suffix in (".py", ".j2", ".html", ".yaml") or file.name == "README.md"
)


def test_commands_that_code_and_pages_name_exist() -> None:
    """Examples of help, error messages, docstrings, cards and pages."""
    known = dict(commands())
    wrong = []
    for file in FILES:
        text = file.read_text("utf-8")
        # A line of an example, or a name between quotation marks or tags.
        for match in re.finditer(
            r"(?:^ *(?:Example: )?|[`'>(:] ?)croc ((?:[a-z][a-z-]* ?)+)", text, re.MULTILINE
        ):
            words = match[1].split()
            name = words[0]
            if isinstance(known.get(name), click.Group) and len(words) > 1:
                name = " ".join(words[:2])
            if name not in known:
                line = text[: match.start()].count("\n") + 1
                wrong.append(f"{file.relative_to(ROOT)}:{line}: croc {name}")
    assert not wrong


@pytest.mark.parametrize("command", [command for _, command in commands() if command.epilog])
def test_the_examples_of_help_use_options_that_exist(command: click.Command) -> None:
    known = dict(commands())
    lines = re.findall(r"croc .*", command.epilog or "")
    assert lines
    for line in lines:
        words = shlex.split(line)[1:]
        name = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
        accepted = {option for parameter in known[name].params for option in parameter.opts}
        if known[name].context_settings.get("allow_extra_args"):
            continue
        used = {word for word in words if re.match(r"--?[a-z]", word)}
        assert used <= accepted, line


def test_the_list_of_commands_has_sections_and_whole_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    # click keeps the help option of the first context that asks for it, so it has to be the real one.
    names = main.context_settings["help_option_names"]
    context = click.Context(main, info_name="croc", terminal_width=80, help_option_names=names)
    context.meta[PROJECT_ONLY] = True
    sections = {
        block.splitlines()[0].rstrip(":"): block.splitlines()[1:]
        for block in context.get_help().split("\n\n")
        if re.match(r"[A-Z][\w ]+:\n  [a-z]", block)
    }
    assert list(sections) == [heading for name, heading in SECTIONS.items() if name != "more"]
    for line in (line for lines in sections.values() for line in lines):
        assert re.fullmatch(r"  \S+ +[A-Z].*\.", line) and not line.endswith("..."), line
    assert sum(map(len, sections.values())) == len(main.list_commands(context))


def test_a_pair_table_is_correlated(tmp_path: Path) -> None:
    rows = [f"i{n},s,p{n % 5},{n},{n * n % 7},{n % 5}" for n in range(30)]
    (tmp_path / "t.csv").write_text("\n".join(["item_id,system,prompt,good,noise,rating", *rows]))
    result = croc(
        "correlate", tmp_path / "t.csv", "--human", "rating", "--cluster", "prompt", "--resamples", "20", "-v"
    )
    assert result.exit_code == 0
    assert "cluster:prompt|clusters:5" in result.output


def test_pairs_go_out_and_scores_come_back(checks: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    assert croc("scores", "export", checks, "--out", pairs).exit_code == 0
    lines = [json.loads(line) for line in (pairs / "pairs.jsonl").read_text().splitlines()]
    scores = [json.dumps({"pair_id": line["pair_id"], "score": len(line["prompt"])}) for line in lines]
    (tmp_path / "scores.jsonl").write_text("\n".join(scores))
    words = ("--name", "length", "--out", tmp_path / "tables", "--field", "revision=2")
    assert croc("scores", "import", pairs, tmp_path / "scores.jsonl", *words).exit_code == 0
    judged = croc("evaluate", tmp_path / "tables", "--json", tmp_path / "v.json", "--permutations", "0")
    assert judged.exit_code == 0
    (signature,) = json.loads((tmp_path / "v.json").read_text())["signatures"].values()
    assert "scorer:length|revision:2" in signature


def test_several_scorers_follow_one_option_or_several(checks: Path, tmp_path: Path) -> None:
    for words in (("--scorer", "random", "constant"), ("--scorer", "random", "--scorer", "constant")):
        out = tmp_path / str(len(words))
        assert croc("score", checks, *words, "--out", out).exit_code == 0
        assert {file.name for file in out.glob("*.parquet")} == {"random.parquet", "constant.parquet"}


def test_options_of_an_image_processor_are_in_the_signature_of_the_scores(
    checks: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    import tiny_models

    model = tiny_models.save(*tiny_models.clip(), tmp_path / "clip")
    words = ["--scorer", "croc.scorers.dual_encoder:DualEncoder", "--option", f"model={model}"]
    words += ["--option", "processor_options={do_center_crop: false}", "--device", "cpu"]
    assert croc("score", checks, *words, "--max-checks", "2", "--out", tmp_path / "out").exit_code == 0
    metadata = pl.read_parquet_metadata(tmp_path / "out" / "clip.parquet")
    assert json.loads(metadata["extra"])["processor_options"] == "do_center_crop=false"
    wrong = [word.replace("do_center_crop", "do_centre_crop") for word in words]
    refused = croc("score", checks, *wrong, "--max-checks", "2", "--out", tmp_path / "other")
    assert refused.exit_code == 2 and "did you mean do_center_crop?" in refused.output


def test_options_reach_the_scorers_that_take_them(checks: Path, tmp_path: Path) -> None:
    words = ("score", checks, "--scorer", "random", "--out", tmp_path)
    assert croc(*words, "--option", "seed=7").exit_code == 0
    refused = croc(*words, "--option", "sede=7")
    assert refused.exit_code == 2 and "not an argument of random" in refused.output
    assert "KEY=VALUE" in croc(*words, "--option", "seed").output


@pytest.mark.parametrize("word", ["nan", "inf", "1e400"])
def test_a_number_is_finite(word: str) -> None:
    with pytest.raises(click.BadParameter, match="not a finite number"):
        Number(0).convert(word, None, None)
    assert Number(0, 1).convert("0.5", None, None) == 0.5
