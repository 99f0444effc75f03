"""Cards say what the data holds: read back with the classes of huggingface_hub, loaded as they say."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import get_dataset_config_names, load_dataset
from huggingface_hub import DatasetCard, ModelCard, SpaceCard
from parsed import markdown_tables
from pictures import png
from reports import noisy, report_of
from staged_checks import HALVES, row, stage

from builders.syn import build_staged
from croc.checks.schema import DIRECTIONS
from croc.errors import InputError
from croc.results.hub_metadata import model_index
from croc.verdict.records import DIRECTION_NAMES
from croc.wording import signed
from hub_cards import compare_cards, croissant, dataset_card, model_card, read_facts, space_card

SCHNELL, DEV = "black-forest-labs/FLUX.1-schnell@a1", "black-forest-labs/FLUX.1-dev@b2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    base = tmp_path_factory.mktemp("cards")
    rows = [
        row(
            number,
            category="action" if number % 3 else None,
            image_model=DEV if number % 4 == 0 else SCHNELL,
            text_model="Qwen/QwQ-32B@c3",
            language="en",
        )
        for number in range(16)
    ]
    return build_staged(stage(base / "staged", rows).folder, base / "out", splits=HALVES, progress=False).out


def test_the_metadata_has_what_the_hub_shows(folder):
    card = DatasetCard((folder / "README.md").read_text("utf-8"))
    data = card.data.to_dict()
    assert data["language"] == ["en"]
    assert data["size_categories"] == ["n<1K"]
    assert data["license"] == ["apache-2.0", "other"]
    assert data["license_details"] == "apache-2.0: 12 rows; flux-1-dev-non-commercial-license: 4 rows"
    assert "croc" in data["tags"]
    described = {each["config_name"]: each for each in data["dataset_info"]}
    names = {each["config_name"] for each in data["configs"]}
    assert described.keys() == names - {"property-count"}
    names = [feature["name"] for feature in described["all"]["features"]]
    assert names == list(read_facts(folder).features)


def test_every_configuration_of_the_card_loads_with_as_many_rows_as_it_says(folder):
    data = DatasetCard((folder / "README.md").read_text("utf-8")).data.to_dict()
    assert get_dataset_config_names(str(folder)) == list(data["rows"])
    assert {"all", "mini", "property_variation", "action", "other"} <= set(data["rows"])
    for name, splits in data["rows"].items():
        loaded = load_dataset(str(folder), name)
        assert {split: len(rows) for split, rows in loaded.items()} == splits


def test_the_text_names_models_with_revisions_licences_and_what_was_dropped(folder):
    text = (folder / "README.md").read_text("utf-8")
    for words in (
        SCHNELL,
        DEV,
        "Qwen/QwQ-32B@c3",
        "flux-1-dev-non-commercial-license",
        "arxiv.org/abs/2505.11314",
    ):
        assert words in text
    assert "![Some of the checks](examples.png)" in text
    assert (folder / "examples.png").read_bytes().startswith(b"\x89PNG")
    for line in ("| `prompt` | string |", "| `images` | list of image |", "| `seeds` | list of int64 |"):
        assert line in text
    assert "| `votes` | list of record of annotator, item, value, reason, seconds |" in text
    # Nobody looked at the images of a model, and the card must not claim more.
    assert "Not measured." in text


def test_every_table_of_a_dataset_card_is_a_table(folder):
    tables = markdown_tables((folder / "README.md").read_text("utf-8"))
    assert len(tables) >= 5
    for table in tables:
        assert table.rows
        assert all(len(row) == len(table.head) for row in table.rows)


def test_the_card_of_another_repository_names_it(folder):
    text = dataset_card(folder, repo="someone/checks")
    assert 'load_dataset("someone/checks"' in text
    assert "croc/syn" not in text
    assert compare_cards(text, dataset_card(folder, repo="someone/checks")) == []


def test_a_card_of_an_older_template_is_judged_by_its_facts_alone(folder):
    fresh = dataset_card(folder)
    older = re.sub(r"template [0-9a-f]{12}", "template 000000000000", fresh).replace("Each row", "Every row")
    assert compare_cards(older, fresh) == []
    assert compare_cards(older.replace("n<1K", "1K<n<10K"), fresh)


def test_a_folder_that_is_not_finished_has_no_card(tmp_path):
    with pytest.raises(InputError, match=r"no manifest\.json"):
        dataset_card(tmp_path)


def test_croissant_is_valid_and_lists_every_file_with_its_checksum(folder):
    described = json.loads((folder / "croissant.json").read_text("utf-8"))
    assert described == croissant(folder)
    files = {each["@id"]: each for each in described["distribution"] if each["@type"] == "cr:FileObject"}
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))["files"]
    assert {name: each["sha256"] for name, each in files.items()} == {
        name: entry["sha256"] for name, entry in manifest.items() if name.startswith(("data/", "mini/"))
    }
    mlc = pytest.importorskip("mlcroissant")
    dataset = mlc.Dataset(jsonld=described)
    assert not dataset.metadata.ctx.issues.errors
    assert [records.name for records in dataset.metadata.record_sets] == ["all"]


# ---- Models ----


def model(folder: Path, **files) -> Path:
    folder.mkdir(exist_ok=True)
    config = {"architectures": ["LlavaForConditionalGeneration"], "croc": {"calibration": [0.5, 0.1]}}
    (folder / "config.json").write_text(json.dumps(config))
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_a_model_card_has_results_that_the_hub_can_read(tmp_path):
    report = report_of({"crocscore-tiny": noisy(0, 20)}, dataset="org/my-checks", dataset_split="test")
    said = {"name": "crocscore-tiny", "license": "apache-2.0", "limits": ["Drawings only."], "seed": 3}
    files = {"results__json": report.to_dict(), "card__json": said, "recipe__yaml": "epochs: 1\n"}
    folder = model(tmp_path / "m", **files, calibration__json={"a": 0.5, "b": 0.1, "ece": 0.0213})
    assert "calibration.png" not in model_card(folder)
    (folder / "calibration.png").write_bytes(png(0))
    text = model_card(folder)
    assert "](calibration.png)" in text
    card = ModelCard(text)
    assert card.data.eval_results == model_index(report)
    assert {each.dataset_type for each in card.data.eval_results} == {"org/my-checks"}
    assert card.data.model_name == "crocscore-tiny"
    results, calibration = markdown_tables(text)
    assert [row[1] for row in results.rows] == [*DIRECTION_NAMES.values(), "mean"]
    scaled = [*(report.scaled("crocscore-tiny", d) for d in DIRECTIONS), report.ranking[0].scaled]
    assert [row[2] for row in results.rows] == [signed(value, 3) for value in scaled]
    assert ["ece", "0.0213"] in calibration.rows
    for words in ("epochs: 1", "Drawings only.", str(report.signature), "Seed: 3"):
        assert words in text


def test_a_calibration_of_other_weights_is_refused(tmp_path):
    folder = model(tmp_path / "m", calibration__json={"a": 0.5, "b": 0.2, "ece": 0.0213})
    with pytest.raises(InputError, match=r"calibration\.json is not of the calibration in config\.json"):
        model_card(folder)


def test_results_that_are_no_report_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"results\.json: not a report: signature"):
        model_card(model(tmp_path / "m", results__json={"results": []}))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("build.json", {"lines": 5}, "build.json: lines: "),
        ("build.json", {"noisy": "x"}, "build.json: noisy: "),
        ("build.json", {"splits": {"test": "5"}}, "build.json: splits.test: "),
        ("build.json", [], "build.json: "),
        ("audit.json", {"lines": None}, "audit.json: lines: "),
        ("label_noise.json", {"lines": []}, "label_noise.json: rule: "),
        (
            "label_noise.json",
            {"lines": [], "rule": "r", "level": 0.95, "properties": [{"property": 5}]},
            "label_noise.json: properties.0.property: ",
        ),
    ],
)
def test_a_damaged_file_of_a_dataset_is_named_with_its_key(folder, tmp_path, name, content, message):
    copied = shutil.copytree(folder, tmp_path / "data")
    (copied / name).write_text(json.dumps(content))
    with pytest.raises(InputError) as refused:
        read_facts(copied)
    assert message in str(refused.value)


def test_a_column_of_another_type_is_named(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    file = sorted((tmp_path / "copy" / "data").glob("*.parquet"))[0]
    table = pq.read_table(file)
    lists = pa.array([[one] for one in table["concept_id"].to_pylist()])
    pq.write_table(table.set_column(table.column_names.index("concept_id"), "concept_id", lists), file)
    with pytest.raises(InputError, match=r"the column 'concept_id' holds list<.*>, not texts"):
        read_facts(tmp_path / "copy")


@pytest.mark.parametrize("name", ["config.json", "card.json", "calibration.json"])
@pytest.mark.parametrize("content", ["[]", "5", "{", "[" * 100_000])
def test_a_damaged_file_of_a_model_is_named(tmp_path, name, content):
    folder = model(tmp_path / "m")
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=rf"{name}: "):
        model_card(folder)


def test_a_model_without_measurements_says_so(tmp_path):
    text = model_card(model(tmp_path / "bare"), repo="someone/bare")
    assert ModelCard(text).data.eval_results is None
    for words in ("Not measured yet.", "Not calibrated", "No recipe", 'from_pretrained("someone/bare")'):
        assert words in text


def test_the_lines_of_use_are_three_and_python(tmp_path):
    text = model_card(model(tmp_path / "bare"))
    block = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    compile(block, "card", "exec")
    assert len([line for line in block.splitlines() if line.strip()]) == 3


def test_the_lines_of_use_run_on_a_model_of_the_family(tmp_path):
    pytest.importorskip("torch", reason="needs croc-t2i[score]")
    import tiny_models

    folder = tiny_models.save(*tiny_models.llava(), tmp_path / "tiny")
    block = re.search(r"```python\n(.*?)```", model_card(folder, repo=str(folder)), re.DOTALL)[1]
    names = {"images": [tiny_models.picture(number) for number in range(2)], "prompts": ["a dog", "a cat"]}
    exec(compile(block, "card", "exec"), names)
    assert names["scores"].shape == (2,)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no config\.json"):
        model_card(tmp_path)


# ---- Spaces ----


def test_a_space_card_has_what_a_space_needs_to_start(tmp_path):
    (tmp_path / "app.py").write_text("")
    (tmp_path / "requirements.txt").write_text("croc-t2i\ngradio==6.31.0\n")
    (tmp_path / "space.yaml").write_text(
        "title: CROC\nshort_description: Check a metric\ndescription: A page.\n"
        "usage: evaluate.load('{repo}')\n"
    )
    card = SpaceCard(space_card(tmp_path, repo="org/judge"))
    data = card.data.to_dict()
    assert (data["sdk"], data["sdk_version"], data["app_file"]) == ("gradio", "6.31.0", "app.py")
    assert (data["title"], data["short_description"]) == ("CROC", "Check a metric")
    assert "A page." in card.text and "evaluate.load('org/judge')" in card.text


@pytest.mark.parametrize("page", ["croc", "crocscore"])
def test_the_lines_of_use_of_our_pages_name_the_repository_they_are_published_as(page):
    card = space_card(Path(__file__).parents[2] / "spaces" / page, repo="org/mine")
    assert '("org/mine")' in card
    assert f'("croc/{page}")' not in card


def test_a_static_space_needs_no_version(tmp_path):
    (tmp_path / "index.html").write_text("")
    data = SpaceCard(space_card(tmp_path)).data.to_dict()
    assert data["sdk"] == "static" and "sdk_version" not in data


def test_a_space_that_cannot_start_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none of app\.py, Dockerfile, index\.html"):
        space_card(tmp_path)
    (tmp_path / "app.py").write_text("")
    (tmp_path / "space.yaml").write_text("titel: x\n")
    with pytest.raises(InputError, match="unknown key 'titel'"):
        space_card(tmp_path)


def test_a_card_that_was_written_by_hand_is_not_lost(tmp_path):
    (tmp_path / "app.py").write_text("")
    (tmp_path / "README.md").write_text("---\nsdk: gradio\n---\n# Mine\n")
    with pytest.raises(
        InputError, match=r"README\.md was not generated from space\.yaml; move its text there"
    ):
        space_card(tmp_path)
    (tmp_path / "space.yaml").write_text("title: Mine\n")
    (tmp_path / "README.md").write_text(space_card(tmp_path))
    (tmp_path / "space.yaml").unlink()
    assert "# " in space_card(tmp_path)


@pytest.mark.parametrize(("name", "use"), [("tiny", "CROCScore.from_pretrained"), ("dual", "DualEncoder(")])
def test_the_cards_of_the_models_that_come_with_the_package_are_what_their_files_say(name, use):
    folder = Path(__file__).parents[2] / "crocscore" / "weights" / name
    if not (folder / "model.safetensors").is_file():
        pytest.skip("this checkout holds no weights")
    card = (folder / "README.md").read_text("utf-8")
    assert card == model_card(folder)
    assert use in card
