"""Own images: every way to give prompts, scores, means, failures, resume, the contact sheet."""

from __future__ import annotations

import inspect
import io
import json
from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from PIL import Image

import croc
from croc.cli import main
from croc.errors import InputError
from croc.images.pairs import ImagePairs, read_pairs
from croc.images.scoring import add_worlds, mean_interval, score_images
from croc.rendering.images import contact_sheet, world_lines
from croc.scorers.registry import available, info

COLOURS = {"red": (220, 47, 47), "blue": (47, 102, 216), "green": (58, 166, 72)}


class Redness:
    """Scores how red an image is if the prompt says red; a metric whose values are known."""

    name = "redness"

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> np.ndarray:
        pixels = [np.asarray(image, float) for image in images]
        red = [one[..., 0].mean() - one[..., 2].mean() for one in pixels]
        return np.array([r if "red" in prompt else -r for r, prompt in zip(red, prompts, strict=True)])

    def fields(self) -> dict[str, str]:
        return {}


def paint(file: Path, colour: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), COLOURS[colour]).save(file)
    return file


def rows(pairs: ImagePairs) -> list[tuple[str, str]]:
    return [(Path(image).name, prompt) for image, prompt in pairs.table.select("image", "prompt").rows()]


def test_one_prompt_is_that_of_all_images(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", "red"), paint(tmp_path / "sub" / "b.jpg", "blue")
    (tmp_path / "notes.md").write_text("no image")
    pairs = read_pairs([tmp_path], prompt="a red wall")
    assert rows(pairs) == [("a.png", "a red wall"), ("b.jpg", "a red wall")]
    assert pairs.table["system"].to_list() == [None, None]


@pytest.mark.parametrize(
    ("files", "prompts", "name"),
    [
        (["0.png", "1.png"], "red\nblue\n", "p.txt"),
        (["00000.png", "00001.png"], "red\nblue\n", "p.txt"),
        (["00000/samples/0000.png", "00001/samples/0000.png"], "red\nblue\n", "p.txt"),
        (["0_0.png", "1_0.png"], "red\nblue\n", "p.txt"),
        (["a-seed1.png", "b-seed1.png"], "id,prompt\na,red\nb,blue\n", "p.csv"),
        (["a/7.png", "b/7.png"], "id,prompt\na,red\nb,blue\n", "p.csv"),
        (["x.png", "sub/y.png"], "file,prompt\nx.png,red\nsub/y.png,blue\n", "p.csv"),
        (["x.png", "y.png"], "name\tsays\nx\tred\ny\tblue\n", "p.tsv"),
    ],
)
def test_prompts_are_matched_by_names_and_ids(
    tmp_path: Path, files: list[str], prompts: str, name: str
) -> None:
    for file in files:
        paint(tmp_path / "images" / file, "red")
    table = tmp_path / name
    table.write_text(prompts)
    columns = {"image_column": "name", "prompt_column": "says"} if name == "p.tsv" else {}
    pairs = read_pairs([tmp_path / "images"], prompts=table, **columns)
    assert {
        Path(image).relative_to(tmp_path / "images").as_posix(): prompt
        for image, prompt in pairs.table.select("image", "prompt").rows()
    } == dict(zip(files, ("red", "blue"), strict=True))


def test_several_folders_are_systems_and_further_columns_stay(tmp_path: Path) -> None:
    for system in ("first", "second"):
        paint(tmp_path / system / "a.png", "red")
    (tmp_path / "p.csv").write_text("id,prompt,topic\na,a red wall,walls\n")
    table = read_pairs([tmp_path / "first", tmp_path / "second"], prompts=tmp_path / "p.csv").table
    assert table["system"].to_list() == ["first", "second"] and table["topic"].to_list() == ["walls"] * 2


def test_text_files_and_metadata_beside_the_images_are_prompts(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", "red"), paint(tmp_path / "b.png", "blue")
    (tmp_path / "a.txt").write_text("a red wall\n")
    with pytest.raises(InputError, match=r"b\.png: nothing says what it should show; give --prompt"):
        read_pairs([tmp_path])
    (tmp_path / "metadata.csv").write_text("file_name,text\nb.png,a blue wall\n")
    assert rows(read_pairs([tmp_path])) == [("a.png", "a red wall"), ("b.png", "a blue wall")]


def test_a_table_names_its_images_relative_to_itself(tmp_path: Path) -> None:
    paint(tmp_path / "in" / "a.png", "red")
    (tmp_path / "pairs.csv").write_text("path,prompt,system,seed\nin/a.png,red,m,1\nin/a.png,blue,m,1\n")
    pairs = read_pairs([tmp_path / "pairs.csv"])
    assert pairs.table["seed"].to_list() == ["1", "1"] and pairs.table["item_id"].n_unique() == 2
    assert rows(pairs) == [("a.png", "red"), ("a.png", "blue")]
    text = f"image,caption\n{tmp_path}/in/a.png,red\n"
    assert rows(read_pairs(["-"], stdin=lambda: text)) == [("a.png", "red")]


def test_a_saved_dataset_gives_its_images(tmp_path: Path) -> None:
    data = datasets.Dataset.from_dict(
        {"picture": [str(paint(tmp_path / "a.png", "red"))], "text": ["a red wall"], "n": [1]}
    ).cast_column("picture", datasets.Image())
    data.save_to_disk(tmp_path / "saved")
    pairs = read_pairs([tmp_path / "saved"])
    assert pairs.table["prompt"].to_list() == ["a red wall"] and pairs.table["n"].to_list() == [1]
    assert Image.open(io.BytesIO(pairs.read(0))).size == (16, 16)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,prompt\nz,red\n", r"no image has one of its names or ids, such as 'z'"),
        ("id,prompt\na,red\n", r"b\.png: no prompt in .*p\.csv"),
        ("id,prompt\na,red\na,blue\n", r"column 'id': 'a' occurs twice"),
        ("id,prompt\na,\nb,red\n", r"column 'prompt', row 1: the prompt is empty"),
        ("id,words\na,red\n", r"no column of prompts \(prompt, text, caption\); it has id, words"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(tmp_path: Path, text: str, message: str) -> None:
    paint(tmp_path / "i" / "a.png", "red"), paint(tmp_path / "i" / "b.png", "blue")
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_pairs([tmp_path / "i"], prompts=tmp_path / "p.csv")


def test_sources_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source, message in (
        (tmp_path / "absent.csv", "no such file or folder"),
        (tmp_path / "absent", "no such file or folder"),
        (tmp_path / "empty", "no image in it"),
    ):
        with pytest.raises(InputError, match=message):
            read_pairs([source], prompt=None if "absent" in str(source) else "red")
    (tmp_path / "pairs.csv").write_text("path,prompt\nnone.png,red\n")
    with pytest.raises(InputError, match=r"no such file: .*none\.png"):
        read_pairs([tmp_path / "pairs.csv"])
    with pytest.raises(InputError, match="not both"):
        read_pairs([tmp_path], prompt="a", prompts=tmp_path / "pairs.csv")


def test_scores_means_and_failures(tmp_path: Path) -> None:
    for number, colour in enumerate(("red", "blue", "green")):
        paint(tmp_path / "i" / f"{number}.png", colour)
    (tmp_path / "i" / "3.png").write_bytes(b"\x89PNG damaged")
    (tmp_path / "p.txt").write_text("a red wall\na red wall\na blue wall\na red wall\n")
    pairs = read_pairs([tmp_path / "i"], prompts=tmp_path / "p.txt")
    found = score_images(pairs, [Redness()])
    expected = [220 - 47, 47 - 216, 72 - 58, None]
    assert found.table["redness"].to_list() == expected
    assert found.table["failure"].to_list()[:3] == [None] * 3
    assert found.table["failure"][3].startswith("redness: ")
    (mean,) = found.means()
    assert (mean.images, mean.failed, mean.clusters) == (3, 1, 2)
    assert mean.mean == pytest.approx(np.mean(expected[:3]))


def test_the_interval_of_a_mean_knows_clusters() -> None:
    from scipy.stats import t

    values = np.array([1.0, 2.0, 4.0, 8.0])
    low, high = mean_interval(values, ["a", "b", "c", "d"])
    half = t.ppf(0.975, 3) * values.std(ddof=1) / 2
    assert (low, high) == (pytest.approx(values.mean() - half), pytest.approx(values.mean() + half))
    # Twice the same values in each cluster say no more than once.
    assert mean_interval(np.repeat(values, 2), list("aabbccdd")) == (pytest.approx(low), pytest.approx(high))
    assert mean_interval(values, ["a"] * 4) == (None, None)


def test_the_function_takes_images_and_gives_scores(tmp_path: Path) -> None:
    red, blue = (Image.new("RGB", (16, 16), COLOURS[name]) for name in ("red", "blue"))
    assert croc.score([red, blue], "a red wall", metric=Redness()) == [173, -169]
    assert croc.score(red, "a red wall", metric=Redness()) == 173
    both = croc.score([red], ["a red wall"], metric=[Redness(), "random"])
    assert set(both) == {"redness", "random"} and both["redness"] == [173]
    with pytest.raises(InputError, match="1 prompts for 2 images"):
        croc.score([red, blue], ["a red wall"], metric=Redness())
    with pytest.raises(InputError, match="redness: the prompt is empty"):
        croc.score(red, " ", metric=Redness())


def test_the_default_metric_of_the_function_exists() -> None:
    default = inspect.signature(croc.score).parameters["metric"].default
    assert default in {entry.name for entry in available()}


def test_clauses_are_scored_one_by_one(tmp_path: Path) -> None:
    red, blue = paint(tmp_path / "i" / "0.png", "red"), paint(tmp_path / "i" / "1.png", "blue")
    prompts = tmp_path / "p.csv"
    prompts.write_text('image,prompt\n0.png,"a red wall, and a blue <b>wall</b>"\n1.png,a red wall\n')
    out, sheet = tmp_path / "s.csv", tmp_path / "s.html"
    words = ["score-images", tmp_path / "i", "--prompts", prompts, "--scorer", "colour-words", "--explain"]
    words += ["--out", out, "--html", sheet]
    done = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    first, second = pl.read_csv(out).sort("image").to_dicts()
    parts = json.loads(first["colour-words_clauses"])
    scores = croc.score([red, red], ["a red wall", "a blue <b>wall</b>"], metric="colour-words")
    assert [text for text, _ in parts] == ["a red wall", "a blue <b>wall</b>"]
    assert [score for _, score in parts] == pytest.approx(scores) and scores[0] > scores[1]
    assert first["colour-words_weakest"] == "a blue <b>wall</b>"
    assert second["colour-words_clauses"] is None and second["colour-words_weakest"] is None
    assert "weakest clauses: a blue <b>wall</b> (1 image)" in done.stdout
    page = sheet.read_text()
    assert "<strong>a blue &lt;b&gt;wall&lt;/b&gt;</strong>" in page and "<b>wall" not in page
    again = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert again.stderr.count("all from an earlier run") == 2
    assert blue.is_file()


def test_the_usual_name_of_clipscore_is_that_of_the_paper() -> None:
    assert info("clipscore").name == "clipscore-l14"
    with pytest.raises(InputError, match="did you mean clipscore"):
        croc.score(Image.new("RGB", (8, 8)), "a dog", metric="clipscor")


def test_other_images_of_a_dataset_are_other_work(tmp_path: Path) -> None:
    revisions = set()
    for colour in ("red", "blue"):
        data = datasets.Dataset.from_dict(
            {"image": [str(paint(tmp_path / "a.png", colour))], "text": ["a wall"]}
        )
        data.cast_column("image", datasets.Image()).save_to_disk(tmp_path / colour / "saved")
        revisions.add(read_pairs([tmp_path / colour / "saved"]).checks().revision)
    assert len(revisions) == 2


def test_the_command_line_writes_table_and_contact_sheet_and_resumes(tmp_path: Path) -> None:
    for number, colour in enumerate(COLOURS):
        paint(tmp_path / "i" / f"{number}.png", colour)
    out, sheet = tmp_path / "scores.csv", tmp_path / "sheet.html"
    words = [
        "score-images",
        tmp_path / "i",
        "--prompt",
        "a red <b>wall</b>",
        "--scorer",
        "colour-words",
        "random",
    ]
    words += ["--out", out, "--html", sheet]
    first = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert first.exit_code == 0, first.output
    table = pl.read_csv(out)
    assert table.columns == ["item_id", "image", "prompt", "system", "colour-words", "random"]
    assert len(table) == 3 and "colour-words" in first.output
    page = sheet.read_text()
    assert page.count("<img") == 3 and "<b>wall" not in page and "a red &lt;b&gt;wall" in page
    again = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert "all from an earlier run" in again.output and pl.read_csv(out).equals(table)
    # A changed image is not given the score of the earlier one.
    paint(tmp_path / "i" / "0.png", "green")
    changed = CliRunner().invoke(main, [str(word) for word in words])
    assert changed.exit_code == 2 and "overwrite" in changed.output
    refused = CliRunner().invoke(
        main, [str(word) for word in words[:-4]] + ["--out", str(tmp_path / "s.txt")]
    )
    assert refused.exit_code == 2 and ".csv or .parquet" in refused.output


class Judge(Redness):
    """Knows red images only."""

    name = "judge"

    def in_world(self, images: Sequence[Image.Image]) -> np.ndarray:
        return np.array([np.asarray(image)[..., 0].mean() > 100 for image in images], dtype=bool)


def test_images_unlike_those_of_the_training_are_counted_and_named(tmp_path: Path) -> None:
    for name, colour in (("a.png", "red"), ("b.png", "blue"), ("c.png", "blue")):
        paint(tmp_path / "images" / name, colour)
    (tmp_path / "images" / "d.png").write_bytes(b"no image")
    pairs = read_pairs([tmp_path / "images"], prompt="a red wall")
    judges = [Judge(), Redness()]
    found = score_images(pairs, judges)
    assert found.outside() == {}
    found = add_worlds(found, pairs, judges)
    assert found.table.sort("image")["judge_in_world"].to_list() == [True, False, False, None]
    assert found.outside() == {"judge": 2} and "redness_in_world" not in found.table.columns
    assert world_lines(found) == [
        "judge: 2 of 4 images unlike those that it was trained on: not to be trusted there "
        "(column judge_in_world)"
    ]
    assert contact_sheet(found, pairs.read).count("not to be trusted on this image") == 2


def test_the_model_of_the_package_warns_of_photographs(tmp_path: Path) -> None:
    from croc_syn.world import draw

    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "drawing.png").write_bytes(draw("a red dog in a park", 1).png)
    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    out = tmp_path / "scores.csv"
    words = ["score-images", str(folder), "--prompt", "a red dog", "--scorer", "crocscore", "--out", str(out)]
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code == 0 and "crocscore-tiny: 1 of 2 images unlike" in " ".join(done.output.split())
    table = pl.read_csv(out)
    judged = dict(
        zip(table["image"].str.split("/").list.last(), table["crocscore-tiny_in_world"], strict=True)
    )
    assert judged == {"drawing.png": True, "noise.png": False}
