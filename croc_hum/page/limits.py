"""How often one address may join or try a token, without an address being stored.

An address is known by a keyed hash in memory alone. The key is random and replaced every hour, together with
all counts, so that nothing links a hash to an address afterwards.
"""

from __future__ import annotations

import ipaddress
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from croc.errors import InputError

JOINS_PER_HOUR = 30
"""Default number of new annotators per address and hour: a room of people may share one address."""

_FORGET_S = 3600.0
_MOST_ADDRESSES = 20_000
_FREE_ATTEMPTS, _LONGEST_WAIT_S = 3, 600.0

_visitor: ContextVar[bytes] = ContextVar("visitor", default=b"unknown")
"""The hash of the address of the current request."""


@dataclass
class _Counts:
    joins: int = 0
    wrong: int = 0
    next_try: float = 0.0


class Visitors:
    """Counts per address. It can be used by several threads.

    Args:
        joins: number of new annotators per address and hour; 0 for no limit.
        clock: returns seconds.
    """

    def __init__(self, joins: int = JOINS_PER_HOUR, clock: Callable[[], float] = time.monotonic) -> None:
        if joins < 0:
            raise InputError(f"the number of new annotators per address and hour must not be {joins}")
        self.joins, self._clock, self._lock = joins, clock, threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._key, self._since = secrets.token_bytes(32), self._clock()
        self._counts: defaultdict[bytes, _Counts] = defaultdict(_Counts)

    def recognise(self, address: str) -> bytes:
        """The hash by which an address is known at present."""
        with self._lock:
            if self._clock() - self._since >= _FORGET_S or len(self._counts) >= _MOST_ADDRESSES:
                self._forget()
            return blake2b(address.encode("utf-8", "replace"), key=self._key, digest_size=16).digest()

    def may_join(self) -> bool:
        """Whether the current visitor may become a new annotator; counts as one if so."""
        with self._lock:
            counts = self._counts[_visitor.get()]
            if self.joins and counts.joins >= self.joins:
                return False
            counts.joins += 1
            return True

    def wait(self) -> float:
        """Seconds until the current visitor may try a token or an invitation again; 0 for now."""
        with self._lock:
            known = self._counts.get(_visitor.get())
            return max(0.0, known.next_try - self._clock()) if known else 0.0

    def failed(self) -> None:
        """Count a wrong token or invitation: from the third on, the wait until the next try doubles."""
        with self._lock:
            counts = self._counts[_visitor.get()]
            counts.wrong += 1
            if (beyond := counts.wrong - _FREE_ATTEMPTS) >= 0:
                counts.next_try = self._clock() + min(2.0**beyond, _LONGEST_WAIT_S)

    def __len__(self) -> int:
        return len(self._counts)


class Recognise:
    """ASGI middleware that lets handlers know the visitor of a request.

    Args:
        app: the application.
        visitors: the counts.
        behind_proxy: whether a proxy is in front of the server, which appends the address that it sees to
            ``X-Forwarded-For``. Without a proxy everybody could write any address there.
    """

    def __init__(self, app: Any, visitors: Visitors, behind_proxy: bool = False) -> None:
        self.app, self.visitors, self.behind_proxy = app, visitors, behind_proxy

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        token = _visitor.set(self.visitors.recognise(self._address(scope)))
        try:
            await self.app(scope, receive, send)
        finally:
            _visitor.reset(token)

    def _address(self, scope: MutableMapping[str, Any]) -> str:
        if self.behind_proxy:
            forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
            for part in reversed(b",".join(forwarded).decode("latin-1").split(",")):
                try:
                    address = ipaddress.ip_address(part.strip())
                except ValueError:
                    continue
                if address.is_global:  # others are those of proxies behind the first one
                    return _network(address)
        host = str((scope.get("client") or ("",))[0])
        try:
            return _network(ipaddress.ip_address(host))
        except ValueError:  # a socket without an address
            return host


def _network(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """An address; of IPv6 the network of a household, which has 2**64 addresses."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
