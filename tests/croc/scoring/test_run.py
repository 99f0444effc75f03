"""Score tables: what is in them, what a second run does, and what a kill does not."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from PIL import Image

from croc.checks.schema import ContrastCheck, check_features
from croc.checks.sources import Checks
from croc.errors import CrocError, InputError
from croc.jobs import runner
from croc.jobs.paid_calls import Usage
from croc.scorers.api import ScorerUsage
from croc.scorers.registry import load
from croc.scoring.run import ScoringSettings, score_dataset
from croc.tables.columns import NO_CONTRAST_PROMPT, SCORE_COLUMNS, score_schema
from croc.tables.metadata import ScoreMetadata
from croc.tables.readers import read_score_tables

QUIET = ScoringSettings(progress=False)


def png(*colour: int, size: int = 3) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(buffer, "PNG")
    return buffer.getvalue()


def some_checks(n: int = 7, k: int = 2, **changes: Any) -> list[dict[str, Any]]:
    return [
        ContrastCheck(
            check_id=f"c{i:03}",
            concept_id=f"concept {i // 2}",
            prompt=f"a red ball {i}",
            contrast_prompt=f"a blue ball {i}",
            images=[{"bytes": png(200 + i % 50, i // 50, j), "path": None} for j in range(k)],
            contrast_images=[{"bytes": png(i // 50, j, 200 + i % 50), "path": None} for j in range(k + 1)],
            subset="property_variation",
            property="colour",
            property_path="appearance/colour",
            topic="toys",
            entity="ball",
            text_model="exact@1",
            image_model="exact@1",
        ).row()
        | changes
        for i in range(n)
    ]


class Counting:
    """Red minus blue, plus the length of the prompt; counts what it is asked."""

    def __init__(self, name: str = "counting", revision: str = "1") -> None:
        self.name, self.revision = name, revision
        self.asked: Counter[tuple[Any, str]] = Counter()

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> np.ndarray:
        pixels = [tuple(map(int, np.asarray(image)[0, 0])) for image in images]
        self.asked.update(zip(pixels, prompts, strict=True))
        return np.array([p[0] - p[2] + len(t) for p, t in zip(pixels, prompts, strict=True)], dtype=float)

    def fields(self) -> dict[str, str]:
        return {"revision": self.revision, "temper": "mild"}


def score(dataset: Any, scorers: Sequence[Any], out: Path, **options: Any) -> list[pl.DataFrame]:
    named = {field.name for field in fields(ScoringSettings)}
    settings = {"progress": False, "checks_per_part": 3}
    settings |= {key: options.pop(key) for key in named & set(options)}
    paths = score_dataset(dataset, scorers, out, ScoringSettings(**settings), **options)
    return [pl.read_parquet(path) for path in paths]


def test_a_table_has_the_columns_and_a_row_per_image(tmp_path: Path) -> None:
    [table] = score(some_checks(2), [Counting()], tmp_path)
    assert table.columns == list(SCORE_COLUMNS)
    # red − blue + length of "a red ball 1" (12) and of "a blue ball 1" (13), by hand.
    got = table.filter(check_id="c001").select(
        "image_side", "image_index", "prompt_score", "contrast_score", "error"
    )
    assert got.rows() == [
        ("original", 0, 201 - 0 + 12, 201 - 0 + 13, None),
        ("original", 1, 201 - 1 + 12, 201 - 1 + 13, None),
        ("contrast", 0, 0 - 201 + 12, 0 - 201 + 13, None),
        ("contrast", 1, 0 - 201 + 12, 0 - 201 + 13, None),
        ("contrast", 2, 0 - 201 + 12, 0 - 201 + 13, None),
    ]
    first = table.row(0, named=True)
    assert {key: first[key] for key in ("check_id", "concept_id", "subset", "category", "property")} == {
        "check_id": "c000",
        "concept_id": "concept 0",
        "subset": "property_variation",
        "category": None,
        "property": "colour",
    }
    assert (first["property_path"], first["topic"], first["entity"]) == ("appearance/colour", "toys", "ball")
    assert (first["text_model"], first["image_model"]) == ("exact@1", "exact@1")


def test_a_table_says_how_it_came_to_be(tmp_path: Path) -> None:
    [path] = score_dataset(some_checks(2), [Counting()], tmp_path, QUIET)
    schema = pq.read_schema(path)
    assert schema.remove_metadata() == score_schema()
    flat = {key.decode(): value.decode() for key, value in schema.metadata.items()}
    said = ScoreMetadata.from_parquet(flat, default_name="?", source="table")
    assert (said.scorer, said.protocol, said.scorer_revision) == ("counting", "syn", "1")
    assert said.dataset == "rows"
    assert said.dataset_revision is not None
    assert said.dataset_revision.startswith("sha256:")
    assert (said.extra, said.run) == ({"temper": "mild"}, {"method": "pairs"})
    assert {"croc-t2i", "numpy", "pillow"} == set(said.library_versions)
    assert not said.baseline


def test_baselines_are_marked_as_such(tmp_path: Path) -> None:
    [path] = score_dataset(some_checks(1), ["random"], tmp_path, QUIET)
    assert pq.read_schema(path).metadata[b"baseline"] == b"true"


def test_several_scorers_give_several_tables(tmp_path: Path) -> None:
    paths = score_dataset(some_checks(), ["random", "colour-words", Counting("Mine/x y")], tmp_path)
    assert [path.name for path in paths] == ["random.parquet", "colour-words.parquet", "Mine-x-y.parquet"]
    assert pq.read_schema(paths[2]).metadata[b"scorer"] == b"Mine/x y"
    with pytest.raises(InputError, match="two scorers are called 'counting'"):
        score(some_checks(), [Counting(), Counting()], tmp_path / "twice")


def test_colour_words_pass_every_direction_on_a_colour_check(tmp_path: Path) -> None:
    [table] = score(some_checks(), ["colour-words"], tmp_path)
    original = pl.col("image_side") == "original"
    assert table.filter(original).select((pl.col("prompt_score") > pl.col("contrast_score")).all()).item()
    assert table.filter(~original).select((pl.col("prompt_score") < pl.col("contrast_score")).all()).item()


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_the_table_does_not_depend_on_the_size_of_parts(tmp_path: Path, size: int) -> None:
    reference = score(some_checks(), ["random", "colour-words"], tmp_path / "reference")
    got = score(some_checks(), ["random", "colour-words"], tmp_path / "got", checks_per_part=size)
    for a, b in zip(reference, got, strict=True):
        assert a.equals(b)


def test_every_source_gives_the_same_table(tmp_path: Path) -> None:
    whole = datasets.Dataset.from_list(some_checks(), features=check_features())
    whole.to_parquet(tmp_path / "checks.parquet")
    sources = [some_checks(), whole, tmp_path / "checks.parquet", whole.to_iterable_dataset(num_shards=3)]
    tables = [score(source, ["random"], tmp_path / str(i))[0] for i, source in enumerate(sources)]
    assert all(table.equals(tables[0]) for table in tables)


def test_a_finished_run_asks_for_nothing_again(tmp_path: Path) -> None:
    scorer = Counting()
    [first] = score(some_checks(), [scorer], tmp_path)
    asked = Counter(scorer.asked)
    told: list[str] = []
    [second] = score(some_checks(), [scorer], tmp_path, log=told.append)
    assert scorer.asked == asked
    assert second.equals(first)
    assert "all from an earlier run" in told[0]


def test_an_image_in_several_checks_is_asked_once_a_prompt(tmp_path: Path) -> None:
    rows = some_checks(3)
    for row in rows:
        row["contrast_images"] = row["images"]
        row["contrast_prompt"] = "the same prompt"
    scorer = Counting()
    score(rows, [scorer], tmp_path, checks_per_part=100)
    # One pair of the run is scored again, alone, to compare it with its batch.
    assert sorted(scorer.asked.values()) == [*[1] * (len(scorer.asked) - 1), 2]


@pytest.mark.parametrize("kind", ["rotated", "transparent"])
def test_one_file_scores_the_same_whichever_way_a_row_has_it(kind: str, tmp_path: Path) -> None:
    from croc.rendering.fragments import read_picture

    picture = Image.new("RGBA", (6, 3), (200, 0, 0, 0 if kind == "transparent" else 255))
    picture.paste((0, 0, 200, 255), (0, 0, 3, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = tmp_path / f"{kind}.png"
    picture.save(file, **({"exif": exif} if kind == "rotated" else {}))

    def metric(images: Sequence[Image.Image], prompts: Sequence[str]) -> list[float]:
        weights = np.arange(18 * 3)
        return [float(np.asarray(i).ravel() @ weights) + 1e6 * i.height for i in images]

    ways = {
        "path": str(file),
        "bytes": file.read_bytes(),
        "file": {"bytes": None, "path": str(file)},
        "opened": Image.open(file),
        "upload": read_picture(str(file)),
    }
    scores = {}
    for way, image in ways.items():
        rows = some_checks(1, images=[image], contrast_images=[image])
        [table] = score(rows, [metric], tmp_path / way)
        scores[way] = table["prompt_score"].to_list()
    encoded = datasets.Dataset.from_list(some_checks(1, images=[str(file)], contrast_images=[str(file)]))
    [table] = score(encoded, [metric], tmp_path / "dataset")
    scores["dataset"] = table["prompt_score"].to_list()
    expected = metric([read_picture(str(file))], [""])
    assert scores == dict.fromkeys(scores, expected * 2)


def test_a_stopped_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    class Stopping(Counting):
        # Two parts, and the pair of the first that is compared with its batch.
        left = 3

        def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> np.ndarray:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return super().score(images, prompts)

    scorer = Stopping()
    with pytest.raises(KeyboardInterrupt):
        score(some_checks(9), [scorer], tmp_path / "out", checks_per_part=2, batch_size=100)
    assert runner.status(tmp_path / "out" / "counting.parts").counts["checks"] == 4
    assert not list((tmp_path / "out").glob("*.parquet"))
    again = Counting()
    [table] = score(some_checks(9), [again], tmp_path / "out", checks_per_part=2, batch_size=100)
    assert not set(scorer.asked) & set(again.asked), "nothing is scored twice"
    assert table.equals(score(some_checks(9), [Counting()], tmp_path / "calm")[0])


@pytest.mark.parametrize("change", ["revision", "text", "image", "name of a field"])
def test_old_scores_never_meet_new_settings(tmp_path: Path, change: str) -> None:
    rows = some_checks()
    score(rows, [Counting()], tmp_path)
    scorer = Counting()
    if change == "revision":
        scorer.revision = "2"
    elif change == "text":
        rows[4]["prompt"] = "a crimson ball"
    elif change == "image":
        rows[4]["images"][0] = {"bytes": png(9, 9, 9), "path": None}
    else:
        scorer.fields = lambda: {"revision": "1", "template": "A photo of {}"}  # type: ignore[method-assign]
    with pytest.raises(InputError, match="contains other work"):
        score(rows, [scorer], tmp_path)
    assert not scorer.asked
    score(rows, [scorer], tmp_path, existing="overwrite")
    assert scorer.asked


def test_what_cannot_be_scored_is_in_the_table_with_its_reason(tmp_path: Path) -> None:
    rows = some_checks(4)
    rows[0]["images"][1] = {"bytes": b"no image", "path": None}
    rows[1]["images"][0] = {"bytes": None, "path": "/nowhere/x.png"}
    rows[2]["contrast_prompt"] = " "
    rows[3]["contrast_prompt"] = None
    rows[3]["images"][0] = None
    told: list[str] = []
    [table] = score(rows, [Counting()], tmp_path, log=told.append)
    errors = {
        (row["check_id"], row["image_side"], row["image_index"]): row["error"]
        for row in table.iter_rows(named=True)
        if row["error"] is not None
    }
    assert errors == {
        ("c000", "original", 1): "the image has an unknown format, or its beginning is damaged",
        ("c001", "original", 0): "the image file /nowhere/x.png cannot be read: No such file or directory",
        **{
            ("c002", side, i): "contrast prompt: the prompt is empty"
            for side, k in (("original", 2), ("contrast", 3))
            for i in range(k)
        },
        ("c003", "original", 0): "the image is missing",
        ("c003", "original", 1): NO_CONTRAST_PROMPT,
        **{("c003", "contrast", i): NO_CONTRAST_PROMPT for i in range(3)},
    }
    bad = table.filter(pl.col("error").is_not_null() & (pl.col("error") != NO_CONTRAST_PROMPT))
    assert bad.filter(check_id="c002")["prompt_score"].null_count() == 0
    assert bad.filter(check_id="c002")["contrast_score"].null_count() == 5
    # 2 + 2 for two images, 5 contrast prompts, 1 for the missing image without a contrast prompt.
    assert "10 pairs without a score" in told[0]
    assert len(table) == 20


def test_half_of_a_surrogate_pair_costs_the_pairs_of_its_prompt(tmp_path: Path) -> None:
    class Windowed(Counting):
        def truncated(self, prompts: Sequence[str]) -> np.ndarray:
            return np.array([len(prompt.encode()) > 100 for prompt in prompts])

    rows = some_checks(2)
    rows[1]["prompt"] = "a red ball \ud83d"
    [table] = score(rows, [Windowed()], tmp_path)
    assert set(table.filter(check_id="c001")["error"]) == {
        r"prompt: the prompt contains half of a surrogate pair (\ud83d)"
    }
    assert table["prompt_score"].null_count() == 5
    assert table["contrast_score"].null_count() == 0
    # A second run finds the first one's table.
    [again] = score(rows, [Windowed()], tmp_path)
    assert again.equals(table)


def test_one_damaged_avif_costs_its_pairs_alone(tmp_path: Path) -> None:
    rows = some_checks(2)
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "AVIF")
    damaged = bytearray(buffer.getvalue())
    damaged[damaged.index(b"iloc") + 4 :] = bytes(len(damaged) - damaged.index(b"iloc") - 4)
    rows[0]["images"][0] = {"bytes": bytes(damaged), "path": None}
    [table] = score(rows, [Counting()], tmp_path)
    [error] = table["error"].drop_nulls()
    assert error.startswith("the image ")
    assert table["prompt_score"].null_count() == 1


@pytest.mark.parametrize("place", ["fields", "truncated", "similarity"])
def test_a_scorer_that_ends_the_program_is_one_sentence(place: str, tmp_path: Path) -> None:
    def leave(*_: Any) -> Any:
        sys.exit("usage: metric IMAGE PROMPT")

    scorer = Counting()
    if place == "similarity":
        scorer.encode_images = lambda images: np.ones((len(images), 1))  # type: ignore[attr-defined]
        scorer.encode_texts = lambda prompts: np.ones((len(prompts), 1))  # type: ignore[attr-defined]
        scorer.similarity = lambda left, right: left[:, 0]  # type: ignore[attr-defined]
    setattr(scorer, place, leave)
    with pytest.raises(CrocError, match=r"scorer counting called sys.exit\(usage: metric IMAGE PROMPT\)"):
        score(some_checks(2), [scorer], tmp_path)


def test_fields_that_fail_are_one_sentence(tmp_path: Path) -> None:
    scorer = Counting()
    scorer.fields = lambda: 1 / 0  # type: ignore[assignment, return-value, method-assign]
    with pytest.raises(InputError, match=r"counting: fields\(\) failed with ZeroDivisionError: division"):
        score(some_checks(1), [scorer], tmp_path)


def test_names_in_every_script_have_files_of_their_own(tmp_path: Path) -> None:
    names = ["指标一", "指标二", "метрика", "🔥", "🌊", "clip-vit", "指" * 90, "指" * 91]
    paths = score_dataset(some_checks(1), [Counting(name) for name in names], tmp_path, QUIET)
    assert len({path.name for path in paths}) == len(names)
    assert [path.stem for path in paths[:3]] == names[:3]
    read = [read_score_tables([path])[0].metrics for path in paths]
    assert [list(metrics) for metrics in read] == [[name] for name in names]


def test_a_name_too_long_for_a_table_is_refused_before_anything_is_scored(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the metric's name has 101 characters"):
        score(some_checks(1), [Counting("x" * 101)], tmp_path)
    assert not list(tmp_path.glob("*.parquet"))


def test_two_names_of_one_file_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'a/b' and 'a b' would both write a-b\.parquet"):
        score(some_checks(1), [Counting("a/b"), Counting("a b")], tmp_path)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/scores: this folder cannot be made"):
        score(some_checks(1), [Counting()], tmp_path / "file" / "scores")


def test_too_many_failures_stop_the_run_with_the_list(tmp_path: Path) -> None:
    rows = some_checks(9)
    for row in rows[4:]:
        row["images"] = [{"bytes": b"broken", "path": None}]
    with pytest.raises(
        CrocError, match=r"10 pairs without a score, more than 5 \(check c004, original image 0: the"
    ):
        score(rows, [Counting()], tmp_path, max_failures=5)
    with pytest.raises(CrocError, match="10 pairs without a score"):
        score(rows, [Counting()], tmp_path, max_failures=5)
    [table] = score(rows, [Counting()], tmp_path, max_failures=10)
    assert table["error"].is_not_null().sum() == 5


def test_a_scorer_that_breaks_its_contract_stops_the_run_by_name(tmp_path: Path) -> None:
    with pytest.raises(CrocError, match=r"scorer <lambda>: score returned a single number for 10 pairs"):
        score(some_checks(1), [lambda images, prompts: 0.5], tmp_path)
    with pytest.raises(InputError, match=r"fields\(\) must give texts"):
        scorer = Counting()
        scorer.fields = lambda: {"layers": 3}  # type: ignore[assignment, return-value]
        score(some_checks(1), [scorer], tmp_path)


def test_truncated_texts_are_marked_and_counted(tmp_path: Path) -> None:
    class Windowed(Counting):
        def truncated(self, prompts: Sequence[str]) -> np.ndarray:
            return np.array([len(prompt) > 20 for prompt in prompts])

    rows = some_checks(3)
    rows[1]["contrast_prompt"] = "a blue ball on a very long carpet"
    told: list[str] = []
    [table] = score(rows, [Windowed()], tmp_path, log=told.append)
    assert table.filter("truncated")["check_id"].unique().to_list() == ["c001"]
    assert "5 images with a truncated text" in told[0]


def test_a_fall_back_is_said_and_written_down(tmp_path: Path) -> None:
    class Wrong(Counting):
        def score_prompts(self, image: Image.Image, prompts: Sequence[str]) -> np.ndarray:
            return self.score([image] * len(prompts), prompts) + 1

    told: list[str] = []
    [path] = score_dataset(some_checks(3), [Wrong()], tmp_path, QUIET, log=told.append)
    assert "every pair is scored separately" in told[0]
    run = json.loads(pq.read_schema(path).metadata[b"run"])
    assert run["method"] == "pairs"
    assert "scores differ by" in run["remark"]
    assert pl.read_parquet(path).equals(score(some_checks(3), [Counting()], tmp_path / "plain")[0])


def test_checks_without_images_are_counted(tmp_path: Path) -> None:
    rows = some_checks(3)
    rows[1]["images"], rows[1]["contrast_images"] = [], None
    told: list[str] = []
    [table] = score(rows, [Counting()], tmp_path, log=told.append)
    assert table["check_id"].unique().sort().to_list() == ["c000", "c002"]
    assert ", 1 check without images" in told[0]


def test_hum_checks_and_a_given_protocol(tmp_path: Path) -> None:
    rows = some_checks(2, subset=None, category="counting")
    [path] = score_dataset(rows, ["constant"], tmp_path / "hum", QUIET)
    assert pq.read_schema(path).metadata[b"protocol"] == b"hum"
    mixed = [*some_checks(1), *some_checks(2, subset=None, category="counting")[1:]]
    with pytest.raises(InputError, match="choose syn or hum"):
        score_dataset(mixed, ["constant"], tmp_path / "mixed", QUIET)
    settings = ScoringSettings(progress=False, protocol="hum")
    [path] = score_dataset(mixed, ["constant"], tmp_path / "mixed", settings)
    assert pq.read_schema(path).metadata[b"protocol"] == b"hum"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (([], ["random"]), "not list|no checks|there are no checks"),
        ((some_checks(1), []), "at least one scorer is needed"),
        ((some_checks(1), ["randm"]), "did you mean random"),
        ((some_checks(1), [7]), "is no scorer"),
    ],
)
def test_bad_arguments_are_one_sentence(tmp_path: Path, arguments: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        score_dataset(*arguments, tmp_path)
    with pytest.raises(InputError, match="unknown protocol 'sny'"):
        score_dataset(some_checks(1), ["random"], tmp_path, ScoringSettings(protocol="sny"))


def test_an_option_goes_to_the_scorers_that_take_it(tmp_path: Path) -> None:
    paths = score_dataset(some_checks(1), ["random", "colour-words"], tmp_path, options={"seed": 4})
    assert json.loads(pq.read_schema(paths[0]).metadata[b"extra"])["seed"] == "4"
    with pytest.raises(InputError, match="no scorer has the option 'sede'"):
        score_dataset(some_checks(1), ["random", Counting()], tmp_path, options={"sede": 4})


def test_progress_is_said_where_there_is_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("croc.jobs.progress.LINE_EVERY_S", 0.0)
    score(some_checks(), [Counting()], tmp_path, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert any("counting: 6 of 7 checks" in line and "pairs/s" in line and "left" in line for line in lines)


def test_the_summary_says_what_a_service_was_asked_for(tmp_path: Path) -> None:
    class Paid(Counting):
        paid = Usage(calls=3, cached=1, input_tokens=50, output_tokens=3, cost=0.25)
        usage = ScorerUsage(paid, floored=2)

    told: list[str] = []
    score(some_checks(), [Paid()], tmp_path, log=told.append)
    # By hand from the numbers above.
    floored = "2 with the score 0 because Yes was not returned"
    said = f"3 paid calls, 1 from the cache, 50 + 3 tokens, $0.2500, {floored}"
    assert told[-1].endswith(f"; {said}")


def test_no_row_is_read_twice_though_the_first_ones_are_looked_at_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    original = Checks.__post_init__

    def watched(checks: Checks) -> None:
        original(checks)
        inner = checks.read
        checks.read = lambda start, stop: read.extend(range(start, stop)) or inner(start, stop)

    monkeypatch.setattr(Checks, "__post_init__", watched)
    for size in (1, 2, 3, 100):
        read.clear()
        [table] = score(some_checks(), [Counting()], tmp_path / str(size), checks_per_part=size)
        assert sorted(read) == list(range(7))
        assert table["check_id"].unique(maintain_order=True).to_list() == [f"c{i:03}" for i in range(7)]


def test_the_summary_has_counts_and_speed_and_the_log_the_signature(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    caplog.set_level("INFO", logger="croc")
    score(some_checks(), [Counting()], tmp_path, log=told.append)
    # 7 checks × 5 images × 2 prompts.
    assert "70 pairs, 70 new" in told[0]
    assert "|dataset:rows|dataset_revision:sha256:" in caplog.messages[-1]
    assert caplog.messages[-1].endswith("|scorer:counting|revision:1|temper:mild")
    assert load("random").name == "random"


@pytest.mark.slow
def test_processes_that_accelerate_started_share_the_work(tmp_path: Path) -> None:
    data, script = tmp_path / "checks.parquet", tmp_path / "work.py"
    datasets.Dataset.from_list(some_checks(11), features=check_features()).to_parquet(data)
    script.write_text(
        "import sys\nfrom croc.scoring.run import ScoringSettings, score_dataset\n"
        "names = ['random', 'colour-words']\n"
        "score_dataset(sys.argv[1], names, sys.argv[2], ScoringSettings(checks_per_part=2, progress=False))\n"
    )
    # What `accelerate launch` starts on several GPUs; on a machine without any it needs MPI.
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [sys.executable, *launch, str(script), str(data), str(tmp_path / "two")]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    score(data, ["random", "colour-words"], tmp_path / "one", checks_per_part=2)
    for name in ("random", "colour-words"):
        shares = [tmp_path / "two" / f"{name}.parts" / f"{rank}-of-2" for rank in range(2)]
        assert [runner.status(folder).counts["checks"] for folder in shares] == [6, 5]
        two, one = ((tmp_path / way / f"{name}.parquet").read_bytes() for way in ("two", "one"))
        assert two == one


KILLED = """
import sys, time
from pathlib import Path
import numpy as np
from croc.scoring.run import ScoringSettings, score_dataset

class Slow:
    name = "slow"

    def score_prompts(self, image, prompts):
        return self.score([image] * len(prompts), prompts)

    def score(self, images, prompts):
        time.sleep(0.002 * len(prompts))
        return np.array([np.asarray(i).astype(float).sum() / (1 + len(p)) for i, p in zip(images, prompts)])

    def fields(self):
        return {"revision": "1"}

settings = ScoringSettings(checks_per_part=2, progress=False)
score_dataset(sys.argv[1], [Slow(), "random"], sys.argv[2], settings)
"""


@pytest.mark.slow
def test_killed_at_twenty_random_moments_the_tables_are_those_of_an_undisturbed_run(tmp_path: Path) -> None:
    data, script = tmp_path / "checks.parquet", tmp_path / "work.py"
    datasets.Dataset.from_list(some_checks(150), features=check_features()).to_parquet(data)
    script.write_text(KILLED)
    command = [sys.executable, str(script), str(data)]
    subprocess.run([*command, str(tmp_path / "calm")], check=True)
    chance, kills, out = random.Random(0), 0, tmp_path / "killed"
    records = [out / name / "records" for name in ("slow.parts", "random.parts")]

    def saved() -> int:
        return sum(len(list(folder.glob("*.json"))) for folder in records if folder.exists())

    while kills < 20:
        start = saved()
        process = subprocess.Popen([*command, str(out)], stderr=subprocess.DEVNULL)
        while process.poll() is None and saved() == start:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.08))
        assert process.poll() is None, "the run ended before it was killed twenty times; make the work longer"
        process.kill()
        process.wait()
        kills += 1
    subprocess.run([*command, str(out)], check=True)
    for name in ("slow.parquet", "random.parquet"):
        assert (out / name).read_bytes() == (tmp_path / "calm" / name).read_bytes()
    assert runner.verify(out / "slow.parts") == []
