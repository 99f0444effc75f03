"""Templates of dataset, model and Space cards, and the code that fills and checks them."""

from hub_cards.benchmark import benchmark
from hub_cards.cards import (
    compare_cards,
    dataset_card,
    model_card,
    model_report,
    render_again,
    space_card,
    space_module,
    template_mark,
)
from hub_cards.croissant import croissant
from hub_cards.facts import Facts, View, read_facts

__all__ = [
    "Facts",
    "View",
    "benchmark",
    "compare_cards",
    "croissant",
    "dataset_card",
    "model_card",
    "model_report",
    "read_facts",
    "render_again",
    "space_card",
    "space_module",
    "template_mark",
]
