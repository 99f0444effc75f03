"""The table of metrics that several benchmarks have."""

from __future__ import annotations

import pytest
import yaml

from croc.external.benchmark import benchmarks
from croc.external.results import RECOMPUTED, read_result
from croc.scorers.registry import available
from croc.transfer import metric_names
from croc.transfer.metric_names import CROC, Metric, identify, known_metrics, shared_metrics

ENTRIES = yaml.safe_load(metric_names._FILE.read_text("utf-8"))


def test_every_name_of_the_table_has_a_source_and_stands_in_it_once() -> None:
    assert all(entry["names"].keys() == entry["sources"].keys() for entry in ENTRIES)
    assert all(entry["is"] and entry["method"] for entry in ENTRIES)
    names = [(place, name) for entry in ENTRIES for place, name in entry["names"].items()]
    assert len(names) == len(set(names)) == len(known_metrics())
    assert len({entry["id"] for entry in ENTRIES}) == len(ENTRIES)


def test_sources_are_files_of_the_commit_that_the_reader_reads() -> None:
    for entry in ENTRIES:
        for place, source in entry["sources"].items():
            if place == CROC:
                model = next(one for one in available() if one.name == entry["names"][CROC]).model
                assert source == f"croc/scorers/models.yaml: {model}"
            else:
                pinned = benchmarks()[place].source
                assert source.startswith(f"{pinned.repository}@{pinned.commit[:12]}:")


@pytest.mark.parametrize("place", ["tifa160", "dsg_tifa160", "ts2", "imagenhub"])
def test_names_of_the_table_are_columns_of_the_benchmark(place: str) -> None:
    result = read_result(RECOMPUTED / f"{place}.json")
    here = {origin.metric for origin in result.origins if origin.benchmark == place}
    assert {name for benchmark, name in known_metrics() if benchmark == place} <= here


def test_one_name_in_two_benchmarks_is_one_metric_only_if_the_table_says_so() -> None:
    assert identify("tifa160", "clipscore_vitb32") == identify(CROC, "clipscore-b32")
    assert identify("ts2", "clipscore").name == "clipscore-b16"
    assert identify("ts2", "gpt4v").name != identify("colorswap", "gpt4v").name
    assert identify("", "mine").name == identify(CROC, "mine").name == "mine"


def test_a_method_matches_where_each_benchmark_has_one_metric_of_it() -> None:
    clip = [Metric(f"clip-{size}", "CLIPScore") for size in "abc"]
    other = Metric("other", "other")
    assert shared_metrics([clip[0], other], [other, clip[1]], "metric").names == ("other",)
    found = shared_metrics([clip[0], other], [other, clip[1]], "method")
    assert found.names == ("other", "CLIPScore") and found.places == ((1, 0), (0, 1))
    several = shared_metrics([clip[0], clip[1]], [clip[2]], "method")
    assert several.names == () and several.ambiguous == ("CLIPScore",)
    same = shared_metrics([clip[0], clip[1]], [clip[1], clip[2]], "method")
    assert same.names == ("clip-b",) and same.ambiguous == ()
