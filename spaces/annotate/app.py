"""CROC: the page on which annotators label images, as a Space.

The settings are the Space's variables and secrets, see ``README.md``. The page needs a token for the
administrator, and either persistent storage or a dataset for the votes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from croc.cli.failures import EXPECTED, describe
from croc.errors import InputError
from croc.storage.hub_access import download_snapshot
from croc_hum.page import VERSION, Campaign, launch
from croc_hum.page.limits import JOINS_PER_HOUR, Visitors
from croc_hum.schema import read_items
from croc_hum.votes.hub_copy import Mirror
from croc_hum.votes.store import Settings, Store

PERSISTENT = Path("/data")
"""Persistent storage of a Space, if it has any."""


def main() -> None:
    """Load the items, restore the votes and serve the page; at the end commit the last votes."""
    folder = os.environ.get("CROC_DATA")
    persistent = bool(folder) or PERSISTENT.is_dir() or not os.environ.get("SPACE_ID")
    repo = os.environ.get("CROC_VOTES")
    if not (persistent or repo):
        raise InputError(
            "this Space would lose all votes at a restart: set CROC_VOTES to a private dataset, or add "
            "persistent storage"
        )
    data = Path(folder) if folder else PERSISTENT if PERSISTENT.is_dir() else Path("data")
    with ExitStack() as stack:
        store = stack.enter_context(Store(data / "votes.sqlite", read_settings(), version=VERSION))
        store.add_items(read_items(find_items()))
        mirror = None
        if repo:
            every = read_number("CROC_EVERY", float, 5.0 if persistent else 1.0)
            mirror = stack.enter_context(Mirror(store, repo, every=every))
        options: dict[str, Any] = {
            "invitations": read_number("CROC_INVITATIONS", int, 0) != 0,
            "visitors": Visitors(read_number("CROC_JOINS_PER_HOUR", int, JOINS_PER_HOUR)),
            "behind_proxy": read_number("CROC_BEHIND_PROXY", int, int("SPACE_ID" in os.environ)) != 0,
        }
        if os.environ.get("CROC_CONTACT"):
            options["contact"] = os.environ["CROC_CONTACT"]
        launch(
            Campaign(store, os.environ.get("CROC_ADMIN_TOKEN", ""), mirror, **options),
            host=os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0"),
            port=read_number("GRADIO_SERVER_PORT", int, 7860),
        )


def read_settings() -> Settings:
    """The settings by which items are handed out."""
    return Settings(
        overlap=read_number("CROC_OVERLAP", int, 3),
        limit=read_number("CROC_LIMIT", int, None),
        batch=read_number("CROC_BATCH", int, 50),
        attention_every=read_number("CROC_ATTENTION_EVERY", int, 20),
        hold_s=read_number("CROC_HOLD", int, Settings.hold_s),
    )


def find_items() -> Path:
    """The path of the items: a local file or folder, or a downloaded dataset."""
    source = os.environ.get("CROC_ITEMS", "items")
    if Path(source).exists():
        return Path(source)
    if source.count("/") != 1:
        raise InputError(f"CROC_ITEMS={source}: expected a file, a folder or the id of a dataset")
    return download_snapshot(source, patterns=["*.parquet"])


def read_number(name: str, kind: Callable[[str], Any], default: Any) -> Any:
    """The number in an environment variable, or the default if it is not set."""
    value = os.environ.get(name)
    if not value:
        return default
    try:
        return kind(value)
    except ValueError:
        raise InputError(f"{name}={value}: expected a number") from None


if __name__ == "__main__":
    try:
        main()
    except Exception as problem:
        failure = describe(problem)
        if failure.code != EXPECTED:
            raise
        sys.exit(f"error: {failure.sentence}")
