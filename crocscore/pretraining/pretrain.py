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
from croc.errors import CrocError, InputError, exit_status
from croc.scorers.captions import NORMALISED, normalised
from croc.storage.files import atomic, write_json
from crocscore.pretraining.architectures import SIDE, extend_tokenizer, train_tokenizer
from crocscore.pretraining.batches import BatchSampler
from crocscore.pretraining.config import PretrainingConfig
from crocscore.pretraining.scene_arrays import SceneArrays, read_prompts, read_scenes
from crocscore.pretraining.stages import STAGES, TOWER, Stage
from crocscore.probes import SHA256, is_probe_text

HELD_OUT = 768
"""Number of scenes that are held out for evaluation, at most a tenth of all."""

TOKENIZER_PROMPTS = 300_000
"""Number of prompts that a new tokenizer is trained on, at most."""


def evaluate(stage: Stage, sampler: BatchSampler, rows: NDArray[np.int64]) -> dict[str, float]:
    """Evaluate a stage on held-out scenes.

    Returns:
        ``accuracy/…``: share of the pairs whose true prompt has the higher margin, by what they differ in;
        ``accuracy``: the mean of these; ``yes/true`` and ``yes/false``: share of the true and of the false
        prompts with a margin above 0; ``tower/…``: share of correct predictions from the tower;
        ``annotation_loss``.
    """
    import torch

    wins: dict[str, list[float]] = defaultdict(list)
    correct: dict[str, list[bool]] = defaultdict(list)
    yes: dict[str, list[bool]] = defaultdict(list)
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
            yes["true"] += (margins[0::2] > 0).tolist()
            yes["false"] += (margins[1::2] > 0).tolist()
            known = sampler.scenes.vocabulary.about
            names = [known[label] for label in batch["about"]]
            for name, true, false in zip(names, margins[0::2].tolist(), margins[1::2].tolist(), strict=True):
                wins[name].append((true > false) + 0.5 * (true == false))
    stage.model.train()
    measured = {f"accuracy/{name}": float(np.mean(values)) for name, values in sorted(wins.items())}
    if measured:
        measured["accuracy"] = float(np.mean(list(measured.values())))
    measured |= {f"yes/{name}": float(np.mean(values)) for name, values in yes.items()}
    measured |= {f"tower/{name}": float(np.mean(values)) for name, values in correct.items() if values}
    return measured | {"annotation_loss": float(np.mean(losses))}


def train(
    stage: Stage, scenes: SceneArrays, held_out: int, out: Path, *, checkpoint_minutes: float = 10.0
) -> dict[str, float]:
    """Train a stage, or resume it; progress is written to ``log.jsonl``.

    A resumed run gives the same model as an undisturbed one: the checkpoint has weights, optimiser, the state
    of the random numbers and the step, which decides the batch.

    Args:
        stage: what is trained.
        scenes: all scenes; the last ``held_out`` are used for evaluation alone.
        held_out: how many.
        out: the folder.
        checkpoint_minutes: time between two checkpoints; there is one at each evaluation besides.

    Returns:
        The last evaluation.

    Raises:
        InputError: the folder contains a run with another configuration.
    """
    import torch

    config = stage.config
    parameters, optimiser = stage.parameters(), stage.optimiser()
    sampler = stage.sampler(scenes, np.arange(len(scenes) - held_out))
    held_out_rows = np.arange(len(scenes) - held_out, len(scenes))
    state, step, stored = out / "state.pt", 0, None
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
        torch.set_rng_state(stored["random"])
    started, count = time.monotonic(), stored["count"] if stored else 0
    sums: dict[str, float] = defaultdict(float, stored["sums"] if stored else {})
    last: dict[str, float] = stored["last"] if stored else {}
    _keep_lines(out / "log.jsonl", step)
    saved, timed = time.monotonic(), 0
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
            step, count, timed = step + 1, count + 1, timed + 1
            for name, part in (parts | {"loss": loss.item()}).items():
                sums[name] += part
            evaluates = step % config.evaluate_every == 0 or step == config.steps
            if evaluates or step % 50 == 0:
                speed = timed * config.images_per_step / (time.monotonic() - started)
                line = {
                    "step": step,
                    "images/s": round(speed, 1),
                    **{name: round(total / count, 4) for name, total in sums.items()},
                }
                if evaluates:
                    last = evaluate(stage, sampler, held_out_rows)
                    line |= {f"held_out/{name}": round(value, 4) for name, value in last.items()}
                    stage.save(out)
                log.write(json.dumps(line) + "\n")
                log.flush()
                minutes = (config.steps - step) * config.images_per_step / speed / 60
                sys.stderr.write(f"{json.dumps(line)} about {minutes:.0f} min left\n")
                started, sums, count, timed = time.monotonic(), defaultdict(float), 0, 0
            if evaluates or time.monotonic() - saved >= 60 * checkpoint_minutes:
                checkpoint = {
                    "config": asdict(config),
                    "step": step,
                    "parameters": {name: value.detach() for name, value in parameters.items()},
                    "optimiser": optimiser.state_dict(),
                    "random": torch.get_rng_state(),
                    "sums": dict(sums),
                    "count": count,
                    "last": last,
                }
                with atomic(state) as temporary:
                    torch.save(checkpoint, temporary)
                saved = time.monotonic()
    return last


def _keep_lines(log: Path, step: int) -> None:
    """Remove the lines of a log after a step, which a resumed run writes again."""
    if log.is_file():
        lines = [line for line in log.read_text("utf-8").splitlines(keepends=True) if line.endswith("\n")]
        kept = [line for line in lines if json.loads(line)["step"] <= step]
        with atomic(log) as temporary:
            temporary.write_text("".join(kept), "utf-8")


def load_data(folders: Sequence[Path], files: int | None, start: Path | None) -> tuple[Any, SceneArrays]:
    """Tokenizer and arrays of folders of scenes; they are made once and cached in the first folder.

    Pairs with a text of the probes (:mod:`crocscore.probes`) are left out. Prompts are normalised, as the
    scorers normalise them (:func:`croc.scorers.captions.normalised`). The tokenizer of a model that is
    continued is extended by the words that it lacks; otherwise one is trained on the prompts of the scenes.

    Raises:
        InputError: there are no scenes.
    """
    from transformers import PreTrainedTokenizerFast

    parts = [file for folder in folders for file in sorted((folder / "parts").glob("*.parquet"))[:files]]
    if not parts:
        raise InputError(f"{folders[0]} has no parts/*.parquet; make scenes with croc build scenes")
    own = None
    if start is not None and (start / "tokenizer.json").is_file():
        own = PreTrainedTokenizerFast.from_pretrained(start)
    known = "" if own is None else stable_hash(*own.get_vocab())
    key = stable_hash(NORMALISED, SHA256, known, *(str(file.resolve()) for file in parts))
    cache = folders[0] / f"arrays-{SIDE}-{key[:8]}"
    if (cache / "vocabulary.json").is_file():
        return PreTrainedTokenizerFast.from_pretrained(cache), SceneArrays.load(cache)
    texts = [normalised(text) for text in read_prompts(parts)]
    tokenizer = train_tokenizer(texts[:TOKENIZER_PROMPTS]) if own is None else extend_tokenizer(own, texts)
    tokenizer.save_pretrained(cache)

    def encode(texts: list[str]) -> list[list[int]]:
        # With a space before it, as in the question.
        ids: list[list[int]] = tokenizer(
            [f" {normalised(text)}" for text in texts], add_special_tokens=False, return_attention_mask=False
        )["input_ids"]
        return ids

    read_scenes(parts, encode, side=SIDE, excluded=is_probe_text).save(cache)
    return tokenizer, SceneArrays.load(cache)


@exit_status
def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument(
        "--scenes", type=Path, nargs="+", required=True, help="folders that croc build scenes made"
    )
    parser.add_argument("--start", type=Path, help="folder of a trained tower or model to continue with")
    parser.add_argument("--out", type=Path, required=True, help="output folder; run again to resume")
    parser.add_argument(
        "--checkpoint-minutes", type=float, default=10.0, help="time between two checkpoints; default: 10"
    )
    parser.add_argument("--files", type=int, help="number of files to read in each folder; default: all")
    for name, value in asdict(PretrainingConfig()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    given = parser.parse_args(arguments)
    config = PretrainingConfig(**{name: getattr(given, name) for name in asdict(PretrainingConfig())})
    tokenizer, scenes = load_data(given.scenes, given.files, given.start)
    stage = Stage(given.stage, scenes, tokenizer, given.start, config)
    held_out = min(HELD_OUT, len(scenes) // 10)
    last = train(stage, scenes, held_out, given.out, checkpoint_minutes=given.checkpoint_minutes)
    write_json(given.out / "stage.json", {"stage": given.stage, "config": asdict(config), "held_out": last})


if __name__ == "__main__":
    sys.exit(main())
