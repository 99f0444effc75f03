"""The small models without torch: the graphs score as torch does, and graphs that do not fit are refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from croc.checks.decoding import decode
from croc.errors import InputError
from croc_syn.world import draw
from crocscore import graphs
from crocscore.graphs import DESCRIPTION, IMAGE, TEXT, read_weights
from crocscore.model import WEIGHTS, CROCScore, GraphCROCScore
from crocscore.probes import load_probes
from crocscore.scorers import DUAL, crocscore, crocscore_dual

FOLDERS = {crocscore: WEIGHTS, crocscore_dual: DUAL}
SAMPLE = Path(__file__).parents[2] / "croc" / "syn"

WITHOUT_TORCH = """
import sys

class WithoutTorch:  # as if the packages were not installed
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "accelerate", "safetensors", "onnx"):
            return None
        return self.finder.find_spec(name, path, target)

sys.meta_path[:] = [WithoutTorch(finder) for finder in sys.meta_path]
"""


def pairs(count: int) -> tuple[list[Image.Image], list[str]]:
    """Pairs of the probes: two texts for each drawing."""
    probes = load_probes()[:: len(load_probes()) * 2 // count]
    images = [decode(draw(probe.draw, 1).png) for probe in probes[: count // 2]]
    texts = [text for probe in probes for text in (probe.true_text, probe.false_text)]
    return [image for image in images for _ in range(2)], texts[:count]


def copied(folder: Path, to: Path) -> Path:
    to.mkdir()
    for file in folder.glob("*"):
        if file.suffix in (".onnx", ".json", ".jinja", ".safetensors"):
            shutil.copyfile(file, to / file.name)
    return to


def changed(file: Path, change: Any) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize("count", [24, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("make", FOLDERS)
def test_margins_are_those_of_torch(make: Any, count: int) -> None:
    images, texts = pairs(count)
    assert len(images) == len(texts) == count
    with_torch = make(runtime="torch", device="cpu", dtype="float32").score(images, texts)
    scores = make().score(images, texts)
    assert np.abs(scores - with_torch).max() < 1e-4 and np.ptp(scores) > 0.1


def test_prompts_of_one_image_share_its_prefix() -> None:
    images, texts = pairs(12)
    scorer = crocscore()
    apart = scorer.score(images, texts)
    together = scorer.score_images_prompts(images[::2], [texts[i : i + 2] for i in range(0, 12, 2)])
    np.testing.assert_allclose(np.concatenate(together), apart, atol=1e-5)
    assert [len(scores) for scores in together] == [2] * 6
    np.testing.assert_allclose(scorer.score_prompts(images[0], texts[:2]), apart[:2], atol=1e-5)


@pytest.mark.parametrize("prompt", ["<image> a <answer>dog</s>", "Ein Käfer 🐞 …", "a " * 300, "a\ndog"])
def test_prompts_are_read_as_with_torch(prompt: str) -> None:
    graph, torch = crocscore(), crocscore(runtime="torch", device="cpu")
    assert graph._suffix(prompt) == torch._suffix(prompt)
    assert graph.turn(prompt) == torch.turn(prompt)
    assert graph.answer_ids == torch.answer_ids and graph.window == torch.window
    assert graph.truncated([prompt]) == torch.truncated([prompt])
    graph, torch = crocscore_dual(), crocscore_dual(runtime="torch", device="cpu")
    assert graph._ids(prompt) == torch._ids(prompt) and graph.window == torch.window


def test_pixels_are_those_of_the_processor_of_transformers() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 250, 3), dtype=np.uint8))
    processor = crocscore(runtime="torch", device="cpu").checkpoint.processor.image_processor
    expected = processor(images=[image], return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(crocscore().checkpoint.pixel_values([image]), expected, atol=1e-6)


def test_all_scales_and_explanations_work() -> None:
    image = decode(draw("only a red dog", 1).png)
    graph, torch = crocscore(), crocscore(runtime="torch", device="cpu")
    prompts = ["a red dog", "a blue dog"]
    for options in ({"probability": True}, {"paper": True}):
        found = graph.score([image] * 2, prompts, **options)
        np.testing.assert_allclose(found, torch.score([image] * 2, prompts, **options), atol=1e-4)
    found, expected = (scorer.explain(image, "a red dog and no cat") for scorer in (graph, torch))
    assert [clause.text for clause in found.clauses] == [clause.text for clause in expected.clauses]
    assert found.worst.margin == pytest.approx(expected.worst.margin, abs=1e-4)
    assert graph.image_features([image]).shape == (1, 101, 192)


def test_the_signature_names_the_runtime() -> None:
    graph, torch = crocscore().fields(), crocscore(runtime="torch", device="cpu").fields()
    assert graph["runtime"].startswith("onnxruntime ") and "runtime" not in torch
    assert {key: value for key, value in graph.items() if key != "runtime"} == torch


def test_an_option_that_needs_torch_takes_torch() -> None:
    assert isinstance(CROCScore.from_pretrained(), GraphCROCScore)
    assert not isinstance(CROCScore.from_pretrained(image_processor="pil"), GraphCROCScore)
    with pytest.raises(InputError, match="device='cuda' needs runtime=torch"):
        crocscore(runtime="onnx", device="cuda")
    with pytest.raises(InputError, match="formula='logit' needs runtime=torch"):
        crocscore_dual(runtime="onnx", formula="logit")
    with pytest.raises(InputError, match="runtime 'jax' is unknown: use one of onnx, torch"):
        crocscore(runtime="jax")


def test_a_folder_without_graphs_takes_torch(tmp_path: Path) -> None:
    folder = copied(WEIGHTS, tmp_path / "model")
    (folder / DESCRIPTION).unlink()
    assert not isinstance(CROCScore.from_pretrained(folder), GraphCROCScore)
    with pytest.raises(InputError, match=r"has no graphs.*graph_export"):
        CROCScore.from_pretrained(folder, runtime="onnx")


def another_layer(folder: Path) -> None:
    changed(folder / "config.json", lambda config: config["text_config"].update(num_attention_heads=3))


def another_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("<image> Look! {{ messages }}")


def another_size(folder: Path) -> None:
    changed(
        folder / "processor_config.json",
        lambda config: config["image_processor"]["size"].update(width=96, height=96),
    )


def another_graph(folder: Path) -> None:
    shutil.copyfile(DUAL / IMAGE, folder / IMAGE)


def no_graph(folder: Path) -> None:
    (folder / TEXT).unlink()


def another_version(folder: Path) -> None:
    changed(folder / DESCRIPTION, lambda found: found.update(format=0))


def fewer_weights(folder: Path) -> None:
    rewritten(folder, lambda name, values: None if "gate_proj" in name else values)


def other_shapes(folder: Path) -> None:
    rewritten(folder, lambda name, values: values[:, :-1] if "o_proj" in name else values)


def other_weights(folder: Path) -> None:
    shutil.copyfile(DUAL / "model.safetensors", folder / "model.safetensors")


def rewritten(folder: Path, change: Any) -> None:
    from safetensors.numpy import load_file, save_file

    file = folder / "model.safetensors"
    found = {name: change(name, values) for name, values in load_file(file).items()}
    save_file({n: np.ascontiguousarray(v) for n, v in found.items() if v is not None}, file)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (another_layer, "another architecture, template or image size"),
        (another_template, "another architecture, template or image size"),
        (another_size, "another architecture, template or image size"),
        (another_graph, "image.onnx is not the graph that graphs.json describes"),
        (no_graph, "text.onnx is not the graph that graphs.json describes"),
        (another_version, "graphs.json is of another version"),
        (fewer_weights, "lacks the weight model.language_model.layers.0.mlp.gate_proj.weight"),
        (other_shapes, "has the shape [192, 191] of the weight"),
        (other_weights, "lacks the weight model."),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_graphs_that_do_not_fit_their_folder_are_refused(tmp_path: Path, damage: Any, message: str) -> None:
    folder = copied(WEIGHTS, tmp_path / "model")
    damage(folder)
    with pytest.raises(InputError) as refused:
        CROCScore.from_pretrained(folder).score([Image.new("RGB", (32, 32))], ["a dog"])
    assert message in str(refused.value) and "graph_export" in str(refused.value)


def test_weights_that_were_trained_further_need_no_new_graphs(tmp_path: Path) -> None:
    folder = copied(WEIGHTS, tmp_path / "model")
    rewritten(folder, lambda name, values: (values * 1.01).astype(values.dtype))
    images, texts = pairs(4)
    scores = CROCScore.from_pretrained(folder).score(images, texts)
    expected = CROCScore.from_pretrained(folder, runtime="torch", device="cpu").score(images, texts)
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    assert np.abs(scores - crocscore().score(images, texts)).max() > 0.01


@pytest.mark.parametrize("folder", FOLDERS.values(), ids=lambda folder: folder.name)
def test_the_graphs_hold_no_weights(folder: Path) -> None:
    onnx = pytest.importorskip("onnx")
    weights = read_weights(folder / "model.safetensors")
    used = set()
    for name in (IMAGE, TEXT):
        assert (folder / name).stat().st_size < 150_000
        for tensor in onnx.load(folder / name, load_external_data=False).graph.initializer:
            assert tensor.data_location == onnx.TensorProto.EXTERNAL and not tensor.raw_data
            assert list(tensor.dims) == list(weights[tensor.name].shape)
            used.add(tensor.name)
    assert set(weights) - used <= {"logit_scale"}


@pytest.mark.slow
@pytest.mark.parametrize("make", FOLDERS)
def test_an_exported_folder_scores_as_before(tmp_path: Path, make: Any) -> None:
    pytest.importorskip("onnx")
    from crocscore.graph_export import main

    folder = copied(FOLDERS[make], tmp_path / "model")
    for file in (IMAGE, TEXT, DESCRIPTION):
        (folder / file).unlink()
    assert main([str(folder)]) == 0
    images, texts = pairs(8)
    scores = make(model=folder, runtime="onnx").score(images, texts)
    np.testing.assert_allclose(scores, make().score(images, texts), atol=1e-5)


def test_a_folder_without_a_model_cannot_be_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx")
    from crocscore.graph_export import main

    assert main([str(tmp_path)]) == 2
    assert re.fullmatch(r"error: .*no config\.json: not a model\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a safetensors file"),
        (b"\xff" * 64, "not a safetensors file"),
        ((4).to_bytes(8, "little") + b"[[[[", "not JSON"),
        ({"w": {"dtype": "F16", "shape": [2], "data_offsets": [0, 99]}}, "the weight w is damaged"),
        ({"w": {"dtype": "F16", "shape": [4], "data_offsets": [0, 2]}}, "the weight w is damaged"),
        ({"w": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}, "the weight w is I64"),
        ({"w": {"dtype": "F16", "shape": [-1]}}, "w: "),
    ],
)
def test_damaged_weights_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    if isinstance(content, dict):
        header = json.dumps(content).encode()
        content = len(header).to_bytes(8, "little") + header + b"\0" * 8
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_weights(file)


def test_weights_are_read_as_by_the_library() -> None:
    from safetensors.numpy import load_file

    expected = load_file(WEIGHTS / "model.safetensors")
    found = read_weights(WEIGHTS / "model.safetensors")
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values.astype(np.float32))


def test_pixel_settings_of_another_kind_are_refused() -> None:
    with pytest.raises(InputError, match="do_center_crop must be false for a graph"):
        graphs.pixel_settings(
            {"do_resize": True, "do_rescale": True, "do_normalize": True, "do_center_crop": True}, "file"
        )


def without_torch(code: str, *arguments: str) -> str:
    """What a program prints in which torch and transformers cannot be imported."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH + code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_croc_score_runs_without_torch(tmp_path: Path) -> None:
    command = [
        "score",
        str(SAMPLE),
        "--scorer",
        "crocscore",
        "--scorer",
        "crocscore-dual",
        "--max-checks",
        "2",
    ]
    code = "from croc.cli import main; main(prog_name='croc')"
    tables = without_torch(code, *command, "--out", str(tmp_path)).split()
    assert len(tables) == 2
    import polars as pl

    for table in tables:
        found = pl.read_parquet(table)
        assert len(found) > 0 and found["prompt_score"].is_finite().all() and found["error"].is_null().all()


def test_without_torch_other_runtimes_say_what_is_missing() -> None:
    code = """
from croc.errors import MissingExtra
from crocscore.model import CROCScore
try:
    CROCScore.from_pretrained(runtime="torch")
except MissingExtra as error:
    print(error)
"""
    assert "croc-t2i[score]" in without_torch(code)
