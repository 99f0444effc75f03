"""Image–text matching: a classifier of whether an image and a text match.

The score is P(match), the softmax over the two logits of the matching head (BLIP: Li et al. 2022; BLIP-2:
Li et al. 2023, section 3.1: the head's logits averaged over the query tokens). The image is encoded once for
all its prompts. The reference is LAVIS: its models get a prompt as it is, or through the caption processor
that its ``load_model_and_preprocess`` returns (``caption="blip"``); scores differ by up to 0.05.

Against LAVIS 1.0.2 with the same random weights, scores agree to 1e-6 of their spread. The difference on
purpose: control tokens in a prompt are text.

The model runs in float32 by default. In bfloat16 the logits of a BLIP-2 differ so little between images that
their scores tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from PIL.Image import Image

from croc.errors import InputError
from croc.scorers.captions import CAPTIONS, require_caption
from croc.scorers.loading import Checkpoint
from croc.scorers.prompt_tokens import PromptTokenizer
from croc.scorers.shared_images import SharedImageScorer


class ImageTextMatching(SharedImageScorer):
    """P(match) of BLIP-2's or BLIP's matching head.

    Args:
        model: Hub id, folder or loaded model (``Blip2ForImageTextRetrieval``, ``BlipForImageTextRetrieval``).
        window: tokens of a text that are read, special ones included; None takes the number of position
            embeddings.
        caption: what happens to a prompt before the tokenizer; one of
            :data:`~croc.scorers.captions.CAPTIONS`.
        batch_size: largest number of pairs in one forward pass.
        dtype: see :class:`~croc.scorers.loading.Checkpoint`, as are the other arguments.
    """

    def __init__(
        self,
        model: Any,
        *,
        name: str | None = None,
        window: int | None = None,
        caption: str = "as is",
        batch_size: int = 16,
        auto: str = "Blip2ForImageTextRetrieval",
        dtype: str | None = "float32",
        **checkpoint: Any,
    ) -> None:
        self.checkpoint = Checkpoint(model, auto=auto, dtype=dtype, **checkpoint)
        self.name = name or self.checkpoint.name
        self.caption = require_caption(caption)
        self.batch_size = batch_size
        self._window = window

    @cached_property
    def window(self) -> int:
        """How many tokens of a text are read, special ones included."""
        if self._window is not None:
            return self._window
        config = self.checkpoint.model.config
        text = config.qformer_config if self._is_blip2 else config.text_config
        return int(text.max_position_embeddings)

    def truncated(self, prompts: Sequence[str]) -> np.ndarray:
        """Which prompts are longer than the window: bool (n,)."""
        return np.array([self._ids(prompt)[1] for prompt in prompts], dtype=bool)

    def fields(self) -> dict[str, str]:
        """Settings for the signature: checkpoint, formula, caption and window."""
        own = {"formula": "P(match)", "caption": self.caption, "window": str(self.window)}
        return {**self.checkpoint.fields(), **own}

    @cached_property
    def _tokenizer(self) -> PromptTokenizer:
        return PromptTokenizer(self.checkpoint.processor.tokenizer)

    @cached_property
    def _is_blip2(self) -> bool:
        kind = type(self.checkpoint.model).__name__
        if kind not in ("Blip2ForImageTextRetrieval", "BlipForImageTextRetrieval"):
            raise InputError(
                f"{kind} has no matching head: use Blip2ForImageTextRetrieval or BlipForImageTextRetrieval"
            )
        return kind.startswith("Blip2")

    def _ids(self, prompt: str) -> tuple[list[int], bool]:
        before, after = self._tokenizer.special_tokens
        ids = self._tokenizer.ids(CAPTIONS[self.caption](prompt))
        room = self.window - len(before) - len(after)
        ids, cut = ids[:room], len(ids) > room
        if not self._is_blip2:
            before = [encoder_token(self.checkpoint.model.config.text_config, before[0]), *before[1:]]
        return [*before, *ids, *after], cut

    def _encode(self, images: Sequence[Image]) -> Any:
        return self.checkpoint.model.vision_model(**self.checkpoint.pixels(images))[0]

    def _score_encoded(self, encoded: Any, prompts: Sequence[str]) -> np.ndarray:
        """P(match) of image features (n, tokens, width) with n prompts."""
        import torch

        model = self.checkpoint.model
        tokenizer = self.checkpoint.processor.tokenizer
        ids, mask = padded([self._ids(prompt)[0] for prompt in prompts], tokenizer.pad_token_id or 0)
        ids, mask = ids.to(encoded.device), mask.to(encoded.device)
        image_mask = torch.ones(encoded.shape[:-1], dtype=torch.long, device=encoded.device)
        if not self._is_blip2:
            states = model.text_encoder(
                input_ids=ids,
                attention_mask=mask,
                encoder_hidden_states=encoded,
                encoder_attention_mask=image_mask,
            ).last_hidden_state
            logits = model.itm_head(states[:, 0, :])
        else:
            queries = model.query_tokens.expand(len(ids), -1, -1)
            query_mask = torch.ones(queries.shape[:-1], dtype=torch.long, device=encoded.device)
            states = model.qformer(
                query_embeds=model.embeddings(input_ids=ids, query_embeds=queries),
                query_length=queries.shape[1],
                attention_mask=torch.cat([query_mask, mask], dim=1),
                encoder_hidden_states=encoded.to(model.query_tokens.dtype),
                encoder_attention_mask=image_mask,
            ).last_hidden_state
            states = states[:, : queries.shape[1], :].to(model.itm_head.weight.dtype)
            logits = model.itm_head(states).mean(dim=1)
        return np.asarray(logits.double().softmax(dim=-1)[:, 1].cpu().numpy())


def encoder_token(text_config: Any, otherwise: int) -> int:
    """The id of BLIP's [ENC], which its published code puts first in a text that is read with an image.

    BLIP's vocabulary is BERT's with [DEC] (the decoder's start, ``bos_token_id``) and [ENC] after it; the
    tokenizers on the Hub put BERT's [CLS] there instead.
    """
    token = int(text_config.bos_token_id) + 1
    return token if token < text_config.vocab_size else otherwise


def padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Any, Any]:
    """Right-padded ids and their mask: two int64 tensors (n, longest)."""
    import torch

    width = max(len(row) for row in rows)
    ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask
