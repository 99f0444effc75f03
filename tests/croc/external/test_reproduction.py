"""Published figures are computed again and compared; the registry of benchmarks."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from croc.errors import InputError
from croc.external.benchmark import Benchmark, Figure, Source, benchmarks, figures, find_benchmark
from croc.external.reproduction import Reproduction, equal_decimals, reproduce, totals

ROOT = Path(__file__).parents[3]
EXAMPLE = Benchmark(
    name="example",
    title="Example",
    kind="rated",
    holds="nothing",
    size="no images",
    licence="MIT",
    source=Source("someone/example", "0" * 40, ("data.txt",)),
    scores=("mean",),
    folders=("example-main",),
    files=("data.txt",),
    read=lambda folder: SimpleNamespace(
        left_out=("1 item left out.",), values=(folder / "data.txt").read_text()
    ),
    compute=lambda items, mode: {
        "equal": 0.12345,
        "unequal": 0.5,
        "known": 0.5 if mode == "parity" else 0.25,
        "new": float(items.values),
        "undefined": float("nan"),
    },
    figures=(
        Figure("equal", "0.123", "Table 1"),
        Figure("unequal", "0.51", "Table 1"),
        Figure("known", "0.6", "Table 2", reason="another version"),
        Figure("new", None, ""),
        Figure("undefined", "0.1", "Table 2"),
        Figure("absent", "0.1", "Table 2", reason="needs images"),
    ),
)


def test_each_figure_has_the_status_of_its_comparison(tmp_path: Path) -> None:
    folder = tmp_path / "example-main"
    folder.mkdir()
    (folder / "data.txt").write_text("7")
    found = reproduce(EXAMPLE, tmp_path)
    assert {row.figure: (row.status, row.equal_digits) for row in found.figures} == {
        "equal": ("equal", 3),
        "unequal": ("unequal", 1),
        "known": ("explained", None),
        "new": ("unpublished", None),
        "undefined": ("not computed", None),
        "absent": ("not computed", None),
    }
    by_name = {row.figure: row for row in found.figures}
    assert (by_name["known"].recomputed, by_name["known"].default) == (0.5, 0.25)
    assert by_name["new"].recomputed == 7
    assert by_name["absent"].reason == "needs images" and by_name["undefined"].reason
    assert found.left_out == ("1 item left out.",)
    assert totals([found, found])["not computed"] == 4
    assert Reproduction.from_dict(json.loads(found.to_json())) == found


def test_a_folder_without_the_benchmark_is_refused_with_its_source(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "data.txt").write_text("7")  # the right file in a folder of another name
    with pytest.raises(
        InputError, match=r"no folder example with data\.txt; get it from github\.com/someone"
    ):
        reproduce(EXAMPLE, tmp_path)
    assert reproduce(EXAMPLE, tmp_path / "other").figures  # named by its path


def test_a_benchmark_without_figures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="example: no figure can be computed from its files"):
        reproduce(replace(EXAMPLE, compute=None), tmp_path)


@pytest.mark.parametrize("place", ["example", "example-main", "ratings/example"])
def test_the_folder_is_found_by_its_name(tmp_path: Path, place: str) -> None:
    folder = tmp_path / place
    folder.mkdir(parents=True)
    (folder / "data.txt").write_text("7")
    assert EXAMPLE.find(tmp_path) == EXAMPLE.find(folder) == folder


def test_the_current_folder_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "example").mkdir()
    (tmp_path / "example" / "data.txt").write_text("7")
    monkeypatch.chdir(tmp_path / "example")
    assert EXAMPLE.find(Path()) == Path()


@pytest.mark.parametrize(
    ("value", "published", "equal"),
    [
        (0.33214, "0.3322", 3),
        (0.33216, "0.3322", 4),
        (0.9, "0.9", 1),
        (606.0, "607", None),
        (-0.0053, "-0.0053", 4),
        (-0.4, "0.4", 0),
        (1.6, "0.4", None),
    ],
)
def test_numbers_are_equal_to_as_many_decimals_as_they_agree_when_rounded(
    value: float, published: str, equal: int | None
) -> None:
    assert equal_decimals(value, published) == equal


def test_a_table_of_figures_keeps_the_precision_that_was_printed() -> None:
    found = figures("a .5 -\nb .25 1", ("x", "y"), "Table 1", decimals=2)
    assert [(one.name, one.published) for one in found] == [("a x", "0.50"), ("b x", "0.25"), ("b y", "1.00")]


# ---- The benchmarks of this program ----


@pytest.mark.parametrize("benchmark", benchmarks().values(), ids=lambda one: one.name)
def test_a_benchmark_pins_its_source_and_names_where_each_figure_stands(benchmark: Benchmark) -> None:
    assert re.fullmatch(r"[0-9a-f]{40}", benchmark.source.commit)
    assert benchmark.source.paths and benchmark.files and benchmark.scores
    keys = [(figure.name, figure.source) for figure in benchmark.figures]
    assert len(set(keys)) == len(keys)
    assert all(figure.source for figure in benchmark.figures)


def test_an_unknown_name_is_answered_with_a_similar_one() -> None:
    with pytest.raises(InputError, match="no benchmark 'imagnhub'; did you mean 'imagenhub'"):
        find_benchmark("imagnhub")


def test_the_published_figures_come_out_of_the_published_files(shared_data: Path) -> None:
    """And the table in the guide holds what comes out."""
    stored = json.loads((ROOT / "docs" / "external_figures.json").read_text("utf-8"))
    known = {one["benchmark"]: find_benchmark(one["benchmark"]) for one in stored}
    here = {name: one for name, one in known.items() if one.find(shared_data) is not None}
    if len(here) < 9:
        pytest.skip(f"needs {', '.join(known.keys() - here.keys())} in {shared_data}")
    stored = [one for one in stored if one["benchmark"] in here]
    found = [reproduce(one, shared_data) for one in here.values()]
    counts = totals(found)
    assert counts["unequal"] == 0
    assert counts["equal"] >= 466
    for expected, one in zip(map(Reproduction.from_dict, stored), found, strict=True):
        assert replace(one, figures=()) == replace(expected, figures=())
        for old, new in zip(expected.figures, one.figures, strict=True):
            numbers = {"recomputed": None, "default": None}
            assert replace(old, **numbers) == replace(new, **numbers)
            assert old.recomputed == pytest.approx(new.recomputed, abs=1e-8)
            assert old.default == pytest.approx(new.default, abs=1e-8)
