"""What is trained of a model: all of it, some parameters, a LoRA adapter, or parameters and an adapter.

The paper's CROCScore trains the vision encoder, the vision LoRA, the last two blocks and the output layer.
PEFT saves the adapter alone; other trained parameters are saved beside it, in :data:`BESIDE`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from croc.errors import CrocError, InputError, MissingExtra
from croc.scorers.phi4_multimodal.imported import find_imported
from croc.wording import counted
from crocscore.training.recipe import Arguments

BESIDE = "trained_beside_adapter.safetensors"
_ADAPTER = "adapter_model.safetensors"
_PREFIX = "base_model.model."


def select_trainable(model: Any, arguments: Arguments) -> Any:
    """Add the adapter that the recipe names, and mark the parameters that are trained.

    Args:
        model: a transformers model.
        arguments: the recipe.

    Returns:
        The model, or a PEFT model around it.

    Raises:
        InputError: a prefix or pattern matches nothing, or the adapter cannot be read.
        MissingExtra: an adapter is named and PEFT is not installed.
    """
    selected = _selected(model, arguments)
    wrapped = model
    if arguments.lora_r is not None or arguments.adapter is not None:
        wrapped = _add_adapter(model, arguments)
        adapter = {id(parameter) for name, parameter in wrapped.named_parameters() if "lora_" in name}
        # If the recipe selects no parameters, only the adapter is trained.
        selected = adapter | (selected if arguments.train_only or arguments.last_blocks else set())
    for parameter in wrapped.parameters():
        parameter.requires_grad_(id(parameter) in selected)
    return wrapped


def has_adapter(model: Any) -> bool:
    """Whether a model is a PEFT model."""
    return hasattr(model, "peft_config") and hasattr(model, "get_base_model")


def transformers_model(model: Any) -> Any:
    """The transformers model without its PEFT wrapper; its layers may contain an adapter."""
    return model.get_base_model() if has_adapter(model) else model


def merge_adapter(model: Any) -> Any:
    """A transformers model whose weights include the adapter; the given model must not be used afterwards."""
    return model.merge_and_unload() if has_adapter(model) else model


def save_beside_adapter(model: Any, folder: str | Path) -> None:
    """Save the trained parameters that are not part of the adapter, if there are any."""
    from safetensors.torch import save_file

    beside = _beside_adapter(model) if has_adapter(model) else {}
    if beside:
        save_file(
            {name: value.detach().cpu().contiguous() for name, value in beside.items()}, Path(folder) / BESIDE
        )


def remove_weights(folder: Path) -> None:
    """Remove the weights of an earlier training, which a loader could mix with the new ones."""
    for pattern in ("*.safetensors", "*.safetensors.index.json", "adapter_config.json", "config.json"):
        for file in folder.glob(pattern):
            file.unlink()


def restore_weights(model: Any, folder: str | Path) -> None:
    """Load the weights of a training checkpoint into the model that is trained.

    Where a model is saved under older parameter names (Llava, Qwen2.5-VL), the Trainer's own loading keeps
    the initial weights and only warns.

    Raises:
        CrocError: the checkpoint lacks parameters that are trained.
    """
    if not has_adapter(model):
        stored = type(model).from_pretrained(str(folder), dtype=model.dtype)
        model.load_state_dict(stored.state_dict())
        return
    _load_adapter(model, Path(folder) / _ADAPTER)
    loaded = _load_beside(model, Path(folder))
    if missing := sorted(set(_beside_adapter(model)) - loaded):
        raise CrocError(f"{folder} lacks the parameter {missing[0]}, which is trained besides the adapter")


# ---- Parameters ----


def _selected(model: Any, arguments: Arguments) -> set[int]:
    """Identities of the parameters to train; adding an adapter keeps the objects and changes their names."""
    # Tied weights have two names; the output layer may be selected by either.
    parameters = list(model.named_parameters(remove_duplicate=False))
    if arguments.train_only or arguments.last_blocks:
        selected = _with_prefix(parameters, arguments.train_only, "train_only")
        for block in _last_blocks(model, arguments.last_blocks or 0):
            selected |= {id(parameter) for parameter in block.parameters()}
    else:
        selected = {id(parameter) for _, parameter in parameters}
    return selected - _with_prefix(parameters, arguments.freeze, "freeze")


def _with_prefix(parameters: Sequence[tuple[str, Any]], prefixes: Iterable[str], key: str) -> set[int]:
    """Identities of the parameters whose names begin with one of the prefixes."""
    selected: set[int] = set()
    for prefix in prefixes:
        matching = {id(parameter) for name, parameter in parameters if name.startswith(prefix)}
        if not matching:
            raise InputError(f"{key}: no parameter of the model begins with {prefix!r}")
        selected |= matching
    return selected


def _last_blocks(model: Any, count: int) -> list[Any]:
    if not count:
        return []
    blocks = getattr(model.get_decoder(), "layers", ())
    if len(blocks) < count:
        number = counted(len(blocks), "block")
        raise InputError(f"last_blocks is {count}, but the language model has {number}")
    return list(blocks)[-count:]


# ---- Adapters ----


def _add_adapter(model: Any, arguments: Arguments) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingExtra("a LoRA adapter", "train") from error
    if arguments.lora_r is not None:
        targets = arguments.lora_targets or ""
        try:
            matches = any(re.fullmatch(targets, name) for name, _ in model.named_modules())
        except re.error as error:
            raise InputError(f"lora_targets: {targets!r} is not a regular expression ({error})") from None
        if not matches:
            raise InputError(f"lora_targets: no layer of the model has a name that matches {targets!r}")
        config = LoraConfig(
            r=arguments.lora_r,
            lora_alpha=arguments.lora_alpha or 2 * arguments.lora_r,
            lora_dropout=arguments.lora_dropout,
            target_modules=targets,
        )
        try:
            return get_peft_model(model, config)
        except ValueError as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"lora_targets: an adapter cannot be added to {targets!r}: {reason}") from None
    return add_stored_adapter(model, _adapter_folder(arguments))


def add_stored_adapter(model: Any, folder: Path) -> Any:
    """A PEFT model around a transformers model, with an adapter and what was trained beside it.

    Raises:
        CrocError: the adapter is of another model, or the folder has none.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode = False
    wrapped = get_peft_model(model, config)
    _load_adapter(wrapped, folder / _ADAPTER)
    _load_beside(wrapped, folder)
    return wrapped


def _adapter_folder(arguments: Arguments) -> Path:
    """The folder of the adapter: as named, or inside the model's folder or repository."""
    model, adapter = arguments.model, str(arguments.adapter)
    # A repository that was imported for training has its adapter in the imported folder.
    imported = None if Path(model).is_dir() else find_imported(model, arguments.revision, separate=True)
    inside = (imported or Path(model)) / adapter
    for folder in (Path(adapter), inside):
        if (folder / _ADAPTER).is_file():
            return folder
    if imported or Path(model).is_dir() or Path(adapter).is_dir():
        raise InputError(f"adapter: {_ADAPTER} is neither in {adapter} nor in {inside}")
    from huggingface_hub import snapshot_download

    snapshot = snapshot_download(model, revision=arguments.revision, allow_patterns=[f"{adapter}/*"])
    folder = Path(snapshot) / adapter
    if not (folder / _ADAPTER).is_file():
        raise InputError(f"adapter: {model} has no {adapter}/{_ADAPTER}")
    return folder


def _load_adapter(model: Any, file: Path) -> None:
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    if not file.is_file():
        raise CrocError(f"{file.parent} has no {file.name}")
    # Without the prefix PEFT only warns, and loads nothing.
    stored = {
        name if name.startswith(_PREFIX) else _PREFIX + name: value for name, value in load_file(file).items()
    }
    loaded: Any = set_peft_model_state_dict(model, stored)
    expected = {name.replace(".default", "") for name, _ in model.named_parameters() if "lora_" in name}
    wrong = sorted({*loaded.unexpected_keys, *(expected - set(stored))})
    if wrong:
        raise CrocError(f"{file}: not an adapter of this model ({wrong[0]})")


def _load_beside(model: Any, folder: Path) -> set[str]:
    """Load the parameters in :data:`BESIDE`, if there are any; their names.

    Raises:
        CrocError: the model has no such parameter, or one of another shape.
    """
    from safetensors.torch import load_file

    file = folder / BESIDE
    stored = load_file(file) if file.is_file() else {}
    parameters = dict(model.named_parameters())
    for name, value in stored.items():
        if name not in parameters or parameters[name].shape != value.shape:
            raise CrocError(f"{file}: not of this model ({name})")
        parameters[name].data.copy_(value)
    return set(stored)


def _beside_adapter(model: Any) -> dict[str, Any]:
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and "lora_" not in name
    }
