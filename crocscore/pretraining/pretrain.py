"""Pretrain the small models on annotated scenes of the exact world.

    python -m crocscore.pretraining.pretrain tower --scenes scenes --out tower
    python -m crocscore.pretraining.pretrain vlm --scenes scenes --start tower --out vlm
    python -m crocscore.pretraining.pretrain dual-encoder --scenes scenes --start tower --out dual

``tower`` trains the image tower alone, first on close-ups of single things (``--close-up-steps``), then on
whole scenes: each patch predicts which thing it shows and where that thing ends, each thing its properties,
the whole image its place, light and weather. ``vlm`` adds a language model that answers Yes or No to many
claims about one image in one pass; ``dual-encoder`` trains a dual encoder on the same claims. With
``--start`` a stage continues with a trained tower or model. An interrupted run resumes from its last
checkpoint. The next step is ``croc train``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from croc.checks.schema import stable_hash
from croc.errors import CrocError, InputError
from croc.storage.files import write_json
from crocscore.pretraining.architectures import SIDE, train_tokenizer
from crocscore.pretraining.batches import BatchSampler
from crocscore.pretraining.config import PretrainingConfig
from crocscore.pretraining.scene_arrays import SceneArrays, read_prompts, read_scenes
from crocscore.pretraining.stages import STAGES, TOWER, Stage

HELD_OUT = 768
"""Number of scenes that are held out for evaluation, at most a tenth of all."""


def evaluate(stage: Stage, sampler: BatchSampler, rows: NDArray[np.int64]) -> dict[str, float]:
    """Evaluate a stage on held-out scenes.

    Returns:
        ``accuracy/…``: share of the pairs whose true prompt has the higher margin, by what they differ in;
        ``accuracy``: the mean of these; ``tower/…``: share of correct predictions from the tower;
        ``annotation_loss``.
    """
    import torch

    wins: dict[str, list[float]] = defaultdict(list)
    correct: dict[str, list[bool]] = defaultdict(list)
    losses = []
    stage.model.eval()
    with torch.inference_mode():
        for start in range(0, len(rows), 64):
            chosen = rows[start : start + 64]
            batch = sampler.batch(chosen, np.random.default_rng(start), with_left_out=True)
            states = stage.encode_images(batch["pixels"])
            losses.append(float(stage.heads.loss(states, batch)))
            for name, values in stage.heads.correct(states, batch).items():
                correct[name] += values
            if stage.name == TOWER:
                continue
            margins = stage.read_claims(states, batch, sampler).margins
            known = sampler.scenes.vocabulary.about
            names = [known[label] for label in batch["about"]]
            for name, true, false in zip(names, margins[0::2].tolist(), margins[1::2].tolist(), strict=True):
                wins[name].append((true > false) + 0.5 * (true == false))
    stage.model.train()
    measured = {f"accuracy/{name}": float(np.mean(values)) for name, values in sorted(wins.items())}
    if measured:
        measured["accuracy"] = float(np.mean(list(measured.values())))
    measured |= {f"tower/{name}": float(np.mean(values)) for name, values in correct.items() if values}
    return measured | {"annotation_loss": float(np.mean(losses))}


def train(stage: Stage, scenes: SceneArrays, held_out: int, out: Path) -> dict[str, float]:
    """Train a stage, or resume it; progress is written to ``log.jsonl``.

    Args:
        stage: what is trained.
        scenes: all scenes; the last ``held_out`` are used for evaluation alone.
        held_out: how many.
        out: the folder.

    Returns:
        The last evaluation.
    """
    import torch

    config = stage.config
    parameters, optimiser = stage.parameters(), stage.optimiser()
    sampler = stage.sampler(scenes, np.arange(len(scenes) - held_out))
    held_out_rows = np.arange(len(scenes) - held_out, len(scenes))
    state, step = out / "state.pt", 0
    out.mkdir(parents=True, exist_ok=True)
    if state.is_file():
        stored = torch.load(state, weights_only=True)
        if stored["config"] != asdict(config):
            raise InputError(f"{out} contains a run with another configuration: {stored['config']}")
        step = stored["step"]
        with torch.no_grad():
            for name, value in parameters.items():
                value.copy_(stored["parameters"][name])
        optimiser.load_state_dict(stored["optimiser"])
    started, count = time.monotonic(), 0
    sums: dict[str, float] = defaultdict(float)
    last: dict[str, float] = {}
    with (out / "log.jsonl").open("a") as log:
        for batch in sampler.batches(step):
            if step >= config.steps:
                break
            for group in optimiser.param_groups:
                group["lr"] = config.rate_at(step) * group["rate_share"]
            loss, parts = stage.loss(batch, sampler)
            if not math.isfinite(loss.item()):
                raise CrocError(
                    f"the loss is {loss.item()} at step {step}; lower the learning rate"
                    f" ({config.learning_rate:g})"
                )
            for value in parameters.values():
                value.grad = None
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_([v for v in parameters.values() if v.grad is not None], 1.0)
            optimiser.step()
            step, count = step + 1, count + 1
            for name, part in (parts | {"loss": loss.item()}).items():
                sums[name] += part
            evaluates = step % config.evaluate_every == 0 or step == config.steps
            if not evaluates and step % 50:
                continue
            speed = count * config.images_per_step / (time.monotonic() - started)
            line = {
                "step": step,
                "images/s": round(speed, 1),
                **{name: round(total / count, 4) for name, total in sums.items()},
            }
            if evaluates:
                last = evaluate(stage, sampler, held_out_rows)
                line |= {f"held_out/{name}": round(value, 4) for name, value in last.items()}
                torch.save(
                    {
                        "config": asdict(config),
                        "step": step,
                        "parameters": {name: value.detach() for name, value in parameters.items()},
                        "optimiser": optimiser.state_dict(),
                    },
                    state.with_suffix(".part"),
                )
                state.with_suffix(".part").replace(state)
                stage.save(out)
            log.write(json.dumps(line) + "\n")
            log.flush()
            minutes = (config.steps - step) * config.images_per_step / speed / 60
            sys.stderr.write(f"{json.dumps(line)} about {minutes:.0f} min left\n")
            started, sums, count = time.monotonic(), defaultdict(float), 0
    return last


def load_data(folders: Sequence[Path], files: int | None, start: Path | None) -> tuple[Any, SceneArrays]:
    """Tokenizer and arrays of folders of scenes; they are made once and cached in the first folder.

    A model that is continued keeps its tokenizer; otherwise one is trained on the prompts of the scenes.

    Raises:
        InputError: there are no scenes, or the cache was made with another vocabulary.
    """
    from transformers import PreTrainedTokenizerFast

    parts = [file for folder in folders for file in sorted((folder / "parts").glob("*.parquet"))[:files]]
    if not parts:
        raise InputError(f"{folders[0]} has no parts/*.parquet; make scenes with croc build scenes")
    cache = folders[0] / f"arrays-{SIDE}-{stable_hash(*(str(file.resolve()) for file in parts))[:8]}"
    own = None
    if start is not None and (start / "tokenizer.json").is_file():
        own = PreTrainedTokenizerFast.from_pretrained(start)
    if (cache / "vocabulary.json").is_file():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(cache)
        if own is not None and own.get_vocab() != tokenizer.get_vocab():
            raise InputError(f"{cache} was made with another vocabulary than that of {start}: remove it")
        return own or tokenizer, SceneArrays.load(cache)
    tokenizer = own or train_tokenizer(read_prompts(parts[:40]))
    tokenizer.save_pretrained(cache)

    def encode(texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(texts, add_special_tokens=False, return_attention_mask=False)[
            "input_ids"
        ]
        return ids

    read_scenes(parts, encode, side=SIDE).save(cache)
    return tokenizer, SceneArrays.load(cache)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument(
        "--scenes", type=Path, nargs="+", required=True, help="folders that croc build scenes made"
    )
    parser.add_argument("--start", type=Path, help="folder of a trained tower or model to continue with")
    parser.add_argument("--out", type=Path, required=True, help="output folder; run again to resume")
    parser.add_argument("--files", type=int, help="number of files to read in each folder; default: all")
    for name, value in asdict(PretrainingConfig()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    given = parser.parse_args(arguments)
    config = PretrainingConfig(**{name: getattr(given, name) for name in asdict(PretrainingConfig())})
    try:
        tokenizer, scenes = load_data(given.scenes, given.files, given.start)
        stage = Stage(given.stage, scenes, tokenizer, given.start, config)
        last = train(stage, scenes, min(HELD_OUT, len(scenes) // 10), given.out)
        write_json(
            given.out / "stage.json", {"stage": given.stage, "config": asdict(config), "held_out": last}
        )
    except CrocError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
