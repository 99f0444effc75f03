"""Write the tables of columns and signature keys into the guide: ``python docs/generate_tables.py``.

A page says where a table goes: ``<!-- table: NAME -->`` before it and ``<!-- end of table -->`` after it.
"""

from __future__ import annotations

import re
from pathlib import Path

from croc.checks.columns import markdown_table
from croc.checks.schema import CHECK_COLUMNS, EXTRA_COLUMNS, PAIR_COLUMNS
from croc.tables.columns import OPTIONAL_COLUMNS, SCORE_TABLE
from croc.tables.signature import KEYS
from croc_hum.schema import ITEM_COLUMNS, VOTE_COLUMNS
from croc_syn.writing.table import PROMPT_COLUMNS

DOCS = Path(__file__).parent
_PLACE = re.compile(r"(<!-- table: (\w+) -->\n).*?(\n<!-- end of table -->)", re.DOTALL)


def tables() -> dict[str, str]:
    """The Markdown of each table by its name."""
    keys = ["| key | short | part | meaning |", "|---|---|---|---|"]
    keys += [f"| `{key.name}` | `{key.short}` | {key.part} | {key.meaning} |" for key in KEYS]
    return {
        "check_columns": markdown_table(CHECK_COLUMNS),
        "extra_columns": markdown_table(EXTRA_COLUMNS),
        "pair_columns": markdown_table(PAIR_COLUMNS),
        "score_columns": markdown_table((*SCORE_TABLE, *OPTIONAL_COLUMNS)),
        "prompt_columns": markdown_table(PROMPT_COLUMNS),
        "item_columns": markdown_table(ITEM_COLUMNS),
        "vote_columns": markdown_table(VOTE_COLUMNS),
        "signature_keys": "\n".join(keys) + "\n",
    }


def filled(page: str) -> str:
    """A page with its tables as they are declared now."""
    content = tables()
    return _PLACE.sub(lambda place: f"{place[1]}\n{content[place[2]]}{place[3]}", page)


if __name__ == "__main__":
    for path in sorted(DOCS.glob("*.md")):
        before = path.read_text("utf-8")
        if (after := filled(before)) != before:
            path.write_text(after, "utf-8")
