"""Annotators who vote at once at the served page: seconds a vote takes, votes lost or doubled.

    python benchmarks/bench_annotate.py --people 32 --rate 8 --seconds 60

The page runs in a process of its own; the people are threads here. ``--rate`` is the arrival rate, votes a
second of all people together, with exponential waits between one person's votes; a person does not vote
before the last vote was answered.
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
    from annotate_server import Page
    from hum_items import items, write
    from test_annotate_page import held_by, load

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=32)
    parser.add_argument("--rate", type=float, default=8.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file, store = write(items(300), folder / "items.parquet"), folder / "votes.sqlite"
        options = ("--overlap", str(asked.people), "--attention-every", "0", "--batch", "10000")
        with Page(file, store, *options) as page:
            acknowledged, took, failed = load(page, asked.people, asked.rate, asked.seconds)
        held = held_by(store)
    ids = {vote["vote_id"] for vote in held}
    twice = Counter((vote["annotator"], vote["item_id"]) for vote in held)
    low, middle, high = np.percentile(took, [50, 95, 99])
    arriving = f"{asked.people} people, {asked.rate:g} votes/s arriving"
    print(f"{arriving}: {len(acknowledged)} acknowledged, {failed} failed")
    print(f"seconds a vote: median {low:.3f}, p95 {middle:.3f}, p99 {high:.3f}")
    print(f"lost {len(set(acknowledged) - ids)}, doubled {sum(n > 1 for n in twice.values())}")


if __name__ == "__main__":
    main()
