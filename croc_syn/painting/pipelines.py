"""diffusers' pipelines as painters: any ``DiffusionPipeline`` that makes images from prompts.

For the classes of :mod:`croc_syn.painting.encodings` each prompt is encoded once for all its seeds, and the
negative prompt that guidance needs once for all prompts. The noise comes from a CPU generator with the seed
of each request, so it is the same on every device and in every batch.
"""

from __future__ import annotations

import importlib.util
import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from croc.errors import MissingExtra
from croc.jobs.parts import Abort
from croc_syn.model_runtime import first_line, halve_batch, loading_failed, require_download, warn_unpinned
from croc_syn.painting import ImageRequest, PaintedImage
from croc_syn.painting.encode import to_pixels
from croc_syn.painting.encodings import ENCODINGS, NEGATIVE, PromptEncoder
from croc_syn.painting.settings import ImageModel, Pipeline

log = logging.getLogger(__name__)

NSFW = "nsfw"

_QUANTISED = {
    "int8": "Int8WeightOnlyConfig",
    "int8-dynamic": "Int8DynamicActivationInt8WeightConfig",
    "float8": "Float8WeightOnlyConfig",
    "float8-dynamic": "Float8DynamicActivationFloat8WeightConfig",
}
_CACHES = {
    "first-block": "FirstBlockCacheConfig",
    "taylorseer": "TaylorSeerCacheConfig",
    "faster": "FasterCacheConfig",
    "pyramid": "PyramidAttentionBroadcastConfig",
}


@dataclass
class PipelinePainter:
    """A pipeline, ready to paint.

    Attributes:
        model: the image model.
        settings: how the pipeline runs.
        width, height: in pixels.
        batch_size: images per batch, at most; halved for good when memory runs out.
        pipe: the pipeline itself; None loads it at first use.
        embedded: number of prompts that were embedded, without those for guidance.
    """

    model: ImageModel
    settings: Pipeline = field(default_factory=Pipeline)
    width: int = 1024
    height: int = 1024
    batch_size: int = 4
    pipe: Any = None
    embedded: int = 0

    def __post_init__(self) -> None:
        self._encoder: PromptEncoder | None = None
        self._ready = False

    def paint(self, requests: Sequence[ImageRequest]) -> Iterator[PaintedImage]:
        """Paint all requests, in batches that span prompts.

        Raises:
            Abort: the model cannot be loaded, or memory is short for a single image.
        """
        import torch

        with torch.inference_mode():
            self._load()
            texts = list(dict.fromkeys(request.prompt for request in requests))
            embedded = self._embed(texts)
            done = 0
            while done < len(requests):
                batch = list(requests[done : done + self.batch_size])
                try:
                    images = self._paint(batch, embedded)
                except Exception as error:
                    self._halve_batch(error)
                    continue
                done += len(batch)
                yield from images

    # ---- Loading ----

    def _load(self) -> None:
        if self._ready:
            return
        if self.pipe is None:
            self.pipe = load_pipeline(self.model, self.settings)
        prepare_pipeline(self.pipe, self.settings)
        self._parameters = set(inspect.signature(type(self.pipe).__call__).parameters)
        kind = type(self.pipe).__name__
        self._guidance = ENCODINGS[kind].guidance if kind in ENCODINGS else "guidance_scale"
        if kind in ENCODINGS:
            self._encoder = PromptEncoder(self.pipe, self.model)
            if self.model.call.get(NEGATIVE) is not None and not self._encoder.guided:
                log.warning("%s: negative_prompt has no effect, because guidance is off", self.model.name)
        else:
            log.warning(
                "%s: %s is not among the known pipelines, so the prompt is encoded again for each image",
                self.model.name,
                kind,
            )
        self._ready = True

    # ---- Text ----

    def _embed(self, texts: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Each prompt encoded, in the CPU's memory; empty if the pipeline itself encodes."""
        if self._encoder is None:
            return {}
        embedded: dict[str, dict[str, Any]] = {}
        while len(embedded) < len(texts):
            batch = texts[len(embedded) : len(embedded) + self.batch_size]
            try:
                rows = self._encoder.encode(batch)
            except Exception as error:
                self._halve_batch(error)
                continue
            self.embedded += len(batch)
            embedded |= zip(batch, rows, strict=True)
        return embedded

    # ---- Images ----

    def _paint(
        self, requests: list[ImageRequest], embedded: Mapping[str, Mapping[str, Any]]
    ) -> list[PaintedImage]:
        import torch

        batch = requests
        if self.settings.compile != "none":
            # A compiled model is compiled again for another batch size, so the last batch is padded.
            batch = requests + requests[-1:] * (self.batch_size - len(requests))
        arguments: dict[str, Any] = dict(self.model.call)
        if self._encoder is not None:
            arguments.pop(NEGATIVE, None)
            rows = [embedded[request.prompt] for request in batch]
            arguments |= self._encoder.arguments(rows, self.pipe._execution_device)
        else:
            arguments["prompt"] = [request.prompt for request in batch]
            if isinstance(negative := arguments.get(NEGATIVE), str):
                arguments[NEGATIVE] = [negative] * len(batch)  # some take a text for one image only
        arguments |= {
            name: value
            for name, value in {
                "num_inference_steps": self.model.steps,
                self._guidance: self.model.guidance,
                "max_sequence_length": self.model.text_tokens,
                "width": self.width,
                "height": self.height,
                "num_images_per_prompt": 1,
            }.items()
            if name in self._parameters and value is not None
        }
        arguments["generator"] = [torch.Generator("cpu").manual_seed(request.seed) for request in batch]
        with warnings.catch_warnings():
            # Images with NaN are flagged.
            warnings.filterwarnings("ignore", "invalid value encountered")
            output = self.pipe(**arguments, output_type="np")
        nsfw = getattr(output, "nsfw_content_detected", None) or [False] * len(batch)
        return [
            _painted_image(values, unsafe)
            for values, unsafe in zip(output.images[: len(requests)], nsfw, strict=False)
        ]

    def _halve_batch(self, error: Exception) -> None:
        self.batch_size = halve_batch(
            error,
            self.batch_size,
            self.model.name,
            item="image",
            advice="offload, quantise, or a smaller size",
        )


def _painted_image(values: np.ndarray, nsfw: bool) -> PaintedImage:
    pixels, flags = to_pixels(values)
    return PaintedImage(pixels=pixels, flags=[*([NSFW] if nsfw else []), *flags])


def load_pipeline(model: ImageModel, settings: Pipeline) -> Any:
    """Load a pipeline from the Hub or a folder, in its number format, its denoiser quantised if requested.

    Raises:
        Abort: it cannot be loaded; the sentence says why.
    """
    try:
        import diffusers
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtra("painting with a diffusers pipeline", "generate") from error
    # The bars of several workers would overwrite each other, and the one that shows the parts.
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    log.info("%s: loading", model.model)
    warn_unpinned(model)
    require_download(model.model, model.revision, "model_index.json", "image model")
    options: dict[str, Any] = {"dtype": getattr(torch, settings.dtype), "use_safetensors": True}
    if settings.quantise != "none":
        options["quantization_config"] = _quantisation(settings.quantise)
    try:
        return diffusers.DiffusionPipeline.from_pretrained(
            model.model, revision=None if model.is_local else model.revision, **options
        )
    except (OSError, ValueError, KeyError, ImportError, AttributeError) as error:
        raise loading_failed(error, model, "image model") from error


def prepare_pipeline(pipe: Any, settings: Pipeline) -> None:
    """Move a pipeline to its device, with the requested acceleration and offloading."""
    import torch

    pipe.set_progress_bar_config(disable=True)
    device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if settings.offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif settings.offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    else:
        pipe.to(device)
    denoiser: Any = getattr(pipe, "transformer", None) or getattr(pipe, "unet", None)
    if settings.cache is not None:
        _enable_cache(denoiser, settings.cache, pipe)
    if settings.compile == "blocks":
        denoiser.compile_repeated_blocks()
    elif settings.compile == "full":
        denoiser.compile()


def _quantisation(kind: str) -> Any:
    if importlib.util.find_spec("torchao") is None:
        raise MissingExtra(f"quantise: {kind}", "quantise")
    from diffusers import PipelineQuantizationConfig, TorchAoConfig
    from torchao import quantization

    weights = TorchAoConfig(getattr(quantization, _QUANTISED[kind])())
    return PipelineQuantizationConfig(quant_mapping={"transformer": weights})


def _enable_cache(denoiser: Any, cache: Mapping[str, Any], pipe: Any) -> None:
    import diffusers

    options = {name: value for name, value in cache.items() if name != "kind"}
    config = getattr(diffusers, _CACHES[cache["kind"]])
    if not hasattr(denoiser, "enable_cache"):
        raise Abort(f"cache: {type(denoiser).__name__} does not support caching")
    if "current_timestep_callback" in inspect.signature(config).parameters:
        options["current_timestep_callback"] = lambda: pipe._current_timestep
    try:
        denoiser.enable_cache(config(**options))
    except (TypeError, ValueError) as error:
        raise Abort(f"cache: {cache['kind']} does not accept these options ({first_line(error)})") from error
