"""Limits per address: what they count, what they forget, and how an address is known behind a proxy."""

from __future__ import annotations

import pytest

from croc_hum.page import limits
from croc_hum.page.limits import Recognise, Visitors


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def be(visitors: Visitors, address: str) -> None:
    limits._visitor.set(visitors.recognise(address))


def test_an_address_joins_as_often_as_the_limit_says_and_again_after_an_hour() -> None:
    clock = Clock()
    visitors = Visitors(2, clock)
    be(visitors, "192.0.2.1")
    assert [visitors.may_join() for _ in range(3)] == [True, True, False]
    be(visitors, "192.0.2.2")
    assert visitors.may_join()
    clock.now += 3600
    be(visitors, "192.0.2.1")
    assert visitors.may_join()
    assert all(Visitors(0).may_join() for _ in range(1000))


def test_wrong_tokens_wait_longer_and_longer() -> None:
    clock = Clock()
    visitors = Visitors(clock=clock)
    be(visitors, "192.0.2.1")
    waits = []
    for _ in range(14):
        visitors.failed()
        waits.append(visitors.wait())
    assert waits[:7] == [0, 0, 1, 2, 4, 8, 16] and waits[-1] == 600
    clock.now += 600
    assert visitors.wait() == 0
    be(visitors, "192.0.2.2")
    assert visitors.wait() == 0


def test_hashes_of_an_address_cannot_be_linked_over_the_hour_and_are_few() -> None:
    clock = Clock()
    visitors = Visitors(clock=clock)
    first = visitors.recognise("192.0.2.1")
    assert first == visitors.recognise("192.0.2.1") != visitors.recognise("192.0.2.2")
    assert first != Visitors(clock=clock).recognise("192.0.2.1")
    clock.now += 3600
    assert first != visitors.recognise("192.0.2.1")
    for number in range(2 * limits._MOST_ADDRESSES):
        be(visitors, f"address {number}")
        visitors.failed()
    assert len(visitors) <= limits._MOST_ADDRESSES


@pytest.mark.parametrize(
    ("forwarded", "client", "behind_proxy", "address"),
    [
        (None, "192.0.2.7", False, "192.0.2.7"),
        ("8.8.8.8", "192.0.2.7", False, "192.0.2.7"),  # anybody can write this without a proxy
        ("8.8.8.8", "10.0.0.3", True, "8.8.8.8"),
        ("1.1.1.1, 8.8.8.8", "10.0.0.3", True, "8.8.8.8"),  # the proxy appends what it sees
        ("1.1.1.1, 8.8.8.8, 10.1.2.3", "10.0.0.3", True, "8.8.8.8"),
        ("nonsense", "10.0.0.3", True, "10.0.0.3"),
        (None, "10.0.0.3", True, "10.0.0.3"),
        ("2606:4700:1:2:3:4:5:6", "10.0.0.3", True, "2606:4700:1:2::/64"),
        (None, "::ffff:192.0.2.7", False, "192.0.2.7"),
        (None, None, False, ""),
    ],
)
def test_the_address_is_that_of_the_browser(
    forwarded: str | None, client: str | None, behind_proxy: bool, address: str
) -> None:
    scope = {
        "client": (client, 5) if client else None,
        "headers": [(b"x-forwarded-for", forwarded.encode())] if forwarded else [],
    }
    assert Recognise(None, Visitors(), behind_proxy)._address(scope) == address
