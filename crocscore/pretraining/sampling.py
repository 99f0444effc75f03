"""Batches of scenes for stage one: their order, the claims about each image, and all of it as tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from croc.errors import InputError
from crocscore.pretraining import architectures as tiny
from crocscore.pretraining.scenes import NONE, Scenes, centres, covers, owners

if TYPE_CHECKING:
    import torch

GRID = tiny.SIDE // tiny.PATCH
"""Image tokens in a row."""

CLOSE = 4 * tiny.PATCH
"""Pixels of a thing seen from close by."""

_SAID_OF_THINGS = {"action": "pose", "front_behind": "depth", "body_part": "part", "thing_part": "part"}
"""What prompts differ in, and what things say of it, where that is not called the same."""


@dataclass(frozen=True)
class Plan:
    """How a stage is trained.

    Attributes:
        steps: updates.
        images: images a step.
        close: steps of ``look``, out of all, on single things from close by, two for each image.
        crops: single things from close by that a step looks at beside its images, while reading.
        claims: pairs of a true and a false prompt for each image.
        rate: highest learning rate; it rises over ``warmup`` steps and falls linearly to 0 over the last
            ``fall`` of all steps.
        decay: weight decay of matrices.
        look: weight of the loss on patches and things while reading.
        tell: weight of the loss on the words of true prompts.
        point: weight of the loss on the things that the words of prompts name.
        tower: share of the learning rate that a tower gets that was trained before; 0 leaves it as it is.
        seed: of the weights and of the order.
        every: steps between two measurements, each with a checkpoint.
        without: what no pair of prompts may differ in and no thing says of itself, names with commas
            between; it is still measured.
        less: what pairs differ in that are drawn a quarter as often, names with commas between: what is
            easy fills the images otherwise.
    """

    steps: int = 2000
    images: int = 32
    close: int = 0
    crops: int = 0
    claims: int = 5
    rate: float = 2e-3
    warmup: int = 100
    fall: float = 0.6
    decay: float = 0.05
    look: float = 0.3
    tell: float = 0.5
    point: float = 0.0
    tower: float = 0.3
    seed: int = 0
    every: int = 250
    without: str = ""
    less: str = ""

    def rate_at(self, step: int) -> float:
        """The learning rate of a step."""
        left = (self.steps - step) / max(1.0, self.fall * self.steps)
        return self.rate * min(1.0, (step + 1) / self.warmup, max(left, 0.0))


class Sampler:
    """Batches of scenes: the order, the claims of each image, tensors."""

    def __init__(
        self, scenes: Scenes, rows: np.ndarray, plan: Plan, before: list[int], after: list[int]
    ) -> None:
        self.scenes, self.rows, self.plan, self.before, self.after = scenes, rows, plan, before, after
        self.said = ~self._named(plan.without)
        self.weight = np.where(self._named(plan.less), 0.25, 1.0)
        hidden = {_SAID_OF_THINGS.get(name, name) for name in plan.without.split(",")}
        columns = scenes.vocabulary.thing
        self.hidden = [k for k, name in enumerate(columns) if name.partition(":")[0] in hidden]

    def _named(self, said: str) -> np.ndarray:
        """Which pairs differ in one of some names with commas between."""
        names, known = [name for name in said.split(",") if name], self.scenes.vocabulary.about
        for name in names:
            if name not in known:
                raise InputError(f"no pair of prompts differs in {name!r}; there are {', '.join(known)}")
        return np.array([name in names for name in known])[self.scenes.about]

    def batches(self, start: int) -> Iterator[dict[str, Any]]:
        """Endless batches from a step on; the same step gives the same batch."""
        each = self.plan.images
        epoch_steps = max(1, len(self.rows) // each)
        step = start
        while True:
            epoch, place = divmod(step, epoch_steps)
            order = np.random.default_rng([self.plan.seed, epoch]).permutation(self.rows)
            for at in range(place, epoch_steps):
                rng = np.random.default_rng([self.plan.seed, 1, step])
                rows = order[at * each : (at + 1) * each]
                if step < self.plan.close:
                    yield self.close(rows, rng, 2 * self.plan.images)
                else:
                    batch = self.batch(rows, rng)
                    if self.plan.crops:
                        batch["crops"] = self.close(rows, rng, self.plan.crops)
                    yield batch
                step += 1

    def words(self, things: np.ndarray, everything: bool = False) -> torch.Tensor:
        """Labels of the properties of some things, int64 (things, properties)."""
        import torch

        labels = self.scenes.words[things].astype(np.int64)
        if not everything:
            labels[:, self.hidden] = NONE
        return torch.from_numpy(labels)

    def batch(
        self, rows: Sequence[int], rng: np.random.Generator, everything: bool = False
    ) -> dict[str, Any]:
        """Tensors of some scenes; ``everything`` says also what training leaves out."""
        import torch

        scenes = self.scenes
        spans = [np.arange(scenes.first[i], scenes.first[i + 1]) for i in rows]
        offsets = np.cumsum([0, *map(len, spans)])
        things = np.concatenate(spans)
        owner = np.stack([owners(scenes.box[span], GRID) for span in spans])
        owner = np.where(owner >= 0, owner + offsets[:-1, None], -1)
        middles = np.stack([centres(scenes.box[span], GRID) for span in spans])
        pixels = torch.from_numpy(scenes.pixels[rows]).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        said, about = [], []
        for i in rows:
            numbers = np.arange(scenes.pairs[i], scenes.pairs[i + 1])
            if not everything:
                numbers = numbers[self.said[numbers]]
            # The prompt that the image was drawn from comes first, with its contrast.
            late = rng.exponential(size=len(numbers[1:])) / self.weight[numbers[1:]]
            chosen = [*numbers[:1], *numbers[1:][np.argsort(late)][: self.plan.claims - 1]]
            said.append([scenes.pair(k) for k in chosen])
            about += [scenes.about[k] for k in chosen]
        return {
            "pixels": pixels.contiguous(),
            "thing_of_patch": torch.from_numpy(owner),
            "centres": torch.from_numpy(np.minimum(middles, 2)),
            "kind": torch.from_numpy(scenes.kind[things].astype(np.int64)),
            "box": torch.from_numpy(scenes.box[things]),
            "cover": torch.from_numpy(covers(scenes.box[things], GRID)),
            "image_of_thing": torch.from_numpy(np.repeat(np.arange(len(rows)), [len(s) for s in spans])),
            "words": self.words(things, everything),
            "whole": torch.from_numpy(scenes.whole[rows].astype(np.int64)),
            "said": said,
            "about": about,
        }

    def close(self, rows: Sequence[int], rng: np.random.Generator, number: int) -> dict[str, Any]:
        """Some of the single things of some scenes, each filling most of a small image."""
        import torch
        from torch.nn import functional as F

        scenes = self.scenes
        things = np.concatenate([np.arange(scenes.first[i], scenes.first[i + 1]) for i in rows])
        owner = np.repeat(np.arange(len(rows)), [scenes.first[i + 1] - scenes.first[i] for i in rows])
        chosen = np.sort(rng.permutation(len(things))[:number])
        things, owner = things[chosen], owner[chosen]
        left, top, right, bottom = scenes.box[things].T
        share = np.maximum(np.maximum(right - left, bottom - top) * rng.uniform(1.05, 1.4, len(things)), 0.12)
        moved = rng.uniform(-0.15, 0.15, (2, len(things))) * share
        affine = np.zeros((len(things), 2, 3), dtype=np.float32)
        affine[:, 0, 0] = affine[:, 1, 1] = share
        affine[:, :, 2] = np.stack([left + right - 1, top + bottom - 1], axis=1) + moved.T
        grid = F.affine_grid(torch.from_numpy(affine), [len(things), 3, CLOSE, CLOSE], align_corners=False)
        pixels = torch.from_numpy(scenes.pixels[rows]).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        # One by one, so that an image is not copied for each of its things.
        crops = [
            F.grid_sample(pixels[i : i + 1], grid[k : k + 1], padding_mode="border", align_corners=False)
            for k, i in enumerate(owner)
        ]
        return {
            "close": torch.cat(crops),
            "kind": torch.from_numpy(scenes.kind[things].astype(np.int64)),
            "words": self.words(things),
        }

    def packed(
        self, said: list[list[tuple[list[int], list[int]]]], image: int, looking: int
    ) -> dict[str, Any]:
        """All claims about an image in one row, each seeing the image and itself alone.

        Args:
            said: per image its pairs (true, false) of token ids.
            image: token id that stands for a patch.
            looking: how many of them an image has.
        """
        import torch

        prefix = [image] * looking + self.before
        rows = []
        for pairs in said:
            ids, place, part = list(prefix), list(range(len(prefix))), [0] * len(prefix)
            ends, following = [], [NONE] * len(prefix)
            for number, claim in enumerate(text for pair in pairs for text in pair):
                # What is true is also told, word by word; what is false is only judged.
                following += (claim[1:] if number % 2 == 0 else [NONE] * (len(claim) - 1)) + [NONE] * (
                    len(self.after) + 1
                )
                claim = [*claim, *self.after]
                ids += claim
                place += range(len(prefix), len(prefix) + len(claim))
                part += [number + 1] * len(claim)
                ends.append(len(ids) - 1)
            rows.append((ids, place, part, following, ends))
        width = max(len(row[0]) for row in rows)

        def wide(column: int, filler: int) -> torch.Tensor:
            return torch.tensor([[*row[column], *[filler] * (width - len(row[column]))] for row in rows])

        part = wide(2, -1)
        steps = torch.arange(width)
        same = (part[:, :, None] == part[:, None, :]) | (part[:, None, :] == 0)
        mask = same & (steps[None, :, None] >= steps[None, None, :])
        at = torch.tensor([[i, end] for i, row in enumerate(rows) for end in row[4]])
        return {
            "ids": wide(0, 0),
            "positions": wide(1, 0),
            "mask": mask[:, None],
            "following": wide(3, NONE),
            "at": at,
        }
