"""How many responses could be used, per subset, property and language model, and why the others could not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from croc.errors import InputError
from croc.jobs.runner import Manifest, read_manifest, require_parts
from croc.storage.files import atomic
from croc.storage.frames import read_frame
from croc.wording import counted

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table

FILE, REASONS = "yield.csv", "refusals.csv"

_GROUP = ("subset", "property", "text_model", "image_model")
_NEEDED = (*_GROUP, "tries", "error", "refused_kinds", "edits", "output_tokens")


def read(made: Manifest | str | Path) -> pl.DataFrame:
    """The rows of a finished folder of prompts, without the prompts.

    Raises:
        InputError: the folder is not finished, or contains something else.
    """
    import polars as pl

    manifest = made if isinstance(made, Manifest) else read_manifest(made)
    require_parts(manifest)
    frames = [read_frame(file, _NEEDED)[0] for file in manifest.files()]
    try:
        return pl.concat(frames).select(_NEEDED)
    except (ValueError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{manifest.folder}: not a finished folder of prompts ({reason})") from None


def yields(rows: pl.DataFrame, by: tuple[str, ...] = ("subset", "property", "text_model")) -> pl.DataFrame:
    """A row per group.

    Args:
        rows: from :func:`read`.
        by: columns of the rows.

    Returns:
        The groups with the checks ``asked`` for and ``kept``, the ``share`` kept, ``first``: the share kept
        with the first response, ``answers``: responses per check on average, ``edits``: the median number of
        words between the prompts of a pair, and ``tokens``: output tokens per check on average.
    """
    import polars as pl

    kept = pl.col("error").is_null()
    return (
        rows.group_by(by)
        .agg(
            asked=pl.len(),
            kept=kept.sum(),
            share=kept.mean(),
            first=(kept & (pl.col("tries") == 1)).mean(),
            answers=pl.col("tries").mean(),
            edits=pl.col("edits").filter(kept).median(),
            tokens=pl.col("output_tokens").mean(),
        )
        .sort(by, nulls_last=True)
    )


def refusals(rows: pl.DataFrame) -> pl.DataFrame:
    """Number of refused responses per language model and kind of reason, the most frequent first."""
    import polars as pl

    return (
        rows.select("text_model", kind="refused_kinds")
        .explode("kind")
        .drop_nulls("kind")
        .group_by("text_model", "kind")
        .agg(answers=pl.len())
        .sort(["text_model", "answers", "kind"], descending=[False, True, False])
    )


def write(rows: pl.DataFrame, folder: Path) -> list[Path]:
    """Write both tables as CSV beside the prompts.

    Returns:
        The files.
    """
    files = []
    for name, table in ((FILE, yields(rows)), (REASONS, refusals(rows))):
        with atomic(folder / name) as temporary:
            table.write_csv(temporary, float_precision=4)
        files.append(folder / name)
    return files


def summary(manifest: Manifest) -> str:
    """The yield in one line."""
    counts = {name: int(value) for name, value in manifest.counts.items()}
    requested = counts.get("checks", 0) + counts.get("failed", 0)
    parts = [f"{counts.get('checks', 0):,} of {counted(requested, 'pair')} usable"]
    if counts.get("tries"):
        parts.append(f"{counted(counts['tries'], 'response')} requested again")
    if counts.get("output_tokens"):
        parts.append(f"{counts['input_tokens']:,} + {counts['output_tokens']:,} tokens")
    return ", ".join(parts)


def tables(rows: pl.DataFrame) -> list[Table]:
    """Both tables for a terminal; properties that kept all checks share one line per subset."""
    from rich.table import Table

    table = yields(rows)
    full = table.filter(table["kept"] == table["asked"])
    yield_table = Table(title="Yield", title_justify="left")
    for name in ("subset", "property", "text model"):
        yield_table.add_column(name)
    for name in ("asked", "kept", "share", "first", "responses", "edits"):
        yield_table.add_column(name, justify="right")
    for row in table.filter(table["kept"] < table["asked"]).iter_rows(named=True):
        yield_table.add_row(row["subset"], row["property"] or "–", row["text_model"], *_numbers(row))
    group = ["subset", "property", "text_model"]
    complete = rows.join(full.select(group), on=group, nulls_equal=True)
    for row in yields(complete, ("subset", "text_model")).iter_rows(named=True):
        count = full.filter(
            (full["subset"] == row["subset"]) & (full["text_model"] == row["text_model"])
        ).height
        label = f"all of {count}" if row["subset"] == "property_variation" else "–"
        yield_table.add_row(row["subset"], label, row["text_model"], *_numbers(row))
    reasons = refusals(rows)
    if reasons.is_empty():
        return [yield_table]
    reason_table = Table(title="Refused responses", title_justify="left")
    for name in ("text model", "reason"):
        reason_table.add_column(name)
    reason_table.add_column("responses", justify="right")
    for model, kind, count in reasons.iter_rows():
        reason_table.add_row(model, kind, str(count))
    return [yield_table, reason_table]


def _numbers(row: dict[str, float | None]) -> list[str]:
    edits = "–" if row["edits"] is None else f"{row['edits']:g}"
    counts = [f"{row['asked']}", f"{row['kept']}", f"{row['share']:.1%}", f"{row['first']:.1%}"]
    return [*counts, f"{row['answers']:.2f}", edits]
