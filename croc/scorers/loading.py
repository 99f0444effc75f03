"""Checkpoints: where a model comes from, how it is loaded, and its part of a signature."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL.Image import Image

from croc.errors import CrocError, InputError, MissingExtra
from croc.scorers.pairs import UnscoredPairs

_DTYPES = ("float32", "bfloat16", "float16")


class Checkpoint:
    """A transformers model with its processor, loaded at first use.

    Weights are read from safetensors only, and code from the Hub runs only with ``trust_remote_code=True``.
    Without a revision a model from the Hub loads with a warning and its revision is ``unpinned``.

    Args:
        model: Hub id, local folder, or a loaded transformers model.
        auto: name of the transformers class that loads it.
        processor: Hub id or folder when it is not the model's, or a loaded processor.
        revision: commit of the model on the Hub, 40 hexadecimal digits.
        processor_revision: commit of ``processor`` when that is another repository.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; None takes the best available; ``auto`` spreads a
            model that is too large for one GPU over all of them, through accelerate.
        dtype: ``float32``, ``bfloat16`` or ``float16``; None takes bfloat16 on CUDA and float32 elsewhere.
        image_processor: ``pil`` or ``torchvision``; None takes the library's default.
        trust_remote_code: run the code that comes with the checkpoint.
        key_mapping: regular expressions that rename the checkpoint's weights to those of the class.
    """

    def __init__(
        self,
        model: Any,
        *,
        auto: str,
        processor: Any = None,
        revision: str | None = None,
        processor_revision: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        image_processor: str | None = None,
        trust_remote_code: bool = False,
        key_mapping: dict[str, str] | None = None,
    ) -> None:
        _torch()
        if revision is not None and not re.fullmatch(r"[0-9a-f]{40}", revision):
            raise InputError(
                f"revision {revision!r} of {model} is not a commit of 40 hexadecimal digits; "
                "a branch or a tag can move"
            )
        if dtype is not None and dtype not in _DTYPES:
            raise InputError(f"dtype {dtype!r} is unknown: use one of {', '.join(_DTYPES)}")
        if image_processor not in (None, "pil", "torchvision"):
            raise InputError(f"image_processor {image_processor!r} is unknown: use pil or torchvision")
        if not isinstance(model, str | Path) and processor is None:
            raise InputError("a loaded model needs its processor: pass processor= as well")
        self.source = model
        self.is_local = isinstance(model, str | Path) and Path(model).is_dir()
        self.revision = revision
        self.trust_remote_code = trust_remote_code
        self._auto = auto
        self._processor = processor
        self._processor_revision = processor_revision
        self._device = device
        self._dtype = dtype
        self._backend = image_processor
        self._key_mapping = key_mapping

    @property
    def name(self) -> str:
        """The last part of the model's id or folder, or the class of a loaded model."""
        if isinstance(self.source, str | Path):
            return Path(self.source).name
        return type(self.source).__name__

    @cached_property
    def device(self) -> Any:
        """The torch device that the model is on."""
        torch = _torch()
        if not isinstance(self.source, str | Path) and self._device is None:
            return next(self.source.parameters()).device
        if self._device == "auto":
            return self.model.device
        if self._device is not None:
            return torch.device(self._device)
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")

    @cached_property
    def dtype(self) -> Any:
        """The torch dtype inside the model; scores are computed from its output in fp32 or fp64."""
        torch = _torch()
        if self._dtype is not None:
            return getattr(torch, self._dtype)
        if not isinstance(self.source, str | Path):
            return next(self.source.parameters()).dtype
        on_gpu = torch.cuda.is_available() if self._device == "auto" else self.device.type == "cuda"
        return torch.bfloat16 if on_gpu else torch.float32

    @cached_property
    def model(self) -> Any:
        """The model, in evaluation mode, on its device."""
        if not isinstance(self.source, str | Path):
            # A model in training has parts of another dtype on purpose: convert only with a given dtype.
            moved = {"device": self.device} | ({"dtype": self.dtype} if self._dtype is not None else {})
            return self.source.to(**moved).eval()
        import transformers

        if self.revision is None and not self.is_local:
            warnings.warn(
                f"{self.source} is loaded without a revision: its weights can change, "
                "and its revision in the signature is unpinned",
                stacklevel=2,
            )
        options: dict[str, Any] = {"key_mapping": self._key_mapping} if self._key_mapping else {}
        if self._device == "auto":
            options["device_map"] = "auto"
        loader = getattr(transformers, self._auto, None)
        if loader is None:
            raise InputError(
                f"transformers has no class {self._auto} (auto=): name the class that loads {self.name}"
            )
        from safetensors import SafetensorError

        try:
            model, info = loader.from_pretrained(
                str(self.source),
                revision=self.revision,
                dtype=self.dtype,
                use_safetensors=True,
                trust_remote_code=self.trust_remote_code,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **options,
            )
        except (OSError, ValueError, ImportError, SafetensorError) as error:
            raise CrocError(f"cannot load the model {self.source}: {self._reason(error)}") from error
        # The library would initialise these at random.
        if wrong := sorted(info["mismatched_keys"]):
            name, stored, needed = wrong[0]
            raise CrocError(
                f"cannot load the model {self.source}: {name} has the shape {tuple(stored)} where its "
                f"configuration says {tuple(needed)}{_and_others(wrong)}"
            )
        if missing := sorted(info["missing_keys"]):
            raise CrocError(
                f"cannot load the model {self.source}: no weights for {missing[0]}{_and_others(missing)}"
            )
        return (model if self._device == "auto" else model.to(self.device)).eval()

    def _reason(self, error: Exception) -> str:
        """Why loading failed; a folder with pickled weights only gets its own message."""
        pickles = sorted(Path(self.source).glob("pytorch_model*.bin")) if self.is_local else []
        if pickles and not any(Path(self.source).glob("*.safetensors")):
            return f"{pickles[0].name} is a pickle, which could run code; save the weights as safetensors"
        return _first_line(error)

    @cached_property
    def processor(self) -> Any:
        """The processor: image processor and tokenizer in one."""
        if self._processor is not None and not isinstance(self._processor, str | Path):
            return self._processor
        from transformers import AutoProcessor

        source, revision = self.source, self.revision
        if self._processor is not None:
            source, revision = self._processor, self._processor_revision
        options: dict[str, Any] = {"backend": self._backend} if self._backend else {}
        options |= {"revision": revision, "trust_remote_code": self.trust_remote_code}
        try:
            if importlib.util.find_spec("torchvision") is None:
                return _processor_for_images(str(source), options)
            return AutoProcessor.from_pretrained(str(source), **options)
        except (OSError, ValueError, ImportError) as error:
            reason = _first_line(error)
            if reason.startswith("Can't load image processor"):
                reason = "it has no image processor, so it cannot score images"
            raise CrocError(f"cannot load the processor of {source}: {reason}") from error

    def pixels(self, images: Sequence[Image], **options: Any) -> dict[str, Any]:
        """The image processor's output for RGB images, as tensors on the model's device."""
        return self.to_device(self._processed(images, "pt", **options))

    def prepared(self, image: Image) -> dict[str, Any]:
        """The image processor's output for one image, on the CPU; safe to call from several threads."""
        # A tensor made in another thread would start that thread's own pool of workers besides the model's.
        return dict(self._processed([image], "np" if self.image_backend == "pil" else "pt"))

    def joined(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Several outputs of :meth:`prepared` as one batch on the model's device."""
        torch = _torch()
        rows = {key: [torch.as_tensor(item[key]) for item in items] for key in items[0]}
        return self.to_device({key: torch.cat(tensors) for key, tensors in rows.items()})

    def _processed(self, images: Sequence[Image], tensors: str, **options: Any) -> Any:
        rgb = [image if image.mode == "RGB" else image.convert("RGB") for image in images]
        return self.process(
            rgb,
            lambda some: self.processor.image_processor(images=some, return_tensors=tensors, **options),
        )

    def process(self, images: Sequence[Image], processor: Callable[[Sequence[Image]], Any]) -> Any:
        """The output of ``processor`` for the images.

        Raises:
            UnscoredPairs: the processor cannot process some images (such as a very long and thin one).
        """
        try:
            return processor(images)
        except ValueError as error:
            reasons = {}
            for i, image in enumerate(images):
                try:
                    processor([image])
                except ValueError as why:
                    width, height = image.size
                    reasons[i] = (
                        f"the image processor cannot process {width}×{height} pixels: {_first_line(why)}"
                    )
            if reasons:
                raise UnscoredPairs(reasons) from error
            raise

    def to_device(self, tensors: Any) -> dict[str, Any]:
        """Move tensors to the model's device, floating ones to its dtype."""
        moved = {}
        for key, value in tensors.items():
            if hasattr(value, "is_floating_point"):
                value = value.to(self.device, self.dtype if value.is_floating_point() else None)
            moved[key] = value
        return moved

    @cached_property
    def image_backend(self) -> str:
        """``pil`` or ``torchvision``: they do not give the same pixels."""
        name = type(self.processor.image_processor).__mro__
        if any("Torchvision" in base.__name__ or base.__name__.endswith("Fast") for base in name):
            return "torchvision"
        return "pil"

    @cached_property
    def pinned(self) -> str:
        """The revision in a signature: a commit, a fingerprint of local weights, or ``unpinned``."""
        if not isinstance(self.source, str | Path):
            return f"object:{_model_fingerprint(self.source)}"
        if self.is_local:
            return f"local:{_folder_fingerprint(Path(self.source))}"
        return self.revision or "unpinned"

    def fields(self) -> dict[str, str]:
        """The checkpoint's part of a scorer's fields; a folder is given without its path."""
        on_hub = isinstance(self.source, str | Path) and not self.is_local
        return {
            "model": str(self.source) if on_hub else self.name,
            "revision": self.pinned,
            "dtype": str(self.dtype).removeprefix("torch."),
            "image_processor": self.image_backend,
        }


def in_batches(total: int, size: int) -> list[slice]:
    """Slices of at most ``size`` that cover ``range(total)``."""
    if size < 1:
        raise InputError(f"batch_size must be at least 1, not {size}")
    return [slice(start, min(start + size, total)) for start in range(0, total, size)]


def _torch() -> Any:
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtra("running a model", "score") from error
    assert transformers is not None
    return torch


def without_video(processor_class: Any) -> Any:
    """A subclass of a processor class that works with ``video_processor=None``.

    The video part of the processors of Qwen-VL, SmolVLM and others needs torchvision; images do not.
    """
    from transformers import ProcessorMixin

    class ForImages(processor_class):  # type: ignore[misc]
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in processor_class.get_attributes() if "video" not in name]

        # SmolVLM's own method asks its video part for the number of frames, even without a video.
        apply_chat_template = ProcessorMixin.apply_chat_template

    ForImages.__name__ = ForImages.__qualname__ = processor_class.__name__
    return ForImages


def _processor_for_images(source: str, options: dict[str, Any]) -> Any:
    """Load a processor without its video part, where torchvision is not installed."""
    import transformers
    from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer, ProcessorMixin
    from transformers.image_processing_base import ImageProcessingMixin

    settings, _ = ProcessorMixin.get_processor_dict(source, revision=options["revision"])
    kind = settings.pop("processor_class", None)
    if kind is None:
        # Checkpoints from before processor_config.json name the class among the image settings.
        kind = ImageProcessingMixin.get_image_processor_dict(source, revision=options["revision"])[0].get(
            "processor_class"
        )
    processor_class = getattr(transformers, str(kind), None)
    if processor_class is None or "video_processor" not in processor_class.get_attributes():
        return AutoProcessor.from_pretrained(source, **options)
    images = AutoImageProcessor.from_pretrained(source, **options)
    tokenizer = AutoTokenizer.from_pretrained(source, revision=options["revision"])
    rest = {key: value for key, value in settings.items() if key not in processor_class.get_attributes()}
    return without_video(processor_class)(images, tokenizer, None, **rest)


def _and_others(names: Sequence[Any]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _folder_fingerprint(folder: Path) -> str:
    """A hash of weights and settings; it does not depend on the folder's path."""
    total = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.json"), *folder.glob("*.jinja")]):
        with path.open("rb") as file:
            total.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:12]


def _model_fingerprint(model: Any) -> str:
    """A hash of the names, shapes and sums of a loaded model's weights; cheap even on a GPU."""
    total = hashlib.sha256(type(model).__name__.encode())
    for name, weight in sorted(model.state_dict().items()):
        value = weight.detach().double()
        total.update(f"{name}{tuple(weight.shape)}{value.sum():.9e}{value.abs().sum():.9e}".encode())
    return total.hexdigest()[:12]
