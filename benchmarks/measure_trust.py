"""Whether predicted chances hold on other prompts: calibration error and AUROC.

    python benchmarks/measure_trust.py --fit crocscore/weights/tiny/results.json \\
        crocscore/weights/dual/results.json --checks sample croc/syn croc/sample/results/syn \\
        --data ../shared/data
    python benchmarks/measure_trust.py --data ../shared/data

The first form takes accuracies by property from results and predicts other checks, of one image per side,
from their score tables; with ``--data`` also sentences of NLVR, for which the package has scores. The second
fits accuracies by property on one half of the prompts of TS2 and TIFA160 and predicts pairs of images of the
other half. The tables are those of docs/trust.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from croc.trust.accuracies import SAMPLE, Accuracies, Accuracy, read_accuracies
from croc.trust.prediction import Prediction, predict
from croc.trust.properties import find_properties
from croc.verdict.statistics import wilson_interval

RESAMPLES, BINS = 300, 10
ROWS: list[dict[str, Any]] = []
"""What was measured."""
TS2 = ("clipscore", "alignscore", "viescore", "llava_dsg", "gpt4v_dsg", "blip1_tifa", "gpt4v_tifa")
DSG = ("dsg_mplug-large", "dsg_instruct-blip", "dsg_pali-17b", "vq2a_instruct-blip")
GOOD, APART = 4.0, 0.5
"""TIFA160: mean rating of a correct image, and the least distance of the other image of the pair."""


@dataclass
class Outcomes:
    """Of one prompt: how often a metric was right, and on how many comparisons."""

    prompt: str
    right: float
    comparisons: int


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fit", type=Path, nargs="+", help="results by property")
    parser.add_argument(
        "--checks",
        nargs=3,
        action="append",
        default=[],
        metavar=("NAME", "FOLDER", "SCORES"),
        help="checks to predict, of one image per side, and their score tables",
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", type=Path, help="file for the table")
    options = parser.parse_args()
    write("| fitted on | predicted | metric | n | accuracy | mean chance | ECE | ECE of one | AUROC |")
    write("|---|---|---|---:|---:|---:|---:|---:|---|")
    if options.fit:
        for name, folder, scores in options.checks:
            exact_world(options.fit, name, Path(folder), Path(scores))
        if options.data:
            sentences_of_nlvr(options.fit, options.data)
    else:
        halves("TS2", ts2(options.data))
        halves("TIFA160", tifa160(options.data))
    if options.json:
        options.json.write_text(json.dumps(ROWS, indent=1) + "\n", "utf-8")


def write(line: str) -> None:
    sys.stdout.write(line + "\n")


# ---- Exact world and NLVR ----


def exact_world(fit: Sequence[Path], name: str, dataset: Path, test: Path) -> None:
    accuracies = read_accuracies(fit)
    texts = pl.concat(
        [
            pl.read_parquet(file, columns=["check_id", "prompt", "contrast_prompt", "property"])
            for file in sorted(dataset.rglob("*.parquet"))
        ]
    )
    prompts = {row[0]: row[1:] for row in texts.rows()}
    for file in sorted(test.rglob("*.parquet")):
        metric, by_words, by_property = file.stem, [], []
        if metric not in accuracies.metrics:
            continue
        for check, right in image_verdicts(pl.read_parquet(file)):
            original, contrast, its_property = prompts[check]
            by_property.append((its_property, right))
            by_words += [Outcomes(original, right[0], 1), Outcomes(contrast, right[1], 1)]
        known = [(accuracies.find(metric, one), right) for one, right in by_property]
        chances = [one.chance if one else np.nan for one, right in known for _ in right]
        outcomes = [value for _, right in known for value in right]
        one = mean_of(accuracies, metric)
        line("exact world", f"{name}, by their property", metric, chances, outcomes, one)
        of_words = predicted(by_words, accuracies, metric)
        line("exact world", f"{name}, by their words", metric, *of_words, one)
        of_mean = predicted(by_words, accuracies, metric, mean=True)
        line("exact world", "the same, mean over properties", metric, *of_mean, one)


def sentences_of_nlvr(fit: Sequence[Path], data: Path) -> None:
    from croc.external.benchmarks import nlvr

    accuracies = read_accuracies(fit)
    sentences = {check.check_id: check.prompt or "" for check in nlvr.checks(data / "nlvr" / "dev")}
    for metric in accuracies.metrics:
        file = SAMPLE / "hum" / f"{metric}.parquet"
        if file.is_file():
            table = pl.read_parquet(file)
            rated = [
                Outcomes(sentences[check], right, 1)
                for check, right in all_pairs(table)
                if check in sentences
            ]
            values = predicted(rated, accuracies, metric)
            line("exact world", "NLVR, by its words", metric, *values, mean_of(accuracies, metric))


def image_verdicts(table: pl.DataFrame) -> Iterable[tuple[str, tuple[float, float]]]:
    """Check → the verdicts of both image directions, for checks of one image per side."""
    for (check,), rows in table.group_by("check_id", maintain_order=True):
        original = rows.filter(pl.col("image_side") == "original").row(0, named=True)
        contrast = rows.filter(pl.col("image_side") == "contrast").row(0, named=True)
        forward = order(original["prompt_score"], contrast["prompt_score"])
        yield str(check), (forward, order(contrast["contrast_score"], original["contrast_score"]))


def all_pairs(table: pl.DataFrame) -> Iterable[tuple[str, float]]:
    """Check → share of the pairs of a true and a false image that are in the right order."""
    for (check,), rows in table.group_by("check_id", maintain_order=True):
        true, false = (
            rows.filter(pl.col("image_side") == side)["prompt_score"].drop_nulls().to_list()
            for side in ("original", "contrast")
        )
        if true and false:
            yield str(check), float(np.mean([order(a, b) for a in true for b in false]))


def order(right: float, wrong: float) -> float:
    return 1.0 if right > wrong else 0.5 if right == wrong else 0.0


def mean_of(accuracies: Accuracies, metric: str) -> float:
    """One chance for all prompts: the mean over the properties, weighted by checks."""
    known = [one for name in PROPERTIES if (one := accuracies.find(metric, name)) is not None]
    return float(np.average([one.chance for one in known], weights=[one.checks for one in known]))


# ---- Ratings ----


def ts2(data: Path) -> dict[str, list[Outcomes]]:
    """Pairs of an image without an error and one with a single error."""
    table = pl.read_csv(data / "ratings" / "ts2" / "ts2_items.csv", infer_schema=False)
    found: dict[str, list[Outcomes]] = {metric: [] for metric in TS2}
    for (prompt,), rows in table.group_by("target_prompt", maintain_order=True):
        errors = rows["errors"].cast(pl.Int64).to_numpy()
        for metric in TS2:
            scores = rows[metric].cast(pl.Float64, strict=False).to_numpy()
            verdicts = [
                order(a, b)
                for a in scores[(errors == 0) & ~np.isnan(scores)]
                for b in scores[(errors == 1) & ~np.isnan(scores)]
            ]
            if verdicts:
                found[metric].append(Outcomes(str(prompt), float(np.mean(verdicts)), len(verdicts)))
    return found


def tifa160(data: Path) -> dict[str, list[Outcomes]]:
    """Pairs of an image with a high rating and one with a lower rating."""
    from gold_tags import texts

    prompts = {key: text for (source, key), text in texts(data).items() if source == "tifa160"}
    table = pl.read_csv(data / "ratings" / "dsg_tifa160_metrics" / "dsg_tifa160_scores.csv")
    found: dict[str, list[Outcomes]] = {metric: [] for metric in DSG}
    for (prompt,), rows in table.group_by("prompt", maintain_order=True):
        rating = rows["dsg_likert"].to_numpy()
        for metric in DSG:
            scores = rows[metric].to_numpy()
            verdicts = [
                order(scores[i], scores[j])
                for i in range(len(rows))
                for j in range(len(rows))
                if rating[i] >= GOOD and rating[i] - rating[j] >= APART and not np.isnan(scores[[i, j]]).any()
            ]
            if verdicts:
                found[metric].append(Outcomes(prompts[str(prompt)], float(np.mean(verdicts)), len(verdicts)))
    return found


def halves(name: str, found: dict[str, list[Outcomes]]) -> None:
    """Fit on one half of the prompts, by a hash of the prompt, and predict the other."""
    for metric, outcomes in found.items():
        fit = [one for one in outcomes if half(one.prompt) == 0]
        test = [one for one in outcomes if half(one.prompt) == 1]
        accuracies = fitted(metric, fit)
        overall = float(np.mean([one.right for one in fit]))
        line(f"{name}, half", "other half", metric, *predicted(test, accuracies, metric), overall)
        of_mean = predicted(test, accuracies, metric, mean=True)
        line(f"{name}, half", "the same, mean over properties", metric, *of_mean, overall)


def half(prompt: str) -> int:
    return int(hashlib.sha256(prompt.encode()).hexdigest(), 16) % 2


def fitted(metric: str, outcomes: Sequence[Outcomes]) -> Accuracies:
    """Mean accuracy over the prompts that depend on each property; each prompt counts once."""
    by_property: dict[str, list[float]] = {}
    for one in outcomes:
        for name in find_properties(one.prompt):
            by_property.setdefault(name, []).append(one.right)
    groups, overall = {}, float(np.mean([one.right for one in outcomes]))
    for name, values in by_property.items():
        share = float(np.mean(values))
        low, high = wilson_interval(share, len(values))
        groups["property", name] = Accuracy(
            share, float(low), float(high), len(values), overall, "property", "fit"
        )
    return Accuracies({metric: groups})


# ---- Measures ----


def predicted(
    outcomes: Sequence[Outcomes], accuracies: Accuracies, metric: str, *, mean: bool = False
) -> tuple[list[float], list[float]]:
    """Chances (NaN where unknown), or means over the known properties of each prompt, and outcomes."""
    report = predict([one.prompt for one in outcomes], accuracies, [metric])
    predictions = [prompt.predictions[0] for prompt in report.prompts]
    chances = [mean_chance(one) if mean else one.chance for one in predictions]
    return [np.nan if one is None else one for one in chances], [one.right for one in outcomes]


def mean_chance(prediction: Prediction) -> float | None:
    known = [one.chance for one in prediction.properties if one.chance is not None]
    return float(np.mean(known)) if known else None


def line(
    source: str,
    target: str,
    metric: str,
    chances: Sequence[float],
    outcomes: Sequence[float],
    overall: float | None = None,
) -> None:
    """A row: ECE of the chances, ECE of one chance for all, and AUROC with an interval over prompts."""
    chance, right = np.asarray(chances), np.asarray(outcomes)
    known = ~np.isnan(chance)
    chance, right = chance[known], right[known]
    rng = np.random.default_rng(0)
    drawn = [auroc(chance[i], right[i]) for i in rng.integers(len(chance), size=(RESAMPLES, len(chance)))]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    area, *ends = (round(float(value), 6) for value in (auroc(chance, right), low, high))
    row: dict[str, Any] = {
        "source": source,
        "target": target,
        "metric": metric,
        "known": len(right),
        "number": len(known),
        "accuracy": round(float(right.mean()), 6),
        "chance": round(float(chance.mean()), 6),
        "ece": round(ece(chance, right), 6),
        "ece_of_one": None if overall is None else round(ece(np.full(len(right), overall), right), 6),
        "auroc": [area, *ends],
    }
    ROWS.append(row)
    one = "" if overall is None else f"{row['ece_of_one']:.3f}"
    write(
        f"| {source} | {target} | {metric} | {len(right)} of {len(known)} | {row['accuracy']:.3f} | "
        f"{row['chance']:.3f} | {row['ece']:.3f} | {one} | {area:.2f} [{ends[0]:.2f}, {ends[1]:.2f}] |"
    )


def ece(chance: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Expected calibration error over bins of equal width."""
    bins = np.minimum((chance * BINS).astype(int), BINS - 1)
    parts = [(bins == number) for number in range(BINS) if (bins == number).any()]
    return float(sum(part.mean() * abs(chance[part].mean() - right[part].mean()) for part in parts))


def auroc(chance: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Probability that a comparison in the right order has a higher chance than one in the wrong order."""
    weights = np.concatenate([right, 1 - right])
    labels = np.repeat([1, 0], len(right))[weights > 0]
    if len(set(labels.tolist())) < 2:
        return float("nan")
    scores = np.concatenate([chance, chance])[weights > 0]
    return float(roc_auc_score(labels, scores, sample_weight=weights[weights > 0]))


if __name__ == "__main__":
    from croc.trust.properties import property_names

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
    PROPERTIES = property_names()
    main()
