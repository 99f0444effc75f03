"""Votes as a table, and what they add up to: one reader, one rule, a verdict per image."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from croc.errors import InputError, MissingExtra
from croc.tables.delimited import read_delimited, require_columns, to_numbers
from croc_hum.schema import ANSWERS, ROLES, TASKS, VOTE_COLUMNS

KEYS = ("item_id", "annotator", "task", "answer")
"""The columns without which a row is no vote; the others may be missing and are null then."""

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
"""Whether an answer says that the image shows its own prompt; None where it does not say."""

WRONG = "judged not to show its prompt"
UNJUDGED, FEW = "judged by nobody", "too few votes"
DIVIDED, UNCLEAR = "annotators disagree and no adjudicator decided", "the adjudicator could not tell"
DISCARDED = (WRONG, UNJUDGED, FEW, DIVIDED, UNCLEAR)
"""Why an image is not released."""

METHODS = ("majority", "dawid-skene")


@dataclass(frozen=True)
class Rule:
    """When votes decide about an image.

    Attributes:
        min_votes: people who voted, at least; ``unsure`` is a vote.
        min_share: share of them that must agree, of all votes with ``unsure`` among them.
        method: ``majority`` counts votes; ``dawid-skene`` weighs annotators by how they err, and
            ``min_share`` is then the least probability of the verdict.
        min_attention: share of the attention checks that somebody saw that they must have answered right; who
            has fewer is left out. Who saw none stays.
    """

    min_votes: int = 3
    min_share: float = 2 / 3
    method: str = "majority"
    min_attention: float = 0.0

    def __post_init__(self) -> None:
        if self.min_votes < 1:
            raise InputError(f"at least 1 vote is needed, not {self.min_votes}")
        if not 0.5 < self.min_share <= 1:
            raise InputError(f"the share that must agree is above 0.5 and at most 1, not {self.min_share}")
        if not 0 <= self.min_attention <= 1:
            raise InputError(f"the share of attention checks is between 0 and 1, not {self.min_attention}")
        if self.method not in METHODS:
            raise InputError(f"method {self.method!r} is not known; known are {', '.join(METHODS)}")

    def words(self) -> str:
        """The rule in a sentence."""
        how = "of the votes agree" if self.method == "majority" else "is its probability (Dawid–Skene)"
        text = (
            f"an image is decided with at least {self.min_votes} votes when at least {self.min_share:.0%} "
            f"{how}; an adjudicator decides the others"
        )
        if self.min_attention:
            text += f"; who passes less than {self.min_attention:.0%} of their attention checks is left out"
        return text

    def fields(self) -> dict[str, Any]:
        """The rule as JSON values."""
        return asdict(self)


def read_votes(path: str | Path) -> pl.DataFrame:
    """Read exported votes.

    Args:
        path: a Parquet, CSV or TSV file with the columns of ``VOTE_COLUMNS``; all but ``KEYS`` may be
            missing.

    Returns:
        All those columns; votes that were taken back are gone, attention checks stay (``attention``).

    Raises:
        InputError: the file cannot be read, or a row is no vote; the message names the row.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{file}: there is no such file of votes")
    if file.suffix != ".parquet":
        return table(read_delimited(file), str(file))
    try:
        frame = pl.read_parquet(file)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise InputError(f"{file}: not a readable file of votes ({str(error).splitlines()[0]})") from None
    return table(frame, str(file))


def table(frame: pl.DataFrame, source: str = "the votes") -> pl.DataFrame:
    """Check a table of votes and complete its columns; see :func:`read_votes`.

    Raises:
        InputError: a row is no vote, or somebody has two votes on one item.
    """
    require_columns(frame, KEYS, source)
    frame = frame.select([_typed(frame, name, source) for name in _TYPES])
    frame = frame.with_columns(
        pl.col("role").fill_null("annotator"),
        pl.col("attention").fill_null(False),
        pl.col("undone").fill_null(False),
        pl.col("check_id").fill_null(pl.col("item_id")),
    ).with_columns(pl.col("concept_id").fill_null(pl.col("check_id")))
    allowed = pl.DataFrame([{"task": t, "answer": a, "ok": True} for t in ANSWERS for a in ANSWERS[t]])
    answered = frame.join(allowed, on=["task", "answer"], how="left", maintain_order="left")[
        "ok"
    ].is_not_null()
    _first_wrong(frame, frame["task"].is_in(TASKS), "task", f"is one of {', '.join(TASKS)}", source)
    for task, answers in ANSWERS.items():
        fits = answered | (frame["task"] != task)
        _first_wrong(frame, fits, "answer", f"of {task} is one of {', '.join(answers)}", source)
    _first_wrong(frame, frame["role"].is_in(ROLES), "role", f"is one of {', '.join(ROLES)}", source)
    for name in ("item_id", "annotator"):
        # A spreadsheet would run what begins so; no id of ours does.
        plain = ~frame[name].str.contains(r"^[=+\-@\t\r\n]").fill_null(False)
        _first_wrong(frame, plain, name, "does not begin like a formula (=, +, -, @)", source)
        there = frame[name].is_not_null() & (frame[name] != "")
        _first_wrong(frame, there, name, "must not be empty", source)
    standing = frame.filter(~pl.col("undone"))
    people = standing.filter(pl.col("role") != "adjudicator")
    twice = people.select("item_id", "annotator").is_duplicated()
    if twice.any():
        item, who = people.filter(twice).select("item_id", "annotator").row(0)
        raise InputError(f"{source}: annotator {who!r} has two votes on item {item!r}; only one may stand")
    if standing.is_empty():
        raise InputError(f"{source}: no vote is in it")
    return standing


def _typed(frame: pl.DataFrame, name: str, source: str) -> pl.Series:
    """A column in the type that it has in exported votes; one that is missing is null throughout."""
    kind = _TYPES[name]
    if name not in frame.columns:
        return pl.Series(name, [None] * len(frame), kind)
    values = frame[name]
    if values.dtype.is_nested():
        raise InputError(f"{source}, column {name!r}: lists are no cells of a table of votes")
    if values.dtype == pl.String and kind != pl.String():
        values = values.set(values.str.strip_chars() == "", None)
    try:
        if kind == pl.Boolean() and values.dtype == pl.String:
            words = values.str.to_lowercase()
            known = words.is_in(["true", "false", "1", "0"]) | words.is_null()
            _first_wrong(frame, known, name, "is true or false", source)
            return words.is_in(["true", "1"]).set(words.is_null(), None).alias(name)
        if isinstance(kind, pl.Datetime) and values.dtype == pl.String:
            return values.str.to_datetime(time_unit="ms", time_zone="UTC", strict=True)
        if isinstance(kind, pl.Datetime) and isinstance(values.dtype, pl.Datetime):
            zoned = values if values.dtype.time_zone else values.dt.replace_time_zone("UTC")
            return zoned.cast(kind)
        if kind.is_numeric() and values.dtype == pl.String:
            return to_numbers(values, source).cast(kind)
        return values.cast(kind)
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"{source}, column {name!r}: not what it should be, {kind} ({_short(error)})"
        ) from None


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:120]


def _first_wrong(frame: pl.DataFrame, fine: pl.Series, name: str, rule: str, source: str) -> None:
    wrong = ~fine.fill_null(False)
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        raise InputError(f"{source}, row {row + 1}: {name} {rule}, not {str(frame[name][row])[:80]!r}")


def known_items(votes: pl.DataFrame, items: Collection[str], source: str = "the votes") -> None:
    """Raise an InputError when a vote is on an item that is none of these."""
    strange = votes.filter(~pl.col("item_id").is_in(list(items)))["item_id"].unique(maintain_order=True)
    if len(strange):
        more = f" (and {len(strange) - 1} more)" if len(strange) > 1 else ""
        raise InputError(f"{source}: a vote is on item {strange[0]!r}{more}, which is none of the candidates")


@dataclass(frozen=True)
class LeftOut:
    """An annotator whose votes do not count: ``passed`` of ``checks`` attention checks are too few."""

    annotator: str
    passed: int
    checks: int

    def words(self) -> str:
        """Who and why."""
        return f"{self.annotator} ({self.passed} of {self.checks} attention checks passed)"


def attention_of(votes: pl.DataFrame) -> dict[str, tuple[int, int]]:
    """By annotator, how many attention checks they passed, and how many they saw, whatever their task."""
    seen = votes.filter(pl.col("attention") & pl.col("expected").is_not_null())
    passed = (pl.col("answer") == pl.col("expected")).sum()
    rows = seen.group_by("annotator").agg(passed.alias("passed"), pl.len().alias("seen"))
    return {name: (passed, seen) for name, passed, seen in rows.sort("annotator").iter_rows()}


def attentive(votes: pl.DataFrame, rule: Rule) -> tuple[pl.DataFrame, tuple[LeftOut, ...]]:
    """The votes that count by a rule, and whose do not because they missed too many attention checks."""
    out = tuple(
        LeftOut(name, passed, seen)
        for name, (passed, seen) in attention_of(votes).items()
        if passed / seen < rule.min_attention - 1e-9
    )
    return votes.filter(~pl.col("annotator").is_in([each.annotator for each in out])), out


def left_out_words(out: Collection[LeftOut]) -> list[str]:
    """A line that says whose votes do not count; none where everybody's do."""
    if not out:
        return []
    are = "annotator is" if len(out) == 1 else "annotators are"
    return [f"{len(out)} {are} left out: {', '.join(each.words() for each in out)}"]


def of_people(votes: pl.DataFrame) -> pl.DataFrame:
    """The votes that agreement is measured on: without attention checks, without adjudicators."""
    return votes.filter(~pl.col("attention") & (pl.col("role") != "adjudicator"))


def saying(votes: pl.DataFrame) -> pl.DataFrame:
    """The votes with a column ``says``: ``yes``, ``no``, or null where the answer does not say."""
    pairs = [{"task": t, "answer": a, "says": v} for t, of in VERDICTS.items() for a, v in of.items()]
    return votes.join(
        pl.DataFrame(pairs, schema={"task": pl.String, "answer": pl.String, "says": pl.String}),
        on=["task", "answer"],
        how="left",
        maintain_order="left",
    )


def decide(votes: pl.DataFrame, rule: Rule | None = None) -> pl.DataFrame:
    """What the votes say about each item.

    Args:
        votes: those that count, as :func:`attentive` gives them.
        rule: when they decide.

    Returns:
        A row an item, without attention checks: the item's columns, ``votes``, ``yes``, ``no``, ``unsure``,
        ``share`` (of the leading verdict, or its probability), ``verdict`` (``yes``, ``no`` or null),
        ``why`` (one of ``DISCARDED`` where it is not yes), ``adjudicated``.

    Raises:
        MissingExtra: Dawid–Skene was asked for and its library is not installed.
    """
    rule = rule or Rule()
    votes = saying(votes.filter(~pl.col("attention")))
    keys = ["task", "check_id", "concept_id", "category", "property", "side", "image_index"]
    keys += ["prompt", "contrast_prompt", "text_model", "image_model"]
    people = pl.col("role") != "adjudicator"
    items = votes.group_by("item_id", maintain_order=True).agg(
        *(pl.col(name).first() for name in keys),
        people.sum().alias("votes"),
        *((people & (pl.col("says") == word)).sum().alias(word) for word in (YES, NO)),
        (people & pl.col("says").is_null()).sum().alias("unsure"),
    )
    if rule.method == "dawid-skene":
        # People err in one way about what an image shows, and in another about how well.
        by_task = votes.filter(people).group_by("task", maintain_order=True)
        found = [dawid_skene(mine).posterior for _, mine in by_task]
        posterior = pl.concat(found or [pl.DataFrame(schema=_POSTERIOR)])
        items = items.join(posterior, on="item_id", how="left", maintain_order="left")
        lead = pl.max_horizontal("p_yes", "p_no")
        winner = pl.when(pl.col("p_yes") > pl.col("p_no")).then(pl.lit(YES)).otherwise(pl.lit(NO))
    else:
        lead = pl.max_horizontal(YES, NO) / pl.col("votes").cast(pl.Float64)
        winner = pl.when(pl.col(YES) > pl.col(NO)).then(pl.lit(YES)).otherwise(pl.lit(NO))
    # A third of three votes is not to fail against 2/3 for its last binary digit.
    agreed = lead >= rule.min_share - 1e-9
    items = items.with_columns(lead.alias("share")).with_columns(
        pl.when((pl.col("votes") >= rule.min_votes) & agreed)
        .then(winner)
        .otherwise(pl.lit(None, pl.String))
        .alias("verdict")
    )
    last = (
        votes.filter(~people)
        .sort("voted_at", nulls_last=False, maintain_order=True)
        .group_by("item_id")
        .agg(pl.col("says").last().alias("ruled"))
        .with_columns(pl.lit(True).alias("adjudicated"))
    )
    items = items.join(last, on="item_id", how="left", maintain_order="left").with_columns(
        pl.col("adjudicated").fill_null(False)
    )
    ruled = pl.col("adjudicated")
    why = (
        pl.when(ruled)
        .then(pl.lit(UNCLEAR))
        .when(pl.col("votes") < rule.min_votes)
        .then(pl.lit(FEW))
        .otherwise(pl.lit(DIVIDED))
    )
    items = items.with_columns(
        pl.when(ruled).then(pl.col("ruled")).otherwise(pl.col("verdict")).alias("verdict")
    )
    return items.with_columns(
        pl.when(pl.col("verdict") == YES)
        .then(pl.lit(None, pl.String))
        .when(pl.col("verdict") == NO)
        .then(pl.lit(WRONG))
        .otherwise(why)
        .alias("why")
    ).drop("ruled")


_POSTERIOR = {"item_id": pl.String, "p_yes": pl.Float64, "p_no": pl.Float64}


@dataclass(frozen=True)
class Latent:
    """What :func:`dawid_skene` makes of votes.

    Attributes:
        posterior: ``item_id``, ``p_yes``, ``p_no``.
        errors: by annotator, the probability of "no" where an image shows its prompt, and of "yes" where it
            does not, among votes that say one of them; None where no image is of that kind.
    """

    posterior: pl.DataFrame
    errors: Mapping[str, tuple[float | None, float | None]]


def dawid_skene(votes: pl.DataFrame, *, rounds: int = 100) -> Latent:
    """The probability of each verdict when annotators err in their own ways, and how each of them errs.

    Dawid and Skene (1979), "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm",
    by crowd-kit. ``unsure`` is an answer like others, which people give more readily of some images; its own
    class takes no part in the verdict.

    Args:
        votes: of people on one task, with the column ``says`` of :func:`saying`.
        rounds: of expectation and maximisation, at most.

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
        pl.col("says").fill_null("unsure").alias("label"),
    )
    if rows.is_empty():
        return Latent(pl.DataFrame(schema=_POSTERIOR), {})
    import pandas as pd

    model = DawidSkene(n_iter=rounds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of pandas, about what is inside of crowd-kit
        found = model.fit_predict_proba(pd.DataFrame(rows.to_dict(as_series=False)))
    zeros = [0.0] * len(found)
    posterior = pl.DataFrame(
        {
            "item_id": [str(task) for task in found.index],
            "p_yes": found[YES].to_list() if YES in found else zeros,
            "p_no": found[NO].to_list() if NO in found else zeros,
        },
        schema=_POSTERIOR,
    )
    assert model.errors_ is not None
    matrices = {
        (str(worker), str(said)): row
        for (worker, said), row in zip(model.errors_.index, model.errors_.to_dict("records"), strict=True)
    }

    def rate(worker: str, said: str, truth: str) -> float | None:
        of = {word: matrices.get((worker, word), {}).get(truth, 0.0) for word in (YES, NO)}
        total = sum(of.values())
        return float(of[said] / total) if total > 1e-6 and posterior[f"p_{truth}"].sum() > 0.5 else None

    workers = rows["worker"].unique(maintain_order=True)
    return Latent(posterior, {each: (rate(each, NO, YES), rate(each, YES, NO)) for each in workers})
