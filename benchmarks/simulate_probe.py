r"""How many checks does ``croc probe`` save, and how often does it raise a false alarm?

    python benchmarks/simulate_probe.py --out probe.json        # some minutes
    python benchmarks/simulate_probe.py --runs 4                # seconds
    python benchmarks/simulate_probe.py --table probe.json      # the table of the documentation

A metric passes a check of each property with a known probability, all or nothing, which is the hardest case:
60 properties in 10 groups. The adaptive rule is compared with an even build, which draws each property in
turn and is given the same certificate, so that it may stop at the same moment.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from croc.probe import Search, SearchSettings

GROUPS = {f"group {g}": [f"p{g}-{i}" for i in range(6)] for g in range(10)}
GOOD, WEAK = 0.9, 0.5
SITUATIONS = {
    "one property": (["p4-2"], ["p4-2"]),
    "a whole group: each of its properties": (GROUPS["group 4"], GROUPS["group 4"]),
    "a whole group: as a group": (GROUPS["group 4"], ["group 4"]),
}
"""What is weak, and what has to be certified."""

LOOK = {"adaptive": 5, "even": 60}
SOUND_CHECKS = 1000


def search(weak: list[str], wanted: list[str], settings: SearchSettings, seed: int, limit: int) -> Search:
    """One run, to the last wanted certificate or to the limit."""
    found = Search(GROUPS, settings)
    rng, world = np.random.default_rng((1, seed)), np.random.default_rng((2, seed))
    while found.checks < limit:
        draw = found.choose(rng)
        found.add(draw, float(world.random() < (WEAK if draw.leaf in weak else GOOD)))
        if found.checks % LOOK[settings.rule] == 0:
            found.certify()
            if wanted and set(wanted) <= set(found.certified):
                break
    return found


def simulate(runs: int) -> list[dict[str, object]]:
    """A row per margin and situation."""
    rows: list[dict[str, object]] = []
    for margin in (0.0, 0.05):
        for name, (weak, wanted) in SITUATIONS.items():
            row: dict[str, object] = {"margin": margin, "weak": name, "runs": runs}
            for rule in ("adaptive", "even"):
                settings = SearchSettings(margin=margin, rule=rule)  # type: ignore[arg-type]
                results = [search(weak, wanted, settings, seed, 20_000) for seed in range(runs)]
                row[rule] = float(np.mean([result.checks for result in results]))
                known = {*weak, "group 4"}
                row[f"{rule}, false"] = sum(bool(set(result.certified) - known) for result in results)
            row["share"] = row["adaptive"] / row["even"]  # type: ignore[operator]
            rows.append(row)
            print(json.dumps(row), flush=True)
        sound = [
            search([], [], SearchSettings(margin=margin), 10_000 + seed, SOUND_CHECKS)
            for seed in range(2 * runs)
        ]
        alarms = sum(bool(result.certified) for result in sound)
        rows.append({"margin": margin, "weak": "nothing", "runs": 2 * runs, "alarms": alarms})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def table(rows: list[dict[str, object]]) -> str:
    """The rows in Markdown."""
    lines = [
        "| margin | weak, and certified | runs | checks, adaptive | checks, even build | share |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "share" in row:
            lines.append(
                f"| {row['margin']} | {row['weak']} | {row['runs']} | {row['adaptive']:.0f} "
                f"| {row['even']:.0f} | {row['share']:.2f} |"
            )
    for row in rows:
        if "alarms" in row:
            lines.append(
                f"\nMargin {row['margin']}: {row['alarms']} false alarms in {row['runs']} runs of "
                f"{SOUND_CHECKS:,} checks on a sound metric."
            )
    return "\n".join(lines)


def main() -> None:
    """Simulate or print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path)
    arguments = parser.parse_args()
    if arguments.table:
        print(table(json.loads(arguments.table.read_text())))
        return
    rows = simulate(arguments.runs)
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1))
    print(table(rows))


if __name__ == "__main__":
    main()
