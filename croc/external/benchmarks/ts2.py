"""T2IScoreScore (TS2): images of one prompt with more and more errors, and whether metrics notice.

Saxon et al. 2024, "Who Evaluates the Evaluations? Objectively Scoring Text-to-Image Prompt Coherence Metrics
with T2IScoreScore", NeurIPS, arXiv 2404.04251. A graph has nodes of images with the same errors; a walk takes
one node per number of errors. Ordering is Spearman's correlation of errors and scores along walks, separation
the Kolmogorov-Smirnov statistic of two nodes, delta the difference of their mean scores; see
:mod:`croc.graded.formulas`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from croc.errors import InputError
from croc.external.benchmark import Benchmark, Mode, Source, figures
from croc.external.files import first_existing, whole_numbers
from croc.external.items import Rated
from croc.graded.formulas import different_errors, ordering, separation
from croc.tables.delimited import read_delimited, require_cells, require_columns
from croc.wording import counted

PARTS = ("synth", "nat", "real", "overall")
"""Graphs of generated images, of photographs, of errors that image models really made, and all."""

# The authors computed their table from a copy of the scores that is not published. Four metrics have no score
# of the last image; the numbers of these three come out to six decimals with 0 in its place.
_MISSING_AS_ZERO = ("fuyu_tifa", "llava-alt_tifa", "mplug_tifa")


def read(folder: Path) -> Rated:
    """Read ``metadata.csv`` and the tables of scores, which have the same rows in the same order.

    Raises:
        InputError: a file or column is missing, the tables have other rows, or a cell cannot be used.
    """
    file = first_existing(folder, "data/metadata.csv", "metadata.csv")
    table = read_delimited(file)
    keys = ("id", "target_prompt", "file_name", "image_source", "rank")
    require_columns(table, keys, str(file))
    require_cells(table, keys, str(file))
    errors = table["rank"].str.extract(r"^(\d+)[a-z]*$").cast(pl.Int64)
    if errors.null_count():
        row = int(errors.is_null().arg_max() or 0)
        raise InputError(
            f"{file}, column 'rank', row {row + 1}: {table['rank'][row]!r} is not a number of errors with "
            "the letter of a node"
        )
    table = table.select(
        pl.col("file_name").alias("item_id"),
        pl.col("image_source").alias("system"),
        pl.col("target_prompt").alias("prompt"),
        pl.col("file_name").alias("image"),
        whole_numbers(table["id"], str(file)).alias("graph"),
        pl.col("rank").alias("node"),
        errors.alias("errors"),
        (-errors).alias("faithful"),
    )
    metrics: list[str] = []
    quoted = 0  # the published files have six scores such as "3 with one quotation mark
    for name in ("scores_final_all_2.csv", "scores_final_all_3.csv"):
        scores_file = first_existing(folder, f"output/{name}", name)
        scores = read_delimited(scores_file)
        require_columns(scores, ("id", "image_id"), str(scores_file))
        if scores["id"].to_list() != [str(graph) for graph in table["graph"]]:
            raise InputError(f"{scores_file}: the rows are not those of {file}")
        new = [name for name in scores.columns if name not in ("id", "image_id", *metrics)]
        scores = scores.select(new)
        quoted += int(scores.select(pl.all().str.contains('"', literal=True).sum()).sum_horizontal().sum())
        table = table.hstack(scores.select(pl.all().str.strip_chars('"')))
        metrics += new
    notes = (f"{counted(quoted, 'score')} in quotation marks read as the number in them.",) if quoted else ()
    return Rated.of(table, str(file), humans=("faithful",), metrics=tuple(metrics), left_out=notes)


def compute(items: Rated, mode: Mode) -> Mapping[str, float]:
    """Ordering, separation and delta of each metric, as means over the graphs of each part."""
    table = items.table
    natural = table.filter(pl.col("system") == "Natural")["graph"]
    parts, rows = [], []
    for (number,), graph in table.group_by("graph", maintain_order=True):
        scores = (
            graph.select(
                pl.col(name).fill_null(0.0 if mode == "parity" and name in _MISSING_AS_ZERO else np.nan)
                for name in items.metrics
            )
            .to_numpy()
            .T
        )
        nodes: dict[str, list[int]] = {}
        for row, node in enumerate(graph["node"]):
            nodes.setdefault(node, []).append(row)
        errors = {node: int(graph["errors"][inside[0]]) for node, inside in nodes.items()}
        values = {node: scores[:, inside] for node, inside in nodes.items()}
        parts.append(_part(int(str(number)), natural))
        nothing = 0.0 if mode == "parity" else float("nan")
        ordered = ordering(values, errors, walks_of(errors), constant=nothing)
        rows.append([ordered, *separation(values, different_errors(errors), nothing=nothing)])
    found = {}
    together = np.array(rows)  # (graphs, statistics, metrics)
    for part in PARTS:
        chosen = together[[part in ("overall", own) for own in parts]]
        for statistic, name in enumerate(("ordering", "separation", "delta")):
            for metric, values_of in zip(items.metrics, chosen[:, statistic].T, strict=True):
                known = values_of[~np.isnan(values_of)]
                if len(known):
                    found[f"{metric} {part} {name}"] = float(known.mean())
    return found


def _part(graph: int, natural: pl.Series) -> str:
    """The authors tell the parts by the first and last graph with photographs."""
    if not len(natural):
        return "synth"
    low, high = int(natural.min()), int(natural.max())  # type: ignore[arg-type]
    return "synth" if graph < low else "real" if graph > high else "nat"


def walks_of(errors: Mapping[str, int]) -> list[tuple[str, ...]]:
    """The authors' walks: a node for each number of errors, in all combinations."""
    levels: dict[int, list[str]] = {}
    for node, number in errors.items():
        levels.setdefault(number, []).append(node)
    return list(itertools.product(*(levels[number] for number in sorted(levels)))) if 0 in levels else []


_COLUMNS = [f"{part} {name}" for part in PARTS for name in ("ordering", "separation", "delta")]
_SUMMARY = """
blip1_dsg .798910 .847644 .432010 .695717 .722049 .240966 .585460 .705358 .250029 .745759 .803607 .371079
fuyu_dsg .351000 .656750 .191745 .149366 .685235 .040177 .151526 .520906 .043010 .285390 .637190 .142639
instruct_blip_dsg .837996 .874903 .456786 .691574 .805896 .258758 .588609 .720668 .248438 .771979 .837339 .390163
llava-alt_dsg .796533 .839828 .440487 .644274 .763995 .250512 .525423 .669762 .237133 .725814 .798447 .375962
llava_dsg .792218 .855777 .418120 .659185 .806902 .247882 .677262 .728931 .285520 .751857 .826077 .369021
mplug_dsg .725280 .800685 .388410 .595997 .714428 .197357 .557240 .741022 .257639 .676157 .777130 .336478
blip1_tifa .757239 .832253 .307602 .606691 .775672 .168451 .617379 .766908 .194069 .709847 .812195 .266564
fuyu_tifa .430349 .658713 .142254 .215680 .754927 .035103 .250180 .615289 .077033 .366157 .665659 .114556
instruct_blip_tifa .770476 .861756 .316723 .656342 .818278 .183369 .697192 .783694 .225916 .740303 .841449 .280558
llava-alt_tifa .760293 .847847 .319608 .613636 .755811 .180623 .615074 .734562 .207046 .712549 .813992 .278766
llava_tifa .768826 .851234 .306749 .612550 .752465 .195672 .634690 .752063 .214670 .721572 .818839 .273736
mplug_tifa .688097 .792573 .269999 .661772 .837193 .182565 .642510 .759372 .202894 .676096 .793498 .244957
alignscore .737440 .942122 .233437 .686342 .923929 .111808 .603418 .875135 .122800 .706142 .927592 .195563
blipscore -.038132 .744156 -.019674 -.024594 .880135 -.042682 -.068579 .746155 -.014097 -.041432 .765110 -.022180
clipscore .710536 .902556 .203339 .559642 .913563 .092067 .688827 .904493 .122388 .683858 .904564 .172252
gpt4v_tifa .816916 .862699 .265596 .580371 .799711 .139125 .662525 .717528 .167591 .753940 .827640 .229209
gpt4v_dsg .811381 .863858 .431964 .692389 .809981 .250686 .705988 .754980 .323250 .774828 .836559 .385391
"""  # noqa: E501
_LEADERBOARD = """
clipscore .714 .907
alignscore .739 .928
instruct_blip_dsg .802 .843
blip1_tifa .738 .818
"""

BENCHMARK = Benchmark(
    name="ts2",
    title="T2IScoreScore (Saxon et al. 2024, NeurIPS, arXiv 2404.04251)",
    kind="rated",
    holds="images of a prompt ordered by their number of errors, with scores of 20 metrics",
    size="2,840 images of 165 prompts",
    licence="MIT",
    source=Source(
        "michaelsaxon/T2IScoreScore",
        "93ebf895b73d7075d4a45389278f632cc01690e3",
        ("data/metadata.csv", "output/scores_final_all_2.csv", "output/scores_final_all_3.csv"),
        hub="saxon/T2IScoreScore",
    ),
    scores=("ordering", "separation", "delta"),
    folders=("T2IScoreScore",),
    files=("data/metadata.csv", "metadata.csv"),
    met="annotations",
    read=read,
    compute=compute,
    score=compute,
    figures=(
        *figures(_SUMMARY, _COLUMNS, "output/metric_summary.csv, to 6 decimals", decimals=6),
        *figures(
            _LEADERBOARD,
            ("overall ordering", "overall separation"),
            "leaderboard of t2iscorescore.github.io",
            decimals=3,
            reason="the web page shows other numbers than the repository's own output file",
        ),
    ),
    parity="A walk with constant scores counts as ordering 0, a graph without two nodes to compare as "
    "separation and delta 0, and the missing score of the last image as 0 for three metrics; by default they "
    "are left out.",
)
