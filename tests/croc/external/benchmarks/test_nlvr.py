"""Checks made of human-labelled sentences about drawn scenes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pictures import png

from builders.hum import build_nlvr
from builders.verify import verify
from croc.errors import InputError
from croc.external.benchmarks import nlvr


def example(identifier: str, sentence: str, label: str, **votes: str) -> dict[str, object]:
    return {"identifier": identifier, "sentence": sentence, "label": label, "evals": votes}


def split(folder: Path, examples: list[dict[str, object]]) -> Path:
    (folder / "dev" / "images").mkdir(parents=True)
    for number, one in enumerate(examples):
        (folder / "dev" / "images" / f"dev-{one['identifier']}-0.png").write_bytes(png(number, 8))
    (folder / "dev" / "dev.json").write_text("\n".join(map(json.dumps, examples)))
    return folder / "dev"


EXAMPLES = [
    example("7-0", "There is a box.", "true", r0="true", r1="true"),
    example("7-1", "There is a box.", "false", r0="false", r1="true"),
    example("7-2", "There is a box.", "false", r0="false", r1="false"),
    example("8-0", "All are blue.", "true", r0="true"),
]


def test_a_sentence_with_both_labels_becomes_one_check_with_every_vote(tmp_path: Path) -> None:
    (check,) = nlvr.checks(split(tmp_path, EXAMPLES))
    assert (check.prompt, check.contrast_prompt) == ("There is a box.", None)
    assert (len(check.images), len(check.contrast_images)) == (1, 2)
    assert check.votes is not None and len(check.votes) == 6
    assert check.agreement == pytest.approx(5 / 6)  # one of six votes is against its label
    assert check.license == "cc-by-4.0"


def test_the_folder_loads_with_datasets_and_verifies(tmp_path: Path) -> None:
    import datasets

    folder, out = split(tmp_path, EXAMPLES), tmp_path / "out"
    report = build_nlvr(folder, out, progress=False)
    (row,) = datasets.load_dataset(str(out), split="test", cache_dir=str(tmp_path / "cache"))
    assert row["images"][0].size == (8, 8)
    assert row["votes"][0]["annotator"] == "r0"
    assert verify(out) == []
    card = (out / "README.md").read_text()
    assert "Suhr et al. 2017" in card and "# NLVR as contrastive checks" in card and "CROChum" not in card
    assert build_nlvr(folder, out, progress=False).checks == report.checks == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{not json", "line 1: not an NLVR example"),
        ('{"sentence": "x"}', "line 1: not an NLVR example"),
        (json.dumps(example("7-0", "x", "maybe")), "line 1: not an NLVR example (label"),
        (json.dumps(example("7-0", "x", "true", r0="true")), "no sentence has images"),
    ],
)
def test_a_file_that_is_no_split_is_one_clear_sentence(tmp_path: Path, line: str, message: str) -> None:
    folder = split(tmp_path, [])
    (folder / "images" / "dev-7-0-0.png").write_bytes(png(0))
    (folder / "dev.json").write_text(line)
    with pytest.raises(InputError) as error:
        build_nlvr(folder, tmp_path / "out", progress=False)
    assert message in str(error.value)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    folder = split(tmp_path, EXAMPLES)
    (folder / "images" / "dev-7-1-0.png").unlink()
    with pytest.raises(InputError, match=r"dev-7-1-0\.png: cannot be read"):
        list(nlvr.checks(folder))


def test_the_real_split_has_246_sentences_with_both_labels(shared_data: Path) -> None:
    checks = list(nlvr.checks(shared_data / "nlvr" / "dev"))
    assert len(checks) == 246  # counted by the data's own README
    assert all(check.votes and 0.4 < (check.agreement or 0) <= 1 for check in checks)
