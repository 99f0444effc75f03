"""Pretraining a language model behind a trained tower, without some properties.

A model that was pretrained on a property still knows it after fine-tuning without it. Here the language
model starts with random weights, and the property is left out of both: no pair of prompts differs in it and
no label names it. Its words still occur in prompts that differ in something else, as in the pretraining text
of any language model. The tower is not trained and keeps what it has learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from croc.errors import InputError
from croc.storage.files import read_json, write_json
from crocscore.pretraining.config import PretrainingConfig
from crocscore.pretraining.pretrain import HELD_OUT, load_data, train
from crocscore.pretraining.stages import VLM, Stage

DIFFERENCES = {
    "negation": ("negation", "presence"),
    "counting": ("count", "count_binding"),
    "colour": ("colour", "colour_binding"),
    "spatial_relation": ("left_right", "above_below", "front_behind", "inside", "distance", "role_order"),
    "size_relation": ("size_relation",),
    "shapes": ("shape",),
    "action": ("action", "action_binding"),
    "body_parts": ("body_part",),
    "things_parts": ("thing_part",),
}
"""By category: what the pairs of prompts about scenes differ in, where it has other names."""

FINISHED = "pretrained.json"
"""What was asked for; written last."""


def differences(leave_out: Sequence[str], known: Sequence[str]) -> list[str]:
    """What pairs of prompts differ in, of what is left out.

    Args:
        leave_out: keys of :data:`DIFFERENCES`, or what pairs of prompts differ in.
        known: what pairs of prompts differ in.

    Returns:
        The names among ``known``, sorted.

    Raises:
        InputError: no pair differs in it.
    """
    found: set[str] = set()
    for name in leave_out:
        if not (names := set(DIFFERENCES.get(name, (name,))) & set(known)):
            raise InputError(f"no pair of prompts differs in {name!r}; expected {', '.join(known)}")
        found |= names
    return sorted(found)


def pretrain_without(
    start: str | Path,
    scenes: Sequence[str | Path],
    out: str | Path,
    *,
    leave_out: Sequence[str],
    steps: int,
    from_scratch: bool = True,
    seed: int = 0,
    architecture: str = VLM,
) -> Path:
    """Train a language model, or the text encoder of a dual encoder, behind a frozen tower.

    Args:
        start: folder of a small vision-language model (``crocscore/pretraining/architectures.py``).
        scenes: folders of ``croc build scenes``.
        out: folder of the new model; an interrupted run is resumed.
        leave_out: keys of :data:`DIFFERENCES`, or what pairs of prompts differ in. Pairs that may differ in
            it among other things are left out, too.
        steps: updates, of 24 images each.
        from_scratch: take only the tower and the tokenizer of ``start``; False continues with its language
            model.
        seed: of the weights and of the order.
        architecture: ``vlm`` or ``dual-encoder``.

    Returns:
        The folder, without a calibration.

    Raises:
        InputError: there are no scenes, or no pair differs in what is left out.
    """
    start, out = Path(start), Path(out)
    asked = {
        **{"architecture": architecture, "from_scratch": from_scratch, "steps": steps, "seed": seed},
        **{"start": str(start), "scenes": list(map(str, scenes)), "leave_out": sorted(leave_out)},
    }
    if read_json(out / FINISHED, None) == asked:  # neither scenes nor weights need to be loaded again
        return out
    tokenizer, arrays = load_data([Path(folder) for folder in scenes], None, start)
    config = PretrainingConfig(
        steps=steps,
        images_per_step=24,
        learning_rate=2e-3 if from_scratch else 1e-3,
        warmup_steps=max(1, steps // 10),
        grounding_weight=0.5 if architecture == VLM else 0.0,
        tower_rate_share=0.0,
        seed=seed,
        evaluate_every=max(1, steps // 4),
        leave_out=",".join(differences(leave_out, arrays.vocabulary.about)),
    )
    stage = Stage(architecture, arrays, tokenizer, None if from_scratch else start, config)
    if from_scratch:
        stage.copy_tower(start)
    train(stage, arrays, min(HELD_OUT, len(arrays) // 10), out)
    write_json(out / FINISHED, asked)
    return out
