"""Metrics on the images of benchmarks: from the Hub or a folder to the standard scores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import tiny_models
from benchmark_layouts import LAYOUTS, WINOGROUND, winoground_parquet
from click.testing import CliRunner
from hub_server import Hub, online
from hub_state import User
from huggingface_hub import HfApi
from pictures import png

from croc.cli import main
from croc.errors import InputError
from croc.external.benchmark import Benchmark, benchmarks, find_benchmark
from croc.external.benchmarks import winoground
from croc.external.evaluation import evaluate_on
from croc.external.scoring import sample, score_benchmark
from croc.scorers.registry import load


def written(name: str, folder: Path) -> Path:
    """A folder in the layout of a benchmark."""
    folder.mkdir(parents=True, exist_ok=True)
    LAYOUTS[name](folder)
    return folder


class Counting:
    """Scores by the mean pixel and the length of the prompt, and counts the pairs."""

    name = "counting"

    def __init__(self) -> None:
        self.pairs = 0

    def score(self, images: Any, prompts: Any) -> Any:
        self.pairs += len(images)
        return np.array([np.asarray(i).mean() + len(p) for i, p in zip(images, prompts, strict=True)])

    def fields(self) -> dict[str, str]:
        return {"revision": "1"}


# ---- From a Hub id to the standard scores ----


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    root = tmp_path_factory.mktemp("hub")
    patch = pytest.MonkeyPatch()
    with Hub(root / "hub") as server, online(patch):
        server.users["hf_writer"] = User("tester", ("facebook", "BaiqiL"))
        api = HfApi(endpoint=server.endpoint, token="hf_writer")
        commits = {}
        for repo, folder in (
            ("facebook/winoground", written("winoground", root / "winoground")),
            ("BaiqiL/GenAI-Bench-1600", written("genai_bench_1600", root / "genai")),
        ):
            api.create_repo(repo, repo_type="dataset")
            commits[repo] = api.upload_folder(repo_id=repo, repo_type="dataset", folder_path=folder).oid
        model = tiny_models.save(*tiny_models.clip(), root / "clip")
        yield SimpleNamespace(server=server, commits=commits, model=model, root=root)
    patch.undo()


def run(hub: SimpleNamespace, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as another person on another machine would."""
    home.mkdir(exist_ok=True)
    environment = {**os.environ, **hub.server.client_environment(home / "cache")}
    command = [sys.executable, "-m", "croc", "external", *words]
    return subprocess.run(command, cwd=home, env=environment, check=False, capture_output=True, text=True)


@pytest.mark.slow
def test_winoground_from_a_hub_id_to_its_group_score(hub: SimpleNamespace, tmp_path: Path) -> None:
    home, commit = tmp_path / "home", hub.commits["facebook/winoground"]
    scorer = ("--scorer", "clipscore-b32", "--option", f"model={hub.model}", "--device", "cpu")
    done = run(hub, home, "score", "winoground", *scorer, "--out", "scores")
    assert done.returncode == 0, done.stderr
    assert f"facebook/winoground @ {commit}" in done.stderr
    assert f"--revision {commit}" in done.stderr  # the reader pins none
    (table,) = (home / "scores").glob("*.parquet")
    metadata = pq.read_schema(table).metadata
    assert metadata[b"dataset_revision"].decode() == commit
    done = run(hub, home, "evaluate", "winoground", str(table), "--revision", commit, "--json", "out.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((home / "out.json").read_text())
    values = {score["name"].partition(" ")[2]: score["parity"] for score in found["scores"]}
    # As linzhiqiu/t2v_metrics, dataset.py, get_winoground_acc computes them, with the scorer by itself.
    clip = load("clipscore-b32", model=str(hub.model), device="cpu")
    passed = []
    for number, example in enumerate(WINOGROUND):
        images = [tiny_models.Image.open(_bytes(png(2 * number + side))).convert("RGB") for side in (0, 1)]
        captions = [example["caption_0"], example["caption_1"]]
        scores = clip.score([a for a in images for _ in captions], captions * 2)
        c0_i0, c1_i0, c0_i1, c1_i1 = scores
        text, image = c0_i0 > c1_i0 and c1_i1 > c0_i1, c0_i0 > c0_i1 and c1_i1 > c1_i0
        passed.append((text, image, text and image))
    for name, column in zip(("text", "image", "group"), np.mean(passed, axis=0), strict=True):
        assert values[f"{name} score"] == pytest.approx(column)
    objects = [
        row for row, example in zip(passed, WINOGROUND, strict=True) if example["collapsed_tag"] == "Object"
    ]
    assert values["text score, Object"] == pytest.approx(np.mean(objects, axis=0)[0])


def _bytes(content: bytes) -> Any:
    import io

    return io.BytesIO(content)


@pytest.mark.slow
def test_genai_bench_from_a_hub_id_to_its_correlations(hub: SimpleNamespace, tmp_path: Path) -> None:
    home, commit = tmp_path / "home", hub.commits["BaiqiL/GenAI-Bench-1600"]
    scorer = ("--scorer", "clipscore-b32", "--option", f"model={hub.model}", "--device", "cpu")
    done = run(hub, home, "score", "genai_bench_1600", *scorer, "--out", "scores", "--revision", commit)
    assert done.returncode == 0, done.stderr
    assert "no revision is pinned" not in done.stderr
    table = home / "scores" / "genai_bench_1600.parquet"
    pairs = pl.read_parquet(table)
    assert pairs.columns[:4] == ["item_id", "system", "prompt", "human"] and len(pairs) == 8
    done = run(
        hub, home, "evaluate", "genai_bench_1600", str(table), "--revision", commit, "--json", "out.json"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((home / "out.json").read_text())
    values = {score["name"].partition(" ")[2]: score["parity"] for score in found["scores"]}
    metric = pairs[pairs.columns[4]].to_numpy()
    assert values["Pearson"] == pytest.approx(np.corrcoef(metric, pairs["human"].to_numpy())[0, 1])


def test_a_benchmark_that_the_hub_refuses_is_one_sentence(hub: SimpleNamespace, tmp_path: Path) -> None:
    done = run(
        hub, tmp_path / "home", "score", "winoground", "--scorer", "random", "--out", "x", "--revision", "v9"
    )
    assert done.returncode != 0 and "facebook/winoground has no revision v9" in done.stderr
    assert "Traceback" not in done.stderr


# ---- From a folder ----


def score(benchmark: Benchmark, scorer: Any, out: Path, **more: Any) -> tuple[list[Path], list[str]]:
    remarks: list[str] = []
    return score_benchmark(benchmark, [scorer], out, log=remarks.append, **more), remarks


def test_finished_work_is_not_repeated(tmp_path: Path) -> None:
    folder = written("winoground", tmp_path / "winoground")
    (file,), _ = score(winoground.BENCHMARK, first := Counting(), tmp_path / "out", data=folder)
    assert first.pairs >= 24  # four pairs of each example, and the self-check
    before = file.read_bytes()
    (file,), remarks = score(winoground.BENCHMARK, second := Counting(), tmp_path / "out", data=folder)
    assert second.pairs < first.pairs and file.read_bytes() == before
    assert "all from an earlier run" in remarks[-1]


def test_changed_texts_are_other_work(tmp_path: Path) -> None:
    folder = written("winoground", tmp_path / "winoground")
    score(winoground.BENCHMARK, Counting(), tmp_path / "out", data=folder)
    file = folder / "data" / "examples.jsonl"
    file.write_text(file.read_text().replace("a dog", "a fox"))
    with pytest.raises(InputError, match="dataset"):
        score(winoground.BENCHMARK, Counting(), tmp_path / "out", data=folder)


def test_a_local_copy_has_the_scores_of_its_files(tmp_path: Path) -> None:
    folder = written("winoground", tmp_path / "copy")
    (file,), _ = score(winoground.BENCHMARK, Counting(), tmp_path / "out", data=tmp_path / "copy")
    table = pl.read_parquet(file).sort("check_id", "image_side", descending=[False, True])
    first = table.row(0, named=True)
    assert (first["check_id"], first["image_side"], first["category"]) == ("0", "original", "Relation")
    pixels = np.asarray(tiny_models.Image.open(_bytes(png(0))).convert("RGB"))
    assert first["prompt_score"] == pytest.approx(pixels.mean() + len("a dog chases 0 cats"))
    found = evaluate_on(winoground.BENCHMARK, folder, [file], log=print)
    assert {"counting text score", "counting group score, Object"} <= {score.name for score in found.scores}
    assert found.notes == ()


def test_a_pair_table_has_the_ratings_and_every_metric_of_the_folder(tmp_path: Path) -> None:
    folder, benchmark = (
        written("genai_bench_1600", tmp_path / "GenAI-Bench-1600"),
        find_benchmark("genai_bench_1600"),
    )
    score(benchmark, Counting(), tmp_path / "out", data=tmp_path)
    (file,), _ = score(benchmark, "random", tmp_path / "out", data=folder)
    table = pl.read_parquet(file)
    assert table.columns == ["item_id", "system", "prompt", "human", "counting", "random"]
    assert table.filter(item_id="00003_DALLE_3").select("system", "prompt", "human").row(0) == (
        "DALLE_3",
        "3 cats",
        pytest.approx(13 / 3),
    )
    signatures = json.loads(pq.read_schema(file).metadata[b"signatures"])
    assert "scorer:counting" in signatures["counting"] and "genai_bench_1600" in signatures["random"]


def test_a_part_of_the_items_is_evenly_spaced(tmp_path: Path) -> None:
    folder = written("winoground", tmp_path / "copy")
    (file,), _ = score(winoground.BENCHMARK, Counting(), tmp_path / "out", data=folder, max_items=3)
    assert set(pl.read_parquet(file)["check_id"]) == {"0", "2", "4"}
    found = evaluate_on(winoground.BENCHMARK, folder, [file], log=print)
    assert found.notes == ("3 of 6 items have scores.",)


@pytest.mark.parametrize(
    ("groups", "number", "chosen"),
    [
        ("aabbccdd", 4, [0, 1, 4, 5]),
        ("aabbccdd", 100, list(range(8))),
        ("abababab", 4, [0, 2, 4, 6]),
        ("aaaabbbb", 3, [0, 1, 2]),  # no group is as small
        ("abbbbc", 3, [0]),
        ("abcdef", 3, [0, 2, 4]),
    ],
)
def test_a_sample_has_whole_groups(groups: str, number: int, chosen: list[int]) -> None:
    assert sample(groups, number) == chosen


def test_a_sample_of_sugarcrepe_pp_has_both_captions_of_each_item(tmp_path: Path) -> None:
    folder, benchmark = written("sugarcrepe_pp", tmp_path / "copy"), find_benchmark("sugarcrepe_pp")
    (file,), _ = score(benchmark, Counting(), tmp_path / "out", data=folder, max_items=12)
    items = [name.rpartition("/")[0] for name in pl.read_parquet(file)["check_id"]]
    assert len(items) == 10 and all(items.count(item) == 2 for item in items)


_PINNED = """
import sys
from dataclasses import replace
from croc.external.benchmarks.winoground import BENCHMARK
from croc.external.location import locate

source = replace(BENCHMARK.source, hub_revision=sys.argv[1])
found = locate(replace(BENCHMARK, source=source), None, None, images=False, log=print)
print(found.commit, sorted(path.name for path in found.folder.rglob("*")))
"""


def test_the_commit_that_a_reader_names_is_downloaded(hub: SimpleNamespace, tmp_path: Path) -> None:
    commit = hub.commits["facebook/winoground"]
    environment = {**os.environ, **hub.server.client_environment(tmp_path / "cache")}
    command = [sys.executable, "-c", _PINNED, commit]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    place, files = done.stdout.splitlines()  # and no warning
    assert place == f"winoground: facebook/winoground @ {commit}"
    assert files == f"{commit} ['data', 'examples.jsonl']"  # images are not needed for this


def test_a_gated_benchmark_says_how_to_get_access(hub: SimpleNamespace, tmp_path: Path) -> None:
    hub.server.fail("GET", "/api/datasets/facebook/winoground", 403, times=9, X_Error_Code="GatedRepo")
    done = run(hub, tmp_path / "home", "score", "winoground", "--scorer", "random", "--out", "x")
    hub.server.faults.clear()
    assert done.returncode != 0 and "facebook/winoground is gated: accept its licence at" in done.stderr


def test_commands_go_from_a_folder_to_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written("imagereward", tmp_path / "copy")
    written("winoground", tmp_path / "winoground")
    for words, shown in (
        ("external score imagereward --scorer random constant --from copy --out a", "a/imagereward.parquet"),
        ("external evaluate imagereward a/imagereward.parquet --from copy", "random accuracy"),
        ("correlate a/imagereward.parquet --human human --resamples 0 --permutations 0", "constant"),
        ("external score winoground --scorer random --out b", "b/random.parquet"),  # found in this folder
        ("external evaluate winoground b --data .", "random group score, Object"),
        ("evaluate b --paper", "random"),
    ):
        done = CliRunner().invoke(main, words.split(), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert shown in done.output


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_of_scores_is_not_taken_for_the_benchmark(name: str, tmp_path: Path) -> None:
    folder, benchmark = written(name, tmp_path / "files"), find_benchmark(name)
    score(benchmark, "random", tmp_path / "scores" / name, data=folder)
    assert benchmark.find(tmp_path / "scores") is None


def test_missing_images_are_counted_and_none_at_all_is_an_error(tmp_path: Path) -> None:
    folder = written("winoground", tmp_path / "copy")
    (folder / "data" / "images.zip").unlink()
    with pytest.raises(InputError, match=r"ex_0_img_0\.png: no such file, and no other image; get them from"):
        score(winoground.BENCHMARK, Counting(), tmp_path / "out", data=folder)
    (folder / "images").mkdir()
    for name in ("ex_0_img_0", "ex_0_img_1"):
        (folder / "images" / f"{name}.png").write_bytes(png(1))
    (file,), remarks = score(winoground.BENCHMARK, Counting(), tmp_path / "out", data=folder)
    assert remarks[0].startswith("10 of 12 images missing, such as ")
    table = pl.read_parquet(file)
    assert table["prompt_score"].count() == 2
    assert "cannot be read" in table.filter(pl.col("prompt_score").is_null())["error"][0]


def test_the_reason_of_a_missing_score_stands_in_the_pair_table(tmp_path: Path) -> None:
    folder = written("tifa160", tmp_path / "tifa160")
    (folder / "images" / "2.jpg").unlink()
    (folder / "images" / "3.jpg").write_bytes(b"no image")
    (file,), remarks = score(find_benchmark("tifa160"), Counting(), tmp_path / "out", data=folder)
    assert remarks[0].startswith("1 of 6 images missing")
    failures = pl.read_parquet(file).select("counting", "failure").rows()
    assert [reason is None for _, reason in failures] == [True, True, False, False, True, True]
    assert "cannot be read" in failures[2][1] and failures[2][0] is None


def test_what_cannot_be_scored_is_one_sentence(tmp_path: Path) -> None:
    folder = written("winoground", tmp_path / "copy")
    for name, more, message in (
        ("dsg_tifa160", {"data": folder}, "dsg_tifa160: its images are not read"),
        ("winoground", {"data": tmp_path / "absent"}, "absent: no such folder"),
        (
            "mmrb2",
            {"data": folder},
            "no folder mmrb2 with .*; get it from rl-research/multimodal-rewardbench-2 on",
        ),
        ("winoground", {"data": tmp_path / "copy" / "data" / "x"}, "no such folder"),
        ("winoground", {"data": folder, "revision": "v1"}, "--revision names a commit on the Hub"),
        ("tifa160", {"revision": "v1"}, "tifa160: not read from the Hub"),
        ("tifa160", {}, "no folder tifa160 with human_annotations"),
    ):
        with pytest.raises(InputError, match=message):
            score(find_benchmark(name), Counting(), tmp_path / "out", **more)


def test_a_metric_with_the_name_of_a_column_is_refused(tmp_path: Path) -> None:
    folder, scorer = written("genai_bench_1600", tmp_path / "genai_bench_1600"), Counting()
    scorer.name = "human"
    with pytest.raises(InputError, match="the metric 'human' has the name of a column"):
        score(find_benchmark("genai_bench_1600"), scorer, tmp_path / "out", data=folder)


# ---- Every benchmark ----


def test_every_benchmark_with_images_has_a_small_folder_in_its_layout() -> None:
    assert {name for name, one in benchmarks().items() if one.pairs} == set(LAYOUTS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_benchmark_goes_from_its_layout_to_its_standard_scores(name: str, tmp_path: Path) -> None:
    folder, benchmark = written(name, tmp_path / name), find_benchmark(name)
    files, _ = score(benchmark, Counting(), tmp_path / "out", data=folder)
    found = evaluate_on(benchmark, folder, files, log=print)
    assert found.scores and not [note for note in found.notes if "score" in note]
    table = pl.read_parquet(files[0])
    assert not table["counting" if benchmark.kind == "rated" else "prompt_score"].null_count()
    assert len(set(table[table.columns[0]])) > 1


def test_images_in_parquet_files_score_as_those_in_an_archive(tmp_path: Path) -> None:
    folder = tmp_path / "parquet"
    winoground_parquet(folder)
    zipped = written("winoground", tmp_path / "zip")
    tables = [
        pl.read_parquet(score(winoground.BENCHMARK, Counting(), tmp_path / f"out-{n}", data=data)[0][0])
        for n, data in enumerate((folder, zipped))
    ]
    assert tables[0].equals(tables[1]) and not tables[0]["prompt_score"].null_count()


@pytest.mark.parametrize("name", ["tifa160", "nlvr"])
def test_the_real_images_are_scored(name: str, shared_data: Path, tmp_path: Path) -> None:
    scorer = Counting()
    (file,), _ = score(find_benchmark(name), scorer, tmp_path / "out", data=shared_data / name, max_items=12)
    found = evaluate_on(find_benchmark(name), shared_data / name, [file], log=print)
    assert found.scores and scorer.pairs
    assert not pl.read_parquet(file)["counting" if name == "tifa160" else "prompt_score"].null_count()
