"""The guide, walked: the blocks of a page run from top to bottom, in the folder one is in.

    python tests/support/walk.py docs/hub.md PORT=8080    # in a process, and an environment, of its own

What follows the page takes the place of a word in it. Output that a page shows is compared (`printed`), and
results by group have to rest on enough checks (`groups`).
"""

from __future__ import annotations

import base64
import io
import os
import re
import shlex
import subprocess
import sys
from contextlib import ExitStack, redirect_stdout
from itertools import takewhile
from pathlib import Path

import numpy as np
from annotate_server import Client, Page
from click.testing import CliRunner
from groups import check_printed, check_values
from PIL import Image
from printed import check_shown

from croc.cli import main

PROGRAMS = ("python", "hf")
"""What a line may start besides ``croc``."""
SERVED = (("croc", "space"), ("croc", "hum", "annotate"))
"""What does not end by itself: it has to answer, and is there until the next one or the end of the page."""


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of the code blocks that run; `<!-- not run: REASON -->` above one takes it out.

    A block below `<!-- printed -->` has the language `printed`: the output of the block before it.
    """
    found = re.findall(
        r"^(?:<!-- (not run: \S[^\n]*|printed) -->\n)?```(\w+)\n(.*?)^```",
        page.read_text("utf-8"),
        re.DOTALL | re.MULTILINE,
    )
    return [(mark or language, text) for mark, language, text in found if mark in ("", "printed")]


def run_page(page: Path, **words: str) -> None:
    """Run a page here: shell lines as commands, Python in one namespace.

    A Python or YAML block whose first line is a comment with a file's name is that file; one that reads
    ``sys.argv`` is a script, which a shell line runs.

    Args:
        page: a Markdown file.
        words: what takes the place of a word of the page.
    """
    names: dict[str, object] = {}
    output = ""
    with Serving() as serving:
        for language, text in blocks(page):
            for word, value in words.items():
                text = re.sub(rf"\b{word}\b", value, text)
            if named := re.match(r"# ([\w./-]+\.(?:py|yaml))\n", text):
                Path(named[1]).parent.mkdir(parents=True, exist_ok=True)
                Path(named[1]).write_text(text, "utf-8")
            if language == "python" and not (named and "sys.argv" in text):
                with redirect_stdout(io.StringIO()) as stream:
                    exec(compile(serving.reached(text), page.name, "exec"), names)
                output = stream.getvalue()
                check_values(names, page.name)
                check_printed(output, page.name)
            elif language == "sh":
                lines = [
                    line
                    for line in text.replace("\\\n", " ").splitlines()
                    if shlex.split(line, comments=True)
                ]
                output = "".join(run_line(line, serving, page.name) for line in lines)
                check_printed(output, page.name)
            elif language == "printed":
                check_shown(page, text, output)


def run_line(line: str, serving: Serving, page: str) -> str:
    """Run a line of a shell block; what it prints."""
    words = shlex.split(line, comments=True)
    variables = dict(word.split("=", 1) for word in takewhile(re.compile(r"[A-Z_]+=").match, words))
    program, *arguments = words[len(variables) :]
    if any(words[len(variables) :][: len(served)] == list(served) for served in SERVED):
        serving.start([program, *arguments], variables)
        return ""
    if program == "croc" and not variables:
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, f"{page}: {line}\n{done.output}\n{done.exception!r}"
        return done.output
    assert program in PROGRAMS, f"{page}: {line}"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        ["sh", "-c", line], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, f"{page}: {line}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


class Serving(ExitStack):
    """The page that a line of the guide serves; on a free port instead of the one that it names."""

    port: int | None = None

    def start(self, words: list[str], variables: dict[str, str]) -> None:
        """End the page before, start this one, and let three people vote if it is the annotators'."""
        self.close()
        served = self.enter_context(Page.from_command(words, Path("served.log"), **variables))
        self.port = served.port
        if words[1:3] == ["hum", "annotate"]:
            vote_as_annotators(served, Path(words[3]))
            self.close()

    def reached(self, text: str) -> str:
        """Text with the address at which the page is."""
        return text.replace("127.0.0.1:7860", f"127.0.0.1:{self.port}") if self.port else text


def vote_as_annotators(page: Page, items: Path) -> None:
    """Let three annotators label every image; 5, 10 and 15 % of their votes are wrong."""
    from croc_hum.schema import read_items

    expected = {pixels(item["image"]): item["expected"] for item in read_items(items)}
    for seed, error_rate in enumerate((0.05, 0.10, 0.15)):
        rng = np.random.default_rng(seed)
        annotator = Client(page)
        while annotator.task:
            image = re.search(r"data:image/png;base64,([\w+/=]+)", annotator.content)
            assert image, annotator.content
            correct = expected[pixels(base64.b64decode(image[1]))]
            wrong = {"yes": "no", "no": "yes"}[correct]
            assert annotator.vote(wrong if rng.random() < error_rate else correct)


def pixels(image: bytes) -> bytes:
    """What is seen of an image file."""
    return Image.open(io.BytesIO(image)).convert("RGB").tobytes()


if __name__ == "__main__":
    run_page(Path(sys.argv[1]), **dict(each.split("=", 1) for each in sys.argv[2:]))
