"""CROCScore in the browser: score, contrast, benchmark, leaderboard, others' benchmarks, browse.

    croc space

``CROCSCORE_MODEL`` names another model (a folder or a Hub id), ``CROC_RESULTS`` and
``CROC_EXTERNAL_RESULTS`` other results datasets, and ``CROC_CHECKS`` other checks to browse.
"""

from __future__ import annotations

import sys
from pathlib import Path

# On the Hub this folder also holds the evaluate module crocscore.py, which must not be taken for the package.
HERE = Path(__file__).resolve().parent
sys.path[:] = [*(entry for entry in sys.path if Path(entry or ".").resolve() != HERE), str(HERE)]

import benchmark_tab
import browse_tab
import contrast_tab
import external_tab
import gradio as gr
import larger_models
import leaderboard_tab
import score_tab
from served_model import MODEL

from croc.errors import CrocError
from croc.rendering import fragments as pages
from croc.rendering import gradio_app as webui

TABS = (
    ("Score", score_tab),
    ("Contrast", contrast_tab),
    ("Benchmark your metric", benchmark_tab),
    ("Leaderboard", leaderboard_tab),
    ("Others' benchmarks", external_tab),
    ("Browse", browse_tab),
)


def state_of_the_model() -> str:
    """Which model answers, or why none does."""
    try:
        scorer = MODEL.scorer
    except CrocError as error:
        return pages.problem(
            f"There is no model to score with, so that Score and Contrast cannot answer: {error}. "
            "The other tabs do not need one."
        )
    return pages.fragment("model", scorer.name, MODEL.about)


with webui.blocks("CROCScore: does the image show the prompt?") as demo:
    webui.html(
        pages.fragment(
            "masthead",
            "CROCScore: does the image show the prompt?",
            "Score images against prompts, see which part of a prompt fails, and test any "
            "text-to-image metric with contrastive checks.",
            [("Paper", "https://arxiv.org/abs/2505.11314")],
        )
    )
    ui = webui.Wiring(demo)
    state = webui.html(pages.note("The model is being loaded …"), elem_id="model-state")
    ui.at_once(state_of_the_model, state)
    webui.html(pages.fragment("real_models", larger_models.rows()), elem_id="larger-models")
    with gr.Tabs():
        for name, tab in TABS:
            with gr.Tab(name, id=name):
                tab.build(ui)

if __name__ == "__main__":
    webui.serve(demo, then=MODEL.load)
