"""``croc import-checkpoint``: a checkpoint in Microsoft's layout becomes one of transformers' own class.

Every weight is renamed, and the LoRA adapter for images is merged into the weights that it adapts. The files
are written one after another, each from the weights that it needs: the model is never in memory as a whole.
An interrupted import is resumed.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

from croc.errors import InputError, MissingExtra
from croc.jobs import runner
from croc.jobs.parts import Part
from croc.scorers.phi4_multimodal import layout
from croc.scorers.phi4_multimodal.imported import (
    ADAPTER,
    BASE,
    BASE_REVISION,
    RECORD,
    default_folder,
)
from croc.scorers.phi4_multimodal.weight_files import Source, Weight, read_weight, size_of
from croc.storage.files import LOCK, differences, folder_digest, locked, read_json, write_json
from croc.wording import counted

DTYPES = ("float32", "bfloat16", "float16")

_WORK = "unfinished"
_SHARD_BYTES = 1024**3
_FORMAT = 1
_TIED = "lm_head.weight"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
# Buffers that the class computes.
_BUFFERS = (r"(^|\.)position_ids$", r"(^|\.)rotary_emb\.inv_freq$")
_TORCH_NAMES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}


@dataclass(frozen=True)
class Piece:
    """One weight of the imported checkpoint.

    Attributes:
        name: in the class of transformers.
        origin: ``source`` or ``base``.
        key: its name there.
        weight: its file, shape and type there.
        halves: of an adapter that is merged into it: the names of A and B in the source, with their weights.
    """

    name: str
    origin: str
    key: str
    weight: Weight
    halves: tuple[tuple[str, Weight], tuple[str, Weight]] | None = None


@dataclass
class Plan:
    """What an import writes.

    Attributes:
        pieces: the weights, in the order of the class.
        adapter: halves of the adapter for images by their names in PEFT's layout, if it stays separate.
        lora: scale of the adapter.
        left_out: number of weights of the source that the class has no place for, by what they are.
    """

    pieces: list[Piece]
    adapter: dict[str, tuple[str, Weight]]
    lora: layout.Lora
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def merged(self) -> int:
        """Number of layers that the adapter is merged into."""
        return sum(piece.halves is not None for piece in self.pieces)

    @property
    def from_base(self) -> int:
        """Number of weights that the base model gives."""
        return sum(piece.origin == "base" for piece in self.pieces)


def import_checkpoint(
    source: str | Path,
    out: str | Path | None = None,
    *,
    revision: str | None = None,
    base: str | Path = BASE,
    base_revision: str | None = None,
    dtype: str | None = None,
    keep_adapter: bool = False,
    shard_bytes: int = _SHARD_BYTES,
    progress: bool = True,
    log: Callable[[str], None] = lambda line: None,
) -> Path:
    """Write a checkpoint of transformers' Phi-4-multimodal from one in Microsoft's layout.

    Args:
        source: folder or Hub id of the checkpoint.
        out: folder to write; None takes a place in the cache of the Hub, where the Hub id finds it.
        revision: commit, tag or branch of the source; a branch is recorded as the commit that it points to.
        base: folder or Hub id of Microsoft's model; it gives the audio part and the tokenizer, where the
            source has none.
        base_revision: commit of the base model; None takes the pinned one for Microsoft's repository.
        dtype: ``float32``, ``bfloat16`` or ``float16``; None keeps the type of every weight. Adapters are
            merged in float32, then rounded.
        keep_adapter: leave the adapter for images out of the weights and write it beside them
            (``vision-lora/``), to train it further.
        shard_bytes: largest size of a file, if no single weight is larger.
        progress: show the progress.
        log: is given lines about what is done.

    Returns:
        The folder.

    Raises:
        CrocError: the source cannot be read, is not in Microsoft's layout, or is incomplete; or the folder
            holds something else.
    """
    _require_packages()
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f"dtype {dtype!r} is unknown: use one of {', '.join(DTYPES)}")
    origin = Source(str(source), revision)
    settings = origin.json("config.json")
    if settings.get("model_type") == "phi4_multimodal":
        raise InputError(
            f"{origin.pinned} is in the layout of transformers already: use it as it is, model={source}"
        )
    weights = origin.weights()
    log(f"{origin.pinned}: {counted(len(weights), 'weight')} in {_files(weights.values())}")
    other = _Base(str(base), base_revision)
    config = layout.converted_config(settings, {name: weight.shape for name, weight in weights.items()})
    plan = make_plan(settings, config, weights, other.audio_weights, keep_adapter=keep_adapter)
    config.dtype = dtype or _most_common_dtype(plan)
    config.croc = {
        "question": layout.QUESTION,
        "answers": ["Yes", "No"],
        "image_size": list(layout.IMAGE_SIZE),
    }
    processor = _processor(origin, other)

    folder = (
        Path(out) if out is not None else default_folder(origin.name, origin.revision, separate=keep_adapter)
    )
    record = {
        "format": _FORMAT,
        "source": origin.name if not origin.is_folder else origin.pinned,
        "revision": origin.revision,
        "digest": folder_digest(Path(origin.name)) if origin.is_folder else None,
        "base": other.source.pinned if other.was_used else None,
        "adapter": "separate" if keep_adapter else "merged",
        "dtype": dtype,
    }
    if _is_finished(folder, record):
        log(f"{folder} holds this import already")
        return folder
    _require_space(folder, plan, dtype)
    with locked(folder, leave_nothing=True):
        if _is_finished(folder, record):  # by another process since
            return folder
        for line in _description(plan, other, keep_adapter):
            log(line)
        _write_weights(folder, plan, record, origin, other, dtype, shard_bytes, progress)
        _write_settings(folder, plan, config, processor, record)
    return folder


def make_plan(
    settings: Mapping[str, Any],
    config: Any,
    weights: Mapping[str, Weight],
    audio_weights: Callable[[], Mapping[str, Weight]],
    *,
    keep_adapter: bool = False,
) -> Plan:
    """Which weight becomes which, with all shapes checked.

    Args:
        settings: Microsoft's configuration.
        config: the configuration for transformers.
        weights: those of the source, by name.
        audio_weights: gives those of the audio part of the base model; called if the source has none.
        keep_adapter: see :func:`import_checkpoint`.

    Raises:
        InputError: a weight is missing, has a wrong shape, or has no place.
    """
    expected = _expected_shapes(config)
    lora = layout.vision_lora(settings)
    plan = Plan([], {}, lora)
    halves: dict[str, dict[str, tuple[str, Weight]]] = {}
    given: dict[str, tuple[str, str, Weight]] = {}
    for key, weight in weights.items():
        if part := layout.lora_weight(key):
            if part.adapter == "vision":
                halves.setdefault(part.layer, {})[part.half] = (key, weight)
            else:
                plan.left_out[f"{part.adapter} LoRA"] += 1
        elif any(re.search(pattern, key) for pattern in _BUFFERS):
            plan.left_out["computed buffers"] += 1
        elif key == _TIED and config.tie_word_embeddings:
            plan.left_out["output layer, which is the embedding"] += 1
        else:
            given[layout.new_name(key)] = ("source", key, weight)
    if not any(name.startswith(layout.AUDIO_PART) for name in given):
        for key, weight in audio_weights().items():
            given[layout.new_name(key)] = ("base", key, weight)
    if missing := [name for name in expected if name not in given]:
        raise InputError(f"the checkpoint has no weights for {missing[0]}{_and_others(missing)}")
    if unknown := [given[name][1] for name in given if name not in expected]:
        raise InputError(
            f"{layout.ARCHITECTURE} has no place for the weights {unknown[0]}{_and_others(unknown)}"
        )
    for name, shape in expected.items():
        origin, key, weight = given[name]
        if weight.shape != shape:
            raise InputError(f"the weight {key} has the shape {weight.shape}, where config.json says {shape}")
        layer = name.removesuffix(".weight")
        pair = None
        if layer.endswith(layout.ADAPTED) and name.startswith("model.layers."):
            pair = _checked_halves(layer, halves.pop(layer, {}), shape, lora)
            if keep_adapter:
                for letter, half in zip("AB", pair, strict=True):
                    plan.adapter[f"base_model.model.{layer}.lora_{letter}.weight"] = half
                pair = None
        plan.pieces.append(Piece(name, origin, key, weight, pair))
    if halves:
        raise InputError(f"the vision LoRA adapts {next(iter(halves))}, which this program does not expect")
    return plan


def _checked_halves(
    layer: str, found: Mapping[str, tuple[str, Weight]], shape: tuple[int, ...], lora: layout.Lora
) -> tuple[tuple[str, Weight], tuple[str, Weight]]:
    """A and B of the adapter of a layer."""
    if set(found) != {"A", "B"}:
        raise InputError(f"the checkpoint has no complete vision LoRA of {layer}")
    for half, expected in (("A", (lora.r, shape[1])), ("B", (shape[0], lora.r))):
        key, weight = found[half]
        if weight.shape != expected:
            raise InputError(
                f"the weight {key} has the shape {weight.shape}, expected {expected} for r = {lora.r}"
            )
    return found["A"], found["B"]


def _expected_shapes(config: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights that the class of transformers stores."""
    import torch
    from transformers import Phi4MultimodalForCausalLM

    with torch.device("meta"):
        model = Phi4MultimodalForCausalLM(config)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if config.tie_word_embeddings:
        del shapes[_TIED]
    return shapes


# ---- Writing ----


def _write_weights(
    folder: Path,
    plan: Plan,
    record: Mapping[str, Any],
    origin: Source,
    base: _Base,
    dtype: str | None,
    shard_bytes: int,
    progress: bool,
) -> None:
    shards = _shards(plan, dtype, shard_bytes)
    parts = [
        Part(f"model-{number:05}-of-{len(shards):05}", [_payload(piece, plan.lora) for piece in shard])
        for number, shard in enumerate(shards, 1)
    ]
    if plan.adapter:
        parts.append(
            Part("adapter_model", [_payload_of_half(name, *part) for name, part in plan.adapter.items()])
        )
    files = {
        "source": {piece.weight.file for piece in plan.pieces if piece.origin == "source"},
        "base": {piece.weight.file for piece in plan.pieces if piece.origin == "base"},
    }
    for piece in plan.pieces:
        files["source"] |= {weight.file for _, weight in piece.halves or ()}
    files["source"] |= {weight.file for _, weight in plan.adapter.values()}
    paths = {
        name: {file: str(source.file(file)) for file in sorted(wanted)}
        for name, wanted, source in (
            ("source", files["source"], origin),
            ("base", files["base"], base.source if files["base"] else origin),
        )
    }
    work = folder / _WORK
    runner.run(
        parts,
        partial(write_shard, files=paths, dtype=dtype),
        work,
        suffix=".safetensors",
        fingerprint=dict(record),
        progress=progress,
        what="files",
    )
    for path in sorted((work / "parts").glob("model-*.safetensors")):
        path.replace(folder / path.name)
    if plan.adapter:
        (folder / ADAPTER).mkdir(exist_ok=True)
        (work / "parts" / "adapter_model.safetensors").replace(folder / ADAPTER / "adapter_model.safetensors")
    names = {piece.name: part.name for shard, part in zip(shards, parts, strict=False) for piece in shard}
    write_json(
        folder / "model.safetensors.index.json",
        {
            "metadata": {"total_size": sum(_bytes(piece, dtype) for piece in plan.pieces)},
            "weight_map": {name: f"{part}.safetensors" for name, part in sorted(names.items())},
        },
    )


def write_shard(
    payload: list[dict[str, Any]], path: Path, *, files: Mapping[str, Mapping[str, str]], dtype: str | None
) -> dict[str, int]:
    """Write one file of weights.

    Args:
        payload: per weight its name, origin, file and key; for a merged one also the halves of the adapter.
        path: the file.
        files: paths of the files by origin and name.
        dtype: type of all weights; None keeps that of each.
    """
    import torch
    from safetensors.torch import save_file

    tensors = {}
    for item in payload:
        value = read_weight(files[item["origin"]], item["file"], item["key"])
        wanted = getattr(torch, dtype) if dtype else value.dtype
        if "halves" in item:
            a, b = (read_weight(files["source"], *half).float() for half in item["halves"])
            value = value.float().addmm_(b, a, alpha=item["scale"])
        tensors[item["name"]] = value.to(wanted).contiguous()
    save_file(tensors, path, metadata={"format": "pt"})
    return {"weights": len(tensors)}


def _write_settings(folder: Path, plan: Plan, config: Any, processor: Any, record: Mapping[str, Any]) -> None:
    """Configuration, processor and adapter settings, then the record: with it the folder is complete."""
    processor.save_pretrained(folder)
    config.save_pretrained(folder)
    if plan.adapter:
        write_json(
            folder / ADAPTER / "adapter_config.json",
            {
                "peft_type": "LORA",
                "task_type": "CAUSAL_LM",
                "r": plan.lora.r,
                "lora_alpha": plan.lora.alpha,
                "lora_dropout": 0.0,
                "bias": "none",
                "target_modules": r"model\.layers\.\d+\.(self_attn\.(qkv|o)_proj|mlp\.(gate_up|down)_proj)",
            },
        )
    shutil.rmtree(folder / _WORK, ignore_errors=True)
    write_json(
        folder / RECORD, {**record, "merged": plan.merged, "left_out": dict(sorted(plan.left_out.items()))}
    )


def _shards(plan: Plan, dtype: str | None, shard_bytes: int) -> list[list[Piece]]:
    """The weights, in order, divided into files."""
    shards: list[list[Piece]] = [[]]
    size = 0
    for piece in plan.pieces:
        if shards[-1] and size + _bytes(piece, dtype) > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(piece)
        size += _bytes(piece, dtype)
    return shards


def _bytes(piece: Piece, dtype: str | None) -> int:
    if dtype is None:
        return size_of([piece.weight])
    return prod(piece.weight.shape) * (4 if dtype == "float32" else 2)


def _payload(piece: Piece, lora: layout.Lora) -> dict[str, Any]:
    item: dict[str, Any] = {
        "name": piece.name,
        "origin": piece.origin,
        "file": piece.weight.file,
        "key": piece.key,
    }
    if piece.halves is not None:
        item |= {"halves": [[weight.file, key] for key, weight in piece.halves], "scale": lora.scale}
    return item


def _payload_of_half(name: str, key: str, weight: Weight) -> dict[str, Any]:
    return {"name": name, "origin": "source", "file": weight.file, "key": key}


# ---- Sources ----


class _Base:
    """Microsoft's model, read only if something of it is needed."""

    def __init__(self, name: str, revision: str | None) -> None:
        self._name = name
        self._revision = revision or (BASE_REVISION if name == BASE else None)
        self._source: Source | None = None

    @property
    def was_used(self) -> bool:
        return self._source is not None

    @property
    def source(self) -> Source:
        if self._source is None:
            self._source = Source(self._name, self._revision)
        return self._source

    def audio_weights(self) -> dict[str, Weight]:
        return self.source.weights(layout.AUDIO_PART)


def _processor(origin: Source, base: _Base) -> Any:
    """The processor, with the tokenizer of the source if it has one, otherwise of the base model."""
    from croc.scorers.phi4_multimodal.processor import build_processor

    has_own = all(origin.has(name) for name in _TOKENIZER)
    holder = origin if has_own else base.source
    tokenizer, settings = _TOKENIZER
    return build_processor(holder.file(tokenizer), holder.json(settings))


def _most_common_dtype(plan: Plan) -> str:
    sizes: Counter[str] = Counter()
    for piece in plan.pieces:
        sizes[piece.weight.dtype] += prod(piece.weight.shape)
    return _TORCH_NAMES.get(sizes.most_common(1)[0][0], "float32")


# ---- Checks and messages ----


def _require_packages() -> None:
    try:
        import safetensors
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtra("importing a checkpoint", "score") from error
    assert safetensors and torch and transformers


def _is_finished(folder: Path, record: Mapping[str, Any]) -> bool:
    """Whether the folder holds this import.

    Raises:
        InputError: it holds something else.
    """
    if folder.is_file():
        raise InputError(f"{folder} is a file: choose another folder")
    stored = read_json(folder / RECORD)
    if stored is not None:
        kept = {key: stored.get(key) for key in record} if isinstance(stored, dict) else {}
        if different := differences(kept, record):
            raise InputError(f"{folder} holds another import ({'; '.join(different)}): choose another folder")
        return True
    others = [path for path in folder.iterdir() if path.name != LOCK] if folder.is_dir() else []
    if others and not (folder / _WORK).is_dir():
        raise InputError(f"{folder} is not empty, and holds no import: choose another folder")
    return False


def _require_space(folder: Path, plan: Plan, dtype: str | None) -> None:
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    done = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    needed = sum(_bytes(piece, dtype) for piece in plan.pieces) - done
    needed += size_of([weight for _, weight in plan.adapter.values()])
    free = shutil.disk_usage(place).free
    if needed > free:
        raise InputError(
            f"{folder}: the imported checkpoint needs {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
        )


def _description(plan: Plan, base: _Base, keep_adapter: bool) -> list[str]:
    adapter = f"vision LoRA (r {plan.lora.r}, alpha {plan.lora.alpha:g})"
    layers = len(plan.adapter) // 2 if keep_adapter else plan.merged
    done = f"written to {ADAPTER}/" if keep_adapter else "merged into the weights"
    lines = [f"{adapter} of {counted(layers, 'layer')}: {done}"]
    if plan.from_base:
        lines.append(f"audio part: {counted(plan.from_base, 'weight')} of {base.source.pinned}")
    lines += [f"left out: {counted(number, 'weight')} ({what})" for what, number in plan.left_out.items()]
    return lines


def _files(weights: Any) -> str:
    return counted(len({weight.file for weight in weights}), "file")


def _and_others(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
