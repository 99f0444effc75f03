"""Install the metrics' own packages and let them score: ``python make_environment.py FOLDER``.

FOLDER gets a virtual environment and ``out/``: per reference its random weights, its pixels and its scores,
which the tests of this folder compare with this program's. What is there and up to date is kept.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
# With their dependencies: where the package index has torch for CUDA only, these are several GB.
BASE = ("torch==2.13.0", "numpy==2.2.6", "pillow==12.3.0")
VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"


def make(folder: Path) -> None:
    """Bring the environment and the references in ``folder`` up to date."""
    started = time.monotonic()
    python = folder / "bin" / "python"
    requirements = HERE / "requirements.txt"
    if _is_new(folder / "installed", digest := _digest([requirements, Path(__file__)])):
        print(f"installing the reference packages into {folder} …", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *BASE], check=True)
        subprocess.run([*pip, "--no-deps", "-r", requirements], check=True)
        site = next((folder / "lib").glob("python*/site-packages"))
        # hpsv2's wheel lacks the vocabulary of its copy of open_clip.
        shutil.copy(site / "open_clip" / VOCABULARY, site / "hpsv2" / "src" / "open_clip" / VOCABULARY)
        (folder / "installed").write_text(digest)
    sources = [*sorted(HERE.glob("reference/*.py")), *sorted(HERE.glob("stand_ins/**/*.py"))]
    sources += [HERE / "upstream_inputs.py", folder / "installed"]
    if _is_new(folder / "scored", digest := _digest(sources)):
        print("scoring with the reference packages …", flush=True)
        shutil.rmtree(folder / "out", ignore_errors=True)
        paths = os.pathsep.join([str(HERE / "stand_ins"), str(HERE)])
        offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HOME": str(folder / "cache")}
        subprocess.run(
            [python.absolute(), "-m", "reference", (folder / "out").absolute()],
            check=True,
            env={**os.environ, **offline, "PYTHONPATH": paths, "PYTHONWARNINGS": "ignore"},
        )
        (folder / "scored").write_text(digest)
    print(f"the references are in {folder / 'out'} ({time.monotonic() - started:.0f} s)")


def _digest(files: list[Path]) -> str:
    total = hashlib.sha256()
    for file in files:
        total.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def _is_new(stamp: Path, digest: str) -> bool:
    return not stamp.is_file() or stamp.read_text() != digest


if __name__ == "__main__":
    make(Path(sys.argv[1]))
