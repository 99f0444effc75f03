"""diffusers' pipelines as painters: any ``DiffusionPipeline`` that makes images of prompts.

Where the pipeline's way of embedding is known, each prompt is embedded once for all its seeds, and what
guidance needs of the empty prompt once for all prompts. The noise comes from a CPU generator of each job's
own seed, so that it is the same on every device and in every batch.
"""

from __future__ import annotations

import gc
import importlib.util
import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from croc.errors import MissingExtra
from croc.jobs.parts import Abort
from croc_syn.painting import Job, Painted
from croc_syn.painting.encode import to_pixels
from croc_syn.painting.settings import ImageModel, Pipeline

log = logging.getLogger(__name__)

NSFW = "nsfw"

_PAIR = ("prompt_embeds", "negative_prompt_embeds")
_FOUR = (*_PAIR, "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
EMBEDDINGS: Mapping[str, tuple[str | None, ...]] = {
    "FluxPipeline": ("prompt_embeds", "pooled_prompt_embeds", None),
    "StableDiffusion3Pipeline": _FOUR,
    "StableDiffusionXLPipeline": _FOUR,
    "StableDiffusionPipeline": _PAIR,
}
"""What ``encode_prompt`` of a class returns, as arguments of its call; None is not handed on."""

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
        model: what is painted with.
        settings: how the pipeline runs.
        width, height: in pixels.
        batch_size: images at once, at most; halved for good when memory runs out.
        pipe: the pipeline itself; None loads it at first use.
        embedded: prompts that the text encoders have seen, those of guidance apart.
    """

    model: ImageModel
    settings: Pipeline = field(default_factory=Pipeline)
    width: int = 1024
    height: int = 1024
    batch_size: int = 4
    pipe: Any = None
    embedded: int = 0

    def __post_init__(self) -> None:
        self._negative: dict[str, Any] = {}
        self._ready = False

    def paint(self, jobs: Sequence[Job]) -> Iterator[Painted]:
        """Paint all jobs, in batches that reach across prompts.

        Raises:
            Abort: the model cannot be loaded, or memory is short for a single image.
        """
        import torch

        with torch.inference_mode():
            self._settle()
            texts = list(dict.fromkeys(job.prompt for job in jobs))
            embedded = self._embed(texts)
            done = 0
            while done < len(jobs):
                batch = list(jobs[done : done + self.batch_size])
                try:
                    painted = self._batch(batch, embedded)
                except Exception as error:
                    self._shrink(error)
                    continue
                done += len(batch)
                yield from painted

    # ---- Loading ----

    def _settle(self) -> None:
        if self._ready:
            return
        if self.pipe is None:
            self.pipe = load_pipeline(self.model, self.settings)
        _prepare(self.pipe, self.settings)
        self._known = EMBEDDINGS.get(type(self.pipe).__name__)
        self._takes = set(inspect.signature(type(self.pipe).__call__).parameters)
        if self._known is None:
            log.warning(
                "%s: how %s embeds prompts is not known here, so each image embeds its own",
                self.model.name,
                type(self.pipe).__name__,
            )
        self._ready = True

    # ---- Text ----

    def _embed(self, texts: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Per prompt its embeddings, in the CPU's memory; empty where the pipeline embeds by itself."""
        if self._known is None:
            return {}
        found: dict[str, dict[str, Any]] = {}
        while len(found) < len(texts):
            some = list(texts[len(found) : len(found) + self.batch_size])
            try:
                rows = self._encoded(some)
            except Exception as error:
                self._shrink(error)
                continue
            self.embedded += len(some)
            for number, text in enumerate(some):
                found[text] = {name: tensor[number].to("cpu") for name, tensor in rows.items()}
        return found

    def _encoded(self, texts: list[str]) -> dict[str, Any]:
        guided = self._guided and not self._negative
        takes = inspect.signature(self.pipe.encode_prompt).parameters
        given = {
            "prompt": texts,
            "prompt_2": texts,
            "prompt_3": texts,
            "device": self.pipe._execution_device,
            "num_images_per_prompt": 1,
            "do_classifier_free_guidance": guided,
            "max_sequence_length": self.model.text_tokens,
        }
        given = {name: value for name, value in given.items() if name in takes and value is not None}
        names = self._known or ()
        rows = {
            name: tensor
            for name, tensor in zip(names, self.pipe.encode_prompt(**given), strict=True)
            if name is not None and tensor is not None
        }
        if guided:
            # The empty prompt is the same for all: its embedding serves every later batch.
            self._negative = {
                name: tensor[0].to("cpu") for name, tensor in rows.items() if name.startswith("negative")
            }
        return {name: tensor for name, tensor in rows.items() if not name.startswith("negative")}

    @property
    def _guided(self) -> bool:
        """Whether the call computes a second prediction, of the empty prompt, to move away from."""
        if type(self.pipe).__name__ == "FluxPipeline":  # its guidance is an input of the model
            return False
        default = inspect.signature(type(self.pipe).__call__).parameters["guidance_scale"].default
        return (default if self.model.guidance is None else self.model.guidance) > 1

    # ---- Images ----

    def _batch(self, jobs: list[Job], embedded: Mapping[str, Mapping[str, Any]]) -> list[Painted]:
        import torch

        # A compiled model is compiled anew for another batch size: the last batch is filled up.
        whole = jobs + jobs[-1:] * (self.batch_size - len(jobs)) if self.settings.compile != "none" else jobs
        given: dict[str, Any] = dict(self.model.call)
        if embedded:
            device = self.pipe._execution_device
            names = embedded[whole[0].prompt]
            given |= {
                name: torch.stack([embedded[job.prompt][name] for job in whole]).to(device) for name in names
            }
            given |= {
                name: row.expand(len(whole), *row.shape).to(device) for name, row in self._negative.items()
            }
        else:
            given["prompt"] = [job.prompt for job in whole]
        given |= {
            name: value
            for name, value in {
                "num_inference_steps": self.model.steps,
                "guidance_scale": self.model.guidance,
                "max_sequence_length": self.model.text_tokens,
                "width": self.width,
                "height": self.height,
                "num_images_per_prompt": 1,
            }.items()
            if name in self._takes and value is not None
        }
        given["generator"] = [torch.Generator("cpu").manual_seed(job.seed) for job in whole]
        with warnings.catch_warnings():
            # Of numbers that are none, which are looked for and flagged here.
            warnings.filterwarnings("ignore", "invalid value encountered")
            output = self.pipe(**given, output_type="np")
        checked = getattr(output, "nsfw_content_detected", None) or [False] * len(whole)
        return [_painted(*each) for each in zip(output.images[: len(jobs)], checked, strict=False)]

    def _shrink(self, error: Exception) -> None:
        """Halve the batch when memory ran out; any other error goes on."""
        if not _out_of_memory(error):
            raise error
        if self.batch_size == 1:
            raise Abort(
                f"{self.model.name}: out of memory with a single image; offload, quantise, or a smaller size"
            ) from error
        half = self.batch_size // 2
        log.warning(
            "%s: out of memory with batches of %d, going on with %d", self.model.name, self.batch_size, half
        )
        self.batch_size = half
        error.__traceback__ = None  # its frames hold what is to be freed
        gc.collect()
        _empty_cache()


def _painted(values: np.ndarray, nsfw: bool) -> Painted:
    pixels, flags = to_pixels(values)
    return Painted(pixels=pixels, flags=[*([NSFW] if nsfw else []), *flags])


def load_pipeline(model: ImageModel, settings: Pipeline) -> Any:
    """A pipeline from the Hub or a folder, in its number format, its denoiser quantised where asked for.

    Raises:
        Abort: it cannot be loaded; the sentence says why.
    """
    try:
        import diffusers
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtra("painting with a diffusers pipeline", "generate") from error
    # Bars of several workers would write over each other, and over the one that shows the parts.
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    log.info("%s: loading", model.model)
    local = Path(model.model).is_dir()
    if model.revision is None and not local:
        log.warning("%s: no revision is given, so another model may be loaded another day", model.model)
    options: dict[str, Any] = {"dtype": getattr(torch, settings.dtype), "use_safetensors": True}
    if settings.quantise != "none":
        options["quantization_config"] = _quantisation(settings.quantise)
    try:
        return diffusers.DiffusionPipeline.from_pretrained(
            model.model, revision=None if local else model.revision, **options
        )
    except (OSError, ValueError, KeyError, ImportError, AttributeError) as error:
        where = model.model if local else f"{model.model} at {model.revision or 'its newest revision'}"
        raise Abort(f"{where}: cannot be loaded ({_first_line(error)}){_hint(error)}") from error


def _prepare(pipe: Any, settings: Pipeline) -> None:
    """Put a pipeline where it runs, with what makes it faster or smaller."""
    import torch

    pipe.set_progress_bar_config(disable=True)
    device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if settings.offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif settings.offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    else:
        pipe.to(device)
    denoiser = getattr(pipe, "transformer", None) or getattr(pipe, "unet", None)
    if settings.cache is not None:
        _accelerate(denoiser, settings.cache, pipe)
    if settings.compile == "blocks":
        denoiser.compile_repeated_blocks()
    elif settings.compile == "full":
        denoiser.compile()


def _quantisation(kind: str) -> Any:
    if importlib.util.find_spec("torchao") is None:
        raise MissingExtra(f"quantise: {kind}", "quantise")
    from diffusers import PipelineQuantizationConfig, TorchAoConfig
    from torchao import quantization  # type: ignore[import-not-found]

    weights = TorchAoConfig(getattr(quantization, _QUANTISED[kind])())
    return PipelineQuantizationConfig(quant_mapping={"transformer": weights})


def _accelerate(denoiser: Any, wanted: Mapping[str, Any], pipe: Any) -> None:
    import diffusers

    options = {name: value for name, value in wanted.items() if name != "kind"}
    made = getattr(diffusers, _CACHES[wanted["kind"]])
    if not hasattr(denoiser, "enable_cache"):
        raise Abort(f"cache: {type(denoiser).__name__} has no acceleration of this kind")
    if "current_timestep_callback" in inspect.signature(made).parameters:
        options["current_timestep_callback"] = lambda: pipe._current_timestep
    try:
        denoiser.enable_cache(made(**options))
    except (TypeError, ValueError) as error:
        raise Abort(f"cache: {wanted['kind']} cannot be used so ({_first_line(error)})") from error


def _out_of_memory(error: Exception) -> bool:
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "out of memory" in str(error).lower())
    )


def _empty_cache() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _hint(error: Exception) -> str:
    said = f"{type(error).__name__} {error}".lower()
    if "gated" in said or "401" in said or "403" in said:
        return "; accept its licence on the Hub and log in with `hf auth login`"
    if "revision" in said:
        return "; the revision may not exist"
    return ""
