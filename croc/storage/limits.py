"""How large input may be. Every reader takes its limits from here.

A small file can ask for any amount of memory: compressed data, a column of one repeated value, an alias in
YAML, a number of resamples. Each limit is far above what real input needs, so that whoever meets one has a
damaged or hostile file, and the message says which limit it is. A page has tighter limits than the command
line, because its visitors are unknown and share one machine.
"""

from __future__ import annotations

from dataclasses import dataclass

from croc.errors import InputError


@dataclass(frozen=True)
class TableLimits:
    """Limits of a table: score tables, pair tables, votes.

    Attributes:
        rows: number of rows.
        columns: number of columns.
        memory: bytes of the columns that are read, once they are in memory.
        unpacked: bytes of the text in a ``.gz`` file.
        ratio: bytes of text per byte of a ``.gz`` file, above ``free`` bytes.
        free: bytes of text that a ``.gz`` file of any size may have.
    """

    rows: int
    columns: int
    memory: int
    unpacked: int
    ratio: int = 100
    free: int = 64_000_000


COMMAND_LINE = TableLimits(
    # Ten times the largest published table, which has about a million rows in two gigabytes of text.
    rows=10_000_000,
    # The published tables have four columns per metric, and no table has a thousand metrics.
    columns=5_000,
    memory=8_000_000_000,
    unpacked=2_000_000_000,
)
# Text of scores and prompts shrinks to a tenth by compression; a hundredth is a decompression bomb.

PAGE = TableLimits(
    # Twice the largest published table. An upload has at most 64 MB, so that unpacking is what needs a limit.
    rows=2_000_000,
    columns=500,
    memory=500_000_000,
    # A table as text is held several times while it is read.
    unpacked=200_000_000,
)

TABLE_TEXT = 10_000
"""Characters of a cell of text: a prompt has at most a few hundred."""

METRIC_NAME = 100
"""Characters of a metric's name: it is shown in every row of every table and heatmap."""

GROUP_NAME = 200
"""Characters of a value that results are broken down by: it heads a column of every table and heatmap."""

GROUPS = 2_000
"""Values of a column that results are broken down by. The taxonomy has 78 properties and 158 entities; a
table with a group per check is a mistake, and takes hours."""

RESAMPLES = 100_000
"""Bootstrap resamples; the memory grows with them. The default is 2,000, and more change the third digit."""

DRAWN = 1_000_000_000
"""Numbers drawn at once in a bootstrap: resamples times clusters. A billion take about 10 GB."""

PERMUTATIONS = 1_000_000
"""Random permutations: their smallest p value is then 0.000001."""

RESULTS_FILE = 64_000_000
"""Bytes of a results file. One of the full benchmark, with some 7,000 concepts, has about 2 MB."""

JSON_FILE = 256_000_000
"""Bytes of a JSON file: the manifest of a million parts has about 200 MB."""

YAML_FILE = 1_000_000
"""Bytes of a YAML file. The taxonomy, the largest one, has 60,000."""

YAML_DEPTH = 16
"""Levels of lists and mappings in a YAML file; presets use four. Deep nesting exhausts the stack."""

UPLOAD = 64_000_000
"""Bytes of a file that a page accepts: a score table of a million rows has about 20 MB as Parquet."""

IMAGE_PIXELS = 64_000_000
"""8,000 × 8,000: four times the size of any published T2I model; more may be a decompression bomb."""

TOKENIZER_FILE = 100_000_000
"""Bytes of a ``tokenizer.json``: that of Gemma 3, one of the largest, has 33 MB."""

TOKENIZER_GROWTH = 64
"""How many times longer a tokenizer's normalizer may make a text; real ones exchange single characters."""

TOKENIZER_PADDING = 100_000
"""Fixed length, in tokens, that a ``tokenizer.json`` may pad every text to."""


def require_metric_name(name: str) -> None:
    """Require a name of a metric that fits in tables, pages and results files.

    Raises:
        InputError: the name is empty or longer than ``METRIC_NAME``.
    """
    if not 0 < len(name) <= METRIC_NAME:
        raise InputError(f"the metric's name has {len(name):,} characters; 1 to {METRIC_NAME} are allowed")
