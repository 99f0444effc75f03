"""Write the tables of the guide that come from declarations and stored results.

Usage: ``python docs/generate_tables.py``

A page says where a table goes: ``<!-- table: NAME -->`` before it and ``<!-- end of table -->`` after it. The
figures of others' benchmarks are those of ``external_figures.json``, which is written by
``croc external reproduce --all --data FOLDER --json docs/external_figures.json``. Those of rank agreement are
in ``transfer.json``: ``croc transfer croc/external/recomputed colorswap sugarcrepe_gpt4v croc/sample/results
--data FOLDER --json docs/transfer.json --plot docs/images/transfer.png``. The CPU time of scorers is in
``reuse.json``: ``python benchmarks/bench_reuse.py``. The figures of the small models are in
``model_figures.json``, see ``model_figures.py``, those of the experiments in ``experiment_figures.json``, see
``experiment_figures.py``.
"""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from statistics import median

from croc.checks.columns import markdown_table
from croc.checks.schema import CHECK_COLUMNS, EXTRA_COLUMNS, PAIR_COLUMNS
from croc.external.benchmark import benchmarks
from croc.external.reproduction import Reproduction
from croc.rendering.external import (
    markdown_benchmarks,
    markdown_defaults,
    markdown_figures,
    markdown_summary,
)
from croc.rendering.transfer import markdown, markdown_metrics, markdown_shared
from croc.tables.columns import OPTIONAL_COLUMNS, SCORE_TABLE
from croc.tables.signature import KEYS
from croc.transfer.comparison import Transfer
from croc_hum.schema import ITEM_COLUMNS, VOTE_COLUMNS
from croc_syn.painting.encodings import ENCODINGS
from croc_syn.painting.settings import known_models
from croc_syn.writing.table import PROMPT_COLUMNS

DOCS = Path(__file__).parent
REUSE = DOCS / "reuse.json"
_PLACE = re.compile(r"(<!-- table: (\w+) -->\n).*?(\n<!-- end of table -->)", re.DOTALL)

CORRECTED = (
    ("imagenhub", "all SC", "correlations are averaged as Fisher's z"),
    ("imagenhub", "all PQ", "the same"),
    ("imagenhub", "all O", "the same"),
    ("imagenhub", "all O between raters", "the same"),
    ("tifa160", "clipscore_vitb32 Spearman", "Spearman's correlation, not Pearson's"),
    ("tifa160", "bleu Spearman", "the same"),
    ("dsg_tifa160", "dsg_pali-17b Spearman", "five images without answers are left out and do not count 0"),
    (
        "ts2",
        "instruct_blip_dsg overall ordering",
        "walks with constant scores are left out and do not count 0",
    ),
    ("colorswap", "llava group score", "answers without a choice are left out and are not wrong"),
    ("genai_bench_527", "alpha (interval)", "two ratings of 41 and 33 on a scale from 1 to 5 are left out"),
)
"""Figures whose default differs from the published computation, and why."""


def _image_models() -> str:
    lines = ["| name | model, revision | steps | guidance | pixels | licence |", "|---|---|---|---|---|---|"]
    for name, model in known_models().items():
        if model.backend != "diffusers":
            continue
        pages = f"https://huggingface.co/{model.model}"
        revision = (
            f"[{model.revision[:7]}]({pages}/tree/{model.revision})" if model.revision else "not pinned"
        )
        guidance = f"{model.guidance:g}, negative prompt" if model.cost and model.cost.guided else "off"
        if model.guidance and guidance == "off":
            guidance = f"{model.guidance:g}"
        lines.append(
            f"| `{name}` | [{model.model}]({pages}), {revision} | {model.steps} | {guidance} "
            f"| {model.width} × {model.height} | {model.licence} |"
        )
    return "\n".join(lines) + "\n"


def _pipelines() -> str:
    lines = ["| pipeline | a prompt is encoded | classifier-free guidance |", "|---|---|---|"]
    for kind, encoding in sorted(ENCODINGS.items()):
        guidance = f"`{encoding.scale}` above {encoding.off:g}" if encoding.scale else "none"
        lines.append(f"| `{kind}` | once | {guidance} |")
    lines.append("| any other | again for each image, with a warning in the log | its own |")
    return "\n".join(lines) + "\n"


def _reuse() -> str:
    lines = [
        "| family | method | saved, batches of pairs | saved, one pair at a time | difference of scores |",
        "|---|---|---|---|---|",
    ]
    for row in json.loads(REUSE.read_text("utf-8")):
        shares = [
            f"{median(row[key]):.0%} ({min(row[key]):.0%} to {max(row[key]):.0%})"
            for key in ("saved_batches", "saved_alone")
        ]
        cells = (row["name"], row["method"], *shares, f"{row['difference']:.0e}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def tables() -> dict[str, str]:
    """The Markdown of each table by its name."""
    keys = ["| key | short | part | meaning |", "|---|---|---|---|"]
    keys += [f"| `{key.name}` | `{key.short}` | {key.part} | {key.meaning} |" for key in KEYS]
    stored = json.loads((DOCS / "external_figures.json").read_text("utf-8"))
    external = [Reproduction.from_dict(one) for one in stored]
    transfer = Transfer.from_dict(json.loads((DOCS / "transfer.json").read_text("utf-8")))
    return {
        "transfer_shared": markdown_shared(transfer),
        "transfer_between": markdown(transfer, "benchmarks"),
        "transfer_parts": markdown(transfer, "parts"),
        "transfer_within": markdown(transfer, "within"),
        "transfer_metrics": markdown_metrics(),
        "external_benchmarks": markdown_benchmarks(list(benchmarks().values())),
        "external_summary": markdown_summary(external),
        "external_defaults": markdown_defaults(external, CORRECTED),
        "external_figures": markdown_figures(external),
        "check_columns": markdown_table(CHECK_COLUMNS),
        "extra_columns": markdown_table(EXTRA_COLUMNS),
        "pair_columns": markdown_table(PAIR_COLUMNS),
        "score_columns": markdown_table((*SCORE_TABLE, *OPTIONAL_COLUMNS)),
        "image_models": _image_models(),
        "pipelines": _pipelines(),
        "reuse": _reuse(),
        "prompt_columns": markdown_table(PROMPT_COLUMNS),
        "item_columns": markdown_table(ITEM_COLUMNS),
        "vote_columns": markdown_table(VOTE_COLUMNS),
        "signature_keys": "\n".join(keys) + "\n",
        **runpy.run_path(str(DOCS / "model_figures.py"))["tables"](),
        **runpy.run_path(str(DOCS / "experiment_figures.py"))["tables"](),
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
