r"""Measure the small models of the package: the tables and plots about them on the pages, from one command.

    python benchmarks/make_sample.py --nlvr FOLDER/nlvr/dev --weaknesses runs/models/weaknesses
    python benchmarks/measure_small_models.py --data FOLDER --out runs/models
    python docs/model_figures.py runs/models
    python docs/generate_tables.py

FOLDER holds NLVR (``nlvr/dev``) and TIFA160 (``tifa160``). A step whose output is there is passed over, and
an interrupted step resumes, so new weights need a new folder; its subfolder ``data`` (the checks) can be
copied from an earlier one. Plots are copied to ``docs/images``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import polars as pl
from PIL import Image

from croc.checks.decoding import decode
from croc.rendering.fragments import CHECKS, RESULTS

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "crocscore" / "weights" / "tiny"
IMAGES = ROOT / "docs" / "images"
SCORERS = ("crocscore", "crocscore-dual")
BASELINES = ("colour-words", "random")
LANGUAGES = ("en", "de", "es", "fr")
SPLITS = ("--train", "0.7", "--validation", "0.05", "--only", "test")
HELD_OUT = ("--hold-out", "frames=relation that is,nothing else", "--held-out-only")
TESTS: dict[str, tuple[str, ...]] = {
    "test": ("--checks", "1500", "--images", "3"),
    "frames": ("--checks", "320", "--images", "2", *HELD_OUT),
    **{
        style: ("--checks", "320", "--images", "2", "--style", style)
        for style in ("sketch", "flat", "blocks")
    },
}
"""Options of the checks of each test; all are of held-out concepts."""


class Step(NamedTuple):
    """A command, and the file that is there once it has ended."""

    output: Path
    command: tuple[str | Path, ...]


def croc(output: Path, *arguments: str | Path) -> Step:
    return Step(output, (sys.executable, "-m", "croc", *arguments))


def benchmark(output: Path, script: str, *arguments: str | Path) -> Step:
    return Step(output, (sys.executable, ROOT / "benchmarks" / script, *arguments, "--json", output))


def score(data: Path, scores: Path, scorers: Sequence[str]) -> Step:
    """Score checks; the table of the last scorer is the last to be there."""
    chosen = [part for name in scorers for part in ("--scorer", name)]
    return croc(table_of(scores, scorers[-1]), "score", str(data), *chosen, "--out", str(scores))


def table_of(scores: Path, scorer: str) -> Path:
    """The score table of a scorer."""
    return scores / f"{'crocscore-tiny' if scorer == 'crocscore' else scorer}.parquet"


def tests(out: Path) -> Iterator[Step]:
    """Checks of held-out concepts: in usual drawings, in sentence frames and styles that are rare or new."""
    for name, options in TESTS.items():
        data, scores = out / "data" / name, out / "scores" / name
        result = out / "results" / f"{name}.json"
        yield croc(
            data / "manifest.json",
            *("build", "syn", "--subset", "property_variation"),
            *(*options, *SPLITS, "--out", str(data)),
        )
        yield score(data, scores, SCORERS if name == "test" else SCORERS[:1])
        yield croc(result, "evaluate", scores, "--by", "category", "--by", "property", "--json", result)


def probes(out: Path) -> Iterator[Step]:
    """Texts as people type them."""
    for scorer in SCORERS:
        folder = out / "probes" / scorer
        yield croc(folder / "probes.json", "experiment", "probes", scorer, "--out", folder)


def world(out: Path, sources: Path) -> Iterator[Step]:
    """Which images are unlike those of the training."""
    data = out / "data"
    yield benchmark(
        out / "world.json",
        "measure_out_of_world.py",
        *(str(WEIGHTS), "--fresh", str(data / "test")),
        *("--checks", *(f"{name}={data / name}" for name in ("flat", "blocks", "sketch"))),
        *("--images", f"tifa={sources / 'tifa160' / 'images'}", f"nlvr={sources / 'nlvr/dev/images'}"),
    )


def other_images(out: Path, sources: Path) -> Iterator[Step]:
    """Sentences that people wrote about other drawings, and generated images with ratings."""
    data, folder = out / "data" / "nlvr", out / "zero-shot"
    yield croc(data / "manifest.json", "build", "nlvr", sources / "nlvr" / "dev", "--out", data)
    yield croc(
        folder / "zero-shot.json",
        *("experiment", "zero-shot", "crocscore", "--checks", data),
        *("--tifa", sources / "tifa160", "--out", folder),
    )


def chances(out: Path, sources: Path) -> Iterator[Step]:
    """How often the metrics are right about other checks, and what ``croc trust`` would have said."""
    checks, scores = out / "data" / "other", out / "scores" / "other"
    yield croc(
        checks / "manifest.json",
        *("build", "syn", "--subset", "property_variation", "--checks", "1400", "--images", "1"),
        *("--seed", "77", "--train", "0.5", "--only", "test", "--out", str(checks)),
    )
    yield score(checks, scores, SCORERS)
    yield benchmark(
        out / "trust.json",
        "measure_trust.py",
        *("--fit", str(WEIGHTS / "results.json"), str(WEIGHTS.parent / "dual" / "results.json")),
        *("--checks", "1,400 checks", str(checks), str(scores)),
        *("--checks", "sample", str(CHECKS), str(RESULTS / "syn"), "--data", str(sources)),
    )


def languages(out: Path) -> Iterator[Step]:
    """The same images with prompts in four languages."""
    for language in LANGUAGES:
        data, scores = out / "data" / language, out / "scores" / language
        yield croc(
            data / "manifest.json",
            *("build", "syn", "--checks", "240", "--images", "2", "--size", "224"),
            *("--language", language, "--out", str(data)),
        )
        yield score(data, scores, (*BASELINES, *SCORERS))
    for language in LANGUAGES[1:]:
        for scorer in (*SCORERS, *BASELINES):
            old, new = (table_of(out / "scores" / one, scorer) for one in (LANGUAGES[0], language))
            result = out / "languages" / f"{language}-{scorer}.json"
            yield croc(result, "diff", old, new, "--by", "category", "--json", result)


def examinations(out: Path) -> Iterator[Step]:
    """Optimisation, the weakest property, changes without a meaning, and images with several errors."""
    everything = (*SCORERS, *BASELINES)
    audit, invariance = out / "audit.json", out / "invariance.json"
    yield croc(
        audit,
        *("audit-reward", *everything, "--json", audit, "--plot", out / "reward-audit.png"),
        *("--html", out / "audit.html", "--out", out / "audit"),
    )
    for scorer in everything:
        probe = out / f"probe-{scorer}.json"
        yield croc(
            probe,
            *("probe", scorer, "--json", probe, "--plot", probe.with_suffix(".png")),
            *("--html", probe.with_suffix(".html"), "--out", out / f"probe-{scorer}"),
        )
    yield croc(
        invariance,
        *("invariance", *everything, "--json", invariance, "--plot", out / "invariance.png"),
        *("--out", out / "invariance"),
    )
    data, scores, graded = out / "data" / "graded", out / "scores" / "graded", out / "graded.json"
    yield croc(data / "manifest.json", "build", "graded", "--out", data)
    yield score(data, scores, everything)
    yield croc(graded, "evaluate", scores, "--json", graded, "--heatmap", out / "graded-results.png")


PLOTS: dict[str, Callable[[Path], Path]] = {
    "reward-audit.png": lambda out: out / "reward-audit.png",
    "probe.png": lambda out: out / "probe-crocscore-dual.png",
    "invariance.png": lambda out: out / "invariance.png",
    "graded-results.png": lambda out: out / "graded-results.png",
    "crocscore-zero-shot.png": lambda out: out / "zero-shot" / "zero-shot.png",
}
"""The plots of the pages, and where the commands write them."""


def draw_search(folder: Path, picture: Path, shown: int = 4, side: int = 256, gap: int = 12) -> None:
    """Draw the wrong images that won by most, above the best right images, and print their prompts."""
    rows = pl.read_parquet(folder / "parts" / "*.parquet")
    lead = (pl.col("best_wrong") - pl.col("best_right")) / pl.col("deviation")
    won = rows.filter(lead > 0).sort(lead, descending=True).head(shown)
    size = (won.height * (side + gap) - gap, 2 * side + gap)
    sheet = Image.new("RGB", size, "white")
    for column, row in enumerate(won.iter_rows(named=True)):
        print(f"{picture.name}: {row['prompt']}")
        for line, name in enumerate(("wrong_image", "right_image")):
            image = decode(row[name]["bytes"]).resize((side, side))
            sheet.paste(image, (column * (side + gap), line * (side + gap)))
    sheet.quantize(256).save(picture, optimize=True)


def steps(out: Path, sources: Path) -> list[Step]:
    """All steps in their order; each needs files of the ones before."""
    return [
        *tests(out),
        *probes(out),
        *world(out, sources),
        *other_images(out, sources),
        *examinations(out),
        *chances(out, sources),
        *languages(out),
    ]


@click.command(help=__doc__)
@click.option(
    "--data", required=True, type=click.Path(exists=True, path_type=Path), help="Folder with the benchmarks."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for everything.")
def main(data: Path, out: Path) -> None:
    for name in ("results", "languages"):
        (out / name).mkdir(parents=True, exist_ok=True)
    for step in steps(out, data):
        if not step.output.exists():
            print(*(str(part) for part in step.command[1:]), flush=True)
            subprocess.run(step.command, check=True)
    draw_search(out / "audit" / "search" / "crocscore-tiny", IMAGES / "reward-audit-search.png")
    for name, place in PLOTS.items():
        (IMAGES / name).write_bytes(place(out).read_bytes())


if __name__ == "__main__":
    main()
