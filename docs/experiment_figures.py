"""The tables of the experiments on the pages, from the results of ``croc experiment``.

Usage::

    croc experiment label-noise … --out runs/experiments/label-noise
    python docs/experiment_figures.py runs/experiments
    python docs/generate_tables.py

The name of each folder in FOLDER is that of its table. Results that are not there keep their stored table.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click

from crocscore.experiments.summary import Summary, summarised

DOCS = Path(__file__).parent
FIGURES = DOCS / "experiment_figures.json"


def tables() -> dict[str, str]:
    """The Markdown of each table by its name."""
    stored = json.loads(FIGURES.read_text("utf-8"))
    return {
        f"experiment_{name.replace('-', '_')}": Summary(
            tuple(table["heads"]), tuple(map(tuple, table["rows"]))
        ).markdown()
        for name, table in stored.items()
    }


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Write docs/experiment_figures.json and the plots from a FOLDER of experiments."""
    stored = json.loads(FIGURES.read_text("utf-8")) if FIGURES.is_file() else {}
    for results in sorted(folder.glob("*/*.json")):
        document = json.loads(results.read_text("utf-8"))
        if results.stem != document.get("experiment"):
            continue
        found = summarised(document)
        stored[results.parent.name] = {"heads": found.heads, "rows": found.rows}
        picture = DOCS / "images" / f"crocscore-{results.parent.name}.png"
        shutil.copyfile(results.with_suffix(".png"), picture)
    FIGURES.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
