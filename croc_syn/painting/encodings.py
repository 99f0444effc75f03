"""How diffusers' pipelines take prompts that are encoded already, and which of their arguments is guidance.

A pipeline of a class that is not listed encodes the prompt of every image itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from croc_syn.painting.settings import ImageModel

NEGATIVE = "negative_prompt"
MASK = "prompt_embeds_mask"


@dataclass(frozen=True)
class Encoding:
    """How a class of pipelines encodes prompts.

    Attributes:
        returned: what its ``encode_prompt`` returns, as arguments of its call; None is not passed on.
        lengths: ``equal``: tensors of one length for all prompts; ``mask``: a tensor that is padded to the
            longest prompt of the batch, and its mask; ``list``: a list with a tensor per prompt.
        guidance: the argument of its call that the setting ``guidance`` sets.
        scale: the argument that is the strength of classifier-free guidance, which needs a second prediction
            for a negative prompt; None if the class has none.
        off: guidance acts if its strength is above this.
        negative: the negative prompt of a class that has none by itself.
    """

    returned: tuple[str | None, ...]
    lengths: Literal["equal", "mask", "list"] = "equal"
    guidance: str = "guidance_scale"
    scale: str | None = "guidance_scale"
    off: float = 1.0
    negative: str = ""


_PAIR = ("prompt_embeds", "negative_prompt_embeds")
_FOUR = Encoding((*_PAIR, "pooled_prompt_embeds", "negative_pooled_prompt_embeds"))
_SANA = ("prompt_embeds", "prompt_attention_mask")

ENCODINGS: Mapping[str, Encoding] = {
    # Guidance of FLUX is an input of the model; its classifier-free guidance has another name.
    "FluxPipeline": Encoding(("prompt_embeds", "pooled_prompt_embeds", None), scale="true_cfg_scale"),
    "Flux2Pipeline": Encoding(("prompt_embeds", None), scale=None),
    "Flux2KleinPipeline": Encoding(("prompt_embeds", None)),
    # Without a negative prompt Qwen-Image has no guidance at all; its model card's is a space.
    "QwenImagePipeline": Encoding(
        ("prompt_embeds", MASK),
        lengths="mask",
        guidance="true_cfg_scale",
        scale="true_cfg_scale",
        negative=" ",
    ),
    "SanaPipeline": Encoding((*_SANA, *(f"negative_{name}" for name in _SANA))),
    "SanaSprintPipeline": Encoding(_SANA, scale=None),
    "StableDiffusion3Pipeline": _FOUR,
    "StableDiffusionXLPipeline": _FOUR,
    "StableDiffusionPipeline": Encoding(_PAIR),
    "ZImagePipeline": Encoding(_PAIR, lengths="list", off=0.0),
}
"""By the name of the class."""


@dataclass
class PromptEncoder:
    """Encodes prompts with a pipeline's own ``encode_prompt``.

    Attributes:
        pipe: the pipeline, of a class in ``ENCODINGS``.
        model: the image model with its settings.
    """

    pipe: Any
    model: ImageModel

    def __post_init__(self) -> None:
        self._encoding = ENCODINGS[type(self.pipe).__name__]
        self._call = inspect.signature(type(self.pipe).__call__).parameters
        self._known = inspect.signature(self.pipe.encode_prompt).parameters
        self._negative: dict[str, Any] = {}

    @property
    def guided(self) -> bool:
        """Whether the call also computes a prediction for a negative prompt (classifier-free guidance)."""
        scale = self._encoding.scale
        if scale is None or getattr(self.pipe.config, "is_distilled", False):
            return False
        return bool(self._setting(scale) > self._encoding.off)

    def encode(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Encode prompts, and the negative prompt if guidance acts and it was not encoded before.

        Returns:
            For each text the arguments of the call, without a batch dimension, in the CPU's memory.
        """
        missing = self.guided and not self._negative
        together = "do_classifier_free_guidance" in self._known
        rows = self._encode(texts, guided=missing and together)
        if missing and together:
            # The negative prompt is the same for all, so it is kept for later batches.
            self._negative = {name: row for name, row in rows[0].items() if name.startswith("negative")}
            rows = [
                {name: value for name, value in row.items() if not name.startswith("negative")}
                for row in rows
            ]
        elif missing:
            (row,) = self._encode([self.model.call.get(NEGATIVE, self._encoding.negative)])
            self._negative = {f"negative_{name}": value for name, value in row.items()}
        return rows

    def arguments(self, rows: Sequence[Mapping[str, Any]], device: Any) -> dict[str, Any]:
        """The arguments of the call for a batch of encoded prompts, on a device."""
        arguments = self._batch(rows, device)
        if self._negative:
            arguments |= self._batch([self._negative] * len(rows), device)
        if NEGATIVE in self._call:
            arguments[NEGATIVE] = None  # the default of some is a text, which would be one too many
        return arguments

    def _batch(self, rows: Sequence[Mapping[str, Any]], device: Any) -> dict[str, Any]:
        import torch
        from torch.nn.utils.rnn import pad_sequence

        arguments: dict[str, Any] = {}
        for name in rows[0]:
            values = [row[name].to(device) for row in rows]
            if self._encoding.lengths == "list":
                arguments[name] = values
            elif self._encoding.lengths == "mask":
                arguments[name] = pad_sequence(values, batch_first=True)
                tokens = [torch.ones(len(value), dtype=torch.long, device=device) for value in values]
                arguments[f"{name}_mask"] = pad_sequence(tokens, batch_first=True)
            else:
                arguments[name] = torch.stack(values)
        return arguments

    def _setting(self, name: str) -> Any:
        if name == self._encoding.guidance and self.model.guidance is not None:
            return self.model.guidance
        return self.model.call.get(name, self._call[name].default)

    def _encode(self, texts: Sequence[str], guided: bool = False) -> list[dict[str, Any]]:
        # What changes the encoding is an argument of the call as well, where its default may be another one.
        arguments = {name: self._setting(name) for name in self._known if name in self._call}
        given = {
            **{name: list(texts) for name in ("prompt", "prompt_2", "prompt_3")},  # some change theirs
            "device": self.pipe._execution_device,
            "num_images_per_prompt": 1,
            "do_classifier_free_guidance": guided,
        }
        if self.model.text_tokens is not None:
            given["max_sequence_length"] = self.model.text_tokens
        if self.model.call.get(NEGATIVE) is not None:
            given[NEGATIVE] = [self.model.call[NEGATIVE]] * len(texts)
        arguments |= {name: value for name, value in given.items() if name in self._known}
        values = {
            name: value
            for name, value in zip(self._encoding.returned, self.pipe.encode_prompt(**arguments), strict=True)
            if name is not None and value is not None and len(value)
        }
        mask = values.pop(MASK, None)
        rows = [{name: value[number] for name, value in values.items()} for number in range(len(texts))]
        if mask is not None:
            for number, row in enumerate(rows):
                row["prompt_embeds"] = row["prompt_embeds"][mask[number].bool()]
        return [{name: value.to("cpu") for name, value in row.items()} for row in rows]
