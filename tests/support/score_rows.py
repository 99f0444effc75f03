"""Score tables made for tests: rows as dicts, written with the public writer."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from croc.tables.columns import SCORE_COLUMNS, score_schema
from croc.tables.metadata import ScoreMetadata
from croc.tables.score_tables import ScoreTable, score_table
from croc.tables.writers import write_scores

FAILED = "the model gave no score"


def row(check, side, index, prompt_score, contrast_score, **more):
    """One row of a score table; a missing score comes with its reason."""
    holes = prompt_score is None or contrast_score is None
    given = {
        "check_id": check,
        "concept_id": f"concept of {check}",
        "image_side": side,
        "image_index": index,
        "prompt_score": prompt_score,
        "contrast_score": contrast_score,
        "error": FAILED if holes else None,
    }
    return dict.fromkeys(SCORE_COLUMNS) | given | more


def check_rows(check, original, contrast, **more):
    """The rows of one check.

    Args:
        check: its id.
        original: per original image, (score with the prompt, score with the contrast prompt).
        contrast: per contrast image, the same.
        **more: further columns, the same on every row.
    """
    return [
        row(check, side, index, *scores, **more)
        for side, images in (("original", original), ("contrast", contrast))
        for index, scores in enumerate(images)
    ]


def table(scorer, rows, protocol="syn", **metadata) -> ScoreTable:
    """The rows as a table of one scorer, without a file."""
    kinds = {"image_index": pl.Int32, "prompt_score": pl.Float64, "contrast_score": pl.Float64}
    names = dict.fromkeys((*SCORE_COLUMNS, *rows[0]))
    data = {
        name: pl.Series([one.get(name) for one in rows], dtype=kinds.get(name, pl.String)) for name in names
    }
    return score_table(pl.DataFrame(data), ScoreMetadata(scorer, protocol, **metadata), scorer)


def write(folder, scorer, rows, protocol="syn", **metadata):
    """Write one scorer's table as Parquet; returns its path."""
    names = [*SCORE_COLUMNS, *(name for name in rows[0] if name not in SCORE_COLUMNS)]
    schema = score_schema()
    table = pa.table(
        {
            name: pa.array(
                [one.get(name) for one in rows], schema.field(name).type if name in SCORE_COLUMNS else None
            )
            for name in names
        }
    )
    path = folder / f"{scorer}.parquet"
    write_scores(table, ScoreMetadata(scorer, protocol, **metadata), path)
    return path
