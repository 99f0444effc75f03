"""Batches of scenes: their order, the claims about each image, and all of it as tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from croc.errors import InputError
from crocscore.pretraining.architectures import PATCH, SIDE
from crocscore.pretraining.config import PretrainingConfig
from crocscore.pretraining.scene_arrays import (
    IGNORE,
    SceneArrays,
    count_centres,
    patch_owners,
    patch_shares,
)

if TYPE_CHECKING:
    import torch

GRID = SIDE // PATCH
"""Image tokens in a row."""

CLOSE_UP = 4 * PATCH
"""Side of a close-up of a single thing, in pixels."""

_PROPERTY_OF = {"action": "pose", "front_behind": "depth", "body_part": "part", "thing_part": "part"}
"""For what pairs of prompts differ in, the property of a thing, where it has another name."""

COMPOUND: dict[str, frozenset[str]] = {
    "beside_absence": frozenset(
        {"colour", "count", "presence", "size", "action", "colour_binding", "body_part"}
    ),
    "beside_presence": frozenset({"left_right", "above_below", "colour", "action", "texture", "body_part"}),
    "distribution": frozenset({"colour", "action", "texture", "count"}),
    "negation": frozenset({"colour"}),
    "only": frozenset({"count"}),
    "relation_of_alike": frozenset({"left_right", "above_below", "colour_binding"}),
    "three_things": frozenset({"count", "colour_binding", "size_binding", "texture_binding"}),
}
"""By the name of pairs whose prompts may differ in something that has its own name: these names."""

Claims = list[list[tuple[list[int], list[int]]]]
"""By image, its pairs (true, false) of token ids."""


def with_compound(names: set[str]) -> set[str]:
    """The names, and those of :data:`COMPOUND` whose pairs may differ in one of them."""
    return names | {name for name, differences in COMPOUND.items() if differences & names}


class BatchSampler:
    """Batches of scenes.

    Args:
        scenes: all scenes.
        rows: numbers of the scenes to draw from.
        config: of the stage.
        before: token ids of the question before a prompt.
        after: token ids after it, up to the one at which the answer is read.
    """

    def __init__(
        self,
        scenes: SceneArrays,
        rows: NDArray[np.int64],
        config: PretrainingConfig,
        before: list[int],
        after: list[int],
    ) -> None:
        self.scenes, self.rows, self.config, self.before, self.after = scenes, rows, config, before, after
        left_out = self._known(config.leave_out)
        self.allowed = ~self._is_about(with_compound(left_out))
        self.weight = np.where(self._is_about(self._known(config.downweight)), 0.25, 1.0)
        hidden = {_PROPERTY_OF.get(name, name) for name in left_out}
        columns = scenes.vocabulary.thing
        self.hidden = [k for k, name in enumerate(columns) if name.partition(":")[0] in hidden]

    def _known(self, listed: str) -> set[str]:
        """The names, which are separated by commas, if pairs differ in each of them."""
        names, known = {name for name in listed.split(",") if name}, self.scenes.vocabulary.about
        if unknown := sorted(names - set(known)):
            raise InputError(
                f"no pair of prompts differs in {unknown[0]!r}; expected one of {', '.join(known)}"
            )
        return names

    def _is_about(self, names: set[str]) -> NDArray[np.bool_]:
        """For each pair, whether its name is one of these."""
        about: NDArray[np.bool_] = np.array([name in names for name in self.scenes.vocabulary.about])
        return about[self.scenes.about]

    def batches(self, start: int) -> Iterator[dict[str, Any]]:
        """Endless batches from a step on; the same step gives the same batch."""
        size = self.config.images_per_step
        epoch_steps = max(1, len(self.rows) // size)
        step = start
        while True:
            epoch, offset = divmod(step, epoch_steps)
            order = np.random.default_rng([self.config.seed, epoch]).permutation(self.rows)
            for at in range(offset, epoch_steps):
                rng = np.random.default_rng([self.config.seed, 1, step])
                rows = order[at * size : (at + 1) * size]
                if step < self.config.close_up_steps:
                    yield self.close_ups(rows, rng, 2 * size)
                else:
                    batch = self.batch(rows, rng)
                    if self.config.close_ups_per_step:
                        batch["close_ups"] = self.close_ups(rows, rng, self.config.close_ups_per_step)
                    yield batch
                step += 1

    def labels(self, things: NDArray[np.int64], with_left_out: bool = False) -> torch.Tensor:
        """Labels of the properties of some things, int64 (things, properties)."""
        import torch

        labels = self.scenes.labels[things].astype(np.int64)
        if not with_left_out:
            labels[:, self.hidden] = IGNORE
        return torch.from_numpy(labels)

    def batch(
        self, rows: NDArray[np.int64] | Sequence[int], rng: np.random.Generator, with_left_out: bool = False
    ) -> dict[str, Any]:
        """Tensors of some scenes; ``with_left_out`` includes what training leaves out."""
        import torch

        scenes = self.scenes
        spans = [np.arange(scenes.first[i], scenes.first[i + 1]) for i in rows]
        offsets = np.cumsum([0, *map(len, spans)])
        things = np.concatenate(spans)
        owner = np.stack([patch_owners(scenes.box[span], GRID) for span in spans])
        owner = np.where(owner >= 0, owner + offsets[:-1, None], -1)
        centres = np.stack([count_centres(scenes.box[span], GRID) for span in spans])
        pixels = torch.from_numpy(scenes.pixels[rows]).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        claims, about = [], []
        for i in rows:
            numbers = np.arange(scenes.pairs[i], scenes.pairs[i + 1])
            if not with_left_out:
                numbers = numbers[self.allowed[numbers]]
            # The first pair is the prompt that the image was drawn from, with its contrast.
            keys = rng.exponential(size=len(numbers[1:])) / self.weight[numbers[1:]]
            chosen = [*numbers[:1], *numbers[1:][np.argsort(keys)][: self.config.claims_per_image - 1]]
            claims.append([scenes.pair(k) for k in chosen])
            about += [scenes.about[k] for k in chosen]
        return {
            "pixels": pixels.contiguous(),
            "thing_of_patch": torch.from_numpy(owner),
            "centres": torch.from_numpy(np.minimum(centres, 2)),
            "kind": torch.from_numpy(scenes.kind[things].astype(np.int64)),
            "box": torch.from_numpy(scenes.box[things]),
            "patch_shares": torch.from_numpy(patch_shares(scenes.box[things], GRID)),
            "image_of_thing": torch.from_numpy(np.repeat(np.arange(len(rows)), [len(s) for s in spans])),
            "labels": self.labels(things, with_left_out),
            "whole": torch.from_numpy(scenes.whole[rows].astype(np.int64)),
            "claims": claims,
            "about": about,
        }

    def close_ups(
        self, rows: NDArray[np.int64] | Sequence[int], rng: np.random.Generator, number: int
    ) -> dict[str, Any]:
        """Close-ups of some things of some scenes: each fills most of a small image."""
        import torch
        from torch.nn import functional as F

        scenes = self.scenes
        things = np.concatenate([np.arange(scenes.first[i], scenes.first[i + 1]) for i in rows])
        owner = np.repeat(np.arange(len(rows)), [scenes.first[i + 1] - scenes.first[i] for i in rows])
        chosen = np.sort(rng.permutation(len(things))[:number])
        things, owner = things[chosen], owner[chosen]
        left, top, right, bottom = scenes.box[things].T
        share = np.maximum(np.maximum(right - left, bottom - top) * rng.uniform(1.05, 1.4, len(things)), 0.12)
        shift = rng.uniform(-0.15, 0.15, (2, len(things))) * share
        affine = np.zeros((len(things), 2, 3), dtype=np.float32)
        affine[:, 0, 0] = affine[:, 1, 1] = share
        affine[:, :, 2] = np.stack([left + right - 1, top + bottom - 1], axis=1) + shift.T
        size = [len(things), 3, CLOSE_UP, CLOSE_UP]
        grid = F.affine_grid(torch.from_numpy(affine), size, align_corners=False)
        pixels = torch.from_numpy(scenes.pixels[rows]).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        # One by one, so that an image is not copied for each of its things.
        crops = [
            F.grid_sample(pixels[i : i + 1], grid[k : k + 1], padding_mode="border", align_corners=False)
            for k, i in enumerate(owner)
        ]
        return {
            "close_up_pixels": torch.cat(crops),
            "kind": torch.from_numpy(scenes.kind[things].astype(np.int64)),
            "labels": self.labels(things),
        }

    def pack(self, claims: Claims, image_token: int, image_tokens: int) -> dict[str, torch.Tensor]:
        """All prompts about an image in one row, each of which attends to the image and to itself alone.

        Args:
            claims: by image, its pairs of token ids.
            image_token: id of the token that stands for a patch.
            image_tokens: how many of them an image has.

        Returns:
            ``ids``, ``positions`` and ``next_ids`` (images, tokens), ``mask`` (images, 1, tokens, tokens),
            and ``answer_places`` (prompts, 2): image and place at which each answer is read.
        """
        import torch

        prefix = [image_token] * image_tokens + self.before
        rows = []
        for pairs in claims:
            ids, position, segment = list(prefix), list(range(len(prefix))), [0] * len(prefix)
            ends, next_ids = [], [IGNORE] * len(prefix)
            for number, prompt in enumerate(text for pair in pairs for text in pair):
                # The words of true prompts are also predicted, one by one; false prompts are only judged.
                next_ids += (prompt[1:] if number % 2 == 0 else [IGNORE] * (len(prompt) - 1)) + [IGNORE] * (
                    len(self.after) + 1
                )
                prompt = [*prompt, *self.after]
                ids += prompt
                position += range(len(prefix), len(prefix) + len(prompt))
                segment += [number + 1] * len(prompt)
                ends.append(len(ids) - 1)
            rows.append((ids, position, segment, next_ids, ends))
        width = max(len(row[0]) for row in rows)

        def padded(column: int, filler: int) -> torch.Tensor:
            return torch.tensor([[*row[column], *[filler] * (width - len(row[column]))] for row in rows])

        segments = padded(2, -1)
        place = torch.arange(width)
        visible = (segments[:, :, None] == segments[:, None, :]) | (segments[:, None, :] == 0)
        mask = visible & (place[None, :, None] >= place[None, None, :])
        return {
            "ids": padded(0, 0),
            "positions": padded(1, 0),
            "mask": mask[:, None],
            "next_ids": padded(3, IGNORE),
            "answer_places": torch.tensor([[i, end] for i, row in enumerate(rows) for end in row[4]]),
        }
