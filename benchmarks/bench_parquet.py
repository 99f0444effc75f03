"""From staged files to Parquet, beside reading, hashing and writing the same bytes; and the memory it takes.

Run by hand on a quiet machine::

    python benchmarks/bench_parquet.py --gigabytes 1.0
    python benchmarks/bench_parquet.py --million
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Staged rows: random bytes between the first and last bytes of a PNG, so that they pass as pictures unread.
HEAD, TAIL = b"\x89PNG\r\n\x1a\n", b"\0\0\0\0IEND\xaeB`\x82"


def stage(folder: Path, checks: int, images: int, size: int, per_part: int) -> None:
    """Staged parts with images of about ``size`` bytes."""
    import pyarrow as pa

    from croc.checks.schema import stable_hash
    from croc.jobs.parts import Part
    from croc.jobs.runner import run
    from croc.storage.parquet import write_parquet
    from croc_syn.painting.table import exact_features

    schema = exact_features().arrow_schema

    def make(payload, path):
        rows = []
        for number in range(*payload):
            row = dict.fromkeys(schema.names)
            row |= {
                "check_id": stable_hash("bench", number, length=20),
                "concept_id": f"concept {number}",
                "subset": "property_variation",
                "category": "counting",
                "property": f"property {number * 50 // checks:02d}",
                "property_path": f"path {number * 50 // checks:02d}",
                "prompt": f"{number} dogs",
                "contrast_prompt": f"{number} cats",
                "image_model": "exact@bench",
            }
            for side in ("images", "contrast_images"):
                pictures = [HEAD + os.urandom(size) + TAIL for _ in range(images)]
                row[side] = [{"bytes": data, "path": None} for data in pictures]
            rows.append(row)
        write_parquet(([pa.Table.from_pylist(rows, schema=schema)]), path, schema)
        return {"checks": len(rows)}

    parts = [Part(f"{at:07d}", [at, min(at + per_part, checks)]) for at in range(0, checks, per_part)]
    run(parts, make, folder, suffix=".parquet", fingerprint={"bench": 1})


def plain(staged: Path, out: Path) -> float:
    """Seconds to read every staged file, hash it and write its bytes to disk, synced as shards are."""
    out.mkdir()
    started = time.perf_counter()
    for file in sorted((staged / "parts").iterdir()):
        data = file.read_bytes()
        hashlib.sha256(data).hexdigest()
        with (out / file.name).open("wb") as target:
            target.write(data)
            target.flush()
            os.fsync(target.fileno())
    return time.perf_counter() - started


SCRIPT = """
import json, resource, sys, time
from functools import partial
from pathlib import Path
from builders import shards
from croc.jobs.executors import local_executor
from croc.jobs.runner import read_manifest, run
from croc_syn.painting.table import exact_features
schema = exact_features().arrow_schema
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
manifest = read_manifest(sys.argv[1])
planned = shards.plan_shards(manifest, json.loads(sys.argv[4]))
middle = time.perf_counter()
made = run(planned.parts, partial(shards.write_shard, staged=manifest.folder, schema=schema), sys.argv[2],
           suffix=".parquet", fingerprint={}, progress=False, executor=local_executor(int(sys.argv[3])))
ended = time.perf_counter()
after = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps({"plan": middle - started, "write": ended - middle, "shards": len(made.parts),
                  "images": made.counts["images"], "before_mb": before / 1024, "peak_mb": after / 1024}))
"""


def ours(staged: Path, out: Path, workers: int, splits: dict) -> dict:
    """The planning and writing of shards in a process of its own, so that its memory can be seen."""
    script = out.with_suffix(".py")
    script.write_text(
        f"if __name__ == '__main__':\n    import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        + "".join(f"    {line}\n" for line in SCRIPT.strip().splitlines())
    )
    command = [sys.executable, str(script), str(staged), str(out), str(workers), json.dumps(splits)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--kilobytes", type=int, default=200, help="an image")
    parser.add_argument("--images", type=int, default=5, help="a side")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--million", action="store_true", help="a million small images, for the memory")
    parser.add_argument("--split", action="store_true", help="train and test instead of test alone")
    options = parser.parse_args()
    splits = {"test": 0.3, "train": 0.7} if options.split else {"test": 1.0}
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        if options.million:
            stage(base / "staged", 100_000, 5, 300, 1000)
            found = ours(base / "staged", base / "out", options.workers, splits)
            print(f"a million images of 300 bytes: {found}")
            return
        checks = int(options.gigabytes * 1e9 / (2 * options.images * options.kilobytes * 1000))
        stage(base / "staged", checks, options.images, options.kilobytes * 1000, 64)
        ratios = []
        for _ in range(options.rounds):
            # What a round wrote is removed, so that each finds the memory that the others found: on a virtual
            # machine a page that was never used before costs several times one that was.
            first = plain(base / "staged", base / "plain")
            shutil.rmtree(base / "plain")
            found = ours(base / "staged", base / "out", options.workers, splits)
            shutil.rmtree(base / "out")
            ratios.append(first / (found["plan"] + found["write"]))
            print(f"read + sha256 + write {first:.2f} s; staged to shards {found}; ratio {ratios[-1]:.2f}")
        print(f"median ratio {sorted(ratios)[len(ratios) // 2]:.2f} (at least 0.8 is wanted)")


if __name__ == "__main__":
    main()
