"""One scorer over many pairs: reuse that agrees, batches that shrink, failures that stay alone."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from noting_scorers import FILES, TRUTH, WANTED, Dual, Plain, Prefix, Prepared, Together, png, shade
from PIL import Image

from croc.errors import InputError, MissingExtra
from croc.jobs.parts import Abort
from croc.scorers.pairs import UnscoredPairs
from croc.scoring.batching import BatchScorer


@pytest.mark.parametrize("make", [Plain, Dual, Prepared, Prefix, Together])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_every_way_and_batch_size_gives_the_same_scores(make: type[Plain], batch: int) -> None:
    engine = BatchScorer(make(), batch_size=batch)
    ticks: list[int] = []
    assert engine.score(FILES, WANTED, ticks.append) == TRUTH
    assert sum(ticks) == len(TRUTH)


def test_each_image_and_each_text_is_encoded_once() -> None:
    scorer = Dual()
    BatchScorer(scorer, batch_size=4).score(FILES, WANTED)
    assert set(scorer.seen_images.values()) == set(scorer.seen_texts.values()) == {1}
    assert (len(scorer.seen_images), len(scorer.seen_texts)) == (10, 11)
    assert not scorer.batches


def test_preprocessing_runs_in_the_decoding_threads_and_a_failure_there_stays_alone() -> None:
    class Picky(Prepared):
        def prepare_image(self, image: Image.Image) -> float:
            if shade(image) == 8:
                raise ValueError("too odd")
            return super().prepare_image(image)

    scorer = Picky()
    got = BatchScorer(scorer).score(FILES, WANTED)
    assert all(name.startswith("decode") for name in scorer.threads)
    assert not scorer.seen_images, "encode_images would preprocess again"
    bad = {pair for pair, score in got.items() if score == "ValueError: too odd"}
    assert bad == {("k8", prompt) for prompt in WANTED["k8"]}
    assert all(got[pair] == score for pair, score in TRUTH.items() if pair not in bad)


def test_an_image_refused_while_it_is_prepared_keeps_the_refusals_reason() -> None:
    class Strict(Prepared):
        def prepare_image(self, image: Image.Image) -> float:
            if shade(image) == 8:
                raise UnscoredPairs({0: "too long and thin"})
            return super().prepare_image(image)

    got = BatchScorer(Strict()).score(FILES, WANTED)
    assert {pair for pair, score in got.items() if isinstance(score, str)} == {
        ("k8", prompt) for prompt in WANTED["k8"]
    }
    assert got["k8", "prompt k8"] == "too long and thin"


def test_a_prefix_scorer_sees_all_prompts_of_an_image_at_once() -> None:
    scorer = Prefix()
    BatchScorer(scorer).score(FILES, WANTED)
    assert len(scorer.calls) == 10
    assert all(len(prompts) == 2 for _, prompts in scorer.calls)


def test_images_that_cannot_share_a_pass_are_taken_one_by_one() -> None:
    told: list[str] = []
    scorer = Together()
    scorer.memory = 3
    engine = BatchScorer(scorer, batch_size=6, log=told.append)
    assert engine.score(FILES, WANTED) == TRUTH
    assert engine.batch_size == 3
    assert "out of memory" in told[0]
    scorer = Together()
    scorer.hates = 4.0
    assert BatchScorer(scorer, batch_size=4).score(FILES, WANTED) == TRUTH
    assert {len(prompts) for _, prompts in scorer.calls} == {2}


def test_prompts_of_similar_length_share_a_batch() -> None:
    scorer = Plain()
    BatchScorer(scorer, batch_size=10).score(FILES, WANTED)
    spread = [
        max(map(len, texts)) - min(map(len, texts)) for texts in ([p for _, p in b] for b in scorer.batches)
    ]
    assert max(spread) <= 1


@pytest.mark.parametrize("make", [Dual, Prepared, Prefix, Together])
def test_reuse_that_agrees_is_kept(make: type[Any]) -> None:
    engine = BatchScorer(make(error=5e-5))
    engine.self_check(FILES, WANTED)
    assert engine.method in ("embeddings", "prefix")
    assert engine.remark == ""


@pytest.mark.parametrize("make", [Dual, Prepared, Prefix, Together])
def test_reuse_that_differs_falls_back_and_says_so(make: type[Any]) -> None:
    told: list[str] = []
    engine = BatchScorer(make(error=3e-4), log=told.append)
    engine.self_check(FILES, WANTED)
    assert engine.method == "pairs"
    assert "0.0003 from plain scoring, more than 0.0001" in engine.remark
    assert "every pair is scored separately" in told[0]
    assert engine.score(FILES, WANTED) == TRUTH


def test_the_self_check_looks_at_later_prompts_too_and_scores_each_image_once_the_plain_way() -> None:
    class Used(Prefix):
        """The first prompt leaves its mark on the cache that the second one reads."""

        def score_prompts(self, image: Image.Image, prompts: Sequence[str]) -> np.ndarray:
            return super().score_prompts(image, prompts) + np.arange(len(prompts))

    scorer = Used()
    engine = BatchScorer(scorer, log=lambda text: None)
    engine.self_check(FILES, WANTED)
    assert engine.method == "pairs"
    plain = [pair for batch in scorer.batches for pair in batch]
    assert sorted(image for image, _ in plain) == [1, 2, 3]


@pytest.mark.parametrize("make", [Dual, Prepared, Prefix, Together])
def test_the_self_check_costs_one_plain_score_per_image_and_no_pair_twice(make: type[Any]) -> None:
    finished: list[int] = []
    scorer = make()
    engine = BatchScorer(scorer)
    engine.self_check(FILES, WANTED)
    assert engine.score(FILES, WANTED, finished.append) == TRUTH
    assert sum(finished) == len(TRUTH)
    assert sum(map(len, scorer.batches)) == 3
    if isinstance(scorer, Prefix):
        assert Counter(image for image, _ in scorer.calls) == Counter(range(1, 11))
    elif make is Dual:
        assert scorer.seen_images == Counter(range(1, 11))


def test_a_prompt_that_the_self_check_left_out_is_scored_with_its_image() -> None:
    engine = BatchScorer(Prefix())
    wanted = {key: [*prompts, "a third prompt"] for key, prompts in WANTED.items()}
    engine.self_check(FILES, wanted)
    third = {(key, "a third prompt"): int(key[1:]) * 1000.0 + 14 for key in FILES}
    assert engine.score(FILES, wanted) == TRUTH | third
    # The kept scores are used once: other images may come under the same keys.
    changed = {key: png(20) for key in FILES}
    assert set(engine.score(changed, {"k1": ["prompt k1"]}).values()) == {20_009.0}


def test_reuse_that_fails_falls_back() -> None:
    class Broken(Prefix):
        def score_prompts(self, image: Image.Image, prompts: Sequence[str]) -> np.ndarray:
            raise RuntimeError("this cache cannot be cropped")

    engine = BatchScorer(Broken(), log=lambda text: None)
    engine.self_check(FILES, WANTED)
    assert engine.method == "pairs"
    assert "cannot be cropped" in engine.remark


def test_half_precision_may_differ_more() -> None:
    class Half(Dual):
        def fields(self) -> dict[str, str]:
            return {"dtype": "bfloat16"}

    engine = BatchScorer(Half(error=1e-2))
    engine.self_check(FILES, WANTED)
    assert engine.method == "embeddings"


def test_a_self_check_without_a_usable_pair_says_so() -> None:
    engine = BatchScorer(Dual())
    engine.self_check({"k": b"broken"}, {"k": ["a"]})
    assert engine.method == "embeddings"
    assert "not compared" in engine.remark


@pytest.mark.parametrize("make", [Plain, Dual, Prepared, Prefix, Together])
def test_broken_images_and_empty_prompts_fail_alone(make: type[Plain]) -> None:
    files = {**FILES, "bad": b"no image", "k3": FILES["k3"][:30]}
    wanted = {**WANTED, "bad": ["x"], "k5": ["", "  ", "fine"]}
    got = BatchScorer(make(), batch_size=4).score(files, wanted)
    assert got["bad", "x"] == "the image has an unknown format, or its beginning is damaged"
    assert "image" in str(got["k3", "prompt k3"])
    assert got["k5", ""] == got["k5", "  "] == "the prompt is empty"
    assert got["k5", "fine"] == 5004
    rest = {pair: score for pair, score in TRUTH.items() if pair[0] not in ("k3", "k5")}
    assert {pair: got[pair] for pair in rest} == rest


class Short(Plain):
    """Has memory for two pairs at once."""

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
        if len(images) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return super().score(images, prompts)


@pytest.mark.parametrize("make", [Plain, Dual, Prefix])
def test_half_of_a_surrogate_pair_fails_its_pair_alone(make: type[Plain]) -> None:
    engine = BatchScorer(make())
    wanted = {key: [*prompts, "a cut text \ud83d"] for key, prompts in WANTED.items()}
    engine.self_check(FILES, wanted)
    reason = r"the prompt contains half of a surrogate pair (\ud83d)"
    assert engine.score(FILES, wanted) == TRUTH | {(key, "a cut text \ud83d"): reason for key in FILES}


def test_batches_are_halved_when_memory_is_short_and_stay_small() -> None:
    told: list[str] = []
    scorer = Short()
    engine = BatchScorer(scorer, batch_size=16, log=told.append)
    assert engine.score(FILES, WANTED) == TRUTH
    assert engine.batch_size == 2
    assert [text.split()[-1] for text in told] == ["8", "4", "2"]
    assert all("out of memory" in text for text in told)


def test_a_single_item_that_does_not_fit_is_a_reason() -> None:
    class Never(Plain):
        def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
            if any(shade(i) == 4 for i in images):
                raise MemoryError
            return super().score(images, prompts)

    got = BatchScorer(Never(), batch_size=8, log=lambda text: None).score(FILES, WANTED)
    assert {pair for pair, score in got.items() if isinstance(score, str)} == {
        ("k4", p) for p in WANTED["k4"]
    }
    assert "out of memory" in str(got["k4", "prompt k4"])


def test_one_pair_that_raises_costs_no_other() -> None:
    class Moody(Dual):
        def encode_texts(self, prompts: Sequence[str]) -> np.ndarray:
            if "prompt k7" in prompts:
                raise ValueError("I do not like sevens\nand more")
            return super().encode_texts(prompts)

        def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
            if any(shade(i) == 2 for i in images):
                raise ValueError("nor twos")
            return super().encode_images(images)

    got = BatchScorer(Moody(), batch_size=8).score(FILES, WANTED)
    bad = {pair: score for pair, score in got.items() if isinstance(score, str)}
    assert bad == {
        ("k7", "prompt k7"): "ValueError: I do not like sevens",
        ("k2", "prompt k2"): "ValueError: nor twos",
        ("k2", "a shared and longer prompt"): "ValueError: nor twos",
    }
    assert all(got[pair] == score for pair, score in TRUTH.items() if pair not in bad)


@pytest.mark.parametrize("with_scores", [True, False])
def test_refused_pairs_keep_their_reason_and_the_others_their_score(with_scores: bool) -> None:
    class Service(Plain):
        def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
            scores = super().score(images, prompts)
            reasons = {i: "refused by policy" for i, image in enumerate(images) if shade(image) == 6}
            if reasons:
                scores[list(reasons)] = np.nan
                raise UnscoredPairs(reasons, scores if with_scores else None)
            return scores

    scorer = Service()
    got = BatchScorer(scorer, batch_size=8).score(FILES, WANTED)
    for pair, score in TRUTH.items():
        assert got[pair] == ("refused by policy" if pair[0] == "k6" else score)
    if with_scores:
        asked = sum(map(len, scorer.batches))
        # One pair is scored again, alone, to compare.
        assert asked <= len(TRUTH) + 1, "a pair that has its score is not asked for again"


def test_a_scorer_that_always_fails_stops_the_run() -> None:
    class Dead(Plain):
        calls = 0

        def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
            self.calls += 1
            raise KeyError("weights")

    scorer = Dead()
    files = {f"k{i}": png(i) for i in range(100)}
    with pytest.raises(Abort, match=r"scorer plain failed on all of the first 16 items: KeyError: 'weights'"):
        BatchScorer(scorer).score(files, {key: ["a"] for key in files})
    assert scorer.calls < 50


def test_a_missing_extra_is_not_a_failed_pair() -> None:
    class Needy(Plain):
        def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
            raise MissingExtra("this model", "score")

    with pytest.raises(MissingExtra):
        BatchScorer(Needy()).score(FILES, WANTED)


def test_images_are_decoded_ahead_but_only_a_few_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, lead = [0], [0]
    lock = threading.Lock()
    from croc.scoring import batching as module

    original = module._decode

    def counting(data: bytes, prepare: Any) -> Any:
        with lock:
            decoded[0] += 1
        return original(data, prepare)

    monkeypatch.setattr(module, "_decode", counting)

    class Slow(Plain):
        used = 0

        def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
            time.sleep(0.01)
            lead[0] = max(lead[0], decoded[0] - self.used)
            self.used += len(images)
            return super().score(images, prompts)

    files = {f"k{i}": png(i) for i in range(200)}
    BatchScorer(Slow(), batch_size=4).score(files, {key: ["a"] for key in files})
    assert 4 < lead[0] <= 4 * 3


def test_a_batch_size_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        BatchScorer(Plain(), batch_size=0)


def test_the_scorers_own_batch_size_is_taken() -> None:
    scorer = Plain()
    scorer.batch_size = 7  # type: ignore[attr-defined]
    assert BatchScorer(scorer).batch_size == 7


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("make", [Plain, Dual, Together])
def test_scores_do_not_depend_on_how_many_images_a_decoding_task_holds(
    make: type[Plain], threads: int
) -> None:
    files = {f"k{i}": b"broken" if i % 10 == 7 else png(i) for i in range(75)}
    wanted = {key: ["a", "bb"] for key in files}
    scorer = BatchScorer(make(), batch_size=32, threads=threads)
    got = scorer.score(files, wanted)
    scorer.close()
    assert got == BatchScorer(make(), batch_size=1).score(files, wanted)
    assert sum(isinstance(outcome, str) for outcome in got.values()) == 2 * 7
