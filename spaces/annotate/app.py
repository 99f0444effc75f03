"""CROC: the page on which people judge images, as a Space.

Settings come from the Space's variables; ``README.md`` lists them. Nothing is served without a token for the
administrator, and votes are kept in a private dataset when ``CROC_VOTES`` names one.
"""

from __future__ import annotations

import os
from pathlib import Path

from huggingface_hub import snapshot_download

from croc.errors import InputError
from croc_hum.mirror import Mirror
from croc_hum.page import VERSION, Campaign, launch
from croc_hum.store import Settings, Store, read_items


def main() -> None:
    """Load the items, bring votes back, serve."""
    data = Path(os.environ.get("CROC_DATA") or ("/data" if Path("/data").is_dir() else "data"))
    settings = Settings(
        overlap=int(os.environ.get("CROC_OVERLAP", "3")),
        limit=int(os.environ["CROC_LIMIT"]) if os.environ.get("CROC_LIMIT") else None,
    )
    store = Store(data / "votes.sqlite", settings, version=VERSION)
    items = os.environ.get("CROC_ITEMS", "items")
    if not Path(items).exists():
        if items.count("/") != 1:
            raise InputError(f"CROC_ITEMS={items}: neither a file, a folder nor a dataset's id")
        items = snapshot_download(items, repo_type="dataset", allow_patterns="*.parquet")
    store.add_items(read_items(items))
    mirror = None
    if os.environ.get("CROC_VOTES"):
        mirror = Mirror(store, os.environ["CROC_VOTES"], data / "hub")
    about = {"contact": os.environ["CROC_CONTACT"]} if os.environ.get("CROC_CONTACT") else {}
    campaign = Campaign(store, os.environ.get("CROC_ADMIN_TOKEN", ""), mirror, **about)
    launch(
        campaign,
        host=os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0"),
        port=int(os.environ.get("GRADIO_SERVER_PORT", "7860")),
    )


if __name__ == "__main__":
    main()
