"""Good files of every kind that a command reads, made by the commands, and which command reads which."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import polars as pl
from fuzz_runner import Runner
from hum_items import vote_on_all

from croc_hum.schema import read_items
from croc_hum.votes.store import Settings, Store


@dataclass(frozen=True)
class Target:
    """A file, and a command line that reads it.

    Attributes:
        file: path of the file in the folder of good files.
        argv: command line, with paths relative to that folder.
        weight: how many inputs it gets beside the others.
    """

    file: str
    argv: tuple[str, ...]
    weight: int = 1

    @property
    def roots(self) -> set[str]:
        """First parts of the paths that the command reads: what an input needs a copy of."""
        return {self.file.split("/")[0], *(word.split("/")[0] for word in self.argv)}


def _target(file: str, command: str, weight: int = 1) -> Target:
    return Target(file, tuple(command.split()), weight)


_FEW = "--resamples 20 --permutations 20"
_VERIFY = "results verify results/random.json --table scores/random.parquet"
TARGETS = (
    # Score tables.
    _target("scores/random.parquet", f"evaluate scores/random.parquet {_FEW} --html out.html", 3),
    _target("table.csv", f"evaluate table.csv {_FEW} --json out.json", 3),
    _target("table.tsv", f"evaluate table.tsv scores {_FEW} --by property --latex out.tex", 2),
    _target("scores/random.parquet", f"agree scores --with scores {_FEW}"),
    _target("scores/random.parquet", "diff scores/random.parquet scores/prompt-length.parquet", 2),
    _target("published.tsv", f"evaluate published.tsv --paper {_FEW}", 2),
    # Results.
    _target("scores/random.parquet", "results create scores/random.parquet --out made"),
    _target("results/random.json", _VERIFY, 3),
    _target("scores/random.parquet", _VERIFY),
    _target("checks/manifest.json", f"{_VERIFY} --dataset checks"),
    _target("results/random.json", "leaderboard results --html out.html", 3),
    # Datasets of checks.
    _target("checks/data/*.parquet", "score checks --scorer random --out made", 3),
    _target("checks/data/*.parquet", "verify checks", 2),
    _target("checks/manifest.json", "verify checks", 2),
    _target("checks/README.md", "verify checks", 2),
    _target("checks/croissant.json", "verify checks", 2),
    _target("checks/manifest.json", "score checks --scorer prompt-length --out made", 2),
    _target("checks/README.md", "score checks --scorer prompt-length --out made"),
    _target("checks/README.md", "publish syn checks --repo org/name --dry-run"),
    _target("checks/manifest.json", "publish syn checks --repo org/name --dry-run"),
    _target("checks/data/*.parquet", "sheet checks -o sheet.png --checks 2"),
    _target("split/data/train*.parquet", "build train split --out made"),
    _target("split/manifest.json", "build train split --out made"),
    # Work that is resumed.
    _target("scores/random.parts/plan.json", "score checks --scorer random --out scores", 2),
    _target("scores/random.parts/manifest.json", "score checks --scorer random --out scores"),
    _target("scores/random.parts/parts/*.parquet", "score checks --scorer random --out scores", 2),
    _target("scores/random.parts/records/*.json", "score checks --scorer random --out scores"),
    _target("scores/random.parts/session.json", "status scores"),
    _target("images/plan.json", "status images"),
    # Exchange with other programs.
    _target("pairs/pairs.jsonl", "scores import pairs outside.jsonl --name outside --out made", 2),
    _target("outside.jsonl", "scores import pairs outside.jsonl --name outside --out made", 3),
    _target("outside.csv", "scores import pairs outside.csv --name outside --out made", 2),
    _target("pairs/checks.jsonl", "scores import pairs outside.jsonl --name outside --out made", 2),
    _target("pairs/export.json", "scores import pairs outside.jsonl --name outside --out made"),
    # Ratings.
    _target("ratings.csv", f"correlate ratings.csv --human human {_FEW}", 3),
    _target("ratings.parquet", f"correlate ratings.parquet --human human {_FEW} --by system", 2),
    # Text that people write.
    _target("taxonomy.yaml", "taxonomy check taxonomy.yaml", 3),
    _target("taxonomy.yaml", "build syn --taxonomy taxonomy.yaml --checks 4 --images 1 --size 48 --out made"),
    _target("preset.yaml", "prompts preset.yaml --checks 4 --out made", 3),
    _target("preset.yaml", "cost preset.yaml", 2),
    _target("pairs.yaml", "hum prompts pairs.yaml --min-pairs 1", 3),
    _target("pairs.yaml", "hum candidates --pairs pairs.yaml --images 1 --size 48 --out made"),
    _target("recipe.yaml", "train --config recipe.yaml", 2),
    _target("probes.yaml", "experiment probes random --probes probes.yaml --layouts 1 --out made", 3),
    # Prompts and images.
    _target("prompts/parts/*.parquet", "images prompts --set images.count=1 --out made"),
    _target("prompts/records/*.json", "images prompts --set images.count=1 --out made"),
    _target("prompts/plan.json", "images prompts --set images.count=1 --out made"),
    _target("images/plan.json", "build staged syn images --out made"),
    _target("images/parts/*.parquet", "build staged syn images --out made"),
    # People.
    _target("votes.parquet", "hum agreement votes.parquet --resamples 20 --json out.json", 2),
    _target("votes.csv", "hum agreement votes.csv --resamples 20 --html out.html", 3),
    _target("votes.csv", "hum release votes.csv --items sample --min-votes 1 --out made"),
    _target("sample/items.parquet", "hum release votes.parquet --items sample --min-votes 1 --out made"),
    _target("votes.sqlite", "hum votes votes.sqlite --out made.csv", 3),
    _target("tasks.json", "hum votes votes.sqlite --import tasks.json --out made.csv", 3),
    _target("sample/sample.json", "hum agreement votes.parquet --items sample --resamples 20", 2),
    _target("agreement.json", "hum card checks --agreement agreement.json"),
)  # fmt: skip


def make_seeds(folder: Path, runner: Runner) -> Path:
    """Make the good files.

    Args:
        folder: where; created.
        runner: runs the commands that make them.

    Returns:
        ``folder``.

    Raises:
        AssertionError: if a command fails on good input.
    """
    folder.mkdir(parents=True)
    for command in (
        "build syn --checks 10 --images 2 --size 48 --out checks",
        "build syn --checks 12 --images 1 --size 48 --train 0.7 --out split",
        "score checks --scorer random --scorer prompt-length --out scores",
        "results create scores/random.parquet --out results",
        "scores export checks --out pairs",
        "prompts exact --checks 6 --out prompts",
        "images prompts --set images.count=1 --set images.size=48 --out images",
        "hum candidates --from-build checks --checks 6 --images 1 --attention 2 --out sample",
    ):
        _must(runner, command, folder)
    _make_tables(folder)
    _make_texts(folder)
    _make_votes(folder)
    for command in (
        "hum votes votes.sqlite --out votes.parquet",
        "hum votes votes.sqlite --out votes.csv",
        "hum votes votes.sqlite --out tasks.json",
        "hum agreement votes.parquet --items sample --resamples 20 --json agreement.json",
    ):
        _must(runner, command, folder)
    return folder


def _must(runner: Runner, command: str, folder: Path) -> None:
    outcome = runner.run(command.split(), folder)
    assert outcome.code == 0 and not outcome.fault, (command, outcome)


def _make_tables(folder: Path) -> None:
    scores = pl.read_parquet(folder / "scores" / "random.parquet")
    flat = scores.select(name for name, kind in scores.schema.items() if not kind.is_nested())
    flat.write_csv(folder / "table.csv")
    flat.write_csv(folder / "table.tsv", separator="\t")
    directions = [
        f"M___{text}_text___{image}_img" for text in ("orig", "contrast") for image in ("orig", "contrast")
    ]
    published = pl.DataFrame(
        [
            {
                "prompt_id": f"p{number // 2}_____{number % 2}", "prompt": f"a red dog {number // 2}",
                "contrast_prompt": f"a blue dog {number // 2}",
                "img_gen_model": "painter", "text_gen_model": "writer", "mode": "property_variation",
            }
            | {name: (number * 7 + place * 3) % 5 / 5 for place, name in enumerate(directions)}
            for number in range(12)
        ]
    )  # fmt: skip
    published.write_csv(folder / "published.tsv", separator="\t")
    ratings = pl.DataFrame(
        {
            "item_id": [f"i{number}" for number in range(24)],
            "prompt": [f"prompt {number // 4}" for number in range(24)],
            "system": [f"s{number % 4}" for number in range(24)],
            "human": [float(number * 5 % 7) for number in range(24)],
            "metric_a": [number * 3 % 11 / 10 for number in range(24)],
            "metric_b": [float(number % 3) for number in range(24)],
        }
    )
    ratings.write_csv(folder / "ratings.csv")
    ratings.write_parquet(folder / "ratings.parquet")
    pairs = [json.loads(line) for line in (folder / "pairs" / "pairs.jsonl").read_text().splitlines()]
    outside = [{"pair_id": one["pair_id"], "score": number % 5 / 5} for number, one in enumerate(pairs)]
    (folder / "outside.jsonl").write_text("".join(json.dumps(one) + "\n" for one in outside))
    pl.DataFrame(outside).write_csv(folder / "outside.csv")


def _make_texts(folder: Path) -> None:
    for name, package, path in (
        ("taxonomy.yaml", "croc_syn.taxonomy", "taxonomy.yaml"),
        ("preset.yaml", "croc_syn.presets", "exact.yaml"),
        ("recipe.yaml", "crocscore", "recipes/tiny.yaml"),
    ):
        with resources.as_file(resources.files(package) / path) as source:
            shutil.copy(source, folder / name)
    with resources.as_file(resources.files("croc_hum.candidates") / "prompts") as source:
        shutil.copy(sorted(source.glob("*.yaml"))[0], folder / "pairs.yaml")
    (folder / "probes.yaml").write_text(
        "# Few, because each is drawn.\ncolours:\n"
        '  - {id: colours-01, draw: "only a red dog, in a park by day in dry weather",\n'
        '     true_text: "A red dog.", false_text: "A blue dog."}\n'
        "numbers:\n"
        '  - {id: numbers-01, draw: "only two cats", true_text: "2 cats", false_text: "3 cats"}\n'
    )


def _make_votes(folder: Path) -> None:
    store = Store(folder / "votes.sqlite", Settings())
    store.add_items(read_items(folder / "sample"))
    for _ in range(3):
        vote_on_all(store, store.add_annotator().code)
    store.close()
