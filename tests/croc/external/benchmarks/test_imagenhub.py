"""ImagenHub and VIEScore: both layouts read, the notebook's average, and ties by rounding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from croc.errors import InputError
from croc.external.benchmarks import imagenhub
from croc.external.benchmarks.imagenhub import BENCHMARK, average

UIDS = [f"sample_{n}.jpg" for n in range(6)]
SYSTEMS = ("SD", "SDXL")
SC = np.array([[8, 2, 5, 9, 0, 10], [1, 7, 3, 12, 6, 6]])
PQ = np.array([[5, 5, 6, 4, 7, 3], [9, 2, 2, 8, 8, 1]])
STEPS = (0, 0.5, 1)


def rating(rater: int, system: int, n: int) -> list[float]:
    return [STEPS[step] for step in np.random.default_rng([rater, system, n]).integers(3, size=2)]


def write_ratings(folder: Path, task: str = "Text-To-Image") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for rater in (1, 2, 3):
        lines = ["\t".join(["uid", *SYSTEMS])]
        for n, uid in enumerate(UIDS):
            cells = [str(rating(rater, system, n)) for system in range(2)]
            lines.append("\t".join([uid, *cells]))
        (folder / f"{task}_rater{rater}.tsv").write_text("\n".join(lines) + "\n")


def write_table(folder: Path) -> Path:
    """The layout with a table of scores."""
    write_ratings(folder / "human")
    lines = ["item_id,task,system,uid,human_sc_1,gemini_0shot_sc,gemini_0shot_pq,CLIP_Score"]
    for s, system in enumerate(SYSTEMS):
        for n, uid in enumerate(UIDS):
            lines.append(
                f"Text-Guided_IG/{system}/{uid},Text-Guided_IG,{system},{uid},9,{SC[s, n]},{PQ[s, n]},.2"
            )
    (folder / "viescore_imagenhub.csv").write_text("\n".join(lines) + "\n")
    return folder


def write_repository(folder: Path) -> Path:
    """The layout of the repository: answers of the judges as JSON."""
    base = folder / "paper_implementation"
    write_ratings(base / "_human_annotations" / "ImagenHub_human_eval_results" / "ImagenHub_Text-Guided_IG")
    answers = base / "_answers" / "results_gemini_0shot" / "ImagenHub_Text-Guided_IG"
    for s, system in enumerate(SYSTEMS):
        (answers / system).mkdir(parents=True)
        for name, scores in (("SC", SC), ("PQ", PQ)):
            content = {uid: {"score": [15, int(scores[s, n])]} for n, uid in enumerate(UIDS)}
            if (s, name) == (0, "PQ"):
                content[UIDS[0]] = {"score": int(PQ[0, 0])}  # a number in place of a list
                content[UIDS[1]] = {"score": "unclear"}
                content["sample_9.jpg"] = {"score": [float("inf")]}
                content["sample_10.jpg"] = {"score": []}
            (answers / system / f"{name}.json").write_text(json.dumps(content))
    auto = base / "_answers" / "results_autometrics" / "ImagenHub_Text-Guided_IG"
    auto.mkdir(parents=True)
    (auto / "SD.json").write_text(json.dumps({UIDS[0]: {"CLIP_Score": 0.25}}))
    return folder


def test_ratings_are_those_of_the_files_and_not_of_the_table(tmp_path: Path) -> None:
    items = BENCHMARK.read(write_table(tmp_path))
    assert items.metrics == ("gemini_0shot_sc", "gemini_0shot_pq", "CLIP_Score")
    row = items.table.filter(item_id="Text-Guided_IG/SDXL/sample_3.jpg").row(0, named=True)
    given = np.array([rating(rater, 1, 3) for rater in (1, 2, 3)])
    assert [row[f"human_sc_{n}"] for n in (1, 2, 3)] == given[:, 0].tolist()
    assert row["human_pq"] == pytest.approx(given[:, 1].mean())
    assert row["human_o"] == pytest.approx(np.sqrt(given.prod(axis=1)).mean())


def test_answers_of_the_repository_give_the_same_scores_and_are_counted(tmp_path: Path) -> None:
    table = BENCHMARK.read(write_table(tmp_path / "a")).table
    items = BENCHMARK.read(write_repository(tmp_path / "b"))
    other = items.table
    assert items.left_out == ("3 answers without a score left out.",)
    for name in ("gemini_0shot_sc", "gemini_0shot_pq"):
        pairs = dict(zip(table["item_id"], table[name], strict=True))
        for item, score in zip(other["item_id"], other[name], strict=True):
            unparsed = (item, name) == ("Text-Guided_IG/SD/sample_1.jpg", "gemini_0shot_pq")
            assert score == (None if unparsed else pairs[item])
    assert other["CLIP_Score"].drop_nulls().to_list() == [0.25]


def test_correlations_within_systems_and_their_average(tmp_path: Path) -> None:
    items = BENCHMARK.read(write_table(tmp_path))
    parity, default = (BENCHMARK.compute(items, mode) for mode in ("parity", "default"))
    rho = []
    for s, system in enumerate(SYSTEMS):
        human = [np.mean([rating(rater, s, n)[0] for rater in (1, 2, 3)]) for n in range(6)]
        rho.append(spearmanr(np.clip(SC[s] / 10, 0, 1), human)[0])
        assert parity[f"Text-Guided_IG/{system} SC"] == pytest.approx(rho[-1])
    assert parity["Text-Guided_IG/mean SC"] == pytest.approx(np.tanh(np.mean(rho)))
    assert default["Text-Guided_IG/mean SC"] == pytest.approx(np.tanh(np.mean(np.arctanh(rho))))
    assert "all SC" not in parity  # the other tasks are not there


def test_raters_are_compared_with_the_mean_of_the_others(tmp_path: Path) -> None:
    found = BENCHMARK.compute(BENCHMARK.read(write_table(tmp_path)), "default")
    given = np.array([[rating(rater, 0, n)[1] for n in range(6)] for rater in (1, 2, 3)])
    rho = [spearmanr(given[i], np.delete(given, i, axis=0).mean(axis=0))[0] for i in range(3)]
    expected = average(np.array(rho), "default")
    assert np.isfinite(expected)
    assert found["Text-Guided_IG/SD PQ between raters"] == pytest.approx(expected)


def test_equal_means_that_differ_by_rounding_are_ties_by_default(tmp_path: Path) -> None:
    """The sums of 0.5, √0.5 and √0.5 in two orders differ in the last bit."""
    orders = (([0.5, 0.5], [0.5, 1], [0.5, 1]), ([0.5, 1], [0.5, 1], [0.5, 0.5]))
    folder = write_table(tmp_path) / "human"
    for rater in (1, 2, 3):
        rows = [f"{uid}\t{pairs[rater - 1]}\t[0, 0]" for uid, pairs in zip(UIDS, orders, strict=False)]
        (folder / f"Text-To-Image_rater{rater}.tsv").write_text("\n".join(["uid\tSD\tSDXL", *rows]) + "\n")
    items = BENCHMARK.read(tmp_path)
    means = items.table.filter(system="SD")["human_o"].to_list()
    assert means[0] == means[1]
    parity = imagenhub._overall(items.table.filter(system="SD"), "parity")
    assert parity[0] != parity[1] and parity == pytest.approx(means)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "Text-To-Image_rater2.tsv",
            "[0",
            "(x",
            r"rater2\.tsv, column '.*', row \d: '.*' is not a pair \[SC, PQ\]",
        ),
        ("Text-To-Image_rater2.tsv", "sample_0", "sample_9", r"rater2\.tsv: the uids are not those of"),
        ("Text-To-Image_rater3.tsv", "SDXL", "SD3", r"rater3\.tsv: missing column 'SDXL'"),
    ],
)
def test_ratings_that_do_not_fit_are_refused(
    tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    path = write_table(tmp_path) / "human" / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        BENCHMARK.read(tmp_path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "viescore_imagenhub.csv").write_text("item_id,x\n")
    with pytest.raises(InputError, match="no ratings in human/"):
        BENCHMARK.read(tmp_path)
    (write_table(tmp_path) / "human" / "Text-To-Image_rater3.tsv").unlink()
    with pytest.raises(InputError, match="no ratings of Text-To-Image by rater 3"):
        BENCHMARK.read(tmp_path)
    (tmp_path / "human" / "notes.tsv").write_text("x\ty\n")
    with pytest.raises(InputError, match=r"notes\.tsv: not a file of ratings"):
        BENCHMARK.read(tmp_path)
