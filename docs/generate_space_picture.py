"""Write the moving picture of the demo page: ``python docs/generate_space_picture.py``.

The page is started as ``croc space`` starts it, with the model and the results of the package, and three of
its tabs are photographed with ``/usr/bin/chromium``: a scored example, a contrast, the leaderboard.
"""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from PIL import Image

PICTURE = Path(__file__).parent / "images" / "space.png"
CHROMIUM = "/usr/bin/chromium"
WIDTH, HEIGHT = 1280, 840
COLOURS = 256
SECONDS = 3.0
WAIT = 300

# Tab, what shows that it is complete, and what is at the top of its frame.
FRAMES = (
    ("Score", "#score-result ol.scores", "[role=tablist]"),
    ("Contrast", "#contrast-result table.matrix", "[data-testid=image] >> nth=1"),
    ("Leaderboard", "#leaderboard-ranking table", "#leaderboard-ranking"),
)


def main() -> None:
    """Start the page, photograph its tabs, write the picture and end the page."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    page = subprocess.Popen([sys.executable, "-m", "croc", "space", "--port", str(port)])
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(address)
        write(photograph(address))
    finally:
        page.terminate()
        page.wait()


def wait_for(address: str) -> None:
    """Wait until the page answers."""
    for _ in range(WAIT):
        try:
            with urllib.request.urlopen(address, timeout=10):
                return
        except OSError:
            time.sleep(1)
    sys.exit(f"{address} does not answer")


def photograph(address: str) -> list[Image.Image]:
    """A frame for each of ``FRAMES``."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.set_default_timeout(WAIT * 1000)
        page.goto(f"{address}/?__theme=light")
        frames = [frame(page, *each) for each in FRAMES]
        browser.close()
    return frames


def frame(page: Any, tab: str, complete: str, top: str) -> Image.Image:
    """The window with a tab, from an element on."""
    page.get_by_role("tab", name=tab, exact=True).first.click()
    page.wait_for_selector(complete)
    page.mouse.move(WIDTH - 1, HEIGHT - 1)
    page.locator(top).evaluate(
        "element => window.scrollTo(0, element.getBoundingClientRect().top + scrollY - 8)"
    )
    page.wait_for_timeout(1500)  # colours fade in
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def write(frames: list[Image.Image]) -> None:
    """One palette for all frames, so that the file is small."""
    strip = Image.new("RGB", (WIDTH, HEIGHT * len(frames)))
    for number, one in enumerate(frames):
        strip.paste(one, (0, HEIGHT * number))
    palette = strip.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE)
    first, *rest = (one.quantize(palette=palette, dither=Image.Dither.NONE) for one in frames)
    first.save(
        PICTURE, save_all=True, append_images=rest, duration=int(SECONDS * 1000), loop=0, optimize=True
    )


if __name__ == "__main__":
    main()
