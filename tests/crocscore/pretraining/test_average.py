"""The mean of the weights of several models, on small models of the real class."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from croc.errors import InputError  # noqa: E402
from crocscore.model import CROCScore  # noqa: E402
from crocscore.pretraining.architectures import build_vlm, train_tokenizer  # noqa: E402
from crocscore.pretraining.average import WEIGHTS, average, main  # noqa: E402


def model(folder: Path, seed: int, texts: tuple[str, ...] = ("a red dog", "two cats in a park")) -> Path:
    torch.manual_seed(seed)
    made, processor = build_vlm(train_tokenizer(list(texts), size=300))
    made.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("models")
    return model(root / "one", 1), model(root / "two", 2)


def test_each_weight_is_the_mean_and_the_first_model_gives_the_rest(models, tmp_path, capsys):
    config = json.loads((models[0] / "config.json").read_text())
    config["croc"] = {"caption": "normalised 1", "calibration": [2.0, 0.5]}
    (models[0] / "config.json").write_text(json.dumps(config))
    (models[0] / "calibration.json").write_text("{}")
    assert main([*map(str, models), "--out", str(tmp_path / "mean")]) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / 'mean'}\n"
    one, two, mean = (load_file(folder / WEIGHTS) for folder in (*models, tmp_path / "mean"))
    assert any(not torch.equal(one[name], two[name]) for name in one)
    for name, value in mean.items():
        assert torch.allclose(value, (one[name] + two[name]) / 2, atol=1e-6)
    assert json.loads((tmp_path / "mean" / "config.json").read_text())["croc"] == {"caption": "normalised 1"}
    assert not (tmp_path / "mean" / "calibration.json").exists()
    image = Image.new("RGB", (160, 160), "red")
    assert np.isfinite(CROCScore(str(tmp_path / "mean")).score([image], ["a red dog"])[0])


def test_the_mean_of_a_model_with_itself_scores_as_the_model(models, tmp_path):
    again = shutil.copytree(models[1], tmp_path / "again")
    mean = average([models[1], again, again], tmp_path / "mean")
    image, prompts = Image.new("RGB", (160, 160), "red"), ["a red dog", "two cats"]
    scores = [CROCScore(str(folder)).score([image, image], prompts) for folder in (models[1], mean)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


def test_models_that_do_not_fit_each_other_are_refused(models, tmp_path, capsys):
    other = model(tmp_path / "other", 3, ("a blue bus", "three ducks at a lake"))
    with pytest.raises(InputError, match="different vocabularies"):
        average([models[0], other], tmp_path / "mean")
    narrow = shutil.copytree(models[0], tmp_path / "narrow")
    weights = load_file(narrow / WEIGHTS)
    from safetensors.torch import save_file

    save_file({name: value[:1].contiguous() for name, value in weights.items()}, narrow / WEIGHTS)
    with pytest.raises(InputError, match="different architectures"):
        average([models[0], narrow], tmp_path / "mean")
    with pytest.raises(InputError, match="two models or more"):
        average(models[:1], tmp_path / "mean")
    with pytest.raises(InputError, match=r"has no model\.safetensors"):
        average([models[0], tmp_path], tmp_path / "mean")
    with pytest.raises(InputError, match="is one of the models"):
        average(models, models[1])
    capsys.readouterr()
    assert main([str(models[0]), str(other), "--out", str(tmp_path / "mean")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "mean").exists()
