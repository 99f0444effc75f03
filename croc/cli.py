"""The ``croc`` command. Options and messages live here; the work is done by the rooms, imported when used."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from croc import __version__
from croc.errors import CrocError, InputError

if TYPE_CHECKING:
    from croc.report import Report, Settings

_PATH = click.Path(path_type=Path)
GROUPINGS = ("subset", "property", "topic", "category", "text_model", "image_model", "entity", "truncated")


class _Croc(click.Group):
    """Turns the project's own errors into one sentence and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CrocError as error:
            click.echo(f"croc: {error}", err=True)
            ctx.exit(2)
        except BrokenPipeError:  # the reader of our output went away, as in `croc … | head`
            sys.stderr.close()
            ctx.exit(1)


@click.group(
    cls=_Croc,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: croc evaluate clip.parquet vqa.parquet --by category --html report.html",
)
@click.version_option(__version__, prog_name="croc")
def main() -> None:
    """Can a text-to-image metric be trusted? Make checks, run metrics on them, read the verdict."""


def _tables_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.argument("tables", nargs=-1, required=True, type=_PATH, metavar="TABLE...")(command)


def _judging(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that judges score tables."""
    options = (
        click.option(
            "--protocol", metavar="syn|hum", help="How the checks were labelled; default: as the tables say."
        ),
        click.option(
            "--paper", is_flag=True, help="The published computation: ties lose, chance 5/6 and 1/2."
        ),
        click.option("--metric", "metrics", multiple=True, help="Only this metric (repeatable)."),
        click.option(
            "--resamples", default=2000, show_default=True, type=click.IntRange(0), help="Bootstrap; 0: none."
        ),
        click.option(
            "--flips", default=10000, show_default=True, type=click.IntRange(0), help="Permutations; 0: none."
        ),
        click.option("--seed", default=None, type=click.IntRange(0), help="Of both; the default is fixed."),
        click.option(
            "--level",
            default=0.95,
            show_default=True,
            type=click.FloatRange(0.5, 0.999),
            help="Of intervals.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _settings(options: dict[str, Any], by: tuple[str, ...] = ()) -> Settings:
    from croc.report import DEFAULT_SEED, Settings

    seed = DEFAULT_SEED if options["seed"] is None else options["seed"]
    return Settings(options["paper"], by, options["resamples"], options["flips"], seed, options["level"])


def _report(tables: tuple[Path, ...], options: dict[str, Any], by: tuple[str, ...] = ()) -> Report:
    from rich.console import Console

    from croc.report import Report

    wanted = options["metrics"] or None
    settings = _settings(options, by)
    with Console(stderr=True).status("Reading and judging score tables …"):
        return Report.from_files(tables, protocol=options["protocol"], settings=settings, metrics=wanted)


def _show(parts: list[Any]) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:  # a pipe or a file: no line may be cut to a width nobody has
        console = Console(width=400, soft_wrap=True)
    for part in parts:
        console.print(part)


def _write(path: Path | None, content: str | bytes) -> None:
    if path is None:
        return
    from croc.files import atomic

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as problem:
        raise InputError(f"{path}: cannot be written ({problem.strerror})") from None
    click.echo(f"wrote {path}", err=True)


@main.command(
    epilog="""\b
Examples:
  croc evaluate scores/ --by property
  croc evaluate croc_syn_scores.tsv.gz --paper --json verdict.json
  croc evaluate action_*_scores.tsv --protocol hum --html report.html"""
)
@_tables_argument
@_judging
@click.option(
    "--by",
    multiple=True,
    metavar="COLUMN",
    help=f"Break down by a column: {', '.join(GROUPINGS)} or another; repeatable.",
)
@click.option("--json", "json_file", type=_PATH, help="Write all numbers here.")
@click.option("--html", "html_file", type=_PATH, help="Write a self-contained page here.")
@click.option("--latex", "latex_file", type=_PATH, help="Write a booktabs table here.")
@click.option("--heatmap", "heatmap_file", type=_PATH, help="Write a PNG here.")
def evaluate(
    tables: tuple[Path, ...],
    by: tuple[str, ...],
    json_file: Path | None,
    html_file: Path | None,
    latex_file: Path | None,
    heatmap_file: Path | None,
    **options: Any,
) -> None:
    """Judge metrics by their score tables: scaled accuracy in four directions, intervals, tests, findings.

    TABLE is a score table (Parquet, CSV, TSV), one of the published TSV files, or a folder of them.
    """
    from croc import render

    report = _report(tables, options, by)
    _show(render.terminal(report))
    _write(json_file, report.to_json() if json_file else "")
    _write(html_file, render.html(report) if html_file else "")
    _write(latex_file, render.latex(report) if latex_file else "")
    _write(heatmap_file, render.heatmap_png(report) if heatmap_file else b"")


@main.command(epilog="Example: croc agree syn_scores/ --with hum_scores/ --by category")
@_tables_argument
@click.option(
    "--with",
    "others",
    multiple=True,
    required=True,
    type=_PATH,
    help="Score tables of the other benchmark (repeatable).",
)
@click.option("--by", default=None, metavar="COLUMN", help="Compare value by value of this column.")
@_judging
def agree(tables: tuple[Path, ...], others: tuple[Path, ...], by: str | None, **options: Any) -> None:
    """Do two benchmarks rank the same metrics alike? Kendall's tau-b with its interval."""
    from croc import render

    columns = (by,) if by else ()
    first = _report(tables, options, columns)
    second = _report(others, options, columns)
    agreements = first.agreement(second)
    if by:
        agreements += first.agreement(second, by)
    for line in render.agreement_lines(agreements):
        click.echo(line)
    click.echo(agreements[0].signature if agreements else "no group is shared")


@main.command(
    epilog="""\b
Examples:
  croc correlate ratings.csv --human human_avg --cluster prompt
  croc correlate ratings.parquet --human rater_1 --human rater_2 --json corr.json"""
)
@click.argument("table", type=_PATH)
@click.option(
    "--human",
    "humans",
    multiple=True,
    required=True,
    metavar="COLUMN",
    help="Column of ratings (repeatable).",
)
@click.option(
    "--cluster",
    default=None,
    metavar="COLUMN",
    help="What is resampled together, such as prompt; default: single items.",
)
@click.option("--metric", "metrics", multiple=True, help="Only this column (repeatable).")
@click.option("--resamples", default=2000, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=None, type=click.IntRange(0), help="The default is fixed.")
@click.option("--json", "json_file", type=_PATH, help="Write all numbers here.")
def correlate(
    table: Path,
    humans: tuple[str, ...],
    cluster: str | None,
    metrics: tuple[str, ...],
    resamples: int,
    seed: int | None,
    json_file: Path | None,
) -> None:
    """Correlate metrics with human ratings: Kendall tau-b, Spearman, Pearson, intervals, clusters.

    TABLE is a pair table (Parquet, CSV, TSV): item_id, system, prompt, a column per metric and per rating.
    """
    from croc.correlation import correlate as compute
    from croc.report import DEFAULT_SEED
    from croc.tables import read_pair_table

    seed = DEFAULT_SEED if seed is None else seed
    found = compute(
        read_pair_table(table),
        humans,
        cluster=cluster,
        metrics=metrics or None,
        resamples=resamples,
        seed=seed,
    )
    _show(found.terminal())
    _write(json_file, found.to_json() if json_file else "")


# ---- Running metrics ----


class _WithDefault(click.Group):
    """A group whose first word may be left out: ``croc score DATASET`` is ``croc score run DATASET``."""

    default = "run"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


@main.group(cls=_WithDefault)
def score() -> None:
    """Run metrics on a dataset of checks; only the scores are kept.

    Without one of the commands below it runs metrics: croc score DATASET --scorer NAME --out DIR
    """


@score.command(
    "run",
    epilog="""\b
Examples:
  croc score runs/syn --scorer clipscore-b32 --scorer random --out scores/
  croc score croc/hum --streaming --scorer my_package:MyMetric --out scores/""",
)
@click.argument("dataset")
@click.option(
    "--scorer",
    "scorers",
    multiple=True,
    required=True,
    metavar="NAME",
    help="A name of 'croc scorers list' or module:Class; repeatable.",
)
@click.option("--out", required=True, type=_PATH, help="Folder of the score tables.")
@click.option("--config", help="Configuration of the dataset.")
@click.option("--split", help="Split of the dataset.")
@click.option("--revision", help="Tag or commit of a Hub dataset.")
@click.option("--streaming", is_flag=True, help="Read a Hub dataset without downloading it first.")
@click.option("--protocol", metavar="syn|hum", help="Default: as the checks show.")
@click.option(
    "--batch-size", type=click.IntRange(1), help="Default: each scorer's own; halved when memory runs out."
)
@click.option("--max-failures", type=click.IntRange(0), help="Stop when more pairs fail; default: never.")
@click.option("--device", help="cpu, cuda, mps; default: the best there is.")
@click.option("--overwrite", is_flag=True, help="Start anew instead of going on.")
def score_run(
    dataset: str, scorers: tuple[str, ...], out: Path, device: str | None, overwrite: bool, **options: Any
) -> None:
    """Run metrics on DATASET: a folder, a Parquet file or a Hub id. Run it again to go on after a stop."""
    from croc.scoring import score_dataset

    files = score_dataset(
        dataset,
        scorers,
        out,
        existing="overwrite" if overwrite else "resume",
        options={"device": device} if device else None,
        tell=lambda line: click.echo(line, err=True),
        **options,
    )
    for file in files:
        click.echo(file)


@main.group()
def scorers() -> None:
    """Which metrics there are."""


@scorers.command("list", epilog="Example: croc scorers list --blind")
@click.option("--blind", is_flag=True, help="Only baselines that cannot see.")
def scorers_list(blind: bool) -> None:
    """List the metrics that have a name here."""
    from rich.table import Table

    from croc.scorers.registry import available

    table = Table(box=None, header_style="bold")
    for column in ("name", "model", "what it is", "needs"):
        table.add_column(column, overflow="fold")
    for info in available():
        if info.blind or not blind:
            needs = f"croc-t2i[{info.extra}]" if info.extra else ""
            table.add_row(info.name, info.model or "", info.summary or "", needs)
    _show([table])


@scorers.command("show", epilog="Example: croc scorers show clipscore-b32")
@click.argument("name")
def scorers_show(name: str) -> None:
    """Show what is known of one metric: model, revision, licence, source."""
    from dataclasses import asdict

    from croc.scorers.registry import info

    for key, value in asdict(info(name)).items():
        if value not in (None, (), {}):
            click.echo(f"{key + ':':10} {', '.join(value) if isinstance(value, tuple) else value}")


# ---- Making checks ----


@main.group()
def taxonomy() -> None:
    """What can be contrasted: topics, properties, entities."""


_TAXONOMY_FILE = click.argument("file", required=False, type=_PATH)


@taxonomy.command("check", epilog="Example: croc taxonomy check my_taxonomy.yaml")
@_TAXONOMY_FILE
def taxonomy_check(file: Path | None) -> None:
    """Check a taxonomy file (default: ours) and count what is in it."""
    from croc_syn.taxonomy import check

    for key, value in check(file).items():
        click.echo(f"{key}: {value}")


@taxonomy.command("show", epilog="Example: croc taxonomy show --exact")
@_TAXONOMY_FILE
@click.option("--exact", is_flag=True, help="Only what the exact world can draw.")
def taxonomy_show(file: Path | None, exact: bool) -> None:
    """Show a taxonomy (default: ours) as a tree."""
    from croc_syn.taxonomy import load, show

    click.echo(show(load(file), exact_only=exact))


@main.group()
def build() -> None:
    """Make a dataset of checks: a folder that datasets.load_dataset reads."""


@build.command(
    "syn",
    epilog="Example: croc build syn --checks 1000 --images 5 --workers 2 --out runs/syn",
)
@click.option(
    "--preset",
    type=click.Choice(["exact"]),
    default="exact",
    show_default=True,
    help="exact: the built-in drawing world.",
)
@click.option("--checks", default=300, show_default=True, type=click.IntRange(1), help="Number of checks.")
@click.option("--images", default=5, show_default=True, type=click.IntRange(1), help="Images a side.")
@click.option("--size", default=256, show_default=True, type=click.IntRange(32, 4096), help="Pixels.")
@click.option("--seed", default=0, show_default=True, type=int)
@click.option(
    "--noise",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Probability that an image shows the other prompt.",
)
@click.option("--subset", "subsets", multiple=True, help="Only this subset; repeatable.")
@click.option("--property", "properties", multiple=True, help="Only variations of this property; repeatable.")
@click.option("--taxonomy", type=_PATH, help="Your own taxonomy file.")
@click.option(
    "--train",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of the concepts for training.",
)
@click.option(
    "--validation",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of the concepts for validation.",
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Processes; the bytes do not depend on it.",
)
@click.option("--out", required=True, type=_PATH, help="Folder to make; run again to go on.")
def build_syn(
    preset: str,
    subsets: tuple[str, ...],
    properties: tuple[str, ...],
    train: float,
    validation: float,
    out: Path,
    **options: Any,
) -> None:
    """Make CROCsyn with the exact world: no model, no network, labels that are certain."""
    from builders.syn import build_exact

    splits = None
    if train or validation:
        splits = {"train": train, "validation": validation, "test": 1.0 - train - validation}
    report = build_exact(
        out, subsets=subsets or None, properties=properties or None, splits=splits, **options
    )
    click.echo("\n".join([str(out), *report.lines()]))


@build.command("nlvr", epilog="Example: croc build nlvr nlvr/dev --out runs/nlvr")
@click.argument("folder", type=_PATH)
@click.option("--out", required=True, type=_PATH, help="Folder to make.")
def build_nlvr(folder: Path, out: Path) -> None:
    """Make hum checks from a split of NLVR: sentences by people, votes of five raters, drawn images."""
    from croc_hum import nlvr

    checks = nlvr.write(folder, out)
    click.echo(f"{out}: {len(checks)} checks, {sum(map(len, checks['votes']))} votes")


@main.command(
    epilog="""\b
Examples:
  croc draw "a small red dog to the left of two blue umbrellas, no cat" -o dog.png
  croc draw "three yellow stars in a row" --count 4 -o stars.png"""
)
@click.argument("prompt")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="PNG file.")
@click.option("--seed", default=0, show_default=True, type=int)
@click.option("--size", default=256, show_default=True, type=click.IntRange(16, 4096), help="Pixels.")
@click.option(
    "--count",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Images, with seeds one after another: NAME-1.png, …",
)
def draw(prompt: str, out: Path, seed: int, size: int, count: int) -> None:
    """Draw a prompt in controlled English, exactly."""
    from croc_syn.world import draw as exact

    for number in range(count):
        path = out if count == 1 else out.with_name(f"{out.stem}-{number + 1}{out.suffix}")
        _write(path, exact(prompt, seed + number, size=size).png)


@main.command(epilog="Example: croc sheet runs/syn -o sheet.png --category counting")
@click.argument("folder", type=_PATH)
@click.option("-o", "--out", required=True, type=_PATH, help="PNG or HTML file.")
@click.option("--checks", default=8, show_default=True, type=click.IntRange(1), help="How many, at most.")
@click.option("--images", default=1, show_default=True, type=click.IntRange(1), help="Images a side.")
@click.option(
    "--columns", default=4, show_default=True, type=click.IntRange(1), help="Checks beside each other."
)
@click.option(
    "--width", default=240, show_default=True, type=click.IntRange(16, 2048), help="Pixels an image."
)
@click.option("--subset", help="Only of this subset.")
@click.option("--category", help="Only of this category.")
@click.option("--property", "property_name", help="Only of this property.")
@click.option("--seed", default=0, show_default=True, type=int, help="Another seed, other checks.")
def sheet(folder: Path, out: Path, **options: Any) -> None:
    """Draw a grid of checks, to look at: prompt and image, contrast and image."""
    from croc_syn.sheet import sheet as make

    make(folder, out, **options)
    click.echo(f"wrote {out}", err=True)


@main.command(epilog="Example: croc status runs/syn")
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
def status(folder: Path) -> None:
    """How far resumable work in a folder is: parts done, failed and left, rate, time left."""
    from croc.parts import status as read

    plans = sorted(folder.rglob("plan.json"))
    for plan in plans:
        now = read(plan.parent)
        state = "complete" if now.complete else "running" if now.running else "stopped"
        eta = f", about {now.eta:.0f} s left" if now.eta else ""
        click.echo(f"{plan.parent}: {now.done} of {now.total} parts, {now.bytes / 1e6:.1f} MB, {state}{eta}")
        for name, reason in list(now.failed.items())[:10]:
            click.echo(f"  failed: {name}: {reason}")
    if not plans:
        click.echo(
            f"{folder}: no resumable work in it"
            + (", but it is finished" if (folder / "manifest.json").exists() else "")
        )


# ---- The whole road ----


_DEMO_PROPERTIES = ("colour", "colour_binding", "count", "left_right", "negation", "shape")


@main.command(epilog="Example: croc demo --out demo-out --nlvr nlvr/dev")
@click.option("--out", default="demo-out", show_default=True, type=_PATH, help="Folder to make.")
@click.option("--checks", default=300, show_default=True, type=click.IntRange(20), help="Checks to make.")
@click.option("--images", default=3, show_default=True, type=click.IntRange(1), help="Images a side.")
@click.option("--nlvr", type=_PATH, help="A split of NLVR, to judge on human-labelled checks too.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Processes.")
def demo(out: Path, checks: int, images: int, nlvr: Path | None, workers: int) -> None:
    """Walk the whole road offline: make checks, run scorers, judge them, write a report."""
    from builders.syn import build_exact
    from croc import render
    from croc.report import Report, Settings
    from croc.scoring import score_dataset
    from croc_syn.sheet import sheet as make_sheet

    names = ["colour-words", "random", "prompt-length", "image-only"]
    click.secho("1. Making contrastive checks with the exact world", bold=True, err=True)
    built = build_exact(
        out / "syn", checks=checks, images=images, properties=_DEMO_PROPERTIES, workers=workers
    )
    for line in built.lines():
        click.echo(f"   {line}", err=True)
    import datasets  # after the build: it is slow to import, and the bar should show first

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    loaded = datasets.load_dataset(str(out / "syn"), split="test")
    click.echo(f"   datasets.load_dataset({str(out / 'syn')!r}) reads {len(loaded)} rows", err=True)
    make_sheet(out / "syn", out / "sheet.png", checks=8, columns=4)
    click.secho("2. Running scorers", bold=True, err=True)
    tell = lambda line: click.echo(f"   {line}", err=True)  # noqa: E731
    tables = score_dataset(out / "syn", names, out / "scores-syn", tell=tell)
    report = Report.from_files(tables, settings=Settings(by=("property",)))
    others: list[Report] = []
    extra: list[tuple[str, str]] = []
    if nlvr is not None:
        from croc_hum import nlvr as human

        human.write(nlvr, out / "nlvr")
        real = Report.from_files(score_dataset(out / "nlvr", names, out / "scores-nlvr", tell=tell))
        others.append(real)
        lines = render.agreement_lines(report.agreement(real))
        extra.append(("Do the benchmarks agree?", "".join(f"<p>{line}</p>" for line in lines)))
    click.secho("3. The verdict", bold=True, err=True)
    for each in (report, *others):
        _show(render.terminal(each))
    files = render.write_all(report, out, others=others, extra=extra)
    for each in others:
        files += render.write_all(each, out, name="report-nlvr")
    click.secho(f"Written to {out}: sheet.png, {', '.join(file.name for file in files)}", bold=True, err=True)
    click.echo(f"Open {out / 'report.html'} in a browser.", err=True)


if __name__ == "__main__":
    main()
