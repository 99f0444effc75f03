"""BVQA: a prompt is split into noun phrases, and BLIP-VQA is asked about each of them.

The formula of T2I-CompBench (Huang et al. 2023, section 3.1): for every noun phrase BLIP-VQA gets the
question "PHRASE?", the answer is P(yes) / (P(yes) + P(no)) at the decoder's first position, and the score is
the product over the phrases, of which the published code takes the first eight. As there, images have 480
pixels a side (the weights' position embeddings, of 384, are interpolated), a question loses its capitals and
punctuation, and answers and product are rounded to four decimals, which makes ties.

Against BLIP-VQA of LAVIS 1.0.2 with this formula and the same random weights, products agree to 3e-6 of their
spread. The difference on purpose: the published code gives a prompt without a noun phrase the score 1; here
such a pair has no score, with that reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib import import_module
from itertools import groupby
from typing import Any

import numpy as np
from PIL.Image import Image

from croc.errors import InputError
from croc.scorers.captions import CAPTIONS, require_caption
from croc.scorers.itm import encoder_token
from croc.scorers.loading import Checkpoint, in_batches
from croc.scorers.pairs import UnscoredPairs
from croc.scorers.prompt_tokens import PromptTokenizer
from croc.scorers.shared_images import SharedImageScorer

Chunker = Callable[[str], Sequence[str]]

# Words that separate phrases without a parser: function words and the most common verbs of image prompts.
_FUNCTION_WORDS = """
about above across after against along amid among and around are as at away be before behind being below
beneath beside between beyond both but by carrying containing depicting during eating facing flying for
from has have having hold holding holds in inside into is it its jumping leaning like lying made near
next no not of off on onto or out outside over past playing riding running showing shows sit sits sitting
sleeping stand standing stands than that there to toward towards under underneath up upon walking was
wearing wears were where which while who with within without
"""
_BETWEEN = frozenset(_FUNCTION_WORDS.split())
_LEADING = frozenset(("a", "an", "the", "this", "these", "those", "some", "any", "his", "her", "their"))


def phrases_by_rule(prompt: str) -> list[str]:
    """Noun phrases without a parser: the words between function words and punctuation.

    An approximation for English that needs no model and gives the same result on every machine.

    >>> phrases_by_rule("A red book and a yellow vase on the table.")
    ['A red book', 'a yellow vase', 'the table']
    """
    phrases = []
    for segment in re.split(r"[^\w\s'’-]+", prompt):
        words: list[str] = []
        for word in [*segment.split(), "and"]:
            if word.lower() not in _BETWEEN:
                words.append(word)
                continue
            if any(w.lower() not in _LEADING for w in words):
                phrases.append(" ".join(words))
            words = []
    return phrases


def find_chunker(chunker: str | Chunker) -> Chunker:
    """The function behind a name.

    Args:
        chunker: a function from a prompt to its noun phrases, ``rules``, ``spacy:PIPELINE`` (the published
            choice is ``spacy:en_core_web_sm``), or ``module:function``.

    Raises:
        InputError: the name is unknown, or spaCy or its pipeline is not installed.
    """
    if callable(chunker):
        return chunker
    if chunker == "rules":
        return phrases_by_rule
    module, _, name = chunker.partition(":")
    if not name:
        raise InputError(f"chunker {chunker!r} is unknown: use rules, spacy:PIPELINE or module:function")
    try:
        imported = import_module(module)
        if module != "spacy":
            function: Chunker = getattr(imported, name)
            return function
        pipeline = imported.load(name)
    except (ImportError, OSError, AttributeError) as error:
        raise InputError(
            f"chunker {chunker!r} cannot be loaded ({str(error).splitlines()[0]}): install it, "
            "or use chunker=rules"
        ) from error
    return lambda prompt: [chunk.text for chunk in pipeline(prompt).noun_chunks]


class BlipVqa(SharedImageScorer):
    """The product over noun phrases of BLIP-VQA's P(yes) / (P(yes) + P(no)).

    Args:
        model: Hub id, folder or loaded ``BlipForQuestionAnswering``.
        chunker: see :func:`find_chunker`; part of the signature.
        max_phrases: largest number of phrases (8 in the published code); ``truncated`` marks longer prompts.
        skip: phrases to leave out, because they name a place and not a thing.
        window: tokens of a question, special ones included (35 in the published code).
        image_side: pixels a side of the images; None takes the image processor's.
        decimals: to which every answer and the product are rounded; None does not round.
        caption: what happens to a question before the tokenizer; one of
            :data:`~croc.scorers.captions.CAPTIONS`.
        batch_size: largest number of questions in one forward pass.
        dtype: see :class:`~croc.scorers.loading.Checkpoint`, as are the other arguments.
    """

    def __init__(
        self,
        model: Any,
        *,
        name: str | None = None,
        chunker: str | Chunker = "spacy:en_core_web_sm",
        max_phrases: int = 8,
        skip: Sequence[str] = (),
        window: int = 35,
        image_side: int | None = 480,
        decimals: int | None = 4,
        caption: str = "blip question",
        batch_size: int = 32,
        dtype: str | None = "float32",
        **checkpoint: Any,
    ) -> None:
        self.checkpoint = Checkpoint(model, auto="BlipForQuestionAnswering", dtype=dtype, **checkpoint)
        self.name = name or self.checkpoint.name
        self.max_phrases = max_phrases
        self.window = window
        self.image_side = image_side
        self.decimals = decimals
        self.caption = require_caption(caption)
        self.batch_size = batch_size
        self._skip = frozenset(skip)
        self._chunker = chunker

    @staticmethod
    def packages(chunker: str = "spacy:en_core_web_sm") -> dict[str, str]:
        """The packages that a chunker needs, with the commands that install them."""
        module, _, pipeline = chunker.partition(":")
        if module != "spacy":
            return {}
        return {"spacy": "pip install spacy", pipeline: f"python -m spacy download {pipeline}"}

    def phrases(self, prompt: str) -> list[str]:
        """All noun phrases of a prompt."""
        return [phrase for phrase in self._chunk(prompt) if phrase.strip() and phrase not in self._skip]

    def truncated(self, prompts: Sequence[str]) -> np.ndarray:
        """Which prompts have more than ``max_phrases`` phrases, or one longer than the window: bool (n,)."""
        return np.array(
            [
                len(phrases) > self.max_phrases or any(self._ids(p)[1] for p in phrases)
                for phrases in map(self.phrases, prompts)
            ],
            dtype=bool,
        )

    def fields(self) -> dict[str, str]:
        """Settings for the signature: checkpoint, formula, chunker, question and limits."""
        chunker = self._chunker
        if not isinstance(chunker, str):
            chunker = f"{chunker.__module__}:{getattr(chunker, '__qualname__', type(chunker).__qualname__)}"
        return {
            **self.checkpoint.fields(),
            "formula": "prod P(yes)/(P(yes)+P(no))",
            "template": "{phrase}?",
            "chunker": chunker,
            "max_phrases": str(self.max_phrases),
            "window": str(self.window),
            "caption": self.caption,
            "image_size": "as processed"
            if self.image_side is None
            else f"{self.image_side}x{self.image_side}",
            "decimals": "all" if self.decimals is None else str(self.decimals),
        }

    @cached_property
    def _chunk(self) -> Chunker:
        return find_chunker(self._chunker)

    @cached_property
    def _tokenizer(self) -> PromptTokenizer:
        return PromptTokenizer(self.checkpoint.processor.tokenizer)

    @cached_property
    def _answers(self) -> tuple[int, int]:
        ids = [self._tokenizer.ids(answer) for answer in ("yes", "no")]
        if any(len(answer) != 1 for answer in ids):
            raise InputError(f"the tokenizer of {self.name} writes yes or no in several tokens: {ids}")
        return ids[0][0], ids[1][0]

    def _ids(self, phrase: str) -> tuple[list[int], bool]:
        before, after = self._tokenizer.special_tokens
        ids = self._tokenizer.ids(CAPTIONS[self.caption](f"{phrase}?"))
        room = self.window - len(before) - len(after)
        start = encoder_token(self.checkpoint.model.config.text_config, before[0])
        return [start, *before[1:], *ids[:room], *after], len(ids) > room

    def _encode(self, images: Sequence[Image]) -> Any:
        size = {} if self.image_side is None else {"height": self.image_side, "width": self.image_side}
        pixels = self.checkpoint.pixels(images, **({"size": size} if size else {}))
        return self.checkpoint.model.vision_model(**pixels, interpolate_pos_encoding=True)[0]

    def _score_encoded(self, encoded: Any, prompts: Sequence[str]) -> np.ndarray:
        """The products for n image features (n, tokens, width) and their n prompts."""
        questions = [
            (i, self._ids(phrase)[0])
            for i, prompt in enumerate(prompts)
            for phrase in self.phrases(prompt)[: self.max_phrases]
        ]
        scores = np.full(len(prompts), np.nan)
        scores[[i for i, _ in questions]] = 1.0
        # Questions of one length share a batch: BLIP's decoder in transformers (as of 5.23) ignores the mask
        # of the question, so padding would change the answer.
        questions.sort(key=lambda question: len(question[1]))
        for _, group in groupby(questions, key=lambda question: len(question[1])):
            same_length = list(group)
            for batch in in_batches(len(same_length), self.batch_size):
                rows = [i for i, _ in same_length[batch]]
                answers = self._rounded(self._answer(encoded[rows], [ids for _, ids in same_length[batch]]))
                for i, answer in zip(rows, answers, strict=True):
                    scores[i] *= answer
        if np.isnan(scores).any():
            reasons = {int(i): "the prompt has no noun phrase" for i in np.flatnonzero(np.isnan(scores))}
            raise UnscoredPairs(reasons, self._rounded(scores))
        return self._rounded(scores)

    def _rounded(self, values: np.ndarray) -> np.ndarray:
        return values if self.decimals is None else np.round(values, self.decimals)

    def _answer(self, encoded: Any, questions: Sequence[Sequence[int]]) -> np.ndarray:
        """P(yes) / (P(yes) + P(no)) for image features (n, tokens, width) and n questions of one length."""
        import torch

        model = self.checkpoint.model
        ids = torch.tensor(questions, device=encoded.device)
        states = model.text_encoder(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            encoder_hidden_states=encoded,
            encoder_attention_mask=torch.ones(encoded.shape[:-1], dtype=torch.long, device=encoded.device),
        )[0]
        start = torch.full((len(ids), 1), model.decoder_start_token_id, device=encoded.device)
        logits = model.text_decoder(input_ids=start, encoder_hidden_states=states).logits[:, 0, :]
        # The ratio of two softmax values: the rest of the vocabulary cancels out.
        return np.asarray(logits[:, list(self._answers)].double().softmax(dim=-1)[:, 0].cpu().numpy())
