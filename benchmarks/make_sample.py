r"""Make the sample that the pages show: checks, score tables and results (croc/sample).

    python benchmarks/make_sample.py --nlvr nlvr/dev
    python benchmarks/make_sample.py --nlvr nlvr/dev \
        --scorer colour-words random crocscore crocscore-dual \
        --trained crocscore-tiny crocscore-dual
    python benchmarks/make_sample.py --results-only

The checks are those of the exact world, one small image a side as WebP, so that the package stays small; all
scores and results come from that very file. With ``--nlvr`` results on human-labelled checks are made too;
their images are left out. ``--results-only`` keeps checks and score tables and makes the results again from
the tables, after a change of their format. The whole sample stays below a megabyte, which the script holds.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import tempfile
from pathlib import Path

import datasets
from PIL import Image

from builders.syn import build_exact
from croc.checks.schema import check_features
from croc.checks.sources import Checks, open_checks
from croc.external.benchmarks import nlvr
from croc.rendering import fragments as pages
from croc.results.files import make_result, write_result
from croc.results.verification import Rescoring, verify_all
from croc.results.verified import VERIFIED, record
from croc.scoring.run import score_dataset

SCORER_OF = {"crocscore-tiny": "crocscore"}
"""The scorer whose results have another name."""

SCORERS = ["colour-words", "image-only", "random"]
SIDES = ("images", "contrast_images")
PIXELS = 192
MOST_BYTES = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nlvr", type=Path, help="a split of NLVR")
    parser.add_argument("--scorer", nargs="+", default=SCORERS)
    parser.add_argument("--trained", nargs="*", default=[], help="which of them were trained on such checks")
    parser.add_argument("--checks", type=int, default=72)
    parser.add_argument("--human-checks", type=int, default=120)
    parser.add_argument("--results-only", action="store_true", help="from the score tables that are there")
    options = parser.parse_args()
    if options.results_only:
        remake_results()
        return
    shutil.rmtree(pages.SAMPLE, ignore_errors=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_checks(folder / "build", options.checks)
        results("syn", str(pages.CHECKS), options, folder)
        if options.nlvr:
            checks = nlvr.load(options.nlvr)
            spread = [i * len(checks) // options.human_checks for i in range(options.human_checks)]
            some = folder / "nlvr-dev" / "test.parquet"
            some.parent.mkdir()
            checks.select(spread).to_parquet(str(some))
            results("hum", str(some.parent), options, folder)
    record_verification()
    size = sum(path.stat().st_size for path in pages.SAMPLE.rglob("*") if path.is_file())
    print(f"{size:,} bytes")
    assert size < MOST_BYTES, "too large to travel with the package: fewer --checks"


def make_checks(folder: Path, count: int) -> None:
    build_exact(
        folder, checks=count, images=1, seed=2025, subsets=["property_variation"], allocation="subsets"
    )
    rows = datasets.load_dataset(str(folder), split="test")
    for side in SIDES:
        rows = rows.cast_column(side, datasets.List(datasets.Image(decode=False)))
    features = check_features()
    small = [
        {name: row.get(name) for name in features}
        | {side: [webp(each["bytes"]) for each in row[side]] for side in SIDES}
        for row in rows
    ]
    pages.CHECKS.mkdir(parents=True)
    datasets.Dataset.from_list(small, features=features).to_parquet(str(pages.CHECKS / "test.parquet"))


def webp(data: bytes) -> dict:
    image = Image.open(io.BytesIO(data)).convert("RGB").resize((PIXELS, PIXELS), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=60, method=6)
    return {"bytes": buffer.getvalue(), "path": None}


def results(kind: str, dataset: str, options: argparse.Namespace, folder: Path) -> None:
    out = pages.RESULTS / kind
    out.mkdir(parents=True, exist_ok=True)
    for table in score_dataset(dataset, options.scorer, folder / f"scores-{kind}", log=print):
        shutil.copy(table, out / table.name)
        made = make_result(out / table.name, trained_on_croc=table.stem in options.trained)
        print(write_result(made, out / f"{table.stem}.json"))


def record_verification() -> None:
    """Verify the results as the keeper of a leaderboard does, and list them in ``verified.json``.

    The images of the human-labelled checks are left out, so that only the numbers of these results can be
    verified. Scores that the present models no longer give are verified as far as the dataset.
    """
    listed = pages.RESULTS / VERIFIED
    listed.unlink(missing_ok=True)
    checks = open_checks(str(pages.CHECKS))
    for file in sorted(pages.RESULTS.rglob("*.json")):
        steps: list[tuple[Checks | None, Rescoring | None]] = [(None, None)]
        if file.parent.name == "syn":
            again = Rescoring(len(checks.texts), 2025, SCORER_OF.get(file.stem), {}, 0.01)
            steps = [(checks, again), (checks, None)]
        for dataset, rescoring in steps:
            problems, verification, _ = verify_all(file, None, dataset, rescoring)
            print(file, verification, *problems)
            if not problems:
                break
        assert not problems, f"{file} does not match its table"
        record(listed, {file: verification})


def remake_results() -> None:
    for file in sorted(path for path in pages.RESULTS.rglob("*.json") if path.name != VERIFIED):
        content = json.loads(file.read_text("utf-8"))
        made = make_result(
            file.with_suffix(".parquet"), trained_on_croc=content["trained_on_croc"], url=content["url"]
        )
        print(write_result(made, file))
    record_verification()


if __name__ == "__main__":
    main()
