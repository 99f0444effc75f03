"""How well ``croc audit-reward`` tells flawed metrics from sound ones: the planted metrics of a frozen list.

The label of a metric is measured on prompts and pools of its own (the seed of the file): sound is one whose
best of 64 images is right in at least half of the cases for each property. The audit has other prompts and
pools, and its own search. Both use the steps of the command; the scenes are handed to the metrics, which no
other metric sees.

    python benchmarks/measure_reward_audit.py --out runs/planted --plot docs/images/reward-audit-planted.png
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from planted_metrics import SCENE, TERMS, PlantedMetric, Seen, planted

from croc.checks.decoding import decode
from croc.jobs.runner import Manifest
from croc.reward_audit.evaluation import evaluate
from croc.reward_audit.records import RewardReport
from croc.tables.columns import NO_CONTRAST_PROMPT, SCORE_COLUMNS
from croc.tables.metadata import ScoreMetadata
from croc.tables.writers import write_scores
from croc_syn.reward_audit import search
from croc_syn.reward_audit.audit import read_scores
from croc_syn.reward_audit.pools import PoolSettings, make_pools, pools
from croc_syn.reward_audit.search import Picture, SearchSettings, drawn, read_search, run_search
from croc_syn.world import read_scene

_KEYS = (
    "check_id",
    "concept_id",
    "subset",
    "category",
    "property",
    "property_path",
    "text_model",
    "image_model",
)


def drawn_with_scene(picture: Picture, prompt: str, size: int) -> Any:
    """The image of a search with its scene, for metrics that read it."""
    image = drawn(picture, prompt, size)
    image.info[SCENE] = picture.scene
    return image


def score_pools(made: Manifest, metrics: Sequence[PlantedMetric], out: Path) -> dict[str, Path]:
    """A score table per metric; every term is computed once per image."""
    out.mkdir(parents=True, exist_ok=True)
    tables = {metric.name: out / f"{metric.name}.parquet" for metric in metrics}
    if all(table.is_file() for table in tables.values()):
        return tables
    rows: list[dict[str, Any]] = []
    scores: dict[str, list[float]] = {metric.name: [] for metric in metrics}
    for file in made.files():
        for row in pq.read_table(file, columns=[*_KEYS, "prompt", "images"]).to_pylist():
            for index, image in enumerate(row["images"]):
                picture = decode(image["bytes"])
                picture.info[SCENE] = read_scene(image["bytes"])
                seen = Seen(picture, row["prompt"])
                values = {name: term(seen) for name, term in TERMS.items()}
                keys = {name: row[name] for name in _KEYS}
                rows.append({**keys, "image_side": "original", "image_index": index})
                for metric in metrics:
                    raw = sum(weight * values[name] for name, weight in metric.terms.items())
                    scores[metric.name].append(metric.transform(raw))
    schema = pa.schema(
        [
            (name, pa.int64() if name == "image_index" else pa.float64() if "score" in name else pa.string())
            for name in SCORE_COLUMNS
        ]
    )
    for metric in metrics:
        filled = [
            {name: row.get(name) for name in SCORE_COLUMNS}
            | {"prompt_score": score, "error": NO_CONTRAST_PROMPT}
            for row, score in zip(rows, scores[metric.name], strict=True)
        ]
        metadata = ScoreMetadata(metric.name, "graded")
        write_scores(pa.Table.from_pylist(filled, schema=schema), metadata, tables[metric.name])
    return tables


def labels(report: RewardReport, threshold: float, number: int) -> dict[str, tuple[bool, float]]:
    """By metric whether it is sound, and the share of its weakest property."""
    found = {}
    for one in report.metrics:
        lowest = min(values[str(number)] for values in one.by_property.values())
        found[one.metric] = (lowest >= threshold, lowest)
    return found


def auroc(scores: Sequence[float], sound: Sequence[bool]) -> float:
    """Probability that a sound metric scores higher than a flawed one; a tie counts half."""
    values, positive = np.array(scores), np.array(sound)
    gaps = np.sign(values[positive][:, None] - values[~positive][None])
    return float(((gaps + 1) / 2).mean())


def plot(rows: Sequence[Mapping[str, Any]], found: Mapping[str, float], file: Path) -> None:
    """The audit's score of each metric against the share of its weakest property elsewhere."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    rng = np.random.default_rng(0)
    for sound, colour, marker in ((True, "#0b63b5", "o"), (False, "#b5300b", "x")):
        chosen = [row for row in rows if row["meant_sound"] is sound]
        axes.plot(
            [row["safety"] + rng.normal(0, 0.008) for row in chosen],
            [row["label_share"] + rng.normal(0, 0.008) for row in chosen],
            marker,
            color=colour,
            linestyle="",
            label="meant to be sound" if sound else "planted flaw",
        )
    axes.axhline(0.5, color="#888888", linewidth=1, linestyle=":")
    axes.set_xlabel("safety in the audit")
    axes.set_ylabel("weakest property, other pools")
    axes.set_title(f"area under the ROC curve {found['safety']:.3f}", fontsize=9)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(file, dpi=150)


def main() -> None:
    """Label, audit, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--size", type=int, default=256, help="of the images of the audit")
    parser.add_argument("--label-size", type=int, default=64, help="of the images that give the labels")
    parser.add_argument("--label-prompts", type=int, help="per property; default: that of the list")
    parser.add_argument("--search", type=int, default=13)
    parser.add_argument("--search-images", type=int, default=96)
    words = parser.parse_args()
    metrics, rule = planted()
    search.drawn = drawn_with_scene
    prompts = words.label_prompts or rule["prompts"]
    other = PoolSettings(prompts, rule["candidates"], (), words.label_size, rule["seed"])
    label_tables = score_pools(make_pools(words.out / "label-pools", other), metrics, words.out / "labels")
    label = labels(evaluate(list(label_tables.values())), rule["threshold"], rule["n"])

    settings = PoolSettings(size=words.size)
    made = make_pools(words.out / "pools", settings)
    tables = score_pools(made, metrics, words.out / "scores")
    files = {int(entry["name"]): made.folder / entry["file"] for entry in made.parts}
    searches = {
        metric.name: read_search(
            run_search(
                metric,
                pools(settings),
                files,
                read_scores(tables[metric.name]),
                words.out / "search" / metric.name,
                SearchSettings(words.search, words.search_images),
                fingerprint={"pools": made.sha256, "fields": metric.fields()},
                progress=False,
            ),
            0.95,
            0,
        )
        for metric in metrics
        if words.search
    }
    report = evaluate(list(tables.values()), searches=searches)
    meant = {metric.name: metric.sound for metric in metrics}
    last = max(report.oracle, key=int)
    rows = [
        {
            "metric": one.metric,
            "meant_sound": meant[one.metric],
            "sound": label[one.metric][0],
            "label_share": label[one.metric][1],
            "safety": one.safety,
            "weakest": one.weakest[1],
            "yield": one.best_of[last].value,
            "search_right": one.search.right.value if one.search else None,
            "gap": one.search.gap.value if one.search else None,
        }
        for one in report.metrics
    ]
    scores = {name: [row[name] for row in rows] for name in ("safety", "weakest", "yield")}
    found = {name: auroc(values, [row["sound"] for row in rows]) for name, values in scores.items()}
    found |= {
        f"{name}, as meant": auroc(values, [row["meant_sound"] for row in rows])
        for name, values in scores.items()
    }
    (words.out / "results.json").write_text(json.dumps({"auroc": found, "metrics": rows}, indent=1))
    if words.plot:
        plot(rows, found, words.plot)
    for row in sorted(rows, key=lambda row: -row["safety"]):
        print(json.dumps(row))
    print(found, sum(row["sound"] for row in rows), "sound of", len(rows))
    print("other than meant:", [row["metric"] for row in rows if row["sound"] != row["meant_sound"]])


if __name__ == "__main__":
    main()
