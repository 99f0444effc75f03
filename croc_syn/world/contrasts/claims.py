"""Claims about a scene: pairs of a true and a false prompt that differ in one property.

Prompt pairs (:mod:`croc_syn.world.contrasts.prompt_pairs`) come first and are then drawn; claims are about a
scene that exists already, in the same controlled English. One image gives dozens of them, for a model that
learns to read images.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from croc.errors import InputError

# Importing these declares the functions that make the claims.
from croc_syn.world.contrasts import claims_about_pairs, claims_about_presence, claims_about_things  # noqa: F401
from croc_syn.world.contrasts.scene_facts import MAKERS, Phrases, SceneFacts
from croc_syn.world.language.words import PromptError
from croc_syn.world.scenes.oracle import satisfies
from croc_syn.world.scenes.scene import Scene
from croc_syn.world.scenes.seeded_random import SeededRandom

MIXTURE: Mapping[str, float] = MappingProxyType(
    {
        # The number of things: seven of ten times one more or one less, up to nine.
        "count": 12,
        "count_binding": 10,
        # What is there and what is not.
        "wrong_noun": 11,
        "presence": 5,
        "negation": 9,
        "beside_absence": 9,
        "beside_presence": 6,
        "only": 7,
        "entity": 3,
        # Which thing has which property.
        "colour_binding": 6,
        "size_binding": 4,
        "texture_binding": 6,
        "action_binding": 6,
        "distribution": 15,
        "three_things": 9,
        # Properties of a thing.
        "colour": 5,
        "size": 4,
        "texture": 8,
        "material": 6,
        "shape": 8,
        "action": 6,
        "body_part": 6,
        "thing_part": 6,
        # Relations, and the layout of several things.
        "left_right": 6,
        "above_below": 5,
        "front_behind": 12,
        "inside": 10,
        "distance": 4,
        "size_relation": 4,
        "layout": 10,
        "relation_of_alike": 5,
        # The whole image.
        "lighting": 2,
        "weather": 2,
        "setting": 3,
    }
)
"""By what a claim's prompts differ in, how often it is tried, relative to the others.

A scene has no claim about what it does not contain, so the shares among the claims of many scenes differ;
docs/small_models.md has those.
"""


@dataclass(frozen=True)
class Claim:
    """Two prompts of which one is true of a scene.

    Attributes:
        true, false: the prompts.
        about: what they differ in, mostly a key of ``CONTRASTS``.
    """

    true: str
    false: str
    about: str


def make_claims(scene: Scene, number: int, rng: SeededRandom, about: Collection[str] = ()) -> list[Claim]:
    """Make true and false prompts about a scene.

    Args:
        scene: the scene.
        number: how many claims at most.
        rng: chooses the things, values and words.
        about: what they may differ in; each has its turn before any is repeated. Empty allows everything in
            the shares of :data:`MIXTURE`.

    Returns:
        Distinct claims; the oracle has confirmed that ``true`` is true of the scene and ``false`` is not.

    Raises:
        InputError: no claim can differ in one of these.
    """
    if unknown := sorted(set(about) - set(MAKERS)):
        raise InputError(f"no claim differs in {', '.join(unknown)}; expected {', '.join(MIXTURE)}")
    facts = SceneFacts(scene, rng)
    claims: dict[Phrases, Claim] = {}
    for turn in range(number if about else 4):
        names = rng.shuffled([name for name in MIXTURE if name in about]) if about else _sampled(number, rng)
        for name in names:
            if len(claims) >= number:
                return list(claims.values())
            prompts = MAKERS[name](facts)
            if prompts is None or prompts[0] == prompts[1] or prompts in claims:
                continue
            try:
                is_claim = satisfies(scene, prompts[0]) and not satisfies(scene, prompts[1])
            except PromptError:  # a wrong noun cannot have every property of the right one
                continue
            if is_claim:
                claims[prompts] = Claim(*prompts, name)
        if turn and not claims:
            break
    return list(claims.values())


def _sampled(number: int, rng: SeededRandom) -> list[str]:
    """Names in the shares of the mixture, a few more than are needed."""
    names, total = list(MIXTURE), sum(MIXTURE.values())
    limits = np.cumsum([weight / total for weight in MIXTURE.values()])
    return [
        names[int(np.searchsorted(limits, rng.random() * 0.999999, side="right"))] for _ in range(2 * number)
    ]
