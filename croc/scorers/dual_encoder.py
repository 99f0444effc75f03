"""Dual encoders: an image vector, a text vector, and a score from their cosine.

CLIPScore, AlignScore, PickScore, HPS and SigLIP differ in the weights, in the function of the cosine and in
the preparation of image and text, so they are one class and entries of the registry. Each image and each text
is encoded once.

References, each with the same random weights: open_clip 3.3.0 (CLIP, SigLIP, SigLIP 2), torchmetrics 1.9.0
(CLIPScore), hpsv2 1.2.0, PickScore of t2v_metrics 3.0. Scores agree to 1e-6 of their spread. Differences on
purpose: control tokens in a prompt are text; SigLIP 2's texts keep their punctuation, which open_clip
removes. ALIGN has not been compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from PIL.Image import Image

from croc.errors import InputError
from croc.scorers.captions import CAPTIONS, require_caption
from croc.scorers.loading import Checkpoint, in_batches
from croc.scorers.pairs import require_pairs, require_prompts, score_batches
from croc.scorers.prompt_tokens import PromptTokenizer

FORMULAS = ("clipscore", "cosine", "logit")
# SigLIP's text encoders were trained on texts padded to the window, without a mask over the padding.
_SIGLIP = ("siglip", "siglip_text_model", "siglip2", "siglip2_text_model")


class DualEncoder:
    """A score from the cosine of an image embedding and a text embedding.

    Formulas, with c the cosine:

    - ``clipscore``: w · max(c, 0) with w = 2.5 (Hessel et al. 2021, section 3). The clipping at 0 causes
      ties: all pairs with a negative cosine have the same score.
    - ``cosine``: c (ALIGN's similarity; HPSv2).
    - ``logit``: exp(s) · c + b with the model's scale s and, if it has one, bias b (PickScore, SigLIP).

    Args:
        model: Hub id, folder or loaded model that has ``get_image_features`` and ``get_text_features``.
        formula: one of :data:`FORMULAS`.
        weight: w of the clipscore formula.
        template: text for the text encoder; must contain ``{prompt}``. CLIPScore's authors use
            ``A photo depicts {prompt}``, the literature on text-to-image metrics the prompt alone.
        caption: what happens to the text before the tokenizer, one of
            :data:`~croc.scorers.captions.CAPTIONS`; None takes the one in the checkpoint's configuration (the
            key ``croc`` of ``config.json``), else ``lowercase`` for SigLIP 2, whose checkpoints of fixed
            resolution come with a tokenizer that keeps capitals, and ``as is`` for others.
        window: tokens that the text encoder reads, special ones included; None takes the model's own.
        batch_size: largest number of images or texts in one forward pass.
        dtype: see :class:`~croc.scorers.loading.Checkpoint`, as are the other arguments.
    """

    checkpoint_class: Callable[..., Any] = Checkpoint
    """What loads the model; a subclass may have another one with the same attributes."""

    def __init__(
        self,
        model: Any,
        *,
        name: str | None = None,
        formula: str = "cosine",
        weight: float = 2.5,
        template: str = "{prompt}",
        caption: str | None = None,
        window: int | None = None,
        batch_size: int = 32,
        dtype: str | None = "float32",
        **checkpoint: Any,
    ) -> None:
        if formula not in FORMULAS:
            raise InputError(f"formula {formula!r} is unknown: use one of {', '.join(FORMULAS)}")
        if "{prompt}" not in template:
            raise InputError(f"template {template!r} must contain {{prompt}}")
        self.checkpoint: Checkpoint = self.checkpoint_class(
            model, auto="AutoModel", dtype=dtype, **checkpoint
        )
        self.name = name or self.checkpoint.name
        self.formula = formula
        self.weight = weight
        self.template = template
        self._caption = caption if caption is None else require_caption(caption)
        self.batch_size = batch_size
        self._window = window

    @cached_property
    def window(self) -> int:
        """How many tokens of a text are read, special ones included."""
        if self._window is not None:
            return self._window
        text = self.checkpoint.model.config.get_text_config()
        return int(text.max_position_embeddings)

    @cached_property
    def caption(self) -> str:
        """What happens to a text before the tokenizer."""
        if self._caption is not None:
            return self._caption
        own = getattr(self.checkpoint.model.config, "croc", None)
        if isinstance(own, Mapping) and "caption" in own:
            return require_caption(own["caption"])
        tokenizer = type(self.checkpoint.processor.tokenizer).__name__
        # SigLIP's own tokenizer is another one, and lowercases; SigLIP 2's is Gemma's.
        is_siglip2 = self.checkpoint.model.config.model_type in _SIGLIP and "Gemma" in tokenizer
        return "lowercase" if is_siglip2 else "as is"

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> np.ndarray:
        """Score pair i = (``images[i]``, ``prompts[i]``); float64 (n,), higher is the better match."""
        require_pairs(images, prompts)

        def compute(rows: list[int]) -> np.ndarray:
            texts = self.encode_texts([prompts[i] for i in rows])
            return self.similarity(self.encode_images([images[i] for i in rows]), texts)

        return score_batches(len(images), self.batch_size, compute)

    def encode_images(self, images: Sequence[Image]) -> np.ndarray:
        """Unit vectors of images: float32 (n, d)."""
        batches = in_batches(len(images), self.batch_size)
        return self._image_rows(self.checkpoint.pixels(images[batch]) for batch in batches)

    def prepare_image(self, image: Image) -> dict[str, Any]:
        """The model's input for an image, computed without the model, so that threads can prepare images.

        Raises:
            UnscoredPairs: the image processor cannot process the image.
        """
        return self.checkpoint.prepared(image)

    def encode_prepared(self, items: Sequence[dict[str, Any]]) -> np.ndarray:
        """Unit vectors of outputs of :meth:`prepare_image`: float32 (n, d), as :meth:`encode_images`."""
        batches = in_batches(len(items), self.batch_size)
        return self._image_rows(self.checkpoint.joined(items[batch]) for batch in batches)

    def encode_texts(self, prompts: Sequence[str]) -> np.ndarray:
        """Unit vectors of prompts: float32 (n, d).

        Raises:
            UnscoredPairs: a prompt is empty.
        """
        import torch

        require_prompts(prompts)
        parts = []
        with torch.inference_mode():
            for batch in in_batches(len(prompts), self.batch_size):
                inputs = self._text_inputs([self._ids(prompt)[0] for prompt in prompts[batch]])
                parts.append(_unit(self.checkpoint.model.get_text_features(**inputs)))
        return self._stack(parts)

    def similarity(self, image_features: np.ndarray, text_features: np.ndarray) -> np.ndarray:
        """The formula on row i of both: two (n, d) arrays of unit vectors → float64 (n,)."""
        cosine: np.ndarray = (image_features.astype(np.float64) * text_features.astype(np.float64)).sum(
            axis=1
        )
        if self.formula == "clipscore":
            return np.asarray(self.weight * np.maximum(cosine, 0.0))
        if self.formula == "cosine":
            return cosine
        model = self.checkpoint.model
        bias = getattr(model, "logit_bias", None)
        scale = float(np.exp(float(model.logit_scale.detach().double())))
        return np.asarray(scale * cosine + (float(bias.detach().double()) if bias is not None else 0.0))

    def truncated(self, prompts: Sequence[str]) -> np.ndarray:
        """Which prompts are longer than the text encoder's window: bool (n,)."""
        return np.array([self._ids(prompt)[1] for prompt in prompts], dtype=bool)

    def fields(self) -> dict[str, str]:
        """Settings for the signature: checkpoint, formula, template, caption and window."""
        formula = f"{self.weight:g}*max(cos,0)" if self.formula == "clipscore" else self.formula
        return {
            **self.checkpoint.fields(),
            "formula": formula,
            "template": self.template,
            "caption": self.caption,
            "window": str(self.window),
        }

    @cached_property
    def _tokenizer(self) -> PromptTokenizer:
        return PromptTokenizer(self.checkpoint.processor.tokenizer)

    def _ids(self, prompt: str) -> tuple[list[int], bool]:
        before, after = self._tokenizer.special_tokens
        ids = self._tokenizer.ids(CAPTIONS[self.caption](self.template.replace("{prompt}", prompt)))
        room = self.window - len(before) - len(after)
        return [*before, *ids[:room], *after], len(ids) > room

    def _text_inputs(self, rows: list[list[int]]) -> dict[str, Any]:
        import torch

        tokenizer = self.checkpoint.processor.tokenizer
        fixed = self.checkpoint.model.config.model_type in _SIGLIP
        width = self.window if fixed else max(len(row) for row in rows)
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
        inputs = {"input_ids": ids}
        if not fixed:
            inputs["attention_mask"] = torch.tensor(
                [[1] * len(row) + [0] * (width - len(row)) for row in rows]
            )
        return self.checkpoint.to_device(inputs)

    def _image_rows(self, batches: Iterable[dict[str, Any]]) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return self._stack(
                [_unit(self.checkpoint.model.get_image_features(**inputs)) for inputs in batches]
            )

    def _stack(self, parts: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(parts) if parts else np.zeros((0, 0), dtype=np.float32)


def _unit(features: Any) -> np.ndarray:
    """Rows of length one, in fp32 for every dtype of the model."""
    vectors = getattr(features, "pooler_output", features).float()
    return np.asarray((vectors / vectors.norm(dim=-1, keepdim=True)).cpu().numpy())
