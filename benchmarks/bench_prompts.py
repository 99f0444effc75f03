"""Checking of language models' answers: answers a second on one core, beside json.loads of the same answers.

    python benchmarks/bench_prompts.py [--answers 4000]

The answers are pairs of the exact world's grammar in the form that models give them: a third with reasoning
before, a third in fences, a third plain. No two are equal, and every pair says a word that none said before,
as a name would be. Two encoders count tokens, by byte-level BPE tokenizers trained on the prompts. The
process is held to one core.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import string
import tempfile
import time
from pathlib import Path
from random import Random

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from croc_syn import presets
from croc_syn.writing import WriterResponse
from croc_syn.writing.prompts import make_prompts
from croc_syn.writing.responses import read_pair
from croc_syn.writing.rules import PairChecker
from croc_syn.writing.settings import Encoder

ROUNDS = 3
THOUGHT = (
    "<think>The task asks for a pair. Let me see {what could differ}, then write both.\n" * 6 + "</think>\n"
)


def pairs(count: int, folder: Path) -> list[dict[str, str]]:
    import polars as pl

    made = make_prompts(presets.load("exact", {"specs.checks": 60}), folder, progress=False)
    rows = pl.concat([pl.read_parquet(file) for file in made.files()]).filter(pl.col("error").is_null())
    names = Random(0)
    answers = []
    for row in itertools.islice(itertools.cycle(rows.to_dicts()), count):
        name = "".join(names.choices(string.ascii_lowercase, k=8))
        more = (
            f", in soft morning light that falls from the left, with a plain grey wall of {name} behind it."
        )
        answers.append(
            {
                "property": row["property"] or "what it shows",
                "value": row["value"] + " here",
                "contrast_value": row["contrast_value"] + " there",
                "prompt": row["prompt"].rstrip(".") + more,
                "contrast_prompt": row["contrast_prompt"].rstrip(".") + more,
            }
        )
    return answers


def tokenizer(texts: list[str], folder: Path, size: int) -> Path:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    made.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=size, special_tokens=["<s>", "</s>"], show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--answers", type=int, default=4000)
    wanted = parser.parse_args().answers
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = pairs((ROUNDS + 1) * wanted, folder / "prompts")
        texts = [row[key] for row in rows[:200] for key in ("prompt", "contrast_prompt")]
        encoders = [
            (
                Encoder(name=name, tokenizer=str(tokenizer(texts, folder / name, size)), limit=limit),
                limit,
                True,
            )
            for name, size, limit in (("clip", 2000, 77), ("t5", 1000, 256))
        ]
        checker = PairChecker("en", encoders)
    plain = [json.dumps(row) for row in rows]
    shapes = ("{}", f"{THOUGHT.replace('{', '{{').replace('}', '}}')}{{}}", "```json\n{}\n```\nDone.")
    told = [shapes[n % 3].format(text) for n, text in enumerate(plain)]
    about = {"subset": "entity_variation"}

    def check(texts: list[str]) -> int:
        return sum(
            bool(checker.check(read_pair(WriterResponse(text=text, finish="stop"), reasons=True), about))
            for text in texts
        )

    def read(texts: list[str]) -> list[object]:
        return [json.loads(text) for text in texts]

    check(told[:wanted])  # the language identifier loads
    best = [1e9, 1e9]
    for start in range(wanted, len(rows), wanted):
        for which, (work, given) in enumerate(((read, plain), (check, told))):
            # The process's own time: others may be at work on this core.
            begun = time.process_time()
            work(given[start : start + wanted])
            best[which] = min(best[which], time.process_time() - begun)
    print(f"json.loads: {wanted / best[0]:,.0f} answers/s")
    print(f"checked:    {wanted / best[1]:,.0f} answers/s, {best[1] / best[0]:.1f} times json.loads")


if __name__ == "__main__":
    main()
