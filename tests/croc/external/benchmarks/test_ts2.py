"""T2IScoreScore: its formulas against scipy, its reader on small files in its format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_2samp, spearmanr

from croc.errors import InputError
from croc.external.benchmarks.ts2 import BENCHMARK

METADATA = """id,target_prompt,file_name,image_source,rank
0,a cat,images/000-00.jpg,SD2.1,0
0,a cat,images/000-01.jpg,SD2.0,1a
0,a cat,images/000-02.jpg,SD2.0,1a
0,a cat,images/000-03.jpg,SD2.0,1b
0,a cat,images/000-04.jpg,SD2.0,2
1,a dog,images/001-00.jpg,Natural,0
1,a dog,images/001-01.jpg,Natural,1
2,a cow,images/002-00.jpg,SDXL,0
"""
SCORES = """id,image_id,good,mplug_tifa
0,0,0.9,1
0,,0.8,1
0,,0.7,1
0,,0.6,1
0,,0.1,1
1,,0.9,1
1,,0.2,"""
TWO = SCORES + "\n2,,0.5,0.5\n"
THREE = TWO.replace("mplug_tifa", "other").replace("0,,0.8,1", '0,,0.8,"""1"').replace("0.2,\n", "0.2,0\n")


def write(folder: Path, **changes: str) -> Path:
    files = {"metadata": METADATA, "scores_final_all_2": TWO, "scores_final_all_3": THREE, **changes}
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def test_the_files_become_rated_images(tmp_path: Path) -> None:
    items = BENCHMARK.read(write(tmp_path))
    assert items.metrics == ("good", "mplug_tifa", "other")
    row = items.table.row(1, named=True)
    assert (row["item_id"], row["system"], row["graph"], row["node"]) == (
        "images/000-01.jpg",
        "SD2.0",
        0,
        "1a",
    )
    assert (row["errors"], row["faithful"], row["good"], row["other"]) == (1, -1.0, 0.8, 1.0)
    assert items.table["mplug_tifa"][6] is None
    assert items.left_out == ("1 score in quotation marks read as the number in them.",)


def test_the_layout_of_the_repository_is_read_too(tmp_path: Path) -> None:
    write(tmp_path)
    for name, place in {
        "metadata": "data",
        "scores_final_all_2": "output",
        "scores_final_all_3": "output",
    }.items():
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / f"{name}.csv").rename(tmp_path / place / f"{name}.csv")
    assert len(BENCHMARK.read(tmp_path).table) == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metadata": METADATA.replace(",1b", ",b1")}, r"metadata\.csv, column 'rank', row 4: 'b1' is not"),
        ({"metadata": METADATA.replace("rank", "node")}, r"metadata\.csv: missing column 'rank'"),
        (
            {"metadata": METADATA.replace("1,a dog", "x,a dog")},
            r"metadata\.csv, column 'id', row 6: 'x' is not",
        ),
        ({"metadata": METADATA.replace("1,a dog", "1.5,a dog")}, r"row 6: '1\.5' is not a whole number"),
        (
            {"scores_final_all_3": THREE.replace("2,,0.5", "3,,0.5")},
            r"scores_final_all_3\.csv: the rows are not",
        ),
        (
            {"scores_final_all_2": TWO.replace("0.9,1", "high,1")},
            r"column 'good', row 1: 'high' is not a number",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BENCHMARK.read(write(tmp_path, **changes))


def test_scores_of_a_graph_are_those_of_scipy(tmp_path: Path) -> None:
    """Graph 0 has the walks 0-1a-2 (four images) and 0-1b-2 (three)."""
    found = BENCHMARK.compute(BENCHMARK.read(write(tmp_path)), "parity")
    walks = [([0, 1, 1, 2], [0.9, 0.8, 0.7, 0.1]), ([0, 1, 2], [0.9, 0.6, 0.1])]
    rho = [-spearmanr(*walk)[0] for walk in walks]
    assert found["good synth ordering"] == pytest.approx((4 * rho[0] + 3 * rho[1]) / 7)
    nodes = {"0": [0.9], "1a": [0.8, 0.7], "1b": [0.6], "2": [0.1]}
    pairs = [("0", "1a"), ("0", "1b"), ("0", "2"), ("1a", "2"), ("1b", "2")]
    ks = [ks_2samp(nodes[a], nodes[b])[0] for a, b in pairs]
    delta = [np.mean(nodes[a]) - np.mean(nodes[b]) for a, b in pairs]
    assert found["good synth separation"] == pytest.approx(np.mean(ks))
    assert found["good synth delta"] == pytest.approx(np.mean(delta))
    assert found["good nat ordering"] == 1


def test_parity_counts_what_the_default_leaves_out(tmp_path: Path) -> None:
    items = BENCHMARK.read(write(tmp_path))
    parity, default = (BENCHMARK.compute(items, mode) for mode in ("parity", "default"))
    # All scores of graph 0 are 1: ordering 0 in parity mode, none by default.
    assert parity["mplug_tifa synth ordering"] == 0 and "mplug_tifa synth ordering" not in default
    # The missing score of graph 1 counts 0 in parity mode.
    assert parity["mplug_tifa nat ordering"] == 1 and "mplug_tifa nat ordering" not in default
    # Graph 2 has one node: a separation of 0 in parity mode, none by default.
    assert parity["good real separation"] == 0 and "good real separation" not in default


def test_a_metric_without_any_score_has_no_ordering(tmp_path: Path) -> None:
    rows = TWO.splitlines()
    empty = "\n".join([rows[0], *(row.rpartition(",")[0] + "," for row in rows[1:])]) + "\n"
    items = BENCHMARK.read(write(tmp_path, scores_final_all_2=empty.replace("mplug_tifa", "absent")))
    found = BENCHMARK.compute(items, "parity")
    assert "good synth ordering" in found and "absent synth ordering" not in found
