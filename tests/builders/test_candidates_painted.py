"""The commands end to end: with candidates of image models, and with a sample of a build."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from annotate_server import Client, Page
from click.testing import CliRunner

from builders.verify import verify
from croc.cli import main
from croc_hum.schema import read_items
from croc_hum.votes.store import Settings, Store

pytestmark = pytest.mark.slow

PAIRS = """\
version: 1
category: counting
definition: How many there are.
look_for: Count them.
shows: [There are as many.]
fails: [There are more or fewer.]
pairs:
  - {id: apples, property: count, prompt: three apples on a table, contrast_prompt: four apples on a table}
  - {id: ducks, property: count, prompt: two ducks in a pond, contrast_prompt: five ducks in a pond}
"""


def croc(*arguments: Any) -> str:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_candidates_of_image_models_are_labelled_and_released(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    pytest.importorskip("gradio", reason="the page needs gradio")
    pytest.importorskip("krippendorff", reason="agreement needs the extra hum")
    import tiny_pipelines as tiny

    (tmp_path / "pairs.yaml").write_text(PAIRS)
    painters = [tiny.save(tiny.flux(), tmp_path / "tiny-flux"), tiny.save(tiny.sd3(), tmp_path / "tiny-sd")]
    entries = [
        {"name": folder.name, "model": str(folder), "steps": 2, "text_tokens": 16, "guidance": 1.0}
        for folder in painters
    ]
    preset = {"models": entries, "size": 16, "pipeline": {"device": "cpu", "dtype": "float32"}}
    (tmp_path / "preset.yaml").write_text(json.dumps({"images": preset}))
    candidates = tmp_path / "candidates"
    made = ("hum", "candidates", "--pairs", tmp_path / "pairs.yaml", "--preset", tmp_path / "preset.yaml")
    output = croc(*made, "--images", 3, "--attention", 2, "--out", candidates)
    assert "24 items of 4 checks (counting: 24)" in output and "2 attention checks added" in output
    items = {item["item_id"]: item for item in read_items(candidates)}
    images = {item["image"] for item in items.values() if not item["attention"]}
    assert len(images) == 24, "all images are different"
    before = (candidates / "items.parquet").read_bytes()
    croc(*made, "--images", 3, "--attention", 2, "--out", candidates)
    assert (candidates / "items.parquet").read_bytes() == before, "a second run makes no new images"

    options = ("--overlap", "3", "--attention-every", "4", "--batch", "100")
    with Page(candidates, tmp_path / "votes.sqlite", *options) as page:
        for number in range(3):
            client, count = Client(page), 0
            assert "tiny-flux" not in page.call("load", client.code)
            while client.task:
                # The third annotator answers no to every second image; all other answers are yes.
                assert client.vote("no" if number == 2 and count % 2 else "yes")
                count += 1
            assert count == 26
    with Store(tmp_path / "votes.sqlite") as store:
        assert store.export(tmp_path / "votes.parquet") == 78

    output = croc("hum", "agreement", tmp_path / "votes.parquet", "--items", candidates, "--resamples", 20,
                "--json", tmp_path / "agreement.json")  # fmt: skip
    assert "Krippendorff's alpha" in output
    report = json.loads((tmp_path / "agreement.json").read_text())
    (total,) = [group for group in report["groups"] if group["category"] is None]
    assert (total["items"], total["votes"], total["kept"]) == (24, 72, 24)
    assert total["hours"] > 0

    out = tmp_path / "hum"
    output = croc("hum", "release", tmp_path / "votes.parquet", "--items", candidates, "--out", out)
    assert verify(out) == []
    from datasets import load_dataset

    rows = load_dataset(str(out), split="test")
    assert len(rows) == 4 and {len(row["images"]) for row in rows} == {3}
    models = {row["image_model"].partition("@")[0] for row in rows}
    assert models == {"tiny-flux", "tiny-sd"}
    assert {row["concept_id"] for row in rows} == {item["concept_id"] for item in items.values()} - {
        item["concept_id"] for item in items.values() if item["attention"]
    }
    assert sum(len(row["votes"]) for row in rows) == 72
    assert min(row["agreement"] for row in rows) >= 2 / 3
    card = (out / "README.md").read_text()
    assert "at least 3 votes" in card and "tiny-flux" in card and "tiny-sd" in card


def test_the_label_noise_of_a_build_is_measured_and_added_to_its_card(tmp_path: Path) -> None:
    noise, wrong_votes = 0.25, 0.05
    syn, sample = tmp_path / "syn", tmp_path / "sample"
    properties = ("colour", "count", "negation", "left_right")
    croc("build", "syn", "--checks", 60, "--images", 2, "--size", 48, "--label-noise", noise,
         *(word for name in properties for word in ("--property", name)), "--out", syn)  # fmt: skip
    assert "Label noise measured by annotators" not in (syn / "README.md").read_text()
    croc("hum", "candidates", "--from-build", syn, "--checks", 40, "--attention", 4, "--out", sample)

    truth = {item["item_id"]: item["expected"] for item in read_items(sample)}
    rng = np.random.default_rng(3)
    with Store(tmp_path / "votes.sqlite", Settings(overlap=3)) as store:
        store.add_items(read_items(sample))
        for _ in range(3):
            code = store.add_annotator().code
            while (offer := store.offer_item(code)) is not None:
                right = truth[offer.item["item_id"]]
                flipped = {"yes": "no", "no": "yes"}[right]
                store.vote(code, offer.offer_id, flipped if rng.random() < wrong_votes else right)
        store.export(tmp_path / "votes.parquet")

    file = tmp_path / "agreement.json"
    output = croc(
        "hum", "agreement", tmp_path / "votes.parquet", "--items", sample, "--resamples", 20, "--json", file
    )
    croc("hum", "card", syn, "--agreement", file)
    assert "Label noise by property" in output
    stored = json.loads((syn / "label_noise.json").read_text())
    assert stored["images"] == 160 and stored["low"] < noise < stored["high"]
    votes = pl.read_parquet(tmp_path / "votes.parquet")
    card = (syn / "README.md").read_text()
    assert f"{stored['share']:.1%} of the images do not show their prompt" in card
    table = dict(
        re.findall(
            r"^\| (\w+) \| .*?(\d+) \|",
            card[card.index("Label noise measured by annotators") :],
            re.MULTILINE,
        )
    )
    assert set(table) >= set(properties)
    for noise_row in stored["properties"]:
        property_votes = votes.filter((pl.col("property") == noise_row["property"]) & ~pl.col("attention"))
        is_wrong = [truth[name] == "no" for name in property_votes["item_id"].unique()]
        assert noise_row["images"] == len(is_wrong)
        assert abs(noise_row["wrong"] - sum(is_wrong)) <= 2, (
            "with 5 % errors a majority of three is rarely wrong"
        )
        assert noise_row["low"] <= np.mean(is_wrong) <= noise_row["high"]
    assert verify(syn) == []
    shown = croc("publish", "syn", syn, "--repo", "org/syn", "--dry-run")
    assert "label_noise.json" in shown
