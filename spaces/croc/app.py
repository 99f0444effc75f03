"""The page of the CROC metric: what it is, how to call it, evaluation of a score table, and a leaderboard.

    croc space croc

On the Hub this folder also holds the evaluate module ``croc.py``, which must not be taken for the package.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]


from croc.rendering import external_fragments as external
from croc.rendering import fragments as pages
from croc.rendering import gradio_app as webui

MOST = 10

REPO = os.environ.get("SPACE_ID") or "croc/croc"
"""The Hub says under which name this page was published."""

CALLS = (
    (
        "In Python",
        f"""import evaluate

croc = evaluate.load("{REPO}")
result = croc.compute(metric=my_metric, dataset="croc/hum")
print(result["score"], result["findings"])""",
        "my_metric(images, prompts) returns one number per pair, higher for a better match. The name of a "
        "scorer, such as clipscore-l14, and a loaded evaluate module work too.",
    ),
    (
        "On the command line",
        """pip install "croc-t2i[score]"
croc score croc/hum --scorer clipscore-l14 --out scores
croc evaluate scores --by category --html report.html""",
        "Scores are kept as a table; evaluating it again takes seconds.",
    ),
)

with webui.blocks("CROC: can a text-to-image metric be trusted?") as demo:
    webui.html(
        pages.fragment(
            "masthead",
            "CROC: can a text-to-image metric be trusted?",
            "Two prompts that differ in one property, and images of both: a metric passes when it scores the "
            "matching pair higher. Scaled accuracy is 0 for a metric that sees nothing, 1 for a perfect one, "
            "and below 0 for one that prefers the wrong match.",
            [
                ("Paper", "https://arxiv.org/abs/2505.11314"),
                (
                    "CROCScore, a metric trained on such checks",
                    "https://huggingface.co/spaces/croc/crocscore",
                ),
            ],
        )
    )
    ui = webui.Wiring(demo)
    webui.html(pages.fragment("calls", CALLS))
    webui.html(pages.fragment("heading", "Evaluate your score table"))
    webui.table_upload(ui)
    board = pages.results_board()
    webui.html(pages.fragment("heading", "Leaderboard"))
    for benchmark in board.benchmarks:
        webui.html(pages.ranking(benchmark, most=MOST))
    results, problems = external.external_results(external.external_folder())
    if results:
        webui.html(pages.fragment("heading", "Others' benchmarks"))
    for number, result in enumerate(results):
        webui.html(external.external_ranking(result, most=MOST))
        webui.html(external.external_about(result, problems if number == 0 else ()))

if __name__ == "__main__":
    webui.serve(demo)
