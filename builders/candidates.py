"""Candidate images for people to judge: of prompt pairs, by any image backend, or a sample of a build."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from croc.checks.schema import CATEGORIES
from croc.errors import CrocError, InputError
from croc.jobs.parts import Executor
from croc.storage.files import atomic, read_json
from croc_hum.agreement.label_noise import LabelNoise
from croc_hum.candidates.items import Candidates, attention_item, property_of, staged_rows, write_items
from croc_hum.candidates.prompts import PromptPair, PromptSet, rows, stage
from croc_syn import world
from croc_syn.folder import choose, read_chosen, shard_files
from croc_syn.painting.images import fitting_scene
from croc_syn.painting.settings import Images
from croc_syn.painting.stage import make_images
from croc_syn.writing.prompts import EXACT
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
"""What nobody who looks can get wrong."""


def of_pairs(
    sets: Mapping[str, PromptSet],
    out: str | Path,
    settings: Images | None = None,
    *,
    task: str = "shows",
    attention: int = 10,
    executor: Executor | None = None,
    workers: int = 1,
    progress: bool = True,
) -> Candidates:
    """Make candidate images of prompt pairs, as items that people judge.

    An interrupted run goes on where it was when it is called again.

    Args:
        sets: as :func:`croc_hum.candidates.prompts.load` gives them; the exact world draws only the exact
        ones.
        out: the folder to make: ``items.parquet``, ``sample.json``, and the work, ``prompts`` and ``images``.
        settings: the section ``images:`` of a preset; None has the exact world draw 5 images a side.
        task: what people are asked, one of ``TASKS``.
        attention: how many attention checks to add.
        executor: what makes the parts of images; None takes ``workers`` processes of this machine.
        workers: processes.
        progress: show bars.

    Raises:
        InputError: no pair can be drawn, or the folder holds other work.
        PartsFailed: some images could not be made; the rest is kept.
    """
    folder, settings = Path(out), settings or Images()
    exact = not settings.models
    stage(rows(sets, EXACT if exact else None, exact_only=exact), folder / "prompts", progress=False)
    images = folder / "images"
    made = make_images(
        folder / "prompts", images, settings, executor=executor, workers=workers, progress=progress
    )
    models = [model.name for model in settings.models] or [EXACT]
    return write_items(
        staged_rows(made.files()),
        folder,
        task=task,
        attention=obvious(attention, task),
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
    """Take a sample of a finished build, as items that people judge, to measure how wrong its labels are.

    Every subset and property has about as many checks in the sample; ``sample.json`` says how many checks of
    the build each stands for.

    Args:
        build: the finished folder.
        out: the folder to make: ``items.parquet`` and ``sample.json``.
        checks: how many, at most.
        images: images a side, the first ones; None takes all.
        task: what people are asked, one of ``TASKS``.
        attention: how many attention checks to add.
        where: wanted value by column: ``subset``, ``category``, ``property``.
        seed: another seed, another sample.

    Raises:
        InputError: it is no finished build, or no check has a wanted value.
    """
    files = shard_files(build)
    chosen = choose(files, checks, seed=seed, where=where)
    everything = choose(files, 2**62, where=where)
    manifest = read_json(Path(build) / "manifest.json", "no manifest.json: not a finished build")
    return write_items(
        read_chosen(chosen),
        out,
        task=task,
        images=images,
        attention=obvious(attention, task),
        population=_by_property(everything),
        source={"kind": "build", "name": Path(build).resolve().name, "manifest": manifest.get("sha256")},
    )


def put_on_card(build: str | Path, noise: LabelNoise) -> None:
    """Write the label noise of a build beside its data, and its card anew.

    The manifest stays as it is, so that score tables of the build keep their meaning.

    Args:
        build: the finished folder.
        noise: measured on a sample of it.

    Raises:
        InputError: it is not the build that the sample was taken of.
    """
    folder = Path(build)
    manifest = read_json(folder / "manifest.json", "no manifest.json: not a finished build")
    if noise.source.get("kind") != "build":
        raise InputError(
            "these candidates are no sample of a build (croc hum candidates --from-build BUILD makes one)"
        )
    if noise.source.get("manifest") != manifest.get("sha256"):
        raise InputError(f"{folder}: the sample was taken of another build ({noise.source.get('name')})")
    with atomic(folder / LABEL_NOISE) as temporary:
        temporary.write_text(noise.to_json(), "utf-8")
    card = folder / "README.md"
    text = render_again(folder, card.read_text("utf-8") if card.is_file() else "")
    with atomic(card) as temporary:
        temporary.write_text(text, "utf-8")


def _by_property(rows: list[Any]) -> dict[str, int]:
    """How many checks there are of each property, counted in the files without their images."""
    import pyarrow.parquet as pq

    wanted: dict[Path, set[int]] = {}
    for each in rows:
        wanted.setdefault(each.file, set()).add(each.row)
    counts: Counter[str] = Counter()
    for file, numbers in wanted.items():
        light = pq.read_table(file, columns=["property", "subset"]).to_pylist()
        counts.update(property_of(light[number]) for number in numbers)
    return dict(counts)


def obvious(count: int, task: str) -> list[dict[str, Any]]:
    """Attention checks: drawings of the exact world that show their prompt, or plainly the other one.

    Args:
        count: how many.
        task: of the items around them; how well an image fits has no certain answer, so that those of
            ratings ask whether it shows its prompt.
    """
    asked = "preference" if task == "preference" else "shows"
    answers = {"shows": ("yes", "no"), "preference": ("prompt", "contrast")}[asked]
    found = []
    for number in range(count):
        prompt, other = _OBVIOUS[number % len(_OBVIOUS)]
        wrong = (number + number // len(_OBVIOUS)) % 2
        shown = (other, prompt) if wrong else (prompt, other)
        _, seed, _ = fitting_scene(*shown, ("attention", number))
        image = world.draw(shown[0], seed).png
        found.append(attention_item(asked, prompt, other, image, answers[wrong], EXACT))
    return found


def chosen(sets: Mapping[str, PromptSet], category: str | None) -> dict[str, PromptSet]:
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
    """Hold prompt pairs against what they claim.

    Args:
        sets: as :func:`croc_hum.candidates.prompts.load` gives them.
        least: pairs that each category must have.

    Raises:
        InputError: a category has fewer, or the exact world cannot prove what a pair marked ``exact`` claims.
    """
    problems = [
        f"{category} has {len(one.pairs)} pairs, {least} are wanted"
        for category, one in sets.items()
        if len(one.pairs) < least
    ]
    problems += [
        f"{category}.{pair.id}: {reason}"
        for category, one in sets.items()
        for pair in one.pairs
        if pair.exact and (reason := _unproven(pair)) is not None
    ]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise InputError(f"prompt pairs: {'; '.join(problems[:5])}{more}")


def _unproven(pair: PromptPair) -> str | None:
    """Why the exact world cannot vouch for a pair; None when it can."""
    try:
        both = [world.parse(text) for text in (pair.prompt, pair.contrast_prompt)]
    except CrocError as error:
        return f"not in the exact world's controlled English ({error})"
    if not world.exclusive(*both):
        return "an image may show both prompts, as far as the exact world can tell"
    return None
