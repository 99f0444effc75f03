"""Graded checks of the exact world: images of one prompt with none, one or more of its statements false.

``croc build graded`` makes them. A row is a node of an error graph: its images have the same errors.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders import shards
from builders.assembly import PICTURE, TEST_ONLY, BuildReport, assemble, read_report, write_card
from croc.checks.schema import ERROR_GRAPH, check_id, join_errors, stable_hash
from croc.errors import InputError
from croc.jobs.parts import Executor, Part
from croc.jobs.runner import Manifest, run
from croc.storage.parquet import write_parquet
from croc.tables.metadata import library_versions
from croc_syn.painting.exact import LICENSE, ExactSettings
from croc_syn.painting.table import exact_features
from croc_syn.world import rasterise, to_svg
from croc_syn.world.contrasts.error_graphs import graph_id, make_graph, sample_node
from croc_syn.world.scenes.scene import embed
from croc_syn.writing.table import EXACT

if TYPE_CHECKING:
    import pyarrow as pa

PART_SIZE = 4
"""Graphs per part."""
_STAGED, _AUDIT = "nodes", "audit"


@dataclass(frozen=True)
class GradedSettings:
    """Settings on which the images depend.

    Attributes:
        graphs: number of prompts.
        statements: number of statements of a prompt that can be false; the images have 0 to so many errors.
        images: images per node.
        size: width and height in pixels.
        seed: decides prompts and images.
    """

    graphs: int = 40
    statements: int = 4
    images: int = 3
    size: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if self.graphs < 1:
            raise InputError(f"the number of graphs must be at least 1, not {self.graphs}")
        ExactSettings(images=self.images, size=self.size)
        make_graph(0, 0, statements=self.statements)


@shards.one_at_a_time
def build_graded(
    out: str | Path,
    settings: GradedSettings = GradedSettings(),
    *,
    executor: Executor | None = None,
    progress: bool = True,
) -> BuildReport:
    """Draw error graphs.

    Args:
        out: the folder; new, or holding this very build, unfinished or finished.
        settings: what is drawn.
        executor: what makes the parts, see :mod:`croc.jobs.executors`; None is this process.
        progress: show bars.

    Raises:
        InputError: the folder holds something else.
    """
    from croc_syn.graded_audit import audit

    started = time.monotonic()
    folder = Path(out)
    recipe = {
        "kind": "graded",
        "text_model": EXACT,
        "image_model": EXACT,
        "splits": TEST_ONLY,
        **asdict(settings),
        "versions": library_versions("pyarrow", "datasets", "resvg_py"),
    }
    if shards.is_finished(folder, recipe):
        return read_report(folder)
    numbers = range(settings.graphs)
    parts = [
        Part(f"{start:06d}", {"graphs": list(numbers[start : start + PART_SIZE])})
        for start in numbers[::PART_SIZE]
    ]
    features = exact_features()
    work = folder / shards.WORK
    staged = run(
        parts,
        partial(write_graphs, settings=settings, schema=features.arrow_schema),
        work / _STAGED,
        suffix=".parquet",
        fingerprint={name: value for name, value in recipe.items() if name != "graphs"},
        executor=executor,
        progress=progress,
        what="parts of graphs",
    )

    def audited(made: Manifest, inside: Path) -> dict[str, Any]:
        return audit([made.folder / entry["file"] for entry in shards.data_of(made)], inside / _AUDIT)

    return assemble(
        staged,
        folder,
        recipe,
        features=features,
        both_sides=False,
        audit=audited,
        describe=partial(write_card, draw=draw_path),
        started=started,
        executor=executor,
        progress=progress,
    )


def write_graphs(
    payload: Mapping[str, Any], path: Path, *, settings: GradedSettings, schema: pa.Schema
) -> dict[str, Any]:
    """Make one part: the images of all nodes of some graphs.

    Returns:
        Counts: ``checks`` (nodes), ``images``, ``redraws``.
    """
    import pyarrow as pa

    counts = {"checks": 0, "images": 0, "redraws": 0}
    rows: list[dict[str, Any]] = []
    for number in payload["graphs"]:
        graph = make_graph(settings.seed, number, statements=settings.statements)
        concept = graph_id(graph)
        for node in graph.texts:
            images, seeds = [], []
            for index in range(settings.images):
                seed = int(stable_hash("graded", settings.seed, concept, node, index, length=8), 16)
                scene, rejected = sample_node(graph, node, seed)
                images.append({"bytes": embed(rasterise(to_svg(scene, settings.size)), scene), "path": None})
                seeds.append(seed)
                counts["redraws"] += rejected
            counts["checks"] += 1
            counts["images"] += len(images)
            row = {
                "check_id": check_id(concept, graph.prompt, graph.texts[node], EXACT, EXACT, 0),
                "concept_id": concept,
                "prompt": graph.prompt,
                "images": images,
                "contrast_images": [],
                "images_valid": [not node] * len(images),
                "contrast_images_valid": [],
                "subset": ERROR_GRAPH,
                "property_path": join_errors(node),
                "entity": graph.entity,
                "seeds": seeds,
                "contrast_seeds": [],
                "text_model": EXACT,
                "image_model": EXACT,
                "language": "en",
                "license": LICENSE,
            }
            rows.append({name: row.get(name) for name in schema.names})
    write_parquet([pa.Table.from_pylist(rows, schema=schema)], path, schema)
    return counts


def draw_path(folder: Path) -> None:
    """Write ``examples.png``: an image of a graph for each number of errors."""
    import pyarrow.parquet as pq

    from croc.checks.schema import split_errors
    from croc.wording import counted
    from croc_syn.contact_sheet import Card, as_picture, marked
    from croc_syn.stratified_rows import shard_files

    rows = pq.read_table(
        shard_files(folder)[0], columns=["concept_id", "prompt", "property_path", "images"]
    ).to_pylist()
    graph = [row for row in rows if row["concept_id"] == rows[0]["concept_id"]]
    cards: dict[int, Card] = {}
    for row in graph:
        errors = split_errors(row["property_path"])
        title = counted(len(errors), "error") + (f": + {errors[-1]}" if errors else "")
        words, _ = marked(row["prompt"], row["prompt"])
        cards.setdefault(len(errors), Card(title, (("original", words, [row["images"][0]["bytes"]]),)))
    as_picture([cards[number] for number in sorted(cards)], len(cards), 160).save(
        folder / PICTURE, format="PNG", optimize=True
    )
