"""The plots of the experiments, as PNG."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from crocscore.experiments.seed_means import of_group

INITIAL, ALL = "start", "all"
"""Names of the run without training, and of the run that leaves nothing out."""


def plot_runs(name: str, runs: Sequence[Mapping[str, Any]]) -> bytes:
    """The plot of an experiment with training.

    Args:
        name: of the experiment.
        runs: the means of its conditions over the seeds, as its JSON file has them.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="grey", linewidth=0.8, linestyle=":")
    axes.set_ylabel("scaled accuracy")
    if name == "held-out":
        _held_out(axes, runs)
    elif name == "learning-curve":
        _curves(axes, runs, "questions")
        axes.set_xlabel("questions")
        axes.set_xscale("log")
    elif name == "label-noise":
        _noise(axes, runs)
    else:
        trained = _draw_initial(axes, runs)
        _bars(axes, range(len(trained)), trained, "all checks", 0.5)
        axes.set_xticks(range(len(trained)), [run["name"] for run in trained])
    axes.legend(frameon=False, fontsize="small", ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return _png(figure)


def plot_sweep(trials: Sequence[Mapping[str, Any]]) -> bytes:
    """The plot of a search: the result of each trial over each setting."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

    figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    labels = {
        "learning_rate": "learning rate",
        "questions": "questions",
        "epochs": "epochs",
        "negatives": "share of questions with the answer No",
    }
    for axes, (key, label) in zip(figure.subplots(2, 2, sharey=True).flat, labels.items(), strict=True):
        at = [trial[key] for trial in trials]
        values = [trial["scaled"] for trial in trials]
        axes.errorbar(at, values, _error_bars(trials), fmt=".", capsize=2, linewidth=0.8)
        axes.set_xlabel(label)
        if key in ("learning_rate", "questions"):
            axes.set_xscale("log")
        if key == "questions":  # spans less than two powers of ten as a rule
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        if key == "epochs":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.supylabel("scaled accuracy")
    return _png(figure)


def plot_held_out_world(tests: Sequence[Mapping[str, Any]]) -> bytes:
    """The plot of the models with and without what is held out, for each test."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="grey", linewidth=0.8, linestyle=":")
    axes.set_ylabel("scaled accuracy")
    series = {"with": "pretrained on everything", "without": "pretrained without what is held out"}
    for number, (arm, label) in enumerate(series.items()):
        places = [place + 0.4 * (number - 0.5) for place in range(len(tests))]
        _bars(axes, places, [test[arm] for test in tests], label, 0.4)
    axes.set_xticks(range(len(tests)), [test["test"] for test in tests])
    axes.legend(frameon=False, fontsize="small", ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return _png(figure)


def plot_zero_shot(results: Mapping[str, Any]) -> bytes:
    """The plot of the experiment without training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    directions = {
        name.replace("_", "\n"): cell
        for name, cell in results.get("checks", {}).get("directions", {}).items()
        if cell["scaled"] is not None
    }
    left.set_title("human-labelled checks")
    left.set_ylabel("scaled accuracy")
    _bars(left, range(len(directions)), list(directions.values()), "", 0.5)
    left.set_xticks(range(len(directions)), list(directions))
    left.set_xlim(-1, max(1, len(directions)))
    taus = [result for result in results.get("ratings", []) if result["kind"] == "kendall"]
    cells = [{"scaled": tau["value"], "low": tau["ci_low"], "high": tau["ci_high"]} for tau in taus]
    right.set_title("human ratings")
    right.set_ylabel("Kendall's tau-b")
    _bars(right, range(len(cells)), cells, "", 0.5)
    right.set_xticks(range(len(cells)), [tau["metric"].replace("_", "\n") for tau in taus], fontsize="small")
    for axes in (left, right):
        axes.axhline(0, color="grey", linewidth=0.8, linestyle=":")
    return _png(figure)


def plot_probes(groups: Sequence[Mapping[str, Any]]) -> bytes:
    """The plot of the shares of each group of probes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.subplots()
    series = {"passed": "true text scores higher", "yes_to_false": "Yes to the false text"}
    for number, (key, label) in enumerate(series.items()):
        cells = [
            {"scaled": group[key], "low": group[f"{key}_low"], "high": group[f"{key}_high"]}
            for group in groups
        ]
        if any(cell["scaled"] is not None for cell in cells):
            _bars(axes, [place + 0.4 * (number - 0.5) for place in range(len(cells))], cells, label, 0.4)
    names = [group["group"].replace("_", " ") for group in groups]
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_ylabel("share of the drawings")
    axes.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
    axes.legend(frameon=False, fontsize="small", ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return _png(figure)


def _held_out(axes: Any, runs: Sequence[Mapping[str, Any]]) -> None:
    trained_without = [run for run in runs if run["leave_out"]]
    names = [run["leave_out"] for run in trained_without]
    series = [
        *(
            (label, [of_group(run, name) for name in names])
            for label, wanted in (("before training", INITIAL), ("trained on everything", ALL))
            for run in runs
            if run["name"] == wanted
        ),
        ("trained without it", [of_group(run, run["leave_out"]) for run in trained_without]),
    ]
    width = 0.8 / len(series)
    for number, (label, cells) in enumerate(series):
        _bars(axes, [place + (number - 1) * width for place in range(len(names))], cells, label, width)
    axes.set_xticks(range(len(names)), [name.replace("_", " ") for name in names])


def _noise(axes: Any, runs: Sequence[Mapping[str, Any]]) -> None:
    """Scaled accuracy over the share of noise, by its kind; of a single kind also for each category."""
    kinds = list(dict.fromkeys(run["noise_kind"] for run in runs if run["noise"]))
    if kinds in ([], ["flips"]):
        _curves(axes, runs, "noise")
        axes.set_xlabel("share of flipped answers")
        return
    runs = _draw_initial(axes, runs)
    clean = [run for run in runs if not run["noise"]]
    for number, kind in enumerate(kinds):
        cells = clean + [run for run in runs if run["noise"] and run["noise_kind"] == kind]
        at = [run["noise"] + 0.004 * number for run in cells]  # so that no interval hides another
        values = [run["scaled"] for run in cells]
        axes.errorbar(at, values, _error_bars(cells), capsize=3, linewidth=1.2, marker=".", label=kind)
    axes.set_xlabel("share of the images (of the answers: flips)")


def _curves(axes: Any, runs: Sequence[Mapping[str, Any]], key: str) -> None:
    """Scaled accuracy over a number that the runs differ in, for each category and for all checks."""
    from croc.verdict.report import NO_VALUE

    trained = _draw_initial(axes, runs)
    at = [run[key] for run in trained]
    categories = {cell["value"] for run in trained for cell in run["groups"] if cell["group"] == "category"}
    for name in sorted(categories):
        cells = [of_group(run, name) for run in trained]
        values = [cell["scaled"] if cell else None for cell in cells]
        label = "others" if name == NO_VALUE else name.replace("_", " ")
        axes.plot(at, values, linewidth=1, marker=".", label=label)
    means = [run["scaled"] for run in trained]
    axes.errorbar(at, means, _error_bars(trained), color="black", linewidth=2, capsize=3, label="all")


def _draw_initial(axes: Any, runs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Draw the model before training as a line: a logarithmic axis has no place for 0; gives the others."""
    for run in runs:
        if not run["train"]:
            axes.axhline(run["scaled"], color="black", linestyle="--", linewidth=1, label="before training")
    return [run for run in runs if run["train"]]


def _bars(axes: Any, places: Iterable[float], cells: Sequence[Any], label: str, width: float) -> None:
    """Bars with intervals; what was not measured has height 0."""
    values = [cell["scaled"] if cell and cell["scaled"] is not None else 0.0 for cell in cells]
    axes.bar(list(places), values, width, yerr=_error_bars(cells), capsize=2, label=label)


def _error_bars(cells: Sequence[Any]) -> list[list[float]]:
    """Lengths of the error bars below and above the values; 0 where there is no interval."""
    keys = ("scaled", "low", "high")
    known = [cell if cell and None not in [cell[key] for key in keys] else None for cell in cells]
    return [
        [max(0.0, cell["scaled"] - cell["low"]) if cell else 0.0 for cell in known],
        [max(0.0, cell["high"] - cell["scaled"]) if cell else 0.0 for cell in known],
    ]


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
