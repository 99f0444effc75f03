"""Results files of others' benchmarks: made, written, read, and those of the package."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from parsed import rounded
from scipy.stats import somersd

from croc.cli import main
from croc.errors import InputError
from croc.external.benchmark import benchmarks, find_benchmark
from croc.external.benchmarks import dsg_tifa160, tifa160
from croc.external.ranked import RANKED
from croc.external.results import (
    KIND,
    RECOMPUTED,
    ExternalResults,
    coefficient_matrix,
    make_result,
    read_result,
    write_result,
)
from croc.ratings.ties import order_accuracy

SHIPPED = ("dsg_tifa160", "imagenhub", "tifa160", "ts2")
SYSTEMS = {
    "mini-dalle": "mini_dalle",
    "vq-diffusion": "vq_diffusion",
    "sd1dot1": "stable_diffusion_v1_1",
    "sd2dot1": "stable_diffusion_v2_1",
}
PROMPTS = [f"{source}_{number}" for source in ("coco", "drawbench") for number in range(4)]


def write_tifa(data: Path) -> None:
    rng = np.random.default_rng(0)
    items = {}
    for prompt in PROMPTS:
        for rating, system in enumerate(SYSTEMS.values(), 1):
            items[f"{prompt}_{system}"] = {
                "text_id": prompt,
                "image_path": f"{prompt}_{system}.jpg",
                "text": f"text of {prompt}",
                "human_scores": [rating, rating],
                "human_avg": rating,
                **{metric: float(rng.normal()) for metric in tifa160.METRICS},
                "tifa_mplug-large": rating / 4,
                "spice": 0.5,
            }
    (data / "tifa160").mkdir()
    (data / "tifa160" / "human_annotations_with_scores.json").write_text(json.dumps(items))


def write_dsg(data: Path) -> None:
    folder = data / "dsg_tifa160"
    folder.mkdir()
    votes = ["item_id,source_id,t2i_model,worker_id,answer"]
    scores = [",".join(("item_id", *dsg_tifa160.METRICS))]
    for prompt in PROMPTS:
        for rating, system in enumerate(SYSTEMS, 1):
            votes += [f"tifa160_{prompt},{prompt},{system},{worker},{5 - rating}" for worker in "ab"]
            cells = ["0.5"] * len(dsg_tifa160.METRICS)
            cells[0] = str(-rating)
            scores.append(",".join((f"{prompt}_{system}", *cells)))
    (folder / "tifa160-likert-anns.csv").write_text("\n".join(votes))
    (folder / "dsg_tifa160_scores.csv").write_text("\n".join(scores))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, ExternalResults]]:
    data = tmp_path_factory.mktemp("data")
    write_tifa(data)
    write_dsg(data)
    return data, {name: make_result(find_benchmark(name), data) for name in ("tifa160", "dsg_tifa160")}


def test_a_metric_that_orders_as_people_do_is_first_and_a_constant_one_is_at_one_half(
    made: tuple[Path, dict[str, ExternalResults]],
) -> None:
    result = made[1]["tifa160"]
    assert result.metrics[0] == "tifa_mplug-large"
    order = dict(zip(result.metrics, np.nanmean(coefficient_matrix(result, "order"), axis=1), strict=True))
    assert order["tifa_mplug-large"] == 1.0 and order["spice"] == 0.5
    assert result.correlations.get("tifa_mplug-large", "human_avg").value == 1.0
    assert result.prompts == tuple(sorted(PROMPTS)) and set(result.parts) == {"coco", "drawbench"}
    assert "dataset:tifa160" in str(result.correlations.signature)
    assert {test.kind for test in result.correlations.tests} == {KIND}


def test_metrics_of_the_same_images_are_ranked_by_the_ratings_of_each(
    made: tuple[Path, dict[str, ExternalResults]],
) -> None:
    tifa, dsg = made[1]["tifa160"], made[1]["dsg_tifa160"]
    assert set(tifa.metrics) == set(dsg.metrics) == {*tifa160.METRICS, *dsg_tifa160.METRICS}
    own, other = (result.origin("tifa_mplug-large") for result in (tifa, dsg))
    assert own == other and own.benchmark == "tifa160" and "Yushi-Hu/tifa/tree/8e37050f" in str(own.url)
    # The votes of the second set are in the reverse order.
    assert tifa.correlations.get("vq2a_mplug-large", "human_avg").value == -1.0
    assert dsg.correlations.get("vq2a_mplug-large", "dsg_likert").value == 1.0
    assert dsg.correlations.get("tifa_mplug-large", "dsg_likert").value == -1.0


def test_the_systems_of_both_sets_are_those_of_the_table() -> None:
    from croc.external.ranked import _DSG_SYSTEMS

    assert SYSTEMS.items() <= _DSG_SYSTEMS.items() and len(_DSG_SYSTEMS) == 5


def test_a_file_is_what_was_made(made: tuple[Path, dict[str, ExternalResults]], tmp_path: Path) -> None:
    result = made[1]["tifa160"]
    path = write_result(result, tmp_path / "deep" / "tifa160.json")
    assert read_result(path) == result
    assert json.loads(path.read_text("utf-8")) == result.to_dict()
    assert max(map(len, path.read_text("utf-8").splitlines())) < 10_000


def _other_mean(content: dict[str, Any]) -> None:
    content["coefficients"]["acc_eq"]["spice"][0] += 0.1


def _other_names(content: dict[str, Any]) -> None:
    content["origins"][0]["metric"] = "another"


def _fewer_prompts(content: dict[str, Any]) -> None:
    content["prompts"].pop()


def _own_address(content: dict[str, Any]) -> None:
    content["origins"][0]["url"] = "javascript:alert(1)"


def _new_key(content: dict[str, Any]) -> None:
    content["verified"] = True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_mean, "'spice': states accuracy with ties"),
        (_other_names, "origins: not of the metrics that have correlations"),
        (_fewer_prompts, "parts: 8 values for 7 prompts"),
        (_own_address, "not a results file of a benchmark of others"),
        (_new_key, "not a results file of a benchmark of others"),
    ],
)
def test_an_edited_file_is_refused(
    made: tuple[Path, dict[str, ExternalResults]],
    tmp_path: Path,
    change: Callable[[dict[str, Any]], None],
    message: str,
) -> None:
    content = json.loads(json.dumps(made[1]["tifa160"].to_dict()))
    change(content)
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as error:
        read_result(path)
    assert str(error.value).startswith(str(path))


def test_the_command_adds_the_scores_of_a_table(
    made: tuple[Path, dict[str, ExternalResults]], tmp_path: Path
) -> None:
    data, results = made
    rows = [f"{prompt}_{system},{len(system)}" for prompt in PROMPTS for system in SYSTEMS.values()]
    table = tmp_path / "mine.csv"
    table.write_text("\n".join(["item_id,mine", *rows]))
    words = ["external", "results", "tifa160", "--data", str(data), "--scores", str(table), "--out"]
    done = CliRunner().invoke(main, [*words, str(tmp_path / "out")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = read_result(tmp_path / "out" / "tifa160.json")
    assert set(found.metrics) == {*results["tifa160"].metrics, "mine"}
    assert found.origin("mine").benchmark == "" and found.origin("mine").url is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["colorswap"], "colorswap: has answers and no ratings"),
        (["agiqa3k"], "no folder agiqa3k"),
        (["tifa160", "ts2", "--scores", "x.csv"], "--scores: give one NAME with it"),
    ],
)
def test_what_has_no_results_is_one_sentence(
    made: tuple[Path, dict[str, ExternalResults]], tmp_path: Path, words: list[str], message: str
) -> None:
    done = CliRunner().invoke(
        main, ["external", "results", *words, "--data", str(made[0]), "--out", str(tmp_path)]
    )
    assert done.exit_code == 2 and message in done.stderr


def test_the_share_of_ordered_pairs_is_somers_d() -> None:
    rng = np.random.default_rng(1)
    scores, rating = rng.integers(0, 3, 60).astype(float), rng.integers(0, 4, 60).astype(float)
    rows = np.arange(60).reshape(6, 10)
    found = order_accuracy(scores, rating, rows)
    for own, value in zip(rows, found, strict=True):
        assert value == pytest.approx((1 + somersd(rating[own], scores[own]).statistic) / 2)
    assert np.isnan(order_accuracy(scores, np.ones(60), rows)).all()


# ---- The files of the package ----


def test_the_package_has_the_results_of_every_rated_benchmark_with_metrics() -> None:
    assert sorted(path.stem for path in RECOMPUTED.glob("*.json")) == sorted(SHIPPED)
    assert RANKED.keys() == set(SHIPPED)
    assert sum(path.stat().st_size for path in RECOMPUTED.iterdir()) < 1_000_000


@pytest.mark.parametrize("name", SHIPPED)
def test_a_file_of_the_package_names_the_source_of_every_score(name: str) -> None:
    result = read_result(RECOMPUTED / f"{name}.json")
    for row in result.rows():
        source = benchmarks()[row["benchmark"]].source
        assert row["url"] == f"https://github.com/{source.repository}/tree/{source.commit}"
        assert row["order_ci_low"] <= row["order"] <= row["order_ci_high"]
        assert row["rank"] >= 1 and row["signature"] == str(result.correlations.signature)
    assert "the metrics were not run" in result.statement


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_a_file_of_the_package_is_what_the_published_scores_give(name: str, shared_data: Path) -> None:
    stored = read_result(RECOMPUTED / f"{name}.json")
    again = make_result(find_benchmark(name), shared_data)
    if name in ("tifa160", "dsg_tifa160"):
        assert find_benchmark("tifa160").find(shared_data) and find_benchmark("dsg_tifa160").find(shared_data)
    assert rounded(stored.to_dict(), 9) == rounded(again.to_dict(), 9)
