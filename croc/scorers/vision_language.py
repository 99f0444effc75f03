"""Vision-language models: the logits of the first answer token after an image and a question about it.

VQAScore, the yes/no margin and CROCScore share this class. It renders the model's chat template once, reads
a prompt as plain text, and computes the logits either in one forward pass per pair, or with the prefix of an
image computed once for all its prompts.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL.Image import Image, Resampling

from croc.checks.decoding import to_rgb
from croc.errors import CrocError, InputError
from croc.scorers.caches import copy_cache
from croc.scorers.captions import CAPTIONS, require_caption
from croc.scorers.loading import Checkpoint, in_batches
from croc.scorers.pairs import require_pairs, require_prompts, score_batches
from croc.scorers.prompt_tokens import PromptTokenizer

MARK = "\ue000"
"""Stands for the question while the chat template is rendered; it is in no vocabulary and no template."""


AS_IS = "as is"
"""The image size of images that are not resized."""


@dataclass(frozen=True)
class Settings:
    """How a model is asked.

    Attributes:
        question: the text of the turn; it contains ``{prompt}`` once.
        answers: the two answers, the affirmative one first.
        image_size: (width, height) that every image is resized to first (Lanczos); None or :data:`AS_IS` does
            not resize.
        calibration: (a, b) of σ(a · margin + b), where a checkpoint has one.
        caption: what happens to a prompt before it is put into the question, one of
            :data:`~croc.scorers.captions.CAPTIONS`: that with which the checkpoint was trained.
    """

    question: str
    answers: tuple[str, str] = ("Yes", "No")
    image_size: tuple[int, int] | str | None = None
    calibration: tuple[float, float] | None = None
    caption: str = "as is"

    def __post_init__(self) -> None:
        if not isinstance(self.question, str) or self.question.count("{prompt}") != 1:
            raise InputError(f"the question {self.question!r} must contain {{prompt}} once")
        if self.image_size == AS_IS:
            object.__setattr__(self, "image_size", None)
        for name in ("answers", "image_size", "calibration"):
            value = getattr(self, name)
            if value is not None:
                if not isinstance(value, list | tuple) or len(value) != 2:
                    raise InputError(f"{name} must be two values, not {value!r}")
                object.__setattr__(self, name, tuple(value))
        if not all(isinstance(answer, str) for answer in self.answers):
            raise InputError(f"answers must be two texts, not {list(self.answers)!r}")
        require_caption(self.caption)
        if self.image_size is not None and not all(
            type(side) is int and side > 0 for side in self.image_size
        ):
            raise InputError(
                f"image_size must be a width and a height in pixels, not {list(self.image_size)!r}"
            )
        if self.calibration is not None and not _is_calibration(self.calibration):
            raise InputError(
                f"calibration must be two finite numbers, a above 0 and b, not {list(self.calibration)!r}"
            )


def _is_calibration(values: tuple[Any, Any]) -> bool:
    numbers = all(type(value) in (int, float) and math.isfinite(value) for value in values)
    return numbers and values[0] > 0


@dataclass(frozen=True)
class _Layout:
    """A chat turn with an image and a question: ``head``, ``before`` QUESTION ``after``, ``tail``.

    ``head`` contains the image and ends with a control token, ``tail`` begins with one, so the text between
    them can be tokenized separately.
    """

    head: str
    anchor: str
    before: str
    after: str
    tail: str
    add_special_tokens: bool


class VisionLanguageScorer:
    """Base class of scorers over image-text-to-text models; subclasses compute scores from the logits.

    Args:
        model: Hub id, folder or loaded model.
        name: of the scorer; None takes the checkpoint's.
        question: see :class:`Settings`.
        answers: see :class:`Settings`.
        image_size: see :class:`Settings`.
        system: text of a system turn before the question; None has none.
        max_prompt_tokens: longer prompts are truncated to so many tokens; see ``truncated``.
        batch_size: largest number of pairs in one forward pass.
        auto: name of the transformers class that loads the model.
        checkpoint: see :class:`~croc.scorers.loading.Checkpoint`.
    """

    formula = ""
    checkpoint_class: Callable[..., Any] = Checkpoint
    """What loads the model; a subclass may have another one with the same attributes."""
    images_per_turn = 1

    def __init__(
        self,
        model: Any,
        *,
        name: str | None = None,
        question: str,
        answers: tuple[str, str] = ("Yes", "No"),
        system: str | None = None,
        max_prompt_tokens: int = 1024,
        image_size: tuple[int, int] | None = None,
        batch_size: int = 8,
        auto: str = "AutoModelForImageTextToText",
        **checkpoint: Any,
    ) -> None:
        self.checkpoint: Checkpoint = self.checkpoint_class(model, auto=auto, **checkpoint)
        self.name = name or self.checkpoint.name
        self.batch_size = batch_size
        self.system = system
        self._given = Settings(question, answers, image_size)
        self._max_prompt_tokens = max_prompt_tokens

    @cached_property
    def settings(self) -> Settings:
        """How the model is asked."""
        return self._given

    @cached_property
    def window(self) -> int:
        """How many tokens of a prompt are read."""
        context = getattr(self._text_config, "max_position_embeddings", None)
        # Half of a short context is reserved for the image and the question.
        return min(self._max_prompt_tokens, context // 2) if context else self._max_prompt_tokens

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> np.ndarray:
        """Score pair i = (``images[i]``, ``prompts[i]``); float64 (n,), higher is the better match."""
        require_pairs(images, prompts)

        def compute(rows: list[int]) -> np.ndarray:
            texts = [prompts[i] for i in rows]
            require_prompts(texts)
            return self.from_logits(self.logits([images[i] for i in rows], texts))

        return score_batches(len(images), self.batch_size, compute)

    def score_prompts(self, image: Image, prompts: Sequence[str]) -> np.ndarray:
        """Score one image with several prompts, the image's prefix computed once; float64 (len(prompts),)."""

        def compute(rows: list[int]) -> np.ndarray:
            texts = [prompts[i] for i in rows]
            require_prompts(texts)
            return self.score_images_prompts([image], [texts])[0]

        # The image's prefix is computed once per call, so all prompts are in one call.
        return score_batches(len(prompts), max(1, len(prompts)), compute)

    def score_images_prompts(
        self, images: Sequence[Image], prompts: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        """Score image i with each of ``prompts[i]``; the prefix of every image is computed once.

        Images whose prefixes have the same length share a forward pass, at most ``batch_size`` of them.

        Returns:
            For image i a float64 array (len(prompts[i]),).

        Raises:
            UnscoredPairs: a prompt is empty; positions count the prompts of all images.
        """
        require_prompts([prompt for texts in prompts for prompt in texts])
        if self._reads_prompt_with_image:
            # Nothing can be shared but the batches.
            repeated = [image for image, texts in zip(images, prompts, strict=True) for _ in texts]
            together = self.score(repeated, [prompt for texts in prompts for prompt in texts])
            return np.split(together, np.cumsum([len(texts) for texts in prompts])[:-1])
        scores: list[np.ndarray] = []
        for batch in in_batches(len(images), self.batch_size):
            scores += self._from_prefixes(images[batch], prompts[batch])
        return scores

    def from_logits(self, logits: Any) -> np.ndarray:
        """Scores from the fp32 logits of :meth:`logits`: float64 (n,)."""
        raise NotImplementedError

    @property
    def _answered(self) -> list[int]:
        """Tokens of the answer that the model reads, because the score needs the logits behind them, too."""
        return []

    def _adjusted(self, logits: Any, rows: Sequence[Sequence[int]]) -> Any:
        """The logits after the rows of token ids that the model read; a subclass may change them."""
        return logits

    def logits(self, images: Sequence[Image], prompts: Sequence[str]) -> Any:
        """The logits of the first answer token, without prefix reuse: fp32 (n, vocabulary).

        A scorer whose score needs further tokens of the answer gets (n, tokens, vocabulary).
        """
        import torch

        with torch.inference_mode():
            if self._reads_prompt_with_image:
                return self._qformer_logits(images, prompts)
            return self.read_logits(images, prompts)

    def read_logits(self, images: Sequence[Image], prompts: Sequence[str], **replaced: Any) -> Any:
        """:meth:`logits` with gradients; ``replaced`` are inputs of the model in place of the processor's."""
        import torch

        encoded, prefixes = self._read_images(images)
        rows = [[*head, *self._suffix(prompt)] for head, prompt in zip(prefixes, prompts, strict=True)]
        inputs = self._extended(encoded | replaced, [[*row, *self._answered] for row in rows])
        last = torch.tensor([len(row) - 1 for row in rows])
        return self._adjusted(self._last_logits(inputs, last, use_cache=False), rows)

    def truncated(self, prompts: Sequence[str]) -> np.ndarray:
        """Which prompts are truncated: bool (n,)."""
        return np.array([self._read_part(prompt)[1] for prompt in prompts], dtype=bool)

    def fields(self) -> dict[str, str]:
        """Settings for the signature: checkpoint, formula, question, answers, window and image size."""
        settings = self.settings
        size = "x".join(map(str, settings.image_size)) if settings.image_size else AS_IS
        return {
            **self.checkpoint.fields(),
            "formula": self.formula,
            "template": settings.question,
            "answers": "/".join(settings.answers),
            "window": str(self.window),
            "image_size": size,
            **({"caption": settings.caption} if settings.caption != "as is" else {}),
            **({"system": self.system} if self.system is not None else {}),
        }

    @cached_property
    def answer_ids(self) -> tuple[int, ...]:
        """The token ids of the answers, at the place of the answer.

        Raises:
            InputError: an answer has several tokens in this vocabulary, so its probability is not that of one
                logit.
        """
        ids = []
        for answer in self.settings.answers:
            tokens = self._answer_ids(answer)
            if len(tokens) != 1:
                raise InputError(
                    f"the tokenizer of {self.checkpoint.name} writes the answer {answer!r} in {len(tokens)} "
                    "tokens: choose answers= that are one token each"
                )
            ids.append(tokens[0])
        if ids[0] == ids[1]:
            raise InputError(
                f"{self.checkpoint.name}: both answers {self.settings.answers} are token {ids[0]}"
            )
        return ids[0], ids[1]

    @cached_property
    def _tokenizer(self) -> PromptTokenizer:
        return PromptTokenizer(self.checkpoint.processor.tokenizer)

    @cached_property
    def _reads_prompt_with_image(self) -> bool:
        """Whether there is no prefix to reuse: InstructBLIP's Q-Former reads the question with the image."""
        return hasattr(self.checkpoint.processor, "qformer_tokenizer")

    @cached_property
    def _layout(self) -> _Layout:
        if getattr(self.checkpoint.model.config, "image_token_id", 0) is None:
            raise CrocError(
                f"cannot load the model {self.checkpoint.name}: image_token_id is null in its config.json; "
                "expected the id of the token that stands for the image"
            )
        rendered = self._rendered()
        parts = self._tokenizer.split_at_control(rendered)
        places = [i for i, part in enumerate(parts) if MARK in part]
        if len(places) != 1 or places[0] == 0 or parts[places[0]].count(MARK) != 1:
            raise InputError(
                f"the chat template of {self.checkpoint.name} must render the image and then the text, "
                "once each"
            )
        at = places[0]
        before, after = parts[at].split(MARK)
        bos = self._tokenizer.tokenizer.bos_token
        return _Layout(
            head="".join(parts[:at]),
            anchor=parts[at - 1],
            before=before,
            after=after,
            tail="".join(parts[at + 1 :]),
            add_special_tokens=not (bos and rendered.startswith(bos)),
        )

    def _rendered(self) -> str:
        """The chat template with an image and a placeholder for the question, up to the answer."""
        from jinja2 import TemplateError

        processor, name = self.checkpoint.processor, self.checkpoint.name

        def render(user: Any, system: Any) -> str:
            turns = [] if self.system is None else [{"role": "system", "content": system}]
            turns.append({"role": "user", "content": user})
            return str(processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))

        try:
            parts = [*[{"type": "image"}] * self.images_per_turn, {"type": "text", "text": MARK}]
            rendered = render(parts, [{"type": "text", "text": self.system}])
        except ValueError as error:
            raise InputError(f"{name} has no chat template: save one with its processor") from error
        except (TypeError, TemplateError):
            rendered = ""
        if MARK in rendered:
            return rendered
        # A template of the text model alone takes a turn as one string (Phi-4-multimodal's own does).
        image = getattr(processor, "image_token", None)
        try:
            return render(f"{image}" * self.images_per_turn + MARK, self.system) if image else ""
        except (TypeError, TemplateError) as error:
            raise InputError(
                f"the chat template of {name} takes neither a list of image and text nor one text: "
                f"{str(error).splitlines()[0]}"
            ) from error

    def turn(self, prompt: str) -> str:
        """All text before the answer, as in a training example."""
        layout, tokenizer = self._layout, self._tokenizer.tokenizer
        start = (
            tokenizer.convert_ids_to_tokens(self._tokenizer.special_tokens[0])
            if layout.add_special_tokens
            else []
        )
        return "".join([*start, layout.head, layout.before, self._ask(prompt), layout.after, layout.tail])

    def written(self, answer: str) -> str:
        """An answer as it is written after :meth:`turn`: with a space where the turn ends in a word."""
        context = "" if self._reads_prompt_with_image else self._layout.after + self._layout.tail
        ends_open = bool(context) and not context[-1].isspace()
        if ends_open and self._tokenizer.split_at_control(context)[-1] not in self._tokenizer.control_tokens:
            return f" {answer}"
        return answer

    def _answer_ids(self, answer: str) -> list[int]:
        """The ids of an answer after the end of the generation prompt."""
        tokenizer = self._tokenizer.tokenizer
        if self._is_encoder_decoder:
            return self._tokenizer.ids(answer)
        context = "" if self._reads_prompt_with_image else self._layout.after + self._layout.tail
        answer = self.written(answer)
        alone = list(tokenizer(context, add_special_tokens=False).input_ids) if context else []
        together = list(tokenizer(context + answer, add_special_tokens=False).input_ids)
        if together[: len(alone)] == alone:
            return together[len(alone) :]
        return list(tokenizer(answer, add_special_tokens=False).input_ids)

    @cached_property
    def _is_encoder_decoder(self) -> bool:
        return bool(getattr(self._text_config, "is_encoder_decoder", False))

    @property
    def _text_config(self) -> Any:
        config = self.checkpoint.model.config
        return getattr(config, "text_config", config)

    def _read_part(self, prompt: str) -> tuple[str, bool]:
        """The prompt as the model reads it, and whether it is truncated."""
        return self._tokenizer.truncate(CAPTIONS[self.settings.caption](prompt), self.window)

    def _ask(self, prompt: str) -> str:
        return self.settings.question.replace("{prompt}", self._read_part(prompt)[0])

    def _suffix(self, prompt: str) -> list[int]:
        """The ids after the image's prefix: the question, the end of the turn, the generation prompt."""
        layout = self._layout
        text = layout.before + self._ask(prompt) + layout.after
        return [*self._tokenizer.ids(text, after=layout.anchor), *self._tail]

    @cached_property
    def _tail(self) -> list[int]:
        tail = self._layout.tail
        return list(self._tokenizer.tokenizer(tail, add_special_tokens=False).input_ids) if tail else []

    def resized(self, images: Sequence[Image]) -> list[Image]:
        """Images as the image processor gets them: RGB, at the size of the settings."""
        rgb = [to_rgb(image) for image in images]
        size = self.settings.image_size
        if not isinstance(size, tuple):
            return rgb
        return [image.resize(size, Resampling.LANCZOS) for image in rgb]

    def _read_images(self, images: Sequence[Image]) -> tuple[dict[str, Any], list[list[int]]]:
        """The processor's output for the images with the head of the turn, and the ids without padding."""
        processor, layout, each = self.checkpoint.processor, self._layout, self.images_per_turn
        encoded = self.checkpoint.process(
            self.resized(images),
            lambda resized: processor(
                text=[layout.head] * (len(resized) // each),
                images=[list(resized[i : i + each]) for i in range(0, len(resized), each)],
                padding=True,
                padding_side="right",
                return_tensors="pt",
                add_special_tokens=layout.add_special_tokens,
                **(
                    {"images_kwargs": self.checkpoint.processor_options}
                    if self.checkpoint.processor_options
                    else {}
                ),
            ),
        )
        end = self._tokenizer.special_tokens[1] if layout.add_special_tokens else []
        rows = []
        for ids, mask in zip(encoded["input_ids"], encoded["attention_mask"], strict=True):
            row = ids[: int(mask.sum())].tolist()
            rows.append(row[: -len(end)] if end and row[-len(end) :] == end else row)
        return dict(encoded), rows

    def _extended(self, encoded: dict[str, Any], rows: list[list[int]]) -> dict[str, Any]:
        """The processor's output with longer, right-padded ids; the added ones are no image positions."""
        import torch

        shape = encoded["input_ids"].shape
        width = max(len(row) for row in rows)
        pad = self._tokenizer.tokenizer.pad_token_id or 0
        inputs = {}
        for key, value in encoded.items():
            if key not in ("input_ids", "attention_mask") and getattr(value, "shape", None) == shape:
                wide = torch.zeros((len(rows), width), dtype=value.dtype)
                kept = min(width, shape[1])
                wide[:, :kept] = value[:, :kept] * encoded["attention_mask"][:, :kept]
                value = wide
            inputs[key] = value
        inputs["input_ids"] = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
        inputs["attention_mask"] = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        return self.checkpoint.to_device(inputs)

    def _last_logits(self, inputs: dict[str, Any], last: Any, **options: Any) -> Any:
        """fp32 logits behind position ``last[i]`` of row i; only these are projected to the vocabulary.

        Where tokens of the answer follow, their logits too: (n, 1 + tokens, vocabulary).
        """
        import torch

        model = self.checkpoint.model
        # (n, 1 + tokens); indices on the CPU fit tensors on every device.
        wanted = last.cpu()[:, None] + torch.arange(1 + len(self._answered))
        column = wanted
        if "logits_to_keep" in inspect.signature(model.forward).parameters:
            kept, column = torch.unique(wanted, return_inverse=True)
            options["logits_to_keep"] = kept if self.checkpoint.is_spread else kept.to(self.checkpoint.device)
        states: list[Any] = []
        head = model.get_output_embeddings()
        hook = head.register_forward_pre_hook(lambda _, given: states.append(given[0])) if head else None
        try:
            logits = model(**inputs, **options).logits
        finally:
            if hook is not None:
                hook.remove()
        rows = torch.arange(len(last))[:, None]
        chosen = logits[rows, column].float()
        if logits.dtype != torch.float32 and self._head_is_linear:
            # In bf16 logits near 20 differ in steps of 1/8, so margins would tie: recompute those of the
            # answers in fp32. Of a model on several devices, the states are where its last layers are.
            answers = list(self.answer_ids)
            state = states[-1][rows, column].float()
            exact = state @ _rows_of(head, "weight", answers).to(state.device).float().T
            if head.bias is not None:
                exact += _rows_of(head, "bias", answers).to(state.device).float()
            chosen[..., answers] = exact.to(chosen.device)
        return chosen if self._answered else chosen[:, 0]

    @cached_property
    def _head_is_linear(self) -> bool:
        """Whether a logit is a state times a row of the head, neither scaled nor capped afterwards."""
        import torch

        options = ("final_logit_softcapping", "logit_scale", "logits_scaling")
        unscaled = all(getattr(self._text_config, option, None) in (None, 1) for option in options)
        return unscaled and type(self.checkpoint.model.get_output_embeddings()) is torch.nn.Linear

    def _from_prefixes(self, images: Sequence[Image], prompts: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Scores of images with their prompts, with the prefix of each image computed once."""
        import torch

        with torch.inference_mode():
            encoded, prefixes = self._read_images(images)
            if len({len(row) for row in prefixes}) > 1:
                return [
                    self._from_prefixes([image], [texts])[0]
                    for image, texts in zip(images, prompts, strict=True)
                ]
            length = len(prefixes[0])
            options = {}
            model = self.checkpoint.model
            if "logits_to_keep" in inspect.signature(model.forward).parameters:
                options["logits_to_keep"] = 1
            out = model(**self._extended(encoded, prefixes), use_cache=True, **options)
            cache = out.past_key_values
            # Qwen stores the offset of its image positions on the module; the next image overwrites it.
            shift = getattr(getattr(model, "model", model), "rope_deltas", None)
            shift = None if shift is None else shift.clone()
            owner = [i for i, texts in enumerate(prompts) for _ in texts]
            suffixes = [self._suffix(prompt) for texts in prompts for prompt in texts]
            scores = np.zeros(len(suffixes))
            batches = in_batches(len(suffixes), self.batch_size)
            for number, batch in enumerate(batches):
                copied = cache if number == len(batches) - 1 else copy_cache(cache)
                rows = torch.tensor(owner[batch])
                logits = self._after_prefix(copied, length, shift, rows, suffixes[batch])
                read = [
                    [*prefixes[i], *suffix] for i, suffix in zip(owner[batch], suffixes[batch], strict=True)
                ]
                scores[batch] = self.from_logits(self._adjusted(logits, read))
        ends = np.cumsum([len(texts) for texts in prompts])
        return np.split(scores, ends[:-1])

    def _after_prefix(self, cache: Any, length: int, shift: Any, rows: Any, suffixes: list[list[int]]) -> Any:
        """fp32 logits after the cached prefix ``rows[i]`` and suffix i; the cache cannot be used again."""
        import torch

        device = self.checkpoint.device
        # Of a model on several devices, so is the cache: indices on the CPU fit all of them.
        cache.batch_select_indices(rows if self.checkpoint.is_spread else rows.to(device))
        last = torch.tensor([len(suffix) - 1 for suffix in suffixes])
        suffixes = [[*suffix, *self._answered] for suffix in suffixes]
        width = max(len(suffix) for suffix in suffixes)
        pad = self._tokenizer.tokenizer.pad_token_id or 0
        inputs: dict[str, Any] = {
            "input_ids": torch.tensor([[*s, *[pad] * (width - len(s))] for s in suffixes], device=device),
            "attention_mask": torch.tensor(
                [[1] * (length + len(s)) + [0] * (width - len(s)) for s in suffixes], device=device
            ),
            "past_key_values": cache,
        }
        if shift is not None:
            shift = shift.to(device)[rows.to(device)]
            positions = torch.arange(length, length + width, device=device)[None] + shift
            inputs["position_ids"] = positions[None].expand(3, -1, -1)
        return self._last_logits(inputs, last, use_cache=True)

    @cached_property
    def _qformer_tokenizer(self) -> PromptTokenizer:
        return PromptTokenizer(self.checkpoint.processor.qformer_tokenizer)

    def _qformer_logits(self, images: Sequence[Image], prompts: Sequence[str]) -> Any:
        """InstructBLIP: image tokens, then the question, which the Q-Former reads as well."""
        import torch

        model, processor = self.checkpoint.model, self.checkpoint.processor
        questions = [self._ask(prompt) for prompt in prompts]
        image_tokens = [model.config.image_token_id] * processor.num_query_tokens
        before, after = self._tokenizer.special_tokens
        rows = [[*image_tokens, *before, *self._tokenizer.ids(q), *after] for q in questions]
        answered = [] if self._is_encoder_decoder else self._answered
        before, after = self._qformer_tokenizer.special_tokens
        qformer_rows = [[*before, *self._qformer_tokenizer.ids(q), *after] for q in questions]
        inputs = self._extended({"input_ids": torch.zeros(0)}, [[*row, *answered] for row in rows])
        other = self._extended({"input_ids": torch.zeros(0)}, qformer_rows)
        inputs["qformer_input_ids"] = other["input_ids"]
        inputs["qformer_attention_mask"] = other["attention_mask"]
        inputs.update(self.checkpoint.pixels(self.resized(images)))
        last = torch.tensor([len(row) - 1 for row in rows])
        if self._is_encoder_decoder:
            read = [self._text_config.decoder_start_token_id, *self._answered]
            inputs["decoder_input_ids"] = torch.tensor([read] * len(rows), device=self.checkpoint.device)
            last = torch.zeros_like(last)
        return self._adjusted(self._last_logits(inputs, last), rows)


def _rows_of(head: Any, name: str, ids: list[int]) -> Any:
    """Rows of a parameter of the output head, wherever accelerate keeps it."""
    parameter = getattr(head, name)
    if parameter.is_meta:
        # Offloaded: accelerate loads the head for its forward pass only.
        hooks = getattr(head._hf_hook, "hooks", [head._hf_hook])
        stored = [hook.weights_map for hook in hooks if getattr(hook, "weights_map", None) is not None]
        parameter = stored[0][name]
    return parameter[ids]
