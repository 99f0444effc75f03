r"""How well a model tells images that are unlike those of its training: the table of docs/crocscore.md.

    python benchmarks/measure_out_of_world.py crocscore/weights/tiny --fresh runs/test \
        --checks flat=runs/test-flat sketch=runs/test-sketch \
        --images tifa=tifa160/images nlvr=nlvr/dev/images --json world.json

For each set of images: how many are like the training (a distance of at most 1), and the AUROC of the
distance against the drawings of ``--fresh``. Sets that need no files are always measured: drawings of the
probes, photographs that come with scikit-learn, noise, gradients, and images of one colour.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images
from sklearn.metrics import roc_auc_score

from croc.checks.decoding import decode
from croc.checks.sources import open_checks
from crocscore.model import CROCScore
from crocscore.probes import draw_exact, load_probes

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--fresh", required=True, help="checks whose drawings are like those of the training")
    parser.add_argument("--checks", nargs="*", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--images", nargs="*", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--at-most", type=int, default=400, help="images of a set")
    parser.add_argument("--json", type=Path, help="file for the table")
    options = parser.parse_args()

    sets: dict[str, Iterable[Image.Image]] = {"fresh drawings": of_checks(options.fresh, options.at_most)}
    for named in options.checks:
        name, folder = named.split("=", 1)
        sets[name] = of_checks(folder, options.at_most)
    for named in options.images:
        name, folder = named.split("=", 1)
        sets[name] = of_folder(Path(folder), options.at_most)
    sets |= {"probes": of_probes(), "photographs": photographs(), **generated()}

    scorer = CROCScore.from_pretrained(options.model)
    fresh: np.ndarray | None = None
    rows = []
    print("| images | number | like the training | AUROC against fresh drawings |\n|---|---|---|---|")
    for name, images in sets.items():
        distances = scorer.world_distance(list(images))
        if distances is None:
            raise SystemExit(f"{options.model} holds no world: run croc calibrate with --world")
        auroc = None
        if fresh is None:
            fresh = distances
        else:
            labels = np.r_[np.zeros(len(fresh)), np.ones(len(distances))]
            auroc = round(float(roc_auc_score(labels, np.r_[fresh, distances])), 4)
        inside = round(float((distances <= 1).mean()), 4)
        rows.append({"images": name, "number": len(distances), "inside": inside, "auroc": auroc})
        shown = "" if auroc is None else f"{auroc:.2f}"
        print(f"| {name} | {len(distances)} | {inside:.2f} | {shown} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


def of_checks(folder: str, at_most: int) -> Iterator[Image.Image]:
    """An image of each check, evenly spaced."""
    checks = open_checks(folder, max_checks=at_most)
    for row in range(len(checks.texts)):
        yield decode(checks.read(row, row + 1)[0]["images"][0]["bytes"])


def of_folder(folder: Path, at_most: int) -> Iterator[Image.Image]:
    """Images of a folder and its folders, evenly spaced."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    for number in np.linspace(0, len(files) - 1, min(at_most, len(files))).astype(int):
        yield decode(files[number].read_bytes())


def of_probes() -> Iterator[Image.Image]:
    """A drawing of each probe."""
    for probe in load_probes():
        yield decode(draw_exact(probe.draw, 0, 256))


def photographs() -> Iterator[Image.Image]:
    """Those that come with scikit-learn, whole and in quarters."""
    for array in load_sample_images().images:
        photograph = Image.fromarray(array)
        width, height = photograph.size
        yield photograph
        for left, top in ((0, 0), (width // 2, 0), (0, height // 2), (width // 2, height // 2)):
            yield photograph.crop((left, top, left + width // 2, top + height // 2))


def generated() -> dict[str, list[Image.Image]]:
    """Images that show nothing."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 1, 256)[None, :, None]

    def gradient() -> Image.Image:
        first, second = rng.uniform(0, 255, (2, 3))
        array = np.broadcast_to((1 - ramp) * first + ramp * second, (256, 256, 3)).astype(np.uint8)
        return Image.fromarray(array if rng.random() < 0.5 else np.ascontiguousarray(array.swapaxes(0, 1)))

    return {
        "noise": [Image.fromarray(rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)) for _ in range(20)],
        "gradients of two colours": [gradient() for _ in range(20)],
        "one colour": [Image.new("RGB", (256, 256), tuple(rng.integers(0, 256, 3))) for _ in range(20)],
    }


if __name__ == "__main__":
    main()
