"""Annotators who vote at once on the served page: seconds per vote, lost and doubled votes.

    python benchmarks/bench_annotate.py --annotators 32 --rate 8 --seconds 60

The page runs in a process of its own; the annotators are threads. ``--rate`` is the number of votes per
second of all annotators together. The times between two votes are exponential, and each annotator waits for
the response to the last vote.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))


def main() -> None:
    from annotate_server import Page, read_votes, vote_concurrently
    from hum_items import items, write

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--annotators", type=int, default=32)
    parser.add_argument("--rate", type=float, default=8.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file, store = write(items(300), folder / "items.parquet"), folder / "votes.sqlite"
        options = ("--overlap", str(arguments.annotators), "--attention-every", "0", "--batch", "10000")
        with Page(file, store, *options) as page:
            acknowledged, seconds, failed = vote_concurrently(
                page, arguments.annotators, arguments.rate, arguments.seconds
            )
        stored = read_votes(store)
    if not seconds:
        sys.exit(f"no vote was answered in {arguments.seconds:g} s; use a larger --seconds")
    ids = {vote["vote_id"] for vote in stored}
    counts = Counter((vote["annotator"], vote["item_id"]) for vote in stored)
    median, p95, p99 = np.percentile(seconds, [50, 95, 99])
    load = f"{arguments.annotators} annotators, {arguments.rate:g} votes/s"
    print(f"{load}: {len(acknowledged)} acknowledged, {failed} failed")
    print(f"seconds per vote: median {median:.3f}, p95 {p95:.3f}, p99 {p99:.3f}")
    print(f"lost {len(set(acknowledged) - ids)}, doubled {sum(n > 1 for n in counts.values())}")


if __name__ == "__main__":
    main()
