"""Write ``docs/language_sentences.md``, for reviewers: ``python docs/generate_sentences.py``.

Of thousands of prompts it takes those that bring the most words which no earlier one has.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from croc.errors import InputError
from croc_syn import world
from croc_syn.world.translation import frame_of, translate

PAGE = Path(__file__).with_name("language_sentences.md")
SENTENCES = 200
_SEEDS = 40
_OTHERS = {code: name for code, name in world.LANGUAGES.items() if code != "en"}
_ADDED = (
    "two sheep that are not white",
    "a person that is not sitting",
    "three dogs in a circle, and nothing else",
    "there is no small red bird",
    "a painted house on a plain background",
    "two plain umbrellas",
    "a picture of a duck swimming",
    "a picture of a large apple on a table",
    "there is a cage around a bird",
    "a table directly under two balls",
    "a dog with three legs and no tail",
    "a picture of two horses running",
    "a small dotted red metal ball to the left of two large blue cups in a park",
)
"""Prompts with what the contrasts have rarely or never."""


def prompts() -> Iterator[str]:
    """Prompts of every contrast and topic, and of every kind with its parts and shapes."""
    yield from _ADDED
    topics = list(world.TOPICS)
    wanted = [
        (contrast, topics[(seed + number) % len(topics)] if seed % 2 else None, None, seed)
        for seed in range(_SEEDS)
        for number, contrast in enumerate(world.CONTRASTS)
    ]
    wanted += [
        (contrast, None, kind, seed)
        for contrast in ("body_part", "thing_part", "shape")
        for kind in world.KINDS
        for seed in range(6)
    ]
    for contrast, topic, entity, seed in wanted:
        try:
            pair = world.make_pair(contrast, topic=topic, entity=entity, seed=seed)
        except InputError:
            continue
        yield from (pair.prompt, pair.contrast_prompt)


def contents(prompt: str) -> dict[object, int]:
    """What a reviewer sees in a prompt, with weights: words first, then the forms that they have."""
    meaning = world.parse(prompt)
    seen: dict[object, int] = {("frame", frame_of(prompt)): 1, ("only", meaning.only): 1}
    seen |= dict.fromkeys(meaning.image, 5)
    for group in meaning.groups:
        seen |= {group.kind: 5, group.layout: 5, (group.kind, group.count > 1): 1, ("number", group.count): 2}
        for attribute in group.attributes:
            part = attribute.dimension.startswith("part:")
            seen[attribute.dimension if part else attribute] = 5
            if part:
                seen[attribute.dimension, min(int(attribute.value), 2)] = 1
    seen |= {("absent", absence.attributes != ()): 2 for absence in meaning.absences}
    return seen | {(link.relation, link.a < link.b): 5 for link in meaning.links}


def selected() -> list[str]:
    """The prompts of the page, in the order of the alphabet."""
    left = {prompt: contents(prompt) for prompt in dict.fromkeys(prompts())}
    chosen: list[str] = []
    seen: set[object] = set()
    while len(chosen) < SENTENCES:
        if len(chosen) < len(_ADDED):
            best = _ADDED[len(chosen)]
        else:
            best = max(
                left, key=lambda prompt: sum(n for item, n in left[prompt].items() if item not in seen)
            )
        chosen.append(best)
        seen |= set(left.pop(best))
    return sorted(chosen)


def page() -> str:
    """The text of the page."""
    lines = [
        "# Sentences to review",
        "",
        f"{SENTENCES} prompts of the [exact world](exact_world.md), by its [grammar](languages.md).",
        "They have every noun, property, part, relation and place. **No native speaker has reviewed them.**",
        "Whoever knows a language well: is the sentence correct, would people say it, and does it mean what",
        "the English one means? Please report what is wrong as an issue, with the number of the sentence.",
        "",
        f"| | English | {' | '.join(_OTHERS.values())} |",
        f"|---|---|{'---|' * len(_OTHERS)}",
    ]
    for number, prompt in enumerate(selected(), 1):
        cells = [prompt, *(translate(prompt, code) for code in _OTHERS)]
        lines.append(f"| {number} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
