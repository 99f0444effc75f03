"""The list of verified results, which the keeper of a leaderboard writes (``croc results verify --record``).

It names each results file by its checksum, so that a file that changes afterwards is not verified any more.
Whoever can write the list can call anything verified: it belongs beside the results only where submissions
cannot change it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from croc import __version__
from croc.storage.files import read_json, sha256_of, write_json
from croc.verdict.records import Stored, Text

VERIFIED = "verified.json"
"""The name of the list in a folder of results."""

Level = Literal["table", "dataset", "scores"]
"""What was compared: numbers with the score table, its rows with the dataset, its scores with new ones."""

LEVELS: Mapping[Level, str] = {
    "table": "numbers verified",
    "dataset": "checks verified",
    "scores": "scores verified",
}
"""The levels as leaderboards show them."""


@dataclass(frozen=True)
class Verification(Stored):
    """How a results file was verified.

    Attributes:
        level: the last step that it passed.
        summary: what was compared, in words.
        runs: which of ``audit`` and ``probe`` agreed with a run of the keeper, separated by commas.
        croc: version of this program.
    """

    description: ClassVar[str] = "an entry of a list of verified results"

    level: Level
    summary: Text = ""
    runs: Text = ""
    croc: Text = __version__


_Entries = dict[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], dict[str, str]]


def read_verified(path: Path) -> dict[str, Verification]:
    """The verified results by the checksum of their files; empty when there is no list.

    Raises:
        InputError: it cannot be read, or is not such a list.
    """
    stored = read_json(path, None, _Entries) or {}
    return {checksum: Verification.from_dict(entry) for checksum, entry in stored.items()}


def record(path: Path, found: Mapping[Path, Verification | None]) -> None:
    """Add results to the list, or take those out that were not verified.

    Args:
        path: the list.
        found: per results file how it was verified; None: it was not.
    """
    entries = read_verified(path)
    for file, verification in found.items():
        checksum = sha256_of(file)
        entries.pop(checksum, None)
        if verification is not None:
            entries[checksum] = verification
    write_json(path, {key: entries[key].to_dict() for key in sorted(entries)})
