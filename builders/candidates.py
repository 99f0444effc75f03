"""Candidate images for annotators: made from prompt pairs by any image backend, or sampled from a build."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from croc.checks.manifest import read_dataset_manifest
from croc.checks.schema import CATEGORIES
from croc.errors import CrocError, InputError
from croc.jobs.parts import Executor
from croc.storage.files import atomic
from croc.wording import counted
from croc_hum.agreement.label_noise import LabelNoise
from croc_hum.candidates.items import (
    Candidates,
    contrasted_property,
    make_attention_item,
    read_staged_rows,
    write_items,
)
from croc_hum.candidates.prompts import PromptPair, PromptSet, make_rows, stage
from croc_syn import world
from croc_syn.painting.exact import sample_scene
from croc_syn.painting.images import make_images
from croc_syn.painting.settings import Images
from croc_syn.stratified_rows import read_rows, sample_rows, shard_files
from croc_syn.writing.table import EXACT
from hub_cards import render_again
from hub_cards.facts import LABEL_NOISE

_OBVIOUS = (
    ("a red ball", "a blue ball"),
    ("a cat", "a car"),
    ("one big tree", "a boat on the sea"),
    ("a yellow star", "a green square"),
    ("a house", "a dog"),
    ("five apples", "one apple"),
)
"""Prompts and contrasts for attention checks, which every attentive annotator gets right."""


def of_pairs(
    sets: Mapping[str, PromptSet],
    out: str | Path,
    settings: Images | None = None,
    *,
    task: str = "shows",
    attention: int = 10,
    executor: Executor | None = None,
    progress: bool = True,
) -> Candidates:
    """Make candidate images from prompt pairs, as items for annotators.

    An interrupted run is resumed when it is called again.

    Args:
        sets: as :func:`croc_hum.candidates.prompts.load` gives them; the exact world draws only the exact
            ones.
        out: the folder to make: ``items.parquet``, ``sample.json``, and the work folders ``prompts`` and
            ``images``.
        settings: the section ``images:`` of a preset; None draws 5 images per side with the exact world.
        task: the question to annotators, one of ``TASKS``.
        attention: number of attention checks to add.
        executor: what makes the parts of images, see :mod:`croc.jobs.executors`; None is this process.
        progress: show bars.

    Raises:
        InputError: no pair can be drawn, or the folder holds other work.
        PartsFailed: some images could not be made; the rest is kept.
    """
    folder, settings = Path(out), settings or Images()
    exact = not settings.models
    stage(make_rows(sets, EXACT if exact else None, exact_only=exact), folder / "prompts", progress=False)
    images = folder / "images"
    made = make_images(folder / "prompts", images, settings, executor=executor, progress=progress)
    models = [model.name for model in settings.models] or [EXACT]
    return write_items(
        read_staged_rows(made.files()),
        folder,
        task=task,
        attention=attention_checks(attention, task),
        source={"kind": "pairs", "images": made.sha256, "models": models},
    )


def of_build(
    build: str | Path,
    out: str | Path,
    *,
    checks: int = 200,
    images: int | None = None,
    task: str = "shows",
    attention: int = 10,
    where: Mapping[str, str | None] | None = None,
    seed: int = 0,
) -> Candidates:
    """Sample a finished build, as items for annotators, to measure its label noise.

    Every subset and property has about the same number of checks in the sample; ``sample.json`` records how
    many checks of the build they represent.

    Args:
        build: the finished folder.
        out: the folder to make: ``items.parquet`` and ``sample.json``.
        checks: number of checks, at most.
        images: images per side, the first ones; None takes all.
        task: the question to annotators, one of ``TASKS``.
        attention: number of attention checks to add.
        where: wanted value by column: ``subset``, ``category``, ``property``.
        seed: another seed, another sample.

    Raises:
        InputError: it is not a finished build, or no check has a wanted value.
    """
    sample = sample_rows(shard_files(build), checks, seed=seed, where=where)
    population: Counter[str] = Counter()
    for (subset, name), count in sample.population.items():
        population[contrasted_property({"subset": subset, "property": name})] += count
    manifest = read_dataset_manifest(Path(build))
    return write_items(
        read_rows(sample.places),
        out,
        task=task,
        images=images,
        attention=attention_checks(attention, task),
        population=population,
        source={"kind": "build", "name": Path(build).resolve().name, "manifest": manifest.get("sha256")},
    )


def add_label_noise(build: str | Path, noise: LabelNoise) -> None:
    """Store the label noise of a build beside its data, and render its card again.

    The manifest does not change, so score tables of the build stay valid.

    Args:
        build: the finished folder.
        noise: measured on a sample of it.

    Raises:
        InputError: the sample was taken from another build.
    """
    folder = Path(build)
    manifest = read_dataset_manifest(folder)
    if noise.source.get("kind") != "build":
        raise InputError(
            "these candidates are not a sample of a build (croc hum candidates --from-build BUILD makes one)"
        )
    if noise.source.get("manifest") != manifest.get("sha256"):
        raise InputError(f"{folder}: the sample was taken from another build ({noise.source.get('name')})")
    with atomic(folder / LABEL_NOISE) as temporary:
        temporary.write_text(noise.to_json(), "utf-8")
    card = folder / "README.md"
    text = render_again(folder, card.read_text("utf-8") if card.is_file() else "")
    with atomic(card) as temporary:
        temporary.write_text(text, "utf-8")


def attention_checks(count: int, task: str) -> list[dict[str, Any]]:
    """Attention checks: drawings of the exact world that show their prompt, or plainly another one.

    Args:
        count: number of checks.
        task: of the other items. A rating has no certain answer, so attention checks among ratings ask
            whether the image shows its prompt.
    """
    question = "preference" if task == "preference" else "shows"
    answers = {"shows": ("yes", "no"), "preference": ("prompt", "contrast")}[question]
    checks = []
    for number in range(count):
        prompt, other = _OBVIOUS[number % len(_OBVIOUS)]
        wrong = (number + number // len(_OBVIOUS)) % 2
        shown = (other, prompt) if wrong else (prompt, other)
        _, seed, _ = sample_scene(*shown, ("attention", number))
        image = world.draw(shown[0], seed).png
        checks.append(make_attention_item(question, prompt, other, image, answers[wrong], EXACT))
    return checks


def select_category(sets: Mapping[str, PromptSet], category: str | None) -> dict[str, PromptSet]:
    """The sets of one category, or all when it is None.

    Raises:
        InputError: there is no such category among them.
    """
    if category is None:
        return dict(sets)
    if category not in sets:
        close = get_close_matches(category, CATEGORIES, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sets)}"
        raise InputError(f"no prompt pairs of category {category!r}; {hint}")
    return {category: sets[category]}


def check_pairs(sets: Mapping[str, PromptSet], least: int = 1) -> None:
    """Check prompt pairs.

    Args:
        sets: as :func:`croc_hum.candidates.prompts.load` gives them.
        least: minimum number of pairs per category.

    Raises:
        InputError: a category has fewer pairs, or the exact world cannot confirm a pair marked ``exact``.
    """
    problems = [
        f"{category} has {counted(len(prompt_set.pairs), 'pair')}; expected at least {least}"
        for category, prompt_set in sets.items()
        if len(prompt_set.pairs) < least
    ]
    problems += [
        f"{category}.{pair.id}: {reason}"
        for category, prompt_set in sets.items()
        for pair in prompt_set.pairs
        if pair.exact and (reason := _unconfirmed(pair)) is not None
    ]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise InputError(f"prompt pairs: {'; '.join(problems[:5])}{more}")


def _unconfirmed(pair: PromptPair) -> str | None:
    """Why the exact world cannot confirm that a pair is exclusive; None if it can."""
    try:
        both = [world.parse(text) for text in (pair.prompt, pair.contrast_prompt)]
    except CrocError as error:
        return f"not in the exact world's controlled English ({error})"
    if not world.exclusive(*both):
        return "the exact world cannot rule out that an image shows both prompts"
    return None
