"""The ``eval.yaml`` of a dataset, by which the Hub collects the results of models on it."""

from __future__ import annotations

from pathlib import Path

from croc.results import hub_metadata
from hub_cards.cards import TITLES, title_of
from hub_cards.facts import Facts, read_facts


def benchmark(folder: str | Path | Facts) -> str:
    """The ``eval.yaml`` of a finished folder of checks: every configuration with a test split is a task.

    Args:
        folder: a folder with a ``manifest.json``, as the builders make it, or its facts.

    Raises:
        InputError: the folder is not finished.
    """
    facts = folder if isinstance(folder, Facts) else read_facts(folder)
    name, _, about = title_of(facts).partition(":")
    description = (about or TITLES[facts.kind].partition(":")[2]).strip()
    configs = [view.name for view in facts.views if hub_metadata.BENCHMARK_SPLIT in view.files]
    return hub_metadata.benchmark_file(name, f"{description[:1].upper()}{description[1:]}.", configs)
