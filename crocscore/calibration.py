"""Calibration: from margins to probabilities, and how good these are (Brier score, log loss, ECE, ties).

    croc calibrate runs/crocscore --questions runs/questions --probes

The probability of a match is σ(a · margin + b) (Platt 1999); 1/a is the temperature (Guo et al. 2017). Both
parameters are fitted on questions with known answers and stored in the checkpoint's configuration, where
``score(…, probability=True)`` reads them. The figures are cross-fitted: the concepts are divided into folds,
and each fold is evaluated with the parameters fitted on the other folds. When this does not improve the log
loss, the identity (a = 1, b = 0) is stored instead. Questions may come from several sources, such as checks
and probes: each source then has the same weight.
"""

from __future__ import annotations

import io
from collections import Counter
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
from crocscore.probes import SIZE, draw_exact, load_probes
from crocscore.questions import question_tables

if TYPE_CHECKING:
    from crocscore.model import CROCScore

Array = NDArray[np.float64]
BINS = 15
FOLDS = 10
"""Maximum number of folds of concepts."""
DRAWS = 2_000
"""Number of simulated sets of answers for the expected ECE."""
QUESTIONS, PROBES = "questions", "probes"
PROBE_LAYOUTS = 2
"""Drawings per probe."""
FIGURES, PLOT = "calibration.json", "calibration.png"


@dataclass(frozen=True)
class SourceFigures(Stored):
    """The measures on the questions of one source, with the parameters of all sources.

    Attributes:
        source: ``questions`` or ``probes``.
        questions, concepts: their numbers.
        log_loss, brier, ece: cross-fitted.
        log_loss_before, brier_before, ece_before: of σ(margin).
    """

    description: ClassVar[str] = "the calibration of a source of questions"

    source: str
    questions: int
    concepts: int
    log_loss: float
    log_loss_before: float
    brier: float
    brier_before: float
    ece: float
    ece_before: float


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
        sources: the measures of each source of questions, where there are several.

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
    sources: list[SourceFigures] | None = None


def probabilities(margins: Any, a: float = 1.0, b: float = 0.0) -> Array:
    """σ(a · margin + b)."""
    from scipy.special import expit

    probability: Array = expit(a * np.asarray(margins, dtype=np.float64) + b)
    return probability


def fit(margins: Any, labels: Any, weights: Any = None) -> tuple[float, float]:
    """Fit a and b by maximum likelihood.

    Args:
        margins: (n,) logit("Yes") − logit("No").
        labels: (n,) whether the answer is Yes.
        weights: (n,) of the questions; None gives all the same.

    Raises:
        InputError: there is only one answer, a margin is not finite, or the margins are not higher where the
            answer is Yes.
    """
    a, b = _maximize_likelihood(margins, labels, weights)
    if a <= 0:
        raise InputError("the margins are not higher where the answer is Yes, so they cannot be calibrated")
    return a, b


def _maximize_likelihood(margins: Any, labels: Any, weights: Any = None) -> tuple[float, float]:
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
    share = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64)
    share = share / share.sum()

    def loss(at: Array) -> tuple[float, Array]:
        logits = signs * (at[0] * x / scale + at[1])
        # If the margins separate the answers perfectly, the likelihood has no maximum.
        value = (share * np.logaddexp(0.0, -logits)).sum() + 1e-6 * at[0] ** 2
        slope = -signs * probabilities(-logits) * share
        return float(value), np.array([(slope * x / scale).sum() + 2e-6 * at[0], slope.sum()])

    a, b = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", options={"gtol": 1e-10}).x
    return float(a / scale), float(b)


def expected_error(chances: Any, labels: Any, bins: int = BINS, weights: Any = None) -> float:
    """ECE: mean of |share of Yes − mean probability| over bins, weighted by count (Guo et al. 2017)."""
    mean, share, count = reliability(chances, labels, bins, weights)
    return float((np.abs(share - mean) * count).sum() / count.sum())


def reliability(
    chances: Any, labels: Any, bins: int = BINS, weights: Any = None
) -> tuple[Array, Array, Array]:
    """For each bin of equal width that is not empty: mean probability, share of Yes, count; (m,) each.

    With ``weights`` of the questions, the count is their sum.
    """
    p, y = np.asarray(chances, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    w = np.ones(len(p)) if weights is None else np.asarray(weights, dtype=np.float64)
    bin_of = np.minimum((p * bins).astype(int), bins - 1)
    count = np.bincount(bin_of, weights=w, minlength=bins).astype(np.float64)
    filled = count > 0
    mean = np.bincount(bin_of, weights=w * p, minlength=bins)[filled] / count[filled]
    share = np.bincount(bin_of, weights=w * y, minlength=bins)[filled] / count[filled]
    return mean, share, count[filled]


def expected_measures(
    chances: Any, weights: Any = None, *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float, float]:
    """Mean ECE, Brier score and log loss of a perfectly calibrated model with these probabilities.

    The answers are then Yes with exactly these probabilities, independently of each other. The mean Brier
    score is the mean of p(1 − p), the mean log loss the mean entropy. The mean ECE is above 0, because shares
    in bins of few questions vary; it is simulated.

    Args:
        chances: (n,) probabilities of Yes.
        weights: (n,) of the questions; None gives all the same.
        draws: number of simulated sets of n answers.
        seed: of the simulation.
    """
    from scipy.special import entr

    p = np.asarray(chances, dtype=np.float64)
    w = np.ones(len(p)) if weights is None else np.asarray(weights, dtype=np.float64)
    w = w / w.sum()
    bin_of = np.minimum((p * BINS).astype(int), BINS - 1)
    rng = np.random.default_rng(seed)
    error = 0.0
    for _ in range(draws):
        gap = np.bincount(bin_of, weights=w * ((rng.random(len(p)) < p) - p), minlength=BINS)
        error += float(np.abs(gap).sum())
    return error / draws, float((w * p * (1 - p)).sum()), float((w * (entr(p) + entr(1 - p))).sum())


def cross_fitted(
    margins: Array, labels: NDArray[np.bool_], concepts: Sequence[str], weights: Any = None
) -> Array:
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
        some = None if weights is None else weights[rest]
        found = _maximize_likelihood(margins[rest], labels[rest], some)
        probability[~rest] = probabilities(margins[~rest], *found)
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
        rows: the questions, see :func:`measure`; a row may name its ``source``.
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
    sources = [row.get("source", QUESTIONS) for row in rows]
    weights = source_weights(sources)
    a, b = fit(margins, labels, weights)
    before, after = probabilities(margins), cross_fitted(margins, labels, concepts, weights)
    contrasts = contrasts_of(rows)
    fp32, bf16 = ties(margins, contrasts)

    def measures(chances: Array, some: NDArray[np.bool_]) -> tuple[float, float, float]:
        p, y, w = chances[some], labels[some], weights[some]
        return (
            float(log_loss(y, p, sample_weight=w, labels=[False, True])),
            float(brier_score_loss(y, p, sample_weight=w)),
            expected_error(p, y, weights=w),
        )

    everything = np.ones(len(rows), dtype=bool)
    loss, brier, ece = measures(after, everything)
    loss_before, brier_before, ece_before = measures(before, everything)
    improves = loss < loss_before
    ideal, ideal_before = expected_measures(after, weights), expected_measures(before, weights)
    names = sorted(set(sources), reverse=True)
    by_source = []
    for name in names:
        inside = np.array([source == name for source in sources])
        values = zip(measures(after, inside), measures(before, inside), strict=True)
        number = len({concept for concept, own in zip(concepts, inside, strict=True) if own})
        by_source.append(
            SourceFigures(name, int(inside.sum()), number, *(x for pair in values for x in pair))
        )
    calibration = Calibration(
        a=a if improves else 1.0,
        b=b if improves else 0.0,
        temperature=1 / a if improves else 1.0,
        ece=ece,
        ece_before=ece_before,
        brier=brier,
        brier_before=brier_before,
        log_loss=loss,
        log_loss_before=loss_before,
        auroc=float(roc_auc_score(labels, margins, sample_weight=weights)),
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
        sources=by_source if len(names) > 1 else None,
    )
    return calibration, after


def source_weights(sources: Sequence[str]) -> Array:
    """Weights of questions (n,), with mean 1, that give every source the same total."""
    counts = Counter(sources)
    return np.array([len(sources) / len(counts) / counts[source] for source in sources])


def probe_questions() -> list[dict[str, Any]]:
    """Both texts of every probe about drawings of its scene, as questions; the probe is the concept."""
    return [
        {
            "image": {"bytes": image, "path": None},
            "prompt": text,
            "label": label,
            "check_id": probe.id,
            "concept_id": probe.id,
            "image_side": "original",
            "image_index": layout,
            "source": PROBES,
        }
        for probe in load_probes()
        for layout in range(PROBE_LAYOUTS)
        for image in [draw_exact(probe.draw, layout, SIZE)]
        for text, label in ((probe.true_text, True), (probe.false_text, False))
    ]


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
    probes: bool = False,
    **options: Any,
) -> Calibration:
    """Calibrate a checkpoint: store a and b in its configuration, and write figures and plot beside it.

    Where fitted parameters do not improve the cross-fitted log loss, none are stored, and those that an
    earlier calibration stored are removed: no probability is shown then.

    Args:
        folder: of the checkpoint; its ``config.json`` is changed, its weights are not.
        data: a folder of questions that ``croc build train`` finished.
        split: of the questions.
        at_most: maximum number of questions.
        probes: add the probes of the package as another source of questions, with the same weight.
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
    rows = read_questions(data, split, at_most) + (probe_questions() if probes else [])
    margins = _margins(CROCScore.from_pretrained(folder, **options), rows)
    calibration, after = evaluate_margins(margins, rows, split)
    own = {name: value for name, value in (config.get("croc") or {}).items() if name != "calibration"}
    config["croc"] = own | ({"calibration": [calibration.a, calibration.b]} if calibration.improves else {})
    labels = [row["label"] for row in rows]
    with atomic(folder / PLOT) as temporary:
        weights = source_weights([row.get("source", QUESTIONS) for row in rows])
        temporary.write_bytes(plot(probabilities(margins), after, labels, weights))
    write_json(folder / FIGURES, calibration.to_dict())
    write_json(folder / "config.json", config)
    return calibration


def plot(before: Any, after: Any, labels: Any, weights: Any = None) -> bytes:
    """The reliability plot: share of Yes against probability, before and after; a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    for chances, label, colour in (
        (before, "σ(margin)", "tab:orange"),
        (after, "fitted, cross-fitted", "tab:blue"),
    ):
        mean, share, _ = reliability(chances, labels, weights=weights)
        error = expected_error(chances, labels, weights=weights)
        above.plot(mean, share, marker="o", markersize=4, color=colour, label=f"{label}, ECE {error:.3f}")
        below.hist(chances, weights=weights, bins=BINS, range=(0, 1), histtype="step", color=colour)
    above.set_ylabel("share answered Yes")
    above.legend(frameon=False)
    below.set_ylabel("questions")
    below.set_xlabel("probability of Yes")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
