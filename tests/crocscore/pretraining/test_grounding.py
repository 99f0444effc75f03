"""Which things the words of a prompt name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from builders.scenes import spellings
from croc_syn.world import KINDS
from crocscore.pretraining.config import PretrainingConfig
from crocscore.pretraining.pretrain import load_data
from crocscore.pretraining.scene_arrays import IGNORE
from crocscore.pretraining.stages import VLM, Stage


def test_the_targets_of_a_name_are_those_of_its_things(folder: Path) -> None:
    words, scenes = load_data([folder], None, None)
    rows = np.arange(40)
    stage = Stage(VLM, scenes, words, None, PretrainingConfig(claims_per_image=5, grounding_weight=0.5))
    sampler = stage.sampler(scenes, rows)
    batch = sampler.batch(rows, np.random.default_rng(0))
    targets: list[tuple[list[float], list[int]]] = []

    def loss(states, box, labels):
        targets.extend(zip(box.tolist(), labels.tolist(), strict=True))
        return states.sum() * 0

    stage.grounding.loss = loss
    stage.read_claims(stage.encode_images(batch["pixels"]), batch, sampler)
    columns = list(scenes.vocabulary.thing)
    expected, several = [], 0
    for image, pairs in zip(rows, batch["claims"], strict=True):
        things = np.arange(scenes.first[image], scenes.first[image + 1])
        for text in (words.decode(ids) for pair in pairs for ids in pair):
            for label, column in names_in(text, scenes.vocabulary.kinds):
                mine = things[scenes.kind[things] == scenes.vocabulary.kinds.index(label)]
                if not len(mine):
                    continue
                box = [*scenes.box[mine, :2].min(0).tolist(), *scenes.box[mine, 2:].max(0).tolist()]
                common = np.where(np.ptp(scenes.labels[mine], axis=0) == 0, scenes.labels[mine[0]], IGNORE)
                if column:
                    common = np.where(np.array(columns) == column, common, IGNORE)
                if column and (common == IGNORE).all():
                    continue
                several += len(mine) > 1
                expected.append((box, common.tolist()))
    assert targets == expected
    counts = [labels[columns.index("count")] for _, labels in targets]
    assert len(targets) > 40 and several > 5
    assert {
        columns[i].partition(":")[0]
        for _, labels in targets
        for i in np.flatnonzero(np.array(labels) != IGNORE)
    } > {"part", "count", "depth"}
    assert any(label != IGNORE for label in counts)


def names_in(text: str, kinds: list[str]) -> list[tuple[str, str]]:
    """Kinds and parts that a prompt names, in its order: (kind, "") or (kind before it, "part:…")."""
    spelled: dict[str, tuple[str, str]] = {}
    for kind in kinds:
        for part in KINDS[kind].parts:
            spelled |= {word: ("", part.word) for word in (part.word, part.plural_word)}
    spelled |= {word: (kind, "") for kind in kinds for word in spellings(KINDS[kind])}
    longest_first = "|".join(map(re.escape, sorted(spelled, key=len, reverse=True)))
    found, last = [], None
    for match in re.finditer(rf"(?<= )({longest_first})(?![a-z])", text):
        kind, part = spelled[match[1]]
        if kind:
            last = kind
        if last:
            found.append((last, f"part:{part}" if part else ""))
    return found
