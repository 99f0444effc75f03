"""Ceilings: the best that scorers can reach that ignore the order of words, numbers, the prompt or the image.

Such a scorer gives equal scores where it sees no difference. An equal comparison is a tie, which counts one
half. Where two directions ask for opposite answers, it can pass only one of them:

- A scorer that sees no difference between the two prompts of a check ties in its text directions, and passes
  its forward or its inverse image direction. For an image-only scorer that holds for all checks.
- A text-only scorer ties in image directions, and passes the forward or the inverse text direction.

So each direction has a ceiling of its own, and the mean over the directions a lower one than the mean of
these. In text directions of syn, the best scorer has the chance level ½, and its scaled accuracy
(a − c)/(1 − c) is 1 less the share of ties: other verdicts that change c lower a − c more than 1 − c.

The ceiling on many checks adds up those of single checks. Some scorer attains it, unless checks that share
prompts or images ask for scores in a circle; see :attr:`Ceiling.attained`.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from croc.checks.decoding import to_bytes
from croc.checks.schema import DIRECTIONS, IMAGE_COLUMNS, PROTOCOLS, Direction
from croc.checks.sources import Checks
from croc.errors import InputError
from croc.storage.files import read_json
from croc.tables.signature import Signature
from croc.verdict.aggregation import nanmean
from croc.verdict.directions import scaled_accuracy, symmetric_chance
from croc.verdict.evaluation import UNNAMED
from croc.verdict.records import Count, Scaled, Share, Stored, Text, optional
from croc.verdict.report import NO_VALUE, Report
from croc.verdict.statistics import Array

TOKENISATION = "lower case, ASCII punctuation removed, split at white space"
"""How a prompt becomes words."""

GROUPS = ("subset", "category", "property")
"""The columns that ceilings are broken down by, where the checks have them."""

# fmt: off
_NUMBERS = {
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty", "dozen",
}
# fmt: on
_SLICE = 16
_TIE = 0.5
Mask = NDArray[np.bool_]


def words(prompt: str) -> list[str]:
    """The words of a prompt, see ``TOKENISATION``."""
    return prompt.lower().translate(str.maketrans("", "", string.punctuation)).split()


def bag_of_words(prompt: str) -> Hashable:
    """The words of a prompt with their counts, without their order."""
    return frozenset(Counter(words(prompt)).items())


def without_numbers(prompt: str) -> Hashable:
    """The words of a prompt in order, with one placeholder for digits and English number words to twenty."""
    return tuple("#" if word in _NUMBERS or re.fullmatch(r"\d+", word) else word for word in words(prompt))


class Kind(NamedTuple):
    """A kind of scorer.

    Attributes:
        name: of the kind.
        sees: what its score depends on.
        text: what it sees of a prompt: prompts with equal values get equal scores.
        image: whether it sees the image.
    """

    name: str
    sees: str
    text: Callable[[str], Hashable]
    image: bool


KINDS = (
    Kind("bag of words", "the words of the prompt, not their order, and the image", bag_of_words, True),
    Kind("numbers ignored", "the prompt without its numbers, and the image", without_numbers, True),
    Kind("text only", "the prompt", lambda prompt: prompt, False),
    Kind("image only", "the image", lambda prompt: "", True),
)


@dataclass(frozen=True)
class Ceiling(Stored):
    """The highest results of a scorer of one kind on one group of checks.

    Attributes:
        scorer: the kind, a name of ``KINDS``.
        group: column that the checks are grouped by; None for all checks.
        group_value: value of that column; None for all checks.
        checks: number of checks.
        same_prompts: number of checks whose two prompts are the same to such a scorer.
        accuracy: per direction, the highest accuracy in that direction alone.
        scaled: per direction, the highest scaled accuracy.
        mean_accuracy: the highest mean accuracy over the directions together.
        mean: the highest mean scaled accuracy over the directions together.
        group_score: the highest share of checks that pass in all directions.
        attained: whether some scorer of the kind reaches the numbers above. Otherwise no scorer exceeds them,
            and it is unknown whether one reaches them: checks that share prompts or images ask for scores in
            a circle, or the sides of checks have different numbers of images.
    """

    scorer: Text
    group: Text | None
    group_value: Text | None
    checks: Count
    same_prompts: Count
    accuracy: Mapping[Direction, Share]
    scaled: Mapping[Direction, Scaled]
    mean_accuracy: Share
    mean: Scaled
    group_score: Share
    attained: bool


@dataclass(frozen=True)
class Ceilings(Stored):
    """The ceilings of a dataset of checks.

    Attributes:
        signature: the settings under which they hold.
        tokenisation: how prompts become words.
        ceilings: those of all checks first, then by group, each in the order of ``KINDS``.
    """

    description: ClassVar[str] = "ceilings"

    signature: Signature
    tokenisation: Text
    ceilings: Annotated[tuple[Ceiling, ...], Field(min_length=1)]

    @property
    def overall(self) -> tuple[Ceiling, ...]:
        """The ceilings on all checks."""
        return tuple(ceiling for ceiling in self.ceilings if ceiling.group is None)

    @property
    def groupings(self) -> dict[str, dict[str, tuple[Ceiling, ...]]]:
        """Per column and value, the ceilings in the order of ``KINDS``."""
        found: dict[str, dict[str, tuple[Ceiling, ...]]] = {}
        for ceiling in self.ceilings:
            if ceiling.group is not None and ceiling.group_value is not None:
                of_column = found.setdefault(ceiling.group, {})
                of_column[ceiling.group_value] = (*of_column.get(ceiling.group_value, ()), ceiling)
        return found


def ceilings(checks: Checks, *, protocol: str | None = None, by: Sequence[str] | None = None) -> Ceilings:
    """Compute the ceilings of a dataset, for the default mode and complete scores.

    Args:
        checks: see :func:`croc.checks.sources.open_checks`.
        protocol: ``syn`` or ``hum``; None takes what the checks show.
        by: columns to break the results down by; None takes those of ``GROUPS`` that have values.

    Raises:
        InputError: there is no check, the protocol is unknown or unclear, or a column has no values.
    """
    from croc import __version__

    if not checks.texts:
        raise InputError(f"{checks.name}: there are no checks")
    protocol = protocol or checks.protocol
    if protocol not in PROTOCOLS:
        raise InputError(f"unknown protocol {protocol!r}; known are {', '.join(PROTOCOLS)}")
    if protocol == "graded":
        raise InputError(f"{checks.name}: graded checks have no directions, and so no ceilings")
    table = _Table.of(checks)
    columns = [name for name in GROUPS if table.has(name)] if by is None else list(dict.fromkeys(by))
    for name in columns:
        if not table.has(name):
            raise InputError(f"{checks.name}: no check has a value in the column {name!r} to group by")
    views = {kind.name: _View.of(table, kind, protocol) for kind in KINDS}
    groups: list[tuple[str | None, str | None, Any]] = [(None, None, np.arange(len(table.prompts)))]
    groups += [(name, value, rows) for name in columns for value, rows in table.groups(name)]
    found = [view.ceiling(name, value, rows) for name, value, rows in groups for view in views.values()]
    signature = Signature.of(
        croc=__version__,
        task="ceilings",
        protocol=protocol,
        mode="default",
        chance="swap,K" if protocol == "syn" else "1/2",
        ties="half",
        average="micro",
        dataset=checks.name,
        dataset_config=checks.config,
        dataset_split=checks.split,
        dataset_revision=checks.revision,
        checks=len(table.prompts),
    )
    return Ceilings(signature, TOKENISATION, tuple(found))


def read_ceilings(path: Path, report: Report) -> Ceilings:
    """Read the JSON of ceilings, to be shown beside a report.

    Raises:
        InputError: the file has no ceilings, or they are of another dataset or protocol than the report.
    """
    found = Ceilings.from_dict(read_json(path, f"{path}: no such file"))
    for key, only in (("mode", "default"), ("average", "micro")):
        if (value := report.signature.get(key)) != only:
            raise InputError(
                f"{path}: ceilings are for the {only} {key}, and the results have the {key} {value}; "
                "evaluate without --paper and --average, or without --ceilings"
            )
    own = {"protocol": report.protocol, "checks": str(report.checks), "dataset": report.dataset.name}
    if report.dataset.name == UNNAMED:
        del own["dataset"]
    for key, value in own.items():
        if found.signature.get(key) != value:
            raise InputError(
                f"{path}: the ceilings have {key} {found.signature.get(key)}, the scores have {value}; "
                "compute the ceilings of the checks that were scored (croc ceilings)"
            )
    return found


@dataclass(frozen=True)
class _Table:
    """What ceilings depend on, for N checks.

    Attributes:
        prompts: of each check; None where there is none.
        contrasts: the contrast prompts.
        images: per check, the digests of the original and of the contrast images.
        columns: N rows: text model and the columns to group by.
    """

    prompts: Sequence[str | None]
    contrasts: Sequence[str | None]
    images: Sequence[tuple[Sequence[bytes], Sequence[bytes]]]
    columns: pl.DataFrame

    @classmethod
    def of(cls, checks: Checks) -> _Table:
        prompts, contrasts, images, rows = [], [], [], []
        for row in _rows(checks):
            prompts.append(row["prompt"])
            contrasts.append(row["contrast_prompt"])
            original, contrast = ([_digest(image) for image in row[side] or ()] for side in IMAGE_COLUMNS)
            images.append((original, contrast))
            named = {name: cell for name, cell in row.items() if isinstance(cell, str | None)}
            rows.append({name: cell for name, cell in named.items() if name not in IMAGE_COLUMNS})
        names = dict.fromkeys(name for row in rows for name in row)
        frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String))
        return cls(prompts, contrasts, images, frame)

    def has(self, name: str) -> bool:
        """Whether some check has a value in a column."""
        return name in self.columns.columns and self.columns[name].count() > 0

    def groups(self, name: str) -> Iterator[tuple[str, Any]]:
        """Each value of a column with the numbers of its checks."""
        values = self.columns[name].fill_null(NO_VALUE)
        for value in values.unique().sort():
            yield value, np.flatnonzero((values == value).to_numpy())


def _rows(checks: Checks) -> Iterator[Mapping[str, Any]]:
    for start in range(0, len(checks.texts), _SLICE):
        yield from checks.read(start, min(start + _SLICE, len(checks.texts)))


def _digest(image: Any) -> bytes:
    try:
        return hashlib.sha256(to_bytes(image)).digest()[:12]
    except InputError as problem:  # an image that cannot be read gets no score from any scorer
        return str(problem).encode()


@dataclass(frozen=True)
class _View:
    """The checks as a scorer of one kind sees them; directions are in the order of ``DIRECTIONS``.

    Attributes:
        kind: of the scorer.
        table: the checks.
        author: (N,) number of the text model of each check.
        keys: (2, N) number of what the scorer sees of the prompt and of the contrast prompt; -1 without one.
        same: (N,) whether both are there and equal.
        known: (4, N) whether the check has a value in each direction.
        value: (4, N) the best verdict in each direction alone.
        chance: (4, N).
        symmetric: (4,), see :func:`croc.verdict.directions.scaled_accuracy`.
        pair: the two directions that ask for opposite answers.
        conflict: (N,) on which checks they do.
    """

    kind: Kind
    table: _Table
    author: NDArray[np.int64]
    keys: NDArray[np.int64]
    same: Mask
    known: Mask
    value: Array
    chance: Array
    symmetric: Mask
    pair: tuple[int, int]
    conflict: Mask

    @classmethod
    def of(cls, table: _Table, kind: Kind, protocol: str) -> _View:
        count = len(table.prompts)
        codes: dict[Hashable, int] = {}
        keys = np.full((2, count), -1)
        for side, prompts in enumerate((table.prompts, table.contrasts)):
            for number, prompt in enumerate(prompts):
                if prompt is not None:
                    keys[side, number] = codes.setdefault(kind.text(prompt), len(codes))
        original, contrast = (np.array([len(of[side]) for of in table.images]) for side in (0, 1))
        first, second, two_sides = keys[0] >= 0, keys[1] >= 0, (original > 0) & (contrast > 0)
        known = np.stack(
            [
                first & second & (original > 0),
                first & second & (contrast > 0),
                first & two_sides,
                second & two_sides,
            ]
        )
        same = (keys[0] == keys[1]) & first
        value, chance = np.ones((4, count)), np.full((4, count), 0.5)
        value[:2, same] = _TIE
        if not kind.image:
            value[2:] = _TIE
        if protocol == "syn":
            total = np.maximum(original + contrast, 1)
            chance[2:] = original / total, contrast / total
        pair = (2, 3) if kind.image else (0, 1)
        blind = same if kind.image else ~same
        authors = table.columns["text_model"] if table.has("text_model") else pl.Series([""] * count)
        return cls(
            kind,
            table,
            authors.fill_null("").rank("dense").to_numpy().astype(np.int64) - 1,
            keys,
            same,
            known,
            value,
            chance,
            symmetric_chance(protocol, paper=False),
            pair,
            blind & known[pair[0]] & known[pair[1]],
        )

    def ceiling(self, group: str | None, group_value: str | None, rows: Any) -> Ceiling:
        """The ceiling on the checks of these rows."""
        known, conflict = self.known[:, rows], self.conflict[rows]
        weights = self._weights(rows)
        value = self._consistent(rows, weights)
        used = known.any(axis=1)
        author = self.author[rows]
        accuracy = np.array([_mean(value[d], known[d], author) for d in range(4)])
        chance = np.array([_mean(self.chance[d, rows], known[d], author) for d in range(4)])
        scaled = scaled_accuracy(accuracy, chance, self.symmetric)
        mean_accuracy, mean, at_end = nanmean(accuracy, 0), nanmean(scaled, 0), True
        if conflict.any():
            first, second = self.pair
            points = _frontier(weights[[first, second]], self.value[:, rows][[first, second]], conflict)
            crossing = _crossings(points, chance[[first, second]])
            together = np.concatenate([points, crossing])
            sums = scaled_accuracy(together, chance[[first, second]], self.symmetric[[first, second]]).sum(
                axis=1
            )
            at_end = bool(max(sums[0], sums[len(points) - 1]) >= sums.max() - 1e-12)
            others = [d for d in range(4) if d not in self.pair]
            mean = (np.nansum(scaled[others]) + sums.max()) / used.sum()
            mean_accuracy = (np.nansum(accuracy[others]) + points.sum(axis=1).max()) / used.sum()
        complete = known[used].all(axis=0)
        passed = (self.value[:, rows][used] == 1).all(axis=0) & ~conflict
        score = passed[complete].mean() if complete.any() else np.nan
        return Ceiling(
            scorer=self.kind.name,
            group=group,
            group_value=group_value,
            checks=len(rows),
            same_prompts=int(self.same[rows].sum()),
            accuracy={d: optional(accuracy[i]) for i, d in enumerate(DIRECTIONS)},
            scaled={d: optional(scaled[i]) for i, d in enumerate(DIRECTIONS)},
            mean_accuracy=optional(mean_accuracy),
            mean=optional(mean),
            group_score=optional(score),
            attained=at_end and self._is_free_of_circles(rows),
        )

    def _weights(self, rows: Any) -> Array:
        """(4, n) the weight of each check in the accuracy of a direction."""
        author, known = self.author[rows], self.known[:, rows]
        weights = np.zeros(known.shape)
        for d in range(4):
            count = np.bincount(author[known[d]], minlength=int(author.max()) + 1)
            weights[d, known[d]] = 1 / count[author[known[d]]] / np.count_nonzero(count)
        return weights

    def _consistent(self, rows: Any, weights: Array) -> Array:
        """The best verdicts (4, n); where text-only scores cannot please two checks, the heavier wins."""
        value = self.value[:, rows].copy()
        if self.kind.image:
            return value
        keys, different = self.keys[:, rows], ~self.same[rows]
        ordered = np.sort(keys, axis=0)
        _, pair = np.unique(ordered[0] * (keys.max() + 2) + ordered[1], return_inverse=True)
        for d in (0, 1):  # the prompt that matches the image has to be higher
            up = keys[d] < keys[1 - d]
            heavier = np.bincount(pair, np.where(up, weights[d], -weights[d]))[pair] >= 0
            value[d, different] = np.where(up == heavier, 1.0, 0.0)[different]
        return value

    def _is_free_of_circles(self, rows: Any) -> bool:
        """Whether some scores satisfy all comparisons of the bounds at once, per side of the conflicts."""
        return self._all_free or self._are_free(rows)

    @cached_property
    def _all_free(self) -> bool:
        return self._are_free(np.arange(len(self.table.prompts)))

    def _are_free(self, rows: Any) -> bool:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        value = self._consistent(rows, self._weights(rows))
        for left_out in self.pair:
            higher, lower, nodes = self._comparisons(rows, value, left_out)
            if any(a == b for a, b in zip(higher, lower, strict=True)):
                return False
            graph = coo_array((np.ones(len(higher), np.int8), (higher, lower)), shape=(nodes, nodes))
            parts, _ = connected_components(graph, directed=True, connection="strong")
            if parts < nodes:
                return False
        return True

    def _comparisons(self, rows: Any, value: Array, left_out: int) -> tuple[list[int], list[int], int]:
        """The scores that have to be higher, those that have to be lower, and how many scores there are.

        Args:
            rows: numbers of the checks.
            value: (4, n) the best verdicts; directions with less than 1 ask for nothing.
            left_out: the direction that gives way where two ask for opposite answers.
        """
        nodes: dict[tuple[int, bytes], int] = {}
        higher: list[int] = []
        lower: list[int] = []

        def score(key: int, image: bytes) -> int:
            return nodes.setdefault((key, image if self.kind.image else b""), len(nodes))

        for place, row in enumerate(rows):
            sides, keys = self.table.images[row], self.keys[:, row]
            for d in range(4):
                if not self.known[d, row] or value[d, place] < 1 or (self.conflict[row] and d == left_out):
                    continue
                own, other = d % 2, 1 - d % 2  # forward directions are about the original prompt and image
                if d < 2:
                    higher += [score(keys[own], image) for image in sides[own]]
                    lower += [score(keys[other], image) for image in sides[own]]
                    continue
                # All own images above all opposing ones, by way of a node between them.
                between = score(-2 - d, str(row).encode())
                higher += [score(keys[own], image) for image in sides[own]] + [between] * len(sides[other])
                lower += [between] * len(sides[own]) + [score(keys[own], image) for image in sides[other]]
        return higher, lower, len(nodes)


def _mean(values: Array, known: Mask, author: NDArray[np.int64]) -> float:
    """The mean over the checks of each text model, then over text models; NaN where there is none."""
    count = np.bincount(author[known])
    total = np.bincount(author[known], values[known])
    return float(nanmean(total / np.where(count == 0, np.nan, count), 0)) if len(count) else float("nan")


def _frontier(weights: Array, value: Array, conflict: Mask) -> Array:
    """(m, 2) the accuracies that two directions can reach together where they conflict.

    The first direction passes none of the conflicting checks in the first row, all of them in the last one.
    Between them it gains checks in the order of what they are worth to it and to the other direction.

    Args:
        weights: (2, n) of the checks.
        value: (2, n) the best verdicts of each direction alone.
        conflict: (n,) the checks of which only one direction can be passed.
    """
    base = (weights * value)[:, ~conflict].sum(axis=1)
    first, second = weights[:, conflict]
    order = np.argsort(-first / (first + second), kind="stable")
    gained, given = (np.concatenate([[0.0], np.cumsum(of[order])]) for of in (first, second))
    return _possible(np.stack([base[0] + gained, base[1] + given[-1] - given], axis=1))


def _possible(accuracy: Array) -> Array:
    """Accuracies without the error of their sums, which may pass 1."""
    return np.clip(accuracy, 0, 1)


def _crossings(points: Array, chance: Array) -> Array:
    """(k, 2) the points between those of a frontier at which a direction is at its chance level."""
    first, second = points.T
    found = []
    if first[0] < chance[0] < first[-1]:
        found.append([chance[0], np.interp(chance[0], first, second)])
    if second[-1] < chance[1] < second[0]:
        found.append([np.interp(chance[1], second[::-1], first[::-1]), chance[1]])
    return np.array(found).reshape(-1, 2)
