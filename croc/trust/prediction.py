"""What to expect of metrics on prompts.

report = predict(["two red cups left of a plate"], read_accuracies(["results/"]), ["clipscore-b32"])
report.prompts[0].predictions[0].weakest      # the property for which the metric is right least often
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from croc.trust.accuracies import Accuracies, Accuracy
from croc.trust.properties import category_of, find_properties
from croc.verdict.records import Stored


@dataclass(frozen=True)
class PropertyPrediction(Stored):
    """A metric and one property of a prompt.

    Attributes:
        property: its name.
        category: its category in the human benchmark, or None.
        words: of the prompt, that show it.
        chance: probability that a correct image gets a higher score than one that is wrong in this property;
            None without results.
        low, high: interval of the accuracy that it comes from.
        checks: number of checks behind it.
        group: ``property`` or ``category``: what the results are of; None without results.
    """

    property: str
    category: str | None
    words: tuple[str, ...]
    chance: float | None
    low: float | None
    high: float | None
    checks: int
    group: str | None


@dataclass(frozen=True)
class Prediction(Stored):
    """A metric and a prompt.

    Attributes:
        metric: its name.
        weakest: the property with the lowest chance; None if no property has results.
        chance: probability that a correct image gets a higher score than one that is wrong in that property.
        low, high: interval of the accuracy that it comes from.
        unknown: properties of the prompt without results.
        properties: all of them.
    """

    metric: str
    weakest: str | None
    chance: float | None
    low: float | None
    high: float | None
    unknown: tuple[str, ...]
    properties: tuple[PropertyPrediction, ...]


@dataclass(frozen=True)
class PromptTrust(Stored):
    """A prompt and the metrics.

    Attributes:
        number: of the prompt, from 1.
        prompt: the prompt.
        properties: that it depends on.
        predictions: of each metric.
        best: the metric with the highest chance, among those with results for the most properties of the
            prompt; None without results.
        ask_people: the chance of the best metric is unknown or too low.
    """

    number: int
    prompt: str
    properties: tuple[str, ...]
    predictions: tuple[Prediction, ...]
    best: str | None
    ask_people: bool

    @cached_property
    def best_chance(self) -> float | None:
        """The chance of the best metric."""
        return next((one.chance for one in self.predictions if one.metric == self.best), None)


@dataclass(frozen=True)
class TrustReport(Stored):
    """What to expect of metrics on prompts.

    Attributes:
        metrics: in the order given.
        datasets: the checks that the results are of; the chances hold for images like theirs.
        least: chance below which a prompt goes to people.
        prompts: in the order given.
    """

    metrics: tuple[str, ...]
    datasets: tuple[str, ...]
    least: float
    prompts: tuple[PromptTrust, ...]

    @property
    def for_people(self) -> list[PromptTrust]:
        """The prompts to show to people: unknown ones first, then the lowest chance first."""
        asked = [prompt for prompt in self.prompts if prompt.ask_people]
        return sorted(asked, key=lambda one: -1.0 if one.best_chance is None else one.best_chance)

    def taken(self, metric: str) -> list[int]:
        """The numbers of the prompts for which a metric is the best one."""
        return [one.number for one in self.prompts if one.best == metric and not one.ask_people]


def predict(
    prompts: Sequence[str], accuracies: Accuracies, metrics: Sequence[str] = (), *, least: float = 0.75
) -> TrustReport:
    """Predict how often metrics order a correct and a nearly correct image rightly.

    Args:
        prompts: in English.
        accuracies: results of the metrics.
        metrics: which of them; none takes all.
        least: chance of the best metric below which a prompt is marked for people.

    Raises:
        InputError: a metric has no results.
    """
    if metrics:
        accuracies = accuracies.only(metrics)
    found = [_prompt(number, text, accuracies, least) for number, text in enumerate(prompts, 1)]
    return TrustReport(accuracies.metrics, accuracies.datasets, least, tuple(found))


def _prompt(number: int, text: str, accuracies: Accuracies, least: float) -> PromptTrust:
    words = find_properties(text)
    predictions = tuple(
        _prediction(metric, {name: (words[name], accuracies.find(metric, name)) for name in words})
        for metric in accuracies.metrics
    )
    # A metric without results for the hard properties must not look better than one that has them.
    known = [one for one in predictions if one.chance is not None]
    fewest = min((len(one.unknown) for one in known), default=0)
    comparable = [one for one in known if len(one.unknown) == fewest]
    best = max(comparable, key=lambda one: one.chance or 0.0, default=None)
    ask = best is None or best.chance is None or best.chance < least
    return PromptTrust(number, text, tuple(words), predictions, best.metric if best else None, ask)


def _prediction(metric: str, found: dict[str, tuple[tuple[str, ...], Accuracy | None]]) -> Prediction:
    properties = tuple(
        PropertyPrediction(name, category_of(name), words, None, None, None, 0, None)
        if one is None
        else PropertyPrediction(
            name, category_of(name), words, one.chance, one.low, one.high, one.checks, one.group
        )
        for name, (words, one) in found.items()
    )
    known = {name: one for name, (_, one) in found.items() if one is not None}
    unknown = tuple(name for name in found if name not in known)
    if not known:
        return Prediction(metric, None, None, None, None, unknown, properties)
    weakest = min(known, key=lambda name: known[name].chance)
    one = known[weakest]
    return Prediction(metric, weakest, one.chance, one.low, one.high, unknown, properties)


@dataclass(frozen=True)
class PropertyTrust(Stored):
    """How often metrics are right about a property that some prompts depend on.

    Attributes:
        property: its name.
        prompts: number of prompts that depend on it.
        chance: by metric, that a correct image gets a higher score than one that is wrong in it; None where
            the metric has no results for it.
        low, high: by metric, 95 % interval of the chance.
        checks: by metric, number of checks that the chance is from.
    """

    property: str
    prompts: int
    chance: Mapping[str, float | None]
    low: Mapping[str, float | None]
    high: Mapping[str, float | None]
    checks: Mapping[str, int]


def trust_by_property(
    prompts: Iterable[str], accuracies: Accuracies, metrics: Sequence[str]
) -> tuple[PropertyTrust, ...]:
    """How often metrics are right about the properties that prompts depend on, the commonest first.

    Args:
        prompts: in English; equal ones count once.
        accuracies: results of metrics.
        metrics: which; those without results are unknown.
    """
    number = Counter(name for prompt in dict.fromkeys(prompts) for name in find_properties(prompt))
    found = []
    for name, count in sorted(number.items(), key=lambda item: (-item[1], item[0])):
        known = {
            metric: accuracies.find(metric, name) if metric in accuracies.metrics else None
            for metric in metrics
        }
        found.append(
            PropertyTrust(
                property=name,
                prompts=count,
                chance={metric: one.chance if one else None for metric, one in known.items()},
                low={metric: one.low if one else None for metric, one in known.items()},
                high={metric: one.high if one else None for metric, one in known.items()},
                checks={metric: one.checks if one else 0 for metric, one in known.items()},
            )
        )
    return tuple(found)
