"""Probes: does a scorer read what people type?

    croc experiment probes crocscore --out runs/probes

``probes.yaml`` holds pairs of texts in groups such as upper case, punctuation, digits and synonyms. Each pair
comes with a scene of the exact world of which the first text is true and the second false. The list is
frozen: :data:`SHA256` is that of the file. No model is trained on its texts, see :func:`is_probe_text`.
"""

from __future__ import annotations

import pkgutil
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, Protocol

import numpy as np
from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from croc.errors import InputError
from croc.jobs.progress import Show
from croc.scorers import Scorer
from croc.scoring.batching import BatchScorer
from croc.storage.files import sha256_of
from croc.storage.text_files import read_yaml, require_kind
from croc.verdict.intervals import intervals
from croc.verdict.records import Count, Share, Stored
from croc.verdict.statistics import Array

PROBES = Path(__file__).with_name("probes.yaml")
"""The list that comes with the package."""

SHA256 = "27c9d55a7a88d8983d7af0bd291e5e9357746d8e0b36d4b1e68ab9d06033885c"
"""SHA-256 of :data:`PROBES`. Figures for another list cannot be compared with published ones."""

WORLD = "croc_syn.world"
"""The exact world, which draws the scenes; this package imports it when probes are drawn."""

LAYOUTS, SIZE = 4, 256
_BATCH = 16  # probes

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


_Text = Annotated[str, Field(pattern=r"\S")]


class _Entry(TypedDict):
    """A probe in the file."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    id: Annotated[str, Field(pattern=r"^[a-z_]+-[0-9]{2}$")]
    draw: _Text
    true_text: _Text
    false_text: _Text


@dataclass(frozen=True)
class Probe:
    """Two texts about the drawings of one scene.

    Attributes:
        id: the group and a number.
        draw: the scene, in the controlled English of the exact world.
        true_text: true of every drawing of the scene.
        false_text: false of every drawing of the scene.
    """

    id: str
    draw: str
    true_text: str
    false_text: str

    @property
    def group(self) -> str:
        """The group, the part of the id before the number."""
        return self.id.rpartition("-")[0]


@dataclass(frozen=True)
class GroupResult(Stored):
    """How a scorer does on one group of probes. Intervals resample probes, not drawings.

    Attributes:
        group: its name; ``all`` for the whole list.
        probes, drawings: their numbers.
        passed: share of the drawings whose true text scores higher than the false one; a tie counts one half.
        ties: share of the drawings with equal scores.
        unscored: drawings without a score for one of the texts; they are left out.
        yes_to_true, yes_to_false: share of the drawings whose true or false text the scorer answers with Yes;
            None for a scorer that gives no answer.
    """

    description: ClassVar[str] = "the result of a group of probes"

    group: str
    probes: Count
    drawings: Count
    passed: Share
    passed_low: Share
    passed_high: Share
    ties: Share
    unscored: Count
    yes_to_true: Share = None
    yes_to_true_low: Share = None
    yes_to_true_high: Share = None
    yes_to_false: Share = None
    yes_to_false_low: Share = None
    yes_to_false_high: Share = None


@dataclass(frozen=True)
class ProbeResult(Stored):
    """The scores of one probe, one per layout; None where the scorer gave none."""

    description: ClassVar[str] = "the scores of a probe"

    id: str
    true_text: str
    false_text: str
    true_scores: list[float | None]
    false_scores: list[float | None]


@dataclass(frozen=True)
class ProbeReport(Stored):
    """The results of a scorer on a list of probes.

    Attributes:
        scorer: its name.
        fields: its settings.
        probes_sha256: of the list.
        world: version of the exact world.
        layouts, seed, size: drawings per probe, first seed, width in pixels.
        yes: what counts as the answer Yes; None if the scorer gives no answers.
        unscored: texts without a score, by the reason.
        groups: the groups of the list, in its order.
        overall: the whole list.
        probes: the scores.
    """

    description: ClassVar[str] = "a report of probes"

    scorer: str
    fields: dict[str, str]
    probes_sha256: str
    world: str
    layouts: Count
    seed: int
    size: Count
    yes: str | None
    unscored: dict[str, Count]
    groups: list[GroupResult]
    overall: GroupResult
    probes: list[ProbeResult]


class Draw(Protocol):
    """Draws a scene."""

    def __call__(self, prompt: str, seed: int, size: int) -> bytes:
        """An image file that shows the prompt; another seed is another layout."""


def load_probes(path: str | Path = PROBES) -> tuple[Probe, ...]:
    """Read a list of probes: a mapping from groups to probes.

    Raises:
        InputError: it cannot be read, has an unknown or missing key, an id that is no number of its group or
            occurs twice, or two texts that say the same.
    """
    path = Path(path)
    groups = require_kind(read_yaml(path), dict[str, list[_Entry]], str(path))
    probes: dict[str, Probe] = {}
    for group, entries in groups.items():
        for number, entry in enumerate(entries, 1):
            where = f"{path}: {group}, entry {number}"
            probe = Probe(entry["id"], entry["draw"], entry["true_text"], entry["false_text"])
            if probe.group != group:
                raise InputError(f"{where}: the id {probe.id!r} must be {group}-NN")
            if probe.id in probes:
                raise InputError(f"{where}: the id {probe.id!r} is taken")
            if fold(probe.true_text) == fold(probe.false_text):
                raise InputError(f"{where}: true_text and false_text say the same")
            probes[probe.id] = probe
    if not probes:
        raise InputError(f"{path}: no probes")
    return tuple(probes.values())


def fold(text: str) -> str:
    """A text without what does not change its meaning: capitals, punctuation, spaces, digits for words.

    >>> fold("  “3 Dogs.”") == fold("three dogs")
    True
    """
    words = re.findall(r"[^\W_]+", text.casefold())
    return " ".join(_NUMBERS[int(word)] if word.isdecimal() and int(word) < 10 else word for word in words)


def is_probe_text(text: str) -> bool:
    """Whether a text is one of the list, :func:`fold` applied; then no model is trained on it."""
    return fold(text) in _folded_texts()


@cache
def _folded_texts() -> frozenset[str]:
    return frozenset(fold(text) for probe in load_probes() for text in (probe.true_text, probe.false_text))


def draw_exact(prompt: str, seed: int, size: int) -> bytes:
    """The drawing of the exact world for a prompt in controlled English, as PNG."""
    png: bytes = pkgutil.resolve_name(f"{WORLD}:draw")(prompt, seed, size=size).png
    return png


def run(
    scorer: Scorer,
    probes: str | Path | Sequence[Probe] = PROBES,
    *,
    layouts: int = LAYOUTS,
    seed: int = 0,
    size: int = SIZE,
    yes_above: float | None = None,
    draw: Draw = draw_exact,
    progress: Show = lambda done, total, note: None,
) -> ProbeReport:
    """Score both texts of every probe with several drawings of its scene.

    Args:
        scorer: any scorer.
        probes: a file, or probes that are read already.
        layouts: drawings per probe.
        seed: of the first drawing; the others have the following ones.
        size: width and height of the drawings in pixels.
        yes_above: the score above which the scorer answers Yes; None takes the probability 0.5 of a scorer
            that has one (a method ``probability_of``).
        draw: what draws a scene.
        progress: shows how many probes are scored.

    Raises:
        InputError: the list is not valid.
    """
    digest = "none"
    if isinstance(probes, str | Path):
        digest = sha256_of(Path(probes))
        probes = load_probes(probes)
    scores = np.full((2, len(probes), layouts), np.nan)
    reasons: Counter[str] = Counter()
    batches = BatchScorer(scorer)
    try:
        for start in range(0, len(probes), _BATCH):
            rows = range(start, min(start + _BATCH, len(probes)))
            cells = {f"{row}-{layout}": (row, layout) for row in rows for layout in range(layouts)}
            files = {key: draw(probes[row].draw, seed + i, size) for key, (row, i) in cells.items()}
            texts = {key: (probes[row].true_text, probes[row].false_text) for key, (row, _) in cells.items()}
            if start == 0:
                batches.self_check(files, texts)
            for (key, text), outcome in batches.score(files, texts).items():
                if isinstance(outcome, str):
                    reasons[outcome] += 1
                else:
                    scores[(texts[key].index(text), *cells[key])] = outcome
            progress(rows.stop, len(probes), "")
    finally:
        batches.close()
    true, false = scores
    yes = _answers(scorer, yes_above)
    by_group = {
        group: [row for row, probe in enumerate(probes) if probe.group == group] for group in _groups(probes)
    }
    return ProbeReport(
        scorer=scorer.name,
        fields=dict(scorer.fields()),
        probes_sha256=digest,
        world=str(pkgutil.resolve_name(f"{WORLD}:VERSION")),
        layouts=layouts,
        seed=seed,
        size=size,
        yes=yes.description if yes else None,
        unscored=dict(reasons),
        groups=[_result(group, true[rows], false[rows], yes) for group, rows in by_group.items()],
        overall=_result("all", true, false, yes),
        probes=[
            ProbeResult(probe.id, probe.true_text, probe.false_text, _known(of_true), _known(of_false))
            for probe, of_true, of_false in zip(probes, true, false, strict=True)
        ],
    )


def _groups(probes: Sequence[Probe]) -> list[str]:
    return list(dict.fromkeys(probe.group for probe in probes))


@dataclass(frozen=True)
class _Answers:
    """How scores become answers: Yes where ``probability`` of a score is above ``above``."""

    probability: Callable[[Array], Array]
    above: float
    description: str

    def __call__(self, scores: Array) -> Array:
        """1 for Yes, 0 for No, NaN where there is no score."""
        return np.where(np.isnan(scores), np.nan, self.probability(scores) > self.above)


def _answers(scorer: Scorer, yes_above: float | None) -> _Answers | None:
    if yes_above is not None:
        return _Answers(lambda scores: scores, yes_above, f"score > {yes_above:g}")
    if (probability := getattr(scorer, "probability_of", None)) is not None:
        return _Answers(probability, 0.5, "probability > 0.5")
    return None


def _result(group: str, true: Array, false: Array, yes: _Answers | None) -> GroupResult:
    """The figures of a group from the scores (probes, layouts) of its true and its false texts."""
    passed = np.where(true == false, 0.5, true > false)
    passed[np.isnan(true) | np.isnan(false)] = np.nan
    shares = {"passed": passed}
    if yes is not None:
        shares |= {"yes_to_true": yes(true), "yes_to_false": yes(false)}
    ends: dict[str, float | None] = {}
    for name, values in shares.items():
        low, high = _interval(values)
        ends |= {name: _mean(values), f"{name}_low": low, f"{name}_high": high}
    return GroupResult(
        group=group,
        probes=len(true),
        drawings=true.size,
        ties=_mean(np.where(np.isnan(passed), np.nan, true == false)),
        unscored=int(np.isnan(passed).sum()),
        **ends,
    )


def _interval(values: Array) -> tuple[float | None, float | None]:
    """The 95 % interval of the mean of (probes, layouts), as :mod:`croc.verdict.intervals` has it."""
    known = (~np.isnan(values)).sum(axis=1).astype(float)
    sums = np.stack([np.nansum(values, axis=1), known / 2, known], axis=-1)
    ends = intervals(sums[:, None, None, None, :], np.array([True]), 0.95).accuracy[:, 0, 0]
    low, high = (None if np.isnan(end) else float(end) for end in ends)
    return low, high


def _mean(values: Array) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmean(values))


def _known(scores: Array) -> list[float | None]:
    return [None if np.isnan(score) else float(score) for score in scores]
