"""The two TSV layouts of the published scores: a row per image, several metrics in columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from croc.checks.schema import SIDES, SUBSETS
from croc.errors import InputError
from croc.tables.delimited import require_cells, require_columns, to_numbers
from croc.tables.metadata import ScoreMetadata
from croc.tables.score_tables import ScoreTable

SYN_COLUMNS = ("prompt_id", "prompt", "contrast_prompt", "img_gen_model", "text_gen_model", "mode")
"""Columns by which a file of CROCsyn scores is recognised."""

HUM_COLUMNS = ("id", "prompt", "contrast")
"""Columns by which a file of CROChum scores is recognised."""

# Names of the published files that differ from ours.
_SUBSETS = {"subject_property": "property_variation"}
_CATEGORIES = {"spacial_relation": "spatial_relation"}


def _metric_columns(frame: pl.DataFrame, file: Path, images: Sequence[str]) -> list[str]:
    """The metrics of the columns ``METRIC___{orig,contrast}_text___{orig,contrast}_img``, each complete."""
    scores = [name.rsplit("___", 2)[0] for name in frame.columns if name.count("___") >= 2]
    metrics = list(dict.fromkeys(scores))
    if not metrics:
        raise InputError(f"{file}: no score column METRIC___orig_text___{images[0]}_img")
    for metric in metrics:
        require_columns(
            frame,
            [f"{metric}___{text}_text___{image}_img" for text in ("orig", "contrast") for image in images],
            str(file),
        )
    return metrics


def _side_rows(frame: pl.DataFrame, metrics: Sequence[str], side: str, source: str) -> list[pl.Series]:
    image = "orig" if side == SIDES[0] else "contrast"
    columns = [pl.repeat(side, len(frame), eager=True).alias("image_side")]
    for metric in metrics:
        for text, name in (("orig", "prompt_score"), ("contrast", "contrast_score")):
            scores = to_numbers(frame[f"{metric}___{text}_text___{image}_img"], source)
            columns.append(scores.alias(f"{metric}/{name}"))
    return columns


def read_syn(frame: pl.DataFrame, file: Path) -> ScoreTable:
    """Read scores on CROCsyn: a row per image index, with both sides and all metrics in columns.

    Raises:
        InputError: a column is missing, or a cell cannot be read.
    """
    metrics = _metric_columns(frame, file, ("orig", "contrast"))
    parts = frame["prompt_id"].str.split("_____")
    index = parts.list.get(-1).cast(pl.Int64, strict=False)
    wrong = index.is_null() | (parts.list.len() != 2)
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        raise InputError(
            f"{file}, column 'prompt_id', row {row + 1}: {frame['prompt_id'][row]!r} is not CONCEPT_____INDEX"
        )
    concept = parts.list.get(0)
    words = concept.str.split("|||")
    subset = frame["mode"].replace(_SUBSETS)
    unknown = ~subset.is_in(list(SUBSETS))
    if unknown.any():
        row = int(unknown.arg_max() or 0)
        raise InputError(f"{file}, column 'mode', row {row + 1}: unknown subset {frame['mode'][row]!r}")
    keys = frame.select(
        check_id=pl.concat_str(concept, "prompt", "img_gen_model", "text_gen_model", separator=" | "),
        concept_id=concept,
        subset=subset,
        property=pl.when(subset == SUBSETS[0]).then(words.list.get(2, null_on_oob=True)),
        topic=pl.when(subset == SUBSETS[0]).then(words.list.get(1, null_on_oob=True)),
        text_model="text_gen_model",
        image_model="img_gen_model",
        image_index=index,
    )
    sides = [
        keys.with_columns(_side_rows(frame, metrics, side, str(file))).with_row_index("row") for side in SIDES
    ]
    rows = pl.concat(sides).sort("check_id", "image_side", "image_index", maintain_order=True).drop("row")
    return _release_table(rows, "syn", metrics, str(file))


def read_hum(files: Sequence[tuple[Path, pl.DataFrame]]) -> ScoreTable:
    """Read scores on CROChum: per category, one file with the images of each side.

    Raises:
        InputError: a column or a file is missing, or a cell cannot be read.
    """
    known: list[str] | None = None
    rows = []
    sides: dict[str, dict[str, Path]] = {side: {} for side in SIDES}
    for file, frame in files:
        side = next((s for s in SIDES if f"{_path_prefix(s)}_paths" in frame.columns), None)
        if side is None:
            raise InputError(f"{file}: missing column 'prompt_paths' or 'contrast_paths'")
        require_cells(frame, ("id",), str(file))
        metrics = _metric_columns(frame, file, ("orig" if side == SIDES[0] else "contrast",))
        if known is not None and sorted(metrics) != sorted(known):
            name = sorted(set(metrics) ^ set(known))[0]
            raise InputError(f"{file}: all files must have the same metrics; {name!r} is not in all of them")
        known = metrics if known is None else known
        path = frame[f"{_path_prefix(side)}_paths"]
        duplicated = frame.select("id", path).is_duplicated()
        if duplicated.any():
            row = int(duplicated.arg_max() or 0)
            raise InputError(f"{file}, row {row + 1}: duplicate row for {frame['id'][row]!r}, {path[row]!r}")
        category = frame["id"].str.extract(r"^(.*)_[^_]*$").replace(_CATEGORIES)
        sides[side] |= dict.fromkeys(category.fill_null("").unique(), file)
        rows.append(
            frame.select(
                check_id="id",
                concept_id="id",
                category=category,
                image_model=path.str.split("___").list.get(2, null_on_oob=True),
                image_index=pl.int_range(pl.len()).over("id"),
            ).with_columns(_side_rows(frame, metrics, side, str(file)))
        )
    for side, other in (SIDES, SIDES[::-1]):
        for name, file in sides[side].items():
            if name not in sides[other]:
                raise InputError(
                    f"{file}: the {other} images of {name!r} are missing; give the files of both sides"
                )
    assert known is not None
    source = str(files[0][0].parent) if len(files) > 1 else str(files[0][0])
    return _release_table(pl.concat(rows), "hum", known, source)


def _path_prefix(side: str) -> str:
    return "prompt" if side == SIDES[0] else "contrast"


def _release_table(rows: pl.DataFrame, protocol: str, metrics: Sequence[str], source: str) -> ScoreTable:
    pairs = {metric: (f"{metric}/prompt_score", f"{metric}/contrast_score") for metric in metrics}
    reasons = {}
    for metric, names in pairs.items():
        empty = int(rows.select(pl.any_horizontal(pl.col(names).is_null()).sum()).item())
        reasons[metric] = {"score empty, NaN or infinite": empty} if empty else {}
    metadata = {metric: ScoreMetadata(metric, protocol) for metric in metrics}
    return ScoreTable(rows, protocol, pairs, metadata, source, reasons)
