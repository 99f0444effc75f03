r"""Make the sample of CROCsyn (croc/syn) and its score tables and results (croc/sample/results).

    python benchmarks/make_sample.py --nlvr nlvr/dev
    python benchmarks/make_sample.py --results-only
    python benchmarks/make_sample.py --results-only --weaknesses runs/weaknesses
    python benchmarks/make_sample.py --nlvr nlvr/dev --weaknesses runs/weaknesses --scorer crocscore

The checks are those of::

    croc build syn --checks 352 --images 2 --size 192 --webp 80 --seed 2025 --out croc/syn

32 checks of every category, of properties without a category, and of each other subset. An existing croc/syn
is kept if it is this very build; otherwise remove it first. Score tables and results are always made again,
from croc/syn and, with ``--nlvr``, from some of those human-labelled checks, whose images are left out.
``--results-only`` keeps the score tables, too, and makes the results again after a change of their format.
``--scorer`` makes those of some scorers again, after new weights, and keeps the others.
``--weaknesses`` runs ``croc audit-reward`` (without searches) and ``croc probe`` on each scorer in a folder,
which resumes, and adds what they find; it takes about half an hour.
It takes about five minutes on two cores, and stops if the package would become too large.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from builders.syn import build_exact
from croc.checks.sources import Checks, open_checks
from croc.external.benchmarks import nlvr
from croc.rendering import fragments as pages
from croc.results.files import add_weaknesses, make_result, read_result, write_result
from croc.results.verification import Rescoring, verify_all
from croc.results.verified import VERIFIED, read_verified, record
from croc.results.weaknesses import SUFFIX, read_weaknesses
from croc.scoring.run import score_dataset
from croc.storage.files import sha256_of, write_json
from croc_syn.probe import ProbeSettings, run_probe
from croc_syn.reward_audit.audit import AuditSettings, run_audit
from croc_syn.reward_audit.search import SearchSettings

SCORER_OF = {"crocscore-tiny": "crocscore"}
"""The scorer whose results have another name."""

SCORERS = ["colour-words", "random", "crocscore", "crocscore-dual"]
TRAINED = ["crocscore-tiny", "crocscore-dual"]
RESCORED = 40
"""Checks that are scored a second time, for the list of verified results."""

CHECKS = 352
MOST_BYTES = {pages.CHECKS: 6_000_000, pages.RESULTS: 1_300_000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nlvr", type=Path, help="a split of NLVR")
    parser.add_argument("--scorer", nargs="+", help="make these again and keep the others; default: all")
    parser.add_argument(
        "--trained", nargs="*", default=TRAINED, help="which of them were trained on such checks"
    )
    parser.add_argument("--human-checks", type=int, default=120)
    parser.add_argument("--weaknesses", type=Path, metavar="FOLDER", help="audits and probes of the scorers")
    parser.add_argument("--results-only", action="store_true", help="from the score tables that are there")
    options = parser.parse_args()
    everything = options.scorer is None
    options.scorer = options.scorer or SCORERS
    if options.results_only:
        remake_results()
        finish(options)
        return
    build_exact(pages.CHECKS, checks=CHECKS, images=2, size=192, quality=80, seed=2025)
    if everything:
        shutil.rmtree(pages.RESULTS, ignore_errors=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results("syn", str(pages.CHECKS), options, folder)
        if options.nlvr:
            checks = nlvr.load(options.nlvr)
            spread = [i * len(checks) // options.human_checks for i in range(options.human_checks)]
            some = folder / "nlvr-dev" / "test.parquet"
            some.parent.mkdir()
            checks.select(spread).to_parquet(str(some))
            results("hum", str(some.parent), options, folder)
    finish(options)


def finish(options: argparse.Namespace) -> None:
    if options.weaknesses is not None:
        weaknesses(options.scorer, options.weaknesses)
    record_verification(options.scorer, options.weaknesses)
    for place, most in MOST_BYTES.items():
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        print(f"{place}: {size:,} bytes")
        assert size < most, f"too large to travel with the package: more than {most:,} bytes"


def results(kind: str, dataset: str, options: argparse.Namespace, folder: Path) -> None:
    out = pages.RESULTS / kind
    out.mkdir(parents=True, exist_ok=True)
    for table in score_dataset(dataset, options.scorer, folder / f"scores-{kind}", log=print):
        shutil.copy(table, out / table.name)
        made = make_result(out / table.name, trained_on_croc=table.stem in options.trained)
        print(write_result(made, out / f"{table.stem}.json"))


def weaknesses(scorers: list[str], folder: Path) -> None:
    """Audit and probe each scorer, and add what was found to its result on the synthetic checks."""
    settings = AuditSettings(search=SearchSettings(prompts=0))
    for scorer in scorers:
        run_audit([scorer], folder / "audit", settings)
        report = run_probe(scorer, folder / probe_of(scorer), ProbeSettings(detail_checks=0))
        file = pages.RESULTS / "syn" / f"{report.metric}.json"
        audit, probe = folder / "audit", folder / probe_of(scorer)
        made = add_weaknesses(read_result(file), file.parent, audit=audit, probe=probe)
        print(write_result(made, file), made.weaknesses)


def probe_of(scorer: str) -> str:
    return f"probe-{scorer}"


def record_verification(scorers: Sequence[str], runs: Path | None) -> None:
    """Verify results as the keeper of a leaderboard does, and list them in ``verified.json``.

    What the list says of the results of other scorers is kept.

    The images of the human-labelled checks are left out, so that only the numbers of these results can be
    verified. Scores that the present models no longer give are verified as far as the dataset. The audits and
    probes were run here, so that the list says so.
    """
    listed = pages.RESULTS / VERIFIED
    files = sorted(file for file in pages.RESULTS.rglob("*.json") if file != listed)
    present = {sha256_of(file) for file in files}
    write_json(listed, {key: one.to_dict() for key, one in read_verified(listed).items() if key in present})
    checks = open_checks(str(pages.CHECKS))
    for file in files:
        if SCORER_OF.get(file.stem, file.stem) not in scorers:
            continue
        steps: list[tuple[Checks | None, Rescoring | None]] = [(None, None)]
        if file.parent.name == "syn":
            again = Rescoring(RESCORED, 2025, SCORER_OF.get(file.stem), {}, 0.01)
            steps = [(checks, again), (checks, None)]
        for dataset, rescoring in steps:
            problems, verification, _ = verify_all(file, None, dataset, rescoring, **own_runs(file, runs))
            print(file, verification, *problems)
            if not problems:
                break
        assert not problems, f"{file} does not match its table"
        record(listed, {file: verification})


def own_runs(file: Path, runs: Path | None) -> dict[str, Path]:
    if runs is None or read_result(file).weaknesses is None:
        return {}
    return {"audit": runs / "audit", "probe": runs / probe_of(SCORER_OF.get(file.stem, file.stem))}


def remake_results() -> None:
    for file in sorted(path for path in pages.RESULTS.rglob("*.json") if path.name != VERIFIED):
        content = json.loads(file.read_text("utf-8"))
        made = make_result(
            file.with_suffix(".parquet"), trained_on_croc=content["trained_on_croc"], url=content["url"]
        )
        evidence = file.with_name(f"{file.stem}{SUFFIX}")
        if evidence.is_file():
            made = replace(made, weaknesses=read_weaknesses(evidence, made.metric, made.signature))
        print(write_result(made, file))


if __name__ == "__main__":
    main()
