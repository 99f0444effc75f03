"""Crops, tokens and turns of Phi-4-multimodal, against its published processor and that of transformers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import microsoft_phi4 as microsoft
import numpy as np
import pytest
import torch
from PIL import Image

from croc.errors import InputError
from croc.scorers.pairs import UnscoredPairs
from croc.scorers.phi4_multimodal.importing import import_checkpoint
from croc.scorers.phi4_multimodal.processor import build_processor, crops, image_processor_class
from croc.scorers.yes_no import YesNo


def picture(size: tuple[int, int], seed: int = 0) -> Image.Image:
    shape = (max(2, size[1] // 16), max(2, size[0] // 16), 3)
    blocks = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC)


# Width and height; height and width of the grid; tokens. The last two are what transformers 5.23 and steps
# of Microsoft's processing_phi4mm.py give with torchvision 0.28.
SIZES = [
    ((1024, 1024), (1344, 1344), 2625),
    ((640, 480), (896, 896), 1065),
    ((300, 900), (1344, 448), 1089),
    ((2000, 1000), (1344, 2240), 3513),
    ((448, 448), (448, 448), 545),
    ((5000, 900), (1344, 5376), 7028),
    ((90, 3000), (3136, 448), 833),
    ((3000, 3000), (2688, 2688), 9585),
    ((37, 50), (448, 448), 481),
]


@pytest.mark.parametrize(
    ("size", "grid", "tokens"), SIZES, ids=lambda value: "x".join(map(str, np.ravel(value)))
)
def test_an_image_is_cut_as_published(size, grid, tokens):
    image = picture(size)
    found = crops(image)
    height, width = found.size
    assert (found.size, found.tokens) == (grid, tokens)
    scale = min(width / size[0], height / size[1])
    inner = (
        (width, int(size[1] * scale))
        if width / size[0] < height / size[1]
        else (int(size[0] * scale), height)
    )
    whole = np.full((height, width, 3), 255, np.uint8)
    whole[: inner[1], : inner[0]] = np.asarray(image.resize(inner, Image.Resampling.BILINEAR))
    values = (whole.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    cut = [
        values[top : top + 448, left : left + 448].transpose(2, 0, 1)
        for top in range(0, height, 448)
        for left in range(0, width, 448)
    ]
    assert found.pixels.shape == (1 + len(cut), 3, 448, 448)
    assert np.array_equal(found.pixels[1:].numpy(), np.stack(cut))
    # A patch of 14 pixels that is padding as a whole is masked, counted from the far end.
    shown = np.ones((height // 14, width // 14), np.float32)
    shown[height // 14 - (height - inner[1]) // 14 :] = 0
    shown[:, width // 14 - (width - inner[0]) // 14 :] = 0
    masks = [
        shown[top : top + 32, left : left + 32]
        for top in range(0, height // 14, 32)
        for left in range(0, width // 14, 32)
    ]
    assert np.array_equal(found.mask[1:].numpy(), np.stack(masks))
    assert found.mask[0].min() == 1
    # The whole image is interpolated from the grid (PyTorch's bicubic, without antialiasing).
    small = torch.nn.functional.interpolate(
        torch.from_numpy(values).permute(2, 0, 1)[None], size=(448, 448), mode="bicubic"
    )
    assert torch.equal(found.pixels[0], small[0])


def test_images_of_different_grids_are_padded_to_one_batch():
    processor = image_processor_class()()
    images = [picture((448, 448)), picture((640, 480), 1)]
    found = processor(images, return_tensors="pt")
    assert found["image_pixel_values"].shape == (2, 5, 3, 448, 448)
    assert found["image_sizes"].tolist() == [[448, 448], [896, 896]]
    assert found["num_img_tokens"].tolist() == [545, 1065]
    assert not found["image_pixel_values"][0, 2:].any() and found["image_attention_mask"][0, 2:].min() == 1
    assert torch.equal(found["image_pixel_values"][1], crops(images[1]).pixels)
    fewer = processor(images[1:], dynamic_hd=1, return_tensors="pt")
    assert fewer["image_sizes"].tolist() == [[448, 448]]


def test_it_is_saved_under_the_name_that_transformers_knows(tmp_path):
    image_processor_class()(dynamic_hd=9).save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert stored["image_processor_type"] == "Phi4MultimodalImageProcessor"
    assert (stored["dynamic_hd"], stored["patch_size"], stored["size"]) == (
        9,
        14,
        {"height": 448, "width": 448},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("phi4")
    microsoft.write(home / "raw")
    return import_checkpoint(home / "raw", home / "imported", progress=False)


@pytest.fixture(scope="module")
def scorer(folder):
    return YesNo(folder, device="cpu")


TURN = "<|user|><|endoftext10|> a dog?<|end|><|assistant|>"


def test_turns_are_lists_or_texts(scorer):
    processor = scorer.checkpoint.processor
    parts = [{"type": "image"}, {"type": "text", "text": " a dog?"}]
    for content in (parts, "<|endoftext10|> a dog?"):
        turn = [{"role": "user", "content": content}]
        assert processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False) == TURN
        ended = processor.apply_chat_template(turn, tokenize=False)
        assert ended == TURN.removesuffix("<|assistant|>") + "<|endoftext|>"
    audio = [{"role": "user", "content": [{"type": "audio"}]}]
    assert processor.apply_chat_template(audio, tokenize=False).startswith("<|user|><|endoftext11|><|end|>")


def test_tokens_are_those_of_the_stored_tokenizer(scorer):
    tokenizer, stored = scorer.checkpoint.processor.tokenizer, microsoft.tokenizer()
    for text in ("Does this image show Yes or No? Ünïcode", TURN, "  two  spaces\n"):
        assert tokenizer(text, add_special_tokens=False).input_ids == stored.encode(text).ids
    assert (tokenizer.image_token_id, tokenizer.audio_token_id) == (200010, 200011)
    assert tokenizer.pad_token == tokenizer.eos_token == "<|endoftext|>"


def test_the_number_of_crops_can_be_chosen_and_is_signed(folder):
    scorer = YesNo(folder, device="cpu", processor_options={"dynamic_hd": 4})
    _, (head,) = scorer._read_images([picture((64, 64))])
    assert head.count(200010) == crops(picture((1024, 1024)), 4).tokens
    assert scorer.fields()["processor_options"] == "dynamic_hd=4"
    with pytest.raises(InputError, match="has no option 'dynamic_hq': did you mean dynamic_hd"):
        YesNo(folder, device="cpu", processor_options={"dynamic_hq": 4}).fields()


def test_an_image_that_is_too_thin_is_a_pair_without_a_score(folder):
    scorer = YesNo(folder, device="cpu", image_size=(40000, 10))
    with pytest.raises(UnscoredPairs) as refused:
        scorer.score([picture((20, 20))], ["a dog"])
    assert "the aspect ratio is too extreme: the image would have 16128×4 pixels" in refused.value.reasons[0]


def test_a_tokenizer_without_the_tokens_of_a_turn_is_refused(tmp_path):
    made = microsoft.tokenizer()
    content = json.loads(made.to_str())
    content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] != "<|user|>"]
    del content["model"]["vocab"]["<|user|>"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"tokenizer\.json has no token <\|user\|>, which"):
        build_processor(tmp_path / "tokenizer.json", {})


# Beside a torch for CPUs, torchvision imports only after its operators are declared, so it needs its own
# folder: pip install --no-deps --target FOLDER torchvision, then CROC_TORCHVISION=FOLDER.
_IN_TORCHVISION = """
import sys
import numpy as np
import torch
operators = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    operators.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
sys.path.append(sys.argv[1])
from PIL import Image
from torchvision.transforms import functional
from transformers import Phi4MultimodalImageProcessor
from croc.scorers.phi4_multimodal.processor import crops, image_processor_class
from croc.scorers.yes_no import YesNo

theirs, ours = Phi4MultimodalImageProcessor(), image_processor_class()()
for width, height in ((1024, 1024), (640, 480), (2000, 1000), (90, 3000), (3000, 3000)):
    blocks = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    image = Image.fromarray(blocks).resize((width, height))
    mine, other = ours(image, return_tensors="pt"), theirs(image, return_tensors="pt")
    assert mine.keys() == other.keys()
    for key in ("image_sizes", "image_attention_mask", "num_img_tokens"):
        assert torch.equal(torch.as_tensor(mine[key]), torch.as_tensor(other[key])), key
    # Two grey levels of 255: torchvision resizes tensors, Microsoft's code images.
    assert (mine["image_pixel_values"] - other["image_pixel_values"]).abs().max() < 0.016
    found = crops(image)
    rows, columns = found.size
    inner = min(columns / width, rows / height)
    size = (int(height * inner), columns) if columns / width < rows / height else (rows, int(width * inner))
    resized = functional.resize(image, size)
    padded = functional.pad(resized, [0, 0, columns - size[1], rows - size[0]], fill=[255, 255, 255])
    pixels = functional.normalize(functional.to_tensor(padded), (0.5,) * 3, (0.5,) * 3)
    cut = [part for row in pixels.split(448, 1) for part in row.split(448, 2)]
    assert torch.equal(found.pixels[1:], torch.stack(cut)), (width, height)
scorer = YesNo(sys.argv[2], device="cpu", image_processor="torchvision")
assert scorer.fields()["image_processor"] == "torchvision"
encoded, (head,) = scorer._read_images([image])
assert head.count(200010) == 2625
"""


def test_crops_are_those_of_transformers_and_microsoft_with_torchvision(folder):
    private = os.environ.get("CROC_TORCHVISION")
    if not private:
        pytest.skip("needs CROC_TORCHVISION: a folder with torchvision, see the comment above")
    paths = os.pathsep.join([str(Path(__file__).parents[4]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", _IN_TORCHVISION, private, str(folder)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
