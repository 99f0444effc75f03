"""The figures of the small models on the pages: collected from a folder of results, and written as tables.

Usage::

    python benchmarks/measure_small_models.py --data FOLDER --out runs/models
    python docs/model_figures.py runs/models
    python docs/generate_tables.py
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from croc.wording import signed
from crocscore.experiments.summary import Summary

DOCS = Path(__file__).parent
FIGURES = DOCS / "model_figures.json"
CALIBRATION = DOCS.parent / "crocscore" / "weights" / "tiny" / "calibration.json"
TINY, DUAL = "crocscore-tiny", "crocscore-dual"
NAMES = {TINY: "crocscore"}
"""Names of the scorers whose score tables have another name."""

METRICS = (TINY, DUAL, "colour-words", "random")
ABOVE = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Probabilities above which the answer is Yes."""

LANGUAGES = {"de": "German", "es": "Spanish", "fr": "French"}
BEST_OF, GRADED_BEST_OF = ("1", "4", "8", "16", "32", "64"), ("1", "4", "16", "32")
_CATEGORIES = {"(none)": "without a category", "things_parts": "parts of things"}
_OTHERS = {
    "frames": 'in two sentence frames that no training prompt had ("a dog that is to the left of a cat")',
    "sketch": "in the style `sketch`, which no training image had",
    "flat": "in the style `flat`, a small part of the training images",
    "blocks": "in the style `blocks`, as many of them",
}
_IMAGES = {
    "fresh drawings": "fresh drawings of the test",
    **{style: f"drawings in the style `{style}`" for style in ("flat", "blocks", "sketch")},
    "nlvr": "NLVR: other drawings",
    "tifa": "TIFA160: generated photographs and pictures",
    "probes": "drawings of the probes",
    "photographs": "two photographs of scikit-learn, whole and in quarters",
    "one colour": "images of one colour",
}
_CHANGES = {
    "capitals": "capital letters",
    "full stop": "capital letter first, full stop last",
    "sentence": "another sentence frame",
    "order": "statements in another order",
    "jpeg": "JPEG of quality 30",
    "details": "details without a meaning",
    "redrawn": "another drawing of the prompts",
    "distractor": "another drawing with one thing more",
    "flat": "flat style",
}
_FILES = {"jpeg": "JPEG", "half size": "half size"}
_ATTACKS = ("2", "4", "8")
_MEASURES = {"brier": "Brier score", "log_loss": "log loss", "ece": "ECE"}

Figures = Mapping[str, Any]
Estimate = Sequence[float | None]


# ---- From results to figures ----


def _estimate(row: Figures, *keys: str) -> list[float | None]:
    """A value with the ends of its interval."""
    return [None if row[key] is None else round(row[key], 6) for key in keys or ("value", "low", "high")]


def _scores(report: Figures, metric: str) -> dict[str, Figures]:
    """The scores of a metric in a report: that of all checks, and by category."""
    return {
        score["group_value"] or "mean": score
        for score in report["scores"]
        if score["metric"] == metric and score["group"] in (None, "category")
    }


def _of(metrics: Iterable[Figures]) -> dict[str, Figures]:
    """What a result says about each metric, in the order of ``METRICS``."""
    found = {metric["metric"]: metric for metric in metrics}
    return {name: found[name] for name in METRICS}


def _shares_of_yes(probes: Figures, calibration: Figures) -> list[dict[str, float]]:
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


def _probes(tiny: Figures, dual: Figures) -> list[dict[str, Any]]:
    of_dual = {group["group"]: group for group in (*dual["groups"], dual["overall"])}
    return [
        {
            "group": group["group"],
            "probes": group["probes"],
            **{key: _estimate(group, key, f"{key}_low", f"{key}_high") for key in ("passed", "yes_to_false")},
            "dual": _estimate(of_dual[group["group"]], "passed", "passed_low", "passed_high"),
        }
        for group in (*tiny["groups"], tiny["overall"])
    ]


def _audit(audit: Figures) -> list[dict[str, Any]]:
    return [
        {
            "metric": name,
            "best_of": [_estimate(found["best_of"][n]) for n in BEST_OF],
            "peak": found["peak"],
            "pixels": found["pixels"],
            "search": found["search"] and _estimate(found["search"]["right"]),
        }
        for name, found in _of(audit["metrics"]).items()
    ]


def _weakest(probe: Figures) -> dict[str, Any]:
    return {
        "metric": probe["metric"],
        "checks": probe["checks"],
        "accuracy": _estimate(probe["accuracy"]),
        "properties": [
            {
                "name": found["name"],
                "accuracy": _estimate(found["accuracy"]),
                "certified": found["certified"],
            }
            for found in probe["findings"]
            if found["kind"] == "property"
        ][:3],
    }


def _graded(graded: Figures) -> list[dict[str, Any]]:
    return [
        {
            "metric": name,
            **{key: _estimate(found[key]) for key in ("ordering", "separation", "step")},
            "best_of": [round(found["best_of"][n]["value"], 6) for n in GRADED_BEST_OF],
        }
        for name, found in sorted(
            _of(graded["scores"]).items(), key=lambda item: -item[1]["ordering"]["value"]
        )
    ]


def _languages(folder: Path) -> list[dict[str, Any]]:
    rows = []
    for name in METRICS:
        found = {}
        for language in LANGUAGES:
            report = json.loads((folder / f"{language}-{NAMES.get(name, name)}.json").read_text("utf-8"))
            found[language] = next(one for one in report["changes"] if one["group"] is None)
        rows.append(
            {
                "metric": name,
                "english": round(next(iter(found.values()))["old"], 6),
                **{
                    language: [
                        round(one["new"], 6),
                        *_estimate(one, "difference", "ci_low", "ci_high"),
                    ]
                    for language, one in found.items()
                },
            }
        )
    return rows


def collect(folder: Path) -> dict[str, Any]:
    """The figures of the pages.

    Args:
        folder: of ``benchmarks/measure_small_models.py``.
    """

    def read(name: str) -> Any:
        return json.loads((folder / name).read_text("utf-8"))

    ends = ("scaled", "ci_low", "ci_high")
    test, calibration = read("results/test.json"), json.loads(CALIBRATION.read_text("utf-8"))
    dual = _scores(test, DUAL)
    others = {name: _scores(read(f"results/{name}.json"), TINY)["mean"] for name in _OTHERS}
    probes, audit, invariance = (
        read("probes/crocscore/probes.json"),
        read("audit.json"),
        read("invariance.json"),
    )
    graded = read("graded.json")
    return {
        "checks": [
            {
                "group": name,
                "checks": score["n"],
                "crocscore": _estimate(score, *ends),
                "crocscore-dual": _estimate(dual[name], *ends),
            }
            for name, score in _scores(test, TINY).items()
        ],
        "others": [
            {"checks_of": name, "checks": score["n"], "crocscore": _estimate(score, *ends)}
            for name, score in others.items()
        ],
        "probes": _probes(probes, read("probes/crocscore-dual/probes.json")),
        "yes": _shares_of_yes(probes, calibration),
        "world": read("world.json"),
        "audit": {"oracle": [audit["oracle"][n] for n in BEST_OF], "metrics": _audit(audit)},
        "weakest": [_weakest(read(f"probe-{NAMES.get(name, name)}.json")) for name in METRICS],
        "invariance": [
            {
                "metric": name,
                "accuracy": found["accuracy"],
                "changes": {one["change"]: _estimate(one["flips"]) for one in found["changes"]},
            }
            for name, found in _of(invariance["metrics"]).items()
        ],
        "graded": {
            "oracle": [round(graded["best_of_oracle"][n], 6) for n in GRADED_BEST_OF],
            "metrics": _graded(graded),
        },
        "trust": read("trust.json"),
        "languages": _languages(folder / "languages"),
    }


# ---- From figures to tables ----


def _number(value: float) -> str:
    return signed(value).removeprefix("+")


def _cell(estimate: Estimate) -> str:
    if estimate[0] is None:
        return "–"
    value = _number(estimate[0])
    if estimate[1] is None or estimate[2] is None:
        return value
    return f"{value} ({_number(estimate[1])} … {_number(estimate[2])})"


def _list(values: Iterable[float]) -> str:
    return ", ".join(_number(value) for value in values)


def _metric(name: str) -> str:
    return f"`{NAMES.get(name, name)}`"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return Summary(tuple(heads), tuple(map(tuple, rows))).markdown()


def _of_tests(stored: Figures) -> dict[str, str]:
    first, *groups = stored["checks"]
    groups.sort(key=lambda row: (row["group"] == "(none)", -row["crocscore"][0]))
    rows = [(_CATEGORIES.get(row["group"], row["group"].replace("_", " ")), row) for row in (first, *groups)]
    return {
        "model_checks": _table(
            ("scaled accuracy", "`crocscore`", "`crocscore-dual`"),
            [
                (f"{name} ({row['checks']:,} checks)", _cell(row["crocscore"]), _cell(row["crocscore-dual"]))
                for name, row in rows
            ],
        ),
        "model_summary": _table(
            ("scaled accuracy", "`crocscore`", "`crocscore-dual`"),
            [(name, _cell(row["crocscore"]), _number(row["crocscore-dual"][0])) for name, row in rows],
        ),
        "model_others": _table(
            ("scaled accuracy on checks", "checks", "`crocscore`"),
            [
                (_OTHERS[row["checks_of"]], str(row["checks"]), _cell(row["crocscore"]))
                for row in stored["others"]
            ],
        ),
    }


def _of_probes(stored: Figures) -> dict[str, str]:
    return {
        "model_probes": _table(
            (
                *("group", "probes", "text pass, `crocscore`", "Yes to false, `crocscore`"),
                "text pass, `crocscore-dual`",
            ),
            [
                (
                    row["group"].replace("_", " "),
                    str(row["probes"]),
                    *(_cell(row[key]) for key in ("passed", "yes_to_false", "dual")),
                )
                for row in stored["probes"]
            ],
        ),
        "model_yes": _table(
            ("Yes above the probability", "Yes to true", "Yes to false"),
            [(f"{row['above']:g}", f"{row['true']:.2f}", f"{row['false']:.2f}") for row in stored["yes"]],
        ),
    }


def _of_calibration() -> dict[str, str]:
    found = json.loads(CALIBRATION.read_text("utf-8"))
    fit = f"a = {_number(found['fitted_a'])} and b = {_number(found['fitted_b'])}"
    return {
        "model_calibration": _table(
            ("measure", "σ(margin)", f"fitted, {fit}"),
            [
                (
                    name,
                    f"{found[f'{key}_before']:.4f} ({found[f'{key}_before_expected']:.4f})",
                    f"{found[key]:.4f} ({found[f'{key}_expected']:.4f})",
                )
                for key, name in _MEASURES.items()
            ],
        ),
        "model_calibration_sources": _table(
            ("log loss", "questions", "σ(margin)", "fitted"),
            [
                (
                    row["source"],
                    f"{row['questions']:,}",
                    f"{row['log_loss_before']:.3f}",
                    f"{row['log_loss']:.3f}",
                )
                for row in found["sources"]
            ],
        ),
    }


def _of_examinations(stored: Figures) -> dict[str, str]:
    audit, graded = stored["audit"], stored["graded"]
    invariance = {found["metric"]: found for found in stored["invariance"]}
    return {
        "model_world": _table(
            ("images", "number", "like the training", "AUROC against fresh drawings"),
            [
                (
                    _IMAGES.get(row["images"], row["images"]),
                    str(row["number"]),
                    f"{row['inside']:.2f}",
                    "" if row["auroc"] is None else f"{row['auroc']:.2f}",
                )
                for row in stored["world"]
            ],
        ),
        "model_audit": _table(
            (
                *("the best of n is right", "n = 1", *BEST_OF[1:], "highest at"),
                "highest score right after a search",
            ),
            [
                (
                    _metric(row["metric"]),
                    *(_number(estimate[0]) for estimate in row["best_of"][:-1]),
                    _cell(row["best_of"][-1]),
                    f"n = {row['peak']}",
                    _cell(row["search"]) if row["search"] else "–",
                )
                for row in audit["metrics"]
            ]
            + [("(always right)", *(_number(value) for value in audit["oracle"]), "", "")],
        ),
        "model_attacks": _table(
            (
                *("passed checks that turn", *_FILES.values()),
                *(f"pixels by {size} of 255" for size in _ATTACKS),
            ),
            [
                (
                    "{} ({passed} of {checks} passed)".format(_metric(row["metric"]), **row["pixels"]),
                    *(_number(row["pixels"]["file"][change]) for change in _FILES),
                    *(
                        _number(row["pixels"]["attack"][size]) if row["pixels"]["attack"] else "–"
                        for size in _ATTACKS
                    ),
                )
                for row in audit["metrics"]
                if row["pixels"]
            ],
        ),
        "model_weakest": _table(
            ("metric", "checks", "accuracy", "certified as weak", "lowest"),
            [
                (
                    _metric(row["metric"]),
                    str(row["checks"]),
                    _cell(row["accuracy"]),
                    ", ".join(f"`{one['name']}`" for one in row["properties"] if one["certified"])
                    or "nothing",
                    ", ".join(f"`{one['name']}` {_cell(one['accuracy'])}" for one in row["properties"]),
                )
                for row in stored["weakest"]
            ],
        ),
        "model_invariance": _table(
            ("changed verdicts", "`crocscore`", "`crocscore-dual`"),
            [
                (
                    _CHANGES.get(change, change),
                    *(_cell(invariance[name]["changes"][change]) for name in (TINY, DUAL)),
                )
                for change in invariance[TINY]["changes"]
            ],
        ),
        "model_graded": _table(
            (
                *("metric", "ordering", "separation", "one error less scores higher"),
                f"best of {', '.join(GRADED_BEST_OF[:-1])} and {GRADED_BEST_OF[-1]} images",
            ),
            [
                (
                    _metric(row["metric"]),
                    *(_cell(row[key]) for key in ("ordering", "separation", "step")),
                    _list(row["best_of"]),
                )
                for row in graded["metrics"]
            ]
            + [("(always right)", "1", "1", "1", _list(graded["oracle"]))],
        ),
    }


def _of_predictions(stored: Figures) -> dict[str, str]:
    def interval(row: Figures) -> str:
        value, low, high = row["auroc"]
        return f"{value:.2f} [{low:.2f}, {high:.2f}]"

    return {
        "model_trust": _table(
            ("predicted", "metric", "n", "accuracy", "mean chance", "ECE", "ECE of one", "AUROC"),
            [
                (
                    *(row["target"], _metric(row["metric"]), f"{row['known']} of {row['number']}"),
                    *(f"{row[key]:.3f}" for key in ("accuracy", "chance", "ece", "ece_of_one")),
                    interval(row),
                )
                for row in stored["trust"]
            ],
        ),
        "model_languages": _table(
            ("", "English", *LANGUAGES.values()),
            [
                (
                    _metric(row["metric"]),
                    signed(row["english"]),
                    *(
                        "{} ({}: {} … {})".format(*(signed(value) for value in row[language]))
                        for language in LANGUAGES
                    ),
                )
                for row in stored["languages"]
            ],
        ),
    }


def tables() -> dict[str, str]:
    """The Markdown of each table by its name."""
    stored = json.loads(FIGURES.read_text("utf-8"))
    return {
        **_of_tests(stored),
        **_of_probes(stored),
        **_of_calibration(),
        **_of_examinations(stored),
        **_of_predictions(stored),
    }


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Write docs/model_figures.json from the FOLDER of benchmarks/measure_small_models.py."""
    FIGURES.write_text(json.dumps(collect(folder), indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
