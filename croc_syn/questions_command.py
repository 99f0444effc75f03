"""The command questions: what to ask about the images of each prompt."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from croc.cli.command_group import section
from croc.cli.options import PATH, key_values, log_usage, paid_options, preset_changes, seed_option
from croc.cli.output import echo, log
from croc.wording import counted


@section("make")
@click.command(
    epilog="""\b
Examples:
  croc questions runs/syn --preset small --out questions.jsonl
  croc questions prompts.txt --preset paper --text-model qwq-32b --out questions.jsonl
  croc score runs/syn --scorer dsg-qwen2.5-vl-7b --option questions=questions.jsonl --out scores/"""
)
@click.argument("source")
@click.option(
    "--preset",
    default="small",
    show_default=True,
    metavar="NAME|FILE",
    help="Preset whose section text: says which language model writes, and how.",
)
@click.option("--text-model", "model", metavar="NAME", help="Language model to use in place of the preset's.")
@click.option("--out", required=True, type=PATH, metavar="FILE", help="Output file (.jsonl). It is resumed.")
@preset_changes
@paid_options
@seed_option
def questions(
    source: str,
    preset: str,
    model: str | None,
    out: Path,
    changes: tuple[str, ...],
    seed: int,
    paid: dict[str, Any],
) -> None:
    """Write questions about prompts with a language model.

    SOURCE is a dataset of checks (a folder, a Parquet file, or a Hub id), or a text file with a prompt per
    line. The questions are for the scorers of question lists (TIFA, DSG, Soft-TIFA).

    A prompt without a usable response is counted with the reason. The same command makes the same requests,
    and a paid service's answers to these come from the cache; another --seed asks about such prompts anew.
    Prompts that have their questions in the file keep them.
    """
    from croc.checks.sources import open_checks
    from croc.errors import InputError
    from croc.images.pairs import read_prompts
    from croc_syn import presets
    from croc_syn.writing.questions import write_questions

    changed = key_values(changes, "--set") | ({"text.models": [model]} if model else {})
    text = presets.load(preset, changed).text
    if not text.models:
        raise InputError(f"the preset {preset} has no language model: name one with --text-model")
    text = text.model_copy(update={"endpoint": text.endpoint.changed(paid).in_one_run()})
    if source.endswith(".txt"):
        prompts = read_prompts(Path(source), (None, None))[1]
    else:
        both = [(texts.prompt, texts.contrast_prompt) for texts in open_checks(source).texts]
        prompts = [prompt for pair in both for prompt in pair if prompt]
    written = write_questions(prompts, out, text.models[0], text, seed=seed, log=log)
    lines = [
        f"{out}: {counted(written.questions, 'question')} about {counted(written.prompts, 'prompt')}, "
        f"{written.kept} had theirs before, {written.tokens[0]} + {written.tokens[1]} tokens"
    ]
    reasons = Counter(written.failed.values())
    lines += [f"{counted(n, 'prompt')} without questions: {why}" for why, n in reasons.most_common(5)]
    if reasons:
        lines.append(f"another --seed than {seed} asks about {'it' if reasons.total() == 1 else 'them'} anew")
    echo("\n".join(lines))
    log_usage(text.endpoint.run)
