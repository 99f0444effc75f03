"""The third tab: drop the score table of a metric, read the verdict."""

from __future__ import annotations

from croc.rendering import gradio_app as webui


def build(ui: webui.Wiring) -> None:
    """Lay out the tab."""
    webui.table_upload(ui)
