"""transformers as a writer: a language model in this process, many prompts at a time.

Each answer has a seed of its own, and its next word comes from one random number of that seed. So an answer
does not depend on which others are in its batch, up to the rounding of the hardware.
"""

from __future__ import annotations

import gc
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from croc.errors import MissingExtra
from croc.jobs.parts import Abort
from croc_syn.writing import Again, Ask, Said
from croc_syn.writing.settings import Local, Sampling, TextModel

log = logging.getLogger(__name__)


@dataclass
class TransformersWriter:
    """A causal language model, ready to answer.

    Attributes:
        model: which one.
        sampling: how the next word is chosen.
        settings: how it is run.
        batch_size: prompts at a time; halved for good when memory runs out.
        network, tokenizer: loaded at first use.
    """

    model: TextModel
    sampling: Sampling = field(default_factory=Sampling)
    settings: Local = field(default_factory=Local)
    batch_size: int = 0
    network: Any = None
    tokenizer: Any = None

    def __post_init__(self) -> None:
        self.batch_size = self.batch_size or self.settings.batch_size

    def answer(self, asks: Sequence[Ask], again: Again) -> None:
        """Ask everything, in batches; see :class:`croc_syn.writing.Writer`.

        Raises:
            Abort: the model cannot be loaded, or memory is short for a single prompt.
        """
        if self.network is None:
            self.tokenizer, self.network = _load(self.model, self.settings)
        waiting = deque(enumerate(asks))
        while waiting:
            batch = [waiting.popleft() for _ in range(min(self.batch_size, len(waiting)))]
            try:
                found = self._batch([ask for _, ask in batch])
            except Exception as error:
                self._shrink(error)
                waiting.extendleft(reversed(batch))
                continue
            for (number, _), said in zip(batch, found, strict=True):
                if (another := again(number, said)) is not None:
                    waiting.append((number, another))

    def _batch(self, asks: Sequence[Ask]) -> list[Said]:
        import torch
        from transformers import GenerationConfig

        texts = [
            self.tokenizer.apply_chat_template(list(ask.messages), add_generation_prompt=True, tokenize=False)
            for ask in asks
        ]
        given = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        given = {name: given[name].to(self.network.device) for name in ("input_ids", "attention_mask")}
        start = given["input_ids"].shape[1]
        ends = _ends(self.network, self.tokenizer)
        config = GenerationConfig(
            do_sample=False,  # the processors below do it
            repetition_penalty=1.0,  # what is left out here is taken from the model's own settings
            max_new_tokens=self.sampling.max_tokens,
            eos_token_id=ends,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        with torch.inference_mode():
            made = self.network.generate(
                **given,
                generation_config=config,
                logits_processor=_processors(self.sampling, [ask.seed for ask in asks], start),
            )
        return [
            self._said(row[start:].tolist(), int(mask.sum()), ends)
            for row, mask in zip(made, given["attention_mask"], strict=True)
        ]

    def _said(self, tokens: list[int], asked: int, ends: list[int]) -> Said:
        ended = [place for place, token in enumerate(tokens) if token in ends]
        own = tokens[: ended[0]] if ended else tokens
        return Said(
            text=self.tokenizer.decode(own, skip_special_tokens=True),
            finish="stop" if ended else "length",
            served_as=self.model.model
            if not Path(self.model.model).is_dir()
            else Path(self.model.model).name,
            input_tokens=asked,
            output_tokens=len(own) + bool(ended),
        )

    def _shrink(self, error: Exception) -> None:
        """Halve the batch when memory ran out; any other error goes on."""
        short = type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error).lower()
        if not (short or isinstance(error, MemoryError)):
            raise error
        if self.batch_size == 1:
            raise Abort(
                f"{self.model.name}: out of memory with a single prompt; fewer max_tokens or a smaller model"
            ) from error
        half = self.batch_size // 2
        log.warning(
            "%s: out of memory with batches of %d, going on with %d", self.model.name, self.batch_size, half
        )
        self.batch_size = half
        error.__traceback__ = None  # its frames hold what is to be freed
        gc.collect()
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _load(model: TextModel, settings: Local) -> tuple[Any, Any]:
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise MissingExtra("writing prompts with transformers", "generate") from error
    local = Path(model.model).is_dir()
    pin = {} if local else {"revision": model.revision}
    if model.revision is None and not local:
        log.warning("%s: no revision is given, so another model may be loaded another day", model.model)
    placed: dict[str, Any] = (
        {"device_map": "auto"} if not settings.device and torch.cuda.is_available() else {}
    )
    try:
        # Shorter prompts are filled up on the left, so that every answer begins at the same place.
        tokenizer = AutoTokenizer.from_pretrained(model.model, padding_side="left", **pin)
        network = AutoModelForCausalLM.from_pretrained(
            model.model, dtype=getattr(torch, settings.dtype), use_safetensors=True, **placed, **pin
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        where = model.model if local else f"{model.model} at {model.revision or 'its newest revision'}"
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise Abort(f"text model {where}: cannot be loaded ({said})") from error
    if tokenizer.chat_template is None:
        raise Abort(
            f"text model {model.model}: its tokenizer has no chat template, so it takes no instructions"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if not placed:
        network = network.to(settings.device or "cpu")
    return tokenizer, network.eval()


def _ends(network: Any, tokenizer: Any) -> list[int]:
    """Tokens that end an answer: those of the model's own settings, and the tokenizer's."""
    named = network.generation_config.eos_token_id
    ends = named if isinstance(named, list) else [named]
    return sorted({each for each in (*ends, tokenizer.eos_token_id) if each is not None})


def _processors(sampling: Sampling, seeds: Sequence[int], start: int) -> Any:
    """What turns scores of the next token into the token chosen: everything else gets minus infinity."""
    import torch
    from transformers import (
        LogitsProcessor,
        LogitsProcessorList,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    class Presence(LogitsProcessor):
        """Lower each token that the answer has already, once, as OpenAI's presence penalty does."""

        def __call__(self, ids: Any, scores: Any) -> Any:
            answer = ids[:, start:]
            there = torch.zeros_like(scores)
            return scores - there.scatter_(1, answer, sampling.presence_penalty)

    class Choose(LogitsProcessor):
        """Choose by one random number a row: the first token at which the cumulated probability passes it."""

        def __init__(self) -> None:
            self.generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]

        def __call__(self, ids: Any, scores: Any) -> Any:
            drawn = torch.tensor([[torch.rand((), generator=each).item()] for each in self.generators])
            ordered, places = scores.float().sort(dim=-1, descending=True, stable=True)
            sums = ordered.softmax(dim=-1).cumsum(dim=-1)
            rank = torch.searchsorted(sums, drawn.to(sums) * sums[:, -1:], right=True)
            chosen = places.gather(1, rank.clamp(max=scores.shape[1] - 1))
            return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)

    chain = LogitsProcessorList()
    if sampling.presence_penalty:
        chain.append(Presence())
    if sampling.temperature == 0:
        return chain
    chain.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k is not None:
        chain.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        chain.append(TopPLogitsWarper(sampling.top_p))
    chain.append(Choose())
    return chain
