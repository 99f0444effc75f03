"""Options of commands that draw with the exact world: the drawing style, and what is held out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from croc_syn.world.declarations.languages import ENGLISH, LANGUAGES
from croc_syn.world.declarations.styles import STYLES, USUAL

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_STYLE_HELP = "Drawing style. The style blocks draws shapes on grey panels only."

style_option: Decorator = click.option(
    "--style", default=USUAL, show_default=True, type=click.Choice(list(STYLES)), help=_STYLE_HELP
)
styles_option: Decorator = click.option(
    "--style",
    "styles",
    multiple=True,
    default=[USUAL],
    show_default=True,
    type=click.Choice(list(STYLES)),
    help=f"{_STYLE_HELP} Repeatable; each image has one of them.",
)
language_option: Decorator = click.option(
    "--language",
    default=ENGLISH,
    show_default=True,
    type=click.Choice(list(LANGUAGES)),
    help="Language of the prompts: " + ", ".join(LANGUAGES.values()) + ".",
)
hold_out_option: Decorator = click.option(
    "--hold-out",
    "hold_out",
    multiple=True,
    metavar="SORT=SHARE|LIST",
    help="What no prompt and no scene contains: nouns, values, frames or compositions, as a share "
    "(nouns=0.2) or a list (values=colour=red,count=7; compositions=dog:colour=red). Repeatable.",
)
