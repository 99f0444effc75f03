"""Who reads a page of the guide: what they have before it, and what they must have after it.

A function a page. It prepares a folder, lets the page be walked there, and looks at what is left.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hub_server import Hub, online
from hub_state import User

from builders.hum import build_release
from builders.publish import publish
from builders.syn import build_exact
from builders.train import build_train
from builders.verify import verify

ROOT = Path(__file__).parents[2]
SPLITS = {"train": 0.4, "test": 0.6}

T2V_METRICS = """\
import numpy as np
from PIL import Image

class VQAScore:
    def __init__(self, model):
        assert model == "clip-flant5-xxl"

    def __call__(self, images, texts):
        seen = [np.asarray(Image.open(image)) for image in images]
        return [[image[..., len(text) % 3].mean() for text in texts] for image in seen]
"""
"""The calls of ``t2v_metrics``, whose pins and weights are not here: a matrix of images × texts."""

MY_METRIC = """\
import numpy as np

class MyMetric:
    def score(self, images, prompts):
        return np.array([float(len(prompt)) for prompt in prompts])
"""


def released(folder: Path) -> Path:
    """Four checks in the form of the authors' release."""
    from release_files import HEADER, LINES, PICTURES, tar

    folder.mkdir()
    (folder / "croc_hum.tsv").write_text("\n".join([HEADER, *LINES]) + "\n")
    tar(folder / "images.tar.gz", PICTURES.items())
    return folder


@contextmanager
def anybody(folder: Path) -> Iterator[None]:
    """Has nothing."""
    yield


@contextmanager
def quickstart(folder: Path) -> Iterator[None]:
    """Has nothing, and sees what the text says of the four scorers."""
    yield
    scores = json.loads((folder / "report.json").read_text("utf-8"))["scores"]
    assert min(s["scaled"] for s in scores if s["metric"] == "crocscore-tiny") > 0.75
    above = {(s["metric"], s["group_value"]) for s in scores if s["group"] and s["ci_low"] > 0.05}
    assert above - {("crocscore-tiny", name) for name in ("colour", "count", "negation")} == {
        ("colour-words", "colour")
    }


@contextmanager
def first_experiments(folder: Path) -> Iterator[None]:
    """Has the stand-in for a checkpoint of CLIP that the page speaks of."""
    import tiny_models

    tiny_models.save(*tiny_models.clip(), folder / "tiny-clip")
    yield


@contextmanager
def ratings(folder: Path) -> Iterator[None]:
    """Has a pair table: forty images, a metric that follows the ratings, one that does not."""
    human = [1 + number * 7 % 5 for number in range(40)]
    pl.DataFrame(
        {
            "item_id": [f"image-{number}" for number in range(40)],
            "system": ["first", "second"] * 20,
            "prompt": [f"prompt {number // 4}" for number in range(40)],
            "human_avg": human,
            "good": [rating + number % 3 / 4 for number, rating in enumerate(human)],
            "blind": [number * 11 % 13 for number in range(40)],
        }
    ).write_csv(folder / "ratings.csv")
    yield


@contextmanager
def scorers(folder: Path) -> Iterator[None]:
    """Has a build, and small models with the files of CLIP-FlanT5 and ImageReward."""
    import tiny_clip_flant5
    import tiny_image_reward

    build_exact(folder / "runs" / "syn", checks=12, images=1, size=64, audit_checks=0, progress=False)
    tiny_clip_flant5.save(folder / "tiny-flant5")
    tiny_image_reward.published(folder / "tiny-imagereward")
    yield
    for name, low, high in (("tiny-flant5", 0, 1), ("tiny-imagereward", -np.inf, np.inf)):
        scores = pl.read_parquet(folder / "families" / f"{name}.parquet")["prompt_score"]
        assert len(scores) == 24 and scores.is_between(low, high).all() and scores.n_unique() > 12


@contextmanager
def judges(folder: Path) -> Iterator[None]:
    """Has a build, and the stand-in for a vision-language model that the page speaks of."""
    import tiny_models

    build_exact(folder / "runs" / "syn", checks=4, images=1, size=48, audit_checks=0, progress=False)
    tiny_models.save(*tiny_models.qwen2_5_vl(), folder / "tiny-vlm")
    yield
    for name in ("tiny-vlm", "words"):
        table = pl.read_parquet(folder / "scores" / f"{name}.parquet")
        assert len(table) == 8 and table["prompt_score"].is_between(1, 5).all()
    table = pl.read_parquet(folder / "scores" / "soft-tifa.parquet")
    assert len(table) == 8 and table["prompt_score"].is_between(0, 1).all()


@contextmanager
def foreign_metrics(folder: Path) -> Iterator[None]:
    """Has a build, and a metric in place of the one with 11 billion parameters."""
    build_exact(folder / "runs" / "syn", checks=12, images=1, size=64, audit_checks=0, progress=False)
    (folder / "t2v_metrics.py").write_text(T2V_METRICS, "utf-8")
    yield
    table = pl.read_parquet(folder / "scores" / "vqascore-flant5-xxl.parquet")
    assert len(table) == 24 and table["prompt_score"].n_unique() > 12
    assert table["prompt_score"].null_count() == table["contrast_score"].null_count() == 0


@contextmanager
def crocscore(folder: Path) -> Iterator[None]:
    """Has trained two models, as the shipped one, and finds the figures of the page again."""
    from crocscore.model import WEIGHTS

    syn = folder / "runs" / "syn"
    splits = {"train": 0.3, "validation": 0.4, "test": 0.3}
    options = {"splits": splits, "allocation": "subsets", "audit_checks": 0, "progress": False}
    build_exact(syn, checks=60, images=1, size=96, **options)
    build_train(syn, folder / "runs" / "questions", progress=False)
    for name in ("crocscore", "mine"):
        shutil.copytree(WEIGHTS, folder / "runs" / name)
    yield
    page = (ROOT / "docs" / "small_models.md").read_text("utf-8")
    shown = re.search(r"\*\*Other images\.\*\* .*?\n\n", page + "\n", re.DOTALL)
    assert shown
    figures = [float(number.replace("−", "-")) for number in re.findall(r"−?\d\.\d\d", shown[0])]
    found = json.loads((folder / "runs" / "zero-shot" / "zero-shot.json").read_text("utf-8"))
    taus = {one["metric"]: one for one in found["ratings"] if one["kind"] == "kendall"}
    checks, tau = found["checks"], taus[found["scorer"]]
    others = [taus[name]["value"] for name in ("clipscore_vitb32", "tifa_mplug-large")]
    expected = [checks["scaled"], checks["low"], checks["high"], tau["value"], tau["ci_low"], tau["ci_high"]]
    assert figures == pytest.approx([*expected, *others], abs=0.011)
    assert checks["checks"] == 246


@contextmanager
def empty_hub(folder: Path) -> Iterator[Hub]:
    """A Hub with a writer in the organisations of the guide, and nothing on it."""
    with pytest.MonkeyPatch.context() as patch, Hub(folder.parent / "hub") as hub, online(patch):
        hub.users["hf_writer"] = User("tester", ("ORG", "croc", "nllg", "evaluate-metric"))
        yield hub


@contextmanager
def hub_with_checks(folder: Path, checks: int = 240, images: int = 1) -> Iterator[Hub]:
    """A build, and a Hub on which it is published as ``croc/syn``."""
    syn = folder / "runs" / "syn"
    options = {"splits": SPLITS, "allocation": "subsets", "audit_checks": 0, "progress": False}
    build_exact(syn, checks=checks, images=images, size=48, **options)
    with empty_hub(folder) as hub:
        publish("syn", syn, "croc/syn", tag="v1.0.0", endpoint=hub.endpoint, token="hf_writer")
        yield hub


@contextmanager
def own_benchmark(folder: Path) -> Iterator[Hub]:
    """Publishes a benchmark."""
    with empty_hub(folder) as running:
        yield running
        published = running.repos["dataset", "ORG/tableware"]
        assert published.tags["v1.0.0"] == published.head.oid


@contextmanager
def train_your_own(folder: Path) -> Iterator[Hub]:
    """Publishes a model."""
    with empty_hub(folder) as running:
        yield running
        assert "model.safetensors" in running.repos["model", "ORG/crocscore-mine"].head.tree


@contextmanager
def evaluate(folder: Path) -> Iterator[Hub]:
    """Finds the modules of ``evaluate`` and human-verified checks on the Hub."""
    release = released(folder.parent / "release")
    with empty_hub(folder) as running:
        options = {"endpoint": running.endpoint, "token": "hf_writer"}
        for name in ("croc", "crocscore"):
            publish("space", ROOT / "spaces" / name, f"evaluate-metric/{name}", **options)
        made = build_release(release, folder.parent / "hum", progress=False)
        publish("hum", made.out, "croc/hum", **options)
        yield running


@contextmanager
def hub(folder: Path) -> Iterator[Hub]:
    """Has a build, a trained model and the Spaces of the checkout, and may write to ORG."""
    from crocscore.model import WEIGHTS

    shutil.copytree(WEIGHTS, folder / "checkpoints" / "tiny")
    shutil.copytree(ROOT / "spaces", folder / "spaces")
    with hub_with_checks(folder) as running:
        yield running
        assert {kind for kind, repo in running.repos if repo == "ORG/NAME"} == {"dataset", "model", "space"}
        syn = running.repos["dataset", "ORG/NAME"]
        assert syn.private and syn.tags["v1.0.0"] == syn.head.oid
        assert "NAME.py" in running.repos["space", "ORG/NAME"].head.tree


@contextmanager
def spaces(folder: Path) -> Iterator[Hub]:
    """Has a metric, a checkpoint and a picture of their own, and a result to show."""
    from PIL import Image

    from crocscore.model import WEIGHTS

    shutil.copytree(WEIGHTS, folder / "runs" / "my-checkpoint")
    shutil.copytree(ROOT / "spaces", folder / "spaces")
    Image.new("RGB", (96, 96), "red").save(folder / "image.png")
    shutil.copytree(ROOT / "croc" / "sample" / "results", folder / "results")
    (folder / "my_metric.py").write_text(MY_METRIC, "utf-8")
    with hub_with_checks(folder, checks=40) as running:
        yield running
        for name in ("croc", "crocscore"):
            assert f"{name}.py" in running.repos["space", f"ORG/{name}"].head.tree


@contextmanager
def annotation(folder: Path) -> Iterator[Hub]:
    """Has a build to take a sample of, and the Space of the checkout."""
    shutil.copytree(ROOT / "spaces" / "annotate", folder / "spaces" / "annotate")
    with hub_with_checks(folder, checks=20, images=2) as running:
        yield running
        for name in ("candidates", "votes"):
            assert running.repos["dataset", f"ORG/{name}"].private
        assert ("space", "ORG/annotate") in running.repos
        assert len(pl.read_parquet(folder / "votes.parquet")) > 100
        assert "Label noise measured by annotators" in (folder / "runs" / "syn" / "README.md").read_text(
            "utf-8"
        )


@contextmanager
def datasets(folder: Path) -> Iterator[Hub]:
    """Finds a release in the form of the authors' on the Hub."""
    from huggingface_hub import HfApi

    release = released(folder.parent / "release")
    with hub_with_checks(folder) as running:
        api = HfApi(endpoint=running.endpoint, token="hf_writer")
        api.create_repo("nllg/croc_hum", repo_type="dataset")
        api.upload_folder(folder_path=release, repo_id="nllg/croc_hum", repo_type="dataset")
        yield running
        for name in ("hum", "nlvr", "train"):
            assert verify(folder / "runs" / name) == []
