"""Pairs go out, scores come back, and the table is the one that a scorer here would have written."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from PIL import Image

from croc.checks.schema import ContrastCheck
from croc.errors import InputError
from croc.scorers.colour_words import ColourWords
from croc.scoring.exchange import export_pairs, import_scores
from croc.scoring.run import ScoringSettings, score_dataset
from croc.tables.columns import SCORE_COLUMNS

QUIET = ScoringSettings(progress=False)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> dict[str, Any]:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return {"bytes": buffer.getvalue(), "path": None}


def some_checks() -> list[dict[str, Any]]:
    red, blue = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    turned = Image.Exif()
    turned[0x0112] = 6
    images = [
        [encoded(red), encoded(blue, "JPEG", quality=95)],
        [encoded(red.convert("CMYK"), "JPEG"), encoded(red, exif=turned.tobytes())],
        [{"bytes": b"broken", "path": None}, encoded(red)],
        [encoded(blue.convert("RGBA"))],
    ]
    return [
        ContrastCheck(
            check_id=f"c{i}",
            concept_id=f"k{i}",
            prompt="a red ball",
            contrast_prompt=["a blue ball", " ", "a blue ball, ünïcödé\n", None][i],
            images=side,
            contrast_images=[encoded(blue)],
            category="counting",
            topic="toys",
        ).row()
        for i, side in enumerate(images)
    ]


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def answer(folder: Path, name: str = "scores.jsonl") -> Path:
    """What a metric elsewhere would do, with a scorer of ours in its place."""
    lines = []
    for pair in read_lines(folder / "pairs.jsonl"):
        with Image.open(folder / pair["image"]) as image:
            [score] = ColourWords().score([image], [pair["prompt"]])
        lines.append({"pair_id": pair["pair_id"], "score": float(score)})
    if name.endswith(".jsonl"):
        text = "".join(json.dumps(line) + "\n" for line in lines)
    else:
        mark = "\t" if name.endswith(".tsv") else ","
        text = "".join(
            mark.join(map(str, row)) + "\n" for row in [lines[0].keys(), *(x.values() for x in lines)]
        )
    (folder / name).write_text(text, "utf-8")
    return folder / name


@pytest.mark.parametrize("name", ["scores.jsonl", "scores.tsv", "scores.csv"])
def test_scores_made_elsewhere_give_the_same_table(tmp_path: Path, name: str) -> None:
    export_pairs(some_checks(), tmp_path / "pairs")
    told: list[str] = []
    scores = answer(tmp_path / "pairs", name)
    got = import_scores(
        tmp_path / "pairs",
        scores,
        tmp_path / "out",
        name="far away",
        fields={"revision": "r1"},
        log=told.append,
    )
    [here] = score_dataset(some_checks(), [ColourWords()], tmp_path / "here", QUIET)
    assert got.name == "far-away.parquet"
    theirs, ours = pl.read_parquet(got), pl.read_parquet(here)
    assert theirs.columns == list(SCORE_COLUMNS)
    assert theirs.equals(ours)
    metadata = pq.read_schema(got).metadata
    mine = pq.read_schema(here).metadata
    assert metadata[b"scorer"] == b"far away"
    assert metadata[b"scorer_revision"] == b"r1"
    for key in (b"protocol", b"dataset", b"dataset_revision"):
        assert metadata[key] == mine[key]
    assert told[0].endswith(" 0 without a score")


def test_a_pair_is_written_once_and_an_image_once(tmp_path: Path) -> None:
    pairs = read_lines(export_pairs(some_checks(), tmp_path))
    assert len({(pair["image"], pair["prompt"]) for pair in pairs}) == len(pairs)
    # red, blue JPEG, blue PNG, CMYK, turned, RGBA: six distinct usable files.
    assert len(list((tmp_path / "images").iterdir())) == 6


def test_a_plain_file_is_exported_as_it_is_and_any_other_as_it_is_seen(tmp_path: Path) -> None:
    checks = some_checks()
    export_pairs(checks, tmp_path)
    exported = {path.read_bytes() for path in (tmp_path / "images").iterdir()}
    assert checks[0]["images"][0]["bytes"] in exported
    assert checks[0]["images"][1]["bytes"] in exported
    assert checks[1]["images"][0]["bytes"] not in exported
    for path in (tmp_path / "images").iterdir():
        with Image.open(path) as image:
            assert image.mode == "RGB"
            assert 0x0112 not in image.getexif()


def test_a_second_export_changes_nothing_and_another_dataset_is_refused(tmp_path: Path) -> None:
    first = export_pairs(some_checks(), tmp_path).read_bytes()
    assert export_pairs(some_checks(), tmp_path).read_bytes() == first
    with pytest.raises(InputError, match="another folder"):
        export_pairs(some_checks()[:2], tmp_path)


def test_missing_and_failed_scores_lower_coverage_with_their_reason(tmp_path: Path) -> None:
    export_pairs(some_checks()[:1], tmp_path)
    path = answer(tmp_path)
    lines = read_lines(path)
    assert len(lines) == 6
    lines[0] = {"pair_id": lines[0]["pair_id"], "score": None, "error": "refused"}
    lines[1]["score"] = float("nan")
    del lines[2]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    told: list[str] = []
    table = pl.read_parquet(import_scores(tmp_path, path, tmp_path / "out", name="x", log=told.append))
    assert told[0].endswith("6 pairs, 3 without a score")
    assert table["error"].to_list() == [
        "prompt: refused; contrast prompt: score nan",
        "prompt: no score in scores.jsonl",
        None,
    ]
    assert table["prompt_score"].null_count() == 2


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (
            "s.jsonl",
            '{"pair_id": "zzz", "score": 1}\n',
            r"s.jsonl, line 1: pair_id 'zzz' is not in the exported",
        ),
        ("s.jsonl", "{PAIR}\n{PAIR}\n", r"line 2: pair_id '\w+' occurs twice"),
        ("s.jsonl", '\n{"pair_id": "{ID}", "score": "high"}\n', r"line 2: score 'high' is not a number"),
        ("s.jsonl", '{"pair_id": "{ID}", "score": [1]}\n', r"score \[1\] is not a number"),
        ("s.jsonl", "{PAIR}\n{\n", r"line 2: not JSON"),
        ("s.jsonl", "[1]\n", "line 1: the content: Input should be a valid dictionary"),
        ("s.jsonl", '{"pair_id": [1, "a"], "score": 1}\n', "line 1: pair_id: Input should be a valid string"),
        ("s.jsonl", '{"score": 1}\n', "line 1: pair_id: Field required"),
        ("s.tsv", "pair_id\tvalue\n", "no column score"),
        ("s.tsv", "pair_id\tscore\n{ID}\n", "line 2: the number of columns differs"),
        ("s.csv", "pair_id,score\n{ID},1,2\n", "line 2: the number of columns differs"),
        ("s.tsv", "", "no column pair_id, score"),
        ("s.txt", "", "a .jsonl, .tsv or .csv file"),
    ],
)
def test_a_file_of_scores_that_is_wrong_is_refused_with_its_line(
    tmp_path: Path, name: str, text: str, says: str
) -> None:
    pair = read_lines(export_pairs(some_checks()[:1], tmp_path))[0]["pair_id"]
    text = text.replace("{PAIR}", f'{{"pair_id": "{pair}", "score": 1}}').replace("{ID}", pair)
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=says):
        import_scores(tmp_path, tmp_path / name, tmp_path / "out", name="x")
    assert not (tmp_path / "out").exists()


def test_files_that_are_not_there_or_not_text_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a finished export"):
        import_scores(tmp_path, tmp_path / "s.tsv", tmp_path, name="x")
    export_pairs(some_checks()[:1], tmp_path)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        import_scores(tmp_path, tmp_path / "s.tsv", tmp_path, name="x")
    (tmp_path / "s.tsv").write_bytes(b"pair_id\tscore\n\xff\xfe\t1\n")
    with pytest.raises(InputError, match="not UTF-8"):
        import_scores(tmp_path, tmp_path / "s.tsv", tmp_path, name="x")


def test_the_documented_script_runs_where_nothing_of_this_project_is(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "foreign_metrics.md").read_text("utf-8")
    [script] = [
        text for text in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "pairs.jsonl" in text
    ]
    assert len(script.splitlines()) <= 25
    export_pairs(some_checks()[:2], tmp_path / "pairs")
    (tmp_path / "score_pairs.py").write_text(script, "utf-8")
    # Their metric, with the calls of t2v_metrics: a matrix of images × texts.
    (tmp_path / "t2v_metrics.py").write_text(
        "class VQAScore:\n"
        "    def __init__(self, model):\n"
        "        assert model == 'clip-flant5-xxl'\n"
        "    def __call__(self, images, texts):\n"
        "        if 'blue' in texts[0]:\n"
        "            raise RuntimeError('not blue')\n"
        "        open(images[0], 'rb').close()\n"
        "        return [[0.25]]\n"
    )
    command = [sys.executable, str(tmp_path / "score_pairs.py"), str(tmp_path / "pairs")]
    subprocess.run(command, check=True, cwd=tmp_path)
    scores = tmp_path / "pairs" / "scores.jsonl"
    whole = scores.read_text()
    # Stopped in the middle and started again, it asks for the rest alone.
    scores.write_text("".join(whole.splitlines(keepends=True)[:2]))
    subprocess.run(command, check=True, cwd=tmp_path)
    assert scores.read_text() == whole
    table = pl.read_parquet(import_scores(tmp_path / "pairs", scores, tmp_path / "out", name="far"))
    assert np.allclose(table["prompt_score"], 0.25)
    assert set(table.filter(check_id="c0")["error"]) == {"contrast prompt: not blue"}
