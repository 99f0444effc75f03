"""The heads that predict annotations during pretraining; they are discarded afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from crocscore.pretraining.scene_arrays import IGNORE, SceneArrays

if TYPE_CHECKING:
    import torch


def label_loss(heads: Any, states: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of labels, one head for each of their columns; ``IGNORE`` is left out.

    Args:
        heads: a linear layer for each column.
        states: (things, width).
        labels: (things, columns).
    """
    import torch
    from torch.nn import functional as F

    losses, counts = [], []
    for column, head in enumerate(heads):
        known = labels[:, column] != IGNORE
        if known.any():
            losses.append(F.cross_entropy(head(states[known]), labels[known, column], reduction="sum"))
            counts.append(int(known.sum()))
    if not losses:
        return states.sum() * 0
    # Every thing has the same weight, however many properties its kind has; most of them are parts.
    total: torch.Tensor = torch.stack(losses).sum() / (sum(counts) ** 0.5 * len(states) ** 0.5)
    return total


class SceneHeads:
    """Predict what each patch, each thing and the whole image show, from the states of the tower.

    Args:
        width: of the states.
        scenes: whose labels are predicted.
    """

    def __init__(self, width: int, scenes: SceneArrays) -> None:
        from torch import nn

        known = scenes.vocabulary
        self.properties = [name.partition(":")[0] for name in known.thing]  # all parts under one name
        self.layers = nn.ModuleDict(
            {
                "norm": nn.LayerNorm(width),
                "kind": nn.Linear(width, len(known.kinds) + 1),
                "box": nn.Linear(width, 4),
                "centre": nn.Linear(width, 3),
                "thing": nn.ModuleList(nn.Linear(width, len(values)) for values in known.thing.values()),
                "whole": nn.ModuleList(nn.Linear(width, len(values)) for values in known.whole.values()),
            }
        )

    def loss(self, states: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The loss on whole scenes; ``states`` (images, 1 + patches, width)."""
        import torch
        from torch.nn import functional as F

        layers = self.layers
        states = layers["norm"](states)
        whole, patches = states[:, 0], states[:, 1:]
        things = batch["thing_of_patch"]  # (images, patches): number of a thing in the batch, or −1
        covered = things >= 0
        kinds = torch.where(covered, batch["kind"][things.clamp(min=0)] + 1, 0)
        loss = F.cross_entropy(layers["kind"](patches).flatten(0, 1), kinds.flatten())
        # Patches that know whether a thing has its centre there make things countable.
        loss = loss + 2 * F.cross_entropy(layers["centre"](patches).flatten(0, 1), batch["centres"].flatten())
        if covered.any():
            loss = loss + 4 * F.l1_loss(layers["box"](patches[covered]), batch["box"][things[covered]])
        loss = loss + self._thing_loss(self._thing_states(patches, batch), batch)
        return loss + 0.5 * label_loss(layers["whole"], whole, batch["whole"])

    def close_up_loss(self, states: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The loss on close-ups, one thing an image."""
        return self._thing_loss(self.layers["norm"](states[:, 1:]).mean(1), batch)

    def correct(self, states: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> dict[str, list[bool]]:
        """For the kind and each property, whether the prediction for each thing is correct."""
        things = self._thing_states(self.layers["norm"](states[:, 1:]), batch)
        correct = {"kind": (self.layers["kind"](things).argmax(-1) == batch["kind"] + 1).tolist()}
        heads: Any = self.layers["thing"]
        for name, head, labels in zip(self.properties, heads, batch["labels"].T, strict=True):
            known = labels != IGNORE
            right = head(things[known]).argmax(-1) == labels[known]
            correct.setdefault(name, []).extend(right.tolist())
        return correct

    def _thing_loss(self, things: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        from torch.nn import functional as F

        loss = F.cross_entropy(self.layers["kind"](things), batch["kind"] + 1)
        return loss + label_loss(self.layers["thing"], things, batch["labels"])

    def _thing_states(self, patches: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Mean of the patches under the box of each thing, weighted by the share of the box in each."""
        return (batch["patch_shares"][:, :, None] * patches[batch["image_of_thing"]]).sum(1)


class GroundingHeads:
    """Predict box and properties of the thing that a word of a prompt names.

    Args:
        width: of the states.
        scenes: whose labels are predicted.
    """

    def __init__(self, width: int, scenes: SceneArrays) -> None:
        from torch import nn

        self.layers = nn.ModuleDict(
            {
                "norm": nn.LayerNorm(width),
                "box": nn.Linear(width, 4),
                "thing": nn.ModuleList(
                    nn.Linear(width, len(values)) for values in scenes.vocabulary.thing.values()
                ),
            }
        )

    def loss(self, states: torch.Tensor, box: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss on names: ``states`` (names, width), ``box`` (names, 4), ``labels`` (names, columns)."""
        from torch.nn import functional as F

        states = self.layers["norm"](states)
        box_loss: torch.Tensor = 4 * F.l1_loss(self.layers["box"](states), box)
        return box_loss + label_loss(self.layers["thing"], states, labels)
