"""A small release in the layout of the CROChum authors: a table of paths and an archive of images."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from pictures import png

HEADER = "id\tprompt\tcontrast\tprompt_paths\tcontrast_paths\talt_contrast_paths"


def line(name, prompt, contrast, images, contrast_images, alternative=()):
    lists = (list(map(str, each)) for each in (images, contrast_images, alternative))
    return "\t".join([name, prompt, contrast, *map(repr, lists)])


def tar(path: Path, members) -> Path:
    """An archive of (name or TarInfo, bytes or None)."""
    with tarfile.open(path, "w:gz") as opened:
        for name, data in members:
            member = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            if data is not None:
                member.size = len(data)
            opened.addfile(member, io.BytesIO(data) if data is not None else None)
    return path


LINES = [
    line("counting_10", "two dogs", "three dogs", ["images/a/0.png", "images/a/1.png"], ["images/b/0.png"]),
    line("counting_2", "a cat", "two cats", ["images/c/0.png"], []),
    line("spacial_relation_1", "a left of b", "a right of b", ["images/d/0.png"], ["images/d/1.png"]),
    line("negation_1", "a dog", "no dog", ["images/e/0.png"], ["images/e/1.png"], ["images/e/2.png"]),
]
FILES = ["a/0", "a/1", "b/0", "c/0", "d/0", "d/1", "e/0", "e/1", "e/2"]
PICTURES = {f"{name}.png": png(number) for number, name in enumerate(FILES)}
