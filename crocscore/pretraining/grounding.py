"""Grounding: which words of a prompt name which things of an image.

A true or false claim gives a language model one bit. A word that names a thing can be asked for more: where
the thing is, which properties it has, and how many there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crocscore.pretraining.scene_arrays import IGNORE, LabelVocabulary

if TYPE_CHECKING:
    import torch


class NameFinder:
    """Finds the names of kinds and of their parts in token ids.

    Args:
        tokenizer: the tokenizer.
        vocabulary: labels of the kinds and of the properties, ``part:…`` among them.
        end: token id that ends a claim.
    """

    def __init__(self, tokenizer: Any, vocabulary: LabelVocabulary, end: int) -> None:
        self.end = end
        columns = {name: column for column, name in enumerate(vocabulary.thing)}
        kinds = {name: label for label, name in enumerate(vocabulary.kinds)}
        meanings: dict[str, tuple[str, int]] = {}
        # A word that is the name of a kind and of a part counts as the kind: kinds come last and overwrite.
        for name in sorted(vocabulary.names, key=kinds.__contains__):
            meaning = ("kind", kinds[name]) if name in kinds else ("part", columns.get(name, IGNORE))
            if meaning[1] != IGNORE:
                meanings |= dict.fromkeys(vocabulary.names[name], meaning)
        texts = [f" {text}" for text in meanings]
        ids = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        self.names: Mapping[tuple[int, ...], tuple[str, int]] = dict(
            zip(map(tuple, ids), meanings.values(), strict=True)
        )
        self.longest = max(map(len, self.names), default=0)

    def find(self, ids: Sequence[int]) -> Iterator[tuple[int, str, int]]:
        """Names in a row of tokens, the longest first: place of the last token, "kind" or "part", label."""
        place = 0
        while place < len(ids):
            if ids[place] == self.end:
                yield place, "end", 0
            for length in range(self.longest, 0, -1):
                if (meaning := self.names.get(tuple(ids[place : place + length]))) is not None:
                    place += length - 1
                    yield place, *meaning
                    break
            place += 1

    def targets(self, ids: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Boxes and labels of the things that the names of a batch are about.

        The target of a name of several things is the box around all of them, and the labels that they share,
        which include their number. The target of a part is its number on the thing that was named before it
        in the same claim.

        Args:
            ids: (images, tokens).
            batch: ``image_of_thing``, ``kind``, ``box`` and ``labels`` of the things of these images.

        Returns:
            ``image`` and ``place``, (names,): where the names end; ``box`` (names, 4) and ``labels``
            (names, properties).
        """
        import torch

        things: dict[tuple[int, int], list[int]] = defaultdict(list)
        for thing, key in enumerate(
            zip(batch["image_of_thing"].tolist(), batch["kind"].tolist(), strict=True)
        ):
            things[key].append(thing)
        groups = {}
        for key, numbers in things.items():
            box, labels = batch["box"][numbers], batch["labels"][numbers]
            around = torch.cat([box[:, :2].amin(0), box[:, 2:].amax(0)])
            groups[key] = around, torch.where((labels == labels[0]).all(0), labels[0], IGNORE)
        targets: dict[str, list[Any]] = {"image": [], "place": [], "box": [], "labels": []}
        for image, row in enumerate(ids.tolist()):
            last = None
            for place, what, label in self.find(row):
                if what == "end":
                    last = None
                    continue
                if what == "kind":
                    last = groups.get((image, label))
                if last is None:
                    continue
                around, labels = last
                if what == "part":
                    labels = torch.where(torch.arange(len(labels)) == label, labels, IGNORE)
                    if (labels == IGNORE).all():
                        continue
                for name, value in zip(targets, (image, place, around, labels), strict=True):
                    targets[name].append(value)
        return {
            name: torch.stack(values) if values and name in ("box", "labels") else torch.tensor(values)
            for name, values in targets.items()
        }
