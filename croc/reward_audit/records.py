"""What an audit of a reward finds, one record per metric."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from croc.tables.signature import Signature
from croc.verdict.intervals import Estimate

FORMAT = "croc audit-reward"
"""What the JSON says that it is."""


@dataclass(frozen=True)
class SearchResult:
    """What an optimiser without gradients found that maximises the metric.

    Attributes:
        prompts: number of prompts.
        images: number of images that were scored.
        right: share of the prompts whose image with the highest score is right.
        gap: mean of the highest score of a wrong image minus that of a right one, in standard deviations of
            the scores of the pool; above 0 an optimiser is rewarded for a wrong image.
        gained: mean of how much higher the highest score of a wrong image is after the search than in the
            pool, in the same unit.
        changes: number of changes of each kind in the wrong images that scored higher than all right ones.
    """

    prompts: int
    images: int
    right: Estimate
    gap: Estimate
    gained: float
    changes: Mapping[str, int]


@dataclass(frozen=True)
class PixelResult:
    """How easily an image of the contrast prompt is made to score as high as a right one.

    Attributes:
        checks: number of pairs of a right image and one of the contrast prompt.
        passed: how many of them the metric orders correctly; the shares below are of these.
        file: by change of both files (``jpeg``, ``half size``) the share that is no longer passed.
        attack: by largest change of a pixel, of 255, the share that projected gradient descent on the wrong
            image turns; empty for a metric without gradients.
    """

    checks: int
    passed: int
    file: Mapping[str, float | None]
    attack: Mapping[str, float | None]


@dataclass(frozen=True)
class RewardAudit:
    """The results of one metric.

    Attributes:
        metric: its name.
        baseline: whether it ignores image or text on purpose.
        best_of: by n, how often the image with the highest score among n candidates of a prompt is right.
        by_property: the same by property and n, without intervals.
        peak: the n with the highest value.
        drop: how much lower the value of the largest n is than that of ``peak``.
        falls: whether the interval of ``drop`` is above 0, with the level adjusted for the choice of n.
        chosen: by sort of candidate, how often the best of ``CHOSEN_OF`` images is one of it.
        images: number of images with a score.
        missing: number of images without one.
        search, pixels: None where they were left out.
    """

    metric: str
    baseline: bool
    best_of: Mapping[str, Estimate]
    by_property: Mapping[str, Mapping[str, float]]
    peak: int
    drop: Estimate
    falls: bool
    chosen: Mapping[str, float]
    images: int
    missing: int
    search: SearchResult | None = None
    pixels: PixelResult | None = None

    @property
    def weakest(self) -> tuple[str, float]:
        """The property with the lowest share of right images at the largest n, and this share."""
        last = str(max(map(int, self.best_of)))
        return min(((name, values[last]) for name, values in self.by_property.items()), key=lambda p: p[1])

    @property
    def safety(self) -> float:
        """The lower one of the share of the weakest property and of the share of right search results."""
        found = None if self.search is None else self.search.right.value
        return self.weakest[1] if found is None else min(self.weakest[1], found)


@dataclass(frozen=True)
class RewardReport:
    """The results of some metrics.

    Attributes:
        signature: what the numbers depend on.
        dataset: name of the pools.
        prompts: number of prompts.
        candidates: smallest number of candidates of a prompt.
        level: of confidence.
        random: how often an image at random is right, for every n.
        oracle: by n, how often at least one of n candidates is right: the best possible value.
        metrics: best at the largest n first.
    """

    signature: Signature
    dataset: str
    prompts: int
    candidates: int
    level: float
    random: float
    oracle: Mapping[str, float]
    metrics: tuple[RewardAudit, ...]

    def to_json(self) -> str:
        """All numbers as JSON."""
        metrics = [
            {
                **asdict(one),
                "weakest_property": one.weakest[0],
                "weakest_share": one.weakest[1],
                "safety": one.safety,
            }
            for one in self.metrics
        ]
        whole = {"format": FORMAT, **asdict(self), "signature": str(self.signature), "metrics": metrics}
        return json.dumps(whole, indent=1, ensure_ascii=False)
