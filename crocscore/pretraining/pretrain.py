"""Stage one of the small models: learn to read images from everything that the exact world knows of them.

    python -m crocscore.pretraining.pretrain look --scenes runs/scenes --out runs/tower
    python -m crocscore.pretraining.pretrain read --scenes runs/scenes --start runs/tower --out runs/reader
    python -m crocscore.pretraining.pretrain dual --scenes runs/scenes --start runs/tower --out runs/dual

``look`` trains the image tower alone, first on single things from close by (``--close`` steps), then on whole
scenes: each patch says which thing it shows and where that thing ends, each thing says its properties, the
whole image its place, light and weather. ``read`` puts a language model behind
it that answers Yes or No to many claims about one image in one pass; ``dual`` trains a dual encoder on the
same claims. Each of them also goes on with a model that was trained before, ``look`` with its tower. A run
that was stopped goes on from its last checkpoint. Stage two is ``croc train``.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from croc.checks.schema import stable_hash
from croc.errors import CrocError, InputError
from croc.storage.files import read_json, write_json
from crocscore.pretraining import architectures as tiny
from crocscore.pretraining.pointing import Names
from crocscore.pretraining.sampling import Plan, Sampler
from crocscore.pretraining.scenes import NONE, Scenes, read_scenes, texts_of

if TYPE_CHECKING:
    import torch

HELD_OUT = 768
"""Scenes that are kept for measuring."""


def _modules() -> Any:
    """The training heads and models; made here because torch is imported late."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    def _words(heads: Any, states: Any, labels: Any) -> torch.Tensor:
        losses, weights = [], []
        for column, head in enumerate(heads):
            known = labels[:, column] != NONE
            if known.any():
                losses.append(F.cross_entropy(head(states[known]), labels[known, column], reduction="sum"))
                weights.append(int(known.sum()))
        # Each thing counts alike, however many properties its kind has; parts are most of them.
        return (
            torch.stack(losses).sum() / (sum(weights) ** 0.5 * len(states) ** 0.5)
            if losses
            else states.sum() * 0
        )

    class Look(nn.Module):
        """What patches, things and the whole image say of themselves; thrown away after training."""

        def __init__(self, width: int, scenes: Scenes) -> None:
            super().__init__()
            known = scenes.vocabulary
            self.names = [name.partition(":")[0] for name in known.thing]  # all parts together
            self.norm = nn.LayerNorm(width)
            self.kind = nn.Linear(width, len(known.kinds) + 1)
            self.box = nn.Linear(width, 4)
            self.centre = nn.Linear(width, 3)
            self.thing = nn.ModuleList(nn.Linear(width, len(values)) for values in known.thing.values())
            self.whole = nn.ModuleList(nn.Linear(width, len(values)) for values in known.whole.values())

        def forward(self, states: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            states = self.norm(states)
            whole, patches = states[:, 0], states[:, 1:]
            rows = batch["thing_of_patch"]  # (b, patches): a row of the batch's things, or −1
            seen = rows >= 0
            kinds = torch.where(seen, batch["kind"][rows.clamp(min=0)] + 1, 0)
            loss = F.cross_entropy(self.kind(patches).flatten(0, 1), kinds.flatten())
            # A patch that knows whether a thing has its middle there makes things countable one by one.
            loss = loss + 2 * F.cross_entropy(self.centre(patches).flatten(0, 1), batch["centres"].flatten())
            if seen.any():
                loss = loss + 4 * F.l1_loss(self.box(patches[seen]), batch["box"][rows[seen]])
            loss = loss + self._named(self._things(patches, batch), batch)
            return loss + 0.5 * _words(self.whole, whole, batch["whole"])

        def close(self, states: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            """The loss on single things, one an image."""
            return self._named(self.norm(states[:, 1:]).mean(1), batch)

        def _named(self, things: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            loss = F.cross_entropy(self.kind(things), batch["kind"] + 1)
            return loss + _words(self.thing, things, batch["words"])

        def named(self, states: torch.Tensor, batch: dict[str, torch.Tensor]) -> dict[str, list[bool]]:
            """Whether the patches under each thing's box say its kind together, and its properties."""
            things = self._things(self.norm(states[:, 1:]), batch)
            found = {"kind": (self.kind(things).argmax(-1) == batch["kind"] + 1).tolist()}
            for name, head, labels in zip(self.names, self.thing, batch["words"].T, strict=True):
                known = labels != NONE
                right = head(things[known]).argmax(-1) == labels[known]
                found.setdefault(name, []).extend(right.tolist())
            return found

        def _things(self, patches: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            """Mean of the patches under each thing's box, each by the share of the box that it holds."""
            return (batch["cover"][:, :, None] * patches[batch["image_of_thing"]]).sum(1)

    class Point(nn.Module):
        """What a word of a prompt says of the thing that it names; thrown away after training."""

        def __init__(self, width: int, scenes: Scenes) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(width)
            self.box = nn.Linear(width, 4)
            self.thing = nn.ModuleList(
                nn.Linear(width, len(values)) for values in scenes.vocabulary.thing.values()
            )

        def forward(self, states: torch.Tensor, box: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
            states = self.norm(states)
            return 4 * F.l1_loss(self.box(states), box) + _words(self.thing, states, words)

    return Look, Point


def pair_loss(margins: Any) -> Any:
    """Loss of margins that alternate true, false: Yes and No each, and that the true one is higher."""
    from torch.nn import functional as F

    true, false = margins[0::2], margins[1::2]
    return (F.softplus(-true).mean() + F.softplus(false).mean()) / 2 + 0.5 * F.softplus(false - true).mean()


class Stage:
    """One of the three trainings: its model, its loss, and what is measured."""

    def __init__(self, what: str, scenes: Scenes, words: Any, start: Path | None, plan: Plan) -> None:
        import torch

        torch.manual_seed(plan.seed)
        self.what, self.words, self.plan = what, words, plan
        self.answer = words.convert_tokens_to_ids("<answer>")
        self.yes, self.no = (words.convert_tokens_to_ids(answer) for answer in tiny.ANSWERS)
        self.begun = start is not None and (start / "config.json").is_file()
        paired = what == "dual" or (self.begun and "dual" in read_json(start / "config.json")["model_type"])
        model, self.processor = tiny.dual(words) if paired else tiny.reader(words)
        if self.begun:
            model = type(model).from_pretrained(start, config=model.config, dtype=torch.float32)
        self.model = model
        self.tower = model.vision_model if paired else model.model.vision_model
        look, point = _modules()
        self.look = look(self.tower.config.hidden_sizes[-1], scenes)
        if start is not None:
            self._begin(start)
        self.bias = torch.nn.Parameter(torch.tensor(-2.0))
        if what == "read":
            self.point = point(model.config.text_config.hidden_size, scenes)
            self.names = Names(words, scenes.vocabulary, self.answer)

        def first_ids(names: list[str]) -> torch.Tensor:
            texts = [f" {name.replace('_', ' ')}" for name in names]
            return torch.tensor([ids[0] for ids in words(texts, add_special_tokens=False)["input_ids"]])

        self.kind_ids = first_ids(scenes.vocabulary.kinds)
        self.colour_ids = first_ids(scenes.vocabulary.thing["colour"])
        self.colour_column = list(scenes.vocabulary.thing).index("colour")
        self.model.train()

    def _begin(self, start: Path) -> None:
        from safetensors.torch import load_file

        if not (start / "tower.safetensors").is_file():
            if not self.begun:
                raise InputError(f"{start}: neither tower.safetensors nor a model in it")
            return  # a model that was published: its tower is there, the heads begin anew
        found = load_file(start / "tower.safetensors")
        self.tower.load_state_dict({k[6:]: v for k, v in found.items() if k.startswith("tower.")})
        # Scenes with more values than the tower was trained on have wider heads, which begin anew.
        known = self.look.state_dict()
        heads = {k[5:]: v for k, v in found.items() if k.startswith("look.")}
        fitting = {k: v for k, v in heads.items() if k in known and known[k].shape == v.shape}
        self.look.load_state_dict(known | fitting)

    def take_tower(self, folder: Path) -> None:
        """Take the tower of a reader that was trained, and nothing else of it."""
        wanted = self.model.config.model_type
        kind = read_json(folder / "config.json", "no config.json in it")["model_type"]
        if kind != wanted:
            raise InputError(f"{folder}: the tower of a small reader ({wanted}) is needed, this is a {kind}")
        found = type(self.model).from_pretrained(folder).model.vision_model.state_dict()
        self.tower.load_state_dict(found)

    def named(self) -> dict[str, Any]:
        """All that is trained."""
        if self.what == "look":
            parts = {"tower": self.tower, "look": self.look}
        else:
            parts = {"model": self.model, "look": self.look}
            if self.plan.tower == 0:
                self.tower.requires_grad_(False)
                del parts["look"]
        found = {
            f"{name}.{k}": v
            for name, part in parts.items()
            for k, v in part.named_parameters()
            if v.requires_grad
        }
        if self.what == "read" and self.plan.point:
            found |= {f"point.{k}": v for k, v in self.point.named_parameters()}
        return found | ({"bias": self.bias} if self.what == "dual" else {})

    def states(self, pixels: Any) -> Any:
        """The tower's output: (n, 1 + patches, width)."""
        return self.tower(pixel_values=pixels).last_hidden_state

    def margins(self, states: Any, batch: dict[str, Any], sampler: Sampler) -> Any:
        """Margins of all claims of a batch, true and false in turn."""
        import torch

        if self.what == "dual":
            return self._dual_margins(states, batch)
        model = self.model.model
        seen = model.aligner(states)
        packed = sampler.packed(batch["said"], self.model.config.image_token_id, seen.shape[1])
        embedded = model.get_input_embeddings()(packed["ids"])
        embedded = torch.cat([seen, embedded[:, seen.shape[1] :]], dim=1)
        out = model.language_model(
            inputs_embeds=embedded,
            attention_mask=packed["mask"],
            position_ids=packed["positions"],
            use_cache=False,
            output_hidden_states=self.model.training,
        )
        before_last, out = out.hidden_states[-2] if out.hidden_states else None, out.last_hidden_state
        at = packed["at"]
        self.logits = self.model.lm_head(out[at[:, 0], at[:, 1]])
        if self.model.training:
            self.told = self._told(out, packed["following"])
            self.worded = self._worded(seen[:, 1:], batch)
            self.pointed = self._pointed(before_last, packed["ids"], batch) if self.plan.point else None
        return self.logits[:, self.yes] - self.logits[:, self.no]

    def _told(self, out: Any, following: Any) -> Any:
        """Loss of describing the image: the words of true prompts, each from those before it."""
        from torch.nn import functional as F

        there = following != NONE
        return F.cross_entropy(self.model.lm_head(out[there]), following[there])

    def _worded(self, seen: Any, batch: dict[str, Any]) -> Any:
        """Loss of what patches mean: to the language model, a patch of a red dog is near "red" and "dog"."""
        from torch.nn import functional as F

        rows = batch["thing_of_patch"]
        mine = rows[rows >= 0]
        states = F.rms_norm(seen[rows >= 0], seen.shape[-1:])
        logits = self.model.lm_head(states)
        kind = F.cross_entropy(logits, self.kind_ids[batch["kind"][mine]])
        colours = batch["words"][mine, self.colour_column]
        if (colours == NONE).all():  # they are left out of the training
            return 0.25 * kind
        return 0.25 * (kind + F.cross_entropy(logits, self.colour_ids[colours]))

    def _pointed(self, states: Any, ids: Any, batch: dict[str, Any]) -> Any:
        """Loss of what names mean: at "dog" in a prompt, where the dog is and what it is like in truth.

        It is read before the last layer, which then compares things with each other and with the prompt.
        """
        named = self.names.targets(ids, batch)
        if not len(named["image"]):
            return states.sum() * 0
        return self.point(states[named["image"], named["place"]], named["box"], named["words"])

    def _dual_margins(self, states: Any, batch: dict[str, Any]) -> Any:
        import torch
        from torch.nn import functional as F

        texts = [[*ids, self.words.eos_token_id] for pairs in batch["said"] for pair in pairs for ids in pair]
        width = max(map(len, texts))
        ids = torch.tensor([[*text, *[self.words.pad_token_id] * (width - len(text))] for text in texts])
        mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts])
        text = self.model.text_model(input_ids=ids, attention_mask=mask).pooler_output
        text = F.normalize(self.model.text_projection(text), dim=-1)
        image = self.model.visual_projection(states[:, 0])
        image = F.normalize(image, dim=-1)
        owner = torch.tensor([i for i, pairs in enumerate(batch["said"]) for _ in range(2 * len(pairs))])
        return self.model.logit_scale.exp() * (image[owner] * text).sum(-1) + self.bias

    def loss(self, batch: dict[str, Any], sampler: Sampler) -> tuple[Any, dict[str, float]]:
        """The loss of a batch and its parts."""
        import torch

        if "close" in batch:
            named = self.look.close(self.states(batch["close"]), batch)
            return named, {"close": float(named.detach())}
        with torch.set_grad_enabled(self.plan.tower > 0 or self.what == "look"):
            states = self.states(batch["pixels"])
            looked = self.look(states, batch)
        parts = {"look": float(looked.detach())}
        if self.what == "look":
            return looked, parts
        margins = self.margins(states, batch, sampler)
        paired = pair_loss(margins)
        total = paired + self.plan.look * looked
        if "crops" in batch:
            named = self.look.close(self.states(batch["crops"]["close"]), batch["crops"])
            total = total + self.plan.look * named
            parts["close"] = float(named.detach())
        if self.what == "read":
            # Any other token is wrong too; without this the two answers' logits would drift together.
            all_, both = self.logits, self.logits[:, [self.yes, self.no]]
            total = total + 0.1 * (all_.logsumexp(-1) - both.logsumexp(-1)).mean()
            total = total + self.plan.tell * (self.told + self.worded)
            parts |= {"told": float(self.told.detach()), "worded": float(self.worded.detach())}
            if self.pointed is not None:
                total = total + self.plan.point * self.pointed
                parts["point"] = float(self.pointed.detach())
        parts["pairs"] = float(paired.detach())
        parts["right"] = float((margins[0::2] > margins[1::2]).float().mean())
        return total, parts

    def save(self, out: Path) -> None:
        """Write the model as CROCScore and croc's scorers load it, and the tower with its heads."""
        import torch
        from safetensors.torch import save_file

        out.mkdir(parents=True, exist_ok=True)
        tower = {f"tower.{k}": v.contiguous() for k, v in self.tower.state_dict().items()}
        tower |= {f"look.{k}": v.contiguous() for k, v in self.look.state_dict().items()}
        save_file({k: v for k, v in tower.items() if v.dtype.is_floating_point}, out / "tower.safetensors")
        if self.what != "look" or self.begun:
            # Half the size; scorers and stage two read it as fp32.
            copy.deepcopy(self.model).to(torch.float16).save_pretrained(out)
            self.processor.save_pretrained(out)


def optimiser(named: dict[str, Any], plan: Plan, looking: bool) -> Any:
    """AdamW, with decay on matrices alone."""
    import torch

    groups: dict[tuple[float, float], list[Any]] = defaultdict(list)
    for name, value in named.items():
        trained = "vision" in name or name.startswith("look.")
        share = plan.tower if trained else 1.0
        groups[(1.0 if looking else share), plan.decay if value.ndim >= 2 else 0.0].append(value)
    return torch.optim.AdamW(
        [
            {"params": values, "weight_decay": decay, "share": share}
            for (share, decay), values in groups.items()
        ],
        lr=plan.rate,
        betas=(0.9, 0.98),
        fused=True,
    )


def sampler_of(stage: Stage, scenes: Scenes, rows: np.ndarray) -> Sampler:
    """Batches of some scenes, with the question that the scorer will ask."""
    start, _, end = tiny.QUESTION.partition(" {prompt}")
    before, after = (stage.words(text, add_special_tokens=False)["input_ids"] for text in (start, end))
    return Sampler(scenes, rows, stage.plan, before, [*after, stage.answer])


def measure(stage: Stage, sampler: Sampler, rows: np.ndarray) -> dict[str, float]:
    """How often a true prompt scores above its false one, by what they differ in, on scenes kept apart."""
    import torch

    right: dict[str, list[float]] = defaultdict(list)
    stage.model.eval()
    losses, named = [], defaultdict(list)
    with torch.inference_mode():
        for start in range(0, len(rows), 64):
            chosen = rows[start : start + 64]
            batch = sampler.batch(chosen, np.random.default_rng(start), everything=True)
            states = stage.states(batch["pixels"])
            losses.append(float(stage.look(states, batch)))
            for name, values in stage.look.named(states, batch).items():
                named[name] += values
            if stage.what == "look":
                continue
            margins = stage.margins(states, batch, sampler)
            known = sampler.scenes.vocabulary.about
            names = [known[label] for label in batch["about"]]
            for name, true, false in zip(names, margins[0::2].tolist(), margins[1::2].tolist(), strict=True):
                right[name].append((true > false) + 0.5 * (true == false))
    stage.model.train()
    found = {f"right/{name}": float(np.mean(values)) for name, values in sorted(right.items())}
    if found:
        found["right"] = float(np.mean(list(found.values())))
    found |= {f"seen/{name}": float(np.mean(values)) for name, values in named.items() if values}
    return found | {"look": float(np.mean(losses))}


def train(stage: Stage, scenes: Scenes, held: int, out: Path) -> dict[str, Any]:
    """Train a stage, or go on with it; every measurement is a line of ``log.jsonl``.

    Args:
        stage: what is trained.
        scenes: all scenes; the last ``held`` are kept for measuring.
        held: how many.
        out: the folder.

    Returns:
        The last measurement.
    """
    import torch

    plan = stage.plan
    named = stage.named()
    used = optimiser(named, plan, stage.what == "look")
    sampler = sampler_of(stage, scenes, np.arange(len(scenes) - held))
    kept = np.arange(len(scenes) - held, len(scenes))
    state, step = out / "state.pt", 0
    out.mkdir(parents=True, exist_ok=True)
    if state.is_file():
        found = torch.load(state, weights_only=True)
        if found["plan"] != asdict(plan):
            raise InputError(f"{out} holds a run with another plan: {found['plan']}")
        step = found["step"]
        with torch.no_grad():
            for name, value in named.items():
                value.copy_(found["named"][name])
        used.load_state_dict(found["optimiser"])
    log = (out / "log.jsonl").open("a")
    started, sums, count, last = time.monotonic(), defaultdict(float), 0, {}
    for batch in sampler.batches(step):
        if step >= plan.steps:
            break
        for group in used.param_groups:
            group["lr"] = plan.rate_at(step) * group["share"]
        loss, parts = stage.loss(batch, sampler)
        if not math.isfinite(loss.item()):
            raise CrocError(f"the loss is {loss.item()} at step {step}: lower the rate ({plan.rate:g})")
        for value in named.values():
            value.grad = None
        loss.backward()
        torch.nn.utils.clip_grad_norm_([v for v in named.values() if v.grad is not None], 1.0)
        used.step()
        step, count = step + 1, count + 1
        for name, value in (parts | {"loss": loss.item()}).items():
            sums[name] += value
        measured = step % plan.every == 0 or step == plan.steps
        if measured or step % 50 == 0:
            speed = count * plan.images / (time.monotonic() - started)
            line = {
                "step": step,
                "images/s": round(speed, 1),
                **{k: round(v / count, 4) for k, v in sums.items()},
            }
            if measured:
                last = measure(stage, sampler, kept)
                line |= {f"held/{k}": round(v, 4) for k, v in last.items()}
                torch.save(
                    {
                        "plan": asdict(plan),
                        "step": step,
                        "named": {k: v.detach() for k, v in named.items()},
                        "optimiser": used.state_dict(),
                    },
                    state.with_suffix(".part"),
                )
                state.with_suffix(".part").replace(state)
                stage.save(out)
            log.write(json.dumps(line) + "\n")
            log.flush()
            left = (plan.steps - step) * plan.images / speed
            sys.stderr.write(f"{json.dumps(line)} about {left / 60:.0f} min left\n")
            started, sums, count = time.monotonic(), defaultdict(float), 0
    log.close()
    return last


def prepared(folders: Sequence[Path], files: int | None, start: Path | None) -> tuple[Any, Scenes]:
    """Tokenizer and arrays of folders of scenes, made once and kept in the first.

    A model that is trained on keeps its tokenizer; otherwise the prompts of the scenes make one.
    """
    from transformers import PreTrainedTokenizerFast

    found = [file for folder in folders for file in sorted((folder / "parts").glob("*.parquet"))[:files]]
    if not found:
        raise InputError(f"{folders[0]}: no parts/*.parquet in it; make scenes with builders/scenes.py")
    kept = folders[0] / f"arrays-{tiny.SIDE}-{stable_hash(*(str(file.resolve()) for file in found))[:8]}"
    used = None
    if start is not None and (start / "tokenizer.json").is_file():
        used = PreTrainedTokenizerFast.from_pretrained(start)
    if (kept / "vocabulary.json").is_file():
        words = PreTrainedTokenizerFast.from_pretrained(kept)
        if used is not None and used.get_vocab() != words.get_vocab():
            raise InputError(f"{kept} was written with another vocabulary than that of {start}: remove it")
        return used or words, Scenes.load(kept)
    words = used or tiny.tokenizer(texts_of(found[:40]))
    words.save_pretrained(kept)

    def encode(texts: list[str]) -> list[list[int]]:
        return words(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]

    read_scenes(found, encode, side=tiny.SIDE).save(kept)
    return words, Scenes.load(kept)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=["look", "read", "dual"])
    parser.add_argument(
        "--scenes", type=Path, nargs="+", required=True, help="folders that builders/scenes.py made"
    )
    parser.add_argument("--start", type=Path, help="folder of a trained tower, or of a model to train on")
    parser.add_argument("--out", type=Path, required=True, help="run again to go on")
    parser.add_argument("--files", type=int, help="read so many files of each folder only")
    for name, value in asdict(Plan()).items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    given = parser.parse_args(arguments)
    plan = Plan(**{name: getattr(given, name) for name in asdict(Plan())})
    try:
        words, scenes = prepared(given.scenes, given.files, given.start)
        stage = Stage(given.what, scenes, words, given.start, plan)
        last = train(stage, scenes, min(HELD_OUT, len(scenes) // 10), given.out)
        write_json(given.out / "stage.json", {"what": given.what, "plan": asdict(plan), "held_out": last})
    except CrocError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
