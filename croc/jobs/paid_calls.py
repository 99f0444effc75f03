"""Calls of paid services: an estimate before the first one, a budget, and a cache of the answers.

Everything that calls a service with OpenAI's interface calls it through :class:`PaidCalls`: writers of
prompts and questions, painters through the images API, scorers and judges.

**Cache.** An answer lies in a file named by the hash of its request: address, model, revision, body (images
by their hashes), and the seed of the sample, also where the service takes no seed. So a second run, another
build or another scorer with the same request pays nothing. The file has the request and a checksum of the
answer; a damaged one is noticed, and asked again. The key of the service is not in it.

**Budget.** Before a call, the most that it can cost is reserved: a token for every byte of the request, and
all tokens that the answer may have. A call whose reservation does not fit waits for those under way, and
stops the run when there are none, so that no paid answer is lost. How many tokens an image has, only the
service knows: the first call with images goes out alone, and the largest count so far is reserved for the
next.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Self
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from croc.errors import InputError
from croc.jobs.parts import Abort
from croc.storage.files import atomic, digest_of
from croc.wording import counted

log = logging.getLogger(__name__)

Kind = Literal["chat/completions", "images/generations"]

FORMAT = 1
OPENAI = "https://api.openai.com/v1"
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,")
_PAUSE = 0.02
_TILE = 512


class Prices(BaseModel):
    """Prices of a service in US dollars; None where they are not known.

    Attributes:
        input: of a million input tokens.
        output: of a million output tokens.
        image: of an image that the service makes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    input: float | None = Field(default=None, ge=0)
    output: float | None = Field(default=None, ge=0)
    image: float | None = Field(default=None, ge=0)

    @classmethod
    def of(cls, values: Prices | Mapping[str, Any] | Sequence[float] | None) -> Prices:
        """From a mapping, or from the prices of (input, output) tokens.

        Raises:
            InputError: a price is unknown, negative, or not a number.
        """
        if isinstance(values, Prices):
            return values
        if values is not None and not isinstance(values, Mapping):
            values = dict(zip(("input", "output", "image"), values, strict=False))
        for name, value in (values or {}).items():
            if name not in cls.model_fields:
                raise InputError(f"the price {name!r} is unknown: use input, output or image")
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not 0 <= value < float("inf"):
                raise InputError(f"the price {name}={value!r} must be a number of dollars from 0")
        return cls(**(values or {}))

    def cost(self, input_tokens: float, output_tokens: float, images: int = 0) -> float | None:
        """The cost in dollars; None where a price that it needs is not known.

        >>> Prices(input=2.5, output=10).cost(1_000_000, 100_000), Prices(image=0.04).cost(0, 0, images=10)
        (3.5, 0.4)
        """
        if images and self.image is not None:
            return images * self.image
        if self.input is None or self.output is None:
            return None
        return (input_tokens * self.input + output_tokens * self.output) / 1e6

    def missing(self, kind: Kind) -> str:
        """The options that would give the prices that a cost needs; empty if it is known."""
        if kind == "images/generations":
            return "" if self.image is not None else "--price image=DOLLARS"
        names = [name for name in ("input", "output") if getattr(self, name) is None]
        return " ".join(f"--price {name}=DOLLARS" for name in names) + (
            " (per million tokens)" if names else ""
        )


class PaidTerms(BaseModel):
    """On which terms a paid service is called.

    Attributes:
        prices: of the service.
        budget: US dollars that a run may spend; None sets no limit. It needs the prices.
        cache: whether answers are kept and taken from earlier runs, or the folder for that; True takes
            :func:`cache_folder`.
        run: calls with the same name here share one budget in a process; an empty one shares with none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    prices: Prices = Prices()
    budget: float | None = Field(default=None, gt=0)
    cache: bool | str = True
    run: str = ""

    def in_one_run(self) -> Self:
        """These terms for a run, whose calls share the budget."""
        return self if self.run else self.model_copy(update={"run": uuid4().hex})

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """These terms with other ones of ``prices`` (each price for itself), ``budget`` and ``cache``."""
        updates = dict(changes)
        if "prices" in updates:
            known = self.prices.model_dump(exclude_none=True)
            updates["prices"] = Prices.of({**known, **updates["prices"]})
        return self.model_copy(update=updates)

    def divided_by(self, workers: int) -> Self:
        """The terms of one of several processes, so that together they keep to the budget."""
        return (
            self if self.budget is None else self.model_copy(update={"budget": self.budget / max(1, workers)})
        )


@dataclass
class Usage:
    """How much a service was used.

    Attributes:
        calls: answers of the service.
        cached: answers from the cache; they cost nothing.
        damaged: damaged answers in the cache, which were asked again.
        input_tokens: as the service counted them.
        output_tokens: likewise.
        images: that the service made.
        cost: in US dollars, by the given prices; None without prices.
    """

    calls: int = 0
    cached: int = 0
    damaged: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    images: int = 0
    cost: float | None = None

    def __str__(self) -> str:
        parts = [counted(self.calls, "paid call"), f"{self.cached:,} from the cache"]
        if self.damaged:
            parts.append(f"{counted(self.damaged, 'damaged answer')} asked again")
        if self.input_tokens or self.output_tokens or not self.images:
            parts.append(f"{self.input_tokens:,} + {self.output_tokens:,} tokens")
        if self.images:
            parts.append(counted(self.images, "image"))
        parts.append("cost unknown (no prices)" if self.cost is None else f"${self.cost:.4f}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Expected:
    """What a run will ask of a model, estimated before the first call.

    Attributes:
        model: its name.
        calls: number of requests, if every one is answered at the first time.
        input_tokens: of all requests.
        output_tokens: of all answers.
        images: that the model will make.
        remark: what the numbers leave out.
    """

    model: str
    calls: int
    input_tokens: int = 0
    output_tokens: int = 0
    images: int = 0
    remark: str = ""

    def cost(self, prices: Prices) -> float | None:
        """In dollars; None if a price that it needs is not known."""
        return prices.cost(self.input_tokens, self.output_tokens, self.images)

    def text(self, terms: PaidTerms) -> str:
        """The estimate as a sentence; says so where the cost is not known."""
        if self.images:
            kind: Kind = "images/generations"
            amount = counted(self.images, "image")
        else:
            kind = "chat/completions"
            amount = f"about {self.input_tokens:,} input and {counted(self.output_tokens, 'output token')}"
        cost = self.cost(terms.prices)
        money = (
            f"the cost is unknown without prices: {terms.prices.missing(kind)}"
            if cost is None
            else f"about ${cost:,.4g}"
        )
        parts = [f"estimate for {self.model}: {counted(self.calls, 'paid call')}", amount, money]
        if terms.budget is not None:
            parts.append(f"the run stops before it has cost more than ${terms.budget:,.4g}")
        fewer = "answers in the cache cost nothing" if terms.cache else "without a cache"
        return f"{', '.join(parts)} ({'; '.join([self.remark, fewer] if self.remark else [fewer])})"


def cache_folder() -> Path:
    """The folder of answers: ``answers`` in ``CROC_CACHE``, else in ``croc`` beside the caches of the Hub."""
    if given := os.environ.get("CROC_CACHE"):
        return Path(given) / "answers"
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "croc" / "answers"


def tokens_of(text: str) -> int:
    """About how many tokens a text has: a quarter of its bytes."""
    return max(1, len(text.encode()) // 4)


def image_tokens(width: int, height: int) -> int:
    """About how many tokens an image has, by OpenAI's published rule for GPT-4o at high detail.

    The image is reduced to 2048 × 2048 pixels and then to a shorter side of 768; it costs 85 tokens, and 170
    for each tile of 512 × 512 pixels. Other models count differently.

    >>> image_tokens(1024, 1024), image_tokens(2048, 4096), image_tokens(256, 256)
    (765, 1105, 255)
    """
    scale = min(1.0, 2048 / max(width, height))
    scale *= min(1.0, 768 / (min(width, height) * scale))
    columns, rows = (-(-round(side * scale) // _TILE) for side in (width, height))
    return 85 + 170 * columns * rows


@dataclass
class _Account:
    """What a run may spend, has spent and has reserved, in this process."""

    spent: float = 0.0
    reserved: float = 0.0
    under_way: int = 0
    calls: int = 0
    usages: list[Usage] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


_ACCOUNTS: dict[str, _Account] = {}


def _account(run: str) -> _Account:
    return _ACCOUNTS.setdefault(run, _Account()) if run else _Account()


def usage_of(run: str) -> Usage | None:
    """What the calls of a run in this process have used so far; None if there were none, cached or paid."""
    account = _ACCOUNTS.get(run)
    if account is None or not any(usage.calls or usage.cached for usage in account.usages):
        return None
    total = Usage(cost=0.0)
    for usage in account.usages:
        for name in ("calls", "cached", "damaged", "input_tokens", "output_tokens", "images"):
            setattr(total, name, getattr(total, name) + getattr(usage, name))
        unknown = total.cost is None or (usage.cost is None and usage.calls > 0)
        total.cost = None if unknown else (total.cost or 0.0) + (usage.cost or 0.0)
    return total


@dataclass
class _Call:
    """A request, and the most that it can cost."""

    request: dict[str, Any]
    digest: str
    image_tokens: int = 0
    most: float = 0.0

    @cached_property
    def sizes(self) -> tuple[int, int, int]:
        """The most images and the most tokens of text that it can have, and the most of its answer."""
        body = {**self.request["body"], **self.request["body"].get("extra_body", {})}
        number = int(body.get("n") or 1)
        limit = int(body.get("max_completion_tokens") or body.get("max_tokens") or 0)
        return number, len(json.dumps(self.request["body"], ensure_ascii=False).encode()), limit * number


class PaidCalls:
    """The calls of one model of a service.

    Args:
        kind: which interface is called.
        model: its name, for messages.
        address: of the service; None takes ``OPENAI_BASE_URL``, else OpenAI's.
        revision: of the model, if the service has revisions.
        terms: prices, budget and cache.

    Raises:
        InputError: there is a budget without the prices, or the folder of answers cannot be made.
    """

    def __init__(
        self,
        kind: Kind,
        model: str,
        *,
        address: str | None = None,
        revision: str | None = None,
        terms: PaidTerms | None = None,
    ) -> None:
        terms = terms or PaidTerms()
        if terms.budget is not None and (missing := terms.prices.missing(kind)):
            raise InputError(f"a budget for {model} needs its prices: {missing}")
        self.kind, self.model, self.terms = kind, model, terms
        self.address = (address or os.environ.get("OPENAI_BASE_URL") or OPENAI).rstrip("/")
        self.usage = Usage(cost=None if terms.prices.missing(kind) else 0.0)
        if kind == "images/generations" and terms.prices.cost(1, 1) is not None:
            self.usage.cost = 0.0
        self._revision = revision
        self._account = _account(terms.run)
        self._account.usages.append(self.usage)
        self._scale = 0.0
        self._folder: Path | None = None
        if terms.cache:
            self._folder = cache_folder() if terms.cache is True else Path(str(terms.cache))
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(
                    f"{self._folder}: this folder for answers cannot be made ({error.strerror}); set "
                    "CROC_CACHE to another one, or use --no-cache"
                ) from None

    def call(
        self,
        body: Mapping[str, Any],
        send: Callable[[], Mapping[str, Any]],
        *,
        draw: int | None = None,
        image_tokens: int = 0,
    ) -> dict[str, Any]:
        """The answer to a request: from the cache, or from the service.

        Args:
            body: of the request.
            send: sends it and returns the answer; its exceptions pass through.
            draw: number of the sample, where equal requests are to get different answers.
            image_tokens: estimate for the images in the body, of :func:`image_tokens`.

        Raises:
            Abort: the budget does not allow it.
        """
        call = self._call(body, draw, image_tokens)
        if (known := self._read(call)) is not None:
            return known
        while not self._reserve(call):
            time.sleep(_PAUSE)
        try:
            answer = dict(send())
        except BaseException as error:
            self._release(call, error)
            raise
        return self._settle(call, answer)

    async def call_async(
        self,
        body: Mapping[str, Any],
        send: Callable[[], Awaitable[Mapping[str, Any]]],
        *,
        draw: int | None = None,
    ) -> dict[str, Any]:
        """As :meth:`call`, for coroutines."""
        call = self._call(body, draw)
        if (known := self._read(call)) is not None:
            return known
        while not self._reserve(call):
            await asyncio.sleep(_PAUSE)
        try:
            answer = dict(await send())
        except BaseException as error:
            self._release(call, error)
            raise
        return self._settle(call, answer)

    def cached(self, body: Mapping[str, Any], *, draw: int | None = None) -> dict[str, Any] | None:
        """The answer of the cache, or None."""
        return self._read(self._call(body, draw))

    # ---- The cache ----

    def _call(self, body: Mapping[str, Any], draw: int | None, image_tokens: int = 0) -> _Call:
        request = {
            "endpoint": f"{self.address}/{self.kind}",
            "revision": self._revision,
            "draw": draw,
            "body": _without_images(body),
        }
        return _Call(request, digest_of(request, "the request"), image_tokens)

    def _path(self, digest: str) -> Path | None:
        return None if self._folder is None else self._folder / digest[:2] / f"{digest}.json"

    def _read(self, call: _Call) -> dict[str, Any] | None:
        path = self._path(call.digest)
        if path is None:
            return None
        try:
            stored = json.loads(path.read_bytes())
            answer = stored["answer"]
            whole = isinstance(answer, dict) and stored["sha256"] == _checksum(answer)
            if not whole or digest_of(stored["request"], "the request") != call.digest:
                raise ValueError("its checksum does not match")
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, InputError) as error:
            log.warning("%s is damaged (%s); the service is asked again", path, error)
            with self._account.lock:
                self.usage.damaged += 1
            return None
        with self._account.lock:
            self.usage.cached += 1
        return dict(answer)

    def _write(self, call: _Call, answer: Mapping[str, Any]) -> None:
        path = self._path(call.digest)
        # An answer without content is a fault of the service.
        if path is None or not (answer.get("choices") or answer.get("data")):
            return
        stored = {"format": FORMAT, "request": call.request, "sha256": _checksum(answer), "answer": answer}
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not synced: after a power cut the checksum shows the damage.
        with atomic(path, durable=False) as temporary:
            temporary.write_text(json.dumps(stored), "utf-8")

    # ---- The budget ----

    def _most(self, call: _Call) -> float:
        """The most that a call can cost, in dollars; 0 without a budget."""
        if self.terms.budget is None:
            return 0.0
        images, text, answer = call.sizes
        if self.kind == "images/generations":
            return self.terms.prices.cost(0, 0, images) or 0.0
        if not answer:
            raise Abort(f"{self.model}: a budget needs a limit of tokens in each request")
        return self.terms.prices.cost(text + call.image_tokens * max(1.0, self._scale), answer) or 0.0

    def _reserve(self, call: _Call) -> bool:
        """Reserve the most that a call can cost; False while it has to wait for others.

        Raises:
            Abort: it does not fit, and no other call is under way.
        """
        account, budget = self._account, self.terms.budget
        with account.lock:
            call.most = self._most(call)
            if budget is not None:
                if call.image_tokens and not self._scale and account.under_way:
                    return False
                # As small a sum of rounding errors as thousands of calls can have.
                if account.spent + account.reserved + call.most > budget * (1 + 1e-9):
                    if account.under_way:
                        return False
                    raise Abort(self._stopped(call.most))
            account.reserved += call.most
            account.under_way += 1
            return True

    def _release(self, call: _Call, error: BaseException) -> None:
        with self._account.lock:
            self._account.reserved -= call.most
            self._account.under_way -= 1
            if _may_be_charged(error):
                self._account.spent += call.most

    def _settle(self, call: _Call, answer: dict[str, Any]) -> dict[str, Any]:
        """Keep an answer, and book what it cost."""
        try:
            self._write(call, answer)
        finally:
            usage = answer.get("usage")
            usage = usage if isinstance(usage, Mapping) else {}
            used_in = _number(usage, "prompt_tokens", "input_tokens")
            used_out = _number(usage, "completion_tokens", "output_tokens")
            images = len(answer.get("data") or ()) if self.kind == "images/generations" else 0
            known = bool(usage) or (images > 0 and self.terms.prices.image is not None)
            # A service that does not count may have charged the most.
            cost = self.terms.prices.cost(used_in, used_out, images) if known else call.most
            with self._account.lock:
                if call.image_tokens:
                    self._scale = max(self._scale, used_in / call.image_tokens, 1e-9)
                self.usage.calls += 1
                self.usage.input_tokens += used_in
                self.usage.output_tokens += used_out
                self.usage.images += images
                if self.usage.cost is not None:
                    self.usage.cost += cost or 0.0
                self._account.spent += cost or 0.0
                self._account.calls += 1
                self._account.reserved -= call.most
                self._account.under_way -= 1
        return answer

    def _stopped(self, most: float) -> str:
        account = self._account
        kept = (
            f"all answers are kept in {self._folder} and cost nothing in the next run"
            if self._folder is not None
            else "without the cache, answers of unfinished parts are not kept"
        )
        return (
            f"the budget of ${self.terms.budget:g} is used up: ${account.spent:.4f} for "
            f"{counted(account.calls, 'paid call')}, and the next call of {self.model} may cost "
            f"${most:.4f}; {kept}; run the same command again, which may spend as much again, or with "
            "another --budget"
        )


def _may_be_charged(error: BaseException) -> bool:
    """Whether a service may charge for a request that ended so: not for an error that it returned itself."""
    error = error.__cause__ or error
    if getattr(error, "status_code", None) is not None:
        return False
    return type(error).__name__ != "APIConnectionError"


def _number(usage: Mapping[str, Any], *names: str) -> int:
    return next((int(usage[name]) for name in names if isinstance(usage.get(name), (int, float))), 0)


def _checksum(answer: Mapping[str, Any]) -> str:
    return sha256(json.dumps(answer, sort_keys=True).encode()).hexdigest()


def _without_images(value: Any) -> Any:
    """A JSON value whose images in data URLs are replaced by their hashes."""
    if isinstance(value, Mapping):
        return {key: _without_images(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_images(item) for item in value]
    if isinstance(value, str) and _DATA_URL.match(value):
        return f"sha256:{sha256(value.encode()).hexdigest()}"
    return value
