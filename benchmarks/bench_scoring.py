"""The scoring engine beside the plain way, in one run on one machine.

Run by hand on a quiet machine::

    python benchmarks/bench_scoring.py                 # everything, about ten minutes on 2 cores
    python benchmarks/bench_scoring.py --only decode   # decode, waiting, dual, prefix

The two ways take turns. Of ``prefix`` the best round of each counts, which other programs disturb least. Of
``decode`` and ``dual`` each round gives a ratio, and the median counts, with the smallest and the largest;
``--repeats 9`` is steadier on a busy machine. There CPU time says more than the clock, and most with one
thread for the model (``--model-threads 1``): several threads wait for each other, and waiting is CPU time.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

SIDE = 512


class Null:
    name = "null"

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> np.ndarray:
        return np.zeros(len(prompts))

    def fields(self) -> dict[str, str]:
        return {}


class Waiting:
    """Takes five milliseconds an image and leaves the cores alone, as a model on another device does."""

    name = "waiting"
    batch_size = 32

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> np.ndarray:
        return self.similarity(self.encode_images(images), self.encode_texts(prompts))

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        time.sleep(0.005 * len(images))
        return np.zeros((len(images), 1))

    def encode_texts(self, prompts: Sequence[str]) -> np.ndarray:
        return np.zeros((len(prompts), 1))

    def similarity(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return (left + right)[:, 0]

    def fields(self) -> dict[str, str]:
        return {}


def photo(seed: int) -> bytes:
    """A JPEG whose size and cost are those of a drawn scene: smooth areas, edges and some grain."""
    rng = np.random.default_rng(seed)
    blocks = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    image = np.asarray(blocks.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.int16)
    grain = rng.integers(-12, 13, image.shape)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(image + grain, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_checks(path: Path, checks: int, k: int) -> list[bytes]:
    """A Parquet file of checks with K images a side; returns the image files in order."""
    import datasets

    from croc.checks.schema import ContrastCheck, check_features

    datasets.disable_progress_bars()
    photos = [photo(seed) for seed in range(50)]
    files, rows = [], []
    for i in range(checks):
        # Bytes behind the end of a JPEG make another file of the same picture, which is quicker to make.
        numbers = [range((2 * i + side) * k, (2 * i + side + 1) * k) for side in range(2)]
        sides = [[photos[n % len(photos)] + n.to_bytes(4, "big") for n in side] for side in numbers]
        files += [file for side in sides for file in side]
        images = [[{"bytes": file, "path": None} for file in side] for side in sides]
        rows.append(
            ContrastCheck(
                check_id=f"c{i}",
                concept_id=f"k{i}",
                prompt=f"a photo of a red dog number {i} on a table",
                contrast_prompt=f"a photo of a blue dog number {i} on a table",
                images=images[0],
                contrast_images=images[1],
                subset="property_variation",
            ).row()
        )
    datasets.Dataset.from_list(rows, features=check_features()).to_parquet(path, batch_size=50)
    return files


def seconds(work: Callable[[], Any]) -> tuple[float, float]:
    """By the clock, and of CPU."""
    start, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - used


def compared(repeats: int, engine: Callable[[], Any], plain: Callable[[], Any]) -> np.ndarray:
    """Best seconds of both: engine by the clock and of CPU, then plain by the clock and of CPU."""
    rounds = [(*seconds(engine), *seconds(plain)) for _ in range(repeats)]
    return np.min(rounds, axis=0)


def round_ratios(repeats: int, engine: Callable[[], Any], plain: Callable[[], Any]) -> np.ndarray:
    """Engine over plain of each round, by the clock and of CPU; plain runs before and after the engine."""
    rounds = []
    before = seconds(plain)
    for _ in range(repeats):
        during, after = seconds(engine), seconds(plain)
        rounds.append(np.divide(during, np.mean([before, after], axis=0)))
        before = after
    return np.array(rounds)


def with_range(values: np.ndarray) -> str:
    return f"{np.median(values):.3f} ({values.min():.3f}–{values.max():.3f})"


def ratio(best: np.ndarray, once: tuple[float, float] = (0.0, 0.0), per: float = 1.0) -> str:
    """How fast the engine is beside the plain way, with and without what is done once a run."""
    clock, cpu = best[2] / best[0] / per, best[3] / best[1] / per
    said = f"{clock:.2f} (CPU time {cpu:.2f})"
    if any(once):
        clock, cpu = best[2] / (best[0] - once[0]) / per, best[3] / (best[1] - once[1]) / per
        said += f", without the self-check, once a run, {clock:.2f} ({cpu:.2f})"
    return said


def self_check(data: Path, scorer: Any, repeats: int) -> tuple[float, float]:
    """Seconds that the comparison with the plain way adds to a run, whose scores it computes in part."""
    from croc.checks.sources import open_checks
    from croc.scoring.batching import BatchScorer
    from croc.scoring.slices import Slice

    first = Slice(open_checks(data).read(0, 2))
    engine = BatchScorer(scorer)
    took = [seconds(partial(engine.self_check, first.files, first.wanted)) for _ in range(repeats)]
    # What the run saves later.
    images, prompts = first_pairs(first)
    if engine.method == "embeddings":
        saved = [seconds(partial(scorer.encode_images, images)) for _ in range(repeats)]
    else:
        saved = [
            seconds(lambda: [scorer.score_prompts(*pair) for pair in zip(images, prompts, strict=True)])
            for _ in range(repeats)
        ]
    engine.close()
    clock, cpu = np.min(took, axis=0) - np.min(saved, axis=0)
    return float(clock), float(cpu)


def first_pairs(first: Any) -> tuple[list[Image.Image], list[list[str]]]:
    """The images and prompts that the comparison with the plain way takes."""
    from croc.checks.decoding import decode

    keys = list(first.files)[:3]
    return [decode(first.files[key]) for key in keys], [first.wanted[key][:2] for key in keys]


def score(data: Path, scorer: Any, **options: Any) -> None:
    from croc.scoring.run import ScoringSettings, score_dataset

    with tempfile.TemporaryDirectory() as out:
        score_dataset(data, [scorer], out, ScoringSettings(progress=False, **options), log=lambda text: None)


def bench_decode(folder: Path, checks: int, repeats: int) -> None:
    from croc.checks.decoding import decode

    data = folder / "checks.parquet"
    files = write_checks(data, checks, 5)
    places = []
    for i, file in enumerate(files):
        places.append(folder / f"{i}.jpg")
        places[-1].write_bytes(file)

    def bare() -> None:
        for place in places:
            decode(place.read_bytes())

    score(data, Null())
    for threads in (1, 2):
        ratios = round_ratios(repeats, partial(score, data, Null(), threads=threads), bare)
        clock, cpu = np.median(ratios, axis=0)
        print(
            f"null scorer, {len(files)} JPEG of {SIDE}², decoding threads {threads}, beside a bare decode "
            f"loop: CPU time {cpu:.2f} ×, throughput {1 / clock:.2f} ×",
            flush=True,
        )


def bench_waiting(folder: Path, checks: int, repeats: int) -> None:
    data = folder / "checks.parquet"
    files = write_checks(data, checks, 5)
    took = min(seconds(lambda: score(data, Waiting()))[0] for _ in range(repeats))
    bare = 0.005 * len(files)
    print(
        f"scorer of 5 ms an image, {len(files)} images: engine {took:.2f} s, scorer {bare:.2f} s, "
        f"overhead {100 * (took / bare - 1):.1f} %",
        flush=True,
    )


def random_clip(width: int, layers: int, patch: int) -> tuple[Any, Any]:
    import torch
    import transformers as tf
    from tiny_models import clip_tokenizer

    tokenizer = clip_tokenizer()
    torch.manual_seed(0)
    text = dict(
        hidden_size=512,
        intermediate_size=2048,
        num_hidden_layers=12,
        num_attention_heads=8,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = dict(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        image_size=224,
        patch_size=patch,
    )
    model = tf.CLIPModel(tf.CLIPConfig(text_config=text, vision_config=vision)).eval()
    images = tf.CLIPImageProcessorPil(
        size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224}, do_convert_rgb=True
    )
    return model, tf.CLIPProcessor(images, tokenizer)


def forward(model: Any, pixels: Any, ids: Any, images: int, texts: int) -> None:
    """The encoders alone, on tensors that are there already."""
    import torch

    with torch.inference_mode():
        for start in range(0, images, len(pixels)):
            model.get_image_features(pixel_values=pixels[: min(len(pixels), images - start)])
        for start in range(0, texts, len(ids)):
            model.get_text_features(input_ids=ids[: min(len(ids), texts - start)])


def pair_by_pair(scorer: Any, files: Sequence[bytes]) -> None:
    """What peers do: every image is encoded again for each prompt."""
    for start in range(0, len(files), 10):
        images = [Image.open(io.BytesIO(file)).convert("RGB") for file in files[start : start + 10]]
        scorer.score(images * 2, ["a photo of a red dog on a table"] * 10 + ["a blue dog"] * 10)


def bench_dual(folder: Path, checks: int, repeats: int) -> None:
    import torch

    from croc.checks.decoding import decode
    from croc.scorers.dual_encoder import DualEncoder

    data = folder / "checks.parquet"
    for name, width, layers, patch, share in (("B/32", 768, 12, 32, 1.0), ("B/16", 768, 12, 16, 0.4)):
        files = write_checks(data, max(4, round(checks * share)), 5)
        model, processor = random_clip(width, layers, patch)
        scorer = DualEncoder(model, processor=processor, formula="clipscore", batch_size=32)
        pixels = torch.randn(32, 3, 224, 224)
        texts = len(files) // 5
        # As many tokens as the checks' prompts have.
        ids = torch.randint(0, 500, (32, len(scorer._ids("a photo of a red dog number 10 on a table")[0])))

        bare = partial(forward, model, pixels, ids, len(files), texts)
        score(data, scorer)
        clock, cpu = (1 / round_ratios(repeats, partial(score, data, scorer), bare)).T
        encoded = seconds(bare)[1]
        some = files[:40]
        decoded = seconds(partial(list, map(decode, some)))[1] * len(files) / len(some)
        images = [decode(file) for file in some]
        prepared = seconds(partial(list, map(scorer.prepare_image, images)))[1]
        prepared *= len(files) / len(some)
        once = self_check(data, scorer, repeats)[1]
        pairwise = seconds(partial(pair_by_pair, scorer, some))[1] * len(files) / len(some)
        print(
            f"CLIP {name} of random weights, {len(files)} images, batch 32, {torch.get_num_threads()} model "
            f"threads: throughput {with_range(clock)} of the bare forward, by CPU time {with_range(cpu)}. "
            f"CPU time, with the forward as 1: decoding {decoded / encoded:.3f}, preprocessing "
            f"{prepared / encoded:.3f}, comparison with plain scoring (once a run) {once / encoded:.3f}; "
            f"pair by pair takes {pairwise / encoded * np.median(cpu):.1f} × the engine's",
            flush=True,
        )


def bench_prefix(folder: Path, checks: int, repeats: int) -> None:
    import torch
    import transformers as tf
    from tiny_models import llava

    from croc.scorers.vqa import VqaScore

    _, processor = llava()
    torch.manual_seed(0)
    processor.image_processor.size = {"height": 336, "width": 336}
    processor.patch_size = 14
    tokenizer = processor.tokenizer
    model = tf.LlavaForConditionalGeneration(
        tf.LlavaConfig(
            vision_config=dict(
                model_type="siglip_vision_model",
                hidden_size=192,
                intermediate_size=512,
                num_hidden_layers=4,
                num_attention_heads=4,
                image_size=336,
                patch_size=14,
                vision_use_head=False,
            ),
            text_config=dict(
                model_type="llama",
                vocab_size=len(tokenizer),
                hidden_size=512,
                intermediate_size=1408,
                num_hidden_layers=10,
                num_attention_heads=8,
                num_key_value_heads=8,
                max_position_embeddings=2048,
            ),
            image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
            vision_feature_select_strategy="full",
            vision_feature_layer=-1,
        )
    ).eval()
    scorer = VqaScore(model, processor=processor, batch_size=4)
    data = folder / "checks.parquet"
    files = write_checks(data, checks, 2)
    prompts = ["a photo of a red dog number 1 on a table", "a photo of a blue dog number 1 on a table"]

    def plain() -> None:
        for start in range(0, len(files), 2):
            images = [Image.open(io.BytesIO(file)).convert("RGB") for file in files[start : start + 2]]
            scorer.score([images[0], images[0], images[1], images[1]], prompts * 2)

    suffix = len(scorer._suffix(prompts[0]))
    prefix = (336 // 14) ** 2 + 10
    ceiling = 2 * (prefix + suffix) / (prefix + 2 * suffix)
    best = compared(repeats, lambda: score(data, scorer), plain)
    once = self_check(data, scorer, repeats)
    print(
        f"LLaVA of random weights, {prefix} prefix and {suffix} suffix tokens, {len(files)} images × 2 "
        f"prompts: engine {best[0]:.2f} s, pair by pair {best[2]:.2f} s, {ratio(best)} × as fast; the token "
        f"counts allow 2 (p + s) / (p + 2 s) = {ceiling:.2f}; share of that {ratio(best, once, ceiling)}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    benches = {
        "decode": (bench_decode, 150),
        "waiting": (bench_waiting, 200),
        "dual": (bench_dual, 20),
        "prefix": (bench_prefix, 15),
    }
    parser.add_argument("--only", choices=benches)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model-threads", type=int, help="threads of torch; default: one per core")
    arguments = parser.parse_args()
    if arguments.model_threads is not None:
        import torch

        torch.set_num_threads(arguments.model_threads)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name, (bench, checks) in benches.items():
        if arguments.only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                bench(Path(folder), checks, arguments.repeats)


if __name__ == "__main__":
    main()
