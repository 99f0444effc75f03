"""Correlation with ratings on TIFA160: the published numbers, and those that the guide shows."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from croc.ratings.correlation import correlate
from croc.tables.readers import read_pair_table
from croc.verdict.report import DEFAULT_SEED

GUIDE = Path(__file__).parents[3] / "docs" / "ratings.md"
pooled = partial(correlate, group="none")


@pytest.fixture(scope="module")
def tifa(shared_data, tmp_path_factory):
    """The pair table, made by the very lines that the guide shows."""
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    folder = tmp_path_factory.mktemp("tifa")
    code = code.replace('Path("tifa160")', f"Path({str(shared_data / 'tifa160')!r})")
    code = code.replace('"tifa160.csv"', repr(str(folder / "tifa160.csv")))
    exec(compile(code, str(GUIDE), "exec"), {})
    return read_pair_table(folder / "tifa160.csv")


@pytest.fixture(scope="module")
def tifa_found(tifa):
    names = ["clipscore_vitb32", "meteor", "spice", "bleu", "tifa_mplug-large"]
    return pooled(tifa, ["human_avg"], metrics=names, seed=DEFAULT_SEED)  # as on the command line


# Hu et al. (2023), correlations with human judgements: the column that is called Spearman is Pearson's r.
PUBLISHED = {
    "clipscore_vitb32": (0.231, 0.332),
    "meteor": (0.274, 0.340),
    "spice": (0.232, 0.328),
    "bleu": (0.188, 0.183),
    "tifa_mplug-large": (0.472, 0.597),
}


@pytest.mark.parametrize("metric", PUBLISHED)
def test_tifa160_has_the_published_correlations(tifa_found, metric):
    for kind, expected in zip(("kendall", "pearson"), PUBLISHED[metric], strict=True):
        result = tifa_found.get(metric, "human_avg", kind)
        assert result.n == 800
        assert round(result.value, 3) == expected


def test_the_published_spearman_column_is_no_spearman_correlation(tifa_found):
    different = [
        round(tifa_found.get(metric, "human_avg", "spearman").value, 3) != pearson
        for metric, (_, pearson) in PUBLISHED.items()
    ]
    assert all(different)


def test_two_groups_of_raters_agree_as_published(tifa):
    found = pooled(tifa, ["human_avg"], metrics=["dsg_votes"], resamples=20)
    assert round(found.get("dsg_votes", "human_avg").value, 3) == 0.693


def test_meteor_is_not_significantly_above_clipscore_when_prompts_are_resampled(tifa_found):
    test = tifa_found.test("meteor", "clipscore_vitb32", "human_avg")
    assert test.ci_low < 0 < test.ci_high
    assert test.p > 0.05
    ranks = {one.metric: one.rank for one in tifa_found.results if one.kind == "kendall"}
    assert ranks["meteor"] == ranks["clipscore_vitb32"]
    assert ranks["tifa_mplug-large"] == 1 < ranks["meteor"]


def test_the_guide_shows_the_numbers_that_come_out(tifa_found):
    shown = defaultdict(list)
    for line in GUIDE.read_text("utf-8").splitlines():
        cells = [cell.strip(" `") for cell in line.strip("|").split("|")]
        if cells[0] in PUBLISHED:
            shown[cells[0]] = [float(number) for cell in cells[1:6] for number in cell.split(" … ")]
    assert shown.keys() == PUBLISHED.keys()
    for metric, values in shown.items():
        found = [
            tifa_found.get(metric, "human_avg", kind).value for kind in ("kendall", "spearman", "pearson")
        ]
        assert values[:3] == [round(value, 3) for value in found]
        tau = tifa_found.get(metric, "human_avg")
        assert values[3:] == pytest.approx([tau.ci_low, tau.ci_high, tau.rank], abs=6e-4)


def test_the_guide_shows_the_numbers_within_prompts(tifa):
    names = {"TIFA with mPLUG": "tifa_mplug-large", "CLIPScore": "clipscore_vitb32", "METEOR": "meteor"}
    found = correlate(tifa, ["human_avg"], metrics=list(names.values()), resamples=0, permutations=0)
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in GUIDE.read_text("utf-8").splitlines()
    ]
    shown = {row[0]: [float(cell) for cell in row[1:]] for row in rows if row[0] in names}
    assert shown == {
        name: [round(found.get(metric, "human_avg", kind).value, 3) for kind in ("acc_eq", "kendall")]
        for name, metric in names.items()
    }


def test_the_votes_stand_beside_the_right_image(shared_data, tifa):
    """One image by hand, from the two files themselves."""
    with (shared_data / "tifa160" / "dsg_tifa160_likert_anns.csv").open(newline="") as file:
        votes = [
            int(one["answer"])
            for one in csv.DictReader(file)
            if (one["source_id"], one["t2i_model"]) == ("coco_669925", "mini-dalle")
        ]
    rated = json.loads((shared_data / "tifa160" / "human_annotations_with_scores.json").read_text())
    row = tifa.row(by_predicate=pl.col("item_id") == "coco_669925_mini_dalle", named=True)
    assert row["dsg_votes"] == pytest.approx(np.mean(votes))
    assert row["human_avg"] == rated["coco_669925_mini_dalle"]["human_avg"]
