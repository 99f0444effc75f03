"""Rankings from results files, score tables and published answers, and their comparison."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from parsed import rounded

from croc.cli import main
from croc.errors import InputError
from croc.external.results import RECOMPUTED
from croc.rendering.fragments import RESULTS
from croc.rendering.transfer import cells, picture_png
from croc.transfer.comparison import Transfer, _pairs, compare
from croc.transfer.metric_names import identify
from croc.transfer.rankings import Draw, Source, of_items, read_sources

DRAW = Draw(resamples=300)
ROOT = Path(__file__).parents[3]


def source(
    name: str, truth: NDArray[np.float64], *, items: int = 60, noise: float = 0.5, seed: int = 0
) -> Source:
    """A benchmark whose metrics have these true scores; its first half of items is the part ``a``."""
    rng = np.random.default_rng(seed)
    matrix = truth[:, None] + noise * rng.normal(size=(len(truth), items))
    names = [f"m{number}" for number in range(len(truth))]
    return of_items(
        name,
        names,
        [identify("", one) for one in names],
        matrix,
        [f"{name}-{number:03}" for number in range(items)],
        ("half", ["a" if number < items // 2 else "b" for number in range(items)]),
        "mean",
        f"dataset:{name}",
        DRAW,
    )


TRUTH = np.arange(8, dtype=float)


def test_a_planted_agreement_is_found_between_benchmarks_and_parts() -> None:
    found = compare([source("one", TRUTH, seed=1), source("two", TRUTH, seed=2), source("three", -TRUTH)])
    by_pair = {(one.first.label, one.second.label): one for one in found.comparisons}
    assert by_pair["one", "two"].tau == 1.0
    assert by_pair["one", "three"].tau == by_pair["two, b", "three, b"].tau == -1.0
    assert by_pair["one", "two"].conclusion == "They rank metrics alike."
    assert by_pair["one", "three"].conclusion == "They rank metrics in reverse."
    assert {one.scope for one in found.comparisons} == {"benchmarks", "parts", "within"}
    assert len(by_pair["one", "two"].without) == 8
    assert "8" in cells(by_pair["one", "two"])
    assert Transfer.from_dict(json.loads(found.to_json())) == found
    assert picture_png(found) == picture_png(found)


def test_independent_rankings_lead_to_no_conclusion_but_to_what_could_be_shown() -> None:
    found = compare([source("one", TRUTH), source("two", TRUTH[[3, 0, 6, 1, 7, 4, 2, 5]])])
    first = found.comparisons[0]
    assert first.tau is not None and abs(first.tau) < 0.4
    assert first.conclusion.startswith("No agreement is shown. With 8 metrics a single test needs a tau")
    assert first.smallest_significant == pytest.approx(0.643, abs=1e-3)


def test_fewer_than_six_shared_metrics_conclude_nothing() -> None:
    found = compare([source("one", TRUTH[:5]), source("two", TRUTH[:5])])
    (only,) = found.comparisons
    assert only.tau == 1.0 and only.ci_low is None and only.p is None and only.without == ()
    assert only.conclusion == "Nothing: 5 shared metrics, and at least 6 are needed."
    assert found.few_shared == 4  # two parts with their namesakes, and the parts of each


def test_metrics_that_only_one_benchmark_has_are_listed() -> None:
    found = compare([source("one", TRUTH), source("two", TRUTH[:6])])
    assert [(one.benchmark, one.names) for one in found.unmatched] == [("one", ("m6", "m7"))]


def test_benchmarks_with_the_same_items_are_resampled_together() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(6, 40))
    items = [f"prompt {number:02}" for number in range(40)]
    both = [
        of_items(
            name,
            list("abcdef"),
            [identify("", letter) for letter in "abcdef"],
            matrix[:, order],
            [items[place] for place in order],
            ("", [None] * 40),
            "mean",
            "",
            DRAW,
        )
        for name, order in (("one", np.arange(40)), ("two", rng.permutation(40)))
    ]
    assert both[0].whole is not None and both[1].whole is not None
    np.testing.assert_allclose(both[0].whole.samples, both[1].whole.samples, atol=1e-6)
    assert compare(both).comparisons[0].item_error == 0


def test_a_metric_without_scores_on_many_items_is_ranked_only_where_it_has_them() -> None:
    matrix = np.random.default_rng(0).normal(size=(3, 40))
    matrix[2, :15] = np.nan
    matrix[:, 39] = np.nan  # nobody has a value there: it is no item
    found = of_items(
        "one",
        list("abc"),
        [identify("", letter) for letter in "abc"],
        matrix,
        [f"{number:02}" for number in range(40)],
        ("half", ["x" if number < 15 else "y" for number in range(40)]),
        "mean",
        "",
        DRAW,
    )
    assert found.whole is not None and found.whole.names == ("a", "b") and found.whole.items == 39
    assert [(part.value, part.names) for part in found.parts] == [("x", ("a", "b")), ("y", ("a", "b", "c"))]
    assert "c 38%" in found.notes[0]
    np.testing.assert_allclose(found.parts[1].values, np.nanmean(matrix[:, 15:], axis=1))


# ---- What a person gives ----


def test_results_and_tables_of_croc_give_the_same_rankings() -> None:
    def rankings(inputs: list[str]) -> dict[str, tuple[tuple[str, ...], NDArray[np.float64]]]:
        found = read_sources(inputs, Path(), DRAW)
        return {s.name: (s.whole.names, s.whole.values) for s in found if s.whole is not None}

    results = rankings([str(RESULTS)])
    tables = rankings([str(path) for path in sorted(RESULTS.rglob("*.parquet"))])
    assert results.keys() == tables.keys() and len(results) == 2
    for name, (metrics, values) in results.items():
        assert tables[name][0] == metrics
        np.testing.assert_allclose(tables[name][1], values)
        assert "random" not in metrics  # baselines are not ranked


def test_tables_of_syn_are_compared_by_property_with_other_benchmarks_and_not_with_themselves() -> None:
    tables = [str(path) for path in sorted((RESULTS / "syn").glob("*.parquet"))]
    (found,) = read_sources(tables, Path(), DRAW)
    columns = {part.column for part in found.parts}
    assert columns == {"category", "property"}
    pairs = [(one.column, other.column) for scope, one, other in _pairs([found]) if scope == "within"]
    assert set(pairs) == {("category", "category")}
    other = source("other", TRUTH)
    across = [one.column for scope, one, _ in _pairs([found, other]) if scope == "parts"]
    assert "property" in across


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["no_such"], "no benchmark 'no_such'"),
        (["missing/file.json"], "missing/file.json: no such file or folder"),
        (["tifa160"], "no folder tifa160"),
        ([str(RESULTS), str(RESULTS)], "there already is a result of"),
        ([str(Path(__file__))], "test_rankings.py"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(tmp_path: Path, inputs: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_sources(inputs, tmp_path, DRAW)


def croc(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


def test_the_command_prints_a_table_draws_and_writes_json(tmp_path: Path) -> None:
    out, plot = tmp_path / "out.json", tmp_path / "plot.png"
    done = croc("transfer", str(RESULTS), "--json", str(out), "--plot", str(plot), "--resamples", "200")
    assert done.exit_code == 0, done.output
    assert "Nothing: 3 shared metrics, and at least 6 are needed." in done.output
    assert "Baselines are not ranked: random." in done.output
    found = Transfer.from_dict(json.loads(out.read_text("utf-8")))
    assert [one.scope for one in found.comparisons] == ["benchmarks"] and found.few_shared > 0
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_published_answers_are_ranked_by_the_share_of_right_ones(shared_data: Path) -> None:
    (found,) = read_sources(["colorswap"], shared_data, DRAW)
    assert found.whole is not None and found.parts == ()
    values = dict(zip(found.whole.names, found.whole.values, strict=True))
    assert values["gpt4v"] > values["llava"] > values["llavar"]


@pytest.mark.slow
def test_the_guide_has_the_comparison_of_the_package_s_results(shared_data: Path) -> None:
    """Written by the command that docs/generate_tables.py names."""
    stored = json.loads((ROOT / "docs" / "transfer.json").read_text("utf-8"))
    inputs = [str(RECOMPUTED), "colorswap", "sugarcrepe_gpt4v", str(RESULTS)]
    found = compare(read_sources(inputs, shared_data, Draw()))
    assert rounded(found.to_dict(), 6) == rounded(Transfer.from_dict(stored).to_dict(), 6)
