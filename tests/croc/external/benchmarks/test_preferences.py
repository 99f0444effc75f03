"""Readers of ratings and preferences on small files in their formats: GenEval, ImageReward, HPDv2, …"""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from benchmark_layouts import LAYOUTS, MMRB2, mmrb2_parquet, put
from pictures import png
from scipy.stats import pearsonr, spearmanr

from croc.errors import InputError
from croc.external.benchmark import find_benchmark
from croc.external.benchmarks import evalmuse, genai_bench_1600, geneval, hpdv2, imagereward, mmrb2, richhf18k
from croc.external.evaluation import evaluate_on
from croc.external.images import StoredImage
from croc.external.items import Rated
from croc.external.standard import preference_accuracy


def written(name: str, folder: Path) -> Path:
    LAYOUTS[name](folder)
    return folder


def with_scores(items: Rated, scores: list[float | None], name: str = "m") -> Rated:
    return replace(items, table=items.table.with_columns(pl.Series(name, scores)), metrics=(name,))


# ---- Accuracy over pairs ----


def ranked(*rows: tuple[str, float, float | None]) -> Rated:
    table = pl.DataFrame(rows, schema=["prompt_id", "human", "m"], orient="row").with_row_index("item_id")
    return Rated(table.cast({"item_id": pl.String}), ("human",), metrics=("m",))


def test_pairs_are_those_of_a_prompt_that_people_order() -> None:
    items = ranked(("p", 3, 0.9), ("p", 2, 0.1), ("p", 2, 0.5), ("q", 1, 0.7), ("q", 2, 0.8), ("r", 9, 0.0))
    # p: (3, 2) twice right; the pair of equal ratings does not count. q: right. r: no pair.
    assert preference_accuracy(items, "human", "prompt_id", "parity") == {"m accuracy": 1}
    swapped = ranked(("p", 2, 0.9), ("p", 3, 0.1), ("q", 1, 0.7), ("q", 2, 0.8), ("q", 3, 0.75))
    assert preference_accuracy(swapped, "human", "prompt_id", "default") == {"m accuracy": pytest.approx(0.5)}


def test_equal_scores_are_wrong_in_parity_mode_and_one_half_by_default() -> None:
    items = ranked(("p", 3, 0.5), ("p", 2, 0.5), ("p", 1, None))
    assert preference_accuracy(items, "human", "prompt_id", "parity") == {"m accuracy": 0}
    assert preference_accuracy(items, "human", "prompt_id", "default") == {"m accuracy": 0.5}
    assert preference_accuracy(ranked(("p", 3, 0.5)), "human", "prompt_id", "default") == {}


# ---- ImageReward ----


def author_accuracy(rankings: list[list[int]], rewards: list[list[float]]) -> float:
    """``acc`` of THUDM/ImageReward@c1392c6d:test.py, written from its description."""
    right = total = 0
    for ranking, reward in zip(rankings, rewards, strict=True):
        for i in range(len(ranking)):
            for j in range(i + 1, len(ranking)):
                if ranking[i] != ranking[j]:
                    total += 1
                    right += reward[i] < reward[j] if ranking[i] > ranking[j] else reward[i] > reward[j]
    return right / total


def test_imagereward_ranks_are_negative_ratings(tmp_path: Path) -> None:
    items = imagereward.read(written("imagereward", tmp_path))
    assert items.table["human"].to_list()[:4] == [-1, -2, -5, -2]
    assert items.table.row(1, named=True)["item_id"] == "005658-0000/1"
    scores = np.random.default_rng(0).integers(0, 4, 12).astype(float)
    found = imagereward.score(with_scores(items, scores.tolist()), "parity")
    expected = author_accuracy([[1, 2, 5, 2]] * 3, scores.reshape(3, 4).tolist())
    assert found == {"m accuracy": pytest.approx(expected)}
    sizes = imagereward.compute(items, "default")
    assert sizes == {"prompts": 3, "images": 12, "pairs with the same rank": pytest.approx(1 / 6)}
    (image,) = imagereward.pairs(tmp_path).checks[5].images
    assert isinstance(image, StoredImage) and image.read() == png(11)


def test_imagereward_without_a_rank_for_each_image_is_refused(tmp_path: Path) -> None:
    file = written("imagereward", tmp_path) / "data" / "test.json"
    prompts = json.loads(file.read_text())
    prompts[1]["ranking"].pop()
    put(file, prompts)
    with pytest.raises(InputError, match=r"prompt '005658-0001': 4 images and 3 ranks; expected a rank"):
        imagereward.read(tmp_path)
    del prompts[1]["ranking"]
    put(file, prompts)
    with pytest.raises(InputError, match=r"test\.json: 1\.ranking: Field required"):
        imagereward.read(tmp_path)


# ---- HPDv2 ----


def author_inversions(predicted: list[int], ranks: list[float]) -> float:
    """``inversion_score`` of tgxs002/HPSv2@866735ec:hpsv2/src/training/train.py, from its description."""
    n = len(ranks)
    wrong = sum(
        (predicted[i] - predicted[j]) * (ranks[i] - ranks[j]) < 0 for i in range(n) for j in range(i + 1, n)
    )
    return 1 - wrong / (n * (n - 1) / 2)


def test_hpdv2_counts_inversions_as_its_authors_do(tmp_path: Path) -> None:
    items = hpdv2.read(written("hpdv2", tmp_path))
    assert items.table["human"].to_list()[:4] == [-1, -2.5, -2.5, -4]
    scores = np.random.default_rng(1).permutation(12).reshape(3, 4).astype(float)
    expected = []
    for own in scores:
        order = np.argsort(-own).tolist()
        expected.append(author_inversions([order.index(k) for k in range(4)], [1, 2.5, 2.5, 4]))
    found = hpdv2.score(with_scores(items, scores.ravel().tolist()), "parity")
    assert found == {"m accuracy": pytest.approx(np.mean(expected))}


def test_hpdv2_leaves_out_equal_ranks_and_halves_equal_scores_by_default(tmp_path: Path) -> None:
    items = with_scores(hpdv2.read(written("hpdv2", tmp_path)), [4.0, 3, 2, 1] * 2 + [1.0] * 4)
    # Two prompts in the right order; of the third all scores are equal.
    assert hpdv2.score(items, "default") == {"m accuracy": pytest.approx((1 + 1 + 0.5) / 3)}
    assert hpdv2.score(items, "parity") == {"m accuracy": 1}  # ties are ordered as in the file
    put(tmp_path / "test.json", [{"prompt": "p", "image_path": ["a"], "rank": [1, 2]}])
    with pytest.raises(InputError, match=r"test\.json, prompt 0: 1 images and 2 ranks"):
        hpdv2.read(tmp_path)


# ---- GenEval ----


def test_geneval_has_the_mean_of_five_answers_to_question_5(tmp_path: Path) -> None:
    items = geneval.read(written("geneval", tmp_path))
    first = items.table.row(0, named=True)
    assert (first["item_id"], first["system"], first["prompt"]) == ("clip/0_1", "clip", "a photo of 0 cups")
    assert first["human"] == pytest.approx((1 + 2 + 3 + 4 + 1) / 5)
    assert [first[f"votes_{value}"] for value in (1, 2, 3, 4)] == [2, 1, 1, 1]
    assert first["image"] == "images/clip/00000/samples/00001.png"
    found = geneval.compute(items, "default")
    assert (found["images"], found["ratings"]) == (9, 45)
    assert found["sdv2 mean rating"] == pytest.approx(items.table.filter(system="sdv2")["human"].mean())


def test_geneval_reads_a_carriage_return_inside_an_answer(tmp_path: Path) -> None:
    file = written("geneval", tmp_path) / "annotations" / "annotations_clip.csv"
    assert b"cup\rplate" in file.read_bytes()
    assert len(geneval.read(tmp_path).table) == 9


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            ",1\n",
            ",5\n",
            r"annotations_sdv2\.csv, column 'Answer\.task-quality', row 3: 5 is not from 1 to 4",
        ),
        (",1\n", ",good\n", "row 3: 'good' is not a number"),
        ("Answer.task-quality", "quality", "missing column 'Answer.task-quality'"),
        ("/resolve/main/images", "/images", "has no path after /resolve/main/"),
    ],
)
def test_answers_that_are_not_as_published_are_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    file = written("geneval", tmp_path) / "annotations" / "annotations_sdv2.csv"
    file.write_bytes(file.read_bytes().replace(old.encode(), new.encode(), 1))
    with pytest.raises(InputError, match=message):
        geneval.read(tmp_path)


# ---- MMRB2 ----


def test_mmrb2_has_two_images_a_pair_and_which_is_preferred(tmp_path: Path) -> None:
    folder = written("mmrb2", tmp_path)
    items = mmrb2.read(folder)
    assert items.table.select("item_id", "system", "human").rows()[:3] == [
        ("wise_0/a", "imagen4", 1),
        ("wise_0/b", "gpt-image-1", 0),
        ("wise_1/a", "imagen4", 0),
    ]
    scores: list[float | None] = [0.9, 0.1, 0.9, 0.1, 0.5, 0.5, None, 1]
    scored = with_scores(items, scores)  # right, wrong, a tie, a missing score
    assert mmrb2.score(scored, "parity") == {"m accuracy": pytest.approx(1 / 3)}
    assert mmrb2.score(scored, "default") == {"m accuracy": 0.5}


def test_the_parquet_files_of_mmrb2_hold_the_same(tmp_path: Path) -> None:
    local = written("mmrb2", tmp_path / "a")
    (tmp_path / "b").mkdir()
    mmrb2_parquet(tmp_path / "b")
    assert mmrb2.read(tmp_path / "b").table.equals(mmrb2.read(local).table)
    stored, files = mmrb2.pairs(tmp_path / "b"), mmrb2.pairs(local)
    assert [check.check_id for check in stored.checks] == [check.check_id for check in files.checks]
    assert [check.prompt for check in stored.checks] == [check.prompt for check in files.checks]
    assert [image.read() for image in stored.images()] == [  # type: ignore[union-attr]
        file.read_bytes()  # type: ignore[union-attr]
        for file in files.images()
    ]


def test_a_judge_of_mmrb2_is_asked_in_both_orders(tmp_path: Path) -> None:
    folder = written("mmrb2", tmp_path)
    judgements = {"wise_0": "AB", "wise_1": "AB", "wise_2": "AA"}  # chosen: A, B, A, B
    content = {
        pair: {
            order: [{"judgement": vote}] for order, vote in zip(("forward", "reverse"), votes, strict=True)
        }
        for pair, votes in judgements.items()
    } | {"wise_3": {"forward": [{"judgement": None}], "reverse": []}}
    put(folder / "evaluate/generate_judgements/outputs/sample_task1_image.json", content)
    found = mmrb2.compute(mmrb2.read(folder), "parity")
    # wise_0: both right; wise_1: both wrong; wise_2: only the first; wise_3: no answer.
    assert found["sample judge accuracy"] == pytest.approx(100 * 3 / 6)
    assert found["sample judge right in both orders"] == pytest.approx(100 / 3)


def test_pairs_of_mmrb2_without_a_prompt_are_counted(tmp_path: Path) -> None:
    folder = written("mmrb2", tmp_path)
    pairs: list[dict[str, Any]] = json.loads(json.dumps(MMRB2))
    pairs[0]["prompt_content"].append(["image", "input_images/1.jpg"])
    pairs[1]["response_a"]["response_content"].append(["image", "images/0_0.jpg"])
    del pairs[2]["prompt_content"]
    put(folder / "t2i.json", {"pairs": pairs})
    found = mmrb2.pairs(folder)
    assert len(found.checks) == 2 and found.left_out == ("3 pairs without one prompt and two images.",)
    put(folder / "t2i.json", {"pairs": pairs[:1]})
    with pytest.raises(InputError, match=r"no pair has a prompt; build t2i\.json"):
        mmrb2.pairs(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chosen": "C"}, "pair 'wise_0': 'chosen' is 'C'; expected A or B"),
        ({"chosen": 1}, r"t2i\.json: pairs\.0\.chosen: Input should be a valid string"),
        ({"prompt_content": [["text"]]}, r"pair 'wise_0': expected \['text', TEXT\]"),
    ],
)
def test_a_pair_of_mmrb2_that_cannot_be_used_is_named(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    put(written("mmrb2", tmp_path) / "t2i.json", {"pairs": [{**MMRB2[0], **change}]})
    with pytest.raises(InputError, match=message):
        mmrb2.read(tmp_path)


# ---- EvalMuse ----


def test_evalmuse_has_mean_scores_of_the_prompt_and_of_its_elements(tmp_path: Path) -> None:
    folder = written("evalmuse", tmp_path)
    content = json.loads((folder / "train_list.json").read_text())
    content[5]["total_score"] = []
    put(folder / "train_list.json", content)
    items = evalmuse.read(folder)
    row = items.table.row(1, named=True)
    assert (row["item_id"], row["system"], row["prompt"]) == ("model1/00000.png", "model1", "0 ladies")
    assert row["human"] == pytest.approx((2 + 4 + 3) / 3)
    assert row["elements"] == pytest.approx((2 / 3 + 1) / 2)
    assert items.left_out == ("1 image without a score left out.",)
    del content[0]["element_score"]
    put(folder / "train_list.json", content)
    with pytest.raises(InputError, match=r"train_list\.json: 0\.element_score: Field required"):
        evalmuse.read(folder)


def test_evalmuse_fits_a_curve_in_parity_mode() -> None:
    rng = np.random.default_rng(0)
    human = rng.uniform(1, 5, 200)
    scores = np.exp(human) + rng.normal(0, 2, 200)  # far from linear
    table = pl.DataFrame({"item_id": [str(n) for n in range(200)], "human": human, "m": scores})
    items = Rated(table, ("human",), metrics=("m",))
    parity, default = (evalmuse.score(items, mode) for mode in ("parity", "default"))
    assert default["m Pearson"] == pytest.approx(pearsonr(scores, human)[0])
    assert parity["m Spearman"] == default["m Spearman"] == pytest.approx(spearmanr(scores, human)[0])
    # A logistic curve follows the scores better than a line does, and cannot do better than their order.
    assert default["m Pearson"] + 0.03 < parity["m Pearson"] < 1


def test_a_curve_that_cannot_be_fitted_has_no_correlation() -> None:
    table = pl.DataFrame({"item_id": ["a", "b"], "human": [1.0, 2.0], "m": [0.5, 0.5]})
    found = evalmuse.score(Rated(table, ("human",), metrics=("m",)), "parity")
    assert np.isnan(found["m Pearson"])


# ---- GenAI-Bench, 1,600 prompts ----


def test_genai_bench_reads_the_images_of_each_model_from_its_archive(tmp_path: Path) -> None:
    benchmark = find_benchmark("genai_bench_1600")
    assert benchmark is genai_bench_1600.BENCHMARK and benchmark.read and benchmark.pairs
    folder = written("genai_bench_1600", tmp_path)
    assert benchmark.read(folder).table["human"].to_list()[:2] == [pytest.approx(10 / 3), 2]
    images = {check.check_id: check.images[0] for check in benchmark.pairs(folder).checks}
    assert images["00002_SDXL_Base"].read() == png(12)


# ---- RichHF-18K ----


def message(*fields: tuple[int, bytes]) -> bytes:
    """A protocol buffer of fields that have a length."""
    content = b""
    for number, value in fields:
        size = len(value)
        length = b""
        while size >= 128:
            length += bytes([size & 127 | 128])
            size >>= 7
        content += bytes([number << 3 | 2]) + length + bytes([size]) + value
    return content


def example(**features: bytes | float | int) -> bytes:
    """A ``tf.train.Example`` with one value for each feature."""
    entries = []
    for name, value in features.items():
        if isinstance(value, bytes):
            feature = message((1, message((1, value))))
        elif isinstance(value, float):
            feature = message((2, message((1, struct.pack("<f", value)))))
        else:
            feature = message((3, b"\x08" + bytes([value])))  # not packed
        entries.append((1, message((1, name.encode()), (2, feature))))
    return message((1, message(*entries)))


def tfrecords(*records: bytes) -> bytes:
    return b"".join(struct.pack("<QI", len(one), 7) + one + struct.pack("<I", 7) for one in records)


SCORES = {"aesthetics_score": 0.5, "artifact_score": 0.25, "misalignment_score": 0.75, "overall_score": 1.0}


def test_richhf_has_four_scores_of_an_image(tmp_path: Path) -> None:
    records = [
        example(
            filename=f"test/{n}.png".encode(),
            artifact_map=bytes(300),
            version=3,
            **SCORES | {"overall_score": n / 4},
        )
        for n in range(3)
    ]
    put(tmp_path / "test.tfrecord", tfrecords(*records))
    items = richhf18k.read(tmp_path)
    assert items.table["item_id"].to_list() == ["test/0.png", "test/1.png", "test/2.png"]
    assert items.table["overall_score"].to_list() == [0, 0.25, 0.5]
    assert items.table.row(2, named=True)["misalignment_score"] == 0.75
    assert richhf18k.compute(items, "parity") == {"test images": 3}


def test_a_metric_is_correlated_with_richhf_without_prompts(tmp_path: Path) -> None:
    values = (0.2, 0.9, 0.4, 0.6)
    records = [
        example(filename=f"{n}.png".encode(), **SCORES | {"misalignment_score": value})
        for n, value in enumerate(values)
    ]
    put(tmp_path / "test.tfrecord", tfrecords(*records))
    put(tmp_path / "scores.csv", "item_id,m\n" + "".join(f"{n}.png,{n}\n" for n in range(4)))
    found = evaluate_on(richhf18k.BENCHMARK, tmp_path, [tmp_path / "scores.csv"], log=print)
    values_by_name = {score.name: score.default for score in found.scores}
    assert values_by_name["m Pearson"] == pytest.approx(pearsonr(range(4), values)[0], abs=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "a pointer of Git LFS, not the file; run 'git lfs pull'",
        ),
        (tfrecords(example(filename=b"a", **SCORES))[:-5], "ends inside a record"),
        (b"short", "ends inside a record"),
        (tfrecords(example(filename=b"a")), "record 1: no value of 'misalignment_score'"),
        (tfrecords(example(filename=1.0, **SCORES)), "record 1: 'filename' must be text"),
        (tfrecords(b"\x0b"), "not a tf.train.Example"),
        (tfrecords(b"\x0a\xff"), "not a tf.train.Example"),
        (tfrecords(b"\x0a\x7f"), r"not a tf.train.Example \(a value ends behind it"),
        (b"", r"test\.tfrecord: no records"),
    ],
)
def test_a_damaged_file_of_richhf_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    put(tmp_path / "test.tfrecord", content)
    with pytest.raises(InputError, match=message):
        richhf18k.read(tmp_path)
