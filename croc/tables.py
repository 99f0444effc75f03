"""Readers of what is judged: score tables (Parquet, CSV, and two published TSV layouts) and pair tables.

Each input kind has its one reader here, which validates; what is wrong becomes one sentence with file, column
and row. Rows are counted from 1, without the header.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from croc.errors import InputError
from croc.schema import (
    NO_CONTRAST_PROMPT,
    PROTOCOLS,
    SCORE_COLUMNS,
    SCORE_KEYS,
    SCORE_VALUES,
    SIDES,
    SUBSETS,
    ScoreMetadata,
)

# The published files name subsets and categories in their own way.
_PUBLISHED_SUBSETS = {"subject_property": "property_variation"}
_PUBLISHED_CATEGORIES = {"spacial_relation": "spatial_relation"}
_SYN_TSV = ("prompt_id", "prompt", "contrast_prompt", "img_gen_model", "text_gen_model", "mode")
_HUM_TSV = ("id", "prompt", "contrast")
_SUFFIXES = (".parquet", ".tsv", ".tsv.gz", ".csv", ".csv.gz")
# Of a table with a million rows, only what a verdict may need is read.
_READ = (*SCORE_KEYS, "concept_id", "subset", "category", "text_model", *SCORE_VALUES, "error")
_NO_NUMBER = ("", "nan", "null", "none", "na", "n/a", "inf", "+inf", "-inf", "infinity", "-infinity")


@dataclass(frozen=True)
class ScoreTable:
    """Scores of one or more metrics on the same rows.

    Attributes:
        frame: the columns of ``SCORE_COLUMNS`` that the file has, others to group by, and the scores.
        protocol: ``syn`` or ``hum``.
        metrics: per metric, its two score columns (under the original, under the contrast prompt).
        metadata: per metric, what its file says about it.
        source: file name, for messages.
        reasons: how many rows lack a score, by reason.
    """

    frame: pl.DataFrame
    protocol: str
    metrics: Mapping[str, tuple[str, str]]
    metadata: Mapping[str, ScoreMetadata]
    source: str
    reasons: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def read_score_tables(
    paths: Iterable[Path | str],
    *,
    protocol: str | None = None,
    groups: Sequence[str] = (),
    metrics: Sequence[str] | None = None,
) -> list[ScoreTable]:
    """Read score tables and bring the parts of each metric together.

    Args:
        paths: files, or folders whose tables are all read.
        protocol: ``syn`` or ``hum``; None takes what the files say or show.
        groups: columns that will be grouped by; they must be there.
        metrics: keep only these metrics; None keeps all.

    Returns:
        One table a metric, or a metric family from one file; all of one protocol and one dataset revision.

    Raises:
        InputError: a file cannot be read as a score table, or tables do not belong together.
    """
    if protocol not in (None, *PROTOCOLS):
        raise InputError(f"unknown protocol {protocol!r}; known are {', '.join(PROTOCOLS)}")
    files = find_tables(paths)
    tables: list[ScoreTable] = []
    release: list[tuple[Path, pl.DataFrame]] = []
    for file in files:
        if file.name.endswith(".parquet"):
            tables.append(_read_parquet(file, protocol, groups))
            continue
        frame = read_delimited(file)
        if set(_SYN_TSV) <= set(frame.columns):
            tables.append(_from_syn_release(frame, file))
        elif set(_HUM_TSV) <= set(frame.columns):
            release.append((file, frame))
        else:
            tables.append(_read_long_text(frame, file, protocol, groups))
    if release:
        tables.append(_from_hum_release(release))
    if protocol is not None:
        tables = [replace(table, protocol=protocol) for table in tables]
    _belong_together(tables)
    tables = _join_parts(tables)
    for table in tables:
        for name in groups:
            if name not in table.frame.columns:
                raise InputError(f"{table.source}: no column {name!r} to group by")
    return tables if metrics is None else _select(tables, metrics)


def find_tables(paths: Iterable[Path | str]) -> list[Path]:
    """The files that ``paths`` name; a folder stands for the tables directly in it.

    Raises:
        InputError: a path is not there, a folder holds no table, or a file is of another kind.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.name.endswith(_SUFFIXES))
            if not inside:
                raise InputError(f"{path}: no score table in this folder ({', '.join(_SUFFIXES)})")
            files += inside
        elif not path.exists():
            raise InputError(f"{path}: no such file")
        elif not path.name.endswith(_SUFFIXES):
            raise InputError(f"{path}: a table ends in {', '.join(_SUFFIXES)}")
        else:
            files.append(path)
    if not files:
        raise InputError("no score table was given")
    return files


def _belong_together(tables: Sequence[ScoreTable]) -> None:
    first = tables[0]
    revision_of: dict[str | None, tuple[str | None, str]] = {}
    for table in tables:
        if table.protocol != first.protocol:
            raise InputError(
                f"{table.source} is judged by the {table.protocol} protocol and {first.source} by the "
                f"{first.protocol} one; evaluate them apart, or give --protocol"
            )
        for said in table.metadata.values():
            if said.dataset is None and said.dataset_revision is None:
                continue
            known = revision_of.setdefault(said.dataset, (said.dataset_revision, table.source))
            if known[0] != said.dataset_revision:
                raise InputError(
                    f"{table.source} scores revision {said.dataset_revision} of {said.dataset}, {known[1]} "
                    f"revision {known[0]}; tables of different revisions do not mix"
                )
    if len(revision_of) > 1:
        names = " and ".join(sorted(str(name) for name in revision_of))
        raise InputError(f"the tables score different datasets: {names}; evaluate them apart")


def _join_parts(tables: Sequence[ScoreTable]) -> list[ScoreTable]:
    """Tables of one metric are its parts: put them under each other."""
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
            said = [part.metadata[name] for part in parts[name]]
            for part, other in zip(parts[name], said, strict=True):
                if replace(other, library_versions={}) != replace(said[0], library_versions={}):
                    raise InputError(
                        f"{part.source} and {parts[name][0].source} both hold the metric {name!r} but with "
                        "different settings; give it different names"
                    )
        reasons = {
            name: dict(sum((Counter(p.reasons.get(name, {})) for p in parts[name]), Counter()))
            for name in names
        }
        out.append(
            ScoreTable(
                pl.concat([part.frame for part in group], how="diagonal"),
                group[0].protocol,
                {name: group[0].metrics[name] for name in names},
                {name: group[0].metadata[name] for name in names},
                " + ".join(part.source for part in group),
                reasons,
            )
        )
    return out


def _select(tables: Sequence[ScoreTable], wanted: Sequence[str]) -> list[ScoreTable]:
    known = [metric for table in tables for metric in table.metrics]
    for name in wanted:
        if name not in known:
            close = get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"
            raise InputError(f"unknown metric {name!r}{hint}")
    kept = []
    for table in tables:
        metrics = {name: columns for name, columns in table.metrics.items() if name in wanted}
        if metrics:
            kept.append(replace(table, metrics=metrics))
    return kept


# ---- Our own layout: a row per (check, image), one metric a file ----


def _read_parquet(file: Path, protocol: str | None, groups: Sequence[str]) -> ScoreTable:
    try:
        schema = pl.read_parquet_schema(file)
        flat = pl.read_parquet_metadata(file)
        wanted = [name for name in (*_READ, *groups) if name in schema]
        frame = pl.read_parquet(file, columns=list(dict.fromkeys(wanted)), glob=False)
    except (pl.exceptions.PolarsError, OSError, ValueError) as problem:
        size = file.stat().st_size
        what = "is empty" if size == 0 else f"is not a whole Parquet file of {size} bytes"
        raise InputError(f"{file}: {what} ({str(problem).splitlines()[0][:120]})") from None
    metadata = ScoreMetadata.from_parquet(flat, default_name=file.stem, source=str(file))
    return score_table(frame, metadata, str(file), protocol)


def _read_long_text(
    frame: pl.DataFrame, file: Path, protocol: str | None, groups: Sequence[str]
) -> ScoreTable:
    _need(frame, ("check_id", "image_side", "image_index", *SCORE_VALUES), str(file))
    index = frame["image_index"].cast(pl.Int64, strict=False)
    if index.null_count():
        row = int(index.is_null().arg_max() or 0)
        raise InputError(
            f"{file}, column 'image_index', row {row + 1}: {frame['image_index'][row]!r} is no index"
        )
    frame = frame.with_columns(index, *(_numbers(frame[name], str(file)) for name in SCORE_VALUES))
    keep = [name for name in dict.fromkeys((*SCORE_COLUMNS, *groups)) if name in frame.columns]
    name = file.name.split(".")[0]
    return score_table(frame.select(keep), ScoreMetadata(name), str(file), protocol)


def score_table(
    frame: pl.DataFrame, metadata: ScoreMetadata, source: str, protocol: str | None = None
) -> ScoreTable:
    """Check scores of one metric that stand in our layout, and count what is no score.

    Args:
        frame: a row per (check, image) with at least ``check_id, image_side, image_index, prompt_score,
            contrast_score``.
        metadata: name of the metric and what else is known.
        source: name of the table in messages.
        protocol: ``syn`` or ``hum``; None takes what the metadata or the columns say.

    Raises:
        InputError: a column is missing or holds what it must not.
    """
    _need(frame, ("check_id", "image_side", "image_index", *SCORE_VALUES), source)
    if not len(frame):
        raise InputError(f"{source}: the table holds no rows")
    for name in ("check_id", "image_side", "image_index"):
        if frame[name].null_count():
            row = int(frame[name].is_null().arg_max() or 0)
            raise InputError(f"{source}, column {name!r}, row {row + 1}: empty, and it must not be")
    if not frame["image_index"].dtype.is_integer():
        raise InputError(f"{source}, column 'image_index': {frame['image_index'].dtype} instead of integers")
    if not frame["image_side"].is_in(list(SIDES)).all():
        row = int((~frame["image_side"].is_in(list(SIDES))).arg_max() or 0)
        raise InputError(
            f"{source}, column 'image_side', row {row + 1}: {frame['image_side'][row]!r} is neither "
            "'original' nor 'contrast'"
        )
    if "concept_id" not in frame.columns:
        frame = frame.with_columns(pl.col("check_id").alias("concept_id"))
    reasons: Counter[str] = Counter()
    bad = np.zeros(len(frame), bool)
    for name in SCORE_VALUES:
        scores = frame[name]
        if scores.dtype == pl.String:
            scores = _numbers(scores, source)
        elif not (scores.dtype.is_numeric() or scores.dtype == pl.Null):
            raise InputError(f"{source}, column {name!r}: {scores.dtype} instead of numbers")
        scores = scores.cast(pl.Float64)
        finite = scores.is_finite()
        if not finite.all():
            odd = (~finite).fill_null(False).to_numpy()
            for word, mask in (("NaN", scores.is_nan()), ("infinite", scores.is_infinite())):
                reasons[f"{name} is {word}"] += int(mask.sum() or 0)
            bad |= odd
            scores = scores.set(pl.Series(odd), None)
        frame = frame.with_columns(scores.alias(name))
    missing = frame.select(pl.any_horizontal(pl.col(SCORE_VALUES).is_null())).to_series()
    if "error" not in frame.columns:
        frame = frame.with_columns(pl.lit(None, pl.String).alias("error"))
    if missing.any():
        why = frame.filter(missing & ~pl.Series(bad))["error"].fill_null("no score and no reason given")
        reasons.update({str(k): int(v) for k, v in why.value_counts().iter_rows()})
    reasons.pop(NO_CONTRAST_PROMPT, None)
    resolved = protocol or metadata.protocol or _guess(frame, source)
    return ScoreTable(
        frame,
        resolved,
        {metadata.scorer: SCORE_VALUES},
        {metadata.scorer: metadata},
        source,
        {metadata.scorer: {reason: number for reason, number in reasons.items() if number}},
    )


def _guess(frame: pl.DataFrame, source: str) -> str:
    """A syn check has a subset, a hum check only a category (the columns are defined so)."""
    if "subset" in frame.columns and frame["subset"].is_in(list(SUBSETS)).any():
        return "syn"
    if "category" in frame.columns and frame["category"].null_count() < len(frame):
        return "hum"
    raise InputError(
        f"{source}: the file does not say how its checks were labelled; give --protocol syn or hum"
    )


# ---- The published layouts: a row per image, several metrics side by side ----


def _metric_columns(frame: pl.DataFrame, file: Path, images: Sequence[str]) -> list[str]:
    """Metrics of the columns ``METRIC___{orig,contrast}_text___{orig,contrast}_img``, each complete."""
    metrics = list(dict.fromkeys(name.split("___")[0] for name in frame.columns if name.count("___") == 2))
    if not metrics:
        raise InputError(f"{file}: no score column METRIC___orig_text___{images[0]}_img")
    for metric in metrics:
        _need(
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
            scores = _numbers(frame[f"{metric}___{text}_text___{image}_img"], source)
            columns.append(scores.alias(f"{metric}/{name}"))
    return columns


def _from_syn_release(frame: pl.DataFrame, file: Path) -> ScoreTable:
    """CROCsyn as published: a row per image index, both sides and all metrics beside each other."""
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
    subset = frame["mode"].replace(_PUBLISHED_SUBSETS)
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


def _from_hum_release(files: Sequence[tuple[Path, pl.DataFrame]]) -> ScoreTable:
    """CROChum as published: per category a file with the images of either side."""
    known: list[str] | None = None
    rows = []
    for file, frame in files:
        side = next((s for s in SIDES if f"{_path_word(s)}_paths" in frame.columns), None)
        if side is None:
            raise InputError(f"{file}: neither 'prompt_paths' nor 'contrast_paths' is a column")
        metrics = _metric_columns(frame, file, ("orig" if side == SIDES[0] else "contrast",))
        if known is not None and sorted(metrics) != sorted(known):
            odd = sorted(set(metrics) ^ set(known))[0]
            raise InputError(f"{file}: metric {odd!r} is not in all files; half a table is not judged")
        known = metrics if known is None else known
        path = frame[f"{_path_word(side)}_paths"]
        again = frame.select("id", path).is_duplicated()
        if again.any():
            row = int(again.arg_max() or 0)
            raise InputError(f"{file}, row {row + 1}: duplicate row for {frame['id'][row]!r}, {path[row]!r}")
        category = frame["id"].str.extract(r"^(.*)_[^_]*$").replace(_PUBLISHED_CATEGORIES)
        rows.append(
            frame.select(
                check_id="id",
                concept_id="id",
                category=category,
                image_model=path.str.split("___").list.get(2, null_on_oob=True),
                image_index=pl.int_range(pl.len()).over("id"),
            ).with_columns(_side_rows(frame, metrics, side, str(file)))
        )
    assert known is not None
    source = str(files[0][0].parent) if len(files) > 1 else str(files[0][0])
    return _release_table(pl.concat(rows), "hum", known, source)


def _path_word(side: str) -> str:
    return "prompt" if side == SIDES[0] else "contrast"


def _release_table(rows: pl.DataFrame, protocol: str, metrics: Sequence[str], source: str) -> ScoreTable:
    pairs = {metric: (f"{metric}/prompt_score", f"{metric}/contrast_score") for metric in metrics}
    reasons = {}
    for metric, names in pairs.items():
        empty = int(rows.select(pl.any_horizontal(pl.col(names).is_null()).sum()).item())
        reasons[metric] = {"no score and no reason given": empty} if empty else {}
    metadata = {metric: ScoreMetadata(metric, protocol) for metric in metrics}
    return ScoreTable(rows, protocol, pairs, metadata, source, reasons)


# ---- Reading text ----


def read_delimited(file: Path) -> pl.DataFrame:
    """Read a CSV or TSV file (``.gz`` too), every cell as text; the delimiter follows from the name.

    Raises:
        InputError: the file is empty, not UTF-8, or a line has too many or too few cells.
    """
    import pyarrow as pa
    from pyarrow import csv

    wrong: list[Any] = []

    def note(row: Any) -> str:
        wrong.append(row)
        return "skip"

    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError) as problem:
        raise InputError(f"{file}: cannot be read ({problem})") from None
    if not data.strip():
        raise InputError(f"{file}: the file is empty")
    try:
        data.decode()
    except UnicodeDecodeError as problem:
        line = data[: problem.start].count(b"\n") + 1
        raise InputError(f"{file}, line {line}: not UTF-8 (byte 0x{data[problem.start]:02x})") from None
    delimiter = "," if ".csv" in file.name else "\t"
    header = data.split(b"\n", 1)[0].decode().strip("\r\ufeff")
    names = next(iter(_csv_row(header, delimiter)), [])
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        raise InputError(f"{file}: column {twice[0]!r} stands twice in the header")
    try:
        table = csv.read_csv(
            pa.BufferReader(data),
            csv.ReadOptions(use_threads=False, block_size=max(len(data) + 1, 1 << 20)),
            csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=note),
            csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=True
            ),
        )
    except pa.ArrowInvalid as problem:
        raise InputError(f"{file}: cannot be read as a table ({str(problem).splitlines()[0]})") from None
    if wrong:
        row = wrong[0]
        where = f"line {row.number}" if row.number is not None else f"the line {row.text[:60]!r}"
        raise InputError(
            f"{file}, {where}: {row.actual_columns} cells where the header has {row.expected_columns}"
        )
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    if not len(frame):
        raise InputError(f"{file}: the table holds no rows")
    return frame


def _csv_row(line: str, delimiter: str) -> Iterable[list[str]]:
    import csv

    return csv.reader([line], delimiter=delimiter)


def _numbers(values: pl.Series, source: str) -> pl.Series:
    """Text to numbers: empty, NaN and infinite cells become null, what else is no number is an error."""
    if values.dtype != pl.String:
        return values.cast(pl.Float64)
    text = values.str.strip_chars().str.to_lowercase()
    absent = text.is_in(list(_NO_NUMBER)) | text.is_null()
    numbers = text.cast(pl.Float64, strict=False)
    wrong = numbers.is_null() & ~absent
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        raise InputError(f"{source}, column {values.name!r}, row {row + 1}: {values[row]!r} is not a number")
    return numbers.set(absent | ~numbers.is_finite().fill_null(False), None).alias(values.name)


def _need(frame: pl.DataFrame, names: Sequence[str], source: str) -> None:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        close = get_close_matches(missing[0], frame.columns, n=1, cutoff=0.8)
        hint = f" (there is {close[0]!r})" if close else ""
        plural = "s" if len(missing) > 1 else ""
        raise InputError(f"{source}: missing column{plural} {', '.join(map(repr, missing))}{hint}")


# ---- Pair tables: one row an item, a column per metric and per human rating ----


def read_pair_table(file: Path | str) -> pl.DataFrame:
    """Read a pair table (Parquet, CSV or TSV): ``item_id, system, prompt``, and columns of numbers.

    Returns:
        The frame; columns in which every cell is a number or empty are Float64.

    Raises:
        InputError: the file cannot be read, or it has no ``item_id`` or twice the same one.
    """
    (path,) = find_tables([file])
    if path.name.endswith(".parquet"):
        try:
            frame = pl.read_parquet(path, glob=False)
        except (pl.exceptions.PolarsError, OSError, ValueError) as problem:
            raise InputError(f"{path}: not a whole Parquet file ({str(problem).splitlines()[0]})") from None
    else:
        frame = read_delimited(path)
    _need(frame, ("item_id",), str(path))
    if frame["item_id"].is_duplicated().any():
        row = int(frame["item_id"].is_duplicated().arg_max() or 0)
        raise InputError(f"{path}, row {row + 1}: item {frame['item_id'][row]!r} stands twice")
    columns = []
    for values in frame.iter_columns():
        if values.name in ("item_id", "system", "prompt") or not (
            values.dtype.is_numeric() or values.dtype == pl.String
        ):
            columns.append(values)
            continue
        try:
            numbers = _numbers(values, str(path))
        except InputError:
            columns.append(values)
            continue
        columns.append(numbers.set(~numbers.is_finite().fill_null(True), None))
    return pl.DataFrame(columns)
