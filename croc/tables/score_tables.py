"""Validated score tables: metrics on the same rows, and tables that are evaluated together.

Rows in messages are counted from 1, without the header.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

import numpy as np
import polars as pl

from croc.checks.schema import ENGLISH, ERROR_GRAPH, LANGUAGE, SIDES, SUBSETS, untranslated_id
from croc.errors import InputError
from croc.tables.columns import (
    ANSWERS,
    NO_CONTRAST_PROMPT,
    REQUIRED_COLUMNS,
    SCORE_KEYS,
    SCORE_TABLE,
    SCORE_VALUES,
)
from croc.tables.delimited import require_cells, require_columns, to_numbers
from croc.tables.metadata import ScoreMetadata
from croc.tables.signature import Signature

_TEXT = tuple(column.name for column in SCORE_TABLE if column.kind == "string")


@dataclass(frozen=True)
class ScoreTable:
    """Scores of one or more metrics on the same rows.

    Attributes:
        frame: the columns of ``SCORE_COLUMNS`` that the file has, columns to group by, and the scores.
        protocol: ``syn`` or ``hum``.
        metrics: per metric, its two score columns (with the original and with the contrast prompt).
        metadata: per metric, the metadata of its file.
        source: file name, for messages.
        reasons: per metric, the number of rows without a score, by reason.
    """

    frame: pl.DataFrame
    protocol: str
    metrics: Mapping[str, tuple[str, str]]
    metadata: Mapping[str, ScoreMetadata]
    source: str
    reasons: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def pairwise(self) -> bool:
        """Whether it has the answers of a pairwise judge in place of scores."""
        return ANSWERS[0] in self.frame.columns


def score_table(
    frame: pl.DataFrame, metadata: ScoreMetadata, source: str, protocol: str | None = None
) -> ScoreTable:
    """Validate the scores of one metric, and count the rows without a score.

    Args:
        frame: a row per image, with at least the ``REQUIRED_COLUMNS``.
        metadata: name of the metric, and its settings as far as they are known.
        source: name of the table in messages.
        protocol: ``syn`` or ``hum``; None takes it from the metadata or the columns.

    Raises:
        InputError: a column is missing, or a cell has an invalid value.
    """
    require_columns(frame, REQUIRED_COLUMNS, source)
    if not len(frame):
        raise InputError(f"{source}: the table has no rows")
    for name in _TEXT:
        if name in frame.columns and frame[name].dtype != pl.String:
            if frame[name].dtype.is_nested() or frame[name].dtype == pl.Binary:
                raise InputError(f"{source}, column {name!r}: the type is {frame[name].dtype}; expected text")
            frame = frame.with_columns(pl.col(name).cast(pl.String))
    require_cells(frame, SCORE_KEYS, source)
    if not frame["image_index"].dtype.is_integer():
        raise InputError(
            f"{source}, column 'image_index': the type is {frame['image_index'].dtype}; expected integers"
        )
    if not frame["image_side"].is_in(list(SIDES)).all():
        row = int((~frame["image_side"].is_in(list(SIDES))).arg_max() or 0)
        raise InputError(
            f"{source}, column 'image_side', row {row + 1}: {frame['image_side'][row]!r} is neither "
            "'original' nor 'contrast'"
        )
    if "concept_id" not in frame.columns:  # each check is then its own concept
        frame = frame.with_columns(pl.lit(None, pl.String).alias("concept_id"))
    _require_one_concept(frame, source)
    reasons: Counter[str] = Counter()
    not_finite = np.zeros(len(frame), bool)
    for name in SCORE_VALUES:
        scores = frame[name]
        if scores.dtype == pl.String:
            scores = to_numbers(scores, source)
        elif not (scores.dtype.is_numeric() or scores.dtype == pl.Null):
            raise InputError(f"{source}, column {name!r}: the type is {scores.dtype}; expected numbers")
        scores = scores.cast(pl.Float64)
        finite = scores.is_finite()
        if not finite.all():
            rows = (~finite).fill_null(False).to_numpy()
            for word, mask in (("NaN", scores.is_nan()), ("infinite", scores.is_infinite())):
                reasons[f"{name} is {word}"] += int(mask.sum() or 0)
            not_finite |= rows
            scores = scores.set(pl.Series(rows), None)
        frame = frame.with_columns(scores.alias(name))
    needed = [pl.col(name).is_null() for name in SCORE_VALUES]
    if ANSWERS[0] in frame.columns:
        frame = _with_answers(frame, source)
        needed = [pl.col(name).list.eval(pl.element().is_null()).list.any() for name in ANSWERS]
    missing = frame.select(pl.any_horizontal(needed)).to_series()
    if "error" not in frame.columns:
        frame = frame.with_columns(pl.lit(None, pl.String).alias("error"))
    if missing.any():
        errors = frame.filter(missing & ~pl.Series(not_finite))["error"].fill_null("no score and no reason")
        reasons.update({str(reason): int(count) for reason, count in errors.value_counts().iter_rows()})
    reasons.pop(NO_CONTRAST_PROMPT, None)
    resolved = protocol or metadata.protocol or _protocol_of(frame, source)
    return ScoreTable(
        frame,
        resolved,
        {metadata.scorer: SCORE_VALUES},
        {metadata.scorer: metadata},
        source,
        {metadata.scorer: {reason: count for reason, count in reasons.items() if count}},
    )


def _with_answers(frame: pl.DataFrame, source: str) -> pl.DataFrame:
    """The answers of a pairwise judge as lists of float64; NaN is null.

    Raises:
        InputError: a column is missing, a cell is no list of pairs, or a number is no probability.
    """
    require_columns(frame, ANSWERS, source)
    for name in ANSWERS:
        kind = frame[name].dtype
        if not isinstance(kind, pl.List) or not (kind.inner.is_numeric() or kind.inner == pl.Null):
            raise InputError(f"{source}, column {name!r}: the type is {kind}; expected lists of numbers")
        answers = pl.col(name).cast(pl.List(pl.Float64)).fill_null([])
        frame = frame.with_columns(answers.list.eval(pl.element().fill_nan(None)))
        wrong = frame.select(
            (pl.col(name).list.len() % 2 != 0)
            | ~pl.col(name).list.eval(pl.element().is_between(0, 1).fill_null(True)).list.all()
            | ((pl.col(name).list.len() > 2) & (name == ANSWERS[0]))
        ).to_series()
        if wrong.any():
            row = int(wrong.arg_max() or 0)
            raise InputError(
                f"{source}, column {name!r}, row {row + 1}: {frame[name][row].to_list()!s:.80}; expected "
                "two probabilities for each comparison"
            )
    return frame


def _require_one_concept(frame: pl.DataFrame, source: str) -> None:
    """Require that the rows of a check name one concept, which intervals and tests take it to belong to."""
    keys = ("check_id", "concept_id")
    first_of_run = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in keys)
    named = frame.select(keys).filter(first_of_run).drop_nulls().unique()
    several = named.filter(pl.col("check_id").is_duplicated()).sort("check_id", "concept_id")
    if len(several):
        check, concept = several.row(0)
        raise InputError(
            f"{source}, column 'concept_id': rows of check {check!r} name the concepts {concept!r} and "
            f"{several.row(1)[1]!r}; a check has one concept"
        )


def _protocol_of(frame: pl.DataFrame, source: str) -> str:
    """Graded checks have a subset of their own, syn checks another, and hum checks only a category."""
    if "subset" in frame.columns and (frame["subset"] == ERROR_GRAPH).any():
        return "graded"
    if "subset" in frame.columns and frame["subset"].is_in(list(SUBSETS)).any():
        return "syn"
    if "category" in frame.columns and frame["category"].null_count() < len(frame):
        return "hum"
    raise InputError(
        f"{source}: neither metadata nor columns show the protocol; give --protocol syn, hum or graded"
    )


def require_one_dataset(tables: Sequence[ScoreTable]) -> None:
    """Require that all tables have one protocol and score one revision of one dataset.

    Raises:
        InputError: two tables differ; the message names both.
    """
    first = tables[0]
    known: tuple[Signature, ScoreTable] | None = None
    for table in tables:
        if table.protocol != first.protocol:
            raise InputError(
                f"{table.source} has the protocol {table.protocol} and {first.source} the protocol "
                f"{first.protocol}; evaluate them separately, or give --protocol"
            )
        for metadata in table.metadata.values():
            data = metadata.dataset_part
            if not data.fields:
                continue
            if known is None:
                known = data, table
            differing = data.differences(known[0], "dataset", "dataset_revision")
            if "dataset" in differing:
                value, other_value = differing["dataset"]
                raise InputError(
                    f"{table.source} scores the dataset {value} and {known[1].source} the dataset "
                    f"{other_value}; evaluate them separately"
                )
            if differing:
                value, other_value = differing["dataset_revision"]
                raise InputError(
                    f"{table.source} scores revision {value} of {metadata.dataset} and {known[1].source} "
                    f"revision {other_value}; evaluate them separately"
                )


def with_languages(table: ScoreTable, *, required: bool) -> ScoreTable:
    """The table with English as the language of all rows that name none.

    Args:
        table: a score table.
        required: whether a table without the column gets one.
    """
    frame = table.frame
    if _names_languages(frame):
        return replace(table, frame=frame.with_columns(pl.col(LANGUAGE).fill_null(ENGLISH)))
    required &= LANGUAGE not in frame.columns
    return replace(table, frame=frame.with_columns(pl.lit(ENGLISH).alias(LANGUAGE))) if required else table


def without_translation(table: ScoreTable) -> ScoreTable:
    """The table with the ids of the English checks in place of those of their translations.

    Raises:
        InputError: the table has a check in several languages.
    """
    frame = table.frame
    if not _names_languages(frame):
        return table
    named = frame.select("check_id", LANGUAGE).unique(maintain_order=True)
    own = [untranslated_id(check, language) for check, language in named.iter_rows()]
    if len(set(own)) < len(own):
        raise InputError(
            f"{table.source}: it has checks in several languages; compare tables of one language"
        )
    ids = dict(zip(named["check_id"], own, strict=True))
    return replace(table, frame=frame.with_columns(pl.col("check_id").replace_strict(ids)))


def languages_of(table: ScoreTable) -> set[str]:
    """The languages of a table's prompts."""
    return set(table.frame[LANGUAGE]) if _names_languages(table.frame) else {ENGLISH}


def _names_languages(frame: pl.DataFrame) -> bool:
    return LANGUAGE in frame.columns and frame[LANGUAGE].dtype == pl.String


def join_tables(tables: Sequence[ScoreTable]) -> list[ScoreTable]:
    """Join the tables of each metric, which hold different rows.

    Raises:
        InputError: tables of one metric have different settings.
    """
    parts: dict[str, list[ScoreTable]] = {}
    for table in tables:
        for metric in table.metrics:
            parts.setdefault(metric, []).append(table)
    if all(len(group) == 1 for group in parts.values()):
        return list(tables)
    joined: dict[tuple[str, ...], list[str]] = {}
    for metric, group in parts.items():
        joined.setdefault(tuple(part.source for part in group), []).append(metric)
    out = []
    for names in joined.values():
        group = parts[names[0]]
        for name in names:
            first = parts[name][0]
            for part in parts[name]:
                differing = part.metadata[name].scorer_part.differences(first.metadata[name].scorer_part)
                if differing:
                    key, (value, other) = next(iter(differing.items()))
                    raise InputError(
                        f"{part.source} and {first.source} both have scores of the metric {name!r}, with "
                        f"different settings ({key}: {value} and {other}); give it different names"
                    )
        reasons = {
            name: dict(sum((Counter(p.reasons.get(name, {})) for p in parts[name]), Counter()))
            for name in names
        }
        out.append(
            ScoreTable(
                pl.concat([_rename_scores(part, group[0], names) for part in group], how="diagonal_relaxed"),
                group[0].protocol,
                {name: group[0].metrics[name] for name in names},
                {name: group[0].metadata[name] for name in names},
                " + ".join(part.source for part in group),
                reasons,
            )
        )
    return out


def _rename_scores(part: ScoreTable, first: ScoreTable, metrics: Iterable[str]) -> pl.DataFrame:
    """The rows of a table, with score columns named as in the first table."""
    names = {
        old: new
        for metric in metrics
        for old, new in zip(part.metrics[metric], first.metrics[metric], strict=True)
    }
    return part.frame.rename(names)


def merge_descriptions(tables: Sequence[ScoreTable], groups: Sequence[str]) -> list[ScoreTable]:
    """Fill in cells that describe a check and that one table lacks, from the other tables.

    A column that varies inside the checks of a table describes images and is not changed.

    Args:
        tables: with different rows.
        groups: columns to group by.

    Raises:
        InputError: two tables describe a check differently.
    """
    columns = dict.fromkeys(("concept_id", "subset", "category", "text_model", *groups))
    descriptions = []
    for number, table in enumerate(tables):
        present = [column for column in columns if column in table.frame.columns]
        rows = table.frame.select("check_id", *present).unique(maintain_order=True)
        descriptions.append(rows.with_columns(table=pl.lit(number)))
    for column in columns:
        cells = [rows.select("check_id", column, "table") for rows in descriptions if column in rows.columns]
        known = pl.concat(cells, how="vertical_relaxed").drop_nulls().unique() if cells else None
        if known is None or known.select("check_id", "table").is_duplicated().any():
            continue
        known = known.sort("table").unique(["check_id", column], keep="first", maintain_order=True)
        contradictions = known.filter(pl.col("check_id").is_duplicated()).sort("check_id", "table")
        if len(contradictions):
            check, value, number = contradictions.row(0)
            _, other_value, other_number = contradictions.row(1)
            raise InputError(
                f"{tables[other_number].source}: {column} of check {check!r} is {other_value!r}, and "
                f"{value!r} in {tables[number].source}; evaluate them separately"
            )
        known = known.select("check_id", pl.col(column).alias("known"))
        tables = [
            replace(table, frame=_fill(table.frame, column, known))
            if column not in table.frame.columns or table.frame[column].null_count()
            else table
            for table in tables
        ]
    return list(tables)


def _fill(frame: pl.DataFrame, column: str, known: pl.DataFrame) -> pl.DataFrame:
    frame = frame.join(known, on="check_id", how="left", maintain_order="left")
    own = [column] if column in frame.columns else []
    return frame.with_columns(pl.coalesce(*own, "known").alias(column)).drop("known")


def select_metrics(tables: Sequence[ScoreTable], names: Sequence[str]) -> list[ScoreTable]:
    """Keep only some metrics.

    Raises:
        InputError: no table has a metric of that name.
    """
    known = [metric for table in tables for metric in table.metrics]
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"
            raise InputError(f"unknown metric {name!r}{hint}")
    kept = []
    for table in tables:
        metrics = {name: columns for name, columns in table.metrics.items() if name in names}
        if metrics:
            kept.append(replace(table, metrics=metrics))
    return kept
