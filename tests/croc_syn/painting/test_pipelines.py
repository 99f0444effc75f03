"""diffusers' own pipeline classes as painters, with tiny random parts: text once, seeds decide, memory."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

import tiny_pipelines as tiny  # noqa: E402

from croc.errors import MissingExtra  # noqa: E402
from croc.jobs.parts import Abort  # noqa: E402
from croc_syn.painting import ImageRequest, PaintedImage  # noqa: E402
from croc_syn.painting.pipelines import PipelinePainter, load_pipeline  # noqa: E402
from croc_syn.painting.settings import ImageModel, Pipeline  # noqa: E402

PROMPTS = ("two red dogs", "three red dogs, and no cat")
JOBS = [ImageRequest(prompt, seed) for prompt in PROMPTS for seed in (0, 1, 2)]
FLOAT = Pipeline(dtype="float32", device="cpu")
MAKE = {"flux": tiny.flux, "sd3": tiny.sd3}


def painter_of(
    pipe: Any, *, batch_size: int = 4, settings: Pipeline = FLOAT, **model: Any
) -> PipelinePainter:
    given = {"name": "tiny", "model": "org/tiny", "steps": 2, "guidance": 3.5, "text_tokens": 16, **model}
    return PipelinePainter(ImageModel(**given), settings, 16, 16, batch_size, pipe)


def counted(pipe: Any) -> dict[str, list[int]]:
    """How many texts each text encoder is given, call by call."""
    seen: dict[str, list[int]] = {}
    for name, part in pipe.components.items():
        if name.startswith("text_encoder") and part is not None:
            calls = seen.setdefault(name, [])
            part.register_forward_pre_hook(
                lambda _, args, given, calls=calls: calls.append(
                    len(args[0] if args else given["input_ids"])
                ),
                with_kwargs=True,
            )
    return seen


def pixels(painted: list[PaintedImage]) -> np.ndarray:
    return np.stack([one.pixels for one in painted]).astype(int)


@pytest.mark.parametrize(("name", "guidance", "texts"), [("flux", 3.5, 2), ("sd3", 1.0, 2), ("sd3", 5.0, 4)])
def test_text_encoders_see_each_prompt_once_whatever_the_number_of_seeds(
    name: str, guidance: float, texts: int
) -> None:
    # Stable Diffusion's guidance needs the empty prompt as well, once for each prompt of the first batch.
    pipe = MAKE[name]()
    seen = counted(pipe)
    painter = painter_of(pipe, guidance=guidance)
    assert len(list(painter.paint(JOBS))) == 6
    assert painter.embedded == 2
    assert len(seen) == (2 if name == "flux" else 3)
    assert {sum(calls) for calls in seen.values()} == {texts}
    # Later parts: two texts more, and nothing of the empty prompt.
    list(
        painter.paint(
            [ImageRequest("a green cat", 7), ImageRequest("a blue cat", 7), ImageRequest("a blue cat", 8)]
        )
    )
    assert {sum(calls) for calls in seen.values()} == {texts + 2}


@pytest.mark.parametrize("name", MAKE)
def test_the_images_are_those_of_the_pipeline_called_prompt_by_prompt(name: str) -> None:
    painted = list(painter_of(MAKE[name]()).paint(JOBS))
    plain = MAKE[name]()
    plain.set_progress_bar_config(disable=True)
    for request, one in zip(JOBS, painted, strict=True):
        image = plain(
            prompt=request.prompt,
            num_inference_steps=2,
            guidance_scale=3.5,
            max_sequence_length=16,
            width=16,
            height=16,
            generator=torch.Generator("cpu").manual_seed(request.seed),
            output_type="np",
        ).images[0]
        # One grey level: a batch adds in another order.
        assert np.abs(np.rint(image * 255) - one.pixels).max() <= 1
        assert one.pixels.shape == (16, 16, 3)
        assert (one.flags, one.error) == ([], None)


@pytest.mark.parametrize("name", MAKE)
def test_a_seed_gives_the_same_image_in_every_batch(name: str) -> None:
    pipe = MAKE[name]()
    one = pixels(list(painter_of(pipe, batch_size=1).paint(JOBS)))
    many = pixels(list(painter_of(pipe, batch_size=6).paint(JOBS)))
    assert np.abs(one - many).max() <= 1
    assert np.abs(one[0] - one[1]).max() > 1  # another seed
    assert np.abs(one[0] - one[3]).max() > 0  # another prompt
    again = pixels(list(painter_of(pipe, batch_size=6).paint(JOBS)))
    assert np.array_equal(many, again)


def test_memory_that_runs_out_halves_the_batch_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    pipe = tiny.flux()
    sizes = []
    real = type(pipe.transformer).forward

    def small(self: Any, hidden_states: Any, **given: Any) -> Any:
        sizes.append(len(hidden_states))
        if len(hidden_states) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return real(self, hidden_states, **given)

    pipe.transformer.forward = small.__get__(pipe.transformer)
    painter = painter_of(pipe, batch_size=6)
    with caplog.at_level(logging.WARNING):
        painted = list(painter.paint(JOBS))
    assert len(painted) == 6 and all(one.error is None for one in painted)
    assert painter.batch_size == 1 or painter.batch_size == 2
    assert "tiny: out of memory with batches of 6, continuing with 3" in caplog.text
    # Nothing was painted twice or in another order.
    assert np.abs(pixels(painted) - pixels(list(painter_of(tiny.flux()).paint(JOBS)))).max() <= 1


def test_memory_that_does_not_hold_a_single_image_stops_the_run() -> None:
    pipe = tiny.flux()

    def full(*_: Any, **__: Any) -> Any:
        raise RuntimeError("MPS backend out of memory (MPS allocated: 17.9 GB)")

    pipe.transformer.forward = full
    with pytest.raises(Abort, match=r"tiny: out of memory with a single image; offload, quantise, or a"):
        list(painter_of(pipe).paint(JOBS))


def test_an_error_that_is_not_of_memory_is_not_hidden() -> None:
    pipe = tiny.flux()
    pipe.transformer.forward = lambda *_, **__: 1 / 0
    with pytest.raises(ZeroDivisionError):
        list(painter_of(pipe).paint(JOBS))


@pytest.mark.parametrize(("alarmed", "flags"), [(True, ["nsfw", "black"]), (False, [])])
def test_what_a_safety_checker_says_is_recorded(alarmed: bool, flags: list[str]) -> None:
    pipe = tiny.checked(alarmed=alarmed)
    seen = counted(pipe)
    painted = list(painter_of(pipe, text_tokens=None).paint(JOBS))
    # The checker paints what it objects to black.
    assert [one.flags for one in painted] == [flags] * 6
    assert sum(seen["text_encoder"]) == 4


def test_numbers_that_are_none_are_flagged() -> None:
    pipe = tiny.flux()
    for weights in pipe.transformer.parameters():
        weights.data.fill_(float("nan"))
    painted = list(painter_of(pipe).paint(JOBS[:2]))
    assert [one.flags for one in painted] == [["nan", "black"]] * 2


def test_a_pipeline_of_another_kind_embeds_by_itself_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pipe = tiny.flux()
    pipe.__class__ = type("OtherPipeline", (type(pipe),), {})
    with caplog.at_level(logging.WARNING):
        painted = list(painter_of(pipe).paint(JOBS))
    assert "OtherPipeline is not among the known pipelines" in caplog.text
    assert np.abs(pixels(painted) - pixels(list(painter_of(tiny.flux()).paint(JOBS)))).max() <= 1


# ---- Loading, and what makes it faster or smaller ----


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tiny.flux(layers=2), tmp_path_factory.mktemp("models") / "tiny-flux")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_pipeline_loads_from_a_folder_in_its_number_format(folder: Path, dtype: str) -> None:
    settings = Pipeline(dtype=dtype, device="cpu")
    painter = painter_of(None, settings=settings, model=str(folder))
    painted = list(painter.paint(JOBS[:2]))
    assert painter.pipe.transformer.dtype == getattr(torch, dtype)
    assert [one.pixels.shape for one in painted] == [(16, 16, 3)] * 2
    assert not any(one.flags for one in painted)


def empty_folder(path: Path) -> dict[str, Any]:
    path.mkdir()
    return {"model": str(path)}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda tmp: {"model": "org/nowhere", "revision": "0" * 40},
            r"org/nowhere at 0{40}: cannot be loaded",
        ),
        (lambda tmp: {"model": "org/nowhere"}, "org/nowhere at its newest revision: cannot be loaded"),
        (lambda tmp: empty_folder(tmp / "empty"), "empty: cannot be loaded .*model_index.json"),
    ],
)
def test_a_model_that_is_not_there_is_one_sentence(tmp_path: Path, model: Any, message: str) -> None:
    with pytest.raises(Abort, match=message):
        load_pipeline(ImageModel(name="tiny", **model(tmp_path)), FLOAT)


def test_a_model_without_a_revision_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(Abort):
        load_pipeline(ImageModel(name="tiny", model="org/nowhere"), FLOAT)
    assert "org/nowhere: no revision is given" in caplog.text


def test_the_librarys_own_cache_is_used_and_changes_the_images() -> None:
    plain = pixels(list(painter_of(tiny.flux(layers=2), steps=6).paint(JOBS[:2])))
    cached = Pipeline(dtype="float32", device="cpu", cache={"kind": "first-block", "threshold": 10.0})
    painter = painter_of(tiny.flux(layers=2), steps=6, settings=cached)
    assert np.abs(pixels(list(painter.paint(JOBS[:2]))) - plain).max() > 0
    # What one batch left in the cache is not used by the next one.
    again = pixels(list(painter.paint(JOBS[:2])))
    assert np.array_equal(again, pixels(list(painter.paint(JOBS[:2]))))


@pytest.mark.parametrize(
    ("pipe", "cache", "message"),
    [
        (
            tiny.flux,
            {"kind": "first-block", "treshold": 1},
            "cache: first-block does not accept these options .*treshold",
        ),
        (
            tiny.checked,
            {"kind": "first-block"},
            "cache: UNet2DConditionModel does not support caching",
        ),
    ],
)
def test_a_cache_that_cannot_be_is_one_sentence(pipe: Any, cache: dict[str, Any], message: str) -> None:
    settings = Pipeline(dtype="float32", device="cpu", cache=cache)
    with pytest.raises(Abort, match=message):
        list(painter_of(pipe(), settings=settings).paint(JOBS))


@pytest.mark.parametrize("kind", ["int8", "int8-dynamic", "float8", "float8-dynamic"])
def test_quantisation_says_what_it_needs(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=rf"quantise: {kind}.*croc-t2i\[quantise\]"):
        load_pipeline(ImageModel(name="tiny", model=str(folder)), Pipeline(quantise=kind, device="cpu"))


@pytest.mark.slow
def test_weights_of_eight_bits_paint_nearly_the_same(folder: Path) -> None:
    pytest.importorskip("torchao")
    model = {"model": str(folder)}
    plain = pixels(list(painter_of(None, **model).paint(JOBS)))
    settings = Pipeline(dtype="float32", device="cpu", quantise="int8")
    small = pixels(list(painter_of(None, settings=settings, **model).paint(JOBS)))
    assert 0 < np.abs(small - plain).max() < 32


class Recorder:
    """A pipeline that notes what is asked of it before it paints."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.transformer = self

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **given: self.calls.append(name)


@pytest.mark.parametrize(
    ("settings", "calls"),
    [
        ({}, ["to"]),
        ({"offload": "model"}, ["enable_model_cpu_offload"]),
        ({"offload": "sequential"}, ["enable_sequential_cpu_offload"]),
        ({"compile": "blocks"}, ["to", "compile_repeated_blocks"]),
        ({"compile": "full"}, ["to", "compile"]),
    ],
)
def test_a_pipeline_is_put_where_the_preset_says(settings: dict[str, Any], calls: list[str]) -> None:
    from croc_syn.painting.pipelines import prepare_pipeline

    pipe = Recorder()
    prepare_pipeline(pipe, Pipeline(device="cpu", **settings))
    assert pipe.calls == ["set_progress_bar_config", *calls]


def test_a_compiled_model_sees_one_batch_size_alone() -> None:
    pipe = tiny.flux()
    pipe.transformer.compile_repeated_blocks = lambda: None
    sizes: set[int] = set()
    pipe.transformer.register_forward_pre_hook(
        lambda _, args, given: sizes.add(len(given["hidden_states"])), with_kwargs=True
    )
    settings = Pipeline(dtype="float32", device="cpu", compile="blocks")
    painted = list(painter_of(pipe, settings=settings).paint(JOBS))
    assert sizes == {4}
    assert np.abs(pixels(painted) - pixels(list(painter_of(tiny.flux()).paint(JOBS)))).max() <= 1
