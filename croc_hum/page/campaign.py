"""The settings of a served page: its store, the token of its administrator, texts of the consent form."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from croc import __version__
from croc.errors import InputError
from croc_hum.page.fragments import PAGE_VERSION
from croc_hum.votes.store import Store

if TYPE_CHECKING:
    from croc_hum.votes.hub_copy import Mirror

VERSION = f"{__version__}+{PAGE_VERSION}"
"""The version that is stored with every vote."""

TOKEN_CHARACTERS = 16
"""Minimum length of the administrator's token."""


@dataclass(frozen=True)
class Campaign:
    """One served page.

    Attributes:
        store: items and votes.
        token: opens the administrator's view; at least ``TOKEN_CHARACTERS`` characters.
        mirror: the private dataset that holds a copy of the votes, or None.
        contact: whom annotators can ask.
        published: what happens to the votes; a sentence of the consent form.
    """

    store: Store
    token: str
    mirror: Mirror | None = None
    contact: str = "the person who invited you"
    published: str = (
        "The people who run this study keep the answers. Later they may publish the answers together with "
        "the images, under the random names."
    )

    def __post_init__(self) -> None:
        if len(self.token) < TOKEN_CHARACTERS:
            raise InputError(
                f"the administrator's token (CROC_ADMIN_TOKEN) has {len(self.token)} characters; expected at "
                f"least {TOKEN_CHARACTERS}"
            )

    def is_token(self, token: object) -> bool:
        """Whether this is the administrator's token."""
        return isinstance(token, str) and secrets.compare_digest(
            token.encode("utf-8", "replace"), self.token.encode()
        )
