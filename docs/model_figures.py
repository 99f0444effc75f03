r"""The figures of the small models on the guide's page: collected from results, and written as tables.

Usage, after the commands of the page::

    python docs/model_figures.py --test results-test.json --dual results-dual.json --probes probes.json \
        --dual-probes dual/probes.json --other "in the style `sketch`" results-sketch.json …
    python docs/generate_tables.py
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from croc.wording import signed

DOCS = Path(__file__).parent
FIGURES = DOCS / "model_figures.json"
ABOVE = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Probabilities above which the answer is Yes."""

_NAMES = {"(none)": "without a category", "things_parts": "parts of things"}


def _estimate(row: Mapping[str, Any], *keys: str) -> list[float | None]:
    """A value with the ends of its interval."""
    return [None if row[key] is None else round(row[key], 6) for key in keys]


def _scores(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The scores of a report about one metric: that of all checks, and by category."""
    found = {}
    for score in report["scores"]:
        if score["group"] in (None, "category"):
            found[score["group_value"] or "mean"] = score
    return found


def _shares_of_yes(probes: Mapping[str, Any], calibration: Mapping[str, float]) -> list[dict[str, float]]:
    """How often true and false texts get a Yes above each probability."""
    shares = []
    for above in ABOVE:
        margin = (math.log(above / (1 - above)) - calibration["b"]) / calibration["a"]
        row = {"above": above}
        for side in ("true", "false"):
            scores = [score for probe in probes["probes"] for score in probe[f"{side}_scores"]]
            row[side] = round(sum(score > margin for score in scores) / len(scores), 4)
        shares.append(row)
    return shares


def collect(
    test: Mapping[str, Any],
    dual: Mapping[str, Any],
    others: Sequence[tuple[str, Mapping[str, Any]]],
    probes: Mapping[str, Any],
    dual_probes: Mapping[str, Any],
    calibration: Mapping[str, float],
) -> dict[str, Any]:
    """The figures of the page.

    Args:
        test: report on the checks, of ``crocscore``, by category; of ``croc evaluate --json``.
        dual: the same of ``crocscore-dual``.
        others: what other checks are, and the report on them.
        probes: result of ``croc experiment probes crocscore``.
        dual_probes: the same of ``crocscore-dual``.
        calibration: ``calibration.json`` of the weights.
    """
    ends = ("scaled", "ci_low", "ci_high")
    tiny, second = _scores(test), _scores(dual)
    of_dual = {group["group"]: group for group in (*dual_probes["groups"], dual_probes["overall"])}
    return {
        "checks": [
            {
                "group": name,
                "checks": score["n"],
                "crocscore": _estimate(score, *ends),
                "crocscore-dual": _estimate(second[name], *ends),
            }
            for name, score in tiny.items()
        ],
        "others": [
            {
                "checks_of": label,
                "checks": _scores(report)["mean"]["n"],
                "crocscore": _estimate(_scores(report)["mean"], *ends),
            }
            for label, report in others
        ],
        "probes": [
            {
                "group": group["group"],
                "probes": group["probes"],
                **{
                    key: _estimate(group, key, f"{key}_low", f"{key}_high")
                    for key in ("passed", "yes_to_false")
                },
                "dual": _estimate(of_dual[group["group"]], "passed", "passed_low", "passed_high"),
            }
            for group in (*probes["groups"], probes["overall"])
        ],
        "yes": _shares_of_yes(probes, calibration),
    }


def _cell(estimate: Sequence[float | None]) -> str:
    value, low, high = (signed(one).removeprefix("+") for one in estimate)
    return value if estimate[1] is None else f"{value} ({low} … {high})"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def tables() -> dict[str, str]:
    """The Markdown of each table by its name."""
    stored = json.loads(FIGURES.read_text("utf-8"))
    first, *groups = stored["checks"]
    groups.sort(key=lambda row: (row["group"] == "(none)", -row["crocscore"][0]))
    checks = [
        (
            f"{_NAMES.get(row['group'], row['group'].replace('_', ' '))} ({row['checks']:,} checks)",
            _cell(row["crocscore"]),
            _cell(row["crocscore-dual"]),
        )
        for row in (first, *groups)
    ]
    probes = [
        (
            row["group"].replace("_", " "),
            str(row["probes"]),
            *(_cell(row[key]) for key in ("passed", "yes_to_false", "dual")),
        )
        for row in stored["probes"]
    ]
    heads = (
        "group",
        "probes",
        "text pass, `crocscore`",
        "Yes to false, `crocscore`",
        "text pass, `crocscore-dual`",
    )
    return {
        "model_checks": _table(("scaled accuracy", "`crocscore`", "`crocscore-dual`"), checks),
        "model_others": _table(
            ("scaled accuracy on checks", "checks", "`crocscore`"),
            [(row["checks_of"], str(row["checks"]), _cell(row["crocscore"])) for row in stored["others"]],
        ),
        "model_probes": _table((*heads, "text pass, `crocscore-dual`"), probes),
        "model_yes": _table(
            ("Yes above the probability", "Yes to true", "Yes to false"),
            [(f"{row['above']:g}", f"{row['true']:.2f}", f"{row['false']:.2f}") for row in stored["yes"]],
        ),
    }


_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--test", required=True, type=_file, help="Report of crocscore on the checks.")
@click.option("--dual", required=True, type=_file, help="Report of crocscore-dual on the checks.")
@click.option("--other", "others", multiple=True, type=(str, _file), help="Other checks and their report.")
@click.option("--probes", required=True, type=_file, help="Result of crocscore on the probes.")
@click.option("--dual-probes", required=True, type=_file, help="Result of crocscore-dual on the probes.")
@click.option(
    "--calibration",
    default=DOCS.parent / "crocscore" / "weights" / "tiny" / "calibration.json",
    type=_file,
    help="Calibration of crocscore. Default: that of the package.",
)
def main(
    test: Path,
    dual: Path,
    others: tuple[tuple[str, Path], ...],
    probes: Path,
    dual_probes: Path,
    calibration: Path,
) -> None:
    """Write docs/model_figures.json."""

    def read(path: Path) -> Any:
        return json.loads(path.read_text("utf-8"))

    figures = collect(
        read(test),
        read(dual),
        [(label, read(path)) for label, path in others],
        read(probes),
        read(dual_probes),
        read(calibration),
    )
    FIGURES.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
