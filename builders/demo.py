"""The demo: checks → scores → report, with the small models of the package and baselines."""

from __future__ import annotations

from pathlib import Path

from croc.cli.output import log, show
from croc.wording import counted

PROPERTIES = ("colour", "count", "left_right", "negation", "shape")
"""What the checks vary that the demo builds."""

SCORERS = ["crocscore", "crocscore-dual", "colour-words", "random", "prompt-length", "image-only"]


def run_demo(out: Path, built: tuple[int, int] | None, nlvr: Path | None, workers: int) -> None:
    """Score and evaluate the embedded sample of CROCsyn, or checks that are built first.

    Args:
        out: folder for tables and reports.
        built: numbers of checks and of images per prompt to build; None takes the sample.
        nlvr: a split of NLVR, whose human-labelled checks are evaluated, too.
        workers: number of processes of the build.
    """
    from croc.checks.names import SYN_SAMPLE
    from croc.checks.sources import open_checks
    from croc.rendering.failed_checks import HEADING, failed_checks
    from croc.rendering.formats import agreement_lines
    from croc.rendering.page import write_all
    from croc.rendering.terminal import terminal
    from croc.scoring.run import score_dataset
    from croc.tables.readers import read_score_tables
    from croc.verdict.evaluation import evaluate
    from croc.verdict.report import Report, Settings
    from croc_syn.contact_sheet import sheet as draw_sheet

    by: tuple[str, ...]
    if built is not None:
        log("1. Building checks with the exact world", bold=True)
        data, by = out / "syn", ("property",)
        _build(data, *built, workers)
    else:
        log("1. Reading the sample of CROCsyn in the package (--build makes others)", bold=True)
        data, by = SYN_SAMPLE, ("category", "property")
    out.mkdir(parents=True, exist_ok=True)
    draw_sheet(data, out / "sheet.png", checks=8, columns=4)
    log("2. Running scorers", bold=True)
    tables = score_dataset(data, SCORERS, out / "scores-syn", log=_log)
    report = evaluate(tables, settings=Settings(by=by))
    others: list[Report] = []
    failed = failed_checks(report, read_score_tables(tables, groups=by), open_checks(str(data)))
    extra = [(HEADING, failed)]
    if nlvr is not None:
        from builders import hum

        hum.build_nlvr(nlvr, out / "nlvr", progress=False)
        real = evaluate(score_dataset(out / "nlvr", SCORERS, out / "scores-nlvr", log=_log))
        others.append(real)
        lines = agreement_lines(report.agreement(real))
        extra.append(("Agreement of the benchmarks", "".join(f"<p>{line}</p>" for line in lines)))
    log("3. Results", bold=True)
    files = write_all(report, out, others=others, extra=extra)
    for other in others:
        files += write_all(other, out, name="report-nlvr")
    for shown in (report, *others):
        show(terminal(shown), [shown.signature])
    log(f"Written to {out}: sheet.png, {', '.join(file.name for file in files)}", bold=True)
    log(f"Open {out / 'report.html'} in a browser.")


def _build(folder: Path, checks: int, images: int, workers: int) -> None:
    import sys

    from builders.syn import build_exact
    from croc.checks.local_datasets import open_builder
    from croc.jobs.executors import local_executor

    built = build_exact(
        folder,
        checks=checks,
        images=images,
        properties=PROPERTIES,
        executor=local_executor(workers),
    )
    for line in built.lines():
        _log(line)
    import datasets  # after the build: it is slow to import, and the bar should show first

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    loader = open_builder(str(folder), folder, None, None)
    loader.download_and_prepare()
    rows = counted(len(loader.as_dataset("test")), "row")
    _log(f"datasets.load_dataset({str(folder)!r}) reads {rows}")


def _log(line: str) -> None:
    log(f"   {line}")
