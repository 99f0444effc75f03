"""Which part of a model is trained: all of it, some parameters, a LoRA adapter, or both of these.

The paper's CROCScore trains the vision encoder, the vision LoRA, the last two blocks and the output layer. An
adapter's own way of saving keeps the adapter alone; what else is trained lies beside it in :data:`BESIDE`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from croc.errors import CrocError, InputError, MissingExtra
from crocscore.training.recipe import Arguments

BESIDE = "trained_beside_adapter.safetensors"
_ADAPTER = "adapter_model.safetensors"
_PREFIX = "base_model.model."


def prepare(model: Any, chosen: Arguments) -> Any:
    """Put an adapter on a model where the recipe asks for one, and let only the chosen parameters be trained.

    Args:
        model: a transformers model.
        chosen: the recipe.

    Returns:
        The model, or a PEFT model around it.

    Raises:
        InputError: a prefix or pattern meets nothing, or the adapter cannot be read.
        MissingExtra: an adapter is asked for and PEFT is not installed.
    """
    picked = _picked(model, chosen)
    wrapped = model
    if chosen.lora_r is not None or chosen.adapter is not None:
        wrapped = _with_adapter(model, chosen)
        own = {id(parameter) for name, parameter in wrapped.named_parameters() if "lora_" in name}
        # Without a choice of parameters the adapter is all that is trained.
        picked = own | (picked if chosen.train_only or chosen.last_blocks else set())
    for parameter in wrapped.parameters():
        parameter.requires_grad_(id(parameter) in picked)
    return wrapped


def is_adapted(model: Any) -> bool:
    """Whether a model is one of PEFT's."""
    return hasattr(model, "peft_config") and hasattr(model, "get_base_model")


def round_to(model: Any, dtype: str) -> None:
    """Round all weights to what ``dtype`` can hold, in place; they stay of the type that they are."""
    import torch

    with torch.no_grad():
        for value in model.parameters():
            value.copy_(value.to(getattr(torch, dtype)))


def plain(model: Any) -> Any:
    """The transformers model itself; its layers may hold an adapter."""
    return model.get_base_model() if is_adapted(model) else model


def merged(model: Any) -> Any:
    """A plain model with the adapter written into its weights; the given one is used up."""
    return model.merge_and_unload() if is_adapted(model) else model


def save_beside(model: Any, folder: str | Path) -> None:
    """Keep what is trained beside an adapter; nothing is written when nothing is."""
    from safetensors.torch import save_file

    held = _beside(model) if is_adapted(model) else {}
    if held:
        save_file(
            {name: value.detach().cpu().contiguous() for name, value in held.items()}, Path(folder) / BESIDE
        )


def restore(model: Any, folder: str | Path) -> None:
    """Load the weights of a training checkpoint into the model that is being trained.

    The Trainer's own load keeps the first weights, and only warns, where a model saves under older names
    (Llava, Qwen2.5-VL).

    Raises:
        CrocError: the checkpoint does not hold what is trained.
    """
    if not is_adapted(model):
        stored = type(model).from_pretrained(str(folder), dtype=model.dtype)
        model.load_state_dict(stored.state_dict())
        return
    from safetensors.torch import load_file

    _load_adapter(model, Path(folder) / _ADAPTER)
    held = _beside(model)
    stored = load_file(Path(folder) / BESIDE) if (Path(folder) / BESIDE).is_file() else {}
    if lost := sorted(set(held) - set(stored)):
        raise CrocError(f"{folder}: it does not hold {lost[0]}, which is trained beside the adapter")
    for name, parameter in held.items():
        parameter.data.copy_(stored[name])


# ---- Parts of a model ----


def _picked(model: Any, chosen: Arguments) -> set[int]:
    """Identities of the parameters to train; an adapter keeps the objects and changes their names."""
    # Tied weights have two names: the output layer may be called by either.
    named = list(model.named_parameters(remove_duplicate=False))
    if chosen.train_only or chosen.last_blocks:
        picked = {id(parameter) for _, parameter in _begin(named, chosen.train_only, "train_only")}
        for block in _blocks(model, chosen.last_blocks or 0):
            picked |= {id(parameter) for parameter in block.parameters()}
    else:
        picked = {id(parameter) for _, parameter in named}
    return picked - {id(parameter) for _, parameter in _begin(named, chosen.freeze, "freeze")}


def _begin(named: Sequence[tuple[str, Any]], prefixes: Iterable[str], key: str) -> list[tuple[str, Any]]:
    found = []
    for prefix in prefixes:
        mine = [(name, parameter) for name, parameter in named if name.startswith(prefix)]
        if not mine:
            raise InputError(f"{key}: no parameter of the model begins with {prefix!r}")
        found += mine
    return found


def _blocks(model: Any, count: int) -> list[Any]:
    if not count:
        return []
    blocks = getattr(model.get_decoder(), "layers", ())
    if len(blocks) < count:
        raise InputError(f"last_blocks: the language model has {len(blocks)} blocks, not {count}")
    return list(blocks)[-count:]


# ---- Adapters ----


def _with_adapter(model: Any, chosen: Arguments) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingExtra("a LoRA adapter", "train") from error
    if chosen.adapter is None:
        layers = [name for name, _ in model.named_modules()]
        try:
            met = any(re.fullmatch(chosen.lora_targets or "", name) for name in layers)
        except re.error as error:
            raise InputError(
                f"lora_targets: {chosen.lora_targets!r} is no regular expression ({error})"
            ) from None
        if not met:
            raise InputError(f"lora_targets: no layer of the model is called like {chosen.lora_targets!r}")
        config = LoraConfig(
            r=chosen.lora_r,
            lora_alpha=chosen.lora_alpha or 2 * chosen.lora_r,
            lora_dropout=chosen.lora_dropout,
            target_modules=chosen.lora_targets,
        )
        return get_peft_model(model, config)
    folder = _adapter_folder(chosen)
    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode = False
    wrapped = get_peft_model(model, config)
    _load_adapter(wrapped, folder / _ADAPTER)
    return wrapped


def _adapter_folder(chosen: Arguments) -> Path:
    inside = Path(chosen.model) / str(chosen.adapter)
    for folder in (Path(str(chosen.adapter)), inside):
        if (folder / _ADAPTER).is_file():
            return folder
    if Path(chosen.model).is_dir() or Path(str(chosen.adapter)).is_dir():
        raise InputError(f"adapter: {chosen.adapter} holds no {_ADAPTER}, nor does {inside}")
    from huggingface_hub import snapshot_download

    held = snapshot_download(chosen.model, revision=chosen.revision, allow_patterns=[f"{chosen.adapter}/*"])
    folder = Path(held) / str(chosen.adapter)
    if not (folder / _ADAPTER).is_file():
        raise InputError(f"adapter: {chosen.model} holds no {chosen.adapter}/{_ADAPTER}")
    return folder


def _load_adapter(model: Any, file: Path) -> None:
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    if not file.is_file():
        raise CrocError(f"{file.parent}: it holds no {file.name}")
    # Without the prefix PEFT would warn and load nothing.
    stored = {
        name if name.startswith(_PREFIX) else _PREFIX + name: value for name, value in load_file(file).items()
    }
    strange = set_peft_model_state_dict(model, stored).unexpected_keys
    fresh = {name.replace(".default", "") for name, _ in model.named_parameters() if "lora_" in name}
    wrong = sorted({*strange, *(fresh - set(stored))})
    if wrong:
        raise CrocError(f"{file}: it is no adapter of this model ({wrong[0]})")


def _beside(model: Any) -> dict[str, Any]:
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and "lora_" not in name
    }
