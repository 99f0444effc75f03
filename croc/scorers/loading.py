"""Checkpoints: where a model comes from, how it is loaded, and its part of a signature."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import json
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from PIL.Image import Image

from croc.checks.decoding import to_rgb
from croc.errors import CrocError, InputError
from croc.scorers.devices import find_device, require_torch
from croc.scorers.fingerprints import folder_fingerprint, model_fingerprint
from croc.scorers.framing import FRAMINGS, letterboxed, padded_square
from croc.scorers.loading_errors import and_others, damaged, first_line
from croc.scorers.pairs import UnscoredPairs
from croc.scorers.phi4_multimodal import imported
from croc.scorers.phi4_multimodal import processor as phi4_processor
from croc.scorers.processors import processor_class, processor_for_images
from croc.scorers.tokenizer_files import check_tokenizers
from croc.storage.hub_access import HubUnreachable, cached, is_offline, require_readable, require_source

_DTYPES = ("float32", "bfloat16", "float16")
# Buffers that older versions of transformers saved with the weights; the class computes them.
_BUFFERS = (r"(^|\.)position_ids$", r"(^|\.)rotary_emb\.inv_freq$")


class Checkpoint:
    """A transformers model with its processor, loaded at first use.

    Weights are read from safetensors only, and code from the Hub runs only with ``trust_remote_code=True``.
    Without a revision a model from the Hub loads with a warning and its revision is ``unpinned``. The Hub id
    of a checkpoint that ``croc import-checkpoint`` imported stands for the imported folder.

    Args:
        model: Hub id, local folder, or a loaded transformers model.
        auto: name of the transformers class that loads it; a checkpoint of another class that an ``Auto…``
            class does not know is loaded by its own.
        processor: Hub id or folder when it is not the model's, or a loaded processor.
        revision: commit of the model on the Hub, 40 hexadecimal digits.
        processor_revision: commit of ``processor`` when that is another repository.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; None takes the best available; ``auto`` spreads a
            model that is too large for one GPU over all of them, through accelerate.
        dtype: ``float32``, ``bfloat16`` or ``float16``; None takes bfloat16 on CUDA and float32 elsewhere.
        image_processor: ``pil`` or ``torchvision``; None takes the library's default.
        trust_remote_code: run the code that comes with the checkpoint.
        key_mapping: regular expressions that rename the checkpoint's weights to those of the class.
        ignored_weights: regular expressions of weights in the checkpoint that the class has no place for, and
            that may be left out; any other such weight is an error.
        open_clip_weights: name of a file in ``model`` with weights in open_clip's layout; the architecture is
            then that of ``processor``.
        torch_weights: read ``pytorch_model.bin`` of a repository, or of a folder without safetensors; tensors
            only, anything else in such a file is refused.
        processor_options: arguments of the image processor, such as ``max_pixels`` or
            ``do_image_splitting``; part of the signature.
        framing: how an image that is not square is fitted in, where the image processor differs; one of
            :data:`~croc.scorers.framing.FRAMINGS`.
        without_adapter: load a folder of ``croc import-checkpoint --keep-adapter`` without its adapter, which
            training adds; otherwise such a folder is refused.
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
        ignored_weights: Sequence[str] = (),
        open_clip_weights: str | None = None,
        torch_weights: bool = False,
        processor_options: Mapping[str, Any] | None = None,
        framing: str | None = None,
        without_adapter: bool = False,
        **unknown: Any,
    ) -> None:
        require_options(unknown)
        require_torch()
        if revision is not None and not re.fullmatch(r"[0-9a-f]{40}", revision):
            raise InputError(
                f"revision {revision!r} of {model} is not a commit of 40 hexadecimal digits; "
                "a branch or a tag can move"
            )
        if dtype is not None and dtype not in _DTYPES:
            raise InputError(f"dtype {dtype!r} is unknown: use one of {', '.join(_DTYPES)}")
        if image_processor not in (None, "pil", "torchvision"):
            raise InputError(f"image_processor {image_processor!r} is unknown: use pil or torchvision")
        if framing not in (None, *FRAMINGS):
            raise InputError(f"framing {framing!r} is unknown: use one of {', '.join(FRAMINGS)}")
        if processor_options is not None and not isinstance(processor_options, Mapping):
            raise InputError(
                f"processor_options must map names to values, such as {{max_pixels: 262144}}, "
                f"not {processor_options!r}"
            )
        if open_clip_weights is not None and not isinstance(processor, str | Path):
            raise InputError("open_clip_weights needs processor=: the repository with the architecture")
        if not isinstance(model, str | Path) and processor is None:
            raise InputError("a loaded model needs its processor: pass processor= as well")
        self.source = model
        self.is_local = isinstance(model, str | Path) and Path(model).is_dir()
        self.revision = revision
        self.trust_remote_code = trust_remote_code
        self._without_adapter = without_adapter
        self._auto = auto
        self._processor = processor
        self._processor_revision = processor_revision
        self._device = device
        self._dtype = dtype
        self._backend = image_processor
        self._key_mapping = key_mapping
        self._ignored_weights = tuple(ignored_weights)
        self._weights_file = open_clip_weights
        self._torch_weights = torch_weights
        self._processor_options = dict(processor_options or {})
        self.framing = framing

    @property
    def name(self) -> str:
        """The last part of the model's id or folder, or the class of a loaded model."""
        if isinstance(self.source, str | Path):
            return Path(self.source).name
        return type(self.source).__name__

    @cached_property
    def _imported(self) -> Path | None:
        """The folder that a repository was imported to by ``croc import-checkpoint``."""
        if not isinstance(self.source, str) or self.is_local or self.trust_remote_code:
            return None
        return imported.find_imported(self.source, self.revision, separate=self._without_adapter)

    @cached_property
    def _place(self) -> Any:
        """What the model is read from: the source, or the folder that it was imported to.

        Raises:
            CrocError: it has Microsoft's layout and was not imported, or its adapter is missing.
        """
        if self._imported is not None:
            return self._imported
        if isinstance(self.source, str | Path):
            require_source(self.source)
        self._require_imported()
        if self.is_local and not self._without_adapter and imported.is_separate(Path(self.source)):
            raise InputError(
                f"the weights in {self.source} are without their adapter, {imported.ADAPTER}, which is for "
                "training: import the checkpoint without --keep-adapter to score with it"
            )
        return self.source

    def _require_imported(self) -> None:
        if not isinstance(self.source, str | Path) or self.trust_remote_code:
            return
        if imported.needs_import(self.source, self.revision):
            raise imported.not_imported(self.source, self.revision, separate=self._without_adapter)

    @property
    def is_spread(self) -> bool:
        """Whether accelerate may spread the model over several devices."""
        return self._device == "auto"

    @cached_property
    def device(self) -> Any:
        """The torch device that the model's inputs go to."""
        torch = require_torch()
        if not isinstance(self.source, str | Path) and self._device is None:
            return next(self.source.parameters()).device
        if self.is_spread:
            # Inputs go where the first layers compute; offloaded weights have no device of their own.
            hook = getattr(self.model, "_hf_hook", None)
            return torch.device(getattr(hook, "execution_device", None) or self.model.device)
        if self._device is not None:
            return find_device(self._device)
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")

    @cached_property
    def dtype(self) -> Any:
        """The torch dtype inside the model; scores are computed from its output in fp32 or fp64."""
        torch = require_torch()
        if self._dtype is not None:
            return getattr(torch, self._dtype)
        if not isinstance(self.source, str | Path):
            return next(self.source.parameters()).dtype
        on_gpu = torch.cuda.is_available() if self.is_spread else self.device.type == "cuda"
        return torch.bfloat16 if on_gpu else torch.float32

    @cached_property
    def model(self) -> Any:
        """The model, in evaluation mode, on its device."""
        if not isinstance(self.source, str | Path):
            # A model in training has parts of another dtype on purpose: convert only with a given dtype.
            moved = {"device": self.device} | ({"dtype": self.dtype} if self._dtype is not None else {})
            return self.source.to(**moved).eval()
        place = self._place
        self._warn_if_unpinned()
        if self._weights_file is not None:
            return self._model_of_open_clip(self._weights_file)
        options: dict[str, Any] = {"key_mapping": self._key_mapping} if self._key_mapping else {}
        if self.is_spread:
            options["device_map"] = "auto"
        loader = self._loader()
        from safetensors import SafetensorError

        try:
            model, info = self._read(
                place,
                self.revision,
                lambda source, **place: self._class_of(loader, source, place).from_pretrained(
                    source,
                    dtype=self.dtype,
                    use_safetensors=not self._torch_weights or self._has_safetensors,
                    trust_remote_code=self.trust_remote_code,
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,
                    **place,
                    **options,
                ),
            )
        except damaged(OSError, ValueError, ImportError, SafetensorError, UnpicklingError) as error:
            self._require_imported()  # its configuration has been read by now
            raise CrocError(f"cannot load the model {self.source}: {self._reason(error)}") from error
        # The library would initialise these at random.
        if wrong := sorted(info["mismatched_keys"]):
            name, stored, needed = wrong[0]
            raise CrocError(
                f"cannot load the model {self.source}: {name} has the shape {tuple(stored)} where its "
                f"configuration says {tuple(needed)}{and_others(wrong)}"
            )
        missing = self._completed(model, info["missing_keys"])
        self._require_weights(missing, info["unexpected_keys"], type(model).__name__)
        return (model if self.is_spread else model.to(self.device)).eval()

    def _completed(self, model: Any, missing: Iterable[str]) -> Iterable[str]:
        """The weights that are missing after loading; a subclass may take some from elsewhere."""
        return missing

    def config(self, kind: str) -> Any:
        """The configuration, read as the named class of transformers."""
        import transformers

        return self._read(
            self.source,
            self.revision,
            lambda source, **place: getattr(transformers, kind).from_pretrained(source, **place),
        )

    @property
    def _has_safetensors(self) -> bool:
        return self.is_local and any(Path(self.source).glob("*.safetensors"))

    def _warn_if_unpinned(self) -> None:
        if self.revision is None and not self.is_local and self._imported is None:
            warnings.warn(
                f"{self.source} is loaded without a revision: its weights can change, "
                "and its revision in the signature is unpinned",
                stacklevel=3,
            )

    def _loader(self) -> Any:
        """The class that ``auto`` names."""
        import transformers

        loader = getattr(transformers, self._auto, None)
        if not hasattr(loader, "from_pretrained"):
            raise InputError(
                f"transformers has no class {self._auto} (auto=): name the class that loads {self.name}"
            )
        return loader

    def _class_of(self, loader: Any, source: Any, place: Mapping[str, Any]) -> Any:
        """The class that loads a checkpoint: ``loader``, or its own if ``loader`` does not know it.

        Phi-4-multimodal is not among the image-text-to-text models of the library.
        """
        import transformers

        known = getattr(loader, "_model_mapping", None)
        if known is None or self.trust_remote_code:
            return loader
        config = transformers.AutoConfig.from_pretrained(source, **place)
        own = getattr(transformers, (config.architectures or [""])[0], None)
        if type(config) in known or own is None or not hasattr(config, "vision_config"):
            return loader
        return own if own.can_generate() else loader

    def _model_of_open_clip(self, file: str) -> Any:
        """A CLIPModel of the architecture of the processor's repository, with weights of open_clip."""
        from transformers import CLIPConfig, CLIPModel

        from croc.scorers.open_clip_weights import clip_weights, read_state

        try:
            config = self._read(
                self._processor,
                self._processor_revision,
                lambda source, **place: CLIPConfig.from_pretrained(source, **place),
            )
            state = clip_weights(read_state(self._file(file)))
        except (OSError, ValueError) as error:
            raise CrocError(f"cannot load the model {self.source}: {first_line(error)}") from error
        model = CLIPModel(config)
        try:
            info = model.load_state_dict(state, strict=False)
        except RuntimeError as error:
            detail = str(error).strip().splitlines()[-1].strip()
            raise CrocError(f"cannot load the model {self.source}: {detail}") from error
        self._require_weights(info.missing_keys, info.unexpected_keys, "CLIPModel")
        return model.to(device=self.device, dtype=self.dtype).eval()

    def _file(self, name: str) -> Path:
        """A single file of the model's folder or repository."""
        from huggingface_hub import hf_hub_download

        if self.is_local:
            return Path(self.source) / name
        return Path(
            self._read(
                self.source,
                self.revision,
                lambda source, **place: hf_hub_download(source, name, **place),
                file=name,
            )
        )

    def _require_weights(self, missing: Iterable[str], unexpected: Iterable[str], architecture: str) -> None:
        """Require that the class and the checkpoint have the same weights.

        The library only prints a table: it would initialise missing weights at random, and leave out an
        adapter (``lora_A``) or a wrapped layer (``base_layer``), whose scores would be another model's.
        """
        if names := sorted(missing):
            raise CrocError(
                f"cannot load the model {self.source}: no weights for {names[0]}{and_others(names)}"
            )
        ignored = (*self._ignored_weights, *_BUFFERS)
        if names := sorted(n for n in unexpected if not any(re.search(pattern, n) for pattern in ignored)):
            adapter = any(re.search(r"lora_|base_layer", name) for name in names)
            hint = (
                "merge the adapter first"
                if adapter
                else "use the class that the checkpoint was saved from (auto=)"
            )
            raise CrocError(
                f"cannot load the model {self.source}: {architecture} has no place for the weights "
                f"{names[0]}{and_others(names)}: {hint}"
            )

    def _read(
        self, source: Any, revision: str | None, load: Callable[..., Any], file: str = "config.json"
    ) -> Any:
        """What ``load`` returns for a folder or a repository, from the cache where it is complete there.

        Raises:
            CrocError: it is not in the cache, and the Hub does not give it.
        """
        name = str(source)
        require_source(source)
        if Path(name).is_dir():
            return load(name, revision=revision)
        is_cached = cached(name, revision, file)
        if is_cached and (revision is not None or is_offline()):
            try:
                # A commit does not change: nothing is asked of the Hub, which may be out of reach.
                return load(name, revision=revision, local_files_only=True)
            except OSError:
                if is_offline():
                    raise
        try:
            require_readable(name, revision, file)
        except HubUnreachable:
            if not is_cached:
                raise
            return load(name, revision=revision, local_files_only=True)
        return load(name, revision=revision)

    def _reason(self, error: Exception) -> str:
        """Why loading failed; a folder with pickled weights only gets its own message."""
        pickles = sorted(Path(self.source).glob("pytorch_model*.bin")) if self.is_local else []
        if pickles and not self._has_safetensors and not self._torch_weights:
            return f"{pickles[0].name} is a pickle, which could run code; save the weights as safetensors"
        return first_line(error)

    @cached_property
    def processor(self) -> Any:
        """The processor: image processor and tokenizer in one."""
        if self._processor is not None and not isinstance(self._processor, str | Path):
            return self._processor
        from transformers import AutoProcessor

        revision = self.revision
        if self._processor is not None:
            source, revision = self._processor, self._processor_revision
        else:
            source = self._place
        options: dict[str, Any] = {"backend": self._backend} if self._backend else {}
        options |= {"trust_remote_code": self.trust_remote_code}

        def read(name: str, **place: Any) -> Any:
            if Path(name).is_dir():
                check_tokenizers(Path(name))
            if processor_class(name, place) == phi4_processor.PROCESSOR:
                return phi4_processor.load_processor(name, self._backend, place)
            if importlib.util.find_spec("torchvision") is None:
                return processor_for_images(name, options | place)
            return AutoProcessor.from_pretrained(name, **options, **place)

        try:
            return self._read(source, revision, read, file="tokenizer_config.json")
        except damaged(OSError, ValueError, ImportError) as error:
            if self._processor is None:
                self._require_imported()
            reason = first_line(error)
            if reason.startswith("Can't load image processor"):
                reason = "it has no image processor, so it cannot score images"
            raise CrocError(f"cannot load the processor of {source}: {reason}") from error

    @cached_property
    def processor_options(self) -> dict[str, Any]:
        """The arguments of the image processor.

        Raises:
            InputError: it has no such argument.
        """
        processor = self.processor.image_processor
        known: Mapping[str, Any] = getattr(getattr(processor, "valid_kwargs", None), "__annotations__", {})
        for name in self._processor_options:
            if known and name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(sorted(known))}"
                raise InputError(
                    f"processor_options: the image processor of {self.name} has no option {name!r}: {hint}"
                )
        return self._processor_options

    def pixels(self, images: Sequence[Image], **options: Any) -> dict[str, Any]:
        """The image processor's output for RGB images, as tensors on the model's device."""
        return self.to_device(self._processed(images, "pt", **options))

    def prepared(self, image: Image) -> dict[str, Any]:
        """The image processor's output for one image, on the CPU; safe to call from several threads."""
        # A tensor made in another thread would start that thread's own pool of workers besides the model's.
        return dict(self._processed([image], "np" if self.image_backend == "pil" else "pt"))

    def joined(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Several outputs of :meth:`prepared` as one batch on the model's device."""
        torch = require_torch()
        rows = {key: [torch.as_tensor(item[key]) for item in items] for key in items[0]}
        return self.to_device({key: torch.cat(tensors) for key, tensors in rows.items()})

    def _processed(self, images: Sequence[Image], tensors: str, **options: Any) -> Any:
        if self.framing == "letterbox":
            return {"pixel_values": self._letterboxed(images)}
        options = {**self.processor_options, **options}
        return self.process(
            images,
            lambda some: self.processor.image_processor(images=some, return_tensors=tensors, **options),
        )

    def _letterboxed(self, images: Sequence[Image]) -> Any:
        processor = self.processor.image_processor
        size = getattr(processor, "crop_size", None) or processor.size
        frames = [
            letterboxed(to_rgb(image), size["height"], processor.image_mean, processor.image_std)
            for image in images
        ]
        return require_torch().stack(frames)

    def process(self, images: Sequence[Image], processor: Callable[[Sequence[Image]], Any]) -> Any:
        """The output of ``processor`` for the images.

        Raises:
            UnscoredPairs: the processor cannot process some images (such as a very long and thin one).
        """
        images = [to_rgb(image) for image in images]
        if self.framing == "square":
            mean = self.processor.image_processor.image_mean
            images = [padded_square(image, mean) for image in images]
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
                        f"the image processor cannot process {width}×{height} pixels: {first_line(why)}"
                    )
            if reasons:
                raise UnscoredPairs(reasons) from error
            raise
        except damaged() as error:
            raise CrocError(f"cannot use the processor of {self.source}: {first_line(error)}") from error

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
        """``pil``, ``torchvision`` or ``torch`` (a letterbox): they do not give the same pixels."""
        if self.framing == "letterbox":
            return "torch"
        name = type(self.processor.image_processor).__mro__
        if any("Torchvision" in base.__name__ or base.__name__.endswith("Fast") for base in name):
            return "torchvision"
        return "pil"

    @cached_property
    def pinned(self) -> str:
        """The revision in a signature: a commit, a fingerprint of local weights, or ``unpinned``."""
        if not isinstance(self.source, str | Path):
            return f"object:{model_fingerprint(self.source)}"
        if self.is_local:
            return f"local:{folder_fingerprint(Path(self.source), self._weights_file)}"
        if self._imported is not None:
            return str(imported.read_record(self._imported).get("revision"))
        return self.revision or "unpinned"

    @property
    def commit(self) -> str | None:
        """The commit of a model on the Hub whose weights are loaded; None of any other model."""
        return self.revision or getattr(self.model.config, "_commit_hash", None)

    def fields(self) -> dict[str, str]:
        """The checkpoint's part of a scorer's fields; a folder is given without its path."""
        on_hub = isinstance(self.source, str | Path) and not self.is_local
        backend = self.image_backend
        fields = {
            "model": str(self.source) if on_hub else self.name,
            "revision": self.pinned,
            "dtype": str(self.dtype).removeprefix("torch."),
            "image_processor": backend,
        }
        if backend == "pil":
            # Versions of Pillow resize to different pixels.
            fields["pillow"] = version("pillow")
        if self._weights_file is not None:
            fields["weights"] = self._weights_file
        if self._imported is not None and (stored := imported.read_record(self._imported).get("dtype")):
            fields["weights"] = f"imported as {stored}"
        if self.framing is not None:
            fields["framing"] = self.framing
        if self._ignored_weights:
            fields["ignored_weights"] = ", ".join(self._ignored_weights)
        if self.processor_options:
            fields["processor_options"] = ", ".join(
                f"{name}={json.dumps(value)}" for name, value in sorted(self.processor_options.items())
            )
        return fields


def require_options(given: Mapping[str, Any]) -> None:
    """Require options that a checkpoint has.

    Raises:
        InputError: one is unknown; the message names one with a similar name.
    """
    for name in given:
        if name == "auto" or name in _OPTIONS:
            continue
        near = difflib.get_close_matches(name, _OPTIONS, 1)
        hint = f"did you mean {near[0]}?" if near else f"a checkpoint has {', '.join(_OPTIONS)}"
        raise InputError(f"there is no option {name!r}: {hint}")


_OPTIONS = tuple(inspect.signature(Checkpoint).parameters)[2:-1]


def in_batches(total: int, size: int) -> list[slice]:
    """Slices of at most ``size`` that cover ``range(total)``."""
    if size < 1:
        raise InputError(f"batch_size must be at least 1, not {size}")
    return [slice(start, min(start + size, total)) for start in range(0, total, size)]
