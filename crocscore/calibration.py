"""From margins to probabilities, and how far they can be trusted: temperature, ECE, AUROC, ties.

    croc calibrate runs/crocscore --questions runs/questions

The probability of a match is σ(a · margin + b) (Platt 1999); 1/a is the temperature (Guo et al. 2017). Both
are fitted on questions with known answers and written into the checkpoint's configuration, where
``score(…, probability=True)`` finds them. The figures are cross-fitted: each half of the concepts is judged
with what the other half taught.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from croc.checks.schema import stable_hash
from croc.errors import InputError, MissingExtra
from croc.storage.files import atomic, read_json, write_json

if TYPE_CHECKING:
    from crocscore.model import CROCScore

Array = NDArray[np.float64]
BINS = 15
FIGURES, PLOT = "calibration.json", "calibration.png"


@dataclass(frozen=True)
class Calibration:
    """What was fitted, and what it is worth; every figure but ``a`` and ``b`` is cross-fitted by concept.

    Attributes:
        a: the probability is σ(a · margin + b); fitted on all questions.
        b: likewise.
        temperature: 1/a.
        ece: expected calibration error in 15 bins of equal width, 0…1, 0 is best.
        ece_before: the same for σ(margin).
        brier: mean squared difference of probability and answer; ``brier_before`` likewise.
        log_loss: mean negative logarithm of the probability of the right answer.
        auroc: chance that a matching question has a higher margin than another; calibrating keeps it.
        ties_fp32: share of contrasts in which both sides have the same fp32 margin.
        ties_bf16: share of contrasts in which P(Yes) is the same when it is rounded to bf16.
        contrasts: number of pairs of questions that differ in the prompt or in the image alone.
        questions: number of them; ``concepts`` likewise.
        split: of the questions.
    """

    a: float
    b: float
    temperature: float
    ece: float
    ece_before: float
    brier: float
    brier_before: float
    log_loss: float
    log_loss_before: float
    auroc: float
    ties_fp32: float
    ties_bf16: float
    contrasts: int
    questions: int
    concepts: int
    split: str


def probabilities(margins: Any, a: float = 1.0, b: float = 0.0) -> Array:
    """σ(a · margin + b)."""
    from scipy.special import expit

    found: Array = expit(a * np.asarray(margins, dtype=np.float64) + b)
    return found


def fit(margins: Any, labels: Any) -> tuple[float, float]:
    """Give the a and b with the highest likelihood.

    Args:
        margins: (n,) logit("Yes") − logit("No").
        labels: (n,) whether the answer is Yes.

    Raises:
        InputError: one answer alone, or margins that run against the answers: no temperature mends those.
    """
    from scipy.optimize import minimize

    x, y = np.asarray(margins, dtype=np.float64), np.asarray(labels, dtype=bool)
    if not (y.any() and (~y).any()):
        raise InputError("a calibration needs questions of both answers")
    # Standardised, so that margins of 0.01 and of 1,000 are fitted alike.
    scale = float(x.std()) or 1.0
    signs = np.where(y, 1.0, -1.0)

    def loss(at: Array) -> tuple[float, Array]:
        logits = signs * (at[0] * x / scale + at[1])
        # Where the answers can be told apart without an error the likelihood has no maximum.
        value = np.logaddexp(0.0, -logits).mean() + 1e-6 * at[0] ** 2
        slope = -signs * probabilities(-logits)
        return float(value), np.array([(slope * x / scale).mean() + 2e-6 * at[0], slope.mean()])

    a, b = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", options={"gtol": 1e-10}).x
    if a <= 0:
        raise InputError("the margins are not higher where the answer is Yes: there is nothing to calibrate")
    return float(a / scale), float(b)


def expected_error(chances: Any, labels: Any, bins: int = BINS) -> float:
    """ECE: mean over bins of |share of Yes − mean probability|, by their counts (Guo et al. 2017)."""
    mean, share, count = reliability(chances, labels, bins)
    return float((np.abs(share - mean) * count).sum() / count.sum())


def reliability(chances: Any, labels: Any, bins: int = BINS) -> tuple[Array, Array, Array]:
    """Per bin of equal width that is not empty: mean probability, share of Yes, count; three (m,) arrays."""
    p, y = np.asarray(chances, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    place = np.minimum((p * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins).astype(np.float64)
    held = count > 0
    mean = np.bincount(place, weights=p, minlength=bins)[held] / count[held]
    share = np.bincount(place, weights=y, minlength=bins)[held] / count[held]
    return mean, share, count[held]


def cross_fitted(margins: Array, labels: NDArray[np.bool_], concepts: Sequence[str]) -> Array:
    """Probabilities of each half of the concepts with what was fitted on the other half: (n,)."""
    half = np.array([int(stable_hash("half", name, length=8), 16) % 2 for name in concepts], dtype=bool)
    found = np.empty(len(margins))
    for side in (half, ~half):
        if side.any():
            found[side] = probabilities(margins[side], *fit(margins[~side], labels[~side]))
    return found


def ties(margins: Any, contrasts: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Share of contrasts without a winner: by fp32 margins, and by P(Yes) in bf16."""
    import torch

    x = torch.tensor(np.asarray(margins, dtype=np.float32))
    low = torch.sigmoid(x.double()).to(torch.bfloat16)
    if not contrasts:
        return 0.0, 0.0
    first, second = torch.tensor(list(contrasts)).T
    return tuple(float((each[first] == each[second]).double().mean()) for each in (x, low))  # type: ignore[return-value]


def contrasts_of(rows: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
    """Pairs of questions of one check that differ in the prompt alone, or in the image's side alone."""
    found: list[tuple[int, int]] = []
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(("image", row["check_id"], row["image_side"], row["image_index"]), []).append(
            number
        )
        groups.setdefault(("prompt", row["check_id"], row["prompt"]), []).append(number)
    for members in groups.values():
        found += [
            (one, other)
            for place, one in enumerate(members)
            for other in members[place + 1 :]
            if rows[one]["label"] != rows[other]["label"]
        ]
    return found


def measure(scorer: CROCScore, rows: Sequence[dict[str, Any]], split: str = "validation") -> Calibration:
    """Fit a calibration on questions and say what it is worth.

    Args:
        scorer: the model.
        rows: questions with ``image`` (file bytes), ``prompt``, ``label``, ``check_id``, ``concept_id``,
            ``image_side`` and ``image_index``.
        split: what to call them.

    Raises:
        InputError: see :func:`fit`.
        MissingExtra: scikit-learn is not installed.
    """
    return _worth(_margins(scorer, rows), rows, split)[0]


def _margins(scorer: CROCScore, rows: Sequence[dict[str, Any]]) -> Array:
    from croc.checks.decoding import decode, to_bytes
    from croc.scorers.loading import in_batches

    parts = []
    for batch in in_batches(len(rows), 256):
        some = rows[batch]
        parts.append(
            scorer.score([decode(to_bytes(row["image"])) for row in some], [row["prompt"] for row in some])
        )
    return np.concatenate(parts) if parts else np.zeros(0)


def _worth(margins: Array, rows: Sequence[dict[str, Any]], split: str) -> tuple[Calibration, Array]:
    try:
        from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
    except ImportError as error:
        raise MissingExtra("calibrating", "train") from error
    labels = np.array([row["label"] for row in rows], dtype=bool)
    concepts = [row["concept_id"] for row in rows]
    a, b = fit(margins, labels)
    before, after = probabilities(margins), cross_fitted(margins, labels, concepts)
    contrasts = contrasts_of(rows)
    fp32, bf16 = ties(margins, contrasts)
    found = Calibration(
        a=a,
        b=b,
        temperature=1 / a,
        ece=expected_error(after, labels),
        ece_before=expected_error(before, labels),
        brier=float(brier_score_loss(labels, after)),
        brier_before=float(brier_score_loss(labels, before)),
        log_loss=float(log_loss(labels, after)),
        log_loss_before=float(log_loss(labels, before)),
        auroc=float(roc_auc_score(labels, margins)),
        ties_fp32=fp32,
        ties_bf16=bf16,
        contrasts=len(contrasts),
        questions=len(rows),
        concepts=len(set(concepts)),
        split=split,
    )
    return found, after


def questions(
    folder: str | Path, split: str = "validation", at_most: int | None = None
) -> list[dict[str, Any]]:
    """Questions of one split, images undecoded.

    Args:
        folder: what ``croc build train`` made.
        split: which split.
        at_most: so many of them at most; whole checks are taken, always the same.

    Raises:
        InputError: there is no such split, or a column is missing.
    """
    from croc.storage.parquet import batches

    files = sorted(Path(folder).glob(f"data/{split}-*.parquet"))
    if not files:
        raise InputError(f"{folder}: no data/{split}-*.parquet; make questions with croc build train")
    need = ("image", "prompt", "label", "check_id", "concept_id", "image_side", "image_index")
    rows: list[dict[str, Any]] = []
    for file in files:
        for table in batches(file):
            if missing := sorted(set(need) - set(table.schema.names)):
                raise InputError(f"{file}: there is no column {missing[0]}")
            rows += table.select(need).to_pylist()
    if at_most is None or len(rows) <= at_most:
        return rows
    by_check: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_check.setdefault(row["check_id"], []).append(row)
    chosen: list[dict[str, Any]] = []
    for check in sorted(by_check, key=lambda name: stable_hash("calibrate", name)):
        if len(chosen) + len(by_check[check]) > at_most:
            break
        chosen += by_check[check]
    return chosen


def calibrate(
    folder: str | Path,
    data: str | Path,
    *,
    split: str = "validation",
    at_most: int | None = None,
    **options: Any,
) -> Calibration:
    """Calibrate a checkpoint: write a and b into its configuration, and figures and plot beside it.

    Args:
        folder: of the checkpoint; its ``config.json`` is changed, its weights are not.
        data: a folder of questions that ``croc build train`` finished.
        split: of the questions.
        at_most: so many questions at most.
        options: for :class:`~crocscore.model.CROCScore` (``device``, ``batch_size``, …).

    Raises:
        InputError: the folder is no checkpoint, or the questions are unfit.
    """
    from crocscore.model import CROCScore

    folder = Path(folder)
    config = read_json(folder / "config.json", "no config.json: not the folder of a model")
    rows = questions(data, split, at_most)
    margins = _margins(CROCScore.from_pretrained(folder, **options), rows)
    found, after = _worth(margins, rows, split)
    config["croc"] = {**(config.get("croc") or {}), "calibration": [found.a, found.b]}
    labels = [row["label"] for row in rows]
    with atomic(folder / PLOT) as temporary:
        temporary.write_bytes(plot(probabilities(margins), after, labels))
    write_json(folder / FIGURES, asdict(found))
    write_json(folder / "config.json", config)
    return found


def plot(before: Any, after: Any, labels: Any) -> bytes:
    """The reliability plot: share of Yes against probability, before and after; a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    for chances, label, colour in ((before, "σ(margin)", "tab:orange"), (after, "calibrated", "tab:blue")):
        mean, share, _ = reliability(chances, labels)
        error = expected_error(chances, labels)
        above.plot(mean, share, marker="o", markersize=4, color=colour, label=f"{label}, ECE {error:.3f}")
        below.hist(chances, bins=BINS, range=(0, 1), histtype="step", color=colour)
    above.set_ylabel("share answered Yes")
    above.legend(frameon=False)
    below.set_ylabel("questions")
    below.set_xlabel("probability of Yes")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
