"""The settings of a served page: its store, the token of its administrator, texts of the consent form."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from croc import __version__
from croc.errors import InputError
from croc.wording import counted
from croc_hum.page.exports import Exports
from croc_hum.page.fragments import PAGE_VERSION
from croc_hum.page.limits import Visitors
from croc_hum.votes.invitations import read_invitation
from croc_hum.votes.store import Annotator, Refused, Store

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
        invitations: whether new annotators need an invitation code.
        visitors: limits per address.
        behind_proxy: whether addresses come from the header of a proxy in front of the server.
        published: what happens to the votes; a sentence of the consent form.
    """

    store: Store
    token: str
    mirror: Mirror | None = None
    contact: str = "the person who invited you"
    invitations: bool = False
    visitors: Visitors = field(default_factory=Visitors)
    behind_proxy: bool = False
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

    @cached_property
    def exports(self) -> Exports:
        """The files of votes that are being sent to the administrator."""
        return Exports(self.store)

    def refuse_token(self, token: object) -> str | None:
        """Why the administrator's view stays closed: a wrong token, or too many of them; None opens it."""
        if (wait := self.visitors.wait()) > 0:
            return _too_many("tokens", wait)
        if isinstance(token, str) and secrets.compare_digest(
            token.encode("utf-8", "replace"), self.token.encode()
        ):
            return None
        self.visitors.failed()
        return "This token is wrong."

    def admit(self, invitation: object) -> Annotator:
        """Add an annotator who has consented.

        Args:
            invitation: an invitation code, if the campaign needs one.

        Raises:
            Refused: the code is missing, wrong or used, or too many annotators have come from this address.
        """
        used = None
        if self.invitations:
            if (wait := self.visitors.wait()) > 0:
                raise Refused(_too_many("invitation codes", wait).rstrip("."))
            used = read_invitation(self.token, invitation)
            if used is None:
                self.visitors.failed()
                raise Refused("this invitation code is not valid; copy it again, or ask who invited you")
        if not self.visitors.may_join():
            raise Refused(
                "many people have begun from your network in the last hour; try again in an hour, or ask the "
                "person who invited you"
            )
        return self.store.add_annotator(used)


def _too_many(what: str, wait: float) -> str:
    return f"Too many wrong {what}: try again in {counted(math.ceil(wait), 'second')}."
