"""Readers of rated images on small files in their formats: TIFA160, DSG, GenAI-Bench, AGIQA-3K, NLVR."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau, pearsonr, spearmanr

from croc.errors import InputError
from croc.external.benchmarks import agiqa3k, dsg_tifa160, genai_bench_527, nlvr, tifa160

# ---- TIFA160 ----


def tifa_item(prompt: str, system: str, ratings: list[int], score: float) -> dict[str, dict[str, Any]]:
    item = {
        "text_id": prompt,
        "image_path": f"{prompt}_{system}.jpg",
        "text": f"text of {prompt}",
        "human_scores": ratings,
        "human_avg": sum(ratings) / 2,
        **dict.fromkeys(tifa160.METRICS, score),
    }
    return {f"{prompt}_{system}": item}


def tifa_items() -> dict[str, dict[str, Any]]:
    return {
        **tifa_item("coco_1", "mini_dalle", [1, 2], 0.1),
        **tifa_item("coco_1", "vq_diffusion", [3, 3], 0.9),
        **tifa_item("coco_2", "mini_dalle", [5, 4], 0.4),
        **tifa_item("coco_2", "vq_diffusion", [5, 5], 0.5),
    }


def write_tifa(folder: Path, items: dict[str, dict[str, Any]]) -> Path:
    (folder / "human_annotations_with_scores.json").write_text(json.dumps(items))
    return folder


def test_what_tifa_calls_spearman_is_pearson_in_parity_mode(tmp_path: Path) -> None:
    items = tifa160.BENCHMARK.read(write_tifa(tmp_path, tifa_items()))
    row = items.table.row(1, named=True)
    assert (row["system"], row["prompt"], row["rater_2"]) == ("vq_diffusion", "text of coco_1", 3)
    scores, human = [0.1, 0.9, 0.4, 0.5], [1.5, 3, 4.5, 5]
    parity, default = (tifa160.compute(items, mode) for mode in ("parity", "default"))
    assert parity["meteor Spearman"] == pytest.approx(pearsonr(scores, human)[0])
    assert default["meteor Spearman"] == pytest.approx(spearmanr(scores, human)[0])
    assert parity["spice Kendall"] == default["spice Kendall"] == pytest.approx(kendalltau(scores, human)[0])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("spice", None, "item 'coco_1_mini_dalle': missing key 'spice'"),
        ("human_scores", [1, 2, 3], r"'human_scores' must be two ratings, not \[1, 2, 3\]"),
        ("meteor", "high", "item 'coco_1_mini_dalle': meteor: Input should be a valid number"),
    ],
)
def test_tifa_items_that_do_not_fit_are_refused(tmp_path: Path, key: str, value: Any, message: str) -> None:
    items = tifa_items()
    first = items["coco_1_mini_dalle"]
    first[key] = value
    if value is None:
        del first[key]
    with pytest.raises(InputError, match=message) as error:
        tifa160.read(write_tifa(tmp_path, items))
    assert "human_annotations_with_scores.json" in str(error.value)


# ---- DSG ----

VOTES = "dsg_prompt_split,t2i_model,item_id,source_id,worker_id,question,answer\n"
ANSWERS = "dsg_prompt_split,qg_model,t2i_model,item_id,question,question_id,dependency_id,answer\n"
VQ2A = "dsg_prompt_split,qg_model,t2i_model,item_id,question,answer\n"
GRAPHS = """item_id,text,proposition_id,dependency,tuple
tifa160_0,a red car,1,0,entity
tifa160_0,a red car,2,1,attribute
tifa160_1,a cow outside,1,0,entity
tifa160_1,a cow outside,2,1,attribute
tifa160_1,a cow outside,3,"1, outside",attribute
tifa160_2,a dog,1,0,entity
"""
GIVEN = {"tifa160_0": ["no", "yes"], "tifa160_1": ["no", "yes", "yes"]}


def write_dsg(folder: Path) -> Path:
    """The layout of the repository: three images, of which the last has no answers."""
    (folder / "dsg" / "data").mkdir(parents=True)
    (folder / "vqa_answers_release").mkdir()
    votes = [
        f"tifa160,sd1dot1,tifa160_{n},coco_{n},{worker},How consistent?,{vote}"
        for n, (first, second) in enumerate(((1, 2), (4, 5), (3, 3)))
        for worker, vote in ((7, first), (8, second))
    ]
    (folder / "dsg/data/tifa160-likert-anns.csv").write_text(VOTES + "\n".join(votes) + "\n")
    (folder / "dsg/data/dsg-1k-anns.csv").write_text(GRAPHS)
    for model in dsg_tifa160.ANSWERERS.values():
        rows = [
            f"tifa160,dsg,sd1dot1,{item},Is it?,{n},0,{answer}"
            for item, given in GIVEN.items()
            for n, answer in enumerate(given, 1)
        ]
        (folder / f"vqa_answers_release/{model}_dsg.csv").write_text(ANSWERS + "\n".join(rows) + "\n")
        rows = [f"tifa160,vq2a,sd1dot1,{item},Is it?,yes" for item in GIVEN]
        (folder / f"vqa_answers_release/{model}_vq2a.csv").write_text(VQ2A + "\n".join(rows) + "\n")
    return folder


def test_one_malformed_dependency_voids_those_of_its_prompt_in_parity_mode_only(tmp_path: Path) -> None:
    items = dsg_tifa160.read(write_dsg(tmp_path))
    table = items.table
    assert table["item_id"].to_list() == ["coco_0_sd1dot1", "coco_1_sd1dot1", "coco_2_sd1dot1"]
    assert table["dsg_likert"].to_list() == [1.5, 4.5, 3]
    assert table["dsg-nodep_pali-17b"].to_list() == [0.5, pytest.approx(2 / 3), None]
    # Question 1 of both is answered "no", on which question 2 depends.
    assert table["dsg_pali-17b"].to_list() == [0, pytest.approx(2 / 3), None]
    # Question 3 of the second depends on question 1, too, besides the word that is no number.
    assert table["dsg_pali-17b_default"].to_list() == [0, 0, None]
    assert items.left_out[0] == (
        "Dependencies that are no number left out: tifa160_1, question 3: '1, outside'."
    )
    assert "Images without answers" in items.left_out[1]


def test_images_without_answers_count_0_in_parity_mode_only(tmp_path: Path) -> None:
    items = dsg_tifa160.read(write_dsg(tmp_path))
    parity, default = (dsg_tifa160.compute(items, mode) for mode in ("parity", "default"))
    name = "dsg-nodep_mplug-large Spearman"
    assert parity[name] == pytest.approx(spearmanr([0.5, 2 / 3, 0], [1.5, 4.5, 3])[0])
    assert default[name] == pytest.approx(1)


def test_a_table_of_scores_takes_the_place_of_the_answers(tmp_path: Path) -> None:
    write_dsg(tmp_path / "full")
    (tmp_path / "flat").mkdir()
    votes = (tmp_path / "full/dsg/data/tifa160-likert-anns.csv").read_text()
    (tmp_path / "flat/tifa160-likert-anns.csv").write_text(votes)
    rows = [",".join(["item_id", *dsg_tifa160.METRICS])]
    full = dsg_tifa160.read(tmp_path / "full").table
    for row in full.iter_rows(named=True):
        scores = ["" if row[name] is None else str(row[name]) for name in dsg_tifa160.METRICS]
        rows.append(",".join([row["item_id"], *scores]))
    (tmp_path / "flat/dsg_tifa160_scores.csv").write_text("\n".join(rows) + "\n")
    flat = dsg_tifa160.read(tmp_path / "flat").table
    assert flat.select(dsg_tifa160.METRICS).equals(full.select(dsg_tifa160.METRICS))


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("dsg/data/tifa160-likert-anns.csv", ",5\n", ",five\n", r"likert-anns\.csv, column 'answer', row 4"),
        ("vqa_answers_release/mplug_dsg.csv", "question_id", "number", r"missing column 'question_id'"),
        (
            "vqa_answers_release/mplug_dsg.csv",
            "Is it?,1,",
            "Is it?,one,",
            r"mplug_dsg\.csv, column 'question_id', row 1: 'one' is not",
        ),
        (
            "dsg/data/dsg-1k-anns.csv",
            "a dog,1",
            "a dog,one",
            r"dsg-1k-anns\.csv, column 'proposition_id', row 6: 'one' is not",
        ),
    ],
)
def test_dsg_files_that_do_not_fit_are_refused(
    tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    path = write_dsg(tmp_path) / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        dsg_tifa160.read(tmp_path)


# ---- GenAI-Bench ----


def write_genai(folder: Path, **models: list[Any]) -> Path:
    content = {"00001": {"id": "00001", "prompt": "A cat.", "prompt in Chinese": "猫", "models": models}}
    (folder / "genai_image.json").write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    return folder


def test_ratings_out_of_the_scale_are_left_out_by_default(tmp_path: Path) -> None:
    items = genai_bench_527.read(write_genai(tmp_path, DALLE_3=[5, 41, 4], SDXL_Base=[1, 1, 2], A=[3, 3, 3]))
    row = items.table.row(0, named=True)
    assert (row["item_id"], row["rater_1"], row["rater_2"], row["human"]) == ("00001_DALLE_3", 5, None, 4.5)
    assert items.left_out == ("Ratings that are not from 1 to 5 left out: 41 of 00001_DALLE_3.",)
    parity, default = (genai_bench_527.compute(items, mode) for mode in ("parity", "default"))
    assert (parity["DALLE_3 mean rating"], default["DALLE_3 mean rating"]) == (pytest.approx(50 / 3), 4.5)
    krippendorff = pytest.importorskip("krippendorff", reason="needs croc-t2i[hum]")
    given = {"parity": [[5, 1, 3], [41, 1, 3], [4, 2, 3]], "default": [[5, 1, 3], [np.nan, 1, 3], [4, 2, 3]]}
    for mode, found in (("parity", parity), ("default", default)):
        for level in ("ordinal", "interval"):
            expected = krippendorff.alpha(np.array(given[mode], float), level_of_measurement=level)
            assert found[f"alpha ({level})"] == pytest.approx(expected)


def test_an_image_without_three_ratings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"genai_image\.json, prompt '00001', SD: expected three ratings"):
        genai_bench_527.read(write_genai(tmp_path, SD=[1, 2]))


# ---- AGIQA-3K ----

AGIQA = """name,prompt,adj1,adj2,style,mos_quality,std_quality,mos_align,std_align
AttnGAN_normal_000.jpg,statue of a man,,,,0.96,0.22,0.40,0.61
sd1.5_highcorr_018.jpg,"a cat, asleep",sharp detail,,sci-fi style,1.36,0.64,0.42,0.66
sd1.5_highcorr_019.jpg,a dog,,,,0.50,0.64,0.10,0.66
"""


def test_mean_opinion_scores_are_read_with_the_model_of_the_file_name(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(AGIQA)
    items = agiqa3k.read(tmp_path)
    assert items.table["system"].to_list() == ["AttnGAN", "sd1.5", "sd1.5"]
    assert items.table["mos_align"].to_list() == [0.40, 0.42, 0.10]
    found = agiqa3k.compute(items, "parity")
    assert (found["images"], found["image models"]) == (3, 2)
    assert found["Spearman of quality and alignment"] == pytest.approx(1)
    (tmp_path / "data.csv").write_text(AGIQA.replace("0.42", "good"))
    with pytest.raises(InputError, match=r"data\.csv, column 'mos_align', row 2: 'good' is not a number"):
        agiqa3k.read(tmp_path)


# ---- NLVR ----


def test_votes_of_nlvr_are_rated_images(tmp_path: Path) -> None:
    votes = [
        {"r0": "true", "r1": "true", "r2": "nonsense"},
        {"r0": "false", "r3": "false", "r4": "true"},
        {"r0": "true", "r1": "true", "r4": "true"},
    ]
    examples = [
        {"identifier": f"7-{n}", "sentence": "There is a box. ", "label": label, "evals": evals}
        for n, (label, evals) in enumerate(zip(("true", "false", "false"), votes, strict=True))
    ]
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/dev.json").write_text("\n".join(map(json.dumps, examples)))
    items = nlvr.read(tmp_path)
    assert items.table["human"].to_list() == [1, pytest.approx(1 / 3), 1]
    assert items.table["image"][0] == "images/dev-7-0-0.png"
    assert items.left_out == ("1 vote for nonsense left out of the share of true votes.",)
    found = nlvr.compute(items, "default")
    assert found["examples"] == 3
    assert found["label is that of the majority"] == pytest.approx(2 / 3)
    examples[1]["evals"] = {"r0": "perhaps"}
    (tmp_path / "dev/dev.json").write_text("\n".join(map(json.dumps, examples)))
    with pytest.raises(InputError, match="example '7-1': unknown vote 'perhaps'"):
        nlvr.read(tmp_path)
