"""Readers of what is judged: score tables (Parquet, CSV, and two published TSV layouts) and pair tables.

Each input kind has its one reader here, which validates; what is wrong becomes one sentence with file, column
and row. Rows are counted from 1, without the header.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import polars as pl

from croc.checks.schema import GROUP_COLUMNS, PROTOCOLS, SIDES, SUBSETS
from croc.errors import InputError
from croc.tables.columns import (
    NO_CONTRAST_PROMPT,
    REQUIRED_COLUMNS,
    SCORE_COLUMNS,
    SCORE_KEYS,
    SCORE_TABLE,
    SCORE_VALUES,
)
from croc.tables.delimited import need_cells, need_columns, read_delimited, to_numbers
from croc.tables.metadata import ScoreMetadata
from croc.tables.signature import Signature

# The published files name subsets and categories in their own way.
_PUBLISHED_SUBSETS = {"subject_property": "property_variation"}
_PUBLISHED_CATEGORIES = {"spacial_relation": "spatial_relation"}
_SYN_TSV = ("prompt_id", "prompt", "contrast_prompt", "img_gen_model", "text_gen_model", "mode")
_HUM_TSV = ("id", "prompt", "contrast")
_NO_GROUPS = tuple(name for name in SCORE_COLUMNS if name not in GROUP_COLUMNS)
_TEXT = tuple(column.name for column in SCORE_TABLE if column.kind == "string")
_SUFFIXES = (".parquet", ".tsv", ".tsv.gz", ".csv", ".csv.gz")
# Larger Parquet files (bytes) are read once only: a table of a million rows is to be judged in a second.
_VERIFIED = 16 << 20
# A damaged page makes polars panic, which is no ordinary exception.
_UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError)
# Of a table with a million rows, only what a verdict may need is read.
_READ = (*REQUIRED_COLUMNS, "concept_id", "subset", "category", "text_model", "error")


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
    for name in groups:
        if name in _NO_GROUPS:
            raise InputError(f"{name!r} is no column to group by: it tells checks and images apart")
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
    _require_one_dataset(tables)
    tables = _join_parts(tables)
    for table in tables:
        for name in groups:
            if name not in table.frame.columns:
                raise InputError(f"{table.source}: no column {name!r} to group by")
            if table.frame[name].dtype.is_nested():
                raise InputError(f"{table.source}, column {name!r}: lists are nothing to group by")
    return tables if metrics is None else _select(tables, metrics)


def find_tables(paths: Iterable[Path | str]) -> list[Path]:
    """The files that ``paths`` name; a folder stands for the tables directly in it.

    Raises:
        InputError: a path is not there, a folder holds no table, or a file is of another kind.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        try:
            folder, there = path.is_dir(), path.exists()
            inside = sorted(f for f in path.iterdir() if f.name.endswith(_SUFFIXES)) if folder else []
        except OSError as problem:
            raise InputError(
                f"{path}: no such file or folder that can be read ({problem.strerror})"
            ) from None
        if folder:
            if not inside:
                raise InputError(f"{path}: no score table in this folder ({', '.join(_SUFFIXES)})")
            files += inside
        elif not there:
            raise InputError(f"{path}: no such file")
        elif not path.name.endswith(_SUFFIXES):
            raise InputError(f"{path}: a table ends in {', '.join(_SUFFIXES)}")
        else:
            files.append(path)
    if not files:
        raise InputError("no score table was given")
    return files


def _require_one_dataset(tables: Sequence[ScoreTable]) -> None:
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
                here, there = differing["dataset"]
                raise InputError(
                    f"{table.source} scores the dataset {here} and {known[1].source} the dataset {there}; "
                    "evaluate them separately"
                )
            if differing:
                here, there = differing["dataset_revision"]
                raise InputError(
                    f"{table.source} scores revision {here} of {metadata.dataset} and {known[1].source} "
                    f"revision {there}; tables of different revisions do not mix"
                )


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
                if _settings_of(other) != _settings_of(said[0]):
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
                pl.concat([_named_as(part, group[0], names) for part in group], how="diagonal_relaxed"),
                group[0].protocol,
                {name: group[0].metrics[name] for name in names},
                {name: group[0].metadata[name] for name in names},
                " + ".join(part.source for part in group),
                reasons,
            )
        )
    return out


def _settings_of(said: ScoreMetadata) -> ScoreMetadata:
    return replace(said, protocol=None, library_versions={})


def _named_as(part: ScoreTable, first: ScoreTable, metrics: Iterable[str]) -> pl.DataFrame:
    """The part's rows with its score columns named as in the first part."""
    names = {
        here: there
        for metric in metrics
        for here, there in zip(part.metrics[metric], first.metrics[metric], strict=True)
    }
    return part.frame.rename(names)


def described_alike(tables: Sequence[ScoreTable], groups: Sequence[str]) -> list[ScoreTable]:
    """What tables say of one check must agree; what one of them leaves out is taken from the others.

    A column that varies inside the checks of a table describes images and is left as it is.

    Args:
        tables: with different rows.
        groups: columns that will be grouped by.

    Raises:
        InputError: two tables describe a check differently.
    """
    wanted = dict.fromkeys(("concept_id", "subset", "category", "text_model", *groups))
    said = [t.frame.select("check_id", *(c for c in wanted if c in t.frame.columns)) for t in tables]
    apart = [each.unique(maintain_order=True).with_columns(at=pl.lit(n)) for n, each in enumerate(said)]
    for column in wanted:
        heads = [each.select("check_id", column, "at") for each in apart if column in each.columns]
        known = pl.concat(heads, how="vertical_relaxed").drop_nulls().unique() if heads else None
        if known is None or known.select("check_id", "at").is_duplicated().any():
            continue
        known = known.sort("at").unique(["check_id", column], keep="first", maintain_order=True)
        again = known.filter(pl.col("check_id").is_duplicated()).sort("check_id", "at")
        if len(again):
            check, value, at = again.row(0)
            _, other, elsewhere = again.row(1)
            raise InputError(
                f"{tables[elsewhere].source}: {column} of check {check!r} is {other!r}, and {value!r} in "
                f"{tables[at].source}; tables that describe a check differently do not mix"
            )
        known = known.select("check_id", pl.col(column).alias("known"))
        tables = [
            replace(table, frame=_filled(table.frame, column, known))
            if column not in table.frame.columns or table.frame[column].null_count()
            else table
            for table in tables
        ]
    return list(tables)


def _filled(frame: pl.DataFrame, column: str, known: pl.DataFrame) -> pl.DataFrame:
    frame = frame.join(known, on="check_id", how="left", maintain_order="left")
    here = [column] if column in frame.columns else []
    return frame.with_columns(pl.coalesce(*here, "known").alias(column)).drop("known")


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
        with file.open("rb") as handle:  # by a handle: a name may hold what a pattern would be
            schema = pl.read_parquet_schema(handle)
            flat = pl.read_parquet_metadata(handle)
        wanted = [name for name in (*_READ, *groups) if name in schema]
        _verify(file)
        frame = pl.read_parquet(file, columns=list(dict.fromkeys(wanted)), glob=False)
    except _UNREADABLE as problem:
        raise _not_parquet(file, problem) from None
    metadata = ScoreMetadata.from_parquet(flat, default_name=file.stem, source=str(file))
    return score_table(frame, metadata, str(file), protocol)


def _verify(file: Path) -> None:
    """Read a file of moderate size with pyarrow first: some damaged pages make polars end the process."""
    if file.stat().st_size > _VERIFIED:
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.ParquetFile(file).read().validate(full=True)
    except pa.ArrowException as problem:
        raise ValueError(str(problem)) from None


def _not_parquet(file: Path, problem: BaseException) -> InputError:
    if file.is_file() and file.stat().st_size == 0:
        return InputError(f"{file}: the file is empty")
    said = (str(problem).splitlines() or [""])[0][:120]
    return InputError(f"{file}: not a whole Parquet file that can be read ({said})")


def _read_long_text(
    frame: pl.DataFrame, file: Path, protocol: str | None, groups: Sequence[str]
) -> ScoreTable:
    need_columns(frame, REQUIRED_COLUMNS, str(file))
    index = frame["image_index"].cast(pl.Int64, strict=False)
    if index.null_count():
        row = int(index.is_null().arg_max() or 0)
        raise InputError(
            f"{file}, column 'image_index', row {row + 1}: {frame['image_index'][row]!r} is no index"
        )
    frame = frame.with_columns(index, *(to_numbers(frame[name], str(file)) for name in SCORE_VALUES))
    keep = [name for name in dict.fromkeys((*SCORE_COLUMNS, *groups)) if name in frame.columns]
    frame = frame.with_columns(
        pl.col(name).replace("", None) for name in keep if frame[name].dtype == pl.String
    )
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
    need_columns(frame, REQUIRED_COLUMNS, source)
    if not len(frame):
        raise InputError(f"{source}: the table holds no rows")
    for name in _TEXT:
        if name in frame.columns and frame[name].dtype != pl.String:
            if frame[name].dtype.is_nested() or frame[name].dtype == pl.Binary:
                raise InputError(f"{source}, column {name!r}: {frame[name].dtype} instead of text")
            frame = frame.with_columns(pl.col(name).cast(pl.String))
    need_cells(frame, SCORE_KEYS, source)
    if not frame["image_index"].dtype.is_integer():
        raise InputError(f"{source}, column 'image_index': {frame['image_index'].dtype} instead of integers")
    if not frame["image_side"].is_in(list(SIDES)).all():
        row = int((~frame["image_side"].is_in(list(SIDES))).arg_max() or 0)
        raise InputError(
            f"{source}, column 'image_side', row {row + 1}: {frame['image_side'][row]!r} is neither "
            "'original' nor 'contrast'"
        )
    if "concept_id" not in frame.columns:  # a check whose concept nobody knows is its own
        frame = frame.with_columns(pl.lit(None, pl.String).alias("concept_id"))
    reasons: Counter[str] = Counter()
    bad = np.zeros(len(frame), bool)
    for name in SCORE_VALUES:
        scores = frame[name]
        if scores.dtype == pl.String:
            scores = to_numbers(scores, source)
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
    scores = [name.rsplit("___", 2)[0] for name in frame.columns if name.count("___") >= 2]
    metrics = list(dict.fromkeys(scores))
    if not metrics:
        raise InputError(f"{file}: no score column METRIC___orig_text___{images[0]}_img")
    for metric in metrics:
        need_columns(
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
    sides: dict[str, dict[str, Path]] = {side: {} for side in SIDES}
    for file, frame in files:
        side = next((s for s in SIDES if f"{_path_word(s)}_paths" in frame.columns), None)
        if side is None:
            raise InputError(f"{file}: neither 'prompt_paths' nor 'contrast_paths' is a column")
        need_cells(frame, ("id",), str(file))
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
    for one, other in (SIDES, SIDES[::-1]):
        for name, file in sides[one].items():
            if name not in sides[other]:
                lacking = f"the images of the {other} side of {name!r} are in no file"
                raise InputError(f"{file}: {lacking}; half a table is not judged")
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
        reasons[metric] = {"score empty, NaN or infinite": empty} if empty else {}
    metadata = {metric: ScoreMetadata(metric, protocol) for metric in metrics}
    return ScoreTable(rows, protocol, pairs, metadata, source, reasons)


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
            _verify(path)
            frame = pl.read_parquet(path, glob=False)
        except _UNREADABLE as problem:
            raise _not_parquet(path, problem) from None
    else:
        frame = read_delimited(path)
    need_columns(frame, ("item_id",), str(path))
    if not len(frame):
        raise InputError(f"{path}: the table holds no rows")
    need_cells(frame, ("item_id",), str(path))
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
            numbers = to_numbers(values, str(path))
        except InputError:
            columns.append(values)
            continue
        columns.append(numbers.set(~numbers.is_finite().fill_null(True), None))
    return pl.DataFrame(columns)
