"""NLVR: sentences about drawn scenes, with the votes of several annotators; as rated images and as checks.

Suhr, Lewis, Yeh and Artzi, "A Corpus of Natural Language for Visual Reasoning", ACL 2017 (CC-BY-4.0). Each
sentence has several images, for some of which it is true and for others false: these are the image directions
of a human-labelled check. There is no contrast prompt, so the text directions are not evaluated. ``croc
external score nlvr`` scores these checks; ``croc build nlvr`` makes a dataset of the same checks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from croc.checks.schema import ContrastCheck, Vote, check_features, check_id, stable_hash
from croc.errors import InputError
from croc.external.benchmark import Benchmark, Figure, Mode
from croc.external.benchmark import Source as Origin
from croc.external.images import Pairs
from croc.external.items import Rated, table_of
from croc.ratings.agreement import alpha_of, coincidences
from croc.wording import counted

if TYPE_CHECKING:
    import datasets

SOURCE = "NLVR (Suhr et al. 2017)"
LICENSE = "cc-by-4.0"


def load(folder: Path | str) -> datasets.Dataset:
    """The checks of one split of NLVR as a dataset; see :func:`checks`.

    Raises:
        InputError: the folder does not hold the split, a line of it cannot be used, or there is no check.
    """
    from datasets import Dataset

    rows = [check.row() for check in checks(Path(folder))]
    return Dataset.from_list(rows, features=check_features())


def checks(folder: Path) -> Iterator[ContrastCheck]:
    """The checks of one split of NLVR: one per sentence of :func:`read_sentences`."""
    for sentence in read_sentences(folder):
        yield check_of(sentence, folder)


def read_sentences(folder: Path) -> list[dict[str, Any]]:
    """The sentences of one split of NLVR, such as its ``dev`` folder, that have images of both kinds.

    Args:
        folder: with ``NAME.json`` (a JSON object per line) and ``images/`` with ``NAME-n-m-0.png``.

    Returns:
        Sorted JSON objects: ``number``, ``sentence``, and its ``examples``, which are lines of the file.
        Sentences with images of one kind only are left out.

    Raises:
        InputError: the folder does not hold the split, a line of it cannot be used, or no sentence is left.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for example in _lines(folder):
        number, _ = example["identifier"].split("-")
        groups.setdefault((number, example["sentence"]), []).append(example)
    sentences = [
        {"number": number, "sentence": sentence, "examples": examples}
        for (number, sentence), examples in sorted(groups.items())
        if {example["label"] for example in examples} == {"true", "false"}
    ]
    if not sentences:
        raise InputError(
            f"{folder}: no sentence has images that it is true of and images that it is false of"
        )
    return sentences


def check_of(
    sentence: Mapping[str, Any],
    folder: Path,
    image: Callable[[Path, Mapping[str, Any]], Any] = lambda folder, example: _image(folder, example),
) -> ContrastCheck:
    """The check of one sentence: ``images`` are those that it is true of, ``contrast_images`` the others.

    Args:
        sentence: from :func:`read_sentences`.
        folder: of the split.
        image: makes the entry of an image, of the folder and the example; by default it reads the file.

    Raises:
        InputError: an image cannot be read.
    """
    examples = sentence["examples"]
    sides: dict[str, list[dict[str, Any]]] = {"true": [], "false": []}
    for example in sorted(examples, key=lambda example: str(example["identifier"])):
        sides[example["label"]].append(example)
    votes = [
        Vote(annotator=annotator, item=str(example["identifier"]), value=value)
        for example in examples
        for annotator, value in sorted(example["evals"].items())
    ]
    agreed = [value == example["label"] for example in examples for value in example["evals"].values()]
    prompt = sentence["sentence"].strip()
    concept = stable_hash("nlvr", sentence["number"], sentence["sentence"])
    return ContrastCheck(
        check_id=check_id(concept, prompt, None, SOURCE, SOURCE, None),
        concept_id=concept,
        prompt=prompt,
        contrast_prompt=None,
        images=[image(folder, example) for example in sides["true"]],
        contrast_images=[image(folder, example) for example in sides["false"]],
        text_model="human",
        image_model=SOURCE,
        license=LICENSE,
        votes=votes,
        agreement=sum(agreed) / len(agreed) if agreed else None,
    )


def _lines(folder: Path) -> list[dict[str, Any]]:
    file = folder / f"{folder.name}.json"
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"{file}: cannot be read as the NLVR split {folder.name!r} ({problem})") from None
    examples = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            example = json.loads(line)
            complete = example["label"] in ("true", "false") and isinstance(example["evals"], dict)
            complete = complete and str(example["identifier"]).count("-") == 1
            complete = complete and isinstance(example["sentence"], str) and bool(example["sentence"])
        except (ValueError, KeyError, TypeError) as problem:
            raise InputError(f"{file}, line {number}: not an NLVR example ({problem!r})") from None
        if not complete:
            raise InputError(f"{file}, line {number}: not an NLVR example (label, evals or identifier)")
        examples.append(example)
    return examples


def pairs(folder: Path) -> Pairs:
    """The checks of the development split, see :func:`checks`; images are files."""
    split = folder / "dev"
    sentences = read_sentences(split)
    found = tuple(check_of(sentence, split, _path) for sentence in sentences)
    used = sum(len(check.images) + len(check.contrast_images) for check in found)
    lost = len(_lines(split)) - used
    notes = (f"{counted(lost, 'pair')} of sentences with images of one kind left out.",) if lost else ()
    return Pairs(found, notes)


def _path(folder: Path, example: Mapping[str, Any]) -> Path:
    return folder / "images" / f"{folder.name}-{example['identifier']}-0.png"


def _image(folder: Path, example: Mapping[str, Any]) -> dict[str, Any]:
    path = _path(folder, example)
    try:
        return {"bytes": path.read_bytes(), "path": path.name}
    except OSError as problem:
        raise InputError(f"{path}: cannot be read ({problem.strerror})") from None


# ---- As rated images ----

VOTES = ("true", "false", "nonsense")


def read(folder: Path) -> Rated:
    """The examples of the development split: a column of votes per annotator, and the share of "true" votes.

    Raises:
        InputError: the split is missing, or a line of it cannot be used.
    """
    split = folder / "dev"
    rows, ignored = [], 0
    for example in _lines(split):
        votes = {str(annotator): str(vote) for annotator, vote in example["evals"].items()}
        if unknown := [vote for vote in votes.values() if vote not in VOTES]:
            raise InputError(f"{split}, example {example['identifier']!r}: unknown vote {unknown[0]!r}")
        sure = [vote == "true" for vote in votes.values() if vote != "nonsense"]
        ignored += len(votes) - len(sure)
        rows.append(
            {
                "item_id": str(example["identifier"]),
                "system": "NLVR",
                "prompt": example["sentence"].strip(),
                "image": f"images/dev-{example['identifier']}-0.png",
                "label": float(example["label"] == "true"),
                "human": sum(sure) / len(sure) if sure else None,
                **{f"votes_{vote}": list(votes.values()).count(vote) for vote in VOTES},
            }
        )
    if not rows:
        raise InputError(f"{split}: no examples")
    notes = (f"{counted(ignored, 'vote')} for nonsense left out of the share of true votes.",)
    table = table_of(rows, str(split))
    return Rated.of(table, str(split), humans=("human", "label"), left_out=notes if ignored else ())


def compute(items: Rated, mode: Mode) -> Mapping[str, float]:
    """Size, and agreement of the votes with each other and with the labels."""
    table = items.table
    counts = table.select(f"votes_{vote}" for vote in VOTES).to_numpy()
    sums = coincidences(counts).sum(axis=0)[None]
    human, label = table.drop_nulls("human").select("human", "label").to_numpy().T
    return {
        "examples": len(table),
        "alpha (nominal)": float(alpha_of(sums, "nominal")[0]),
        "label is that of the majority": float(np.mean((human > 0.5) == (label == 1))),
    }


BENCHMARK = Benchmark(
    name="nlvr",
    title="NLVR, development split (Suhr et al. 2017, ACL)",
    kind="contrastive",
    holds="sentences about drawn scenes, true of some and false of others by five votes each",
    size="989 pairs of a sentence and an image",
    licence="CC-BY-4.0",
    source=Origin(
        "lil-lab/nlvr", "18924841aa96d519cfb8584f0945350f07a6d860", ("nlvr/dev/dev.json", "nlvr/dev/images")
    ),
    scores=("forward image accuracy", "Krippendorff's alpha"),
    folders=(),
    files=("dev/dev.json",),
    met="all",
    read=read,
    pairs=pairs,
    compute=compute,
    figures=(
        Figure("examples", None, "computed here only"),
        Figure("alpha (nominal)", None, "computed here only"),
        Figure("label is that of the majority", None, "computed here only"),
    ),
)
