"""The conditions under which experiments train, and what each changes in the training questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from croc.checks.schema import stable_hash
from croc.errors import InputError
from crocscore.experiments import image_noise
from crocscore.experiments.plots import ALL, INITIAL
from crocscore.experiments.sample_choice import STRATEGIES
from crocscore.training.paired import OBJECTIVES

if TYPE_CHECKING:
    import pyarrow as pa

HELD_OUT = ("negation", "counting", "colour", "spatial_relation")
NOISE = (0.0, 0.1, 0.3, 0.5)
SHARES = (0.05, 0.15, 0.4, 1.0)
FLIPS = "flips"
NO_NOISE = "no-noise"


@dataclass(frozen=True)
class Condition:
    """What one run changes; by default nothing.

    Attributes:
        name: of the condition.
        leave_out: a category or property whose questions are left out.
        share: share of the checks whose questions are kept.
        negatives: share of the questions with the answer No; None keeps all questions.
        noise: share of the questions whose answer is flipped, or of the images that have an error.
        noise_kind: :data:`FLIPS`, or a kind of :mod:`crocscore.experiments.image_noise`.
        samples: how a share of the images is chosen, see :mod:`crocscore.experiments.sample_choice`; None
            chooses checks at random.
        settings: keys of the recipe that differ from those of the other runs.
        train: whether to train; False evaluates the initial model.
    """

    name: str
    leave_out: str | None = None
    share: float = 1.0
    negatives: float | None = None
    noise: float = 0.0
    noise_kind: str = FLIPS
    samples: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    train: bool = True


def held_out(names: Sequence[str] = HELD_OUT) -> list[Condition]:
    """The initial model, training on everything, and on everything but one property in turn."""
    without = [Condition(f"without-{name}", leave_out=name) for name in names]
    return [Condition(INITIAL, train=False), Condition(ALL), *without]


def learning_curve(shares: Sequence[float] = SHARES) -> list[Condition]:
    """The initial model, and training on growing shares of the checks; larger shares contain smaller ones."""
    return [
        Condition(INITIAL, train=False),
        *(Condition(f"share-{share:g}", share=share) for share in shares),
    ]


def label_noise(levels: Sequence[float] = NOISE, kinds: Sequence[str] = (FLIPS,)) -> list[Condition]:
    """The initial model, and training with a share of the answers flipped, or of the images wrong.

    No noise is a single condition.

    Raises:
        InputError: an unknown kind of noise.
    """
    if unknown := [kind for kind in kinds if kind not in (FLIPS, *image_noise.KINDS)]:
        raise InputError(
            f"no noise is called {unknown[0]!r}; expected {', '.join((FLIPS, *image_noise.KINDS))}"
        )
    return [
        Condition(INITIAL, train=False),
        *([Condition(NO_NOISE)] if 0 in levels else []),
        *(
            Condition(f"{kind}-{level:g}", noise=level, noise_kind=kind)
            for kind in dict.fromkeys(kinds)
            for level in levels
            if level
        ),
    ]


def objective() -> list[Condition]:
    """The initial model, and training on the same batches with the likelihood, the pair loss, and both."""
    trained = [Condition(name, settings={"paired": True, "objective": name}) for name in OBJECTIVES]
    return [Condition(INITIAL, train=False), *trained]


def samples(strategies: Sequence[str] = STRATEGIES, share: float = 0.25) -> list[Condition]:
    """The initial model, and training on a share of the samples, chosen in different ways."""
    trained = [Condition(name, share=share, samples=name) for name in dict.fromkeys(strategies)]
    return [Condition(INITIAL, train=False), *trained]


def change_questions(rows: pa.Table, condition: Condition, seed: int) -> pa.Table:
    """Apply a condition to training questions.

    Args:
        rows: with ``check_id``, ``category``, ``property``, ``label`` and ``pair_id``.
        condition: what to change.
        seed: of the random choice.

    Raises:
        InputError: nothing is left, or no question is about the property to leave out.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if condition.leave_out is not None:
        about = [rows[column].to_pylist() for column in ("category", "property")]
        excluded = [condition.leave_out in names for names in zip(*about, strict=True)]
        if not any(excluded):
            known = sorted({name for names in about for name in names if name})
            raise InputError(
                f"no question is about {condition.leave_out!r}; the questions are about {', '.join(known)}"
            )
        rows = rows.filter(pa.array([not flag for flag in excluded]))
    if condition.share < 1:
        checks = sorted(set(rows["check_id"].to_pylist()), key=lambda name: stable_hash("share", seed, name))
        kept = checks[: round(condition.share * len(checks))]
        rows = rows.filter(pc.is_in(rows["check_id"], value_set=pa.array(kept, pa.string())))
    if condition.negatives is not None:
        rows = _with_share_of_negatives(rows, condition.negatives, seed)
    if not len(rows):
        raise InputError(f"{condition.name}: no question is left to train on")
    if condition.noise and condition.noise_kind == FLIPS:
        return _flipped(rows, condition.noise, seed)
    if condition.noise:
        return image_noise.with_wrong_images(rows, condition.noise_kind, condition.noise, seed)
    return rows


def _with_share_of_negatives(rows: pa.Table, share: float, seed: int) -> pa.Table:
    """As many questions as possible of which a share has the answer No."""
    import pyarrow as pa

    names, labels = rows["pair_id"].to_pylist(), rows["label"].to_pylist()
    order = sorted(range(len(rows)), key=lambda row: stable_hash("negatives", seed, names[row]))
    of = {label: [row for row in order if labels[row] == label] for label in (True, False)}
    sides = [(len(of[False]), share), (len(of[True]), 1 - share)]
    total = min(count / part for count, part in sides if part)
    kept = sorted([*of[False][: round(total * share)], *of[True][: round(total * (1 - share))]])
    return rows.take(pa.array(kept, pa.int64()))


def _flipped(rows: pa.Table, share: float, seed: int) -> pa.Table:
    """Questions with a share of the answers exchanged."""
    import pyarrow as pa

    names = rows["pair_id"].to_pylist()
    order = sorted(range(len(rows)), key=lambda row: stable_hash("noise", seed, names[row]))
    flipped = set(order[: round(share * len(rows))])
    labels = [label != (row in flipped) for row, label in enumerate(rows["label"].to_pylist())]
    return rows.set_column(rows.schema.get_field_index("label"), "label", pa.array(labels))
