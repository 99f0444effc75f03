"""The paper's own metric: the authors' steps, written out over base weights plus adapter, give our scores."""

from __future__ import annotations

import re
import warnings

import microsoft_phi4 as microsoft
import numpy as np
import pytest
import torch
import transformers as tf
from PIL import Image

from croc.errors import CrocError, InputError
from croc.scorers import registry
from croc.scorers.phi4_multimodal import imported
from croc.scorers.phi4_multimodal.importing import import_checkpoint
from croc.scorers.phi4_multimodal.processor import image_processor_class
from croc.scorers.yes_no import YesNo
from crocscore.model import CROCScore

QUESTION = "Does this image show the following content:'{prompt}'? Answer with Yes or No."
PROMPTS = ["a red dog on the left of a cat", "two blue dogs, and 3 <|user|> signs"]
ADAPTED = re.compile(r"model\.layers\.\d+\.(self_attn\.(qkv|o)_proj|mlp\.(gate_up|down)_proj)")


def picture(seed: int, size: tuple[int, int]) -> Image.Image:
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC)


SMALL = {"device": "cpu", "image_size": (448, 448), "paper": True}
IMAGES = [picture(1, (640, 480)), picture(2, (300, 900))]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("published")


@pytest.fixture(scope="module")
def weights(home):
    """The authors' checkpoint, and the base model that it was trained from."""
    microsoft.write(home / "base", seed=2)
    return microsoft.write(home / "raw", audio=False, with_tokenizer=False)


@pytest.fixture(scope="module")
def folder(home, weights):
    return import_checkpoint(home / "raw", home / "imported", base=home / "base", progress=False)


@pytest.fixture(scope="module")
def scorer(folder):
    return CROCScore.from_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def small(folder):
    """The published scale on one crop of an image: a fifth of the time."""
    return CROCScore.from_pretrained(folder, **SMALL)


class WithAdapter(torch.nn.Module):
    """x → W·x + alpha / r · B·A·x, the adapter beside the weights as Microsoft's code computes it."""

    def __init__(self, plain, a, b):
        super().__init__()
        self.plain, self.a, self.b = plain, a, b

    def forward(self, x):
        return self.plain(x) + microsoft.ALPHA / microsoft.R * (x @ self.a.T @ self.b.T)


@pytest.fixture(scope="module")
def reference(folder, weights):
    """Base weights without the adapter, and the adapter beside them."""
    model = tf.Phi4MultimodalForCausalLM(tf.AutoConfig.from_pretrained(folder))
    model.load_state_dict(tf.Phi4MultimodalForCausalLM.from_pretrained(folder).state_dict())
    for name, layer in list(model.named_modules()):
        if ADAPTED.fullmatch(name):
            layer.weight.data.copy_(weights[f"{name}.base_layer.weight"])
            parent, _, last = name.rpartition(".")
            a, b = (weights[f"{name}.lora_{half}.vision.weight"] for half in "AB")
            setattr(model.get_submodule(parent), last, WithAdapter(layer, a, b))
    return model.eval()


def as_published(model, images, prompts) -> np.ndarray:
    """The steps of metrics/CROCScore.py in the authors' repository (commit a44214c)."""
    tokenizer = microsoft.tokenizer()
    yes, no = tokenizer.token_to_id("Yes"), tokenizer.token_to_id("No")
    seen = image_processor_class()()(
        [image.convert("RGB").resize((1024, 1024), Image.Resampling.LANCZOS) for image in images],
        return_tensors="pt",
    )
    rows = []
    for prompt, count in zip(prompts, seen.pop("num_img_tokens"), strict=True):
        question = QUESTION.format(prompt=prompt.replace("<|", "< |"))
        text = f"<|user|><|endoftext10|> {question}<|end|><|assistant|>"
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        place = ids.index(200010)
        rows.append([*ids[:place], *[200010] * int(count), *ids[place + 1 :]])
    width = max(map(len, rows))
    with torch.no_grad():
        logits = model(
            input_ids=torch.tensor([[199999] * (width - len(row)) + row for row in rows]),
            attention_mask=torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows]),
            logits_to_keep=1,
            **seen,
        ).logits[:, -1, :]
    shares = torch.softmax(logits.double(), dim=-1)
    return (shares[:, yes] - shares[:, no]).numpy()


PLAIN = [prompt.replace("<|", "< |") for prompt in PROMPTS]


def test_scores_are_those_of_base_plus_adapter(scorer, reference, folder):
    expected = as_published(reference, IMAGES, PLAIN)
    found = scorer.score(IMAGES, PLAIN, paper=True)
    assert np.abs(found - expected).max() < 3e-5 * np.ptp(expected)
    # The adapter matters: without it, and without the space before the question, scores are others.
    plain = tf.AutoModelForCausalLM.from_pretrained(folder)
    state = {name: value.weight for name, value in reference.named_modules() if name.endswith(".plain")}
    for name, value in state.items():
        plain.get_submodule(name.removesuffix(".plain")).weight.data.copy_(value)
    without = as_published(plain.eval(), IMAGES[:1], PLAIN[:1])
    assert abs(without[0] / expected[0] - 1) > 0.01
    close = YesNo(folder, device="cpu", paper=True, question=QUESTION).score(IMAGES[:1], PLAIN[:1])
    assert abs(close[0] / expected[0] - 1) > 1e-4


def test_the_prefix_of_an_image_is_computed_once_and_control_tokens_stay_text(scorer, small):
    plain = small.score(IMAGES[:1] * 2, PROMPTS)
    assert small.score_prompts(IMAGES[0], PROMPTS) == pytest.approx(plain, rel=1e-4)
    ids = scorer._suffix(PROMPTS[1])
    assert ids.count(200021) == 0 and ids[-2:] == [200020, 200019]


def test_the_imported_folder_brings_the_published_settings(scorer):
    fields = scorer.fields()
    assert fields["template"] == f" {QUESTION}"
    assert (fields["answers"], fields["image_size"], fields["formula"]) == ("Yes/No", "1024x1024", "margin")
    assert fields["image_processor"] == "pil" and fields["revision"].startswith("local:")
    assert scorer.with_paper(True).fields() == fields | {"formula": "P(Yes)-P(No)"}
    encoded, (head,) = scorer._read_images(IMAGES[:1])
    assert encoded["image_pixel_values"].shape == (1, 10, 3, 448, 448)
    assert head.count(200010) == 2625
    tokenizer = microsoft.tokenizer()
    assert scorer.answer_ids == (tokenizer.token_to_id("Yes"), tokenizer.token_to_id("No"))


def test_a_saved_copy_scores_the_same(small, home):
    small.checkpoint.model.save_pretrained(home / "again")
    small.checkpoint.processor.save_pretrained(home / "again")
    again = CROCScore.from_pretrained(home / "again", **SMALL)
    expected = small.score(IMAGES[:1], PLAIN[:1])
    assert again.score(IMAGES[:1], PLAIN[:1]) == pytest.approx(expected, rel=1e-6)


def test_margins_and_probabilities_are_not_on_the_published_scale(scorer, small):
    published = scorer.with_paper(True)
    with pytest.raises(InputError, match="probability and paper are two scales"):
        published.score(IMAGES[:1], ["a dog"], probability=True)
    assert published.checkpoint is scorer.checkpoint
    explained = small.explain(IMAGES[0], PLAIN[0])
    margin = small.with_paper(False).score(IMAGES[:1], PLAIN[:1])[0]
    assert explained.margin == pytest.approx(margin, abs=1e-4)
    assert abs(margin - small.score(IMAGES[:1], PLAIN[:1])[0]) > 0.1


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The cache of the Hub, with its imports, in a folder of this test."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    return tmp_path


def placed(folder, cache, name, commit, **record):
    """An imported folder at its place in the cache."""
    import json
    import shutil

    target = cache / "croc" / "imported" / name.replace("/", "--") / commit
    shutil.copytree(folder, target)
    content = json.loads((target / "import.json").read_text()) | {
        "source": name,
        "revision": commit,
        **record,
    }
    (target / "import.json").write_text(json.dumps(content))
    return target


COMMIT = "1" * 40


def test_the_names_of_the_paper_stand_for_the_imported_folders(folder, cache, small):
    placed(folder, cache, "nllg/crocscore", COMMIT)
    expected = small.score(IMAGES[:1], PLAIN[:1])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert registry.load("crocscore-paper", device="cpu", image_size=(448, 448)).score(
            IMAGES[:1], PLAIN[:1]
        ) == pytest.approx(expected, rel=1e-9)
    fields = registry.load("crocscore-paper", device="cpu").fields()
    assert (fields["model"], fields["revision"]) == ("nllg/crocscore", COMMIT)
    assert fields["formula"] == "P(Yes)-P(No)"
    ours = CROCScore.from_pretrained("nllg/crocscore", device="cpu", paper=True)
    assert ours.fields() == fields and ours.name == "crocscore"
    placed(folder, cache, imported.BASE, imported.BASE_REVISION)
    untuned = registry.load("phi4-untuned", device="cpu").fields()
    assert (untuned["model"], untuned["revision"]) == (imported.BASE, imported.BASE_REVISION)
    assert untuned["formula"] == "P(Yes)-P(No)"


def test_an_import_with_another_number_format_is_in_the_signature(folder, cache):
    placed(folder, cache, "nllg/crocscore", COMMIT, dtype="float16")
    assert registry.load("crocscore-paper", device="cpu").fields()["weights"] == "imported as float16"


def test_of_several_commits_one_is_chosen(folder, cache):
    for commit in (COMMIT, "2" * 40):
        placed(folder, cache, "nllg/crocscore", commit)
    with pytest.raises(
        InputError, match=rf"several commits .* choose one with revision= \({COMMIT}, 2{{40}}\)"
    ):
        registry.load("crocscore-paper").fields()
    assert registry.load("crocscore-paper", revision=COMMIT).fields()["revision"] == COMMIT


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("crocscore-paper", "croc import-checkpoint nllg/crocscore"),
        ("phi4-untuned", f"croc import-checkpoint {imported.BASE} --revision {imported.BASE_REVISION}"),
    ],
)
def test_without_the_import_the_error_names_the_command(cache, name, command):
    for use in (lambda s: s.fields(), lambda s: s.score(IMAGES[:1], PLAIN[:1])):
        with pytest.raises(CrocError) as refused:
            use(registry.load(name))
        model = registry.info(name).model or "nllg/crocscore"
        assert str(refused.value) == (
            f"{model} has Microsoft's layout of Phi-4-multimodal, which needs code from the Hub: run "
            f"`{command}` once, then use the same name again"
        )


def test_a_folder_in_microsofts_layout_is_refused_with_the_command(home, weights):
    raw = home / "raw"
    with pytest.raises(
        CrocError, match=rf"run `croc import-checkpoint {raw} --out FOLDER` once, then use model"
    ):
        CROCScore.from_pretrained(raw).score(IMAGES[:1], PLAIN[:1])


def test_weights_without_their_adapter_are_for_training_only(home, weights, tmp_path):
    out = import_checkpoint(
        home / "raw", tmp_path / "out", base=home / "base", keep_adapter=True, progress=False
    )
    with pytest.raises(InputError, match="without their adapter, vision-lora, which is for training"):
        YesNo(out, device="cpu").score(IMAGES[:1], PLAIN[:1])
    model = YesNo(out, device="cpu", without_adapter=True).checkpoint.model
    name = "model.layers.0.mlp.down_proj"
    assert torch.equal(model.get_submodule(name).weight, weights[f"{name}.base_layer.weight"])


def test_torchvision_is_named_where_it_is_asked_for_and_absent(folder, monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "torchvision" else found(name, *rest)
    )
    with pytest.raises(
        CrocError, match=r"image_processor=torchvision needs the package torchvision, which is n"
    ):
        YesNo(folder, device="cpu", image_processor="torchvision").fields()
