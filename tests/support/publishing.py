"""Publishing to the Hub on loopback: what the tests of it share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hub_server import Hub

from builders.publish import Publication, publish

CARD = "---\nlicense: apache-2.0\n---\n# A card\n"


def write(folder: Path, path: str, content: bytes) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(content)


def send(hub: Hub, folder: Path, kind: str = "syn", repo: str = "org/set", **options: Any) -> Publication:
    options = {"token": "hf_writer", "sleep": lambda seconds: None, **options}
    return publish(kind, folder, repo, endpoint=hub.endpoint, **options)


def tree(hub: Hub, repo: str = "org/set", kind: str = "dataset") -> dict[str, str]:
    """Path → content's checksum, as the Hub holds it."""
    return {path: entry.sha256 or entry.oid for path, entry in hub.repos[kind, repo].head.tree.items()}
