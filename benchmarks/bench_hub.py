"""Streaming a config from a Hub beside reading and decoding the same Parquet directly; its first row.

Run by hand on a quiet machine; the Hub is the one of the tests, in a process of its own on loopback::

    python benchmarks/bench_hub.py --megabytes 1000

All sides decode every image of every row they read. Two direct ways are shown: each image once with Pillow,
and as the file's ``datasets.Features`` decode it, which opens the first image of a list twice (streaming
lists of five images cannot come above 5/6 of the first way). With ``.decode(num_threads=2)`` the reader
decodes in threads, each image once. Ratios are shown by the clock and by the CPU time of the reading process,
which other programs disturb less. The first row is timed from ``load_dataset`` on, with an empty cache in the
first round; the libraries are imported before.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

REPO = "org/large"
ROOT = Path(__file__).resolve().parents[1]
CARD = """---
configs:
- config_name: all
  default: true
  data_files:
  - split: test
    path: data/test-*.parquet
---
"""


def make(path: Path, megabytes: int, size: int) -> int:
    """A shard as the builder writes them, of drawings that differ; gives its number of rows."""
    import pyarrow as pa

    from croc.storage.parquet import write_parquet
    from croc_syn.painting.table import exact_features
    from croc_syn.world import draw

    prompts = ["three red cats", "a blue dog to the left of two yellow birds", "a green house", "four stars"]
    drawn = [draw(prompts[i % 4], i, size=size).png for i in range(60)]
    schema = exact_features().arrow_schema
    pick = random.Random(0)
    rows = int(megabytes * 1e6 / (10 * sum(map(len, drawn)) / len(drawn)))

    def some(start: int) -> pa.Table:
        def column(field: pa.Field) -> pa.Array:
            count = min(50, rows - start)
            if field.name in ("images", "contrast_images"):
                # A few bytes after the end of a PNG make each one another file that decodes the same.
                return pa.array(
                    [
                        [
                            {"bytes": pick.choice(drawn) + pick.randbytes(8), "path": f"{start + i}-{k}.png"}
                            for k in range(5)
                        ]
                        for i in range(count)
                    ],
                    field.type,
                )
            if pa.types.is_string(field.type):
                return pa.array([f"{field.name} {start + i}" for i in range(count)], field.type)
            return pa.nulls(count, field.type)

        return pa.table([column(field) for field in schema], schema=schema)

    write_parquet((some(start) for start in range(0, rows, 50)), path, schema)
    return rows


def direct(path: Path, rows: int, *, by_features: bool) -> None:
    """Read the first rows and decode their images: each once, or as the features do it."""
    import io

    import datasets
    import pyarrow.parquet as pq
    from PIL import Image

    seen = 0
    with pq.ParquetFile(path) as stored:
        features = datasets.Features.from_arrow_schema(stored.schema_arrow)
        for batch in stored.iter_batches(50):
            for row in batch.to_pylist():
                if by_features:
                    features.decode_example(row)
                else:
                    for image in (*row["images"], *row["contrast_images"]):
                        Image.open(io.BytesIO(image["bytes"])).load()
                seen += 1
                if seen == rows:
                    return


def streamed(rows: int, threads: int = 0) -> None:
    """Open the published dataset and read its first rows."""
    import datasets

    opened = datasets.load_dataset(REPO, split="test", streaming=True)
    if threads:
        opened = opened.decode(num_threads=threads)
    for number, _ in enumerate(opened, 1):
        if number == rows:
            break


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds by the clock, and of the CPU in this process."""
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - cpu


def client(path: Path, rows: int, rounds: int) -> None:
    """All ways in turn, in this process."""
    import datasets  # noqa: F401  (its import is not what is measured)
    import PIL.Image  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    found = []
    for _ in range(rounds):
        ways = {
            "first row": partial(streamed, 1),
            "streamed": partial(streamed, rows),
            "streamed, two threads": partial(streamed, rows, 2),
            "direct": partial(direct, path, rows, by_features=False),
            "direct by features": partial(direct, path, rows, by_features=True),
        }
        found.append({name: timed(way) for name, way in ways.items()})
    print(json.dumps(found))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the shard")
    parser.add_argument("--size", type=int, default=512, help="pixels of an image")
    parser.add_argument("--rows", type=int, default=1000, help="rows that are read")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--client", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        client(options.client, options.rows, options.rounds)
        return
    from huggingface_hub import CommitOperationAdd, HfApi

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test-00000-of-00001.parquet"
        rows = make(path, options.megabytes, options.size)
        print(f"shard: {path.stat().st_size / 1e6:.0f} MB, {rows} rows of 10 images of {options.size} pixels")
        command = [sys.executable, str(ROOT / "tests" / "support" / "hub_server.py"), f"{folder}/hub"]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout
            hub = json.loads(server.stdout.readline())
            api = HfApi(endpoint=hub["endpoint"], token=hub["token"])
            api.create_repo(REPO, repo_type="dataset")
            # An open file goes up by plain HTTP; this Hub has no Xet storage.
            with path.open("rb") as shard:
                files = [CommitOperationAdd("README.md", CARD.encode())]
                files.append(CommitOperationAdd(f"data/{path.name}", shard))
                began = time.perf_counter()
                api.create_commit(REPO, files, commit_message="data", repo_type="dataset")
                print(f"upload: {path.stat().st_size / 1e6 / (time.perf_counter() - began):.0f} MB/s")
            environment = {
                **os.environ,
                "HF_ENDPOINT": hub["endpoint"],
                "HF_HOME": f"{folder}/home",
                "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            }
            command = [sys.executable, __file__, "--client", str(path), "--rows", str(options.rows)]
            command += ["--rounds", str(options.rounds)]
            done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        finally:
            server.communicate("")
    counted = min(rows, options.rows)
    for times in json.loads(done.stdout.splitlines()[-1]):
        print(f"first row {times.pop('first row')[0]:.2f} s")
        for name, (clock, cpu) in times.items():
            ratios = [
                f"{times[way][0] / clock:.2f} of {way} by the clock, {times[way][1] / cpu:.2f} by CPU"
                for way in ("direct", "direct by features")
                if name.startswith("streamed")
            ]
            print(f"  {name}: " + "; ".join([f"{counted / clock:.1f} rows/s", *ratios]))


if __name__ == "__main__":
    main()
