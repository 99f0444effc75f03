"""What is known about a benchmark of others: where it comes from, how it is read, what was published."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from croc.errors import InputError

if TYPE_CHECKING:
    from croc.external.images import Pairs

Kind = Literal["rated", "contrastive"]
Mode = Literal["parity", "default"]
"""``parity`` computes what the authors' code computes, ``default`` what this program does by default."""
Met = Literal["all", "annotations", "none"]
MET: dict[Met, str] = {
    "all": "annotations and images",
    "annotations": "annotations",
    "none": "no file",
}
"""Which published files a reader was run on, as people read it."""


@dataclass(frozen=True)
class Source:
    """Where the files of a benchmark, and the code that reads them, were published.

    Attributes:
        repository: on GitHub, as ``owner/name``.
        commit: full hash of the commit whose format is read.
        paths: files and folders in it.
        hub: dataset on the Hugging Face Hub, for images; None if there is none.
        gated: whether the files on the Hub need an account that was granted access; None if not known.
        hub_files: patterns of the files on the Hub that the reader needs; empty if it does not read them.
        hub_images: patterns of those that only scoring needs.
        hub_revision: commit on the Hub that the reader was written for; None if not known.
        images: where to get the images and how to lay them out, as a sentence; empty if the reader does not
            read images, or the Hub has all.
    """

    repository: str
    commit: str
    paths: tuple[str, ...]
    hub: str | None = None
    gated: bool | None = None
    hub_files: tuple[str, ...] = ()
    hub_images: tuple[str, ...] = ()
    hub_revision: str | None = None
    images: str = ""

    def describe(self) -> str:
        """``github.com/OWNER/NAME @ COMMIT: PATHS``."""
        return f"github.com/{self.repository} @ {self.commit[:12]}: {', '.join(self.paths)}"


@dataclass(frozen=True)
class Figure:
    """A published number, or one that can be computed and that nobody published.

    Attributes:
        name: the key under which ``Benchmark.compute`` returns it; says what it is.
        published: the number as printed, every digit of its precision included; None if not published.
        source: where it was published: table of a paper, file or cell of a notebook in the repository.
        reason: why the data cannot give the published number; empty if they must.
    """

    name: str
    published: str | None
    source: str
    reason: str = ""

    @property
    def decimals(self) -> int:
        """Number of decimals of the published number."""
        return len((self.published or "").partition(".")[2])


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark of others. Its module in ``croc.external.benchmarks`` holds one as ``BENCHMARK``.

    Attributes:
        name: what is typed, and what its folder may be called.
        title: its name in full, with the paper.
        kind: ``rated`` (``read`` returns :class:`croc.external.items.Rated`) or ``contrastive``
            (:class:`croc.external.items.Contrastive`).
        holds: what it holds, in one sentence.
        size: how much of it.
        licence: SPDX identifier, or that none is stated.
        source: see :class:`Source`.
        scores: its standard scores.
        folders: other names that its folder may have, such as that of the repository.
        files: files of which at least one lies in the folder; the reader decides between them.
        met: which published files the reader was run on.
        read: reads and checks the folder: the ratings, or published answers. None for contrastive items
            without published answers.
        pairs: reads the images and prompts of the folder; None if it has no images that can be read.
        compute: figures by name, of what ``read`` returned. A figure that the data do not allow is absent.
        figures: what is published, and what else ``compute`` returns.
        score: the standard scores by ``METRIC SCORE``: of the metrics of rated items, or, where a contrastive
            benchmark has others than Winoground's, of a score table.
        parity: what the authors' code does that the defaults do not do, as a sentence; empty if nothing.
    """

    name: str
    title: str
    kind: Kind
    holds: str
    size: str
    licence: str
    source: Source
    scores: tuple[str, ...]
    folders: tuple[str, ...]
    files: tuple[str, ...]
    met: Met = "none"
    read: Callable[[Path], Any] | None = None
    pairs: Callable[[Path], Pairs] | None = None
    compute: Callable[[Any, Mode], Mapping[str, float]] | None = None
    figures: tuple[Figure, ...] = ()
    score: Callable[[Any, Mode], Mapping[str, float]] | None = None
    parity: str = ""

    def find(self, folder: Path) -> Path | None:
        """The folder of this benchmark: ``folder``, or one in it, at most two levels down, with its name."""
        names = {self.name, *self.folders}
        below = (path for pattern in ("*", "*/*") for path in sorted(folder.glob(pattern)))
        for path in (folder, *below):
            # The name of the current folder is that of its absolute path.
            if path.absolute().name in names and self.is_in(path):
                return path
        return None

    def is_in(self, folder: Path) -> bool:
        """Whether a folder has one of the files; a name with ``*`` is a pattern."""
        return any(next(folder.glob(file), None) is not None for file in self.files)

    def describe_images(self) -> str:
        """Where the images come from, as a clause."""
        if self.source.images:
            return self.source.images
        return f"get them from {self.describe_place()}"

    def describe_place(self) -> str:
        """Where its files are: the dataset on the Hub that is read, or the repository."""
        source = self.source
        return f"{source.hub} on the Hub" if source.hub and source.hub_files else source.describe()


def require_folder(benchmark: Benchmark, folder: Path) -> Path:
    """The folder of a benchmark, see :meth:`Benchmark.find`; ``folder`` itself may have another name.

    Raises:
        InputError: it is not there; the message says where the files come from.
    """
    place = benchmark.find(folder) or (folder if benchmark.is_in(folder) else None)
    if place is None:
        raise InputError(
            f"{folder}: no folder {benchmark.name} with {' or '.join(benchmark.files)}; get it from "
            f"{benchmark.describe_place()}"
        )
    return place


def figures(
    text: str, columns: Sequence[str], source: str, *, decimals: int, reason: str = ""
) -> tuple[Figure, ...]:
    """The figures of a table: per line the name of the row and a number per column; ``-`` for none.

    Args:
        text: the lines; cells are separated by blanks.
        columns: their names. The name of a figure is ``ROW COLUMN``.
        source: of all of them.
        decimals: that the source prints; zeros at the end are added where it drops them.
        reason: see :class:`Figure`.
    """
    found = []
    for line in text.strip().splitlines():
        row, *cells = line.split()
        for column, cell in zip(columns, cells, strict=True):
            if cell != "-":
                found.append(Figure(f"{row} {column}", f"{float(cell):.{decimals}f}", source, reason))
    return tuple(found)


def benchmarks() -> dict[str, Benchmark]:
    """All benchmarks by name: the modules of ``croc.external.benchmarks``."""
    from croc.external import benchmarks as package

    modules = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    loaded = [importlib.import_module(f"{package.__name__}.{name}") for name in modules]
    return {module.BENCHMARK.name: module.BENCHMARK for module in loaded}


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        InputError: there is none; the message names them.
    """
    known = benchmarks()
    if name in known:
        return known[name]
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
    raise InputError(f"no benchmark {name!r}; {hint}")
