"""Numbers, names and images that ask for too much are refused with one sentence."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from pictures import claiming_png
from PIL import Image
from score_rows import check_rows, write

from croc.checks.decoding import count_pixels
from croc.cli import main
from croc.errors import InputError
from croc.ratings.layout import Settings as CorrelationSettings
from croc.rendering.fragments import evaluate_upload
from croc.rendering.heatmap import heatmap_png
from croc.storage import limits
from croc.storage.files import read_json
from croc.tables.readers import read_score_tables
from croc.verdict.evaluation import evaluate
from croc.verdict.report import Report, Settings
from croc.verdict.statistics import resample_counts
from croc_hum.agreement.vote_matrix import Settings as AgreementSettings


def table(folder: Path, name: str = "m", checks: int = 12, **cells: object) -> Path:
    rows = []
    for number in range(checks):
        rows += check_rows(
            f"c{number}", [(1.0, 0.0)], [(0.0, 1.0)], concept_id=f"c{number}", category="action", **cells
        )
    return write(folder, name, rows, "hum")


@pytest.mark.parametrize("settings", [Settings, CorrelationSettings, AgreementSettings])
def test_resamples_have_a_bound_wherever_they_are_set(settings: type) -> None:
    settings(resamples=limits.RESAMPLES)
    with pytest.raises(InputError, match=r"10,?000,?000,?000.* 100,?000"):
        settings(resamples=10**10)


def test_permutations_have_a_bound() -> None:
    with pytest.raises(
        InputError, match="permutations=1000001: input should be less than or equal to 1000000"
    ):
        Settings(flips=limits.PERMUTATIONS + 1)
    with pytest.raises(InputError, match="permutations"):
        CorrelationSettings(permutations=limits.PERMUTATIONS + 1)


def test_resamples_times_clusters_have_a_bound() -> None:
    with pytest.raises(InputError, match="take fewer"):
        resample_counts(100_000, 100_000, np.random.default_rng(0))


@pytest.mark.parametrize("option", ["--resamples", "--permutations"])
def test_the_command_line_says_so(tmp_path: Path, option: str) -> None:
    done = CliRunner().invoke(main, ["evaluate", str(table(tmp_path)), option, "10000000000"])
    assert done.exit_code == 2 and "10000000000: input should be less than or equal to" in done.output


def test_a_report_that_asks_for_too_much_is_not_read(tmp_path: Path) -> None:
    content = evaluate([table(tmp_path)], settings=Settings(resamples=0, flips=0)).to_dict()
    content["settings"]["resamples"] = 10**10
    with pytest.raises(InputError, match=r"settings\.resamples"):
        Report.from_dict(content)


def test_a_json_file_has_a_size_and_a_depth(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"deep\.json: nested too deeply"):
        read_json(tmp_path / "deep.json")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(limits.JSON_FILE + 1)
    with pytest.raises(InputError, match=r"large\.json: larger than 256,000,000 bytes"):
        read_json(tmp_path / "large.json")


def test_the_name_of_a_metric_has_a_length(tmp_path: Path) -> None:
    file = table(tmp_path, "m", scorer="x")
    import pyarrow.parquet as pq

    stored = pq.read_table(file)
    metadata = {**stored.schema.metadata, b"scorer": b"n" * 100_000}
    pq.write_table(stored.replace_schema_metadata(metadata), file)
    with pytest.raises(InputError, match="the metric's name has 100,000 characters; at most 100"):
        read_score_tables([file])


def test_values_to_group_by_have_a_length_and_a_number(tmp_path: Path) -> None:
    long = table(tmp_path, "long", topic="t" * 201)
    with pytest.raises(InputError, match="column 'topic': a value of 201 characters"):
        read_score_tables([long], groups=["topic"])
    assert read_score_tables([long])
    many = table(tmp_path, "many", checks=limits.GROUPS + 1)
    import pyarrow as pa
    import pyarrow.parquet as pq

    stored = pq.read_table(many)
    place = stored.schema.get_field_index("topic")
    topics = pa.array([f"t{row // 2}" for row in range(len(stored))])
    pq.write_table(stored.set_column(place, "topic", topics), many)
    with pytest.raises(InputError, match="column 'topic': 2,001 values; a column to group by has at most"):
        read_score_tables([many], groups=["topic"])


def test_a_page_reads_less_than_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert limits.PAGE.rows < limits.COMMAND_LINE.rows
    assert limits.PAGE.memory < limits.COMMAND_LINE.memory
    assert limits.PAGE.unpacked < limits.COMMAND_LINE.unpacked
    file = table(tmp_path)
    assert evaluate_upload(str(file), None, False)
    monkeypatch.setattr("croc.rendering.fragments.PAGE", replace(limits.PAGE, rows=23))
    with pytest.raises(InputError, match=r"^m\.parquet: 24 rows; at most 23 are allowed"):
        evaluate_upload(str(file), None, False)


def test_a_heatmap_has_the_size_of_its_values_not_of_their_names(tmp_path: Path) -> None:
    rows = []
    for number in range(60):
        rows += check_rows(
            f"c{number}",
            [(1.0, 0.0)],
            [(0.0, 1.0)],
            concept_id=f"c{number}",
            category="action",
            topic=f"topic {number} " + "long " * 35,
        )
    report = evaluate([write(tmp_path, "n" * 100, rows, "hum")], settings=Settings(by=("topic",)))
    width, height = Image.open(io.BytesIO(heatmap_png(report))).size
    assert width < 8_000 and height < 3_000


@pytest.mark.parametrize(("width", "height"), [(8, 4), (8_001, 8_000), (20_000, 20_000)])
def test_pixels_are_counted_without_decoding(width: int, height: int) -> None:
    pixels = count_pixels(claiming_png(width, height))
    assert pixels is not None and (pixels > limits.IMAGE_PIXELS) == (width * height > limits.IMAGE_PIXELS)
    assert count_pixels(b"no image") is None
