"""Out of the world: the distance against scipy, and what the model of the package says of other images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_models as tiny
from hub_server import Hub, online, use_hub
from PIL import Image

from croc.checks.decoding import decode, to_bytes
from croc.errors import InputError
from croc.scorers.fingerprints import WORLD_FIGURES as FIGURES
from croc.scorers.fingerprints import folder_fingerprint
from croc_syn.world import draw
from crocscore.graphs import IMAGE
from crocscore.model import WEIGHTS, CROCScore
from crocscore.out_of_world import DRAWINGS_ONLY, World, pooled, read_world
from crocscore.probes import load_probes
from crocscore.training.evaluation import remove_results
from crocscore.world_fitting import fit, fit_world

pytest.importorskip("sklearn", reason="fitting needs the extra train")


def scenes(folder: Path, images: int, concepts: int = 40) -> Path:
    """A folder as ``croc build scenes`` writes it, of small pictures."""
    rows = [
        {"image": {"bytes": to_bytes(tiny.picture(n)), "path": None}, "concept_id": f"c{n % concepts}"}
        for n in range(images)
    ]
    (folder / "parts").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows[: images // 2]), folder / "parts" / "000000.parquet")
    pq.write_table(pa.Table.from_pylist(rows[images // 2 :]), folder / "parts" / "000001.parquet")
    return folder


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that knows what random pictures look like."""
    work = tmp_path_factory.mktemp("fitted")
    folder = tiny.save(*tiny.llava(), work / "model")
    before = folder_fingerprint(folder)
    figures = fit_world(folder, [scenes(work / "scenes", 400)], device="cpu")
    assert figures.images + figures.held_out == 400 and figures.held_out >= 100
    assert figures.folders == ["scenes"] and figures.model == before == folder_fingerprint(folder)
    return folder


@pytest.fixture(scope="module")
def shipped() -> CROCScore:
    return CROCScore.from_pretrained()


def test_the_distance_is_that_of_mahalanobis_with_the_covariance_of_ledoit_and_wolf() -> None:
    from scipy.spatial.distance import mahalanobis
    from sklearn.covariance import LedoitWolf

    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5)) + 3.0
    world, shrinkage = fit(features)
    other = LedoitWolf().fit(features)
    assert shrinkage == pytest.approx(other.shrinkage_)
    expected = [mahalanobis(row, features.mean(axis=0), other.precision_) for row in features[:20]]
    np.testing.assert_allclose(world.distance(features[:20]), expected, rtol=5e-3)
    half = World(world.mean, world.whitening, 2.0)
    np.testing.assert_allclose(half.distance(features), world.distance(features) / 2)


def test_features_are_averaged_over_tokens_and_need_a_grid() -> None:
    assert pooled(np.arange(12.0).reshape(1, 3, 4)).tolist() == [[4.0, 5.0, 6.0, 7.0]]
    with pytest.raises(InputError, match="one grid per image"):
        pooled(np.zeros((3, 4)))
    with pytest.raises(InputError, match=r"\(3,\) numbers, those in world.npz 2"):
        World(np.zeros(2), np.eye(2), 1.0).distance(np.zeros((1, 3)))


def test_the_threshold_is_the_quantile_of_images_of_other_concepts(fitted: Path) -> None:
    scorer = CROCScore.from_pretrained(fitted, device="cpu")
    fresh = [tiny.picture(seed) for seed in range(1_000, 1_200)]
    accepted = scorer.in_world(fresh)
    assert accepted is not None and accepted.dtype == bool and accepted.mean() > 0.9
    plain = [Image.new("RGB", (40, 32), colour) for colour in ("white", "black", "red")]
    distance = scorer.world_distance([*plain, *fresh[:3]])
    assert distance is not None and (distance[:3] > 1).all() and distance.shape == (6,)
    assert scorer.in_world([]).shape == (0,)


def test_an_explanation_of_an_image_out_of_the_world_has_a_warning_and_no_probability(fitted: Path) -> None:
    scorer = CROCScore.from_pretrained(fitted, device="cpu", calibration=(0.5, 0.0))
    outside = scorer.explain(Image.new("RGB", (40, 32), "white"), "a red dog and no cat")
    assert outside.warning == DRAWINGS_ONLY and outside.world_distance > 1
    assert outside.probability is None and [clause.probability for clause in outside.clauses] == [None, None]
    assert np.isfinite(outside.margin) and outside.worst in outside.clauses
    inside = scorer.explain(tiny.picture(2_000), "a red dog")
    assert inside.warning is None and inside.world_distance < 1 and 0 < inside.probability < 1


def test_a_model_without_a_world_says_nothing_of_it(tmp_path: Path) -> None:
    folder = tiny.save(*tiny.llava(), tmp_path / "model")
    scorer = CROCScore.from_pretrained(folder, device="cpu", calibration=(0.5, 0.0))
    assert scorer.world_distance([tiny.picture()]) is None and scorer.in_world([tiny.picture()]) is None
    found = scorer.explain(tiny.picture(), "a red dog")
    assert found.world_distance is None and found.warning is None and found.probability is not None


def test_a_world_of_other_weights_is_refused(fitted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(fitted, folder)
    tiny.llava(seed=1)[0].save_pretrained(folder)
    with pytest.raises(InputError, match=r"world.json is of other weights or settings: run croc calibrate"):
        CROCScore.from_pretrained(folder, device="cpu").in_world([tiny.picture()])
    remove_results(folder)
    assert read_world(folder) is None and not list(folder.glob("world.*"))


def test_a_model_on_the_hub_brings_its_world(
    fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import HfApi

    plain = tiny.save(*tiny.llava(), tmp_path / "plain")
    images = [tiny.picture(), Image.new("RGB", (40, 32), "white")]
    with Hub(tmp_path / "files") as hub:
        use_hub(monkeypatch, hub, tmp_path)
        with online(monkeypatch):
            api = HfApi(endpoint=hub.endpoint, token="hf_writer")
            for name, folder in (("fitted", fitted), ("plain", plain)):
                api.create_repo(f"org/{name}")
                api.upload_folder(repo_id=f"org/{name}", folder_path=folder)
            revision = api.model_info("org/fitted").sha
            expected = CROCScore.from_pretrained(fitted, device="cpu").world_distance(images)
            for options in ({"revision": revision}, {}):
                scorer = CROCScore.from_pretrained("org/fitted", device="cpu", **options)
                np.testing.assert_allclose(scorer.world_distance(images), expected)
            assert scorer.in_world(images).tolist() == [True, False]
            assert CROCScore.from_pretrained("org/plain", device="cpu").in_world(images) is None


def test_a_damaged_world_is_refused(fitted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(fitted, folder)
    content = json.loads((folder / FIGURES).read_text())
    (folder / FIGURES).write_text(json.dumps(content | {"sharpness": 1}))
    with pytest.raises(InputError, match="not a description of a model's world: sharpness"):
        read_world(folder)
    (folder / FIGURES).write_text(json.dumps(content))
    (folder / "world.npz").unlink()
    with pytest.raises(InputError, match=r"world.npz"):
        read_world(folder)


@pytest.mark.parametrize(("images", "message"), [(0, "neither parts"), (60, "too few for the world")])
def test_images_that_cannot_be_used_are_refused(
    fitted: Path, tmp_path: Path, images: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        fit_world(fitted, [scenes(tmp_path / "some", images) if images else tmp_path / "none"], device="cpu")


def gradient(first: Any, last: Any, side: int = 160) -> Image.Image:
    share = np.linspace(0, 1, side)[:, None, None]
    rows = np.asarray(first) * (1 - share) + np.asarray(last) * share
    return Image.fromarray(np.broadcast_to(rows, (side, side, 3)).astype(np.uint8))


def photographs() -> list[Image.Image]:
    """Those that other packages have with them."""
    import sklearn

    folder = Path(sklearn.__file__).parent / "datasets" / "images"
    return [decode(file.read_bytes()) for file in sorted(folder.glob("*.jpg"))]


def test_the_model_of_the_package_tells_drawings_from_photographs_and_noise(shipped: CROCScore) -> None:
    drawings = [decode(draw(probe.draw, 3).png) for probe in load_probes()[::5]]
    accepted = shipped.in_world(drawings)
    assert accepted is not None and len(accepted) == 61 and accepted.mean() >= 0.85
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (160, 160, 3), dtype=np.uint8)) for _ in range(3)]
    others = [*photographs(), *noise, gradient((255, 0, 0), (0, 0, 255))]
    assert len(others) == 6 and not shipped.in_world(others).any()


def test_the_distance_does_not_depend_on_the_runtime(shipped: CROCScore) -> None:
    images = [decode(draw("a red dog in a park", 1, size=size).png) for size in (160, 512)]
    with_torch = CROCScore.from_pretrained(runtime="torch", device="cpu")
    np.testing.assert_allclose(shipped.world_distance(images), with_torch.world_distance(images), rtol=1e-3)


def test_sentences_of_people_are_about_other_drawings(shipped: CROCScore, shared_data: Path) -> None:
    files = sorted((shared_data / "nlvr" / "dev" / "images").glob("*.png"))[:40]
    assert shipped.in_world([decode(file.read_bytes()) for file in files]).mean() <= 0.1


def test_the_folder_of_the_package_says_what_its_world_is() -> None:
    assert read_world(WEIGHTS) is not None


def test_an_explanation_reads_the_image_once(shipped: CROCScore, monkeypatch: pytest.MonkeyPatch) -> None:
    image, prompt = decode(draw("a red dog and no cat", 1).png), "a red dog and no cat"
    expected, distance = shipped.score_prompts(image, [prompt]), shipped.world_distance([image])
    run, graphs = shipped.checkpoint.run, []
    monkeypatch.setattr(
        shipped.checkpoint, "run", lambda name, inputs: graphs.append(name) or run(name, inputs)
    )
    found = shipped.explain(image, prompt)
    assert graphs.count(IMAGE) == 1 and len(found.clauses) == 2
    assert found.margin == pytest.approx(expected[0]) and found.world_distance == pytest.approx(distance[0])
