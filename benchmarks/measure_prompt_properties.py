"""Precision and recall of the properties found in prompts, against tags by hand.

    python benchmarks/measure_prompt_properties.py --data ../shared/data

The prompts are those of TIFA160 and GenAI-Bench; the tags are in tests/croc/trust/gold_tags.csv. The table
is the one in docs/trust.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))


def share(part: int, whole: int) -> str:
    """A proportion with its Wilson interval."""
    from croc.verdict.statistics import wilson_interval

    if not whole:
        return ""
    low, high = wilson_interval(part / whole, whole)
    return f"{part / whole:.2f} [{float(low):.2f}, {float(high):.2f}]"


def main() -> None:
    from gold_tags import PARTS, agreement

    from croc.trust.properties import property_names

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parts = agreement(parser.parse_args().data)
    heading = "| property | held out: tags | precision | recall | unseen: tags | precision | recall |"
    sys.stdout.write(heading + "\n|---|---:|---|---|---:|---|---|\n")
    for name in property_names():
        row = [name]
        for part in PARTS[1:]:
            counts = parts[part]
            right, wrong, missed = counts.right[name], counts.wrong[name], counts.missed[name]
            row += [str(right + missed), share(right, right + wrong), share(right, right + missed)]
        sys.stdout.write(f"| {' | '.join(row)} |\n")
    row = ["all"]
    for part in PARTS[1:]:
        right, wrong, missed = parts[part].totals()
        row += [str(right + missed), share(right, right + wrong), share(right, right + missed)]
    sys.stdout.write(f"| {' | '.join(row)} |\n")
    for part in PARTS:
        right, wrong, missed = parts[part].totals()
        line = f"{part}: {parts[part].prompts} prompts, {right} right, {wrong} wrong, {missed} missed"
        sys.stderr.write(line + "\n")


if __name__ == "__main__":
    main()
