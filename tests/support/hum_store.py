"""Fixtures of a store of votes whose clock the test moves; taken with ``pytest_plugins``."""

from __future__ import annotations

import pytest
from hum_items import Clock

from croc_hum.votes.store import Settings, Store


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(tmp_path, clock):
    made = []

    def build(rows, **options) -> Store:
        store = Store(tmp_path / f"{len(made)}.sqlite", Settings(**options), clock=clock)
        store.add_items(rows)
        made.append(store)
        return store

    yield build
    for store in made:
        store.close()
