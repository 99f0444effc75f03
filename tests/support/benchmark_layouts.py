"""Small folders in the layouts of others' benchmarks, as the sources that their readers name define them.

``LAYOUTS[NAME](FOLDER)`` writes the benchmark of that name; the items are ours.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from pictures import png
from PIL import Image

from croc.external.benchmarks import sugarcrepe_gpt4v, sugarcrepe_pp, tifa160, vismin
from croc.external.benchmarks.colorswap import MODELS


def put(file: Path, content: Any) -> None:
    """Write a file: bytes, text, or a value as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        file.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV."""
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def archive(file: Path, members: Mapping[str, bytes]) -> None:
    """Write a ZIP archive."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as opened:
        for name, content in members.items():
            opened.writestr(name, content)


# ---- Two captions and two images ----

WINOGROUND = [
    {
        "id": number,
        "caption_0": f"a dog chases {number} cats",
        "caption_1": f"{number} cats chase a dog",
        "image_0": f"ex_{number}_img_0",
        "image_1": f"ex_{number}_img_1",
        "tag": "Adj-Swap",
        "secondary_tag": "",
        "num_main_preds": 1,
        "collapsed_tag": "Object" if number % 2 else "Relation",
    }
    for number in range(6)
]


def winoground(folder: Path) -> None:
    """``data/examples.jsonl`` and ``data/images.zip``."""
    put(folder / "data/examples.jsonl", "".join(json.dumps(example) + "\n" for example in WINOGROUND))
    names = [example[f"image_{side}"] for example in WINOGROUND for side in (0, 1)]
    archive(folder / "data/images.zip", {f"images/{name}.png": png(n) for n, name in enumerate(names)})


def winoground_parquet(folder: Path) -> None:
    """A Parquet file with the images in it."""
    features = {
        "id": datasets.Value("int32"),
        **{f"image_{side}": datasets.Image() for side in (0, 1)},
        **dict.fromkeys(("caption_0", "caption_1", "tag", "collapsed_tag"), datasets.Value("string")),
    }
    rows = [
        {key: example[key] for key in features if not key.startswith("image")}
        | {f"image_{side}": {"bytes": png(2 * n + side), "path": None} for side in (0, 1)}
        for n, example in enumerate(WINOGROUND)
    ]
    (folder / "data").mkdir(parents=True)
    found = datasets.Dataset.from_list(rows, features=datasets.Features(features))
    found.to_parquet(folder / "data/test-00000-of-00001.parquet")


def colorswap(folder: Path) -> None:
    """``vlm_results/`` of the repository, and ``data/test.json`` with ``data/images.zip``."""
    numbers = (9, 11, 19)
    captions = {n: (f"{n} white rafts on blue water", f"{n} blue rafts on white water") for n in numbers}
    for model in MODELS:
        for side, asked in (("text", "image"), ("image", "caption")):
            examples = []
            for n in numbers:
                logs: dict[str, Any] = {}
                for k, right in enumerate("AB" if side == "text" else ("first", "first"), 1):
                    options = {"caption_1": captions[n][0], "caption_2": captions[n][1]}
                    caption = options if side == "text" else {"caption": captions[n][k - 1]}
                    logs[f"log_{k}"] = {**caption, "correct_answer": right}
                    logs[f"response_{asked}_{k}"] = right
                examples.append({"id": n, **logs})
            put(folder / "vlm_results" / f"{side}-{model}-colorswap.json", examples)
    items = [
        {
            "id": n,
            "caption_1": captions[n][0],
            "caption_2": captions[n][1],
            **{f"image_{k}": f"images/img_{n}_{k}.png" for k in (1, 2)},
            "image_source": "midjourney",
            "caption_source": "human",
        }
        for n in numbers
    ]
    put(folder / "data" / "test.json", items)
    archive(
        folder / "data" / "images.zip",
        {f"images/img_{n}_{k}.png": png(n + 100 * k) for n in numbers for k in (1, 2)},
    )


def eqben(folder: Path) -> None:
    """``all_select.json`` and ``images/``; one frame is stored as an array."""
    items = []
    for n, source in enumerate(("eqbensd", "eqbensd", "eqbenkubric_cnt", "eqbenyoucook2")):
        suffix = "npy" if source == "eqbenyoucook2" else "png"
        names = [f"{source}/{n}/{side}.{suffix}" for side in (0, 1)]
        items.append(
            {
                "image0": names[0],
                "image1": names[1],
                "caption0": f"{n} cups",
                "caption1": f"{n} plates and a cup",
            }
        )
        for side, name in enumerate(names):
            content = png(2 * n + side)
            if suffix == "npy":
                buffer = io.BytesIO()
                np.save(buffer, np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))[:, :, ::-1])
                content = buffer.getvalue()
            put(folder / "images" / name, content)
    put(folder / "all_select.json", items)


def naturalbench(folder: Path) -> None:
    """``NaturalBench-Retrieval.zip`` with ``metadata.json`` and ``images/``."""
    items = [
        {
            "index": n,
            "image_0": f"{n}_a.jpg",
            "image_1": f"{n}_b.jpg",
            "caption_0": f"The {n} dogs sit.",
            "caption_1": f"The {n} dogs are running.",
        }
        for n in range(3)
    ]
    root = "NaturalBench-Retrieval"
    images = {f"{root}/images/{n}_{side}.jpg": png(10 * n + len(side)) for n in range(3) for side in "ab"}
    archive(folder / f"{root}.zip", {f"{root}/metadata.json": json.dumps(items).encode(), **images})


def vismin_tables(folder: Path) -> None:
    """``CATEGORY.csv``, ``original_images/`` and ``edited_images/``."""
    for n, category in enumerate(vismin.CATEGORIES):
        rows = [
            {
                "edit_id": k,
                "image_path": f"/{category}/{k}.png",
                "caption": f"A cat, and {k} dogs",
                "edited_image_path": f"/{category}/{k}_edit.png",
                "edited_caption": f"A horse and {k} dogs",
                "category": category,
            }
            for k in range(2)
        ]
        put(folder / f"{category}.csv", table(rows))
        for k in range(2):
            put(folder / "original_images" / category / f"{k}.png", png(20 * n + k))
            put(folder / "edited_images" / category / f"{k}_edit.png", png(20 * n + k + 10))


# ---- Captions of photographs ----


def sugarcrepe(folder: Path) -> None:
    """``data/SPLIT.json`` by number, and photographs in ``val2017/``."""
    for split in sugarcrepe_gpt4v.SPLITS:
        items = {
            str(n): {
                "filename": f"{n:012d}.jpg",
                "caption": f"{n} dogs and a cat.",
                "negative_caption": f"{n} cats and a dog and more." if n else "A cat.",
            }
            for n in range(3)
        }
        put(folder / "data" / f"{split}.json", items)
    for n in range(3):
        put(folder / "val2017" / f"{n:012d}.jpg", png(n))


def sugarcrepe_plus(folder: Path) -> None:
    """``data/SPLIT.json`` as a list, and photographs in ``val2017/``."""
    for split in sugarcrepe_pp.SPLITS:
        items = [
            {
                "id": n,
                "filename": f"{n:012d}.jpg",
                "caption": f"{n} dogs and a cat lie down.",
                "caption2": f"A cat, {n} dogs.",
                "negative_caption": f"{n} cats and a dog.",
            }
            for n in range(3)
        ]
        put(folder / "data" / f"{split}.json", items)
    for n in range(3):
        put(folder / "val2017" / f"{n:012d}.jpg", png(n))


def nlvr(folder: Path) -> None:
    """``dev/dev.json``, a JSON object a line, and ``dev/images/``."""
    lines = []
    for n in range(3):
        for k, label in enumerate(("true", "false", "false")):
            votes = {"r0": label, "r1": "true"}
            example = {"identifier": f"{n}-{k}", "sentence": f"{n} boxes.", "label": label, "evals": votes}
            lines.append(json.dumps(example))
            put(folder / f"dev/images/dev-{n}-{k}-0.png", png(10 * n + k))
    put(folder / "dev/dev.json", "\n".join(lines))


# ---- Images with ratings ----

GENAI = {
    f"{number:05d}": {
        "prompt": f"{number} cats",
        "models": {"DALLE_3": [5, 4, number + 1], "SDXL_Base": [1, 2, 3]},
    }
    for number in range(4)
}


def genai_bench(folder: Path) -> None:
    """``genai_image.json``, and a ZIP archive per model."""
    put(folder / "genai_image.json", GENAI)
    for seed, model in enumerate(("DALLE_3", "SDXL_Base")):
        images = {f"{model}/{prompt}.jpeg": png(10 * seed + n) for n, prompt in enumerate(GENAI)}
        archive(folder / f"{model}.zip", images)


def tifa(folder: Path) -> None:
    """``human_annotations_with_scores.json`` and ``images/``."""
    items = {}
    for n in range(6):
        items[f"coco_{n // 2}_model{n % 2}"] = {
            "text_id": f"coco_{n // 2}",
            "image_path": f"{n}.jpg",
            "text": f"{n // 2} cats",
            "human_scores": [1 + n % 5, 3],
            "human_avg": (4 + n % 5) / 2,
            **dict.fromkeys(tifa160.METRICS, 0.5),
        }
        put(folder / "images" / f"{n}.jpg", png(n))
    put(folder / "human_annotations_with_scores.json", items)


def agiqa(folder: Path) -> None:
    """``data.csv``, and the images in ``AGIQA-3K.zip``."""
    rows = [
        {
            "name": f"{model}_normal_{n:03d}.jpg",
            "prompt": f"{n} men",
            **dict.fromkeys(("adj1", "adj2", "style"), ""),
            "mos_quality": 0.1 * n,
            "std_quality": 0.2,
            "mos_align": 0.2 * n + len(model) / 10,
            "std_align": 0.1,
        }
        for model in ("AttnGAN", "sd1.5")
        for n in range(3)
    ]
    put(folder / "data.csv", table(rows))
    images = {f"AGIQA-3K/{row['name']}": png(n) for n, row in enumerate(rows)}
    archive(folder / "AGIQA-3K.zip", images)


def geneval(folder: Path) -> None:
    """``annotations/annotations_MODEL.csv`` with five lines per image, and ``images/``."""
    for seed, model in enumerate(("clip", "if-xl", "sdv2")):
        rows = []
        for n in range(3):
            path = f"images/{model}/{n:05d}/samples/00001.png"
            put(folder / path, png(10 * seed + n))
            rows += [
                {
                    "HITId": f"H{n}",
                    "Input.index": f"{n}_1",
                    "Input.prompt_id": n,
                    "Input.image_id": 1,
                    "Input.image_url": f"https://huggingface.co/datasets/djghosh/aigen-images/resolve/main/{path}",
                    "Input.caption": f"a photo of {n} cups",
                    "Answer.task-objects": "cup\rplate" if k == 0 else "cup",
                    "Answer.task-quality": 1 + (n + k + seed) % 4,
                }
                for k in range(5)
            ]
        put(folder / f"annotations/annotations_{model}.csv", table(rows).replace('"', "").encode())


def imagereward(folder: Path) -> None:
    """``data/test.json``, and the images in ``test_images.zip``."""
    prompts = []
    images = {}
    for n in range(3):
        names = [f"part-005658/images/{n:04d}/{k}.webp" for k in range(4)]
        prompts.append(
            {"id": f"005658-{n:04d}", "prompt": f"{n} abysses", "generations": names, "ranking": [1, 2, 5, 2]}
        )
        images |= {f"test_images/{name}": png(10 * n + k) for k, name in enumerate(names)}
    put(folder / "data/test.json", prompts)
    archive(folder / "test_images.zip", images)


def hpdv2(folder: Path) -> None:
    """``test.json`` and ``test/``."""
    prompts = []
    for n in range(3):
        names = [f"{n}{k}.jpg" for k in range(4)]
        for k, name in enumerate(names):
            put(folder / "test" / name, png(10 * n + k))
        prompts.append(
            {
                "prompt": f"{n} cows",
                "image_path": names,
                "rank": [1, 2.5, 2.5, 4],
                "raw_annotations": [{"rank": [1, 2, 3, 4], "user_hash": "a"}],
            }
        )
    put(folder / "test.json", prompts)


MMRB2 = [
    {
        "id": f"wise_{n}",
        "prompt_source": "wise",
        "prompt_content": [["text", f"{n} dancers"]],
        "prompt_metadata": {"id": str(n)},
        "response_a": {"model_name": "imagen4", "response_content": [["image", f"images/{n}_0.jpg"]]},
        "response_b": {"model_name": "gpt-image-1", "response_content": [["image", f"images/{n}_1.jpg"]]},
        "chosen": "AB"[n % 2],
        "human_annotations": [2, 2, 1],
    }
    for n in range(4)
]


def mmrb2(folder: Path) -> None:
    """``t2i.json`` and ``images/``, as the repository builds them."""
    put(folder / "t2i.json", {"pairs": MMRB2})
    for n in range(len(MMRB2)):
        for side in (0, 1):
            put(folder / f"images/{n}_{side}.jpg", png(2 * n + side))


def mmrb2_parquet(folder: Path) -> None:
    """The Parquet file of the configuration ``t2i``."""
    text = datasets.Value("string")
    sides = [f"response_{side}" for side in "ab"]
    features = {
        **dict.fromkeys(("pair_id", "prompt_text", "chosen", "human_annotations", "prompt_source"), text),
        "prompt_images": datasets.List(datasets.Image()),
        **{f"{side}_{what}": text for side in sides for what in ("model", "text")},
        **{f"{side}_images": datasets.List(datasets.Image()) for side in sides},
    }
    rows = [
        {
            "pair_id": pair["id"],
            "prompt_text": f"{n} dancers",
            "prompt_images": [],
            "chosen": pair["chosen"].lower(),
            "human_annotations": "[2, 2, 1]",
            "prompt_source": "wise",
            **{f"{side}_model": pair[side]["model_name"] for side in sides},
            **dict.fromkeys((f"{side}_text" for side in sides), "<image_1>"),
            **{f"{side}_images": [{"bytes": png(2 * n + k), "path": None}] for k, side in enumerate(sides)},
        }
        for n, pair in enumerate(MMRB2)
    ]
    (folder / "t2i").mkdir(parents=True)
    found = datasets.Dataset.from_list(rows, features=datasets.Features(features))
    found.to_parquet(folder / "t2i/test-00000-of-00001.parquet")


def evalmuse(folder: Path) -> None:
    """``train_list.json`` and ``images/``."""
    items = []
    for n in range(6):
        name = f"model{n % 2}/{n // 2:05d}.png"
        put(folder / "images" / name, png(n))
        items.append(
            {
                "prompt_id": f"{n // 2:05d}",
                "prompt": f"{n // 2} ladies",
                "type": "real",
                "img_path": name,
                "total_score": [1 + n % 5, 4, 3],
                "element_score": {"ladies (human)": [0, 1, n % 2], "2 (counting)": [1, 1, 1]},
                "promt_meaningless": [0, 0, 0],
                "split_confidence": [1, 1, 1],
                "attribute_confidence": [1, 1, 1],
            }
        )
    put(folder / "train_list.json", items)


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "agiqa3k": agiqa,
    "colorswap": colorswap,
    "eqben": eqben,
    "evalmuse": evalmuse,
    "genai_bench_1600": genai_bench,
    "genai_bench_527": genai_bench,
    "geneval": geneval,
    "hpdv2": hpdv2,
    "imagereward": imagereward,
    "mmrb2": mmrb2,
    "naturalbench": naturalbench,
    "nlvr": nlvr,
    "sugarcrepe": sugarcrepe,
    "sugarcrepe_pp": sugarcrepe_plus,
    "tifa160": tifa,
    "vismin": vismin_tables,
    "winoground": winoground,
}
