"""How many images do not show their prompt, property by property: the label noise of what was judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from croc.errors import InputError
from croc.storage.files import read_json
from croc.verdict import statistics
from croc_hum.candidates.items import SAMPLE
from croc_hum.votes.votes import NO, YES, Rule, attentive, decide


@dataclass(frozen=True)
class PropertyNoise:
    """The images of one property.

    Attributes:
        property: its name; for variations of entities the name of their subset.
        checks: how many checks of the build the property has.
        images: images that were decided.
        wrong: those of them that do not show their prompt.
        undecided: images that the votes did not decide.
        share: wrong among decided, None where none was decided.
        low, high: Wilson's interval of it.
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
    """What votes say of the labels of a set of images.

    Attributes:
        properties: by property.
        share: of all images of the build, each property weighted by the checks that it has there.
        low, high: its interval, see :func:`weighted_share`.
        images, wrong, undecided: sums over the properties.
        annotators, votes: who said so.
        left_out: annotators whose votes do not count, because they missed attention checks.
        rule: when votes decided.
        level: of the intervals.
        source: where the images are from, as in ``sample.json``.
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
        """Count.

        Args:
            votes: as :func:`croc_hum.votes.votes.read_votes` gives them.
            sample: as :func:`read_sample` gives it.
            rule: when votes decide about an image.
            level: of the intervals.

        Raises:
            InputError: no vote is on the task of the sample.
        """
        rule = rule or Rule()
        votes, left_out = attentive(votes, rule)
        mine = votes.filter((pl.col("task") == sample["task"]) & ~pl.col("attention"))
        if mine.is_empty():
            raise InputError(f"no vote is of the task {sample['task']!r}, which is that of the sample")
        decided = decide(mine, rule)
        found = []
        for name, checks in sample["population"].items():
            own = decided.filter(pl.col("property").fill_null("") == name)
            kept, wrong = (int((own["verdict"] == word).sum()) for word in (YES, NO))
            low = high = share = None
            if images := kept + wrong:
                share = wrong / images
                low, high = map(float, statistics.wilson_interval(share, images, level))
            found.append(PropertyNoise(name, checks, images, wrong, len(own) - images, share, low, high))
        known = [each for each in found if each.share is not None]
        share = low = high = None
        if known:
            share, low, high = weighted_share(
                [each.share for each in known if each.share is not None],
                [each.images for each in known],
                [each.checks for each in known],
                level,
            )
        people = mine.filter(pl.col("role") != "adjudicator")
        return cls(
            tuple(sorted(found, key=lambda each: (-(each.share or 0.0), each.property))),
            share,
            low,
            high,
            sum(each.images for each in found),
            sum(each.wrong for each in found),
            sum(each.undecided for each in found),
            people["annotator"].n_unique(),
            len(people),
            rule.words(),
            level,
            sample["source"],
            len(left_out),
        )

    def lines(self) -> list[str]:
        """The numbers in words."""
        if self.share is None:
            return [f"None of {self.undecided} images is decided by the votes"]
        text = [
            f"{self.share:.1%} of the images do not show their prompt ({self.low:.1%} to {self.high:.1%}); "
            f"{self.images} images were decided by {self.votes} votes of {self.annotators} annotators"
        ]
        if self.left_out:
            are = "annotator is" if self.left_out == 1 else "annotators are"
            text.append(f"{self.left_out} more {are} left out, who missed too many attention checks")
        if self.undecided:
            text.append(f"{self.undecided} more images were judged and not decided")
        return text

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON values, with the lines."""
        return {**asdict(self), "lines": self.lines()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LabelNoise:
        """The inverse of :meth:`to_dict`.

        Raises:
            InputError: these are not the values of a label noise.
        """
        try:
            given = {name: value for name, value in values.items() if name != "lines"}
            properties = tuple(PropertyNoise(**row) for row in given.pop("properties"))
            return cls(properties=properties, **given)
        except (KeyError, TypeError, AttributeError) as problem:
            raise InputError(f"not the label noise that 'croc hum agreement' writes: {problem}") from None

    def to_json(self) -> str:
        """``to_dict`` as text: what a build's folder holds as ``label_noise.json``."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def weighted_share(
    shares: list[float], n: list[int], weights: list[int], level: float = 0.95
) -> tuple[float, float, float]:
    """A weighted mean of shares and its interval, from the Wilson interval of each.

    With weights w that add up to 1, the mean is θ = Σ w p, and its ends are θ − √Σ w² (p − l)² and
    θ + √Σ w² (u − p)², l and u being the ends of each. Zou, Huang and Zhang (2009), "A note on confidence
    interval estimation for a linear function of binomial proportions", CSDA 53.

    Args:
        shares: p of each stratum.
        n: what it was observed on.
        weights: of the strata, in any unit.
        level: of confidence.
    """
    p, w = np.array(shares), np.array(weights, float) / sum(weights)
    low, high = statistics.wilson_interval(p, np.array(n), level)
    mean = float((w * p).sum())
    below, above = (float(np.sqrt((w**2 * (p - end) ** 2).sum())) for end in (low, high))
    return mean, max(0.0, mean - below), min(1.0, mean + above)


def read_sample(folder: str | Path) -> dict[str, Any]:
    """What the items of a folder of candidates stand for: its ``sample.json``.

    Raises:
        InputError: the folder has none, or it is something else.
    """
    place = Path(folder) if Path(folder).is_dir() else Path(folder).parent
    found = read_json(
        place / SAMPLE, f"no {SAMPLE}: not a folder of candidates (croc hum candidates makes one)"
    )
    wanted = {"task": str, "source": dict, "population": dict, "sha256": str}
    if not isinstance(found, dict) or any(not isinstance(found.get(k), kind) for k, kind in wanted.items()):
        raise InputError(f"{place / SAMPLE}: not what croc hum candidates writes ({', '.join(wanted)})")
    return found
