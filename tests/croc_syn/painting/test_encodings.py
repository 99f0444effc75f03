"""Prompts encoded once, guidance and negative prompts, with tiny random pipelines of diffusers' own classes.

The reference is the pipeline itself, called as its model card calls it: one prompt, one image.
"""

from __future__ import annotations

import inspect
import logging
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

import tiny_pipelines as tiny  # noqa: E402

from croc_syn.painting import ImageRequest  # noqa: E402
from croc_syn.painting.encodings import ENCODINGS, NEGATIVE, PromptEncoder  # noqa: E402
from croc_syn.painting.pipelines import PipelinePainter  # noqa: E402
from croc_syn.painting.settings import ImageModel, Pipeline, known_models  # noqa: E402

PROMPTS = ("two red dogs", "three red dogs, and no cat", "a cat")
REQUESTS = [ImageRequest(prompt, seed) for prompt in PROMPTS for seed in (0, 1)]
NO_CATS = "a green cat on a table"
THREE_LAYERS = {"text_encoder_out_layers": (0, 1, 2)}
NO_BINS = {"use_resolution_binning": False}
SHORT = {**NO_BINS, "complex_human_instruction": ["Draw: "]}

# For each class: the pipeline, its tokens of text, what its call needs beside the prompt at this size, and
# the name of its guidance.
CASES: dict[str, tuple[Any, int, dict[str, Any], str]] = {
    "FluxPipeline": (tiny.flux, 16, {}, "guidance_scale"),
    "Flux2Pipeline": (tiny.flux2, 40, THREE_LAYERS, "guidance_scale"),
    "Flux2KleinPipeline": (tiny.klein, 64, THREE_LAYERS, "guidance_scale"),
    "QwenImagePipeline": (tiny.qwen_image, 300, {}, "true_cfg_scale"),
    "SanaPipeline": (tiny.sana, 16, SHORT, "guidance_scale"),
    "SanaSprintPipeline": (tiny.sana_sprint, 16, SHORT, "guidance_scale"),
    "StableDiffusion3Pipeline": (tiny.sd3, 16, {}, "guidance_scale"),
    "ZImagePipeline": (tiny.z_image, 64, {}, "guidance_scale"),
}
WITH_NEGATIVE = ("QwenImagePipeline", "SanaPipeline", "StableDiffusion3Pipeline", "ZImagePipeline")
"""Classes whose call takes a negative prompt that acts with ``guidance_scale`` or ``true_cfg_scale``."""


def size_of(kind: str) -> int:
    return 32 if kind.startswith("Sana") else 16


def painter_of(kind: str, *, pipe: Any = None, batch_size: int = 4, **more: Any) -> PipelinePainter:
    make, tokens, call, _ = CASES[kind]
    given = {"name": "tiny", "model": "org/tiny", "steps": 2, "guidance": 4.0, "text_tokens": tokens, **more}
    given["call"] = {**call, **more.get("call", {})}
    size = size_of(kind)
    return PipelinePainter(
        ImageModel(**given), Pipeline(dtype="float32", device="cpu"), size, size, batch_size, pipe or make()
    )


def painted(painter: PipelinePainter, requests: list[ImageRequest] = REQUESTS) -> np.ndarray:
    return np.stack([image.pixels for image in painter.paint(requests)]).astype(int)


def called(kind: str, pipe: Any = None, *, guidance: float = 4.0, **more: Any) -> np.ndarray:
    """The images of the pipeline itself, called once for each of ``REQUESTS``."""
    make, tokens, call, name = CASES[kind]
    pipe = pipe or make()
    pipe.set_progress_bar_config(disable=True)
    images = [
        pipe(
            prompt=request.prompt,
            num_inference_steps=2,
            max_sequence_length=tokens,
            width=size_of(kind),
            height=size_of(kind),
            generator=torch.Generator("cpu").manual_seed(request.seed),
            output_type="np",
            **{name: guidance, **call, **more},
        ).images[0]
        for request in REQUESTS
    ]
    return np.rint(np.stack(images) * 255).astype(int)


def texts_read(pipe: Any) -> dict[str, int]:
    """How many texts each text encoder is given from now on."""
    seen: dict[str, int] = {}
    for name, part in pipe.components.items():
        if name.startswith("text_encoder") and part is not None:
            seen[name] = 0

            def count(_: Any, args: Any, given: Any, name: str = name) -> None:
                seen[name] += len(args[0] if args else given["input_ids"])

            part.register_forward_pre_hook(count, with_kwargs=True)
    return seen


def own_negative(kind: str) -> dict[str, Any]:
    """Qwen-Image has guidance only with a negative prompt; its card's is a space."""
    return {NEGATIVE: " "} if kind == "QwenImagePipeline" else {}


@pytest.mark.parametrize("kind", CASES)
def test_prompts_encoded_once_in_batches_give_the_images_of_the_pipeline_itself(kind: str) -> None:
    expected = called(kind, **own_negative(kind))
    painter = painter_of(kind)
    seen = texts_read(painter.pipe)
    assert np.abs(painted(painter) - expected).max() <= 1
    assert np.abs(painted(painter_of(kind, batch_size=1)) - expected).max() <= 1
    # Another prompt and another seed are seen at this tolerance.
    assert np.abs(expected[0] - expected[2]).max() > 1
    assert np.abs(expected[0] - expected[1]).max() > 1
    # Each prompt once; the negative prompt once, or once for each prompt of the first batch.
    negative = {"QwenImagePipeline": 1, "Flux2KleinPipeline": 1}.get(kind, 3 if kind in WITH_NEGATIVE else 0)
    assert set(seen.values()) == {3 + negative}
    list(painter.paint([ImageRequest("a blue vase", 7), ImageRequest("a blue vase", 8)]))
    assert set(seen.values()) == {4 + negative}


@pytest.mark.parametrize("kind", CASES)
def test_the_setting_guidance_is_the_guidance_of_the_class(kind: str) -> None:
    strong = painted(painter_of(kind, guidance=9.0))
    assert np.abs(strong - called(kind, guidance=9.0, **own_negative(kind))).max() <= 1
    assert np.abs(strong - painted(painter_of(kind))).max() > 1


@pytest.mark.parametrize("kind", WITH_NEGATIVE)
def test_a_negative_prompt_acts_on_every_image_of_a_batch(kind: str) -> None:
    images = painted(painter_of(kind, call={NEGATIVE: NO_CATS}, batch_size=6))
    assert np.abs(images - called(kind, negative_prompt=NO_CATS)).max() <= 1
    without = painted(painter_of(kind, batch_size=6))
    assert all(np.abs(one - other).max() > 1 for one, other in zip(images, without, strict=True))


def test_klein_takes_a_negative_prompt_that_its_call_does_not_have() -> None:
    kind = "Flux2KleinPipeline"
    pipe = tiny.klein()
    embeds, _ = pipe.encode_prompt(NO_CATS, max_sequence_length=64, **THREE_LAYERS)
    images = painted(painter_of(kind, call={NEGATIVE: NO_CATS}))
    assert np.abs(images - called(kind, pipe, negative_prompt_embeds=embeds)).max() <= 1
    assert np.abs(images - called(kind)).max() > 1


def test_the_classifier_free_guidance_of_flux_1_is_an_argument_of_its_call() -> None:
    kind = "FluxPipeline"
    call = {NEGATIVE: NO_CATS, "true_cfg_scale": 5.0}
    images = painted(painter_of(kind, call=call))
    assert np.abs(images - called(kind, **call)).max() <= 1
    assert np.abs(images - called(kind)).max() > 1


@pytest.mark.parametrize(
    ("kind", "off", "pipe"),
    [
        ("QwenImagePipeline", 1.0, None),
        ("SanaPipeline", 1.0, None),
        ("ZImagePipeline", 0.0, None),
        ("Flux2KleinPipeline", 4.0, tiny.klein(distilled=True)),
        ("Flux2Pipeline", 4.0, None),
        ("SanaSprintPipeline", 4.5, None),
    ],
)
def test_without_guidance_no_negative_prompt_is_encoded_and_a_given_one_is_warned_of(
    kind: str, off: float, pipe: Any, caplog: pytest.LogCaptureFixture
) -> None:
    painter = painter_of(kind, guidance=off, call={NEGATIVE: NO_CATS}, pipe=pipe)
    seen = texts_read(painter.pipe)
    with caplog.at_level(logging.WARNING):
        images = painted(painter)
    assert "tiny: negative_prompt has no effect, because guidance is off" in caplog.text
    assert set(seen.values()) == {3}
    assert np.array_equal(images, painted(painter_of(kind, guidance=off, pipe=pipe)))


def test_guidance_below_one_acts_where_the_class_says_so() -> None:
    # Z-Image adds guidance to the prediction: 0 is none, not 1.
    images = painted(painter_of("ZImagePipeline", guidance=0.5))
    assert np.abs(images - called("ZImagePipeline", guidance=0.5)).max() <= 1
    assert np.abs(images - painted(painter_of("ZImagePipeline", guidance=0.0))).max() > 1


@pytest.mark.parametrize("instruction", [{}, {"complex_human_instruction": None}])
def test_what_changes_the_encoding_is_passed_on_and_defaults_are_those_of_the_call(
    instruction: dict[str, Any],
) -> None:
    # Sana puts an instruction before the prompt, which encode_prompt by itself would not.
    given = {"name": "tiny", "model": "org/tiny", "steps": 2, "guidance": 4.0, "text_tokens": 16}
    model = ImageModel(**given, call={**NO_BINS, **instruction})
    painter = PipelinePainter(model, Pipeline(dtype="float32", device="cpu"), 32, 32, 1, tiny.sana())
    image = painted(painter, REQUESTS[:1])[0]
    pipe = tiny.sana()
    pipe.set_progress_bar_config(disable=True)
    (expected,) = pipe(
        prompt=REQUESTS[0].prompt,
        num_inference_steps=2,
        guidance_scale=4.0,
        max_sequence_length=16,
        width=32,
        height=32,
        generator=torch.Generator("cpu").manual_seed(REQUESTS[0].seed),
        output_type="np",
        **NO_BINS,
        **instruction,
    ).images
    assert np.abs(image - np.rint(expected * 255)).max() <= 1
    assert np.abs(image - painted(painter_of("SanaPipeline"), REQUESTS[:1])[0]).max() > 1


def test_a_pipeline_that_is_not_listed_gets_the_negative_prompt_for_each_image() -> None:
    kind = "ZImagePipeline"
    pipe = tiny.z_image()
    pipe.__class__ = type("OtherPipeline", (type(pipe),), {})
    images = painted(painter_of(kind, pipe=pipe, call={NEGATIVE: NO_CATS}))
    assert np.abs(images - called(kind, negative_prompt=NO_CATS)).max() <= 1
    # The class itself takes one text for one image only.
    with pytest.raises(AssertionError):
        pipe(prompt=list(PROMPTS), negative_prompt=NO_CATS, num_inference_steps=1, width=16, height=16)


@pytest.mark.parametrize("kind", ENCODINGS)
def test_the_table_names_arguments_that_the_classes_have(kind: str) -> None:
    call = inspect.signature(getattr(diffusers, kind).__call__).parameters
    encoding = ENCODINGS[kind]
    assert {name for name in encoding.returned if name} <= set(call)
    assert {encoding.guidance, *([encoding.scale] if encoding.scale else [])} <= set(call)


# ---- The image models that are listed ----

CLASSES = {
    "flux.1": "FluxPipeline",
    "flux.2-dev": "Flux2Pipeline",
    "flux.2-klein": "Flux2KleinPipeline",
    "qwen-image": "QwenImagePipeline",
    "sana-sprint": "SanaSprintPipeline",
    "sana": "SanaPipeline",
    "sd3.5": "StableDiffusion3Pipeline",
    "z-image": "ZImagePipeline",
}
LISTED = [model for model in known_models().values() if model.backend == "diffusers"]


@pytest.mark.parametrize("model", LISTED, ids=lambda model: model.name)
def test_a_listed_model_is_of_a_class_that_encodes_once_and_takes_its_settings(model: ImageModel) -> None:
    kind = next(kind for name, kind in CLASSES.items() if model.name.startswith(name))
    assert kind in ENCODINGS
    assert set(model.call) - {NEGATIVE} <= set(
        inspect.signature(getattr(diffusers, kind).__call__).parameters
    )
    assert model.steps and model.guidance is not None and model.text_tokens and model.licence and model.cost
    pipe = tiny.klein(distilled="base" not in model.name) if "klein" in model.name else CASES[kind][0]()
    guided = PromptEncoder(pipe, model).guided
    assert guided == model.cost.guided
    assert guided or NEGATIVE not in model.call


def test_which_listed_models_have_no_pinned_revision() -> None:
    assert [model.name for model in LISTED if model.revision is None] == ["sana-sprint"]
