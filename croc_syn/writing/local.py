"""transformers as a writer: a language model in this process, many prompts at a time.

Each response has a seed of its own, and each token comes from one random number of that seed. So a response
does not depend on the others in its batch, up to the rounding of the hardware.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from croc.errors import MissingExtra
from croc.jobs.parts import Abort
from croc.scorers.tokenizer_files import check_tokenizers
from croc_syn.model_runtime import halve_batch, loading_failed, require_download, warn_unpinned
from croc_syn.writing import FollowUp, PromptRequest, WriterResponse
from croc_syn.writing.settings import Local, Sampling, TextModel


@dataclass
class TransformersWriter:
    """A causal language model, ready to respond.

    Attributes:
        model: the language model.
        sampling: how the next token is chosen.
        settings: how it is run.
        batch_size: prompts per batch; halved for good when memory runs out.
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

    def write(self, requests: Sequence[PromptRequest], follow_up: FollowUp) -> None:
        """Answer all requests, in batches; see :class:`croc_syn.writing.Writer`.

        Raises:
            Abort: the model cannot be loaded, or memory is short for a single prompt.
        """
        if self.network is None:
            self.tokenizer, self.network = _load(self.model, self.settings)
        waiting = deque(enumerate(requests))
        while waiting:
            batch = [waiting.popleft() for _ in range(min(self.batch_size, len(waiting)))]
            try:
                responses = self._respond([request for _, request in batch])
            except Exception as error:
                self.batch_size = halve_batch(
                    error,
                    self.batch_size,
                    self.model.name,
                    item="prompt",
                    advice="fewer max_tokens or a smaller model",
                )
                waiting.extendleft(reversed(batch))
                continue
            for (number, _), response in zip(batch, responses, strict=True):
                if (following := follow_up(number, response)) is not None:
                    waiting.append((number, following))

    def _respond(self, requests: Sequence[PromptRequest]) -> list[WriterResponse]:
        import torch
        from transformers import GenerationConfig

        texts = [
            self.tokenizer.apply_chat_template(
                list(request.messages), add_generation_prompt=True, tokenize=False
            )
            for request in requests
        ]
        inputs = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        inputs = {name: inputs[name].to(self.network.device) for name in ("input_ids", "attention_mask")}
        start = inputs["input_ids"].shape[1]
        ends = _ends(self.network, self.tokenizer)
        config = GenerationConfig(
            do_sample=False,  # the processors below sample
            repetition_penalty=1.0,  # what is left out here is taken from the model's own settings
            max_new_tokens=self.sampling.max_tokens,
            eos_token_id=ends,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        with torch.inference_mode():
            generated = self.network.generate(
                **inputs,
                generation_config=config,
                logits_processor=_processors(self.sampling, [request.seed for request in requests], start),
            )
        return [
            self._read(row[start:].tolist(), int(mask.sum()), ends)
            for row, mask in zip(generated, inputs["attention_mask"], strict=True)
        ]

    def _read(self, tokens: list[int], input_tokens: int, ends: list[int]) -> WriterResponse:
        end_positions = [position for position, token in enumerate(tokens) if token in ends]
        response = tokens[: end_positions[0]] if end_positions else tokens
        return WriterResponse(
            text=self.tokenizer.decode(response, skip_special_tokens=True),
            finish="stop" if end_positions else "length",
            served_as=Path(self.model.model).name if self.model.is_local else self.model.model,
            input_tokens=input_tokens,
            output_tokens=len(response) + bool(end_positions),
        )


def _load(model: TextModel, settings: Local) -> tuple[Any, Any]:
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise MissingExtra("writing prompts with transformers", "generate") from error
    warn_unpinned(model)
    require_download(model.model, model.revision, "config.json", "text model")
    pin = {} if model.is_local else {"revision": model.revision}
    placed: dict[str, Any] = (
        {"device_map": "auto"} if not settings.device and torch.cuda.is_available() else {}
    )
    if model.is_local:
        check_tokenizers(Path(model.model))
    try:
        # Shorter prompts are padded on the left, so that every response begins at the same position.
        tokenizer = AutoTokenizer.from_pretrained(model.model, padding_side="left", **pin)
        network = AutoModelForCausalLM.from_pretrained(
            model.model, dtype=getattr(torch, settings.dtype), use_safetensors=True, **placed, **pin
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise loading_failed(error, model, "text model") from error
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
    """Tokens that end a response: those of the model's own settings, and the tokenizer's."""
    configured = network.generation_config.eos_token_id
    ends = configured if isinstance(configured, list) else [configured]
    return sorted({token for token in (*ends, tokenizer.eos_token_id) if token is not None})


def _processors(sampling: Sampling, seeds: Sequence[int], start: int) -> Any:
    """Turn the scores of the next token into the sampled token: all others get minus infinity."""
    import torch
    from transformers import (
        LogitsProcessor,
        LogitsProcessorList,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    class Presence(LogitsProcessor):  # type: ignore[misc]
        """Lower each token that the response has already, once, as OpenAI's presence penalty does."""

        def __call__(self, ids: Any, scores: Any) -> Any:
            penalties = torch.zeros_like(scores)
            return scores - penalties.scatter_(1, ids[:, start:], sampling.presence_penalty)

    class Sample(LogitsProcessor):  # type: ignore[misc]
        """Sample by one random number per row: the first token whose cumulative probability exceeds it."""

        def __init__(self) -> None:
            self.generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]

        def __call__(self, ids: Any, scores: Any) -> Any:
            drawn = torch.tensor(
                [[torch.rand((), generator=generator).item()] for generator in self.generators]
            )
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
    chain.append(Sample())
    return chain
