"""What the model of the package has to read, as people would ask."""

from __future__ import annotations

import json

import numpy as np
import pytest

from croc.checks.decoding import decode
from croc_syn.world import draw
from crocscore.model import WEIGHTS, CROCScore


@pytest.mark.parametrize(
    "clause", ["", " and no horse", ", and no horse", " but no horse", " without a horse"]
)
def test_a_negation_elsewhere_hides_no_error(clause: str) -> None:
    """``no`` is about its own thing: a wrong colour or noun beside it still gets a No."""
    scorer = CROCScore.from_pretrained()
    margins = []
    for seed, (noun, colour) in enumerate(
        (noun, colour) for noun in ("dog", "cat", "car") for colour in ("red", "blue", "green")
    ):
        image = decode(draw(f"a {colour} {noun} and no horse", seed=seed).png)
        prompts = [f"a {colour} {noun}", f"a yellow {noun}", f"a {colour} pig"]
        margins.append(scorer.score_prompts(image, [prompt + clause for prompt in prompts]))
    right, colour, noun = np.array(margins).T
    assert (right > colour).all() and (right > noun).all()
    assert (right > 0).mean() > 0.8 and (colour > 0).mean() < 0.2 and (noun > 0).mean() < 0.2


@pytest.mark.parametrize("name", ["tiny", "dual"])
def test_the_log_of_the_pretraining_has_every_stage_and_nothing_else(name: str) -> None:
    folder = WEIGHTS.parent / name
    stages = json.loads((folder / "pretraining.json").read_text("utf-8"))
    lines = [json.loads(line) for line in (folder / "pretraining_log.jsonl").open(encoding="utf-8")]
    assert {line["stage_number"] for line in lines} == {stage["step"] for stage in stages}
