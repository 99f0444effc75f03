"""The results of a probe: what is weak, how certain that is, and the smallest checks that fail."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from croc.errors import InputError
from croc.storage.files import read_json
from croc.storage.text_files import first_problem
from croc.tables.signature import Signature
from croc.verdict.intervals import Estimate

GROUP, PROPERTY = "group", "property"
"""Kinds of findings about properties; those about one property have the kinds ``value``, ``noun``, …"""

_FORMAT = "croc probe"


@dataclass(frozen=True)
class Finding:
    """A property, a group of them, or a part of one, and how well the metric does there.

    Attributes:
        kind: ``group`` or ``property``; inside a property what its checks have: ``value``, ``thing`` and so
            on.
        name: of the property, the group, or the value.
        accuracy: mean of the four verdicts, 0.5 is chance; the interval holds at every moment of the search.
        checks: number of checks behind it.
        certified: number of checks after which it was certified as weaker than the rest; None if it is not.
    """

    kind: str
    name: str
    accuracy: Estimate
    checks: int
    certified: int | None


@dataclass(frozen=True)
class Influence:
    """What a change of the smallest failing check does.

    Attributes:
        what: what was changed: ``colour``, ``size`` and so on.
        value: what it is in the check.
        tried: number of other values that were tried.
        passed: number of them with which the metric passes more of the four directions.
    """

    what: str
    value: str
    tried: int
    passed: int


@dataclass(frozen=True)
class Counterexample:
    """A check that the metric fails, made as small as the failure allows.

    Attributes:
        property_name: what its prompts differ in.
        prompt, contrast_prompt: its prompts.
        scores: ``scores[prompt][image]``, the original first.
        passed: share of the four directions that are passed.
        image: file with both images side by side, in the folder of the probe.
        found_prompt, found_contrast_prompt: the prompts of the check that it was made from.
        removed: what could be taken away without a change of the result.
        influences: what the result depends on.
    """

    property_name: str
    prompt: str
    contrast_prompt: str
    scores: tuple[tuple[float, float], tuple[float, float]]
    passed: float
    image: str
    found_prompt: str
    found_contrast_prompt: str
    removed: tuple[str, ...]
    influences: tuple[Influence, ...]

    @property
    def depends_on(self) -> list[str]:
        """What has to be as it is for the metric to fail: every other value that was tried passes more."""
        return [f"{one.what} {one.value}" for one in self.influences if one.tried and one.passed == one.tried]


class StoredCheck(TypedDict):
    """A scored check, enough to make it again."""

    property: str
    topic: str
    generation: int
    passed: float


@dataclass(frozen=True)
class ProbeReport:
    """The results of one metric.

    Attributes:
        signature: what the numbers depend on.
        metric: its name.
        checks: number of scored checks about all properties.
        accuracy: mean of the four verdicts over all properties.
        margin: how far below the rest a weak property is.
        level: of confidence, of each interval, and of all certificates together.
        findings: groups and properties, the weakest first.
        candidates: the properties of which one is the weakest.
        details: by weak property, what its checks have when the metric fails.
        counterexamples: smallest failing checks of weak properties.
        missing: number of checks without a score.
        scored: the checks about all properties.
        seed: of the prompts and images.
        size: of the images, in pixels.
        nouns: nouns and sentence frames over all properties, the weakest first; empty without such a search.
    """

    signature: Signature
    metric: str
    checks: int
    accuracy: Estimate
    margin: float
    level: float
    findings: tuple[Finding, ...]
    candidates: tuple[str, ...]
    details: dict[str, tuple[Finding, ...]]
    counterexamples: tuple[Counterexample, ...]
    missing: int
    scored: tuple[StoredCheck, ...]
    seed: int
    size: int
    nouns: tuple[Finding, ...] = ()

    @property
    def weak(self) -> list[Finding]:
        """What is certified as weaker than the rest."""
        return [finding for finding in self.findings if finding.certified is not None]

    @property
    def weakest(self) -> str | None:
        """The weakest certified property."""
        return next((finding.name for finding in self.weak if finding.kind == PROPERTY), None)

    def to_json(self) -> str:
        """All results as JSON."""
        content = {"format": _FORMAT, **asdict(self), "signature": str(self.signature)}
        content["weakest"] = self.weakest
        for stored, one in zip(content["counterexamples"], self.counterexamples, strict=True):
            stored["depends_on"] = one.depends_on
        return json.dumps(content, indent=1, ensure_ascii=False)


def ranked(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The certified ones by their accuracy, then the others by the upper end of their interval."""

    def place(finding: Finding) -> tuple[Any, ...]:
        value, high = finding.accuracy.value, finding.accuracy.high
        if finding.certified is not None:
            return (0, value, finding.name)
        return (1, 2.0 if high is None else high, 2.0 if value is None else value, finding.name)

    return tuple(sorted(findings, key=place))


class _StoredFinding(TypedDict):
    kind: str
    name: str
    certified: int | None


class StoredReport(TypedDict):
    """What other commands read of the JSON of a probe."""

    format: str
    signature: str
    metric: str
    findings: list[_StoredFinding]
    scored: list[StoredCheck]
    seed: int
    size: int
    weakest: str | None


def read_probe(path: str | Path) -> tuple[ProbeReport, dict[str, bytes]]:
    """Read all results of a probe.

    Args:
        path: the folder, or the file of ``--json``.

    Returns:
        The report, and the pictures of its counterexamples, as far as they are there.

    Raises:
        InputError: it is not the result of a probe.
    """
    read_report(path)
    file = Path(path) / "probe.json" if Path(path).is_dir() else Path(path)
    try:
        report = TypeAdapter(ProbeReport).validate_json(file.read_bytes())
    except ValueError as problem:
        raise InputError(f"{file}: not the JSON of a probe: {first_problem(problem)}") from None
    pictures = {one.image: file.parent / one.image for one in report.counterexamples}
    return report, {name: picture.read_bytes() for name, picture in pictures.items() if picture.is_file()}


def read_report(path: str | Path) -> StoredReport:
    """Read the JSON of a probe.

    Raises:
        InputError: it is not the JSON that ``croc probe --json`` or its folder has.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "probe.json"
    report = read_json(file, f"there is no {file.name}; croc probe writes it", StoredReport)
    if report["format"] != _FORMAT:
        raise InputError(f"{file}: not the JSON of a probe; 'croc probe' writes it")
    return report
