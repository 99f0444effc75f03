"""The sampling rule with planted truths: savings, false alarms, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from croc.errors import InputError
from croc.probe import Search, SearchSettings

GROUPS = {f"group {g}": [f"p{g}{i}" for i in range(4)] for g in range(5)}
GOOD = 0.9


def run(weak, checks, *, seed=0, until=None, every=5, **settings):  # type: ignore[no-untyped-def]
    """A search on a metric that passes a check of each property with a probability; ``weak`` names others."""
    search = Search(GROUPS, SearchSettings(**settings))
    rng, world = np.random.default_rng(seed), np.random.default_rng(1000 + seed)
    for number in range(1, checks + 1):
        draw = search.choose(rng)
        search.add(draw, float(world.random() < weak.get(draw.leaf, GOOD)))
        if number % every == 0:
            search.certify()
            if until is not None and until <= set(search.certified):
                break
    return search


def test_it_finds_one_weak_property_with_fewer_than_half_the_checks_of_an_even_build() -> None:
    spent = {
        rule: sum(
            run({"p21": 0.4}, 3000, seed=seed, until={"p21"}, rule=rule).certified["p21"] for seed in range(3)
        )
        for rule in ("adaptive", "even")
    }
    assert spent["adaptive"] < 0.5 * spent["even"]


def test_it_finds_a_group_that_fails_as_a_whole_and_its_properties() -> None:
    weak = dict.fromkeys(GROUPS["group 3"], 0.4)
    search = run(weak, 2500, until={"group 3", *weak})
    assert set(search.certified) == {"group 3", *weak}
    assert search.certified["group 3"] < max(search.certified[name] for name in weak)


def test_false_alarms_on_equal_properties_are_rare() -> None:
    alarms = sum(bool(run({}, 300, seed=seed, every=20, margin=0.0).certified) for seed in range(12))
    assert alarms <= 1


def test_a_difference_smaller_than_the_margin_is_no_weakness() -> None:
    assert not run({"p11": 0.83}, 800, every=20, margin=0.1).certified


def test_the_weakest_is_among_the_candidates_and_strong_ones_are_not() -> None:
    search = run({"p21": 0.3}, 1200, every=50)
    assert "p21" in search.candidates()
    assert len(search.candidates()) < len(search.leaves)


def test_a_check_counts_for_the_nodes_whose_random_check_it_is() -> None:
    search = Search({"both": ["a", "b"], "c": ["c"]})
    assert search.nodes == ("a", "b", "c", "both")
    rng = np.random.default_rng(0)
    draws = [search.choose(rng) for _ in range(200)]
    for draw in draws:
        search.add(draw, 0.5)
    counts = dict(zip(search.nodes, search.counts(), strict=True))
    assert sum(counts[leaf] for leaf in "abc") == search.checks == 200
    # a check of a alone is no random check of its group
    assert counts["both"] == sum("both" in draw.counts for draw in draws) < counts["a"] + counts["b"]
    assert search.whole.sum() == sum(draw.everywhere for draw in draws)
    assert search.of_whole()[0] == 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Search({"a": ["a"]}), "at least two properties"),
        (lambda: Search({"a": ["b", "c"], "d": ["a"]}), "name of a group and of a property"),
        (lambda: SearchSettings(margin=0.7), "margin must be"),
        (lambda: SearchSettings(alpha=0), "error probability"),
    ],
)
def test_what_cannot_be_searched_is_refused(make, message) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_an_outcome_is_the_mean_of_four_verdicts() -> None:
    search = Search({"a": ["a"], "b": ["b"]})
    with pytest.raises(ValueError, match="multiple of 1/8"):
        search.add(search.choose(np.random.default_rng(0)), 0.3)
