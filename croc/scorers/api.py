"""VQAScore over an OpenAI-compatible endpoint that returns log-probabilities (VQAScore-4o).

Lin et al. 2024, section 3 and their GPT-4o variant: a question about the image, an answer of one token, and
the score is the probability of "Yes" among the most likely tokens. The authors' package has read these tokens
in different ways; ``reading`` names which, and the signature says it. Where neither "Yes" nor "No" is among
the tokens, the pair has no score (in the published code 0). The readings follow the code of t2v_metrics; no
endpoint was at hand to compare with.

Responses are kept on disk, and a budget can be set: see :mod:`croc.jobs.paid_calls`.
"""

from __future__ import annotations

import base64
import io
import logging
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from croc.checks.decoding import to_rgb
from croc.checks.rows import prompt_problem
from croc.errors import InputError, MissingExtra
from croc.jobs.paid_calls import Expected, PaidCalls, PaidTerms, Prices, Usage, image_tokens, tokens_of
from croc.jobs.parts import Abort
from croc.scorers.pairs import UnscoredPairs, require_pairs
from croc.scorers.vqa import QUESTION
from croc.storage.service import api_key, error_message, permanent_failure

_LOG = logging.getLogger(__name__)

READINGS = ("sum", "t2v_metrics 3.0", "t2v_metrics 3.1")
"""How the most likely tokens become a score.

- ``sum``: the sum over all that are "Yes", whatever their case and spaces; 0 where "No" is among the tokens
  and "Yes" is not (counted under ``floored``);
- ``t2v_metrics 3.0``: the first that is exactly Yes, yes, No or no; of the latter two 1 − P;
- ``t2v_metrics 3.1``: the last that is "Yes", whatever its case and spaces; without one 1 − P("No").
"""


@dataclass
class ScorerUsage:
    """How much a scorer has used its endpoint so far.

    Attributes:
        paid: calls, answers from the cache, tokens and cost.
        floored: pairs with the score 0 because "Yes" was not among the returned tokens.
        limits: rate limits in the endpoint's last response (``remaining-requests`` …).
    """

    paid: Usage
    floored: int = 0
    limits: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        floored = f", {self.floored} with the score 0 because Yes was not returned" if self.floored else ""
        limits = "".join(f", {name} {value}" for name, value in sorted(self.limits.items()))
        return f"{self.paid}{floored}{limits}"


class ChatEndpoint:
    """An OpenAI-compatible chat endpoint that is asked about images, one token an answer.

    Args:
        model: the endpoint's name of the model, preferably with a date: the model behind others can change.
        name: of the scorer; None takes the model's.
        revision: for the signature, if the endpoint has revisions.
        base_url: the endpoint; None takes the client's default (or ``OPENAI_BASE_URL``).
        key_variable: name of the environment variable with the key; keys are never arguments.
        top: how many of the most likely tokens are asked for; endpoints return at most 20.
        text_first: whether the question stands before the image, as in the package of VQAScore's authors.
        replay_only: take responses from the cache only; a question without one has no answer.
        max_retries: number of retries after a rate limit, a server error or a broken connection, with
            growing delays, or with the delay that the endpoint asks for.
        workers: number of concurrent requests.
        image_side: larger images are reduced so that their longer side has this many pixels; None keeps them.
        prices: US dollars per million (input, output) tokens, as a pair or by name, to show the cost.
        budget: US dollars that must not be exceeded; needs ``prices``.
        cache: whether responses are kept, and taken from earlier runs; or the folder for that.
        timeout: seconds for one request.
    """

    KEY_VARIABLE = "OPENAI_API_KEY"

    answers: tuple[str, ...] = ()
    """What the model is asked to answer with."""

    def __init__(
        self,
        model: str,
        *,
        name: str | None = None,
        revision: str | None = None,
        base_url: str | None = None,
        key_variable: str = KEY_VARIABLE,
        top: int = 20,
        text_first: bool = False,
        replay_only: bool = False,
        max_retries: int = 6,
        workers: int = 8,
        image_side: int | None = None,
        prices: Sequence[float] | Mapping[str, float] | None = None,
        budget: float | None = None,
        cache: bool | str | Path = True,
        timeout: float = 60.0,
    ) -> None:
        if not 1 <= top <= 20:
            raise InputError(f"top must be between 1 and 20, not {top}")
        if replay_only and not cache:
            raise InputError("replay_only needs the cache with the stored responses")
        if workers < 1:
            raise InputError(f"workers must be at least 1, not {workers}")
        self.model = model
        self.name = name or model
        self.top = top
        self.text_first = text_first
        self._revision = revision
        self._base_url = base_url
        self._key_variable = key_variable
        self._replay_only = replay_only
        self._max_retries = max_retries
        self._workers = workers
        self._image_side = image_side
        self._timeout = timeout
        self._lock = threading.Lock()
        where = cache if isinstance(cache, bool) else str(cache)
        terms = PaidTerms(prices=Prices.of(prices), budget=budget, cache=where)
        self._calls = self._paid_calls(terms)
        self.usage = ScorerUsage(self._calls.usage)

    def use_terms(self, terms: PaidTerms) -> None:
        """Call the endpoint on other terms from now on; what they leave open stays as it is.

        Raises:
            InputError: there is a budget without prices.
        """
        own = self._calls.terms
        changes = {
            "prices": terms.prices.model_dump(exclude_none=True),
            "budget": terms.budget or own.budget,
            "cache": own.cache if terms.cache is True else terms.cache,
            "run": terms.run,
        }
        self._calls = self._paid_calls(own.changed(changes))
        self.usage = ScorerUsage(self._calls.usage)

    def _paid_calls(self, terms: PaidTerms) -> PaidCalls:
        return PaidCalls(
            "chat/completions", self.model, address=self._base_url, revision=self._revision, terms=terms
        )

    def fields(self) -> dict[str, str]:
        """Settings for the signature: endpoint, model and image size; never the key."""
        return {
            "model": self.model,
            "revision": self._revision or "unpinned",
            "endpoint": self._base_url or os.environ.get("OPENAI_BASE_URL") or "api.openai.com",
            "order": "text, image" if self.text_first else "image, text",
            "answers": "/".join(self.answers),
            "image_size": f"longer side ≤ {self._image_side}" if self._image_side else "as is",
        }

    def expected(
        self, questions: int, texts: Sequence[str], images: Sequence[Image], images_each: float = 1.0
    ) -> str:
        """What so many questions take, estimated from some of their texts and images.

        Args:
            questions: number of questions.
            texts: some of them.
            images: some of their images.
            images_each: mean number of images in a question.
        """
        lengths = [tokens_of(text) for text in texts] or [0]
        sizes = [image_tokens(*self._reduced(to_rgb(image)).size) for image in images] or [0]
        tokens = float(np.mean(lengths)) + images_each * float(np.mean(sizes))
        expected = Expected(
            self.model,
            questions,
            input_tokens=round(questions * tokens),
            output_tokens=questions,
            remark="images counted by OpenAI's rule for GPT-4o",
        )
        return expected.text(self._calls.terms)

    def ask(self, images: Sequence[Image], text: str) -> float:
        """The number that the answer to a question about images stands for.

        Raises:
            NoScore: there is no answer, or it is none of ``answers``.
            Abort: no other question can be answered: no key, no such model, or the budget is used up.
        """
        images = [self._reduced(to_rgb(image)) for image in images]
        request = self._request(images, text)
        if self._replay_only:
            answer = self._calls.cached(request)
            if answer is None:
                raise NoScore("no stored response in the cache")
        else:
            tokens = sum(image_tokens(*image.size) for image in images)
            answer = self._calls.call(request, lambda: self._send(request), image_tokens=tokens)
        return self._score_response(_essence(answer))

    def run_all(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Run tasks that ask, so many at a time as there are ``workers``."""
        with ThreadPoolExecutor(self._workers) as pool:
            # An error that concerns all tasks is raised here; requests that have not begun are cancelled.
            futures = [pool.submit(task) for task in tasks]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        _LOG.info("%s: %s", self.name, self.usage)

    @cached_property
    def _client(self) -> Any:
        try:
            import openai
        except ImportError as error:
            raise MissingExtra("a scorer over an API", "score") from error
        return openai.OpenAI(
            api_key=api_key(self._key_variable),
            base_url=self._base_url,
            max_retries=self._max_retries,
            timeout=self._timeout,
        )

    def _reduced(self, image: Image) -> Image:
        if self._image_side and max(image.size) > self._image_side:
            image = image.copy()
            image.thumbnail((self._image_side, self._image_side))
        return image

    def _request(self, images: Sequence[Image], text: str) -> dict[str, Any]:
        content: list[dict[str, Any]] = []
        for image in images:
            buffer = io.BytesIO()
            image.save(buffer, "PNG")
            url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
            content.append({"type": "image_url", "image_url": {"url": url}})
        content.insert(0 if self.text_first else len(content), {"type": "text", "text": text})
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": 1,
            "logprobs": True,
            "top_logprobs": self.top,
        }

    def _send(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The endpoint's response."""
        client = self._client
        import openai

        try:
            raw = client.chat.completions.with_raw_response.create(**request)
            body = raw.parse()
        except openai.OpenAIError as error:
            reason = permanent_failure(
                error,
                model=self.model,
                key_variable=self._key_variable,
                address=str(client.base_url),
            )
            if reason is not None:
                raise Abort(f"{self.name}: {reason}") from error
            raise NoScore(f"the endpoint failed: {error_message(error)}") from error
        with self._lock:
            for key, value in raw.headers.items():
                if key.lower().startswith("x-ratelimit-"):
                    self.usage.limits[key.lower().removeprefix("x-ratelimit-")] = value
        return body.to_dict() if hasattr(body, "to_dict") else {}

    def _score_response(self, response: Mapping[str, Any]) -> float:
        if response["refusal"] or response["finish_reason"] == "content_filter":
            raise NoScore(f"the model refused to answer: {response['refusal'] or 'content filter'}")
        if not response["top"]:
            raise NoScore(
                "the endpoint returned no log-probabilities; this model or endpoint may not support them"
            )
        score = self._read_tokens(response["top"])
        if score is None:
            raise NoScore(
                f"neither {' nor '.join(self.answers)} is among the returned tokens: {response['text']!r}"
            )
        return score

    def _read_tokens(self, tokens: Sequence[tuple[str, float]]) -> float | None:
        """What (token, log-probability) pairs stand for; None where no answer is among them."""
        raise NotImplementedError


class ApiVqaScore(ChatEndpoint):
    """P("Yes") from an OpenAI-compatible chat endpoint.

    Args:
        model: the endpoint's name of the model, preferably with a date: the model behind others can change.
        question: it contains ``{prompt}`` once.
        answers: the affirmative and the negative answer.
        reading: how the most likely tokens become a score; one of :data:`READINGS`.
        options: see :class:`ChatEndpoint`.
    """

    def __init__(
        self,
        model: str,
        *,
        question: str = QUESTION,
        answers: tuple[str, str] = ("Yes", "No"),
        reading: str = "sum",
        **options: Any,
    ) -> None:
        if question.count("{prompt}") != 1:
            raise InputError(f"the question {question!r} must contain {{prompt}} once")
        if reading not in READINGS:
            raise InputError(f"reading {reading!r} is unknown: use one of {', '.join(READINGS)}")
        super().__init__(model, **options)
        self.question = question
        self.answers = tuple(answers)
        self.reading = reading

    def estimate(self, pairs: int, images: Sequence[Image], prompts: Sequence[str]) -> str:
        """What scoring that many pairs takes, estimated from some of their images and prompts."""
        return self.expected(pairs, [self.question.replace("{prompt}", prompt) for prompt in prompts], images)

    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> np.ndarray:
        """Score pair i = (``images[i]``, ``prompts[i]``); float64 (n,) in 0…1.

        Raises:
            UnscoredPairs: some pairs have no score (the model refused, neither answer was returned, the
                prompt is empty, the endpoint kept failing); the error holds the other scores.
            Abort: no other pair can be scored: no key, no such model, or the budget is used up.
        """
        require_pairs(images, prompts)
        scores = np.full(len(images), np.nan)
        reasons: dict[int, str] = {}

        # Equal pairs of a batch share one request.
        rows_of: dict[tuple[bytes, str], list[int]] = {}
        for i, (image, prompt) in enumerate(zip(images, prompts, strict=True)):
            rows_of.setdefault(
                (sha256(image.tobytes()).digest() + repr(image.size).encode(), prompt), []
            ).append(i)

        def score_rows(rows: list[int]) -> None:
            try:
                scores[rows] = self._score_one(images[rows[0]], prompts[rows[0]])
            except NoScore as reason:
                reasons.update(dict.fromkeys(rows, str(reason)))

        self.run_all([partial(score_rows, rows) for rows in rows_of.values()])
        if reasons:
            raise UnscoredPairs(dict(sorted(reasons.items())), scores)
        return scores

    def fields(self) -> dict[str, str]:
        """Settings for the signature: endpoint, model, question and image size; never the key."""
        return {
            **super().fields(),
            "formula": f"P({self.answers[0]}) among the top {self.top}",
            "reading": self.reading,
            "template": self.question,
        }

    def _score_one(self, image: Image, prompt: str) -> float:
        if problem := prompt_problem(prompt):
            raise NoScore(problem)
        return self.ask([image], self.question.replace("{prompt}", prompt))

    def _read_tokens(self, tokens: Sequence[tuple[str, float]]) -> float | None:
        """The score of (token, log-probability) pairs; None where no answer is among them."""
        words = [word.lower() for word in self.answers]
        if self.reading == "t2v_metrics 3.0":
            for token, logprob in tokens:
                for sign, word in zip((1.0, -1.0), words, strict=True):
                    if token in (word, word.capitalize()):
                        return math.exp(logprob) if sign > 0 else 1.0 - math.exp(logprob)
            return None
        yes, no = ([p for token, p in tokens if token.strip().lower() == word] for word in words)
        if not yes and not no:
            return None
        if self.reading == "t2v_metrics 3.1":
            return math.exp(yes[-1]) if yes else 1.0 - math.exp(no[-1])
        if not yes:
            with self._lock:
                self.usage.floored += 1
        return min(1.0, math.fsum(math.exp(p) for p in yes))


class NoScore(Exception):
    """Why a question has no answer."""


def _essence(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a response that are scored.

    Raises:
        NoScore: it has no answer.
    """
    choice = (answer.get("choices") or [None])[0]
    if not choice:
        raise NoScore("the endpoint returned no answer")
    message = choice.get("message") or {}
    tokens = (choice.get("logprobs") or {}).get("content") or []
    return {
        "refusal": message.get("refusal"),
        "finish_reason": choice.get("finish_reason"),
        "text": message.get("content"),
        "top": [(t["token"], t["logprob"]) for t in tokens[0].get("top_logprobs") or ()] if tokens else [],
    }
