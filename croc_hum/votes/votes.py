"""Votes as a table, and the rule by which they decide about an image."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from croc.errors import InputError, MissingExtra
from croc.storage.frames import read_frame
from croc.tables.delimited import read_delimited, require_columns, to_numbers
from croc.wording import counted
from croc_hum.schema import ANSWERS, ROLES, TASKS, VOTE_COLUMNS

KEYS = ("item_id", "annotator", "task", "answer")
"""The required columns; the others are null where they are missing."""

_POLARS: Mapping[str, pl.DataType] = {
    "string": pl.String(),
    "int64": pl.Int64(),
    "float64": pl.Float64(),
    "bool": pl.Boolean(),
    "timestamp": pl.Datetime("ms", "UTC"),
}
_TYPES: Mapping[str, pl.DataType] = {column.name: _POLARS[column.kind] for column in VOTE_COLUMNS}

YES, NO = "yes", "no"
VERDICTS: Mapping[str, Mapping[str, str | None]] = {
    "shows": {"yes": YES, "no": NO, "unsure": None},
    "rating": {"1": NO, "2": NO, "3": None, "4": YES, "5": YES},
    "preference": {"prompt": YES, "contrast": NO, "unsure": None},
}
"""Whether an answer means that the image shows its own prompt; None for neither."""

NOT_SHOWN = "does not show its prompt, by the votes"
NO_VOTES, TOO_FEW_VOTES = "no votes", "too few votes"
DISPUTED = "annotators disagree and no adjudicator decided"
ADJUDICATOR_UNSURE = "the adjudicator was unsure"
DISCARDED = (NOT_SHOWN, NO_VOTES, TOO_FEW_VOTES, DISPUTED, ADJUDICATOR_UNSURE)
"""Reasons why an image is not released."""

METHODS = ("majority", "dawid-skene")


@dataclass(frozen=True)
class Rule:
    """When votes decide about an image.

    Attributes:
        min_votes: minimum number of votes; ``unsure`` is a vote.
        min_share: share of all votes, including ``unsure``, that must agree.
        method: ``majority`` counts votes; ``dawid-skene`` weights annotators by their estimated error rates,
            and ``min_share`` is the minimum probability of the verdict.
        min_attention: minimum share of the attention checks that an annotator must have answered correctly.
            Annotators with a smaller share are excluded; those who saw no attention check are not.
    """

    min_votes: int = 3
    min_share: float = 2 / 3
    method: str = "majority"
    min_attention: float = 0.0

    def __post_init__(self) -> None:
        if self.min_votes < 1:
            raise InputError(f"the minimum number of votes must be at least 1, not {self.min_votes}")
        if not 0.5 < self.min_share <= 1:
            raise InputError(
                f"the share that must agree must be above 0.5 and at most 1, not {self.min_share}"
            )
        if not 0 <= self.min_attention <= 1:
            raise InputError(
                f"the share of attention checks must be between 0 and 1, not {self.min_attention}"
            )
        if self.method not in METHODS:
            raise InputError(f"the method must be one of {', '.join(METHODS)}, not {self.method!r}")

    def describe(self) -> str:
        """The rule in a sentence."""
        votes = counted(self.min_votes, "vote")
        condition = (
            f"at least {self.min_share:.0%} of them agree"
            if self.method == "majority"
            else f"its verdict has a probability of at least {self.min_share:.0%} (Dawid–Skene)"
        )
        text = (
            f"an image is decided when it has at least {votes} and {condition}; an adjudicator decides the "
            "others"
        )
        if self.min_attention:
            text += f"; annotators who pass less than {self.min_attention:.0%} of their attention checks"
            text += " are excluded"
        return text

    def fields(self) -> dict[str, Any]:
        """The rule as JSON values."""
        return asdict(self)


def read_votes(path: str | Path) -> pl.DataFrame:
    """Read exported votes.

    Args:
        path: a Parquet, CSV or TSV file with the columns of ``VOTE_COLUMNS``; only ``KEYS`` are required.

    Returns:
        All those columns. Votes that were undone are left out; votes on attention checks are included.

    Raises:
        InputError: the file cannot be read, or a row is not a vote; the message names the row.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    if file.suffix != ".parquet":
        return check_votes(read_delimited(file), str(file))
    return check_votes(read_frame(file)[0], str(file))


def check_votes(frame: pl.DataFrame, source: str = "the votes") -> pl.DataFrame:
    """Check a table of votes and add its missing columns; see :func:`read_votes`.

    Raises:
        InputError: a row is not a vote, or an annotator has two votes on one item.
    """
    require_columns(frame, KEYS, source)
    frame = frame.select([_cast_column(frame, name, source) for name in _TYPES])
    frame = frame.with_columns(
        pl.col("role").fill_null("annotator"),
        pl.col("attention").fill_null(False),
        pl.col("undone").fill_null(False),
        pl.col("check_id").fill_null(pl.col("item_id")),
    ).with_columns(pl.col("concept_id").fill_null(pl.col("check_id")))
    allowed = pl.DataFrame([{"task": t, "answer": a, "ok": True} for t in ANSWERS for a in ANSWERS[t]])
    is_known = frame.join(allowed, on=["task", "answer"], how="left", maintain_order="left")[
        "ok"
    ].is_not_null()
    _require(frame, frame["task"].is_in(TASKS), "task", f"must be one of {', '.join(TASKS)}", source)
    for task, answers in ANSWERS.items():
        valid = is_known | (frame["task"] != task)
        _require(frame, valid, "answer", f"of {task} must be one of {', '.join(answers)}", source)
    _require(frame, frame["role"].is_in(ROLES), "role", f"must be one of {', '.join(ROLES)}", source)
    for name in ("item_id", "annotator"):
        # A spreadsheet would run such a cell as a formula.
        safe = ~frame[name].str.contains(r"^[=+\-@\t\r\n]").fill_null(False)
        _require(frame, safe, name, "must not begin like a formula (=, +, -, @)", source)
        present = frame[name].is_not_null() & (frame[name] != "")
        _require(frame, present, name, "must not be empty", source)
    current = frame.filter(~pl.col("undone"))
    annotator_votes = current.filter(pl.col("role") != "adjudicator")
    twice = annotator_votes.select("item_id", "annotator").is_duplicated()
    if twice.any():
        item, annotator = annotator_votes.filter(twice).select("item_id", "annotator").row(0)
        raise InputError(f"{source}: annotator {annotator!r} has two votes on item {item!r}; expected one")
    if current.is_empty():
        raise InputError(f"{source}: there are no votes")
    return current


def _cast_column(frame: pl.DataFrame, name: str, source: str) -> pl.Series:
    """A column with its declared type; all null if it is missing."""
    kind = _TYPES[name]
    if name not in frame.columns:
        return pl.Series(name, [None] * len(frame), kind)
    values = frame[name]
    if values.dtype.is_nested():
        raise InputError(f"{source}, column {name!r}: expected {kind}, not {values.dtype}")
    if values.dtype == pl.String and kind != pl.String():
        values = values.set(values.str.strip_chars() == "", None)
    try:
        if kind == pl.Boolean() and values.dtype == pl.String:
            texts = values.str.to_lowercase()
            known = texts.is_in(["true", "false", "1", "0"]) | texts.is_null()
            _require(frame, known, name, "must be true or false", source)
            return texts.is_in(["true", "1"]).set(texts.is_null(), None).alias(name)
        if isinstance(kind, pl.Datetime) and values.dtype == pl.String:
            return values.str.to_datetime(time_unit="ms", time_zone="UTC", strict=True)
        if isinstance(kind, pl.Datetime) and isinstance(values.dtype, pl.Datetime):
            zoned = values if values.dtype.time_zone else values.dt.replace_time_zone("UTC")
            return zoned.cast(kind)
        if kind.is_numeric() and values.dtype == pl.String:
            return to_numbers(values, source).cast(kind)
        return values.cast(kind)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{source}, column {name!r}: expected {kind} ({_short(error)})") from None


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:120]


def _require(frame: pl.DataFrame, valid: pl.Series, name: str, rule: str, source: str) -> None:
    """Raise an InputError that names the first row that is not valid."""
    wrong = ~valid.fill_null(False)
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        raise InputError(f"{source}, row {row + 1}: {name} {rule}, not {str(frame[name][row])[:80]!r}")


def require_known_items(votes: pl.DataFrame, items: Collection[str], source: str = "the votes") -> None:
    """Raise an InputError when a vote is on another item than these."""
    unknown = votes.filter(~pl.col("item_id").is_in(list(items)))["item_id"].unique(maintain_order=True)
    if len(unknown):
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise InputError(f"{source}: item {unknown[0]!r}{more} has a vote but is not one of the candidates")


@dataclass(frozen=True)
class ExcludedAnnotator:
    """An annotator whose votes do not count, because too few attention checks were passed.

    Attributes:
        annotator: the pseudonym.
        passed: number of attention checks passed.
        checks: number of attention checks seen.
    """

    annotator: str
    passed: int
    checks: int

    def describe(self) -> str:
        """The annotator and the reason."""
        checks = "check" if self.checks == 1 else "checks"
        return f"{self.annotator} ({self.passed} of {self.checks} attention {checks} passed)"


def count_attention_checks(votes: pl.DataFrame) -> dict[str, tuple[int, int]]:
    """By annotator, the numbers of attention checks passed and seen, over all tasks."""
    seen = votes.filter(pl.col("attention") & pl.col("expected").is_not_null())
    passed = (pl.col("answer") == pl.col("expected")).sum()
    rows = seen.group_by("annotator").agg(passed.alias("passed"), pl.len().alias("seen"))
    return {name: (passed, seen) for name, passed, seen in rows.sort("annotator").iter_rows()}


def exclude_inattentive(
    votes: pl.DataFrame, rule: Rule
) -> tuple[pl.DataFrame, tuple[ExcludedAnnotator, ...]]:
    """The votes that count by a rule, and the annotators whose votes do not."""
    excluded = tuple(
        ExcludedAnnotator(name, passed, seen)
        for name, (passed, seen) in count_attention_checks(votes).items()
        if passed / seen < rule.min_attention - 1e-9
    )
    names = [annotator.annotator for annotator in excluded]
    return votes.filter(~pl.col("annotator").is_in(names)), excluded


def describe_excluded(excluded: Collection[ExcludedAnnotator]) -> list[str]:
    """A line that names the excluded annotators; no line if there are none."""
    if not excluded:
        return []
    subject = "annotator is" if len(excluded) == 1 else "annotators are"
    names = ", ".join(annotator.describe() for annotator in excluded)
    return [f"{len(excluded)} {subject} excluded: {names}"]


def select_annotator_votes(votes: pl.DataFrame) -> pl.DataFrame:
    """The votes on which agreement is measured: no attention checks, no adjudicators."""
    return votes.filter(~pl.col("attention") & (pl.col("role") != "adjudicator"))


def add_vote_verdicts(votes: pl.DataFrame) -> pl.DataFrame:
    """Add a column ``vote_verdict``: ``yes``, ``no``, or null for an answer that means neither."""
    rows = [
        {"task": task, "answer": answer, "vote_verdict": verdict}
        for task, verdicts in VERDICTS.items()
        for answer, verdict in verdicts.items()
    ]
    return votes.join(
        pl.DataFrame(rows, schema={"task": pl.String, "answer": pl.String, "vote_verdict": pl.String}),
        on=["task", "answer"],
        how="left",
        maintain_order="left",
    )


def decide(votes: pl.DataFrame, rule: Rule | None = None) -> pl.DataFrame:
    """Decide about each item.

    Args:
        votes: the votes that count, as :func:`exclude_inattentive` returns them.
        rule: when votes decide.

    Returns:
        One row per item, without attention checks: the columns of the item, ``votes``, ``yes``, ``no``,
        ``unsure``, ``share`` (of the leading verdict, or its probability), ``verdict`` (``yes``, ``no`` or
        null), ``why`` (one of ``DISCARDED`` where the verdict is not yes), ``adjudicated``.

    Raises:
        MissingExtra: the method is Dawid–Skene and its library is not installed.
    """
    rule = rule or Rule()
    votes = add_vote_verdicts(votes.filter(~pl.col("attention")))
    keys = ["task", "check_id", "concept_id", "category", "property", "side", "image_index"]
    keys += ["prompt", "contrast_prompt", "text_model", "image_model"]
    by_annotator = pl.col("role") != "adjudicator"
    items = votes.group_by("item_id", maintain_order=True).agg(
        *(pl.col(name).first() for name in keys),
        by_annotator.sum().alias("votes"),
        *((by_annotator & (pl.col("vote_verdict") == verdict)).sum().alias(verdict) for verdict in (YES, NO)),
        (by_annotator & pl.col("vote_verdict").is_null()).sum().alias("unsure"),
    )
    if rule.method == "dawid-skene":
        # Separately by task: error rates differ between tasks.
        by_task = votes.filter(by_annotator).group_by("task", maintain_order=True)
        posteriors = [dawid_skene(task_votes).posterior for _, task_votes in by_task]
        posterior = pl.concat(posteriors or [pl.DataFrame(schema=_POSTERIOR)])
        items = items.join(posterior, on="item_id", how="left", maintain_order="left")
        lead = pl.max_horizontal("p_yes", "p_no")
        winner = pl.when(pl.col("p_yes") > pl.col("p_no")).then(pl.lit(YES)).otherwise(pl.lit(NO))
    else:
        lead = pl.max_horizontal(YES, NO) / pl.col("votes").cast(pl.Float64)
        winner = pl.when(pl.col(YES) > pl.col(NO)).then(pl.lit(YES)).otherwise(pl.lit(NO))
    # Two of three votes must not fail against 2/3 because of rounding.
    agreed = lead >= rule.min_share - 1e-9
    items = items.with_columns(lead.alias("share")).with_columns(
        pl.when((pl.col("votes") >= rule.min_votes) & agreed)
        .then(winner)
        .otherwise(pl.lit(None, pl.String))
        .alias("verdict")
    )
    last = (
        votes.filter(~by_annotator)
        .sort("voted_at", nulls_last=False, maintain_order=True)
        .group_by("item_id")
        .agg(pl.col("vote_verdict").last().alias("adjudicated_verdict"))
        .with_columns(pl.lit(True).alias("adjudicated"))
    )
    items = items.join(last, on="item_id", how="left", maintain_order="left").with_columns(
        pl.col("adjudicated").fill_null(False)
    )
    adjudicated = pl.col("adjudicated")
    why = (
        pl.when(adjudicated)
        .then(pl.lit(ADJUDICATOR_UNSURE))
        .when(pl.col("votes") < rule.min_votes)
        .then(pl.lit(TOO_FEW_VOTES))
        .otherwise(pl.lit(DISPUTED))
    )
    items = items.with_columns(
        pl.when(adjudicated).then(pl.col("adjudicated_verdict")).otherwise(pl.col("verdict")).alias("verdict")
    )
    return items.with_columns(
        pl.when(pl.col("verdict") == YES)
        .then(pl.lit(None, pl.String))
        .when(pl.col("verdict") == NO)
        .then(pl.lit(NOT_SHOWN))
        .otherwise(why)
        .alias("why")
    ).drop("adjudicated_verdict")


_POSTERIOR = {"item_id": pl.String, "p_yes": pl.Float64, "p_no": pl.Float64}


@dataclass(frozen=True)
class DawidSkeneResult:
    """The estimates of :func:`dawid_skene`.

    Attributes:
        posterior: ``item_id``, ``p_yes``, ``p_no``.
        errors: by annotator, the probability of "no" for an image that shows its prompt, and of "yes" for one
            that does not, among votes with one of these answers; None where there is no such image.
    """

    posterior: pl.DataFrame
    errors: Mapping[str, tuple[float | None, float | None]]


def dawid_skene(votes: pl.DataFrame, *, rounds: int = 100) -> DawidSkeneResult:
    """Estimate the probability of each verdict together with the error rates of each annotator.

    Dawid and Skene (1979), "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm", as
    implemented by crowd-kit. ``unsure`` is a third answer with a class of its own, which no verdict uses.

    Args:
        votes: votes of annotators on one task, with the column of :func:`add_vote_verdicts`.
        rounds: maximum number of EM iterations.

    Raises:
        MissingExtra: crowd-kit is not installed.
    """
    try:
        from crowdkit.aggregation import DawidSkene
    except ImportError:
        raise MissingExtra("Dawid–Skene", "hum") from None
    rows = votes.select(
        pl.col("item_id").alias("task"),
        pl.col("annotator").alias("worker"),
        pl.col("vote_verdict").fill_null("unsure").alias("label"),
    )
    if rows.is_empty():
        return DawidSkeneResult(pl.DataFrame(schema=_POSTERIOR), {})
    import pandas as pd

    model = DawidSkene(n_iter=rounds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of pandas, caused by crowd-kit
        probabilities = model.fit_predict_proba(pd.DataFrame(rows.to_dict(as_series=False)))
    zeros = [0.0] * len(probabilities)
    posterior = pl.DataFrame(
        {
            "item_id": [str(task) for task in probabilities.index],
            "p_yes": probabilities[YES].to_list() if YES in probabilities else zeros,
            "p_no": probabilities[NO].to_list() if NO in probabilities else zeros,
        },
        schema=_POSTERIOR,
    )
    assert model.errors_ is not None
    matrices = {
        (str(worker), str(answer)): row
        for (worker, answer), row in zip(model.errors_.index, model.errors_.to_dict("records"), strict=True)
    }

    def error_rate(worker: str, answer: str, truth: str) -> float | None:
        rates = {value: matrices.get((worker, value), {}).get(truth, 0.0) for value in (YES, NO)}
        total = sum(rates.values())
        return float(rates[answer] / total) if total > 1e-6 and posterior[f"p_{truth}"].sum() > 0.5 else None

    workers = rows["worker"].unique(maintain_order=True)
    errors = {name: (error_rate(name, NO, YES), error_rate(name, YES, NO)) for name in workers}
    return DawidSkeneResult(posterior, errors)
