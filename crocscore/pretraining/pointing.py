"""Which words of a prompt name which things of an image: what a reader is taught about single words.

A claim that is true or false tells a language model one bit; every name in it can be asked where the thing
is, what it is like, and how many there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crocscore.pretraining.scenes import NONE, Vocabulary

if TYPE_CHECKING:
    import torch


class Names:
    """Spellings of kinds and of their parts, as tokens.

    Args:
        words: the tokenizer.
        vocabulary: labels of the kinds and of the properties, ``part:…`` among them.
        end: token id that ends a claim.
    """

    def __init__(self, words: Any, vocabulary: Vocabulary, end: int) -> None:
        self.end = end
        columns = {name: column for column, name in enumerate(vocabulary.thing)}
        kinds = {name: label for label, name in enumerate(vocabulary.kinds)}
        spelled: dict[str, tuple[str, int]] = {}
        # A word that names a kind and a part, as it may, names the kind.
        for name in sorted(vocabulary.names, key=kinds.__contains__):
            meant = ("kind", kinds[name]) if name in kinds else ("part", columns.get(name, NONE))
            if meant[1] != NONE:
                spelled |= dict.fromkeys(vocabulary.names[name], meant)
        texts = [f" {text}" for text in spelled]
        ids = words(texts, add_special_tokens=False)["input_ids"] if texts else []
        self.known: Mapping[tuple[int, ...], tuple[str, int]] = dict(
            zip(map(tuple, ids), spelled.values(), strict=True)
        )
        self.longest = max(map(len, self.known), default=0)

    def find(self, ids: Sequence[int]) -> Iterator[tuple[int, str, int]]:
        """Names in a row of tokens, the longest first: place of the last token, what it names, label."""
        place = 0
        while place < len(ids):
            if ids[place] == self.end:
                yield place, "end", 0
            for length in range(self.longest, 0, -1):
                if (found := self.known.get(tuple(ids[place : place + length]))) is not None:
                    place += length - 1
                    yield place, *found
                    break
            place += 1

    def targets(self, ids: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What the named things of a batch are like.

        A name of several things is asked for the box around all of them and for what they have in common,
        which includes how many they are; a part, for its number on the thing that was named before it in
        the same claim.

        Args:
            ids: (images, tokens).
            batch: ``image_of_thing``, ``kind``, ``box`` and ``words`` of the things of these images.

        Returns:
            ``image`` and ``place``, (names,): where the names end; ``box`` (names, 4) and ``words``
            (names, properties): labels or ``NONE``.
        """
        import torch

        things: dict[tuple[int, int], list[int]] = defaultdict(list)
        for thing, key in enumerate(
            zip(batch["image_of_thing"].tolist(), batch["kind"].tolist(), strict=True)
        ):
            things[key].append(thing)
        groups = {}
        for key, numbers in things.items():
            box, words = batch["box"][numbers], batch["words"][numbers]
            around = torch.cat([box[:, :2].amin(0), box[:, 2:].amax(0)])
            groups[key] = around, torch.where((words == words[0]).all(0), words[0], NONE)
        found: dict[str, list[Any]] = {"image": [], "place": [], "box": [], "words": []}
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
                box, words = last
                if what == "part":
                    words = torch.where(torch.arange(len(words)) == label, words, NONE)
                    if (words == NONE).all():
                        continue
                for name, value in zip(found, (image, place, box, words), strict=True):
                    found[name].append(value)
        return {
            name: torch.stack(values) if values and name in ("box", "words") else torch.tensor(values)
            for name, values in found.items()
        }
