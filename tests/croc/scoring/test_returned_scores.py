"""What a metric may return, and what it may do to its images; what breaks the contract is named."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from noting_scorers import FILES, TRUTH, WANTED, Dual, Plain
from PIL import Image

from croc.jobs.parts import Abort
from croc.scoring.batching import BatchScorer


def returning(value: Any) -> Plain:
    class Odd(Plain):
        name = "odd"

        def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
            return value(len(images)) if callable(value) else value

    return Odd()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (lambda n: np.zeros(n + 1), "score returned 21 for 20 pairs; expected 20 scores"),
        (lambda n: np.zeros((n, 2)), "20 × 2 for 20 pairs"),
        (0.5, "a single number for 20 pairs"),
        (None, "returned NoneType; expected numbers"),
        (lambda n: ["high"] * n, "returned list of <U4; expected numbers"),
        (lambda n: [None] * n, "expected numbers"),
        (lambda n: [True] * n, "returned list of bool; expected numbers"),
        (lambda n: [[1.0], [1.0, 2.0]] * (n // 2), "returned no array"),
        ({"scores": []}, "returned dict; expected numbers"),
    ],
)
def test_a_scorer_that_breaks_its_contract_is_named(value: Any, says: str) -> None:
    with pytest.raises(Abort) as caught:
        BatchScorer(returning(value)).score(FILES, WANTED)
    assert says in str(caught.value)
    assert str(caught.value).startswith("scorer odd")


def test_encodings_of_the_wrong_number_are_named() -> None:
    class Odd(Dual):
        def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
            return super().encode_images(images)[:-1]

    with pytest.raises(Abort, match=r"scorer dual: encode_images returned 9 × 1 for 10 items"):
        BatchScorer(Odd()).score(FILES, WANTED)


def test_nan_and_infinity_are_reasons_that_name_the_scorer() -> None:
    values = [np.nan, np.inf, *range(18)]
    got = BatchScorer(returning(values)).score(FILES, WANTED)
    bad = sorted(score for score in got.values() if isinstance(score, str))
    assert bad == ["scorer odd returned inf", "scorer odd returned nan"]


def test_columns_and_tensors_and_integers_count_as_scores() -> None:
    torch = pytest.importorskip("torch")
    for value in (
        lambda n: np.ones((n, 1)),
        lambda n: [1] * n,
        lambda n: torch.ones(n, dtype=torch.bfloat16),
    ):
        got = BatchScorer(returning(value)).score(FILES, WANTED)
        assert set(got.values()) == {1.0}


class Returning(Plain):
    """The true scores in another form."""

    name = "returning"

    def __init__(self, form: Any) -> None:
        super().__init__()
        self.form = form

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
        return self.form([self.truth(i, p) for i, p in zip(images, prompts, strict=True)])


NEEDS_TORCH = pytest.mark.skipif(find_spec("torch") is None, reason="needs croc-t2i[score]")


def tensors(scores: list[float], **options: Any) -> list[Any]:
    import torch

    return [torch.tensor(score, **options) for score in scores]


@pytest.mark.parametrize(
    "form",
    [
        tuple,
        pytest.param(lambda scores: tensors(scores, requires_grad=True), marks=NEEDS_TORCH),
        pytest.param(lambda scores: [tensor[None] for tensor in tensors(scores)], marks=NEEDS_TORCH),
        lambda scores: np.ma.masked_array(scores, mask=[False] * len(scores)),
    ],
    ids=["tuple", "gradient", "one-element", "masked"],
)
def test_numbers_are_taken_in_every_form(form: Any) -> None:
    assert BatchScorer(Returning(form), batch_size=4).score(FILES, WANTED) == TRUTH


def test_a_list_of_bf16_tensors_is_taken() -> None:
    torch = pytest.importorskip("torch")

    got = BatchScorer(Returning(lambda scores: tensors(scores, dtype=torch.bfloat16))).score(FILES, WANTED)
    assert got == {pair: float(torch.tensor(score, dtype=torch.bfloat16)) for pair, score in TRUTH.items()}


@pytest.mark.parametrize(
    "form",
    [
        lambda scores: [None, *scores[1:]],
        lambda scores: np.ma.masked_array(scores, mask=[True] + [False] * (len(scores) - 1)),
        lambda scores: np.ma.masked_array(
            np.array(scores).astype(int), mask=[True] + [False] * (len(scores) - 1)
        ),
    ],
    ids=["None", "masked", "masked integers"],
)
def test_a_pair_without_a_number_is_counted_and_the_others_keep_theirs(form: Any) -> None:
    got = BatchScorer(Returning(form), batch_size=100).score(FILES, WANTED)
    lost = [pair for pair, score in got.items() if score != TRUTH[pair]]
    assert [got[pair] for pair in lost] == ["scorer returning returned nan"]


def test_a_metric_that_draws_on_its_image_changes_no_other_pair() -> None:
    class Drawing(Plain):
        def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
            scores = []
            for image, prompt in zip(images, prompts, strict=True):
                scores.append(self.truth(image, prompt))
                image.paste((7, 7, 7), (0, 0, 4, 4))
            return scores

    for size in (1, 3, 100):
        assert BatchScorer(Drawing(), batch_size=size).score(FILES, WANTED) == TRUTH


def test_a_metric_whose_score_depends_on_its_batch_is_named() -> None:
    class Softmax(Plain):
        name = "softmax"

        def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
            shares = np.exp([self.truth(i, p) / 1e5 for i, p in zip(images, prompts, strict=True)])
            return shares / shares.sum()

    told: list[str] = []
    engine = BatchScorer(Softmax(), batch_size=8, log=told.append)
    engine.score(FILES, WANTED)
    assert engine.remark.startswith("the score of a pair depends on its batch, or on chance: 1 alone, 0.")
    assert told == [f"softmax: {engine.remark}"]
    steady = Plain()
    engine = BatchScorer(steady, batch_size=8, log=told.append)
    engine.score(FILES, WANTED)
    engine.score(FILES, WANTED)
    assert not engine.remark and len(told) == 1
    assert [len(batch) for batch in steady.batches].count(1) == 1, "one pair, once in a run"


def test_a_service_that_costs_money_is_not_asked_twice() -> None:
    scorer = Plain()
    scorer.usage = "1 request"  # type: ignore[attr-defined]
    BatchScorer(scorer, batch_size=8).score(FILES, WANTED)
    assert sum(map(len, scorer.batches)) == len(TRUTH)
