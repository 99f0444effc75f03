"""Scorers as rewards: the interfaces of flow_grpo, TRL and Flow-Factory."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from croc.errors import CrocError, InputError
from croc.rewards import as_reward, to_images
from croc.scorers.pairs import require_prompts
from croc.scorers.registry import load

COLOURS = {"red": (200, 20, 20), "blue": (20, 20, 200), "green": (20, 160, 20)}


def pictures() -> list[Image.Image]:
    return [Image.new("RGB", (32, 24), colour) for colour in COLOURS.values()]


PROMPTS = ["a red wall", "a blue wall", "a red wall"]


@pytest.fixture
def expected() -> np.ndarray:
    found = np.asarray(load("colour-words").score(pictures(), PROMPTS))
    assert found[0] > found[2]
    return found


def test_images_of_every_kind_give_the_scores_of_the_scorer(expected: np.ndarray) -> None:
    torch = pytest.importorskip("torch", reason="needs croc-t2i[score]")
    reward = as_reward("colour-words")
    array = np.stack([np.asarray(image) for image in pictures()])
    tensor = torch.tensor(array).permute(0, 3, 1, 2) / 255.0
    for images in (pictures(), array, tensor, tensor.half(), torch.tensor(array), tensor.numpy()):
        scores, info = reward(images, PROMPTS, [{}] * 3)
        np.testing.assert_allclose(scores, expected, atol=1e-6)
        assert info == {}
    assert reward.__name__ == "colour-words"


def test_completions_are_scored_as_texts_or_messages(expected: np.ndarray) -> None:
    reward = as_reward("colour-words", framework="trl")
    plain = reward(prompts=[""] * 3, completions=PROMPTS, image=pictures(), completion_ids=[[1]] * 3)
    np.testing.assert_allclose(plain, expected)
    messages = [[{"role": "assistant", "content": [{"type": "text", "text": text}]}] for text in PROMPTS]
    images = [[image] for image in pictures()]
    np.testing.assert_allclose(reward(prompts=[[]] * 3, completions=messages, images=images), expected)


class _Careful:
    """Refuses empty texts; else the share of the letter e, so that random completions differ."""

    name, batch_size = "careful", 2

    def score(self, images: Any, prompts: Any) -> Any:
        require_prompts(prompts)
        return np.array([text.count("e") / len(text) for text in prompts])


def test_a_grpo_trainer_takes_the_reward_and_logs_it(tmp_path: Any) -> None:
    """The real trainer, on a tiny vision-language model."""
    trl = pytest.importorskip("trl", reason="needs croc-t2i[train]")
    import datasets
    import tiny_models

    model, processor = tiny_models.llava()
    question = [{"role": "user", "content": "describe it"}]
    rows = [{"prompt": question, "image": image} for image in pictures()]
    config = trl.GRPOConfig(
        output_dir=str(tmp_path),
        max_steps=1,
        per_device_train_batch_size=2,
        num_generations=2,
        max_completion_length=4,
        use_cpu=True,
        bf16=False,
        report_to="none",
        logging_steps=1,
    )
    asked: list[list[str]] = []
    scorer = _Careful()
    score = scorer.score
    scorer.score = lambda images, prompts: (asked.append(prompts), score(images, prompts))[1]  # type: ignore[method-assign]
    trainer = trl.GRPOTrainer(
        model=model,
        processing_class=processor,
        reward_funcs=as_reward(scorer, "trl", missing=0.0),
        args=config,
        train_dataset=datasets.Dataset.from_list(rows),
    )
    trainer.train()
    (logged,) = [line for line in trainer.state.log_history if "reward" in line]
    assert asked and all(isinstance(text, str) for batch in asked for text in batch)
    assert logged["rewards/careful/mean"] == logged["reward"]


def test_pairs_without_a_score_are_left_out_an_error_or_a_given_number() -> None:
    prompts = ["a tree", " ", "a house"]
    assert as_reward(_Careful(), "trl")(prompts, prompts, image=pictures())[1] is None
    with pytest.raises(InputError, match="1 of 3 pairs have no score; the first one is pair 2: "):
        as_reward(_Careful())(pictures(), prompts)
    assert as_reward(_Careful(), missing=-1.0)(pictures(), prompts)[0][1] == -1.0
    assert as_reward(_Careful(), "trl", missing=-1.0)(prompts, prompts, image=pictures())[1] == -1.0


class _Infinite:
    name, batch_size = "infinite", 2

    def score(self, images: Any, prompts: Any) -> Any:
        return np.array([np.inf if "blue" in prompt else len(images) for prompt in prompts], dtype=float)


def test_batches_are_those_of_the_scorer_and_infinite_scores_are_none() -> None:
    assert as_reward(_Infinite(), "trl")(PROMPTS, PROMPTS, image=pictures()) == [2.0, None, 1.0]


def test_flow_factory_gets_a_pointwise_reward_model(
    expected: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interface that its documentation describes (guidance/rewards.md of X-GenGroup/Flow-Factory)."""
    torch = pytest.importorskip("torch", reason="needs croc-t2i[score]")
    if "flow_factory" not in sys.modules:
        with pytest.raises(CrocError, match="Flow-Factory is not installed"):
            as_reward("colour-words", "flow_factory")

    class PointwiseRewardModel:
        def __init__(self, config: Any, accelerator: Any) -> None:
            self.config, self.device = config, accelerator.device

    home = ModuleType("flow_factory.rewards")
    home.PointwiseRewardModel = PointwiseRewardModel  # type: ignore[attr-defined]
    home.RewardModelOutput = SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flow_factory", ModuleType("flow_factory"))
    monkeypatch.setitem(sys.modules, "flow_factory.rewards", home)
    made = as_reward("colour-words", "flow_factory")
    model = made(SimpleNamespace(batch_size=3), SimpleNamespace(device=torch.device("cpu")))
    assert issubclass(made, PointwiseRewardModel) and made.required_fields == ("prompt", "image")
    found = model(prompt=PROMPTS, image=pictures(), video=None, condition_images=None)
    assert found.rewards.dtype == torch.float32
    np.testing.assert_allclose(found.rewards.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: as_reward("colour-words", "verl"),
            "no framework 'verl'; expected flow_grpo, trl, flow_factory",
        ),
        (lambda: as_reward("colour-words")(pictures(), PROMPTS[:2]), "3 images and 2 texts"),
        (lambda: as_reward("colour-words", "trl")(PROMPTS, PROMPTS), "no column image or images"),
        (lambda: to_images(np.zeros((2, 8, 8))), r"shape \(2, 8, 8\)"),
        (lambda: to_images("image.png"), "expected images, not str"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
