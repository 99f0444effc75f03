"""Label noise: the share of images that do not show their prompt, by property."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from typing_extensions import TypedDict

from croc.errors import InputError
from croc.storage.files import read_json
from croc.verdict import statistics
from croc.wording import counted
from croc_hum.candidates.items import SAMPLE
from croc_hum.votes.votes import NO, YES, Rule, decide, exclude_inattentive


@dataclass(frozen=True)
class PropertyNoise:
    """The images of one property.

    Attributes:
        property: its name; for variations of entities the name of their subset.
        checks: number of checks of the build with this property.
        images: number of decided images.
        wrong: number of decided images that do not show their prompt.
        undecided: number of images that the votes did not decide.
        share: wrong / images; None without decided images.
        low, high: its Wilson interval.
    """

    property: str
    checks: int
    images: int
    wrong: int
    undecided: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class LabelNoise:
    """The label noise of a set of images, by votes.

    Attributes:
        properties: by property.
        share: in the whole build, with each property weighted by its number of checks there.
        low, high: its interval, see :func:`weighted_share`.
        images, wrong, undecided: sums over the properties.
        annotators, votes: numbers of annotators and votes.
        rule: when votes decide, as a sentence.
        level: confidence level of the intervals.
        source: where the images are from, as in ``sample.json``.
        left_out: number of annotators who are excluded because they missed attention checks.
    """

    properties: tuple[PropertyNoise, ...]
    share: float | None
    low: float | None
    high: float | None
    images: int
    wrong: int
    undecided: int
    annotators: int
    votes: int
    rule: str
    level: float
    source: Mapping[str, Any]
    left_out: int = 0

    @classmethod
    def of(
        cls, votes: pl.DataFrame, sample: Mapping[str, Any], rule: Rule | None = None, *, level: float = 0.95
    ) -> LabelNoise:
        """Measure the label noise of a sample.

        Args:
            votes: as :func:`croc_hum.votes.votes.read_votes` returns them.
            sample: as :func:`read_sample` returns it.
            rule: when votes decide about an image.
            level: confidence level of the intervals.

        Raises:
            InputError: there is no vote on the task of the sample.
        """
        rule = rule or Rule()
        votes, left_out = exclude_inattentive(votes, rule)
        task_votes = votes.filter((pl.col("task") == sample["task"]) & ~pl.col("attention"))
        if task_votes.is_empty():
            raise InputError(f"there is no vote on the task {sample['task']!r} of the sample")
        decided = decide(task_votes, rule)
        properties = []
        for name, checks in sample["population"].items():
            images_of_property = decided.filter(pl.col("property").fill_null("") == name)
            kept, wrong = (int((images_of_property["verdict"] == verdict).sum()) for verdict in (YES, NO))
            low = high = share = None
            if images := kept + wrong:
                share = wrong / images
                low, high = map(float, statistics.wilson_interval(share, images, level))
            properties.append(
                PropertyNoise(name, checks, images, wrong, len(images_of_property) - images, share, low, high)
            )
        known = [noise for noise in properties if noise.share is not None]
        share = low = high = None
        if known:
            share, low, high = weighted_share(
                [noise.share for noise in known if noise.share is not None],
                [noise.images for noise in known],
                [noise.checks for noise in known],
                level,
            )
        annotator_votes = task_votes.filter(pl.col("role") != "adjudicator")
        return cls(
            tuple(sorted(properties, key=lambda noise: (-(noise.share or 0.0), noise.property))),
            share,
            low,
            high,
            sum(noise.images for noise in properties),
            sum(noise.wrong for noise in properties),
            sum(noise.undecided for noise in properties),
            annotator_votes["annotator"].n_unique(),
            len(annotator_votes),
            rule.describe(),
            level,
            sample["source"],
            len(left_out),
        )

    def lines(self) -> list[str]:
        """The numbers in sentences."""
        if self.share is None:
            return [f"The votes decide about none of {counted(self.undecided, 'image')}"]
        lines = [
            f"{self.share:.1%} of the images do not show their prompt ({self.low:.1%} to {self.high:.1%}); "
            f"{counted(self.votes, 'vote')} of {counted(self.annotators, 'annotator')} decided about "
            f"{counted(self.images, 'image')}"
        ]
        if self.left_out:
            verb = "is" if self.left_out == 1 else "are"
            lines.append(
                f"{counted(self.left_out, 'annotator')} {verb} excluded for missing too many attention checks"
            )
        if self.undecided:
            verb = "is" if self.undecided == 1 else "are"
            lines.append(f"{counted(self.undecided, 'image')} with votes {verb} undecided")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON values, with the sentences of :meth:`lines`."""
        return {**asdict(self), "lines": self.lines()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LabelNoise:
        """The inverse of :meth:`to_dict`.

        Raises:
            InputError: the values are not those of a label noise.
        """
        try:
            fields = {name: value for name, value in values.items() if name != "lines"}
            properties = tuple(PropertyNoise(**row) for row in fields.pop("properties"))
            return cls(properties=properties, **fields)
        except (KeyError, TypeError, AttributeError) as problem:
            raise InputError(f"not the label noise that 'croc hum agreement' writes: {problem}") from None

    def to_json(self) -> str:
        """``to_dict`` as text: the content of ``label_noise.json`` in a build."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def weighted_share(
    shares: list[float], n: list[int], weights: list[int], level: float = 0.95
) -> tuple[float, float, float]:
    """The weighted mean of shares and its interval, from the Wilson interval of each share.

    With weights w that add up to 1, the mean is θ = Σ w p, and its ends are θ − √Σ w² (p − l)² and
    θ + √Σ w² (u − p)², where l and u are the ends of each interval. Zou, Huang and Zhang (2009), "A note on
    confidence interval estimation for a linear function of binomial proportions", CSDA 53.

    Args:
        shares: p of each stratum.
        n: number of observations in each stratum.
        weights: of the strata, in any unit.
        level: confidence level.
    """
    p, w = np.array(shares), np.array(weights, float) / sum(weights)
    low, high = statistics.wilson_interval(p, np.array(n), level)
    mean = float((w * p).sum())
    below, above = (float(np.sqrt((w**2 * (p - end) ** 2).sum())) for end in (low, high))
    return mean, max(0.0, mean - below), min(1.0, mean + above)


class _Sample(TypedDict):
    """The content of ``sample.json``; ``population`` has the number of checks of each property."""

    task: str
    source: dict[str, Any]
    population: dict[str, int]
    sha256: str


def read_sample(folder: str | Path) -> dict[str, Any]:
    """Read ``sample.json`` of a folder of candidates: which checks its items represent.

    Raises:
        InputError: the folder has no such file, or the file has another content.
    """
    directory = Path(folder) if Path(folder).is_dir() else Path(folder).parent
    missing = f"no {SAMPLE}: not a folder of candidates ('croc hum candidates' makes one)"
    return dict(read_json(directory / SAMPLE, missing, _Sample))
