"""The third tab: evaluate the score table of a metric."""

from __future__ import annotations

from croc.rendering import gradio_app as webui


def build(ui: webui.Wiring) -> None:
    """Lay out the tab."""
    webui.table_upload(ui)
