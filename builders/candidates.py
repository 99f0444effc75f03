"""Candidate images for people to judge: of prompt pairs, by any image backend, or a sample of a build."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from croc.errors import CrocError, InputError
from croc.schema import CATEGORIES
from croc_hum.prompts import PromptPair, PromptSet
from croc_syn import world


def chosen(sets: Mapping[str, PromptSet], category: str | None) -> dict[str, PromptSet]:
    """The sets of one category, or all when it is None.

    Raises:
        InputError: there is no such category among them.
    """
    if category is None:
        return dict(sets)
    if category not in sets:
        close = get_close_matches(category, CATEGORIES, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sets)}"
        raise InputError(f"no prompt pairs of category {category!r}; {hint}")
    return {category: sets[category]}


def check_pairs(sets: Mapping[str, PromptSet], least: int = 1) -> None:
    """Hold prompt pairs against what they claim.

    Args:
        sets: as :func:`croc_hum.prompts.load` gives them.
        least: pairs that each category must have.

    Raises:
        InputError: a category has fewer, or the exact world cannot prove what a pair marked ``exact`` claims.
    """
    problems = [
        f"{category} has {len(one.pairs)} pairs, {least} are wanted"
        for category, one in sets.items()
        if len(one.pairs) < least
    ]
    problems += [
        f"{category}.{pair.id}: {reason}"
        for category, one in sets.items()
        for pair in one.pairs
        if pair.exact and (reason := _unproven(pair)) is not None
    ]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise InputError(f"prompt pairs: {'; '.join(problems[:5])}{more}")


def _unproven(pair: PromptPair) -> str | None:
    """Why the exact world cannot vouch for a pair; None when it can."""
    try:
        both = [world.parse(text) for text in (pair.prompt, pair.contrast_prompt)]
    except CrocError as error:
        return f"not in the exact world's controlled English ({error})"
    if not world.exclusive(*both):
        return "an image may show both prompts, as far as the exact world can tell"
    return None
