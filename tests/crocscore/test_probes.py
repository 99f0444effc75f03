"""The probes: a frozen list whose texts are true and false of its drawings, and never trained on."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from croc.cli import main
from croc.errors import InputError
from croc.scorers.pairs import UnscoredPairs
from croc_syn.world import PromptError, draw, satisfies
from crocscore import probes
from crocscore.experiments.probes import probe
from crocscore.probes import PROBES, Probe, ProbeReport, fold, is_probe_text, load_probes, run

GROUPS = [
    *("case", "punctuation", "digits", "frames", "synonyms", "wrong_noun", "swapped_attributes"),
    *("three_objects", "absent_thing", "only", "negation_forms", "counts", "parts"),
]
ENTRY = {"id": "case-01", "draw": "only a dog", "true_text": "A DOG", "false_text": "A CAT"}


def test_the_list_is_frozen() -> None:
    assert hashlib.sha256(PROBES.read_bytes()).hexdigest() == probes.SHA256


def test_each_group_has_at_least_twenty_probes() -> None:
    sizes = Counter(probe.group for probe in load_probes())
    assert list(sizes) == GROUPS and min(sizes.values()) >= 20 and sizes.total() >= 260


def test_the_counts_reach_from_one_to_nine() -> None:
    texts = " ".join(probe.true_text for probe in load_probes() if probe.group == "counts").split()
    assert {"one", "two", "three", "four", "five", "six", "seven", "eight", "nine"} <= set(texts)


@pytest.mark.parametrize("group", GROUPS)
def test_the_oracle_agrees_where_it_can_read_a_text(group: str) -> None:
    read = 0
    for item in load_probes():
        if item.group != group:
            continue
        for seed in range(2):
            scene = draw(item.draw, seed, size=16).scene
            for text, expected in ((item.true_text, True), (item.false_text, False)):
                try:
                    found = satisfies(scene, text)
                except PromptError:
                    continue  # as people type it, which the controlled English does not have
                assert found is expected, (item.id, seed, text)
                read += 1
    assert read > 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "case-1"}, "case.0.id"),
        ({"draw": " "}, "case.0.draw"),
        ({"true_text": 5}, "case.0.true_text"),
        ({"true": "a dog"}, "case.0.true"),
        ({"id": "only-01"}, "entry 1: the id 'only-01' must be case-NN"),
        ({"false_text": "a dog."}, "entry 1: true_text and false_text say the same"),
    ],
)
def test_a_probe_that_cannot_be_used_is_named(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    file = tmp_path / "probes.yaml"
    file.write_text(yaml.safe_dump({"case": [ENTRY | change]}))
    with pytest.raises(InputError) as refused:
        load_probes(file)
    assert str(file) in str(refused.value) and message in str(refused.value)


def test_an_id_is_used_once_and_a_list_is_not_empty(tmp_path: Path) -> None:
    file = tmp_path / "probes.yaml"
    file.write_text(yaml.safe_dump({"case": [ENTRY, dict(ENTRY)]}))
    with pytest.raises(InputError, match="entry 2: the id 'case-01' is taken"):
        load_probes(file)
    file.write_text("{}")
    with pytest.raises(InputError, match="no probes"):
        load_probes(file)


def test_a_text_is_recognised_however_it_is_written() -> None:
    for text in ("A RED DOG", "a red dog", "  A red dog.", "“a red dog”!", "3 dogs", "Three dogs."):
        assert is_probe_text(text), text
    for text in ("a red dog in a park", "a red", "12 dogs", ""):
        assert not is_probe_text(text), text
    assert fold("12 dogs, 2 cats") == "12 dogs two cats"


def test_questions_with_the_text_of_a_probe_are_not_trained_on(tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="training needs the extra train")
    import pyarrow as pa
    import pyarrow.parquet as pq
    import tiny_models as tiny

    from crocscore.model import CROCScore
    from crocscore.training.sft import read_questions

    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "PNG")
    texts = [item.true_text for item in load_probes()[:4]] + ["a dog in a garden", "two cats in a garden"]
    table = pa.table(
        {
            "pair_id": [str(number) for number in range(len(texts))],
            "prompt": texts,
            "label": [number % 2 == 0 for number in range(len(texts))],
            "image": pa.array([{"bytes": buffer.getvalue(), "path": None}] * len(texts)),
        }
    )
    (tmp_path / "questions" / "data").mkdir(parents=True)
    for split in ("train", "validation"):
        pq.write_table(table, tmp_path / "questions" / "data" / f"{split}-00000-of-00001.parquet")
    scorer = CROCScore(tiny.save(*tiny.llava(), tmp_path / "model"), device="cpu")
    examples = read_questions(tmp_path / "questions", scorer)
    assert examples["train"]["pair_id"] == ["4", "5"]
    assert len(examples["validation"]) == len(texts)


class ByLength:
    """Scores a pair by the length of the text, and cannot score the word ``never``."""

    name = "by-length"

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> np.ndarray:
        assert all(image.size == (48, 48) for image in images)
        wrong = {i: "never" for i, prompt in enumerate(prompts) if "never" in prompt}
        scores = np.array([np.nan if i in wrong else len(p) for i, p in enumerate(prompts)], dtype=float)
        if wrong:
            raise UnscoredPairs(wrong, scores)
        return scores

    def fields(self) -> dict[str, str]:
        return {"formula": "length"}


LIST = [
    Probe("case-01", "only a dog", "a dog!!", "a cat"),  # 7 over 5: passed
    Probe("case-02", "only a dog", "a dog", "a cat"),  # a tie
    Probe("only-01", "only a dog", "a dog", "only a cat"),  # 5 under 10
    Probe("only-02", "only a dog", "never", "a cat"),  # no score
]


def test_shares_are_those_of_a_count_by_hand() -> None:
    report = run(ByLength(), LIST, layouts=3, size=48, yes_above=6)
    case, only = report.groups
    assert (case.group, case.probes, case.drawings, case.passed, case.ties) == ("case", 2, 6, 0.75, 0.5)
    assert (case.yes_to_true, case.yes_to_false, case.unscored) == (0.5, 0.0, 0)
    assert (only.passed, only.yes_to_true, only.yes_to_false, only.unscored) == (0.0, 0.0, 0.5, 3)
    assert report.overall.passed == pytest.approx((1 + 0.5 + 0) / 3) and report.overall.unscored == 3
    assert report.unscored == {"never": 3} and report.yes == "score > 6"
    assert report.probes[0].true_scores == [7.0] * 3 and report.probes[3].true_scores == [None] * 3
    assert ProbeReport.from_dict(json.loads(report.to_json())) == report


def test_a_scorer_without_answers_has_no_share_of_yes() -> None:
    report = run(ByLength(), LIST[:1], layouts=1, size=48)
    assert report.yes is None and report.overall.yes_to_false is None and report.overall.passed == 1.0


def test_intervals_need_five_probes_and_contain_the_share() -> None:
    few = run(ByLength(), LIST[:1] * 4, layouts=1, size=48).overall
    many = run(ByLength(), LIST[:1] * 20 + LIST[2:3] * 2, layouts=1, size=48).overall
    assert few.passed_low is None and many.passed_low is not None and many.passed_high is not None
    assert 0.6 < many.passed_low < many.passed == 20 / 22 < many.passed_high < 1


def test_the_command_writes_the_table_the_results_and_the_plot(tmp_path: Path) -> None:
    file = tmp_path / "list.yaml"
    file.write_text(yaml.safe_dump({"case": [ENTRY | {"true_text": "A DOG!", "false_text": "A CAT"}]}))
    arguments = ["experiment", "probes", "random", "--probes", str(file), "--layouts", "2", "--out"]
    result = CliRunner().invoke(main, [*arguments, str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    report = ProbeReport.from_dict(json.loads((tmp_path / "out" / "probes.json").read_text()))
    assert report.probes_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert [row.split()[0] for row in result.stdout.splitlines()[1:3]] == ["case", "all"]
    assert Image.open(tmp_path / "out" / "probes.png").format == "PNG"


def test_crocscore_answers_by_its_probability(tmp_path: Path) -> None:
    import tiny_models as tiny

    from crocscore.model import CROCScore

    scorer = CROCScore(tiny.save(*tiny.llava(), tmp_path / "model"), device="cpu", calibration=(2.0, -1e9))
    report = probe(scorer, tmp_path / "out", _one(tmp_path), layouts=1, size=48)
    assert report.yes == "probability > 0.5"
    assert (report.overall.yes_to_true, report.overall.yes_to_false) == (0.0, 0.0)


def _one(folder: Path) -> Path:
    file = folder / "one.yaml"
    file.write_text(yaml.safe_dump({"case": [ENTRY]}))
    return file
