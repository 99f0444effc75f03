"""Invitation codes: each lets one person become an annotator.

A code is a random number with a signature made from the administrator's token, so that codes need not be
stored before they are used, and stay valid when the machine loses its disk. The store keeps a hash of each
used code, without the annotator who used it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import b32encode

_CODE = re.compile(r"join((?:-[a-z2-7]{4}){6})")


def make_invitations(token: str, count: int) -> list[str]:
    """New invitation codes.

    Args:
        token: the administrator's token; with another token the codes are not valid.
        count: how many.
    """
    return [_sign(token, b32encode(secrets.token_bytes(5)).decode().lower()) for _ in range(count)]


def read_invitation(token: str, code: object) -> str | None:
    """The hash by which a store knows a valid code; None if the code is not valid."""
    text = code.strip().lower() if isinstance(code, str) and len(code) < 100 else ""
    found = _CODE.fullmatch(text)
    if found is None:
        return None
    number = found[1].replace("-", "")[:8]
    if not hmac.compare_digest(_sign(token, number), text):
        return None
    return hashlib.sha256(f"invitation {number}".encode()).hexdigest()


def _sign(token: str, number: str) -> str:
    signature = hmac.digest(token.encode(), f"invitation {number}".encode(), "sha256")
    letters = number + b32encode(signature).decode().lower()[:16]
    return "-".join(["join", *(letters[at : at + 4] for at in range(0, 24, 4))])
