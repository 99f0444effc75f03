"""One scorer over many pairs: each image is decoded and encoded once, and a failed pair fails alone.

There are three methods with the same scores; the first one that the scorer offers is used, after a comparison
with the plain one on the first pairs:

- ``embeddings``: ``encode_images``, ``encode_texts`` and ``similarity``: each image and text encoded once;
  with ``prepare_image`` and ``encode_prepared`` as well, preprocessing runs in the decoding threads;
- ``prefix``: ``score_prompts(image, prompts)``: all prompts of an image at once, its prefix computed once; a
  scorer that can share a pass among images offers ``score_images_prompts(images, prompts of each)`` as well;
- ``pairs``: ``score``, pair by pair, in batches of prompts of similar length.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from PIL.Image import Image

from croc.checks.decoding import decode, reuse_memory
from croc.checks.rows import prompt_problem
from croc.errors import CrocError, InputError, MissingExtra
from croc.jobs.parts import Abort
from croc.scorers import Scorer
from croc.scorers.pairs import UnscoredPairs

logger = logging.getLogger(__name__)

BATCH_SIZE = 32
TOLERANCE = {"float32": 1e-4, "float64": 1e-4, "bfloat16": 3e-2, "float16": 1e-2}
"""How far faster methods may differ from plain scoring, relative to max(1, |score|), by the model's dtype."""

_SELF_CHECK_IMAGES = 3
_MAX_INITIAL_FAILURES = 16
_SIMILARITY_ROWS = 8192
_IMAGES_PER_TASK = 8

T = TypeVar("T")
Pair = tuple[str, str]
Prepare = Callable[[Image], Any]
Outcome = float | str
"""A score, or the reason why there is none."""


class BatchScorer:
    """Runs one scorer; holds its batch size, its method and its threads.

    Args:
        scorer: what scores.
        batch_size: pairs, images or texts in one call at most; None takes the scorer's own, or 32. It is
            halved when memory runs out.
        threads: threads that decode images ahead of the scorer.
        log: called with remarks.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        batch_size: int | None = None,
        threads: int | None = None,
        log: Callable[[str], None] = logger.warning,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise InputError(f"the batch size must be at least 1, not {batch_size}")
        self.scorer = scorer
        self.batch_size = int(batch_size or getattr(scorer, "batch_size", None) or BATCH_SIZE)
        self.method = _best_method(scorer)
        self.remark = ""
        # Once in a run. A second request to a service that counts its use costs money.
        self._compares_batches = self.method == "pairs" and not hasattr(scorer, "usage")
        both = self.method == "embeddings" and _offers(scorer, "prepare_image", "encode_prepared")
        self._prepare: Prepare | None = scorer.prepare_image if both else None  # type: ignore[attr-defined]
        self._log = log
        self._threads = threads or min(8, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="decode")
        self._good = self._bad = 0
        # Scores of the comparison with the plain method, until the run asks for them.
        self._compared: dict[Pair, Outcome] = {}
        self._memory = ExitStack()
        # One batch with the scorer, one decoded ahead, and the images of the last task.
        self._memory.enter_context(reuse_memory(2 * self.batch_size + 2 * _IMAGES_PER_TASK))

    def close(self) -> None:
        """Stop the decoding threads and free the memory kept for images."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._memory.close()

    def score(
        self,
        files: Mapping[str, bytes],
        wanted: Mapping[str, Sequence[str]],
        tick: Callable[[int], None] = lambda pairs: None,
    ) -> dict[Pair, Outcome]:
        """Score every prompt in ``wanted`` against its image.

        Args:
            files: image files by key.
            wanted: per key, distinct prompts.
            tick: called with the number of pairs that were just finished.

        Returns:
            Per (key, prompt) the score, or the reason why there is none.

        Raises:
            Abort: the scorer breaks its contract, or fails whatever it is given.
        """
        found: dict[Pair, Outcome] = {}
        ask: dict[str, list[str]] = {}
        for key, prompts in wanted.items():
            found.update({(key, prompt): why for prompt in prompts if (why := prompt_problem(prompt))})
            compared = [prompt for prompt in prompts if (key, prompt) in self._compared]
            found.update({(key, prompt): self._compared.pop((key, prompt)) for prompt in compared})
            ask[key] = [prompt for prompt in prompts if (key, prompt) not in found]
            tick(len(compared))
        usable = {key: files[key] for key, prompts in ask.items() if prompts}
        images = self._decoded(usable, self._prepare if self.method == "embeddings" else None)
        ways = {"embeddings": self._by_embeddings, "prefix": self._by_prefix, "pairs": self._by_pairs}
        for pair, outcome in ways[self.method](images, ask, tick):
            found[pair] = outcome
        return found

    def self_check(self, files: Mapping[str, bytes], wanted: Mapping[str, Sequence[str]]) -> None:
        """Compare the method with the plain one on the first images; fall back when they differ.

        On up to three images, a pair of each is scored by both methods. This finds a method that computes
        something else, mixes up images or prompts, or fails. It cannot find a difference that only later
        images or prompts show. The scores of the faster method are kept for the run, so that the comparison
        costs one plain score per image.
        """
        if self.method == "pairs":
            return
        some: dict[str, Image] = {}
        for key, image in self._decoded(files):
            if not isinstance(image, str) and not all(map(prompt_problem, wanted[key])):
                some[key] = image
            if len(some) == _SELF_CHECK_IMAGES:
                break
        ask = {key: [prompt for prompt in wanted[key] if not prompt_problem(prompt)][:2] for key in some}
        ways = {"embeddings": self._by_embeddings, "prefix": self._by_prefix}
        ready = ((key, _prepared(image, self._prepare)) for key, image in some.items())
        try:
            quick = dict(ways[self.method](ready, ask, lambda pairs: None))
        except (MissingExtra, Abort):
            raise
        except Exception as error:  # of similarity(): what encodes and scores fails item by item
            quick = {(key, prompt): _reason(error) for key, prompts in ask.items() for prompt in prompts}
        # One pair an image, the first prompt and the second in turn: plain scoring is what costs.
        turns = {key: [prompts[i % len(prompts)]] for i, (key, prompts) in enumerate(ask.items())}
        plain = dict(self._by_pairs(iter(some.items()), turns, lambda pairs: None))
        # Failures of this comparison do not count for the run.
        self._good = self._bad = 0
        both = {pair: (quick[pair], score) for pair, score in plain.items() if not isinstance(score, str)}
        if not both:
            self.remark = "not compared with plain scoring: no pair of the first part could be scored"
            return
        tolerance = TOLERANCE.get(self.scorer.fields().get("dtype", "float32"), 1e-4)
        reason = next((q for q, _ in both.values() if isinstance(q, str)), None)
        worst = max(
            (abs(q - p) / max(1.0, abs(p)) for q, p in both.values() if not isinstance(q, str)), default=0.0
        )
        if reason is not None or worst > tolerance:
            problem = reason or f"scores differ by {worst:.2g} from plain scoring, more than {tolerance:g}"
            self.remark = f"no reuse ({self.method}): {problem}"
            self._log(f"{self.scorer.name}: {self.remark}; every pair is scored separately")
            self.method = "pairs"
            return
        self._compared = {pair: score for pair, score in quick.items() if not isinstance(score, str)}

    def _compare_alone(self, image: Image, prompt: str, score: Outcome, size: int) -> None:
        """Notice a scorer whose score of a pair, ``score`` in a batch of ``size``, is another one alone."""
        if isinstance(score, str):
            return
        try:
            alone = self._scores(1, lambda _: self.scorer.score([image.copy()], [prompt]), "score")[0]
        except Abort:
            return  # Alone it breaks its contract; the pair has its score all the same.
        if isinstance(alone, str):
            return
        tolerance = TOLERANCE.get(self.scorer.fields().get("dtype", "float32"), 1e-4)
        if abs(alone - score) > tolerance * max(1.0, abs(alone)):
            self.remark = (
                f"the score of a pair depends on its batch, or on chance: {alone:.6g} alone, "
                f"{score:.6g} in a batch of {size}"
            )
            self._log(f"{self.scorer.name}: {self.remark}")

    # ---- The three methods ----

    def _by_embeddings(
        self,
        images: Iterator[tuple[str, Image | str]],
        ask: Mapping[str, Sequence[str]],
        tick: Callable[[int], None],
    ) -> Iterator[tuple[Pair, Outcome]]:
        scorer: Any = self.scorer
        texts = _by_length({prompt for prompts in ask.values() for prompt in prompts})
        encoded = self._rows(
            len(texts), lambda at: scorer.encode_texts([texts[i] for i in at]), "encode_texts"
        )
        of_text = dict(zip(texts, encoded, strict=True))
        encode, what = (
            (scorer.encode_images, "encode_images")
            if self._prepare is None
            else (scorer.encode_prepared, "encode_prepared")
        )
        while some := list(islice(images, self.batch_size)):
            good = [(key, image) for key, image in some if not isinstance(image, str)]
            vectors = self._rows(
                len(good),
                lambda at, good=good: encode([good[i][1] for i in at]),  # type: ignore[misc]
                what,
            )
            of_image: dict[str, Any] = {key: image for key, image in some if isinstance(image, str)}
            of_image.update(zip((key for key, _ in good), vectors, strict=True))
            pairs = [(key, prompt) for key, _ in some for prompt in ask[key]]
            ready = []
            for key, prompt in pairs:
                reason = next((x for x in (of_image[key], of_text[prompt]) if isinstance(x, str)), None)
                if reason is None:
                    ready.append((key, prompt))
                else:
                    yield (key, prompt), reason
            for chunk in _cut(ready, _SIMILARITY_ROWS):
                left = np.stack([of_image[key] for key, _ in chunk])
                right = np.stack([of_text[prompt] for _, prompt in chunk])
                scores = self._numbers(scorer.similarity(left, right), len(chunk), "similarity")
                yield from zip(chunk, scores, strict=True)
            tick(len(pairs))
            # Free this batch before the next one is collected: only two batches are in memory at a time.
            del some, good

    def _by_prefix(
        self,
        images: Iterator[tuple[str, Image | str]],
        ask: Mapping[str, Sequence[str]],
        tick: Callable[[int], None],
    ) -> Iterator[tuple[Pair, Outcome]]:
        together = callable(getattr(self.scorer, "score_images_prompts", None))
        while some := list(islice(images, self.batch_size if together else 1)):
            good = [(key, image, _by_length(ask[key])) for key, image in some if not isinstance(image, str)]
            rows = self._together(good) if together and len(good) > 1 else None
            if rows is None:
                rows = [self._alone(image, prompts) for _, image, prompts in good]
            for (key, _, prompts), outcomes in zip(good, rows, strict=True):
                yield from zip(((key, prompt) for prompt in prompts), outcomes, strict=True)
            for key, image in some:
                if isinstance(image, str):
                    yield from (((key, prompt), image) for prompt in ask[key])
            tick(sum(len(ask[key]) for key, _ in some))
            del some, good

    def _alone(self, image: Image, prompts: Sequence[str]) -> list[Outcome]:
        scorer: Any = self.scorer
        return self._scores(
            len(prompts), lambda at: scorer.score_prompts(image, [prompts[i] for i in at]), "score_prompts"
        )

    def _together(self, good: Sequence[tuple[str, Image, Sequence[str]]]) -> list[list[Outcome]] | None:
        """Scores of several images in one pass; None when they have to be taken one by one."""
        scorer: Any = self.scorer
        try:
            got = scorer.score_images_prompts(
                [image for _, image, _ in good], [prompts for _, _, prompts in good]
            )
        except (MissingExtra, Abort):
            raise
        except UnscoredPairs as refused:
            return self._refused(refused, [len(prompts) for _, _, prompts in good])
        except (Exception, SystemExit) as error:
            if _out_of_memory(error):
                self._shrink((self.batch_size + 1) // 2)
            else:
                logger.debug("%s failed on %d images", scorer.name, len(good), exc_info=error)
            return None
        what = "score_images_prompts"
        if len(got) != len(good):
            raise Abort(f"scorer {scorer.name}: {what} returned {len(got)} rows for {len(good)} images")
        rows = [self._numbers(r, len(p), what) for r, (_, _, p) in zip(got, good, strict=True)]
        self._good += sum(map(len, rows))
        return rows

    def _refused(self, refused: UnscoredPairs, counts: Sequence[int]) -> list[list[Outcome]] | None:
        """Outcomes of several images of which some pairs have no score; None when no scores came with it."""
        if refused.scores is None:
            return None
        outcomes: list[Outcome] = [refused.reasons.get(i, "") for i in range(sum(counts))]
        kept = [i for i in range(len(outcomes)) if i not in refused.reasons]
        scores = self._numbers(np.asarray(refused.scores)[kept], len(kept), "score_images_prompts")
        for i, score in zip(kept, scores, strict=True):
            outcomes[i] = score
        self._good += len(kept)
        self._failed(len(refused.reasons), refused.reasons[min(refused.reasons)])
        rest = iter(outcomes)
        return [list(islice(rest, count)) for count in counts]

    def _by_pairs(
        self,
        images: Iterator[tuple[str, Image | str]],
        ask: Mapping[str, Sequence[str]],
        tick: Callable[[int], None],
    ) -> Iterator[tuple[Pair, Outcome]]:
        # A window of two batches of pairs lets prompts of similar length meet without holding many images.
        while window := list(islice(images, self.batch_size)):
            shown = {key: image for key, image in window if not isinstance(image, str)}
            pairs = [(key, prompt) for key in shown for prompt in ask[key]]
            pairs.sort(key=lambda pair: len(pair[1]))
            for batch in _cut(pairs, self.batch_size):
                outcomes = self._scores(
                    len(batch),
                    # Copies: a scorer that draws on its image must not change another pair.
                    lambda at, batch=batch, shown=shown: self.scorer.score(  # type: ignore[misc]
                        [shown[batch[i][0]].copy() for i in at], [batch[i][1] for i in at]
                    ),
                    "score",
                )
                if self._compares_batches and len(batch) > 1:
                    self._compares_batches = False
                    key, prompt = batch[-1]
                    self._compare_alone(shown[key], prompt, outcomes[-1], len(batch))
                yield from zip(batch, outcomes, strict=True)
                tick(len(batch))
            for key, image in window:
                if isinstance(image, str):
                    yield from (((key, prompt), image) for prompt in ask[key])
            del window, shown

    # ---- Decoding ahead ----

    def _decoded(
        self, files: Mapping[str, bytes], prepare: Prepare | None = None
    ) -> Iterator[tuple[str, Image | str]]:
        """Images in order, or why one cannot be decoded; threads are one batch ahead and no more."""
        # Several images per task, because passing each one between threads costs a twentieth of its decoding;
        # but at least four tasks per thread and batch, so that all threads stay busy.
        size = max(1, min(_IMAGES_PER_TASK, self.batch_size // (4 * self._threads)))
        waiting = iter(_cut(list(files), size))
        flying: deque[tuple[list[str], Future[list[Image | str]]]] = deque()

        def decoded(keys: Sequence[str]) -> list[Image | str]:
            return [_decode(files[key], prepare) for key in keys]

        try:
            while True:
                # Decoded images that wait fall out of the processor's cache: more of them cost time.
                for keys in islice(waiting, max(0, self.batch_size // size + 1 - len(flying))):
                    flying.append((keys, self._pool.submit(decoded, keys)))
                if not flying:
                    return
                keys, future = flying.popleft()
                yield from zip(keys, future.result(), strict=True)
        finally:
            for _, future in flying:
                future.cancel()

    # ---- Calling the scorer ----

    def _scores(self, n: int, call: Callable[[Sequence[int]], Any], what: str) -> list[Outcome]:
        return self._robust(n, call, lambda got, size: self._numbers(got, size, what))

    def _rows(self, n: int, call: Callable[[Sequence[int]], Any], what: str) -> list[Any]:
        return self._robust(n, call, lambda got, size: self._vectors(got, size, what))

    def _robust(
        self, n: int, call: Callable[[Sequence[int]], Any], read: Callable[[Any, int], Sequence[Any]]
    ) -> list[Any]:
        """A result or a reason for each of n items; batches shrink until memory is enough or one fails."""
        results: list[Any] = [None] * n
        usual = self.batch_size
        todo = deque(_cut(list(range(n)), self.batch_size))
        while todo:
            batch = todo.popleft()
            if len(batch) > self.batch_size:
                todo.extendleft(reversed(_cut(batch, self.batch_size)))
                continue
            try:
                got = read(call(batch), len(batch))
            except (MissingExtra, Abort):
                raise
            except UnscoredPairs as refused:
                reasons = refused.reasons
                self._failed(len(reasons), refused.reasons[min(reasons)])
                for i, reason in reasons.items():
                    results[batch[i]] = reason
                rest = [i for i in range(len(batch)) if i not in reasons]
                if refused.scores is not None:
                    scores = np.asarray(refused.scores)[rest]
                    for i, score in zip(rest, read(scores, len(rest)), strict=True):
                        results[batch[i]] = score
                elif rest:
                    todo.appendleft([batch[i] for i in rest])
                continue
            except (Exception, SystemExit) as error:
                short = _out_of_memory(error)
                if len(batch) > 1:
                    half = (len(batch) + 1) // 2
                    if short:
                        self._shrink(half)
                    todo.extendleft(reversed(_cut(batch, half)))
                else:
                    if short:
                        # It was this item, not the size of the batch.
                        self.batch_size = usual
                    results[batch[0]] = "out of memory with a single item" if short else _reason(error)
                    self._failed(1, results[batch[0]])
                    logger.debug("%s failed", self.scorer.name, exc_info=error)
                continue
            self._good += len(batch)
            for position, result in zip(batch, got, strict=True):
                results[position] = result
        return results

    def _failed(self, count: int, reason: str) -> None:
        self._bad += count
        if self._good == 0 and self._bad >= _MAX_INITIAL_FAILURES:
            raise Abort(f"scorer {self.scorer.name} failed on all of the first {self._bad} items: {reason}")

    def _shrink(self, size: int) -> None:
        if size < self.batch_size:
            self._log(
                f"{self.scorer.name}: out of memory with batches of {self.batch_size}, "
                f"continuing with batches of {size}"
            )
            self.batch_size = size
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _numbers(self, got: Any, n: int, what: str) -> list[Outcome]:
        """Scores of n pairs, checked; a NaN or an infinity becomes a reason."""
        values = self._array(got, what)
        if values.shape not in ((n,), (n, 1)):
            shape = " × ".join(map(str, values.shape)) or "a single number"
            raise Abort(
                f"scorer {self.scorer.name}: {what} returned {shape} for {n} pairs; expected {n} scores"
            )
        return [
            float(value) if np.isfinite(value) else f"scorer {self.scorer.name} returned {value}"
            for value in values.reshape(n).astype(np.float64)
        ]

    def _vectors(self, got: Any, n: int, what: str) -> Sequence[Any]:
        values = self._array(got, what)
        if values.ndim < 2 or len(values) != n:
            shape = " × ".join(map(str, values.shape)) or "a single number"
            raise Abort(
                f"scorer {self.scorer.name}: {what} returned {shape} for {n} items; expected {n} rows"
            )
        return list(values)

    def _array(self, got: Any, what: str) -> np.ndarray:
        """What a scorer returned as an array of numbers; masked values, and None among numbers, are NaN."""
        if isinstance(got, (list, tuple)) and any(value is not None for value in got):
            got = [np.nan if value is None else _detached(value) for value in got]
        got = _detached(got)
        try:
            if isinstance(got, np.ma.MaskedArray):
                got = np.where(np.ma.getmaskarray(got), np.nan, got.data)
            values = np.asarray(got)
        except (TypeError, ValueError) as error:
            raise Abort(f"scorer {self.scorer.name}: {what} returned no array: {error}") from None
        if values.dtype.kind not in "fiu":
            kind = f"{type(got).__name__} of {values.dtype}" if values.shape else type(got).__name__
            raise Abort(f"scorer {self.scorer.name}: {what} returned {kind}; expected numbers")
        return values


def _detached(value: Any) -> Any:
    """A tensor as an array, whatever its device and type, with a gradient or without; others as they are."""
    return value.detach().float().cpu().numpy() if hasattr(value, "detach") else value


def _best_method(scorer: Any) -> str:
    if _offers(scorer, "encode_images", "encode_texts", "similarity"):
        return "embeddings"
    return "prefix" if _offers(scorer, "score_prompts") else "pairs"


def _offers(scorer: Any, *names: str) -> bool:
    return all(callable(getattr(scorer, name, None)) for name in names)


def _decode(data: bytes, prepare: Prepare | None = None) -> Any:
    """What the scorer takes of an image file, or why there is nothing."""
    try:
        return _prepared(decode(data), prepare)
    except CrocError as error:
        return str(error)
    except MemoryError:
        return "out of memory while decoding the image"


def _prepared(image: Image, prepare: Prepare | None) -> Any:
    try:
        return image if prepare is None else prepare(image)
    except MissingExtra:
        raise
    except UnscoredPairs as refused:
        return next(iter(refused.reasons.values()))
    except (Exception, SystemExit) as error:
        return _reason(error)


def _by_length(texts: Iterable[str]) -> list[str]:
    return sorted(texts, key=lambda text: (len(text), text))


def _cut(items: list[T], size: int) -> list[list[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _out_of_memory(error: BaseException) -> bool:
    name = type(error).__name__
    return (
        isinstance(error, MemoryError)
        or name == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "out of memory" in str(error).lower())
    )


def _reason(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or ["no message"])[0][:500]
    if isinstance(error, SystemExit):
        return f"it ended the program (sys.exit({error.code!r:.80}))"
    return text if isinstance(error, CrocError) else f"{type(error).__name__}: {text}"
