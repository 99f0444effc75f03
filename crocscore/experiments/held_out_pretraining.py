"""Readers that learn to read anew behind a trained tower, without some properties.

Leaving a property out of stage two says little of a model that stage one taught all of them. Here the
language model begins from random weights, and what is left out is in neither stage: no pair of prompts
differs in it and no name says it. The words still occur where prompts differ in something else, as they do
in any language model's past; and the tower, which is not trained, sees as much as it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from croc.errors import InputError
from crocscore.pretraining import pretrain as describe
from crocscore.pretraining.sampling import Plan

ABOUT = {
    "negation": ("negation", "presence"),
    "counting": ("count", "count_binding"),
    "colour": ("colour", "colour_binding"),
    "spatial_relation": ("left_right", "above_below", "front_behind", "inside", "distance", "role_order"),
    "size_relation": ("size_relation",),
    "shapes": ("shape",),
    "action": ("action",),
    "body_parts": ("body_part",),
    "things_parts": ("thing_part",),
}
"""What prompts of scenes differ in, by the category that is left out; other names are theirs already."""


def read_anew(
    start: str | Path,
    scenes: Sequence[str | Path],
    out: str | Path,
    *,
    leave_out: Sequence[str],
    steps: int,
    anew: bool = True,
    seed: int = 0,
) -> Path:
    """Train a language model behind a tower that stays as it is.

    Args:
        start: folder of a small model (``crocscore/pretraining/architectures.py``).
        scenes: folders of ``builders/scenes.py``.
        out: folder of the new model; a run that was stopped goes on.
        leave_out: keys of :data:`ABOUT`, or what pairs of prompts differ in.
        steps: updates, 24 images each.
        anew: take the tower and the tokenizer of ``start`` alone; otherwise its language model goes on.
        seed: of the weights and of the order.

    Returns:
        The folder, without calibration.

    Raises:
        InputError: no scenes are there, or no pair differs in what is left out.
    """
    start, out = Path(start), Path(out)
    words, read = describe.prepared([Path(folder) for folder in scenes], None, start)
    known = read.vocabulary.about
    left: set[str] = set()
    for name in leave_out:
        mine = set(ABOUT.get(name, (name,))) & set(known)
        if not mine:
            raise InputError(f"no pair of prompts differs in {name!r}; there are {', '.join(known)}")
        left |= mine
    plan = Plan(
        steps=steps,
        images=24,
        rate=2e-3 if anew else 1e-3,
        warmup=max(1, steps // 10),
        point=0.5,
        tower=0.0,
        seed=seed,
        every=max(1, steps // 4),
        without=",".join(sorted(left)),
    )
    stage = describe.Stage("read", read, words, None if anew else start, plan)
    if anew:
        stage.take_tower(start)
    describe.train(stage, read, min(describe.HELD_OUT, len(read) // 10), out)
    return out
