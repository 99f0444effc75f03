"""Scorers as rewards of training loops: TRL, flow_grpo, Flow-Factory.

    from croc.rewards import as_reward

    reward = as_reward("clipscore-b32", device="cuda")         # (images, prompts, metadata) → scores, {}
    reward = as_reward("crocscore", framework="trl")           # reward_funcs= of TRL's GRPOTrainer
    Reward = as_reward("crocscore", framework="flow_factory")  # a pointwise reward model

A metric that is optimised is also attacked: ``croc audit-reward`` says how safe it is, ``croc invariance``
what moves it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, Literal

import numpy as np
from PIL import Image

from croc.errors import CrocError, InputError
from croc.scorers.pairs import UnscoredPairs, score_batches
from croc.verdict.statistics import Array

Framework = Literal["flow_grpo", "trl", "flow_factory"]
FRAMEWORKS: tuple[Framework, ...] = ("flow_grpo", "trl", "flow_factory")

BATCH = 16
"""Pairs per call of a scorer that has no batch size of its own."""


def as_reward(
    scorer: Any,
    framework: Framework = "flow_grpo",
    *,
    missing: float | None = None,
    **options: Any,
) -> Any:
    """A scorer as a reward; it is loaded once.

    Args:
        scorer: a name or object as :func:`croc.scorers.registry.load` takes it.
        framework: whose interface the reward has.

            - ``flow_grpo``: ``reward(images, prompts, metadata)`` returns the scores and an empty
              dictionary, as the reward functions of flow_grpo and DDPO do. Images are PIL images, a float
              tensor (n, 3, h, w) in 0…1, or a uint8 array (n, h, w, 3).
            - ``trl``: ``reward(prompts, completions, image=… or images=…, **columns)`` returns a list, for
              ``reward_funcs`` of TRL's ``GRPOTrainer``. What is scored is the completion, as a text about
              the image in the column ``image``, or the first one in ``images``.
            - ``flow_factory``: a subclass of Flow-Factory's ``PointwiseRewardModel``; give its path as
              ``reward_model``.
        missing: the reward of a pair that cannot be scored. None means none for ``trl``, which leaves it
            out, and an error for the others.
        options: arguments of the scorer (``device``, ``model``, …).

    Raises:
        InputError: no such framework, or the scorer cannot be loaded; from the reward: a pair has no score.
        CrocError: Flow-Factory is not installed.
    """
    from croc.scorers.registry import load

    if framework not in FRAMEWORKS:
        raise InputError(f"no framework {framework!r}; expected {', '.join(FRAMEWORKS)}")
    loaded = load(scorer, **options) if isinstance(scorer, str) or options else scorer
    if framework == "trl":
        return _for_trl(loaded, missing)
    if framework == "flow_factory":
        return _for_flow_factory(loaded, missing)
    return _for_images(loaded, missing)


def _named(reward: Callable[..., Any], scorer: Any) -> Callable[..., Any]:
    """With the name of the scorer, which logs show."""
    reward.__name__ = reward.__qualname__ = str(scorer.name)
    return reward


def _for_images(scorer: Any, missing: float | None) -> Callable[..., tuple[Array, dict[str, Any]]]:
    def reward(images: Any, prompts: Sequence[str], metadata: Any = None) -> tuple[Array, dict[str, Any]]:
        return _required(*score_pairs(scorer, to_images(images), list(prompts)), missing), {}

    return _named(reward, scorer)


def _for_trl(scorer: Any, missing: float | None) -> Callable[..., list[float | None]]:
    def reward(
        prompts: Sequence[Any],
        completions: Sequence[Any],
        image: Sequence[Any] | None = None,
        images: Sequence[Any] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        if image is None and images is None:
            raise InputError("the dataset has no column image or images, which the completions are about")
        pictures = image if image is not None else [each[0] for each in images or ()]
        scores, _ = score_pairs(scorer, to_images(pictures), [_text(each) for each in completions])
        return [missing if np.isnan(score) else float(score) for score in scores]

    return _named(reward, scorer)


def _text(completion: Any) -> str:
    """The text of a completion: itself, or the contents of its messages."""
    if isinstance(completion, str):
        return completion
    parts = []
    for message in completion:
        content = message["content"]
        parts += [content] if isinstance(content, str) else [p["text"] for p in content if "text" in p]
    return "\n".join(parts).strip()


def _for_flow_factory(scorer: Any, missing: float | None) -> type:
    try:
        home = import_module("flow_factory.rewards")
    except ImportError as error:
        raise CrocError(
            "Flow-Factory is not installed; see https://github.com/X-GenGroup/Flow-Factory"
        ) from error

    class Reward(home.PointwiseRewardModel):  # type: ignore[misc, name-defined]
        """The scores of a CROC scorer."""

        required_fields = ("prompt", "image")
        use_tensor_inputs = False

        def __call__(self, prompt: Sequence[str], image: Any = None, **others: Any) -> Any:
            import torch

            scores = _required(*score_pairs(scorer, to_images(image), list(prompt)), missing)
            rewards = torch.tensor(scores, dtype=torch.float32, device=self.device)
            return home.RewardModelOutput(rewards=rewards)

    return Reward


def to_images(images: Any) -> list[Image.Image]:
    """RGB images of what training loops hand over.

    Args:
        images: PIL images, or arrays and tensors: floats (n, 3, h, w) in 0…1, or uint8 (n, h, w, 3).

    Raises:
        InputError: they are of another kind or shape.
    """
    from croc.checks.decoding import to_rgb

    if hasattr(images, "detach"):
        images = images.detach().float().cpu().numpy() if images.is_floating_point() else images.cpu().numpy()
    if isinstance(images, np.ndarray):
        if images.ndim != 4 or 3 not in (images.shape[1], images.shape[3]):
            raise InputError(f"images have the shape {images.shape}; expected (n, 3, h, w) or (n, h, w, 3)")
        if np.issubdtype(images.dtype, np.floating):
            images = np.rint(np.clip(images, 0.0, 1.0) * 255).astype(np.uint8)
        if images.shape[3] != 3:
            images = images.transpose(0, 2, 3, 1)
        return [Image.fromarray(np.ascontiguousarray(image)) for image in images]
    if isinstance(images, Iterable) and not isinstance(images, (str, bytes, Mapping)):
        return [to_rgb(image) for image in images]
    raise InputError(f"expected images, not {type(images).__name__}")


def score_pairs(scorer: Any, images: list[Image.Image], prompts: list[str]) -> tuple[Array, dict[int, str]]:
    """Scores of pairs in batches of the scorer's own size.

    Returns:
        (n,) scores, NaN where there is none, and the reasons by position.

    Raises:
        InputError: there are not as many images as prompts.
    """
    if len(images) != len(prompts):
        raise InputError(f"{len(images)} images and {len(prompts)} texts; expected one text per image")

    def compute(rows: list[int]) -> Array:
        found = scorer.score([images[row] for row in rows], [prompts[row] for row in rows])
        return np.asarray(found.detach().cpu() if hasattr(found, "detach") else found, dtype=np.float64)

    reasons: dict[int, str] = {}
    try:
        scores = score_batches(len(prompts), int(getattr(scorer, "batch_size", None) or BATCH), compute)
    except UnscoredPairs as refused:
        reasons = refused.reasons
        nothing = np.full(len(prompts), np.nan)
        scores = nothing if refused.scores is None else refused.scores
    infinite = ~np.isfinite(scores)
    for row in np.flatnonzero(infinite):
        reasons.setdefault(int(row), "the score is not a finite number")
    return np.where(infinite, np.nan, scores), reasons


def _required(scores: Array, reasons: Mapping[int, str], missing: float | None) -> Array:
    """The scores with ``missing`` where there is none."""
    if reasons and missing is None:
        number = min(reasons)
        raise InputError(
            f"{len(reasons)} of {len(scores)} pairs have no score; the first one is pair {number + 1}: "
            f"{reasons[number]}. Give missing= a reward for such pairs"
        )
    return scores if missing is None else np.where(np.isnan(scores), missing, scores)
