"""ColorSwap: two captions with exchanged colour words and an image of each, as in Winoground.

Burapacheep et al. 2024, "ColorSwap: A Color and Word Order Dataset for Multimodal Evaluation", Findings of
ACL, arXiv 2402.04492. Models chose a caption for each image, and an image for each caption, in words; the
rules that find their choice are those of the authors' ``vlm_eval.py`` (MIT licence).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from croc.checks.schema import DIRECTIONS
from croc.errors import InputError
from croc.external.benchmark import Benchmark, Figure, Mode, Source
from croc.external.files import first_existing
from croc.external.images import ImageStore, Pairs, two_by_two
from croc.external.items import Contrastive, table_of
from croc.storage.files import read_json
from croc.storage.text_files import require_kind
from croc.wording import counted

MODELS = ("gpt4v", "llava", "llavar")


class _Item(TypedDict):
    """An example of ``data/test.json``, as README.md shows it."""

    id: int
    caption_1: str
    caption_2: str
    image_1: str
    image_2: str


class _Example(TypedDict):
    id: int


class _TextLog(TypedDict):
    caption_1: str
    caption_2: str
    correct_answer: str


class _TextExample(TypedDict):
    """An image and two captions to choose from, twice."""

    response_image_1: str
    response_image_2: str
    log_1: _TextLog
    log_2: _TextLog


class _ImageLog(TypedDict):
    caption: str
    correct_answer: str


class _ImageExample(TypedDict):
    """A caption and two images to choose from, twice."""

    response_caption_1: str
    response_caption_2: str
    log_1: _ImageLog
    log_2: _ImageLog


_Answers = tuple[list[str], list[float | None]]
_SMALL_WORDS = (" a ", " an ", " the ", " with ", " and ")


def read(folder: Path) -> Contrastive:
    """Read ``text-MODEL-colorswap.json`` and ``image-MODEL-colorswap.json`` of each model.

    Raises:
        InputError: a file is missing, an example lacks a key, or the two files have other examples.
    """
    rows, notes = [], []
    for model in MODELS:
        answers: dict[str, dict[int, _Answers]] = {}
        for side in ("text", "image"):
            name = f"{side}-{model}-colorswap.json"
            file = first_existing(folder, f"vlm_results/{name}", name)
            answers[side] = {}
            for number, example in enumerate(read_json(file, "no answers", list[_Example]), 1):
                answers[side][example["id"]] = _answers(example, side, f"{file}, example {number}")
        if answers["text"].keys() != answers["image"].keys():
            raise InputError(f"{folder}: the text and image files of {model} have other examples")
        if not answers["text"]:
            raise InputError(f"{folder}: no answers of {model}")
        missing = 0
        for item, (_, text) in answers["text"].items():
            captions, image = answers["image"][item]
            passed: dict[str, float | None] = dict(zip(DIRECTIONS, [*text, *image], strict=True))
            missing += sum(value is None for value in passed.values())
            rows.append(
                {
                    "item_id": str(item),
                    "metric": model,
                    "category": "colour",
                    "prompt": captions[0],
                    "contrast_prompt": captions[1],
                    "order": None,
                    **passed,
                }
            )
        if missing:
            notes.append(f"{model}: no choice found in {counted(missing, 'answer')}.")
    return Contrastive.of(table_of(rows, str(folder)), str(folder), tuple(notes))


def _answers(example: _Example, side: str, where: str) -> _Answers:
    """The options, and whether each of the two answers is right; None where no choice is found."""
    options, found = [], []
    kind: type[Any] = _TextExample if side == "text" else _ImageExample
    content: Mapping[str, Any] = require_kind(example, kind, where)
    for number in (1, 2):
        log = content[f"log_{number}"]
        if side == "text":
            response = content[f"response_image_{number}"]
            a, b = log["caption_1"], log["caption_2"]
            options.append(f"{a} or {b}")
            chosen = _one_of(
                _names_text(response, a, b, "A", "B"), _names_text(response, b, a, "B", "A"), "AB"
            )
        else:
            response = content[f"response_caption_{number}"]
            options.append(log["caption"])
            order = ("first", "second")
            chosen = _one_of(_names_image(response, *order), _names_image(response, *order[::-1]), order)
        found.append(None if chosen is None else float(chosen == log["correct_answer"]))
    return options, found


def _one_of(first: bool, second: bool, names: Sequence[str]) -> str | None:
    """The name of the option that an answer names, if it names exactly one."""
    return None if first == second else names[0] if first else names[1]


def _names_text(response: str, own: str, other: str, letter: str, other_letter: str) -> bool:
    """Whether an answer names one of the two captions."""
    low = response.lower()
    a, b = letter.lower(), other_letter.lower()
    if own.lower() in low and other.lower() not in low:
        return True
    phrases = (
        f"image presents ({a})",
        f"image presents option ({a})",
        f"image presents option {a}",
        f"it would imply ({a})",
        f"it could metaphorically represent ({a})",
        f"it is ({a})",
        f"this image presents {own.lower()}",
    )
    if any(phrase in low for phrase in phrases):
        return True
    starts = (f"{letter})", f"({letter})", f"Option {letter}", f"Option ({letter})")
    if response.startswith(starts) or response == letter:
        return True
    if any(f"option {name}" in low for name in (a, f"({a})")) and f"{b})" not in low:
        return True
    return _bare(own) in _bare(response) and _bare(other) not in _bare(response)


def _bare(text: str) -> str:
    for word in _SMALL_WORDS:
        text = text.replace(word, " ")
    for word in ("a ", "an ", "the "):
        text = text.removeprefix(word)
    return text.lower()


def _names_image(response: str, own: str, other: str) -> bool:
    """Whether an answer names one of the two images."""
    low = response.lower()
    phrases = (
        f"{own} image better aligns",
        f"{own} image aligns better",
        f"the {own} image is more relevant",
    )
    return (own in low and other not in low) or any(phrase in low for phrase in phrases)


def compute(items: Contrastive, mode: Mode) -> Mapping[str, float]:
    """Text, image and group score of each model in percent, as in Winoground."""
    found = {}
    for model in MODELS:
        for name, directions in (
            ("text", DIRECTIONS[:2]),
            ("image", DIRECTIONS[2:]),
            ("group", DIRECTIONS),
        ):
            passed = items.passed(model, *directions)
            passed = passed.fill_null(0.0) if mode == "parity" else passed.drop_nulls()
            if len(passed):
                found[f"{model} {name} score"] = 100 * float(passed.to_numpy().mean())
    return found


def pairs(folder: Path) -> Pairs:
    """Read ``data/test.json`` and its images, unpacked or in ``data/images.zip``.

    Without that file the captions and the numbers of the images are taken from the answers.

    Raises:
        InputError: an example lacks a key, or the answers cannot be used.
    """
    store = ImageStore(folder, ("data", "."), ("data/images.zip", "images.zip"))
    file = folder / "data" / "test.json"
    if (items := read_json(file, None, list[_Item])) is None:
        rows = read(folder).table.filter(metric=MODELS[0])
        columns = rows.select("item_id", "prompt", "contrast_prompt").rows()
        found = [(item, texts, [f"images/img_{item}_{n}.png" for n in (1, 2)]) for item, *texts in columns]
    else:
        found = [
            (str(item["id"]), [item["caption_1"], item["caption_2"]], [item["image_1"], item["image_2"]])
            for item in items
        ]
    return Pairs(
        tuple(
            two_by_two(
                item,
                (captions[0], captions[1]),
                (store.find(images[0]), store.find(images[1])),
                category="colour",
            )
            for item, captions, images in found
        )
    )


_ABSTRACT = "abstract of arXiv 2402.04492"
_PRINTED = "vlm_eval.py prints it; no output is published"
_PUBLISHED = {"gpt4v group score": "72", "llava group score": "42"}

BENCHMARK = Benchmark(
    name="colorswap",
    title="ColorSwap (Burapacheep et al. 2024, Findings of ACL, arXiv 2402.04492)",
    kind="contrastive",
    holds="pairs of captions with exchanged colour words, an image of each, and the answers of three models",
    size="300 examples of the test split",
    licence="MIT",
    source=Source(
        "Top34051/colorswap",
        "4f2c9e40ab4cf9db9e4c7b89410d0b15dccb404a",
        ("vlm_results",),
        hub="stanfordnlp/colorswap",
        gated=True,
        images="unpack the archive that README.md links into 'data/' of the clone",
    ),
    scores=("text score", "image score", "group score"),
    folders=(),
    files=tuple(f"{place}text-gpt4v-colorswap.json" for place in ("vlm_results/", "")),
    met="annotations",
    read=read,
    pairs=pairs,
    compute=compute,
    figures=tuple(
        Figure(name, _PUBLISHED.get(name), _ABSTRACT if name in _PUBLISHED else _PRINTED)
        for name in (f"{model} {kind} score" for model in MODELS for kind in ("text", "image", "group"))
    ),
    parity="An answer without a choice is wrong; by default the example is left out.",
)
