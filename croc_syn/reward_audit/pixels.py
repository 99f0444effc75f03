"""Attacks on pixels: how little must change before a wrong image scores as high as a right one.

Projected gradient descent (Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial
Attacks", ICLR, arXiv 1706.06083) in the maximum norm, for scorers with gradients; a JPEG file and a smaller
one for all. Each attacked image is rounded to 8 bits and scored again as any other image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from croc.checks.columns import Column, features
from croc.checks.decoding import decode
from croc.checks.schema import join_errors
from croc.errors import InputError
from croc.jobs.parts import Part
from croc.jobs.runner import Manifest, run
from croc.reward_audit.records import PixelResult
from croc.rewards import score_pairs
from croc.storage.parquet import write_parquet
from croc_syn.nuisances import Sides, nuisances
from croc_syn.reward_audit.pools import Pool
from croc_syn.writing.table import EXACT

if TYPE_CHECKING:
    from croc.scorers.pixel_gradients import PixelGradients

FILE_CHANGES = ("jpeg", "half size")
NO_CHANGE = "none"
_PART = 4
"""Checks per part."""

COLUMNS = (
    Column("concept_id", "string", "the prompt's pool"),
    Column("change", "string", "`none`, a change of the file, or the largest change of a pixel"),
    Column("passed", "bool", "whether the right image scores higher, null where it was not tried"),
)


@dataclass(frozen=True)
class PixelSettings:
    """How pixels are attacked.

    Attributes:
        checks: number of pairs of a right and a wrong image, one per prompt; 0 attacks nothing.
        steps: of gradient descent for each of the sizes.
        sizes: largest change of a pixel, of 255, in ascending order.
    """

    checks: int = 26
    steps: int = 8
    sizes: tuple[int, ...] = (2, 4, 8)

    def __post_init__(self) -> None:
        if self.checks < 0:
            raise InputError(f"the number of checks to attack must be 0 or more, not {self.checks}")


@dataclass(frozen=True)
class _Pair:
    concept: str
    prompt: str
    right: bytes
    wrong: bytes
    passed: bool


def run_pixels(
    scorer: Any,
    spec: Any,
    options: Mapping[str, Any],
    pools: Sequence[Pool],
    files: Mapping[int, Path],
    scores: Mapping[tuple[str, int], float],
    out: Path,
    settings: PixelSettings,
    *,
    fingerprint: Mapping[str, Any],
    existing: str = "resume",
    progress: bool = True,
) -> Manifest:
    """Attack one pair of each of some prompts; an interrupted run is resumed.

    Args:
        scorer: the metric.
        spec: its name, from which it is loaded again where it runs without torch.
        options: arguments with which it was loaded.
        pools: all pools of the audit.
        files: the file of each pool.
        scores: of the candidates, by ``check_id`` and ``image_index``.
        out: the folder.
        settings: how pixels are attacked.
        fingerprint: what the results depend on.
        existing: ``resume`` or ``overwrite``.
        progress: show a bar.
    """
    chosen = list(range(min(settings.checks, len(pools))))
    attacker = _Attacker(scorer, spec, dict(options), settings)
    return run(
        [
            Part(f"{start:06d}", {"pools": chosen[start : start + _PART]})
            for start in range(0, len(chosen), _PART)
        ],
        partial(write_pixels, attacker=attacker, pools=pools, files=files, scores=scores),
        out,
        suffix=".parquet",
        fingerprint={"kind": "reward pixels", "world": EXACT, **fingerprint},
        existing=existing,  # type: ignore[arg-type]
        progress=progress,
        what="attacks",
    )


def write_pixels(
    payload: Mapping[str, Any],
    path: Path,
    *,
    attacker: _Attacker,
    pools: Sequence[Pool],
    files: Mapping[int, Path],
    scores: Mapping[tuple[str, int], float],
) -> dict[str, Any]:
    """Make one part: the attacks on some pairs."""
    import pyarrow as pa

    pairs = [_pair(pools[number], files[number], scores) for number in payload["pools"]]
    rows: list[dict[str, Any]] = []
    tried = [pair for pair in pairs if pair.passed]
    found = attacker.passed(tried) if tried else {}
    for pair in pairs:
        rows.append({"concept_id": pair.concept, "change": NO_CHANGE, "passed": pair.passed})
    for change, verdicts in found.items():
        rows += [
            {"concept_id": pair.concept, "change": change, "passed": verdict}
            for pair, verdict in zip(tried, verdicts, strict=True)
        ]
    schema = features(COLUMNS).arrow_schema
    write_parquet([pa.Table.from_pylist(rows, schema=schema)], path, schema)
    return {"checks": len(pairs), "passed": len(tried)}


def _pair(pool: Pool, file: Path, scores: Mapping[tuple[str, int], float]) -> _Pair:
    """The first right image of a pool and its first one of the contrast prompt."""
    import pyarrow.parquet as pq

    rows = {
        row["property_path"]: row
        for row in pq.read_table(file, columns=["check_id", "property_path", "images"]).to_pylist()
    }
    right, wrong = rows[join_errors(())], rows[join_errors(("contrast",))]
    known = [scores.get((row["check_id"], 0)) for row in (right, wrong)]
    passed = known[0] is not None and known[1] is not None and known[0] > known[1]
    return _Pair(
        pool.concept, pool.pair.prompt, right["images"][0]["bytes"], wrong["images"][0]["bytes"], passed
    )


@dataclass(frozen=True)
class _Attacker:
    scorer: Any
    spec: Any
    options: Mapping[str, Any]
    settings: PixelSettings

    def passed(self, pairs: Sequence[_Pair]) -> dict[str, list[bool]]:
        """By change, which of the pairs the metric still orders correctly."""
        found: dict[str, list[bool]] = {}
        for name in FILE_CHANGES:
            changed = [self._changed(pair, name) for pair in pairs]
            right, wrong = (
                self._scores(self.scorer, [decode(images[side]) for images in changed], pairs)
                for side in (0, 1)
            )
            found[name] = [bool(verdict) for verdict in right > wrong]
        return found | self._attacked(pairs)

    def _changed(self, pair: _Pair, name: str) -> tuple[bytes, bytes]:
        from croc_syn.world.scenes.seeded_random import SeededRandom

        sides = Sides((pair.prompt, pair.prompt), (pair.right, pair.wrong), SeededRandom(name, pair.concept))
        return nuisances()[name].apply(sides).images

    def _attacked(self, pairs: Sequence[_Pair]) -> dict[str, list[bool]]:
        gradients = self._gradients
        if gradients is None:
            return {}
        prompts = [pair.prompt for pair in pairs]
        right = gradients.model_images([decode(pair.right) for pair in pairs])
        target = self._scores(gradients.scorer, right, pairs)
        first = np.stack(
            [np.asarray(im) for im in gradients.model_images([decode(p.wrong) for p in pairs])]
        ).astype(np.float32)
        now, found = first.copy(), {}
        for size in self.settings.sizes:
            step = max(0.5, 2.5 * size / self.settings.steps)
            for _ in range(self.settings.steps):
                # Gradients at the pixels that a file can hold.
                up = np.sign(gradients(_images(now), prompts))
                now = np.clip(np.clip(now + step * up, first - size, first + size), 0, 255)
            reached = self._scores(gradients.scorer, _images(now), pairs)
            found[str(size)] = [bool(verdict) for verdict in target > reached]
        return found

    @cached_property
    def _gradients(self) -> PixelGradients | None:
        from croc.scorers.pixel_gradients import PixelGradients
        from croc.scorers.registry import load

        example = _images(np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3)).astype(np.float32))
        found = PixelGradients.of(self.scorer, example)
        if found is not None or not isinstance(self.spec, str) or not self._has_torch_twin:
            return found
        return PixelGradients.of(load(self.spec, **{**self.options, "runtime": "torch"}), example)

    @property
    def _has_torch_twin(self) -> bool:
        return "onnx" in self.scorer.fields().get("runtime", "")

    def _scores(self, scorer: Any, images: list[Image.Image], pairs: Sequence[_Pair]) -> np.ndarray:
        return np.asarray(score_pairs(scorer, images, [pair.prompt for pair in pairs])[0])


def _images(pixels: np.ndarray) -> list[Image.Image]:
    return [Image.fromarray(np.rint(rows).astype(np.uint8)) for rows in pixels]


def read_pixels(made: Manifest) -> PixelResult:
    """The result of the attacks in a folder."""
    import pyarrow.parquet as pq

    rows = [row for file in made.files() for row in pq.read_table(file).to_pylist()]
    before = [row["passed"] for row in rows if row["change"] == NO_CHANGE]
    turned: dict[str, float | None] = {}
    for change in dict.fromkeys(row["change"] for row in rows):
        verdicts = [not row["passed"] for row in rows if row["change"] == change]
        turned[change] = float(np.mean(verdicts)) if verdicts else None
    return PixelResult(
        len(before),
        sum(before),
        {name: turned.get(name) for name in FILE_CHANGES},
        {name: value for name, value in turned.items() if name.isdigit()},
    )
