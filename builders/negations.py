"""Add clauses with a negation to questions.

    python -m builders.negations runs/questions --out runs/negations

In checks a negation is what two prompts differ in. A model that is trained on them alone can take "no" for a
change of the whole prompt, and answer Yes to "a blue dog and no horse" for a red dog. Here about half of the
questions without a negation get one more clause, true or false, and the answer of the oracle, which reads the
scene of the image. Only questions on images of the exact world can be changed.
"""

from __future__ import annotations

import argparse
import random
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import datasets

from croc.errors import CrocError
from croc_syn.world import parse, read_scene, satisfies

NOUNS = (
    *("dog", "cat", "car", "bus", "bird", "horse", "cow", "sheep", "pig", "duck", "fish", "tree", "house"),
    *("flower", "apple", "banana", "chair", "table", "cup", "bottle", "ball", "balloon", "umbrella", "boat"),
    *("train", "bicycle", "hat", "star", "castle", "elephant", "butterfly", "key", "book", "clock", "lamp"),
    "door",
)
CLAUSES = (" and no {}", " and no {}", ", and no {}", " but no {}", " without a {}", ", no {}")
NEGATIONS = frozenset({"no", "not", "without", "only", "neither", "just", "nothing", "missing", "isn't"})
SHARE, FALSE_SHARE, TRIES = 0.55, 0.35, 4


def with_negations(rows: Iterable[dict[str, Any]], seed: int = 7) -> Iterator[dict[str, Any]]:
    """The questions, some with a further clause.

    Args:
        rows: questions; images are not decoded, as the scene is in the file.
        seed: of the choice of questions, nouns and clauses.
    """
    rng = random.Random(seed)
    for row in rows:
        text = row["prompt"]
        if rng.random() < SHARE and NEGATIONS.isdisjoint(text.lower().split()):
            scene = read_scene(row["image"]["bytes"])
            for _ in range(TRIES):
                noun = rng.choice(NOUNS)
                clause = rng.choice(CLAUSES).format(noun)
                base = text.rstrip(".!")
                if rng.random() < FALSE_SHARE:
                    words = [
                        word for word in base.lower().replace(",", " ").split() if word.rstrip("s") in NOUNS
                    ]
                    if words:
                        noun = rng.choice(words).rstrip("s")
                        clause = rng.choice(CLAUSES).format(noun)
                        base = rng.choice([f"a {rng.choice(NOUNS)}", base])
                try:
                    label = satisfies(scene, parse(base + clause))
                except CrocError:
                    continue  # no controlled English: another clause
                row = {**row, "prompt": base + clause, "label": label, "answer": "Yes" if label else "No"}
                break
        yield row


def main() -> None:
    """The command."""
    from croc.cli.output import echo

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("questions", type=Path, help="folder that croc build train made")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()

    questions = datasets.load_dataset(str(options.questions), split="train")
    questions = questions.cast_column("image", datasets.Image(decode=False))
    rows = list(with_negations(questions, options.seed))
    shutil.rmtree(options.out / "data", ignore_errors=True)
    (options.out / "data").mkdir(parents=True)
    name = "train-00000-of-00001.parquet"
    datasets.Dataset.from_list(rows, features=questions.features).to_parquet(options.out / "data" / name)
    for file in (options.questions / "data").glob("validation-*.parquet"):
        shutil.copy(file, options.out / "data")
    changed = Counter(
        row["label"] for row, old in zip(rows, questions, strict=True) if row["prompt"] != old["prompt"]
    )
    yes = changed[True]
    echo(
        f"{changed.total():,} of {len(rows):,} questions got a clause; the answer to {yes:,} of these is Yes"
    )


if __name__ == "__main__":
    main()
