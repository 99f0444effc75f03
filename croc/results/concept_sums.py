"""Sums of verdicts per concept: what a results file holds so that paired tests need no score table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from croc.checks.schema import DIRECTIONS
from croc.errors import InputError
from croc.verdict.aggregation import CheckVerdicts
from croc.verdict.records import Stored, Text

_KEYS = ("concept_id", "category", "text_model")
_SUMMED = ("value", "chance", "known")  # per direction


@dataclass(frozen=True)
class ConceptSums(Stored):
    """Sums over the checks of one concept, category and text model.

    ``sums`` holds, per direction in the order of ``DIRECTIONS``, the sum of the verdicts, the sum of their
    chances and the number of verdicts: twelve numbers.
    """

    concept: Text
    category: Text | None
    text_model: Text | None
    sums: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=12, max_length=12)]


def concept_sums(verdicts: CheckVerdicts) -> tuple[ConceptSums, ...]:
    """The verdicts of one metric, added up."""
    checks = verdicts.checks
    keys = checks.select(
        checks[name] if name in checks.columns else pl.lit(None, pl.String).alias(name) for name in _KEYS
    )
    values = {
        f"{name}{d}": getattr(verdicts, name)[0, d].astype(float)
        for d in range(len(DIRECTIONS))
        for name in _SUMMED
    }
    columns = keys.with_columns(**{name: pl.Series(array) for name, array in values.items()})
    added = columns.group_by(_KEYS).agg(pl.col(list(values)).sum()).sort(_KEYS, nulls_last=True)
    return tuple(
        ConceptSums(concept=row[0], category=row[1], text_model=row[2], sums=row[3:])
        for row in added.iter_rows()
    )


def verdicts_of_sums(
    sums: Mapping[str, Sequence[ConceptSums]], symmetric: NDArray[np.bool_]
) -> CheckVerdicts:
    """Line up the sums of several metrics: a row per concept, category and text model, not per check.

    Args:
        sums: per metric.
        symmetric: (4,), see :func:`croc.verdict.directions.symmetric_chance`.

    Raises:
        InputError: a metric has no sums, or has a concept twice.
    """
    rows = {
        metric: {(r.concept, r.category, r.text_model): r.sums for r in own} for metric, own in sums.items()
    }
    for metric, own in rows.items():
        if not own or len(own) != len(sums[metric]):
            problem = "has no sums" if not own else "has the sums of a concept twice"
            raise InputError(f"the result of {metric!r} {problem}; make it again from its score table")
    keys = sorted(
        set().union(*rows.values()), key=lambda key: tuple((part is None, part or "") for part in key)
    )
    zeros = (0.0,) * (len(_SUMMED) * len(DIRECTIONS))
    array = np.array([[own.get(key, zeros) for key in keys] for own in rows.values()])
    value, chance, known = np.moveaxis(
        array.reshape(len(rows), len(keys), len(DIRECTIONS), len(_SUMMED)), (3, 2), (0, 2)
    )
    checks = pl.DataFrame(keys, schema=dict.fromkeys(_KEYS, pl.String), orient="row")
    models = tuple(checks["text_model"].unique().sort(nulls_last=True))
    empty = np.zeros_like(value)
    return CheckVerdicts(
        metrics=tuple(rows),
        checks=checks,
        concept=checks["concept_id"].rank("dense").to_numpy().astype(np.int64) - 1,
        text=np.array([models.index(model) for model in checks["text_model"]]),
        text_models=models,
        known=known,
        value=value,
        chance=chance,
        tie=empty,
        present=empty,
        expected=empty,
        symmetric=symmetric,
    )
