"""CROC: the page on which people judge images, as a Space.

Settings come from the Space's variables and secrets; ``README.md`` lists them. Nothing is served without a
token for the administrator, nor on a disk that does not last without a dataset for the votes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download

from croc.errors import CrocError, InputError
from croc_hum.page import VERSION, Campaign, launch
from croc_hum.schema import read_items
from croc_hum.votes.hub_copy import Mirror
from croc_hum.votes.store import Settings, Store

LASTING = Path("/data")
"""Where a Space has its persistent storage, when it has one."""


def main() -> None:
    """Load the items, bring votes back, serve; send what is left when the machine is told to stop."""
    given = os.environ.get("CROC_DATA")
    lasts = bool(given) or LASTING.is_dir() or not os.environ.get("SPACE_ID")
    repo = os.environ.get("CROC_VOTES")
    if not (lasts or repo):
        raise InputError(
            "a restart of this Space would lose every vote: name a private dataset in CROC_VOTES, or give "
            "the Space persistent storage"
        )
    data = Path(given) if given else LASTING if LASTING.is_dir() else Path("data")
    with ExitStack() as stack:
        store = stack.enter_context(Store(data / "votes.sqlite", settings(), version=VERSION))
        store.add_items(read_items(items()))
        mirror = None
        if repo:
            every = number("CROC_EVERY", float, 5.0 if lasts else 1.0)
            mirror = stack.enter_context(Mirror(store, repo, every=every))
        about = {"contact": os.environ["CROC_CONTACT"]} if os.environ.get("CROC_CONTACT") else {}
        launch(
            Campaign(store, os.environ.get("CROC_ADMIN_TOKEN", ""), mirror, **about),
            host=os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0"),
            port=number("GRADIO_SERVER_PORT", int, 7860),
        )


def settings() -> Settings:
    """How items are handed out."""
    return Settings(
        overlap=number("CROC_OVERLAP", int, 3),
        limit=number("CROC_LIMIT", int, None),
        batch=number("CROC_BATCH", int, 50),
        attention_every=number("CROC_ATTENTION_EVERY", int, 20),
    )


def items() -> Path:
    """Where the items are: a file or folder here, or a dataset of the Hub."""
    wanted = os.environ.get("CROC_ITEMS", "items")
    if Path(wanted).exists():
        return Path(wanted)
    if wanted.count("/") != 1:
        raise InputError(f"CROC_ITEMS={wanted}: neither a file, a folder nor a dataset's id")
    return Path(snapshot_download(wanted, repo_type="dataset", allow_patterns="*.parquet"))


def number(name: str, kind: Callable[[str], Any], default: Any) -> Any:
    """The number in an environment variable."""
    value = os.environ.get(name)
    if not value:
        return default
    try:
        return kind(value)
    except ValueError:
        raise InputError(f"{name}={value}: not a number") from None


if __name__ == "__main__":
    try:
        main()
    except CrocError as problem:
        sys.exit(f"error: {problem}")
