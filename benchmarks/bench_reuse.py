"""The CPU time of each family of scorers, as the engine runs it and pair by pair.

Run by hand::

    python benchmarks/bench_reuse.py                # writes the table of docs/scorers.md; minutes on 2 cores
    python benchmarks/bench_reuse.py --only siglip  # prints one row, writes nothing

Each scorer gets the same images and prompts three times in turn: as the engine runs it (image features,
prompt features or the state after the image computed once), in batches with every pair computed separately,
and one pair after the other. The models are the real classes with few layers and random weights, so that the
shares are those of small models: with a published model the image is a larger part of the work, and reuse
saves more. The two models of the package are themselves.
"""

from __future__ import annotations

import argparse
import io
import json
import runpy
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

STORED = ROOT / "docs" / "reuse.json"
NOT_MEASURED = {
    "croc.scorers.api:ApiVqaScore": "an endpoint computes",
    "croc.scorers.api_rating:ApiRatingJudge": "an endpoint computes",
    "croc.scorers.api_pairwise:ApiPairwiseJudge": "an endpoint computes",
    "croc.scorers.pairwise:PairwiseJudge": "it gives no scores",
    **dict.fromkeys(
        (
            f"croc.scorers.baselines:{name}"
            for name in ["Constant", "ImageOnly", "PromptLength", "Random", "TextOnly"]
        ),
        "a baseline takes no time beside decoding its image",
    ),
}
"""Families of entries that are not in the table, and why."""


def families() -> dict[str, Callable[[], Any]]:
    """A scorer of each family, created when it is measured."""
    import tiny_clip_flant5
    import tiny_image_reward
    import tiny_models as tiny
    import tiny_vision_language as larger

    from croc.scorers.bvqa import BlipVqa
    from croc.scorers.clip_flant5 import ClipFlanT5
    from croc.scorers.dual_encoder import DualEncoder
    from croc.scorers.image_reward import ImageReward
    from croc.scorers.itm import ImageTextMatching
    from croc.scorers.question_list import QuestionList
    from croc.scorers.rating import RatingJudge
    from croc.scorers.registry import load
    from croc.scorers.vqa import VqaScore
    from croc.scorers.yes_no import YesNo

    def of(family: Any, build: Callable[[], tuple[Any, Any]], **options: Any) -> Any:
        model, processor = build()
        return family(model, processor=processor, **options)

    def of_files(family: Any, save: Callable[[Path], dict[str, str]]) -> Any:
        return family(**save(Path(tempfile.mkdtemp()) / "model"), device="cpu")

    return {
        "CLIPScore (CLIP)": partial(of, DualEncoder, tiny.clip, formula="clipscore"),
        "PickScore (CLIP, logit)": partial(of, DualEncoder, tiny.clip, formula="logit"),
        "HPSv2 (CLIP, letterbox)": partial(of, DualEncoder, tiny.clip, framing="letterbox"),
        "SigLIP": partial(of, DualEncoder, tiny.siglip, formula="logit"),
        "ALIGN": partial(of, DualEncoder, tiny.align),
        "BLIP-ITM": partial(of, ImageTextMatching, tiny.blip_itm),
        "BLIP2-ITM": partial(of, ImageTextMatching, tiny.blip2_itm),
        "BVQA (BLIP-VQA)": partial(
            of, BlipVqa, tiny.blip_vqa, chunker="rules", image_side=None, decimals=None
        ),
        "ImageReward": partial(of_files, ImageReward, tiny_image_reward.published),
        "VQAScore, CLIP-FlanT5": partial(of_files, ClipFlanT5, tiny_clip_flant5.save),
        "VQAScore, LLaVA": partial(of, VqaScore, tiny.llava),
        "VQAScore, SmolVLM": partial(of, VqaScore, tiny.smolvlm),
        "VQAScore, Qwen2.5-VL": partial(of, VqaScore, tiny.qwen2_5_vl),
        "VQAScore, Qwen3-VL": partial(of, VqaScore, tiny.qwen3_vl),
        "VQAScore, Gemma 3": partial(of, VqaScore, tiny.gemma3),
        "VQAScore, InternVL3": partial(of, VqaScore, larger.internvl),
        "VQAScore, LLaVA-OneVision": partial(of, VqaScore, larger.llava_onevision),
        "VQAScore, InstructBLIP": partial(of, VqaScore, tiny.instructblip),
        "yes/no margin, LLaVA": partial(of, YesNo, tiny.llava),
        "yes/no margin, Phi-4-multimodal": partial(of, YesNo, tiny.phi4_multimodal),
        "rating judge, Qwen2.5-VL": partial(of, RatingJudge, tiny.qwen2_5_vl),
        "question list, Qwen2.5-VL": lambda: of(QuestionList, tiny.qwen2_5_vl, questions=questions()),
        "crocscore": partial(load, "crocscore"),
        "crocscore-dual": partial(load, "crocscore-dual"),
        "colour-words": partial(load, "colour-words"),
    }


def questions() -> Path:
    """A file with five questions about each prompt of :func:`checks`, one of them other than in its pair."""
    facts = ("a ball", "a table", "a number on the ball", "nothing but the ball on the table")
    rows = [
        {"prompt": prompt, "question": f"Is there {fact}?"}
        for number in range(1000)
        for prompt in prompts_of(number)
        for fact in (*facts, prompt)
    ]
    path = Path(tempfile.mkdtemp()) / "questions.json"
    path.write_text(json.dumps(rows), "utf-8")
    return path


def prompts_of(check: int) -> list[str]:
    """The two prompts of a check."""
    return [f"a {colour} ball number {check} on a table" for colour in ("red", "blue")]


def checks(count: int) -> tuple[dict[str, bytes], dict[str, list[str]]]:
    """Image files, and the two prompts of each; the ten images of a check have the same two."""
    import tiny_models as tiny

    files, wanted = {}, {}
    for i in range(10 * count):
        buffer = io.BytesIO()
        tiny.picture(i, (128, 128)).save(buffer, "PNG")
        files[f"k{i}"] = buffer.getvalue()
        wanted[f"k{i}"] = prompts_of(i // 10)
    return files, wanted


def measure(scorer: Any, count: int, repeats: int) -> dict[str, Any]:
    """The row of a scorer.

    Returns:
        ``family`` (module and class), ``method`` of the engine; for each round the shares of CPU time that it
        saves, ``saved_batches`` compared with batches in which every pair is computed separately and
        ``saved_alone`` compared with one pair after the other; ``difference`` of the scores of engine and
        batches, relative to their spread.
    """
    from croc.checks.decoding import decode
    from croc.scoring.batching import BatchScorer

    files, wanted = checks(count)
    reusing, plain = BatchScorer(scorer, threads=1), BatchScorer(scorer, threads=1)
    plain.method, plain._prepare = "pairs", None

    def alone() -> None:
        for key, prompts in wanted.items():
            image = decode(files[key])
            for prompt in prompts:
                scorer.score([image], [prompt])

    arms = {
        "engine": lambda: reusing.score(files, wanted),
        "batches": lambda: plain.score(files, wanted),
        "alone": alone,
    }
    scores = [arms[name]() for name in ("engine", "batches")]
    with_reuse, without = (np.array([found[pair] for pair in scores[1]], dtype=float) for found in scores)
    spread = float(without.std()) or 1.0
    saved: dict[str, list[float]] = {"batches": [], "alone": []}
    for number in range(repeats):
        used = {}
        for name in np.roll(list(arms), number):
            start = time.process_time()
            arms[name]()
            used[name] = time.process_time() - start
        for name, shares in saved.items():
            shares.append(round(1 - used["engine"] / used[name], 3))
    for engine in (reusing, plain):
        engine.close()
    return {
        "family": f"{type(scorer).__module__}:{type(scorer).__qualname__}",
        "method": reusing.method,
        **{f"saved_{name}": shares for name, shares in saved.items()},
        "difference": float(f"{np.abs(with_reuse - without).max() / spread:.0e}"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="measure only families whose name contains this, and write nothing")
    parser.add_argument("--checks", type=int, default=2, help="of ten images each")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    import torch

    # Threads that wait for each other use CPU time.
    torch.set_num_threads(1)
    rows = []
    for name, build in families().items():
        if (arguments.only or "").lower() not in name.lower():
            continue
        rows.append({"name": name, **measure(build(), arguments.checks, arguments.repeats)})
        print(json.dumps(rows[-1]), flush=True)
    if arguments.only is None:
        STORED.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
        runpy.run_path(str(ROOT / "docs" / "generate_tables.py"), run_name="__main__")


if __name__ == "__main__":
    main()
