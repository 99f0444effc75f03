"""Calibration: from margins to probabilities, and how good these are (Brier score, log loss, ECE, ties).

    croc calibrate runs/crocscore --questions runs/questions

The probability of a match is σ(a · margin + b) (Platt 1999); 1/a is the temperature (Guo et al. 2017). Both
parameters are fitted on questions with known answers and stored in the checkpoint's configuration, where
``score(…, probability=True)`` reads them. The figures are cross-fitted: the concepts are divided into folds,
and each fold is evaluated with the parameters fitted on the other folds. When this does not improve the log
loss, the identity (a = 1, b = 0) is stored instead.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from croc.checks.schema import stable_hash
from croc.errors import InputError, MissingExtra
from croc.storage.files import atomic, read_json, write_json
from croc.verdict.records import Stored
from croc.wording import counted
from crocscore.questions import question_tables

if TYPE_CHECKING:
    from crocscore.model import CROCScore

Array = NDArray[np.float64]
BINS = 15
FOLDS = 10
"""Maximum number of folds of concepts."""
DRAWS = 2_000
"""Number of simulated sets of answers for the expected ECE."""
FIGURES, PLOT = "calibration.json", "calibration.png"


@dataclass(frozen=True)
class Calibration(Stored):
    """The parameters, and figures that show how good the fitted ones are, cross-fitted by concept.

    Attributes:
        a, b: the probability is σ(a · margin + b); 1 and 0 where ``improves`` is false.
        temperature: 1/a.
        ece: expected calibration error of the fitted parameters in 15 bins of equal width, 0…1, 0 is best.
        brier: mean squared difference of probability and answer, 0 is best.
        log_loss: mean negative logarithm of the probability of the correct answer, 0 is best.
        ece_before, brier_before, log_loss_before: the same for σ(margin).
        auroc: probability that a matching question has a higher margin than another one; calibration does
            not change it.
        ties_fp32: share of contrasts in which both sides have the same fp32 margin.
        ties_bf16: share of contrasts in which P(Yes) is the same when rounded to bf16.
        contrasts: number of pairs of questions that differ in the prompt alone or in the image alone.
        questions, concepts: their numbers.
        split: of the questions.
        fitted_a, fitted_b: the parameters fitted on all questions.
        improves: whether fitting lowers the cross-fitted log loss; only then are the fitted parameters used.
        ece_expected, brier_expected, log_loss_expected: mean values of a perfectly calibrated model with the
            same probabilities and number of questions, see :func:`expected_measures`.
        ece_before_expected, brier_before_expected, log_loss_before_expected: the same for σ(margin).

    Files of earlier versions do not have the fields with the default None.
    """

    description: ClassVar[str] = "a calibration"

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
    fitted_a: float | None = None
    fitted_b: float | None = None
    improves: bool | None = None
    ece_expected: float | None = None
    ece_before_expected: float | None = None
    brier_expected: float | None = None
    brier_before_expected: float | None = None
    log_loss_expected: float | None = None
    log_loss_before_expected: float | None = None


def probabilities(margins: Any, a: float = 1.0, b: float = 0.0) -> Array:
    """σ(a · margin + b)."""
    from scipy.special import expit

    probability: Array = expit(a * np.asarray(margins, dtype=np.float64) + b)
    return probability


def fit(margins: Any, labels: Any) -> tuple[float, float]:
    """Fit a and b by maximum likelihood.

    Args:
        margins: (n,) logit("Yes") − logit("No").
        labels: (n,) whether the answer is Yes.

    Raises:
        InputError: there is only one answer, a margin is not finite, or the margins are not higher where the
            answer is Yes.
    """
    a, b = _maximize_likelihood(margins, labels)
    if a <= 0:
        raise InputError("the margins are not higher where the answer is Yes, so they cannot be calibrated")
    return a, b


def _maximize_likelihood(margins: Any, labels: Any) -> tuple[float, float]:
    from scipy.optimize import minimize

    x, y = np.asarray(margins, dtype=np.float64), np.asarray(labels, dtype=bool)
    if not (y.any() and (~y).any()):
        raise InputError("a calibration needs questions with both answers")
    if not np.isfinite(x).all():
        number = int(np.argmin(np.isfinite(x)))
        raise InputError(f"the margin of question {number + 1} is {x[number]}, not a finite number")
    # Standardised, so that margins of 0.01 and of 1,000 are fitted alike.
    scale = float(x.std()) or 1.0
    signs = np.where(y, 1.0, -1.0)

    def loss(at: Array) -> tuple[float, Array]:
        logits = signs * (at[0] * x / scale + at[1])
        # If the margins separate the answers perfectly, the likelihood has no maximum.
        value = np.logaddexp(0.0, -logits).mean() + 1e-6 * at[0] ** 2
        slope = -signs * probabilities(-logits)
        return float(value), np.array([(slope * x / scale).mean() + 2e-6 * at[0], slope.mean()])

    a, b = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", options={"gtol": 1e-10}).x
    return float(a / scale), float(b)


def expected_error(chances: Any, labels: Any, bins: int = BINS) -> float:
    """ECE: mean of |share of Yes − mean probability| over bins, weighted by count (Guo et al. 2017)."""
    mean, share, count = reliability(chances, labels, bins)
    return float((np.abs(share - mean) * count).sum() / count.sum())


def reliability(chances: Any, labels: Any, bins: int = BINS) -> tuple[Array, Array, Array]:
    """For each bin of equal width that is not empty: mean probability, share of Yes, count; (m,) each."""
    p, y = np.asarray(chances, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    bin_of = np.minimum((p * bins).astype(int), bins - 1)
    count = np.bincount(bin_of, minlength=bins).astype(np.float64)
    filled = count > 0
    mean = np.bincount(bin_of, weights=p, minlength=bins)[filled] / count[filled]
    share = np.bincount(bin_of, weights=y, minlength=bins)[filled] / count[filled]
    return mean, share, count[filled]


def expected_measures(chances: Any, *, draws: int = DRAWS, seed: int = 0) -> tuple[float, float, float]:
    """Mean ECE, Brier score and log loss of a perfectly calibrated model with these probabilities.

    The answers are then Yes with exactly these probabilities, independently of each other. The mean Brier
    score is the mean of p(1 − p), the mean log loss the mean entropy. The mean ECE is above 0, because shares
    in bins of few questions vary; it is simulated.

    Args:
        chances: (n,) probabilities of Yes.
        draws: number of simulated sets of n answers.
        seed: of the simulation.
    """
    from scipy.special import entr

    p = np.asarray(chances, dtype=np.float64)
    bin_of = np.minimum((p * BINS).astype(int), BINS - 1)
    rng = np.random.default_rng(seed)
    error = 0.0
    for _ in range(draws):
        gap = np.bincount(bin_of, weights=(rng.random(len(p)) < p) - p, minlength=BINS)
        error += float(np.abs(gap).sum()) / len(p)
    return error / draws, float((p * (1 - p)).mean()), float((entr(p) + entr(1 - p)).mean())


def cross_fitted(margins: Array, labels: NDArray[np.bool_], concepts: Sequence[str]) -> Array:
    """Probabilities of each fold of the concepts, with the parameters fitted on the other folds: (n,).

    Raises:
        InputError: there is only one concept, or without one fold there is only one answer.
    """
    order = sorted(set(concepts), key=lambda name: stable_hash("fold", name))
    if len(order) < 2:
        raise InputError(
            f"a calibration needs questions on at least 2 concepts, as it is cross-fitted by concept; all "
            f"{len(concepts)} questions are on {order[0]!r}"
        )
    folds = min(FOLDS, len(order))
    number = {name: place % folds for place, name in enumerate(order)}
    fold = np.array([number[name] for name in concepts])
    probability = np.empty(len(margins))
    for held_out in range(folds):
        rest = fold != held_out
        if labels[rest].all() or not labels[rest].any():
            names = ", ".join(repr(name) for name in order if number[name] == held_out)
            raise InputError(
                f"a calibration cannot be cross-fitted: without the questions on {names} there is only one "
                "answer; add concepts whose questions have both answers"
            )
        probability[~rest] = probabilities(margins[~rest], *_maximize_likelihood(margins[rest], labels[rest]))
    return probability


def ties(margins: Any, contrasts: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Share of tied contrasts: by fp32 margins, and by P(Yes) in bf16."""
    import torch

    x = torch.tensor(np.asarray(margins, dtype=np.float32))
    low = torch.sigmoid(x.double()).to(torch.bfloat16)
    if not contrasts:
        return 0.0, 0.0
    first, second = torch.tensor(list(contrasts)).T
    fp32, bf16 = (float((values[first] == values[second]).double().mean()) for values in (x, low))
    return fp32, bf16


def contrasts_of(rows: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
    """Pairs of questions of one check that differ in the prompt alone, or in the side of the image alone."""
    contrasts: list[tuple[int, int]] = []
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(("image", row["check_id"], row["image_side"], row["image_index"]), []).append(
            number
        )
        groups.setdefault(("prompt", row["check_id"], row["prompt"]), []).append(number)
    for members in groups.values():
        contrasts += [
            (one, other)
            for place, one in enumerate(members)
            for other in members[place + 1 :]
            if rows[one]["label"] != rows[other]["label"]
        ]
    return contrasts


def measure(scorer: CROCScore, rows: Sequence[dict[str, Any]], split: str = "validation") -> Calibration:
    """Fit a calibration on questions and evaluate it.

    Args:
        scorer: the model.
        rows: questions with ``image`` (file bytes), ``prompt``, ``label``, ``check_id``, ``concept_id``,
            ``image_side`` and ``image_index``.
        split: their name.

    Raises:
        InputError: see :func:`evaluate_margins`.
        MissingExtra: scikit-learn is not installed.
    """
    return evaluate_margins(_margins(scorer, rows), rows, split)[0]


def _margins(scorer: CROCScore, rows: Sequence[dict[str, Any]]) -> Array:
    from croc.checks.decoding import decode, to_bytes
    from croc.scorers.loading import in_batches

    parts = []
    for span in in_batches(len(rows), 256):
        batch = rows[span]
        images = [decode(to_bytes(row["image"])) for row in batch]
        parts.append(scorer.score(images, [row["prompt"] for row in batch]))
    return np.concatenate(parts) if parts else np.zeros(0)


def evaluate_margins(
    margins: Array, rows: Sequence[dict[str, Any]], split: str = "validation"
) -> tuple[Calibration, Array]:
    """Fit a calibration on margins and evaluate it.

    Args:
        margins: (n,) logit("Yes") − logit("No") of each question.
        rows: the questions, see :func:`measure`.
        split: their name.

    Returns:
        The calibration, and the cross-fitted probabilities, (n,).

    Raises:
        InputError: a margin is not a finite number; all questions are on one concept or have one answer; the
            margins are not higher where the answer is Yes.
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
    except ImportError as error:
        raise MissingExtra("calibrating", "train") from error
    _require_finite(margins, rows)
    labels = np.array([row["label"] for row in rows], dtype=bool)
    concepts = [row["concept_id"] for row in rows]
    a, b = fit(margins, labels)
    before, after = probabilities(margins), cross_fitted(margins, labels, concepts)
    contrasts = contrasts_of(rows)
    fp32, bf16 = ties(margins, contrasts)
    loss, loss_before = float(log_loss(labels, after)), float(log_loss(labels, before))
    improves = loss < loss_before
    ideal, ideal_before = expected_measures(after), expected_measures(before)
    calibration = Calibration(
        a=a if improves else 1.0,
        b=b if improves else 0.0,
        temperature=1 / a if improves else 1.0,
        ece=expected_error(after, labels),
        ece_before=expected_error(before, labels),
        brier=float(brier_score_loss(labels, after)),
        brier_before=float(brier_score_loss(labels, before)),
        log_loss=loss,
        log_loss_before=loss_before,
        auroc=float(roc_auc_score(labels, margins)),
        ties_fp32=fp32,
        ties_bf16=bf16,
        contrasts=len(contrasts),
        questions=len(rows),
        concepts=len(set(concepts)),
        split=split,
        fitted_a=a,
        fitted_b=b,
        improves=improves,
        ece_expected=ideal[0],
        ece_before_expected=ideal_before[0],
        brier_expected=ideal[1],
        brier_before_expected=ideal_before[1],
        log_loss_expected=ideal[2],
        log_loss_before_expected=ideal_before[2],
    )
    return calibration, after


def _require_finite(margins: Array, rows: Sequence[dict[str, Any]]) -> None:
    wrong = np.flatnonzero(~np.isfinite(margins))
    if len(wrong):
        row = rows[wrong[0]]
        raise InputError(
            f"{len(wrong)} of {counted(len(rows), 'margin')} "
            f"{'is not a finite number' if len(wrong) == 1 else 'are not finite numbers'}; the first one is "
            f"{margins[wrong[0]]}, of check {row['check_id']!r} and prompt {row['prompt']!r}"
        )


def read_questions(
    folder: str | Path, split: str = "validation", at_most: int | None = None
) -> list[dict[str, Any]]:
    """Read the questions of one split, images undecoded.

    Args:
        folder: what ``croc build train`` made.
        split: which split.
        at_most: maximum number of questions; whole checks are taken, always the same ones.

    Raises:
        InputError: see :func:`~crocscore.questions.question_tables`.
    """
    columns = ("image", "prompt", "label", "check_id", "concept_id", "image_side", "image_index")
    rows = [row for table in question_tables(folder, split, columns) for row in table.to_pylist()]
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
    """Calibrate a checkpoint: store a and b in its configuration, and write figures and plot beside it.

    Where fitted parameters do not improve the cross-fitted log loss, the identity (1, 0) is stored.

    Args:
        folder: of the checkpoint; its ``config.json`` is changed, its weights are not.
        data: a folder of questions that ``croc build train`` finished.
        split: of the questions.
        at_most: maximum number of questions.
        options: of :class:`~crocscore.model.CROCScore` (``device``, ``batch_size``, …).

    Raises:
        InputError: the folder is not a checkpoint, or the questions cannot be used.
    """
    from crocscore.model import CROCScore

    folder = Path(folder)
    missing = "no config.json: not the folder of a model"
    config = read_json(folder / "config.json", missing, dict[str, Any])
    if not isinstance(config.get("croc") or {}, dict):
        raise InputError(f"{folder / 'config.json'}: croc: expected an object or null")
    rows = read_questions(data, split, at_most)
    margins = _margins(CROCScore.from_pretrained(folder, **options), rows)
    calibration, after = evaluate_margins(margins, rows, split)
    config["croc"] = {**(config.get("croc") or {}), "calibration": [calibration.a, calibration.b]}
    labels = [row["label"] for row in rows]
    with atomic(folder / PLOT) as temporary:
        temporary.write_bytes(plot(probabilities(margins), after, labels))
    write_json(folder / FIGURES, calibration.to_dict())
    write_json(folder / "config.json", config)
    return calibration


def plot(before: Any, after: Any, labels: Any) -> bytes:
    """The reliability plot: share of Yes against probability, before and after; a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    for chances, label, colour in (
        (before, "σ(margin)", "tab:orange"),
        (after, "fitted, cross-fitted", "tab:blue"),
    ):
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
