"""Multimodal RewardBench 2, text-to-image: two images of a prompt, and which of them people prefer.

Hu et al. 2025, "Multimodal RewardBench 2", arXiv 2512.16899. The layouts are those of benchmark/README.md and
benchmark/build_from_hf.py of facebookresearch/MMRB2@7ff0552c; the accuracy of a judge that is asked in both
orders is that of its evaluate/compute_scores/compute_accuracy.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired

import polars as pl
from typing_extensions import TypedDict

from croc.checks.schema import ContrastCheck
from croc.errors import InputError
from croc.external.benchmark import Benchmark, Figure, Mode, Source
from croc.external.files import first_existing
from croc.external.images import Image, ImageStore, Pairs, cell_image, parquet_rows
from croc.external.items import Rated, table_of
from croc.external.standard import preference_accuracy
from croc.storage.files import read_json
from croc.wording import counted

_JSON = ("t2i.json", "benchmark/t2i.json", "t2i_response_only.json", "benchmark/t2i_response_only.json")
_PARQUET = ("t2i/*.parquet",)
_COLUMNS = (
    *("pair_id", "prompt_text", "prompt_images", "chosen"),
    *(f"response_{side}_{what}" for side in "ab" for what in ("model", "images")),
)
_JUDGE = "evaluate/generate_judgements/outputs/sample_task1_image.json"
_ORDERS = ("forward", "reverse")


class _Response(TypedDict):
    model_name: str
    response_content: list[list[str]]


class _Pair(TypedDict):
    id: str
    response_a: _Response
    response_b: _Response
    chosen: str
    prompt_content: NotRequired[list[list[str]]]


class _File(TypedDict):
    pairs: list[_Pair]


class _Judgement(TypedDict):
    judgement: NotRequired[str | None]


_Judgements = dict[str, dict[str, list[_Judgement]]]


@dataclass(frozen=True)
class _Compared:
    """A pair: its prompt (None where the file has none), and of each side the model and the images."""

    pair_id: str
    prompt: str | None
    models: tuple[str, str]
    images: tuple[Sequence[Image], Sequence[Image]]
    chosen: str


def _compared(folder: Path) -> Iterator[_Compared]:
    rows = parquet_rows(
        folder, _PARQUET, _COLUMNS, ("prompt_images", "response_a_images", "response_b_images")
    )
    found = _of_json(folder) if rows is None else _of_parquet(rows)
    for pair in found:
        if pair.chosen not in ("A", "B"):
            raise InputError(f"{folder}, pair {pair.pair_id!r}: 'chosen' is {pair.chosen!r}; expected A or B")
        yield pair


def _of_json(folder: Path) -> Iterator[_Compared]:
    file = first_existing(folder, *_JSON)
    store = ImageStore(file.parent, (".", "images"))
    for pair in read_json(file, "no pairs", _File)["pairs"]:
        where = f"{file}, pair {pair['id']!r}"
        sides = (pair["response_a"], pair["response_b"])
        contents = [_contents(side["response_content"], where) for side in sides]
        prompt = _contents(pair.get("prompt_content", []), where)
        text = "\n".join(value for kind, value in prompt if kind == "text")
        only_text = all(kind == "text" for kind, _ in prompt)
        images = [[store.find(value) for kind, value in content if kind == "image"] for content in contents]
        yield _Compared(
            pair["id"],
            text if text and only_text else None,
            (sides[0]["model_name"], sides[1]["model_name"]),
            (images[0], images[1]),
            pair["chosen"],
        )


def _contents(parts: list[list[str]], where: str) -> list[tuple[str, str]]:
    for part in parts:
        if len(part) != 2:
            raise InputError(f"{where}: expected ['text', TEXT] or ['image', FILE], not {part!r:.80}")
    return [(kind, value) for kind, value in parts]


def _of_parquet(rows: Any) -> Iterator[_Compared]:
    texts = rows.select_columns([name for name in _COLUMNS if not name.endswith("_images")])
    sizes = {
        name: [len(cell or ()) for cell in rows.data.column(name).to_pylist()]
        for name in _COLUMNS
        if name.endswith("_images")
    }
    for number, row in enumerate(texts):
        images = [
            [cell_image(rows, number, name, k) for k in range(sizes[name][number])]
            for name in ("response_a_images", "response_b_images")
        ]
        prompt = row["prompt_text"] if not sizes["prompt_images"][number] else None
        models = (row["response_a_model"], row["response_b_model"])
        chosen = (row["chosen"] or "").upper()
        yield _Compared(row["pair_id"], prompt or None, models, (images[0], images[1]), chosen)


def read(folder: Path) -> Rated:
    """Read ``t2i.json``, ``t2i_response_only.json`` (without prompts) or the Parquet files of the Hub.

    ``human`` is 1 for the image that people prefer and 0 for the other. If the repository's judgements are
    there, ``forward`` and ``reverse`` are 1 for the image that the judge prefers.

    Raises:
        InputError: there is no such file, or a pair cannot be used.
    """
    judged = read_json(folder / _JUDGE, None, _Judgements) or {}
    rows = []
    for pair in _compared(folder):
        votes = {order: _vote(judged, pair.pair_id, order) for order in _ORDERS}
        rows += [
            {
                "item_id": f"{pair.pair_id}/{letter.lower()}",
                "system": pair.models[side],
                "prompt": pair.prompt,
                "pair_id": pair.pair_id,
                "image": None,
                "human": float(pair.chosen == letter),
                **{order: None if vote is None else float(vote == letter) for order, vote in votes.items()},
            }
            for side, letter in enumerate("AB")
        ]
    if not rows:
        raise InputError(f"{folder}: no pairs")
    kinds = {"prompt": pl.String, "image": pl.String} | dict.fromkeys(_ORDERS, pl.Float64)
    table = table_of(rows, str(folder), kinds)
    return Rated.of(table, str(folder), humans=("human",))


def _vote(judged: _Judgements, pair_id: str, order: str) -> str | None:
    """The letter of the image that the judge prefers; in the reverse order it saw B as A."""
    answers = judged.get(pair_id, {}).get(order) or [{}]
    vote = answers[0].get("judgement")
    if vote not in ("A", "B"):
        return None
    return vote if order == "forward" else "BA"["AB".index(vote)]


def pairs(folder: Path) -> Pairs:
    """The images with their prompts; pairs without one prompt of text and two images are left out."""
    checks, left = [], 0
    for pair in _compared(folder):
        if pair.prompt is None or any(len(images) != 1 for images in pair.images):
            left += 1
            continue
        checks += [
            ContrastCheck(
                check_id=f"{pair.pair_id}/{letter}",
                concept_id=pair.pair_id,
                prompt=pair.prompt,
                contrast_prompt=None,
                images=images,
                contrast_images=[],
                image_model=model,
            )
            for letter, images, model in zip("ab", pair.images, pair.models, strict=True)
        ]
    if not checks:
        raise InputError(
            f"{folder}: no pair has a prompt; build t2i.json as benchmark/README.md of the repository says"
        )
    return Pairs(
        tuple(checks), (f"{counted(left, 'pair')} without one prompt and two images.",) if left else ()
    )


def compute(items: Rated, mode: Mode) -> Mapping[str, float]:
    """Size, and the accuracy of the repository's sample judge: over both orders, and right in both."""
    chosen = items.table.filter(human=1.0)
    found = {"pairs": float(len(chosen))}
    votes = chosen.select(_ORDERS)
    values = votes.unpivot().drop_nulls("value")["value"]
    if len(values):
        found["sample judge accuracy"] = 100 * float(values.to_numpy().mean())
        both = votes.drop_nulls().select((pl.col("forward") * pl.col("reverse")).alias("both"))["both"]
        found["sample judge right in both orders"] = 100 * float(both.to_numpy().mean())
    return found


def score(items: Rated, mode: Mode) -> Mapping[str, float]:
    """The share of pairs of which the preferred image scores higher; a score does not depend on an order."""
    return preference_accuracy(items, "human", "pair_id", mode)


BENCHMARK = Benchmark(
    name="mmrb2",
    title="Multimodal RewardBench 2, text-to-image (Hu et al. 2025, arXiv 2512.16899)",
    kind="rated",
    holds="two images of a prompt, and which of them people prefer",
    size="1,000 pairs of images",
    licence="CC-BY-NC-4.0",
    source=Source(
        "facebookresearch/MMRB2",
        "7ff0552cf298441af5ebbabea634b682ef04afee",
        ("benchmark", "evaluate/compute_scores/compute_accuracy.py", _JUDGE),
        hub="rl-research/multimodal-rewardbench-2",
        hub_files=_PARQUET,
        images="build t2i.json and 'images/' as benchmark/README.md says",
    ),
    scores=("accuracy of preferring the chosen image", "accuracy of a judge over both orders"),
    folders=("MMRB2",),
    files=(*_JSON, *_PARQUET),
    met="annotations",
    read=read,
    pairs=pairs,
    compute=compute,
    score=score,
    figures=(
        Figure("pairs", None, "computed here only"),
        Figure("sample judge accuracy", "53.20", "evaluate/README.md, output of compute_accuracy.py"),
        Figure("sample judge right in both orders", None, "computed here only"),
    ),
    parity="A pair to which the metric gives the same score is wrong; by default it counts one half.",
)
